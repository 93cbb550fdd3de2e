//! Probes, the memory, and the core's answers.

use std::collections::BTreeSet;
use std::time::Duration;

use homeward_model::{Anchor, Mac, NetworkId, RefusalReason, Rssi, Seconds, Security};
use homeward_vap::{
    Action, Answer, Asked, Bss, EntryState, Event, Forgotten, Ignored, Revoked, Settings, VapState,
    Withdrawn,
};

use crate::lab::{Lab, grant, granted, key, mac, name, out, refused, ssid};

#[test]
fn an_unknown_device_is_looked_up_once_and_served_on_a_vap_of_its_home() {
    let mut lab = Lab::new(Settings::default());
    lab.probe(1, name(1));
    lab.probe(1, name(1));
    let id = lab.look_up();
    lab.after_ms(7);
    lab.answer(id, granted(1, 1));
    let [Action::AddBss { vap, network, ssid, security, anchor, devices, idle_timeout }] =
        &lab.actions()[..]
    else {
        panic!("no ADD");
    };
    assert_eq!((*network, *ssid, *security), (NetworkId(1), name(1), Security::Wpa2Psk));
    assert_eq!(*anchor, Anchor::Home);
    assert_eq!((&devices[..], *idle_timeout), (&[(mac(1), key(1))][..], None));
    lab.after_ms(30);
    lab.radio.handle_bss_added(*vap, Ok(()), lab.now);
    lab.after_ms(100);
    lab.radio.handle_connected(*vap, mac(1), lab.now);

    let ms = Duration::from_millis;
    let events = lab.events();
    assert!(events.contains(&Event::ProbeIgnored {
        mac: mac(1),
        ssid: name(1),
        why: Ignored::Pending
    }));
    assert!(events.contains(&Event::VapUp {
        vap: *vap,
        network: NetworkId(1),
        took: ms(30),
        after_probe: ms(37)
    }));
    assert!(events.contains(&Event::DeviceConnected {
        bss: Bss::Vap(*vap),
        mac: mac(1),
        after_probe: Some(ms(137))
    }));
}

#[test]
fn a_second_device_of_the_same_home_joins_the_same_vap_with_its_own_key() {
    let mut lab = Lab::new(Settings::default());
    let vap = lab.serve(1, 1);
    lab.probe(2, name(1));
    let id = lab.look_up();
    lab.answer(id, granted(1, 2));
    let devices = vec![(mac(1), key(1)), (mac(2), key(2))];
    assert_eq!(lab.actions(), [Action::SetDevices { vap, devices }]);
}

#[test]
fn two_homes_with_the_same_ssid_are_two_vaps() {
    let mut lab = Lab::new(Settings::default());
    assert_eq!((lab.serve(1, 1).slot(), lab.serve(3, 2).slot()), (0, 1));
    let status = lab.status();
    assert!(status.vaps.iter().all(|v| v.state == VapState::Up && v.ssid == Some(name(1))));
}

#[test]
fn a_device_in_memory_is_served_at_once_and_its_old_grant_confirmed_behind_its_back() {
    let mut lab = Lab::new(Settings::default());
    let vap = lab.serve(1, 1);
    lab.pass_secs(61);
    assert_eq!(lab.actions(), [Action::RemoveBss { vap }], "not in use: not asked about");
    lab.radio.handle_bss_removed(vap, Ok(()), lab.now);

    lab.pass_secs(600);
    lab.probe(1, name(1));
    assert!(matches!(
        lab.actions()[..],
        [Action::AddBss { .. }, Action::LookUp { .. }]
            | [Action::LookUp { .. }, Action::AddBss { .. }]
    ));
    lab.pass_secs(3);
    lab.probe(1, name(1));
    assert_eq!(lab.actions(), [], "one question at a time");
}

#[test]
fn a_grant_that_nobody_uses_is_forgotten() {
    let mut lab = Lab::new(Settings::default());
    let vap = lab.serve(1, 1);
    lab.pass_secs(60);
    lab.radio.handle_bss_removed(vap, Ok(()), lab.now);
    lab.events();
    lab.pass_secs(3599);
    let why = Forgotten::Unused;
    assert!(lab.events().contains(&Event::GrantForgotten { mac: mac(1), ssid: name(1), why }));
    assert_eq!((lab.status().memory, lab.radio.poll_timeout()), (vec![], None));
}

