//! A UDP socket for a tunnel: runs of datagrams of one size in one call (GSO, GRO), many such runs
//! in one call (sendmmsg, recvmmsg), and no fragmentation by IP.
//!
//! Why not a library. nix 0.31's `recvmmsg` does not restore the lengths of its control rooms, so
//! that a message without controls takes them from all later ones, and its `sendmmsg` has one set
//! of controls for all messages. quinn-udp 0.6 writes the ECN bits with each datagram and thereby
//! clears the DiffServ code point, and sends one buffer at a time.

use std::io::{self, IoSlice};
use std::net::{IpAddr, SocketAddr, SocketAddrV6};
use std::os::fd::{AsFd, BorrowedFd};

use nix::sys::socket::{setsockopt, sockopt};
use socket2::{Domain, Protocol, SockAddr, Socket, Type};

use crate::sys::{self, MESSAGES, OutMessage};
use crate::tap::retry;

/// The most datagrams in a run: what every kernel with GSO takes (`UDP_MAX_SEGMENTS`).
pub const MAX_SEGMENTS: usize = 64;

/// The most octets in a run: the largest payload of an IPv4 datagram.
pub const MAX_RUN: usize = 65_507;

/// How a socket is to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UdpSettings {
    /// Where it listens. An IPv6 wildcard serves IPv4 too.
    pub address: SocketAddr,
    /// The DiffServ code point of what it sends: 0 to 63.
    pub dscp: u8,
    /// The firewall mark of what it sends.
    pub mark: Option<u32>,
    /// Octets of kernel memory for what has arrived and has not been read yet.
    pub receive_buffer: usize,
    /// Octets of kernel memory for what has been sent and has not left yet.
    pub send_buffer: usize,
}

/// A UDP socket. Nothing waits in it: it is for use with epoll. Any thread may send while another
/// receives.
#[derive(Debug)]
pub struct UdpSocket {
    socket: Socket,
    address: SocketAddr,
    /// Whether what is sent may be a run of datagrams.
    gso: bool,
}

/// A datagram, or a run of datagrams of one size, to send.
#[derive(Debug, Clone, Copy)]
pub struct Outgoing<'a> {
    /// Where to.
    pub to: SocketAddr,
    /// From which of the machine's addresses; the kernel's choice if `None`.
    pub from: Option<IpAddr>,
    /// The number of the interface to leave by, whatever the routing table prefers; 0 leaves it to
    /// that.
    pub interface: u32,
    /// The octets, in as many parts as they have: at most [`MAX_RUN`] in all.
    pub parts: &'a [IoSlice<'a>],
    /// The size of each datagram of a run (at most [`MAX_SEGMENTS`]); the last may be shorter.
    /// `None` for a single datagram.
    pub segment: Option<u16>,
}

/// A datagram, or a run of datagrams of one size, that was received.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Incoming {
    /// Where from.
    pub from: SocketAddr,
    /// To which of the machine's addresses.
    pub to: Option<IpAddr>,
    /// Octets, at the start of the room.
    pub len: usize,
    /// The size of each datagram of a run; the last may be shorter. `None` for a single datagram.
    pub segment: Option<u16>,
}

/// What a router says, or somebody in its name, in an ICMP message that quotes a datagram of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TooLong {
    /// Where the datagram was to go.
    pub to: SocketAddr,
    /// How long a packet may be there, its IP header included.
    pub mtu: u16,
}

/// How many ICMP messages [`UdpSocket::complaints`] reads at most.
const COMPLAINTS: usize = 64;

impl UdpSocket {
    /// Opens a socket in the calling thread's network namespace.
    ///
    /// # Errors
    ///
    /// The address cannot be had.
    pub fn open(settings: &UdpSettings) -> io::Result<Self> {
        let address = settings.address;
        let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
        socket.set_nonblocking(true)?;
        let ipv6 = address.is_ipv6();
        if ipv6 {
            socket.set_only_v6(!address.ip().is_unspecified())?;
            sys::set_option(&socket, libc::IPPROTO_IPV6, libc::IPV6_RECVPKTINFO, 1)?;
            // "Don't fragment", and believe no router's word of the path: it is probed.
            sys::set_option(
                &socket,
                libc::IPPROTO_IPV6,
                libc::IPV6_MTU_DISCOVER,
                libc::IPV6_PMTUDISC_PROBE,
            )?;
            sys::set_option(&socket, libc::IPPROTO_IPV6, libc::IPV6_DONTFRAG, 1)?;
            sys::set_option(&socket, libc::IPPROTO_IPV6, libc::IPV6_RECVERR, 1)?;
        } else {
            sys::set_option(&socket, libc::IPPROTO_IP, libc::IP_PKTINFO, 1)?;
        }
        // The IPv4 options hold for the IPv4 datagrams of an IPv6 socket too.
        sys::set_option(&socket, libc::IPPROTO_IP, libc::IP_MTU_DISCOVER, libc::IP_PMTUDISC_PROBE)?;
        sys::set_option(&socket, libc::IPPROTO_IP, libc::IP_RECVERR, 1)?;
        if settings.dscp != 0 {
            let class = libc::c_int::from(settings.dscp & 0x3f) << 2;
            sys::set_option(&socket, libc::IPPROTO_IP, libc::IP_TOS, class)?;
            if ipv6 {
                sys::set_option(&socket, libc::IPPROTO_IPV6, libc::IPV6_TCLASS, class)?;
            }
        }
        if let Some(mark) = settings.mark {
            socket.set_mark(mark)?;
        }
        // Beyond the system's limit where we may (CAP_NET_ADMIN), otherwise up to it.
        if setsockopt(&socket, sockopt::RcvBufForce, &settings.receive_buffer).is_err() {
            socket.set_recv_buffer_size(settings.receive_buffer)?;
        }
        if setsockopt(&socket, sockopt::SndBufForce, &settings.send_buffer).is_err() {
            socket.set_send_buffer_size(settings.send_buffer)?;
        }
        // Linux 4.18 sends runs, 5.0 receives them; older ones get and give single datagrams.
        let gso = sys::set_option(&socket, libc::SOL_UDP, libc::UDP_SEGMENT, 0).is_ok();
        let _ = sys::set_option(&socket, libc::SOL_UDP, libc::UDP_GRO, 1);
        socket.bind(&address.into())?;
        let bound = socket.local_addr()?.as_socket();
        let address = bound.ok_or_else(|| io::Error::from(io::ErrorKind::InvalidData))?;
        Ok(Self { socket, address, gso })
    }

