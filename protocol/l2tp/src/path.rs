//! Where the other end is, whether it is there, and how much fits through.
//!
//! One machine for the two ends of any number of sessions: probes travel as [`Echo`] messages in
//! one of them. Feed it with what was received and sent; after each, send what
//! [`Path::poll_transmit`] gives, look at [`Path::poll_event`] until it is empty, and call
//! [`Path::handle_timeout`] at [`Path::poll_timeout`].
//!
//! - **Proof.** An address is used once it has returned a nonce that was sent to it. Before that
//!   it is sent no more octets than came from it ([`Path::may_send`]); only a candidate that the
//!   control channel named is given a little to begin with ([`opening`](field@PathSettings::opening)).
//! - **Moving.** Authentic packets from another address make it a candidate: it is challenged,
//!   and used once it has answered and is where the other end last sent from. Until then the old
//!   one is.
//! - **NATs.** Where both ends are behind one, what the first sends is dropped in front of the second,
//!   which knows nothing of it. So whoever is heard is challenged anew, whenever its next challenge
//!   was to be, once [`retry`](field@PathSettings::retry) has passed since the last.
//! - **Silence.** What was sent and not answered by anything is probed after
//!   [`probe`](field@PathSettings::probe), and given up after [`PathSettings::dead`]. Then all
//!   candidates are tried, further and further apart. An idle path sends nothing, unless this end
//!   is told to keep a NAT's mapping alive.
//! - **Path MTU.** See [`Path::mtu`].
//!
//! Octets are those of UDP payloads. Addresses are compared as they are: give the addresses of an
//! IPv4 peer in one form throughout.

mod candidate;
mod mtu;
mod settings;

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use homeward_model::{Entropy, Instant};

use crate::echo::{Echo, EchoKind, Nonce};
use crate::overhead::around;
use candidate::Candidates;
use mtu::MtuSearch;
pub use settings::PathSettings;

/// A time that does not come.
const NEVER: Instant = Instant::from_nanos(u64::MAX);

/// The probe of a silent address with which the other candidates are tried as well.
const DOUBT: u8 = 2;

/// The most replies that wait for [`Path::poll_transmit`].
const MAX_QUEUED: usize = 64;

/// An echo message to send, in any session between the two ends; with Don't Fragment set, for a
/// padded one measures the path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Probe {
    /// Where to.
    pub to: SocketAddr,
    /// What, and how much padding.
    pub echo: Echo,
}

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PathEvent {
    /// The other end is there: proven reachable for the first time, or heard again.
    Up {
        /// At this address.
        peer: SocketAddr,
    },
    /// The other end is somewhere else.
    Moved {
        /// Where it was.
        from: SocketAddr,
        /// Where it is.
        to: SocketAddr,
    },
    /// The other end does not answer. Candidates go on being tried.
    Unreachable,
    /// Packets to the other end may be this long, IP header included.
    Mtu(u16),
}

/// Whether the other end is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PathState {
    /// Not known yet.
    Trying,
    /// It is.
    Up,
    /// It was, or has been tried for long, and does not answer.
    Unreachable,
}

/// The machine.
#[derive(Debug)]
pub struct Path {
    settings: Arc<PathSettings>,
    state: PathState,
    /// When `Trying` becomes `Unreachable`.
    give_up: Instant,
    current: Option<Current>,
    candidates: Candidates,
    mtu: MtuSearch,
    /// Smoothed, in microseconds; 0 before the first sample.
    rtt: u32,
    transmits: VecDeque<Probe>,
    events: VecDeque<PathEvent>,
}

/// The address in use: it is proven.
#[derive(Debug)]
struct Current {
    peer: SocketAddr,
    /// When it last sent anything authentic.
    heard: Instant,
    /// When it was last sent anything.
    sent: Instant,
    /// When the first thing was sent that nothing came after, if anything was.
    unanswered: Option<Instant>,
    /// When to probe next.
    probe_due: Instant,
    /// Probes since `unanswered`, all with one nonce.
    probes: u8,
    nonce: Option<Nonce>,
    /// When the first of them was sent.
    probed: Instant,
}

impl Path {
    /// A path to an end that may be at any of these addresses, in order of preference; with none,
    /// the other end has to begin.
    pub fn new(
        settings: Arc<PathSettings>,
        candidates: impl IntoIterator<Item = SocketAddr>,
        now: Instant,
    ) -> Self {
        let mut path = Self {
            state: PathState::Trying,
            give_up: NEVER,
            current: None,
            candidates: Candidates::default(),
            mtu: MtuSearch::new(&settings),
            rtt: 0,
            transmits: VecDeque::new(),
            events: VecDeque::new(),
            settings,
        };
        path.handle_candidates(candidates, now);
        path
    }

