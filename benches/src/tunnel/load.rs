//! What is sent through the tunnels.

use std::io::{IoSlice, IoSliceMut};
use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use homeward_daemon::SystemClock;
use homeward_model::{Clock, Instant};
use homeward_net::Namespace;
use homeward_net::wait::pause;
use nix::sys::socket::{
    MsgFlags, MultiHeaders, SockaddrIn, recvmmsg, sendmmsg, setsockopt, sockopt,
};
use serde_json::Value;

use crate::figures::median;

/// How long a TCP connection is measured, after what it takes to come to speed.
const TCP_SECONDS: &str = "2";

/// Round trips whose median is taken.
const ROUND_TRIPS: usize = 1000;

/// UDP payload of a frame of 64 octets: less Ethernet 14, IPv4 20, UDP 8 and the check sequence 4.
const SMALL: usize = 18;

/// How long one rate of small frames is tried.
const TRIAL: Duration = Duration::from_millis(250);

/// How often it is tried before it counts as too high.
const TRIES: usize = 3;

/// Datagrams that go through one system call.
const BATCH: usize = 64;

/// A TCP connection that was measured.
pub(crate) struct Tcp {
    pub(crate) bits_per_second: f64,
    /// What arrived, its start included: what the CPU time was for.
    pub(crate) octets: f64,
}

/// One TCP connection from `a` to the iperf3 at `there`.
pub(crate) fn tcp(a: &Namespace, there: Ipv4Addr) -> Result<Tcp> {
    let there = there.to_string();
    let words = ["--client", &there, "--time", TCP_SECONDS, "--json", "--connect-timeout", "5000"];
    let said = a.run_tool("iperf3", &words)?;
    let report: Value = serde_json::from_str(&said).context("iperf3 printed no JSON")?;
    let sum = &report["end"]["sum_received"];
    let figure = |name: &str| sum[name].as_f64().with_context(|| format!("no {name}: {said}"));
    Ok(Tcp { bits_per_second: figure("bits_per_second")?, octets: figure("bytes")? })
}

/// The median round trip of a small datagram and its echo, in us.
pub(crate) fn round_trip(a: &Namespace, b: &Namespace, there: Ipv4Addr) -> Result<f64> {
    let echo = b.enter(|| Ok(UdpSocket::bind((there, 0))?))?;
    let to = echo.local_addr()?;
    let stop = Arc::<AtomicBool>::default();
    let stopped = Arc::clone(&stop);
    echo.set_read_timeout(Some(Duration::from_millis(100)))?;
    let thread = std::thread::spawn(move || {
        let mut room = [0; 64];
        while !stopped.load(Ordering::Relaxed) {
            if let Ok((length, from)) = echo.recv_from(&mut room) {
                echo.send_to(room.get(..length).unwrap_or_default(), from).ok();
            }
        }
    });
    let socket = a.enter(|| Ok(UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?))?;
    socket.connect(to)?;
    socket.set_read_timeout(Some(Duration::from_secs(1)))?;
    let mut trips = Vec::with_capacity(ROUND_TRIPS);
    let mut room = [0; 64];
    for number in 0..ROUND_TRIPS {
        let sent = SystemClock.now();
        socket.send(&number.to_be_bytes())?;
        // A loss or a late answer to another question is no round trip.
        if socket.recv(&mut room).is_ok() && room.starts_with(&number.to_be_bytes()) {
            trips.push((SystemClock.now() - sent).as_secs_f64() * 1e6);
        }
    }
    stop.store(true, Ordering::Relaxed);
    thread.join().ok();
    ensure!(trips.len() > ROUND_TRIPS / 2, "only {} of {ROUND_TRIPS} answered", trips.len());
    Ok(median(&mut trips))
}

