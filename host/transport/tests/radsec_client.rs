//! RADIUS over TLS, the client's end, on loopback.
#![expect(clippy::unwrap_used, reason = "helpers of a test may fail it")]

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use homeward_radius::testing::Counted;
use homeward_transport::radsec::client::{ClientLimits, Credentials, Event, Server, State};
use homeward_transport::radsec::{ClientTls, Limits, ServerTls, Version};
use homeward_transport::{Datagram, RadsecClient, RadsecServer, Replies, RunningRadsec};
use rustls::ServerConfig;
use rustls::pki_types::CertificateDer;
use socket2::{Domain, Socket, Type};
use support::{Authority, PATIENCE, StillClock, packet};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

mod support;

const NAME: &str = "core.example.net";

/// Connects again at once.
const EAGER: ClientLimits = ClientLimits {
    handshake: Duration::from_secs(10),
    stall: Duration::from_secs(10),
    retry: Duration::from_millis(1),
    retry_most: Duration::from_millis(20),
    queue: 4096,
};

fn echo(datagram: &Datagram<'_>, replies: &mut Replies) {
    replies.to(datagram).extend_from_slice(datagram.bytes);
}

fn serve(authority: &Authority, address: SocketAddr) -> RunningRadsec {
    let (chain, key) = authority.server();
    let tls = ServerTls::new(chain, key, authority.trusted()).unwrap();
    let anybody = |_: &CertificateDer<'_>, _: SocketAddr| Some(7);
    let server = RadsecServer::bind(address).unwrap();
    server.start(Limits::default(), tls, anybody, StillClock::default(), vec![echo]).unwrap()
}

fn loopback() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 0))
}

fn shown(authority: &Authority, name: &str) -> ClientTls {
    let (chain, key) = authority.client("nas.example.net");
    ClientTls::new(name, chain, key, authority.trusted()).unwrap()
}

fn always(tls: ClientTls) -> Arc<dyn Credentials> {
    Arc::new(move || Ok(tls.clone()))
}

fn client(address: SocketAddr, connections: u16, tls: ClientTls) -> RadsecClient {
    let endpoint = address.into();
    let server = Server { endpoint, connections, credentials: always(tls) };
    RadsecClient::new([(3, server)], EAGER, &mut Counted(1))
}

async fn next(client: &mut RadsecClient) -> Event {
    tokio::time::timeout(PATIENCE, client.event()).await.unwrap()
}

/// Waits until it is up.
async fn up(client: &mut RadsecClient) -> (u16, Version) {
    loop {
        if let Event::Up { server: 3, lane, version } = next(client).await {
            return (lane, version);
        }
    }
}

/// Why it is not up.
async fn down(client: &mut RadsecClient) -> String {
    loop {
        if let Event::Down { server: 3, why, .. } = next(client).await {
            return why;
        }
    }
}

