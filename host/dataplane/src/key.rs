//! Key material.

use std::fmt;

use boringtun::x25519::{PublicKey, StaticSecret};
use homeward_model::Secret;
use subtle::ConstantTimeEq;
use zeroize::{Zeroize, ZeroizeOnDrop};

/// 32 secret octets: an X25519 private key, or WireGuard's pre-shared key. Wiped when dropped,
/// compared in constant time, printed as `[redacted]`.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct Key([u8; 32]);

impl Key {
    /// The key with these octets.
    pub const fn new(octets: [u8; 32]) -> Self {
        Self(octets)
    }

    /// The X25519 public key that belongs to it, where it is a private key.
    pub fn public_key(&self) -> [u8; 32] {
        PublicKey::from(&StaticSecret::from(self.0)).to_bytes()
    }

    /// The octets.
    pub const fn expose(&self) -> &[u8; 32] {
        &self.0
    }
}

/// A secret that is no key: it has another length than 32 octets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a key has 32 octets, not {0}")]
pub struct KeyLength(pub usize);

impl TryFrom<&Secret> for Key {
    type Error = KeyLength;

    fn try_from(secret: &Secret) -> Result<Self, KeyLength> {
        let octets = secret.expose();
        octets.try_into().map(Self).map_err(|_| KeyLength(octets.len()))
    }
}

impl PartialEq for Key {
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl Eq for Key {}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_prints_none_of_its_octets_and_has_32_of_them() {
        assert_eq!(format!("{:?}", Key::new([0x5c; 32])), "[redacted]");
        assert_eq!(Key::try_from(&Secret::new([7; 32])), Ok(Key::new([7; 32])));
        assert_eq!(Key::try_from(&Secret::new([7; 31])), Err(KeyLength(31)));
    }
}
