//! The device's offload machine: when it asks for credentials, joins Wi-Fi, moves its connections
//! there, and comes back.
//!
//! ```text
//!  modem ──► cellular up ──► requesting ──► credentials in hand
//!                                                  │ programmed, wanted, nothing in the way
//!      ┌──────────────────────────────────────► watching ◄─────────────────────────┐
//!      │                                           │ strong, or nearly so          │
//!      │                associating ► authenticating ► addressing                  │
//!      │                                           │                               │
//!      │                                        verifying ── captive, dead ──► returning
//!      │                                           │ open                          ▲
//!      ├─ lost ◄────────────────────────────── ready ── fading, hours over … ──────┤
//!      │                                           │ strong for the dwell          │
//!      └─ lost ◄───────────────────────────── offloaded ── fading, hours over … ───┘
//! ```
//!
//! Feed it with the `handle_*` methods; after each, take all of [`Manager::poll_action`], and
//! call [`Manager::handle_timeout`] at [`Manager::poll_timeout`]. Three things hold whatever
//! happens:
//!
//! - New connections use Wi-Fi only while it was found to reach the Internet since the device
//!   associated. A roam inside the network is looked at again at once, and ends its use if it
//!   does not.
//! - Wi-Fi is left only after connections were sent back to cellular, and taken again only after
//!   it was good for the policy's dwell, measured from then on.
//! - The portal is asked at most [`Settings::requests_per_hour`] times in any hour, and by short
//!   message at most [`settings::Messages::per_day`] times in any day.
//!
//! What keeps the device from Wi-Fi is one list (`why`): the machine joins if it is empty, and
//! [`Manager::why`] shows it, so that what is shown is what was decided by.
//!
//! | module | holds |
//! |---|---|
//! | [`input`], [`action`] | what goes in, what comes out |
//! | [`settings`] | limits and times |
//! | [`why`], [`status`] | what a user sees |
//! | [`time`] | what time it is, where the clock may be wrong |
//! | `held` | the credentials in hand; log-ons that were refused |
//! | `asking` | requests to the portal: why, when, how often |
//! | `messages` | requests by short message, where it cannot be reached otherwise |
//! | `air` | access points heard, smoothed; those that are shunned |
//! | `fit` | which access point is joined, and when it is used |
//! | `link` | from joining to returning |

use std::collections::VecDeque;
use std::time::Duration;

use homeward_model::{Entropy, Instant, Mac, Rssi};

pub mod action;
mod air;
mod asking;
mod fit;
mod held;
pub mod input;
mod link;
mod messages;
pub mod settings;
pub mod status;
pub mod time;
pub mod why;

pub use action::{
    Action, Discarded, Left, MessageId, NetworkBlock, Notice, ProgramId, Request, RequestId,
    Scanning, Trouble, VerifyId, Wanted,
};
pub use held::Stored;
pub use input::{
    Answer, Connectivity, Failure, Heard, Keys, ModemFacts, Registration, SupplicantEvent, Switches,
};
pub use settings::Settings;
pub use status::{Counters, State, Status};
pub use time::WallClock;
pub use why::{Cause, Reason, Why};

use air::Air;
use asking::Asking;
use held::{Held, Rejections};
use homeward_model::backoff::{Backoff, Jitter};
use link::{Link, Session};
use messages::Messaging;
use time::Clocks;

/// How soon a scan of few frequencies may follow another: each keeps the station from what it is
/// on for some 50 ms.
const SOONEST_SCAN: Duration = Duration::from_millis(500);

/// The offload machine of one device.
#[derive(Debug)]
pub struct Manager {
    settings: Settings,
    switches: Switches,
    /// Hand-off keys, as far as the portal gives them.
    handoff: Keys,
    clocks: Clocks,
    jitter: Jitter,
    /// The latest moment that it was told of.
    now: Instant,
    modem: ModemFacts,
    supplicant: Supplicant,
    held: Option<Held>,
    generations: u64,
    asking: Asking,
    messaging: Messaging,
    rejections: Rejections,
    air: Air,
    link: Link,
    /// The association, from joining to returning.
    session: Option<Session>,
    /// Whether Wi-Fi has an address.
    addressed: bool,
    /// Whether new connections use Wi-Fi.
    on_wifi: bool,
    verifies: u64,
    scan: Option<Scanning>,
    /// How often the signal is measured, as far as that was said.
    measure: Option<Duration>,
    actions: VecDeque<Action>,
    counters: Counters,
}

