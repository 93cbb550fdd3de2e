//! From joining a network to returning from it.

use std::time::Duration;

use homeward_model::{Instant, Mac, Rssi, Ssid};

use super::air::Level;
use super::fit::Candidate;
use super::{Action, Connectivity, Left, Manager, Notice, SupplicantEvent, VerifyId};

/// Where the machine stands with Wi-Fi.
#[derive(Debug)]
pub(crate) enum Link {
    /// On no network.
    Idle,
    /// On the way into one.
    Joining { step: Step, deadline: Instant },
    /// In one, but not yet sure that it leads anywhere.
    Verifying(Check),
    /// It leads somewhere, but is not strong enough yet. Since when it has been so weak that it
    /// would be left.
    Ready { check: Check, below: Option<Instant> },
    /// New connections use it. Since when the signal has been too weak, and since when there has
    /// been no address.
    Offloaded { check: Check, below: Option<Instant>, bare: Option<Instant> },
    /// New connections do not use it any more; old ones end, until then.
    Lingering { until: Instant },
    /// The supplicant was told to leave.
    Leaving { deadline: Instant },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    Associating,
    Authenticating,
    Addressing,
}

/// Looking whether the Internet is reached.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Check {
    /// How many failed in a row.
    misses: u8,
    state: Looking,
}

#[derive(Debug, Clone, Copy)]
enum Looking {
    Asked { id: VerifyId, deadline: Instant },
    Next { at: Instant },
}

impl Check {
    /// Whether the last that was found is good.
    pub(crate) const fn holds(self) -> bool {
        self.misses == 0 && matches!(self.state, Looking::Next { .. })
    }

    fn due(self) -> Instant {
        match self.state {
            Looking::Asked { deadline: at, .. } | Looking::Next { at } => at,
        }
    }
}

/// An association, from joining on.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) ssid: Ssid,
    pub(crate) bssid: Mac,
    pub(crate) metered: bool,
    /// The credentials that it is opened with.
    pub(crate) generation: u64,
    /// Since when the link is what it is.
    pub(crate) since: Instant,
    /// When the log-on succeeded.
    pub(crate) connected: Option<Instant>,
    pub(crate) level: Option<Level>,
    /// Since when it has been strong enough to be used, without a break.
    pub(crate) strong: Option<Instant>,
    /// Whether it was so for the dwell.
    pub(crate) proven: bool,
    /// Why it is being left.
    pub(crate) left: Option<Left>,
}

impl Manager {
    /// When the link has to be looked at.
    pub(crate) fn link_next(&self) -> Option<Instant> {
        match &self.link {
            Link::Idle => None,
            Link::Joining { deadline, .. } | Link::Leaving { deadline } => Some(*deadline),
            Link::Lingering { until } => Some(*until),
            Link::Verifying(check) => Some(check.due()),
            Link::Ready { check, below } => {
                let leave = below.map(|below| below + self.dwell());
                [Some(check.due()), leave, self.makes_do()].into_iter().flatten().min()
            }
            Link::Offloaded { check, below, bare } => {
                let leave = below.map(|below| below + self.dwell());
                // Where there is no cellular to go to, a weak signal has to do.
                let leave = leave.filter(|_| self.modem.bearer);
                let bare = bare.map(|bare| bare + self.settings.bare);
                [Some(check.due()), leave, bare].into_iter().flatten().min()
            }
        }
    }

    pub(crate) fn dwell(&self) -> Duration {
        let held = self.held.as_ref();
        held.map(|held| held.stored.policy.dwell.into()).unwrap_or_default()
    }

    /// Joins the best network, if nothing stands against it.
    pub(crate) fn join(&mut self, now: Instant) {
        if !matches!(self.link, Link::Idle) || !self.obstacles(now).is_empty() {
            return;
        }
        let Some(best) = self.best(now) else { return };
        let Candidate { bssid, ssid, metered, level, strong } = best;
        let generation = self.held.as_ref().map_or(0, |held| held.generation);
        let session = Session {
            ssid,
            bssid,
            metered,
            generation,
            since: now,
            connected: None,
            level: Some(level),
            proven: strong.is_some_and(|strong| level.at - strong >= self.dwell()),
            strong,
            left: None,
        };
        self.session = Some(session);
        let deadline = now + self.settings.associate;
        self.link = Link::Joining { step: Step::Associating, deadline };
        self.counters.joins += 1;
        self.notify(Notice::Joining { ssid });
        self.actions.push_back(Action::Join { ssid, bssid, avoid: self.air.shunned(now) });
    }

