//! Leaving coverage and entering it, foreseen (R11), and what of that the tunnel is to do: go by
//! Wi-Fi or by cellular, and hold cellular or not.

use std::collections::VecDeque;
use std::time::Duration;

use homeward_control::{CoverageMap, MapRegion, WantMap};
use homeward_coverage::{
    Advice, Decision, Fix, Heard, Limits, Map, MapError, Path, Position, Predictor, Region,
    Settings, State, Status, Terms,
};
use homeward_model::{Entropy, Instant, Mac, Rssi, UnixTime};
use serde::Serialize;

use super::machine::Notice;
use crate::config::{self, Extent};

/// Decisions that are kept to be looked at.
const KEPT: usize = 16;
/// Wi-Fi that is back within this long, as after a roam, had not gone.
const BLINK: Duration = Duration::from_secs(1);
/// How often the operator is asked for another map, at least; by chance up to half as long again, so
/// that nothing is told by when it is asked.
const REFRESH: Duration = Duration::from_secs(12 * 3600);
/// The pause before it is asked again, where nothing came of it, or the device has gone far.
const AGAIN: Duration = Duration::from_secs(300);
/// The zoom of the regions that are asked for: 100 to 156 km wide.
const ZOOM: u8 = 8;

/// A decision, and what spoke for it, for people.
#[derive(Debug, Clone, Serialize)]
struct Made {
    advice: Advice,
    ago_ms: u64,
    confidence: f64,
    lead_ms: Option<u64>,
    reasons: Vec<String>,
}

/// How it stands, to look at.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Foreseen {
    #[serde(flatten)]
    machine: Status,
    /// Why it stands so: the latest first.
    decisions: Vec<Made>,
    /// Why there is no map, or no newer one.
    map_problem: Option<String>,
}

/// The predictor, and whether Wi-Fi can be used at all.
#[derive(Debug)]
pub(crate) struct Coverage {
    predictor: Predictor,
    /// What the configuration says where the class of service says nothing.
    own: Terms,
    followed: bool,
    usable: bool,
    /// Since when it has not been, if that was not told yet.
    gone: Option<Instant>,
    made: VecDeque<Decision>,
    news: VecDeque<Notice>,
    extent: Extent,
    /// When the map was issued that there is, and which parts of it, if it is not all.
    map: Option<(UnixTime, Vec<Region>)>,
    /// The parts that were asked for last.
    asked: Vec<Region>,
    place: Option<Position>,
    /// Whether the operator can be asked, and when it is to be.
    connected: bool,
    due: Option<Instant>,
    problem: Option<String>,
}

impl Coverage {
    pub(crate) fn new(config: &config::Coverage) -> Self {
        let own = config.terms();
        let settings = Settings { terms: own, ahead: config.ahead.0, ..Settings::default() };
        Self {
            predictor: Predictor::new(settings),
            own,
            followed: config.enabled,
            usable: false,
            gone: None,
            made: VecDeque::new(),
            news: VecDeque::new(),
            extent: if config.enabled { config.map } else { Extent::Off },
            map: None,
            asked: Vec::new(),
            place: None,
            connected: false,
            due: None,
            problem: None,
        }
    }

    /// Whether the station is on a network that leads somewhere.
    pub(crate) fn usable(&mut self, usable: bool, now: Instant) {
        self.gone = match (self.usable, usable) {
            (_, true) => None,
            (true, false) => Some(now),
            (false, false) => self.gone,
        };
        self.usable = usable;
        self.settle(now);
    }

    pub(crate) fn heard(&mut self, heard: &[Heard], now: Instant) {
        self.predictor.handle_scan(heard, now);
        self.settle(now);
    }

    pub(crate) fn signal(&mut self, bssid: Mac, rssi: Rssi, now: Instant) {
        self.predictor.handle_signal(bssid, rssi, now);
        self.settle(now);
    }

    pub(crate) fn fix(&mut self, fix: Fix, now: Instant) {
        self.place = Some(fix.position);
        self.predictor.handle_fix(fix, now);
        if self.extent == Extent::Region && !self.is_covered(fix.position) {
            let soon = if self.map.is_none() { now } else { now + AGAIN };
            self.due = Some(self.due.map_or(soon, |due| due.min(soon)));
        }
        self.settle(now);
    }

    /// Whether the operator can be asked: there is a channel that is taken in.
    pub(crate) fn connected(&mut self, connected: bool, now: Instant) {
        if connected && !self.connected {
            self.due = Some(now);
        }
        self.connected = connected;
    }

    /// What to ask the operator for now.
    pub(crate) fn poll_question(
        &mut self,
        now: Instant,
        entropy: &mut impl Entropy,
    ) -> Option<WantMap> {
        self.due().filter(|due| *due <= now)?;
        // Until there is an answer.
        self.due = Some(now + AGAIN + AGAIN / 256 * u32::from(entropy.octets::<1>()[0]));
        self.asked = match (self.extent, self.place) {
            (Extent::Region, Some(place)) => place.tile().region(ZOOM).neighbourhood(),
            _ => Vec::new(),
        };
        let region = |region: &Region| {
            let (zoom, number) = region.zoom_number();
            MapRegion { zoom, number }
        };
        let same = self.map.as_ref().filter(|(_, parts)| *parts == self.asked);
        Some(WantMap {
            regions: self.asked.iter().map(region).collect(),
            issued: same.map(|(issued, _)| *issued),
        })
    }

