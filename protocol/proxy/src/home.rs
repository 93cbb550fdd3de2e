//! One home server: its identifiers, and whether it answers.
//!
//! ```text
//!           a request unanswered for            nothing heard for
//!           the response window                 the zombie period
//!   Alive ──────────────────────────► Zombie ─────────────────────► Dead
//!     ▲ ◄──────────────────────────────┘                              │
//!     │           any answer                                          │
//!     └───────────────────────────────────────────────────────────────┘
//!           so many Status-Servers in a row answered
//! ```
//!
//! A server that answers Status-Server and nothing else, because what it asks in turn is down,
//! would be alive again a moment after each time it was doubted, and everybody would wait for it.
//! So the second time and from then on it stays a zombie for longer and longer, until it has
//! answered a request.

use std::time::Duration;

use homeward_model::{Entropy, Instant};
use homeward_radius::{Authenticator, Builder, Code, SharedSecret};
use zeroize::Zeroizing;

use crate::proxy::RequestId;
use crate::{Check, Health, HomeServer, ServerId, Transmit};

/// Requests that a socket or connection has identifiers for. 0 is Status-Server's, so that a
/// server can be asked whether it lives however many requests it owes (RFC 6613 2.6.5).
const IDENTIFIERS: usize = 255;

/// What it has on RADIUS/1.1, whose Tokens have 32 bits (RFC 9765 4.2.1): the lower half names
/// the request, the upper half counts, so that no Token comes again soon.
const TOKENS: usize = u16::MAX as usize;

/// What a step of a home server came to.
#[derive(Debug, Default)]
pub(crate) struct Step {
    /// What it was and is, if that changed.
    pub(crate) change: Option<(Health, Health)>,
    /// A Status-Server to send.
    pub(crate) transmit: Option<Transmit>,
    /// A connection on which a Status-Server went unanswered.
    pub(crate) stalled: Option<u16>,
}

#[derive(Debug)]
pub(crate) struct Home {
    id: ServerId,
    pub(crate) spec: HomeServer,
    health: Health,
    lanes: Vec<Lane>,
    /// The lane whose turn it is.
    turn: usize,
    outstanding: usize,
    heard: Instant,
    /// When there is something to do: a Status-Server, or a revival.
    wake: Option<Instant>,
    /// When a zombie dies.
    dies: Option<Instant>,
    /// Status-Servers in a row that were answered while dead.
    answers: u32,
    /// How often it was doubted since it last answered anything but Status-Server.
    relapses: u32,
    /// From when on Status-Server alone is enough for a zombie.
    trusted_from: Option<Instant>,
    /// The last Status-Server, while it is unanswered.
    check: Option<Asked>,
}

/// A socket or a connection.
#[derive(Debug)]
struct Lane {
    up: bool,
    secret: SharedSecret,
    /// Counts Tokens.
    count: u16,
    /// By number, less one.
    slots: Vec<Option<RequestId>>,
    used: usize,
    /// Where to look for a free one: the one that was freed longest ago is not far.
    cursor: usize,
}

/// A Status-Server.
#[derive(Debug)]
struct Asked {
    lane: u16,
    authenticator: Authenticator,
}

impl Home {
    pub(crate) fn new(id: ServerId, spec: HomeServer) -> Self {
        let up = !spec.transport.is_stream();
        let lane = |_| Lane {
            up,
            secret: spec.secret.clone(),
            count: 0,
            slots: vec![None; IDENTIFIERS],
            used: 0,
            cursor: 0,
        };
        Self {
            id,
            lanes: (0..spec.transport.lanes()).map(lane).collect(),
            spec,
            health: Health::Alive,
            turn: 0,
            outstanding: 0,
            heard: Instant::ORIGIN,
            wake: None,
            dies: None,
            answers: 0,
            relapses: 0,
            trusted_from: None,
            check: None,
        }
    }

