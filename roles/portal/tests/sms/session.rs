//! An SMSC that is away, throttles, forgets, and comes again.

use homeward_daemon::SecretSource;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use serde_json::json;
use tempfile::TempDir;

use crate::world::{IMSI, NUMBER, PASSWORD, Smsc, World, secret, text};

/// ESME_RX_T_APPN: later.
const LATER: u64 = 0x64;
/// ESME_RMSGQFUL: there are too many.
const FULL: u64 = 0x14;

#[tokio::test]
async fn an_smsc_that_is_away_at_the_start_is_bound_to_when_it_comes() {
    let gone = Smsc::start(0).await;
    let port = gone.port;
    drop(gone);
    let world = World::with(port, |_| {}).await;
    world.until(|status| status["trouble"].is_string()).await;
    assert_eq!(world.status()["bound"], false);
    let mut smsc = Smsc::start(port).await;
    smsc.next("bound").await;
    smsc.deliver(NUMBER, &text(IMSI, 1));
    smsc.credentials().await;
    assert_eq!(
        (&world.status()["bound"], &world.status()["trouble"]),
        (&json!(true), &json!(null))
    );
}

#[tokio::test]
async fn a_wrong_password_is_said_to_be_one_and_another_is_tried_with_a_reload() {
    let mut smsc = Smsc::start(0).await;
    let world = World::with(smsc.port, |config| {
        let Some(SecretSource::File(file)) = &config.password else { panic!() };
        std::fs::write(file, "wrong").unwrap();
        config.pause = homeward_daemon::Period(std::time::Duration::from_secs(3000));
        config.longest_pause = config.pause;
    })
    .await;
    smsc.next("refused").await;
    world.until(|status| status["trouble"].is_string()).await;
    let trouble = world.status()["trouble"].as_str().unwrap().to_owned();
    assert!(trouble.contains("wrong password"), "{trouble}");
    assert!(!trouble.contains("wrong ") || !trouble.contains(PASSWORD));
    secret(world.folder.path(), PASSWORD);
    world.reloads.reload(&world.config).unwrap();
    smsc.next("bound").await;
}

#[tokio::test]
async fn a_throttled_answer_is_sent_when_the_smsc_takes_it_and_a_refused_one_is_not() {
    let mut smsc = Smsc::start(0).await;
    let world = World::new(&mut smsc).await;
    smsc.order(json!({ "do": "set", "throttle": 3 }));
    smsc.deliver(NUMBER, &text(IMSI, 1));
    assert_eq!(smsc.delivered().await.1, 0, "what is durable is the SMSC's to forget");
    for _ in 0..3 {
        smsc.next("throttled").await;
    }
    smsc.credentials().await;
    world.until(|status| status["answers"]["sent"] == 1).await;
    smsc.order(json!({ "do": "set", "refuse": 1 }));
    smsc.deliver(NUMBER, &text(IMSI, 2));
    smsc.next("refused").await;
    world.until(|status| status["answers"]["refused"] == 1).await;
    assert!(!smsc.has_been("submitted"));
    assert_eq!(world.status()["in_hand"], 0);
}

#[tokio::test]
async fn an_answer_that_was_under_way_when_the_smsc_died_comes_when_it_is_back() {
    let mut smsc = Smsc::start(0).await;
    let world = World::new(&mut smsc).await;
    smsc.order(json!({ "do": "set", "lose": 1 }));
    smsc.deliver(NUMBER, &text(IMSI, 1));
    smsc.next("lost").await;
    let port = smsc.port;
    drop(smsc);
    let mut smsc = Smsc::start(port).await;
    smsc.next("bound").await;
    let given = smsc.credentials().await;
    assert!(world.store.login_named(&given.username).await.unwrap().is_some());
    assert_eq!(world.answered("issued"), 1);
}

#[tokio::test]
async fn a_request_is_taken_only_once_its_credentials_are_durable() {
    let mut smsc = Smsc::start(0).await;
    let mut world = World::held(smsc.port, |_| {}).await;
    smsc.next("bound").await;
    let asked = text(IMSI, 1);
    smsc.deliver(NUMBER, &asked);
    smsc.next("delivering").await;
    world.until(|status| status["in_hand"] == 1).await;
    // What needs nothing durable goes past it.
    smsc.deliver("447700900555", "garbage");
    assert_eq!(smsc.delivered().await.0, "garbage");
    assert!(!smsc.has_been("delivered") && !smsc.has_been("submitted"));
    world.issue();
    assert_eq!(smsc.delivered().await, (asked, 0));
    smsc.credentials().await;
}

#[tokio::test]
async fn a_request_that_comes_again_before_it_is_answered_is_answered_once() {
    let mut smsc = Smsc::start(0).await;
    let mut world = World::held(smsc.port, |_| {}).await;
    smsc.next("bound").await;
    let asked = text(IMSI, 1);
    smsc.deliver(NUMBER, &asked);
    world.until(|status| status["in_hand"] == 1).await;
    // It hears no answer, and delivers again when there is a session.
    smsc.order(json!({ "do": "drop" }));
    smsc.next("bound").await;
    smsc.deliver(NUMBER, &asked);
    world.until(|status| status["received"]["repeated"] == 1).await;
    world.issue();
    assert_eq!(smsc.delivered().await, (asked, 0));
    let given = smsc.credentials().await;
    world.until(|status| status["in_hand"] == 0).await;
    assert!(!smsc.has_been("submitted"));
    assert_eq!((world.answered("issued"), world.answered("kept")), (1, 0));
    assert!(world.store.login_named(&given.username).await.unwrap().is_some());
}

