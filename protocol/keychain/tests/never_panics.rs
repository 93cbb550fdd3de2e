//! Anything may be sent; a message has one encoding.
// So that clippy knows the helpers for tests too.
#![cfg(test)]

use homeward_keychain::server::Policy;
use homeward_keychain::testing::{World, fuzz_message, network};
use homeward_keychain::{Challenge, Demand, Fetch, Fetched, Proof, Record, Response};
use proptest::prelude::*;

proptest! {
    #[test]
    fn octets_are_read_or_refused(data in prop::collection::vec(any::<u8>(), 0..400), kind in 0u8..9) {
        fuzz_message(&data);
        fuzz_message(&[&[1, kind], data.as_slice()].concat());
    }
}

#[test]
fn what_is_written_is_read_and_nothing_may_follow_it() {
    let mut world = World::new(1, 2, Policy::default());
    world.hop(&network(0)).unwrap();
    let challenge = world.challenge(&network(1));
    let key = homeward_keychain::testing::device_key(1, &network(1));
    let who = "d1@example.net".parse().unwrap();
    let response = world.device.answer(&challenge, who, &key, &mut world.seed).unwrap();
    let fetch = Fetch { ticket: response.ticket.clone().unwrap() };
    let fetched = world.visits[0].export(&network(1), &fetch).unwrap();
    let demand = world.server.demand(&mut world.seed);
    let proof = world.device.prove(&demand).unwrap();
    let record = world.server.records().next().unwrap().clone();
    assert_eq!(Challenge::decode(&challenge.encode()), Ok(challenge.clone()));
    assert_eq!(Response::decode(&response.encode()), Ok(response.clone()));
    assert_eq!(Fetch::decode(&fetch.encode()), Ok(fetch.clone()));
    assert_eq!(Fetched::decode(&fetched.encode()).unwrap().records, fetched.records);
    assert_eq!(Demand::decode(&demand.encode()), Ok(demand.clone()));
    assert_eq!(Proof::decode(&proof.encode()), Ok(proof.clone()));
    assert_eq!(Record::decode(&record.encode()), Ok(record.clone()));
    for octets in [
        challenge.encode(),
        response.encode(),
        fetch.encode(),
        fetched.encode(),
        demand.encode(),
        proof.encode(),
        record.encode(),
    ] {
        fuzz_message(&octets);
        let longer = [octets.as_slice(), &[0]].concat();
        let read = [
            Challenge::decode(&longer).is_ok(),
            Response::decode(&longer).is_ok(),
            Fetch::decode(&longer).is_ok(),
            Fetched::decode(&longer).is_ok(),
            Demand::decode(&longer).is_ok(),
            Proof::decode(&longer).is_ok(),
            Record::decode(&longer).is_ok(),
        ];
        assert_eq!(read, [false; 7]);
    }
}

/// A challenge was answered by `d1@example.net`, at the first hop.
fn answered() -> Vec<u8> {
    let mut world = World::new(1, 2, Policy::default());
    let (challenge, key) =
        (world.challenge(&network(0)), homeward_keychain::testing::device_key(1, &network(0)));
    let who = "d1@example.net".parse().unwrap();
    world.device.answer(&challenge, who, &key, &mut world.seed).unwrap().encode()
}

#[test]
fn what_could_be_written_in_two_ways_is_read_in_one() {
    let good = answered();
    let from = good.windows(11).position(|w| w == b"example.net").unwrap();
    let mut shouted = good.clone();
    shouted[from] = b'E';
    assert!(Response::decode(&shouted).unwrap_err().to_string().contains("realm"));
    // Whether there is a ticket is the octet before the tag.
    let flag = good.len() - 33;
    let mut either = good.clone();
    either[flag] = 2;
    assert!(Response::decode(&either).unwrap_err().to_string().contains("whether"));
    Response::decode(&good).unwrap();
}

#[test]
fn a_number_that_is_too_large_is_refused_before_anything_is_made_of_it() {
    let records = [&[1, 5][..], &[0; 32], &[0xff, 0xff], &[0; 64]].concat();
    let error = Fetched::decode(&records).unwrap_err().to_string();
    assert!(error.contains("the number of records"), "{error}");
    let tags = [&[1, 7][..], &[0; 8], &[0, 65], &[0; 65 * 32]].concat();
    let error = Proof::decode(&tags).unwrap_err().to_string();
    assert!(error.contains("the number of tags"), "{error}");
}
