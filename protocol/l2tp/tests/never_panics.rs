//! No octets make a decoder panic; the fuzz targets' bodies, here on random and on mangled packets.
#![cfg(test)]

use homeward_l2tp::testing::{fuzz_echo, fuzz_packet, session};
use homeward_l2tp::{
    Delivery, Discard, Echo, EchoError, Encapsulation, Inbound, InboundSettings, InnerHeader,
    Sublayer,
};
use homeward_model::Instant;
use proptest::prelude::*;

const CORPUS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fuzz/corpus/");

fn seed(name: &str) -> Vec<u8> {
    std::fs::read(format!("{CORPUS}{name}")).unwrap()
}

proptest! {
    #[test]
    fn random_octets(octets in proptest::collection::vec(any::<u8>(), 0..300)) {
        fuzz_packet(&octets);
        fuzz_echo(&octets);
        let here = [10, 0, 0, 1].into();
        let _ = InnerHeader::new(here, [10, 0, 0, 2].into(), 0).open(&octets);
    }

    #[test]
    fn sound_packets_with_some_octets_changed(
        name in prop::sample::select(vec!["udp-fragments", "ip-fragments", "udp-echo"]),
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let mut octets = seed(&format!("l2tp_packet/{name}"));
        for (at, value) in changes {
            let at = at.index(octets.len());
            octets[at] = value;
        }
        fuzz_packet(&octets);
    }

    #[test]
    fn a_message_with_some_octets_changed(
        changes in proptest::collection::vec((0usize..16, any::<u8>()), 0..3),
        padding in 0usize..100,
    ) {
        let mut octets = seed("l2tp_echo/request");
        octets.resize(16 + padding, 0xaa);
        for (at, value) in changes {
            octets[at] = value;
        }
        fuzz_echo(&octets);
    }
}

/// The seeds of the fuzz targets, so that they stay good for something.
#[test]
fn the_seeds_are_what_their_names_say() {
    for (target, body) in [("l2tp_packet", fuzz_packet as fn(&[u8])), ("l2tp_echo", fuzz_echo)] {
        for seed in std::fs::read_dir(format!("{CORPUS}{target}")).unwrap() {
            body(&std::fs::read(seed.unwrap().path()).unwrap());
        }
    }
    for (name, encapsulation) in [("udp", Encapsulation::Udp), ("ip", Encapsulation::Ip)] {
        let session = session(encapsulation, Sublayer::Numbered).unwrap();
        let last = |kind: &str| {
            let octets = seed(&format!("l2tp_packet/{name}-{kind}"));
            let mut inbound = Inbound::new(&session, InboundSettings::default());
            let (mut rest, mut last) = (&octets[..], None);
            while let Some((len, more)) = rest.split_first_chunk() {
                let (packet, more) = more.split_at(u16::from_be_bytes(*len).into());
                rest = more;
                last = Some(match inbound.accept(packet, Instant::ORIGIN) {
                    Ok(Delivery::Frame(frame)) => Ok(frame.to_vec()),
                    Ok(Delivery::Control(message)) => Ok(message.to_vec()),
                    Ok(Delivery::Pending) => Ok(Vec::new()),
                    Err(reason) => Err(reason),
                });
            }
            last.unwrap()
        };
        assert_eq!(last("numbered"), Err(Discard::Duplicate));
        assert_eq!(last("fragments").unwrap().len(), 66);
        assert_eq!(last("control"), Err(Discard::ControlMessage));
        assert_eq!(last("cookie"), Err(Discard::Cookie));
        assert_eq!(Echo::decode(&last("echo").unwrap()).unwrap().padding, 8);
    }
    assert_eq!(Echo::decode(&seed("l2tp_echo/later-version")), Err(EchoError::Version(2)));
    assert_eq!(Echo::decode(&seed("l2tp_echo/icmp-channel")), Err(EchoError::Channel));
}
