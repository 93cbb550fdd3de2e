//! What a demo run found out, as data and as a page.
//!
//! | form | made by | for |
//! |---|---|---|
//! | `report.json` | [`Report::to_json`] | programs; [`Report::from_json`] reads it back |
//! | `report.html` | [`Report::to_html`] | people: one file, no script, nothing loaded from elsewhere |
//! | plain text | [`console`] | the terminal, while the run goes on and at its end |
//!
//! Everything here is pure: what goes in is the [`Report`], what comes out is text. What the run
//! did not see is absent from the data, and each form says that it is absent.

pub mod call;
pub mod console;
mod dots;
pub mod handoff;
mod markup;
pub mod offload;
pub mod outing;
mod owner;
mod page;
#[cfg(test)]
mod sample;
mod scene;
#[cfg(test)]
mod tests;
mod throughput;
mod timeline;
mod topology;
mod walk;

use std::fmt;

use homeward_model::UnixTime;
use serde::{Deserialize, Serialize};

pub use call::Call;
pub use offload::Offload;
pub use outing::Outing;
pub use owner::{BEACON_GAP_LIMIT_MS, Owner};
pub use topology::{Link, Node, NodeKind, Place, PlaceKind, Topology};
pub use walk::{Expected, Move, Walk};

/// The version of the JSON form. It grows with every change that an older reader would misread.
pub const SCHEMA_VERSION: u32 = 1;

/// One run of the demo.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// [`SCHEMA_VERSION`] of the writer.
    pub schema_version: u32,
    /// The version of Homeward that ran.
    pub product_version: String,
    /// When the run began, on the host's wall clock.
    pub started: UnixTime,
    /// How long the whole run took, in ms.
    pub duration_ms: u64,
    /// What it ran on.
    pub machine: Machine,
    /// Who took part, and where.
    pub topology: Topology,
    /// What happened, in the order of the telling.
    pub story: Vec<Step>,
    /// What the walking station went through, in any order.
    pub timeline: Vec<Mark>,
    /// Who else asked to be let in.
    pub refused: Vec<Refused>,
    /// What the owner of the stranger's gateway noticed; `None` if it was not measured.
    pub owner: Option<Owner>,
    /// From gateway to gateway with a download running; `None` if it did not come to that.
    #[serde(default)]
    pub walk: Option<Walk>,
    /// From cellular to Wi-Fi and back; `None` if it did not come to that.
    #[serde(default)]
    pub offload: Option<Offload>,
    /// A call from network to network, each hop proven; `None` if it did not come to that.
    #[serde(default)]
    pub call: Option<Call>,
    /// Out of the house and back by a tunnel of the phone's own; `None` if it did not come to that.
    #[serde(default)]
    pub outing: Option<Outing>,
    /// Why a chapter ended before its time, one text each.
    #[serde(default)]
    pub stopped: Vec<String>,
    /// Repeated measurements, ours and the scripted floor, of the same VM run.
    pub rounds: Rounds,
    /// What follows from all that.
    pub verdict: Verdict,
}

/// What the run took place on. What could not be found out is `None`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Machine {
    /// The kernel inside the VM, as `uname -r` names it.
    pub kernel: Option<String>,
    /// The version of hostapd.
    pub hostapd: Option<String>,
    /// The version of `wpa_supplicant`.
    pub wpa_supplicant: Option<String>,
    /// How many simulated radios there were.
    pub radios: u32,
    /// How the VM's CPU was provided, e.g. `QEMU TCG, 2 cores`.
    pub cpu: Option<String>,
}

/// One event of the story.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Step {
    /// Since the run began, in ms.
    pub at_ms: f64,
    /// Who did it.
    pub actor: Actor,
    /// What it was, in a few words.
    pub title: String,
    /// A sentence more; may be empty.
    pub detail: String,
    /// How it went.
    pub outcome: Outcome,
}

/// How a [`Step`] went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// As it should.
    Done,
    /// Somebody was refused, as it should be.
    Refused,
    /// Not as it should.
    Failed,
    /// Nothing was at stake: a remark.
    Note,
}

