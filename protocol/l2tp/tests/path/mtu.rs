//! RFC 8899: how long packets may be.

use std::time::Duration;

use homeward_l2tp::{Encapsulation, Overhead, PathEvent, PathSettings, Sublayer};
use proptest::prelude::*;

use crate::world::{Load, MS, Net, SEC, World, address};

fn world(mtu: u16, settings: PathSettings) -> World {
    World::new(Net { mtu, ..Net::default() }, settings)
}

fn found(world: &World) -> [u16; 2] {
    [world.ends[0].path.mtu(), world.ends[1].path.mtu()]
}

#[test]
fn a_path_that_carries_all_is_known_after_one_probe() {
    let mut world = world(1500, PathSettings::default());
    assert_eq!(found(&world), [1280, 1280], "until it is measured");
    world.run(SEC);
    assert_eq!(found(&world), [1500, 1500]);
    assert_eq!(world.events(0)[1..], [PathEvent::Mtu(1500)]);
    let long = world.ends[0].sent.iter().filter(|(_, packet)| packet.octets > 200);
    assert_eq!(long.map(|(_, packet)| packet.octets + 28).collect::<Vec<_>>(), [1500]);
}

#[test]
fn what_a_path_carries_is_found_to_within_a_few_octets() {
    for mtu in [1281, 1300, 1400, 1420, 1454, 1480, 1492, 1499] {
        let mut world = world(mtu, PathSettings::default());
        world.run(40 * SEC);
        for found in found(&world) {
            assert!((mtu - 8..=mtu).contains(&found), "{found} of {mtu}");
        }
        assert_eq!(world.ends[0].path.poll_timeout(), None, "and then it is quiet");
    }
}

#[test]
fn inside_wireguard_the_lengths_are_those_of_the_outer_packets() {
    let overhead =
        Overhead { encapsulation: Encapsulation::Ip, cookie: 8, sublayer: Sublayer::Numbered };
    let settings = PathSettings { overhead, ..PathSettings::default() };
    for (mtu, expected) in [(1500, 1500), (1499, 1484), (1492, 1484), (1420, 1420), (1300, 1292)] {
        let mut world = world(mtu, settings.clone());
        world.run(40 * SEC);
        // 28 + 32 + a multiple of 16.
        assert_eq!(found(&world), [expected, expected], "of {mtu}");
    }
}

#[test]
fn a_path_below_the_base_is_measured_too() {
    let mut world = world(1000, PathSettings::default());
    world.run(60 * SEC);
    for found in found(&world) {
        assert!((992..=1000).contains(&found), "{found}");
    }
    let least = PathSettings::default().min_mtu;
    assert!(world.events(0).contains(&PathEvent::Mtu(least)), "meanwhile the least");
}

#[test]
fn a_router_that_says_what_it_carries_is_believed_as_far_as_it_is_proven() {
    let mut world = world(1492, PathSettings::default());
    world.run(50 * MS);
    let now = world.now;
    for end in 0..2 {
        world.ends[end].path.handle_too_big(address(2 - end as u8), 1492, now);
    }
    world.run(50 * MS);
    assert_eq!(found(&world), [1492, 1492], "at once");
    world.run(10 * SEC);
    assert_eq!(found(&world), [1492, 1492], "and for good: the largest was tried, in vain");
    assert_eq!(world.ends[0].path.poll_timeout(), None);
}

