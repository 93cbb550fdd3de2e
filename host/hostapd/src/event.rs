//! Event lines of hostapd, decoded.

use std::borrow::Cow;

pub use homeward_ctrl::line::MAX_LINE;
use homeward_ctrl::{Told, line};
use homeward_model::Mac;

use crate::InterfaceName;

/// The most that is kept of the text of an event, in octets.
pub const MAX_TEXT: usize = 256;

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event<'a> {
    /// A station completed association and key handshake: it may send data.
    StationConnected {
        /// The station.
        mac: Mac,
        /// The `keyid` of the line of the `wpa_psk_file` whose key it used; `None` for a
        /// passphrase and for SAE.
        keyid: Option<Cow<'a, str>>,
    },
    /// A station that had been connected no longer is.
    StationDisconnected {
        /// The station.
        mac: Mac,
    },
    /// A station's message of the 4-way handshake fits none of the keys it could have: most
    /// likely it has another key.
    PskMismatch {
        /// The station.
        mac: Mac,
    },
    /// A station named an SAE password identifier that no password has.
    SaeUnknownPassword {
        /// The station.
        mac: Mac,
    },
    /// A BSS began to beacon. hostapd tells this of the first BSS of a radio only.
    ApEnabled,
    /// A BSS was taken down.
    ApDisabled,
    /// The kernel reports the interface up.
    InterfaceEnabled,
    /// The kernel reports the interface down.
    InterfaceDisabled,
    /// hostapd is about to end.
    Terminating,
    /// Anything else: the text, cut to [`MAX_TEXT`].
    Other(Cow<'a, str>),
}

impl Event<'_> {
    /// The event, borrowing nothing.
    pub fn into_owned(self) -> Event<'static> {
        match self {
            Self::StationConnected { mac, keyid } => {
                Event::StationConnected { mac, keyid: keyid.map(|k| Cow::Owned(k.into_owned())) }
            }
            Self::StationDisconnected { mac } => Event::StationDisconnected { mac },
            Self::PskMismatch { mac } => Event::PskMismatch { mac },
            Self::SaeUnknownPassword { mac } => Event::SaeUnknownPassword { mac },
            Self::ApEnabled => Event::ApEnabled,
            Self::ApDisabled => Event::ApDisabled,
            Self::InterfaceEnabled => Event::InterfaceEnabled,
            Self::InterfaceDisabled => Event::InterfaceDisabled,
            Self::Terminating => Event::Terminating,
            Self::Other(text) => Event::Other(Cow::Owned(text.into_owned())),
        }
    }
}

/// An event and where it happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BssEvent {
    /// The interface of the BSS; `None` on the socket of one BSS, whose name the reader knows,
    /// and for what concerns the whole daemon.
    pub interface: Option<InterfaceName>,
    /// What happened.
    pub event: Event<'static>,
}

/// One event line, decoded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line<'a> {
    /// The interface of the BSS, on the global socket.
    pub interface: Option<&'a str>,
    /// hostapd's level: 3 is information, more is graver.
    pub level: u8,
    /// What happened.
    pub event: Event<'a>,
}

impl<'a> Line<'a> {
    fn of(line: homeward_ctrl::Line<'a>) -> Self {
        let homeward_ctrl::Line { interface, level, text } = line;
        Self { interface, level, event: event(text) }
    }

    /// The event with its place, borrowing nothing.
    pub fn into_owned(self) -> BssEvent {
        BssEvent {
            interface: self.interface.and_then(|name| name.parse().ok()),
            event: self.event.into_owned(),
        }
    }
}

impl Told for BssEvent {
    fn decode(line: homeward_ctrl::Line<'_>) -> Self {
        Line::of(line).into_owned()
    }
}

/// Decodes a datagram from a control socket; `None` if it is no event line, thus a reply.
pub fn parse(datagram: &[u8]) -> Option<Line<'_>> {
    line::parse(datagram).map(Line::of)
}

