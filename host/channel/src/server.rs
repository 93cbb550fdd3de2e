//! The core's end: one port, to which gateways come.
//!
//! Enrol is answered without a client certificate only, Renew and Channel with a good one only.
//! Each connection's certificate is checked against the authority in the handshake, and with the
//! [`Gatekeeper`] once it is through. What the role hears is [`Event`]s, in the order in which
//! each gateway caused them; what it says goes through each channel's [`Handle`], which never
//! waits: a gateway that does not read is cut off.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use homeward_control::pb;
use homeward_daemon::SystemClock;
use homeward_model::{Clock, GatewayId, Mac, Name, NetworkId, UnixTime};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

use crate::authority::Authority;
use crate::certificate::{Presented, Serial};
use crate::error::{Error, Refusal};
use crate::io::Noted;
use crate::proto::control_server::ControlServer;
use crate::settings::ServerSettings;
use crate::token::TokenHash;

pub use handle::{Closed, Handle, Overrun};

mod calls;
mod certificates;
mod handle;

/// Whom the core lets in: the datastore's side of it.
#[async_trait]
pub trait Gatekeeper: Send + Sync + 'static {
    /// Whether that certificate, signed by our authority and not expired, opens a channel now.
    async fn admit(&self, presented: &Presented) -> Result<Subject, Denial>;

    /// Uses a token up, and notes the certificate that is about to be signed for it.
    async fn redeem(&self, token: TokenHash, issue: &Issue) -> Result<Subject, Denial>;

    /// Notes the certificate that is about to be signed in place of `presented`, which may have
    /// expired.
    async fn renew(&self, presented: &Presented, issue: &Issue) -> Result<Subject, Denial>;
}

/// Who was let in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subject {
    /// The gateway.
    pub gateway: GatewayId,
    /// Its name in the datastore.
    pub name: Name,
    /// The network whose hybrid device it is, and its MAC address there, if it is none for others.
    pub device_of: Option<(NetworkId, Mac)>,
}

/// A certificate about to be signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Issue {
    /// Its serial number.
    pub serial: Serial,
    /// Now.
    pub issued: UnixTime,
    /// When it ends.
    pub not_after: UnixTime,
}

/// Why nobody was let in.
#[derive(Debug)]
pub enum Denial {
    /// The datastore says no.
    Refused(Refusal),
    /// The datastore fails.
    Failed(Box<dyn std::error::Error + Send + Sync>),
}

/// One channel, for as long as the server stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnectionId(pub u64);

/// What gateways do.
#[derive(Debug)]
pub enum Event {
    /// A gateway opened a channel.
    Opened {
        /// The channel.
        connection: ConnectionId,
        /// The gateway, proven by its certificate.
        gateway: GatewayId,
        /// Its name in the datastore.
        name: Name,
        /// As in [`Subject::device_of`].
        device_of: Option<(NetworkId, Mac)>,
        /// The certificate.
        serial: Serial,
        /// Where it comes from.
        peer: SocketAddr,
        /// To answer it.
        handle: Handle,
    },
    /// It says something.
    Message {
        /// The channel.
        connection: ConnectionId,
        /// What.
        message: pb::FromGateway,
    },
    /// The channel has ended. Nothing more comes from it.
    Closed {
        /// The channel.
        connection: ConnectionId,
        /// Why.
        why: Closed,
    },
}

/// What the server counts, since it was bound.
#[derive(Debug, Default)]
pub struct Counters {
    /// Connections that are open.
    pub connections: AtomicU64,
    /// Channels that are open.
    pub channels: AtomicU64,
    /// Connections that were accepted.
    pub accepted: AtomicU64,
    /// Connections that were closed at once, for there were too many.
    pub turned_away: AtomicU64,
    /// TLS handshakes that failed or took too long.
    pub handshakes_failed: AtomicU64,
    /// Calls that were refused.
    pub refused: AtomicU64,
    /// Gateways that were cut off because they did not read.
    pub overrun: AtomicU64,
    /// Certificates signed for tokens.
    pub enrolled: AtomicU64,
    /// Certificates signed in place of others.
    pub renewed: AtomicU64,
    /// Messages from gateways.
    pub messages_in: AtomicU64,
    /// Messages to gateways.
    pub messages_out: AtomicU64,
}

