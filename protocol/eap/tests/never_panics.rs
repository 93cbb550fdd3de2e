//! No octets make a decoder or a machine panic; the fuzz targets' bodies, here on their seeds, on
//! random and on mangled input.
#![cfg(test)]

use homeward_eap::testing::{fuzz_conversation, fuzz_mschapv2, fuzz_packet, fuzz_ttls_avps};
use proptest::prelude::*;

/// A target, by the name of its corpus.
type Target = (&'static str, fn(&[u8]));

const TARGETS: [Target; 4] = [
    ("eap_packet", fuzz_packet),
    ("eap_conversation", fuzz_conversation),
    ("eap_ttls_avps", fuzz_ttls_avps),
    ("eap_mschapv2", fuzz_mschapv2),
];

/// The seeds of a target, by name.
fn seeds(target: &str) -> Vec<(String, Vec<u8>)> {
    let folder = format!("{}/../../fuzz/corpus/{target}", env!("CARGO_MANIFEST_DIR"));
    let mut seeds: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap())
        .map(|entry| {
            let name = entry.file_name().into_string().unwrap();
            (name, std::fs::read(entry.path()).unwrap())
        })
        .collect();
    seeds.sort();
    seeds
}

#[test]
fn every_seed_passes() {
    for (target, body) in TARGETS {
        let seeds = seeds(target);
        assert!(seeds.len() >= 4, "{target} has a corpus");
        seeds.iter().for_each(|(_, octets)| body(octets));
    }
}

proptest! {
    #[test]
    fn random_octets(octets in proptest::collection::vec(any::<u8>(), 0..300)) {
        TARGETS.iter().for_each(|(_, body)| body(&octets));
    }

    #[test]
    fn seeds_with_some_octets_changed(
        target in 0..TARGETS.len(),
        seed in any::<prop::sample::Index>(),
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
    ) {
        let (name, body) = TARGETS[target];
        let seeds = seeds(name);
        let mut octets = seeds[seed.index(seeds.len())].1.clone();
        for (at, value) in changes {
            if !octets.is_empty() {
                let at = at.index(octets.len());
                octets[at] = value;
            }
        }
        body(&octets);
    }
}
