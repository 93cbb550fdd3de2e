//! The other end: between a virtual access point and the tunnel.

use homeward_port::testing::{self, ROUTER_V4, build};
use homeward_port::{Reason, Side, Verdict};

use super::{
    Bench, DEVICE, INTERNET_V4, OTHER_DEVICE, OWN_LINK_LOCAL, OWN_V4, PRINTER, ROUTER, STRANGER,
    dropped, tcp_v4,
};

fn foreign() -> Bench {
    Bench::with(testing::settings(Side::Foreign))
}

#[test]
fn only_the_devices_of_the_access_point_enter_the_tunnel() {
    let mut bench = foreign();
    for (source, verdict) in [
        (DEVICE, Verdict::Pass),
        (OTHER_DEVICE, Verdict::Pass),
        (STRANGER, dropped(Reason::SourceMac)),
    ] {
        let frame = build::ethernet(ROUTER, source, build::IPV4, &tcp_v4(OWN_V4));
        assert_eq!(bench.up(&frame), verdict);
    }
    assert_eq!(bench.up(&build::update(DEVICE)), Verdict::Pass, "the bridges are told");
    assert_eq!(bench.up(&build::update(STRANGER)), dropped(Reason::SourceMac));
}

#[test]
fn spanning_tree_and_tags_do_not_enter_the_tunnel() {
    let mut bench = foreign();
    let reserved = homeward_model::Mac::new([1, 0x80, 0xc2, 0, 0, 0]);
    let frame = build::ethernet(reserved, DEVICE, 0x26, &[0x42; 38]);
    assert_eq!(bench.up(&frame), dropped(Reason::LinkControl));
    let frame = build::ethernet(ROUTER, DEVICE, 0x8100, &tcp_v4(OWN_V4));
    assert_eq!(bench.up(&frame), dropped(Reason::Vlan));
}

#[test]
fn what_a_device_says_is_the_homes_to_judge() {
    let mut bench = foreign();
    let advertisement =
        build::ipv6(OWN_LINK_LOCAL, super::ALL_NODES_V6, 58, &build::router_advertisement());
    assert_eq!(bench.up_v6(&advertisement), Verdict::Pass);
    assert_eq!(bench.up_arp(&build::arp(2, DEVICE, ROUTER_V4, OWN_V4)), Verdict::Pass);
    assert_eq!(bench.port.bindings(bench.now).count(), 0);
}

#[test]
fn out_of_the_tunnel_comes_only_what_is_for_the_devices_or_a_group() {
    let mut bench = foreign();
    let octets = build::ipv4(INTERNET_V4, OWN_V4, 6, &[0; 20]);
    for (destination, source, verdict) in [
        (DEVICE, ROUTER, Verdict::Pass),
        (build::BROADCAST, ROUTER, Verdict::Pass),
        (STRANGER, ROUTER, dropped(Reason::NotForIt)),
        (PRINTER, ROUTER, dropped(Reason::NotForIt)),
        (build::BROADCAST, DEVICE, dropped(Reason::Echo)),
    ] {
        let frame = build::ethernet(destination, source, build::IPV4, &octets);
        assert_eq!(bench.down(&frame), verdict);
    }
}
