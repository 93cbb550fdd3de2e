//! The rules, plainly.

use std::collections::BTreeMap;
use std::net::IpAddr;

use homeward_model::Mac;
use homeward_port::{AddressPolicy, Origin, Reason, Settings, Side};

use crate::limits::{Bucket, Groups, is_group, policed};
use crate::packets::{Packet, dhcp, dhcp_v6, mac_at, packet_v4, packet_v6, u16_at, v4_at, v6_at};

pub(crate) const SECOND: u64 = 1_000_000_000;

#[derive(Clone)]
struct Known {
    address: IpAddr,
    origin: Origin,
    expires: Option<u64>,
    used: u64,
}

struct Device {
    mac: Mac,
    up: Option<Bucket>,
    down: Option<Bucket>,
    groups: Groups,
    answers: Groups,
    known: Vec<Known>,
}

impl Device {
    fn has(&self, address: IpAddr, now: u64) -> bool {
        self.known.iter().any(|k| k.address == address && k.expires.is_none_or(|end| end > now))
    }
}

pub(crate) struct Oracle {
    home: bool,
    learn: bool,
    devices: Vec<Device>,
    protected: Vec<IpAddr>,
    to_stranger: Groups,
    /// Until when, and whether it is only asked for.
    lan: BTreeMap<IpAddr, (u64, bool)>,
}

impl Oracle {
    pub(crate) fn new(settings: &Settings) -> Self {
        let macs: Vec<Mac> = settings.devices.iter().map(|device| device.mac).collect();
        let theirs = |mac: Option<Mac>| mac.is_some_and(|mac| macs.contains(&mac));
        let bucket = |rate: Option<homeward_port::Rate>| {
            rate.map(|rate| Bucket::new(rate.bits_per_second / 8, rate.burst))
        };
        Self {
            home: settings.side == Side::Home,
            learn: settings.addresses == AddressPolicy::Learn,
            devices: settings
                .devices
                .iter()
                .map(|device| Device {
                    mac: device.mac,
                    up: bucket(device.up),
                    down: bucket(device.down),
                    groups: Groups::new(&settings.from_stranger),
                    answers: Groups::new(&settings.to_stranger),
                    known: Vec::new(),
                })
                .collect(),
            protected: settings
                .protected
                .iter()
                .filter(|known| !theirs(known.mac))
                .map(|known| known.address)
                .collect(),
            to_stranger: Groups::new(&settings.to_stranger),
            lan: BTreeMap::new(),
        }
    }

    pub(crate) fn bindings(&self, now: u64) -> Vec<(Mac, IpAddr, Origin, Option<u64>)> {
        let mut all: Vec<_> = self
            .devices
            .iter()
            .flat_map(|device| device.known.iter().map(|k| (device.mac, k)))
            .filter(|(_, k)| k.expires.is_none_or(|end| end > now))
            .map(|(mac, k)| (mac, k.address, k.origin, k.expires))
            .collect();
        all.sort_by_key(|(mac, address, ..)| (*mac, *address));
        all
    }

    pub(crate) fn judge(&mut self, frame: &[u8], from: bool, now: u64) -> Result<(), Reason> {
        if frame.len() < 14 {
            return Err(Reason::Malformed);
        }
        if from { self.judge_from(frame, now) } else { self.judge_to(frame, now) }
    }

    fn device(&self, mac: Mac) -> Option<usize> {
        self.devices.iter().position(|device| device.mac == mac)
    }

    fn judge_from(&mut self, frame: &[u8], now: u64) -> Result<(), Reason> {
        let at = self.device(mac_at(frame, 6)).ok_or(Reason::SourceMac)?;
        if frame[..5] == [1, 0x80, 0xc2, 0, 0] && frame[5] < 16 {
            return Err(Reason::LinkControl);
        }
        allowed(frame)?;
        if self.home {
            match u16_at(frame, 12) {
                0x0806 => self.arp(&frame[14..], at, now)?,
                0x0800 => self.v4(&frame[14..], at, is_group(frame), now)?,
                0x86dd => self.v6(&frame[14..], at, is_group(frame), now)?,
                _ => {}
            }
        }
        self.devices[at].groups.take(frame, now)?;
        policed(self.devices[at].up.as_mut(), frame.len(), now)
    }

