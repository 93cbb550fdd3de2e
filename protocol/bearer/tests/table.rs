//! What becomes of bearers, case by case.
#![cfg(test)]

use std::net::IpAddr;
use std::time::Duration;

use homeward_bearer::{Bearer, Change, Kind, News, Report, Settings, Table, Whose};
use homeward_model::{Apn, Instant, UnixTime};

const A: &str = "192.0.2.1/32";
const B: &str = "192.0.2.2/32";
const SIX: &str = "2001:db8:0:1::/64";

/// Ours, and the gateway's unless told otherwise.
const NOON: i64 = 1_800_000_000;

fn report(kind: Kind, session: &str, phone: u8, at: i64, addresses: &[&str]) -> Report {
    Report {
        gateway: "ggsn-1".parse().unwrap(),
        kind,
        session: session.to_owned(),
        event: Some(UnixTime((NOON + at) * 1000)),
        delay: 0,
        seconds: None,
        imsi: format!("99970000000000{phone}").parse().ok(),
        imei: None,
        msisdn: format!("44770090000{phone}").parse().ok(),
        apn: "internet".parse().ok(),
        addresses: addresses.iter().map(|a| a.parse().unwrap()).collect(),
        nsapi: None,
        last_context: false,
    }
}

fn undated(report: Report) -> Report {
    Report { event: None, ..report }
}

struct World {
    table: Table,
    clock: i64,
}

impl World {
    fn new() -> Self {
        Self { table: Table::new(Settings::default()), clock: 0 }
    }

    fn now(&self) -> Instant {
        Instant::from_nanos(1 << 40) + Duration::from_secs(u64::try_from(self.clock).unwrap())
    }

    fn at(&mut self, clock: i64) -> &mut Self {
        self.clock = clock;
        self
    }

    fn hear(&mut self, report: &Report) -> News {
        self.changes(report).0
    }

    fn changes(&mut self, report: &Report) -> (News, Vec<Change>) {
        let today = UnixTime((NOON + self.clock) * 1000);
        let applied = self.table.handle(report, today, self.now());
        (applied.news, applied.changes)
    }

    fn phone(&self, address: &str) -> Option<String> {
        let address: IpAddr = address.parse().unwrap();
        self.table.bearer_of(address, None).map(|b| b.imsi.as_str()[14..].to_owned())
    }
}

#[test]
fn an_address_is_a_subscribers_from_start_to_stop() {
    let mut w = World::new();
    assert_eq!(w.hear(&report(Kind::Start, "s1", 1, 0, &[A])), News::Began);
    let apn: Apn = "internet".parse().unwrap();
    let bearer = w.table.bearer_of("192.0.2.1".parse().unwrap(), Some(&apn)).unwrap();
    assert_eq!(bearer.since, UnixTime(NOON * 1000));
    assert_eq!(w.phone("192.0.2.2"), None);
    let other: Apn = "ims".parse().unwrap();
    assert_eq!(w.table.bearer_of("192.0.2.1".parse().unwrap(), Some(&other)), None);
    assert_eq!(w.at(5).hear(&report(Kind::Stop, "s1", 1, 5, &[A])), News::Ended);
    assert_eq!(w.phone("192.0.2.1"), None);
}

#[test]
fn an_interim_of_a_session_nobody_knows_makes_it_live() {
    let mut w = World::new();
    let interim = Report { seconds: Some(900), ..report(Kind::Interim, "s1", 1, 0, &[A]) };
    assert_eq!(w.hear(&interim), News::Began);
    let bearer = w.table.bearer_of("192.0.2.1".parse().unwrap(), None).unwrap();
    assert_eq!(bearer.since, UnixTime((NOON - 900) * 1000));
}

