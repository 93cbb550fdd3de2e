//! The machine: reports in, bearers out.

mod apply;
mod index;
mod session;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use homeward_model::{Apn, Instant, Msisdn, Name, UnixTime};
use ipnet::IpNet;
use slab::Slab;

use crate::Settings;
use crate::report::{When, canonical};
use index::Index;
pub use session::Bearer;
use session::{Cause, Session, State};

/// What became of bearers, in the order in which it is to be kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// This is there, in place of what had the same gateway, access point name and address.
    Put(Bearer),
    /// This is gone.
    Removed(Bearer),
    /// All of that gateway are gone.
    Cleared {
        /// Which.
        gateway: Name,
    },
}

/// What a report was to the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum News {
    /// A session is there that was not.
    Began,
    /// A session goes on.
    Goes,
    /// A session has ended.
    Ended,
    /// The gateway has restarted.
    Restarted,
    /// It was made before something that is known already, and changes nothing.
    Late,
    /// A session ended that was not known, or that had ended.
    Unknown,
    /// A session without an address.
    NoAddress,
    /// A session of nobody: there is no IMSI.
    NoImsi,
    /// There is no room for more bearers.
    Full,
}

impl News {
    /// The word for metrics.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Began => "began",
            Self::Goes => "goes-on",
            Self::Ended => "ended",
            Self::Restarted => "restarted",
            Self::Late => "late",
            Self::Unknown => "unknown",
            Self::NoAddress => "no-address",
            Self::NoImsi => "no-imsi",
            Self::Full => "full",
        }
    }
}

/// What a report did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Applied {
    /// What it was.
    pub news: News,
    /// What it changed.
    pub changes: Vec<Change>,
}

/// Whose an address is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Whose<'t> {
    /// Nobody's.
    Nobody,
    /// This one's.
    One(&'t Bearer),
    /// Of different subscribers, by different gateways or access point names.
    Several,
}

/// A packet gateway.
#[derive(Debug)]
struct Gateway {
    name: Name,
    sessions: BTreeMap<String, usize>,
    /// What was made before that is not believed of a session that is not known: it may have ended
    /// and been forgotten. By the gateway's clock, and by ours.
    floors: (UnixTime, UnixTime),
}

impl Gateway {
    fn raise(&mut self, when: When) {
        let floor = if when.dated { &mut self.floors.0 } else { &mut self.floors.1 };
        *floor = when.at.max(*floor);
    }

    fn is_below(&self, when: When) -> bool {
        when.at < if when.dated { self.floors.0 } else { self.floors.1 }
    }
}

/// The machine.
#[derive(Debug)]
pub struct Table {
    settings: Settings,
    gateways: Vec<Gateway>,
    names: BTreeMap<Name, usize>,
    sessions: Slab<Session>,
    index: Index,
    live: usize,
    /// When which live session is silent for too long.
    silent: BTreeSet<(Instant, usize)>,
    /// Until when which ended session is remembered.
    ended: BTreeSet<(Instant, usize)>,
}

impl Table {
    /// An empty table.
    pub fn new(settings: Settings) -> Self {
        Self {
            settings,
            gateways: Vec::new(),
            names: BTreeMap::new(),
            sessions: Slab::new(),
            index: Index::default(),
            live: 0,
            silent: BTreeSet::new(),
            ended: BTreeSet::new(),
        }
    }

    /// How many bearers there are.
    pub const fn len(&self) -> usize {
        self.live
    }

    /// Whether there are none.
    pub const fn is_empty(&self) -> bool {
        self.live == 0
    }

    /// How many sessions that have ended are remembered.
    pub fn remembered(&self) -> usize {
        self.ended.len()
    }

    /// How many bearers a gateway has.
    pub fn len_of(&self, gateway: &Name) -> usize {
        self.bearers_of(gateway).count()
    }

