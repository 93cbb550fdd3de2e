//! Out of the house and back with a tunnel of the phone's own: what is kept of it, and how it is shown.

use serde::{Deserialize, Serialize};

mod drawing;

use super::call::Stream;
use super::markup::{Esc, put};
use super::offload::Way;
use super::throughput::Plot;
use super::{absence, figure, octets, page};

/// A phone with an address of its home LAN that went past strangers' gateways, out of coverage, and
/// home again, with a call, a download and a session by SSH.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Outing {
    /// When it held its tunnel by cellular: `hold` of its configuration.
    pub hold: String,
    /// Its address in the home LAN.
    pub address: String,
    /// The addresses that it spoke from, all the way.
    pub spoke_from: Vec<String>,
    /// What the download was held to, in Mbit/s.
    pub pace_mbit: f64,
    /// The width of a step of [`Self::octets`], in ms.
    pub step_ms: f64,
    /// Octets of the download that came in each step since it began.
    pub octets: Vec<u64>,
    /// Why the download ended before its time; `None` if it did not.
    pub broken: Option<String>,
    /// Why the session by SSH did.
    pub session_broken: Option<String>,
    /// How loud each gateway was on the way.
    pub signals: Vec<Signal>,
    /// Which way traffic went.
    pub paths: Vec<Path>,
    /// What the phone's agent decided, and why.
    pub decisions: Vec<Decision>,
    /// Silences of the call, either way, that anybody would notice.
    pub silences: Vec<Silence>,
    /// The moves, in their order.
    pub moves: Vec<Move>,
}

/// How loud a gateway was.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Signal {
    /// Which.
    pub gateway: String,
    /// In dBm at times in ms since the download began, in order; it stays until the next. `None` is out
    /// of reach.
    pub points: Vec<(f64, Option<i8>)>,
}

/// What the phone sent by each access, of some tenths of a second.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Path {
    /// When they were over, in ms since the download began.
    pub at_ms: f64,
    /// Packets by Wi-Fi.
    pub wifi: u64,
    /// Packets by cellular.
    pub cellular: u64,
}

impl Path {
    /// By which access most of it went; `None` where nothing did.
    pub const fn way(&self) -> Option<Way> {
        most(self.wifi, self.cellular)
    }
}

/// By which access most of so many packets went; `None` of none.
pub const fn most(wifi: u64, cellular: u64) -> Option<Way> {
    match (wifi, cellular) {
        (0, 0) => None,
        _ if wifi >= cellular => Some(Way::Wifi),
        _ => Some(Way::Cellular),
    }
}

/// Something that the phone's agent decided, or found.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Decision {
    /// When, in ms since the download began.
    pub at_ms: f64,
    /// What.
    pub what: String,
    /// Why; may be empty.
    pub why: String,
}

/// A silence of the call.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Silence {
    /// When it began, in ms since the download did.
    pub at_ms: f64,
    /// How long it was, in ms.
    pub for_ms: f64,
    /// Whether the phone was the one who was not heard.
    pub up: bool,
}

/// From one place to the next.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Move {
    /// Where to.
    pub to: String,
    /// By which access the way home led from there.
    pub by: Way,
    /// When it was told to roam, was out of reach, or was in reach again, in ms since the download began.
    pub at_ms: f64,
    /// The call to the phone.
    pub down: Stream,
    /// The call from the phone.
    pub up: Stream,
    /// The longest that a key by SSH took to be echoed, in ms.
    pub echo_ms: f64,
    /// The longest time in which nothing of the download came, in ms.
    pub stalled_ms: f64,
    /// How many times traffic changed from one access to the other.
    pub switches: usize,
    /// The address that the home's DHCP server gave when it was asked again.
    pub address: String,
    /// Whether that, and who gave it, are as before.
    pub lease_kept: bool,
}

impl Outing {
    /// All that came, in octets.
    pub fn downloaded(&self) -> u64 {
        self.octets.iter().sum()
    }

    /// How many times traffic changed from one access to the other, all the way.
    pub fn switches(&self) -> usize {
        self.moves.iter().map(|step| step.switches).sum()
    }
}

impl Move {
    /// The longer of the two silences, in ms.
    pub fn silent_ms(&self) -> f64 {
        self.up.silent_ms.max(self.down.silent_ms)
    }
}

/// What did not hold, one sentence each.
pub fn failures(outing: Option<&Outing>) -> Vec<String> {
    let Some(outing) = outing.filter(|outing| !outing.moves.is_empty()) else {
        return vec!["The way out of the house and back is missing.".to_owned()];
    };
    let mut failures = Vec::new();
    for (what, broken) in [
        ("The download on the way out and back", &outing.broken),
        ("The session by SSH", &outing.session_broken),
    ] {
        if let Some(why) = broken {
            failures.push(format!("{what} broke off: {why}."));
        }
    }
    for step in outing.moves.iter().filter(|step| !step.lease_kept) {
        failures.push(format!(
            "At {} the address of the home LAN was another: {}.",
            step.to, step.address
        ));
    }
    let other = outing.spoke_from.iter().filter(|from| **from != outing.address);
    failures.extend(other.map(|from| format!("The phone spoke from {from} on its way.")));
    failures
}

