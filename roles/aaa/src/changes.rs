//! Sessions that are to be told in mid-course that they are allowed something else: their class of
//! service was changed, their account has another one, or the log-in is good until another time.
//!
//! Sessions at gateways of ours are not told: such a gateway asks anew within its refresh time,
//! and goes on with what it is answered, so that nobody is thrown out for a change.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};

use homeward_daemon::SystemClock;
use homeward_ledger::User;
use homeward_model::{
    AccountId, Bandwidth, ClassId, Clock, Login, LoginId, LookupForm, Seconds, ServiceTerms,
    UnixTime,
};
use homeward_radius::Allowed;
use serde::Deserialize;
use tokio::sync::mpsc::UnboundedSender;

use crate::admission::stay;
use crate::decision::Known;
use crate::grants::{Grants, Revocation};
use crate::projection::Projection;
use crate::server::Shared;

/// Grants that are looked at in one go: a look-up waits for no more of them.
const SLICE: usize = 512;

/// What is told where there is no limit any more: what is not named stays as it was (RFC 5176
/// 2.3). The largest rate, 68 years, and 281 TB.
const ANY_RATE: u32 = u32::MAX;
const FOR_EVER: Seconds = Seconds(i32::MAX.unsigned_abs());
const ANY_AMOUNT: u64 = 1 << 48;

/// What becomes of a session whose NAS does not take a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Refused {
    /// It is ended if it was to be allowed less, or to be in another VLAN.
    #[default]
    EndIfLess,
    /// It is ended.
    End,
    /// It goes on as it was.
    Keep,
}

/// What the records said before they changed, where that has to do with what sessions are allowed.
#[derive(Debug, Default)]
pub struct Before {
    classes: HashMap<ClassId, ServiceTerms>,
    accounts: HashMap<AccountId, ClassId>,
    logins: HashMap<LoginId, Option<UnixTime>>,
    /// All of them, where they were loaded anew.
    whole: Option<Box<Projection>>,
}

impl Before {
    /// All records as they were.
    pub fn whole(records: Projection) -> Self {
        Self { whole: Some(Box::new(records)), ..Self::default() }
    }

    /// Notes what is said of a class now.
    pub fn class(&mut self, records: &Projection, id: ClassId) {
        self.classes.extend(records.class(id).map(|class| (id, class.terms)));
    }

    /// The same of an account.
    pub fn account(&mut self, records: &Projection, id: AccountId) {
        self.accounts.extend(records.account(id).map(|account| (id, account.class)));
    }

    /// The same of a log-in.
    pub fn login(&mut self, records: &Projection, id: LoginId) {
        self.logins.extend(records.login_by(id).map(|login| (id, login.expires)));
    }

    /// Forgets what is said still.
    pub fn changed(&mut self, now: &Projection) {
        self.classes.retain(|id, terms| now.class(*id).is_none_or(|c| c.terms != *terms));
        self.accounts.retain(|id, class| now.account(*id).is_some_and(|a| a.class != *class));
        self.logins.retain(|id, expires| now.login_by(*id).is_some_and(|l| l.expires != *expires));
    }

    /// Whether nothing changed that sessions are to be told.
    fn is_nothing(&self) -> bool {
        let noted = self.classes.is_empty() && self.accounts.is_empty() && self.logins.is_empty();
        noted && self.whole.is_none()
    }

    /// What an account's class of service was.
    fn terms(&self, now: &Projection, account: AccountId) -> Option<ServiceTerms> {
        if let Some(whole) = &self.whole {
            return terms(whole, account);
        }
        let class = self.accounts.get(&account).copied();
        let class = class.or_else(|| now.account(account).map(|account| account.class))?;
        let before = self.classes.get(&class).copied();
        before.or_else(|| now.class(class).map(|class| class.terms))
    }

    /// Until when a log-in was good.
    fn expires(&self, login: &Login) -> Option<UnixTime> {
        let whole = self.whole.as_ref().and_then(|whole| whole.login_by(login.id));
        let before =
            whole.map(|login| login.expires).or_else(|| self.logins.get(&login.id).copied());
        before.unwrap_or(login.expires)
    }
}

