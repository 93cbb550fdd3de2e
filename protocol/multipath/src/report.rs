//! Reports: what the other end has received on a path. Homeward's own, in VCCV messages (RFC 5085),
//! beside the echo messages of [`homeward_l2tp::echo`].
//!
//! ```text
//!  0                   1                   2                   3
//!  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//! +-------+-------+---------------+-------------------------------+
//! |0 0 0 1|   0   |       0       |     Channel Type 0x7FF8       |  RFC 4385 5, experimental
//! +-------+-------+---------------+---------------+---------------+
//! |      'H'      |      'w'      |  Version = 1  |   Type = 3    |
//! +---------------+---------------+---------------+---------------+
//! |                            Number                             |
//! +-+-+-+-+-------+-----------------------------------------------+
//! |Q|A|V|C|(ign.) |                   Highest                     |
//! +-+-+-+---------+-----------------------------------------------+
//! |                            Packets                            |
//! +---------------------------------------------------------------+
//! |                                                               |
//! |                       Octets, 8 octets                        |
//! +---------------------------------------------------------------+
//! |                             Held                              |
//! +---------------------------------------------------------------+
//! |                            Arrived                            |
//! +---------------------------------------------------------------+
//! |                          Duplicates                           |
//! +---------------------------------------------------------------+
//! |                           Answered                            |
//! +-------------------------------+---------------+---------------+
//! |        Course version         |     Mode      |   Preferred   |
//! +-------------------------------+---------------+---------------+
//! ```
//!
//! All numbers are big-endian. **Q**: asks for a report at once. **A**: answers the report with the
//! number in *Answered*. **V**: *Highest* to *Duplicates* count. **C**: the last word counts: how the sender of
//! the report uses its paths ([`Course`]): mode 0 single, 1 mirrored, 2 striped, 3 automatic. A field whose flag is 0 is 0, and
//! ignored. *Number*: each direction's own two counts, one of reports with V and one of those
//! without; of each, only a later number than the last of that path is believed (RFC 1982), for
//! messages of a VCCV channel can be replayed. *Highest*: the highest sequence number received on
//! this path. *Packets*, *Octets*: those received on this path, in all, modulo 2^32 and 2^64.
//! *Held*: microseconds since the packet of the highest number arrived; 2^32 - 1 for longer.
//! *Arrived*: when that was, in microseconds modulo 2^32 on a clock of the reporter's choice that
//! never goes back; what differs in it from one report to another is how long the way there took.
//! *Duplicates*: packets of this path that were dropped because their number was seen before,
//! modulo 2^32. What follows is ignored: room to grow.

use std::time::Duration;

use homeward_l2tp::Sequence;
use homeward_l2tp::echo::{CHANNEL, MAGIC};
use homeward_model::Instant;

use crate::course::Course;
use crate::error::ReportError;

/// Octets of a report.
pub const REPORT_LEN: usize = 48;

/// The version spoken.
pub const VERSION: u8 = 1;

/// The type: 1 and 2 are echo messages.
pub const KIND: u8 = 3;

const REQUEST: u8 = 0x80;
const ANSWER: u8 = 0x40;
const VALID: u8 = 0x20;
const COURSE: u8 = 0x10;

/// A report, or a probe that asks for one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Report {
    /// Its number: see the [module](self).
    pub number: u32,
    /// Whether it asks for a report at once.
    pub request: bool,
    /// The number of the request that it answers.
    pub answer: Option<u32>,
    /// What was received on the path; `None` if nothing is said of it.
    pub received: Option<Received>,
    /// How the reporter uses its paths; `None` if nothing is said of it.
    pub course: Option<Course>,
}

/// What was received on a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Received {
    /// The highest sequence number.
    pub highest: Sequence,
    /// Packets in all, modulo 2^32.
    pub packets: u32,
    /// Octets in all, modulo 2^64.
    pub octets: u64,
    /// How long ago the highest number arrived: microseconds, at most 2^32 - 1 of them.
    pub held: Duration,
    /// When it arrived, on the reporter's clock: microseconds, modulo 2^32.
    pub arrived: u32,
    /// Packets dropped as duplicates, modulo 2^32.
    pub duplicates: u32,
}

impl Report {
    /// Decodes the payload of a VCCV message:
    /// [`Delivery::Control`](homeward_l2tp::Delivery::Control).
    ///
    /// # Errors
    /// If it is no report; [`ReportError::Kind`] if it may be an
    /// [`Echo`](homeward_l2tp::Echo) instead.
    pub fn decode(message: &[u8]) -> Result<Self, ReportError> {
        let short = ReportError::Short(message.len());
        let (channel, rest) = message.split_first_chunk::<4>().ok_or(short)?;
        let (&[h, w, version, kind], rest) = rest.split_first_chunk().ok_or(short)?;
        if *channel != CHANNEL {
            return Err(ReportError::Channel);
        }
        if [h, w] != MAGIC {
            return Err(ReportError::Magic);
        }
        if version != VERSION {
            return Err(ReportError::Version(version));
        }
        if kind != KIND {
            return Err(ReportError::Kind(kind));
        }
        let (number, rest) = rest.split_first_chunk().ok_or(short)?;
        let (&[flags, a, b, c], rest) = rest.split_first_chunk().ok_or(short)?;
        let (packets, rest) = rest.split_first_chunk().ok_or(short)?;
        let (octets, rest) = rest.split_first_chunk().ok_or(short)?;
        let (held, rest) = rest.split_first_chunk().ok_or(short)?;
        let (arrived, rest) = rest.split_first_chunk().ok_or(short)?;
        let (duplicates, rest) = rest.split_first_chunk().ok_or(short)?;
        let (answered, rest) = rest.split_first_chunk().ok_or(short)?;
        let (course, _) = rest.split_first_chunk().ok_or(short)?;
        Ok(Self {
            number: u32::from_be_bytes(*number),
            request: flags & REQUEST != 0,
            answer: (flags & ANSWER != 0).then(|| u32::from_be_bytes(*answered)),
            received: (flags & VALID != 0).then(|| Received {
                highest: Sequence::new(u32::from_be_bytes([0, a, b, c])),
                packets: u32::from_be_bytes(*packets),
                octets: u64::from_be_bytes(*octets),
                held: Duration::from_micros(u32::from_be_bytes(*held).into()),
                arrived: u32::from_be_bytes(*arrived),
                duplicates: u32::from_be_bytes(*duplicates),
            }),
            course: Some(*course).filter(|_| flags & COURSE != 0).and_then(Course::decode),
        })
    }

