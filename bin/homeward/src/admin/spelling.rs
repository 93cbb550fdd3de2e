//! Rates, quotas, spans and the like, as people write them. What is shown can be read again.

use std::str::FromStr;
use std::time::Duration;

use homeward_daemon::Period;
use homeward_model::address::{MacError, decode_hex};
use homeward_model::{
    BondingModes, Days, Mac, Msisdn, Quota, QuotaPeriod, Rssi, Seconds, Secret, Site, SiteError,
    Ssid, Vlan,
};
use serde::Deserialize;
use serde::de::IntoDeserializer;

/// A value, or `none`, which takes a limit away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct OrNone<T>(pub(super) Option<T>);

/// What is written for no limit.
const NONE: &str = "none";

impl<T: Spelled> FromStr for OrNone<T> {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == NONE { Ok(Self(None)) } else { T::read(text).map(Some).map(Self) }
    }
}

/// Something that is written in a way of its own here.
pub(super) trait Spelled: Sized {
    /// Reads it; the error says how to write it.
    fn read(text: &str) -> Result<Self, String>;
    /// Writes it so that it can be read.
    fn show(&self) -> String;
}

/// Shows a value or, where there is none, nothing: an empty cell.
pub(super) fn cell<T: Spelled>(value: Option<&T>) -> String {
    value.map(T::show).unwrap_or_default()
}

impl Spelled for Site {
    fn read(text: &str) -> Result<Self, String> {
        text.parse().map_err(|error: SiteError| error.to_string())
    }

    fn show(&self) -> String {
        self.to_string()
    }
}

/// A bit rate, in bit/s.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Rate(pub(super) u32);

impl Spelled for Rate {
    fn read(text: &str) -> Result<Self, String> {
        const UNITS: [(&str, u64); 4] =
            [("G", 1_000_000_000), ("M", 1_000_000), ("k", 1000), ("", 1)];
        number(text, &UNITS).and_then(|bits| u32::try_from(bits).ok()).map(Self).ok_or_else(|| {
            format!("{text:?} is no bit rate: write 512k, 10M or 1G, at most 4294967295 bit/s")
        })
    }

    fn show(&self) -> String {
        shown(u64::from(self.0), &[("G", 1_000_000_000), ("M", 1_000_000), ("k", 1000), ("", 1)])
    }
}

const SIZES: [(&str, u64); 9] = [
    ("TB", 1_000_000_000_000),
    ("GB", 1_000_000_000),
    ("MB", 1_000_000),
    ("kB", 1000),
    ("TiB", 1 << 40),
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("B", 1),
];

impl Spelled for Quota {
    fn read(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?} is no quota: write 20GB/month, 500MB/day or 2GiB/week");
        let (octets, period) = text.split_once('/').ok_or_else(wrong)?;
        let octets = number(octets, &SIZES).ok_or_else(wrong)?;
        Ok(Self { octets, period: period.parse::<QuotaPeriod>().map_err(|e| e.to_string())? })
    }

    fn show(&self) -> String {
        format!("{}/{}", shown(self.octets, &SIZES), self.period)
    }
}

impl Spelled for Seconds {
    fn read(text: &str) -> Result<Self, String> {
        let Period(span) = text.parse::<Period>().map_err(|e| e.to_string())?;
        let whole = u32::try_from(span.as_secs()).ok().filter(|_| span.subsec_nanos() == 0);
        whole.map(Self).ok_or_else(|| format!("{text:?} is not in whole seconds, or too long"))
    }

    fn show(&self) -> String {
        if self.0 == 0 { "0s".to_owned() } else { Period(Duration::from(*self)).to_string() }
    }
}

impl Spelled for Days {
    fn read(text: &str) -> Result<Self, String> {
        const DAY: u64 = 86_400;
        let Period(span) = text.parse::<Period>().map_err(|e| e.to_string())?;
        let whole = span.subsec_nanos() == 0 && span.as_secs() % DAY == 0;
        let days = u32::try_from(span.as_secs() / DAY).ok().filter(|_| whole);
        let days = days.ok_or_else(|| format!("{text:?} is not in whole days: write 90d"))?;
        Self::try_from(days)
    }

