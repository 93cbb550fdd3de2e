//! RADIUS over TLS, the client's end: connections to a few named servers, which are kept up.
//!
//! A connection is named by its server and a number, and opened anew, ever more slowly, when it
//! could not be opened or has ended. Who uses it hears of both, and which version was agreed on.
//! Nothing is sent again by itself: what was under way on a connection that ended is the user's to
//! ask elsewhere.

mod lane;

use std::collections::BTreeMap;
use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use homeward_model::Entropy;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::{ClientTls, Version};
use crate::Endpoint;

/// Events that wait for [`RadsecClient::event`]; beyond that, connections are not read.
const EVENTS: usize = 1024;

/// Says what is shown, and whom to believe: asked each time a connection is made, for a
/// certificate may have been renewed.
pub trait Credentials: Send + Sync + 'static {
    /// What is shown now, and who is believed.
    ///
    /// # Errors
    ///
    /// Why there is nothing to show; it is asked again.
    fn now(&self) -> Result<ClientTls, Box<dyn StdError + Send + Sync>>;
}

impl<F> Credentials for F
where
    F: Fn() -> Result<ClientTls, Box<dyn StdError + Send + Sync>> + Send + Sync + 'static,
{
    fn now(&self) -> Result<ClientTls, Box<dyn StdError + Send + Sync>> {
        self()
    }
}

/// A server.
#[derive(Clone)]
pub struct Server {
    /// Where it is.
    pub endpoint: Endpoint,
    /// How many connections are kept to it.
    pub connections: u16,
    /// What is shown to it.
    pub credentials: Arc<dyn Credentials>,
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server")
            .field("endpoint", &self.endpoint)
            .field("connections", &self.connections)
            .finish_non_exhaustive()
    }
}

/// Times and bounds of a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClientLimits {
    /// How long it may take to find out who is at an address; to reach it, a quarter of that. 10 s
    /// unless set.
    pub handshake: Duration,
    /// How long a server may take nothing of what is sent to it. 10 s unless set.
    pub stall: Duration,
    /// How soon a connection is tried again, the first time; each time twice as late. 500 ms
    /// unless set.
    pub retry: Duration,
    /// How late at most. 30 s unless set.
    pub retry_most: Duration,
    /// Packets that wait to be sent on a connection; more are lost. 4,096 unless set.
    pub queue: usize,
}

impl Default for ClientLimits {
    fn default() -> Self {
        Self {
            handshake: Duration::from_secs(10),
            stall: Duration::from_secs(10),
            retry: Duration::from_millis(500),
            retry_most: Duration::from_secs(30),
            queue: 4096,
        }
    }
}

/// What happened.
#[derive(Debug)]
pub enum Event {
    /// A connection is up.
    Up {
        /// The server's number.
        server: usize,
        /// The connection's number.
        lane: u16,
        /// What is spoken on it.
        version: Version,
    },
    /// A packet came.
    Packet {
        /// The server's number.
        server: usize,
        /// The connection's number.
        lane: u16,
        /// Its octets; nothing was looked at but its length.
        bytes: Vec<u8>,
    },
    /// A connection that was up has ended, or one could not be made. It is tried again.
    Down {
        /// The server's number.
        server: usize,
        /// The connection's number.
        lane: u16,
        /// Why, for people.
        why: String,
    },
}

/// From the connections to [`RadsecClient::event`].
enum Message {
    Up { version: Version, packets: mpsc::Sender<Vec<u8>> },
    Packet(Vec<u8>),
    Down { why: String },
}

/// What is known of a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// It is being made, for the first time.
    Connecting,
    /// It is up.
    Up(Version),
    /// It is not, and why.
    Down(String),
}

struct Lane {
    state: State,
    packets: Option<mpsc::Sender<Vec<u8>>>,
}

/// Connections to a few named servers, kept up. Dropping it closes them.
pub struct RadsecClient {
    lanes: BTreeMap<(usize, u16), Lane>,
    inbox: mpsc::Receiver<(usize, u16, Message)>,
    _tasks: JoinSet<()>,
}

impl fmt::Debug for RadsecClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RadsecClient").field("connections", &self.lanes.len()).finish()
    }
}

impl RadsecClient {
    /// Begins to connect to servers, each under a number of the caller's.
    ///
    /// # Panics
    ///
    /// Outside a Tokio runtime, if there is a server.
    pub fn new(
        servers: impl IntoIterator<Item = (usize, Server)>,
        limits: ClientLimits,
        entropy: &mut impl Entropy,
    ) -> Self {
        let (outbox, inbox) = mpsc::channel(EVENTS);
        let (mut lanes, mut tasks) = (BTreeMap::new(), JoinSet::new());
        for (number, server) in servers {
            for lane in 0..server.connections.max(1) {
                // That all who lost a server do not come back in step.
                let spread = u16::from_be_bytes(entropy.octets());
                let link = lane::Link {
                    server: server.clone(),
                    limits,
                    spread: 0.75 + 0.5 * f64::from(spread) / f64::from(u16::MAX),
                    place: (number, lane),
                    outbox: outbox.clone(),
                };
                tasks.spawn(link.keep_up());
                lanes.insert((number, lane), Lane { state: State::Connecting, packets: None });
            }
        }
        Self { lanes, inbox, _tasks: tasks }
    }

    /// Sends a packet. Whether it is on its way: not where the connection is not up, or takes
    /// nothing.
    pub fn send(&self, server: usize, lane: u16, packet: &[u8]) -> bool {
        let lane = self.lanes.get(&(server, lane)).and_then(|lane| lane.packets.as_ref());
        lane.is_some_and(|packets| packets.try_send(packet.to_vec()).is_ok())
    }

    /// Closes a connection, and has another one made.
    pub fn renew(&mut self, server: usize, lane: u16) {
        if let Some(lane) = self.lanes.get_mut(&(server, lane)) {
            // The connection sees that nobody sends any more.
            lane.packets = None;
        }
    }

    /// What is known of a server's connections, in order.
    pub fn states(&self, server: usize) -> impl Iterator<Item = &State> {
        self.lanes.range((server, 0)..=(server, u16::MAX)).map(|(_, lane)| &lane.state)
    }

    /// Waits for the next event. Cancelling it loses nothing.
    pub async fn event(&mut self) -> Event {
        loop {
            let Some((server, number, message)) = self.inbox.recv().await else {
                // There are no connections.
                return std::future::pending().await;
            };
            let Some(lane) = self.lanes.get_mut(&(server, number)) else { continue };
            return match message {
                Message::Up { version, packets } => {
                    (lane.state, lane.packets) = (State::Up(version), Some(packets));
                    Event::Up { server, lane: number, version }
                }
                Message::Packet(bytes) => Event::Packet { server, lane: number, bytes },
                Message::Down { why } => {
                    (lane.state, lane.packets) = (State::Down(why.clone()), None);
                    Event::Down { server, lane: number, why }
                }
            };
        }
    }
}
