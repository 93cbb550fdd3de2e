//! What is kept, and counted once.

use homeward_accounting::testing::{nas, record};
use homeward_accounting::{Cause, Figures, Kind, News, Period, Phase};
use homeward_ledger::{
    Entry, LedgerReader, OpenFilter, Owner, Retention, Settings, Subject, SubmitError, User,
};
use homeward_model::{AccountId, ClassId, DeviceId, LoginId, Mac, QuotaPeriod, UnixTime};

use crate::world::{BEGAN, World, at, came, entry, owner};

#[tokio::test]
async fn a_session_its_records_and_usage_are_kept() {
    let world = World::new().await;
    let mut start = entry("a-1", Kind::Start, 0, 0);
    start.record.station = Some(Mac::new([2, 0, 0x5e, 0x10, 0, 1]));
    start.record.user_name = Some(homeward_accounting::Private(b"ann".to_vec()));
    start.record.class = vec![b"hw:1:2".to_vec()];
    start.record.address6 =
        Some(homeward_accounting::Private(("2001:db8::1".parse().unwrap(), 64)));
    let began = world.submit(start.clone()).await.session.unwrap();
    assert_eq!(began.applied.news, News::Began);
    let grown = world.report(Kind::Interim, 60, 100).await.session.unwrap();
    assert_eq!((grown.charged.input, grown.charged.output), (100, 200));
    world.report(Kind::Stop, 90, 250).await;

    let world = world.reopened().await;
    let view = world.session("a-1").await;
    assert_eq!((view.id, view.owner), (began.id, Some(owner(11))));
    assert_eq!((view.session.phase, view.session.figures.input), (Phase::Closed, 250));
    assert_eq!(view.session.facts.station, start.record.station);
    assert_eq!(view.session.facts.user_name, start.record.user_name);
    assert_eq!(view.session.facts.class, Some(b"hw:1:2".to_vec()));
    assert_eq!(view.session.facts.address6, start.record.address6);
    assert_eq!(world.usage(11).await, view.session.figures);
    let records = world.ledger.reader().records(view.id).await.unwrap();
    let kinds: Vec<Kind> = records.iter().map(|r| r.kind).collect();
    assert_eq!(kinds, [Kind::Start, Kind::Interim, Kind::Stop]);
    assert!(records[0].is(&start.record));
    assert_eq!(world.told().await, [("close", "stop", 250)]);
}

#[tokio::test]
async fn a_repetition_is_answered_again_and_counted_once_across_restarts_too() {
    let mut world = World::new().await;
    let all = [(Kind::Start, 0, 0), (Kind::Interim, 60, 100), (Kind::Stop, 90, 250)];
    for (kind, seconds, octets) in all {
        assert!(!world.report(kind, seconds, octets).await.repeated);
        assert!(world.report(kind, seconds, octets).await.repeated, "{kind}");
        world = world.reopened().await;
        let again = world.report(kind, seconds, octets).await;
        assert!(again.repeated, "{kind}");
        assert_eq!(again.session.unwrap().charged, Figures::ZERO);
    }
    assert_eq!(world.usage(11).await.input, 250);
    let id = world.session("a-1").await.id;
    assert_eq!(world.ledger.reader().records(id).await.unwrap().len(), 3);
    assert_eq!(world.told().await.len(), 1);
}

#[tokio::test]
async fn a_repetition_in_one_transaction_is_recognised() {
    let world = World::new().await;
    let twice =
        [(); 2].map(|()| world.ledger.submit(entry("a-1", Kind::Interim, 60, 100)).unwrap());
    let mut repeated = Vec::new();
    for pending in twice {
        repeated.push(pending.await.unwrap().repeated);
    }
    assert_eq!(repeated, [false, true]);
}

#[tokio::test]
async fn a_record_that_was_overtaken_is_kept_and_adds_nothing() {
    let world = World::new().await;
    world.report(Kind::Interim, 120, 500).await;
    let late = world.report(Kind::Interim, 60, 100).await;
    assert!(!late.repeated);
    assert_eq!(late.session.unwrap().charged, Figures::ZERO);
    assert!(world.report(Kind::Interim, 60, 100).await.repeated);
    let id = world.session("a-1").await.id;
    assert_eq!(world.ledger.reader().records(id).await.unwrap().len(), 2);
}

#[tokio::test]
async fn a_session_whose_owner_is_learnt_late_is_charged_whole_then() {
    let world = World::new().await;
    let unknown = Entry { owner: None, ..entry("a-1", Kind::Interim, 60, 100) };
    assert_eq!(world.submit(unknown).await.session.unwrap().charged, Figures::ZERO);
    let known = world.report(Kind::Interim, 120, 150).await.session.unwrap();
    assert_eq!(known.charged.input, 150);
    assert_eq!(world.usage(11).await.input, 150);
}

