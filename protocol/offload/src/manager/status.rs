//! What a user sees of the machine. Identifiers are spelled in full, but for the subscriber's and
//! the equipment's: this goes to the user's eyes, not into logs.

use std::fmt;
use std::time::Duration;

use homeward_model::{Instant, Mac, Rssi, Ssid, UnixTime};
use serde::{Deserialize, Serialize};

use super::{Connectivity, Left, Manager, Registration, Switches, Trouble, Wanted};

/// Where the machine stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// Switched off.
    Off,
    /// No credentials, and no cellular to get some by.
    NoCellular,
    /// No credentials yet.
    CellularUp,
    /// The portal is being asked for the first credentials.
    Requesting,
    /// Credentials in hand; waiting for a network that is fit.
    Watching,
    /// Associating.
    Associating,
    /// Logging on.
    Authenticating,
    /// Waiting for an address.
    Addressing,
    /// Looking whether the Internet is reached.
    Verifying,
    /// Logged on to a network that is not strong enough to be used yet.
    Ready,
    /// New connections use Wi-Fi.
    Offloaded,
    /// Back to cellular.
    Returning,
}

/// The whole of the machine at one moment. Spans are in milliseconds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// Where it stands.
    pub state: State,
    /// Whether new connections use Wi-Fi.
    pub on_wifi: bool,
    /// What the user has switched.
    pub switches: Switches,
    /// The modem.
    pub modem: ModemStatus,
    /// The supplicant.
    pub supplicant: SupplicantStatus,
    /// The credentials in hand.
    pub credentials: Option<CredentialStatus>,
    /// Requests to the portal.
    pub portal: PortalStatus,
    /// The association, from joining to leaving.
    pub session: Option<SessionStatus>,
    /// The operator's access points within earshot, the strongest first.
    pub heard: Vec<HeardStatus>,
    /// How far the clock on the wall is ahead of the portal's, where that is known.
    pub clock_skew_ms: Option<i64>,
    /// What was counted since the start.
    pub counters: Counters,
}

/// The modem.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "as in `ModemFacts`")]
pub struct ModemStatus {
    pub present: bool,
    /// The IMSI's first digits.
    pub imsi: Option<String>,
    /// The IMEI's first digits.
    pub imei: Option<String>,
    pub registration: Registration,
    pub bearer: bool,
}

/// The supplicant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SupplicantStatus {
    /// Whether it is there.
    pub ready: bool,
    /// Whether the radio may send.
    pub radio: bool,
    /// Whether it is on a network that somebody else has it use.
    #[serde(default)]
    pub lent: bool,
    /// The station's address.
    pub mac: Option<Mac>,
    /// Whether it has the networks and credentials in hand.
    pub programmed: bool,
    /// What it last refused, until it takes it.
    pub error: Option<String>,
}

/// The credentials in hand.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CredentialStatus {
    /// The name.
    pub username: String,
    /// Until when; `None`: for life.
    pub expires: Option<UnixTime>,
    /// From when on they may be renewed.
    pub renew_from: Option<UnixTime>,
    /// Whether one log-on spends them.
    pub one_time: bool,
    /// Whether it has.
    pub spent: bool,
    /// The station that they were issued to.
    pub mac: Mac,
    /// The networks that they are for, the preferred one first.
    pub networks: Vec<Ssid>,
    /// How often in a row the network refused them.
    pub rejections: u32,
}

/// Requests to the portal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PortalStatus {
    /// What it is being asked for.
    pub asking: Option<Wanted>,
    /// What failed last, until an answer helps.
    pub trouble: Option<Trouble>,
    /// In whose words.
    pub error: Option<String>,
    /// How many times in a row.
    pub failures: u32,
    /// When it may be asked again, if it has to be.
    pub retry_ms: Option<u64>,
    /// Requests by short message, where it is asked so.
    pub messages: Option<MessageStatus>,
}

