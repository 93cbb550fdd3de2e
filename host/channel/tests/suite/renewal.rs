//! A certificate is renewed in time, with a new key.

use std::fs;

use homeward_model::UnixTime;

use crate::world::{Core, DAY, Gateway, NOON, opened, soon};

fn key(gateway: &Gateway) -> String {
    let text = fs::read_to_string(gateway.directory.join("gateway.pem")).unwrap();
    text.split("-----END PRIVATE KEY-----").next().unwrap().to_owned()
}

#[tokio::test]
async fn a_certificate_is_renewed_when_two_thirds_are_over_and_not_before() {
    let core = Core::start().await;
    let gateway = core.enrolled(7).await;
    let first = gateway.client.credential().unwrap().unwrap();
    core.clock.set(NOON + 19 * DAY);
    assert_eq!(gateway.client.renew().await.unwrap(), first);
    let due = first.renew_at().0;
    assert!((NOON + 19 * DAY..NOON + 24 * DAY).contains(&due), "{due}");
    core.clock.set(due);
    let old_key = key(&gateway);
    let second = gateway.client.renew().await.unwrap();
    assert_ne!(second.facts().serial, first.facts().serial);
    assert!(second.facts().not_after.0 >= due + 30 * DAY - 1000);
    assert_ne!(key(&gateway), old_key, "the key was not changed");
    assert_eq!(gateway.client.credential().unwrap(), Some(second));
}

#[tokio::test]
async fn a_gateway_that_was_away_for_weeks_renews_first_and_then_connects() {
    let mut core = Core::start().await;
    let gateway = core.enrolled(7).await;
    let first = gateway.client.credential().unwrap().unwrap();
    core.clock.set(NOON + 60 * DAY);
    let (channel, _) =
        soon(async { tokio::join!(gateway.client.connect(), opened(&mut core.server)) }).await;
    channel.unwrap();
    assert_ne!(gateway.client.credential().unwrap(), Some(first));
}

#[tokio::test]
async fn renewal_goes_on_by_itself() {
    let mut core = Core::start().await;
    let gateway = core.enrolled(7).await;
    let first = gateway.client.credential().unwrap().unwrap();
    core.clock.set(first.renew_at().0);
    soon(async {
        tokio::select! {
            never = gateway.client.keep_renewed() => match never {},
            () = async {
                while gateway.client.credential().unwrap().as_ref() == Some(&first) {
                    tokio::task::yield_now().await;
                }
            } => {}
        }
    })
    .await;
    let (channel, _) =
        soon(async { tokio::join!(gateway.client.connect(), opened(&mut core.server)) }).await;
    channel.unwrap();
}

#[tokio::test]
async fn a_gateway_that_cannot_renew_uses_what_it_has_while_it_is_good() {
    let mut core = Core::start().await;
    let gateway = core.enrolled(7).await;
    let first = gateway.client.credential().unwrap().unwrap();
    core.clock.set(first.renew_at().0);
    core.desk.0.lock().unwrap().no_renewals = true;
    let (channel, _) =
        soon(async { tokio::join!(gateway.client.connect(), opened(&mut core.server)) }).await;
    channel.unwrap();
    core.clock.set(first.facts().not_after.0);
    assert!(gateway.client.connect().await.is_err());
}

#[tokio::test]
async fn the_cores_own_certificate_is_made_anew_in_time() {
    let core = Core::start().await;
    let token = core.token(7);
    core.desk.0.lock().unwrap().tokens.get_mut(&token.hash().0).unwrap().1 =
        UnixTime(NOON + 1000 * DAY);
    core.clock.set(NOON + 500 * DAY);
    Gateway::new(&core).client.enrol(&token).await.unwrap();
}