    fn arp(&mut self, octets: &[u8], at: usize, now: u64) -> Result<(), Reason> {
        let fits = octets.len() >= 28
            && octets[..7] == [0, 1, 8, 0, 6, 4, 0]
            && (octets[7] == 1 || octets[7] == 2);
        if !fits {
            return Err(Reason::Malformed);
        }
        if mac_at(octets, 8) != self.devices[at].mac {
            return Err(Reason::ArpSpoof);
        }
        let sender = v4_at(octets, 14);
        if sender.is_unspecified() {
            return self.asks(v4_at(octets, 24), Reason::ArpSpoof, now);
        }
        self.uses(at, sender, Reason::ArpSpoof, now)
    }

    fn v4(&mut self, octets: &[u8], at: usize, group: bool, now: u64) -> Result<(), Reason> {
        let packet = packet_v4(octets)?;
        let mut from_nowhere = false;
        let mut gives_back = None;
        let data = &packet.payload;
        if !packet.later {
            match packet.protocol {
                1 if matches!(data.first(), Some(5 | 9)) => return Err(Reason::Router),
                1 if data.len() < 4 => return Err(Reason::Malformed),
                2 => match data.first() {
                    Some(0x12 | 0x16 | 0x17 | 0x22 | 0x31) => from_nowhere = true,
                    _ => return Err(Reason::Querier),
                },
                17 => {
                    if data.len() < 8 {
                        return Err(Reason::Malformed);
                    }
                    let (source, to) = (u16_at(data, 0), u16_at(data, 2));
                    if source == 67 || to == 68 {
                        return Err(Reason::DhcpServer);
                    }
                    if to == 67 {
                        if packet.fragment {
                            return Err(Reason::Fragment);
                        }
                        gives_back = self.dhcp_client(&data[8..], at)?;
                        from_nowhere = true;
                    }
                    routing(to, group)?;
                }
                88 | 89 | 103 | 112 => return Err(Reason::Routing),
                _ => {}
            }
        }
        if !(from_nowhere && packet.source.is_unspecified()) {
            self.uses(at, packet.source, Reason::SourceAddress, now)?;
        }
        match gives_back {
            Some(address) => self.returns(at, address, now),
            None => Ok(()),
        }
    }

    fn dhcp_client(&self, octets: &[u8], at: usize) -> Result<Option<IpAddr>, Reason> {
        let own = self.devices[at].mac;
        let message = dhcp(octets).ok_or(Reason::DhcpClient)?;
        if message.operation != 1
            || message.client != Some(own)
            || message.identifier.is_some_and(|identifier| identifier != own)
            || message.relayed
            || message.ambiguous
        {
            return Err(Reason::DhcpClient);
        }
        Ok(match message.kind {
            Some(7) => Some(message.has),
            Some(4) => message.requested,
            _ => None,
        })
    }

    fn v6(&mut self, octets: &[u8], at: usize, group: bool, now: u64) -> Result<(), Reason> {
        let packet = packet_v6(octets)?;
        let data = &packet.payload;
        if packet.later || packet.protocol == 6 {
            return self.uses(at, packet.source, Reason::SourceAddress, now);
        }
        match packet.protocol {
            17 => {
                if data.len() < 8 {
                    return Err(Reason::HeaderChain);
                }
                let (source, to) = (u16_at(data, 0), u16_at(data, 2));
                if source == 547 || to == 546 {
                    return Err(Reason::DhcpServer);
                }
                if to == 547 {
                    if packet.fragment {
                        return Err(Reason::Fragment);
                    }
                    if data.len() == 8 || data[8] == 12 || data[8] == 13 {
                        return Err(Reason::DhcpClient);
                    }
                }
                routing(to, group)?;
            }
            58 => return self.icmp_v6(&packet, at, now),
            88 | 89 | 103 | 112 => return Err(Reason::Routing),
            4 | 41 | 33 | 47 | 50 | 59 | 132 | 136 => {}
            _ => return Err(Reason::HeaderChain),
        }
        self.uses(at, packet.source, Reason::SourceAddress, now)
    }

