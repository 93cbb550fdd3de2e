//! What both ends of a channel may be told. All have defaults.

use std::path::PathBuf;
use std::time::Duration;

use homeward_control::codec::limits::MESSAGE;
use homeward_daemon::Period;
use serde::Deserialize;

/// How a gateway keeps its channel.
#[derive(Debug, Clone)]
pub struct ClientSettings {
    /// How long a connection may take to come about, per address.
    pub connect_timeout: Duration,
    /// How long TLS, and the core's first answer, may take each.
    pub handshake_timeout: Duration,
    /// After how much silence the core is asked whether it is there (HTTP/2 PING).
    pub keepalive: Duration,
    /// How long it has to answer that.
    pub keepalive_timeout: Duration,
    /// How many messages may wait in either direction.
    pub queue: usize,
    /// The largest message, in octets.
    pub max_message: usize,
}

impl Default for ClientSettings {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(5),
            handshake_timeout: Duration::from_secs(10),
            keepalive: Duration::from_secs(10),
            keepalive_timeout: Duration::from_secs(5),
            queue: 256,
            max_message: MESSAGE,
        }
    }
}

/// How a core keeps its gateways' channels.
#[derive(Debug, Clone)]
pub struct ServerSettings {
    /// How many connections there may be at a time; more are closed at once.
    pub connections: usize,
    /// How long TLS may take, and after it the first call.
    pub handshake_timeout: Duration,
    /// After how much silence a gateway is asked whether it is there (HTTP/2 PING).
    pub keepalive: Duration,
    /// How long it has to answer that.
    pub keepalive_timeout: Duration,
    /// How many messages may wait for a gateway; one that reads no faster is cut off.
    pub queue: usize,
    /// The largest message, in octets.
    pub max_message: usize,
    /// How long a closed channel may take to end before its connection is cut.
    pub close_timeout: Duration,
    /// How long a gateway's certificate is good for.
    pub certificate_lifetime: Duration,
    /// For how long after its end it may still be renewed.
    pub renewal_grace: Duration,
    /// How long a certificate of the core itself is good for. A new one is made in time.
    pub core_lifetime: Duration,
}

impl Default for ServerSettings {
    fn default() -> Self {
        const DAY: u64 = 86_400;
        Self {
            connections: 20_000,
            handshake_timeout: Duration::from_secs(10),
            keepalive: Duration::from_secs(15),
            keepalive_timeout: Duration::from_secs(10),
            queue: 8192,
            max_message: MESSAGE,
            close_timeout: Duration::from_millis(500),
            certificate_lifetime: Duration::from_secs(30 * DAY),
            renewal_grace: Duration::from_secs(180 * DAY),
            core_lifetime: Duration::from_secs(30 * DAY),
        }
    }
}

/// A gateway's `[channel]`: where its core is, and where its credential.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ChannelConfig {
    /// The core's control channel, first choice first: `HOST:PORT` each. Empty: no channel.
    pub core: Vec<String>,
    /// Where the credential is kept.
    pub directory: PathBuf,
    /// A file with an enrolment token, for a gateway that has no credential yet.
    pub token_file: Option<PathBuf>,
    /// After how much silence the core is asked whether it is there.
    pub keepalive: Period,
    /// How long it has to answer that.
    pub keepalive_timeout: Period,
}

/// Where a gateway keeps its credential unless told otherwise.
pub const DIRECTORY: &str = "/var/lib/homeward/gateway";

impl Default for ChannelConfig {
    fn default() -> Self {
        let settings = ClientSettings::default();
        Self {
            core: Vec::new(),
            directory: DIRECTORY.into(),
            token_file: None,
            keepalive: Period(settings.keepalive),
            keepalive_timeout: Period(settings.keepalive_timeout),
        }
    }
}

impl ChannelConfig {
    /// The settings of a client that is so configured.
    pub fn settings(&self) -> ClientSettings {
        ClientSettings {
            keepalive: self.keepalive.0,
            keepalive_timeout: self.keepalive_timeout.0,
            ..ClientSettings::default()
        }
    }
}
