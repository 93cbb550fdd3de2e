//! What the machine is told.

use homeward_model::{Instant, Mac, Rssi};
use serde::{Deserialize, Serialize};

use crate::geo::Position;
use crate::number::in_ms;

/// An access point in a scan's result.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Heard {
    /// Which.
    pub bssid: Mac,
    /// Whether it is a gateway that the device may use: its SSID or BSSID is one of the operator's.
    /// All others are nobody's business here.
    pub known: bool,
    /// The signal of its beacon or probe response.
    pub rssi: Rssi,
}

/// Where the device is, as a receiver of GNSS has it. It may be old, and it may lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fix {
    /// When it was taken, on the machine's clock.
    #[serde(rename = "taken_ms", with = "in_ms")]
    pub taken: Instant,
    /// Where.
    pub position: Position,
    /// The radius that holds the true place in two of three cases, in metres, rounded up.
    pub accuracy_m: u16,
    /// Over ground, in cm/s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub speed_cm_s: Option<u16>,
    /// Over ground, in hundredths of a degree from true north by east: 0 to 35,999.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub course_cdeg: Option<u16>,
}

/// Where the device's traffic goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Path {
    /// By Wi-Fi, through a gateway.
    Wifi,
    /// By cellular.
    Cellular,
}
