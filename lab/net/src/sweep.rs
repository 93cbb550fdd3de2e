//! Tries every address of a network: who is there, seen from a namespace that should see nobody,
//! or only some.

use std::collections::BTreeSet;
use std::io::Read;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use anyhow::{Context, Result};
use homeward_linux::{Frame, FrameSocket, Links};
use homeward_model::{Instant, Mac};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use socket2::{Domain, Protocol, SockAddr, Socket, Type};

use crate::namespace::{Namespace, echo_request, is_echo_reply};
use crate::wait::now;

/// Who answered.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sweep {
    /// Those that answered an ARP request, each with the MAC it gave.
    pub arp: BTreeSet<(Ipv4Addr, Mac)>,
    /// Those that answered a ping.
    pub ping: BTreeSet<Ipv4Addr>,
    /// Those that accepted a connection, or refused it themselves.
    pub tcp: BTreeSet<SocketAddrV4>,
}

impl Sweep {
    /// Whether nobody answered at all.
    pub fn is_empty(&self) -> bool {
        self.arp.is_empty() && self.ping.is_empty() && self.tcp.is_empty()
    }

    /// Every address that answered in some way.
    pub fn addresses(&self) -> BTreeSet<Ipv4Addr> {
        let arp = self.arp.iter().map(|(address, _)| *address);
        let tcp = self.tcp.iter().map(|socket| *socket.ip());
        arp.chain(self.ping.iter().copied()).chain(tcp).collect()
    }
}

/// Tries every address of `network` (a /24, named by any of its addresses) from `namespace`: by
/// ARP out of `interface`, and along its routes by ping and by TCP to each of `ports`. Its own
/// addresses are not among the answers. Takes `patience`, and that in full.
///
/// # Errors
/// If the interface is not there, or the kernel refuses.
pub async fn sweep(
    namespace: &Namespace,
    interface: &str,
    network: Ipv4Addr,
    ports: &[u16],
    patience: Duration,
) -> Result<Sweep> {
    let (interface, ports) = (interface.to_owned(), ports.to_vec());
    namespace.run(move || blocking(&interface, network, &ports, patience)).await
}

fn blocking(
    interface: &str,
    network: Ipv4Addr,
    ports: &[u16],
    patience: Duration,
) -> Result<Sweep> {
    let [a, b, c, _] = network.octets();
    let own = own_addresses()?;
    let targets: Vec<Ipv4Addr> = (1..=254)
        .map(|host| Ipv4Addr::new(a, b, c, host))
        .filter(|target| !own.contains(target))
        .collect();
    let link = Links::open()?.by_name(interface)?;
    let mac = link.and_then(|link| link.mac).with_context(|| format!("no MAC on {interface}"))?;
    // One that is in the network, if there is one, as most ask for no other.
    let source = own.iter().find(|o| o.octets()[..3] == [a, b, c]).or(own.first());
    let source = source.copied().unwrap_or(Ipv4Addr::UNSPECIFIED);

    let arp = FrameSocket::open(interface, 4 << 20)?;
    let ping = Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::ICMPV4))?;
    ping.set_nonblocking(true)?;
    let mut calls = Vec::new();
    for target in &targets {
        let question = Frame::of(&arp_request(mac, source, *target));
        arp.send([&question])?;
        // Where there is no route, nobody answers.
        ping.send_to(&echo_request(1), &SockAddr::from(SocketAddrV4::new(*target, 0))).ok();
        for port in ports {
            let to = SocketAddrV4::new(*target, *port);
            let call = Socket::new(Domain::IPV4, Type::STREAM, None)?;
            call.set_nonblocking(true)?;
            // "In progress", or that there is no route.
            call.connect(&SockAddr::from(to)).ok();
            calls.push((to, call));
        }
    }
    let mut found = Sweep::default();
    let end = now() + patience;
    let mut rooms: Vec<_> = (0..64).map(|_| Frame::room(2048)).collect();
    while let Some(left) = left(end) {
        wait_readable([arp.as_fd(), ping.as_fd()], left)?;
        let count = arp.receive(&mut rooms).unwrap_or(0);
        for frame in rooms.iter().take(count) {
            found.arp.extend(arp_answer(frame.octets()).filter(|(from, _)| targets.contains(from)));
        }
        let mut room = [0u8; 256];
        while let Ok(length) = (&ping).read(&mut room) {
            let packet = room.get(..length).unwrap_or_default();
            let from = packet.get(12..16).and_then(|four| <[u8; 4]>::try_from(four).ok());
            if let Some(from) = from.map(Ipv4Addr::from)
                && is_echo_reply(packet, 1)
                && targets.contains(&from)
            {
                found.ping.insert(from);
            }
        }
    }
    found.tcp = calls.iter().filter(|(_, call)| is_answered(call)).map(|(to, _)| *to).collect();
    Ok(found)
}

