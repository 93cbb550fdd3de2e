//! When to ask again (RFC 5080 2.2.1).

use std::time::Duration;

use homeward_model::{Entropy, Instant};

/// The timers of RFC 5080 2.2.1. Its defaults (2 s, 16 s, 30 s) suit a user who waits for a
/// log-in; these suit a station that waits for an answer to its probe.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retransmission {
    /// IRT: from the first transmission to the second. 100 ms unless set.
    pub first: Duration,
    /// MRT: the longest time between two transmissions. 800 ms unless set.
    pub longest: Duration,
    /// MRD: from the first transmission to giving up. 2 s unless set.
    pub give_up: Duration,
}

impl Default for Retransmission {
    fn default() -> Self {
        Self {
            first: Duration::from_millis(100),
            longest: Duration::from_millis(800),
            give_up: Duration::from_secs(2),
        }
    }
}

/// The schedule of one request.
#[derive(Debug, Clone, Copy)]
pub struct Schedule {
    settings: Retransmission,
    started: Instant,
    interval: Duration,
    next: Instant,
}

impl Schedule {
    /// Begins with a transmission now.
    pub fn start(settings: Retransmission, now: Instant, entropy: &mut impl Entropy) -> Self {
        let interval = jittered(settings.first, entropy);
        Self { settings, started: now, interval, next: now + interval }
    }

    /// When the request was first sent.
    pub const fn started(&self) -> Instant {
        self.started
    }

    /// When to look at the request again: to send it again, or to give up.
    pub fn due(&self) -> Instant {
        self.next.min(self.deadline())
    }

    /// When to give up.
    pub fn deadline(&self) -> Instant {
        self.started + self.settings.give_up
    }

    /// Notes a retransmission now. The interval doubles, give or take a tenth of the one before,
    /// up to the longest, give or take a tenth.
    pub fn advance(&mut self, now: Instant, entropy: &mut impl Entropy) {
        self.interval = self.interval.saturating_add(jittered(self.interval, entropy));
        if self.interval > self.settings.longest {
            self.interval = jittered(self.settings.longest, entropy);
        }
        self.next = now + self.interval;
    }
}

/// `span` give or take a tenth, so that requests of many clients do not stay in step.
pub(crate) fn jittered(span: Duration, entropy: &mut impl Entropy) -> Duration {
    let random = f64::from(u16::from_be_bytes(entropy.octets()));
    span.mul_f64(0.9 + 0.2 * random / f64::from(u16::MAX))
}
