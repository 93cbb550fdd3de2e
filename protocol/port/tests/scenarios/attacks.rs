//! Spoofed sources, rogue servers and routers, and what else does not belong on a LAN's port.

use homeward_model::Mac;
use homeward_port::testing::{ROUTER_V4, build};
use homeward_port::{Reason, Verdict};

use super::{
    Bench, DEVICE, INTERNET_V4, OTHER_DEVICE, OWN_LINK_LOCAL, OWN_V4, OWN_V6, PRINTER, ROUTER,
    ROUTER_V6, STRANGER, dropped, tcp_v4, tcp_v6,
};

#[test]
fn only_the_devices_of_the_port_are_let_in() {
    let mut bench = Bench::home();
    for (source, verdict) in [
        (DEVICE, Verdict::Pass),
        (STRANGER, dropped(Reason::SourceMac)),
        (ROUTER, dropped(Reason::SourceMac)),
        (PRINTER, dropped(Reason::SourceMac)),
        (build::BROADCAST, dropped(Reason::SourceMac)),
        (Mac::new([0; 6]), dropped(Reason::SourceMac)),
        (Mac::new([3, 0, 0, 0, 0, 1]), dropped(Reason::SourceMac)),
    ] {
        let frame = build::ethernet(ROUTER, source, build::IPV4, &tcp_v4(OWN_V4));
        assert_eq!(bench.up(&frame), verdict, "{}", source.full());
    }
    assert_eq!(bench.port.counters().from_stranger.dropped(Reason::SourceMac), 6);
    assert_eq!(bench.port.counters().from_stranger.passed, 1);
}

#[test]
fn spanning_tree_lldp_and_pause_go_neither_in_nor_out() {
    let mut bench = Bench::home();
    for last in 0..=0x0f {
        let reserved = Mac::new([0x01, 0x80, 0xc2, 0, 0, last]);
        for ethertype in [0x0026, 0x88cc, 0x8808, build::IPV4] {
            let octets = tcp_v4(OWN_V4);
            let frame = build::ethernet(reserved, DEVICE, ethertype, &octets);
            assert_eq!(bench.up(&frame), dropped(Reason::LinkControl));
            let frame = build::ethernet(reserved, ROUTER, ethertype, &octets);
            assert_eq!(bench.down(&frame), dropped(Reason::LinkControl));
        }
    }
}

#[test]
fn vlan_tags_go_neither_in_nor_out() {
    let mut bench = Bench::home();
    for tag in [0x8100, 0x88a8, 0x9100, 0x9200] {
        let octets = [&[0, 1, 8, 0][..], &tcp_v4(OWN_V4)].concat();
        let frame = build::ethernet(ROUTER, DEVICE, tag, &octets);
        assert_eq!(bench.up(&frame), dropped(Reason::Vlan), "{tag:04x}");
        let frame = build::ethernet(DEVICE, ROUTER, tag, &octets);
        assert_eq!(bench.down(&frame), dropped(Reason::Vlan), "{tag:04x}");
    }
}

#[test]
fn no_other_protocol_is_carried() {
    let mut bench = Bench::home();
    let cisco = Mac::new([0x01, 0x00, 0x0c, 0xcc, 0xcc, 0xcc]);
    let snap = [0xaa, 0xaa, 0x03, 0, 0, 0x0c, 0x20, 0];
    let ip_in_snap = [&[0xaa, 0xaa, 0x03, 0, 0, 0, 8, 0][..], &tcp_v4(OWN_V4)].concat();
    for (destination, ethertype, octets) in [
        (ROUTER, 0x8863, &[0; 46][..]),       // PPPoE discovery
        (ROUTER, 0x888e, &[0; 46]),           // EAPOL
        (ROUTER, 0x8035, &[0; 46]),           // RARP
        (build::BROADCAST, 0x893a, &[0; 46]), // IEEE 1905
        (ROUTER, 0x8847, &[0; 46]),           // MPLS
        (cisco, 8, &snap),                    // CDP
        (ROUTER, ip_in_snap.len() as u16, &ip_in_snap),
        (ROUTER, 0, &[]),
    ] {
        let frame = build::ethernet(destination, DEVICE, ethertype, octets);
        assert_eq!(bench.up(&frame), dropped(Reason::Protocol), "{ethertype:04x}");
    }
}

