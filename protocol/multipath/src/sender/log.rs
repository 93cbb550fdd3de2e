//! What was sent on a path, by sequence number.

use homeward_l2tp::Sequence;
use homeward_model::Instant;

/// A packet, as it was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Sent {
    /// When: to the microsecond.
    pub(super) at: Instant,
    /// Packets of the path up to it, itself included.
    pub(super) packets: u64,
    /// Octets of those.
    pub(super) octets: u64,
    /// How busy the path was.
    pub(super) load: Load,
}

/// How busy a path was when something was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Load {
    /// The packet had to queue: its round-trip time is not the shortest.
    pub(super) queued: bool,
    /// How long it would queue as was thought then, and by how much that had been put right until
    /// then: microseconds, modulo 2^32.
    pub(super) expected: u32,
}

/// Twenty octets a number; what is more in a [`Sent`] is within 2^32 of the latest.
#[derive(Debug, Clone, Copy, Default)]
struct Entry {
    /// The number and flags.
    number: u32,
    at: u32,
    packets: u32,
    octets: u32,
    expected: u32,
}

const USED: u32 = 1 << 31;
const QUEUED: u32 = 1 << 30;
const NUMBER: u32 = 0x00ff_ffff;

#[derive(Debug)]
pub(super) struct Log {
    /// By number modulo their count, a power of two.
    entries: Box<[Entry]>,
    packets: u64,
    octets: u64,
}

impl Log {
    /// A log of `size` numbers, rounded up to a power of two, at least 64 and at most 2^22.
    pub(super) fn new(size: usize) -> Self {
        let size = size.clamp(64, 1 << 22).next_power_of_two();
        Self { entries: vec![Entry::default(); size].into_boxed_slice(), packets: 0, octets: 0 }
    }

    /// Packets sent in all.
    pub(super) const fn packets(&self) -> u64 {
        self.packets
    }

    /// Octets of those.
    pub(super) const fn octets(&self) -> u64 {
        self.octets
    }

    #[inline]
    pub(super) fn note(&mut self, number: Sequence, octets: usize, load: Load, now: Instant) {
        self.packets += 1;
        self.octets += octets as u64;
        let entry = Entry {
            number: number.get() | USED | if load.queued { QUEUED } else { 0 },
            at: low(now.as_nanos() / 1000),
            packets: low(self.packets),
            octets: low(self.octets),
            expected: load.expected,
        };
        let mask = self.entries.len() - 1;
        if let Some(place) = self.entries.get_mut(number.get() as usize & mask) {
            *place = entry;
        }
    }

    /// What is known of a number; `None` if it did not go by this path, or long ago.
    pub(super) fn get(&self, number: Sequence, now: Instant) -> Option<Sent> {
        let mask = self.entries.len() - 1;
        let entry = *self.entries.get(number.get() as usize & mask)?;
        if entry.number & USED == 0 || entry.number & NUMBER != number.get() {
            return None;
        }
        let now = now.as_nanos() / 1000;
        let ago = u64::from(low(now).wrapping_sub(entry.at));
        Some(Sent {
            at: Instant::from_nanos(now.saturating_sub(ago) * 1000),
            packets: before(self.packets, entry.packets),
            octets: before(self.octets, entry.octets),
            load: Load { queued: entry.number & QUEUED != 0, expected: entry.expected },
        })
    }
}

/// The last count, at or before `latest`, whose low 32 bits are `low_bits`.
pub(super) const fn before(latest: u64, low_bits: u32) -> u64 {
    latest.saturating_sub(low(latest).wrapping_sub(low_bits) as u64)
}

/// The low 32 bits.
pub(super) const fn low(number: u64) -> u32 {
    let [.., a, b, c, d] = number.to_be_bytes();
    u32::from_be_bytes([a, b, c, d])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(us: u64) -> Instant {
        Instant::from_nanos(us * 1000)
    }

    #[test]
    fn a_number_is_found_until_another_takes_its_place() {
        let mut log = Log::new(100);
        assert_eq!(log.get(Sequence::new(0), at(0)), None, "before anything was sent");
        let load = Load { queued: true, expected: 4 };
        log.note(Sequence::new(5), 100, load, at(70));
        log.note(Sequence::new(7), 200, Load::default(), at(90));
        let sent = Sent { at: at(70), packets: 1, octets: 100, load };
        assert_eq!(log.get(Sequence::new(5), at(1000)), Some(sent));
        assert_eq!(log.get(Sequence::new(6), at(1000)), None, "it went by another path");
        assert_eq!(log.get(Sequence::new(5 + 128), at(1000)), None, "it was not sent yet");
        log.note(Sequence::new(5 + 128), 300, Load::default(), at(2000));
        assert_eq!(log.get(Sequence::new(5), at(3000)), None);
        let sent = log.get(Sequence::new(5 + 128), at(3000)).unwrap();
        assert_eq!((sent.packets, sent.octets, sent.load.queued), (3, 600, false));
    }

    #[test]
    fn counts_and_times_go_on_over_32_bits() {
        let mut log = Log::new(64);
        let start = (1 << 33) - 5;
        (log.packets, log.octets) = (start, start);
        for n in 0..10u32 {
            log.note(Sequence::new(n), 1000, Load::default(), at(start + u64::from(n)));
        }
        let sent = log.get(Sequence::new(2), at(start + 9)).unwrap();
        assert_eq!((sent.at, sent.packets, sent.octets), (at(start + 2), start + 3, start + 3000));
    }
}
