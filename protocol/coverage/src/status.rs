//! What a user sees of the machine. Gateways are spelled in full; the device's position is not told.

use serde::{Deserialize, Serialize};

use homeward_model::Mac;

use crate::decision::Reason;
use crate::settings::Terms;

/// Where the machine stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// On Wi-Fi alone.
    Covered,
    /// On Wi-Fi, with a cellular tunnel held.
    Prepared,
    /// On cellular.
    Away,
}

/// The whole of the machine at one moment. Spans are in milliseconds, levels in dBm, to a tenth.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// Where it stands.
    pub state: State,
    /// For how long.
    pub for_ms: u64,
    /// What the class of service decides.
    pub terms: Terms,
    /// How likely it is to be out of coverage soon, 0 to 1; none where nothing is known.
    pub edge: Option<f64>,
    /// How likely it is to be out of coverage now.
    pub out: Option<f64>,
    /// How long until the edge, where that is foreseen.
    pub lead_ms: Option<u64>,
    /// What speaks for being out of coverage, now or soon.
    pub leaving: Vec<Reason>,
    /// What speaks for being in.
    pub entering: Vec<Reason>,
    /// What is not believed.
    pub doubts: Vec<Reason>,
    /// Why Wi-Fi is not gone back to though it may be in range.
    pub withheld: Vec<Reason>,
    /// The gateways that are heard.
    pub gateways: Vec<GatewayStatus>,
    /// The map.
    pub map: Option<MapStatus>,
    /// How old the last fix is, and how accurate in metres.
    pub fix: Option<FixStatus>,
    /// What was decided since the machine began.
    pub counters: Counters,
}

/// A gateway that is heard.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct GatewayStatus {
    /// Which.
    pub bssid: Mac,
    /// Its level.
    pub level: f64,
    /// In dB.
    pub deviation: f64,
    /// In dB/s.
    pub slope: f64,
    /// Whether it counts as in range.
    pub present: bool,
    /// How long ago it was heard.
    pub age_ms: u64,
    /// For how long it is not gone back to.
    pub held_ms: Option<u64>,
}

/// The map that the device has with it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MapStatus {
    /// Its tiles.
    pub tiles: usize,
    /// Its gateways.
    pub gateways: usize,
    /// When it was issued: milliseconds since 1970.
    pub issued: i64,
    /// For how long it is good.
    pub left_ms: u64,
}

/// The last fix.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FixStatus {
    /// How old it is.
    pub age_ms: u64,
    /// In metres.
    pub accuracy_m: u16,
}

/// How often each was decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Counters {
    /// [`Advice::Stay`](crate::Advice::Stay).
    pub stays: u64,
    /// [`Advice::Prepare`](crate::Advice::Prepare).
    pub prepares: u64,
    /// [`Advice::Leave`](crate::Advice::Leave).
    pub leaves: u64,
    /// Those of them without dwell, since Wi-Fi was as good as gone.
    pub urgent: u64,
    /// [`Advice::Return`](crate::Advice::Return).
    pub returns: u64,
}
