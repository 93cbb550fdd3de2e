//! Bridges for strangers, in a network namespace that each test makes for itself.

use std::io::IoSlice;

use crate::inside::{Plug, arp_request, in_namespace, is_arp_reply, marker, reached, run, udp_v6};
use homeward_linux::bridge::{ALIAS, narrow, silence_ipv6};
use homeward_linux::tap::VNET_HEADER;
use homeward_linux::{Bridges, DefaultRoutes, Error, Links, Networks, PortFlags, Tap, TapSettings};
use homeward_model::Mac;

const STRANGER: Mac = Mac::new([2, 0, 0, 0, 0, 1]);
const OTHER: Mac = Mac::new([2, 0, 0, 0, 0, 2]);
const GATEWAY: [u8; 4] = [192, 168, 1, 1];

fn setting(path: &str) -> String {
    std::fs::read_to_string(format!("/proc/sys/net/{path}")).unwrap().trim().to_owned()
}

#[test]
fn a_bridge_for_strangers_has_no_address_no_spanning_tree_and_no_delay() {
    let name = "bridge::a_bridge_for_strangers_has_no_address_no_spanning_tree_and_no_delay";
    in_namespace(name, || {
        let mut bridges = Bridges::open().unwrap();
        let link = bridges.create("hwb0", 0).unwrap();
        assert!(link.is_bridge() && link.is_ours() && link.up, "{link:?}");
        assert_eq!(link.alias.as_deref(), Some(ALIAS));
        assert_eq!(Networks::open().unwrap().addresses("hwb0").unwrap(), []);
        let shown = run("ip -d link show hwb0");
        for expected in ["NOARP", "forward_delay 0", "stp_state 0", "mcast_snooping 0"] {
            assert!(shown.contains(expected), "{expected} in {shown}");
        }
        assert_eq!(setting("ipv6/conf/hwb0/disable_ipv6"), "1");
        assert_eq!(setting("ipv4/conf/hwb0/forwarding"), "0");
        assert_eq!(setting("ipv4/conf/hwb0/rp_filter"), "1");
        assert_eq!(bridges.create("hwb0", 1600).unwrap().index, link.index, "the same again");
        assert!(run("ip link show hwb0").contains("mtu 1600"));
    });
}

#[test]
fn a_bridge_that_is_not_ours_is_neither_taken_nor_deleted() {
    in_namespace("bridge::a_bridge_that_is_not_ours_is_neither_taken_nor_deleted", || {
        run("ip link add hwlan type bridge");
        run("ip link add hwv type veth peer name hwv-x");
        let mut bridges = Bridges::open().unwrap();
        for name in ["hwlan", "hwv"] {
            let error = bridges.create(name, 0).unwrap_err();
            assert!(matches!(error, Error::NameTaken { .. }), "{error}");
            let error = bridges.delete(name).unwrap_err();
            assert!(matches!(error, Error::NotOurs(_)), "{error}");
        }
        assert!(bridges.delete_leftovers("hw", |_| false).unwrap().is_empty());
        assert!(Links::open().unwrap().by_name("hwlan").unwrap().is_some());
        assert!(!bridges.delete("nothing").unwrap());
    });
}

#[test]
fn the_leftovers_of_a_crash_are_found_by_their_prefix_and_deleted() {
    in_namespace("bridge::the_leftovers_of_a_crash_are_found_by_their_prefix_and_deleted", || {
        let mut bridges = Bridges::open().unwrap();
        for name in ["hwa1", "hwa2", "hwb1"] {
            bridges.create(name, 0).unwrap();
        }
        run("ip link add port type veth peer name port-x");
        bridges.enslave("port", "hwa1").unwrap();
        let names = |bridges: &mut Bridges, prefix| -> Vec<String> {
            bridges.ours(prefix).unwrap().into_iter().map(|link| link.name).collect()
        };
        assert_eq!(names(&mut bridges, "hwa"), ["hwa1", "hwa2"]);
        let deleted = bridges.delete_leftovers("hwa", |name| name == "hwa2").unwrap();
        assert_eq!(deleted, ["hwa1"]);
        assert_eq!(names(&mut bridges, ""), ["hwa2", "hwb1"]);
        assert_eq!(Links::open().unwrap().by_name("port").unwrap().unwrap().master, None);
    });
}

