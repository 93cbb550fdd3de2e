//! What the machine advises, and why.

use std::fmt;
use std::time::Duration;

use homeward_model::{Instant, Mac};
use serde::{Deserialize, Serialize};

use crate::number::in_ms;

/// What to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Advice {
    /// Wi-Fi lasts: let the cellular tunnel go.
    Stay,
    /// The edge is near: make a cellular tunnel, and hold it.
    Prepare,
    /// Move the traffic to cellular.
    Leave,
    /// Move the traffic back to Wi-Fi. The cellular tunnel is held until [`Advice::Stay`].
    Return,
}

/// A decision. One is made for each change, and none twice in a row.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Decision {
    /// What to do.
    pub advice: Advice,
    /// When it was decided, on the machine's clock.
    #[serde(rename = "at_ms", with = "in_ms")]
    pub at: Instant,
    /// How likely it is right, 0 to 1: to be out of coverage (soon, for [`Advice::Prepare`]), or in.
    pub confidence: f64,
    /// How long until the edge, where that is foreseen.
    #[serde(rename = "lead_ms", with = "in_ms::option")]
    pub lead: Option<Duration>,
    /// What speaks for it, and what was not believed. `Display` of each is a sentence.
    pub reasons: Vec<Reason>,
}

/// Something that a detector found. Levels are in dBm, slopes in dB/s, lengths in metres, to a tenth;
/// spans in milliseconds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
#[expect(missing_docs, reason = "the sentence that each prints says what the numbers are")]
pub enum Reason {
    Alone {
        bssid: Mac,
        level: f64,
        threshold: f64,
        for_ms: u64,
    },
    NoneHeard {
        for_ms: u64,
    },
    Falling {
        bssid: Mac,
        gateways: usize,
        level: f64,
        slope: f64,
        threshold: f64,
        crosses_ms: Option<u64>,
    },
    Weak {
        bssid: Mac,
        gateways: usize,
        level: f64,
        deviation: f64,
        threshold: f64,
    },
    Gone {
        bssid: Mac,
        level: f64,
        floor: f64,
    },
    Strong {
        bssid: Mac,
        level: f64,
        slope: f64,
        needed: f64,
        for_ms: u64,
    },
    Steady {
        bssid: Mac,
        level: f64,
        threshold: f64,
        for_ms: u64,
    },
    HeldDown {
        bssid: Mac,
        failures: u32,
        left_ms: u64,
    },
    EdgeAhead {
        edge_m: f64,
        speed_m_s: f64,
        in_ms: u64,
        gateways: usize,
    },
    Outside {
        beyond_m: f64,
        accuracy_m: f64,
    },
    Inside {
        within_m: f64,
        accuracy_m: f64,
        gateways: usize,
    },
    ShortVisit {
        stays_ms: u64,
        least_ms: u64,
    },
    MapSilent {
        gateways: usize,
        for_ms: u64,
    },
    MapBlank {
        bssid: Mac,
        level: f64,
        beyond_m: f64,
    },
    MapExpired {
        for_ms: u64,
    },
    FixFar {
        bssid: Mac,
        away_m: f64,
        range_m: f64,
    },
    FixJumped {
        metres: f64,
        speed_m_s: f64,
    },
    FixStale {
        age_ms: u64,
    },
    FixVague {
        accuracy_m: f64,
    },
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let s = |ms: &u64| format!("{}.{} s", ms / 1000, ms % 1000 / 100);
        match self {
            Self::Alone { bssid, level, threshold, for_ms } => write!(
                f,
                "{bssid} has been the only gateway in range for {}, at {level} dBm ({:.1} dB above the threshold)",
                s(for_ms),
                level - threshold
            ),
            Self::NoneHeard { for_ms } => {
                write!(f, "no gateway has been heard for {}", s(for_ms))
            }
            Self::Falling { bssid, gateways, level, slope, threshold, crosses_ms } => {
                write!(
                    f,
                    "of {gateways} in range the best, {bssid}, is at {level} dBm and changes by {slope} dB/s towards {threshold} dBm"
                )?;
                match crosses_ms {
                    Some(ms) => write!(f, ", there in {}", s(ms)),
                    None => Ok(()),
                }
            }
            Self::Weak { bssid, gateways, level, deviation, threshold } => write!(
                f,
                "of {gateways} in range the best, {bssid}, is at {level} dBm (± {deviation} dB), and {threshold} dBm is the threshold"
            ),
            Self::Gone { bssid, level, floor } => {
                write!(f, "{bssid} is at {level} dBm, below the {floor} dBm that nothing works at")
            }
            Self::Strong { bssid, level, slope, needed, for_ms } => write!(
                f,
                "{bssid} is at {level} dBm and changes by {slope} dB/s; it has been above {needed} dBm for {}",
                s(for_ms)
            ),
            Self::Steady { bssid, level, threshold, for_ms } => write!(
                f,
                "{bssid} is at {level} dBm, and has been safe from {threshold} dBm for {}",
                s(for_ms)
            ),
            Self::HeldDown { bssid, failures, left_ms } => write!(
                f,
                "{bssid} was left soon after {failures} times in a row, and is not gone back to for {}",
                s(left_ms)
            ),
            Self::EdgeAhead { edge_m, speed_m_s, in_ms, gateways } => write!(
                f,
                "the map's coverage ({gateways} gateways) ends in {edge_m} m on this course, at {speed_m_s} m/s in {}",
                s(in_ms)
            ),
            Self::Outside { beyond_m, accuracy_m } => write!(
                f,
                "the position (± {accuracy_m} m) is {beyond_m} m outside of the map's coverage"
            ),
            Self::Inside { within_m, accuracy_m, gateways } => write!(
                f,
                "the position (± {accuracy_m} m) is {within_m} m inside of the map's coverage, in reach of {gateways} gateways"
            ),
            Self::ShortVisit { stays_ms, least_ms } => write!(
                f,
                "by the map this coverage lasts for {}, less than the {} that make it worth it",
                s(stays_ms),
                s(least_ms)
            ),
            Self::MapSilent { gateways, for_ms } => write!(
                f,
                "the map has {gateways} gateways in reach, and none has been heard for {}: it is stale here, or the position lies",
                s(for_ms)
            ),
            Self::MapBlank { bssid, level, beyond_m } => write!(
                f,
                "{bssid} is heard at {level} dBm, and the map's coverage ends {beyond_m} m from here: it is incomplete, or the position lies"
            ),
            Self::MapExpired { for_ms } => {
                write!(f, "the map expired {} ago: fetch a new one", s(for_ms))
            }
            Self::FixFar { bssid, away_m, range_m } => write!(
                f,
                "{bssid} is heard, and stands {away_m} m from the position by the map, with a range of {range_m} m: the position is not believed"
            ),
            Self::FixJumped { metres, speed_m_s } => write!(
                f,
                "the position jumped by {metres} m, at {speed_m_s} m/s: it is not believed"
            ),
            Self::FixStale { age_ms } => write!(f, "the position is {} old", s(age_ms)),
            Self::FixVague { accuracy_m } => {
                write!(f, "the position is no better than ± {accuracy_m} m")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_decision_is_an_object_and_a_reason_a_sentence_without_a_whole_bssid() {
        let reason = Reason::Falling {
            bssid: Mac::new([2, 0, 0x5e, 0x10, 0, 1]),
            gateways: 2,
            level: -68.4,
            slope: -0.6,
            threshold: -72.0,
            crosses_ms: Some(8_450),
        };
        assert_eq!(
            reason.to_string(),
            "of 2 in range the best, 02:00:5e:**:**:**, is at -68.4 dBm and changes by -0.6 dB/s \
             towards -72 dBm, there in 8.4 s"
        );
        let decision = Decision {
            advice: Advice::Prepare,
            at: Instant::from_nanos(12_345_000_000),
            confidence: 0.75,
            lead: Some(Duration::from_millis(8_450)),
            reasons: vec![reason],
        };
        let text = serde_json::to_string(&decision).unwrap();
        assert_eq!(
            text,
            r#"{"advice":"prepare","at_ms":12345,"confidence":0.75,"lead_ms":8450,"reasons":[{"kind":"falling","bssid":"02:00:5e:10:00:01","gateways":2,"level":-68.4,"slope":-0.6,"threshold":-72.0,"crosses_ms":8450}]}"#
        );
        assert_eq!(serde_json::from_str::<Decision>(&text).unwrap(), decision);
    }
}
