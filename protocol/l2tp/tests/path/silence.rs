//! Noticing that the other end is gone, and that it is back; and sending nothing meanwhile.

use homeward_l2tp::{Inbound, Outbound, Path, PathEvent, PathSettings, PathState};

use crate::world::{Load, MS, Net, Packet, SEC, World, address};

/// A world in which both ends are up and have measured the path.
fn up(settings: PathSettings) -> World {
    let mut world = World::new(Net::default(), settings);
    world.run(5 * SEC);
    assert_eq!(world.ends[0].path.state(), PathState::Up);
    for end in 0..2 {
        world.ends[end].events.clear();
        world.ends[end].sent.clear();
    }
    world
}

#[test]
fn an_idle_path_sends_nothing_and_waits_for_nothing() {
    let mut world = up(PathSettings::default());
    for end in &world.ends {
        assert_eq!(end.path.poll_timeout(), None);
    }
    world.run(24 * 3600 * SEC);
    assert_eq!(world.packets_sent(), 0);
}

#[test]
fn a_conversation_is_not_probed() {
    let mut world = up(PathSettings::default());
    world.converse(500 * MS, 60 * SEC);
    assert!(world.ends.iter().all(|end| end.sent.iter().all(|(_, p)| p.load == Load::Data)));
}

#[test]
fn what_is_not_answered_is_probed_after_a_second_and_a_one_way_stream_goes_on() {
    let mut world = up(PathSettings::default());
    let start = world.now;
    for _ in 0..600 {
        world.send(0, 1000);
        world.run(100 * MS);
    }
    let probes: Vec<_> =
        world.ends[0].sent.iter().filter(|(_, packet)| packet.load != Load::Data).collect();
    assert_eq!(probes[0].0 - start, SEC);
    assert!((50..=60).contains(&probes.len()), "{} in a minute", probes.len());
    assert_eq!(world.events(0), []);
    assert_eq!(world.ends[1].frames, 600);
}

#[test]
fn an_end_that_may_answer_to_something_new_is_tried_at_once() {
    let mut world = up(PathSettings::default());
    world.net.dead.insert(address(2));
    world.send(0, 100);
    world.run(600 * SEC);
    assert_eq!(world.ends[0].path.state(), PathState::Unreachable);
    world.net.dead.clear();
    let now = world.now;
    world.ends[0].path.try_anew(now);
    world.run(21 * MS);
    assert_eq!(world.ends[0].path.state(), PathState::Up);
    world.ends[0].sent.clear();
    let now = world.now;
    world.ends[0].path.try_anew(now);
    world.run(SEC);
    let short = world.ends[0].sent.iter().filter(|(_, packet)| packet.octets < 500);
    assert_eq!(short.count(), 0, "one that answers is left alone");
}

#[test]
fn an_end_that_does_not_answer_is_given_up_after_five_seconds() {
    let mut world = up(PathSettings::default());
    world.net.dead.insert(address(2));
    let start = world.now;
    world.send(0, 100);
    world.run(4999 * MS);
    assert_eq!(world.events(0), []);
    assert_eq!(world.ends[0].path.destination(), Some(address(2)));
    world.run(MS);
    assert_eq!(world.ends[0].events, [(start + 5 * SEC, PathEvent::Unreachable)]);
    assert_eq!(world.ends[0].path.state(), PathState::Unreachable);
    assert_eq!(world.ends[0].path.destination(), None);
    assert!(!world.ends[0].path.may_send(address(2), 1000), "no stream into the void");
}

#[test]
fn one_probe_that_is_answered_saves_it() {
    let mut world = up(PathSettings::default());
    world.net.dead.insert(address(2));
    world.send(0, 100);
    world.run(4500 * MS);
    world.net.dead.clear();
    // Probes go out each second: the next at the fifth would be too late, but those of the
    // other candidates, here the same address, go on in between.
    world.run(10 * SEC);
    assert_eq!(world.ends[0].path.state(), PathState::Up, "{:?}", world.ends[0].events);
}

#[test]
fn it_is_up_again_at_once_when_anything_authentic_comes_from_it() {
    let mut world = up(PathSettings::default());
    world.net.dead.insert(address(2));
    world.send(0, 100);
    world.run(3600 * SEC);
    assert_eq!(world.events(0), [PathEvent::Unreachable]);
    world.net.dead.clear();
    world.inject(Packet { from: address(2), to: address(1), octets: 90, load: Load::Data });
    world.run(10 * MS);
    assert_eq!(world.events(0), [PathEvent::Up { peer: address(2) }]);
    assert_eq!(world.ends[0].path.destination(), Some(address(2)));
}

