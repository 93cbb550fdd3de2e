//! What a chain withstands: each test is one network, device or stranger that does what it must
//! not, and the hop that is named.
// So that clippy knows the helpers for tests too.
#![cfg(test)]

use std::time::Duration;

use homeward_keychain::message::SessionId;
use homeward_keychain::module::Previous;
use homeward_keychain::server::Policy;
use homeward_keychain::testing::{World, device_key, network};
use homeward_keychain::{Device, Refusal, Side, Visit, Why};
use homeward_model::UnixTime;

fn world(networks: usize) -> World {
    World::new(7, networks, Policy::default())
}

/// Goes to these networks, and proves each hop.
fn walked(path: &[usize]) -> World {
    let mut world = world(8);
    for n in path {
        world.hop(&network(*n)).unwrap();
        world.check().unwrap();
    }
    world
}

fn refused(hop: u16, why: Why) -> Result<(), Refusal> {
    Err(Refusal { hop, why })
}

#[test]
fn a_device_that_goes_back_and_forth_is_admitted_at_every_hop() {
    let mut world = world(3);
    for (at, n) in [0, 1, 0, 2, 1, 2, 0].into_iter().enumerate() {
        world.hop(&network(n)).unwrap();
        let admitted = world.check().unwrap();
        assert_eq!((usize::from(admitted.hops), admitted.broken.len()), (at + 1, 0));
        let keys = [
            world.device.key().unwrap(),
            world.visits.last().unwrap().key().unwrap(),
            world.server.key().unwrap(),
        ];
        let traffic = keys.map(|key| *key.traffic("wireguard").expose());
        assert!(traffic.iter().all(|key| *key == traffic[0]), "all three have one key");
    }
    let trace: Vec<_> = world.server.records().map(|record| record.network.to_string()).collect();
    assert_eq!(trace.len(), 7);
    assert_eq!(trace[2], network(0).to_string());
}

#[test]
fn each_hop_and_each_purpose_has_a_traffic_key_of_its_own() {
    let mut world = walked(&[0]);
    let first = *world.server.key().unwrap().traffic("wireguard").expose();
    assert_ne!(first, *world.server.key().unwrap().traffic("sip").expose());
    world.hop(&network(1)).unwrap();
    assert_ne!(first, *world.server.key().unwrap().traffic("wireguard").expose());
}

#[test]
fn who_does_not_have_the_key_that_a_network_shares_with_a_device_is_not_authorised() {
    let mut world = walked(&[0]);
    let to = network(1);
    for (device, of) in [(2, &to), (1, &network(0))] {
        let challenge = world.challenge(&to);
        let who = "d1@example.net".parse().unwrap();
        let key = device_key(device, of);
        let response = world.device.answer(&challenge, who, &key, &mut world.seed).unwrap();
        let visit = Visit::authorise(challenge, &response, &device_key(1, &to));
        assert_eq!(visit.map(drop), refused(2, Why::NotAuthorised));
    }
}

#[test]
fn an_answer_is_good_for_the_challenge_it_answers_alone() {
    let mut world = walked(&[0]);
    let to = network(1);
    let (challenge, other) = (world.challenge(&to), world.challenge(&to));
    let who = "d1@example.net".parse().unwrap();
    let key = device_key(1, &to);
    let response = world.device.answer(&challenge, who, &key, &mut world.seed).unwrap();
    let visit = Visit::authorise(other, &response, &key);
    assert_eq!(visit.map(drop), refused(2, Why::NotAuthorised));
    Visit::authorise(challenge, &response, &key).unwrap();
}

#[test]
fn a_network_that_does_not_fetch_the_key_before_is_found_out_by_the_server() {
    let mut world = walked(&[0]);
    let mut visit = world.authorise(&network(1)).unwrap();
    // It makes one up, with the records that it saw elsewhere.
    let Previous::Fetched(mut fetched) = world.fetch(&visit).unwrap() else { panic!() };
    fetched.export = homeward_keychain::key::Export::new([9; 32]);
    world.settle(&mut visit, Previous::Fetched(fetched), false).unwrap();
    world.visits.push(visit);
    assert_eq!(world.check().map(drop), refused(2, Why::NotProven(Side::Network)));
}

