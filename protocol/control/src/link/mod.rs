//! One gateway's end of the channel.
//!
//! [`Link`] keeps what the gateway wants ([`Link::want`], [`Link::device`], …) and what the
//! controller gave it, opens the channel ([`Link::poll_action`]), speaks
//! ([`Link::poll_transmit`]), and says what to do ([`Link::poll_event`]). A wish that is made
//! while there is no channel is told with the next Hello.
//!
//! ```text
//!  Waiting ── back-off over ──► Connecting ── handle_connected ──► Greeting ── Synced ──► Open
//!     ▲                              │                                │                    │
//!     └── handle_lost, Goodbye, silence, too long ────────────────────┴────────────────────┘
//! ```

mod connect;
mod event;
mod messages;
mod nat;
mod settings;
mod status;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::Ipv4Addr;
use std::time::Duration;

use homeward_model::{Instant, Mac, NetworkId, Rssi};

use crate::codec::limits;
use crate::{
    DeniedReason, DeviceUpdate, Endpoint, FromGateway, GoodbyeReason, HeldLogin, Load, Neighbour,
    OpenTunnel, Prepare, Prepared, Side, TunnelId, TunnelReport, Want, WantMap, Welcome,
};

pub use event::{Action, Event};
pub use settings::{Device, Identity, Settings};
pub use status::{ChannelState, DeniedStatus, Status, TunnelStatus};

/// The machine of one gateway.
#[derive(Debug)]
pub struct Link {
    identity: Identity,
    settings: Settings,

    state: State,
    /// Since when.
    since: Instant,
    /// When the controller last said something.
    heard: Instant,
    /// Attempts since the last Synced.
    attempts: u32,
    /// Since when there has been no synchronised channel; `None` while there is one.
    offline: Option<Instant>,
    expired: bool,
    /// Whether [`Event::Lost`] has been told for this row of failures.
    lost_told: bool,
    last_reason: Option<String>,
    last_goodbye: Option<GoodbyeReason>,
    welcome: Option<Welcome>,

    endpoints: Vec<Endpoint>,
    wants: BTreeMap<NetworkId, Wanted>,
    devices: BTreeMap<(NetworkId, Mac), Connected>,
    sequence: u64,
    load: Option<Load>,
    neighbours: Vec<Neighbour>,

    inner_address: Option<Ipv4Addr>,
    tunnels: BTreeMap<TunnelId, OpenTunnel>,
    /// What was last said of each tunnel, and since when it has been in that state.
    reports: BTreeMap<TunnelId, (TunnelReport, Instant)>,
    prepared: BTreeMap<(NetworkId, Mac), Held>,

    transmits: VecDeque<FromGateway>,
    actions: VecDeque<Action>,
    events: VecDeque<Event>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// No channel until then.
    Waiting { until: Instant },
    /// [`Action::Connect`] is being carried out.
    Connecting { deadline: Instant },
    /// Hello was sent; Welcome, or the Synced after it, has not come.
    Greeting { deadline: Instant, welcomed: bool },
    /// Both sides say what changes.
    Open,
}

/// A network whose tunnel is wanted.
#[derive(Debug, Default)]
struct Wanted {
    macs: BTreeSet<Mac>,
    denied: Option<(DeniedReason, String)>,
    /// When to ask again.
    retry: Option<Instant>,
}

/// A device that is connected here.
#[derive(Debug, Clone, Copy)]
struct Connected {
    since: Instant,
    signal: Option<Rssi>,
    at_home: bool,
    /// The update that said so: an eviction that does not know of it is void.
    sequence: u64,
}

/// A device that is held prepared.
#[derive(Debug)]
struct Held {
    prepare: Prepare,
    ready: bool,
}

