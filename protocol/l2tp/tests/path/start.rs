//! Finding the other end.

use homeward_l2tp::{Echo, EchoKind, Nonce, PathEvent, PathSettings, PathState};
use proptest::prelude::*;

use crate::world::{Load, MS, Net, Packet, SEC, World, address};

#[test]
fn an_address_is_used_once_it_has_answered() {
    let mut world = World::new(Net::default(), PathSettings::default());
    world.run(19 * MS);
    assert_eq!(world.ends[0].path.state(), PathState::Trying);
    assert_eq!(world.events(0), []);
    world.run(MS);
    assert_eq!(world.events(0), [PathEvent::Up { peer: address(2) }]);
    assert_eq!(world.ends[0].path.destination(), Some(address(2)));
    assert_eq!(world.ends[0].path.rtt(), Some(20 * MS));
}

#[test]
fn an_end_that_was_told_of_no_address_learns_it_from_the_other() {
    let settings = PathSettings::default();
    let mut world = World::with(Net::default(), settings.clone(), settings, &[address(2)], &[]);
    assert_eq!(world.ends[1].path.poll_timeout(), None, "it waits");
    world.run(50 * MS);
    assert_eq!(world.events(1)[0], PathEvent::Up { peer: address(1) });
    assert_eq!(world.ends[1].path.destination(), Some(address(1)));
}

/// What came in pays for what goes out: no probe of the MTU is needed to prove both ways.
#[test]
fn one_challenge_pays_for_its_answer_and_the_challenge_back() {
    let settings = PathSettings { max_mtu: 1280, ..PathSettings::default() };
    let mut world = World::with(Net::default(), settings.clone(), settings, &[address(2)], &[]);
    world.run(30 * MS);
    assert_eq!(world.events(1), [PathEvent::Up { peer: address(1) }], "after one and a half trips");
}

#[test]
fn candidates_are_tried_in_order_and_the_first_that_answers_is_used() {
    let settings = PathSettings::default();
    let told = [address(7), address(8), address(2)];
    let mut world = World::with(Net::default(), settings.clone(), settings, &told, &[]);
    world.run(SEC);
    let at: Vec<_> = told
        .iter()
        .map(|to| world.ends[0].sent.iter().find(|(_, packet)| packet.to == *to).unwrap().0)
        .collect();
    assert_eq!([at[1] - at[0], at[2] - at[1]], [100 * MS, 100 * MS]);
    assert_eq!(world.events(0)[0], PathEvent::Up { peer: address(2) });
    let after = world.ends[0]
        .sent
        .iter()
        .filter(|(at, packet)| packet.to != address(2) && *at > world.ends[0].sent[0].0 + 300 * MS);
    assert_eq!(after.count(), 0, "the others are left alone");
}

#[test]
fn what_does_not_answer_is_tried_further_and_further_apart_for_ever() {
    let settings = PathSettings::default();
    let mut world = World::with(Net::default(), settings.clone(), settings, &[address(9)], &[]);
    world.run(300 * SEC);
    let at: Vec<_> = world.ends[0].sent.iter().map(|(at, _)| *at).collect();
    let mut expected = 250 * MS;
    for pair in at.windows(2) {
        let gap = (pair[1] - pair[0]).as_secs_f64() / expected.as_secs_f64();
        assert!((0.899..1.101).contains(&gap), "{gap} of {expected:?}");
        expected = (expected * 2).min(30 * SEC);
    }
    assert!(at.len() > 14, "{} challenges", at.len());
    assert_eq!(world.events(0), [PathEvent::Unreachable]);
    assert_eq!(world.ends[0].path.destination(), None);
}

#[test]
fn an_end_that_comes_late_is_found_and_its_being_there_is_said() {
    let net = Net { dead: [address(2)].into(), ..Net::default() };
    let mut world = World::new(net, PathSettings::default());
    world.run(60 * SEC);
    assert_eq!(world.events(0), [PathEvent::Unreachable]);
    world.net.dead.clear();
    world.run(35 * SEC);
    assert_eq!(world.events(0)[0], PathEvent::Up { peer: address(2) });
    assert_eq!(world.events(1)[1], PathEvent::Up { peer: address(1) });
}

#[test]
fn a_new_list_of_candidates_is_tried_at_once() {
    let settings = PathSettings::default();
    let mut world = World::with(Net::default(), settings.clone(), settings, &[address(9)], &[]);
    world.run(100 * SEC);
    world.tell(0, &[address(2)]);
    world.run(20 * MS);
    assert_eq!(world.events(0), [PathEvent::Unreachable, PathEvent::Up { peer: address(2) }]);
}