#[test]
fn a_network_that_never_saw_the_device_is_found_out() {
    let mut world = walked(&[0]);
    // It authorises somebody else, who knows the session: both are in league.
    let mut stranger = Device::new(world.visits[0].session(), "sip.example".parse().unwrap());
    std::mem::swap(&mut world.device, &mut stranger);
    let challenge = world.challenge(&network(1));
    let (who, key) = ("d2@example.net".parse().unwrap(), device_key(2, &network(1)));
    let mut response = world.device.answer(&challenge, who, &key, &mut world.seed).unwrap();
    assert_eq!(response.hop, 1, "who has made no hop has no ticket");
    response.hop = 2;
    assert!(Visit::authorise(challenge, &response, &key).is_err());
    std::mem::swap(&mut world.device, &mut stranger);
    world.check().unwrap();
}

#[test]
fn a_ticket_opens_the_key_to_the_network_that_it_is_for_and_nobody_else() {
    let mut world = walked(&[0]);
    let visit = world.authorise(&network(1)).unwrap();
    let (_, fetch) = visit.fetch().unwrap();
    let last = &mut world.visits[0];
    let other = last.export(&network(2), &fetch).map(drop);
    assert_eq!(other, refused(2, Why::NotItsTicket));
    let mut forged = fetch.clone();
    forged.ticket.to = network(2);
    assert_eq!(last.export(&network(2), &forged).map(drop), refused(2, Why::ForgedTicket));
    let mut early = fetch.clone();
    early.ticket.hop = 3;
    let expected = Why::OutOfOrder { found: 3, expected: 2 };
    assert_eq!(last.export(&network(1), &early).map(drop), refused(2, expected));
    let mut elsewhere = fetch.clone();
    elsewhere.ticket.session = SessionId([1; 16]);
    assert_eq!(last.export(&network(1), &elsewhere).map(drop), refused(2, Why::OtherSession));
    let mut before = fetch.clone();
    before.ticket.head.0[0] ^= 1;
    assert_eq!(last.export(&network(1), &before).map(drop), refused(2, Why::NotThatBefore));
    let given = last.export(&network(1), &fetch).unwrap();
    let again = last.export(&network(1), &fetch).unwrap();
    assert_eq!(given.export.expose(), again.export.expose(), "who asks again is given the same");
}

#[test]
fn a_ticket_of_an_earlier_hop_opens_nothing_any_more() {
    let mut world = walked(&[0]);
    let visit = world.authorise(&network(1)).unwrap();
    let (_, yesterday) = visit.fetch().unwrap();
    world.hop(&network(1)).unwrap();
    world.check().unwrap();
    let fresh = world.visits[1].export(&network(1), &yesterday).map(drop);
    assert_eq!(fresh, refused(3, Why::NotItsTicket));
    let expected = Why::OutOfOrder { found: 2, expected: 3 };
    let mut replayed = yesterday;
    replayed.ticket.of = network(1);
    assert_eq!(world.visits[1].export(&network(1), &replayed).map(drop), refused(3, expected));
}

#[test]
fn the_key_of_a_hop_goes_to_few_networks_only() {
    let mut world = walked(&[0]);
    let mut last = Ok(());
    for n in 0..9 {
        let visit = world.authorise(&network(1 + n % 7)).unwrap();
        last = world.fetch(&visit).map(drop);
    }
    assert_eq!(last, refused(2, Why::Exported));
}

#[test]
fn who_turns_away_from_a_network_on_the_way_is_not_held_up_by_it() {
    let mut world = walked(&[0]);
    let mut left = world.authorise(&network(1)).unwrap();
    let previous = world.fetch(&left).unwrap();
    let making = world.making(false);
    let signer = &world.signers[&network(1)];
    let (record, share) = left.integrate(previous, signer, &world.trust, &making).unwrap();
    let (trust, now) = (world.trust.clone(), world.now);
    world.server.extend(&network(1), record.clone(), &share, &trust, now).unwrap();
    // The record never reached the device, which went elsewhere.
    world.hop(&network(2)).unwrap();
    assert_eq!(world.check().unwrap().hops, 2);
    // And the one it left comes too late.
    let expected = Why::OutOfOrder { found: 2, expected: 3 };
    let late = world.server.extend(&network(1), record, &share, &trust, now);
    assert_eq!(late, refused(3, expected));
}

