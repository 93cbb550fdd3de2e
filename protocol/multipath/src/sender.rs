//! Which way a packet goes, and how the ways fare.

use std::time::Duration;

use homeward_l2tp::Sequence;
use homeward_model::Instant;

use crate::classify::Urgency;
use crate::path::{MAX_PATHS, PathId, Route};
use crate::report::Report;
use crate::settings::{Mode, PathSettings, Settings, Standing};
use crate::status::{DropReason, SenderCounters, Status};

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
    mode: Mode,
    preferred: PathId,
    paths: [Option<PathSettings>; MAX_PATHS],
    counters: SenderCounters,
}

impl Sender {
    /// A machine without paths, in [`Mode::Single`], that prefers path 0.
    pub fn new(settings: Settings, now: Instant) -> Self {
        let _ = now;
        Self {
            settings,
            mode: Mode::default(),
            preferred: PathId::default(),
            paths: [None; MAX_PATHS],
            counters: SenderCounters::default(),
        }
    }

    /// Adds a path, or changes what is known of it beforehand; what was measured stays. A new path
    /// is taken to live, and is probed at once.
    pub fn set_path(&mut self, path: PathId, settings: PathSettings, now: Instant) {
        let _ = now;
        if let Some(place) = self.paths.get_mut(path.index()) {
            *place = Some(settings);
        }
    }

    /// Removes a path, and all that was measured of it.
    pub fn remove_path(&mut self, path: PathId) {
        if let Some(place) = self.paths.get_mut(path.index()) {
            *place = None;
        }
    }

    /// Says how the paths are used from now on.
    pub fn set_mode(&mut self, mode: Mode) {
        self.mode = mode;
    }

    /// Says which path [`Mode::Single`] prefers.
    pub fn set_preferred(&mut self, path: PathId) {
        self.preferred = path;
    }

    /// The way of a packet; empty if it is dropped, which is counted. Then, under the same lock, call
    /// [`Self::sent`] for each path and each packet of it.
    #[inline]
    pub fn route(&mut self, packet: PacketInfo, now: Instant) -> Route {
        let _ = (packet, now);
        let usable = PathId::ALL
            .into_iter()
            .zip(&self.paths)
            .filter(|(_, path)| path.is_some_and(|settings| settings.standing != Standing::Barred));
        let usable: Route = usable.map(|(id, _)| id).collect();
        let Some(first) = usable.first() else {
            self.counters.count(DropReason::NoPath);
            return Route::NONE;
        };
        match self.mode {
            Mode::Mirrored => usable,
            _ if usable.contains(self.preferred) => Route::only(self.preferred),
            _ => Route::only(first),
        }
    }

    /// Notes a packet as sent: its number, and its octets. Whether the system took it does not
    /// matter: if not, it is a lost packet.
    #[inline]
    pub fn sent(&mut self, path: PathId, number: Sequence, octets: usize, now: Instant) {
        let _ = (path, number, octets, now);
    }

    /// Notes octets that a path carried besides, such as reports and probes: they only count for its
    /// quota.
    pub fn spent(&mut self, path: PathId, octets: usize, now: Instant) {
        let _ = (path, octets, now);
    }

    /// Notes that something authentic came by a path: packets, duplicates, echo messages. Several may
    /// be noted at once. Reports need not be noted besides [`Self::handle_report`].
    #[inline]
    pub fn heard(&mut self, path: PathId, now: Instant) {
        let _ = (path, now);
    }

    /// Takes a report that came by a path.
    pub fn handle_report(&mut self, path: PathId, report: &Report, now: Instant) {
        let _ = (path, report, now);
    }

    /// The next thing that happened.
    pub fn poll_event(&mut self) -> Option<Event> {
        None
    }

    /// A probe that is due, and the path to send it on; call it until there is none. It is noted as
    /// sent already.
    pub fn poll_transmit(&mut self, now: Instant) -> Option<(PathId, Report)> {
        let _ = now;
        None
    }

    /// When to call [`Self::handle_timeout`] and [`Self::poll_transmit`].
    pub fn poll_timeout(&self) -> Option<Instant> {
        None
    }

    /// Does what is due: notices death. [`Self::route`] does so by itself.
    pub fn handle_timeout(&mut self, now: Instant) {
        let _ = now;
    }

    /// The smoothed round-trip time of a path, once it is known: for
    /// [`Receiver::set_rtt`](crate::Receiver::set_rtt).
    pub fn rtt(&self, path: PathId) -> Option<Duration> {
        let _ = (path, &self.settings);
        None
    }

    /// Whether a path is there and lives.
    pub fn is_alive(&self, path: PathId) -> bool {
        self.paths.get(path.index()).is_some_and(Option::is_some)
    }

    /// How the bond fares.
    pub fn status(&self, now: Instant) -> Status {
        let _ = now;
        Status {
            mode: self.mode,
            preferred: self.preferred,
            paths: Vec::new(),
            counters: self.counters,
        }
    }

    /// What was decided so far.
    pub const fn counters(&self) -> &SenderCounters {
        &self.counters
    }
}
