//! The real NetworkManager, in one namespace and on a bus of a test's own.
//!
//! It would take whatever interfaces it finds. So it is never installed for the labs, nor started
//! anywhere but in a namespace that a test has made, in a mount namespace of its own: what it keeps
//! in `/run` and `/var/lib` is nowhere else.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::bus::PrivateBus;
use crate::namespace::Namespace;
use crate::place::target_dir;
use crate::process::Process;
use crate::tool::find_tool;

/// How long it may take to come up.
const START: Duration = Duration::from_secs(60);

/// Its runtime folder is made for it alone, unless the machine is a virtual one, which goes as a
/// whole. It knows no udev where /sys cannot be written: there is no udevd in a namespace.
const APART: &str = r#"
mount -o remount,bind,ro /sys || exit 1
if [ "$1" = own-run ]; then mount -t tmpfs run /run || exit 1; fi
mount -t tmpfs lib /var/lib && mkdir -p /var/lib/NetworkManager /run/NetworkManager || exit 1
shift
exec "$@"
"#;

/// NetworkManager, until dropped.
#[derive(Debug)]
pub struct NetworkManager {
    /// Its process.
    pub process: Process,
    /// The wpa_supplicant that it has run Wi-Fi and 802.1X.
    pub supplicant: Process,
}

impl NetworkManager {
    /// Starts both in `place`, to manage the interfaces `managed` and none else. What it keeps is
    /// in `folder`, which is there, and the logs are in `logs`.
    ///
    /// # Errors
    /// If it is not to be had, or does not come up.
    pub async fn start(
        logs: &Path,
        place: &Namespace,
        bus: &PrivateBus,
        folder: &Path,
        managed: &[&str],
    ) -> Result<Self> {
        ensure!(*place != Namespace::ROOT, "NetworkManager is for namespaces of a test's own");
        let supplicant = Process::start(
            logs,
            "nm-supplicant",
            place,
            &["env", &bus.variable(), "wpa_supplicant", "-u", "-dd", "-t"],
        )?;
        let at = |name: &str| folder.join(name).display().to_string();
        for empty in ["conf.d", "profiles"] {
            fs::create_dir_all(folder.join(empty))?;
        }
        let mut devices = String::new();
        let mut unmanaged = "*".to_owned();
        for name in managed {
            devices += &format!("[device-{name}]\nmatch-device=interface-name:{name}\nmanaged=1\n");
            unmanaged += &format!(";except:interface-name:{name}");
        }
        let config = format!(
            "[main]\nplugins=keyfile\nno-auto-default=*\nauth-polkit=root-only\ndns=none\n\
             rc-manager=unmanaged\nhostname-mode=none\nsystemd-resolved=false\ndhcp=internal\n\
             [keyfile]\npath={}\nunmanaged-devices={unmanaged}\n{devices}\
             [logging]\nlevel=DEBUG\n[connectivity]\nenabled=false\n",
            at("profiles")
        );
        fs::write(folder.join("NetworkManager.conf"), config)?;
        let binary = binary()?;
        let run = if is_virtual() { "run" } else { "own-run" };
        let variable = bus.variable();
        let [conf, folders, intern, state, pid] =
            ["NetworkManager.conf", "conf.d", "intern.conf", "state", "pid"].map(at);
        let options = [
            "--config",
            &conf,
            "--config-dir",
            &folders,
            "--system-config-dir",
            &folders,
            "--intern-config",
            &intern,
            "--state-file",
            &state,
            "--pid-file",
            &pid,
        ];
        let mut command = vec!["unshare", "--mount", "--", "sh", "-c", APART, "sh", run];
        command.extend(["env", &variable, &binary, "--debug"]);
        command.extend(options);
        let mut process = Process::start(logs, "NetworkManager", place, &command)?;
        process.says("manager: startup complete", START).await?;
        Ok(Self { process, supplicant })
    }
}

/// Whether this is a virtual machine of the radio lab's.
fn is_virtual() -> bool {
    std::env::var_os("HOMEWARD_LAB_GUEST").is_some()
}

/// Installed, or as `lab/setup.sh manager` unpacked it beside the build.
fn binary() -> Result<String> {
    let own = std::env::current_exe().context("cannot find the test's own binary")?;
    let unpacked: PathBuf = target_dir(&own)?.join("tools/bin/NetworkManager");
    let found = find_tool("NetworkManager").unwrap_or(unpacked);
    ensure!(found.exists(), "NetworkManager is not there: run `make setup`");
    Ok(found.display().to_string())
}
