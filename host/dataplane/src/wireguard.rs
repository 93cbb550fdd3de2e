//! WireGuard, by boringtun's protocol core ([ADR 6](../../../docs/adr/0006-wireguard-library.md)).
//!
//! A core belongs to one peer, and everything that it does needs it exclusively. So each peer has
//! two: what we send is sealed in sessions that we began, what the peer sends is opened in
//! sessions that it began. Then the thread that sends and the thread that receives do not wait
//! for each other. (Until both have begun one, the one that is there serves both ways.) To the other end that is no more than a peer of which two sessions are
//! current, and it may use either: a peer that begins only one (a Linux kernel) is served by
//! either core, at the price of the lock.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use boringtun::noise::errors::WireGuardError;
use boringtun::noise::handshake::parse_handshake_anon;
use boringtun::noise::rate_limiter::RateLimiter;
use boringtun::noise::{Packet, Tunn, TunnResult};
use boringtun::x25519::{PublicKey, StaticSecret};
use homeward_model::Instant;

use crate::key::Key;

/// Octets that sealing adds.
pub(crate) const OVERHEAD: usize = 32;

/// What is sealed is padded to a multiple of this (WireGuard 5.4.6).
pub(crate) const PAD: usize = 16;

/// Octets of an initiation.
pub(crate) const INITIATION: usize = 148;

/// Handshakes a second before a sender has to prove its address with a cookie.
const HANDSHAKES_A_SECOND: u64 = 100;

/// An initiation that went to one candidate address goes to others as it is for so long; after
/// that a new one is made.
const INITIATION_LIFE: Duration = Duration::from_secs(1);

/// How many packets may wait for a session: the first of whoever begins to speak.
const WAITING: usize = 16;

/// How stale a core's notion of time may be when it is used.
pub(crate) const STALE: Duration = Duration::from_secs(1);

/// Who we are.
pub(crate) struct Identity {
    private: StaticSecret,
    public: PublicKey,
    /// Counts handshakes, of all peers and none.
    limiter: RateLimiter,
    /// What passed the limiter is not limited again by the cores.
    passed: Arc<RateLimiter>,
}

/// What a WireGuard message is, before anybody's key was tried on it.
pub(crate) enum Message {
    /// Begins a session; from the peer that has this public key, or says that it has.
    Initiation([u8; 32]),
    /// For the core with this index.
    For(u32),
    /// Under load, who cannot prove its address yet is sent so many octets.
    Cookie(usize),
}

impl Identity {
    pub(crate) fn new(key: &Key) -> Self {
        let private = StaticSecret::from(*key.expose());
        let public = PublicKey::from(&private);
        Self {
            limiter: RateLimiter::new(&public, HANDSHAKES_A_SECOND),
            passed: Arc::new(RateLimiter::new(&public, u64::MAX)),
            private,
            public,
        }
    }

    pub(crate) fn public_key(&self) -> [u8; 32] {
        self.public.to_bytes()
    }

    /// What a message is. `None` if it is none, or a handshake message that is not for us.
    pub(crate) fn screen(
        &self,
        message: &[u8],
        from: IpAddr,
        room: &mut [u8; 64],
    ) -> Option<Message> {
        // It looks whether a second is over.
        self.limiter.reset_count();
        match self.limiter.verify_packet(Some(from), message, room) {
            Ok(Packet::HandshakeInit(initiation)) => {
                let half = parse_handshake_anon(&self.private, &self.public, &initiation).ok()?;
                Some(Message::Initiation(half.peer_static_public))
            }
            Ok(Packet::HandshakeResponse(response)) => Some(Message::For(response.receiver_idx)),
            Ok(Packet::PacketCookieReply(reply)) => Some(Message::For(reply.receiver_idx)),
            Ok(Packet::PacketData(data)) => Some(Message::For(data.receiver_idx)),
            Err(TunnResult::WriteToNetwork(cookie)) => Some(Message::Cookie(cookie.len())),
            Err(_) => None,
        }
    }
}

