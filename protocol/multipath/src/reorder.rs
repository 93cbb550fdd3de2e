//! What came early is held for a moment.
//!
//! Packets that went by paths of different delay come out of order, which TCP takes for loss. So a
//! frame behind a missing number is held, but only as long as that number may still come:
//!
//! - A path keeps its own order. Once every path that is in use has delivered a higher number, the
//!   missing one is lost, and given up at once.
//! - It is given up as well once it is later than packets of these paths are late (their mean
//!   and four deviations, as RFC 6298 2 has them for round trips), and a margin; after
//!   [`wait`](field@ReorderSettings::wait) in any case; and where there is no more room.
//!
//! So with one path in use nothing is ever held, nor where the other end stripes nothing. What comes
//! after it was given up passes out of order.

mod arrival;
mod pool;

use std::time::Duration;

use homeward_l2tp::Sequence;
use homeward_model::Instant;
use serde::Serialize;

use crate::path::{MAX_PATHS, PathId, Route};
use crate::report::micros;
use crate::settings::{Mode, ReorderSettings};
use arrival::{Arrival, MAX_REORDER};
use pool::{Pool, SPARE};

/// What becomes of a frame that has just come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Hand it on now, before what [`Reorder::pop`] gives.
    Pass,
    /// It was copied, and [`Reorder::pop`] will give it.
    Held,
}

/// What became of frames.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct ReorderCounters {
    /// Numbers that passed at once and in order.
    pub in_order: u64,
    /// Frames that were held.
    pub held: u64,
    /// Numbers that came behind a later one that had passed, and passed out of order.
    pub late: u64,
    /// Numbers that were given up.
    pub given_up: u64,
    /// How often everything was given up for want of room.
    pub overflows: u64,
    /// The longest that a frame was held, in microseconds.
    pub longest_wait_us: u64,
}

/// Slots and numbers of this content hold nothing.
const EMPTY: u32 = u32::MAX;
/// The number came, and carried no frame by itself.
const FILLED: u32 = u32::MAX - 1;

/// A sequence number, kept at that number modulo their count.
#[derive(Debug, Clone, Copy)]
struct Slot {
    /// When it was reached: it came, or a higher one did. In microseconds, modulo 2^32.
    reached: u32,
    /// [`EMPTY`], [`FILLED`] or a buffer's index.
    content: u32,
}

/// The machine of the receiving thread.
#[derive(Debug)]
pub struct Reorder {
    settings: ReorderSettings,
    mode: Mode,
    /// Empty until there is something to put into order.
    slots: Box<[Slot]>,
    pool: Pool,
    paths: [Arrival; MAX_PATHS],
    /// Those that are said to live, and those that are said to be dead.
    live: Route,
    dead: Route,
    /// Whether there was a packet at all.
    started: bool,
    /// Whatever is behind was handed on or given up.
    next: Sequence,
    /// Whatever is behind is decided: from `next` to here there are frames to hand on, and numbers
    /// that were given up.
    until: Sequence,
    /// One more than the highest number.
    end: Sequence,
    /// Frames between `next` and `end`.
    held: usize,
    /// Those of them before `until`.
    ready: usize,
    /// A frame, or [`FILLED`], that is too far ahead for its slot: it comes after all others.
    beyond: Option<(Sequence, u32)>,
    /// The buffer that the caller has.
    lent: Option<u32>,
    /// The time of the last call.
    now: Instant,
    counters: ReorderCounters,
}

impl Reorder {
    /// A machine that has seen nothing, in [`Mode::Single`].
    pub fn new(settings: ReorderSettings) -> Self {
        Self {
            settings,
            mode: Mode::Single,
            slots: Box::default(),
            pool: Pool::new(settings.octets),
            paths: Default::default(),
            live: Route::NONE,
            dead: Route::NONE,
            started: false,
            next: Sequence::default(),
            until: Sequence::default(),
            end: Sequence::default(),
            held: 0,
            ready: 0,
            beyond: None,
            lent: None,
            now: Instant::ORIGIN,
            counters: ReorderCounters::default(),
        }
    }

