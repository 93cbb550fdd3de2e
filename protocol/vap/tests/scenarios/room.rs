//! Limits: VAPs, devices, idleness, settings.

use homeward_model::{Grant, NetworkId};
use homeward_vap::{Action, Answer, Event, NoRoom, Settings, VapState, Withdrawn};

use crate::lab::{Lab, grant, granted, key, mac, name, out};

fn two() -> Settings {
    Settings { max_vaps: 2, ..Settings::default() }
}

#[test]
fn an_empty_vap_is_removed_when_its_last_device_has_been_idle_and_a_connected_one_keeps_it() {
    let mut lab = Lab::new(Settings::default());
    let first = lab.connect(1, 1);
    let second = lab.serve(2, 2);
    lab.pass_secs(59);
    assert_eq!(lab.actions(), []);
    lab.pass_secs(1);
    let removals: Vec<_> =
        lab.actions().into_iter().filter(|a| !matches!(a, Action::LookUp { .. })).collect();
    assert_eq!(removals, [Action::RemoveBss { vap: second }]);
    lab.radio.handle_disconnected(first, mac(1), lab.now);
    lab.pass_secs(60);
    assert!(lab.actions().contains(&Action::RemoveBss { vap: first }));
}

#[test]
fn a_device_idle_on_a_vap_that_others_use_loses_its_key_there() {
    let mut lab = Lab::new(Settings::default());
    let vap = lab.connect(1, 1);
    lab.serve(1, 2);
    lab.pass_secs(60);
    let devices = vec![(mac(1), key(1))];
    assert!(lab.actions().contains(&Action::SetDevices { vap, devices }));
}

#[test]
fn when_all_vaps_are_taken_the_empty_one_used_least_recently_gives_way() {
    let mut lab = Lab::new(two());
    let first = lab.serve(1, 1);
    lab.pass_secs(1);
    lab.serve(2, 2);
    lab.pass_secs(1);
    lab.probe(1, name(1));
    lab.pass_secs(5);
    lab.events();

    lab.probe(4, name(4));
    let id = lab.look_up();
    lab.answer(id, granted(4, 4));
    let [Action::RemoveBss { vap }] = lab.actions()[..] else { panic!("removed first") };
    assert_ne!(vap, first, "used again after the second");
    assert!(lab.events().iter().any(|event| matches!(
        event,
        Event::DeviceWithdrawn { why: Withdrawn::GaveWay, connected: false, .. }
    )));
    assert_eq!(lab.status().vaps.len(), 3, "up, going and waiting");
    lab.radio.handle_bss_removed(vap, Ok(()), lab.now);
    assert_eq!(lab.add().slot(), vap.slot());
}

#[test]
fn with_no_vap_empty_there_is_no_room_and_the_probe_is_forgotten() {
    let mut lab = Lab::new(two());
    let first = lab.connect(1, 1);
    lab.connect(2, 2);
    lab.pass_secs(10);
    lab.probe(4, name(4));
    let id = lab.look_up();
    lab.answer(id, granted(4, 4));
    let no_room =
        Event::NoRoom { mac: mac(4), ssid: name(4), network: NetworkId(4), why: NoRoom::Vap };
    assert!(lab.events().contains(&no_room));
    lab.radio.handle_disconnected(first, mac(1), lab.now);
    lab.pass_secs(4);
    assert_eq!(lab.actions(), [], "not even when there is room again");
    lab.probe(4, name(4));
    assert_eq!(lab.actions(), [Action::RemoveBss { vap: first }], "but at the next probe");
}

#[test]
fn a_vap_that_was_of_use_a_moment_ago_does_not_give_way() {
    let mut lab = Lab::new(two());
    lab.serve(1, 1);
    lab.serve(2, 2);
    lab.pass_secs(2);
    lab.probe(4, name(4));
    let id = lab.look_up();
    lab.answer(id, granted(4, 4));
    assert_eq!(lab.actions(), []);
}

#[test]
fn on_a_full_vap_an_absent_device_gives_way_and_a_connected_one_does_not() {
    let mut lab = Lab::new(Settings { max_devices_per_vap: 2, ..Settings::default() });
    let vap = lab.connect(1, 1);
    lab.serve(1, 2);
    lab.serve(1, 3);
    let devices: Vec<_> = lab.status().vaps[0].devices.iter().map(|d| d.mac).collect();
    assert_eq!(devices, [mac(1), mac(3)]);
    lab.radio.handle_connected(vap, mac(3), lab.now);
    lab.probe(4, name(1));
    let id = lab.look_up();
    lab.answer(id, granted(1, 4));
    assert!(matches!(lab.events().last(), Some(Event::NoRoom { why: NoRoom::Device, .. })));
    assert_eq!(lab.actions(), []);
}