/// What connections share.
struct Shared {
    settings: ServerSettings,
    authority: Arc<Authority>,
    gatekeeper: Arc<dyn Gatekeeper>,
    clock: Arc<dyn Clock>,
    counters: Arc<Counters>,
    events: mpsc::Sender<Event>,
    next: AtomicU64,
}

/// How many events may wait for the role before gateways have to.
const EVENTS: usize = 1024;

/// What a gateway may send before it is read.
const STREAM_WINDOW: u32 = 64 * 1024;

/// The same for the connection. h2 derives from it how many small frames may wait to be read
/// before it takes them for an attack: this allows some 2,000.
const CONNECTION_WINDOW: u32 = 1 << 20;

/// How many calls a connection may make at a time: the channel, and a renewal.
const STREAMS: u32 = 4;

/// What waits to be sent on a connection, beyond the queue of messages.
const SEND_BUFFER: usize = 64 * 1024;

/// The pause after `accept` failed: mostly, there are too many open files.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// A bound server. Dropping it cuts all channels.
pub struct Server {
    local: Vec<SocketAddr>,
    events: mpsc::Receiver<Event>,
    counters: Arc<Counters>,
    stop: watch::Sender<bool>,
    room: Arc<Semaphore>,
    connections: usize,
    tasks: JoinSet<()>,
}

impl Server {
    /// Binds the addresses and begins to answer.
    ///
    /// # Errors
    ///
    /// [`BindError`], naming the address.
    pub async fn bind(
        listen: &[SocketAddr],
        settings: ServerSettings,
        authority: Arc<Authority>,
        gatekeeper: Arc<dyn Gatekeeper>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, BindError> {
        let certificates = certificates::Certificates::new(
            Arc::clone(&authority),
            settings.core_lifetime,
            Arc::clone(&clock),
        )?;
        let certificates = Arc::new(certificates);
        let tls = certificates
            .config(settings.renewal_grace)
            .map_err(|e| Error::Make { what: "TLS configuration", reason: e.to_string() })?;
        let (events_tx, events) = mpsc::channel(EVENTS);
        let counters = Arc::new(Counters::default());
        let connections = settings.connections;
        let room = Arc::new(Semaphore::new(connections));
        let shared = Arc::new(Shared {
            settings,
            authority,
            gatekeeper,
            clock,
            counters: Arc::clone(&counters),
            events: events_tx,
            next: AtomicU64::new(1),
        });
        let acceptor = TlsAcceptor::from(Arc::new(tls));
        let (stop, stopping) = watch::channel(false);
        let (mut tasks, mut local) = (JoinSet::new(), Vec::new());
        for address in listen {
            let bound = TcpListener::bind(address).await;
            let listener =
                bound.map_err(|source| BindError::Listen { address: *address, source })?;
            let at = listener.local_addr();
            local.push(at.map_err(|source| BindError::Listen { address: *address, source })?);
            tasks.spawn(accept(
                listener,
                acceptor.clone(),
                Arc::clone(&shared),
                Arc::clone(&room),
                stopping.clone(),
            ));
        }
        Ok(Self { local, events, counters, stop, room, connections, tasks })
    }

    /// Where it listens: with the port that the system chose where 0 was asked for.
    pub fn local(&self) -> &[SocketAddr] {
        &self.local
    }

    /// What it counts.
    pub fn counters(&self) -> Arc<Counters> {
        Arc::clone(&self.counters)
    }

    /// The next event. Gateways wait while nobody takes any. Cancelling loses nothing.
    pub async fn event(&mut self) -> Event {
        match self.events.recv().await {
            Some(event) => event,
            // The tasks that send live as long as this.
            None => std::future::pending().await,
        }
    }

    /// The next event, if there is one already.
    pub fn try_event(&mut self) -> Option<Event> {
        self.events.try_recv().ok()
    }

    /// Accepts nobody any more, and waits until the connections are gone, which they are soon
    /// after their handles are closed; those that are left after `grace` are cut.
    pub async fn stop(mut self, grace: Duration) {
        self.stop.send_replace(true);
        self.events.close();
        let all = u32::try_from(self.connections).unwrap_or(u32::MAX);
        // Every connection holds a permit.
        let _ = timeout(grace, self.room.acquire_many(all)).await;
        self.tasks.shutdown().await;
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
    /// The core's own certificate cannot be made.
    #[error(transparent)]
    Certificate(#[from] Error),
}

/// Accepts connections until the server stops.
async fn accept(
    listener: TcpListener,
    acceptor: TlsAcceptor,
    shared: Arc<Shared>,
    room: Arc<Semaphore>,
    mut stopping: watch::Receiver<bool>,
) {
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            Some(_) = connections.join_next() => continue,
            _ = stopping.wait_for(|stop| *stop) => break,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                SystemClock.until(Some(SystemClock.now() + ACCEPT_PAUSE)).await;
                continue;
            }
        };
        shared.counters.accepted.fetch_add(1, Ordering::Relaxed);
        let Ok(permit) = Arc::clone(&room).try_acquire_owned() else {
            shared.counters.turned_away.fetch_add(1, Ordering::Relaxed);
            continue;
        };
        let (acceptor, shared) = (acceptor.clone(), Arc::clone(&shared));
        connections.spawn(connection(stream, peer, acceptor, shared, permit));
    }
    drop(listener);
    while connections.join_next().await.is_some() {}
}

