//! No octets make the decoder or the table panic; the fuzz target's body, here on random and on
//! mangled packets.
#![cfg(test)]

use std::collections::BTreeSet;

use homeward_bearer::testing::{fuzz_report, source};
use homeward_bearer::{Kind, Report};
use homeward_radius::Packet;
use proptest::prelude::*;

const CORPUS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fuzz/corpus/bearer_report");

fn seed(name: &str) -> Vec<u8> {
    std::fs::read(format!("{CORPUS}/{name}")).unwrap()
}

proptest! {
    #[test]
    fn random_attributes_under_a_sound_header(
        attributes in proptest::collection::vec(any::<u8>(), 0..300),
    ) {
        let length = u16::try_from(20 + attributes.len()).unwrap().to_be_bytes();
        fuzz_report(&[&[4, 0, length[0], length[1]][..], &[0; 16], &attributes].concat());
    }

    #[test]
    fn a_sound_packet_with_some_octets_changed(
        name in prop_oneof![Just("start"), Just("interim"), Just("stop"), Just("on")],
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
    ) {
        let mut octets = seed(name);
        for (at, value) in changes {
            let at = at.index(octets.len());
            octets[at] = value;
        }
        fuzz_report(&octets);
    }
}

/// The seeds of the fuzz target, so that they stay good for something.
#[test]
fn the_seeds_are_reports() {
    let mut kinds = BTreeSet::new();
    for seed in std::fs::read_dir(CORPUS).unwrap() {
        let seed = seed.unwrap();
        let octets = std::fs::read(seed.path()).unwrap();
        fuzz_report(&octets);
        let report = Report::decode(&Packet::decode(&octets).unwrap(), &source("gw"));
        kinds.insert(report.unwrap_or_else(|e| panic!("{:?}: {e}", seed.file_name())).kind);
    }
    assert_eq!(kinds.len(), Kind::ALL.len(), "one seed at least of each kind");
}
