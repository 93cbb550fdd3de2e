//! What the home LAN says on its way to the stranger, and what the port learns from it.

use std::time::Duration;

use homeward_model::{Instant, Mac};

use crate::address::Address;
use crate::dhcp::{ACK, BOOT_REPLY, Message, NAK, REPLY_V6, assigned_v6};
use crate::frame::{Key, Kind};
use crate::icmpv6::{NEIGHBOUR_ADVERTISEMENT, NEIGHBOUR_SOLICITATION, ROUTER_ADVERTISEMENT};
use crate::ip::{Arp, ICMPV6, Packet, Part, UDP, Udp};
use crate::port::Port;
use crate::settings::Origin;
use crate::verdict::Reason;

/// DHCP's word for "for ever" (RFC 2131 3.3, RFC 8415 7.7).
const FOR_EVER: u32 = u32::MAX;

impl Port {
    /// A frame of the device came from the other direction, so it is at home or at another
    /// gateway, and this port no longer sees what DHCP tells it.
    #[cold]
    pub(crate) fn is_elsewhere(&mut self, at: usize) {
        if let Some(station) = self.stations.get_mut(at) {
            station.addresses.doubt_leases();
            // A lease may be of such an address, a doubt may not.
            let protected = &self.protected;
            station.addresses.drop_seen(|address| protected.binary_search(&address).is_ok());
        }
    }

    /// Learns from a frame of the LAN, and says whether it concerns the stranger at all.
    /// `to`: the device that it is for, if it is for one.
    ///
    /// What cannot be decoded teaches nothing and passes: the LAN is trusted.
    #[inline]
    pub(crate) fn listen(
        &mut self,
        kind: Kind,
        octets: &[u8],
        to: Option<usize>,
        now: Instant,
    ) -> Result<(), Reason> {
        match kind {
            Kind::Ipv4 => match octets.get(9) {
                Some(&UDP) => self.listen_v4(octets, to, now),
                _ => Ok(()),
            },
            // All but TCP's own number, for extension headers may come first.
            Kind::Ipv6 => match octets.get(6) {
                Some(0 | 43 | 44 | 60 | &UDP | &ICMPV6) => self.listen_v6(octets, to, now),
                _ => Ok(()),
            },
            Kind::Arp => {
                self.listen_arp(octets, now);
                Ok(())
            }
            Kind::Update => Ok(()),
        }
    }

    fn listen_arp(&mut self, octets: &[u8], now: Instant) {
        let Some(arp) = Arp::decode(octets) else { return };
        if self.find(Key::of(Mac::new(arp.sender_hardware))).is_some() {
            return; // on the device's behalf
        }
        match arp.sender.is_unspecified() {
            true => self.hears_probe(arp.target, now),
            false => self.hears_owner(arp.sender, now),
        }
    }

    fn listen_v4(&mut self, octets: &[u8], to: Option<usize>, now: Instant) -> Result<(), Reason> {
        let Ok(packet) = Packet::v4(octets) else { return Ok(()) };
        let Some(udp) = Udp::decode(packet.payload).filter(|_| packet.part != Part::Later) else {
            return Ok(());
        };
        match (udp.source, udp.destination) {
            // A client's, for servers: no stranger needs to know who asks, and by which name.
            (_, 67) => Err(Reason::DhcpClient),
            (67, 68) if packet.part == Part::Whole => self.lease_v4(udp.payload, to, now),
            _ => Ok(()),
        }
    }

    fn lease_v4(&mut self, payload: &[u8], to: Option<usize>, now: Instant) -> Result<(), Reason> {
        let Some(message) = Message::decode(payload) else { return Ok(()) };
        let client = message.client.and_then(|client| self.find(client));
        let Some(at) = client.filter(|at| to.is_none_or(|to| to == *at)) else {
            // Broadcast to a client that is none of these devices; or unicast to one of them,
            // about another: whatever that is, it teaches nothing.
            return if to.is_none() { Err(Reason::NotForIt) } else { Ok(()) };
        };
        match message.kind {
            Some(ACK) if message.operation == BOOT_REPLY && message.given.is_usable() => {
                self.bind(at, message.given, message.lease.unwrap_or(FOR_EVER), now);
            }
            Some(NAK) if message.operation == BOOT_REPLY => {
                if let Some(station) = self.stations.get_mut(at) {
                    station.addresses.revoke_leases();
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn listen_v6(&mut self, octets: &[u8], to: Option<usize>, now: Instant) -> Result<(), Reason> {
        let Ok(packet) = Packet::v6(octets) else { return Ok(()) };
        match (packet.protocol, packet.part) {
            (_, Part::Later) => Ok(()),
            (ICMPV6, _) => {
                self.listen_discovery(&packet, now);
                Ok(())
            }
            (UDP, part) => match Udp::decode(packet.payload) {
                Some(Udp { destination: 547, .. }) => Err(Reason::DhcpClient),
                Some(Udp { source: 547, destination: 546, payload }) if part == Part::Whole => {
                    if let (Some(at), Some(&REPLY_V6)) = (to, payload.first()) {
                        assigned_v6(payload, |address, lifetime| {
                            self.bind(at, address, lifetime, now);
                        });
                    }
                    Ok(())
                }
                _ => Ok(()),
            },
            _ => Ok(()),
        }
    }

    fn listen_discovery(&mut self, packet: &Packet<'_>, now: Instant) {
        let target = || packet.payload.get(8..24)?.first_chunk().map(|target| Address::v6(*target));
        match packet.payload.first() {
            Some(&NEIGHBOUR_ADVERTISEMENT) => {
                if let Some(target) = target() {
                    self.hears_owner(target, now);
                }
            }
            Some(&NEIGHBOUR_SOLICITATION) if packet.source.is_unspecified() => {
                if let Some(target) = target() {
                    self.hears_probe(target, now);
                }
            }
            Some(&(NEIGHBOUR_SOLICITATION | ROUTER_ADVERTISEMENT)) => {
                self.hears_owner(packet.source, now);
            }
            _ => {}
        }
    }

    /// DHCP gives a device an address, or takes it back with a lifetime of zero.
    fn bind(&mut self, at: usize, address: Address, lifetime: u32, now: Instant) {
        if !address.is_usable() {
            return;
        }
        self.neighbours.forget(address);
        for (n, station) in self.stations.iter_mut().enumerate() {
            if n != at || lifetime == 0 {
                station.addresses.remove(address);
            } else {
                let expires =
                    (lifetime != FOR_EVER).then(|| now + Duration::from_secs(u64::from(lifetime)));
                station.addresses.add_known(address, Origin::Dhcp, expires, now);
            }
        }
    }

    /// A host of the LAN says that an address is its own.
    fn hears_owner(&mut self, address: Address, now: Instant) {
        for station in &mut self.stations {
            station.addresses.yield_idle(address, now);
        }
        if address.is_usable() && !self.is_a_devices(address, now) {
            self.neighbours.has(address, now);
        }
    }

    /// A host of the LAN asks whether it may have an address.
    fn hears_probe(&mut self, address: Address, now: Instant) {
        if address.is_usable() && !self.is_a_devices(address, now) {
            self.neighbours.probes(address, now);
        }
    }

    fn is_a_devices(&self, address: Address, now: Instant) -> bool {
        self.stations.iter().any(|station| station.addresses.has(address, now))
    }
}
