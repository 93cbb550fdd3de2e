//! What a device is given that has messages alone.

use homeward_model::{Uses, WlanNetwork};
use homeward_offload::wire::sms;
use serde_json::json;

use crate::world::{IMSI, NUMBER, Smsc, World, request, text};

#[tokio::test]
async fn a_device_with_messages_alone_is_given_what_is_good_once_and_for_an_hour() {
    let mut smsc = Smsc::start(0).await;
    let world = World::new(&mut smsc).await;
    smsc.order(json!({ "do": "set", "receipts": true }));
    smsc.deliver(NUMBER, &text(IMSI, 1));
    assert_eq!(smsc.delivered().await.1, 0);
    let segment = smsc.segments().await.remove(0);
    assert_eq!((&segment["from"], &segment["from_ton"]), (&json!("4444"), &json!(0)));
    assert_eq!((&segment["to"], &segment["to_ton"]), (&json!(NUMBER), &json!(1)));
    assert_eq!(segment["coding"], 0);
    let valid = segment["valid_ms"].as_i64().unwrap();
    assert!((3_000_000..=3_600_000).contains(&valid), "{valid} ms");
    let Ok(sms::SmsReply::Credentials(said)) = sms::decode_reply(segment["text"].as_str().unwrap())
    else {
        panic!("{segment}");
    };
    let given = said.answer;
    assert!(given.one_time && given.policy.networks[0].ssid.as_str() == Some("Town"));
    let login = world.store.login_named(&given.username).await.unwrap().unwrap();
    assert_eq!((login.uses, login.mac), (Uses::Once, Some(request(IMSI, 1).mac)));
    let issued = world.store.issued_to(IMSI.parse().unwrap()).await.unwrap().unwrap();
    assert_eq!(login.expires.unwrap().0, issued.issued.0 + 3_600_000);
    assert_eq!(issued.address, None);
    assert_eq!(smsc.next("receipted").await["status"], 0, "it need not come again");
    world.until(|status| status["received"]["receipt"] == 1).await;
    assert_eq!(world.status()["answers"], json!({ "sent": 1 }));
    let metrics = world.metrics.text();
    assert!(metrics.contains("smsc_receipts_total{outcome=\"delivered\"} 1"), "{metrics}");
    assert!(metrics.contains("portal_sms_answers_total{outcome=\"sent\"} 1"), "{metrics}");
}

#[tokio::test]
async fn an_answer_has_the_nonce_of_its_request_and_none_where_that_had_none() {
    let mut smsc = Smsc::start(0).await;
    let world = World::with(smsc.port, |config| config.refusals = true).await;
    smsc.next("bound").await;
    world.live("447700900999", "999700000000001");
    let nonce = sms::Nonce::new([1, 2, 3, 4, 5]);
    for (from, imsi) in [(NUMBER, IMSI), ("447700900999", "999700000000001")] {
        for nonce in [Some(nonce), None] {
            world.until(|status| status["in_hand"] == 0).await;
            smsc.deliver(from, &sms::with_nonce(text(imsi, 1).into(), nonce));
            assert_eq!(sms::nonce(&smsc.text().await), nonce, "{from}");
        }
    }
}

#[tokio::test]
async fn who_asks_again_is_given_the_same_until_it_is_spent() {
    let mut smsc = Smsc::start(0).await;
    let world = World::new(&mut smsc).await;
    smsc.deliver(NUMBER, &text(IMSI, 1));
    let first = smsc.credentials().await;
    world.until(|status| status["in_hand"] == 0).await;
    smsc.deliver(NUMBER, &text(IMSI, 1));
    assert_eq!(smsc.credentials().await, first);
    let login = world.store.login_named(&first.username).await.unwrap().unwrap();
    assert!(world.store.spend_login(login.id).await.unwrap());
    world.until(|status| status["in_hand"] == 0).await;
    smsc.deliver(NUMBER, &text(IMSI, 1));
    assert_ne!(smsc.credentials().await.username, first.username);
}

