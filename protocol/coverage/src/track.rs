//! A gateway's signal, followed: where it is, how fast it goes, how sure that is.
//!
//! Measures come at odd times (a scan each few seconds, a signal each second of the associated gateway
//! alone) and are off by as much as a walk changes in ten seconds. So what decides is not only a level,
//! but how sure it is; and that is what a Kalman filter keeps. On generated walks (`--example walks -- --filters
//! --walks 500 --seed 100001`), in dB, root of the mean square:
//!
//! | | now | in 5 s |
//! |---|---|---|
//! | this filter | 2.8 | 5.0 |
//! | a second's smoothing, taken to stay | 2.8 | 4.9 |
//! | alpha 0.4, beta 0.05 | 3.4 | 6.1 |
//! | Theil-Sen over 10 s | 3.2 | 7.1 |
//! | Theil-Sen over 20 s | 3.6 | 6.6 |
//!
//! A second's smoothing is as near to the truth. It does not say how near, nor how near it still is after a
//! scan was missed: the machine on top of it could not tell "strong" from "strong, six seconds ago". Slopes
//! by medians or by alpha and beta make a prediction worse than none: over 5 s most of what a signal
//! does is shadows, which come back. The filter knows that, and believes about half of a slope. Of
//! its own deviation it is right: the truth is within it three times of four.

use std::time::Duration;

use homeward_model::{Instant, Rssi};

use crate::number::likely;
use crate::settings::Tracking;

/// The farthest that a level goes, in dBm: no receiver says more or less.
const RANGE: (f64, f64) = (-120.0, 0.0);
/// A gateway of which one measure is known rises or falls as fast as it likes, and by so much at
/// first, as variances.
const FIRST_SLOPE: f64 = 0.25;

/// A Kalman filter of level (dBm) and slope (dB/s).
///
/// The level wanders by itself (shadows), and goes on by its slope; the slope is that of a device that
/// goes on for a while and then turns: an Ornstein-Uhlenbeck process, so that a prediction levels out.
#[derive(Debug, Clone, Copy)]
pub struct Track {
    level: f64,
    slope: f64,
    /// Variances of level and slope, and their covariance.
    level_var: f64,
    slope_var: f64,
    both: f64,
    at: Instant,
}

/// A level that is expected, in dBm, and its deviation, in dB.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Expected {
    /// In dBm.
    pub level: f64,
    /// In dB.
    pub deviation: f64,
}

impl Expected {
    /// How likely the level is below that one, in dBm.
    pub fn below(self, level: f64) -> f64 {
        likely((level - self.level) / self.deviation.max(0.1))
    }
}

impl Track {
    /// One that begins with a measure which is off by `noise` dB.
    pub fn new(rssi: Rssi, noise: f64, at: Instant) -> Self {
        let (level_var, slope_var) = (noise * noise, FIRST_SLOPE);
        Self { level: f64::from(rssi.0), slope: 0.0, level_var, slope_var, both: 0.0, at }
    }

    /// When it was last measured.
    pub const fn at(&self) -> Instant {
        self.at
    }

    /// How fast it rises, in dB/s.
    pub const fn slope(&self) -> f64 {
        self.slope
    }

    /// A measure that is off by `noise` dB. One that is older than the last counts as if it were new.
    pub fn add(&mut self, rssi: Rssi, noise: f64, now: Instant, by: &Tracking) {
        let mut on = self.ahead((now - self.at).as_secs_f64(), by);
        let sum = on.level_var + noise * noise;
        let most = by.outlier * sum.sqrt();
        let off = (f64::from(rssi.0) - on.level).clamp(-most, most);
        let (gain, gain_slope) = (on.level_var / sum, on.both / sum);
        on.level = (on.level + gain * off).clamp(RANGE.0, RANGE.1);
        on.slope += gain_slope * off;
        on.slope_var = (on.slope_var - gain_slope * on.both).max(1e-6);
        on.level_var = (on.level_var * (1.0 - gain)).max(1e-6);
        on.both *= 1.0 - gain;
        on.at = self.at.max(now);
        *self = on;
    }

    /// What is expected at an instant.
    pub fn expected(&self, at: Instant, by: &Tracking) -> Expected {
        let on = self.ahead((at - self.at).as_secs_f64(), by);
        Expected { level: on.level, deviation: on.level_var.sqrt() }
    }

