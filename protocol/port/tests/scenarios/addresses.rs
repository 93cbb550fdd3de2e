//! Which addresses are a device's: leases, first use, hand-over; and DHCP clients that lie.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use homeward_port::testing::{ROUTER_V4, build};
use homeward_port::{
    AddressPolicy, Binding, MAX_IPV4, MAX_IPV6, Neighbour, Origin, Reason, Settings, Verdict,
};

use super::{
    Bench, DEVICE, INTERNET_V4, OTHER_DEVICE, OWN_LINK_LOCAL, OWN_V4, OWN_V6, PRINTER, PRINTER_V4,
    ROUTER, ROUTER_V6, STRANGER, dropped, settings, tcp_v4, tcp_v6,
};

fn v4(last: u8) -> Ipv4Addr {
    Ipv4Addr::new(192, 168, 1, last)
}

fn v6(last: u16) -> Ipv6Addr {
    Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, last)
}

/// What the device sends to a DHCP server.
fn client(bench: &mut Bench, source: Ipv4Addr, message: &build::Dhcp) -> Verdict {
    let udp = build::udp(68, 67, &message.octets());
    let packet = build::ipv4(source, Ipv4Addr::BROADCAST, 17, &udp);
    bench.up(&build::ethernet(build::BROADCAST, DEVICE, build::IPV4, &packet))
}

/// What a DHCP server sends to everybody.
fn server(bench: &mut Bench, message: &build::Dhcp) -> Verdict {
    let udp = build::udp(67, 68, &message.octets());
    let packet = build::ipv4(ROUTER_V4, Ipv4Addr::BROADCAST, 17, &udp);
    bench.down(&build::ethernet(build::BROADCAST, ROUTER, build::IPV4, &packet))
}

#[test]
fn a_device_that_got_its_lease_before_the_tunnel_existed_goes_on_working() {
    let mut bench = Bench::home();
    assert_eq!(bench.up_v4(&tcp_v4(OWN_V4)), Verdict::Pass);
    assert_eq!(bench.up_arp(&build::arp(1, DEVICE, OWN_V4, ROUTER_V4)), Verdict::Pass);
    assert_eq!(bench.bound(DEVICE), [("192.168.1.50".to_owned(), Origin::Seen)]);
}

#[test]
fn a_lease_fixes_the_address() {
    let mut bench = Bench::home();
    assert_eq!(bench.up_v4(&tcp_v4(v4(60))), Verdict::Pass, "before");
    bench.lease(DEVICE, OWN_V4, 3600);
    assert_eq!(bench.bound(DEVICE), [("192.168.1.50".to_owned(), Origin::Dhcp)]);
    assert_eq!(bench.up_v4(&tcp_v4(OWN_V4)), Verdict::Pass);
    for other in [v4(60), v4(61), PRINTER_V4, INTERNET_V4] {
        assert_eq!(bench.up_v4(&tcp_v4(other)), dropped(Reason::SourceAddress), "{other}");
        let arp = build::arp(1, DEVICE, other, ROUTER_V4);
        assert_eq!(bench.up_arp(&arp), dropped(Reason::ArpSpoof), "{other}");
    }
    assert_eq!(bench.up_v4(&tcp_v4(Ipv4Addr::new(169, 254, 1, 1))), Verdict::Pass, "link-local");
    assert_eq!(bench.up_v6(&tcp_v6(OWN_V6)), Verdict::Pass, "IPv6 is another matter");
}

#[test]
fn a_lease_ends_when_its_time_is_over_and_goes_on_when_it_is_renewed() {
    let mut bench = Bench::home();
    bench.lease(DEVICE, OWN_V4, 100);
    bench.wait(Duration::from_secs(50));
    bench.lease(DEVICE, OWN_V4, 100);
    bench.wait(Duration::from_secs(99));
    assert_eq!(bench.up_v4(&tcp_v4(v4(60))), dropped(Reason::SourceAddress));
    bench.wait(Duration::from_secs(1));
    assert_eq!(bench.bound(DEVICE), []);
    assert_eq!(bench.up_v4(&tcp_v4(v4(60))), Verdict::Pass, "first come, first served again");
}

