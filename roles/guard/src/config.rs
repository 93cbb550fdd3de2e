//! The guard's configuration file.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use homeward_daemon::Period;
use homeward_daemon::config::{self, ConfigError, Invalid};
use homeward_daemon::log::LogConfig;
use homeward_daemon::process::{ControlConfig, MetricsConfig};
use homeward_digest::Algorithm;
use homeward_handoff::HandoffConfig;
use homeward_keychain::message::MAX_HOPS;
use homeward_keychain::server;
use homeward_linux::gate::{Carrier, Gate, Service};
use homeward_model::Name;
use ipnet::IpNet;
use serde::{Deserialize, Deserializer};

/// `/etc/homeward/guard.toml`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Who this is, where it listens, and whom it deals with.
    pub handoff: HandoffConfig,
    /// What it lets pass.
    #[serde(default)]
    pub policy: Policy,
    /// Who asks it.
    #[serde(default)]
    pub verify: VerifyConfig,
    /// Passwords that follow the chain.
    #[serde(default)]
    pub digest: DigestConfig,
    /// What is closed to all but admitted flows; unset: nothing, and who stands in front of the
    /// service asks.
    #[serde(default)]
    pub gate: Option<GateConfig>,
    /// The status socket.
    #[serde(default)]
    pub control: ControlConfig,
    /// Metrics over HTTP.
    #[serde(default)]
    pub metrics: MetricsConfig,
    /// Logs.
    #[serde(default)]
    pub log: LogConfig,
}

/// What the guard lets pass, and for how long.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Policy {
    /// Networks in which a chain may begin; unset: in all that are peers. The first network knows
    /// all keys that there are then: best it is the server's own.
    pub first: Option<BTreeSet<Name>>,
    /// Whether chains are admitted, and marked, in which the key of a hop before is missing because
    /// nobody could be reached.
    pub broken: bool,
    /// The most hops of a chain.
    pub hops: u16,
    /// How far clocks may be apart.
    pub skew: Period,
    /// For how long a flow is admitted without another proof.
    pub admitted: Period,
    /// How long a device has for its proof.
    pub proof: Period,
    /// The most sessions that are followed; more are refused.
    pub sessions: usize,
    /// The most flows of one session.
    pub flows: usize,
    /// Whether a flow that names an address ([`Endpoint`](homeward_linux::Endpoint)) is admitted
    /// only for a device that calls from there: otherwise one could take another's.
    pub own_address: bool,
}

impl Default for Policy {
    fn default() -> Self {
        let seconds = |n| Period(Duration::from_secs(n));
        Self {
            first: None,
            broken: false,
            hops: MAX_HOPS,
            skew: seconds(5),
            admitted: seconds(3600),
            proof: seconds(10),
            sessions: 100_000,
            flows: 16,
            own_address: true,
        }
    }
}

/// `[verify]`: who asks whether a flow is admitted.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct VerifyConfig {
    /// Where: for programs of this machine or of one network, in the clear.
    pub listen: Vec<SocketAddr>,
    /// Who is answered: by default this machine alone.
    pub from: Vec<IpNet>,
}

impl Default for VerifyConfig {
    fn default() -> Self {
        Self { listen: Vec::new(), from: loopback().to_vec() }
    }
}

/// `[digest]`: SIP's and HTTP's digest authentication, by a password that is another with each hop.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DigestConfig {
    /// The realm; unset: what the server is called.
    pub realm: Option<String>,
    /// By what is hashed, in the order in which clients are to prefer it.
    pub algorithms: Vec<Algorithm>,
    /// For how long a nonce is good.
    pub nonce: Period,
    /// How many nonces that were used are remembered: with more, the oldest are good no longer.
    pub nonces: usize,
}

impl Default for DigestConfig {
    /// SHA-256, or MD5 where a phone has nothing else; 30 seconds.
    fn default() -> Self {
        Self {
            realm: None,
            algorithms: Algorithm::ALL.to_vec(),
            nonce: Period(Duration::from_secs(30)),
            nonces: 100_000,
        }
    }
}

/// `[gate]`: services that ask nobody, closed by nftables to all but admitted flows.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct GateConfig {
    /// What is closed, here or behind this machine.
    #[serde(deserialize_with = "services")]
    pub services: Vec<Service>,
    /// Who is let through always: by default this machine.
    pub pass: Vec<IpNet>,
    /// How often it is looked whether the rules are in force.
    pub check: Period,
}

impl Default for GateConfig {
    fn default() -> Self {
        let check = Period(Duration::from_secs(10));
        Self { services: Vec::new(), pass: loopback().to_vec(), check }
    }
}

