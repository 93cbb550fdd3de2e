//! Why a device is not on Wi-Fi.

use std::fmt;

use homeward_model::{Instant, Mac, Rssi, Ssid, UnixTime};
use serde::{Deserialize, Serialize};

use super::link::{Link, Step};
use super::status::ms;
use super::{Left, Manager, State, Trouble, Wanted};

/// The answer to "why am I not on Wi-Fi?".
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Why {
    /// Whether new connections use Wi-Fi, so that there is nothing to explain.
    pub on_wifi: bool,
    /// Where the machine stands.
    pub state: State,
    /// What keeps it from Wi-Fi, what is to be put right first first. Empty on Wi-Fi.
    pub causes: Vec<Reason>,
}

/// One cause, in words.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reason {
    /// The cause.
    #[serde(flatten)]
    pub cause: Cause,
    /// What it is.
    pub what: String,
    /// What would change it.
    pub change: String,
}

/// What keeps a device from Wi-Fi. SSIDs and addresses are spelled in full: this goes to the
/// user's eyes, not into logs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "cause", rename_all = "kebab-case")]
#[expect(
    missing_docs,
    reason = "the fields are the words of the crate; each variant says what it means"
)]
pub enum Cause {
    /// The user has switched it off.
    SwitchedOff,
    /// The radio is switched off.
    RadioOff,
    /// The station is on a network that somebody else has it use.
    Lent,
    /// There is no supplicant.
    NoSupplicant,
    /// There are no credentials, and no modem to get some by.
    NoModem,
    /// There are no credentials, and no SIM to get some by.
    NoSim,
    /// There are no credentials, and no network that takes the modem in.
    NotRegistered { registration: super::Registration },
    /// There are no credentials, and no bearer to get some by.
    NoBearer,
    /// Credentials are being asked for.
    Requesting { wanted: Wanted },
    /// The portal does not give any.
    Portal { trouble: Trouble, failures: u32, error: Option<String>, wait_ms: Option<u64> },
    /// The portal was asked as often as may be in an hour.
    Budget { wait_ms: u64 },
    /// Credentials will be asked for in a moment.
    Waiting { wait_ms: u64 },
    /// The portal was asked by short message, and has not answered yet.
    AskedByMessage { since_ms: u64, wait_ms: u64 },
    /// It will be asked by short message; what became of the last one, if that was of no use.
    ByMessage { trouble: Option<Trouble>, error: Option<String>, wait_ms: u64 },
    /// It was asked by short message as often as may be in a day.
    MessageBudget { sent: usize, wait_ms: u64 },
    /// It is not asked by short message, for no network is heard that the answer would open.
    Far,
    /// The credentials are spent, and there are no others yet.
    Spent,
    /// The network refused the credentials.
    Rejected { times: u32, wait_ms: Option<u64> },
    /// The supplicant does not have the networks yet, or does not take them.
    NotProgrammed { error: Option<String>, wait_ms: Option<u64> },
    /// Wi-Fi may not be used at this hour.
    Schedule { wait_ms: Option<u64> },
    /// No network of the operator's is heard.
    NothingHeard { ssids: Vec<Ssid> },
    /// It is counted as dear.
    Metered { ssid: Ssid },
    /// It does not want a log-on, so it is somebody else's.
    Open { ssid: Ssid, bssid: Mac },
    /// It failed a while ago.
    Shunned { ssid: Ssid, bssid: Mac, why: Left, wait_ms: u64 },
    /// It is too weak.
    Weak { ssid: Ssid, bssid: Mac, signal: Rssi, needed: Rssi },
    /// It has not been strong enough for long enough.
    Settling { ssid: Ssid, bssid: Mac, signal: Rssi, wait_ms: u64 },
    /// It is logged on to, and not strong enough to be used yet.
    Ready { ssid: Ssid, bssid: Mac, signal: Option<Rssi>, needed: Rssi },
    /// It is being joined.
    Joining { ssid: Ssid, step: State, wait_ms: u64 },
    /// It was just left.
    Leaving { ssid: Ssid, why: Left, wait_ms: u64 },
}

