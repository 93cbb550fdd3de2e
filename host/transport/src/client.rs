//! A UDP client: connected sockets to a few named servers.
//!
//! A protocol that tells its requests apart by one octet (RADIUS, RFC 2865 3) and has more than
//! 256 of them under way needs several source ports; so a socket is named by server and number.
//! Sockets are opened when first used. All on one Tokio runtime, a current-thread one included.

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::socket::{MsgFlags, recv, send};
use std::os::fd::AsRawFd;
use tokio::io::Interest;
use tokio::net::UdpSocket;
use tokio::sync::mpsc;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::MissedTickBehavior;

use crate::MAX_DATAGRAM;

/// How often a host name that was found is looked up again, unless told otherwise.
const REFRESH: Duration = Duration::from_secs(300);

/// How soon a host name that was not found is looked up again.
const RETRY: Duration = Duration::from_secs(5);

/// Events that wait for [`UdpClient::event`]; beyond that, sockets leave datagrams in the kernel.
const QUEUE: usize = 256;

/// Where a server is: `192.0.2.1:1812`, `[2001:db8::1]:1812` or `radius.example.net:1812`.
#[derive(Debug, Clone, PartialEq, Eq, serde::Deserialize)]
#[serde(try_from = "String")]
pub struct Endpoint {
    host: Host,
    port: u16,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Host {
    Address(IpAddr),
    Name(String),
}

/// A text that is no [`Endpoint`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is not host and port: write it as \"192.0.2.1:1812\", \"[2001:db8::1]:1812\" or \
     \"radius.example.net:1812\""
)]
pub struct EndpointError(String);

impl Endpoint {
    /// Its name, or its address as text.
    pub fn host(&self) -> String {
        match &self.host {
            Host::Address(ip) => ip.to_string(),
            Host::Name(name) => name.clone(),
        }
    }

    /// One port above: where accounting is by custom (RFC 2866 3).
    #[must_use]
    pub fn beside(&self) -> Self {
        Self { port: self.port.saturating_add(1), host: self.host.clone() }
    }

    pub(crate) const fn port(&self) -> u16 {
        self.port
    }
}

impl FromStr for Endpoint {
    type Err = EndpointError;

    fn from_str(text: &str) -> Result<Self, EndpointError> {
        if let Ok(address) = text.parse::<SocketAddr>() {
            return Ok(address.into());
        }
        let named = text.rsplit_once(':').and_then(|(host, port)| {
            let port = port.parse().ok().filter(|p| *p != 0)?;
            let label = |l: &str| {
                (1..=63).contains(&l.len())
                    && l.bytes().all(|c| c.is_ascii_alphanumeric() || c == b'-' || c == b'_')
            };
            let good = host.len() <= 253 && host.trim_end_matches('.').split('.').all(label);
            // All digits and dots, yet no address: a slip, and no name that anyone has.
            let slip = host.bytes().all(|c| c.is_ascii_digit() || c == b'.');
            (good && !slip).then(|| Self { host: Host::Name(host.to_owned()), port })
        });
        named.ok_or_else(|| EndpointError(text.to_owned()))
    }
}

impl TryFrom<String> for Endpoint {
    type Error = EndpointError;

    fn try_from(text: String) -> Result<Self, EndpointError> {
        text.parse()
    }
}

impl From<SocketAddr> for Endpoint {
    fn from(address: SocketAddr) -> Self {
        Self { host: Host::Address(address.ip()), port: address.port() }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.host {
            Host::Address(ip) => SocketAddr::new(*ip, self.port).fmt(f),
            Host::Name(name) => write!(f, "{name}:{}", self.port),
        }
    }
}

/// What happened.
#[derive(Debug)]
pub enum Event {
    /// A datagram came from a server.
    Datagram {
        /// The server's number, from 0 in the order given.
        server: usize,
        /// The socket's number.
        socket: usize,
        /// The datagram; at most [`MAX_DATAGRAM`] octets.
        bytes: Vec<u8>,
    },
    /// What was sent to a server did not arrive: its machine says that nobody listens, there is no
    /// route, a firewall forbids it, its name is not known yet. Retransmission goes on as if it
    /// had been lost; a client that has another server need not wait that long.
    Unreachable {
        /// The server's number.
        server: usize,
        /// The socket's number.
        socket: usize,
        /// Why.
        error: io::Error,
    },
    /// A server has an address: the first, or another one than before. Answers to requests that
    /// were sent to the one before are lost.
    Moved {
        /// The server's number.
        server: usize,
        /// The address.
        address: SocketAddr,
    },
    /// A server's name was not found. It keeps the address that it had, if it had one, and is
    /// looked up again every 5 s.
    NotFound {
        /// The server's number.
        server: usize,
        /// Why.
        error: io::Error,
    },
}

/// Connected sockets to a few named servers. Dropping it closes them.
#[derive(Debug)]
pub struct UdpClient {
    servers: Vec<Server>,
    inbox: mpsc::Receiver<Message>,
    outbox: mpsc::Sender<Message>,
    lookups: JoinSet<()>,
}

