//! Spans of time and amounts of memory, as people write them in a configuration.

use std::fmt;
use std::marker::PhantomData;
use std::str::FromStr;
use std::time::Duration;

use serde::de::{self, Deserialize, Deserializer};
use serde::{Serialize, Serializer};

/// A span of time, written with its unit: `250ms`, `90s`, `15m`, `4h`, `7d`, `1h30m`. To the
/// millisecond.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Period(pub Duration);

/// An amount of memory or of data in octets, written with its unit: `512B`, `64KiB`, `1MiB`,
/// `2GiB`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Size(pub u64);

/// A bit rate in bit/s, written with its unit: `512k`, `50M`, `1G`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Rate(pub u64);

/// A text that is no [`Period`], no [`Size`] or no [`Rate`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{given:?} is not {what}: {repair}")]
pub struct UnitError {
    given: String,
    what: &'static str,
    repair: String,
}

/// A quantity that is a sum of whole numbers, each with a unit.
trait Quantity: Sized {
    const WHAT: &'static str;
    const EXAMPLES: &'static str;
    /// The units, each with what one of it counts; larger ones first.
    const UNITS: &'static [(&'static str, u64)];
    fn from_count(count: u64) -> Self;
    fn count(&self) -> u64;
}

impl Quantity for Period {
    const WHAT: &'static str = "a span of time";
    const EXAMPLES: &'static str = r#""250ms", "90s", "15m", "4h", "7d" or "1h30m""#;
    const UNITS: &'static [(&'static str, u64)] =
        &[("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1)];

    fn from_count(millis: u64) -> Self {
        Self(Duration::from_millis(millis))
    }

    fn count(&self) -> u64 {
        u64::try_from(self.0.as_millis()).unwrap_or(u64::MAX)
    }
}

impl Quantity for Size {
    const WHAT: &'static str = "an amount of data";
    const EXAMPLES: &'static str = r#""512B", "64KiB", "1MiB" or "2GiB""#;
    const UNITS: &'static [(&'static str, u64)] =
        &[("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10), ("B", 1)];

    fn from_count(octets: u64) -> Self {
        Self(octets)
    }

    fn count(&self) -> u64 {
        self.0
    }
}

impl Quantity for Rate {
    const WHAT: &'static str = "a bit rate";
    const EXAMPLES: &'static str = r#""512k", "50M" or "1G", in bit/s"#;
    const UNITS: &'static [(&'static str, u64)] =
        &[("G", 1_000_000_000), ("M", 1_000_000), ("k", 1000), ("bit", 1)];

    fn from_count(bits: u64) -> Self {
        Self(bits)
    }

    fn count(&self) -> u64 {
        self.0
    }
}

fn parse<Q: Quantity>(text: &str) -> Result<Q, UnitError> {
    let wrong = |repair: String| UnitError { given: text.to_owned(), what: Q::WHAT, repair };
    let mut rest = text;
    let mut total = 0u64;
    let mut units = Q::UNITS.iter();
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let (number, after) = rest.split_at(digits);
        let letters = after.bytes().take_while(u8::is_ascii_alphabetic).count();
        let (unit, next) = after.split_at(letters);
        if number.is_empty() {
            return Err(wrong(format!("write {}", Q::EXAMPLES)));
        }
        if unit.is_empty() {
            return Err(wrong(format!("a unit is missing; write {}", Q::EXAMPLES)));
        }
        // Taking from the iterator: a unit may come once, the larger ones first.
        let Some((_, each)) = units.find(|(name, _)| *name == unit) else {
            return Err(wrong(format!("write {}", Q::EXAMPLES)));
        };
        total = number
            .parse::<u64>()
            .ok()
            .and_then(|n| n.checked_mul(*each))
            .and_then(|n| n.checked_add(total))
            .ok_or_else(|| wrong("it is too large".to_owned()))?;
        rest = next;
    }
    if text.is_empty() {
        return Err(wrong(format!("write {}", Q::EXAMPLES)));
    }
    Ok(Q::from_count(total))
}

fn show<Q: Quantity>(quantity: &Q, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let mut rest = quantity.count();
    let smallest = Q::UNITS.last().map_or("", |(unit, _)| unit);
    if rest == 0 {
        return write!(f, "0{smallest}");
    }
    for (unit, each) in Q::UNITS {
        if rest >= *each {
            write!(f, "{}{unit}", rest / each)?;
            rest %= each;
        }
    }
    Ok(())
}

struct Text<Q>(PhantomData<Q>);

impl<Q: Quantity> de::Visitor<'_> for Text<Q> {
    type Value = Q;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} such as {}", Q::WHAT, Q::EXAMPLES)
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Q, E> {
        parse(text).map_err(E::custom)
    }

    fn visit_i64<E: de::Error>(self, number: i64) -> Result<Q, E> {
        parse(&number.to_string()).map_err(E::custom)
    }
}

macro_rules! quantity {
    ($type:ty) => {
        impl FromStr for $type {
            type Err = UnitError;
            fn from_str(text: &str) -> Result<Self, UnitError> {
                parse(text)
            }
        }
        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                show(self, f)
            }
        }
        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
                s.collect_str(self)
            }
        }
        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
                d.deserialize_any(Text(PhantomData))
            }
        }
    };
}

quantity!(Period);
quantity!(Size);
quantity!(Rate);

impl From<Period> for Duration {
    fn from(period: Period) -> Self {
        period.0
    }
}

impl From<Duration> for Period {
    fn from(duration: Duration) -> Self {
        Self(duration)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_period_is_whole_numbers_with_units_larger_ones_first() {
        for (text, millis) in [
            ("250ms", 250),
            ("0s", 0),
            ("90s", 90_000),
            ("15m", 900_000),
            ("4h", 14_400_000),
            ("1h30m", 5_400_000),
            ("7d", 604_800_000),
        ] {
            assert_eq!(text.parse(), Ok(Period(Duration::from_millis(millis))), "{text}");
        }
        for text in
            ["", "4", "h", "4 h", "4H", "-4s", "1.5h", "30m1h", "4s4s", "4us", "9999999999999999d"]
        {
            assert!(text.parse::<Period>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_size_is_whole_numbers_with_units() {
        for (text, octets) in
            [("512B", 512), ("64KiB", 65_536), ("1MiB", 1 << 20), ("2GiB", 2 << 30)]
        {
            assert_eq!(text.parse(), Ok(Size(octets)), "{text}");
        }
        for text in ["64", "64K", "64kB", "20000000000GiB"] {
            assert!(text.parse::<Size>().is_err(), "{text}");
        }
    }

    #[test]
    fn an_error_says_what_to_write() {
        assert_eq!(
            "4".parse::<Period>().unwrap_err().to_string(),
            r#""4" is not a span of time: a unit is missing; write "250ms", "90s", "15m", "4h", "7d" or "1h30m""#
        );
        assert_eq!(
            "64K".parse::<Size>().unwrap_err().to_string(),
            r#""64K" is not an amount of data: write "512B", "64KiB", "1MiB" or "2GiB""#
        );
    }

    proptest! {
        #[test]
        fn both_survive_their_own_spelling(count: u64) {
            let period = Period::from_count(count);
            prop_assert_eq!(period.to_string().parse(), Ok(period));
            prop_assert_eq!(Size(count).to_string().parse(), Ok(Size(count)));
        }

        #[test]
        fn parsing_never_panics(text in "\\PC{0,12}|[0-9]{0,21}[dhmsKiB]{0,4}") {
            let _ = text.parse::<Period>();
            let _ = text.parse::<Size>();
        }
    }
}
