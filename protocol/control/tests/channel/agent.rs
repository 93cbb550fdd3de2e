//! What a gateway does with its link: the smallest agent that behaves.

use std::collections::{BTreeMap, BTreeSet};

use homeward_control::link::{Device, Event};
use homeward_control::{
    CoverageMap, DeniedReason, GoodbyeReason, HeldLogin, Link, OpenTunnel, Prepared, Router, Side,
    TunnelId, TunnelReport, TunnelState,
};
use homeward_model::{Instant, Mac, NetworkId};

/// An agent, and what it was told.
#[derive(Debug)]
pub(crate) struct Agent {
    pub(crate) tunnels: BTreeMap<TunnelId, OpenTunnel>,
    /// Foreign devices and own ones.
    pub(crate) connected: BTreeSet<(NetworkId, Mac)>,
    /// Those of them that are at home here.
    pub(crate) at_home: BTreeSet<(NetworkId, Mac)>,
    pub(crate) prepared: BTreeSet<(NetworkId, Mac)>,
    pub(crate) denied: BTreeMap<NetworkId, DeniedReason>,
    pub(crate) arrived: Vec<(TunnelId, Mac)>,
    pub(crate) evicted: Vec<(NetworkId, Mac)>,
    pub(crate) revoked: Vec<(NetworkId, Option<Mac>)>,
    pub(crate) put_out: Vec<Mac>,
    /// The maps that it was sent.
    pub(crate) maps: Vec<CoverageMap>,
    /// Stations that log-ins let in, where log-ins ask through it.
    pub(crate) logins: Vec<HeldLogin>,
    /// How often it was told of a tunnel.
    pub(crate) told: usize,
    /// How often a tunnel was set up that was not there, and taken down that was.
    pub(crate) opened: usize,
    pub(crate) closed: usize,
    pub(crate) synced: usize,
    pub(crate) expired: usize,
    pub(crate) lost: Vec<Option<GoodbyeReason>>,
    /// Whether it has room for what is to be prepared.
    pub(crate) has_room: bool,
}

impl Agent {
    pub(crate) fn new() -> Self {
        Self {
            tunnels: BTreeMap::new(),
            connected: BTreeSet::new(),
            at_home: BTreeSet::new(),
            prepared: BTreeSet::new(),
            denied: BTreeMap::new(),
            arrived: Vec::new(),
            evicted: Vec::new(),
            revoked: Vec::new(),
            put_out: Vec::new(),
            maps: Vec::new(),
            logins: Vec::new(),
            told: 0,
            opened: 0,
            closed: 0,
            synced: 0,
            expired: 0,
            lost: Vec::new(),
            has_room: true,
        }
    }

    pub(crate) fn connect(
        &mut self,
        link: &mut Link,
        network: NetworkId,
        mac: Mac,
        at_home: bool,
        now: Instant,
    ) {
        self.connected.insert((network, mac));
        self.prepared.remove(&(network, mac));
        if at_home {
            self.at_home.insert((network, mac));
        } else {
            self.at_home.remove(&(network, mac));
            self.want(link, network);
        }
        link.device(Device { mac, network, connected: true, signal: None, at_home }, now);
    }

    pub(crate) fn disconnect(
        &mut self,
        link: &mut Link,
        network: NetworkId,
        mac: Mac,
        now: Instant,
    ) {
        let known = self.connected.remove(&(network, mac));
        let at_home = self.at_home.remove(&(network, mac));
        if known {
            link.device(Device { mac, network, connected: false, signal: None, at_home }, now);
            self.want(link, network);
        }
    }

    /// What the VAP of a network is for: who is connected or prepared, away from home.
    pub(crate) fn macs(&self, network: NetworkId) -> BTreeSet<Mac> {
        let away = self.connected.difference(&self.at_home).chain(&self.prepared);
        away.filter(|(n, _)| *n == network).map(|(_, mac)| *mac).collect()
    }

    fn want(&self, link: &mut Link, network: NetworkId) {
        let macs = self.macs(network);
        if macs.is_empty() {
            link.unwant(network);
        } else {
            link.want(network, macs);
        }
    }

    pub(crate) fn handle(&mut self, event: Event, link: &mut Link, now: Instant) {
        match event {
            Event::Connected { .. } => {}
            Event::Synced { tunnels } => {
                assert_eq!(tunnels, self.tunnels.len());
                self.synced += 1;
                link.logins(&self.logins);
            }
            Event::Lost { goodbye, .. } => self.lost.push(goodbye),
            Event::Expired => self.expired += 1,
            Event::Open(open) => self.open(open, link, now),
            Event::Close { tunnel, network, .. } => {
                let gone = self.tunnels.remove(&tunnel).expect("what is closed is there");
                assert_eq!(gone.network, network);
                self.closed += 1;
            }
            Event::Denied { network, reason, .. } => {
                self.denied.insert(network, reason);
            }
            Event::Arrived { tunnel, mac, .. } => {
                let open = &self.tunnels[&tunnel];
                assert_eq!(open.side, Side::Home, "a home is told");
                assert!(open.macs.contains(&mac), "who arrives may send already");
                self.arrived.push((tunnel, mac));
            }
            Event::Prepare { mac, network, .. } => {
                let ready = self.has_room;
                if ready {
                    self.prepared.insert((network, mac));
                    self.want(link, network);
                }
                let reason = if ready { String::new() } else { "no VAP is free".to_owned() };
                link.prepared(Prepared { mac, network, ready, reason });
            }
            Event::Withdraw { mac, network } => {
                assert!(self.prepared.remove(&(network, mac)), "what is withdrawn is held");
                self.want(link, network);
            }
            Event::Evict { mac, network } => {
                self.evicted.push((network, mac));
                self.disconnect(link, network, mac, now);
            }
            Event::Revoke { network, mac } => {
                self.revoked.push((network, mac));
                let hit =
                    |(n, m): &(NetworkId, Mac)| *n == network && mac.is_none_or(|mac| *m == mac);
                self.prepared.retain(|key| !hit(key));
                let out: Vec<_> = self.connected.iter().filter(|key| hit(key)).copied().collect();
                for (network, mac) in out {
                    self.disconnect(link, network, mac, now);
                }
                self.want(link, network);
            }
            Event::Map(map) => self.maps.push(map),
            Event::PutOut { mac } => {
                self.logins.retain(|login| login.mac != mac);
                self.put_out.push(mac);
            }
        }
    }

    fn open(&mut self, open: OpenTunnel, link: &mut Link, now: Instant) {
        let tunnel = open.tunnel;
        let twin = |t: &OpenTunnel| {
            open.side == Side::Foreign
                && t.side == Side::Foreign
                && t.network == open.network
                && t.tunnel != tunnel
        };
        assert!(!self.tunnels.values().any(twin), "one tunnel a VAP");
        self.denied.remove(&open.network);
        self.told += 1;
        let routers = match open.side {
            Side::Home => {
                vec![Router { address: [192, 168, 1, 1].into(), mac: crate::world::mac(1) }]
            }
            Side::Foreign => vec![],
        };
        if self.tunnels.insert(tunnel, open).is_none() {
            self.opened += 1;
        }
        let report = TunnelReport {
            tunnel,
            state: TunnelState::Up,
            reason: String::new(),
            routers,
            path_mtu: Some(1420),
        };
        link.report(report, now);
    }

    /// Its tunnel for a network, as the foreign side.
    pub(crate) fn foreign(&self, network: NetworkId) -> Option<&OpenTunnel> {
        self.tunnels.values().find(|t| t.network == network && t.side == Side::Foreign)
    }
}
