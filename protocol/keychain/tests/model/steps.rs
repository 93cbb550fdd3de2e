//! What can be done in a state: by those who are honest, and by the rogue with all that it can make of
//! what it knows. A message that its receiver would refuse changes nothing, and is not tried.

use crate::chain::{Act, Step};
use crate::keys::{Keys, Side};
use crate::machines::{
    Previous, demand_of, network_proof, question, rogue_hop_key, server_export, visit_export,
    welcome,
};
use crate::state::{Guard, OTHER, R, Record, S, Second, State, Ticket, Twist, Visit, WANTED};
use crate::terms::T;

/// A network asks so often at the most.
const MOST_ASKED: u8 = 6;

pub(crate) fn steps(keys: &mut Keys<'_>, state: &State, out: &mut Vec<Step>) {
    let mut add = |twist: Option<Twist>, act: Act| out.push(Step { twist, act });
    for network in [0, 1] {
        ask(keys, state, network, &mut add);
        authorise(keys, state, network, &mut add);
        integrate(keys, state, network, &mut add);
        tell(keys, state, network, &mut add);
    }
    for device in [0, 1] {
        if keys.setup.is_honest(device) {
            answer(keys, state, device, &mut add);
            welcomed(keys, state, device, &mut add);
            proves(keys, state, device, &mut add);
        }
        serve(keys, state, device, &mut add);
    }
    crate::rogue::steps(keys, state, &mut add);
    for network in 0..3 {
        if state.revoked == 0 {
            add(Some(Twist::Revokes), Act::Revoke(network));
        }
    }
    for who in [0, 2, 3, 4] {
        add(Some(Twist::Restarts), Act::Restart(who));
    }
    add(Some(Twist::Steals), Act::Steal);
}

/// Where that device goes next.
fn next(keys: &Keys<'_>, state: &State, device: u8) -> Option<u8> {
    let at = usize::from(device);
    keys.setup.paths[at].get(state.devices[at].hops.len()).copied()
}

fn ask(keys: &mut Keys<'_>, state: &State, network: u8, add: &mut impl FnMut(Option<Twist>, Act)) {
    let of = &state.networks[usize::from(network)];
    let waits = |device: u8| {
        keys.setup.is_honest(device)
            && next(keys, state, device) == Some(network)
            && state.devices[usize::from(device)].pending.is_none()
    };
    let again = of.open.is_some() || !(waits(0) || waits(1));
    if of.asked < MOST_ASKED {
        add(again.then_some(Twist::AsksAgain), Act::Ask(network));
    }
}

fn answer(
    keys: &mut Keys<'_>,
    state: &State,
    device: u8,
    add: &mut impl FnMut(Option<Twist>, Act),
) {
    let Some(next) = next(keys, state, device) else { return };
    let [first, second] = [0, 1].map(|who: usize| state.devices[who].hops.len());
    let its_turn = (first == second) == (device == 0);
    if keys.setup.in_turn && !its_turn {
        return;
    }
    let goes = state.devices[usize::from(device)].pending.is_none();
    let rogue = keys.terms.secret("nonce", R, 0);
    for challenge in sent(keys, state, "challenge") {
        let parts = keys.terms.parts(challenge);
        let network = keys.terms.value(parts[0]);
        let of = state.networks.get(usize::from(network));
        let old = parts[1] != rogue && of.is_some_and(|of| of.open != Some(challenge));
        let twist = match old {
            true => Some(Twist::Replays),
            false => (!goes || network != next).then_some(Twist::Turns),
        };
        add(twist, Act::Answer { device, challenge });
    }
}

fn authorise(
    keys: &mut Keys<'_>,
    state: &State,
    network: u8,
    add: &mut impl FnMut(Option<Twist>, Act),
) {
    let Some(challenge) = state.networks[usize::from(network)].open else { return };
    for response in sent(keys, state, "response") {
        let said = keys.terms.parts(response);
        let ticket = Ticket::read(keys.terms, said[5]).0;
        if ticket.answer == keys.answer(challenge, said[0], said[4]) {
            add(None, Act::Authorise { network, response });
        }
    }
    if keys.setup.second == Second::Accomplice && keys.may(Twist::Poses) {
        for response in crate::rogue::poses(keys, state, network, challenge) {
            add(Some(Twist::Poses), Act::Authorise { network, response });
        }
    }
}

