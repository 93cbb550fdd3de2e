//! Servers that fall silent and come back.

use std::time::Duration;

use homeward_proxy::{
    Balance, Check, Health, Reason, Route, ServerId, Settings, Unanswered, Watch,
};
use homeward_radius::Code;

use crate::world::*;

const S: u64 = 1000;

fn hop(count: usize) -> Hop {
    hop_with(count, |_| {}, Unanswered::Reject, Balance::FailOver)
}

fn hop_with(
    count: usize,
    watch: impl Fn(&mut Watch),
    unanswered: Unanswered,
    balance: Balance,
) -> Hop {
    let mut table = homeward_proxy::Table::new();
    let ids: Vec<ServerId> = (0..count)
        .map(|n| {
            let mut server = homeward_proxy::HomeServer::datagram(&format!("home-{n}"), home(n));
            watch(&mut server.watch);
            table.server(server)
        })
        .collect();
    let mut pool = homeward_proxy::Pool::new("example", ids);
    (pool.unanswered, pool.balance) = (unanswered, balance);
    let pool = table.pool(pool).unwrap();
    route(&mut table, "example.org", Route::to(pool));
    Hop::new(table)
}

/// Makes server 0 a zombie at 3 s, with a request that went to server 1 instead.
fn doubted(hop: &mut Hop) {
    hop.receive(T0, source(1), &login(1, "fred@example.org"));
    assert_eq!(hop.one_sent().server.index(), 0);
    hop.run_until(after(3 * S));
    assert_eq!(hop.health(0), Health::Zombie);
}

#[test]
fn a_request_that_waits_too_long_goes_to_the_next_server_and_the_first_is_doubted() {
    let mut hop = hop(2);
    hop.receive(T0, source(1), &login(1, "fred@example.org"));
    let first = hop.one_sent();
    hop.run_until(after(2999));
    assert!(hop.sent.is_empty() && hop.notes.is_empty(), "nothing before its time");
    hop.run_until(after(3000));
    assert_eq!(hop.notes, [Note::FailedOver(0, 1), Note::Health(0, Health::Zombie)]);
    assert_eq!(hop.checks().len(), 1, "and it is asked whether it lives");
    let second = hop.one_sent();
    assert_eq!(second.server.index(), 1);
    let octets = answered(&second, Code::AccessAccept, nothing);
    hop.answer(after(3100), &second, &octets);
    hop.one_reply();
    // The first one's answer comes after all: too late.
    let octets = answered(&first, Code::AccessAccept, nothing);
    hop.answer(after(3200), &first, &octets);
    assert!(hop.replies.is_empty());
    // What comes now goes to the one that is not doubted.
    hop.receive(after(3300), source(1), &login(2, "fred@example.org"));
    assert_eq!(hop.one_sent().server.index(), 1);
}

#[test]
fn the_first_server_may_still_answer_while_the_second_is_asked() {
    let mut hop = hop(2);
    hop.receive(T0, source(1), &login(1, "fred@example.org"));
    let first = hop.one_sent();
    hop.run_until(after(3000));
    let octets = answered(&first, Code::AccessAccept, nothing);
    hop.notes.clear();
    hop.answer(after(3500), &first, &octets);
    assert_eq!(hop.notes, [Note::Health(0, Health::Alive), Note::Answered(Code::AccessAccept)]);
    hop.one_reply();
    assert_eq!(hop.proxy.outstanding_at(ServerId::at(1)), 0, "nothing waits there any more");
}

#[test]
fn a_doubted_server_that_answers_status_server_is_alive() {
    let mut hop = hop(2);
    doubted(&mut hop);
    hop.answer_checks(after(3050), &[0]);
    assert_eq!(hop.health(0), Health::Alive);
    hop.sent.clear();
    hop.receive(after(3100), source(1), &login(2, "fred@example.org"));
    assert_eq!(hop.one_sent().server.index(), 0, "and preferred again");
}

#[test]
fn a_server_is_dead_after_the_zombie_period_and_alive_after_three_answers_in_a_row() {
    let mut hop = hop(2);
    doubted(&mut hop);
    hop.run_until(after(17_999));
    assert_eq!(hop.health(0), Health::Zombie);
    hop.run_until(after(18_000));
    assert_eq!(hop.health(0), Health::Dead);
    hop.sent.clear();
    let mut now = after(18_000);
    let mut next = |hop: &mut Hop, answer: bool| {
        let before = now;
        loop {
            now = hop.proxy.poll_timeout().unwrap();
            hop.tick(now);
            hop.sent.retain(|sent| sent.server.index() == 0);
            if let Some(check) = hop.checks().pop() {
                if answer {
                    let octets = answered(&check, Code::AccessAccept, nothing);
                    hop.answer(now, &check, &octets);
                }
                return now.since(before);
            }
        }
    };
    let waits: Vec<Duration> =
        [true, true, false, true, true, false].map(|a| next(&mut hop, a)).into();
    assert_eq!(hop.health(0), Health::Dead, "not so often in a row");
    for wait in &waits {
        let millis = wait.as_millis();
        assert!((5400..=6600).contains(&millis), "6 s give or take a tenth: {millis}");
    }
    assert!(waits.windows(2).any(|w| w[0] != w[1]), "jitter");
    for n in 0..3 {
        assert_eq!(hop.health(0), Health::Dead, "after {n}");
        next(&mut hop, true);
    }
    assert_eq!(hop.health(0), Health::Alive);
    hop.sent.clear();
    hop.receive(now, source(1), &login(2, "fred@example.org"));
    assert_eq!(hop.one_sent().server.index(), 0, "fail-back");
}

