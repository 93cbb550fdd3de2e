//! How many records a second become durable, and how long each takes, with so many outstanding;
//! and the same while old sessions are deleted, if there are any.
//!
//! `pace [seconds] [submitters] [outstanding each] [sessions] [directory] [old sessions] [records of
//! each]`

use std::collections::VecDeque;
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, Result};
use homeward_accounting::testing::{nas, record};
use homeward_accounting::{Kind, Period};
use homeward_daemon::SystemClock;
use homeward_ledger::{Entry, Ledger, Owner, Retention, Subject, User};
use homeward_model::{AccountId, ClassId, Clock, DeviceId, Instant, QuotaPeriod, UnixTime};

const BEGAN: UnixTime = UnixTime(1_800_000_000_000);

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let given: Vec<String> = std::env::args().skip(1).collect();
    let number = |at: usize, or: u64| given.get(at).map_or(Ok(or), |n| n.parse());
    let (seconds, submitters) = (number(0, 10)?, number(1, 4)?);
    let (outstanding, sessions) = (number(2, 32)?, number(3, 20_000)?);
    let under = given.get(4).map_or_else(std::env::temp_dir, PathBuf::from);
    let (old, records) = (number(5, 0)?, number(6, 10)?);
    let directory = tempfile::tempdir_in(under)?;
    let ledger = Arc::new(Ledger::open(&directory.path().join("ledger.db")).await?);
    let per = sessions / submitters;
    let go = |round, until: Option<Instant>, stop: Arc<AtomicBool>| {
        let ledger = Arc::clone(&ledger);
        let run = Run { per, outstanding, round, until, stop };
        tokio::task::spawn_blocking(move || pace(&ledger, submitters, &run))
    };
    let until = || Some(SystemClock.now() + Duration::from_secs(seconds));
    if old > 0 {
        let ledger = Arc::clone(&ledger);
        tokio::task::spawn_blocking(move || grow_old(&ledger, old, records)).await??;
    }
    go(0, until(), Arc::default()).await??;
    if old > 0 {
        let stop: Arc<AtomicBool> = Arc::default();
        let going = go(1_000_000, None, Arc::clone(&stop));
        let (from, before) = (SystemClock.now(), ledger.counters().commits.get());
        let rule = Retention { class: Some(OLD), before: BEGAN, exported: None };
        let gone = ledger.forget_sessions(&rule).await?;
        let took = SystemClock.now().since(from).as_secs_f64();
        stop.store(true, Ordering::Relaxed);
        going.await??;
        let commits = ledger.counters().commits.get() - before;
        say(&format!(
            "meanwhile {gone} sessions of {records} records deleted in {took:.1} s: {:.0} records/s, \
             {commits} commits in all",
            gone as f64 * records as f64 / took
        ));
    }
    let month = Period::of(QuotaPeriod::Month, BEGAN);
    let kept = ledger.reader().usage(Subject::Account(AccountId(0)), month).await?;
    anyhow::ensure!(kept.input > 0, "nothing was kept");
    Arc::into_inner(ledger).context("in use")?.close().await;
    Ok(())
}

#[expect(clippy::print_stdout, reason = "a figure is what it is run for")]
fn say(line: &str) {
    println!("{line}");
}

/// Of sessions that ended long ago.
const OLD: ClassId = ClassId(2);

/// Has so many sessions come and go, all at the same time, so that records of many lie between two
/// of one, as they do where sessions last.
fn grow_old(ledger: &Ledger, sessions: u64, records: u64) -> Result<()> {
    let mut waiting = VecDeque::new();
    let nas = nas("gw-old");
    for turn in 0..records {
        for session in 0..sessions {
            let kind = match turn {
                _ if turn + 1 == records => Kind::Stop,
                0 => Kind::Start,
                _ => Kind::Interim,
            };
            let began = UnixTime(BEGAN.0 - 100 * 86_400_000);
            let (name, seconds) = (format!("{session:012X}"), u32::try_from(turn * 600)?);
            let record = record(nas.clone(), &name, kind, began, seconds, (turn, turn));
            let received = record.event.context("dated")?;
            let session = i64::try_from(session)?;
            let (account, user) = (AccountId(session / 4), User::Device(DeviceId(session)));
            let owner = Some(Owner { account, user, class: OLD });
            waiting.push_back(ledger.submit(Entry { record, received, owner, host: None })?);
            if waiting.len() >= 8192 {
                waiting.pop_front().context("there are many")?.wait()?;
            }
        }
    }
    waiting.into_iter().try_for_each(|pending| pending.wait().map(drop))?;
    Ok(())
}

