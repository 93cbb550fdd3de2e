//! WLAN policies: which credentials a device is given, and when it uses Wi-Fi (C5, C6).

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::service::words;
use crate::{ClassId, Mac, Nai, Rssi, Seconds, Ssid};

/// Whom a policy is for. The most specific one counts, whole: a MAC address before a class of
/// service before the default.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PolicyScope {
    /// Whoever has no other.
    Default,
    /// Accounts of one class of service.
    Class(ClassId),
    /// One device.
    Mac(Mac),
}

/// What the operator has decided for some devices.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OffloadPolicy {
    /// What the credentials are like.
    #[serde(default)]
    pub terms: CredentialTerms,
    /// What the device is told.
    pub wlan: WlanPolicy,
}

/// How long credentials are good, and for whom (C6).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CredentialTerms {
    /// Until when they are good, seconds after they were issued: at least 60. `None`: for life.
    pub lifetime: Option<Seconds>,
    /// Whether one log-on spends them.
    pub one_time: bool,
    /// How long before the end a device may have new ones; less than the lifetime.
    pub renewal_window: Seconds,
    /// Whether the station's MAC address must be the one they were issued to.
    pub bind_mac: bool,
}

impl Default for CredentialTerms {
    /// A week, renewed in its last day, bound to the station.
    fn default() -> Self {
        Self {
            lifetime: Some(Seconds(7 * 86_400)),
            one_time: false,
            renewal_window: Seconds(86_400),
            bind_mac: true,
        }
    }
}

/// What a device is told of the operator's Wi-Fi (C5).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WlanPolicy {
    /// The networks, the preferred one first: 1 to 16.
    pub networks: Vec<WlanNetwork>,
    /// The EAP method.
    #[serde(default)]
    pub eap: EapMethod,
    /// What a device calls itself in the clear, `anonymous@realm`; `None` where it may say its
    /// name.
    #[serde(default)]
    pub anonymous: Option<Nai>,
    /// The name that the server's certificate must have, or end in.
    pub server_name: String,
    /// The authority that the server's certificate must be of, in PEM; `None`: one that the
    /// device trusts anyway.
    #[serde(default)]
    pub ca: Option<String>,
    /// From which signal on a network is joined.
    #[serde(default = "join")]
    pub join: Rssi,
    /// Below which signal it is left; at least 3 dB below [`join`](Self::join).
    #[serde(default = "leave")]
    pub leave: Rssi,
    /// How long the signal must have been above or below.
    #[serde(default = "dwell")]
    pub dwell: Seconds,
    /// When Wi-Fi may be used; empty: always. At most 32.
    #[serde(default)]
    pub schedule: Vec<Window>,
}

const fn join() -> Rssi {
    Rssi(-67)
}

const fn leave() -> Rssi {
    Rssi(-77)
}

const fn dwell() -> Seconds {
    Seconds(3)
}

/// A network that a device may use.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WlanNetwork {
    /// Its SSID.
    pub ssid: Ssid,
    /// Whether what is moved over it is to be counted as dear.
    #[serde(default)]
    pub metered: bool,
    /// From which signal on this one is joined, where it differs.
    #[serde(default)]
    pub join: Option<Rssi>,
}

/// How a device proves who it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum EapMethod {
    /// PEAPv0 with MSCHAPv2.
    #[default]
    Peap,
    /// TTLSv0 with PAP inside.
    TtlsPap,
    /// TTLSv0 with MSCHAPv2 inside.
    TtlsMschapv2,
}

words!(EapMethod, "an EAP method", "peap, ttls-pap, ttls-mschapv2",
    EapMethod::Peap => "peap", EapMethod::TtlsPap => "ttls-pap",
    EapMethod::TtlsMschapv2 => "ttls-mschapv2");

/// A day of the week.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[expect(missing_docs, reason = "the names say it")]
pub enum Weekday {
    Mon,
    Tue,
    Wed,
    Thu,
    Fri,
    Sat,
    Sun,
}

/// A part of the week, in the device's local time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Window {
    /// The days on which it begins; empty: every day.
    #[serde(default)]
    pub days: Vec<Weekday>,
    /// From this time on.
    pub from: TimeOfDay,
    /// Up to this time; not after `from`: that of the next day.
    pub to: TimeOfDay,
}

/// Minutes since midnight, written `HH:MM`; `24:00` is the end of the day.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TimeOfDay(u16);

impl TimeOfDay {
    /// Minutes since midnight, at most 1440.
    pub const fn minutes(self) -> u16 {
        self.0
    }
}

