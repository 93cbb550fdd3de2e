//! The operator's end of all channels: one machine for the whole operator, in memory.
//!
//! [`Controller`] is told of channels and what comes over them, of what the store says, and of
//! time; it says what to send ([`Controller::poll_transmit`]), what to do
//! ([`Controller::poll_action`]), what happened ([`Controller::poll_event`]) and when to call
//! again ([`Controller::poll_timeout`]). After every call, all of it is to be drained.
//!
//! | module | what it holds |
//! |---|---|
//! | [`Settings`], [`Action`], [`Event`], [`Status`] | what goes in and comes out |
//! | `connect` | channels: greeted, replaced, silent, lost, given up |
//! | `networks` | what the store says of networks, and revocation |
//! | `tunnels` | which tunnels there are to be, compared with those there are |
//! | `halves` | what gateways hold and this process does not know of: adopted or dropped |
//! | `hybrid` | devices that are gateways to themselves: what they may say, and their legs |
//! | `devices` | where devices are, arrival and eviction |
//! | `prepare`, `graph` | where they will be next, and preparation |
//! | `records`, `pool`, `timers`, `bucket` | what they are made of |

mod action;
mod bucket;
mod connect;
mod devices;
mod event;
mod graph;
mod halves;
mod hybrid;
mod networks;
mod pool;
mod prepare;
mod records;
mod settings;
mod status;
mod timers;
mod tunnels;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use homeward_model::{Entropy, GatewayId, Instant, Mac, NetworkId};

use crate::{FromGateway, GoodbyeReason, ToGateway, TunnelId};
use devices::Devices;
use graph::Graph;
use pool::Pool;
use records::{DeviceKey, Gateway, Network, Pair, Tunnel};
use timers::{Timer, Timers};

pub use action::{Action, ChannelId, GatewayFacts, LearnedMove, NetworkFacts};
pub use event::{Closed, Event, Ignored, Lost, Withdrawn};
pub use settings::Settings;
pub use status::{Counters, DeviceStatus, EndStatus, GatewayStatus, Status, Totals, TunnelStatus};

/// The machine of the whole operator.
#[derive(Debug)]
pub struct Controller {
    settings: Settings,

    channels: BTreeMap<ChannelId, GatewayId>,
    gateways: BTreeMap<GatewayId, Gateway>,
    networks: BTreeMap<NetworkId, Network>,
    /// The networks in memory that are at home behind a gateway.
    homes: BTreeMap<GatewayId, BTreeSet<NetworkId>>,
    tunnels: BTreeMap<TunnelId, Tunnel>,
    /// The halves that wait for a gateway: of which network, and who holds them.
    awaited: BTreeMap<GatewayId, BTreeSet<(NetworkId, GatewayId, TunnelId)>>,
    pairs: BTreeMap<(GatewayId, GatewayId), Pair>,
    devices: Devices,
    /// Whose beacons these are.
    bssids: BTreeMap<Mac, GatewayId>,
    graph: Graph,
    pool: Pool,
    timers: Timers,
    counters: Counters,

    /// Networks whose tunnels may no longer be what they are to be: at one foreign gateway, or
    /// (`None`) at all of them.
    dirty: BTreeSet<(NetworkId, Option<GatewayId>)>,
    /// Devices whose home is to be told that they have arrived.
    arrivals: BTreeSet<DeviceKey>,

    transmits: VecDeque<(ChannelId, ToGateway)>,
    actions: VecDeque<Action>,
    events: VecDeque<Event>,
}

impl Controller {
    /// A controller that knows nothing: the gateways tell it what they hold.
    pub fn new(settings: Settings) -> Self {
        let settings = settings.floored();
        Self {
            channels: BTreeMap::new(),
            gateways: BTreeMap::new(),
            networks: BTreeMap::new(),
            homes: BTreeMap::new(),
            tunnels: BTreeMap::new(),
            awaited: BTreeMap::new(),
            pairs: BTreeMap::new(),
            devices: Devices::default(),
            bssids: BTreeMap::new(),
            graph: Graph::default(),
            pool: Pool::new(settings.pool),
            timers: Timers::default(),
            counters: Counters::default(),
            dirty: BTreeSet::new(),
            arrivals: BTreeSet::new(),
            transmits: VecDeque::new(),
            actions: VecDeque::new(),
            events: VecDeque::new(),
            settings,
        }
    }