#[test]
fn while_all_servers_are_dead_access_is_rejected_at_once_and_records_meet_silence() {
    let mut hop = hop(2);
    hop.receive(T0, source(1), &login(1, "fred@example.org"));
    hop.run_until(after(60 * S));
    assert_eq!((hop.health(0), hop.health(1)), (Health::Dead, Health::Dead));
    let reject = Note::Rejected(Reason::NoServer);
    assert_eq!(hop.notes.iter().filter(|note| **note == reject).count(), 1, "{:?}", hop.notes);
    hop.one_reply();
    hop.sent.clear();
    hop.receive(after(60 * S), source(1), &login(2, "fred@example.org"));
    assert_eq!(hop.notes.pop(), Some(reject));
    hop.one_reply();
    assert!(hop.sent.is_empty());

    let mut hop = hop.accounting();
    let record = request(Code::AccountingRequest, 3, |b| b.text(1, "fred@example.org"));
    hop.receive(after(60 * S), source(1), &record);
    assert_eq!(hop.notes.pop(), Some(Note::Silent(Reason::NoServer)));
    assert!(hop.replies.is_empty());
}

#[test]
fn silence_is_what_a_nas_hears_where_that_is_set() {
    let mut hop = hop_with(1, |_| {}, Unanswered::Silence, Balance::FailOver);
    hop.receive(T0, source(1), &login(1, "fred@example.org"));
    hop.run_until(after(60 * S));
    assert!(hop.notes.contains(&Note::Silent(Reason::NoServer)), "{:?}", hop.notes);
    hop.receive(after(60 * S), source(1), &login(2, "fred@example.org"));
    assert_eq!(hop.notes.pop(), Some(Note::Silent(Reason::NoServer)));
    assert!(hop.replies.is_empty());
    // But what is wrong with the request itself is said.
    hop.receive(after(60 * S), source(1), &login(3, "fred@example.net"));
    hop.one_reply();
}

#[test]
fn a_request_is_given_up_in_the_end_even_if_its_server_lives() {
    let mut hop = hop(1);
    hop.receive(T0, source(1), &login(1, "fred@example.org"));
    hop.run_alive(after(29_999), &[0]);
    assert!(hop.replies.is_empty(), "{:?}", hop.notes);
    hop.run_alive(after(30_000), &[0]);
    assert_eq!(hop.notes.last(), Some(&Note::Rejected(Reason::NoAnswer)));
    hop.one_reply();
    assert_eq!((hop.proxy.outstanding(), hop.health(0)), (0, Health::Alive));
}

#[test]
fn a_server_without_status_server_counts_as_alive_again_after_a_while() {
    let never = Check::Never { revive_after: Duration::from_secs(60) };
    let mut hop = hop_with(2, |w| w.check = never, Unanswered::Reject, Balance::FailOver);
    hop.receive(T0, source(1), &login(1, "fred@example.org"));
    hop.run_until(after(18 * S));
    assert_eq!(hop.health(0), Health::Dead);
    assert!(hop.checks().is_empty());
    hop.run_until(after(77_999));
    assert_eq!(hop.health(0), Health::Dead);
    hop.run_until(after(78 * S));
    assert_eq!(hop.health(0), Health::Alive);
}

#[test]
fn a_nass_repetition_is_passed_on_octet_for_octet_and_nothing_is_repeated_unasked() {
    let mut hop = hop(1);
    let asked = login(1, "fred@example.org");
    hop.receive(T0, source(1), &asked);
    let first = hop.one_sent();
    hop.receive(after(499), source(1), &asked);
    assert!(hop.sent.is_empty(), "not twice within half a second");
    hop.receive(after(500), source(1), &asked);
    assert_eq!(hop.one_sent(), first, "the same identifier, so that the server knows it again");
    hop.run_until(after(2999));
    assert!(hop.sent.is_empty());
    // Once, whoever asked how often.
    let octets = answered(&first, Code::AccessAccept, nothing);
    hop.answer(after(2999), &first, &octets);
    hop.one_reply();
    // What was answered is answered again by the server in front.
    hop.receive(after(3500), source(1), &asked);
    hop.one_reply();
    assert!(hop.sent.is_empty());
}

