//! Look-ups (R3): the one mapping between the model's words and attributes, for core and gateway
//! alike.
//!
//! A look-up is an Access-Request. In which attributes device and SSID are, the
//! [`LookupForm`] says:
//!
//! | | Homeward | hostapd (`macaddr_acl=2`, `wpa_psk_radius=2`) |
//! |---|---|---|
//! | User-Name | MAC, lower-case hex without separators | the same |
//! | User-Password | SSID | MAC, spelled as in User-Name |
//! | Called-Station-Id | BSSID `:` SSID, where the BSSID is known | BSSID `:` SSID |
//! | Calling-Station-Id | MAC, as RFC 3580 3.21 spells it | the same |
//! | Service-Type | Call-Check (RFC 2865 5.6) | |
//! | NAS-Port-Type | 19, Wireless IEEE 802.11 | the same |
//! | Homeward-Signal | RSSI of the probe | |
//!
//! The answers are [`write_grant`]'s Access-Accept and [`write_refusal`]'s Access-Reject.

mod answer;

pub use answer::{Decision, read_answer, write_grant, write_refusal};

use homeward_model::address::SsidError;
use homeward_model::{LookupForm, Mac, Rssi, Ssid};

use crate::dictionary::{homeward, standard};
use crate::hide::{Opener, UnhideError, open_password};
use crate::packet::{Packet, integer, text};
use crate::{AttributeList, Code, DecodeError, EncodeError};

/// NAS-Port-Type "Wireless - IEEE 802.11" (RFC 2865 5.41).
const WIRELESS: u32 = 19;

/// Service-Type "Call Check" (RFC 2865 5.6): is this caller one to be answered?
const CALL_CHECK: u32 = 10;

/// The question of a look-up: may this device be served, under this SSID?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LookupRequest<'a> {
    /// The device.
    pub mac: Mac,
    /// The SSID it asked for.
    pub ssid: Ssid,
    /// Who asks: the gateway's name.
    pub nas_identifier: Option<&'a str>,
    /// Where the device asked.
    pub bssid: Option<Mac>,
    /// How well it was heard.
    pub signal: Option<Rssi>,
}

impl<'a> LookupRequest<'a> {
    /// The attributes of the Access-Request.
    ///
    /// # Errors
    /// If the SSID ends in NUL (form Homeward: User-Password is padded with NULs), if the NAS is
    /// not identified (RFC 2865 4.1 demands it), or if its name is too long for an attribute.
    pub fn attributes(&self, form: LookupForm) -> Result<AttributeList, LookupError> {
        let nas = self.nas_identifier.ok_or(LookupError::NoNasIdentifier)?;
        let name = Spelled::plain(self.mac);
        let mut list = AttributeList::new();
        list.push(standard::USER_NAME, name.as_bytes())?;
        match form {
            LookupForm::Homeward => {
                list.push(standard::USER_PASSWORD, self.ssid.as_bytes())?;
                list.push_integer(standard::SERVICE_TYPE, CALL_CHECK)?;
            }
            LookupForm::Hostapd => list.push(standard::USER_PASSWORD, name.as_bytes())?,
        }
        list.push(standard::NAS_IDENTIFIER, nas.as_bytes())?;
        list.push_integer(standard::NAS_PORT_TYPE, WIRELESS)?;
        list.push(standard::CALLING_STATION_ID, Spelled::dashed(self.mac).as_bytes())?;
        match (self.bssid, form) {
            (Some(bssid), _) => {
                let mut called = Spelled::dashed(bssid).as_bytes().to_vec();
                called.push(b':');
                called.extend_from_slice(self.ssid.as_bytes());
                list.push(standard::CALLED_STATION_ID, &called)?;
            }
            (None, LookupForm::Hostapd) => return Err(LookupError::NoCalledStation),
            (None, LookupForm::Homeward) => {}
        }
        if let (Some(Rssi(dbm)), LookupForm::Homeward) = (self.signal, form) {
            let value = i32::from(dbm).to_be_bytes();
            list.push_vendor(homeward::VENDOR, homeward::SIGNAL, &value)?;
        }
        Ok(list)
    }