#[derive(Debug)]
struct Server {
    endpoint: Endpoint,
    address: Option<SocketAddr>,
    sockets: Vec<Option<Open>>,
    /// Counts changes of address: what a socket of an earlier one still says is not passed on.
    generation: u64,
    lookup: Option<mpsc::Sender<()>>,
}

#[derive(Debug)]
struct Open {
    socket: Arc<UdpSocket>,
    reader: JoinHandle<()>,
}

impl Drop for Open {
    fn drop(&mut self) {
        self.reader.abort();
    }
}

/// From the tasks to [`UdpClient::event`].
#[derive(Debug)]
enum Message {
    Received { server: usize, generation: u64, socket: usize, bytes: Vec<u8> },
    Unreachable { server: usize, generation: u64, socket: usize, error: io::Error },
    Found { server: usize, addresses: io::Result<Vec<SocketAddr>> },
}

impl UdpClient {
    /// A client of these servers, which are numbered from 0. Names are looked up at once and then
    /// every five minutes.
    ///
    /// # Panics
    ///
    /// Outside a Tokio runtime, if a server has a name.
    pub fn new(servers: impl IntoIterator<Item = Endpoint>) -> Self {
        Self::with_refresh(servers, REFRESH)
    }

    /// Like [`new`](Self::new), with names looked up every `refresh`.
    ///
    /// # Panics
    ///
    /// Outside a Tokio runtime, if a server has a name.
    pub fn with_refresh(servers: impl IntoIterator<Item = Endpoint>, refresh: Duration) -> Self {
        let (outbox, inbox) = mpsc::channel(QUEUE);
        let mut lookups = JoinSet::new();
        let servers = servers.into_iter().enumerate().map(|(number, endpoint)| {
            let (address, lookup) = match &endpoint.host {
                Host::Address(ip) => (Some(SocketAddr::new(*ip, endpoint.port)), None),
                Host::Name(name) => {
                    let (hurry, asked) = mpsc::channel(1);
                    let name = (name.clone(), endpoint.port);
                    lookups.spawn(look_up(number, name, refresh, asked, outbox.clone()));
                    (None, Some(hurry))
                }
            };
            Server { endpoint, address, sockets: Vec::new(), generation: 0, lookup }
        });
        let servers = servers.collect();
        Self { servers, inbox, outbox, lookups }
    }

    /// How many servers there are.
    pub fn servers(&self) -> usize {
        self.servers.len()
    }

    /// Where a server was said to be.
    pub fn endpoint(&self, server: usize) -> Option<&Endpoint> {
        self.servers.get(server).map(|s| &s.endpoint)
    }

    /// The address that a server has at present.
    pub fn address(&self, server: usize) -> Option<SocketAddr> {
        self.servers.get(server)?.address
    }

    /// Looks a server's name up again soon: it does not answer, and may have moved. No more often
    /// than once a second; nothing happens for a server given by address.
    pub fn refresh(&self, server: usize) {
        if let Some(hurry) = self.servers.get(server).and_then(|s| s.lookup.as_ref()) {
            // Full: it was asked for already.
            let _ = hurry.try_send(());
        }
    }

    /// Sends a datagram to a server from the socket with that number (small numbers, please: they
    /// are an index). Never waits; what cannot be sent is an [`Event::Unreachable`].
    ///
    /// # Panics
    ///
    /// Outside a Tokio runtime.
    pub fn send(&mut self, server: usize, socket: usize, bytes: &[u8]) {
        let outbox = self.outbox.clone();
        let Some(target) = self.servers.get_mut(server) else {
            tracing::error!(server, "there is no such server");
            return;
        };
        if let Err(error) = target.send(server, socket, bytes, &outbox) {
            let generation = target.generation;
            tracing::debug!(server, socket, %error, "datagram not sent");
            // With a full queue the caller has events enough, and retransmits anyway.
            let _ = outbox.try_send(Message::Unreachable { server, generation, socket, error });
        }
    }

    /// Waits for the next event. Cancelling it loses nothing.
    pub async fn event(&mut self) -> Event {
        loop {
            let Some(message) = self.inbox.recv().await else {
                // Cannot be: a sender is ours.
                return std::future::pending().await;
            };
            if let Some(event) = self.look_at(message) {
                return event;
            }
        }
    }

    fn look_at(&mut self, message: Message) -> Option<Event> {
        match message {
            Message::Received { server, generation, socket, bytes } => {
                let current = self.servers.get(server)?.generation == generation;
                current.then_some(Event::Datagram { server, socket, bytes })
            }
            Message::Unreachable { server, generation, socket, error } => {
                let current = self.servers.get(server)?.generation == generation;
                current.then_some(Event::Unreachable { server, socket, error })
            }
            Message::Found { server, addresses: Err(error) } => {
                let endpoint = &self.servers.get(server)?.endpoint;
                tracing::warn!(server, %endpoint, %error, "host name not found");
                Some(Event::NotFound { server, error })
            }
            Message::Found { server, addresses: Ok(addresses) } => {
                let target = self.servers.get_mut(server)?;
                // A name with several addresses gives them in any order: stay with the one in use.
                if target.address.is_some_and(|now| addresses.contains(&now)) {
                    return None;
                }
                let address = *addresses.first()?;
                tracing::info!(server, endpoint = %target.endpoint, %address, "server address");
                target.address = Some(address);
                target.generation += 1;
                target.sockets.clear();
                Some(Event::Moved { server, address })
            }
        }
    }
}

