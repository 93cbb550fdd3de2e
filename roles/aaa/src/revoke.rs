//! Tells NASes what is not true any more (RFC 5176): a Disconnect-Request for each grant that would
//! not be given again, a CoA-Request for each session that is allowed something else now.
//!
//! What one NAS has no room for waits, and keeps nobody else's. Of a session there is one
//! CoA-Request at a time: the repetition of an older one must not come after a newer one.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, PoisonError, RwLock};

use homeward_daemon::{Shutdown, SystemClock, SystemEntropy};
use homeward_model::{Clock, Mac, Nai, Name, UnixTime};
use homeward_radius::dynauth::{
    Disconnect, DisconnectId, ErrorCause, LoginDisconnect, SendError, Sender, SenderEvent,
    SenderSettings,
};
use homeward_radius::{Allowed, AttributeList, EncodeError};
use tokio::net::UdpSocket;
use tokio::sync::mpsc;

use crate::changes::{Change, Order};
use crate::figures::Figures;
use crate::grants::Revocation;
use crate::projection::{Client, Projection};

/// What is taken in at a time, before what there is room for is sent.
const BATCH: usize = 1024;

/// The task that sends them.
pub struct Revoker {
    sender: Sender,
    /// What waits for room, by NAS: 256 may be under way to one.
    waiting: BTreeMap<SocketAddr, Waiting>,
    /// The NAS whose turn it was last.
    turn: Option<SocketAddr>,
    under_way: BTreeMap<DisconnectId, UnderWay>,
    /// The sessions that a CoA-Request is under way for.
    being_told: BTreeMap<SocketAddr, BTreeSet<Who>>,
    projection: Arc<RwLock<Projection>>,
    /// The port of gateways.
    port: u16,
    figures: Figures,
    entropy: SystemEntropy,
    v4: UdpSocket,
    /// `None` on a machine without IPv6.
    v6: Option<UdpSocket>,
}

/// What waits for one NAS: at most a change for each of its sessions.
#[derive(Default)]
struct Waiting {
    ends: VecDeque<Revocation>,
    changes: BTreeMap<Who, Change>,
}

/// A session of a NAS.
type Who = (Option<Mac>, Option<(Nai, Option<String>, Option<String>)>);

fn who(session: &Revocation) -> Who {
    let login = session.login.as_ref();
    let login = login.map(|l| (l.name.clone(), l.nas_identifier.clone(), l.session_id.clone()));
    (session.station, login)
}

/// What was sent.
struct UnderWay {
    gateway: Name,
    to: SocketAddr,
    /// `None`: the end of a session.
    change: Option<Change>,
}

/// What is to be sent.
enum Next {
    End(Revocation),
    Change(Change),
}

impl Next {
    fn session(&self) -> &Revocation {
        match self {
            Self::End(session) => session,
            Self::Change(change) => &change.session,
        }
    }
}

impl Waiting {
    /// The next that may be sent: who is to be put out first.
    fn next(&mut self, being_told: Option<&BTreeSet<Who>>) -> Option<Next> {
        if let Some(session) = self.ends.pop_front() {
            return Some(Next::End(session));
        }
        let is_free = |who: &&Who| being_told.is_none_or(|told| !told.contains(*who));
        let who = self.changes.keys().find(is_free)?.clone();
        self.changes.remove(&who).map(Next::Change)
    }

