//! Who comes in: accepting, handshakes, limits.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};

use homeward_model::Clock;
use rustls::ProtocolVersion::TLSv1_3;
use rustls::pki_types::CertificateDer;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

use super::counters::{Tally, count};
use super::worker::Inbox;
use super::{Doorkeeper, Limits, ServerTls, Version, connection, keep_alive, tls};
use crate::server::TICK;

/// What all connections share.
pub(super) struct Door {
    pub(super) limits: Limits,
    tls: ServerTls,
    doorkeeper: Box<dyn Doorkeeper>,
    inboxes: Vec<Arc<Inbox>>,
    pub(super) counters: Arc<Tally>,
    pub(super) clock: Arc<dyn Clock>,
    handshakes: Arc<Semaphore>,
    /// Places of packets that wait for a worker.
    pub(super) queue: Arc<Semaphore>,
    /// Connections, by peer.
    crowd: Mutex<Crowd>,
}

#[derive(Default)]
struct Crowd {
    all: usize,
    by_peer: BTreeMap<u64, usize>,
}

impl Door {
    pub(super) fn new(
        limits: Limits,
        tls: ServerTls,
        doorkeeper: Box<dyn Doorkeeper>,
        inboxes: Vec<Arc<Inbox>>,
        counters: Arc<Tally>,
        clock: Arc<dyn Clock>,
    ) -> Arc<Self> {
        let places = |number: usize| Arc::new(Semaphore::new(number.clamp(1, 1 << 20)));
        let (handshakes, queue) = (places(limits.handshakes), places(limits.queue));
        let crowd = Mutex::default();
        Arc::new(Self {
            limits,
            tls,
            doorkeeper,
            inboxes,
            counters,
            clock,
            handshakes,
            queue,
            crowd,
        })
    }

    /// Accepts for as long as it is polled. Connections end with it.
    pub(super) async fn serve(self: Arc<Self>, listener: TcpListener) {
        let mut connections = JoinSet::new();
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                Some(_) = connections.join_next(), if !connections.is_empty() => continue,
            };
            match accepted {
                Ok((stream, source)) => {
                    let Ok(handshake) = Arc::clone(&self.handshakes).try_acquire_owned() else {
                        count(&self.counters.crowded);
                        tracing::debug!(%source, "too many handshakes: a connection is refused");
                        continue;
                    };
                    let door = Arc::clone(&self);
                    connections.spawn(async move {
                        let shown = door.handshake(stream, source).await;
                        drop(handshake);
                        if let Some(shown) = shown {
                            door.let_in(shown, source).await;
                        }
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, "a connection was not accepted");
                    // No descriptor, perhaps: to try again at once would spin.
                    let _ = timeout(TICK, std::future::pending::<()>()).await;
                }
            }
        }
    }

    /// Finds out who a peer is.
    async fn handshake(&self, stream: TcpStream, source: SocketAddr) -> Option<Shown> {
        if let Err(error) = keep_alive(&stream) {
            tracing::debug!(%source, %error, "a connection that is gone already");
            return None;
        }
        let accept = TlsAcceptor::from(self.tls.now()).accept(stream);
        let stream = match timeout(self.limits.handshake, accept).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => {
                count(&self.counters.failed);
                tracing::info!(%source, %error, "a TLS handshake failed");
                return None;
            }
            Err(_) => {
                count(&self.counters.failed);
                tracing::info!(%source, "a TLS handshake took too long");
                return None;
            }
        };
        let (_, session) = stream.get_ref();
        let version = match session.alpn_protocol() {
            Some(tls::V1_1) => Version::V1_1,
            _ => Version::V1_0,
        };
        // RFC 9765 3.4: RADIUS/1.1 needs TLS 1.3. ALPN does not know which it will be.
        if version == Version::V1_1 && session.protocol_version() != Some(TLSv1_3) {
            count(&self.counters.failed);
            tracing::info!(%source, "a peer wants RADIUS/1.1 over TLS 1.2: have it speak TLS 1.3");
            return None;
        }
        let certificate = session.peer_certificates()?.first()?.clone().into_owned();
        let Some(peer) = self.doorkeeper.admit(&certificate, source).await else {
            count(&self.counters.strangers);
            tracing::info!(%source, "a peer whose certificate is nobody's that is let in");
            return None;
        };
        Some(Shown { stream, certificate, peer, version })
    }

    /// Serves a peer until either has enough.
    async fn let_in(&self, shown: Shown, source: SocketAddr) {
        let Shown { stream, certificate, peer, version } = shown;
        let Some(_place) = self.place(peer) else {
            count(&self.counters.crowded);
            tracing::warn!(%source, peer, "too many connections: one is refused");
            return;
        };
        let Some(inbox) = usize::try_from(peer % self.inboxes.len().max(1) as u64)
            .ok()
            .and_then(|worker| self.inboxes.get(worker))
        else {
            return;
        };
        count(&self.counters.admitted);
        tracing::info!(%source, peer, ?version, "a peer is connected");
        let why = tokio::select! {
            why = connection::run(self, inbox, stream, source, peer, version) => why,
            () = self.is_let_in_no_more(&certificate, source, peer) => connection::End::Refused,
        };
        tracing::info!(%source, peer, %why, "a peer's connection has ended");
    }

    /// Waits until the certificate is no longer that peer's.
    async fn is_let_in_no_more(
        &self,
        certificate: &CertificateDer<'_>,
        source: SocketAddr,
        peer: u64,
    ) {
        let every = self.limits.recheck.max(TICK);
        loop {
            let _ = timeout(every, std::future::pending::<()>()).await;
            if self.doorkeeper.admit(certificate, source).await != Some(peer) {
                return;
            }
        }
    }

    /// A place for one more connection of that peer.
    fn place(&self, peer: u64) -> Option<Place<'_>> {
        let mut crowd = self.crowd.lock().unwrap_or_else(PoisonError::into_inner);
        let of_peer = crowd.by_peer.get(&peer).copied().unwrap_or_default();
        if crowd.all >= self.limits.connections || of_peer >= self.limits.connections_a_peer {
            return None;
        }
        crowd.all += 1;
        crowd.by_peer.insert(peer, of_peer + 1);
        self.counters.connections.store(crowd.all as u64, Ordering::Relaxed);
        Some(Place { door: self, peer })
    }
}

/// A peer that has shown who it is.
struct Shown {
    stream: connection::Stream,
    certificate: CertificateDer<'static>,
    peer: u64,
    version: Version,
}

/// Given back when it is dropped.
struct Place<'d> {
    door: &'d Door,
    peer: u64,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let mut crowd = self.door.crowd.lock().unwrap_or_else(PoisonError::into_inner);
        crowd.all = crowd.all.saturating_sub(1);
        let left = crowd.by_peer.get(&self.peer).map_or(0, |of_peer| of_peer.saturating_sub(1));
        match left {
            0 => crowd.by_peer.remove(&self.peer),
            left => crowd.by_peer.insert(self.peer, left),
        };
        self.door.counters.connections.store(crowd.all as u64, Ordering::Relaxed);
    }
}
