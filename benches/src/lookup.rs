//! Look-ups per second, and server CPU per look-up, beside FreeRADIUS that has the same users in
//! memory, on the same two cores with the same generator, runs in turn.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Result;

use crate::figures::{Figure, median};
use crate::freeradius::FreeRadius;
use crate::load::{self, Ask, Outcome};
use crate::population::Population;
use crate::world::Core;

const HOMES: Population = Population::homes(10_000);
const RUNS: usize = 5;
const SPAN: Duration = Duration::from_secs(4);

pub(crate) fn measure() -> Result<()> {
    let core = Core::start(HOMES)?;
    let peer = FreeRadius::start(HOMES)?;
    let ask = Ask::LookUps(HOMES);
    let (mut ours, mut theirs) = (Samples::default(), Samples::default());
    // Once to warm up.
    load::run(core.address, ask, Duration::from_millis(500))?;
    load::run(peer.address, ask, Duration::from_millis(500))?;
    for _ in 0..RUNS {
        ours.take(core.address, ask, SPAN, || core.process.cpu())?;
        theirs.take(peer.address, ask, SPAN, || peer.process.cpu())?;
    }
    let name = peer.name.as_str();
    Figure::alone("lookup/throughput", "1/s", median(&mut ours.rate), RUNS)
        .beside(name, median(&mut theirs.rate))
        .record()?;
    Figure::alone("lookup/server-cpu", "us", median(&mut ours.cpu), RUNS)
        .beside(name, median(&mut theirs.cpu))
        .record()?;
    Figure::alone("lookup/core-resident", "MB", core.process.resident()?, 1)
        .beside(name, peer.process.resident()?)
        .record()
}

/// What runs came to.
#[derive(Default)]
pub(crate) struct Samples {
    /// Requests per second.
    pub(crate) rate: Vec<f64>,
    /// Server CPU per request, in us.
    pub(crate) cpu: Vec<f64>,
}

impl Samples {
    /// Runs once; `cpu` is what the server has used so far.
    pub(crate) fn take(
        &mut self,
        address: SocketAddr,
        ask: Ask,
        span: Duration,
        cpu: impl Fn() -> Result<Duration>,
    ) -> Result<()> {
        self.take_run(|| load::run(address, ask, span), cpu).map(drop)
    }

    /// The same with a run of the caller's.
    pub(crate) fn take_run(
        &mut self,
        run: impl FnOnce() -> Result<Outcome>,
        cpu: impl Fn() -> Result<Duration>,
    ) -> Result<Outcome> {
        let before = cpu()?;
        let run = run()?;
        let used = cpu()? - before;
        self.rate.push(run.answers as f64 / run.span.as_secs_f64());
        self.cpu.push(used.as_secs_f64() * 1e6 / run.answers as f64);
        Ok(run)
    }
}
