//! The life of a session, as a machine that records are applied to.
//!
//! ```text
//!           first record                Stop
//!  (none) ───────────────► Open ─────────────────────► Closed
//!                           │                            ▲ ▲ │
//!                           │ restart, silence, reuse    │ │ │ news of a session
//!                           └────────────────────────────┘ │ │ that was given up
//!                                    Stop, restart, silence│ ▼
//!                                                        Resumed
//! ```

mod counter;

use std::net::{Ipv4Addr, Ipv6Addr};

use homeward_model::{Mac, UnixTime};

use crate::record::{Identity, Private};
use crate::settings::millis;
use crate::{Figures, Kind, Record, Settings};
use counter::Step;

/// Whether a session goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Phase {
    /// It goes on.
    Open,
    /// It has ended.
    Closed,
    /// It was given up, and has been heard of since. Its end stays told; what it has used since
    /// is told when it ends again.
    Resumed,
}

impl Phase {
    /// All phases.
    pub const ALL: [Self; 3] = [Self::Open, Self::Closed, Self::Resumed];

    /// The word for exports and tables.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Closed => "closed",
            Self::Resumed => "resumed",
        }
    }
}

/// Why a session ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Cause {
    /// Its Stop came, with this Acct-Terminate-Cause (RFC 2866 5.10); 0 where it gave none.
    Stop(u32),
    /// Its NAS restarted, or went down.
    Restart,
    /// Its NAS fell silent about it.
    Lost,
    /// Its NAS gave its identifier to another session.
    Reused,
}

impl Cause {
    /// The word for exports.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Stop(_) => "stop",
            Self::Restart => "restart",
            Self::Lost => "lost",
            Self::Reused => "reused",
        }
    }

    /// Whether the NAS said so itself, of this session.
    pub const fn is_stop(self) -> bool {
        matches!(self, Self::Stop(_))
    }
}

/// How a session ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct End {
    /// When: the time of its Stop, or of the last that is known of it.
    pub at: UnixTime,
    /// Why.
    pub cause: Cause,
}

/// What describes a session, from whichever of its records had it first; the addresses from the
/// newest.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Facts {
    /// The device.
    pub station: Option<Mac>,
    /// The BSS.
    pub bssid: Option<Mac>,
    /// User-Name.
    pub user_name: Option<Identity>,
    /// Chargeable-User-Identity.
    pub chargeable_user: Option<Identity>,
    /// The first Class.
    pub class: Option<Vec<u8>>,
    /// Acct-Multi-Session-Id.
    pub multi_session_id: Option<String>,
    /// Framed-IP-Address.
    pub address: Option<Private<Ipv4Addr>>,
    /// An IPv6 address or prefix, and its length.
    pub address6: Option<Private<(Ipv6Addr, u8)>>,
}

/// One session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    /// Whether it goes on.
    pub phase: Phase,
    /// When it began, as well as is known.
    pub began: UnixTime,
    /// The time of the newest of its records, by the NAS's clock where that can be believed.
    pub last: UnixTime,
    /// When the last of its records came.
    pub heard: UnixTime,
    /// What it has used.
    pub figures: Figures,
    /// What its closing and the corrections of it have told of that.
    pub told: Figures,
    /// How it ended, if it did; while [`Phase::Resumed`], how it was given up.
    pub end: Option<End>,
    /// Whether its Start has come.
    pub started: bool,
    /// Whether its NAS sends Gigawords: its octets do not wrap.
    pub gigawords: bool,
    /// How many closings there are of it: none while it is open, one when it ends, one more for
    /// each correction.
    pub closings: u32,
    /// How many of its records had a counter lower than an earlier record.
    pub backwards: u32,
    /// What describes it.
    pub facts: Facts,
}

/// Which session a record is about, among those of one NAS and Acct-Session-Id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// This one.
    Here,
    /// One that began later: the identifier is used anew (RFC 2866 5.5).
    Later,
    /// One that was before this one, if there was any; else this one.
    Earlier,
}

/// What a record is to its session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum News {
    /// The first that is heard of it.
    Began,
    /// Something new of it: figures, facts, a Start that comes late.
    Progress,
    /// Nothing new: a repetition, or an older record overtaken by a newer one.
    Nothing,
    /// Its end.
    Ended,
    /// Something new of a session that had ended.
    Corrected,
}

impl News {
    /// All of them.
    pub const ALL: [Self; 5] =
        [Self::Began, Self::Progress, Self::Nothing, Self::Ended, Self::Corrected];