impl FromStr for TimeOfDay {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?} is no time of day: give HH:MM, 00:00 to 24:00");
        let two =
            |digits: &str| match digits.len() == 2 && digits.bytes().all(|c| c.is_ascii_digit()) {
                true => digits.parse::<u16>().ok(),
                false => None,
            };
        let (hours, minutes) = text.split_once(':').ok_or_else(wrong)?;
        let (hours, minutes) = two(hours).zip(two(minutes)).ok_or_else(wrong)?;
        let all = hours * 60 + minutes;
        if minutes < 60 && all <= 1440 { Ok(Self(all)) } else { Err(wrong()) }
    }
}

impl TryFrom<String> for TimeOfDay {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<TimeOfDay> for String {
    fn from(time: TimeOfDay) -> Self {
        time.to_string()
    }
}

impl fmt::Display for TimeOfDay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:02}:{:02}", self.0 / 60, self.0 % 60)
    }
}

impl Window {
    /// Whether a moment of the week lies in it: the day, and minutes since its midnight.
    pub fn holds(&self, day: Weekday, minutes: u16) -> bool {
        let begins = |day: Weekday| self.days.is_empty() || self.days.contains(&day);
        let (from, to) = (self.from.0, self.to.0);
        if from < to {
            begins(day) && (from..to).contains(&minutes)
        } else {
            (begins(day) && minutes >= from) || (begins(day.before()) && minutes < to)
        }
    }
}

impl Weekday {
    /// The day before.
    pub const fn before(self) -> Self {
        match self {
            Self::Mon => Self::Sun,
            Self::Tue => Self::Mon,
            Self::Wed => Self::Tue,
            Self::Thu => Self::Wed,
            Self::Fri => Self::Thu,
            Self::Sat => Self::Fri,
            Self::Sun => Self::Sat,
        }
    }
}

/// What is wrong with a policy, and what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{setting}: {what}")]
pub struct PolicyError {
    /// Which setting, such as `wlan.leave`.
    pub setting: &'static str,
    /// What is wrong, and what to do.
    pub what: String,
}

impl OffloadPolicy {
    /// Checks what its types do not say.
    ///
    /// # Errors
    ///
    /// Names the first setting that is wrong.
    pub fn check(&self) -> Result<(), PolicyError> {
        let wrong = |setting, what: String| Err(PolicyError { setting, what });
        if let Some(Seconds(lifetime)) = self.terms.lifetime {
            if lifetime < 60 {
                return wrong("terms.lifetime", format!("{lifetime} s: give 60 or more, or none"));
            }
            let window = self.terms.renewal_window.0;
            if window >= lifetime {
                return wrong(
                    "terms.renewal_window",
                    format!("{window} s is not less than the lifetime of {lifetime} s"),
                );
            }
        }
        self.wlan.check()
    }
}

impl WlanPolicy {
    /// Checks what its types do not say.
    ///
    /// # Errors
    ///
    /// Names the first setting that is wrong.
    pub fn check(&self) -> Result<(), PolicyError> {
        let wrong = |setting, what: String| Err(PolicyError { setting, what });
        if !(1..=16).contains(&self.networks.len()) {
            let count = self.networks.len();
            return wrong("wlan.networks", format!("1 to 16 networks, not {count}"));
        }
        let mut seen = Vec::new();
        for network in &self.networks {
            if seen.contains(&network.ssid) {
                return wrong("wlan.networks", format!("{} is there twice", network.ssid));
            }
            seen.push(network.ssid);
            if network.join.unwrap_or(self.join).0 < self.leave.0.saturating_add(3) {
                return wrong(
                    "wlan.leave",
                    format!(
                        "{} dBm is less than 3 dB below the {} dBm from which {} is joined: devices would go to and fro",
                        self.leave.0,
                        network.join.unwrap_or(self.join).0,
                        network.ssid
                    ),
                );
            }
        }
        let label = |c: u8| c.is_ascii_alphanumeric() || c == b'-' || c == b'.';
        let name = &self.server_name;
        if !(1..=253).contains(&name.len()) || !name.bytes().all(label) || !name.contains('.') {
            return wrong(
                "wlan.server_name",
                format!(
                    "{name:?} is no host name: give what the server's certificate says, such as aaa.example.net"
                ),
            );
        }
        if self.ca.as_ref().is_some_and(|ca| !ca.contains("-----BEGIN CERTIFICATE-----")) {
            return wrong("wlan.ca", "no certificate in PEM is in it".to_owned());
        }
        if self.schedule.len() > 32 {
            return wrong("wlan.schedule", format!("{} parts; 32 at most", self.schedule.len()));
        }
        if let Some(at) = self.schedule.iter().position(|w| w.from == w.to) {
            return wrong("wlan.schedule", format!("part {} has no length", at + 1));
        }
        Ok(())
    }

