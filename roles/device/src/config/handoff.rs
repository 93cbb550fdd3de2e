//! `[handoff]`: the networks whose security modules know the device, and the servers that it proves
//! itself to.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use homeward_daemon::Period;
use homeward_daemon::config::Invalid;
use homeward_keychain::Flow;
use homeward_keychain::plan::Pace;
use homeward_model::{Nai, Name, Ssid};
use serde::Deserialize;

use super::tunnel::Tunnel;
use crate::dial::Target;

/// Hand-off keys: a hop for each network that traffic goes by, and proofs for servers.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Handoff {
    /// What networks know the device as; it goes with `root_file`. Without both, the portal is asked for
    /// a name and a key.
    pub name: Option<Nai>,
    /// The root key that device and operator share, 64 hexadecimal digits: what
    /// `homeward security-module new-root` made. Networks are given what is derived of it.
    pub root_file: Option<PathBuf>,
    /// Whether networks are told where the device was before they ask; in sessions begun from then
    /// on.
    #[serde(default = "yes")]
    pub volunteer: bool,
    /// Whether to go on, marked, where the key of the network before is not to be had.
    #[serde(default)]
    pub broken: bool,
    /// How long a hop, or a proof, may take.
    #[serde(default = "timeout")]
    pub timeout: Period,
    /// The wait before another try; it doubles up to `retry_most`.
    #[serde(default = "retry")]
    pub retry: Period,
    /// The longest wait before another try.
    #[serde(default = "retry_most")]
    pub retry_most: Period,
    /// The wait after a refusal that a session begun anew got, too.
    #[serde(default = "refused")]
    pub refused: Period,
    /// The most flows that are kept admitted at one server.
    #[serde(default = "flows")]
    pub flows: usize,
    /// Networks that have a module.
    #[serde(default)]
    pub networks: Vec<Network>,
    /// Servers that want hand-offs proven.
    #[serde(default)]
    pub servers: Vec<Server>,
    /// Tunnels to the ePDGs of networks.
    #[serde(default)]
    pub tunnels: Vec<Tunnel>,
}

/// A network that has a module.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Network {
    /// What it is called.
    pub name: Name,
    /// Where its module answers devices: `HOST:PORT`.
    pub module: String,
    /// The module's addresses, where its name is not to be looked up.
    #[serde(default)]
    pub addresses: Vec<SocketAddr>,
    /// The SSIDs that are this network's.
    #[serde(default)]
    pub ssids: BTreeSet<Ssid>,
    /// Whether the cellular bearer is this network's.
    #[serde(default)]
    pub cellular: bool,
    /// Which of the keys it has that are derived for it; where the portal gives the root, it says so.
    #[serde(default = "first")]
    pub version: u32,
}

/// A server that wants hand-offs proven.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Server {
    /// What it is called.
    pub name: Name,
    /// Where its guard answers devices: `HOST:PORT`.
    pub guard: String,
    /// The guard's addresses, where its name is not to be looked up.
    #[serde(default)]
    pub addresses: Vec<SocketAddr>,
    /// What is kept admitted all the time; `homeward device flow` names others.
    #[serde(default)]
    pub flows: Vec<String>,
}

const fn yes() -> bool {
    true
}

const fn first() -> u32 {
    1
}

const fn timeout() -> Period {
    Period(Duration::from_secs(10))
}

fn retry() -> Period {
    Period(Pace::default().retry)
}

fn retry_most() -> Period {
    Period(Pace::default().retry_most)
}

fn refused() -> Period {
    Period(Pace::default().refused)
}

fn flows() -> usize {
    Pace::default().flows
}

impl Network {
    /// Where its module is.
    ///
    /// # Errors
    ///
    /// Says what is wrong with it.
    pub(crate) fn target(&self) -> Result<Target, String> {
        Target::host(&self.module, &self.addresses)
    }
}

impl Server {
    /// Where its guard is.
    ///
    /// # Errors
    ///
    /// Says what is wrong with it.
    pub(crate) fn target(&self) -> Result<Target, String> {
        Target::host(&self.guard, &self.addresses)
    }

    /// What is kept admitted.
    ///
    /// # Errors
    ///
    /// Names the first that is none.
    pub(crate) fn flows(&self) -> Result<Vec<Flow>, String> {
        self.flows.iter().map(|flow| flow.parse().map_err(|e| format!("{e}"))).collect()
    }
}

