//! Addresses and names that go over the air.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// An IEEE 802 MAC address.
///
/// `Display` and `Debug` show the first three octets only (`02:00:00:**:**:**`), so that a log
/// line above DEBUG names no subscriber. [`Mac::full`] spells all of it, for the wire, for files
/// and for what an operator asked to see.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Mac([u8; 6]);

/// A text that is no MAC address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a MAC address: give six octets in hex, such as 02:00:5e:10:00:01")]
pub struct MacError(pub String);

impl Mac {
    /// The address with these six octets, in transmission order.
    pub const fn new(octets: [u8; 6]) -> Self {
        Self(octets)
    }

    /// The six octets, in transmission order.
    pub const fn octets(self) -> [u8; 6] {
        self.0
    }

    /// Spells the address out: `02:00:5e:10:00:01`.
    pub fn full(self) -> FullMac {
        FullMac(self)
    }

    /// Whether the group bit is set (IEEE 802-2014 8.2.2): multicast or broadcast.
    pub const fn is_group(self) -> bool {
        self.0[0] & 1 != 0
    }

    /// Whether the address is locally administered, as a phone's throw-away ones are.
    pub const fn is_local(self) -> bool {
        self.0[0] & 2 != 0
    }
}

/// A [`Mac`] that prints in full.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct FullMac(Mac);

impl fmt::Display for FullMac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, ..] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:**:**:**")
    }
}

impl fmt::Debug for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Mac {
    type Err = MacError;

    /// Reads any usual spelling: `02:00:5e:10:00:01`, `02-00-5E-10-00-01`, `0200.5e10.0001`,
    /// `02005e100001`. Separators of one text are all alike.
    fn from_str(text: &str) -> Result<Self, MacError> {
        parse_mac(text.as_bytes()).map(Self).ok_or_else(|| MacError(text.to_owned()))
    }
}

fn parse_mac(text: &[u8]) -> Option<[u8; 6]> {
    let (separator, every) = match text.len() {
        12 => (None, 12),
        14 => (text.get(4).copied().filter(|c| *c == b'.'), 4),
        17 => (text.get(2).copied().filter(|c| matches!(c, b':' | b'-')), 2),
        _ => return None,
    };
    if text.len() != 12 && separator.is_none() {
        return None;
    }
    let mut octets = [0u8; 6];
    let mut digits = 0usize;
    for (at, c) in text.iter().enumerate() {
        if separator.is_some() && at % (every + 1) == every {
            if Some(*c) != separator {
                return None;
            }
            continue;
        }
        let value = char::from(*c).to_digit(16)? as u8;
        let octet = octets.get_mut(digits / 2)?;
        *octet = *octet << 4 | value;
        digits += 1;
    }
    (digits == 12).then_some(octets)
}

impl Serialize for Mac {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(&self.full())
    }
}

impl<'de> Deserialize<'de> for Mac {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(d)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// The name of a network: 1 to 32 octets, in practice UTF-8 (IEEE 802.11-2020 9.4.2.2).
///
/// The empty (wildcard) SSID is not an `Ssid`; where it can occur the type is `Option<Ssid>`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Ssid {
    len: u8,
    octets: [u8; 32],
}

/// Octets that are no SSID.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an SSID has 1 to 32 octets, not {0}")]
pub struct SsidError(pub usize);

impl Ssid {
    /// The SSID's octets.
    pub fn as_bytes(&self) -> &[u8] {
        self.octets.get(..usize::from(self.len)).unwrap_or_default()
    }

    /// The SSID as text, where it is UTF-8.
    pub fn as_str(&self) -> Option<&str> {
        std::str::from_utf8(self.as_bytes()).ok()
    }
}

impl TryFrom<&[u8]> for Ssid {
    type Error = SsidError;

    fn try_from(bytes: &[u8]) -> Result<Self, SsidError> {
        let mut octets = [0u8; 32];
        match octets.get_mut(..bytes.len()) {
            Some(room) if !bytes.is_empty() => room.copy_from_slice(bytes),
            _ => return Err(SsidError(bytes.len())),
        }
        Ok(Self { len: bytes.len() as u8, octets })
    }
}

