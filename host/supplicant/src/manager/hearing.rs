//! What wpa_supplicant and NetworkManager say over D-Bus, told as the control interface would.

use homeward_model::Mac;

use crate::event::{CertificateFault, MAX_TEXT};
use crate::{Event, State};

/// `NM_DEVICE_STATE_UNMANAGED`.
const UNMANAGED: u32 = 10;
/// `NM_DEVICE_STATE_FAILED`.
const FAILED: u32 = 120;
/// The status code of a failure that has none of its own (IEEE 802.11-2020 9.4.1.9).
const UNSPECIFIED: u16 = 1;

/// Something that was said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Signal {
    /// wpa_supplicant's `EAP`: a status and what belongs to it.
    Eap(String, String),
    /// wpa_supplicant's `ScanDone`.
    Scanned(bool),
    /// The properties of wpa_supplicant's interface that have changed.
    Changed {
        /// `State`.
        state: Option<String>,
        /// `DisconnectReason`: negative where it was this side's doing.
        reason: Option<i32>,
        /// `AssocStatusCode` or `AuthStatusCode`.
        status: Option<i32>,
    },
    /// wpa_supplicant's interface has gone: the radio is off, say.
    Removed,
    /// NetworkManager's `StateChanged` of the device: the new state, and why.
    Device(u32, u32),
    /// NetworkManager or wpa_supplicant has ended or was restarted.
    Gone,
}

/// What is remembered from one signal to the next.
#[derive(Debug, Default)]
pub(super) struct Hearing {
    /// Whether there is an association.
    up: bool,
    reason: i32,
}

impl Hearing {
    /// What a signal says, if anything. Of [`Event::Connected`], whereto is not known yet.
    pub(super) fn hear(&mut self, signal: Signal) -> Option<Event> {
        match signal {
            Signal::Eap(status, about) => eap(&status, &about),
            Signal::Scanned(true) => Some(Event::ScanResults),
            Signal::Scanned(false) => Some(Event::ScanFailed),
            Signal::Changed { state, reason, status } => {
                self.reason = reason.unwrap_or(self.reason);
                let status = status.and_then(|status| u16::try_from(status).ok());
                if let Some(status) = status.filter(|status| *status != 0) {
                    return Some(Event::Rejected { bssid: None, status });
                }
                self.is(State::parse(&state?.to_ascii_uppercase())?)
            }
            Signal::Removed => self.is(State::Off),
            Signal::Device(UNMANAGED, _) | Signal::Gone => Some(Event::Terminating),
            Signal::Device(FAILED, reason) => {
                tracing::info!(reason = because(reason), "NetworkManager gave a connection up");
                // What fails after the association shows in its end.
                (!self.up).then_some(Event::Rejected { bssid: None, status: UNSPECIFIED })
            }
            Signal::Device(..) => None,
        }
    }

    fn is(&mut self, state: State) -> Option<Event> {
        match state {
            State::Completed => {
                self.up = true;
                Some(Event::Connected { bssid: None, id: None })
            }
            State::Associated => {
                self.up = true;
                None
            }
            // On the way from one access point to the next.
            State::Joining => None,
            State::Off | State::Idle | State::Scanning => {
                let reason = std::mem::take(&mut self.reason);
                std::mem::take(&mut self.up).then(|| Event::Disconnected {
                    bssid: None::<Mac>,
                    reason: u16::try_from(reason.unsigned_abs()).unwrap_or_default(),
                    ours: reason < 0,
                })
            }
        }
    }
}

/// What the EAP machine says (`eap_notify_status` in wpa_supplicant).
fn eap(status: &str, about: &str) -> Option<Event> {
    Some(match (status, about) {
        ("started", _) => Event::EapStarted,
        ("accept proposed method", method) => Event::EapMethod {
            method: match method {
                "PEAP" => 25,
                "TTLS" => 21,
                "TLS" => 13,
                _ => return None,
            },
        },
        ("remote certificate verification", "success") => return None,
        ("remote certificate verification", text) => Event::BadCertificate {
            fault: fault(text),
            // Neither is told here.
            depth: 0,
            subject: String::new(),
            text: text.get(..text.floor_char_boundary(MAX_TEXT)).unwrap_or(text).to_owned(),
        },
        ("eap parameter needed", "PASSWORD") => Event::PasswordWanted { id: None },
        ("completion", "success") => Event::EapSucceeded,
        ("completion", _) => Event::EapFailed,
        _ => return None,
    })
}

/// What is wrong with a certificate, by OpenSSL's words for it and wpa_supplicant's own.
fn fault(text: &str) -> CertificateFault {
    let text = text.to_ascii_lowercase();
    let has = |words: &str| text.contains(words);
    if has("mismatch") {
        CertificateFault::Name
    } else if has("not yet valid") {
        CertificateFault::NotYetValid
    } else if has("expired") {
        CertificateFault::Expired
    } else if has("revoked") {
        CertificateFault::Revoked
    } else if has("issuer certificate") || has("self-signed") || has("self signed") {
        CertificateFault::Untrusted
    } else if has("too weak") || has("too small") {
        CertificateFault::Weak
    } else {
        CertificateFault::Other
    }
}