/// Requests to the portal by short message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MessageStatus {
    /// Whether messages come and go.
    pub possible: bool,
    /// When the portal was last asked so, since the start.
    pub asked: Option<UnixTime>,
    /// How much longer its answer is waited for, if it is.
    pub waits_ms: Option<u64>,
    /// What failed last, until an answer helps.
    pub trouble: Option<Trouble>,
    /// In whose words.
    pub error: Option<String>,
    /// How many were sent since what one brought was last of use.
    pub in_a_row: u32,
    /// When the next may be sent, if it has to be.
    pub next_ms: Option<u64>,
    /// How many were sent in the last 24 hours.
    pub sent: usize,
    /// How many that may be at the most.
    pub per_day: u16,
}

/// An association.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionStatus {
    /// Its network.
    pub ssid: Ssid,
    /// Its access point.
    pub bssid: Mac,
    /// Its smoothed signal.
    pub signal: Option<Rssi>,
    /// Whether it is dear.
    pub metered: bool,
    /// How long the machine has stood where it stands.
    pub since_ms: u64,
    /// Why it is being left.
    pub left: Option<Left>,
}

/// An access point within earshot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeardStatus {
    /// Its network.
    pub ssid: Ssid,
    /// Which.
    pub bssid: Mac,
    /// Its smoothed signal.
    pub signal: Rssi,
    /// For how long it was seen to be strong enough.
    pub strong_ms: Option<u64>,
    /// How much longer it is shunned.
    pub shunned_ms: Option<u64>,
}

/// What was counted since the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Counters {
    /// Requests to the portal.
    pub requests: u64,
    /// Answers with credentials.
    pub answers: u64,
    /// Requests without one.
    pub request_failures: u64,
    /// Networks that were begun to be joined.
    pub joins: u64,
    /// Of those, how many came to nothing.
    pub not_joined: u64,
    /// Log-ons that the network refused.
    pub rejections: u64,
    /// Checks of connectivity that failed.
    pub verify_failures: u64,
    /// Times that connections moved to Wi-Fi.
    pub offloads: u64,
    /// Times that they moved back.
    pub returns: u64,
    /// Requests by short message.
    pub messages: u64,
    /// Answers to them, with credentials.
    pub message_answers: u64,
    /// Those that were not sent, or brought nothing.
    pub message_failures: u64,
    /// Messages from the portal's number that answer nothing that was asked.
    pub messages_ignored: u64,
}

impl Manager {
    /// The whole of the machine, for its user.
    pub fn status(&self) -> Status {
        let now = self.now;
        let wanted = self.wanted(now);
        let retry = self.asking.waits(&self.settings, now).filter(|_| wanted.is_some());
        let held = self.held.as_ref();
        let credentials = held.map(|held| CredentialStatus {
            username: held.stored.username.as_str().to_owned(),
            expires: self.expiry(),
            renew_from: held.stored.renew_from,
            one_time: held.stored.one_time,
            spent: held.stored.spent,
            mac: held.stored.mac,
            networks: held.stored.policy.networks.iter().map(|network| network.ssid).collect(),
            rejections: self.rejections.count(),
        });
        let session = self.session.as_ref().map(|session| SessionStatus {
            ssid: session.ssid,
            bssid: session.bssid,
            signal: session.level.map(|level| level.rssi()),
            metered: session.metered,
            since_ms: ms(now - session.since),
            left: session.left,
        });
        let mut heard: Vec<HeardStatus> = Vec::new();
        for (bssid, bss) in &self.air.bsses {
            heard.push(HeardStatus {
                ssid: bss.ssid,
                bssid: *bssid,
                signal: bss.level.rssi(),
                strong_ms: bss.strong_for().map(ms),
                shunned_ms: self.air.penalty(*bssid, now).map(|penalty| ms(penalty.until - now)),
            });
        }
        heard.sort_by_key(|bss| (std::cmp::Reverse(bss.signal), bss.bssid));
        Status {
            state: self.state(),
            on_wifi: self.on_wifi,
            switches: self.switches,
            modem: ModemStatus {
                present: self.modem.present,
                imsi: self.modem.imsi.map(|imsi| imsi.to_string()),
                imei: self.modem.imei.map(|imei| imei.to_string()),
                registration: self.modem.registration,
                bearer: self.modem.bearer,
            },
            supplicant: SupplicantStatus {
                ready: self.supplicant.ready,
                radio: self.supplicant.radio,
                lent: self.supplicant.lent,
                mac: self.supplicant.mac,
                programmed: held.is_some_and(|h| self.supplicant.has == Some(h.generation)),
                error: self.supplicant.error.clone(),
            },
            credentials,
            portal: PortalStatus {
                asking: self.asking.open.as_ref().map(|open| open.wanted),
                trouble: self.asking.trouble.as_ref().map(|(trouble, _)| *trouble),
                error: self.asking.trouble.as_ref().and_then(|(_, words)| words.clone()),
                failures: self.asking.backoff.failures(),
                retry_ms: retry.map(|at| ms(at - now)),
                messages: self.message_status(now),
            },
            session,
            heard,
            clock_skew_ms: self.clocks.skew(now),
            counters: self.counters,
        }
    }

