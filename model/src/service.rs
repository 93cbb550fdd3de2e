//! Classes of service: what a subscriber is entitled to while away from home (R13).

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{ClassId, Name, Place, Rssi};

/// A class of service, as an operator sells it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClassOfService {
    /// Its key in the datastore.
    pub id: ClassId,
    /// Its name, unique.
    pub name: Name,
    /// Where it is valid.
    pub coverage: Coverage,
    /// What a device under it is granted.
    #[serde(flatten)]
    pub terms: ServiceTerms,
    /// How long what is recorded of its sessions is kept after they ended; `None` leaves it to the
    /// ledger's configuration. No gateway has to know.
    #[serde(default)]
    pub retention: Option<Days>,
}

/// The part of a class of service that travels to the gateway with every [`Grant`](crate::Grant).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct ServiceTerms {
    /// Which roamers go first when the gateway is busy.
    pub priority: Priority,
    /// The most that a device may send and receive.
    pub bandwidth: Bandwidth,
    /// The most that a device may move in a period; `None` is unlimited.
    pub quota: Option<Quota>,
    /// Whether traffic between gateways is encrypted.
    pub encryption: Encryption,
    /// Where a roamer's traffic leaves.
    pub anchor: Anchor,
    /// Which combinations of two paths are allowed.
    pub bonding: BondingModes,
    /// The signal below which a device should be handed on; `None` leaves it to the gateway.
    pub handoff_threshold: Option<Rssi>,
    /// How long a session may last before it is authorised anew; `None` is unlimited.
    pub session_timeout: Option<Seconds>,
    /// How long a device may be silent before it is disconnected; `None` leaves it to the gateway.
    pub idle_timeout: Option<Seconds>,
    /// Where a NAS puts what is let in by a log-in; `None` leaves it to the NAS. Look-ups do not
    /// have it: behind a VAP of a home network there is that home's own segment and nothing else.
    pub vlan: Option<Vlan>,
}

/// A VLAN by its number: 1 to 4094 (IEEE 802.1Q 9.6; 0 and 4095 are none).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "u16", into = "u16")]
pub struct Vlan(u16);

impl TryFrom<u16> for Vlan {
    type Error = String;

    fn try_from(number: u16) -> Result<Self, String> {
        if (1..=4094).contains(&number) {
            Ok(Self(number))
        } else {
            Err(format!("a VLAN is 1 to 4094, not {number}"))
        }
    }
}

impl From<Vlan> for u16 {
    fn from(vlan: Vlan) -> Self {
        vlan.0
    }
}

impl fmt::Display for Vlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// A span in whole seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Seconds(pub u32);

impl From<Seconds> for Duration {
    fn from(s: Seconds) -> Self {
        Self::from_secs(u64::from(s.0))
    }
}

/// A span in whole days: 1 to 36500.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "u32", into = "u32")]
pub struct Days(u32);

impl TryFrom<u32> for Days {
    type Error = String;

    fn try_from(days: u32) -> Result<Self, String> {
        if (1..=36_500).contains(&days) {
            Ok(Self(days))
        } else {
            Err(format!("use 1 to 36500 days, not {days}"))
        }
    }
}

impl From<Days> for u32 {
    fn from(days: Days) -> Self {
        days.0
    }
}

impl From<Days> for Duration {
    fn from(days: Days) -> Self {
        Self::from_secs(u64::from(days.0) * 86_400)
    }
}

/// Where a class of service is valid, seen from the home gateway's [`Place`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Coverage {
    /// Gateways of the home's country and region.
    Local,
    /// Gateways of the home's country.
    #[default]
    National,
    /// Every gateway of the operator.
    Everywhere,
}

impl Coverage {
    /// Whether a device at home in `home` is covered at a gateway in `here`.
    pub fn covers(self, home: &Place, here: &Place) -> bool {
        match self {
            Self::Local => home.country() == here.country() && home.region() == here.region(),
            Self::National => home.country() == here.country(),
            Self::Everywhere => true,
        }
    }
}

/// Rank among roamers under congestion: 0 (last) to 7 (first), as the user priorities of
/// IEEE 802.1Q are. 0 unless set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(try_from = "u8", into = "u8")]
pub struct Priority(u8);

impl TryFrom<u8> for Priority {
    type Error = String;

    fn try_from(rank: u8) -> Result<Self, String> {
        if rank <= 7 {
            Ok(Self(rank))
        } else {
            Err(format!("a priority is 0 (last) to 7 (first), not {rank}"))
        }
    }
}

impl From<Priority> for u8 {
    fn from(p: Priority) -> Self {
        p.0
    }
}

