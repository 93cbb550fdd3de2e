//! The owner first on a shared link, in a network namespace that each test makes for itself.

use std::net::{Ipv4Addr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use homeward_linux::qdisc::{Download, Leaf, Marks, Plan, Shares};
use homeward_linux::{Error, Links, Shaper};
use homeward_model::Mac;
use nix::time::{ClockId, clock_gettime};

use crate::inside::{Plug, in_namespace, ipv4, mac_of, run, udp, udp_v6};

const ROUTER: (Mac, [u8; 4]) = (Mac::new([2, 0, 0, 0, 0, 9]), [203, 0, 113, 9]);
const OWN: [u8; 4] = [203, 0, 113, 1];
/// Lower effort (RFC 8622).
const DSCP: u8 = 1;
const PORT: u16 = 51_820;

/// An uplink `wan` with a plug at its other end.
fn uplink() -> Plug {
    let plug = Plug::cable("wan");
    run("ip addr add 203.0.113.1/24 dev wan");
    run("ip addr add 2001:db8::1/64 dev wan nodad");
    let mac = ROUTER.0.full();
    run(&format!("ip neigh add 203.0.113.9 lladdr {mac} dev wan nud permanent"));
    run(&format!("ip neigh add 2001:db8::9 lladdr {mac} dev wan nud permanent"));
    plug
}

/// Slow, so that a busy machine keeps up.
fn shares() -> Shares {
    Shares { link: 4_000_000, guaranteed: 200_000, cap: 1_600_000 }
}

fn plan() -> Plan {
    Plan {
        uplink: "wan".to_owned(),
        up: shares(),
        down: Some(shares()),
        marks: Marks { dscp: DSCP, ports: vec![PORT] },
        inward: vec!["inward".to_owned()],
    }
}

fn inward() {
    run("ip link add inward type veth peer name inward-x");
    run("ip link set inward up");
}

/// Sends datagrams by `wan` as fast as it takes them, with that DSCP, until told to stop.
fn pour(dscp: u8, stop: &AtomicBool) {
    let socket = UdpSocket::bind((Ipv4Addr::from(OWN), 0)).unwrap();
    socket2::SockRef::from(&socket).set_tos_v4(u32::from(dscp) << 2).unwrap();
    socket.connect((Ipv4Addr::from(ROUTER.1), 9)).unwrap();
    while !stop.load(Ordering::Relaxed) {
        socket.send(&[0; 1400]).unwrap();
    }
}

/// What comes out of the uplink while these pour: the octets of each, and in what time from before
/// the first. A busy machine may make that longer, but not shorter.
fn flows<const N: usize>(plug: &Plug, dscps: [u8; N], octets: usize) -> ([usize; N], Duration) {
    let stop = AtomicBool::new(false);
    let now = || Duration::from(clock_gettime(ClockId::CLOCK_MONOTONIC).unwrap());
    std::thread::scope(|scope| {
        let start = now();
        for dscp in dscps {
            let stop = &stop;
            scope.spawn(move || pour(dscp, stop));
        }
        let mut got = [0; N];
        plug.receive_while(|frame| {
            if let Some(flow) = dscps.iter().position(|dscp| frame[15] == dscp << 2) {
                got[flow] += frame.len();
            }
            got.iter().sum::<usize>() < octets
        });
        let took = now() - start;
        stop.store(true, Ordering::Relaxed);
        (got, took)
    })
}

/// bit/s
fn rate(octets: usize, took: Duration) -> f64 {
    octets as f64 * 8.0 / took.as_secs_f64()
}

#[test]
fn the_owner_goes_first_and_roamers_get_what_they_are_sure_of() {
    in_namespace("qdisc::the_owner_goes_first_and_roamers_get_what_they_are_sure_of", || {
        let plug = uplink();
        let plan = Plan { down: None, ..plan() };
        let in_force = Shaper::open().unwrap().apply(&plan).unwrap();
        assert_eq!(in_force.down, Download::Unshared);
        let ([owner, roamers], _) = flows(&plug, [0, DSCP], 500_000);
        let share = roamers as f64 / (owner + roamers) as f64;
        assert!((0.025..0.1).contains(&share), "roamers {share}, of which a twentieth is sure");
    });
}

#[test]
fn roamers_alone_get_their_cap_and_the_owner_alone_more() {
    in_namespace("qdisc::roamers_alone_get_their_cap_and_the_owner_alone_more", || {
        let plug = uplink();
        Shaper::open().unwrap().apply(&Plan { down: None, ..plan() }).unwrap();
        let ([roamers], took) = flows(&plug, [DSCP], 200_000);
        let theirs = rate(roamers, took);
        assert!((0.5e6..1.7e6).contains(&theirs), "roamers {theirs} bit/s, cap 1.6 Mbit/s");
        let ([owner], took) = flows(&plug, [0], 500_000);
        let owners = rate(owner, took);
        assert!((2e6..4.2e6).contains(&owners), "the owner {owners} bit/s of 4 Mbit/s");
    });
}

#[test]
fn a_plan_is_put_in_force_as_often_as_one_likes_and_changed_in_place() {
    in_namespace(
        "qdisc::a_plan_is_put_in_force_as_often_as_one_likes_and_changed_in_place",
        || {
            let _plug = uplink();
            inward();
            let mut shaper = Shaper::open().unwrap();
            let first = shaper.apply(&plan()).unwrap();
            let ifb =
                format!("hwi{}", Links::open().unwrap().by_name("wan").unwrap().unwrap().index);
            assert_eq!(first.down, Download::Redirected { ifb: ifb.clone() });
            let shown = || {
                ["wan", &ifb].map(|interface| {
                    ["qdisc", "class", "filter"]
                        .map(|what| run(&format!("tc {what} show dev {interface}")))
                        .concat()
                })
            };
            let before = shown();
            for text in ["qdisc htb 4857: root", "default 0x10", "rate 3800Kbit ceil 4Mbit"] {
                assert!(before.iter().all(|shown| shown.contains(text)), "{text} in {before:?}");
            }
            for text in ["prio 7 rate 200Kbit ceil 1600Kbit", "flowid 4857:20"] {
                assert!(before.iter().all(|shown| shown.contains(text)), "{text} in {before:?}");
            }
            assert!(before[0].contains("qdisc ingress ffff:"), "{}", before[0]);
            let leaf = match first.leaf {
                Leaf::FqCodel => "qdisc fq_codel",
                Leaf::Fifo => "qdisc pfifo",
            };
            assert_eq!(before[0].matches(leaf).count(), 2, "{}", before[0]);
            assert_eq!(shaper.apply(&plan()).unwrap(), first);
            assert_eq!(shown(), before, "the same again changes nothing");

            let mut changed = plan();
            changed.up =
                Shares { link: 30_000_000_000, guaranteed: 2_000_000, cap: 10_000_000_000 };
            changed.marks = Marks { dscp: 8, ports: vec![] };
            shaper.apply(&changed).unwrap();
            let after = shown();
            assert!(after[0].contains("rate 2Mbit ceil 10Gbit"), "{}", after[0]);
            assert!(after[0].contains("ceil 30Gbit"), "{}", after[0]);
            assert_eq!(after[0].matches("flowid 4857:20").count(), 2, "{}", after[0]);
            assert!(after[0].contains("match 00200000/00fc0000 at 0"), "{}", after[0]);
            assert!(after[0].contains("match 02000000/0fc00000 at 0"), "{}", after[0]);

            shaper.remove(&plan()).unwrap();
            shaper.remove(&plan()).unwrap();
            assert_eq!(run("tc qdisc show dev wan"), "qdisc noqueue 0: root refcnt 2 \n");
            assert!(Links::open().unwrap().by_name(&ifb).unwrap().is_none());
        },
    );
}

#[test]
fn roamers_packets_are_told_by_dscp_and_by_port_in_both_families_and_directions() {
    let name =
        "qdisc::roamers_packets_are_told_by_dscp_and_by_port_in_both_families_and_directions";
    in_namespace(name, || {
        let plug = uplink();
        inward();
        let mut shaper = Shaper::open().unwrap();
        let Download::Redirected { ifb } = shaper.apply(&plan()).unwrap().down else {
            panic!("no ifb");
        };
        let wan = mac_of("wan");
        let with_tos = |mut frame: Vec<u8>, tos: u8| {
            frame[15] = tos;
            let sum = u32::from(u16::from_be_bytes([frame[24], frame[25]]));
            // RFC 1624: what is added to the header is taken from its checksum.
            let sum = sum + 0xffff - u32::from(tos);
            frame[24..26]
                .copy_from_slice(&((sum & 0xffff) as u16 + (sum >> 16) as u16).to_be_bytes());
            frame
        };
        let v4 = |port| ipv4(ROUTER, (wan, OWN), 17, &udp(4000, port, &[0; 20]));
        let v6 = |port| {
            let packet =
                udp_v6("2001:db8::9".parse().unwrap(), "2001:db8::1".parse().unwrap(), 4000, port);
            [&wan.octets()[..], &ROUTER.0.octets(), &packet].concat()
        };
        let v6_with_class = |mut frame: Vec<u8>| {
            frame[14] |= DSCP >> 2;
            frame[15] |= (DSCP & 3) << 6;
            frame
        };
        let later_fragment = |mut frame: Vec<u8>| {
            frame[21] = 1;
            frame
        };
        let other_protocol = ipv4(ROUTER, (wan, OWN), 253, &udp(4000, PORT, &[0; 20]));
        for (what, frame, roamers) in [
            ("another port", v4(PORT + 1), false),
            ("the tunnel's port", v4(PORT), true),
            ("the DSCP", with_tos(v4(9), DSCP << 2), true),
            ("the DSCP with ECN", with_tos(v4(9), DSCP << 2 | 3), true),
            ("another DSCP", with_tos(v4(9), 46 << 2), false),
            ("a later fragment", later_fragment(v4(PORT)), false),
            ("another protocol", other_protocol, false),
            ("another port, IPv6", v6(PORT + 1), false),
            ("the tunnel's port, IPv6", v6(PORT), true),
            ("the DSCP, IPv6", v6_with_class(v6(9)), true),
        ] {
            let before = shaper.usage(&ifb).unwrap().unwrap();
            plug.send(&frame);
            // The ifb sends on when it gets to it.
            let after = loop {
                let usage = shaper.usage(&ifb).unwrap().unwrap();
                if usage != before {
                    break usage;
                }
                std::thread::yield_now();
            };
            let got = (after.owner != before.owner, after.roamers != before.roamers);
            assert_eq!(got, (!roamers, roamers), "{what}");
        }

        let before = shaper.usage("wan").unwrap().unwrap();
        let socket = UdpSocket::bind("[2001:db8::1]:0").unwrap();
        socket2::SockRef::from(&socket).set_tclass_v6(u32::from(DSCP) << 2).unwrap();
        socket.send_to(&[0; 20], "[2001:db8::9]:9").unwrap();
        let after = shaper.usage("wan").unwrap().unwrap();
        assert!(after.roamers.octets > before.roamers.octets, "sent with IPv6");
    });
}

#[test]
fn what_somebody_else_shapes_is_left_alone_and_named() {
    in_namespace("qdisc::what_somebody_else_shapes_is_left_alone_and_named", || {
        let _plug = uplink();
        inward();
        run("tc qdisc add dev wan root handle 1: tbf rate 1mbit burst 10kb latency 50ms");
        let mut shaper = Shaper::open().unwrap();
        let error = shaper.apply(&plan()).unwrap_err();
        assert!(matches!(error, Error::QdiscTaken { .. }), "{error}");
        assert!(
            error.to_string().starts_with("wan has a root queueing discipline tbf that is not")
        );
        shaper.remove(&plan()).unwrap();
        assert_eq!(shaper.remove_leftovers().unwrap(), Vec::<String>::new());
        assert!(run("tc qdisc show dev wan").contains("tbf 1: root"));
        assert_eq!(shaper.usage("wan").unwrap(), None);
    });
}

#[test]
fn where_somebody_else_looks_at_what_comes_in_roamers_are_capped_on_their_side() {
    let name = "qdisc::where_somebody_else_looks_at_what_comes_in_roamers_are_capped_on_their_side";
    in_namespace(name, || {
        let _plug = uplink();
        inward();
        for theirs in ["ingress", "clsact"] {
            run(&format!("tc qdisc add dev wan {theirs}"));
            let mut shaper = Shaper::open().unwrap();
            let in_force = shaper.apply(&plan()).unwrap();
            let Download::Inward { why } = &in_force.down else { panic!("{in_force:?}") };
            assert!(why.contains(&format!("wan has a ingress queueing discipline {theirs}")));
            assert!(run("tc class show dev inward").contains("rate 1600Kbit ceil 1600Kbit"));
            assert_eq!(shaper.apply(&plan()).unwrap(), in_force, "again");
            shaper.remove(&plan()).unwrap();
            assert!(run("tc qdisc show dev wan").contains(&format!("qdisc {theirs} ffff:")));
            assert!(run("tc qdisc show dev inward").contains("noqueue"));
            run(&format!("tc qdisc del dev wan {theirs}"));
        }
        // Likewise where they put theirs in place of ours.
        let mut shaper = Shaper::open().unwrap();
        run("ip link add theirs type ifb");
        for kind in ["clsact", "ingress"] {
            let in_force = shaper.apply(&plan()).unwrap();
            assert!(matches!(in_force.down, Download::Redirected { .. }), "{in_force:?}");
            run("tc qdisc del dev wan ingress");
            run(&format!("tc qdisc add dev wan {kind}"));
            if kind == "ingress" {
                run(
                    "tc filter add dev wan parent ffff: u32 match u32 0 0 action mirred egress redirect dev theirs",
                );
            }
            let in_force = shaper.apply(&plan()).unwrap();
            assert!(matches!(in_force.down, Download::Inward { .. }), "{in_force:?}");
            shaper.remove(&plan()).unwrap();
            shaper.remove_leftovers().unwrap();
            assert!(
                run("tc qdisc show dev wan").contains(&format!("qdisc {kind} ffff:")),
                "{kind}"
            );
            run(&format!("tc qdisc del dev wan {kind}"));
        }
        // When they are gone, it is shared at the uplink again and no longer capped inside.
        run("tc qdisc add dev wan ingress");
        shaper.apply(&plan()).unwrap();
        run("tc qdisc del dev wan ingress");
        let in_force = shaper.apply(&plan()).unwrap();
        assert!(matches!(in_force.down, Download::Redirected { .. }), "{in_force:?}");
        assert!(run("tc qdisc show dev inward").contains("noqueue"));
    });
}

#[test]
fn the_leftovers_of_a_crash_are_removed_wherever_they_are() {
    in_namespace("qdisc::the_leftovers_of_a_crash_are_removed_wherever_they_are", || {
        let _plug = uplink();
        inward();
        run("ip link add other type ifb");
        let mut shaper = Shaper::open().unwrap();
        shaper.apply(&plan()).unwrap();
        let mut second = plan();
        second.uplink = "inward".to_owned();
        second.down = None;
        shaper.apply(&second).unwrap();
        assert_eq!(Shaper::open().unwrap().remove_leftovers().unwrap(), ["inward", "wan"]);
        for interface in ["wan", "inward"] {
            let shown = run(&format!("tc qdisc show dev {interface}"));
            assert!(shown.starts_with("qdisc noqueue 0: root"), "{shown}");
            assert!(!shown.contains("ingress"), "{shown}");
        }
        let links = Links::open().unwrap().all().unwrap();
        let ifbs: Vec<_> =
            links.iter().filter(|link| link.kind.as_deref() == Some("ifb")).collect();
        assert_eq!(ifbs.len(), 1, "another's stays: {ifbs:?}");
        assert_eq!(shaper.remove_leftovers().unwrap(), Vec::<String>::new());
        // An uplink that went and left its ifb behind.
        shaper.apply(&plan()).unwrap();
        run("ip link del wan");
        shaper.remove(&plan()).unwrap();
        shaper.remove_leftovers().unwrap();
        let links = Links::open().unwrap().all().unwrap();
        assert_eq!(links.iter().filter(|link| link.kind.as_deref() == Some("ifb")).count(), 1);
    });
}

#[test]
fn an_interface_that_is_not_there_is_named() {
    in_namespace("qdisc::an_interface_that_is_not_there_is_named", || {
        let error = Shaper::open().unwrap().apply(&plan()).unwrap_err();
        assert!(matches!(error, Error::NoInterface(ref name) if name == "wan"), "{error}");
        Shaper::open().unwrap().remove(&plan()).unwrap();
    });
}