    /// Takes the frame that a new number completed, or `None` where it completed none (a fragment of
    /// a frame that is not whole yet). Call [`Self::pop`] until it is empty afterwards.
    #[inline]
    pub fn accept(
        &mut self,
        path: PathId,
        number: Sequence,
        frame: Option<&[u8]>,
        now: Instant,
    ) -> Verdict {
        self.release();
        self.now = now;
        if !self.started {
            self.started = true;
            (self.next, self.until, self.end) = (number, number, number);
        }
        if !self.mode.stripes() {
            return self.pass(number);
        }
        self.note(path, number);
        if number.ahead_of(self.until) < 0 || self.beyond.is_some() {
            self.counters.late += 1;
            self.decide(self.end);
            return Verdict::Pass;
        }
        if number.ahead_of(self.next) >= self.span() {
            return self.leap(number, frame);
        }
        self.decide(number);
        if number == self.until && self.ready == 0 {
            self.skip_to(number.plus(1));
            self.counters.in_order += 1;
            self.decide(self.end);
            return Verdict::Pass;
        }
        self.hold(number, frame)
    }

    /// Notes a number that was dropped as a duplicate: the path has come as far as that. Call
    /// [`Self::pop`] until it is empty afterwards.
    pub fn duplicate(&mut self, path: PathId, number: Sequence, now: Instant) {
        self.release();
        self.now = now;
        if self.mode.stripes() && self.started && number.ahead_of(self.end) < 0 {
            self.note(path, number);
            self.decide(self.end);
        }
    }

    /// The next held frame that is not held any longer. It lies in the machine until the next call.
    #[inline]
    pub fn pop(&mut self) -> Option<&[u8]> {
        self.release();
        let content = self.take()?;
        self.lent = Some(content);
        Some(self.pool.get(content))
    }

