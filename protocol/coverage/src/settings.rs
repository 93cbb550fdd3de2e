//! The thresholds and times of a [`Predictor`](crate::Predictor).

use std::time::Duration;

use homeward_model::Rssi;
use serde::{Deserialize, Serialize};

use crate::number::in_ms;

/// What the class of service decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Terms {
    /// The signal below which Wi-Fi is left.
    pub threshold: Rssi,
    /// How far above the threshold a gateway must be to be gone back to, in dB. At least 3.
    pub hysteresis_db: u8,
    /// How long it must have been above, as far as was measured.
    #[serde(rename = "dwell_ms", with = "in_ms")]
    pub dwell: Duration,
}

impl Default for Terms {
    /// -72 dBm, 6 dB and 3 s.
    fn default() -> Self {
        Self { threshold: Rssi(-72), hysteresis_db: 6, dwell: Duration::from_secs(3) }
    }
}

impl Terms {
    /// The same with the threshold of a class of service, if it has one.
    #[must_use]
    pub fn with(self, threshold: Option<Rssi>) -> Self {
        Self { threshold: threshold.unwrap_or(self.threshold), ..self }
    }
}

/// Which detectors have a say. All, but where one is to be tried alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Detectors {
    /// A single gateway in range.
    pub alone: bool,
    /// The signals of all gateways.
    pub signals: bool,
    /// The position against the map.
    pub position: bool,
}

/// How a gateway's signal is followed: see [`crate::track`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Tracking {
    /// How far a scan's signal is off, in dB (deviation): one frame, with all its fading.
    pub scan_noise: f64,
    /// The same of the associated gateway's, which a driver averages over some frames.
    pub signal_noise: f64,
    /// How far the level wanders by itself, in dB in a second (deviation): shadows.
    pub wander: f64,
    /// How fast it falls or rises, in dB/s (deviation).
    pub slope: f64,
    /// How long it goes on falling or rising, in seconds.
    pub steady: f64,
    /// A measure that is farther off than so many deviations counts as if it were so far off: a deep
    /// fade says no more than a fade.
    pub outlier: f64,
}

/// How far a detector is believed beside the signals, which count as 1: see [`crate::predictor`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Weight {
    /// Of what it says of the edge to come, 0 to 1: where it is sure, that much is sure.
    pub soon: f64,
    /// Of what it says of here and now, 0 or more.
    pub now: f64,
}

/// How long each state lasts at least, unless Wi-Fi is as good as gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Least {
    /// On Wi-Fi alone.
    pub covered: Duration,
    /// With a cellular tunnel held.
    pub prepared: Duration,
    /// Traffic on Wi-Fi, before it leaves.
    pub wifi: Duration,
    /// On cellular. Nothing shortens it.
    pub away: Duration,
}

/// How long a gateway is not gone back to that was left soon after.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HoldDown {
    /// Wi-Fi that is left again within this long was too short.
    pub short: Duration,
    /// How long after the first time; it doubles up to [`most`](Self::most).
    pub first: Duration,
    /// The longest. After as long again without a failure all is forgotten.
    pub most: Duration,
}

/// The thresholds and times of a [`Predictor`](crate::Predictor). [`Settings::default`] is fit for
/// use. Probabilities are from 0 to 1.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// The class of service's terms, until [`handle_terms`](crate::Predictor::handle_terms) says
    /// others.
    pub terms: Terms,
    /// Which detectors have a say.
    pub detectors: Detectors,
    /// How far the single gateway is believed.
    pub alone: Weight,
    /// How far the position is believed.
    pub position: Weight,
    /// How signals are followed.
    pub tracking: Tracking,

    /// How far ahead is looked: the time that a cellular tunnel takes, and as much again.
    pub ahead: Duration,
    /// From which probability to be out of coverage within [`ahead`](Self::ahead) a tunnel is held.
    pub prepare: f64,
    /// Below which probability it is let go.
    pub calm: f64,
    /// For how long.
    pub calm_dwell: Duration,
    /// How far ahead is looked for leaving: the time that moving the traffic takes.
    pub leave_ahead: Duration,
    /// From which probability to be out of coverage by then Wi-Fi is left.
    pub leave: f64,
    /// From which probability to be in coverage, now and for [`ahead`](Self::ahead), Wi-Fi is gone
    /// back to.
    pub back: f64,
    /// So far below the threshold Wi-Fi is left without dwell, in dB.
    pub floor_db: u8,
    /// How long each state lasts.
    pub least: Least,
    /// Gateways that do not last.
    pub hold_down: HoldDown,

    /// How far gateways fade together, 0 (not at all) to 1: who walks out of a street loses all of them.
    pub alike: f64,
    /// After how long without being heard a gateway is gone, and without a scan nothing is known of
    /// the air. Longer than any interval of scans.
    pub gap: Duration,
    /// What a gateway that one scan in a row after another missed is taken for: the weakest signal
    /// that a receiver hears.
    pub deaf: Rssi,
    /// The most gateways that are followed.
    pub max_gateways: usize,

    /// How long a single gateway must have been the only one.
    pub alone_dwell: Duration,
    /// How far above the threshold a single gateway's signal says little, in dB.
    pub alone_far_db: u8,

    /// How old a fix may be.
    pub fix_age: Duration,
    /// How inaccurate a fix may be, in metres.
    pub fix_accuracy_m: u16,
    /// Slower than this the device stands, in cm/s: a course says nothing.
    pub standing_cm_s: u16,
    /// Faster than this nothing moves, in m/s: a fix that jumped so lies.
    pub fastest_m_s: u16,
    /// How far off a gateway's range in the map is, as a share of it (deviation).
    pub range_error: f64,
    /// A gateway that is heard from more than so many times its range away is not there, or we are
    /// not here.
    pub range_most: f64,
    /// For how long a position is not believed after it was found to lie.
    pub distrust: Duration,
    /// For how long nothing must have been heard where the map has coverage for it to count as stale.
    pub map_silence: Duration,
    /// Coverage that the map says lasts shorter than this is not gone back to.
    pub visit: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        let s = Duration::from_secs;
        Self {
            terms: Terms::default(),
            detectors: Detectors { alone: true, signals: true, position: true },
            alone: Weight { soon: 0.5, now: 0.5 },
            position: Weight { soon: 0.7, now: 0.5 },
            tracking: Tracking {
                scan_noise: 5.0,
                signal_noise: 3.5,
                wander: 1.5,
                slope: 0.6,
                steady: 20.0,
                outlier: 2.0,
            },
            ahead: s(12),
            prepare: 0.35,
            calm: 0.1,
            calm_dwell: s(10),
            leave_ahead: s(2),
            leave: 0.2,
            back: 0.7,
            floor_db: 10,
            least: Least { covered: s(5), prepared: s(30), wifi: s(5), away: s(10) },
            hold_down: HoldDown { short: s(60), first: s(20), most: s(600) },
            alike: 0.5,
            gap: s(25),
            deaf: Rssi(-92),
            max_gateways: 64,
            alone_dwell: s(6),
            alone_far_db: 20,
            fix_age: s(10),
            fix_accuracy_m: 100,
            standing_cm_s: 40,
            fastest_m_s: 100,
            range_error: 0.25,
            range_most: 4.0,
            distrust: s(60),
            map_silence: s(12),
            visit: s(20),
        }
    }
}

