//! Puts what belongs to tunnels into datagrams, for both threads.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use homeward_l2tp::inner::INNER_HEADER_LEN;
use homeward_l2tp::{Header, InnerHeader, Probe};
use homeward_model::Instant;

use crate::batch::{Batch, Target, TooBig};
use crate::counters::Counters;
use crate::engine::{Shared, Timer};
use crate::event::Event;
use crate::link::{Route, Way};
use crate::status::State;
use crate::table::{Leg, Peer, Table};
use crate::wireguard::{Core, Cores, INITIATION, OVERHEAD, PAD, Sealed, Way as CoreWay};

/// Room for a packet before it is sealed: the longest datagram that is ever sent, and to spare.
pub(crate) const PLAIN: usize = 2048;

/// The most octets of a frame in a packet: what [`PLAIN`] has room for beside all headers.
pub(crate) const LARGEST_PAYLOAD: usize = PLAIN - INNER_HEADER_LEN - 20 - PAD;

/// The octets of a packet to be sealed, which begins at the start of `plain`: the inner header and
/// the padding are put around `content` octets of L2TP that are there already.
#[inline]
pub(crate) fn finish_plain<'a>(
    plain: &'a mut [u8],
    inner: &InnerHeader,
    content: usize,
) -> Option<&'a [u8]> {
    let end = INNER_HEADER_LEN + content;
    let padded = end.next_multiple_of(PAD);
    let plain = plain.get_mut(..padded)?;
    plain.get_mut(end..)?.fill(0);
    *plain.first_chunk_mut()? = inner.header(content);
    Some(plain)
}

/// Where a datagram came from: what goes back there comes from where it was sent to.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Arrival {
    pub(crate) from: SocketAddr,
    pub(crate) to: Option<IpAddr>,
}

/// Sends the probes of a link, tells what happened to it, and has it come up again in time. Gives
/// when that is.
pub(crate) fn pump(
    peer: &Peer,
    sealed: bool,
    arrival: Option<Arrival>,
    batch: &mut Batch,
    events: &mut Vec<Event>,
    now: Instant,
) -> Option<Instant> {
    let mut route = peer.link(sealed).route();
    let interface = peer.interface();
    while let Some((probe, header)) = route.next_probe() {
        // Without its interface a peer is nowhere.
        let Some(interface) = interface else { continue };
        let from =
            arrival.filter(|arrival| arrival.from == probe.to).and_then(|arrival| arrival.to);
        let from =
            from.or_else(|| route.way().filter(|way| way.to == probe.to).and_then(|way| way.from));
        let target = Target { to: probe.to, from, interface, counters: None };
        if sealed {
            // A peer that is not there may have begun anew, and know no session of ours.
            let doubt = route.state() != State::Up;
            send_sealed_probe(peer, &mut route, &probe, &header, doubt, &target, batch, now);
        } else {
            let room = batch.room();
            let written = room
                .get_mut(..header.len())
                .map(|place| place.copy_from_slice(&header))
                .and_then(|()| probe.echo.write(room.get_mut(header.len()..)?));
            if let Some(len) = written {
                batch.push(&target, header.len() + len);
            }
        }
    }
    route.take_events(events);
    route.due()
}

