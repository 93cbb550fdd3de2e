//! One report of a NAS.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};

use homeward_model::{Mac, Name, UnixTime};

use crate::{Figures, Settings};

/// Something that tells who or where a subscriber is; `Debug` shows `[redacted]`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Private<T>(pub T);

impl<T> fmt::Debug for Private<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

/// A name for a subscriber, at most 253 octets: User-Name, Chargeable-User-Identity.
pub type Identity = Private<Vec<u8>>;

/// What a record says (Acct-Status-Type, RFC 2866 5.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// A session begins.
    Start,
    /// A session goes on (RFC 2869 2.1).
    Interim,
    /// A session has ended.
    Stop,
    /// The NAS begins to account: what it had open is gone.
    On,
    /// The NAS is about to stop: what it has open is going.
    Off,
}

impl Kind {
    /// All kinds, with the number each has on the wire.
    pub const ALL: [(Self, u32); 5] =
        [(Self::Start, 1), (Self::Stop, 2), (Self::Interim, 3), (Self::On, 7), (Self::Off, 8)];

    /// The number on the wire.
    pub const fn code(self) -> u32 {
        match self {
            Self::Start => 1,
            Self::Stop => 2,
            Self::Interim => 3,
            Self::On => 7,
            Self::Off => 8,
        }
    }

    /// The kind with that number.
    pub fn from_code(code: u32) -> Option<Self> {
        Self::ALL.iter().find(|(_, c)| *c == code).map(|(kind, _)| *kind)
    }

    /// The word for logs, metrics and exports.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Interim => "interim",
            Self::Stop => "stop",
            Self::On => "on",
            Self::Off => "off",
        }
    }

    /// Whether it is about the NAS as a whole rather than about a session.
    pub const fn is_boot(self) -> bool {
        matches!(self, Self::On | Self::Off)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Who reports. Session identifiers are unique within it, and a restart of it ends its sessions
/// and nobody else's.
///
/// The RADIUS client is part of it, so that no client can touch another's sessions, whatever it
/// calls itself; the name that the NAS gives itself is the other part, for one client may be a
/// partner's proxy with many NASes behind it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Nas {
    /// The RADIUS client: a gateway, or a partner.
    pub client: Name,
    /// NAS-Identifier, else NAS-IP-Address, else NAS-IPv6-Address, at most 253 octets. Empty where
    /// the request has none, or the client's own name.
    pub identifier: String,
}

impl fmt::Display for Nas {
    /// `client`, or `client/identifier`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.identifier.is_empty() {
            return fmt::Display::fmt(&self.client, f);
        }
        write!(f, "{}/{}", self.client, self.identifier)
    }
}

/// One report of a NAS: an Accounting-Request in the model's words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Who reports.
    pub nas: Nas,
    /// What it says.
    pub kind: Kind,
    /// Acct-Session-Id, 1 to 253 octets. [`Kind::On`] and [`Kind::Off`] may have none; then it is
    /// empty.
    pub session_id: String,
    /// Acct-Multi-Session-Id: joins the sessions of one device that moves between BSSs.
    pub multi_session_id: Option<String>,
    /// Event-Timestamp, as the NAS's clock has it (RFC 2869 5.3).
    pub event: Option<UnixTime>,
    /// Acct-Delay-Time: for how many seconds the NAS has tried to send it.
    pub delay: u32,
    /// The figures. Gigawords are joined with the octets they belong to; what is absent is 0.
    pub figures: Figures,
    /// Whether there was an Acct-Session-Time.
    pub timed: bool,
    /// Whether there were Gigawords: then the octets are exact, and do not wrap.
    pub gigawords: bool,
    /// Acct-Terminate-Cause (RFC 2866 5.10).
    pub terminate_cause: Option<u32>,
    /// Calling-Station-Id, where that is a MAC address: the device.
    pub station: Option<Mac>,
    /// The MAC address in Called-Station-Id, where there is one (RFC 3580 3.20): the BSS.
    pub bssid: Option<Mac>,
    /// User-Name.
    pub user_name: Option<Identity>,
    /// Chargeable-User-Identity (RFC 4372); a NUL, which asks for one, is none.
    pub chargeable_user: Option<Identity>,
    /// The Class attributes, in order (RFC 2865 5.25); the first four of them.
    pub class: Vec<Vec<u8>>,
    /// Framed-IP-Address.
    pub address: Option<Private<Ipv4Addr>>,
    /// Framed-IPv6-Address (RFC 6911 3.1), else Framed-IPv6-Prefix (RFC 3162 2.3), with the
    /// prefix's length.
    pub address6: Option<Private<(Ipv6Addr, u8)>>,
}

/// What makes two records of one session the same record.
///
/// The times at which they came do not count: a repetition comes later, and its Acct-Delay-Time
/// says so.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RecordId {
    /// What it says.
    pub kind: Kind,
    /// Its Event-Timestamp.
    pub event: Option<UnixTime>,
    /// Its figures.
    pub figures: Figures,
}

impl Record {
    /// What makes it the same as another of its session.
    pub const fn id(&self) -> RecordId {
        RecordId { kind: self.kind, event: self.event, figures: self.figures }
    }

    /// When it happened, given when it came: Event-Timestamp, if that is not too far off, else
    /// when it came less Acct-Delay-Time.
    pub fn at(&self, received: UnixTime, settings: &Settings) -> UnixTime {
        let ahead = received.0.saturating_add(crate::settings::millis(settings.ahead));
        let behind = received.0.saturating_sub(crate::settings::millis(settings.behind));
        match self.event {
            // A clock that runs ahead a little does not make usage of tomorrow's.
            Some(event) if (behind..=ahead).contains(&event.0) => event.min(received),
            // A delay that is as wild as the clock is none.
            _ => {
                let sent = received.0.saturating_sub(i64::from(self.delay).saturating_mul(1000));
                UnixTime(if sent >= behind { sent } else { received.0 })
            }
        }
    }

    /// When its session began, if it happened at `at`.
    pub fn began(&self, at: UnixTime) -> UnixTime {
        let seconds = i64::try_from(self.figures.seconds).unwrap_or(i64::MAX);
        UnixTime(at.0.saturating_sub(seconds.saturating_mul(1000)))
    }
}
