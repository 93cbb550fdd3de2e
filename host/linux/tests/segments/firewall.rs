//! What strangers may reach, in a network namespace that each test makes for itself. Needs `nft`.
//!
//! ```text
//!   roamer 10.9.0.2 ── segment (bridge, 10.9.0.1) ┐
//!   neighbour 10.9.0.3 ──┘                        ├ gateway ── wan (203.0.113.1) ── internet
//!   owner 192.168.1.20 ── lan (192.168.1.1) ──────┘
//! ```

use std::net::UdpSocket;
use std::process::Command;

use crate::inside::{
    Plug, arp_request, in_namespace, ipv4, is_arp_reply, mac_of, marker, reached, run, udp,
};
use homeward_linux::firewall::{Support, TABLE};
use homeward_linux::{Breakout, Firewall, Rules};
use homeward_model::Mac;

const ROAMER: (Mac, [u8; 4]) = (Mac::new([2, 0, 0, 0, 0, 2]), [10, 9, 0, 2]);
const NEIGHBOUR: (Mac, [u8; 4]) = (Mac::new([2, 0, 0, 0, 0, 3]), [10, 9, 0, 3]);
const OWNER: (Mac, [u8; 4]) = (Mac::new([2, 0, 0, 0, 0, 4]), [192, 168, 1, 20]);
const INTERNET: (Mac, [u8; 4]) = (Mac::new([2, 0, 0, 0, 0, 5]), [203, 0, 113, 9]);
const SERVER: [u8; 4] = [198, 51, 100, 7];
const SEGMENT: [u8; 4] = [10, 9, 0, 1];
const LAN: [u8; 4] = [192, 168, 1, 1];
const WAN: [u8; 4] = [203, 0, 113, 1];

/// The gateway's three sides, each with a plug in the test's hand.
struct Gateway {
    roamer: Plug,
    neighbour: Plug,
    owner: Plug,
    internet: Plug,
}

impl Gateway {
    fn new() -> Self {
        run("ip link set lo up");
        run("ip link add segment type bridge forward_delay 0 mcast_snooping 0");
        let [roamer, neighbour] = ["roamer", "neighbour"].map(|port| {
            let plug = Plug::cable(port);
            run(&format!("ip link set {port} master segment"));
            plug
        });
        let [owner, internet] = ["lan", "wan"].map(Plug::cable);
        for (interface, address, (mac, host)) in
            [("segment", SEGMENT, ROAMER), ("lan", LAN, OWNER), ("wan", WAN, INTERNET)]
        {
            run(&format!("ip link set {interface} up"));
            run(&format!("ip addr add {}/24 dev {interface}", dotted(address)));
            let (host, mac) = (dotted(host), mac.full());
            run(&format!("ip neigh add {host} lladdr {mac} dev {interface} nud permanent"));
        }
        run("ip route add default via 203.0.113.9 dev wan");
        std::fs::write("/proc/sys/net/ipv4/ip_forward", "1").unwrap();
        Self { roamer, neighbour, owner, internet }
    }

    fn rules() -> Rules {
        Rules {
            bridge_prefix: None,
            breakout: Some(Breakout {
                segment: "segment".to_owned(),
                uplinks: vec!["wan".to_owned()],
                forbidden: vec![([203, 0, 113, 0].into(), 24)],
            }),
        }
    }

    /// What comes to the owner when the roamer sends: until an answer to a question asked after.
    fn owner_gets(&self) -> Vec<Vec<u8>> {
        gets(&self.owner, OWNER, LAN)
    }

    fn internet_gets(&self) -> Vec<Vec<u8>> {
        gets(&self.internet, INTERNET, WAN)
    }

    fn roamer_gets(&self) -> Vec<Vec<u8>> {
        gets(&self.roamer, ROAMER, SEGMENT)
    }

    fn roamer_sends(&self, to: [u8; 4], protocol: u8, payload: &[u8]) {
        self.roamer.send(&ipv4(ROAMER, (mac_of("segment"), to), protocol, payload));
    }
}

/// The IPv4 packets that a plug gets before the gateway answers a question for its address.
fn gets(plug: &Plug, (mac, own): (Mac, [u8; 4]), gateway: [u8; 4]) -> Vec<Vec<u8>> {
    plug.send(&arp_request(mac, own, gateway));
    let mut frames = plug.receive_while(|frame| !is_arp_reply(frame, gateway));
    frames.retain(|frame| frame[12..14] == [8, 0]);
    frames
}

