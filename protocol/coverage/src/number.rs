//! Numbers: from measures to whole ones, and from odds to probabilities.

use std::time::Duration;

/// The whole number next to `value`, from `least` to `most`; `least` for what is no number.
pub(crate) fn whole(value: f64, least: i32, most: i32) -> i32 {
    if value.is_nan() {
        return least;
    }
    #[expect(clippy::cast_possible_truncation, reason = "it was brought into the range of an i32")]
    let whole = value.round().clamp(f64::from(least), f64::from(most)) as i32;
    whole
}

/// To one digit behind the point, as a reason says it.
pub(crate) fn tenth(value: f64) -> f64 {
    // So that there is no -0.0.
    (value * 10.0).round() / 10.0 + 0.0
}

/// How likely a normal variable with mean 0 and deviation 1 is below `z`: by the logistic function
/// that is never off by more than 0.01 (Bowling et al., 2009).
pub(crate) fn likely(z: f64) -> f64 {
    1.0 / (1.0 + (-1.702 * z).exp())
}

/// The logarithm of a probability's odds, between -4 and 4: nothing is certain.
pub(crate) fn odds(probability: f64) -> f64 {
    let p = probability.clamp(0.018, 0.982);
    (p / (1.0 - p)).ln()
}

/// The probability of odds' logarithm.
pub(crate) fn of_odds(odds: f64) -> f64 {
    1.0 / (1.0 + (-odds).exp())
}

/// From `low` at `from` to `high` at `to`, in a straight line, and no further.
pub(crate) fn between(value: f64, (from, low): (f64, f64), (to, high): (f64, f64)) -> f64 {
    let share = ((value - from) / (to - from)).clamp(0.0, 1.0);
    low + share * (high - low)
}

/// A span of so many seconds; none for what is no span.
pub(crate) fn span(seconds: f64) -> Option<Duration> {
    Duration::try_from_secs_f64(seconds).ok()
}

/// A span in whole milliseconds.
pub(crate) fn ms(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

/// Instants and spans in JSON: whole milliseconds, an instant since the clock's origin.
pub(crate) mod in_ms {
    use std::time::Duration;

    use homeward_model::Instant;
    use serde::{Deserialize, Deserializer, Serializer};

    /// What is written as milliseconds.
    pub(crate) trait Millis: Sized {
        fn to_ms(&self) -> u64;
        fn from_ms(ms: u64) -> Self;
    }

    impl Millis for Instant {
        fn to_ms(&self) -> u64 {
            self.as_nanos() / 1_000_000
        }

        fn from_ms(ms: u64) -> Self {
            Self::ORIGIN + Duration::from_millis(ms)
        }
    }

    impl Millis for Duration {
        fn to_ms(&self) -> u64 {
            super::ms(*self)
        }

        fn from_ms(ms: u64) -> Self {
            Self::from_millis(ms)
        }
    }

    pub(crate) fn serialize<T: Millis, S: Serializer>(value: &T, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_u64(value.to_ms())
    }

    pub(crate) fn deserialize<'de, T: Millis, D: Deserializer<'de>>(d: D) -> Result<T, D::Error> {
        Ok(T::from_ms(u64::deserialize(d)?))
    }

    /// The same, of what may be absent.
    pub(crate) mod option {
        use serde::{Deserialize, Deserializer, Serialize, Serializer};

        use super::Millis;

        pub(crate) fn serialize<T: Millis, S: Serializer>(
            value: &Option<T>,
            s: S,
        ) -> Result<S::Ok, S::Error> {
            value.as_ref().map(Millis::to_ms).serialize(s)
        }

        pub(crate) fn deserialize<'de, T: Millis, D: Deserializer<'de>>(
            d: D,
        ) -> Result<Option<T>, D::Error> {
            Ok(Option::<u64>::deserialize(d)?.map(T::from_ms))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn odds_and_probabilities_are_two_ways_to_say_the_same() {
        for p in [0.02, 0.3, 0.5, 0.97] {
            assert!((of_odds(odds(p)) - p).abs() < 1e-9);
        }
        assert!((odds(0.0) + 4.0).abs() < 0.01 && (odds(1.0) - 4.0).abs() < 0.01);
        // The normal distribution's own values.
        for (z, p) in [(0.0, 0.5), (1.0, 0.8413), (-2.0, 0.0228)] {
            assert!((likely(z) - p).abs() < 0.01, "{z}");
        }
    }

    #[test]
    fn what_is_no_number_or_none_that_fits_is_brought_into_range() {
        let cases = [(f64::NAN, -3), (f64::INFINITY, 9), (-1e300, -3), (2.5, 3), (-0.2, 0)];
        for (value, is) in cases {
            assert_eq!(whole(value, -3, 9), is, "{value}");
        }
        assert_eq!(span(f64::NAN), None);
        assert_eq!(span(-1.0), None);
        assert_eq!(tenth(-0.01).to_string(), "0");
    }
}
