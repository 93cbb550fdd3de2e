//! Logged on before it is used. The policy has a network joined at -67 and left at -77: at -72 it
//! is nearly strong enough.

use homeward_model::Rssi;
use homeward_offload::manager::{
    Action, Cause, Connectivity, Left, Notice, Settings, State, SupplicantEvent,
};

use crate::world::{Manner, World, mac, ms, s, ssid};

/// A device with credentials, and a network with that signal.
fn at(signal: i8) -> World {
    with(Settings::default(), signal)
}

fn with(settings: Settings, signal: i8) -> World {
    let mut world = World::with(settings, None, 1);
    world.begin();
    world.until(s(5), |w| w.stored.is_some());
    world.ap(1).signal = signal;
    world
}

fn ready() -> World {
    let mut world = at(-70);
    world.until(s(30), |w| w.m.state() == State::Ready);
    world
}

fn causes(world: &World) -> Vec<Cause> {
    world.m.why().causes.into_iter().map(|reason| reason.cause).collect()
}

fn left(world: &World) -> Vec<Left> {
    let left = world.log.iter().filter_map(|(_, notice)| match notice {
        Notice::Returned { why, .. } | Notice::NotJoined { why, .. } => Some(*why),
        _ => None,
    });
    left.collect()
}

#[test]
fn what_is_nearly_strong_enough_is_logged_on_to_and_not_used() {
    let mut world = ready();
    world.run(s(3600));
    assert_eq!(world.m.state(), State::Ready);
    assert!(!world.on_wifi && world.joins.len() == 1);
    let (signal, needed) = (Some(Rssi(-70)), Rssi(-67));
    let expected = Cause::Ready { ssid: ssid("Town"), bssid: mac(1), signal, needed };
    assert_eq!(causes(&world), [expected]);
    assert_eq!(world.m.why().causes[0].change, "being nearer: 3 dB are missing");
    let ready = world.log.iter().filter(|(_, n)| matches!(n, Notice::Ready { .. })).count();
    assert_eq!(ready, 1);
}

#[test]
fn what_is_further_from_what_is_used_than_from_what_is_left_is_let_be() {
    let mut world = at(-73);
    world.run(s(120));
    assert!(world.joins.is_empty());
    world.ap(1).signal = -71;
    world.until(s(20), |w| !w.joins.is_empty());
}

#[test]
fn it_is_used_the_moment_it_was_strong_for_the_dwell() {
    let mut world = ready();
    world.ap(1).signal = -60;
    let took = world.until(s(10), |w| w.on_wifi);
    // The dwell of 3 s, and what smoothing takes.
    assert!((s(3)..=ms(3800)).contains(&took), "{took:?}");
    assert_eq!(world.joins.len(), 1);
    assert!(causes(&world).is_empty());
}

#[test]
fn what_is_strong_is_logged_on_to_at_once_and_used_after_the_dwell() {
    let mut world = at(-50);
    world.until(s(20), |w| !w.joins.is_empty());
    let joined = world.now;
    world.until(s(5), |w| w.m.state() == State::Ready);
    assert!(world.now - joined <= ms(800), "{:?}", world.now - joined);
    world.until(s(5), |w| w.on_wifi);
    let took = world.now - joined;
    assert!((s(3)..=ms(3400)).contains(&took), "{took:?}");
}

#[test]
fn a_signal_that_is_strong_for_less_than_the_dwell_at_a_time_is_never_used() {
    let mut world = ready();
    for _ in 0..100 {
        world.ap(1).signal = -55;
        world.run(s(2));
        world.ap(1).signal = -74;
        world.run(s(3));
    }
    assert_eq!(world.m.state(), State::Ready);
    assert_eq!(world.m.counters().offloads, 0);
}

#[test]
fn what_fades_is_left_without_blame() {
    let mut world = ready();
    world.ap(1).signal = -80;
    world.until(s(10), |w| !left(w).is_empty());
    assert_eq!(left(&world), [Left::Faded]);
    world.run(s(60));
    assert!(matches!(causes(&world)[..], [Cause::Weak { .. }]), "{:?}", causes(&world));
    world.ap(1).signal = -70;
    world.until(s(10), |w| w.m.state() == State::Ready);
}

