//! Keys: what a method leaves behind, and PEAP's crypto-binding.

use std::fmt;

use hmac::{Hmac, KeyInit, Mac};
use sha1::Sha1;
use subtle::ConstantTimeEq;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use crate::packet::kind;

/// A master session key (RFC 5247 1.3): 64 octets. Wiped on drop, printed as `[redacted]`.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct Msk([u8; 64]);

impl Msk {
    pub(crate) fn new(octets: [u8; 64]) -> Self {
        Self(octets)
    }

    /// All 64 octets.
    pub fn expose(&self) -> &[u8; 64] {
        &self.0
    }

    /// MS-MPPE-Recv-Key (RFC 2548 2.4.3; the PMK of 802.11): the first 32 octets.
    pub fn receive(&self) -> &[u8; 32] {
        self.0.first_chunk().unwrap_or(&[0; 32])
    }

    /// MS-MPPE-Send-Key (RFC 2548 2.4.2): the last 32 octets.
    pub fn send(&self) -> &[u8; 32] {
        self.0.last_chunk().unwrap_or(&[0; 32])
    }
}

impl PartialEq for Msk {
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl Eq for Msk {}

impl fmt::Debug for Msk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

/// The keys that bind PEAP's tunnel to what was said in it ([MS-PEAP] 3.1.5.5.2).
#[derive(Zeroize, ZeroizeOnDrop)]
pub(crate) struct Compound {
    /// Intermediate PEAP MAC key, 40 octets.
    ipmk: [u8; 40],
    /// Compound MAC key.
    cmk: [u8; 20],
}

impl Compound {
    /// Of the tunnel's key material and the inner method's session key. A resumed session has
    /// no inner method: its keys are the tunnel's ([MS-PEAP] 3.1.5.5.2.2).
    pub(crate) fn new(tunnel: &Msk, inner: Option<&[u8; 32]>) -> Self {
        let mut both = Zeroizing::new([0u8; 60]);
        match inner {
            Some(inner) => {
                let temporary = tunnel.0.first_chunk::<40>().unwrap_or(&[0; 40]);
                prf_plus(temporary, b"Inner Methods Compound Keys", inner, both.as_mut_slice());
            }
            None => both.iter_mut().zip(tunnel.0).for_each(|(octet, value)| *octet = value),
        }
        Self {
            ipmk: *both.first_chunk().unwrap_or(&[0; 40]),
            cmk: *both.last_chunk().unwrap_or(&[0; 20]),
        }
    }

    /// Compound MAC over a crypto-binding TLV whose own MAC field is zero.
    pub(crate) fn mac(&self, tlv: &[u8]) -> [u8; 20] {
        hmac_sha1(&self.cmk, &[tlv, &[kind::PEAP]])
    }

    /// The MSK of a bound conversation: the first half of the compound session key.
    pub(crate) fn msk(&self) -> Msk {
        let mut session = Zeroizing::new([0u8; 128]);
        prf_plus(&self.ipmk, b"Session Key Generating Function", &[0], session.as_mut_slice());
        Msk(*session.first_chunk().unwrap_or(&[0; 64]))
    }
}

/// PRF+ of PEAPv0: T(n) = HMAC-SHA1(key, T(n-1) | label | seed | n | 0 | 0).
fn prf_plus(key: &[u8], label: &[u8], seed: &[u8], out: &mut [u8]) {
    let mut block = Zeroizing::new(Vec::with_capacity(20));
    for (n, chunk) in (1u8..).zip(out.chunks_mut(20)) {
        let next = hmac_sha1(key, &[&block, label, seed, &[n, 0, 0]]);
        block.clear();
        block.extend(next);
        chunk.iter_mut().zip(next).for_each(|(octet, value)| *octet = value);
    }
}

fn hmac_sha1(key: &[u8], parts: &[&[u8]]) -> [u8; 20] {
    // HMAC takes keys of any length.
    let Ok(mut mac) = Hmac::<Sha1>::new_from_slice(key) else { return [0; 20] };
    for part in parts {
        mac.update(part);
    }
    mac.finalize().into_bytes().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_halves_of_an_msk_are_the_mppe_keys_and_it_prints_none() {
        let msk = Msk::new(std::array::from_fn(|i| u8::try_from(i).unwrap()));
        assert_eq!((msk.receive()[0], msk.receive()[31]), (0, 31));
        assert_eq!((msk.send()[0], msk.send()[31]), (32, 63));
        assert_eq!(format!("{msk:?}"), "[redacted]");
    }

    #[test]
    fn a_resumed_session_is_bound_by_the_tunnel_alone() {
        let tunnel = Msk::new(std::array::from_fn(|i| u8::try_from(i).unwrap()));
        let resumed = Compound::new(&tunnel, None);
        assert_eq!(resumed.ipmk[..], tunnel.0[..40]);
        assert_eq!(resumed.cmk[..], tunnel.0[40..60]);
        let full = Compound::new(&tunnel, Some(&[0; 32]));
        assert_ne!(full.cmk, resumed.cmk);
        assert_ne!(full.msk(), tunnel);
    }
}
