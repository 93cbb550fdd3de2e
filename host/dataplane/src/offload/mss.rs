//! Lowers the MSS option of TCP SYNs (RFC 9293 3.7.1), so that streams choose segments that pass
//! the tunnel without being cut.

use homeward_l2tp::TcpMss;

use super::checksum;
use super::packet::{Network, TcpPacket};

const SYN: u8 = 0x02;
const OPTION_END: u8 = 0;
const OPTION_NOP: u8 = 1;
const OPTION_MSS: u8 = 2;

/// Lowers the MSS in a SYN or SYN-ACK to what is given, and corrects its checksum; it is never
/// raised, and none is put in. Whether it was lowered. The frame's checksum must be complete, and
/// `packet` be what is decoded of it. The limit is asked for only if the frame is one: most are
/// not.
#[inline]
pub fn clamp(frame: &mut [u8], packet: &TcpPacket, limit: impl FnOnce() -> Option<TcpMss>) -> bool {
    let flags = frame.get(packet.tcp + 13).copied().unwrap_or_default();
    if flags & SYN == 0 {
        return false;
    }
    limit().is_some_and(|limit| lower(frame, packet, limit).is_some())
}

fn lower(frame: &mut [u8], packet: &TcpPacket, limit: TcpMss) -> Option<()> {
    let header = frame.get_mut(packet.tcp..packet.payload)?;
    let (fixed, options) = header.split_first_chunk_mut::<20>()?;
    let [.., c0, c1, _, _] = fixed;
    let limit = match packet.network {
        Network::V4 => limit.v4,
        Network::V6 => limit.v6,
    };
    let mut at = 0;
    loop {
        match *options.get(at)? {
            OPTION_END => return None,
            OPTION_NOP => at += 1,
            OPTION_MSS => break,
            _ => {
                let len = usize::from(*options.get(at + 1)?);
                if len < 2 {
                    return None; // it says that it has no end
                }
                at += len;
            }
        }
    }
    let [_, len, v0, v1] = options.get_mut(at..)?.first_chunk_mut()?;
    let old = u16::from_be_bytes([*v0, *v1]);
    if *len != 4 || old <= limit || limit == 0 {
        return None;
    }
    [*v0, *v1] = limit.to_be_bytes();
    // An option at an odd place has its octets in two words of the sum, the wrong way round.
    let swap = |value: u16| if at % 2 == 0 { value } else { value.swap_bytes() };
    let field = u16::from_be_bytes([*c0, *c1]);
    [*c0, *c1] = checksum::update(field, swap(old), swap(limit)).to_be_bytes();
    Some(())
}
