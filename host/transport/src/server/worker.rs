//! One worker: a batch in, a batch out.

use std::io::{IoSlice, IoSliceMut};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::os::fd::{AsFd, AsRawFd};
use std::sync::atomic::{AtomicBool, Ordering};

use homeward_model::{Clock, Instant};
use nix::cmsg_space;
use nix::errno::Errno;
use nix::libc::{in_addr, in_pktinfo, in6_addr, in6_pktinfo};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{
    ControlMessage, ControlMessageOwned, MsgFlags, MultiHeaders, RecvMsg, SockaddrStorage,
    recvmmsg, sendmmsg, sendmsg,
};
use socket2::Socket;

use super::replies::Slot;
use super::{Datagram, Replies, Service, TICK, Waker};
use crate::MAX_DATAGRAM;
use crate::counters::{Tally, add};
use crate::socket::is_told;

/// Datagrams per system call, at most.
const BATCH: usize = 64;

/// The same while few come at a time: room for many costs as much as to answer one.
const FEW: usize = 8;

/// Replies of one length to one peer that are sent as one: for fewer it is not worth it.
const ALIKE: usize = 3;

/// Octets of all of those together, at most: what fits a datagram (RFC 768), nearly.
const MOST_AT_ONCE: usize = 65_000;

/// After how many batches that is tried again where it failed.
const SINGLY: u32 = 1000;

/// The longest of those, in octets: what fits every link with its headers (RFC 8200 5).
const MAX_SEGMENT: usize = 1232;

type Headers = MultiHeaders<SockaddrStorage>;

/// Serves until `stop` is set.
pub(super) fn run(
    socket: &Socket,
    address: SocketAddr,
    tally: &Tally,
    stop: &AtomicBool,
    clock: &impl Clock,
    waker: &Waker,
    mut service: impl Service,
) {
    service.begin(waker.clone());
    let mut inbox = Inbox::new(socket, address);
    let mut outbox = Outbox::new(socket, address);
    let mut replies = Replies::default();
    let mut ticked = clock.now();
    while !stop.load(Ordering::Relaxed) {
        let batch = inbox.take(tally, clock, |batch| service.handle_all(batch, &mut replies));
        let now = match batch {
            Ok(now) => now,
            Err(Errno::EAGAIN) => {
                wait(socket, waker);
                clock.now()
            }
            Err(Errno::EINTR) => clock.now(),
            Err(errno) => {
                add(&tally.receive_errors, 1);
                tracing::warn!(%address, error = %errno, "receiving failed");
                // Whatever it is, it may last: to try again at once would spin.
                std::thread::park_timeout(TICK);
                clock.now()
            }
        };
        if waker.take() {
            service.woken(&mut replies);
        }
        service.finish(&mut replies);
        outbox.send(&replies, tally);
        replies.clear();
        if now.since(ticked) >= TICK {
            ticked = now;
            service.idle(now);
        }
    }
}

/// Waits for a datagram, or to be woken, up to a tick.
fn wait(socket: &Socket, waker: &Waker) {
    let mut sources = [
        PollFd::new(socket.as_fd(), PollFlags::POLLIN),
        PollFd::new(waker.fd(), PollFlags::POLLIN),
    ];
    let tick = PollTimeout::try_from(TICK).unwrap_or(PollTimeout::ZERO);
    // Whatever comes out of it, the next thing is to look.
    let _ = poll(&mut sources, tick);
    let [_, bell] = sources;
    if bell.any().unwrap_or(false) {
        waker.hush();
    }
}

/// Where datagrams are received to.
struct Inbox<'s> {
    socket: &'s Socket,
    /// The address the socket is bound to, for the case that a datagram does not tell.
    address: SocketAddr,
    headers: Headers,
    buffer: Vec<u8>,
    /// Whether the last system call found more than a few.
    many: bool,
}

impl<'s> Inbox<'s> {
    fn new(socket: &'s Socket, address: SocketAddr) -> Self {
        // Room for exactly one control message: headers that come back shorter stay shorter
        // (nix does not reset them), so every datagram must bring the same ones.
        let headers = MultiHeaders::preallocate(BATCH, control(address));
        Self { socket, address, headers, buffer: vec![0; BATCH * MAX_DATAGRAM], many: false }
    }

