//! From cellular to Wi-Fi and back with a download running: what is kept of it, and how it is
//! shown.

use serde::{Deserialize, Serialize};

use super::handoff::{self, Hop};
use super::markup::{Esc, put};
use super::throughput::{Flag, Plot};
use super::{absence, figure, octets, page};

/// Datagrams that may be lost where one line is there before the other goes.
pub const FEW: u64 = 5;

/// A phone that was given credentials over its bearer, and went to Wi-Fi and back by itself.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Offload {
    /// From the attachment to credentials in hand, in ms.
    pub credentials_ms: f64,
    /// The user name that it was given.
    pub username: String,
    /// Whether that name shows its IMSI.
    pub shows_imsi: bool,
    /// What the download was held to, in Mbit/s.
    pub pace_mbit: f64,
    /// The width of a step of [`Self::octets`], in ms.
    pub step_ms: f64,
    /// Octets of the download that came in each step since it began.
    pub octets: Vec<u64>,
    /// Why the download ended before its time; `None` if it did not.
    pub broken: Option<String>,
    /// The changes, in their order.
    pub changes: Vec<Change>,
    /// The networks that the phone went through, by the records that it and they signed.
    #[serde(default)]
    pub hops: Vec<Hop>,
}

/// From one line to the other.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Change {
    /// Where to.
    pub to: Way,
    /// What brought it about.
    pub cause: Cause,
    /// When that was, in ms since the download began.
    pub at_ms: f64,
    /// From then to the first packet by the new line, in ms.
    pub first_packet_ms: f64,
    /// The longest silence of datagrams that the phone sent every 10 ms, in ms.
    pub silent_ms: f64,
    /// How many of them were lost.
    pub lost: u64,
    /// The longest time in which nothing of the download came, in ms.
    pub stalled_ms: f64,
    /// From the first packet by the new line until the service admitted the phone by a chain with
    /// this hop in it, in ms.
    pub proven_ms: f64,
}

/// The two lines of a phone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Way {
    /// The operator's Wi-Fi.
    Wifi,
    /// The bearer.
    Cellular,
}

impl Way {
    /// In the words that people read.
    pub const fn words(self) -> &'static str {
        match self {
            Self::Wifi => "Wi-Fi",
            Self::Cellular => "cellular",
        }
    }
}

/// What has a phone change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    /// The signal rose, as for one who walks, and passed the policy's threshold.
    Approached,
    /// The signal was weak, and strong from one moment to the next.
    Appeared,
    /// The signal fell below it.
    Faded,
    /// The access point was gone from one moment to the next.
    Vanished,
}

impl Cause {
    /// In the words that people read.
    pub const fn words(self) -> &'static str {
        match self {
            Self::Approached => "it came nearer",
            Self::Appeared => "it was there at once",
            Self::Faded => "it faded",
            Self::Vanished => "it vanished",
        }
    }

    /// Whether there was time to have the other line first.
    pub const fn warned(self) -> bool {
        !matches!(self, Self::Vanished)
    }
}

impl Offload {
    /// All that came, in octets.
    pub fn downloaded(&self) -> u64 {
        self.octets.iter().sum()
    }
}

/// What did not hold, one sentence each.
pub fn failures(offload: Option<&Offload>) -> Vec<String> {
    let Some(offload) = offload.filter(|offload| !offload.changes.is_empty()) else {
        return vec!["The way from cellular to Wi-Fi and back is missing.".to_owned()];
    };
    let mut failures = Vec::new();
    if let Some(why) = &offload.broken {
        failures.push(format!("The download over cellular and Wi-Fi broke off: {why}."));
    }
    if offload.shows_imsi {
        failures.push("The user name that the portal gave shows the IMSI.".to_owned());
    }
    failures.extend(handoff::broken(&offload.hops, offload.changes.len()));
    for change in offload.changes.iter().filter(|c| c.cause.warned() && c.lost > FEW) {
        failures.push(format!(
            "On the way to {} {} datagrams were lost; one line before the other loses {FEW} at most.",
            change.to.words(),
            change.lost
        ));
    }
    failures
}

