//! Answers peers and devices.

mod calls;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use homeward_daemon::{Shutdown, SystemClock};
use homeward_keychain::key::HopShare;
use homeward_keychain::{Demand, DeviceKey, Fetch, Fetched, Proof, Record};
use homeward_model::{Clock, Nai, Name};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tonic::body::Body;

pub use calls::Caller;

use crate::directory::Book;
use crate::error::Refused;
use crate::identity::Identity;
use crate::line::MAX_MESSAGE;
use crate::pb::devices_server::DevicesServer;
use crate::pb::peers_server::PeersServer;
use crate::tls;

/// What a role does about what it is asked.
#[async_trait]
pub trait Answers: Send + Sync + 'static {
    /// `from` presents a ticket.
    ///
    /// # Errors
    /// It is not entitled to what it asks for.
    async fn fetch(&self, from: &Name, fetch: Fetch) -> Result<Fetched, Refused>;

    /// `from` has integrated a hop.
    ///
    /// # Errors
    /// It is not believed, or that is not asked here.
    async fn extend(&self, from: &Name, record: Record, share: HopShare) -> Result<(), Refused>;

    /// `from` asks whether this network has the key of its hop.
    ///
    /// # Errors
    /// It has none, or that is not asked here.
    async fn prove(&self, from: &Name, demand: Demand) -> Result<Proof, Refused>;

    /// `from`, which may, enrols a device, or gives it another key. It is durable when this returns.
    ///
    /// # Errors
    /// What is there is newer, it cannot be kept, or that is not asked here: only modules have
    /// devices.
    async fn enrol(
        &self,
        from: &Name,
        device: Nai,
        version: u32,
        key: DeviceKey,
    ) -> Result<(), Refused> {
        let _ = (from, device, version, key);
        Err(Refused::NotHere)
    }

    /// A device calls. The line is over when this returns.
    async fn device(&self, caller: Caller);
}

/// Where it listens.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Listen {
    /// For peers, over mutual TLS.
    pub peers: Vec<SocketAddr>,
    /// For devices.
    pub devices: Vec<SocketAddr>,
}

/// Limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ServerSettings {
    /// The most connections at a time; more are closed at once.
    pub connections: usize,
    /// How long TLS may take.
    pub handshake: Duration,
    /// How long a device's connection may last in all.
    pub device: Duration,
    /// After how much silence a peer is asked whether it is there (HTTP/2 PING), and how long it
    /// has to answer that.
    pub keepalive: Duration,
    /// The largest message of a peer, in octets.
    pub max_message: usize,
}

impl Default for ServerSettings {
    fn default() -> Self {
        Self {
            connections: 4096,
            handshake: Duration::from_secs(5),
            device: Duration::from_secs(30),
            keepalive: Duration::from_secs(20),
            max_message: 128 * 1024,
        }
    }
}

/// Why a server does not begin.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// An address is not to be had.
    #[error(
        "cannot listen on {address} (TCP): stop what listens there (`ss -tlpn`), or configure another address"
    )]
    Listen {
        /// Which.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// TLS cannot be set up.
    #[error("TLS cannot be set up with this key: {0}")]
    Tls(String),
}

/// The pause after `accept` failed: mostly, there are too many open files.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// How many calls a peer may make at a time.
const CALLS: u32 = 256;

/// How many lines a device may have on one connection: it needs one.
const LINES: u32 = 2;

/// A bound server.
pub struct Server {
    peers: Vec<TcpListener>,
    devices: Vec<TcpListener>,
    local: Listen,
    shared: Arc<Shared>,
}

struct Shared {
    acceptor: TlsAcceptor,
    book: Book,
    settings: ServerSettings,
    answers: Arc<dyn Answers>,
    room: Arc<Semaphore>,
}

impl Server {
    /// Binds the addresses.
    ///
    /// # Errors
    /// [`BindError`].
    pub async fn bind(
        listen: &Listen,
        settings: ServerSettings,
        identity: &Identity,
        book: Book,
        answers: Arc<dyn Answers>,
    ) -> Result<Self, BindError> {
        let tls = tls::server(identity, &book).map_err(|e| BindError::Tls(e.to_string()))?;
        let (peers, at_peers) = bind(&listen.peers).await?;
        let (devices, at_devices) = bind(&listen.devices).await?;
        let acceptor = TlsAcceptor::from(Arc::new(tls));
        let room = Arc::new(Semaphore::new(settings.connections));
        let shared = Arc::new(Shared { acceptor, book, settings, answers, room });
        let local = Listen { peers: at_peers, devices: at_devices };
        Ok(Self { peers, devices, local, shared })
    }

