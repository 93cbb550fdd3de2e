//! The scene: houses with the reach of their gateways, the operator's core, and the walk.
//!
//! ```text
//!                  ┌ core ┐
//!            ┌─────┘      └─────┐
//!       ( ⌂ gateway )      ( gateway ⌂ )
//!              ▯ ─ ─ ─ walk ─ ─▸ ▯
//! ```
//!
//! A sketch, not to scale. Only what [`super::Topology`] holds is drawn.

use super::markup::{Esc, open_svg, put, wrap};
use super::{Link, Node, NodeKind, Place, PlaceKind, Report, Topology};

/// Size of the names, in px.
const TEXT: f64 = 14.0;
/// From one line of names to the next, in px.
const LINE: f64 = 19.0;

/// Both drawings; the style sheet shows the one that fits. Empty without a house.
pub(super) fn drawings(report: &Report) -> String {
    let topology = &report.topology;
    if !topology.places.iter().any(|p| p.kind == PlaceKind::House) {
        return String::new();
    }
    format!(
        "<div class=\"wide\">\n{}</div>\n<div class=\"narrow\">\n{}</div>\n",
        Scene::new(topology, 960.0).draw("scene"),
        Scene::new(topology, 360.0).draw("scene-narrow")
    )
}

/// Where things are in one drawing.
struct Scene<'a> {
    topology: &'a Topology,
    houses: Vec<&'a Place>,
    w: f64,
    column: f64,
    /// The centre of the core's box.
    core_y: f64,
    /// The ground on which the houses stand.
    ground: f64,
    /// The half axes of the dome that a radio reaches.
    reach: (f64, f64),
}

impl<'a> Scene<'a> {
    fn new(topology: &'a Topology, w: f64) -> Self {
        let houses: Vec<&Place> =
            topology.places.iter().filter(|p| p.kind == PlaceKind::House).collect();
        let column = w / houses.len().max(1) as f64;
        let rx = (column * 0.44).min(200.0);
        let ry = (rx * 0.75).clamp(90.0, 140.0);
        let core_y = 30.0;
        Self { topology, houses, w, column, core_y, ground: core_y + 72.0 + ry, reach: (rx, ry) }
    }

    /// The middle of a house's column.
    fn x(&self, column: usize) -> f64 {
        self.column * (column as f64 + 0.5)
    }

