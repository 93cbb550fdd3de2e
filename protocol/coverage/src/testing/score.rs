//! How well somebody decides on generated walks.
//!
//! - An *outage* is a time of 5 s or more in which the mean signal of the best gateway is below the
//!   threshold; what comes between two by less than 5 s belongs to them.
//! - A *Leave* is right if an outage is on, or begins within 10 s. An outage is *caught* if traffic is
//!   off Wi-Fi 3 s after its beginning.
//! - A *Prepare* (or a Leave that came without) is right if an outage is on, or begins within 30 s. An
//!   outage is *prepared for* if a cellular tunnel was being held 3 s before it began: so long one
//!   takes. How long before is its *lead*; who never prepares has none.

use homeward_model::{Instant, Rssi};
use serde::Serialize;

use super::walk::{STEP, THRESHOLD, Walk};
use crate::decision::Advice;
use crate::predictor::Predictor;
use crate::settings::{Detectors, Settings};
use crate::trace::{Input, tell};

/// The shortest outage, and the shortest time between two, in steps.
const SHORTEST: usize = 10;
/// How long before an outage a Leave is right, in steps.
const EARLY: usize = 20;
/// How long before an outage a Prepare is right, in steps.
const EARLIER: usize = 60;
/// How long after its beginning an outage is to be noticed, and how long before it a tunnel is to be
/// begun, in steps.
const GRACE: usize = 6;

/// Who decides.
#[derive(Debug, Clone)]
pub enum Who {
    /// The machine, with those settings.
    Machine(Box<Settings>),
    /// Leaves below the threshold, returns 6 dB above it: the last measure of the associated gateway,
    /// or a scan's best.
    Naive,
    /// As the offload machine does: smoothed over a second, for 3 s below the threshold or 6 dB above.
    Smoothed,
}

impl Who {
    /// Those that figures are made of, with their names.
    pub fn all() -> Vec<(&'static str, Self)> {
        let of = |alone, signals, position| {
            let detectors = Detectors { alone, signals, position };
            Self::Machine(Box::new(Settings { detectors, ..Settings::default() }))
        };
        vec![
            ("fused", of(true, true, true)),
            ("single gateway", of(true, false, false)),
            ("all signals", of(false, true, false)),
            ("position and map", of(false, false, true)),
            ("smoothed", Self::Smoothed),
            ("naive", Self::Naive),
        ]
    }
}

/// What was decided on a walk: at which step, and what.
pub fn run(walk: &Walk, who: &Who) -> Vec<(usize, Advice)> {
    match who {
        Who::Machine(settings) => machine(walk, settings),
        Who::Naive => threshold(walk, 0.0, 0),
        Who::Smoothed => threshold(walk, 1.0, 6),
    }
}

fn step(at: Instant) -> usize {
    let half_seconds = at.as_nanos() / 500_000_000;
    usize::try_from(half_seconds).unwrap_or(usize::MAX)
}

fn machine(walk: &Walk, settings: &Settings) -> Vec<(usize, Advice)> {
    let mut machine = Predictor::new(settings.clone());
    let (mut wifi, mut decisions) = (true, Vec::new());
    let mut told = Vec::new();
    for (at, input) in &walk.inputs {
        if matches!(input, Input::Signal { .. }) && !wifi {
            continue;
        }
        tell(&mut machine, *at, input, &mut told);
        for decision in told.drain(..) {
            match decision.advice {
                Advice::Leave => wifi = false,
                Advice::Return => wifi = true,
                Advice::Stay | Advice::Prepare => {}
            }
            decisions.push((step(decision.at), decision.advice));
        }
    }
    decisions
}

