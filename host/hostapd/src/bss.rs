//! The configuration of one BSS, and the text that hostapd reads.
//!
//! hostapd reads line by line and splits at the first `=`. Whatever comes from a subscriber (SSID,
//! passphrase) or from settings (paths) is either encoded so that it cannot end a line, or
//! refused.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use homeward_model::{DeviceKey, Mac, Secret, Security, Ssid};
use zeroize::Zeroizing;

use crate::InterfaceName;

/// The `keyid` of every key we hand to hostapd: its events then tell a device that used its own
/// key from one that used the household's passphrase.
pub const KEYID: &str = "homeward";

/// First line of every file of ours.
pub const BANNER: &str = "# Written by homeward, replaced whole at every change.";

/// The most devices of one BSS: hostapd's default number of stations (IEEE 802.11's own limit).
pub const MAX_DEVICES: usize = 2007;

/// hostapd reads configuration in lines of less than this many octets and takes the rest of a
/// longer one for the next line.
const LINE_BUFFER: usize = 4096;

/// One BSS: a virtual access point.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BssConfig {
    /// The interface to create.
    pub interface: InterfaceName,
    /// The BSSID; `None` leaves it to [`Radio`](crate::Radio), which chooses well (and, in the
    /// text alone, to hostapd, which does not: see [`bssid`](crate::bssid)).
    pub bssid: Option<Mac>,
    /// The SSID to announce.
    pub ssid: Ssid,
    /// The security to announce; [`Security::Enterprise`] is not to be had here.
    pub security: Security,
    /// The bridge that the interface joins. It must exist: hostapd would create a missing one and
    /// leave it behind.
    pub bridge: Option<InterfaceName>,
    /// Whether frames between two stations of the BSS are dropped.
    pub isolate: bool,
    /// Seconds of silence after which a station is probed and, if it stays silent, disconnected.
    pub max_inactivity: u16,
    /// Stations at the same time, 1 to 2007.
    pub max_stations: u16,
    /// Beacons from one DTIM to the next, 1 to 255: how long a dozing station may wait for
    /// broadcasts. (The beacon interval itself is the radio's, hence the owner's.)
    pub dtim_period: u8,
    /// The directory of the BSS's own control socket, absolute. Not needed: [`Radio`](crate::Radio)
    /// uses the global one.
    pub control_dir: Option<PathBuf>,
    /// Where hostapd reports what stations use (RFC 2866); `None` reports nothing.
    pub accounting: Option<Accounting>,
}

/// Where hostapd reports what stations use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Accounting {
    /// The RADIUS servers, first choice first, each with the secret shared with it.
    pub servers: Vec<(SocketAddr, Secret)>,
    /// NAS-Identifier.
    pub nas_identifier: String,
    /// Seconds between reports of a session, at least 60.
    pub interim: u16,
}

impl BssConfig {
    /// A BSS with the usual settings: stations isolated from each other, 300 s of silence, at most
    /// 32 stations, DTIM at every second beacon, no bridge, no control socket of its own.
    pub fn new(interface: InterfaceName, ssid: Ssid, security: Security) -> Self {
        Self {
            interface,
            bssid: None,
            ssid,
            security,
            bridge: None,
            isolate: true,
            max_inactivity: 300,
            max_stations: 32,
            dtim_period: 2,
            control_dir: None,
            accounting: None,
        }
    }
}

/// A device that a BSS admits, with its own key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VapDevice {
    /// The MAC address it associates with.
    pub mac: Mac,
    /// Its key, good for this MAC only.
    pub key: DeviceKey,
}

/// Where the files that a configuration names lie.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BssPaths {
    /// The `wpa_psk_file`. hostapd reads it when the BSS starts and at `RELOAD_WPA_PSK`.
    pub psk: PathBuf,
    /// The `accept_mac_file`. hostapd reads it together with the configuration only.
    pub accept: PathBuf,
}