#[test]
fn smaller_limits_take_effect_at_once_the_least_used_first() {
    let mut lab = Lab::new(Settings::default());
    let kept = lab.connect(1, 1);
    lab.serve(1, 2);
    let gone = lab.serve(2, 3);
    lab.pass_secs(1);
    lab.radio.reconfigure(
        Settings { max_vaps: 1, max_devices_per_vap: 1, ..Settings::default() },
        lab.now,
    );
    let devices = vec![(mac(1), key(1))];
    let actions = lab.actions();
    assert_eq!(actions.len(), 2);
    assert!(actions.contains(&Action::RemoveBss { vap: gone }));
    assert!(actions.contains(&Action::SetDevices { vap: kept, devices }));
}

#[test]
fn a_vap_being_removed_counts_wherever_its_slot_is() {
    let mut lab = Lab::new(two());
    let (low, high) = (lab.serve(1, 1), lab.serve(2, 2));
    lab.radio.handle_revoked(mac(1), None, lab.now);
    lab.radio.handle_bss_removed(low, Ok(()), lab.now);
    lab.radio.reconfigure(Settings { max_vaps: 1, ..Settings::default() }, lab.now);
    lab.radio.handle_revoked(mac(2), None, lab.now);
    lab.actions();
    lab.probe(4, name(4));
    let id = lab.look_up();
    lab.answer(id, granted(4, 4));
    assert_eq!(lab.actions(), [], "slot 0 is free, but the one VAP allowed is still going");
    lab.radio.handle_bss_removed(high, Ok(()), lab.now);
    assert_eq!(lab.add().slot(), 0);
}

#[test]
fn an_ssid_that_is_ignored_from_now_on_is_served_no_longer() {
    let mut lab = Lab::new(Settings::default());
    let vap = lab.connect(1, 1);
    let ignore = [name(1)].into_iter().collect();
    lab.radio.reconfigure(Settings { ignore, ..Settings::default() }, lab.now);
    assert_eq!(lab.actions(), [out(vap, 1), Action::RemoveBss { vap }]);
    assert_eq!(lab.status().memory, []);
}

#[test]
fn the_owners_bss_is_told_its_devices_when_it_begins_and_when_it_ceases_to_take_them() {
    let mut lab = Lab::new(Settings::default());
    let home = Settings { home: Some(name(1)), ..Settings::default() };
    lab.radio.reconfigure(home, lab.now);
    assert_eq!(lab.actions(), [Action::SetHomeDevices { devices: vec![] }], "what was there goes");
    lab.radio.handle_home_devices_set(Ok(()), lab.now);
    lab.probe(1, name(1));
    let id = lab.look_up();
    lab.answer(id, Answer::Granted(Grant { at_home: true, ..grant(1, 1) }));
    assert_eq!(lab.actions(), [Action::SetHomeDevices { devices: vec![(mac(1), key(1))] }]);
    lab.radio.reconfigure(Settings::default(), lab.now);
    lab.radio.handle_home_devices_set(Ok(()), lab.now);
    assert_eq!(lab.actions(), [Action::SetHomeDevices { devices: vec![] }]);
}

#[test]
fn the_status_is_json_with_macs_in_full_and_without_keys() {
    let mut lab = Lab::new(Settings::default());
    let vap = lab.connect(1, 1);
    lab.pass_secs(2);
    let status = lab.status();
    assert_eq!(status.vaps[0].state, VapState::Up);
    assert_eq!(status.vaps[0].devices[0].connected_ms, Some(2000));
    let json = serde_json::to_value(&status).unwrap();
    assert_eq!(json["vaps"][0]["vap"], vap.to_string());
    assert_eq!(json["vaps"][0]["state"], "up");
    assert_eq!(json["vaps"][0]["ssid"], "elm");
    assert_eq!(json["vaps"][0]["security"], "wpa2-psk");
    assert_eq!(json["memory"][0]["mac"], "02:00:00:00:00:01");
    assert_eq!(json["memory"][0]["state"], "granted");
    assert_eq!(json["counters"]["vaps_added"], 1);
    let text = json.to_string();
    assert!(!text.contains("correct horse") && !text.contains("0101"), "{text}");
    assert_eq!(serde_json::from_str::<homeward_vap::Status>(&text).unwrap(), status);
}