fn terms(records: &Projection, account: AccountId) -> Option<ServiceTerms> {
    records.class(records.account(account)?.class).map(|class| class.terms)
}

/// What a session was or is limited to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Limits {
    terms: ServiceTerms,
    expires: Option<UnixTime>,
}

impl Limits {
    /// As far as an answer to a look-up in hostapd's form has them.
    fn times(terms: &ServiceTerms) -> Self {
        let ServiceTerms { session_timeout, idle_timeout, .. } = *terms;
        let terms = ServiceTerms { session_timeout, idle_timeout, ..ServiceTerms::default() };
        Self { terms, expires: None }
    }
}

/// What is to be told of a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct News {
    /// What is to be another; the rest is `None`.
    allowed: Allowed,
    /// Whether it is less than before, or elsewhere.
    less: bool,
    /// Whether there is something that cannot be told: to be in no particular VLAN any more.
    untold: bool,
}

/// What is to be told; `None` if that is nothing. `at_most` is how long the log-in is good, `left`
/// what is left of a quota.
fn news(
    old: &Limits,
    new: &Limits,
    at_most: Option<Seconds>,
    left: impl Fn(&ServiceTerms) -> Option<u64>,
) -> Option<News> {
    let (was, is) = (&old.terms, &new.terms);
    let lasts = |limits: &Limits| (limits.terms.session_timeout, limits.expires);
    let session = [is.session_timeout, at_most].into_iter().flatten().min();
    let allowed = Allowed {
        terms: ServiceTerms {
            bandwidth: Bandwidth {
                up: another(was.bandwidth.up, is.bandwidth.up, ANY_RATE),
                down: another(was.bandwidth.down, is.bandwidth.down, ANY_RATE),
            },
            session_timeout: (lasts(old) != lasts(new)).then(|| session.unwrap_or(FOR_EVER)),
            idle_timeout: is.idle_timeout.filter(|_| was.idle_timeout != is.idle_timeout),
            vlan: is.vlan.filter(|_| was.vlan != is.vlan),
            ..ServiceTerms::default()
        },
        at_most: None,
        // A NAS counts from the beginning of the session, of which nobody here knows how much was
        // used before. All of the quota is never too little, and who has used it up is put out.
        quota_left: (was.quota != is.quota)
            .then(|| is.quota.map_or(ANY_AMOUNT, |quota| quota.octets)),
    };
    let less = is_less(was.bandwidth.up, is.bandwidth.up)
        || is_less(was.bandwidth.down, is.bandwidth.down)
        || is_less(was.session_timeout, is.session_timeout)
        || is_less(was.idle_timeout, is.idle_timeout)
        || is_less(old.expires, new.expires)
        || is_less(left(was), left(is))
        || was.vlan != is.vlan;
    let untold = was.vlan.is_some() && is.vlan.is_none();
    (untold || allowed != Allowed::default()).then_some(News { allowed, less, untold })
}

/// A limit that is another now; `any` where there is none any more.
fn another(was: Option<u32>, is: Option<u32>, any: u32) -> Option<u32> {
    (was != is).then(|| is.unwrap_or(any))
}

fn is_less<T: Ord>(was: Option<T>, is: Option<T>) -> bool {
    match (was, is) {
        (_, None) => false,
        (None, Some(_)) => true,
        (Some(was), Some(is)) => is < was,
    }
}

/// A session that is to be told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// Which one.
    pub session: Revocation,
    /// What is to be another; the rest is `None`.
    pub allowed: Allowed,
    /// Whether it is to end if its NAS does not take that.
    pub or_end: bool,
}

impl Change {
    /// The two of a session in one, of which `self` came first.
    pub(crate) fn and(self, later: Self) -> Self {
        let (a, b) = (self.allowed, later.allowed);
        let (was, is) = (&a.terms, &b.terms);
        let terms = ServiceTerms {
            bandwidth: Bandwidth {
                up: is.bandwidth.up.or(was.bandwidth.up),
                down: is.bandwidth.down.or(was.bandwidth.down),
            },
            session_timeout: is.session_timeout.or(was.session_timeout),
            idle_timeout: is.idle_timeout.or(was.idle_timeout),
            vlan: is.vlan.or(was.vlan),
            ..ServiceTerms::default()
        };
        let quota_left = b.quota_left.or(a.quota_left);
        let allowed = Allowed { terms, at_most: None, quota_left };
        Self { session: later.session, allowed, or_end: self.or_end || later.or_end }
    }
}

