//! The gateway's configuration file.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use homeward_channel::ChannelConfig;
use homeward_daemon::config::{self, ConfigError, Invalid, SecretSource};
use homeward_daemon::log::LogConfig;
use homeward_daemon::process::MetricsConfig;
use homeward_daemon::{Period, Rate, control};
use homeward_model::{Name, Rssi};
use homeward_transport::Endpoint;
use serde::Deserialize;

/// `/etc/homeward/gateway.toml`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The gateway's name in the operator's datastore: its NAS-Identifier.
    pub name: Name,
    /// The radio.
    pub radio: Radio,
    /// The core's servers, first choice first.
    pub core: Vec<Core>,
    /// How roamers are served.
    #[serde(default)]
    pub roam: Roam,
    /// How the household's own roaming devices are served when they are at home.
    #[serde(default)]
    pub home: Home,
    /// The RADIUS proxy on this machine, where the core is reached by TLS.
    #[serde(default)]
    pub proxy: LocalProxy,
    /// The control channel to the operator's controller.
    #[serde(default)]
    pub channel: ChannelConfig,
    /// The tunnels between gateways.
    #[serde(default)]
    pub tunnel: Tunnel,
    /// What the owner keeps for themselves.
    #[serde(default)]
    pub owner: Owner,
    /// What is reported of what roamers use.
    #[serde(default)]
    pub accounting: Accounting,
    /// Where Disconnect-Requests arrive.
    #[serde(default)]
    pub disconnect: Disconnect,
    /// The status socket.
    #[serde(default)]
    pub control: Control,
    /// Metrics over HTTP.
    #[serde(default)]
    pub metrics: MetricsConfig,
    /// Logs.
    #[serde(default)]
    pub log: LogConfig,
}

/// The radio, and the hostapd that runs it.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Radio {
    /// hostapd's global control socket (`hostapd -g`).
    pub hostapd: PathBuf,
    /// The interface of the owner's access point.
    pub interface: String,
    /// The monitor interface that the agent makes on the same radio.
    #[serde(default = "monitor")]
    pub monitor: String,
    /// What the interfaces of VAPs are called; a number follows.
    #[serde(default = "prefix")]
    pub vap_prefix: String,
    /// Where the files live that hostapd reads keys from. On a tmpfs.
    #[serde(default = "run_directory")]
    pub run_directory: PathBuf,
}

/// One RADIUS server of the core: reached by TLS, or by UDP.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Core {
    /// Where it is reached by TLS (RFC 6614), with the certificate of the gateway's enrolment.
    pub radsec: Option<Endpoint>,
    /// Its address and port, by UDP.
    pub address: Option<SocketAddr>,
    /// The secret shared with it, by UDP.
    pub secret: Option<SecretSource>,
}

impl Core {
    /// Where it is reached by UDP, and the secret shared with it, if that is how.
    pub fn by_udp(&self) -> Option<(SocketAddr, &SecretSource)> {
        Some((self.address?, self.secret.as_ref()?))
    }
}

/// The RADIUS proxy on this machine, through which a core is asked that is reached by TLS.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LocalProxy {
    /// Where look-ups and log-ins are taken; records are one port above. Port 0: any.
    pub listen: SocketAddr,
    /// The secret of who asks; unset: one that hostapd is told, and nobody else.
    pub secret: Option<SecretSource>,
    /// The longest pause before a connection to the core is tried again.
    pub reconnect: Period,
}

impl Default for LocalProxy {
    fn default() -> Self {
        let listen = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);
        Self { listen, secret: None, reconnect: Period(Duration::from_secs(10)) }
    }
}

/// How roamers are served. All but the bridge is as in [`homeward_vap::Settings`].
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[expect(missing_docs, reason = "the fields that override a default are documented there")]
pub struct Roam {
    /// The bridge of those roamers whose traffic leaves here (local breakout); unset: none, and
    /// such a VAP's interface is on its own.
    pub bridge: Option<String>,
    /// The interfaces that lead from there to the Internet, and nowhere else. With one or more,
    /// the gateway keeps the bridge's roamers to them, and gives them its address there (NAT);
    /// with none, that is the owner's to do.
    pub uplinks: Vec<String>,
    pub max_vaps: Option<usize>,
    pub max_devices: Option<usize>,
    pub min_signal: Option<Rssi>,
    pub lookups_per_second: Option<u32>,
    pub lookup_burst: Option<u32>,
    pub memory: Option<usize>,
    pub max_prepared: Option<usize>,
    pub refresh: Option<Period>,
    pub stale: Option<Period>,
    pub forget: Option<Period>,
    pub negative: Option<Period>,
    pub unreachable: Option<Period>,
    pub idle: Option<Period>,
}