/// Below, or 6 dB above, for so many steps; smoothed with that time constant, in seconds.
fn threshold(walk: &Walk, constant: f64, dwell: usize) -> Vec<(usize, Advice)> {
    let (mut wifi, mut decisions) = (true, Vec::new());
    let mut level: Option<(f64, Instant)> = None;
    let mut since = None;
    for (at, input) in &walk.inputs {
        let measured = match input {
            Input::Signal { rssi: Rssi(level), .. } if wifi => f64::from(*level),
            Input::Scan(heard) => {
                let best = heard.iter().filter(|h| h.known).map(|h| h.rssi).max();
                let best = best.map_or(-95.0, |Rssi(level)| f64::from(level));
                // Who is on Wi-Fi goes by what it is associated with, as long as that is heard.
                if wifi && best > -95.0 {
                    continue;
                }
                best
            }
            _ => continue,
        };
        let now = match level {
            Some((before, then)) if constant > 0.0 => {
                let past = (*at - then).as_secs_f64();
                before + (measured - before) * past / (past + constant)
            }
            _ => measured,
        };
        level = Some((now, *at));
        let wants = if wifi { now < THRESHOLD } else { now >= THRESHOLD + 6.0 };
        since = wants.then(|| since.unwrap_or(step(*at)));
        if since.is_some_and(|since| step(*at) - since >= dwell) {
            decisions.push((step(*at), if wifi { Advice::Leave } else { Advice::Return }));
            (wifi, since) = (!wifi, None);
        }
    }
    decisions
}

/// The beginnings and ends of outages, in steps.
pub fn outages(walk: &Walk) -> Vec<(usize, usize)> {
    let mut all: Vec<(usize, usize)> = Vec::new();
    for (at, level) in walk.truth.iter().enumerate() {
        if *level >= THRESHOLD {
            continue;
        }
        match all.last_mut().filter(|(_, end)| at - *end < SHORTEST) {
            Some((_, end)) => *end = at + 1,
            None => all.push((at, at + 1)),
        }
    }
    all.retain(|(from, to)| to - from >= SHORTEST);
    all
}

/// What was counted on some walks.
#[derive(Debug, Clone, Default)]
pub struct Score {
    walks: u32,
    outages: u32,
    leaves: u32,
    leaves_right: u32,
    caught: u32,
    prepares: u32,
    prepares_right: u32,
    prepared: u32,
    returns: u32,
    stays: u32,
    most_switches: u32,
    leads: Vec<f64>,
    /// In steps: out of coverage and on Wi-Fi, in coverage and off it, in coverage with a tunnel held.
    exposed: u32,
    wasted: u32,
    held: u32,
    covered: u32,
}

/// The figures of a score. Times are in seconds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Figures {
    /// How many walks.
    pub walks: u32,
    /// How many outages on them.
    pub outages: u32,
    /// The share of Leaves that were right.
    pub leave_precision: f64,
    /// The share of outages that were caught.
    pub leave_recall: f64,
    /// The share of Prepares that were right.
    pub prepare_precision: f64,
    /// The share of outages that were prepared for.
    pub prepare_recall: f64,
    /// The lead that half of the outages had.
    pub lead_median: f64,
    /// The lead that nine of ten outages had.
    pub lead_p10: f64,
    /// Leaves and Returns on a walk.
    pub switches: f64,
    /// The most of them on one walk.
    pub most_switches: u32,
    /// Prepares and Stays on a walk.
    pub tunnels: f64,
    /// How long traffic was on Wi-Fi out of coverage, on a walk.
    pub exposed: f64,
    /// How long it was off Wi-Fi in coverage, on a walk.
    pub wasted: f64,
    /// The share of time in coverage in which a tunnel was held.
    pub held: f64,
}

