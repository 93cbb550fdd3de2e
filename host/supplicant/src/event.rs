//! Event lines of wpa_supplicant, decoded.

use homeward_ctrl::{Line, Told};
use homeward_model::{Mac, Rssi, Ssid};

use crate::NetworkId;
use crate::reply::{rssi, ssid};

/// The most that is kept of a text, in octets.
pub const MAX_TEXT: usize = 256;

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// Authenticated, keys installed: data may pass.
    Connected {
        /// The access point; on a wire, the group that authenticators listen to.
        bssid: Option<Mac>,
        /// The network.
        id: Option<NetworkId>,
    },
    /// What was associated no longer is.
    Disconnected {
        /// The access point.
        bssid: Option<Mac>,
        /// The reason code (IEEE 802.11-2020 9.4.1.7); 0 where there was none.
        reason: u16,
        /// Whether it was this side's doing.
        ours: bool,
    },
    /// An access point refused the association or authentication.
    Rejected {
        /// The access point.
        bssid: Option<Mac>,
        /// The status code (IEEE 802.11-2020 9.4.1.9).
        status: u16,
    },
    /// The network asks who we are.
    EapStarted,
    /// The method that both agreed on.
    EapMethod {
        /// Its type: 25 is PEAP, 21 is TTLS.
        method: u32,
    },
    /// The server knows us, and we know it.
    EapSucceeded,
    /// It does not, or we do not.
    EapFailed,
    /// The server's certificate is not what it should be; nothing was told to it.
    BadCertificate {
        /// What is wrong.
        fault: CertificateFault,
        /// How far from the server's own certificate: 0 is that one.
        depth: u8,
        /// Whose certificate it is.
        subject: String,
        /// What the TLS library says.
        text: String,
    },
    /// The password was refused, and the supplicant wants another.
    PasswordWanted {
        /// The network.
        id: Option<NetworkId>,
    },
    /// A network is left alone for a while.
    TemporarilyDisabled {
        /// The network.
        id: NetworkId,
        /// Its name; `None` on a wire.
        ssid: Option<Ssid>,
        /// How often it failed in a row.
        failures: u32,
        /// For how long, in seconds.
        duration: u32,
        /// Whether what failed was the log-in; else the connection.
        credentials: bool,
    },
    /// It may be used again.
    Reenabled {
        /// The network.
        id: NetworkId,
    },
    /// A scan has ended.
    ScanResults,
    /// A scan could not be made.
    ScanFailed,
    /// No network that is enabled was heard.
    NetworkNotFound,
    /// The signal crossed the line that it is watched for.
    SignalChanged {
        /// Whether it is above it now.
        above: bool,
        /// The signal, where the driver tells.
        signal: Option<Rssi>,
    },
    /// The supplicant is about to end.
    Terminating,
    /// Anything else: the text, cut to [`MAX_TEXT`].
    Other(String),
}

/// What is wrong with a server's certificate (`enum tls_fail_reason`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum CertificateFault {
    /// Not of the authority that it should be of.
    Untrusted,
    /// Revoked.
    Revoked,
    /// Not good yet: perhaps this machine's clock is slow.
    NotYetValid,
    /// No longer good: or this machine's clock is fast.
    Expired,
    /// For another name.
    Name,
    /// Broken, or not for a server.
    Bad,
    /// A key too short, or a signature too weak.
    Weak,
    /// Anything else.
    Other,
}

impl CertificateFault {
    const fn of(reason: u32) -> Self {
        match reason {
            1 => Self::Untrusted,
            2 => Self::Revoked,
            3 => Self::NotYetValid,
            4 => Self::Expired,
            // Subject, alternative subject, domain and its suffix, distinguished name.
            5 | 6 | 9 | 10 | 12 => Self::Name,
            7 => Self::Bad,
            11 => Self::Weak,
            _ => Self::Other,
        }
    }
}

impl Told for Event {
    fn decode(line: Line<'_>) -> Self {
        parse(line.text)
    }
}