fn dotted([a, b, c, d]: [u8; 4]) -> String {
    format!("{a}.{b}.{c}.{d}")
}

/// A service of the gateway, on all its addresses.
fn service(port: u16) -> UdpSocket {
    let socket = UdpSocket::bind(("0.0.0.0", port)).unwrap();
    socket.set_nonblocking(true).unwrap();
    socket
}

fn heard(socket: &UdpSocket) -> bool {
    socket.recv_from(&mut [0; 64]).is_ok()
}

/// Source and destination of an IPv4 packet in a frame.
fn between(frame: &[u8]) -> ([u8; 4], [u8; 4]) {
    (frame[26..30].try_into().unwrap(), frame[30..34].try_into().unwrap())
}

#[test]
fn a_stranger_on_a_bridge_of_ours_reaches_nothing_of_the_gateway() {
    in_namespace("firewall::a_stranger_on_a_bridge_of_ours_reaches_nothing_of_the_gateway", || {
        run("ip link add lan type bridge");
        run("ip addr add 192.168.1.1/24 dev lan");
        run("ip link set lan up");
        // An ordinary bridge: what holds here holds by the firewall alone.
        run("ip link add hwb7 type bridge forward_delay 0");
        run("ip link set hwb7 up");
        let [left, right] = ["left", "right"].map(|port| {
            let plug = Plug::cable(port);
            run(&format!("ip link set {port} master hwb7"));
            plug
        });
        let firewall = Firewall::default();
        let rules = Rules { bridge_prefix: Some("hwb".to_owned()), breakout: None };
        for _ in 0..2 {
            assert_eq!(reached("hwb7", &left, &right, LAN), (true, true), "without rules");
            firewall.apply(&rules).unwrap();
            firewall.apply(&rules).unwrap();
            run("ip neigh flush dev hwb7");
            assert_eq!(reached("hwb7", &left, &right, LAN), (false, false), "with them");
            assert_eq!(run("ip neigh show dev hwb7"), "", "nor does the gateway learn of it");
            firewall.remove().unwrap();
            firewall.remove().unwrap();
        }
        let others = Rules { bridge_prefix: Some("hwx".to_owned()), breakout: None };
        firewall.apply(&others).unwrap();
        assert_eq!(reached("hwb7", &left, &right, LAN), (true, true), "another prefix");
    });
}

#[test]
fn the_gateway_sends_nothing_into_a_bridge_of_ours_and_routes_nothing_through_it() {
    let name =
        "firewall::the_gateway_sends_nothing_into_a_bridge_of_ours_and_routes_nothing_through_it";
    in_namespace(name, || {
        let gateway = Gateway::new();
        let rules = Rules { bridge_prefix: Some("segm".to_owned()), breakout: None };
        let sends = |to: &str| {
            let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
            let _ = socket.send_to(b"hello", (to, 9));
            let packets = gateway.roamer.receive_after(&gateway.neighbour, &marker(NEIGHBOUR.0, 1));
            packets.iter().any(|frame| frame[12..14] == [8, 0])
        };
        assert!(sends("10.9.0.2"));
        gateway.roamer_sends(SERVER, 17, &udp(1000, 53, b"?"));
        assert_eq!(gateway.internet_gets().len(), 1);
        Firewall::default().apply(&rules).unwrap();
        assert!(!sends("10.9.0.2"));
        gateway.roamer_sends(SERVER, 17, &udp(1000, 53, b"?"));
        assert!(gateway.internet_gets().is_empty());
        let packet = ipv4(OWNER, (mac_of("lan"), ROAMER.1), 17, &udp(1000, 53, b"?"));
        gateway.owner.send(&packet);
        let frames = gateway.roamer.receive_after(&gateway.neighbour, &marker(NEIGHBOUR.0, 2));
        assert!(frames.iter().all(|frame| frame[12..14] != [8, 0]), "{frames:?}");
    });
}

