//! Whole walks.

use homeward_model::Entropy;
use homeward_offload::manager::{Connectivity, Left, Notice, State, SupplicantEvent};

use crate::world::{Manner, Mood, Seed, World, mac, ms, s};

#[test]
fn a_device_gets_credentials_and_is_on_wifi_soon_after_it_is_near_and_back_before_it_is_gone() {
    let mut world = World::new(1);
    world.begin();
    let took = world.until(s(2), |w| w.stored.is_some());
    assert!(took <= ms(700), "attached to credentials: {took:?}");
    world.run(s(60));
    assert_eq!(world.m.state(), State::Watching);

    for signal in -90..=-50 {
        world.ap(1).signal = signal;
        world.run(ms(500));
    }
    let took = world.until(s(8), |w| w.on_wifi);
    assert!(took <= s(1), "strong for long already: {took:?}");
    world.run(s(600));
    assert!(world.on_wifi);

    let mut left = None;
    for signal in (-91..=-50).rev() {
        world.ap(1).signal = signal;
        world.run(ms(700));
        if !world.on_wifi && left.is_none() {
            left = Some(signal);
        }
    }
    assert!((-86..=-78).contains(&left.unwrap()), "left at {left:?}");
    world.run(s(60));
    assert_eq!(world.m.state(), State::Watching);
    let faded =
        |(_, notice): &&(_, Notice)| matches!(notice, Notice::Returned { why: Left::Faded, .. });
    assert_eq!(world.log.iter().filter(faded).count(), 1);
    assert_eq!(world.all_requests.len(), 1, "and never asked again");
}

#[test]
fn a_signal_that_wavers_about_the_threshold_makes_nobody_go_to_and_fro() {
    let mut world = World::new(2);
    world.begin();
    world.ap(1).signal = -60;
    world.until(s(20), |w| w.on_wifi);
    let mut chance = Seed(2);
    for _ in 0..3600 {
        world.ap(1).signal = -72 + i8::try_from(chance.below(9)).unwrap() - 4;
        world.run(s(1));
    }
    assert_eq!(world.m.counters().offloads, 1);
    assert_eq!(world.m.counters().returns, 0);
}

#[test]
fn a_portal_that_is_away_for_an_hour_is_neither_hammered_nor_given_up() {
    let mut world = World::new(3);
    world.portal.mood = Mood::Away;
    world.ap(1).signal = -50;
    world.begin();
    world.run(s(3600));
    let asked = world.all_requests.len();
    assert!((12..=24).contains(&asked), "{asked} requests in the hour");
    world.portal.mood = Mood::Answers;
    let took = world.until(s(301), |w| w.on_wifi);
    assert!(took <= s(301), "{took:?}");
}

/// A day of somebody's life, with everything that happens.
#[test]
fn a_day_of_walks_and_outages_keeps_what_the_machine_promises() {
    for seed in 0..12 {
        let mut world = World::new(seed);
        let mut chance = Seed(seed ^ 0xdead);
        world.portal.lifetime = Some(s(3 * 3600));
        world.portal.window = s(1800);
        world.begin();
        let mut near = 0usize;
        for minute in 0..24 * 60u64 {
            for (at, ap) in world.aps.iter_mut().enumerate() {
                let goal: i8 = if at == near { -52 } else { -93 };
                ap.signal += (goal - ap.signal).signum() * 4;
                ap.signal += i8::try_from(chance.below(5)).unwrap() - 2;
            }
            match chance.below(60) {
                0 | 1 => near = usize::try_from(chance.below(5)).unwrap(),
                2 => world.portal.mood = Mood::Away,
                3 => world.portal.mood = Mood::Silent,
                4 => world.portal.mood = Mood::Refuses,
                5..=9 => world.portal.mood = Mood::Answers,
                10 => world.bearer(false),
                11..=13 => world.bearer(true),
                14 => world.ap(1).leads = Connectivity::Captive,
                15 => world.ap(2).leads = Connectivity::Dead,
                16 => world.aps.iter_mut().for_each(|ap| ap.leads = Connectivity::Open),
                17 => world.ap(1).manner = Manner::Mute,
                18 => world.aps.iter_mut().for_each(|ap| ap.manner = Manner::Welcomes),
                19 => {
                    world.supplicant_says(SupplicantEvent::Lost);
                    world.start_supplicant();
                }
                20 => world.wall_error = i64::from(i32::from_le_bytes(chance.octets())) * 1000,
                21 => world.wall_error = 0,
                22 if world.associated == Some(mac(1)) => {
                    world.associated = Some(mac(2));
                    world.supplicant_says(SupplicantEvent::Connected { bssid: mac(2) });
                }
                _ => {}
            }
            world.run(s(60));
            assert!(world.m.status().counters.requests < 1000, "minute {minute}");
        }
        assert!(world.m.counters().offloads > 3, "seed {seed}: {:?}", world.m.counters());
        assert!(world.timeouts() < 200_000, "seed {seed}: woke {} times", world.timeouts());

        // And in the end all is well.
        world.portal.mood = Mood::Answers;
        world.wall_error = 0;
        world.bearer(true);
        for ap in &mut world.aps {
            (ap.leads, ap.manner, ap.signal) = (Connectivity::Open, Manner::Welcomes, -93);
        }
        world.ap(1).signal = -50;
        world.until(s(2 * 3600), |w| w.on_wifi);
    }
}
