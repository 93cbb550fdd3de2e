//! The port: its devices, its rules in their order.

use std::collections::BTreeMap;

use homeward_model::{Instant, Mac};

use crate::address::Address;
use crate::addresses::Addresses;
use crate::bucket::Bucket;
use crate::frame::{Ethernet, Key, Kind};
use crate::groups::{Groups, scope};
use crate::ip::{plain_v4, plain_v6};
use crate::neighbours::Neighbours;
use crate::rules::{self, Says, Statement};
use crate::settings::{AddressPolicy, Binding, Device, Rate, Settings, Side};
use crate::verdict::{Counters, Reason, Verdict};

/// Up to so many devices are searched one after the other, more by halving.
const FEW: usize = 8;

/// A switch port for strangers; see the [crate's page](crate) for its rules.
#[derive(Debug)]
pub struct Port {
    side: Side,
    policy: AddressPolicy,
    /// The devices' addresses, ascending; quick to search.
    keys: Vec<Key>,
    /// The devices, in the order of `keys`.
    pub(crate) stations: Vec<Station>,
    /// Ascending.
    pub(crate) protected: Vec<Address>,
    pub(crate) neighbours: Neighbours,
    to_stranger: Groups,
    counters: Counters,
}

#[derive(Debug)]
pub(crate) struct Station {
    up: Option<Bucket>,
    down: Option<Bucket>,
    groups: Groups,
    /// ARP that is for it alone.
    arp: Bucket,
    pub(crate) addresses: Addresses,
}

impl Port {
    /// A port with full buckets and no memory but what the settings hand over.
    pub fn new(settings: Settings, now: Instant) -> Self {
        let mut port = Self {
            side: settings.side,
            policy: settings.addresses,
            keys: Vec::new(),
            stations: Vec::new(),
            protected: Vec::new(),
            neighbours: Neighbours::default(),
            to_stranger: Groups::full(&settings.to_stranger),
            counters: Counters::default(),
        };
        port.reconfigure(settings, now);
        port
    }

    /// Takes other settings. Devices that stay keep their addresses (but those first used that are
    /// protected now) and what their buckets lack; hosts of the LAN stay known; counters go on.
    pub fn reconfigure(&mut self, settings: Settings, now: Instant) {
        (self.side, self.policy) = (settings.side, settings.addresses);
        self.to_stranger.resize(&settings.to_stranger, now);
        let old = std::mem::take(&mut self.keys).into_iter().zip(self.stations.drain(..));
        let mut old: BTreeMap<Key, Station> = old.collect();
        // A map: sorted, and of several devices with one MAC the last counts.
        let devices: BTreeMap<Key, Device> = settings
            .devices
            .into_iter()
            .map(|device| (Key::of(device.mac), device))
            .filter(|(key, _)| !key.is_group() && !key.is_zero())
            .collect();
        self.protected = settings
            .protected
            .iter()
            .filter(|known| known.mac.is_none_or(|mac| !devices.contains_key(&Key::of(mac))))
            .map(|known| Address::of(known.address))
            .collect();
        self.protected.sort_unstable();
        self.protected.dedup();
        let arp = Bucket::of_frames(settings.to_stranger.arp);
        for (key, device) in devices {
            let mut station = match old.remove(&key) {
                Some(mut station) => {
                    station.groups.resize(&settings.from_stranger, now);
                    station.arp = station.arp.resized(arp.clone(), now);
                    station.up = resized(station.up, device.up, now);
                    station.down = resized(station.down, device.down, now);
                    station
                }
                None => Station {
                    up: device.up.map(Bucket::of_octets),
                    down: device.down.map(Bucket::of_octets),
                    groups: Groups::full(&settings.from_stranger),
                    arp: arp.clone(),
                    addresses: Addresses::default(),
                },
            };
            for binding in device.bindings.iter().filter(|binding| binding.mac == device.mac) {
                let address = Address::of(binding.address);
                let over = binding.expires.is_some_and(|expires| expires <= now);
                if address.is_usable() && !over && !station.addresses.has(address, now) {
                    station.addresses.add_known(address, binding.origin, binding.expires, now);
                }
            }
            let protected = &self.protected;
            station.addresses.drop_seen(|address| protected.binary_search(&address).is_ok());
            self.keys.push(key);
            self.stations.push(station);
        }
    }