/// The highest rate of frames of 64 octets, a second, at which fewer than one in 1,000 is lost, of
/// the rates that were tried. A rate counts as carried if one of [`TRIES`] trials loses so few: in
/// the others something else had the cores. (Who waits for a core for 10 ms has frames waiting at
/// its interface, whose queue takes a thousand.)
pub(crate) fn frames(a: &Namespace, b: &Namespace, there: Ipv4Addr) -> Result<f64> {
    let sink = Sink::start(b, there)?;
    let source = a.enter(|| Ok(UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?))?;
    setsockopt(&source, sockopt::SndBufForce, &(4 << 20)).ok();
    let mut best: f64 = 0.0;
    let (mut low, mut high) = (0.0, f64::INFINITY);
    let mut rate: f64 = 60_000.0;
    for _ in 0..9 {
        let mut trial = sink.trial(&source, rate)?;
        for _ in 1..TRIES {
            if trial.is_whole() {
                break;
            }
            trial = sink.trial(&source, rate)?;
        }
        if trial.is_whole() {
            best = best.max(trial.rate);
            low = rate;
            // The generator itself goes no faster.
            if trial.rate < 0.9 * rate {
                break;
            }
        } else {
            high = rate;
        }
        rate = if high.is_infinite() { low * 2.0 } else { f64::midpoint(low, high) };
        if high - low < 0.04 * high {
            break;
        }
    }
    Ok(best)
}

struct Trial {
    sent: u64,
    lost: u64,
    rate: f64,
}

impl Trial {
    fn is_whole(&self) -> bool {
        self.lost * 1000 < self.sent
    }
}

/// Counts datagrams at one address, until dropped.
struct Sink {
    to: SocketAddrV4,
    count: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Sink {
    fn start(namespace: &Namespace, there: Ipv4Addr) -> Result<Self> {
        let socket = namespace.enter(|| Ok(UdpSocket::bind((there, 0))?))?;
        setsockopt(&socket, sockopt::RcvBufForce, &(16 << 20))?;
        socket.set_read_timeout(Some(Duration::from_millis(50)))?;
        let to = SocketAddrV4::new(there, socket.local_addr()?.port());
        let (count, stop) = (Arc::<AtomicU64>::default(), Arc::<AtomicBool>::default());
        let (counted, stopped) = (Arc::clone(&count), Arc::clone(&stop));
        let thread = std::thread::spawn(move || {
            let mut rooms = [[0u8; 64]; BATCH];
            while !stopped.load(Ordering::Relaxed) {
                let mut slices: Vec<_> =
                    rooms.iter_mut().map(|room| [IoSliceMut::new(room)]).collect();
                let mut headers = MultiHeaders::<()>::preallocate(BATCH, None);
                let (fd, flags) = (socket.as_raw_fd(), MsgFlags::MSG_WAITFORONE);
                if let Ok(all) = recvmmsg(fd, &mut headers, slices.iter_mut(), flags, None) {
                    counted.fetch_add(all.count() as u64, Ordering::Relaxed);
                }
            }
        });
        Ok(Self { to, count, stop, thread: Some(thread) })
    }

    /// Sends at that rate for a while, a burst every millisecond, and counts what arrives.
    fn trial(&self, source: &UdpSocket, rate: f64) -> Result<Trial> {
        let before = self.count.load(Ordering::Relaxed);
        let payload = [0u8; SMALL];
        let address = Some(SockaddrIn::from(self.to));
        let begin = SystemClock.now();
        let mut sent = 0u64;
        loop {
            let elapsed = SystemClock.now() - begin;
            if elapsed >= TRIAL {
                break;
            }
            let due = (elapsed.as_secs_f64() * rate) as u64;
            while sent < due {
                let size = usize::try_from(due - sent).unwrap_or(BATCH).min(BATCH);
                let slices: Vec<_> = (0..size).map(|_| [IoSlice::new(&payload)]).collect();
                let mut headers = MultiHeaders::preallocate(size, None);
                let addresses = vec![address; size];
                let fd = source.as_raw_fd();
                let flags = MsgFlags::empty();
                let done = sendmmsg(fd, &mut headers, slices.iter(), addresses, [], flags)?;
                sent += done.count() as u64;
                if SystemClock.now() - begin >= TRIAL {
                    break;
                }
            }
            pause(Duration::from_micros(500));
        }
        let rate = sent as f64 / (SystemClock.now() - begin).as_secs_f64();
        // What is still on its way has as long as it takes, as long as anything comes.
        let (mut arrived, mut quiet): (u64, Instant) = (0, SystemClock.now());
        while arrived < sent && SystemClock.now() - quiet < Duration::from_millis(60) {
            let now = self.count.load(Ordering::Relaxed) - before;
            if now > arrived {
                (arrived, quiet) = (now, SystemClock.now());
            }
            pause(Duration::from_millis(1));
        }
        Ok(Trial { sent, lost: sent.saturating_sub(arrived), rate })
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.join().ok();
        }
    }
}