/// What cannot be put into a configuration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BssError {
    /// The security is not one of keys per device.
    #[error(
        "{0} needs an authentication server: a virtual access point serves wpa2-psk, wpa3-sae or wpa2-wpa3"
    )]
    Security(Security),
    /// A BSSID that cannot be one.
    #[error("{0} is no BSSID: give an individual address other than zero")]
    Bssid(Mac),
    /// A device's address that stands for many: all-zero and group addresses are hostapd's
    /// wildcards, and would hand one device's key to all.
    #[error("{0} is no device's address: give an individual address other than zero")]
    Device(Mac),
    /// The same device twice.
    #[error("device {0} is listed twice: give it one key")]
    Twice(Mac),
    /// More devices than a BSS can have stations.
    #[error("{0} devices are too many for one BSS: at most {MAX_DEVICES}")]
    TooMany(usize),
    /// A device without a password on a BSS that has SAE only.
    #[error("device {0} has a raw PSK: wpa3-sae needs its passphrase")]
    NoPassphrase(Mac),
    /// A passphrase that hostapd would misread: it takes `|mac=` for the start of an address,
    /// and knows no way to escape it.
    #[error(
        "the passphrase of device {0} contains \"|mac=\", which hostapd cannot take in an SAE password: change it"
    )]
    Passphrase(Mac),
    /// A RADIUS secret or NAS-Identifier that cannot stand in a line of the file.
    #[error("{0} cannot be told to hostapd: it takes a line of printable text, and this is none")]
    Text(&'static str),
    /// A number out of range.
    #[error("{name} is {value}, but must be {range}")]
    Range {
        /// The setting.
        name: &'static str,
        /// Its value.
        value: u32,
        /// What is allowed.
        range: &'static str,
    },
    /// A path that cannot stand in a line of the file.
    #[error("{} cannot be told to hostapd: give an absolute path of printable characters", .0.display())]
    Path(PathBuf),
}

/// Checks devices for one BSS: each once, each with an address of its own and a key that `security`
/// can use.
///
/// # Errors
/// The first device that is wrong.
pub fn check_devices(security: Security, devices: &[VapDevice]) -> Result<(), BssError> {
    if !security.allows_psk() && !security.allows_sae() {
        return Err(BssError::Security(security));
    }
    if devices.len() > MAX_DEVICES {
        return Err(BssError::TooMany(devices.len()));
    }
    let mut seen = BTreeSet::new();
    for device in devices {
        let mac = device.mac;
        if !is_individual(mac) {
            return Err(BssError::Device(mac));
        }
        if !seen.insert(mac) {
            return Err(BssError::Twice(mac));
        }
        if security.allows_sae() {
            match device.key.passphrase() {
                Some(passphrase) if passphrase.expose().contains("|mac=") => {
                    return Err(BssError::Passphrase(mac));
                }
                None if !security.allows_psk() => return Err(BssError::NoPassphrase(mac)),
                _ => {}
            }
        }
    }
    Ok(())
}