    pub(crate) const fn health(&self) -> Health {
        self.health
    }

    /// Whether a request can be sent there at all.
    pub(crate) fn is_usable(&self) -> bool {
        self.health != Health::Dead && self.lanes.iter().any(|lane| lane.up)
    }

    /// Takes a lane and a number on it; `None` if there is no room.
    pub(crate) fn take(&mut self, owner: RequestId) -> Option<(u16, u16)> {
        if self.outstanding >= self.spec.outstanding.max(1) {
            return None;
        }
        let count = self.lanes.len();
        for at in (self.turn..self.turn + count).map(|at| at % count) {
            let lane = self.lanes.get_mut(at)?;
            if let Some(number) = lane.take(owner) {
                self.turn = at + 1;
                self.outstanding += 1;
                return Some((u16::try_from(at).ok()?, number));
            }
        }
        None
    }

    pub(crate) fn free(&mut self, lane: u16, number: u16) {
        if self.lanes.get_mut(usize::from(lane)).is_some_and(|lane| lane.free(number)) {
            self.outstanding = self.outstanding.saturating_sub(1);
        }
    }

    /// The secret of a lane, and the identifier and authenticator that a request with that number
    /// has on it.
    pub(crate) fn address(
        &mut self,
        lane: u16,
        number: u16,
        entropy: &mut impl Entropy,
    ) -> Option<(&SharedSecret, u8, Authenticator)> {
        let lane = self.lanes.get_mut(usize::from(lane))?;
        let (identifier, authenticator) = lane.address(number, entropy);
        Some((&lane.secret, identifier, authenticator))
    }

    /// The secret of a lane that is up.
    pub(crate) fn secret(&self, lane: u16) -> Option<&SharedSecret> {
        self.lanes.get(usize::from(lane)).filter(|lane| lane.up).map(|lane| &lane.secret)
    }

    pub(crate) fn has_lane(&self, lane: u16) -> bool {
        self.lanes.get(usize::from(lane)).is_some_and(|lane| lane.up)
    }

    pub(crate) fn owner(&self, lane: u16, number: u16) -> Option<RequestId> {
        let at = usize::from(number.checked_sub(1)?);
        *self.lanes.get(usize::from(lane))?.slots.get(at)?
    }

    /// The requests outstanding on a lane, or on all.
    pub(crate) fn owners(&self, lane: Option<u16>) -> Vec<RequestId> {
        let lanes = self.lanes.iter().enumerate();
        let lanes = lanes.filter(|(at, _)| lane.is_none_or(|lane| usize::from(lane) == *at));
        lanes.flat_map(|(_, lane)| lane.slots.iter().flatten().copied()).collect()
    }

    pub(crate) const fn outstanding(&self) -> usize {
        self.outstanding
    }

    /// The Request Authenticator of the Status-Server that is outstanding on a lane.
    pub(crate) fn check_on(&self, lane: u16) -> Option<Authenticator> {
        self.check.as_ref().filter(|asked| asked.lane == lane).map(|asked| asked.authenticator)
    }

    /// Notes that a connection is gone.
    pub(crate) fn lane_down(&mut self, lane: u16) {
        if let Some(known) = self.lanes.get_mut(usize::from(lane)) {
            known.up = false;
        }
        self.check.take_if(|asked| asked.lane == lane);
    }

    /// Notes that a connection is up, and what protects packets on it. Nothing is outstanding
    /// there.
    pub(crate) fn lane_up(
        &mut self,
        lane: u16,
        secret: SharedSecret,
        now: Instant,
        entropy: &mut impl Entropy,
    ) -> Step {
        let Some(known) = self.lanes.get_mut(usize::from(lane)) else { return Step::default() };
        let room = if secret.is_transport() { TOKENS } else { IDENTIFIERS };
        known.slots = vec![None; room.min(self.spec.outstanding.max(IDENTIFIERS))];
        (known.up, known.secret, known.used, known.cursor) = (true, secret, 0, 0);
        match (self.health, self.spec.watch.watchdog) {
            (Health::Alive, Some(watchdog)) => {
                self.wake = Some(now + watchdog);
                Step::default()
            }
            (Health::Alive, None) => Step::default(),
            // Somebody took the connection: ask at once rather than when it is due.
            _ if self.asks() => self.ask(Some(lane), now, entropy),
            _ => Step::default(),
        }
    }