    /// How long after `now` it falls below `level`; none if it does not.
    pub fn crosses(&self, level: f64, now: Instant, by: &Tracking) -> Option<Duration> {
        let on = self.ahead((now - self.at).as_secs_f64(), by);
        let above = on.level - level;
        if above <= 0.0 {
            return Some(Duration::ZERO);
        }
        // level + slope * steady * (1 - exp(-t / steady)) = the level that is asked for.
        let share = above / (-on.slope * by.steady);
        let never = on.slope >= 0.0 || share >= 1.0;
        (!never).then(|| crate::number::span(-by.steady * (1.0 - share).ln())).flatten()
    }

    /// The same, `seconds` later. Variances as Singer (1970) has them for such a process.
    fn ahead(&self, seconds: f64, by: &Tracking) -> Self {
        // Longer ago than that all is forgotten.
        let t = seconds.clamp(0.0, 600.0);
        let tau = by.steady;
        let stays = (-t / tau).exp();
        let (gone, fast) = (1.0 - stays, by.slope * by.slope);
        let reach = tau * gone;
        let level = self.level + reach * self.slope;
        let added = 2.0 * fast * tau * (t - 2.0 * reach + tau * (1.0 - stays * stays) / 2.0);
        let level_var = self.level_var
            + 2.0 * reach * self.both
            + reach * reach * self.slope_var
            + added.max(0.0)
            + by.wander * by.wander * t;
        let both = stays * (self.both + reach * self.slope_var) + fast * tau * gone * gone;
        let slope_var = stays * stays * self.slope_var + fast * (1.0 - stays * stays);
        let level = level.clamp(RANGE.0, RANGE.1);
        Self { level, slope: stays * self.slope, level_var, slope_var, both, at: self.at }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Settings;

    fn at(seconds: u64) -> Instant {
        Instant::ORIGIN + Duration::from_secs(seconds)
    }

    /// A signal that falls by `fall` dB a second from -50 dBm, measured each second up to 20 s.
    fn falling(fall: f64) -> (Track, Tracking) {
        let by = Settings::default().tracking;
        let mut track = Track::new(Rssi(-50), by.signal_noise, at(0));
        for second in 1..=20u8 {
            let rssi = crate::number::whole(-50.0 - fall * f64::from(second), -120, 0);
            track.add(Rssi(i8::try_from(rssi).unwrap()), by.signal_noise, at(second.into()), &by);
        }
        (track, by)
    }

    #[test]
    fn a_falling_signal_is_seen_to_fall_and_crosses_when_it_will() {
        let (track, by) = falling(0.5);
        // It might be a shadow: half of it is believed.
        assert!((-0.5..-0.2).contains(&track.slope()), "{}", track.slope());
        let now = track.expected(at(20), &by);
        assert!((now.level + 60.0).abs() < 1.0, "{now:?}");
        let in_s = track.crosses(-62.0, at(20), &by).unwrap().as_secs_f64();
        assert!((3.0..12.0).contains(&in_s), "{in_s}");
        assert_eq!(track.crosses(-55.0, at(20), &by), Some(Duration::ZERO));
        assert_eq!(track.crosses(-90.0, at(20), &by), None, "it levels out before");
        assert_eq!(falling(-0.5).0.crosses(-60.0, at(20), &by), None);
    }

    #[test]
    fn what_was_not_measured_for_long_is_not_known() {
        let (track, by) = falling(0.0);
        let sure = track.expected(at(20), &by);
        let unsure = track.expected(at(50), &by);
        assert!(sure.deviation < 2.5 && unsure.deviation > 6.0, "{sure:?} {unsure:?}");
        assert!(sure.below(-60.0) < 0.01 && unsure.below(-60.0) > 0.02);
        let never = track.expected(Instant::from_nanos(u64::MAX), &by);
        assert!(never.level.is_finite() && never.deviation.is_finite());
    }

    #[test]
    fn one_deep_fade_moves_a_level_by_less_than_its_depth_says() {
        let (mut track, by) = falling(0.0);
        let before = track.expected(at(21), &by).level;
        track.add(Rssi(-90), by.signal_noise, at(21), &by);
        let after = track.expected(at(21), &by).level;
        assert!(before - after < 5.0 && before > after, "{before} to {after}");
    }
}