/// The key of the hop with that head, if anybody has it.
pub(crate) fn key_of(state: &State, head: T) -> Option<T> {
    let devices = state.devices.iter().flat_map(|device| &device.hops);
    let servers = state.servers.iter().flat_map(|server| server.hops.iter().chain(&server.next));
    let found =
        devices.map(|hop| (hop.head, hop.key)).chain(servers.map(|hop| (hop.head, hop.key)));
    found.into_iter().find(|(of, _)| *of == head).map(|(_, key)| key)
}

/// Whose session it is.
fn whose(keys: &mut Keys<'_>, visit: &Visit) -> u8 {
    let seed = keys.seed(0);
    u8::from(keys.terms.public(seed) != visit.key)
}

fn integrate(
    keys: &mut Keys<'_>,
    state: &State,
    network: u8,
    add: &mut impl FnMut(Option<Twist>, Act),
) {
    let of = &state.networks[usize::from(network)];
    for (at, visit) in of.visits.iter().enumerate().filter(|(_, visit)| visit.done.is_none()) {
        let mut from = |twist, previous| {
            add(twist, Act::Integrate { network, visit: at, previous });
        };
        let ticket = Ticket::read(keys.terms, visit.ticket).0;
        if ticket.of == keys.none() {
            from(None, Previous::None);
            continue;
        }
        let previous = keys.terms.value(ticket.of);
        from(Some(Twist::IsAway), Previous::Missing);
        let mut has = false;
        if let Some(before) = state.networks.get(usize::from(previous)) {
            for there in &before.visits {
                let given = visit_export(keys, (previous, there), network, visit.ticket);
                has |= given.is_some();
                given.into_iter().for_each(|export| from(None, Previous::Fetched(export)));
            }
        } else if let Some(key) = key_of(state, ticket.head) {
            let body = ticket.body(keys.terms);
            let export = keys.export(key, body);
            has = keys.terms.makes(&state.known, export);
            if has {
                from(None, Previous::Fetched(export));
            }
            let other = keys.terms.secret("nonce", R, 0);
            let known = state.known.iter().filter(|known| keys.terms.is(**known, "E"));
            for given in known.copied().chain([other]).filter(|given| *given != export) {
                from(Some(Twist::GivesAnother), Previous::Fetched(given));
            }
        }
        if visit.server == S {
            let server = &state.servers[usize::from(whose(keys, visit))];
            if let Some(export) = server_export(keys, server, network, visit.ticket) {
                from(has.then_some(Twist::AsksServer), Previous::Fetched(export));
            }
        }
    }
}

fn tell(keys: &mut Keys<'_>, state: &State, network: u8, add: &mut impl FnMut(Option<Twist>, Act)) {
    for visit in &state.networks[usize::from(network)].visits {
        let Some(done) = &visit.done else { continue };
        let resend = welcome(keys, visit.hop_key, done.record);
        if state.air.binary_search(&resend).is_err() {
            add(None, Act::Resend(resend));
        }
        // Where no server is named, every server is told.
        if visit.server == S || !keys.setup.has(Guard::ServerIsNamed) {
            let (of, from) = (whose(keys, visit), network);
            add(None, Act::Tell { of, from, record: done.record, share: done.share });
        }
        if visit.server != S && state.known.binary_search(&done.share).is_err() {
            add(None, Act::TellRogue(done.share));
        }
    }
}

fn welcomed(
    keys: &mut Keys<'_>,
    state: &State,
    device: u8,
    add: &mut impl FnMut(Option<Twist>, Act),
) {
    let Some(pending) = &state.devices[usize::from(device)].pending else { return };
    for welcome in sent(keys, state, "welcome") {
        let record = keys.terms.parts(welcome)[0];
        if Record::read(keys.terms, record).0.transcript == pending.transcript {
            add(None, Act::Welcome { device, welcome });
        }
    }
}

fn proves(
    keys: &mut Keys<'_>,
    state: &State,
    device: u8,
    add: &mut impl FnMut(Option<Twist>, Act),
) {
    if state.devices[usize::from(device)].hops.is_empty() {
        return;
    }
    let open = state.servers[usize::from(device)].open;
    for demand in sent(keys, state, "demand") {
        let old = state.servers.iter().all(|server| server.open != Some(demand));
        add(old.then_some(Twist::Replays), Act::Prove { device, demand });
    }
    // The rogue changes a demand: its flow, or, at its own server, whose it is.
    let Some(open) = open else { return };
    let asked = state.servers[usize::from(device)].asked;
    let seed = keys.seed(device);
    let public = keys.terms.public(seed);
    let session = keys.session(public, keys.setup.server(device));
    let demand = demand_of(keys, device, session, asked, WANTED);
    if demand != open {
        add(Some(Twist::Relays), Act::Prove { device, demand });
    }
}