    /// A message came over a channel. What cannot be decoded is skipped if it is of an unknown
    /// kind, and else reported with [`handle_garbled`](Self::handle_garbled). Nothing, for a
    /// channel that was disconnected or replaced.
    pub fn handle_message(
        &mut self,
        channel: ChannelId,
        message: FromGateway,
        now: Instant,
        entropy: &mut impl Entropy,
    ) {
        let Some(gateway) = self.channels.get(&channel).copied() else { return };
        self.counters.messages += 1;
        if let Some(live) = self.gateways.get_mut(&gateway).and_then(|g| g.channel.as_mut()) {
            live.heard = now;
        }
        let entries = match &message {
            FromGateway::Neighbours(neighbours) => neighbours.len(),
            FromGateway::Want(want) => want.macs.len(),
            FromGateway::Logins(logins) => logins.len(),
            _ => 0,
        };
        if !self.spend(gateway, entries, now) {
            let message = "the gateway says more than it may";
            let reason = GoodbyeReason::Unavailable;
            self.disconnect(gateway, Lost::Flooding, reason, message, now);
            return self.settle(now, entropy);
        }
        match message {
            message if self.is_beyond(gateway, &message) => self.ignore_device(gateway),
            FromGateway::Hello(_) => {
                let message = "the gateway said Hello twice";
                self.disconnect(gateway, Lost::Protocol, GoodbyeReason::Protocol, message, now);
            }
            FromGateway::Load(load) => {
                if let Some(record) = self.gateways.get_mut(&gateway) {
                    record.load = Some((load, now));
                }
            }
            FromGateway::Neighbours(heard) => self.take_neighbours(gateway, heard, now),
            FromGateway::Device(update) => self.update(gateway, update, now),
            FromGateway::Want(want) => self.want(gateway, want, now),
            FromGateway::Unwant(network) => self.unwant(gateway, network),
            FromGateway::Tunnel(report) => self.report(gateway, report),
            FromGateway::Prepared(prepared) => self.prepared(gateway, prepared, now),
            FromGateway::Endpoints(endpoints) => {
                if let Some(record) = self.gateways.get_mut(&gateway) {
                    record.endpoints = endpoints;
                }
                self.mark_networks_of(gateway);
            }
            FromGateway::Pong(_) => {}
            FromGateway::Logins(logins) => self.review_logins(gateway, logins),
            FromGateway::WantMap(wanted) => self.want_map(channel, gateway, wanted, now),
        }
        self.settle(now, entropy);
    }

    /// When to call [`handle_timeout`](Self::handle_timeout).
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.timers.next()
    }

    /// Time has passed.
    pub fn handle_timeout(&mut self, now: Instant, entropy: &mut impl Entropy) {
        while let Some(timer) = self.timers.pop_due(now) {
            match timer {
                Timer::Ping(gateway) => self.check_alive(gateway, now),
                Timer::Keep(gateway) => self.give_up(gateway, Closed::Away, now),
                Timer::Halves(gateway) => self.drop_lone_halves(gateway),
                Timer::Network(network) => self.ask_anew(network, now),
                Timer::Device(network, mac) => self.device_timer((network, mac)),
            }
        }
        self.settle(now, entropy);
    }

    /// What to send, and over which channel.
    pub fn poll_transmit(&mut self) -> Option<(ChannelId, ToGateway)> {
        self.transmits.pop_front()
    }

    /// What to do.
    pub fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// What happened.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// Whether anything is about that network, so that its facts are of use.
    pub fn has_network(&self, network: NetworkId) -> bool {
        self.networks.contains_key(&network)
    }

    /// What was learned of moves after `since`, to be kept by whoever runs the machine.
    pub fn moves(&self, since: Instant, now: Instant) -> Vec<LearnedMove> {
        let learned = self.graph.counted_after(since);
        learned
            .map(|((from, to), weight, at)| LearnedMove { from, to, weight, age: now.since(at) })
            .collect()
    }

    /// Takes up what an earlier machine learned. What is worth nothing any more is left out.
    pub fn remember_moves(&mut self, moves: impl IntoIterator<Item = LearnedMove>, now: Instant) {
        let half_life = self.settings.move_half_life;
        let most = (self.settings.gateways, self.settings.neighbours_per_gateway);
        for LearnedMove { from, to, weight, age } in moves {
            let left = graph::decayed(weight, age, half_life);
            if from != to && left.is_finite() && left >= self.settings.least_weight {
                self.graph.add((from, to), left, half_life, most, now);
            }
        }
    }

    /// The limits and times it works with.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }
}