#[test]
fn a_network_before_that_is_away_is_no_reason_to_forget_it() {
    for (server, device, admitted) in
        [(false, true, false), (true, false, false), (true, true, true)]
    {
        let mut world = World::new(7, 3, Policy { broken: server, ..Policy::default() });
        world.hop(&network(0)).unwrap();
        world.check().unwrap();
        let mut visit = world.authorise(&network(1)).unwrap();
        let settled = world.settle(&mut visit, Previous::Missing, device);
        if !(server && device) {
            assert_eq!(settled.map(drop), refused(2, Why::Broken));
            continue;
        }
        settled.unwrap();
        world.visits.push(visit);
        assert_eq!(world.check().unwrap().broken, [2], "marked");
        assert!(admitted);
        // It goes on, and stays marked.
        let mut visit = world.authorise(&network(2)).unwrap();
        let previous = world.fetch(&visit).unwrap();
        world.settle(&mut visit, previous, true).unwrap();
        world.visits.push(visit);
        let admitted = world.check().unwrap();
        assert_eq!((admitted.hops, admitted.broken), (3, vec![2]));
    }
}

#[test]
fn a_module_that_was_revoked_ends_every_chain_that_goes_through_it() {
    let mut world = walked(&[0, 1, 2]);
    world.trust.revoke(&network(1));
    assert_eq!(world.check().map(drop), refused(2, Why::Revoked));
    let visit = world.authorise(&network(3)).unwrap();
    let previous = world.fetch(&visit).unwrap();
    let mut visit = visit;
    let refusal = world.settle(&mut visit, previous, false).map(drop);
    assert_eq!(refusal, refused(2, Why::Revoked), "nor does any network follow it");
}

#[test]
fn who_had_not_heard_of_revocations_that_all_must_know_vouches_for_nobody() {
    let mut world = walked(&[0, 1]);
    world.trust.epoch = 3;
    assert_eq!(world.check().map(drop), refused(1, Why::OldEpoch { found: 0, needed: 3 }));
}

#[test]
fn a_hop_is_good_for_its_time() {
    let mut world = walked(&[0, 1]);
    world.now = UnixTime(world.now.0 + Duration::from_secs(3600).as_millis() as i64);
    assert_eq!(world.check().map(drop), refused(1, Why::Expired));
    let mut world = walked(&[0]);
    world.now = UnixTime(world.now.0 + 6000);
    let mut visit = world.authorise(&network(1)).unwrap();
    let previous = world.fetch(&visit).unwrap();
    let mut making = world.making(false);
    making.now = UnixTime(world.now.0 + 5001);
    let signer = &world.signers[&network(1)];
    let (record, share) = visit.integrate(previous, signer, &world.trust, &making).unwrap();
    let early = world.server.extend(&network(1), record, &share, &world.trust, world.now);
    assert_eq!(early, refused(2, Why::Untimely), "its clock is more than 5 s ahead");
}

#[test]
fn the_server_goes_first_where_it_has_a_module_and_gives_its_key_by_where_the_device_is() {
    let mut world = world(3);
    world.hop(&network(0)).unwrap();
    let mut visit = world.authorise(&network(1)).unwrap();
    let (_, fetch) = visit.fetch().unwrap();
    let fetched = world.server.export(&network(1), &fetch).unwrap();
    world.settle(&mut visit, Previous::Fetched(fetched), false).unwrap();
    world.visits.push(visit);
    assert_eq!(world.check().unwrap().hops, 2);
    let stranger = world.server.export(&network(2), &fetch).map(drop);
    assert!(stranger.is_err());
}

#[test]
fn a_hop_that_the_server_was_not_told_of_is_missed() {
    let mut world = walked(&[0]);
    let mut visit = world.authorise(&network(1)).unwrap();
    let previous = world.fetch(&visit).unwrap();
    let making = world.making(false);
    let signer = &world.signers[&network(1)];
    let (record, _) = visit.integrate(previous, signer, &world.trust, &making).unwrap();
    world.device.integrate(&record, false).unwrap();
    // The head that the device proves by is another.
    assert_eq!(world.check().map(drop), refused(1, Why::NotProven(Side::Device)));
}

