//! Two gateways with a data plane each, and what is between them.
//!
//! ```text
//!   10.9.0.1 tap [foreign] 192.0.2.1 ── out ════════ out ── 192.0.2.2 [home] tap 10.9.0.2
//! ```

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use homeward_daemon::{SystemClock, SystemEntropy};
use homeward_dataplane::{
    Config, Dataplane, Event, Key, PeerConfig, PeerId, Side, TunnelConfig, TunnelId, TunnelStatus,
};
use homeward_l2tp::{Cookie, Encapsulation, SessionConfig, SessionId, Sublayer};
use homeward_model::{Clock, Mac};
use homeward_port::{Device, Settings};

use crate::relay::Relay;
use crate::space::Space;

/// The stranger's device, at the foreign end.
pub(crate) const DEVICE: Mac = Mac::new([2, 0, 0, 0, 0, 0x0a]);
/// A host at the home end.
pub(crate) const HOST: Mac = Mac::new([2, 0, 0, 0, 0, 0x0b]);

pub(crate) const TUNNEL: TunnelId = TunnelId(7);
pub(crate) const PEER: PeerId = PeerId(3);

/// How long anything may take.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// A gateway.
pub(crate) struct End {
    pub(crate) space: Space,
    pub(crate) plane: Arc<Dataplane>,
    events: Mutex<Receiver<Event>>,
}

impl End {
    /// Begins in a namespace, listening on an address.
    pub(crate) fn start(space: Space, listen: &str, key: u8) -> Self {
        let listen = listen.to_owned();
        let (plane, events) = space.run(move || start(&listen, key));
        Self { space, plane, events: Mutex::new(events) }
    }

    /// Begins with its sockets here, in the calling thread's namespace, and its interfaces in a
    /// namespace of their own.
    pub(crate) fn start_here(listen: &str, key: u8) -> Self {
        let (plane, events) = start(listen, key);
        Self { space: Space::new(), plane, events: Mutex::new(events) }
    }

    /// Begins anew, as after a reboot.
    pub(crate) fn restart(&mut self, listen: &str, key: u8) {
        self.plane.stop();
        let listen = listen.to_owned();
        let (plane, events) = self.space.run(move || start(&listen, key));
        (self.plane, self.events) = (plane, Mutex::new(events));
    }

    /// Makes the other end known.
    pub(crate) fn knows(&self, other: &Self, key: u8, endpoints: &[SocketAddr]) {
        let config = PeerConfig {
            public_key: other.plane.public_key(),
            preshared_key: Some(Key::new([9; 32])),
            inner_address: inner(key),
            endpoints: endpoints.to_vec(),
            access: None,
        };
        self.plane.set_peer(PEER, config).expect("a peer");
    }

    /// Opens a tunnel in its own namespace.
    pub(crate) fn open(&self, tunnel: TunnelId, config: TunnelConfig) {
        let plane = Arc::clone(&self.plane);
        self.space.run(move || plane.open(tunnel, config)).expect("a tunnel");
    }

    /// The status of the one tunnel.
    pub(crate) fn status(&self) -> TunnelStatus {
        self.plane.status().into_iter().find(|one| one.tunnel == TUNNEL).expect("a tunnel")
    }

    /// Waits for an event that is wanted; others are let go.
    pub(crate) fn wait_for(&self, what: &str, wanted: impl Fn(&Event) -> bool) -> Event {
        let begun = SystemClock.now();
        loop {
            let left = PATIENCE.saturating_sub(SystemClock.now() - begun);
            let event = self.next_event(left);
            let event = event.unwrap_or_else(|| panic!("waited for {what}: {:?}", self.status()));
            if wanted(&event) {
                return event;
            }
        }
    }

    /// The next event, if there is one within that time.
    pub(crate) fn next_event(&self, within: Duration) -> Option<Event> {
        self.events.lock().expect("no panic").recv_timeout(within).ok()
    }

    /// Waits until the other end answers and the path is measured.
    pub(crate) fn wait_until_up(&self) {
        self.wait_for("Up", |event| matches!(event, Event::Up { .. }));
        self.wait_for("the path MTU", |event| matches!(event, Event::PathMtu { mtu: 1500, .. }));
    }
}

fn start(listen: &str, key: u8) -> (Arc<Dataplane>, Receiver<Event>) {
    let (tell, events) = channel();
    let listen: SocketAddr = listen.parse().expect("an address");
    let config = Config { listen: vec![listen], ..Config::new(Key::new([key; 32])) };
    let plane = Dataplane::start(config, SystemClock, SystemEntropy::new(), move |event| {
        let _ = tell.send(event);
    });
    let plane = plane.expect("a data plane");
    plane.set_inner_address(inner(key));
    (Arc::new(plane), events)
}

/// Waits until something holds.
pub(crate) fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let begun = SystemClock.now();
    while !holds() {
        assert!(SystemClock.now() - begun < PATIENCE, "waited for {what}");
        std::thread::yield_now();
    }
}

fn inner(key: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 255, 0, key)
}

