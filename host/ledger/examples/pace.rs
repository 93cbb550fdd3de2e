//! How many records a second become durable, and how long each takes, with so many outstanding.
//!
//! `pace [seconds] [submitters] [outstanding each] [sessions] [directory]`

use std::collections::VecDeque;
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result};
use homeward_accounting::testing::{nas, record};
use homeward_accounting::{Kind, Period};
use homeward_daemon::SystemClock;
use homeward_ledger::{Entry, Ledger, Owner, Subject, User};
use homeward_model::{AccountId, ClassId, Clock, DeviceId, Instant, QuotaPeriod, UnixTime};

const BEGAN: UnixTime = UnixTime(1_800_000_000_000);

#[tokio::main(flavor = "current_thread")]
#[expect(clippy::print_stdout, reason = "a figure is what it is run for")]
async fn main() -> Result<()> {
    let given: Vec<String> = std::env::args().skip(1).collect();
    let number = |at: usize, or: u64| given.get(at).map_or(Ok(or), |n| n.parse());
    let (seconds, submitters) = (number(0, 10)?, number(1, 4)?);
    let (outstanding, sessions) = (number(2, 32)?, number(3, 20_000)?);
    let under = given.get(4).map_or_else(std::env::temp_dir, PathBuf::from);
    let directory = tempfile::tempdir_in(under)?;
    let ledger = Ledger::open(&directory.path().join("ledger.db")).await?;

    let from = SystemClock.now();
    let until = from + Duration::from_secs(seconds);
    let per = sessions / submitters;
    let mut times: Vec<u64> = std::thread::scope(|scope| {
        let ledger = &ledger;
        let threads: Vec<_> = (0..submitters)
            .map(|s| scope.spawn(move || submit(ledger, s, per, outstanding, until)))
            .collect();
        let joined = threads.into_iter().map(|t| t.join().map_err(|_| anyhow::anyhow!("died"))?);
        joined.collect::<Result<Vec<_>>>().map(|times| times.concat())
    })?;
    let took = SystemClock.now().since(from);
    times.sort_unstable();
    let at = |share: f64| {
        let nth = (times.len() as f64 * share) as usize;
        times.get(nth.min(times.len().saturating_sub(1))).map_or(0.0, |n| *n as f64 / 1e6)
    };
    let commits = ledger.counters().commits.get();
    println!(
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
    );
    let month = Period::of(QuotaPeriod::Month, BEGAN);
    let kept = ledger.reader().usage(Subject::Account(AccountId(0)), month).await?;
    anyhow::ensure!(kept.input > 0, "nothing was kept");
    ledger.close().await;
    Ok(())
}

/// Submits Interims of so many sessions in turn until then, with so many outstanding; gives how
/// long each took, in nanoseconds.
fn submit(
    ledger: &Ledger,
    submitter: u64,
    sessions: u64,
    outstanding: u64,
    until: Instant,
) -> Result<Vec<u64>> {
    let mut waiting = VecDeque::new();
    let mut times = Vec::new();
    let nas = nas(&format!("gw-{submitter}"));
    for n in 0.. {
        let now = SystemClock.now();
        if now < until {
            let (round, session) = (n / sessions, n % sessions);
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
        if waiting.len() as u64 >= outstanding || now >= until {
            let Some((sent, pending)) = waiting.pop_front() else { break };
            pending.wait()?;
            let took = SystemClock.now().since(sent);
            times.push(u64::try_from(took.as_nanos())?);
        }
    }
    Ok(times)
}
