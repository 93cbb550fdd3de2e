//! For tests: a peer of which so many authentic octets came from an address that is not proven.

use std::net::SocketAddr;
use std::sync::Arc;

use homeward_l2tp::Sublayer;
use homeward_l2tp::{Cookie, Encapsulation, InnerHeader, PathSettings, SessionConfig, SessionId};
use homeward_model::{Entropy, Instant};

use crate::carry::Arrival;
use crate::config::{PeerConfig, PeerId, TunnelId};
use crate::key::Key;
use crate::link::encapsulation;
use crate::table::Peer;
use crate::wireguard::{Cores, INITIATION, Identity, Opened, Way};

/// When it came.
pub(crate) const AT: Instant = Instant::from_nanos(1_000_000_000);

/// Entropy that is none.
pub(crate) struct Fixed;

impl Entropy for Fixed {
    fn fill(&mut self, room: &mut [u8]) {
        room.fill(7);
    }
}

/// Such a peer, with one tunnel.
pub(crate) struct Stranger {
    pub(crate) peer: Peer,
    pub(crate) arrival: Arrival,
}

impl Stranger {
    /// With a tunnel inside WireGuard or in the clear; `session` says whether we have a session of
    /// WireGuard with it.
    pub(crate) fn new(sealed: bool, session: bool, came: usize) -> Self {
        let [us, them] = [1, 2].map(|key| Arc::new(Identity::new(&Key::new([key; 32]))));
        let config = PeerConfig {
            public_key: them.public_key(),
            preshared_key: None,
            inner_address: [10, 255, 0, 2].into(),
            endpoints: Vec::new(),
            access: None,
        };
        let mut peer = Peer::new(PeerId(1), config, Arc::clone(&us));
        peer.inner = Some(InnerHeader::new([10, 255, 0, 1].into(), [10, 255, 0, 2].into(), 0));
        let cores = Cores::new(&us, them.public_key(), None, [0x10, 0x11], AT);
        if session {
            begin(&cores, &Cores::new(&them, us.public_key(), None, [0x20, 0x21], AT));
        }
        peer.cores = Some(cores);

        let from = SocketAddr::from(([192, 0, 2, 77], 1701));
        let arrival = Arrival { from, to: None };
        let session = session_of(sealed);
        assert_eq!(sealed, session.encapsulation == Encapsulation::Ip);
        let mut events = Vec::new();
        let link = peer.link(sealed);
        let settings = PathSettings::default();
        link.route().add_carrier(TunnelId(1), &session, &settings, &[], AT, &mut events);
        link.received(arrival, came, sealed, AT, &mut events);
        Self { peer, arrival }
    }
}

/// A session, inside WireGuard or in the clear.
pub(crate) fn session_of(sealed: bool) -> SessionConfig {
    let id = |number| SessionId::new(number).unwrap();
    SessionConfig {
        local_session: id(1),
        remote_session: id(2),
        local_cookie: Cookie::eight([1; 8]),
        remote_cookie: Cookie::eight([2; 8]),
        sublayer: Sublayer::Numbered,
        encapsulation: encapsulation(sealed),
    }
}

/// Has `a` begin a session with `b`.
fn begin(a: &Cores, b: &Cores) {
    let (mut first, mut second) = ([0; 2048], [0; 2048]);
    let len = a.lock(Way::Out).initiate(&mut first, AT).unwrap();
    assert_eq!(len, INITIATION);
    let reply = b.lock(Way::In).open(&first[..len], &mut second);
    let Ok(Opened::Reply(len)) = reply else { panic!("{reply:?}") };
    let reply = a.lock(Way::Out).open(&second[..len], &mut first);
    assert!(matches!(reply, Ok(Opened::Reply(_))), "{reply:?}");
    assert!(a.lock(Way::Out).has_session());
}
