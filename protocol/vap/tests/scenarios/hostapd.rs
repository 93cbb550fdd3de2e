//! hostapd refusing, dying, and answering late.

use std::time::Duration;

use homeward_model::{Grant, NetworkId, Security};
use homeward_vap::{Action, Answer, Bss, Event, Radio, Settings, VapState};

use crate::lab::{Lab, grant, granted, key, mac, name, out};

fn fail() -> Result<(), String> {
    Err(String::from("FAIL"))
}

#[test]
fn nothing_is_added_before_hostapd_is_ready_and_then_what_is_still_wanted() {
    let mut lab = Lab::new(Settings::default());
    lab.radio = Radio::new(Settings::default());
    lab.probe(1, name(1));
    let id = lab.look_up();
    lab.answer(id, granted(1, 1));
    assert_eq!(lab.actions(), []);
    lab.radio.handle_hostapd_ready(lab.now);
    lab.add();
}

#[test]
fn a_refused_bss_is_cleaned_up_and_tried_again_a_little_later_each_time() {
    let mut lab = Lab::new(Settings::default());
    lab.probe(1, name(1));
    let id = lab.look_up();
    lab.answer(id, granted(1, 1));
    let mut vap = lab.add();
    for wait in [1, 2, 4] {
        lab.radio.handle_bss_added(vap, fail(), lab.now);
        assert_eq!(lab.actions(), [Action::RemoveBss { vap }], "it may be there after all");
        lab.radio.handle_bss_removed(vap, Ok(()), lab.now);
        let status = lab.status();
        let state = (status.vaps[0].state, status.vaps[0].error.as_deref());
        assert_eq!(state, (VapState::Waiting, Some("FAIL")));
        lab.pass(Duration::from_millis(wait * 1000 - 1));
        assert_eq!(lab.actions(), []);
        lab.pass(Duration::from_millis(1));
        vap = lab.add();
    }
    lab.radio.handle_bss_added(vap, Ok(()), lab.now);
    assert_eq!(lab.status().vaps[0].error, None);
    assert_eq!(lab.status().memory.len(), 1, "the grant was never in doubt");
}

#[test]
fn a_failed_removal_is_tried_until_it_succeeds_and_its_slot_stays_taken() {
    let mut lab = Lab::new(Settings::default());
    let vap = lab.serve(1, 1);
    lab.radio.handle_revoked(mac(1), None, lab.now);
    assert_eq!(lab.actions(), [Action::RemoveBss { vap }]);
    for wait in [1, 2, 4, 8, 16, 32, 60, 60] {
        lab.radio.handle_bss_removed(vap, fail(), lab.now);
        lab.pass_secs(wait);
        assert_eq!(lab.actions(), [Action::RemoveBss { vap }]);
    }
    assert_eq!(lab.serve(2, 2).slot(), 1);
    lab.radio.handle_bss_removed(vap, Ok(()), lab.now);
    assert_eq!(lab.serve(4, 4).slot(), 0);
}

#[test]
fn a_bss_that_is_no_longer_wanted_when_it_comes_up_is_removed() {
    let mut lab = Lab::new(Settings::default());
    lab.probe(1, name(1));
    let id = lab.look_up();
    lab.answer(id, granted(1, 1));
    let vap = lab.add();
    lab.radio.handle_revoked(mac(1), None, lab.now);
    assert_eq!(lab.actions(), [], "hostapd is busy with it");
    lab.radio.handle_bss_added(vap, Ok(()), lab.now);
    assert_eq!(lab.actions(), [Action::RemoveBss { vap }]);
}

#[test]
fn a_vap_wanted_again_while_it_goes_is_added_once_it_is_gone() {
    let mut lab = Lab::new(Settings::default());
    let vap = lab.serve(1, 1);
    lab.pass_secs(59);
    lab.pass_secs(1);
    assert!(lab.actions().contains(&Action::RemoveBss { vap }));
    lab.probe(1, name(1));
    lab.look_up();
    assert_eq!(lab.status().vaps.len(), 2, "going and waiting: never two of one network");
    lab.radio.handle_bss_removed(vap, Ok(()), lab.now);
    lab.add();
}

