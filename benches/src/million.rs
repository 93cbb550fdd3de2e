//! A million devices: how long the core takes to have them in memory, how much that is, and how
//! many look-ups it then answers.

use std::time::Duration;

use anyhow::Result;

use crate::figures::{Figure, median};
use crate::load::{self, Ask};
use crate::lookup::Samples;
use crate::population::Population;
use crate::world::Core;

/// Every home has four devices, and every home but one a log-in besides.
const MANY: Population = Population { devices: 4, logins: 250_000, ..Population::homes(250_000) };
const RUNS: usize = 5;
const SPAN: Duration = Duration::from_secs(3);

pub(crate) fn measure() -> Result<()> {
    let core = Core::start(MANY)?;
    Figure::alone("million/load", "s", core.loaded.as_secs_f64(), 1).record()?;
    Figure::alone("million/core-resident", "MB", core.process.resident()?, 1).record()?;
    for (what, ask) in [("lookup", Ask::LookUps(MANY)), ("pap", Ask::LogIns(MANY))] {
        let mut samples = Samples::default();
        load::run(core.address, ask, Duration::from_millis(500))?;
        for _ in 0..RUNS {
            samples.take(core.address, ask, SPAN, || core.process.cpu())?;
        }
        let name = |figure: &str| format!("million/{what}/{figure}");
        Figure::alone(&name("throughput"), "1/s", median(&mut samples.rate), RUNS).record()?;
        Figure::alone(&name("server-cpu"), "us", median(&mut samples.cpu), RUNS).record()?;
    }
    Ok(())
}
