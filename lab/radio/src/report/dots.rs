//! Ours beside the scripted floor: one dot a round, a line at each median.

use super::markup::{open_svg, put, tick_step, ticks};
use super::{Rounds, figure};

/// Both drawings; the style sheet shows the one that fits. Empty without any round.
pub(super) fn drawings(rounds: &Rounds) -> String {
    let numbers = rounds.ours.iter().chain(&rounds.floor).copied().filter(|v| v.is_finite());
    let Some(to) = numbers.reduce(f64::max) else { return String::new() };
    format!(
        "<div class=\"wide\">\n{}</div>\n<div class=\"narrow\">\n{}</div>\n",
        plot(rounds, "dots", to, 960.0, 150.0),
        plot(rounds, "dots-narrow", to, 360.0, 94.0)
    )
}

fn plot(rounds: &Rounds, id: &str, to: f64, w: f64, left: f64) -> String {
    let right = w - 24.0;
    let to = to.max(1.0);
    let wanted = if w > 500.0 { 8.0 } else { 4.0 };
    let step = tick_step(to, wanted);
    let end = (to / step).ceil() * step;
    let x = |v: f64| left + v.clamp(0.0, end) / end * (right - left);
    let describe = |name: &str, values: &[f64], median: Option<f64>| {
        let median =
            median.map_or_else(|| "no median".to_owned(), |m| format!("median {} ms", figure(m)));
        format!("{name}: {} rounds, {median}.", values.len())
    };
    let rows = [
        ("ours", "Homeward", &rounds.ours, rounds.ours_median(), 48.0),
        ("floor", "Floor", &rounds.floor, rounds.floor_median(), 118.0),
    ];
    let told: Vec<String> = rows.iter().map(|r| describe(r.1, r.2, r.3)).collect();
    let mut out =
        open_svg(id, (w, 186.0), "First probe to connected, round by round", &told.join(" "));
    for tick in ticks(0.0, end, step) {
        put(
            &mut out,
            format_args!(
                "<line class=\"grid\" x1=\"{0:.1}\" y1=\"22\" x2=\"{0:.1}\" y2=\"148\"/>\n\
             <text class=\"tick\" text-anchor=\"middle\" x=\"{0:.1}\" y=\"168\">{1}</text>\n",
                x(tick),
                figure(tick)
            ),
        );
    }
    put(
        &mut out,
        format_args!(
            "<text class=\"tick\" text-anchor=\"end\" x=\"{:.1}\" y=\"168\">ms</text>\n",
            left - 12.0
        ),
    );
    if let (Some(ours), Some(floor)) = (rounds.ours_median(), rounds.floor_median()) {
        let (from, to) = (x(ours.min(floor)), x(ours.max(floor)));
        put(
            &mut out,
            format_args!(
                "<rect class=\"between\" x=\"{from:.1}\" y=\"48\" width=\"{:.1}\" height=\"70\"/>\n",
                to - from
            ),
        );
    }
    for (class, name, values, median, y) in rows {
        put(
            &mut out,
            format_args!(
                "<text class=\"lane-name ink-{class}\" text-anchor=\"end\" x=\"{0:.1}\" y=\"{1:.1}\">{name}</text>\n\
             <line class=\"lane\" x1=\"{left:.1}\" y1=\"{y:.1}\" x2=\"{right:.1}\" y2=\"{y:.1}\"/>\n",
                left - 12.0,
                y + 5.0
            ),
        );
        for value in values.iter().filter(|v| v.is_finite()) {
            put(
                &mut out,
                format_args!(
                    "<circle class=\"round fill-{class}\" cx=\"{:.1}\" cy=\"{y:.1}\" r=\"6\"/>\n",
                    x(*value)
                ),
            );
        }
        if median.is_none() {
            put(
                &mut out,
                format_args!(
                    "<text class=\"tick\" x=\"{:.1}\" y=\"{:.1}\">not measured</text>\n",
                    left + 6.0,
                    y - 7.0
                ),
            );
        }
        if let Some(median) = median {
            let (at, text) = (x(median), format!("median {} ms", figure(median)));
            let (anchor, text_x) =
                if at > (left + right) / 2.0 { ("end", at - 6.0) } else { ("start", at + 6.0) };
            put(
                &mut out,
                format_args!(
                    "<line class=\"median line-{class}\" x1=\"{at:.1}\" y1=\"{0:.1}\" x2=\"{at:.1}\" y2=\"{1:.1}\"/>\n\
                 <text class=\"flag\" text-anchor=\"{anchor}\" x=\"{text_x:.1}\" y=\"{2:.1}\">{text}</text>\n",
                    y - 22.0,
                    y + 14.0,
                    y - 13.0
                ),
            );
        }
    }
    out + "</svg>\n"
}
