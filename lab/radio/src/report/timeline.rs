//! The timeline as a drawing: lanes for the actors, flags for the marks.
//!
//! Marks may be a millisecond apart, so a flag's text stands where there is room. Across: the
//! text is right of its pole, and an earlier flag is higher than all those whose pole it would
//! cover, so no text meets another or is crossed by a pole. Down (narrow pages): texts keep
//! their order and are pushed apart.

use super::markup::{Esc, fit, open_svg, put, tick_step, ticks, width};
use super::{Actor, Mark, Report, figure};

/// Size of the flags' text, in px.
const TEXT: f64 = 14.0;
/// From one row of flags to the next, in px.
const ROW: f64 = 22.0;
/// From one lane to the next, in px.
const LANE: f64 = 34.0;
/// The longest flag, in px; longer names are cut here and whole in the table.
const FLAG: f64 = 190.0;

/// Both drawings; the style sheet shows the one that fits.
pub(super) fn drawings(report: &Report) -> String {
    let marks = report.marks();
    if marks.is_empty() {
        return String::new();
    }
    format!(
        "<div class=\"wide\">\n{}</div>\n<div class=\"narrow\">\n{}</div>\n",
        across(&marks),
        down(&marks)
    )
}

/// The actors that have a mark, in the order of the lanes.
fn lanes(marks: &[&Mark]) -> Vec<Actor> {
    Actor::ALL.into_iter().filter(|actor| marks.iter().any(|m| m.actor == *actor)).collect()
}

/// From when to when, with room for a tick more.
fn span(marks: &[&Mark]) -> (f64, f64) {
    let from = marks.first().map_or(0.0, |m| m.at_ms.min(0.0));
    let to = marks.last().map_or(0.0, |m| m.at_ms);
    (from, to.max(from + 1.0))
}

fn describe(marks: &[&Mark]) -> String {
    let told: Vec<String> = marks
        .iter()
        .map(|m| format!("{} ({}) at {} ms", m.name, m.actor, figure(m.at_ms)))
        .collect();
    format!("{}. The table below has the same figures.", told.join(", "))
}

/// What a flag says, cut to its room: the name, and when.
fn flag(mark: &Mark) -> (String, String) {
    let when = format!("{} ms", figure(mark.at_ms));
    let name = fit(&mark.name.to_string(), TEXT, FLAG - width(&when, TEXT) - 8.0);
    (name, when)
}

/// The row of each flag, the lowest being 0: above every later one whose pole it would cover.
pub(super) fn rows(poles: &[f64], widths: &[f64]) -> Vec<usize> {
    let mut rows = vec![0; poles.len()];
    for i in (0..poles.len()).rev() {
        let end = poles[i] + widths[i];
        let covered = (i + 1..poles.len()).filter(|j| poles[*j] < end);
        rows[i] = covered.map(|j| rows[j] + 1).max().unwrap_or(0);
    }
    rows
}

/// The smallest shift downwards that keeps `wanted` in order and `gap` apart, and within `end`
/// as far as there is room.
pub(super) fn spread(wanted: &[f64], gap: f64, end: f64) -> Vec<f64> {
    let mut places = wanted.to_vec();
    for i in 1..places.len() {
        places[i] = places[i].max(places[i - 1] + gap);
    }
    let mut limit = end;
    for place in places.iter_mut().rev() {
        *place = place.min(limit);
        limit = *place - gap;
    }
    places
}

fn across(marks: &[&Mark]) -> String {
    let (left, w) = (104.0, 960.0);
    let (from, to) = span(marks);
    let lanes = lanes(marks);
    let flags: Vec<(String, String)> = marks.iter().map(|m| flag(m)).collect();
    let widths: Vec<f64> =
        flags.iter().map(|(name, when)| width(name, TEXT) + width(when, TEXT) + 26.0).collect();
    // As wide as the flags allow: each ends within the drawing.
    let start = left + 14.0;
    let part = |at: f64| (at - from) / (to - from);
    let right = marks
        .iter()
        .zip(&widths)
        .map(|(m, flag)| start + (w - flag - start) / part(m.at_ms).max(0.01))
        .fold(w - 24.0, f64::min);
    let x = |at: f64| start + part(at) * (right - start);
    let poles: Vec<f64> = marks.iter().map(|m| x(m.at_ms)).collect();
    let rows = rows(&poles, &widths);
    let top = 10.0;
    let highest = rows.iter().copied().max().unwrap_or(0);
    let flag_y = |row: usize| top + ROW * (highest - row) as f64 + TEXT;
    let lanes_top = flag_y(0) + 34.0;
    let lane_y = |actor: Actor| {
        lanes_top + LANE * lanes.iter().position(|a| *a == actor).unwrap_or(0) as f64
    };
    let bottom = lanes_top + LANE * lanes.len() as f64 - LANE / 2.0;
    let mut out = open_svg(
        "timeline",
        (w, bottom + 30.0),
        "From first probe to first packet",
        &describe(marks),
    );
    for tick in ticks(from, to, tick_step(to - from, 7.0)) {
        put(
            &mut out,
            format_args!(
                "<line class=\"grid\" x1=\"{0:.1}\" y1=\"{1:.1}\" x2=\"{0:.1}\" y2=\"{2:.1}\"/>\n\
             <text class=\"tick\" text-anchor=\"middle\" x=\"{0:.1}\" y=\"{3:.1}\">{4}</text>\n",
                x(tick),
                lanes_top - LANE / 2.0,
                bottom,
                bottom + 18.0,
                figure(tick)
            ),
        );
    }
    put(
        &mut out,
        format_args!(
            "<text class=\"tick\" text-anchor=\"end\" x=\"{:.1}\" y=\"{:.1}\">ms</text>\n",
            left - 14.0,
            bottom + 18.0
        ),
    );
    for actor in &lanes {
        put(
            &mut out,
            format_args!(
                "<line class=\"lane\" x1=\"{left:.1}\" y1=\"{1:.1}\" x2=\"{2:.1}\" y2=\"{1:.1}\"/>\n\
             <text class=\"lane-name ink-{0}\" text-anchor=\"end\" x=\"{3:.1}\" y=\"{4:.1}\">{0}</text>\n",
                actor,
                lane_y(*actor),
                right + 14.0,
                left - 14.0,
                lane_y(*actor) + 5.0
            ),
        );
    }
    let dots: Vec<(f64, f64)> =
        marks.iter().zip(&poles).map(|(m, pole)| (*pole, lane_y(m.actor))).collect();
    out.push_str(&path(&dots));
    for (((mark, pole), row), (name, when)) in marks.iter().zip(&poles).zip(&rows).zip(&flags) {
        let (text_y, dot_y) = (flag_y(*row), lane_y(mark.actor));
        put(
            &mut out,
            format_args!(
                "<line class=\"pole line-{0}\" x1=\"{pole:.1}\" y1=\"{1:.1}\" x2=\"{pole:.1}\" y2=\"{dot_y:.1}\"/>\n\
             <circle class=\"dot fill-{0}\" cx=\"{pole:.1}\" cy=\"{dot_y:.1}\" r=\"5\"/>\n\
             <text class=\"flag\" x=\"{2:.1}\" y=\"{text_y:.1}\">{3} <tspan class=\"when\">{4}</tspan></text>\n",
                mark.actor,
                text_y - TEXT + 2.0,
                pole + 6.0,
                Esc(name),
                when
            ),
        );
    }
    out + "</svg>\n"
}

