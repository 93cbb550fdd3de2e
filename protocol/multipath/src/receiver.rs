//! What each path brought, and the reports on it.

use std::time::Duration;

use homeward_l2tp::Sequence;
use homeward_model::Instant;

use crate::path::{MAX_PATHS, PathId};
use crate::report::{Received, Report, is_later, micros};
use crate::settings::ReceiverSettings;

/// The machine of the receiving thread. After each batch of packets, send what
/// [`Self::poll_report`] gives, and call it again at [`Self::poll_timeout`].
#[derive(Debug)]
pub struct Receiver {
    settings: ReceiverSettings,
    /// Of the last report of all.
    number: u32,
    paths: [Path; MAX_PATHS],
}

#[derive(Debug, Clone, Copy, Default)]
struct Path {
    highest: Option<Sequence>,
    /// When that one arrived.
    arrived: Instant,
    packets: u32,
    octets: u64,
    duplicates: u32,
    rtt: Option<Duration>,
    /// When the next report is to be sent, if there is something to report.
    due: Option<Instant>,
    /// The last request.
    requested: Option<u32>,
    /// Whether it waits for its answer.
    unanswered: bool,
}

impl Receiver {
    /// A machine that has received nothing.
    pub fn new(settings: ReceiverSettings) -> Self {
        Self { settings, number: 0, paths: Default::default() }
    }

    /// Notes an authentic packet with a sequence number: one whose cookie was right, and that the
    /// window did not refuse as stale. One that it refused as a duplicate is noted here, too, and then by
    /// [`Self::duplicate`].
    #[inline]
    pub fn received(&mut self, path: PathId, number: Sequence, octets: usize, now: Instant) {
        let delay = self.settings.report;
        let Some(path) = self.paths.get_mut(path.index()) else { return };
        path.packets = path.packets.wrapping_add(1);
        path.octets = path.octets.wrapping_add(octets as u64);
        if path.highest.is_none_or(|highest| is_ahead(number, highest)) {
            path.highest = Some(number);
            path.arrived = now;
        }
        if path.due.is_none() {
            path.due = Some(now + delay.delay(path.rtt));
        }
    }

    /// Notes that the packet noted last on this path was dropped as a duplicate.
    #[inline]
    pub fn duplicate(&mut self, path: PathId) {
        if let Some(path) = self.paths.get_mut(path.index()) {
            path.duplicates = path.duplicates.wrapping_add(1);
        }
    }

    /// Takes a report of the other end: if it is a request, and not an old one, it will be answered at
    /// once. Give each report to [`Sender::handle_report`](crate::Sender::handle_report) as well.
    pub fn handle_report(&mut self, path: PathId, report: &Report, now: Instant) {
        let Some(path) = self.paths.get_mut(path.index()) else { return };
        if report.request && is_later(report.number, path.requested) {
            path.requested = Some(report.number);
            path.unanswered = true;
            path.due = Some(now);
        }
    }

    /// Tells the round-trip time of a path, as the [`Sender`](crate::Sender) measures it
    /// ([`Sender::rtt`](crate::Sender::rtt)): it decides how often there are reports.
    pub fn set_rtt(&mut self, path: PathId, rtt: Duration) {
        if let Some(path) = self.paths.get_mut(path.index()) {
            path.rtt = Some(rtt);
        }
    }

    /// Forgets a path: its session is over, and another may take its place.
    pub fn remove_path(&mut self, path: PathId) {
        if let Some(path) = self.paths.get_mut(path.index()) {
            *path = Path::default();
        }
    }

    /// A report that is due, and the path to send it on; call it until there is none.
    pub fn poll_report(&mut self, now: Instant) -> Option<(PathId, Report)> {
        let (id, path) = PathId::ALL
            .into_iter()
            .zip(&mut self.paths)
            .find(|(_, path)| path.due.is_some_and(|due| due <= now))?;
        path.due = None;
        self.number = self.number.wrapping_add(1);
        let answer = path.requested.filter(|_| path.unanswered);
        path.unanswered = false;
        let received = path.highest.map(|highest| Received {
            highest,
            packets: path.packets,
            octets: path.octets,
            held: now.since(path.arrived),
            arrived: micros(path.arrived),
            duplicates: path.duplicates,
        });
        Some((id, Report { number: self.number, request: false, answer, received, course: None }))
    }

    /// When to call [`Self::poll_report`]; `None` while there is nothing to report.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.paths.iter().filter_map(|path| path.due).min()
    }

    /// Nothing is due but reports: there for symmetry.
    pub fn handle_timeout(&mut self, _now: Instant) {}
}

/// Numbers a path may bring late, behind its highest. What is farther behind is ahead: the number
/// space has gone around while the path was silent.
const LATE: i32 = 1 << 16;

fn is_ahead(number: Sequence, highest: Sequence) -> bool {
    !(-LATE..=0).contains(&number.ahead_of(highest))
}
