//! The tunnels of this gateway, without I/O: what its VAPs want, what the controller says of it,
//! and what the data plane is told.
//!
//! ```text
//!   VAPs ──serve──► Tunnels ◄──► Link ◄──messages──► controller
//!   stations ─────►    │
//!                      ├─ Open, Close, frames ──► data plane ──reports──► Tunnels
//!                      └─ Prepare, Evict, Revoke ──► VAPs
//! ```

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use homeward_control::link::{self, Device, Event, Identity, Link};
use homeward_control::{
    Endpoint, FromGateway, HeldLogin, LinkSettings, Load, Neighbour, OpenTunnel, Prepared, Router,
    Seen, Side, ToGateway, TunnelId, TunnelReport, TunnelState,
};
use homeward_dataplane::Event as PlaneEvent;
use homeward_model::{Entropy, Instant, Mac, Nai, NetworkId, Rssi, Ssid};

use crate::frames;
use crate::greeter::Greeter;
use crate::plane::{Order, Report};

/// Something to be done.
#[derive(Debug, Clone, PartialEq)]
#[expect(
    missing_docs,
    reason = "the fields are the words of the crate; each variant says what it means"
)]
pub enum Output {
    /// Open or close the channel.
    Channel(link::Action),
    /// Say something on it.
    Send(FromGateway),
    /// Have the data plane do something.
    Plane(Order),
    /// Hold a place for a device that may come.
    Prepare { mac: Mac, ssid: Ssid },
    /// Do so no longer.
    Withdraw { mac: Mac, ssid: Ssid },
    /// A device has connected elsewhere: drop its association.
    Evict { network: NetworkId, mac: Mac },
    /// A device, or with `None` all of a network, is no longer entitled.
    Revoke { network: NetworkId, mac: Option<Mac> },
    /// Put a station out whose log-in has ended.
    PutOut { mac: Mac },
    /// Say how busy the gateway is, by [`Tunnels::load`].
    TellLoad,
    /// Say which stations log-ins let in, by [`Tunnels::logins`].
    TellLogins,
    /// For the log.
    Told(Event),
}

/// What may change while tunnels are up.
#[derive(Debug, Clone)]
pub struct Tuning {
    /// The times of the channel.
    pub settings: LinkSettings,
    /// How many devices are held prepared. The controller is told when the channel next opens;
    /// until then it may ask for more, which is refused.
    pub prepared_max: u32,
    /// Where the data plane can be reached.
    pub endpoints: Vec<Endpoint>,
}

/// Where a device is connected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// On a VAP of its network.
    Away,
    /// On its own home's access point.
    Home,
}

/// Where frames of ours go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Spot {
    Lan,
    Tunnel(TunnelId),
}

#[derive(Debug)]
struct Tunnel {
    network: NetworkId,
    side: Side,
    /// At the foreign end, where the home's routers are.
    routers: Vec<Router>,
    /// Whether the data plane has it.
    opened: bool,
    report: TunnelReport,
}

/// The machine.
pub struct Tunnels {
    link: Link,
    identity: Identity,
    seen: Seen,
    tunnels: BTreeMap<TunnelId, Tunnel>,
    /// The networks whose traffic goes home, with the devices that have a place here.
    served: BTreeMap<NetworkId, BTreeSet<Mac>>,
    here: BTreeMap<(NetworkId, Mac), Place>,
    expected: BTreeMap<(NetworkId, Mac), Ssid>,
    /// The routers of the LAN behind this gateway.
    routers: Vec<Router>,
    greeter: Greeter<Spot>,
    load_every: Option<std::time::Duration>,
    load_due: Option<Instant>,
    outputs: VecDeque<Output>,
}

impl Tunnels {
    /// No tunnels, and a channel wanted. The data plane can be reached at `endpoints`.
    pub fn new(
        identity: Identity,
        settings: LinkSettings,
        endpoints: Vec<Endpoint>,
        now: Instant,
    ) -> Self {
        let mut link = Link::new(identity.clone(), settings, now);
        link.set_endpoints(endpoints.clone());
        let mut this = Self {
            link,
            identity,
            seen: Seen::new(endpoints),
            tunnels: BTreeMap::new(),
            served: BTreeMap::new(),
            here: BTreeMap::new(),
            expected: BTreeMap::new(),
            routers: Vec::new(),
            greeter: Greeter::new(),
            load_every: None,
            load_due: None,
            outputs: VecDeque::new(),
        };
        this.settle(now);
        this
    }

