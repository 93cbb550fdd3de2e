//! All Ethernet frames of an interface, in batches (packet(7), recvmmsg(2)).
//!
//! For programs that stand in the middle of a link. Frames carry the kernel's notes on what is
//! left to do (a checksum not yet summed, segments not yet cut: `struct virtio_net_hdr`), so that
//! a frame taken from one interface can be put on another as it is.

use std::io::{self, IoSlice, IoSliceMut};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::sync::atomic::{AtomicU64, Ordering};

use nix::sys::socket::{MsgFlags, MultiHeaders, recvmmsg, sendmmsg, setsockopt, sockopt};
use socket2::{Domain, Socket, Type};

use crate::error::{Error, Result};
use crate::link::Links;
use crate::sys;

/// Octets before the Ethernet header: `struct virtio_net_hdr` of linux/virtio_net.h. All zero
/// where nothing is left to do.
pub const NOTES: usize = 10;

/// How many frames go through one system call.
pub const BATCH: usize = 64;

/// A frame with the room it was received in.
#[derive(Debug, Clone)]
pub struct Frame {
    room: Box<[u8]>,
    len: usize,
}

impl Frame {
    /// A room for frames of up to `octets`, notes not counted.
    pub fn room(octets: usize) -> Self {
        Self { room: vec![0; NOTES + octets].into_boxed_slice(), len: NOTES }
    }

    /// A frame made of these octets, Ethernet header first, with nothing left to do.
    pub fn of(octets: &[u8]) -> Self {
        let mut frame = Self::room(octets.len());
        if let Some(room) = frame.room.get_mut(NOTES..) {
            room.copy_from_slice(octets);
        }
        frame.len = frame.room.len();
        frame
    }

    /// The Ethernet frame.
    pub fn octets(&self) -> &[u8] {
        self.room.get(NOTES..self.len).unwrap_or_default()
    }

    fn whole(&self) -> &[u8] {
        self.room.get(..self.len).unwrap_or_default()
    }
}

/// A raw socket that receives what arrives at an interface, and sends by it.
#[derive(Debug)]
pub struct FrameSocket {
    socket: Socket,
    drops: AtomicU64,
    truncated: AtomicU64,
}

impl FrameSocket {
    /// Opens a socket on an interface of the calling thread's network namespace. What other
    /// sockets send by it is not received. `receive_buffer` is in octets of kernel memory.
    ///
    /// # Errors
    ///
    /// There is no such interface, or the kernel refuses.
    pub fn open(interface: &str, receive_buffer: usize) -> Result<Self> {
        let link = Links::open()?
            .by_name(interface)?
            .ok_or_else(|| Error::NoInterface(interface.to_owned()))?;
        Self::open_index(link.index, receive_buffer)
            .map_err(|e| Error::refused("open a packet socket on", interface, e))
    }

    fn open_index(index: u32, receive_buffer: usize) -> io::Result<Self> {
        // Protocol 0 receives nothing: no frame slips in before all is set.
        let socket = Socket::new(Domain::PACKET, Type::RAW, None)?;
        socket.set_nonblocking(true)?;
        if setsockopt(&socket, sockopt::RcvBufForce, &receive_buffer).is_err() {
            socket.set_recv_buffer_size(receive_buffer)?;
        }
        sys::set_option(&socket, libc::SOL_PACKET, libc::PACKET_VNET_HDR, 1)?;
        sys::set_option(&socket, libc::SOL_PACKET, libc::PACKET_IGNORE_OUTGOING, 1)?;
        socket.bind(&sys::packet_address(index)?)?;
        Ok(Self { socket, drops: AtomicU64::new(0), truncated: AtomicU64::new(0) })
    }

    /// Receives what is there, at most [`BATCH`] frames, into the first rooms; returns how many.
    /// Frames larger than their room are dropped. Never waits.
    ///
    /// # Errors
    ///
    /// `ENETDOWN` when the interface went down; otherwise what the kernel says.
    pub fn receive(&self, rooms: &mut [Frame]) -> io::Result<usize> {
        let mut slices: Vec<_> =
            rooms.iter_mut().take(BATCH).map(|frame| [IoSliceMut::new(&mut frame.room)]).collect();
        let mut headers = MultiHeaders::<()>::preallocate(slices.len(), None);
        let fd = self.socket.as_raw_fd();
        let lens: Vec<(usize, bool)> =
            match recvmmsg(fd, &mut headers, slices.iter_mut(), MsgFlags::MSG_DONTWAIT, None) {
                Ok(all) => all.map(|m| (m.bytes, m.flags.contains(MsgFlags::MSG_TRUNC))).collect(),
                Err(nix::Error::EAGAIN) => return Ok(0),
                Err(e) => return Err(e.into()),
            };
        let mut count = 0;
        for (place, (len, truncated)) in lens.into_iter().enumerate() {
            if truncated || len < NOTES {
                self.truncated.fetch_add(1, Ordering::Relaxed);
                continue;
            }
            if let Some(frame) = rooms.get_mut(place) {
                frame.len = len;
                rooms.swap(count, place);
                count += 1;
            }
        }
        Ok(count)
    }

    /// Sends frames, at most [`BATCH`]; returns how many. Never waits: fewer than asked for, or
    /// none, if the interface takes no more.
    ///
    /// # Errors
    ///
    /// What the kernel says of the first: `ENETDOWN` when the interface is down, `EMSGSIZE` for a
    /// frame above its MTU.
    pub fn send<'a>(&self, frames: impl IntoIterator<Item = &'a Frame>) -> io::Result<usize> {
        let slices: Vec<_> =
            frames.into_iter().take(BATCH).map(|frame| [IoSlice::new(frame.whole())]).collect();
        let mut headers = MultiHeaders::<()>::preallocate(slices.len(), None);
        let nowhere = vec![None; slices.len()];
        let fd = self.socket.as_raw_fd();
        match sendmmsg(fd, &mut headers, slices.iter(), nowhere, [], MsgFlags::MSG_DONTWAIT) {
            Ok(sent) => Ok(sent.count()),
            Err(nix::Error::EAGAIN | nix::Error::ENOBUFS) => Ok(0),
            Err(e) => Err(e.into()),
        }
    }

    /// How many frames were not received since the socket was opened: they found its buffer full,
    /// or were larger than their room.
    ///
    /// # Errors
    ///
    /// The kernel refuses to tell.
    pub fn drops(&self) -> io::Result<u64> {
        // Reading clears the kernel's counter.
        let new = u64::from(sys::packet_statistics(&self.socket)?.drops);
        let drops = self.drops.fetch_add(new, Ordering::Relaxed) + new;
        Ok(drops + self.truncated.load(Ordering::Relaxed))
    }
}

impl AsFd for FrameSocket {
    /// Readable when there is a frame.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}
