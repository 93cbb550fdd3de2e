//! How long traffic is silent: a datagram every 10 ms, or as often as is wanted, from one namespace
//! to another.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, UdpSocket};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result};
use homeward_model::Instant;
use serde::Serialize;

use crate::namespace::Namespace;
use crate::wait::{now, pause};

/// From one datagram to the next.
const PERIOD: Duration = Duration::from_millis(10);

/// A stream of small datagrams, until dropped.
#[derive(Debug)]
pub struct Flow {
    sent: Arc<AtomicU64>,
    arrivals: Arc<Mutex<Vec<Arrival>>>,
    stop: Arc<AtomicBool>,
}

#[derive(Debug, Clone, Copy)]
struct Arrival {
    at: Instant,
    number: u64,
    from: Ipv4Addr,
}

/// A silence of a stream.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Silence {
    /// When it began.
    pub at: Instant,
    /// How long it was.
    pub span: Duration,
}

/// What a stream suffered in a span of time.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Outage {
    /// The longest silence at the receiver, in milliseconds; the stream's period if all is well.
    pub silence_ms: f64,
    /// Datagrams sent between the first and the last that arrived, and lost.
    pub lost: u64,
    /// Datagrams that arrived.
    pub arrived: u64,
}

impl Flow {
    /// Starts a stream from any address of `from` to `address` in `to`.
    ///
    /// # Errors
    /// If `address` is not one of `to`'s, or the port is taken there.
    pub fn start(from: &Namespace, to: &Namespace, address: Ipv4Addr, port: u16) -> Result<Self> {
        Self::every(PERIOD, from, to, address, port)
    }

    /// The same, with a datagram every `period`.
    ///
    /// # Errors
    /// As [`start`](Self::start).
    pub fn every(
        period: Duration,
        from: &Namespace,
        to: &Namespace,
        address: Ipv4Addr,
        port: u16,
    ) -> Result<Self> {
        let target = SocketAddrV4::new(address, port);
        let receiver =
            to.enter(|| UdpSocket::bind(target).with_context(|| format!("bind {target}")))?;
        let sender = from.enter(|| Ok(UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?))?;
        receiver.set_read_timeout(Some(Duration::from_millis(200)))?;
        let flow = Self { sent: Arc::default(), arrivals: Arc::default(), stop: Arc::default() };

        let (sent, stop) = (Arc::clone(&flow.sent), Arc::clone(&flow.stop));
        std::thread::Builder::new().name("flow-out".into()).spawn(move || {
            let mut due = now();
            while !stop.load(Ordering::Relaxed) {
                let number = sent.fetch_add(1, Ordering::Relaxed);
                // Without a route it is lost, as any other would be.
                sender.send_to(&number.to_be_bytes(), target).ok();
                due = due + period;
                match due - now() {
                    Duration::ZERO => due = now(),
                    early => pause(early),
                }
            }
        })?;

        let (arrivals, stop) = (Arc::clone(&flow.arrivals), Arc::clone(&flow.stop));
        std::thread::Builder::new().name("flow-in".into()).spawn(move || {
            let mut room = [0; 8];
            while !stop.load(Ordering::Relaxed) {
                if let Ok((8, SocketAddr::V4(from))) = receiver.recv_from(&mut room) {
                    let number = u64::from_be_bytes(room);
                    let arrival = Arrival { at: now(), number, from: *from.ip() };
                    arrivals.lock().unwrap_or_else(PoisonError::into_inner).push(arrival);
                }
            }
        })?;
        Ok(flow)
    }

    /// How many datagrams were sent so far.
    pub fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    /// When the first datagram came from that address, at or after `since`: a sender without an
    /// address of its own takes that of the line it is routed by.
    pub fn first_from(&self, address: Ipv4Addr, since: Instant) -> Option<Instant> {
        let arrivals = self.arrivals.lock().unwrap_or_else(PoisonError::into_inner);
        arrivals.iter().find(|a| a.at >= since && a.from == address).map(|a| a.at)
    }

    /// From which address the last datagram came.
    pub fn now_from(&self) -> Option<Ipv4Addr> {
        let arrivals = self.arrivals.lock().unwrap_or_else(PoisonError::into_inner);
        arrivals.last().map(|a| a.from)
    }

    /// Its silences of at least that length, from `since` to `until`; those at both ends count.
    pub fn silences(&self, since: Instant, until: Instant, least: Duration) -> Vec<Silence> {
        let arrivals = self.arrivals.lock().unwrap_or_else(PoisonError::into_inner);
        let inside = arrivals.iter().map(|a| a.at).filter(|at| *at >= since && *at <= until);
        silences(inside.chain([until]), since, least)
    }

    /// From which addresses datagrams came so far.
    pub fn all_from(&self) -> BTreeSet<Ipv4Addr> {
        let arrivals = self.arrivals.lock().unwrap_or_else(PoisonError::into_inner);
        arrivals.iter().map(|a| a.from).collect()
    }

    /// What it suffered from `since` to `until`; the silence at both ends counts.
    pub fn outage(&self, since: Instant, until: Instant) -> Outage {
        let arrivals = self.arrivals.lock().unwrap_or_else(PoisonError::into_inner);
        outage(arrivals.iter().copied(), since, until)
    }
}

impl Drop for Flow {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

fn silences(
    arrivals: impl Iterator<Item = Instant>,
    since: Instant,
    least: Duration,
) -> Vec<Silence> {
    let mut last = since;
    let gaps = arrivals.map(|at| {
        let began = std::mem::replace(&mut last, at);
        Silence { at: began, span: at - began }
    });
    gaps.filter(|silence| silence.span >= least).collect()
}

fn outage(arrivals: impl Iterator<Item = Arrival>, since: Instant, until: Instant) -> Outage {
    let (mut last, mut silence) = (since, Duration::ZERO);
    let mut numbers = Vec::new();
    for arrival in arrivals.filter(|a| a.at >= since && a.at <= until) {
        silence = silence.max(arrival.at - last);
        last = arrival.at;
        numbers.push(arrival.number);
    }
    silence = silence.max(until - last);
    numbers.sort_unstable();
    numbers.dedup();
    let span = match (numbers.first(), numbers.last()) {
        (Some(first), Some(last)) => last - first + 1,
        _ => 0,
    };
    let arrived = numbers.len() as u64;
    Outage { silence_ms: silence.as_secs_f64() * 1e3, lost: span - arrived, arrived }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outage_is_the_longest_silence_and_what_was_lost_in_it() {
        let ms = |ms: u64| Instant::from_nanos(ms * 1_000_000);
        let arrivals = [(10, 1), (20, 2), (95, 9), (100, 9), (104, 10)]
            .map(|(at, number)| Arrival { at: ms(at), number, from: Ipv4Addr::LOCALHOST });
        let seen = outage(arrivals.into_iter(), ms(5), ms(110));
        assert_eq!(seen, Outage { silence_ms: 75.0, lost: 6, arrived: 4 });
        let long = silences(arrivals.iter().map(|a| a.at), ms(5), Duration::from_millis(10));
        let spans: Vec<_> = long.iter().map(|s| (s.at, s.span.as_millis())).collect();
        assert_eq!(spans, [(ms(10), 10), (ms(20), 75)]);
        let never = outage([].into_iter(), ms(5), ms(110));
        assert_eq!(never, Outage { silence_ms: 105.0, lost: 0, arrived: 0 });
    }
}