#[test]
fn what_failed_for_its_distance_is_tried_again_once_it_is_strong_and_no_sooner_than_others() {
    for manner in [Manner::TakesNobody, Manner::Mute, Manner::NoLease] {
        let mut world = at(-70);
        world.ap(1).manner = manner;
        world.until(s(60), |w| !left(w).is_empty());
        world.run(s(40));
        assert_eq!(world.joins.len(), 1, "{manner:?}: it is shunned");
        assert!(matches!(causes(&world)[..], [Cause::Shunned { .. }]), "{:?}", causes(&world));
        world.ap(1).signal = -50;
        world.until(s(5), |w| w.joins.len() == 2);
        // Now it is its own fault.
        world.until(s(40), |w| left(w).len() == 2);
        world.run(s(45));
        assert_eq!(world.joins.len(), 2, "{manner:?}");
    }
}

#[test]
fn who_is_no_server_of_the_operator_s_or_wants_to_be_visited_is_shunned_however_near_it_comes() {
    for (manner, leads) in
        [(Manner::WrongServer, Connectivity::Open), (Manner::Welcomes, Connectivity::Captive)]
    {
        let mut world = at(-70);
        (world.ap(1).manner, world.ap(1).leads) = (manner, leads);
        world.until(s(30), |w| !left(w).is_empty());
        world.ap(1).signal = -50;
        world.run(s(45));
        assert_eq!(world.joins.len(), 1, "{manner:?} {leads:?}");
    }
}

#[test]
fn a_network_that_is_strong_is_better_than_one_that_nearly_is_though_the_policy_prefers_it() {
    let mut world = ready();
    world.switch(|switches| switches.metered = true);
    world.ap(3).signal = -50;
    world.until(s(60), |w| w.on_wifi);
    assert_eq!(left(&world), [Left::Better]);
    assert_eq!(world.joins.iter().map(|(_, mac)| *mac).collect::<Vec<_>>(), [mac(1), mac(3)]);

    // Nor is it left for one that is no better, or only for a moment.
    let mut world = ready();
    world.switch(|switches| switches.metered = true);
    world.ap(3).signal = -70;
    world.run(s(120));
    assert_eq!(world.joins.len(), 1);
}

#[test]
fn what_is_ready_is_left_neither_for_a_moment_s_signal_nor_for_its_own_network() {
    let mut world = ready();
    world.switch(|switches| switches.metered = true);
    world.ap(3).signal = -50;
    world.run(s(3));
    world.ap(3).signal = -93;
    world.run(s(30));
    assert_eq!(world.joins.len(), 1);

    // Within its network the supplicant goes where it likes.
    let mut world = ready();
    world.ap(2).signal = -50;
    world.run(s(60));
    assert_eq!((world.joins.len(), world.m.state()), (1, State::Ready));
}

#[test]
fn what_has_just_become_strong_is_not_left_for_another() {
    for wait in [600, 900, 1200, 1500, 1800] {
        let mut world = ready();
        world.ap(3).signal = -50;
        world.run(s(10));
        world.ap(1).signal = -50;
        world.run(ms(wait));
        world.switch(|switches| switches.metered = true);
        world.until(s(5), |w| w.on_wifi);
        assert_eq!(world.joins.len(), 1, "after {wait} ms");
    }
}

#[test]
fn without_cellular_what_nearly_is_has_to_do() {
    let mut world = ready();
    world.run(s(50));
    world.bearer(false);
    assert!(world.on_wifi, "at once: it was checked long ago");
    world.bearer(true);
    world.run(s(60));
    assert!(world.on_wifi, "and is not left again for that");

    let mut world = at(-93);
    world.bearer(false);
    world.ap(1).signal = -70;
    world.until(s(30), |w| w.m.state() == State::Ready);
    let took = world.until(s(5), |w| w.on_wifi);
    assert!((s(2)..=s(3)).contains(&took), "after the dwell: {took:?}");
}

#[test]
fn a_check_that_fails_while_it_waits_keeps_it_from_being_used() {
    let mut world = ready();
    world.ap(1).leads = Connectivity::Captive;
    world.until(s(70), |w| !left(w).is_empty());
    assert_eq!(left(&world), [Left::Broken(Connectivity::Captive)]);

    // Nor is it used between a check that failed and the next, when its signal would do.
    for before in (2000..3000).step_by(100) {
        let mut world = ready();
        world.ap(1).leads = Connectivity::Dead;
        world.run(s(60) - ms(before));
        world.ap(1).signal = -40;
        world.until(s(30), |w| !left(w).is_empty());
        assert_eq!(world.m.counters().offloads, 0, "{before} ms");
    }
}

