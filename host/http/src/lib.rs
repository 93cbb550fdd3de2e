//! The listener: TLS, PROXY protocol, HTTP/1.1, and limits that slow clients run into.
//!
//! Every connection is at some [`Stage`], each of which may take so long. When there are as many as
//! may be, whoever has kept its connection longest without being answered loses it: slow clients
//! keep nobody out, however many they are. A connection that waits costs a task and TLS's state;
//! room for a request is made when one begins.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use homeward_daemon::{Invalid, Shutdown, SystemClock};
use homeward_model::{Apn, Clock};
use http_body_util::Full;
use hyper::Response;
use hyper::body::Bytes;
use hyper::http::request::Parts;
use ipnet::IpNet;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

pub use door::{Client, Door, Stage};
pub use figures::Figures;
pub use tls::{Certificates, Files, provider};

mod connection;
pub mod door;
mod figures;
pub mod proxy;
#[doc(hidden)]
pub mod testing;
mod tls;

/// How many connections may be, and how long each may take for what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// The most connections at a time.
    pub connections: usize,
    /// The most of one client.
    pub connections_per_client: usize,
    /// For TLS, and before it the PROXY header.
    pub handshake: Duration,
    /// For the head of a request, from its first octet.
    pub head: Duration,
    /// For its body.
    pub body: Duration,
    /// The most octets of it.
    pub body_octets: u64,
    /// For the client to take its answer.
    pub write: Duration,
    /// For a request to begin.
    pub idle: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        let seconds = Duration::from_secs;
        Self {
            connections: 20_000,
            connections_per_client: 16,
            handshake: seconds(10),
            head: seconds(10),
            body: seconds(10),
            body_octets: 16 * 1024,
            write: seconds(10),
            idle: seconds(15),
        }
    }
}

/// The most connections that may be configured.
const MAX_CONNECTIONS: usize = 1 << 20;

impl Limits {
    /// Checks limits that the section of that name sets; `per_client` is what it calls those of one
    /// client.
    ///
    /// # Errors
    /// Names the first key that is wrong.
    pub fn check(&self, section: &str, per_client: &str) -> Result<(), Invalid> {
        let key = |name: &str| format!("{section}.{name}");
        for (name, number) in
            [("connections", self.connections), (per_client, self.connections_per_client)]
        {
            if !(1..=MAX_CONNECTIONS).contains(&number) {
                return Err(Invalid::new(key(name), format!("use 1 to {MAX_CONNECTIONS}")));
            }
        }
        if !(256..=1 << 20).contains(&self.body_octets) {
            return Err(Invalid::new(key("body"), "use 256B to 1MiB"));
        }
        for (name, period) in [
            ("handshake_timeout", self.handshake),
            ("header_timeout", self.head),
            ("body_timeout", self.body),
            ("write_timeout", self.write),
            ("idle_timeout", self.idle),
        ] {
            if period < Duration::from_secs(1) {
                return Err(Invalid::new(key(name), "use at least 1s"));
            }
        }
        Ok(())
    }

    /// For how long a connection may be at that; `None`: the server itself is to be quick.
    fn of(&self, stage: Stage) -> Option<Duration> {
        match stage {
            Stage::Idle => Some(self.idle),
            Stage::Handshake => Some(self.handshake),
            Stage::Head => Some(self.head),
            Stage::Body => Some(self.body),
            Stage::Writing => Some(self.write),
            Stage::Answering => None,
        }
    }
}

/// Whom a request is from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    /// The address: the connection's, or the one that a proxy names.
    pub address: IpAddr,
    /// The access point name by which it came, where that is known.
    pub apn: Option<Apn>,
}

/// What a client is answered.
pub type Answer = Response<Full<Bytes>>;

/// What answers.
#[async_trait]
pub trait Handler: Send + Sync + 'static {
    /// Whether the body of that request is to be read at all; if not, the answer.
    ///
    /// # Errors
    ///
    /// What is answered instead.
    fn admit(&self, peer: &Peer, head: &Parts) -> Result<(), Box<Answer>> {
        let _ = (peer, head);
        Ok(())
    }

    /// The answer to a request. It takes no longer than the handler's own limits allow.
    async fn answer(&self, peer: &Peer, head: Parts, body: Bytes) -> Answer;
}

