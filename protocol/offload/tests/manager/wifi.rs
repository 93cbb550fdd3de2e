//! What can go wrong with Wi-Fi.

use homeward_model::{Rssi, Seconds};
use homeward_offload::manager::{
    Cause, Connectivity, Left, Notice, Settings, State, SupplicantEvent,
};

use crate::world::{Manner, World, imsi, mac, ms, policy, s, ssid};

/// A device with credentials and a strong network.
fn near(seed: u64) -> World {
    let mut world = World::new(seed);
    world.begin();
    world.until(s(5), |w| w.stored.is_some());
    world.ap(1).signal = -50;
    world
}

fn on_wifi(seed: u64) -> World {
    let mut world = near(seed);
    world.until(s(20), |w| w.on_wifi);
    world
}

fn causes(world: &World) -> Vec<Cause> {
    world.m.why().causes.into_iter().map(|reason| reason.cause).collect()
}

fn left(world: &World) -> Option<Left> {
    world.log.iter().rev().find_map(|(_, notice)| match notice {
        Notice::Returned { why, .. } | Notice::NotJoined { why, .. } => Some(*why),
        _ => None,
    })
}

#[test]
fn a_network_that_leads_nowhere_is_left_before_anything_uses_it_and_shunned_for_a_while() {
    for (leads, within) in [(Connectivity::Captive, 9), (Connectivity::Dead, 12)] {
        let mut world = near(1);
        world.ap(1).leads = leads;
        world.until(s(within), |w| left(w).is_some());
        assert_eq!(left(&world), Some(Left::Broken(leads)));
        world.run(s(45));
        assert_eq!(world.joins.len(), 1);
        let shunned = Left::Broken(leads);
        assert!(matches!(causes(&world)[..], [Cause::Shunned { why, .. }, ..] if why == shunned));
        world.ap(1).leads = Connectivity::Open;
        world.until(s(90), |w| w.on_wifi);
    }
}

#[test]
fn another_access_point_of_the_network_is_joined_while_one_is_shunned() {
    let mut world = near(2);
    world.ap(1).leads = Connectivity::Captive;
    world.ap(2).signal = -60;
    world.until(s(30), |w| w.on_wifi);
    assert_eq!(world.joins.iter().map(|(_, mac)| *mac).collect::<Vec<_>>(), [mac(1), mac(2)]);
}

#[test]
fn a_network_that_breaks_while_it_is_used_is_left_within_the_recheck() {
    let mut world = on_wifi(3);
    world.ap(1).leads = Connectivity::Dead;
    let took = world.until(s(90), |w| !w.on_wifi);
    assert!(took <= s(63), "{took:?}");
    assert_eq!(left(&world), Some(Left::Broken(Connectivity::Dead)));
}

#[test]
fn a_check_that_nobody_answers_counts_as_failed() {
    let mut world = near(4);
    world.until(s(20), |w| w.m.state() == State::Associating);
    world.reacts = false;
    world.supplicant_says(SupplicantEvent::Associated { bssid: mac(1) });
    world.supplicant_says(SupplicantEvent::Connected { bssid: mac(1) });
    world.m.handle_address(true, world.now);
    world.drain();
    assert_eq!(world.m.state(), State::Verifying);
    let took = world.until(s(20), |w| left(w).is_some());
    assert!(took <= s(18), "twice 8 s and a pause: {took:?}");
}

#[test]
fn a_roam_inside_the_network_is_looked_at_at_once_and_ends_its_use_if_it_leads_nowhere() {
    let mut world = on_wifi(5);
    world.ap(2).signal = -55;
    world.ap(2).leads = Connectivity::Captive;
    world.associated = Some(mac(2));
    world.supplicant_says(SupplicantEvent::Connected { bssid: mac(2) });
    assert!(world.on_wifi);
    world.until(s(1), |w| !w.on_wifi);
    world.run(s(20));
    assert!(world.on_wifi, "back on the one that leads somewhere");
}