/// What is known of the supplicant.
#[derive(Debug)]
struct Supplicant {
    ready: bool,
    radio: bool,
    /// Whether the station is on somebody else's network.
    lent: bool,
    /// The station's address, which outlives the supplicant.
    mac: Option<Mac>,
    /// The generation of credentials that it has.
    has: Option<u64>,
    /// What it was told and has not answered.
    told: Option<(ProgramId, Option<u64>, Instant)>,
    programs: u64,
    backoff: Backoff,
    error: Option<String>,
}

impl Manager {
    /// A machine that was told nothing yet, with the credentials of its last life.
    pub fn new(
        settings: Settings,
        switches: Switches,
        stored: Option<Stored>,
        entropy: &mut impl Entropy,
        now: Instant,
    ) -> Self {
        let (settings, mut jitter, mut clocks) =
            (settings.floored(), Jitter::new(entropy), Clocks::default());
        if let Some(date) = stored.as_ref().and_then(|stored| stored.date) {
            clocks.not_before(date, now);
        }
        let held = stored.map(|stored| Held::new(stored, 1, &mut jitter));
        Self {
            settings,
            switches,
            handoff: Keys::Unwanted,
            clocks,
            jitter,
            now,
            modem: ModemFacts::default(),
            supplicant: Supplicant {
                ready: false,
                radio: true,
                lent: false,
                mac: None,
                has: None,
                told: None,
                programs: 0,
                backoff: Backoff::default(),
                error: None,
            },
            held,
            generations: 1,
            asking: Asking::default(),
            messaging: Messaging::new(entropy, now),
            rejections: Rejections::default(),
            air: Air::default(),
            link: Link::Idle,
            session: None,
            addressed: false,
            on_wifi: false,
            verifies: 0,
            scan: None,
            measure: None,
            actions: VecDeque::new(),
            counters: Counters::default(),
        }
    }

    /// The modem says how it stands.
    pub fn handle_modem(&mut self, facts: ModemFacts, now: Instant) {
        let now = self.tick(now);
        let arrived = facts.bearer && !self.modem.bearer;
        if !facts.bearer {
            self.messaging.out_of_reach(now);
        }
        self.modem = facts;
        let other = |held: &Held| self.modem.imsi.is_some_and(|imsi| imsi != held.stored.imsi);
        if self.held.as_ref().is_some_and(other) {
            self.asking.abandon();
            self.discard(Discarded::Sim);
        }
        if let Some(imsi) = self.modem.imsi {
            self.messaging.sim(imsi);
        }
        if arrived {
            let spread = self.jitter.below(self.settings.spread);
            self.asking.arrive(now + spread);
        }
        self.settle(now);
    }

    /// A scan came.
    pub fn handle_scan(&mut self, heard: &[Heard], now: Instant) {
        let now = self.tick(now);
        if let Some(held) = &self.held {
            self.air.scan(heard, &held.stored.policy, &self.settings, now);
        }
        self.settle(now);
    }

    /// How strong the access point is that the station is associated with. Tell it as often as
    /// [`Action::Measure`] says.
    pub fn handle_signal(&mut self, signal: Rssi, now: Instant) {
        let now = self.tick(now);
        self.signal(signal, now);
        self.settle(now);
    }

    /// The supplicant says something.
    pub fn handle_supplicant(&mut self, event: SupplicantEvent, now: Instant) {
        let now = self.tick(now);
        self.supplicant_said(event, now);
        self.settle(now);
    }

    /// Whether Wi-Fi has an address that traffic can leave from. Tell it after each log-on too,
    /// though it be the same as before.
    pub fn handle_address(&mut self, present: bool, now: Instant) {
        let now = self.tick(now);
        self.addressed = present;
        self.address_changed(now);
        self.settle(now);
    }

