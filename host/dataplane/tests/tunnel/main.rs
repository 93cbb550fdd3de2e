//! Two data planes in network namespaces of their own, with real pings and TCP through them.
//! Needs `unshare` of util-linux, `ip` of iproute2 and `ping`; as another user than root also user
//! namespaces.
// So that clippy knows the helpers for tests too.
#![cfg(test)]

mod accesses;
mod attacks;
mod changes;
mod ends;
mod first;
mod idle;
mod reflexive;
mod relay;
mod space;
mod stream;

use std::net::SocketAddr;

use ends::{HOME_V4, Pair};
use space::in_namespace;

#[test]
fn frames_of_all_sizes_cross_a_tunnel_in_the_clear() {
    in_namespace(module_path!(), "frames_of_all_sizes_cross_a_tunnel_in_the_clear", || {
        cross(false)
    });
}

#[test]
fn frames_of_all_sizes_cross_an_encrypted_tunnel() {
    in_namespace(module_path!(), "frames_of_all_sizes_cross_an_encrypted_tunnel", || cross(true));
}

fn cross(encrypted: bool) {
    let pair = Pair::up(encrypted);
    pair.ping("10.9.0.2");
    // 1,500 octets of IP that must not be fragmented, over a path of 1,500 octets; and more.
    pair.ping("-s 1472 -M do 10.9.0.2");
    pair.ping("-s 9000 10.9.0.2");
    pair.ping("2001:db8::2:0");
    pair.ping("-s 1452 -M do 2001:db8::2:0");
    stream::exchange(&pair, SocketAddr::new(HOME_V4, 0), 12 << 20);
    stream::exchange(&pair, "[2001:db8::2:0]:0".parse().unwrap(), 3 << 20);
    for end in [&pair.foreign, &pair.home] {
        let status = end.status();
        assert!(status.sent.octets > 15 << 20 && status.received.octets > 15 << 20, "{status:?}");
        let drops = status.drops;
        assert_eq!(drops.malformed + drops.too_long + drops.cookie + drops.replayed, 0);
        assert_eq!(drops.unexpected + drops.reassembly + drops.tap, 0, "{status:?}");
        assert_eq!(status.path_mtu, Some(1500));
    }
}

#[test]
fn streams_choose_segments_that_pass_the_tunnel_whole() {
    in_namespace(module_path!(), "streams_choose_segments_that_pass_the_tunnel_whole", || {
        let pair = Pair::up(true);
        let listener = pair.home.space.run(|| std::net::TcpListener::bind("10.9.0.2:0").unwrap());
        let address = listener.local_addr().unwrap();
        let stream = pair.foreign.space.run(move || std::net::TcpStream::connect(address).unwrap());
        // 1,500 less IP, UDP, WireGuard, inner IP, L2TP, Ethernet: 1,390 of IP. Timestamps take 12.
        let mss = socket2::SockRef::from(&stream).tcp_mss().unwrap();
        assert_eq!(mss, 1390 - 40 - 12);
        drop(listener);
    });
}