#[test]
fn the_stop_of_a_session_that_had_the_address_before_ends_nothing() {
    let mut w = World::new();
    w.hear(&report(Kind::Start, "s1", 1, 0, &[A]));
    let (news, changes) = w.at(9).changes(&report(Kind::Start, "s2", 2, 9, &[A]));
    assert_eq!(news, News::Began);
    let [Change::Removed(old), Change::Put(new)] = changes.as_slice() else {
        panic!("{changes:?}")
    };
    assert_eq!((old.session.as_str(), new.session.as_str()), ("s1", "s2"));
    w.at(10).hear(&report(Kind::Stop, "s1", 1, 8, &[A]));
    assert_eq!(w.phone("192.0.2.1").as_deref(), Some("2"));
}

#[test]
fn not_even_if_both_have_the_same_identifier() {
    for phone in [1, 2] {
        let mut w = World::new();
        w.hear(&report(Kind::Start, "s1", 1, 0, &[A]));
        w.at(9).hear(&report(Kind::Start, "s1", phone, 9, &[A]));
        assert_eq!(w.at(10).hear(&report(Kind::Stop, "s1", 1, 8, &[A])), News::Late);
        assert_eq!(w.phone("192.0.2.1"), Some(phone.to_string()));
        w.at(11).hear(&report(Kind::Stop, "s1", phone, 11, &[A]));
        assert_eq!(w.phone("192.0.2.1"), None);
    }
}

#[test]
fn a_late_start_takes_nothing_from_who_came_after() {
    let mut w = World::new();
    w.hear(&report(Kind::Start, "s2", 2, 9, &[A]));
    assert_eq!(w.at(10).hear(&report(Kind::Start, "s1", 1, 0, &[A])), News::Late);
    assert_eq!(w.phone("192.0.2.1").as_deref(), Some("2"));
}

#[test]
fn nothing_from_before_its_stop_brings_a_session_back() {
    let mut w = World::new();
    w.hear(&report(Kind::Stop, "s1", 1, 9, &[A]));
    for late in [
        report(Kind::Start, "s1", 1, 0, &[A]),
        report(Kind::Interim, "s1", 1, 9, &[A]),
        undated(report(Kind::Interim, "s1", 1, 0, &[A])),
    ] {
        assert_eq!(w.hear(&late), News::Late);
    }
    // Nor when it has been forgotten, by a gateway that kept the report for so long.
    w.at(5000);
    w.table.handle_timeout(w.now(), 10);
    assert_eq!(w.table.remembered(), 0);
    assert_eq!(w.hear(&report(Kind::Start, "s1", 1, 0, &[A])), News::Late);
    assert_eq!(w.hear(&report(Kind::Start, "s1", 1, 4999, &[A])), News::Began);
}

#[test]
fn a_gateway_without_a_clock_is_taken_as_it_comes() {
    let mut w = World::new();
    w.hear(&undated(report(Kind::Start, "s1", 1, 0, &[A])));
    w.at(5).hear(&undated(report(Kind::Start, "s2", 2, 0, &[A])));
    assert_eq!(w.phone("192.0.2.1").as_deref(), Some("2"));
    // It has been on its way for longer than the other.
    let late = Report { delay: 9, ..undated(report(Kind::Start, "s3", 3, 0, &[A])) };
    assert_eq!(w.at(6).hear(&late), News::Late);
    w.at(7).hear(&undated(report(Kind::Stop, "s2", 2, 0, &[A])));
    assert_eq!(w.at(8).hear(&undated(report(Kind::Interim, "s2", 2, 0, &[A]))), News::Late);
    assert_eq!(w.phone("192.0.2.1"), None);
}