    /// Leaves what must not be used any more.
    pub(crate) fn stay(&mut self, now: Instant) {
        let Some(session) = self.session.as_ref().filter(|session| session.left.is_none()) else {
            return;
        };
        let network = self.held.as_ref().map(|held| {
            held.stored.policy.networks.iter().find(|network| network.ssid == session.ssid)
        });
        let why = match (&self.held, network.flatten()) {
            _ if !self.supplicant.ready => Left::NoSupplicant,
            _ if !self.supplicant.radio => Left::RadioOff,
            _ if self.supplicant.lent => Left::Lost,
            _ if !self.switches.offload => Left::SwitchedOff,
            (None, _) => Left::Credentials,
            (Some(_), None) => Left::Policy,
            (Some(_), Some(network)) if network.metered && !self.switches.metered => Left::Metered,
            (Some(held), _) if !self.is_open(&held.stored.policy, now) => Left::Schedule,
            // What nothing uses is as well opened anew, with those there are.
            (Some(held), _) if self.is_ready() && held.generation != session.generation => {
                Left::Credentials
            }
            _ => return self.fade(now),
        };
        self.abandon(why, now);
    }

    /// Leaves what has become too weak.
    fn fade(&mut self, now: Instant) {
        let (below, needed) = match &self.link {
            Link::Offloaded { below: Some(below), .. } => (*below, !self.modem.bearer),
            Link::Ready { below: Some(below), .. } => (*below, false),
            _ => return,
        };
        let level = self.session.as_ref().and_then(|session| session.level);
        let useless = level.is_some_and(|level| !level.reaches(self.settings.floor));
        if !needed && (useless || now - below >= self.dwell()) {
            self.abandon(Left::Faded, now);
        }
    }

    /// Goes back to cellular and leaves, in that order.
    pub(crate) fn abandon(&mut self, why: Left, now: Instant) {
        let Some(session) = self.session.as_mut().filter(|session| session.left.is_none()) else {
            return;
        };
        session.left = Some(why);
        session.since = now;
        let (ssid, bssid, connected) = (session.ssid, session.bssid, session.connected);
        let early = session.strong.is_none();
        let short = connected.is_none_or(|at| now - at < self.settings.short);
        let blamed = match why {
            Left::Lost => short,
            Left::NotAssociated | Left::WrongServer | Left::NoLogOn | Left::NoAddress => true,
            Left::Broken(_) => true,
            _ => false,
        };
        let was_on = std::mem::replace(&mut self.on_wifi, false);
        if blamed {
            let distance = !matches!(why, Left::WrongServer | Left::Broken(Connectivity::Captive));
            let early = early && !was_on && distance;
            self.air.penalise(bssid, why, early, &self.settings, now);
        }
        if was_on {
            self.actions.push_back(Action::PreferCellular);
            self.counters.returns += 1;
            self.notify(Notice::Returned { ssid, why });
        } else {
            self.counters.not_joined += 1;
            self.notify(Notice::NotJoined { ssid, why });
        }
        self.air.restart();
        match why {
            // Nobody is there to be told.
            Left::NoSupplicant => self.rest(now),
            // It is over, and the supplicant shall not begin anew by itself.
            Left::RadioOff | Left::Lost => {
                self.actions.push_back(Action::Leave);
                self.rest(now);
            }
            Left::Faded | Left::Schedule | Left::Metered | Left::Policy | Left::SwitchedOff
                if was_on && !self.settings.linger.is_zero() =>
            {
                self.link = Link::Lingering { until: now + self.settings.linger };
            }
            _ => self.leave(now),
        }
    }

    fn leave(&mut self, now: Instant) {
        self.actions.push_back(Action::Leave);
        self.link = Link::Leaving { deadline: now + self.settings.leave };
    }

    fn rest(&mut self, now: Instant) {
        self.link = Link::Idle;
        self.session = None;
        self.note_return(now);
    }

