//! The UDP server, on loopback.
#![expect(clippy::unwrap_used, reason = "helpers of a test may fail it")]

use std::collections::BTreeSet;
use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use homeward_model::{Clock, Instant, UnixTime};
use homeward_transport::{
    Datagram, MAX_DATAGRAM, Path, Replies, RunningServer, ServerConfig, Service, UdpServer, Waker,
};

/// Longer than anything here takes; only a failing test waits for it.
const PATIENCE: Duration = Duration::from_secs(10);

/// A clock that stands 250 ms further each time it is read: no idle time passes unnoticed.
#[derive(Clone, Default)]
struct FastClock(Arc<AtomicU64>);

impl Clock for FastClock {
    fn now(&self) -> Instant {
        Instant::from_nanos(self.0.fetch_add(250_000_000, Ordering::Relaxed))
    }

    fn unix(&self) -> UnixTime {
        UnixTime(0)
    }
}

fn config(address: &str, workers: usize) -> ServerConfig {
    ServerConfig {
        address: address.parse().unwrap(),
        workers: NonZeroUsize::new(workers),
        ..ServerConfig::default()
    }
}

fn echo(datagram: &Datagram<'_>, replies: &mut Replies) {
    replies.to(datagram).extend_from_slice(datagram.bytes);
}

fn echo_server(address: &str, workers: usize) -> RunningServer {
    let server = UdpServer::bind(&config(address, workers)).unwrap();
    server.start(FastClock::default(), |_| echo).unwrap()
}

fn client(local: &str, server: SocketAddr) -> UdpSocket {
    let socket = UdpSocket::bind(local).unwrap();
    socket.connect(server).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket
}

fn ask(client: &UdpSocket, bytes: &[u8]) -> Vec<u8> {
    client.send(bytes).unwrap();
    answer(client)
}

fn answer(client: &UdpSocket) -> Vec<u8> {
    let mut room = [0; 8192];
    let length = client.recv(&mut room).unwrap();
    room[..length].to_vec()
}

#[test]
fn the_default_is_loopback() {
    let server = UdpServer::bind(&ServerConfig::default()).unwrap();
    assert!(server.local_address().ip().is_loopback());
    assert_eq!(server.workers(), std::thread::available_parallelism().unwrap().get());
}

#[test]
fn a_thousand_datagrams_of_ten_clients_are_all_answered() {
    let server = echo_server("127.0.0.1:0", 2);
    let clients: Vec<UdpSocket> =
        (0..10).map(|_| client("127.0.0.1:0", server.local_address())).collect();
    // In rounds, so that no buffer runs over: what is tested is that batches lose nothing.
    for round in 0..10u8 {
        for (number, client) in clients.iter().enumerate() {
            for n in 0..10u8 {
                client.send(&[round, number as u8, n]).unwrap();
            }
        }
        for (number, client) in clients.iter().enumerate() {
            let answers: BTreeSet<Vec<u8>> = (0..10).map(|_| answer(client)).collect();
            let sent: BTreeSet<Vec<u8>> = (0..10u8).map(|n| vec![round, number as u8, n]).collect();
            assert_eq!(answers, sent);
        }
    }
    let counters = server.stop().unwrap();
    assert_eq!((counters.received, counters.sent, counters.dropped), (1000, 1000, 0));
}

#[test]
fn answers_of_any_lengths_to_several_peers_reach_each_its_own_whole() {
    for address in ["127.0.0.1:0", "[::1]:0"] {
        let server = UdpServer::bind(&config(address, 1)).unwrap();
        let [one, other] = [(); 2].map(|()| client(address, server.local_address()));
        // Many of one length, which leave as one, among others; all wait for the first call.
        let of = |client: u8, n: u8| {
            let len = [100, 100, 100, 1232, 1232, 1233, 1400, 3][usize::from(n % 8)];
            vec![client ^ n; len]
        };
        for n in 0..32 {
            one.send(&of(0, n)).unwrap();
            other.send(&of(128, n)).unwrap();
        }
        let server = server.start(FastClock::default(), |_| echo).unwrap();
        for (number, client) in [(0, &one), (128, &other)] {
            let mut answers: Vec<_> = (0..32).map(|_| answer(client)).collect();
            let mut sent: Vec<_> = (0..32).map(|n| of(number, n)).collect();
            answers.sort();
            sent.sort();
            assert_eq!(answers, sent);
        }
        assert_eq!(server.stop().unwrap().sent, 64);
    }
}