    /// Reads the question out of a verified Access-Request, whose authenticator and the client's
    /// secret open the password.
    ///
    /// # Errors
    /// What is missing, unreadable or contradictory. None of the texts names the device.
    pub fn decode<'s>(
        request: &Packet<'a>,
        opener: impl Into<Opener<'s>>,
        form: LookupForm,
    ) -> Result<Self, LookupError> {
        if request.code() != Code::AccessRequest {
            return Err(LookupError::NotALookup(request.code()));
        }
        let user_name = request.only(standard::USER_NAME)?.ok_or(LookupError::NoUserName)?;
        let mac = parse_mac(user_name).ok_or(LookupError::UserName)?;
        let hidden = request.only(standard::USER_PASSWORD)?.ok_or(LookupError::NoPassword)?;
        let password = open_password(opener, request.authenticator(), hidden)?;
        let called = request.only(standard::CALLED_STATION_ID)?.map(CalledStation::parse);
        let called = called.unwrap_or_default();
        let ssid = match form {
            LookupForm::Homeward => {
                // A client of the other form would otherwise be refused for an odd SSID, and
                // nobody would see why.
                if *password == *user_name && called.ssid.is_some_and(|ssid| *ssid != *password) {
                    return Err(LookupError::HostapdForm);
                }
                Ssid::try_from(&*password).map_err(LookupError::PasswordIsNoSsid)?
            }
            LookupForm::Hostapd => {
                if parse_mac(&password) != Some(mac) {
                    return Err(LookupError::PasswordIsNotTheMac);
                }
                let ssid = called.ssid.ok_or(LookupError::NoCalledStation)?;
                Ssid::try_from(ssid).map_err(LookupError::CalledStationSsid)?
            }
        };
        if let Some(calling) = request.only(standard::CALLING_STATION_ID)?
            && parse_mac(calling).is_some_and(|calling| calling != mac)
        {
            return Err(LookupError::CallingStation);
        }
        let nas_identifier = match request.only(standard::NAS_IDENTIFIER)? {
            Some(value) => Some(text(value).ok_or(LookupError::Value("NAS-Identifier"))?),
            None => None,
        };
        let signal = match request.find_vendor(homeward::VENDOR, homeward::SIGNAL) {
            Some(value) if form == LookupForm::Homeward => {
                Some(read_dbm(value, "Homeward-Signal")?)
            }
            _ => None,
        };
        Ok(Self { mac, ssid, nas_identifier, bssid: called.bssid, signal })
    }
}