#[test]
fn a_refused_device_is_shown_with_the_reason_and_not_asked_about_again_for_a_while() {
    let mut lab = Lab::new(Settings::default());
    lab.probe(1, name(1));
    let id = lab.look_up();
    lab.answer(id, refused(RefusalReason::AccountSuspended));
    lab.pass_secs(29);
    lab.probe(1, name(1));
    assert_eq!(lab.actions(), []);
    let entry = lab.status().memory.remove(0);
    assert_eq!(
        (entry.state, entry.reason, entry.message.as_deref(), entry.expires_ms),
        (
            EntryState::Refused,
            Some(RefusalReason::AccountSuspended),
            Some("account-suspended: ask your operator"),
            Some(1000)
        )
    );
    lab.pass_secs(1);
    lab.probe(1, name(1));
    lab.look_up();
}

#[test]
fn a_grant_that_cannot_be_served_is_a_refusal() {
    let mut unservable = vec![grant(1, 1), grant(1, 1), grant(2, 1)];
    unservable[0].security = Security::Enterprise;
    unservable[1].security = Security::Wpa3Sae;
    unservable[1].key = homeward_model::DeviceKey::Psk(homeward_model::Psk::new([1; 32]));
    let reasons = [
        RefusalReason::UnsupportedSecurity,
        RefusalReason::UnsupportedSecurity,
        RefusalReason::Other,
    ];
    for (grant, reason) in unservable.into_iter().zip(reasons) {
        let mut lab = Lab::new(Settings::default());
        lab.probe(1, name(1));
        let id = lab.look_up();
        lab.answer(id, Answer::Granted(grant));
        assert_eq!((lab.actions(), lab.status().memory[0].reason), (vec![], Some(reason)));
    }
}

#[test]
fn weak_probes_ignored_ssids_and_group_addresses_come_to_nothing() {
    let ignore = BTreeSet::from([ssid("owner")]);
    let mut lab = Lab::new(Settings { ignore, ..Settings::default() });
    lab.radio.handle_probe(mac(1), name(1), Some(Rssi(-81)), lab.now);
    lab.radio.handle_probe(mac(1), ssid("owner"), Some(Rssi(-30)), lab.now);
    lab.radio.handle_probe(Mac::new([1, 0, 0, 0, 0, 1]), name(1), None, lab.now);
    let why = lab.events().into_iter().filter_map(|event| match event {
        Event::ProbeIgnored { why, .. } => Some(why),
        _ => None,
    });
    let expected = [Ignored::Weak, Ignored::Ssid, Ignored::GroupAddress];
    assert_eq!(why.collect::<Vec<_>>(), expected);
    assert_eq!((lab.actions(), lab.status().memory), (vec![], vec![]));
    lab.radio.handle_probe(mac(1), name(1), None, lab.now);
    lab.look_up();
}

#[test]
fn a_flood_of_invented_macs_neither_exceeds_the_budget_nor_keeps_a_real_device_out() {
    let mut lab = Lab::new(Settings::default());
    let (mut asked, mut real) = (0, None);
    for n in 0u32..20_000 {
        lab.after_ms(1);
        let [_, a, b, c] = n.to_be_bytes();
        lab.radio.handle_probe(Mac::new([6, 6, 6, a, b, c]), name(1), None, lab.now);
        // Three seconds into the flood a real device begins to scan, every 8.5 s.
        if n == 3_000 || n == 11_500 {
            lab.probe(1, name(1));
        }
        for action in lab.actions() {
            let Action::LookUp { id, mac: who, .. } = action else { panic!("{action:?}") };
            asked += 1;
            if who == mac(1) {
                real.get_or_insert(n);
            }
            let reason = RefusalReason::UnknownDevice;
            lab.answer(id, if who == mac(1) { granted(1, 1) } else { refused(reason) });
        }
        if real.is_some() {
            break;
        }
        let status = lab.radio.counters();
        assert_eq!((status.vaps_added, status.no_room), (0, 0));
    }
    assert_eq!(real, Some(11_500), "at its second scan at the latest");
    assert!(asked <= 200 + 100 * 12 + 1, "{asked} look-ups");
    lab.add();
}

#[test]
fn the_memory_is_bounded_and_a_device_being_served_stays_in_it() {
    let settings = Settings { memory: 10, lookup_burst: 1000, ..Settings::default() };
    let mut lab = Lab::new(settings);
    lab.connect(1, 1);
    for n in 10..200 {
        lab.probe(n, name(2));
        let id = lab.look_up();
        lab.answer(id, refused(RefusalReason::UnknownDevice));
    }
    let memory = lab.status().memory;
    assert_eq!((memory.len(), memory[0].mac, memory[0].served), (10, mac(1), true));
}