    /// Takes a new list of candidates for the old. The address in use stays in use while it
    /// answers; if there is none, another list than the last is tried at once.
    pub fn handle_candidates(
        &mut self,
        candidates: impl IntoIterator<Item = SocketAddr>,
        now: Instant,
    ) {
        if self.candidates.tell(candidates) && self.current.is_none() {
            self.candidates.try_all(&self.settings, now);
            if self.state == PathState::Trying && self.candidates.any_told() {
                self.give_up = self.give_up.min(now + self.settings.dead);
            }
        }
    }

    /// Says how long this end may be silent before it probes, in place of
    /// [`keepalive`](field@PathSettings::keepalive).
    pub fn set_keepalive(&mut self, keepalive: Option<Duration>) {
        if self.settings.keepalive != keepalive {
            Arc::make_mut(&mut self.settings).keepalive = keepalive;
        }
    }

    /// Something has changed that an end which does not answer may answer to, such as a key: all
    /// candidates are tried at once.
    pub fn try_anew(&mut self, now: Instant) {
        if self.current.is_none() {
            self.candidates.try_all(&self.settings, now);
        }
    }

    /// Notes authentic packets from `from`: their cookie was right and their sequence number new,
    /// or WireGuard opened them. Several packets may be noted at once. For echo messages call
    /// [`Self::handle_echo`] instead.
    #[inline]
    pub fn handle_received(&mut self, from: SocketAddr, octets: usize, now: Instant) {
        match &mut self.current {
            Some(current) if current.peer == from => current.hear(now),
            _ => self.hear_elsewhere(from, octets, now),
        }
    }

    /// Notes packets sent to `to`; those of [`Self::poll_transmit`] are noted already. Several
    /// packets may be noted at once: of `octets` in all, the longest of `longest`.
    #[inline]
    pub fn handle_sent(&mut self, to: SocketAddr, octets: usize, longest: usize, now: Instant) {
        match &mut self.current {
            Some(current) if current.peer == to => {
                let patience = MtuSearch::patience(micros(self.rtt), &self.settings);
                let unheard = current.unanswered.is_some_and(|since| now >= since + patience);
                current.send(now, &self.settings);
                let longest = around(to.ip(), longest);
                self.mtu.handle_sent(longest, unheard, &self.settings, now);
            }
            _ => self.candidates.spend(to, octets),
        }
    }

    /// Takes an echo message that came from `from` in a UDP payload of `octets`. A request is
    /// answered, and by itself proves nothing: it has no sequence number that would tell a
    /// replay.
    pub fn handle_echo(&mut self, from: SocketAddr, echo: &Echo, octets: usize, now: Instant) {
        match echo.kind {
            EchoKind::Request => self.answer(from, echo.nonce, octets, now),
            EchoKind::Reply => self.handle_reply(from, echo.nonce, octets, now),
        }
    }

    /// Notes that a router says to carry no more than `mtu` octets to `to` (RFC 1191 4, RFC 8201
    /// 4). Anybody may have said it: the path MTU is confirmed, and only what was seen to pass, or
    /// not, counts. Nothing below [`base_mtu`](field@PathSettings::base_mtu) is listened to.
    pub fn handle_too_big(&mut self, to: SocketAddr, mtu: u16, now: Instant) {
        if self.current.as_ref().is_some_and(|current| current.peer == to) {
            self.mtu.handle_too_big(mtu, &self.settings, now);
        }
    }

    /// Notes that the own interface refused a packet to `to` that was `length` octets long, its IP
    /// header included (EMSGSIZE).
    pub fn handle_refused(&mut self, to: SocketAddr, length: u16, now: Instant) {
        if self.current.as_ref().is_some_and(|current| current.peer == to) {
            let before = self.mtu.mtu();
            self.mtu.handle_refused(length, &self.settings, now);
            self.report_mtu(before);
        }
    }

    /// Has the path MTU verified now: for a caller that sees long packets vanish.
    pub fn check_mtu(&mut self, now: Instant) {
        if self.current.is_some() {
            self.mtu.check(&self.settings, now);
        }
    }

    /// Does what is due: challenges, probes, gives up.
    pub fn handle_timeout(&mut self, now: Instant, entropy: &mut impl Entropy) {
        if self.state == PathState::Trying && now >= self.give_up {
            self.state = PathState::Unreachable;
            self.events.push_back(PathEvent::Unreachable);
        }
        self.probe_mtu(now, entropy);
        self.probe_silence(now, entropy);
        self.challenge(now, entropy);
    }

