//! Servers that are spoken to over connections.

use std::collections::BTreeSet;

use homeward_proxy::{Health, HomeServer, Pool, Reason, Route, ServerId, Settings, Table};
use homeward_radius::dictionary::microsoft as ms;
use homeward_radius::hide::{open_password, open_salted};
use homeward_radius::{Builder, Code, EncodeError, Packet, SharedSecret};

use crate::world::*;

const S: u64 = 1000;
const HERE: ServerId = ServerId::at(0);

fn hop(servers: usize) -> Hop {
    let mut table = Table::new();
    let ids: Vec<_> = (0..servers)
        .map(|n| table.server(HomeServer::stream(&format!("home-{n}"), home(n))))
        .collect();
    let pool = table.pool(Pool::new("example", ids)).unwrap();
    route(&mut table, "example.org", Route::to(pool));
    Hop::new(table)
}

impl Hop {
    fn up(&mut self, now: homeward_model::Instant, server: usize, lane: u16) {
        self.up_with(now, server, lane, home(server));
    }

    fn up_with(
        &mut self,
        now: homeward_model::Instant,
        server: usize,
        lane: u16,
        secret: SharedSecret,
    ) {
        self.proxy.lane_up(now, &mut self.entropy, ServerId::at(server), lane, secret);
        self.turn();
    }

    fn down(&mut self, now: homeward_model::Instant, server: usize, lane: u16) {
        self.proxy.lane_down(now, &mut self.entropy, ServerId::at(server), lane);
        self.turn();
    }
}

#[test]
fn nothing_is_sent_before_a_connection_is_up() {
    let mut hop = hop(1);
    hop.receive(T0, source(1), &login(1, "fred@example.org"));
    assert_eq!(hop.notes, [Note::Rejected(Reason::NoServer)]);
    hop.up(T0, 0, 2);
    hop.receive(T0, source(1), &login(2, "fred@example.org"));
    assert_eq!(hop.one_sent().lane, 2);
}

#[test]
fn nothing_is_repeated_on_a_connection() {
    let mut hop = hop(1);
    hop.up(T0, 0, 0);
    let asked = login(1, "fred@example.org");
    hop.receive(T0, source(1), &asked);
    hop.one_sent();
    hop.receive(after(2000), source(1), &asked);
    assert!(hop.sent.is_empty(), "RFC 6613 2.6.1");
}

#[test]
fn what_was_on_a_lost_connection_goes_over_another_one() {
    let mut hop = hop(1);
    hop.up(T0, 0, 0);
    hop.receive(T0, source(1), &login(1, "fred@example.org"));
    let first = hop.one_sent();
    hop.up(T0, 0, 1);
    hop.down(after(10), 0, 0);
    let second = hop.one_sent();
    assert_eq!((first.lane, second.lane), (0, 1));
    let octets = answered(&first, Code::AccessAccept, nothing);
    hop.answer(after(20), &first, &octets);
    assert_eq!(hop.notes.pop(), Some(Note::Dropped("stranger")));
    let octets = answered(&second, Code::AccessAccept, nothing);
    hop.answer(after(20), &second, &octets);
    hop.one_reply();
    assert_eq!(hop.proxy.outstanding_at(HERE), 0);
}

#[test]
fn what_was_on_the_only_connection_waits_for_another_one_for_a_while() {
    let mut hop = hop(1);
    hop.up(T0, 0, 0);
    hop.receive(T0, source(1), &login(1, "fred@example.org"));
    hop.receive(T0, source(1), &login(2, "jane@example.org"));
    hop.sent.clear();
    hop.down(after(10), 0, 0);
    assert!(hop.notes.is_empty() && hop.sent.is_empty());
    assert_eq!(hop.proxy.outstanding_at(HERE), 0, "no identifier is held");
    hop.up(after(500), 0, 0);
    assert_eq!(hop.sent.len(), 2);
    hop.sent.clear();
    hop.down(after(600), 0, 0);
    hop.run_until(after(3599));
    assert!(hop.notes.is_empty());
    hop.run_until(after(3600));
    assert_eq!(hop.notes, [Note::Rejected(Reason::NoServer), Note::Rejected(Reason::NoServer)]);
    assert_eq!(hop.proxy.outstanding(), 0);
}