#[test]
fn an_interface_is_enslaved_and_released_as_often_as_one_likes() {
    in_namespace("bridge::an_interface_is_enslaved_and_released_as_often_as_one_likes", || {
        let mut bridges = Bridges::open().unwrap();
        let one = bridges.create("one", 0).unwrap();
        bridges.create("two", 0).unwrap();
        run("ip link add port type veth peer name port-x");
        bridges.release("port").unwrap();
        for _ in 0..2 {
            bridges.enslave("port", "one").unwrap();
        }
        let of = Links::open().unwrap().bridge_of("port").unwrap();
        assert_eq!(of.map(|bridge| bridge.index), Some(one.index));
        let error = bridges.enslave("port", "two").unwrap_err().to_string();
        assert_eq!(error, "port is a port of one already: take it out there first");
        bridges.release("port").unwrap();
        bridges.enslave("port", "two").unwrap();
        let error = bridges.enslave("port", "port-x").unwrap_err();
        assert!(matches!(error, Error::NotBridge(_)), "{error}");
        let error = bridges.enslave("nothing", "two").unwrap_err();
        assert!(matches!(error, Error::NoInterface(_)), "{error}");
    });
}

#[test]
fn a_ports_flags_are_set_and_read() {
    in_namespace("bridge::a_ports_flags_are_set_and_read", || {
        let mut bridges = Bridges::open().unwrap();
        bridges.create("one", 0).unwrap();
        run("ip link add port type veth peer name port-x");
        assert_eq!(bridges.port("port").unwrap(), None);
        assert!(bridges.set_port("port", PortFlags::default()).is_err(), "no bridge's port");
        bridges.enslave("port", "one").unwrap();
        assert_eq!(bridges.port("port").unwrap(), Some(PortFlags::default()));
        for flags in [
            PortFlags { isolated: true, ..PortFlags::default() },
            PortFlags { isolated: true, learning: false, hairpin: true, flood: false },
            PortFlags::default(),
        ] {
            bridges.set_port("port", flags).unwrap();
            assert_eq!(bridges.port("port").unwrap(), Some(flags));
        }
        assert!(matches!(bridges.port("nothing").unwrap_err(), Error::NoInterface(_)));
    });
}

#[test]
fn a_bridge_knows_behind_which_port_a_device_is() {
    in_namespace("bridge::a_bridge_knows_behind_which_port_a_device_is", || {
        let mut bridges = Bridges::open().unwrap();
        bridges.create("one", 0).unwrap();
        bridges.create("two", 0).unwrap();
        let plugs = ["left", "right"].map(Plug::cable);
        for port in ["left", "right"] {
            bridges.enslave(port, "one").unwrap();
        }
        assert_eq!(bridges.entry("one", STRANGER).unwrap(), None);
        let mut links = Links::open().unwrap();
        for (n, name) in [(0, "left"), (1, "right"), (0, "left")] {
            plugs[n].send(&marker(STRANGER, 1));
            plugs[1 - n].receive_until(&marker(STRANGER, 1));
            let entry = bridges.entry("one", STRANGER).unwrap().unwrap();
            let port = links.by_name(name).unwrap().unwrap();
            assert_eq!((entry.port, entry.local), (port.index, false), "{name}");
        }
        let own = links.by_name("left").unwrap().unwrap();
        let entry = bridges.entry("one", own.mac.unwrap()).unwrap().unwrap();
        assert!(entry.local);
        assert_eq!(bridges.entry("two", STRANGER).unwrap(), None, "another bridge's");
        assert!(matches!(bridges.entry("left", STRANGER).unwrap_err(), Error::NotBridge(_)));
    });
}

#[test]
fn an_mtu_is_set_or_refused_with_its_interface_named() {
    in_namespace("bridge::an_mtu_is_set_or_refused_with_its_interface_named", || {
        let mut bridges = Bridges::open().unwrap();
        run("ip link add port type veth peer name port-x");
        bridges.set_mtu("port", 1400).unwrap();
        assert!(run("ip link show port").contains("mtu 1400"));
        let error = bridges.set_mtu("port", 1_000_000).unwrap_err().to_string();
        assert!(error.starts_with("cannot set the MTU of port"), "{error}");
    });
}