/// Both ends of a session, seen from an end: `true` is the foreign one.
pub(crate) fn session(foreign: bool, number: u32) -> SessionConfig {
    let id = |end: u32| SessionId::new(number * 2 + end).expect("not zero");
    let cookie = |end: u8| Cookie::eight([end; 8]);
    let (local, remote) = if foreign { (0, 1) } else { (1, 0) };
    SessionConfig {
        local_session: id(local),
        remote_session: id(remote),
        local_cookie: cookie(u8::from(foreign)),
        remote_cookie: cookie(u8::from(!foreign)),
        sublayer: Sublayer::Numbered,
        encapsulation: Encapsulation::Udp,
    }
}

/// A tunnel's settings at one end.
pub(crate) fn tunnel(foreign: bool, encrypted: bool) -> TunnelConfig {
    TunnelConfig {
        peer: PEER,
        encrypted,
        session: session(foreign, 500),
        tap: "tap".into(),
        mac: Some(if foreign { DEVICE } else { HOST }),
        mtu: 1500,
        port: Settings { devices: vec![Device::new(DEVICE)], ..Settings::default() },
        side: if foreign { Side::Foreign } else { Side::Home },
        bond: None,
    }
}

/// Two gateways joined by a cable.
pub(crate) struct Pair {
    pub(crate) foreign: End,
    pub(crate) home: End,
}

/// Where each listens.
pub(crate) const FOREIGN: &str = "192.0.2.1:1701";
pub(crate) const AT_HOME: &str = "192.0.2.2:1701";

impl Pair {
    /// Two gateways on one cable, that know each other's endpoints, without a tunnel.
    pub(crate) fn idle() -> Self {
        let (foreign, home) = (Space::new(), Space::new());
        foreign.join(&home, "out", "out");
        foreign.ip("address add 192.0.2.1/24 dev out");
        home.ip("address add 192.0.2.2/24 dev out");
        let foreign = End::start(foreign, "[::]:1701", 1);
        let home = End::start(home, "[::]:1701", 2);
        foreign.knows(&home, 2, &[AT_HOME.parse().expect("an address")]);
        home.knows(&foreign, 1, &[FOREIGN.parse().expect("an address")]);
        Self { foreign, home }
    }

    /// The same with a tunnel, whose interfaces have addresses; not up yet.
    pub(crate) fn opened(encrypted: bool) -> Self {
        let pair = Self::idle();
        pair.foreign.open(TUNNEL, tunnel(true, encrypted));
        pair.home.open(TUNNEL, tunnel(false, encrypted));
        pair.address();
        pair
    }

    /// Two gateways with a relay between them, which knows each by the address it listens on.
    pub(crate) fn relayed(encrypted: bool) -> (Self, Relay) {
        let (pair, relay) = Self::relayed_closed(encrypted, |_, _| {});
        pair.foreign.wait_until_up();
        pair.home.wait_until_up();
        // What the kernels said by themselves has waited for that, and is through when this is.
        pair.ping("10.9.0.2");
        (pair, relay)
    }

    /// The same, not up yet; `first` is done before the tunnels are opened.
    pub(crate) fn relayed_closed(
        encrypted: bool,
        first: impl FnOnce(&Self, &Relay),
    ) -> (Self, Relay) {
        Space::loopback();
        let (foreign, home) =
            (End::start_here("127.0.0.1:0", 1), End::start_here("127.0.0.1:0", 2));
        let [at_foreign, at_home] = [&foreign, &home].map(|end| end.plane.local_addresses()[0]);
        let relay = Relay::start(at_foreign, at_home);
        foreign.knows(&home, 2, &[relay.for_foreign]);
        home.knows(&foreign, 1, &[relay.for_home]);
        let pair = Self { foreign, home };
        first(&pair, &relay);
        pair.foreign.open(TUNNEL, tunnel(true, encrypted));
        pair.home.open(TUNNEL, tunnel(false, encrypted));
        pair.address();
        (pair, relay)
    }

    /// The same, up.
    pub(crate) fn up(encrypted: bool) -> Self {
        let pair = Self::opened(encrypted);
        pair.foreign.wait_until_up();
        pair.home.wait_until_up();
        pair
    }

    /// Gives both interfaces addresses.
    pub(crate) fn address(&self) {
        for (end, address) in [(&self.foreign, "10.9.0.1"), (&self.home, "10.9.0.2")] {
            end.space.ip(&format!("address add {address}/24 dev tap"));
            end.space.ip("address add 2001:db8::1:0/64 dev tap nodad");
        }
        self.home.space.ip("address del 2001:db8::1:0/64 dev tap");
        self.home.space.ip("address add 2001:db8::2:0/64 dev tap nodad");
    }

    /// Pings home from abroad, `more` being further words: it answers, at once.
    pub(crate) fn ping(&self, more: &str) {
        let said = self.foreign.space.program(&format!("ping -n -c 1 -W 5 {more}"));
        assert!(said.contains(" 0% packet loss"), "{said}");
    }
}

/// Addresses of a test inside and outside of the tunnel.
pub(crate) const HOME_V4: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 9, 0, 2));