impl Manager {
    /// Why new connections do not use Wi-Fi: the causes in the order in which to put them right,
    /// each with what would change it.
    pub fn why(&self) -> Why {
        let now = self.now;
        let mut causes = Vec::new();
        if !self.on_wifi {
            causes = self.obstacles(now);
            if let Some(session) = &self.session {
                let (ssid, wait) = (session.ssid, self.link_next());
                let wait_ms = wait.map_or(0, |at| ms(at - now));
                causes.push(match session.left {
                    Some(why) => Cause::Leaving { ssid, why, wait_ms },
                    None => self.waits_for(session).unwrap_or_else(|| {
                        let step = self.state();
                        Cause::Joining { ssid, step, wait_ms }
                    }),
                });
            } else if causes.is_empty() {
                causes = self.unfit_all(now);
            }
        }
        let causes = causes.into_iter().map(Reason::from).collect();
        Why { on_wifi: self.on_wifi, state: self.state(), causes }
    }

    /// What stands against joining any network at all. Empty: the best that is fit is joined.
    pub(crate) fn obstacles(&self, now: Instant) -> Vec<Cause> {
        let mut causes = Vec::new();
        if !self.switches.offload {
            causes.push(Cause::SwitchedOff);
        }
        if !self.supplicant.ready {
            causes.push(Cause::NoSupplicant);
        } else if !self.supplicant.radio {
            causes.push(Cause::RadioOff);
        } else if self.supplicant.lent {
            causes.push(Cause::Lent);
        }
        let Some(held) = &self.held else {
            causes.extend(self.uncredited(Wanted::None, now));
            return causes;
        };
        if held.stored.spent && self.session.is_none() {
            causes.push(Cause::Spent);
            causes.extend(self.uncredited(Wanted::Spent, now));
        } else if self.replacing() {
            causes.extend(self.uncredited(Wanted::Rejected, now));
        }
        if let Some(until) = self.rejections.blocks(now) {
            let (times, wait_ms) = (self.rejections.count(), Some(ms(until - now)));
            causes.push(Cause::Rejected { times, wait_ms });
        }
        if self.supplicant.ready && self.supplicant.has != Some(held.generation) {
            let busy = self.supplicant.told.map(|(_, _, deadline)| deadline);
            let wait = busy.or(self.supplicant.backoff.until(now));
            let (error, wait_ms) = (self.supplicant.error.clone(), wait.map(|at| ms(at - now)));
            if self.session.is_none() {
                causes.push(Cause::NotProgrammed { error, wait_ms });
            }
        }
        let policy = &held.stored.policy;
        if !self.is_open(policy, now) {
            let ends = policy.schedule.iter().map(|window| window.from.minutes());
            let wait_ms = self.clocks.next_of(ends, now).map(|at| ms(at - now));
            causes.push(Cause::Schedule { wait_ms });
        }
        causes
    }

    /// Why there are no credentials.
    fn uncredited(&self, wanted: Wanted, now: Instant) -> impl Iterator<Item = Cause> {
        let over_bearer = self.uncredited_over_bearer(wanted, now);
        over_bearer.into_iter().chain(self.uncredited_by_message(now))
    }

    /// Why none came by short message, where they are asked for so.
    fn uncredited_by_message(&self, now: Instant) -> Option<Cause> {
        let settings = self.settings.messages.as_ref()?;
        if let Some(asked) = self.messaging.waiting() {
            let (since_ms, wait_ms) = (ms(now - asked.at), ms(asked.deadline - now));
            return Some(Cause::AskedByMessage { since_ms, wait_ms });
        }
        if !self.message_fits(now) || self.modem.imsi.is_none() {
            return None;
        }
        self.message_wanted(now)?;
        if !self.is_near(now) {
            return Some(Cause::Far);
        }
        if let Some(at) = self.messaging.room(settings, now) {
            let sent = self.messaging.sent(now);
            return Some(Cause::MessageBudget { sent, wait_ms: ms(at - now) });
        }
        let wait_ms = self.messaging.waits(settings, now).map(|at| ms(at - now))?;
        let (trouble, error) = self.messaging.trouble.clone().unzip();
        Some(Cause::ByMessage { trouble, error: error.flatten(), wait_ms })
    }

