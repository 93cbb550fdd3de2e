//! The limits and times of a [`Radio`](crate::Radio).

use std::collections::BTreeSet;
use std::time::Duration;

use homeward_model::{Rssi, Ssid};

/// The limits and times of a [`Radio`](crate::Radio). [`Settings::default`] is fit for use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The most VAPs on the radio, those being added or removed included.
    pub max_vaps: usize,
    /// The most devices with a key on one VAP.
    pub max_devices_per_vap: usize,
    /// Probes weaker than this are ignored; `None` hears all. A probe without a signal is heard.
    pub min_signal: Option<Rssi>,
    /// Look-ups a second for devices heard for the first time, and as many again for devices
    /// heard before.
    pub lookups_per_second: u32,
    /// How many of each may be asked at once after a quiet time.
    pub lookup_burst: u32,
    /// How many (MAC, SSID) pairs are remembered as heard before. At 40 octets each, this
    /// divided by the rate of a flood of invented MACs is how far apart a real device's probes
    /// may lie for it still to be told from the flood.
    pub sightings: usize,
    /// The least time between two probes for the second to count as heard again: one scan's
    /// burst of copies is one sighting.
    pub sighting_gap: Duration,
    /// How often the grant of a device being served is asked for again; a shorter
    /// Session-Timeout in the grant comes first. At least 1 s.
    pub refresh: Duration,
    /// How long a grant is good for while the core does not answer.
    pub stale: Duration,
    /// When a grant that nobody uses is forgotten. At least 1 s.
    pub forget: Duration,
    /// How long a refusal is remembered.
    pub negative: Duration,
    /// The pause after a look-up without an answer. At least 100 ms.
    pub unreachable: Duration,
    /// When a device that is neither connected nor heard leaves its VAP, and with the last the
    /// VAP goes. At least 1 s.
    pub vap_idle: Duration,
    /// How long an empty VAP is safe, counted from its last use, from giving way to another
    /// network: the time a supplicant needs to find it.
    pub settle: Duration,
    /// The most devices that a place is held for before they are heard.
    pub max_prepared: usize,
    /// The most (MAC, SSID) pairs in memory.
    pub memory: usize,
    /// The back-off after hostapd refused something; it doubles up to
    /// [`retry_max`](Self::retry_max). At least 100 ms.
    pub retry: Duration,
    /// The longest back-off.
    pub retry_max: Duration,
    /// The owner's SSID, if the owner's BSS takes the keys of its devices from the core; `None`
    /// leaves devices that are at home here to the owner's AP.
    pub home: Option<Ssid>,
    /// SSIDs that are never looked up: the owner's, where [`home`](Self::home) is `None`.
    pub ignore: BTreeSet<Ssid>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            max_vaps: 8,
            max_devices_per_vap: 32,
            min_signal: Some(Rssi(-80)),
            lookups_per_second: 100,
            lookup_burst: 200,
            sightings: 32_768,
            sighting_gap: Duration::from_millis(20),
            refresh: Duration::from_secs(60),
            stale: Duration::from_secs(4 * 3600),
            forget: Duration::from_secs(3600),
            negative: Duration::from_secs(30),
            unreachable: Duration::from_secs(2),
            vap_idle: Duration::from_secs(60),
            settle: Duration::from_secs(3),
            max_prepared: 4,
            memory: 4096,
            retry: Duration::from_secs(1),
            retry_max: Duration::from_secs(60),
            home: None,
            ignore: BTreeSet::new(),
        }
    }
}

impl Settings {
    /// The same, with times that would make the machine spin raised to their least.
    pub(crate) fn floored(mut self) -> Self {
        self.refresh = self.refresh.max(Duration::from_secs(1));
        self.unreachable = self.unreachable.max(Duration::from_millis(100));
        self.forget = self.forget.max(Duration::from_secs(1));
        self.vap_idle = self.vap_idle.max(Duration::from_secs(1));
        self.retry = self.retry.max(Duration::from_millis(100));
        self.retry_max = self.retry_max.max(self.retry);
        self
    }

    /// The first and the longest back-off.
    pub(crate) fn waits(&self) -> (Duration, Duration) {
        (self.retry, self.retry_max)
    }
}
