//! The limits, plainly.

use std::net::IpAddr;

use homeward_port::{FrameRate, GroupLimits, Reason};

use crate::oracle::SECOND;
use crate::packets::{u16_at, v4_at};

/// A token bucket as the textbook has it, in billionths of a token.
pub(crate) struct Bucket {
    rate: i128,
    burst: i128,
    level: i128,
    at: u64,
}

impl Bucket {
    pub(crate) fn new(rate: u64, burst: u32) -> Self {
        let burst = i128::from(burst) * i128::from(SECOND);
        Self { rate: i128::from(rate), burst, level: burst, at: 0 }
    }

    fn frames(rate: FrameRate) -> Self {
        Self::new(rate.frames_per_second.into(), rate.burst)
    }

    fn fill(&mut self, now: u64) {
        self.level = (self.level + i128::from(now - self.at) * self.rate).min(self.burst);
        self.at = now;
    }

    pub(crate) fn take(&mut self, least: i128, tokens: usize, now: u64) -> bool {
        self.fill(now);
        let enough = self.level >= least;
        if enough {
            self.level -= tokens as i128 * i128::from(SECOND);
        }
        enough
    }

    fn take_frame(&mut self, octets: usize, now: u64) -> bool {
        self.take(i128::from(SECOND), octets.div_ceil(1514).max(1), now)
    }

    fn take_octets(&mut self, octets: usize, now: u64) -> bool {
        // A nanosecond's worth is the least there is.
        self.take(self.rate, octets, now)
    }
}

pub(crate) struct Groups([Bucket; 3]);

impl Groups {
    pub(crate) fn new(limits: &GroupLimits) -> Self {
        Self([limits.arp, limits.near, limits.wide].map(Bucket::frames))
    }

    pub(crate) fn take(&mut self, frame: &[u8], now: u64) -> Result<(), Reason> {
        let group = is_group(frame);
        let (which, reason) = match u16_at(frame, 12) {
            0x0806 => (0, Reason::ArpRate),
            _ if !group => return Ok(()),
            0x0800 if wide_v4(&frame[14..]) => (2, Reason::StreamRate),
            0x86dd if wide_v6(&frame[14..]) => (2, Reason::StreamRate),
            _ => (1, Reason::GroupRate),
        };
        if self.0[which].take_frame(frame.len(), now) { Ok(()) } else { Err(reason) }
    }
}

fn wide_v4(packet: &[u8]) -> bool {
    if packet.len() < 20 {
        return false;
    }
    let IpAddr::V4(group) = v4_at(packet, 16) else { unreachable!() };
    let near = group.octets()[..3] == [224, 0, 0] || group.octets() == [239, 255, 255, 250];
    group.is_multicast() && !near
}

fn wide_v6(packet: &[u8]) -> bool {
    if packet.len() < 40 {
        return false;
    }
    let group = &packet[24..40];
    let ssdp = group[2..15].iter().all(|octet| *octet == 0) && group[15] == 0x0c;
    group[0] == 0xff && group[1] % 16 > 2 && !ssdp
}

pub(crate) fn policed(bucket: Option<&mut Bucket>, octets: usize, now: u64) -> Result<(), Reason> {
    let passes = bucket.is_none_or(|bucket| bucket.take_octets(octets, now));
    if passes { Ok(()) } else { Err(Reason::Policed) }
}

/// Whether the address at the beginning is a group's.
pub(crate) fn is_group(octets: &[u8]) -> bool {
    octets[0] & 1 == 1
}
