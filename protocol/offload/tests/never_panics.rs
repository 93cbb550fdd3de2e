//! No octets make a codec panic; the fuzz targets' bodies, here on random octets, on damaged
//! messages and on the committed seeds.
#![cfg(test)]

use std::collections::BTreeSet;

use homeward_offload::testing::{Outcome, run_json, run_sms, run_soap, run_xml};
use proptest::prelude::*;

type Body = fn(&[u8]) -> Outcome;

const TARGETS: [(&str, Body); 4] = [
    ("offload_json", run_json),
    ("offload_xml", run_xml),
    ("offload_soap", run_soap),
    ("offload_sms", run_sms),
];

fn seeds(target: &str) -> Vec<Vec<u8>> {
    let corpus = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fuzz/corpus/");
    let mut paths: Vec<_> = std::fs::read_dir(format!("{corpus}{target}"))
        .unwrap()
        .map(|seed| seed.unwrap().path())
        .collect();
    paths.sort();
    paths.into_iter().map(|path| std::fs::read(path).unwrap()).collect()
}

proptest! {
    #[test]
    fn random_octets(octets in proptest::collection::vec(any::<u8>(), 0..300)) {
        for (_, body) in TARGETS {
            body(&octets);
        }
    }

    #[test]
    fn seeds_with_octets_changed(
        which in any::<proptest::sample::Index>(),
        changes in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 1..5),
        cut in any::<proptest::sample::Index>(),
    ) {
        for (target, body) in TARGETS {
            let seeds = seeds(target);
            let mut seed = seeds[which.index(seeds.len())].clone();
            for (at, octet) in &changes {
                let at = at.index(seed.len());
                seed[at] = *octet;
            }
            body(&seed);
            seed.truncate(cut.index(seed.len()));
            body(&seed);
        }
    }
}

/// The seeds of the fuzz targets, so that they stay good for something.
#[test]
fn the_seeds_come_to_every_outcome() {
    let mut came_to = BTreeSet::new();
    for (target, body) in TARGETS {
        let seeds = seeds(target);
        assert!(seeds.len() >= 4, "{target}");
        came_to.extend(
            seeds
                .iter()
                .map(|seed| body(seed))
                .flat_map(|(one, two)| [(target, one), (target, two)]),
        );
    }
    let mut missing = Vec::new();
    for (target, outcomes) in [
        ("offload_json", &["request", "credentials", "refused", "told invalid", "invalid"][..]),
        ("offload_xml", &["request", "credentials", "refused", "told invalid", "invalid"]),
        (
            "offload_soap",
            &[
                "call",
                "sender",
                "version",
                "must understand",
                "credentials",
                "refused",
                "told invalid",
            ],
        ),
        ("offload_sms", &["request", "credentials", "refused", "invalid", "text", "other octets"]),
    ] {
        let lacks = outcomes.iter().filter(|outcome| !came_to.contains(&(target, **outcome)));
        missing.extend(lacks.map(|outcome| (target, *outcome)));
    }
    assert_eq!(missing, []);
}
