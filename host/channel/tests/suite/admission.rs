//! Which certificates are let in.

use homeward_channel::Refusal;

use crate::world::{Core, DAY, NOON, opened, soon};

#[tokio::test]
async fn a_gateway_that_the_datastore_refuses_gets_no_channel_and_is_told_why() {
    let core = Core::start().await;
    let gateway = core.enrolled(7).await;
    for refusal in [Refusal::Revoked, Refusal::Suspended, Refusal::Superseded] {
        core.refuse(7, refusal);
        let error = gateway.client.connect().await.err().unwrap();
        assert_eq!(error.refusal(), Some(refusal), "{error}");
        assert!(error.to_string().contains(refusal.repair()), "{error}");
    }
}

#[tokio::test]
async fn a_certificate_of_another_authority_is_refused_in_the_handshake() {
    let (core, other) = (Core::start().await, Core::start().await);
    let gateway = other.enrolled(7).await;
    let error = homeward_channel::testing::channel_with(
        core.address(),
        &gateway.client.credential().unwrap().unwrap(),
        core.authority.pin(),
    )
    .await
    .unwrap_err();
    assert_eq!(error.refusal(), Some(Refusal::Certificate), "{error}");
}

#[tokio::test]
async fn a_call_without_a_certificate_is_refused() {
    let core = Core::start().await;
    let error =
        homeward_channel::testing::channel_without(core.address(), core.authority.pin()).await;
    assert_eq!(error.unwrap_err().refusal(), Some(Refusal::NoCertificate));
}

#[tokio::test]
async fn an_expired_certificate_opens_no_channel() {
    let core = Core::start().await;
    let gateway = core.enrolled(7).await;
    core.clock.set(NOON + 31 * DAY);
    let credential = gateway.client.credential().unwrap().unwrap();
    let error =
        homeward_channel::testing::channel_with(core.address(), &credential, core.authority.pin())
            .await
            .unwrap_err();
    assert_eq!(error.refusal(), Some(Refusal::Expired), "{error}");
}

#[tokio::test]
async fn a_certificate_that_expired_long_ago_cannot_even_be_renewed() {
    let core = Core::start().await;
    let gateway = core.enrolled(7).await;
    core.clock.set(NOON + 300 * DAY);
    let error = gateway.client.connect().await.err().unwrap();
    assert_eq!(error.refusal(), Some(Refusal::Lapsed), "{error}");
}

#[tokio::test]
async fn a_connection_that_was_admitted_is_asked_about_once_more_on_each_call() {
    let mut core = Core::start().await;
    let gateway = core.enrolled(7).await;
    let (channel, _open) =
        soon(async { tokio::join!(gateway.client.connect(), opened(&mut core.server)) }).await;
    let _channel = channel.unwrap();
    core.refuse(7, Refusal::Revoked);
    core.clock.set(NOON + 25 * DAY);
    let error = gateway.client.renew().await.unwrap_err();
    assert_eq!(error.refusal(), Some(Refusal::Revoked), "{error}");
}