#[tokio::test]
async fn usage_is_by_device_account_and_day() {
    let world = World::new().await;
    for (name, device, seconds, octets) in
        [("a", 11, 60, 5), ("b", 12, 60, 7), ("b", 12, 90_000, 10), ("c", 21, 60, 100)]
    {
        let mut entry = entry(name, Kind::Interim, seconds, octets);
        entry.owner = Some(owner(device));
        world.submit(entry).await;
    }
    let reader = world.ledger.reader();
    let of = async |subject, period| reader.usage(subject, period).await.unwrap().input;
    let month = Period::of(QuotaPeriod::Month, BEGAN);
    let (today, tomorrow) =
        (Period::of(QuotaPeriod::Day, BEGAN), Period::of(QuotaPeriod::Day, at(90_000)));
    let (one, two) = (Subject::Account(AccountId(1)), Subject::Account(AccountId(2)));
    assert_eq!((of(one, month).await, of(two, month).await), (15, 100));
    assert_eq!((of(one, today).await, of(one, tomorrow).await), (12, 3));
    assert_eq!(of(Subject::User(User::Device(DeviceId(12))), month).await, 10);
    assert_eq!(of(Subject::User(User::Device(DeviceId(99))), month).await, 0);
    let days = reader.usage_by_day(one, month).await.unwrap();
    assert_eq!(days.iter().map(|d| d.user.parts().1).collect::<Vec<_>>(), [11, 12, 12]);
}

#[tokio::test]
async fn a_log_in_and_a_device_of_the_same_number_are_two() {
    let world = World::new().await;
    let (device, login) = (User::Device(DeviceId(12)), User::Login(LoginId(12)));
    for (name, user, octets) in [("a", device, 5), ("b", login, 70), ("c", login, 200)] {
        let mut entry = entry(name, Kind::Interim, 60, octets);
        entry.owner = Some(Owner { user, ..owner(12) });
        world.submit(entry).await;
    }
    let reader = world.ledger.reader();
    let month = Period::of(QuotaPeriod::Month, BEGAN);
    let of = async |subject| reader.usage(subject, month).await.unwrap().input;
    assert_eq!((of(Subject::User(device)).await, of(Subject::User(login)).await), (5, 270));
    assert_eq!(of(Subject::Account(owner(12).account)).await, 275);
    let mut all = Vec::new();
    let since = month.first;
    reader.each_usage_since(since, |d| all.push((d.user, d.figures.input))).await.unwrap();
    all.sort_unstable();
    assert_eq!(all, [(device, 5), (login, 270)]);
    reader.each_usage_since(month.end, |d| panic!("{d:?}")).await.unwrap();
    let by_day = reader.usage_by_day(Subject::Account(owner(12).account), month).await.unwrap();
    assert_eq!(by_day.iter().map(|d| d.user).collect::<Vec<_>>(), [device, login]);
    let filter = OpenFilter { user: Some(login), ..OpenFilter::default() };
    let open = reader.open_sessions(filter, 10).await.unwrap();
    assert_eq!(open.iter().map(|s| s.session_id.as_str()).collect::<Vec<_>>(), ["b", "c"]);
}

#[tokio::test]
async fn silent_sessions_are_closed_once() {
    let world = World::new().await;
    for name in 0..600 {
        world.ledger.submit(entry(&format!("s-{name}"), Kind::Interim, 60, 100)).unwrap();
    }
    let lively = entry("lively", Kind::Interim, 1900, 100);
    world.submit(lively).await;
    assert_eq!(world.ledger.close_silent(at(1000)).await.unwrap(), 0);
    assert_eq!(world.ledger.close_silent(at(2000)).await.unwrap(), 600);
    assert_eq!(world.ledger.close_silent(at(2000)).await.unwrap(), 0);
    let told = world.told().await;
    assert!(told.len() == 600 && told.iter().all(|t| *t == ("close", "lost", 100)));
    // A late Stop corrects the one it is about, exactly once.
    for _ in 0..2 {
        world.submit(entry("s-7", Kind::Stop, 70, 130)).await;
    }
    assert_eq!(world.told().await[600..], [("correction", "stop", 30)]);
    let open = world.ledger.reader().open_sessions(OpenFilter::default(), 10).await.unwrap();
    assert_eq!(open.iter().map(|s| s.session_id.as_str()).collect::<Vec<_>>(), ["lively"]);
}

