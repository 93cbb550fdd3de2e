//! The messages between a device and the portal, and their forms.
//!
//! | module | the form | who speaks it |
//! |---|---|---|
//! | [`json`] | `application/json`, as `schema/openapi.json` has it | our device, most others |
//! | [`xml`] | `application/xml`, as `schema/offload.xsd` has it | those who are at home in XML |
//! | [`soap`] | SOAP 1.1 and 1.2, as `schema/offload.wsdl` has it | operators' middleware |
//! | [`sms`] | short messages, in as few as will do | devices without a data bearer |
//!
//! Each is there in both directions: the device encodes requests and decodes replies, the portal
//! the other way round. A request is read strictly, for a field that the portal does not know is
//! one that the device relies on in vain; a reply is read with tolerance, for a portal may know
//! more than the device.
//!
//! Nothing here asks who may have what: that is [`issuing`](crate::issuing).

mod error;
mod form;
pub mod json;
pub mod schema;
pub mod sms;
pub mod soap;
mod time;
mod tree;
pub mod xml;

use homeward_model::{Imei, Imsi, Mac, Nai, Secret, UnixTime, WlanPolicy};
use zeroize::Zeroizing;

pub use error::Invalid;

/// A device asks for credentials.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CredentialRequest {
    /// The SIM that it speaks by.
    pub imsi: Imsi,
    /// What it is, where it says so.
    pub imei: Option<Imei>,
    /// The station that is to use them; no group address.
    pub mac: Mac,
    /// The user name that it has from before.
    pub previous: Option<Nai>,
    /// Whether it wants a root key for hand-offs, in place of one that it may have had. By short
    /// message none is asked for, and none given.
    pub handoff: bool,
}

/// The credentials, and what to do with them. Prints without the password and the user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CredentialAnswer {
    /// The name to log on with.
    pub username: Nai,
    /// The password, text. Wiped on drop.
    pub password: Secret,
    /// Until when they are good; `None`: for life.
    pub expires: Option<UnixTime>,
    /// From when on the device may have new ones.
    pub renew_from: Option<UnixTime>,
    /// Whether one log-on spends them.
    pub one_time: bool,
    /// When and where Wi-Fi is to be used.
    pub policy: WlanPolicy,
    /// What was asked for besides, where the portal gives it. Never by short message.
    pub handoff: Option<HandoffKeys>,
}

/// What a device needs for hand-off keys: it is enrolled with networks by that name, each with the key
/// that is derived of the root for it. Prints without the key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HandoffKeys {
    /// What networks know the device as.
    pub name: Nai,
    /// K(D), [`ROOT`] octets. Wiped on drop.
    pub root: Secret,
    /// The version of what is derived of it, the same at all networks; 1 or more.
    pub version: u32,
}

/// Octets of a root key.
pub const ROOT: usize = 32;

/// The portal refuses. Why is for its log: from outside there is one refusal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Refused;

/// What a portal replies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// Here you are.
    Credentials(Box<CredentialAnswer>),
    /// No.
    Refused,
    /// The request was none; what was wrong with it, as the portal says.
    Invalid(String),
}

/// An encoded message: wiped on drop, for there may be a password in it.
pub type Encoded = Zeroizing<Vec<u8>>;

/// What a message may be at most.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Octets.
    pub octets: usize,
    /// Levels of elements, objects and lists.
    pub depth: usize,
}

impl Limits {
    /// For requests: ours have 300 octets, SOAP headers of somebody's middleware a few thousand.
    pub const REQUEST: Self = Self { octets: 16 * 1024, depth: 16 };
    /// For replies: there may be a chain of certificates in them.
    pub const REPLY: Self = Self { octets: 128 * 1024, depth: 16 };

    /// The text of a message, if it is one and not too long.
    fn text<'a>(&self, octets: &'a [u8], form: &'static str) -> Result<&'a str, Invalid> {
        let len = octets.len();
        if len > self.octets {
            let most = self.octets;
            return Err(Invalid::new(form, format!("{len} octets; {most} at most")));
        }
        std::str::from_utf8(octets).map_err(|error| {
            let what = format!("octet {} is not UTF-8: encode it so", error.valid_up_to() + 1);
            Invalid::new(form, what)
        })
    }
}
