//! Hand-off keys for a phone: a security module for the mobile network, one within the operator's
//! core for its Wi-Fi, one of a third network, and a guard in front of a service.
//!
//! ```text
//!   phone ── wwan0 ── lte.example's module  10.91.0.2:7081 ┐
//!         ── wlanN ── town.example's, the core 10.0.0.1:7080 ┤ mutual TLS, each to each
//!         ── wlanN ── harbour.example's     10.0.0.1:7083 │
//!         ── any ──── sip.example's guard   10.0.0.1:7082 ┘
//! ```

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use homeward_cell::network::SERVICES;
use homeward_daemon::SystemEntropy;
use homeward_daemon::control::{Request, ask};
use homeward_handoff::{Identity, key_file};
use homeward_keychain::RootKey;
use homeward_model::{Instant, Name};
use homeward_net::wait::{now, wait_for, wall_offset};
use homeward_net::{Namespace, Process};
use serde_json::Value;

use crate::RUN;
use crate::lab::{CORE, Lab};
use crate::offload::{HARBOUR_SSID, SSID};
use crate::report::handoff::Hop;

/// The mobile network.
pub const LTE: &str = "lte.example";
/// The operator's Wi-Fi.
pub const TOWN: &str = "town.example";
/// Somebody else's Wi-Fi.
pub const HARBOUR: &str = "harbour.example";
/// The service.
pub const SIP: &str = "sip.example";
/// What the phone has the service admit.
pub const FLOW: &str = "sip:alice@example.net";
/// What networks know the phone as.
const PHONE: &str = "d1@example.net";
/// How long a daemon may take to come up.
const START: Duration = Duration::from_secs(30);

/// Who they are, with the ports where they answer each other, and devices.
const ALL: [(&str, u16, u16); 4] =
    [(LTE, 7451, 7081), (TOWN, 7450, 7080), (SIP, 7452, 7082), (HARBOUR, 7453, 7083)];

fn folder() -> PathBuf {
    Path::new(RUN).join("handoff")
}

/// What one of them is told, as tables of its configuration; `within` is the table that they are in.
/// Keys are made where there are none.
///
/// # Errors
/// If a key cannot be made.
pub fn tables(of: &str, within: &str) -> Result<String> {
    let folder = folder();
    homeward_daemon::private::directory(&folder)?;
    let at = |name: &str, what: &str| folder.join(format!("{name}.{what}"));
    let mut own = String::new();
    let mut peers = String::new();
    for (name, port, devices) in ALL {
        if name == of {
            let host = if name == LTE { SERVICES } else { CORE };
            own = format!(
                "[{within}handoff]\nname = \"{name}\"\nlisten = [\"{CORE}:{port}\"]\n\
                 devices = [\"{host}:{devices}\"]\nkey_file = {:?}\nstate = {:?}\n\
                 state_key_file = {:?}\n",
                at(name, "key"),
                at(name, "db"),
                at(name, "state-key"),
            );
        } else {
            let known: Name = name.parse()?;
            let key = Identity::load(known, &at(name, "key"), &mut SystemEntropy::new())?.key();
            peers += &format!(
                "[[{within}handoff.peers]]\nname = \"{name}\"\nkey = \"{key}\"\n\
                 address = \"{CORE}:{port}\"\n"
            );
        }
    }
    Ok(own + &peers)
}

/// The modules of the mobile network and of the third, and the guard; the core has the other module.
#[derive(Debug)]
pub struct Handoffs {
    lab: Lab,
    root: PathBuf,
    _modules: [Process; 2],
    _guard: Process,
}