impl Score {
    /// Adds a walk with what was decided on it.
    pub fn add(&mut self, walk: &Walk, decisions: &[(usize, Advice)]) {
        let outages = outages(walk);
        let steps = walk.truth.len();
        // Whether traffic is off Wi-Fi, and since when a tunnel has been held, step by step.
        let (mut away, mut held) = (vec![false; steps], vec![None; steps]);
        let (mut is_away, mut since, mut next) = (false, None, decisions.iter().peekable());
        for (at, (away, held)) in away.iter_mut().zip(&mut held).enumerate() {
            while let Some((_, advice)) = next.next_if(|(when, _)| *when <= at) {
                match advice {
                    Advice::Prepare => since = since.or(Some(at)),
                    Advice::Stay => since = None,
                    Advice::Leave => (is_away, since) = (true, since.or(Some(at))),
                    Advice::Return => is_away = false,
                }
                // Who never says Stay holds a tunnel only while away.
                if *advice == Advice::Return
                    && !decisions.iter().any(|(_, a)| *a == Advice::Prepare)
                {
                    since = None;
                }
            }
            (*away, *held) = (is_away, since);
        }
        let ahead = |at: usize, by: usize| {
            outages.iter().any(|(from, to)| at < *to && *from <= at.saturating_add(by))
        };
        let mut holding = false;
        for (at, advice) in decisions {
            match advice {
                Advice::Leave => {
                    self.leaves += 1;
                    self.leaves_right += u32::from(ahead(*at, EARLY));
                }
                Advice::Return => self.returns += 1,
                Advice::Stay => self.stays += 1,
                Advice::Prepare => {}
            }
            if matches!(advice, Advice::Prepare | Advice::Leave) && !holding {
                self.prepares += 1;
                self.prepares_right += u32::from(ahead(*at, EARLIER));
            }
            holding = held.get(*at).is_some_and(Option::is_some);
        }
        let switches =
            decisions.iter().filter(|(_, a)| matches!(a, Advice::Leave | Advice::Return)).count();
        self.most_switches = self.most_switches.max(u32::try_from(switches).unwrap_or(u32::MAX));
        for (from, to) in &outages {
            let by = (from + GRACE).min(to - 1);
            self.caught += u32::from(away.get(by) == Some(&true));
            let lead = held.get(*from).copied().flatten().map(|since: usize| from - since);
            self.prepared += u32::from(lead.is_some_and(|lead| lead >= GRACE));
            let lead = lead.and_then(|lead| u32::try_from(lead).ok());
            self.leads.push(f64::from(lead.unwrap_or(0)) * STEP);
        }
        for ((level, away), held) in walk.truth.iter().zip(&away).zip(&held) {
            let covered = *level >= THRESHOLD;
            self.covered += u32::from(covered);
            self.exposed += u32::from(!covered && !away);
            self.wasted += u32::from(covered && *away);
            self.held += u32::from(covered && held.is_some());
        }
        self.walks += 1;
        self.outages += u32::try_from(outages.len()).unwrap_or(u32::MAX);
    }

    /// The figures.
    pub fn figures(&self) -> Figures {
        let share = |part: u32, of: u32| f64::from(part) / f64::from(of.max(1));
        let mut leads = self.leads.clone();
        leads.sort_by(f64::total_cmp);
        let part = |tenths: usize| leads.get(leads.len() * tenths / 10).copied().unwrap_or(0.0);
        Figures {
            walks: self.walks,
            outages: self.outages,
            leave_precision: share(self.leaves_right, self.leaves),
            leave_recall: share(self.caught, self.outages),
            prepare_precision: share(self.prepares_right, self.prepares),
            prepare_recall: share(self.prepared, self.outages),
            lead_median: part(5),
            lead_p10: part(1),
            switches: share(self.leaves + self.returns, self.walks),
            most_switches: self.most_switches,
            tunnels: share(self.prepares + self.stays, self.walks),
            exposed: share(self.exposed, self.walks) * STEP,
            wasted: share(self.wasted, self.walks) * STEP,
            held: share(self.held, self.covered),
        }
    }
}

/// The figures of some on the walks of those seeds, each in turn.
pub fn on_walks(seeds: impl Iterator<Item = u64>, all: &[Who]) -> Vec<Figures> {
    let mut scores = vec![Score::default(); all.len()];
    for seed in seeds {
        let walk = Walk::of(seed);
        for (who, score) in all.iter().zip(&mut scores) {
            score.add(&walk, &run(&walk, who));
        }
    }
    scores.iter().map(Score::figures).collect()
}