#[test]
fn while_the_core_is_silent_a_device_is_served_until_its_grant_is_stale() {
    let mut lab = Lab::new(Settings::default());
    let vap = lab.connect(1, 1);
    for _ in 0..230 {
        lab.pass_secs(62);
        for action in lab.actions() {
            let Action::LookUp { id, .. } = action else { panic!("{action:?}") };
            lab.answer(id, Answer::Unreachable);
        }
    }
    assert_eq!(lab.status().vaps[0].state, VapState::Up, "after 14,260 s");
    lab.events();
    lab.pass_secs(14_400 - 14_260);
    assert!(lab.actions().contains(&out(vap, 1)), "after 14,400 s");
    assert!(lab.events().iter().any(|event| matches!(
        event,
        Event::DeviceWithdrawn { why: Withdrawn::Stale, connected: true, .. }
    )));
}

#[test]
fn when_the_core_is_back_pauses_end_and_every_grant_is_confirmed_at_half_the_rate() {
    let settings = Settings { lookups_per_second: 20, max_vaps: 2, ..Settings::default() };
    let mut lab = Lab::new(settings);
    let vap = lab.connect(1, 1);
    for device in 2..=5 {
        lab.serve(2, device);
    }
    lab.probe(9, name(2));
    let id = lab.look_up();
    lab.answer(id, Answer::Unreachable);
    lab.probe(9, name(2));
    assert_eq!(lab.actions(), [], "a pause of 2 s");

    lab.pass_secs(1);
    lab.radio.handle_core_back(lab.now);
    lab.probe(9, name(2));
    let mut asked = vec![lab.actions().len()];
    for _ in 0..5 {
        lab.pass(Duration::from_millis(100));
        asked.push(lab.actions().len());
    }
    assert_eq!(asked, [2, 1, 1, 1, 1, 0], "the first refresh and device 9, then one each 100 ms");
    assert_eq!(lab.status().vaps[0].vap.as_deref(), Some(&*vap.to_string()));
}

#[test]
fn a_refresh_that_is_refused_takes_the_key_away_and_leaves_the_others() {
    let mut lab = Lab::new(Settings::default());
    let vap = lab.connect(1, 1);
    lab.serve(1, 2);
    lab.radio.handle_connected(vap, mac(2), lab.now);
    lab.pass_secs(60);
    for action in lab.actions() {
        let Action::LookUp { id, mac: who, .. } = action else { panic!("{action:?}") };
        let suspended = refused(RefusalReason::DeviceSuspended);
        lab.answer(id, if who == mac(1) { suspended } else { granted(1, 2) });
    }
    let devices = vec![(mac(2), key(2))];
    assert_eq!(lab.actions(), [out(vap, 1), Action::SetDevices { vap, devices }]);
    lab.radio.handle_devices_set(vap, Ok(()), lab.now);
    assert_eq!(lab.actions(), [out(vap, 1)], "it might have come back before its key was gone");
}

#[test]
fn a_session_timeout_shorter_than_the_refresh_comes_first() {
    let mut lab = Lab::new(Settings::default());
    lab.probe(1, name(1));
    let id = lab.look_up();
    let mut short = grant(1, 1);
    short.terms.session_timeout = Some(Seconds(10));
    short.terms.idle_timeout = Some(Seconds(45));
    lab.answer(id, Answer::Granted(short));
    assert!(matches!(lab.actions()[..], [Action::AddBss { idle_timeout: Some(Seconds(45)), .. }]));
    lab.pass(Duration::from_millis(9_999));
    assert_eq!(lab.actions(), []);
    lab.pass(Duration::from_millis(1));
    lab.look_up();
}

#[test]
fn a_changed_key_is_set_and_who_is_connected_with_the_old_one_is_put_out() {
    let mut lab = Lab::new(Settings::default());
    let vap = lab.connect(1, 1);
    lab.pass_secs(60);
    let id = lab.look_up();
    lab.answer(id, Answer::Granted(homeward_model::Grant { key: key(9), ..grant(1, 1) }));
    assert_eq!(lab.actions(), [Action::SetDevices { vap, devices: vec![(mac(1), key(9))] }]);
    lab.radio.handle_devices_set(vap, Ok(()), lab.now);
    assert_eq!(lab.actions(), [out(vap, 1)]);
}

#[test]
fn a_changed_security_makes_the_vap_anew() {
    let mut lab = Lab::new(Settings::default());
    let vap = lab.connect(1, 1);
    lab.pass_secs(60);
    let id = lab.look_up();
    let security = Security::Wpa2Wpa3;
    lab.answer(id, Answer::Granted(homeward_model::Grant { security, ..grant(1, 1) }));
    assert_eq!(lab.actions(), [Action::RemoveBss { vap }]);
    lab.radio.handle_bss_removed(vap, Ok(()), lab.now);
    let anew = lab.add();
    assert_eq!((anew.slot(), anew == vap), (vap.slot(), false));
    lab.pass_secs(10);
    assert_eq!(lab.status().vaps[0].state, VapState::Adding, "its device was there just now");
    assert_eq!(lab.status().vaps[0].security, Some(security));
}

