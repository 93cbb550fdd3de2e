//! Any sequence of records, repetitions, closings and crashes: the books are what an oracle says
//! that has never heard of disks.

use std::collections::BTreeMap;
use std::fs;

use homeward_accounting::testing::{nas, record};
use homeward_accounting::{Cause, Day, Figures, Kind, Place, Record, Session};
use homeward_ledger::{Cursor, Entry, Ledger, Subject, User};
use homeward_model::{DeviceId, UnixTime};
use proptest::prelude::*;
use tempfile::TempDir;

use crate::world::{BEGAN, owner};

/// What happens.
#[derive(Debug, Clone, Copy)]
enum Op {
    /// A record of one of three sessions of one of two NASes, each with a life of its own.
    Record { nas: u8, session: u8, nth: u8, owned: bool },
    /// The NAS restarts, after so many minutes.
    Restart { nas: u8, minute: u8 },
    /// Time has come to look for silent sessions.
    Silence,
    /// The ledger is closed and opened.
    Reopen,
    /// The machine dies: what the disk has is opened elsewhere.
    Crash,
}

fn op() -> impl Strategy<Value = Op> {
    let owned = prop::bool::weighted(0.8);
    prop_oneof![
        30 => (0..2u8, 0..3u8, 0..8u8, owned)
            .prop_map(|(nas, session, nth, owned)| Op::Record { nas, session, nth, owned }),
        2 => (0..2u8, 0..60u8).prop_map(|(nas, minute)| Op::Restart { nas, minute }),
        2 => Just(Op::Silence),
        1 => Just(Op::Reopen),
        2 => Just(Op::Crash),
    ]
}

/// The records of a session: a Start, Interims every ten minutes, a Stop.
fn report(nas_number: u8, session: u8, nth: u8) -> Record {
    let kind = match nth {
        0 => Kind::Start,
        7 => Kind::Stop,
        _ => Kind::Interim,
    };
    let octets = u64::from(nth) * 1000 + u64::from(nth > 0) * u64::from(session);
    let name = nas(["gw-1", "gw-2"][usize::from(nas_number)]);
    let began = UnixTime(BEGAN.0 + i64::from(session) * 60_000);
    record(name, &format!("s-{session}"), kind, began, u32::from(nth) * 600, (octets, octets / 2))
}

/// The oracle: sessions in a map, usage in another, both from the pure machine and plain sums.
#[derive(Default)]
struct Oracle {
    sessions: BTreeMap<(u8, u8), (Session, Option<i64>)>,
    usage: BTreeMap<(i64, Day), Figures>,
    told: BTreeMap<(u8, u8), Figures>,
}

impl Oracle {
    fn record(&mut self, key: (u8, u8), entry: &Entry) {
        let settings = homeward_accounting::Settings::default();
        let Entry { record, received, owner, .. } = entry;
        let device = owner.map(|o| o.user.parts().1);
        let (applied, session, own) = match self.sessions.get_mut(&key) {
            Some((session, own)) => {
                assert_ne!(session.place(record, *received, &settings), Place::Later);
                (session.apply(record, *received, &settings), session, own)
            }
            None => {
                let (session, applied) = Session::begin(record, *received, &settings);
                let (session, own) = self.sessions.entry(key).or_insert((session, None));
                (applied, session, own)
            }
        };
        let grown = if own.is_none() && device.is_some() { session.figures } else { applied.delta };
        *own = own.or(device);
        if let Some(device) = *own {
            let usage = self.usage.entry((device, Day::of(applied.at))).or_default();
            *usage = usage.plus(grown);
        }
        if let Some(closing) = applied.closing {
            let told = self.told.entry(key).or_default();
            *told = told.plus(closing.delta);
        }
    }

    fn close(&mut self, cause: Cause, which: impl Fn((u8, u8), &Session) -> bool) {
        for (key, (session, _)) in &mut self.sessions {
            if which(*key, session)
                && let Some(closing) = session.close(cause)
            {
                let told = self.told.entry(*key).or_default();
                *told = told.plus(closing.delta);
            }
        }
    }
}

/// The ledger under test, and the directories it has lived in.
struct Subjected {
    directory: TempDir,
    ledger: Option<Ledger>,
}

impl Subjected {
    async fn new() -> Self {
        let directory = TempDir::new().unwrap();
        let ledger = Ledger::open(&directory.path().join("ledger.db")).await.unwrap();
        Self { directory, ledger: Some(ledger) }
    }

    fn ledger(&self) -> &Ledger {
        self.ledger.as_ref().unwrap()
    }

    async fn reopen(&mut self) {
        self.ledger.take().unwrap().close().await;
        self.ledger = Some(Ledger::open(&self.directory.path().join("ledger.db")).await.unwrap());
    }

