//! What a chain withstands: each test is one network, device or stranger that does what it must
//! not, and the hop that is named.
// So that clippy knows the helpers for tests too.
#![cfg(test)]

use std::time::Duration;

use homeward_keychain::message::{SessionId, SessionKey};
use homeward_keychain::module::Previous;
use homeward_keychain::server::Policy;
use homeward_keychain::testing::{World, device_key, flow, network, reanswer, resign, retag};
use homeward_keychain::{Device, Flow, Question, Refusal, Server, Side, Visit, Why};
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
    world.check().unwrap();
    assert_ne!(first, *world.server.key().unwrap().traffic("wireguard").expose());
}

#[test]
fn who_does_not_have_the_key_that_a_network_shares_with_a_device_is_not_authorised() {
    let mut world = walked(&[0]);
    let to = network(1);
    for (device, of) in [(2, &to), (1, &network(0))] {
        let question = world.question(&to);
        let response = world.answer(question.challenge(), &device_key(device, of)).unwrap();
        let visit = Visit::authorise(question, &response, &device_key(1, &to));
        assert_eq!(visit.map(drop), refused(2, Why::NotAuthorised));
    }
}

#[test]
fn an_answer_is_good_for_the_challenge_it_answers_alone() {
    let mut world = walked(&[0]);
    let to = network(1);
    let (question, other) = (world.question(&to), world.question(&to));
    let key = device_key(1, &to);
    let response = world.answer(question.challenge(), &key).unwrap();
    let visit = Visit::authorise(other, &response, &key);
    assert_eq!(visit.map(drop), refused(2, Why::NotAuthorised));
    Visit::authorise(question, &response, &key).unwrap();
}

#[test]
fn a_device_that_does_not_volunteer_where_it_was_is_asked() {
    let mut world = world(2);
    let server = "sip.example".parse().unwrap();
    world.device = Device::new([3; 32], server, false).unwrap();
    world.server =
        Server::new(world.device.server().clone(), world.device.session(), Policy::default());
    for hop in [1, 2] {
        let to = network(usize::from(hop) - 1);
        let key = device_key(1, &to);
        let question = world.question(&to);
        let response = world.answer(question.challenge(), &key).unwrap();
        assert_eq!(response.ticket, None);
        let visit = Visit::authorise(question, &response, &key);
        assert_eq!(visit.map(drop), refused(hop, Why::NoTicket));
        let asked = Question::new(to.clone(), true, &mut world.seed);
        let response = world.answer(asked.challenge(), &key).unwrap();
        let mut visit = Visit::authorise(asked, &response, &key).unwrap();
        let previous = world.fetch(&visit).unwrap();
        world.settle(&mut visit, previous, false).unwrap();
        world.visits.push(visit);
        assert_eq!(world.check().unwrap().hops, hop);
    }
}

