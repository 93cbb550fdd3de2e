//! Killed at any moment, the ledger has what it acknowledged, and once.
//!
//! A child process submits from several threads and tells each receipt over a socket as soon as
//! it has it; what reached the socket counts as acknowledged to a NAS. It is killed with SIGKILL
//! after a number of them that nobody can foresee, and started again: it repeats some of what was
//! acknowledged last and goes on. In the end the books are checked record by record.

use std::collections::BTreeMap;
use std::env;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::process::{Child, Command};
use std::sync::Mutex;

use homeward_accounting::testing::{nas, record};
use homeward_accounting::{Figures, Kind, Period};
use homeward_ledger::{Cursor, Entry, Ledger, LedgerReader, Owner, Subject, User};
use homeward_model::{AccountId, ClassId, DeviceId, QuotaPeriod};
use tempfile::TempDir;

use crate::world::BEGAN;

const DIRECTORY: &str = "HOMEWARD_LEDGER_KILL_DIRECTORY";
const NEXT: &str = "HOMEWARD_LEDGER_KILL_NEXT";
const KILLS: &str = "HOMEWARD_LEDGER_KILLS";

const THREADS: usize = 4;
/// How many each thread has outstanding.
const WINDOW: usize = 64;
/// How many of those acknowledged last come again after a kill.
const AGAIN: u64 = 25;
/// Records of each session: a Start, Interims, a Stop.
const RECORDS: u64 = 10;

/// What a thread submits at that step.
fn step(thread: usize, step: u64) -> Entry {
    let (session, nth) = (step / RECORDS, step % RECORDS);
    let kind = match nth {
        0 => Kind::Start,
        9 => Kind::Stop,
        _ => Kind::Interim,
    };
    let octets = nth * (1000 + session % 7);
    let seconds = u32::try_from(nth).unwrap() * 60;
    let name = format!("{thread}-{session}");
    let record = record(nas("gw-17"), &name, kind, BEGAN, seconds, (octets, 2 * octets));
    let received = record.event.unwrap();
    let owner = Some(device(thread, session));
    Entry { record, received, owner, host: None }
}

/// Whose that session is: ten devices a thread.
fn device(thread: usize, session: u64) -> Owner {
    let device = i64::try_from(thread * 10).unwrap() + i64::try_from(session % 10).unwrap();
    let account = AccountId(i64::try_from(thread).unwrap());
    Owner { account, user: User::Device(DeviceId(device)), class: ClassId(1) }
}

/// The child: not to be run by itself, and then it does nothing.
#[test]
fn the_process_that_is_killed() {
    let Ok(directory) = env::var(DIRECTORY) else { return };
    let directory = Path::new(&directory);
    let next = env::var(NEXT).unwrap();
    let next: Vec<u64> = next.split(',').map(|n| n.parse().unwrap()).collect();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let ledger = runtime.block_on(Ledger::open(&directory.join("ledger.db"))).unwrap();
    let socket = Mutex::new(UnixStream::connect(directory.join("socket")).unwrap());
    std::thread::scope(|scope| {
        for (thread, next) in next.into_iter().enumerate() {
            let (ledger, socket) = (&ledger, &socket);
            scope.spawn(move || {
                let mut outstanding = std::collections::VecDeque::new();
                for n in next.saturating_sub(AGAIN).. {
                    outstanding.push_back((n, ledger.submit(step(thread, n)).unwrap()));
                    if outstanding.len() >= WINDOW {
                        let (n, pending) = outstanding.pop_front().unwrap();
                        pending.wait().unwrap();
                        // In one write, for a kill not to cut it.
                        let line = format!("{thread} {n}\n");
                        socket.lock().unwrap().write_all(line.as_bytes()).unwrap();
                    }
                }
            });
        }
    });
}

struct Killed {
    directory: TempDir,
    listener: UnixListener,
    /// How many steps of each thread were acknowledged: all before that one.
    acknowledged: [u64; THREADS],
}

impl Killed {
    fn new() -> Self {
        let directory = TempDir::new().unwrap();
        let listener = UnixListener::bind(directory.path().join("socket")).unwrap();
        Self { directory, listener, acknowledged: [0; THREADS] }
    }

