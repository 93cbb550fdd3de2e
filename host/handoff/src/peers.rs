//! Asks modules and servers.

use std::collections::HashMap;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use homeward_daemon::SystemClock;
use homeward_keychain::key::HopShare;
use homeward_keychain::{Demand, DeviceKey, Fetch, Fetched, Proof, Record};
use homeward_model::{Clock, Nai, Name};
use hyper::client::conn::http2::{self, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio::sync::Mutex;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tonic::body::Body;
use tonic::{Code, Status};

use crate::directory::{Book, PublicKey};
use crate::error::CallError;
use crate::identity::Identity;
use crate::pb::peers_client::PeersClient;
use crate::pb::{Enrolment, Hop, Octets};
use crate::{line, tls};

/// How peers are asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PeerSettings {
    /// How long a call may take in all, with connecting and repeating.
    pub deadline: Duration,
    /// How long a connection may take to come about.
    pub connect: Duration,
    /// The pause before a call is repeated.
    pub pause: Duration,
    /// After how much silence a peer is asked whether it is there (HTTP/2 PING), and how long it
    /// has to answer that.
    pub keepalive: Duration,
    /// The largest answer, in octets.
    pub max_message: usize,
}

impl Default for PeerSettings {
    fn default() -> Self {
        Self {
            deadline: Duration::from_secs(3),
            connect: Duration::from_secs(1),
            pause: Duration::from_millis(100),
            keepalive: Duration::from_secs(10),
            max_message: 128 * 1024,
        }
    }
}

/// All peers, as they are asked. Clones are one and the same. A connection is made when it is needed
/// and kept.
#[derive(Clone)]
pub struct Peers(Arc<Inner>);

struct Inner {
    identity: Identity,
    book: Book,
    settings: PeerSettings,
    open: Mutex<HashMap<Name, Arc<Mutex<Option<Open>>>>>,
}

/// A connection, and whom it was made to.
struct Open {
    key: PublicKey,
    address: String,
    requests: SendRequest<Body>,
}

impl std::fmt::Debug for Peers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Peers(of {})", self.0.identity.name())
    }
}

impl Peers {
    /// As `identity`, of whom is in `book`.
    pub fn new(identity: Identity, book: Book, settings: PeerSettings) -> Self {
        Self(Arc::new(Inner { identity, book, settings, open: Mutex::default() }))
    }