#[test]
fn each_step_that_does_not_end_is_given_up() {
    for (manner, why, within) in [
        (Manner::TakesNobody, Left::NotAssociated, s(10)),
        (Manner::Mute, Left::NoLogOn, s(30)),
        (Manner::NoLease, Left::NoAddress, s(25)),
        (Manner::WrongServer, Left::WrongServer, s(10)),
    ] {
        let mut world = near(6);
        world.ap(1).manner = manner;
        world.until(within, |w| left(w).is_some());
        assert_eq!(left(&world), Some(why));
        world.run(s(5));
        assert_eq!(world.m.state(), State::Watching);
        assert_eq!(world.all_requests.len(), 1, "{manner:?} is not the credentials' fault");
    }
}

#[test]
fn a_network_that_answers_nothing_at_all_is_given_up() {
    let mut world = near(7);
    world.reacts = false;
    world.until(s(30), |w| left(w).is_some());
    assert_eq!(left(&world), Some(Left::NotAssociated));
}

#[test]
fn connections_go_back_at_once_when_the_association_ends_and_wait_out_the_dwell() {
    let mut world = on_wifi(8);
    world.run(s(60));
    world.associated = None;
    world.supplicant_says(SupplicantEvent::Disconnected);
    assert!(!world.on_wifi);
    let took = world.until(s(20), |w| w.on_wifi);
    assert!(took >= s(3), "{took:?}");
}

#[test]
fn an_access_point_that_throws_the_station_out_again_and_again_is_shunned() {
    let mut world = near(9);
    for _ in 0..60 {
        world.run(s(1));
        if world.on_wifi {
            world.associated = None;
            world.supplicant_says(SupplicantEvent::Disconnected);
        }
    }
    assert_eq!(world.joins.len(), 1);
}

#[test]
fn old_connections_have_a_moment_before_wifi_is_left() {
    let mut world = on_wifi(10);
    world.ap(1).signal = -80;
    world.until(s(20), |w| !w.on_wifi);
    world.run(ms(1500));
    assert_eq!(world.associated, Some(mac(1)));
    world.run(ms(1000));
    assert_eq!(world.associated, None);
}

#[test]
fn a_signal_that_falls_off_is_left_without_the_dwell() {
    for (signal, within) in [(-91, s(2)..=s(12)), (-84, s(60)..=s(64))] {
        let mut world = World::new(11);
        world.portal.policy.dwell = Seconds(60);
        world.ap(1).signal = -50;
        world.begin();
        world.until(s(120), |w| w.on_wifi);
        world.ap(1).signal = signal;
        let took = world.until(s(70), |w| !w.on_wifi);
        assert!(within.contains(&took), "{signal}: {took:?}");
    }
}

#[test]
fn a_weak_signal_is_better_than_nothing() {
    let mut world = on_wifi(12);
    world.bearer(false);
    world.ap(1).signal = -85;
    world.run(s(60));
    assert!(world.on_wifi);
    world.bearer(true);
    world.run(s(5));
    assert!(!world.on_wifi);
}

#[test]
fn the_user_s_switch_ends_it_and_nothing_begins_until_it_is_on_again() {
    let mut world = on_wifi(13);
    world.switch(|s| s.offload = false);
    assert!(!world.on_wifi);
    world.run(s(600));
    assert_eq!(world.m.state(), State::Off);
    assert_eq!(causes(&world), [Cause::SwitchedOff]);
    world.switch(|s| s.offload = true);
    world.until(s(20), |w| w.on_wifi);
}

#[test]
fn a_metered_network_is_used_only_if_the_user_wants_it() {
    let mut world = near(14);
    world.ap(1).signal = -93;
    world.ap(3).signal = -50;
    world.run(s(60));
    assert!(causes(&world).contains(&Cause::Metered { ssid: ssid("Dear") }));
    world.switch(|s| s.metered = true);
    world.until(s(20), |w| w.on_wifi);
    world.switch(|s| s.metered = false);
    assert!(!world.on_wifi);
    assert_eq!(left(&world), Some(Left::Metered));
}

#[test]
fn the_preferred_network_is_joined_though_another_is_stronger() {
    let mut world = near(15);
    world.switch(|s| s.metered = true);
    (world.ap(1).signal, world.ap(3).signal) = (-65, -40);
    world.until(s(20), |w| w.on_wifi);
    assert_eq!(world.joins[0].1, mac(1));
}

