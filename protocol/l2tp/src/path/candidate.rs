//! Addresses where the other end may be, and what each may be sent until it is proven.

use std::net::SocketAddr;
use std::time::Duration;

use homeward_model::{Entropy, Instant};

use super::{NEVER, PathSettings, Probe};
use crate::echo::{Echo, EchoKind, Nonce};

/// The most candidates that the control channel may name; more are not looked at.
const MAX_TOLD: usize = 16;

/// The most others: addresses that packets came from.
const MAX_HEARD: usize = 4;

/// How often an address that packets came from is challenged before it is forgotten.
const MAX_TRIES: u8 = 5;

/// How long after its last packet such an address is forgotten, if it has not paid for a
/// challenge.
const FORGET: Duration = Duration::from_secs(10);

/// An address.
#[derive(Debug)]
pub(super) struct Candidate {
    pub(super) address: SocketAddr,
    /// Whether the control channel named it.
    told: bool,
    /// Whether it was in use until it fell silent.
    pub(super) was_current: bool,
    /// Challenges since it was last tried from the start, all with one nonce.
    tries: u8,
    nonce: Option<Nonce>,
    /// When to challenge it next.
    next: Instant,
    /// When it may be challenged again after it has answered.
    quiet: Instant,
    /// When it was last challenged.
    sent: Instant,
    /// When it was challenged, if once only: for the round-trip time.
    pub(super) sent_once: Option<Instant>,
    /// When packets last came from it.
    pub(super) heard: Option<Instant>,
    /// Octets that it may be sent.
    credit: u32,
    /// Whether that was too little for a challenge.
    poor: bool,
}

impl Candidate {
    const fn new(address: SocketAddr, told: bool) -> Self {
        Self {
            address,
            told,
            was_current: false,
            tries: 0,
            nonce: None,
            next: NEVER,
            quiet: Instant::ORIGIN,
            sent: Instant::ORIGIN,
            sent_once: None,
            heard: None,
            credit: 0,
            poor: false,
        }
    }

    /// Has it challenged since it was heard, now if it was not just before: if it is in the midst of
    /// being tried, as soon as it would be tried a second time.
    pub(super) fn challenge_soon(&mut self, settings: &PathSettings, now: Instant) {
        if self.next == NEVER || self.nonce.is_none() || self.poor {
            self.next = now.max(self.quiet);
        } else if self.is_vouched_for() {
            // What was sent before may have come to a NAT that knew nothing of us yet.
            let again = self.sent + settings.back_off(1);
            self.next = self.next.min(again.max(now).max(self.quiet));
        }
    }

    /// Takes from what it may be sent; `false` if there is not enough.
    pub(super) fn spend(&mut self, octets: usize) -> bool {
        let left = (self.credit as usize).checked_sub(octets);
        if let Some(left) = left {
            self.credit = u32::try_from(left).unwrap_or(u32::MAX);
        }
        left.is_some()
    }

    /// It has answered, and is not to be challenged again before `quiet`.
    pub(super) fn answered(&mut self, quiet: Instant) {
        self.quiet = quiet;
        self.rest();
    }

    fn rest(&mut self) {
        (self.nonce, self.tries, self.next, self.poor) = (None, 0, NEVER, false);
    }

    /// Whether others vouch for it: it may be sent a little before it has sent anything.
    const fn is_vouched_for(&self) -> bool {
        self.told || self.was_current
    }
}

/// All of them, those named first, in their order.
#[derive(Debug, Default)]
pub(super) struct Candidates(Vec<Candidate>);

impl Candidates {
    /// Takes a new list from the control channel; whether it is another one than the last.
    pub(super) fn tell(&mut self, addresses: impl IntoIterator<Item = SocketAddr>) -> bool {
        let mut old = std::mem::take(&mut self.0);
        let told = |all: &[Candidate]| {
            let told = all.iter().filter(|candidate| candidate.told);
            told.map(|candidate| candidate.address).collect::<Vec<_>>()
        };
        let before = told(&old);
        for address in addresses {
            if self.0.len() >= MAX_TOLD {
                break;
            }
            if self.get(address).is_some() {
                continue;
            }
            let known = old.iter().position(|candidate| candidate.address == address);
            let mut candidate = match known {
                Some(at) => old.remove(at),
                None => Candidate::new(address, true),
            };
            candidate.told = true;
            self.0.push(candidate);
        }
        for mut candidate in old {
            candidate.told = false;
            if candidate.was_current || candidate.heard.is_some() {
                self.0.push(candidate);
            }
        }
        self.0.shrink_to_fit();
        told(&self.0) != before
    }

    pub(super) fn any_told(&self) -> bool {
        self.0.iter().any(|candidate| candidate.told)
    }

    /// Tries all that were named or in use, one after the other.
    pub(super) fn try_all(&mut self, settings: &PathSettings, now: Instant) {
        let mut at = now;
        for candidate in &mut self.0 {
            if candidate.is_vouched_for() {
                (candidate.tries, candidate.next) = (0, at);
                at = at + settings.stagger;
            }
        }
    }