impl Settings {
    /// The same, with what would make the machine spin or go to and fro brought into range.
    pub(crate) fn sound(mut self) -> Self {
        let second = Duration::from_secs(1);
        let (least, hold) = (&mut self.least, &mut self.hold_down);
        for span in [
            &mut least.covered,
            &mut least.prepared,
            &mut least.wifi,
            &mut least.away,
            &mut hold.short,
            &mut hold.first,
            &mut self.ahead,
            &mut self.gap,
            &mut self.fix_age,
            &mut self.distrust,
            &mut self.map_silence,
        ] {
            *span = (*span).max(second);
        }
        hold.most = hold.most.max(hold.first);
        self.max_gateways = self.max_gateways.max(1);
        self.terms = self.terms.sound();
        let share = |value: f64, or: f64| if value.is_nan() { or } else { value.clamp(0.01, 0.99) };
        let default = Self::default();
        self.prepare = share(self.prepare, default.prepare);
        self.calm = share(self.calm, default.calm).min(self.prepare);
        self.leave = share(self.leave, default.leave);
        self.back = share(self.back, default.back).max(0.5);
        let (track, usual) = (&mut self.tracking, default.tracking);
        for (value, usual) in [
            (&mut track.scan_noise, usual.scan_noise),
            (&mut track.signal_noise, usual.signal_noise),
            (&mut track.wander, usual.wander),
            (&mut track.slope, usual.slope),
            (&mut track.steady, usual.steady),
            (&mut track.outlier, usual.outlier),
            (&mut self.alone.soon, default.alone.soon),
            (&mut self.alone.now, default.alone.now),
            (&mut self.position.soon, default.position.soon),
            (&mut self.position.now, default.position.now),
            (&mut self.range_error, default.range_error),
            (&mut self.range_most, default.range_most),
        ] {
            *value = if value.is_nan() { usual } else { value.clamp(0.01, 1000.0) };
        }
        self.alike = if self.alike.is_nan() { default.alike } else { self.alike.clamp(0.0, 1.0) };
        self.range_most = self.range_most.max(1.0);
        self
    }
}

impl Terms {
    /// The same, with a hysteresis that is one.
    pub(crate) fn sound(mut self) -> Self {
        self.hysteresis_db = self.hysteresis_db.max(3);
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_threshold_is_the_class_of_services_or_72_dbm_below() {
        let own = Terms::default();
        assert_eq!(own.with(Some(Rssi(-65))), Terms { threshold: Rssi(-65), ..own });
        assert_eq!(own.with(None), own);
        assert_eq!(Terms::default().threshold, Rssi(-72));
    }

    #[test]
    fn the_defaults_are_sound_and_what_is_not_is_made_so() {
        assert_eq!(Settings::default().sound(), Settings::default());
        let wrong = Settings {
            leave: f64::NAN,
            back: 0.0,
            calm: 0.9,
            gap: Duration::ZERO,
            tracking: Tracking { steady: 0.0, ..Settings::default().tracking },
            terms: Terms { hysteresis_db: 0, ..Terms::default() },
            ..Settings::default()
        };
        let sound = wrong.sound();
        assert_eq!((sound.leave, sound.back, sound.calm), (0.2, 0.5, 0.35));
        assert_eq!(sound.gap, Duration::from_secs(1));
        assert!(sound.tracking.steady > 0.0);
        assert_eq!(sound.terms.hysteresis_db, 3);
    }
}