#[test]
fn an_access_points_update_frame_passes_and_no_other_802_2() {
    let mut bench = Bench::home();
    let good = build::update(DEVICE);
    assert_eq!(bench.up(&good), Verdict::Pass, "hostapd's");
    assert_eq!(bench.up(&[&good[..], &[0; 40]].concat()), Verdict::Pass, "padded");
    let with = |at: usize, octet: u8| {
        let mut frame = good.clone();
        frame[at] = octet;
        frame
    };
    assert_eq!(bench.up(&with(16, 0xbf)), Verdict::Pass, "with the final bit");
    assert_eq!(bench.up(&with(18, 1)), Verdict::Pass, "mac80211's");
    assert_eq!(bench.up(&with(11, 3)), dropped(Reason::SourceMac), "for another station");
    for (what, frame) in [
        ("spanning tree's LSAP", with(14, 0x42)),
        ("a command", with(15, 0x00)),
        ("a test", with(16, 0xe3)),
        ("another format", with(17, 0x82)),
        ("to a group", with(5, 0xfe)),
        ("longer than it says", [&good[..], &[0; 41]].concat()),
        ("cut", good[..19].to_vec()),
        ("another length", with(13, 5)),
    ] {
        assert_eq!(bench.up(&frame), dropped(Reason::Protocol), "{what}");
    }
}

#[test]
fn a_frame_that_is_cut_anywhere_is_dropped() {
    let mut bench = Bench::settled();
    let solicitation = build::solicitation(OWN_V6, Some(DEVICE));
    for frame in [
        build::ethernet(ROUTER, DEVICE, build::IPV4, &tcp_v4(OWN_V4)),
        build::ethernet(ROUTER, DEVICE, build::IPV6, &tcp_v6(OWN_V6)),
        build::ethernet(
            build::BROADCAST,
            DEVICE,
            build::ARP,
            &build::arp(1, DEVICE, OWN_V4, ROUTER_V4),
        ),
        build::ethernet(
            build::ALL_NODES,
            DEVICE,
            build::IPV6,
            &build::ipv6(OWN_V6, ROUTER_V6, 58, &solicitation),
        ),
    ] {
        assert_eq!(bench.up(&frame), Verdict::Pass);
        for length in 0..frame.len() {
            assert_eq!(bench.up(&frame[..length]), dropped(Reason::Malformed), "{length}");
        }
    }
}

#[test]
fn a_rogue_dhcp_server_is_not_heard_whatever_port_it_answers_from() {
    let mut bench = Bench::settled();
    let ack = build::Dhcp::ack(STRANGER, OWN_V4, 3600).octets();
    for (from, to) in [(67, 68), (67, 67), (67, 1068), (4011, 68), (53, 68)] {
        let packet = build::ipv4(OWN_V4, INTERNET_V4, 17, &build::udp(from, to, &ack));
        assert_eq!(bench.up_v4(&packet), dropped(Reason::DhcpServer), "{from} to {to}");
    }
    for (from, to) in [(547, 546), (547, 547), (1547, 546)] {
        let packet = build::ipv6(OWN_V6, ROUTER_V6, 17, &build::udp(from, to, &[7, 0, 0, 1]));
        assert_eq!(bench.up_v6(&packet), dropped(Reason::DhcpServer), "{from} to {to}");
    }
}