    /// The bearers of a gateway, in the order of its session identifiers.
    pub fn bearers_of<'t>(&'t self, gateway: &Name) -> impl Iterator<Item = &'t Bearer> + use<'t> {
        let gateway = self.names.get(gateway).and_then(|g| self.gateways.get(*g));
        let keys = gateway.into_iter().flat_map(|g| g.sessions.values());
        keys.filter_map(|key| self.sessions.get(*key)).flat_map(|s| &s.bearers)
    }

    /// Whose an address is. Where `apn` is given, it is one by that access point name, and none of
    /// a gateway that does not say by which.
    pub fn whose(&self, address: IpAddr, apn: Option<&Apn>) -> Whose<'_> {
        let holders = self.index.containing(canonical(address)).flat_map(|(net, keys)| {
            keys.iter().filter_map(move |key| self.sessions.get(*key)?.bearer(&net))
        });
        one_of(holders.filter(|b| apn.is_none() || b.apn.as_ref() == apn))
    }

    /// The bearer that has an address, if it is one subscriber's; as [`Self::whose`].
    pub fn bearer_of(&self, address: IpAddr, apn: Option<&Apn>) -> Option<&Bearer> {
        match self.whose(address, apn) {
            Whose::One(bearer) => Some(bearer),
            Whose::Nobody | Whose::Several => None,
        }
    }

    /// The bearer of a telephone number that was heard of last, if all of that number are one
    /// subscriber's.
    pub fn bearer_with_msisdn(&self, msisdn: &Msisdn) -> Option<&Bearer> {
        let keys = self.index.with_number(msisdn).iter();
        let sessions = keys.filter_map(|key| self.sessions.get(*key));
        let bearers =
            sessions.flat_map(|s| &s.bearers).filter(|b| b.msisdn.as_ref() == Some(msisdn));
        match one_of(bearers) {
            Whose::One(bearer) => Some(bearer),
            Whose::Nobody | Whose::Several => None,
        }
    }

    /// Takes back a bearer that was kept, as of before a restart. Nothing is to be kept anew for
    /// it. One that has been silent for too long is given by the next [`Self::handle_timeout`].
    ///
    /// What was remembered of sessions that had ended is lost with a restart.
    pub fn restore(&mut self, bearer: Bearer, today: UnixTime, now: Instant) {
        let gateway = self.gateway(&bearer.gateway);
        let ago = u64::try_from(today.0.saturating_sub(bearer.seen.0)).unwrap_or(0);
        let ago = std::time::Duration::from_millis(ago);
        // What is over already is due now.
        let until = now + self.settings.silence.saturating_sub(ago);
        let known = self.gateways.get(gateway).and_then(|g| g.sessions.get(&bearer.session));
        let held = self.index.overlapping(&bearer.address);
        let taken = held.iter().any(|(net, key)| self.holds_there(*key, net, gateway, &bearer.apn));
        if taken {
            return;
        }
        let key = if let Some(key) = known {
            *key
        } else {
            let key = self.insert(Session {
                gateway,
                id: bearer.session.clone(),
                imsi: Some(bearer.imsi),
                nsapi: None,
                dated: false,
                began: bearer.since,
                last: bearer.seen,
                state: State::Live { until },
                bearers: Vec::new(),
            });
            self.silent.insert((until, key));
            key
        };
        self.hold(key, bearer);
    }

    /// When [`Self::handle_timeout`] has something to do.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let first = |set: &BTreeSet<(Instant, usize)>| set.first().map(|(at, _)| *at);
        [first(&self.silent), first(&self.ended)].into_iter().flatten().min()
    }

    /// Ends what has been silent for too long, at most `most` sessions at once, and forgets what
    /// has been remembered for long enough.
    pub fn handle_timeout(&mut self, now: Instant, most: usize) -> Vec<Change> {
        let mut changes = Vec::new();
        for _ in 0..most {
            let Some((_, key)) = self.silent.first().copied().filter(|(at, _)| *at <= now) else {
                break;
            };
            self.end(key, Cause::Silence, now, &mut changes);
        }
        while let Some((_, key)) = self.ended.first().copied().filter(|(at, _)| *at <= now) {
            self.forget(key);
        }
        changes
    }

    /// Ends whatever a gateway has: nobody believes it any more.
    pub fn forget_gateway(&mut self, name: &Name, now: Instant) -> Vec<Change> {
        let sessions = self.names.get(name).and_then(|g| self.gateways.get(*g));
        let sessions: Vec<usize> =
            sessions.into_iter().flat_map(|g| g.sessions.values().copied()).collect();
        for key in sessions {
            if self.sessions.get(key).is_some_and(Session::is_live) {
                self.end(key, Cause::Restart, now, &mut Vec::new());
            }
        }
        vec![Change::Cleared { gateway: name.clone() }]
    }

    /// The gateway of that name.
    fn gateway(&mut self, name: &Name) -> usize {
        if let Some(gateway) = self.names.get(name) {
            return *gateway;
        }
        let gateway = self.gateways.len();
        let never = UnixTime(i64::MIN);
        let sessions = BTreeMap::new();
        self.gateways.push(Gateway { name: name.clone(), sessions, floors: (never, never) });
        self.names.insert(name.clone(), gateway);
        gateway
    }

    /// Whether that session holds that, by that gateway and access point name.
    fn holds_there(&self, key: usize, net: &IpNet, gateway: usize, apn: &Option<Apn>) -> bool {
        let session = self.sessions.get(key).filter(|s| s.gateway == gateway);
        session.and_then(|s| s.bearer(net)).is_some_and(|b| b.apn == *apn)
    }

    fn insert(&mut self, session: Session) -> usize {
        let (gateway, id) = (session.gateway, session.id.clone());
        let key = self.sessions.insert(session);
        if let Some(gateway) = self.gateways.get_mut(gateway) {
            gateway.sessions.insert(id, key);
        }
        key
    }

    /// Gives a live session a bearer.
    fn hold(&mut self, key: usize, bearer: Bearer) {
        if let Some(session) = self.sessions.get_mut(key) {
            self.index.add(bearer.address, bearer.msisdn, key);
            session.bearers.push(bearer);
            self.live += 1;
        }
    }

    /// Takes a bearer from a session. Where a sibling has it, too, it is still there.
    fn drop_bearer(&mut self, key: usize, net: &IpNet, changes: &mut Vec<Change>) {
        let Some(session) = self.sessions.get_mut(key) else { return };
        let Some(at) = session.bearers.iter().position(|b| b.address == *net) else { return };
        let bearer = session.bearers.swap_remove(at);
        let gateway = session.gateway;
        self.index.remove(*net, bearer.msisdn, key);
        self.live -= 1;
        let others = self.index.at(net).iter().copied();
        let mut others = others.filter(|k| self.holds_there(*k, net, gateway, &bearer.apn));
        let sibling = others.next().and_then(|k| self.sessions.get(k)?.bearer(net));
        changes.push(match sibling {
            Some(sibling) => Change::Put(sibling.clone()),
            None => Change::Removed(bearer),
        });
    }

    /// Ends a live session, and remembers it.
    fn end(&mut self, key: usize, cause: Cause, now: Instant, changes: &mut Vec<Change>) {
        let Some(session) = self.sessions.get(key) else { return };
        let nets: Vec<IpNet> = session.bearers.iter().map(|b| b.address).collect();
        for net in nets {
            self.drop_bearer(key, &net, changes);
        }
        self.set_state(key, State::Ended { cause, until: now + self.settings.remember });
        while self.ended.len() > self.settings.remembered {
            let Some((_, oldest)) = self.ended.first().copied() else { break };
            self.forget(oldest);
        }
    }

    fn set_state(&mut self, key: usize, state: State) {
        let Some(session) = self.sessions.get_mut(key) else { return };
        match session.state {
            State::Live { until } => self.silent.remove(&(until, key)),
            State::Ended { until, .. } => self.ended.remove(&(until, key)),
        };
        session.state = state;
        match state {
            State::Live { until } => self.silent.insert((until, key)),
            State::Ended { until, .. } => self.ended.insert((until, key)),
        };
    }

    /// Takes a session out.
    fn take(&mut self, key: usize) -> Option<Session> {
        let session = self.sessions.try_remove(key)?;
        match session.state {
            State::Live { until } => self.silent.remove(&(until, key)),
            State::Ended { until, .. } => self.ended.remove(&(until, key)),
        };
        if let Some(gateway) = self.gateways.get_mut(session.gateway) {
            gateway.sessions.remove(&session.id);
        }
        Some(session)
    }

    /// Forgets a session that has ended: what is not newer than its end is believed of none.
    fn forget(&mut self, key: usize) {
        let Some(session) = self.take(key) else { return };
        if let Some(gateway) = self.gateways.get_mut(session.gateway) {
            let at = UnixTime(session.last.0.saturating_add(1));
            gateway.raise(When { at, dated: session.dated });
        }
    }
}

/// The one that was heard of last, if all are one subscriber's.
fn one_of<'t>(bearers: impl Iterator<Item = &'t Bearer>) -> Whose<'t> {
    let mut found: Option<&Bearer> = None;
    for bearer in bearers {
        match found {
            Some(other) if other.imsi != bearer.imsi => return Whose::Several,
            Some(other) if other.seen >= bearer.seen => {}
            _ => found = Some(bearer),
        }
    }
    found.map_or(Whose::Nobody, Whose::One)
}
