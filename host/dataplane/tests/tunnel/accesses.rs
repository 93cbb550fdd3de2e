//! One machine with two accesses is two peers to another, each with a WireGuard session of its own.
//!
//! ```text
//!   [foreign] 192.0.2.1    ── wlan ═══ wlan ── 192.0.2.2    [home] 203.0.113.2
//!             198.51.100.1 ── wwan ═══ wwan ── 198.51.100.2
//! ```

use std::net::SocketAddr;

use homeward_dataplane::{Access, Event, Key, PeerConfig, PeerId, TunnelConfig, TunnelId};

use crate::ends::{End, session, tunnel};
use crate::space::{Space, in_namespace};

/// The accesses: name, our address, our key, our number at home.
pub(crate) const ACCESSES: [(&str, &str, u8, PeerId); 2] =
    [("wlan", "192.0.2.1", 11, PeerId(21)), ("wwan", "198.51.100.1", 12, PeerId(22))];

/// Where home listens.
pub(crate) const HOME: &str = "203.0.113.2:1701";

/// A machine with two accesses, and its home. The routing table prefers the first.
pub(crate) fn two_accesses() -> (End, End) {
    let (foreign, home) = (Space::new(), Space::new());
    for (net, name) in ["192.0.2", "198.51.100"].into_iter().zip(["wlan", "wwan"]) {
        foreign.join(&home, name, name);
        foreign.ip(&format!("address add {net}.1/24 dev {name}"));
        home.ip(&format!("address add {net}.2/24 dev {name}"));
    }
    home.ip("link set lo up");
    home.ip("address add 203.0.113.2/32 dev lo");
    foreign.ip("route add 203.0.113.2 via 192.0.2.2 metric 10");
    foreign.ip("route add 203.0.113.2 via 198.51.100.2 metric 20");
    let foreign = End::start(foreign, "[::]:1701", 1);
    let home = End::start(home, "[::]:1701", 2);
    for (name, _, key, peer) in ACCESSES {
        let config = PeerConfig {
            public_key: home.plane.public_key(),
            preshared_key: Some(Key::new([9; 32])),
            inner_address: "10.255.0.2".parse().expect("an address"),
            endpoints: vec![HOME.parse().expect("an address")],
            access: Some(access(&foreign, name, key)),
        };
        foreign.plane.set_peer(peer, config).expect("a peer");
        let config = PeerConfig {
            public_key: Key::new([key; 32]).public_key(),
            preshared_key: Some(Key::new([9; 32])),
            inner_address: "10.255.0.1".parse().expect("an address"),
            endpoints: Vec::new(),
            access: None,
        };
        home.plane.set_peer(peer, config).expect("a peer");
    }
    (foreign, home)
}

/// An access by the name of its interface.
pub(crate) fn access(end: &End, name: &str, key: u8) -> Access {
    let said = end.space.program(&format!("ip -o link show dev {name}"));
    let interface = said.split(':').next().and_then(|number| number.parse().ok());
    let interface = interface.expect("a number");
    Access { interface, private_key: Key::new([key; 32]) }
}

#[test]
fn a_machine_with_two_accesses_is_two_peers_each_by_its_own_interface() {
    let test = "a_machine_with_two_accesses_is_two_peers_each_by_its_own_interface";
    in_namespace(module_path!(), test, || {
        let (foreign, home) = two_accesses();
        for encrypted in [true, false] {
            for (number, (name, from, key, peer)) in (1..).zip(ACCESSES) {
                let id = TunnelId(number);
                let config = |abroad| TunnelConfig {
                    peer,
                    session: session(abroad, 500 + number as u32 * 2 + u32::from(encrypted)),
                    tap: format!("tap{number}"),
                    mac: None,
                    ..tunnel(abroad, encrypted)
                };
                home.open(id, config(false));
                foreign.open(id, config(true));
                let up = |event: &Event| *event == Event::Up { tunnel: id };
                foreign.wait_for("the tunnel abroad", up);
                home.wait_for("the tunnel at home", up);
                let at_home = home.plane.status().into_iter().find(|one| one.tunnel == id);
                let expected: SocketAddr = format!("{from}:1701").parse().unwrap();
                assert_eq!(at_home.and_then(|one| one.endpoint), Some(expected), "{name} {key}");
            }
        }
    });
}
