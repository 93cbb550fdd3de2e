//! The walk with a download running: what is kept of it, and how it is drawn.

use serde::{Deserialize, Serialize};

use super::markup::{Esc, open_svg, put, tick_step, ticks, width};
use super::{figure, median};

/// Size of the names, in px.
const TEXT: f64 = 14.0;

/// A phone that went from gateway to gateway with traffic running.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Walk {
    /// What the download was held to, in Mbit/s.
    pub pace_mbit: f64,
    /// The width of a step of [`Self::octets`], in ms.
    pub step_ms: f64,
    /// Octets of the download that came in each step since it began.
    pub octets: Vec<u64>,
    /// Why the download ended before the walk did; `None` if it did not.
    pub broken: Option<String>,
    /// The moves, in their order.
    pub moves: Vec<Move>,
}

/// One move of a [`Walk`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Move {
    /// Where to.
    pub to: String,
    /// How the gateway there came to expect the phone.
    pub expected: Expected,
    /// When the phone was told to roam, in ms since the download began.
    pub at_ms: f64,
    /// The longest silence of datagrams sent to the phone every 10 ms, in ms.
    pub silent_down_ms: f64,
    /// The same, of those from the phone.
    pub silent_up_ms: f64,
    /// The longest time in which nothing of the download came, in ms.
    pub stalled_ms: f64,
    /// The address that DHCP gave the phone there.
    pub address: String,
    /// Whether that is the one it had.
    pub address_kept: bool,
    /// Whether the printer at home showed its page.
    pub printer_reached: bool,
}

/// How a gateway came to expect a phone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Expected {
    /// It is the phone's home.
    Home,
    /// The controller had it prepare, before the phone was in reach.
    Prepared,
    /// It heard the phone's probe.
    Heard,
}

impl Expected {
    /// In the words that people read.
    pub const fn words(self) -> &'static str {
        match self {
            Self::Home => "its home",
            Self::Prepared => "prepared",
            Self::Heard => "heard its probe",
        }
    }
}

impl Move {
    /// The longer of the two silences, in ms.
    pub fn silent_ms(&self) -> f64 {
        self.silent_down_ms.max(self.silent_up_ms)
    }
}

impl Walk {
    /// The median of the moves' silences, in ms; `None` without moves.
    pub fn silent_median(&self) -> Option<f64> {
        let all: Vec<f64> = self.moves.iter().map(Move::silent_ms).collect();
        median(&all)
    }

    /// All that came, in octets.
    pub fn downloaded(&self) -> u64 {
        self.octets.iter().sum()
    }

    /// Throughput in each step, in Mbit/s; empty without a step.
    fn bars(&self) -> Vec<f64> {
        if !(self.step_ms.is_finite() && self.step_ms > 0.0) {
            return Vec::new();
        }
        self.octets.iter().map(|octets| *octets as f64 * 8.0 / (self.step_ms * 1e3)).collect()
    }
}

/// What did not hold, one sentence each.
pub(super) fn failures(walk: Option<&Walk>) -> Vec<String> {
    let Some(walk) = walk.filter(|walk| !walk.moves.is_empty()) else {
        return vec!["The walk with a download running is missing.".to_owned()];
    };
    let mut failures = Vec::new();
    if let Some(why) = &walk.broken {
        failures.push(format!("The download broke off: {why}."));
    }
    for step in &walk.moves {
        if !step.address_kept {
            failures
                .push(format!("At {} the phone had another address: {}.", step.to, step.address));
        }
        if !step.printer_reached {
            failures.push(format!("From {} the printer at home was not reached.", step.to));
        }
    }
    failures
}

/// Both drawings; the style sheet shows the one that fits. Empty without a download.
pub(super) fn drawings(walk: &Walk) -> String {
    let bars = walk.bars();
    if bars.is_empty() {
        return String::new();
    }
    format!(
        "<div class=\"wide\">\n{}</div>\n<div class=\"narrow\">\n{}</div>\n",
        plot(walk, &bars, "walk", 960.0),
        plot(walk, &bars, "walk-narrow", 360.0)
    )
}

