//! Look-ups per second, and server CPU per look-up, beside FreeRADIUS that has the same users in
//! memory, on the same two cores with the same generator, runs in turn.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Result;

use crate::figures::{Figure, median};
use crate::freeradius::FreeRadius;
use crate::load;
use crate::world::{Core, Process};

const HOMES: u32 = 10_000;
const RUNS: usize = 5;
const SPAN: Duration = Duration::from_secs(4);

pub(crate) fn measure() -> Result<()> {
    let core = Core::start(HOMES)?;
    let peer = FreeRadius::start(HOMES)?;
    let (mut ours, mut theirs) = (Samples::default(), Samples::default());
    // Once to warm up.
    load::run(core.address, HOMES, Duration::from_millis(500))?;
    load::run(peer.address, HOMES, Duration::from_millis(500))?;
    for _ in 0..RUNS {
        ours.take(core.address, &core.process)?;
        theirs.take(peer.address, &peer.process)?;
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

#[derive(Default)]
struct Samples {
    /// Look-ups per second.
    rate: Vec<f64>,
    /// Server CPU per look-up, in us.
    cpu: Vec<f64>,
}

impl Samples {
    fn take(&mut self, address: SocketAddr, process: &Process) -> Result<()> {
        let before = process.cpu()?;
        let run = load::run(address, HOMES, SPAN)?;
        let used = process.cpu()? - before;
        self.rate.push(run.answers as f64 / run.span.as_secs_f64());
        self.cpu.push(used.as_secs_f64() * 1e6 / run.answers as f64);
        Ok(())
    }
}
