//! What the owner of the stranger's gateway noticed.

use serde::{Deserialize, Serialize};

use super::figure;

/// The longest silence between two beacons of the owner's AP that counts as undisturbed, in ms.
pub const BEACON_GAP_LIMIT_MS: f64 = 250.0;

/// What the owner of the stranger's gateway noticed during all this.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Owner {
    /// How often the owner's station lost its connection.
    pub disconnects: u32,
    /// The longest silence between two beacons of the owner's AP, in ms; `None` if fewer than
    /// two were heard.
    pub max_beacon_gap_ms: Option<f64>,
    /// Up to where that counts as undisturbed, in ms; see [`BEACON_GAP_LIMIT_MS`].
    pub beacon_gap_limit_ms: f64,
    /// How many beacons were heard.
    pub beacons: u64,
}

impl Owner {
    /// No disconnect, and beacons without a gap over the limit.
    pub fn undisturbed(&self) -> bool {
        self.disconnects == 0
            && self.max_beacon_gap_ms.is_some_and(|gap| gap <= self.beacon_gap_limit_ms)
    }
}

/// What did not hold, one sentence each.
pub(super) fn failures(owner: &Owner) -> Vec<String> {
    let mut failures = Vec::new();
    if owner.disconnects > 0 {
        failures.push(format!("The owner's station was disconnected {} ×.", owner.disconnects));
    }
    match owner.max_beacon_gap_ms {
        None => failures.push("The owner's beacons were not heard.".to_owned()),
        Some(gap) if gap > owner.beacon_gap_limit_ms => failures.push(format!(
            "The owner's AP was silent for {} ms; the limit is {} ms.",
            figure(gap),
            figure(owner.beacon_gap_limit_ms)
        )),
        Some(_) => {}
    }
    failures
}
