//! The port: its devices, its rules in their order.

use std::collections::BTreeMap;

use homeward_model::{Instant, Mac};

use crate::bucket::Bucket;
use crate::frame::{Ethernet, Key, Kind};
use crate::settings::{Binding, Device, GroupLimits, Rate, Settings, Side};
use crate::verdict::{Counters, Reason, Verdict};

/// A switch port for strangers; see the [crate's page](crate) for its rules.
#[derive(Debug)]
pub struct Port {
    side: Side,
    /// The devices' addresses, ascending; quick to search.
    keys: Vec<Key>,
    /// The devices, in the order of `keys`.
    stations: Vec<Station>,
    to_stranger: Groups,
    counters: Counters,
}

#[derive(Debug)]
struct Station {
    up: Option<Bucket>,
    down: Option<Bucket>,
    groups: Groups,
}

/// Storm control's buckets.
#[derive(Debug)]
struct Groups {
    arp: Bucket,
    near: Bucket,
}

impl Groups {
    fn full(limits: &GroupLimits) -> Self {
        Self { arp: Bucket::of_frames(limits.arp), near: Bucket::of_frames(limits.near) }
    }

    fn resize(&mut self, limits: &GroupLimits, now: Instant) {
        let to = Self::full(limits);
        self.arp = self.arp.resized(to.arp, now);
        self.near = self.near.resized(to.near, now);
    }
}

impl Port {
    /// A port with full buckets and no memory but what the settings hand over.
    pub fn new(settings: Settings, now: Instant) -> Self {
        let mut port = Self {
            side: settings.side,
            keys: Vec::new(),
            stations: Vec::new(),
            to_stranger: Groups::full(&settings.to_stranger),
            counters: Counters::default(),
        };
        port.reconfigure(settings, now);
        port
    }

    /// Takes other settings. Devices that stay keep their addresses and what their buckets lack;
    /// counters go on.
    pub fn reconfigure(&mut self, settings: Settings, now: Instant) {
        self.side = settings.side;
        self.to_stranger.resize(&settings.to_stranger, now);
        let old = std::mem::take(&mut self.keys).into_iter().zip(self.stations.drain(..));
        let mut old: BTreeMap<Key, Station> = old.collect();
        // A map: sorted, and of several devices with one MAC the last counts.
        let devices: BTreeMap<Key, Device> =
            settings.devices.into_iter().map(|device| (Key::of(device.mac), device)).collect();
        for (key, device) in devices {
            if key.is_group() || key.is_zero() {
                continue;
            }
            let station = match old.remove(&key) {
                Some(mut station) => {
                    station.groups.resize(&settings.from_stranger, now);
                    station.up = resized(station.up, device.up, now);
                    station.down = resized(station.down, device.down, now);
                    station
                }
                None => Station {
                    up: device.up.map(Bucket::of_octets),
                    down: device.down.map(Bucket::of_octets),
                    groups: Groups::full(&settings.from_stranger),
                },
            };
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

    /// The addresses that are known to be the devices', to be shown, or handed to the port that
    /// takes over as [`Device::bindings`].
    pub fn bindings(&self) -> Vec<Binding> {
        Vec::new()
    }

    /// The devices, ascending.
    pub fn devices(&self) -> impl Iterator<Item = Mac> {
        self.keys.iter().map(|key| key.mac())
    }

    fn judge_from(&mut self, frame: &[u8], now: Instant) -> Result<(), Reason> {
        let ethernet = Ethernet::decode(frame)?;
        let station = self
            .keys
            .iter()
            .position(|key| *key == ethernet.source)
            .and_then(|at| self.stations.get_mut(at))
            .ok_or(Reason::SourceMac)?;
        if ethernet.destination.is_reserved() {
            return Err(Reason::LinkControl);
        }
        let kind = ethernet.kind()?;
        if kind == Kind::Arp {
            if !station.groups.arp.take_frame(frame.len(), now) {
                return Err(Reason::ArpRate);
            }
        } else if ethernet.destination.is_group()
            && !station.groups.near.take_frame(frame.len(), now)
        {
            return Err(Reason::GroupRate);
        }
        police(station.up.as_mut(), frame.len(), now)
    }

    fn judge_to(&mut self, frame: &[u8], now: Instant) -> Result<(), Reason> {
        let ethernet = Ethernet::decode(frame)?;
        if ethernet.source.is_group() {
            return Err(Reason::SourceMac);
        }
        if self.keys.contains(&ethernet.source) {
            return Err(Reason::Echo);
        }
        if ethernet.destination.is_reserved() {
            return Err(Reason::LinkControl);
        }
        let station = if ethernet.destination.is_group() {
            None
        } else {
            let at = self.keys.iter().position(|key| *key == ethernet.destination);
            Some(at.and_then(|at| self.stations.get_mut(at)).ok_or(Reason::NotForIt)?)
        };
        let kind = ethernet.kind()?;
        if kind == Kind::Arp {
            if !self.to_stranger.arp.take_frame(frame.len(), now) {
                return Err(Reason::ArpRate);
            }
        } else if ethernet.destination.is_group()
            && !self.to_stranger.near.take_frame(frame.len(), now)
        {
            return Err(Reason::GroupRate);
        }
        police(station.and_then(|station| station.down.as_mut()), frame.len(), now)
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