    /// The word for metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Began => "began",
            Self::Progress => "progress",
            Self::Nothing => "nothing",
            Self::Ended => "ended",
            Self::Corrected => "corrected",
        }
    }
}

/// What a record did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Applied {
    /// What it was to the session.
    pub news: News,
    /// What it adds to the usage of whom the session belongs to. The sum over all records of a
    /// session is its figures.
    pub delta: Figures,
    /// When that was used: the day that it counts for.
    pub at: UnixTime,
    /// What billing is to be told, if anything.
    pub closing: Option<Closing>,
}

/// Which of the closings of a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ClosingKind {
    /// The session ended. Once for each session.
    Close,
    /// What is known of a session that has ended has changed.
    Correction,
}

impl ClosingKind {
    /// The word for exports and tables.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Close => "close",
            Self::Correction => "correction",
        }
    }
}

/// What billing is told: of the end of a session, or of a correction of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Closing {
    /// Which of the two.
    pub kind: ClosingKind,
    /// How the session ended.
    pub end: End,
    /// What was used that no earlier closing of the session told. The sum over the closings of a
    /// session is its figures.
    pub delta: Figures,
    /// What was used in all.
    pub total: Figures,
}

impl Session {
    /// The session that a record is the first of, and what the record did. Not for
    /// [`Kind::On`] and [`Kind::Off`], which are about no session.
    pub fn begin(record: &Record, received: UnixTime, settings: &Settings) -> (Self, Applied) {
        let at = record.at(received, settings);
        let mut session = Self {
            phase: Phase::Open,
            began: record.began(at),
            last: at,
            heard: received,
            figures: Figures::ZERO,
            told: Figures::ZERO,
            end: None,
            started: false,
            gigawords: false,
            closings: 0,
            backwards: 0,
            facts: Facts::default(),
        };
        let mut applied = session.apply(record, received, settings);
        if applied.news != News::Ended {
            applied.news = News::Began;
        }
        (session, applied)
    }

    /// Whether that record, of the same NAS and with the same Acct-Session-Id, is about this
    /// session.
    pub fn place(&self, record: &Record, received: UnixTime, settings: &Settings) -> Place {
        let at = record.at(received, settings);
        let began = record.began(at);
        let slack = millis(settings.reuse);
        let closed = self.phase == Phase::Closed;
        // After a restart of the NAS, identifiers may come again at once.
        let restarted = self.end.is_some_and(|end| end.cause == Cause::Restart);
        let grace = if closed && restarted { 0 } else { slack };
        let after = self.last.0.max(self.end.map_or(i64::MIN, |end| end.at.0));
        if began.0 > after.saturating_add(grace) {
            // A NAS that sets its clock in mid-session seems to begin later too; but its session
            // goes on from where it was.
            let anew = match record.kind {
                Kind::Start => true,
                _ => closed || record.timed && record.figures.seconds < self.figures.seconds,
            };
            if anew {
                return Place::Later;
            }
        }
        if self.started && began.0.saturating_add(slack) < self.began.0 {
            return Place::Earlier;
        }
        Place::Here
    }

    /// Applies a record of this session that came at `received`.
    pub fn apply(&mut self, record: &Record, received: UnixTime, settings: &Settings) -> Applied {
        let at = record.at(received, settings);
        let before = self.clone();
        self.learn(record, at, received);
        self.count(record, at, settings);
        match record.kind {
            Kind::Stop => self.stop(record, at),
            // Heard of again: it is in use, whatever was told of its end.
            Kind::Interim if self.given_up() && self.figures.seconds > before.figures.seconds => {
                self.phase = Phase::Resumed;
            }
            _ => {}
        }
        let closing = self.settle(before.end);
        let news = match closing.map(|c| c.kind) {
            Some(ClosingKind::Close) => News::Ended,
            Some(ClosingKind::Correction) => News::Corrected,
            None if self.same_but_for_arrival(&before) => News::Nothing,
            None => News::Progress,
        };
        Applied { news, delta: self.figures.since(before.figures), at, closing }
    }

    /// Ends the session at what is known of it, for a reason that is no Stop. `None` if it has
    /// ended already, or if all of it was told before.
    pub fn close(&mut self, cause: Cause) -> Option<Closing> {
        if self.phase == Phase::Closed {
            return None;
        }
        self.phase = Phase::Closed;
        let told = self.end;
        let end = End { at: self.last, cause };
        // Given up twice for one reason is no news.
        self.end = Some(told.filter(|_| self.figures == self.told).unwrap_or(end));
        self.settle(self.end)
    }

