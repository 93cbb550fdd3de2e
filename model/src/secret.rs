//! Keys and other secrets: wiped when dropped, compared in constant time, never printed.

use std::fmt;
use std::str::FromStr;

use subtle::ConstantTimeEq;
use zeroize::{Zeroize, ZeroizeOnDrop};

/// Secret octets. Wiped on drop, compared in constant time (for equal lengths), printed as
/// `[redacted]`.
#[derive(Clone, Default, Zeroize, ZeroizeOnDrop)]
pub struct Secret(Vec<u8>);

impl Secret {
    /// Takes the octets; no copy is left behind.
    pub fn new(octets: impl Into<Vec<u8>>) -> Self {
        Self(octets.into())
    }

    /// The octets themselves. Whoever calls this keeps them out of logs and off disks.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }
}

impl PartialEq for Secret {
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl Eq for Secret {}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

/// A WPA passphrase: 8 to 63 printable ASCII characters (IEEE 802.11-2020 J.4.1).
#[derive(Clone, PartialEq, Eq)]
pub struct Passphrase(Secret);

/// A text that is no WPA passphrase. The text itself is not repeated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PassphraseError {
    /// Too short or too long.
    #[error("a passphrase has 8 to 63 characters, not {0}")]
    Length(usize),
    /// A character outside printable ASCII.
    #[error("a passphrase has printable ASCII characters only; character {0} is none")]
    Character(usize),
}

impl Passphrase {
    /// The characters, all printable ASCII.
    pub fn expose(&self) -> &str {
        std::str::from_utf8(self.0.expose()).unwrap_or_default()
    }
}

impl FromStr for Passphrase {
    type Err = PassphraseError;

    fn from_str(text: &str) -> Result<Self, PassphraseError> {
        if let Some(at) = text.bytes().position(|c| !(32..=126).contains(&c)) {
            return Err(PassphraseError::Character(at + 1));
        }
        if !(8..=63).contains(&text.len()) {
            return Err(PassphraseError::Length(text.len()));
        }
        Ok(Self(Secret::new(text)))
    }
}

impl fmt::Debug for Passphrase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

/// A 256-bit pre-shared key (PSK, the PMK of WPA2-Personal).
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct Psk([u8; 32]);

impl Psk {
    /// The key with these octets.
    pub fn new(octets: [u8; 32]) -> Self {
        Self(octets)
    }

    /// The octets.
    pub fn expose(&self) -> &[u8; 32] {
        &self.0
    }

    /// 64 lower-case hex digits: hostapd's fast form, for it needs no PBKDF2.
    pub fn to_hex(&self) -> zeroize::Zeroizing<String> {
        let mut hex = String::with_capacity(64);
        for octet in &self.0 {
            for nibble in [octet >> 4, octet & 15] {
                hex.push(char::from_digit(u32::from(nibble), 16).unwrap_or('0'));
            }
        }
        zeroize::Zeroizing::new(hex)
    }

    /// Reads 64 hex digits of either case.
    pub fn from_hex(text: &str) -> Option<Self> {
        let octets = zeroize::Zeroizing::new(crate::address::decode_hex(text)?);
        Some(Self(octets.as_slice().try_into().ok()?))
    }
}

impl PartialEq for Psk {
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl Eq for Psk {}

impl fmt::Debug for Psk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

/// A device's own key for its home SSID.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DeviceKey {
    /// A passphrase, with the PSK that PBKDF2 makes of it and the SSID, computed once when the
    /// device was provisioned. Good for WPA2-PSK and for WPA3-SAE.
    Passphrase {
        /// What the subscriber types.
        passphrase: Passphrase,
        /// PBKDF2-HMAC-SHA1(passphrase, SSID, 4096).
        psk: Psk,
    },
    /// A raw PSK. Good for WPA2-PSK only: SAE starts from a password.
    Psk(Psk),
}

impl DeviceKey {
    /// The PSK of WPA2-Personal.
    pub fn psk(&self) -> &Psk {
        match self {
            Self::Passphrase { psk, .. } | Self::Psk(psk) => psk,
        }
    }

    /// The password of WPA3-SAE, if there is one.
    pub fn passphrase(&self) -> Option<&Passphrase> {
        match self {
            Self::Passphrase { passphrase, .. } => Some(passphrase),
            Self::Psk(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_secret_prints_its_octets() {
        let key = DeviceKey::Passphrase {
            passphrase: "correct horse".parse().unwrap(),
            psk: Psk::new([0x5c; 32]),
        };
        let shown = format!("{key:?} {:?}", Secret::new("correct horse"));
        assert!(
            !shown.contains("correct") && !shown.contains("5c") && !shown.contains("92"),
            "{shown}"
        );
    }

    #[test]
    fn a_passphrase_is_8_to_63_printable_ascii_characters() {
        assert_eq!("short".parse::<Passphrase>(), Err(PassphraseError::Length(5)));
        assert_eq!("x".repeat(64).parse::<Passphrase>(), Err(PassphraseError::Length(64)));
        assert_eq!("pass\u{e9}word".parse::<Passphrase>(), Err(PassphraseError::Character(5)));
        assert!("x".repeat(63).parse::<Passphrase>().is_ok());
    }

    #[test]
    fn a_psk_survives_hex() {
        let key = Psk::new(std::array::from_fn(|i| i as u8 * 7));
        assert_eq!(Psk::from_hex(&key.to_hex()), Some(key));
        assert_eq!(Psk::from_hex("00"), None);
    }
}
