//! Who is answered nothing.

use homeward_offload::wire::sms::{self, SmsReply};
use serde_json::json;

use crate::world::{IMSI, NUMBER, Smsc, World, text};

/// Has the SMSC deliver that, and waits until it is taken.
async fn taken(smsc: &mut Smsc, order: serde_json::Value) {
    smsc.order(order);
    assert_eq!(smsc.delivered().await.1, 0, "the SMSC need not keep it");
}

#[tokio::test]
async fn strangers_and_garbage_are_answered_nothing_and_kept_by_nobody() {
    let mut smsc = Smsc::start(0).await;
    let world = World::with(smsc.port, |config| config.requests_per_minute = 0).await;
    smsc.next("bound").await;
    world.subscriber("999700000000001", None).await;
    world.live("447700900999", "999700000000001");
    let asked = text(IMSI, 1);
    for (from, said, outcome) in [
        ("447700900555", asked.clone(), "other-sender"),
        ("447700900999", asked.clone(), "other-sim"),
        (NUMBER, text("999700000000002", 1), "other-sender"),
        (NUMBER, "hello, is this a taxi?".to_owned(), "invalid"),
        (NUMBER, asked.replace("HW1", "HW2"), "invalid"),
        // As the SMSC writes it in GSM 03.38, where it is 0.
        (NUMBER, format!("{asked} a@b"), "invalid"),
    ] {
        let before = world.answered(outcome);
        taken(&mut smsc, json!({ "do": "deliver", "from": from, "text": said })).await;
        assert_eq!(world.answered(outcome), before + 1, "{said}");
    }
    // A national number is somebody else's, letters are nobody's.
    for (from, ton) in [("7700900123", 2), ("Example", 5), (NUMBER, 0)] {
        let order = json!({ "do": "deliver", "from": from, "ton": ton, "text": asked });
        taken(&mut smsc, order).await;
    }
    // Cyrillic; and half a character of UCS2.
    for coding in [6, 8] {
        let text = format!("{asked}!");
        assert!(text.len() % 2 == 1);
        let order =
            json!({ "do": "deliver", "from": NUMBER, "coding": coding, "raw": true, "text": text });
        let before = world.answered("invalid");
        taken(&mut smsc, order).await;
        assert_eq!(world.answered("invalid"), before + 1);
    }
    let received = world.status()["received"].clone();
    assert_eq!(received["no-number"], 3, "{received}");
    world.until(|status| status["in_hand"] == 0).await;
    smsc.deliver(NUMBER, &asked);
    smsc.credentials().await;
    assert!(!smsc.has_been("submitted"), "only who asks rightly is answered");
}

#[tokio::test]
async fn a_number_may_ask_so_often_a_minute_and_another_as_often() {
    let mut smsc = Smsc::start(0).await;
    let world = World::with(smsc.port, |config| config.requests_per_minute = 2).await;
    smsc.next("bound").await;
    world.subscriber("999700000000001", Some("447700900999")).await;
    for n in 0..5 {
        taken(&mut smsc, json!({ "do": "deliver", "from": NUMBER, "text": text(IMSI, n) })).await;
    }
    assert_eq!((world.answered("issued"), world.answered("too-often")), (2, 3));
    // Garbage counts as well.
    for _ in 0..3 {
        taken(&mut smsc, json!({ "do": "deliver", "from": "447700900555", "text": "x" })).await;
    }
    assert_eq!((world.answered("invalid"), world.answered("too-often")), (2, 4));
    let other = text("999700000000001", 9);
    taken(&mut smsc, json!({ "do": "deliver", "from": "447700900999", "text": other })).await;
    assert_eq!(world.answered("issued"), 3);
    world.until(|status| status["in_hand"] == 0).await;

    let mut config = world.config.clone();
    config.requests_per_minute = 0;
    world.reloads.reload(&config).unwrap();
    taken(&mut smsc, json!({ "do": "deliver", "from": NUMBER, "text": text(IMSI, 8) })).await;
    assert_eq!(world.answered("issued"), 4);
}

#[tokio::test]
async fn a_reload_without_another_rate_gives_nobody_more() {
    let mut smsc = Smsc::start(0).await;
    let world = World::with(smsc.port, |config| config.requests_per_minute = 1).await;
    smsc.next("bound").await;
    taken(&mut smsc, json!({ "do": "deliver", "from": NUMBER, "text": text(IMSI, 1) })).await;
    world.reloads.reload(&world.config).unwrap();
    taken(&mut smsc, json!({ "do": "deliver", "from": NUMBER, "text": text(IMSI, 2) })).await;
    assert_eq!((world.answered("issued"), world.answered("too-often")), (1, 1));
}

#[tokio::test]
async fn where_refusals_are_sent_only_numbers_with_a_live_bearer_get_them() {
    let mut smsc = Smsc::start(0).await;
    let world = World::with(smsc.port, |config| config.refusals = true).await;
    smsc.next("bound").await;
    world.live("447700900999", "999700000000001");
    let asked = text("999700000000001", 1);
    taken(&mut smsc, json!({ "do": "deliver", "from": "447700900555", "text": asked })).await;
    taken(&mut smsc, json!({ "do": "deliver", "from": "447700900999", "text": "garbage" })).await;
    smsc.deliver("447700900999", &asked);
    let said = smsc.next("submitted").await;
    assert_eq!(said["to"], "447700900999");
    assert_eq!(sms::decode_reply(said["text"].as_str().unwrap()), Ok(SmsReply::Refused));
    assert_eq!(world.answered("no-subscriber"), 1);
    assert!(!smsc.has_been("submitted"));
}