#[test]
fn a_clock_that_is_off_is_a_clock_and_one_that_was_never_set_is_none() {
    for off in [-86_400, 200] {
        let mut w = World::new();
        w.hear(&report(Kind::Start, "s1", 1, off, &[A]));
        w.at(10).hear(&report(Kind::Start, "s2", 2, off + 10, &[A]));
        assert_eq!(w.at(12).hear(&report(Kind::Interim, "s1", 1, off + 5, &[A])), News::Late);
        w.at(13).hear(&report(Kind::Stop, "s1", 1, off + 9, &[A]));
        assert_eq!(w.phone("192.0.2.1").as_deref(), Some("2"));
        w.at(20).hear(&report(Kind::Stop, "s2", 2, off + 20, &[A]));
        assert_eq!(w.at(21).hear(&report(Kind::Interim, "s2", 2, off + 19, &[A])), News::Late);
    }
    let mut w = World::new();
    w.hear(&report(Kind::Start, "s1", 1, -NOON + 60, &[A]));
    w.at(10).hear(&report(Kind::Start, "s2", 2, -NOON + 5, &[A]));
    assert_eq!(w.phone("192.0.2.1").as_deref(), Some("2"), "it restarted in between");
}

#[test]
fn a_restart_ends_all_of_its_gateway_and_nothing_from_before_it_comes_back() {
    for kind in [Kind::On, Kind::Off] {
        let mut w = World::new();
        w.hear(&report(Kind::Start, "s1", 1, 0, &[A]));
        let elsewhere =
            Report { gateway: "ggsn-2".parse().unwrap(), ..report(Kind::Start, "s1", 3, 0, &[B]) };
        w.hear(&elsewhere);
        let (news, changes) = w.at(9).changes(&report(kind, "", 0, 9, &[]));
        assert_eq!(news, News::Restarted);
        assert_eq!(changes, [Change::Cleared { gateway: "ggsn-1".parse().unwrap() }]);
        assert_eq!(w.phone("192.0.2.1"), None);
        assert_eq!(w.phone("192.0.2.2").as_deref(), Some("3"));
        assert_eq!(w.at(10).hear(&report(Kind::Interim, "s1", 1, 8, &[A])), News::Late);
        assert_eq!(w.hear(&report(Kind::Start, "s0", 1, 8, &[A])), News::Late);
        assert_eq!(w.hear(&report(Kind::Start, "s2", 2, 10, &[A])), News::Began);
        // The same once more, late: what began since is not ended by it.
        let (_, changes) = w.at(12).changes(&report(kind, "", 0, 9, &[]));
        assert_eq!((changes, w.phone("192.0.2.1").as_deref()), (vec![], Some("2")));
        w.at(13).hear(&undated(report(kind, "", 0, 0, &[])));
        assert_eq!(w.phone("192.0.2.1"), None, "without a date it is of now");
    }
}

#[test]
fn silence_ends_and_every_word_puts_it_off() {
    let mut w = World::new();
    w.hear(&report(Kind::Start, "s1", 1, 0, &[A]));
    w.hear(&report(Kind::Start, "s2", 2, 0, &[B]));
    w.at(1800).hear(&report(Kind::Interim, "s2", 2, 1800, &[B]));
    assert_eq!(w.table.poll_timeout(), Some(w.at(3600).now()));
    w.at(3599);
    assert_eq!(w.table.handle_timeout(w.now(), 10), []);
    w.at(3600);
    let changes = w.table.handle_timeout(w.now(), 10);
    assert!(matches!(changes.as_slice(), [Change::Removed(b)] if b.session == "s1"), "{changes:?}");
    assert_eq!(w.phone("192.0.2.1"), None);
    assert_eq!(w.phone("192.0.2.2").as_deref(), Some("2"));
    // It was not gone, only silent.
    assert_eq!(w.at(3700).hear(&report(Kind::Interim, "s1", 1, 3700, &[A])), News::Began);
}

#[test]
fn silence_is_ended_in_pieces() {
    let mut w = World::new();
    for (n, address) in [A, B, "192.0.2.3/32"].iter().enumerate() {
        w.hear(&report(Kind::Start, &format!("s{n}"), 1, 0, &[address]));
    }
    w.at(3600);
    assert_eq!(w.table.handle_timeout(w.now(), 2).len(), 2);
    assert_eq!(w.table.poll_timeout(), Some(w.now()));
    assert_eq!(w.table.handle_timeout(w.now(), 2).len(), 1);
    assert!(w.table.is_empty());
}

