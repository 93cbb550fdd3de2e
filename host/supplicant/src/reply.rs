//! wpa_supplicant's answers, decoded.

use std::fmt;

use homeward_ctrl::line::decode_printf;
use homeward_model::{Mac, Rssi, Ssid};

/// The most access points that are listed.
pub const MAX_BSS: usize = 1024;

/// The most networks that are listed.
pub const MAX_NETWORKS: usize = 256;

/// The number of a network block, good until the block is removed or the supplicant ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NetworkId(u32);

impl NetworkId {
    /// The block of that number.
    pub const fn new(number: u32) -> Self {
        Self(number)
    }

    pub(crate) fn parse(text: &str) -> Option<Self> {
        text.parse().ok().map(Self)
    }
}

impl fmt::Display for NetworkId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// How far it has come (`wpa_state`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum State {
    /// The interface is down, or blocked.
    Off,
    /// On no network, and not looking for any.
    Idle,
    /// Looking for one.
    Scanning,
    /// On its way to one: authenticating, associating.
    Joining,
    /// Associated: 802.1X and the key handshakes are under way.
    Associated,
    /// Data may pass.
    Completed,
}

impl State {
    pub(crate) fn parse(word: &str) -> Option<Self> {
        Some(match word {
            "INTERFACE_DISABLED" => Self::Off,
            "DISCONNECTED" | "INACTIVE" => Self::Idle,
            "SCANNING" => Self::Scanning,
            "AUTHENTICATING" | "ASSOCIATING" => Self::Joining,
            "ASSOCIATED" | "4WAY_HANDSHAKE" | "GROUP_HANDSHAKE" => Self::Associated,
            "COMPLETED" => Self::Completed,
            _ => return None,
        })
    }
}

/// What the supplicant is at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// How far it has come.
    pub state: State,
    /// The interface's own MAC address.
    pub address: Option<Mac>,
    /// The network it is on, or on its way to.
    pub id: Option<NetworkId>,
    /// Whether that one is of our making.
    pub ours: bool,
    /// The access point.
    pub bssid: Option<Mac>,
    /// The network's name.
    pub ssid: Option<Ssid>,
    /// The frequency, in MHz.
    pub frequency: Option<u32>,
    /// Whether 802.1X is through.
    pub authorized: bool,
    /// Whether the TLS session was resumed.
    pub resumed: bool,
}

/// Decodes a reply to `STATUS`; `None` if it is none.
pub fn parse_status(reply: &str) -> Option<Status> {
    // A network's name comes escaped: no line of it can pose as another.
    let of = |name: &str| pairs(reply).find(|(key, _)| *key == name).map(|(_, value)| value);
    Some(Status {
        state: State::parse(of("wpa_state")?)?,
        address: of("address").and_then(|v| v.parse().ok()),
        id: of("id").and_then(NetworkId::parse),
        ours: of("id_str") == Some(crate::network::MARK),
        bssid: of("bssid").and_then(|v| v.parse().ok()),
        ssid: of("ssid").and_then(ssid),
        frequency: of("freq").and_then(|v| v.parse().ok()),
        authorized: of("suppPortStatus") == Some("Authorized"),
        resumed: of("tls_session_reused") == Some("1"),
    })
}

/// An access point that was heard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bss {
    /// The access point.
    pub bssid: Mac,
    /// The network's name; `None` where it is hidden.
    pub ssid: Option<Ssid>,
    /// The frequency, in MHz.
    pub frequency: u32,
    /// The signal.
    pub signal: Rssi,
    /// How long ago it was last heard, in seconds.
    pub age: u32,
    /// Whether it asks for 802.1X in WPA2 or WPA3.
    pub enterprise: bool,
}

/// What `BSS RANGE=` is asked to list: number, BSSID, frequency, signal, age, flags, name, and a
/// line behind each.
pub(crate) const BSS_MASK: u32 =
    1 | (1 << 1) | (1 << 2) | (1 << 7) | (1 << 9) | (1 << 11) | (1 << 12) | (1 << 17);

/// Decodes a reply to `BSS RANGE=`: what is whole of it, each with its number in the supplicant's
/// table.
pub fn parse_bss(reply: &str) -> Vec<(u32, Bss)> {
    let mut found = Vec::new();
    let mut start = 0;
    let mut at = 0;
    // A name may hold the mark, but is no line of its own. An entry without it was cut off.
    for line in reply.split_inclusive('\n') {
        // The last of the table has a mark of its own.
        if matches!(line.trim_end(), "====" | "####") && found.len() < MAX_BSS {
            found.extend(reply.get(start..at).and_then(bss));
            start = at + line.len();
        }
        at += line.len();
    }
    found
}