#[test]
fn a_dead_end_is_tried_on_with_back_off_up_to_the_longest() {
    let settings = PathSettings { retry_max: 8 * SEC, ..PathSettings::default() };
    let mut world = up(settings);
    world.net.dead.insert(address(2));
    world.send(0, 100);
    world.run(100 * SEC);
    world.ends[0].sent.clear();
    world.run(80 * SEC);
    assert!((9..=12).contains(&world.ends[0].sent.len()), "{}", world.ends[0].sent.len());
    world.net.dead.clear();
    world.run(9 * SEC);
    assert_eq!(world.events(0), [PathEvent::Unreachable, PathEvent::Up { peer: address(2) }]);
}

#[test]
fn another_candidate_that_answers_takes_over_before_the_silent_one_is_given_up() {
    let settings = PathSettings::default();
    let told = [address(2), address(3)];
    let mut world = World::with(Net::default(), settings.clone(), settings, &told, &[address(1)]);
    world.run(5 * SEC);
    assert_eq!(world.events(0)[0], PathEvent::Up { peer: address(2) });
    world.net.dead.insert(address(2));
    world.move_to(1, 3);
    let start = world.now;
    world.send(0, 100);
    world.run(5 * SEC);
    let (at, event) = world.ends[0].events[0];
    assert_eq!(event, PathEvent::Moved { from: address(2), to: address(3) });
    assert!(at - start < 2200 * MS, "{:?}: with the second probe", at - start);
}

#[test]
fn a_path_that_answers_again_leaves_the_other_candidates_alone() {
    let settings = PathSettings::default();
    let told = [address(2), address(3)];
    let mut world = World::with(Net::default(), settings.clone(), settings, &told, &[address(1)]);
    world.run(5 * SEC);
    world.net.dead.insert(address(2));
    world.send(0, 100);
    world.run(2500 * MS);
    world.net.dead.clear();
    world.run(SEC);
    world.ends[0].sent.clear();
    world.run(3600 * SEC);
    assert_eq!(world.ends[0].sent.len(), 0);
    assert_eq!(world.ends[0].path.poll_timeout(), None);
}

#[test]
fn only_an_end_that_is_told_to_keeps_a_nats_mapping() {
    let keeping = PathSettings { keepalive: Some(25 * SEC), ..PathSettings::default() };
    let mut world =
        World::with(Net::default(), keeping, PathSettings::default(), &[address(2)], &[address(1)]);
    world.run(5 * SEC);
    world.ends.iter_mut().for_each(|end| end.sent.clear());
    world.run(3600 * SEC);
    let [one, other] = &world.ends;
    assert!((143..=144).contains(&one.sent.len()), "{} keepalives", one.sent.len());
    assert_eq!(one.sent.len(), other.sent.len(), "and answers, nothing else");
    assert!(one.sent.iter().all(|(_, packet)| packet.octets == 72), "they pay for a challenge");
    assert!(other.sent.iter().all(|(_, packet)| packet.octets == 36));
    // A conversation needs none.
    world.ends.iter_mut().for_each(|end| end.sent.clear());
    world.converse(SEC, 300 * SEC);
    assert!(world.ends[0].sent.iter().all(|(_, packet)| packet.octets != 72));
    // And they notice that the other end is gone.
    world.events(0);
    world.net.dead.insert(address(2));
    world.run(31 * SEC);
    assert_eq!(world.events(0), [PathEvent::Unreachable]);
}

#[test]
fn a_lossy_path_is_not_given_up() {
    let mut world = up(PathSettings::default());
    world.net.loss = 30;
    world.net.jitter = 20 * MS;
    world.converse(20 * MS, 600 * SEC);
    for end in 0..2 {
        // Three long packets in a row may be lost; that says nothing about the short ones.
        let events = world.events(end);
        assert!(events.iter().all(|event| matches!(event, PathEvent::Mtu(_))), "{events:?}");
    }
}

/// Thousands of them idle cost next to nothing.
#[test]
fn the_machines_are_small() {
    for (name, size, limit) in [
        ("Path", size_of::<Path>(), 304),
        ("Inbound", size_of::<Inbound>(), 272),
        ("Outbound", size_of::<Outbound>(), 96),
    ] {
        assert!(size <= limit, "{name}: {size} octets");
    }
}
