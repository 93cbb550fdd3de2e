//! RADIUS over TLS (RFC 6614): the server's end here, the client's in [`client`].
//!
//! Both ends show certificates. Whose a certificate is says the [`Doorkeeper`], once a connection;
//! every packet then comes with that number. Where the peer offers it, RADIUS/1.1 is spoken (RFC
//! 9765), so that any number of requests can be outstanding; else RADIUS/1.0.
//!
//! Connections are Tokio's; packets are handled by a [`Service`] on worker threads, as datagrams
//! are. All connections of a peer have the same worker: a conversation may go on by another
//! connection than it began.
//!
//! A packet that is bad does not end a connection; a Length that no packet can have does, for
//! nobody knows where the next packet begins. A peer that asks faster than it is answered, or does
//! not take its answers, is not read from meanwhile.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use async_trait::async_trait;
use homeward_model::{Clock, Secret};
use homeward_radius::SharedSecret;
use homeward_radius::auth::{EmptySecret, RADSEC_SECRET};
use rustls::pki_types::CertificateDer;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::TcpListener;
use tokio::sync::mpsc::UnboundedSender;
use tokio::sync::{OwnedSemaphorePermit, watch};
use tokio::task::AbortHandle;

use crate::BindError;
use crate::server::{Alarm, Asked, Service, Waker, WorkerDied, death};
use door::Door;
use worker::Inbox;

pub use counters::RadsecCounters;
pub use tls::{ClientTls, ServerTls, TlsError, Trust};

pub mod client;

mod connection;
mod counters;
mod door;
mod tls;
mod wire;
mod worker;

/// Connections that wait to be accepted.
const BACKLOG: i32 = 1024;

/// What is spoken on a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    /// RADIUS as in datagrams, with the secret "radsec" (RFC 6614 2.3).
    V1_0,
    /// RADIUS/1.1 (RFC 9765).
    V1_1,
}

impl Version {
    /// What protects its packets.
    ///
    /// # Errors
    ///
    /// None that occurs: the secret is no empty one.
    pub fn secret(self) -> Result<SharedSecret, EmptySecret> {
        match self {
            Self::V1_0 => SharedSecret::new(&Secret::new(RADSEC_SECRET)),
            Self::V1_1 => Ok(SharedSecret::transport()),
        }
    }
}

/// Bounds of a server, against peers that are broken or hostile.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Connections of peers. 4,096 unless set.
    pub connections: usize,
    /// Connections of one peer. 16 unless set.
    pub connections_a_peer: usize,
    /// Connections whose peer has not shown who it is yet. 256 unless set.
    pub handshakes: usize,
    /// Requests of one connection that wait for their answer. 1,024 unless set.
    pub outstanding: usize,
    /// Requests of all connections that no worker has looked at yet. 16,384 unless set.
    pub queue: usize,
    /// How long a peer may take to show who it is. 10 s unless set.
    pub handshake: Duration,
    /// How long a connection may be silent. 1 h unless set; the kernel notices a peer that is gone
    /// long before.
    pub idle: Duration,
    /// How long a peer may take no answer that is sent to it. 10 s unless set.
    pub stall: Duration,
    /// How often it is asked again whether a peer is still to be let in. 1 min unless set.
    pub recheck: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 4096,
            connections_a_peer: 16,
            handshakes: 256,
            outstanding: 1024,
            queue: 16_384,
            handshake: Duration::from_secs(10),
            idle: Duration::from_secs(3600),
            stall: Duration::from_secs(10),
            recheck: Duration::from_secs(60),
        }
    }
}

/// Says who a peer is.
#[async_trait]
pub trait Doorkeeper: Send + Sync + 'static {
    /// The number of the peer with that certificate, which an authority that is trusted has
    /// signed; `None` if it is nobody's that is let in. Asked again every [`Limits::recheck`]: a
    /// connection whose certificate is no longer that peer's ends.
    async fn admit(&self, certificate: &CertificateDer<'_>, source: SocketAddr) -> Option<u64>;
}

#[async_trait]
impl<F> Doorkeeper for F
where
    F: Fn(&CertificateDer<'_>, SocketAddr) -> Option<u64> + Send + Sync + 'static,
{
    async fn admit(&self, certificate: &CertificateDer<'_>, source: SocketAddr) -> Option<u64> {
        self(certificate, source)
    }
}

/// A connection of a peer.
#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) peer: u64,
    pub(crate) version: Version,
    source: SocketAddr,
    local: IpAddr,
    answers: UnboundedSender<(Vec<u8>, Asked)>,
}

