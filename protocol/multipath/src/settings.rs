//! What can be chosen, with the defaults.

use std::time::Duration;

use homeward_model::BondingModes;
use serde::{Deserialize, Serialize};

use crate::classify::SMALL;

/// How a bond uses its paths.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// The preferred path while it lives, and another one otherwise.
    #[default]
    Single,
    /// Every packet on every live path that may be used.
    Mirrored,
    /// Each packet on the path by which it arrives first.
    Striped,
    /// What is small and urgent mirrored, within a budget; the rest striped.
    Automatic,
}

impl Mode {
    /// Whether a class of service allows it: [`Mode::Automatic`] both mirrors and stripes.
    pub const fn is_allowed(self, modes: BondingModes) -> bool {
        match self {
            Self::Single => true,
            Self::Mirrored => modes.mirrored,
            Self::Striped => modes.striped,
            Self::Automatic => modes.mirrored && modes.striped,
        }
    }

    /// Whether packets may come out of order for having gone by different paths, so that
    /// the other end has something to put into order.
    pub const fn stripes(self) -> bool {
        matches!(self, Self::Striped | Self::Automatic)
    }
}

/// When a path may be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Standing {
    /// Always.
    #[default]
    Full,
    /// Only while no full path lives. It is probed meanwhile.
    Reserve,
    /// Never, not even for probes.
    Barred,
}

/// What is known of a path beforehand.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PathSettings {
    /// When it may be used.
    pub standing: Standing,
    /// The most bits per second that are sent on it; `None` for as many as it carries.
    pub rate: Option<u64>,
    /// Octets that may still be sent on it; `None` for any number. Once a packet would be more, the
    /// path is barred until it is set anew.
    pub quota: Option<u64>,
}

/// When a [`Receiver`](crate::Receiver) reports: each path at most once in a time that depends on
/// its round-trip time. Both ends are to have the same, for a sender waits for reports accordingly.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReportTimes {
    /// The shortest time. 2 ms unless set.
    pub least: Duration,
    /// The longest time; between the two it is a quarter of the round-trip time. 25 ms unless set.
    pub most: Duration,
    /// The time where the round-trip time is not known. 5 ms unless set.
    pub unknown: Duration,
}

impl Default for ReportTimes {
    fn default() -> Self {
        Self {
            least: Duration::from_millis(2),
            most: Duration::from_millis(25),
            unknown: Duration::from_millis(5),
        }
    }
}

impl ReportTimes {
    /// The time from a packet to the report on it, where the round-trip time is this.
    pub(crate) fn delay(&self, rtt: Option<Duration>) -> Duration {
        rtt.map_or(self.unknown, |rtt| (rtt / 4).min(self.most).max(self.least))
    }
}