/// Whether a datagram is WireGuard's, by its first octets, and its type.
pub(crate) fn kind(datagram: &[u8]) -> Option<u8> {
    match *datagram.first_chunk()? {
        [kind @ 1..=4, 0, 0, 0] => Some(kind),
        _ => None,
    }
}

/// The type of transport data.
pub(crate) const DATA: u8 = 4;

/// The index of the core that a transport data message is for: the top 24 bits of what it says.
pub(crate) fn data_index(datagram: &[u8]) -> Option<u32> {
    datagram.get(4..)?.first_chunk().map(|index| core_of(u32::from_le_bytes(*index)))
}

/// The index of the core, of the index of a session.
pub(crate) const fn core_of(index: u32) -> u32 {
    index >> 8
}

/// Which of a peer's two cores.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// The sessions that we began: what we send.
    Out,
    /// The sessions that the peer began: what it sends.
    In,
}

/// The two cores of a peer.
pub(crate) struct Cores {
    outward: Mutex<Core>,
    inward: Mutex<Core>,
    pub(crate) indices: [u32; 2],
}

/// One core.
pub(crate) struct Core {
    tunn: Tunn,
    /// When its timers were looked at last: only then does it learn the time.
    polled: Instant,
    /// The last initiation, and when it was made.
    initiation: Option<(Instant, [u8; INITIATION])>,
    /// How many packets wait for a session, at most.
    waiting: usize,
}

/// What sealing came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sealed {
    /// Transport data of so many octets.
    Data(usize),
    /// There is no session. The packet waits; this initiation is to be sent.
    Initiation(usize),
    /// There is no session, but one is under way. The packet waits.
    Waiting,
    /// There is no session, and enough packets wait for one.
    Refused,
}

/// What opening came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Opened {
    /// A packet of so many octets.
    Packet(usize),
    /// Authentic, and empty or without anything to do.
    Nothing,
    /// Authentic, and to be answered with so many octets. After a response, waiting packets
    /// follow: see [`Core::next_waiting`].
    Reply(usize),
}

impl Cores {
    /// `indices` are two numbers below 2^24 that no other core has.
    pub(crate) fn new(
        identity: &Identity,
        peer: [u8; 32],
        preshared: Option<&Key>,
        indices: [u32; 2],
        now: Instant,
    ) -> Self {
        let core = |index| {
            let tunn = Tunn::new(
                identity.private.clone(),
                PublicKey::from(peer),
                preshared.map(|key| *key.expose()),
                None,
                index,
                Some(Arc::clone(&identity.passed)),
            );
            Mutex::new(Core { tunn, polled: now, initiation: None, waiting: 0 })
        };
        let [outward, inward] = indices.map(core);
        Self { outward, inward, indices }
    }

    pub(crate) fn lock(&self, way: Way) -> MutexGuard<'_, Core> {
        let core = match way {
            Way::Out => &self.outward,
            Way::In => &self.inward,
        };
        core.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The core to seal with: ours, or while that has no session the other, if that has one. So
    /// one handshake is enough to begin to speak, whoever's was quicker.
    pub(crate) fn sealer(&self) -> MutexGuard<'_, Core> {
        let outward = self.lock(Way::Out);
        if outward.has_session() {
            return outward;
        }
        drop(outward);
        let inward = self.lock(Way::In);
        if inward.has_session() {
            return inward;
        }
        drop(inward);
        self.lock(Way::Out)
    }

    /// Begins a session of ours, where there is none and none is under way. Gives the length of
    /// the initiation.
    pub(crate) fn begin(&self, room: &mut [u8]) -> Option<usize> {
        let mut outward = self.lock(Way::Out);
        if outward.has_session() {
            return None;
        }
        match outward.tunn.format_handshake_initiation(room, false) {
            TunnResult::WriteToNetwork(message) => Some(message.len()),
            _ => None,
        }
    }
}

impl Core {
    /// Whether what is sealed now goes out now.
    pub(crate) fn has_session(&self) -> bool {
        self.tunn.time_since_last_handshake().is_some()
    }

