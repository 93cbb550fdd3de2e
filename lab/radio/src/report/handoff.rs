//! Every hand-off with its proof: networks as lanes, the key that each had from the one before, and
//! when the service had checked the whole chain.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::markup::{Esc, fit, open_svg, put, tick_step, ticks, width};
use super::offload::{Change, Offload};
use super::{absence, figure, page};

/// Size of the texts, in px.
const TEXT: f64 = 14.0;
/// From one lane to the next, in px.
const LANE: f64 = 58.0;

/// A hop of the phone's chain, by the record that it and the network signed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Hop {
    /// The network.
    pub network: String,
    /// The network before, whose module gave its key for the phone's ticket; `None` of the first.
    pub previous: Option<String>,
    /// When the network made its record, in ms since the download began; below 0 before that.
    pub at_ms: f64,
    /// Whether the key of the hop before is missing.
    pub broken: bool,
}

impl Hop {
    /// A hop as a guard's trace tells of it, by a clock that began that many ms after 1970.
    pub fn read(hop: &Value, began_ms: f64) -> Option<Self> {
        let text = |value: &Value| value.as_str().map(str::to_owned);
        Some(Self {
            network: text(&hop["network"])?,
            previous: text(&hop["previous"]),
            at_ms: hop["at_ms"].as_f64()? - began_ms,
            broken: hop["broken"].as_bool()?,
        })
    }
}

/// When the service had checked the chain with a hop in it, and how long traffic was silent for that hop.
#[derive(Debug, Clone, Copy)]
pub(super) struct Checked {
    pub(super) at_ms: f64,
    pub(super) silent_ms: f64,
}

/// What of a chain did not hold, with a hop more than there were moves; one sentence each.
pub(super) fn broken(hops: &[Hop], moves: usize) -> Vec<String> {
    let mut failures = Vec::new();
    if hops.len() != moves + 1 {
        let on_record = hops.len().saturating_sub(1);
        failures.push(format!("Of {moves} hand-offs the service has {on_record} on record."));
    }
    for (n, hop) in hops.iter().enumerate() {
        let before = n.checked_sub(1).and_then(|before| hops.get(before));
        if hop.broken || hop.previous.as_ref() != before.map(|before| &before.network) {
            failures.push(format!(
                "Hop {}, in {}, is without the key of the one before.",
                n + 1,
                hop.network
            ));
        }
    }
    failures
}

/// The section of the page.
pub(super) fn section(offload: Option<&Offload>) -> String {
    let Some(offload) = offload.filter(|offload| !offload.hops.is_empty()) else {
        return absence("No hand-off is on record.");
    };
    let mut out = "<p>A service admits the phone only while every network on its way has vouched \
                   for it. At each hand-off the new network’s security module challenges the phone, \
                   has the network before give a derivative of its key, and signs a record beside \
                   the phone; then phone and network prove the whole chain to the guard before the \
                   service. <code>homeward guard check-trace</code> has checked these records \
                   again.</p>\n"
        .to_owned();
    let proven = |change: &Change| Checked {
        at_ms: change.at_ms + change.first_packet_ms + change.proven_ms,
        silent_ms: change.silent_ms,
    };
    let checks: Vec<Checked> = offload.changes.iter().map(proven).collect();
    out += &figure_of(&offload.hops, &checks, "handoffs");
    let mut rows = String::new();
    for (n, hop) in offload.hops.iter().enumerate() {
        let change = n.checked_sub(1).and_then(|n| offload.changes.get(n));
        let of = |figure: fn(&Change) -> f64| {
            change.map_or_else(|| "–".to_owned(), |change| page::tenth(figure(change)))
        };
        let fetched = match (&hop.previous, hop.broken) {
            (_, true) => "missing",
            (Some(previous), false) => previous,
            (None, false) => "none before it",
        };
        put(
            &mut rows,
            format_args!(
                "<tr><th scope=\"row\">{}</th><td data-label=\"network\">{}</td>\
                 <td data-label=\"key fetched from\" class=\"{}\">{}</td>\
                 <td data-label=\"on record at, s\" class=\"number\">{}</td>\
                 <td data-label=\"proven after, ms\" class=\"number\">{}</td>\
                 <td data-label=\"silent, ms\" class=\"number\">{}</td></tr>\n",
                n + 1,
                Esc(&hop.network),
                if hop.broken { "bad" } else { "" },
                Esc(fetched),
                page::tenth(hop.at_ms / 1e3),
                of(|change| change.proven_ms),
                of(|change| change.silent_ms)
            ),
        );
    }
    let heads = [
        ("hop", ""),
        ("network", ""),
        ("key fetched from", ""),
        ("on record at, s", "number"),
        ("proven after, ms", "number"),
        ("silent, ms", "number"),
    ];
    out += "<p>Proven: from the first packet by the new line until the guard admitted the phone by a \
            chain with that hop in it. Silent: the longest gap in datagrams sent every 10 ms.</p>\n";
    out + &page::table("cards", "Each hop", &heads, &rows)
}

