//! Which way a packet goes, and how the ways fare.
//!
//! - **Striping** is earliest delivery first: a packet goes by the path on which it arrives first,
//!   after what queues there, one way, and its own time at the path's rate. So a slow path takes
//!   what it can carry without delaying the rest, and what a quick one cannot.
//! - **Mirroring** sends a packet by every live path that does not have too long a queue.
//! - **Measuring** needs no clock in common: the other end reports what it received
//!   ([`report`](crate::report)), and a log says when that was sent.
//! - **Death** is silence after something was sent, of two round trips and what these may vary, and
//!   of enough packets sent in vain; see [`Settings::silence`]. While no path lives, the one that
//!   was heard last is used nevertheless: what is sent probes it as well as any probe.

mod leg;
mod life;
mod log;
mod measure;

use std::collections::VecDeque;
use std::time::Duration;

use homeward_l2tp::Sequence;
use homeward_model::Instant;

use crate::classify::Urgency;
use crate::course::Course;
use crate::path::{MAX_PATHS, PathId, Route};
use crate::report::Report;
use crate::settings::{Mode, PathSettings, Settings, Standing};
use crate::status::{DropReason, SenderCounters, Status};
use leg::Leg;
use life::NEVER;
use measure::time;

/// The most events that wait for [`Sender::poll_event`]; the oldest go first.
const MAX_EVENTS: usize = 64;

/// A packet about to be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PacketInfo {
    /// Its octets, counted as in [`Sender::sent`]; of a frame that will be cut, of all packets.
    pub octets: usize,
    /// Whether it is urgent: [`classify()`](crate::classify()).
    pub urgency: Urgency,
}

/// What happened to a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// It answers nothing any more. It is used no more while another lives, and probed.
    Dead(PathId),
    /// It answers again.
    Alive(PathId),
    /// Its quota is used up: it is barred until it is set anew.
    Exhausted(PathId),
}

/// The machine. Lock it per batch in the thread that sends, and per report in the one that
/// receives; then, in either, send what [`Self::poll_transmit`] gives, look at
/// [`Self::poll_event`] until it is empty, and call [`Self::handle_timeout`] at
/// [`Self::poll_timeout`].
#[derive(Debug)]
pub struct Sender {
    settings: Settings,
    course: Course,
    /// Of the last that the other end told.
    theirs: Option<u16>,
    /// The paths on which the other end is to be told of ours.
    announce: Route,
    legs: [Option<Box<Leg>>; MAX_PATHS],
    /// When the copies of urgent packets are within their rate again.
    copied: Instant,
    /// The number of the last probe.
    probe: u32,
    events: VecDeque<Event>,
    counters: SenderCounters,
}

impl Sender {
    /// A machine without paths, in [`Mode::Single`], that prefers path 0.
    pub fn new(settings: Settings, now: Instant) -> Self {
        Self {
            settings,
            course: Course::default(),
            theirs: None,
            announce: Route::NONE,
            legs: Default::default(),
            copied: now,
            probe: 0,
            events: VecDeque::new(),
            counters: SenderCounters::default(),
        }
    }

    /// Adds a path, or changes what is known of it beforehand; what was measured stays. A new path
    /// is taken to live, and is probed at once.
    pub fn set_path(&mut self, path: PathId, settings: PathSettings, now: Instant) {
        if let Some(place) = self.legs.get_mut(path.index()) {
            let leg = place.get_or_insert_with(|| Box::new(Leg::new(&self.settings, now)));
            leg.set(settings, &self.settings);
        }
    }

    /// Removes a path, and all that was measured of it: as well if another session takes its place.
    pub fn remove_path(&mut self, path: PathId) {
        if let Some(place) = self.legs.get_mut(path.index()) {
            *place = None;
        }
    }

    /// Says how the paths are used from now on. The other end is told at once: probes are due on
    /// all paths.
    pub fn set_mode(&mut self, mode: Mode) {
        self.steer(Course { mode, ..self.course });
    }

    /// Says which path [`Mode::Single`] prefers. The other end is told at once.
    pub fn set_preferred(&mut self, path: PathId) {
        self.steer(Course { preferred: path, ..self.course });
    }