    /// Notes that an answer did not come within the response window, or that there is nobody at
    /// that port.
    pub(crate) fn missed(&mut self, lane: u16, now: Instant, entropy: &mut impl Entropy) -> Step {
        if self.health != Health::Alive {
            return Step::default();
        }
        let watch = &self.spec.watch;
        self.dies = Some(now + watch.zombie_period);
        self.wake = None;
        let penance = watch.check_interval.saturating_mul((1 << self.relapses.min(6)) - 1);
        self.trusted_from = Some(now + penance);
        self.relapses = self.relapses.saturating_add(1);
        let step = if self.asks() { self.ask(Some(lane), now, entropy) } else { Step::default() };
        Step { change: self.become_(Health::Zombie), ..step }
    }

    /// Notes an authentic answer.
    pub(crate) fn heard(&mut self, now: Instant, is_check: bool) -> Step {
        self.heard = now;
        if is_check {
            self.check = None;
        } else {
            self.relapses = 0;
        }
        let lives = match self.health {
            Health::Alive => {
                self.wake = self.spec.watch.watchdog.map(|watchdog| now + watchdog);
                false
            }
            Health::Zombie if is_check && self.trusted_from.is_some_and(|from| now < from) => {
                // It lives, and does not do its work: not dead, and not to be relied on yet.
                self.dies = Some(now + self.spec.watch.zombie_period);
                false
            }
            Health::Zombie => true,
            Health::Dead => {
                self.answers = self.answers.saturating_add(1);
                self.answers >= self.spec.watch.answers_to_alive
            }
        };
        if lives { self.revive(now) } else { Step::default() }
    }

    /// When [`Self::handle_timeout`] has something to do.
    pub(crate) fn due(&self) -> Option<Instant> {
        [self.wake, self.dies].into_iter().flatten().min()
    }

    pub(crate) fn handle_timeout(&mut self, now: Instant, entropy: &mut impl Entropy) -> Step {
        if self.dies.is_some_and(|dies| dies <= now) {
            let watch = &self.spec.watch;
            let pause = match watch.check {
                Check::StatusServer => jittered(watch.check_interval, entropy),
                Check::Never { revive_after } => revive_after,
            };
            (self.dies, self.wake, self.answers) = (None, Some(now + pause), 0);
            return Step { change: self.become_(Health::Dead), ..Step::default() };
        }
        if self.wake.is_none_or(|wake| wake > now) {
            return Step::default();
        }
        match (self.health, self.spec.watch.watchdog) {
            (Health::Dead, _) if !self.asks() => self.revive(now),
            (Health::Zombie | Health::Dead, _) => self.ask(None, now, entropy),
            (Health::Alive, None) => {
                self.wake = None;
                Step::default()
            }
            (Health::Alive, Some(_)) => match self.check.as_ref().map(|asked| asked.lane) {
                Some(lane) => {
                    let stalled = self.spec.transport.is_stream().then_some(lane);
                    self.check = None;
                    Step { stalled, ..self.missed(lane, now, entropy) }
                }
                None => {
                    let step = self.ask(None, now, entropy);
                    self.wake = Some(now + self.spec.watch.response_window);
                    step
                }
            },
        }
    }

    /// Takes over what another life of this server knew.
    pub(crate) fn remember(&mut self, other: &Self) {
        self.health = other.health;
        (self.wake, self.dies, self.answers) = (other.wake, other.dies, other.answers);
        (self.relapses, self.trusted_from) = (other.relapses, other.trusted_from);
    }