/// One connection, from TLS to its end.
async fn connection(
    stream: TcpStream,
    peer: SocketAddr,
    acceptor: TlsAcceptor,
    shared: Arc<Shared>,
    _permit: OwnedSemaphorePermit,
) {
    let _open = Open::new(&shared.counters);
    // Small messages that are waited for.
    let _ = stream.set_nodelay(true);
    let patience = shared.settings.handshake_timeout;
    let stream = match timeout(patience, acceptor.accept(stream)).await {
        Ok(Ok(stream)) => stream,
        outcome => {
            shared.counters.handshakes_failed.fetch_add(1, Ordering::Relaxed);
            let reason = match outcome {
                Ok(Err(error)) => error.to_string(),
                _ => "it took too long".to_owned(),
            };
            tracing::debug!(%peer, reason, "a TLS handshake failed");
            return;
        }
    };
    let certificates = stream.get_ref().1.peer_certificates();
    let presented = certificates.and_then(<[_]>::first).map(|c| Presented::read(c));
    let (stream, faults) = Noted::new(stream);
    let (stage, mut changes) = watch::channel(handle::Stage::Idle);
    let (gone_tx, gone) = watch::channel(false);
    let noted = Arc::clone(&faults);
    let calls = calls::Calls::new(
        Arc::clone(&shared),
        peer,
        presented,
        stage,
        calls::Line { faults, gone },
    );
    let service = ControlServer::new(calls)
        .max_decoding_message_size(shared.settings.max_message)
        .max_encoding_message_size(shared.settings.max_message);
    let service = service_fn(move |request: http::Request<hyper::body::Incoming>| {
        let mut service = service.clone();
        async move { tower_service::Service::call(&mut service, request).await }
    });
    let serving = hyper::server::conn::http2::Builder::new(TokioExecutor::new())
        .timer(TokioTimer::new())
        .keep_alive_interval(shared.settings.keepalive)
        .keep_alive_timeout(shared.settings.keepalive_timeout)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_concurrent_streams(STREAMS)
        .max_send_buf_size(SEND_BUFFER)
        .max_header_list_size(8 * 1024)
        .serve_connection(TokioIo::new(stream), service);
    let over = async {
        // Long enough for one call; a channel may then stay.
        let open = changes.wait_for(|stage| *stage != handle::Stage::Idle);
        match timeout(patience, open).await {
            Ok(Ok(_)) => {}
            _ => return,
        }
        if changes.wait_for(|stage| stage.is_over()).await.is_err() {
            return;
        }
        // What is still to be sent, a goodbye mostly, gets a moment.
        let cut = changes.wait_for(|stage| *stage == handle::Stage::Cut);
        let _ = timeout(shared.settings.close_timeout, cut).await;
    };
    tokio::select! {
        outcome = serving => {
            if let Err(error) = outcome {
                tracing::debug!(%peer, error = crate::dial::chain(&error), "a connection ended");
                crate::dial::note(&noted, &error);
            }
            gone_tx.send_replace(true);
        }
        () = over => {}
    }
}

/// A connection that is counted while it is open.
struct Open(Arc<Counters>);

impl Open {
    fn new(counters: &Arc<Counters>) -> Self {
        counters.connections.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(counters))
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.connections.fetch_sub(1, Ordering::Relaxed);
    }
}
