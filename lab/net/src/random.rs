//! Randomness that is the same for the same seed.

use homeward_model::Entropy;

/// SplitMix64: small, and the same for the same seed. Not for keys.
#[derive(Debug, Clone)]
pub struct SplitMix(u64);

/// What the state grows by at each draw.
const STEP: u64 = 0x9e37_79b9_7f4a_7c15;

impl SplitMix {
    /// The sequence of that seed.
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The sequence of that seed from its `skip`th draw on, without drawing the others.
    pub const fn at(seed: u64, skip: u64) -> Self {
        Self(seed.wrapping_add(skip.wrapping_mul(STEP)))
    }

    /// The next draw.
    pub const fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(STEP);
        let mut z = self.0;
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }

    /// The next draw as a fraction: 0 or more, less than 1.
    pub fn fraction(&mut self) -> f64 {
        // The 53 bits that a double holds exactly.
        (self.draw() >> 11) as f64 / (1u64 << 53) as f64
    }
}

impl Entropy for SplitMix {
    fn fill(&mut self, room: &mut [u8]) {
        for part in room.chunks_mut(8) {
            for (to, from) in part.iter_mut().zip(self.draw().to_le_bytes()) {
                *to = from;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_draws_are_those_of_the_published_generator() {
        // The first of seed 1234567, from the reference implementation by Vigna.
        let mut random = SplitMix::new(1_234_567);
        let draws = [(); 3].map(|()| random.draw());
        assert_eq!(
            draws,
            [6_457_827_717_110_365_317, 3_203_168_211_198_807_973, 9_817_491_932_198_370_423]
        );
    }

    #[test]
    fn a_sequence_can_be_entered_anywhere() {
        let mut whole = SplitMix::new(7);
        let all = [(); 10].map(|()| whole.draw());
        assert_eq!(SplitMix::at(7, 6).draw(), all[6]);
    }

    #[test]
    fn fractions_are_even() {
        let mut random = SplitMix::new(2);
        let below = (0..10_000).filter(|_| random.fraction() < 0.3).count();
        assert!((2_850..3_150).contains(&below), "{below}");
    }
}
