//! Sealing: AES-256-GCM over secrets at rest.
//!
//! A sealed value is `version (1) ‖ key id (8) ‖ nonce (12) ‖ ciphertext ‖ tag (16)`. The
//! associated data binds version, key id, table, column and row, so that a value moved to another
//! row does not open. Nonces are random; at 96 bits, one key is good for 2³² values (NIST SP
//! 800-38D section 8.3), far beyond what an operator provisions between two rotations.

use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock};

use aes_gcm::aead::AeadInOut;
use aes_gcm::{Aes256Gcm, Nonce, Tag};
use homeward_model::Entropy;
use zeroize::Zeroizing;

use crate::keyring::{KeyFileError, KeyId, KeyRing};

/// A place for a sealed value: it opens nowhere else.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Slot {
    /// The table.
    pub table: &'static str,
    /// The column.
    pub column: &'static str,
    /// The row's identifier.
    pub row: i64,
}

/// Why a value could not be sealed or opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SealError {
    /// The tag does not match.
    #[error(
        "{table} {row}: its sealed {column} does not open with key {key} of {path}: it was altered or moved, or this is another datastore's key file",
        path = path.display()
    )]
    Closed {
        /// The table.
        table: &'static str,
        /// The row.
        row: i64,
        /// The column.
        column: &'static str,
        /// The key that was tried.
        key: KeyId,
        /// The key file it is from.
        path: PathBuf,
    },
    /// The value names a key that is not in the key file.
    #[error(
        "{table} {row}: its {column} is sealed with key {key}, which {path} does not hold; is it another datastore's key file?",
        path = path.display()
    )]
    UnknownKey {
        /// The table.
        table: &'static str,
        /// The row.
        row: i64,
        /// The column.
        column: &'static str,
        /// The key named.
        key: KeyId,
        /// The key file.
        path: PathBuf,
    },
    /// The datastore seals with a key that is not in the key file.
    #[error(
        "the datastore is sealed with key {key}, which {path} does not hold; is it another datastore's key file?",
        path = path.display()
    )]
    WrongKeyFile {
        /// The key the datastore names.
        key: KeyId,
        /// The key file.
        path: PathBuf,
    },
    /// The value is none this version has sealed.
    #[error("{table} {row}: its {column} is no sealed value of this version")]
    Malformed {
        /// The table.
        table: &'static str,
        /// The row.
        row: i64,
        /// The column.
        column: &'static str,
    },
    /// The key file had to be read again, and could not.
    #[error("a newer key is needed from the key file")]
    Reload(#[source] KeyFileError),
}

impl SealError {
    /// What `slot` holds is no sealed value of this version, or none of its kind.
    pub const fn malformed(slot: Slot) -> Self {
        Self::Malformed { table: slot.table, row: slot.row, column: slot.column }
    }
}

const VERSION: u8 = 1;
const HEAD: usize = 1 + KeyId::LEN + NONCE;
const NONCE: usize = 12;
const TAG: usize = 16;

/// Seals and opens with the keys of one key file, which it reads again when it meets a key that
/// it does not know.
#[derive(Debug)]
pub struct Sealer {
    ring: RwLock<Arc<KeyRing>>,
}

impl Sealer {
    /// A sealer with the keys of `ring`.
    pub fn new(ring: KeyRing) -> Self {
        Self { ring: RwLock::new(Arc::new(ring)) }
    }

