use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;

use homeward_daemon::Period;
use homeward_model::Secret;
use homeward_offload::wire::HandoffKeys;
use rcgen::{CertificateParams, KeyPair};
use rustls::ServerConfig;
use rustls::pki_types::PrivateKeyDer;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use super::*;

const OWN: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const NAME: &str = "portal.example.net";

/// What a portal gives, as it says it.
fn credentials() -> String {
    let policy = r#"{"networks":[{"ssid":"Town"}],"server_name":"aaa.example.net"}"#;
    let answer = CredentialAnswer {
        username: "p1@wifi.example.net".parse().unwrap(),
        password: Secret::new("correct horse battery"),
        expires: None,
        renew_from: None,
        one_time: false,
        policy: serde_json::from_str(policy).unwrap(),
        handoff: Some(HandoffKeys {
            name: "h1@wifi.example.net".parse().unwrap(),
            root: Secret::new([7; 32]),
            version: 9,
        }),
    };
    String::from_utf8(json::encode_answer(&answer).unwrap().to_vec()).unwrap()
}

/// A portal of one answer.
struct There {
    _dir: TempDir,
    ca: PathBuf,
    listener: TcpListener,
    acceptor: TlsAcceptor,
}

impl There {
    /// One whose certificate is for that name, from so many seconds from now on.
    async fn start(name: &str, from: i64) -> Self {
        let mut params = CertificateParams::new([name.to_owned()]).unwrap();
        let day = |seconds: i64| {
            let at = SystemClock.unix().seconds() + seconds;
            rcgen::date_time_ymd(1970, 1, 1) + Duration::from_secs(at.try_into().unwrap())
        };
        params.not_before = day(from);
        params.not_after = day(from + 86_400);
        let key = KeyPair::generate().unwrap();
        let made = params.self_signed(&key).unwrap();
        let dir = tempfile::tempdir().unwrap();
        let ca = dir.path().join("ca.pem");
        std::fs::write(&ca, made.pem()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let tls = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(
                vec![made.der().clone()],
                PrivateKeyDer::try_from(key.serialize_der()).unwrap(),
            )
            .unwrap();
        let listener = TcpListener::bind((OWN, 0)).await.unwrap();
        Self { _dir: dir, ca, listener, acceptor: TlsAcceptor::from(Arc::new(tls)) }
    }

    fn config(&self, timeout: Duration) -> config::Portal {
        config::Portal {
            sms: config::Sms::default(),
            url: format!("https://{NAME}/offload/v1/credentials"),
            addresses: vec![self.listener.local_addr().unwrap()],
            ca: self.ca.clone(),
            timeout: Period(timeout),
        }
    }

    fn portal(&self, date: Option<UnixTime>) -> Portal {
        Portal::new(&self.config(Duration::from_secs(20)), date).unwrap()
    }

    /// Answers one request with that; returns what was asked, or an empty text where there was no
    /// TLS.
    async fn answer(&self, answer: &str) -> String {
        let (stream, _) = self.listener.accept().await.unwrap();
        let Ok(mut stream) = self.acceptor.accept(stream).await else { return String::new() };
        let mut asked = Vec::new();
        while !asked.ends_with(b"}") {
            assert_ne!(stream.read_buf(&mut asked).await.unwrap(), 0);
        }
        stream.write_all(answer.as_bytes()).await.unwrap();
        stream.shutdown().await.unwrap();
        String::from_utf8(asked).unwrap()
    }
}

fn line() -> Line {
    Line { interface: "lo".to_owned(), addresses: vec![OWN] }
}

fn request() -> Request {
    Request {
        imsi: "999700123456789".parse().unwrap(),
        imei: None,
        mac: homeward_model::Mac::new([2, 0, 0, 0, 0, 1]),
        previous: Some("p0@wifi.example.net".parse().unwrap()),
        handoff: true,
    }
}

/// What comes of a request that is answered like that.
async fn ask(status: &str, headers: &str, body: &str) -> Result<Answer, Failure> {
    let there = There::start(NAME, -60).await;
    let portal = there.portal(None);
    let length = body.len();
    let answer = format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\n{headers}\r\n{body}");
    let (result, asked) = tokio::join!(portal.ask(request(), line()), there.answer(&answer));
    assert!(asked.starts_with("POST /offload/v1/credentials HTTP/1.1\r\n"), "{asked}");
    assert!(asked.contains(r#""imsi":"999700123456789""#), "{asked}");
    assert!(asked.contains("p0@wifi.example.net"), "{asked}");
    assert!(asked.contains(r#""handoff":true"#), "{asked}");
    result
}

#[tokio::test]
async fn credentials_come_with_the_time_that_the_portal_says_it_is() {
    let date = "Date: Sun, 06 Nov 1994 08:49:37 GMT\r\n";
    let answer = ask("200 OK", date, &credentials()).await.unwrap();
    assert_eq!(answer.username.as_str(), "p1@wifi.example.net");
    assert_eq!(answer.password, Secret::new("correct horse battery"));
    assert_eq!(answer.date, Some(UnixTime(784_111_777_000)));
    let keys = answer.handoff.unwrap();
    assert_eq!((keys.version, keys.root), (9, Secret::new([7; 32])));
}

#[tokio::test]
async fn each_way_of_not_giving_any_is_told_apart() {
    assert_eq!(ask("403 Forbidden", "", "{}").await, Err(Failure::Refused));
    for status in ["429 Too Many Requests", "503 Service Unavailable"] {
        let busy = Err(Failure::Busy(Some(Duration::from_secs(7))));
        assert_eq!(ask(status, "Retry-After: 7\r\n", "").await, busy);
        assert_eq!(ask(status, "Retry-After: soon\r\n", "").await, Err(Failure::Busy(None)));
    }
    assert!(matches!(ask("502 Bad Gateway", "", "").await, Err(Failure::Away(_))));
    assert!(matches!(ask("404 Not Found", "", "").await, Err(Failure::Invalid(_))));
    assert!(matches!(ask("200 OK", "", "<html>").await, Err(Failure::Invalid(_))));
    let whole = credentials();
    let cut = whole.get(..40).unwrap();
    assert!(matches!(ask("200 OK", "", cut).await, Err(Failure::Invalid(_))));
}

#[tokio::test]
async fn an_answer_without_an_end_is_not_read_for_ever() {
    let flood = format!("HTTP/1.1 200 OK\r\n\r\n{}", " ".repeat(4 << 20));
    let there = There::start(NAME, -60).await;
    let portal = there.portal(None);
    let serve = async {
        let (stream, _) = there.listener.accept().await.unwrap();
        let mut stream = there.acceptor.accept(stream).await.unwrap();
        // It ends as soon as the client has had enough.
        stream.write_all(flood.as_bytes()).await.ok();
        stream.shutdown().await.ok();
    };
    let (result, ()) = tokio::join!(portal.ask(request(), line()), serve);
    let cut = matches!(&result, Err(Failure::Away(why)) if why.contains("limit"));
    assert!(cut, "{result:?}");
}

#[tokio::test]
async fn a_portal_of_another_name_or_another_authority_is_told_nothing() {
    let other = There::start("portal.example.com", -60).await;
    let portal = other.portal(None);
    let (result, asked) = tokio::join!(portal.ask(request(), line()), other.answer(""));
    assert!(matches!(&result, Err(Failure::Away(why)) if why.contains("no TLS")), "{result:?}");
    assert_eq!(asked, "");

    let (there, strange) = (There::start(NAME, -60).await, There::start(NAME, -60).await);
    let config = config::Portal { ca: strange.ca.clone(), ..there.config(Duration::from_secs(20)) };
    let portal = Portal::new(&config, None).unwrap();
    let (result, asked) = tokio::join!(portal.ask(request(), line()), there.answer(""));
    assert!(matches!(&result, Err(Failure::Away(why)) if why.contains("no TLS")), "{result:?}");
    assert_eq!(asked, "");
}

#[tokio::test]
async fn a_clock_that_is_behind_what_a_portal_once_said_does_not_stand_in_the_way() {
    // Valid from an hour from now on, so as to this machine's clock it is not valid yet.
    let there = There::start(NAME, 3600).await;
    let (early, lo) = (there.portal(None), line());
    let (result, _) = tokio::join!(early.look(&lo), there.answer(""));
    assert!(result.is_err());
    let said = UnixTime(SystemClock.unix().0 + 7_200_000);
    let late = there.portal(Some(said));
    assert_eq!(late.date(), said);
    let accept = async {
        let (stream, _) = there.listener.accept().await.unwrap();
        there.acceptor.accept(stream).await.map(drop)
    };
    let (result, accepted) = tokio::join!(late.look(&lo), accept);
    result.unwrap();
    accepted.unwrap();
}

#[tokio::test]
async fn one_that_says_nothing_is_given_up() {
    let there = There::start(NAME, -60).await;
    let portal = Portal::new(&there.config(Duration::from_millis(50)), None).unwrap();
    // Accepted by the kernel, and never served.
    let result = portal.ask(request(), line()).await;
    let given_up = matches!(&result, Err(Failure::Away(why)) if why.contains("no answer within"));
    assert!(given_up, "{result:?}");
}