#[test]
fn a_rogue_dhcp_server_is_not_heard_in_fragments_either() {
    let mut bench = Bench::settled();
    let ack = build::udp(67, 68, &build::Dhcp::ack(STRANGER, OWN_V4, 3600).octets());
    let first = build::ipv4_fragment(OWN_V4, INTERNET_V4, 17, 0x2000, &ack[..128]);
    assert_eq!(bench.up_v4(&first), dropped(Reason::DhcpServer));
    let tiny = build::ipv4_fragment(OWN_V4, INTERNET_V4, 17, 0x2000, &ack[..7]);
    assert_eq!(bench.up_v4(&tiny), dropped(Reason::Malformed), "ports that cannot be seen");
    // Without the first, the rest is nothing.
    let rest = build::ipv4_fragment(OWN_V4, INTERNET_V4, 17, 16, &ack[128..]);
    assert_eq!(bench.up_v4(&rest), Verdict::Pass);
}

#[test]
fn a_rogue_router_is_not_heard() {
    let mut bench = Bench::settled();
    for (what, message, reason) in [
        ("an advertisement", build::router_advertisement(), Reason::Router),
        ("a redirect", vec![137; 40], Reason::Router),
        ("a renumbering", vec![138; 40], Reason::Router),
        ("an MLD query", vec![130; 28], Reason::Querier),
        ("a multicast router", vec![151; 8], Reason::Querier),
    ] {
        for source in [ROUTER_V6, OWN_LINK_LOCAL, OWN_V6] {
            let packet = build::ipv6(source, OWN_V6, 58, &message);
            assert_eq!(bench.up_v6(&packet), dropped(reason), "{what} from {source}");
            let unicast = build::ethernet(PRINTER, DEVICE, build::IPV6, &packet);
            assert_eq!(bench.up(&unicast), dropped(reason), "{what}, unicast");
        }
    }
    for (what, protocol, message, reason) in [
        ("a redirect", 1, vec![5; 36], Reason::Router),
        ("an advertisement", 1, vec![9; 16], Reason::Router),
        ("an IGMP query", 2, vec![0x11; 8], Reason::Querier),
        ("DVMRP", 2, vec![0x13; 8], Reason::Querier),
        ("OSPF", 89, vec![2; 24], Reason::Routing),
        ("EIGRP", 88, vec![2; 20], Reason::Routing),
        ("PIM", 103, vec![0x20; 8], Reason::Routing),
        ("VRRP", 112, vec![0x21; 20], Reason::Routing),
        ("RIP", 17, build::udp(520, 520, &[2; 24]), Reason::Routing),
    ] {
        let packet = build::ipv4(OWN_V4, INTERNET_V4, protocol, &message);
        assert_eq!(bench.up_v4(&packet), dropped(reason), "{what}");
    }
    for protocol in [88, 89, 103, 112] {
        let packet = build::ipv6(OWN_V6, INTERNET_V6_GROUP, protocol, &[0; 20]);
        assert_eq!(bench.up_v6(&packet), dropped(Reason::Routing), "{protocol}");
    }
}

const INTERNET_V6_GROUP: std::net::Ipv6Addr = std::net::Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 5);

