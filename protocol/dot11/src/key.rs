//! Passphrases, and the PSK that a passphrase and an SSID make (IEEE 802.11-2020 J.4).

use homeward_model::{DeviceKey, Entropy, Passphrase, Psk, Ssid};
use sha1::Sha1;
use zeroize::Zeroizing;

/// The 256-bit PSK of WPA2-Personal: PBKDF2-HMAC-SHA1(passphrase, SSID, 4,096 rounds).
///
/// Made to be slow: some milliseconds. Compute it when a device is provisioned, not when it
/// knocks.
pub fn psk(passphrase: &Passphrase, ssid: &Ssid) -> Psk {
    let mut key = Zeroizing::new([0; 32]);
    pbkdf2::pbkdf2_hmac::<Sha1>(
        passphrase.expose().as_bytes(),
        ssid.as_bytes(),
        4096,
        key.as_mut_slice(),
    );
    Psk::new(*key)
}

/// A device's own key for its home SSID, from what the subscriber types.
pub fn device_key(passphrase: Passphrase, ssid: &Ssid) -> DeviceKey {
    let psk = psk(&passphrase, ssid);
    DeviceKey::Passphrase { passphrase, psk }
}

/// Lower-case letters and digits that are not mistaken for one another: no `l`, `o`, `0`, `1`.
/// There are 32, so that five random bits choose one without bias.
const ALPHABET: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";
const GROUPS: usize = 4;
const PER_GROUP: usize = 5;

/// Makes up a passphrase of 100 random bits that a person can read out and type:
/// `xxxxx-xxxxx-xxxxx-xxxxx`.
pub fn generate_passphrase(entropy: &mut impl Entropy) -> Passphrase {
    let random = Zeroizing::new(entropy.octets::<{ GROUPS * PER_GROUP }>());
    let mut text = Zeroizing::new(String::with_capacity(GROUPS * (PER_GROUP + 1)));
    for (at, octet) in random.iter().enumerate() {
        if at != 0 && at.is_multiple_of(PER_GROUP) {
            text.push('-');
        }
        let character = ALPHABET.get(usize::from(octet & 31)).copied().unwrap_or_default();
        text.push(char::from(character));
    }
    text.parse().expect("23 characters of the alphabet are a passphrase")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_alphabet_has_32_different_unambiguous_characters() {
        let mut sorted = ALPHABET.to_vec();
        sorted.sort_unstable();
        sorted.dedup();
        assert_eq!(sorted.len(), 32);
        assert!(sorted.iter().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit()));
        assert!(b"lo01".iter().all(|c| !sorted.contains(c)));
    }
}
