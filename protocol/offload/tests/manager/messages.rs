//! Credentials by short message.

use std::time::Duration;

use homeward_model::UnixTime;
use homeward_offload::manager::settings::Messages;
use homeward_offload::manager::{Cause, Notice, Settings, State, Stored, Trouble, Wanted};
use homeward_offload::wire::sms;

use crate::portal::{Mood, NUMBER, Post, messages};
use crate::words::{HOUR, imsi, mac, ms, s};
use crate::world::{Manner, World};

fn world_with(change: impl FnOnce(&mut Messages), stored: Option<Stored>, seed: u64) -> World {
    let mut messages = messages();
    change(&mut messages);
    let settings = Settings { messages: Some(messages), ..Settings::default() };
    let mut world = World::with(settings, stored, seed);
    world.clock();
    world.start_supplicant();
    world
}

/// A modem that has messages and no bearer.
fn world(seed: u64) -> World {
    let mut world = world_with(|_| {}, None, seed);
    world.modem.messages = true;
    world.bearer(false);
    world
}

fn causes(world: &World) -> Vec<Cause> {
    world.m.why().causes.into_iter().map(|reason| reason.cause).collect()
}

fn last_nonce(world: &World) -> Option<sms::Nonce> {
    sms::nonce(&world.post.sent.last().unwrap().1)
}

#[test]
fn a_device_without_a_bearer_asks_by_message_after_a_while_and_comes_to_wi_fi() {
    let mut world = world(1);
    world.ap(1).signal = -50;
    let Some(Cause::ByMessage { trouble: None, wait_ms, .. }) = causes(&world).pop() else {
        panic!("{:?}", causes(&world));
    };
    assert!(wait_ms <= 120_000);
    assert_eq!(world.until_sent(s(121)).as_secs(), 120);
    assert_eq!(world.m.state(), State::Requesting);
    assert!(matches!(causes(&world)[..], [Cause::NoBearer, Cause::AskedByMessage { .. }]));
    let status = world.m.status().portal.messages.unwrap();
    let begun = world.truth().0 - status.asked.unwrap().0;
    assert!((0..500).contains(&begun), "asked {begun} ms ago");
    assert_eq!((status.sent, status.per_day, status.possible), (1, 4, true));
    assert!(status.waits_ms.is_some_and(|wait| wait <= 300_000));
    world.until(s(60), |w| w.on_wifi);
    let stored = world.stored.clone().unwrap();
    assert!(stored.one_time && stored.by_message);
    assert!(world.all_requests.is_empty());
    let asked = Notice::AskedByMessage { wanted: Wanted::None };
    assert!(world.log.iter().any(|(_, notice)| *notice == asked));
    let counters = world.m.counters();
    assert_eq!((counters.messages, counters.message_answers, counters.answers), (1, 1, 0));
    assert_eq!(world.m.status().portal.messages.unwrap().waits_ms, None);
}

#[test]
fn nothing_is_sent_where_none_is_wanted_or_none_can_be() {
    let mut world = World::new(2);
    world.clock();
    world.start_supplicant();
    world.modem.messages = true;
    world.bearer(false);
    world.run(HOUR);
    assert_eq!(world.post.sent.len(), 0, "no number is set up");
    assert_eq!(causes(&world), [Cause::NoBearer]);

    let mut world = world_with(|_| {}, None, 2);
    world.bearer(false);
    world.run(HOUR);
    assert_eq!((world.post.sent.len(), causes(&world).len()), (0, 1));
    world.switch(|switches| switches.offload = false);
    world.messages(true);
    world.run(HOUR);
    assert_eq!(world.post.sent.len(), 0);
    world.switch(|switches| switches.offload = true);
    assert_eq!(world.post.sent.len(), 1, "the portal has been out of reach for long");
}

#[test]
fn a_portal_that_answers_over_the_bearer_is_sent_nothing_whatever_it_answers() {
    for mood in [Mood::Answers, Mood::Refuses, Mood::Garbles, Mood::Busy] {
        let mut world = world_with(|_| {}, None, 3);
        world.portal.mood = mood;
        world.modem.messages = true;
        world.begin();
        world.run(3 * HOUR);
        assert_eq!(world.post.sent.len(), 0, "{mood:?}");
    }
}