fn services<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<Service>, D::Error> {
    let texts = Vec::<String>::deserialize(from)?;
    let read = |text: &String| {
        let read = text.parse();
        read.map_err(|error| serde::de::Error::custom(format!("{text:?} is no service: {error}")))
    };
    texts.iter().map(read).collect()
}

impl GateConfig {
    /// As the kernel is told.
    pub fn gate(&self) -> Gate {
        Gate::new(self.services.clone(), self.pass.clone())
    }

    fn check(&self, open: &[SocketAddr]) -> Result<(), Invalid> {
        let wrong = |key: &str, say: String| Err(Invalid::new(format!("gate.{key}"), say));
        if self.services.is_empty() {
            let say = "is empty: name what is to be closed, such as \"tcp 192.0.2.10:5060\"";
            return wrong("services", say.into());
        }
        // Who is shut out there could never prove.
        let shuts = |service: &Service, at: &SocketAddr| {
            let meets = |address: IpAddr| at.ip().is_unspecified() || at.ip() == address;
            service.carrier == Carrier::Tcp
                && service.ports.contains(&at.port())
                && service.address.is_none_or(meets)
        };
        for service in &self.services {
            if let Some(at) = open.iter().find(|at| shuts(service, at)) {
                let say =
                    format!("{service} would shut out who comes to the guard itself, at {at}");
                return wrong("services", say);
            }
        }
        if !(1..=3600).contains(&self.check.0.as_secs()) {
            return wrong("check", "give 1s to 1h".into());
        }
        Ok(())
    }
}

impl DigestConfig {
    fn check(&self) -> Result<(), Invalid> {
        let wrong = |key: &str, say: &str| Err(Invalid::new(format!("digest.{key}"), say));
        let good = |c: char| c == ' ' || c.is_ascii_graphic() && !['"', '\\'].contains(&c);
        if self.realm.as_ref().is_some_and(|realm| realm.is_empty() || !realm.chars().all(good)) {
            return wrong("realm", "give printable ASCII without quotation mark and backslash");
        }
        if self.algorithms.is_empty() {
            return wrong("algorithms", "is empty: nobody could answer. Give \"SHA-256\", \"MD5\"");
        }
        if !(1..=3600).contains(&self.nonce.0.as_secs()) {
            return wrong("nonce", "give 1s to 1h");
        }
        if self.nonces == 0 {
            return wrong("nonces", "give 1 or more");
        }
        Ok(())
    }
}

/// 127.0.0.0/8 and ::1/128.
fn loopback() -> [IpNet; 2] {
    const V4: IpNet = IpNet::new_assert(IpAddr::V4(Ipv4Addr::new(127, 0, 0, 0)), 8);
    const V6: IpNet = IpNet::new_assert(IpAddr::V6(Ipv6Addr::LOCALHOST), 128);
    [V4, V6]
}

impl VerifyConfig {
    /// Whether who asks from there is answered.
    pub fn answers(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.from.iter().any(|network| network.contains(&address))
    }

    fn check(&self) -> Result<(), Invalid> {
        let own = |network: &IpNet| loopback().iter().any(|own| own.contains(network));
        let beyond = self.listen.iter().find(|at| !at.ip().to_canonical().is_loopback());
        match beyond {
            Some(at) if self.from.iter().all(own) => Err(Invalid::new(
                "verify.from",
                format!(
                    "name who may ask at {at}, such as \"192.0.2.0/24\": only this machine would be answered"
                ),
            )),
            _ => Ok(()),
        }
    }
}

impl Policy {
    /// As the chain is told.
    pub fn chain(&self) -> server::Policy {
        let Self { first, broken, hops, skew, .. } = self;
        server::Policy { skew: skew.0, broken: *broken, hops: *hops, first: first.clone() }
    }

    fn check(&self) -> Result<(), Invalid> {
        let wrong = |key: &str, say: String| Err(Invalid::new(format!("policy.{key}"), say));
        if !(1..=MAX_HOPS).contains(&self.hops) {
            return wrong("hops", format!("give 1 to {MAX_HOPS}"));
        }
        if self.first.as_ref().is_some_and(BTreeSet::is_empty) {
            return wrong("first", "is empty: no chain could begin. Leave it out for all".into());
        }
        for (key, number) in [("sessions", self.sessions), ("flows", self.flows)] {
            if number == 0 {
                return wrong(key, "give 1 or more".into());
            }
        }
        for (key, period, least, most, say) in [
            ("skew", self.skew, 0, 600, "0s to 10m"),
            ("admitted", self.admitted, 10, 86_400, "10s to 1d"),
            ("proof", self.proof, 1, 60, "1s to 60s"),
        ] {
            if !(least..=most).contains(&period.0.as_secs()) {
                return wrong(key, format!("give {say}"));
            }
        }
        Ok(())
    }
}

