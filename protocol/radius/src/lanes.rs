//! MD5 (RFC 1321) of several messages at a time, each in a lane of a vector.
//!
//! RADIUS signs each answer with three digests, one after the other, and none of them can be split;
//! but the answers to a batch of requests have nothing to do with each other. Where vectors have 128
//! bits or more (all of x86-64 and aarch64), eight take about twice as long as one.

use wide::u32x8;

/// Messages at a time.
pub(crate) const LANES: usize = 8;

/// Parts that a message may be in.
pub(crate) const PARTS: usize = 5;

/// Octets of a block.
pub(crate) const BLOCK: usize = 64;

/// What has been digested so far.
pub(crate) type State = [u32; 4];

/// What it is at first (RFC 1321 3.3).
pub(crate) const START: State = [0x6745_2301, 0xefcd_ab89, 0x98ba_dcfe, 0x1032_5476];

/// A message.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Message<'a> {
    /// What has been digested of it already…
    pub(crate) state: State,
    /// …which were so many whole blocks.
    pub(crate) blocks: u32,
    /// The rest, in parts.
    pub(crate) rest: [&'a [u8]; PARTS],
}

impl<'a> Message<'a> {
    /// One of nothing.
    pub(crate) const EMPTY: Self = Self { state: START, blocks: 0, rest: [&[]; PARTS] };