    /// Gives up what was waited for long enough. Call [`Self::pop`] until it is empty afterwards.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.now = now;
        self.decide(self.end);
    }

    /// When to call [`Self::handle_timeout`]; `None` while nothing is held.
    pub fn poll_timeout(&self) -> Option<Instant> {
        if self.held == 0 {
            return None;
        }
        if self.ready > 0 {
            return Some(self.now); // There is something to pop.
        }
        let waited =
            self.slot(self.until).map_or(0, |slot| micros(self.now).wrapping_sub(slot.reached));
        let reached = self.now.as_nanos().saturating_sub(u64::from(waited) * 1000);
        Some(Instant::from_nanos(reached) + self.patience())
    }

    /// Tells how the other end uses its paths: where it does not stripe nothing is held. Call
    /// [`Self::pop`] until it is empty afterwards.
    pub fn set_mode(&mut self, mode: Mode) {
        if self.mode.stripes() && !mode.stripes() {
            self.give_up(self.end);
        }
        if !self.mode.stripes() && mode.stripes() {
            // Of what was reached meanwhile nothing was noted.
            let reached = micros(self.now);
            self.slots.iter_mut().for_each(|slot| slot.reached = reached);
        }
        self.mode = mode;
    }

    /// Tells whether a path lives ([`Event`](crate::Event)) and may be used by the other end: one that
    /// does is waited for, even if nothing comes by it at present; a dead one is not, until something
    /// comes by it. A path that nothing was told of is waited for while something comes by it. Call
    /// [`Self::pop`] until it is empty afterwards.
    pub fn set_live(&mut self, path: PathId, live: bool, now: Instant) {
        self.now = now;
        let (to, from) =
            if live { (&mut self.live, &mut self.dead) } else { (&mut self.dead, &mut self.live) };
        (*to, *from) = (to.with(path), from.without(path));
        self.decide(self.end);
    }

    /// Tells the round-trip time of a path ([`Sender::rtt`](crate::Sender::rtt)): before it has delivered
    /// anything, it is taken to be later than the others by half of what it takes longer.
    pub fn set_rtt(&mut self, path: PathId, rtt: Duration) {
        if let Some(path) = self.paths.get_mut(path.index()) {
            path.rtt = Some(rtt);
        }
    }

    /// What became of frames so far.
    pub const fn counters(&self) -> &ReorderCounters {
        &self.counters
    }

    /// Octets of memory that hold frames, or are kept for them.
    pub const fn memory(&self) -> usize {
        self.pool.memory()
    }

    /// Frames that are held.
    pub fn held(&self) -> usize {
        self.held + usize::from(self.beyond.is_some_and(|(_, content)| content != FILLED))
    }

    /// How long a missing number is waited for now.
    pub fn patience(&self) -> Duration {
        let least = self.waited_for().filter_map(|path| path.rtt).min().unwrap_or_default();
        let late = self.waited_for().map(|path| {
            let expected = path.rtt.map(|rtt| rtt.saturating_sub(least) / 2);
            path.lateness(self.now).or(expected).unwrap_or(self.settings.wait)
        });
        let late = late.max().unwrap_or(self.settings.wait);
        (late + self.settings.margin).min(self.settings.wait)
    }

    /// The numbers that there are slots for.
    fn span(&self) -> i32 {
        i32::try_from(self.slots.len()).unwrap_or(i32::MAX)
    }

    /// How many of a path's highest numbers are of interest.
    fn keep(&self) -> usize {
        self.settings.path_reorder.min(MAX_REORDER) + 1
    }

    #[inline]
    fn slot(&self, number: Sequence) -> Option<&Slot> {
        self.slots.get(number.get() as usize & self.slots.len().wrapping_sub(1))
    }

    #[inline]
    fn slot_mut(&mut self, number: Sequence) -> Option<&mut Slot> {
        let mask = self.slots.len().wrapping_sub(1);
        self.slots.get_mut(number.get() as usize & mask)
    }

    /// The paths that may still deliver what is missing.
    #[inline]
    fn waited_for(&self) -> impl Iterator<Item = &Arrival> {
        PathId::ALL
            .into_iter()
            .zip(&self.paths)
            .filter(|(id, path)| {
                !self.dead.contains(*id)
                    && (self.live.contains(*id) || path.is_active(self.settings.idle, self.now))
            })
            .map(|(_, path)| path)
    }

    /// Below this nothing comes any more, as far as the order of each path says.
    #[inline]
    fn bound(&self) -> Option<Sequence> {
        let keep = self.keep();
        let mut bound = Some(self.end);
        let mut paths = 0;
        for path in self.waited_for() {
            paths += 1;
            let known = path.is_active(self.settings.idle, self.now);
            bound = match (bound, path.bound(keep).filter(|_| known)) {
                (Some(bound), Some(path)) if path.ahead_of(bound) < 0 => Some(path),
                (bound, Some(_)) => bound,
                (_, None) => None,
            };
        }
        if paths > 1 { bound } else { Some(self.end) }
    }

    /// Passes a number in a mode in which none is held.
    #[inline]
    fn pass(&mut self, number: Sequence) -> Verdict {
        if number.ahead_of(self.end) < 0 {
            self.counters.late += 1;
            return Verdict::Pass;
        }
        self.counters.in_order += 1;
        self.end = number.plus(1);
        if self.held == 0 && self.beyond.is_none() {
            self.skip_to(self.until);
            self.skip(self.end);
        }
        Verdict::Pass
    }

    /// Notes that a number came by a path.
    #[inline]
    fn note(&mut self, id: PathId, number: Sequence) {
        let now = self.now;
        let reached = micros(now);
        if self.slots.is_empty() {
            let numbers = self.settings.numbers.clamp(64, 1 << 20).next_power_of_two();
            self.slots = vec![Slot { reached, content: EMPTY }; numbers].into_boxed_slice();
        }
        self.dead = self.dead.without(id);
        let ahead = number.ahead_of(self.end);
        let late = if ahead >= 0 {
            let count = ahead.min(self.span() - 1);
            for back in 0..=count.unsigned_abs() {
                if let Some(slot) = self.slot_mut(Sequence::new(number.get().wrapping_sub(back))) {
                    slot.reached = reached;
                }
            }
            self.end = number.plus(1);
            Some(0)
        } else if ahead >= -self.span() {
            // What a packet was waited for at most is as much as is learned of it.
            let most = u32::try_from(self.settings.wait.as_micros()).unwrap_or(u32::MAX);
            self.slot(number).map(|slot| reached.wrapping_sub(slot.reached).clamp(1, most.max(1)))
        } else {
            None
        };
        let keep = self.keep();
        if let Some(path) = self.paths.get_mut(id.index()) {
            path.note(number, keep, self.settings.idle, now);
            if let Some(late) = late {
                path.late_by(late, now);
            }
        }
    }

    /// Decides on what is before `to`, as far as can be: what is there may be handed on, what is
    /// missing is given up or waited for.
    #[inline]
    fn decide(&mut self, to: Sequence) {
        if self.until == to || self.beyond.is_some() {
            return;
        }
        let now = micros(self.now);
        let patience = self.patience().as_micros();
        let bound = self.bound();
        while self.until != to {
            let Some(slot) = self.slot(self.until).copied() else { return };
            if slot.content != EMPTY {
                self.due(slot.content);
            } else if bound.is_some_and(|bound| bound.ahead_of(self.until) > 0)
                || u128::from(now.wrapping_sub(slot.reached)) >= patience
            {
                self.counters.given_up += 1;
            } else {
                return;
            }
            self.until = self.until.plus(1);
        }
    }

    /// Gives up whatever is missing before `to`.
    fn give_up(&mut self, to: Sequence) {
        while self.until != to && self.beyond.is_none() {
            match self.slot(self.until) {
                None => return,
                Some(slot) if slot.content == EMPTY => self.counters.given_up += 1,
                Some(slot) => self.due(slot.content),
            }
            self.until = self.until.plus(1);
        }
    }

    /// Notes that the content of a slot may be handed on, and how long it was held.
    #[inline]
    fn due(&mut self, content: u32) {
        if content != FILLED {
            self.ready += 1;
            let waited = self.now.since(self.pool.arrived(content)).as_micros();
            let waited = u64::try_from(waited).unwrap_or(u64::MAX);
            self.counters.longest_wait_us = self.counters.longest_wait_us.max(waited);
        }
    }

    /// Goes on at `number`: no frame is held before it.
    #[inline]
    fn skip_to(&mut self, number: Sequence) {
        while self.next != number {
            let next = self.next;
            match self.slot_mut(next) {
                Some(slot) => slot.content = EMPTY,
                None => break,
            }
            self.next = next.plus(1);
        }
        (self.next, self.until) = (number, number);
    }

    /// Keeps a frame in its slot.
    fn hold(&mut self, number: Sequence, frame: Option<&[u8]>) -> Verdict {
        let Some(frame) = frame else {
            self.put(number, FILLED);
            self.decide(self.end);
            return Verdict::Pass;
        };
        let kept = self.pool.take(frame, self.now);
        let full = kept.is_none();
        let Some(content) = kept.or_else(|| self.pool.take_spare(frame, self.now)) else {
            self.counters.late += 1;
            return Verdict::Pass; // The caller did not pop.
        };
        self.put(number, content);
        self.held += 1;
        self.counters.held += 1;
        if full {
            self.counters.overflows += 1;
            self.give_up(self.end);
        } else {
            self.decide(self.end);
        }
        Verdict::Held
    }

    fn put(&mut self, number: Sequence, content: u32) {
        if let Some(slot) = self.slot_mut(number) {
            let before = std::mem::replace(&mut slot.content, content);
            if before != EMPTY && before != FILLED {
                // Only if a number is accepted twice.
                self.pool.release(before);
                self.held -= 1;
            }
        }
    }

    /// Goes on at a number that there is no slot for: whatever is missing before it is given up.
    #[cold]
    fn leap(&mut self, number: Sequence, frame: Option<&[u8]>) -> Verdict {
        let slots_end = self.next.plus(self.span().unsigned_abs());
        self.give_up(slots_end);
        self.counters.given_up += u64::from(number.ahead_of(slots_end).unsigned_abs());
        if self.ready == 0 {
            self.skip_to(slots_end);
            self.skip(number.plus(1));
            self.counters.in_order += 1;
            return Verdict::Pass;
        }
        self.counters.overflows += 1;
        let content = match frame {
            Some(frame) => self.pool.take_spare(frame, self.now),
            None => Some(FILLED),
        };
        let Some(content) = content else { return Verdict::Pass };
        self.beyond = Some((number, content));
        if content == FILLED {
            return Verdict::Pass;
        }
        self.counters.held += 1;
        Verdict::Held
    }

    fn skip(&mut self, to: Sequence) {
        (self.next, self.until) = (to, to);
    }

    /// The content of the next slot with a frame that may be handed on.
    fn take(&mut self) -> Option<u32> {
        while self.next != self.until {
            let next = self.next;
            let slot = self.slot_mut(next)?;
            let content = std::mem::replace(&mut slot.content, EMPTY);
            self.next = next.plus(1);
            if content != EMPTY && content != FILLED {
                self.held -= 1;
                self.ready -= 1;
                return Some(content);
            }
        }
        let (number, content) = self.beyond.take()?;
        self.skip(number.plus(1));
        (content == SPARE).then_some(content)
    }

    #[inline]
    fn release(&mut self) {
        if let Some(content) = self.lent.take() {
            self.pool.release(content);
        }
    }
}
