//! The octets of traffic control (rtnetlink(7), `linux/pkt_sched.h`, `linux/pkt_cls.h`).

use crate::netlink::{Attributes, u32_at};
use crate::qdisc::{Count, MAJOR, Marks};

pub(super) struct Qdisc {
    pub(super) handle: u32,
    pub(super) parent: u32,
    pub(super) kind: String,
}

pub(super) fn qdisc(body: &[u8]) -> Option<Qdisc> {
    Some(Qdisc {
        handle: u32_at(body, 8)?,
        parent: u32_at(body, 12)?,
        kind: Attributes::new(body.get(20..)?).text(TCA_KIND)?,
    })
}

/// Of `struct gnet_stats_basic` (64 bits of octets first) and `struct gnet_stats_queue` (packets,
/// octets and drops, 32 bits each).
pub(super) fn count(attributes: Attributes<'_>) -> Option<Count> {
    let stats = attributes.nested(TCA_STATS2);
    let octets = stats.get(TCA_STATS_BASIC)?.first_chunk().map(|first| u64::from_ne_bytes(*first));
    Some(Count { octets: octets?, dropped: u32_at(stats.get(TCA_STATS_QUEUE)?, 8)? })
}

impl Marks {
    /// What to look for, by EtherType: offset from the IP header, mask and value, all of which
    /// must match.
    pub(super) fn keys(&self) -> Vec<(u16, Vec<Key>)> {
        let (v4, v6) = (libc::ETH_P_IP as u16, libc::ETH_P_IPV6 as u16);
        let dscp = u32::from(self.dscp);
        let mut keys = Vec::new();
        if dscp != 0 {
            keys.push((v4, vec![(0, 0x00fc_0000, dscp << 18)]));
            keys.push((v6, vec![(0, 0x0fc0_0000, dscp << 22)]));
        }
        for port in &self.ports {
            let to = (0x0000_ffff, u32::from(*port));
            // UDP, no options, no later fragment.
            let udp = [(0, 0x0f00_0000, 5 << 24), (8, 0x00ff_0000, 17 << 16), (4, 0x1fff, 0)];
            keys.push((v4, [&udp[..], &[(20, to.0, to.1)]].concat()));
            keys.push((v6, vec![(4, 0x0000_ff00, 17 << 8), (40, to.0, to.1)]));
        }
        keys
    }
}

/// Offset, mask and value of a word, in network order once written.
pub(super) type Key = (i32, u32, u32);
pub(super) const ANY: Key = (0, 0, 0);

/// `struct tc_u32_sel` and its keys.
pub(super) fn selector(keys: &[Key]) -> Vec<u8> {
    let mut octets = vec![TC_U32_TERMINAL, 0, keys.len() as u8];
    octets.resize(16, 0);
    for (offset, mask, value) in keys {
        octets.extend(mask.to_be_bytes());
        octets.extend(value.to_be_bytes());
        octets.extend(offset.to_ne_bytes());
        octets.extend([0; 4]);
    }
    octets
}

/// `struct tc_ratespec`, for Ethernet; a rate in octets a second that does not fit is in another
/// attribute.
pub(super) fn ratespec(rate: u64) -> Vec<u8> {
    let mut octets = vec![0, TC_LINKLAYER_ETHERNET, 0, 0, 0, 0, 0, 0];
    octets.extend(u32::try_from(rate).unwrap_or(u32::MAX).to_ne_bytes());
    octets
}

/// What a class may send at once, in the kernel's ticks of 64 ns at the class's rate: 4 ms' worth,
/// and at least a full frame.
pub(super) fn burst(rate: u64) -> u32 {
    let octets = (rate / 250).max(1600);
    let ticks = u128::from(octets) * 1_000_000_000 / u128::from(rate.max(1)) / 64;
    u32::try_from(ticks).unwrap_or(u32::MAX)
}