#[tokio::test]
async fn a_restart_closes_what_its_nas_had_open_and_nothing_else() {
    let world = World::new().await;
    for name in 0..600 {
        world.ledger.submit(entry(&format!("s-{name}"), Kind::Interim, 60, 100)).unwrap();
    }
    world.submit(came(record(nas("gw-9"), "s-1", Kind::Interim, BEGAN, 60, (1, 1)))).await;
    let restart = came(record(nas("gw-17"), "", Kind::On, BEGAN, 100, (0, 0)));
    let after = came(record(nas("gw-17"), "new", Kind::Start, at(100), 0, (0, 0)));
    // What began with it may come before it.
    world.submit(after).await;
    assert!(!world.submit(restart.clone()).await.repeated);
    assert!(world.submit(restart).await.repeated);
    world.until_open(2).await;
    assert_eq!(world.told().await.len(), 600);
    assert!(world.told().await.iter().all(|t| *t == ("close", "restart", 100)));
    let open = world.ledger.reader().open_sessions(OpenFilter::default(), 10).await.unwrap();
    let open: Vec<_> = open.iter().map(|s| (s.nas.to_string(), s.session_id.as_str())).collect();
    assert_eq!(open, [("gw-9".to_owned(), "s-1"), ("gw-17".to_owned(), "new")]);
}

#[tokio::test]
async fn a_restart_that_was_kept_is_carried_out_after_the_ledgers_own() {
    let world = World::new().await;
    for name in 0..2000 {
        world.ledger.submit(entry(&format!("s-{name}"), Kind::Interim, 60, 100)).unwrap();
    }
    world.submit(came(record(nas("gw-17"), "", Kind::Off, BEGAN, 100, (0, 0)))).await;
    // A few are closed at a time; the machine dies in between.
    let world = world.crashed().await;
    world.until_open(0).await;
    assert_eq!(world.told().await, vec![("close", "restart", 100); 2000]);
}

#[tokio::test]
async fn an_identifier_used_anew_is_another_session_that_is_charged_too() {
    let world = World::new().await;
    world.report(Kind::Interim, 600, 500).await;
    let anew = |kind, seconds, octets| {
        came(record(nas("gw-17"), "a-1", kind, at(10_000), seconds, (octets, 0)))
    };
    world.submit(anew(Kind::Start, 0, 0)).await;
    world.submit(anew(Kind::Stop, 60, 40)).await;
    // The Stop of the first, that was late, is the first's.
    let late = world.report(Kind::Stop, 700, 600).await;
    let sessions = world.sessions("a-1").await;
    assert_eq!(sessions.len(), 2);
    assert_eq!(late.session.unwrap().id, sessions[0].id);
    assert_eq!(sessions[0].session.end.unwrap().cause, Cause::Stop(1));
    assert_eq!(world.usage(11).await.input, 640);
    let told = world.told().await;
    let expected = [("close", "reused", 500), ("close", "stop", 40), ("correction", "stop", 100)];
    assert_eq!(told, expected);
}

#[tokio::test]
async fn more_than_may_wait_is_refused() {
    let world = World::with(Settings { queue: 4, ..Settings::default() }).await;
    let mut taken = Vec::new();
    let refused = loop {
        match world.ledger.submit(entry("a-1", Kind::Interim, 60, taken.len() as u64)) {
            Ok(pending) => taken.push(pending),
            Err(error) => break error,
        }
    };
    assert_eq!(refused, SubmitError::Full(4));
    for pending in taken {
        pending.await.unwrap();
    }
    assert_eq!(world.ledger.counters().refused.get(), 1);
}

#[tokio::test]
async fn what_has_been_kept_for_long_enough_is_forgotten() {
    let world = World::new().await;
    for (name, seconds) in [("old", 60), ("young", 5000)] {
        for kind in [Kind::Start, Kind::Stop] {
            world.submit(entry(name, kind, if kind == Kind::Stop { seconds } else { 0 }, 9)).await;
        }
    }
    world.submit(entry("open", Kind::Interim, 60, 9)).await;
    let rule = |class, exported| Retention { class, before: at(1000), exported };
    let forget = async |rule| world.ledger.forget_sessions(&rule).await.unwrap();
    assert_eq!(forget(rule(Some(ClassId(2)), None)).await, 0);
    assert_eq!(forget(rule(None, None)).await, 0);
    let read = world.ledger.reader().closings(Default::default(), 1).await.unwrap()[0].cursor;
    assert_eq!(forget(rule(Some(ClassId(1)), Some(Default::default()))).await, 0, "not exported");
    assert_eq!(forget(rule(Some(ClassId(1)), Some(read))).await, 1);
    assert!(world.sessions("old").await.is_empty());
    assert_eq!(world.told().await, [("close", "stop", 9)]);
    // Its name begins anew.
    assert!(!world.submit(entry("old", Kind::Start, 0, 0)).await.repeated);
    let again = world.session("old").await;
    assert_eq!(world.ledger.reader().records(again.id).await.unwrap().len(), 1);
    let before = world.usage(11).await;
    assert_eq!(world.ledger.forget_usage(homeward_accounting::Day::of(BEGAN)).await.unwrap(), 0);
    assert_eq!(world.usage(11).await, before);
    let tomorrow = homeward_accounting::Day::of(UnixTime(BEGAN.0 + 86_400_000));
    assert_eq!(world.ledger.forget_usage(tomorrow).await.unwrap(), 1);
    assert_eq!(world.usage(11).await, Figures::ZERO);
}

