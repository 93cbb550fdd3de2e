//! The BSSID of the nth virtual access point of a radio.
//!
//! hostapd chooses one itself where a BSS names none, but not well enough: in a BSS added at run
//! time it always takes the radio's address plus one, because it compares with the *configured*
//! BSSIDs only. The second such BSS collides with the first and is refused by the kernel
//! (hostapd 2.10 and 2.11, `hostapd_setup_bss`). So we choose.
//!
//! What drivers accept: each radio tells in `address_mask` (sysfs, from the driver's
//! `wiphy.addr_mask`) which bits its interfaces may differ in; all zero means any. Within the
//! mask we count upwards. Without a mask we vary the first octet, with the locally administered
//! bit set: the other five octets stay the radio's, which keeps the address filter of radios
//! that match on a mask (ath9k and its like) tight, and keeps gateways apart from each other.

use homeward_model::Mac;

/// The most virtual access points that get an address without a mask.
pub const MAX_UNMASKED: u8 = 63;

/// The BSSID of the `index`th virtual access point (from 1) of the radio whose own address is
/// `radio`, under the driver's `mask`. Locally administered unless the mask forbids it; never the
/// radio's own. `None` where the radio has no room for that many.
///
/// The same radio and index always give the same address, so a station that returns finds what
/// it knows.
pub fn derive(radio: Mac, mask: Mac, index: u8) -> Option<Mac> {
    if index == 0 {
        return None;
    }
    let (radio, mask) = (radio.octets(), mask.octets());
    if mask == [0; 6] {
        if index > MAX_UNMASKED {
            return None;
        }
        let [first, rest @ ..] = radio;
        let first = (first | 0x02) ^ (index << 2);
        let [a, b, c, d, e] = rest;
        return Some(Mac::new([first, a, b, c, d, e]));
    }
    // The index goes into the bits of the mask, lowest first; the group bit stays out of it.
    let mut octets = radio;
    let mut left = index;
    for (octet, bits) in octets.iter_mut().zip(mask).rev() {
        for bit in (0..8).map(|b| 1u8 << b).filter(|b| bits & b != 0) {
            if left & 1 != 0 {
                *octet ^= bit;
            }
            left >>= 1;
        }
    }
    let bssid = Mac::new(octets);
    (left == 0 && !bssid.is_group()).then_some(bssid)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const FREE: Mac = Mac::new([0; 6]);

    #[test]
    fn without_a_mask_the_first_octet_varies_and_is_locally_administered() {
        let radio = Mac::new([0x00, 0x0c, 0x43, 0x26, 0x60, 0x10]);
        assert_eq!(derive(radio, FREE, 1), Some(Mac::new([0x06, 0x0c, 0x43, 0x26, 0x60, 0x10])));
        assert_eq!(derive(radio, FREE, 2), Some(Mac::new([0x0a, 0x0c, 0x43, 0x26, 0x60, 0x10])));
        assert_eq!(derive(radio, FREE, 0), None);
        assert_eq!(derive(radio, FREE, 64), None);
    }

    #[test]
    fn with_a_mask_only_its_bits_vary() {
        let radio = Mac::new([0x00, 0x0c, 0x43, 0x26, 0x60, 0x10]);
        let mask = Mac::new([0, 0, 0, 0, 0, 0x07]);
        assert_eq!(derive(radio, mask, 3), Some(Mac::new([0x00, 0x0c, 0x43, 0x26, 0x60, 0x13])));
        assert_eq!(derive(radio, mask, 7), Some(Mac::new([0x00, 0x0c, 0x43, 0x26, 0x60, 0x17])));
        assert_eq!(derive(radio, mask, 8), None);
    }

    proptest! {
        #[test]
        fn addresses_of_one_radio_differ_from_it_and_each_other(
            mut octets: [u8; 6], bits in 4u32..=12, a in 1u8..=15, b in 1u8..=15, masked: bool,
        ) {
            octets[0] &= !1;
            let radio = Mac::new(octets);
            let mask = if masked {
                let m = (1u16 << bits) - 1;
                Mac::new([0, 0, 0, 0, (m >> 8) as u8, m as u8])
            } else {
                FREE
            };
            let (x, y) = (derive(radio, mask, a).unwrap(), derive(radio, mask, b).unwrap());
            prop_assert!(x != radio && !x.is_group());
            prop_assert_eq!(x == y, a == b);
            if masked {
                for ((x, r), m) in x.octets().iter().zip(octets).zip(mask.octets()) {
                    prop_assert_eq!((x ^ r) & !m, 0);
                }
            } else {
                prop_assert!(x.is_local());
            }
        }
    }
}
