//! Traffic of every kind, from few addresses so that they meet; some of it mangled.

use std::net::{Ipv4Addr, Ipv6Addr};

use homeward_model::Mac;
use homeward_port::testing::build::{self, Dhcp};
use homeward_port::testing::{DEVICE, OTHER_DEVICE, ROUTER, ROUTER_V4};
use proptest::prelude::*;
use proptest::sample::{Index, select};

#[derive(Debug, Clone)]
pub(crate) struct Event {
    pub(crate) wait_ms: u64,
    pub(crate) from_stranger: bool,
    pub(crate) frame: Vec<u8>,
}

const PRINTER: Mac = Mac::new([2, 0, 0, 0, 0xff, 2]);

pub(crate) fn event() -> impl Strategy<Value = Event> {
    let wait = prop_oneof![
        20 => Just(0),
        10 => 1..50u64,
        2 => 50..2_000u64,
        1 => select(vec![5_000, 10_000, 100_000, 300_000, 4 * 3_600_000, 40 * 3_600_000]),
    ];
    let changes = prop_oneof![
        12 => Just(Vec::new()),
        1 => prop::collection::vec((any::<Index>(), any::<u8>()), 1..3),
    ];
    let cut = prop_oneof![30 => Just(None), 1 => any::<Index>().prop_map(Some)];
    let way = prop_oneof![(Just(true), ends(true)), (Just(false), ends(false)),];
    (wait, way, payload(), changes, cut).prop_map(
        |(wait_ms, (from_stranger, (destination, source)), (ethertype, octets), changes, cut)| {
            let mut frame = build::ethernet(destination, source, ethertype, &octets);
            for (at, octet) in changes {
                let at = at.index(frame.len());
                frame[at] = octet;
            }
            if let Some(cut) = cut {
                frame.truncate(cut.index(frame.len()));
            }
            Event { wait_ms, from_stranger, frame }
        },
    )
}

/// Destination and source of a frame from the stranger, or to it.
fn ends(from_stranger: bool) -> BoxedStrategy<(Mac, Mac)> {
    let device = || prop_oneof![5 => Just(DEVICE), 1 => Just(OTHER_DEVICE)];
    let host = || select(vec![ROUTER, PRINTER]);
    let reserved = Just(Mac::new([1, 0x80, 0xc2, 0, 0, 3]));
    let odd = || prop_oneof![groups().boxed(), host().boxed(), device().boxed()];
    if from_stranger {
        let destination = prop_oneof![10 => host(), 8 => groups(), 1 => odd(), 1 => reserved];
        (destination, prop_oneof![30 => device().boxed(), 1 => odd().boxed()]).boxed()
    } else {
        let destination = prop_oneof![12 => device(), 8 => groups(), 1 => odd(), 1 => reserved];
        (destination, prop_oneof![30 => host().boxed(), 1 => odd().boxed()]).boxed()
    }
}

fn groups() -> impl Strategy<Value = Mac> {
    select(vec![
        build::BROADCAST,
        build::ALL_NODES,
        Mac::new([1, 0, 0x5e, 0, 0, 2]),
        Mac::new([1, 0, 0x5e, 1, 1, 1]),
    ])
}

fn mac() -> impl Strategy<Value = Mac> {
    prop_oneof![6 => Just(DEVICE), 1 => Just(OTHER_DEVICE), 1 => Just(ROUTER), 1 => Just(PRINTER)]
}

fn v4() -> impl Strategy<Value = Ipv4Addr> {
    let lan = |last| Ipv4Addr::new(192, 168, 1, last);
    prop_oneof![
        3 => Just(lan(50)),
        3 => (50..58u8).prop_map(lan),
        1 => Just(ROUTER_V4),
        1 => Just(lan(9)),
        1 => Just(lan(20)),
        1 => Just(Ipv4Addr::UNSPECIFIED),
        1 => select(vec![[169, 254, 1, 1], [224, 0, 0, 1], [127, 0, 0, 1], [232, 1, 1, 1], [239, 255, 255, 250]])
            .prop_map(Ipv4Addr::from),
    ]
}

fn v6() -> impl Strategy<Value = Ipv6Addr> {
    let lan = |last| Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, last);
    prop_oneof![
        3 => Just(lan(0x50)),
        3 => (0x50..0x68u16).prop_map(lan),
        1 => select(vec!["fe80::1", "fe80::50", "::", "ff02::1", "ff05::c", "ff0e::9", "::1", "::ffff:192.168.1.50"])
            .prop_map(|text| text.parse().unwrap()),
    ]
}

fn payload() -> impl Strategy<Value = (u16, Vec<u8>)> {
    prop_oneof![
        10 => packet_v4().prop_map(|octets| (build::IPV4, octets)),
        12 => packet_v6().prop_map(|octets| (build::IPV6, octets)),
        5 => (select(vec![1, 1, 2, 2, 3]), mac(), v4(), v4())
            .prop_map(|(op, mac, own, target)| (build::ARP, build::arp(op, mac, own, target))),
        1 => (prop::sample::select(vec![0xaf, 0xbf, 0xe3]), 0..44usize).prop_map(|(control, pad)| {
            (6, [&[0, 1, control, 0x81, 2, 0][..], &vec![0; pad]].concat())
        }),
        1 => (select(vec![0x8100, 0x88a8, 0x9100, 0x9200, 0x888e, 0x26, 0, 0x600]), prop::collection::vec(any::<u8>(), 0..60)),
    ]
}

fn port() -> impl Strategy<Value = u16> {
    select(vec![67, 68, 546, 547, 53, 520, 521, 1985, 2029, 3222, 40_000])
}

