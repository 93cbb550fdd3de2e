//! The machine, its channels, and its look-ups. Nothing in here waits.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use homeward_channel::{
    Closed, ConnectionId, Counters, Denial, Event as ChannelEvent, Handle, Refusal, Serial,
};
use homeward_control::controller::{Action, ChannelId, GatewayFacts, LearnedMove, Status};
use homeward_control::{Controller, FromGateway, Goodbye, GoodbyeReason, ToGateway, pb};
use homeward_daemon::{SystemClock, SystemEntropy};
use homeward_model::{
    AccountId, ClassId, Clock, GatewayId, Instant, Mac, Name, NetworkId, Site, UnixTime,
};
use homeward_store::{MoveWeight, Store};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;

use crate::facts::{self, Known};
use crate::figures::Figures;
use crate::revocations::Reviewer;
use crate::watch::Change;
use crate::{gate, journal};

mod map;

use map::Maps;

/// Look-ups in the store at a time; others queue.
const LOOKUPS: usize = 8;

/// The pause before a look-up that the store failed is made again.
const PAUSE: Duration = Duration::from_millis(500);

/// Channels of one gateway that have not said Hello yet; more end the oldest.
const UNGREETED: usize = 4;

/// How often the figures are brought up to date.
const FIGURES: Duration = Duration::from_secs(1);

/// How many half-lives what was learned of moves is kept: after ten, a move is a thousandth.
const HALF_LIVES: u32 = 10;

/// What a look-up found.
#[derive(Debug)]
pub enum Found {
    /// A network, or that there is none.
    Network(NetworkId, Option<Box<Known>>),
    /// Devices of a gateway that may not go on.
    Ended(GatewayId, Vec<(NetworkId, Mac)>),
    /// Stations of a gateway whose log-ins have ended.
    LoginsEnded(GatewayId, Vec<Mac>),
    /// That a channel's credential is good no more.
    Bad(ConnectionId, Refusal),
    /// Where gateways are heard; `None`: that could not be read.
    Sites(Option<Vec<Site>>),
    /// That what was learned of moves up to that moment is kept; `None`: it could not be.
    Kept(Option<Instant>),
}

/// One open channel.
struct Channel {
    gateway: GatewayId,
    name: Name,
    device_of: Option<(NetworkId, Mac)>,
    serial: Serial,
    peer: SocketAddr,
    handle: Handle,
    /// Until when it may be silent; `None` once it has said Hello.
    patience: Option<Instant>,
}

/// The times of a hub.
#[derive(Debug, Clone, Copy)]
pub struct Times {
    /// How long a channel may be open without a Hello.
    pub hello: Duration,
    /// How often what was learned of moves is written down, if there is news.
    pub keep_moves: Duration,
    /// How long a map of the gateways is good.
    pub map_valid: Duration,
    /// What BSSIDs in it are hashed with.
    pub map_salt: [u8; 8],
}

/// The controller, with all that it needs done.
pub struct Hub {
    machine: Controller,
    entropy: SystemEntropy,
    store: Arc<dyn Store>,
    reviewer: Arc<dyn Reviewer>,
    figures: Figures,
    counters: Arc<Counters>,
    patience: Duration,
    channels: BTreeMap<ConnectionId, Channel>,
    by_gateway: BTreeMap<GatewayId, BTreeSet<ConnectionId>>,
    waiting: BTreeSet<(Instant, ConnectionId)>,
    /// The networks that the machine has the facts of, with what these hang on.
    known: BTreeMap<NetworkId, (AccountId, ClassId)>,
    /// The networks that are being looked up.
    pending: BTreeSet<NetworkId>,
    lookups: JoinSet<()>,
    room: Arc<Semaphore>,
    found: mpsc::UnboundedSender<Found>,
    figures_due: Instant,
    maps: Maps,
    /// Up to when what was learned of moves is kept, and when it is to be kept again.
    kept: Instant,
    keep_due: Instant,
    keep_every: Duration,
    /// Whether that is being done.
    keeping: bool,
}