    /// What the link waits for, if it is over.
    pub(crate) fn link_due(&mut self, now: Instant) {
        match self.link {
            Link::Offloaded { bare: Some(bare), .. } if now - bare >= self.settings.bare => {
                self.abandon(Left::NoAddress, now);
            }
            Link::Joining { step, deadline } if deadline <= now => {
                let why = match step {
                    Step::Associating => Left::NotAssociated,
                    Step::Authenticating => Left::NoLogOn,
                    Step::Addressing => Left::NoAddress,
                };
                self.abandon(why, now);
            }
            Link::Verifying(check) | Link::Ready { check, .. } | Link::Offloaded { check, .. }
                if check.due() <= now =>
            {
                match check.state {
                    Looking::Asked { id, .. } => self.verified(id, Connectivity::Dead, now),
                    Looking::Next { .. } => self.look(check.misses, now),
                }
            }
            Link::Lingering { until } if until <= now => self.leave(now),
            Link::Leaving { deadline } if deadline <= now => self.rest(now),
            _ => {}
        }
    }

    pub(crate) fn supplicant_said(&mut self, event: SupplicantEvent, now: Instant) {
        match event {
            SupplicantEvent::Ready { mac } => {
                // One that is new has no association of the machine's.
                self.gone(now);
                self.supplicant.ready = true;
                self.supplicant.lent = false;
                self.supplicant.mac = Some(mac);
                self.supplicant.has = None;
                self.supplicant.told = None;
                self.supplicant.backoff.clear();
                self.supplicant.error = None;
            }
            SupplicantEvent::Lost => self.gone(now),
            SupplicantEvent::Radio(on) => self.supplicant.radio = on,
            SupplicantEvent::Lent(lent) => self.supplicant.lent = lent,
            SupplicantEvent::Programmed(id, result) => self.programmed(id, result, now),
            SupplicantEvent::Associated { bssid } => self.associated(bssid, now),
            SupplicantEvent::Connected { bssid } => self.connected(bssid, now),
            SupplicantEvent::AssociationFailed { bssid } => {
                if let (Link::Joining { .. }, Some(session)) = (&self.link, &mut self.session) {
                    session.bssid = bssid.unwrap_or(session.bssid);
                    self.abandon(Left::NotAssociated, now);
                }
            }
            SupplicantEvent::Rejected => self.rejected(now),
            SupplicantEvent::WrongServer { .. } => {
                if matches!(self.link, Link::Joining { .. }) {
                    self.abandon(Left::WrongServer, now);
                }
            }
            SupplicantEvent::Disconnected => self.disconnected(now),
        }
    }

    fn gone(&mut self, now: Instant) {
        self.supplicant.ready = false;
        self.supplicant.has = None;
        self.supplicant.told = None;
        self.abandon(Left::NoSupplicant, now);
        if !matches!(self.link, Link::Idle) {
            self.rest(now);
        }
    }

    fn associated(&mut self, bssid: Mac, now: Instant) {
        let Some(session) = &mut self.session else { return };
        match &mut self.link {
            Link::Joining { step: step @ Step::Associating, deadline } => {
                *step = Step::Authenticating;
                *deadline = now + self.settings.authenticate;
                (session.bssid, session.since) = (bssid, now);
            }
            Link::Joining { step: Step::Authenticating, .. } => session.bssid = bssid,
            _ => {}
        }
    }

    fn connected(&mut self, bssid: Mac, now: Instant) {
        let Some(session) = &mut self.session else {
            // Somebody else had the supplicant join. What nobody looked at is not to be used.
            self.actions.push_back(Action::Leave);
            return;
        };
        match self.link {
            Link::Joining { .. } => {
                (session.bssid, session.since) = (bssid, now);
                session.connected = Some(now);
                let generation = session.generation;
                self.logged_on(generation);
                if self.addressed {
                    self.look(0, now);
                } else {
                    let deadline = now + self.settings.address;
                    self.link = Link::Joining { step: Step::Addressing, deadline };
                }
            }
            // A roam inside the network: the same addresses, but another way to them.
            Link::Verifying(_) | Link::Ready { .. } | Link::Offloaded { .. } => {
                session.bssid = bssid;
                (session.level, session.strong) = (None, None);
                self.look(0, now);
            }
            // It crossed what it was told.
            Link::Leaving { .. } => self.actions.push_back(Action::Leave),
            Link::Lingering { .. } | Link::Idle => {}
        }
    }

    fn rejected(&mut self, now: Instant) {
        let (Link::Joining { .. }, Some(session)) = (&self.link, &self.session) else { return };
        self.counters.rejections += 1;
        let used = self.held.as_ref().filter(|held| held.generation == session.generation);
        // Those that are spent, or replaced meanwhile, prove nothing.
        if used.is_some_and(|held| !held.stored.spent) {
            self.rejections.add(&self.settings, now, &mut self.jitter);
        }
        self.abandon(Left::Rejected, now);
    }

