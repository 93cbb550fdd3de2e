//! Paths that die, in both directions or in one, and live again.

use std::time::Duration;

use homeward_model::Instant;
use homeward_multipath::{Event, Mode, PathId, Settings};

use super::world::{A, B, Link, MS, SECOND, Stream, World, at};

const RTT: Duration = Duration::from_millis(20);

fn links() -> [Link; 2] {
    [Link::new(50, RTT / 2), Link::new(20, 30 * MS)]
}

fn set_up(world: &mut World, path: PathId, up: bool) {
    world.links.iter_mut().for_each(|links| links[usize::from(path.get())].up = up);
}

/// What happened at end 0, with the times since the beginning.
fn events(world: &World) -> Vec<(Duration, Event)> {
    world.ends[0].events.iter().map(|(when, event)| (when.since(at(SECOND)), *event)).collect()
}

/// When end 0 sent data, or else reports and probes, by a path within a span after the beginning.
fn sent(world: &World, path: PathId, report: bool, from: Duration, to: Duration) -> Vec<Instant> {
    let span = at(SECOND + from)..at(SECOND + to);
    let log = world.ends[0].log.iter();
    log.filter(|(when, by, is_report, _)| {
        *by == path && *is_report == report && span.contains(when)
    })
    .map(|(when, ..)| *when)
    .collect()
}

#[test]
fn a_dead_path_is_noticed_within_three_round_trips_and_costs_what_was_on_its_way() {
    for mode in [Mode::Single, Mode::Striped, Mode::Automatic] {
        for seed in 0..5u64 {
            let mut world = World::new(mode, links(), seed);
            let dies = 3 * SECOND + seed as u32 * 7 * MS;
            world.later(dies, |world| set_up(world, A, false));
            let mut stream = Stream::new(10_000_000, 1000, 6 * SECOND);
            world.run(&mut stream, 7 * SECOND);
            let events = events(&world);
            let [(when, Event::Dead(A))] = events[..] else { panic!("{events:?}") };
            eprintln!("{mode:?}: dead after {:?}", when - dies);
            assert!(when - dies <= 3 * RTT, "{:?}", when - dies);
            let lost = sent(&world, A, false, dies, when).len() as u64;
            assert_eq!(stream.sent - stream.received.len() as u64, lost);
            assert_eq!(sent(&world, A, false, when, 7 * SECOND), [], "nothing but probes");
            let counters = world.ends[1].reorder.counters();
            assert!(counters.longest_wait_us <= 60_000, "{counters:?}");
        }
    }
}

#[test]
fn a_dead_path_is_probed_further_and_further_apart_and_used_again_once_it_answers() {
    let mut world = World::new(Mode::Single, links(), 1);
    world.later(3 * SECOND, |world| set_up(world, A, false));
    world.later(25 * SECOND, |world| set_up(world, A, true));
    let mut stream = Stream::new(1_000_000, 500, 35 * SECOND);
    world.run(&mut stream, 35 * SECOND);
    let events = events(&world);
    let [(dead, Event::Dead(A)), (alive, Event::Alive(A))] = events[..] else {
        panic!("{events:?}")
    };
    let probes = sent(&world, A, true, dead, 25 * SECOND);
    let mut last = at(SECOND + dead);
    let waits = probes.iter().map(|probe| {
        let wait = probe.since(last);
        last = *probe;
        wait.as_millis()
    });
    assert_eq!(waits.collect::<Vec<_>>(), [100, 200, 400, 800, 1600, 3200, 5000, 5000, 5000]);
    assert!(alive - 25 * SECOND <= 5 * SECOND + RTT + MS, "{alive:?}");
    assert_eq!(sent(&world, A, false, dead, alive), []);
    assert!(sent(&world, B, false, alive, 35 * SECOND).is_empty(), "the preferred path again");
}

#[test]
fn a_path_that_is_dead_in_one_direction_is_noticed_and_not_used_until_it_answers() {
    let mut world = World::new(Mode::Striped, links(), 2);
    world.later(3 * SECOND, |world| world.links[0][0].up = false);
    world.later(6 * SECOND, |world| world.links[0][0].up = true);
    // The other end goes on sending by it: its answers to this end's requests do not come, but
    // its own probes do, as would its data.
    let mut stream = Stream::new(1_000_000, 500, 10 * SECOND);
    world.run(&mut stream, 10 * SECOND);
    let events = events(&world);
    let dead = events.iter().find(|(_, event)| *event == Event::Dead(A)).unwrap().0;
    assert!(dead - 3 * SECOND < 300 * MS, "{events:?}");
    let alive = events.iter().rfind(|(_, event)| *event == Event::Alive(A)).unwrap().0;
    assert!((6 * SECOND..9 * SECOND).contains(&alive), "{events:?}");
    let used = sent(&world, A, false, alive + SECOND, 10 * SECOND);
    assert!(!used.is_empty(), "it is used again");
}

#[test]
fn loss_is_not_taken_for_death() {
    for (octets, rate) in [(200, 2_000), (200, 100_000), (1000, 10_000_000)] {
        let mut links = links();
        links.iter_mut().for_each(|link| link.loss = 0.1);
        links[0].jitter = 5 * MS;
        let mut world = World::new(Mode::Mirrored, links, 3);
        let span = if rate > 1_000_000 { 20 * SECOND } else { 200 * SECOND };
        let mut stream = Stream::new(rate, octets, span);
        world.run(&mut stream, span);
        assert_eq!(events(&world), [], "at {rate} bit/s");
    }
}

#[test]
fn a_path_in_use_or_idle_stays_alive_and_is_probed_as_told() {
    for (idle, probes) in [(Some(SECOND), 58..=62), (None, 1..=1)] {
        let settings = Settings { idle_probe: idle, ..Settings::default() };
        let mut world = World::with(Mode::Single, links(), 4, settings, Default::default());
        let mut stream = Stream::new(1_000_000, 500, 59 * SECOND);
        world.run(&mut stream, 60 * SECOND);
        assert_eq!(events(&world), []);
        // The other end's probes are answered, too.
        let count = sent(&world, B, true, Duration::ZERO, 60 * SECOND).len();
        let answers = world.ends[1].log.iter().filter(|(_, by, ..)| *by == B).count();
        assert!(probes.contains(&(count / 2)) && probes.contains(&(answers / 2)), "{count}");
        let rtt = world.ends[0].sender.rtt(B).unwrap();
        assert!((60 * MS..61 * MS).contains(&rtt), "measured by probes: {rtt:?}");
        assert_eq!(stream.received.len() as u64, stream.sent);
    }
}

#[test]
fn while_no_path_lives_the_last_one_is_tried_and_revived_by_what_is_sent() {
    let mut world = World::new(Mode::Single, links(), 5);
    world.later(3 * SECOND, |world| set_up(world, B, false));
    world.later(4 * SECOND, |world| set_up(world, A, false));
    world.later(9 * SECOND, |world| set_up(world, A, true));
    let mut stream = Stream::new(1_000_000, 500, 12 * SECOND);
    world.run(&mut stream, 12 * SECOND);
    let events = events(&world);
    let alive = events.iter().find(|(_, event)| *event == Event::Alive(A)).unwrap().0;
    assert!(alive - 9 * SECOND < 2 * RTT, "not as late as the next probe: {events:?}");
    assert_eq!(world.ends[0].sender.counters().no_path, 0);
}