    /// Opens what is on disk right now, as another machine would after this one's end. Nothing is
    /// under way, so the copies belong together but for what is being folded; that is only read
    /// from the log until it is done.
    async fn crash(&mut self) {
        let directory = TempDir::new().unwrap();
        for name in ["ledger.db", "ledger.db-wal"] {
            let (from, to) = (self.directory.path().join(name), directory.path().join(name));
            if from.exists() {
                fs::copy(from, to).unwrap();
            }
        }
        let ledger = Ledger::open(&directory.path().join("ledger.db")).await.unwrap();
        self.ledger.replace(ledger).unwrap().close().await;
        self.directory = directory;
    }
}

async fn run(ops: Vec<Op>) {
    let mut oracle = Oracle::default();
    let mut subject = Subjected::new().await;
    let settings = homeward_accounting::Settings::default();
    let mut now = BEGAN;
    for op in ops {
        match op {
            Op::Record { nas, session, nth, owned } => {
                let record = report(nas, session, nth);
                let received = record.event.unwrap().max(now);
                now = received;
                let own = owner(i64::from(nas) * 10 + i64::from(session));
                let owner = owned.then_some(own);
                let entry = Entry { record, received, owner, host: None };
                oracle.record((nas, session), &entry);
                subject.ledger().submit(entry).unwrap().await.unwrap();
            }
            Op::Restart { nas: n, minute } => {
                let client = nas(["gw-1", "gw-2"][usize::from(n)]);
                let at = UnixTime(BEGAN.0 + i64::from(minute) * 60_000);
                let record = record(client, "", Kind::On, at, 0, (0, 0));
                let entry = Entry { record, received: at, owner: None, host: None };
                let receipt = subject.ledger().submit(entry).unwrap().await.unwrap();
                if !receipt.repeated {
                    oracle.close(Cause::Restart, |(nas, _), s| nas == n && s.ends_with(at, None));
                }
                // Its sessions are closed after the receipt: nothing may come before that here.
                until_restarted(&subject, &oracle).await;
            }
            Op::Silence => {
                now = UnixTime(now.0 + 40 * 60_000);
                oracle.close(Cause::Lost, |_, s| s.is_silent(now, &settings));
                subject.ledger().close_silent(now).await.unwrap();
            }
            Op::Reopen => subject.reopen().await,
            Op::Crash => subject.crash().await,
        }
    }
    check(&subject, &oracle).await;
    subject.reopen().await;
    check(&subject, &oracle).await;
}

async fn until_restarted(subject: &Subjected, oracle: &Oracle) {
    let open = oracle.sessions.values().filter(|(s, _)| s.phase.as_str() != "closed").count();
    let filter = homeward_ledger::OpenFilter::default();
    while subject.ledger().reader().open_sessions(filter, 100).await.unwrap().len() > open {}
}

async fn check(subject: &Subjected, oracle: &Oracle) {
    let reader = subject.ledger().reader();
    let mut told: BTreeMap<_, Figures> = BTreeMap::new();
    let mut closes: BTreeMap<_, u32> = BTreeMap::new();
    for row in reader.closings(Cursor::default(), 10_000).await.unwrap() {
        let sum = told.entry(row.session).or_default();
        *sum = sum.plus(row.delta);
        *closes.entry(row.session).or_default() += u32::from(row.kind.as_str() == "close");
    }
    for ((n, session), (expected, own)) in &oracle.sessions {
        let client = nas(["gw-1", "gw-2"][usize::from(*n)]);
        let found = reader.sessions_named(&client, &format!("s-{session}")).await.unwrap();
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].session, *expected);
        assert_eq!(found[0].owner.map(|o| o.user.parts().1), *own);
        let expected = oracle.told.get(&(*n, *session)).copied();
        assert_eq!(told.get(&found[0].id).copied(), expected);
        assert_eq!(closes.get(&found[0].id).copied(), expected.map(|_| 1), "it ended once");
        let records = reader.records(found[0].id).await.unwrap();
        let mut kinds: Vec<_> = records.iter().map(|r| (r.kind, r.figures)).collect();
        kinds.sort_unstable();
        kinds.dedup();
        assert_eq!(kinds.len(), records.len(), "each record once");
    }
    for ((device, day), figures) in &oracle.usage {
        let period = homeward_accounting::Period { first: *day, end: day.plus(1) };
        let found =
            reader.usage(Subject::User(User::Device(DeviceId(*device))), period).await.unwrap();
        assert_eq!(found, *figures, "device {device} on {day}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(40) })]

    #[test]
    fn the_books_are_what_the_oracle_says(ops in proptest::collection::vec(op(), 1..60)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(run(ops));
    }
}
