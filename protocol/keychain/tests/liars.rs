//! Networks that are trusted, and devices that are enrolled, and that lie: what they say is signed,
//! and wrong in one thing.
// So that clippy knows the helpers for tests too.
#![cfg(test)]

use std::time::Duration;

use homeward_keychain::message::{Digest, SessionId};
use homeward_keychain::module::Previous;
use homeward_keychain::record::{Terms, check};
use homeward_keychain::server::Policy;
use homeward_keychain::testing::{
    NOW, World, device, device_key, flow, network, resign, retag, rewelcome,
};
use homeward_keychain::{Record, Refusal, Response, Side, Signer, Visit, Why};
use homeward_model::UnixTime;

fn walked(hops: usize) -> World {
    let mut world = World::new(9, 4, Policy { broken: true, ..Policy::default() });
    for n in 0..hops {
        world.hop(&network(n)).unwrap();
        world.check().unwrap();
    }
    world
}

fn refused(hop: u16, why: Why) -> Result<(), Refusal> {
    Err(Refusal { hop, why })
}

/// What comes of three hops whose second record its network signed anew after `change`.
fn judged(change: impl FnOnce(&mut Record)) -> Result<(), Refusal> {
    let world = walked(3);
    let mut records: Vec<Record> = world.server.records().cloned().collect();
    let (session, server) = (records[0].session, records[0].server.clone());
    change(&mut records[1]);
    resign(&mut records[1], &world.signers[&network(1)]);
    let terms = Terms {
        session,
        server: &server,
        directory: &world.trust,
        now: NOW,
        skew: Duration::from_secs(5),
        broken: false,
    };
    check(&records[..2], &terms).map(drop)
}

#[test]
fn a_record_that_its_network_signed_is_refused_for_each_thing_that_is_wrong_in_it() {
    assert_eq!(judged(|_| {}), Ok(()));
    assert_eq!(judged(|r| r.session = SessionId([1; 16])), refused(2, Why::OtherSession));
    assert_eq!(judged(|r| r.server = network(3)), refused(2, Why::OtherServer));
    let skipped = Why::OutOfOrder { found: 3, expected: 2 };
    assert_eq!(judged(|r| r.hop = 3), refused(2, skipped));
    assert_eq!(judged(|r| r.before = Digest([7; 32])), refused(2, Why::NotThatBefore));
    assert_eq!(judged(|r| r.at = UnixTime(NOW.0 - 5001)), refused(2, Why::Untimely));
    assert_eq!(judged(|r| r.at = UnixTime(NOW.0 - 5000)), Ok(()), "clocks may be apart");
    assert_eq!(judged(|r| r.at = UnixTime(NOW.0 + 5001)), refused(2, Why::Untimely));
    assert_eq!(judged(|r| r.until = r.at), refused(2, Why::Untimely));
    assert_eq!(judged(|r| r.until = NOW), refused(2, Why::Untimely));
    assert_eq!(judged(|r| r.broken = true), refused(2, Why::Broken));
    // What the device signed, it signed.
    let device = || Why::Signature(Side::Device);
    assert_eq!(judged(|r| r.network = network(0)), refused(2, device()));
    assert_eq!(judged(|r| r.answer = Digest([7; 32])), refused(2, device()));
    assert_eq!(judged(|r| r.by_device[0] ^= 1), refused(2, device()));
    assert_eq!(judged(|r| r.previous = Some(network(3))), refused(2, Why::NotFromThere));
    assert_eq!(judged(|r| r.previous = None), refused(2, Why::NotFromThere));
    assert_eq!(judged(|r| r.device.0[0] ^= 1), refused(2, Why::OtherSession));
}

#[test]
fn records_of_another_session_are_named_as_such() {
    let (world, other) = (walked(2), World::new(10, 4, Policy::default()));
    let records: Vec<Record> = world.server.records().cloned().collect();
    let server = records[0].server.clone();
    let terms = Terms {
        session: other.device.session(),
        server: &server,
        directory: &world.trust,
        now: NOW,
        skew: Duration::ZERO,
        broken: false,
    };
    assert_eq!(check(&records, &terms).map(drop), refused(1, Why::OtherSession));
}

#[test]
fn whom_nobody_knows_vouches_for_nobody() {
    let stranger = Signer::new(network(1), &[1; 32]).unwrap();
    let mut world = walked(2);
    let mut record = world.server.records().last().unwrap().clone();
    record.key = stranger.public();
    resign(&mut record, &stranger);
    let mut records = vec![world.server.records().next().unwrap().clone(), record];
    let server = records[0].server.clone();
    let terms = Terms {
        session: records[0].session,
        server: &server,
        directory: &world.trust,
        now: NOW,
        skew: Duration::ZERO,
        broken: false,
    };
    assert_eq!(check(&records, &terms).map(drop), refused(2, Why::UnknownNetwork));
    records.truncate(1);
    check(&records, &terms).unwrap();
    world.check().unwrap();
}

