//! Places held for devices that have not come yet.

use homeward_model::{Mac, RefusalReason};
use homeward_vap::{Action, Answer, Event, Settings, Unprepared, VapId, VapState, Withdrawn};

use crate::lab::{Lab, granted, mac, name, refused};

/// A device of a network is prepared for, as far as the BSS being up.
fn prepared(lab: &mut Lab, network: u8, device: u8) -> VapId {
    lab.radio.handle_prepare(mac(device), name(network), lab.now);
    let id = lab.look_up();
    lab.answer(id, granted(network, device));
    let vap = lab.add();
    lab.radio.handle_bss_added(vap, Ok(()), lab.now);
    vap
}

fn ended(lab: &mut Lab) -> Vec<Unprepared> {
    let why = |event| match event {
        Event::PreparationEnded { why, .. } => Some(why),
        _ => None,
    };
    lab.events().into_iter().filter_map(why).collect()
}

fn announced(lab: &mut Lab) -> Vec<Mac> {
    let mac = |event| match event {
        Event::Prepared { mac, .. } => Some(mac),
        _ => None,
    };
    lab.events().into_iter().filter_map(mac).collect()
}

#[test]
fn an_expected_device_has_record_key_and_vap_before_it_is_heard_and_silence_does_not_end_them() {
    let mut lab = Lab::new(Settings::default());
    lab.radio.handle_prepare(mac(1), name(1), lab.now);
    let id = lab.look_up();
    lab.answer(id, granted(1, 1));
    let vap = lab.add();
    assert_eq!(announced(&mut lab), [], "not before the BSS is up");
    lab.radio.handle_bss_added(vap, Ok(()), lab.now);
    assert_eq!(announced(&mut lab), [mac(1)]);

    for _ in 0..10 {
        lab.pass_secs(60);
        for action in lab.actions() {
            let Action::LookUp { id, .. } = action else { panic!("{action:?}") };
            lab.answer(id, granted(1, 1));
        }
    }
    assert_eq!(lab.status().vaps[0].state, VapState::Up);
    assert_eq!(announced(&mut lab), [], "said once");
    lab.radio.handle_connected(vap, mac(1), lab.now);
    assert_eq!(lab.actions(), [], "it comes in without a question");
}

#[test]
fn when_it_is_no_longer_expected_and_did_not_come_all_goes() {
    let mut lab = Lab::new(Settings::default());
    let vap = prepared(&mut lab, 1, 1);
    lab.pass_secs(120);
    lab.actions();
    lab.events();
    lab.radio.handle_withdraw(mac(1), name(1), lab.now);
    assert_eq!(lab.actions(), [Action::RemoveBss { vap }]);
    assert_eq!(ended(&mut lab), [Unprepared::Withdrawn]);
}

#[test]
fn when_it_is_no_longer_expected_but_is_connected_it_stays() {
    let mut lab = Lab::new(Settings::default());
    let vap = prepared(&mut lab, 1, 1);
    lab.radio.handle_connected(vap, mac(1), lab.now);
    lab.radio.handle_withdraw(mac(1), name(1), lab.now);
    lab.pass_secs(59);
    assert_eq!(lab.actions(), []);
    assert_eq!(lab.status().vaps[0].state, VapState::Up);
}

#[test]
fn no_more_than_the_limit_are_prepared_and_one_asked_for_twice_is_announced_twice() {
    let mut lab = Lab::new(Settings { max_prepared: 2, ..Settings::default() });
    prepared(&mut lab, 1, 1);
    prepared(&mut lab, 2, 2);
    lab.events();
    lab.radio.handle_prepare(mac(4), name(4), lab.now);
    assert_eq!(lab.actions(), []);
    assert_eq!(ended(&mut lab), [Unprepared::Limit]);
    lab.radio.handle_prepare(mac(2), name(2), lab.now);
    assert_eq!(announced(&mut lab), [mac(2)]);
    assert_eq!(lab.radio.prepared().count(), 2);
}

#[test]
fn a_preparation_takes_no_vap_from_another_but_gives_way_to_a_device_that_is_there() {
    let mut lab = Lab::new(Settings { max_vaps: 1, ..Settings::default() });
    let vap = prepared(&mut lab, 1, 1);
    lab.pass_secs(10);
    lab.events();
    lab.radio.handle_prepare(mac(2), name(2), lab.now);
    let id = lab.look_up();
    lab.answer(id, granted(2, 2));
    assert_eq!(lab.actions(), []);
    assert!(ended(&mut lab).contains(&Unprepared::NoRoom));

    lab.probe(4, name(4));
    let id = lab.look_up();
    lab.answer(id, granted(4, 4));
    assert_eq!(lab.actions(), [Action::RemoveBss { vap }]);
    assert_eq!(ended(&mut lab), [Unprepared::Lost(Withdrawn::GaveWay)]);
}

#[test]
fn a_device_that_the_core_refuses_or_revokes_is_not_prepared_for() {
    let mut lab = Lab::new(Settings::default());
    lab.radio.handle_prepare(mac(1), name(1), lab.now);
    let id = lab.look_up();
    lab.answer(id, refused(RefusalReason::AccountSuspended));
    let why = Withdrawn::Refused(RefusalReason::AccountSuspended);
    assert_eq!(ended(&mut lab), [Unprepared::Lost(why)]);

    let vap = prepared(&mut lab, 2, 2);
    lab.events();
    lab.radio.handle_revoked(mac(2), None, lab.now);
    assert_eq!(ended(&mut lab), [Unprepared::Lost(Withdrawn::Revoked)]);
    assert_eq!(lab.actions(), [Action::RemoveBss { vap }]);

    lab.radio.handle_prepare(mac(4), name(4), lab.now);
    let id = lab.look_up();
    lab.answer(id, Answer::Unreachable);
    assert_eq!(ended(&mut lab), [Unprepared::Unreachable]);
    assert_eq!(lab.radio.prepared().count(), 0);
}

#[test]
fn a_refusal_in_memory_is_not_believed_when_the_device_is_expected() {
    let mut lab = Lab::new(Settings::default());
    lab.probe(1, name(1));
    let id = lab.look_up();
    lab.answer(id, refused(RefusalReason::AccountSuspended));
    lab.radio.handle_prepare(mac(1), name(1), lab.now);
    let id = lab.look_up();
    lab.answer(id, granted(1, 1));
    lab.add();
}

#[test]
fn a_flood_of_strangers_does_not_stand_in_the_way_of_a_preparation() {
    let settings = Settings { lookup_burst: 1, lookups_per_second: 1, ..Settings::default() };
    let mut lab = Lab::new(settings);
    for n in 10..60 {
        lab.probe(n, name(4));
    }
    lab.actions();
    lab.radio.handle_prepare(mac(1), name(1), lab.now);
    lab.look_up();
}