fn down(marks: &[&Mark]) -> String {
    let (w, column) = (360.0, 24.0);
    let (from, to) = span(marks);
    let lanes = lanes(marks);
    let top = 30.0 + ROW * lanes.len().div_ceil(3) as f64;
    let height = (marks.len() as f64 * 26.0 + 40.0).max(300.0);
    let y = |at: f64| top + (at - from) / (to - from) * height;
    let left = 58.0;
    let lane_x =
        |actor: Actor| left + column * lanes.iter().position(|a| *a == actor).unwrap_or(0) as f64;
    let text_x = left + column * lanes.len() as f64 + 16.0;
    let wanted: Vec<f64> = marks.iter().map(|m| y(m.at_ms)).collect();
    let places = spread(&wanted, ROW, top + height);
    let mut out = open_svg(
        "timeline-narrow",
        (w, top + height + 24.0),
        "From first probe to first packet",
        &describe(marks),
    );
    for (n, actor) in lanes.iter().enumerate() {
        let (cx, cy) = (16.0 + 110.0 * (n % 3) as f64, 14.0 + ROW * (n / 3) as f64);
        put(
            &mut out,
            format_args!(
                "<circle class=\"dot fill-{0}\" cx=\"{cx:.1}\" cy=\"{cy:.1}\" r=\"5\"/>\n\
             <text class=\"lane-name ink-{0}\" x=\"{1:.1}\" y=\"{2:.1}\">{0}</text>\n\
             <line class=\"lane\" x1=\"{3:.1}\" y1=\"{4:.1}\" x2=\"{3:.1}\" y2=\"{5:.1}\"/>\n",
                actor,
                cx + 10.0,
                cy + 5.0,
                lane_x(*actor),
                top - 10.0,
                top + height + 10.0
            ),
        );
    }
    for tick in ticks(from, to, tick_step(to - from, 6.0)) {
        put(
            &mut out,
            format_args!(
                "<line class=\"grid\" x1=\"{0:.1}\" y1=\"{1:.1}\" x2=\"{2:.1}\" y2=\"{1:.1}\"/>\n\
             <text class=\"tick\" text-anchor=\"end\" x=\"{3:.1}\" y=\"{4:.1}\">{5}</text>\n",
                left - 12.0,
                y(tick),
                text_x - 28.0,
                left - 18.0,
                y(tick) + 4.0,
                figure(tick)
            ),
        );
    }
    put(
        &mut out,
        format_args!(
            "<text class=\"tick\" text-anchor=\"end\" x=\"{:.1}\" y=\"{:.1}\">ms</text>\n",
            left - 18.0,
            top - 14.0
        ),
    );
    let dots: Vec<(f64, f64)> =
        marks.iter().zip(&wanted).map(|(m, y)| (lane_x(m.actor), *y)).collect();
    out.push_str(&path(&dots));
    for ((mark, (dot_x, dot_y)), place) in marks.iter().zip(&dots).zip(&places) {
        let (name, when) = flag(mark);
        put(
            &mut out,
            format_args!(
                "<polyline class=\"pole line-{0}\" points=\"{dot_x:.1},{dot_y:.1} {1:.1},{dot_y:.1} {2:.1},{place:.1}\"/>\n\
             <circle class=\"dot fill-{0}\" cx=\"{dot_x:.1}\" cy=\"{dot_y:.1}\" r=\"5\"/>\n\
             <text class=\"flag\" x=\"{3:.1}\" y=\"{4:.1}\">{5} <tspan class=\"when\">{when}</tspan></text>\n",
                mark.actor,
                text_x - 26.0,
                text_x - 4.0,
                text_x,
                place + 5.0,
                Esc(&name)
            ),
        );
    }
    out + "</svg>\n"
}

/// The thread that runs from mark to mark.
fn path(dots: &[(f64, f64)]) -> String {
    let points: Vec<String> = dots.iter().map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
    format!("<polyline class=\"thread\" points=\"{}\"/>\n", points.join(" "))
}
