//! Striping: the sum of both paths, in order, without delay that grows.

use std::time::Duration;

use homeward_multipath::{Mode, ReorderSettings, Settings};

use super::tcp::Tcp;
use super::world::{A, B, Link, MS, SECOND, Stream, World, at};

const OCTETS: usize = 1400;

fn links() -> [Link; 2] {
    [Link::new(50, 10 * MS), Link::new(20, 60 * MS)]
}

/// Of what is offered, in bits per second, what came out from one second to another.
fn rate(stream: &Stream, from: u32, to: u32) -> f64 {
    let count = stream.between(from * SECOND, to * SECOND).len();
    (count * OCTETS * 8) as f64 / f64::from(to - from)
}

#[test]
fn an_open_loop_gets_the_sum_of_both_rates_in_order() {
    let mut world = World::new(Mode::Striped, links(), 1);
    let mut stream = Stream::new(70_000_000, OCTETS, 10 * SECOND);
    world.run(&mut stream, 11 * SECOND);
    let worst = stream.between(SECOND, 10 * SECOND).iter().map(|(_, took)| *took).max().unwrap();
    let counters = world.ends[1].reorder.counters();
    eprintln!(
        "open loop: {:.1} of 70 Mbit/s, {} out of order, {worst:?} at most, {counters:?}",
        rate(&stream, 2, 10) / 1e6,
        stream.out_of_order(),
    );
    assert!(rate(&stream, 2, 10) >= 0.95 * 70e6);
    assert_eq!((stream.out_of_order(), stream.received.len() as u64), (0, stream.sent));
    assert!(worst < 150 * MS, "{worst:?}");
}

#[test]
fn jitter_and_loss_leave_what_arrives_in_order_and_hold_it_no_longer_than_paths_differ() {
    for seed in 0..5 {
        let mut links = links();
        links[0].jitter = 3 * MS;
        links[1].jitter = 15 * MS;
        links.iter_mut().for_each(|link| link.loss = 0.01);
        let mut world = World::new(Mode::Striped, links, seed);
        let mut stream = Stream::new(66_000_000, OCTETS, 10 * SECOND);
        world.run(&mut stream, 11 * SECOND);
        let counters = *world.ends[1].reorder.counters();
        let late = stream.out_of_order() as f64 / stream.received.len() as f64;
        eprintln!(
            "jitter and loss: {:.1} Mbit/s, {late:.5} late, {counters:?}",
            rate(&stream, 2, 10) / 1e6
        );
        assert!(rate(&stream, 2, 10) >= 0.95 * 66e6 * 0.99);
        assert!(late < 0.001, "{late} of them late");
        assert!(counters.longest_wait_us <= 200_000);
    }
}

#[test]
fn what_is_more_than_both_carry_is_dropped_before_it_queues_for_long() {
    let mut links = links();
    links.iter_mut().for_each(|link| link.queue = 10 * SECOND);
    let mut world = World::new(Mode::Striped, links, 3);
    let mut stream = Stream::new(140_000_000, OCTETS, 10 * SECOND);
    world.run(&mut stream, 12 * SECOND);
    // Until the paths are known to be full they are given more than they carry.
    let worst =
        stream.between(2 * SECOND, 12 * SECOND).iter().map(|(_, took)| *took).max().unwrap();
    let dropped = world.ends[0].sender.counters().queue;
    eprintln!(
        "overload: {:.1} Mbit/s, {worst:?} at most, {dropped} dropped",
        rate(&stream, 2, 10) / 1e6
    );
    assert!(rate(&stream, 2, 10) >= 0.95 * 70e6);
    assert!(worst < 480 * MS, "a queue of 400 ms and 60 ms of delay, not {worst:?}");
    assert_eq!(dropped + stream.received.len() as u64, stream.sent, "nothing is lost elsewhere");
}

