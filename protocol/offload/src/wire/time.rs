//! RFC 3339 times, which are those of JSON's `date-time` and of XML's `dateTime` with an offset.

use homeward_model::UnixTime;

/// The last moment with a year of four digits, which is all that RFC 3339 has.
const LAST: UnixTime = UnixTime(253_402_300_799_999);

/// Writes a time; one outside the years that there are becomes the nearest inside.
pub(crate) fn write(time: UnixTime) -> String {
    time.clamp(UnixTime(0), LAST).to_string()
}

/// Reads a time: `2026-01-31T12:00:00Z`, with or without a fraction, with `Z` or an offset, from
/// 1970 on. Fractions finer than a millisecond are cut. `None` for anything else.
pub(crate) fn read(text: &str) -> Option<UnixTime> {
    let (date, rest) = text.split_at_checked(10)?;
    let rest = rest.strip_prefix(['T', 't'])?;
    let (clock, rest) = rest.split_at_checked(8)?;
    let ([year, month, day], [hour, minute, second]) = (three(date, '-')?, three(clock, ':')?);
    if date.len() != 10 || date.find('-') != Some(4) {
        return None;
    }
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let days = match month {
        2 if leap => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        1..=12 => 31,
        _ => return None,
    };
    // RFC 3339 5.7 has leap seconds; they are counted as the second that follows.
    if !(1..=days).contains(&day) || hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    let (ms, zone) = fraction(rest)?;
    let shifted = if month > 2 { year } else { year - 1 };
    let march = (month + 9) % 12;
    // Days of years that begin in March, from 0000-03-01 to 1970-01-01.
    let since = shifted * 365 + shifted.div_euclid(4) - shifted.div_euclid(100)
        + shifted.div_euclid(400)
        + (153 * march + 2) / 5
        + day
        - 1
        - 719_468;
    let seconds = since * 86_400 + hour * 3600 + minute * 60 + second - offset(zone)?;
    Some(UnixTime(seconds * 1000 + ms)).filter(|time| (UnixTime(0)..=LAST).contains(time))
}

/// Three numbers of fixed width.
fn three(text: &str, between: char) -> Option<[i64; 3]> {
    let mut parts = text.split(between).map(number);
    let found = [parts.next()??, parts.next()??, parts.next()??];
    (parts.next().is_none() && text.len() == if between == ':' { 8 } else { 10 }).then_some(found)
}

/// Two or four digits.
fn number(text: &str) -> Option<i64> {
    let digits = matches!(text.len(), 2 | 4) && text.bytes().all(|c| c.is_ascii_digit());
    digits.then(|| text.parse().ok()).flatten()
}

/// The milliseconds of a fraction, and what follows it.
fn fraction(text: &str) -> Option<(i64, &str)> {
    let Some(text) = text.strip_prefix('.') else { return Some((0, text)) };
    let end = text.bytes().position(|c| !c.is_ascii_digit())?;
    let (digits, rest) = text.split_at_checked(end)?;
    if digits.is_empty() {
        return None;
    }
    let ms = digits.bytes().chain([b'0'; 2]).take(3).fold(0, |ms, c| ms * 10 + i64::from(c - b'0'));
    Some((ms, rest))
}

/// The seconds of an offset.
fn offset(text: &str) -> Option<i64> {
    if text.eq_ignore_ascii_case("z") {
        return Some(0);
    }
    let (sign, rest) = text.split_at_checked(1)?;
    let (hours, minutes) = rest.split_once(':')?;
    if rest.len() != 5 {
        return None;
    }
    let (hours, minutes) = (number(hours)?, number(minutes)?);
    let seconds = hours * 3600 + minutes * 60;
    match sign {
        _ if hours > 23 || minutes > 59 => None,
        "+" => Some(seconds),
        "-" => Some(-seconds),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn times_are_read_as_rfc_3339_has_them() {
        for (text, ms) in [
            ("1970-01-01T00:00:00Z", 0),
            ("2000-02-29T00:00:00.000Z", 951_782_400_000),
            ("2026-01-31t12:00:00.1239z", 1_769_860_800_123),
            ("2026-01-31T13:30:00.5+01:30", 1_769_860_800_500),
            ("2026-01-31T07:00:00-05:00", 1_769_860_800_000),
            ("1990-12-31T23:59:60Z", 662_688_000_000),
        ] {
            assert_eq!(read(text), Some(UnixTime(ms)), "{text}");
        }
        for text in [
            "",
            "2026-01-31",
            "2026-01-31T12:00:00",
            "2026-01-31 12:00:00Z",
            "2026-02-29T12:00:00Z",
            "2026-13-01T12:00:00Z",
            "2026-00-01T12:00:00Z",
            "2026-01-31T24:00:00Z",
            "2026-01-31T12:00:00.Z",
            "2026-01-31T12:00:00+1:00",
            "2026-01-31T12:00:00Zx",
            "26-01-0031T12:00:00Z",
            "+026-01-31T12:00:00Z",
            "2026-01-31T12:0:000Z",
            "1970-01-01T00:59:59+01:00",
            "9999-12-31T23:59:59-01:00",
        ] {
            assert_eq!(read(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn a_time_survives_its_spelling(ms in 0..=LAST.0) {
            prop_assert_eq!(read(&write(UnixTime(ms))), Some(UnixTime(ms)));
        }

        #[test]
        fn a_time_of_no_year_of_four_digits_becomes_the_nearest(ms in any::<i64>()) {
            let back = read(&write(UnixTime(ms)));
            prop_assert_eq!(back, Some(UnixTime(ms).clamp(UnixTime(0), LAST)));
        }
    }
}
