//! The call lab: a phone in a call goes from LTE to Wi-Fi and back, in namespaces, with real parts
//! all the way: osmo-ggsn, strongSwan, Kamailio, sipp, and Homeward's modules and guard.
//!
//! ```text
//!  [phone] wwan0 10.60.0.2 ┄┄ GTP ┄┄ [ggsn]          10.91.0.1 ── 10.91.0.2 [services]
//!   agent  w1 10.1.0.2 ══ 10.1.0.1 [town] charon     10.92.1.1 ── 10.92.1.2  modules, core, guard,
//!   charon w2 10.2.0.2 ══ 10.2.0.1 [harbour] charon  10.92.2.1 ── 10.92.2.2  Kamailio, sipp
//!   sipp
//! ```
//!
//! The phone has one address, 10.60.0.2: the packet gateway gave it, and both ePDGs give the same, as
//! for a handover between LTE and untrusted Wi-Fi (3GPP TS 23.402 8.6). What an ePDG would tell the
//! packet gateway then (S2b) is a route here, set by a script of charon's `updown`, and that the pools of
//! both agree is arranged.
//!
//! | module | does |
//! |---|---|
//! | [`roles`] | Homeward's own: modules, a core with one in it, a guard; each knows the others |
//! | [`strongswan`] | both ends of a tunnel to an ePDG, by the files in `packaging/edge` |
//! | [`agent`] | the part of a device's daemon that does hand-offs, told where it is |
//! | [`sip`] | what sipp says as a phone and as who is called; Kamailio, by the file in `packaging/edge` |
//! | [`media`] | the RTP that was heard, and how long it was not |
//! | [`call`] | the phone's call, from network to network |
//!
//! It runs as root. Nothing is left of it.

pub mod agent;
pub mod call;
pub mod media;
pub mod roles;
pub mod sip;
pub mod strongswan;
mod wifi;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

/// How long anything may take that is to happen.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// Where things are put.
#[derive(Debug, Clone, Copy)]
pub struct Folders<'a> {
    /// Configuration, state and sockets. The names of sockets are short (`sockaddr_un`), so it is near the
    /// root; it goes when its owner does.
    pub state: &'a Path,
    /// Logs, which stay.
    pub logs: &'a Path,
}

/// Writes a file for its owner's eyes only, and the folder that it is in.
fn write(path: &Path, text: &str) -> Result<()> {
    let about = || format!("cannot write {}", path.display());
    let folder = path.parent().with_context(about)?;
    fs::create_dir_all(folder).with_context(about)?;
    fs::write(path, text).with_context(about)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).with_context(about)
}

/// Where a file of `packaging/edge` is.
pub fn shipped(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../packaging/edge").join(name)
}

/// A file of `packaging/edge`, with other values in it.
fn with_values(name: &str, values: &[(&str, &str)]) -> Result<String> {
    let path = shipped(name);
    let text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    values.iter().try_fold(text, |text, (from, to)| {
        ensure!(text.contains(from), "{name} has no {from:?}");
        Ok(text.replace(from, to))
    })
}

/// Runs a program to its end; what it said.
fn run(command: &mut Command) -> Result<String> {
    let about = format!("{command:?}");
    let output = command.output().with_context(|| format!("{about}: `make setup` installs it"))?;
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    ensure!(output.status.success(), "{about}: {said}");
    Ok(said)
}

/// A path as text.
fn text(path: &Path) -> Result<&str> {
    path.to_str().with_context(|| format!("{} is no text", path.display()))
}
