//! Hand-off keys: asked for where there are none, and not otherwise.

use homeward_offload::manager::{Keys, SupplicantEvent};

use crate::words::HOUR;
use crate::world::{Mood, World, imsi, mac, s};

/// How many of all requests wanted keys.
fn wanted(world: &World) -> usize {
    world.all_requests.iter().filter(|(_, request)| request.handoff).count()
}

fn told(keys: Keys) -> World {
    let mut world = World::new(1);
    world.m.handle_keys(keys, world.now);
    world.begin();
    world.until(s(5), |w| w.stored.is_some());
    world
}

#[test]
fn they_come_with_the_first_credentials_and_are_not_asked_for_again() {
    let mut world = told(Keys::Of(None));
    assert_eq!(world.keys, [(imsi(1), 1)]);
    world.run(HOUR);
    assert_eq!((world.all_requests.len(), wanted(&world)), (1, 1));
    // Other credentials keep the keys that there are.
    world.supplicant_says(SupplicantEvent::Ready { mac: mac(77) });
    world.until(s(60), |w| w.all_requests.len() == 2);
    world.run(s(60));
    assert_eq!((wanted(&world), world.keys.len()), (1, 1));
}

#[test]
fn who_wants_none_or_has_them_asks_for_none() {
    for keys in [Keys::Unwanted, Keys::Of(Some(imsi(1)))] {
        let mut world = told(keys);
        world.run(HOUR);
        assert_eq!((world.all_requests.len(), wanted(&world), world.keys.len()), (1, 0, 0));
    }
}

#[test]
fn who_has_good_credentials_asks_for_the_keys_alone_and_keeps_those() {
    let mut world = told(Keys::Unwanted);
    let name = world.stored.as_ref().unwrap().username.clone();
    world.m.handle_keys(Keys::Of(None), world.now);
    world.drain();
    world.until(s(5), |w| !w.keys.is_empty());
    world.run(HOUR);
    assert_eq!((world.all_requests.len(), world.keys.len()), (2, 1));
    assert_eq!(world.stored.as_ref().unwrap().username, name);
    // They are lost, or somebody else may have them.
    world.m.handle_keys(Keys::Of(None), world.now);
    world.drain();
    world.until(s(5), |w| w.keys.len() == 2);
    assert_eq!(world.keys, [(imsi(1), 1), (imsi(1), 2)]);
}

#[test]
fn another_sim_has_others() {
    let mut world = told(Keys::Of(None));
    world.modem.imsi = Some(imsi(2));
    world.tell_modem();
    world.until(s(60), |w| w.keys.len() == 2);
    assert_eq!(world.keys[1], (imsi(2), 2));
}

#[test]
fn a_portal_that_gives_none_is_asked_seldom_and_what_else_is_wanted_does_not_wait_for_it() {
    let mut world = World::new(1);
    world.portal.enrols = false;
    world.m.handle_keys(Keys::Of(None), world.now);
    world.begin();
    world.until(s(5), |w| w.stored.is_some());
    world.run(s(24 * 3600));
    let asked = world.all_requests.len();
    assert!((2..=60).contains(&asked), "{asked} times a day");
    assert_eq!(world.m.status().portal.trouble, None);
    // The station is another: that is asked for at once.
    world.supplicant_says(SupplicantEvent::Ready { mac: mac(77) });
    world.until(s(5), |w| w.stored.as_ref().is_some_and(|stored| stored.mac == mac(77)));
    world.portal.enrols = true;
    world.until(2 * HOUR, |w| !w.keys.is_empty());
}

#[test]
fn no_message_is_sent_for_keys() {
    let mut world = told(Keys::Of(Some(imsi(1))));
    world.messages(true);
    world.portal.mood = Mood::Away;
    world.m.handle_keys(Keys::Of(None), world.now);
    world.drain();
    world.ap(1).signal = -50;
    world.run(HOUR);
    assert!(wanted(&world) > 0 && world.post.sent.is_empty());
}