    /// Judges a frame from a device: on the home side out of the tunnel, on the foreign side from
    /// the virtual access point.
    #[inline]
    pub fn from_stranger(&mut self, frame: &[u8], now: Instant) -> Verdict {
        let verdict = Verdict::from(self.judge_from(frame, now));
        self.counters.from_stranger.count(verdict, frame.len());
        verdict
    }

    /// Judges a frame to a device: on the home side from the LAN, on the foreign side out of the
    /// tunnel.
    #[inline]
    pub fn to_stranger(&mut self, frame: &[u8], now: Instant) -> Verdict {
        let verdict = Verdict::from(self.judge_to(frame, now));
        self.counters.to_stranger.count(verdict, frame.len());
        verdict
    }

    /// What was counted since the port was made.
    pub fn counters(&self) -> Counters {
        self.counters
    }

    /// The addresses that are known to be the devices' now, by device: to be shown, or handed to
    /// the port that takes over as [`Device::bindings`]. None on the foreign side.
    pub fn bindings(&self, now: Instant) -> impl Iterator<Item = Binding> {
        self.keys.iter().zip(&self.stations).flat_map(move |(key, station)| {
            station.addresses.iter(now).map(|entry| Binding {
                mac: key.mac(),
                address: entry.address.ip(),
                origin: entry.origin,
                expires: entry.expires,
            })
        })
    }

    /// The devices, ascending.
    pub fn devices(&self) -> impl Iterator<Item = Mac> {
        self.keys.iter().map(|key| key.mac())
    }

    #[inline]
    fn judge_from(&mut self, frame: &[u8], now: Instant) -> Result<(), Reason> {
        let ethernet = Ethernet::decode(frame)?;
        let at = self.find(ethernet.source).ok_or(Reason::SourceMac)?;
        if ethernet.destination.is_reserved() {
            return Err(Reason::LinkControl);
        }
        let kind = ethernet.kind()?;
        let (device, group) = (ethernet.source, ethernet.destination.is_group());
        if self.side == Side::Home && !self.is_plain(at, &ethernet, kind, now) {
            let statement = match kind {
                Kind::Ipv4 => Some(rules::ipv4(ethernet.payload, device, group)?),
                Kind::Ipv6 => Some(rules::ipv6(ethernet.payload, device, group)?),
                Kind::Arp => Some(rules::arp(ethernet.payload, device)?),
                Kind::Update => None,
            };
            if let Some(statement) = statement {
                self.verify(at, &statement, now)?;
            }
        }
        let scope = scope(&ethernet, kind);
        let station = self.stations.get_mut(at).ok_or(Reason::SourceMac)?;
        if let Some(scope) = scope {
            station.groups.take(scope, frame.len(), now)?;
        }
        police(station.up.as_mut(), frame.len(), now)
    }

    #[inline]
    fn judge_to(&mut self, frame: &[u8], now: Instant) -> Result<(), Reason> {
        let ethernet = Ethernet::decode(frame)?;
        if ethernet.source.is_group() {
            return Err(Reason::SourceMac);
        }
        if let Some(at) = self.find(ethernet.source) {
            self.is_elsewhere(at);
            return Err(Reason::Echo);
        }
        if ethernet.destination.is_reserved() {
            return Err(Reason::LinkControl);
        }
        let at = match ethernet.destination.is_group() {
            true => None,
            false => Some(self.find(ethernet.destination).ok_or(Reason::NotForIt)?),
        };
        let kind = ethernet.kind()?;
        if self.side == Side::Home {
            self.listen(kind, ethernet.payload, at, now)?;
        }
        let scope = scope(&ethernet, kind);
        match (at.and_then(|at| self.stations.get_mut(at)), scope) {
            // Answers to one device are not to use up what the others may be told.
            (Some(station), scope) => {
                if scope.is_some() && !station.arp.take_frame(frame.len(), now) {
                    return Err(Reason::ArpRate);
                }
                police(station.down.as_mut(), frame.len(), now)
            }
            (None, Some(scope)) => self.to_stranger.take(scope, frame.len(), now),
            (None, None) => Ok(()),
        }
    }

    #[inline]
    pub(crate) fn find(&self, key: Key) -> Option<usize> {
        if self.keys.len() <= FEW {
            self.keys.iter().position(|own| *own == key)
        } else {
            self.keys.binary_search(&key).ok()
        }
    }