/// The text of a BSS configuration file, for `ADD bss_config=`. It holds the SAE passwords.
///
/// # Errors
/// The first field or device that hostapd could not take, or would take for something else.
pub fn render(
    config: &BssConfig,
    devices: &[VapDevice],
    paths: &BssPaths,
) -> Result<Zeroizing<String>, BssError> {
    check_devices(config.security, devices)?;
    check_range("max_stations", config.max_stations.into(), 1, 2007, "1 to 2007")?;
    check_range("dtim_period", config.dtim_period.into(), 1, 255, "1 to 255")?;
    check_range("max_inactivity", config.max_inactivity.into(), 1, 65535, "1 to 65535 seconds")?;

    // Allocated once, so that growing leaves no copy of a password behind.
    let mut text = Zeroizing::new(String::with_capacity(4 * LINE_BUFFER + devices.len() * 128));
    let mut line = |key: &str, value: &str| {
        for part in [key, "=", value, "\n"] {
            text.push_str(part);
        }
    };
    line("interface", config.interface.as_str());
    if let Some(bssid) = config.bssid {
        if !is_individual(bssid) {
            return Err(BssError::Bssid(bssid));
        }
        line("bssid", &bssid.full().to_string());
    }
    // Hex digits, for `ssid=` would take the octets as they are, a line feed among them.
    line("ssid2", &hex(config.ssid.as_bytes()));
    if let Some(bridge) = &config.bridge {
        line("bridge", bridge.as_str());
    }
    if let Some(dir) = &config.control_dir {
        line("ctrl_interface", path(dir)?);
    }
    line("wpa", "2");
    line("rsn_pairwise", "CCMP");
    line("auth_algs", "1");
    let (key_mgmt, protection) = match config.security {
        Security::Wpa2Psk => ("WPA-PSK", "1"),
        Security::Wpa2Wpa3 => ("WPA-PSK SAE", "1"),
        Security::Wpa3Sae | Security::Enterprise => ("SAE", "2"),
    };
    line("wpa_key_mgmt", key_mgmt);
    line("ieee80211w", protection);
    if config.security.allows_psk() {
        line("wpa_psk_file", path(&paths.psk)?);
    }
    if config.security.allows_sae() {
        // Both ways to derive the element, hunting-and-pecking and hash-to-element: phones of
        // either kind are about (IEEE 802.11-2020 12.4.4.2 and 12.4.4.3).
        line("sae_pwe", "2");
        line("sae_require_mfp", "1");
        for device in devices {
            if let Some(password) = sae_password(device) {
                line("sae_password", &password);
            }
        }
    }
    // Two homes with one SSID may meet on one radio: each admits its own devices only, and does
    // not even answer a probe request of the other's (hostapd checks the list there, too).
    line("macaddr_acl", "1");
    line("accept_mac_file", path(&paths.accept)?);
    line("ap_isolate", if config.isolate { "1" } else { "0" });
    line("ap_max_inactivity", &config.max_inactivity.to_string());
    line("max_num_sta", &config.max_stations.to_string());
    line("dtim_period", &config.dtim_period.to_string());
    if let Some(accounting) = &config.accounting {
        check_range("interim", accounting.interim.into(), 60, 65535, "60 to 65535 seconds")?;
        line("nas_identifier", printable("NAS-Identifier", accounting.nas_identifier.as_bytes())?);
        for (address, secret) in &accounting.servers {
            line("acct_server_addr", &address.ip().to_string());
            line("acct_server_port", &address.port().to_string());
            line("acct_server_shared_secret", printable("a RADIUS secret", secret.expose())?);
        }
        line("radius_acct_interim_interval", &accounting.interim.to_string());
    }
    Ok(text)
}

/// The text of a `wpa_psk_file`: a line per device, its key in hex. A passphrase there would cost
/// hostapd, which has one thread, 4,096 rounds of PBKDF2 each at every reload.
pub fn psk_file(devices: &[VapDevice]) -> Zeroizing<String> {
    let mut text = Zeroizing::new(String::with_capacity(BANNER.len() + 1 + devices.len() * 100));
    text.push_str(BANNER);
    text.push('\n');
    for device in devices {
        let mac = device.mac.full().to_string();
        for part in ["keyid=", KEYID, " ", &mac, " ", device.key.psk().to_hex().as_str(), "\n"] {
            text.push_str(part);
        }
    }
    text
}

/// The text of an `accept_mac_file`: a MAC address per line.
pub fn accept_file(devices: &[VapDevice]) -> String {
    let mut text = format!("{BANNER}\n");
    for device in devices {
        text.push_str(&device.mac.full().to_string());
        text.push('\n');
    }
    text
}

/// The value of `sae_password` for a device; `None` if it has no passphrase. The device must have
/// passed [`check_devices`].
pub fn sae_password(device: &VapDevice) -> Option<Zeroizing<String>> {
    let passphrase = device.key.passphrase()?;
    let mac = device.mac.full().to_string();
    let mut value = Zeroizing::new(String::with_capacity(96));
    // The address last: what hostapd looks for (`|vlanid=`, `|id=`, `|pk=`) it looks for behind
    // the address, so these may occur in a passphrase.
    for part in [passphrase.expose(), "|mac=", &mac] {
        value.push_str(part);
    }
    Some(value)
}