    /// Seals a packet into `room`, which has [`OVERHEAD`] octets more, and those of an initiation
    /// at least.
    #[inline]
    pub(crate) fn seal(&mut self, packet: &[u8], room: &mut [u8]) -> Sealed {
        // The library would keep more of them than anybody still wants once there is a session.
        if self.waiting >= WAITING && !self.has_session() {
            return Sealed::Refused;
        }
        match self.tunn.encapsulate(packet, room) {
            TunnResult::WriteToNetwork(message) if message.first() == Some(&DATA) => {
                self.waiting = 0;
                Sealed::Data(message.len())
            }
            TunnResult::WriteToNetwork(message) => {
                self.waiting += 1;
                Sealed::Initiation(message.len())
            }
            _ => {
                self.waiting += 1;
                Sealed::Waiting
            }
        }
    }

    /// Opens a message into `room`, which is as long.
    #[inline]
    pub(crate) fn open(&mut self, message: &[u8], room: &mut [u8]) -> Result<Opened, ()> {
        // An empty message would mean something else to the library.
        if message.is_empty() {
            return Err(());
        }
        match self.tunn.decapsulate(None, message, room) {
            TunnResult::WriteToTunnelV4(packet, _) | TunnResult::WriteToTunnelV6(packet, _) => {
                Ok(Opened::Packet(packet.len()))
            }
            TunnResult::WriteToNetwork(reply) => Ok(Opened::Reply(reply.len())),
            TunnResult::Done => Ok(Opened::Nothing),
            TunnResult::Err(_) => Err(()),
        }
    }

    /// A packet that waited for the session, sealed.
    pub(crate) fn next_waiting(&mut self, room: &mut [u8]) -> Option<usize> {
        match self.tunn.decapsulate(None, &[], room) {
            TunnResult::WriteToNetwork(message) => Some(message.len()),
            _ => None,
        }
    }

    /// An initiation: the last one again if it is young, otherwise a new one.
    pub(crate) fn initiate(&mut self, room: &mut [u8], now: Instant) -> Option<usize> {
        if let Some((made, octets)) = &self.initiation
            && now.since(*made) < INITIATION_LIFE
        {
            room.get_mut(..INITIATION)?.copy_from_slice(octets);
            return Some(INITIATION);
        }
        match self.tunn.format_handshake_initiation(room, true) {
            TunnResult::WriteToNetwork(message) => {
                self.initiation = message.first_chunk().map(|octets| (now, *octets));
                Some(message.len())
            }
            _ => None,
        }
    }

    /// Tells the core the time, if it has not been told lately. Gives the length of a message
    /// that is due.
    #[inline]
    pub(crate) fn wake(&mut self, room: &mut [u8], now: Instant) -> Option<usize> {
        if now.since(self.polled) < STALE { None } else { self.poll(room, now) }
    }

