//! Sessions by TLS.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use homeward_smsc::Tls;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rusmpp::CommandStatus;
use rustls::ServerConfig;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tempfile::TempDir;
use tokio_rustls::TlsAcceptor;

use crate::world::{Link, World, world};

type Issuer = CertifiedIssuer<'static, KeyPair>;

fn authority(folder: &Path, name: &str) -> Issuer {
    let mut params = CertificateParams::new([]).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    std::fs::write(folder.join(name), issuer.pem()).unwrap();
    issuer
}

fn acceptor(issuer: &Issuer, name: &str) -> TlsAcceptor {
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new([name.to_owned()]).unwrap();
    let certificate = certificate.signed_by(&key, issuer).unwrap();
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], key)
        .unwrap();
    TlsAcceptor::from(Arc::new(config))
}

async fn secured(folder: &TempDir) -> World {
    let tls = Tls::new(&folder.path().join("ca.pem"), "smsc.example.net").unwrap();
    world(|settings| {
        settings.tls = Some(tls);
        settings.connect_timeout = Duration::from_secs(5);
    })
    .await
}

#[tokio::test]
async fn a_session_by_tls_is_bound_to_the_smsc_of_that_name_and_authority_alone() {
    let folder = TempDir::new().unwrap();
    let ours = authority(folder.path(), "ca.pem");
    let other = authority(folder.path(), "other.pem");
    let world = secured(&folder).await;
    for wrong in [acceptor(&other, "smsc.example.net"), acceptor(&ours, "else.example.net")] {
        let (stream, _) = world.smsc.accept().await.unwrap();
        assert!(wrong.accept(stream).await.is_err());
    }
    let (stream, _) = world.smsc.accept().await.unwrap();
    let stream = acceptor(&ours, "smsc.example.net").accept(stream).await.unwrap();
    let mut link = Link::greet(stream, CommandStatus::EsmeRok, "hush").await;
    assert!(world.sender.until_bound(true).await);
    world.counted("sessions_total{outcome=\"tls\"} 2");
    let sent = world.submit(b"1");
    let (request, _) = link.hear_submit().await;
    link.answer(&request, CommandStatus::EsmeRok, "m").await;
    assert_eq!(sent.await.unwrap(), Ok("m".to_owned()));
}

#[test]
fn an_authority_that_is_none_and_a_name_that_is_none_are_named() {
    let folder = TempDir::new().unwrap();
    authority(folder.path(), "ca.pem");
    std::fs::write(folder.path().join("empty.pem"), "").unwrap();
    let error =
        |file: &str, name: &str| Tls::new(&folder.path().join(file), name).unwrap_err().to_string();
    assert!(error("none.pem", "a.example").contains("none.pem"));
    assert!(error("empty.pem", "a.example").contains("it has none"));
    assert!(error("ca.pem", "a b").starts_with("tls name"));
}