/// Anybody can send an ICMP message that quotes our addresses.
#[test]
fn a_lie_about_what_a_router_carries_costs_a_probe_and_no_more() {
    let mut world = world(1500, PathSettings::default());
    world.run(5 * SEC);
    world.events(0);
    world.ends[0].sent.clear();
    let now = world.now;
    for lie in [0, 68, 1279, 1500, 1501, 9000, u16::MAX] {
        world.ends[0].path.handle_too_big(address(2), lie, now);
        assert_eq!(world.ends[0].path.poll_timeout(), None, "{lie} says nothing");
    }
    world.ends[0].path.handle_too_big(address(77), 1300, now);
    assert_eq!(world.ends[0].path.poll_timeout(), None, "it is not about us");
    for lie in [1280, 1300, 1499].repeat(1000) {
        let now = world.now;
        world.ends[0].path.handle_too_big(address(2), lie, now);
        world.run(MS);
        assert_eq!(world.ends[0].path.mtu(), 1500);
    }
    assert!(world.ends[0].sent.len() <= 4, "{} packets", world.ends[0].sent.len());
    world.run(60 * SEC);
    assert_eq!((world.events(0), world.ends[0].path.mtu()), (Vec::new(), 1500));
}

#[test]
fn a_router_that_says_what_it_carries_has_a_narrower_path_noticed_at_once() {
    let mut world = world(1500, PathSettings::default());
    world.run(5 * SEC);
    world.net.mtu = 1400;
    world.events(0);
    world.send(0, 1472);
    let now = world.now;
    world.ends[0].path.handle_too_big(address(2), 1400, now);
    world.run(400 * MS);
    assert_eq!(world.events(0), [PathEvent::Mtu(1280), PathEvent::Mtu(1400)]);
    world.run(10 * SEC);
    assert_eq!(world.ends[0].path.mtu(), 1400);
    assert_eq!(world.ends[0].path.poll_timeout(), None);
    // And narrower still; and a lie before that does not hide it.
    world.net.mtu = 1300;
    let now = world.now;
    world.ends[0].path.handle_too_big(address(2), 1390, now);
    world.ends[0].path.handle_too_big(address(2), 1300, now);
    world.run(SEC);
    assert_eq!(world.events(0), [PathEvent::Mtu(1280), PathEvent::Mtu(1300)]);
}

/// EMSGSIZE says no more than that a packet was too long.
#[test]
fn an_interface_that_refuses_a_packet_has_the_search_go_on_by_halves() {
    let mut world = world(1400, PathSettings::default());
    let probes = refuse(&mut world, 1400, SEC);
    assert!((1392..=1400).contains(&world.ends[0].path.mtu()), "{}", world.ends[0].path.mtu());
    assert!(probes < 12, "{probes} probes");
}

#[test]
fn an_interface_that_becomes_narrower_is_believed_at_once() {
    let mut world = world(1500, PathSettings::default());
    world.run(5 * SEC);
    world.events(0);
    world.net.mtu = 1000;
    let now = world.now;
    world.ends[0].path.handle_refused(address(77), 1472 + 28, now);
    world.ends[0].path.handle_refused(address(2), 1501, now);
    assert_eq!(world.ends[0].path.mtu(), 1500, "it is not about us");
    world.ends[0].path.handle_refused(address(2), 1472 + 28, now);
    assert_eq!(world.ends[0].path.mtu(), 1280);
    refuse(&mut world, 1000, SEC);
    assert!((992..=1000).contains(&world.ends[0].path.mtu()), "{}", world.ends[0].path.mtu());
    assert_eq!(world.events(0)[..2], [PathEvent::Mtu(1280), PathEvent::Mtu(576)]);
}

#[test]
fn packets_that_were_refused_before_it_was_known_are_nothing_new() {
    let mut world = world(1400, PathSettings::default());
    world.run(SEC / 2);
    world.ends[0].sent.clear();
    for _ in 0..1000 {
        let now = world.now;
        world.ends[0].path.handle_refused(address(2), 1500, now);
        world.run(MS);
    }
    let sent = world.ends[0].sent.len();
    assert!(sent <= 8, "{sent} packets");
}