    fn message_status(&self, now: Instant) -> Option<MessageStatus> {
        let settings = self.settings.messages.as_ref()?;
        let messaging = &self.messaging;
        let since = messaging.last.map(|at| i64::try_from(ms(now - at)).unwrap_or(i64::MAX));
        let asked = since.zip(self.clocks.likely(now));
        let next = messaging.waits(settings, now).filter(|_| self.message_wanted(now).is_some());
        let (trouble, error) = messaging.trouble.clone().unzip();
        Some(MessageStatus {
            possible: self.modem.messages,
            asked: asked.map(|(since, time)| UnixTime(time.0.saturating_sub(since))),
            waits_ms: messaging.waiting().map(|asked| ms(asked.deadline - now)),
            trouble,
            error: error.flatten(),
            in_a_row: messaging.backoff.failures(),
            next_ms: next.map(|at| ms(at - now)),
            sent: messaging.sent(now),
            per_day: settings.per_day,
        })
    }

    /// What was counted since the start: cheaper than the whole [`status`](Self::status).
    pub fn counters(&self) -> Counters {
        self.counters
    }
}

pub(crate) fn ms(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

/// `Display` for what is shown to people.
macro_rules! shown {
    ($($type:ty { $($variant:pat => $words:literal),+ $(,)? })+) => { $(
        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(match self { $($variant => $words),+ })
            }
        }
    )+ };
}

shown! {
    State {
        Self::Off => "off", Self::NoCellular => "no cellular", Self::CellularUp => "cellular up",
        Self::Requesting => "requesting", Self::Watching => "watching",
        Self::Associating => "associating", Self::Authenticating => "authenticating",
        Self::Addressing => "addressing", Self::Verifying => "verifying",
        Self::Ready => "ready", Self::Offloaded => "offloaded", Self::Returning => "returning",
    }
    Registration {
        Self::Unknown => "not known", Self::Idle => "idle", Self::Searching => "searching",
        Self::Denied => "denied", Self::Home => "at home", Self::Roaming => "roaming",
    }
    Wanted {
        Self::None => "there are none", Self::Moved => "another station or other equipment",
        Self::Rejected => "the network refused the old ones", Self::Spent => "the old ones are spent",
        Self::Renewal => "the old ones end",
        Self::ByMessage => "the old ones came by short message", Self::Clock => "the clock shows what cannot be",
        Self::Keys => "hand-off keys are to come with them",
    }
    Trouble {
        Self::Away => "did not answer", Self::Busy => "has too much to do",
        Self::Refused => "refused", Self::Invalid => "gave no answer that can be used",
        Self::Useless => "gave what did not help",
        Self::Unsent => "could not be sent the message",
    }
    Left {
        Self::Faded => "too weak", Self::Lost => "it ended by itself",
        Self::NotAssociated => "it did not take the station", Self::Rejected => "log-on refused",
        Self::WrongServer => "it asked another server than the operator's",
        Self::NoLogOn => "no end of the log-on", Self::NoAddress => "no address",
        Self::Broken(Connectivity::Captive) => "somebody wants to be visited first",
        Self::Broken(_) => "the Internet was not reached", Self::SwitchedOff => "switched off",
        Self::Schedule => "its hours are over", Self::Metered => "it is dear",
        Self::Policy => "the operator does not name it any more",
        Self::Better => "another network is better",
        Self::Credentials => "the credentials are gone or replaced", Self::RadioOff => "the radio is off",
        Self::NoSupplicant => "the supplicant is gone",
    }
}
