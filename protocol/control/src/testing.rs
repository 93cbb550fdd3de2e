//! For tests and fuzzing: predictable entropy, and the bodies of the fuzz targets.

use homeward_model::Entropy;

use crate::{FromGateway, ToGateway};

/// Entropy that is none: a counter through a mixer (SplitMix64). Same seed, same octets.
#[derive(Debug, Clone)]
pub struct Counted(pub u64);

impl Entropy for Counted {
    fn fill(&mut self, room: &mut [u8]) {
        for chunk in room.chunks_mut(8) {
            self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut mixed = self.0;
            mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
            for (octet, value) in chunk.iter_mut().zip((mixed ^ mixed >> 31).to_le_bytes()) {
                *octet = value;
            }
        }
    }
}

/// Target `control_from_gateway`: what was read is written, and read again as the same.
pub fn fuzz_from_gateway(data: &[u8]) {
    if let Ok(Some(message)) = FromGateway::decode(data) {
        let again = FromGateway::decode(&message.encode());
        assert_eq!(again, Ok(Some(message)), "what was read is written and read again");
    }
}

/// Target `control_to_gateway`: what was read is written, and read again as the same.
pub fn fuzz_to_gateway(data: &[u8]) {
    if let Ok(Some(message)) = ToGateway::decode(data) {
        let again = ToGateway::decode(&message.encode());
        assert_eq!(again, Ok(Some(message)), "what was read is written and read again");
    }
}
