//! Anything may be sent; a message has one encoding.
// So that clippy knows the helpers for tests too.
#![cfg(test)]

use homeward_keychain::server::Policy;
use homeward_keychain::testing::{World, device_key, flow, fuzz_message, fuzz_state, network};
use homeward_keychain::{
    Challenge, Demand, Device, Fetch, Fetched, Proof, Record, Response, Server, Visit, Welcome,
};
use proptest::prelude::*;

proptest! {
    #[test]
    fn octets_are_read_or_refused(data in prop::collection::vec(any::<u8>(), 0..400), kind in 0u8..10) {
        fuzz_message(&data);
        fuzz_message(&[&[1, kind], data.as_slice()].concat());
        fuzz_state(&data);
        fuzz_state(&[&[1, 60 + kind], data.as_slice()].concat());
    }
}

#[test]
fn what_is_written_is_read_and_nothing_may_follow_it() {
    let mut world = World::new(1, 2, Policy::default());
    world.hop(&network(0)).unwrap();
    let question = world.question(&network(1));
    let challenge = question.challenge();
    let response = world.answer(challenge, &device_key(1, &network(1))).unwrap();
    let fetch = Fetch { ticket: response.ticket.clone().unwrap() };
    let fetched = world.visits[0].export(&network(1), &fetch).unwrap();
    let demand = world.server.demand(flow(), &mut world.seed);
    let proof = world.device.prove(&demand, &flow()).unwrap();
    let welcome = world.visits[0].welcome().unwrap();
    let record = welcome.record.clone();
    assert_eq!(Challenge::decode(&challenge.encode()), Ok(challenge.clone()));
    assert_eq!(Welcome::decode(&welcome.encode()), Ok(welcome.clone()));
    assert_eq!(Response::decode(&response.encode()), Ok(response.clone()));
    assert_eq!(Fetch::decode(&fetch.encode()), Ok(fetch.clone()));
    assert_eq!(Fetched::decode(&fetched.encode()).unwrap().records, fetched.records);
    assert_eq!(Demand::decode(&demand.encode()).as_ref(), Ok(&*demand));
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
        welcome.encode(),
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
            Welcome::decode(&longer).is_ok(),
        ];
        assert_eq!(read, [false; 8]);
    }
}

/// A challenge was answered by `d1@example.net`, at the first hop.
fn answered() -> Response {
    let mut world = World::new(1, 2, Policy::default());
    let question = world.question(&network(0));
    world.answer(question.challenge(), &device_key(1, &network(0))).unwrap()
}

#[test]
fn what_is_kept_over_a_restart_is_what_goes_on() {
    let mut world = World::new(1, 3, Policy::default());
    for n in [0, 1, 2, 0] {
        world.hop(&network(n)).unwrap();
        for (at, visit) in world.visits.iter_mut().enumerate() {
            let saved = visit.save().unwrap();
            fuzz_state(&saved);
            *visit = Visit::restore(&saved).unwrap();
            assert!(Visit::restore(&saved[..saved.len() - 1 - at]).is_err());
        }
        for before in [true, false] {
            let (device, server) = (world.device.save(), world.server.save());
            fuzz_state(&device);
            fuzz_state(&server);
            world.device = Device::restore(&device).unwrap();
            world.server = Server::restore(&server, Policy::default()).unwrap();
            assert_eq!((world.device.save(), world.server.save()), (device, server));
            if before {
                world.check().unwrap();
            }
        }
    }
    // What a hop was opened for is kept, too: its key goes to few networks, over restarts.
    let _ = world.authorise(&network(1)).map(|visit| world.fetch(&visit).unwrap()).unwrap();
    let saved = world.visits[3].save().unwrap();
    let shorter = world.visits[2].save().unwrap();
    assert!(saved.len() > shorter.len());
    fuzz_state(&saved);
}

#[test]
fn what_could_be_written_in_two_ways_is_read_in_one() {
    let answer = answered();
    let good = answer.encode();
    let from = good.windows(11).position(|w| w == b"example.net").unwrap();
    let mut shouted = good.clone();
    shouted[from] = b'E';
    assert!(Response::decode(&shouted).unwrap_err().to_string().contains("realm"));
    // Whether there is a ticket is the octet before it.
    let length = homeward_keychain::Fetch { ticket: answer.ticket.unwrap() }.encode().len() - 2;
    let flag = good.len() - 32 - length - 1;
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
    let tags = [&[1, 7][..], &[0; 32], &[0, 65], &[0; 65 * 32]].concat();
    let error = Proof::decode(&tags).unwrap_err().to_string();
    assert!(error.contains("the number of tags"), "{error}");
}