#[test]
fn a_chain_does_not_begin_in_the_middle_for_the_server() {
    let mut other = World::new(9, 4, Policy { broken: true, ..Policy::default() });
    let world = walked(2);
    let mut record = world.server.records().last().unwrap().clone();
    record.broken = true;
    resign(&mut record, &world.signers[&network(1)]);
    let share = homeward_keychain::key::HopShare::new([1; 32]);
    let expected = Why::OutOfOrder { found: 2, expected: 1 };
    let extended = other.server.extend(&network(1), record, &share, &world.trust, NOW);
    assert_eq!(extended, refused(1, expected));
}

/// The device answers network 2 at its third hop, and signs anew after `change`.
fn answered(change: impl FnOnce(&mut Response)) -> Result<(), Refusal> {
    let mut world = walked(2);
    let to = network(2);
    let (question, key) = (world.question(&to), device_key(1, &to));
    let mut response = world.answer(question.challenge(), &key).unwrap();
    change(&mut response);
    retag(&mut response, question.challenge(), &key);
    Visit::authorise(question, &response, &key).map(drop)
}

#[test]
fn a_device_that_hides_where_it_was_or_shows_another_ticket_is_not_authorised() {
    fn ticket(response: &mut Response) -> &mut homeward_keychain::Ticket {
        response.ticket.as_mut().unwrap()
    }
    assert_eq!(answered(|_| {}), Ok(()));
    assert_eq!(answered(|r| r.ticket = None), refused(3, Why::NoTicket));
    assert_eq!(answered(|r| r.hop = 1), refused(1, Why::NotItsTicket));
    assert_eq!(answered(|r| r.hop = 0), refused(0, Why::TooMany));
    assert_eq!(answered(|r| r.hop = 65), refused(65, Why::TooMany));
    assert_eq!(answered(|r| ticket(r).hop = 2), refused(3, Why::NotItsTicket));
    assert_eq!(answered(|r| ticket(r).to = network(3)), refused(3, Why::NotItsTicket));
    let other = SessionId([1; 16]);
    assert_eq!(answered(|r| ticket(r).session = other), refused(3, Why::NotItsTicket));
    assert_eq!(answered(|r| ticket(r).answer = Digest([3; 32])), refused(3, Why::NotItsTicket));
    assert_eq!(answered(|r| ticket(r).of = None), refused(3, Why::NotItsTicket));
    assert_eq!(
        answered(|r| ticket(r).head = Digest([7; 32])),
        refused(3, Why::Signature(Side::Device))
    );
    assert_eq!(answered(|r| ticket(r).signature[0] ^= 1), refused(3, Why::Signature(Side::Device)));
    assert_eq!(answered(|r| r.key.0[0] ^= 1), refused(3, Why::NotItsTicket));
    assert_eq!(answered(|r| r.server = network(3)), refused(3, Why::NotItsTicket));
    // The ticket is of the answer that it is in.
    assert_eq!(answered(|r| r.share[0] ^= 1), refused(3, Why::NotItsTicket));
    let other = || "d2@example.net".parse().unwrap();
    assert_eq!(answered(|r| r.device = other()), refused(3, Why::NotItsTicket));
}

#[test]
fn a_device_does_not_take_another_s_session_by_a_ticket_that_it_heard() {
    let mut world = walked(0);
    let (to, question) = (network(0), world.question(&network(0)));
    let heard = world.answer(question.challenge(), &device_key(1, &to)).unwrap();
    let mut own = device([8; 32], world.device.server());
    let (who, key) = ("d2@example.net".parse().unwrap(), device_key(2, &to));
    let mut response = own.answer(question.challenge(), who, &key, &mut world.seed).unwrap();
    // It is enrolled here, answers first, and knows the key of the hop that would come of it.
    (response.key, response.ticket) = (heard.key, heard.ticket.clone());
    retag(&mut response, question.challenge(), &key);
    let visit = Visit::authorise(question, &response, &key);
    assert_eq!(visit.map(drop), refused(1, Why::NotItsTicket));
    // Nor does it do for another challenge of the network.
    let (question, key) = (world.question(&to), device_key(1, &to));
    let mut again = heard;
    retag(&mut again, question.challenge(), &key);
    let visit = Visit::authorise(question, &again, &key);
    assert_eq!(visit.map(drop), refused(1, Why::NotItsTicket));
}

