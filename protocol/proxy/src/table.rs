//! Which realm is whose: servers, pools of them, and the routes that lead there.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use homeward_radius::dictionary::standard::USER_NAME;
use homeward_radius::{Code, Packet, SharedSecret};

use crate::nai::{self, canonical};
use crate::{Filter, NameError, Reason};

/// A home server's place in its [`Table`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServerId(pub(crate) usize);

impl ServerId {
    /// The place, counted from 0: servers are numbered as they are added.
    pub const fn index(self) -> usize {
        self.0
    }

    /// The server at that place.
    pub const fn at(index: usize) -> Self {
        Self(index)
    }
}

/// A pool's place in its [`Table`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PoolId(usize);

impl PoolId {
    pub(crate) const fn number(self) -> u64 {
        self.0 as u64
    }
}

/// How a home server is spoken to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    /// UDP, from so many sockets, each with 255 identifiers for requests and one for
    /// Status-Server.
    Datagram {
        /// How many; at least 1.
        sockets: u16,
    },
    /// TLS (RFC 6614), over up to so many connections, each with as many identifiers as a
    /// socket. None is up until [`Proxy::lane_up`](crate::Proxy::lane_up) says so; nothing is
    /// sent twice over the same one (RFC 6613 2.6.1).
    Stream {
        /// How many; at least 1.
        connections: u16,
    },
}

impl Transport {
    /// Sockets or connections.
    pub(crate) fn lanes(self) -> u16 {
        match self {
            Self::Datagram { sockets } => sockets.max(1),
            Self::Stream { connections } => connections.max(1),
        }
    }

    pub(crate) const fn is_stream(self) -> bool {
        matches!(self, Self::Stream { .. })
    }
}

/// How it is found out that a server answers again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Check {
    /// By Status-Server (RFC 5997).
    StatusServer,
    /// Not at all: it counts as alive again after so long.
    Never {
        /// How long.
        revive_after: Duration,
    },
}

/// How a server's life is watched.
///
/// A server is *alive* until a request goes unanswered for the response window. It then is a
/// *zombie*: others are asked first, and it is asked by Status-Server whether it lives. An answer
/// makes it alive again. Without one for the zombie period it is *dead*, and asked nothing but
/// Status-Server until it has answered that often enough.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Watch {
    /// How long an answer may take before the server is doubted and another one asked. 3 s
    /// unless set.
    pub response_window: Duration,
    /// How long a doubted server has to answer anything. 15 s unless set.
    pub zombie_period: Duration,
    /// How it is asked. [`Check::StatusServer`] unless set.
    pub check: Check,
    /// From one Status-Server to the next, give or take a tenth. 6 s unless set: RFC 3539 3.4.1
    /// wants no less.
    pub check_interval: Duration,
    /// How many Status-Servers in a row a dead server has to answer. 3 unless set.
    pub answers_to_alive: u32,
    /// A server that is alive and was not heard for so long is asked by Status-Server. `None`:
    /// it is not. For streams, which die unnoticed (RFC 6613 2.6.3).
    pub watchdog: Option<Duration>,
}

impl Default for Watch {
    fn default() -> Self {
        Self {
            response_window: Duration::from_secs(3),
            zombie_period: Duration::from_secs(15),
            check: Check::StatusServer,
            check_interval: Duration::from_secs(6),
            answers_to_alive: 3,
            watchdog: None,
        }
    }
}

/// A home server, or another proxy on the way to one.
#[derive(Debug, Clone)]
pub struct HomeServer {
    /// What logs and metrics call it; no two servers share it.
    pub name: String,
    /// The secret shared with it; RadSec's is `radsec` (RFC 6614 2.3).
    pub secret: SharedSecret,
    /// How it is spoken to.
    pub transport: Transport,
    /// Whether its answers must have a Message-Authenticator, which is the defence against forged
    /// ones (CVE-2024-3596). Yes unless set, but over streams, where TLS is that defence.
    pub require_message_authenticator: bool,
    /// The most requests outstanding there; identifiers bound it too. 1,024 unless set.
    pub outstanding: usize,
    /// How its life is watched.
    pub watch: Watch,
}

impl HomeServer {
    /// A server over UDP, from 4 sockets.
    pub fn datagram(name: &str, secret: SharedSecret) -> Self {
        Self {
            name: name.to_owned(),
            secret,
            transport: Transport::Datagram { sockets: 4 },
            require_message_authenticator: true,
            outstanding: 1024,
            watch: Watch::default(),
        }
    }

    /// A server over TLS, by up to 4 connections.
    pub fn stream(name: &str, secret: SharedSecret) -> Self {
        Self {
            transport: Transport::Stream { connections: 4 },
            require_message_authenticator: false,
            watch: Watch { watchdog: Some(Duration::from_secs(30)), ..Watch::default() },
            ..Self::datagram(name, secret)
        }
    }
}

