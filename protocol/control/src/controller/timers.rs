//! Deadlines, one a thing.

use std::collections::{BTreeMap, BTreeSet};

use homeward_model::{GatewayId, Instant, Mac, NetworkId};

/// What a deadline is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Timer {
    /// A connected gateway may be dead.
    Ping(GatewayId),
    /// A gateway without a channel is given up.
    Keep(GatewayId),
    /// The halves that a gateway told are dropped if nobody has told the others.
    Halves(GatewayId),
    /// The store has not answered.
    Network(NetworkId),
    /// A device settles where it is, or has been nowhere for too long.
    Device(NetworkId, Mac),
}

/// Deadlines, in order.
#[derive(Debug, Default)]
pub(super) struct Timers {
    at: BTreeMap<Timer, Instant>,
    order: BTreeSet<(Instant, Timer)>,
}

impl Timers {
    /// Sets the thing's deadline, in place of the one it had.
    pub(super) fn set(&mut self, timer: Timer, at: Instant) {
        self.clear(timer);
        self.at.insert(timer, at);
        self.order.insert((at, timer));
    }

    /// Sets the thing's deadline, if it has none.
    pub(super) fn set_first(&mut self, timer: Timer, at: Instant) {
        if !self.at.contains_key(&timer) {
            self.set(timer, at);
        }
    }

    pub(super) fn clear(&mut self, timer: Timer) {
        if let Some(at) = self.at.remove(&timer) {
            self.order.remove(&(at, timer));
        }
    }

    pub(super) fn len(&self) -> usize {
        self.at.len()
    }

    pub(super) fn next(&self) -> Option<Instant> {
        self.order.first().map(|(at, _)| *at)
    }

    /// Takes one deadline that has been reached.
    pub(super) fn pop_due(&mut self, now: Instant) -> Option<Timer> {
        let (at, timer) = *self.order.first()?;
        if at > now {
            return None;
        }
        self.clear(timer);
        Some(timer)
    }
}
