//! Requests to the portal: why, when, and how often at the most.

use std::collections::VecDeque;
use std::time::Duration;

use homeward_model::Instant;

use super::held::Held;
use super::{
    Action, Answer, Failure, Keys, Manager, Notice, Request, RequestId, Settings, Trouble, Wanted,
};
use crate::wire::HandoffKeys;
use homeward_model::backoff::Backoff;

const HOUR: Duration = Duration::from_secs(3600);

/// A portal may ask for patience, but not for ever.
const PATIENCE: Duration = HOUR;

#[derive(Debug, Default)]
pub(crate) struct Asking {
    pub(crate) open: Option<Open>,
    pub(crate) backoff: Backoff,
    /// After answers that brought no hand-off keys. Nothing else waits for those.
    handoff: Backoff,
    /// What failed last, and in whose words, until an answer helps.
    pub(crate) trouble: Option<(Trouble, Option<String>)>,
    /// Cellular is new; wait until then.
    arrived: Option<Instant>,
    /// When the last requests were made, as many as an hour may have.
    recent: VecDeque<Instant>,
    ids: u64,
}

#[derive(Debug)]
pub(crate) struct Open {
    id: RequestId,
    pub(crate) wanted: Wanted,
    request: Request,
    pub(crate) deadline: Instant,
}

impl Asking {
    /// Cellular is up anew, and what failed before may not fail now.
    pub(crate) fn arrive(&mut self, at: Instant) {
        self.arrived = Some(at);
        let hopeful = matches!(self.trouble, Some((Trouble::Away | Trouble::Refused, _)));
        if hopeful {
            self.backoff.hurry();
        }
    }

    /// The open request is none of anybody's any more, nor is what failed before.
    pub(crate) fn abandon(&mut self) {
        self.open = None;
        self.trouble = None;
        self.backoff.clear();
    }

    /// What hand-off keys are wanted has changed.
    pub(crate) fn keys_anew(&mut self) {
        self.handoff.clear();
    }

    /// When an hour has room for one more; `None`: now.
    pub(crate) fn room(&self, settings: &Settings, now: Instant) -> Option<Instant> {
        let most = usize::from(settings.requests_per_hour);
        let oldest = self.recent.iter().rev().nth(most.saturating_sub(1))?;
        Some(*oldest + HOUR).filter(|at| *at > now)
    }

    /// Whether cellular is so new that the portal was not asked yet.
    pub(crate) fn arriving(&self, now: Instant) -> bool {
        self.arrived.is_some_and(|at| at > now)
    }

    /// When the next request may be made; `None`: now.
    pub(crate) fn waits(&self, settings: &Settings, now: Instant) -> Option<Instant> {
        let arrived = self.arrived.filter(|at| *at > now);
        [arrived, self.backoff.until(now), self.room(settings, now)].into_iter().flatten().max()
    }

    pub(crate) fn next(&self, settings: &Settings, now: Instant) -> Option<Instant> {
        match &self.open {
            Some(open) => Some(open.deadline),
            None => self.waits(settings, now),
        }
    }

    fn spend(&mut self, settings: &Settings, now: Instant) {
        self.recent.push_back(now);
        while self.recent.len() > usize::from(settings.requests_per_hour) {
            self.recent.pop_front();
        }
    }
}

impl Manager {
    /// Why credentials should be asked for.
    pub(crate) fn wanted(&self, now: Instant) -> Option<Wanted> {
        let Some(held) = &self.held else { return Some(Wanted::None) };
        let stored = &held.stored;
        let other_mac = self.supplicant.mac.is_some_and(|mac| mac != stored.mac);
        let other_imei =
            |(now, then): (homeward_model::Imei, homeward_model::Imei)| !now.same_equipment(&then);
        let in_session = self.session.is_some() && !self.is_ready();
        if other_mac || self.modem.imei.zip(stored.imei).is_some_and(other_imei) {
            Some(Wanted::Moved)
        } else if self.rejections.wants(now) {
            Some(Wanted::Rejected)
        } else if stored.spent && !in_session {
            // Not in mid-session: those that open it end when others are issued.
            Some(Wanted::Spent)
        } else if held.is_due(&self.clocks, in_session, now) {
            Some(Wanted::Renewal)
        } else if stored.by_message && self.modem.bearer && !in_session {
            Some(Wanted::ByMessage)
        } else if stored.expires.is_some() && self.clocks.is_behind(now) {
            Some(Wanted::Clock)
        } else if self.lacks_keys() && self.asking.handoff.until(now).is_none() {
            Some(Wanted::Keys)
        } else {
            None
        }
    }