/// The section of the page.
pub(super) fn section(outing: Option<&Outing>) -> String {
    let Some(outing) = outing.filter(|outing| !outing.moves.is_empty()) else {
        return absence("Not measured in this run.");
    };
    let mut out = format!(
        "<p>The phone holds a tunnel of its own to its home gateway, by Wi-Fi and by cellular \
         (<code>hold = \"{}\"</code>). With {}, an address of its home LAN, it leaves home, goes past \
         two strangers’ gateways and out of coverage, and comes home: in a call of a packet every 20 \
         ms each way, with a session by SSH and a download, of which {} came. Traffic changed from \
         one access to the other <strong>{} times</strong>.</p>\n",
        Esc(&outing.hold),
        Esc(&outing.address),
        octets(outing.downloaded()),
        outing.switches()
    );
    put(
        &mut out,
        format_args!(
            "<figure>\n{}<figcaption>Curves: how loud each gateway is. Bars: which way traffic went; \
             dots: the phone’s agent decided, or found something out. Below: silences of the call \
             of five packets and more, to the phone and from it.</figcaption>\n</figure>\n",
            drawing::drawings(outing)
        ),
    );
    let mut rows = String::new();
    for step in &outing.moves {
        put(
            &mut rows,
            format_args!(
                "<tr><th scope=\"row\">{}</th><td data-label=\"by\">{}</td>\
                 <td data-label=\"silent down, ms\" class=\"number\">{}</td>\
                 <td data-label=\"silent up, ms\" class=\"number\">{}</td>\
                 <td data-label=\"lost, down and up\" class=\"number\">{} and {}</td>\
                 <td data-label=\"key echoed after, ms\" class=\"number\">{}</td>\
                 <td data-label=\"download stood, ms\" class=\"number\">{}</td>\
                 <td data-label=\"address\" class=\"{}\">{}</td></tr>\n",
                Esc(&step.to),
                step.by.words(),
                page::tenth(step.down.silent_ms),
                page::tenth(step.up.silent_ms),
                step.down.lost,
                step.up.lost,
                page::tenth(step.echo_ms),
                page::tenth(step.stalled_ms),
                if step.lease_kept { "" } else { "bad" },
                Esc(&step.address)
            ),
        );
    }
    let heads = [
        ("to", ""),
        ("by", ""),
        ("silent down, ms", "number"),
        ("silent up, ms", "number"),
        ("lost", "number"),
        ("key echoed after, ms", "number"),
        ("download stood, ms", "number"),
        ("address", ""),
    ];
    out += &page::table("cards", "Each move", &heads, &rows);
    put(&mut out, format_args!("<figure>\n{}</figure>\n", throughput(outing)));
    out + &decisions(outing)
}

fn decisions(outing: &Outing) -> String {
    let mut rows = String::new();
    for decision in &outing.decisions {
        put(
            &mut rows,
            format_args!(
                "<tr><th scope=\"row\">{}</th><td data-label=\"at, s\" class=\"number\">{}</td>\
                 <td data-label=\"why\">{}</td></tr>\n",
                Esc(&decision.what),
                page::tenth(decision.at_ms / 1e3),
                Esc(&decision.why)
            ),
        );
    }
    let heads = [("what", ""), ("at, s", "number"), ("why", "")];
    page::table("cards", "What the phone’s agent decided", &heads, &rows)
}

/// A line for the whole, and one a move.
pub(super) fn lines(outing: Option<&Outing>) -> Vec<String> {
    let Some(outing) = outing.filter(|outing| !outing.moves.is_empty()) else {
        return vec!["not measured".to_owned()];
    };
    let mut lines = vec![format!(
        "{} moves with {}, one download ({:.1} MB), {} changes of access",
        outing.moves.len(),
        outing.address,
        outing.downloaded() as f64 / 1e6,
        outing.switches()
    )];
    lines.extend(outing.moves.iter().map(told));
    lines
}

/// A move in a sentence.
fn told(step: &Move) -> String {
    format!(
        "to {} by {}: silent {} ms down, {} ms up, {} and {} lost; {} {}",
        step.to,
        step.by.words(),
        figure(step.down.silent_ms.round()),
        figure(step.up.silent_ms.round()),
        step.down.lost,
        step.up.lost,
        if step.lease_kept { "still" } else { "now" },
        step.address
    )
}

/// A move in a few words.
fn flag(step: &Move) -> String {
    format!("{}: {} ms silent", step.to, figure(step.silent_ms().round()))
}

fn throughput(outing: &Outing) -> String {
    let plot = Plot {
        id: "outing",
        title: "Throughput out of the house and back",
        description: "One TCP connection all the way. The moves are in the drawing above.",
        pace_mbit: outing.pace_mbit,
        step_ms: outing.step_ms,
        octets: &outing.octets,
        flags: &[],
    };
    plot.drawings()
}

#[cfg(test)]
mod tests {
    use super::drawing::{Stay, stays};
    use super::*;

    #[test]
    fn looks_of_the_same_way_are_one_stay() {
        let path = |at_ms, wifi, cellular| Path { at_ms, wifi, cellular };
        let paths = [
            path(200.0, 9, 0),
            path(400.0, 0, 0),
            path(600.0, 8, 1),
            path(f64::NAN, 0, 9),
            path(800.0, 2, 9),
        ];
        let stay = |way, from, to| Stay { way, from, to };
        let expected = [stay(Way::Wifi, 0.0, 600.0), stay(Way::Cellular, 600.0, 800.0)];
        assert_eq!(stays(&paths), expected);
    }
}