#[test]
fn a_roamer_reaches_the_internet_under_the_gateways_address_and_is_answered() {
    in_namespace(
        "firewall::a_roamer_reaches_the_internet_under_the_gateways_address_and_is_answered",
        || {
            let gateway = Gateway::new();
            Firewall::default().apply(&Gateway::rules()).unwrap();
            gateway.roamer_sends(SERVER, 17, &udp(4000, 5000, b"question"));
            let packets = gateway.internet_gets();
            assert_eq!(packets.len(), 1);
            assert_eq!(between(&packets[0]), (WAN, SERVER), "masqueraded");
            let port = u16::from_be_bytes(packets[0][34..36].try_into().unwrap());
            let answer = udp(5000, port, b"answer");
            let from_server = (INTERNET.0, SERVER);
            gateway.internet.send(&ipv4(from_server, (mac_of("wan"), WAN), 17, &answer));
            let packets = gateway.roamer_gets();
            assert_eq!(packets.len(), 1);
            assert_eq!(between(&packets[0]), (SERVER, ROAMER.1));
            // The same answer from the LAN is a lie.
            for interface in ["all", "lan"] {
                std::fs::write(format!("/proc/sys/net/ipv4/conf/{interface}/rp_filter"), "0")
                    .unwrap();
            }
            gateway.owner.send(&ipv4((OWNER.0, SERVER), (mac_of("lan"), WAN), 17, &answer));
            assert_eq!(gateway.roamer_gets(), Vec::<Vec<u8>>::new());
            // Nobody out there comes first: not to another port, not to the roamer's own address.
            let unsolicited = udp(5000, port ^ 1, b"hello");
            gateway.internet.send(&ipv4(from_server, (mac_of("wan"), WAN), 17, &unsolicited));
            gateway.internet.send(&ipv4(from_server, (mac_of("wan"), ROAMER.1), 17, &unsolicited));
            assert_eq!(gateway.roamer_gets(), Vec::<Vec<u8>>::new());
        },
    );
}

#[test]
fn a_roamer_and_the_owners_lan_do_not_meet_in_either_direction() {
    in_namespace("firewall::a_roamer_and_the_owners_lan_do_not_meet_in_either_direction", || {
        let gateway = Gateway::new();
        let meet = |number: u8| {
            gateway.roamer_sends(OWNER.1, 17, &udp(4000, 80, &[number]));
            let there = !gateway.owner_gets().is_empty();
            let packet =
                ipv4(OWNER, (mac_of("lan"), ROAMER.1), 17, &udp(9000, u16::from(number), b"?"));
            gateway.owner.send(&packet);
            (there, !gateway.roamer_gets().is_empty())
        };
        assert_eq!(meet(1), (true, true), "without rules");
        Firewall::default().apply(&Gateway::rules()).unwrap();
        assert_eq!(meet(2), (false, false));
    });
}

#[test]
fn private_and_forbidden_networks_behind_the_uplink_stay_out_of_reach() {
    in_namespace(
        "firewall::private_and_forbidden_networks_behind_the_uplink_stay_out_of_reach",
        || {
            let gateway = Gateway::new();
            run("ip route add 240.0.0.0/4 via 203.0.113.9 dev wan");
            let reaches = |to: [u8; 4]| {
                gateway.roamer_sends(to, 17, &udp(4000, 80, b"?"));
                !gateway.internet_gets().is_empty()
            };
            let targets = [
                [192, 168, 7, 1],
                [10, 1, 2, 3],
                [172, 31, 0, 1],
                [100, 64, 0, 1],
                [169, 254, 1, 1],
                [198, 18, 0, 1],
                INTERNET.1,
            ];
            Firewall::default().apply(&Gateway::rules()).unwrap();
            for target in targets {
                assert!(!reaches(target), "{target:?}");
            }
            assert!(reaches(SERVER));
            Firewall::default().remove().unwrap();
            for target in targets.into_iter().filter(|target| *target != [169, 254, 1, 1]) {
                assert!(reaches(target), "{target:?}, without rules");
            }
        },
    );
}