#[test]
fn a_lease_for_ever_does_not_end() {
    let mut bench = Bench::home();
    bench.lease(DEVICE, OWN_V4, u32::MAX);
    bench.wait(Duration::from_secs(1 << 33));
    assert_eq!(bench.up_v4(&tcp_v4(v4(60))), dropped(Reason::SourceAddress));
}

#[test]
fn a_lease_counts_for_the_client_it_names_and_is_not_shown_to_others() {
    let mut bench = Bench::home();
    assert_eq!(server(&mut bench, &build::Dhcp::ack(DEVICE, OWN_V4, 60)), Verdict::Pass);
    assert_eq!(bench.bound(DEVICE), [("192.168.1.50".to_owned(), Origin::Dhcp)]);
    let others = build::Dhcp::ack(PRINTER, PRINTER_V4, 60);
    assert_eq!(server(&mut bench, &others), dropped(Reason::NotForIt));
    // Unicast to one device, about another: teaches nothing.
    let ack = build::udp(67, 68, &build::Dhcp::ack(OTHER_DEVICE, v4(70), 60).octets());
    let packet = build::ipv4(ROUTER_V4, v4(70), 17, &ack);
    assert_eq!(bench.down(&build::ethernet(DEVICE, ROUTER, build::IPV4, &packet)), Verdict::Pass);
    assert_eq!(bench.bound(OTHER_DEVICE), []);
}

#[test]
fn only_an_acknowledgement_binds() {
    let mut bench = Bench::home();
    let ack = build::Dhcp::ack(DEVICE, OWN_V4, 60);
    for message in [
        build::Dhcp { kind: 2, ..ack.clone() },
        build::Dhcp { operation: 1, ..ack.clone() },
        build::Dhcp { given: Ipv4Addr::UNSPECIFIED, ..ack.clone() },
        build::Dhcp { given: Ipv4Addr::new(224, 0, 0, 9), ..ack.clone() },
    ] {
        assert_eq!(server(&mut bench, &message), Verdict::Pass);
        assert_eq!(bench.bound(DEVICE), [], "{message:?}");
    }
}

#[test]
fn a_refusal_by_the_server_ends_the_lease() {
    let mut bench = Bench::home();
    bench.lease(DEVICE, OWN_V4, 3600);
    let refusal = build::Dhcp { operation: 2, ..build::Dhcp::client(6, DEVICE) };
    assert_eq!(server(&mut bench, &refusal), Verdict::Pass);
    assert_eq!(bench.bound(DEVICE), []);
}

#[test]
fn a_lease_takes_the_address_from_whoever_had_it_before() {
    let mut bench = Bench::home();
    let frame = build::ethernet(
        build::BROADCAST,
        PRINTER,
        build::ARP,
        &build::arp(1, PRINTER, PRINTER_V4, ROUTER_V4),
    );
    assert_eq!(bench.down(&frame), Verdict::Pass);
    bench.lease(OTHER_DEVICE, PRINTER_V4, 3600);
    bench.lease(DEVICE, PRINTER_V4, 3600);
    assert_eq!(bench.up_v4(&tcp_v4(PRINTER_V4)), Verdict::Pass);
    assert_eq!(bench.bound(OTHER_DEVICE), []);
}

#[test]
fn a_device_that_was_heard_elsewhere_may_have_another_lease_by_now() {
    let mut bench = Bench::home();
    bench.lease(DEVICE, OWN_V4, 3600);
    assert_eq!(bench.up_v4(&tcp_v4(v4(60))), dropped(Reason::SourceAddress));
    let octets = build::arp(1, DEVICE, v4(60), ROUTER_V4);
    let home = build::ethernet(build::BROADCAST, DEVICE, build::ARP, &octets);
    assert_eq!(bench.down(&home), dropped(Reason::Echo));
    assert_eq!(bench.up_v4(&tcp_v4(v4(60))), Verdict::Pass);
    assert_eq!(bench.up_v4(&tcp_v4(ROUTER_V4)), dropped(Reason::SourceAddress));
}

/// A server that gives away the router's address is wrong, but it is the home's; once it may have
/// thought better of it, nobody is to keep the address.
#[test]
fn a_lease_of_the_routers_address_is_over_when_the_device_was_heard_elsewhere() {
    let mut bench = Bench::home();
    bench.lease(DEVICE, ROUTER_V4, 3600);
    assert_eq!(bench.up_v4(&tcp_v4(ROUTER_V4)), Verdict::Pass);
    let octets = build::arp(1, DEVICE, v4(60), ROUTER_V4);
    let home = build::ethernet(build::BROADCAST, DEVICE, build::ARP, &octets);
    assert_eq!(bench.down(&home), dropped(Reason::Echo));
    assert_eq!(bench.bound(DEVICE), []);
    assert_eq!(bench.up_v4(&tcp_v4(ROUTER_V4)), dropped(Reason::SourceAddress));
}