/// At home.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Home {
    /// The file that the owner's hostapd has as `wpa_psk_file=`.
    pub psk_file: Option<PathBuf>,
    /// The bridge of the owner's LAN, where the tunnels of this home's devices end; unset: none
    /// do, and the household's devices are without it when they are away.
    pub bridge: Option<String>,
}

/// The tunnels between gateways.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Tunnel {
    /// Where the other gateways' datagrams arrive (UDP).
    pub listen: Vec<SocketAddr>,
    /// Where others are to send theirs, where that differs from what the controller sees of this
    /// gateway: behind a NAT with a port forwarded, on several lines.
    pub advertise: Vec<SocketAddr>,
    /// The DiffServ code point of the tunnels' datagrams.
    pub dscp: u8,
    /// How often an idle tunnel says something, so that a NAT in front of this gateway remembers
    /// it; unset: never.
    pub keepalive: Option<Period>,
    /// How often the core is asked how the Internet sees this gateway, where it answers that (STUN).
    pub stun_interval: Period,
    /// The same as `keepalive`, where that and `advertise` are unset and the core sees a NAT in front of
    /// this gateway; zero: never.
    pub nat_keepalive: Period,
    /// For how long a frame waits for its tunnel to be up; zero: not at all. 32 frames of a
    /// tunnel may wait.
    pub hold: Period,
    /// For how long this gateway goes on by itself while the controller is away. Tunnels that are
    /// up stay up even then.
    pub offline: Period,
}

impl Default for Tunnel {
    fn default() -> Self {
        Self {
            listen: vec![SocketAddr::from((std::net::Ipv6Addr::UNSPECIFIED, 1701))],
            advertise: Vec::new(),
            dscp: 1,
            keepalive: None,
            stun_interval: Period(Duration::from_secs(30)),
            nat_keepalive: Period(Duration::from_secs(25)),
            hold: Period(Duration::from_secs(3)),
            offline: Period(Duration::from_secs(4 * 3600)),
        }
    }
}

/// What the owner keeps: roamers share what the owner leaves (R14).
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Owner {
    /// The interface to the Internet; unset: nothing is shaped.
    pub uplink: Option<String>,
    /// What the line carries towards the Internet. A little less than the modem does, or its
    /// queue is where packets wait.
    pub up: Option<Rate>,
    /// What the line carries from the Internet.
    pub down: Option<Rate>,
    /// The most that all roamers together may use of `up`; unset: all that the owner leaves.
    pub roamers_up: Option<Rate>,
    /// The same of `down`.
    pub roamers_down: Option<Rate>,
}

/// What is reported of what roamers use (RFC 2866): hostapd does, of every VAP.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Accounting {
    /// Whether anything is.
    pub enabled: bool,
    /// The port of the core's servers for it; unset: one above that of look-ups.
    pub port: Option<u16>,
    /// How often.
    pub interim: Period,
}

impl Default for Accounting {
    fn default() -> Self {
        Self { enabled: true, port: None, interim: Period(Duration::from_secs(300)) }
    }
}

impl Accounting {
    /// The server for accounting beside one for look-ups.
    pub fn beside(&self, lookups: SocketAddr) -> SocketAddr {
        let port = self.port.unwrap_or(lookups.port().saturating_add(1));
        SocketAddr::new(lookups.ip(), port)
    }
}

/// Where Disconnect-Requests arrive (RFC 5176).
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Disconnect {
    /// Address and port; `None` listens nowhere, and a revocation waits for the next refresh.
    pub listen: Option<SocketAddr>,
}

impl Default for Disconnect {
    fn default() -> Self {
        Self { listen: Some(SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 3799)) }
    }
}