    fn steer(&mut self, wanted: Course) {
        if wanted != self.course {
            self.course = Course { version: self.course.version.wrapping_add(1), ..wanted };
            self.announce = PathId::ALL.into_iter().collect();
        }
    }

    /// The paths on which the other end can be told now how ours are used. A dead one is probed in
    /// its own time.
    fn to_tell(&self) -> Route {
        let lives = |path: &PathId| {
            let leg = self.leg(*path).filter(|leg| leg.standing != Standing::Barred);
            self.announce.contains(*path) && leg.is_some_and(|leg| leg.life.is_alive())
        };
        PathId::ALL.into_iter().filter(lives).collect()
    }

    /// How the paths are used: for [`Report::course`] of all that is sent.
    pub const fn course(&self) -> Course {
        self.course
    }

    /// Takes how the other end uses its paths, out of a report that [`Self::handle_report`] believed.
    /// Whether that is later than what it told before: then tell
    /// [`Reorder::set_mode`](crate::Reorder::set_mode), and follow it or not.
    pub fn handle_course(&mut self, course: Course) -> bool {
        let later = course.is_later(self.theirs);
        if later {
            self.theirs = Some(course.version);
        }
        later
    }

    /// The way of a packet; empty if it is dropped, which is counted. Then, under the same lock, call
    /// [`Self::sent`] for each path and each packet of it.
    #[inline]
    pub fn route(&mut self, packet: PacketInfo, now: Instant) -> Route {
        self.bury(now);
        let octets = packet.octets as u64;
        let candidates = self.candidates(octets);
        if candidates.is_empty() {
            return self.drop(DropReason::NoPath);
        }
        let choice = match (self.course.mode, packet.urgency) {
            (Mode::Single, _) => self.single(candidates, now),
            (Mode::Mirrored, _) => self.open(candidates, now),
            (Mode::Automatic, Urgency::Urgent) => self.copy(candidates, octets, now),
            (Mode::Striped | Mode::Automatic, _) => self.stripe(candidates, octets, now),
        };
        match choice {
            Err(reason) => return self.drop(reason),
            Ok(route) if route.len() > 1 => self.counters.mirrored += 1,
            Ok(_) => self.counters.single += 1,
        }
        choice.unwrap_or_default()
    }

    /// Notes a packet as sent: its number, and its octets. Whether the system took it does not
    /// matter: if not, it is a lost packet.
    #[inline]
    pub fn sent(&mut self, path: PathId, number: Sequence, octets: usize, now: Instant) {
        if let Some(Some(leg)) = self.legs.get_mut(path.index()) {
            leg.sent(number, octets, &self.settings, now);
            if leg.exhaust(0) {
                self.happened(Event::Exhausted(path));
            }
        }
    }

    /// Notes octets that a path carried besides, such as reports and probes, or what came by it if that
    /// is paid for as well: they only count for its quota.
    pub fn spent(&mut self, path: PathId, octets: usize, now: Instant) {
        let _ = now;
        if let Some(Some(leg)) = self.legs.get_mut(path.index()) {
            leg.spend(octets as u64);
            if leg.exhaust(0) {
                self.happened(Event::Exhausted(path));
            }
        }
    }

    /// Notes that something authentic came by a path: packets, duplicates, echo messages. Several may
    /// be noted at once. Reports need not be noted besides [`Self::handle_report`].
    #[inline]
    pub fn heard(&mut self, path: PathId, now: Instant) {
        if let Some(Some(leg)) = self.legs.get_mut(path.index())
            && leg.life.heard(now)
        {
            self.happened(Event::Alive(path));
        }
    }

    /// Takes a report that came by a path. One that is not later than the last is ignored; whether
    /// it was believed.
    pub fn handle_report(&mut self, path: PathId, report: &Report, now: Instant) -> bool {
        let Some(Some(leg)) = self.legs.get_mut(path.index()) else { return false };
        let heard = leg.handle_report(report, &self.settings, now);
        if heard == Some(true) {
            self.happened(Event::Alive(path));
        }
        heard.is_some()
    }

