//! Issued credentials: log-ins that a subscriber's device was given, and for whom they are.
//!
//! A subscriber has one at a time, and a station has one at a time: to issue another ends, that is
//! deletes, the one before. Each of these leaves the outbox entries of the log-ins that it makes
//! and deletes, so that whoever answers log-ons follows within the second.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use async_trait::async_trait;
use homeward_model::{
    AccountId, Imei, Imsi, Login, LoginId, Mac, Status, Subscriber, SubscriberId, UnixTime,
};
use serde::{Deserialize, Serialize};

use crate::change::{NewLogin, Page};
use crate::error::{Entity, Error, Invalid, Result};
use crate::outbox::LoginFacts;

/// By which way a credential was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Way {
    /// The portal, by HTTPS.
    Https,
    /// A short message.
    Sms,
}

impl Way {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Https, Self::Sms];

    /// The word for commands and the database.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Https => "https",
            Self::Sms => "sms",
        }
    }
}

impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A text that names no [`Way`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no way to ask for a credential: give https or sms")]
pub struct WayError(String);

impl FromStr for Way {
    type Err = WayError;

    fn from_str(text: &str) -> Result<Self, WayError> {
        let found = Self::ALL.into_iter().find(|way| way.as_str() == text);
        found.ok_or_else(|| WayError(text.to_owned()))
    }
}

/// A credential to issue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewIssue {
    /// The log-in to create, of the account that pays for the subscriber.
    pub login: NewLogin,
    /// To whom: a subscriber that there is and that is in force.
    pub imsi: Imsi,
    /// With which equipment it asked.
    pub imei: Option<Imei>,
    /// The station that is to use it; no group address.
    pub mac: Mac,
    /// From which address it asked.
    pub address: Option<IpAddr>,
    /// Now.
    pub issued: UnixTime,
    /// From when on it may be replaced by a new one.
    pub renew_from: Option<UnixTime>,
    /// How it was asked for.
    pub way: Way,
}

impl NewIssue {
    pub(crate) fn made(&self, login: Login) -> Issued {
        let Self { login: _, imsi, imei, mac, address, issued, renew_from, way } = self.clone();
        Issued { login, imsi, imei, mac, address, issued, renew_from, way }
    }

    /// Whether it may be issued to the subscriber that has the SIM, if there is one.
    pub(crate) fn suits(&self, found: Option<(SubscriberId, AccountId, Status)>) -> Result<()> {
        let (id, account, status) = found.ok_or(Error::NoSubscriber(self.imsi))?;
        if status == Status::Suspended {
            return Err(Error::Suspended { entity: Entity::Subscriber, id: id.0 });
        }
        if account != self.login.account {
            let given = self.login.account;
            return Err(Invalid::OtherAccount { subscriber: id, account, given }.into());
        }
        Ok(())
    }
}

/// What [`NewIssue::suits`] looks at.
pub(crate) fn standing(subscriber: &Subscriber) -> (SubscriberId, AccountId, Status) {
    (subscriber.id, subscriber.account, subscriber.status)
}

/// A credential that was issued.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Issued {
    /// The log-in.
    pub login: Login,
    /// To whom.
    pub imsi: Imsi,
    /// With which equipment it was asked for.
    pub imei: Option<Imei>,
    /// The station that was to use it.
    pub mac: Mac,
    /// From which address it was asked for.
    pub address: Option<IpAddr>,
    /// When.
    pub issued: UnixTime,
    /// From when on it may be replaced by a new one.
    pub renew_from: Option<UnixTime>,
    /// How it was asked for.
    pub way: Way,
}

/// An [`Issued`] without its verifier, as the audit trail has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct IssuedFacts {
    /// The log-in.
    pub login: LoginFacts,
    /// To whom.
    pub imsi: Imsi,
    /// With which equipment it was asked for.
    pub imei: Option<Imei>,
    /// The station that was to use it.
    pub mac: Mac,
    /// From which address it was asked for.
    pub address: Option<IpAddr>,
    /// When.
    pub issued: UnixTime,
    /// From when on it may be replaced.
    pub renew_from: Option<UnixTime>,
    /// How it was asked for.
    pub way: Way,
}

impl From<&Issued> for IssuedFacts {
    fn from(one: &Issued) -> Self {
        Self {
            login: (&one.login).into(),
            imsi: one.imsi,
            imei: one.imei,
            mac: one.mac,
            address: one.address,
            issued: one.issued,
            renew_from: one.renew_from,
            way: one.way,
        }
    }
}

/// Which issued credentials to list.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct IssuedFilter {
    /// That of this subscriber.
    pub imsi: Option<Imsi>,
    /// That of this station.
    pub mac: Option<Mac>,
    /// Those of this account.
    pub account: Option<AccountId>,
}

/// Issued credentials.
#[async_trait]
pub trait Issuing: Send + Sync {
    /// Issues credentials, all of them in one transaction, each of them or not whatever becomes of
    /// the others: what was issued before to the same subscriber or the same station ends, and the
    /// log-in is created. Refused where there is no such subscriber, where it is suspended, where
    /// another account pays for it, and where a log-in with that name is there.
    ///
    /// # Errors
    ///
    /// If the transaction fails as a whole; then none is issued.
    async fn issue(&self, new: &[NewIssue]) -> Result<Vec<Result<Issued>>>;
    /// What that subscriber has.
    async fn issued_to(&self, imsi: Imsi) -> Result<Option<Issued>>;
    /// What was issued and has not ended, in the order of the log-ins' identifiers.
    async fn issued(&self, filter: &IssuedFilter, page: Page<LoginId>) -> Result<Vec<Issued>>;
    /// Deletes a log-in that was issued. One that was not issued stays, and is `false`.
    async fn withdraw(&self, login: LoginId) -> Result<bool>;
    /// Deletes log-ins that were issued and ran out before `before`, at most `limit` at a time;
    /// returns how many.
    async fn withdraw_expired(&self, before: UnixTime, limit: u32) -> Result<u64>;
    /// Spends a log-in that is good for one log-on: `true` for whoever comes first, and for nobody
    /// else. A log-in that is not good for exactly one is left as it is.
    async fn spend_login(&self, login: LoginId) -> Result<bool>;
}