/// Bit rates, in bit/s, as the device sees them; `None` is unlimited.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Bandwidth {
    /// From the device.
    pub up: Option<u32>,
    /// To the device.
    pub down: Option<u32>,
}

/// An amount of traffic per period.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Quota {
    /// Octets, both directions together.
    pub octets: u64,
    /// The period after which the count starts anew.
    pub period: QuotaPeriod,
}

/// How often a quota is refilled, in UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum QuotaPeriod {
    /// At midnight.
    Day,
    /// On Monday at midnight.
    Week,
    /// On the first at midnight.
    Month,
}

/// Whether traffic between gateways is encrypted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Encryption {
    /// Inside WireGuard.
    #[default]
    Required,
    /// In the clear, for operators whose backbone is their own.
    Off,
}

/// Where a roamer's traffic leaves. A subscriber without a home gateway has nowhere but
/// [`Anchor::Local`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Anchor {
    /// Through its home gateway, by a tunnel: address, sessions and home LAN stay (R7).
    #[default]
    Home,
    /// At the gateway that serves it, with an address of that gateway's (R6).
    Local,
}

/// Which ways of using two paths at once are allowed (R12).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct BondingModes {
    /// The same packets on both.
    pub mirrored: bool,
    /// Alternate packets on each.
    pub striped: bool,
}

/// A word that is none of those a setting allows.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{given:?} is not {what}: use one of {allowed}")]
pub struct WordError {
    given: String,
    what: &'static str,
    allowed: &'static str,
}

/// `Display` and `FromStr` for an enum whose variants are words; the words are serde's.
macro_rules! words {
    ($type:ty, $what:literal, $allowed:literal, $($variant:path => $word:literal),+) => {
        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(match self { $($variant => $word),+ })
            }
        }
        impl FromStr for $type {
            type Err = $crate::service::WordError;
            fn from_str(text: &str) -> Result<Self, Self::Err> {
                match text {
                    $($word => Ok($variant),)+
                    _ => Err($crate::service::WordError::new(text, $what, $allowed)),
                }
            }
        }
    };
}
pub(crate) use words;

impl WordError {
    pub(crate) fn new(given: &str, what: &'static str, allowed: &'static str) -> Self {
        Self { given: given.to_owned(), what, allowed }
    }
}

words!(Coverage, "a coverage", "local, national, everywhere",
    Coverage::Local => "local", Coverage::National => "national", Coverage::Everywhere => "everywhere");
words!(QuotaPeriod, "a quota period", "day, week, month",
    QuotaPeriod::Day => "day", QuotaPeriod::Week => "week", QuotaPeriod::Month => "month");
words!(Encryption, "an encryption setting", "required, off",
    Encryption::Required => "required", Encryption::Off => "off");
words!(Anchor, "an anchor", "home, local", Anchor::Home => "home", Anchor::Local => "local");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn coverage_is_seen_from_home() {
        let place = |t: &str| t.parse::<Place>().unwrap();
        let home = place("gb/london/se1");
        for (coverage, here, covered) in [
            (Coverage::Local, "gb/london/n7", true),
            (Coverage::Local, "gb/leeds/ls1", false),
            (Coverage::Local, "ca/london/on", false),
            (Coverage::National, "gb/leeds/ls1", true),
            (Coverage::National, "fr/paris/12", false),
            (Coverage::Everywhere, "fr/paris/12", true),
        ] {
            assert_eq!(coverage.covers(&home, &place(here)), covered, "{coverage} {here}");
        }
    }

    #[test]
    fn a_vlan_is_1_to_4094() {
        for (number, is_one) in [(0, false), (1, true), (4094, true), (4095, false)] {
            assert_eq!(Vlan::try_from(number).is_ok(), is_one, "{number}");
            let read = serde_json::from_str::<Vlan>(&number.to_string());
            assert_eq!(read.is_ok(), is_one, "{number}");
        }
    }

    #[test]
    fn sessions_are_kept_for_a_day_to_a_century_and_a_class_need_not_say() {
        for (number, is_one) in [(0, false), (1, true), (36_500, true), (36_501, false)] {
            assert_eq!(Days::try_from(number).is_ok(), is_one, "{number}");
            let read = serde_json::from_str::<Days>(&number.to_string());
            assert_eq!(read.is_ok(), is_one, "{number}");
        }
        assert_eq!(Duration::from(Days::try_from(2).unwrap()).as_secs(), 172_800);
        let text = r#"{"id":1,"name":"gold","coverage":"local"}"#;
        let class: ClassOfService = serde_json::from_str(text).unwrap();
        assert_eq!(class.retention, None);
    }

    #[test]
    fn a_priority_is_at_most_7() {
        assert!(Priority::try_from(7).is_ok());
        assert!(Priority::try_from(8).is_err());
    }
}