#[test]
fn a_device_that_moved_to_another_network_leaves_the_old_vap_for_the_new() {
    let mut lab = Lab::new(Settings::default());
    let vap = lab.connect(1, 1);
    lab.pass_secs(60);
    let id = lab.look_up();
    lab.answer(id, granted(3, 1));
    assert!(matches!(
        &lab.actions()[..],
        [Action::Deauthenticate { .. }, Action::RemoveBss { vap: old }, Action::AddBss { vap: new, .. }]
            if *old == vap && new.slot() != vap.slot()
    ));
}

#[test]
fn a_revoked_device_is_out_at_once_and_an_answer_on_its_way_does_not_bring_it_back() {
    let mut lab = Lab::new(Settings::default());
    let vap = lab.connect(1, 1);
    lab.pass_secs(60);
    let id = lab.look_up();
    let revoked = lab.radio.handle_revoked(mac(1), None, lab.now);
    assert_eq!(revoked, Revoked { entries: 1, sessions: 1 });
    assert_eq!(lab.actions(), [out(vap, 1), Action::RemoveBss { vap }]);
    lab.answer(id, granted(1, 1));
    assert!(lab.events().contains(&Event::AnswerDropped { id }));
    lab.radio.handle_bss_removed(vap, Ok(()), lab.now);
    assert_eq!((lab.actions(), lab.status().memory), (vec![], vec![]));
    lab.probe(1, name(1));
    lab.look_up();
}

#[test]
fn a_revocation_for_one_ssid_leaves_the_others_and_one_of_nobody_hits_nothing() {
    let mut lab = Lab::new(Settings::default());
    lab.connect(1, 1);
    lab.serve(2, 1);
    assert_eq!(
        lab.radio.handle_revoked(mac(1), Some(name(2)), lab.now),
        Revoked { entries: 1, sessions: 0 }
    );
    assert!(lab.radio.handle_revoked(mac(7), None, lab.now).is_empty());
    assert_eq!(lab.status().memory.len(), 1);
}

#[test]
fn a_device_at_home_gets_its_key_on_the_owners_bss_and_no_vap() {
    let home = Some(name(1));
    let mut lab = Lab::new(Settings { home, ..Settings::default() });
    assert_eq!(lab.actions(), [Action::SetHomeDevices { devices: vec![] }], "what was there goes");
    lab.radio.handle_home_devices_set(Ok(()), lab.now);
    lab.probe(1, name(1));
    let id = lab.look_up();
    let at_home = homeward_model::Grant { at_home: true, ..grant(1, 1) };
    lab.answer(id, Answer::Granted(at_home));
    assert_eq!(lab.actions(), [Action::SetHomeDevices { devices: vec![(mac(1), key(1))] }]);
    lab.radio.handle_home_devices_set(Ok(()), lab.now);
    lab.radio.handle_connected(Bss::Home, mac(1), lab.now);
    lab.radio.handle_connected(Bss::Home, mac(50), lab.now);

    lab.radio.handle_revoked(mac(1), None, lab.now);
    let empty = Action::SetHomeDevices { devices: vec![] };
    assert_eq!(lab.actions(), [out(Bss::Home, 1), empty], "the household's own stay");
}

#[test]
fn a_device_at_home_is_left_to_the_owners_ap_where_that_looks_after_its_own() {
    let mut lab = Lab::new(Settings::default());
    lab.probe(1, name(1));
    let id = lab.look_up();
    lab.answer(id, Answer::Granted(homeward_model::Grant { at_home: true, ..grant(1, 1) }));
    assert_eq!(lab.actions(), []);
    let why = Ignored::AtHome;
    assert!(lab.events().contains(&Event::ProbeIgnored { mac: mac(1), ssid: name(1), why }));
}

