//! What a server of RADIUS over TLS saw.

use std::sync::atomic::{AtomicU64, Ordering};

/// What a server saw since it started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RadsecCounters {
    /// Connections now, of peers that are known.
    pub connections: u64,
    /// Connections of known peers, ever.
    pub admitted: u64,
    /// Connections whose handshake failed or took too long.
    pub failed: u64,
    /// Connections with a certificate that is nobody's.
    pub strangers: u64,
    /// Connections beyond a limit.
    pub crowded: u64,
    /// Packets handed to the service.
    pub received: u64,
    /// Replies handed to connections.
    pub sent: u64,
    /// Connections closed because no packet can have the Length that came.
    pub lost: u64,
    /// Connections closed because the peer did not take its answers.
    pub stalled: u64,
    /// Connections closed because the peer was silent.
    pub idle: u64,
}

impl RadsecCounters {
    /// Every counter with its name, in order, for metrics; [`Self::connections`] is none.
    pub const fn all(&self) -> [(&'static str, u64); 9] {
        [
            ("admitted", self.admitted),
            ("handshakes_failed", self.failed),
            ("strangers", self.strangers),
            ("crowded", self.crowded),
            ("received", self.received),
            ("sent", self.sent),
            ("streams_lost", self.lost),
            ("stalled", self.stalled),
            ("idle", self.idle),
        ]
    }
}

impl std::ops::Add for RadsecCounters {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            connections: self.connections + other.connections,
            admitted: self.admitted + other.admitted,
            failed: self.failed + other.failed,
            strangers: self.strangers + other.strangers,
            crowded: self.crowded + other.crowded,
            received: self.received + other.received,
            sent: self.sent + other.sent,
            lost: self.lost + other.lost,
            stalled: self.stalled + other.stalled,
            idle: self.idle + other.idle,
        }
    }
}

#[derive(Debug, Default)]
pub(super) struct Tally {
    pub(super) connections: AtomicU64,
    pub(super) admitted: AtomicU64,
    pub(super) failed: AtomicU64,
    pub(super) strangers: AtomicU64,
    pub(super) crowded: AtomicU64,
    pub(super) received: AtomicU64,
    pub(super) sent: AtomicU64,
    pub(super) lost: AtomicU64,
    pub(super) stalled: AtomicU64,
    pub(super) idle: AtomicU64,
}

/// One more.
pub(super) fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

impl Tally {
    pub(super) fn read(&self) -> RadsecCounters {
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        RadsecCounters {
            connections: get(&self.connections),
            admitted: get(&self.admitted),
            failed: get(&self.failed),
            strangers: get(&self.strangers),
            crowded: get(&self.crowded),
            received: get(&self.received),
            sent: get(&self.sent),
            lost: get(&self.lost),
            stalled: get(&self.stalled),
            idle: get(&self.idle),
        }
    }
}
