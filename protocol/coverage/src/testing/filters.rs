//! How well a gateway's signal is followed on generated walks, and foreseen: the filter that is used,
//! beside others that might have been.

use std::collections::{BTreeMap, VecDeque};

use homeward_model::{Instant, Mac, Rssi};

use super::walk::{STEP, Walk};
use crate::number::whole;
use crate::settings::Tracking;
use crate::trace::Input;
use crate::track::Track;

/// How far ahead is foreseen, in seconds.
pub const AHEAD: f64 = 5.0;

/// A filter.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Filter {
    /// [`Track`].
    Kalman,
    /// Smoothed with that time constant, in seconds, and taken to stay.
    Smoothed(f64),
    /// Alpha and beta, whatever time went by.
    AlphaBeta(f64, f64),
    /// The median of the slopes between any two measures of the last so many seconds, and the median
    /// of what is left (Theil, 1950; Sen, 1968).
    TheilSen(f64),
}

impl Filter {
    /// Those that figures are made of, with their names.
    pub fn all() -> Vec<(&'static str, Self)> {
        vec![
            ("Kalman", Self::Kalman),
            ("alpha-beta 0.4 0.05", Self::AlphaBeta(0.4, 0.05)),
            ("Theil-Sen 10 s", Self::TheilSen(10.0)),
            ("Theil-Sen 20 s", Self::TheilSen(20.0)),
            ("smoothed 1 s", Self::Smoothed(1.0)),
            ("smoothed 3 s", Self::Smoothed(3.0)),
        ]
    }
}

/// How far a filter is off, in dB (root of the mean square): of what is, and of what will be in
/// [`AHEAD`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Errors {
    /// Now.
    pub now: f64,
    /// Then.
    pub then: f64,
    /// How much of the time the true level lies within the deviation that the filter says itself: two
    /// thirds, if it knows itself. None for those that say none.
    pub within: Option<f64>,
}

enum State {
    Kalman(Track, Tracking),
    Line { level: f64, slope: f64, at: Instant },
    Window(VecDeque<(Instant, f64)>),
}

/// Level and slope, now.
fn add(
    filter: Filter,
    state: &mut Option<State>,
    rssi: Rssi,
    noise: f64,
    now: Instant,
    by: Tracking,
) -> (f64, f64) {
    let measured = f64::from(rssi.0);
    let state = state.get_or_insert_with(|| match filter {
        Filter::Kalman => State::Kalman(Track::new(rssi, noise, now), by),
        Filter::TheilSen(_) => State::Window(VecDeque::new()),
        _ => State::Line { level: measured, slope: 0.0, at: now },
    });
    match (filter, state) {
        (_, State::Kalman(track, by)) => {
            if track.at() < now {
                track.add(rssi, noise, now, by);
            }
            (track.expected(now, by).level, track.slope())
        }
        (Filter::Smoothed(constant), State::Line { level, at, .. }) => {
            let past = (now - *at).as_secs_f64();
            *level += (measured - *level) * past / (past + constant);
            *at = now;
            (*level, 0.0)
        }
        (Filter::AlphaBeta(alpha, beta), State::Line { level, slope, at }) => {
            let past = (now - *at).as_secs_f64();
            if past > 0.0 {
                *level += *slope * past;
                let off = measured - *level;
                *level += alpha * off;
                *slope += beta * off / past;
                *at = now;
            }
            (*level, *slope)
        }
        (Filter::TheilSen(seconds), State::Window(window)) => {
            window.push_back((now, measured));
            while window.front().is_some_and(|(at, _)| (now - *at).as_secs_f64() > seconds) {
                window.pop_front();
            }
            theil_sen(window, now)
        }
        (_, _) => (measured, 0.0),
    }
}

fn median(mut all: Vec<f64>) -> f64 {
    all.sort_by(f64::total_cmp);
    all.get(all.len() / 2).copied().unwrap_or(0.0)
}

fn theil_sen(window: &VecDeque<(Instant, f64)>, now: Instant) -> (f64, f64) {
    let points: Vec<_> =
        window.iter().map(|(at, level)| (-(now - *at).as_secs_f64(), *level)).collect();
    let slopes = points.iter().enumerate().flat_map(|(n, (t, level))| {
        let earlier = points.iter().take(n).filter(move |(before, _)| before < t);
        earlier.map(move |(before, was)| (level - was) / (t - before))
    });
    let slope = median(slopes.collect());
    (median(points.iter().map(|(t, level)| level - slope * t).collect()), slope)
}

/// The errors of filters on the walks of those seeds, at each measure.
pub fn errors(seeds: impl Iterator<Item = u64>, filters: &[Filter], by: Tracking) -> Vec<Errors> {
    let mut sums = vec![(0.0, 0.0, 0u32, 0u32); filters.len()];
    for seed in seeds {
        let walk = Walk::of(seed);
        let means: BTreeMap<Mac, &Vec<f64>> =
            walk.means.iter().map(|(bssid, means)| (*bssid, means)).collect();
        let truth = |bssid: Mac, seconds: f64| {
            let at = usize::try_from(whole(seconds / STEP, 0, i32::MAX)).ok()?;
            means.get(&bssid)?.get(at).copied()
        };
        let mut states: BTreeMap<Mac, Vec<Option<State>>> = BTreeMap::new();
        for (now, input) in &walk.inputs {
            let measures: Vec<_> = match input {
                Input::Signal { bssid, rssi } => vec![(*bssid, *rssi, by.signal_noise)],
                Input::Scan(heard) => heard
                    .iter()
                    .filter(|heard| heard.known)
                    .map(|heard| (heard.bssid, heard.rssi, by.scan_noise))
                    .collect(),
                _ => continue,
            };
            let seconds = (*now - Instant::ORIGIN).as_secs_f64();
            for (bssid, rssi, noise) in measures {
                let states =
                    states.entry(bssid).or_insert_with(|| filters.iter().map(|_| None).collect());
                let pair = truth(bssid, seconds).zip(truth(bssid, seconds + AHEAD));
                for ((filter, state), sum) in filters.iter().zip(states).zip(&mut sums) {
                    let (level, slope) = add(*filter, state, rssi, noise, *now, by);
                    let Some((is, will)) = pair else { continue };
                    let ahead = match filter {
                        Filter::Kalman => by.steady * (1.0 - (-AHEAD / by.steady).exp()),
                        _ => AHEAD,
                    };
                    let foreseen = level + ahead * slope;
                    sum.0 += (level - is) * (level - is);
                    sum.1 += (foreseen - will) * (foreseen - will);
                    sum.2 += 1;
                    if let Some(State::Kalman(track, by)) = state {
                        let deviation = track.expected(*now, by).deviation;
                        sum.3 += u32::from((level - is).abs() <= deviation);
                    }
                }
            }
        }
    }
    let errors = |(filter, (now, then, count, within)): (&Filter, (f64, f64, u32, u32))| {
        let count = f64::from(count.max(1));
        let within = (*filter == Filter::Kalman).then_some(f64::from(within) / count);
        Errors { now: (now / count).sqrt(), then: (then / count).sqrt(), within }
    };
    filters.iter().zip(sums).map(errors).collect()
}
