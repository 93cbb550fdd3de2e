//! `homeward-radio demo [--rounds N] [--out FOLDER]`: runs the demo in the radio lab and leaves
//! `report.json` and `report.html` in the folder. Exit status 0 when everything held.
//!
//! `homeward-radio roam [--rounds N] [--out FOLDER]`: measures roams, and leaves `roam.json`.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use homeward_radio::report::{Report, console};
use homeward_radio::{Scenario, demo, roam};

const USAGE: &str = "usage: homeward-radio demo|roam [--rounds N] [--out FOLDER]";

fn main() -> ExitCode {
    match run() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "homeward-radio: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<bool> {
    let mut arguments = std::env::args().skip(1);
    let what = arguments.next();
    let what = match what.as_deref() {
        Some(what @ ("demo" | "roam")) => what,
        _ => bail!(USAGE),
    };
    let (mut rounds, mut out) = (10usize, Path::new("target").join(what));
    while let Some(argument) = arguments.next() {
        let value =
            arguments.next().with_context(|| format!("{argument} needs a value; {USAGE}"))?;
        match argument.as_str() {
            "--rounds" => rounds = value.parse().context("--rounds takes a number")?,
            "--out" => out = value.into(),
            _ => bail!("{argument} is unknown; {USAGE}"),
        }
    }
    let words = [what.to_owned(), "--rounds".to_owned(), rounds.to_string()];
    if what == "roam" {
        return measure_roams(&words, rounds, &out);
    }
    let ran = Scenario::new().radios(demo::RADIOS).within(Duration::from_secs(420)).program(
        "demo",
        &words,
        move |lab| demo::run(lab, rounds),
    )?;
    fs::create_dir_all(&out).with_context(|| format!("cannot make {}", out.display()))?;
    let json = match fs::read_to_string(ran.logs.join("report.json")) {
        Ok(json) => json,
        Err(_) => bail!("the demo left no report: {ran}"),
    };
    let report = Report::from_json(&json)?;
    fs::write(out.join("report.json"), &json)?;
    fs::write(out.join("report.html"), report.to_html())?;
    let mut screen = std::io::stdout().lock();
    writeln!(screen, "\n{}", console::summary(&report))?;
    writeln!(screen, "report: {}", out.join("report.html").display())?;
    writeln!(screen, "logs:   {}", ran.logs.display())?;
    Ok(report.verdict.passed() && ran.ending == Ok(()))
}

/// Measures roams in the guest, and keeps what it left.
fn measure_roams(words: &[String], rounds: usize, out: &Path) -> Result<bool> {
    let ran = Scenario::new().radios(roam::RADIOS).within(Duration::from_secs(420)).program(
        "roam",
        words,
        move |lab| roam::measure(lab, rounds),
    )?;
    if ran.ending != Ok(()) {
        bail!("the roams were not measured: {ran}");
    }
    fs::create_dir_all(out).with_context(|| format!("cannot make {}", out.display()))?;
    fs::copy(ran.logs.join("roam.json"), out.join("roam.json"))?;
    Ok(true)
}
