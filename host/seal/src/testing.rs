//! For tests only: octets that anybody can foretell.

use homeward_model::Entropy;

/// Octets out of a xorshift generator (Marsaglia 2003, 64 bit): the same after the same seed, and
/// no secret at all.
#[derive(Debug, Clone)]
pub struct XorshiftEntropy(u64);

impl XorshiftEntropy {
    /// The generator with that seed.
    pub const fn new(seed: u64) -> Self {
        Self(seed ^ 0x9e37_79b9_7f4a_7c15 | 1)
    }
}

impl Entropy for XorshiftEntropy {
    fn fill(&mut self, room: &mut [u8]) {
        for octet in room {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            *octet = (self.0 >> 32) as u8;
        }
    }
}
