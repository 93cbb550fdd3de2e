//! A record out of an Accounting-Request.

use std::net::{IpAddr, Ipv6Addr};

use homeward_model::{Mac, Name, UnixTime};
use homeward_radius::dictionary::{name, standard};
use homeward_radius::packet::{integer, ipv4, ipv6, text};
use homeward_radius::{Code, DecodeError, Packet};

use crate::{Figures, Kind, Nas, Private, Record};

/// Framed-IPv6-Address (RFC 6911 3.1), which the dictionary does not have.
const FRAMED_IPV6_ADDRESS: u8 = 168;

/// The most Class attributes that are kept.
const MAX_CLASSES: usize = 4;

/// The most octets that a counter is believed to have: 4 PiB, which 10 Gbit/s fill in 41 days. It
/// keeps sums over many sessions from overflowing.
const MAX_OCTETS: u64 = 1 << 52;

/// Why an Accounting-Request is no record. None of the texts names a subscriber.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// Another packet.
    #[error("{0} is no Accounting-Request")]
    NotAccounting(Code),
    /// An attribute that may occur once occurs again.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// An attribute without which nothing can be accounted.
    #[error("{} is missing: have the NAS send it (RFC 2866 5.13)", name(*.0))]
    Missing(u8),
    /// A value of the wrong form.
    #[error("{} is not {what}: see what the NAS puts there", name(*.kind))]
    Value {
        /// The attribute's Type.
        kind: u8,
        /// What it should be.
        what: &'static str,
    },
    /// An Acct-Status-Type that is none of Start, Stop, Interim-Update, Accounting-On and
    /// Accounting-Off.
    #[error("Acct-Status-Type {0} is not accounted: only 1, 2, 3, 7 and 8 are")]
    Status(u32),
    /// More octets than a session can have moved.
    #[error("{} says that more than 4 PiB were moved: its counter is broken", name(*.0))]
    TooMuch(u8),
}

impl RecordError {
    /// The word for metrics.
    pub const fn label(&self) -> &'static str {
        match self {
            Self::NotAccounting(_) => "not-accounting",
            Self::Decode(_) => "repeated-attribute",
            Self::Missing(_) => "missing-attribute",
            Self::Value { .. } => "bad-value",
            Self::Status(_) => "unknown-status",
            Self::TooMuch(_) => "too-much",
        }
    }
}

impl Record {
    /// Reads a verified Accounting-Request of that client.
    ///
    /// # Errors
    /// What is missing, repeated or of the wrong form, and what to do about it. What only
    /// describes the session (addresses, Calling-Station-Id) is left out where it cannot be read:
    /// usage is not lost for it.
    pub fn decode(request: &Packet<'_>, client: &Name) -> Result<Self, RecordError> {
        if request.code() != Code::AccountingRequest {
            return Err(RecordError::NotAccounting(request.code()));
        }
        let reader = Reader(request);
        let status = reader.integer(standard::ACCT_STATUS_TYPE)?;
        let status = status.ok_or(RecordError::Missing(standard::ACCT_STATUS_TYPE))?;
        let kind = Kind::from_code(status).ok_or(RecordError::Status(status))?;
        let session_id = reader.text(standard::ACCT_SESSION_ID)?.unwrap_or_default();
        if session_id.is_empty() && !kind.is_boot() {
            return Err(RecordError::Missing(standard::ACCT_SESSION_ID));
        }
        let seconds = reader.integer(standard::ACCT_SESSION_TIME)?;
        let (input, input_words) =
            reader.octets(standard::ACCT_INPUT_OCTETS, standard::ACCT_INPUT_GIGAWORDS)?;
        let (output, output_words) =
            reader.octets(standard::ACCT_OUTPUT_OCTETS, standard::ACCT_OUTPUT_GIGAWORDS)?;
        let event = reader.integer(standard::EVENT_TIMESTAMP)?;
        Ok(Self {
            nas: reader.nas(client)?,
            kind,
            session_id: session_id.to_owned(),
            multi_session_id: reader.text(standard::ACCT_MULTI_SESSION_ID)?.map(str::to_owned),
            event: event.map(|s| UnixTime(i64::from(s) * 1000)),
            delay: reader.integer(standard::ACCT_DELAY_TIME)?.unwrap_or(0),
            figures: Figures {
                input,
                output,
                input_packets: reader.count(standard::ACCT_INPUT_PACKETS)?,
                output_packets: reader.count(standard::ACCT_OUTPUT_PACKETS)?,
                seconds: seconds.map_or(0, u64::from),
            },
            timed: seconds.is_some(),
            gigawords: input_words || output_words,
            terminate_cause: reader.integer(standard::ACCT_TERMINATE_CAUSE)?,
            station: request.find(standard::CALLING_STATION_ID).and_then(mac),
            bssid: request.find(standard::CALLED_STATION_ID).and_then(leading_mac),
            user_name: reader.identity(standard::USER_NAME)?,
            chargeable_user: reader
                .identity(standard::CHARGEABLE_USER_IDENTITY)?
                .filter(|identity| identity.0 != [0]),
            class: request
                .find_all(standard::CLASS)
                .take(MAX_CLASSES)
                .map(<[u8]>::to_vec)
                .collect(),
            address: request.find(standard::FRAMED_IP_ADDRESS).and_then(ipv4).map(Private),
            address6: address6(request).map(Private),
        })
    }
}

