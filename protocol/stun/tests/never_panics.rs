//! No octets make the decoder panic; what is written is read as the same.
#![cfg(test)]

use std::net::{IpAddr, SocketAddr};

use homeward_stun::message::{refusal, request, success};
use homeward_stun::testing::{Counted, fuzz_message};
use homeward_stun::{
    Answerer, AnswererSettings, Asker, AskerSettings, Class, DecodeError, Message, TransactionId,
};
use proptest::prelude::*;

const CORPUS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fuzz/corpus/stun_message");

fn id() -> impl Strategy<Value = TransactionId> {
    any::<[u8; 12]>().prop_map(TransactionId)
}

fn address() -> impl Strategy<Value = SocketAddr> {
    let v4 = any::<[u8; 4]>().prop_map(IpAddr::from);
    let v6 = any::<[u8; 16]>().prop_map(IpAddr::from);
    (prop_oneof![v4, v6], any::<u16>()).prop_map(|(ip, port)| SocketAddr::new(ip, port))
}

fn any_message() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        id().prop_map(|id| request(id).to_vec()),
        (id(), address()).prop_map(|(id, source)| success(id, source)),
        (id(), proptest::collection::vec(any::<u16>(), 0..12)).prop_map(|(id, of)| refusal(id, of)),
    ]
}

proptest! {
    #[test]
    fn an_address_is_read_as_it_was_written(id in id(), source in address()) {
        let octets = success(id, source);
        let message = Message::decode(&octets).unwrap();
        let mapped = SocketAddr::new(source.ip().to_canonical(), source.port());
        prop_assert_eq!((message.id, message.mapped()), (id, Some(mapped)));
    }

    #[test]
    fn random_octets(octets in proptest::collection::vec(any::<u8>(), 0..100)) {
        fuzz_message(&octets);
    }

    #[test]
    fn sound_messages_with_some_octets_changed(
        mut octets in any_message(),
        more in proptest::collection::vec(any::<u8>(), 0..9),
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
    ) {
        octets.extend(more);
        for (at, value) in changes {
            let at = at.index(octets.len());
            octets[at] = value;
        }
        fuzz_message(&octets);
    }
}

/// The seeds of the fuzz target, so that they stay good for something.
#[test]
fn the_seeds_are_what_their_names_say() {
    for seed in std::fs::read_dir(CORPUS).unwrap() {
        fuzz_message(&std::fs::read(seed.unwrap().path()).unwrap());
    }
    let seed = |name: &str| std::fs::read(format!("{CORPUS}/{name}")).unwrap();
    let read = |name: &str, of: fn(Message<'_>)| of(Message::decode(&seed(name)).expect(name));
    read("request", |m| assert_eq!((m.class, m.attributes().count()), (Class::Request, 0)));
    read("request-software", |m| assert_eq!(m.not_understood().count(), 0));
    read("request-change", |m| assert_eq!(m.not_understood().collect::<Vec<_>>(), [3]));
    read("request-priority-username", |m| {
        assert_eq!(m.not_understood().collect::<Vec<_>>(), [0x24]);
    });
    read("indication", |m| assert_eq!(m.class, Class::Indication));
    read("error-420", |m| assert_eq!(m.error(), Some(420)));
    for name in ["success-v4", "success-v6", "success-mapped", "success-believed"] {
        read(name, |m| assert!(m.mapped().is_some()));
    }
    for (name, error) in [
        ("attribute-too-long", DecodeError::Attribute(0x20)),
        ("before-rfc5389", DecodeError::NotStun),
        ("wireguard-initiation", DecodeError::Length { said: 0, are: 128 }),
    ] {
        assert_eq!(Message::decode(&seed(name)), Err(error), "{name}");
    }
}

/// The target's own asker, so that the seed gets to where answers are believed.
#[test]
fn the_seed_that_is_believed_is() {
    let (server, now) = ("192.0.2.1:3478".parse().unwrap(), homeward_model::Instant::ORIGIN);
    let mut entropy = Counted(1);
    drop(Answerer::new(AnswererSettings::default(), &mut entropy));
    let mut asker = Asker::new(AskerSettings::default());
    asker.set_servers([server], now);
    asker.handle_timeout(now, &mut entropy);
    let octets = std::fs::read(format!("{CORPUS}/success-believed")).unwrap();
    assert!(asker.handle_datagram(server, None, &octets, now));
}
