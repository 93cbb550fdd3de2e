//! WireGuard, by boringtun's protocol core ([ADR 6](../../../docs/adr/0006-wireguard-library.md)).
//!
//! A core belongs to one peer, and everything that it does needs it exclusively. So each peer has
//! two: what we send is sealed in sessions that we began, what the peer sends is opened in
//! sessions that it began. Then the thread that sends and the thread that receives do not wait
//! for each other. To the other end that is no more than a peer of which two sessions are
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
pub(crate) enum Message<'a> {
    /// Begins a session; from the peer that has this public key, or says that it has.
    Initiation([u8; 32]),
    /// For the core with this index.
    For(u32),
    /// Under load, who cannot prove its address yet is sent this.
    Cookie(&'a [u8]),
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
    pub(crate) fn screen<'a>(
        &self,
        message: &[u8],
        from: IpAddr,
        room: &'a mut [u8; 64],
    ) -> Option<Message<'a>> {
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
            Err(TunnResult::WriteToNetwork(cookie)) => Some(Message::Cookie(cookie)),
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