#[test]
fn one_session_may_have_addresses_of_both_families() {
    let mut w = World::new();
    w.hear(&report(Kind::Start, "s1", 1, 0, &[A, SIX]));
    for address in ["192.0.2.1", "::ffff:192.0.2.1", "2001:db8:0:1:1234::1"] {
        assert_eq!(w.phone(address).as_deref(), Some("1"), "{address}");
    }
    assert_eq!(w.phone("2001:db8:0:2::1"), None);
    // The one is replaced, the other goes on.
    w.at(5).hear(&report(Kind::Interim, "s1", 1, 5, &[B]));
    assert_eq!(w.phone("192.0.2.1"), None);
    assert_eq!(w.phone("192.0.2.2").as_deref(), Some("1"));
    assert_eq!(w.phone("2001:db8:0:1::9").as_deref(), Some("1"));
    // Another has the one, and the first keeps the other.
    w.at(6).hear(&report(Kind::Start, "s2", 2, 6, &[B]));
    assert_eq!(w.phone("192.0.2.2").as_deref(), Some("2"));
    assert_eq!(w.phone("2001:db8:0:1::9").as_deref(), Some("1"));
    w.at(7).hear(&report(Kind::Stop, "s1", 1, 7, &[]));
    assert_eq!(w.phone("2001:db8:0:1::9"), None);
}

#[test]
fn a_prefix_within_another_ends_it_and_the_other_way_round() {
    let wide = "2001:db8::/56";
    for (first, second) in [(SIX, wide), (wide, SIX)] {
        let mut w = World::new();
        w.hear(&report(Kind::Start, "s1", 1, 0, &[first]));
        w.at(5).hear(&report(Kind::Start, "s2", 2, 5, &[second]));
        assert_eq!(w.phone("2001:db8:0:1::1").as_deref(), Some("2"));
        assert_eq!(w.table.len(), 1);
    }
}

#[test]
fn the_addresses_of_two_access_point_names_may_be_the_same() {
    let mut w = World::new();
    w.hear(&report(Kind::Start, "s1", 1, 0, &[A]));
    let ims: Apn = "ims".parse().unwrap();
    let start = report(Kind::Start, "s2", 2, 0, &[A]);
    w.hear(&Report { apn: Some(ims.clone()), ..start });
    let address = "192.0.2.1".parse().unwrap();
    assert_eq!(w.table.whose(address, None), Whose::Several);
    assert_eq!(w.table.bearer_of(address, None), None, "it cannot be said whose");
    let imsi = |b: &Bearer| b.imsi.as_str()[14..].to_owned();
    assert_eq!(w.table.bearer_of(address, Some(&ims)).map(imsi).as_deref(), Some("2"));
    w.hear(&report(Kind::Stop, "s1", 1, 1, &[A]));
    assert_eq!(w.phone("192.0.2.1").as_deref(), Some("2"));
}