    /// The operator's answer: a map to be [taken](Self::map), if it has one.
    pub(crate) fn answered(
        &mut self,
        map: CoverageMap,
        now: Instant,
        entropy: &mut impl Entropy,
    ) -> Option<Vec<u8>> {
        if !map.problem.is_empty() {
            tracing::warn!(problem = map.problem, "no map of the operator's gateways");
            self.problem = Some(map.problem);
            return None;
        }
        self.problem = None;
        self.due = Some(now + REFRESH + REFRESH / 512 * u32::from(entropy.octets::<1>()[0]));
        (!map.octets.is_empty()).then_some(map.octets)
    }

    /// A map, as it was sent, or kept from an earlier time.
    ///
    /// # Errors
    ///
    /// It is none.
    pub(crate) fn map(
        &mut self,
        octets: &[u8],
        wall: UnixTime,
        now: Instant,
    ) -> Result<(), MapError> {
        let map = match Map::decode(octets, &Limits::default()) {
            Ok(map) => map,
            Err(error) => {
                self.problem = Some(error.to_string());
                return Err(error);
            }
        };
        self.map = Some((map.issued(), std::mem::take(&mut self.asked)));
        self.predictor.handle_map(map, wall, now);
        self.settle(now);
        Ok(())
    }

    /// When the operator is to be asked, if it can be.
    fn due(&self) -> Option<Instant> {
        let ready = match self.extent {
            Extent::Off => false,
            Extent::Whole => true,
            // Where it is not known where the device is, it cannot be said what is wanted.
            Extent::Region => self.place.is_some(),
        };
        self.due.filter(|_| self.connected && ready)
    }

    /// Whether the map that there is has the parts around a place.
    fn is_covered(&self, place: Position) -> bool {
        let own = |parts: &Vec<Region>| parts.iter().any(|part| part.holds(place.tile()));
        self.map.as_ref().is_some_and(|(_, parts)| parts.is_empty() || own(parts))
    }

    /// The class of service's threshold.
    pub(crate) fn threshold(&mut self, threshold: Option<Rssi>, now: Instant) {
        let terms = self.own.with(threshold);
        if self.predictor.terms() != terms {
            self.predictor.handle_terms(terms, now);
            self.settle(now);
        }
    }

    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        if self.poll_timeout().is_some_and(|at| at <= now) {
            if self.gone.take_if(|since| *since + BLINK <= now).is_some() {
                self.predictor.handle_path(Path::Cellular, now);
            }
            self.predictor.handle_timeout(now);
            self.settle(now);
        }
    }

    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        let gone = self.gone.map(|since| since + BLINK);
        let all = [self.predictor.poll_timeout(), gone, self.due()];
        all.into_iter().flatten().min().filter(|_| self.followed)
    }

    /// Something that people may want to know.
    pub(crate) fn poll_notice(&mut self) -> Option<Notice> {
        self.news.pop_front()
    }

    /// Whether traffic is to go by Wi-Fi.
    pub(crate) fn by_wifi(&self) -> bool {
        self.usable && (!self.followed || self.predictor.state() != State::Away)
    }

    /// Whether Wi-Fi is so safe that cellular need not be held.
    pub(crate) fn is_safe(&mut self, now: Instant) -> bool {
        self.followed
            && self.usable
            && self.predictor.state() == State::Covered
            && !self.predictor.is_blind(now)
    }

    pub(crate) fn status(&mut self, now: Instant) -> Option<Foreseen> {
        let made = |decision: &Decision| Made {
            advice: decision.advice,
            ago_ms: ms(now - decision.at),
            confidence: decision.confidence,
            lead_ms: decision.lead.map(ms),
            reasons: decision.reasons.iter().map(ToString::to_string).collect(),
        };
        let decisions = self.made.iter().rev().map(made).collect();
        let map_problem = self.problem.clone();
        self.followed.then(|| Foreseen {
            machine: self.predictor.status(now),
            decisions,
            map_problem,
        })
    }

    fn settle(&mut self, now: Instant) {
        // Of what is not known nothing can be foreseen: then whoever runs Wi-Fi decides.
        if self.usable && self.predictor.state() == State::Away && self.predictor.is_blind(now) {
            self.predictor.handle_path(Path::Wifi, now);
        }
        while let Some(decision) = self.predictor.poll_decision() {
            if !self.followed {
                continue;
            }
            self.news.push_back(Notice::Coverage {
                advice: decision.advice,
                confidence: decision.confidence,
                lead_ms: decision.lead.map(ms),
                why: why(&decision),
            });
            self.made.push_back(decision);
            if self.made.len() > KEPT {
                self.made.pop_front();
            }
        }
    }
}

fn why(decision: &Decision) -> String {
    let reasons: Vec<_> = decision.reasons.iter().map(ToString::to_string).collect();
    reasons.join("; ")
}

fn ms(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}
