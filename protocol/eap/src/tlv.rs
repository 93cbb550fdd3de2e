//! The messages that end a PEAPv0 conversation within its tunnel: EAP-TLV with a result and, if
//! both sides do it, a crypto-binding ([MS-PEAP] 2.2.8.1).

use subtle::ConstantTimeEq;

use crate::keys::Compound;

const RESULT: u16 = 3;
const CRYPTO_BINDING: u16 = 12;
/// The M bit, and the reserved one behind it.
const FLAGS: u16 = 0xc000;
/// Octets of a crypto-binding TLV with its header.
const BINDING_LEN: usize = 60;
const MAC_LEN: usize = 20;

/// What the peer's EAP-TLV says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PeerResult<'a> {
    /// Whether it succeeded, if it says.
    pub success: Option<bool>,
    /// Its crypto-binding TLV, header and all.
    pub binding: Option<&'a [u8; BINDING_LEN]>,
}

impl<'a> PeerResult<'a> {
    /// Reads the TLVs behind the type. `None` if lengths do not add up.
    pub fn decode(octets: &'a [u8]) -> Option<Self> {
        let mut rest = octets;
        let mut result = Self::default();
        while !rest.is_empty() {
            let (&[t0, t1, l0, l1], _) = rest.split_first_chunk::<4>()?;
            let length = 4 + usize::from(u16::from_be_bytes([l0, l1]));
            let (tlv, after) = rest.split_at_checked(length)?;
            match u16::from_be_bytes([t0, t1]) & !FLAGS {
                RESULT => result.success = Some(*tlv.last_chunk::<2>()? == [0, 1]),
                CRYPTO_BINDING => result.binding = Some(tlv.try_into().ok()?),
                _ => {}
            }
            rest = after;
        }
        Some(result)
    }
}

/// Result TLV: what follows the type.
pub(crate) fn result(success: bool) -> Vec<u8> {
    vec![0x80, 3, 0, 2, 0, if success { 1 } else { 2 }]
}

/// Crypto-binding TLV, a request: PEAP version 0 offered and received.
pub(crate) fn binding(keys: &Compound, nonce: &[u8; 32]) -> Vec<u8> {
    let mut tlv = vec![0, 12, 0, 56, 0, 0, 0, 0];
    tlv.extend(nonce);
    tlv.extend([0; MAC_LEN]);
    let mac = keys.mac(&tlv);
    tlv.truncate(BINDING_LEN - MAC_LEN);
    tlv.extend(mac);
    tlv
}

/// Whether the peer's crypto-binding is a response by somebody who has our keys.
pub(crate) fn is_bound(keys: &Compound, tlv: &[u8; BINDING_LEN]) -> bool {
    let mut zeroed = *tlv;
    let Some((head, mac)) = zeroed.split_last_chunk_mut::<MAC_LEN>() else { return false };
    let theirs = std::mem::replace(mac, [0; MAC_LEN]);
    // Sub-type 1: a response, so that ours sent back does not pass for one.
    let response = head.get(7).is_some_and(|kind| kind & 0x0f == 1);
    response && bool::from(keys.mac(&zeroed).ct_eq(&theirs))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys::Msk;

    #[test]
    fn a_binding_is_accepted_from_who_has_the_keys_as_a_response_only() {
        let keys = Compound::new(&Msk::new([7; 64]), Some(&[1; 32]));
        let request: [u8; 60] = binding(&keys, &[5; 32]).try_into().unwrap();
        assert!(!is_bound(&keys, &request), "our own sent back");
        let mut response = request;
        response[7] = 1;
        response[40..].fill(0);
        let mac = keys.mac(&response);
        response[40..].copy_from_slice(&mac);
        assert!(is_bound(&keys, &response));
        assert!(!is_bound(&Compound::new(&Msk::new([7; 64]), Some(&[2; 32])), &response));
        response[20] ^= 1;
        assert!(!is_bound(&keys, &response));
    }

    #[test]
    fn results_are_read_and_cut_ones_refused() {
        let said = result(true);
        let read = PeerResult::decode(&said).unwrap();
        assert_eq!((read.success, read.binding), (Some(true), None));
        assert_eq!(PeerResult::decode(&result(false)).unwrap().success, Some(false));
        assert_eq!(PeerResult::decode(&[0x80, 3, 0, 3, 0, 1]), None);
        assert_eq!(PeerResult::decode(&[0, 12, 0, 1, 0]), None);
    }
}
