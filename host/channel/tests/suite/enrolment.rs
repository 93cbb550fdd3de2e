//! A token is good once, for a while, and for one core only.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::sync::atomic::Ordering;

use homeward_channel::{
    ChannelConfig, Client, ClientSettings, Credential, Error, Refusal, ServerSettings, Token,
};
use homeward_daemon::SystemEntropy;
use homeward_model::GatewayId;

use crate::world::{Core, DAY, Gateway, NOON, WallClock, authority, opened, soon};

#[tokio::test]
async fn a_token_becomes_a_credential_that_opens_a_channel() {
    let mut core = Core::start().await;
    let gateway = Gateway::new(&core);
    let credential = gateway.client.enrol(&core.token(7)).await.unwrap();
    assert_eq!((credential.name(), credential.facts().gateway), ("gw-7", GatewayId(7)));
    assert_eq!(Credential::load(&gateway.directory).unwrap(), Some(credential));

    let (channel, (_handle, id)) =
        soon(async { tokio::join!(gateway.client.connect(), opened(&mut core.server)) }).await;
    assert_eq!((id, channel.unwrap().core), (GatewayId(7), core.address()));
}

#[tokio::test]
async fn the_credential_is_the_gateways_alone() {
    let core = Core::start().await;
    let gateway = core.enrolled(7).await;
    let mode = |path: &std::path::Path| fs::metadata(path).unwrap().mode() & 0o7777;
    assert_eq!(mode(&gateway.directory), 0o700);
    assert_eq!(mode(&gateway.directory.join("gateway.pem")), 0o600);
    assert_eq!(fs::read_dir(&gateway.directory).unwrap().count(), 1);
}

#[tokio::test]
async fn a_token_is_good_once() {
    let core = Core::start().await;
    let token = core.token(7);
    Gateway::new(&core).client.enrol(&token).await.unwrap();
    let second = Gateway::new(&core);
    let error = second.client.enrol(&token).await.unwrap_err();
    assert_eq!(error.refusal(), Some(Refusal::TokenUsed), "{error}");
    assert_eq!(Credential::load(&second.directory).unwrap(), None);
}

#[tokio::test]
async fn a_token_runs_out() {
    let core = Core::start().await;
    let token = core.token(7);
    core.clock.set(NOON + DAY);
    let error = Gateway::new(&core).client.enrol(&token).await.unwrap_err();
    assert_eq!(error.refusal(), Some(Refusal::TokenExpired), "{error}");
}

#[tokio::test]
async fn a_forged_token_is_refused() {
    let core = Core::start().await;
    core.token(7);
    let forged = Token::generate(core.authority.pin(), &mut SystemEntropy::new());
    let error = Gateway::new(&core).client.enrol(&forged).await.unwrap_err();
    assert_eq!(error.refusal(), Some(Refusal::TokenUnknown), "{error}");
}

#[tokio::test]
async fn a_man_in_the_middle_is_not_told_the_token() {
    let core = Core::start().await;
    let token = core.token(7);
    // Same names, same kind of certificate, another key.
    let middle = Core::of(ServerSettings::default(), authority(), WallClock::at(NOON)).await;
    let gateway = Gateway::at(&[middle.address()], ClientSettings::default(), WallClock::at(NOON));
    let error = gateway.client.enrol(&token).await.unwrap_err();
    assert!(matches!(error, Error::NotOurCore { .. }), "{error}");
    assert!(error.to_string().contains("somebody in the middle"), "{error}");
    // The token is as good as before.
    Gateway::new(&core).client.enrol(&token).await.unwrap();
}

#[tokio::test]
async fn a_core_of_another_operator_gets_no_channel() {
    let core = Core::start().await;
    let gateway = core.enrolled(7).await;
    let other = Core::start().await;
    let error = gateway.client_of(&other).connect().await.err().unwrap();
    assert!(matches!(error, Error::NotOurCore { .. }), "{error}");
}

#[tokio::test]
async fn a_gateway_whose_clock_is_wrong_is_told_so() {
    let core = Core::start().await;
    for (wrong, word) in [(0, "begins"), (NOON + 3650 * DAY, "ended")] {
        let clock = WallClock::at(wrong);
        let gateway = Gateway::at(&[core.address()], ClientSettings::default(), clock);
        let token = core.token(7);
        let error = gateway.client.enrol(&token).await.unwrap_err();
        assert!(matches!(error, Error::Clock { .. }), "{error}");
        let text = error.to_string();
        assert!(text.contains(word) && text.contains("set the clock"), "{text}");
        // And the token is still good.
        gateway.clock.set(NOON);
        gateway.client.enrol(&token).await.unwrap();
        gateway.clock.set(wrong);
        let error = gateway.client.connect().await.err().unwrap();
        assert!(matches!(error, Error::Clock { .. }), "{error}");
    }
}

#[tokio::test]
async fn what_is_no_signing_request_does_not_use_the_token_up() {
    let core = Core::start().await;
    let token = core.token(7);
    let error = homeward_channel::testing::enrol_with(core.address(), &token, vec![7; 300]).await;
    assert_eq!(error.unwrap_err().refusal(), Some(Refusal::BadRequest));
    Gateway::new(&core).client.enrol(&token).await.unwrap();
}

#[tokio::test]
async fn a_configured_gateway_enrols_by_itself_and_only_once() {
    let core = Core::start().await;
    let gateway = Gateway::new(&core);
    let mut config = ChannelConfig {
        core: vec![core.address().to_string()],
        directory: gateway.directory.clone(),
        ..ChannelConfig::default()
    };
    let error = Client::start(&config, core.clock.clone()).await.err().unwrap();
    assert!(matches!(error, Error::NotEnrolled(_)), "{error}");

    let file = gateway.directory.join("token");
    homeward_daemon::private::directory(&gateway.directory).unwrap();
    homeward_daemon::private::write(&file, core.token(7).expose().as_bytes()).unwrap();
    config.token_file = Some(file);
    let first = Client::start(&config, core.clock.clone()).await.unwrap();
    let credential = first.credential().unwrap().unwrap();
    // The token is used up, and nobody minds.
    let again = Client::start(&config, core.clock.clone()).await.unwrap();
    assert_eq!(again.credential().unwrap(), Some(credential));
}

#[tokio::test]
async fn a_damaged_credential_is_named_with_the_repair() {
    let core = Core::start().await;
    let gateway = core.enrolled(7).await;
    let path = gateway.directory.join("gateway.pem");
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, text.replacen("-----BEGIN CERTIFICATE-----\n", "", 1)).unwrap();
    let error = gateway.client.connect().await.err().unwrap();
    assert!(error.to_string().contains("enrol the gateway anew"), "{error}");
}

#[tokio::test]
async fn an_enrolment_that_nobody_waits_for_is_not_lost() {
    let core = Core::start().await;
    let gateway = Gateway::new(&core);
    let token = core.token(7);
    {
        // Begun, and dropped before it could end.
        let mut enrolling = std::pin::pin!(gateway.client.enrol(&token));
        let poll = std::future::poll_fn(|cx| {
            let poll = enrolling.as_mut().poll(cx);
            assert!(poll.is_pending());
            std::task::Poll::Ready(())
        });
        poll.await;
    }
    let credential = soon(gateway.client.enrol(&token)).await.unwrap();
    assert_eq!(gateway.client.credential().unwrap(), Some(credential));
    assert_eq!(core.counters().enrolled.load(Ordering::Relaxed), 1);
}