/// The times and limits of a [`Sender`](crate::Sender).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// A path on which packets queue for longer takes no more while another can. 100 ms unless set.
    pub queue: Duration,
    /// If packets would queue for longer on every path, they are dropped instead. 400 ms unless set.
    pub queue_limit: Duration,
    /// A packet does not go by a path by which it arrives so much later than by another one that bears
    /// it: the other end would not wait for it, so keep it below its
    /// [`wait`](field@ReorderSettings::wait). 150 ms unless set.
    pub spread: Duration,
    /// Copies of urgent packets in [`Mode::Automatic`], in bits per second; what is beyond it is
    /// sent once. 256,000 unless set.
    pub mirror_rate: u64,
    /// Octets of such copies that may come at once. 16,384 unless set.
    pub mirror_burst: u32,
    /// The least time of silence before a path is dead, however short its round-trip time. 30 ms
    /// unless set.
    pub silence: Duration,
    /// That time while the round-trip time is not known. 1 s unless set.
    pub first_silence: Duration,
    /// How many packets must have been sent in vain before a path is dead; if there are fewer,
    /// probes make up for it. So the loss of a few is not taken for death. 5 unless set.
    pub unanswered: u32,
    /// From a path's death to the first probe; doubles from one to the next. 100 ms unless set.
    pub probe: Duration,
    /// The longest time between two probes of a dead path. 5 s unless set.
    pub probe_max: Duration,
    /// From the last packet on a live path to a probe, and from one to the next; `None` for no
    /// probes, where every octet costs. 1 s unless set.
    pub idle_probe: Option<Duration>,
    /// How long a round-trip time counts as the shortest, if there is a better one to be had: while
    /// packets queue there is none. 10 s unless set.
    pub rtt_window: Duration,
    /// How long a rate counts as the highest while the path is full. 60 ms unless set.
    pub rate_window: Duration,
    /// What a path is taken to carry at least until it has been seen to be full, in bits per
    /// second: only to choose between paths. 10,000,000 unless set.
    pub first_rate: u64,
    /// How long a path that is held to a rate may go on above it, in time at that rate. 100 ms
    /// unless set.
    pub burst: Duration,
    /// How many sequence numbers back what was sent is remembered, rounded up to a power of two of
    /// at most 2^22; 20 octets each, on each path. 32,768 unless set.
    pub log: usize,
    /// When the other end reports.
    pub report: ReportTimes,
    /// Octets up to which a frame with data is urgent: for [`classify()`](crate::classify()), which
    /// the caller has judge each frame. 300 unless set.
    pub small: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            queue: Duration::from_millis(100),
            queue_limit: Duration::from_millis(400),
            spread: Duration::from_millis(150),
            mirror_rate: 256_000,
            mirror_burst: 16_384,
            silence: Duration::from_millis(30),
            first_silence: Duration::from_secs(1),
            unanswered: 5,
            probe: Duration::from_millis(100),
            probe_max: Duration::from_secs(5),
            idle_probe: Some(Duration::from_secs(1)),
            rtt_window: Duration::from_secs(10),
            rate_window: Duration::from_millis(60),
            first_rate: 10_000_000,
            burst: Duration::from_millis(100),
            log: 1 << 15,
            report: ReportTimes::default(),
            small: SMALL,
        }
    }
}

/// The times of a [`Receiver`](crate::Receiver).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ReceiverSettings {
    /// When it reports.
    pub report: ReportTimes,
}

/// The times and limits of a [`Reorder`](crate::Reorder).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReorderSettings {
    /// How long a missing number is waited for at most. 200 ms unless set.
    pub wait: Duration,
    /// What is added to the measured difference of the paths' delays. 10 ms unless set.
    pub margin: Duration,
    /// The most octets of memory that hold frames; at least one frame's. 4 MiB unless set.
    pub octets: usize,
    /// The most sequence numbers from the first that is missing to the last that is held, rounded up
    /// to a power of two from 64 to 2^20; 8 octets each. 8,192 unless set.
    pub numbers: usize,
    /// How many packets with a higher number a path delivers, besides one, before a missing one is
    /// taken not to come by it any more: for paths that do not keep the order themselves. At most
    /// 7; 0 unless set.
    pub path_reorder: usize,
    /// A path that has delivered nothing for so long is not waited for. 500 ms unless set.
    pub idle: Duration,
}

impl Default for ReorderSettings {
    fn default() -> Self {
        Self {
            wait: Duration::from_millis(200),
            margin: Duration::from_millis(10),
            octets: 4 << 20,
            numbers: 8192,
            path_reorder: 0,
            idle: Duration::from_millis(500),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mode_is_allowed_if_the_class_of_service_has_what_it_does() {
        let allowed = |mirrored, striped| {
            [Mode::Single, Mode::Mirrored, Mode::Striped, Mode::Automatic]
                .map(|mode| mode.is_allowed(BondingModes { mirrored, striped }))
        };
        assert_eq!(allowed(false, false), [true, false, false, false]);
        assert_eq!(allowed(true, false), [true, true, false, false]);
        assert_eq!(allowed(false, true), [true, false, true, false]);
        assert_eq!(allowed(true, true), [true; 4]);
    }
}