    fn icmp_v6(&mut self, packet: &Packet, at: usize, now: u64) -> Result<(), Reason> {
        let data = &packet.payload;
        let nowhere = packet.source.is_unspecified();
        if data.len() < 4 {
            return Err(Reason::HeaderChain);
        }
        match data[0] {
            134 | 137 | 138 => return Err(Reason::Router),
            130 | 151 | 153 => return Err(Reason::Querier),
            131 | 132 | 143 if nowhere => return Ok(()),
            133 | 135 | 136 if packet.fragment => return Err(Reason::Fragment),
            133 | 135 | 136 => {}
            _ => return self.uses(at, packet.source, Reason::SourceAddress, now),
        }
        let spoof = Reason::NeighbourSpoof;
        let fixed = if data[0] == 133 { 8 } else { 24 };
        if data.len() < fixed {
            return Err(Reason::Malformed);
        }
        let mut options = &data[fixed..];
        let mut links = Vec::new();
        while options.len() >= 2 {
            let length = usize::from(options[1]) * 8;
            if length == 0 || length > options.len() {
                return Err(Reason::Malformed);
            }
            if options[0] == 1 || options[0] == 2 {
                links.push(options[2..length].to_vec());
            }
            options = &options[length..];
        }
        if !options.is_empty() {
            return Err(Reason::Malformed);
        }
        let own = self.devices[at].mac.octets();
        if links.iter().any(|link| *link != own) {
            return Err(spoof);
        }
        match data[0] {
            136 => {
                if data[4] >= 0x80 {
                    return Err(spoof);
                }
                self.uses(at, packet.source, spoof, now)?;
                self.uses(at, v6_at(data, 8), spoof, now)
            }
            _ if !nowhere => self.uses(at, packet.source, spoof, now),
            _ if !links.is_empty() => Err(spoof),
            135 => self.asks(v6_at(data, 8), spoof, now),
            _ => Ok(()),
        }
    }

    /// The device says that an address is its own.
    fn uses(
        &mut self,
        at: usize,
        address: IpAddr,
        otherwise: Reason,
        now: u64,
    ) -> Result<(), Reason> {
        let device = &mut self.devices[at];
        if device.has(address, now) {
            let known = device.known.iter_mut();
            known.filter(|k| k.address == address).for_each(|k| k.used = now);
            return Ok(());
        }
        if !can_be_had(address) || self.is_anothers(at, address, now) {
            return Err(otherwise);
        }
        let link_local = match address {
            IpAddr::V4(v4) if v4.is_link_local() => return Ok(()),
            IpAddr::V4(_) => false,
            IpAddr::V6(v6) => v6.is_unicast_link_local(),
        };
        let device = &mut self.devices[at];
        device.known.retain(|k| k.expires.is_none_or(|end| end > now));
        let leased = device.known.iter().any(|k| k.address.is_ipv4() && k.origin == Origin::Dhcp);
        if (self.learn && address.is_ipv4() && leased) || (!self.learn && !link_local) {
            return Err(otherwise);
        }
        let family = |k: &Known| k.address.is_ipv4() == address.is_ipv4();
        if device.known.iter().filter(|k| family(k)).count() >= most(address) {
            let idle = device
                .known
                .iter()
                .filter(|k| family(k) && k.origin == Origin::Seen && now - k.used >= 300 * SECOND)
                .min_by_key(|k| k.used)
                .map(|k| k.address);
            let idle = idle.ok_or(Reason::AddressLimit)?;
            device.known.retain(|k| k.address != idle);
        }
        device.known.push(Known { address, origin: Origin::Seen, expires: None, used: now });
        Ok(())
    }

    /// The device asks whether it may have an address.
    fn asks(&self, address: IpAddr, otherwise: Reason, now: u64) -> Result<(), Reason> {
        match self.lan.get(&address) {
            Some((until, true)) if *until > now => Err(otherwise),
            _ => Ok(()),
        }
    }

    fn returns(&mut self, at: usize, address: IpAddr, now: u64) -> Result<(), Reason> {
        if self.is_anothers(at, address, now) {
            return Err(Reason::DhcpClient);
        }
        self.devices[at].known.retain(|k| k.address != address);
        Ok(())
    }