#[test]
fn a_portal_that_is_away_for_a_while_is_asked_by_message() {
    for mood in [Mood::Away, Mood::Silent] {
        let mut world = world_with(|_| {}, None, 4);
        world.portal.mood = mood;
        // There is a use for credentials, and none that would be a session.
        world.ap(1).signal = -85;
        world.modem.messages = true;
        world.bearer(true);
        let asked = |w: &World| w.all_requests.len();
        world.until(s(60), |w| asked(w) > 0);
        let took = world.until_sent(s(240));
        assert!((s(80)..s(160)).contains(&took), "{took:?}");
        assert!(asked(&world) >= 3, "it was tried over the bearer");
        world.until(s(60), |w| w.stored.is_some());
        assert!(world.stored.as_ref().unwrap().by_message);
        world.run(HOUR / 2);
        assert_eq!(world.post.sent.len(), 1, "what is in hand is of use");
        assert_eq!(
            world.m.status().portal.asking.or(Some(Wanted::ByMessage)),
            Some(Wanted::ByMessage)
        );
        world.portal.mood = Mood::Answers;
        world.until(s(400), |w| !w.stored.as_ref().unwrap().by_message);
    }
}

#[test]
fn the_portal_is_out_of_reach_from_when_it_was_last_reached() {
    for lost in [true, false] {
        let mut world = world_with(|_| {}, None, 26);
        world.portal.mood = Mood::Away;
        world.modem.messages = true;
        world.bearer(true);
        world.until(s(60), |w| !w.all_requests.is_empty());
        world.portal.mood = Mood::Refuses;
        world.until(s(110), |w| w.m.status().portal.trouble == Some(Trouble::Refused));
        assert_eq!(world.post.sent.len(), 0);
        if lost {
            world.bearer(false);
            assert_eq!(world.until_sent(s(130)).as_secs(), 120);
        } else {
            world.portal.mood = Mood::Away;
            world.until_sent(3 * HOUR);
        }
    }
}

#[test]
fn a_bearer_that_is_new_is_tried_first() {
    let mut world = world(5);
    world.post.mood = Post::Silent;
    world.until_sent(s(121));
    // Later than the next message would be due.
    world.messages(false);
    world.run(2 * HOUR);
    world.modem.messages = true;
    world.portal.mood = Mood::Away;
    world.bearer(true);
    world.run(ms(1));
    assert_eq!(world.post.sent.len(), 1);
    world.until(s(5), |w| !w.all_requests.is_empty());
    world.run(ms(100));
    assert_eq!(world.post.sent.len(), 2, "it failed, and the portal has been away for hours");
    // And so is the next, though the portal was out of reach over the one before.
    world.bearer(false);
    world.messages(false);
    world.run(3 * HOUR);
    world.modem.messages = true;
    let asked = world.all_requests.len();
    world.bearer(true);
    world.run(ms(1));
    assert_eq!(world.post.sent.len(), 2);
    world.until(s(5), |w| w.all_requests.len() > asked);
}

#[test]
fn what_came_by_message_is_asked_for_again_over_the_bearer_once_there_is_one() {
    let mut world = world(6);
    world.portal.window = s(900);
    world.until(s(200), |w| w.stored.is_some());
    world.bearer(true);
    world.until(s(5), |w| !w.stored.as_ref().unwrap().by_message);
    let stored = world.stored.clone().unwrap();
    // The portal keeps what is good: it is good once still, but it is known over a bearer.
    assert!(stored.one_time && stored.date.is_some());
    world.run(HOUR / 4);
    assert_eq!(world.all_requests.len(), 1);
    world.ap(1).signal = -50;
    world.until(s(30), |w| w.on_wifi);
    world.ap(1).signal = -94;
    world.until(s(30), |w| !w.on_wifi);
    world.until(s(30), |w| !w.stored.as_ref().unwrap().one_time);
    assert_eq!(world.post.sent.len(), 1);
}

#[test]
fn a_session_that_a_message_opened_is_not_ended_for_better_ones() {
    let mut world = world(7);
    world.ap(1).signal = -50;
    world.until(s(200), |w| w.on_wifi);
    world.bearer(true);
    world.run(s(600));
    assert!(world.on_wifi && world.all_requests.is_empty());
}

#[test]
fn an_answer_counts_only_from_the_number_asked_and_with_the_nonce_of_what_was_asked() {
    let mut world = world(8);
    world.post.mood = Post::Silent;
    world.message(NUMBER, &world.forged(None));
    world.until_sent(s(121));
    let nonce = last_nonce(&world);
    let mut octets = [0; 5];
    octets[4] = 1;
    for (from, text) in [
        ("+447700900998", world.forged(nonce)),
        ("evil", world.forged(nonce)),
        (NUMBER, world.forged(None)),
        (NUMBER, world.forged(Some(sms::Nonce::new(octets)))),
        (NUMBER, "HW1 R".to_owned()),
        (NUMBER, format!("HW2 A {}", nonce.unwrap())),
        (NUMBER, "your balance is 3.20".to_owned()),
        (NUMBER, String::new()),
    ] {
        world.message(from, &text);
        assert!(world.stored.is_none(), "{text}");
        assert!(world.m.status().portal.messages.unwrap().waits_ms.is_some(), "{text}: it ended");
    }
    assert_eq!(world.m.counters().messages_ignored, 9);
    assert_eq!(world.m.counters().message_failures, 0);
    // The number may be spelled otherwise.
    let request = world.requested();
    let answer = sms::with_nonce(world.answer_by_message(&request), nonce);
    world.message("447700900999", &answer);
    assert!(world.stored.is_some());
    // And it counts once.
    world.message(NUMBER, &world.forged(nonce));
    assert_eq!(world.m.counters().messages_ignored, 10);
}

