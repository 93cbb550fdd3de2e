//! Names that nobody has, made to look like those that somebody has.
//!
//! A password that a person chose takes long to check, one that a machine made does not, so that
//! who asks can tell which kind a name has. A name that nobody has is therefore given a kind, too:
//! the slow one to as many names as log-ins have it. Which ones, a keyed hash of the name says, so
//! that a name looks the same each time, in each core, and only who has the key can tell.
//!
//! What does not hold: a new key in the key ring gives names that nobody has kinds anew, and so
//! does a population that becomes another.

use homeward_model::Nai;
use ring::hmac;

/// What the key is derived for.
pub const PURPOSE: &str = "homeward radius decoys 1";

/// Gives names that nobody has a kind of password. The default has a key that everybody knows.
#[derive(Debug, Clone)]
pub struct Decoys {
    key: hmac::Key,
}

impl Default for Decoys {
    fn default() -> Self {
        Self::new(&[0; 32])
    }
}

impl Decoys {
    /// Those of that key.
    pub fn new(key: &[u8; 32]) -> Self {
        Self { key: hmac::Key::new(hmac::HMAC_SHA256, key) }
    }

    /// Whether the password of that name, if nobody has it, is to take long.
    pub(crate) fn is_slow(&self, name: &Nai, share: Share) -> bool {
        match share {
            Share::None => false,
            Share::All => true,
            Share::Below(bound) => {
                let tag = hmac::sign(&self.key, name.as_str().as_bytes());
                let first = tag.as_ref().first_chunk().copied().unwrap_or_default();
                u64::from_be_bytes(first) < bound
            }
        }
    }
}

/// How many of all log-ins have a slow password: rounded, so that one more or less does not show.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Share {
    /// There is none.
    None,
    /// All of them.
    All,
    /// So many of 2⁶⁴.
    Below(u64),
}

impl Share {
    /// Of so many slow and so many fast ones: the next power of two to what one is to the other,
    /// so that few among many are as like their decoys as half and half are.
    pub(crate) fn of(slow: usize, fast: usize) -> Self {
        match (slow, fast) {
            (0, _) => Self::None,
            (_, 0) => Self::All,
            _ => {
                let (few, many) = (slow.min(fast) as f64, slow.max(fast) as f64);
                let step = 1_u64.checked_shl((many / few).log2().round() as u32);
                let part = u64::MAX / step.unwrap_or(1 << 63).saturating_add(1);
                Self::Below(if slow < fast { part } else { u64::MAX - part })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAMES: u32 = 20_000;

    fn names() -> impl Iterator<Item = Nai> {
        (0..NAMES).map(|n| format!("nobody-{n}@example.net").parse().unwrap())
    }

    fn slow(decoys: &Decoys, share: Share) -> Vec<bool> {
        names().map(|name| decoys.is_slow(&name, share)).collect()
    }

    fn part(slow: &[bool]) -> f64 {
        slow.iter().filter(|slow| **slow).count() as f64 / slow.len() as f64
    }

    /// Whoever sees that a name is slow, or that it is fast, learns less than half a bit of whether
    /// somebody has it.
    #[test]
    fn names_that_nobody_has_are_slow_as_often_as_those_that_somebody_has() {
        for (slow_ones, fast) in
            [(1, 1), (1, 2), (2, 1), (10, 90), (90, 10), (300, 700), (1, 99), (99, 1), (49, 51)]
        {
            let known = f64::from(slow_ones) / f64::from(slow_ones + fast);
            let share = Share::of(slow_ones as usize, fast as usize);
            let decoys = part(&slow(&Decoys::new(&[7; 32]), share));
            let ratios = [known / decoys, (1.0 - known) / (1.0 - decoys)];
            let fits = ratios.iter().all(|ratio| (0.65..1.55).contains(ratio));
            assert!(fits, "{slow_ones} of {fast}: {known} and {decoys}");
        }
    }

    #[test]
    fn where_all_are_of_a_kind_so_is_a_name_that_nobody_has() {
        let decoys = Decoys::new(&[7; 32]);
        assert_eq!(part(&slow(&decoys, Share::of(0, 0))), 0.0);
        assert_eq!(part(&slow(&decoys, Share::of(0, 5))), 0.0);
        assert_eq!(part(&slow(&decoys, Share::of(5, 0))), 1.0);
    }

    #[test]
    fn a_name_looks_the_same_each_time_and_another_key_makes_it_another() {
        let share = Share::of(1, 1);
        let one = slow(&Decoys::new(&[7; 32]), share);
        assert_eq!(one, slow(&Decoys::new(&[7; 32]), share));
        let other = slow(&Decoys::new(&[8; 32]), share);
        let same = one.iter().zip(&other).filter(|(one, other)| one == other).count();
        assert!((0.45..0.55).contains(&(same as f64 / f64::from(NAMES))), "{same}");
        let spelt = |name: &str| Decoys::new(&[7; 32]).is_slow(&name.parse().unwrap(), share);
        for n in 0..64 {
            let [lower, upper] = ["example.net", "EXAMPLE.net"].map(|r| spelt(&format!("{n}@{r}")));
            assert_eq!(lower, upper, "a realm is the same in either case");
        }
        let same =
            (0..1000).filter(|n| spelt(&format!("{n}@a.net")) == spelt(&format!("{n}@b.net")));
        assert!((400..600).contains(&same.count()), "another realm is another name");
    }

    #[test]
    fn the_share_is_the_nearest_power_of_two_of_one_kind_to_the_other() {
        for (many, parts) in [(1, 2), (2, 3), (5, 5), (6, 9), (11, 9), (12, 17), (1000, 1025)] {
            let part = u64::MAX / parts;
            if many > 1 {
                assert_eq!(Share::of(1, many), Share::Below(part), "1 of {many}");
            }
            assert_eq!(Share::of(many, 1), Share::Below(u64::MAX - part), "{many} of 1");
        }
        assert_eq!(Share::of(1, usize::MAX), Share::Below(1), "there is hardly one");
    }

    #[test]
    fn one_log_in_more_shows_in_no_name_but_where_the_share_turns() {
        let mut turns = 0;
        for slow in 1..1000 {
            turns += u32::from(Share::of(slow, 1000) != Share::of(slow + 1, 1000));
        }
        assert!(turns <= 11, "{turns}");
        assert_eq!(Share::of(300, 1000), Share::of(301, 1000));
        assert_eq!(Share::of(300, 1000), Share::of(300, 1001));
    }
}
