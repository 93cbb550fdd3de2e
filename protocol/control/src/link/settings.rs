//! The times of a [`Link`](crate::Link), and who it speaks for.

use std::time::Duration;

use homeward_model::{Mac, NetworkId, Rssi};

use crate::PublicKey;

/// The times of a [`Link`](crate::Link). [`Settings::default`] is fit for use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The longest wait before the first attempt to reconnect; it doubles with every attempt up
    /// to [`retry_max`](Self::retry_max), and the actual wait is anything between nothing and
    /// that ("full jitter"). At least 10 ms.
    pub retry: Duration,
    /// The longest wait between attempts.
    pub retry_max: Duration,
    /// The wait after the controller said that the gateway is revoked or suspended, or that there
    /// is no version in common: nothing is better a second later.
    pub revoked_wait: Duration,
    /// How long an attempt to connect and the controller's Welcome and Synced may take together.
    pub connect_timeout: Duration,
    /// A channel on which nothing is heard for this long is dead, unless the controller promised
    /// to say something more often: then it is three times that.
    pub silence: Duration,
    /// For how long the gateway goes on without the controller before
    /// [`Expired`](super::Event::Expired).
    pub offline: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            retry: Duration::from_millis(500),
            retry_max: Duration::from_secs(60),
            revoked_wait: Duration::from_secs(600),
            connect_timeout: Duration::from_secs(30),
            silence: Duration::from_secs(90),
            offline: Duration::from_secs(4 * 3600),
        }
    }
}

impl Settings {
    /// The same, with times that would make the machine spin raised to their least.
    pub(super) fn floored(mut self) -> Self {
        self.retry = self.retry.max(Duration::from_millis(10));
        self.retry_max = self.retry_max.max(self.retry);
        self.revoked_wait = self.revoked_wait.max(Duration::from_secs(1));
        self.connect_timeout = self.connect_timeout.max(Duration::from_secs(1));
        self.silence = self.silence.max(Duration::from_secs(1));
        self
    }
}

/// What a gateway says of itself. What changes is told with the next Hello.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// Random, new with each start of the process.
    pub boot: u64,
    /// Name and version of the software, for people.
    pub software: String,
    /// The WireGuard public key of its data plane.
    pub public_key: PublicKey,
    /// Whether it has a LAN where tunnels of its own homes can end.
    pub home: bool,
    /// How many devices it will hold prepared.
    pub prepared_max: u32,
    /// The BSSIDs of its access points, for others to name what they hear.
    pub bssids: Vec<Mac>,
    /// Whether log-ins at its access points ask the core through it.
    pub carries_logins: bool,
    /// Of a hybrid device, the further WireGuard public keys of its data plane: one for each access
    /// but the first. No two alike; [`limits::LEGS`](crate::codec::limits::LEGS) of them are told.
    pub path_keys: Vec<PublicKey>,
    /// How many further legs its data plane can give a tunnel of a hybrid device.
    pub legs_max: u32,
}

/// A device connected here, or is no longer connected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Device {
    /// Which device.
    pub mac: Mac,
    /// Of which network.
    pub network: NetworkId,
    /// Whether it is connected.
    pub connected: bool,
    /// Its signal, where known.
    pub signal: Option<Rssi>,
    /// Whether it is connected to its own home's access point here.
    pub at_home: bool,
}