impl Config {
    /// Reads and checks a configuration file.
    ///
    /// # Errors
    /// Names file, line, column and key.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        config::load_with(path, Self::check)
    }

    /// Checks what its types do not say.
    ///
    /// # Errors
    /// Names the first key that is wrong.
    pub fn check(&self) -> Result<(), Invalid> {
        self.handoff.check()?;
        self.policy.check()?;
        self.verify.check()?;
        self.digest.check()?;
        if let Some(gate) = &self.gate {
            let Self { handoff, verify, .. } = self;
            gate.check(&[&handoff.devices[..], &handoff.listen, &verify.listen].concat())?;
        }
        let known = |name: &Name| {
            *name == self.handoff.name || self.handoff.peers.iter().any(|peer| peer.name == *name)
        };
        let unknown = self.policy.first.iter().flatten().find(|name| !known(name));
        match unknown {
            Some(name) => Err(Invalid::new(
                "policy.first",
                format!("{name} is no peer: no chain begins there"),
            )),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHIPPED: &str = include_str!("../../../packaging/guard.toml");

    fn read(text: &str) -> Result<Config, ConfigError> {
        config::parse(Path::new("guard.toml"), text, Config::check)
    }

    #[test]
    fn the_shipped_file_says_what_is_so_without_it() {
        let shipped = read(SHIPPED).unwrap();
        let lines = SHIPPED.lines().map(|line| line.strip_prefix("# ").unwrap_or(line));
        // Which networks there are, only an operator knows.
        let said = |line: &&str| {
            line.contains(" = ") && !line.starts_with("first") || line.starts_with('[')
        };
        let all: Vec<&str> = lines.filter(said).collect();
        let all = read(&all.join("\n")).unwrap();
        assert_eq!((&all.policy, &all.verify), (&shipped.policy, &shipped.verify));
        assert_eq!(shipped.policy, Policy::default());
        assert_eq!(shipped.verify.from, VerifyConfig::default().from);
        assert_eq!(all.digest.realm.as_deref(), Some(shipped.handoff.name.as_str()));
        let gate = all.gate.unwrap();
        assert_eq!(GateConfig { services: Vec::new(), ..gate }, GateConfig::default());
        assert_eq!(shipped.gate, None, "what is to be closed, only an operator knows");
        assert_eq!(DigestConfig { realm: None, ..all.digest }, shipped.digest);
    }

    #[test]
    fn what_would_admit_nobody_is_named() {
        let handoff =
            "[handoff]\nname = \"s\"\nkey_file = \"/x\"\nstate = \"/y\"\nstate_key_file = \"/z\"\n";
        for (text, key) in [
            ("[verify]\nlisten = [\"0.0.0.0:7081\"]\n", "verify.from"),
            ("[verify]\nlisten = [\"0.0.0.0:7081\"]\nfrom = [\"127.0.0.0/8\"]\n", "verify.from"),
            ("[digest]\nrealm = \"a\\\"b\"\n", "digest.realm"),
            ("[digest]\nrealm = \"\"\n", "digest.realm"),
            ("[digest]\nalgorithms = []\n", "digest.algorithms"),
            ("[digest]\nnonce = \"0s\"\n", "digest.nonce"),
            ("[digest]\nnonces = 0\n", "digest.nonces"),
            ("[gate]\n", "gate.services"),
            ("[gate]\nservices = [\"tcp 0\"]\n", "\"tcp 0\" is no service"),
            (
                "[gate]\nservices = [\"tcp 7000-7100\"]\n[verify]\nlisten = [\"127.0.0.1:7081\"]\n",
                "127.0.0.1:7081",
            ),
            ("[gate]\nservices = [\"tcp 1\"]\ncheck = \"0s\"\n", "gate.check"),
        ] {
            let error = read(&format!("{handoff}{text}")).unwrap_err().to_string();
            assert!(error.contains(key), "{error}");
        }
        let beside = "[gate]\nservices = [\"udp 7000-7100\", \"tcp 192.0.2.1:7081\"]\n\
                      [verify]\nlisten = [\"127.0.0.1:7081\"]\n";
        read(&format!("{handoff}{beside}")).unwrap();
        let ours = "[verify]\nlisten = [\"0.0.0.0:7081\"]\nfrom = [\"192.0.2.0/24\"]\n";
        let config = read(&format!("{handoff}{ours}")).unwrap();
        let answers = |address: &str| config.verify.answers(address.parse().unwrap());
        assert!(answers("192.0.2.7") && answers("::ffff:192.0.2.7"));
        assert!(!answers("192.0.3.7") && !answers("127.0.0.1") && !answers("::1"));
    }
}
