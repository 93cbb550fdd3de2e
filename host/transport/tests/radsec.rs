//! RADIUS over TLS, the server's end, on loopback.
#![expect(clippy::unwrap_used, reason = "helpers of a test may fail it")]

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use homeward_transport::radsec::{Doorkeeper, Limits, ServerTls, Version};
use homeward_transport::server::Service;
use homeward_transport::{Datagram, Path, RadsecServer, Replies, RunningRadsec, Waker};
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion, version};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use support::{Authority, Credential, PATIENCE, StillClock, packet};

mod support;

/// Everybody is the seventh peer, but who is called stranger.
fn all_but_strangers(certificate: &CertificateDer<'_>, _: SocketAddr) -> Option<u64> {
    let stranger = certificate.windows(8).any(|window| window == b"stranger");
    (!stranger).then_some(7)
}

struct World {
    authority: Authority,
    server: RunningRadsec,
    tls: ServerTls,
}

impl World {
    fn start<S: Service + Send + 'static>(limits: Limits, service: impl Fn() -> S) -> Self {
        Self::start_with(limits, all_but_strangers, service)
    }

    fn start_with<S: Service + Send + 'static>(
        limits: Limits,
        doorkeeper: impl Doorkeeper,
        service: impl Fn() -> S,
    ) -> Self {
        let authority = Authority::new();
        let (chain, key) = authority.server();
        let tls = ServerTls::new(chain, key, authority.trusted()).unwrap();
        let server = RadsecServer::bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let clock = StillClock::default();
        let server = server
            .start(limits, tls.clone(), doorkeeper, clock, vec![service(), service()])
            .unwrap();
        Self { authority, server, tls }
    }

    fn echo() -> Self {
        Self::start(Limits::default(), || echo)
    }

    async fn connect(&self, name: &str) -> std::io::Result<TlsStream<TcpStream>> {
        self.connect_as(self.authority.client(name), &version::TLS13, &[]).await
    }

    async fn connect_as(
        &self,
        (chain, key): Credential,
        version: &'static SupportedProtocolVersion,
        alpn: &[&str],
    ) -> std::io::Result<TlsStream<TcpStream>> {
        let mut roots = RootCertStore::empty();
        roots.add(self.authority.0.der().clone()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[version])
            .unwrap()
            .with_root_certificates(roots)
            .with_client_auth_cert(chain, key)
            .unwrap();
        config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
        let stream = TcpStream::connect(self.server.local_address()).await?;
        let name = ServerName::try_from("core.example.net").unwrap();
        TlsConnector::from(Arc::new(config)).connect(name, stream).await
    }

    async fn counts(&self, what: impl Fn(&homeward_transport::radsec::RadsecCounters) -> bool) {
        let until = async {
            while !what(&self.server.counters()) {
                tokio::task::yield_now().await;
            }
        };
        let counted = tokio::time::timeout(PATIENCE, until).await;
        assert!(counted.is_ok(), "{:?}", self.server.counters());
    }
}

fn echo(datagram: &Datagram<'_>, replies: &mut Replies) {
    replies.to(datagram).extend_from_slice(datagram.bytes);
}

async fn ask(stream: &mut TlsStream<TcpStream>, packet: &[u8]) -> Vec<u8> {
    stream.write_all(packet).await.unwrap();
    stream.flush().await.unwrap();
    answer(stream, packet.len()).await
}

async fn answer(stream: &mut TlsStream<TcpStream>, octets: usize) -> Vec<u8> {
    let mut answer = vec![0; octets];
    tokio::time::timeout(PATIENCE, stream.read_exact(&mut answer)).await.unwrap().unwrap();
    answer
}

/// Waits until the other end closes.
async fn closed(stream: &mut TlsStream<TcpStream>) {
    let mut rest = Vec::new();
    // With or without a good-bye.
    let _ = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut rest)).await.unwrap();
    assert_eq!(rest, []);
}

#[tokio::test]
async fn packets_are_answered_over_tls_1_2_and_1_3() {
    let world = World::echo();
    for version in [&version::TLS12, &version::TLS13] {
        let credential = world.authority.client("nas.example.net");
        let mut stream = world.connect_as(credential, version, &[]).await.unwrap();
        for id in 0..200 {
            assert_eq!(ask(&mut stream, &packet(id, 20 + id / 2)).await, packet(id, 20 + id / 2));
        }
    }
    let counters = world.server.counters();
    assert_eq!((counters.received, counters.sent, counters.admitted), (400, 400, 2));
}

