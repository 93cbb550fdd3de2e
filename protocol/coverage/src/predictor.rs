//! The machine: three detectors, one opinion, and a state that is not left lightly.
//!
//! ```text
//!            near the edge                    out
//!   Covered ─── Prepare ──► Prepared ─────── Leave ──► Away
//!      │  ▲                   │    ▲                    │
//!      │  └────── Stay ───────┘    └────── Return ──────┘
//!      └───────────────────── Leave ───────────────────►
//! ```
//!
//! | detector | says of the edge |
//! |---|---|
//! | single gateway | it is near, the surer the lower the one signal; out, where none is heard |
//! | all signals | how likely all of them are below the threshold in [`Settings::ahead`], and when the last is |
//! | position and map | how likely the course leaves the union of the gateways' ranges by then, and when |
//!
//! *Preparing* is cheap, so any detector can have it done: the opinion of all is that not all of them are
//! wrong, each weighed ([`Settings::alone`], [`Settings::position`]). *Leaving* and *returning* cost
//! something, so there opinions are weighed against each other, and what is heard counts most. Nobody
//! returns to what is not heard. A position or a map that what is heard contradicts is believed less or not
//! at all, and the decision says so.
//!
//! **To and fro.** Each state lasts for a while ([`Settings::least`]). Only Wi-Fi that is as good as gone is
//! left sooner; nothing returns sooner. What was in range when Wi-Fi was left
//! soon after returning to it is not returned to again for a time that doubles ([`Settings::hold_down`]). Returning takes
//! [`Terms::hysteresis_db`] more than leaving, for [`Terms::dwell`]. So one gateway that comes and goes all
//! the time is taken ten times in an hour, and no input makes more moves than two each
//! [`Least::away`](crate::settings::Least::away).

use std::collections::VecDeque;
use std::time::Duration;

use homeward_model::{Instant, Mac, Rssi, UnixTime};

use crate::air::Air;
use crate::decision::{Advice, Decision, Reason};
use crate::holds::{Hold, Holds};
use crate::input::{Fix, Heard, Path};
use crate::map::Map;
use crate::number::{ms, tenth};
use crate::opinion::{Opinion, Weighed, fuse};
use crate::place::{Place, Placed};
use crate::settings::{Settings, Terms};
use crate::status::{Counters, FixStatus, GatewayStatus, MapStatus, State, Status};

/// Decisions that nobody fetches are kept up to so many, the latest ones.
const KEPT: usize = 32;

/// Decides when a device prepares its cellular tunnel, leaves Wi-Fi and comes back. It begins on
/// cellular, until [`handle_path`](Self::handle_path) says otherwise.
#[derive(Debug)]
pub struct Predictor {
    settings: Settings,
    terms: Terms,
    air: Air,
    place: Place,
    holds: Holds,
    state: State,
    since: Instant,
    /// Since when traffic has gone by Wi-Fi, and the gateway that it went back to.
    stint: Option<(Instant, Option<Mac>)>,
    waiting: Waiting,
    /// The last instant that the state was judged at.
    judged: Instant,
    decisions: VecDeque<Decision>,
    counters: Counters,
}

/// Since when what a decision waits for has been so, by measures: what was not measured does not count.
#[derive(Debug, Clone, Copy, Default)]
struct Waiting {
    calm: Option<Instant>,
    inside: Option<Instant>,
}

/// What is thought at a moment.
struct View {
    opinion: Opinion,
    /// Wi-Fi is as good as gone, and why.
    gone: Option<Reason>,
    /// How long coverage lasts by the map.
    stays: Option<Duration>,
}

impl Predictor {
    /// A machine that knows nothing yet. What the settings have out of range is brought into it.
    pub fn new(settings: Settings) -> Self {
        let settings = settings.sound();
        let terms = settings.terms;
        Self {
            settings,
            terms,
            air: Air::default(),
            place: Place::default(),
            holds: Holds::default(),
            state: State::Away,
            since: Instant::ORIGIN,
            stint: None,
            waiting: Waiting::default(),
            judged: Instant::ORIGIN,
            decisions: VecDeque::new(),
            counters: Counters::default(),
        }
    }

    /// A scan's result: all that was heard in it, and nothing that an earlier one heard. One of
    /// nothing says that nothing is heard.
    pub fn handle_scan(&mut self, heard: &[Heard], now: Instant) {
        self.air.scan(heard, now, &self.settings);
        self.place.check(&self.air, now, &self.settings);
        self.judge(now);
    }