/// Decodes the text of an event line. A known name with something else behind it than belongs
/// there is nothing known.
pub fn parse(text: &str) -> Event {
    known(text).unwrap_or_else(|| Event::Other(cut(text).to_owned()))
}

fn known(text: &str) -> Option<Event> {
    let (name, rest) = text.split_once(' ').unwrap_or((text, ""));
    let bssid = || value(rest, "bssid").and_then(|v| v.parse().ok());
    let id = || value(rest, "id").and_then(NetworkId::parse);
    Some(match name {
        "CTRL-EVENT-CONNECTED" => connected(rest),
        "CTRL-EVENT-DISCONNECTED" => Event::Disconnected {
            bssid: bssid(),
            reason: value(rest, "reason")?.parse().ok()?,
            ours: value(rest, "locally_generated") == Some("1"),
        },
        "CTRL-EVENT-ASSOC-REJECT" => {
            Event::Rejected { bssid: bssid(), status: value(rest, "status_code")?.parse().ok()? }
        }
        // Without names: the access point, then words of which one is its status.
        "CTRL-EVENT-AUTH-REJECT" => Event::Rejected {
            bssid: rest.split(' ').next().and_then(|v| v.parse().ok()),
            status: value(rest, "status_code")?.parse().ok()?,
        },
        "CTRL-EVENT-EAP-STARTED" => Event::EapStarted,
        "CTRL-EVENT-EAP-METHOD" => {
            let mut words = rest.split(' ').skip_while(|word| *word != "method").skip(1);
            Event::EapMethod { method: words.next()?.parse().ok()? }
        }
        "CTRL-EVENT-EAP-SUCCESS" => Event::EapSucceeded,
        "CTRL-EVENT-EAP-FAILURE" => Event::EapFailed,
        "CTRL-EVENT-EAP-TLS-CERT-ERROR" => bad_certificate(rest)?,
        "CTRL-EVENT-SSID-TEMP-DISABLED" => disabled(rest)?,
        "CTRL-EVENT-SSID-REENABLED" => Event::Reenabled { id: id()? },
        "CTRL-EVENT-SCAN-RESULTS" => Event::ScanResults,
        "CTRL-EVENT-SCAN-FAILED" => Event::ScanFailed,
        "CTRL-EVENT-NETWORK-NOT-FOUND" => Event::NetworkNotFound,
        "CTRL-EVENT-SIGNAL-CHANGE" => Event::SignalChanged {
            above: value(rest, "above")? == "1",
            signal: value(rest, "signal").and_then(rssi),
        },
        "CTRL-EVENT-TERMINATING" => Event::Terminating,
        // `CTRL-REQ-PASSWORD-<id>:<what a person is told>`
        _ => {
            let rest = text.strip_prefix("CTRL-REQ-PASSWORD-")?;
            let (id, _) = rest.split_once(':')?;
            Event::PasswordWanted { id: NetworkId::parse(id) }
        }
    })
}

/// `- Connection to 02:00:00:00:01:00 completed [id=0 id_str=homeward]`
fn connected(rest: &str) -> Event {
    let bssid = rest
        .split_once("Connection to ")
        .and_then(|(_, rest)| rest.split(' ').next())
        .and_then(|word| word.parse().ok());
    let id = rest
        .split_once("[id=")
        .and_then(|(_, rest)| rest.split([' ', ']']).next())
        .and_then(NetworkId::parse);
    Event::Connected { bssid, id }
}

/// `reason=9 depth=0 subject='/CN=other.example.net' err='Domain suffix mismatch'`
fn bad_certificate(rest: &str) -> Option<Event> {
    // What a stranger's certificate calls itself is behind these two, so they are not its words.
    let (numbers, rest) = rest.split_once(" subject='")?;
    // Its name may hold what looks like the end of it; the library's text, which is last, not.
    let (subject, text) = rest.rsplit_once("' err='").unwrap_or((rest.trim_end_matches('\''), ""));
    Some(Event::BadCertificate {
        fault: CertificateFault::of(value(numbers, "reason")?.parse().ok()?),
        depth: value(numbers, "depth")?.parse().ok()?,
        subject: cut(subject).to_owned(),
        text: cut(text.trim_end_matches('\'')).to_owned(),
    })
}