/// `NMDeviceStateReason`, as far as it ends a Wi-Fi connection.
const fn because(reason: u32) -> &'static str {
    match reason {
        4 => "the device could not be configured",
        5..=6 | 15..=17 => "no address came",
        7 => "the password was refused, and nobody has another",
        8 | 10 => "the supplicant failed",
        9 => "the supplicant does not take the settings",
        11 => "the log-on took too long",
        35 => "firmware is missing",
        36 => "the device is gone",
        37 => "NetworkManager sleeps",
        38 => "the profile is gone",
        39 => "somebody ended it",
        53 => "the network is not heard",
        60 => "another connection took its place",
        _ => "see NetworkManager's log",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(name: &str) -> Signal {
        Signal::Changed { state: Some(name.to_owned()), reason: None, status: None }
    }

    fn said(status: &str, about: &str) -> Signal {
        Signal::Eap(status.to_owned(), about.to_owned())
    }

    const CONNECTED: Option<Event> = Some(Event::Connected { bssid: None, id: None });

    #[test]
    fn an_association_is_told_from_its_log_on_to_its_end() {
        let mut hearing = Hearing::default();
        for quiet in ["disconnected", "scanning", "authenticating", "associating", "associated"] {
            assert_eq!(hearing.hear(state(quiet)), None, "{quiet}");
        }
        assert_eq!(hearing.hear(said("started", "")), Some(Event::EapStarted));
        let method = said("accept proposed method", "PEAP");
        assert_eq!(hearing.hear(method), Some(Event::EapMethod { method: 25 }));
        assert_eq!(hearing.hear(said("remote certificate verification", "success")), None);
        assert_eq!(hearing.hear(said("completion", "success")), Some(Event::EapSucceeded));
        assert_eq!(hearing.hear(state("4way_handshake")), None);
        assert_eq!(hearing.hear(state("completed")), CONNECTED);
        // From one access point to the next, which is no end.
        assert_eq!(hearing.hear(state("authenticating")), None);
        assert_eq!(hearing.hear(state("completed")), CONNECTED);
        let why = Signal::Changed { state: None, reason: Some(-3), status: None };
        assert_eq!(hearing.hear(why), None);
        let ended = |reason, ours| Some(Event::Disconnected { bssid: None, reason, ours });
        assert_eq!(hearing.hear(state("disconnected")), ended(3, true));
        assert_eq!(hearing.hear(state("inactive")), None, "an end is told once");
        hearing.hear(state("associated"));
        let why = Signal::Changed {
            state: Some("disconnected".to_owned()),
            reason: Some(6),
            status: None,
        };
        assert_eq!(hearing.hear(why), ended(6, false));
        hearing.hear(state("completed"));
        assert_eq!(hearing.hear(Signal::Removed), ended(0, false));
    }

    #[test]
    fn what_ends_before_an_association_is_told_and_what_ends_after_it_once() {
        let mut hearing = Hearing::default();
        let rejected = |status| Some(Event::Rejected { bssid: None, status });
        assert_eq!(hearing.hear(Signal::Device(FAILED, 53)), rejected(UNSPECIFIED));
        let status = |code| Signal::Changed { state: None, reason: None, status: Some(code) };
        assert_eq!(hearing.hear(status(17)), rejected(17));
        assert_eq!(hearing.hear(status(0)), None);
        hearing.hear(state("associated"));
        assert_eq!(hearing.hear(Signal::Device(FAILED, 7)), None);
    }

    #[test]
    fn one_that_ends_or_leaves_the_interface_is_gone() {
        let mut hearing = Hearing::default();
        assert_eq!(hearing.hear(Signal::Device(UNMANAGED, 3)), Some(Event::Terminating));
        assert_eq!(hearing.hear(Signal::Gone), Some(Event::Terminating));
        for quiet in [20, 30, 40, 50, 60, 70, 100, 110] {
            assert_eq!(hearing.hear(Signal::Device(quiet, 0)), None);
        }
        let scans = [true, false].map(|done| hearing.hear(Signal::Scanned(done)));
        assert_eq!(scans, [Some(Event::ScanResults), Some(Event::ScanFailed)]);
    }

    #[test]
    fn what_is_wrong_with_a_server_is_known_by_the_librarys_words() {
        use CertificateFault::{Expired, Name, NotYetValid, Other, Revoked, Untrusted};
        for (text, expected) in [
            ("Domain suffix mismatch", Name),
            ("certificate has expired", Expired),
            ("certificate is not yet valid", NotYetValid),
            ("certificate revoked", Revoked),
            ("unable to get local issuer certificate", Untrusted),
            ("self-signed certificate in certificate chain", Untrusted),
            ("certificate signature failure", Other),
        ] {
            let told = Hearing::default().hear(said("remote certificate verification", text));
            let Some(Event::BadCertificate { fault, text: words, .. }) = told else {
                panic!("{text}: {told:?}")
            };
            assert_eq!((fault, words.as_str()), (expected, text));
        }
        let long = "ä".repeat(MAX_TEXT);
        let told = Hearing::default().hear(said("remote certificate verification", &long));
        let Some(Event::BadCertificate { text, .. }) = told else { panic!("{told:?}") };
        assert!(text.len() <= MAX_TEXT);
    }
}