#[test]
fn of_the_gateway_a_roamer_gets_dhcp_and_dns_on_its_own_segment_only() {
    in_namespace(
        "firewall::of_the_gateway_a_roamer_gets_dhcp_and_dns_on_its_own_segment_only",
        || {
            let gateway = Gateway::new();
            Firewall::default().apply(&Gateway::rules()).unwrap();
            let [dhcp, dns, web] = [67, 53, 80].map(service);
            let asks = |from: [u8; 4], to: [u8; 4], source: u16, port: u16| {
                let roamer = (ROAMER.0, from);
                let mac = if to == [255; 4] { Mac::new([255; 6]) } else { mac_of("segment") };
                gateway.roamer.send(&ipv4(roamer, (mac, to), 17, &udp(source, port, b"?")));
                gateway.roamer_gets()
            };
            asks([0; 4], [255; 4], 68, 67);
            assert!(heard(&dhcp), "a lease asked for");
            asks(ROAMER.1, SEGMENT, 68, 67);
            assert!(heard(&dhcp), "a lease renewed");
            asks(ROAMER.1, SEGMENT, 4000, 53);
            assert!(heard(&dns), "a name asked for");
            for other in [LAN, WAN] {
                asks(ROAMER.1, other, 4000, 53);
                assert!(!heard(&dns), "at another of the gateway's addresses");
            }
            asks([10, 8, 0, 2], SEGMENT, 4000, 53);
            assert!(!heard(&dns), "from an address of no segment");
            asks(OWNER.1, SEGMENT, 4000, 53);
            assert!(!heard(&dns), "from an address of the LAN");
            for to in [SEGMENT, LAN, WAN] {
                assert!(asks(ROAMER.1, to, 4000, 80).is_empty(), "not even a refusal");
                assert!(!heard(&web), "another service");
                assert!(asks(ROAMER.1, to, 4000, 9999).is_empty(), "no sign of a closed port");
            }
            Firewall::default().remove().unwrap();
            asks(ROAMER.1, LAN, 4000, 80);
            assert!(heard(&web), "without rules");
        },
    );
}

#[test]
fn a_roamer_with_a_spoofed_source_sends_nothing_to_the_internet() {
    in_namespace("firewall::a_roamer_with_a_spoofed_source_sends_nothing_to_the_internet", || {
        let gateway = Gateway::new();
        Firewall::default().apply(&Gateway::rules()).unwrap();
        for source in [OWNER.1, WAN, [198, 51, 100, 1]] {
            let packet =
                ipv4((ROAMER.0, source), (mac_of("segment"), SERVER), 17, &udp(1, 2, b"?"));
            gateway.roamer.send(&packet);
            assert!(gateway.internet_gets().is_empty(), "{source:?}");
        }
    });
}

#[test]
fn a_roamer_with_ipv6_reaches_the_internet_and_not_the_lan() {
    in_namespace("firewall::a_roamer_with_ipv6_reaches_the_internet_and_not_the_lan", || {
        let gateway = Gateway::new();
        std::fs::write("/proc/sys/net/ipv6/conf/all/forwarding", "1").unwrap();
        for (interface, own, host, mac) in [
            ("segment", "fd00:9::1/64", "fd00:9::2", ROAMER.0),
            ("lan", "2001:db8:1::1/64", "2001:db8:1::20", OWNER.0),
            ("wan", "2001:db8:2::1/64", "2001:db8:2::9", INTERNET.0),
        ] {
            run(&format!("ip addr add {own} dev {interface} nodad"));
            let mac = mac.full();
            run(&format!("ip neigh add {host} lladdr {mac} dev {interface} nud permanent"));
        }
        run("ip route add default via 2001:db8:2::9 dev wan");
        let mut rules = Gateway::rules();
        if let Some(breakout) = &mut rules.breakout {
            breakout.forbidden.push(("2001:db8:2::".parse().unwrap(), 64));
        }
        Firewall::default().apply(&rules).unwrap();
        let sends = |to: &str| {
            let source = "fd00:9::2".parse().unwrap();
            let payload = crate::inside::udp_v6(source, to.parse().unwrap(), 4000, 5000);
            let mac = mac_of("segment");
            gateway.roamer.send(&[&mac.octets()[..], &ROAMER.0.octets(), &payload].concat());
        };
        let source_of = |frame: &[u8]| {
            <[u8; 16]>::try_from(&frame[22..38]).map(std::net::Ipv6Addr::from).unwrap()
        };
        let v6 = |plug: &Plug, (mac, own): (Mac, [u8; 4]), gateway: [u8; 4]| {
            plug.send(&arp_request(mac, own, gateway));
            let mut frames = plug.receive_while(|frame| !is_arp_reply(frame, gateway));
            frames.retain(|frame| frame[12..14] == [0x86, 0xdd] && frame[20] == 17);
            frames
        };
        sends("2001:db8:ffff::7");
        let packets = v6(&gateway.internet, INTERNET, WAN);
        assert_eq!(packets.len(), 1);
        assert_eq!(source_of(&packets[0]).to_string(), "2001:db8:2::1");
        for (to, plug, host, own) in [
            ("2001:db8:1::20", &gateway.owner, OWNER, LAN),
            ("2001:db8:2::9", &gateway.internet, INTERNET, WAN),
            ("fd00:1::1", &gateway.internet, INTERNET, WAN),
        ] {
            sends(to);
            assert!(v6(plug, host, own).is_empty(), "{to}");
        }
    });
}