    /// Whether Wi-Fi may be used at a moment of the week.
    pub fn open(&self, day: Weekday, minutes: u16) -> bool {
        self.schedule.is_empty() || self.schedule.iter().any(|w| w.holds(day, minutes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: &str =
        r#"{"wlan":{"networks":[{"ssid":"Town"}],"server_name":"aaa.example.net"}}"#;

    fn plain() -> OffloadPolicy {
        serde_json::from_str(PLAIN).unwrap()
    }

    /// What `check` finds fault with after `change`.
    fn fault(change: impl FnOnce(&mut OffloadPolicy)) -> Option<&'static str> {
        let mut policy = plain();
        change(&mut policy);
        policy.check().err().map(|error| error.setting)
    }

    #[test]
    fn a_policy_of_one_network_and_a_server_name_is_whole() {
        assert_eq!(plain().check(), Ok(()));
        let text = serde_json::to_string(&plain()).unwrap();
        assert_eq!(serde_json::from_str::<OffloadPolicy>(&text).unwrap(), plain());
        assert_eq!(plain().terms.lifetime, Some(Seconds(604_800)));
    }

    #[test]
    fn a_misspelled_setting_is_refused() {
        assert!(
            serde_json::from_str::<OffloadPolicy>(&PLAIN.replace("networks", "network")).is_err()
        );
        let text = PLAIN.replace(r#"{"wlan""#, r#"{"term":{},"wlan""#);
        assert!(serde_json::from_str::<OffloadPolicy>(&text).is_err());
    }

    #[test]
    fn what_is_wrong_with_a_policy_is_named() {
        assert_eq!(fault(|p| p.terms.lifetime = Some(Seconds(59))), Some("terms.lifetime"));
        assert_eq!(fault(|p| p.terms.lifetime = None), None);
        let window = |p: &mut OffloadPolicy| p.terms.renewal_window = Seconds(604_800);
        assert_eq!(fault(window), Some("terms.renewal_window"));
        assert_eq!(fault(|p| p.wlan.networks.clear()), Some("wlan.networks"));
        let twice = |p: &mut OffloadPolicy| p.wlan.networks.extend(plain().wlan.networks);
        assert_eq!(fault(twice), Some("wlan.networks"));
        assert_eq!(fault(|p| p.wlan.leave = Rssi(-69)), Some("wlan.leave"));
        assert_eq!(fault(|p| p.wlan.leave = Rssi(-70)), None);
        let own = |p: &mut OffloadPolicy| {
            p.wlan.networks.iter_mut().for_each(|n| n.join = Some(Rssi(-76)))
        };
        assert_eq!(fault(own), Some("wlan.leave"));
        for name in ["", "aaa", "aaa example.net", "*.example.net"] {
            assert_eq!(fault(|p| p.wlan.server_name = name.to_owned()), Some("wlan.server_name"));
        }
        assert_eq!(fault(|p| p.wlan.ca = Some("no".to_owned())), Some("wlan.ca"));
        let empty = |p: &mut OffloadPolicy| {
            let time: TimeOfDay = "08:00".parse().unwrap();
            p.wlan.schedule = vec![Window { days: vec![], from: time, to: time }];
        };
        assert_eq!(fault(empty), Some("wlan.schedule"));
    }

    #[test]
    fn a_time_of_day_is_two_digits_twice() {
        for (text, minutes) in [("00:00", Some(0)), ("08:30", Some(510)), ("24:00", Some(1440))] {
            assert_eq!(text.parse::<TimeOfDay>().ok().map(TimeOfDay::minutes), minutes);
        }
        for text in ["", "8:30", "08:60", "24:01", "+8:30", "08-30", "99:99"] {
            assert!(text.parse::<TimeOfDay>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_window_over_midnight_belongs_to_the_day_on_which_it_begins() {
        let window = |days: &[Weekday], from: &str, to: &str| Window {
            days: days.to_vec(),
            from: from.parse().unwrap(),
            to: to.parse().unwrap(),
        };
        let night = window(&[Weekday::Sat], "22:00", "06:00");
        assert!(night.holds(Weekday::Sat, 22 * 60));
        assert!(night.holds(Weekday::Sun, 5 * 60 + 59));
        assert!(!night.holds(Weekday::Sun, 6 * 60));
        assert!(!night.holds(Weekday::Sat, 5 * 60));
        let office = window(&[], "08:00", "17:00");
        assert!(office.holds(Weekday::Mon, 480) && !office.holds(Weekday::Mon, 1020));
        let mut policy = plain().wlan;
        assert!(policy.open(Weekday::Mon, 0));
        policy.schedule = vec![office];
        assert!(!policy.open(Weekday::Mon, 0));
    }
}