    /// The message.
    pub fn encode(&self) -> [u8; REPORT_LEN] {
        let flag = |is: bool, flag: u8| if is { flag } else { 0 };
        let flags = flag(self.request, REQUEST)
            | flag(self.answer.is_some(), ANSWER)
            | flag(self.received.is_some(), VALID)
            | flag(self.course.is_some(), COURSE);
        let received = self.received.unwrap_or_default();
        let [_, a, b, c] = received.highest.get().to_be_bytes();
        let held = u32::try_from(received.held.as_micros()).unwrap_or(u32::MAX);
        let [h, w] = MAGIC;
        let parts: [&[u8]; 11] = [
            &CHANNEL,
            &[h, w, VERSION, KIND],
            &self.number.to_be_bytes(),
            &[flags, a, b, c],
            &received.packets.to_be_bytes(),
            &received.octets.to_be_bytes(),
            &held.to_be_bytes(),
            &received.arrived.to_be_bytes(),
            &received.duplicates.to_be_bytes(),
            &self.answer.unwrap_or_default().to_be_bytes(),
            &self.course.map_or([0; 4], |course| course.encode()),
        ];
        let mut message = [0; REPORT_LEN];
        for (room, octet) in message.iter_mut().zip(parts.into_iter().flatten()) {
            *room = *octet;
        }
        message
    }
}

/// Whether report `number` comes after `last`, of the same count (RFC 1982 3.2).
pub(crate) fn is_later(number: u32, last: Option<u32>) -> bool {
    last.is_none_or(|last| (1..1 << 31).contains(&number.wrapping_sub(last)))
}

/// Microseconds on the clock, modulo 2^32.
#[inline]
pub(crate) const fn micros(at: Instant) -> u32 {
    let [.., a, b, c, d] = (at.as_nanos() / 1000).to_be_bytes();
    u32::from_be_bytes([a, b, c, d])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::path::PathId;
    use crate::settings::Mode;

    fn full() -> Report {
        Report {
            number: 0x0102_0304,
            request: true,
            answer: Some(0x1112_1314),
            received: Some(Received {
                highest: Sequence::new(0x21_2223),
                packets: 0x3132_3334,
                octets: 0x4142_4344_4546_4748,
                held: Duration::from_micros(0x5152_5354),
                arrived: 0x7172_7374,
                duplicates: 0x6162_6364,
            }),
            course: Some(Course {
                version: 0x8182,
                mode: Mode::Striped,
                preferred: PathId::ALL[1],
            }),
        }
    }

    #[test]
    fn a_report_has_the_octets_that_the_module_documents() {
        let octets =
            b"\x10\0\x7f\xf8Hw\x01\x03\x01\x02\x03\x04\xf0!\"#1234ABCDEFGHQRSTqrstabcd\x11\x12\x13\x14\x81\x82\x02\x01";
        assert_eq!(full().encode(), *octets);
        assert_eq!(Report::decode(octets), Ok(full()));
        let probe = Report { number: 7, request: true, ..Report::default() };
        let octets = probe.encode();
        assert_eq!(octets[..16], *b"\x10\0\x7f\xf8Hw\x01\x03\0\0\0\x07\x80\0\0\0");
        assert_eq!(octets[16..], [0; 32]);
        assert_eq!(Report::decode(&octets), Ok(probe));
    }

    #[test]
    fn a_longer_message_and_unknown_flags_are_understood() {
        let mut octets = full().encode().to_vec();
        octets.extend([0xff; 9]);
        octets[12] |= 0x1f;
        assert_eq!(Report::decode(&octets), Ok(full()));
    }

    #[test]
    fn a_time_too_long_for_the_field_is_the_longest_that_it_has() {
        let received = Received { held: Duration::MAX, ..Received::default() };
        let report = Report { received: Some(received), ..Report::default() };
        let held = Report::decode(&report.encode()).unwrap().received.unwrap().held;
        assert_eq!(held, Duration::from_micros(u32::MAX.into()));
    }

    #[test]
    fn other_messages_are_refused() {
        for (at, value, error) in [
            (0, 0x11, ReportError::Channel),
            (3, 0x21, ReportError::Channel),
            (4, b'h', ReportError::Magic),
            (5, b'W', ReportError::Magic),
            (6, 2, ReportError::Version(2)),
            (7, 1, ReportError::Kind(1)),
        ] {
            let mut octets = full().encode();
            octets[at] = value;
            assert_eq!(Report::decode(&octets), Err(error), "octet {at} as {value}");
        }
        for len in 0..REPORT_LEN {
            assert_eq!(Report::decode(&full().encode()[..len]), Err(ReportError::Short(len)));
        }
    }

    #[test]
    fn only_a_later_number_is_later() {
        assert!(is_later(9, None) && is_later(10, Some(9)) && is_later(2, Some(u32::MAX)));
        assert!(!is_later(9, Some(9)) && !is_later(8, Some(9)) && !is_later(u32::MAX, Some(2)));
    }
}