    /// The next thing that happened.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// A probe that is due, and the path to send it on; call it until there is none. It is noted as
    /// sent already.
    pub fn poll_transmit(&mut self, now: Instant) -> Option<(PathId, Report)> {
        let tell = self.to_tell();
        let (path, leg) = PathId::ALL.into_iter().zip(&mut self.legs).find_map(|(path, leg)| {
            let tell = tell.contains(path);
            let leg = leg.as_mut().filter(|leg| tell || probe_due(leg, &self.settings) <= now)?;
            Some((path, leg))
        })?;
        self.probe = self.probe.wrapping_add(1);
        self.announce = self.announce.without(path);
        let probe = leg.probe(self.probe, &self.settings, now);
        Some((path, Report { course: Some(self.course), ..probe }))
    }

    /// When to call [`Self::handle_timeout`] and [`Self::poll_transmit`].
    pub fn poll_timeout(&self) -> Option<Instant> {
        let due = |leg: &Leg| {
            probe_due(leg, &self.settings).min(leg.life.dies(leg.patience, &self.settings))
        };
        if !self.to_tell().is_empty() {
            return Some(Instant::ORIGIN);
        }
        self.legs.iter().flatten().map(|leg| due(leg)).min().filter(|due| *due < NEVER)
    }

    /// Does what is due: notices death. [`Self::route`] does so by itself.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.bury(now);
    }

    /// The smoothed round-trip time of a path, once it is known: for
    /// [`Receiver::set_rtt`](crate::Receiver::set_rtt).
    pub fn rtt(&self, path: PathId) -> Option<Duration> {
        self.leg(path)?.rtt()
    }

    /// Whether a path is there and lives.
    pub fn is_alive(&self, path: PathId) -> bool {
        self.leg(path).is_some_and(|leg| leg.life.is_alive())
    }

    /// How the bond fares.
    pub fn status(&self, now: Instant) -> Status {
        let legs = PathId::ALL.into_iter().zip(&self.legs);
        Status {
            mode: self.course.mode,
            preferred: self.course.preferred,
            paths: legs.filter_map(|(path, leg)| Some(leg.as_ref()?.status(path, now))).collect(),
            counters: self.counters,
        }
    }

    /// What was decided so far.
    pub const fn counters(&self) -> &SenderCounters {
        &self.counters
    }

    #[inline]
    fn leg(&self, path: PathId) -> Option<&Leg> {
        self.legs.get(path.index())?.as_deref()
    }

    #[cold]
    fn drop(&mut self, reason: DropReason) -> Route {
        self.counters.count(reason);
        Route::NONE
    }

    fn happened(&mut self, event: Event) {
        if self.events.len() >= MAX_EVENTS {
            self.events.pop_front();
        }
        self.events.push_back(event);
    }

    /// Notes which paths are dead by now.
    #[inline]
    fn bury(&mut self, now: Instant) {
        for path in PathId::ALL {
            if let Some(Some(leg)) = self.legs.get_mut(path.index())
                && leg.life.dies(leg.patience, &self.settings) <= now
            {
                leg.die(&self.settings, now);
                self.happened(Event::Dead(path));
            }
        }
    }

    /// The paths that a packet may go by: the full ones that live, or else those in reserve, or
    /// else the one that was heard last.
    #[inline]
    fn candidates(&mut self, octets: u64) -> Route {
        let (mut full, mut reserve) = (Route::NONE, Route::NONE);
        let mut last = None;
        for path in PathId::ALL {
            let Some(Some(leg)) = self.legs.get_mut(path.index()) else { continue };
            if leg.exhaust(octets) {
                self.happened(Event::Exhausted(path));
                continue;
            }
            match (leg.standing(), leg.life.is_alive()) {
                (Standing::Barred, _) => {}
                (Standing::Full, true) => full = full.with(path),
                (Standing::Reserve, true) => reserve = reserve.with(path),
                (_, false) => last = last.max(Some((leg.life.heard_at(), path))),
            }
        }
        if !full.is_empty() {
            full
        } else if !reserve.is_empty() {
            reserve
        } else {
            last.map_or(Route::NONE, |(_, path)| Route::only(path))
        }
    }

    /// The paths of `candidates` that take one more packet, of those the ones without a long queue if
    /// there are any.
    #[inline]
    fn open(&self, candidates: Route, now: Instant) -> Result<Route, DropReason> {
        let (mut short, mut bearable, mut capped) = (Route::NONE, Route::NONE, true);
        for path in candidates {
            let Some(leg) = self.leg(path) else { continue };
            if leg.is_capped(&self.settings, now) {
                continue;
            }
            capped = false;
            let queue = leg.queue(now);
            if queue <= self.settings.queue {
                short = short.with(path);
            }
            if queue <= self.settings.queue_limit || !leg.is_known() {
                bearable = bearable.with(path);
            }
        }
        if !short.is_empty() {
            Ok(short)
        } else if !bearable.is_empty() {
            Ok(bearable)
        } else {
            Err(if capped { DropReason::Rate } else { DropReason::Queue })
        }
    }

    #[inline]
    fn single(&self, candidates: Route, now: Instant) -> Result<Route, DropReason> {
        let path = if candidates.contains(self.course.preferred) {
            Some(self.course.preferred)
        } else {
            let rtt = |path| self.rtt(path).unwrap_or(Duration::MAX);
            candidates.into_iter().min_by_key(|path| rtt(*path))
        };
        self.open(path.map_or(Route::NONE, Route::only), now)
    }

    /// The path by which a packet arrives first, of those that have no long queue; or else, of those
    /// that may carry more than they have shown so far, the one that will show soonest; or else of those
    /// that may still queue more. None by which it arrives too late to be put into order.
    #[inline]
    fn stripe(&self, candidates: Route, octets: u64, now: Instant) -> Result<Route, DropReason> {
        let mut reason = DropReason::Rate;
        let mut found = [None; MAX_PATHS];
        let mut first = Duration::MAX;
        for (path, found) in PathId::ALL.into_iter().zip(&mut found) {
            let Some(leg) = self.leg(path).filter(|_| candidates.contains(path)) else { continue };
            if leg.is_capped(&self.settings, now) {
                continue;
            }
            reason = DropReason::Queue;
            let queue = leg.queue(now);
            if queue > self.settings.queue_limit && leg.is_known() {
                continue;
            }
            // While it is not known what a path carries, its queue is not known either.
            let tried = leg.is_tried(now);
            let arrival = leg.arrival(if tried { Duration::ZERO } else { queue }, octets);
            first = first.min(arrival);
            let (class, after) = if tried {
                (1, leg.rtt().unwrap_or(Duration::MAX))
            } else if queue <= self.settings.queue {
                (0, arrival)
            } else {
                (2, arrival)
            };
            *found = Some((class, after, arrival, path));
        }
        let latest = first.saturating_add(self.settings.spread);
        let in_time = found.into_iter().flatten().filter(|(_, _, arrival, _)| *arrival <= latest);
        in_time.min().map(|(.., path)| Route::only(path)).ok_or(reason)
    }

    /// Mirrors a packet if its copies are within their rate.
    #[inline]
    fn copy(&mut self, candidates: Route, octets: u64, now: Instant) -> Result<Route, DropReason> {
        let open = self.open(candidates, now)?;
        let copies = octets * (open.len() as u64).saturating_sub(1);
        if copies == 0 {
            return Ok(open);
        }
        let depth = time(self.settings.mirror_burst.into(), self.settings.mirror_rate);
        let after = self.copied.max(now) + time(copies, self.settings.mirror_rate);
        if self.settings.mirror_rate == 0 || after.since(now) > depth {
            self.counters.over_budget += 1;
            return self.stripe(candidates, octets, now);
        }
        self.copied = after;
        Ok(open)
    }
}

/// When a path is to be probed.
fn probe_due(leg: &Leg, settings: &Settings) -> Instant {
    match leg.standing() {
        Standing::Barred => NEVER,
        Standing::Full | Standing::Reserve => leg.life.probe_due(leg.patience, settings),
    }
}