#[test]
fn a_candidate_named_twice_is_one_and_of_very_many_only_the_first_are_looked_at() {
    let settings = PathSettings::default();
    let many: Vec<_> = [50, 50].into_iter().chain(51..=250).map(address).collect();
    let mut world = World::with(Net::default(), settings.clone(), settings, &many, &[]);
    world.run(4 * SEC);
    let to = |host| world.ends[0].sent.iter().filter(|(_, p)| p.to == address(host)).count();
    assert_eq!(to(50), 5, "at 0, 0.25, 0.75, 1.75 and 3.75 s");
    assert!(to(65) > 0);
    assert_eq!(to(66), 0);
}

#[test]
fn the_same_list_of_candidates_again_does_not_start_the_back_off_again() {
    let settings = PathSettings::default();
    let mut world = World::with(Net::default(), settings.clone(), settings, &[address(9)], &[]);
    world.run(100 * SEC);
    world.ends[0].sent.clear();
    for _ in 0..100 {
        world.tell(0, &[address(9)]);
        world.run(SEC);
    }
    assert!(world.ends[0].sent.len() <= 4, "{}", world.ends[0].sent.len());
}

#[test]
fn frames_go_to_an_unproven_address_as_far_as_it_has_paid_for_them() {
    let settings = PathSettings::default();
    let mut world = World::with(Net::default(), settings.clone(), settings, &[], &[]);
    world.inject(Packet { from: address(2), to: address(1), octets: 500, load: Load::Data });
    world.net.loss = 100;
    world.run(11 * MS);
    // The challenge went out of it first: 20 octets of header and 16 of echo.
    let path = &world.ends[0].path;
    assert_eq!(path.destination(), Some(address(2)));
    assert!(path.may_send(address(2), 464) && !path.may_send(address(2), 465));
    assert!(!path.may_send(address(3), 1), "nothing came from there");
    assert!(world.send(0, 400));
    assert!(!world.send(0, 65));
    assert!(world.send(0, 64));
}

#[test]
fn replies_are_never_longer_than_requests_and_go_to_whom_they_pay_for() {
    let settings = PathSettings::default();
    for padding in [0u16, 1, 50, 1400] {
        let mut world = World::with(Net::default(), settings.clone(), settings.clone(), &[], &[]);
        let echo = Echo { kind: EchoKind::Request, nonce: Nonce([9; 8]), padding };
        let octets = 20 + echo.len();
        let load = Load::Echo(echo);
        world.inject(Packet { from: address(66), to: address(1), octets, load });
        world.run(60 * SEC);
        let sent: usize = world.ends[0].sent.iter().map(|(_, packet)| packet.octets).sum();
        assert!((36..=octets).contains(&sent), "{sent} of {octets}");
        let (_, first) = world.ends[0].sent[0];
        assert_eq!(first.load, Load::Echo(Echo::reply(Nonce([9; 8]))));
    }
}

#[test]
fn an_answer_that_nobody_asked_for_changes_nothing() {
    let settings = PathSettings::default();
    let mut world = World::with(Net::default(), settings.clone(), settings, &[address(2)], &[]);
    world.net.loss = 100;
    world.run(MS);
    for (from, nonce) in [(2, [0; 8]), (66, [1; 8])] {
        let load = Load::Echo(Echo::reply(Nonce(nonce)));
        world.inject(Packet { from: address(from), to: address(1), octets: 36, load });
    }
    world.run(SEC);
    assert_eq!(world.ends[0].path.state(), PathState::Trying);
    assert_eq!(world.ends[0].path.destination(), None);
}

#[test]
fn a_right_answer_from_another_address_has_that_one_challenged_instead() {
    // A host with two addresses that sends from the other one.
    let mut world = World::new(Net::default(), PathSettings::default());
    world.ends[1].source = address(3);
    world.ends[1].at.insert(address(3));
    world.run(SEC);
    assert_eq!(world.events(0)[0], PathEvent::Up { peer: address(3) });
}

#[test]
fn a_challenge_is_always_affordable_where_somebody_has_to_begin() {
    let settings = PathSettings { opening: 0, ..PathSettings::default() };
    let mut world =
        World::with(Net::default(), settings.clone(), settings, &[address(2)], &[address(1)]);
    world.run(SEC);
    world.net.dead.insert(address(2));
    world.send(0, 100);
    world.run(60 * SEC);
    world.net.dead.clear();
    world.run(40 * SEC);
    assert_eq!(world.ends[0].path.state(), PathState::Up);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    /// Whatever a network that loses a quarter of all packets does: the ends find each other, and what
    /// goes to an unproven address stays within its budget (the world looks at every packet).
    #[test]
    fn the_ends_find_each_other_through_a_bad_network(
        seed: u64,
        loss in 0u8..25,
        duplicates in 0u8..30,
        delay in 1u32..400,
        jitter in 0u32..300,
        told in 0usize..3,
    ) {
        let net = Net {
            delay: delay * MS, jitter: jitter * MS, loss, duplicates, ..Net::default()
        };
        let first = [address(7), address(2)];
        let second = [address(1)];
        let settings = PathSettings::default();
        let second = if told == 0 { &[][..] } else { &second };
        let mut world =
            World::with(net, settings.clone(), settings, &first, second).seed(seed);
        world.run(60 * SEC);
        world.converse(SEC, 600 * SEC);
        for end in 0..2 {
            prop_assert!(
                world.ends[end].events.iter().any(|(_, event)| matches!(event, PathEvent::Up { .. })),
                "end {}: {:?}", end, world.ends[end].events
            );
        }
    }
}

