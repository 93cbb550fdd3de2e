//! Datagrams on their way out: written one behind the other, sent in runs of one size.

use std::io::{self, IoSlice};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use homeward_linux::udp::{MAX_RUN, MAX_SEGMENTS, Outgoing, UdpSocket};

use crate::counters::Counters;

/// How many messages go out in one call.
const CALL: usize = 16;

/// Where datagrams go, and on whose account.
#[derive(Debug, Clone)]
pub(crate) struct Target {
    /// The address.
    pub(crate) to: SocketAddr,
    /// From which of our addresses; the kernel's choice if `None`.
    pub(crate) from: Option<IpAddr>,
    /// By which interface; the routing table's choice if 0.
    pub(crate) interface: u32,
    /// Who counts what does not leave; `None` for what belongs to no tunnel.
    pub(crate) counters: Option<Arc<Counters>>,
}

/// A datagram that the socket found too long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TooBig {
    /// Where it was to go.
    pub(crate) to: SocketAddr,
    /// Its octets, without headers.
    pub(crate) octets: usize,
}

/// Datagrams on their way out.
#[derive(Debug)]
pub(crate) struct Batch {
    arena: Box<[u8]>,
    used: usize,
    runs: Vec<Run>,
    /// What the sockets found too long since this was last looked at.
    pub(crate) too_big: Vec<TooBig>,
}

/// Datagrams to one address, of one size but the last.
#[derive(Debug)]
struct Run {
    target: Target,
    begin: usize,
    end: usize,
    size: usize,
    count: usize,
}

impl Run {
    fn takes(&self, target: &Target, len: usize) -> bool {
        let filled = self.end - self.begin == self.size * self.count;
        filled
            && len <= self.size
            && self.count < MAX_SEGMENTS
            && self.end - self.begin + len <= MAX_RUN
            && self.target.to == target.to
            && self.target.from == target.from
            && self.target.interface == target.interface
    }
}

impl Batch {
    /// With room for so many octets at a time.
    pub(crate) fn new(octets: usize) -> Self {
        Self {
            arena: vec![0; octets].into_boxed_slice(),
            used: 0,
            runs: Vec::new(),
            too_big: Vec::new(),
        }
    }

    /// Room for the next datagram.
    #[inline]
    pub(crate) fn room(&mut self) -> &mut [u8] {
        self.arena.get_mut(self.used..).unwrap_or_default()
    }

    /// How much room is left.
    #[inline]
    pub(crate) fn left(&self) -> usize {
        self.arena.len() - self.used
    }

    /// Octets of all datagrams.
    #[cfg(test)]
    pub(crate) fn octets(&self) -> usize {
        self.used
    }

    /// Whether nothing is on its way.
    pub(crate) fn is_empty(&self) -> bool {
        self.runs.is_empty()
    }

    /// Takes the first `len` octets of the room as a datagram.
    #[inline]
    pub(crate) fn push(&mut self, target: &Target, len: usize) {
        let begin = self.used;
        self.used += len;
        match self.runs.last_mut() {
            Some(run) if run.end == begin && run.takes(target, len) => {
                run.end += len;
                run.count += 1;
            }
            _ => {
                let target = target.clone();
                self.runs.push(Run { target, begin, end: begin + len, size: len, count: 1 });
            }
        }
    }

    /// Sends everything. What does not leave at once is dropped and counted: a queue of our own
    /// would only add to the delay.
    pub(crate) fn flush(&mut self, sockets: &[UdpSocket]) {
        let mut rest = self.runs.as_slice();
        while let Some(first) = rest.first() {
            let Some(socket) = sockets.iter().find(|socket| socket.reaches(first.target.to)) else {
                count(&first.target, first.count, |counters| &counters.no_path);
                rest = rest.get(1..).unwrap_or_default();
                continue;
            };
            let same = rest
                .iter()
                .take(CALL)
                .take_while(|run| socket.reaches(run.target.to))
                .take_while(|run| run.count == 1 || socket.sends_runs())
                .count();
            let sent = if same == 0 {
                self.too_big.extend(one_by_one(socket, first, &self.arena));
                1
            } else {
                match together(socket, rest.get(..same).unwrap_or_default(), &self.arena) {
                    Ok(sent) => sent.max(1),
                    Err(error) => {
                        self.too_big.extend(failed(socket, first, &self.arena, &error));
                        1
                    }
                }
            };
            rest = rest.get(sent..).unwrap_or_default();
        }
        self.runs.clear();
        self.used = 0;
    }
}