    /// The keys it has now.
    pub fn ring(&self) -> Arc<KeyRing> {
        Arc::clone(&self.ring.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Takes the key file's keys in. Keys that are no longer in the file are kept in memory, for
    /// a value that was read before a rotation and is opened after.
    pub fn reload(&self) -> Result<Arc<KeyRing>, KeyFileError> {
        let path = self.ring().path().to_owned();
        let read = KeyRing::load(&path)?;
        let mut held = self.ring.write().unwrap_or_else(PoisonError::into_inner);
        *held = Arc::new(held.merged(read));
        Ok(Arc::clone(&held))
    }

    /// The ring that holds `key`, read again once if need be; `None` if the file does not hold it.
    pub fn ring_with(&self, key: KeyId) -> Result<Option<Arc<KeyRing>>, SealError> {
        let ring = self.ring();
        if ring.cipher(key).is_some() {
            return Ok(Some(ring));
        }
        tracing::debug!(key = %key, "key file read again");
        let ring = self.reload().map_err(SealError::Reload)?;
        Ok(ring.cipher(key).is_some().then_some(ring))
    }

    /// Seals `plain` for `slot` with `key`.
    pub fn seal(
        &self,
        slot: Slot,
        key: KeyId,
        plain: &[u8],
        entropy: &mut dyn Entropy,
    ) -> Result<Vec<u8>, SealError> {
        let ring = self.ring_with(key)?;
        let cipher =
            ring.as_ref().and_then(|r| r.cipher(key)).ok_or_else(|| self.unknown(slot, key))?;
        let mut nonce = [0u8; NONCE];
        entropy.fill(&mut nonce);
        let mut blob = Vec::with_capacity(HEAD + plain.len() + TAG);
        blob.push(VERSION);
        blob.extend_from_slice(&key.octets());
        blob.extend_from_slice(&nonce);
        blob.extend_from_slice(plain);
        let room = blob.get_mut(HEAD..).unwrap_or_default();
        let tag = cipher
            .encrypt_inout_detached(&Nonce::from(nonce), &associated(slot, key), room.into())
            .map_err(|_| SealError::malformed(slot))?;
        blob.extend_from_slice(&tag);
        Ok(blob)
    }

    /// Opens what was sealed for `slot`.
    pub fn open(&self, slot: Slot, blob: &[u8]) -> Result<Zeroizing<Vec<u8>>, SealError> {
        let parts = Parts::of(blob).ok_or_else(|| SealError::malformed(slot))?;
        let ring = self.ring_with(parts.key)?;
        let cipher = ring
            .as_ref()
            .and_then(|r| r.cipher(parts.key))
            .ok_or_else(|| self.unknown(slot, parts.key))?;
        open_with(cipher, slot, &parts).ok_or_else(|| SealError::Closed {
            table: slot.table,
            row: slot.row,
            column: slot.column,
            key: parts.key,
            path: self.ring().path().to_owned(),
        })
    }

    fn unknown(&self, slot: Slot, key: KeyId) -> SealError {
        let path = self.ring().path().to_owned();
        SealError::UnknownKey { table: slot.table, row: slot.row, column: slot.column, key, path }
    }
}

struct Parts<'a> {
    key: KeyId,
    nonce: [u8; NONCE],
    cipher_text: &'a [u8],
    tag: [u8; TAG],
}

impl<'a> Parts<'a> {
    fn of(blob: &'a [u8]) -> Option<Self> {
        let (version, rest) = blob.split_first()?;
        let (key, rest) = rest.split_first_chunk()?;
        let (nonce, rest) = rest.split_first_chunk()?;
        let (cipher_text, tag) = rest.split_last_chunk()?;
        (*version == VERSION).then_some(Self {
            key: KeyId::new(*key),
            nonce: *nonce,
            cipher_text,
            tag: *tag,
        })
    }
}

fn open_with(cipher: &Aes256Gcm, slot: Slot, parts: &Parts<'_>) -> Option<Zeroizing<Vec<u8>>> {
    let mut plain = Zeroizing::new(parts.cipher_text.to_vec());
    let (nonce, tag) = (Nonce::from(parts.nonce), Tag::from(parts.tag));
    cipher
        .decrypt_inout_detached(
            &nonce,
            &associated(slot, parts.key),
            plain.as_mut_slice().into(),
            &tag,
        )
        .ok()?;
    Some(plain)
}

/// Version, key id, and the slot; the names are told apart by a NUL, which none contains.
fn associated(slot: Slot, key: KeyId) -> Vec<u8> {
    let mut data = Vec::with_capacity(48);
    data.push(VERSION);
    data.extend_from_slice(&key.octets());
    for name in [slot.table, slot.column] {
        data.extend_from_slice(name.as_bytes());
        data.push(0);
    }
    data.extend_from_slice(&slot.row.to_be_bytes());
    data
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::XorshiftEntropy;
    use homeward_model::UnixTime;
    use proptest::prelude::*;
    use tempfile::TempDir;

    fn sealer() -> (TempDir, Sealer, KeyId) {
        let directory = TempDir::new().unwrap();
        let path = directory.path().join("keys");
        let ring = KeyRing::generate(&path, &mut XorshiftEntropy::new(1), UnixTime(0)).unwrap();
        let (key, _) = ring.newest().unwrap();
        (directory, Sealer::new(ring), key)
    }

    const SLOT: Slot = Slot { table: "device", column: "key", row: 7 };

    proptest! {
        #[test]
        fn what_is_sealed_opens_in_its_slot_and_in_no_other(
            plain in proptest::collection::vec(any::<u8>(), 0..300),
            seed: u64,
        ) {
            let (_directory, sealer, key) = sealer();
            let blob = sealer.seal(SLOT, key, &plain, &mut XorshiftEntropy::new(seed)).unwrap();
            prop_assert_eq!(blob.len(), 37 + plain.len());
            let opened = sealer.open(SLOT, &blob).unwrap();
            prop_assert_eq!(opened.as_slice(), plain.as_slice());
            for other in [
                Slot { row: 8, ..SLOT },
                Slot { column: "label", ..SLOT },
                Slot { table: "gateway", ..SLOT },
                Slot { table: "gateway", column: "radius_secret", row: 7 },
            ] {
                let error = sealer.open(other, &blob).unwrap_err();
                prop_assert!(matches!(error, SealError::Closed { .. }), "{}", error);
            }
        }

        #[test]
        fn what_is_altered_does_not_open(
            plain in proptest::collection::vec(any::<u8>(), 0..60),
            at: proptest::sample::Index,
            flip in 1..=255u8,
        ) {
            let (_directory, sealer, key) = sealer();
            let mut blob = sealer.seal(SLOT, key, &plain, &mut XorshiftEntropy::new(3)).unwrap();
            let at = at.index(blob.len());
            blob[at] ^= flip;
            prop_assert!(sealer.open(SLOT, &blob).is_err());
        }

        #[test]
        fn opening_never_panics(blob in proptest::collection::vec(any::<u8>(), 0..80)) {
            let (_directory, sealer, _) = sealer();
            prop_assert!(sealer.open(SLOT, &blob).is_err());
        }
    }

    #[test]
    fn a_value_cut_short_does_not_open() {
        let (_directory, sealer, key) = sealer();
        let blob = sealer.seal(SLOT, key, b"secret", &mut XorshiftEntropy::new(3)).unwrap();
        for len in 0..blob.len() {
            assert!(sealer.open(SLOT, &blob[..len]).is_err(), "{len}");
        }
    }

    #[test]
    fn two_values_alike_are_sealed_unlike() {
        let (_directory, sealer, key) = sealer();
        let mut entropy = XorshiftEntropy::new(3);
        let one = sealer.seal(SLOT, key, b"secret", &mut entropy).unwrap();
        let two = sealer.seal(SLOT, key, b"secret", &mut entropy).unwrap();
        assert_ne!(one, two);
    }

    #[test]
    fn a_key_that_the_file_does_not_hold_is_named() {
        let (_directory, sealer, key) = sealer();
        let mut blob = sealer.seal(SLOT, key, b"secret", &mut XorshiftEntropy::new(3)).unwrap();
        blob[1..9].copy_from_slice(&[0xee; 8]);
        let path = sealer.ring().path().display().to_string();
        assert_eq!(
            sealer.open(SLOT, &blob).unwrap_err().to_string(),
            format!(
                "device 7: its key is sealed with key eeeeeeeeeeeeeeee, which {path} does not hold; is it another datastore's key file?"
            )
        );
    }

    /// Test case 16 of the GCM specification (McGrew and Viega 2005, appendix B), AES-256 with
    /// associated data: that the cipher is the one it says it is.
    #[test]
    fn the_cipher_is_aes_256_gcm() {
        use aes_gcm::KeyInit;
        let hex = |text: &str| homeward_model::address::decode_hex(text).unwrap();
        let key: [u8; 32] = hex("feffe9928665731c6d6a8f9467308308feffe9928665731c6d6a8f9467308308")
            .try_into()
            .unwrap();
        let nonce: [u8; 12] = hex("cafebabefacedbaddecaf888").try_into().unwrap();
        let mut text = hex(concat!(
            "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a72",
            "1c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b39",
        ));
        let associated = hex("feedfacedeadbeeffeedfacedeadbeefabaddad2");
        let tag = Aes256Gcm::new(&key.into())
            .encrypt_inout_detached(&Nonce::from(nonce), &associated, text.as_mut_slice().into())
            .unwrap();
        assert_eq!(
            text,
            hex(concat!(
                "522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa",
                "8cb08e48590dbb3da7b08b1056828838c5f61e6393ba7a0abcc9f662",
            ))
        );
        assert_eq!(tag.as_slice(), hex("76fc6ece0f4e1768cddf8853bb2d551b"));
    }
}
