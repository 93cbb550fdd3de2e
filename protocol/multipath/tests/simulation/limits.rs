//! Rates, quotas and reserves.

use homeward_multipath::{Event, Mode, PathSettings, Standing};

use super::world::{A, B, Link, MS, SECOND, Stream, World, at};

fn links() -> [Link; 2] {
    [Link::new(50, 10 * MS), Link::new(20, 30 * MS)]
}

/// Octets of data that end 0 sent by each path.
fn octets(world: &World) -> [u64; 2] {
    [A, B].map(|path| {
        let log = world.ends[0].log.iter().filter(|(_, by, report, _)| *by == path && !*report);
        log.map(|(.., octets)| *octets as u64).sum()
    })
}

#[test]
fn a_quota_is_never_exceeded_and_bars_its_path_once_it_is_used_up() {
    for mode in [Mode::Mirrored, Mode::Striped] {
        let mut world = World::new(mode, links(), 1);
        let quota = 1_000_500;
        let settings = PathSettings { quota: Some(quota), ..PathSettings::default() };
        world.ends[0].sender.set_path(B, settings, at(SECOND));
        // Else there would be probes to answer.
        let barred = PathSettings { standing: Standing::Barred, ..PathSettings::default() };
        world.ends[1].sender.set_path(B, barred, at(SECOND));
        let mut stream = Stream::new(60_000_000, 1000, 5 * SECOND);
        world.run(&mut stream, 6 * SECOND);
        let [_, used] = octets(&world);
        assert_eq!(used, 1_000_000, "the most whole packets");
        let exhausted = world.ends[0].events.iter().filter(|(_, e)| *e == Event::Exhausted(B));
        assert_eq!(exhausted.count(), 1);
        let status = world.ends[0].sender.status(world.now);
        assert_eq!(
            (status.paths[1].standing, status.paths[1].quota),
            (Standing::Barred, Some(500))
        );
        let last = world.ends[0].log.iter().rfind(|(_, by, ..)| *by == B).unwrap().0;
        assert!(last < at(3 * SECOND), "not even a probe");
        world.ends[0].sender.set_path(B, PathSettings::default(), world.now);
        assert_eq!(world.ends[0].sender.status(world.now).paths[1].standing, Standing::Full);
    }
}

#[test]
fn a_path_is_held_to_its_rate_in_every_mode() {
    for mode in [Mode::Single, Mode::Mirrored, Mode::Striped] {
        let mut world = World::new(mode, links(), 2);
        let settings = PathSettings { rate: Some(5_000_000), ..PathSettings::default() };
        world.ends[0].sender.set_path(A, settings, at(SECOND));
        let mut stream = Stream::new(30_000_000, 1000, 5 * SECOND);
        world.run(&mut stream, 6 * SECOND);
        let [a, b] = octets(&world);
        let rate = a * 8 / 5;
        assert!((4_900_000..5_150_000).contains(&rate), "{rate} bit/s in {mode:?}");
        let counters = world.ends[0].sender.counters();
        if mode == Mode::Single {
            assert_eq!((counters.rate, b), (stream.sent - a / 1000, 0));
        } else {
            assert!(b * 8 / 5 > 19_000_000, "the other path carries what it can");
        }
    }
}

#[test]
fn a_path_in_reserve_is_used_only_while_no_full_one_lives() {
    for mode in [Mode::Single, Mode::Mirrored, Mode::Striped, Mode::Automatic] {
        let mut world = World::new(mode, links(), 3);
        let settings = PathSettings { standing: Standing::Reserve, ..PathSettings::default() };
        for end in &mut world.ends {
            end.sender.set_path(B, settings, at(SECOND));
            end.sender.set_preferred(B);
        }
        world.later(2 * SECOND, |world| world.links.iter_mut().for_each(|link| link[0].up = false));
        world.later(4 * SECOND, |world| world.links.iter_mut().for_each(|link| link[0].up = true));
        let mut stream = Stream::new(5_000_000, 1000, 8 * SECOND);
        world.run(&mut stream, 8 * SECOND);
        let events = &world.ends[0].events;
        let [(dead, Event::Dead(A)), (alive, Event::Alive(A))] = events[..] else {
            panic!("{events:?}")
        };
        for (when, path, report, _) in &world.ends[0].log {
            let reserve = (dead..alive).contains(when);
            assert!(*report || (*path == B) == reserve, "{path} at {when:?} in {mode:?}");
        }
    }
}

#[test]
fn a_barred_path_carries_nothing_at_all() {
    let mut world = World::new(Mode::Mirrored, links(), 4);
    let settings = PathSettings { standing: Standing::Barred, ..PathSettings::default() };
    for end in &mut world.ends {
        end.sender.set_path(B, settings, at(SECOND));
    }
    world.later(2 * SECOND, |world| world.links.iter_mut().for_each(|link| link[0].up = false));
    let mut stream = Stream::new(5_000_000, 1000, 4 * SECOND);
    world.run(&mut stream, 4 * SECOND);
    assert!(world.ends[0].log.iter().all(|(_, by, ..)| *by == A));
}