    /// One that begins here.
    pub(crate) const fn new(rest: [&'a [u8]; PARTS]) -> Self {
        Self { state: START, blocks: 0, rest }
    }

    /// One of which a block was digested already.
    pub(crate) const fn after(state: State, rest: [&'a [u8]; PARTS]) -> Self {
        Self { state, blocks: 1, rest }
    }

    fn len(&self) -> usize {
        self.rest.iter().map(|part| part.len()).sum()
    }

    /// Blocks that are to be digested: the padding has an octet, and 8 for the length, at least.
    fn blocks_left(&self) -> usize {
        (self.len() + 9).div_ceil(BLOCK)
    }

    /// Writes the `n`th of them, padded if need be (RFC 1321 3.1, 3.2).
    fn write(&self, n: usize, block: &mut [u8; BLOCK]) {
        *block = [0; BLOCK];
        let (from, len) = (n * BLOCK, self.len());
        let mut at = 0;
        for part in self.rest {
            // Where the part begins in the block, or the block in the part.
            let (to, skip) = (at.max(from) - from, from.max(at) - at);
            let rest = part.get(skip..).unwrap_or_default();
            let room = block.get_mut(to..).unwrap_or_default();
            for (room, octet) in room.iter_mut().zip(rest) {
                *room = *octet;
            }
            at += part.len();
        }
        if let Some(end) = len.checked_sub(from).and_then(|end| block.get_mut(end)) {
            *end = 0x80;
        }
        if n + 1 == self.blocks_left() {
            let bits = (u64::from(self.blocks) * BLOCK as u64 + len as u64) * 8;
            if let Some(length) = block.last_chunk_mut() {
                *length = bits.to_le_bytes();
            }
        }
    }
}

/// The state after the block that HMAC begins with (RFC 2104 2): the key, no longer than a block,
/// with each octet of it masked.
pub(crate) fn keyed(key: &[u8], mask: u8) -> State {
    let mut blocks = [[mask; BLOCK]; LANES];
    for (octet, key) in blocks.iter_mut().flat_map(|block| block.iter_mut().zip(key)) {
        *octet ^= key;
    }
    let mut states = START.map(u32x8::splat);
    compress(&mut states, &transposed(&blocks));
    wipe(&mut blocks);
    states.map(|lanes| lanes.to_array()[0])
}

/// The digests of up to [`LANES`] messages; what has no message is of no meaning.
pub(crate) fn digest(messages: &[Message<'_>]) -> [[u8; 16]; LANES] {
    let lanes = |of: fn(State) -> u32| {
        let mut all = [0; LANES];
        for (lane, message) in all.iter_mut().zip(messages) {
            *lane = of(message.state);
        }
        u32x8::new(all)
    };
    let mut states =
        [lanes(|[a, ..]| a), lanes(|[_, b, ..]| b), lanes(|[_, _, c, _]| c), lanes(|[.., d]| d)];
    let mut digests = [[0; 16]; LANES];
    let most = messages.iter().map(Message::blocks_left).max().unwrap_or(0);
    let mut blocks = [[0; BLOCK]; LANES];
    for n in 0..most {
        for (message, block) in messages.iter().zip(&mut blocks) {
            message.write(n, block);
        }
        compress(&mut states, &transposed(&blocks));
        let [a, b, c, d] = states.map(u32x8::to_array);
        let states = a.into_iter().zip(b).zip(c).zip(d);
        for ((message, digest), (((a, b), c), d)) in messages.iter().zip(&mut digests).zip(states) {
            if n + 1 == message.blocks_left() {
                for (octets, word) in digest.as_chunks_mut().0.iter_mut().zip([a, b, c, d]) {
                    *octets = word.to_le_bytes();
                }
            }
        }
    }
    wipe(&mut blocks);
    digests
}

/// Leaves no secret on the stack that was appended to a message. One write of all, which is not
/// optimised away because somebody might look: octet by octet it would take as long as a digest.
fn wipe(blocks: &mut [[u8; BLOCK]; LANES]) {
    *blocks = [[0; BLOCK]; LANES];
    std::hint::black_box(blocks);
}

/// The words of a block of each message: the first of all, the second of all, and so on.
fn transposed(blocks: &[[u8; BLOCK]; LANES]) -> [u32x8; 16] {
    let mut words = [[0; LANES]; 16];
    for (lane, block) in blocks.iter().enumerate() {
        for (word, octets) in words.iter_mut().zip(block.as_chunks().0) {
            if let Some(word) = word.get_mut(lane) {
                *word = u32::from_le_bytes(*octets);
            }
        }
    }
    words.map(u32x8::new)
}

fn f(x: u32x8, y: u32x8, z: u32x8) -> u32x8 {
    z ^ (x & (y ^ z))
}

fn g(x: u32x8, y: u32x8, z: u32x8) -> u32x8 {
    y ^ (z & (x ^ y))
}

fn h(x: u32x8, y: u32x8, z: u32x8) -> u32x8 {
    x ^ y ^ z
}

fn i(x: u32x8, y: u32x8, z: u32x8) -> u32x8 {
    y ^ (x | !z)
}

/// RFC 1321 3.4.
#[rustfmt::skip]
fn compress(states: &mut [u32x8; 4], m: &[u32x8; 16]) {
    macro_rules! step {
        ($f:ident, $a:ident, $b:ident, $c:ident, $d:ident, $m:expr, $t:literal, $s:literal) => {
            let sum = $a + $f($b, $c, $d) + $m + u32x8::splat($t);
            $a = $b + ((sum << $s) | (sum >> (32 - $s)));
        };
    }
    let [mut a, mut b, mut c, mut d] = *states;
    step!(f, a, b, c, d, m[0], 0xd76a_a478, 7);
    step!(f, d, a, b, c, m[1], 0xe8c7_b756, 12);
    step!(f, c, d, a, b, m[2], 0x2420_70db, 17);
    step!(f, b, c, d, a, m[3], 0xc1bd_ceee, 22);
    step!(f, a, b, c, d, m[4], 0xf57c_0faf, 7);
    step!(f, d, a, b, c, m[5], 0x4787_c62a, 12);
    step!(f, c, d, a, b, m[6], 0xa830_4613, 17);
    step!(f, b, c, d, a, m[7], 0xfd46_9501, 22);
    step!(f, a, b, c, d, m[8], 0x6980_98d8, 7);
    step!(f, d, a, b, c, m[9], 0x8b44_f7af, 12);
    step!(f, c, d, a, b, m[10], 0xffff_5bb1, 17);
    step!(f, b, c, d, a, m[11], 0x895c_d7be, 22);
    step!(f, a, b, c, d, m[12], 0x6b90_1122, 7);
    step!(f, d, a, b, c, m[13], 0xfd98_7193, 12);
    step!(f, c, d, a, b, m[14], 0xa679_438e, 17);
    step!(f, b, c, d, a, m[15], 0x49b4_0821, 22);
    step!(g, a, b, c, d, m[1], 0xf61e_2562, 5);
    step!(g, d, a, b, c, m[6], 0xc040_b340, 9);
    step!(g, c, d, a, b, m[11], 0x265e_5a51, 14);
    step!(g, b, c, d, a, m[0], 0xe9b6_c7aa, 20);
    step!(g, a, b, c, d, m[5], 0xd62f_105d, 5);
    step!(g, d, a, b, c, m[10], 0x0244_1453, 9);
    step!(g, c, d, a, b, m[15], 0xd8a1_e681, 14);
    step!(g, b, c, d, a, m[4], 0xe7d3_fbc8, 20);
    step!(g, a, b, c, d, m[9], 0x21e1_cde6, 5);
    step!(g, d, a, b, c, m[14], 0xc337_07d6, 9);
    step!(g, c, d, a, b, m[3], 0xf4d5_0d87, 14);
    step!(g, b, c, d, a, m[8], 0x455a_14ed, 20);
    step!(g, a, b, c, d, m[13], 0xa9e3_e905, 5);
    step!(g, d, a, b, c, m[2], 0xfcef_a3f8, 9);
    step!(g, c, d, a, b, m[7], 0x676f_02d9, 14);
    step!(g, b, c, d, a, m[12], 0x8d2a_4c8a, 20);
    step!(h, a, b, c, d, m[5], 0xfffa_3942, 4);
    step!(h, d, a, b, c, m[8], 0x8771_f681, 11);
    step!(h, c, d, a, b, m[11], 0x6d9d_6122, 16);
    step!(h, b, c, d, a, m[14], 0xfde5_380c, 23);
    step!(h, a, b, c, d, m[1], 0xa4be_ea44, 4);
    step!(h, d, a, b, c, m[4], 0x4bde_cfa9, 11);
    step!(h, c, d, a, b, m[7], 0xf6bb_4b60, 16);
    step!(h, b, c, d, a, m[10], 0xbebf_bc70, 23);
    step!(h, a, b, c, d, m[13], 0x289b_7ec6, 4);
    step!(h, d, a, b, c, m[0], 0xeaa1_27fa, 11);
    step!(h, c, d, a, b, m[3], 0xd4ef_3085, 16);
    step!(h, b, c, d, a, m[6], 0x0488_1d05, 23);
    step!(h, a, b, c, d, m[9], 0xd9d4_d039, 4);
    step!(h, d, a, b, c, m[12], 0xe6db_99e5, 11);
    step!(h, c, d, a, b, m[15], 0x1fa2_7cf8, 16);
    step!(h, b, c, d, a, m[2], 0xc4ac_5665, 23);
    step!(i, a, b, c, d, m[0], 0xf429_2244, 6);
    step!(i, d, a, b, c, m[7], 0x432a_ff97, 10);
    step!(i, c, d, a, b, m[14], 0xab94_23a7, 15);
    step!(i, b, c, d, a, m[5], 0xfc93_a039, 21);
    step!(i, a, b, c, d, m[12], 0x655b_59c3, 6);
    step!(i, d, a, b, c, m[3], 0x8f0c_cc92, 10);
    step!(i, c, d, a, b, m[10], 0xffef_f47d, 15);
    step!(i, b, c, d, a, m[1], 0x8584_5dd1, 21);
    step!(i, a, b, c, d, m[8], 0x6fa8_7e4f, 6);
    step!(i, d, a, b, c, m[15], 0xfe2c_e6e0, 10);
    step!(i, c, d, a, b, m[6], 0xa301_4314, 15);
    step!(i, b, c, d, a, m[13], 0x4e08_11a1, 21);
    step!(i, a, b, c, d, m[4], 0xf753_7e82, 6);
    step!(i, d, a, b, c, m[11], 0xbd3a_f235, 10);
    step!(i, c, d, a, b, m[2], 0x2ad7_d2bb, 15);
    step!(i, b, c, d, a, m[9], 0xeb86_d391, 21);
    let [sa, sb, sc, sd] = *states;
    *states = [sa + a, sb + b, sc + c, sd + d];
}

#[cfg(test)]
mod tests {
    use super::*;
    use hmac::{Hmac, KeyInit, Mac};
    use md5::{Digest, Md5};
    use proptest::prelude::*;

    fn whole<'a>([one, two]: [&'a [u8]; 2]) -> Message<'a> {
        Message::new([&[], one, &[], two, &[]])
    }

