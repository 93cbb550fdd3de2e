//! ARP and neighbour discovery: nobody becomes somebody else.

use std::net::Ipv4Addr;
use std::time::Duration;

use homeward_model::Mac;
use homeward_port::testing::{ROUTER_V4, build};
use homeward_port::{Reason, Verdict};

use super::{
    ALL_NODES_V6, Bench, DEVICE, OTHER_DEVICE, OWN_LINK_LOCAL, OWN_V4, OWN_V6, PRINTER, PRINTER_V4,
    ROUTER, ROUTER_V6, dropped, tcp_v4,
};

#[test]
fn nobody_poisons_the_lans_arp_caches() {
    let mut bench = Bench::home();
    for operation in [1, 2] {
        for (what, octets) in [
            ("as the router", build::arp(operation, DEVICE, ROUTER_V4, PRINTER_V4)),
            ("gratuitously", build::arp(operation, DEVICE, ROUTER_V4, ROUTER_V4)),
            ("with the router's MAC", build::arp(operation, ROUTER, OWN_V4, PRINTER_V4)),
            ("with another device's MAC", build::arp(operation, OTHER_DEVICE, OWN_V4, PRINTER_V4)),
            ("as a group", build::arp(operation, DEVICE, Ipv4Addr::new(224, 0, 0, 1), PRINTER_V4)),
            ("as everybody", build::arp(operation, DEVICE, Ipv4Addr::BROADCAST, PRINTER_V4)),
        ] {
            assert_eq!(bench.up_arp(&octets), dropped(Reason::ArpSpoof), "{what}");
            let frame = build::ethernet(PRINTER, DEVICE, build::ARP, &octets);
            assert_eq!(bench.up(&frame), dropped(Reason::ArpSpoof), "{what}, unicast");
        }
    }
}

#[test]
fn a_host_that_was_heard_on_the_lan_keeps_its_address() {
    let mut bench = Bench::home();
    let octets = build::arp(1, PRINTER, PRINTER_V4, ROUTER_V4);
    let heard = build::ethernet(build::BROADCAST, PRINTER, build::ARP, &octets);
    assert_eq!(bench.down(&heard), Verdict::Pass);
    let poison = build::arp(2, DEVICE, PRINTER_V4, ROUTER_V4);
    assert_eq!(bench.up_arp(&poison), dropped(Reason::ArpSpoof));
    assert_eq!(bench.up_v4(&tcp_v4(PRINTER_V4)), dropped(Reason::SourceAddress));
    bench.wait(Duration::from_secs(3600));
    assert_eq!(bench.up_arp(&poison), dropped(Reason::ArpSpoof), "an hour later");
}

#[test]
fn a_device_resolves_probes_and_announces_its_own_addresses() {
    let mut bench = Bench::home();
    let nobody = Ipv4Addr::UNSPECIFIED;
    assert_eq!(bench.up_arp(&build::arp(1, DEVICE, nobody, OWN_V4)), Verdict::Pass, "probe");
    bench.lease(DEVICE, OWN_V4, 3600);
    for octets in [
        build::arp(1, DEVICE, OWN_V4, OWN_V4),
        build::arp(2, DEVICE, OWN_V4, OWN_V4),
        build::arp(1, DEVICE, OWN_V4, ROUTER_V4),
        build::arp(2, DEVICE, OWN_V4, PRINTER_V4),
        build::arp(1, DEVICE, nobody, OWN_V4),
        build::arp(1, DEVICE, Ipv4Addr::new(169, 254, 7, 7), ROUTER_V4),
    ] {
        assert_eq!(bench.up_arp(&octets), Verdict::Pass, "{octets:?}");
    }
}

#[test]
fn a_probe_that_would_make_a_probing_host_give_up_is_dropped() {
    let mut bench = Bench::home();
    let nobody = Ipv4Addr::UNSPECIFIED;
    let probe = build::arp(1, DEVICE, nobody, PRINTER_V4);
    assert_eq!(bench.up_arp(&probe), Verdict::Pass, "nobody asks for it");
    let heard = build::ethernet(
        build::BROADCAST,
        PRINTER,
        build::ARP,
        &build::arp(1, PRINTER, nobody, PRINTER_V4),
    );
    assert_eq!(bench.down(&heard), Verdict::Pass);
    assert_eq!(bench.up_arp(&probe), dropped(Reason::ArpSpoof));
    let answer = build::arp(2, DEVICE, PRINTER_V4, PRINTER_V4);
    assert_eq!(bench.up_arp(&answer), dropped(Reason::ArpSpoof), "nor does it get an answer");
    bench.wait(Duration::from_secs(11));
    assert_eq!(bench.up_arp(&probe), Verdict::Pass, "it did not take it");
}

