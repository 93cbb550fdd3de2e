//! Tells gateways to stop: a Disconnect-Request (RFC 5176) for each grant that is no longer true.

use std::collections::{BTreeMap, VecDeque};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, PoisonError, RwLock};

use homeward_daemon::{Shutdown, SystemClock, SystemEntropy};
use homeward_model::{Clock, Name, UnixTime};
use homeward_radius::dynauth::{
    Disconnect, DisconnectId, ErrorCause, LoginDisconnect, SendError, Sender, SenderEvent,
    SenderSettings,
};
use homeward_radius::{AttributeList, EncodeError};
use tokio::net::UdpSocket;
use tokio::sync::mpsc;

use crate::figures::Figures;
use crate::grants::Revocation;
use crate::projection::{Client, Projection};

/// The task that sends them.
pub struct Revoker {
    sender: Sender,
    /// What waits for room: 256 may be under way to one gateway.
    waiting: VecDeque<Revocation>,
    named: BTreeMap<DisconnectId, Name>,
    projection: Arc<RwLock<Projection>>,
    /// The port of gateways.
    port: u16,
    figures: Figures,
    entropy: SystemEntropy,
    v4: UdpSocket,
    /// `None` on a machine without IPv6.
    v6: Option<UdpSocket>,
}

impl Revoker {
    /// One that sends to port `port` of gateways.
    ///
    /// # Errors
    ///
    /// If there is no socket to be had.
    pub async fn new(
        projection: Arc<RwLock<Projection>>,
        port: u16,
        figures: Figures,
    ) -> std::io::Result<Self> {
        Ok(Self {
            sender: Sender::new(SenderSettings::default()),
            waiting: VecDeque::new(),
            named: BTreeMap::new(),
            projection,
            port,
            figures,
            entropy: SystemEntropy::new(),
            v4: UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).await?,
            v6: UdpSocket::bind((Ipv6Addr::UNSPECIFIED, 0)).await.ok(),
        })
    }

    /// Sends what comes through `revocations`, until shutdown.
    pub async fn run(
        mut self,
        mut revocations: mpsc::UnboundedReceiver<Revocation>,
        shutdown: Shutdown,
    ) {
        let (mut four, mut six) = ([0u8; 4096], [0u8; 4096]);
        loop {
            self.settle().await;
            let deadline = self.sender.poll_timeout();
            tokio::select! {
                () = shutdown.requested() => return,
                Some(revocation) = revocations.recv() => self.waiting.push_back(revocation),
                received = self.v4.recv_from(&mut four) => self.received(received, &four),
                received = receive(self.v6.as_ref(), &mut six) => self.received(received, &six),
                () = SystemClock.until(deadline) => {
                    self.sender.handle_timeout(SystemClock.now(), &mut self.entropy);
                }
            }
        }
    }

    fn received(&mut self, received: std::io::Result<(usize, SocketAddr)>, octets: &[u8]) {
        match received {
            Ok((len, source)) => {
                self.sender.handle_datagram(source, octets.get(..len).unwrap_or_default());
            }
            // An ICMP error of an earlier datagram; retransmission goes on.
            Err(error) => tracing::debug!(%error, "a gateway's host refuses"),
        }
    }

    async fn settle(&mut self) {
        while let Some(revocation) = self.waiting.pop_front() {
            if !self.start(&revocation) {
                self.waiting.push_front(revocation);
                break;
            }
        }
        while let Some((to, octets)) = self.sender.poll_transmit() {
            let socket = if to.is_ipv4() { Some(&self.v4) } else { self.v6.as_ref() };
            if let Some(socket) = socket
                && let Err(error) = socket.send_to(&octets, to).await
            {
                tracing::debug!(%to, %error, "Disconnect-Request not sent; it is tried again");
            }
        }
        while let Some(event) = self.sender.poll_event() {
            self.tell(event);
        }
    }

    /// Begins one; false if there is no room now.
    fn start(&mut self, revocation: &Revocation) -> bool {
        let projection = self.projection.read().unwrap_or_else(PoisonError::into_inner);
        let Some(client) = projection.client(revocation.gateway) else {
            // A gateway that was deleted has no secret any more to tell it anything with.
            self.figures.disconnect("gateway-deleted");
            return true;
        };
        let to = SocketAddr::new(revocation.host, self.port);
        let now = SystemClock.now();
        let attributes = attributes(revocation, client, SystemClock.unix());
        let sent = attributes.map_err(SendError::from).and_then(|attributes| {
            self.sender.disconnect(now, &mut self.entropy, to, &client.secret, &attributes)
        });
        match sent {
            Ok(id) => {
                let device = revocation.station.map(tracing::field::display);
                tracing::info!(gateway = %client.gateway.name, device, "revoking a grant");
                self.named.insert(id, client.gateway.name.clone());
                true
            }
            Err(SendError::Full(_)) => false,
            Err(error) => {
                self.figures.disconnect("failed");
                tracing::error!(gateway = %client.gateway.name, %error, "a grant could not be revoked");
                true
            }
        }
    }

    fn tell(&mut self, event: SenderEvent) {
        let (id, outcome) = match event {
            SenderEvent::Ended { id } => (id, "ended"),
            SenderEvent::Refused { id, cause: Some(ErrorCause::SESSION_CONTEXT_NOT_FOUND) } => {
                (id, "no-session")
            }
            SenderEvent::Refused { id, cause } => {
                let gateway = self.named.get(&id).map(tracing::field::display);
                let cause = cause.map(tracing::field::display);
                tracing::warn!(gateway, cause, "a gateway refused a Disconnect-Request");
                (id, "refused")
            }
            SenderEvent::TimedOut { id } => {
                let gateway = self.named.get(&id).map(tracing::field::display);
                tracing::warn!(
                    gateway,
                    "a gateway did not answer a Disconnect-Request; it will ask anew within its refresh time"
                );
                (id, "timed-out")
            }
            SenderEvent::Dropped { source, reason } => {
                self.figures.disconnect("answer-dropped");
                tracing::debug!(%source, %reason, "datagram dropped");
                return;
            }
        };
        self.named.remove(&id);
        self.figures.disconnect(outcome);
    }
}

/// What names the session.
fn attributes(
    revocation: &Revocation,
    client: &Client,
    at: UnixTime,
) -> Result<AttributeList, EncodeError> {
    match (&revocation.login, revocation.station) {
        (Some(login), station) => LoginDisconnect {
            user_name: login.name.as_str(),
            station,
            session_id: login.session_id.as_deref(),
            nas_identifier: login.nas_identifier.as_deref(),
            at,
        }
        .attributes(),
        (None, Some(mac)) => {
            Disconnect { mac, nas_identifier: client.gateway.name.as_str(), at }.attributes()
        }
        // What was granted by a look-up has a device.
        (None, None) => Ok(AttributeList::new()),
    }
}

async fn receive(
    socket: Option<&UdpSocket>,
    room: &mut [u8],
) -> std::io::Result<(usize, SocketAddr)> {
    match socket {
        Some(socket) => socket.recv_from(room).await,
        None => std::future::pending().await,
    }
}
