//! No octets make the proxy panic; the fuzz targets' bodies, here on random octets and on the
//! committed seeds.
#![cfg(test)]

use homeward_proxy::testing::{fuzz_answer, fuzz_hop, fuzz_name, run_hop};
use proptest::prelude::*;

proptest! {
    #[test]
    fn random_octets(octets in proptest::collection::vec(any::<u8>(), 0..300)) {
        fuzz_hop(&octets);
        fuzz_answer(&octets);
        fuzz_name(&octets);
    }

    #[test]
    fn random_attributes_in_both_directions(
        choice in any::<u8>(),
        ask in attributes(),
        tell in attributes(),
    ) {
        fuzz_hop(&input(choice, &ask, &tell));
    }

    #[test]
    fn names_with_ats_and_bangs(name in "[a-cA-C.!@üß-]{0,20}") {
        fuzz_name(name.as_bytes());
    }
}

/// Attributes that are worth a look.
fn attributes() -> impl Strategy<Value = Vec<u8>> {
    let kinds = prop::sample::select(vec![1u8, 2, 3, 18, 24, 26, 27, 33, 60, 69, 79, 80, 126]);
    let vendor = (prop::sample::select(vec![9u32, 311, 32_473]), any::<u8>(), 0..3u8).prop_map(
        |(vendor, kind, form)| {
            let kind = if vendor == 311 { 11 + kind % 8 } else { kind };
            let head = [&vendor.to_be_bytes()[..], &[kind, 20 + form]].concat();
            [head, vec![0x80; 18]].concat()
        },
    );
    let one = prop_oneof![
        (kinds, proptest::collection::vec(any::<u8>(), 0..40)),
        vendor.prop_map(|value| (26, value)),
    ];
    proptest::collection::vec(one, 0..12).prop_map(|list| {
        list.into_iter()
            .flat_map(|(kind, value)| [vec![kind, value.len() as u8 + 2], value].concat())
            .collect()
    })
}

/// The attributes in the fuzz target's form; an unused attribute fills up to sixteens.
fn input(choice: u8, ask: &[u8], tell: &[u8]) -> Vec<u8> {
    let mut ask = ask.to_vec();
    let room = (16 - (ask.len() + 2) % 16) % 16;
    ask.extend([200, room as u8 + 2]);
    ask.resize(ask.len() + room, 7);
    [&[choice, (ask.len() / 16) as u8][..], &ask, tell].concat()
}

/// The seeds of the fuzz targets, so that they stay good for something.
#[test]
fn the_seeds_come_to_every_outcome() {
    let corpus = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fuzz/corpus/");
    let mut came_to = std::collections::BTreeSet::new();
    for (target, body) in [
        ("proxy_hop", fuzz_hop as fn(&[u8])),
        ("proxy_answer", fuzz_answer),
        ("proxy_name", fuzz_name),
    ] {
        let seeds: Vec<_> = std::fs::read_dir(format!("{corpus}{target}")).unwrap().collect();
        assert!(seeds.len() >= 4, "{target}");
        for seed in seeds {
            let octets = std::fs::read(seed.unwrap().path()).unwrap();
            body(&octets);
            came_to.extend((target == "proxy_hop").then(|| run_hop(&octets)).flatten());
        }
    }
    assert_eq!(came_to, ["answered", "dropped", "rejected"].into());
}
