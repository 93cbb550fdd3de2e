//! Which of the machine's addresses come and go (rtnetlink(7)), as it happens.

use std::io;
use std::net::IpAddr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use nix::sys::socket::{NetlinkAddr, bind};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::io::unix::AsyncFd;

use crate::netlink::{Attributes, u16_at, u32_at};
use crate::sys;

/// What happened to an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AddressChange {
    /// It is the machine's now, on some interface. Also said when only its properties changed.
    New(IpAddr),
    /// It is no longer that interface's.
    Gone(IpAddr),
    /// More happened than there was room for: anything may have.
    Lost,
}

/// Watches the addresses of one network namespace: that of the thread which opened it. Nothing
/// waits in it: it is for use with epoll.
#[derive(Debug)]
pub struct AddressWatch(Socket);

impl AddressWatch {
    /// Begins to watch.
    ///
    /// # Errors
    ///
    /// The kernel gives no route netlink socket.
    pub fn open() -> io::Result<Self> {
        listen(libc::RTMGRP_IPV4_IFADDR | libc::RTMGRP_IPV6_IFADDR).map(Self)
    }

    /// What happened since it was last asked.
    pub fn changes(&self) -> Vec<AddressChange> {
        let mut changes = Vec::new();
        let mut room = [0; 8192];
        loop {
            match io::Read::read(&mut &self.0, &mut room) {
                Ok(len) => decode(room.get(..len).unwrap_or_default(), &mut changes),
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) if e.raw_os_error() == Some(libc::ENOBUFS) => {
                    changes.push(AddressChange::Lost);
                }
                Err(_) => return changes,
            }
        }
    }
}

impl AsFd for AddressWatch {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Tells when interfaces, addresses or routes of one network namespace change, that of the thread which
/// opened it; not which, for whoever looks again anyway. For use in a tokio runtime.
#[derive(Debug)]
pub struct NetworkWatch(AsyncFd<Socket>);

impl NetworkWatch {
    /// Begins to watch.
    ///
    /// # Errors
    ///
    /// The kernel gives no route netlink socket.
    ///
    /// # Panics
    ///
    /// Outside a tokio runtime.
    pub fn open() -> io::Result<Self> {
        let all = libc::RTMGRP_LINK
            | libc::RTMGRP_IPV4_IFADDR
            | libc::RTMGRP_IPV6_IFADDR
            | libc::RTMGRP_IPV4_ROUTE
            | libc::RTMGRP_IPV6_ROUTE;
        sys::watch(listen(all)?).map(Self)
    }

    /// Waits until something has changed since this last returned. Cancel-safe.
    ///
    /// # Errors
    ///
    /// The socket is broken.
    pub async fn changed(&self) -> io::Result<()> {
        let mut ready = self.0.readable().await?;
        let mut room = [0; 8192];
        loop {
            match io::Read::read(&mut self.0.get_ref(), &mut room) {
                // That more happened than there was room for is a change as well.
                Err(e) if matches!(e.raw_os_error(), Some(libc::EINTR | libc::ENOBUFS)) => {}
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => break,
                Err(e) => return Err(e),
                Ok(_) => {}
            }
        }
        ready.clear_ready();
        Ok(())
    }
}

fn listen(groups: i32) -> io::Result<Socket> {
    let socket = Socket::new(
        Domain::from(libc::AF_NETLINK),
        Type::RAW,
        Some(Protocol::from(libc::NETLINK_ROUTE)),
    )?;
    socket.set_nonblocking(true)?;
    bind(socket.as_raw_fd(), &NetlinkAddr::new(0, groups as u32))?;
    Ok(socket)
}

const HEADER: usize = 16;
/// `struct ifaddrmsg`: family, prefix length, flags, scope (8 bits each), index.
const IFADDRMSG: usize = 8;
const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;

fn decode(mut octets: &[u8], changes: &mut Vec<AddressChange>) {
    while let (Some(len), Some(kind)) = (u32_at(octets, 0), u16_at(octets, 4)) {
        let Some(body) = octets.get(HEADER..len as usize) else { return };
        let attributes = Attributes::new(body.get(IFADDRMSG..).unwrap_or_default());
        // Of a point-to-point interface's two addresses, the local one is ours.
        let address = attributes.get(IFA_LOCAL).or_else(|| attributes.get(IFA_ADDRESS));
        let address = address.and_then(|octets| {
            let four = <[u8; 4]>::try_from(octets).map(IpAddr::from);
            four.or_else(|_| <[u8; 16]>::try_from(octets).map(IpAddr::from)).ok()
        });
        match (kind, address) {
            (libc::RTM_NEWADDR, Some(address)) => changes.push(AddressChange::New(address)),
            (libc::RTM_DELADDR, Some(address)) => changes.push(AddressChange::Gone(address)),
            _ => {}
        }
        octets = octets.get((len as usize).next_multiple_of(4)..).unwrap_or_default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::netlink::Body;

    fn message(kind: u16, body: &[u8]) -> Vec<u8> {
        let mut message = ((HEADER + body.len()) as u32).to_ne_bytes().to_vec();
        message.extend(kind.to_ne_bytes());
        message.extend([0; 10]);
        message.extend(body);
        message
    }

    #[test]
    fn addresses_of_both_families_are_read_and_the_local_one_of_a_pair() {
        let v4 =
            Body::new(&[0; 8]).with(IFA_ADDRESS, &[192, 0, 2, 2]).with(IFA_LOCAL, &[192, 0, 2, 1]);
        let v6 = Body::new(&[0; 8]).with(IFA_ADDRESS, &[0x20; 16]);
        let mut octets = message(libc::RTM_NEWADDR, v4.octets());
        octets.extend(message(libc::RTM_DELADDR, v6.octets()));
        octets.extend(message(libc::RTM_NEWLINK, v6.octets()));
        let mut changes = Vec::new();
        decode(&octets, &mut changes);
        let expected =
            [AddressChange::New([192, 0, 2, 1].into()), AddressChange::Gone([0x20u8; 16].into())];
        assert_eq!(changes, expected);
        // Cut off anywhere, it gives no more than was whole.
        for end in 0..octets.len() {
            let mut fewer = Vec::new();
            decode(&octets[..end], &mut fewer);
            assert!(fewer.len() <= 2 && expected.starts_with(&fewer));
        }
    }
}
