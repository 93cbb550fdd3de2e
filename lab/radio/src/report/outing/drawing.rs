//! The way out and back over time: how loud the gateways were, which way traffic went, what was
//! decided, and when the call was silent.

use super::{Outing, Path, Silence};
use crate::report::figure;
use crate::report::markup::{Esc, fit, open_svg, put, tick_step, ticks, width};
use crate::report::offload::Way;

/// Size of the flags' text, in px.
const TEXT: f64 = 14.0;
/// From the loudest to the quietest that is drawn, in dBm.
const LOUD: (f64, f64) = (-45.0, -85.0);
/// The classes of the gateways' curves, in their order.
const CURVES: [&str; 3] = ["station", "gateway", "core"];
/// Heights of the bands, in px.
const SIGNALS: f64 = 120.0;
const LANE: f64 = 26.0;
const SILENCES: f64 = 80.0;

/// Both drawings; the style sheet shows the one that fits.
pub(super) fn drawings(outing: &Outing) -> String {
    format!(
        "<div class=\"wide\">\n{}</div>\n<div class=\"narrow\">\n{}</div>\n",
        draw(outing, "outing-way", 960.0),
        draw(outing, "outing-way-narrow", 360.0)
    )
}

/// From when to when traffic went by one access.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Stay {
    pub(super) way: Way,
    pub(super) from: f64,
    pub(super) to: f64,
}

/// Which way traffic went, from change to change.
pub(super) fn stays(paths: &[Path]) -> Vec<Stay> {
    let mut stays: Vec<Stay> = Vec::new();
    let mut before = 0.0;
    for path in paths.iter().filter(|path| path.at_ms.is_finite()) {
        let from = std::mem::replace(&mut before, path.at_ms);
        let Some(way) = path.way() else { continue };
        match stays.last_mut() {
            Some(last) if last.way == way => last.to = path.at_ms,
            _ => stays.push(Stay { way, from, to: path.at_ms }),
        }
    }
    stays
}

/// Where things are.
struct Frame {
    left: f64,
    right: f64,
    end_ms: f64,
}

impl Frame {
    fn x(&self, at_ms: f64) -> f64 {
        self.left + at_ms.clamp(0.0, self.end_ms) / self.end_ms * (self.right - self.left)
    }
}

