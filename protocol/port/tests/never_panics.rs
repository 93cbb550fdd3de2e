//! No octets make a port panic, or forget what it promises; the fuzz target's body, here on random
//! and on mangled frames.
#![cfg(test)]

use homeward_port::testing::{build, fuzz_port};
use proptest::prelude::*;

const CORPUS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fuzz/corpus/port_frame");

fn seeds() -> Vec<Vec<u8>> {
    let files = std::fs::read_dir(CORPUS).unwrap();
    files.map(|seed| std::fs::read(seed.unwrap().path()).unwrap()).collect()
}

#[test]
fn the_seeds_pass_through_the_target() {
    let seeds = seeds();
    assert!(seeds.len() >= 10);
    for seed in seeds {
        fuzz_port(&seed);
    }
}

/// A record of the fuzz target, with the device's address put in.
fn record(from: bool, frame: &[u8]) -> Vec<u8> {
    let length = u16::try_from(frame.len()).unwrap().to_be_bytes();
    [&[u8::from(from) | 2, length[0], length[1]][..], frame].concat()
}

proptest! {
    #[test]
    fn random_octets(octets in prop::collection::vec(any::<u8>(), 0..300)) {
        fuzz_port(&octets);
        fuzz_port(&record(true, &octets));
        fuzz_port(&record(false, &octets));
    }

    #[test]
    fn random_octets_in_packets_of_every_protocol(
        from: bool,
        protocol: u8,
        octets in prop::collection::vec(any::<u8>(), 0..300),
    ) {
        let [a, b] = [[192, 168, 1, 50].into(), [192, 168, 1, 1].into()];
        let [c, d] = ["fe80::50", "fe80::1"].map(|text| text.parse().unwrap());
        for (ethertype, packet) in [
            (build::IPV4, build::ipv4(a, b, protocol, &octets)),
            (build::IPV4, build::ipv4(a, b, 17, &build::udp(68, 67, &octets))),
            (build::IPV4, build::ipv4(b, a, 17, &build::udp(67, 68, &octets))),
            (build::IPV6, build::ipv6(c, d, protocol, &octets)),
            (build::IPV6, build::ipv6(c, d, 58, &octets)),
            (build::IPV6, build::ipv6(d, c, 17, &build::udp(547, 546, &octets))),
            (build::ARP, octets),
        ] {
            let frame = build::ethernet(build::BROADCAST, build::BROADCAST, ethertype, &packet);
            fuzz_port(&record(from, &frame));
        }
    }

    #[test]
    fn seeds_with_some_octets_changed(
        which: prop::sample::Index,
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
    ) {
        let mut seed = which.get(&seeds()).clone();
        for (at, octet) in changes {
            let at = at.index(seed.len());
            seed[at] = octet;
        }
        fuzz_port(&seed);
    }
}