/// Who acts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Actor {
    /// The walking station.
    Station,
    /// The gateway's agent.
    Gateway,
    /// The operator's core.
    Core,
    /// The gateway's hostapd.
    Hostapd,
    /// The owner of the gateway, or a station of theirs.
    Owner,
    /// Somebody who is to be refused.
    Stranger,
    /// The test bench itself.
    Lab,
}

impl Actor {
    /// All, in the order of the lanes.
    pub const ALL: [Self; 7] = [
        Self::Station,
        Self::Gateway,
        Self::Core,
        Self::Hostapd,
        Self::Owner,
        Self::Stranger,
        Self::Lab,
    ];

    /// One word in small letters, the same as in JSON; also the class in the style sheet.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Station => "station",
            Self::Gateway => "gateway",
            Self::Core => "core",
            Self::Hostapd => "hostapd",
            Self::Owner => "owner",
            Self::Stranger => "stranger",
            Self::Lab => "lab",
        }
    }
}

impl fmt::Display for Actor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.word())
    }
}

/// A moment on the way from the first probe to the first packet.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Mark {
    /// Which moment.
    pub name: Milestone,
    /// Since the station's first probe request in reach of the stranger's gateway, in ms.
    pub at_ms: f64,
    /// Whose moment it is: the lane that it is drawn in.
    pub actor: Actor,
    /// What was seen, in a few words; may be empty.
    pub detail: String,
}

/// The moments that make up a service, and any other that is worth a mark.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Milestone {
    /// The first directed probe request was on the air.
    Probe,
    /// The core was asked.
    LookUp,
    /// The BSS for the home SSID was on the air.
    BssUp,
    /// 802.11 authentication was done.
    Authenticated,
    /// The station was associated.
    Associated,
    /// The four-way handshake was done: the station calls itself connected.
    Keys,
    /// The station had an address from DHCP.
    Address,
    /// The first packet was there and back.
    FirstPacket,
    /// Any other, in the words that people read. A service does not depend on it.
    #[serde(untagged)]
    Other(String),
}

impl Milestone {
    /// Those that a service consists of, in their order.
    pub const EXPECTED: [Self; 8] = [
        Self::Probe,
        Self::LookUp,
        Self::BssUp,
        Self::Authenticated,
        Self::Associated,
        Self::Keys,
        Self::Address,
        Self::FirstPacket,
    ];
}

impl fmt::Display for Milestone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Probe => "Probe",
            Self::LookUp => "Look-up",
            Self::BssUp => "BSS up",
            Self::Authenticated => "Authenticated",
            Self::Associated => "Associated",
            Self::Keys => "Keys",
            Self::Address => "Address",
            Self::FirstPacket => "First packet",
            Self::Other(name) => name,
        })
    }
}

/// Somebody who asked to be let in and was, or should have been, refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refused {
    /// Who, e.g. `a stranger`.
    pub who: String,
    /// What they tried.
    pub tried: String,
    /// The reason, in one word of the operator's vocabulary, e.g. `unknown-device`.
    pub reason: String,
    /// The message that the operator reads.
    pub message: String,
    /// How far they came.
    pub reached: Reached,
    /// Where the operator can see it.
    pub seen_in: Vec<SeenIn>,
}

/// How far somebody came who was to be refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reached {
    /// Nothing of theirs was seen on the air.
    None,
    /// They probed and had no answer.
    Probed,
    /// 802.11 authentication, no further.
    Authenticated,
    /// Association, but not the four-way handshake: where a wrong WPA2 key is found out.
    Associated,
    /// They got in: a failure.
    Connected,
}

/// Where an operator can see a refusal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SeenIn {
    /// `homeward gateway status`.
    Status,
    /// The log.
    Log,
}

impl SeenIn {
    /// One word in small letters, the same as in JSON.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Status => "status",
            Self::Log => "log",
        }
    }
}

/// First probe to connected, in ms, once per round.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Rounds {
    /// With Homeward: look-up at the core, then the BSS.
    pub ours: Vec<f64>,
    /// The scripted floor: the BSS added at the first probe, without a look-up.
    pub floor: Vec<f64>,
}

impl Rounds {
    /// The median of [`Rounds::ours`]; `None` without rounds.
    pub fn ours_median(&self) -> Option<f64> {
        median(&self.ours)
    }