/// What is to be done about a session.
#[derive(Debug)]
pub enum Order {
    /// Tell its NAS what it is allowed.
    Change(Box<Change>),
    /// End it: what is to be another cannot be told.
    End(Revocation),
}

/// Tells sessions what they are allowed, after the records have changed.
#[derive(Clone)]
pub(crate) struct Retell {
    pub(crate) shared: Shared,
    pub(crate) grants: Vec<Arc<Mutex<Grants>>>,
    pub(crate) refused: Refused,
    pub(crate) orders: UnboundedSender<Order>,
}

impl Retell {
    /// Looks at all sessions, by what their records said `before`.
    pub(crate) fn all(&self, records: &Projection, before: &Before) {
        if before.is_nothing() {
            return;
        }
        let known = Known { records, usage: &self.shared.usage, now: SystemClock.unix() };
        // One session may be in the memory of several workers.
        let mut seen = HashSet::new();
        let mut told = 0usize;
        for given in &self.grants {
            let mut from = Some(0);
            while let Some(at) = from {
                let grants = given.lock().unwrap_or_else(PoisonError::into_inner);
                let (sessions, next) =
                    grants.those(at, SLICE, |user| concerns(&known, before, user));
                drop(grants);
                for (user, session) in sessions {
                    if let Some(order) = order(&known, before, user, &session, self.refused)
                        && seen.insert(session)
                    {
                        told += 1;
                        // The revoker has ended only if the core is ending.
                        let _ = self.orders.send(order);
                    }
                }
                from = next;
            }
        }
        if told > 0 {
            tracing::info!(sessions = told, "classes of service have changed: NASes are told");
        }
    }
}

/// Whether what a user is allowed may have changed.
fn concerns(known: &Known<'_>, before: &Before, user: User) -> bool {
    let limits = limits_of(known, before, user);
    limits.is_some_and(|(old, new)| old != new)
}

/// What a user was and is limited to.
fn limits_of(known: &Known<'_>, before: &Before, user: User) -> Option<(Limits, Limits)> {
    let p = known.records;
    match user {
        User::Login(id) => {
            let login = p.login_by(id)?;
            let old = before.terms(p, login.account)?;
            let old = Limits { terms: old, expires: before.expires(login) };
            let new = Limits { terms: terms(p, login.account)?, expires: login.expires };
            Some((old, new))
        }
        User::Device(id) => {
            let account = p.network(p.device(id)?.network)?.account;
            let old = before.terms(p, account)?;
            Some((Limits::times(&old), Limits::times(&terms(p, account)?)))
        }
    }
}

/// What is to be done about a session.
fn order(
    known: &Known<'_>,
    before: &Before,
    user: User,
    session: &Revocation,
    refused: Refused,
) -> Option<Order> {
    let p = known.records;
    let gateway = p.gateway(session.gateway)?;
    let (old, new) = limits_of(known, before, user)?;
    let at_most = match user {
        User::Login(id) => {
            // Who would not be let in any more is put out anyway.
            let admission = stay(known, gateway, p.login_by(id)?, session.station).ok()?;
            admission.allowed.at_most
        }
        User::Device(_) if gateway.lookup == LookupForm::Hostapd => None,
        // It asks anew by itself.
        User::Device(_) => return None,
    };
    let left = |terms: &ServiceTerms| {
        terms.quota.map(|quota| known.usage.standing(user, &quota, known.now).left)
    };
    let News { allowed, less, untold } = news(&old, &new, at_most, left)?;
    let or_end = match refused {
        Refused::EndIfLess => less,
        Refused::End => true,
        Refused::Keep => false,
    };
    let session = session.clone();
    if untold && or_end {
        return Some(Order::End(session));
    }
    (allowed != Allowed::default())
        .then(|| Order::Change(Box::new(Change { session, allowed, or_end })))
}

#[cfg(test)]
mod tests;