#[test]
fn a_nonce_is_another_for_each_message_and_for_each_device() {
    let mut all = Vec::new();
    for seed in 0..20 {
        let mut world = world(seed);
        world.post.mood = Post::Silent;
        world.run(6 * HOUR);
        assert_eq!(world.post.sent.len(), 4);
        all.extend(world.post.sent.iter().map(|(_, text)| sms::nonce(text).unwrap().to_string()));
    }
    all.sort();
    all.dedup();
    assert_eq!(all.len(), 80);
}

#[test]
fn an_answer_that_does_not_come_is_waited_for_so_long_and_counts_when_it_comes_late() {
    let mut world = world(9);
    world.post.way = s(320);
    world.until_sent(s(121));
    // Its time began when the network had taken it, 2 s later.
    world.run(s(301));
    assert!(matches!(causes(&world)[..], [_, Cause::AskedByMessage { .. }]));
    world.run(s(2));
    let [_, Cause::ByMessage { trouble: Some(Trouble::Away), .. }] = causes(&world)[..] else {
        panic!("{:?}", causes(&world));
    };
    assert_eq!(world.m.state(), State::NoCellular);
    assert_eq!(world.m.counters().message_failures, 1);
    world.run(s(30));
    assert!(world.stored.is_some(), "it was paid for");
}

#[test]
fn an_answer_to_an_older_message_is_none() {
    let mut world = world(10);
    world.post.mood = Post::Silent;
    world.until_sent(s(121));
    let first = last_nonce(&world);
    world.until_sent(s(700));
    assert_ne!(last_nonce(&world), first);
    let request = world.requested();
    let answer = sms::with_nonce(world.answer_by_message(&request), first);
    world.message(NUMBER, &answer);
    assert!(world.stored.is_none());
}

#[test]
fn messages_become_rarer_and_a_day_has_so_many() {
    let mut world = world_with(|messages| messages.per_day = 100, None, 11);
    world.modem.messages = true;
    world.bearer(false);
    world.post.mood = Post::Silent;
    world.run(48 * HOUR);
    let at: Vec<_> = world.post.sent.iter().map(|(at, _)| *at).collect();
    let gaps: Vec<Duration> = at.windows(2).map(|two| two[1] - two[0]).collect();
    for (n, gap) in gaps.iter().enumerate() {
        let most = s(600 * 2u64.pow(n.min(10) as u32)).min(6 * HOUR);
        assert!((most / 2..=most).contains(gap), "{n}: {gap:?}");
    }
    assert!((10..20).contains(&gaps.len()), "{gaps:?}");

    let mut world = world_with(|messages| messages.retry_most = s(600), None, 11);
    world.modem.messages = true;
    world.bearer(false);
    world.post.mood = Post::Unsent;
    world.run(20 * HOUR);
    // Even what was not sent counts, for a part of it may have been.
    assert_eq!(world.post.sent.len(), 4);
    let [_, Cause::MessageBudget { sent: 4, wait_ms }] = causes(&world)[..] else {
        panic!("{:?}", causes(&world));
    };
    assert!(wait_ms <= 5 * 3_600_000);
    world.run(5 * HOUR);
    assert!(world.post.sent.len() > 4);
}

#[test]
fn what_was_sent_before_a_restart_counts() {
    let mut world = world_with(|_| {}, None, 12);
    world.modem.messages = true;
    world.bearer(false);
    world.post.mood = Post::Silent;
    let ages = [25 * HOUR, 24 * HOUR, 23 * HOUR, 2 * HOUR, HOUR, s(0)];
    let now = world.now;
    world.m.remember_messages(ages, now);
    world.drain();
    assert_eq!(world.m.status().portal.messages.unwrap().sent, 4);
    world.run(HOUR - s(1));
    assert_eq!(world.post.sent.len(), 0);
    world.run(s(1));
    assert_eq!(world.post.sent.len(), 1);
    world.run(20 * HOUR);
    assert_eq!(world.post.sent.len(), 1);
}