    /// The median of [`Rounds::floor`]; `None` without rounds.
    pub fn floor_median(&self) -> Option<f64> {
        median(&self.floor)
    }

    /// How much later than the floor we are, by the medians, in ms.
    pub fn difference(&self) -> Option<f64> {
        Some(self.ours_median()? - self.floor_median()?)
    }
}

/// What a further run adds to a [`Report`].
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Chapter {
    /// How long it took, in ms.
    pub duration_ms: u64,
    /// What happened, since it began.
    pub story: Vec<Step>,
    /// From cellular to Wi-Fi and back; `None` if it did not come to that.
    pub offload: Option<Offload>,
    /// A call from network to network, likewise.
    #[serde(default)]
    pub call: Option<Call>,
    /// Out of the house and back, likewise.
    #[serde(default)]
    pub outing: Option<Outing>,
    /// Why it ended before its time.
    pub stopped: Option<String>,
}

/// Was the station served, and did all else hold?
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verdict {
    /// Whether the walking station was served.
    pub outcome: Service,
    /// Everything that did not hold, one sentence each. Empty: the demo passed.
    pub failures: Vec<String>,
}

impl Verdict {
    /// Served, and nothing else failed.
    pub fn passed(&self) -> bool {
        self.outcome == Service::Served && self.failures.is_empty()
    }
}

/// Whether the walking station was served.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Service {
    /// From the first probe to the first packet.
    Served,
    /// Something on the way is missing.
    NotServed,
}

/// Why a report could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The text is not a report.
    #[error("not a demo report")]
    Form(#[from] serde_json::Error),
    /// It was written by another version.
    #[error("the report has schema version {0}, this program reads {SCHEMA_VERSION}")]
    Version(u32),
}

impl Report {
    /// A report to be filled: nothing seen yet, so not served.
    pub fn new(product_version: &str, started: UnixTime) -> Self {
        Self {
            schema_version: SCHEMA_VERSION,
            product_version: product_version.to_owned(),
            started,
            duration_ms: 0,
            machine: Machine::default(),
            topology: Topology::default(),
            story: Vec::new(),
            timeline: Vec::new(),
            refused: Vec::new(),
            owner: None,
            walk: None,
            offload: None,
            call: None,
            outing: None,
            stopped: Vec::new(),
            rounds: Rounds::default(),
            verdict: Verdict { outcome: Service::NotServed, failures: Vec::new() },
        }
    }

    /// When this moment was first seen, in ms since the first probe.
    pub fn at(&self, name: &Milestone) -> Option<f64> {
        let at = self.timeline.iter().filter(|m| m.name == *name && m.at_ms.is_finite());
        at.map(|m| m.at_ms).min_by(f64::total_cmp)
    }

    /// The moments of a service that were not seen.
    pub fn missing(&self) -> Vec<Milestone> {
        Milestone::EXPECTED.into_iter().filter(|name| self.at(name).is_none()).collect()
    }

    /// The latest moment that was seen.
    pub fn last_seen(&self) -> Option<&Mark> {
        self.marks().pop()
    }

    /// The marks by time; those at the same time keep their order.
    fn marks(&self) -> Vec<&Mark> {
        let mut marks: Vec<&Mark> = self.timeline.iter().filter(|m| m.at_ms.is_finite()).collect();
        marks.sort_by(|a, b| a.at_ms.total_cmp(&b.at_ms));
        marks
    }

    /// Adds what a further run saw, as if it had begun when the first was over.
    pub fn append(&mut self, chapter: Chapter) {
        let offset = self.duration_ms as f64;
        self.story.extend(
            chapter.story.into_iter().map(|step| Step { at_ms: step.at_ms + offset, ..step }),
        );
        self.duration_ms += chapter.duration_ms;
        self.offload = chapter.offload.or(self.offload.take());
        self.call = chapter.call.or(self.call.take());
        self.outing = chapter.outing.or(self.outing.take());
        self.stopped.extend(chapter.stopped);
        self.verdict = self.judge();
    }