#[test]
fn a_batch_larger_than_a_system_call_takes_is_answered_whole() {
    let server = UdpServer::bind(&config("127.0.0.1:0", 1)).unwrap();
    let client = client("127.0.0.1:0", server.local_address());
    // They wait in the kernel, so that the first call finds a full batch. No more than that: 200
    // answers still fit into the client's receive buffer, at 768 octets of book-keeping each.
    for n in 0..100u8 {
        client.send(&[n]).unwrap();
    }
    let twice = |datagram: &Datagram<'_>, replies: &mut Replies| {
        echo(datagram, replies);
        echo(datagram, replies);
    };
    let server = server.start(FastClock::default(), |_| twice).unwrap();
    let answers: Vec<u8> = (0..200).map(|_| answer(&client)[0]).collect();
    let expected: Vec<u8> = (0..100).flat_map(|n| [n, n]).collect();
    assert_eq!(answers, expected);
    server.stop().unwrap();
}

#[test]
fn answers_leave_from_the_address_that_was_asked() {
    let server = echo_server("0.0.0.0:0", 1);
    let port = server.local_address().port();
    // Connected clients drop what comes from another address.
    let asked: Vec<(UdpSocket, u8)> = [1, 2, 3]
        .map(|n| (client("127.0.0.1:0", SocketAddr::from(([127, 0, 0, n], port))), n))
        .into();
    for (client, n) in &asked {
        client.send(&[*n]).unwrap();
    }
    for (client, n) in &asked {
        assert_eq!(answer(client), [*n]);
    }
    server.stop().unwrap();
}

#[test]
fn answers_over_ipv6_leave_from_the_address_that_was_asked() {
    // A machine may have IPv6 switched off; then there is nothing to show.
    if UdpSocket::bind("[::1]:0").is_err() {
        return;
    }
    let server = echo_server("[::]:0", 2);
    let address: SocketAddr = format!("[::1]:{}", server.local_address().port()).parse().unwrap();
    assert_eq!(ask(&client("[::1]:0", address), b"six"), b"six");
    // The wildcard of IPv6 leaves IPv4 to others.
    UdpSocket::bind(("0.0.0.0", address.port())).unwrap();
    server.stop().unwrap();
}

#[test]
fn a_datagram_tells_source_and_local_address() {
    let server = UdpServer::bind(&config("0.0.0.0:0", 1)).unwrap();
    let port = server.local_address().port();
    let seen: Arc<Mutex<Vec<(SocketAddr, IpAddr)>>> = Arc::default();
    let service = {
        let seen = Arc::clone(&seen);
        move |datagram: &Datagram<'_>, replies: &mut Replies| {
            seen.lock().unwrap().push((datagram.source, datagram.local));
            echo(datagram, replies);
        }
    };
    let server = server.start(FastClock::default(), |_| service.clone()).unwrap();
    let client = client("127.0.0.5:0", SocketAddr::from(([127, 0, 0, 2], port)));
    ask(&client, b"x");
    let local: IpAddr = "127.0.0.2".parse().unwrap();
    assert_eq!(*seen.lock().unwrap(), [(client.local_addr().unwrap(), local)]);
    server.stop().unwrap();
}

#[test]
fn one_client_port_always_reaches_the_same_worker() {
    let server = UdpServer::bind(&config("127.0.0.1:0", 4)).unwrap();
    let name = |worker: usize| {
        move |datagram: &Datagram<'_>, replies: &mut Replies| {
            replies.to(datagram).push(worker as u8);
        }
    };
    let server = server.start(FastClock::default(), name).unwrap();
    let mut workers = BTreeSet::new();
    // 4^-63 that all of 64 ports hash to one worker by chance.
    for _ in 0..64 {
        let client = client("127.0.0.1:0", server.local_address());
        let first = ask(&client, b"?");
        assert_eq!(ask(&client, b"?"), first);
        workers.insert(first[0]);
    }
    assert!(workers.len() > 1, "{workers:?}");
    server.stop().unwrap();
}

