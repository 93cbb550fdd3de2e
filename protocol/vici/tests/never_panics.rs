//! No octets make the decoder panic, and what it reads is written as it was.
#![cfg(test)]

use homeward_vici::testing::fuzz_packet;
use homeward_vici::{Entry, Packet, Section};
use proptest::prelude::*;

const CORPUS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fuzz/corpus/vici_packet");

fn seeds() -> Vec<Vec<u8>> {
    let files = std::fs::read_dir(CORPUS).unwrap();
    files.map(|file| std::fs::read(file.unwrap().path()).unwrap()).collect()
}

fn section() -> impl Strategy<Value = Section> {
    let value = || prop::collection::vec(any::<u8>(), 0..40);
    let leaf = Just(Section::default());
    leaf.prop_recursive(4, 24, 4, move |inner| {
        let entry = prop_oneof![
            value().prop_map(|value| Entry::Value(value.into())),
            prop::collection::vec(value(), 0..4)
                .prop_map(|values| Entry::List(values.into_iter().map(Into::into).collect())),
            inner.prop_map(Entry::Section),
        ];
        prop::collection::vec(("[a-z0-9@._-]{1,12}", entry), 0..5).prop_map(|entries| {
            let none = Section::default();
            entries.into_iter().fold(none, |all, (name, entry)| all.with(&name, entry))
        })
    })
}

fn packet() -> impl Strategy<Value = Packet> {
    let name = || "[a-z-]{1,20}";
    prop_oneof![
        (name(), section()).prop_map(|(name, message)| Packet::Request(name, message)),
        section().prop_map(Packet::Response),
        Just(Packet::UnknownCommand),
        name().prop_map(Packet::Register),
        name().prop_map(Packet::Unregister),
        Just(Packet::Confirm),
        Just(Packet::UnknownEvent),
        (name(), section()).prop_map(|(name, message)| Packet::Event(name, message)),
    ]
}

proptest! {
    #[test]
    fn what_is_written_is_read(packet in packet()) {
        let written = packet.encode().unwrap();
        prop_assert_eq!(Packet::decode(&written[4..]), Ok(packet));
    }

    #[test]
    fn octets_are_read_or_refused(octets in prop::collection::vec(any::<u8>(), 0..300), kind in 0u8..9) {
        fuzz_packet(&octets);
        fuzz_packet(&[&[kind], octets.as_slice()].concat());
    }

    #[test]
    fn a_sound_packet_with_some_octets_changed(
        seed in any::<prop::sample::Index>(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
    ) {
        let seeds = seeds();
        let mut octets = seed.get(&seeds).clone();
        for (at, value) in changes {
            let at = at.index(octets.len());
            octets[at] = value;
        }
        fuzz_packet(&octets);
    }
}

/// The seeds of the fuzz target, so that they stay good for something.
#[test]
fn the_seeds_are_packets() {
    let seeds = seeds();
    assert!(seeds.len() >= 4);
    for seed in seeds {
        fuzz_packet(&seed);
        Packet::decode(&seed).unwrap();
    }
}
