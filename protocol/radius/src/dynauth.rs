//! Disconnect-Request, both sides (RFC 5176): the core tells a gateway to end a device's session.
//! And the core's side of CoA-Request: it tells a NAS that a session is [allowed](crate::Allowed)
//! something else.
//!
//! The core has a [`Sender`], the gateway a [`Receiver`]. A session that was let in by a look-up is
//! named by the device's MAC address (User-Name and Calling-Station-Id), one that was let in by a
//! log-in by its name, device and Acct-Session-Id, as far as the NAS told; the gateway by its name
//! (NAS-Identifier). Event-Timestamp and Message-Authenticator are always there, and always demanded
//! of requests; an answer of a NAS may do without.

mod receiver;
mod sender;

pub use receiver::{DisconnectDrop, DisconnectReceived, Receiver, ReceiverSettings};
pub use sender::{DisconnectId, SendError, Sender, SenderEvent, SenderSettings};

use homeward_model::{Mac, UnixTime};

use crate::dictionary::standard;
use crate::lookup::{Spelled, parse_mac};
use crate::packet::{Packet, integer};
use crate::{AttributeList, DecodeError, EncodeError};

/// "End the session of this log-in at this NAS": with what the NAS itself said of it, for it has
/// to match all of it (RFC 5176 3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LoginDisconnect<'a> {
    /// The log-in's name, as the Access-Accept gave it.
    pub user_name: &'a str,
    /// The device.
    pub station: Option<Mac>,
    /// Acct-Session-Id.
    pub session_id: Option<&'a str>,
    /// NAS-Identifier.
    pub nas_identifier: Option<&'a str>,
    /// When it was said; whole seconds are kept.
    pub at: UnixTime,
}

impl LoginDisconnect<'_> {
    /// The attributes of the Disconnect-Request.
    ///
    /// # Errors
    /// If one is empty or over 253 octets.
    pub fn attributes(&self) -> Result<AttributeList, EncodeError> {
        let mut list = AttributeList::new();
        list.push(standard::USER_NAME, self.user_name.as_bytes())?;
        if let Some(station) = self.station {
            list.push(standard::CALLING_STATION_ID, Spelled::dashed(station).as_bytes())?;
        }
        if let Some(session_id) = self.session_id {
            list.push(standard::ACCT_SESSION_ID, session_id.as_bytes())?;
        }
        if let Some(name) = self.nas_identifier {
            list.push(standard::NAS_IDENTIFIER, name.as_bytes())?;
        }
        push_timestamp(&mut list, self.at)?;
        Ok(list)
    }
}

/// 32 bits, unsigned (RFC 2869 5.3): good until 2106.
fn push_timestamp(list: &mut AttributeList, at: UnixTime) -> Result<(), EncodeError> {
    list.push_integer(standard::EVENT_TIMESTAMP, u32::try_from(at.seconds()).unwrap_or_default())
}

/// "End this device's session at this gateway."
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Disconnect<'a> {
    /// The device.
    pub mac: Mac,
    /// The gateway's name.
    pub nas_identifier: &'a str,
    /// When it was said; whole seconds are kept.
    pub at: UnixTime,
}

impl<'a> Disconnect<'a> {
    /// The attributes of the Disconnect-Request.
    ///
    /// # Errors
    /// If the gateway's name is empty or over 253 octets.
    pub fn attributes(&self) -> Result<AttributeList, EncodeError> {
        let mut list = AttributeList::new();
        list.push(standard::USER_NAME, Spelled::plain(self.mac).as_bytes())?;
        list.push(standard::CALLING_STATION_ID, Spelled::dashed(self.mac).as_bytes())?;
        list.push(standard::NAS_IDENTIFIER, self.nas_identifier.as_bytes())?;
        push_timestamp(&mut list, self.at)?;
        Ok(list)
    }

    /// Reads a verified Disconnect-Request. At least one of User-Name and Calling-Station-Id
    /// names the device.
    ///
    /// # Errors
    /// What is missing, contradictory or not understood.
    pub fn decode(request: &Packet<'a>) -> Result<Self, DisconnectError> {
        let at = event_timestamp(request)?;
        if let Some(other) = request.attributes().find(|a| !UNDERSTOOD.contains(&a.kind)) {
            return Err(DisconnectError::Unsupported(other.kind));
        }
        let name = |kind| match request.only(kind) {
            Ok(Some(value)) => parse_mac(value).map(Some).ok_or(DisconnectError::NotAMac(kind)),
            Ok(None) => Ok(None),
            Err(error) => Err(DisconnectError::Repeated(error)),
        };
        let mac = match (name(standard::USER_NAME)?, name(standard::CALLING_STATION_ID)?) {
            (Some(user), Some(calling)) if user != calling => {
                return Err(DisconnectError::Contradiction);
            }
            (Some(mac), _) | (None, Some(mac)) => mac,
            (None, None) => return Err(DisconnectError::NoDevice),
        };
        let nas_identifier = request.only(standard::NAS_IDENTIFIER)?;
        let nas_identifier = nas_identifier.and_then(crate::packet::text);
        Ok(Self { mac, nas_identifier: nas_identifier.ok_or(DisconnectError::NoNas)?, at })
    }
}

