//! Which sequence numbers were seen: a sliding bitmap over 24-bit numbers.

use crate::codec::Sequence;
use crate::error::Discard;

/// The window. Numbers ahead of the highest seen move it; numbers within it pass once, in any
/// order; what lies behind it is refused.
#[derive(Debug, Default)]
pub(super) struct Window {
    /// One bit a number, addressed by the number modulo their count, a power of two.
    seen: Box<[u64]>,
    /// `None` before the first packet.
    highest: Option<Sequence>,
}

impl Window {
    /// A window of `size` numbers, rounded up to a power of two, at least 64 and at most 2^22.
    pub(super) fn new(size: usize) -> Self {
        let words = size.clamp(64, 1 << 22).div_ceil(64).next_power_of_two();
        Self { seen: vec![0; words].into_boxed_slice(), highest: None }
    }

    /// Notes a number, unless it is to be refused. The first number of all is taken whatever it
    /// is: this end may have begun later than the other.
    #[inline]
    pub(super) fn accept(&mut self, number: Sequence) -> Result<(), Discard> {
        let size = self.size();
        let ahead = self.highest.map_or(1, |highest| number.ahead_of(highest));
        if let Ok(behind) = u32::try_from(-i64::from(ahead)) {
            if behind >= size {
                return Err(Discard::Stale);
            }
        } else {
            self.advance(number, ahead.unsigned_abs());
        }
        let bit = number.get() & (size - 1);
        let Some(word) = self.seen.get_mut((bit / 64) as usize) else {
            return Err(Discard::Stale);
        };
        let mask = 1 << (bit % 64);
        if *word & mask != 0 {
            return Err(Discard::Duplicate);
        }
        *word |= mask;
        Ok(())
    }

    /// Makes `number` the highest, `by` ahead of the one before: those between are not seen yet.
    #[inline]
    fn advance(&mut self, number: Sequence, by: u32) {
        let size = self.size();
        if by == 1 {
            self.clear(number);
        } else if by >= size {
            self.seen.fill(0);
        } else {
            for back in 0..by {
                self.clear(Sequence::new(number.get().wrapping_sub(back)));
            }
        }
        self.highest = Some(number);
    }

    #[inline]
    fn clear(&mut self, number: Sequence) {
        let bit = number.get() & (self.size() - 1);
        if let Some(word) = self.seen.get_mut((bit / 64) as usize) {
            *word &= !(1 << (bit % 64));
        }
    }

    /// Numbers in the window, a power of two of at most 2^22.
    #[inline]
    fn size(&self) -> u32 {
        u32::try_from(self.seen.len() * 64).unwrap_or(64)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn n(number: u32) -> Sequence {
        Sequence::new(number)
    }

    #[test]
    fn a_size_is_rounded_up_to_a_power_of_two() {
        for (asked, got) in
            [(0, 64), (64, 64), (65, 128), (1000, 1024), (1024, 1024), (usize::MAX, 1 << 22)]
        {
            assert_eq!(Window::new(asked).size(), got, "{asked}");
        }
    }

    #[test]
    fn each_number_passes_once_in_any_order() {
        let mut window = Window::new(1024);
        for number in [5, 3, 4, 0, 9, 1, 2, 8] {
            assert_eq!(window.accept(n(number)), Ok(()), "{number}");
        }
        for number in [0, 5, 9] {
            assert_eq!(window.accept(n(number)), Err(Discard::Duplicate), "{number}");
        }
        assert_eq!(window.accept(n(7)), Ok(()));
    }

    #[test]
    fn what_lies_behind_the_window_is_refused_and_its_last_number_is_not() {
        let mut window = Window::new(1024);
        assert_eq!(window.accept(n(5000)), Ok(()));
        assert_eq!(window.accept(n(5000 - 1023)), Ok(()));
        assert_eq!(window.accept(n(5000 - 1024)), Err(Discard::Stale));
    }

    #[test]
    fn a_jump_ahead_is_followed_and_what_was_before_it_is_stale() {
        let mut window = Window::new(1024);
        assert_eq!(window.accept(n(0)), Ok(()));
        assert_eq!(window.accept(n(1 << 23)), Ok(()), "the farthest that counts as ahead");
        assert_eq!(window.accept(n(1)), Err(Discard::Stale));
        assert_eq!(window.accept(n((1 << 23) - 1)), Ok(()));
        assert_eq!(window.accept(n((1 << 24) - 1)), Ok(()), "ahead again");
        assert_eq!(window.accept(n(0)), Ok(()), "and round");
    }

    #[test]
    fn numbers_go_on_over_the_end_of_24_bits() {
        let mut window = Window::new(1024);
        for number in (0xff_ff00..0x100_0100).rev().step_by(2) {
            window.accept(n(number)).unwrap();
        }
        for number in 0xff_ff00..0x100_0100 {
            let expected = if number % 2 == 1 { Err(Discard::Duplicate) } else { Ok(()) };
            assert_eq!(window.accept(n(number)), expected, "{number:x}");
        }
    }

    proptest! {
        /// Against a model that remembers every number as what it is without wrapping.
        #[test]
        fn it_agrees_with_a_window_that_remembers_all(
            start in 0u64..1 << 25,
            steps in proptest::collection::vec((-300i64..300, 1u32..4), 1..400),
        ) {
            let mut window = Window::new(128);
            let mut seen = std::collections::BTreeSet::new();
            let mut highest = None::<u64>;
            let mut at = start + 1000;
            for (step, copies) in steps {
                at = at.saturating_add_signed(step).max(500);
                for _ in 0..copies {
                    let expected = match highest {
                        Some(highest) if at + 128 <= highest => Err(Discard::Stale),
                        _ if seen.contains(&at) => Err(Discard::Duplicate),
                        _ => Ok(()),
                    };
                    prop_assert_eq!(window.accept(n((at & 0xff_ffff) as u32)), expected);
                    if expected.is_ok() {
                        seen.insert(at);
                        highest = highest.max(Some(at));
                    }
                }
            }
        }
    }
}