impl Hub {
    /// A hub without channels. What its look-ups find comes over `found`, to be handed back.
    pub fn new(
        machine: Controller,
        store: Arc<dyn Store>,
        reviewer: Arc<dyn Reviewer>,
        figures: Figures,
        counters: Arc<Counters>,
        times: Times,
        found: mpsc::UnboundedSender<Found>,
    ) -> Self {
        Self {
            machine,
            entropy: SystemEntropy::new(),
            store,
            reviewer,
            figures,
            counters,
            patience: times.hello,
            channels: BTreeMap::new(),
            by_gateway: BTreeMap::new(),
            waiting: BTreeSet::new(),
            known: BTreeMap::new(),
            pending: BTreeSet::new(),
            lookups: JoinSet::new(),
            room: Arc::new(Semaphore::new(LOOKUPS)),
            found,
            figures_due: SystemClock.now() + FIGURES,
            maps: Maps::new(times.map_valid, times.map_salt),
            kept: SystemClock.now(),
            keep_due: SystemClock.now() + times.keep_moves,
            keep_every: times.keep_moves,
            keeping: false,
        }
    }

    /// When to call [`handle_timeout`](Self::handle_timeout).
    pub fn poll_timeout(&self) -> Instant {
        let greeting = self.waiting.first().map(|(at, _)| *at);
        let due = self.figures_due.min(self.keep_due);
        [self.machine.poll_timeout(), greeting].into_iter().flatten().fold(due, Instant::min)
    }

    /// Time has passed.
    pub fn handle_timeout(&mut self) {
        let now = SystemClock.now();
        self.machine.handle_timeout(now, &mut self.entropy);
        while let Some((at, connection)) = self.waiting.first().copied() {
            if at > now {
                break;
            }
            self.dismiss(connection, GoodbyeReason::Protocol, "the gateway did not say Hello");
        }
        if now >= self.figures_due {
            self.figures_due = now + FIGURES;
            let (totals, counters) = (self.machine.totals(), self.machine.counters());
            self.figures.update(totals, counters, &self.counters);
        }
        if now >= self.keep_due {
            self.keep_due = now + self.keep_every;
            // A slow store is not asked twice at a time.
            if !std::mem::replace(&mut self.keeping, true) {
                let (keeping, found) = (self.keep_moves(), self.found.clone());
                self.lookups.spawn(async move { drop(found.send(Found::Kept(keeping.await))) });
            }
        }
        while self.lookups.try_join_next().is_some() {}
        self.drain();
    }

    /// Writes down what was learned of moves, if that is news; up to when it is kept then.
    pub fn keep_moves(&self) -> impl Future<Output = Option<Instant>> + use<> {
        let (now, unix, store) = (SystemClock.now(), SystemClock.unix(), Arc::clone(&self.store));
        let milliseconds = |span: Duration| i64::try_from(span.as_millis()).unwrap_or(i64::MAX);
        let before = move |span| UnixTime(unix.0.saturating_sub(milliseconds(span)));
        let learned = self.machine.moves(self.kept, now).into_iter();
        let news: Vec<MoveWeight> = learned
            .map(|LearnedMove { from, to, weight, age }| MoveWeight {
                from,
                to,
                weight,
                at: before(age),
            })
            .collect();
        let forget = before(self.machine.settings().move_half_life * HALF_LIVES);
        async move {
            if news.is_empty() {
                return Some(now);
            }
            match store.keep_moves(&news, forget).await {
                Ok(()) => Some(now),
                Err(error) => {
                    tracing::warn!(%error, "what was learned of moves could not be written down");
                    None
                }
            }
        }
    }

    /// A gateway did something.
    pub fn handle_channel(&mut self, event: ChannelEvent) {
        match event {
            ChannelEvent::Opened { connection, gateway, name, device_of, serial, peer, handle } => {
                let patience = SystemClock.now() + self.patience;
                let patience = Some(patience);
                let channel = Channel { gateway, name, device_of, serial, peer, handle, patience };
                self.opened(connection, channel);
            }
            ChannelEvent::Message { connection, message } => self.message(connection, message),
            ChannelEvent::Closed { connection, why } => {
                if let Some(channel) = self.remove(connection) {
                    if let Closed::Lost(reason) = &why {
                        tracing::debug!(gateway = %channel.gateway, reason, "connection lost");
                    }
                    self.lost(connection, &channel);
                }
            }
        }
        self.drain();
    }

