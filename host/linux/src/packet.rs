//! A raw socket on an interface (packet(7)), with a filter inside the kernel (BPF).
//!
//! A radio hears hundreds of frames a second; the filter lets through only those that matter, so
//! that the others cost no wake-up and no copy.

use std::io::{self, IoSliceMut};
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use nix::sys::socket::{ControlMessageOwned, MsgFlags, recvmsg, setsockopt, sockopt};
use nix::sys::time::TimeSpec;
use socket2::{Domain, SockFilter, Socket, Type};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use crate::error::{Error, Result};
use crate::link::Links;
use crate::sys;

/// Which captured frames (radiotap, then 802.11) the kernel passes on. All need a whole management
/// header of 24 octets behind the radiotap header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Filter {
    /// Probe requests.
    ProbeRequests,
    /// Beacons.
    Beacons,
    /// All management frames.
    Management,
}

impl Filter {
    /// The mask and value of the frame control's first octet: protocol version (2 bits), type
    /// (2 bits, 0 is management), subtype (4 bits); IEEE 802.11-2020 9.2.4.1.
    const fn frame_control(self) -> (u32, u32) {
        match self {
            Self::ProbeRequests => (0xff, 0x40),
            Self::Beacons => (0xff, 0x80),
            Self::Management => (0x0f, 0x00),
        }
    }

    /// The filter as a classic BPF program. A load from beyond the frame's end drops the frame.
    fn program(self) -> [SockFilter; 12] {
        let (mask, value) = self.frame_control();
        let op = |code: u32, k: u32| SockFilter::new(code as u16, 0, 0, k);
        [
            // X = the radiotap header's length: octets 2 and 3, little-endian.
            op(libc::BPF_LD | libc::BPF_B | libc::BPF_ABS, 3),
            op(libc::BPF_ALU | libc::BPF_LSH | libc::BPF_K, 8),
            op(libc::BPF_MISC | libc::BPF_TAX, 0),
            op(libc::BPF_LD | libc::BPF_B | libc::BPF_ABS, 2),
            op(libc::BPF_ALU | libc::BPF_OR | libc::BPF_X, 0),
            op(libc::BPF_MISC | libc::BPF_TAX, 0),
            // The last octet of the management header must be there.
            op(libc::BPF_LD | libc::BPF_B | libc::BPF_IND, 23),
            op(libc::BPF_LD | libc::BPF_B | libc::BPF_IND, 0),
            op(libc::BPF_ALU | libc::BPF_AND | libc::BPF_K, mask),
            SockFilter::new((libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16, 0, 1, value),
            op(libc::BPF_RET | libc::BPF_K, u32::MAX), // all of it
            op(libc::BPF_RET | libc::BPF_K, 0),        // none of it
        ]
    }
}

/// One frame that was received.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Received {
    /// Octets in the buffer. A frame longer than the buffer is cut off.
    pub len: usize,
    /// When the kernel took it from the driver.
    pub at: Option<SystemTime>,
}

/// A raw socket on one interface.
///
/// If the interface is set down or deleted, [`recv`](Self::recv) fails once with `ENETDOWN`. When
/// an interface that was down is up again the socket goes on; on one that was deleted it stays
/// silent for good: open another.
#[derive(Debug)]
pub struct PacketSocket {
    socket: AsyncFd<Socket>,
    drops: AtomicU64,
}

impl PacketSocket {
    /// Opens a socket on an interface of the calling thread's network namespace, inside a tokio
    /// runtime. `receive_buffer` is in octets of kernel memory, of which a small frame takes
    /// about 1,000; the kernel allows CAP_NET_ADMIN any size.
    ///
    /// # Errors
    ///
    /// There is no such interface, or the kernel refuses.
    pub fn open(interface: &str, filter: Filter, receive_buffer: usize) -> Result<Self> {
        let link = Links::open()?
            .by_name(interface)?
            .ok_or_else(|| Error::NoInterface(interface.to_owned()))?;
        Self::open_index(link.index, filter, receive_buffer)
            .map_err(|e| Error::refused("open a packet socket on", interface, e))
    }

