//! What is to be reported, and in which order.
//!
//! Nothing goes out before the Accounting-On is answered, for one that came late would end what
//! began after it; and of a session, nothing before what came before it is answered. So whoever is
//! told hears the truth in its order, however many datagrams are lost.

use std::collections::BTreeMap;
use std::time::Duration;

use homeward_model::{Instant, UnixTime};

use super::report::{Report, ReportKind, Session};
use crate::register::Register;
use crate::vty::PdpContext;

/// How a [`Reporter`] behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReporterSettings {
    /// From one Interim-Update of a session to the next. 60 s unless set.
    pub interim: Duration,
    /// The Charging-Id of the first session; they count up from it. 1 unless set.
    pub first_charging_id: u32,
}

impl Default for ReporterSettings {
    fn default() -> Self {
        Self { interim: Duration::from_secs(60), first_charging_id: 1 }
    }
}

/// Names a report of one [`Reporter`]; never used twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ReportId(u64);

/// The machine. Feed it with what the GGSN says; send what [`poll_report`](Self::poll_report)
/// gives, and say what became of it.
#[derive(Debug)]
pub struct Reporter {
    settings: ReporterSettings,
    /// By context: each is a session of its own, for the GGSN numbers tunnels anew.
    sessions: BTreeMap<PdpContext, Live>,
    pending: BTreeMap<ReportId, Pending>,
    next_report: u64,
    next_charging_id: u32,
    closing: bool,
}

#[derive(Debug)]
struct Live {
    session: Session,
    interim: Instant,
}

#[derive(Debug)]
struct Pending {
    report: Report,
    under_way: bool,
}

impl Reporter {
    /// One that has seen nothing yet.
    pub fn new(settings: ReporterSettings) -> Self {
        Self {
            settings,
            sessions: BTreeMap::new(),
            pending: BTreeMap::new(),
            next_report: 0,
            next_charging_id: settings.first_charging_id,
            closing: false,
        }
    }

    /// The GGSN answers, for the first time or again: what it had before is gone with it.
    pub fn handle_up(&mut self, at: UnixTime) {
        if self.closing {
            return;
        }
        self.sessions.clear();
        // The On ends it all. What is under way may be answered yet, and then means nothing.
        self.pending.clear();
        self.push(Report { kind: ReportKind::On, at });
    }

    /// The GGSN says what contexts it has.
    pub fn handle_contexts(
        &mut self,
        contexts: &[PdpContext],
        register: &Register,
        now: Instant,
        at: UnixTime,
    ) {
        if self.closing {
            return;
        }
        let gone: Vec<PdpContext> =
            self.sessions.keys().filter(|known| !contexts.contains(known)).cloned().collect();
        // What ended first: its address may have been given to the next.
        for context in gone {
            if let Some(live) = self.sessions.remove(&context) {
                self.push(Report { kind: ReportKind::Stop(Box::new(live.session)), at });
            }
        }
        for context in contexts {
            if self.sessions.contains_key(context) {
                continue;
            }
            let charging_id = self.next_charging_id;
            // 0 names no session.
            self.next_charging_id = self.next_charging_id.checked_add(1).unwrap_or(1);
            let entry = register.get(&context.imsi).copied();
            let session = Session { context: context.clone(), entry, charging_id, since: at };
            self.push(Report { kind: ReportKind::Start(Box::new(session.clone())), at });
            let interim = now + self.settings.interim;
            self.sessions.insert(context.clone(), Live { session, interim });
        }
    }

    /// Does what is due at [`poll_timeout`](Self::poll_timeout).
    pub fn handle_timeout(&mut self, now: Instant, at: UnixTime) {
        let due: Vec<Session> = self
            .sessions
            .values_mut()
            .filter(|live| live.interim <= now)
            .map(|live| {
                live.interim = now + self.settings.interim;
                live.session.clone()
            })
            .collect();
        for session in due {
            // One that waits says as much as two.
            if !self.waits(session.charging_id) {
                self.push(Report { kind: ReportKind::Interim(Box::new(session)), at });
            }
        }
    }

    /// When to call [`handle_timeout`](Self::handle_timeout).
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.sessions.values().map(|live| live.interim).min()
    }

    /// The bridge stops: an Accounting-Off says all that is left to say.
    pub fn handle_close(&mut self, at: UnixTime) {
        if self.closing {
            return;
        }
        self.closing = true;
        self.sessions.clear();
        self.pending.clear();
        self.push(Report { kind: ReportKind::Off, at });
    }

    /// The next report that may be sent now. It is under way until one of
    /// [`handle_answered`](Self::handle_answered) and
    /// [`handle_unanswered`](Self::handle_unanswered).
    pub fn poll_report(&mut self) -> Option<(ReportId, Report)> {
        let mut before: Vec<u32> = Vec::new();
        for (id, pending) in &mut self.pending {
            let charging_id = pending.report.session().map(|session| session.charging_id);
            let free = charging_id.is_none_or(|id| !before.contains(&id));
            if free && !pending.under_way {
                pending.under_way = true;
                return Some((*id, pending.report.clone()));
            }
            // An On or Off that is not answered holds up all that follows.
            before.push(charging_id?);
        }
        None
    }

    /// A report was answered.
    pub fn handle_answered(&mut self, id: ReportId) {
        self.pending.remove(&id);
    }

    /// A report was not answered: it is to be sent again.
    pub fn handle_unanswered(&mut self, id: ReportId) {
        if let Some(pending) = self.pending.get_mut(&id) {
            pending.under_way = false;
        }
    }

    /// How many sessions there are.
    pub fn sessions(&self) -> usize {
        self.sessions.len()
    }

    /// Whether all is said and answered, after [`handle_close`](Self::handle_close).
    pub fn is_closed(&self) -> bool {
        self.closing && self.pending.is_empty()
    }

    fn waits(&self, charging_id: u32) -> bool {
        self.pending
            .values()
            .filter_map(|pending| pending.report.session())
            .any(|session| session.charging_id == charging_id)
    }

    fn push(&mut self, report: Report) {
        let id = ReportId(self.next_report);
        self.next_report += 1;
        self.pending.insert(id, Pending { report, under_way: false });
    }
}

#[cfg(test)]
mod tests;