fn plot(walk: &Walk, bars: &[f64], id: &str, w: f64) -> String {
    let (left, right) = (56.0, w - 12.0);
    let marks: Vec<&Move> = walk.moves.iter().filter(|m| m.at_ms.is_finite()).collect();
    let (top, height) = (24.0 + 20.0 * marks.len() as f64, 150.0);
    let bottom = top + height;
    let end = bars.len() as f64 * walk.step_ms;
    // After a silence, what waited comes at once; that is not what the drawing is about.
    let most = if walk.pace_mbit.is_finite() { (walk.pace_mbit * 1.5).max(0.1) } else { 1.0 };
    let unit = tick_step(most, 4.0);
    let most = (most / unit).ceil() * unit;
    let x = |ms: f64| left + ms.clamp(0.0, end) / end * (right - left);
    let y = |mbit: f64| bottom - mbit.min(most) / most * height;
    let mut out = open_svg(id, (w, bottom + 30.0), "Throughput during the walk", &describe(walk));
    for tick in ticks(0.0, most, unit) {
        put(
            &mut out,
            format_args!(
                "<line class=\"grid\" x1=\"{left:.1}\" y1=\"{0:.1}\" x2=\"{right:.1}\" y2=\"{0:.1}\"/>\n\
                 <text class=\"tick\" text-anchor=\"end\" x=\"{1:.1}\" y=\"{2:.1}\">{3}</text>\n",
                y(tick),
                left - 8.0,
                y(tick) + 4.0,
                figure(tick)
            ),
        );
    }
    let every = tick_step(end / 1e3, if w > 500.0 { 8.0 } else { 4.0 });
    for tick in ticks(0.0, end / 1e3, every) {
        put(
            &mut out,
            format_args!(
                "<text class=\"tick\" text-anchor=\"middle\" x=\"{:.1}\" y=\"{:.1}\">{} s</text>\n",
                x(tick * 1e3),
                bottom + 18.0,
                figure(tick)
            ),
        );
    }
    put(
        &mut out,
        format_args!("<text class=\"tick\" x=\"0\" y=\"{:.1}\">Mbit/s</text>\n", top - 12.0),
    );
    let mut points = format!("{:.1},{bottom:.1}", x(0.0));
    for (n, bar) in bars.iter().enumerate() {
        let from = n as f64 * walk.step_ms;
        put(
            &mut points,
            format_args!(" {:.1},{2:.1} {:.1},{2:.1}", x(from), x(from + walk.step_ms), y(*bar)),
        );
    }
    put(
        &mut out,
        format_args!(
            "<polyline class=\"throughput\" points=\"{points} {:.1},{bottom:.1}\"/>\n",
            x(end)
        ),
    );
    for (n, step) in marks.iter().enumerate() {
        let (at, text_y) = (x(step.at_ms), 14.0 + 20.0 * n as f64);
        let text = format!("{}: {} ms silent", step.to, figure(step.silent_ms().round()));
        let (anchor, text_x) = if at + width(&text, TEXT) + 8.0 > right {
            ("end", at - 6.0)
        } else {
            ("start", at + 6.0)
        };
        put(
            &mut out,
            format_args!(
                "<line class=\"pole line-station\" x1=\"{at:.1}\" y1=\"{:.1}\" x2=\"{at:.1}\" y2=\"{bottom:.1}\"/>\n\
                 <text class=\"flag\" text-anchor=\"{anchor}\" x=\"{text_x:.1}\" y=\"{text_y:.1}\">{}</text>\n",
                text_y - TEXT + 2.0,
                Esc(&text)
            ),
        );
    }
    out + "</svg>\n"
}

fn describe(walk: &Walk) -> String {
    let told: Vec<String> = walk
        .moves
        .iter()
        .map(|m| {
            format!(
                "To {} after {} s, silent for {} ms",
                m.to,
                figure(m.at_ms / 1e3),
                figure(m.silent_ms())
            )
        })
        .collect();
    format!("{}. The table below has the same figures.", told.join(". "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn octets_become_megabits_per_second() {
        let walk = Walk { step_ms: 100.0, octets: vec![125_000, 0], ..Walk::default() };
        assert_eq!(walk.bars(), [10.0, 0.0]);
        for step_ms in [0.0, f64::NAN, -1.0] {
            assert!(Walk { step_ms, ..walk.clone() }.bars().is_empty());
        }
    }
}
