//! The other end changes its address.

use homeward_l2tp::{Echo, EchoKind, Nonce, PathEvent, PathSettings, PathState};
use proptest::prelude::*;

use crate::world::{Load, MS, Net, Packet, SEC, World, address};

fn up() -> World {
    let mut world = World::new(Net::default(), PathSettings::default());
    world.run(5 * SEC);
    for end in 0..2 {
        world.events(end);
        world.ends[end].sent.clear();
    }
    world
}

#[test]
fn an_end_that_moves_is_followed_in_one_round_trip_and_the_old_address_is_kept_until_then() {
    let mut world = up();
    world.move_to(1, 3);
    world.send(1, 100);
    world.run(29 * MS);
    assert_eq!(world.ends[0].path.destination(), Some(address(2)), "not proven yet");
    world.run(MS);
    assert_eq!(world.ends[0].path.destination(), Some(address(3)));
    assert_eq!(world.events(0)[0], PathEvent::Moved { from: address(2), to: address(3) });
    assert_eq!(world.events(1), [], "the end that moved need not know");
}

#[test]
fn an_idle_end_that_moves_is_followed_by_its_keepalives() {
    let keeping = PathSettings { keepalive: Some(20 * SEC), ..PathSettings::default() };
    let mut world =
        World::with(Net::default(), PathSettings::default(), keeping, &[address(2)], &[address(1)]);
    world.run(5 * SEC);
    world.events(0);
    world.move_to(1, 3);
    world.run(21 * SEC);
    assert_eq!(world.events(0)[0], PathEvent::Moved { from: address(2), to: address(3) });
}

/// An attacker who copies packets and sends them from a victim's address.
#[test]
fn an_address_that_does_not_answer_is_never_used_and_gets_no_more_than_came_from_it() {
    let mut world = up();
    for _ in 0..1000 {
        world.inject(Packet { from: address(66), to: address(1), octets: 100, load: Load::Data });
        world.send(0, 1000);
        world.send(1, 1000);
        world.run(10 * MS);
    }
    assert_eq!(world.events(0), []);
    let to_victim = world.ends[0].sent.iter().filter(|(_, packet)| packet.to == address(66));
    let octets: usize = to_victim.clone().map(|(_, packet)| packet.octets).sum();
    assert!(octets < 1000 * 100 / 20, "{octets} octets in {} packets", to_victim.count());
}

#[test]
fn addresses_that_packets_came_from_are_forgotten_and_never_many() {
    let mut world = up();
    for host in 100..=250 {
        world.inject(Packet { from: address(host), to: address(1), octets: 100, load: Load::Data });
        world.run(MS);
    }
    let remembered = |world: &World| {
        (100..=250).filter(|host| world.ends[0].path.may_send(address(*host), 1)).count()
    };
    assert_eq!(remembered(&world), 4);
    world.run(60 * SEC);
    assert_eq!(world.ends[0].path.poll_timeout(), None);
    let challenged: std::collections::BTreeSet<_> =
        world.ends[0].sent.iter().map(|(_, packet)| packet.to).collect();
    assert!(challenged.len() <= 151);
    assert_eq!(remembered(&world), 0);
}

#[test]
fn a_late_packet_from_the_old_address_does_not_move_it_back() {
    for answers_in_place in [false, true] {
        let mut world = up();
        // Both addresses still work; the other end sends from the new one.
        world.ends[1].source = address(3);
        world.ends[1].at.insert(address(3));
        world.ends[1].answers_in_place = answers_in_place;
        world.converse(5 * MS, 100 * MS);
        assert_eq!(world.ends[0].path.destination(), Some(address(3)));
        world.events(0);
        world.ends[0].sent.clear();
        let late = Packet { from: address(2), to: address(1), octets: 1000, load: Load::Data };
        world.inject(late);
        world.converse(5 * MS, 5 * SEC);
        let asked =
            |world: &World| world.ends[0].sent.iter().filter(|(_, p)| p.to == address(2)).count();
        assert_eq!(asked(&world), 1, "and told that the other end sends from elsewhere");
        world.ends[0].sent.clear();
        for _ in 0..10 {
            let load = Load::Data;
            world.inject(Packet { from: address(2), to: address(1), octets: 100, load });
            world.converse(5 * MS, 500 * MS);
        }
        let moves = world.events(0).into_iter().filter(|e| matches!(e, PathEvent::Moved { .. }));
        assert_eq!(moves.count(), 0);
        assert!((1..=6).contains(&asked(&world)), "asked, and then not for a second");
    }
}