/// Why a look-up or its answer cannot be read or written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum LookupError {
    /// Not an Access-Request, or not an answer to one.
    #[error("{0} is no part of a look-up")]
    NotALookup(Code),
    /// An attribute that may occur once occurs again.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// No User-Name.
    #[error("User-Name is missing: it should be the device's MAC address")]
    NoUserName,
    /// A User-Name that is no MAC address.
    #[error("User-Name is not a MAC address")]
    UserName,
    /// No User-Password.
    #[error("User-Password is missing: it should be the SSID, or in hostapd's form the MAC")]
    NoPassword,
    /// A hidden password or key that does not open.
    #[error(transparent)]
    Unhide(#[from] UnhideError),
    /// A User-Password that is no SSID.
    #[error("User-Password is no SSID; do the shared secrets differ?")]
    PasswordIsNoSsid(#[source] SsidError),
    /// A question in hostapd's form from a client that is set to the other.
    #[error(
        "User-Password is the MAC and Called-Station-Id has an SSID: this client asks as hostapd does, set its look-up form to hostapd"
    )]
    HostapdForm,
    /// A User-Password that hostapd would not send.
    #[error(
        "User-Password is not the MAC of User-Name: do the shared secrets differ, or should the client's look-up form be homeward?"
    )]
    PasswordIsNotTheMac,
    /// Called-Station-Id is missing or has no SSID.
    #[error("Called-Station-Id should be BSSID:SSID, for it alone has the SSID in hostapd's form")]
    NoCalledStation,
    /// Something behind the colon of Called-Station-Id that is no SSID.
    #[error("Called-Station-Id has no SSID behind its colon")]
    CalledStationSsid(#[source] SsidError),
    /// Calling-Station-Id and User-Name are different devices.
    #[error("Calling-Station-Id and User-Name name different devices")]
    CallingStation,
    /// A request without the name of who asks.
    #[error("the gateway's name (NAS-Identifier) is missing")]
    NoNasIdentifier,
    /// An attribute that an answer needs.
    #[error("{0} is missing from the answer")]
    Missing(&'static str),
    /// An attribute whose value cannot be read.
    #[error("{0} has a value that cannot be read")]
    Value(&'static str),
    /// An attribute whose value a newer version may know.
    #[error("{name} is {value}, which this version does not know")]
    Unknown {
        /// The attribute.
        name: &'static str,
        /// Its value.
        value: u32,
    },
    /// 802.1X is no matter of a look-up.
    #[error("an 802.1X network cannot be served by look-up")]
    Enterprise,
    /// SAE starts from a password, which a bare PSK is not.
    #[error("WPA3-SAE needs a passphrase and the device has a bare PSK only: give it a passphrase")]
    NoPassphrase,
    /// An answer that does not fit a packet, or an attribute.
    #[error(transparent)]
    Encode(#[from] EncodeError),
}

/// A MAC address spelled out on the stack.
pub(crate) struct Spelled {
    octets: [u8; 17],
    len: usize,
}

impl Spelled {
    /// `02005e100001`.
    pub(crate) fn plain(mac: Mac) -> Self {
        Self::with(mac, None, b"0123456789abcdef")
    }

    /// `02-00-5E-10-00-01` (RFC 3580 3.20 and 3.21).
    pub(crate) fn dashed(mac: Mac) -> Self {
        Self::with(mac, Some(b'-'), b"0123456789ABCDEF")
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        self.octets.get(..self.len).unwrap_or_default()
    }

    fn with(mac: Mac, separator: Option<u8>, digits: &[u8; 16]) -> Self {
        let mut this = Self { octets: [0; 17], len: 0 };
        let digit = |nibble: u8| digits.get(usize::from(nibble)).copied().unwrap_or(b'0');
        for (at, octet) in mac.octets().into_iter().enumerate() {
            if at > 0 {
                separator.into_iter().for_each(|c| this.push(c));
            }
            this.push(digit(octet >> 4));
            this.push(digit(octet & 15));
        }
        this
    }

    fn push(&mut self, character: u8) {
        if let Some(room) = self.octets.get_mut(self.len) {
            *room = character;
            self.len += 1;
        }
    }
}

/// A MAC address in any usual spelling.
pub(crate) fn parse_mac(value: &[u8]) -> Option<Mac> {
    // The length first: a long value would otherwise be copied into the error.
    (value.len() <= 17).then(|| text(value)?.parse().ok()).flatten()
}

/// What Called-Station-Id says (RFC 3580 3.20).
#[derive(Default)]
struct CalledStation<'a> {
    bssid: Option<Mac>,
    ssid: Option<&'a [u8]>,
}

impl<'a> CalledStation<'a> {
    /// Splits at the colon that follows a MAC address in any usual spelling; the SSID may have
    /// colons of its own.
    fn parse(value: &'a [u8]) -> Self {
        for len in [17, 12, 14] {
            if let Some((mac, rest)) = value.split_at_checked(len)
                && let Some(bssid) = parse_mac(mac)
            {
                return match rest {
                    [] => Self { bssid: Some(bssid), ssid: None },
                    [b':', ssid @ ..] => Self { bssid: Some(bssid), ssid: Some(ssid) },
                    _ => continue,
                };
            }
        }
        Self::default()
    }
}

fn read_dbm(value: &[u8], name: &'static str) -> Result<Rssi, LookupError> {
    let dbm = integer(value).and_then(|n| i8::try_from(n.cast_signed()).ok());
    dbm.map(Rssi).ok_or(LookupError::Value(name))
}
