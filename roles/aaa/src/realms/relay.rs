//! The loop around the proxy machine: sockets to partners, and back to the workers.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Context as _;
use homeward_daemon::{Exit, ExitContext, Shutdown, SystemClock, SystemEntropy};
use homeward_model::Clock;
use homeward_proxy::{
    Answer, Asker, Event, Health, Key, Proxy, Reason, Rejection, Routed, ServerId, Settings, Table,
    Transport,
};
use homeward_radius::{Packet, SharedSecret};
use homeward_transport::MAX_DATAGRAM;
use serde_json::{Value, json};
use tokio::net::UdpSocket;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::config::Ways;
use crate::desk::{Desk, Done};
use crate::figures::Figures;

/// Requests that may wait for the relay; it takes them as fast as they come.
const QUEUE: usize = 4096;

/// Datagrams of partners that may wait for it.
const ANSWERS: usize = 4096;

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
    health: Arc<Mutex<BTreeMap<usize, Health>>>,
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
        let health = self.health.lock().unwrap_or_else(PoisonError::into_inner);
        let servers = self.table.servers().iter().enumerate();
        let servers = servers.map(|(at, server)| {
            let health = health.get(&at).copied().unwrap_or(Health::Alive);
            json!({ "server": server.name, "health": health.label() })
        });
        servers.collect()
    }
}

/// The relay's own side.
pub(crate) struct Running {
    proxy: Proxy<Back>,
    orders: mpsc::Receiver<Order>,
    answers: mpsc::Receiver<(ServerId, u16, Heard)>,
    lanes: BTreeMap<(ServerId, u16), Arc<UdpSocket>>,
    readers: JoinSet<()>,
    health: Arc<Mutex<BTreeMap<usize, Health>>>,
    figures: Figures,
    entropy: SystemEntropy,
}

/// Opens the sockets.
///
/// # Errors
///
/// If the system has none.
pub(crate) async fn start(
    ways: Ways,
    settings: Settings,
    key: Key,
    figures: Figures,
) -> anyhow::Result<(Relay, Running)> {
    let (orders_tx, orders) = mpsc::channel(QUEUE);
    let (answers_tx, answers) = mpsc::channel(ANSWERS);
    let (mut lanes, mut readers) = (BTreeMap::new(), JoinSet::new());
    for (at, (server, address)) in ways.table.servers().iter().zip(&ways.addresses).enumerate() {
        let Transport::Datagram { sockets } = server.transport else { continue };
        for lane in 0..sockets {
            let any: SocketAddr = match address {
                SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
                SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
            };
            let open = async {
                let socket = UdpSocket::bind(any).await?;
                socket.connect(address).await?;
                std::io::Result::Ok(socket)
            };
            let opened = open.await.with_context(|| format!("no socket to partner {address}"));
            let socket = Arc::new(opened.exit(Exit::Unavailable)?);
            let place = (ServerId::at(at), lane);
            readers.spawn(read(Arc::clone(&socket), place, answers_tx.clone()));
            lanes.insert(place, socket);
        }
    }
    let health = Arc::new(Mutex::default());
    let table = Arc::new(ways.table.clone());
    let relay = Relay { orders: orders_tx, table, health: Arc::clone(&health) };
    let running = Running {
        proxy: Proxy::new(settings, key, ways.table),
        orders,
        answers,
        lanes,
        readers,
        health,
        figures,
        entropy: SystemEntropy::new(),
    };
    Ok((relay, running))
}

/// What comes to a socket: octets, or that the host refuses them; then another server is asked at
/// once.
type Heard = Result<Vec<u8>, Refused>;

struct Refused;

/// Hands over what comes to a socket, for as long as anybody takes it.
async fn read(
    socket: Arc<UdpSocket>,
    (server, lane): (ServerId, u16),
    answers: mpsc::Sender<(ServerId, u16, Heard)>,
) {
    let mut room = [0; MAX_DATAGRAM];
    loop {
        let heard = match socket.recv(&mut room).await {
            Ok(len) => Ok(room.get(..len).unwrap_or_default().to_vec()),
            Err(error) if error.kind() == ErrorKind::ConnectionRefused => Err(Refused),
            // Another ICMP error of an earlier datagram: the machine sees that nothing comes.
            Err(error) => {
                tracing::debug!(%error, "a partner's host is not reached");
                continue;
            }
        };
        if answers.send((server, lane, heard)).await.is_err() {
            return;
        }
    }
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
                Some((server, lane, heard)) = self.answers.recv() => {
                    let now = SystemClock.now();
                    match heard {
                        Ok(octets) => self.proxy.handle_answer(now, server, lane, &octets),
                        Err(Refused) => {
                            self.proxy.refused(now, &mut self.entropy, server, lane);
                        }
                    }
                }
                () = SystemClock.until(due) => {
                    self.proxy.handle_timeout(SystemClock.now(), &mut self.entropy);
                }
            }
        }
        self.readers.shutdown().await;
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
            let (server, lane) = (transmit.server, transmit.lane);
            let Some(socket) = self.lanes.get(&(server, lane)) else { continue };
            match socket.try_send(&transmit.payload) {
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::ConnectionRefused => {
                    self.proxy.refused(SystemClock.now(), &mut self.entropy, server, lane);
                }
                // A full queue is as good as a lost datagram.
                Err(error) => tracing::debug!(%error, "a request to a partner was not sent"),
            }
        }
        while let Some(event) = self.proxy.poll_event() {
            self.tell(event);
        }
    }

    fn tell(&mut self, event: Event<Back>) {
        let name = |proxy: &Proxy<Back>, server: ServerId| {
            proxy.table().servers().get(server.index()).map(|server| server.name.clone())
        };
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
                let (from, to) = (name(&self.proxy, from), name(&self.proxy, to));
                tracing::info!(
                    from,
                    to,
                    "a partner's server does not answer; another one is asked"
                );
            }
            Event::Health { server, was, is } => {
                let mut health = self.health.lock().unwrap_or_else(PoisonError::into_inner);
                health.insert(server.index(), is);
                let (server, was, is) = (name(&self.proxy, server), was.label(), is.label());
                tracing::warn!(server, was, is, "a partner's server");
            }
            Event::Stalled { server, lane } => {
                tracing::debug!(server = server.index(), lane, "a connection is silent");
            }
            Event::Dropped { server, reason } => {
                self.figures.relayed("answer-dropped");
                let server = name(&self.proxy, server);
                tracing::debug!(server, %reason, "what a partner sent was dropped");
            }
        }
    }
}