#[test]
fn a_replayed_probe_gets_one_answer_no_longer_than_itself() {
    let mut world = up();
    let echo = Echo { kind: EchoKind::Request, nonce: Nonce([4; 8]), padding: 0 };
    let load = Load::Echo(echo);
    world.inject(Packet { from: address(66), to: address(1), octets: 36, load });
    world.run(60 * SEC);
    let sent: Vec<_> = world.ends[0].sent.iter().map(|(_, packet)| packet.octets).collect();
    assert_eq!(sent, [36]);
    assert_eq!(world.ends[0].path.destination(), Some(address(2)));
}

#[test]
fn an_address_that_has_paid_for_much_is_still_asked_a_few_times_only() {
    let mut world = up();
    world.inject(Packet { from: address(66), to: address(1), octets: 100_000, load: Load::Data });
    world.run(600 * SEC);
    assert_eq!(world.ends[0].sent.len(), 5);
    assert_eq!(world.ends[0].path.poll_timeout(), None);
}

#[test]
fn an_address_that_could_not_pay_is_challenged_as_soon_as_it_can() {
    let mut world = up();
    let mut data = |octets| {
        world.inject(Packet { from: address(66), to: address(1), octets, load: Load::Data });
        world.run(SEC);
        world.ends[0].sent.len()
    };
    // A challenge has 36 octets.
    assert_eq!(data(30), 0);
    assert_eq!(data(30), 1);
    assert_eq!(data(11), 1, "and was not repeated");
    assert_eq!(data(1), 2);
}

#[test]
fn requests_that_come_faster_than_replies_leave_are_not_all_answered() {
    let mut world = up();
    let now = world.now;
    for nonce in 0..1000u64 {
        let nonce = Nonce(nonce.to_be_bytes());
        let echo = Echo { kind: EchoKind::Request, nonce, padding: 0 };
        world.ends[0].path.handle_echo(address(2), &echo, 36, now);
    }
    assert_eq!(std::iter::from_fn(|| world.ends[0].path.poll_transmit()).count(), 64);
}

#[test]
fn both_ends_may_move_one_after_the_other() {
    let mut world = up();
    world.move_to(1, 3);
    world.converse(20 * MS, SEC);
    world.move_to(0, 4);
    world.converse(20 * MS, SEC);
    assert_eq!(world.ends[0].path.destination(), Some(address(3)));
    assert_eq!(world.ends[1].path.destination(), Some(address(4)));
}

#[test]
fn an_end_that_was_lost_is_found_where_it_sends_from_next() {
    let mut world = up();
    world.net.dead.insert(address(2));
    world.send(0, 100);
    world.run(60 * SEC);
    assert_eq!(world.ends[0].path.state(), PathState::Unreachable);
    world.events(0);
    world.move_to(1, 9);
    world.send(1, 100);
    world.run(30 * MS);
    assert_eq!(world.events(0)[0], PathEvent::Up { peer: address(9) });
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    /// One end wanders from address to address through a bad network, and victims' addresses are
    /// forged meanwhile. The other follows, and the world looks at every packet.
    #[test]
    fn a_wandering_end_is_followed_through_a_bad_network(
        seed: u64,
        loss in 0u8..25,
        duplicates in 0u8..20,
        jitter in 0u32..40,
        stays in proptest::collection::vec(1u32..20, 1..8),
    ) {
        let net = Net { jitter: jitter * MS, loss, duplicates, ..Net::default() };
        let mut world = World::new(net, PathSettings::default()).seed(seed);
        world.run(30 * SEC);
        for (turn, stay) in stays.iter().enumerate() {
            let host = 20 + u8::try_from(turn).unwrap();
            world.move_to(1, host);
            world.inject(Packet {
                from: address(66), to: address(1), octets: 1000, load: Load::Data,
            });
            world.converse(50 * MS, *stay * SEC);
        }
        world.converse(50 * MS, 60 * SEC);
        let last = world.ends[1].source;
        prop_assert_eq!(world.ends[0].path.destination(), Some(last));
    }
}
