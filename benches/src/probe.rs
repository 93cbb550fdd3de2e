//! Probe frame in → `ADD` command out: a captured frame is decoded and goes through the real agent
//! and a real core process, until `ADD` arrives at hostapd's control socket. The hostapd is a
//! scripted one, which says OK to everything: what the real one takes is in the lab's figures.

use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use homeward_daemon::{Reload, Shutdown, SystemClock};
use homeward_dot11::build;
use homeward_gateway::ear::Counts;
use homeward_model::{Clock, Instant, Rssi};
use tokio::sync::mpsc;

use crate::figures::{Figure, percentile};
use crate::population::{Population, mac, ssid};
use crate::world::{Core, GATEWAY, SECRET};

/// Devices of different homes; each needs a VAP of its own.
const HOMES: u32 = 512;
/// VAPs at a time, and then all are let go.
const BATCH: u32 = 64;
const PATIENCE: Duration = Duration::from_secs(10);

pub(crate) fn measure() -> Result<()> {
    let core = Core::start(Population::homes(HOMES))?;
    let folder = tempfile::tempdir()?;
    let hostapd = ScriptedHostapd::start(folder.path())?;
    let roam = format!("[roam]\nmax_vaps = {BATCH}\nidle = \"1s\"\n");
    let config = hostapd.gateway_config(folder.path(), core.address, &roam)?;
    let config = homeward_gateway::Config::load(&config)?;
    let heard = Arc::new(Counts::default());
    let (out, probes) = mpsc::channel(16);
    let shutdown = Shutdown::new();
    let agent = {
        let (heard, shutdown) = (Arc::clone(&heard), shutdown.clone());
        std::thread::spawn(move || -> Result<()> {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            let (_requester, reload) = Reload::channel();
            runtime.block_on(homeward_gateway::service::run_hearing(
                config,
                PathBuf::new(),
                heard,
                probes,
                shutdown,
                reload,
            ))
        })
    };
    hostapd.wait_for("ATTACH", PATIENCE)?;
    let outcome = (|| {
        for name in ["probe-to-add/through-core", "probe-to-add/from-memory"] {
            let mut figures = pass(&hostapd, &heard, &out)?;
            let runs = figures.len();
            for p in [50, 99] {
                Figure::alone(&format!("{name}/p{p}"), "us", percentile(&mut figures, p), runs)
                    .record()?;
            }
        }
        anyhow::Ok(())
    })();
    shutdown.trigger();
    agent.join().map_err(|_| anyhow::anyhow!("the agent panicked"))??;
    outcome
}

/// One pass over all homes: how long each took, in us.
fn pass(
    hostapd: &ScriptedHostapd,
    heard: &Counts,
    out: &mpsc::Sender<homeward_gateway::ear::Probe>,
) -> Result<Vec<f64>> {
    let mut figures = Vec::new();
    for n in 0..HOMES {
        let frame =
            build::captured(&build::probe_request(mac(n), Some(&ssid(n)), 1), Rssi(-50), 2437);
        hostapd.clear("ADD");
        let began = SystemClock.now();
        let probe = heard.listen(&frame, began).context("the frame is no probe request")?;
        out.blocking_send(probe).context("the agent has ended")?;
        let added = hostapd.wait_for("ADD", PATIENCE)?;
        figures.push(added.since(began).as_secs_f64() * 1e6);
        if (n + 1) % BATCH == 0 {
            hostapd.wait_for_count("REMOVE", u64::from(BATCH), PATIENCE)?;
            hostapd.clear("REMOVE");
        }
    }
    Ok(figures)
}

/// By the command's verb: how many came, and when the last did.
type Seen = BTreeMap<String, (u64, Instant)>;

/// A control socket that says OK to everything and notes when each kind of command came. It is no
/// hostapd; it stands for one where hostapd's own time is not what is measured.
pub(crate) struct ScriptedHostapd {
    socket: PathBuf,
    seen: Arc<(Mutex<Seen>, Condvar)>,
}