#[tokio::test]
async fn a_long_answer_comes_in_segments_and_is_the_same_in_every_alphabet() {
    let mut smsc = Smsc::start(0).await;
    let world = World::new(&mut smsc).await;
    let network =
        |ssid: &str| WlanNetwork { ssid: ssid.parse().unwrap(), metered: true, join: None };
    world
        .policy(|policy| {
            policy.wlan.networks = vec![network("Town_@_Hall"), network("Straße {1}")];
            policy.wlan.anonymous = Some("anonymous@wlan.example.net".parse().unwrap());
        })
        .await;
    smsc.deliver(NUMBER, &text(IMSI, 1));
    let segments = smsc.segments().await;
    assert!(segments.len() >= 2, "{segments:?}");
    let references: Vec<_> = segments.iter().map(|segment| &segment["udh"][0][2]).collect();
    assert!(references.iter().all(|reference| *reference == references[0]));
    // The SMSC has read it as GSM 03.38, in which `@` and `_` are 0 and 0x11.
    let read: String = segments.iter().map(|s| s["text"].as_str().unwrap()).collect();
    assert!(read.is_ascii() && !read.contains(['@', '_', '{']), "{read}");
    let Ok(sms::SmsReply::Credentials(said)) = sms::decode_reply(&read) else { panic!("{read}") };
    let names: Vec<_> = said.answer.policy.networks.iter().map(|n| n.ssid).collect();
    assert_eq!(names, ["Town_@_Hall".parse().unwrap(), "Straße {1}".parse().unwrap()]);
    assert_eq!(said.answer.username.realm(), Some("wlan.example.net"));
    assert_eq!(world.answered("issued"), 1);
}

#[tokio::test]
async fn an_answer_of_more_segments_than_may_be_is_not_sent() {
    let mut smsc = Smsc::start(0).await;
    let world = World::with(smsc.port, |config| config.answer_segments = 1).await;
    smsc.next("bound").await;
    world
        .policy(|policy| policy.wlan.server_name = format!("{}.example.net", "a".repeat(60)))
        .await;
    smsc.deliver(NUMBER, &text(IMSI, 1));
    assert_eq!(smsc.delivered().await.1, 0);
    world.until(|status| status["answers"]["too-long"] == 1).await;
    assert!(!smsc.has_been("submitted"));
}

#[tokio::test]
async fn a_long_request_is_understood_in_every_way_that_it_may_come() {
    let mut smsc = Smsc::start(0).await;
    let world = World::with(smsc.port, |config| config.requests_per_minute = 0).await;
    smsc.next("bound").await;
    let mut asked = request(IMSI, 1);
    let (a, b) = ("a".repeat(50), "b".repeat(50));
    asked.previous = Some(format!("old_name@{a}.{b}.example.net").parse().unwrap());
    let text = sms::encode_request(&asked).to_string();
    assert!(text.len() > 140, "{} characters", text.len());
    let mut count = 0;
    // GSM 03.38, IA5, Latin-1; UCS2 of 67 characters a segment.
    for (coding, size) in [(0, 100), (1, 100), (3, 100), (8, 67)] {
        for way in ["header", "sar", "payload"] {
            for backwards in [false, true] {
                count += 1;
                smsc.order(json!({
                    "do": "deliver", "from": NUMBER, "text": text, "coding": coding, "way": way,
                    "size": size, "reference": count, "backwards": backwards,
                }));
                let given = smsc.credentials().await;
                assert!(given.one_time, "{coding} {way}");
                world.until(|status| status["in_hand"] == 0).await;
            }
        }
    }
    assert_eq!((world.answered("issued"), world.answered("kept")), (1, count - 1));
    assert_eq!(world.status()["unfinished"], 0);
}

#[tokio::test]
async fn a_number_with_a_live_bearer_is_its_sims() {
    let mut smsc = Smsc::start(0).await;
    let world = World::new(&mut smsc).await;
    world.subscriber("999700000000001", None).await;
    world.live("447700900999", "999700000000001");
    smsc.deliver("447700900999", &text("999700000000001", 7));
    assert!(smsc.credentials().await.one_time);
    assert_eq!(world.answered("issued"), 1);
}

#[tokio::test]
async fn answers_come_from_the_address_that_is_ours_and_else_from_where_the_request_went() {
    for (own, from) in [(Some("5555"), "5555"), (None, "4444")] {
        let mut smsc = Smsc::start(0).await;
        let _world = World::with(smsc.port, |config| config.address = own.map(str::to_owned)).await;
        smsc.next("bound").await;
        smsc.deliver(NUMBER, &text(IMSI, 1));
        assert_eq!(smsc.segments().await[0]["from"], from);
    }
}