    /// Whether a frame is what most are, in few steps: unicast, of which only the source matters,
    /// and that is known to be the device's. If not, all rules are gone through.
    #[inline]
    fn is_plain(&mut self, at: usize, ethernet: &Ethernet<'_>, kind: Kind, now: Instant) -> bool {
        let source = match kind {
            _ if ethernet.destination.is_group() => None,
            Kind::Ipv4 => plain_v4(ethernet.payload),
            Kind::Ipv6 => plain_v6(ethernet.payload),
            Kind::Arp | Kind::Update => None,
        };
        match (source, self.stations.get_mut(at)) {
            (Some(source), Some(station)) => station.addresses.touch(source, now),
            _ => false,
        }
    }

    /// Holds what a frame says against what is known of addresses.
    #[inline]
    fn verify(&mut self, at: usize, statement: &Statement, now: Instant) -> Result<(), Reason> {
        if let Some(source) = statement.source {
            let known = self.stations.get_mut(at);
            if !known.is_some_and(|station| station.addresses.touch(source, now)) {
                self.first_use(at, source, statement.otherwise, now)?;
            }
        }
        match statement.says {
            Says::Nothing => Ok(()),
            _ => self.weigh(at, statement, now),
        }
    }

    #[cold]
    fn weigh(&mut self, at: usize, statement: &Statement, now: Instant) -> Result<(), Reason> {
        match statement.says {
            Says::Nothing => Ok(()),
            Says::Claims(address) => {
                let known = self.stations.get_mut(at);
                match known.is_some_and(|station| station.addresses.touch(address, now)) {
                    true => Ok(()),
                    false => self.first_use(at, address, statement.otherwise, now),
                }
            }
            // A question is answered by whoever has the address. But two that ask at once both
            // give up (RFC 5227 2.1.1), so a host that is asking is not to hear another ask.
            Says::Probes(address) if self.neighbours.is_probed(address, now) => {
                Err(statement.otherwise)
            }
            Says::Probes(_) => Ok(()),
            Says::Returns(address) => {
                if self.is_anothers(at, address, now) {
                    return Err(Reason::DhcpClient);
                }
                if let Some(station) = self.stations.get_mut(at) {
                    station.addresses.remove(address);
                }
                Ok(())
            }
        }
    }

    /// Whether the device may use an address that is not known to be its own; if so, it is now.
    #[cold]
    fn first_use(
        &mut self,
        at: usize,
        address: Address,
        otherwise: Reason,
        now: Instant,
    ) -> Result<(), Reason> {
        if !address.is_usable() || self.is_anothers(at, address, now) {
            return Err(otherwise);
        }
        if address.is_v4_link_local() {
            return Ok(());
        }
        let station = self.stations.get_mut(at).ok_or(otherwise)?;
        let may = match self.policy {
            AddressPolicy::Learn => !(address.is_v4() && station.addresses.has_lease(now)),
            AddressPolicy::Assigned => address.is_v6_link_local(),
        };
        if !may {
            return Err(otherwise);
        }
        if station.addresses.add_seen(address, now) { Ok(()) } else { Err(Reason::AddressLimit) }
    }

    /// Whether the address is known to be somebody's other than that device's.
    fn is_anothers(&self, at: usize, address: Address, now: Instant) -> bool {
        let mut stations = self.stations.iter().enumerate();
        match self.stations.get(at) {
            Some(own) if own.addresses.has(address, now) => false,
            _ => {
                self.protected.binary_search(&address).is_ok()
                    || self.neighbours.is_taken(address, now)
                    || stations.any(|(n, other)| n != at && other.addresses.has(address, now))
            }
        }
    }
}

fn resized(old: Option<Bucket>, to: Option<Rate>, now: Instant) -> Option<Bucket> {
    let to = Bucket::of_octets(to?);
    Some(match old {
        Some(bucket) => bucket.resized(to, now),
        None => to,
    })
}

#[inline]
fn police(bucket: Option<&mut Bucket>, octets: usize, now: Instant) -> Result<(), Reason> {
    match bucket.is_none_or(|bucket| bucket.take_octets(octets, now)) {
        true => Ok(()),
        false => Err(Reason::Policed),
    }
}