/// A frame with an IPv6 packet of the device's, to all routers; the number tells it from others.
fn ipv6_of(device: Mac, number: u16) -> Vec<u8> {
    let from = "fe80::5eff:fe00:1".parse().unwrap();
    let packet = udp_v6(from, "ff02::2".parse().unwrap(), number, 9);
    [&[0x33, 0x33, 0, 0, 0, 2][..], &device.octets(), &packet].concat()
}

#[test]
fn a_tunnels_interface_carries_a_roamers_ipv6_and_adds_none_of_the_gateways() {
    let name = "bridge::a_tunnels_interface_carries_a_roamers_ipv6_and_adds_none_of_the_gateways";
    in_namespace(name, || {
        // As in somebody's home, whose LAN has IPv6 and whose bridge is none of ours.
        run("ip link add lan type bridge forward_delay 0 mcast_snooping 0");
        run("ip link set lan up");
        let port = Plug::cable("port");
        run("ip link set port master lan");
        let settings = TapSettings { name: "hwt0".into(), mtu: 1500, mac: None };
        let tap = Tap::open(&settings).unwrap();
        assert_eq!(Networks::open().unwrap().addresses("hwt0").unwrap(), [], "from the start");
        silence_ipv6("hwt0").unwrap();
        assert_eq!(setting("ipv6/conf/hwt0/disable_ipv6"), "1");
        Bridges::open().unwrap().enslave("hwt0", "lan").unwrap();
        assert_eq!(setting("ipv6/conf/lan/disable_ipv6"), "0", "the owner's is as it was");

        let home = ipv6_of(OTHER, 1);
        port.send(&home);
        let (mut header, mut frame) = ([0; VNET_HEADER], vec![0; 65_600]);
        loop {
            let Some(len) = tap.read(&mut header, &mut frame).unwrap() else {
                std::thread::yield_now();
                continue;
            };
            assert_ne!(frame[6..12], tap.mac().octets(), "the interface speaks for itself");
            if frame[..len] == home[..] {
                break;
            }
        }
        let roamer = ipv6_of(STRANGER, 2);
        tap.write(&[IoSlice::new(&[0; VNET_HEADER]), IoSlice::new(&roamer)]).unwrap();
        port.receive_until(&roamer);
    });
}

fn cables(bridge: &str) -> [Plug; 2] {
    let plugs = ["left", "right"].map(Plug::cable);
    for port in ["left", "right"] {
        run(&format!("ip link set {port} master {bridge}"));
    }
    plugs
}

/// The gateway has its address on another interface: Linux answers for it on all.
fn gateway_elsewhere() {
    run("ip link add lan type bridge");
    run("ip addr add 192.168.1.1/24 dev lan");
    run("ip link set lan up");
}

#[test]
fn the_kernel_takes_no_part_in_a_bridge_for_strangers() {
    in_namespace("bridge::the_kernel_takes_no_part_in_a_bridge_for_strangers", || {
        gateway_elsewhere();
        Bridges::open().unwrap().create("hwb0", 0).unwrap();
        let [left, right] = cables("hwb0");
        assert_eq!(reached("hwb0", &left, &right, GATEWAY), (false, false));
    });
}

/// The test above proves something: on an ordinary bridge the gateway does answer.
#[test]
fn on_an_ordinary_bridge_the_gateway_answers_strangers() {
    in_namespace("bridge::on_an_ordinary_bridge_the_gateway_answers_strangers", || {
        gateway_elsewhere();
        run("ip link add plain type bridge forward_delay 0");
        run("ip link set plain up");
        let [left, right] = cables("plain");
        assert_eq!(reached("plain", &left, &right, GATEWAY), (true, true));
    });
}

#[test]
fn on_a_narrowed_segment_the_gateway_answers_for_that_segments_address_only() {
    let name = "bridge::on_a_narrowed_segment_the_gateway_answers_for_that_segments_address_only";
    in_namespace(name, || {
        gateway_elsewhere();
        run("ip link add plain type bridge forward_delay 0");
        run("ip addr add 10.9.0.1/24 dev plain");
        run("ip link set plain up");
        let [left, right] = cables("plain");
        let asks = |target: [u8; 4], number: u8| {
            left.send(&arp_request(STRANGER, [10, 9, 0, 2], target));
            let answers = left.receive_after(&right, &marker(OTHER, number));
            answers.iter().any(|frame| is_arp_reply(frame, target))
        };
        assert!(asks(GATEWAY, 1), "Linux's habit");
        narrow("plain").unwrap();
        assert!(!asks(GATEWAY, 2));
        assert!(asks([10, 9, 0, 1], 3));
        assert!(matches!(narrow("nothing").unwrap_err(), Error::NoInterface(_)));
    });
}

