//! Leaving coverage and entering it, foreseen (R11), and what of that the tunnel is to do: go by
//! Wi-Fi or by cellular, and hold cellular or not.

use std::collections::VecDeque;
use std::time::Duration;

use homeward_coverage::{
    Advice, Decision, Fix, Heard, Path, Predictor, Settings, State, Status, Terms,
};
use homeward_model::{Instant, Mac, Rssi};
use serde::Serialize;

use super::machine::Notice;
use crate::config;

/// Decisions that are kept to be looked at.
const KEPT: usize = 16;
/// Wi-Fi that is back within this long, as after a roam, had not gone.
const BLINK: Duration = Duration::from_secs(1);

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
        self.predictor.handle_fix(fix, now);
        self.settle(now);
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
        let next = self.predictor.poll_timeout().into_iter().chain(gone).min();
        next.filter(|_| self.followed)
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
        self.followed.then(|| Foreseen { machine: self.predictor.status(now), decisions })
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