    /// Notes packets from an address that is not in use.
    pub(super) fn hear(&mut self, from: SocketAddr, octets: usize, now: Instant) -> &mut Candidate {
        let at = match self.0.iter().position(|candidate| candidate.address == from) {
            Some(at) => at,
            None => {
                self.make_room();
                self.0.push(Candidate::new(from, false));
                self.0.len() - 1
            }
        };
        // The position was just found.
        #[expect(clippy::indexing_slicing, reason = "`at` is a position in the list")]
        let candidate = &mut self.0[at];
        candidate.heard = Some(now);
        let octets = u32::try_from(octets).unwrap_or(u32::MAX);
        candidate.credit = candidate.credit.saturating_add(octets);
        candidate
    }

    /// Notes packets to an address that is not in use.
    pub(super) fn spend(&mut self, to: SocketAddr, octets: usize) {
        if let Some(candidate) = self.0.iter_mut().find(|candidate| candidate.address == to)
            && !candidate.spend(octets)
        {
            candidate.credit = 0;
        }
    }

    /// What an address may be sent.
    pub(super) fn credit(&self, to: SocketAddr) -> usize {
        self.get(to).map_or(0, |candidate| candidate.credit as usize)
    }

    /// The address that packets last came from.
    pub(super) fn last_heard(&self) -> Option<SocketAddr> {
        let last = self.0.iter().max_by_key(|candidate| candidate.heard)?;
        last.heard.and(Some(last.address))
    }

    /// The one that was sent this nonce.
    pub(super) fn challenged(&mut self, nonce: Nonce) -> Option<&mut Candidate> {
        self.0.iter_mut().find(|candidate| candidate.nonce == Some(nonce))
    }

    /// Keeps an address that was in use and fell silent, to be tried with the others.
    pub(super) fn was_current(&mut self, address: SocketAddr) {
        if self.get(address).is_none() {
            self.make_room();
            self.0.push(Candidate::new(address, false));
        }
        for candidate in &mut self.0 {
            candidate.was_current = candidate.address == address;
        }
    }

    /// An address is in use now: no other is tried, and those that nobody named are forgotten.
    pub(super) fn settle(&mut self) {
        self.0.retain(|candidate| candidate.told);
        for candidate in &mut self.0 {
            candidate.was_current = false;
            candidate.rest();
            (candidate.credit, candidate.heard, candidate.sent_once) = (0, None, None);
        }
        self.0.shrink_to_fit();
    }

    /// When the next one is to be challenged.
    pub(super) fn due(&self) -> Instant {
        self.0.iter().map(|candidate| candidate.next).min().unwrap_or(NEVER)
    }

    /// The next challenge that is due and affordable. `trying` is whether those that were named
    /// are to be tried, rather than only those that packets come from.
    pub(super) fn challenge(
        &mut self,
        settings: &PathSettings,
        trying: bool,
        now: Instant,
        entropy: &mut impl Entropy,
    ) -> Option<Probe> {
        while let Some(at) = self.0.iter().position(|candidate| candidate.next <= now) {
            let candidate = self.0.get_mut(at)?;
            let open = trying && candidate.is_vouched_for();
            let forget = candidate.heard.is_none_or(|heard| now >= heard + FORGET);
            let hopeless = candidate.tries >= MAX_TRIES || (candidate.poor && forget);
            if !open && (candidate.heard.is_none() || hopeless) {
                candidate.rest();
                if !candidate.is_vouched_for() {
                    self.0.remove(at);
                }
                continue;
            }
            if open {
                candidate.credit = candidate.credit.max(settings.opening());
            }
            let padding = if open { settings.return_postage() } else { 0 };
            let nonce = candidate.nonce.unwrap_or_else(|| Nonce::generate(entropy));
            let echo = Echo { kind: EchoKind::Request, nonce, padding };
            candidate.poor = !candidate.spend(settings.overhead.datagram_len(echo.len()));
            if candidate.poor {
                candidate.next = candidate.heard.map_or(NEVER, |heard| heard + FORGET).max(now);
                continue;
            }
            candidate.nonce = Some(nonce);
            candidate.tries = candidate.tries.saturating_add(1);
            candidate.next = now + jittered(settings.back_off(candidate.tries), entropy);
            candidate.sent_once = (candidate.tries == 1).then_some(now);
            candidate.sent = now;
            return Some(Probe { to: candidate.address, echo });
        }
        None
    }

    fn get(&self, address: SocketAddr) -> Option<&Candidate> {
        self.0.iter().find(|candidate| candidate.address == address)
    }

    /// Forgets the address heard from longest ago, if there are as many as may be.
    fn make_room(&mut self) {
        let heard = |candidate: &&Candidate| !candidate.is_vouched_for();
        if self.0.iter().filter(heard).count() < MAX_HEARD {
            return;
        }
        let oldest = self.0.iter().filter(heard).min_by_key(|candidate| candidate.heard);
        if let Some(oldest) = oldest.map(|candidate| candidate.address) {
            self.0.retain(|candidate| candidate.address != oldest);
        }
    }
}

/// `span` give or take a tenth, so that many paths do not stay in step.
fn jittered(span: Duration, entropy: &mut impl Entropy) -> Duration {
    let random = u64::from(u16::from_be_bytes(entropy.octets()));
    let nanos = u64::try_from(span.as_nanos()).unwrap_or(u64::MAX / 2);
    let tenth = (nanos / 10).min(u64::MAX / (1 << 20));
    Duration::from_nanos(nanos.saturating_sub(tenth).saturating_add(tenth * 2 * random / 65_535))
}