#[test]
fn what_is_more_than_the_one_path_carries_is_dropped_as_well() {
    for (mode, most) in [(Mode::Single, 430), (Mode::Mirrored, 480)] {
        let mut links = links();
        links.iter_mut().for_each(|link| link.queue = 10 * SECOND);
        let mut world = World::new(mode, links, 4);
        let mut stream = Stream::new(60_000_000, OCTETS, 6 * SECOND);
        world.run(&mut stream, 8 * SECOND);
        let worst = stream.between(SECOND, 8 * SECOND).iter().map(|(.., took)| *took).max();
        assert!(worst.unwrap() < most * MS, "{worst:?} in {mode:?}");
        assert!(rate(&stream, 2, 6) >= 0.95 * 50e6);
        assert!(world.ends[0].sender.counters().queue > 0);
    }
}

#[test]
fn a_tcp_gets_the_sum_of_both_rates() {
    for seed in 0..2 {
        let mut world = World::new(Mode::Striped, links(), seed);
        world.links.iter_mut().flatten().for_each(|link| link.jitter = MS);
        let mut tcp = Tcp::new();
        world.run(&mut tcp, 15 * SECOND);
        let rate = tcp.rate(at(6 * SECOND), at(16 * SECOND));
        eprintln!(
            "TCP: {:.1} of 70 Mbit/s, {} recoveries, {} time-outs, {} retransmitted, {:?}",
            rate / 1e6,
            tcp.recoveries,
            tcp.timeouts,
            tcp.retransmitted,
            world.ends[1].reorder.counters()
        );
        assert!(rate >= 0.9 * 70e6, "{rate}");
    }
}

/// So that the one above says something of the order.
#[test]
fn a_tcp_without_order_does_not() {
    let settings = ReorderSettings { wait: Duration::ZERO, ..ReorderSettings::default() };
    let mut world = World::with(Mode::Striped, links(), 0, Settings::default(), settings);
    let mut tcp = Tcp::new();
    world.run(&mut tcp, 10 * SECOND);
    let rate = tcp.rate(at(3 * SECOND), at(11 * SECOND));
    eprintln!("TCP without order: {:.1} of 70 Mbit/s", rate / 1e6);
    assert!(rate < 0.9 * 70e6, "{rate}");
}

#[test]
fn what_one_path_carries_goes_by_the_quicker_one() {
    let mut world = World::new(Mode::Striped, links(), 5);
    let mut stream = Stream::new(20_000_000, OCTETS, 10 * SECOND);
    world.run(&mut stream, 11 * SECOND);
    let counts = [A, B].map(|path| {
        let sent = &world.ends[0].log;
        sent.iter().filter(|(_, by, report, _)| *by == path && !*report).count()
    });
    assert!(counts[1] * 100 < counts[0], "{counts:?}");
    let worst = stream.between(SECOND, 10 * SECOND).iter().map(|(_, took)| *took).max().unwrap();
    assert!(worst < 15 * MS, "{worst:?}");
}

#[test]
fn a_path_that_grows_is_used_and_one_that_shrinks_does_not_delay_for_long() {
    let mut links = links();
    links[0].rate = 10_000_000;
    links.iter_mut().for_each(|link| link.queue = 10 * SECOND);
    let mut world = World::new(Mode::Striped, links, 6);
    world.later(6 * SECOND, |world| world.links[0][0].rate = 100_000_000);
    world.later(12 * SECOND, |world| world.links[0][0].rate = 10_000_000);
    let mut stream = Stream::new(110_000_000, OCTETS, 18 * SECOND);
    world.run(&mut stream, 20 * SECOND);
    let rates = [(2, 6), (7, 12), (14, 18)].map(|(from, to)| rate(&stream, from, to) / 1e6);
    let worst = |from, to| {
        stream.between(from * SECOND, to * SECOND).iter().map(|(_, took)| *took).max().unwrap()
    };
    eprintln!("30, 120 and 30 Mbit/s: {rates:.1?}, {:?} and {:?}", worst(12, 14), worst(14, 18));
    assert!(rates[0] >= 0.95 * 30.0 && rates[1] >= 0.95 * 110.0 && rates[2] >= 0.95 * 30.0);
    assert!(worst(14, 18) < 480 * MS, "{:?}", worst(14, 18));
}