#[test]
fn contexts_that_share_an_address_end_with_the_last_of_them() {
    let context = |kind, session, nsapi, at| Report {
        nsapi: Some(nsapi),
        ..report(kind, session, 1, at, &[A])
    };
    let mut w = World::new();
    w.hear(&context(Kind::Start, "s1", 5, 0));
    w.at(1).hear(&context(Kind::Start, "s2", 6, 1));
    let (_, changes) = w.at(2).changes(&context(Kind::Stop, "s2", 6, 2));
    assert!(matches!(changes.as_slice(), [Change::Put(b)] if b.session == "s1"), "{changes:?}");
    assert_eq!(w.phone("192.0.2.1").as_deref(), Some("1"));
    // The gateway says that all are gone.
    w.at(3).hear(&context(Kind::Start, "s3", 7, 3));
    let last = Report { last_context: true, ..context(Kind::Stop, "s3", 7, 4) };
    assert_eq!(w.at(4).hear(&last), News::Ended);
    assert!(w.table.is_empty());
    // The same context again is another session: the phone lost its old one.
    w.at(5).hear(&context(Kind::Start, "s4", 5, 5));
    w.at(6).hear(&context(Kind::Start, "s5", 5, 6));
    assert_eq!(w.table.len(), 1);
    // And another subscriber's is no context of it.
    let other = Report { nsapi: Some(6), ..report(Kind::Start, "s6", 2, 7, &[A]) };
    w.at(7).hear(&other);
    assert_eq!((w.table.len(), w.phone("192.0.2.1").as_deref()), (1, Some("2")));
}

#[test]
fn a_subscriber_is_found_by_telephone_number_as_it_is_now() {
    let mut w = World::new();
    let number = |n: u8| format!("44770090000{n}").parse().unwrap();
    w.hear(&report(Kind::Start, "s1", 1, 0, &[A, SIX]));
    assert_eq!(w.table.bearer_with_msisdn(&number(1)).map(|b| b.session.as_str()), Some("s1"));
    let moved = Report { msisdn: Some(number(7)), ..report(Kind::Interim, "s1", 1, 5, &[A]) };
    w.at(5).hear(&moved);
    assert_eq!(w.table.bearer_with_msisdn(&number(1)), None);
    assert!(w.table.bearer_with_msisdn(&number(7)).is_some());
    // Where two say that it is theirs, it is nobody's.
    w.at(6).hear(&Report { msisdn: Some(number(7)), ..report(Kind::Start, "s2", 2, 6, &[B]) });
    assert_eq!(w.table.bearer_with_msisdn(&number(7)), None);
    w.at(7).hear(&report(Kind::Stop, "s1", 1, 7, &[]));
    assert_eq!(w.table.bearer_with_msisdn(&number(7)).map(|b| b.session.as_str()), Some("s2"));
}

#[test]
fn a_report_without_address_or_subscriber_begins_nothing_but_goes_on_with_what_there_is() {
    let mut w = World::new();
    assert_eq!(w.hear(&report(Kind::Start, "s1", 1, 0, &[])), News::NoAddress);
    let nobody = Report { imsi: None, ..report(Kind::Start, "s1", 1, 0, &[A]) };
    assert_eq!(w.hear(&nobody), News::NoImsi);
    w.hear(&report(Kind::Start, "s1", 1, 0, &[A]));
    let bare = Report { imsi: None, apn: None, ..report(Kind::Interim, "s1", 1, 1800, &[]) };
    assert_eq!(w.at(1800).hear(&bare), News::Goes);
    w.at(3600);
    assert_eq!(w.table.handle_timeout(w.now(), 10), []);
    assert_eq!(w.phone("192.0.2.1").as_deref(), Some("1"));
}

#[test]
fn there_are_no_more_bearers_than_there_may_be() {
    let settings = Settings { bearers: 1, ..Settings::default() };
    let mut w = World { table: Table::new(settings), clock: 0 };
    w.hear(&report(Kind::Start, "s1", 1, 0, &[A]));
    assert_eq!(w.hear(&report(Kind::Start, "s2", 2, 0, &[B])), News::Full);
    assert_eq!(w.hear(&report(Kind::Start, "s3", 3, 1, &[A])), News::Began, "in its place");
    assert_eq!(w.table.len(), 1);
}