impl FromStr for Ssid {
    type Err = SsidError;

    fn from_str(text: &str) -> Result<Self, SsidError> {
        Self::try_from(text.as_bytes())
    }
}

impl fmt::Display for Ssid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.as_bytes().escape_ascii())
    }
}

impl fmt::Debug for Ssid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{self}\"")
    }
}

impl Serialize for Ssid {
    /// Text where the SSID is UTF-8, else `hex:` and its octets.
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        match self.as_str() {
            Some(text) => s.serialize_str(text),
            None => {
                let hex: String = self.as_bytes().iter().map(|b| format!("{b:02x}")).collect();
                s.collect_str(&format_args!("hex:{hex}"))
            }
        }
    }
}

impl<'de> Deserialize<'de> for Ssid {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        use serde::de::Error;
        let text = std::borrow::Cow::<'de, str>::deserialize(d)?;
        if let Some(hex) = text.strip_prefix("hex:")
            && let Some(bytes) = decode_hex(hex)
            && std::str::from_utf8(&bytes).is_err()
        {
            return Self::try_from(bytes.as_slice()).map_err(D::Error::custom);
        }
        text.parse().map_err(D::Error::custom)
    }
}

/// Decodes an even number of hex digits of either case; `None` for anything else.
pub fn decode_hex(text: &str) -> Option<Vec<u8>> {
    if !text.len().is_multiple_of(2) {
        return None;
    }
    let digit = |c: u8| char::from(c).to_digit(16).map(|d| d as u8);
    text.as_bytes()
        .chunks_exact(2)
        .map(|p| Some(digit(*p.first()?)? << 4 | digit(*p.last()?)?))
        .collect()
}

/// Received signal strength, in dBm.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Rssi(pub i8);

impl fmt::Display for Rssi {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} dBm", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_mac_is_read_in_every_usual_spelling() {
        let mac = Mac::new([2, 0, 0x5e, 0x10, 0, 1]);
        for text in ["02:00:5e:10:00:01", "02-00-5E-10-00-01", "0200.5e10.0001", "02005E100001"] {
            assert_eq!(text.parse(), Ok(mac), "{text}");
        }
    }

    #[test]
    fn what_is_no_mac_is_refused() {
        for text in [
            "",
            "02:00:5e:10:00",
            "02:00:5e:10:00:0g",
            "02:00-5e:10:00:01",
            "02005e10.0001",
            "0200.5e10:0001",
            "02:00:5e:10:00:01:02",
            "+2005e100001",
            "02x00x5e10x001",
        ] {
            assert!(text.parse::<Mac>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_mac_prints_redacted_unless_asked() {
        let mac = Mac::new([2, 0, 0x5e, 0x10, 0, 1]);
        assert_eq!(format!("{mac} {mac:?}"), "02:00:5e:**:**:** 02:00:5e:**:**:**");
        assert_eq!(mac.full().to_string(), "02:00:5e:10:00:01");
    }

    #[test]
    fn an_ssid_has_1_to_32_octets() {
        assert_eq!("".parse::<Ssid>(), Err(SsidError(0)));
        assert_eq!("x".repeat(33).parse::<Ssid>(), Err(SsidError(33)));
        assert!("x".repeat(32).parse::<Ssid>().is_ok());
    }

    proptest! {
        #[test]
        fn an_ssid_survives_json(bytes in proptest::collection::vec(any::<u8>(), 1..=32)) {
            let ssid = Ssid::try_from(bytes.as_slice()).unwrap();
            let json = serde_json::to_string(&ssid).unwrap();
            prop_assert_eq!(serde_json::from_str::<Ssid>(&json).unwrap(), ssid);
        }

        #[test]
        fn a_mac_survives_its_own_spelling(octets: [u8; 6]) {
            let mac = Mac::new(octets);
            prop_assert_eq!(mac.full().to_string().parse(), Ok(mac));
        }

        #[test]
        fn parsing_a_mac_never_panics(text in "\\PC{0,20}") {
            let _ = text.parse::<Mac>();
        }
    }
}
