//! The times and limits of a [`Path`](crate::Path).

use std::time::Duration;

use crate::echo::ECHO_LEN;
use crate::overhead::Overhead;
use crate::session::{Encapsulation, Sublayer};

/// The times and limits of a [`Path`](crate::Path). [`PathSettings::default`] suits sessions in
/// the clear over an Ethernet; many paths share one by `Arc`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PathSettings {
    /// What lies around an echo message in the session that carries it: turns sizes of packets
    /// into padding.
    pub overhead: Overhead,
    /// The MTU of the interface: the largest path MTU that is looked for. 1,500 unless set.
    pub max_mtu: u16,
    /// What a path is trusted to carry before it was measured (RFC 8899 5.1.2, BASE_PLPMTU, as
    /// the length of an IP packet). 1,280 unless set.
    pub base_mtu: u16,
    /// What a path is taken to carry when it does not even carry that. 576 unless set.
    pub min_mtu: u16,
    /// From the first packet sent without anything heard since to the first probe, and from one
    /// probe to the next. 1 s unless set.
    pub probe: Duration,
    /// From that packet to [`Unreachable`](crate::PathEvent::Unreachable); for a new path, from
    /// the first challenge. 5 s unless set.
    pub dead: Duration,
    /// From the first challenge of an address to the second; doubles from one to the next, give
    /// or take a tenth. 250 ms unless set.
    pub retry: Duration,
    /// The longest time between two challenges. 30 s unless set.
    pub retry_max: Duration,
    /// From the first challenge of one candidate to that of the next in order. 100 ms unless set.
    pub stagger: Duration,
    /// How long this end may be silent before it probes to keep a NAT's mapping; `None`, unless
    /// set, for an end that need not. One of the two ends is enough, the one behind the NAT.
    pub keepalive: Option<Duration>,
    /// Octets of UDP payload that a candidate which the control channel named, or which was in use
    /// until it fell silent, may be sent for each challenge, the challenge included, though it has
    /// sent nothing: somebody has to begin.
    /// At least the challenge; 512 unless set, which leaves room for a WireGuard handshake.
    pub opening: u32,
    /// How long the reply to a probe of the path MTU is waited for (RFC 8899 5.1.1, PROBE_TIMER);
    /// at least 1 s. 1 s unless set.
    pub mtu_probe: Duration,
    /// How often it is confirmed that packets as long as the path MTU still pass, while packets are
    /// sent that a narrower path would not carry (RFC 8899 5.1.1, CONFIRMATION_TIMER). 5 s unless
    /// set.
    pub mtu_confirm: Duration,
    /// When the path MTU is measured again (RFC 8899 5.1.1, PMTU_RAISE_TIMER), once something is
    /// sent. 10 min unless set.
    pub mtu_raise: Duration,
}

impl Default for PathSettings {
    fn default() -> Self {
        Self {
            overhead: Overhead {
                encapsulation: Encapsulation::Udp,
                cookie: 8,
                sublayer: Sublayer::Numbered,
            },
            max_mtu: 1500,
            base_mtu: 1280,
            min_mtu: 576,
            probe: Duration::from_secs(1),
            dead: Duration::from_secs(5),
            retry: Duration::from_millis(250),
            retry_max: Duration::from_secs(30),
            stagger: Duration::from_millis(100),
            keepalive: None,
            opening: 512,
            mtu_probe: Duration::from_secs(1),
            mtu_confirm: Duration::from_secs(5),
            mtu_raise: Duration::from_secs(600),
        }
    }
}

/// No timer is shorter: a machine must not spin.
const LEAST: Duration = Duration::from_millis(10);

impl PathSettings {
    /// The time from the `tries`th challenge to the next, before jitter.
    pub(super) fn back_off(&self, tries: u8) -> Duration {
        let doubled = 1u32.checked_shl(u32::from(tries.saturating_sub(1))).unwrap_or(u32::MAX);
        self.retry.max(LEAST).saturating_mul(doubled).min(self.retry_max.max(LEAST))
    }

    /// Padding of a request that pays for more than its reply: for a challenge back as well, so
    /// that an end which has not proven this one's address yet, or no longer, can.
    pub(super) fn return_postage(&self) -> u16 {
        u16::try_from(self.overhead.datagram_len(ECHO_LEN)).unwrap_or_default()
    }

    /// What an address that was named may be sent for each challenge: at least that.
    pub(super) fn opening(&self) -> u32 {
        let challenge = ECHO_LEN + usize::from(self.return_postage());
        let challenge = self.overhead.datagram_len(challenge);
        self.opening.max(u32::try_from(challenge).unwrap_or(u32::MAX))
    }

    /// The largest path MTU that is looked for; one more is still a number.
    pub(super) fn max_mtu(&self) -> u16 {
        self.max_mtu.min(u16::MAX - 1)
    }

    /// The time between probes of a silent peer.
    pub(super) fn probe(&self) -> Duration {
        self.probe.max(LEAST)
    }

    /// The time that the reply to a probe of the path MTU has.
    pub(super) fn mtu_probe(&self) -> Duration {
        self.mtu_probe.max(Duration::from_secs(1))
    }

    /// The time between two confirmations of the path MTU.
    pub(super) fn mtu_confirm(&self) -> Duration {
        self.mtu_confirm.max(self.mtu_probe())
    }

    /// The time between keepalives.
    pub(super) fn keepalive(&self) -> Option<Duration> {
        self.keepalive.map(|interval| interval.max(LEAST))
    }
}