impl Link {
    /// A gateway that has no channel yet and wants one: [`Action::Connect`] is due at once.
    pub fn new(identity: Identity, settings: Settings, now: Instant) -> Self {
        let mut link = Self {
            identity,
            settings: settings.floored(),
            state: State::Waiting { until: now },
            since: now,
            heard: now,
            attempts: 0,
            offline: Some(now),
            expired: false,
            lost_told: false,
            last_reason: None,
            last_goodbye: None,
            welcome: None,
            endpoints: Vec::new(),
            wants: BTreeMap::new(),
            devices: BTreeMap::new(),
            sequence: 0,
            load: None,
            neighbours: Vec::new(),
            inner_address: None,
            tunnels: BTreeMap::new(),
            reports: BTreeMap::new(),
            prepared: BTreeMap::new(),
            transmits: VecDeque::new(),
            actions: VecDeque::new(),
            events: VecDeque::new(),
        };
        link.connect(now);
        link
    }

    /// Whether there is a channel and both sides know what the other has.
    pub fn is_synced(&self) -> bool {
        self.state == State::Open
    }

    /// The tunnels that the gateway has, by number.
    pub fn tunnels(&self) -> impl Iterator<Item = &OpenTunnel> {
        self.tunnels.values()
    }

    /// What to do with the channel.
    pub fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// What to send.
    pub fn poll_transmit(&mut self) -> Option<FromGateway> {
        self.transmits.pop_front()
    }

    /// What to do, and what happened.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    // ---- wishes

    /// The gateway has (or prepares) a VAP for the network and wants its tunnel, for these
    /// devices: [`Event::Open`] or [`Event::Denied`] follows. Replaces what was wanted for the
    /// network before.
    pub fn want(&mut self, network: NetworkId, macs: BTreeSet<Mac>) {
        let unchanged = self.wants.get(&network).is_some_and(|wanted| wanted.macs == macs);
        if unchanged {
            return;
        }
        let wanted = self.wants.entry(network).or_default();
        wanted.macs = macs;
        let want = wanted.message(network);
        self.say(FromGateway::Want(want));
    }

    /// The gateway no longer wants the network's tunnel; if it has one, [`Event::Close`] follows.
    pub fn unwant(&mut self, network: NetworkId) {
        if self.wants.remove(&network).is_none() {
            return;
        }
        self.say(FromGateway::Unwant(network));
        if let Some(tunnel) = self.foreign_tunnel(network) {
            self.close(tunnel, "no longer wanted");
        }
    }

    /// A device of the network connected here (again), or is no longer connected.
    pub fn device(&mut self, device: Device, now: Instant) {
        self.sequence += 1;
        let Device { mac, network, connected, signal, at_home } = device;
        let sequence = self.sequence;
        if connected {
            let entry = Connected { since: now, signal, at_home, sequence };
            self.devices.insert((network, mac), entry);
            // The controller makes the same of it: who is here need not be prepared for.
            self.prepared.remove(&(network, mac));
        } else {
            self.devices.remove(&(network, mac));
        }
        self.say(FromGateway::Device(DeviceUpdate {
            mac,
            network,
            connected,
            signal,
            at_home,
            sequence,
            age: Duration::ZERO,
        }));
    }

    /// The signal of a connected device has changed much. Nothing, if it is not connected.
    pub fn device_signal(&mut self, network: NetworkId, mac: Mac, signal: Rssi, now: Instant) {
        let Some(device) = self.devices.get_mut(&(network, mac)) else { return };
        device.signal = Some(signal);
        self.sequence += 1;
        let update = DeviceUpdate { sequence: self.sequence, ..device.message(network, mac, now) };
        self.say(FromGateway::Device(update));
    }

    /// How a tunnel of the gateway is. It is told now, and again after every reconnection.
    pub fn report(&mut self, report: TunnelReport, now: Instant) {
        let old = self.reports.get(&report.tunnel);
        if !self.tunnels.contains_key(&report.tunnel) || old.is_some_and(|(old, _)| *old == report)
        {
            return;
        }
        let since = old.filter(|(old, _)| old.state == report.state).map_or(now, |(_, at)| *at);
        self.reports.insert(report.tunnel, (report.clone(), since));
        // In a greeting, Synced comes first: it says which tunnels there are.
        if self.state == State::Open {
            self.say(FromGateway::Tunnel(report));
        }
    }