    fn uncredited_over_bearer(&self, wanted: Wanted, now: Instant) -> Option<Cause> {
        if let Some(open) = &self.asking.open {
            return Some(Cause::Requesting { wanted: open.wanted });
        }
        let modem = &self.modem;
        if !modem.present {
            return Some(Cause::NoModem);
        }
        if modem.imsi.is_none() {
            return Some(Cause::NoSim);
        }
        if !modem.bearer {
            use super::Registration::{Denied, Idle, Searching};
            let registration = modem.registration;
            // Where nobody knows, as of a modem without a manager, the bearer is what is missed.
            return Some(match matches!(registration, Idle | Searching | Denied) {
                true => Cause::NotRegistered { registration },
                false => Cause::NoBearer,
            });
        }
        if let Some((trouble, error)) = self.asking.trouble.clone() {
            let wait = self.asking.waits(&self.settings, now);
            let (failures, wait_ms) = (self.asking.backoff.failures(), wait.map(|at| ms(at - now)));
            return Some(Cause::Portal { trouble, failures, error, wait_ms });
        }
        if let Some(at) = self.asking.room(&self.settings, now) {
            return Some(Cause::Budget { wait_ms: ms(at - now) });
        }
        let wait = self.asking.waits(&self.settings, now);
        // Without a station there is nobody to ask for; that is named already.
        let wait_ms = wait.filter(|_| wanted == Wanted::None).map(|at| ms(at - now))?;
        Some(Cause::Waiting { wait_ms })
    }

    /// Why none of the networks is joined that the policy names.
    fn unfit_all(&self, now: Instant) -> Vec<Cause> {
        let Some(held) = &self.held else { return Vec::new() };
        let mut causes = Vec::new();
        let mut silent = Vec::new();
        for network in &held.stored.policy.networks {
            let heard = self.air.bsses.iter().filter(|(_, bss)| bss.ssid == network.ssid);
            let mut of: Vec<_> = heard
                .map(|(mac, bss)| (bss.level.rssi(), self.unfit(*mac, bss, network, now)))
                .collect();
            of.sort_by_key(|(level, _)| std::cmp::Reverse(*level));
            if of.is_empty() {
                silent.push(network.ssid);
            }
            for cause in of.into_iter().filter_map(|(_, cause)| cause) {
                if !causes.contains(&cause) {
                    causes.push(cause);
                }
            }
        }
        if causes.is_empty() {
            causes.push(Cause::NothingHeard { ssids: silent });
        }
        causes
    }

    /// Where the machine stands.
    pub fn state(&self) -> State {
        match &self.link {
            Link::Joining { step: Step::Associating, .. } => return State::Associating,
            Link::Joining { step: Step::Authenticating, .. } => return State::Authenticating,
            Link::Joining { step: Step::Addressing, .. } => return State::Addressing,
            Link::Verifying(_) => return State::Verifying,
            Link::Ready { .. } => return State::Ready,
            Link::Offloaded { .. } => return State::Offloaded,
            Link::Lingering { .. } | Link::Leaving { .. } => return State::Returning,
            Link::Idle => {}
        }
        if !self.switches.offload {
            State::Off
        } else if self.held.is_some() {
            State::Watching
        } else if self.asking.open.is_some() || self.messaging.waiting().is_some() {
            State::Requesting
        } else if self.modem.bearer {
            State::CellularUp
        } else {
            State::NoCellular
        }
    }

    /// Until when the credentials are good, as the portal said.
    pub(crate) fn expiry(&self) -> Option<UnixTime> {
        self.held.as_ref()?.stored.expires
    }
}