/// Where a listener listens, and whom it believes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Listen {
    /// The addresses, and the access point name of those that come there.
    pub addresses: Vec<(SocketAddr, Option<Apn>)>,
    /// Proxies, which have to say by PROXY protocol whom a connection is from.
    pub proxies: Vec<IpNet>,
}

/// Why a listener does not begin.
#[derive(Debug, thiserror::Error)]
#[error(
    "cannot listen on {address} (TCP): stop what listens there (`ss -tlpn`), or configure another address"
)]
pub struct BindError {
    /// Which.
    pub address: SocketAddr,
    /// Why.
    pub source: io::Error,
}

/// What connections share.
struct Shared {
    limits: Limits,
    proxies: Vec<IpNet>,
    certificates: Option<Certificates>,
    handler: Arc<dyn Handler>,
    door: std::sync::Mutex<Door<connection::Cut>>,
    figures: Figures,
    shutdown: Shutdown,
}

/// A bound listener.
pub struct Server {
    listeners: Vec<(TcpListener, Option<Apn>)>,
    local: Vec<SocketAddr>,
    shared: Arc<Shared>,
}

/// The pause after `accept` failed: mostly, there are too many open files.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// How long requests that are being answered have when the process stops.
const GRACE: Duration = Duration::from_secs(5);

impl Server {
    /// Binds the addresses. Without certificates, HTTP is spoken in the clear.
    ///
    /// # Errors
    ///
    /// [`BindError`], naming the address.
    pub async fn bind(
        listen: Listen,
        limits: Limits,
        certificates: Option<Certificates>,
        handler: Arc<dyn Handler>,
        figures: Figures,
        shutdown: Shutdown,
    ) -> Result<Self, BindError> {
        let (mut listeners, mut local) = (Vec::new(), Vec::new());
        for (address, apn) in listen.addresses {
            let named = |source| BindError { address, source };
            let listener = TcpListener::bind(address).await.map_err(named)?;
            local.push(listener.local_addr().map_err(named)?);
            listeners.push((listener, apn));
        }
        let door = Door::new(limits.connections, limits.connections_per_client);
        let proxies = listen.proxies;
        let door = std::sync::Mutex::new(door);
        let shared = Shared { limits, proxies, certificates, handler, door, figures, shutdown };
        Ok(Self { listeners, local, shared: Arc::new(shared) })
    }

    /// Where it listens: with the port that the system chose where 0 was asked for.
    pub fn local(&self) -> &[SocketAddr] {
        &self.local
    }

    /// Serves until a stop is requested, and whoever is being answered then has got it.
    pub async fn serve(self) {
        let mut accepting = JoinSet::new();
        for (listener, apn) in self.listeners {
            accepting.spawn(accept(listener, apn, Arc::clone(&self.shared)));
        }
        while accepting.join_next().await.is_some() {}
    }
}

/// Accepts connections until a stop is requested.
async fn accept(listener: TcpListener, apn: Option<Apn>, shared: Arc<Shared>) {
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            () = shared.shutdown.requested() => break,
            accepted = listener.accept() => accepted,
            Some(_) = connections.join_next() => continue,
        };
        match accepted {
            Ok((stream, peer)) => {
                if let Some(serving) = connection::begin(stream, peer, apn.clone(), &shared) {
                    connections.spawn(serving);
                }
            }
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                SystemClock.until(Some(SystemClock.now() + ACCEPT_PAUSE)).await;
            }
        }
    }
    drop(listener);
    let gone = async { while connections.join_next().await.is_some() {} };
    // Those that are left are cut with the set.
    let _ = tokio::time::timeout(GRACE, gone).await;
}

/// Small answers that are waited for.
fn quick(stream: &TcpStream) {
    // It only costs time.
    let _ = stream.set_nodelay(true);
}