    /// Where the data plane may be reached, all of it. The controller adds the address that it
    /// sees, with the port of the first; an unspecified address says a port and nothing else.
    pub fn set_endpoints(&mut self, endpoints: Vec<Endpoint>) {
        if self.endpoints == endpoints {
            return;
        }
        self.endpoints = endpoints;
        self.endpoints.truncate(limits::ENDPOINTS);
        self.say(FromGateway::Endpoints(self.endpoints.clone()));
    }

    /// How busy the gateway is.
    pub fn load(&mut self, load: Load) {
        self.load = Some(load);
        if self.state == State::Open {
            self.say(FromGateway::Load(load));
        }
    }

    /// All beacons that its radio hears; the strongest, if they are many.
    pub fn neighbours(&mut self, mut neighbours: Vec<Neighbour>) {
        neighbours.sort_by_key(|n| (std::cmp::Reverse(n.signal), n.bssid));
        let mut seen = BTreeSet::new();
        neighbours.retain(|n| seen.insert(n.bssid));
        neighbours.truncate(limits::NEIGHBOURS);
        self.neighbours = neighbours;
        if self.state == State::Open {
            self.say(FromGateway::Neighbours(self.neighbours.clone()));
        }
    }

    /// What became of an [`Event::Prepare`].
    pub fn prepared(&mut self, prepared: Prepared) {
        let key = (prepared.network, prepared.mac);
        let Some(held) = self.prepared.get_mut(&key) else { return };
        held.ready = prepared.ready;
        if !prepared.ready {
            self.prepared.remove(&key);
        }
        self.say(FromGateway::Prepared(prepared));
    }

    /// The stations that are there and that log-ins let in, no two entries alike. To be said after
    /// every [`Event::Synced`], for whose log-in ended meanwhile is to go, and nobody else knows of
    /// them all. Nothing, while there is no channel: the next Synced asks again.
    pub fn logins(&mut self, logins: &[HeldLogin]) {
        for some in logins.chunks(limits::LOGINS) {
            self.say(FromGateway::Logins(some.to_vec()));
        }
    }

    /// Asks for the map of the operator's gateways. Without a channel nothing comes of it.
    pub fn want_map(&mut self, wanted: WantMap) {
        self.say(FromGateway::WantMap(wanted));
    }

    /// Who the gateway is, as told with the next Hello.
    pub fn set_identity(&mut self, identity: Identity) {
        self.identity = identity;
    }

    /// Other times, from now on.
    pub fn set_settings(&mut self, settings: Settings) {
        self.settings = settings.floored();
    }

    // ---- helpers

    /// Sends what is news to a controller that has had the Hello; else the Hello will say it.
    fn say(&mut self, message: FromGateway) {
        if matches!(self.state, State::Greeting { .. } | State::Open) {
            self.transmits.push_back(message);
        }
    }

    fn foreign_tunnel(&self, network: NetworkId) -> Option<TunnelId> {
        let ours = |t: &&OpenTunnel| t.network == network && t.side == Side::Foreign;
        self.tunnels.values().find(ours).map(|t| t.tunnel)
    }

    fn close(&mut self, tunnel: TunnelId, reason: &str) {
        self.reports.remove(&tunnel);
        if let Some(gone) = self.tunnels.remove(&tunnel) {
            let reason = reason.to_owned();
            self.events.push_back(Event::Close { tunnel, network: gone.network, reason });
        }
    }
}

impl Wanted {
    fn message(&self, network: NetworkId) -> Want {
        Want { network, macs: self.macs.iter().take(limits::MACS).copied().collect() }
    }
}

impl Connected {
    fn message(&self, network: NetworkId, mac: Mac, now: Instant) -> DeviceUpdate {
        DeviceUpdate {
            mac,
            network,
            connected: true,
            signal: self.signal,
            at_home: self.at_home,
            sequence: self.sequence,
            age: now.since(self.since),
        }
    }
}
