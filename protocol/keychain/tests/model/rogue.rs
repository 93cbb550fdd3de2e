//! What the rogue does: as a network that devices go to, and against everybody.

use crate::chain::Act;
use crate::keys::Keys;
use crate::machines::{server_export, visit_export, welcome};
use crate::state::{Guard, Pending, R, Record, S, Second, State, Ticket, Twist};
use crate::steps::{answers, key_of, relayed, sent};
use crate::terms::T;

pub(crate) fn steps(keys: &mut Keys<'_>, state: &State, add: &mut impl FnMut(Option<Twist>, Act)) {
    for challenge in relayed(keys, state) {
        add(Some(Twist::Relays), Act::RogueAsks(challenge));
    }
    fetch(keys, state, add);
    for device in [0, 1] {
        welcomes(keys, state, device, add);
        tells(keys, state, device, add);
    }
}

/// It presents every ticket that it heard.
fn fetch(keys: &mut Keys<'_>, state: &State, add: &mut impl FnMut(Option<Twist>, Act)) {
    for response in sent(keys, state, "response") {
        let ticket = keys.terms.parts(response)[5];
        let mut given = Vec::new();
        for (network, of) in (0..).zip(&state.networks) {
            for visit in &of.visits {
                given.extend(visit_export(keys, (network, visit), R, ticket));
            }
        }
        for server in &state.servers {
            given.extend(server_export(keys, server, R, ticket));
        }
        for export in given {
            if !keys.terms.makes(&state.known, export) {
                add(None, Act::Fetch(export));
            }
        }
    }
}

/// Records for an answer that a device gave: the true one first, then those with a lie in them.
fn records(keys: &mut Keys<'_>, state: &State, response: T, transcript: T, name: u8) -> Vec<T> {
    let said = keys.terms.parts(response);
    let (ticket, by_device, _) = Ticket::read(keys.terms, said[5]);
    let seed = keys.terms.secret("seed of network", R, 0);
    let hop = keys.terms.value(ticket.hop);
    let served = keys.terms.value(said[2]);
    let base = Record {
        session: ticket.session,
        server: keys.server(served),
        hop: ticket.hop,
        network: keys.network(name),
        signer: keys.terms.public(seed),
        device: said[1],
        previous: ticket.of,
        before: ticket.head,
        answer: ticket.answer,
        transcript,
        broken: keys.terms.word("broken", 0),
        more: keys.none(),
        by_device,
    };
    if !keys.may(Twist::Alters) {
        return vec![base.signed(keys.terms, R)];
    }
    let mut all = vec![base, Record { more: keys.terms.word("more", 1), ..base }];
    all.push(Record { broken: keys.terms.word("broken", 1), ..base });
    all.push(Record { hop: keys.hop_number(hop + 1), ..base });
    all.push(Record { hop: keys.hop_number(hop - 1), ..base });
    for network in 0..3 {
        all.push(Record { previous: keys.network(network), ..base });
    }
    let device = usize::from(keys.terms.value(said[0]));
    let mut heads: Vec<T> = state.devices[device].hops.iter().map(|hop| hop.head).collect();
    heads.push(keys.root(ticket.session, served));
    all.extend(heads.into_iter().map(|before| Record { before, ..base }));
    let mut signed = Vec::new();
    for record in all {
        let record = record.signed(keys.terms, R);
        if !signed.contains(&record) {
            signed.push(record);
        }
    }
    signed
}

/// It welcomes a device that answered it, or, if nothing keeps it from that, another network.
fn welcomes(
    keys: &mut Keys<'_>,
    state: &State,
    device: u8,
    add: &mut impl FnMut(Option<Twist>, Act),
) {
    let Some(pending) = &state.devices[usize::from(device)].pending else { return };
    let Pending { network, transcript, key, .. } = *pending;
    if network != R && keys.setup.has(Guard::WelcomeTag) {
        return;
    }
    for response in sent(keys, state, "response") {
        let ticket = keys.terms.parts(response)[5];
        if Ticket::read(keys.terms, ticket).0.answer != pending.answer {
            continue;
        }
        let records = records(keys, state, response, transcript, network);
        for (at, record) in records.into_iter().enumerate() {
            let mut message = welcome(keys, key, record);
            if !keys.setup.has(Guard::WelcomeTag) {
                let none = keys.none();
                message = keys.terms.list("welcome", &[record, none]);
            }
            if keys.terms.makes(&state.known, message) {
                let twist = (at > 0 || network != R).then_some(Twist::Alters);
                add(twist, Act::Welcome { device, welcome: message });
            }
        }
    }
}