    const fn asks(&self) -> bool {
        matches!(self.spec.watch.check, Check::StatusServer)
    }

    fn revive(&mut self, now: Instant) -> Step {
        (self.dies, self.answers) = (None, 0);
        self.wake = self.spec.watch.watchdog.map(|watchdog| now + watchdog);
        Step { change: self.become_(Health::Alive), ..Step::default() }
    }

    fn become_(&mut self, is: Health) -> Option<(Health, Health)> {
        let was = std::mem::replace(&mut self.health, is);
        (was != is).then_some((was, is))
    }

    /// Asks by Status-Server, on that lane or the next one, and says when to ask again. Each one
    /// anew: what matters is that it is answered, not which one is.
    fn ask(&mut self, lane: Option<u16>, now: Instant, entropy: &mut impl Entropy) -> Step {
        let unanswered = self.check.take();
        if unanswered.is_some() {
            // Answers count only in a row.
            self.answers = 0;
        }
        let stalled = unanswered.filter(|_| self.spec.transport.is_stream()).map(|a| a.lane);
        self.wake = Some(now + jittered(self.spec.watch.check_interval, entropy));
        let count = self.lanes.len();
        let next = (self.turn..self.turn + count)
            .filter_map(|at| u16::try_from(at % count.max(1)).ok())
            .find(|lane| self.has_lane(*lane));
        let Some(lane) = lane.filter(|lane| self.has_lane(*lane)).or(next) else {
            return Step { stalled, ..Step::default() };
        };
        self.turn = usize::from(lane) + 1;
        let Some((secret, identifier, authenticator)) = self.address(lane, 0, entropy) else {
            return Step { stalled, ..Step::default() };
        };
        let mut payload = Zeroizing::new(Vec::with_capacity(38));
        let code = Code::StatusServer;
        Builder::request(&mut payload, secret, code, identifier, authenticator).finish();
        self.check = Some(Asked { lane, authenticator });
        let transmit = Some(Transmit { server: self.id, lane, payload: payload.into() });
        Step { transmit, stalled, change: None }
    }
}

impl Lane {
    fn address(&mut self, number: u16, entropy: &mut impl Entropy) -> (u8, Authenticator) {
        let mut authenticator: Authenticator = entropy.octets();
        if !self.secret.is_transport() {
            return (u8::try_from(number).unwrap_or_default(), authenticator);
        }
        self.count = self.count.wrapping_add(1);
        let token = u32::from(self.count) << 16 | u32::from(number);
        for (octet, part) in authenticator.iter_mut().zip(token.to_be_bytes()) {
            *octet = part;
        }
        (0, authenticator)
    }

    fn take(&mut self, owner: RequestId) -> Option<u16> {
        let count = self.slots.len();
        if !self.up || self.used >= count {
            return None;
        }
        let free = |at: &usize| self.slots.get(*at).is_some_and(Option::is_none);
        let at = (self.cursor..self.cursor + count).map(|at| at % count).find(free)?;
        *self.slots.get_mut(at)? = Some(owner);
        self.used += 1;
        self.cursor = (at + 1) % count;
        u16::try_from(at + 1).ok()
    }

    /// Whether it was taken.
    fn free(&mut self, number: u16) -> bool {
        let slot = usize::from(number).checked_sub(1).and_then(|at| self.slots.get_mut(at));
        let taken = slot.and_then(Option::take).is_some();
        self.used -= usize::from(taken);
        taken
    }
}

/// `span` give or take a tenth, so that those who ask a server that came back are not in step
/// (RFC 3539 3.4.1).
fn jittered(span: Duration, entropy: &mut impl Entropy) -> Duration {
    let random = f64::from(u16::from_be_bytes(entropy.octets()));
    span.mul_f64(0.9 + 0.2 * random / f64::from(u16::MAX))
}