#[test]
fn what_was_kept_is_taken_back_and_is_as_old_as_it_was() {
    let mut w = World::new();
    w.hear(&report(Kind::Start, "s1", 1, 0, &[A, SIX]));
    w.hear(&report(Kind::Start, "s2", 2, 0, &[B]));
    let kept: Vec<Bearer> = w.table.bearers_of(&"ggsn-1".parse().unwrap()).cloned().collect();
    let mut again = World::new();
    again.at(3000);
    let today = UnixTime((NOON + 3000) * 1000);
    for bearer in &kept {
        again.table.restore(bearer.clone(), today, again.now());
        again.table.restore(bearer.clone(), today, again.now());
    }
    assert_eq!(again.table.len(), 3);
    assert_eq!(again.phone("2001:db8:0:1::5").as_deref(), Some("1"));
    assert_eq!(again.hear(&report(Kind::Interim, "s2", 2, 3000, &[B])), News::Goes);
    again.at(3600);
    assert_eq!(again.table.handle_timeout(again.now(), 10).len(), 2);
    assert_eq!(again.hear(&report(Kind::Stop, "s2", 2, 3600, &[B])), News::Ended);
    // What was silent for too long while we were away is so at once.
    let mut late = World::new();
    late.at(9000);
    late.table.restore(kept[0].clone(), UnixTime((NOON + 9000) * 1000), late.now());
    assert_eq!(late.table.handle_timeout(late.now(), 10).len(), 1);
}

#[test]
fn a_gateway_that_nobody_believes_any_more_has_no_bearers_and_others_keep_theirs() {
    let mut w = World::new();
    w.hear(&report(Kind::Start, "s1", 1, 0, &[A]));
    let other =
        Report { gateway: "ggsn-2".parse().unwrap(), ..report(Kind::Start, "s1", 2, 0, &[B]) };
    w.hear(&other);
    let gone = "ggsn-1".parse().unwrap();
    let now = w.at(1).now();
    let cleared = Change::Cleared { gateway: "ggsn-1".parse().unwrap() };
    assert_eq!(w.table.forget_gateway(&gone, now), std::slice::from_ref(&cleared));
    assert_eq!((w.phone("192.0.2.1"), w.phone("192.0.2.2").as_deref()), (None, Some("2")));
    assert_eq!(w.table.len(), 1);
    assert_eq!(w.table.forget_gateway(&gone, now), [cleared], "that nothing is there is kept");
}

#[test]
fn what_is_made_in_the_second_of_an_off_came_before_it_and_in_that_of_an_on_after_it() {
    let boot = |kind| Report { imsi: None, ..report(kind, "boot", 0, 5, &[]) };
    for (kind, survives) in [(Kind::Off, false), (Kind::On, true)] {
        let mut w = World::new();
        w.at(5).hear(&report(Kind::Start, "s1", 1, 5, &[A]));
        w.hear(&boot(kind));
        assert_eq!(w.phone("192.0.2.1").is_some(), survives, "{kind}, behind the Start");
        let mut w = World::new();
        w.at(5).hear(&boot(kind));
        w.hear(&report(Kind::Start, "s1", 1, 5, &[A]));
        assert_eq!(w.phone("192.0.2.1").is_some(), survives, "{kind}, ahead of the Start");
    }
}

#[test]
fn a_session_that_its_gateway_has_spoken_of_since_outlives_an_on_that_comes_late() {
    let mut w = World::new();
    w.hear(&report(Kind::Start, "s1", 1, 0, &[A]));
    w.at(9).hear(&report(Kind::Interim, "s1", 1, 9, &[A]));
    let on = Report { imsi: None, ..report(Kind::On, "boot", 0, 5, &[]) };
    assert_eq!(w.at(10).hear(&on), News::Restarted);
    assert_eq!(w.phone("192.0.2.1").as_deref(), Some("1"));
}

#[test]
fn a_stop_from_before_what_was_forgotten_is_late_and_not_remembered() {
    let mut w = World::new();
    w.hear(&report(Kind::Start, "s1", 1, 0, &[A]));
    w.at(10).hear(&report(Kind::Stop, "s1", 1, 10, &[A]));
    let now = w.at(700).now();
    w.table.handle_timeout(now, 9);
    assert_eq!(w.hear(&report(Kind::Stop, "s2", 2, 5, &[B])), News::Late);
    assert_eq!(w.table.remembered(), 0);
}

