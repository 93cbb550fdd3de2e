//! A download over TCP that is watched: how much came when, how long it stood still, and that
//! every octet is the right one.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddrV4, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result};
use homeward_model::{Entropy, Instant};
use serde::Serialize;

use crate::namespace::Namespace;
use crate::random::SplitMix;
use crate::wait::{now, pause};

/// The octets that are sent over and over. A prime, so that no shift by a segment, a page or a
/// power of two looks right.
const PATTERN: usize = 65_521;

/// The least octets that are sent at a time: each takes a moment of the machine's.
const SEGMENT: usize = 1000;

/// The width of a step of [`Download::progress`].
pub const STEP: Duration = Duration::from_millis(10);

/// A download, until dropped.
#[derive(Debug)]
pub struct Download {
    state: Arc<Mutex<State>>,
    started: Instant,
    stop: Arc<AtomicBool>,
}

#[derive(Debug, Default)]
struct State {
    /// When how many octets were there in all.
    progress: Vec<(Instant, u64)>,
    /// What ended it.
    end: Option<String>,
}

/// What came in a step of time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Progress {
    /// The step's beginning, in milliseconds since the download's start.
    pub ms: u64,
    /// Octets that came in it.
    pub octets: u64,
}

impl Download {
    /// Downloads without end from `server` to `client`, by a connection that the client opens to
    /// `address`, one of the server's; as quickly as it goes.
    ///
    /// # Errors
    /// If the port is taken, or the client does not reach it within five seconds.
    pub async fn start(
        server: &Namespace,
        client: &Namespace,
        address: Ipv4Addr,
        port: u16,
    ) -> Result<Self> {
        Self::paced(server, client, address, port, None).await
    }

    /// [`start`](Self::start) at no more than so many bits a second, sent evenly: a gap is then a
    /// silence of the path, and the machine has time for others.
    ///
    /// # Errors
    /// As [`start`](Self::start).
    pub async fn paced(
        server: &Namespace,
        client: &Namespace,
        address: Ipv4Addr,
        port: u16,
        rate: Option<u64>,
    ) -> Result<Self> {
        Self::governed(server, client, address, port, rate, None).await
    }

    /// [`paced`](Self::paced), the server's congestion control being that of this name, such as
    /// `cubic`, and not the system's.
    ///
    /// # Errors
    /// As [`start`](Self::start); or the kernel does not have it.
    pub async fn governed(
        server: &Namespace,
        client: &Namespace,
        address: Ipv4Addr,
        port: u16,
        rate: Option<u64>,
        congestion: Option<&str>,
    ) -> Result<Self> {
        let to = SocketAddrV4::new(address, port);
        let listener =
            server.enter(|| TcpListener::bind(to).with_context(|| format!("bind {to}")))?;
        if let Some(name) = congestion {
            // What is accepted has it, too.
            socket2::SockRef::from(&listener)
                .set_tcp_congestion(name.as_bytes())
                .with_context(|| format!("no congestion control {name}"))?;
        }
        let stop = Arc::<AtomicBool>::default();
        let stopped = Arc::clone(&stop);
        std::thread::Builder::new().name("download-out".into()).spawn(move || {
            if let Ok((stream, _)) = listener.accept() {
                send(stream, rate, &stopped);
            }
        })?;
        let stream = client
            .run(move || {
                TcpStream::connect_timeout(&to.into(), Duration::from_secs(5))
                    .with_context(|| format!("cannot connect to {to}"))
            })
            .await?;
        let download = Self { state: Arc::default(), started: now(), stop };
        let (state, stopped) = (Arc::clone(&download.state), Arc::clone(&download.stop));
        std::thread::Builder::new().name("download-in".into()).spawn(move || {
            let end = receive(stream, &state, &stopped);
            state.lock().unwrap_or_else(PoisonError::into_inner).end = Some(end);
        })?;
        Ok(download)
    }

    /// Octets that have come so far, all as they were sent.
    pub fn total(&self) -> u64 {
        self.state().progress.last().map_or(0, |(_, total)| *total)
    }

    /// Why it has ended; `None` while it goes on.
    pub fn end(&self) -> Option<String> {
        self.state().end.clone()
    }

    /// What came in each [`STEP`] since the start.
    pub fn progress(&self) -> Vec<Progress> {
        steps(self.started, &self.state().progress)
    }

