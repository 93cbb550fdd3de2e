//! hostapd's answers to `STATUS` and `STA`, decoded.

pub use homeward_ctrl::line::decode_printf;
use homeward_model::{Mac, Nai, Ssid};

use crate::InterfaceName;

/// The size of hostapd's reply buffer, in octets. What does not fit is left out without a word.
const REPLY_BUFFER: usize = 4096;

/// Room that the longest entry of a BSS takes in a status, in octets: four lines with a 32-octet
/// SSID in escapes.
const LONGEST_ENTRY: usize = 230;

/// The most BSSs a status can list.
pub const MAX_BSS: usize = REPLY_BUFFER / 16;

/// What one radio does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RadioStatus {
    /// Its name in the kernel: `phy0`.
    pub phy: String,
    /// hostapd's word for its state; `ENABLED` when it beacons.
    pub state: String,
    /// Its channel number; 0 while none is chosen.
    pub channel: u16,
    /// The frequency, in MHz; 0 while none is chosen.
    pub frequency: u32,
    /// Its BSSs in hostapd's order; the first is the owner's.
    pub bss: Vec<BssStatus>,
    /// Whether `bss` lists all of them. hostapd cuts a reply at 4,096 octets, about 40 BSSs.
    pub complete: bool,
}

impl RadioStatus {
    /// Whether the radio is on the air, so that a BSS added to it is, too.
    pub fn enabled(&self) -> bool {
        self.state == "ENABLED"
    }
}

/// One BSS of a radio.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BssStatus {
    /// Its interface.
    pub interface: InterfaceName,
    /// Its BSSID.
    pub bssid: Mac,
    /// Its SSID; `None` where there is none.
    pub ssid: Option<Ssid>,
    /// How many stations it knows, connected or about to be.
    pub stations: u32,
}

/// A station that a BSS knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Station {
    /// Its MAC address.
    pub mac: Mac,
    /// Whether it is associated.
    pub associated: bool,
    /// Whether it completed the key handshake and may send data.
    pub authorized: bool,
    /// Whether its key came from a PSK (AKM suites 2, 4 and 6 of IEEE 802.11-2020 9.4.2.24.3);
    /// false for SAE and 802.1X, and before association.
    pub psk: bool,
    /// Whether its key came from an EAP log-in (AKM suites 1, 3, 5, 11 to 13, 22 and 23).
    pub login: bool,
    /// By what name, where it is one: as the Access-Accept had it, for an EAP log-in.
    pub name: Option<Nai>,
    /// Seconds since it connected.
    pub connected: u32,
    /// Milliseconds since a frame of it was heard, where the driver tells.
    pub inactive: Option<u32>,
    /// Octets received from it, where the driver tells.
    pub received: Option<u64>,
    /// Octets sent to it, where the driver tells.
    pub sent: Option<u64>,
}

/// Decodes a reply to `STATUS` of hostapd; `None` if it is none.
pub fn parse_status(reply: &str) -> Option<RadioStatus> {
    let mut status = RadioStatus {
        phy: String::new(),
        state: String::new(),
        channel: 0,
        frequency: 0,
        bss: Vec::new(),
        complete: reply.len() + LONGEST_ENTRY < REPLY_BUFFER,
    };
    let mut draft: Option<(InterfaceName, Option<Mac>, Option<Ssid>)> = None;
    for (key, value) in pairs(reply) {
        match key.split_once('[').map_or(key, |(name, _)| name) {
            "phy" => value.clone_into(&mut status.phy),
            "state" => value.clone_into(&mut status.state),
            "channel" => status.channel = value.parse().unwrap_or_default(),
            "freq" => status.frequency = value.parse().unwrap_or_default(),
            "bss" => draft = value.parse().ok().map(|interface| (interface, None, None)),
            "bssid" => {
                if let Some((_, bssid, _)) = &mut draft {
                    *bssid = value.parse().ok();
                }
            }
            "ssid" => {
                if let Some((_, _, ssid)) = &mut draft {
                    *ssid = Ssid::try_from(decode_printf(value).as_slice()).ok();
                }
            }
            // The last line of an entry: what was cut off before it is not listed.
            "num_sta" => {
                if let Some((interface, Some(bssid), ssid)) = draft.take()
                    && status.bss.len() < MAX_BSS
                {
                    let stations = value.parse().unwrap_or_default();
                    status.bss.push(BssStatus { interface, bssid, ssid, stations });
                }
            }
            _ => {}
        }
    }
    (!status.state.is_empty() && !status.phy.is_empty()).then_some(status)
}

/// Decodes a reply to `STA`, `STA-FIRST` or `STA-NEXT`; `None` if it names no station.
pub fn parse_station(reply: &str) -> Option<Station> {
    let (mac, rest) = reply.split_once('\n')?;
    let mut station = Station {
        mac: mac.trim_end().parse().ok()?,
        associated: false,
        authorized: false,
        psk: false,
        login: false,
        name: None,
        connected: 0,
        inactive: None,
        received: None,
        sent: None,
    };
    for (key, value) in pairs(rest) {
        match key {
            "flags" => {
                station.associated = value.contains("[ASSOC]");
                station.authorized = value.contains("[AUTHORIZED]");
            }
            "AKMSuiteSelector" => {
                let suite = value.strip_prefix("00-0f-ac-").and_then(|suite| suite.parse().ok());
                station.psk = suite.is_some_and(|suite: u8| matches!(suite, 2 | 4 | 6));
                station.login =
                    suite.is_some_and(|suite| matches!(suite, 1 | 3 | 5 | 11..=13 | 22 | 23));
            }
            "dot1xAuthSessionUserName" => station.name = value.parse().ok(),
            "connected_time" => station.connected = value.parse().unwrap_or_default(),
            "inactive_msec" => station.inactive = value.parse().ok(),
            "rx_bytes" => station.received = value.parse().ok(),
            "tx_bytes" => station.sent = value.parse().ok(),
            _ => {}
        }
    }
    Some(station)
}