/// `id=0 ssid="Town" auth_failures=1 duration=10 reason=AUTH_FAILED`
fn disabled(rest: &str) -> Option<Event> {
    let (before, rest) = rest.split_once(" ssid=\"")?;
    // The name is somebody's choice; a quote within it is escaped.
    let mut escaped = false;
    let end = rest.bytes().position(|c| {
        let quote = c == b'"' && !escaped;
        escaped = c == b'\\' && !escaped;
        quote
    })?;
    let (name, rest) = rest.split_at_checked(end)?;
    let rest = rest.strip_prefix('"')?;
    let number = |name| value(rest, name)?.parse().ok();
    Some(Event::TemporarilyDisabled {
        id: NetworkId::parse(value(before, "id")?)?,
        ssid: ssid(name),
        failures: number("auth_failures")?,
        duration: number("duration")?,
        credentials: value(rest, "reason")? != "CONN_FAILED",
    })
}

/// What is behind `name=` as a word of its own.
fn value<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    text.split(' ').find_map(|word| word.strip_prefix(name)?.strip_prefix('='))
}

fn cut(text: &str) -> &str {
    text.get(..text.floor_char_boundary(MAX_TEXT)).unwrap_or(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const AP: Mac = Mac::new([2, 0, 0, 0, 1, 0]);

    // The lines are as wpa_supplicant 2.10 sends them (src/common/wpa_ctrl.h and who uses it).
    #[test]
    fn what_the_supplicant_tells_is_decoded() {
        let id = NetworkId::new(0);
        for (line, event) in [
            (
                "CTRL-EVENT-CONNECTED - Connection to 02:00:00:00:01:00 completed [id=0 id_str=homeward]",
                Event::Connected { bssid: Some(AP), id: Some(id) },
            ),
            (
                "CTRL-EVENT-DISCONNECTED bssid=02:00:00:00:01:00 reason=3 locally_generated=1",
                Event::Disconnected { bssid: Some(AP), reason: 3, ours: true },
            ),
            (
                "CTRL-EVENT-DISCONNECTED bssid=02:00:00:00:01:00 reason=6",
                Event::Disconnected { bssid: Some(AP), reason: 6, ours: false },
            ),
            (
                "CTRL-EVENT-ASSOC-REJECT bssid=02:00:00:00:01:00 status_code=17",
                Event::Rejected { bssid: Some(AP), status: 17 },
            ),
            (
                "CTRL-EVENT-AUTH-REJECT 02:00:00:00:01:00 auth_type=0 auth_transaction=2 status_code=1 ie=",
                Event::Rejected { bssid: Some(AP), status: 1 },
            ),
            ("CTRL-EVENT-EAP-STARTED EAP authentication started", Event::EapStarted),
            (
                "CTRL-EVENT-EAP-METHOD EAP vendor 0 method 25 (PEAP) selected",
                Event::EapMethod { method: 25 },
            ),
            (
                "CTRL-EVENT-EAP-SUCCESS EAP authentication completed successfully",
                Event::EapSucceeded,
            ),
            ("CTRL-EVENT-EAP-FAILURE EAP authentication failed", Event::EapFailed),
            (
                "CTRL-EVENT-EAP-TLS-CERT-ERROR reason=9 depth=0 subject='/CN=x' err='Domain suffix mismatch'",
                Event::BadCertificate {
                    fault: CertificateFault::Name,
                    depth: 0,
                    subject: "/CN=x".to_owned(),
                    text: "Domain suffix mismatch".to_owned(),
                },
            ),
            (
                "CTRL-REQ-PASSWORD-0:Password needed for SSID Town",
                Event::PasswordWanted { id: Some(id) },
            ),
            (
                "CTRL-EVENT-SSID-TEMP-DISABLED id=0 ssid=\"Town\" auth_failures=2 duration=20 reason=AUTH_FAILED",
                Event::TemporarilyDisabled {
                    id,
                    ssid: "Town".parse().ok(),
                    failures: 2,
                    duration: 20,
                    credentials: true,
                },
            ),
            ("CTRL-EVENT-SSID-REENABLED id=0 ssid=\"Town\"", Event::Reenabled { id }),
            ("CTRL-EVENT-SCAN-RESULTS", Event::ScanResults),
            ("CTRL-EVENT-SCAN-FAILED ret=-16 retry=1", Event::ScanFailed),
            ("CTRL-EVENT-NETWORK-NOT-FOUND", Event::NetworkNotFound),
            (
                "CTRL-EVENT-SIGNAL-CHANGE above=0 signal=-73 noise=9999 txrate=54000",
                Event::SignalChanged { above: false, signal: Some(Rssi(-73)) },
            ),
            ("CTRL-EVENT-TERMINATING", Event::Terminating),
            (
                "CTRL-EVENT-REGDOM-CHANGE init=CORE",
                Event::Other("CTRL-EVENT-REGDOM-CHANGE init=CORE".into()),
            ),
            ("CTRL-EVENT-DISCONNECTED x", Event::Other("CTRL-EVENT-DISCONNECTED x".into())),
        ] {
            assert_eq!(parse(line), event, "{line}");
        }
    }

    #[test]
    fn a_networks_name_cannot_pose_as_what_the_supplicant_says_of_it() {
        let line = r#"CTRL-EVENT-SSID-TEMP-DISABLED id=4 ssid="x\" auth_failures=9 duration=0 reason=CONN_FAILED" auth_failures=1 duration=10 reason=AUTH_FAILED"#;
        let Event::TemporarilyDisabled { ssid, failures, duration, credentials, .. } = parse(line)
        else {
            panic!("not decoded")
        };
        assert_eq!(ssid, r#"x" auth_failures=9 duration=0 reason=CONN_FAILED"#.parse().ok());
        assert_eq!((failures, duration, credentials), (1, 10, true));
    }

    #[test]
    fn a_strangers_certificate_cannot_pose_as_what_is_wrong_with_it() {
        let line = "CTRL-EVENT-EAP-TLS-CERT-ERROR reason=1 depth=2 subject='/CN=x' err='all is well' depth=0 reason=4' err='self-signed certificate'";
        let Event::BadCertificate { fault, depth, subject, text } = parse(line) else {
            panic!("not decoded")
        };
        assert_eq!((fault, depth), (CertificateFault::Untrusted, 2));
        assert_eq!(subject, "/CN=x' err='all is well' depth=0 reason=4");
        assert_eq!(text, "self-signed certificate");
    }

    proptest! {
        #[test]
        fn any_datagram_is_decoded_without_panic(bytes: Vec<u8>) {
            crate::testing::fuzz_event(&bytes);
        }

        #[test]
        fn any_line_of_a_known_name_is_decoded_without_panic(
            name in prop::sample::select(vec!["CTRL-EVENT-CONNECTED", "CTRL-EVENT-SSID-TEMP-DISABLED",
                "CTRL-EVENT-EAP-TLS-CERT-ERROR", "CTRL-EVENT-AUTH-REJECT", "CTRL-REQ-PASSWORD-0"]),
            rest in "( ?(id|ssid|reason|depth|subject|err)?[='\"\\\\\\[ \\PC]{0,8}){0,8}",
        ) {
            crate::testing::fuzz_event(format!("<3>{name} {rest}").as_bytes());
        }

        #[test]
        fn any_networks_name_is_told_whole(octets in proptest::collection::vec(any::<u8>(), 1..=32)) {
            prop_assume!(octets.iter().any(|octet| *octet != 0));
            let name = crate::testing::printf(&octets);
            let line = format!("CTRL-EVENT-SSID-TEMP-DISABLED id=1 ssid=\"{name}\" auth_failures=1 duration=10 reason=AUTH_FAILED");
            let Event::TemporarilyDisabled { ssid, duration, .. } = parse(&line) else {
                panic!("not decoded: {line}")
            };
            prop_assert_eq!(ssid, Ssid::try_from(octets.as_slice()).ok());
            prop_assert_eq!(duration, 10);
        }
    }
}