    /// The store has changed.
    pub fn handle_change(&mut self, change: Change) {
        let now = SystemClock.now();
        match change {
            Change::Network(network) => self.changed(network, now),
            Change::NetworkGone(network) => {
                self.known.remove(&network);
                self.machine.handle_network_removed(network, now, &mut self.entropy);
            }
            Change::Account(id) => self.changed_where(|(account, _)| *account == id, now),
            Change::Class(id) => self.changed_where(|(_, class)| *class == id, now),
            Change::Gateway(gateway) => {
                self.maps.changed();
                self.check_gateway(gateway);
            }
            Change::All => {
                self.maps.changed();
                self.changed_where(|_| true, now);
                let gateways: Vec<_> = self.by_gateway.keys().copied().collect();
                gateways.into_iter().for_each(|gateway| self.check_gateway(gateway));
            }
        }
        self.drain();
    }

    /// AAA has put a device out: whether the gateway was told.
    pub fn handle_grant_revoked(&mut self, gateway: GatewayId, device: Mac) -> bool {
        let told = self.machine.handle_grant_revoked(gateway, device);
        self.drain();
        told
    }

    /// A log-in has ended that had let a station in: whether the gateway was told.
    pub fn handle_login_ended(&mut self, gateway: GatewayId, station: Mac) -> bool {
        let told = self.machine.handle_login_ended(gateway, station);
        self.drain();
        told
    }

    /// Whether log-ins at a gateway ask the core through it, where that is known.
    pub fn carries_logins(&self, gateway: GatewayId) -> Option<bool> {
        self.machine.carries_logins(gateway)
    }

    /// A look-up has come to an end.
    pub fn handle_found(&mut self, found: Found) {
        let now = SystemClock.now();
        match found {
            Found::Network(network, Some(known)) => {
                let Known { facts, account, class } = *known;
                self.pending.remove(&network);
                self.machine.handle_network(facts, now, &mut self.entropy);
                // The machine may have lost interest while the store was read.
                if self.machine.has_network(network) {
                    self.known.insert(network, (account, class));
                }
            }
            Found::Network(network, None) => {
                self.pending.remove(&network);
                self.known.remove(&network);
                self.machine.handle_network_removed(network, now, &mut self.entropy);
            }
            Found::Ended(gateway, devices) => {
                for key in devices {
                    self.machine.handle_grant_ended(gateway, key);
                }
            }
            Found::LoginsEnded(gateway, stations) => {
                for station in stations {
                    self.machine.handle_login_ended(gateway, station);
                }
            }
            Found::Bad(connection, refusal) => self.bar(connection, refusal),
            Found::Sites(sites) => {
                for (connection, map) in self.maps.read(sites, SystemClock.unix()) {
                    self.send_map(connection, map);
                }
            }
            Found::Kept(kept) => {
                self.keeping = false;
                self.kept = kept.unwrap_or(self.kept);
            }
        }
        self.drain();
    }

    /// Says goodbye to all: the process stops.
    pub fn handle_shutdown(&mut self) {
        self.machine.handle_shutdown(SystemClock.now());
        self.drain();
        while let Some((connection, _)) = self.channels.first_key_value() {
            let connection = *connection;
            self.dismiss(connection, GoodbyeReason::Unavailable, "the controller stops");
        }
        self.lookups.abort_all();
    }

    /// How many networks are remembered for the sake of what their facts hang on.
    pub fn networks(&self) -> usize {
        self.known.len() + self.pending.len()
    }

    /// What an operator sees.
    pub fn status(&self) -> Status {
        self.machine.status(SystemClock.now())
    }

    fn opened(&mut self, connection: ConnectionId, channel: Channel) {
        let gateway = channel.gateway;
        let siblings = self.by_gateway.entry(gateway).or_default();
        let silent: Vec<ConnectionId> = siblings
            .iter()
            .filter(|id| self.channels.get(id).is_some_and(|c| c.patience.is_some()))
            .copied()
            .collect();
        siblings.insert(connection);
        if let Some(at) = channel.patience {
            self.waiting.insert((at, connection));
        }
        let serial = channel.serial;
        self.channels.insert(connection, channel);
        if let (Some(oldest), true) = (silent.first(), silent.len() >= UNGREETED) {
            self.dismiss(*oldest, GoodbyeReason::Replaced, "the gateway opened other channels");
        }
        // The store may have changed since the gateway was let in; from now on the watch tells.
        self.check(connection, gateway, serial);
    }

