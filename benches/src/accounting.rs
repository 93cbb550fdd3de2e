//! Accounting: interim records a second that are durable before they are answered, how long an
//! answer takes, and the server's CPU for one; beside FreeRADIUS with PostgreSQL, by Debian's tables
//! and queries, with the same sessions, from the same generator, runs in turn, both on one disk.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use nix::sys::statfs::{TMPFS_MAGIC, statfs};

use crate::figures::{Figure, median, percentile};
use crate::freeradius::FreeRadius;
use crate::load::{self, Ask};
use crate::lookup;
use crate::population::Population;
use crate::postgres::Postgres;
use crate::world::Core;

const LOGINS: Population = Population::logins(10_000);
const RUNS: usize = 5;
const SPAN: Duration = Duration::from_secs(5);
const ASK: Ask = Ask::Records(LOGINS);

/// What runs came to.
#[derive(Default)]
struct Samples {
    /// Records that were sent: counters go on from run to run.
    sent: u32,
    all: lookup::Samples,
    p50: Vec<f64>,
    p99: Vec<f64>,
}

impl Samples {
    fn take(&mut self, address: SocketAddr, cpu: impl Fn() -> Result<Duration>) -> Result<()> {
        let sent = &mut self.sent;
        let mut run = self.all.take_run(|| load::run_on(address, ASK, SPAN, sent), cpu)?;
        self.p50.push(percentile(&mut run.waits, 50));
        self.p99.push(percentile(&mut run.waits, 99));
        Ok(())
    }
}

pub(crate) fn measure() -> Result<()> {
    let folder = std::env::temp_dir();
    ensure!(
        statfs(&folder)?.filesystem_type() != TMPFS_MAGIC,
        "{} is in memory, where nothing is durable: set TMPDIR to a folder on a disk",
        folder.display()
    );
    let core = Core::start_accounting(LOGINS)?;
    let address = core.accounting.context("the core takes no records")?;
    let database = Postgres::start(LOGINS)?;
    database.keeps_records()?;
    let peer = FreeRadius::start_accounting(LOGINS, &database)?;
    let [mut ours, mut theirs] = [(); 2].map(|()| Samples::default());
    for (address, samples) in [(address, &mut ours), (peer.address, &mut theirs)] {
        load::run_on(address, ASK, Duration::from_secs(1), &mut samples.sent)?;
    }
    for _ in 0..RUNS {
        ours.take(address, || core.process.cpu())?;
        theirs.take(peer.address, || Ok(peer.process.cpu()? + database.cpu()?))?;
    }
    let name = peer.name.as_str();
    for (figure, unit, ours, theirs) in [
        ("accounting/durable", "1/s", &mut ours.all.rate, &mut theirs.all.rate),
        ("accounting/answer-p50", "ms", &mut ours.p50, &mut theirs.p50),
        ("accounting/answer-p99", "ms", &mut ours.p99, &mut theirs.p99),
        ("accounting/server-cpu", "us", &mut ours.all.cpu, &mut theirs.all.cpu),
    ] {
        Figure::alone(figure, unit, median(ours), RUNS).beside(name, median(theirs)).record()?;
    }
    Ok(())
}