#[tokio::test]
async fn the_version_is_what_alpn_agreed_on_and_the_peer_who_the_doorkeeper_said() {
    let world = World::start(Limits::default(), || {
        |datagram: &Datagram<'_>, replies: &mut Replies| {
            let asked = datagram.tls.unwrap();
            let version = u8::from(asked.version() == Version::V1_1);
            replies.to(datagram).extend_from_slice(&[version, u8::try_from(asked.peer()).unwrap()]);
        }
    });
    let offers: [(&[&str], u8); 4] =
        [(&[], 0), (&["radius/1.0"], 0), (&["radius/1.0", "radius/1.1"], 1), (&["radius/1.1"], 1)];
    for (alpn, expected) in offers {
        let credential = world.authority.client("nas.example.net");
        let mut stream = world.connect_as(credential, &version::TLS13, alpn).await.unwrap();
        stream.write_all(&packet(1, 20)).await.unwrap();
        assert_eq!(answer(&mut stream, 2).await, [expected, 7], "{alpn:?}");
    }
    let credential = world.authority.client("nas.example.net");
    assert!(world.connect_as(credential, &version::TLS13, &["h2"]).await.is_err());
}

#[tokio::test]
async fn radius_1_1_is_not_spoken_over_tls_1_2() {
    let world = World::echo();
    let credential = world.authority.client("nas.example.net");
    let mut stream = world.connect_as(credential, &version::TLS12, &["radius/1.1"]).await.unwrap();
    closed(&mut stream).await;
    world.counts(|c| c.failed == 1).await;
}

#[tokio::test]
async fn who_shows_no_certificate_or_anothers_or_a_strangers_is_not_served() {
    let world = World::echo();
    let foreign = Authority::new().client("nas.example.net");
    for credential in [foreign, world.authority.server()] {
        // In TLS 1.3 the client is through before the server has looked.
        if let Ok(mut stream) = world.connect_as(credential, &version::TLS13, &[]).await {
            closed(&mut stream).await;
        }
    }
    world.counts(|c| c.failed == 2).await;
    let mut stream = world.connect("stranger.example.net").await.unwrap();
    closed(&mut stream).await;
    world.counts(|c| c.strangers == 1).await;
    assert_eq!(world.server.counters().received, 0);
}

#[tokio::test]
async fn a_bad_packet_does_not_end_a_connection_and_a_length_that_none_has_does() {
    let world = World::echo();
    let mut stream = world.connect("nas.example.net").await.unwrap();
    let mut nonsense = packet(1, 40);
    nonsense[0] = 222;
    nonsense[20..].fill(0);
    assert_eq!(ask(&mut stream, &nonsense).await, nonsense);
    assert_eq!(ask(&mut stream, &packet(2, 20)).await, packet(2, 20));
    stream.write_all(&[1, 3, 0, 19]).await.unwrap();
    closed(&mut stream).await;
    world.counts(|c| c.lost == 1 && c.connections == 0).await;
}

/// Answers nothing until it is told to.
#[derive(Default)]
struct Held {
    held: Vec<(Path, Vec<u8>)>,
    waker: Option<Waker>,
}

impl Service for Held {
    fn begin(&mut self, waker: Waker) {
        self.waker = Some(waker);
    }

    fn handle(&mut self, datagram: &Datagram<'_>, _: &mut Replies) {
        self.held.push((datagram.path(), datagram.bytes.to_vec()));
        if datagram.bytes[0] == 99 {
            self.waker.as_ref().unwrap().wake();
        }
    }

    fn woken(&mut self, replies: &mut Replies) {
        if self.held.iter().any(|(_, bytes)| bytes[0] == 99) {
            for (path, bytes) in self.held.drain(..) {
                replies.late(&path).extend_from_slice(&bytes);
            }
        }
    }
}

#[tokio::test]
async fn more_than_256_requests_are_outstanding_on_one_connection_and_answered_late() {
    let world = World::start(Limits::default(), Held::default);
    let mut stream = world.connect("nas.example.net").await.unwrap();
    let mut all = Vec::new();
    for number in 0..1000u32 {
        let mut packet = packet(0, 24);
        packet[20..].copy_from_slice(&number.to_be_bytes());
        packet[0] = if number == 999 { 99 } else { 1 };
        all.extend(packet);
    }
    assert_eq!(ask(&mut stream, &all).await, all);
}

#[tokio::test]
async fn a_connection_is_not_read_from_while_as_many_requests_as_may_be_are_outstanding() {
    let limits = Limits { outstanding: 3, ..Limits::default() };
    let world = World::start(limits, Held::default);
    let mut stream = world.connect("nas.example.net").await.unwrap();
    let all = (0..10).flat_map(|id| packet(id, 20)).collect::<Vec<u8>>();
    stream.write_all(&all).await.unwrap();
    world.counts(|c| c.received == 3).await;
    // Another connection gets its answers meanwhile, and by them the first its: both have the same
    // worker.
    let mut other = world.connect("nas2.example.net").await.unwrap();
    let mut last = packet(0, 20);
    last[0] = 99;
    assert_eq!(ask(&mut other, &last).await, last);
    assert_eq!(answer(&mut stream, 60).await, all[..60]);
    world.counts(|c| c.received == 7).await;
}