#[test]
fn a_datagram_that_is_too_long_is_dropped_and_counted() {
    let server = echo_server("127.0.0.1:0", 1);
    let client = client("127.0.0.1:0", server.local_address());
    client.send(&[1; MAX_DATAGRAM + 1]).unwrap();
    assert_eq!(ask(&client, &[2; MAX_DATAGRAM]), [2; MAX_DATAGRAM]);
    assert_eq!(ask(&client, b"next"), b"next");
    let counters = server.stop().unwrap();
    assert_eq!((counters.received, counters.truncated), (2, 1));
}

#[test]
fn an_empty_buffer_is_no_reply_and_an_empty_datagram_is_one_to_look_at() {
    let server = UdpServer::bind(&config("127.0.0.1:0", 1)).unwrap();
    let count = |datagram: &Datagram<'_>, replies: &mut Replies| {
        let buffer = replies.to(datagram);
        assert!(buffer.is_empty(), "left over from the batch before");
        if datagram.bytes == b"say" {
            buffer.extend_from_slice(b"said");
        }
    };
    let server = server.start(FastClock::default(), |_| count).unwrap();
    let client = client("127.0.0.1:0", server.local_address());
    client.send(b"").unwrap();
    client.send(b"hush").unwrap();
    assert_eq!(ask(&client, b"say"), b"said");
    let counters = server.stop().unwrap();
    assert_eq!((counters.received, counters.sent), (3, 1));
}

#[test]
fn a_reply_that_cannot_be_sent_is_counted_and_the_others_leave() {
    let server = UdpServer::bind(&config("127.0.0.1:0", 1)).unwrap();
    let client = client("127.0.0.1:0", server.local_address());
    for bytes in [&b"a"[..], b"huge", b"b"] {
        client.send(bytes).unwrap();
    }
    let service = |datagram: &Datagram<'_>, replies: &mut Replies| {
        let buffer = replies.to(datagram);
        match datagram.bytes {
            b"huge" => buffer.resize(70_000, 0),
            bytes => buffer.extend_from_slice(bytes),
        }
    };
    let server = server.start(FastClock::default(), |_| service).unwrap();
    assert_eq!((answer(&client), answer(&client)), (b"a".to_vec(), b"b".to_vec()));
    let counters = server.stop().unwrap();
    assert_eq!((counters.sent, counters.send_errors), (2, 1));
}

#[test]
fn a_client_that_went_away_does_not_disturb_the_others() {
    let server = echo_server("127.0.0.1:0", 1);
    let gone = client("127.0.0.1:0", server.local_address());
    let stays = client("127.0.0.1:0", server.local_address());
    gone.send(b"bye").unwrap();
    drop(gone);
    for n in 0..10u8 {
        assert_eq!(ask(&stays, &[n]), [n]);
    }
    server.stop().unwrap();
}

#[test]
fn what_does_not_fit_into_the_receive_buffer_is_counted_as_dropped() {
    let small = ServerConfig { receive_buffer: Some(4096), ..config("127.0.0.1:0", 1) };
    let server = UdpServer::bind(&small).unwrap();
    let client = client("127.0.0.1:0", server.local_address());
    for _ in 0..100 {
        client.send(&[0; 1000]).unwrap();
    }
    let server = server.start(FastClock::default(), |_| echo).unwrap();
    answer(&client);
    let dropped = server.counters().dropped;
    assert!((1..100).contains(&dropped), "{dropped}");
    server.stop().unwrap();
}

/// Tells the test of every tick.
struct Ticking(mpsc::Sender<Instant>);

impl Service for Ticking {
    fn handle(&mut self, datagram: &Datagram<'_>, replies: &mut Replies) {
        echo(datagram, replies);
    }

    fn idle(&mut self, now: Instant) {
        let _ = self.0.send(now);
    }
}