impl Handoff {
    /// The name and the file of the root key, where those are given by hand.
    pub(crate) fn by_hand(&self) -> Option<(&Nai, &PathBuf)> {
        self.name.as_ref().zip(self.root_file.as_ref())
    }

    /// How patient it is.
    pub(crate) fn pace(&self) -> Pace {
        Pace {
            retry: self.retry.0,
            retry_most: self.retry_most.0,
            refused: self.refused.0,
            flows: self.flows,
        }
    }

    /// The network whose that SSID is; that of cellular, where there is none.
    pub(crate) fn network(&self, ssid: Option<&Ssid>) -> Option<&Network> {
        self.networks.iter().find(|network| match ssid {
            Some(ssid) => network.ssids.contains(ssid),
            None => network.cellular,
        })
    }

    /// Checks what its types do not say.
    ///
    /// # Errors
    ///
    /// Names the first key that is wrong.
    pub fn check(&self) -> Result<(), Invalid> {
        let wrong = |key: &str, what: String| Err(Invalid::new(format!("handoff.{key}"), what));
        let spans = [
            ("timeout", self.timeout, 1..=120),
            ("retry_most", self.retry_most, 1..=3600),
            ("refused", self.refused, 1..=86_400),
        ];
        for (key, Period(span), range) in spans {
            if !range.contains(&span.as_secs()) {
                return wrong(key, format!("give {}s to {}s", range.start(), range.end()));
            }
        }
        if !(50..=60_000).contains(&self.retry.0.as_millis()) {
            return wrong("retry", "give 50ms to 60s".to_owned());
        }
        if self.flows == 0 {
            return wrong("flows", "give 1 or more".to_owned());
        }
        if self.name.is_some() != self.root_file.is_some() {
            let what = "name and root_file go together; without both, the portal is asked for them";
            return wrong("root_file", what.to_owned());
        }
        if self.name.is_none()
            && let Some(network) = self.networks.iter().find(|network| network.version != first())
        {
            let what = format!("{}: the portal says the version: leave it out", network.name);
            return wrong("networks", what);
        }
        let (mut names, mut ssids, mut cellular) = (BTreeSet::new(), BTreeSet::new(), None);
        for network in &self.networks {
            let name = &network.name;
            if let Err(what) = network.target() {
                return wrong("networks", format!("{name}: module {what}"));
            }
            if !names.insert(name) {
                return wrong("networks", format!("{name} is listed twice"));
            }
            if network.ssids.is_empty() && !network.cellular {
                let what = format!("{name}: give its ssids, or cellular = true: when is it used?");
                return wrong("networks", what);
            }
            if let Some(ssid) = network.ssids.iter().find(|ssid| !ssids.insert(*ssid)) {
                return wrong("networks", format!("{name}: {ssid} is another network's, too"));
            }
            if network.cellular
                && let Some(other) = cellular.replace(name)
            {
                return wrong("networks", format!("{name}: cellular is {other}'s already"));
            }
        }
        let mut names = BTreeSet::new();
        for server in &self.servers {
            let name = &server.name;
            if let Err(what) = server.target() {
                return wrong("servers", format!("{name}: guard {what}"));
            }
            if !names.insert(name) {
                return wrong("servers", format!("{name} is listed twice"));
            }
            match server.flows() {
                Err(what) => return wrong("servers", format!("{name}: {what}")),
                Ok(flows) if flows.len() > self.flows => {
                    let what =
                        format!("{name}: these are more than handoff.flows ({})", self.flows);
                    return wrong("servers", what);
                }
                Ok(_) => {}
            }
        }
        self.check_tunnels().map_err(|what| Invalid::new("handoff.tunnels", what))
    }