    /// The signal of the gateway that the device is associated with.
    pub fn handle_signal(&mut self, bssid: Mac, rssi: Rssi, now: Instant) {
        self.air.signal(bssid, rssi, now, &self.settings);
        self.place.check(&self.air, now, &self.settings);
        self.judge(now);
    }

    /// A position.
    pub fn handle_fix(&mut self, fix: Fix, now: Instant) {
        self.place.locate(fix, now, &self.settings);
        self.place.check(&self.air, now, &self.settings);
        self.judge(now);
    }

    /// The operator's map, in place of the one before; and the time on the wall, to tell when it is over.
    pub fn handle_map(&mut self, map: Map, wall: UnixTime, now: Instant) {
        self.place.carry(map, wall, now);
        self.place.check(&self.air, now, &self.settings);
        self.judge(now);
    }

    /// What the class of service decides now.
    pub fn handle_terms(&mut self, terms: Terms, now: Instant) {
        self.terms = terms.sound();
        self.waiting = Waiting::default();
        self.judge(now);
    }

    /// Where traffic goes. The machine takes it for granted that its advice is followed; this tells it
    /// where that is not so: at the beginning, when Wi-Fi broke, when somebody switched it off.
    pub fn handle_path(&mut self, path: Path, now: Instant) {
        match (path, self.state) {
            (Path::Wifi, State::Away) => {
                self.enter(State::Covered, now);
                self.stint = Some((now, None));
            }
            (Path::Cellular, State::Covered | State::Prepared) => self.left(now),
            _ => {}
        }
        self.judge(now);
    }

    /// Where the machine stands.
    pub const fn state(&self) -> State {
        self.state
    }

    /// What the class of service decides.
    pub const fn terms(&self) -> Terms {
        self.terms
    }

    /// Whether no detector has anything to go by: then nothing is foreseen, and nothing decided.
    pub fn is_blind(&mut self, now: Instant) -> bool {
        self.view(now).is_none()
    }

    /// The next decision that was not fetched yet.
    pub fn poll_decision(&mut self) -> Option<Decision> {
        self.decisions.pop_front()
    }

