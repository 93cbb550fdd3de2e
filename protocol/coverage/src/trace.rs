//! What a machine was told, with the times: a walk that is recorded in the field replays here.
//!
//! One JSON object a line, in the order of time; times in milliseconds since the recording began. The
//! first line says what it is. Empty lines do not count.
//!
//! ```text
//! {"trace":"homeward coverage","version":1}
//! {"at_ms":0,"path":"wifi"}
//! {"at_ms":0,"terms":{"threshold":-72,"hysteresis_db":6,"dwell_ms":3000}}
//! {"at_ms":0,"map":{"wall":1700000000000,"octets":"SFdDTQEP…"}}
//! {"at_ms":1000,"scan":[{"bssid":"02:00:00:00:00:01","known":true,"rssi":-58}]}
//! {"at_ms":1500,"signal":{"bssid":"02:00:00:00:00:01","rssi":-60}}
//! {"at_ms":2000,"fix":{"taken_ms":1900,"position":[515000000,-1000000],"accuracy_m":8,"speed_cm_s":140,"course_cdeg":9000}}
//! ```
//!
//! Positions are latitude and longitude in 10⁻⁷ degrees, a map is [`Map::encode`]'s octets in base64.
//! A trace says where somebody went: it is for them to give.

use std::fmt::Write as _;
use std::time::Duration;

use data_encoding::BASE64;
use homeward_model::{Instant, Mac, Rssi, UnixTime};
use serde::{Deserialize, Serialize};

use crate::decision::Decision;
use crate::input::{Fix, Heard, Path};
use crate::map::{Limits, Map, MapError};
use crate::predictor::Predictor;
use crate::settings::{Settings, Terms};

/// What the first line says.
const NAME: &str = "homeward coverage";
const VERSION: u32 = 1;

/// How large a trace may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TraceLimits {
    /// Octets of the whole.
    pub octets: usize,
    /// Lines.
    pub lines: usize,
    /// Access points in a scan.
    pub heard: usize,
    /// Those of the maps in it.
    pub map: Limits,
}

impl Default for TraceLimits {
    /// 64 MiB, a million lines (more than a week of a signal a second), 512 access points in a scan.
    fn default() -> Self {
        Self { octets: 64 << 20, lines: 1_000_000, heard: 512, map: Limits::default() }
    }
}

/// Something that a machine was told.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(missing_docs, reason = "each is what the machine's method of its name takes")]
pub enum Input {
    Scan(Vec<Heard>),
    Signal { bssid: Mac, rssi: Rssi },
    Fix(Fix),
    Map { map: Map, wall: UnixTime },
    Terms(Terms),
    Path(Path),
}

/// What a machine was told, in the order of time.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Trace {
    entries: Vec<(Instant, Input)>,
}

/// What is wrong with a trace, and what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {what}")]
pub struct TraceError {
    /// The line, from 1.
    pub line: usize,
    /// What is wrong with it.
    pub what: Fault,
}