#[test]
fn housekeeping_runs_without_traffic_and_with_it() {
    let server = UdpServer::bind(&config("127.0.0.1:0", 1)).unwrap();
    let (ticks, ticked) = mpsc::channel();
    let server = server.start(FastClock::default(), |_| Ticking(ticks.clone())).unwrap();
    let first = ticked.recv_timeout(PATIENCE).unwrap();
    assert!(ticked.recv_timeout(PATIENCE).unwrap() > first);
    let client = client("127.0.0.1:0", server.local_address());
    while ticked.try_recv().is_ok() {}
    ask(&client, b"x");
    ticked.recv_timeout(PATIENCE).unwrap();
    server.stop().unwrap();
}

/// Whom to answer, with what.
type Job = (Path, Vec<u8>);

/// Answers each datagram from another thread, some time later.
struct Late {
    work: mpsc::Sender<Job>,
    done: Arc<Mutex<Vec<Job>>>,
    jobs: Option<mpsc::Receiver<Job>>,
}

impl Service for Late {
    fn begin(&mut self, waker: Waker) {
        let (jobs, done) = (self.jobs.take().unwrap(), Arc::clone(&self.done));
        std::thread::spawn(move || {
            for job in jobs {
                done.lock().unwrap().push(job);
                waker.wake();
            }
        });
    }

    fn handle(&mut self, datagram: &Datagram<'_>, _: &mut Replies) {
        let job = (datagram.path(), datagram.bytes.to_vec());
        self.work.send(job).unwrap();
    }

    fn woken(&mut self, replies: &mut Replies) {
        for (path, bytes) in self.done.lock().unwrap().drain(..) {
            replies.late(&path).extend_from_slice(&bytes);
        }
    }
}

#[test]
fn what_another_thread_found_is_answered() {
    let server = UdpServer::bind(&config("127.0.0.1:0", 2)).unwrap();
    let server = server
        .start(FastClock::default(), |_| {
            let (work, jobs) = mpsc::channel();
            Late { work, done: Arc::default(), jobs: Some(jobs) }
        })
        .unwrap();
    let client = client("127.0.0.1:0", server.local_address());
    for number in 0..100u8 {
        assert_eq!(ask(&client, &[number]), [number]);
    }
}

#[test]
fn a_server_stops_within_a_second_and_gives_its_port_back() {
    let server = echo_server("127.0.0.1:0", 4);
    let address = server.local_address();
    let (done, stopped) = mpsc::channel();
    let stopping = std::thread::spawn(move || {
        let stopped = server.stop();
        done.send(stopped.is_ok()).unwrap();
    });
    assert_eq!(stopped.recv_timeout(Duration::from_secs(1)), Ok(true));
    stopping.join().unwrap();
    UdpSocket::bind(address).unwrap();
}

#[test]
fn a_second_server_on_the_same_address_is_refused() {
    let first = UdpServer::bind(&config("127.0.0.1:0", 2)).unwrap();
    let address = first.local_address().to_string();
    for workers in [1, 2] {
        let error = UdpServer::bind(&config(&address, workers)).unwrap_err();
        assert_eq!(error.source.kind(), io::ErrorKind::AddrInUse);
        assert!(error.to_string().starts_with(&format!("cannot listen on UDP {address}: another")));
    }
}

#[test]
fn an_address_of_another_machine_is_refused() {
    // TEST-NET-1 (RFC 5737): nobody has it.
    let error = UdpServer::bind(&config("192.0.2.1:0", 1)).unwrap_err();
    assert_eq!(error.source.kind(), io::ErrorKind::AddrNotAvailable);
    assert!(error.to_string().contains("192.0.2.1 is no address of this machine"), "{error}");
}

#[tokio::test]
async fn a_worker_that_panics_is_reported() {
    let server = UdpServer::bind(&config("127.0.0.1:0", 2)).unwrap();
    let client = client("127.0.0.1:0", server.local_address());
    let seen = Arc::new(AtomicUsize::new(0));
    let service = |worker: usize| {
        let seen = Arc::clone(&seen);
        move |_: &Datagram<'_>, _: &mut Replies| {
            seen.store(worker, Ordering::Relaxed);
            panic!("planted");
        }
    };
    let server = server.start(FastClock::default(), service).unwrap();
    client.send(b"x").unwrap();
    let died = tokio::time::timeout(PATIENCE, server.died()).await.unwrap();
    assert_eq!(died.0, seen.load(Ordering::Relaxed));
    assert_eq!(server.stop(), Err(died));
}
