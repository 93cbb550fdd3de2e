//! What must never be, looked for after each step.

use crate::chain::{Act, is_elsewhere};
use crate::keys::Keys;
use crate::machines::Admitted;
use crate::state::{Fault, R, Record, Server, State, Ticket, WANTED};

pub(crate) fn judge(
    keys: &mut Keys<'_>,
    last: &State,
    state: &mut State,
    act: &Act,
    admitted: Option<Admitted>,
) {
    let mut faults = Vec::new();
    if let (Act::Check { of, asked, .. }, Some(admitted)) = (act, admitted) {
        of_admission(keys, state, (*of, *asked), &admitted, &mut faults);
    }
    for who in [0, 1] {
        of_chain(keys, last, state, who, &mut faults);
    }
    if let Act::Welcome { device, .. } = act {
        of_welcome(keys, state, *device, &mut faults);
    }
    if state.known != last.known || state.devices != last.devices {
        of_secrets(keys, state, &mut faults);
    }
    state.faults = faults.iter().fold(0, |faults, fault| faults | 1 << *fault as u16);
}

fn of_admission(
    keys: &mut Keys<'_>,
    state: &State,
    (of, asked): (u8, bool),
    admitted: &Admitted,
    faults: &mut Vec<Fault>,
) {
    let (server, device) = (&state.servers[usize::from(of)], &state.devices[usize::from(of)]);
    for hop in &server.hops {
        let record = Record::read(keys.terms, hop.record).0;
        if state.revoked & 1 << keys.terms.value(record.network) != 0 {
            faults.push(Fault::RevokedIn);
        }
    }
    if !keys.setup.is_honest(of) || is_rogue_s_alone(keys, server) {
        return;
    }
    // A device has all keys that its network has: what a network proves is its word where the
    // device is honest.
    let last = Record::read(keys.terms, server.hops.last().unwrap().record).0;
    if !asked && keys.terms.value(last.network) != R {
        faults.push(Fault::NetworkDidNotProve);
    }
    let flow = keys.terms.parts(admitted.demand)[2];
    if is_elsewhere(keys.setup, of)
        || !device.proved.contains(&(admitted.demand, admitted.head))
        || keys.terms.value(flow) != WANTED
    {
        faults.push(Fault::NotProven);
    }
    let marks: Vec<_> = device.hops.iter().map(|hop| hop.broken).collect();
    if !marks.starts_with(&admitted.broken) {
        faults.push(Fault::Unmarked);
    }
    // The last hop's network is the rogue, which had to have the key of the hop before.
    if let [.., before, at] = server.hops.as_slice() {
        let record = Record::read(keys.terms, at.record).0;
        let body = Ticket::of_record(&record).body(keys.terms);
        let export = keys.export(before.key, body);
        if keys.terms.value(record.network) == R
            && keys.terms.value(record.broken) == 0
            && !keys.terms.makes(&state.known, export)
        {
            faults.push(Fault::Skipped);
        }
    }
}

/// Whether all networks of a chain are the rogue: together they have all keys that the device has
/// (claim 1), and can prove for it where it has been nowhere else.
fn is_rogue_s_alone(keys: &Keys<'_>, server: &Server) -> bool {
    server.hops.iter().all(|hop| {
        let record = Record::read(keys.terms, hop.record).0;
        keys.terms.value(record.network) == R
    })
}

/// Of S's chain of that device's session.
fn of_chain(keys: &mut Keys<'_>, last: &State, state: &State, who: u8, faults: &mut Vec<Fault>) {
    let (was, is) = (&last.servers[usize::from(who)], &state.servers[usize::from(who)]);
    if was.hops.len() > is.hops.len() || was.hops[..] != is.hops[..was.hops.len()] {
        faults.push(Fault::Shrunk);
    }
    let heads = state.devices[usize::from(who)].hops.iter().map(|hop| hop.head);
    let walked = heads.take(is.hops.len()).eq(is.hops.iter().map(|hop| hop.head));
    if keys.setup.is_honest(who) && !walked && !is_rogue_s_alone(keys, is) {
        faults.push(Fault::NotWalked);
    }
    if was == is {
        return;
    }
    for hop in is.hops.iter().chain(&is.next) {
        let record = Record::read(keys.terms, hop.record).0;
        let network = keys.terms.value(record.network);
        let Some(network) = state.networks.get(usize::from(network)) else { continue };
        let of = network.visits.iter().filter_map(|visit| visit.done.as_ref());
        if !of.clone().any(|done| done.head == hop.head && done.share == hop.share) {
            faults.push(Fault::OtherKey);
        }
    }
}

/// Of the hop that a device just integrated.
fn of_welcome(keys: &mut Keys<'_>, state: &State, who: u8, faults: &mut Vec<Fault>) {
    let hops = &state.devices[usize::from(who)].hops;
    let (made, before) = hops.split_last().unwrap();
    let record = keys.terms.parts(made.head)[0];
    let record = Record::read(keys.terms, record).0;
    let follows = match before.last() {
        Some(before) => record.before == before.head,
        None => !keys.terms.is(record.before, "digest"),
    };
    if !follows {
        faults.push(Fault::DoesNotFollow);
    }
    if let Some(network) = state.networks.get(usize::from(made.network)) {
        let mut done = network.visits.iter().filter_map(|visit| visit.done.as_ref());
        if !done.any(|done| done.head == made.head) {
            faults.push(Fault::Disagreed);
        }
    }
}

/// Of what the rogue knows.
fn of_secrets(keys: &mut Keys<'_>, state: &State, faults: &mut Vec<Fault>) {
    for who in [0, 1] {
        if !keys.setup.is_honest(who) || is_elsewhere(keys.setup, who) {
            continue;
        }
        let device = &state.devices[usize::from(who)];
        let visits = state.networks.iter().flat_map(|network| &network.visits);
        let done = visits.filter(|visit| visit.device == who).flat_map(|visit| &visit.done);
        let mut secrets: Vec<_> = done.map(|done| done.key).collect();
        for (at, hop) in device.hops.iter().enumerate().filter(|(_, hop)| hop.network != R) {
            secrets.extend([hop.key, keys.confirm(hop.key), keys.traffic(hop.key)]);
            // The export of it to the next network.
            let next = device.hops.get(at + 1);
            let to = next.map(|next| next.network);
            if to.is_some_and(|to| to != R) {
                let record = keys.terms.parts(device.hops[at + 1].head)[0];
                let record = Record::read(keys.terms, record).0;
                let body = Ticket::of_record(&record).body(keys.terms);
                secrets.push(keys.export(hop.key, body));
            }
        }
        if let (Some(pending), Some(last)) = (&device.pending, device.hops.last())
            && pending.network != R
            && last.network != R
        {
            secrets.extend(pending.export);
        }
        if secrets.iter().any(|secret| keys.terms.makes(&state.known, *secret)) {
            faults.push(Fault::Leaked);
        }
    }
}
