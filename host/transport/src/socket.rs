//! Opening a server's sockets.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroUsize;
use std::time::Duration;

use nix::sys::socket::{setsockopt, sockopt};
use socket2::{Domain, Protocol, Socket, Type};

/// One socket per worker, all on one address.
///
/// The first is bound alone and offers to share only then: so a second server on the same
/// address is refused, although both would share (with `SO_REUSEPORT` from the start, the kernel
/// would quietly give it half of the clients).
pub(crate) fn server_sockets(
    address: SocketAddr,
    workers: NonZeroUsize,
    receive_buffer: Option<usize>,
) -> io::Result<Vec<Socket>> {
    let first = open(address, receive_buffer)?;
    first.bind(&address.into())?;
    let mut sockets = vec![first];
    if let Some(first) = sockets.first().filter(|_| workers.get() > 1) {
        first.set_reuse_port(true)?;
        let address = local(first)?;
        for _ in 1..workers.get() {
            let next = open(address, receive_buffer)?;
            next.set_reuse_port(true)?;
            next.bind(&address.into())?;
            sockets.push(next);
        }
    }
    Ok(sockets)
}

/// Whether datagrams to a socket that listens there tell which address they were sent to, and
/// answers which they leave from: where it is any. Elsewhere it is the socket's, and to have it
/// told costs every datagram something.
pub(crate) const fn is_told(address: IpAddr) -> bool {
    address.is_unspecified()
}

/// The address that a socket has.
pub(crate) fn local(socket: &Socket) -> io::Result<SocketAddr> {
    let address = socket.local_addr()?;
    address.as_socket().ok_or_else(|| io::Error::from(io::ErrorKind::InvalidData))
}

fn open(address: SocketAddr, receive_buffer: Option<usize>) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    // Before bind, so that every datagram tells which address it was sent to.
    if is_told(address.ip()) {
        match address {
            SocketAddr::V4(_) => setsockopt(&socket, sockopt::Ipv4PacketInfo, &true)?,
            SocketAddr::V6(_) => setsockopt(&socket, sockopt::Ipv6RecvPacketInfo, &true)?,
        }
    }
    if let Some(octets) = receive_buffer {
        socket.set_recv_buffer_size(octets)?;
        let got = socket.recv_buffer_size()?;
        // The kernel doubles what it grants, for its own book-keeping (`socket(7)`).
        if got / 2 < octets {
            let granted = got / 2;
            tracing::warn!(asked = octets, granted, "receive buffer limited by net.core.rmem_max");
        }
    }
    // A full device queue must not hold a worker for ever.
    socket.set_write_timeout(Some(Duration::from_secs(1)))?;
    Ok(socket)
}
