//! WireGuard messages: opened, answered.

use std::sync::Arc;

use homeward_model::Instant;

use super::frames::{Place, Span};
use super::{Heard, Ingress, Taken, count, reply_to};
use crate::batch::Target;
use crate::carry::Arrival;
use crate::table::{Peer, Table};
use crate::wireguard::{self, Cores, Message, Opened, Way, core_of};

impl Ingress {
    /// Takes a WireGuard message. Gives the link that it is an authentic one of.
    #[inline]
    pub(super) fn take_wireguard(
        &mut self,
        table: &Table,
        span: Span,
        arrival: Arrival,
        now: Instant,
    ) -> Option<(usize, bool)> {
        let message = self.buffers.bytes(span);
        match wireguard::kind(message) {
            Some(wireguard::DATA) => {
                let index = wireguard::data_index(message)?;
                self.take_data(table, index, span, arrival, now)
            }
            Some(_) => self.take_handshake(table, span, arrival, now),
            None => {
                self.take_other(table, span, arrival, now);
                None
            }
        }
    }

    #[inline]
    fn take_data(
        &mut self,
        table: &Table,
        index: u32,
        span: Span,
        arrival: Arrival,
        now: Instant,
    ) -> Option<(usize, bool)> {
        let first = self.hints.core.0 != index;
        if first && let Some((place, way)) = table.cores.get(&index) {
            self.hints.core = (index, *place, *way);
        }
        let (_, place, way) = self.hints.core;
        let known = table.peers.get(place).filter(|_| self.hints.core.0 == index);
        let known = known.and_then(|peer| Some((peer, peer.cores.as_ref()?)));
        let Some((peer, cores)) = known else {
            count(&self.shared.refused.unknown);
            return None;
        };
        if first {
            self.wake(peer, cores, way, arrival, now);
        }
        let begin = self.buffers.opened_used;
        let message = self.buffers.received.get(span.begin..span.begin + span.len)?;
        let room = self.buffers.opened.get_mut(begin..)?;
        if room.len() < message.len() {
            return None;
        }
        let len = match cores.lock(way).open(message, room) {
            Ok(Opened::Packet(len)) => len,
            Ok(Opened::Nothing) => return Some((place, true)),
            Ok(Opened::Reply(_)) | Err(()) => {
                count(&self.shared.refused.wireguard);
                return None;
            }
        };
        self.buffers.opened_used += len;
        let packet = self.buffers.opened.get(begin..begin + len)?;
        let inner = peer.inner.as_ref()?;
        let Ok(content) = inner.open(packet) else {
            count(&self.shared.refused.unknown);
            return Some((place, true));
        };
        let at = begin + (content.as_ptr() as usize - packet.as_ptr() as usize);
        let inside = Span { place: Place::Opened, begin: at, len: content.len() };
        // Authentic it is, whatever L2TP makes of it; but the path was told of an echo already.
        match self.take_l2tp(table, inside, Some(place), span.len, arrival, now) {
            Taken::Echo => None,
            Taken::Data(_) | Taken::Nothing => Some((place, true)),
        }
    }

    #[cold]
    fn take_handshake(
        &mut self,
        table: &Table,
        span: Span,
        arrival: Arrival,
        now: Instant,
    ) -> Option<(usize, bool)> {
        let shared = Arc::clone(&self.shared);
        let mut cookie = [0; 64];
        let message = self.buffers.bytes(span);
        let from = arrival.from.ip();
        let (place, way) = match table.screen(&shared.identity, message, from, &mut cookie) {
            Some((own, Message::Initiation(key))) => {
                (table.keys.get(&(own, key)).copied(), Way::In)
            }
            Some((_, Message::For(index))) => match table.cores.get(&core_of(index)) {
                Some((place, way)) => (Some(*place), *way),
                None => (None, Way::In),
            },
            Some((_, Message::Cookie(len))) => {
                let octets = cookie.get(..len).unwrap_or_default();
                if let Some(room) = self.batch.room().get_mut(..len) {
                    room.copy_from_slice(octets);
                    let target =
                        Target { to: arrival.from, from: arrival.to, interface: 0, counters: None };
                    self.batch.push(&target, len);
                }
                return None;
            }
            None => (None, Way::In),
        };
        let known = place.and_then(|at| {
            let peer = table.peers.get(at)?;
            Some((at, peer, peer.cores.as_ref()?))
        });
        let Some((place, peer, cores)) = known else {
            count(&shared.refused.wireguard);
            return None;
        };
        if self.batch.left() < 4096 {
            return None;
        }
        self.wake(peer, cores, way, arrival, now);
        let message = self.buffers.received.get(span.begin..span.begin + span.len)?;
        let opened = cores.lock(way).open(message, self.batch.room());
        match opened {
            Ok(Opened::Reply(len)) => {
                // It is shorter than what it answers. The link is told of both before it has its
                // own word, lest it spend what the reply takes.
                self.batch.push(&reply_to(arrival, peer), len);
                let link = peer.link(true);
                link.received(arrival, span.len, true, now, &mut self.events);
                link.route().spend(arrival.from, len, now);
                self.send_waiting(peer, cores, way, arrival, now);
                self.hear(table, Heard { peer: place, sealed: true, octets: 0 }, arrival, now);
            }
            Ok(_) => {}
            Err(()) => count(&shared.refused.wireguard),
        }
        None
    }

    /// Tells a core the time, if it has not been told lately. What it has to say for itself goes
    /// where the message came from, as far as that may be sent it.
    #[inline]
    fn wake(&mut self, peer: &Peer, cores: &Cores, way: Way, arrival: Arrival, now: Instant) {
        // The link's lock is never taken with a core's held.
        let len = cores.lock(way).wake(self.batch.room(), now);
        if let Some(len) = len
            && peer.link(true).route().spend(arrival.from, len, now)
        {
            self.batch.push(&reply_to(arrival, peer), len);
        }
    }

    /// Sends the packets that waited for a session, as far as the address may be sent them.
    fn send_waiting(
        &mut self,
        peer: &Peer,
        cores: &Cores,
        way: Way,
        arrival: Arrival,
        now: Instant,
    ) {
        while self.batch.left() >= 4096 {
            let Some(len) = cores.lock(way).next_waiting(self.batch.room()) else { return };
            if peer.link(true).route().spend(arrival.from, len, now) {
                self.batch.push(&reply_to(arrival, peer), len);
            }
        }
    }
}