#[test]
fn arp_that_is_no_arp_for_ipv4_on_ethernet_is_dropped() {
    let mut bench = Bench::home();
    let good = build::arp(1, DEVICE, OWN_V4, ROUTER_V4);
    for (at, octet) in [(1, 6), (2, 0x86), (4, 8), (5, 16), (7, 3), (7, 8), (6, 1)] {
        let mut octets = good.clone();
        octets[at] = octet;
        assert_eq!(bench.up_arp(&octets), dropped(Reason::Malformed), "{at}");
    }
}

fn nd(bench: &mut Bench, source: std::net::Ipv6Addr, message: &[u8]) -> Verdict {
    bench.up_v6(&build::ipv6(source, ALL_NODES_V6, 58, message))
}

#[test]
fn nobody_poisons_the_lans_neighbour_caches() {
    let mut bench = Bench::home();
    for (what, source, message) in [
        ("as the router", OWN_V6, build::advertisement(0x20, ROUTER_V6, Some(DEVICE))),
        ("from the router", ROUTER_V6, build::advertisement(0x20, OWN_V6, Some(DEVICE))),
        ("without override", OWN_V6, build::advertisement(0x40, ROUTER_V6, Some(DEVICE))),
        ("with another's MAC", OWN_V6, build::advertisement(0x20, OWN_V6, Some(PRINTER))),
        ("as a router", OWN_V6, build::advertisement(0x80 | 0x20, OWN_V6, Some(DEVICE))),
        ("for a group", OWN_V6, build::advertisement(0x20, ALL_NODES_V6, Some(DEVICE))),
        ("by asking as the router", ROUTER_V6, build::solicitation(OWN_V6, Some(DEVICE))),
        ("by asking with another's MAC", OWN_V6, build::solicitation(ROUTER_V6, Some(PRINTER))),
        ("by asking routers likewise", OWN_V6, build::router_solicitation(Some(PRINTER))),
    ] {
        assert_eq!(nd(&mut bench, source, &message), dropped(Reason::NeighbourSpoof), "{what}");
    }
    let probe = build::solicitation(OWN_V6, Some(DEVICE));
    let verdict = nd(&mut bench, std::net::Ipv6Addr::UNSPECIFIED, &probe);
    assert_eq!(verdict, dropped(Reason::NeighbourSpoof), "a probe says no MAC");
}

#[test]
fn a_second_link_layer_address_in_one_message_is_looked_at_too() {
    let mut bench = Bench::home();
    let mut message = build::advertisement(0x20, OWN_V6, Some(DEVICE));
    message.extend([2, 1]);
    message.extend(PRINTER.octets());
    assert_eq!(nd(&mut bench, OWN_V6, &message), dropped(Reason::NeighbourSpoof));
}

#[test]
fn options_that_do_not_add_up_are_dropped() {
    let mut bench = Bench::home();
    for options in [&[2, 0, 0, 0, 0, 0, 0, 0][..], &[2, 2, 0, 0, 0, 0, 0, 0], &[2], &[14, 1, 0]] {
        let message = [&build::advertisement(0x20, OWN_V6, None)[..], options].concat();
        assert_eq!(nd(&mut bench, OWN_V6, &message), dropped(Reason::Malformed), "{options:?}");
    }
    let mut message = build::advertisement(0x20, OWN_V6, None);
    message.extend([2, 2]);
    message.extend([0; 14]);
    assert_eq!(
        nd(&mut bench, OWN_V6, &message),
        dropped(Reason::NeighbourSpoof),
        "an address of another length"
    );
}

#[test]
fn a_device_finds_its_addresses_and_its_neighbours() {
    let mut bench = Bench::home();
    let nobody = std::net::Ipv6Addr::UNSPECIFIED;
    for (what, source, message) in [
        ("probes its link-local address", nobody, build::solicitation(OWN_LINK_LOCAL, None)),
        ("asks for routers before it has one", nobody, build::router_solicitation(None)),
        ("asks for routers", OWN_LINK_LOCAL, build::router_solicitation(Some(DEVICE))),
        ("probes SLAAC's address", nobody, build::solicitation(OWN_V6, None)),
        ("looks for the router", OWN_V6, build::solicitation(ROUTER_V6, Some(DEVICE))),
        ("is found", OWN_V6, build::advertisement(0x60, OWN_V6, Some(DEVICE))),
        ("is found by its other address", OWN_LINK_LOCAL, build::advertisement(0x40, OWN_V6, None)),
        ("announces itself", OWN_V6, build::advertisement(0x20, OWN_V6, Some(DEVICE))),
    ] {
        assert_eq!(nd(&mut bench, source, &message), Verdict::Pass, "{what}");
    }
}