#[test]
fn a_network_that_a_device_turned_away_from_crowds_no_other_out() {
    let mut world = walked(1);
    let mut left = world.authorise(&network(1)).unwrap();
    let previous = world.fetch(&left).unwrap();
    let record = world.integrate(&mut left, previous, false).unwrap().record;
    world.hop(&network(2)).unwrap();
    // The device signed that it goes there, and the network tells of it in as many ways as it likes.
    for later in 0..6 {
        let mut record = record.clone();
        record.until = UnixTime(record.until.0 + later);
        resign(&mut record, &world.signers[&network(1)]);
        let share = left.share().unwrap();
        world.server.extend(&network(1), record, share, &world.trust, NOW).unwrap();
    }
    assert_eq!(world.check().unwrap().hops, 2);
}

#[test]
fn a_network_before_that_gives_other_records_than_the_ticket_names_is_not_followed() {
    let mut world = walked(2);
    let mut visit = world.authorise(&network(2)).unwrap();
    let Previous::Fetched(fetched) = world.fetch(&visit).unwrap() else { panic!() };
    let making = world.making(false);
    let integrate = |visit: &mut Visit, records: Vec<Record>| {
        let (export, signer) = (fetched.export.clone(), &world.signers[&network(2)]);
        let previous = Previous::Fetched(homeward_keychain::Fetched { export, records });
        visit.integrate(previous, signer, &world.trust, &making)
    };
    // An earlier time of the same chain.
    let expected = Why::OutOfOrder { found: 1, expected: 2 };
    let short = integrate(&mut visit, fetched.records[..1].to_vec());
    assert_eq!(short, refused(2, expected));
    let none = integrate(&mut visit, Vec::new());
    assert_eq!(none, refused(2, Why::OutOfOrder { found: 0, expected: 2 }));
    // As long, and signed, but not what the device was told.
    let mut records = fetched.records.clone();
    records[1].until = UnixTime(records[1].until.0 + 1);
    resign(&mut records[1], &world.signers[&network(1)]);
    assert_eq!(integrate(&mut visit, records), refused(3, Why::NotThatBefore));
    // Nor does anybody else's signer do.
    let previous = Previous::Fetched(fetched.clone());
    let other = visit.integrate(previous, &world.signers[&network(3)], &world.trust, &making);
    assert_eq!(other, refused(3, Why::NotItsNetwork));
    let gone = visit.integrate(Previous::None, &world.signers[&network(2)], &world.trust, &making);
    assert_eq!(gone, refused(2, Why::NoKey), "it says so, if it goes on without");
    integrate(&mut visit, fetched.records.clone()).unwrap();
    // Once it is, it is not integrated again.
    assert_eq!(integrate(&mut visit, fetched.records.clone()), refused(3, Why::NoChallenge));
    assert_eq!(visit.fetch(), None);
}

#[test]
fn a_device_integrates_no_record_but_that_of_the_answer_it_gave() {
    let mut world = walked(1);
    let mut left = world.authorise(&network(1)).unwrap();
    let previous = world.fetch(&left).unwrap();
    let visit = world.authorise(&network(1)).unwrap();
    // Who may not say so: one who does not have the key of the hop that the device awaits.
    let late = world.integrate(&mut left, previous, false).unwrap();
    assert_eq!(world.device.integrate(&late, false), refused(2, Why::NotTheNetwork));
    // The network itself, which knows the key, and says what cannot be.
    let expected = Why::OutOfOrder { found: 3, expected: 2 };
    type Change = fn(&mut Record);
    let changes: [(Change, Why); 8] = [
        (|r| r.session = SessionId([1; 16]), Why::OtherSession),
        (|r| r.server = network(3), Why::OtherServer),
        (|r| r.hop = 3, expected),
        (|r| r.before = Digest([7; 32]), Why::NotThatBefore),
        (|r| r.network = network(2), Why::NotItsNetwork),
        (|r| r.transcript = Digest([7; 32]), Why::NoChallenge),
        (|r| r.answer = Digest([7; 32]), Why::NoChallenge),
        (|r| r.broken = true, Why::Broken),
    ];
    let mut welcome = rewelcome(&visit, &late.record, |_| {});
    for (change, why) in changes {
        let lie = rewelcome(&visit, &late.record, change);
        assert_eq!(world.device.integrate(&lie, false), refused(2, why));
    }
    welcome.record.epoch += 1;
    assert_eq!(world.device.integrate(&welcome, false), refused(2, Why::NotTheNetwork));
    welcome.record.epoch -= 1;
    world.device.integrate(&welcome, false).unwrap();
    assert_eq!(world.device.integrate(&welcome, false), refused(3, Why::NoChallenge));
    let mut elsewhere = world.server.demand(flow(), &mut world.seed).clone();
    elsewhere.session = SessionId([1; 16]);
    assert_eq!(world.device.prove(&elsewhere, &flow()).map(drop), refused(0, Why::OtherSession));
    assert_eq!(left.prove(&elsewhere).map(drop), refused(2, Why::OtherSession));
}
