//! Packets of a tunnel of several paths: counted by path, put into order, reported.

use homeward_l2tp::{Delivery, Discard, Echo};
use homeward_model::Instant;
use homeward_multipath::{MAX_PATHS, PathId, Reorder, Report, Verdict};

use super::frames::{Buffers, Place, Span};
use super::{Heard, Ingress, Taken};
use crate::bond::{Arrivals, Bond, take_events};
use crate::carry::{Arrival, send_message};
use crate::engine::Timer;
use crate::table::{Leg, Table, Tunnel, lock};

/// The most probes and reports at a time: one of each on every path.
const SAID: usize = 2 * MAX_PATHS;

/// How a packet came.
#[derive(Debug, Clone, Copy)]
pub(super) struct Came<'a> {
    /// The tunnel's place.
    pub(super) place: usize,
    /// Which of its legs, by number.
    pub(super) number: u8,
    pub(super) leg: &'a Leg,
    pub(super) sealed: bool,
    /// Octets of the datagram.
    pub(super) datagram: usize,
    pub(super) arrival: Arrival,
    pub(super) now: Instant,
}

impl Ingress {
    /// Takes an L2TP packet of such a tunnel.
    pub(super) fn take_bonded(
        &mut self,
        table: &Table,
        tunnel: &Tunnel,
        bond: &Bond,
        span: Span,
        came: Came<'_>,
    ) -> Taken {
        let Came { place, number, leg, datagram, now, .. } = came;
        let Some(path) = PathId::new(number) else { return Taken::Nothing };
        let Buffers { received, opened, whole, .. } = &mut self.buffers;
        let buffer = if came.sealed { opened } else { received };
        let packet = buffer.get(span.begin..span.begin + span.len).unwrap_or_default();
        let mut inbound = lock(&tunnel.inbound);
        let mut arrivals = lock(&bond.arrivals);
        let Arrivals { receiver, reorder } = &mut *arrivals;
        let accepted = inbound.accept_by(Some(&leg.session), packet, now);
        let mut frame = None;
        let (mut fragments, mut told) = (false, None);
        match &accepted {
            Ok(Delivery::Frame(octets)) => {
                frame = Some(if packet.as_ptr_range().contains(&octets.as_ptr()) {
                    // A whole frame is the packet's end.
                    Span {
                        begin: span.begin + (packet.len() - octets.len()),
                        len: octets.len(),
                        ..span
                    }
                } else {
                    let begin = whole.len();
                    whole.extend_from_slice(octets);
                    Span { place: Place::Whole, begin, len: octets.len() }
                });
            }
            Ok(Delivery::Pending) => fragments = true,
            Ok(Delivery::Control(message)) => {
                told = Some((Report::decode(message).ok(), Echo::decode(message).ok()));
            }
            Err(Discard::Duplicate) => {}
            Err(_) => return Taken::Nothing, // the session has counted it
        }
        let copy = accepted.is_err();
        if let Some((report, echo)) = told {
            drop(arrivals);
            drop(inbound);
            match (report, echo) {
                (Some(report), _) => {
                    self.take_report(table, tunnel, bond, path, &report, came);
                    return Taken::Data(leg.peer);
                }
                (None, Some(echo)) => {
                    bond.heard(path, now);
                    let heard = Heard { peer: leg.peer, sealed: came.sealed, octets: datagram };
                    self.take_echo(table, heard, &echo, came.arrival, now);
                }
                (None, None) => {}
            }
            return Taken::Echo;
        }
        // A session without numbers is no part of a bond: it is opened with them.
        let Some(sequence) = inbound.number() else { return Taken::Nothing };
        receiver.received(path, sequence, datagram, now);
        let mut verdict = Verdict::Pass;
        if copy {
            receiver.duplicate(path);
            reorder.duplicate(path, sequence, now);
        } else {
            let octets = frame.map(|frame| self.buffers.bytes(frame));
            verdict = reorder.accept(path, sequence, octets, now);
        }
        if fragments && let Some(due) = inbound.poll_timeout() {
            self.shared.timers.arm(&tunnel.slot, Timer::Fragments(place), due);
        }
        drop(inbound);
        if let (Some(frame), Verdict::Pass) = (frame, verdict) {
            self.deliver(table, place, tunnel, frame, now);
        }
        self.release(table, place, tunnel, reorder, now);
        let due = [receiver.poll_timeout(), reorder.poll_timeout()].into_iter().flatten().min();
        drop(arrivals);
        if let Some(due) = due {
            self.shared.timers.arm(&bond.slot, Timer::Bond(place), due);
        }
        // In the clear, a copy may be anybody's: it tells nothing of the path.
        if copy && !came.sealed {
            return Taken::Nothing;
        }
        bond.heard(path, now);
        Taken::Data(leg.peer)
    }