#[tokio::test]
async fn connections_are_limited_and_their_places_given_back() {
    let limits = Limits { connections_a_peer: 2, ..Limits::default() };
    let world = World::start(limits, || echo);
    let mut first = world.connect("nas.example.net").await.unwrap();
    let mut second = world.connect("nas.example.net").await.unwrap();
    for stream in [&mut first, &mut second] {
        ask(stream, &packet(1, 20)).await;
    }
    let mut third = world.connect("nas.example.net").await.unwrap();
    closed(&mut third).await;
    first.shutdown().await.unwrap();
    closed(&mut first).await;
    world.counts(|c| c.connections == 1 && c.crowded == 1).await;
    let mut third = world.connect("nas.example.net").await.unwrap();
    ask(&mut third, &packet(1, 20)).await;
}

#[tokio::test]
async fn who_is_silent_is_closed_and_who_does_not_shake_hands_too() {
    let brief = Duration::from_millis(50);
    let world =
        World::start(Limits { idle: brief, handshake: brief, ..Limits::default() }, || echo);
    let mut silent = TcpStream::connect(world.server.local_address()).await.unwrap();
    assert_eq!(silent.read(&mut [0; 10]).await.unwrap_or_default(), 0);
    world.counts(|c| c.failed == 1).await;
    let Ok(mut stream) = world.connect("nas.example.net").await else { return };
    closed(&mut stream).await;
    world.counts(|c| c.connections == 0).await;
}

#[tokio::test]
async fn a_peer_that_takes_no_answers_is_closed_and_others_are_served() {
    let limits = Limits { stall: Duration::from_millis(100), ..Limits::default() };
    let world = World::start(limits, || {
        |datagram: &Datagram<'_>, replies: &mut Replies| {
            replies.to(datagram).resize(4096, datagram.bytes[0]);
        }
    });
    let mut greedy = world.connect("nas.example.net").await.unwrap();
    let all = (0..64).flat_map(|id| packet(id, 20)).collect::<Vec<u8>>();
    let pour = async { while greedy.write_all(&all).await.is_ok() {} };
    tokio::time::timeout(PATIENCE, pour).await.unwrap();
    world.counts(|c| c.stalled == 1 && c.connections == 0).await;
    let mut other = world.connect("nas.example.net").await.unwrap();
    other.write_all(&packet(1, 20)).await.unwrap();
    assert_eq!(answer(&mut other, 4096).await, [1; 4096]);
}

#[tokio::test]
async fn other_certificates_hold_from_then_on_and_connections_stay() {
    let world = World::echo();
    let mut before = world.connect("nas.example.net").await.unwrap();
    ask(&mut before, &packet(1, 20)).await;
    let other = Authority::new();
    let (chain, key) = world.authority.server();
    world.tls.replace(chain, key, other.trusted()).unwrap();
    ask(&mut before, &packet(2, 20)).await;
    if let Ok(mut stream) = world.connect("nas.example.net").await {
        closed(&mut stream).await;
    }
    let credential = other.client("nas.example.net");
    let mut after = world.connect_as(credential, &version::TLS13, &[]).await.unwrap();
    ask(&mut after, &packet(3, 20)).await;
    // What cannot be used changes nothing.
    let (chain, _) = world.authority.server();
    let (_, key) = world.authority.server();
    assert!(world.tls.replace(chain, key, world.authority.trusted()).is_err());
    let credential = other.client("nas.example.net");
    let mut after = world.connect_as(credential, &version::TLS13, &[]).await.unwrap();
    ask(&mut after, &packet(4, 20)).await;
}

#[tokio::test]
async fn a_connection_ends_when_its_certificate_is_nobodys_any_more() {
    static ASKED: AtomicU64 = AtomicU64::new(0);
    // The first time at the door, the second when it is asked again.
    let once = |_: &CertificateDer<'_>, _: SocketAddr| {
        (ASKED.fetch_add(1, Ordering::Relaxed) == 0).then_some(7)
    };
    let limits = Limits { recheck: Duration::from_millis(100), ..Limits::default() };
    let world = World::start_with(limits, once, || echo);
    let mut stream = world.connect("nas.example.net").await.unwrap();
    ask(&mut stream, &packet(1, 20)).await;
    closed(&mut stream).await;
}

#[tokio::test]
async fn a_worker_that_panics_is_reported() {
    let world =
        World::start(Limits::default(), || |_: &Datagram<'_>, _: &mut Replies| panic!("planted"));
    let mut stream = world.connect("nas.example.net").await.unwrap();
    stream.write_all(&packet(1, 20)).await.unwrap();
    tokio::time::timeout(PATIENCE, world.server.died()).await.unwrap();
}
