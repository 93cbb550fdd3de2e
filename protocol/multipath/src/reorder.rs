//! What came early is held for a moment.

use std::time::Duration;

use homeward_l2tp::Sequence;
use homeward_model::Instant;

use crate::path::PathId;
use crate::settings::{Mode, ReorderSettings};

/// What becomes of a frame that has just come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Hand it on now, before what [`Reorder::pop`] gives.
    Pass,
    /// It was copied, and [`Reorder::pop`] will give it.
    Held,
}

/// What became of frames.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize)]
pub struct ReorderCounters {
    /// Numbers that passed at once and in order.
    pub in_order: u64,
    /// Frames that were held.
    pub held: u64,
    /// Numbers that came after they had been given up, and passed out of order.
    pub late: u64,
    /// Numbers that were given up.
    pub given_up: u64,
    /// How often everything was given up for want of room.
    pub overflows: u64,
    /// The longest that a frame was held, in microseconds.
    pub longest_wait_us: u64,
}

/// The machine of the receiving thread.
#[derive(Debug)]
pub struct Reorder {
    settings: ReorderSettings,
    counters: ReorderCounters,
}

impl Reorder {
    /// A machine that has seen nothing, in [`Mode::Single`].
    pub fn new(settings: ReorderSettings) -> Self {
        Self { settings, counters: ReorderCounters::default() }
    }

    /// Takes the frame that a new number completed, or `None` where it completed none (a fragment of
    /// a frame that is not whole yet). Call [`Self::pop`] until it is empty afterwards.
    pub fn accept(
        &mut self,
        path: PathId,
        number: Sequence,
        frame: Option<&[u8]>,
        now: Instant,
    ) -> Verdict {
        let _ = (path, number, frame, now);
        self.counters.in_order += 1;
        Verdict::Pass
    }

    /// Notes a number that was dropped as a duplicate: the path has come as far as that. Call
    /// [`Self::pop`] until it is empty afterwards.
    pub fn duplicate(&mut self, path: PathId, number: Sequence, now: Instant) {
        let _ = (path, number, now);
    }

    /// The next held frame that is not held any longer. It lies in the machine until the next call.
    pub fn pop(&mut self) -> Option<&[u8]> {
        None
    }

    /// Gives up what was waited for long enough. Call [`Self::pop`] until it is empty afterwards.
    pub fn handle_timeout(&mut self, now: Instant) {
        let _ = now;
    }

    /// When to call [`Self::handle_timeout`]; `None` while nothing is held.
    pub fn poll_timeout(&self) -> Option<Instant> {
        None
    }

    /// Tells how the other end uses its paths: in [`Mode::Single`] and [`Mode::Mirrored`] nothing is
    /// held. Call [`Self::pop`] until it is empty afterwards.
    pub fn set_mode(&mut self, mode: Mode) {
        let _ = mode;
    }

    /// Tells whether a path lives ([`Event`](crate::Event)): a dead one is not waited for. All live
    /// unless told otherwise. Call [`Self::pop`] until it is empty afterwards.
    pub fn set_live(&mut self, path: PathId, live: bool, now: Instant) {
        let _ = (path, live, now);
    }

    /// What became of frames so far.
    pub const fn counters(&self) -> &ReorderCounters {
        &self.counters
    }

    /// Octets of memory that hold frames, or are kept for them.
    pub fn memory(&self) -> usize {
        0
    }

    /// How long a missing number is waited for now.
    pub fn patience(&self) -> Duration {
        self.settings.wait
    }
}