    fn message(&mut self, connection: ConnectionId, message: pb::FromGateway) {
        let Some(channel) = self.channels.get_mut(&connection) else { return };
        let (now, id, greeted) =
            (SystemClock.now(), ChannelId(connection.0), channel.patience.is_none());
        match FromGateway::from_pb(message) {
            // Of a kind that this version does not know.
            Ok(None) => {}
            Ok(Some(message)) if greeted => {
                self.machine.handle_message(id, message, now, &mut self.entropy);
            }
            Ok(Some(FromGateway::Hello(hello))) => {
                if let Some(at) = channel.patience.take() {
                    self.waiting.remove(&(at, connection));
                }
                let facts = GatewayFacts {
                    id: channel.gateway,
                    name: channel.name.clone(),
                    observed: channel.peer.ip().to_canonical(),
                    active: true,
                    device_of: channel.device_of,
                };
                self.machine.handle_connected(id, facts, hello, now, &mut self.entropy);
            }
            Ok(Some(_)) => {
                self.dismiss(connection, GoodbyeReason::Protocol, "the first message is Hello");
            }
            Err(error) if greeted => {
                let problem = error.to_string();
                self.machine.handle_garbled(id, &problem, now, &mut self.entropy);
            }
            Err(error) => {
                self.dismiss(connection, GoodbyeReason::Protocol, &error.to_string());
            }
        }
    }

    /// A credential is good no more.
    fn bar(&mut self, connection: ConnectionId, refusal: Refusal) {
        let Some(channel) = self.channels.get(&connection) else { return };
        let (gateway, now) = (channel.gateway, SystemClock.now());
        match refusal {
            Refusal::Suspended => {
                self.machine.handle_gateway_suspended(gateway, now, &mut self.entropy);
            }
            // The gateway itself is as good as before: it has another certificate.
            Refusal::Superseded => {}
            _ => self.machine.handle_gateway_revoked(gateway, now, &mut self.entropy),
        }
        self.drain();
        let reason = match refusal {
            Refusal::Superseded => GoodbyeReason::Replaced,
            _ => GoodbyeReason::Revoked,
        };
        self.dismiss(connection, reason, refusal.repair());
    }

    fn changed(&mut self, network: NetworkId, now: Instant) {
        self.machine.handle_network_changed(network, now);
        self.drain();
        // The machine asks if it has it in memory; what it has forgotten is forgotten here too.
        if !self.pending.contains(&network) {
            self.known.remove(&network);
        }
    }

    fn changed_where(&mut self, hangs: impl Fn(&(AccountId, ClassId)) -> bool, now: Instant) {
        let hanging = self.known.iter().filter(|(_, on)| hangs(on));
        // Of one that is being looked up it is not known on what it hangs, or not surely.
        let networks: BTreeSet<NetworkId> =
            hanging.map(|(network, _)| *network).chain(self.pending.iter().copied()).collect();
        networks.into_iter().for_each(|network| self.changed(network, now));
    }

    fn check_gateway(&mut self, gateway: GatewayId) {
        let connections = self.by_gateway.get(&gateway).cloned().unwrap_or_default();
        for connection in connections {
            if let Some(channel) = self.channels.get(&connection) {
                let serial = channel.serial;
                self.check(connection, gateway, serial);
            }
        }
    }

    /// Looks whether a channel's credential is still good, until the store answers.
    fn check(&mut self, connection: ConnectionId, gateway: GatewayId, serial: Serial) {
        let (store, figures) = (Arc::clone(&self.store), self.figures.clone());
        let found = self.found.clone();
        // Not in the queue of other look-ups: somebody may have to be cut off.
        self.lookups.spawn(async move {
            loop {
                match gate::standing(&*store, gateway, serial).await {
                    Ok(_) => return,
                    Err(Denial::Refused(refusal)) => {
                        let _ = found.send(Found::Bad(connection, refusal));
                        return;
                    }
                    Err(Denial::Failed(error)) => {
                        figures.lookup_failed();
                        tracing::warn!(%error, "a gateway's credential could not be looked up");
                        SystemClock.until(Some(SystemClock.now() + PAUSE)).await;
                    }
                }
            }
        });
    }