#[test]
fn a_repetition_of_what_is_with_a_doubted_server_goes_to_another() {
    let mut hop = hop(3);
    let (asked, other) = (login(1, "fred@example.org"), login(2, "jane@example.org"));
    hop.receive(T0, source(1), &asked);
    hop.receive(after(2000), source(1), &other);
    hop.sent.clear();
    hop.run_until(after(3000));
    hop.sent.clear();
    // Its server is doubted because of the other one.
    hop.receive(after(3001), source(1), &other);
    assert_eq!(hop.one_sent().server.index(), 1);
    // There are three servers at most to be asked, and each once.
    hop.run_until(after(29_000));
    let requests = hop.sent.iter().filter(|t| t.payload[0] == 1).count();
    assert_eq!(requests, 2, "one each to the third server");
}

#[test]
fn a_request_is_sent_to_so_many_servers_and_no_more() {
    let (mut table, pool) = servers(5, |_| {});
    route(&mut table, "example.org", Route::to(pool));
    let mut hop = Hop::with(Settings { servers: 2, ..Settings::default() }, table);
    hop.receive(T0, source(1), &login(1, "fred@example.org"));
    hop.run_alive(after(40 * S), &[0, 1, 2, 3, 4]);
    let asked: Vec<usize> = hop.sent.iter().map(|t| t.server.index()).collect();
    assert_eq!(asked, [0, 1]);
    assert_eq!(hop.notes.last(), Some(&Note::Rejected(Reason::NoAnswer)));
}

#[test]
fn a_port_that_nobody_listens_on_is_left_at_once() {
    let mut hop = hop(2);
    hop.receive(T0, source(1), &login(1, "fred@example.org"));
    let first = hop.one_sent();
    hop.proxy.refused(after(1), &mut hop.entropy.clone(), first.server, first.lane);
    hop.turn();
    assert_eq!(hop.health(0), Health::Zombie, "doubted: anybody could have said so");
    hop.checks();
    assert_eq!(hop.one_sent().server.index(), 1);
}

/// A conversation whose State is this.
fn round(identifier: u8, state: Option<&[u8]>) -> Vec<u8> {
    request(Code::AccessRequest, identifier, |b| {
        b.text(1, "anonymous@example.org")?;
        b.octets(31, b"02-00-5E-20-00-07")?;
        b.octets(79, &[2, identifier, 0, 5, 25])?;
        state.map_or(Ok(()), |state| b.octets(24, state))
    })
}

#[test]
fn a_conversation_stays_with_its_server_when_a_preferred_one_comes_back() {
    let mut hop = hop(2);
    doubted(&mut hop);
    hop.checks();
    hop.sent.clear();
    let at = after(3100);
    hop.receive(at, source(1), &round(2, None));
    let sent = hop.one_sent();
    assert_eq!(sent.server.index(), 1);
    let octets = answered(&sent, Code::AccessChallenge, |b| b.octets(24, b"one"));
    hop.answer(at, &sent, &octets);
    // The first is back.
    hop.run_alive(after(12 * S), &[0]);
    assert_eq!(hop.health(0), Health::Alive);
    hop.receive(after(12 * S), source(1), &round(3, Some(b"one")));
    let sent = hop.one_sent();
    assert_eq!(sent.server.index(), 1, "it would not know the State");
    let octets = answered(&sent, Code::AccessAccept, nothing);
    hop.answer(after(12 * S), &sent, &octets);
    // A new conversation goes to the preferred one, a State that nobody knows too.
    hop.receive(after(13 * S), source(1), &round(4, None));
    assert_eq!(hop.one_sent().server.index(), 0);
    hop.receive(after(13 * S), source(1), &round(5, Some(b"one")));
    assert_eq!(hop.one_sent().server.index(), 0);
}

#[test]
fn a_conversation_whose_server_died_goes_to_another_which_will_have_it_begin_anew() {
    let mut hop = hop(2);
    hop.receive(T0, source(1), &round(1, None));
    let sent = hop.one_sent();
    let octets = answered(&sent, Code::AccessChallenge, |b| b.octets(24, b"one"));
    hop.answer(T0, &sent, &octets);
    hop.receive(T0, source(1), &round(2, Some(b"one")));
    hop.sent.clear();
    hop.run_until(after(3 * S));
    hop.checks();
    assert_eq!(hop.one_sent().server.index(), 1);
}

fn named(identifier: u8, n: u32) -> Vec<u8> {
    request(Code::AccessRequest, identifier, |b| {
        b.text(1, "anonymous@example.org")?;
        b.text(31, &format!("02-00-5E-20-00-{n:02X}"))
    })
}