    fn check_tunnels(&self) -> Result<(), String> {
        for (at, tunnel) in self.tunnels.iter().enumerate() {
            let Tunnel { network, server, vici, name, .. } = tunnel;
            tunnel.check().map_err(|what| format!("{network}: {what}"))?;
            if !self.networks.iter().any(|known| known.name == *network) {
                return Err(format!("{network} is no network of handoff.networks"));
            }
            if !self.servers.iter().any(|known| known.name == *server) {
                return Err(format!("{network}: {server} is no server of handoff.servers"));
            }
            for other in self.tunnels.iter().take(at) {
                if (&other.network, &other.server) == (network, server) {
                    return Err(format!("{network} has two tunnels for {server}"));
                }
                if (&other.vici, &other.name) == (vici, name) && other.server != *server {
                    let what = "give each server's tunnels a name of their own";
                    return Err(format!("{network}: {name} is {}'s, too: {what}", other.server));
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Config;
    use homeward_daemon::config;

    const PLAIN: &str = r#"
[portal]
url = "https://portal.example.net/offload/v1/credentials"
[check]
url = "http://check.example.net/generate_204"
[handoff]
name = "d1@example.net"
root_file = "/etc/homeward/device.root"
"#;
    const LTE: &str = "[[handoff.networks]]\nname = \"lte.example\"\nmodule = \"10.0.0.1:7710\"\ncellular = true\n";
    const TOWN: &str =
        "[[handoff.networks]]\nname = \"town.example\"\nmodule = \"m:7710\"\nssids = [\"Town\"]\n";
    const SIP: &str =
        "[[handoff.servers]]\nname = \"sip.example\"\nguard = \"[2001:db8::1]:7710\"\n";

    fn read(text: &str) -> Result<Handoff, String> {
        let text = format!("{PLAIN}{text}");
        let parsed = config::parse("device.toml".as_ref(), &text, Config::check);
        parsed.map(|config| config.handoff.unwrap()).map_err(|error| error.to_string())
    }

    #[test]
    fn a_network_is_known_by_its_ssid_or_by_being_cellular() {
        let handoff = read(&format!("{LTE}{TOWN}{SIP}flows = [\"call 7\"]\n")).unwrap();
        let name = |ssid: Option<&str>| {
            let ssid = ssid.map(|ssid| ssid.parse::<Ssid>().unwrap());
            handoff.network(ssid.as_ref()).map(|network| network.name.as_str())
        };
        assert_eq!(name(None), Some("lte.example"));
        assert_eq!(name(Some("Town")), Some("town.example"));
        assert_eq!(name(Some("Elsewhere")), None);
        assert_eq!(handoff.servers[0].flows().unwrap().len(), 1);
        assert!(handoff.volunteer && !handoff.broken);
    }

    #[test]
    fn name_and_root_key_come_by_hand_or_both_of_the_portal() {
        assert!(read(LTE).unwrap().by_hand().is_some());
        let (head, _) = PLAIN.split_once("name = ").unwrap();
        let parse = |text: &str| {
            let text = format!("{head}{text}");
            let parsed = config::parse("device.toml".as_ref(), &text, Config::check);
            parsed.map(|config| config.handoff.unwrap()).map_err(|error| error.to_string())
        };
        assert!(parse(LTE).unwrap().by_hand().is_none());
        for (text, says) in [
            ("name = \"d1@example.net\"\n".to_owned(), "name and root_file go together"),
            ("root_file = \"/etc/root\"\n".to_owned(), "name and root_file go together"),
            (format!("{LTE}version = 2\n"), "lte.example: the portal says the version"),
        ] {
            let said = parse(&text).unwrap_err();
            assert!(said.contains(says), "{says}: {said}");
        }
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (text, says) in [
            ("retry = \"1ms\"\n".to_owned(), "handoff.retry"),
            ("timeout = \"1h\"\n".to_owned(), "handoff.timeout"),
            ("flows = 0\n".to_owned(), "handoff.flows"),
            (LTE.replace(":7710", ""), "lte.example: module"),
            (LTE.replace("cellular = true", ""), "lte.example: give its ssids"),
            (format!("{LTE}{LTE}"), "lte.example is listed twice"),
            (format!("{LTE}{}", LTE.replace("lte", "umts")), "cellular is lte.example's already"),
            (format!("{TOWN}{}", TOWN.replace("town", "city")), "Town is another network's"),
            (SIP.replace("]:7710", "]"), "sip.example: guard"),
            (format!("{SIP}{SIP}"), "sip.example is listed twice"),
            (format!("{SIP}flows = [\"\"]\n"), "sip.example: \"\" names no flow"),
            (format!("flows = 1\n{SIP}flows = [\"a\", \"b\"]\n"), "more than handoff.flows (1)"),
        ] {
            let said = read(&text).unwrap_err();
            assert!(said.contains(says), "{says}: {said}");
        }
    }
}
