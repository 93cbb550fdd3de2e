//! Device, network and server, check for check as in `src/device.rs`, `src/module.rs`,
//! `src/record.rs` and `src/server.rs`; each function is called what it mirrors. `None` is a refusal:
//! all is as it was.

use crate::keys::{Before, Keys, Side};
use crate::state::{
    Device, Followed, Guard, Integrated, Made, Pending, R, Record, S, Server, State, Ticket, Visit,
    WANTED,
};
use crate::terms::T;

/// `server::MOST_NEXT`.
const MOST_NEXT: usize = 4;

/// What a half of a share is called: networks' and devices'.
const HALF: [&str; 2] = ["half of network", "half of device"];

/// `Question::new`.
pub(crate) fn question(keys: &mut Keys<'_>, network: u8, nth: u8) -> T {
    let (name, nonce) = (keys.network(network), keys.terms.secret("nonce", network, nth));
    let half = keys.terms.secret(HALF[0], network, nth);
    let share = keys.terms.public(half);
    keys.terms.list("challenge", &[name, nonce, share])
}

/// `Device::answer`, with `Device::ticket`.
pub(crate) fn answer(keys: &mut Keys<'_>, state: &mut State, who: u8, challenge: T) -> T {
    let [to, nonce, share] = keys.terms.parts(challenge)[..] else { panic!() };
    let network = keys.terms.value(to);
    let server = keys.setup.server(who);
    let seed = keys.seed(who);
    let public = keys.terms.public(seed);
    let session = keys.session(public, server);
    let device = &mut state.devices[usize::from(who)];
    let half = keys.terms.secret(HALF[1], who, device.answers);
    device.answers += 1;
    let own = keys.terms.public(half);
    let hop = u8::try_from(device.hops.len()).unwrap() + 1;
    let at = device.hops.last();
    let name = keys.terms.word("device", who);
    let ticket = Ticket {
        of: match at {
            Some(at) => keys.network(at.network),
            None => keys.none(),
        },
        to,
        session,
        hop: keys.hop_number(hop),
        head: at.map_or_else(|| keys.root(session, server), |at| at.head),
        answer: keys.answer(challenge, name, own),
    };
    let export = at.map(|at| {
        let body = ticket.body(keys.terms);
        keys.export(at.key, body)
    });
    let signed = ticket.answer;
    let ticket = keys.ticket(seed, &ticket, at.map(|at| at.key));
    let served = keys.terms.word("served by", server);
    let hop = keys.hop_number(hop);
    let said = [name, public, served, hop, own, ticket];
    let transcript = keys.transcript(challenge, &said);
    let key = keys.device_key(who, network);
    let tag = keys.authorise(key, transcript);
    let key = keys.hop(key, nonce, half, share, transcript);
    device.pending = Some(Pending { network, answer: signed, transcript, key, export });
    let mut said = said.to_vec();
    said.push(tag);
    keys.terms.list("response", &said)
}

/// `Device::integrate`. Whether it did.
pub(crate) fn integrate(keys: &mut Keys<'_>, state: &mut State, who: u8, welcome: T) -> Option<()> {
    let [record, tag] = keys.terms.parts(welcome)[..] else { panic!() };
    let server = keys.setup.server(who);
    let (seed, broken) = (keys.seed(who), keys.setup.broken);
    let public = keys.terms.public(seed);
    let session = keys.session(public, server);
    let device = &mut state.devices[usize::from(who)];
    let pending = device.pending.clone()?;
    let said = Record::read(keys.terms, record).0;
    let hop = u8::try_from(device.hops.len()).unwrap() + 1;
    let before = device.hops.last().map_or_else(|| keys.root(session, server), |at| at.head);
    let is_broken = keys.terms.value(said.broken) == 1;
    let refused = keys.welcome(pending.key, record) != tag && keys.setup.has(Guard::WelcomeTag)
        || said.session != session
        || said.server != keys.server(server)
        || said.hop != keys.hop_number(hop)
        || said.before != before && keys.setup.has(Guard::OwnHead)
        || said.network != keys.network(pending.network)
        || said.transcript != pending.transcript
        || said.answer != pending.answer
        || is_broken && !(broken && hop > 1);
    if refused {
        return None;
    }
    let before = match pending.export {
        None => Before::Nothing,
        Some(_) if is_broken => Before::Broken,
        Some(export) => Before::Export(export),
    };
    let head = keys.digest(record);
    let share = keys.share(pending.key, server);
    let key = keys.integrate(share, before, head);
    device.hops.push(Made { network: pending.network, head, key, broken: is_broken });
    device.pending = None;
    Some(())
}

