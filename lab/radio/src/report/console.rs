//! The run in plain text, for a terminal or a log.
//!
//! ```text
//!     1.204 s  station   Out of reach of home; probes for its home SSID
//!     1.251 s  gateway   Unknown here: asks the core
//! ```

use super::{Actor, Milestone, Report, SeenIn, Service, absent, figure};

/// How wide the column of actors is.
const ACTOR_COLUMN: usize = 8;
/// How far the text of a line is from the left edge.
const INDENT: usize = 25;

/// A line of commentary, without colour and without a newline at its end; see
/// [`Console::line`].
pub fn line(at_ms: f64, actor: Actor, text: &str) -> String {
    Console::default().line(at_ms, actor, text)
}

/// The block that ends a run, without colour; see [`Console::summary`].
pub fn summary(report: &Report) -> String {
    Console::default().summary(report)
}

/// How to write for this terminal. The default is without colour: fit for a file.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Console {
    /// Whether to colour actors and verdict with ANSI escapes.
    pub colour: bool,
}

impl Console {
    /// A line of commentary: when, in ms since the run began; who; what. Further lines of `text`
    /// are indented to the first. Control characters are replaced, as SSIDs may hold them.
    pub fn line(self, at_ms: f64, actor: Actor, text: &str) -> String {
        let who = self.paint(actor_code(actor), &format!("{:<ACTOR_COLUMN$}", actor.word()));
        let lines: Vec<String> = text.lines().map(clean).collect();
        let text = lines.join(&format!("\n{:INDENT$}", ""));
        let seconds = format!("{:.3} s", at_ms / 1000.0);
        format!("{seconds:>13}  {who}  {text}").trim_end().to_owned()
    }

    /// The block that ends a run: verdict, timeline, refusals, owner, floor, failures. It ends
    /// in a newline.
    pub fn summary(self, report: &Report) -> String {
        let mut out = vec![String::new(), self.headline(report), String::new()];
        let mut previous: Option<f64> = None;
        for mark in report.marks() {
            let step = previous.map_or_else(String::new, |p| format!("+{}", tenth(mark.at_ms - p)));
            previous = Some(mark.at_ms);
            let row = format!(
                "  {:<15}{:>9} ms {step:>9}  {:<ACTOR_COLUMN$}  {}",
                clean(&mark.name.to_string()),
                tenth(mark.at_ms),
                mark.actor,
                clean(&mark.detail)
            );
            out.push(row.trim_end().to_owned());
        }
        out.extend(report.missing().iter().map(|name| format!("  {name:<15}{:>12}", "not seen")));
        out.push(String::new());
        for refused in &report.refused {
            out.push(format!(
                "  {:<15}{}: {} ({})",
                "Refused",
                clean(&refused.who),
                clean(&refused.reason),
                seen_in(&refused.seen_in)
            ));
        }
        if let Some(owner) = &report.owner {
            let gap = owner.max_beacon_gap_ms.map_or_else(
                || "no beacons heard".to_owned(),
                |gap| {
                    let limit = figure(owner.beacon_gap_limit_ms);
                    format!("largest beacon gap {} ms (limit {limit} ms)", figure(gap))
                },
            );
            out.push(format!("  {:<15}disconnects {}, {gap}", "Owner", owner.disconnects));
        } else {
            out.push(format!("  {:<15}not measured", "Owner"));
        }
        out.push(format!("  {:<15}{}", "Floor", floor(report)));
        out.extend(walk(report));
        for (name, lines) in [
            ("Offload", super::offload::lines(report.offload.as_ref())),
            ("Call", super::call::lines(report.call.as_ref())),
            ("Outing", super::outing::lines(report.outing.as_ref())),
        ] {
            out.extend(lines.iter().enumerate().map(|(n, line)| {
                format!("  {:<15}{}", if n == 0 { name } else { "" }, clean(line))
            }));
        }
        out.push(String::new());
        if !report.verdict.failures.is_empty() {
            out.push("Did not hold:".to_owned());
            out.extend(report.verdict.failures.iter().map(|f| format!("  - {}", clean(f))));
            out.push(String::new());
        }
        out.join("\n") + "\n"
    }

    fn headline(self, report: &Report) -> String {
        match (report.verdict.outcome, report.verdict.failures.len()) {
            (Service::Served, 0) => self.paint("1;32", &served(report)),
            (Service::Served, n) => {
                self.paint("1;31", &format!("{} What did not hold: {n}.", served(report)))
            }
            (Service::NotServed, _) => {
                let missing = report.missing();
                let why = if missing.is_empty() {
                    String::new()
                } else {
                    format!(": {}", absent(&missing))
                };
                self.paint("1;31", &format!("NOT SERVED{why}."))
            }
        }
    }

    fn paint(self, code: &str, text: &str) -> String {
        if self.colour { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }
}

fn served(report: &Report) -> String {
    match report.at(&Milestone::FirstPacket) {
        Some(at) => format!("SERVED: first packet {} ms after the first probe.", figure(at)),
        None => "SERVED, says the run, but its first packet was not seen.".to_owned(),
    }
}

fn floor(report: &Report) -> String {
    let rounds = &report.rounds;
    match (rounds.ours_median(), rounds.floor_median()) {
        (Some(ours), Some(floor)) => format!(
            "first probe to connected, medians: ours {} ms (of {}), scripted floor {} ms (of {}), \
             difference {} ms",
            figure(ours),
            rounds.ours.len(),
            figure(floor),
            rounds.floor.len(),
            figure(ours - floor)
        ),
        _ => "not compared".to_owned(),
    }
}

/// A line a move, and one for all.
fn walk(report: &Report) -> Vec<String> {
    let Some((walk, silent)) = report.walk.as_ref().and_then(|w| Some((w, w.silent_median()?)))
    else {
        return vec![format!("  {:<15}not measured", "Walk")];
    };
    let mut lines = vec![format!(
        "  {:<15}{} moves, one download ({:.1} MB), median silence {} ms",
        "Walk",
        walk.moves.len(),
        walk.downloaded() as f64 / 1e6,
        figure(silent)
    )];
    lines.extend(walk.moves.iter().map(|step| {
        format!(
            "  {:<15}to {} ({}): silent {} ms down, {} ms up; {} {}",
            "",
            clean(&step.to),
            step.expected.words(),
            figure(step.silent_down_ms),
            figure(step.silent_up_ms),
            if step.address_kept { "still" } else { "now" },
            clean(&step.address)
        )
    }));
    lines
}

/// `status, log`, or that it was seen nowhere.
fn seen_in(places: &[SeenIn]) -> String {
    let words: Vec<&str> = places.iter().map(|p| p.word()).collect();
    if words.is_empty() {
        "seen nowhere".to_owned()
    } else {
        format!("seen in {}", words.join(", "))
    }
}

fn tenth(ms: f64) -> String {
    format!("{ms:.1}")
}

fn clean(text: &str) -> String {
    text.chars().map(super::markup::visible).collect()
}

const fn actor_code(actor: Actor) -> &'static str {
    match actor {
        Actor::Station => "36",
        Actor::Gateway => "33",
        Actor::Core => "35",
        Actor::Hostapd => "32",
        Actor::Owner => "34",
        Actor::Stranger => "31",
        Actor::Lab => "2",
    }
}