#[test]
fn who_says_less_and_less_of_a_search_gets_no_probe_for_each() {
    let mut world = world(1400, PathSettings::default());
    world.run(SEC / 2);
    world.ends[0].sent.clear();
    for lie in (1281..1500).rev().chain([1280; 500]) {
        let now = world.now;
        world.ends[0].path.handle_too_big(address(2), lie, now);
        world.run(MS);
    }
    let sent = world.ends[0].sent.len();
    assert!(sent <= 30, "{sent} packets");
}

/// Lets the world go on, with an interface of end 0 that refuses what is longer. Gives how many
/// probes end 0 sent.
fn refuse(world: &mut World, mtu: usize, span: Duration) -> usize {
    let (until, mut probes) = (world.now + span, 0);
    while world.now < until {
        world.run(5 * MS);
        probes += world.ends[0].sent.iter().filter(|(_, packet)| packet.octets > 500).count();
        let now = world.now;
        let refused = world.ends[0].sent.drain(..).filter(|(_, packet)| packet.octets + 28 > mtu);
        for length in refused.map(|(_, packet)| packet.octets + 28).collect::<Vec<_>>() {
            let length = u16::try_from(length).unwrap();
            world.ends[0].path.handle_refused(address(2), length, now);
        }
    }
    probes
}

#[test]
fn lies_about_what_a_router_carries_do_not_hold_up_the_search() {
    let mut world = world(1400, PathSettings::default());
    for _ in 0..400 {
        world.run(100 * MS);
        let now = world.now;
        for lie in [0, 1200, 1399, 1450, 1500, 9000, u16::MAX] {
            world.ends[0].path.handle_too_big(address(2), lie, now);
        }
    }
    assert!((1392..=1400).contains(&world.ends[0].path.mtu()), "{}", world.ends[0].path.mtu());
}

#[test]
fn a_path_below_the_least_is_given_up_measuring() {
    let mut world = world(500, PathSettings::default());
    world.converse(SEC, 60 * SEC);
    world.run(60 * SEC);
    assert_eq!(found(&world), [576, 576]);
    assert_eq!(world.ends[0].path.poll_timeout(), None);
}

#[test]
fn what_is_in_use_is_checked_before_more_is_looked_for() {
    let mut world = world(1400, PathSettings::default());
    world.run(60 * SEC);
    world.net.mtu = 1300;
    let now = world.now;
    world.ends[0].path.check_mtu(now);
    world.run(4 * SEC);
    assert!(world.ends[0].path.mtu() <= 1300);
}

#[test]
fn a_path_that_shrinks_is_noticed_when_it_is_checked() {
    let mut world = world(1500, PathSettings::default());
    world.run(SEC);
    world.net.mtu = 1400;
    world.events(0);
    let now = world.now;
    world.ends[0].path.check_mtu(now);
    world.run(3500 * MS);
    assert_eq!(world.events(0)[0], PathEvent::Mtu(1280), "the base, not the least");
    world.run(40 * SEC);
    assert!((1392..=1400).contains(&world.ends[0].path.mtu()));
    assert_eq!(world.ends[0].path.rtt(), Some(20 * MS));
}

/// How long a one-way stream of long packets falls on deaf ears when the path narrows to 1,400
/// octets. `back` has the other end send short packets meanwhile.
fn silence_of_a_stream(world: &mut World, back: bool) -> Duration {
    let (narrowed, mut arrived) = (world.now, world.ends[1].frames);
    world.net.mtu = 1400;
    loop {
        // As TCP does, for which the tunnel has lowered the size of its segments.
        let room = usize::from(world.ends[0].path.mtu()) - 28;
        world.send(0, room);
        if back {
            world.send(1, 60);
        }
        world.run(10 * MS);
        if back {
            arrived = arrived.max(world.ends[1].frames);
        }
        if world.ends[1].frames > arrived || world.ends[0].path.mtu() <= 1400 {
            return world.now - narrowed;
        }
        assert!(world.now - narrowed < 60 * SEC, "it is never noticed");
    }
}