    /// Whether hand-off keys are wanted that are not there, or of another SIM.
    fn lacks_keys(&self) -> bool {
        match self.handoff {
            Keys::Unwanted => false,
            Keys::Of(of) => self.modem.imsi.is_some_and(|imsi| of != Some(imsi)),
        }
    }

    /// Asks, if there is reason and nothing stands against it.
    pub(crate) fn ask(&mut self, now: Instant) {
        if let Some(open) = &self.asking.open
            && open.deadline <= now
        {
            let id = open.id;
            self.answered(id, Err(Failure::Away("it did not answer in time".to_owned())), now);
        }
        if self.asking.open.is_some()
            || !self.switches.offload
            || !self.modem.bearer
            || self.asking.waits(&self.settings, now).is_some()
        {
            return;
        }
        let Some(((imsi, mac), wanted)) =
            self.modem.imsi.zip(self.supplicant.mac).zip(self.wanted(now))
        else {
            return;
        };
        self.asking.spend(&self.settings, now);
        self.asking.ids += 1;
        let id = RequestId(self.asking.ids);
        let previous = self.held.as_ref().map(|held| held.stored.username.clone());
        let handoff = self.lacks_keys();
        let request = Request { imsi, imei: self.modem.imei, mac, previous, handoff };
        self.counters.requests += 1;
        self.actions.push_back(Action::Request { id, request: request.clone() });
        let deadline = now + self.settings.request;
        self.asking.open = Some(Open { id, wanted, request, deadline });
    }

    pub(crate) fn answered(
        &mut self,
        id: RequestId,
        result: Result<Answer, Failure>,
        now: Instant,
    ) {
        let Some(open) = self.asking.open.take_if(|open| open.id == id) else { return };
        if !matches!(result, Err(Failure::Away(_))) {
            self.messaging.within_reach();
        }
        if !self.modem.bearer || matches!(result, Err(Failure::Away(_))) {
            self.messaging.out_of_reach(now);
        }
        match result.and_then(sound) {
            Ok(answer) => {
                self.counters.answers += 1;
                self.messaging.satisfied();
                self.accept(answer, open.wanted, &open.request, false, now);
                self.asking.trouble = None;
                match self.wanted(now) {
                    None => self.asking.backoff.clear(),
                    // The station changed while the portal was thinking.
                    Some(Wanted::Moved) if open.wanted != Wanted::Moved => {
                        self.asking.backoff.clear();
                    }
                    Some(_) => self.trouble(Trouble::Useless, None, now),
                }
            }
            Err(failure) => self.failed(failure, now),
        }
    }

    /// Takes credentials in hand, by whichever way they came.
    pub(crate) fn accept(
        &mut self,
        mut answer: Answer,
        wanted: Wanted,
        request: &Request,
        by_message: bool,
        now: Instant,
    ) {
        if let Some(date) = answer.date {
            self.clocks.hear(date, now);
        }
        self.take_keys(answer.handoff.take(), request, now);
        self.generations += 1;
        let before = self.held.as_ref();
        let (generation, by) = (self.generations, &mut self.jitter);
        let mut held = Held::answered(before, answer, request, by_message, generation, by);
        // Without the portal's word the wall's has to do for the time after a restart.
        held.stored.date = held.stored.date.or(before.and_then(|before| before.stored.date));
        let changed = before.is_none_or(|before| before.generation != held.generation);
        self.actions.push_back(Action::Store(Box::new(held.stored.clone())));
        self.held = Some(held);
        self.rejections.answered();
        if changed {
            self.notify(Notice::Credentials { wanted });
        }
    }