    /// Looks a network up. If the store fails, the machine asks again by itself.
    fn look_up(&mut self, network: NetworkId) {
        self.pending.insert(network);
        let (store, figures) = (Arc::clone(&self.store), self.figures.clone());
        let (found, room) = (self.found.clone(), Arc::clone(&self.room));
        self.lookups.spawn(async move {
            // The semaphore is never closed.
            let _permit = room.acquire_owned().await;
            match facts::read(&*store, network).await {
                Ok(known) => drop(found.send(Found::Network(network, known.map(Box::new)))),
                Err(error) => {
                    figures.lookup_failed();
                    tracing::warn!(%error, "a network could not be looked up");
                }
            }
        });
    }

    /// Has AAA look at what a gateway holds, beside the loop: its records may be busy.
    fn review(&mut self, look: impl FnOnce(&dyn Reviewer) -> Found + Send + 'static) {
        let (reviewer, found) = (Arc::clone(&self.reviewer), self.found.clone());
        self.lookups.spawn(async move { drop(found.send(look(&*reviewer))) });
    }

    fn remove(&mut self, connection: ConnectionId) -> Option<Channel> {
        let channel = self.channels.remove(&connection)?;
        if let Some(at) = channel.patience {
            self.waiting.remove(&(at, connection));
        }
        if let Some(siblings) = self.by_gateway.get_mut(&channel.gateway) {
            siblings.remove(&connection);
            if siblings.is_empty() {
                self.by_gateway.remove(&channel.gateway);
            }
        }
        Some(channel)
    }

    /// Tells the machine that a channel has ended.
    fn lost(&mut self, connection: ConnectionId, channel: &Channel) {
        if channel.patience.is_none() {
            let now = SystemClock.now();
            self.machine.handle_lost(ChannelId(connection.0), now, &mut self.entropy);
        }
    }

    /// Ends a channel of the hub's own accord.
    fn dismiss(&mut self, connection: ConnectionId, reason: GoodbyeReason, message: &str) {
        let Some(channel) = self.remove(connection) else { return };
        self.lost(connection, &channel);
        tracing::debug!(gateway = %channel.gateway, %reason, message, "channel ended");
        let goodbye = Goodbye { reason, message: message.to_owned() };
        channel.handle.close(ToGateway::Goodbye(goodbye).to_pb());
    }

    /// Carries out all that the machine wants.
    fn drain(&mut self) {
        loop {
            let mut overrun = BTreeSet::new();
            while let Some((channel, message)) = self.machine.poll_transmit() {
                let connection = ConnectionId(channel.0);
                if let Some(channel) = self.channels.get(&connection)
                    && channel.handle.send(message.to_pb()).is_err()
                {
                    overrun.insert(connection);
                }
            }
            while let Some(action) = self.machine.poll_action() {
                match action {
                    Action::NeedNetwork(network) => self.look_up(network),
                    Action::SendMap { channel, wanted } => {
                        self.want_map(ConnectionId(channel.0), wanted);
                    }
                    Action::ForgetNetwork(network) => {
                        self.known.remove(&network);
                        self.pending.remove(&network);
                    }
                    Action::Review { gateway, devices } => {
                        self.review(move |of| Found::Ended(gateway, of.devices(gateway, devices)));
                    }
                    Action::ReviewLogins { gateway, observed, logins } => self.review(move |of| {
                        Found::LoginsEnded(gateway, of.logins(gateway, observed, logins))
                    }),
                    Action::Disconnect { channel, goodbye } => {
                        // The machine has forgotten it already.
                        if let Some(channel) = self.remove(ConnectionId(channel.0)) {
                            channel.handle.close(ToGateway::Goodbye(goodbye).to_pb());
                        }
                    }
                }
            }
            while let Some(event) = self.machine.poll_event() {
                journal::tell(&event, &self.figures);
            }
            if overrun.is_empty() {
                return;
            }
            for connection in overrun {
                if let Some(channel) = self.remove(connection) {
                    tracing::warn!(gateway = %channel.gateway, "a gateway does not read; cut off");
                    self.lost(connection, &channel);
                }
            }
        }
    }
}
