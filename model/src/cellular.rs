//! What a cellular network knows its subscribers by.
//!
//! All of these name a person, so they print redacted; `as_str` spells them out, for the wire, for
//! files and for what an operator asked to see.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::{AccountId, Status, SubscriberId};

/// At most 16 decimal digits, as they are written.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct Digits {
    octets: [u8; 16],
    len: u8,
}

impl Digits {
    fn new(text: &str) -> Option<Self> {
        let mut octets = [0; 16];
        octets.get_mut(..text.len())?.copy_from_slice(text.as_bytes());
        let digits = text.bytes().all(|c| c.is_ascii_digit());
        digits.then_some(Self { octets, len: u8::try_from(text.len()).ok()? })
    }

    fn as_str(&self) -> &str {
        let digits = self.octets.get(..usize::from(self.len)).unwrap_or_default();
        std::str::from_utf8(digits).unwrap_or_default()
    }
}

/// A text that is no such number. The text itself is not repeated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{what} is {form}; this has {len} characters{}", if *.digits { "" } else { ", not all of them digits" })]
pub struct CellularError {
    what: &'static str,
    form: &'static str,
    len: usize,
    digits: bool,
}

macro_rules! numbers {
    ($($(#[$doc:meta])* $name:ident, $what:literal, $form:literal, $lengths:expr, $shown:literal;)+) => { $(
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(Digits);

        impl $name {
            /// All its digits. Whoever calls this keeps them out of logs above DEBUG.
            pub fn as_str(&self) -> &str {
                self.0.as_str()
            }
        }

        impl FromStr for $name {
            type Err = CellularError;

            fn from_str(text: &str) -> Result<Self, CellularError> {
                let digits = Digits::new(text).filter(|_| $lengths.contains(&text.len()));
                digits.map(Self).ok_or(CellularError {
                    what: $what,
                    form: $form,
                    len: text.len(),
                    digits: text.bytes().all(|c| c.is_ascii_digit()),
                })
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let (shown, hidden) = self.as_str().split_at_checked($shown).unwrap_or_default();
                f.write_str(shown)?;
                hidden.bytes().try_for_each(|_| f.write_str("*"))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
                s.serialize_str(self.as_str())
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
                let text = std::borrow::Cow::<'de, str>::deserialize(d)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    )+ };
}

numbers! {
    /// An International Mobile Subscriber Identity (ITU-T E.212; 3GPP TS 23.003 2.2): 6 to 15
    /// digits, of which the first five or six are the home network's. Prints `99970**********`.
    Imsi, "an IMSI", "6 to 15 digits", (6..=15), 5;
    /// An International Mobile Equipment Identity, with its check digit (15) or without it (14),
    /// or with a software version in place of it (IMEISV, 16 digits): 3GPP TS 23.003 6.2. The
    /// spelling is kept; [`Imei::equipment`] is what identifies. Prints the type allocation code
    /// alone.
    Imei, "an IMEI", "14 to 16 digits", (14..=16), 8;
    /// A telephone number in international form without its `+` (ITU-T E.164): 5 to 15 digits.
    /// Prints its first three.
    Msisdn, "a telephone number", "5 to 15 digits", (5..=15), 3;
}

impl Imei {
    /// The 14 digits that name the equipment: type allocation code and serial number. The check
    /// digit follows from them, and the software version changes with an update.
    pub fn equipment(&self) -> &str {
        self.as_str().get(..14).unwrap_or_default()
    }

    /// Whether both name the same equipment.
    pub fn same_equipment(&self, other: &Self) -> bool {
        self.equipment() == other.equipment()
    }
}

/// An Access Point Name, its network identifier (3GPP TS 23.003 9.1): labels of letters, digits
/// and hyphens, at most 100 octets, in lower case.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
pub struct Apn(String);

/// A text that is no access point name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is no access point name: give labels of letters, digits and hyphens with dots between them, such as internet or ims.operator, at most 100 octets"
)]
pub struct ApnError(String);

impl Apn {
    /// The name, in lower case.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Apn {
    type Err = ApnError;

    fn from_str(text: &str) -> Result<Self, ApnError> {
        let label = |label: &str| {
            let good = |c: u8| c.is_ascii_alphanumeric() || c == b'-';
            let ends = !label.starts_with('-') && !label.ends_with('-');
            (1..=63).contains(&label.len()) && label.bytes().all(good) && ends
        };
        if text.len() <= 100 && text.split('.').all(label) {
            Ok(Self(text.to_ascii_lowercase()))
        } else {
            Err(ApnError(text.to_owned()))
        }
    }
}

impl fmt::Display for Apn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Apn {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(d)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// A subscriber of the cellular network, and the account that pays for what its devices do on
/// Wi-Fi.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Subscriber {
    /// Its key in the datastore.
    pub id: SubscriberId,
    /// Its SIM, unique.
    pub imsi: Imsi,
    /// Its telephone number, unique, where it is known: what ties a message to the SIM.
    pub msisdn: Option<Msisdn>,
    /// Who pays.
    pub account: AccountId,
    /// What the operator calls it.
    pub label: String,
    /// Whether it is in force.
    pub status: Status,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_has_digits_only_and_as_many_as_its_kind_has() {
        for (text, good) in [
            ("99970", false),
            ("999700", true),
            ("999700123456789", true),
            ("9997001234567890", false),
            ("99970012345678x", false),
            ("+99970012345678", false),
            ("", false),
        ] {
            assert_eq!(text.parse::<Imsi>().is_ok(), good, "{text}");
        }
        let lengths = |len: usize| "1".repeat(len).parse::<Imei>().is_ok();
        assert_eq!([13, 14, 15, 16, 17].map(lengths), [false, true, true, true, false]);
        let error = "99970012345678x".parse::<Imsi>().unwrap_err().to_string();
        assert_eq!(
            error,
            "an IMSI is 6 to 15 digits; this has 15 characters, not all of them digits"
        );
    }

    #[test]
    fn numbers_print_redacted_and_are_spelled_out_where_asked() {
        let imsi: Imsi = "999700123456789".parse().unwrap();
        assert_eq!(imsi.to_string(), "99970**********");
        assert_eq!(format!("{imsi:?}"), "99970**********");
        assert_eq!(imsi.as_str(), "999700123456789");
        let imei: Imei = "356938035643809".parse().unwrap();
        assert_eq!(imei.to_string(), "35693803*******");
        let msisdn: Msisdn = "447700900123".parse().unwrap();
        assert_eq!(msisdn.to_string(), "447*********");
        assert_eq!(serde_json::to_string(&imsi).unwrap(), "\"999700123456789\"");
        assert_eq!(serde_json::from_str::<Imsi>("\"999700123456789\"").unwrap(), imsi);
        assert!(serde_json::from_str::<Imsi>("\"9997\"").is_err());
    }

    #[test]
    fn the_check_digit_and_the_software_version_name_no_equipment() {
        let imei = |t: &str| t.parse::<Imei>().unwrap();
        assert!(imei("356938035643809").same_equipment(&imei("3569380356438001")));
        assert!(imei("356938035643809").same_equipment(&imei("35693803564380")));
        assert!(!imei("356938035643809").same_equipment(&imei("356938035643819")));
    }

    #[test]
    fn an_access_point_name_is_labels_and_knows_no_case() {
        let long = "x".repeat(64);
        for (text, good) in [
            ("internet", true),
            ("IMS.Operator-1", true),
            ("", false),
            ("a..b", false),
            ("a_b", false),
            ("-a", false),
            (long.as_str(), false),
        ] {
            assert_eq!(text.parse::<Apn>().is_ok(), good, "{text}");
        }
        assert_eq!("Internet".parse::<Apn>().unwrap().as_str(), "internet");
    }
}