#[test]
fn who_comes_again_comes_to_the_same_server_and_only_who_was_with_a_lost_one_moves() {
    let mut hop = hop_with(4, |_| {}, Unanswered::Reject, Balance::Identity);
    let at = |hop: &mut Hop, now, round: u16| -> Vec<usize> {
        (0..200u32)
            .map(|n| {
                let place = source(1000 + round * 300 + u16::try_from(n).unwrap());
                hop.receive(now, place, &named(7, n));
                hop.checks();
                let sent = hop.one_sent();
                let octets = answered(&sent, Code::AccessAccept, nothing);
                hop.answer(now, &sent, &octets);
                sent.server.index()
            })
            .collect()
    };
    let first = at(&mut hop, T0, 0);
    for server in 0..4 {
        let share = first.iter().filter(|s| **s == server).count();
        assert!((25..=80).contains(&share), "server {server} has {share} of 200");
    }
    assert_eq!(at(&mut hop, after(1), 1), first);
    hop.proxy.refused(after(2), &mut hop.entropy.clone(), ServerId::at(2), 0);
    hop.turn();
    let without = at(&mut hop, after(3), 2);
    for (before, after) in first.iter().zip(&without) {
        assert!(*after != 2 && (*before == 2 || before == after));
    }
}

#[test]
fn a_new_table_keeps_what_is_known_of_its_servers() {
    let mut old = hop(2);
    doubted(&mut old);
    old.run_until(after(20 * S));
    assert_eq!(old.health(0), Health::Dead);
    let mut new = hop(2);
    new.proxy.remember(&old.proxy);
    assert_eq!((new.health(0), new.health(1)), (Health::Dead, old.health(1)));
    new.run_alive(after(60 * S), &[0, 1]);
    assert_eq!(new.health(0), Health::Alive, "and goes on watching them");
}

#[test]
fn a_server_that_answers_status_server_and_nothing_else_is_trusted_less_and_less() {
    let mut hop = hop(2);
    let mut zombie_for = Vec::new();
    let mut now = T0;
    for n in 0..5u8 {
        hop.receive(now, source(1), &login(n, "fred@example.org"));
        assert_eq!(hop.sent.pop().unwrap().server.index(), 0);
        now = now + Duration::from_secs(3);
        hop.run_alive(now, &[0]);
        let doubted = now;
        hop.tick(now);
        hop.answer_checks(now, &[0]);
        while hop.health(0) != Health::Alive {
            assert_eq!(hop.health(0), Health::Zombie, "not dead: it answers");
            now = hop.proxy.poll_timeout().unwrap();
            hop.run_alive(now, &[0]);
        }
        zombie_for.push(now.since(doubted).as_secs());
        hop.sent.clear();
    }
    assert_eq!(zombie_for[0], 0, "once is chance");
    assert!(zombie_for.windows(2).all(|w| w[0] < w[1]), "{zombie_for:?}");
    // It works again, and is trusted as before.
    hop.receive(now, source(1), &login(10, "fred@example.org"));
    let sent = hop.one_sent();
    let octets = answered(&sent, Code::AccessAccept, nothing);
    hop.answer(now, &sent, &octets);
    hop.receive(now, source(1), &login(11, "fred@example.org"));
    now = now + Duration::from_secs(3);
    hop.run_alive(now, &[0]);
    hop.answer_checks(now, &[0]);
    assert_eq!(hop.health(0), Health::Alive);
}

#[test]
fn a_request_that_another_server_has_does_not_end_with_the_first_ones_death() {
    let mut hop = hop(2);
    hop.receive(T0, source(1), &login(1, "fred@example.org"));
    hop.run_alive(after(20 * S), &[1]);
    assert_eq!((hop.health(0), hop.health(1)), (Health::Dead, Health::Alive));
    assert!(hop.replies.is_empty(), "{:?}", hop.notes);
    let sent = hop.sent.iter().find(|t| t.server.index() == 1).unwrap().clone();
    let octets = answered(&sent, Code::AccessAccept, nothing);
    hop.answer(after(20 * S), &sent, &octets);
    hop.one_reply();
}

#[test]
fn a_server_is_no_less_late_for_having_been_asked_again_about_a_record() {
    let mut hop = hop(2).accounting();
    let record = request(Code::AccountingRequest, 1, |b| b.text(1, "fred@example.org"));
    hop.receive(T0, source(1), &record);
    hop.receive(after(2500), source(1), &record);
    assert_eq!(hop.sent.len(), 2);
    hop.run_until(after(3 * S));
    assert_eq!(hop.health(0), Health::Zombie);
    assert_eq!(hop.notes[0], Note::FailedOver(0, 1));
}