fn pairs(reply: &str) -> impl Iterator<Item = (&str, &str)> {
    reply.lines().filter_map(|line| line.split_once('='))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// As hostapd 2.10 answers (src/ap/ctrl_iface_ap.c), lines of no interest left out.
    const STATUS: &str = "state=ENABLED\nphy=phy1\nfreq=2437\nnum_sta_non_erp=0\nchannel=6\n\
        beacon_int=100\nmax_txpower=20\n\
        bss[0]=wlan1\nbssid[0]=02:00:00:00:01:00\nssid[0]=Foreign\nnum_sta[0]=2\n\
        bss[1]=hw0\nbssid[1]=06:00:00:00:01:00\nssid[1]=caf\\xc3\\xa9 \\\"=\\n\nnum_sta[1]=0\n";

    #[test]
    fn a_status_lists_radio_and_bsss() {
        let status = parse_status(STATUS).unwrap();
        assert_eq!((status.phy.as_str(), status.channel, status.frequency), ("phy1", 6, 2437));
        assert!(status.enabled() && status.complete);
        let names: Vec<_> = status.bss.iter().map(|b| b.interface.as_str()).collect();
        assert_eq!(names, ["wlan1", "hw0"]);
        assert_eq!(status.bss[0].stations, 2);
        assert_eq!(status.bss[1].bssid, Mac::new([6, 0, 0, 0, 1, 0]));
        assert_eq!(status.bss[1].ssid, "café \"=\n".parse().ok());
    }

    #[test]
    fn a_status_that_may_be_cut_short_says_so() {
        let mut reply = STATUS.to_owned();
        let mut n = 2;
        while reply.len() + 100 < REPLY_BUFFER {
            reply += &format!(
                "bss[{n}]=hw{n}\nbssid[{n}]=06:00:00:00:01:00\nssid[{n}]=x\nnum_sta[{n}]=0\n"
            );
            n += 1;
        }
        let status = parse_status(&reply).unwrap();
        assert_eq!(status.bss.len(), n);
        assert!(!status.complete);
        // An entry of which the end is missing is left out.
        let cut = &STATUS[..STATUS.len() - 15];
        assert_eq!(parse_status(cut).unwrap().bss.len(), 1);
    }

    #[test]
    fn a_station_tells_how_it_got_its_key() {
        let reply = |akm: &str| {
            format!(
                "02:00:00:00:02:00\nflags=[AUTH][ASSOC][AUTHORIZED]\naid=1\nAKMSuiteSelector={akm}\n\
                 rx_bytes=1000\ntx_bytes=2000\ninactive_msec=12\nconnected_time=3\n"
            )
        };
        let psk = parse_station(&reply("00-0f-ac-2")).unwrap();
        assert!(psk.associated && psk.authorized && psk.psk);
        assert_eq!((psk.connected, psk.inactive), (3, Some(12)));
        assert_eq!((psk.received, psk.sent), (Some(1000), Some(2000)));
        assert!(!parse_station(&reply("00-0f-ac-8")).unwrap().psk);
        assert_eq!(psk.name, None);
        let named = |name| parse_station(&(reply("00-0f-ac-1") + name)).unwrap().name;
        // As hostapd 2.10 ends an 802.1X station's entry; the name is as RADIUS had it.
        let fred = named("dot1xAuthSessionTime=3\ndot1xAuthSessionUserName=fred=1@Example.net\n");
        assert_eq!(fred, "fred=1@example.net".parse().ok());
        assert_eq!(named("dot1xAuthSessionUserName=\n"), None);
        for none in ["", "FAIL\n", "x\ny\n"] {
            assert_eq!(parse_station(none), None);
        }
    }

    proptest! {
        #[test]
        fn any_reply_is_decoded_without_panic(bytes: Vec<u8>, n in 0..STATUS.len()) {
            crate::testing::fuzz_reply(&bytes);
            crate::testing::fuzz_reply(&STATUS.as_bytes()[..n]);
        }

        #[test]
        fn an_ssid_survives_hostapds_encoding(octets in proptest::collection::vec(any::<u8>(), 1..=32)) {
            // The encoder as hostapd has it: printable ASCII as it is, the rest escaped.
            let text: String = octets.iter().map(|c| match c {
                b'"' => "\\\"".into(), b'\\' => "\\\\".into(), 0x1b => "\\e".into(),
                b'\n' => "\\n".into(), b'\r' => "\\r".into(), b'\t' => "\\t".into(),
                32..=126 => char::from(*c).to_string(),
                _ => format!("\\x{c:02x}"),
            }).collect();
            prop_assert_eq!(decode_printf(&text), octets);
        }
    }
}