#[test]
fn a_network_without_a_log_on_is_somebody_else_s() {
    let mut world = near(16);
    world.ap(1).enterprise = false;
    world.run(s(60));
    assert!(world.joins.is_empty());
    assert!(matches!(causes(&world)[..], [Cause::Open { .. }]));
}

#[test]
fn a_switch_that_has_the_radio_off_ends_it() {
    let mut world = on_wifi(17);
    world.supplicant_says(SupplicantEvent::Radio(false));
    assert!(!world.on_wifi);
    world.run(s(60));
    assert_eq!(causes(&world), [Cause::RadioOff]);
    world.supplicant_says(SupplicantEvent::Radio(true));
    world.until(s(20), |w| w.on_wifi);
}

#[test]
fn a_station_that_somebody_else_uses_is_left_alone_until_it_is_free() {
    let mut world = near(24);
    world.supplicant_says(SupplicantEvent::Lent(true));
    let joins = world.joins.len();
    world.run(s(60));
    assert_eq!(world.joins.len(), joins);
    assert_eq!(causes(&world), [Cause::Lent]);
    assert_eq!(world.scan, None, "it is not kept from its network by scans");
    world.supplicant_says(SupplicantEvent::Lent(false));
    world.until(s(20), |w| w.on_wifi);
    // And when it is taken from under a download.
    world.supplicant_says(SupplicantEvent::Lent(true));
    assert!(!world.on_wifi);
    let joins = world.joins.len();
    world.run(s(60));
    assert_eq!(world.joins.len(), joins);
    // Another supplicant is lent to nobody.
    world.start_supplicant();
    world.until(s(80), |w| w.on_wifi);
}

#[test]
fn a_supplicant_that_was_restarted_is_told_everything_again() {
    let mut world = on_wifi(18);
    world.supplicant = false;
    world.supplicant_says(SupplicantEvent::Lost);
    assert!(!world.on_wifi);
    world.run(s(60));
    assert!(causes(&world).contains(&Cause::NoSupplicant));
    world.start_supplicant();
    world.until(s(20), |w| w.on_wifi);
    // And without a word that it was gone.
    world.start_supplicant();
    assert!(!world.on_wifi);
    world.until(s(20), |w| w.on_wifi);
}

#[test]
fn a_supplicant_that_does_not_take_the_networks_is_told_again_less_and_less_often() {
    let mut world = World::new(19);
    world.begin();
    world.until(s(5), |w| w.stored.is_some());
    world.reacts = false;
    world.start_supplicant();
    world.run(s(600));
    let told = world.log.iter().filter(|(_, n)| matches!(n, Notice::NotProgrammed { .. })).count();
    assert!((8..=20).contains(&told), "{told}");
    assert!(matches!(causes(&world)[..], [Cause::NotProgrammed { error: Some(_), .. }, ..]));
}

#[test]
fn an_association_that_the_machine_did_not_ask_for_is_ended() {
    let mut world = near(20);
    world.ap(1).signal = -93;
    world.run(s(30));
    world.associated = Some(mac(4));
    world.supplicant_says(SupplicantEvent::Connected { bssid: mac(4) });
    assert_eq!(world.associated, None);
}

#[test]
fn a_policy_that_does_not_name_the_network_any_more_ends_it() {
    let mut world = on_wifi(21);
    world.portal.policy.networks[0].ssid = ssid("Elsewhere");
    world.portal.issued = None;
    world.modem.imei = Some(crate::world::imei(2));
    world.tell_modem();
    world.until(s(5), |w| !w.on_wifi);
    assert_eq!(left(&world), Some(Left::Policy));
}

#[test]
fn a_policy_without_smooth_thresholds_or_networks_is_no_answer() {
    let mut world = World::new(22);
    world.portal.policy.leave = Rssi(-60);
    world.begin();
    world.run(s(120));
    assert_eq!(world.stored, None);
    assert!(matches!(causes(&world)[..], [Cause::Portal { error: Some(_), .. }]));
    world.portal.policy = policy();
    world.modem.imsi = Some(imsi(7));
    world.tell_modem();
    world.until(s(3600), |w| w.stored.is_some());
}