#[test]
fn a_device_asks_for_renews_and_gives_back_its_lease() {
    let mut bench = Bench::home();
    let nobody = Ipv4Addr::UNSPECIFIED;
    assert_eq!(client(&mut bench, nobody, &build::Dhcp::client(1, DEVICE)), Verdict::Pass);
    let mut request = build::Dhcp::client(3, DEVICE);
    request.options = [&[50, 4][..], &OWN_V4.octets(), &[61, 7, 1], &DEVICE.octets()].concat();
    assert_eq!(client(&mut bench, nobody, &request), Verdict::Pass);
    bench.lease(DEVICE, OWN_V4, 3600);
    let renewal = build::Dhcp { has: OWN_V4, ..build::Dhcp::client(3, DEVICE) };
    assert_eq!(client(&mut bench, OWN_V4, &renewal), Verdict::Pass);
    let release = build::Dhcp { has: OWN_V4, ..build::Dhcp::client(7, DEVICE) };
    assert_eq!(client(&mut bench, OWN_V4, &release), Verdict::Pass);
    assert_eq!(bench.bound(DEVICE), []);
}

#[test]
fn a_client_that_speaks_for_another_is_not_heard() {
    let mut bench = Bench::settled();
    let nobody = Ipv4Addr::UNSPECIFIED;
    let own = build::Dhcp::client(3, DEVICE);
    let with = |options: &[u8]| build::Dhcp { options: options.to_vec(), ..own.clone() };
    let printer = PRINTER.octets();
    for (what, message) in [
        ("another's hardware address", build::Dhcp::client(1, PRINTER)),
        ("another device's", build::Dhcp::client(1, OTHER_DEVICE)),
        ("a server's operation", build::Dhcp { operation: 2, ..own.clone() }),
        ("through a relay", build::Dhcp { relay: v4(9), ..own.clone() }),
        ("with a relay's option", with(&[82, 2, 1, 0])),
        ("another's identifier", with(&[&[61, 7, 1][..], &printer].concat())),
        ("two message types", with(&[53, 1, 7])),
        ("a cut option", with(&[50, 200, 1])),
        ("options in other fields", with(&[52, 1, 3])),
    ] {
        assert_eq!(client(&mut bench, nobody, &message), dropped(Reason::DhcpClient), "{what}");
    }
    let udp = build::udp(68, 67, &own.octets()[..235]);
    let packet = build::ipv4(nobody, Ipv4Addr::BROADCAST, 17, &udp);
    assert_eq!(bench.up_v4(&packet), dropped(Reason::DhcpClient), "cut");
    let packet = build::ipv4_fragment(
        nobody,
        Ipv4Addr::BROADCAST,
        17,
        0x2000,
        &build::udp(68, 67, &own.octets()),
    );
    assert_eq!(bench.up_v4(&packet), dropped(Reason::Fragment));
    let relayed = build::ipv6(OWN_V6, ROUTER_V6, 17, &build::udp(546, 547, &[12; 40]));
    assert_eq!(bench.up_v6(&relayed), dropped(Reason::DhcpClient), "an IPv6 relay");
}

#[test]
fn nobody_gives_back_anothers_lease() {
    let mut bench = Bench::home();
    let frame = build::ethernet(
        build::BROADCAST,
        PRINTER,
        build::ARP,
        &build::arp(1, PRINTER, PRINTER_V4, ROUTER_V4),
    );
    assert_eq!(bench.down(&frame), Verdict::Pass);
    bench.lease(OTHER_DEVICE, v4(70), 3600);
    bench.lease(DEVICE, OWN_V4, 3600);
    for victim in [ROUTER_V4, PRINTER_V4, v4(70)] {
        let release = build::Dhcp { has: victim, ..build::Dhcp::client(7, DEVICE) };
        assert_eq!(client(&mut bench, OWN_V4, &release), dropped(Reason::DhcpClient), "{victim}");
        let options = [&[50, 4][..], &victim.octets()].concat();
        let decline = build::Dhcp { options, ..build::Dhcp::client(4, DEVICE) };
        let verdict = client(&mut bench, Ipv4Addr::UNSPECIFIED, &decline);
        assert_eq!(verdict, dropped(Reason::DhcpClient), "{victim}");
    }
}