    /// When [`handle_timeout`](Self::handle_timeout) is to be called, if nothing comes before.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let least = self.since + self.least();
        let held = self.holds.all(self.judged).map(|(_, hold)| hold.until);
        let all = self.air.next(&self.settings).chain(self.place.next(&self.settings));
        let all = all.chain(held.filter(|_| self.state == State::Away)).chain([least]);
        all.filter(|at| *at > self.judged).min()
    }

    /// Time has passed.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.air.settle(now, &self.settings);
        self.judge(now);
    }

    /// The whole of the machine.
    pub fn status(&mut self, now: Instant) -> Status {
        let view = self.view(now);
        let by = &self.settings.tracking;
        let mut gateways: Vec<_> = self
            .air
            .gateways
            .iter()
            .map(|(bssid, gateway)| {
                let expected = gateway.track.expected(now, by);
                GatewayStatus {
                    bssid: *bssid,
                    level: tenth(expected.level),
                    deviation: tenth(expected.deviation),
                    slope: tenth(gateway.track.slope()),
                    present: gateway.present,
                    age_ms: ms(now - gateway.heard),
                    held_ms: self.holds.of(Some(*bssid), now).map(|hold| ms(hold.until - now)),
                }
            })
            .collect();
        gateways.sort_by(|a, b| b.level.total_cmp(&a.level));
        let map = self.place.map().map(|(map, expires)| MapStatus {
            tiles: map.tiles().len(),
            gateways: map.len(),
            issued: map.issued().0,
            left_ms: ms(expires - now),
        });
        let fix = self
            .place
            .fix()
            .map(|fix| FixStatus { age_ms: ms(now - fix.taken), accuracy_m: fix.accuracy_m });
        let held = self.holds.all(now).filter_map(|(bssid, hold)| {
            let Hold { failures, until } = hold;
            Some(Reason::HeldDown { bssid: bssid?, failures, left_ms: ms(until - now) })
        });
        let visit = view.as_ref().and_then(|view| self.visit(view));
        let withheld = held.chain(visit).filter(|_| self.state == State::Away).collect();
        let opinion = view.as_ref().map(|view| &view.opinion);
        Status {
            state: self.state,
            for_ms: ms(now - self.since),
            terms: self.terms,
            edge: opinion.map(|o| o.soon),
            out: opinion.and_then(|o| o.now),
            lead_ms: opinion.and_then(|o| o.lead).map(ms),
            leaving: opinion.map(|o| o.leaving.clone()).unwrap_or_default(),
            entering: opinion.map(|o| o.entering.clone()).unwrap_or_default(),
            doubts: opinion.map(|o| o.doubts.clone()).unwrap_or_default(),
            withheld,
            gateways,
            map,
            fix,
            counters: self.counters,
        }
    }

    /// What the detectors think together; `None` where none of them has anything to go by.
    fn view(&mut self, now: Instant) -> Option<View> {
        let Self { settings, terms, air, place, holds, .. } = self;
        let use_of = settings.detectors;
        let mut all = Vec::new();
        let back_to = |bssid: &Mac| holds.of(Some(*bssid), now).is_none();
        if use_of.signals
            && let Some(opinion) = air.signals(now, terms, settings, back_to)
        {
            all.push(Weighed { opinion, prepares: 1.0, weight: 1.0 });
        }
        if use_of.alone
            && let Some(opinion) = air.alone(now, terms, settings, back_to)
        {
            // It knows of nothing but signals either: beside the other it seldom adds to that.
            all.push(Weighed {
                opinion,
                prepares: settings.alone.soon,
                weight: settings.alone.now,
            });
        }
        let mut stays = None;
        if use_of.position
            && let Some(placed) = place.opinion(air, now, terms, settings)
        {
            let Placed { opinion, trust, stays: until } = placed;
            stays = until.filter(|_| trust >= 1.0);
            all.push(Weighed {
                opinion,
                prepares: settings.position.soon * trust,
                weight: settings.position.now * trust,
            });
        }
        let opinion = fuse(all)?;
        let gone =
            (use_of.signals || use_of.alone).then(|| air.gone(now, terms, settings)).flatten();
        Some(View { opinion, gone, stays })
    }

    /// Whether coverage is over too soon to be worth it.
    fn visit(&self, view: &View) -> Option<Reason> {
        let stays = view.stays.filter(|stays| *stays < self.settings.visit)?;
        Some(Reason::ShortVisit { stays_ms: ms(stays), least_ms: ms(self.settings.visit) })
    }

    /// Whether a detector has a say that goes by what is heard.
    const fn listens(&self) -> bool {
        self.settings.detectors.signals || self.settings.detectors.alone
    }

    /// How long the state lasts at least.
    const fn least(&self) -> Duration {
        match self.state {
            State::Covered => self.settings.least.covered,
            State::Prepared => self.settings.least.prepared,
            State::Away => self.settings.least.away,
        }
    }

    /// Whether something has been so for `dwell`, as far as was measured.
    fn lasts(slot: &mut Option<Instant>, holds: bool, measured: Instant, dwell: Duration) -> bool {
        *slot = holds.then(|| slot.unwrap_or(measured));
        slot.is_some_and(|since| measured - since >= dwell)
    }

    fn judge(&mut self, now: Instant) {
        let now = now.max(self.judged);
        self.judged = now;
        let Some(view) = self.view(now) else {
            self.waiting = Waiting::default();
            return;
        };
        let measured = self.air.measured.filter(|_| self.listens());
        let measured = measured.or(self.place.fix().map(|fix| fix.taken)).unwrap_or(now);
        let settled = now - self.since >= self.least();
        let (settings, opinion) = (&self.settings, &view.opinion);
        let mut waiting = self.waiting;
        let out = opinion.now.is_some_and(|out| out >= settings.leave);
        let edge = opinion.soon >= settings.prepare;
        let calm = opinion.soon < settings.calm;
        let calm = Self::lasts(&mut waiting.calm, calm, measured, settings.calm_dwell);
        let short = self.visit(&view).is_some();
        // Nobody goes back to what is not heard, unless there is nobody who would hear it.
        let heard = opinion.by.is_some() || !self.listens();
        let inside = opinion.inside >= settings.back && !short && heard;
        let inside = Self::lasts(&mut waiting.inside, inside, measured, self.terms.dwell);
        self.waiting = waiting;
        match self.state {
            State::Covered | State::Prepared if view.gone.is_some() => {
                self.counters.urgent += 1;
                self.leave(view, now);
            }
            // What is prepared for is not waited for: only what was gone back to has to last.
            State::Covered | State::Prepared if out && self.has_lasted(now) => {
                self.leave(view, now)
            }
            State::Covered if edge && settled => {
                let Opinion { soon, lead, leaving, doubts, .. } = view.opinion;
                self.enter(State::Prepared, now);
                self.decide(Advice::Prepare, soon, lead, [leaving, doubts].concat(), now);
            }
            State::Prepared if calm && settled => {
                let Opinion { soon, entering, doubts, .. } = view.opinion;
                let for_ms = ms(measured - self.waiting.calm.unwrap_or(measured));
                self.enter(State::Covered, now);
                let reasons = [self.steady(for_ms, now), entering, doubts].concat();
                self.decide(Advice::Stay, 1.0 - soon, None, reasons, now);
            }
            State::Away if inside && settled => self.come_back(view, measured, now),
            _ => {}
        }
    }

    /// Whether the stint on Wi-Fi has lasted for as long as one lasts at least.
    fn has_lasted(&self, now: Instant) -> bool {
        let least = self.settings.least.wifi;
        self.stint.is_none_or(|(since, _)| now - since >= least)
    }

    fn steady(&self, for_ms: u64, now: Instant) -> Vec<Reason> {
        let best = self.air.best(now, &self.settings, |_| true);
        let threshold = f64::from(self.terms.threshold.0);
        let steady = |level: f64, bssid| Reason::Steady { bssid, level, threshold, for_ms };
        best.map(|best| steady(tenth(best.now.level), best.bssid)).into_iter().collect()
    }

    fn leave(&mut self, view: View, now: Instant) {
        let Opinion { now: out, mut leaving, doubts, .. } = view.opinion;
        let out = out.unwrap_or(0.0);
        let confidence = if view.gone.is_some() { out.max(0.9) } else { out };
        if let Some(gone) = view.gone.filter(|gone| !leaving.contains(gone)) {
            leaving.insert(0, gone);
        }
        self.left(now);
        let reasons = [leaving, doubts].concat();
        self.decide(Advice::Leave, confidence, Some(Duration::ZERO), reasons, now);
    }

    /// Wi-Fi is left, by advice or by itself. All that was in range and did not last is held down.
    fn left(&mut self, now: Instant) {
        if let Some((since, back_to)) = self.stint.take() {
            let hold_down = self.settings.hold_down;
            let short = now - since < hold_down.short;
            let others = self.air.present().map(|(bssid, _)| Some(*bssid));
            let others = others.filter(|bssid| *bssid != back_to);
            for bssid in std::iter::once(back_to).chain(others) {
                if short {
                    self.holds.fail(bssid, now, &hold_down, self.settings.max_gateways);
                } else {
                    self.holds.pardon(bssid);
                }
            }
        }
        self.enter(State::Away, now);
    }

    fn come_back(&mut self, view: View, measured: Instant, now: Instant) {
        let lasted = ms(measured - self.waiting.inside.unwrap_or(measured));
        let Opinion { inside, by, mut entering, doubts, .. } = view.opinion;
        for reason in &mut entering {
            if let Reason::Strong { for_ms, .. } = reason {
                *for_ms = lasted;
            }
        }
        self.enter(State::Prepared, now);
        self.stint = Some((now, by));
        let reasons = [entering, doubts].concat();
        self.decide(Advice::Return, inside, view.stays, reasons, now);
    }

    fn enter(&mut self, state: State, now: Instant) {
        (self.state, self.since) = (state, now);
        self.waiting = Waiting::default();
    }

    fn decide(
        &mut self,
        advice: Advice,
        confidence: f64,
        lead: Option<Duration>,
        reasons: Vec<Reason>,
        now: Instant,
    ) {
        match advice {
            Advice::Stay => self.counters.stays += 1,
            Advice::Prepare => self.counters.prepares += 1,
            Advice::Leave => self.counters.leaves += 1,
            Advice::Return => self.counters.returns += 1,
        }
        let confidence = (confidence * 1000.0).round() / 1000.0;
        if self.decisions.len() == KEPT {
            self.decisions.pop_front();
        }
        self.decisions.push_back(Decision { advice, at: now, confidence, lead, reasons });
    }
}