fn left(end: Instant) -> Option<Duration> {
    Some(end - now()).filter(|left| !left.is_zero())
}

fn wait_readable(fds: [BorrowedFd<'_>; 2], limit: Duration) -> Result<()> {
    let mut fds = fds.map(|fd| PollFd::new(fd, PollFlags::POLLIN));
    let limit = PollTimeout::try_from(limit).unwrap_or(PollTimeout::MAX);
    match poll(&mut fds, limit) {
        Ok(_) | Err(nix::Error::EINTR) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Whether the other end has said anything: yes, or no.
fn is_answered(call: &Socket) -> bool {
    match call.take_error() {
        Ok(None) => call.peer_addr().is_ok(),
        Ok(Some(error)) => error.kind() == std::io::ErrorKind::ConnectionRefused,
        Err(_) => false,
    }
}

fn own_addresses() -> Result<Vec<Ipv4Addr>> {
    let all = nix::ifaddrs::getifaddrs()?;
    let addresses = all.filter_map(|one| Some(one.address?.as_sockaddr_in()?.ip()));
    Ok(addresses.filter(|address| !address.is_loopback()).collect())
}

/// An ARP request (RFC 826) in an Ethernet frame to all.
pub fn arp_request(mac: Mac, source: Ipv4Addr, target: Ipv4Addr) -> Vec<u8> {
    arp(Mac::new([0xff; 6]), 1, (mac, source), (Mac::new([0; 6]), target))
}

/// An ARP reply (RFC 826): `sender` has that address, tells `to`.
pub fn arp_reply(sender: (Mac, Ipv4Addr), to: (Mac, Ipv4Addr)) -> Vec<u8> {
    arp(to.0, 2, sender, to)
}

fn arp(to: Mac, operation: u16, sender: (Mac, Ipv4Addr), target: (Mac, Ipv4Addr)) -> Vec<u8> {
    let mut frame = Vec::with_capacity(42);
    frame.extend(to.octets());
    frame.extend(sender.0.octets());
    // EtherType ARP; hardware Ethernet, protocol IPv4, 6 and 4 octets.
    frame.extend([0x08, 0x06, 0x00, 0x01, 0x08, 0x00, 6, 4]);
    frame.extend(operation.to_be_bytes());
    for (mac, address) in [sender, target] {
        frame.extend(mac.octets());
        frame.extend(address.octets());
    }
    frame
}

/// Who an ARP reply is from.
fn arp_answer(frame: &[u8]) -> Option<(Ipv4Addr, Mac)> {
    let is_reply = frame.get(12..14)? == [0x08, 0x06] && frame.get(20..22)? == [0, 2];
    let mac = Mac::new(frame.get(22..28)?.try_into().ok()?);
    let address = Ipv4Addr::from(<[u8; 4]>::try_from(frame.get(28..32)?).ok()?);
    is_reply.then_some((address, mac))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_arp_request_is_laid_out_as_rfc_826_has_it() {
        let mac = Mac::new([2, 0, 0, 0, 0, 1]);
        let frame = arp_request(mac, Ipv4Addr::new(10, 0, 0, 1), Ipv4Addr::new(10, 0, 0, 2));
        let expected = [
            &[0xff; 6][..],                   // to all
            &[2, 0, 0, 0, 0, 1],              // from
            &[8, 6, 0, 1, 8, 0, 6, 4, 0, 1],  // ARP, Ethernet, IPv4, request
            &[2, 0, 0, 0, 0, 1, 10, 0, 0, 1], // sender
            &[0, 0, 0, 0, 0, 0, 10, 0, 0, 2], // target
        ]
        .concat();
        assert_eq!(frame, expected);
    }

    #[test]
    fn an_answer_is_told_from_a_question() {
        let there = (Mac::new([2, 0, 0, 0, 0, 2]), Ipv4Addr::new(10, 0, 0, 2));
        let here = (Mac::new([2, 0, 0, 0, 0, 1]), Ipv4Addr::new(10, 0, 0, 1));
        assert_eq!(arp_answer(&arp_reply(there, here)), Some((there.1, there.0)));
        assert_eq!(arp_answer(&arp_request(here.0, here.1, there.1)), None);
        assert_eq!(arp_answer(&[0; 20]), None);
    }
}
