//! Credentials: first ones, others, spent ones, refused ones.

use homeward_offload::manager::{
    Cause, Discarded, Failure, Notice, Registration, State, SupplicantEvent, Wanted,
};

use crate::world::{Manner, Mood, World, imei, imsi, mac, s};

fn causes(world: &World) -> Vec<Cause> {
    world.m.why().causes.into_iter().map(|reason| reason.cause).collect()
}

fn ready(seed: u64) -> World {
    let mut world = World::new(seed);
    world.begin();
    world.until(s(5), |w| w.stored.is_some());
    world
}

fn name(world: &World) -> &str {
    world.stored.as_ref().unwrap().username.as_str()
}

#[test]
fn nothing_is_asked_without_a_sim_a_bearer_or_a_station() {
    let mut world = World::new(1);
    world.clock();
    world.run(s(60));
    assert_eq!(causes(&world), [Cause::NoSupplicant, Cause::NoModem]);
    world.start_supplicant();
    world.modem.present = true;
    world.tell_modem();
    assert_eq!(causes(&world), [Cause::NoSim]);
    world.modem.imsi = Some(imsi(1));
    world.tell_modem();
    // Nobody says how it stands with a network, as of a modem without a manager.
    assert_eq!(causes(&world), [Cause::NoBearer]);
    world.modem.registration = Registration::Searching;
    world.tell_modem();
    let registration = Registration::Searching;
    assert_eq!(causes(&world), [Cause::NotRegistered { registration }]);
    world.bearer(false);
    assert_eq!(causes(&world), [Cause::NoBearer]);
    world.run(s(60));
    assert!(world.all_requests.is_empty());
    world.bearer(true);
    world.run(s(1));
    assert_eq!(world.all_requests.len(), 1);
}

#[test]
fn credentials_of_the_last_life_are_used_without_the_portal() {
    let stored = ready(2).stored;
    let mut world = World::with(Default::default(), stored, 3);
    world.clock();
    world.start_supplicant();
    world.ap(1).signal = -50;
    world.portal.issued = ready(2).portal.issued;
    world.until(s(20), |w| w.on_wifi);
    assert!(world.all_requests.is_empty());
}

#[test]
fn another_sim_means_other_credentials_and_an_end_to_what_the_old_ones_opened() {
    let mut world = ready(4);
    world.ap(1).signal = -50;
    world.until(s(20), |w| w.on_wifi);
    world.modem.imsi = Some(imsi(2));
    world.tell_modem();
    assert!(!world.on_wifi);
    assert!(world.log.iter().any(|(_, n)| *n == Notice::Forgotten { why: Discarded::Sim }));
    world.until(s(20), |w| w.on_wifi);
    assert_eq!(world.stored.as_ref().unwrap().imsi, imsi(2));
    let last = &world.all_requests.last().unwrap().1;
    assert_eq!((last.imsi, last.previous.clone()), (imsi(2), None));
}

#[test]
fn a_sim_that_is_out_for_a_moment_changes_nothing() {
    let mut world = ready(5);
    let before = world.stored.clone();
    world.modem.imsi = None;
    world.modem.bearer = false;
    world.tell_modem();
    world.modem.imsi = Some(imsi(1));
    world.bearer(true);
    world.run(s(60));
    assert_eq!(world.stored, before);
    assert_eq!(world.all_requests.len(), 1);
}

#[test]
fn another_station_or_other_equipment_asks_for_others() {
    let mut world = ready(6);
    world.modem.imei = Some(imei(2));
    world.tell_modem();
    world.run(s(5));
    assert_eq!(world.all_requests.len(), 2);
    assert_eq!(world.all_requests[1].1.previous.as_ref().unwrap().as_str(), "p1@wifi.example.net");
    world.supplicant_says(SupplicantEvent::Ready { mac: mac(101) });
    world.run(s(5));
    assert_eq!(world.all_requests.len(), 3);
    assert_eq!(
        (name(&world), world.stored.as_ref().unwrap().mac),
        ("p2@wifi.example.net", mac(101))
    );
}