    // ---- what the VAPs say

    /// These networks have a VAP here, for these devices, and their traffic goes home.
    pub fn serve(&mut self, served: BTreeMap<NetworkId, BTreeSet<Mac>>, now: Instant) {
        let gone = self.served.keys().filter(|network| !served.contains_key(network));
        for network in gone {
            self.link.unwant(*network);
        }
        for (network, macs) in &served {
            self.link.want(*network, macs.clone());
        }
        self.served = served;
        self.settle(now);
    }

    /// A device has connected.
    pub fn connected(
        &mut self,
        network: NetworkId,
        mac: Mac,
        place: Place,
        signal: Option<Rssi>,
        now: Instant,
    ) {
        self.here.insert((network, mac), place);
        let at_home = place == Place::Home;
        self.link.device(Device { mac, network, connected: true, signal, at_home }, now);
        // Its router is told to it before it asks.
        match place {
            Place::Home => self.greeter.greet(Spot::Lan, mac, &self.routers, now),
            Place::Away => {
                if let Some((id, tunnel)) = self.foreign(network) {
                    let routers = tunnel.routers.clone();
                    self.greeter.greet(Spot::Tunnel(id), mac, &routers, now);
                }
            }
        }
        self.settle(now);
    }

    /// A device is no longer connected.
    pub fn disconnected(&mut self, network: NetworkId, mac: Mac, now: Instant) {
        let Some(place) = self.here.remove(&(network, mac)) else { return };
        let spot = match place {
            Place::Home => Some(Spot::Lan),
            Place::Away => self.foreign(network).map(|(id, _)| Spot::Tunnel(id)),
        };
        if let Some(spot) = spot {
            self.greeter.stop(spot, mac);
        }
        let at_home = place == Place::Home;
        self.link.device(Device { mac, network, connected: false, signal: None, at_home }, now);
        self.settle(now);
    }

    /// What became of a [`Output::Prepare`]; with no reason, all is ready.
    pub fn prepared(&mut self, mac: Mac, ssid: Ssid, reason: Option<String>, now: Instant) {
        let network = self.expected.iter().find(|((_, m), s)| *m == mac && **s == ssid);
        let Some((&(network, _), _)) = network else { return };
        let ready = reason.is_none();
        if !ready {
            self.expected.remove(&(network, mac));
        }
        let reason = reason.unwrap_or_default();
        self.link.prepared(Prepared { mac, network, ready, reason });
        self.settle(now);
    }

    // ---- what the controller says

    /// The channel is open.
    pub fn channel_up(&mut self, now: Instant) {
        self.link.handle_connected(now);
        self.settle(now);
    }

    /// The channel could not be opened, or has ended.
    pub fn channel_lost(&mut self, reason: &str, now: Instant, entropy: &mut impl Entropy) {
        self.link.handle_lost(reason, now, entropy);
        self.settle(now);
    }

    /// The controller says something.
    pub fn message(&mut self, message: ToGateway, now: Instant, entropy: &mut impl Entropy) {
        self.link.handle_message(message, now, entropy);
        self.settle(now);
    }

    // ---- what the data plane says

    /// What became of an order, or what happened by itself.
    pub fn plane(&mut self, report: Report, now: Instant) {
        match report {
            Report::Routers(routers) => {
                self.routers = routers;
                let home = self.tunnels.iter().filter(|(_, t)| t.side == Side::Home);
                let home: Vec<TunnelId> = home.map(|(id, _)| *id).collect();
                for id in home {
                    self.report(id, now, |_| {});
                }
            }
            Report::Opened(id, Ok(())) => {
                let Some(tunnel) = self.tunnels.get_mut(&id) else { return };
                let news = !std::mem::replace(&mut tunnel.opened, true);
                if news {
                    // The other end may have answered before the last port was in place: what the
                    // data plane said of it meanwhile stands.
                    self.report(id, now, |report| {
                        if report.state == TunnelState::Failed {
                            report.state = TunnelState::Ready;
                            report.reason.clear();
                        }
                    });
                }
                self.greet_all(id, now);
            }
            Report::Opened(id, Err(reason)) => self.report(id, now, |report| {
                report.state = TunnelState::Failed;
                report.reason = reason;
            }),
            Report::Hosts(hosts) => {
                if let Some(endpoints) = self.seen.hosts(hosts) {
                    self.link.set_endpoints(endpoints);
                }
            }
            Report::Event(event) => self.plane_event(event, now),
        }
        self.settle(now);
    }