    /// Has the module of the network before, or a server, give what a ticket opens.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn fetch(&self, of: &Name, fetch: &Fetch) -> Result<Fetched, CallError> {
        let octets = Octets { octets: fetch.encode() };
        let ask = |mut peer: PeersClient<Requests>| {
            let octets = octets.clone();
            async move { peer.fetch(octets).await }
        };
        let answer = zeroize::Zeroizing::new(self.call(of, ask).await?.octets);
        Fetched::decode(&answer).map_err(|e| malformed(of, e))
    }

    /// Tells a server of a hop.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn extend(
        &self,
        server: &Name,
        record: &Record,
        share: &HopShare,
    ) -> Result<(), CallError> {
        let hop = Hop { record: record.encode(), share: share.expose().to_vec() };
        let ask = |mut peer: PeersClient<Requests>| {
            let hop = hop.clone();
            async move { peer.extend(hop).await }
        };
        self.call(server, ask).await.map(drop)
    }

    /// Has the module of the network that a device is in prove that it has the key of its hop.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn prove(&self, network: &Name, demand: &Demand) -> Result<Proof, CallError> {
        let octets = Octets { octets: demand.encode() };
        let ask = |mut peer: PeersClient<Requests>| {
            let octets = octets.clone();
            async move { peer.prove(octets).await }
        };
        let answer = self.call(network, ask).await?.octets;
        Proof::decode(&answer).map_err(|e| malformed(network, e))
    }

    /// Enrols a device with the module of another network, or gives it another key there.
    ///
    /// # Errors
    /// [`CallError`]; [`CallError::Newer`] where the version is not newer than what is there.
    pub async fn enrol(
        &self,
        network: &Name,
        device: &Nai,
        version: u32,
        key: &DeviceKey,
    ) -> Result<(), CallError> {
        let ask = |mut peer: PeersClient<Requests>| {
            let (device, key) = (device.as_str().to_owned(), key.expose().to_vec());
            let enrolment = Enrolment { device, version, key };
            async move { peer.enrol(enrolment).await }
        };
        self.call(network, ask).await.map(drop)
    }

    /// Makes sure that there is a connection to a peer: a hand-off that needs it then does not wait
    /// for one.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn reach(&self, peer: &Name) -> Result<(), CallError> {
        self.client(peer).await.map(drop)
    }

    /// Asks, and asks again where the connection was lost, until the deadline.
    async fn call<T, F, A>(&self, peer: &Name, ask: F) -> Result<T, CallError>
    where
        F: Fn(PeersClient<Requests>) -> A,
        A: Future<Output = Result<tonic::Response<T>, Status>>,
    {
        let settings = self.0.settings;
        let after = settings.deadline;
        let mut last = None;
        let trying = async {
            loop {
                let failed = match self.client(peer).await {
                    Err(error) => error,
                    Ok(client) => match ask(client).await {
                        Ok(answer) => return Ok(answer.into_inner()),
                        Err(status) => of_status(peer, &status),
                    },
                };
                if !failed.is_away() {
                    return Err(failed);
                }
                tracing::debug!(%peer, error = %failed, "asked again");
                last = Some(failed);
                SystemClock.until(Some(SystemClock.now() + settings.pause)).await;
            }
        };
        match timeout(after, trying).await {
            Ok(outcome) => outcome,
            Err(_) => Err(last.unwrap_or(CallError::Deadline { peer: peer.clone(), after })),
        }
    }

    async fn client(&self, peer: &Name) -> Result<PeersClient<Requests>, CallError> {
        let inner = &*self.0;
        let directory = inner.book.now();
        let known = directory.peer(peer).ok_or_else(|| CallError::Unknown(peer.clone()))?;
        if known.revoked {
            return Err(CallError::Revoked(peer.clone()));
        }
        let address = known.address.as_ref().ok_or_else(|| CallError::NoAddress(peer.clone()))?;
        let slot = Arc::clone(inner.open.lock().await.entry(peer.clone()).or_default());
        // Whoever needs the same connection waits for it, rather than making another.
        let mut slot = slot.lock().await;
        let same = |open: &Open| open.key == known.key && open.address == *address;
        if slot.as_ref().is_none_or(|open| open.requests.is_closed() || !same(open)) {
            let requests = self.dial(peer, address).await?;
            *slot = Some(Open { key: known.key, address: address.clone(), requests });
        }
        let lost = || CallError::Lost { peer: peer.clone(), reason: "it hung up".to_owned() };
        let requests = slot.as_ref().ok_or_else(lost)?.requests.clone();
        let most = inner.settings.max_message;
        Ok(PeersClient::with_origin(Requests(requests), line::origin())
            .max_decoding_message_size(most)
            .max_encoding_message_size(most))
    }

    async fn dial(&self, peer: &Name, address: &str) -> Result<SendRequest<Body>, CallError> {
        let inner = &*self.0;
        let (name, at) = (peer.clone(), address.to_owned());
        let connect = |source| CallError::Connect { peer: name, address: at, source };
        let dialling = async {
            let stream = TcpStream::connect(address).await?;
            stream.set_nodelay(true)?;
            io::Result::Ok(stream)
        };
        let stream = match timeout(inner.settings.connect, dialling).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => return Err(connect(error)),
            Err(_) => return Err(connect(io::ErrorKind::TimedOut.into())),
        };
        let insecure = |reason: String| CallError::Tls {
            peer: peer.clone(),
            address: address.to_owned(),
            reason,
        };
        let config = tls::client(&inner.identity, &inner.book, peer);
        let config = Arc::new(config.map_err(|e| insecure(e.to_string()))?);
        // No name is checked: the key is.
        let nobody = ServerName::IpAddress(std::net::Ipv4Addr::UNSPECIFIED.into());
        let handshake = TlsConnector::from(config).connect(nobody, stream);
        let stream = match timeout(inner.settings.connect, handshake).await {
            Ok(stream) => stream.map_err(|e| insecure(e.to_string()))?,
            Err(_) => return Err(insecure("it took too long".to_owned())),
        };
        let opening = http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .keep_alive_interval(inner.settings.keepalive)
            .keep_alive_timeout(inner.settings.keepalive)
            .keep_alive_while_idle(true)
            .handshake(TokioIo::new(stream));
        let (requests, connection) = opening.await.map_err(|e| insecure(e.to_string()))?;
        let peer = peer.clone();
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%peer, %error, "a connection ended");
            }
        });
        Ok(requests)
    }
}

fn malformed(peer: &Name, source: homeward_keychain::message::Malformed) -> CallError {
    CallError::Malformed { peer: peer.clone(), source }
}

fn of_status(peer: &Name, status: &Status) -> CallError {
    let (peer, reason) = (peer.clone(), status.message().to_owned());
    match status.code() {
        Code::FailedPrecondition | Code::InvalidArgument | Code::Unimplemented => {
            CallError::Refused { peer, reason, later: false }
        }
        Code::AlreadyExists => CallError::Newer { peer, reason },
        Code::ResourceExhausted => CallError::Refused { peer, reason, later: true },
        code => CallError::Lost { peer, reason: format!("{}: {reason}", code.description()) },
    }
}

/// Requests over one connection.
#[derive(Clone)]
pub(crate) struct Requests(pub(crate) SendRequest<Body>);

impl tower_service::Service<http::Request<Body>> for Requests {
    type Response = http::Response<hyper::body::Incoming>;
    type Error = hyper::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        Box::pin(self.0.send_request(request))
    }
}
