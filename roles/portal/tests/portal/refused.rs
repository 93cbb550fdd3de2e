//! Who is refused, and that nobody can tell why.

use homeward_daemon::metrics::subscriber_labels;
use homeward_model::{Status, SubscriberId};
use homeward_store::{AccountChange, SubscriberChange};

use crate::world::{ADDRESS, IMSI, OTHER, Said, World, request};

/// Status, headers and octets.
fn all_of(said: &Said) -> (u16, String, String) {
    (said.status, format!("{:?}", said.headers), said.text())
}

#[tokio::test]
async fn whatever_is_refused_is_refused_in_the_same_octets() {
    let world = World::with_subscriber().await;
    world.subscriber(OTHER).await;
    world.bearers.live("10.1.0.8", "999700000000001", None);
    let mut with_imei = request(IMSI, 1);
    with_imei.imei = Some("356938035643809".parse().unwrap());
    world.bearers.live("10.1.0.9", IMSI, None);
    world.bearers.with_imei("10.1.0.9", "356938035643819");
    let mut said = Vec::new();
    for (from, asked, reason) in [
        ("10.9.9.9", request(IMSI, 1), "no-bearer"),
        (ADDRESS, request(OTHER, 1), "other-sim"),
        (ADDRESS, request("999700000000002", 1), "other-sim"),
        ("10.1.0.8", request("999700000000001", 1), "no-subscriber"),
        ("10.1.0.8", request(IMSI, 1), "other-sim"),
        ("10.1.0.9", with_imei, "other-equipment"),
    ] {
        let before = world.counted(reason);
        said.push(all_of(&world.ask(from, &asked).await));
        assert_eq!(world.counted(reason), before + 1, "{reason}");
    }
    world.bearers.ends(ADDRESS);
    said.push(all_of(&world.ask(ADDRESS, &request(IMSI, 1)).await));
    assert_eq!(world.counted("no-bearer"), 2, "it ended a moment ago");
    world.bearers.live(ADDRESS, IMSI, None);
    let subscriber = world.store.require_subscriber(IMSI.parse().unwrap()).await.unwrap().id;
    status(&world, subscriber, Status::Suspended).await;
    said.push(all_of(&world.ask(ADDRESS, &request(IMSI, 1)).await));
    assert_eq!(world.counted("subscriber-suspended"), 1);
    status(&world, subscriber, Status::Active).await;
    let change = AccountChange { status: Some(Status::Suspended), ..Default::default() };
    world.store.update_account(world.account, &change).await.unwrap();
    said.push(all_of(&world.ask(ADDRESS, &request(IMSI, 1)).await));
    assert_eq!(world.counted("account-suspended"), 1);
    let change = AccountChange { status: Some(Status::Active), ..Default::default() };
    world.store.update_account(world.account, &change).await.unwrap();
    world.store.clear_policy(homeward_model::PolicyScope::Default).await.unwrap();
    said.push(all_of(&world.ask(ADDRESS, &request(IMSI, 1)).await));
    assert_eq!(world.counted("no-policy"), 1);
    said.dedup();
    assert_eq!(said.len(), 1, "{said:#?}");
    assert_eq!(said[0].0, 403);
    assert_eq!(world.counted("issued"), 0);
}

async fn status(world: &World, id: SubscriberId, status: Status) {
    let change = SubscriberChange { status: Some(status), ..Default::default() };
    world.store.update_subscriber(id, &change).await.unwrap();
}

#[tokio::test]
async fn a_thousand_guesses_from_a_live_bearer_tell_nothing() {
    let world = World::with_subscriber().await;
    for n in 0..100 {
        world.subscriber(&format!("99970{n:010}")).await;
    }
    let mut said = Vec::new();
    for n in 0..1000 {
        let asked = request(&format!("99970{n:010}"), 1);
        said.push(all_of(&world.ask(ADDRESS, &asked).await));
    }
    said.dedup();
    assert_eq!(said.len(), 1, "{said:#?}");
    assert_eq!((world.counted("other-sim"), world.counted("issued")), (1000, 0));
}

#[tokio::test]
async fn a_bearer_that_asks_too_often_has_to_wait_and_others_do_not() {
    let world = World::start_with(None, 5).await;
    world.subscriber(IMSI).await;
    world.subscriber(OTHER).await;
    world.bearers.live("10.1.0.8", OTHER, None);
    // Another address of the same subscriber counts as well.
    world.bearers.live("10.1.0.9", IMSI, None);
    for from in [ADDRESS, "10.1.0.9", ADDRESS, ADDRESS, ADDRESS] {
        assert_eq!(world.ask(from, &request(IMSI, 1)).await.status, 200);
    }
    for from in [ADDRESS, "10.1.0.9"] {
        let said = world.ask(from, &request(IMSI, 1)).await;
        assert_eq!((said.status, said.headers.contains_key("retry-after")), (429, true));
    }
    assert_eq!(world.ask("10.1.0.8", &request(OTHER, 2)).await.status, 200);
    assert_eq!(world.counted("too-often"), 2);
    // Documents are no requests.
    assert_eq!(world.send(ADDRESS, "GET /healthz", &[], b"").await.status, 200);
}

#[tokio::test]
async fn metrics_name_nobody() {
    let world = World::with_subscriber().await;
    world.ask(ADDRESS, &request(IMSI, 1)).await;
    world.ask(ADDRESS, &request(OTHER, 1)).await;
    let text = world.metrics.text();
    assert!(
        text.contains("homeward_portal_answered_total{transport=\"json\",outcome=\"issued\"} 1"),
        "{text}"
    );
    assert!(text.contains("outcome=\"other-sim\"} 1"), "{text}");
    assert_eq!(subscriber_labels(&text), Vec::<&str>::new());
    assert!(!text.contains("99970"), "{text}");
}