fn event(text: &str) -> Event<'_> {
    let (name, arguments) = text.split_once(' ').unwrap_or((text, ""));
    let mut words = arguments.split(' ').filter(|w| !w.is_empty());
    let mac = words.next().and_then(|w| w.parse::<Mac>().ok());
    match (name, mac) {
        ("AP-STA-CONNECTED", Some(mac)) => Event::StationConnected {
            mac,
            keyid: words.find_map(|w| w.strip_prefix("keyid=")).map(|k| Cow::Borrowed(cut(k))),
        },
        ("AP-STA-DISCONNECTED", Some(mac)) => Event::StationDisconnected { mac },
        ("AP-STA-POSSIBLE-PSK-MISMATCH", Some(mac)) => Event::PskMismatch { mac },
        ("CTRL-EVENT-SAE-UNKNOWN-PASSWORD-IDENTIFIER", Some(mac)) => {
            Event::SaeUnknownPassword { mac }
        }
        ("AP-ENABLED", _) => Event::ApEnabled,
        ("AP-DISABLED", _) => Event::ApDisabled,
        ("INTERFACE-ENABLED", _) => Event::InterfaceEnabled,
        ("INTERFACE-DISABLED", _) => Event::InterfaceDisabled,
        ("CTRL-EVENT-TERMINATING", _) => Event::Terminating,
        _ => Event::Other(Cow::Borrowed(cut(text))),
    }
}

fn cut(text: &str) -> &str {
    text.get(..text.floor_char_boundary(MAX_TEXT)).unwrap_or(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const STATION: Mac = Mac::new([2, 0, 0, 0, 2, 0]);

    fn one(line: &str) -> BssEvent {
        parse(line.as_bytes()).unwrap().into_owned()
    }

    // The lines are as hostapd 2.10 sends them (src/ap/sta_info.c, src/common/wpa_ctrl.h).
    #[test]
    fn lines_of_both_sockets_are_decoded() {
        let keyid = Some(Cow::Borrowed("homeward"));
        for (line, interface, event) in [
            (
                "IFNAME=vap0 <3>AP-STA-CONNECTED 02:00:00:00:02:00 keyid=homeward",
                Some("vap0"),
                Event::StationConnected { mac: STATION, keyid },
            ),
            (
                "<3>AP-STA-CONNECTED 02:00:00:00:02:00",
                None,
                Event::StationConnected { mac: STATION, keyid: None },
            ),
            (
                "IFNAME=vap0 <3>AP-STA-DISCONNECTED 02:00:00:00:02:00",
                Some("vap0"),
                Event::StationDisconnected { mac: STATION },
            ),
            (
                "IFNAME=vap0 <3>AP-STA-POSSIBLE-PSK-MISMATCH 02:00:00:00:02:00",
                Some("vap0"),
                Event::PskMismatch { mac: STATION },
            ),
            (
                "<3>CTRL-EVENT-SAE-UNKNOWN-PASSWORD-IDENTIFIER 02:00:00:00:02:00",
                None,
                Event::SaeUnknownPassword { mac: STATION },
            ),
            ("IFNAME=wlan0 <3>AP-ENABLED ", Some("wlan0"), Event::ApEnabled),
            ("<3>AP-DISABLED ", None, Event::ApDisabled),
            ("<3>INTERFACE-ENABLED ", None, Event::InterfaceEnabled),
            ("<3>INTERFACE-DISABLED ", None, Event::InterfaceDisabled),
            ("<3>CTRL-EVENT-TERMINATING \n", None, Event::Terminating),
            ("<4>SOMETHING new", None, Event::Other("SOMETHING new".into())),
            // A known name with something that is no MAC behind it is nothing known.
            ("<3>AP-STA-CONNECTED x", None, Event::Other("AP-STA-CONNECTED x".into())),
        ] {
            let interface = interface.map(|name: &str| name.parse().unwrap());
            assert_eq!(one(line), BssEvent { interface, event }, "{line}");
        }
    }

    #[test]
    fn a_reply_is_no_event() {
        for reply in ["OK\n", "FAIL\n", "PONG\n", "", "wlan0\n", "<", "<>x", "<3", "<333>x", "<a>x"]
        {
            assert_eq!(parse(reply.as_bytes()), None, "{reply:?}");
        }
        assert_eq!(parse(b"IFNAME=../x <3>AP-ENABLED "), None);
    }

    #[test]
    fn a_text_is_cut_between_characters() {
        let line = format!("<3>x{}", "é".repeat(MAX_TEXT));
        let Event::Other(text) = one(&line).event else { panic!("known") };
        assert_eq!(text.len(), MAX_TEXT - 1);
    }

    proptest! {
        #[test]
        fn any_datagram_is_decoded_without_panic(bytes: Vec<u8>) {
            crate::testing::fuzz_event(&bytes);
        }

        #[test]
        fn any_line_with_the_prefixes_is_decoded_without_panic(rest in "\\PC{0,80}") {
            crate::testing::fuzz_event(format!("IFNAME=vap0 <3>AP-STA-CONNECTED {rest}").as_bytes());
            crate::testing::fuzz_event(format!("<3>{rest}").as_bytes());
        }
    }
}
