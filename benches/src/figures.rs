//! Figures, printed and appended to `target/bench/results.jsonl`.

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;

use anyhow::{Context, Result};
use serde::Serialize;

/// One figure.
#[derive(Debug, Serialize)]
pub(crate) struct Figure<'a> {
    pub(crate) name: &'a str,
    pub(crate) unit: &'a str,
    pub(crate) ours: f64,
    pub(crate) peer: Option<f64>,
    pub(crate) peer_name: Option<&'a str>,
    /// `ours / peer`.
    pub(crate) ratio: Option<f64>,
    /// What `ours` is the median of, or how many samples a percentile is over.
    pub(crate) runs: usize,
}

impl<'a> Figure<'a> {
    /// A figure without a peer.
    pub(crate) fn alone(name: &'a str, unit: &'a str, ours: f64, runs: usize) -> Self {
        Self { name, unit, ours, peer: None, peer_name: None, ratio: None, runs }
    }

    /// Sets the peer's.
    pub(crate) fn beside(mut self, peer_name: &'a str, peer: f64) -> Self {
        self.peer = Some(peer);
        self.peer_name = Some(peer_name);
        self.ratio = (peer != 0.0).then(|| self.ours / peer);
        self
    }

    /// Prints and appends it.
    pub(crate) fn record(&self) -> Result<()> {
        let folder = Path::new("target/bench");
        fs::create_dir_all(folder)
            .context("cannot make target/bench; run from the project's root")?;
        let mut file =
            File::options().create(true).append(true).open(folder.join("results.jsonl"))?;
        writeln!(file, "{}", serde_json::to_string(self)?)?;
        let peer = match (self.peer_name, self.peer, self.ratio) {
            (Some(name), Some(peer), Some(ratio)) => {
                format!("   {name} {peer:.2}   ratio {ratio:.2}")
            }
            _ => String::new(),
        };
        say(&format!(
            "{:32} {:>12.2} {}{peer}   ({} runs)",
            self.name, self.ours, self.unit, self.runs
        ));
        Ok(())
    }
}

/// A line for whoever watches.
pub(crate) fn say(line: &str) {
    // Nobody reads a closed output.
    let _ = writeln!(std::io::stdout(), "{line}");
}

/// The median.
pub(crate) fn median(figures: &mut [f64]) -> f64 {
    percentile(figures, 50)
}

/// The `p`th percentile (nearest rank); 0 of nothing.
pub(crate) fn percentile(figures: &mut [f64], p: usize) -> f64 {
    figures.sort_by(f64::total_cmp);
    let rank = (figures.len() * p).div_ceil(100).max(1) - 1;
    figures.get(rank).copied().unwrap_or_default()
}