    fn show(&self) -> String {
        format!("{}d", u32::from(*self))
    }
}

impl Spelled for Mac {
    fn read(text: &str) -> Result<Self, String> {
        text.parse().map_err(|e: MacError| e.to_string())
    }

    fn show(&self) -> String {
        self.full().to_string()
    }
}

impl Spelled for Msisdn {
    fn read(text: &str) -> Result<Self, String> {
        msisdn(text)
    }

    fn show(&self) -> String {
        format!("+{}", self.as_str())
    }
}

impl Spelled for Rssi {
    fn read(text: &str) -> Result<Self, String> {
        let dbm = text.parse().ok().filter(|dbm| *dbm < 0);
        dbm.map(Self)
            .ok_or_else(|| format!("{text:?} is no signal strength: write dBm, such as -75"))
    }

    fn show(&self) -> String {
        self.0.to_string()
    }
}

impl Spelled for Vlan {
    fn read(text: &str) -> Result<Self, String> {
        let number = text.parse::<u16>().ok().and_then(|number| Self::try_from(number).ok());
        number.ok_or_else(|| format!("{text:?} is no VLAN: write 1 to 4094"))
    }

    fn show(&self) -> String {
        self.to_string()
    }
}

/// Reads a telephone number in international form, with its `+` or without it.
pub(super) fn msisdn(text: &str) -> Result<Msisdn, String> {
    text.strip_prefix('+').unwrap_or(text).parse().map_err(|e| format!("{e}"))
}

/// Reads bonding modes: `mirrored`, `striped`, both with a comma, or `none`.
pub(super) fn bonding(text: &str) -> Result<BondingModes, String> {
    let mut modes = BondingModes::default();
    if text == NONE {
        return Ok(modes);
    }
    for word in text.split(',') {
        match word.trim() {
            "mirrored" => modes.mirrored = true,
            "striped" => modes.striped = true,
            other => {
                return Err(format!(
                    "{other:?} is no bonding mode: write mirrored, striped, mirrored,striped or none"
                ));
            }
        }
    }
    Ok(modes)
}

/// Shows bonding modes.
pub(super) fn show_bonding(modes: BondingModes) -> &'static str {
    match (modes.mirrored, modes.striped) {
        (false, false) => NONE,
        (true, false) => "mirrored",
        (false, true) => "striped",
        (true, true) => "mirrored,striped",
    }
}

/// Reads an SSID: text, or `hex:` and the octets of one that is no text.
pub(super) fn ssid(text: &str) -> Result<Ssid, String> {
    let source: serde::de::value::StrDeserializer<'_, serde::de::value::Error> =
        text.into_deserializer();
    Ssid::deserialize(source).map_err(|e| e.to_string())
}

/// Shows an SSID so that [`ssid`] reads it: text, or `hex:` and its octets.
pub(super) fn spell_ssid(ssid: &Ssid) -> String {
    match ssid.as_str() {
        Some(text) => text.to_owned(),
        None => {
            let hex: String = ssid.as_bytes().iter().map(|octet| format!("{octet:02x}")).collect();
            format!("hex:{hex}")
        }
    }
}

/// Reads a RADIUS secret: text, or `hex:` and the octets of one that is no text.
pub(super) fn secret(text: &str) -> Result<Secret, String> {
    match text.strip_prefix("hex:") {
        // The text is not repeated: it is a secret.
        Some(hex) => {
            decode_hex(hex).map(Secret::new).ok_or_else(|| "hex: goes before hex digits".to_owned())
        }
        None => Ok(Secret::new(text)),
    }
}

