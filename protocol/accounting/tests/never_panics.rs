//! No octets make the decoder panic; the fuzz target's body, here on random and on mangled packets.
#![cfg(test)]

use homeward_accounting::testing::fuzz_record;
use homeward_accounting::{Kind, Record};
use homeward_model::Secret;
use homeward_radius::dictionary::standard as s;
use homeward_radius::{Builder, Code, Packet, SharedSecret};
use proptest::prelude::*;

/// A sound record, to be mangled.
fn stop() -> Vec<u8> {
    let secret = SharedSecret::new(&Secret::new("xyzzy5461")).unwrap();
    let mut out = Vec::new();
    let mut packet = Builder::request(&mut out, &secret, Code::AccountingRequest, 1, [0; 16]);
    packet.text(s::NAS_IDENTIFIER, "gw-17").unwrap();
    packet.text(s::ACCT_SESSION_ID, "5B7A0C-00000001").unwrap();
    packet.text(s::USER_NAME, "ann@example.net").unwrap();
    packet.text(s::CALLING_STATION_ID, "02-00-5E-10-00-01").unwrap();
    packet.text(s::CALLED_STATION_ID, "02-00-00-00-01-00:Home").unwrap();
    packet.octets(s::FRAMED_IPV6_PREFIX, &[0, 64, 0x20, 1, 0xd, 0xb8]).unwrap();
    for (kind, value) in [
        (s::ACCT_STATUS_TYPE, 2),
        (s::EVENT_TIMESTAMP, 1_800_000_000),
        (s::ACCT_SESSION_TIME, 60),
        (s::ACCT_INPUT_OCTETS, 1000),
        (s::ACCT_INPUT_GIGAWORDS, 1),
        (s::ACCT_OUTPUT_OCTETS, 2000),
        (s::ACCT_TERMINATE_CAUSE, 1),
    ] {
        packet.integer(kind, value).unwrap();
    }
    packet.finish();
    out
}

proptest! {
    #[test]
    fn random_octets(octets in proptest::collection::vec(any::<u8>(), 0..300)) {
        fuzz_record(&octets);
    }

    #[test]
    fn random_attributes_under_a_sound_header(
        attributes in proptest::collection::vec(any::<u8>(), 0..300),
    ) {
        let length = u16::try_from(20 + attributes.len()).unwrap().to_be_bytes();
        fuzz_record(&[&[4, 0, length[0], length[1]][..], &[0; 16], &attributes].concat());
    }

    #[test]
    fn a_sound_packet_with_some_octets_changed(
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
    ) {
        let mut octets = stop();
        for (at, value) in changes {
            let at = at.index(octets.len());
            octets[at] = value;
        }
        fuzz_record(&octets);
    }
}

/// The seeds of the fuzz target, so that they stay good for something.
#[test]
fn the_seeds_are_records() {
    let corpus = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fuzz/corpus/accounting_record");
    let mut kinds = std::collections::BTreeSet::new();
    for seed in std::fs::read_dir(corpus).unwrap() {
        let seed = seed.unwrap();
        let octets = std::fs::read(seed.path()).unwrap();
        fuzz_record(&octets);
        let record = Record::decode(&Packet::decode(&octets).unwrap(), &"nas".parse().unwrap());
        kinds.insert(record.unwrap_or_else(|e| panic!("{:?}: {e}", seed.file_name())).kind);
    }
    assert_eq!(kinds.len(), Kind::ALL.len(), "one seed at least of each kind");
}
