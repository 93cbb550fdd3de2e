//! A counter of 32 bits, or of 64 in two attributes, as one that only grows.

use std::cmp::Ordering;

/// How much of a counter of 32 bits counts as its upper half.
const HALF: u64 = 1 << 31;

const LOW: u64 = u32::MAX as u64;

/// What a reported value means for a counter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// It is at this value now.
    To(u64),
    /// It is where it was: an older value, or the same.
    Stays,
    /// It is where it was, though the report is newer: the NAS counts anew, or wrongly.
    Backwards,
}

impl Step {
    /// The value it is at, where it was at `base`.
    pub(super) fn value(self, base: u64) -> u64 {
        match self {
            Self::To(value) => value,
            Self::Stays | Self::Backwards => base,
        }
    }
}

/// Where a counter at `base` is after a report of `raw`, which is `newer` than what `base` is of.
/// One that is `exact` does not wrap.
pub(super) fn step(base: u64, raw: u64, newer: bool, exact: bool) -> Step {
    let grow = |to: u64| match to.cmp(&base) {
        Ordering::Greater => Step::To(to),
        Ordering::Less if newer => Step::Backwards,
        Ordering::Less | Ordering::Equal => Step::Stays,
    };
    if exact || raw > LOW {
        return grow(raw);
    }
    if newer {
        // As many turns as it has passed already, and one more if it has fallen.
        let turns = base & !LOW;
        return grow(if wraps(base & LOW, raw) { turns + LOW + 1 + raw } else { turns + raw });
    }
    // An older report of more: it has wrapped since, or what was newer was wrong.
    grow(if wraps(raw, base) { base + LOW + 1 } else { raw })
}

/// Whether a counter that was at `from` and is at `to`, both of 32 bits, has passed 2³² rather
/// than run backwards: it was in the upper half, and has moved less than half a turn.
fn wraps(from: u64, to: u64) -> bool {
    to < from && from >= HALF && to + LOW + 1 - from < HALF
}

#[cfg(test)]
mod tests {
    use super::*;

    const G4: u64 = LOW + 1;

    #[test]
    fn a_counter_grows_wraps_and_never_falls() {
        for (base, raw, newer, exact, to) in [
            (0, 5, true, false, 5),
            (5, 5, true, false, 5),
            (5, 9, false, false, 9),
            (9, 5, false, false, 9),
            (9, 5, true, false, 9),
            // Wrapped, once and once more.
            (G4 - 10, 20, true, false, G4 + 20),
            (G4 + 20, 90, true, false, G4 + 90),
            (2 * G4 - 10, 20, true, false, 2 * G4 + 20),
            // Too far for a wrap.
            (HALF - 1, 20, true, false, HALF - 1),
            (G4 - 10, HALF, true, false, G4 - 10),
            // The report from before the wrap comes after the one from behind it.
            (20, G4 - 10, false, false, G4 + 20),
            // Gigawords say it all.
            (G4 - 10, 20, true, true, G4 - 10),
            (20, 3 * G4, false, false, 3 * G4),
        ] {
            assert_eq!(step(base, raw, newer, exact).value(base), to, "{base} {raw} {newer}");
        }
    }

    #[test]
    fn a_newer_report_of_less_is_noticed() {
        assert_eq!(step(9, 5, true, true), Step::Backwards);
        assert_eq!(step(9, 5, false, true), Step::Stays);
        assert_eq!(step(9, 9, true, true), Step::Stays);
        assert_eq!(step(9, 5, true, false), Step::Backwards);
        assert_eq!(step(9, 9, true, false), Step::Stays);
        assert_eq!(step(G4 + 9, 9, true, false), Step::Stays);
    }
}