    /// Hands over the datagrams that are there. Returns the time they got.
    fn take(
        &mut self,
        tally: &Tally,
        clock: &impl Clock,
        handle: impl FnOnce(&[Datagram<'_>]),
    ) -> Result<Instant, Errno> {
        match self.many {
            true => self.take_up_to::<BATCH>(tally, clock, handle),
            false => self.take_up_to::<FEW>(tally, clock, handle),
        }
    }

    fn take_up_to<const MOST: usize>(
        &mut self,
        tally: &Tally,
        clock: &impl Clock,
        handle: impl FnOnce(&[Datagram<'_>]),
    ) -> Result<Instant, Errno> {
        let mut rooms = self.buffer.chunks_exact_mut(MAX_DATAGRAM);
        let mut slices: [[IoSliceMut<'_>; 1]; MOST] =
            std::array::from_fn(|_| [IoSliceMut::new(rooms.next().unwrap_or_default())]);
        let flags = MsgFlags::MSG_DONTWAIT;
        let batch =
            recvmmsg(self.socket.as_raw_fd(), &mut self.headers, slices.iter_mut(), flags, None)?;
        let received = clock.now();
        let (mut good, mut truncated) = (Vec::with_capacity(MOST), 0);
        for message in batch {
            if message.flags.contains(MsgFlags::MSG_TRUNC) {
                truncated += 1;
                continue;
            }
            let Some(source) = message.address.as_ref().and_then(socket_address) else { continue };
            let local = destination(&message).unwrap_or_else(|| self.address.ip());
            good.push(Datagram {
                bytes: message.iovs().next().unwrap_or_default(),
                source,
                local,
                received,
                tls: None,
            });
        }
        handle(&good);
        self.many = good.len() + truncated >= FEW;
        add(&tally.received, good.len());
        if truncated > 0 {
            add(&tally.truncated, truncated);
        }
        Ok(received)
    }
}

/// Room for what a datagram tells of its address.
fn control(address: SocketAddr) -> Option<Vec<u8>> {
    is_told(address.ip()).then(|| match address {
        SocketAddr::V4(_) => cmsg_space!(in_pktinfo),
        SocketAddr::V6(_) => cmsg_space!(in6_pktinfo),
    })
}

/// The address that a datagram was sent to.
fn destination(message: &RecvMsg<'_, '_, SockaddrStorage>) -> Option<IpAddr> {
    message.cmsgs().ok()?.find_map(|control| match control {
        // `ipi_spec_dst` is ours to send from; `ipi_addr` may be a broadcast (`ip(7)`).
        ControlMessageOwned::Ipv4PacketInfo(info) => {
            Some(IpAddr::from(info.ipi_spec_dst.s_addr.to_ne_bytes()))
        }
        ControlMessageOwned::Ipv6PacketInfo(info) => Some(IpAddr::from(info.ipi6_addr.s6_addr)),
        _ => None,
    })
}

fn socket_address(storage: &SockaddrStorage) -> Option<SocketAddr> {
    match (storage.as_sockaddr_in(), storage.as_sockaddr_in6()) {
        (Some(v4), _) => Some(SocketAddr::V4(SocketAddrV4::from(*v4))),
        (_, Some(v6)) => Some(SocketAddr::V6(SocketAddrV6::from(*v6))),
        _ => None,
    }
}

/// Where replies are sent from.
struct Outbox<'s> {
    socket: &'s Socket,
    headers: Headers,
    /// Where each of a run goes; kept for its room.
    targets: Vec<Option<SockaddrStorage>>,
    /// Whether replies tell which address they leave from.
    is_told: bool,
    /// Batches until several are sent as one again, after that failed: by another way it may not.
    singly: u32,
}

impl<'s> Outbox<'s> {
    fn new(socket: &'s Socket, address: SocketAddr) -> Self {
        // Exactly as much as is sent: the kernel refuses control room that it cannot read.
        let headers = MultiHeaders::preallocate(BATCH, control(address));
        let is_told = is_told(address.ip());
        Self { socket, headers, targets: Vec::with_capacity(BATCH), is_told, singly: 0 }
    }

    /// Sends all replies, in few calls: those of a length to one peer as one, and what is left in
    /// one call for each address that they leave from.
    fn send(&mut self, replies: &Replies, tally: &Tally) {
        let mut all: [Option<&Slot>; BATCH] = [None; BATCH];
        let mut rest = replies.filled();
        loop {
            let mut count = 0;
            for (room, slot) in all.iter_mut().zip(rest.by_ref()) {
                *room = Some(slot);
                count += 1;
            }
            let Some(some) = all.get_mut(..count).filter(|some| !some.is_empty()) else { return };
            self.send_some(some, tally);
        }
    }

    fn send_some(&mut self, some: &mut [Option<&Slot>], tally: &Tally) {
        let sort = |slot: &&Slot| (slot.from, slot.to, slot.bytes.len());
        let segments = self.singly == 0;
        self.singly = self.singly.saturating_sub(1);
        if segments {
            some.sort_unstable_by_key(|slot| slot.as_ref().map(sort));
        }
        let mut single: [Option<&Slot>; BATCH] = [None; BATCH];
        let mut singles = 0;
        for alike in some.chunk_by(|a, b| a.as_ref().map(sort) == b.as_ref().map(sort)) {
            let len = alike.first().copied().flatten().map_or(0, |slot| slot.bytes.len());
            for alike in alike.chunks((MOST_AT_ONCE / len.max(1)).max(1)) {
                if segments && alike.len() >= ALIKE && self.send_segments(alike, tally) {
                    continue;
                }
                for (room, slot) in single.iter_mut().skip(singles).zip(alike) {
                    *room = *slot;
                    singles += 1;
                }
            }
        }
        let from = |slot: &Option<&Slot>| slot.map(|slot| (slot.from, zone(&slot.to)));
        let single = single.get(..singles).unwrap_or_default();
        for mut pending in single.chunk_by(|a, b| from(a) == from(b)) {
            while let Some(from) = pending.first().and_then(from) {
                match self.send_run(pending, from) {
                    Ok(sent) => {
                        add(&tally.sent, sent);
                        pending = pending.get(sent..).unwrap_or_default();
                    }
                    Err(Errno::EINTR) => {}
                    Err(errno) => {
                        // The error is the first one's; the others have their own chance.
                        tally.send_failed(errno);
                        tracing::debug!(error = %errno, "reply not sent");
                        pending = pending.get(1..).unwrap_or_default();
                    }
                }
            }
        }
    }

    /// Sends replies of one length to one peer as a single large one, which the kernel takes apart
    /// at the very end (`UDP_SEGMENT`, `udp(7)`). Whether it did; else they are to be sent one by
    /// one.
    fn send_segments(&mut self, alike: &[Option<&Slot>], tally: &Tally) -> bool {
        let Some(first) = alike.first().copied().flatten() else { return true };
        let Ok(len) = u16::try_from(first.bytes.len()) else { return false };
        if usize::from(len) > MAX_SEGMENT {
            return false;
        }
        let mut slices = [IoSlice::new(&[]); BATCH];
        for (slice, slot) in slices.iter_mut().zip(alike.iter().flatten()) {
            *slice = IoSlice::new(&slot.bytes);
        }
        let slices = slices.get(..alike.len()).unwrap_or_default();
        let (fd, to) = (self.socket.as_raw_fd(), SockaddrStorage::from(first.to));
        let sent = with_source((first.from, zone(&first.to)), |source| {
            let control = [ControlMessage::UdpGsoSegments(&len), source];
            let control = if self.is_told { &control[..] } else { &control[..1] };
            sendmsg(fd, slices, control, MsgFlags::empty(), Some(&to))
        });
        match sent {
            Ok(_) => add(&tally.sent, alike.len()),
            Err(errno) => {
                // Whatever it is, each by itself says what is wrong with it: the device, the route
                // or the kernel may not do this.
                self.singly = SINGLY;
                tracing::debug!(error = %errno, "replies not sent as one");
            }
        }
        sent.is_ok()
    }

    /// Sends replies that leave from the same address; returns how many were sent, at least one.
    fn send_run(&mut self, run: &[Option<&Slot>], from: (IpAddr, u32)) -> Result<usize, Errno> {
        let mut slices: [[IoSlice<'_>; 1]; BATCH] = [[IoSlice::new(&[])]; BATCH];
        self.targets.clear();
        for (slot, slice) in run.iter().flatten().zip(&mut slices) {
            *slice = [IoSlice::new(&slot.bytes)];
            self.targets.push(Some(SockaddrStorage::from(slot.to)));
        }
        let slices = slices.get(..run.len()).unwrap_or_default();
        let fd = self.socket.as_raw_fd();
        let (headers, targets) = (&mut self.headers, &self.targets);
        let sent = with_source(from, |source| {
            let source = [source];
            let control = if self.is_told { &source[..] } else { &[] };
            // As many as it tells of: it returns an error rather than none.
            sendmmsg(fd, headers, slices, targets, control, MsgFlags::empty()).map(|s| s.count())
        })?;
        Ok(sent.clamp(1, run.len().max(1)))
    }
}

/// Has something sent from that address, by that interface if it is not 0.
fn with_source<T>((from, zone): (IpAddr, u32), send: impl FnOnce(ControlMessage<'_>) -> T) -> T {
    match from {
        IpAddr::V4(ip) => send(ControlMessage::Ipv4PacketInfo(&in_pktinfo {
            ipi_ifindex: 0,
            ipi_spec_dst: in_addr { s_addr: u32::from_ne_bytes(ip.octets()) },
            ipi_addr: in_addr { s_addr: u32::from_ne_bytes(Ipv4Addr::UNSPECIFIED.octets()) },
        })),
        IpAddr::V6(ip) => send(ControlMessage::Ipv6PacketInfo(&in6_pktinfo {
            ipi6_addr: in6_addr { s6_addr: ip.octets() },
            ipi6_ifindex: zone,
        })),
    }
}

/// The interface that a link-local client is on; 0 for all other addresses, which are routed.
fn zone(address: &SocketAddr) -> u32 {
    match address {
        SocketAddr::V6(v6) => v6.scope_id(),
        SocketAddr::V4(_) => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::socket::{local, server_sockets};
    use std::net::UdpSocket;
    use std::num::NonZeroUsize;

    /// Sends answers of these lengths, and takes what arrives; how many batches are sent singly
    /// from then on.
    fn sent(lengths: &[usize], singly: u32) -> (Vec<usize>, u32) {
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let sockets = server_sockets(any, NonZeroUsize::MIN, None).unwrap();
        let address = local(&sockets[0]).unwrap();
        let peer = UdpSocket::bind(any).unwrap();
        peer.set_read_timeout(Some(std::time::Duration::from_secs(10))).unwrap();
        let (tally, mut replies) = (Tally::default(), Replies::default());
        let mut outbox = Outbox::new(&sockets[0], address);
        outbox.singly = singly;
        for (n, len) in lengths.iter().enumerate() {
            let (source, local) = (peer.local_addr().unwrap(), address.ip());
            let received = Instant::ORIGIN;
            let asked = Datagram { bytes: &[], source, local, received, tls: None };
            replies.to(&asked).resize(*len, n as u8);
        }
        outbox.send(&replies, &tally);
        let mut room = [0; 4096];
        let mut arrived: Vec<_> = lengths.iter().map(|_| peer.recv(&mut room).unwrap()).collect();
        arrived.sort_unstable();
        assert_eq!(tally.sent.load(Ordering::Relaxed), lengths.len() as u64);
        (arrived, outbox.singly)
    }

    #[test]
    fn answers_of_a_length_leave_as_one_however_many_they_are() {
        for lengths in [vec![100; 3], vec![100; 64], vec![1232; 64], vec![7; 200]] {
            assert_eq!(sent(&lengths, 0), (lengths.clone(), 0), "what could not be is noted");
        }
    }

    #[test]
    fn where_that_failed_they_leave_one_by_one_for_a_while() {
        assert_eq!(sent(&[100; 64], 2), (vec![100; 64], 1));
        assert_eq!(sent(&[100; 64], 1), (vec![100; 64], 0));
    }

    #[test]
    fn what_not_every_link_takes_is_sent_one_by_one() {
        assert_eq!(sent(&[1233; 8], 0), (vec![1233; 8], 0));
    }
}