/// Whether the address stands for one station.
fn is_individual(mac: Mac) -> bool {
    !mac.is_group() && mac.octets() != [0; 6]
}

/// What can stand in a line behind `key=`.
fn printable<'t>(what: &'static str, text: &'t [u8]) -> Result<&'t str, BssError> {
    let text = std::str::from_utf8(text).ok().filter(|text| !text.is_empty());
    let text = text.filter(|text| !text.contains(char::is_control) && text.trim() == *text);
    text.ok_or(BssError::Text(what))
}

fn check_range(
    name: &'static str,
    value: u32,
    least: u32,
    most: u32,
    range: &'static str,
) -> Result<(), BssError> {
    if (least..=most).contains(&value) {
        Ok(())
    } else {
        Err(BssError::Range { name, value, range })
    }
}

fn path(path: &Path) -> Result<&str, BssError> {
    path.to_str()
        .filter(|text| {
            path.is_absolute()
                && text.len() < LINE_BUFFER - 64
                && !text.chars().any(char::is_control)
        })
        .ok_or_else(|| BssError::Path(path.to_owned()))
}

fn hex(octets: &[u8]) -> String {
    octets.iter().map(|octet| format!("{octet:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use homeward_model::{Passphrase, Psk};
    use proptest::prelude::*;

    const MAC: Mac = Mac::new([2, 0, 0, 0, 2, 0]);

    fn paths() -> BssPaths {
        BssPaths { psk: "/run/h/hw0.psk".into(), accept: "/run/h/hw0.accept".into() }
    }

    fn config(ssid: &[u8], security: Security) -> BssConfig {
        BssConfig::new("hw0".parse().unwrap(), Ssid::try_from(ssid).unwrap(), security)
    }

    fn with_passphrase(mac: Mac, text: &str) -> VapDevice {
        let passphrase: Passphrase = text.parse().unwrap();
        VapDevice { mac, key: DeviceKey::Passphrase { passphrase, psk: Psk::new([0x5c; 32]) } }
    }

    fn with_psk(mac: Mac) -> VapDevice {
        VapDevice { mac, key: DeviceKey::Psk(Psk::new([0xab; 32])) }
    }

    /// Reads a file as hostapd does: lines, comments, the first `=`.
    fn read(text: &str) -> Vec<(&str, &str)> {
        assert!(text.ends_with('\n'));
        text.lines().filter(|l| !l.starts_with('#')).map(|l| l.split_once('=').unwrap()).collect()
    }

    #[test]
    fn what_stations_use_is_reported_where_it_is_to_be() {
        let server = |address: &str, secret: &str| (address.parse().unwrap(), Secret::new(secret));
        let accounting = Accounting {
            servers: vec![server("10.0.0.1:1813", "a = b # c"), server("[2001:db8::1]:99", "d")],
            nas_identifier: "gw-17".into(),
            interim: 300,
        };
        let with = |accounting: &Accounting| BssConfig {
            accounting: Some(accounting.clone()),
            ..config(b"Home", Security::Wpa2Psk)
        };
        let text = render(&with(&accounting), &[], &paths()).unwrap();
        let lines = read(&text);
        let tail = [
            ("nas_identifier", "gw-17"),
            ("acct_server_addr", "10.0.0.1"),
            ("acct_server_port", "1813"),
            ("acct_server_shared_secret", "a = b # c"),
            ("acct_server_addr", "2001:db8::1"),
            ("acct_server_port", "99"),
            ("acct_server_shared_secret", "d"),
            ("radius_acct_interim_interval", "300"),
        ];
        assert!(lines.ends_with(&tail), "{lines:?}");
        for secret in ["", "a\nb", " a", "a\r"] {
            let bad =
                Accounting { servers: vec![server("10.0.0.1:1813", secret)], ..accounting.clone() };
            let error = render(&with(&bad), &[], &paths()).unwrap_err();
            assert_eq!(error, BssError::Text("a RADIUS secret"));
        }
        let bad = Accounting { nas_identifier: "a\nb".into(), ..accounting.clone() };
        assert_eq!(
            render(&with(&bad), &[], &paths()).unwrap_err(),
            BssError::Text("NAS-Identifier")
        );
        let bad = Accounting { interim: 59, ..accounting };
        assert!(render(&with(&bad), &[], &paths()).is_err());
    }

    #[test]
    fn each_security_has_its_lines() {
        let device = [with_passphrase(MAC, "correct horse")];
        let common = |security| {
            let text = render(&config(b"Home", security), &device, &paths()).unwrap();
            text.to_string()
        };
        assert_eq!(
            common(Security::Wpa2Psk),
            "interface=hw0\nssid2=486f6d65\nwpa=2\nrsn_pairwise=CCMP\nauth_algs=1\n\
             wpa_key_mgmt=WPA-PSK\nieee80211w=1\nwpa_psk_file=/run/h/hw0.psk\n\
             macaddr_acl=1\naccept_mac_file=/run/h/hw0.accept\nap_isolate=1\n\
             ap_max_inactivity=300\nmax_num_sta=32\ndtim_period=2\n"
        );
        let sae = common(Security::Wpa3Sae);
        let mixed = common(Security::Wpa2Wpa3);
        let password = ("sae_password", "correct horse|mac=02:00:00:00:02:00");
        for (text, key_mgmt, protection, psk) in
            [(&sae, "SAE", "2", false), (&mixed, "WPA-PSK SAE", "1", true)]
        {
            let lines = read(text);
            for line in [
                ("wpa_key_mgmt", key_mgmt),
                ("ieee80211w", protection),
                ("sae_require_mfp", "1"),
                ("sae_pwe", "2"),
                password,
            ] {
                assert!(lines.contains(&line), "{line:?} in {text}");
            }
            assert_eq!(lines.iter().any(|(k, _)| *k == "wpa_psk_file"), psk);
        }
    }

    #[test]
    fn a_psk_file_binds_each_key_to_its_device() {
        let text = psk_file(&[with_psk(MAC)]);
        let line = text.lines().nth(1).unwrap();
        assert_eq!(line, format!("keyid=homeward 02:00:00:00:02:00 {}", "ab".repeat(32)));
        // hostapd reads such lines into 128 octets.
        assert!(text.lines().all(|l| l.len() < 127));
        assert_eq!(accept_file(&[with_psk(MAC)]), format!("{BANNER}\n02:00:00:00:02:00\n"));
    }

    #[test]
    fn an_address_that_is_a_wildcard_to_hostapd_is_refused() {
        for octets in [[0; 6], [0xff; 6], [1, 0, 0, 0, 0, 1]] {
            let mac = Mac::new(octets);
            let device = [with_passphrase(mac, "correct horse")];
            for security in [Security::Wpa2Psk, Security::Wpa3Sae, Security::Wpa2Wpa3] {
                assert_eq!(check_devices(security, &device), Err(BssError::Device(mac)));
            }
            let with_bssid = BssConfig { bssid: Some(mac), ..config(b"x", Security::Wpa2Psk) };
            assert_eq!(render(&with_bssid, &[], &paths()), Err(BssError::Bssid(mac)));
        }
    }

    #[test]
    fn a_passphrase_that_hostapd_would_misread_is_refused_for_sae_only() {
        let device = [with_passphrase(MAC, "x|mac=02:00:00:00:00:09|")];
        assert_eq!(check_devices(Security::Wpa2Psk, &device), Ok(()));
        for security in [Security::Wpa3Sae, Security::Wpa2Wpa3] {
            assert_eq!(check_devices(security, &device), Err(BssError::Passphrase(MAC)));
        }
    }

    #[test]
    fn what_a_bss_cannot_have_is_refused_by_name() {
        let psk = [with_psk(MAC)];
        assert_eq!(check_devices(Security::Wpa3Sae, &psk), Err(BssError::NoPassphrase(MAC)));
        assert_eq!(check_devices(Security::Wpa2Wpa3, &psk), Ok(()));
        let twice = [with_psk(MAC), with_psk(MAC)];
        assert_eq!(check_devices(Security::Wpa2Psk, &twice), Err(BssError::Twice(MAC)));
        let enterprise = Err(BssError::Security(Security::Enterprise));
        assert_eq!(check_devices(Security::Enterprise, &[]), enterprise);
        let good = config(b"x", Security::Wpa2Psk);
        for (bad, name) in [
            (BssConfig { max_stations: 0, ..good.clone() }, "max_stations"),
            (BssConfig { max_stations: 2008, ..good.clone() }, "max_stations"),
            (BssConfig { dtim_period: 0, ..good.clone() }, "dtim_period"),
            (BssConfig { max_inactivity: 0, ..good.clone() }, "max_inactivity"),
        ] {
            let error = render(&bad, &[], &paths()).unwrap_err();
            assert!(error.to_string().starts_with(name), "{error}");
        }
        for bad in ["run", "/run/a\nwpa=0", "/run/\u{7f}"] {
            let config = BssConfig { control_dir: Some(bad.into()), ..good.clone() };
            assert_eq!(render(&config, &[], &paths()), Err(BssError::Path(bad.into())));
            let paths = BssPaths { psk: bad.into(), ..paths() };
            assert_eq!(render(&good, &[], &paths), Err(BssError::Path(bad.into())));
        }
    }

    #[test]
    fn an_error_tells_no_secret() {
        let device = [with_passphrase(MAC, "x|mac=02:00:00:00:00:09|")];
        let error = check_devices(Security::Wpa3Sae, &device).unwrap_err();
        assert!(!format!("{error} {error:?}").contains("00:09"), "{error:?}");
    }

    fn any_security() -> impl Strategy<Value = Security> {
        prop_oneof![Just(Security::Wpa2Psk), Just(Security::Wpa3Sae), Just(Security::Wpa2Wpa3)]
    }

    proptest! {
        #[test]
        fn no_ssid_and_no_key_adds_or_changes_a_line(
            ssid in proptest::collection::vec(any::<u8>(), 1..=32),
            words in proptest::collection::vec("[ -~]{8,63}", 0..4),
            security in any_security(),
        ) {
            let devices: Vec<_> = words.iter().enumerate()
                .filter(|(_, w)| !w.contains("|mac="))
                .map(|(i, w)| with_passphrase(Mac::new([2, 0, 0, 0, 3, i as u8]), w))
                .collect();
            let text = render(&config(&ssid, security), &devices, &paths()).unwrap();
            let mut expected = vec!["interface", "ssid2", "wpa", "rsn_pairwise", "auth_algs",
                "wpa_key_mgmt", "ieee80211w"];
            if security.allows_psk() { expected.push("wpa_psk_file"); }
            if security.allows_sae() {
                expected.extend(["sae_pwe", "sae_require_mfp"]);
                expected.extend(devices.iter().map(|_| "sae_password"));
            }
            expected.extend(["macaddr_acl", "accept_mac_file", "ap_isolate",
                "ap_max_inactivity", "max_num_sta", "dtim_period"]);
            let lines = read(&text);
            prop_assert_eq!(lines.iter().map(|(k, _)| *k).collect::<Vec<_>>(), expected);
            let shown = homeward_model::address::decode_hex(lines[1].1);
            prop_assert_eq!(shown.as_deref(), Some(ssid.as_slice()));
            // Each password as hostapd takes it apart: at the first `|mac=`.
            let passwords = lines.iter().filter(|(k, _)| *k == "sae_password");
            for ((_, value), device) in passwords.zip(&devices) {
                let (password, rest) = value.split_once("|mac=").unwrap();
                prop_assert_eq!(password, device.key.passphrase().unwrap().expose());
                prop_assert_eq!(rest, device.mac.full().to_string());
            }
            prop_assert!(text.lines().all(|l| l.len() < LINE_BUFFER - 1));
        }
    }
}