/// What is wrong with a line.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// It is no line of a trace.
    #[error("{0}")]
    Json(String),
    /// The first line is another.
    #[error(r#"no trace: it does not begin with {{"trace":"homeward coverage","version":1}}"#)]
    Head,
    /// A later version.
    #[error("a trace of version {0}; this reads version 1")]
    Version(u32),
    /// An earlier time than the line before has, or a fix that was taken later than it came.
    #[error("at_ms {at} is before {before}: lines are in the order of time")]
    Time {
        /// The line's.
        at: u64,
        /// The one before.
        before: u64,
    },
    /// More than the limits let there be.
    #[error("more than {limit} {what}: cut the trace, or raise the limit")]
    Large {
        /// Of what.
        what: &'static str,
        /// How many there may be.
        limit: usize,
    },
    /// The map is none.
    #[error("its map: {0}")]
    Map(MapError),
    /// The map's octets are none.
    #[error("its map is no base64")]
    Base64,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Head {
    trace: String,
    version: u32,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    at_ms: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    scan: Option<Vec<Heard>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    signal: Option<SignalLine>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    fix: Option<Fix>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    map: Option<MapLine>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    terms: Option<Terms>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    path: Option<Path>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct SignalLine {
    bssid: Mac,
    rssi: Rssi,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct MapLine {
    wall: UnixTime,
    octets: String,
}

fn to_ms(at: Instant) -> u64 {
    at.as_nanos() / 1_000_000
}

impl Trace {
    /// One of nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds what the machine is told, to the millisecond. What is earlier than the last counts as if
    /// it came with it.
    pub fn push(&mut self, at: Instant, input: Input) {
        let last = self.entries.last().map_or(Instant::ORIGIN, |(last, _)| *last);
        let at = Instant::ORIGIN + Duration::from_millis(to_ms(at.max(last)));
        let input = match input {
            Input::Fix(fix) => {
                let taken = fix.taken.min(at);
                let taken = Instant::ORIGIN + Duration::from_millis(to_ms(taken));
                Input::Fix(Fix { taken, ..fix })
            }
            Input::Terms(terms) => {
                let dwell = Duration::from_millis(crate::number::ms(terms.dwell));
                Input::Terms(Terms { dwell, ..terms })
            }
            other => other,
        };
        self.entries.push((at, input));
    }

    /// What there is, in the order of time.
    pub fn entries(&self) -> &[(Instant, Input)] {
        &self.entries
    }

    /// The trace as text.
    pub fn encode(&self) -> String {
        let mut text = format!("{{\"trace\":\"{NAME}\",\"version\":{VERSION}}}\n");
        for (at, input) in &self.entries {
            let mut line = Line {
                at_ms: to_ms(*at),
                scan: None,
                signal: None,
                fix: None,
                map: None,
                terms: None,
                path: None,
            };
            match input {
                Input::Scan(heard) => line.scan = Some(heard.clone()),
                Input::Signal { bssid, rssi } => {
                    line.signal = Some(SignalLine { bssid: *bssid, rssi: *rssi });
                }
                Input::Fix(fix) => line.fix = Some(*fix),
                Input::Map { map, wall } => {
                    let octets = BASE64.encode(&map.encode());
                    line.map = Some(MapLine { wall: *wall, octets });
                }
                Input::Terms(terms) => line.terms = Some(*terms),
                Input::Path(path) => line.path = Some(*path),
            }
            // Of strings, numbers and lists nothing can fail.
            let json = serde_json::to_string(&line).unwrap_or_default();
            let _ = writeln!(text, "{json}");
        }
        text
    }

    /// Reads a trace.
    ///
    /// # Errors
    ///
    /// Names the first line that is wrong, and what is wrong with it.
    pub fn decode(text: &str, limits: &TraceLimits) -> Result<Self, TraceError> {
        let wrong = |line, what| Err(TraceError { line, what });
        let large = |line, what, limit| wrong(line, Fault::Large { what, limit });
        if text.len() > limits.octets {
            return large(1, "octets", limits.octets);
        }
        let mut lines = text.lines().zip(1..).filter(|(line, _)| !line.trim().is_empty());
        match lines.next().map(|(line, at)| (serde_json::from_str::<Head>(line), at)) {
            Some((Ok(head), _)) if head.trace == NAME && head.version == VERSION => {}
            Some((Ok(head), at)) if head.trace == NAME => {
                return wrong(at, Fault::Version(head.version));
            }
            Some((_, at)) => return wrong(at, Fault::Head),
            None => return wrong(1, Fault::Head),
        }
        let mut entries: Vec<(Instant, Input)> = Vec::new();
        for (line, at) in lines {
            if entries.len() == limits.lines {
                return large(at, "lines", limits.lines);
            }
            let (now, input) = read(line, limits).map_err(|what| TraceError { line: at, what })?;
            let before = entries.last().map_or(0, |(before, _)| to_ms(*before));
            let taken = match &input {
                Input::Fix(fix) => to_ms(fix.taken),
                _ => 0,
            };
            if to_ms(now) < before.max(taken) {
                let (at_ms, before) = (to_ms(now), before.max(taken));
                return wrong(at, Fault::Time { at: at_ms, before });
            }
            entries.push((now, input));
        }
        Ok(Self { entries })
    }
}

/// The latest time of a trace, in milliseconds: what an [`Instant`] holds.
const LATEST: u64 = u64::MAX / 1_000_000;

fn read(line: &str, limits: &TraceLimits) -> Result<(Instant, Input), Fault> {
    let line: Line = serde_json::from_str(line).map_err(|error| Fault::Json(error.to_string()))?;
    let Line { at_ms, scan, signal, fix, map, terms, path } = line;
    if at_ms > LATEST {
        return Err(Fault::Large { what: "milliseconds", limit: usize::MAX / 1_000_000 });
    }
    let now = Instant::ORIGIN + Duration::from_millis(at_ms);
    let input = match (scan, signal, fix, map, terms, path) {
        (Some(heard), None, None, None, None, None) => {
            if heard.len() > limits.heard {
                return Err(Fault::Large { what: "access points in a scan", limit: limits.heard });
            }
            Input::Scan(heard)
        }
        (None, Some(SignalLine { bssid, rssi }), None, None, None, None) => {
            Input::Signal { bssid, rssi }
        }
        (None, None, Some(fix), None, None, None) => Input::Fix(fix),
        (None, None, None, Some(MapLine { wall, octets }), None, None) => {
            let octets = BASE64.decode(octets.as_bytes()).map_err(|_| Fault::Base64)?;
            let map = Map::decode(&octets, &limits.map).map_err(Fault::Map)?;
            Input::Map { map, wall }
        }
        (None, None, None, None, Some(terms), None) => Input::Terms(terms),
        (None, None, None, None, None, Some(path)) => Input::Path(path),
        _ => {
            let what = "give one of scan, signal, fix, map, terms and path, and no other";
            return Err(Fault::Json(what.to_owned()));
        }
    };
    Ok((now, input))
}

/// What a machine with those settings decides when it is told that: timeouts between the lines
/// included, and none after the last.
pub fn replay(trace: &Trace, settings: Settings) -> Vec<Decision> {
    let mut machine = Predictor::new(settings);
    let mut decisions = Vec::new();
    for (at, input) in &trace.entries {
        tell(&mut machine, *at, input, &mut decisions);
    }
    decisions
}

/// Tells a machine one thing, after the timeouts before it.
pub(crate) fn tell(
    machine: &mut Predictor,
    now: Instant,
    input: &Input,
    decisions: &mut Vec<Decision>,
) {
    while let Some(due) = machine.poll_timeout().filter(|due| *due < now) {
        machine.handle_timeout(due);
        decisions.extend(std::iter::from_fn(|| machine.poll_decision()));
    }
    match input {
        Input::Scan(heard) => machine.handle_scan(heard, now),
        Input::Signal { bssid, rssi } => machine.handle_signal(*bssid, *rssi, now),
        Input::Fix(fix) => machine.handle_fix(*fix, now),
        Input::Map { map, wall } => machine.handle_map(map.clone(), *wall, now),
        Input::Terms(terms) => machine.handle_terms(*terms, now),
        Input::Path(path) => machine.handle_path(*path, now),
    }
    decisions.extend(std::iter::from_fn(|| machine.poll_decision()));
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::geo::Position;
    use crate::map::Site;

    const HEAD: &str = r#"{"trace":"homeward coverage","version":1}"#;

    fn fault(lines: &str) -> (usize, Fault) {
        let limits = TraceLimits { lines: 3, heard: 1, octets: 1000, ..TraceLimits::default() };
        let error = Trace::decode(&format!("{HEAD}\n{lines}"), &limits).unwrap_err();
        (error.line, error.what)
    }

    #[test]
    fn what_is_wrong_with_a_trace_is_named_by_its_line() {
        let limits = TraceLimits::default();
        for text in ["", "\n\n", "{}", r#"{"trace":"other","version":1}"#] {
            assert_eq!(Trace::decode(text, &limits).unwrap_err().what, Fault::Head, "{text}");
        }
        let later = HEAD.replace('1', "2");
        assert_eq!(Trace::decode(&later, &limits).unwrap_err().what, Fault::Version(2));
        let path = |at: u64| format!("{{\"at_ms\":{at},\"path\":\"wifi\"}}\n");
        assert_eq!(fault(&(path(5) + "\n" + &path(4))), (4, Fault::Time { at: 4, before: 5 }));
        let four = path(1).repeat(4);
        assert_eq!(fault(&four), (5, Fault::Large { what: "lines", limit: 3 }));
        assert!(matches!(fault(&path(u64::MAX)), (2, Fault::Large { what: "milliseconds", .. })));
        let heard = r#"{"bssid":"02:00:00:00:00:01","known":true,"rssi":-58}"#;
        let scan = format!(r#"{{"at_ms":1,"scan":[{heard},{heard}]}}"#);
        let what = "access points in a scan";
        assert_eq!(fault(&scan), (2, Fault::Large { what, limit: 1 }));
        let what = "octets";
        assert_eq!(fault(&" ".repeat(1000)), (1, Fault::Large { what, limit: 1000 }));
        let map = |octets: &str| format!(r#"{{"at_ms":1,"map":{{"wall":0,"octets":"{octets}"}}}}"#);
        assert_eq!(fault(&map("?")), (2, Fault::Base64));
        assert_eq!(fault(&map("AAAA")), (2, Fault::Map(MapError::Magic)));
        for line in [
            r#"{"at_ms":1}"#,
            r#"{"at_ms":1,"path":"wifi","scan":[]}"#,
            r#"{"at_ms":1,"paths":"wifi"}"#,
            r#"{"at_ms":-1,"path":"wifi"}"#,
            r#"{"path":"wifi"}"#,
        ] {
            assert!(matches!(fault(line), (2, Fault::Json(_))), "{line}");
        }
        let early = r#"{"at_ms":1,"fix":{"taken_ms":2,"position":[0,0],"accuracy_m":1}}"#;
        assert_eq!(fault(early), (2, Fault::Time { at: 1, before: 2 }));
    }

    fn input() -> impl Strategy<Value = Input> {
        let mac = any::<[u8; 6]>().prop_map(Mac::new);
        let heard = (mac, any::<bool>(), any::<i8>()).prop_map(|(bssid, known, rssi)| Heard {
            bssid,
            known,
            rssi: Rssi(rssi),
        });
        let place = (-85.0..85.0, -180.0..180.0).prop_map(|(a, b)| Position::new(a, b).unwrap());
        let fix = (any::<u32>(), place, any::<u16>(), any::<Option<u16>>(), any::<Option<u16>>())
            .prop_map(|(taken, position, accuracy_m, speed_cm_s, course_cdeg)| Fix {
                taken: Instant::from_nanos(u64::from(taken) * 1_000_000),
                position,
                accuracy_m,
                speed_cm_s,
                course_cdeg,
            });
        let map = (fix.clone(), 1u16..999, 0i64..999).prop_map(|(fix, range, wall)| {
            let site = Site { position: fix.position, range, bssid: None };
            let map = Map::new([1; 8], UnixTime(0), UnixTime(1000), [site]).unwrap();
            Input::Map { map, wall: UnixTime(wall) }
        });
        let terms = (any::<i8>(), any::<u8>(), any::<u32>()).prop_map(|(level, db, dwell)| {
            let dwell = Duration::from_millis(dwell.into());
            Input::Terms(Terms { threshold: Rssi(level), hysteresis_db: db, dwell })
        });
        prop_oneof![
            proptest::collection::vec(heard.clone(), 0..5).prop_map(Input::Scan),
            heard.prop_map(|h| Input::Signal { bssid: h.bssid, rssi: h.rssi }),
            fix.prop_map(Input::Fix),
            map,
            terms,
            prop::sample::select(vec![Input::Path(Path::Wifi), Input::Path(Path::Cellular)]),
        ]
    }

    proptest! {
        #[test]
        fn a_trace_survives_its_text(
            inputs in proptest::collection::vec((any::<u64>(), input()), 0..20),
        ) {
            let mut trace = Trace::new();
            for (at, input) in inputs {
                trace.push(Instant::from_nanos(at), input);
            }
            let text = trace.encode();
            prop_assert_eq!(Trace::decode(&text, &TraceLimits::default()), Ok(trace));
        }
    }
}