    /// Where it listens: with the port that the system chose where 0 was asked for.
    pub fn local(&self) -> &Listen {
        &self.local
    }

    /// Answers until a stop is requested.
    pub async fn serve(self, shutdown: Shutdown) {
        let mut accepting = JoinSet::new();
        let kinds = [(self.peers, Kind::Peer), (self.devices, Kind::Device)];
        for (listeners, kind) in kinds {
            for listener in listeners {
                accepting.spawn(accept(listener, kind, Arc::clone(&self.shared)));
            }
        }
        shutdown.requested().await;
        accepting.shutdown().await;
    }
}

async fn bind(at: &[SocketAddr]) -> Result<(Vec<TcpListener>, Vec<SocketAddr>), BindError> {
    let (mut listeners, mut local) = (Vec::new(), Vec::new());
    for address in at {
        let failed = |source| BindError::Listen { address: *address, source };
        let listener = TcpListener::bind(address).await.map_err(failed)?;
        local.push(listener.local_addr().map_err(failed)?);
        listeners.push(listener);
    }
    Ok((listeners, local))
}

/// Who comes to a listener.
#[derive(Debug, Clone, Copy)]
enum Kind {
    Peer,
    Device,
}

async fn accept(listener: TcpListener, kind: Kind, shared: Arc<Shared>) {
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            Some(_) = connections.join_next() => continue,
        };
        let (stream, from) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                SystemClock.until(Some(SystemClock.now() + ACCEPT_PAUSE)).await;
                continue;
            }
        };
        let Ok(permit) = Arc::clone(&shared.room).try_acquire_owned() else {
            tracing::warn!(%from, "turned away: there are as many connections as there may be");
            continue;
        };
        // It only costs time.
        let _ = stream.set_nodelay(true);
        let shared = Arc::clone(&shared);
        connections.spawn(async move {
            match kind {
                Kind::Peer => peer(stream, from, &shared).await,
                Kind::Device => device(stream, from, &shared).await,
            }
            drop(permit);
        });
    }
}

async fn peer(stream: TcpStream, from: SocketAddr, shared: &Shared) {
    let patience = shared.settings.handshake;
    let stream = match timeout(patience, shared.acceptor.accept(stream)).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => {
            tracing::warn!(%from, %error, "a peer was not let in");
            return;
        }
        Err(_) => {
            tracing::debug!(%from, "a TLS handshake took too long");
            return;
        }
    };
    let certificates = stream.get_ref().1.peer_certificates();
    let Some(key) = certificates.and_then(<[_]>::first).and_then(tls::shown) else { return };
    let calls = calls::PeerCalls::new(key, shared.book.clone(), Arc::clone(&shared.answers));
    let most = shared.settings.max_message;
    let service =
        PeersServer::new(calls).max_decoding_message_size(most).max_encoding_message_size(most);
    serve(stream, from, (shared.settings.keepalive, CALLS), service).await;
}

async fn device(stream: TcpStream, from: SocketAddr, shared: &Shared) {
    let calls = calls::DeviceCalls::new(from, Arc::clone(&shared.answers));
    let service = DevicesServer::new(calls)
        .max_decoding_message_size(MAX_MESSAGE)
        .max_encoding_message_size(MAX_MESSAGE);
    let serving = serve(stream, from, (shared.settings.keepalive, LINES), service);
    if timeout(shared.settings.device, serving).await.is_err() {
        tracing::debug!(%from, "a device's connection lasted too long");
    }
}

async fn serve<IO, S>(
    stream: IO,
    from: SocketAddr,
    (keepalive, at_a_time): (Duration, u32),
    service: S,
) where
    IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    S: tower_service::Service<
            http::Request<Incoming>,
            Response = http::Response<Body>,
            Error = std::convert::Infallible,
        > + Clone
        + Send
        + 'static,
    S::Future: Send,
{
    let service = service_fn(move |request: http::Request<Incoming>| {
        let mut service = service.clone();
        async move { service.call(request).await }
    });
    let serving = hyper::server::conn::http2::Builder::new(TokioExecutor::new())
        .timer(TokioTimer::new())
        .keep_alive_interval(keepalive)
        .keep_alive_timeout(keepalive)
        .max_concurrent_streams(at_a_time)
        .max_header_list_size(8 * 1024)
        .serve_connection(TokioIo::new(stream), service);
    if let Err(error) = serving.await {
        tracing::debug!(%from, %error, "a connection ended");
    }
}