impl From<Cause> for Reason {
    fn from(cause: Cause) -> Self {
        let (what, change) = (cause.to_string(), cause.change());
        Self { cause, what, change }
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::SwitchedOff => f.write_str("you have switched it off"),
            Self::RadioOff => f.write_str("the Wi-Fi radio is switched off"),
            Self::Lent => f.write_str("Wi-Fi is on a network that somebody else chose"),
            Self::NoSupplicant => f.write_str("no Wi-Fi supplicant answers"),
            Self::NoModem => f.write_str("there is no modem to get credentials by"),
            Self::NoSim => f.write_str("the modem shows no SIM, or a locked one"),
            Self::NotRegistered { registration } => {
                write!(f, "no cellular network has the modem ({registration})")
            }
            Self::NoBearer => f.write_str("there is no cellular bearer to reach the portal by"),
            Self::Requesting { wanted } => write!(f, "credentials are being asked for: {wanted}"),
            Self::Portal { trouble, failures, error, .. } => {
                write!(f, "the portal {trouble}, {failures} times in a row")?;
                error.iter().try_for_each(|error| write!(f, ": {error}"))
            }
            Self::Budget { .. } => {
                f.write_str("the portal was asked as often as may be in an hour")
            }
            Self::Waiting { .. } => f.write_str("the portal is about to be asked"),
            Self::AskedByMessage { since_ms, .. } => {
                write!(f, "the portal was asked by short message {} s ago", since_ms / 1000)
            }
            Self::ByMessage { trouble: None, .. } => {
                f.write_str("the portal is about to be asked by short message")
            }
            Self::ByMessage { trouble: Some(trouble), error, .. } => {
                write!(f, "asked by short message, the portal {trouble}")?;
                error.iter().try_for_each(|error| write!(f, ": {error}"))
            }
            Self::MessageBudget { sent, .. } => {
                write!(f, "{sent} short messages were sent, as many as may be in a day")
            }
            Self::Far => f.write_str(
                "the portal is not asked by short message: no network is heard that would be \
                 worth its price",
            ),
            Self::Spent => f.write_str("the credentials were good for one log-on, and had it"),
            Self::Rejected { times, .. } => {
                write!(f, "the network refused the log-on, {times} times in a row")
            }
            Self::NotProgrammed { error: Some(error), .. } => {
                write!(f, "the supplicant does not take the networks: {error}")
            }
            Self::NotProgrammed { error: None, .. } => {
                f.write_str("the supplicant is being told of the networks")
            }
            Self::Schedule { .. } => f.write_str("the operator has other hours for Wi-Fi"),
            Self::NothingHeard { ssids } => {
                f.write_str("none of the operator's networks is heard:")?;
                ssids.iter().try_for_each(|ssid| write!(f, " {ssid}"))
            }
            Self::Metered { ssid } => write!(f, "{ssid} is counted as dear"),
            Self::Open { ssid, bssid } => {
                write!(f, "{} calls itself {ssid}, but wants no log-on by 802.1X", bssid.full())
            }
            Self::Shunned { ssid, bssid, why, .. } => {
                write!(f, "{ssid} at {} failed a while ago: {why}", bssid.full())
            }
            Self::Weak { ssid, bssid, signal, needed } => {
                write!(f, "{ssid} at {} is weak: {signal}, {needed} needed", bssid.full())
            }
            Self::Settling { ssid, bssid, signal, .. } => {
                write!(f, "{ssid} at {} has {signal}, but not for long enough", bssid.full())
            }
            Self::Ready { ssid, bssid, signal, needed } => {
                let bssid = bssid.full();
                write!(f, "{ssid} at {bssid} is logged on to, and used from {needed} on")?;
                signal.iter().try_for_each(|signal| write!(f, "; it has {signal}"))
            }
            Self::Joining { ssid, step, .. } => write!(f, "{ssid} is being joined: {step}"),
            Self::Leaving { ssid, why, .. } => write!(f, "{ssid} was just left: {why}"),
        }
    }
}