    fn nodes(&self, place: &str) -> impl Iterator<Item = &'a Node> {
        self.topology.nodes.iter().filter(move |n| n.place == place)
    }

    /// The column of the house with this id.
    fn column_of(&self, place: &str) -> Option<usize> {
        self.houses.iter().position(|p| p.id == place)
    }

    fn draw(&self, id: &str) -> String {
        let mut body = String::new();
        for link in &self.topology.links {
            body.push_str(&self.link(link));
        }
        for column in 0..self.houses.len() {
            body.push_str(&self.house(column));
        }
        body.push_str(&self.core());
        body.push_str(&self.walk());
        let mut bottom = self.ground;
        for (column, place) in self.houses.iter().enumerate() {
            let (text, end) = self.names(column, place);
            body.push_str(&text);
            bottom = bottom.max(end);
        }
        let head = open_svg(id, (self.w, bottom + 6.0), "The scene", &self.describe());
        format!("{head}{body}</svg>\n")
    }

    fn describe(&self) -> String {
        let mut told: Vec<String> = Vec::new();
        for place in &self.topology.places {
            let there: Vec<&str> = self.nodes(&place.id).map(|n| n.name.as_str()).collect();
            let there = if there.is_empty() { "nobody".to_owned() } else { there.join(", ") };
            told.push(format!("{}: {there}.", place.name));
        }
        let walk: Vec<&str> = self
            .topology
            .walk
            .iter()
            .filter_map(|id| self.column_of(id).and_then(|c| self.houses.get(c)))
            .map(|p| p.name.as_str())
            .collect();
        if walk.len() > 1 {
            told.push(format!("The station walks: {}.", walk.join(", then ")));
        }
        told.push("A sketch, not to scale.".to_owned());
        told.join(" ")
    }

    /// Where a wire to this node ends.
    fn socket(&self, name: &str) -> Option<(f64, f64)> {
        let node = self.topology.nodes.iter().find(|n| n.name == name)?;
        if node.kind == NodeKind::Core {
            return Some((self.w / 2.0, self.core_y));
        }
        let column = self.column_of(&node.place)?;
        Some((self.x(column), self.ground - 66.0))
    }

    fn link(&self, link: &Link) -> String {
        let (Some(from), Some(to)) = (self.socket(&link.from), self.socket(&link.to)) else {
            return String::new();
        };
        let (high, low) = if from.1 <= to.1 { (from, to) } else { (to, from) };
        let mut out = format!(
            "<polyline class=\"wire\" points=\"{:.1},{:.1} {2:.1},{1:.1} {2:.1},{3:.1}\"/>\n",
            high.0, high.1, low.0, low.1
        );
        for (n, line) in wrap(&link.label, 12.0, self.column * 0.4, 2).iter().enumerate() {
            put(
                &mut out,
                format_args!(
                    "<text class=\"tick\" x=\"{:.1}\" y=\"{:.1}\">{}</text>\n",
                    low.0 + 8.0,
                    high.1 + 36.0 + 15.0 * n as f64,
                    Esc(line)
                ),
            );
        }
        out
    }

    /// The reach, the house and, if the house has one, its gateway on the roof.
    fn house(&self, column: usize) -> String {
        let (x, y, (rx, ry)) = (self.x(column), self.ground, self.reach);
        let has_gateway = self
            .houses
            .get(column)
            .is_some_and(|p| self.nodes(&p.id).any(|n| n.kind == NodeKind::Gateway));
        let mut out = String::new();
        if has_gateway {
            for part in [1.0, 0.72, 0.44] {
                put(
                    &mut out,
                    format_args!(
                        "<path class=\"reach\" d=\"M{:.1} {y:.1} A{:.1} {:.1} 0 0 1 {:.1} {y:.1} Z\"/>\n",
                        x - rx * part,
                        rx * part,
                        ry * part,
                        x + rx * part
                    ),
                );
            }
        }
        let (half, eaves, ridge) = (24.0, y - 36.0, y - 58.0);
        put(
            &mut out,
            format_args!(
                "<path class=\"house\" d=\"M{:.1} {y:.1} V{eaves:.1} L{x:.1} {ridge:.1} L{:.1} {eaves:.1} V{y:.1} Z\"/>\n\
             <path class=\"door\" d=\"M{:.1} {y:.1} v-18 h10 v18 Z\"/>\n",
                x - half,
                x + half,
                x - 5.0
            ),
        );
        if has_gateway {
            put(
                &mut out,
                format_args!(
                    "<path class=\"antenna\" d=\"M{x:.1} {0:.1} v-10 M{1:.1} {2:.1} a9 9 0 0 1 14 0 M{3:.1} {4:.1} a15 15 0 0 1 22 0\"/>\n\
                 <circle class=\"fill-gateway\" cx=\"{x:.1}\" cy=\"{5:.1}\" r=\"4\"/>\n",
                    ridge,
                    x - 7.0,
                    ridge - 16.0,
                    x - 11.0,
                    ridge - 21.0,
                    ridge - 10.0
                ),
            );
        }
        put(
            &mut out,
            format_args!(
                "<line class=\"ground\" x1=\"{:.1}\" y1=\"{y:.1}\" x2=\"{:.1}\" y2=\"{y:.1}\"/>\n",
                x - rx,
                x + rx
            ),
        );
        out
    }

    fn core(&self) -> String {
        let Some(core) = self.topology.nodes.iter().find(|n| n.kind == NodeKind::Core) else {
            return String::new();
        };
        let half = (self.w / 2.0 - self.column / 2.0 - 20.0).clamp(64.0, 85.0);
        let name = wrap(&core.name, TEXT, 2.0 * half - 12.0, 1).concat();
        let (x, y) = (self.w / 2.0, self.core_y);
        format!(
            "<rect class=\"core\" x=\"{:.1}\" y=\"{:.1}\" width=\"{:.1}\" height=\"36\" rx=\"8\"/>\n\
             <text class=\"name ink-core\" text-anchor=\"middle\" x=\"{x:.1}\" y=\"{:.1}\">{}</text>\n",
            x - half,
            y - 18.0,
            2.0 * half,
            y + 5.0,
            Esc(&name)
        )
    }

    /// The walker at each place of its walk, solid at the last, and the way between them.
    fn walk(&self) -> String {
        let columns: Vec<usize> =
            self.topology.walk.iter().filter_map(|id| self.column_of(id)).collect();
        let half = self.reach.0 * 0.55;
        let y = self.ground - 15.0;
        let mut out = String::new();
        let mut stands = Vec::new();
        for (n, column) in columns.iter().enumerate() {
            // It stands on the side of its house that faces where it goes, or came from.
            let other = columns.get(n + 1).or_else(|| columns.get(n.wrapping_sub(1)));
            let side = if other.is_none_or(|o| o >= column) { 1.0 } else { -1.0 };
            stands.push((self.x(*column) + side * half, n + 1 == columns.len()));
        }
        for pair in stands.windows(2) {
            let (from, to) = (pair[0].0, pair[1].0);
            let step = if to >= from { 1.0 } else { -1.0 };
            put(
                &mut out,
                format_args!(
                    "<path class=\"way\" d=\"M{:.1} {y:.1} H{:.1}\"/>\n\
                 <path class=\"arrow\" d=\"M{:.1} {y:.1} l{:.1} -5 v10 Z\"/>\n",
                    from + step * 14.0,
                    to - step * 22.0,
                    to - step * 13.0,
                    -step * 9.0
                ),
            );
        }
        for (x, last) in stands {
            out.push_str(&phone(x, y, if last { "fill-station" } else { "was-station" }));
        }
        out
    }

    /// What stands at a place, in words below the ground; and where the words end.
    fn names(&self, column: usize, place: &Place) -> (String, f64) {
        let (left, room) = (self.x(column) - self.column * 0.44, self.column * 0.88);
        let mut y = self.ground + 26.0;
        let mut out = String::new();
        let mut line = |text: &str, class: &str, indent: f64, y: f64| {
            put(
                &mut out,
                format_args!(
                    "<text class=\"{class}\" x=\"{:.1}\" y=\"{y:.1}\">{}</text>\n",
                    left + indent,
                    Esc(text)
                ),
            );
        };
        for text in wrap(&place.name, TEXT + 1.0, room, 2) {
            line(&text, "place", 0.0, y);
            y += LINE + 2.0;
        }
        let mut icons = String::new();
        for node in self.nodes(&place.id) {
            let class = match node.kind {
                NodeKind::Walker => "fill-station",
                NodeKind::Gateway => "fill-gateway",
                NodeKind::Core => "fill-core",
                NodeKind::Owner => "fill-owner",
                NodeKind::Stranger => "fill-stranger",
            };
            put(
                &mut icons,
                format_args!(
                    "<circle class=\"{class}\" cx=\"{:.1}\" cy=\"{:.1}\" r=\"5\"/>\n",
                    left + 6.0,
                    y - 5.0
                ),
            );
            for text in wrap(&node.name, TEXT, room - 20.0, 2) {
                line(&text, "name", 20.0, y);
                y += LINE;
            }
            let air = if node.ssids.is_empty() {
                String::new()
            } else {
                format!("on the air: {}", node.ssids.join(" · "))
            };
            for text in [air.as_str(), node.detail.as_str()] {
                for text in wrap(text, 13.0, room - 20.0, 3) {
                    line(&text, "detail", 20.0, y);
                    y += LINE - 2.0;
                }
            }
            y += 5.0;
        }
        (out + &icons, y - LINE + 4.0)
    }
}

/// A telephone of 14 × 24 px around this point.
fn phone(x: f64, y: f64, class: &str) -> String {
    format!(
        "<rect class=\"{class}\" x=\"{:.1}\" y=\"{:.1}\" width=\"14\" height=\"24\" rx=\"3\"/>\n\
         <rect class=\"screen\" x=\"{:.1}\" y=\"{:.1}\" width=\"9\" height=\"15\" rx=\"1\"/>\n",
        x - 7.0,
        y - 12.0,
        x - 4.5,
        y - 9.0
    )
}
