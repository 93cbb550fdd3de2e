//! Whether a path lives.
//!
//! What is sent on a path is answered: with traffic, and with reports at the latest. So silence
//! after something was sent is suspicious after a round trip, and probed; after two it is death,
//! if enough was sent in vain. Two silences are watched: that nothing comes at all, and, four times as
//! long, that what comes answers nothing of ours: then the path has gone dead in one direction.

use std::time::Duration;

use homeward_model::Instant;

use super::measure::RoundTrip;
use crate::settings::Settings;

/// A time that does not come.
pub(super) const NEVER: Instant = Instant::from_nanos(u64::MAX);

/// How much longer a path may leave unanswered what was sent if anything comes at all.
const DEAF: u32 = 4;

/// The shortest time between two probes of a silent path.
const LEAST: Duration = Duration::from_millis(2);

/// How long silence is borne.
#[derive(Debug, Clone, Copy)]
pub(super) struct Patience {
    /// Until an answer is overdue: a round trip and what it may vary, and the wait for a report.
    answer: Duration,
    /// Until the path is dead.
    dead: Duration,
}

impl Patience {
    pub(super) fn new(rtt: &RoundTrip, settings: &Settings) -> Self {
        match (rtt.mean(), rtt.deviation()) {
            (Some(mean), Some(deviation)) => {
                let way = mean + deviation * 4;
                let report = settings.report.delay(Some(mean)).max(settings.report.unknown);
                let floor = settings.silence;
                Self { answer: (way + report).max(floor / 2), dead: (way * 2 + report).max(floor) }
            }
            _ => Self { answer: settings.first_silence / 2, dead: settings.first_silence },
        }
    }
}

/// What was sent since the last answer.
#[derive(Debug, Clone, Copy, Default)]
struct Watch {
    /// When the first of it was, if anything.
    since: Option<Instant>,
    /// How many packets.
    count: u32,
    /// When the one was that makes enough of them.
    enough: Instant,
}

impl Watch {
    #[inline]
    fn sent(&mut self, enough: u32, now: Instant) {
        if self.since.is_none() {
            self.since = Some(now);
        }
        if self.count < enough {
            self.count += 1;
            self.enough = now;
        }
    }

    /// When it is death.
    fn dead(&self, enough: u32, answer: Duration, dead: Duration) -> Instant {
        match self.since {
            Some(since) if self.count >= enough => (since + dead).max(self.enough + answer),
            _ => NEVER,
        }
    }

    /// When it is suspicious.
    fn overdue(&self, answer: Duration) -> Instant {
        self.since.map_or(NEVER, |since| since + answer)
    }
}

/// Which silence was the death of a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Alive,
    /// Nothing came.
    Silent,
    /// Nothing was answered.
    Deaf,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Life {
    state: State,
    /// Since anything came.
    silence: Watch,
    /// Since what was sent was answered.
    deafness: Watch,
    /// When anything last came.
    heard: Instant,
    /// When anything was last sent.
    sent: Instant,
    /// Probes since its death.
    probes: u32,
    /// When it was probed last, or died, or began.
    probed: Instant,
    /// Whether it was never probed.
    new: bool,
}

impl Life {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            state: State::Alive,
            silence: Watch::default(),
            deafness: Watch::default(),
            heard: now,
            sent: now,
            probes: 0,
            probed: now,
            new: true,
        }
    }

    pub(super) fn is_alive(&self) -> bool {
        self.state == State::Alive
    }

    /// When anything last came.
    pub(super) const fn heard_at(&self) -> Instant {
        self.heard
    }

    /// Notes something sent.
    #[inline]
    pub(super) fn sent(&mut self, settings: &Settings, now: Instant) {
        let enough = settings.unanswered.max(1);
        self.sent = now;
        self.silence.sent(enough, now);
        self.deafness.sent(enough, now);
    }

    /// Notes that something came; says whether that is a revival.
    #[inline]
    pub(super) fn heard(&mut self, now: Instant) -> bool {
        self.heard = now;
        self.silence = Watch::default();
        if self.state == State::Silent {
            self.revive();
            return true;
        }
        false
    }

    /// Notes that something that was sent has arrived; says whether that is a revival.
    pub(super) fn answered(&mut self, now: Instant) -> bool {
        let revived = !self.is_alive();
        self.heard = now;
        self.revive();
        revived
    }

    fn revive(&mut self) {
        (self.state, self.probes) = (State::Alive, 0);
        self.rest();
    }

    /// Forgets what was sent: nothing is to be concluded from it.
    pub(super) fn rest(&mut self) {
        self.silence = Watch::default();
        self.deafness = Watch::default();
    }

    /// When it dies, if nothing comes.
    #[inline]
    pub(super) fn dies(&self, patience: Patience, settings: &Settings) -> Instant {
        if !self.is_alive() {
            return NEVER;
        }
        let enough = settings.unanswered.max(1);
        let Patience { answer, dead } = patience;
        let silent = self.silence.dead(enough, answer, dead);
        silent.min(self.deafness.dead(enough, answer * DEAF, dead * DEAF))
    }

    /// Notes its death.
    pub(super) fn die(&mut self, patience: Patience, settings: &Settings, now: Instant) {
        let enough = settings.unanswered.max(1);
        let silent = self.silence.dead(enough, patience.answer, patience.dead) <= now;
        self.state = if silent { State::Silent } else { State::Deaf };
        self.rest();
        (self.probes, self.probed) = (0, now);
    }

    /// When it is to be probed.
    pub(super) fn probe_due(&self, patience: Patience, settings: &Settings) -> Instant {
        if !self.is_alive() {
            let doubled = 1u32.checked_shl(self.probes).unwrap_or(u32::MAX);
            let wait = settings.probe.max(LEAST).saturating_mul(doubled);
            return self.probed + wait.min(settings.probe_max.max(LEAST));
        }
        if self.new {
            return self.probed;
        }
        let idle = settings.idle_probe.map_or(NEVER, |idle| self.sent + idle.max(LEAST));
        let overdue = self.overdue(patience);
        idle.min(overdue.max(self.probed + (patience.answer / 8).max(LEAST)))
    }

    /// When an answer is overdue, so that it is suspicious.
    fn overdue(&self, patience: Patience) -> Instant {
        let answer = patience.answer;
        self.silence.overdue(answer).min(self.deafness.overdue(answer * DEAF))
    }

    /// Notes a probe.
    pub(super) fn probed(&mut self, settings: &Settings, now: Instant) {
        if !self.is_alive() {
            self.probes = self.probes.saturating_add(1);
        }
        self.probed = now;
        self.new = false;
        self.sent(settings, now);
    }
}