    /// The longest time from `since` to `until` in which nothing came.
    pub fn silence(&self, since: Instant, until: Instant) -> Duration {
        let state = self.state();
        let moments = state.progress.iter().map(|(at, _)| *at);
        let moments = moments.filter(|at| *at > since && *at < until).chain([until]);
        let mut last = since;
        moments.fold(Duration::ZERO, |longest, at| {
            let gap = at - std::mem::replace(&mut last, at);
            longest.max(gap)
        })
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Download {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

fn pattern() -> Vec<u8> {
    let mut octets = vec![0; PATTERN];
    SplitMix::new(4).fill(&mut octets);
    octets
}

fn send(mut stream: TcpStream, rate: Option<u64>, stop: &AtomicBool) {
    // So that a stop is seen while the other end takes nothing.
    stream.set_write_timeout(Some(Duration::from_millis(200))).ok();
    let pattern = pattern();
    let (mut at, mut due) = (0, now());
    // What a millisecond may have, and no less than is worth a segment.
    let most =
        rate.map_or(PATTERN, |rate| usize::try_from(rate / 8000).unwrap_or(PATTERN).max(SEGMENT));
    while !stop.load(Ordering::Relaxed) {
        let left = pattern.get(at..).unwrap_or_default();
        match stream.write(left.get(..most).unwrap_or(left)) {
            Ok(sent) => {
                at = (at + sent) % PATTERN;
                if let Some(rate) = rate {
                    // What was missed is not made up for.
                    let span = sent as u64 * 8_000_000_000 / rate.max(1);
                    due = due.max(now()) + Duration::from_nanos(span);
                    pause(due - now());
                }
            }
            Err(error) if is_timeout(&error) => {}
            // The client's end says so, too.
            Err(_) => return,
        }
    }
}

fn receive(mut stream: TcpStream, state: &Mutex<State>, stop: &AtomicBool) -> String {
    stream.set_read_timeout(Some(Duration::from_millis(200))).ok();
    let pattern = pattern();
    let mut room = vec![0; PATTERN];
    let (mut at, mut total) = (0, 0u64);
    while !stop.load(Ordering::Relaxed) {
        // Never beyond the pattern's end, so that a comparison needs no wrap.
        let want = pattern.get(at..).unwrap_or_default();
        let Some(space) = room.get_mut(..want.len()) else { return "no room".into() };
        match stream.read(space) {
            Ok(0) => return "the server closed the connection".into(),
            Ok(length) => {
                if space.get(..length) != want.get(..length) {
                    return format!("wrong octets after {total} right ones");
                }
                at = (at + length) % PATTERN;
                total += length as u64;
                let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
                state.progress.push((now(), total));
            }
            Err(error) if is_timeout(&error) => {}
            Err(error) => return error.to_string(),
        }
    }
    "stopped".into()
}

fn is_timeout(error: &std::io::Error) -> bool {
    matches!(
        error.kind(),
        std::io::ErrorKind::WouldBlock
            | std::io::ErrorKind::TimedOut
            | std::io::ErrorKind::Interrupted
    )
}

fn steps(started: Instant, progress: &[(Instant, u64)]) -> Vec<Progress> {
    let width = STEP.as_millis() as u64;
    let mut steps: Vec<Progress> = Vec::new();
    let mut before = 0;
    for (at, total) in progress {
        let step = at.since(started).as_millis() as u64 / width;
        while steps.len() as u64 <= step {
            steps.push(Progress { ms: steps.len() as u64 * width, octets: 0 });
        }
        if let Some(last) = steps.last_mut() {
            last.octets += total - before;
        }
        before = *total;
    }
    steps
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Instant {
        Instant::from_nanos(ms * 1_000_000)
    }

    #[test]
    fn progress_is_cut_into_steps_and_silence_is_the_longest_gap() {
        let progress = vec![(at(1), 10), (at(9), 30), (at(35), 31), (at(36), 40)];
        let octets: Vec<_> =
            steps(at(0), &progress).into_iter().map(|p| (p.ms, p.octets)).collect();
        assert_eq!(octets, [(0, 30), (10, 0), (20, 0), (30, 10)]);
        let state = State { progress, end: None };
        let download =
            Download { state: Arc::new(Mutex::new(state)), started: at(0), stop: Arc::default() };
        assert_eq!(download.silence(at(0), at(40)), Duration::from_millis(26));
        assert_eq!(download.silence(at(36), at(100)), Duration::from_millis(64));
        assert_eq!(download.total(), 40);
    }
}
