//! How long the path's packets may be: packetization-layer path MTU discovery (RFC 8899).
//!
//! The largest size is tried first, for it is what most paths carry; then the base, then by
//! halves between what passed and what did not. Lengths are those of IP packets.
//!
//! What was found is confirmed while long packets are sent: every few seconds, and at once where
//! something speaks against it. Three probes in vain, round-trip times apart, and the base holds
//! until something longer was seen to pass again. What a router says can be forged by anybody who
//! knows the two addresses: it begins a confirmation, and is what is tried first, and no more.

use std::net::IpAddr;
use std::time::Duration;

use homeward_model::{Entropy, Instant};

use super::{NEVER, PathSettings};
use crate::echo::{ECHO_LEN, Nonce};

/// MAX_PROBES (RFC 8899 5.1.2).
const MAX_PROBES: u8 = 3;

/// A search ends when what passed and what did not are no further apart than this.
const STEP: u16 = 8;

/// How long the reply to a probe of the size in use has, at least. Three of these are over before
/// TCP sends for the second time again what was not acknowledged: 200 ms after the first time that
/// is, and then 400 ms.
const QUICK: Duration = Duration::from_millis(100);

/// How long before a size is doubted again that was confirmed.
const CALM: Duration = Duration::from_secs(1);

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
    told: u16,
    /// What is being tried.
    probe: Option<MtuProbe>,
    /// The size that was in use until its probes were in vain: a reply may still come, late.
    fallen: Option<MtuProbe>,
    /// When the size in use was last seen to pass.
    passed: Instant,
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
    /// When it was first tried.
    since: Instant,
}

/// A probe to send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Padded {
    pub(super) nonce: Nonce,
    pub(super) padding: u16,
    /// Whether it is another probe of a size in use: then something short is to be sent with it.
    pub(super) doubt: bool,
}

impl MtuSearch {
    pub(super) fn new(settings: &PathSettings) -> Self {
        Self {
            mtu: settings.base_mtu.min(settings.max_mtu()),
            confirmed: false,
            ceiling: settings.max_mtu().saturating_add(1),
            told: 0,
            probe: None,
            fallen: None,
            passed: Instant::ORIGIN,
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
            (self.confirmed, self.told) = (false, 0);
            self.ceiling = settings.max_mtu().saturating_add(1);
            (self.due, self.raise) = (now, NEVER);
        }
    }

    /// Something is sent: the time to measure anew if it is due. `longest` is the length of the
    /// longest packet; `unheard` says that what was sent before has had time to be answered, and
    /// was not.
    #[inline]
    pub(super) fn handle_sent(
        &mut self,
        longest: usize,
        unheard: bool,
        settings: &PathSettings,
        now: Instant,
    ) {
        if now >= self.raise {
            self.check(settings, now);
        } else if longest > self.below(settings).into()
            && (unheard || now >= self.passed + settings.mtu_confirm())
        {
            self.confirm(settings, now);
        }
    }

    /// How long what was sent has to be answered before a path of this round-trip time is doubted.
    pub(super) fn patience(rtt: Duration, settings: &PathSettings) -> Duration {
        if rtt.is_zero() {
            settings.mtu_probe()
        } else {
            (rtt * 4).clamp(QUICK, settings.mtu_probe())
        }
    }

    /// A router says what it can carry (RFC 8899 4.6.2), or somebody in its name. The size in use
    /// is confirmed before anything else; what was said is tried next. Nothing below the base is
    /// believed at all.
    pub(super) fn handle_too_big(&mut self, mtu: u16, settings: &PathSettings, now: Instant) {
        let probed = self.probe.map_or(0, |probe| probe.size);
        if mtu < settings.base_mtu {
            return;
        }
        if mtu < self.mtu {
            self.told = mtu;
            self.confirm(settings, now);
        } else if mtu < probed && (self.told == 0 || mtu + STEP <= self.told) {
            // Lower each time: lies do not keep the search from its end.
            self.told = mtu;
            (self.probe, self.due) = (None, now);
        }
    }

    /// Our own interface does not take packets of that length.
    pub(super) fn handle_refused(&mut self, length: u16, settings: &PathSettings, now: Instant) {
        let probed = self.probe.map_or(0, |probe| probe.size);
        // What was refused before that was known is nothing new.
        if length <= self.mtu.max(probed) {
            self.failed(length, settings);
            self.due = now;
        }
    }

