//! Which certificates are let in.

use std::net::Ipv4Addr;
use std::sync::Arc;

use homeward_channel::{Client, ClientSettings, Error, Refusal};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::net::TcpListener;

use crate::world::{Core, DAY, Gateway, NOON, opened, soon};

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

#[tokio::test]
async fn a_gateway_cannot_pose_as_the_core() {
    let core = Core::start().await;
    let rogue = core.enrolled(7).await;
    let victim = core.enrolled(8).await;
    // It has a key, a certificate of the right authority for it, and that authority's.
    let pem = std::fs::read(rogue.directory.join("gateway.pem")).unwrap();
    let key = PrivateKeyDer::from_pem_slice(&pem).unwrap();
    let chain: Vec<_> = CertificateDer::pem_slice_iter(&pem).map(Result::unwrap).collect();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut tls = rustls::ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .unwrap();
    tls.alpn_protocols = vec![b"h2".to_vec()];
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let pose = async {
        let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(tls));
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            assert!(acceptor.accept(stream).await.is_err(), "it was believed");
        }
    };
    let client = Client::new(
        vec![address.to_string()],
        victim.directory.clone(),
        ClientSettings::default(),
        core.clock.clone(),
    );
    let token = core.token(9);
    let newcomer = Gateway::at(&[address], ClientSettings::default(), core.clock.clone());
    let deceived = async {
        assert!(matches!(client.connect().await, Err(Error::NotOurCore { .. })));
        let enrolled = newcomer.client.enrol(&token).await;
        assert!(matches!(enrolled, Err(Error::NotOurCore { .. })), "{enrolled:?}");
    };
    soon(async {
        tokio::select! {
            () = deceived => {}
            () = pose => {}
        }
    })
    .await;
}

#[tokio::test]
async fn a_connection_carries_one_channel_and_no_enrolment_with_a_certificate() {
    let mut core = Core::start().await;
    let credential = core.enrolled(7).await.client.credential().unwrap().unwrap();
    let (address, pin, token) = (core.address(), core.authority.pin(), core.token(7));
    let twice = homeward_channel::testing::two_channels(address, &credential, pin);
    let (second, _first) = soon(async { tokio::join!(twice, opened(&mut core.server)) }).await;
    assert_eq!(second.unwrap_err().refusal(), Some(Refusal::BadRequest));
    let enrolled =
        homeward_channel::testing::enrol_as(address, &token, Some(&credential), vec![1]).await;
    assert_eq!(enrolled.unwrap_err().refusal(), Some(Refusal::BadRequest));
}
