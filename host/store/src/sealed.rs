//! What is sealed in the database: where it belongs, and the octets that are sealed.

use homeward_model::{DeviceKey, NtHash, Passphrase, Psk, Secret, Verifier};
use homeward_seal::{SealError, Slot};
use zeroize::Zeroizing;

/// Where a device's key is kept.
pub(crate) const fn device_key(row: i64) -> Slot {
    Slot { table: "device", column: "key", row }
}

/// Where a gateway's RADIUS secret is kept.
pub(crate) const fn radius_secret(row: i64) -> Slot {
    Slot { table: "gateway", column: "radius_secret", row }
}

/// Where what a log-in's password is held against is kept.
pub(crate) const fn login_verifier(row: i64) -> Slot {
    Slot { table: "login", column: "verifier", row }
}

/// Where the key of the control channel's authority is kept.
pub(crate) const fn authority_key(row: i64) -> Slot {
    Slot { table: "authority", column: "key", row }
}

/// The octets that are sealed for a device's key: kind (1) ‖ PSK (32) ‖ length (1) ‖ passphrase,
/// padded to 63, so that the length of a passphrase does not show.
pub(crate) fn encode_key(key: &DeviceKey) -> Zeroizing<Vec<u8>> {
    let passphrase = key.passphrase().map_or("", Passphrase::expose).as_bytes();
    let mut plain = Zeroizing::new(Vec::with_capacity(KEY));
    plain.push(u8::from(!passphrase.is_empty()));
    plain.extend_from_slice(key.psk().expose());
    plain.push(u8::try_from(passphrase.len()).unwrap_or(u8::MAX));
    plain.extend_from_slice(passphrase);
    plain.resize(KEY, 0);
    plain
}

/// The octets that are sealed for a log-in: kind (1) ‖ NT hash (16), PHC string or
/// password.
pub(crate) fn encode_verifier(verifier: &Verifier) -> Zeroizing<Vec<u8>> {
    let (kind, octets) = match verifier {
        Verifier::NtHash(hash) => (0, &hash.expose()[..]),
        Verifier::Argon2id(phc) => (1, phc.expose()),
        Verifier::Password(password) => (2, password.expose()),
    };
    let mut plain = Zeroizing::new(Vec::with_capacity(1 + octets.len()));
    plain.push(kind);
    plain.extend_from_slice(octets);
    plain
}

/// Reads what [`encode_verifier`] wrote.
pub(crate) fn decode_verifier(slot: Slot, plain: &[u8]) -> Result<Verifier, SealError> {
    match plain {
        [0, hash @ ..] => {
            let hash = hash.try_into().map_err(|_| SealError::malformed(slot))?;
            Ok(Verifier::NtHash(NtHash::new(hash)))
        }
        [1, phc @ ..] => Ok(Verifier::Argon2id(Secret::new(phc))),
        [2, password @ ..] => Ok(Verifier::Password(Secret::new(password))),
        _ => Err(SealError::malformed(slot)),
    }
}

/// Reads what [`encode_key`] wrote.
pub(crate) fn decode_key(slot: Slot, plain: &[u8]) -> Result<DeviceKey, SealError> {
    let parse = || {
        let (kind, rest) = plain.split_first()?;
        let (psk, rest) = rest.split_first_chunk::<32>()?;
        let (len, rest) = rest.split_first()?;
        let psk = Psk::new(*psk);
        match (kind, rest.get(..usize::from(*len))?) {
            (0, []) => Some(DeviceKey::Psk(psk)),
            (1, text) => {
                let passphrase = std::str::from_utf8(text).ok()?.parse().ok()?;
                Some(DeviceKey::Passphrase { passphrase, psk })
            }
            _ => None,
        }
    };
    parse().ok_or_else(|| SealError::malformed(slot))
}

/// Takes the opened octets as a secret; no copy is left behind.
pub(crate) fn into_secret(mut plain: Zeroizing<Vec<u8>>) -> Secret {
    Secret::new(std::mem::take(&mut *plain))
}

const KEY: usize = 1 + 32 + 1 + 63;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SLOT: Slot = device_key(7);

    proptest! {
        #[test]
        fn reading_a_key_never_panics(plain in proptest::collection::vec(any::<u8>(), 0..120)) {
            let _ = decode_key(SLOT, &plain);
        }

        #[test]
        fn a_key_survives_its_octets(text in "[ -~]{8,63}", psk: [u8; 32], raw: bool) {
            let psk = Psk::new(psk);
            let key = match raw {
                true => DeviceKey::Psk(psk),
                false => DeviceKey::Passphrase { passphrase: text.parse().unwrap(), psk },
            };
            let plain = encode_key(&key);
            prop_assert_eq!(plain.len(), KEY);
            prop_assert_eq!(decode_key(SLOT, &plain).unwrap(), key);
        }
    }
}