    fn open_index(index: u32, filter: Filter, receive_buffer: usize) -> io::Result<Self> {
        // Protocol 0 receives nothing: no frame slips in before filter and interface are set.
        let socket = Socket::new(Domain::PACKET, Type::RAW, None)?;
        socket.set_nonblocking(true)?;
        socket.attach_filter(&filter.program())?;
        if setsockopt(&socket, sockopt::RcvBufForce, &receive_buffer).is_err() {
            socket.set_recv_buffer_size(receive_buffer)?;
        }
        setsockopt(&socket, sockopt::ReceiveTimestampns, &true)?;
        // Linux 4.20; without it what other sockets inject is heard, too, which only costs time.
        let _ = sys::set_option(&socket, libc::SOL_PACKET, libc::PACKET_IGNORE_OUTGOING, 1);
        socket.bind(&sys::packet_address(index)?)?;
        Ok(Self { socket: sys::watch(socket)?, drops: AtomicU64::new(0) })
    }

    /// Receives one frame. May be cancelled: no frame is lost.
    ///
    /// # Errors
    ///
    /// `ENETDOWN` when the interface went down; otherwise what the kernel says.
    pub async fn recv(&self, room: &mut [u8]) -> io::Result<Received> {
        // An error of the socket wakes only those who wait for errors.
        self.socket
            .async_io(Interest::READABLE | Interest::ERROR, |socket| receive(socket, room))
            .await
    }

    /// Receives one frame if there is one: for draining a batch after [`recv`](Self::recv).
    ///
    /// # Errors
    ///
    /// As [`recv`](Self::recv).
    pub fn try_recv(&self, room: &mut [u8]) -> io::Result<Option<Received>> {
        match receive(self.socket.get_ref(), room) {
            Ok(received) => Ok(Some(received)),
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => Ok(None),
            Err(e) => Err(e),
        }
    }

    /// Sends a frame as it is; on a monitor interface, injects it. It starts with the interface's
    /// own link-layer header: radiotap on a monitor interface, Ethernet on others.
    ///
    /// # Errors
    ///
    /// `ENETDOWN` when the interface is down; otherwise what the kernel or driver says.
    pub async fn send(&self, frame: &[u8]) -> io::Result<()> {
        let sent = self.socket.async_io(Interest::WRITABLE, |socket| socket.send(frame)).await?;
        if sent == frame.len() { Ok(()) } else { Err(io::ErrorKind::WriteZero.into()) }
    }

    /// How many frames passed the filter and then found the receive buffer full, since the socket
    /// was opened.
    ///
    /// # Errors
    ///
    /// The kernel refuses to tell.
    pub fn drops(&self) -> io::Result<u64> {
        // Reading clears the kernel's counter.
        let new = u64::from(sys::packet_statistics(self.socket.get_ref())?.drops);
        Ok(self.drops.fetch_add(new, Ordering::Relaxed) + new)
    }
}

fn receive(socket: &Socket, room: &mut [u8]) -> io::Result<Received> {
    let mut control = nix::cmsg_space!(TimeSpec);
    let mut rooms = [IoSliceMut::new(room)];
    let message =
        recvmsg::<()>(socket.as_raw_fd(), &mut rooms, Some(&mut control), MsgFlags::MSG_DONTWAIT)?;
    let at = message.cmsgs().ok().and_then(|mut all| {
        all.find_map(|one| match one {
            ControlMessageOwned::ScmTimestampns(at) => SystemTime::UNIX_EPOCH
                .checked_add(Duration::new(at.tv_sec().try_into().ok()?, at.tv_nsec() as u32)),
            _ => None,
        })
    });
    Ok(Received { len: message.bytes, at })
}
