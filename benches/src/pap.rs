//! Log-ins by PAP, with passwords that a machine made: server CPU for one beside FreeRADIUS with a
//! flat file, and log-ins per second beside FreeRADIUS with PostgreSQL; the same users, the same
//! generator, runs in turn.

use std::time::Duration;

use anyhow::Result;

use crate::figures::{Figure, median};
use crate::freeradius::FreeRadius;
use crate::load::{self, Ask};
use crate::lookup::Samples;
use crate::population::Population;
use crate::postgres::Postgres;
use crate::world::Core;

const LOGINS: Population = Population::logins(10_000);
const RUNS: usize = 5;
const SPAN: Duration = Duration::from_secs(3);
const ASK: Ask = Ask::LogIns(LOGINS);

pub(crate) fn measure() -> Result<()> {
    let core = Core::start(LOGINS)?;
    let flat = FreeRadius::start_pap(LOGINS)?;
    let database = Postgres::start(LOGINS)?;
    let sql = FreeRadius::start_sql(LOGINS, &database)?;
    let [mut ours, mut theirs, mut theirs_sql] = [(); 3].map(|()| Samples::default());
    // Once to warm up.
    for address in [core.address, flat.address, sql.address] {
        load::run(address, ASK, Duration::from_millis(500))?;
    }
    for _ in 0..RUNS {
        ours.take(core.address, ASK, SPAN, || core.process.cpu())?;
        theirs.take(flat.address, ASK, SPAN, || flat.process.cpu())?;
        theirs_sql.take(sql.address, ASK, SPAN, || Ok(sql.process.cpu()? + database.cpu()?))?;
    }
    for (peer, samples, of) in
        [(&flat, &mut theirs, "flat-file"), (&sql, &mut theirs_sql, "postgresql")]
    {
        let name = peer.name.as_str();
        Figure::alone(&format!("pap/throughput/{of}"), "1/s", median(&mut ours.rate), RUNS)
            .beside(name, median(&mut samples.rate))
            .record()?;
        Figure::alone(&format!("pap/server-cpu/{of}"), "us", median(&mut ours.cpu), RUNS)
            .beside(name, median(&mut samples.cpu))
            .record()?;
    }
    Ok(())
}