/// What NATs keep that have seen no answer: half a minute.
fn behind_nats() -> Net {
    Net { holes: Some(30 * SEC), ..Net::default() }
}

#[test]
fn two_ends_behind_nats_meet_as_soon_as_both_have_begun() {
    let settings = PathSettings::default();
    for late in (0..=1000).step_by(50) {
        let (one, other) = (settings.clone(), settings.clone());
        let mut world = World::with(behind_nats(), one, other, &[address(2)], &[]);
        world.run(late * MS);
        world.tell(1, &[address(1)]);
        // A challenge that was dropped before is repeated by then.
        world.run(300 * MS);
        for end in 0..2 {
            assert_eq!(world.ends[end].path.state(), PathState::Up, "end {end}, {late} ms later");
        }
    }
}

/// They begin within the same second, but each has first what is of no use.
#[test]
fn two_ends_behind_nats_meet_soon_whatever_is_lost_and_wherever_in_the_list_the_hole_is() {
    let settings = PathSettings::default();
    for seed in 0..50 {
        let net = Net { loss: 30, jitter: 20 * MS, ..behind_nats() };
        let (one, other) = (settings.clone(), settings.clone());
        let told = [address(8), address(9), address(2)];
        let mut world = World::with(net, one, other, &told, &[]).seed(seed);
        world.run(300 * MS);
        world.tell(1, &[address(7), address(1)]);
        world.run(16 * SEC);
        for end in 0..2 {
            assert_eq!(world.ends[end].path.state(), PathState::Up, "end {end} of seed {seed}");
        }
    }
}

#[test]
fn one_end_that_has_tried_for_long_is_met_by_one_that_comes_late_though_its_hole_has_closed() {
    let settings = PathSettings::default();
    for late in [60, 100, 111, 155, 200] {
        let (one, other) = (settings.clone(), settings.clone());
        let mut world = World::with(behind_nats(), one, other, &[address(2)], &[]);
        world.run(late * SEC);
        world.tell(1, &[address(1)]);
        world.run(34 * SEC);
        let up = world.ends.each_ref().map(|end| {
            let up = |event: &PathEvent| matches!(event, PathEvent::Up { .. });
            end.events.iter().find(|(_, event)| up(event)).expect("it is up").0
        });
        let apart = up[0].since(up[1]).max(up[1].since(up[0]));
        assert!(apart <= 20 * MS, "{late} s later, the second is up {apart:?} after the first");
    }
}

#[test]
fn an_end_that_learns_of_a_nat_keeps_what_it_has_from_then_on() {
    let settings = PathSettings { max_mtu: 1280, ..PathSettings::default() };
    let mut world = World::new(behind_nats(), settings);
    world.run(5 * SEC);
    let silent = |world: &mut World| {
        let before = world.packets_sent();
        world.run(120 * SEC);
        world.packets_sent() == before
    };
    assert!(silent(&mut world), "an idle path costs nothing");
    world.ends[0].path.set_keepalive(Some(25 * SEC));
    world.ends[1].path.set_keepalive(Some(25 * SEC));
    world.run(120 * SEC);
    // Either may begin: the holes are open.
    assert!(world.send(1, 200));
    world.run(20 * MS);
    assert_eq!(world.ends[0].frames, 1);
    world.ends[0].path.set_keepalive(None);
    world.ends[1].path.set_keepalive(None);
    world.run(10 * SEC);
    assert!(silent(&mut world));
}

/// Who is heard is challenged sooner than it would be, but no more often than any new address.
#[test]
fn an_address_that_talks_and_does_not_answer_is_challenged_four_times_a_second_at_most() {
    let settings = PathSettings::default();
    let net = Net { dead: [address(2)].into(), ..Net::default() };
    let mut world = World::with(net, settings.clone(), settings, &[address(2)], &[]);
    world.run(120 * SEC);
    let before = world.ends[0].sent.len();
    for number in 0..1000u64 {
        let echo =
            Echo { kind: EchoKind::Request, nonce: Nonce(number.to_be_bytes()), padding: 36 };
        let load = Load::Echo(echo);
        world.inject(Packet { from: address(2), to: address(1), octets: 72, load });
        world.run(10 * MS);
    }
    let sent = &world.ends[0].sent[before..];
    let challenge = |p: &Packet| matches!(p.load, Load::Echo(Echo { kind: EchoKind::Request, .. }));
    let challenges = sent.iter().filter(|(_, packet)| challenge(packet)).count();
    assert!((35..=41).contains(&challenges), "{challenges} in 10 s");
}