    /// What became of a request. One that was given up already changes nothing.
    pub fn handle_portal(&mut self, id: RequestId, result: Result<Answer, Failure>, now: Instant) {
        let now = self.tick(now);
        self.answered(id, result, now);
        self.settle(now);
    }

    /// What a check of connectivity found. One that was given up already changes nothing.
    pub fn handle_connectivity(&mut self, id: VerifyId, found: Connectivity, now: Instant) {
        let now = self.tick(now);
        self.verified(id, found, now);
        self.settle(now);
    }

    /// The user has switched something.
    pub fn handle_setting(&mut self, switches: Switches, now: Instant) {
        let now = self.tick(now);
        self.switches = switches;
        self.settle(now);
    }

    /// Whether hand-off keys are wanted of the portal, and whose there are. Without being told, the
    /// machine wants none.
    pub fn handle_keys(&mut self, keys: Keys, now: Instant) {
        let now = self.tick(now);
        if self.handoff != keys {
            self.handoff = keys;
            self.asking.keys_anew();
        }
        self.settle(now);
    }

    /// What the clock on the wall shows. Tell it at the start, when it was set, after a sleep,
    /// and every minute or so.
    pub fn handle_clock(&mut self, wall: WallClock, now: Instant) {
        let now = self.tick(now);
        self.clocks.set_wall(wall, now);
        self.settle(now);
    }

    /// It is `now`. Call it at [`poll_timeout`](Self::poll_timeout), or whenever you like.
    pub fn handle_timeout(&mut self, now: Instant) {
        let now = self.tick(now);
        self.settle(now);
    }