#[test]
fn neighbours_heard_by_their_advertisements_keep_their_addresses() {
    let mut bench = Bench::home();
    let printers: std::net::Ipv6Addr = "2001:db8:1::20".parse().unwrap();
    let says = |bench: &mut Bench, source, message: &[u8]| {
        let packet = build::ipv6(source, ALL_NODES_V6, 58, message);
        let frame = build::ethernet(build::ALL_NODES, PRINTER, build::IPV6, &packet);
        assert_eq!(bench.down(&frame), Verdict::Pass);
    };
    let claim = build::advertisement(0x20, printers, Some(DEVICE));
    says(&mut bench, printers, &build::advertisement(0x20, printers, Some(PRINTER)));
    assert_eq!(nd(&mut bench, OWN_V6, &claim), dropped(Reason::NeighbourSpoof));

    let asking: std::net::Ipv6Addr = "2001:db8:1::21".parse().unwrap();
    says(&mut bench, asking, &build::solicitation(OWN_V6, Some(PRINTER)));
    let claim = build::advertisement(0x20, asking, Some(DEVICE));
    assert_eq!(nd(&mut bench, OWN_V6, &claim), dropped(Reason::NeighbourSpoof));

    let probing: std::net::Ipv6Addr = "2001:db8:1::22".parse().unwrap();
    says(&mut bench, std::net::Ipv6Addr::UNSPECIFIED, &build::solicitation(probing, None));
    let claim = build::advertisement(0x20, probing, Some(DEVICE));
    assert_eq!(nd(&mut bench, OWN_V6, &claim), dropped(Reason::NeighbourSpoof));
    let probe = build::solicitation(probing, None);
    let verdict = nd(&mut bench, std::net::Ipv6Addr::UNSPECIFIED, &probe);
    assert_eq!(verdict, dropped(Reason::NeighbourSpoof), "both would give it up");

    let second_router: std::net::Ipv6Addr = "fe80::2".parse().unwrap();
    says(&mut bench, second_router, &build::router_advertisement());
    let claim = build::advertisement(0x20, second_router, Some(DEVICE));
    assert_eq!(nd(&mut bench, OWN_V6, &claim), dropped(Reason::NeighbourSpoof), "a router's");
}

#[test]
fn one_device_of_a_port_does_not_take_anothers_address() {
    let mut bench = Bench::home();
    bench.lease(OTHER_DEVICE, PRINTER_V4, 3600);
    let poison = build::arp(2, DEVICE, PRINTER_V4, ROUTER_V4);
    assert_eq!(bench.up_arp(&poison), dropped(Reason::ArpSpoof));
    assert_eq!(bench.up_v4(&tcp_v4(PRINTER_V4)), dropped(Reason::SourceAddress));
    let own = build::ethernet(
        build::BROADCAST,
        OTHER_DEVICE,
        build::ARP,
        &build::arp(2, OTHER_DEVICE, PRINTER_V4, ROUTER_V4),
    );
    assert_eq!(bench.up(&own), Verdict::Pass);
}

#[test]
fn the_machines_neighbour_table_may_say_the_devices_own_addresses() {
    let mut settings = super::settings();
    for (address, mac) in [(OWN_V4, DEVICE), (PRINTER_V4, PRINTER)] {
        let known = homeward_port::Neighbour { address: address.into(), mac: Some(mac) };
        settings.protected.push(known);
    }
    let unresolved = Ipv4Addr::new(192, 168, 1, 77);
    settings.protected.push(homeward_port::Neighbour { address: unresolved.into(), mac: None });
    let mut bench = Bench::with(settings);
    assert_eq!(bench.up_v4(&tcp_v4(OWN_V4)), Verdict::Pass);
    assert_eq!(bench.up_v4(&tcp_v4(PRINTER_V4)), dropped(Reason::SourceAddress));
    assert_eq!(bench.up_v4(&tcp_v4(unresolved)), dropped(Reason::SourceAddress));
}

#[test]
fn a_mac_of_the_devices_in_arp_on_its_behalf_makes_nobody_else_the_owner() {
    let mut bench = Bench::home();
    let agent = Mac::new([2, 0, 0, 0, 0xff, 9]);
    let octets = build::arp(2, DEVICE, OWN_V4, ROUTER_V4);
    let frame = build::ethernet(build::BROADCAST, agent, build::ARP, &octets);
    assert_eq!(bench.down(&frame), Verdict::Pass);
    assert_eq!(bench.up_v4(&tcp_v4(OWN_V4)), Verdict::Pass);
}
