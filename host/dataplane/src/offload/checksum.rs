//! The Internet checksum (RFC 1071), fast over long payloads.

/// The ones' complement sum of 16-bit big-endian words, not complemented; an odd last octet is
/// padded with zero. Fits into 16 bits.
///
/// Sums in the machine's byte order, four octets at a time in eight lanes, which the compiler
/// makes vectors of; the order is put right at the end, for the sum is the same but for the order
/// of its octets (RFC 1071 2(B)).
#[inline]
pub fn sum(octets: &[u8]) -> u32 {
    let mut lanes = [0u64; 8];
    let mut blocks = octets.chunks_exact(32);
    for block in &mut blocks {
        for (lane, word) in lanes.iter_mut().zip(block.as_chunks::<4>().0) {
            *lane += u64::from(u32::from_ne_bytes(*word));
        }
    }
    let mut total: u64 = lanes.iter().sum();
    let (pairs, odd) = blocks.remainder().as_chunks::<2>();
    for pair in pairs {
        total += u64::from(u16::from_ne_bytes(*pair));
    }
    if let [last] = odd {
        total += u64::from(u16::from_ne_bytes([*last, 0]));
    }
    u32::from(fold64(total).to_be())
}

/// The sum of sums, of which all but the last are of an even number of octets. Fits into 16 bits.
#[inline]
pub fn add(a: u32, b: u32) -> u32 {
    u32::from(fold64(u64::from(a) + u64::from(b)))
}

/// What is written into a checksum field, given the sum of everything that it covers.
#[inline]
pub fn finish(sum: u32) -> u16 {
    !fold64(u64::from(sum))
}

/// A checksum field after a 16-bit word that it covers changed (RFC 1624, equation 3).
#[inline]
pub fn update(field: u16, old: u16, new: u16) -> u16 {
    !fold64(u64::from(!field) + u64::from(!old) + u64::from(new))
}

/// Whether the sum over everything, the checksum field included, says that nothing changed.
#[inline]
pub fn holds(sum: u32) -> bool {
    fold64(u64::from(sum)) == 0xffff
}

#[inline]
#[expect(clippy::cast_possible_truncation, reason = "folded until it fits")]
fn fold64(mut sum: u64) -> u16 {
    sum = (sum >> 32) + (sum & 0xffff_ffff);
    sum = (sum >> 16) + (sum & 0xffff);
    sum = (sum >> 16) + (sum & 0xffff);
    sum = (sum >> 16) + (sum & 0xffff);
    sum as u16
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// RFC 1071, word for word.
    fn by_the_book(octets: &[u8]) -> u16 {
        let mut sum: u32 = 0;
        for pair in octets.chunks(2) {
            sum += u32::from(pair[0]) << 8 | u32::from(pair.get(1).copied().unwrap_or(0));
            sum = (sum >> 16) + (sum & 0xffff);
        }
        u16::try_from(sum).unwrap()
    }

    #[test]
    fn the_example_of_rfc_1071_comes_out() {
        let octets = [0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7];
        assert_eq!(sum(&octets), 0xddf2);
        assert_eq!(finish(sum(&octets)), 0x220d);
    }

    proptest! {
        #[test]
        fn the_fast_sum_is_the_slow_one(octets in proptest::collection::vec(any::<u8>(), 0..300)) {
            prop_assert_eq!(sum(&octets), u32::from(by_the_book(&octets)));
        }

        #[test]
        fn sums_of_parts_add_up(
            octets in proptest::collection::vec(any::<u8>(), 2..200),
            at in 0usize..100,
        ) {
            let (a, b) = octets.split_at((at * 2).min(octets.len() & !1));
            // 0 and 0xffff are both zero in ones' complement.
            prop_assert_eq!(add(sum(a), sum(b)) % 0xffff, sum(&octets) % 0xffff);
        }

        #[test]
        fn an_update_is_as_good_as_a_new_sum(
            mut octets in proptest::collection::vec(any::<u8>(), 20..60),
            at in 1usize..9,
            new: u16,
        ) {
            octets[0] = 1; // a sum of zero has two forms
            octets[18..20].copy_from_slice(&[0, 0]);
            let field = finish(sum(&octets));
            let word = &mut octets[at * 2..at * 2 + 2];
            let old = u16::from_be_bytes([word[0], word[1]]);
            word.copy_from_slice(&new.to_be_bytes());
            if at != 9 {
                octets[18..20].copy_from_slice(&update(field, old, new).to_be_bytes());
                prop_assert!(holds(sum(&octets)));
            }
        }
    }
}