#[test]
fn strangers_do_not_hear_who_asks_for_a_lease() {
    let mut bench = Bench::home();
    let udp = build::udp(68, 67, &build::Dhcp::client(1, PRINTER).octets());
    let packet = build::ipv4(Ipv4Addr::UNSPECIFIED, Ipv4Addr::BROADCAST, 17, &udp);
    let frame = build::ethernet(build::BROADCAST, PRINTER, build::IPV4, &packet);
    assert_eq!(bench.down(&frame), dropped(Reason::DhcpClient));
    let udp = build::udp(546, 547, &[1, 0, 0, 1]);
    let packet = build::ipv6(v6(20), super::ALL_NODES_V6, 17, &udp);
    let frame = build::ethernet(build::ALL_NODES, PRINTER, build::IPV6, &packet);
    assert_eq!(bench.down(&frame), dropped(Reason::DhcpClient));
}

#[test]
fn a_dhcpv6_reply_binds_for_its_valid_lifetime_and_a_lifetime_of_zero_ends_it() {
    let settings = Settings { addresses: AddressPolicy::Assigned, ..settings() };
    let mut bench = Bench::with(settings);
    let reply = |bench: &mut Bench, seconds| {
        let udp = build::udp(547, 546, &build::dhcpv6_reply(OWN_V6, seconds));
        let packet = build::ipv6(ROUTER_V6, OWN_LINK_LOCAL, 17, &udp);
        let frame = build::ethernet(DEVICE, ROUTER, build::IPV6, &packet);
        assert_eq!(bench.down(&frame), Verdict::Pass);
    };
    assert_eq!(bench.up_v6(&tcp_v6(OWN_V6)), dropped(Reason::SourceAddress));
    reply(&mut bench, 100);
    assert_eq!(bench.up_v6(&tcp_v6(OWN_V6)), Verdict::Pass);
    bench.wait(Duration::from_secs(100));
    assert_eq!(bench.up_v6(&tcp_v6(OWN_V6)), dropped(Reason::SourceAddress));
    reply(&mut bench, 100);
    reply(&mut bench, 0);
    assert_eq!(bench.up_v6(&tcp_v6(OWN_V6)), dropped(Reason::SourceAddress));
}

#[test]
fn where_only_assigned_addresses_count_nothing_else_passes_but_link_local() {
    let settings = Settings { addresses: AddressPolicy::Assigned, ..settings() };
    let mut bench = Bench::with(settings);
    assert_eq!(bench.up_v4(&tcp_v4(OWN_V4)), dropped(Reason::SourceAddress));
    assert_eq!(bench.up_v6(&tcp_v6(OWN_V6)), dropped(Reason::SourceAddress));
    assert_eq!(bench.up_v6(&tcp_v6(OWN_LINK_LOCAL)), Verdict::Pass);
    assert_eq!(bench.up_v6(&tcp_v6(ROUTER_V6)), dropped(Reason::SourceAddress));
    bench.lease(DEVICE, OWN_V4, 60);
    assert_eq!(bench.up_v4(&tcp_v4(OWN_V4)), Verdict::Pass);
}

#[test]
fn addresses_that_no_host_can_have_are_not_sources() {
    let mut bench = Bench::home();
    for source in ["0.0.0.0", "0.0.0.1", "127.0.0.1", "224.0.0.1", "240.0.0.1", "255.255.255.255"] {
        let packet = tcp_v4(source.parse().unwrap());
        assert_eq!(bench.up_v4(&packet), dropped(Reason::SourceAddress), "{source}");
    }
    for source in ["::", "::1", "ff02::1", "::ffff:192.168.1.50"] {
        let packet = tcp_v6(source.parse().unwrap());
        assert_eq!(bench.up_v6(&packet), dropped(Reason::SourceAddress), "{source}");
    }
}

