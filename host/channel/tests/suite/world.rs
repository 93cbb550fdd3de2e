//! A core with a gatekeeper in memory, a clock that is set by hand, and gateways' directories.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use homeward_channel::{
    Authority, Client, ClientSettings, Counters, Denial, Event, Gatekeeper, Issue, Presented,
    Refusal, Serial, Server, ServerSettings, Subject, Token, TokenHash,
};
use homeward_control::pb;
use homeward_daemon::{SystemClock, SystemEntropy};
use homeward_model::{Clock, GatewayId, Instant, UnixTime};
use tempfile::TempDir;

/// 2026-06-01 12:00 UTC.
pub(crate) const NOON: i64 = 1_780_315_200_000;
pub(crate) const DAY: i64 = 86_400_000;

/// The machine's clock with a wall that is set by hand.
#[derive(Debug)]
pub(crate) struct WallClock(AtomicI64);

impl WallClock {
    pub(crate) fn at(ms: i64) -> Arc<Self> {
        Arc::new(Self(AtomicI64::new(ms)))
    }

    pub(crate) fn set(&self, ms: i64) {
        self.0.store(ms, Ordering::SeqCst);
    }
}

impl Clock for WallClock {
    fn now(&self) -> Instant {
        SystemClock.now()
    }

    fn unix(&self) -> UnixTime {
        UnixTime(self.0.load(Ordering::SeqCst))
    }
}

/// What a datastore would know.
#[derive(Debug, Default)]
pub(crate) struct Book {
    pub(crate) tokens: BTreeMap<[u8; 32], (GatewayId, UnixTime, bool)>,
    pub(crate) issued: BTreeMap<Serial, GatewayId>,
    pub(crate) refused: BTreeMap<GatewayId, Refusal>,
    pub(crate) no_renewals: bool,
}

#[derive(Debug, Clone, Default)]
pub(crate) struct Desk(pub(crate) Arc<Mutex<Book>>);

impl Desk {
    fn subject(book: &Book, gateway: GatewayId) -> Result<Subject, Denial> {
        match book.refused.get(&gateway) {
            Some(refusal) => Err(Denial::Refused(*refusal)),
            None => Ok(Subject {
                gateway,
                name: format!("gw-{gateway}").parse().unwrap(),
                device_of: None,
            }),
        }
    }

    fn known(book: &Book, presented: &Presented) -> Result<Subject, Denial> {
        if book.issued.get(&presented.serial) != Some(&presented.gateway) {
            return Err(Denial::Refused(Refusal::Unknown));
        }
        Self::subject(book, presented.gateway)
    }
}

#[async_trait]
impl Gatekeeper for Desk {
    async fn admit(&self, presented: &Presented) -> Result<Subject, Denial> {
        Self::known(&self.0.lock().unwrap(), presented)
    }

    async fn redeem(&self, token: TokenHash, issue: &Issue) -> Result<Subject, Denial> {
        let mut book = self.0.lock().unwrap();
        let Some((gateway, expires, used)) = book.tokens.get_mut(&token.0) else {
            return Err(Denial::Refused(Refusal::TokenUnknown));
        };
        if *used {
            return Err(Denial::Refused(Refusal::TokenUsed));
        }
        if issue.issued >= *expires {
            return Err(Denial::Refused(Refusal::TokenExpired));
        }
        *used = true;
        let gateway = *gateway;
        book.issued.insert(issue.serial, gateway);
        Self::subject(&book, gateway)
    }

    async fn renew(&self, presented: &Presented, issue: &Issue) -> Result<Subject, Denial> {
        let mut book = self.0.lock().unwrap();
        if book.no_renewals {
            return Err(Denial::Failed("no disk".into()));
        }
        let subject = Self::known(&book, presented)?;
        book.issued.insert(issue.serial, presented.gateway);
        Ok(subject)
    }
}

/// A running core.
pub(crate) struct Core {
    pub(crate) server: Server,
    pub(crate) desk: Desk,
    pub(crate) clock: Arc<WallClock>,
    pub(crate) authority: Arc<Authority>,
}

pub(crate) fn authority() -> Arc<Authority> {
    let parts = Authority::generate(UnixTime(NOON), &mut SystemEntropy::new()).unwrap();
    Arc::new(Authority::load(&parts).unwrap())
}

impl Core {
    pub(crate) async fn start() -> Self {
        Self::with(ServerSettings::default()).await
    }

    pub(crate) async fn with(settings: ServerSettings) -> Self {
        Self::of(settings, authority(), WallClock::at(NOON)).await
    }