    fn is_anothers(&self, at: usize, address: IpAddr, now: u64) -> bool {
        !self.devices[at].has(address, now)
            && (self.protected.contains(&address)
                || self.lan.get(&address).is_some_and(|(until, _)| *until > now)
                || self.devices.iter().any(|device| device.has(address, now)))
    }

    fn judge_to(&mut self, frame: &[u8], now: u64) -> Result<(), Reason> {
        if is_group(&frame[6..]) {
            return Err(Reason::SourceMac);
        }
        if let Some(at) = self.device(mac_at(frame, 6)) {
            self.devices[at].known.iter_mut().for_each(|k| k.origin = Origin::Seen);
            let protected = &self.protected;
            self.devices[at].known.retain(|k| !protected.contains(&k.address));
            return Err(Reason::Echo);
        }
        if frame[..5] == [1, 0x80, 0xc2, 0, 0] && frame[5] < 16 {
            return Err(Reason::LinkControl);
        }
        let to = self.device(mac_at(frame, 0));
        if !is_group(frame) && to.is_none() {
            return Err(Reason::NotForIt);
        }
        allowed(frame)?;
        if self.home {
            match u16_at(frame, 12) {
                0x0806 => self.hears_arp(&frame[14..], now),
                0x0800 => self.hears_v4(&frame[14..], to, now)?,
                0x86dd => self.hears_v6(&frame[14..], to, now)?,
                _ => {}
            }
        }
        match to {
            Some(at) => self.devices[at].answers.take(frame, now)?,
            None => self.to_stranger.take(frame, now)?,
        }
        policed(to.and_then(|at| self.devices[at].down.as_mut()), frame.len(), now)
    }

    fn hears_arp(&mut self, octets: &[u8], now: u64) {
        let fits = octets.len() >= 28
            && octets[..7] == [0, 1, 8, 0, 6, 4, 0]
            && (octets[7] == 1 || octets[7] == 2);
        if !fits || self.device(mac_at(octets, 8)).is_some() {
            return;
        }
        match v4_at(octets, 14) {
            sender if sender.is_unspecified() => self.lan_asks(v4_at(octets, 24), now),
            sender => self.lan_has(sender, now),
        }
    }

    fn hears_v4(&mut self, octets: &[u8], to: Option<usize>, now: u64) -> Result<(), Reason> {
        let Ok(packet) = packet_v4(octets) else { return Ok(()) };
        let data = &packet.payload;
        if packet.protocol != 17 || packet.later || data.len() < 8 {
            return Ok(());
        }
        let (source, port) = (u16_at(data, 0), u16_at(data, 2));
        if port == 67 {
            return Err(Reason::DhcpClient);
        }
        if source != 67 || port != 68 || packet.fragment {
            return Ok(());
        }
        let Some(message) = dhcp(&data[8..]) else { return Ok(()) };
        let client = message.client.and_then(|client| self.device(client));
        let Some(at) = client else {
            return if to.is_none() { Err(Reason::NotForIt) } else { Ok(()) };
        };
        if to.is_some_and(|to| to != at) || message.operation != 2 {
            return Ok(());
        }
        match message.kind {
            Some(5) => self.assigned(at, message.given, message.lease.unwrap_or(u32::MAX), now),
            Some(6) => {
                let known = &mut self.devices[at].known;
                known.retain(|k| k.address.is_ipv6() || k.origin == Origin::Seen);
            }
            _ => {}
        }
        Ok(())
    }

    fn hears_v6(&mut self, octets: &[u8], to: Option<usize>, now: u64) -> Result<(), Reason> {
        if octets.len() < 7 || ![0, 43, 44, 60, 17, 58].contains(&octets[6]) {
            return Ok(());
        }
        let Ok(packet) = packet_v6(octets) else { return Ok(()) };
        let data = &packet.payload;
        if packet.later {
            return Ok(());
        }
        match packet.protocol {
            17 if data.len() >= 8 => {
                let (source, port) = (u16_at(data, 0), u16_at(data, 2));
                if port == 547 {
                    return Err(Reason::DhcpClient);
                }
                if let Some(at) = to
                    && source == 547
                    && port == 546
                    && !packet.fragment
                    && data.get(8) == Some(&7)
                {
                    for (address, lifetime) in dhcp_v6(&data[8..]) {
                        self.assigned(at, address, lifetime, now);
                    }
                }
            }
            58 => match data.first() {
                Some(136) if data.len() >= 24 => self.lan_has(v6_at(data, 8), now),
                Some(135) if packet.source.is_unspecified() && data.len() >= 24 => {
                    self.lan_asks(v6_at(data, 8), now);
                }
                Some(135 | 134) => self.lan_has(packet.source, now),
                _ => {}
            },
            _ => {}
        }
        Ok(())
    }

