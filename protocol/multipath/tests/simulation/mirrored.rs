//! Mirroring: what one path loses the other brings, and nothing comes twice.

use homeward_multipath::{Mode, Urgency};

use super::world::{A, B, Link, MS, SECOND, Stream, World};

fn lossy() -> [Link; 2] {
    let mut links = [Link::new(50, 10 * MS), Link::new(20, 60 * MS)];
    links.iter_mut().for_each(|link| link.loss = 0.1);
    links
}

/// Data packets sent from end 0 on each path.
fn sent(world: &World) -> [usize; 2] {
    [A, B].map(|path| {
        world.ends[0].log.iter().filter(|(_, by, report, _)| *by == path && !*report).count()
    })
}

#[test]
fn of_two_times_ten_percent_one_is_left_and_nothing_comes_twice() {
    for seed in 0..5 {
        let mut world = World::new(Mode::Mirrored, lossy(), seed);
        let mut stream = Stream::new(2_000_000, 200, 20 * SECOND);
        world.run(&mut stream, 21 * SECOND);
        let mut numbers: Vec<_> = stream.received.iter().map(|(_, number, _)| *number).collect();
        let count = numbers.len();
        numbers.sort_unstable();
        numbers.dedup();
        assert_eq!(numbers.len(), count, "none comes twice");
        let lost = 1.0 - count as f64 / stream.sent as f64;
        eprintln!("mirrored: {:.2} % of {} lost", lost * 100.0, stream.sent);
        assert!((0.007..0.013).contains(&lost), "{lost}");
        assert_eq!(sent(&world), [stream.sent as usize; 2]);
        assert!(
            !world.ends[1].events.iter().chain(&world.ends[0].events).any(|_| true),
            "no death"
        );
        let fast = stream.received.iter().filter(|(.., took)| *took < 11 * MS).count();
        assert!(fast as f64 / count as f64 > 0.9, "the quicker copy counts");
        let status = world.ends[0].sender.status(world.now);
        for path in &status.paths {
            let loss = f64::from(path.loss_ppm) / 1e6;
            assert!((0.04..0.17).contains(&loss), "{loss} measured on path {}", path.path);
            let total = path.lost as f64 / path.packets as f64;
            assert!((0.09..0.11).contains(&total), "{total} measured on path {}", path.path);
        }
        assert_eq!(
            u64::from(status.paths[1].duplicates),
            world.ends[1].duplicates - u64::from(status.paths[0].duplicates)
        );
    }
}

#[test]
fn what_is_urgent_is_mirrored_within_the_budget_and_the_rest_is_not() {
    for (rate, copies) in [(200_000, 200_000), (1_000_000, 256_000)] {
        let mut world = World::new(Mode::Automatic, lossy(), 7);
        let mut stream = Stream::new(rate, 200, 10 * SECOND);
        stream.urgency = Urgency::Urgent;
        world.run(&mut stream, 11 * SECOND);
        let mirrored = world.ends[0].sender.counters().mirrored;
        let rate = mirrored * 200 * 8 / 10;
        // The burst is 13 kbit/s over ten seconds.
        assert!((copies * 99 / 100..copies + 14_000).contains(&rate), "{rate} of {copies} bit/s");
        let [a, b] = sent(&world);
        assert_eq!((a as u64, b as u64), (stream.sent, mirrored), "the rest by the quicker path");
    }
    let mut world = World::new(Mode::Automatic, lossy(), 7);
    let mut stream = Stream::new(200_000, 200, 10 * SECOND);
    world.run(&mut stream, 11 * SECOND);
    assert_eq!(sent(&world), [stream.sent as usize, 0], "what is not urgent is sent once");
}

#[test]
fn no_copies_go_where_they_would_queue_for_long() {
    let mut links = [Link::new(50, 10 * MS), Link::new(2, 60 * MS)];
    links.iter_mut().for_each(|link| link.queue = 10 * SECOND);
    let mut world = World::new(Mode::Mirrored, links, 8);
    let mut stream = Stream::new(10_000_000, 1000, 10 * SECOND);
    world.run(&mut stream, 5 * SECOND);
    let queue = world.ends[0].sender.status(world.now).paths[1].queue_us;
    assert!((80_000..120_000).contains(&queue), "{queue} us");
    world.run(&mut stream, 15 * SECOND);
    let [a, b] = sent(&world);
    assert_eq!((a as u64, stream.received.len() as u64), (stream.sent, stream.sent));
    let rate = b * 8000 / 10;
    assert!((1_800_000..2_400_000).contains(&rate), "{rate} bit/s of copies by a path of 2 Mbit/s");
}