/// Sessions that are long or many go in pieces, and what comes meanwhile is written in between.
#[tokio::test]
async fn a_session_of_any_length_is_forgotten_whole_while_records_go_on() {
    let world = World::new().await;
    let mut pending = Vec::new();
    for n in 1..=10_000_u32 {
        pending.push(world.ledger.submit(entry("long", Kind::Interim, n, n.into())).unwrap());
    }
    pending.push(world.ledger.submit(entry("long", Kind::Stop, 10_001, 10_001)).unwrap());
    for name in 0..600 {
        pending.push(world.ledger.submit(entry(&format!("s-{name}"), Kind::Stop, 60, 1)).unwrap());
    }
    world.submit(entry("open", Kind::Interim, 60, 9)).await;
    for pending in pending {
        pending.await.unwrap();
    }
    let (id, open) = (world.session("long").await.id, world.session("open").await.id);
    let usage = world.usage(11).await;
    let before = world.ledger.counters().commits.get();
    let rule = Retention { class: Some(ClassId(1)), before: at(100_000), exported: None };
    let forgetting = world.ledger.forget_sessions(&rule);
    let (gone, receipt) = tokio::join!(forgetting, world.report(Kind::Start, 0, 0));
    assert_eq!(gone.unwrap(), 601);
    assert!(!receipt.repeated);
    // Ten pieces of 64 sessions, the last of which begins the long one, with 24 before it and of
    // its records 1,000; and nine of 1,024 records each.
    assert!(world.ledger.counters().commits.get() >= before + 19, "in pieces");
    assert!(world.ledger.reader().records(id).await.unwrap().is_empty());
    assert!(world.sessions("long").await.is_empty() && world.told().await.is_empty());
    assert_eq!(world.ledger.reader().records(open).await.unwrap().len(), 1);
    assert_eq!(world.usage(11).await, usage, "what was used stays used");
    let rest = world.rows("SELECT count(*) FROM record").await;
    assert_eq!(rest, 2, "of the open session, and of the new one");
    assert_eq!(world.rows("SELECT count(*) FROM closing").await, 0);
    assert_eq!(world.rows("SELECT count(*) FROM session").await, 2);
}

#[tokio::test]
async fn usage_of_any_number_is_forgotten_whole_a_few_at_a_time() {
    let world = World::new().await;
    let mut pending = Vec::new();
    for device in 0..1000 {
        let name = format!("s-{device}");
        let mut entry = entry(&name, Kind::Stop, 60, 1);
        entry.owner = Some(owner(device));
        pending.push(world.ledger.submit(entry).unwrap());
    }
    for pending in pending {
        pending.await.unwrap();
    }
    let before = world.ledger.counters().commits.get();
    let tomorrow = homeward_accounting::Day::of(UnixTime(BEGAN.0 + 86_400_000));
    assert_eq!(world.ledger.forget_usage(tomorrow).await.unwrap(), 1000);
    assert_eq!(world.rows("SELECT count(*) FROM usage").await, 0);
    assert!(world.ledger.counters().commits.get() >= before + 4, "256 at a time");
}

#[tokio::test]
async fn the_classes_of_ended_sessions_are_known_whether_they_exist_or_not() {
    let world = World::new().await;
    for (name, class, kind) in
        [("a", 7, Kind::Stop), ("b", 3, Kind::Stop), ("c", 7, Kind::Stop), ("d", 9, Kind::Interim)]
    {
        let mut entry = entry(name, kind, 60, 1);
        entry.owner = Some(Owner { class: ClassId(class), ..owner(11) });
        world.submit(entry).await;
    }
    let unknown = Entry { owner: None, ..entry("e", Kind::Stop, 60, 1) };
    world.submit(unknown).await;
    let classes = world.ledger.reader().classes_ended().await.unwrap();
    assert_eq!(classes, [ClassId(3), ClassId(7)]);
    let last = world.ledger.reader().last_closing().await.unwrap();
    let told = world.ledger.reader().closings(Default::default(), 100).await.unwrap();
    assert_eq!((told.len(), last), (4, told[3].cursor));
}

#[tokio::test]
async fn another_process_reads_while_this_one_writes_and_does_not_write() {
    let world = World::new().await;
    world.report(Kind::Interim, 60, 100).await;
    let other = LedgerReader::open(&world.path()).await.unwrap();
    assert_eq!(other.open_sessions(OpenFilter::default(), 10).await.unwrap().len(), 1);
    let second = homeward_ledger::Ledger::open(&world.path()).await.unwrap_err();
    assert!(second.to_string().contains("is another process's to write"), "{second}");
}