#[test]
fn a_roam_while_it_waits_is_looked_at_before_it_is_used() {
    let mut world = ready();
    (world.ap(2).signal, world.ap(2).leads) = (-55, Connectivity::Captive);
    world.associated = Some(mac(2));
    world.supplicant_says(SupplicantEvent::Connected { bssid: mac(2) });
    world.run(s(20));
    assert_eq!(world.m.counters().offloads, 0);
    assert_eq!(left(&world)[0], Left::Broken(Connectivity::Captive));

    let mut world = ready();
    world.ap(1).signal = -60;
    world.run(s(2));
    assert!(!world.on_wifi, "it is strong for less than the dwell");
    world.ap(2).signal = -55;
    world.associated = Some(mac(2));
    world.supplicant_says(SupplicantEvent::Connected { bssid: mac(2) });
    let took = world.until(s(10), |w| w.on_wifi);
    assert!(took >= s(3), "the dwell is the other one's: {took:?}");
}

#[test]
fn an_address_or_an_association_that_ends_while_it_waits_is_begun_anew() {
    let mut world = ready();
    world.m.handle_address(false, world.now);
    world.drain();
    assert_eq!(world.m.state(), State::Addressing);
    world.m.handle_address(true, world.now);
    world.drain();
    world.until(s(1), |w| w.m.state() == State::Ready);

    world.associated = None;
    world.supplicant_says(SupplicantEvent::Disconnected);
    assert_eq!(left(&world), [Left::Lost]);
    world.ap(1).signal = -60;
    world.until(s(30), |w| w.on_wifi);
}

#[test]
fn credentials_for_one_log_on_are_kept_for_what_is_used() {
    let mut world = World::new(1);
    world.portal.one_time = true;
    world.begin();
    world.until(s(5), |w| w.stored.is_some());
    world.ap(1).signal = -70;
    world.run(s(60));
    assert!(world.joins.is_empty());
    assert!(matches!(causes(&world)[..], [Cause::Weak { .. }]));
    world.ap(1).signal = -60;
    let took = world.until(s(20), |w| !w.joins.is_empty());
    assert!(took >= s(3), "{took:?}");
}

#[test]
fn who_does_not_want_it_is_logged_on_when_it_is_used() {
    let mut world = with(Settings { early: false, ..Settings::default() }, -70);
    world.run(s(60));
    assert!(world.joins.is_empty());
    world.ap(1).signal = -60;
    let took = world.until(s(20), |w| !w.joins.is_empty());
    assert!(took >= s(3), "{took:?}");
    let took = world.until(s(2), |w| w.on_wifi);
    assert!(took <= ms(900), "its dwell is over: {took:?}");
}

#[test]
fn other_credentials_are_taken_up_while_it_waits() {
    let mut world = ready();
    let before = world.programs();
    world.portal.issued = None;
    world.modem.imei = Some(crate::world::imei(2));
    world.tell_modem();
    world.until(s(5), |w| w.programs() == before + 1);
    assert_eq!(left(&world), [Left::Credentials]);
    world.until(s(30), |w| w.m.state() == State::Ready);
}

#[test]
fn what_ends_soon_is_renewed_over_cellular_while_it_waits() {
    let mut world = World::new(1);
    (world.portal.lifetime, world.portal.window) = (Some(s(3600)), s(900));
    world.ap(1).signal = -70;
    world.begin();
    world.run(s(3600 - 450));
    assert_eq!(world.all_requests.len(), 2, "in the first half of the window");
    assert_eq!(left(&world), [Left::Credentials]);
    world.until(s(5), |w| w.m.state() == State::Ready);
}

#[test]
fn a_signal_that_is_not_used_yet_is_measured_more_often_than_one_that_is() {
    let mut world = ready();
    assert_eq!(world.measure, ms(250));
    world.ap(1).signal = -60;
    world.until(s(10), |w| w.on_wifi);
    assert_eq!(world.measure, s(1));
    let settings = Settings { measure_ready: ms(1), measure: ms(0), ..Settings::default() };
    world.m.reconfigure(settings, world.now);
    assert_eq!(world.m.poll_action(), Some(Action::Measure(ms(50))));
}

#[test]
fn other_networks_are_looked_for_while_it_waits() {
    let mut world = ready();
    assert_eq!(world.scan.map(|scan| (scan.interval, scan.known)), Some((s(3), false)));
    // Also while it is strong, before it is used: it is measured without.
    world.ap(1).signal = -60;
    world.run(s(4) - ms(1500));
    assert!(!world.on_wifi);
    assert_eq!(world.scan.map(|scan| (scan.interval, scan.known)), Some((s(3), false)));
}
