//! First probe → connected, over the air: the demo's rounds beside its scripted floor, both in one
//! VM run.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::figures::{Figure, median, say};

const ROUNDS: usize = 15;

pub(crate) fn measure() -> Result<()> {
    let binary = Path::new("target/release/homeward-radio");
    ensure!(binary.exists(), "{} is not built; `make bench` does that", binary.display());
    let out = Path::new("target/bench/radio");
    let status = Command::new(binary)
        .args(["demo", "--rounds", &ROUNDS.to_string(), "--out"])
        .arg(out)
        .status()?;
    if !status.success() {
        say("the demo did not hold in everything; its report says in what");
    }
    let report: Value = serde_json::from_slice(&std::fs::read(out.join("report.json"))?)?;
    let rounds = |who: &str| -> Vec<f64> {
        let list = report["rounds"][who].as_array();
        list.map(|l| l.iter().filter_map(Value::as_f64).collect()).unwrap_or_default()
    };
    let (mut ours, mut floor) = (rounds("ours"), rounds("floor"));
    ensure!(!ours.is_empty() && !floor.is_empty(), "the demo measured no rounds");
    let runs = ours.len();
    let (ours, floor) = (median(&mut ours), median(&mut floor));
    Figure::alone("radio/probe-to-connected", "ms", ours, runs)
        .beside("scripted floor, same VM run", floor)
        .record()?;
    Figure::alone("radio/over-the-floor", "ms", ours - floor, runs)
        .record()
        .context("results.jsonl")
}