    /// Takes a report, or a request for one.
    fn take_report(
        &mut self,
        table: &Table,
        tunnel: &Tunnel,
        bond: &Bond,
        path: PathId,
        report: &Report,
        came: Came<'_>,
    ) {
        let now = came.now;
        {
            let mut arrivals = lock(&bond.arrivals);
            let mut sender = lock(&bond.sender);
            if sender.handle_report(path, report, now)
                && let Some(course) = report.course
            {
                bond.take_course(&mut arrivals.reorder, &mut sender, course);
            }
            arrivals.receiver.handle_report(path, report, now);
            if let Some(rtt) = sender.rtt(path) {
                arrivals.receiver.set_rtt(path, rtt);
                arrivals.reorder.set_rtt(path, rtt);
            }
        }
        self.look_after_bond(table, came.place, tunnel, bond, now);
    }

    /// Does what is due on the paths of a tunnel, and has it come up when something is.
    pub(super) fn look_after_bond(
        &mut self,
        table: &Table,
        place: usize,
        tunnel: &Tunnel,
        bond: &Bond,
        now: Instant,
    ) {
        let mut said = [None; SAID];
        let mut arrivals = lock(&bond.arrivals);
        let Arrivals { receiver, reorder } = &mut *arrivals;
        let mut sender = bond.sender();
        sender.handle_timeout(now);
        for room in &mut said {
            *room = sender.poll_transmit(now).or_else(|| receiver.poll_report(now));
            if let Some((_, report)) = room {
                report.course = Some(sender.course());
            }
        }
        take_events(tunnel.id, &mut sender, &mut self.events);
        // Also those that there are not: nothing is to be waited for by them.
        for path in PathId::ALL {
            reorder.set_live(path, sender.is_alive(path), now);
        }
        let due = sender.poll_timeout();
        drop(sender);
        reorder.handle_timeout(now);
        self.release(table, place, tunnel, reorder, now);
        let due =
            [due, receiver.poll_timeout(), reorder.poll_timeout()].into_iter().flatten().min();
        drop(arrivals);
        let sent = said.map(|said| {
            let (path, report) = said?;
            Some((path, self.send_report(table, tunnel, path, &report)))
        });
        if sent.iter().any(Option::is_some) {
            let mut sender = lock(&bond.sender);
            for (path, octets) in sent.into_iter().flatten() {
                sender.spent(path, octets, now);
            }
        }
        if let Some(due) = due {
            self.shared.timers.arm(&bond.slot, Timer::Bond(place), due);
        }
    }

    /// Hands on what was held and is not any longer.
    #[inline]
    fn release(
        &mut self,
        table: &Table,
        place: usize,
        tunnel: &Tunnel,
        reorder: &mut Reorder,
        now: Instant,
    ) {
        while let Some(octets) = reorder.pop() {
            let (begin, len) = (self.buffers.whole.len(), octets.len());
            self.buffers.whole.extend_from_slice(octets);
            self.deliver(table, place, tunnel, Span { place: Place::Whole, begin, len }, now);
        }
    }

    /// Gives the octets of the datagram. No lock of a bond is held: the thread that sends takes those
    /// with WireGuard's held.
    fn send_report(
        &mut self,
        table: &Table,
        tunnel: &Tunnel,
        path: PathId,
        report: &Report,
    ) -> usize {
        let Some(leg) = tunnel.legs.get(usize::from(path.get())) else { return 0 };
        let Some(peer) = table.peers.get(leg.peer) else { return 0 };
        let sealed = tunnel.config.encrypted;
        send_message(peer, leg, sealed, &report.encode(), &mut self.batch)
    }
}