#[test]
fn a_path_that_narrows_is_noticed_soon_where_nothing_comes_back() {
    let mut world = world(1500, PathSettings::default());
    // It is confirmed in between, and not due to be again for some time.
    let until = world.now + 8 * SEC;
    while world.now < until {
        world.send(0, 1472);
        world.send(1, 60);
        world.run(20 * MS);
    }
    world.events(0);
    let silence = silence_of_a_stream(&mut world, false);
    // Three probes, from when the first packets should have been answered.
    assert!(silence <= 450 * MS, "{silence:?}");
    assert_eq!(world.events(0), [PathEvent::Mtu(1280)]);
    world.run(60 * SEC);
    assert!((1392..=1400).contains(&world.ends[0].path.mtu()), "{}", world.ends[0].path.mtu());
}

#[test]
fn a_path_that_narrows_is_noticed_in_seconds_where_other_things_come_back() {
    let mut world = world(1500, PathSettings::default());
    world.run(5 * SEC);
    let silence = silence_of_a_stream(&mut world, true);
    assert!(silence <= 6 * SEC, "{silence:?}");
    world.run(60 * SEC);
    assert!((1392..=1400).contains(&world.ends[0].path.mtu()), "{}", world.ends[0].path.mtu());
}

#[test]
fn a_path_below_the_base_is_noticed_under_a_stream_that_does_not_fit() {
    let mut world = world(1280, PathSettings::default());
    world.run(20 * SEC);
    assert!(world.ends[0].path.mtu() <= 1280);
    world.net.mtu = 1000;
    let until = world.now + 30 * SEC;
    while world.now < until {
        world.send(0, 1200);
        world.send(1, 60);
        world.run(50 * MS);
    }
    assert!((992..=1000).contains(&world.ends[0].path.mtu()), "{}", world.ends[0].path.mtu());
}

#[test]
fn the_path_mtu_is_confirmed_every_five_seconds_while_long_packets_are_sent() {
    let probes = |octets: usize| {
        let mut world = world(1500, PathSettings::default());
        world.run(5 * SEC);
        world.ends[0].sent.clear();
        for _ in 0..2000 {
            world.send(0, octets);
            world.send(1, 60);
            world.run(20 * MS);
        }
        assert_eq!(world.ends[0].path.mtu(), 1500);
        let echoes = world.ends[0].sent.iter().filter(|(_, packet)| packet.load != Load::Data);
        echoes.map(|(at, packet)| (*at, packet.octets + 28)).collect::<Vec<_>>()
    };
    let long = probes(1300);
    assert!((7..=8).contains(&long.len()), "{long:?}");
    assert!(long.iter().all(|(_, length)| *length == 1500));
    assert!(long.windows(2).all(|pair| pair[1].0 - pair[0].0 >= 5 * SEC), "{long:?}");
    // What the base carries says nothing about more.
    assert_eq!(probes(1252), []);
}

#[test]
fn a_confirmation_does_not_put_off_the_next_measurement() {
    let mut world = world(1400, PathSettings::default());
    world.run(60 * SEC);
    world.net.mtu = 1500;
    let until = world.now + 620 * SEC;
    while world.now < until {
        world.send(0, 1372);
        world.send(1, 60);
        world.run(500 * MS);
    }
    assert_eq!(world.ends[0].path.mtu(), 1500);
}

#[test]
fn a_reply_that_comes_late_takes_a_fall_back() {
    let mut world = world(1500, PathSettings::default());
    world.run(5 * SEC);
    world.events(0);
    // A queue that was empty when the round-trip time was taken is full now.
    world.net.delay = 900 * MS;
    let until = world.now + 20 * SEC;
    while world.now < until {
        world.send(0, 1472);
        world.send(1, 60);
        world.run(20 * MS);
    }
    let events = world.events(0);
    assert_eq!(world.ends[0].path.mtu(), 1500, "{events:?}");
    assert!(events.len() <= 2, "it knows the time now: {events:?}");
}