#[test]
fn changes_while_hostapd_is_busy_with_a_vap_are_sent_together_afterwards() {
    let mut lab = Lab::new(Settings::default());
    lab.probe(1, name(1));
    let id = lab.look_up();
    lab.answer(id, granted(1, 1));
    let vap = lab.add();
    for device in [2, 3] {
        lab.probe(device, name(1));
        let id = lab.look_up();
        lab.answer(id, granted(1, device));
    }
    assert_eq!(lab.actions(), []);
    lab.radio.handle_bss_added(vap, Ok(()), lab.now);
    let devices = [1, 2, 3].map(|n| (mac(n), key(n))).to_vec();
    assert_eq!(lab.actions(), [Action::SetDevices { vap, devices }]);
}

#[test]
fn a_vap_whose_devices_cannot_be_set_is_made_anew() {
    let mut lab = Lab::new(Settings::default());
    let vap = lab.connect(1, 1);
    lab.serve(1, 2);
    lab.radio.handle_revoked(mac(2), None, lab.now);
    let devices = vec![(mac(1), key(1))];
    let set = Action::SetDevices { vap, devices: devices.clone() };
    for wait in [1, 2] {
        assert_eq!(lab.actions(), std::slice::from_ref(&set));
        lab.radio.handle_devices_set(vap, fail(), lab.now);
        lab.pass_secs(wait);
    }
    assert_eq!(lab.actions(), [set]);
    lab.radio.handle_devices_set(vap, fail(), lab.now);
    assert_eq!(lab.actions(), [Action::RemoveBss { vap }], "a revoked key must not stay");
    lab.radio.handle_bss_removed(vap, Ok(()), lab.now);
    assert!(matches!(&lab.actions()[..], [Action::AddBss { devices: d, .. }] if *d == devices));
}

#[test]
fn a_station_without_permission_is_put_out_wherever_it_connects() {
    let mut lab = Lab::new(Settings::default());
    let vap = lab.connect(1, 1);
    lab.radio.handle_connected(vap, mac(9), lab.now);
    assert_eq!(lab.actions(), [out(vap, 9)]);
    lab.radio.handle_revoked(mac(1), None, lab.now);
    lab.actions();
    lab.radio.handle_connected(vap, mac(1), lab.now);
    assert_eq!(lab.actions(), [out(vap, 1)], "on a BSS that is being removed");
}

#[test]
fn who_comes_back_with_the_old_key_before_it_is_gone_is_put_out_again() {
    let mut lab = Lab::new(Settings::default());
    let vap = lab.connect(1, 1);
    lab.serve(1, 2);
    lab.radio.handle_connected(vap, mac(2), lab.now);
    lab.radio.handle_revoked(mac(2), None, lab.now);
    assert_eq!(lab.actions()[0], out(vap, 2));
    lab.radio.handle_disconnected(vap, mac(2), lab.now);
    lab.radio.handle_connected(vap, mac(2), lab.now);
    assert_eq!(lab.actions(), [out(vap, 2)]);
    lab.radio.handle_devices_set(vap, Ok(()), lab.now);
    assert_eq!(lab.actions(), [out(vap, 2)], "and once more, now that the key is gone");
}

#[test]
fn after_hostapds_return_those_with_a_reason_are_added_again_under_new_names() {
    let mut lab = Lab::new(Settings::default());
    let old = lab.connect(1, 1);
    lab.serve(2, 2);
    lab.events();
    lab.radio.handle_hostapd_lost(lab.now);
    assert!(lab.events().contains(&Event::HostapdLost { vaps: 2, devices: 1 }));
    lab.pass_secs(50);
    lab.actions();
    lab.pass_secs(300);
    assert!(lab.actions().iter().all(|action| matches!(action, Action::LookUp { .. })));
    lab.radio.handle_hostapd_ready(lab.now);
    let actions = lab.actions();
    let [Action::AddBss { vap, network: NetworkId(1), .. }, Action::AddBss { .. }] = &actions[..]
    else {
        panic!("{actions:?}");
    };
    assert_eq!((vap.slot(), *vap == old), (old.slot(), false));

    lab.radio.handle_bss_added(old, fail(), lab.now);
    lab.radio.handle_bss_removed(old, Ok(()), lab.now);
    lab.radio.handle_disconnected(old, mac(1), lab.now);
    assert_eq!(lab.actions(), [], "late news of a predecessor");
    assert_eq!(lab.status().vaps[0].state, VapState::Adding);
}