#[test]
fn a_refused_log_on_asks_for_others_once_and_then_waits_longer_each_time() {
    let mut world = ready(7);
    (world.ap(1).signal, world.ap(1).manner) = (-50, Manner::Rejects);
    world.until(s(20), |w| w.joins.len() == 2);
    assert_eq!(world.all_requests.len(), 2, "others were asked for at once");
    world.run(s(140));
    assert_eq!((world.joins.len(), world.all_requests.len()), (2, 2), "and then it waits");
    assert!(matches!(causes(&world)[..], [Cause::Rejected { times: 2, .. }, ..]));
    world.run(s(12 * 3600));
    let (joins, asked) = (world.joins.len(), world.all_requests.len());
    assert!((10..=30).contains(&joins) && asked <= joins + 1, "{joins} log-ons, {asked} requests");
    world.ap(1).manner = Manner::Welcomes;
    world.until(s(3700), |w| w.on_wifi);
    assert_eq!(world.m.status().credentials.unwrap().rejections, 0);
}

#[test]
fn a_refused_log_on_without_cellular_is_tried_again_later() {
    let mut world = ready(8);
    world.bearer(false);
    (world.ap(1).signal, world.ap(1).manner) = (-50, Manner::Rejects);
    world.run(s(60));
    assert_eq!(world.joins.len(), 1);
    world.ap(1).manner = Manner::Welcomes;
    world.until(s(310), |w| w.on_wifi);
}

#[test]
fn one_log_on_spends_what_is_good_once_and_the_next_is_fetched_on_return() {
    let mut world = World::new(9);
    world.portal.one_time = true;
    world.begin();
    world.ap(1).signal = -50;
    world.until(s(20), |w| w.on_wifi);
    assert!(world.stored.as_ref().unwrap().spent, "that survives a restart");
    world.run(s(3600));
    assert_eq!(world.all_requests.len(), 1, "not in mid-session, which would end by it");
    world.ap(1).signal = -95;
    world.run(s(10));
    assert_eq!((world.all_requests.len(), name(&world)), (2, "p2@wifi.example.net"));
    world.ap(1).signal = -50;
    world.until(s(20), |w| w.on_wifi);
}

#[test]
fn what_is_spent_is_not_used_again_though_the_portal_is_away() {
    let mut world = World::new(10);
    world.portal.one_time = true;
    world.begin();
    world.ap(1).signal = -50;
    world.until(s(20), |w| w.on_wifi);
    world.portal.mood = Mood::Away;
    world.associated = None;
    world.supplicant_says(SupplicantEvent::Disconnected);
    world.run(s(600));
    assert_eq!(world.joins.len(), 1);
    assert!(matches!(
        causes(&world)[..],
        [Cause::Spent, Cause::Portal { .. } | Cause::Requesting { .. }]
    ));
    world.portal.mood = Mood::Answers;
    world.until(s(310), |w| w.on_wifi);
}

#[test]
fn a_portal_that_gives_the_spent_ones_again_is_not_hammered() {
    let mut world = World::new(11);
    world.portal.one_time = true;
    world.begin();
    world.until(s(5), |w| w.stored.is_some());
    let (_, request) = world.all_requests[0].clone();
    let same = world.issue(&request);
    world.ap(1).signal = -50;
    world.until(s(20), |w| w.on_wifi);
    world.reacts = false;
    world.associated = None;
    world.supplicant_says(SupplicantEvent::Disconnected);
    for _ in 0..7200 {
        if let Some((id, _)) = world.open_requests.pop() {
            world.reply(id, Ok(same.clone()));
        }
        world.run(s(1));
    }
    assert!(world.all_requests.len() <= 12, "{}", world.all_requests.len());
    assert_eq!(world.joins.len(), 1, "they are spent whoever gives them");
}

#[test]
fn a_portal_that_refuses_is_asked_again_less_and_less_often() {
    let mut world = World::new(12);
    world.portal.mood = Mood::Refuses;
    world.begin();
    world.run(s(30));
    let early = world.all_requests.len();
    assert!((3..=5).contains(&early), "it may not have heard yet of the bearer: {early}");
    world.run(s(12 * 3600));
    let asked = world.all_requests.len();
    assert!((15..=40).contains(&asked), "{asked}");
    assert!(matches!(causes(&world)[..], [Cause::Portal { .. }]));
    // A bearer that is new is a reason to ask at once.
    world.bearer(false);
    world.portal.mood = Mood::Answers;
    world.bearer(true);
    world.until(s(2), |w| w.stored.is_some());
}