impl ScriptedHostapd {
    pub(crate) fn start(folder: &Path) -> Result<Self> {
        let path = folder.join("hostapd");
        let socket = UnixDatagram::bind(&path)?;
        let seen = Arc::new((Mutex::new(Seen::new()), Condvar::new()));
        let noted = Arc::clone(&seen);
        // Ends with the process: it waits for commands for ever.
        std::thread::spawn(move || {
            let mut room = [0u8; 8192];
            let mut bsss: Vec<String> = vec!["wlan0".into()];
            while let Ok((len, peer)) = socket.recv_from(&mut room) {
                let at = SystemClock.now();
                let command =
                    String::from_utf8_lossy(room.get(..len).unwrap_or_default()).into_owned();
                let reply = reply(&command, &mut bsss);
                if let Some(peer) = peer.as_pathname() {
                    let _ = socket.send_to(reply.as_bytes(), peer);
                }
                let verb = command
                    .split_whitespace()
                    .find(|w| !w.starts_with("IFNAME="))
                    .unwrap_or_default();
                let (counts, changed) = &*noted;
                let mut counts = counts.lock().unwrap_or_else(PoisonError::into_inner);
                let entry = counts.entry(verb.to_owned()).or_insert((0, at));
                *entry = (entry.0 + 1, at);
                changed.notify_all();
            }
        });
        Ok(Self { socket: path, seen })
    }

    /// Writes a gateway's configuration for this hostapd; returns its path.
    pub(crate) fn gateway_config(
        &self,
        folder: &Path,
        core: SocketAddr,
        roam: &str,
    ) -> Result<PathBuf> {
        fs::set_permissions(folder, fs::Permissions::from_mode(0o700))?;
        let secret = folder.join("secret");
        fs::write(&secret, SECRET)?;
        fs::set_permissions(&secret, fs::Permissions::from_mode(0o600))?;
        let config = folder.join("gateway.toml");
        fs::write(
            &config,
            format!(
                "name = \"{GATEWAY}\"\n[radio]\nhostapd = {:?}\ninterface = \"wlan0\"\nrun_directory = {:?}\n\
                 [[core]]\naddress = \"{core}\"\nsecret = {{ file = {secret:?} }}\n\
                 [disconnect]\nlisten = \"127.0.0.1:0\"\n[control]\nsocket = {:?}\n{roam}",
                self.socket,
                folder.join("run"),
                folder.join("gateway.sock")
            ),
        )?;
        Ok(config)
    }

    /// Waits until a command of that kind has come since it was last cleared; when it came.
    pub(crate) fn wait_for(&self, verb: &str, patience: Duration) -> Result<Instant> {
        self.wait_for_count(verb, 1, patience)
    }

    pub(crate) fn wait_for_count(
        &self,
        verb: &str,
        count: u64,
        patience: Duration,
    ) -> Result<Instant> {
        let (counts, changed) = &*self.seen;
        let guard = counts.lock().unwrap_or_else(PoisonError::into_inner);
        let enough = |counts: &Seen| counts.get(verb).is_some_and(|(n, _)| *n >= count);
        let (guard, _) = changed
            .wait_timeout_while(guard, patience, |counts| !enough(counts))
            .unwrap_or_else(PoisonError::into_inner);
        match guard.get(verb) {
            Some((n, at)) if *n >= count => Ok(*at),
            _ => bail!("waited {patience:?} for {count} {verb}, in vain"),
        }
    }

    fn clear(&self, verb: &str) {
        self.seen.0.lock().unwrap_or_else(PoisonError::into_inner).remove(verb);
    }
}

fn reply(command: &str, bsss: &mut Vec<String>) -> String {
    let word = |at: usize| command.split_whitespace().nth(at).unwrap_or_default();
    if command == "PING" {
        return "PONG\n".into();
    }
    if let Some(config) = command.strip_prefix("ADD ") {
        // bss_config=phy0:/run/…/vap0.conf
        let name = config.rsplit('/').next().and_then(|f| f.strip_suffix(".conf"));
        bsss.extend(name.map(str::to_owned));
    } else if word(0) == "REMOVE" {
        bsss.retain(|b| b != word(1));
    } else if command.ends_with("STATUS") {
        let mut status = String::from("state=ENABLED\nphy=phy0\nfreq=2437\nchannel=6\n");
        for (i, bss) in bsss.iter().enumerate() {
            status.push_str(&format!(
                "bss[{i}]={bss}\nbssid[{i}]=02:00:00:00:00:{i:02x}\nssid[{i}]=Owner\nnum_sta[{i}]=0\n"
            ));
        }
        return status;
    } else if command.contains("STA-FIRST") {
        return String::new();
    }
    "OK\n".into()
}
