//! The loop around the proxy machine: sockets to partners, and back to the workers.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use homeward_daemon::{Shutdown, SystemClock, SystemEntropy};
use homeward_model::Clock;
use homeward_proxy::{
    Answer, Asker, Event, Health, Key, Proxy, Reason, Rejection, Routed, ServerId, Settings, Table,
};
use homeward_radius::{Packet, SharedSecret};
use homeward_transport::radsec::client::ClientLimits;
use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::config::Ways;
use super::links::{Links, News};
use crate::desk::{Desk, Done};
use crate::figures::Figures;

/// Requests that may wait for the relay; it takes them as fast as they come.
const QUEUE: usize = 4096;

/// What comes of a request that was handed over.
#[derive(Debug)]
pub(crate) enum Relayed {
    /// The partner's answer.
    Answered(Box<Answer>),
    /// An answer of our own.
    Rejected(Rejection),
    /// None.
    Silent(Reason),
    /// It is a repetition, and was treated as one.
    Repeated,
}

/// Where it comes to: a worker's desk, under a number.
#[derive(Debug)]
struct Back {
    desk: Arc<Desk>,
    number: u64,
}

impl Back {
    fn put(self, relayed: Relayed) {
        self.desk.put(self.number, Done::Relayed(relayed));
    }
}

enum Order {
    Forward { octets: Vec<u8>, client: u64, source: SocketAddr, secret: SharedSecret, back: Back },
    Repeat { octets: Vec<u8>, source: SocketAddr },
}

/// The way to it. Clones are one and the same.
#[derive(Clone)]
pub(crate) struct Relay {
    orders: mpsc::Sender<Order>,
    table: Arc<Table>,
    known: Arc<Mutex<BTreeMap<usize, Known>>>,
}

/// What is known of a server, for `status`.
#[derive(Debug, Clone)]
struct Known {
    health: Health,
    /// How many connections to it are up, where it is reached by TLS.
    connections: Option<usize>,
    /// Why the last one ended, or could not be made.
    why: Option<String>,
}

impl std::fmt::Debug for Relay {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Relay").finish_non_exhaustive()
    }
}

/// Who asks, and where the outcome is to come.
pub(crate) struct Question<'a> {
    pub(crate) packet: &'a Packet<'a>,
    pub(crate) client: u64,
    pub(crate) source: SocketAddr,
    pub(crate) secret: &'a SharedSecret,
    pub(crate) desk: &'a Arc<Desk>,
    pub(crate) number: u64,
}

impl Relay {
    /// Whether somebody else is to answer that request, or nobody: the relay says.
    pub(crate) fn concerns(&self, packet: &Packet<'_>) -> bool {
        !self.table.is_local(packet, false)
    }

    /// Hands a request over; whether there was room.
    pub(crate) fn forward(&self, question: &Question<'_>) -> bool {
        let order = Order::Forward {
            octets: question.packet.as_bytes().to_vec(),
            client: question.client,
            source: question.source,
            secret: question.secret.clone(),
            back: Back { desk: Arc::clone(question.desk), number: question.number },
        };
        self.orders.try_send(order).is_ok()
    }

    /// Says that a NAS repeats a request that is under way.
    pub(crate) fn repeat(&self, source: SocketAddr, octets: &[u8]) {
        // Where there is no room the NAS repeats it again.
        let _ = self.orders.try_send(Order::Repeat { octets: octets.to_vec(), source });
    }

    /// For `status`.
    pub(crate) fn status(&self) -> Value {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let servers = self.table.servers().iter().enumerate();
        let servers = servers.map(|(at, server)| {
            let known = known.get(&at);
            let health = known.map_or(Health::Alive, |known| known.health);
            let mut said = json!({ "server": server.name, "health": health.label() });
            if let Some(connections) = known.and_then(|known| known.connections) {
                said["connections"] = connections.into();
                said["last_error"] = known.and_then(|known| known.why.clone()).into();
            }
            said
        });
        servers.collect()
    }
}

/// The relay's own side.
pub(crate) struct Running {
    proxy: Proxy<Back>,
    orders: mpsc::Receiver<Order>,
    links: Links,
    known: Arc<Mutex<BTreeMap<usize, Known>>>,
    figures: Figures,
    entropy: SystemEntropy,
}

/// Opens the sockets, and begins to connect.
pub(crate) fn start(
    ways: Ways,
    settings: Settings,
    limits: ClientLimits,
    key: Key,
    figures: Figures,
) -> (Relay, Running) {
    let (orders_tx, orders) = mpsc::channel(QUEUE);
    let mut entropy = SystemEntropy::new();
    let links = Links::open(ways.links, limits, &mut entropy);
    let known = Arc::new(Mutex::default());
    let table = Arc::new(ways.table.clone());
    let relay = Relay { orders: orders_tx, table, known: Arc::clone(&known) };
    let running = Running {
        proxy: Proxy::new(settings, key, ways.table),
        orders,
        links,
        known,
        figures,
        entropy,
    };
    running.note_all();
    (relay, running)
}

