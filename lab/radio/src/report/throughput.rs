//! A download's throughput as a drawing, with a flag at each moment that matters.

use super::figure;
use super::markup::{Esc, open_svg, put, tick_step, ticks, width};

/// Size of the flags' text, in px.
const TEXT: f64 = 14.0;

/// A moment of a download.
#[derive(Debug)]
pub(super) struct Flag {
    /// Since the download began, in ms.
    pub(super) at_ms: f64,
    /// What people read.
    pub(super) text: String,
}

/// What is drawn.
#[derive(Debug)]
pub(super) struct Plot<'a> {
    /// Unique on the page.
    pub(super) id: &'a str,
    pub(super) title: &'a str,
    pub(super) description: &'a str,
    /// What the download was held to, in Mbit/s.
    pub(super) pace_mbit: f64,
    /// The width of a step of [`Self::octets`], in ms.
    pub(super) step_ms: f64,
    /// Octets that came in each step.
    pub(super) octets: &'a [u64],
    /// By time.
    pub(super) flags: &'a [Flag],
}

impl Plot<'_> {
    /// Both drawings; the style sheet shows the one that fits. Empty without a download.
    pub(super) fn drawings(&self) -> String {
        let bars = bars(self.step_ms, self.octets);
        if bars.is_empty() {
            return String::new();
        }
        let narrow = format!("{}-narrow", self.id);
        format!(
            "<div class=\"wide\">\n{}</div>\n<div class=\"narrow\">\n{}</div>\n",
            self.draw(&bars, self.id, 960.0),
            self.draw(&bars, &narrow, 360.0)
        )
    }

    fn draw(&self, bars: &[f64], id: &str, w: f64) -> String {
        let (left, right) = (56.0, w - 12.0);
        let flags: Vec<&Flag> = self.flags.iter().filter(|f| f.at_ms.is_finite()).collect();
        let (top, height) = (24.0 + 20.0 * flags.len() as f64, 150.0);
        let bottom = top + height;
        let end = bars.len() as f64 * self.step_ms;
        // After a silence, what waited comes at once; that is not what the drawing is about.
        let most = if self.pace_mbit.is_finite() { (self.pace_mbit * 1.5).max(0.1) } else { 1.0 };
        let unit = tick_step(most, 4.0);
        let most = (most / unit).ceil() * unit;
        let x = |ms: f64| left + ms.clamp(0.0, end) / end * (right - left);
        let y = |mbit: f64| bottom - mbit.min(most) / most * height;
        let mut out = open_svg(id, (w, bottom + 30.0), self.title, self.description);
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
            let from = n as f64 * self.step_ms;
            put(
                &mut points,
                format_args!(
                    " {:.1},{2:.1} {:.1},{2:.1}",
                    x(from),
                    x(from + self.step_ms),
                    y(*bar)
                ),
            );
        }
        put(
            &mut out,
            format_args!(
                "<polyline class=\"throughput\" points=\"{points} {:.1},{bottom:.1}\"/>\n",
                x(end)
            ),
        );
        for (n, flag) in flags.iter().enumerate() {
            let (at, text_y) = (x(flag.at_ms), 14.0 + 20.0 * n as f64);
            let (anchor, text_x) = if at + width(&flag.text, TEXT) + 8.0 > right {
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
                    Esc(&flag.text)
                ),
            );
        }
        out + "</svg>\n"
    }
}

/// Throughput in each step, in Mbit/s; empty without a step.
fn bars(step_ms: f64, octets: &[u64]) -> Vec<f64> {
    if !(step_ms.is_finite() && step_ms > 0.0) {
        return Vec::new();
    }
    octets.iter().map(|octets| *octets as f64 * 8.0 / (step_ms * 1e3)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn octets_become_megabits_per_second() {
        assert_eq!(bars(100.0, &[125_000, 0]), [10.0, 0.0]);
        for step_ms in [0.0, f64::NAN, -1.0] {
            assert!(bars(step_ms, &[125_000, 0]).is_empty());
        }
    }
}