/// Reads attributes that may occur once.
struct Reader<'p, 'd>(&'p Packet<'d>);

impl<'d> Reader<'_, 'd> {
    fn integer(&self, kind: u8) -> Result<Option<u32>, RecordError> {
        let Some(value) = self.0.only(kind)? else { return Ok(None) };
        integer(value).map(Some).ok_or(RecordError::Value { kind, what: "a number of 32 bits" })
    }

    fn count(&self, kind: u8) -> Result<u64, RecordError> {
        Ok(self.integer(kind)?.map_or(0, u64::from))
    }

    fn text(&self, kind: u8) -> Result<Option<&'d str>, RecordError> {
        let Some(value) = self.0.only(kind)? else { return Ok(None) };
        // A NUL would end the text for whoever reads an export with C strings.
        let text = text(value).filter(|t| !t.contains('\0'));
        text.map(Some).ok_or(RecordError::Value { kind, what: "text in UTF-8" })
    }

    /// A counter joined with its Gigawords, and whether it has any.
    fn octets(&self, low: u8, high: u8) -> Result<(u64, bool), RecordError> {
        let (octets, words) = (self.count(low)?, self.integer(high)?);
        let joined = u64::from(words.unwrap_or(0)) << 32 | octets;
        if joined > MAX_OCTETS {
            return Err(RecordError::TooMuch(high));
        }
        Ok((joined, words.is_some()))
    }

    fn identity(&self, kind: u8) -> Result<Option<Private<Vec<u8>>>, RecordError> {
        Ok(self.0.only(kind)?.filter(|v| !v.is_empty()).map(|v| Private(v.to_vec())))
    }

    fn nas(&self, client: &Name) -> Result<Nas, RecordError> {
        let address = |kind, address: Option<IpAddr>| {
            address.map(|a| a.to_string()).ok_or(RecordError::Value { kind, what: "an address" })
        };
        let identifier = match self.text(standard::NAS_IDENTIFIER)? {
            Some(identifier) if identifier == client.as_str() => String::new(),
            Some(identifier) => identifier.to_owned(),
            None => match self.0.only(standard::NAS_IP_ADDRESS)? {
                Some(v) => address(standard::NAS_IP_ADDRESS, ipv4(v).map(IpAddr::V4))?,
                None => match self.0.only(standard::NAS_IPV6_ADDRESS)? {
                    Some(v) => address(standard::NAS_IPV6_ADDRESS, ipv6(v).map(IpAddr::V6))?,
                    None => String::new(),
                },
            },
        };
        Ok(Nas { client: client.clone(), identifier })
    }
}

/// A MAC address in any usual spelling. The length first: a long value would otherwise be copied
/// into the error.
fn mac(value: &[u8]) -> Option<Mac> {
    (value.len() <= 17).then(|| text(value)?.parse().ok()).flatten()
}

/// The MAC address that a Called-Station-Id begins with (RFC 3580 3.20).
fn leading_mac(value: &[u8]) -> Option<Mac> {
    [17, 12, 14].into_iter().find_map(|len| {
        let (address, rest) = value.split_at_checked(len)?;
        mac(address).filter(|_| matches!(rest, [] | [b':', ..]))
    })
}

/// Framed-IPv6-Address, else Framed-IPv6-Prefix, with the prefix's length.
fn address6(request: &Packet<'_>) -> Option<(Ipv6Addr, u8)> {
    if let Some(address) = request.find(FRAMED_IPV6_ADDRESS).and_then(ipv6) {
        return Some((address, 128));
    }
    // Reserved, Prefix-Length, and as many octets as the prefix needs (RFC 3162 2.3).
    let [_, length @ 0..=128, prefix @ ..] = request.find(standard::FRAMED_IPV6_PREFIX)? else {
        return None;
    };
    let mut octets = [0; 16];
    octets.get_mut(..prefix.len())?.copy_from_slice(prefix);
    Some((Ipv6Addr::from(octets), *length))
}