    fn plane_event(&mut self, event: PlaneEvent, now: Instant) {
        match event {
            PlaneEvent::Up { tunnel } => self.report(TunnelId(tunnel.0), now, |report| {
                report.state = TunnelState::Up;
                report.reason.clear();
            }),
            PlaneEvent::Unreachable { tunnel } => {
                let why = self.link.why_unreachable(TunnelId(tunnel.0));
                self.report(TunnelId(tunnel.0), now, |report| {
                    report.state = TunnelState::Unreachable;
                    report.reason = why;
                });
            }
            PlaneEvent::PathMtu { tunnel, mtu } => {
                self.report(TunnelId(tunnel.0), now, |report| report.path_mtu = Some(mtu));
            }
            PlaneEvent::Mapped { interface, server, mapping } => {
                if let Some(endpoints) = self.seen.handle((interface, 0), server, mapping) {
                    self.link.set_endpoints(endpoints);
                }
            }
            // Of several paths, another is still there.
            PlaneEvent::Moved { .. } | PlaneEvent::Path { .. } => {}
            PlaneEvent::Gone { tunnel } => self.report(TunnelId(tunnel.0), now, |report| {
                report.state = TunnelState::Failed;
                report.reason = "its interface was deleted".to_owned();
            }),
        }
    }

    // ---- time and output

    /// Says how busy the gateway is.
    pub fn load(&mut self, load: Load, now: Instant) {
        self.link.load(load);
        self.settle(now);
    }

    /// Access points that the radio hears.
    pub fn neighbours(&mut self, heard: Vec<Neighbour>, now: Instant) {
        self.link.neighbours(heard);
        self.settle(now);
    }

    /// The stations that are there and that log-ins let in.
    pub fn logins(&mut self, logins: Vec<(Mac, Nai)>, now: Instant) {
        let held = logins.into_iter().map(|(mac, name)| HeldLogin { mac, name });
        self.link.logins(&held.collect::<Vec<_>>());
        self.settle(now);
    }

    /// hostapd is there (again): what it was told to do meanwhile, it did not.
    pub fn hostapd_ready(&mut self) {
        if self.link.is_synced() {
            self.ask_for_logins();
        }
    }

    /// Takes what may change.
    pub fn retune(&mut self, tuning: Tuning, now: Instant) {
        self.identity.prepared_max = tuning.prepared_max;
        self.link.set_identity(self.identity.clone());
        self.link.set_settings(tuning.settings);
        self.link.set_endpoints(self.seen.retune(tuning.endpoints));
        self.settle(now);
    }

    /// The BSSID of the owner's access point: what the neighbours hear.
    pub fn bssid(&mut self, bssid: Mac) {
        self.identity.bssids = vec![bssid];
        self.link.set_identity(self.identity.clone());
    }

    /// It is `now`.
    pub fn handle_timeout(&mut self, now: Instant, entropy: &mut impl Entropy) {
        self.link.handle_timeout(now, entropy);
        self.greeter.handle_timeout(now);
        if self.load_due.is_some_and(|due| due <= now) {
            self.load_due = self.load_every.map(|every| now + every);
            self.outputs.push_back(Output::TellLoad);
        }
        self.settle(now);
    }

    /// When to call [`handle_timeout`](Self::handle_timeout).
    pub fn poll_timeout(&self) -> Option<Instant> {
        [self.link.poll_timeout(), self.greeter.poll_timeout(), self.load_due]
            .into_iter()
            .flatten()
            .min()
    }

    /// The next thing to do.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// The channel and the tunnels, for `status`.
    pub fn status(&self, now: Instant) -> link::Status {
        self.link.status(now)
    }

    // ---- helpers

    /// Where log-ins ask the core through this gateway, it is who can put a station out; so it
    /// says who is there.
    fn ask_for_logins(&mut self) {
        if self.identity.carries_logins {
            self.outputs.push_back(Output::TellLogins);
        }
    }

    fn foreign(&self, network: NetworkId) -> Option<(TunnelId, &Tunnel)> {
        let found =
            self.tunnels.iter().find(|(_, t)| t.network == network && t.side == Side::Foreign);
        found.map(|(id, tunnel)| (*id, tunnel))
    }