/// `Device::prove`.
pub(crate) fn prove(keys: &mut Keys<'_>, state: &mut State, who: u8, demand: T) -> Option<T> {
    let [session, _, flow] = keys.terms.parts(demand)[..] else { panic!() };
    let server = keys.setup.server(who);
    let seed = keys.seed(who);
    let public = keys.terms.public(seed);
    if session != keys.session(public, server)
        || keys.terms.value(flow) != WANTED && keys.setup.has(Guard::Flow)
    {
        return None;
    }
    let device = &mut state.devices[usize::from(who)];
    let head = device.hops.last()?.head;
    if !device.proved.contains(&(demand, head)) {
        device.proved.push((demand, head));
    }
    let mut said = vec![head];
    said.extend(device_tags(keys, device, server, head, demand));
    Some(keys.terms.list("proof", &said))
}

fn device_tags(keys: &mut Keys<'_>, of: &Device, server: u8, head: T, demand: T) -> Vec<T> {
    let hops = (1..).zip(&of.hops);
    hops.map(|(hop, at)| keys.prove(at.key, Side::Device, server, hop, head, demand)).collect()
}

/// `Visit::authorise`.
pub(crate) fn authorise(
    keys: &mut Keys<'_>,
    state: &mut State,
    network: u8,
    response: T,
) -> Option<()> {
    let at = &mut state.networks[usize::from(network)];
    let challenge = at.open?;
    let said = keys.terms.parts(response);
    let [name, public, server, hop, share, ticket, tag] = said[..] else { panic!() };
    let [to, nonce, own] = keys.terms.parts(challenge)[..] else { panic!() };
    let device = keys.terms.value(name);
    let key = keys.device_key(device, network);
    let transcript = keys.transcript(challenge, &said[..6]);
    if keys.authorise(key, transcript) != tag {
        return None;
    }
    let (says, signature, _) = Ticket::read(keys.terms, ticket);
    let server = keys.terms.value(server);
    let session = keys.session(public, server);
    let first = keys.terms.value(hop) == 1;
    let fits = says.session == session
        && says.hop == hop
        && says.to == to
        && says.answer == keys.answer(challenge, name, share)
        && (says.of == keys.none()) == first
        && (!first || says.head == keys.root(session, server));
    let body = says.body(keys.terms);
    if !fits || keys.setup.has(Guard::TicketSignature) && !keys.verify(public, body, signature) {
        return None;
    }
    let half = keys.terms.parts(own)[0];
    let hop_key = keys.hop(key, nonce, half, share, transcript);
    let hop = keys.terms.value(hop);
    at.open = None;
    let key = public;
    at.visits.push(Visit { device, key, server, hop, ticket, transcript, hop_key, done: None });
    Some(())
}

/// What came of asking the network before: `Previous`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Previous {
    None,
    Fetched(T),
    Missing,
}

/// `Visit::integrate`.
pub(crate) fn visit_integrate(
    keys: &mut Keys<'_>,
    state: &mut State,
    (network, visit): (u8, usize),
    previous: Previous,
) -> Option<T> {
    let revoked = state.revoked;
    let at = &mut state.networks[usize::from(network)].visits[visit];
    if at.done.is_some() {
        return None;
    }
    let (says, by_device, _) = Ticket::read(keys.terms, at.ticket);
    let first = says.of == keys.none();
    let before = match previous {
        Previous::None if first => Before::Nothing,
        Previous::Missing if !first => Before::Broken,
        Previous::Fetched(export) if !first => {
            let records = keys.records(says.head);
            let mut last = None;
            for (record, term) in records {
                record_check(keys, (record, term), last, (says.session, at.server), revoked)?;
                last = Some((record, term));
            }
            let (record, _) = last?;
            let hop = keys.terms.value(record.hop) + 1;
            if hop != at.hop || record.network != says.of {
                return None;
            }
            Before::Export(export)
        }
        _ => return None,
    };
    let seed = keys.terms.secret("seed of network", network, 0);
    let broken = matches!(before, Before::Broken);
    let record = Record {
        session: says.session,
        server: keys.server(at.server),
        hop: says.hop,
        network: says.to,
        signer: keys.terms.public(seed),
        device: at.key,
        previous: says.of,
        before: says.head,
        answer: says.answer,
        transcript: at.transcript,
        broken: keys.terms.word("broken", u8::from(broken)),
        more: keys.none(),
        by_device,
    };
    let record = record.signed(keys.terms, network);
    let (head, share) = (keys.digest(record), keys.share(at.hop_key, at.server));
    let key = keys.integrate(share, before, head);
    at.done = Some(Integrated { key, share, record, head });
    Some(welcome(keys, at.hop_key, record))
}

/// The message by which a device is welcomed.
pub(crate) fn welcome(keys: &mut Keys<'_>, hop_key: T, record: T) -> T {
    let tag = keys.welcome(hop_key, record);
    keys.terms.list("welcome", &[record, tag])
}

