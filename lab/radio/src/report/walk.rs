//! The walk with a download running: what is kept of it, and how it is drawn.

use serde::{Deserialize, Serialize};

use super::throughput::{Flag, Plot};
use super::{figure, median};

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
    let flags: Vec<Flag> = walk
        .moves
        .iter()
        .map(|m| Flag {
            at_ms: m.at_ms,
            text: format!("{}: {} ms silent", m.to, figure(m.silent_ms().round())),
        })
        .collect();
    let plot = Plot {
        id: "walk",
        title: "Throughput during the walk",
        description: &describe(walk),
        pace_mbit: walk.pace_mbit,
        step_ms: walk.step_ms,
        octets: &walk.octets,
        flags: &flags,
    };
    plot.drawings()
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