/// It tells S of hops.
fn tells(keys: &mut Keys<'_>, state: &State, of: u8, add: &mut impl FnMut(Option<Twist>, Act)) {
    let garbage = keys.terms.secret("nonce", R, 0);
    let mut tell = |twist, from, record, share| {
        add(twist, Act::Tell { of, from, record, share });
    };
    let seed = keys.seed(of);
    let public = keys.terms.public(seed);
    for (_, response, hop_key, transcript) in answers(keys, state) {
        if keys.terms.parts(response)[1] != public {
            continue;
        }
        let share = keys.share(hop_key, S);
        let has = keys.terms.makes(&state.known, share);
        for (at, record) in records(keys, state, response, transcript, R).into_iter().enumerate() {
            let twist = (at > 0).then_some(Twist::Alters);
            tell(twist, R, record, if has { share } else { garbage });
            if at == 0 && has {
                tell(Some(Twist::GivesAnother), R, record, garbage);
            }
        }
    }
    if !keys.setup.has(Guard::FromItsNetwork) {
        for message in sent(keys, state, "welcome") {
            let record = keys.terms.parts(message)[0];
            tell(Some(Twist::Alters), R, record, garbage);
        }
    }
    // Of hops that no device made.
    if !keys.may(Twist::MakesUp) {
        return;
    }
    let server = &state.servers[usize::from(of)];
    let session = keys.session(public, S);
    let ends = server.hops.last().into_iter().chain(&server.next);
    let ends: Vec<T> = ends.map(|hop| hop.record).collect();
    for end in ends {
        let before = Record::read(keys.terms, end).0;
        let rogue = keys.terms.secret("seed of network", R, 0);
        let hop = keys.terms.value(before.hop) + 1;
        let hop = keys.hop_number(hop);
        let record = Record {
            session,
            hop,
            network: keys.network(R),
            signer: keys.terms.public(rogue),
            previous: before.network,
            before: keys.digest(end),
            answer: garbage,
            transcript: garbage,
            by_device: garbage,
            broken: keys.terms.word("broken", 0),
            ..before
        };
        let record = record.signed(keys.terms, R);
        tell(Some(Twist::MakesUp), R, record, garbage);
    }
}

/// What the second device, in league with the rogue, answers an honest network: in its own session,
/// and in the other's.
pub(crate) fn poses(keys: &mut Keys<'_>, state: &State, network: u8, challenge: T) -> Vec<T> {
    debug_assert!(keys.setup.second == Second::Accomplice);
    let name = keys.terms.word("device", 1);
    let half = keys.terms.secret("half of device", 1, 0);
    let share = keys.terms.public(half);
    let to = keys.network(network);
    let served = keys.terms.word("served by", S);
    // By other devices' tickets.
    let mut said = Vec::new();
    for response in sent(keys, state, "response") {
        let of = keys.terms.parts(response);
        said.extend([share, of[4]].map(|share| [name, of[1], served, of[3], share, of[5]]));
    }
    // By its own, from where it is, and from where it is not.
    let seed = keys.seed(1);
    let public = keys.terms.public(seed);
    let session = keys.session(public, S);
    let answer = keys.answer(challenge, name, share);
    let root = keys.root(session, S);
    let first =
        Ticket { of: keys.none(), to, session, hop: keys.hop_number(1), head: root, answer };
    let mut tickets = vec![(first, None)];
    let others = state.servers.iter().flat_map(|server| server.hops.iter().chain(&server.next));
    let others: Vec<(T, T)> = others.map(|hop| (hop.record, hop.head)).collect();
    for (record, head) in others {
        let before = Record::read(keys.terms, record).0;
        let hop = keys.terms.value(before.hop) + 1;
        let (of, hop) = (before.network, keys.hop_number(hop));
        let key = key_of(state, head).filter(|key| keys.terms.makes(&state.known, *key));
        tickets.push((Ticket { of, hop, head, ..first }, key));
    }
    for (ticket, key) in tickets {
        let hop = ticket.hop;
        let ticket = keys.ticket(seed, &ticket, key);
        said.push([name, public, served, hop, share, ticket]);
    }
    let key = keys.device_key(1, network);
    let mut responses = Vec::new();
    for said in said {
        let transcript = keys.transcript(challenge, &said);
        let mut response = said.to_vec();
        response.push(keys.authorise(key, transcript));
        let response = keys.terms.list("response", &response);
        if keys.terms.makes(&state.known, response) {
            responses.push(response);
        }
    }
    responses
}