    /// When to call [`Self::handle_timeout`]; `None` for an idle path.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let mut due = match self.state {
            PathState::Trying => self.give_up,
            PathState::Up | PathState::Unreachable => NEVER,
        };
        if let Some(current) = &self.current {
            if let Some(since) = current.unanswered {
                due = due.min(current.probe_due).min(since + self.settings.dead);
            }
            if let Some(interval) = self.settings.keepalive() {
                due = due.min(current.sent + interval);
            }
            due = due.min(self.mtu.due());
        }
        due = due.min(self.candidates.due());
        (due < NEVER).then_some(due)
    }

    /// The next echo message to send.
    pub fn poll_transmit(&mut self) -> Option<Probe> {
        self.transmits.pop_front()
    }

    /// The next thing that happened.
    pub fn poll_event(&mut self) -> Option<PathEvent> {
        self.events.pop_front()
    }

    /// Where to send: the address in use, or while none is proven the one that was last heard
    /// from, as far as [`Self::may_send`] allows. `None` while the other end is not there.
    #[inline]
    pub fn destination(&self) -> Option<SocketAddr> {
        match &self.current {
            Some(current) => Some(current.peer),
            None => self.candidates.last_heard(),
        }
    }

    /// Whether a UDP payload of `octets` may go to `to`: any to the address in use, and as much
    /// as is left of what came from any other. Nothing is taken off: [`Self::handle_sent`] does.
    #[inline]
    pub fn may_send(&self, to: SocketAddr, octets: usize) -> bool {
        self.current.as_ref().is_some_and(|current| current.peer == to)
            || self.candidates.credit(to) >= octets
    }

    /// Whether the other end is there.
    pub const fn state(&self) -> PathState {
        self.state
    }

    /// How long packets to the other end may be, IP header included: [`PathSettings::base_mtu`]
    /// until a longer one was seen to arrive, and again after a move. Measured by padded probes
    /// (RFC 8899), whose replies are short: what the other end may send is for it to measure. While
    /// longer packets than the base are sent it is confirmed every
    /// [`mtu_confirm`](field@PathSettings::mtu_confirm), and as soon as they go unanswered.
    #[inline]
    pub const fn mtu(&self) -> u16 {
        self.mtu.mtu()
    }

    /// The smoothed round-trip time of probes (RFC 6298 2), once there was one.
    pub fn rtt(&self) -> Option<Duration> {
        (self.rtt > 0).then(|| micros(self.rtt))
    }

    /// Something authentic from another address than the one in use.
    #[cold]
    fn hear_elsewhere(&mut self, from: SocketAddr, octets: usize, now: Instant) {
        let trying = self.current.is_none();
        let candidate = self.candidates.hear(from, octets, now);
        if trying && candidate.was_current {
            // It was proven once, and has now shown that it is who it was.
            self.adopt(from, true, now);
        } else {
            candidate.challenge_soon(&self.settings, now);
        }
    }

    fn answer(&mut self, from: SocketAddr, nonce: Nonce, octets: usize, now: Instant) {
        let reply = Echo::reply(nonce);
        if self.current.as_ref().is_none_or(|current| current.peer != from) {
            let candidate = self.candidates.hear(from, octets, now);
            candidate.challenge_soon(&self.settings, now);
            let len = self.settings.overhead.datagram_len(reply.len());
            if !candidate.spend(len) {
                return;
            }
        }
        // Not noted as sent: nothing is owed for a reply. Whoever sends requests faster than
        // they can be answered goes without.
        if self.transmits.len() < MAX_QUEUED {
            self.transmits.push_back(Probe { to: from, echo: reply });
        }
    }

    fn handle_reply(&mut self, from: SocketAddr, nonce: Nonce, octets: usize, now: Instant) {
        if let Some(current) = &mut self.current
            && current.peer == from
        {
            if current.nonce == Some(nonce) {
                let sent = (current.probes == 1).then_some(current.probed);
                current.hear(now);
                self.sample_rtt(sent, now);
            } else {
                let before = self.mtu.mtu();
                if let Some(since) = self.mtu.handle_reply(nonce, now) {
                    current.hear(now);
                    self.sample_rtt(since, now);
                    self.report_mtu(before);
                } else if let Some(challenged) = self.candidates.challenged(nonce) {
                    // It receives there, but sends from here: nothing to change.
                    challenged.answered(now + self.settings.probe());
                    current.hear(now);
                }
            }
            return;
        }
        let Some(challenged) = self.candidates.challenged(nonce) else { return };
        if challenged.address != from {
            // The other end is real, but sends from elsewhere: challenge it there.
            self.candidates.hear(from, octets, now).challenge_soon(&self.settings, now);
            return;
        }
        challenged.answered(now + self.settings.probe());
        let (sent, heard, again) = (challenged.sent_once, challenged.heard, challenged.was_current);
        self.sample_rtt(sent, now);
        let better = match &self.current {
            None => true,
            Some(current) => heard > Some(current.heard) || current.is_silent(&self.settings, now),
        };
        if better {
            self.adopt(from, again, now);
        }
    }

    /// Uses a proven address from now on; `again` if it was in use until it fell silent.
    fn adopt(&mut self, peer: SocketAddr, again: bool, now: Instant) {
        let before = self.mtu.mtu();
        let last = self.current.replace(Current::new(peer, now));
        self.candidates.settle();
        self.events.push_back(match last {
            Some(last) => PathEvent::Moved { from: last.peer, to: peer },
            None => PathEvent::Up { peer },
        });
        self.state = PathState::Up;
        if again {
            self.mtu.check(&self.settings, now);
        } else {
            self.mtu.restart(&self.settings, now);
        }
        self.report_mtu(before);
    }

    /// Probes or gives up an address that does not answer; keeps a NAT's mapping.
    fn probe_silence(&mut self, now: Instant, entropy: &mut impl Entropy) {
        let Some(current) = &mut self.current else { return };
        if let Some(since) = current.unanswered
            && now >= since + self.settings.dead
        {
            self.candidates.was_current(current.peer);
            self.current = None;
            self.candidates.try_all(&self.settings, now);
            self.mtu.stop();
            self.state = PathState::Unreachable;
            self.events.push_back(PathEvent::Unreachable);
            return;
        }
        let silent = current.unanswered.is_some() && now >= current.probe_due;
        let keep = self.settings.keepalive().is_some_and(|span| now >= current.sent + span);
        if !silent && !keep {
            return;
        }
        let nonce = *current.nonce.get_or_insert_with(|| Nonce::generate(entropy));
        current.probes = current.probes.saturating_add(1);
        if current.probes == 1 {
            current.probed = now;
        }
        current.send(now, &self.settings);
        current.probe_due = now + self.settings.probe();
        if current.probes == DOUBT {
            self.candidates.try_all(&self.settings, now);
        }
        let padding = self.settings.return_postage();
        let echo = Echo { kind: EchoKind::Request, nonce, padding };
        self.transmits.push_back(Probe { to: current.peer, echo });
    }

    fn probe_mtu(&mut self, now: Instant, entropy: &mut impl Entropy) {
        let Some(current) = &mut self.current else { return };
        let before = self.mtu.mtu();
        let ip = current.peer.ip();
        let known = (current.heard, micros(self.rtt));
        let padded = self.mtu.handle_timeout(&self.settings, ip, known, now, entropy);
        if let Some(padded) = padded {
            current.send(now, &self.settings);
            if padded.doubt && current.probes == 0 {
                current.probe_due = now; // to learn whether anything passes at all
            }
            let (nonce, padding) = (padded.nonce, padded.padding);
            let echo = Echo { kind: EchoKind::Request, nonce, padding };
            self.transmits.push_back(Probe { to: current.peer, echo });
        }
        self.report_mtu(before);
    }

    fn challenge(&mut self, now: Instant, entropy: &mut impl Entropy) {
        // The second probe in vain: look whether another candidate answers meanwhile.
        let trying = self.current.as_ref().is_none_or(|current| current.probes >= DOUBT);
        while let Some(probe) = self.candidates.challenge(&self.settings, trying, now, entropy) {
            self.transmits.push_back(probe);
        }
    }

    fn report_mtu(&mut self, before: u16) {
        if self.mtu.mtu() != before {
            self.events.push_back(PathEvent::Mtu(self.mtu.mtu()));
        }
    }

    fn sample_rtt(&mut self, sent: Option<Instant>, now: Instant) {
        let Some(sent) = sent else { return };
        let sample = u32::try_from(now.since(sent).as_micros()).unwrap_or(u32::MAX).max(1);
        self.rtt = match self.rtt {
            0 => sample,
            rtt => rtt - rtt / 8 + sample / 8,
        };
    }
}

const fn micros(rtt: u32) -> Duration {
    Duration::from_micros(rtt as u64)
}

impl Current {
    fn new(peer: SocketAddr, now: Instant) -> Self {
        Self {
            peer,
            heard: now,
            sent: now,
            unanswered: None,
            probe_due: NEVER,
            probes: 0,
            nonce: None,
            probed: now,
        }
    }

    #[inline]
    fn hear(&mut self, now: Instant) {
        self.heard = self.heard.max(now);
        if self.unanswered.is_some() {
            (self.unanswered, self.nonce, self.probes) = (None, None, 0);
        }
    }

    #[inline]
    fn send(&mut self, now: Instant, settings: &PathSettings) {
        self.sent = self.sent.max(now);
        if self.unanswered.is_none() {
            self.unanswered = Some(now);
            self.probe_due = now + settings.probe();
        }
    }

    fn is_silent(&self, settings: &PathSettings, now: Instant) -> bool {
        self.unanswered.is_some_and(|since| now >= since + settings.probe())
    }
}