    /// When [`handle_timeout`](Self::handle_timeout) is next needed. Ask after every input.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let now = self.now;
        let held = self.held.as_ref();
        let hours = held.filter(|held| !held.stored.policy.schedule.is_empty()).and_then(|held| {
            let ends = held.stored.policy.schedule.iter();
            self.clocks.next_of(ends.flat_map(|w| [w.from.minutes(), w.to.minutes()]), now)
        });
        [
            hours,
            held.and_then(|held| held.next(&self.clocks, now)),
            self.asking.next(&self.settings, now),
            self.keys_wait(now),
            self.messaging.next(self.settings.messages.as_ref(), now),
            // When what a message brought is over, another may be due.
            held.and_then(|held| self.clocks.reaches(held.stored.expires?, now)),
            self.rejections.until(now),
            self.air.next(&self.settings, now),
            self.link_next(),
            self.supplicant.told.map(|(_, _, deadline)| deadline),
            self.supplicant.backoff.until(now),
        ]
        .into_iter()
        .flatten()
        .filter(|at| *at > now)
        .min()
    }

    /// The next thing to be done.
    pub fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// The settings in force.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// The user's switches in force.
    pub fn switches(&self) -> Switches {
        self.switches
    }

    /// Puts other settings in force.
    pub fn reconfigure(&mut self, settings: Settings, now: Instant) {
        let now = self.tick(now);
        self.settings = settings.floored();
        self.settle(now);
    }

    /// No input is older than one before it.
    fn tick(&mut self, now: Instant) -> Instant {
        self.now = self.now.max(now);
        self.now
    }

    /// Does all that follows from what is known.
    fn settle(&mut self, now: Instant) {
        self.air.forget(&self.settings, now);
        if self.held.as_ref().is_some_and(|held| held.is_over(&self.clocks, now)) {
            self.discard(Discarded::Expired);
        }
        self.link_due(now);
        self.stay(now);
        self.settle_on(now);
        self.ask(now);
        self.ask_by_message(now);
        self.program(now);
        self.join(now);
        self.rescan(now);
        self.remeasure();
    }

    fn notify(&mut self, notice: Notice) {
        self.actions.push_back(Action::Notify(notice));
    }

    fn discard(&mut self, why: Discarded) {
        if let Some(held) = self.held.take() {
            self.messaging.keep(held.stored.policy);
            self.rejections.clear();
            self.actions.push_back(Action::Forget);
            self.notify(Notice::Forgotten { why });
        }
    }

    /// Has the supplicant know the networks and credentials, while it is not using any.
    fn program(&mut self, now: Instant) {
        if let Some((_, _, deadline)) = self.supplicant.told
            && deadline <= now
        {
            self.not_programmed("it did not answer in time".to_owned(), now);
        }
        let Supplicant { ready, has, told, backoff, .. } = &self.supplicant;
        let wanted = self.held.as_ref().map(|held| held.generation);
        let busy = told.is_some() || backoff.until(now).is_some();
        if !ready || *has == wanted || busy || !matches!(self.link, Link::Idle) {
            return;
        }
        let networks = self.held.as_ref().map(Held::blocks).unwrap_or_default();
        let supplicant = &mut self.supplicant;
        supplicant.programs += 1;
        let id = ProgramId(supplicant.programs);
        // Until it answers it may have the old ones, the new ones or none.
        supplicant.told = Some((id, wanted, now + self.settings.program));
        self.actions.push_back(Action::Program { id, networks });
    }

    fn programmed(&mut self, id: ProgramId, result: Result<(), String>, now: Instant) {
        let Some((_, generation, _)) = self.supplicant.told.filter(|(told, _, _)| *told == id)
        else {
            return;
        };
        match result {
            Ok(()) => {
                self.supplicant.told = None;
                self.supplicant.has = generation;
                self.supplicant.error = None;
                self.supplicant.backoff.clear();
            }
            Err(error) => self.not_programmed(error, now),
        }
    }

    fn not_programmed(&mut self, error: String, now: Instant) {
        let (first, most) = (Duration::from_secs(1), Duration::from_secs(60));
        let supplicant = &mut self.supplicant;
        supplicant.told = None;
        // Whatever it has now is nothing to be used.
        supplicant.has = Some(0);
        supplicant.backoff.fail(first, most, now, &mut self.jitter);
        supplicant.error = Some(error.clone());
        self.notify(Notice::NotProgrammed { error });
    }

    /// Scans as often as there is something to find.
    fn rescan(&mut self, now: Instant) {
        let scanning = self.scanning(now);
        if scanning != self.scan {
            self.scan = scanning;
            self.actions.push_back(Action::Scan(scanning));
        }
    }

    fn scanning(&self, now: Instant) -> Option<Scanning> {
        let held = self.held.as_ref()?;
        let policy = &held.stored.policy;
        let useless = !self.supplicant.ready
            || !self.supplicant.radio
            || self.supplicant.lent
            || !self.switches.offload
            || !matches!(self.link, Link::Idle | Link::Ready { .. })
            || !self.is_open(policy, now);
        if useless {
            return None;
        }
        let near = self.settings.scan_near;
        if self.is_ready() {
            // There may be one that is better.
            return Some(Scanning { interval: near, known: false });
        }
        let ours =
            || self.air.bsses.iter().filter(|(mac, _)| self.air.penalty(**mac, now).is_none());
        let dwell = Duration::from_secs(u64::from(policy.dwell.0));
        Some(if ours().any(|(_, bss)| bss.above.is_some()) {
            // It is measured until it was strong for long enough, and nothing else is looked for.
            let interval = (dwell / 2).clamp(SOONEST_SCAN, near);
            Scanning { interval, known: true }
        } else if ours().next().is_some() {
            Scanning { interval: near, known: false }
        } else {
            Scanning { interval: self.settings.scan_far, known: false }
        })
    }

    /// What is not used yet is measured more often than what is.
    fn remeasure(&mut self) {
        let Settings { measure, measure_ready, .. } = self.settings;
        let used = matches!(self.link, Link::Offloaded { .. });
        let wanted = if used { measure } else { measure_ready };
        if self.session.is_some() && self.measure != Some(wanted) {
            self.measure = Some(wanted);
            self.actions.push_back(Action::Measure(wanted));
        }
    }

    /// Whether the policy lets Wi-Fi be used at this hour. While nobody knows the hour it does
    /// not, if it names any.
    fn is_open(&self, policy: &homeward_model::WlanPolicy, now: Instant) -> bool {
        policy.schedule.is_empty()
            || self.clocks.local(now).is_some_and(|(day, minute)| policy.open(day, minute))
    }
}