fn bss(entry: &str) -> Option<(u32, Bss)> {
    let of = |name: &str| pairs(entry).find(|(key, _)| *key == name).map(|(_, value)| value);
    let flags = of("flags").unwrap_or_default();
    Some((
        of("id")?.parse().ok()?,
        Bss {
            bssid: of("bssid")?.parse().ok()?,
            ssid: of("ssid").and_then(ssid),
            frequency: of("freq")?.parse().ok()?,
            signal: of("level").and_then(rssi)?,
            age: of("age")?.parse().ok()?,
            enterprise: flags.contains("[WPA2-EAP") || flags.contains("[RSN-EAP"),
        },
    ))
}

/// The signal of the access point that it is on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Signal {
    /// That of the last frame.
    pub last: Rssi,
    /// The mean of some, where the driver tells.
    pub mean: Option<Rssi>,
}

/// Decodes a reply to `SIGNAL_POLL`; `None` where there is no signal.
pub fn parse_signal(reply: &str) -> Option<Signal> {
    let of = |name: &str| pairs(reply).find(|(key, _)| *key == name).map(|(_, value)| value);
    Some(Signal { last: rssi(of("RSSI")?)?, mean: of("AVG_RSSI").and_then(rssi) })
}

/// A network block that the supplicant has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// Its number.
    pub id: NetworkId,
    /// The network's name.
    pub ssid: Option<Ssid>,
    /// Whether it is the one in use.
    pub current: bool,
    /// Whether it may be used.
    pub enabled: bool,
    /// Whether it is left alone for a while, for what failed.
    pub paused: bool,
}

/// Decodes a reply to `LIST_NETWORKS`: what is whole of it.
pub fn parse_networks(reply: &str) -> Vec<Listed> {
    let mut found = Vec::new();
    for line in reply.lines().take(MAX_NETWORKS) {
        let mut fields = line.split('\t');
        let (Some(id), Some(name), Some(_), Some(flags)) =
            (fields.next().and_then(NetworkId::parse), fields.next(), fields.next(), fields.next())
        else {
            continue; // the heading
        };
        found.push(Listed {
            id,
            ssid: ssid(name),
            current: flags.contains("[CURRENT]"),
            enabled: !flags.contains("[DISABLED]"),
            paused: flags.contains("[TEMP-DISABLED]"),
        });
    }
    found
}

/// A name as the supplicant prints it. A hidden one is empty, or as many zeros as it has octets.
pub(crate) fn ssid(text: &str) -> Option<Ssid> {
    let octets = decode_printf(text);
    let hidden = octets.iter().all(|octet| *octet == 0);
    Ssid::try_from(octets.as_slice()).ok().filter(|_| !hidden)
}

/// A signal in dBm. What a driver gives that has no such thing is none.
pub(crate) fn rssi(text: &str) -> Option<Rssi> {
    text.parse().ok().filter(|dbm| (-127..0).contains(dbm)).map(Rssi)
}