/// Sends runs in one call.
fn together(socket: &UdpSocket, runs: &[Run], arena: &[u8]) -> io::Result<usize> {
    let parts: [[IoSlice<'_>; 1]; CALL] = std::array::from_fn(|at| {
        let octets = runs.get(at).and_then(|run| arena.get(run.begin..run.end));
        [IoSlice::new(octets.unwrap_or_default())]
    });
    let nowhere = SocketAddr::from(([0, 0, 0, 0], 0));
    let messages: [Outgoing<'_>; CALL] = std::array::from_fn(|at| {
        let run = runs.get(at);
        Outgoing {
            to: run.map_or(nowhere, |run| run.target.to),
            from: run.and_then(|run| run.target.from),
            interface: run.map_or(0, |run| run.target.interface),
            parts: parts.get(at).map_or(&[], |parts| parts.as_slice()),
            segment: run.filter(|run| run.count > 1).and_then(|run| u16::try_from(run.size).ok()),
        }
    });
    socket.send(messages.get(..runs.len()).unwrap_or_default())
}

/// What the first run was refused for decides what becomes of it.
#[cold]
fn failed(socket: &UdpSocket, run: &Run, arena: &[u8], error: &io::Error) -> Option<TooBig> {
    match error.raw_os_error() {
        // Full. To wait would let frames grow old behind it.
        Some(nix::libc::EAGAIN | nix::libc::ENOBUFS | nix::libc::ENOMEM) => {
            count(&run.target, run.count, |counters| &counters.socket_full);
            None
        }
        // Too long; or a device that cannot do runs; or an address of ours that is gone.
        Some(
            nix::libc::EMSGSIZE
            | nix::libc::EINVAL
            | nix::libc::EIO
            | nix::libc::EADDRNOTAVAIL
            | nix::libc::ENODEV,
        ) => one_by_one(socket, run, arena),
        _ => {
            tracing::debug!(%error, "datagrams not sent");
            count(&run.target, run.count, |counters| &counters.socket_error);
            None
        }
    }
}

/// Sends a run's datagrams singly, from whatever address the kernel likes. Gives the longest that
/// was too long.
#[cold]
fn one_by_one(socket: &UdpSocket, run: &Run, arena: &[u8]) -> Option<TooBig> {
    let octets = arena.get(run.begin..run.end).unwrap_or_default();
    let mut too_big = None;
    for datagram in octets.chunks(run.size.max(1)) {
        let parts = [IoSlice::new(datagram)];
        let Target { to, interface, .. } = run.target;
        let message = Outgoing { to, from: None, interface, parts: &parts, segment: None };
        let Err(error) = socket.send(&[message]) else { continue };
        match error.raw_os_error() {
            Some(nix::libc::EMSGSIZE) => {
                let octets = datagram.len().max(too_big.map_or(0, |big: TooBig| big.octets));
                too_big = Some(TooBig { to: run.target.to, octets });
                count(&run.target, 1, |counters| &counters.too_long);
            }
            Some(nix::libc::EAGAIN | nix::libc::ENOBUFS | nix::libc::ENOMEM) => {
                count(&run.target, 1, |counters| &counters.socket_full);
            }
            _ => {
                tracing::debug!(%error, "datagram not sent");
                count(&run.target, 1, |counters| &counters.socket_error);
            }
        }
    }
    too_big
}

fn count(target: &Target, datagrams: usize, which: fn(&Counters) -> &crate::counters::Counter) {
    if let Some(counters) = &target.counters {
        which(counters).add(datagrams as u64);
    }
}