    fn assigned(&mut self, at: usize, address: IpAddr, lifetime: u32, now: u64) {
        if !can_be_had(address) {
            return;
        }
        self.lan.remove(&address);
        for device in &mut self.devices {
            device.known.retain(|k| k.address != address);
        }
        if lifetime == 0 {
            // Only the devices' own: the one it was taken from, and nobody else had it.
            return;
        }
        let device = &mut self.devices[at];
        if address.is_ipv4() {
            device.known.retain(|k| k.address.is_ipv6() || k.origin == Origin::Dhcp);
        }
        device.known.retain(|k| k.expires.is_none_or(|end| end > now));
        let family = |k: &Known| k.address.is_ipv4() == address.is_ipv4();
        if device.known.iter().filter(|k| family(k)).count() >= most(address) {
            let oldest = device
                .known
                .iter()
                .filter(|k| family(k))
                .min_by_key(|k| (k.origin == Origin::Dhcp, k.used))
                .map(|k| k.address);
            device.known.retain(|k| Some(k.address) != oldest);
        }
        let expires = (lifetime != u32::MAX).then(|| now + u64::from(lifetime) * SECOND);
        device.known.push(Known { address, origin: Origin::Dhcp, expires, used: now });
    }

    fn lan_has(&mut self, address: IpAddr, now: u64) {
        for device in &mut self.devices {
            device.known.retain(|k| {
                k.address != address || k.origin == Origin::Dhcp || now - k.used < 300 * SECOND
            });
        }
        if can_be_had(address) && !self.devices.iter().any(|device| device.has(address, now)) {
            self.lan.insert(address, (now + 4 * 3600 * SECOND, false));
        }
    }

    fn lan_asks(&mut self, address: IpAddr, now: u64) {
        let theirs = self.devices.iter().any(|device| device.has(address, now));
        let owned = self.lan.get(&address).is_some_and(|(until, asked)| *until > now && !asked);
        if can_be_had(address) && !theirs && !owned {
            self.lan.insert(address, (now + 10 * SECOND, true));
        }
    }
}

/// By EtherType; and the one 802.2 frame that is let through.
fn allowed(frame: &[u8]) -> Result<(), Reason> {
    let payload = &frame[14..];
    match u16_at(frame, 12) {
        0x0800 | 0x0806 | 0x86dd => Ok(()),
        0x8100 | 0x88a8 | 0x9100 | 0x9200 => Err(Reason::Vlan),
        6 if frame[..6] == [0xff; 6]
            && (6..=46).contains(&payload.len())
            && payload[..2] == [0, 1]
            && (payload[2] == 0xaf || payload[2] == 0xbf)
            && payload[3] == 0x81 =>
        {
            Ok(())
        }
        _ => Err(Reason::Protocol),
    }
}

fn routing(port: u16, group: bool) -> Result<(), Reason> {
    match port {
        520 | 521 => Err(Reason::Routing),
        1985 | 2029 | 3222 if group => Err(Reason::Routing),
        _ => Ok(()),
    }
}

fn most(address: IpAddr) -> usize {
    if address.is_ipv4() { 4 } else { 16 }
}

/// A host's own: not a group, not nobody's. An IPv4 address written as IPv6 is nobody's.
fn can_be_had(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => (1..224).contains(&v4.octets()[0]) && v4.octets()[0] != 127,
        IpAddr::V6(v6) => {
            v6.to_ipv4_mapped().is_none()
                && !(v6.is_unspecified() || v6.is_loopback() || v6.is_multicast())
        }
    }
}