/// `struct tcmsg`: family, three octets of padding, index, handle, parent, and of filters rank and
/// protocol.
pub(super) fn tcmsg(index: u32, handle: u32, parent: u32, info: u32) -> [u8; 20] {
    let mut octets = [0; 20];
    for (room, value) in octets.chunks_exact_mut(4).skip(1).zip([index, handle, parent, info]) {
        room.copy_from_slice(&value.to_ne_bytes());
    }
    octets
}

pub(super) const ROOT: u32 = (MAJOR as u32) << 16;
pub(super) const WHOLE: u32 = ROOT | 0x1;
pub(super) const OWNER: u32 = ROOT | 0x10;
pub(super) const ROAMERS: u32 = ROOT | 0x20;
/// Octets that a class sends before another of the same rank has its turn.
pub(super) const QUANTUM: u32 = 1514;
/// As many packets wait in a share where there is no fq_codel.
pub(super) const FIFO_PACKETS: u32 = 100;

/// `NLM_F_CREATE | NLM_F_EXCL`
pub(super) const CREATE_NEW: u16 = 0x400 | 0x200;
/// `NLM_F_CREATE | NLM_F_REPLACE`
pub(super) const CREATE_OR_CHANGE: u16 = 0x400 | 0x100;

pub(super) const RTM_NEWQDISC: u16 = 36;
pub(super) const RTM_DELQDISC: u16 = 37;
pub(super) const RTM_GETQDISC: u16 = 38;
pub(super) const RTM_NEWTCLASS: u16 = 40;
pub(super) const RTM_GETTCLASS: u16 = 42;
pub(super) const RTM_NEWTFILTER: u16 = 44;
pub(super) const RTM_DELTFILTER: u16 = 45;
pub(super) const RTM_GETTFILTER: u16 = 46;

pub(super) const TC_H_ROOT: u32 = 0xffff_ffff;
pub(super) const TC_H_INGRESS: u32 = 0xffff_fff1;
pub(super) const TC_H_MAJ_INGRESS: u32 = 0xffff_0000;
pub(super) const TC_LINKLAYER_ETHERNET: u8 = 1;
pub(super) const TC_U32_TERMINAL: u8 = 1;
pub(super) const TC_ACT_STOLEN: u32 = 4;
pub(super) const TCA_EGRESS_REDIR: u32 = 1;

pub(super) const TCA_KIND: u16 = 1;
pub(super) const TCA_OPTIONS: u16 = 2;
pub(super) const TCA_STATS2: u16 = 7;
pub(super) const TCA_STATS_BASIC: u16 = 1;
pub(super) const TCA_STATS_QUEUE: u16 = 3;
pub(super) const TCA_HTB_PARMS: u16 = 1;
pub(super) const TCA_HTB_INIT: u16 = 2;
pub(super) const TCA_HTB_RATE64: u16 = 6;
pub(super) const TCA_HTB_CEIL64: u16 = 7;
pub(super) const TCA_U32_CLASSID: u16 = 1;
pub(super) const TCA_U32_SEL: u16 = 5;
pub(super) const TCA_U32_ACT: u16 = 7;
pub(super) const TCA_ACT_KIND: u16 = 1;
pub(super) const TCA_ACT_OPTIONS: u16 = 2;
pub(super) const TCA_MIRRED_PARMS: u16 = 2;

pub(super) const IFLA_IFNAME: u16 = 3;
pub(super) const IFLA_LINKINFO: u16 = 18;
pub(super) const IFLA_IFALIAS: u16 = 20;
pub(super) const IFLA_INFO_KIND: u16 = 1;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_is_a_frame_or_four_milliseconds() {
        assert_eq!(burst(125_000), (1600 * 8000 / 64) as u32, "1 Mbit/s: one frame");
        assert_eq!(burst(12_500_000), 4_000_000 / 64, "100 Mbit/s: 4 ms");
        assert_eq!(burst(125_000_000_000), 4_000_000 / 64);
    }
}
