//! From joining a network to returning from it.

use homeward_model::{Instant, Mac, Rssi, Ssid};

use super::air::Level;
use super::{Action, Cause, Connectivity, Left, Manager, Notice, SupplicantEvent, VerifyId};

/// Where the machine stands with Wi-Fi.
#[derive(Debug)]
pub(crate) enum Link {
    /// On no network.
    Idle,
    /// On the way into one.
    Joining { step: Step, deadline: Instant },
    /// In one, but not yet sure that it leads anywhere.
    Verifying(Check),
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
    generation: u64,
    /// Since when the link is what it is.
    pub(crate) since: Instant,
    /// When the log-on succeeded.
    connected: Option<Instant>,
    pub(crate) level: Option<Level>,
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
            Link::Offloaded { check, below, bare } => {
                let leave = below.map(|below| below + self.dwell());
                // Where there is no cellular to go to, a weak signal has to do.
                let leave = leave.filter(|_| self.modem.bearer);
                let bare = bare.map(|bare| bare + self.settings.bare);
                [Some(check.due()), leave, bare].into_iter().flatten().min()
            }
        }
    }

    fn dwell(&self) -> std::time::Duration {
        let held = self.held.as_ref();
        held.map(|held| held.stored.policy.dwell.into()).unwrap_or_default()
    }

    /// Joins the best network, if nothing stands against it.
    pub(crate) fn join(&mut self, now: Instant) {
        if !matches!(self.link, Link::Idle) || !self.obstacles(now).is_empty() {
            return;
        }
        let Some((bssid, ssid, metered, level)) = self.best(now) else { return };
        let generation = self.held.as_ref().map_or(0, |held| held.generation);
        let session = Session {
            ssid,
            bssid,
            metered,
            generation,
            since: now,
            connected: None,
            level: Some(level),
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
            _ if !self.switches.offload => Left::SwitchedOff,
            (None, _) => Left::Credentials,
            (Some(_), None) => Left::Policy,
            (Some(_), Some(network)) if network.metered && !self.switches.metered => Left::Metered,
            (Some(held), _) if !self.is_open(&held.stored.policy, now) => Left::Schedule,
            _ => return self.fade(now),
        };
        self.abandon(why, now);
    }

    /// Leaves what has become too weak.
    fn fade(&mut self, now: Instant) {
        let Link::Offloaded { below: Some(below), .. } = &self.link else { return };
        let level = self.session.as_ref().and_then(|session| session.level);
        let useless = level.is_some_and(|level| !level.reaches(self.settings.floor));
        if self.modem.bearer && (useless || now - *below >= self.dwell()) {
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
        let short = connected.is_none_or(|at| now - at < self.settings.short);
        let blamed = match why {
            Left::Lost => short,
            Left::NotAssociated | Left::WrongServer | Left::NoLogOn | Left::NoAddress => true,
            Left::Broken(_) => true,
            _ => false,
        };
        if blamed {
            self.air.penalise(bssid, why, &self.settings, now);
        }
        let was_on = std::mem::replace(&mut self.on_wifi, false);
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
            Link::Verifying(check) | Link::Offloaded { check, .. } if check.due() <= now => {
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
                self.supplicant.mac = Some(mac);
                self.supplicant.has = None;
                self.supplicant.told = None;
                self.supplicant.backoff.clear();
                self.supplicant.error = None;
            }
            SupplicantEvent::Lost => self.gone(now),
            SupplicantEvent::Radio(on) => self.supplicant.radio = on,
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
            Link::Verifying(_) | Link::Offloaded { .. } => {
                session.bssid = bssid;
                session.level = None;
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
            Link::Joining { .. } | Link::Verifying(_) | Link::Offloaded { .. } => {
                self.abandon(Left::Lost, now);
            }
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
            (Link::Verifying(_), false) => {
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
            Link::Offloaded { check: before, .. } | Link::Verifying(before) => *before = check,
            link => {
                *link = Link::Verifying(check);
                if let Some(session) = &mut self.session {
                    session.since = now;
                }
            }
        }
    }

    pub(crate) fn verified(&mut self, id: VerifyId, found: Connectivity, now: Instant) {
        let (Link::Verifying(check) | Link::Offloaded { check, .. }) = self.link else { return };
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
        if matches!(self.link, Link::Offloaded { .. }) {
            return self.checking(next, now);
        }
        let Some(session) = &mut self.session else { return };
        session.since = now;
        let (ssid, bssid, metered) = (session.ssid, session.bssid, session.metered);
        self.air.pardon(bssid);
        self.link = Link::Offloaded { check: next, below: None, bare: None };
        self.on_wifi = true;
        self.counters.offloads += 1;
        self.actions.push_back(Action::PreferWifi { metered });
        self.notify(Notice::Offloaded { ssid, metered });
        self.judge(now);
    }

    pub(crate) fn signal(&mut self, signal: Rssi, now: Instant) {
        let Some(session) = &mut self.session else { return };
        match &mut session.level {
            Some(level) => level.add(signal, self.settings.smoothing, now),
            None => session.level = Some(Level::new(signal, now)),
        }
        self.judge(now);
    }

    /// Notes since when the signal has been too weak.
    fn judge(&mut self, now: Instant) {
        let leave = self.held.as_ref().map(|held| held.stored.policy.leave);
        let level = self.session.as_ref().and_then(|session| session.level);
        if let (Link::Offloaded { below, .. }, Some((level, leave))) =
            (&mut self.link, level.zip(leave))
        {
            *below = if level.reaches(leave) { None } else { Some(below.unwrap_or(now)) };
        }
    }

    /// The access point to join: of the policy's first network that has one, the strongest.
    pub(crate) fn best(&self, now: Instant) -> Option<(Mac, Ssid, bool, Level)> {
        let policy = &self.held.as_ref()?.stored.policy;
        policy.networks.iter().find_map(|network| {
            let fit = self.air.bsses.iter().filter(|(bssid, bss)| {
                bss.ssid == network.ssid && self.unfit(**bssid, bss, network, now).is_none()
            });
            let (bssid, bss) = fit.max_by_key(|(_, bss)| bss.level.rssi())?;
            Some((*bssid, bss.ssid, network.metered, bss.level))
        })
    }

    /// Why an access point of a network is not joined.
    pub(crate) fn unfit(
        &self,
        bssid: Mac,
        bss: &super::air::Bss,
        network: &homeward_model::WlanNetwork,
        now: Instant,
    ) -> Option<Cause> {
        let held = self.held.as_ref()?;
        let (ssid, signal) = (network.ssid, bss.level.rssi());
        let needed = network.join.unwrap_or(held.stored.policy.join);
        if network.metered && !self.switches.metered {
            Some(Cause::Metered { ssid })
        } else if !bss.enterprise {
            Some(Cause::Open { ssid, bssid })
        } else if let Some(penalty) = self.air.penalty(bssid, now) {
            let wait_ms = super::status::ms(penalty.until - now);
            Some(Cause::Shunned { ssid, bssid, why: penalty.why, wait_ms })
        } else {
            let dwell = self.dwell();
            match bss.strong_for() {
                None => Some(Cause::Weak { ssid, bssid, signal, needed }),
                Some(span) if span < dwell => {
                    let wait_ms = super::status::ms(dwell - span);
                    Some(Cause::Settling { ssid, bssid, signal, wait_ms })
                }
                Some(_) => None,
            }
        }
    }
}