#[test]
fn a_pause_of_a_path_is_not_taken_for_what_it_carries() {
    let mut world = World::new(Mode::Striped, links(), 7);
    let mut stream = Stream::new(60_000_000, OCTETS, 5 * SECOND);
    world.later(3 * SECOND, |world| {
        let now = world.now;
        world.links[0][0].pause(60 * MS, now);
    });
    world.run(&mut stream, 3 * SECOND);
    let (mut least, mut most) = (u64::MAX, 0);
    for step in 0..500 {
        world.run(&mut stream, 3 * SECOND + step * 2 * MS);
        let rate = world.ends[0].sender.status(world.now).paths[0].rate.unwrap();
        (least, most) = (least.min(rate), most.max(rate));
    }
    assert!(least > 35_000_000 && most < 55_000_000, "from {least} to {most} bit/s");
    world.run(&mut stream, 6 * SECOND);
    assert_eq!(stream.received.len() as u64, stream.sent);
}

/// Reports come late where the way back is crowded. That is no queue on the way there.
#[test]
fn a_crowded_way_back_does_not_count_as_a_queue() {
    for (mode, rate_offered) in [(Mode::Striped, 66_000_000), (Mode::Single, 40_000_000)] {
        let mut world = World::new(mode, links(), 8);
        for step in 0..80 {
            world.later(3 * SECOND + step * 50 * MS, |world| world.links[1][0].delay += 10 * MS);
        }
        let mut stream = Stream::new(rate_offered, OCTETS, 12 * SECOND);
        world.run(&mut stream, 13 * SECOND);
        let rates = [(2, 3), (3, 7), (7, 12)].map(|(from, to)| rate(&stream, from, to) / 1e6);
        let counters = world.ends[0].sender.counters();
        eprintln!("crowded way back: {rates:.1?} Mbit/s, {counters:?}");
        for rate in rates {
            assert!(rate >= 0.95 * rate_offered as f64 / 1e6, "{rate}");
        }
        assert_eq!(counters.queue, 0);
    }
}

#[test]
fn a_path_is_not_given_at_once_what_it_may_not_carry() {
    let mut links = [Link::new(50, 10 * MS), Link::new(1, 60 * MS)];
    links[1].queue = 10 * SECOND;
    let mut world = World::new(Mode::Striped, links, 9);
    let mut stream = Stream::new(50_500_000, OCTETS, 10 * SECOND);
    stream.starts = SECOND;
    world.run(&mut stream, 15 * SECOND);
    let worst = stream.received.iter().map(|(.., took)| *took).max().unwrap();
    eprintln!("a slow path: {worst:?} at most, {} out of order", stream.out_of_order());
    assert!(worst < 300 * MS, "{worst:?}");
}

#[test]
fn no_packet_goes_where_it_comes_too_late_to_be_put_into_order() {
    let mut links = [Link::new(50, 10 * MS), Link::new(20, 400 * MS)];
    links[0].queue = 350 * MS;
    let mut world = World::new(Mode::Striped, links, 10);
    let mut stream = Stream::new(60_000_000, OCTETS, 10 * SECOND);
    stream.starts = SECOND;
    world.run(&mut stream, 11 * SECOND);
    let late = stream.out_of_order();
    eprintln!("beside a path of 400 ms: {:.1} Mbit/s, {late} late", rate(&stream, 4, 10) / 1e6);
    assert!(rate(&stream, 4, 10) >= 0.95 * 60e6);
    // Some come late before it is known what the paths carry.
    assert!(late * 100 < stream.received.len() as u64, "{late}");
}

#[test]
fn a_long_path_is_known_to_be_full_before_its_queue_is_as_long() {
    let mut long = Link::new(20, 300 * MS);
    long.queue = 10 * SECOND;
    let mut world = World::new(Mode::Single, [long, long], 12);
    let mut stream = Stream::new(30_000_000, OCTETS, 6 * SECOND);
    world.run(&mut stream, 8 * SECOND);
    let worst = stream.received.iter().map(|(.., took)| *took).max().unwrap();
    eprintln!("a long path: {worst:?} at most");
    assert!(worst < 900 * MS, "{worst:?}");
    assert!(rate(&stream, 2, 6) >= 0.95 * 20e6);
}