    /// Changes what is said of a tunnel, and says it.
    fn report(&mut self, id: TunnelId, now: Instant, change: impl FnOnce(&mut TunnelReport)) {
        let Some(tunnel) = self.tunnels.get_mut(&id) else { return };
        change(&mut tunnel.report);
        if tunnel.side == Side::Home {
            tunnel.report.routers.clone_from(&self.routers);
        }
        self.link.report(tunnel.report.clone(), now);
    }

    /// Tells all who are at a tunnel's near end already where their router is.
    fn greet_all(&mut self, id: TunnelId, now: Instant) {
        let Some(tunnel) = self.tunnels.get(&id).filter(|t| t.opened && t.side == Side::Foreign)
        else {
            return;
        };
        let network = tunnel.network;
        let here =
            self.here.iter().filter(|((n, _), place)| *n == network && **place == Place::Away);
        for ((_, mac), _) in here {
            self.greeter.greet(Spot::Tunnel(id), *mac, &tunnel.routers, now);
        }
    }

    /// Takes what link and greeter have to say, until they are silent.
    fn settle(&mut self, now: Instant) {
        while let Some(event) = self.link.poll_event() {
            self.told(event, now);
        }
        while let Some((spot, frame)) = self.greeter.poll_frame() {
            let order = match spot {
                Spot::Lan => Order::Lan(frame),
                Spot::Tunnel(id) => Order::Inject(id, frame),
            };
            self.outputs.push_back(Output::Plane(order));
        }
        while let Some(action) = self.link.poll_action() {
            self.outputs.push_back(Output::Channel(action));
        }
        while let Some(message) = self.link.poll_transmit() {
            self.outputs.push_back(Output::Send(message));
        }
    }

    fn told(&mut self, event: Event, now: Instant) {
        self.outputs.push_back(Output::Told(event.clone()));
        match event {
            Event::Connected { inner_address, report_interval, stun, .. } => {
                self.outputs.push_back(Output::Plane(Order::Address(inner_address)));
                self.outputs.push_back(Output::Plane(Order::Stun(stun)));
                self.load_every = Some(report_interval).filter(|every| !every.is_zero());
                self.load_due = self.load_every.map(|_| now);
            }
            Event::Open(open) => self.open(open, now),
            Event::Close { tunnel, .. } => {
                self.tunnels.remove(&tunnel);
                self.greeter.clear(Spot::Tunnel(tunnel));
                self.outputs.push_back(Output::Plane(Order::Close(tunnel)));
            }
            Event::Arrived { tunnel, mac, .. } => {
                // The bridges of the home LAN learn from it where the device is now.
                let frame = frames::update(mac);
                self.outputs.push_back(Output::Plane(Order::Inject(tunnel, frame)));
            }
            Event::Prepare { mac, ssid, network } => {
                self.expected.insert((network, mac), ssid);
                self.outputs.push_back(Output::Prepare { mac, ssid });
            }
            Event::Withdraw { mac, network } => {
                if let Some(ssid) = self.expected.remove(&(network, mac)) {
                    self.outputs.push_back(Output::Withdraw { mac, ssid });
                }
            }
            Event::Evict { mac, network } => {
                self.outputs.push_back(Output::Evict { network, mac });
            }
            Event::Revoke { network, mac } => {
                self.outputs.push_back(Output::Revoke { network, mac });
            }
            Event::PutOut { mac } => self.outputs.push_back(Output::PutOut { mac }),
            Event::Lost { .. } => self.load_due = None,
            Event::Synced { .. } => self.ask_for_logins(),
            // A gateway asks for no map.
            Event::Expired | Event::Denied { .. } | Event::Map(_) => {}
        }
    }

    fn open(&mut self, open: OpenTunnel, now: Instant) {
        let id = open.tunnel;
        let fresh = || Tunnel {
            network: open.network,
            side: open.side,
            routers: Vec::new(),
            opened: false,
            report: TunnelReport {
                tunnel: id,
                state: TunnelState::Ready,
                reason: String::new(),
                routers: Vec::new(),
                path_mtu: None,
            },
        };
        let tunnel = self.tunnels.entry(id).or_insert_with(fresh);
        let told = std::mem::replace(&mut tunnel.routers, open.routers.clone());
        let news = told != tunnel.routers;
        self.outputs.push_back(Output::Plane(Order::Open(Box::new(open))));
        if news {
            self.greet_all(id, now);
        }
    }
}