fn draw(outing: &Outing, id: &str, w: f64) -> String {
    let moves: Vec<_> = outing.moves.iter().filter(|m| m.at_ms.is_finite()).collect();
    let last = outing.paths.iter().map(|path| path.at_ms).filter(|at| at.is_finite());
    let end_ms = last.chain(moves.iter().map(|m| m.at_ms + 1e3)).fold(1e3, f64::max);
    let frame = Frame { left: 72.0, right: w - 12.0, end_ms };
    let signals = 24.0 + 20.0 * moves.len() as f64;
    let lanes = signals + SIGNALS + 34.0;
    let silences = lanes + 3.0 * LANE + 22.0;
    let bottom = silences + SILENCES;
    let described: Vec<String> = outing.moves.iter().map(super::told).collect();
    let description = format!("{}. The tables below have the same figures.", described.join(". "));
    let title = "Signals, the way that traffic went, and silences";
    let mut out = open_svg(id, (w, bottom + 30.0), title, &description);
    loud(&mut out, outing, &frame, signals);
    ways(&mut out, outing, &frame, lanes);
    silent(&mut out, &outing.silences, &frame, silences);
    let every = tick_step(end_ms / 1e3, if w > 500.0 { 8.0 } else { 4.0 });
    for tick in ticks(0.0, end_ms / 1e3, every) {
        put(
            &mut out,
            format_args!(
                "<text class=\"tick\" text-anchor=\"middle\" x=\"{:.1}\" y=\"{:.1}\">{} s</text>\n",
                frame.x(tick * 1e3),
                bottom + 18.0,
                figure(tick)
            ),
        );
    }
    for (n, step) in moves.iter().enumerate() {
        let (at, text_y) = (frame.x(step.at_ms), 14.0 + 20.0 * n as f64);
        let text = fit(&super::flag(step), TEXT, frame.right - frame.left - 12.0);
        // On the side that has the room, and within the drawing.
        let (anchor, text_x) = if at + width(&text, TEXT) + 8.0 > frame.right {
            ("end", (at - 6.0).max(width(&text, TEXT)))
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

/// The gateways' signals; a gap where one is out of reach.
fn loud(out: &mut String, outing: &Outing, frame: &Frame, top: f64) {
    let (most, least) = LOUD;
    let y = |dbm: f64| top + (most - dbm.clamp(least, most)) / (most - least) * SIGNALS;
    for dbm in ticks(least, most, 10.0) {
        scale(out, frame, y(dbm), &figure(dbm));
    }
    unit(out, top, "dBm");
    for (signal, class) in outing.signals.iter().zip(CURVES) {
        let points: Vec<_> = signal.points.iter().filter(|(at, _)| at.is_finite()).collect();
        let mut line = String::new();
        for (n, (at, dbm)) in points.iter().enumerate() {
            let Some(dbm) = dbm else {
                curve(out, class, &std::mem::take(&mut line));
                continue;
            };
            let until = points.get(n + 1).map_or(frame.end_ms, |(next, _)| *next);
            let y = y(f64::from(*dbm));
            put(
                &mut line,
                format_args!("{:.1},{y:.1} {:.1},{y:.1} ", frame.x(*at), frame.x(until)),
            );
        }
        curve(out, class, &line);
    }
    // Whose each is, one beside the other below.
    let room = (frame.right - frame.left) / CURVES.len() as f64;
    for (n, (signal, class)) in outing.signals.iter().zip(CURVES).enumerate() {
        put(
            out,
            format_args!(
                "<text class=\"lane-name ink-{class}\" x=\"{:.1}\" y=\"{:.1}\">{}</text>\n",
                frame.left + room * n as f64,
                top + SIGNALS + 16.0,
                Esc(&fit(&signal.gateway, TEXT, room - 8.0))
            ),
        );
    }
}

fn curve(out: &mut String, class: &str, points: &str) {
    if !points.is_empty() {
        put(
            out,
            format_args!(
                "<polyline class=\"signal line-{class}\" points=\"{}\"/>\n",
                points.trim_end()
            ),
        );
    }
}

/// Both accesses as lanes, and a third one for what was decided.
fn ways(out: &mut String, outing: &Outing, frame: &Frame, top: f64) {
    let lane = |n: usize| top + LANE * n as f64;
    let of = |way: Way| lane(usize::from(way == Way::Cellular));
    for (n, name) in ["Wi-Fi", "cellular", "decided"].into_iter().enumerate() {
        put(
            out,
            format_args!(
                "<text class=\"tick\" text-anchor=\"end\" x=\"{:.1}\" y=\"{:.1}\">{name}</text>\n\
                 <line class=\"lane\" x1=\"{3:.1}\" y1=\"{2:.1}\" x2=\"{4:.1}\" y2=\"{2:.1}\"/>\n",
                frame.left - 10.0,
                lane(n) + 4.0,
                lane(n),
                frame.left,
                frame.right
            ),
        );
    }
    for stay in stays(&outing.paths) {
        put(
            out,
            format_args!(
                "<line class=\"stay line-{}\" x1=\"{:.1}\" y1=\"{2:.1}\" x2=\"{3:.1}\" y2=\"{2:.1}\"/>\n",
                if stay.way == Way::Wifi { "station" } else { "owner" },
                frame.x(stay.from),
                of(stay.way),
                frame.x(stay.to)
            ),
        );
    }
    for decision in outing.decisions.iter().filter(|decision| decision.at_ms.is_finite()) {
        put(
            out,
            format_args!(
                "<circle class=\"dot fill-core\" cx=\"{:.1}\" cy=\"{:.1}\" r=\"5\"/>\n",
                frame.x(decision.at_ms),
                lane(2)
            ),
        );
    }
}

/// The silences of the call: as long as they were, and as high.
fn silent(out: &mut String, silences: &[Silence], frame: &Frame, top: f64) {
    let told = || silences.iter().filter(|s| s.at_ms.is_finite() && s.for_ms.is_finite());
    let longest = told().map(|silence| silence.for_ms).fold(100.0, f64::max);
    let unit_ms = tick_step(longest, 3.0);
    let most = (longest / unit_ms).ceil() * unit_ms;
    let y = |ms: f64| top + SILENCES - ms.clamp(0.0, most) / most * SILENCES;
    for tick in ticks(0.0, most, unit_ms) {
        scale(out, frame, y(tick), &figure(tick));
    }
    unit(out, top, "ms silent");
    for silence in told() {
        let (from, to) = (frame.x(silence.at_ms), frame.x(silence.at_ms + silence.for_ms));
        put(
            out,
            format_args!(
                "<rect class=\"silent fill-{}\" x=\"{from:.1}\" y=\"{:.1}\" width=\"{:.1}\" height=\"{:.1}\"/>\n",
                if silence.up { "gateway" } else { "stranger" },
                y(silence.for_ms),
                (to - from).max(1.5),
                top + SILENCES - y(silence.for_ms)
            ),
        );
    }
}

fn scale(out: &mut String, frame: &Frame, y: f64, text: &str) {
    put(
        out,
        format_args!(
            "<line class=\"grid\" x1=\"{:.1}\" y1=\"{y:.1}\" x2=\"{:.1}\" y2=\"{y:.1}\"/>\n\
             <text class=\"tick\" text-anchor=\"end\" x=\"{:.1}\" y=\"{:.1}\">{text}</text>\n",
            frame.left,
            frame.right,
            frame.left - 8.0,
            y + 4.0
        ),
    );
}

fn unit(out: &mut String, top: f64, text: &str) {
    put(out, format_args!("<text class=\"tick\" x=\"0\" y=\"{:.1}\">{text}</text>\n", top - 10.0));
}
