//! What an interface has, cut into pieces that fit.

use std::io;
use std::time::Duration;

use homeward_l2tp::{Outbound, Piece, TcpMss};
use homeward_linux::tap::VNET_HEADER;
use homeward_model::Instant;

use super::{TURN, TURN_OCTETS, admits};
use crate::counters::Counters;
use crate::offload::mss;
use crate::offload::packet::TcpPacket;
use crate::offload::segment::{Segments, complete_checksum};
use crate::offload::vnet::{Gso, Vnet};
use crate::table::{Tunnel, lock};

/// Where pieces of frames go.
pub(super) trait Out {
    /// Looks at a frame, or a super-frame, before its pieces come.
    #[inline]
    fn begin(&mut self, _frame: &[u8]) {}

    /// Sends a piece of a frame, which `write` puts into a room that is large enough. Whether it
    /// may go; if not, that is counted.
    fn send(
        &mut self,
        outbound: &Outbound,
        piece: &Piece,
        write: impl FnOnce(&mut [u8]) -> Option<usize>,
    ) -> bool;

    /// The most octets of a frame in a packet.
    fn largest(&self) -> usize;

    /// The largest TCP segments that pass whole.
    fn mss(&self) -> TcpMss;

    fn counters(&self) -> &Counters;

    /// Notes a frame of so many octets that went whole.
    fn note_frame(&mut self, octets: usize);
}

/// Forwards what waited, and what the interface has, as much as it may at a time. `make_room` is
/// called between frames. Gives why the interface cannot be read, if it cannot.
pub(super) fn forward_all<O: Out>(
    tunnel: &Tunnel,
    out: &mut O,
    header: &mut [u8; VNET_HEADER],
    room: &mut [u8],
    patience: Duration,
    now: Instant,
    mut make_room: impl FnMut(&mut O),
) -> Option<io::Error> {
    let mut outbound = lock(&tunnel.outbound);
    let mut hold = lock(&tunnel.hold);
    tunnel.counters.no_path.add(hold.expire(patience, now));
    while let Some(mut held) = hold.take() {
        forward(out, &mut outbound, &Vnet::decode(&held.header), &mut held.frame);
        make_room(out);
    }
    drop(hold);
    let mut read = 0;
    for _ in 0..TURN {
        match tunnel.tap.read(header, room) {
            Ok(Some(len)) => {
                let frame = room.get_mut(..len).unwrap_or_default();
                if admits(tunnel, frame, now) {
                    forward(out, &mut outbound, &Vnet::decode(header), frame);
                }
                read += len;
            }
            Ok(None) => break,
            Err(error) => return Some(error),
        }
        make_room(out);
        if read >= TURN_OCTETS {
            break;
        }
    }
    None
}

/// Sends one frame or super-frame.
#[inline]
fn forward(out: &mut impl Out, outbound: &mut Outbound, vnet: &Vnet, frame: &mut [u8]) {
    let largest = out.largest();
    out.begin(frame);
    if vnet.gso != Gso::None {
        let Ok(mut segments) = Segments::new(frame, vnet, largest) else {
            return out.counters().malformed.add(1);
        };
        while segments.left() > 0 {
            let len = segments.next_len();
            // It is no longer than the largest payload: one piece.
            let Ok(mut pieces) = outbound.plan(len, largest) else { return };
            let Some(piece) = pieces.next() else { return };
            if out.send(outbound, &piece, |room| segments.write_next(room)) {
                out.note_frame(len);
            } else {
                segments.skip();
            }
        }
        return;
    }
    if let Some((start, offset)) = vnet.checksum
        && complete_checksum(frame, start, offset).is_err()
    {
        return out.counters().malformed.add(1);
    }
    if let Some(packet) = TcpPacket::decode(frame) {
        mss::clamp(frame, &packet, || Some(out.mss()));
    }
    // The session counts what cannot be cut.
    let Ok(pieces) = outbound.plan(frame.len(), largest) else { return };
    let mut all = true;
    for piece in pieces {
        let octets = piece.of(frame);
        all &= out.send(outbound, &piece, |room| {
            room.get_mut(..octets.len())?.copy_from_slice(octets);
            Some(octets.len())
        });
    }
    if all {
        out.note_frame(frame.len());
    }
}