fn packet_v4() -> impl Strategy<Value = Vec<u8>> {
    let fragment = prop_oneof![12 => Just(0u16), 1 => Just(0x2000), 1 => Just(0x2010), 1 => Just(0x0003), 1 => Just(0x4000)];
    let carried = prop_oneof![
        6 => Just((6, vec![0; 20])),
        1 => Just((6, vec![0; 1460])),
        1 => Just((6, vec![0; 6_000])),
        8 => dhcp().prop_map(|(ports, octets)| (17, build::udp(ports.0, ports.1, &octets))),
        4 => (port(), port()).prop_map(|(a, b)| (17, build::udp(a, b, &[0; 30]))),
        2 => (select(vec![0, 3, 5, 8, 9]), 0..12usize).prop_map(|(kind, n)| (1, [&[kind][..], &vec![0; n]].concat())),
        2 => (select(vec![0x11, 0x12, 0x13, 0x16, 0x17, 0x22, 0x30, 0x31]), 0..8usize)
            .prop_map(|(kind, n)| (2, [&[kind][..], &vec![0; n]].concat())),
        1 => (select(vec![17, 1, 2, 50, 88, 89, 103, 112, 253]), 0..9usize).prop_map(|(p, n)| (p, vec![1; n])),
    ];
    let to = prop_oneof![3 => v4(), 1 => select(vec![Ipv4Addr::new(232, 1, 1, 1), Ipv4Addr::new(224, 0, 0, 251)])];
    (v4(), to, fragment, carried).prop_map(|(source, to, fragment, (protocol, octets))| {
        build::ipv4_fragment(source, to, protocol, fragment, &octets)
    })
}

fn dhcp() -> impl Strategy<Value = ((u16, u16), Vec<u8>)> {
    let ports = prop_oneof![4 => Just((68, 67)), 4 => Just((67, 68)), 1 => Just((4011, 67)), 1 => Just((67, 67))];
    let lease = prop_oneof![Just(None), select(vec![0, 60, 3_600, u32::MAX]).prop_map(Some),];
    let more = prop_oneof![
        8 => Just(vec![]),
        1 => v4().prop_map(|address| [&[50, 4][..], &address.octets()].concat()),
        1 => mac().prop_map(|mac| [&[61, 7, 1][..], &mac.octets()].concat()),
        1 => select(vec![vec![82, 1, 0], vec![52, 1, 3], vec![53, 1, 7], vec![12, 200, 1], vec![0, 0], vec![61, 3, 0, 1, 2]]),
    ];
    let relay = prop_oneof![9 => Just(Ipv4Addr::UNSPECIFIED), 1 => v4()];
    let kind = select(vec![1, 2, 3, 4, 5, 5, 5, 6, 7]);
    (ports, kind, prop::bool::weighted(0.9), mac(), (v4(), v4(), relay), lease, more).prop_map(
        |(ports, kind, usual, client, (has, given, relay), lease, more)| {
            let operation = if (ports.1 == 67) == usual { 1 } else { 2 };
            let lease = lease.map(|lease: u32| [&[51, 4][..], &lease.to_be_bytes()].concat());
            let options = [lease.unwrap_or_default(), more].concat();
            let message = Dhcp { operation, kind, client, has, given, relay, options };
            (ports, message.octets())
        },
    )
}

fn packet_v6() -> impl Strategy<Value = Vec<u8>> {
    let link = || prop_oneof![2 => Just(None), 3 => mac().prop_map(Some)];
    let discovery = prop_oneof![
        (v6(), link()).prop_map(|(target, link)| build::solicitation(target, link)),
        (select(vec![0x20, 0x40, 0x60, 0xa0]), v6(), link())
            .prop_map(|(flags, target, link)| build::advertisement(flags, target, link)),
        link().prop_map(build::router_solicitation),
        Just(build::router_advertisement()),
    ];
    let carried = prop_oneof![
        6 => Just((6, vec![0; 20])),
        8 => discovery.prop_map(|octets| (58, octets)),
        2 => (select(vec![128, 130, 131, 132, 137, 138, 143, 151, 153]), 0..24usize)
            .prop_map(|(kind, n)| (58, [&[kind][..], &vec![0; n]].concat())),
        2 => (v6(), select(vec![0, 100, u32::MAX]))
            .prop_map(|(address, life)| (17, build::udp(547, 546, &build::dhcpv6_reply(address, life)))),
        3 => (port(), port(), select(vec![1, 5, 7, 12, 13])).prop_map(|(a, b, kind)| (17, build::udp(a, b, &[kind, 0, 0, 1]))),
        1 => (select(vec![17, 58, 59, 50, 4, 89, 112, 253, 200]), 0..9usize).prop_map(|(p, n)| (p, vec![1; n])),
    ];
    let headers = prop_oneof![
        8 => Just(vec![]),
        2 => prop::collection::vec(select(vec![0u8, 43, 60, 60, 44, 51, 135]), 1..4),
        1 => Just(vec![60; 8]),
        1 => Just(vec![60; 9]),
        1 => Just(vec![60; 10]),
    ];
    (v6(), v6(), headers, select(vec![0u16, 0, 0, 1, 2]), carried).prop_map(
        |(source, to, headers, offset, (protocol, octets))| {
            let mut chain = Vec::new();
            for (n, header) in headers.iter().enumerate() {
                let next = headers.get(n + 1).copied().unwrap_or(protocol);
                match header {
                    44 => chain.extend(build::fragment_header(next, offset, true)),
                    51 => chain.extend([&[next, 4][..], &[0; 22]].concat()),
                    _ => chain.extend(build::destination_options(next)),
                }
            }
            let first = headers.first().copied().unwrap_or(protocol);
            build::ipv6(source, to, first, &[chain, octets].concat())
        },
    )
}