fn pairs(reply: &str) -> impl Iterator<Item = (&str, &str)> {
    reply.lines().filter_map(|line| line.split_once('='))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// As wpa_supplicant 2.10 answers (wpa_supplicant/ctrl_iface.c).
    const STATUS: &str = "bssid=02:00:00:00:01:00\nfreq=2437\nssid=Town\\n=\nid=3\nid_str=homeward\n\
        mode=station\npairwise_cipher=CCMP\ngroup_cipher=CCMP\nkey_mgmt=WPA2/IEEE 802.1X/EAP\n\
        wpa_state=COMPLETED\nip_address=192.0.2.7\naddress=02:00:00:00:02:00\n\
        Supplicant PAE state=AUTHENTICATED\nsuppPortStatus=Authorized\nEAP state=SUCCESS\n\
        selectedMethod=25 (EAP-PEAP)\neap_tls_version=TLSv1.2\ntls_session_reused=0\n";

    const TWO: &str = "id=0\nbssid=02:00:00:00:01:00\nfreq=2412\nlevel=-61\nage=2\n\
        flags=[WPA2-EAP-CCMP][ESS]\nssid=Town\n====\n\
        id=7\nbssid=02:00:00:00:01:07\nfreq=5180\nlevel=-80\nage=31\nflags=[ESS]\nssid=\n####\n";

    #[test]
    fn a_status_tells_where_it_is() {
        let status = parse_status(STATUS).unwrap();
        assert_eq!(status.state, State::Completed);
        assert_eq!(status.address, Some(Mac::new([2, 0, 0, 0, 2, 0])));
        assert_eq!((status.id, status.ours), (Some(NetworkId(3)), true));
        assert_eq!(status.ssid, "Town\n=".parse().ok());
        assert!(status.authorized && !status.resumed);
        let idle = parse_status("wpa_state=INACTIVE\naddress=02:00:00:00:02:00\n").unwrap();
        assert_eq!((idle.state, idle.id, idle.ours), (State::Idle, None, false));
        for none in ["", "FAIL", "wpa_state=\n", "state=ENABLED\n"] {
            assert_eq!(parse_status(none), None);
        }
    }

    #[test]
    fn what_was_heard_is_listed_and_what_is_cut_off_is_not() {
        let found = parse_bss(TWO);
        let (first, second) = (&found[0].1, &found[1]);
        assert_eq!((first.ssid, first.signal), ("Town".parse().ok(), Rssi(-61)));
        assert_eq!((first.frequency, first.age, first.enterprise), (2412, 2, true));
        assert_eq!((second.0, second.1.ssid, second.1.enterprise), (7, None, false));
        assert_eq!(parse_bss(&TWO[..TWO.len() - 5]).len(), 1);
        // The last line feed is taken off with every reply.
        assert_eq!(parse_bss(TWO.trim_end()).len(), 2);
        for mark in ["====", "####"] {
            let posing = TWO.replace("ssid=Town", &format!("ssid={mark}"));
            assert_eq!(parse_bss(&posing)[0].1.ssid, mark.parse().ok());
        }
        assert_eq!(parse_bss(&TWO.replace("Town", "\\x00\\x00"))[0].1.ssid, None);
        assert_eq!(parse_bss(""), []);
    }

    #[test]
    fn a_signal_is_a_negative_number_or_none() {
        let reply = "RSSI=-64\nLINKSPEED=54\nNOISE=9999\nFREQUENCY=2437\nAVG_RSSI=-66\n";
        let signal = Signal { last: Rssi(-64), mean: Some(Rssi(-66)) };
        assert_eq!(parse_signal(reply), Some(signal));
        assert_eq!(parse_signal("RSSI=-9999\n"), None);
        assert_eq!(parse_signal("RSSI=0\nAVG_RSSI=-66\n"), None);
    }

    #[test]
    fn networks_are_listed_without_their_heading() {
        let reply = "network id / ssid / bssid / flags\n0\tTown\\t\tany\t[CURRENT]\n\
            1\tother\tany\t[DISABLED]\n2\t\tany\t[TEMP-DISABLED]\n3\tcut";
        let listed = parse_networks(reply);
        let brief: Vec<_> =
            listed.iter().map(|l| (l.id.0, l.current, l.enabled, l.paused)).collect();
        assert_eq!(
            brief,
            [(0, true, true, false), (1, false, false, false), (2, false, true, true)]
        );
        assert_eq!(listed[0].ssid, "Town\t".parse().ok());
        assert_eq!(listed[2].ssid, None);
    }

    proptest! {
        #[test]
        fn any_reply_is_decoded_without_panic(bytes: Vec<u8>, n in 0..STATUS.len(), m in 0..TWO.len()) {
            crate::testing::fuzz_reply(&bytes);
            crate::testing::fuzz_reply(&STATUS.as_bytes()[..n]);
            crate::testing::fuzz_reply(&TWO.as_bytes()[..m]);
        }

        #[test]
        fn whatever_a_network_is_called_it_is_that_and_nothing_else(
            octets in proptest::collection::vec(any::<u8>(), 1..=32),
        ) {
            let name = crate::testing::printf(&octets);
            prop_assume!(octets.iter().any(|octet| *octet != 0));
            let ssid = Ssid::try_from(octets.as_slice()).ok();
            let found = parse_bss(&TWO.replace("ssid=Town", &format!("ssid={name}")));
            prop_assert_eq!(found.len(), 2);
            prop_assert_eq!(found[0].1.ssid, ssid);
            let line = format!("0\t{name}\tany\t[CURRENT]\n1\tx\tany\t\n");
            prop_assert_eq!(parse_networks(&line)[0].ssid, ssid);
            prop_assert_eq!(parse_networks(&line).len(), 2);
        }
    }
}