    fn start(&self) -> Child {
        Command::new(env::current_exe().unwrap())
            .args(["--exact", "kill::the_process_that_is_killed"])
            .env(DIRECTORY, self.directory.path())
            .env(NEXT, self.acknowledged.map(|n| n.to_string()).join(","))
            .stdout(std::process::Stdio::null())
            .spawn()
            .unwrap()
    }

    /// Runs the child until so many receipts were told, kills it, and takes in what it had told.
    fn run(&mut self, receipts: usize) {
        let mut child = self.start();
        let (socket, _) = self.listener.accept().unwrap();
        for (count, line) in BufReader::new(socket).lines().enumerate() {
            if count == receipts {
                child.kill().unwrap();
            }
            // Cut off by the kill.
            let Ok(line) = line else { break };
            let (thread, n) = line.split_once(' ').unwrap();
            let (thread, n): (usize, u64) = (thread.parse().unwrap(), n.parse().unwrap());
            let next = &mut self.acknowledged[thread];
            assert!(n <= *next, "in order");
            *next = (*next).max(n + 1);
        }
        child.wait().unwrap();
    }

    /// Checks the books.
    async fn check(&self) {
        let reader = LedgerReader::open(&self.directory.path().join("ledger.db")).await.unwrap();
        let closings = reader.closings(Cursor::default(), u32::MAX).await.unwrap();
        let mut told: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for row in closings {
            told.entry(row.session).or_default().push((row.kind.as_str(), row.delta));
        }
        let mut usage: BTreeMap<i64, Figures> = BTreeMap::new();
        for (thread, acknowledged) in self.acknowledged.into_iter().enumerate() {
            // What was submitted and not acknowledged may be there too.
            let last = (acknowledged + WINDOW as u64) / RECORDS;
            for session in 0..=last {
                let name = format!("{thread}-{session}");
                let found = reader.sessions_named(&nas("gw-17"), &name).await.unwrap();
                let steps = session * RECORDS..(session + 1) * RECORDS;
                let due = steps.clone().filter(|n| *n < acknowledged).count();
                assert!(found.len() == 1 || due == 0 && found.is_empty(), "{name}: {found:?}");
                let Some(view) = found.first() else { continue };
                let records = reader.records(view.id).await.unwrap();
                let mut greatest = Figures::ZERO;
                for n in steps {
                    let sent = step(thread, n).record;
                    let times = records.iter().filter(|r| r.is(&sent)).count();
                    assert!(times <= 1, "{name}: step {n} is there {times} times");
                    assert!(times == 1 || n >= acknowledged, "{name}: step {n} is missing");
                    if times == 1 {
                        greatest = greatest.join(sent.figures);
                    }
                }
                assert_eq!(view.session.figures, greatest, "{name}");
                let stopped = records.iter().any(|r| r.kind == Kind::Stop);
                let expected = if stopped { vec![("close", greatest)] } else { Vec::new() };
                assert_eq!(told.remove(&view.id).unwrap_or_default(), expected, "{name}");
                let device = usage.entry(device(thread, session).user.parts().1).or_default();
                *device = device.plus(greatest);
            }
        }
        assert!(told.is_empty(), "closings of nothing: {told:?}");
        let month = Period::of(QuotaPeriod::Month, BEGAN);
        for (device, figures) in usage {
            let subject = Subject::User(User::Device(DeviceId(device)));
            assert_eq!(reader.usage(subject, month).await.unwrap(), figures, "device {device}");
        }
        reader.close().await;
    }
}

#[tokio::test]
async fn nothing_acknowledged_is_missing_and_nothing_is_counted_twice_after_any_kill() {
    let kills: u64 = env::var(KILLS).map_or(20, |n| n.parse().unwrap());
    // The process's number makes it another number of receipts each time.
    let mut random = u64::from(std::process::id()) << 20;
    let (mut left, mut acknowledged) = (kills, 0);
    while left > 0 {
        let mut killed = Killed::new();
        for kill in 0..left.min(20) {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(kill | 1);
            killed.run(usize::try_from((random >> 33) % 2000).unwrap());
        }
        killed.check().await;
        left -= left.min(20);
        acknowledged += killed.acknowledged.iter().sum::<u64>();
    }
    assert!(acknowledged > kills, "something was acknowledged: {acknowledged}");
    println!("{kills} kills, {acknowledged} records acknowledged, 0 missing, 0 counted twice");
}