#[tokio::test]
async fn as_many_requests_are_in_hand_as_may_be_and_the_smsc_keeps_the_others() {
    let mut smsc = Smsc::start(0).await;
    let mut world = World::held(smsc.port, |config| config.queue = 1).await;
    smsc.next("bound").await;
    let asked = text(IMSI, 1);
    smsc.deliver(NUMBER, &asked);
    world.until(|status| status["in_hand"] == 1).await;
    // What would be answered at once.
    smsc.deliver("447700900555", "garbage");
    assert_eq!(smsc.delivered().await, ("garbage".to_owned(), FULL));
    assert_eq!(world.answered("invalid"), 0);
    world.issue();
    assert_eq!(smsc.delivered().await, (asked, 0));
    world.until(|status| status["in_hand"] == 0).await;
    smsc.deliver("447700900555", "garbage");
    assert_eq!(smsc.delivered().await, ("garbage".to_owned(), 0));
}

#[tokio::test]
async fn a_request_whose_rest_never_comes_is_forgotten() {
    let mut smsc = Smsc::start(0).await;
    let second = homeward_daemon::Period(std::time::Duration::from_secs(1));
    let world = World::with(smsc.port, |config| config.segments_timeout = second).await;
    smsc.next("bound").await;
    smsc.order(json!({
        "do": "deliver", "from": NUMBER, "text": text(IMSI, 1), "way": "header", "size": 30,
        "reference": 9, "only": 0,
    }));
    world.until(|status| status["unfinished"] == 1).await;
    world.until(|status| status["unfinished"] == 0).await;
    let metrics = world.metrics.text();
    assert!(metrics.contains("portal_sms_received_total{outcome=\"unfinished\"} 1"), "{metrics}");
}

#[tokio::test]
async fn what_cannot_be_issued_the_smsc_is_to_deliver_later_and_by_its_last_segment() {
    let mut smsc = Smsc::start(0).await;
    let mut world = World::held(smsc.port, |_| {}).await;
    smsc.next("bound").await;
    world.fail();
    smsc.deliver(NUMBER, &text(IMSI, 1));
    assert_eq!(smsc.delivered().await.1, LATER);
    let mut order = json!({
        "do": "deliver", "from": NUMBER, "text": text(IMSI, 1), "way": "header", "size": 30,
        "reference": 9,
    });
    smsc.order(order.clone());
    assert_eq!([smsc.delivered().await.1, smsc.delivered().await.1], [0, LATER]);
    // The segment that was not taken, and it alone.
    order["only"] = json!(1);
    smsc.order(order);
    assert_eq!(smsc.delivered().await.1, LATER);
    assert_eq!(world.status()["received"]["again"], 1);
    assert_eq!(world.answered("failed"), 3);
    assert!(!smsc.has_been("submitted"));
}

#[tokio::test]
async fn who_stops_answers_what_is_in_hand_and_unbinds() {
    let mut smsc = Smsc::start(0).await;
    let mut world = World::held(smsc.port, |_| {}).await;
    smsc.next("bound").await;
    smsc.deliver(NUMBER, &text(IMSI, 1));
    world.until(|status| status["in_hand"] == 1).await;
    world.shutdown.trigger();
    // What comes now is for another portal, or for later.
    smsc.deliver("447700900555", "garbage");
    assert_eq!(smsc.delivered().await, ("garbage".to_owned(), LATER));
    world.issue();
    assert_eq!(smsc.delivered().await.1, 0);
    smsc.credentials().await;
    smsc.next("unbound").await;
    world.running.await.unwrap();
}

#[tokio::test]
async fn a_session_is_by_tls_where_an_authority_is_named() {
    let folder = TempDir::new().unwrap();
    let at = |name: &str| folder.path().join(name);
    let mut params = CertificateParams::new([]).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    std::fs::write(at("ca.pem"), issuer.pem()).unwrap();
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new(["smsc.example.net".to_owned()]).unwrap();
    let certificate = certificate.signed_by(&key, &issuer).unwrap();
    std::fs::write(at("smsc.pem"), certificate.pem()).unwrap();
    std::fs::write(at("smsc.key"), key.serialize_pem()).unwrap();
    let mut smsc = Smsc::with_tls(&at("smsc.pem"), &at("smsc.key")).await;

    // The address is no name of its certificate.
    let world = World::with(smsc.port, |config| config.ca = Some(at("ca.pem"))).await;
    smsc.next("tls-failed").await;
    world.until(|status| status["trouble"].as_str().is_some_and(|t| t.contains("no TLS"))).await;
    let mut config = world.config.clone();
    config.tls_name = Some("smsc.example.net".to_owned());
    world.reloads.reload(&config).unwrap();
    smsc.next("bound").await;
    smsc.deliver(NUMBER, &text(IMSI, 1));
    smsc.credentials().await;
}
