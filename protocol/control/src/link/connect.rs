//! The channel: opened, greeted, kept alive, lost, and opened again.

use std::time::Duration;

use homeward_model::{Entropy, Instant};

use super::{Action, Event, Link, State};
use crate::codec::limits;
use crate::{FromGateway, Goodbye, GoodbyeReason, Hello, VERSIONS};

impl Link {
    /// The channel that [`Action::Connect`] asked for is open: the Hello is ready to be sent.
    pub fn handle_connected(&mut self, now: Instant) {
        let State::Connecting { deadline } = self.state else { return };
        self.enter(State::Greeting { deadline, welcomed: false }, now);
        self.transmits.clear();
        let hello = self.hello(now);
        self.transmits.push_back(FromGateway::Hello(hello));
    }

    /// The attempt failed, or the channel ended. `reason` is for people.
    pub fn handle_lost(&mut self, reason: &str, now: Instant, entropy: &mut impl Entropy) {
        if !matches!(self.state, State::Waiting { .. }) {
            self.lost(reason, None, now, entropy);
        }
    }

    /// Tries to connect at once, if it is waiting: the network came back, or somebody asks.
    pub fn connect_now(&mut self, now: Instant) {
        if matches!(self.state, State::Waiting { .. }) {
            self.connect(now);
        }
    }

    /// When to call [`handle_timeout`](Self::handle_timeout).
    pub fn poll_timeout(&self) -> Option<Instant> {
        let state = match self.state {
            State::Waiting { until } => until,
            State::Connecting { deadline } | State::Greeting { deadline, .. } => deadline,
            State::Open => self.heard + self.silence(),
        };
        let offline = (!self.expired).then_some(self.offline).flatten();
        let expiry = offline.map(|since| since + self.settings.offline);
        let live = matches!(self.state, State::Open);
        let retries = self.wants.values().filter_map(|w| w.retry.filter(|_| live));
        retries.chain(expiry).chain([state]).min()
    }

    /// Time has passed.
    pub fn handle_timeout(&mut self, now: Instant, entropy: &mut impl Entropy) {
        match self.state {
            State::Waiting { until } if now >= until => self.connect(now),
            State::Connecting { deadline } if now >= deadline => {
                self.end("the controller could not be reached in time", now, entropy);
            }
            State::Greeting { deadline, .. } if now >= deadline => {
                self.end("the controller did not answer the Hello in time", now, entropy);
            }
            State::Open if now >= self.heard + self.silence() => {
                self.end("the controller has fallen silent", now, entropy);
            }
            _ => {}
        }
        if let Some(since) = self.offline
            && !self.expired
            && now >= since + self.settings.offline
        {
            self.expired = true;
            self.events.push_back(Event::Expired);
        }
        if self.state == State::Open {
            self.ask_again(now);
        }
    }

    pub(super) fn connect(&mut self, now: Instant) {
        let deadline = now + self.settings.connect_timeout;
        self.enter(State::Connecting { deadline }, now);
        self.actions.push_back(Action::Connect);
    }

    pub(super) fn enter(&mut self, state: State, now: Instant) {
        self.state = state;
        self.since = now;
        self.heard = now;
    }

    /// Ends the channel from here.
    pub(super) fn end(&mut self, reason: &str, now: Instant, entropy: &mut dyn Entropy) {
        self.actions.push_back(Action::Disconnect);
        self.lost(reason, None, now, entropy);
    }

    /// The controller ends the channel.
    pub(super) fn goodbye(&mut self, goodbye: Goodbye, now: Instant, entropy: &mut dyn Entropy) {
        self.actions.push_back(Action::Disconnect);
        let reason = match &goodbye.message[..] {
            "" => format!("the controller ended the channel: {}", goodbye.reason),
            said => format!("the controller ended the channel: {}: {said}", goodbye.reason),
        };
        self.lost(&reason, Some(goodbye.reason), now, entropy);
    }

    fn lost(
        &mut self,
        reason: &str,
        goodbye: Option<GoodbyeReason>,
        now: Instant,
        entropy: &mut dyn Entropy,
    ) {
        let retry_in = match goodbye {
            Some(GoodbyeReason::Revoked | GoodbyeReason::Version) => self.settings.revoked_wait,
            // Another process with the same certificate: two that take turns at once would
            // throw each other out for ever.
            Some(GoodbyeReason::Replaced) => self.settings.retry_max,
            _ => self.back_off(entropy),
        };
        self.attempts = self.attempts.saturating_add(1);
        self.offline = self.offline.or(Some(now));
        self.welcome = None;
        self.transmits.clear();
        self.enter(State::Waiting { until: now + retry_in }, now);
        // What one attempt was refused for is news even in a row of failures.
        if !self.lost_told || goodbye.is_some() && goodbye != self.last_goodbye {
            let reason = reason.to_owned();
            self.events.push_back(Event::Lost { reason, goodbye, retry_in });
        }
        self.lost_told = true;
        self.last_goodbye = goodbye;
        self.last_reason = Some(reason.to_owned());
    }

    /// Exponential, with full jitter: when a controller comes back, its gateways do not come all
    /// at once.
    fn back_off(&self, entropy: &mut dyn Entropy) -> Duration {
        let doubled = self.settings.retry.saturating_mul(1u32 << self.attempts.min(30));
        let most = doubled.min(self.settings.retry_max).as_nanos();
        let mut octets = [0; 8];
        entropy.fill(&mut octets);
        let share = u128::from(u64::from_le_bytes(octets));
        let nanos = most.saturating_mul(share) >> 64;
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }

    /// How long nothing may be heard.
    fn silence(&self) -> Duration {
        match self.welcome.as_ref().map(|w| w.ping_interval) {
            Some(promised) if !promised.is_zero() => promised.saturating_mul(3),
            _ => self.settings.silence,
        }
    }

    /// Asks again for what was denied for a time.
    fn ask_again(&mut self, now: Instant) {
        let mut due = Vec::new();
        for (network, wanted) in &mut self.wants {
            if wanted.retry.is_some_and(|at| now >= at) {
                wanted.retry = None;
                due.push(wanted.message(*network));
            }
        }
        due.into_iter().for_each(|want| self.say(FromGateway::Want(want)));
    }

    /// All that the gateway holds, within what a message may have.
    fn hello(&self, now: Instant) -> Hello {
        let identity = &self.identity;
        let devices = self.devices.iter().take(limits::DEVICES);
        let prepared = self.prepared.values().take(limits::PREPARED);
        Hello {
            versions: VERSIONS,
            boot: identity.boot,
            software: identity.software.clone(),
            public_key: identity.public_key,
            endpoints: self.endpoints.clone(),
            home: identity.home,
            prepared_max: identity.prepared_max,
            bssids: identity.bssids.iter().copied().take(limits::BSSIDS).collect(),
            tunnels: self.tunnels.values().take(limits::TUNNELS).map(|t| t.held()).collect(),
            devices: devices.map(|((network, mac), d)| d.message(*network, *mac, now)).collect(),
            wants: self.wants.iter().take(limits::WANTS).map(|(n, w)| w.message(*n)).collect(),
            prepared: prepared.map(|held| held.prepare).collect(),
            inner_address: self.inner_address,
            carries_logins: identity.carries_logins,
            path_keys: identity.path_keys.iter().copied().take(limits::LEGS).collect(),
            legs_max: identity.legs_max,
        }
    }
}