    #[test]
    fn the_vectors_of_rfc_1321_appendix_5_come_out() {
        let messages: [&[u8]; 7] = [
            b"",
            b"a",
            b"abc",
            b"message digest",
            b"abcdefghijklmnopqrstuvwxyz",
            b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789",
            b"12345678901234567890123456789012345678901234567890123456789012345678901234567890",
        ];
        let digests = digest(&messages.map(|message| whole([message, b""])));
        for (at, right) in [
            "d41d8cd98f00b204e9800998ecf8427e",
            "0cc175b9c0f1b6a831c399e269772661",
            "900150983cd24fb0d6963f7d28e17f72",
            "f96b697d7cb7938d525a2f31aaf161d0",
            "c3fcd3d76192e4007dfb496cca67e13b",
            "d174ab98d277d9f5a5611c2c9f419d9f",
            "57edf4a22be3c955ac49da2e2107b67a",
        ]
        .into_iter()
        .enumerate()
        {
            assert_eq!(digests[at].map(|octet| format!("{octet:02x}")).concat(), right);
        }
    }

    #[test]
    fn every_length_around_a_block_is_padded_as_one_at_a_time_is() {
        let octets: Vec<u8> = (0..=255).collect();
        for len in 0..200 {
            for cut in [0, len / 3, len] {
                let (one, two) = octets[..len].split_at(cut);
                let right: [u8; 16] = Md5::digest(&octets[..len]).into();
                assert_eq!(digest(&[whole([one, two])])[0], right, "{len} octets, cut at {cut}");
            }
        }
    }

    proptest! {
        #[test]
        fn messages_of_any_lengths_are_digested_beside_each_other(
            messages in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..300), 1..=LANES),
            key in prop::collection::vec(any::<u8>(), 0..=BLOCK),
        ) {
            let digests = digest(&messages.iter().map(|m| whole([m, &key])).collect::<Vec<_>>());
            for (message, digest) in messages.iter().zip(&digests) {
                let right: [u8; 16] = Md5::new_with_prefix(message).chain_update(&key).finalize().into();
                prop_assert_eq!(*digest, right);
            }
            let after = |state, rest| Message::after(state, [rest, &[], &[], &[], &[]]);
            let inner = digest(
                &messages.iter().map(|m| after(keyed(&key, 0x36), &m[..])).collect::<Vec<_>>(),
            );
            let outer = digest(&inner.each_ref().map(|i| after(keyed(&key, 0x5c), &i[..])));
            for (message, digest) in messages.iter().zip(&outer) {
                let mut mac = Hmac::<Md5>::new_from_slice(&key).unwrap();
                mac.update(message);
                prop_assert_eq!(*digest, <[u8; 16]>::from(mac.finalize().into_bytes()));
            }
        }
    }
}