/// Sends a probe inside WireGuard, or an initiation where there is no session, or both. The path
/// has paid for the probe: what goes out beyond that is paid for here.
#[expect(clippy::too_many_arguments, reason = "for one caller")]
fn send_sealed_probe(
    peer: &Peer,
    route: &mut Route,
    probe: &Probe,
    header: &Header,
    doubt: bool,
    target: &Target,
    batch: &mut Batch,
    now: Instant,
) {
    let (Some(inner), Some(cores)) = (&peer.inner, &peer.cores) else { return };
    if let Some(len) = cores.lock(CoreWay::Out).wake(batch.room(), now)
        && route.spend(target.to, len, now)
    {
        batch.push(target, len);
    }
    let mut core = cores.sealer();
    let mut paid = sealed_len(header.len() + probe.echo.len());
    if core.has_session() {
        let mut plain = [0; PLAIN];
        let content = plain
            .get_mut(INNER_HEADER_LEN..)
            .and_then(|room| room.split_at_mut_checked(header.len()))
            .and_then(|(place, room)| {
                place.copy_from_slice(header);
                probe.echo.write(room)
            });
        let Some(content) = content else { return };
        if let Some(packet) = finish_plain(&mut plain, inner, header.len() + content) {
            seal(&mut core, packet, target, batch);
        }
        if !doubt {
            return;
        }
        paid = 0;
    }
    drop(core);
    if batch.left() >= INITIATION
        && route.spend(target.to, INITIATION.saturating_sub(paid), now)
        && let Some(len) = cores.lock(CoreWay::Out).initiate(batch.room(), now)
    {
        batch.push(target, len);
    }
}

/// Sends a VCCV message of ours by a leg, if the other end can be sent anything there. Gives the
/// octets of the datagram; 0 if there was none.
pub(crate) fn send_message(
    peer: &Peer,
    leg: &Leg,
    sealed: bool,
    message: &[u8],
    batch: &mut Batch,
) -> usize {
    let Some((way, interface, keys)) = outlet(peer, sealed) else { return 0 };
    let Some(header) = leg.template.control_header() else { return 0 };
    let target = Target { to: way.to, from: way.from, interface, counters: None };
    let mut plain = [0; PLAIN];
    let content = header.len() + message.len();
    let room = plain.get_mut(INNER_HEADER_LEN..INNER_HEADER_LEN + content);
    let Some((head, tail)) = room.and_then(|room| room.split_at_mut_checked(header.len())) else {
        return 0;
    };
    head.copy_from_slice(&header);
    tail.copy_from_slice(message);
    let Some((inner, cores)) = keys else {
        let packet = plain.get(INNER_HEADER_LEN..INNER_HEADER_LEN + content).unwrap_or_default();
        let Some(room) = batch.room().get_mut(..content) else { return 0 };
        room.copy_from_slice(packet);
        batch.push(&target, content);
        return content;
    };
    let mut core = cores.sealer();
    let packet = finish_plain(&mut plain, inner, content).filter(|_| core.has_session());
    packet.map_or(0, |packet| seal(&mut core, packet, &target, batch))
}

/// What packets are sealed with.
pub(crate) type Keys<'a> = (&'a InnerHeader, &'a Cores);

/// Where packets for a peer go, and inside what; `None` while it is not there. An address that is
/// not proven is sent no frame: what it may be sent goes into its proof.
pub(crate) fn outlet(peer: &Peer, sealed: bool) -> Option<(Way, u32, Option<Keys<'_>>)> {
    let interface = peer.interface()?;
    let way = peer.link(sealed).route().way().filter(|way| way.proven)?;
    match (sealed, &peer.inner, &peer.cores) {
        (false, _, _) => Some((way, interface, None)),
        (true, Some(inner), Some(cores)) => Some((way, interface, Some((inner, cores)))),
        (true, _, _) => None,
    }
}

/// Octets of a datagram with so many octets of L2TP inside WireGuard.
const fn sealed_len(content: usize) -> usize {
    (INNER_HEADER_LEN + content).next_multiple_of(PAD) + OVERHEAD
}

/// Seals a packet into the batch. Gives the octets of what is sent, which is an initiation if
/// there is no session.
#[inline]
pub(crate) fn seal(core: &mut Core, packet: &[u8], target: &Target, batch: &mut Batch) -> usize {
    // Too little room would be a panic of the library.
    if batch.left() < (packet.len() + OVERHEAD).max(INITIATION) {
        if let Some(counters) = &target.counters {
            counters.socket_full.add(1);
        }
        return 0;
    }
    match core.seal(packet, batch.room()) {
        Sealed::Data(len) | Sealed::Initiation(len) => {
            batch.push(target, len);
            len
        }
        Sealed::Waiting => 0,
        Sealed::Refused => {
            if let Some(counters) = &target.counters {
                counters.no_path.add(1);
            }
            0
        }
    }
}