    /// Keys that nobody asked for are none: those in hand are good.
    fn take_keys(&mut self, keys: Option<HandoffKeys>, request: &Request, now: Instant) {
        if !request.handoff {
            return;
        }
        if let Some(keys) = keys {
            self.handoff = Keys::Of(Some(request.imsi));
            self.asking.handoff.clear();
            self.actions.push_back(Action::Keys(request.imsi, Box::new(keys)));
        } else {
            let (first, most) = (self.settings.useless, self.settings.refused_most);
            self.asking.handoff.fail(first, most, now, &mut self.jitter);
        }
    }

    /// When hand-off keys are asked for again that an answer did not bring.
    pub(crate) fn keys_wait(&self, now: Instant) -> Option<Instant> {
        self.asking.handoff.until(now).filter(|_| self.lacks_keys())
    }

    fn failed(&mut self, failure: Failure, now: Instant) {
        self.counters.request_failures += 1;
        match failure {
            Failure::Away(error) => self.trouble(Trouble::Away, Some(error), now),
            Failure::Refused => self.trouble(Trouble::Refused, None, now),
            Failure::Invalid(error) => self.trouble(Trouble::Invalid, Some(error), now),
            Failure::Busy(patience) => {
                self.trouble(Trouble::Busy, None, now);
                if let Some(patience) = patience {
                    self.asking.backoff.not_before(now + patience.min(PATIENCE));
                }
            }
        }
    }

    fn trouble(&mut self, trouble: Trouble, words: Option<String>, now: Instant) {
        let settings = &self.settings;
        let (first, most) = match trouble {
            Trouble::Away | Trouble::Busy | Trouble::Unsent => (settings.away, settings.away_most),
            Trouble::Refused => (settings.refused, settings.refused_most),
            Trouble::Invalid | Trouble::Useless => (settings.useless, settings.refused_most),
        };
        let asking = &mut self.asking;
        if asking.trouble.as_ref().is_some_and(|(before, _)| *before != trouble) {
            asking.backoff.clear();
        }
        asking.trouble = Some((trouble, words));
        asking.backoff.fail(first, most, now, &mut self.jitter);
        let failures = asking.backoff.failures();
        let retry = asking.waits(settings, now);
        let retry_ms = retry.map(|at| super::status::ms(at - now));
        self.notify(Notice::PortalFailed { failure: trouble, failures, retry_ms });
    }

    /// Whether credentials are about to be replaced because those in hand are of no use.
    pub(crate) fn replacing(&self) -> bool {
        let useless =
            |open: &Open| matches!(open.wanted, Wanted::Moved | Wanted::Rejected | Wanted::Spent);
        self.asking.open.as_ref().is_some_and(useless)
    }

    /// Notes that Wi-Fi was left: what is in its renewal window is renewed without delay.
    pub(crate) fn note_return(&mut self, now: Instant) {
        let likely = self.clocks.likely(now);
        if let Some(held) = &mut self.held
            && let Some((time, [begin, ..])) = likely.zip(held.window())
        {
            held.returned |= time >= begin;
        }
    }

    /// The credentials in hand have opened a session.
    pub(crate) fn logged_on(&mut self, generation: u64) {
        self.rejections.clear();
        let of = |held: &&mut Held| held.generation == generation;
        if self.held.as_mut().filter(of).is_some_and(|held| held.stored.by_message) {
            self.messaging.backoff.forgive();
        }
        if let Some(held) = self.held.as_mut().filter(of)
            && held.stored.one_time
            && !held.stored.spent
        {
            held.stored.spent = true;
            self.actions.push_back(Action::Store(Box::new(held.stored.clone())));
        }
    }
}

/// An answer that can be worked with.
pub(crate) fn sound(answer: Answer) -> Result<Answer, Failure> {
    if let Err(error) = answer.policy.check() {
        return Err(Failure::Invalid(error.to_string()));
    }
    let over = |(end, date): (homeward_model::UnixTime, homeward_model::UnixTime)| end <= date;
    if answer.expires.zip(answer.date).is_some_and(over) {
        return Err(Failure::Invalid("what it issued was over when it came".to_owned()));
    }
    Ok(answer)
}