#[test]
fn a_networks_hosts_are_its_neighbours_and_its_routers() {
    in_namespace("bridge::a_networks_hosts_are_its_neighbours_and_its_routers", || {
        run("ip link set lo up");
        for lan in ["lan", "other"] {
            run(&format!("ip link add {lan} type bridge"));
            run(&format!("ip link set {lan} up"));
        }
        run("ip link add port type veth peer name port-x");
        run("ip link set port up master lan");
        run("ip link set port-x up");
        run("ip addr add 192.168.1.1/24 dev lan");
        run("ip addr add 2001:db8:1::1/64 dev lan nodad");
        run("ip addr add 192.168.2.1/24 dev other");
        run("ip neigh add 192.168.1.20 lladdr 02:00:00:00:00:20 dev lan nud reachable");
        run("ip neigh add 192.168.2.20 lladdr 02:00:00:00:00:21 dev other nud permanent");
        run("ip -6 neigh add fe80::9 lladdr 02:00:00:00:00:09 dev lan router nud stale");
        run("ip neigh add 192.168.1.254 lladdr 02:00:00:00:00:fe dev lan nud stale");
        run("ip neigh add 192.168.1.66 dev lan nud failed");
        run("ip route add default via 192.168.1.254 dev lan");
        run(
            "ip route add default metric 9 nexthop via 192.168.1.253 dev lan nexthop via 192.168.2.9 dev other",
        );
        run("ip -6 route add default via 2001:db8:1::fe dev lan");
        run("ip route add 10.0.0.0/8 via 192.168.1.77 dev lan");

        let mut networks = Networks::open().unwrap();
        let own: Vec<String> = networks
            .addresses("lan")
            .unwrap()
            .iter()
            .filter(|own| !own.address.to_string().starts_with("fe80:"))
            .map(|own| format!("{}/{}", own.address, own.prefix))
            .collect();
        assert_eq!(own, ["192.168.1.1/24", "2001:db8:1::1/64"]);
        // A second one of a network, and one that is not to be used any more.
        run("ip addr add 192.168.2.3/24 dev other");
        run("ip addr add 2001:db8:2::1/64 dev other nodad preferred_lft 0");
        let names = |index| Links::open().unwrap().by_index(index).unwrap().unwrap().name;
        let all: Vec<(String, String, bool)> = networks
            .own_addresses()
            .unwrap()
            .iter()
            .map(|own| (names(own.interface), own.address.address.to_string(), own.lasting))
            .filter(|(_, address, _)| !address.starts_with("fe80:"))
            .collect();
        let expected = [
            ("lo", "127.0.0.1", true),
            ("lo", "::1", true),
            ("lan", "192.168.1.1", true),
            ("lan", "2001:db8:1::1", true),
            ("other", "192.168.2.1", true),
            ("other", "192.168.2.3", true),
            ("other", "2001:db8:2::1", false),
        ];
        assert_eq!(all, expected.map(|(i, a, lasting)| (i.to_owned(), a.to_owned(), lasting)));
        let out: Vec<String> =
            DefaultRoutes::open().unwrap().interfaces().unwrap().into_iter().map(names).collect();
        assert_eq!(out, ["lan"], "another network is no way out");
        let seen: Vec<(String, Option<String>, bool)> = networks
            .neighbours("lan")
            .unwrap()
            .iter()
            .map(|one| {
                let mac = one.mac.map(|mac| mac.full().to_string());
                (one.address.to_string(), mac, one.router)
            })
            .collect();
        let expected = [
            ("192.168.1.20", Some("02:00:00:00:00:20"), false),
            ("192.168.1.253", None, true),
            ("192.168.1.254", Some("02:00:00:00:00:fe"), true),
            ("2001:db8:1::fe", None, true),
            ("fe80::9", Some("02:00:00:00:00:09"), true),
        ];
        let expected = expected.map(|(a, mac, r)| (a.to_owned(), mac.map(str::to_owned), r));
        assert_eq!(seen, expected);
        assert!(matches!(networks.neighbours("nothing").unwrap_err(), Error::NoInterface(_)));
    });
}