/// Which server of a pool is asked first, among those that live.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Balance {
    /// The first in the pool's order.
    #[default]
    FailOver,
    /// One that follows from Calling-Station-Id and User-Name (rendezvous hashing): who comes
    /// again comes to the same, and if a server is lost, only those who were with it move.
    Identity,
}

/// What a NAS hears if nobody answers an Access-Request. Accounting is met with silence always:
/// then the NAS keeps the record (RFC 2866 2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Unanswered {
    /// An Access-Reject, so that it goes on at once.
    #[default]
    Reject,
    /// Nothing, so that it asks another server of its own.
    Silence,
}

/// Servers that know the same users.
#[derive(Debug, Clone)]
pub struct Pool {
    /// What logs and metrics call it.
    pub name: String,
    /// Its servers, in order of preference.
    pub servers: Vec<ServerId>,
    /// Which is asked first.
    pub balance: Balance,
    /// What the NAS hears if none answers.
    pub unanswered: Unanswered,
}

impl Pool {
    /// A pool that is asked in order, and rejects if none answers.
    pub fn new(name: &str, servers: impl IntoIterator<Item = ServerId>) -> Self {
        Self {
            name: name.to_owned(),
            servers: servers.into_iter().collect(),
            balance: Balance::default(),
            unanswered: Unanswered::default(),
        }
    }
}

/// Where the accounting of a realm goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Accounting {
    /// To the pool that is asked for access. Over UDP that is another port: another pool.
    #[default]
    SamePool,
    /// To another pool of the partner.
    Pool(PoolId),
    /// Nowhere: it is answered here.
    Local,
}

/// The way to a partner.
#[derive(Debug, Clone, PartialEq)]
pub struct Route {
    /// Who is asked for access.
    pub access: PoolId,
    /// Who is told of usage.
    pub accounting: Accounting,
    /// What the partner may learn. [`Filter::to_partner`] unless set.
    pub requests: Filter,
    /// What the partner may set. [`Filter::from_partner`] unless set.
    pub answers: Filter,
}

impl Route {
    /// A route to a pool, with the filters of a partner.
    pub fn to(pool: PoolId) -> Self {
        Self {
            access: pool,
            accounting: Accounting::default(),
            requests: Filter::to_partner(),
            answers: Filter::from_partner(),
        }
    }

    /// The pool for such a request; `None` if it is answered here.
    pub(crate) fn pool(&self, code: Code) -> Option<PoolId> {
        match (code, self.accounting) {
            (Code::AccountingRequest, Accounting::Local) => None,
            (Code::AccountingRequest, Accounting::Pool(pool)) => Some(pool),
            _ => Some(self.access),
        }
    }
}

/// What becomes of the requests of a realm.
#[derive(Debug, Clone)]
pub enum Target {
    /// They are answered here.
    Local,
    /// Access is refused, accounting not answered.
    Refuse,
    /// They are forwarded.
    Forward(Arc<Route>),
}

impl From<Route> for Target {
    fn from(route: Route) -> Self {
        Self::Forward(Arc::new(route))
    }
}

/// Which realms a route is for. As text: `example.org`, `*.example.org`, `DEFAULT`, `NULL`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Pattern {
    /// That one.
    Realm(String),
    /// Those that end in a dot and this; the longest such pattern counts.
    Under(String),
    /// Those that no other pattern is for.
    Default,
    /// Names without a realm.
    NoRealm,
}

impl FromStr for Pattern {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        Ok(match text {
            "DEFAULT" => Self::Default,
            "NULL" => Self::NoRealm,
            _ => match text.strip_prefix("*.") {
                Some(suffix) => Self::Under(canonical(suffix)?.into_owned()),
                None => Self::Realm(canonical(text)?.into_owned()),
            },
        })
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Realm(realm) => f.write_str(realm),
            Self::Under(suffix) => write!(f, "*.{suffix}"),
            Self::Default => f.write_str("DEFAULT"),
            Self::NoRealm => f.write_str("NULL"),
        }
    }
}

/// What cannot be put into a [`Table`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TableError {
    /// A pool of no servers.
    #[error("pool {0:?} has no servers: name one at least")]
    EmptyPool(String),
    /// A server that is not in the table.
    #[error("pool {0:?} names a server that is not in the table")]
    NoSuchServer(String),
    /// A pool that is not in the table.
    #[error("the route for {0} names a pool that is not in the table")]
    NoSuchPool(Pattern),
    /// A second route for the same realms.
    #[error("there are two routes for {0}: leave one out")]
    Twice(Pattern),
}

