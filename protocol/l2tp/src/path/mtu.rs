//! How long the path's packets may be: packetization-layer path MTU discovery (RFC 8899).
//!
//! The largest size is tried first, for it is what most paths carry; then the base, then by
//! halves between what passed and what did not. Lengths are those of IP packets.

use std::net::IpAddr;

use homeward_model::{Entropy, Instant};

use super::{NEVER, PathSettings};
use crate::echo::{ECHO_LEN, Nonce};

/// MAX_PROBES (RFC 8899 5.1.2).
const MAX_PROBES: u8 = 3;

/// A search ends when what passed and what did not are no further apart than this.
const STEP: u16 = 8;

/// The search.
#[derive(Debug)]
pub(super) struct MtuSearch {
    /// What packets may be long: the largest size that passed, or the base.
    mtu: u16,
    /// Whether that size has passed.
    confirmed: bool,
    /// The smallest size that is known, or has, not to pass.
    ceiling: u16,
    /// What a router said would pass; 0 if none did.
    hint: u16,
    /// What is being tried.
    probe: Option<MtuProbe>,
    /// When to look again: to send, to give up, or to measure anew.
    due: Instant,
    /// When to measure anew; nothing is sent for it while the path is idle.
    raise: Instant,
}

#[derive(Debug, Clone, Copy)]
struct MtuProbe {
    size: u16,
    nonce: Nonce,
    tries: u8,
    /// When it was first tried, and last.
    since: Instant,
    sent: Instant,
}

/// A probe to send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Padded {
    pub(super) nonce: Nonce,
    pub(super) padding: u16,
}

impl MtuSearch {
    pub(super) fn new(settings: &PathSettings) -> Self {
        Self {
            mtu: settings.base_mtu.min(settings.max_mtu()),
            confirmed: false,
            ceiling: settings.max_mtu().saturating_add(1),
            hint: 0,
            probe: None,
            due: NEVER,
            raise: NEVER,
        }
    }

    pub(super) const fn mtu(&self) -> u16 {
        self.mtu
    }

    pub(super) const fn due(&self) -> Instant {
        self.due
    }

    /// Begins anew, on a path of which nothing is known.
    pub(super) fn restart(&mut self, settings: &PathSettings, now: Instant) {
        *self = Self { due: now, ..Self::new(settings) };
    }

    /// Stops: there is no path.
    pub(super) fn stop(&mut self) {
        (self.probe, self.due, self.raise) = (None, NEVER, NEVER);
    }

    /// Measures again what was measured before: does it still pass, and more?
    pub(super) fn check(&mut self, settings: &PathSettings, now: Instant) {
        if self.probe.is_none() {
            self.confirmed = false;
            self.ceiling = settings.max_mtu().saturating_add(1);
            (self.due, self.raise) = (now, NEVER);
        }
    }

    /// Something is sent: the time to measure anew if it is due.
    #[inline]
    pub(super) fn handle_sent(&mut self, settings: &PathSettings, now: Instant) {
        if now >= self.raise {
            self.check(settings, now);
        }
    }

    /// A router says what it can carry (RFC 8899 4.6.2). It is believed as far as it narrows the
    /// search; nothing below the base is.
    pub(super) fn handle_too_big(&mut self, mtu: u16, settings: &PathSettings, now: Instant) {
        let probed = self.probe.map_or(0, |probe| probe.size);
        if mtu < settings.base_mtu || (mtu >= self.mtu && mtu >= probed) {
            return;
        }
        self.ceiling = self.ceiling.min(mtu.saturating_add(1));
        // One less than what was sent is all that a sender learns from its own interface.
        self.hint = if mtu.saturating_add(1) == probed { 0 } else { mtu };
        if mtu < self.mtu {
            (self.mtu, self.confirmed) = (settings.base_mtu.min(settings.max_mtu()), false);
        }
        (self.probe, self.due) = (None, now);
    }

    /// Sends the next probe, or gives the last one up. `heard` is when the path last carried
    /// anything this way: a size is given up only if something smaller came through meanwhile.
    pub(super) fn handle_timeout(
        &mut self,
        settings: &PathSettings,
        peer: IpAddr,
        heard: Instant,
        now: Instant,
        entropy: &mut impl Entropy,
    ) -> Option<Padded> {
        if now < self.due {
            return None;
        }
        if let Some(probe) = self.probe
            && probe.tries >= MAX_PROBES
        {
            if heard < probe.since {
                self.due = now + settings.mtu_probe();
                return None;
            }
            self.failed(probe.size, settings);
        }
        let overhead = &settings.overhead;
        let probe = match self.probe {
            Some(probe) => MtuProbe { tries: probe.tries + 1, sent: now, ..probe },
            None => {
                let Some(size) = self.next(settings, peer) else {
                    self.due = NEVER;
                    self.raise = now + settings.mtu_raise;
                    return None;
                };
                let nonce = Nonce::generate(entropy);
                MtuProbe { size, nonce, tries: 1, since: now, sent: now }
            }
        };
        self.probe = Some(probe);
        self.due = now + settings.mtu_probe();
        let room = overhead.largest_payload(peer, probe.size.into());
        let padding = u16::try_from(room.saturating_sub(ECHO_LEN)).unwrap_or(u16::MAX);
        Some(Padded { nonce: probe.nonce, padding })
    }

    /// The reply to a probe, perhaps; when the probe was sent, if its only one.
    pub(super) fn handle_reply(&mut self, nonce: Nonce, now: Instant) -> Option<Option<Instant>> {
        let probe = self.probe.filter(|probe| probe.nonce == nonce)?;
        (self.mtu, self.confirmed) = (probe.size, true);
        (self.probe, self.due) = (None, now);
        Some((probe.tries == 1).then_some(probe.sent))
    }

    fn failed(&mut self, size: u16, settings: &PathSettings) {
        self.probe = None;
        self.ceiling = self.ceiling.min(size);
        if size > self.mtu {
            return;
        }
        // What is in use does not pass: a black hole (RFC 8899 4.3), or a path below the base.
        let base = settings.base_mtu.min(settings.max_mtu());
        let floor = settings.min_mtu.min(base);
        self.mtu = if size > base { base } else { floor };
        // Below the least there is nothing to look for.
        self.confirmed = self.mtu == floor;
    }

    /// The next size to try; `None` when there is nothing left to learn.
    fn next(&mut self, settings: &PathSettings, peer: IpAddr) -> Option<u16> {
        // Inside WireGuard only every sixteenth length exists.
        let exact = |size: u16| {
            let payload = settings.overhead.largest_payload(peer, size.into());
            let size = settings.overhead.packet_len(peer, payload).min(size.into());
            u16::try_from(size).unwrap_or(u16::MAX)
        };
        let in_use = (!self.confirmed).then_some(self.mtu);
        let nothing_failed = self.ceiling > settings.max_mtu();
        if in_use.is_some() && !(nothing_failed && self.mtu <= settings.base_mtu) {
            return in_use;
        }
        let top = exact(self.ceiling.saturating_sub(1));
        let hint = exact(std::mem::take(&mut self.hint));
        let size = if nothing_failed {
            top
        } else if hint > self.mtu && hint < self.ceiling {
            hint
        } else if self.ceiling - self.mtu.min(self.ceiling) <= STEP {
            self.mtu
        } else {
            exact(self.mtu + (self.ceiling - self.mtu) / 2)
        };
        if size > self.mtu { Some(size) } else { in_use }
    }
}