    /// Tells the core the time: it drops what is too old, and may give a message to send.
    pub(crate) fn poll(&mut self, room: &mut [u8], now: Instant) -> Option<usize> {
        self.polled = now;
        match self.tunn.update_timers(room) {
            TunnResult::WriteToNetwork(message) => Some(message.len()),
            TunnResult::Err(WireGuardError::ConnectionExpired) => None,
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FROM: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

    /// Two gateways that know each other: identities, and each other's cores.
    fn pair() -> [(Identity, Cores); 2] {
        let [a, b] = [1, 2].map(|key| Identity::new(&Key::new([key; 32])));
        let keys = [a.public_key(), b.public_key()];
        let secret = Key::new([3; 32]);
        let cores = |own: &Identity, other: [u8; 32], first| {
            Cores::new(own, other, Some(&secret), [first, first + 1], Instant::ORIGIN)
        };
        let of_a = cores(&a, keys[1], 0x10);
        let of_b = cores(&b, keys[0], 0x0020_0000);
        [(a, of_a), (b, of_b)]
    }

    /// An IPv4 packet of 40 octets.
    fn packet(number: u8) -> Vec<u8> {
        let mut packet = vec![0; 40];
        (packet[0], packet[3], packet[39]) = (0x45, 40, number);
        packet
    }

    /// Has `a` begin a session with `b`.
    fn begin(a: &Cores, b: &Cores) {
        let (mut first, mut second) = ([0; 2048], [0; 2048]);
        let len = a.lock(Way::Out).initiate(&mut first, Instant::ORIGIN).unwrap();
        let reply = b.lock(Way::In).open(&first[..len], &mut second);
        let Ok(Opened::Reply(len)) = reply else { panic!("{reply:?}") };
        assert!(len < INITIATION, "an answer is shorter than the question");
        let reply = a.lock(Way::Out).open(&second[..len], &mut first);
        let Ok(Opened::Reply(len)) = reply else { panic!("{reply:?}") };
        assert_eq!(b.lock(Way::In).open(&first[..len], &mut second), Ok(Opened::Nothing));
    }

    #[test]
    fn each_way_has_a_session_of_its_own_and_takes_nothing_twice() {
        let [(_, a), (_, b)] = pair();
        begin(&a, &b);
        begin(&b, &a);
        let (mut sealed, mut opened) = ([0; 2048], [0; 2048]);
        for (from, to) in [(&a, &b), (&b, &a)] {
            for number in 0..3 {
                let state = from.lock(Way::Out).seal(&packet(number), &mut sealed);
                let Sealed::Data(len) = state else { panic!("{state:?}") };
                assert_eq!(len, 40 + OVERHEAD);
                // It says itself which core it is for.
                assert_eq!(data_index(&sealed), Some(to.indices[1]));
                let got = to.lock(Way::In).open(&sealed[..len], &mut opened);
                assert_eq!((got, &opened[..40]), (Ok(Opened::Packet(40)), &packet(number)[..]));
                assert_eq!(to.lock(Way::In).open(&sealed[..len], &mut opened), Err(()));
                assert_eq!(to.lock(Way::Out).open(&sealed[..len], &mut opened), Err(()));
            }
        }
    }

    #[test]
    fn a_core_serves_both_ways_where_the_other_end_begins_no_session() {
        let [(_, a), (_, b)] = pair();
        begin(&a, &b);
        let (mut sealed, mut opened) = ([0; 2048], [0; 2048]);
        // As a kernel does: it answers in the session that it was called in.
        let state = b.lock(Way::In).seal(&packet(1), &mut sealed);
        let Sealed::Data(len) = state else { panic!("{state:?}") };
        assert_eq!(data_index(&sealed), Some(a.indices[0]));
        assert_eq!(a.lock(Way::Out).open(&sealed[..len], &mut opened), Ok(Opened::Packet(40)));
    }

    #[test]
    fn one_handshake_is_enough_for_both_to_speak() {
        let [(_, a), (_, b)] = pair();
        let mut room = [0; 2048];
        assert_eq!(b.begin(&mut room), Some(INITIATION));
        assert_eq!(b.begin(&mut room), None, "it is under way");
        begin(&a, &b);
        let (mut sealed, mut opened) = ([0; 2048], [0; 2048]);
        let state = b.sealer().seal(&packet(1), &mut sealed);
        let Sealed::Data(len) = state else { panic!("{state:?}") };
        assert_eq!(data_index(&sealed), Some(a.indices[0]), "in the session that a began");
        assert_eq!(a.lock(Way::Out).open(&sealed[..len], &mut opened), Ok(Opened::Packet(40)));
        begin(&b, &a);
        let state = b.sealer().seal(&packet(2), &mut sealed);
        let Sealed::Data(len) = state else { panic!("{state:?}") };
        assert_eq!(data_index(&sealed), Some(a.indices[1]), "in its own, now that it has one");
        assert_eq!(a.lock(Way::In).open(&sealed[..len], &mut opened), Ok(Opened::Packet(40)));
        assert_eq!(b.begin(&mut room), None, "there is one");
    }

    #[test]
    fn few_packets_wait_for_a_session_and_go_when_it_is_there() {
        let [(_, a), (_, b)] = pair();
        let mut room = [0; 2048];
        let first = a.lock(Way::Out).seal(&packet(0), &mut room);
        assert_eq!(first, Sealed::Initiation(INITIATION));
        for number in 1..WAITING {
            let state = a.lock(Way::Out).seal(&packet(number as u8), &mut room);
            assert_eq!(state, Sealed::Waiting);
        }
        assert_eq!(a.lock(Way::Out).seal(&packet(99), &mut room), Sealed::Refused);
        begin(&a, &b);
        let mut opened = [0; 2048];
        for number in 0..WAITING {
            let len = a.lock(Way::Out).next_waiting(&mut room).unwrap();
            assert_eq!(b.lock(Way::In).open(&room[..len], &mut opened), Ok(Opened::Packet(40)));
            assert_eq!(usize::from(opened[39]), number);
        }
        assert_eq!(a.lock(Way::Out).next_waiting(&mut room), None);
        assert!(matches!(a.lock(Way::Out).seal(&packet(99), &mut room), Sealed::Data(_)));
    }

    #[test]
    fn an_initiation_is_the_same_for_a_second_and_then_another() {
        let [(_, a), _] = pair();
        let at = |millis: u64| {
            let mut room = [0; 2048];
            let now = Instant::ORIGIN + Duration::from_millis(millis);
            let len = a.lock(Way::Out).initiate(&mut room, now).unwrap();
            room[..len].to_vec()
        };
        let first = at(0);
        assert_eq!(at(999), first);
        assert_ne!(at(1000), first);
    }

    #[test]
    fn under_load_a_sender_has_to_prove_its_address_and_then_gets_through() {
        let [(_, a), (b, _)] = pair();
        let (mut room, mut cookie) = ([0; 2048], [0; 64]);
        let len = a.lock(Way::Out).initiate(&mut room, Instant::ORIGIN).unwrap();
        let mut answers = 0;
        let reply = loop {
            match b.screen(&room[..len], FROM, &mut cookie) {
                Some(Message::Initiation(_)) => answers += 1,
                Some(Message::Cookie(len)) => break cookie[..len].to_vec(),
                _ => panic!("it is an initiation"),
            }
        };
        // A second may have ended meanwhile.
        assert!((HANDSHAKES_A_SECOND..3 * HANDSHAKES_A_SECOND).contains(&answers));
        assert!(reply.len() < len);
        let mut nothing = [0; 64];
        let taken = a.lock(Way::Out).open(&reply, &mut nothing);
        assert_eq!(taken, Ok(Opened::Nothing));
        let later = Instant::ORIGIN + INITIATION_LIFE;
        let len = a.lock(Way::Out).initiate(&mut room, later).unwrap();
        for _ in 0..3 * HANDSHAKES_A_SECOND {
            let message = b.screen(&room[..len], FROM, &mut cookie);
            assert!(matches!(message, Some(Message::Initiation(_))));
        }
        // From elsewhere the same cookie is worth nothing.
        let elsewhere = IpAddr::from([192, 0, 2, 1]);
        let elsewhere = b.screen(&room[..len], elsewhere, &mut cookie);
        assert!(!matches!(elsewhere, Some(Message::For(_)) | None));
    }

    #[test]
    fn what_is_for_somebody_else_or_damaged_is_nothing() {
        let [(a, of_a), (b, _)] = pair();
        let (mut room, mut cookie) = ([0; 2048], [0; 64]);
        let len = of_a.lock(Way::Out).initiate(&mut room, Instant::ORIGIN).unwrap();
        assert!(a.screen(&room[..len], FROM, &mut cookie).is_none(), "it is for b");
        for at in [8, 60, 100, 120] {
            let mut damaged = room[..len].to_vec();
            damaged[at] ^= 1;
            assert!(b.screen(&damaged, FROM, &mut cookie).is_none());
        }
        assert_eq!(kind(&[1, 0, 0, 0]), Some(1));
        assert_eq!(kind(&[1, 0, 1, 0]), None);
        assert_eq!(kind(&[5, 0, 0, 0]), None);
        assert_eq!(kind(&[4, 0, 0]), None);
    }
}