/// `Record::check`, without times: `still_good` is the standing.
pub(crate) fn record_check(
    keys: &mut Keys<'_>,
    (record, term): (Record, T),
    before: Option<(Record, T)>,
    (session, server): (T, u8),
    revoked: u8,
) -> Option<()> {
    let own = keys.session(record.device, server);
    let hop = before.map_or(1, |(before, _)| keys.terms.value(before.hop) + 1);
    let (head, previous) = match before {
        Some((of, term)) => (keys.digest(term), of.network),
        None => (keys.root(session, server), keys.none()),
    };
    let fits = record.server == keys.server(server)
        && record.session == session
        && session == own
        && record.hop == keys.hop_number(hop)
        && record.before == head
        && record.previous == previous;
    let body = Ticket::of_record(&record).body(keys.terms);
    let by_device = !keys.setup.has(Guard::TicketSignature)
        || keys.verify(record.device, body, record.by_device);
    let by_network = {
        let (_, signature) = Record::read(keys.terms, term);
        let said = record.said(keys.terms);
        keys.verify(record.signer, said, signature)
    };
    let good = fits && by_device && by_network && stands(keys, &record, revoked);
    (good && (keys.terms.value(record.broken) == 0 || keys.setup.broken && hop > 1)).then_some(())
}

/// `Directory::standing`: whether it is good.
pub(crate) fn stands(keys: &mut Keys<'_>, record: &Record, revoked: u8) -> bool {
    let network = keys.terms.value(record.network);
    let seed = keys.terms.secret("seed of network", network, 0);
    record.signer == keys.terms.public(seed) && revoked & 1 << network == 0
}

/// `Last::export`. The number of networks that it is given to is not counted in the model.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Last {
    pub(crate) key: T,
    pub(crate) network: T,
    pub(crate) device: T,
    pub(crate) session: T,
    pub(crate) hop: u8,
    pub(crate) head: T,
}

impl Last {
    pub(crate) fn export(&self, keys: &mut Keys<'_>, from: u8, ticket: T) -> Option<T> {
        let (says, signature, tag) = Ticket::read(keys.terms, ticket);
        let (body, from) = (says.body(keys.terms), keys.network(from));
        let good = says.session == self.session
            && (says.to == from || !keys.setup.has(Guard::TicketIsForWhoAsks))
            && says.of == self.network
            && says.hop == keys.hop_number(self.hop + 1)
            && says.head == self.head
            && keys.ticket_tag(self.key, body) == tag
            && (keys.verify(self.device, body, signature)
                || !keys.setup.has(Guard::TicketSignature));
        good.then(|| keys.export(self.key, body))
    }
}

/// `Visit::export`.
pub(crate) fn visit_export(
    keys: &mut Keys<'_>,
    of: (u8, &Visit),
    from: u8,
    ticket: T,
) -> Option<T> {
    let (network, visit) = of;
    let done = visit.done.as_ref()?;
    let last = Last {
        key: done.key,
        network: keys.network(network),
        device: visit.key,
        session: keys.session(visit.key, visit.server),
        hop: visit.hop,
        head: done.head,
    };
    last.export(keys, from, ticket)
}

/// `Server::export`.
pub(crate) fn server_export(
    keys: &mut Keys<'_>,
    server: &Server,
    from: u8,
    ticket: T,
) -> Option<T> {
    let (says, ..) = Ticket::read(keys.terms, ticket);
    let begun = server.next.iter().find(|hop| hop.head == says.head);
    let hop = begun.or(server.hops.last())?;
    let record = Record::read(keys.terms, hop.record).0;
    let last = Last {
        key: hop.key,
        network: record.network,
        device: record.device,
        session: record.session,
        hop: keys.terms.value(record.hop),
        head: hop.head,
    };
    last.export(keys, from, ticket)
}

/// `Server::extend`, of the session of `who`.
pub(crate) fn extend(
    keys: &mut Keys<'_>,
    state: &mut State,
    who: u8,
    from: u8,
    (record, share): (T, T),
) -> Option<()> {
    let revoked = state.revoked;
    let seed = keys.seed(who);
    let public = keys.terms.public(seed);
    let session = keys.session(public, S);
    let server = &mut state.servers[usize::from(who)];
    let said = Record::read(keys.terms, record).0;
    if said.network != keys.network(from) && keys.setup.has(Guard::FromItsNetwork)
        || server.hops.iter().chain(&server.next).any(|hop| hop.record == record)
    {
        return None;
    }
    let made = server.next.iter().position(|hop| hop.head == said.before);
    let last = made.map(|made| &server.next[made]).or(server.hops.last()).cloned();
    let before = last.as_ref().map(|last| (Record::read(keys.terms, last.record).0, last.record));
    record_check(keys, (said, record), before, (session, S), revoked)?;
    let before = match last {
        _ if keys.terms.value(said.broken) == 1 => Before::Broken,
        None => Before::Nothing,
        Some(last) => {
            let body = Ticket::of_record(&said).body(keys.terms);
            Before::Export(keys.export(last.key, body))
        }
    };
    let head = keys.digest(record);
    let key = keys.integrate(share, before, head);
    if let Some(made) = made {
        make(server, made);
    } else if server.next.len() >= MOST_NEXT {
        let is_own =
            |hop: &Followed| Record::read(keys.terms, hop.record).0.network == said.network;
        let own = server.next.iter().position(is_own);
        server.next.remove(own.unwrap_or(0));
    }
    server.next.push(Followed { record, head, share, key });
    if !keys.setup.has(Guard::OnItsWay) {
        let made = server.next.len() - 1;
        make(server, made);
    }
    Some(())
}