/// Hops as they are drawn, wide and narrow.
pub(super) fn figure_of(hops: &[Hop], checks: &[Checked], id: &str) -> String {
    let narrow = draw(hops, checks, &format!("{id}-narrow"), 360.0);
    let mut out = String::new();
    put(
        &mut out,
        format_args!(
            "<figure>\n<div class=\"wide\">\n{}</div>\n<div class=\"narrow\">\n{narrow}</div>\n\
             <figcaption>Bars: where the phone is. Dashed: the key of the hop before is fetched. \
             Lines down to a dot: the service has checked every hop.</figcaption>\n</figure>\n",
            draw(hops, checks, id, 960.0)
        ),
    );
    out
}

/// The hops after the first, each with its check.
fn moves<'a>(
    hops: &'a [Hop],
    checks: &'a [Checked],
) -> impl Iterator<Item = (&'a Hop, &'a Checked)> {
    hops.iter().skip(1).zip(checks)
}

fn draw(all: &[Hop], checks: &[Checked], id: &str, w: f64) -> String {
    let hops: Vec<&Hop> = all.iter().filter(|hop| hop.at_ms.is_finite()).collect();
    let mut networks: Vec<&str> = Vec::new();
    for hop in &hops {
        if !networks.contains(&hop.network.as_str()) {
            networks.push(&hop.network);
        }
    }
    let verified: Vec<f64> =
        checks.iter().map(|check| check.at_ms).filter(|at| at.is_finite()).collect();
    let from = hops.iter().map(|hop| hop.at_ms).fold(0.0, f64::min);
    let to = hops.iter().map(|hop| hop.at_ms).chain(verified.iter().copied()).fold(from, f64::max);
    let to = to + ((to - from) * 0.08).max(1.0);
    let (left, right, top) = (8.0, w - 12.0, 36.0);
    let x = |at: f64| left + (at - from) / (to - from) * (right - left);
    let lane = |n: usize| top + LANE * n as f64;
    let y = |network: &str| lane(networks.iter().position(|n| *n == network).unwrap_or(0));
    let service = lane(networks.len());
    let told: Vec<String> = moves(all, checks)
        .map(|(hop, check)| {
            format!("to {}, {} ms silent", hop.network, figure(check.silent_ms.round()))
        })
        .collect();
    let description = format!("{}. The table below has the same figures.", told.join("; "));
    let title = "Networks as lanes, and every hand-off between them";
    let mut out = open_svg(id, (w, service + 34.0), title, &description);
    for (n, name) in networks.iter().copied().chain(["the service’s guard"]).enumerate() {
        put(
            &mut out,
            format_args!(
                "<text class=\"place\" x=\"{left:.1}\" y=\"{0:.1}\">{2}</text>\n\
                 <line class=\"lane\" x1=\"{left:.1}\" y1=\"{1:.1}\" x2=\"{right:.1}\" y2=\"{1:.1}\"/>\n",
                lane(n) - 20.0,
                lane(n),
                Esc(&fit(name, 15.0, right - left))
            ),
        );
    }
    for (n, hop) in hops.iter().enumerate() {
        let end = hops.get(n + 1).map_or(to, |next| next.at_ms);
        let (at, lane) = (x(hop.at_ms), y(&hop.network));
        if let Some(previous) = &hop.previous {
            put(
                &mut out,
                format_args!(
                    "<line class=\"wire\" x1=\"{at:.1}\" y1=\"{:.1}\" x2=\"{at:.1}\" y2=\"{lane:.1}\"/>\n",
                    y(previous)
                ),
            );
        }
        put(
            &mut out,
            format_args!(
                "<line class=\"stay line-station\" x1=\"{at:.1}\" y1=\"{lane:.1}\" x2=\"{:.1}\" y2=\"{lane:.1}\"/>\n",
                x(end)
            ),
        );
    }
    for (hop, check) in moves(all, checks) {
        let (at, checked) = (hop.at_ms, check.at_ms);
        if !(at.is_finite() && checked.is_finite()) {
            continue;
        }
        let lane = y(&hop.network);
        put(
            &mut out,
            format_args!(
                "<line class=\"pole line-core\" x1=\"{0:.1}\" y1=\"{lane:.1}\" x2=\"{0:.1}\" y2=\"{service:.1}\"/>\n\
                 <circle class=\"dot fill-core\" cx=\"{0:.1}\" cy=\"{service:.1}\" r=\"5\"/>\n",
                x(checked)
            ),
        );
        let text = format!("{} ms", figure(check.silent_ms.round()));
        let text = if w > 500.0 { format!("{text} silent") } else { text };
        let wide = width(&text, TEXT);
        // Beside the line down.
        let text_x = (x(at.max(checked)) + 6.0).min(right - wide);
        put(
            &mut out,
            format_args!(
                "<text class=\"flag\" x=\"{text_x:.1}\" y=\"{:.1}\">{}</text>\n",
                lane + 20.0,
                Esc(&text)
            ),
        );
    }
    let every = tick_step((to - from) / 1e3, if w > 500.0 { 8.0 } else { 4.0 });
    for tick in ticks(from / 1e3, to / 1e3, every) {
        put(
            &mut out,
            format_args!(
                "<text class=\"tick\" text-anchor=\"middle\" x=\"{:.1}\" y=\"{:.1}\">{} s</text>\n",
                x(tick * 1e3).clamp(left + 12.0, right - 12.0),
                service + 26.0,
                figure(tick)
            ),
        );
    }
    out + "</svg>\n"
}
