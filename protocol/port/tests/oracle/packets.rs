//! Packets taken apart, for the oracle: octets are copied and indexed as one would on paper.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use homeward_model::Mac;
use homeward_port::Reason;

pub(crate) fn u16_at(octets: &[u8], at: usize) -> u16 {
    u16::from(octets[at]) * 256 + u16::from(octets[at + 1])
}

pub(crate) fn mac_at(octets: &[u8], at: usize) -> Mac {
    Mac::new(octets[at..at + 6].try_into().unwrap())
}

pub(crate) fn v4_at(octets: &[u8], at: usize) -> IpAddr {
    Ipv4Addr::from(<[u8; 4]>::try_from(&octets[at..at + 4]).unwrap()).into()
}

pub(crate) fn v6_at(octets: &[u8], at: usize) -> IpAddr {
    Ipv6Addr::from(<[u8; 16]>::try_from(&octets[at..at + 16]).unwrap()).into()
}

/// An IP packet of either family.
pub(crate) struct Packet {
    pub(crate) source: IpAddr,
    pub(crate) protocol: u8,
    /// Carries a fragment header, or has more fragments after it.
    pub(crate) fragment: bool,
    /// Begins in the middle.
    pub(crate) later: bool,
    pub(crate) payload: Vec<u8>,
}

pub(crate) fn packet_v4(octets: &[u8]) -> Result<Packet, Reason> {
    if octets.len() < 20 || octets[0] / 16 != 4 {
        return Err(Reason::Malformed);
    }
    let header = usize::from(octets[0] % 16) * 4;
    let total = usize::from(u16_at(octets, 2));
    if header < 20 || total < header || total > octets.len() {
        return Err(Reason::Malformed);
    }
    let offset = u16_at(octets, 6) % 0x2000;
    let more = u16_at(octets, 6) & 0x2000 != 0;
    Ok(Packet {
        source: v4_at(octets, 12),
        protocol: octets[9],
        fragment: more || offset > 0,
        later: offset > 0,
        payload: octets[header..total].to_vec(),
    })
}

pub(crate) fn packet_v6(octets: &[u8]) -> Result<Packet, Reason> {
    if octets.len() < 40 || octets[0] / 16 != 6 {
        return Err(Reason::Malformed);
    }
    let length = usize::from(u16_at(octets, 4));
    if octets.len() < 40 + length {
        return Err(Reason::Malformed);
    }
    let mut packet = Packet {
        source: v6_at(octets, 8),
        protocol: octets[6],
        fragment: false,
        later: false,
        payload: octets[40..40 + length].to_vec(),
    };
    let mut headers = 0;
    while [0, 43, 44, 51, 60, 135, 139, 140].contains(&packet.protocol) {
        headers += 1;
        if headers > 9 || packet.payload.len() < 2 {
            return Err(Reason::HeaderChain);
        }
        let own = usize::from(packet.payload[1]);
        let size = match packet.protocol {
            44 => 8,
            51 => own * 4 + 8,
            _ => own * 8 + 8,
        };
        if packet.protocol == 44 {
            if packet.payload.len() < 8 {
                return Err(Reason::HeaderChain);
            }
            if u16_at(&packet.payload, 2) / 8 > 0 {
                packet.later = true;
                packet.fragment = true;
                return Ok(packet);
            }
            packet.fragment = true;
        }
        if packet.payload.len() < size {
            return Err(Reason::HeaderChain);
        }
        packet.protocol = packet.payload[0];
        packet.payload.drain(..size);
    }
    // Nine headers and then an end are one too many as well.
    if headers > 8 { Err(Reason::HeaderChain) } else { Ok(packet) }
}

/// What a DHCPv4 message says.
pub(crate) struct Dhcp {
    pub(crate) operation: u8,
    pub(crate) client: Option<Mac>,
    pub(crate) has: IpAddr,
    pub(crate) given: IpAddr,
    pub(crate) relayed: bool,
    pub(crate) kind: Option<u8>,
    pub(crate) requested: Option<IpAddr>,
    pub(crate) lease: Option<u32>,
    pub(crate) identifier: Option<Mac>,
    pub(crate) ambiguous: bool,
}

pub(crate) fn dhcp(octets: &[u8]) -> Option<Dhcp> {
    if octets.len() < 236 {
        return None;
    }
    let mut message = Dhcp {
        operation: octets[0],
        client: (octets[2] == 6).then(|| mac_at(octets, 28)),
        has: v4_at(octets, 12),
        given: v4_at(octets, 16),
        relayed: octets[24..28] != [0; 4],
        kind: None,
        requested: None,
        lease: None,
        identifier: None,
        ambiguous: false,
    };
    if octets.len() < 240 || octets[236..240] != [99, 130, 83, 99] {
        return Some(message);
    }
    let mut at = 240;
    let mut seen = Vec::new();
    while at < octets.len() && octets[at] != 255 {
        let code = octets[at];
        if code == 0 {
            at += 1;
            continue;
        }
        let length = octets.get(at + 1).map(|length| usize::from(*length));
        let Some(value) = length.and_then(|length| octets.get(at + 2..at + 2 + length)) else {
            message.ambiguous = true;
            break;
        };
        if [50, 51, 53, 61].contains(&code) && seen.contains(&code) {
            message.ambiguous = true;
        }
        seen.push(code);
        match (code, value.len()) {
            (50, 4) => message.requested = Some(v4_at(value, 0)),
            (51, 4) => message.lease = Some(u32::from_be_bytes(value.try_into().unwrap())),
            (53, 1) => message.kind = Some(value[0]),
            (50..=53, _) => message.ambiguous = true,
            (61, 7) if value[0] == 1 => message.identifier = Some(mac_at(value, 1)),
            (82, _) => message.relayed = true,
            _ => {}
        }
        at += 2 + value.len();
    }
    Some(message)
}

/// Addresses and valid lifetimes of a DHCPv6 message.
pub(crate) fn dhcp_v6(octets: &[u8]) -> Vec<(IpAddr, u32)> {
    let mut found = Vec::new();
    for (code, value) in options_v6(octets.get(4..).unwrap_or_default()) {
        let skip = match code {
            3 => 12,
            4 => 4,
            _ => continue,
        };
        for (code, value) in options_v6(value.get(skip..).unwrap_or_default()) {
            if code == 5 && value.len() >= 24 {
                found.push((
                    v6_at(&value, 0),
                    u32::from_be_bytes(value[20..24].try_into().unwrap()),
                ));
            }
        }
    }
    found
}

fn options_v6(octets: &[u8]) -> Vec<(u16, Vec<u8>)> {
    let mut found = Vec::new();
    let mut at = 0;
    while octets.len() >= at + 4 {
        let length = usize::from(u16_at(octets, at + 2));
        let Some(value) = octets.get(at + 4..at + 4 + length) else { break };
        found.push((u16_at(octets, at), value.to_vec()));
        at += 4 + length;
    }
    found
}