/// Which realm is whose. Names without a realm are local unless a route says otherwise, realms
/// without a route are refused.
#[derive(Debug, Clone, Default)]
pub struct Table {
    pub(crate) servers: Vec<HomeServer>,
    pub(crate) pools: Vec<Pool>,
    routes: BTreeMap<Pattern, Target>,
    /// Those of the routes, without the pattern around them: for looking up without allocating.
    exact: BTreeMap<String, Target>,
    under: BTreeMap<String, Target>,
}

impl Table {
    /// A table in which everything with a realm is refused.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a server.
    pub fn server(&mut self, server: HomeServer) -> ServerId {
        self.servers.push(server);
        ServerId(self.servers.len() - 1)
    }

    /// Adds a pool.
    ///
    /// # Errors
    /// If it has no servers, or one that is not in the table.
    pub fn pool(&mut self, pool: Pool) -> Result<PoolId, TableError> {
        if pool.servers.is_empty() {
            return Err(TableError::EmptyPool(pool.name));
        }
        if pool.servers.iter().any(|server| server.0 >= self.servers.len()) {
            return Err(TableError::NoSuchServer(pool.name));
        }
        self.pools.push(pool);
        Ok(PoolId(self.pools.len() - 1))
    }

    /// Adds a route.
    ///
    /// # Errors
    /// If there is one for the same realms, or it names a pool that is not in the table.
    pub fn route(&mut self, pattern: Pattern, target: Target) -> Result<(), TableError> {
        if let Target::Forward(route) = &target {
            let pools = [Code::AccessRequest, Code::AccountingRequest].map(|code| route.pool(code));
            if pools.into_iter().flatten().any(|pool| pool.0 >= self.pools.len()) {
                return Err(TableError::NoSuchPool(pattern));
            }
        }
        if self.routes.contains_key(&pattern) {
            return Err(TableError::Twice(pattern));
        }
        match &pattern {
            Pattern::Realm(realm) => self.exact.insert(realm.clone(), target.clone()),
            Pattern::Under(suffix) => self.under.insert(suffix.clone(), target.clone()),
            Pattern::Default | Pattern::NoRealm => None,
        };
        self.routes.insert(pattern, target);
        Ok(())
    }

    /// The servers, each at the place that its [`ServerId`] says.
    pub fn servers(&self) -> &[HomeServer] {
        &self.servers
    }

    /// A pool.
    pub fn get(&self, pool: PoolId) -> Option<&Pool> {
        self.pools.get(pool.0)
    }

    /// What becomes of requests of that realm, in the form that [`crate::nai::realm`] gives;
    /// `None` if there is no route.
    pub fn look_up(&self, realm: Option<&str>) -> Option<&Target> {
        let Some(realm) = realm else {
            return Some(self.routes.get(&Pattern::NoRealm).unwrap_or(&Target::Local));
        };
        if let Some(target) = self.exact.get(realm) {
            return Some(target);
        }
        let mut rest = realm;
        while let Some((_, suffix)) = rest.split_once('.') {
            if let Some(target) = self.under.get(suffix) {
                return Some(target);
            }
            rest = suffix;
        }
        self.routes.get(&Pattern::Default)
    }

    /// Whether a request is answered here, so that it need not be given to a
    /// [`Proxy`](crate::Proxy): what that would say is [`Routed::Local`](crate::Routed::Local).
    /// `decorated` as in its [`Settings`](crate::Settings::decorated).
    pub fn is_local(&self, packet: &Packet<'_>, decorated: bool) -> bool {
        let routed = matches!(packet.code(), Code::AccessRequest | Code::AccountingRequest);
        !routed || matches!(self.way(packet, decorated), Ok(Way::Local))
    }

    /// Where a request goes.
    pub(crate) fn way(&self, packet: &Packet<'_>, decorated: bool) -> Result<Way, Reason> {
        let mut name = Cow::Borrowed(packet.find(USER_NAME).unwrap_or_default());
        let mut user_name = None;
        // Each turn takes a realm off the name, which is not long.
        let (route, realm) = loop {
            let realm = nai::realm(&name).map_err(Reason::Malformed)?.map(Cow::into_owned);
            let next = if decorated { nai::undecorated(&name) } else { None };
            match (self.look_up(realm.as_deref()), next) {
                (None, _) => return Err(Reason::Unroutable),
                (Some(Target::Refuse), _) => return Err(Reason::Refused),
                (Some(Target::Local), Some(next)) => {
                    name = Cow::Owned(next.clone().into_bytes());
                    user_name = Some(next);
                }
                (Some(Target::Local), None) => return Ok(Way::Local),
                (Some(Target::Forward(route)), _) => break (Arc::clone(route), realm),
            }
        };
        let Some(pool) = route.pool(packet.code()) else { return Ok(Way::Local) };
        Ok(Way::Onward { route, pool, realm, user_name })
    }
}