    fn is_empty(&self) -> bool {
        self.ends.is_empty() && self.changes.is_empty()
    }
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
            waiting: BTreeMap::new(),
            turn: None,
            under_way: BTreeMap::new(),
            being_told: BTreeMap::new(),
            projection,
            port,
            figures,
            entropy: SystemEntropy::new(),
            v4: UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).await?,
            v6: UdpSocket::bind((Ipv6Addr::UNSPECIFIED, 0)).await.ok(),
        })
    }

    /// Sends what comes through `revocations` and `orders`, until shutdown.
    pub async fn run(
        mut self,
        mut revocations: mpsc::UnboundedReceiver<Revocation>,
        mut orders: mpsc::UnboundedReceiver<Order>,
        shutdown: Shutdown,
    ) {
        let (mut four, mut six) = ([0u8; 4096], [0u8; 4096]);
        let (mut ends, mut ordered) = (Vec::new(), Vec::new());
        loop {
            self.settle().await;
            let deadline = self.sender.poll_timeout();
            tokio::select! {
                () = shutdown.requested() => return,
                1.. = revocations.recv_many(&mut ends, BATCH) => {
                    ends.drain(..).for_each(|session| self.end(session));
                }
                1.. = orders.recv_many(&mut ordered, BATCH) => {
                    for order in ordered.drain(..) {
                        match order {
                            Order::End(session) => self.end(session),
                            Order::Change(change) => self.change(*change),
                        }
                    }
                }
                received = self.v4.recv_from(&mut four) => self.received(received, &four),
                received = receive(self.v6.as_ref(), &mut six) => self.received(received, &six),
                () = SystemClock.until(deadline) => {
                    self.sender.handle_timeout(SystemClock.now(), &mut self.entropy);
                }
            }
        }
    }

    fn end(&mut self, session: Revocation) {
        let to = SocketAddr::new(session.host, self.port);
        let waiting = self.waiting.entry(to).or_default();
        // Who is put out need not be told anything.
        waiting.changes.remove(&who(&session));
        waiting.ends.push_back(session);
    }

    fn change(&mut self, change: Change) {
        let to = SocketAddr::new(change.session.host, self.port);
        let changes = &mut self.waiting.entry(to).or_default().changes;
        let who = who(&change.session);
        let change = match changes.remove(&who) {
            Some(earlier) => earlier.and(change),
            None => change,
        };
        changes.insert(who, change);
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
        while let Some(event) = self.sender.poll_event() {
            self.tell(event);
        }
        self.start_all();
        while let Some((to, octets)) = self.sender.poll_transmit() {
            let socket = if to.is_ipv4() { Some(&self.v4) } else { self.v6.as_ref() };
            if let Some(socket) = socket
                && let Err(error) = socket.send_to(&octets, to).await
            {
                tracing::debug!(%to, %error, "a request is not sent; it is tried again");
            }
        }
    }

    /// Sends what there is room for, each NAS in its turn.
    fn start_all(&mut self) {
        let mut round = true;
        while std::mem::take(&mut round) && self.sender.has_room() {
            let after = self.turn.map_or(0, |turn| self.waiting.range(..=turn).count());
            let mut all: Vec<SocketAddr> = self.waiting.keys().copied().collect();
            let after = after.min(all.len());
            all.rotate_left(after);
            for to in all {
                if !self.sender.has_room() {
                    return;
                }
                if !self.sender.has_room_for(to) {
                    continue;
                }
                let Some(waiting) = self.waiting.get_mut(&to) else { continue };
                let next = waiting.next(self.being_told.get(&to));
                if waiting.is_empty() {
                    self.waiting.remove(&to);
                }
                if let Some(next) = next {
                    (self.turn, round) = (Some(to), true);
                    self.start(to, next);
                }
            }
        }
    }

    fn start(&mut self, to: SocketAddr, next: Next) {
        let session = next.session();
        let projection = self.projection.read().unwrap_or_else(PoisonError::into_inner);
        let Some(client) = projection.client(session.gateway) else {
            // A gateway that was deleted has no secret any more to tell it anything with.
            return self.count(&next, "gateway-deleted");
        };
        let (now, at) = (SystemClock.now(), SystemClock.unix());
        let (sender, entropy, secret) = (&mut self.sender, &mut self.entropy, &client.secret);
        let device = session.station.map(tracing::field::display);
        let gateway = client.gateway.name.clone();
        let sent = match &next {
            Next::End(session) => {
                tracing::info!(%gateway, device, "revoking a grant");
                attributes(session, client, at, None)
                    .map_err(SendError::from)
                    .and_then(|list| sender.disconnect(now, entropy, to, secret, &list))
            }
            Next::Change(change) => {
                tracing::debug!(%gateway, device, allowed = ?change.allowed, "telling a session's NAS");
                let list = attributes(&change.session, client, at, Some(&change.allowed));
                list.map_err(SendError::from)
                    .and_then(|list| sender.change(now, entropy, to, secret, &list))
            }
        };
        drop(projection);
        match sent {
            Ok(id) => {
                let change = match next {
                    Next::End(_) => None,
                    Next::Change(change) => {
                        let told = self.being_told.entry(to).or_default();
                        told.insert(who(&change.session));
                        Some(change)
                    }
                };
                self.under_way.insert(id, UnderWay { gateway, to, change });
            }
            Err(error) => {
                tracing::error!(%gateway, %error, "a NAS could not be told");
                self.count(&next, "failed");
            }
        }
    }

    fn count(&self, next: &Next, outcome: &'static str) {
        match next {
            Next::End(_) => self.figures.disconnect(outcome),
            Next::Change(_) => self.figures.told(outcome),
        }
    }

    fn tell(&mut self, event: SenderEvent) {
        let (id, outcome, cause) = match event {
            SenderEvent::Done { id } => (id, Outcome::Done, None),
            SenderEvent::Refused { id, cause: Some(ErrorCause::SESSION_CONTEXT_NOT_FOUND) } => {
                (id, Outcome::NoSession, None)
            }
            SenderEvent::Refused { id, cause } => (id, Outcome::Refused, cause),
            SenderEvent::TimedOut { id } => (id, Outcome::TimedOut, None),
            SenderEvent::Dropped { source, reason } => {
                self.figures.disconnect("answer-dropped");
                tracing::debug!(%source, %reason, "datagram dropped");
                return;
            }
        };
        let Some(UnderWay { gateway, to, change }) = self.under_way.remove(&id) else { return };
        let cause = cause.map(tracing::field::display);
        let Some(change) = change else {
            match outcome {
                Outcome::Refused => {
                    tracing::warn!(%gateway, cause, "a gateway refused a Disconnect-Request");
                }
                Outcome::TimedOut => tracing::warn!(
                    %gateway,
                    "a gateway did not answer a Disconnect-Request; it will ask anew within its refresh time"
                ),
                Outcome::Done | Outcome::NoSession => {}
            }
            return self.figures.disconnect(outcome.of_end());
        };
        let session = who(&change.session);
        if let Some(told) = self.being_told.get_mut(&to) {
            told.remove(&session);
            if told.is_empty() {
                self.being_told.remove(&to);
            }
        }
        self.figures.told(outcome.of_change());
        match outcome {
            Outcome::Done | Outcome::NoSession => {}
            Outcome::Refused | Outcome::TimedOut => {
                let ends = change.or_end;
                let why = outcome.of_change();
                tracing::warn!(
                    %gateway, why, cause, ends,
                    "a NAS does not take what a session is allowed now"
                );
                let waiting = self.waiting.get_mut(&to);
                match waiting.and_then(|waiting| waiting.changes.get_mut(&session)) {
                    // What came meanwhile says what is to be now.
                    Some(later) => *later = change.and(later.clone()),
                    None if ends => self.end(change.session),
                    None => {}
                }
            }
        }
    }
}

