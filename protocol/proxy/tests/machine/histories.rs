//! Whatever happens, in whatever order: one outcome a request, and no identifier twice.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use homeward_model::Instant;
use homeward_proxy::{
    Asker, Balance, Event, HomeServer, Pool, Proxy, Route, Routed, ServerId, Settings, Table,
    Transmit, Transport,
};
use homeward_radius::dictionary::standard::{NAS_PORT, PROXY_STATE};
use homeward_radius::testing::Counted;
use homeward_radius::{Builder, Code, Packet, SharedSecret};
use proptest::prelude::*;

use crate::world::{T0, all, answer_with, home, key, nas, route, source};

const SERVERS: usize = 4;

#[derive(Debug, Clone)]
enum Op {
    /// A NAS asks; with that State.
    Ask { nas: u16, identifier: u8, accounting: bool, state: Option<u8> },
    /// A NAS repeats one of its requests.
    Repeat(prop::sample::Index),
    /// A server answers one of the packets that were sent.
    Answer { which: prop::sample::Index, code: Code, forged: bool },
    /// Time passes, and whatever is due is done late.
    Wait(u16),
    /// A connection comes or goes.
    Lane { server: usize, lane: u16, up: bool },
    /// Nobody listens.
    Refused { server: usize, lane: u16 },
}

fn op() -> impl Strategy<Value = Op> {
    let codes = prop::sample::select(vec![
        Code::AccessAccept,
        Code::AccessReject,
        Code::AccessChallenge,
        Code::AccountingResponse,
    ]);
    prop_oneof![
        4 => (0..4u16, 0..6u8, any::<bool>(), proptest::option::of(0..4u8)).prop_map(
            |(nas, identifier, accounting, state)| Op::Ask { nas, identifier, accounting, state }
        ),
        2 => any::<prop::sample::Index>().prop_map(Op::Repeat),
        5 => (any::<prop::sample::Index>(), codes, prop::bool::weighted(0.2))
            .prop_map(|(which, code, forged)| Op::Answer { which, code, forged }),
        3 => (0..4000u16).prop_map(Op::Wait),
        2 => (0..SERVERS, 0..2u16, any::<bool>())
            .prop_map(|(server, lane, up)| Op::Lane { server, lane, up }),
        1 => (0..SERVERS, 0..2u16).prop_map(|(server, lane)| Op::Refused { server, lane }),
    ]
}

struct Run {
    proxy: Proxy<u32>,
    entropy: Counted,
    now: Instant,
    asked: Vec<(u16, Vec<u8>)>,
    /// All that was sent, ever.
    sent: Vec<Transmit>,
    /// Tickets without an outcome yet.
    open: BTreeSet<u32>,
    next: u32,
    /// Whose an identifier is.
    owners: BTreeMap<(ServerId, u16, u32), u32>,
    lanes: BTreeSet<(ServerId, u16)>,
}

fn is_stream(server: ServerId) -> bool {
    server.index() % 2 == 1
}

/// Every other connection agreed to RADIUS/1.1.
fn secret_of(server: ServerId, lane: u16) -> SharedSecret {
    if is_stream(server) && lane == 1 { SharedSecret::transport() } else { home(server.index()) }
}

fn number(packet: &Packet<'_>, secret: &SharedSecret) -> u32 {
    match secret.is_transport() {
        true => packet.token() & 0xffff,
        false => packet.identifier().into(),
    }
}

impl Run {
    fn new(balance: Balance) -> Self {
        let mut table = Table::new();
        let servers: Vec<_> = (0..SERVERS)
            .map(|n| {
                let mut server = if n % 2 == 1 {
                    HomeServer::stream(&format!("home-{n}"), home(n))
                } else {
                    HomeServer::datagram(&format!("home-{n}"), home(n))
                };
                server.transport = match server.transport {
                    Transport::Datagram { .. } => Transport::Datagram { sockets: 2 },
                    Transport::Stream { .. } => Transport::Stream { connections: 2 },
                };
                server.outstanding = 5;
                table.server(server)
            })
            .collect();
        let pool = table.pool(Pool { balance, ..Pool::new("all", servers.clone()) }).unwrap();
        route(&mut table, "example.org", Route::to(pool));
        let lanes = servers.into_iter().filter(|s| !is_stream(*s));
        Self {
            proxy: Proxy::new(
                Settings {
                    outstanding: 15,
                    per_client: 6,
                    conversations: 2,
                    ..Settings::default()
                },
                key(),
                table,
            ),
            entropy: Counted(1),
            now: T0,
            asked: Vec::new(),
            sent: Vec::new(),
            open: BTreeSet::new(),
            next: 0,
            owners: BTreeMap::new(),
            lanes: lanes.flat_map(|s| [(s, 0), (s, 1)]).collect(),
        }
    }