#[test]
fn shares_that_make_the_same_of_every_secret_are_refused() {
    let mut world = walked(&[0]);
    let (to, question) = (network(1), world.question(&network(1)));
    let key = device_key(1, &to);
    let mut challenge = question.challenge().clone();
    challenge.share = [0; 32];
    assert_eq!(world.answer(&challenge, &key).map(drop), refused(2, Why::NoChallenge));
    let mut response = world.answer(question.challenge(), &key).unwrap();
    response.share = [0; 32];
    retag(&mut response, question.challenge(), &key);
    let visit = Visit::authorise(question, &response, &key);
    assert_eq!(visit.map(drop), refused(2, Why::NotAuthorised));
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
fn two_networks_cannot_make_up_a_hop_that_the_device_did_not_make() {
    let mut world = walked(&[0]);
    // Network 0 has all keys of its hop, and network 1 the key of the device, which is not asked.
    // The session's key they do not have: they take one of theirs, or sign by it as the device.
    let saved = world.device.save();
    let mut forged = saved.to_vec();
    forged[2..34].fill(9);
    let mut poser = Device::restore(&forged).unwrap();
    let theirs = poser.session();
    assert_ne!(theirs, world.device.session());
    std::mem::swap(&mut world.device, &mut poser);
    let to = network(1);
    let key = device_key(1, &to);
    let question = world.question(&to);
    let mut response = world.answer(question.challenge(), &key).unwrap();
    response.key = world.visits[0].session_key();
    let ticket = response.ticket.as_mut().unwrap();
    ticket.session = poser.session();
    ticket.head = world.visits[0].welcome().unwrap().record.digest();
    reanswer(&mut response, question.challenge());
    retag(&mut response, question.challenge(), &key);
    let visit = Visit::authorise(question, &response, &key);
    assert_eq!(visit.map(drop), refused(2, Why::Signature(Side::Device)));
    // Network 1 looks the other way: everybody else does not.
    let ticket = response.ticket.clone().unwrap();
    let fetch = homeward_keychain::Fetch { ticket };
    assert_eq!(world.visits[0].export(&to, &fetch).map(drop), refused(2, Why::ForgedTicket));
    std::mem::swap(&mut world.device, &mut poser);
    world.check().unwrap();
}

#[test]
fn a_device_that_stays_is_admitted_where_it_is_until_it_has_gone() {
    let mut world = walked(&[0]);
    let mut visit = world.authorise(&network(1)).unwrap();
    let previous = world.fetch(&visit).unwrap();
    let welcome = world.integrate(&mut visit, previous, false).unwrap();
    world.tell(&visit).unwrap();
    assert_eq!(world.server.begun().len(), 1);
    // The welcome is on its way.
    assert_eq!(world.check().unwrap().hops, 1);
    world.device.integrate(&welcome, false).unwrap();
    world.visits.push(visit);
    assert_eq!(world.check().unwrap().hops, 2);
    assert_eq!(world.server.begun().len(), 0);
    // What it was is no more.
    let demand = world.server.demand(flow(), &mut world.seed);
    let old = world.visits[0].prove(&demand).unwrap();
    let refusal = world.server.check(demand, &old, &old, &world.trust, world.now).map(drop);
    assert_eq!(refusal, refused(1, Why::OutOfOrder { found: 1, expected: 2 }));
}

#[test]
fn a_device_that_goes_on_before_it_was_asked_is_followed() {
    let mut world = world(3);
    for n in 0..3 {
        world.hop(&network(n)).unwrap();
        assert_eq!((world.server.records().len(), world.server.begun().len()), (n, 1));
    }
    assert_eq!(world.check().unwrap().hops, 3);
}

#[test]
fn only_so_many_hops_are_kept_that_a_device_began_and_the_last_are() {
    let mut world = walked(&[0]);
    let mut left = Vec::new();
    for n in 1..=6 {
        let mut visit = world.authorise(&network(n)).unwrap();
        let previous = world.fetch(&visit).unwrap();
        let welcome = world.integrate(&mut visit, previous, false).unwrap();
        world.tell(&visit).unwrap();
        world.tell(&visit).unwrap();
        left.push((visit, welcome));
    }
    let begun: Vec<_> = world.server.begun().map(|record| record.network.clone()).collect();
    assert_eq!(begun, [3, 4, 5, 6].map(network));
    let (visit, welcome) = left.pop().unwrap();
    world.device.integrate(&welcome, false).unwrap();
    world.visits.push(visit);
    assert_eq!(world.check().unwrap().hops, 2);
}

#[test]
fn the_server_gives_the_key_of_a_hop_that_the_device_has_not_proven_yet() {
    let mut world = walked(&[0]);
    world.hop(&network(1)).unwrap();
    let mut visit = world.authorise(&network(2)).unwrap();
    let (_, fetch) = visit.fetch().unwrap();
    let fetched = world.server.export(&network(2), &fetch).unwrap();
    assert_eq!(fetched.records.len(), 2);
    world.settle(&mut visit, Previous::Fetched(fetched), false).unwrap();
    world.visits.push(visit);
    assert_eq!(world.check().unwrap().hops, 3);
    // Of what it has left behind it gives nothing.
    let late = world.server.export(&network(2), &fetch).map(drop);
    assert!(late.is_err());
}

#[test]
fn a_session_is_one_device_s_and_no_other_can_go_on_with_it() {
    let mut world = walked(&[0]);
    let mut visit = world.authorise(&network(1)).unwrap();
    let previous = world.fetch(&visit).unwrap();
    let mut record = world.integrate(&mut visit, previous, false).unwrap().record;
    // A record that names another key is of another session, whatever it calls itself.
    record.device = SessionKey([3; 32]);
    resign(&mut record, &world.signers[&network(1)]);
    let share = visit.share().unwrap();
    let other = world.server.extend(&network(1), record, share, &world.trust, world.now);
    assert_eq!(other, refused(2, Why::OtherSession));
}

#[test]
fn the_server_keeps_the_key_of_no_hop_that_the_device_has_left() {
    let world = walked(&[0, 1]);
    let saved = world.server.save();
    let held = |n: usize| {
        let key = world.visits[n].key().unwrap().expose();
        saved.windows(32).any(|octets| octets == key)
    };
    assert_eq!((held(0), held(1)), (false, true));
}

#[test]
fn a_chain_begins_where_the_server_lets_it() {
    let first = Some([network(1)].into());
    let mut world = World::new(7, 3, Policy { first, ..Policy::default() });
    assert_eq!(world.hop(&network(0)), refused(1, Why::NotFirst));
    let Policy { first, .. } = Policy { first: Some([network(1)].into()), ..Policy::default() };
    let mut world = World::new(7, 3, Policy { first, ..Policy::default() });
    world.hop(&network(1)).unwrap();
    world.hop(&network(0)).unwrap();
    assert_eq!(world.check().unwrap().hops, 2);
}

#[test]
fn nothing_is_proven_for_a_flow_that_was_not_asked_for_or_not_demanded() {
    let mut world = walked(&[0]);
    let other: Flow = "udp 10.45.0.2:5062".parse().unwrap();
    let demand = world.server.demand(other, &mut world.seed);
    assert_eq!(world.device.prove(&demand, &flow()).map(drop), refused(0, Why::OtherFlow));
    // Who changes what the device sees gets a proof that is good for nothing else.
    let mut altered = demand.clone();
    altered.flow = flow();
    let device = world.device.prove(&altered, &flow()).unwrap();
    let network = world.visits[0].prove(&demand).unwrap();
    let refusal = world.server.check(demand, &device, &network, &world.trust, world.now).map(drop);
    assert_eq!(refusal, refused(1, Why::NotProven(Side::Device)));
    assert_eq!(world.check().unwrap().flow, flow());
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
    replayed.ticket.of = Some(network(1));
    assert_eq!(world.visits[1].export(&network(1), &replayed).map(drop), refused(3, expected));
}

#[test]
fn the_key_of_a_hop_goes_to_few_networks_only() {
    let mut world = world(10);
    world.hop(&network(0)).unwrap();
    let mut fetched = |n| {
        let visit = world.authorise(&network(n)).unwrap();
        world.fetch(&visit).map(drop)
    };
    // One that asks the device again and again is one.
    (0..9).for_each(|_| fetched(1).unwrap());
    (2..9).for_each(|n| fetched(n).unwrap());
    assert_eq!(fetched(9), refused(2, Why::Exported));
    assert_eq!(fetched(1), Ok(()));
}

#[test]
fn who_turns_away_from_a_network_on_the_way_is_not_held_up_by_it() {
    let mut world = walked(&[0]);
    let mut left = world.authorise(&network(1)).unwrap();
    let previous = world.fetch(&left).unwrap();
    world.integrate(&mut left, previous, false).unwrap();
    world.tell(&left).unwrap();
    // The record never reached the device, which went elsewhere.
    world.hop(&network(2)).unwrap();
    assert_eq!(world.check().unwrap().hops, 2);
    // And the one it left comes too late.
    let expected = Why::OutOfOrder { found: 2, expected: 3 };
    assert_eq!(world.tell(&left), refused(3, expected));
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
    assert_eq!(world.server.stands(&world.trust, world.now), Ok(()));
    world.trust.revoke(&network(1));
    assert_eq!(world.server.stands(&world.trust, world.now), refused(2, Why::Revoked));
    assert_eq!(world.check().map(drop), refused(2, Why::Revoked));
    let mut visit = world.authorise(&network(3)).unwrap();
    let previous = world.fetch(&visit).unwrap();
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
    visit.integrate(previous, signer, &world.trust, &making).unwrap();
    assert_eq!(world.tell(&visit), refused(2, Why::Untimely), "its clock is more than 5 s ahead");
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
    let welcome = world.integrate(&mut visit, previous, false).unwrap();
    world.device.integrate(&welcome, false).unwrap();
    assert_eq!(world.check().map(drop), refused(2, Why::NotTold));
}

#[test]
fn an_answer_does_for_no_other_demand() {
    let mut world = walked(&[0, 1]);
    let (trust, now) = (world.trust.clone(), world.now);
    let demand = world.server.demand(flow(), &mut world.seed);
    let device = world.device.prove(&demand, &flow()).unwrap();
    let network = world.visits[1].prove(&demand).unwrap();
    // Who asks for the same meanwhile takes nothing away from it, and gets nothing by it.
    let other = world.server.demand(flow(), &mut world.seed);
    let refusal = world.server.check(other, &device, &network, &trust, now).map(drop);
    assert_eq!(refusal, refused(1, Why::NotProven(Side::Device)));
    world.server.check(demand, &device, &network, &trust, now).unwrap();
    let elsewhere = World::new(8, 2, Policy::default());
    let demand = elsewhere.server.demand(flow(), &mut world.seed);
    let refusal = world.server.check(demand, &device, &network, &trust, now).map(drop);
    assert_eq!(refusal, refused(0, Why::OtherSession));
}

#[test]
fn every_tag_counts_and_the_first_that_is_wrong_is_named() {
    for wrong in 1..=4u16 {
        let mut world = walked(&[0, 1, 2, 3]);
        let demand = world.server.demand(flow(), &mut world.seed);
        let mut device = world.device.prove(&demand, &flow()).unwrap();
        let last = device.tags.len() - 1;
        device.tags[usize::from(wrong) - 1] = device.tags[if wrong == 4 { 0 } else { last }];
        let network = world.visits[3].prove(&demand).unwrap();
        let refusal =
            world.server.check(demand, &device, &network, &world.trust, world.now).map(drop);
        assert_eq!(refusal, refused(wrong, Why::NotProven(Side::Device)));
    }
    for count in [0, 3, 5] {
        let mut world = walked(&[0, 1, 2, 3]);
        let demand = world.server.demand(flow(), &mut world.seed);
        let mut device = world.device.prove(&demand, &flow()).unwrap();
        device.tags.resize(count, device.tags[0]);
        let network = world.visits[3].prove(&demand).unwrap();
        assert!(
            world.server.check(demand, &device, &network, &world.trust, world.now).is_err(),
            "{count}"
        );
    }
}

#[test]
fn a_device_s_proof_is_no_network_s() {
    let mut world = walked(&[0]);
    let demand = world.server.demand(flow(), &mut world.seed);
    let device = world.device.prove(&demand, &flow()).unwrap();
    let refusal = world.server.check(demand, &device, &device, &world.trust, world.now).map(drop);
    assert_eq!(refusal, refused(1, Why::NotProven(Side::Network)));
}

#[test]
fn only_the_network_that_a_record_is_of_may_tell_the_server() {
    let mut world = walked(&[0]);
    let mut visit = world.authorise(&network(1)).unwrap();
    let previous = world.fetch(&visit).unwrap();
    let record = world.integrate(&mut visit, previous, false).unwrap().record;
    let share = visit.share().unwrap();
    let other = world.server.extend(&network(2), record, share, &world.trust, world.now);
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