/// Who submits, and for how long.
struct Run {
    /// Sessions of each.
    per: u64,
    outstanding: u64,
    /// The first report of each, so that a further run repeats none.
    round: u64,
    /// Until then, or until it is told to stop.
    until: Option<Instant>,
    stop: Arc<AtomicBool>,
}

/// Submits, and says at what pace that went.
fn pace(ledger: &Ledger, submitters: u64, run: &Run) -> Result<()> {
    let (from, before) = (SystemClock.now(), ledger.counters().commits.get());
    let mut times: Vec<u64> = std::thread::scope(|scope| {
        let threads: Vec<_> =
            (0..submitters).map(|s| scope.spawn(move || submit(ledger, s, run))).collect();
        let joined = threads.into_iter().map(|t| t.join().map_err(|_| anyhow::anyhow!("died"))?);
        joined.collect::<Result<Vec<_>>>().map(|times| times.concat())
    })?;
    let took = SystemClock.now().since(from);
    times.sort_unstable();
    let at = |share: f64| {
        let nth = (times.len() as f64 * share) as usize;
        times.get(nth.min(times.len().saturating_sub(1))).map_or(0.0, |n| *n as f64 / 1e6)
    };
    let commits = ledger.counters().commits.get() - before;
    say(&format!(
        "{:.0} records/s durable ({} records, {} commits, {:.0} records each); \
         p50 {:.2} ms, p99 {:.2} ms, p99.9 {:.2} ms, worst {:.2} ms",
        times.len() as f64 / took.as_secs_f64(),
        times.len(),
        commits,
        times.len() as f64 / commits as f64,
        at(0.5),
        at(0.99),
        at(0.999),
        at(1.0),
    ));
    Ok(())
}

/// Submits Interims of so many sessions in turn, with so many outstanding; gives how long each
/// took, in nanoseconds.
fn submit(ledger: &Ledger, submitter: u64, run: &Run) -> Result<Vec<u64>> {
    let sessions = run.per;
    let mut waiting = VecDeque::new();
    let mut times = Vec::new();
    let nas = nas(&format!("gw-{submitter}"));
    for n in 0.. {
        let now = SystemClock.now();
        let goes_on = run.until.map_or(!run.stop.load(Ordering::Relaxed), |until| now < until);
        if goes_on {
            let (round, session) = (run.round + n / sessions, n % sessions);
            let kind = if round == 0 { Kind::Start } else { Kind::Interim };
            let octets = (round * 1_000_000, round * 9_000_000);
            let seconds = u32::try_from(round * 600)?;
            let name = format!("{submitter:02}-{session:08X}");
            let record = record(nas.clone(), &name, kind, BEGAN, seconds, octets);
            let received = record.event.context("dated")?;
            let device = i64::try_from(submitter * sessions + session)?;
            let owner = Owner {
                account: AccountId(device / 4),
                user: User::Device(DeviceId(device)),
                class: ClassId(1),
            };
            let host = Some(IpAddr::V4(Ipv4Addr::LOCALHOST));
            let entry = Entry { record, received, owner: Some(owner), host };
            waiting.push_back((now, ledger.submit(entry)?));
        }
        if waiting.len() as u64 >= run.outstanding || !goes_on {
            let Some((sent, pending)) = waiting.pop_front() else { break };
            pending.wait()?;
            let took = SystemClock.now().since(sent);
            times.push(u64::try_from(took.as_nanos())?);
        }
    }
    Ok(times)
}