impl Handoffs {
    /// Starts them, and enrols the phone with both networks. `core` is the core's status socket.
    ///
    /// # Errors
    /// If one does not come up.
    pub async fn start(lab: &Lab, core: &Path) -> Result<Self> {
        let role = |role: &str, of: &str| -> Result<Process> {
            let config = folder().join(format!("{of}.toml"));
            let socket = folder().join(format!("{of}.sock"));
            let text = format!("{}[control]\nsocket = {socket:?}\n", tables(of, "")?);
            fs::write(&config, text)?;
            let config = config.display().to_string();
            lab.homeward(&format!("{role}-{of}"), &[role, "--config", &config], &Namespace::ROOT)
        };
        let mut modules = [role("security-module", LTE)?, role("security-module", HARBOUR)?];
        let mut guard = role("guard", SIP)?;
        for module in &mut modules {
            module.says("security module open", START).await?;
        }
        guard.says("guard open", START).await?;
        let root = folder().join("phone.root");
        let key = RootKey::new(*key_file::make(&root, &mut SystemEntropy::new())?);
        let own = |of: &str| (of.to_owned(), folder().join(format!("{of}.sock")));
        for (network, socket) in [own(LTE), own(HARBOUR), (TOWN.to_owned(), core.into())] {
            let key = key.device_key(&network.parse()?, 1);
            let request = Request::new("enrol").with("device", PHONE).with("version", 1);
            let request = request.with("key", key_file::text(key.expose()).as_str());
            ask(&socket, &request).await.with_context(|| format!("{network} does not enrol"))?;
        }
        Ok(Self { lab: lab.clone(), root, _modules: modules, _guard: guard })
    }

    /// The phone's table.
    pub fn phone(&self) -> String {
        let network = |name: &str, host: std::net::Ipv4Addr, port: u16, when: &str| {
            format!("[[handoff.networks]]\nname = \"{name}\"\nmodule = \"{host}:{port}\"\n{when}\n")
        };
        let [(_, _, lte), (_, _, town), (_, _, sip), (_, _, harbour)] = ALL;
        format!(
            "[handoff]\nname = \"{PHONE}\"\nroot_file = {:?}\n{}{}{}\
             [[handoff.servers]]\nname = \"{SIP}\"\nguard = \"{CORE}:{sip}\"\nflows = [\"{FLOW}\"]\n",
            self.root,
            network(LTE, SERVICES, lte, "cellular = true"),
            network(TOWN, CORE, town, &format!("ssids = [\"{SSID}\"]")),
            network(HARBOUR, CORE, harbour, &format!("ssids = [\"{HARBOUR_SSID}\"]")),
        )
    }

    /// The trace of the phone's session, as the guard has it; null before there is one.
    async fn session(&self) -> Result<Value> {
        let mut trace = ask(&folder().join("sip.example.sock"), &Request::new("trace")).await?;
        Ok(trace["sessions"][0].take())
    }

    /// Waits until the guard admits the phone by a chain of so many hops; when that was.
    ///
    /// # Errors
    /// If it does not within `limit`.
    pub async fn admitted(&self, hops: usize, limit: Duration) -> Result<Instant> {
        let mut last = Value::Null;
        let waited = wait_for("a flow that is admitted anew", limit, async || {
            last = self.session().await?;
            Ok((last["flows"][0]["hops"] == hops).then(now))
        });
        waited.await.with_context(|| format!("the last was {last:#}"))
    }

    /// The hops of the phone, by a clock that began at `began`: after the trace was kept beside the
    /// logs, as `evidence.json`, and checked by itself.
    ///
    /// # Errors
    /// If it is not whole.
    pub async fn hops(&self, began: Instant) -> Result<Vec<Hop>> {
        let config = folder().join("sip.example.toml").display().to_string();
        let guard = async |words: &[&str]| {
            let words = [&["guard", "--config", &config], words].concat();
            let output = self.lab.homeward_output(&words).await?;
            let said = String::from_utf8_lossy(&output.stdout).into_owned();
            let error = String::from_utf8_lossy(&output.stderr).into_owned();
            ensure!(output.status.success(), "{words:?}: {said}{error}");
            Ok(said)
        };
        let trace = guard(&["trace", "--json"]).await?;
        let evidence = self.lab.save("evidence.json", &trace)?.display().to_string();
        guard(&["check-trace", &evidence, "--json"]).await?;
        let trace: Value = serde_json::from_str(&trace)?;
        let began_ms = (wall_offset() + began.as_nanos()) as f64 / 1e6;
        let hops = trace["sessions"][0]["hops"].as_array().into_iter().flatten();
        hops.map(|hop| Hop::read(hop, began_ms))
            .collect::<Option<_>>()
            .context("a hop that is not told of as it should be")
    }
}