#[test]
fn a_path_that_loses_much_is_not_taken_for_a_narrow_one_for_long() {
    let mut world = world(1500, PathSettings::default());
    world.run(5 * SEC);
    world.net.loss = 5;
    let (until, mut narrow) = (world.now + 600 * SEC, 0);
    while world.now < until {
        world.send(0, 1472);
        world.send(1, 200);
        world.run(20 * MS);
        narrow += usize::from(world.ends[0].path.mtu() < 1400);
    }
    assert!(narrow < 300, "1 % of the time: {narrow} of 30000");
}

#[test]
fn it_is_measured_again_after_ten_minutes_if_anything_is_sent() {
    let mut world = world(1400, PathSettings::default());
    world.run(60 * SEC);
    world.net.mtu = 1500;
    world.ends[0].sent.clear();
    world.run(3600 * SEC);
    assert_eq!(world.ends[0].sent.len(), 0, "an idle path is left alone");
    world.send(0, 100);
    world.run(2 * SEC);
    assert_eq!(world.ends[0].path.mtu(), 1500);
}

#[test]
fn an_interface_without_limits_is_measured_as_far_as_a_packet_goes() {
    let settings = PathSettings { max_mtu: u16::MAX, ..PathSettings::default() };
    let mut world = world(u16::MAX, settings);
    world.run(SEC);
    assert_eq!(found(&world), [u16::MAX - 1; 2]);
}

#[test]
fn a_move_begins_at_the_base_again() {
    let mut world = world(1500, PathSettings::default());
    world.run(SEC);
    world.events(0);
    world.move_to(1, 3);
    world.send(1, 100);
    world.run(SEC);
    assert_eq!(
        world.events(0),
        [
            PathEvent::Moved { from: address(2), to: address(3) },
            PathEvent::Mtu(1280),
            PathEvent::Mtu(1500),
        ]
    );
}

#[test]
fn a_path_that_dies_during_the_search_is_not_taken_for_a_narrow_one() {
    let mut world = world(1500, PathSettings::default());
    world.run(SEC);
    world.net.dead.insert(address(2));
    let now = world.now;
    world.ends[0].path.check_mtu(now);
    world.run(60 * SEC);
    world.net.dead.clear();
    world.run(40 * SEC);
    let events = world.events(0);
    assert!(!events.contains(&PathEvent::Mtu(1280)), "{events:?}");
    assert_eq!(world.ends[0].path.mtu(), 1500);
}

#[test]
fn probes_of_the_path_mtu_are_sent_three_times_a_second_apart() {
    let mut world = world(1400, PathSettings::default());
    world.run(4 * SEC);
    let at: Vec<_> = world.ends[0]
        .sent
        .iter()
        .filter(|(_, packet)| packet.octets + 28 == 1500)
        .map(|(at, packet)| {
            assert!(matches!(packet.load, Load::Echo(_)));
            *at
        })
        .collect();
    assert_eq!([at[1] - at[0], at[2] - at[1]], [SEC, SEC]);
    assert_eq!(at.len(), 3);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    /// It never says more than the path carries, and ends close below it.
    #[test]
    fn what_is_found_passes(seed: u64, mtu in 600u16..2000, max_mtu in 1200u16..1600, loss in 0u8..15) {
        let settings = PathSettings { max_mtu, ..PathSettings::default() };
        let mut world = world(mtu, settings).seed(seed);
        world.net.loss = loss;
        world.run(120 * SEC);
        for end in &world.ends {
            let found = end.path.mtu();
            if end.path.poll_timeout().is_some() {
                // Still at it: losses held it up.
                prop_assert!(loss > 0);
                continue;
            }
            prop_assert!(found <= mtu && found <= max_mtu, "{} of {}", found, mtu);
            if loss == 0 {
                prop_assert!(found + 8 >= mtu.min(max_mtu), "{} of {}", found, mtu);
            }
        }
    }
}