    fn disconnected(&mut self, now: Instant) {
        match self.link {
            // The end of what was before.
            Link::Idle | Link::Joining { step: Step::Associating, .. } => {}
            Link::Joining { .. }
            | Link::Verifying(_)
            | Link::Ready { .. }
            | Link::Offloaded { .. } => self.abandon(Left::Lost, now),
            Link::Lingering { .. } => {
                self.actions.push_back(Action::Leave);
                self.rest(now);
            }
            Link::Leaving { .. } => self.rest(now),
        }
    }

    pub(crate) fn address_changed(&mut self, now: Instant) {
        match (&self.link, self.addressed) {
            (Link::Joining { step: Step::Addressing, .. }, true) => self.look(0, now),
            (Link::Verifying(_) | Link::Ready { .. }, false) => {
                let deadline = now + self.settings.address;
                self.link = Link::Joining { step: Step::Addressing, deadline };
            }
            // A lease that is renewed may take the address away for a moment.
            (Link::Offloaded { check, below, .. }, false) => {
                let (check, below) = (*check, *below);
                self.link = Link::Offloaded { check, below, bare: Some(now) };
            }
            (Link::Offloaded { check, below, bare: Some(_) }, true) => {
                let (check, below) = (*check, *below);
                self.link = Link::Offloaded { check, below, bare: None };
                // It may be another, by which nothing was looked for yet.
                self.look(0, now);
            }
            _ => {}
        }
    }

    /// Looks whether the Internet is reached.
    fn look(&mut self, misses: u8, now: Instant) {
        self.verifies += 1;
        let id = VerifyId(self.verifies);
        self.actions.push_back(Action::Verify { id });
        let state = Looking::Asked { id, deadline: now + self.settings.verify };
        self.checking(Check { misses, state }, now);
    }

    fn checking(&mut self, check: Check, now: Instant) {
        match &mut self.link {
            Link::Offloaded { check: before, .. }
            | Link::Ready { check: before, .. }
            | Link::Verifying(before) => *before = check,
            link => {
                *link = Link::Verifying(check);
                if let Some(session) = &mut self.session {
                    session.since = now;
                }
            }
        }
    }

    pub(crate) fn verified(&mut self, id: VerifyId, found: Connectivity, now: Instant) {
        let (Link::Verifying(check) | Link::Ready { check, .. } | Link::Offloaded { check, .. }) =
            self.link
        else {
            return;
        };
        if !matches!(check.state, Looking::Asked { id: asked, .. } if asked == id) {
            return;
        }
        if found != Connectivity::Open {
            self.counters.verify_failures += 1;
            let misses = check.misses.saturating_add(1);
            if found == Connectivity::Captive || misses >= self.settings.verify_tries {
                return self.abandon(Left::Broken(found), now);
            }
            let state = Looking::Next { at: now + self.settings.verify_pause };
            return self.checking(Check { misses, state }, now);
        }
        let next = Check { misses: 0, state: Looking::Next { at: now + self.settings.recheck } };
        if !matches!(self.link, Link::Verifying(_)) {
            self.checking(next, now);
            return self.judge(now);
        }
        let Some(session) = &mut self.session else { return };
        session.since = now;
        let (ssid, bssid) = (session.ssid, session.bssid);
        self.air.pardon(bssid);
        self.link = Link::Ready { check: next, below: None };
        self.judge(now);
        if self.is_ready() {
            self.notify(Notice::Ready { ssid });
        }
    }

    /// Has new connections use what is ready.
    pub(crate) fn use_wifi(&mut self, now: Instant) {
        let (Link::Ready { check, .. }, Some(session)) = (&self.link, &mut self.session) else {
            return;
        };
        session.since = now;
        let (check, ssid, metered) = (*check, session.ssid, session.metered);
        self.link = Link::Offloaded { check, below: None, bare: None };
        self.on_wifi = true;
        self.counters.offloads += 1;
        self.actions.push_back(Action::PreferWifi { metered });
        self.notify(Notice::Offloaded { ssid, metered });
    }

    pub(crate) const fn is_ready(&self) -> bool {
        matches!(self.link, Link::Ready { .. })
    }

    pub(crate) fn signal(&mut self, signal: Rssi, now: Instant) {
        let Some(session) = &mut self.session else { return };
        match &mut session.level {
            Some(level) => level.add(signal, self.settings.smoothing, now),
            None => session.level = Some(Level::new(signal, now)),
        }
        self.judge(now);
    }
}