#[test]
fn a_bss_that_turns_up_after_the_loss_of_the_hostapd_it_was_asked_of_is_removed() {
    let mut lab = Lab::new(Settings::default());
    lab.probe(1, name(1));
    let id = lab.look_up();
    lab.answer(id, granted(1, 1));
    let vap = lab.add();
    lab.radio.handle_hostapd_lost(lab.now);
    lab.radio.handle_revoked(mac(1), None, lab.now);
    lab.radio.handle_hostapd_ready(lab.now);
    lab.radio.handle_bss_added(vap, Ok(()), lab.now);
    assert_eq!(lab.actions(), [Action::RemoveBss { vap }]);
    lab.radio.handle_bss_removed(vap, Ok(()), lab.now);
    assert_eq!(lab.status().vaps, []);
}

#[test]
fn after_hostapds_return_the_homes_devices_are_set_again() {
    let mut lab = Lab::new(Settings { home: Some(name(1)), ..Settings::default() });
    lab.actions();
    lab.radio.handle_home_devices_set(Ok(()), lab.now);
    lab.radio.handle_hostapd_lost(lab.now);
    lab.radio.handle_hostapd_ready(lab.now);
    assert_eq!(lab.actions(), [Action::SetHomeDevices { devices: vec![] }]);
    lab.radio.handle_home_devices_set(fail(), lab.now);
    lab.pass_secs(1);
    assert_eq!(lab.actions(), [Action::SetHomeDevices { devices: vec![] }]);
}

#[test]
fn who_comes_back_at_home_by_a_key_that_outlived_hostapd_is_put_out() {
    let mut lab = Lab::new(Settings { home: Some(name(1)), ..Settings::default() });
    lab.actions();
    lab.radio.handle_home_devices_set(Ok(()), lab.now);
    lab.probe(1, name(1));
    let id = lab.look_up();
    lab.answer(id, Answer::Granted(Grant { at_home: true, ..grant(1, 1) }));
    lab.radio.handle_home_devices_set(Ok(()), lab.now);
    lab.radio.handle_revoked(mac(1), None, lab.now);
    lab.radio.handle_hostapd_lost(lab.now);
    lab.radio.handle_hostapd_ready(lab.now);
    lab.actions();
    lab.radio.handle_connected(Bss::Home, mac(1), lab.now);
    lab.radio.handle_connected(Bss::Home, mac(50), lab.now);
    lab.radio.handle_home_devices_set(Ok(()), lab.now);
    assert_eq!(lab.actions(), [out(Bss::Home, 1)]);
}

#[test]
fn a_revocation_puts_out_a_station_that_had_no_place_any_more() {
    let mut lab = Lab::new(Settings::default());
    let vap = lab.connect(1, 1);
    lab.radio.handle_connected(vap, mac(9), lab.now);
    lab.actions();
    let revoked = lab.radio.handle_revoked(mac(9), Some(name(1)), lab.now);
    assert_eq!((revoked.entries, revoked.sessions), (0, 1));
    assert_eq!(lab.actions(), [out(vap, 9)]);
    assert!(lab.radio.handle_revoked(mac(9), Some(name(2)), lab.now).is_empty());
}

#[test]
fn a_revoked_device_is_put_out_of_a_bss_that_is_being_removed() {
    let mut lab = Lab::new(Settings::default());
    let vap = lab.connect(1, 1);
    lab.pass_secs(60);
    let id = lab.look_up();
    let security = Security::Wpa2Wpa3;
    lab.answer(id, Answer::Granted(Grant { security, ..grant(1, 1) }));
    assert_eq!(lab.actions(), [Action::RemoveBss { vap }]);
    lab.radio.handle_bss_removed(vap, fail(), lab.now);
    let revoked = lab.radio.handle_revoked(mac(1), None, lab.now);
    assert_eq!((revoked.entries, revoked.sessions), (1, 1));
    assert_eq!(lab.actions(), [out(vap, 1)]);
    lab.pass_secs(1);
    assert_eq!(lab.actions(), [Action::RemoveBss { vap }]);
}