/// `Server::make`.
fn make(server: &mut Server, made: usize) {
    let made = server.next.swap_remove(made);
    server.next.clear();
    server.hops.push(made);
}

/// `Server::demand`.
pub(crate) fn demand(keys: &mut Keys<'_>, state: &mut State, who: u8, flow: u8) -> T {
    let seed = keys.seed(who);
    let public = keys.terms.public(seed);
    let session = keys.session(public, S);
    let server = &mut state.servers[usize::from(who)];
    server.asked += 1;
    let demand = demand_of(keys, who, session, server.asked, flow);
    server.open = Some(demand);
    demand
}

pub(crate) fn demand_of(keys: &mut Keys<'_>, who: u8, session: T, number: u8, flow: u8) -> T {
    let nonce = keys.terms.secret("nonce of S", who, number);
    let flow = keys.terms.word("flow", flow);
    keys.terms.list("demand", &[session, nonce, flow])
}

/// `Visit::prove`, of the visit with that head.
pub(crate) fn network_proof(
    keys: &mut Keys<'_>,
    state: &State,
    network: u8,
    head: T,
    demand: T,
) -> Option<T> {
    let visits = &state.networks.get(usize::from(network))?.visits;
    let visit =
        visits.iter().find(|visit| visit.done.as_ref().is_some_and(|at| at.head == head))?;
    let session = keys.session(visit.key, visit.server);
    let key = visit.done.as_ref()?.key;
    let said = keys.terms.parts(demand);
    (said[0] == session)
        .then(|| keys.prove(key, Side::Network, visit.server, visit.hop, head, demand))
}

/// What `Server::check` admits.
pub(crate) struct Admitted {
    pub(crate) demand: T,
    pub(crate) head: T,
    pub(crate) broken: Vec<bool>,
}

/// `Server::check`: `device` is a whole proof, `network` the one tag of the network's.
pub(crate) fn check(
    keys: &mut Keys<'_>,
    state: &mut State,
    who: u8,
    (device, network): (T, T),
) -> Option<Admitted> {
    let revoked = state.revoked;
    let server = &mut state.servers[usize::from(who)];
    let demand = server.open?;
    let proof = keys.terms.parts(device);
    let head = proof[0];
    let next = server.next.iter().position(|hop| hop.head == head);
    let mut chain = server.hops.clone();
    chain.extend(next.map(|next| server.next[next].clone()));
    let last = chain.last()?;
    let hops = u8::try_from(chain.len()).unwrap();
    let mut right = last.head == head && proof.len() == 1 + chain.len();
    for (hop, at) in (1..).zip(&chain) {
        let tag = keys.prove(at.key, Side::Device, S, hop, head, demand);
        let counts = keys.setup.has(Guard::EveryTag) || hop == hops;
        right &= !counts || proof.get(usize::from(hop)) == Some(&tag);
    }
    right &= keys.prove(last.key, Side::Network, S, hops, head, demand) == network;
    let mut broken = Vec::new();
    for at in &chain {
        let record = Record::read(keys.terms, at.record).0;
        let counts = keys.setup.has(Guard::MarksStay) || at.head == head;
        broken.push(counts && keys.terms.value(record.broken) == 1);
        right &= stands(keys, &record, revoked) || !keys.setup.has(Guard::StandingAtCheck);
    }
    if !right {
        return None;
    }
    server.open = None;
    server.admitted = hops;
    if let Some(next) = next {
        make(server, next);
    }
    Some(Admitted { demand, head, broken })
}

/// What the rogue signs and derives with, for a device that answered it.
pub(crate) fn rogue_hop_key(keys: &mut Keys<'_>, challenge: T, response: T) -> (T, T) {
    let said = keys.terms.parts(response);
    let transcript = keys.transcript(challenge, &said[..6]);
    let key = keys.terms.value(said[0]);
    let key = keys.device_key(key, R);
    let [_, nonce, own] = keys.terms.parts(challenge)[..] else { panic!() };
    let half = keys.terms.parts(own)[0];
    (keys.hop(key, nonce, half, said[4], transcript), transcript)
}
