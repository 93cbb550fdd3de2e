//! How an end uses its paths, told to the other end, so that this one can do the same.

use serde::Serialize;

use crate::path::PathId;
use crate::settings::Mode;

/// How an end uses its paths now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Course {
    /// Counts the changes, modulo 2^16: of two, the later one holds, whichever path it came by.
    pub version: u16,
    /// How packets are spread.
    pub mode: Mode,
    /// The path that [`Mode::Single`] prefers, by its place among the paths: both ends have them in
    /// one order.
    pub preferred: PathId,
}

impl Course {
    /// Whether this is told after `last` (RFC 1982 3.2).
    pub(crate) fn is_later(&self, last: Option<u16>) -> bool {
        last.is_none_or(|last| (1..1 << 15).contains(&self.version.wrapping_sub(last)))
    }

    /// As a report has it.
    pub(crate) const fn encode(&self) -> [u8; 4] {
        let [high, low] = self.version.to_be_bytes();
        let mode = match self.mode {
            Mode::Single => 0,
            Mode::Mirrored => 1,
            Mode::Striped => 2,
            Mode::Automatic => 3,
        };
        [high, low, mode, self.preferred.get()]
    }

    /// What a report has; `None` for what this version does not know.
    pub(crate) fn decode([high, low, mode, preferred]: [u8; 4]) -> Option<Self> {
        let mode = match mode {
            0 => Mode::Single,
            1 => Mode::Mirrored,
            2 => Mode::Striped,
            3 => Mode::Automatic,
            _ => return None,
        };
        let preferred = PathId::new(preferred)?;
        Some(Self { version: u16::from_be_bytes([high, low]), mode, preferred })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_course_comes_back_and_what_is_not_known_is_none() {
        for (octet, mode) in
            [(0, Mode::Single), (1, Mode::Mirrored), (2, Mode::Striped), (3, Mode::Automatic)]
        {
            let course = Course { version: 0x0102, mode, preferred: PathId::ALL[3] };
            assert_eq!(course.encode(), [1, 2, octet, 3]);
            assert_eq!(Course::decode(course.encode()), Some(course));
        }
        assert_eq!(Course::decode([0, 0, 4, 0]), None);
        assert_eq!(Course::decode([0, 0, 0, 4]), None);
    }

    #[test]
    fn versions_are_compared_in_a_circle() {
        let course = |version| Course { version, ..Course::default() };
        assert!(course(0).is_later(None));
        assert!(course(5).is_later(Some(4)) && course(0).is_later(Some(u16::MAX)));
        assert!(!course(4).is_later(Some(4)) && !course(3).is_later(Some(4)));
        assert!(!course(u16::MAX).is_later(Some(0)));
    }
}