#[test]
fn rules_are_replaced_as_a_whole_and_the_owners_own_stay() {
    in_namespace("firewall::rules_are_replaced_as_a_whole_and_the_owners_own_stay", || {
        run("ip link set lo up");
        run("nft add table inet owner");
        run("nft add chain inet owner mine");
        let firewall = Firewall::default();
        let listed = || run("nft list ruleset");
        firewall.apply(&Gateway::rules()).unwrap();
        let first = listed();
        assert!(first.contains(&format!("table inet {TABLE} ")) && first.contains("masquerade"));
        firewall.apply(&Gateway::rules()).unwrap();
        assert_eq!(listed(), first, "the same again changes nothing");
        let guard = Rules { bridge_prefix: Some("hwb".to_owned()), breakout: None };
        firewall.apply(&guard).unwrap();
        let second = listed();
        assert!(second.contains("\"hwb*\"") && !second.contains("segment"), "{second}");
        let broken = Rules {
            bridge_prefix: None,
            breakout: Some(Breakout { uplinks: vec![], ..Gateway::rules().breakout.unwrap() }),
        };
        assert!(firewall.apply(&broken).unwrap_err().to_string().contains("no uplink"));
        assert_eq!(listed(), second, "refused rules change nothing");
        firewall.apply(&Rules::default()).unwrap();
        firewall.remove().unwrap();
        let left = listed();
        assert!(left.contains("table inet owner") && left.contains("chain mine"), "{left}");
        assert!(!left.contains(TABLE), "{left}");
    });
}

#[test]
fn a_check_says_what_the_machine_can_and_changes_nothing() {
    in_namespace("firewall::a_check_says_what_the_machine_can_and_changes_nothing", || {
        let support = Firewall::default().check().unwrap();
        assert!(support.version.starts_with("nftables v"), "{support:?}");
        assert!(support.guard && support.breakout, "{support:?}");
        let missing = [!support.bridge_family, support.bridge_netfilter];
        let missing = missing.into_iter().filter(|missing| *missing).count();
        let both = Rules { bridge_prefix: Some("hwb".to_owned()), ..Gateway::rules() };
        let found = support.findings(&both);
        assert!(found.len() == missing && found.iter().all(|lack| !lack.fatal), "{found:?}");
        assert_eq!(support.findings(&Rules::default()), [], "no rules need nothing");
        let bare = Support { guard: false, breakout: false, ..support.clone() };
        let fatal = |rules| bare.findings(rules).iter().filter(|lack| lack.fatal).count();
        let guard = Rules { breakout: None, ..both.clone() };
        assert_eq!((fatal(&both), fatal(&Gateway::rules()), fatal(&guard)), (2, 1, 1));
        assert_eq!(run("nft list ruleset"), "");
        let rules = Rules { bridge_prefix: Some("hwb".to_owned()), breakout: None };
        let applied = Firewall::default().apply(&rules).unwrap();
        assert_eq!(applied.bridge_family, support.bridge_family, "as the check said");
    });
}

#[test]
fn who_may_not_set_rules_is_told_how_to() {
    in_namespace("firewall::who_may_not_set_rules_is_told_how_to", || {
        let path = std::env::temp_dir().join(format!("nft-{}", std::process::id()));
        std::fs::write(&path, "#!/bin/sh\nexec setpriv --bounding-set=-net_admin -- nft \"$@\"\n")
            .unwrap();
        assert!(Command::new("chmod").arg("+x").arg(&path).status().unwrap().success());
        let error = Firewall::new(&path).apply(&Gateway::rules()).unwrap_err().to_string();
        std::fs::remove_file(&path).unwrap();
        assert!(error.contains("Operation not permitted"), "{error}");
        assert!(error.ends_with("run as root or grant CAP_NET_ADMIN"), "{error}");
    });
}
