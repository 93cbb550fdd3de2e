//! From the tunnels' packets to the interfaces: frames of a batch, put together and written.

use std::io::IoSlice;

use homeward_model::Instant;

use super::Ingress;
use crate::config::Side;
use crate::offload::coalesce::{Coalescer, Part};
use crate::offload::mss;
use crate::offload::packet::TcpPacket;
use crate::table::{Table, Tunnel, lock};

/// Where a frame lies.
#[derive(Debug, Clone, Copy)]
pub(super) struct Span {
    pub(super) place: Place,
    pub(super) begin: usize,
    pub(super) len: usize,
}

#[derive(Debug, Clone, Copy)]
pub(super) enum Place {
    /// Where it was received.
    Received,
    /// Where it was opened.
    Opened,
    /// Where it was put together.
    Whole,
}

/// Where frames lie until they are written.
pub(super) struct Buffers {
    pub(super) received: Box<[u8]>,
    pub(super) opened: Box<[u8]>,
    pub(super) opened_used: usize,
    pub(super) whole: Vec<u8>,
}

impl Buffers {
    pub(super) fn bytes(&self, span: Span) -> &[u8] {
        let buffer = match span.place {
            Place::Received => &self.received[..],
            Place::Opened => &self.opened[..],
            Place::Whole => &self.whole[..],
        };
        buffer.get(span.begin..span.begin + span.len).unwrap_or_default()
    }

    pub(super) fn bytes_mut(&mut self, span: Span) -> &mut [u8] {
        let buffer = match span.place {
            Place::Received => &mut self.received[..],
            Place::Opened => &mut self.opened[..],
            Place::Whole => &mut self.whole[..],
        };
        buffer.get_mut(span.begin..span.begin + span.len).unwrap_or_default()
    }
}

/// A tunnel's frames of this batch.
pub(super) struct Pending {
    tunnel: usize,
    coalescer: Coalescer<Span>,
    frames: u64,
    octets: u64,
}

impl Ingress {
    /// Puts a frame to those that its interface is to be written.
    #[inline]
    pub(super) fn deliver(
        &mut self,
        table: &Table,
        place: usize,
        tunnel: &Tunnel,
        span: Span,
        now: Instant,
    ) {
        let frame = self.buffers.bytes_mut(span);
        {
            let mut port = lock(&tunnel.port);
            let verdict = match tunnel.config.side {
                Side::Home => port.from_stranger(frame, now),
                Side::Foreign => port.to_stranger(frame, now),
            };
            if !verdict.passes() {
                return; // the port has counted it
            }
        }
        let packet = TcpPacket::decode(frame);
        if let Some(packet) = &packet {
            mss::clamp(frame, packet, || tunnel.tcp_mss(table));
        }
        let known = self.pending.iter().take(self.used).position(|one| one.tunnel == place);
        let at = known.unwrap_or_else(|| {
            match self.pending.get_mut(self.used) {
                Some(spare) => spare.tunnel = place,
                None => self.pending.push(Pending {
                    tunnel: place,
                    coalescer: Coalescer::new(),
                    frames: 0,
                    octets: 0,
                }),
            }
            self.used += 1;
            self.used - 1
        });
        if let Some(pending) = self.pending.get_mut(at) {
            pending.frames += 1;
            pending.octets += span.len as u64;
            pending.coalescer.push(self.buffers.bytes(span), packet, span);
        }
    }

    /// Writes the frames of this batch to their interfaces.
    pub(super) fn write_frames(&mut self, table: &Table) {
        let buffers = &self.buffers;
        for pending in self.pending.iter_mut().take(self.used) {
            let Some(tunnel) = table.tunnels.get(pending.tunnel) else { continue };
            let mut parts: Vec<IoSlice<'_>> = Vec::new();
            let (mut lost, mut lost_octets) = (0, 0);
            pending.coalescer.drain(|output| {
                let vnet = output.vnet.encode();
                // The slices live no longer than the header: a new list each time, from old memory.
                let mut list = recycle(std::mem::take(&mut parts));
                list.push(IoSlice::new(&vnet));
                if !output.header.is_empty() {
                    list.push(IoSlice::new(output.header));
                }
                list.extend(output.parts.iter().map(|part| IoSlice::new(piece(buffers, part))));
                if let Err(error) = tunnel.tap.write(&list) {
                    tracing::trace!(%error, interface = tunnel.tap.name(), "frame not written");
                    lost += output.parts.len() as u64;
                    lost_octets += output.parts.iter().map(|p| p.to - p.from).sum::<usize>() as u64;
                }
                parts = recycle(list);
            });
            tunnel.counters.tap.add(lost);
            let octets = pending.octets.saturating_sub(lost_octets);
            tunnel.counters.received.add(pending.frames - lost, octets);
            (pending.frames, pending.octets) = (0, 0);
        }
        self.used = 0;
    }
}

fn piece<'a>(buffers: &'a Buffers, part: &Part<Span>) -> &'a [u8] {
    buffers.bytes(part.frame).get(part.from..part.to).unwrap_or_default()
}

/// The memory of a list, for a list of slices that live for another time.
fn recycle<'b>(mut list: Vec<IoSlice<'_>>) -> Vec<IoSlice<'b>> {
    list.clear();
    // Collected in place: the standard library reuses the allocation.
    list.into_iter().map(|_| IoSlice::new(&[])).collect()
}