#[test]
fn what_hosts_say_to_routers_and_queriers_passes() {
    let mut bench = Bench::settled();
    bench.lease(DEVICE, OWN_V4, 3600);
    for (what, protocol, message) in [
        ("a ping", 1, vec![8, 0, 0, 0, 0, 0, 0, 0]),
        ("unreachable", 1, vec![3, 3, 0, 0]),
        ("an IGMPv2 report", 2, vec![0x16; 8]),
        ("an IGMPv3 report", 2, vec![0x22; 16]),
        ("leave", 2, vec![0x17; 8]),
        ("ESP", 50, vec![1; 40]),
        ("GRE", 47, vec![0; 8]),
        ("DNS", 17, build::udp(40_000, 53, &[1; 30])),
        ("port 1985 of a host", 17, build::udp(40_000, 1985, &[1; 30])),
    ] {
        let packet = build::ipv4(OWN_V4, INTERNET_V4, protocol, &message);
        assert_eq!(bench.up_v4(&packet), Verdict::Pass, "{what}");
    }
    let report = build::ipv4(std::net::Ipv4Addr::UNSPECIFIED, INTERNET_V4, 2, &[0x22; 16]);
    assert_eq!(bench.up_v4(&report), Verdict::Pass, "IGMP before there is an address");
    for (what, protocol, message) in [
        ("a ping", 58, vec![128, 0, 0, 0, 0, 0, 0, 0]),
        ("too big", 58, vec![2; 40]),
        ("an MLDv2 report", 58, vec![143; 28]),
        ("ESP", 50, vec![1; 40]),
        ("IPv4 in IPv6", 4, vec![0x45; 40]),
        ("nothing", 59, vec![]),
        ("DNS", 17, build::udp(40_000, 53, &[1; 30])),
    ] {
        let packet = build::ipv6(OWN_V6, ROUTER_V6, protocol, &message);
        assert_eq!(bench.up_v6(&packet), Verdict::Pass, "{what}");
    }
}

#[test]
fn router_redundancy_protocols_are_dropped_where_they_would_be_believed() {
    let mut bench = Bench::settled();
    for port in [1985, 2029, 3222] {
        let packet = build::ipv4(OWN_V4, INTERNET_V4, 17, &build::udp(port, port, &[0; 20]));
        let group = Mac::new([0x01, 0x00, 0x5e, 0, 0, 2]);
        let frame = build::ethernet(group, DEVICE, build::IPV4, &packet);
        assert_eq!(bench.up(&frame), dropped(Reason::Routing), "{port}");
        let packet = build::ipv6(OWN_V6, INTERNET_V6_GROUP, 17, &build::udp(port, port, &[0; 20]));
        assert_eq!(bench.up_v6(&packet), dropped(Reason::Routing), "{port}");
    }
}

#[test]
fn unicast_to_others_does_not_leave_the_house() {
    let mut bench = Bench::home();
    let octets = build::ipv4(INTERNET_V4, OWN_V4, 6, &[0; 20]);
    for (destination, verdict) in [
        (DEVICE, Verdict::Pass),
        (OTHER_DEVICE, Verdict::Pass),
        (PRINTER, dropped(Reason::NotForIt)),
        (STRANGER, dropped(Reason::NotForIt)),
        (build::BROADCAST, Verdict::Pass),
        (build::ALL_NODES, Verdict::Pass),
    ] {
        let frame = build::ethernet(destination, ROUTER, build::IPV4, &octets);
        assert_eq!(bench.down(&frame), verdict, "{}", destination.full());
    }
}

#[test]
fn a_devices_own_frames_do_not_come_back_to_it() {
    let mut bench = Bench::home();
    let octets = build::arp(1, DEVICE, OWN_V4, ROUTER_V4);
    for source in [DEVICE, OTHER_DEVICE] {
        let frame = build::ethernet(build::BROADCAST, source, build::ARP, &octets);
        assert_eq!(bench.down(&frame), dropped(Reason::Echo));
    }
    let frame = build::ethernet(DEVICE, build::BROADCAST, build::ARP, &octets);
    assert_eq!(bench.down(&frame), dropped(Reason::SourceMac), "a group as source");
}

#[test]
fn the_homes_router_is_heard_abroad() {
    let mut bench = Bench::home();
    let packet = build::ipv6(ROUTER_V6, super::ALL_NODES_V6, 58, &build::router_advertisement());
    let frame = build::ethernet(build::ALL_NODES, ROUTER, build::IPV6, &packet);
    assert_eq!(bench.down(&frame), Verdict::Pass);
    let packet = build::ipv6(ROUTER_V6, super::ALL_NODES_V6, 58, &[130; 28]);
    let frame = build::ethernet(build::ALL_NODES, ROUTER, build::IPV6, &packet);
    assert_eq!(bench.down(&frame), Verdict::Pass, "an MLD query");
}
