//! A log-in by EAP from start to end, and the server's CPU for it, beside FreeRADIUS with the same
//! certificate, the same log-in, the same fragment size and TLS 1.2, runs in turn.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use homeward_daemon::SystemClock;
use homeward_model::Clock;

use crate::figures::{Figure, median};
use crate::freeradius::FreeRadius;
use crate::world::{Core, LOGIN, Process, SECRET};

/// Method, and what wpa_supplicant calls the one within.
pub(crate) type Method = (&'static str, &'static str, &'static str);

pub(crate) const METHODS: [Method; 2] =
    [("ttls-pap", "TTLS", "auth=PAP"), ("peap-mschapv2", "PEAP", "auth=MSCHAPV2")];

/// Rounds, and how many log-ins a round has of each method.
const RUNS: usize = 5;
const FULL: usize = 60;

pub(crate) fn measure() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let made = rcgen::generate_simple_self_signed(["eap.example.net".to_owned()])?;
    let (certificate, key) = (folder.path().join("eap.pem"), folder.path().join("eap.key"));
    fs::write(&certificate, made.cert.pem())?;
    fs::write(&key, made.signing_key.serialize_pem())?;
    let eap = format!("[aaa.eap]\ncertificate = {certificate:?}\nkey = {key:?}\n");
    let core = Core::start_with(1, &eap)?;
    let peer = FreeRadius::start_eap(&certificate, &key)?;
    for method in METHODS {
        let (mut ours, mut theirs) = (Samples::default(), Samples::default());
        for _ in 0..RUNS {
            ours.take(core.address, &core.process, method, &certificate)?;
            theirs.take(peer.address, &peer.process, method, &certificate)?;
        }
        let peer = peer.name.as_str();
        let name = method.0;
        for (what, unit, own, other) in [
            ("start-to-end", "ms", &mut ours.span, &mut theirs.span),
            ("server-cpu-full", "ms", &mut ours.full, &mut theirs.full),
        ] {
            Figure::alone(&format!("eap/{name}/{what}"), unit, median(own), RUNS)
                .beside(peer, median(other))
                .record()?;
        }
    }
    Ok(())
}

#[derive(Default)]
struct Samples {
    /// A run of the client with one log-in in full, in ms, its own start and end included.
    span: Vec<f64>,
    /// Server CPU for a log-in in full, in ms.
    full: Vec<f64>,
}

impl Samples {
    fn take(
        &mut self,
        address: SocketAddr,
        process: &Process,
        method: Method,
        ca: &Path,
    ) -> Result<()> {
        let (began, before) = (SystemClock.now(), on_cpu(process)?);
        for _ in 0..FULL {
            log_in(address, method, ca)?;
        }
        let (ended, used) = (SystemClock.now(), on_cpu(process)? - before);
        self.span.push(ended.since(began).as_secs_f64() * 1e3 / FULL as f64);
        self.full.push(used.as_secs_f64() * 1e3 / FULL as f64);
        Ok(())
    }
}

/// What a process's threads have spent on a CPU, to the nanosecond: there are few log-ins in a
/// round, and the kernel's ticks are 10 ms.
fn on_cpu(process: &Process) -> Result<Duration> {
    let mut sum = 0;
    for task in fs::read_dir(format!("/proc/{}/task", process.0.id()))? {
        let stat = fs::read_to_string(task?.path().join("schedstat"))?;
        let spent = stat.split_whitespace().next().context("schedstat has another form")?;
        sum += spent.parse::<u64>()?;
    }
    Ok(Duration::from_nanos(sum))
}

/// Logs in by wpa_supplicant's EAP.
pub(crate) fn log_in(address: SocketAddr, (_, eap, phase2): Method, ca: &Path) -> Result<()> {
    let (name, password) = LOGIN;
    let folder = tempfile::tempdir()?;
    let config = folder.path().join("conf");
    fs::write(
        &config,
        format!(
            "network={{\n key_mgmt=WPA-EAP\n eap={eap}\n identity=\"{name}\"\n \
             password=\"{password}\"\n phase2=\"{phase2}\"\n ca_cert=\"{}\"\n}}\n",
            ca.display()
        ),
    )?;
    let output = Command::new("eapol_test")
        .arg("-c")
        .arg(&config)
        .args(["-a", &address.ip().to_string(), "-p", &address.port().to_string()])
        .args(["-s", SECRET, "-t", "5"])
        .output()
        .context("cannot run eapol_test; `make bench` installs it")?;
    let said = String::from_utf8_lossy(&output.stdout);
    let right = said.contains("mismatch: 0") && said.lines().rev().take(3).any(|l| l == "SUCCESS");
    ensure!(right, "not let in: {said}");
    Ok(())
}