#[test]
fn what_a_message_brought_is_used_near_the_operator_s_networks_alone() {
    let mut world = world(13);
    world.ap(1).signal = -50;
    world.until(s(200), |w| w.on_wifi);
    world.ap(1).signal = -95;
    world.until(s(60), |w| !w.on_wifi);
    world.run(5 * HOUR);
    assert_eq!(world.post.sent.len(), 1, "nothing is heard that it would open");
    assert_eq!(causes(&world)[..], [Cause::Spent, Cause::NoBearer, Cause::Far]);
    world.ap(1).signal = -70;
    assert!(world.until_sent(s(30)) < s(15));
    world.ap(1).signal = -50;
    world.until(s(60), |w| w.on_wifi);
}

#[test]
fn one_message_follows_another_no_sooner_for_the_first_having_been_of_use() {
    let mut world = world_with(|messages| messages.per_day = 100, None, 14);
    world.modem.messages = true;
    world.bearer(false);
    for _ in 0..20 {
        world.ap(1).signal = -50;
        world.until(s(700), |w| w.on_wifi);
        world.ap(1).signal = -70;
        world.run(s(1));
        world.ap(1).signal = -95;
        world.until(s(60), |w| !w.on_wifi);
    }
    let at: Vec<_> = world.post.sent.iter().map(|(at, _)| *at).collect();
    // That they are apart is checked as they are sent; nor do they become rarer.
    assert!(at.windows(2).all(|two| two[1] - two[0] <= s(700)), "{at:?}");
}

#[test]
fn what_is_over_is_replaced_by_message_and_what_is_good_is_not() {
    let mut world = world_with(|_| {}, None, 15);
    world.modem.messages = true;
    world.portal.lifetime = Some(8 * HOUR);
    world.portal.window = 4 * HOUR;
    world.bearer(true);
    world.until(s(10), |w| w.stored.is_some());
    let end = world.stored.as_ref().unwrap().expires.unwrap();
    world.bearer(false);
    // Heard, and too weak to be used.
    world.ap(1).signal = -85;
    world.run(8 * HOUR - s(60));
    assert_eq!(world.post.sent.len(), 0, "it is to be renewed, but good");
    world.until_sent(s(120));
    assert!(world.truth() >= UnixTime(end.0));
    world.until(s(60), |w| w.stored.as_ref().is_some_and(|stored| stored.by_message));
}

#[test]
fn a_refused_log_on_is_answered_by_a_message() {
    let mut world = world_with(|_| {}, None, 16);
    // Which no message brings, and which is known of the credentials in hand.
    world.portal.policy.ca = Some(CA.to_owned());
    world.modem.messages = true;
    world.bearer(true);
    world.until(s(10), |w| w.stored.is_some());
    world.bearer(false);
    (world.ap(1).signal, world.ap(1).manner) = (-50, Manner::Rejects);
    world.until_sent(s(121));
    world.ap(1).manner = Manner::Welcomes;
    world.until(s(400), |w| w.on_wifi);
    assert_eq!(world.post.sent.len(), 1);
    let stored = world.stored.as_ref().unwrap();
    assert!(stored.by_message && stored.policy.ca.as_deref() == Some(CA));
}

#[test]
fn an_answer_for_another_sim_is_none_and_there_is_a_message_for_the_new_one() {
    let mut world = world(18);
    world.post.way = s(100);
    world.until_sent(s(121));
    world.modem.imsi = Some(imsi(2));
    world.tell_modem();
    world.run(s(200));
    assert!(world.stored.is_none());
    assert_eq!(world.m.counters().messages_ignored, 1);
    world.until(s(800), |w| w.stored.is_some());
    assert_eq!(world.stored.as_ref().unwrap().imsi, imsi(2));
}

#[test]
fn an_answer_over_the_bearer_puts_an_end_to_waiting() {
    let mut world = world(19);
    world.post.way = s(60);
    world.until_sent(s(121));
    world.bearer(true);
    world.until(s(5), |w| w.stored.is_some());
    let before = world.stored.clone();
    world.run(s(120));
    assert_eq!(world.m.counters().messages_ignored, 1);
    assert_eq!(world.stored, before);
}