/// Spells a RADIUS secret so that [`secret`] reads it.
pub(super) fn spell_secret(secret: &Secret) -> String {
    match std::str::from_utf8(secret.expose()) {
        Ok(text) if !text.starts_with("hex:") => text.to_owned(),
        _ => {
            let hex: String = secret.expose().iter().map(|octet| format!("{octet:02x}")).collect();
            format!("hex:{hex}")
        }
    }
}

/// Shows an SSID on a terminal: control characters would play tricks on it.
pub(super) fn show_ssid(ssid: &Ssid) -> String {
    plain(&spell_ssid(ssid))
}

/// A text without control characters.
pub(super) fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

fn number(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (digits, unit) = text.split_at(digits);
    let (_, times) = units.iter().find(|(name, _)| *name == unit)?;
    digits.parse::<u64>().ok()?.checked_mul(*times)
}

/// In the first unit that leaves no remainder.
fn shown(count: u64, units: &[(&str, u64)]) -> String {
    let fits = units.iter().find(|(_, times)| count.is_multiple_of(*times) && count >= *times);
    let (unit, times) = fits.or(units.last()).copied().unwrap_or(("", 1));
    format!("{}{unit}", count / times)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shown_reads_the_same() {
        for text in ["0", "1", "512k", "10M", "1G", "1500k", "4294967295"] {
            assert_eq!(Rate::read(text).unwrap().show(), text);
        }
        for text in ["20GB/month", "2GiB/week", "500MB/day", "1B/day", "1025B/day", "0B/day"] {
            assert_eq!(Quota::read(text).unwrap().show(), text);
        }
        for text in ["1", "4094"] {
            assert_eq!(Vlan::read(text).unwrap().show(), text);
        }
        for text in ["1h", "5m", "1h30m", "0s"] {
            assert_eq!(Seconds::read(text).unwrap().show(), text);
        }
        for text in ["none", "mirrored", "striped", "mirrored,striped"] {
            assert_eq!(show_bonding(bonding(text).unwrap()), text);
        }
        for text in ["smith", "caf\u{e9}", "hex:ff00", "hex:61", "hex:"] {
            assert_eq!(spell_ssid(&ssid(text).unwrap()), text);
        }
    }

    #[test]
    fn a_secret_of_any_octets_reads_the_same() {
        for octets in [&b"s3cret"[..], b"hex:61", b"\xff\x00", b"hex:"] {
            let secret = Secret::new(octets);
            assert_eq!(super::secret(&spell_secret(&secret)), Ok(secret));
        }
    }

    #[test]
    fn what_is_no_quantity_is_refused_with_what_to_write() {
        for text in ["", "10 M", "10m", "-1", "5G", "1.5M"] {
            assert!(Rate::read(text).unwrap_err().contains("10M"), "{text}");
        }
        for text in ["", "20GB", "20/month", "20GB/year", "99999999999999TB/day"] {
            assert!(Quota::read(text).is_err(), "{text}");
        }
        for text in ["", "5", "250ms", "99999999d"] {
            assert!(Seconds::read(text).is_err(), "{text}");
        }
        for text in ["", "0", "75", "-200"] {
            assert!(Rssi::read(text).is_err(), "{text}");
        }
        for text in ["", "0", "4095", "65537", "-1", "1.5"] {
            assert!(Vlan::read(text).unwrap_err().contains("1 to 4094"), "{text}");
        }
        for text in ["", "both", "mirrored,"] {
            assert!(bonding(text).is_err(), "{text}");
        }
    }

    #[test]
    fn an_ssid_plays_no_tricks_on_a_terminal() {
        assert_eq!(show_ssid(&ssid("a\u{1b}[2Jb").unwrap()), "a\u{fffd}[2Jb");
    }

    #[test]
    fn none_takes_a_limit_away() {
        assert_eq!("none".parse(), Ok(OrNone::<Rssi>(None)));
        assert_eq!("-75".parse(), Ok(OrNone(Some(Rssi(-75)))));
    }
}