    /// The verdict that follows from the data. The caller stores it in [`Report::verdict`].
    pub fn judge(&self) -> Verdict {
        let mut failures = Vec::new();
        let missing = self.missing();
        if !missing.is_empty() {
            let seen = self.last_seen().map_or_else(
                || "nothing was seen of it".to_owned(),
                |mark| {
                    format!("the last thing seen was “{}” at {} ms", mark.name, figure(mark.at_ms))
                },
            );
            failures.push(format!("The station was not served: {seen}; {}.", absent(&missing)));
        }
        for refused in self.refused.iter().filter(|r| r.reached == Reached::Connected) {
            failures.push(format!("{} got in: {}.", refused.who, refused.tried));
        }
        for refused in self.refused.iter().filter(|r| r.seen_in.is_empty()) {
            failures.push(format!(
                "The refusal of {} was seen in neither status nor log.",
                refused.who
            ));
        }
        if self.refused.is_empty() {
            failures.push("Nobody was refused: that part of the run is missing.".to_owned());
        }
        match &self.owner {
            None => failures.push("What the owner noticed was not measured.".to_owned()),
            Some(owner) => failures.extend(owner::failures(owner)),
        }
        failures.extend(walk::failures(self.walk.as_ref()));
        failures.extend(offload::failures(self.offload.as_ref()));
        failures.extend(call::failures(self.call.as_ref()));
        failures.extend(outing::failures(self.outing.as_ref()));
        failures.extend(self.stopped.iter().map(|why| format!("The demo stopped: {why}.")));
        if self.rounds.difference().is_none() {
            failures.push("The comparison with the scripted floor is missing.".to_owned());
        }
        let outcome = if missing.is_empty() { Service::Served } else { Service::NotServed };
        Verdict { outcome, failures }
    }

    /// The JSON form, indented, ending in a newline.
    ///
    /// # Errors
    /// None in practice: every field has a JSON form.
    pub fn to_json(&self) -> Result<String, serde_json::Error> {
        serde_json::to_string_pretty(self).map(|json| json + "\n")
    }

    /// Reads the JSON form.
    ///
    /// # Errors
    /// If the text is not a report, or one of another schema version.
    pub fn from_json(json: &str) -> Result<Self, ReadError> {
        /// The one field that every version has.
        #[derive(Deserialize)]
        struct Head {
            schema_version: u32,
        }
        let Head { schema_version } = serde_json::from_str(json)?;
        if schema_version != SCHEMA_VERSION {
            return Err(ReadError::Version(schema_version));
        }
        Ok(serde_json::from_str(json)?)
    }

    /// The page: one self-contained HTML document.
    pub fn to_html(&self) -> String {
        page::html(self)
    }
}

/// `Keys, Address and First packet were not seen`.
fn absent(missing: &[Milestone]) -> String {
    let names: Vec<String> = missing.iter().map(Milestone::to_string).collect();
    match names.as_slice() {
        [] => "nothing is missing".to_owned(),
        [one] => format!("{one} was not seen"),
        [first @ .., last] => format!("{} and {last} were not seen", first.join(", ")),
    }
}

/// A paragraph that says what is not there.
fn absence(text: &str) -> String {
    format!("<p class=\"absent\">{text}</p>\n")
}

/// Octets as people read them.
fn octets(octets: u64) -> String {
    format!("{:.1} MB", octets as f64 / 1e6)
}

/// A number of ms as people read it: no more digits than it has, and one decimal at most; a dash
/// for what is none.
fn figure(ms: f64) -> String {
    if !ms.is_finite() {
        return "–".to_owned();
    }
    let tenths = format!("{ms:.1}");
    match tenths.strip_suffix(".0") {
        Some("-0") => "0".to_owned(),
        Some(whole) => whole.to_owned(),
        None => tenths,
    }
}

/// The middle value, or the mean of the two middle ones. Values that are no numbers do not count.
fn median(values: &[f64]) -> Option<f64> {
    let mut sorted: Vec<f64> = values.iter().copied().filter(|v| v.is_finite()).collect();
    sorted.sort_by(f64::total_cmp);
    let upper = *sorted.get(sorted.len() / 2)?;
    if sorted.len() % 2 == 1 {
        return Some(upper);
    }
    sorted.get(sorted.len() / 2 - 1).map(|lower| f64::midpoint(*lower, upper))
}