#[test]
fn a_bearer_that_comes_and_goes_does_not_make_it_hammer() {
    let mut world = World::new(13);
    world.portal.mood = Mood::Refuses;
    world.begin();
    for _ in 0..1800 {
        world.bearer(false);
        world.run(s(1));
        world.bearer(true);
        world.run(s(1));
    }
    assert_eq!(world.requests.len(), 30);
    world.run(s(2));
    assert!(matches!(causes(&world)[..], [Cause::Portal { wait_ms: Some(_), .. }]));
}

#[test]
fn a_portal_that_asks_for_patience_gets_it_and_no_more_than_an_hour() {
    let mut world = World::new(14);
    world.reacts = false;
    world.begin();
    world.run(s(1));
    let (id, _) = world.open_requests[0].clone();
    world.reply(id, Err(Failure::Busy(Some(s(90)))));
    world.run(s(89));
    assert_eq!(world.all_requests.len(), 1);
    world.run(s(2));
    assert_eq!(world.all_requests.len(), 2);
    let (id, _) = world.open_requests[0].clone();
    world.reply(id, Err(Failure::Busy(Some(s(1 << 40)))));
    world.run(s(3601));
    assert_eq!(world.all_requests.len(), 3);
}

#[test]
fn an_answer_that_comes_after_it_was_given_up_changes_nothing() {
    let mut world = World::new(15);
    world.reacts = false;
    world.begin();
    world.run(s(1));
    let (id, request) = world.open_requests[0].clone();
    world.run(s(21));
    let late = world.issue(&request);
    world.reply(id, Ok(late));
    assert_eq!(world.stored, None);
}

#[test]
fn they_are_renewed_in_their_window_on_cellular_and_not_in_mid_session_before_it_is_late() {
    let mut world = World::new(16);
    world.portal.lifetime = Some(s(4000));
    world.portal.window = s(2000);
    world.begin();
    world.until(s(5), |w| w.stored.is_some());
    world.run(s(1990));
    assert_eq!(world.all_requests.len(), 1);
    world.run(s(1010));
    assert_eq!(world.all_requests.len(), 2, "in the first half of the window");
    // On Wi-Fi it is done when a quarter of it is left.
    world.ap(1).signal = -50;
    world.until(s(20), |w| w.on_wifi);
    let before = world.all_requests[1].0;
    world.until(s(4000), |w| w.all_requests.len() == 3);
    let after = world.all_requests[2].0 - before;
    assert!((s(3499)..=s(3502)).contains(&after), "{after:?}");
    assert!(world.on_wifi, "by cellular, and Wi-Fi is not left for it");
}

#[test]
fn they_are_renewed_at_once_on_return_to_cellular() {
    let mut world = World::new(17);
    world.portal.lifetime = Some(s(40_000));
    world.portal.window = s(20_000);
    world.ap(1).signal = -50;
    world.begin();
    world.until(s(20), |w| w.on_wifi);
    world.run(s(20_100));
    assert_eq!(world.all_requests.len(), 1);
    world.ap(1).signal = -95;
    world.run(s(10));
    assert_eq!(world.all_requests.len(), 2);
    assert!(world.log.iter().any(|(_, n)| *n == Notice::Credentials { wanted: Wanted::Renewal }));
}

#[test]
fn what_is_over_is_discarded_and_its_session_ended() {
    let mut world = World::new(18);
    world.portal.lifetime = Some(s(600));
    world.portal.window = s(0);
    world.ap(1).signal = -50;
    world.begin();
    world.until(s(20), |w| w.on_wifi);
    world.portal.mood = Mood::Away;
    world.run(s(600));
    assert!(!world.on_wifi);
    assert_eq!(world.stored, None);
    assert!(world.log.iter().any(|(_, n)| *n == Notice::Forgotten { why: Discarded::Expired }));
    assert!(matches!(world.m.state(), State::CellularUp | State::Requesting));
}