#[test]
fn another_server_is_asked_when_the_only_connection_is_lost() {
    let mut hop = hop(2);
    hop.up(T0, 0, 0);
    hop.up(T0, 1, 0);
    hop.receive(T0, source(1), &login(1, "fred@example.org"));
    assert_eq!(hop.one_sent().server.index(), 0);
    hop.down(after(10), 0, 0);
    assert_eq!(hop.one_sent().server.index(), 1);
}

#[test]
fn a_silent_connection_is_asked_and_given_up_if_it_stays_silent() {
    let mut hop = hop(1);
    hop.up(T0, 0, 0);
    hop.run_until(after(29_999));
    assert!(hop.sent.is_empty());
    hop.run_until(after(30_000));
    hop.answer_checks(after(30_000), &[0]);
    assert_eq!(hop.health(0), Health::Alive);
    hop.run_until(after(59_999));
    assert!(hop.sent.is_empty(), "it was heard");
    // Now it is dead and does not say so.
    hop.run_until(after(60_000));
    assert_eq!(hop.checks().len(), 1);
    hop.run_until(after(63_000));
    assert_eq!(hop.notes, [Note::Stalled(0, 0), Note::Health(0, Health::Zombie)]);
    hop.run_until(after(90_000));
    assert_eq!(hop.health(0), Health::Dead);
    // Another connection, and it answers on it.
    hop.down(after(90_000), 0, 0);
    hop.checks();
    hop.up(after(91_000), 0, 0);
    hop.answer_checks(after(91_000), &[0]);
    assert_eq!(hop.health(0), Health::Dead, "once is not enough");
    hop.run_alive(after(106_000), &[0]);
    assert_eq!(hop.health(0), Health::Alive);
}

#[test]
fn traffic_is_as_good_as_a_watchdog() {
    let mut hop = hop(1);
    hop.up(T0, 0, 0);
    for n in 1..10u8 {
        let now = after(u64::from(n) * 10 * S);
        hop.run_until(now);
        hop.receive(now, source(1), &login(n, "fred@example.org"));
        let sent = hop.one_sent();
        assert_eq!(sent.payload[0], Code::AccessRequest as u8);
        let octets = answered(&sent, Code::AccessAccept, nothing);
        hop.answer(now, &sent, &octets);
    }
}