    /// Where it listens, with the port that was given for port 0.
    pub fn local_address(&self) -> SocketAddr {
        self.address
    }

    /// Whether [`Outgoing::segment`] may be used.
    pub fn sends_runs(&self) -> bool {
        self.gso
    }

    /// Whether a datagram to that address can be sent from this socket.
    pub fn reaches(&self, address: SocketAddr) -> bool {
        match self.address {
            SocketAddr::V4(_) => address.is_ipv4(),
            SocketAddr::V6(own) => address.is_ipv6() || own.ip().is_unspecified(),
        }
    }

    /// Sends messages in order, as many as go at once. Gives how many went; where that is not all
    /// of them, call again with the rest to learn why, or to go on.
    ///
    /// # Errors
    ///
    /// Those of the first message: `WouldBlock` or `ENOBUFS` if a buffer is full, `EMSGSIZE` (or
    /// `EINVAL` for a run) if a datagram is larger than the interface carries, `EINVAL` if
    /// [`Outgoing::from`] is none of the machine's addresses any more; otherwise what the kernel
    /// says.
    pub fn send(&self, messages: &[Outgoing<'_>]) -> io::Result<usize> {
        let mut room: [Option<OutMessage<'_>>; MESSAGES] = [const { None }; MESSAGES];
        for (slot, message) in room.iter_mut().zip(messages) {
            *slot = Some(OutMessage {
                to: SockAddr::from(self.outward(message.to)),
                from: message.from.map(|ip| self.outward(SocketAddr::new(ip, 0)).ip()),
                interface: message.interface,
                parts: message.parts,
                segment: message.segment,
            });
        }
        let send = || retry(|| sys::send_messages(&self.socket, &room));
        match send() {
            // An ICMP message leaves its error to whatever is sent next, to whomever: not ours.
            Err(e) if !is_full(&e) => send(),
            other => other,
        }
    }

    /// Reads what ICMP messages said of datagrams that were sent: epoll says `EPOLLERR` while there
    /// is anything. `found` is called for each that says how long packets may be; of the others,
    /// nothing. At most 64 are read.
    ///
    /// # Errors
    ///
    /// What the kernel says; that there is nothing is none.
    pub fn complaints(&self, mut found: impl FnMut(TooLong)) -> io::Result<()> {
        for _ in 0..COMPLAINTS {
            match retry(|| sys::receive_error(&self.socket)) {
                Ok(Some((to, mtu))) => {
                    let to = SocketAddr::new(to.ip().to_canonical(), to.port());
                    found(TooLong { to, mtu: u16::try_from(mtu).unwrap_or(u16::MAX) });
                }
                Ok(None) => {}
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => break,
                Err(e) => return Err(e),
            }
        }
        Ok(())
    }

    /// Receives what has arrived, one message a room, as many as there are rooms (at most 16).
    /// `found` is called for each room in order. A room has 65,535 octets; what is larger than its
    /// room is dropped, and found with 0 octets.
    ///
    /// # Errors
    ///
    /// What the kernel says; that nothing has arrived is none, and gives 0.
    pub fn receive<'a>(
        &self,
        rooms: impl Iterator<Item = &'a mut [u8]>,
        mut found: impl FnMut(Incoming),
    ) -> io::Result<usize> {
        let received = sys::receive_messages(&self.socket, rooms, |message| {
            let from = SocketAddr::new(message.from.ip().to_canonical(), message.from.port());
            let from = match message.from {
                // The scope of a link-local address is part of it.
                SocketAddr::V6(_) if from.is_ipv6() => message.from,
                _ => from,
            };
            found(Incoming {
                from,
                to: message.to.map(|ip| ip.to_canonical()),
                len: if message.cut { 0 } else { message.len },
                segment: message.segment,
            });
        });
        match received {
            Err(e)
                if matches!(e.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) =>
            {
                Ok(0)
            }
            other => other,
        }
    }

    /// The address as this socket's family has it.
    fn outward(&self, address: SocketAddr) -> SocketAddr {
        match (self.address, address) {
            (SocketAddr::V6(_), SocketAddr::V4(v4)) => {
                SocketAddrV6::new(v4.ip().to_ipv6_mapped(), v4.port(), 0, 0).into()
            }
            _ => address,
        }
    }
}

/// Whether a buffer is full.
fn is_full(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EAGAIN | libc::ENOBUFS | libc::ENOMEM))
}

impl AsFd for UdpSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}
