//! Log-ins: names and passwords with which devices are let in by 802.1X, WISPr and PAP.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use subtle::ConstantTimeEq;
use zeroize::{Zeroize, ZeroizeOnDrop};

use crate::service::words;
use crate::{AccountId, LoginId, Mac, Secret, Status, UnixTime};

/// The most octets of a [`Nai`]: those of a RADIUS User-Name (RFC 7542 2.3).
pub const MAX_NAI_LEN: usize = 253;

/// A network access identifier (RFC 7542): `user@realm`, or `user` alone. 1 to 253 octets of
/// UTF-8 without control characters. The realm is what follows the last `@`; it is compared
/// without regard to case and kept in lower case (ASCII), the user's part as it is.
///
/// It names a subscriber, so it prints redacted: `***@realm`. [`Nai::as_str`] is the whole.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Nai(String);

/// A text that is no NAI. The text itself is not repeated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NaiError {
    /// Empty or too long.
    #[error("a network access identifier has 1 to 253 octets, not {0}")]
    Length(usize),
    /// A control character or white space at an end.
    #[error("a network access identifier has no control characters; character {0} is one")]
    Control(usize),
    /// Nothing before the `@`, or nothing after it.
    #[error("a network access identifier is user@realm or user; {0} is missing")]
    Part(&'static str),
}

impl Nai {
    /// The whole text. Whoever calls this keeps it out of logs above DEBUG.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What precedes the realm.
    pub fn user(&self) -> &str {
        self.0.rsplit_once('@').map_or(&*self.0, |(user, _)| user)
    }

    /// The realm, in lower case.
    pub fn realm(&self) -> Option<&str> {
        self.0.rsplit_once('@').map(|(_, realm)| realm)
    }
}

impl FromStr for Nai {
    type Err = NaiError;

    fn from_str(text: &str) -> Result<Self, NaiError> {
        if !(1..=MAX_NAI_LEN).contains(&text.len()) {
            return Err(NaiError::Length(text.len()));
        }
        // Most are ASCII, and this is done for every log-in: octets, then, and one copy.
        let control = match text.is_ascii() {
            true => text.bytes().position(|octet| octet.is_ascii_control()),
            false => text.chars().position(char::is_control),
        };
        if let Some(at) = control {
            return Err(NaiError::Control(at + 1));
        }
        match text.rsplit_once('@') {
            Some(("", _)) => return Err(NaiError::Part("the user")),
            Some((_, "")) => return Err(NaiError::Part("the realm")),
            _ => {}
        }
        let mut name = text.to_owned();
        if let Some(realm) = text.rfind('@').and_then(|at| name.get_mut(at..)) {
            realm.make_ascii_lowercase();
        }
        Ok(Self(name))
    }
}

impl fmt::Display for Nai {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.realm() {
            Some(realm) => write!(f, "***@{realm}"),
            None => f.write_str("***"),
        }
    }
}

impl fmt::Debug for Nai {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for Nai {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Nai {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(d)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// The NT hash of a password: MD4 over it in UTF-16LE (RFC 2759 8.3). As good as the password to
/// whoever wants to log in by MSCHAPv2. Wiped on drop, compared in constant time, printed as
/// `[redacted]`.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct NtHash([u8; 16]);

impl NtHash {
    /// The hash with these octets.
    pub const fn new(octets: [u8; 16]) -> Self {
        Self(octets)
    }

    /// The octets.
    pub const fn expose(&self) -> &[u8; 16] {
        &self.0
    }
}

impl PartialEq for NtHash {
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl Eq for NtHash {}

impl fmt::Debug for NtHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

/// What a password is held against.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verifier {
    /// The NT hash. For passwords that a machine made, whose hash tells nobody the password; good
    /// for every method.
    NtHash(NtHash),
    /// The password itself, made by a machine; what CHAP needs, and good for every method.
    Password(Secret),
    /// An Argon2id hash in the PHC string format, for passwords that people chose; good for PAP,
    /// alone or inside TTLS. MSCHAPv2 and CHAP cannot be answered from it.
    Argon2id(Secret),
}

/// How often a log-in may be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Uses {
    /// As often as anybody likes.
    #[default]
    Any,
    /// For one log-on, which is still to come.
    Once,
    /// For one log-on, which there was: it is good for none any more.
    Spent,
}

words!(Uses, "a number of uses", "any, once, spent",
    Uses::Any => "any", Uses::Once => "once", Uses::Spent => "spent");

/// A log-in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Login {
    /// Its key in the datastore.
    pub id: LoginId,
    /// Who pays.
    pub account: AccountId,
    /// The name, unique.
    pub name: Nai,
    /// What its password is held against.
    pub verifier: Verifier,
    /// The one station that may use it; `None`: any.
    pub mac: Option<Mac>,
    /// Until when it is good; `None`: for life.
    pub expires: Option<UnixTime>,
    /// How often it may be used.
    pub uses: Uses,
    /// What the operator or the subscriber calls it.
    pub label: String,
    /// Whether it is in force.
    pub status: Status,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_realm_is_what_follows_the_last_at_and_knows_no_case() {
        let nai: Nai = "Fred@corp@Example.NET".parse().unwrap();
        assert_eq!((nai.user(), nai.realm()), ("Fred@corp", Some("example.net")));
        assert_eq!(nai, "Fred@corp@example.net".parse().unwrap());
        assert_ne!(nai, "fred@corp@example.net".parse().unwrap());
        let alone: Nai = "fred".parse().unwrap();
        assert_eq!((alone.user(), alone.realm()), ("fred", None));
    }

    #[test]
    fn what_is_no_nai_is_refused_with_the_reason() {
        for (text, error) in [
            ("", NaiError::Length(0)),
            (&*"x".repeat(254), NaiError::Length(254)),
            ("fr\ned", NaiError::Control(3)),
            ("@example.net", NaiError::Part("the user")),
            ("fred@", NaiError::Part("the realm")),
        ] {
            assert_eq!(text.parse::<Nai>(), Err(error));
        }
        assert!("x".repeat(253).parse::<Nai>().is_ok());
        assert!("j\u{f6}rg@example.net".parse::<Nai>().is_ok());
    }

    #[test]
    fn a_nai_prints_without_its_user_and_is_stored_with_it() {
        let nai: Nai = "fred@example.net".parse().unwrap();
        assert_eq!(format!("{nai} {nai:?}"), "***@example.net ***@example.net");
        let json = serde_json::to_string(&nai).unwrap();
        assert_eq!(json, "\"fred@example.net\"");
        assert_eq!(serde_json::from_str::<Nai>(&json).unwrap(), nai);
    }

    #[test]
    fn a_hash_does_not_print() {
        let verifier = Verifier::NtHash(NtHash::new([0x5a; 16]));
        assert!(!format!("{verifier:?}").contains("5a"));
        assert_eq!(verifier, Verifier::NtHash(NtHash::new([0x5a; 16])));
        assert_ne!(verifier, Verifier::NtHash(NtHash::new([0x5b; 16])));
    }
}