#[test]
fn a_demand_is_answered_once_and_checked_once() {
    let mut world = walked(&[0, 1]);
    let demand = world.server.demand(&mut world.seed);
    let device = world.device.prove(&demand).unwrap();
    assert_eq!(world.device.prove(&demand).map(drop), refused(0, Why::NotAsked));
    let network = world.visits[1].prove(&demand).unwrap();
    let (trust, now) = (&world.trust, world.now);
    world.server.check(&device, &network, trust, now).unwrap();
    let again = world.server.check(&device, &network, trust, now).map(drop);
    assert_eq!(again, refused(0, Why::NotAsked));
    // Nor does it do for the next demand.
    world.server.demand(&mut world.seed);
    let later = world.server.check(&device, &network, trust, now).map(drop);
    assert_eq!(later, refused(0, Why::NotAsked));
}

#[test]
fn every_tag_counts_and_the_first_that_is_wrong_is_named() {
    for wrong in 1..=4u16 {
        let mut world = walked(&[0, 1, 2, 3]);
        let demand = world.server.demand(&mut world.seed);
        let mut device = world.device.prove(&demand).unwrap();
        let last = device.tags.len() - 1;
        device.tags[usize::from(wrong) - 1] = device.tags[if wrong == 4 { 0 } else { last }];
        let network = world.visits[3].prove(&demand).unwrap();
        let refusal = world.server.check(&device, &network, &world.trust, world.now).map(drop);
        assert_eq!(refusal, refused(wrong, Why::NotProven(Side::Device)));
    }
    for count in [0, 3, 5] {
        let mut world = walked(&[0, 1, 2, 3]);
        let demand = world.server.demand(&mut world.seed);
        let mut device = world.device.prove(&demand).unwrap();
        device.tags.resize(count, device.tags[0]);
        let network = world.visits[3].prove(&demand).unwrap();
        assert!(world.server.check(&device, &network, &world.trust, world.now).is_err(), "{count}");
    }
}

#[test]
fn a_device_s_proof_is_no_network_s() {
    let mut world = walked(&[0]);
    let demand = world.server.demand(&mut world.seed);
    let device = world.device.prove(&demand).unwrap();
    let refusal = world.server.check(&device, &device, &world.trust, world.now).map(drop);
    assert_eq!(refusal, refused(1, Why::NotProven(Side::Network)));
}

#[test]
fn only_the_network_that_a_record_is_of_may_tell_the_server() {
    let mut world = walked(&[0]);
    let mut visit = world.authorise(&network(1)).unwrap();
    let previous = world.fetch(&visit).unwrap();
    let making = world.making(false);
    let signer = &world.signers[&network(1)];
    let (record, share) = visit.integrate(previous, signer, &world.trust, &making).unwrap();
    let other = world.server.extend(&network(2), record, &share, &world.trust, world.now);
    assert_eq!(other, refused(2, Why::NotItsNetwork));
}

#[test]
fn a_chain_has_an_end() {
    let mut world = World::new(7, 2, Policy { hops: 3, ..Policy::default() });
    for n in 0..3 {
        world.hop(&network(n % 2)).unwrap();
    }
    assert_eq!(world.hop(&network(1)), refused(4, Why::TooMany));
    let mut world = World::new(7, 2, Policy { hops: u16::MAX, ..Policy::default() });
    for n in 0..64 {
        world.hop(&network(n % 2)).unwrap();
    }
    world.check().unwrap();
    assert_eq!(world.hop(&network(1)), refused(65, Why::TooMany));
}

#[test]
fn nothing_secret_is_printed() {
    let world = walked(&[0, 1]);
    let key = *world.server.key().unwrap().expose();
    let seen = format!("{:?}", (&world.device, &world.visits, &world.server));
    let digits: String = format!("{key:?}");
    assert!(!seen.contains(digits.trim_matches(['[', ']'])));
    assert!(seen.contains("[redacted]"));
}