async fn answered(client: &mut RadsecClient) -> (u16, Vec<u8>) {
    match next(client).await {
        Event::Packet { server: 3, lane, bytes } => (lane, bytes),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn packets_go_and_come_by_each_connection_in_radius_1_1() {
    let authority = Authority::new();
    let server = serve(&authority, loopback());
    let mut client = client(server.local_address(), 3, shown(&authority, NAME));
    assert!(client.states(3).all(|state| *state == State::Connecting));
    assert!(!client.send(3, 0, &packet(1, 20)), "it is not up");
    let mut lanes = Vec::new();
    for _ in 0..3 {
        let (lane, version) = up(&mut client).await;
        assert_eq!(version, Version::V1_1);
        lanes.push(lane);
    }
    lanes.sort_unstable();
    assert_eq!(lanes, [0, 1, 2]);
    for lane in [2, 0, 1] {
        for id in 0..100 {
            assert!(client.send(3, lane, &packet(id, 20 + id)));
        }
        for id in 0..100 {
            assert_eq!(answered(&mut client).await, (lane, packet(id, 20 + id)));
        }
    }
    assert!(client.states(3).all(|state| *state == State::Up(Version::V1_1)));
    assert!(!client.send(3, 3, &packet(1, 20)) && !client.send(0, 0, &packet(1, 20)));
    assert_eq!(server.counters().admitted, 3);
}

#[tokio::test]
async fn a_connection_that_ended_is_made_again_and_who_uses_it_hears_of_both() {
    let authority = Authority::new();
    let server = serve(&authority, loopback());
    let address = server.local_address();
    let mut client = client(address, 1, shown(&authority, NAME));
    let _ = up(&mut client).await;
    drop(server);
    assert!(down(&mut client).await.contains("closed"));
    assert!(down(&mut client).await.contains("not reached"));
    assert!(matches!(client.states(3).next(), Some(State::Down(_))));
    let _server = serve(&authority, address);
    let _ = up(&mut client).await;
    assert!(client.send(3, 0, &packet(9, 30)));
    assert_eq!(answered(&mut client).await, (0, packet(9, 30)));
}

#[tokio::test]
async fn a_connection_is_renewed_when_asked_and_shows_what_there_is_to_show_by_then() {
    let authority = Authority::new();
    let server = serve(&authority, loopback());
    let good = Mutex::new(None);
    let good: Arc<Mutex<Option<ClientTls>>> = Arc::new(good);
    let asked = Arc::new(AtomicUsize::new(0));
    let credentials = {
        let (good, asked) = (Arc::clone(&good), Arc::clone(&asked));
        move || {
            asked.fetch_add(1, Ordering::Relaxed);
            good.lock().unwrap().clone().ok_or_else(|| "not enrolled yet".into())
        }
    };
    let endpoint = server.local_address().into();
    let server = Server { endpoint, connections: 1, credentials: Arc::new(credentials) };
    let mut client = RadsecClient::new([(3, server)], EAGER, &mut Counted(1));
    for _ in 0..3 {
        assert!(down(&mut client).await.contains("not enrolled yet"));
    }
    *good.lock().unwrap() = Some(shown(&authority, NAME));
    let _ = up(&mut client).await;
    let before = asked.load(Ordering::Relaxed);
    client.renew(3, 0);
    assert!(!client.send(3, 0, &packet(1, 20)), "it is on its way out");
    assert!(down(&mut client).await.contains("closed here"));
    let _ = up(&mut client).await;
    assert_eq!(asked.load(Ordering::Relaxed), before + 1);
}

const CHILD: &str = "HOMEWARD_RADSEC_CLIENT_CHILD";

/// The child of the test below: not to be run by itself, and then it does nothing.
#[tokio::test]
async fn the_process_that_knows_two_addresses() {
    if std::env::var_os(CHILD).is_none() {
        return;
    }
    let found: Vec<SocketAddr> = tokio::net::lookup_host(("twice", 9)).await.unwrap().collect();
    let [first, second] = found[..] else { panic!("{found:?}") };
    // Nobody takes what waits there, and when that is one more than may, the kernel says nothing.
    let silent = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    silent.bind(&SocketAddr::new(first.ip(), 0).into()).unwrap();
    silent.listen(0).unwrap();
    let port = silent.local_addr().unwrap().as_socket().unwrap().port();
    let waiting = std::net::TcpStream::connect((first.ip(), port)).unwrap();
    let authority = Authority::new();
    let server = serve(&authority, SocketAddr::new(second.ip(), port));
    let endpoint = format!("twice:{port}").parse().unwrap();
    let credentials = always(shown(&authority, NAME));
    let to = Server { endpoint, connections: 1, credentials };
    // All of it is longer than this test waits.
    let limits = ClientLimits { handshake: Duration::from_secs(12), ..EAGER };
    let mut client = RadsecClient::new([(3, to)], limits, &mut Counted(1));
    up(&mut client).await;
    drop((waiting, silent, server));
}

#[test]
fn an_address_that_says_nothing_keeps_the_next_from_being_tried_for_a_moment_only() {
    let hosts = std::env::temp_dir().join(format!("hosts-{}", std::process::id()));
    std::fs::write(&hosts, "127.0.0.2 twice\n127.0.0.3 twice\n").unwrap();
    let output = std::process::Command::new("unshare")
        .args(["--map-root-user", "--mount", "sh", "-ec"])
        .arg("mount --bind \"$1\" /etc/hosts; shift; exec \"$@\"")
        .args(["sh".as_ref(), hosts.as_os_str(), std::env::current_exe().unwrap().as_os_str()])
        .args(["--exact", "the_process_that_knows_two_addresses", "--nocapture"])
        .env(CHILD, "1")
        .output();
    std::fs::remove_file(&hosts).unwrap();
    let output = output.expect("unshare (util-linux)");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && text.contains("1 passed"), "{output:?}");
}

#[tokio::test]
async fn who_has_another_name_or_another_authority_is_not_believed() {
    let authority = Authority::new();
    let server = serve(&authority, loopback());
    let mut named = client(server.local_address(), 1, shown(&authority, "other.example.net"));
    assert!(down(&mut named).await.contains("TLS failed: invalid peer certificate"));
    let mut stranger = client(server.local_address(), 1, shown(&Authority::new(), NAME));
    assert!(down(&mut stranger).await.contains("TLS failed: invalid peer certificate"));
    assert_eq!(server.counters().admitted, 0);
}

/// A server of one's own: that ALPN, that TLS, and `then` what is done with what is connected.
async fn other(
    authority: &Authority,
    alpn: &[&str],
    versions: &[&'static rustls::SupportedProtocolVersion],
) -> (TcpListener, TlsAcceptor, SocketAddr) {
    let (chain, key) = authority.server();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(versions)
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .unwrap();
    config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
    let listener = TcpListener::bind(loopback()).await.unwrap();
    let address = listener.local_addr().unwrap();
    (listener, TlsAcceptor::from(Arc::new(config)), address)
}

#[tokio::test]
async fn a_server_without_radius_1_1_is_spoken_to_in_1_0_and_one_with_it_over_tls_1_2_is_not() {
    let authority = Authority::new();
    let cases: [(&[&str], _, _); 4] = [
        (&[], &rustls::version::TLS12, Some(Version::V1_0)),
        (&["radius/1.0"], &rustls::version::TLS13, Some(Version::V1_0)),
        (&["radius/1.1"], &rustls::version::TLS13, Some(Version::V1_1)),
        (&["radius/1.1"], &rustls::version::TLS12, None),
    ];
    for (alpn, tls, expected) in cases {
        let (listener, acceptor, address) = other(&authority, alpn, &[tls]).await;
        let mut client = client(address, 1, shown(&authority, NAME));
        let server = async {
            let (stream, _) = listener.accept().await.unwrap();
            acceptor.accept(stream).await
        };
        let (stream, event) = tokio::join!(server, next(&mut client));
        match expected {
            Some(expected) => {
                assert!(matches!(event, Event::Up { version, .. } if version == expected));
                drop(stream);
            }
            None => {
                let Event::Down { why, .. } = event else { panic!("{event:?}") };
                assert!(why.contains("RFC 9765"), "{why}");
            }
        }
    }
}

#[tokio::test]
async fn a_stream_in_which_no_packet_begins_ends_and_a_server_that_takes_nothing_too() {
    let authority = Authority::new();
    let (listener, acceptor, address) = other(&authority, &[], &[&rustls::version::TLS13]).await;
    let server = Server {
        endpoint: address.into(),
        connections: 1,
        credentials: always(shown(&authority, NAME)),
    };
    let limits = ClientLimits { stall: Duration::from_millis(50), ..EAGER };
    let mut client = RadsecClient::new([(3, server)], limits, &mut Counted(1));
    let (accepted, _) = tokio::join!(listener.accept(), tokio::task::yield_now());
    let (stream, _) = tokio::join!(acceptor.accept(accepted.unwrap().0), up(&mut client));
    let mut stream = stream.unwrap();
    // A packet, and then a Length that no packet can have.
    let octets = [&packet(1, 20)[..], &[2, 2, 0, 19]].concat();
    stream.write_all(&octets).await.unwrap();
    stream.flush().await.unwrap();
    assert_eq!(answered(&mut client).await, (0, packet(1, 20)));
    assert!(down(&mut client).await.contains("a packet of 19 octets"));
    let mut rest = Vec::new();
    let _ = stream.read_to_end(&mut rest).await;
    // Now one that reads nothing.
    let accepted = listener.accept();
    let (accepted, _) = tokio::join!(accepted, tokio::task::yield_now());
    let (stream, _) = tokio::join!(acceptor.accept(accepted.unwrap().0), up(&mut client));
    let stream = stream.unwrap();
    let big = [&[1, 1, 16, 0][..], &[0; 4092]].concat();
    let mut lost = 0;
    while lost == 0 {
        lost += usize::from(!client.send(3, 0, &big));
        tokio::task::yield_now().await;
    }
    assert!(down(&mut client).await.contains("takes nothing"));
    drop(stream);
}
