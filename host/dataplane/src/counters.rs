//! What a tunnel counted. Written by the two threads, read by anybody.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::status::Traffic;

/// A number that only grows.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    #[inline]
    pub(crate) fn add(&self, count: u64) {
        self.0.fetch_add(count, Ordering::Relaxed);
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Frames and octets.
#[derive(Debug, Default)]
pub(crate) struct TrafficCounter {
    frames: Counter,
    octets: Counter,
}

impl TrafficCounter {
    #[inline]
    pub(crate) fn add(&self, frames: u64, octets: u64) {
        self.frames.add(frames);
        self.octets.add(octets);
    }

    pub(crate) fn get(&self) -> Traffic {
        Traffic { frames: self.frames.get(), octets: self.octets.get() }
    }
}

/// What a tunnel counted, apart from what its port and its L2TP session count.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) sent: TrafficCounter,
    pub(crate) received: TrafficCounter,
    pub(crate) no_path: Counter,
    pub(crate) socket_full: Counter,
    pub(crate) socket_error: Counter,
    pub(crate) tap: Counter,
    pub(crate) malformed: Counter,
    pub(crate) too_long: Counter,
}