#[test]
fn a_device_has_a_bounded_number_of_addresses_and_those_in_use_stay() {
    let mut bench = Bench::home();
    for n in 0..MAX_IPV4 as u8 {
        assert_eq!(bench.up_v4(&tcp_v4(v4(100 + n))), Verdict::Pass);
    }
    for n in 0..MAX_IPV6 as u16 {
        assert_eq!(bench.up_v6(&tcp_v6(v6(n + 1))), Verdict::Pass);
    }
    assert_eq!(bench.up_v4(&tcp_v4(v4(200))), dropped(Reason::AddressLimit));
    assert_eq!(bench.up_v6(&tcp_v6(v6(200))), dropped(Reason::AddressLimit));
    bench.wait(Duration::from_secs(299));
    assert_eq!(bench.up_v6(&tcp_v6(v6(1))), Verdict::Pass);
    assert_eq!(bench.up_v6(&tcp_v6(v6(200))), dropped(Reason::AddressLimit));
    bench.wait(Duration::from_secs(1));
    assert_eq!(bench.up_v6(&tcp_v6(v6(200))), Verdict::Pass, "in place of one unused for 5 min");
    let bound = bench.bound(DEVICE);
    assert_eq!(bound.len(), MAX_IPV4 + MAX_IPV6);
    let has = |address: Ipv6Addr| bound.iter().any(|(bound, _)| *bound == address.to_string());
    assert!(has(v6(1)) && !has(v6(2)) && has(v6(3)), "the one unused longest went: {bound:?}");
}

#[test]
fn a_host_of_the_lan_gets_an_address_back_that_a_device_no_longer_uses() {
    let mut bench = Bench::home();
    assert_eq!(bench.up_v4(&tcp_v4(PRINTER_V4)), Verdict::Pass);
    let octets = build::arp(1, PRINTER, PRINTER_V4, ROUTER_V4);
    let says = build::ethernet(build::BROADCAST, PRINTER, build::ARP, &octets);
    assert_eq!(bench.down(&says), Verdict::Pass);
    assert_eq!(bench.up_v4(&tcp_v4(PRINTER_V4)), Verdict::Pass, "who came first keeps it");
    bench.wait(Duration::from_secs(300));
    assert_eq!(bench.down(&says), Verdict::Pass);
    assert_eq!(bench.up_v4(&tcp_v4(PRINTER_V4)), dropped(Reason::SourceAddress));
}

#[test]
fn bindings_are_handed_from_one_port_to_the_next() {
    let mut bench = Bench::home();
    bench.lease(DEVICE, OWN_V4, 3600);
    assert_eq!(bench.up_v6(&tcp_v6(OWN_V6)), Verdict::Pass);
    let bindings: Vec<Binding> = bench.port.bindings(bench.now).collect();
    let mut settings = settings();
    for device in &mut settings.devices {
        device.bindings.clone_from(&bindings);
    }
    let mut next = Bench::with(settings);
    assert_eq!(next.port.bindings(next.now).collect::<Vec<_>>(), bindings);
    assert_eq!(next.up_v4(&tcp_v4(v4(60))), dropped(Reason::SourceAddress));
}

#[test]
fn other_settings_keep_what_was_learned_but_for_what_is_protected_now() {
    let mut bench = Bench::home();
    bench.lease(DEVICE, OWN_V4, 3600);
    assert_eq!(bench.up_v6(&tcp_v6(v6(1))), Verdict::Pass);
    assert_eq!(bench.up_v6(&tcp_v6(v6(2))), Verdict::Pass);
    let mut changed = settings();
    changed.devices.retain(|device| device.mac == DEVICE);
    changed.protected.push(Neighbour { address: v6(1).into(), mac: Some(STRANGER) });
    bench.port.reconfigure(changed, bench.now);
    assert_eq!(bench.up_v4(&tcp_v4(v4(60))), dropped(Reason::SourceAddress), "the lease");
    assert_eq!(bench.up_v6(&tcp_v6(v6(1))), dropped(Reason::SourceAddress), "protected");
    assert_eq!(bench.up_v6(&tcp_v6(v6(2))), Verdict::Pass);
    assert_eq!(bench.port.devices().collect::<Vec<_>>(), [DEVICE]);
    let other = build::ethernet(ROUTER, OTHER_DEVICE, build::IPV4, &tcp_v4(v4(80)));
    assert_eq!(bench.up(&other), dropped(Reason::SourceMac), "no longer a device of the port");
}