/// What a server answers on RADIUS/1.1.
fn answered_clear(
    to: &[u8],
    code: Code,
    fill: impl FnOnce(&mut Builder<'_>) -> Result<(), EncodeError>,
) -> Vec<u8> {
    answer_with(&SharedSecret::transport(), to, code, fill)
}

#[test]
fn a_connection_of_radius_1_1_carries_passwords_as_they_are_and_tells_requests_by_token() {
    let mut hop = hop(1);
    hop.up_with(T0, 0, 0, SharedSecret::transport());
    let asked = login(1, "fred@example.org");
    hop.receive(T0, source(1), &asked);
    let sent = hop.one_sent();
    let packet = Packet::decode(&sent.payload).unwrap();
    assert_eq!(packet.identifier(), 0, "Reserved-1");
    assert_eq!(packet.authenticator()[4..], [0; 12], "Reserved-2");
    assert_eq!(packet.find(2), Some(&b"correct horse"[..]));
    assert_eq!(packet.find(80), None);
    // Another Token is another request's.
    let mut other = sent.payload.to_vec();
    other[4] ^= 1;
    let octets = answered_clear(&other, Code::AccessAccept, nothing);
    hop.answer(T0, &sent, &octets);
    assert_eq!(hop.notes.pop(), Some(Note::Dropped("bad-response-authenticator")));
    let octets = answered_clear(&sent.payload, Code::AccessAccept, |b| {
        b.vendor_salted(ms::VENDOR, ms::MPPE_RECV_KEY, &[5; 32])?;
        b.vendor(ms::VENDOR, ms::CHAP_MPPE_KEYS, &[6; 24])
    });
    hop.answer(T0, &sent, &octets);
    let reply = hop.one_reply();
    let authenticator = *Packet::decode(&asked).unwrap().authenticator();
    let packet = Packet::decode(&reply).unwrap();
    nas().verify_answer(&packet, &authenticator).unwrap();
    let hidden = packet.find_vendor(ms::VENDOR, ms::MPPE_RECV_KEY).unwrap();
    assert_eq!(open_salted(&nas(), &authenticator, hidden).unwrap().expose(), [5; 32]);
    let hidden = packet.find_vendor(ms::VENDOR, ms::CHAP_MPPE_KEYS).unwrap();
    let opened = open_password(&nas(), &authenticator, hidden).unwrap();
    assert_eq!(*opened, [6; 24]);
}

#[test]
fn a_connection_of_radius_1_1_has_room_for_more_than_an_octet_can_name() {
    let mut table = Table::new();
    let mut server = HomeServer::stream("home", home(0));
    server.outstanding = 1000;
    let server = table.server(server);
    let pool = table.pool(Pool::new("example", [server])).unwrap();
    route(&mut table, "example.org", Route::to(pool));
    let mut hop = Hop::new(table);
    hop.up_with(T0, 0, 0, SharedSecret::transport());
    for n in 0..1001 {
        hop.receive(T0, source(n), &login(1, "fred@example.org"));
    }
    assert_eq!(hop.notes, [Note::Silent(Reason::ServerShare)]);
    let tokens: BTreeSet<u32> =
        hop.sent.iter().map(|t| Packet::decode(&t.payload).unwrap().token()).collect();
    assert_eq!(tokens.len(), 1000);
    // The next connection agrees on less: what fits goes over it, the rest is told to wait.
    hop.sent.clear();
    hop.down(T0, 0, 0);
    hop.up(T0, 0, 0);
    assert_eq!(hop.sent.len(), 255);
    assert_eq!(hop.proxy.outstanding(), 1000);
    let sent = std::mem::take(&mut hop.sent);
    for sent in sent {
        let octets = answered(&sent, Code::AccessReject, nothing);
        hop.answer(T0, &sent, &octets);
    }
    hop.run_until(after(60 * S));
    assert_eq!(hop.proxy.outstanding(), 0);
    assert_eq!(hop.proxy.outstanding_at(HERE), 0);
}

#[test]
fn a_nas_on_radius_1_1_is_told_apart_by_token_and_has_no_challenge_implied() {
    let (mut table, pool) = servers(1, |_| {});
    route(&mut table, "example.org", Route::to(pool));
    let clear = SharedSecret::transport();
    let mut hop = Hop::of(Settings::default(), key(), clear.clone(), table, 1);
    for token in 1..4u8 {
        let mut asked = Vec::new();
        let mut b = Builder::request(&mut asked, &clear, Code::AccessRequest, 0, [token; 16]);
        b.text(1, "fred@example.org").unwrap();
        b.user_password(&[token; 3]).unwrap();
        b.octets(3, &[1; 17]).unwrap();
        b.finish();
        hop.receive(T0, source(1), &asked);
    }
    assert!(hop.notes.is_empty(), "none supersedes another");
    assert_eq!(hop.sent.len(), 3);
    let sent = hop.sent.remove(1);
    let packet = Packet::decode(&sent.payload).unwrap();
    let opened = open_password(&home(0), packet.authenticator(), packet.find(2).unwrap());
    assert_eq!(*opened.unwrap(), [2; 3]);
    assert_eq!(packet.find(60), None);
    let octets = answered(&sent, Code::AccessAccept, |b| {
        b.vendor_salted(ms::VENDOR, ms::MPPE_SEND_KEY, &[5; 32])
    });
    hop.answer(T0, &sent, &octets);
    let reply = hop.one_reply();
    let packet = Packet::decode(&reply).unwrap();
    assert_eq!(packet.token(), 0x0202_0202);
    let key = packet.find_vendor(ms::VENDOR, ms::MPPE_SEND_KEY);
    assert_eq!(key, Some(&[5; 32][..]));
}

#[test]
fn what_was_asked_on_a_lost_connection_is_not_held_against_the_next_one() {
    let mut hop = hop(1);
    hop.up(T0, 0, 0);
    hop.run_until(after(30 * S));
    assert_eq!(hop.checks().len(), 1);
    hop.down(after(31 * S), 0, 0);
    hop.up(after(31 * S), 0, 1);
    hop.run_alive(after(70 * S), &[0]);
    assert!(hop.notes.is_empty(), "{:?}", hop.notes);
    assert_eq!(hop.health(0), Health::Alive);
}

#[test]
fn no_token_comes_again_soon() {
    let mut hop = hop(1);
    hop.up_with(T0, 0, 0, SharedSecret::transport());
    let mut tokens = BTreeSet::new();
    for n in 0..2000 {
        hop.receive(T0, source(n), &login(1, "fred@example.org"));
        let sent = hop.one_sent();
        assert!(tokens.insert(Packet::decode(&sent.payload).unwrap().token()), "request {n}");
        let octets = answered_clear(&sent.payload, Code::AccessReject, nothing);
        hop.answer(T0, &sent, &octets);
    }
}