/// How a request came out.
#[derive(Debug, Clone, Copy)]
enum Outcome {
    Done,
    NoSession,
    Refused,
    TimedOut,
}

impl Outcome {
    const fn of_end(self) -> &'static str {
        match self {
            Self::Done => "ended",
            other => other.of_change(),
        }
    }

    const fn of_change(self) -> &'static str {
        match self {
            Self::Done => "changed",
            Self::NoSession => "no-session",
            Self::Refused => "refused",
            Self::TimedOut => "timed-out",
        }
    }
}

/// What names the session, and what it is to be allowed.
fn attributes(
    session: &Revocation,
    client: &Client,
    at: UnixTime,
    allowed: Option<&Allowed>,
) -> Result<AttributeList, EncodeError> {
    let mut list = match (&session.login, session.station) {
        (Some(login), station) => LoginDisconnect {
            user_name: login.name.as_str(),
            station,
            session_id: login.session_id.as_deref(),
            nas_identifier: login.nas_identifier.as_deref(),
            at,
        }
        .attributes()?,
        (None, Some(mac)) => {
            Disconnect { mac, nas_identifier: client.gateway.name.as_str(), at }.attributes()?
        }
        // What was granted by a look-up has a device.
        (None, None) => AttributeList::new(),
    };
    if let Some(allowed) = allowed {
        allowed.push_to(&mut list)?;
    }
    Ok(list)
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

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use homeward_daemon::Metrics;
    use homeward_model::{Bandwidth, ServiceTerms};

    use super::*;
    use crate::grants::LoginSession;
    use crate::testing::{self, HOME};

    async fn revoker() -> Revoker {
        let figures = Figures::new(&mut Metrics::new("core", "0"));
        let projection = Arc::new(RwLock::new(testing::projection()));
        Revoker::new(projection, 3799, figures).await.unwrap()
    }

    fn session(host: u8, id: usize) -> Revocation {
        let name = testing::login().name;
        let session = LoginSession { name, nas_identifier: None, session_id: Some(id.to_string()) };
        let host = IpAddr::from([127, 0, 0, host]);
        Revocation { gateway: HOME, host, station: None, login: Some(session) }
    }

    fn change(session: Revocation, up: Option<u32>, down: Option<u32>, or_end: bool) -> Change {
        let bandwidth = Bandwidth { up, down };
        let terms = ServiceTerms { bandwidth, ..ServiceTerms::default() };
        Change { session, allowed: Allowed { terms, ..Allowed::default() }, or_end }
    }

    /// What is under way, in the order in which it began: the change, or `None` for an end.
    fn under_way(revoker: &Revoker) -> Vec<Option<Change>> {
        revoker.under_way.values().map(|sent| sent.change.clone()).collect()
    }

    fn gives_up(revoker: &mut Revoker) {
        let id = *revoker.under_way.keys().next().unwrap();
        revoker.tell(SenderEvent::TimedOut { id });
    }

    #[tokio::test]
    async fn a_session_is_told_one_thing_at_a_time_and_what_waits_is_one() {
        let mut revoker = revoker().await;
        revoker.change(change(session(1, 7), Some(1), Some(1), true));
        revoker.start_all();
        revoker.change(change(session(1, 7), Some(2), None, false));
        revoker.change(change(session(1, 7), Some(3), None, false));
        revoker.change(change(session(1, 8), Some(4), None, false));
        revoker.start_all();
        let first = change(session(1, 7), Some(1), Some(1), true);
        let other = change(session(1, 8), Some(4), None, false);
        assert_eq!(under_way(&revoker), [Some(first), Some(other.clone())]);
        // The NAS may have taken it or not: it is told both, and is to take both.
        gives_up(&mut revoker);
        revoker.start_all();
        let both = change(session(1, 7), Some(3), Some(1), true);
        assert_eq!(under_way(&revoker), [Some(other), Some(both)]);
        // Nothing came after that: the session ends if it was to have less, and else goes on.
        gives_up(&mut revoker);
        gives_up(&mut revoker);
        revoker.start_all();
        assert_eq!(under_way(&revoker), [None]);
        assert!(revoker.waiting.is_empty() && revoker.being_told.is_empty());
    }

    #[tokio::test]
    async fn who_is_put_out_goes_first_and_is_told_nothing() {
        let mut revoker = revoker().await;
        revoker.change(change(session(1, 7), Some(1), None, false));
        revoker.change(change(session(1, 8), Some(1), None, false));
        revoker.end(session(1, 8));
        revoker.start_all();
        let told = change(session(1, 7), Some(1), None, false);
        assert_eq!(under_way(&revoker), [None, Some(told)]);
    }

    #[tokio::test]
    async fn a_nas_without_room_keeps_no_other_waiting() {
        let mut revoker = revoker().await;
        for id in 0..300 {
            revoker.end(session(1, id));
        }
        for id in 0..300 {
            revoker.change(change(session(2, id), Some(1), None, false));
        }
        revoker.end(session(3, 0));
        revoker.start_all();
        let to = |revoker: &Revoker, host: u8| {
            let host = IpAddr::from([127, 0, 0, host]);
            revoker.under_way.values().filter(|sent| sent.to.ip() == host).count()
        };
        assert_eq!([1, 2, 3].map(|host| to(&revoker, host)), [256, 256, 1]);
        // Whoever's turn it was last.
        for host in [4, 3] {
            revoker.end(session(host, 1));
            revoker.start_all();
        }
        assert_eq!([1, 2, 3, 4].map(|host| to(&revoker, host)), [256, 256, 2, 1]);
        let waiting = revoker.waiting.values().map(|w| w.ends.len() + w.changes.len());
        assert_eq!(waiting.collect::<Vec<_>>(), [44, 44]);
    }
}