    fn apply(&mut self, op: &Op) {
        let mut repeats = false;
        match op {
            Op::Ask { nas: n, identifier, accounting, state } => {
                let ticket = self.next;
                self.next += 1;
                let code = if *accounting { Code::AccountingRequest } else { Code::AccessRequest };
                let mut octets = Vec::new();
                let secret = nas();
                let mut b =
                    Builder::request(&mut octets, &secret, code, *identifier, [ticket as u8; 16]);
                b.text(1, "fred@example.org").unwrap();
                b.integer(NAS_PORT, ticket).unwrap();
                b.octets(PROXY_STATE, &ticket.to_be_bytes()).unwrap();
                if let Some(state) = state {
                    b.octets(24, &[*state]).unwrap();
                }
                b.finish();
                self.ask(*n, &octets, ticket);
                self.asked.push((*n, octets));
            }
            Op::Repeat(which) if !self.asked.is_empty() => {
                let (n, octets) = self.asked[which.index(self.asked.len())].clone();
                let packet = Packet::decode(&octets).unwrap();
                self.proxy.repeat(self.now, &mut self.entropy, source(n), &packet);
                repeats = true;
            }
            Op::Answer { which, code, forged } if !self.sent.is_empty() => {
                let sent = self.sent[which.index(self.sent.len())].clone();
                let right = secret_of(sent.server, sent.lane);
                // On RADIUS/1.1 there is nothing to forge.
                let forged = *forged && !right.is_transport();
                let secret = if forged { nas() } else { right };
                let octets = answer_with(&secret, &sent.payload, *code, |b| b.octets(24, &[1]));
                self.proxy.handle_answer(self.now, sent.server, sent.lane, &octets);
            }
            Op::Wait(millis) => {
                self.now = self.now + Duration::from_millis(u64::from(*millis));
                self.proxy.handle_timeout(self.now, &mut self.entropy);
                let due = self.proxy.poll_timeout();
                assert!(due.is_none_or(|due| due > self.now), "what is due is done");
            }
            Op::Lane { server, lane, up } if server % 2 == 1 => {
                let (id, entropy) = (ServerId::at(*server), &mut self.entropy);
                if *up {
                    let secret = secret_of(id, *lane);
                    self.lanes.insert((id, *lane));
                    self.proxy.lane_up(self.now, entropy, id, *lane, secret);
                } else {
                    self.lanes.remove(&(id, *lane));
                    self.proxy.lane_down(self.now, entropy, id, *lane);
                }
                // Another connection has identifiers of its own.
                self.owners.retain(|(s, l, _), _| (*s, *l) != (id, *lane));
                self.sent.retain(|t| (t.server, t.lane) != (id, *lane));
            }
            Op::Refused { server, lane } if server % 2 == 0 => {
                self.proxy.refused(self.now, &mut self.entropy, ServerId::at(*server), *lane);
            }
            _ => {}
        }
        self.look(repeats);
    }

    fn ask(&mut self, n: u16, octets: &[u8], ticket: u32) {
        let secret = nas();
        let asker = Asker { client: u64::from(n), source: source(n), secret: &secret };
        let packet = Packet::decode(octets).unwrap();
        match self.proxy.request(self.now, &mut self.entropy, &asker, &packet, ticket) {
            Routed::Forwarded => assert!(self.open.insert(ticket)),
            Routed::Rejected(back, _) | Routed::Silent(back, _) | Routed::Duplicate(back) => {
                assert_eq!(back, ticket);
            }
            Routed::Local(_) => panic!("the realm is not ours"),
        }
    }

    fn look(&mut self, repeats: bool) {
        // Outcomes first: what ended may have given an identifier to what goes on.
        while let Some(event) = self.proxy.poll_event() {
            let ticket = match event {
                Event::Answered { ticket, answer } => {
                    let mut out = Vec::new();
                    let secret = nas();
                    let mut b = Builder::answer(&mut out, &secret, answer.code(), 0, &[0; 16], 0);
                    answer.write_to(&mut b).unwrap();
                    b.finish();
                    assert!(all(&out, PROXY_STATE).is_empty());
                    ticket
                }
                Event::Rejected { ticket, .. } | Event::Abandoned { ticket, .. } => ticket,
                _ => continue,
            };
            assert!(self.open.remove(&ticket), "one outcome");
        }
        while let Some(t) = self.proxy.poll_transmit() {
            assert!(self.lanes.contains(&(t.server, t.lane)), "sent where nobody is");
            let packet = Packet::decode(&t.payload).unwrap();
            let secret = secret_of(t.server, t.lane);
            secret.verify_request(&packet).unwrap();
            if packet.code() == Code::StatusServer {
                assert_eq!((packet.identifier(), number(&packet, &secret)), (0, 0));
                self.sent.push(t);
                continue;
            }
            let ticket = packet.find(NAS_PORT).unwrap();
            let ticket = u32::from_be_bytes(ticket.try_into().unwrap());
            let place = (t.server, t.lane, number(&packet, &secret));
            let before = self.owners.insert(place, ticket);
            if let Some(before) = before.filter(|before| *before != ticket) {
                assert!(!self.open.contains(&before), "an identifier in use twice");
            }
            if self.sent.contains(&t) {
                assert!(repeats, "sent again unasked");
                assert!(!is_stream(t.server), "sent again on a connection");
            }
            self.sent.push(t);
        }
        assert_eq!(self.proxy.outstanding(), self.open.len());
        assert!(self.open.len() <= 15);
        for server in 0..SERVERS {
            assert!(self.proxy.outstanding_at(ServerId::at(server)) <= 5);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn every_request_has_one_outcome_and_no_identifier_is_used_twice(
        ops in proptest::collection::vec(op(), 1..120),
        identity in any::<bool>(),
    ) {
        let balance = if identity { Balance::Identity } else { Balance::FailOver };
        let mut run = Run::new(balance);
        for op in &ops {
            run.apply(op);
        }
        // However it stands, in the end nothing is left.
        for _ in 0..20 {
            run.apply(&Op::Wait(3000));
        }
        prop_assert!(run.open.is_empty());
        for server in 0..SERVERS {
            prop_assert_eq!(run.proxy.outstanding_at(ServerId::at(server)), 0);
        }
    }
}