/// The status socket.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Control {
    /// Its path.
    pub socket: PathBuf,
}

impl Default for Control {
    fn default() -> Self {
        Self { socket: control::default_path("gateway") }
    }
}

fn monitor() -> String {
    "hwmon0".into()
}

fn prefix() -> String {
    "vap".into()
}

fn run_directory() -> PathBuf {
    Path::new(control::RUN_DIRECTORY).join("gateway")
}

impl Config {
    /// Reads and checks the file.
    ///
    /// # Errors
    ///
    /// [`ConfigError`], naming file, line, column and key.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        config::load_with(path, Self::check)
    }

    /// Checks what the types cannot say.
    ///
    /// # Errors
    ///
    /// The first value that is not allowed.
    pub fn check(&self) -> Result<(), Invalid> {
        if !(60..=65_535).contains(&self.accounting.interim.0.as_secs()) {
            return Err(Invalid::new("accounting.interim", "use 1m to 18h"));
        }
        if self.core.is_empty() {
            return Err(Invalid::new(
                "core",
                "at least one server is needed: add a [[core]] with radsec, or address and secret",
            ));
        }
        let by_tls = self.core.iter().filter(|core| core.radsec.is_some()).count();
        if self.core.iter().any(|core| core.radsec.is_some() == core.by_udp().is_some()) {
            let why = "a server has radsec (TLS), or address and secret (UDP)";
            return Err(Invalid::new("core", why));
        }
        if by_tls != 0 && by_tls != self.core.len() {
            let why = "have all servers by TLS, or all by UDP: they stand in for each other";
            return Err(Invalid::new("core", why));
        }
        if self.proxy.reconnect.0 < Duration::from_millis(100) {
            return Err(Invalid::new("proxy.reconnect", "use at least 100ms"));
        }
        if by_tls != 0 && self.channel.core.is_empty() {
            let why = "is needed where the core is reached by TLS: revocations and new \
                       certificates come by it";
            return Err(Invalid::new("channel.core", why));
        }
        if by_tls != 0 && self.accounting.port.is_some() {
            let why = "is for a core that is reached by UDP: leave it out";
            return Err(Invalid::new("accounting.port", why));
        }
        if self.proxy.listen.port() == u16::MAX {
            return Err(Invalid::new(
                "proxy.listen",
                "records are one port above: use a lower one",
            ));
        }
        if by_tls != 0 && !self.proxy.listen.ip().is_loopback() {
            let why = "is plain RADIUS: use an address of this machine's own, such as 127.0.0.1";
            return Err(Invalid::new("proxy.listen", why));
        }
        let interfaces = [
            ("radio.interface", self.radio.interface.as_str(), 15),
            ("radio.monitor", self.radio.monitor.as_str(), 15),
            // Room for the number.
            ("radio.vap_prefix", self.radio.vap_prefix.as_str(), 12),
            ("roam.bridge", self.roam.bridge.as_deref().unwrap_or("-"), 15),
            ("home.bridge", self.home.bridge.as_deref().unwrap_or("-"), 15),
            ("owner.uplink", self.owner.uplink.as_deref().unwrap_or("-"), 15),
        ];
        let uplinks = self.roam.uplinks.iter().map(|name| ("roam.uplinks", name.as_str(), 15));
        for (key, name, longest) in interfaces.into_iter().chain(uplinks) {
            let plain = name.bytes().all(|c| c.is_ascii_graphic() && c != b'/' && c != b':');
            if name.is_empty() || name.len() > longest || !plain {
                return Err(Invalid::new(
                    key,
                    format!(
                        "{name:?} is no interface name: use 1 to {longest} visible characters without / and :"
                    ),
                ));
            }
        }
        if self.radio.monitor == self.radio.interface {
            return Err(Invalid::new(
                "radio.monitor",
                "must not be the owner's interface: the agent makes one of its own",
            ));
        }
        if self.radio.interface.starts_with(&self.radio.vap_prefix) {
            return Err(Invalid::new(
                "radio.vap_prefix",
                "the owner's interface begins with it: choose another, for whatever begins with it may be removed",
            ));
        }
        let range = |key: &str, value: Option<usize>, least: usize, most: usize| match value {
            Some(n) if !(least..=most).contains(&n) => {
                Err(Invalid::new(key, format!("{n} is out of range: use {least} to {most}")))
            }
            _ => Ok(()),
        };
        if self.home.bridge.is_some() && self.home.bridge == self.roam.bridge {
            return Err(Invalid::new(
                "roam.bridge",
                "is home.bridge too: roamers would be in the owner's LAN; make a bridge of their own",
            ));
        }
        if !self.roam.uplinks.is_empty() && self.roam.bridge.is_none() {
            return Err(Invalid::new("roam.uplinks", "needs roam.bridge: whose uplinks are they?"));
        }
        if self.tunnel.listen.is_empty() && !self.channel.core.is_empty() {
            return Err(Invalid::new(
                "tunnel.listen",
                "name at least one address, such as \"[::]:1701\", or leave it out",
            ));
        }
        if self.tunnel.dscp > 63 {
            return Err(Invalid::new("tunnel.dscp", "a code point is 0 to 63"));
        }
        if self.tunnel.stun_interval.0 < Duration::from_secs(1) {
            return Err(Invalid::new("tunnel.stun_interval", "use at least 1s"));
        }
        let keepalive = self.tunnel.nat_keepalive.0;
        if !keepalive.is_zero() && keepalive < Duration::from_secs(1) {
            return Err(Invalid::new("tunnel.nat_keepalive", "use at least 1s, or 0s for never"));
        }
        for core in &self.channel.core {
            let port = core.rsplit_once(':').and_then(|(_, port)| port.parse::<u16>().ok());
            if port.is_none_or(|port| port == 0) {
                return Err(Invalid::new(
                    "channel.core",
                    format!("{core:?} is no host and port: write \"core.example.net:4719\""),
                ));
            }
        }
        let line = [
            ("owner.up", self.owner.up),
            ("owner.down", self.owner.down),
            ("owner.roamers_up", self.owner.roamers_up),
            ("owner.roamers_down", self.owner.roamers_down),
        ];
        for (key, rate) in line {
            match rate {
                Some(_) if self.owner.uplink.is_none() => {
                    return Err(Invalid::new(key, "needs owner.uplink: on which interface?"));
                }
                Some(Rate(bits)) if bits < 64_000 => {
                    return Err(Invalid::new(key, "use at least \"64k\""));
                }
                _ => {}
            }
        }
        if self.owner.uplink.is_some() && self.owner.up.is_none() {
            return Err(Invalid::new(
                "owner.up",
                "is needed with owner.uplink: what does the line carry?",
            ));
        }
        range("roam.max_prepared", self.roam.max_prepared, 0, 64)?;
        range("roam.max_vaps", self.roam.max_vaps, 1, 64)?;
        range("roam.max_devices", self.roam.max_devices, 1, 1000)?;
        range("roam.memory", self.roam.memory, 16, 1_000_000)?;
        range(
            "roam.lookups_per_second",
            self.roam.lookups_per_second.map(|n| n as usize),
            1,
            1_000_000,
        )?;
        Ok(())
    }

    /// The machine's settings: what the file says, and else the defaults.
    pub fn vap_settings(&self) -> homeward_vap::Settings {
        let mut s = homeward_vap::Settings::default();
        let roam = &self.roam;
        /// Overrides the settings that the file has.
        macro_rules! set {
            ($($field:ident <- $from:ident),+) => { $( if let Some(value) = roam.$from { s.$field = value.into(); } )+ };
        }
        set!(max_vaps <- max_vaps, max_devices_per_vap <- max_devices, lookups_per_second <- lookups_per_second,
             lookup_burst <- lookup_burst, memory <- memory, max_prepared <- max_prepared);
        for (span, from) in [
            (&mut s.refresh, roam.refresh),
            (&mut s.stale, roam.stale),
            (&mut s.forget, roam.forget),
            (&mut s.negative, roam.negative),
            (&mut s.unreachable, roam.unreachable),
            (&mut s.vap_idle, roam.idle),
        ] {
            if let Some(Period(value)) = from {
                *span = value;
            }
        }
        if roam.min_signal.is_some() {
            s.min_signal = roam.min_signal;
        }
        s
    }
}
