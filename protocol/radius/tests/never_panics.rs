//! No octets make a decoder panic; the fuzz targets' bodies, here on random and on mangled packets.
#![cfg(test)]

use homeward_model::{LookupForm, Secret};
use homeward_radius::lookup::read_answer;
use homeward_radius::testing::{fuzz_lookup, fuzz_packet, fuzz_stream};
use homeward_radius::{Builder, Code, LookupRequest, Packet, SharedSecret};
use proptest::prelude::*;

/// A sound question, to be mangled.
fn question() -> Vec<u8> {
    let secret = SharedSecret::new(&Secret::new("xyzzy5461")).unwrap();
    let question = LookupRequest {
        mac: homeward_model::Mac::new([2, 0, 0x5e, 0x10, 0, 1]),
        ssid: "Home".parse().unwrap(),
        nas_identifier: Some("gw-17"),
        bssid: Some(homeward_model::Mac::new([2, 0, 0, 0, 1, 0])),
        signal: Some(homeward_model::Rssi(-60)),
    };
    let mut out = Vec::new();
    let mut packet = Builder::request(&mut out, &secret, Code::AccessRequest, 1, [7; 16]);
    question.attributes(LookupForm::Homeward).unwrap().write_to(&mut packet).unwrap();
    packet.finish();
    out
}

proptest! {
    #[test]
    fn random_octets(octets in proptest::collection::vec(any::<u8>(), 0..300)) {
        fuzz_packet(&octets);
        fuzz_lookup(&octets);
    }

    #[test]
    fn random_attributes_under_a_sound_header(
        code in 1u8..=12,
        attributes in proptest::collection::vec(any::<u8>(), 0..300),
    ) {
        let length = u16::try_from(20 + attributes.len()).unwrap().to_be_bytes();
        let octets =
            [&[code, 0, length[0], length[1]][..], &[0; 16], &attributes].concat();
        fuzz_packet(&octets);
        fuzz_lookup(&octets);
    }

    #[test]
    fn a_sound_packet_with_some_octets_changed(
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
    ) {
        let mut octets = question();
        for (at, value) in changes {
            let at = at.index(octets.len());
            octets[at] = value;
        }
        fuzz_packet(&octets);
        fuzz_lookup(&octets);
    }
}

/// The seeds of the fuzz targets, so that they stay good for something.
#[test]
fn the_seeds_are_packets_and_questions_and_answers() {
    let corpus = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fuzz/corpus/");
    for (target, body) in [
        ("radius_packet", fuzz_packet as fn(&[u8])),
        ("radius_lookup", fuzz_lookup),
        ("radius_stream", fuzz_stream),
    ] {
        for seed in std::fs::read_dir(format!("{corpus}{target}")).unwrap() {
            body(&std::fs::read(seed.unwrap().path()).unwrap());
        }
    }
    let secret = SharedSecret::new(&Secret::new("xyzzy5461")).unwrap();
    let seed = |name: &str| std::fs::read(format!("{corpus}radius_lookup/{name}")).unwrap();
    for (name, form) in
        [("question-homeward", LookupForm::Homeward), ("question-hostapd", LookupForm::Hostapd)]
    {
        let octets = seed(name);
        let question = LookupRequest::decode(&Packet::decode(&octets).unwrap(), &secret, form);
        assert!(question.is_ok(), "{name}: {question:?}");
    }
    for name in ["grant-wpa2-wpa3", "grant-wpa2", "refusal"] {
        let octets = seed(name);
        let answer = read_answer(&Packet::decode(&octets).unwrap(), &secret, &[0; 16]);
        assert!(answer.is_ok(), "{name}: {answer:?}");
    }
}