/// The section of the page.
pub(super) fn section(offload: Option<&Offload>) -> String {
    let Some(offload) = offload.filter(|offload| !offload.changes.is_empty()) else {
        return absence("Not measured in this run.");
    };
    let mut out = format!(
        "<p>The phone had its credentials <strong>{} ms</strong> after it was attached, as {}, \
         without its user. One TCP connection of {} Mbit/s: {} came through.</p>\n",
        figure(offload.credentials_ms),
        Esc(&offload.username),
        figure(offload.pace_mbit),
        octets(offload.downloaded())
    );
    put(&mut out, format_args!("<figure>\n{}</figure>\n", drawings(offload)));
    let mut rows = String::new();
    for change in &offload.changes {
        let lost = if change.cause.warned() && change.lost > FEW { "bad" } else { "" };
        put(
            &mut rows,
            format_args!(
                "<tr><th scope=\"row\">{}</th><td data-label=\"why\">{}</td>\
                 <td data-label=\"first packet after, ms\" class=\"number\">{}</td>\
                 <td data-label=\"silent, ms\" class=\"number\">{}</td>\
                 <td data-label=\"lost\" class=\"number {lost}\">{}</td>\
                 <td data-label=\"download stood, ms\" class=\"number\">{}</td></tr>\n",
                change.to.words(),
                change.cause.words(),
                page::tenth(change.first_packet_ms),
                page::tenth(change.silent_ms),
                change.lost,
                page::tenth(change.stalled_ms)
            ),
        );
    }
    out += "<p>Before Wi-Fi is used the policy has it be strong for a second, which is in these \
            figures.</p>\n";
    let heads = [
        ("to", ""),
        ("why", ""),
        ("first packet after, ms", "number"),
        ("silent, ms", "number"),
        ("datagrams lost", "number"),
        ("download stood, ms", "number"),
    ];
    out + &page::table("cards", "Each change of line", &heads, &rows)
}

/// A line for the credentials, and one a change.
pub(super) fn lines(offload: Option<&Offload>) -> Vec<String> {
    let Some(offload) = offload.filter(|offload| !offload.changes.is_empty()) else {
        return vec!["not measured".to_owned()];
    };
    let mut lines = vec![format!(
        "credentials {} ms after the attachment; one download ({:.1} MB)",
        figure(offload.credentials_ms),
        offload.downloaded() as f64 / 1e6
    )];
    lines.extend(offload.changes.iter().map(|change| {
        format!(
            "to {} ({}): first packet after {} ms, silent {} ms, {} lost",
            change.to.words(),
            change.cause.words(),
            figure(change.first_packet_ms.round()),
            figure(change.silent_ms.round()),
            change.lost
        )
    }));
    lines
}

fn drawings(offload: &Offload) -> String {
    let said = |change: &Change| {
        format!(
            "{} ({}): {} ms silent",
            change.to.words(),
            change.cause.words(),
            figure(change.silent_ms.round())
        )
    };
    // Where packets begin to go another way, not where that was decided.
    let at = |change: &Change| change.at_ms + change.first_packet_ms;
    let flags: Vec<Flag> =
        offload.changes.iter().map(|c| Flag { at_ms: at(c), text: said(c) }).collect();
    let told: Vec<String> = offload
        .changes
        .iter()
        .map(|c| format!("After {} s to {}", figure(at(c) / 1e3), said(c)))
        .collect();
    let plot = Plot {
        id: "offload",
        title: "Throughput from cellular to Wi-Fi and back",
        description: &format!("{}. The table below has the same figures.", told.join(". ")),
        pace_mbit: offload.pace_mbit,
        step_ms: offload.step_ms,
        octets: &offload.octets,
        flags: &flags,
    };
    plot.drawings()
}