#[test]
fn a_wrong_key_is_shown_with_the_device_and_asked_about_once_in_a_while() {
    let mut lab = Lab::new(Settings::default());
    let vap = lab.serve(1, 1);
    lab.radio.handle_key_mismatch(vap, mac(1), lab.now);
    assert_eq!(lab.actions(), [], "the grant is fresh");
    lab.pass_secs(5);
    for _ in 0..3 {
        lab.radio.handle_key_mismatch(vap, mac(1), lab.now);
    }
    lab.look_up();
    assert!(
        lab.events()
            .iter()
            .any(|event| matches!(event, Event::LookupStarted { asked: Asked::WrongKey, .. }))
    );
    let status = lab.status();
    assert_eq!((status.vaps[0].devices[0].wrong_keys, status.memory[0].wrong_keys), (4, 4));
    lab.radio.handle_connected(vap, mac(1), lab.now);
    assert_eq!(lab.status().memory[0].wrong_keys, 0, "it found the right one");
}

#[test]
fn a_stranger_with_a_wrong_key_is_looked_up_for_it_did_not_probe_by_name() {
    let home = Some(ssid("owner"));
    let mut lab = Lab::new(Settings { home, ..Settings::default() });
    lab.radio.handle_home_devices_set(Ok(()), lab.now);
    lab.actions();
    lab.radio.handle_key_mismatch(Bss::Home, mac(7), lab.now);
    assert!(matches!(lab.actions()[..], [Action::LookUp { ssid: s, .. }] if s == ssid("owner")));
    let vap = lab.serve(1, 1);
    lab.radio.handle_key_mismatch(vap, mac(8), lab.now);
    assert!(matches!(lab.actions()[..], [Action::LookUp { ssid, .. }] if ssid == name(1)));
}

#[test]
fn a_device_connected_for_long_that_moves_keeps_its_new_place() {
    let mut lab = Lab::new(Settings::default());
    let vap = lab.connect(1, 1);
    lab.pass_secs(60);
    let id = lab.look_up();
    lab.answer(id, granted(3, 1));
    lab.radio.handle_bss_removed(vap, Ok(()), lab.now);
    lab.actions();
    lab.pass_secs(30);
    let status = lab.status();
    let states: Vec<_> = status.vaps.iter().map(|vap| (vap.network, vap.state)).collect();
    assert_eq!(states, [(Some(NetworkId(3)), VapState::Adding)]);
}

#[test]
fn a_memory_older_than_the_cores_latest_word_does_not_bring_an_old_security_back() {
    let mut lab = Lab::new(Settings::default());
    lab.serve(1, 1);
    lab.pass_secs(50);
    lab.serve(1, 2);
    lab.probe(1, name(1));
    lab.pass_secs(10);
    let id = lab.look_up();
    let security = Security::Wpa2Wpa3;
    lab.answer(id, Answer::Granted(homeward_model::Grant { security, ..grant(1, 1) }));
    let [Action::RemoveBss { vap }] = lab.actions()[..] else { panic!("made anew") };
    lab.probe(2, name(1));
    lab.radio.handle_bss_removed(vap, Ok(()), lab.now);
    assert!(matches!(lab.actions()[..], [Action::AddBss { security: s, .. }] if s == security));
}

#[test]
fn a_device_known_under_two_names_of_one_network_keeps_its_place_when_the_former_is_refused() {
    let mut lab = Lab::new(Settings::default());
    let vap = lab.connect(1, 1);
    let renamed = homeward_model::Grant { ssid: ssid("ash"), key: key(9), ..grant(1, 1) };
    lab.probe(1, ssid("ash"));
    let id = lab.look_up();
    lab.answer(id, Answer::Granted(renamed));
    assert_eq!(lab.actions(), [Action::RemoveBss { vap }], "the network has another SSID now");
    lab.radio.handle_bss_removed(vap, Ok(()), lab.now);
    let anew = lab.add();
    lab.radio.handle_bss_added(anew, Ok(()), lab.now);
    lab.radio.handle_revoked(mac(1), Some(name(1)), lab.now);
    assert_eq!(lab.actions(), []);
    assert!(lab.status().memory[0].served);
}

#[test]
fn a_network_whose_traffic_leaves_elsewhere_from_now_on_gets_a_new_vap() {
    let mut lab = Lab::new(Settings::default());
    let vap = lab.connect(1, 1);
    assert_eq!(lab.radio.served(Anchor::Home).count(), 1);
    lab.pass_secs(60);
    let id = lab.look_up();
    let mut moved = grant(1, 1);
    moved.terms.anchor = Anchor::Local;
    lab.answer(id, Answer::Granted(moved));
    assert_eq!(lab.actions(), [Action::RemoveBss { vap }]);
    lab.radio.handle_bss_removed(vap, Ok(()), lab.now);
    let [Action::AddBss { anchor: Anchor::Local, .. }] = lab.actions()[..] else {
        panic!("no VAP for the other anchor")
    };
    assert_eq!(lab.radio.served(Anchor::Home).count(), 0);
}