/// Where a request goes.
pub(crate) enum Way {
    Local,
    Onward { route: Arc<Route>, pool: PoolId, realm: Option<String>, user_name: Option<String> },
}

#[cfg(test)]
mod tests {
    use homeward_model::Secret;

    use super::*;

    fn table() -> (Table, Vec<PoolId>) {
        let mut table = Table::new();
        let secret = SharedSecret::new(&Secret::new("xyzzy5461")).unwrap();
        let pools = (0..4)
            .map(|n| {
                let server = table.server(HomeServer::datagram(&format!("s{n}"), secret.clone()));
                table.pool(Pool::new(&format!("p{n}"), [server])).unwrap()
            })
            .collect();
        (table, pools)
    }

    fn add(table: &mut Table, pattern: &str, target: impl Into<Target>) -> Result<(), TableError> {
        table.route(pattern.parse().unwrap(), target.into())
    }

    fn pool(table: &Table, realm: &str) -> Option<PoolId> {
        match table.look_up(Some(realm))? {
            Target::Forward(route) => route.pool(Code::AccessRequest),
            _ => None,
        }
    }

    #[test]
    fn an_exact_realm_comes_first_then_the_longest_suffix_then_the_default() {
        let (mut table, p) = table();
        add(&mut table, "*.org", Route::to(p[0])).unwrap();
        add(&mut table, "*.Example.org", Route::to(p[1])).unwrap();
        add(&mut table, "a.example.org", Route::to(p[2])).unwrap();
        assert_eq!(pool(&table, "a.example.org"), Some(p[2]));
        assert_eq!(pool(&table, "b.example.org"), Some(p[1]));
        assert_eq!(pool(&table, "c.b.example.org"), Some(p[1]));
        assert_eq!(pool(&table, "c.a.example.org"), Some(p[1]));
        assert_eq!(pool(&table, "example.org"), Some(p[0]), "a suffix is not under itself");
        assert_eq!(pool(&table, "badexample.org"), Some(p[0]), "labels match whole");
        assert!(table.look_up(Some("example.net")).is_none());
        add(&mut table, "DEFAULT", Route::to(p[3])).unwrap();
        assert_eq!(pool(&table, "example.net"), Some(p[3]));
        assert_eq!(pool(&table, "a.example.org"), Some(p[2]));
    }

    #[test]
    fn names_without_a_realm_are_local_unless_there_is_a_route_for_them() {
        let (mut table, p) = table();
        add(&mut table, "DEFAULT", Route::to(p[3])).unwrap();
        assert!(matches!(table.look_up(None), Some(Target::Local)));
        add(&mut table, "NULL", Target::Refuse).unwrap();
        assert!(matches!(table.look_up(None), Some(Target::Refuse)));
    }

    #[test]
    fn accounting_goes_to_the_same_partner_unless_it_has_a_pool_of_its_own() {
        let (_, p) = table();
        let same = Route::to(p[0]);
        let other = Route { accounting: Accounting::Pool(p[1]), ..Route::to(p[0]) };
        let here = Route { accounting: Accounting::Local, ..Route::to(p[0]) };
        let pools = [same, other, here].map(|route| route.pool(Code::AccountingRequest));
        assert_eq!(pools, [Some(p[0]), Some(p[1]), None]);
    }

    #[test]
    fn a_table_that_cannot_be_meant_is_refused() {
        let (mut table, p) = table();
        add(&mut table, "example.org", Target::Local).unwrap();
        let twice = add(&mut table, "EXAMPLE.org", Target::Refuse).unwrap_err();
        assert_eq!(twice, TableError::Twice(Pattern::Realm("example.org".to_owned())));
        let empty = table.pool(Pool::new("none", [])).unwrap_err();
        assert_eq!(empty, TableError::EmptyPool("none".to_owned()));
        let stranger = table.pool(Pool::new("odd", [ServerId::at(9)])).unwrap_err();
        assert_eq!(stranger, TableError::NoSuchServer("odd".to_owned()));
        let (mut empty, _) = (Table::new(), ());
        let nowhere = add(&mut empty, "example.org", Route::to(p[0])).unwrap_err();
        assert!(matches!(nowhere, TableError::NoSuchPool(_)));
    }

    #[test]
    fn a_pattern_reads_as_it_is_written() {
        for text in ["example.org", "*.example.org", "DEFAULT", "NULL", "xn--bcher-kva.example"] {
            assert_eq!(text.parse::<Pattern>().unwrap().to_string(), text);
        }
        assert_eq!("bücher.example".parse::<Pattern>(), "xn--bcher-kva.example".parse());
        for text in ["", "*.", "*", "a b", "*.*.org", "default "] {
            assert!(text.parse::<Pattern>().is_err(), "{text:?}");
        }
    }
}