/// What S does for that device's session.
fn serve(keys: &mut Keys<'_>, state: &State, of: u8, add: &mut impl FnMut(Option<Twist>, Act)) {
    let server = &state.servers[usize::from(of)];
    if server.hops.is_empty() && server.next.is_empty() {
        return;
    }
    if server.asked < keys.setup.demands {
        let again = server.open.is_some();
        add(again.then_some(Twist::AsksAgain), Act::Demand { of, flow: WANTED });
        add(Some(Twist::WantsOther), Act::Demand { of, flow: OTHER });
    }
    let Some(demand) = server.open else { return };
    let mut chains = vec![server.hops.clone()];
    for next in &server.next {
        let mut chain = server.hops.clone();
        chain.push(next.clone());
        chains.push(chain);
    }
    for chain in chains {
        let Some(last) = chain.last() else { continue };
        // What was sent, and what the rogue makes.
        let mut proofs = sent(keys, state, "proof");
        proofs.retain(|proof| keys.terms.parts(*proof)[0] == last.head);
        let hops = u8::try_from(chain.len()).unwrap();
        let mut made = vec![last.head];
        for (hop, at) in (1..).zip(&chain) {
            let tag = keys.prove(at.key, Side::Device, S, hop, last.head, demand);
            let counts = keys.setup.has(Guard::EveryTag) || hop == hops;
            made.push(if counts { tag } else { keys.none() });
        }
        let made = keys.terms.list("proof", &made);
        if keys.terms.makes(&state.known, made) && !proofs.contains(&made) {
            proofs.push(made);
        }
        if proofs.is_empty() {
            continue;
        }
        let record = Record::read(keys.terms, last.record).0;
        let network = keys.terms.value(record.network);
        let own = network_proof(keys, state, network, last.head, demand);
        let rogue = keys.prove(last.key, Side::Network, S, hops, last.head, demand);
        let rogue = keys.terms.makes(&state.known, rogue).then_some(rogue);
        for proof in proofs {
            for (network, asked) in [(own, true), (rogue, false)] {
                if let Some(network) = network {
                    add(None, Act::Check { of, proof, network, asked });
                }
            }
        }
    }
}

/// A challenge of the rogue's own, and those that it makes of what it heard.
pub(crate) fn relayed(keys: &mut Keys<'_>, state: &State) -> Vec<T> {
    let own = question(keys, R, 0);
    let own = keys.terms.parts(own);
    let mut relayed = Vec::new();
    if !keys.may(Twist::Relays) {
        return relayed;
    }
    for network in [0, 1] {
        let name = keys.network(network);
        relayed.push(keys.terms.list("challenge", &[name, own[1], own[2]]));
        if let Some(open) = state.networks[usize::from(network)].open {
            let open = keys.terms.parts(open);
            relayed.push(keys.terms.list("challenge", &[own[0], open[1], open[2]]));
            relayed.push(keys.terms.list("challenge", &[own[0], own[1], open[2]]));
        }
    }
    relayed.retain(|challenge| state.air.binary_search(challenge).is_err());
    relayed
}

/// The answers of devices to the rogue: device, challenge, response.
pub(crate) fn answers(keys: &mut Keys<'_>, state: &State) -> Vec<(T, T, T, T)> {
    let mut answers = Vec::new();
    let rogue = keys.network(R);
    let challenges = sent(keys, state, "challenge");
    let responses = sent(keys, state, "response");
    for response in responses {
        let said = keys.terms.parts(response);
        let ticket = Ticket::read(keys.terms, said[5]).0;
        for &challenge in challenges.iter().filter(|_| ticket.to == rogue) {
            if keys.terms.parts(challenge)[0] == rogue
                && keys.answer(challenge, said[0], said[4]) == ticket.answer
            {
                let (hop_key, transcript) = rogue_hop_key(keys, challenge, response);
                answers.push((challenge, response, hop_key, transcript));
            }
        }
    }
    answers
}

/// Messages of that kind that were sent.
pub(crate) fn sent(keys: &Keys<'_>, state: &State, kind: &'static str) -> Vec<T> {
    state.air.iter().copied().filter(|message| keys.terms.is(*message, kind)).collect()
}