impl Running {
    /// Relays until shutdown.
    pub(crate) async fn run(mut self, shutdown: Shutdown) {
        loop {
            self.settle();
            let due = self.proxy.poll_timeout();
            tokio::select! {
                () = shutdown.requested() => break,
                Some(order) = self.orders.recv() => self.take(order),
                (server, lane, news) = self.links.news() => self.hear(server, lane, news),
                () = SystemClock.until(due) => {
                    self.proxy.handle_timeout(SystemClock.now(), &mut self.entropy);
                }
            }
        }
    }

    fn hear(&mut self, server: ServerId, lane: u16, news: News) {
        let (now, entropy) = (SystemClock.now(), &mut self.entropy);
        match news {
            News::Heard(octets) => self.proxy.handle_answer(now, server, lane, &octets),
            News::Refused => self.proxy.refused(now, entropy, server, lane),
            News::Up(version) => {
                let Ok(secret) = version.secret() else { return };
                self.proxy.lane_up(now, entropy, server, lane, secret);
                let name = self.name(server);
                tracing::info!(server = name, lane, ?version, "connected to a partner's server");
                self.note(server, None);
            }
            News::Down(why) => {
                self.proxy.lane_down(now, entropy, server, lane);
                let name = self.name(server);
                tracing::info!(server = name, lane, why, "not connected to a partner's server");
                self.note(server, Some(why));
            }
        }
    }

    /// Writes down for `status` what is known of a server.
    fn note(&self, server: ServerId, why: Option<String>) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let before = known.remove(&server.index()).and_then(|known| known.why);
        let health = self.proxy.health(server).unwrap_or(Health::Alive);
        let connections = self.links.connections(server);
        known.insert(server.index(), Known { health, connections, why: why.or(before) });
    }

    fn note_all(&self) {
        (0..self.proxy.table().servers().len()).for_each(|at| self.note(ServerId::at(at), None));
    }

    fn name(&self, server: ServerId) -> String {
        let server = self.proxy.table().servers().get(server.index());
        server.map(|server| server.name.clone()).unwrap_or_default()
    }

    fn take(&mut self, order: Order) {
        let now = SystemClock.now();
        match order {
            Order::Forward { octets, client, source, secret, back } => {
                // It was decoded once.
                let Ok(packet) = Packet::decode(&octets) else {
                    return back.put(Relayed::Silent(Reason::Unroutable));
                };
                let asker = Asker { client, source, secret: &secret };
                match self.proxy.request(now, &mut self.entropy, &asker, &packet, back) {
                    Routed::Forwarded => {}
                    Routed::Rejected(back, rejection) => {
                        self.figures.relayed(rejection.reason.label());
                        back.put(Relayed::Rejected(rejection));
                    }
                    Routed::Silent(back, reason) => {
                        self.figures.relayed(reason.label());
                        back.put(Relayed::Silent(reason));
                    }
                    Routed::Duplicate(back) => back.put(Relayed::Repeated),
                    // The worker has asked the same table.
                    Routed::Local(back) => back.put(Relayed::Silent(Reason::Unroutable)),
                }
            }
            Order::Repeat { octets, source } => {
                if let Ok(packet) = Packet::decode(&octets) {
                    self.proxy.repeat(now, &mut self.entropy, source, &packet);
                }
            }
        }
    }

    fn settle(&mut self) {
        while let Some(transmit) = self.proxy.poll_transmit() {
            self.links.send(transmit.server, transmit.lane, &transmit.payload);
        }
        while let Some(event) = self.proxy.poll_event() {
            self.tell(event);
        }
    }

    fn tell(&mut self, event: Event<Back>) {
        match event {
            Event::Answered { ticket, answer } => {
                self.figures.relayed("answered");
                ticket.put(Relayed::Answered(Box::new(answer)));
            }
            Event::Rejected { ticket, rejection } => {
                self.figures.relayed(rejection.reason.label());
                ticket.put(Relayed::Rejected(rejection));
            }
            Event::Abandoned { ticket, reason } => {
                self.figures.relayed(reason.label());
                ticket.put(Relayed::Silent(reason));
            }
            Event::FailedOver { from, to } => {
                self.figures.relayed("failed-over");
                let (from, to) = (self.name(from), self.name(to));
                tracing::info!(
                    from,
                    to,
                    "a partner's server does not answer; another one is asked"
                );
            }
            Event::Health { server, was, is } => {
                self.note(server, None);
                if is != Health::Alive {
                    self.links.look_up(server);
                }
                let (server, was, is) = (self.name(server), was.label(), is.label());
                tracing::warn!(server, was, is, "a partner's server");
            }
            Event::Stalled { server, lane } => {
                tracing::info!(
                    server = self.name(server),
                    lane,
                    "a connection is silent: it is made anew"
                );
                self.links.renew(server, lane);
            }
            Event::Dropped { server, reason } => {
                self.figures.relayed("answer-dropped");
                let server = self.name(server);
                tracing::debug!(server, %reason, "what a partner sent was dropped");
            }
        }
    }
}