impl Cause {
    /// How long until it may change by itself, milliseconds.
    pub fn wait_ms(&self) -> Option<u64> {
        match self {
            Self::Portal { wait_ms, .. }
            | Self::Rejected { wait_ms, .. }
            | Self::NotProgrammed { wait_ms, .. }
            | Self::Schedule { wait_ms } => *wait_ms,
            Self::Budget { wait_ms }
            | Self::Waiting { wait_ms }
            | Self::AskedByMessage { wait_ms, .. }
            | Self::ByMessage { wait_ms, .. }
            | Self::MessageBudget { wait_ms, .. }
            | Self::Shunned { wait_ms, .. }
            | Self::Settling { wait_ms, .. }
            | Self::Joining { wait_ms, .. }
            | Self::Leaving { wait_ms, .. } => Some(*wait_ms),
            _ => None,
        }
    }

    /// What would change it.
    pub fn change(&self) -> String {
        let fixed = match self {
            Self::SwitchedOff => "switch it on: `homeward device on`",
            Self::RadioOff => "switch the radio on: `rfkill unblock wlan`, or the switch itself",
            Self::Lent => "leave that network: `nmcli device down IFNAME`",
            Self::NoSupplicant => {
                "start NetworkManager, or wpa_supplicant with a control interface for this station"
            }
            Self::NoModem => "plug in a modem, or start ModemManager",
            Self::NoSim => "put in a SIM, or unlock it: `mmcli -i any --pin=…`",
            Self::NotRegistered { .. } => {
                "wait for cover, or register: `mmcli -m any --3gpp-register-home`"
            }
            Self::NoBearer => "connect: `mmcli -m any --simple-connect=apn=…`",
            Self::Requesting { .. } => "its answer, within seconds",
            Self::Portal { trouble: Trouble::Refused, .. } => {
                "ask the operator: the portal does not say why; it is asked again"
            }
            Self::Portal { .. } => "an answer of the portal; it is asked again",
            Self::Budget { .. } => "time: an hour has room for more requests later",
            Self::Waiting { .. } => "its answer, within seconds",
            Self::AskedByMessage { .. } => "its answer, within minutes",
            Self::ByMessage { trouble: None, .. } => {
                "a bearer, or its answer to a message once there was none for long enough"
            }
            Self::ByMessage { .. } => "a bearer, or its answer to the next message",
            Self::MessageBudget { .. } => "a bearer, or time: a day has room for more later",
            Self::Far => "a bearer, or being nearer to one of the operator's networks",
            Self::Spent => "others, which are asked for over cellular",
            Self::Rejected { .. } => {
                "others that the network takes; they are asked for, and tried again"
            }
            Self::NotProgrammed { error: Some(_), .. } => {
                "what the supplicant complains of; it is tried again"
            }
            Self::NotProgrammed { error: None, .. } => "its answer, within seconds",
            Self::Schedule { .. } => "the hour",
            Self::NothingHeard { .. } => "being nearer to one of them",
            Self::Metered { .. } => "allow it: `homeward device on --metered`",
            Self::Open { .. } => "nothing: it is not the operator's",
            Self::Shunned { .. } => "time; it is tried again",
            Self::Weak { signal, needed, .. } => {
                let missing = i16::from(needed.0) - i16::from(signal.0);
                return format!("being nearer: {} dB are missing", missing.max(1));
            }
            Self::Ready { signal: Some(signal), needed, .. } if signal < needed => {
                let missing = i16::from(needed.0) - i16::from(signal.0);
                return format!("being nearer: {missing} dB are missing");
            }
            Self::Settling { .. } | Self::Ready { .. } => "the same signal for a moment longer",
            Self::Joining { .. } => "its end, within seconds",
            Self::Leaving { .. } => "a moment, and then a network that is fit",
        };
        fixed.to_owned()
    }
}