#[test]
fn how_a_message_failed_is_said() {
    for (mood, trouble) in [
        (Post::Refuses, Trouble::Refused),
        (Post::Garbles, Trouble::Invalid),
        (Post::Unsent, Trouble::Unsent),
        (Post::Silent, Trouble::Away),
        (Post::Stuck, Trouble::Away),
    ] {
        let mut world = world(20);
        world.post.mood = mood;
        world.until_sent(s(121));
        world.run(s(303));
        let status = world.m.status().portal.messages.unwrap();
        assert_eq!((status.trouble, status.waits_ms), (Some(trouble), None), "{mood:?}");
        assert_eq!(world.m.counters().message_failures, 1, "{mood:?}");
        let told = |notice: &Notice| {
            matches!(notice, Notice::MessageFailed { failure, in_a_row: 1, retry_ms: Some(_) }
                if *failure == trouble)
        };
        assert!(world.log.iter().any(|(_, notice)| told(notice)), "{mood:?}");
        let reason = world.m.why().causes.pop().unwrap();
        assert!(matches!(reason.cause, Cause::ByMessage { .. }), "{reason:?}");
        assert!(!reason.what.is_empty() && !reason.change.is_empty());
    }
}

#[test]
fn credentials_that_are_over_when_they_come_do_not_help_and_are_not_asked_for_at_once() {
    let mut world = world(21);
    world.portal.lifetime = Some(s(1));
    world.ap(1).signal = -85;
    world.until_sent(s(121));
    world.until(s(60), |w| w.stored.is_some());
    assert_eq!(world.m.status().portal.messages.unwrap().trouble, Some(Trouble::Useless));
    world.run(s(60));
    assert_eq!(world.post.sent.len(), 1);
}

const BY_HAND: &str = "-----BEGIN CERTIFICATE-----\nhand\n-----END CERTIFICATE-----\n";
const CA: &str = "-----BEGIN CERTIFICATE-----\nx\n-----END CERTIFICATE-----\n";

#[test]
fn an_authority_that_a_message_cannot_bring_is_had_from_before_or_by_hand_or_nothing_is_used() {
    // Nobody knows it.
    let mut world = world(22);
    world.portal.policy.ca = Some(CA.to_owned());
    world.ap(1).signal = -50;
    world.until_sent(s(121));
    world.run(s(60));
    assert!(world.stored.is_none() && world.joins.is_empty());
    let error = world.m.status().portal.messages.unwrap().error.unwrap();
    assert!(error.contains("portal.sms.ca"), "{error}");

    // Somebody has set it up.
    let by_hand = |messages: &mut Messages| messages.ca = Some(BY_HAND.to_owned());
    let mut world = world_with(by_hand, None, 22);
    world.portal.policy.ca = Some(CA.to_owned());
    world.modem.messages = true;
    world.bearer(false);
    world.until(s(200), |w| w.stored.is_some());
    assert_eq!(world.stored.as_ref().unwrap().policy.ca.as_deref(), Some(BY_HAND));

    // The same policy came over a bearer before, and what it came with is over by the portal's time.
    let mut world = world_with(|_| {}, None, 22);
    world.portal.policy.ca = Some(CA.to_owned());
    world.portal.lifetime = Some(HOUR);
    world.modem.messages = true;
    world.bearer(true);
    world.until(s(10), |w| w.stored.is_some());
    world.bearer(false);
    world.until(2 * HOUR, |w| w.stored.is_none());
    world.until(s(200), |w| w.stored.is_some());
    assert_eq!(world.stored.as_ref().unwrap().policy.ca.as_deref(), Some(CA));
    // Another policy is another.
    world.until(2 * HOUR, |w| w.stored.is_none());
    world.portal.policy.server_name = "other.example.net".to_owned();
    let said = |w: &World| w.m.status().portal.messages.unwrap().error;
    world.until(4 * HOUR, |w| said(w).is_some());
    assert!(said(&world).unwrap().contains("portal.sms.ca") && world.stored.is_none());
}

#[test]
fn another_policy_without_an_authority_does_not_take_the_old_one_s() {
    let mut world = world_with(|messages| messages.ca = Some(BY_HAND.to_owned()), None, 23);
    world.modem.messages = true;
    world.bearer(false);
    world.until(s(200), |w| w.stored.is_some());
    assert_eq!(world.stored.as_ref().unwrap().policy.ca, None);
}

#[test]
fn the_words_of_a_message_name_station_and_subscriber_and_print_nowhere() {
    let mut world = world(24);
    world.until_sent(s(121));
    let (_, text) = &world.post.sent[0];
    let request = sms::decode_request(text).unwrap();
    assert_eq!((request.imsi, request.mac), (imsi(1), mac(100)));
    assert!(text.len() <= 160, "one segment");
    let printed = format!("{:?}", world.m);
    assert!(!printed.contains(imsi(1).as_str()));
    let nonce = last_nonce(&world).unwrap().to_string();
    assert!(!printed.contains(&nonce) && !printed.contains("key"), "{printed}");
}
