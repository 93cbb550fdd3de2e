//! `homeward-radio demo [--rounds N] [--out FOLDER]`: runs the demo in the radio lab and leaves
//! `report.json` and `report.html` in the folder. Exit status 0 when everything held.
//!
//! `homeward-radio roam [--rounds N] [--out FOLDER]`: measures roams, and leaves `roam.json`.
//!
//! `homeward-radio offload`, `call`, `outing`: the second chapter of the demo alone, the third, the fourth.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use homeward_radio::report::{self, Chapter, Report, console};
use homeward_radio::scenario::Run;
use homeward_radio::{Scenario, demo, roam};

const USAGE: &str = "usage: homeward-radio demo|roam [--rounds N] [--out FOLDER]\n       \
                     homeward-radio offload|call|outing";
/// How long one chapter may take.
const LIMIT: Duration = Duration::from_secs(420);

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
        Some("offload") if arguments.next().is_none() => {
            let chapter = second_chapter()?;
            return Ok(chapter.offload.is_some() && chapter.stopped.is_none());
        }
        Some("outing") if arguments.next().is_none() => {
            let chapter = fourth_chapter()?;
            return Ok(report::outing::failures(chapter.outing.as_ref()).is_empty()
                && chapter.stopped.is_none());
        }
        Some("call") if arguments.next().is_none() => {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            return runtime.block_on(demo::call::run());
        }
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
    let ran =
        Scenario::new()
            .radios(demo::RADIOS)
            .within(LIMIT)
            .program("demo", &words, move |lab| demo::run(lab, rounds))?;
    let mut report = match fs::read_to_string(ran.logs.join("report.json")) {
        Ok(json) => Report::from_json(&json)?,
        Err(_) => bail!("the demo left no report: {ran}"),
    };
    let mut screen = std::io::stdout();
    writeln!(screen, "\nThe second chapter: from cellular to Wi-Fi and back.")?;
    report.append(second_chapter()?);
    writeln!(screen, "\nThe third chapter: a call, from network to network.")?;
    report.append(demo::call::chapter()?);
    writeln!(screen, "\nThe fourth chapter: out of the house and back, with one address.")?;
    report.append(fourth_chapter()?);
    fs::create_dir_all(&out).with_context(|| format!("cannot make {}", out.display()))?;
    fs::write(out.join("report.json"), report.to_json()?)?;
    fs::write(out.join("report.html"), report.to_html())?;
    writeln!(screen, "\n{}", console::summary(&report))?;
    writeln!(screen, "report: {}", out.join("report.html").display())?;
    writeln!(screen, "logs:   {}, “offload”, “call” and “outing” beside it", ran.logs.display())?;
    Ok(report.verdict.passed() && ran.ending == Ok(()))
}

/// Plays the second chapter, in a VM of its own.
fn second_chapter() -> Result<Chapter> {
    let words = ["offload".to_owned()];
    left_by(Scenario::new().within(LIMIT).program("offload", &words, demo::offload::run)?)
}

/// Plays the fourth chapter, likewise.
fn fourth_chapter() -> Result<Chapter> {
    let scenario = Scenario::new().radios(demo::outing::RADIOS).within(LIMIT);
    left_by(scenario.program("outing", &["outing".to_owned()], demo::outing::run)?)
}

/// What a chapter left, in a file of its own name.
fn left_by(ran: Run) -> Result<Chapter> {
    let name = ran.logs.file_name().unwrap_or_default();
    let left = ran.logs.join(name).with_extension("json");
    match fs::read_to_string(left) {
        Ok(json) => Ok(serde_json::from_str(&json)?),
        Err(_) => bail!("a chapter left nothing: {ran}"),
    }
}

/// Measures roams in the guest, and keeps what it left.
fn measure_roams(words: &[String], rounds: usize, out: &Path) -> Result<bool> {
    let ran =
        Scenario::new()
            .radios(roam::RADIOS)
            .within(LIMIT)
            .program("roam", words, move |lab| roam::measure(lab, rounds))?;
    if ran.ending != Ok(()) {
        bail!("the roams were not measured: {ran}");
    }
    fs::create_dir_all(out).with_context(|| format!("cannot make {}", out.display()))?;
    fs::copy(ran.logs.join("roam.json"), out.join("roam.json"))?;
    Ok(true)
}
