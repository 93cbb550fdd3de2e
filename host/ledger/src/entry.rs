//! What is put into the ledger, and what comes back.

use std::fmt;
use std::net::IpAddr;

use homeward_accounting::{Applied, Figures, Record};
use homeward_model::{AccountId, ClassId, DeviceId, LoginId, UnixTime};

/// Who uses a session: whatever let it in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum User {
    /// A device, by its own key.
    Device(DeviceId),
    /// A log-in.
    Login(LoginId),
}

impl User {
    /// `device` or `login`, and its number: as it is stored and exported.
    pub const fn parts(self) -> (&'static str, i64) {
        match self {
            Self::Device(id) => ("device", id.0),
            Self::Login(id) => ("login", id.0),
        }
    }

    pub(crate) fn from_parts(kind: &str, number: i64) -> Option<Self> {
        match kind {
            "device" => Some(Self::Device(DeviceId(number))),
            "login" => Some(Self::Login(LoginId(number))),
            _ => None,
        }
    }
}

impl fmt::Display for User {
    /// `device 17`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (kind, number) = self.parts();
        write!(f, "{kind} {number}")
    }
}

/// Whose a session is: who is charged, and by which class of service it is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Owner {
    /// The account that pays.
    pub account: AccountId,
    /// Who uses it.
    pub user: User,
    /// The account's class of service.
    pub class: ClassId,
}

/// A record to be kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The record.
    pub record: Record,
    /// When it came.
    pub received: UnixTime,
    /// Whose session it is, if that is known. The first that is given for a session stands; a
    /// session without one is kept and counts for nobody until one is given, and then whole.
    pub owner: Option<Owner>,
    /// The host that it came from, if that is known: the last that is given is where the
    /// session's NAS is.
    pub host: Option<IpAddr>,
}

/// Key of a session in the ledger; never given twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
#[serde(transparent)]
pub struct SessionId(pub i64);

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// "It is on disk": what an entry did. Answer the NAS now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Receipt {
    /// Whether the ledger had the very record already: it is answered again and counted once.
    pub repeated: bool,
    /// What became of the session; `None` for a restart of a NAS, whose sessions are closed one
    /// after the other from now on.
    pub session: Option<Counted>,
}

/// What became of the session that a record is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Counted {
    /// The session.
    pub id: SessionId,
    /// Whose it is.
    pub owner: Option<Owner>,
    /// What the record did.
    pub applied: Applied,
    /// What was added to the owner's usage, on the day of [`Applied::at`]: the session's growth,
    /// or all of it where its owner has just become known.
    pub charged: Figures,
}