/// A request that waits for its answer, until the last of these is dropped.
#[derive(Debug)]
pub(crate) struct Ask {
    pub(crate) connection: Arc<Connection>,
    _place: OwnedSemaphorePermit,
}

/// A server that has its socket, and does not serve yet.
#[derive(Debug)]
pub struct RadsecServer {
    listener: TcpListener,
    address: SocketAddr,
}

impl RadsecServer {
    /// Opens the socket; inside a Tokio runtime. The port that was assigned to RADIUS over TLS is
    /// 2083.
    ///
    /// # Errors
    ///
    /// [`BindError`], naming the address and the repair.
    pub fn bind(address: SocketAddr) -> Result<Self, BindError> {
        let failed = |source| BindError { protocol: "TCP", address, source };
        let listener = listen(address).map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        tracing::info!(%address, "listening for RADIUS over TLS");
        Ok(Self { listener, address })
    }

    /// The address, with the port that was given for port 0.
    pub fn local_address(&self) -> SocketAddr {
        self.address
    }

    /// Starts to serve, with a worker for each of `services`, of which there is at least one.
    ///
    /// # Errors
    ///
    /// If the system gives no thread.
    pub fn start<S: Service + Send + 'static>(
        self,
        limits: Limits,
        tls: ServerTls,
        doorkeeper: impl Doorkeeper,
        clock: impl Clock + Clone + 'static,
        services: Vec<S>,
    ) -> io::Result<RunningRadsec> {
        let counters = Arc::new(counters::Tally::default());
        let mut running = RunningRadsec {
            address: self.address,
            stop: Arc::new(AtomicBool::new(false)),
            died: watch::Sender::new(None),
            counters: Arc::clone(&counters),
            threads: Mutex::default(),
            accepting: None,
        };
        let mut inboxes = Vec::new();
        for (number, service) in services.into_iter().enumerate() {
            let inbox = Arc::new(Inbox::new(Waker::new()?));
            inboxes.push(Arc::clone(&inbox));
            let (stop, clock) = (Arc::clone(&running.stop), clock.clone());
            let alarm =
                Alarm { worker: number, stop: Arc::clone(&stop), died: running.died.clone() };
            let tally = Arc::clone(&counters);
            let thread =
                std::thread::Builder::new().name(format!("radsec-{number}")).spawn(move || {
                    let _alarm = alarm;
                    worker::run(&inbox, &tally, &stop, &clock, service);
                })?;
            running.threads.get_mut().unwrap_or_else(|e| e.into_inner()).push(thread);
        }
        let door = Door::new(limits, tls, Box::new(doorkeeper), inboxes, counters, Arc::new(clock));
        running.accepting = Some(tokio::spawn(door.serve(self.listener)).abort_handle());
        Ok(running)
    }
}

/// A server that serves. Dropping it closes its connections and stops its workers.
#[derive(Debug)]
pub struct RunningRadsec {
    address: SocketAddr,
    stop: Arc<AtomicBool>,
    died: watch::Sender<Option<WorkerDied>>,
    counters: Arc<counters::Tally>,
    threads: Mutex<Vec<JoinHandle<()>>>,
    accepting: Option<AbortHandle>,
}

impl RunningRadsec {
    /// The address, with the port that was given for port 0.
    pub fn local_address(&self) -> SocketAddr {
        self.address
    }

    /// What the server saw.
    pub fn counters(&self) -> RadsecCounters {
        self.counters.read()
    }

    /// Waits until a worker dies. For the role's `select!`: cancelling it loses nothing.
    pub async fn died(&self) -> WorkerDied {
        death(&self.died).await
    }
}

impl Drop for RunningRadsec {
    fn drop(&mut self) {
        if let Some(accepting) = &self.accepting {
            // Its connections go with it.
            accepting.abort();
        }
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.get_mut().unwrap_or_else(|e| e.into_inner()).drain(..) {
            // A panic has rung the alarm already.
            let _ = thread.join();
        }
    }
}

/// A socket that listens. One of IPv6's wildcard leaves IPv4 to others, as the datagram servers'.
fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    // After a restart, connections that were before linger.
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

/// Has the kernel find out whether a silent peer is still there.
fn keep_alive(stream: &tokio::net::TcpStream) -> io::Result<()> {
    let every = Duration::from_secs(30);
    let keepalive = socket2::TcpKeepalive::new().with_time(every).with_interval(every);
    socket2::SockRef::from(stream).set_tcp_keepalive(&keepalive)?;
    stream.set_nodelay(true)
}
