//! How a bond fares, for `status` and metrics.

use serde::Serialize;

use crate::path::PathId;
use crate::settings::{Mode, Standing};

/// A bond, as it is now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Status {
    /// How it uses its paths.
    pub mode: Mode,
    /// The path that [`Mode::Single`] prefers.
    pub preferred: PathId,
    /// Its paths, in order.
    pub paths: Vec<PathStatus>,
    /// What was sent, and dropped.
    pub counters: SenderCounters,
}

/// A path, as it is now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct PathStatus {
    /// Which.
    pub path: PathId,
    /// Whether it lives.
    pub alive: bool,
    /// When it may be used; barred, too, where its quota is used up.
    pub standing: Standing,
    /// The smoothed round-trip time in microseconds (RFC 6298 2); `None` before the first sample.
    pub rtt_us: Option<u64>,
    /// The shortest round-trip time of late, in microseconds.
    pub least_rtt_us: Option<u64>,
    /// The mean deviation of the round-trip time in microseconds (RTTVAR of RFC 6298 2).
    pub jitter_us: Option<u64>,
    /// Packets lost of late, in millionths: a mean in which the last 256 packets weigh most.
    pub loss_ppm: u32,
    /// Octets a second that arrived of late, in bits per second.
    pub goodput: u64,
    /// What the path carries, in bits per second; `None` before the first sample.
    pub rate: Option<u64>,
    /// Whether it was seen to be full, so that it carries no more than that.
    pub full: bool,
    /// How long a packet would queue on it, in microseconds.
    pub queue_us: u64,
    /// Packets sent on it.
    pub packets: u64,
    /// Octets sent on it.
    pub octets: u64,
    /// Packets that are known not to have arrived.
    pub lost: u64,
    /// Packets that arrived, and were dropped there because a copy had been there before.
    pub duplicates: u32,
    /// Octets that may still be sent on it; `None` for any number.
    pub quota: Option<u64>,
}

/// Why a packet was not sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum DropReason {
    /// There is no path that may be used.
    NoPath,
    /// It would queue for too long on every path.
    Queue,
    /// Every path that is left is held to a rate that it has.
    Rate,
}

/// What a [`Sender`](crate::Sender) has decided, in packets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct SenderCounters {
    /// Sent on one path.
    pub single: u64,
    /// Sent on several.
    pub mirrored: u64,
    /// Urgent ones in [`Mode::Automatic`] that were sent once, for want of budget.
    pub over_budget: u64,
    /// Dropped: [`DropReason::NoPath`].
    pub no_path: u64,
    /// Dropped: [`DropReason::Queue`].
    pub queue: u64,
    /// Dropped: [`DropReason::Rate`].
    pub rate: u64,
}

impl SenderCounters {
    /// Packets dropped for a reason.
    pub const fn dropped(&self, reason: DropReason) -> u64 {
        match reason {
            DropReason::NoPath => self.no_path,
            DropReason::Queue => self.queue,
            DropReason::Rate => self.rate,
        }
    }

    pub(crate) const fn count(&mut self, reason: DropReason) {
        match reason {
            DropReason::NoPath => self.no_path += 1,
            DropReason::Queue => self.queue += 1,
            DropReason::Rate => self.rate += 1,
        }
    }
}
