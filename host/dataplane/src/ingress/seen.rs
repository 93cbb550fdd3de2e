//! How servers see our sockets: they are asked, and what they answer is told.

use std::net::SocketAddr;
use std::sync::Arc;

use homeward_linux::AddressChange;
use homeward_model::Instant;
use homeward_stun::is_answer;

use super::frames::Span;
use super::{Ingress, count};
use crate::batch::Target;
use crate::carry::{Arrival, tell_links};
use crate::engine::Timer;
use crate::reflexive::matters;
use crate::table::Table;

impl Ingress {
    /// Asks the servers that are to be asked now.
    pub(super) fn ask_servers(&mut self, table: &Table, now: Instant) {
        let shared = Arc::clone(&self.shared);
        let mut askers = shared.reflexive.askers();
        askers.handle_timeout(now, &mut self.entropy);
        while let Some((interface, request)) = askers.poll_transmit() {
            let len = request.octets.len();
            if let Some(room) = self.batch.room().get_mut(..len) {
                room.copy_from_slice(&request.octets);
                let target = Target { to: request.to, from: None, interface, counters: None };
                self.batch.push(&target, len);
            }
        }
        let news = shared.reflexive.take_news(&mut askers, &mut self.events);
        let due = askers.poll_timeout();
        drop(askers);
        if let Some(due) = due {
            shared.timers.arm(&shared.reflexive.slot, Timer::Reflexive, due);
        }
        if news {
            self.note_seen(table, now);
        }
    }

    /// Takes what is neither L2TP nor WireGuard: a server's answer, if it is one.
    #[cold]
    pub(super) fn take_other(&mut self, table: &Table, span: Span, arrival: Arrival, now: Instant) {
        let shared = Arc::clone(&self.shared);
        let datagram = self.buffers.bytes(span);
        let socket = self.sockets.iter().find(|socket| socket.reaches(arrival.from));
        let port = socket.map(|socket| socket.local_address().port());
        let local = arrival.to.zip(port).map(|(ip, port)| SocketAddr::new(ip, port));
        let mut askers = shared.reflexive.askers();
        if !is_answer(datagram) || !askers.handle_datagram(arrival.from, local, datagram, now) {
            return count(&shared.refused.unknown);
        }
        let news = shared.reflexive.take_news(&mut askers, &mut self.events);
        drop(askers);
        if news {
            self.note_seen(table, now);
        }
    }

    /// Has the servers asked soon if where we send from may be another now.
    pub(super) fn note_own_addresses(&self, changes: &[AddressChange]) {
        if !changes.iter().copied().any(matters) {
            return;
        }
        let shared = &self.shared;
        let mut askers = shared.reflexive.askers();
        askers.handle_change(shared.now());
        let due = askers.poll_timeout();
        drop(askers);
        if let Some(due) = due {
            shared.timers.arm(&shared.reflexive.slot, Timer::Reflexive, due);
        }
    }

    /// We are seen elsewhere: peers that do not answer may do so now, since they are told where; and
    /// a NAT wants to be kept.
    fn note_seen(&self, table: &Table, now: Instant) {
        let keepalive = self.shared.keepalive();
        tell_links(&self.shared, table, |route| {
            route.set_keepalive(keepalive);
            route.try_anew(now);
        });
    }
}
