//! Roams between gateways beside plain roams between two access points on one bridge, and beside 802.11r, all
//! in one VM run.

use std::path::Path;
use std::process::Command;

use anyhow::{Result, ensure};
use serde_json::Value;

use crate::figures::{Figure, median, percentile};

/// Each is there and back.
const ROUNDS: usize = 15;
const FAST: &str = "802.11r, two access points on one bridge, same VM run";
const PEER: &str = "two access points on one bridge, same VM run";

pub(crate) fn measure() -> Result<()> {
    let roams = run(ROUNDS)?;
    let silences = |kind: &str, way: &str| silences(&roams, kind, way);
    for way in ["down", "up"] {
        let (mut ours, mut plain) = (silences("prepared", way), silences("plain", way));
        ensure!(!ours.is_empty() && !plain.is_empty(), "no roams were measured");
        let runs = ours.len();
        let name = |figure: &str| format!("roam/{figure}-{way}");
        Figure::alone(&name("prepared"), "ms", median(&mut ours), runs)
            .beside(PEER, median(&mut plain))
            .record()?;
        Figure::alone(&name("prepared-p90"), "ms", percentile(&mut ours, 90), runs)
            .beside(PEER, percentile(&mut plain, 90))
            .record()?;
        Figure::alone(&name("prepared"), "ms", median(&mut ours), runs)
            .beside(FAST, median(&mut silences("fast", way)))
            .record()?;
        let mut first = silences("unprepared", way);
        Figure::alone(&name("unprepared"), "ms", median(&mut first), first.len()).record()?;
    }
    Ok(())
}

/// What each roam of the VM's was silent for.
pub(crate) fn run(rounds: usize) -> Result<Value> {
    let binary = Path::new("target/release/homeward-radio");
    ensure!(binary.exists(), "{} is not built; `make bench` does that", binary.display());
    let out = Path::new("target/bench/roam");
    let rounds = rounds.to_string();
    let status =
        Command::new(binary).args(["roam", "--rounds", &rounds, "--out"]).arg(out).status()?;
    ensure!(status.success(), "the roams were not measured");
    Ok(serde_json::from_slice(&std::fs::read(out.join("roam.json"))?)?)
}

/// Those of a kind, one way, in ms.
pub(crate) fn silences(roams: &Value, kind: &str, way: &str) -> Vec<f64> {
    let list = roams[kind][way].as_array();
    list.map(|l| l.iter().filter_map(Value::as_f64).collect()).unwrap_or_default()
}