impl Drop for UdpClient {
    fn drop(&mut self) {
        self.lookups.abort_all();
    }
}

impl Server {
    fn send(
        &mut self,
        server: usize,
        number: usize,
        bytes: &[u8],
        outbox: &mpsc::Sender<Message>,
    ) -> io::Result<()> {
        let address = self.address.ok_or_else(|| {
            io::Error::new(io::ErrorKind::HostUnreachable, "its name is not looked up yet")
        })?;
        if self.sockets.len() <= number {
            self.sockets.resize_with(number + 1, || None);
        }
        let Some(place) = self.sockets.get_mut(number) else { return Ok(()) };
        let open = match place {
            Some(open) => open,
            None => {
                let socket = Arc::new(connect(address)?);
                let reader =
                    read(Arc::clone(&socket), server, self.generation, number, outbox.clone());
                place.insert(Open { socket, reader: tokio::spawn(reader) })
            }
        };
        match transmit(&open.socket, bytes) {
            // An ICMP error for an *earlier* datagram is told once, by the next call, which then
            // does nothing else. So this datagram has not been tried yet.
            Err(Errno::ECONNREFUSED | Errno::EHOSTUNREACH | Errno::ENETUNREACH) => {
                transmit(&open.socket, bytes).map_err(io::Error::from)
            }
            // A new route may need another source address than the one this socket is bound to.
            Err(errno @ (Errno::EINVAL | Errno::EADDRNOTAVAIL)) => {
                *place = None;
                Err(errno.into())
            }
            other => other.map_err(io::Error::from),
        }
    }
}

/// A socket of its own port, connected, so that the kernel drops what others send and tells of
/// ICMP errors.
fn connect(address: SocketAddr) -> io::Result<UdpSocket> {
    let any: SocketAddr = match address {
        SocketAddr::V4(_) => (std::net::Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (std::net::Ipv6Addr::UNSPECIFIED, 0).into(),
    };
    let socket = std::net::UdpSocket::bind(any)?;
    socket.connect(address)?;
    socket.set_nonblocking(true)?;
    UdpSocket::from_std(socket)
}

/// Past Tokio: it would not send before it has polled a new socket once.
fn transmit(socket: &UdpSocket, bytes: &[u8]) -> Result<(), Errno> {
    loop {
        match send(socket.as_raw_fd(), bytes, MsgFlags::MSG_DONTWAIT) {
            Ok(_) => return Ok(()),
            Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno),
        }
    }
}

/// Reads from a socket until it is dropped.
async fn read(
    socket: Arc<UdpSocket>,
    server: usize,
    generation: u64,
    number: usize,
    outbox: mpsc::Sender<Message>,
) {
    // One octet more, to see that a datagram is longer than allowed.
    let mut buffer = vec![0; MAX_DATAGRAM + 1];
    loop {
        // An ICMP error makes the socket ready with an error and nothing to read, which an
        // ordinary read would not wake for.
        let received = socket
            .async_io(Interest::READABLE | Interest::ERROR, || {
                recv(socket.as_raw_fd(), &mut buffer, MsgFlags::MSG_DONTWAIT)
                    .map_err(io::Error::from)
            })
            .await;
        let message = match received {
            Ok(length) if length > MAX_DATAGRAM => {
                tracing::debug!(server, "datagram too long, dropped");
                continue;
            }
            Ok(length) => {
                let bytes = buffer.get(..length).unwrap_or_default().to_vec();
                Message::Received { server, generation, socket: number, bytes }
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => {
                tracing::debug!(server, socket = number, %error, "server unreachable");
                Message::Unreachable { server, generation, socket: number, error }
            }
        };
        if outbox.send(message).await.is_err() {
            return;
        }
    }
}

/// Looks a name up: at once, then every `refresh`, sooner while it is not found or when asked.
async fn look_up(
    server: usize,
    name: (String, u16),
    refresh: Duration,
    mut asked: mpsc::Receiver<()>,
    outbox: mpsc::Sender<Message>,
) {
    let mut pace = tokio::time::interval(Duration::from_secs(1));
    pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        pace.tick().await;
        let found = tokio::net::lookup_host((name.0.as_str(), name.1)).await;
        let addresses = found.map(Iterator::collect::<Vec<_>>).and_then(|addresses| {
            if addresses.is_empty() { Err(io::ErrorKind::NotFound.into()) } else { Ok(addresses) }
        });
        let wait = if addresses.is_ok() { refresh } else { RETRY.min(refresh) };
        if outbox.send(Message::Found { server, addresses }).await.is_err() {
            return;
        }
        if let Ok(None) = tokio::time::timeout(wait, asked.recv()).await {
            return;
        }
    }
}
