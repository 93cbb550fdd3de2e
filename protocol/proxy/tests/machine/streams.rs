//! Servers that are spoken to over connections.

use homeward_proxy::{Health, HomeServer, Pool, Reason, Route, ServerId, Table};
use homeward_radius::Code;

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
        self.proxy.lane_up(now, &mut self.entropy, ServerId::at(server), lane);
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