    pub(crate) async fn of(
        settings: ServerSettings,
        authority: Arc<Authority>,
        clock: Arc<WallClock>,
    ) -> Self {
        let desk = Desk::default();
        let listen = [SocketAddr::new(Ipv4Addr::LOCALHOST.into(), 0)];
        let (keeper, time) = (Arc::new(desk.clone()), Arc::clone(&clock));
        let bound = Server::bind(&listen, settings, Arc::clone(&authority), keeper, time).await;
        Self { server: bound.unwrap(), desk, clock, authority }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.server.local()[0]
    }

    pub(crate) fn counters(&self) -> Arc<Counters> {
        self.server.counters()
    }

    /// A token for a gateway, good for a day.
    pub(crate) fn token(&self, gateway: i64) -> Token {
        let token = Token::generate(self.authority.pin(), &mut SystemEntropy::new());
        let entry = (GatewayId(gateway), UnixTime(self.clock.unix().0 + DAY), false);
        self.desk.0.lock().unwrap().tokens.insert(token.hash().0, entry);
        token
    }

    pub(crate) fn refuse(&self, gateway: i64, refusal: Refusal) {
        self.desk.0.lock().unwrap().refused.insert(GatewayId(gateway), refusal);
    }

    /// Waits until no connection is open.
    pub(crate) async fn idle(&self) {
        let counters = self.counters();
        while counters.connections.load(Ordering::Relaxed) > 0 {
            tokio::task::yield_now().await;
        }
    }

    /// A gateway that is enrolled here.
    pub(crate) async fn enrolled(&self, gateway: i64) -> Gateway {
        let new = Gateway::new(self);
        new.client.enrol(&self.token(gateway)).await.unwrap();
        new
    }
}

/// A gateway's directory and its client.
pub(crate) struct Gateway {
    pub(crate) client: Client,
    pub(crate) directory: PathBuf,
    pub(crate) clock: Arc<WallClock>,
    _temporary: TempDir,
}

impl Gateway {
    /// The same gateway, told another address of its core.
    pub(crate) fn client_of(&self, core: &Core) -> Client {
        let address = vec![core.address().to_string()];
        let time = Arc::clone(&self.clock);
        Client::new(address, self.directory.clone(), ClientSettings::default(), time)
    }

    pub(crate) fn new(core: &Core) -> Self {
        Self::at(&[core.address()], ClientSettings::default(), Arc::clone(&core.clock))
    }

    pub(crate) fn at(core: &[SocketAddr], settings: ClientSettings, clock: Arc<WallClock>) -> Self {
        let temporary = TempDir::new().unwrap();
        let directory = temporary.path().join("gateway");
        let core = core.iter().map(SocketAddr::to_string).collect();
        let time = Arc::clone(&clock);
        let client = Client::new(core, directory.clone(), settings, time);
        Self { client, directory, clock, _temporary: temporary }
    }
}

pub(crate) fn ping(number: u64) -> pb::ToGateway {
    pb::ToGateway { body: Some(pb::to_gateway::Body::Ping(pb::Ping { number })) }
}

/// A message of a kilobyte.
pub(crate) fn long() -> pb::ToGateway {
    let denied = pb::Denied { message: "x".repeat(1024), ..pb::Denied::default() };
    pb::ToGateway { body: Some(pb::to_gateway::Body::Denied(denied)) }
}

pub(crate) fn pong(number: u64) -> pb::FromGateway {
    pb::FromGateway { body: Some(pb::from_gateway::Body::Pong(pb::Pong { number })) }
}

pub(crate) fn goodbye(reason: pb::GoodbyeReason) -> pb::ToGateway {
    let goodbye = pb::Goodbye { reason: reason.into(), message: "so long".to_owned() };
    pb::ToGateway { body: Some(pb::to_gateway::Body::Goodbye(goodbye)) }
}

/// The handle of the next channel that is opened.
pub(crate) async fn opened(server: &mut Server) -> (homeward_channel::Handle, GatewayId) {
    loop {
        if let Event::Opened { handle, gateway, .. } = server.event().await {
            return (handle, gateway);
        }
    }
}

/// Why the next channel that ends did.
pub(crate) async fn closed(server: &mut Server) -> homeward_channel::Closed {
    loop {
        if let Event::Closed { why, .. } = server.event().await {
            return why;
        }
    }
}

/// What hangs fails instead.
pub(crate) async fn soon<F: Future>(work: F) -> F::Output {
    tokio::time::timeout(Duration::from_secs(20), work).await.expect("it takes too long")
}