#[test]
fn each_cause_says_what_it_is_and_what_would_change_it() {
    let mut world = World::new(23);
    world.m.handle_timeout(world.now);
    let why = world.m.why();
    assert_eq!(
        why.causes.iter().map(|reason| reason.what.as_str()).collect::<Vec<_>>(),
        ["no Wi-Fi supplicant answers", "there is no modem to get credentials by"]
    );
    assert!(why.causes.iter().all(|reason| !reason.change.is_empty()));
    let json = serde_json::to_value(&why).unwrap();
    assert_eq!(json["causes"][0]["cause"], "no-supplicant");
    assert_eq!(serde_json::from_value::<homeward_offload::manager::Why>(json).unwrap(), why);
    world.begin();
    world.until(s(5), |w| w.stored.is_some());
    world.run(s(1));
    assert!(matches!(&causes(&world)[..], [Cause::NothingHeard { ssids }] if ssids.len() == 2));
    world.ap(1).signal = -80;
    world.run(s(30));
    assert_eq!(world.m.why().causes[0].change, "being nearer: 13 dB are missing");
}

#[test]
fn a_check_from_before_a_roam_says_nothing_of_after() {
    let mut world = near(24);
    world.until(s(20), |w| w.m.state() == State::Associating);
    world.reacts = false;
    world.supplicant_says(SupplicantEvent::Associated { bssid: mac(1) });
    world.supplicant_says(SupplicantEvent::Connected { bssid: mac(1) });
    world.m.handle_address(true, world.now);
    world.drain();
    world.supplicant_says(SupplicantEvent::Connected { bssid: mac(2) });
    let [before, after] = world.open_verifies[..] else { panic!("{:?}", world.open_verifies) };
    world.connectivity(before, Connectivity::Open);
    assert_eq!(world.m.state(), State::Verifying);
    world.connectivity(after, Connectivity::Open);
    assert_eq!(world.m.state(), State::Ready);
}

#[test]
fn connections_go_back_when_the_address_is_lost() {
    let mut world = on_wifi(25);
    world.m.handle_address(false, world.now);
    world.drain();
    assert!(world.on_wifi, "it may be back at once");
    let took = world.until(s(5), |w| !w.on_wifi);
    assert_eq!(took, s(1));
    assert_eq!(left(&world), Some(Left::NoAddress));
}

#[test]
fn an_address_that_is_back_at_once_keeps_connections_where_they_are_if_it_leads_somewhere() {
    for (leads, stays) in [(Connectivity::Open, true), (Connectivity::Captive, false)] {
        let mut world = on_wifi(28);
        world.m.handle_address(false, world.now);
        world.run(ms(900));
        world.ap(1).leads = leads;
        world.m.handle_address(true, world.now);
        world.drain();
        world.run(s(3));
        assert_eq!(world.on_wifi, stays, "{leads:?}");
    }
}

#[test]
fn nothing_else_is_looked_for_while_a_network_proves_that_it_is_strong() {
    let mut world = World::with(Settings { early: false, ..Settings::default() }, None, 29);
    world.begin();
    world.until(s(5), |w| w.stored.is_some());
    world.ap(1).signal = -79;
    world.until(s(30), |w| !w.m.status().heard.is_empty());
    world.run(s(4));
    assert_eq!(world.scan.map(|scan| (scan.interval, scan.known)), Some((s(3), false)));
    world.ap(1).signal = -50;
    let mut spans = Vec::new();
    while world.joins.is_empty() {
        spans.extend(world.scan);
        world.run(ms(100));
    }
    let settling = spans.iter().filter(|scan| scan.known).count();
    assert!(settling > 0, "{spans:?}");
    assert!(spans.iter().all(|scan| scan.known || scan.interval == s(3)), "{spans:?}");
}

#[test]
fn the_supplicant_is_told_of_other_credentials_only_when_it_uses_none() {
    let mut world = on_wifi(26);
    world.portal.issued = None;
    world.modem.imei = Some(crate::world::imei(2));
    world.tell_modem();
    let before = world.programs();
    world.until(s(5), |w| w.all_requests.len() == 2);
    world.run(s(5));
    assert!(world.on_wifi && world.programs() == before);
    world.ap(1).signal = -95;
    world.run(s(10));
    assert_eq!(world.programs(), before + 1);
}