#[test]
fn a_stop_in_anothers_name_ends_nothing() {
    let mut w = World::new();
    w.hear(&report(Kind::Start, "s1", 1, 0, &[A]));
    assert_eq!(w.at(5).hear(&report(Kind::Stop, "s1", 2, 5, &[A])), News::Late);
    assert_eq!(w.phone("192.0.2.1").as_deref(), Some("1"));
}

#[test]
fn the_last_context_of_a_connection_ends_none_that_came_after_it_and_none_of_anothers() {
    let last = |session: &str, at| Report {
        nsapi: Some(5),
        last_context: true,
        ..report(Kind::Stop, session, 1, at, &[A])
    };
    for (phone, stop) in [(1, last("s1", 10)), (2, last("s1", 30))] {
        let mut w = World::new();
        w.hear(&report(Kind::Start, "s1", 1, 0, &[A]));
        w.at(20).hear(&report(Kind::Start, "s2", phone, 20, &[A]));
        w.at(31).hear(&stop);
        assert_eq!(w.phone("192.0.2.1"), Some(phone.to_string()));
    }
}

#[test]
fn what_has_no_date_and_was_sent_before_an_on_begins_nothing() {
    let mut w = World::new();
    let on = Report { imsi: None, ..report(Kind::On, "boot", 0, 10, &[]) };
    w.at(10).hear(&on);
    let start = |delay| undated(Report { delay, ..report(Kind::Start, "s1", 1, 0, &[A]) });
    assert_eq!(w.at(12).hear(&start(5)), News::Late);
    assert_eq!(w.hear(&start(1)), News::Began);
}

#[test]
fn a_report_from_before_the_last_moves_no_address_and_changes_no_owner() {
    let mut w = World::new();
    w.at(10).hear(&report(Kind::Start, "s1", 1, 10, &[A]));
    assert_eq!(w.hear(&report(Kind::Interim, "s1", 1, 5, &[B])), News::Late);
    assert_eq!(w.hear(&report(Kind::Start, "s1", 2, 5, &[A])), News::Late);
    assert_eq!(w.hear(&report(Kind::Start, "s1", 2, 10, &[A])), News::Late, "at the same moment");
    assert_eq!((w.phone("192.0.2.1").as_deref(), w.phone("192.0.2.2")), (Some("1"), None));
}

#[test]
fn a_session_that_was_silent_comes_back_by_news_alone_and_not_over_who_came_after_it() {
    let mut w = World::new();
    w.hear(&report(Kind::Start, "s1", 1, 0, &[A]));
    w.at(100).hear(&report(Kind::Interim, "s1", 1, 100, &[A]));
    let now = w.at(3700).now();
    assert_eq!(w.table.handle_timeout(now, 9).len(), 1);
    assert_eq!(w.hear(&report(Kind::Interim, "s1", 1, 50, &[A])), News::Late);
    w.hear(&report(Kind::Start, "s2", 2, 3700, &[A]));
    assert_eq!(w.at(3800).hear(&report(Kind::Interim, "s1", 1, 3800, &[A])), News::Late);
    assert_eq!(w.phone("192.0.2.1").as_deref(), Some("2"));
}

#[test]
fn a_session_that_goes_on_gets_no_more_addresses_than_there_is_room_for() {
    let settings = Settings { bearers: 1, ..Settings::default() };
    let mut w = World { table: Table::new(settings), clock: 0 };
    w.hear(&report(Kind::Start, "s1", 1, 0, &[A]));
    assert_eq!(w.at(5).hear(&report(Kind::Interim, "s1", 1, 5, &[A, SIX])), News::Full);
    assert_eq!((w.table.len(), w.phone("192.0.2.1").as_deref()), (1, Some("1")));
}
