//! Clocks that are wrong, and hours at which Wi-Fi may be used.

use homeward_model::{Weekday, Window};
use homeward_offload::manager::{Cause, Left, Notice};

use crate::world::{Mood, World, s};

const YEARS: i64 = 10 * 365 * 86_400_000;

#[test]
fn a_clock_years_ahead_or_behind_costs_no_credentials_and_no_request_in_one_life() {
    for error in [YEARS, -YEARS] {
        let mut world = World::new(1);
        world.wall_error = error;
        world.begin();
        world.ap(1).signal = -50;
        world.until(s(20), |w| w.on_wifi);
        world.run(s(3600));
        // Set right, and wrong again.
        world.wall_error = 0;
        world.run(s(3600));
        world.wall_error = error;
        world.run(s(3600));
        assert!(world.on_wifi);
        assert_eq!(world.all_requests.len(), 1);
    }
}

#[test]
fn a_clock_years_ahead_after_a_restart_costs_a_request_and_not_the_credentials() {
    let mut before = World::new(2);
    before.begin();
    before.until(s(5), |w| w.stored.is_some());
    let mut world = World::with(Default::default(), before.stored.clone(), 3);
    world.portal = before.portal.clone();
    world.wall_error = YEARS;
    world.portal.mood = Mood::Away;
    world.ap(1).signal = -50;
    world.begin();
    world.until(s(20), |w| w.on_wifi);
    assert!(world.stored.is_some());
    world.ap(1).signal = -95;
    world.portal.mood = Mood::Answers;
    world.run(s(3600));
    assert!(world.m.status().clock_skew_ms.unwrap() > YEARS - 60_000);
    let asked = world.all_requests.len();
    world.run(s(3600));
    assert_eq!(world.all_requests.len(), asked, "it is known now");
}

#[test]
fn a_clock_years_behind_after_a_restart_keeps_them_no_longer_than_until_the_portal_is_asked() {
    let mut before = World::new(4);
    before.portal.lifetime = Some(s(86_400));
    before.portal.window = s(0);
    before.begin();
    before.until(s(5), |w| w.stored.is_some());
    let mut world = World::with(Default::default(), before.stored.clone(), 5);
    world.run(s(3600));
    world.portal = before.portal.clone();
    world.wall_error = -YEARS;
    world.begin();
    world.run(s(2));
    assert_eq!(world.all_requests.len(), 1, "nobody knew whether they were good");
    world.run(s(3600));
    assert_eq!(world.all_requests.len(), 1, "it is known now");
    assert!(world.stored.is_some());
}

#[test]
fn a_portal_that_does_not_say_the_time_is_not_hammered_whatever_the_wall_shows() {
    for error in [YEARS, -YEARS] {
        let mut world = World::new(6);
        world.wall_error = error;
        world.portal.dated = false;
        world.ap(1).signal = -50;
        world.begin();
        world.until(s(20), |w| w.on_wifi);
        world.ap(1).signal = -95;
        world.run(s(6 * 3600));
        assert!(world.all_requests.len() <= 16, "{}", world.all_requests.len());
        assert!(world.stored.is_some());
    }
}

#[test]
fn wifi_is_used_at_the_policy_s_hours_and_left_when_they_end() {
    let mut world = World::new(7);
    // It is 13:00 on a Saturday.
    world.portal.policy.schedule = vec![Window {
        days: vec![Weekday::Sat],
        from: "14:00".parse().unwrap(),
        to: "15:30".parse().unwrap(),
    }];
    world.ap(1).signal = -50;
    world.begin();
    // The machine wakes by itself when the hour comes.
    world.stop_clock();
    world.run(s(1800));
    assert!(world.joins.is_empty());
    let causes: Vec<Cause> = world.m.why().causes.into_iter().map(|reason| reason.cause).collect();
    assert!(
        matches!(causes[..], [Cause::Schedule { wait_ms: Some(ms) }] if (1_790_000..=1_800_000).contains(&ms)),
        "{causes:?}"
    );
    world.run(s(1820));
    assert!(world.on_wifi, "{:?}", world.m.why());
    world.run(s(5360));
    assert!(world.on_wifi);
    world.run(s(30));
    assert!(!world.on_wifi);
    assert!(
        world.log.iter().any(|(_, n)| matches!(n, Notice::Returned { why: Left::Schedule, .. }))
    );
    world.run(s(86_400));
    assert_eq!(world.m.counters().offloads, 1);
}