/// Looks at a peer's WireGuard. Gives when to look again.
pub(crate) fn poll_cores(peer: &Peer, batch: &mut Batch, now: Instant) -> Option<Instant> {
    let cores = peer.cores.as_ref()?;
    let mut keys = false;
    for way in [CoreWay::Out, CoreWay::In] {
        let mut core = cores.lock(way);
        let len = if batch.left() < INITIATION { None } else { core.poll(batch.room(), now) };
        keys |= core.has_session();
        drop(core);
        let (Some(len), Some(interface)) = (len, peer.interface()) else { continue };
        let mut route = peer.link(true).route();
        if let Some(there) = route.way()
            && (there.proven || route.spend(there.to, len, now))
        {
            let target = Target { to: there.to, from: there.from, interface, counters: None };
            batch.push(&target, len);
        }
    }
    let active = Instant::from_nanos(peer.active.load(Ordering::Relaxed));
    if now.since(active) < crate::engine::CORE_IDLE {
        Some(now + crate::engine::CORE_TICK)
    } else {
        keys.then(|| now + crate::engine::CORE_IDLE_TICK)
    }
}

/// Notes that WireGuard carries something for a peer. Gives when to look at its timers.
#[inline]
pub(crate) fn note_activity(peer: &Peer, now: Instant) -> Instant {
    peer.active.store(now.as_nanos(), Ordering::Relaxed);
    now + crate::engine::CORE_TICK
}

/// Tells the links of what was too long for our own interfaces.
pub(crate) fn note_refused(shared: &Shared, table: &Table, batch: &mut Batch, now: Instant) {
    for TooBig { to, octets } in batch.too_big.drain(..) {
        tell_links(shared, table, |route| route.refused(to, octets, now));
    }
}

/// Tells the links of something that only the one to that address takes to heart.
pub(crate) fn tell_links(shared: &Shared, table: &Table, tell: impl Fn(&mut Route)) {
    for (place, peer) in &table.peers {
        for sealed in [false, true] {
            let link = peer.link(sealed);
            let mut route = link.route();
            tell(&mut route);
            let due = route.due();
            drop(route);
            shared.arm(&link.slot, Timer::Link(place, sealed), due);
        }
    }
}

/// Where a tunnel's frames go, and on whose account.
pub(crate) fn target(way: &Way, interface: u32, counters: &Arc<Counters>) -> Target {
    Target { to: way.to, from: way.from, interface, counters: Some(Arc::clone(counters)) }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use homeward_l2tp::PathSettings;

    use super::*;
    use crate::stranger::{AT, Fixed, Stranger};

    /// What a link says by itself, in a minute, to an address from which `came` octets came, and
    /// which never answers.
    fn said(sealed: bool, session: bool, came: usize) -> usize {
        let stranger = Stranger::new(sealed, session, came);
        let (mut batch, mut events) = (Batch::new(1 << 20), Vec::new());
        let arrival = Some(stranger.arrival);
        let settings = PathSettings::default();
        for second in 0..60 {
            let now = AT + Duration::from_secs(second);
            stranger.peer.link(sealed).timeout(&settings, now, &mut Fixed);
            pump(&stranger.peer, sealed, arrival, &mut batch, &mut events, now);
        }
        batch.octets()
    }

    #[test]
    fn probes_and_initiations_are_no_more_than_came_from_an_address_before_it_is_proven() {
        for (sealed, session) in [(false, false), (true, false), (true, true)] {
            for came in 0..1000 {
                let said = said(sealed, session, came);
                assert!(said <= came, "{sealed} {session}: {said} octets for {came}");
            }
            assert!(said(sealed, session, 1000) > 0, "{sealed} {session}: it is challenged");
        }
    }
}