    /// Whether nothing has been heard of it for so long that it counts as lost.
    pub fn is_silent(&self, now: UnixTime, settings: &Settings) -> bool {
        self.phase != Phase::Closed
            && now.0.saturating_sub(self.heard.0) > millis(settings.silence())
    }

    /// Whether a restart of its NAS at that time ends it: of the whole NAS, or where the record
    /// names a BSS, of that one. hostapd sends Accounting-On for each BSS that it adds.
    pub fn ends_with(&self, restart: UnixTime, bssid: Option<Mac>) -> bool {
        let there = match (bssid, self.facts.bssid) {
            (Some(restarted), Some(own)) => restarted == own,
            _ => true,
        };
        self.phase != Phase::Closed && there && self.began < restart
    }

    /// Whether it has ended, and not by a Stop.
    fn given_up(&self) -> bool {
        self.phase == Phase::Closed
            && self.end.is_some_and(|e| matches!(e.cause, Cause::Lost | Cause::Restart))
    }

    fn learn(&mut self, record: &Record, at: UnixTime, received: UnixTime) {
        let newest = at >= self.last;
        let facts = &mut self.facts;
        let first = |own: &mut Option<_>, new: &Option<_>| {
            if own.is_none() {
                own.clone_from(new);
            }
        };
        facts.station = facts.station.or(record.station);
        facts.bssid = facts.bssid.or(record.bssid);
        first(&mut facts.user_name, &record.user_name);
        first(&mut facts.chargeable_user, &record.chargeable_user);
        if facts.class.is_none() {
            facts.class = record.class.first().cloned();
        }
        if facts.multi_session_id.is_none() {
            facts.multi_session_id.clone_from(&record.multi_session_id);
        }
        if newest || facts.address.is_none() {
            facts.address = record.address.or(facts.address);
        }
        if newest || facts.address6.is_none() {
            facts.address6 = record.address6.or(facts.address6);
        }
        self.started |= record.kind == Kind::Start;
        self.began = self.began.min(record.began(at));
        self.last = self.last.max(at);
        self.heard = self.heard.max(received);
    }

    fn count(&mut self, record: &Record, at: UnixTime, settings: &Settings) {
        let mut new = record.figures;
        if !record.timed && record.kind != Kind::Start {
            let elapsed = at.0.saturating_sub(self.began.0) / 1000;
            new.seconds = u64::try_from(elapsed).unwrap_or(0);
        }
        self.gigawords |= record.gigawords;
        let newer = new.seconds > self.figures.seconds;
        let mut backwards = false;
        let mut step = |base, raw, exact| {
            let step = counter::step(base, raw, newer, exact || !settings.wraps);
            backwards |= step == Step::Backwards;
            step.value(base)
        };
        let own = self.figures;
        self.figures = Figures {
            input: step(own.input, new.input, self.gigawords),
            output: step(own.output, new.output, self.gigawords),
            input_packets: step(own.input_packets, new.input_packets, false),
            output_packets: step(own.output_packets, new.output_packets, false),
            seconds: own.seconds.max(new.seconds),
        };
        // A Stop may leave its figures out; that is no counter that ran backwards.
        if backwards && new.octets() > 0 {
            self.backwards = self.backwards.saturating_add(1);
        }
    }

    fn stop(&mut self, record: &Record, at: UnixTime) {
        if self.end.is_some_and(|end| end.cause.is_stop()) {
            return;
        }
        self.phase = Phase::Closed;
        let cause = Cause::Stop(record.terminate_cause.unwrap_or(0));
        self.end = Some(End { at, cause });
    }

    /// What there is to tell billing, given what was known of the end before.
    fn settle(&mut self, before: Option<End>) -> Option<Closing> {
        let end = self.end.filter(|_| self.phase == Phase::Closed)?;
        let first = self.closings == 0;
        if !first && self.figures == self.told && before == Some(end) {
            return None;
        }
        let delta = self.figures.since(self.told);
        self.told = self.figures;
        self.closings = self.closings.saturating_add(1);
        let kind = if first { ClosingKind::Close } else { ClosingKind::Correction };
        Some(Closing { kind, end, delta, total: self.figures })
    }

    fn same_but_for_arrival(&self, before: &Self) -> bool {
        let mut before = before.clone();
        before.heard = self.heard;
        before.backwards = self.backwards;
        *self == before
    }
}