/// When a request was made; it says so once (RFC 2869 5.3).
fn event_timestamp(request: &Packet<'_>) -> Result<UnixTime, DisconnectError> {
    let seconds = request.only(standard::EVENT_TIMESTAMP)?.and_then(integer);
    let seconds = seconds.ok_or(DisconnectError::NoTimestamp)?;
    Ok(UnixTime(i64::from(seconds) * 1000))
}

/// The attributes that a Disconnect-Request may have here: those that name the session, and
/// those that may be ignored. RFC 5176 3 has a request with any other refused.
const UNDERSTOOD: [u8; 9] = [
    standard::USER_NAME,
    standard::CALLING_STATION_ID,
    standard::NAS_IDENTIFIER,
    standard::EVENT_TIMESTAMP,
    standard::MESSAGE_AUTHENTICATOR,
    standard::PROXY_STATE,
    standard::REPLY_MESSAGE,
    standard::CLASS,
    standard::ACCT_TERMINATE_CAUSE,
];

/// Why a Disconnect-Request is refused or dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DisconnectError {
    /// No Event-Timestamp that can be read.
    #[error("Event-Timestamp is missing: without it old requests could be replayed")]
    NoTimestamp,
    /// An attribute that may change what is asked, and is not understood.
    #[error("{} is not understood in a Disconnect-Request", crate::dictionary::name(*.0))]
    Unsupported(u8),
    /// An attribute that names the device is no MAC address.
    #[error("{} is not a MAC address", crate::dictionary::name(*.0))]
    NotAMac(u8),
    /// An attribute that may occur once occurs again.
    #[error(transparent)]
    Repeated(#[from] DecodeError),
    /// Two different devices.
    #[error("User-Name and Calling-Station-Id name different devices")]
    Contradiction,
    /// No device.
    #[error("neither User-Name nor Calling-Station-Id is there")]
    NoDevice,
    /// No gateway.
    #[error("NAS-Identifier is missing")]
    NoNas,
}

impl DisconnectError {
    /// The Error-Cause to refuse with; `None` if the request is discarded silently
    /// (RFC 5176 6.3).
    pub const fn cause(&self) -> Option<ErrorCause> {
        Some(match self {
            Self::NoTimestamp => return None,
            Self::Unsupported(_) => ErrorCause::UNSUPPORTED_ATTRIBUTE,
            Self::NotAMac(_) | Self::Contradiction => ErrorCause::INVALID_ATTRIBUTE_VALUE,
            Self::Repeated(_) => ErrorCause::INVALID_REQUEST,
            Self::NoDevice | Self::NoNas => ErrorCause::MISSING_ATTRIBUTE,
        })
    }
}

/// Why a gateway refused (RFC 5176 3.5).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ErrorCause(pub u32);

impl ErrorCause {
    /// An attribute is not understood.
    pub const UNSUPPORTED_ATTRIBUTE: Self = Self(401);
    /// A needed attribute is not there.
    pub const MISSING_ATTRIBUTE: Self = Self(402);
    /// The request is for another gateway.
    pub const NAS_IDENTIFICATION_MISMATCH: Self = Self(403);
    /// The request makes no sense.
    pub const INVALID_REQUEST: Self = Self(404);
    /// This kind of request is not served.
    pub const UNSUPPORTED_EXTENSION: Self = Self(406);
    /// An attribute's value makes no sense.
    pub const INVALID_ATTRIBUTE_VALUE: Self = Self(407);
    /// The gateway's owner does not allow it.
    pub const ADMINISTRATIVELY_PROHIBITED: Self = Self(501);
    /// The device has no session here.
    pub const SESSION_CONTEXT_NOT_FOUND: Self = Self(503);
    /// The session could not be ended.
    pub const SESSION_CONTEXT_NOT_REMOVABLE: Self = Self(504);
}

impl std::fmt::Display for ErrorCause {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match crate::dictionary::value_name(0, standard::ERROR_CAUSE, self.0) {
            Some(name) => write!(f, "{name} ({})", self.0),
            None => write!(f, "Error-Cause {}", self.0),
        }
    }
}
