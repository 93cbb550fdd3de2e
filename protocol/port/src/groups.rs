//! Storm control: which frames reach many, and how many of them may.

use homeward_model::Instant;

use crate::bucket::Bucket;
use crate::frame::{Ethernet, Kind};
use crate::settings::GroupLimits;
use crate::verdict::Reason;

/// How far a frame reaches that is not for one host alone, or is ARP.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scope {
    Arp,
    Near,
    Wide,
}

/// The scope of a frame; `None` for unicast.
#[inline]
pub(crate) fn scope(ethernet: &Ethernet<'_>, kind: Kind) -> Option<Scope> {
    if kind == Kind::Arp {
        return Some(Scope::Arp);
    }
    ethernet.destination.is_group().then(|| match wide(ethernet.payload, kind) {
        true => Scope::Wide,
        false => Scope::Near,
    })
}

/// Whether it is IP multicast that may leave the link and looks for no services.
fn wide(packet: &[u8], kind: Kind) -> bool {
    match kind {
        Kind::Ipv4 => match packet.get(16..20) {
            Some([224, 0, 0, _] | [239, 255, 255, 250]) => false,
            Some([first, ..]) => (224..240).contains(first),
            _ => false,
        },
        Kind::Ipv6 => match packet.get(24..40) {
            // SSDP in any scope.
            Some([0xff, _, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x0c]) => false,
            Some([0xff, flags_and_scope, ..]) => flags_and_scope & 0x0f > 2,
            _ => false,
        },
        Kind::Arp | Kind::Update => false,
    }
}

/// A bucket for each scope.
#[derive(Debug)]
pub(crate) struct Groups {
    arp: Bucket,
    near: Bucket,
    wide: Bucket,
}

impl Groups {
    pub(crate) fn full(limits: &GroupLimits) -> Self {
        Self {
            arp: Bucket::of_frames(limits.arp),
            near: Bucket::of_frames(limits.near),
            wide: Bucket::of_frames(limits.wide),
        }
    }

    pub(crate) fn resize(&mut self, limits: &GroupLimits, now: Instant) {
        let to = Self::full(limits);
        self.arp = self.arp.resized(to.arp, now);
        self.near = self.near.resized(to.near, now);
        self.wide = self.wide.resized(to.wide, now);
    }

    pub(crate) fn take(&mut self, scope: Scope, octets: usize, now: Instant) -> Result<(), Reason> {
        let (bucket, reason) = match scope {
            Scope::Arp => (&mut self.arp, Reason::ArpRate),
            Scope::Near => (&mut self.near, Reason::GroupRate),
            Scope::Wide => (&mut self.wide, Reason::StreamRate),
        };
        if bucket.take_frame(octets, now) { Ok(()) } else { Err(reason) }
    }
}
