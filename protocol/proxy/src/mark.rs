//! The Proxy-State that is ours: opaque to others, known again by us.
//!
//! ```text
//!  8 octets       8 octets
//!  nonce, random  the first of HMAC-SHA-256 over the nonce
//! ```
//!
//! Nobody else can make one, so whatever comes with one has been here before.

use homeward_model::{Entropy, Secret};
use ring::hmac;
use subtle::ConstantTimeEq;

const NONCE: usize = 8;
const TAG: usize = 8;

/// Octets of a Proxy-State of ours.
pub(crate) const LEN: usize = NONCE + TAG;

/// What makes Proxy-States ours. All workers and servers of one operator share it, so that each
/// knows what the others have sent.
#[derive(Clone)]
pub struct Key(hmac::Key);

impl Key {
    /// A key of these octets: 16 random ones or more, derived for nothing else.
    pub fn new(octets: &Secret) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, octets.expose()))
    }

    /// A new Proxy-State.
    pub(crate) fn make(&self, entropy: &mut impl Entropy) -> [u8; LEN] {
        let nonce: [u8; NONCE] = entropy.octets();
        let mut mark = [0; LEN];
        let tag = self.tag(&nonce);
        for (octet, value) in mark.iter_mut().zip(nonce.into_iter().chain(tag)) {
            *octet = value;
        }
        mark
    }

    /// Whether a Proxy-State is ours.
    pub(crate) fn is_ours(&self, proxy_state: &[u8]) -> bool {
        let Some((nonce, tag)) = proxy_state.split_first_chunk::<NONCE>() else { return false };
        tag.len() == TAG && bool::from(tag.ct_eq(&self.tag(nonce)))
    }

    /// What a hash begins with, so that nobody outside can foresee it.
    pub(crate) fn seed(&self) -> u64 {
        u64::from_be_bytes(self.tag(b"identity"))
    }

    fn tag(&self, nonce: &[u8; NONCE]) -> [u8; TAG] {
        let tag = hmac::sign(&self.0, nonce);
        tag.as_ref().first_chunk().copied().unwrap_or_default()
    }
}

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("[redacted]")
    }
}

#[cfg(test)]
mod tests {
    use homeward_radius::testing::Counted;

    use super::*;

    #[test]
    fn our_mark_is_known_again_and_no_other_is() {
        let key = Key::new(&Secret::new([1; 32]));
        let mut entropy = Counted(1);
        let mark = key.make(&mut entropy);
        assert!(key.is_ours(&mark));
        assert_ne!(mark, key.make(&mut entropy));
        for at in 0..LEN {
            let mut other = mark;
            other[at] ^= 1;
            assert!(!key.is_ours(&other), "octet {at}");
        }
        assert!(!key.is_ours(&mark[..LEN - 1]) && !key.is_ours(&[]));
        assert!(!key.is_ours(&[&mark[..], &[0]].concat()));
        assert!(!Key::new(&Secret::new([2; 32])).is_ours(&mark));
    }
}