    /// Has the size in use confirmed, though not again right after it was.
    fn confirm(&mut self, settings: &PathSettings, now: Instant) {
        // While anything is under way, or due already, there is nothing to add.
        let settled = self.confirmed && self.probe.is_none() && self.due == NEVER;
        if settled && self.mtu > self.below(settings) {
            (self.confirmed, self.due) = (false, now.max(self.passed + CALM));
        }
    }

    /// What holds when the size in use does not.
    fn below(&self, settings: &PathSettings) -> u16 {
        let base = settings.base_mtu.min(settings.max_mtu());
        if self.mtu > base { base } else { settings.min_mtu.min(base) }
    }

    /// Sends the next probe, or gives the last one up. `heard` is when the path last carried
    /// anything this way: a size is given up only if something smaller came through meanwhile.
    /// `rtt` is its round-trip time, 0 if that is not known.
    pub(super) fn handle_timeout(
        &mut self,
        settings: &PathSettings,
        peer: IpAddr,
        (heard, rtt): (Instant, Duration),
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
                self.due = now + self.wait(probe.size, rtt, settings);
                return None;
            }
            if probe.size == self.mtu {
                self.fallen = Some(probe);
            }
            self.failed(probe.size, settings);
        }
        let overhead = &settings.overhead;
        let probe = match self.probe {
            Some(probe) => MtuProbe { tries: probe.tries + 1, ..probe },
            None => {
                let Some(size) = self.next(settings, peer) else {
                    self.due = NEVER;
                    // A confirmation is no new measurement.
                    if self.raise == NEVER {
                        self.raise = now + settings.mtu_raise;
                    }
                    return None;
                };
                let nonce = Nonce::generate(entropy);
                MtuProbe { size, nonce, tries: 1, since: now }
            }
        };
        self.probe = Some(probe);
        self.due = now + self.wait(probe.size, rtt, settings);
        let room = overhead.largest_payload(peer, probe.size.into());
        let padding = u16::try_from(room.saturating_sub(ECHO_LEN)).unwrap_or(u16::MAX);
        let doubt = probe.tries > 1 && probe.size <= self.mtu;
        Some(Padded { nonce: probe.nonce, padding, doubt })
    }

    /// The reply to a probe, perhaps; since when at most it was on its way, if that is known.
    pub(super) fn handle_reply(&mut self, nonce: Nonce, now: Instant) -> Option<Option<Instant>> {
        let (probe, since) = match (self.probe, self.fallen) {
            (Some(probe), _) if probe.nonce == nonce => {
                (probe, (probe.tries == 1).then_some(probe.since))
            }
            // It took longer than anybody thought.
            (_, Some(probe)) if probe.nonce == nonce && probe.size > self.mtu => {
                self.ceiling = self.ceiling.max(probe.size.saturating_add(1));
                (probe, Some(probe.since))
            }
            _ => return None,
        };
        (self.mtu, self.confirmed, self.passed) = (probe.size, true, now);
        (self.probe, self.fallen, self.due) = (None, None, now);
        Some(since)
    }

    /// The time that the reply to a probe has: little where all that is long may be stuck.
    fn wait(&self, size: u16, rtt: Duration, settings: &PathSettings) -> Duration {
        if size <= self.mtu && size > settings.base_mtu {
            Self::patience(rtt, settings)
        } else {
            settings.mtu_probe()
        }
    }

    fn failed(&mut self, size: u16, settings: &PathSettings) {
        self.probe = None;
        self.ceiling = self.ceiling.min(size);
        if size > self.mtu {
            return;
        }
        // What is in use does not pass: a black hole (RFC 8899 4.3), or a path below the base.
        self.mtu = self.below(settings);
        // Below the least there is nothing to look for.
        self.confirmed = self.mtu <= settings.min_mtu;
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
        // What a router said is tried first. Once it has passed, and something larger has not, it
        // is the answer.
        let told = exact(self.told);
        let size = if told > self.mtu && told < self.ceiling {
            told
        } else if nothing_failed {
            exact(self.ceiling.saturating_sub(1))
        } else if told == self.mtu || self.ceiling - self.mtu.min(self.ceiling) <= STEP {
            self.mtu
        } else {
            exact(self.mtu + (self.ceiling - self.mtu) / 2)
        };
        if size > self.mtu { Some(size) } else { in_use }
    }
}
