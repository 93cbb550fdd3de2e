//! A call from LTE to Wi-Fi behind ePDGs and back, each hop proven: what is kept of it, and how it is
//! shown.

use serde::{Deserialize, Serialize};

use super::handoff::{self, Checked, Hop};
use super::markup::{Esc, put};
use super::{absence, figure, page};

/// Packets of 20 ms that may be lost each way where one way is there before the other goes.
pub const FEW: u64 = 5;

/// A phone's call, from network to network.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Call {
    /// The networks that the phone went through, by the records that it and they signed.
    pub hops: Vec<Hop>,
    /// The moves from one to the next.
    pub moves: Vec<Move>,
    /// Which network's module was not to be trusted any more, at the end.
    pub revoked: Option<String>,
    /// From then until who is called heard nothing more of the call; `None` if the call went on.
    pub cut_off_ms: Option<f64>,
}

/// A move in the call.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Move {
    /// To which network.
    pub to: String,
    /// Whether the one before was gone from one moment to the next.
    pub vanished: bool,
    /// When the phone was told to go, in ms since the call began.
    pub at_ms: f64,
    /// From then until the tunnel to the network's ePDG was up, in ms; `None` where there is none.
    pub tunnel_ms: Option<f64>,
    /// Until the guard had admitted the phone by a chain with this hop in it, in ms.
    pub proven_ms: f64,
    /// Until who is called had answered the re-INVITE under the new key, in ms.
    pub answered_ms: f64,
    /// The media from the phone, as who is called heard it behind the gate.
    pub up: Stream,
    /// The media to the phone.
    pub down: Stream,
}

/// What became of packets that are sent every 20 ms.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Stream {
    /// The longest time from one to the next, in ms.
    pub silent_ms: f64,
    /// How many were lost.
    pub lost: u64,
}

impl Move {
    fn silent_ms(&self) -> f64 {
        self.up.silent_ms.max(self.down.silent_ms)
    }

    fn lost(&self) -> u64 {
        self.up.lost.max(self.down.lost)
    }

    fn cause(&self) -> &'static str {
        if self.vanished { "the one before vanished" } else { "it was told to" }
    }
}

/// What did not hold, one sentence each.
pub fn failures(call: Option<&Call>) -> Vec<String> {
    let Some(call) = call.filter(|call| !call.moves.is_empty()) else {
        return vec!["The call from network to network is missing.".to_owned()];
    };
    let mut failures = handoff::broken(&call.hops, call.moves.len());
    for step in call.moves.iter().filter(|step| !step.vanished && step.lost() > FEW) {
        failures.push(format!(
            "On the way to {} the call lost {} packets; one way before the other loses {FEW} at most.",
            step.to,
            step.lost()
        ));
    }
    if call.cut_off_ms.is_none() {
        failures.push("The call went on through a network that is not to be trusted.".to_owned());
    }
    failures
}

/// The section of the page.
pub(super) fn section(call: Option<&Call>) -> String {
    let Some(call) = call.filter(|call| !call.moves.is_empty()) else {
        return absence("Not measured in this run.");
    };
    let mut out = "<p>A phone in a call goes by a GTP bearer of osmo-ggsn’s, and by Wi-Fi behind ePDGs, \
                   with one address. Each ePDG, stock strongSwan, lets in who brings the key of the \
                   network before (RFC 8784). The guard’s gate lets its RTP through while its chain \
                   holds, and Kamailio takes a REGISTER and a re-INVITE with the key of the last hop \
                   alone: the one before was tried each time, and refused. In namespaces, without \
                   radio.</p>\n"
        .to_owned();
    let checks: Vec<Checked> = call
        .moves
        .iter()
        .map(|step| Checked { at_ms: step.at_ms + step.proven_ms, silent_ms: step.silent_ms() })
        .collect();
    out += &handoff::figure_of(&call.hops, &checks, "call");
    let mut rows = String::new();
    for step in &call.moves {
        let lost = if !step.vanished && step.lost() > FEW { "bad" } else { "" };
        let tunnel = step.tunnel_ms.map_or_else(|| "–".to_owned(), page::tenth);
        put(
            &mut rows,
            format_args!(
                "<tr><th scope=\"row\">{}</th><td data-label=\"why\">{}</td>\
                 <td data-label=\"tunnel up after, ms\" class=\"number\">{tunnel}</td>\
                 <td data-label=\"proven after, ms\" class=\"number\">{}</td>\
                 <td data-label=\"re-INVITE answered after, ms\" class=\"number\">{}</td>\
                 <td data-label=\"silent from it, ms\" class=\"number\">{}</td>\
                 <td data-label=\"silent to it, ms\" class=\"number\">{}</td>\
                 <td data-label=\"lost from and to it\" class=\"number {lost}\">{} + {}</td></tr>\n",
                Esc(&step.to),
                step.cause(),
                page::tenth(step.proven_ms),
                page::tenth(step.answered_ms),
                page::tenth(step.up.silent_ms),
                page::tenth(step.down.silent_ms),
                step.up.lost,
                step.down.lost
            ),
        );
    }
    out += "<p>A packet is sent every 20 ms, so 20 ms is no silence.</p>\n";
    let heads = [
        ("to", ""),
        ("why", ""),
        ("tunnel up after, ms", "number"),
        ("proven after, ms", "number"),
        ("re-INVITE answered after, ms", "number"),
        ("silent from it, ms", "number"),
        ("silent to it, ms", "number"),
        ("lost from and to it", "number"),
    ];
    out += &page::table("cards", "Each move of the call", &heads, &rows);
    if let (Some(network), Some(ms)) = (&call.revoked, call.cut_off_ms) {
        put(
            &mut out,
            format_args!(
                "<p>Then the service was told that {} was broken into, in the middle of the chain: \
                 nothing more of the call was heard after {} ms.</p>\n",
                Esc(network),
                figure(ms.round())
            ),
        );
    }
    out
}

/// A line a move, and one for its end.
pub(super) fn lines(call: Option<&Call>) -> Vec<String> {
    let Some(call) = call.filter(|call| !call.moves.is_empty()) else {
        return vec!["not measured".to_owned()];
    };
    let mut lines: Vec<String> = call
        .moves
        .iter()
        .map(|step| {
            format!(
                "to {} ({}): proven after {} ms, silent {} and {} ms, {} and {} lost",
                step.to,
                step.cause(),
                figure(step.proven_ms.round()),
                figure(step.up.silent_ms.round()),
                figure(step.down.silent_ms.round()),
                step.up.lost,
                step.down.lost
            )
        })
        .collect();
    if let (Some(network), Some(ms)) = (&call.revoked, call.cut_off_ms) {
        lines.push(format!("cut off {} ms after {network} was revoked", figure(ms.round())));
    }
    lines
}
