//! A network as NetworkManager takes it: the settings of a connection profile.

use std::collections::BTreeMap;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use homeward_model::{EapMethod, Mac};
use zbus::Variant;

use super::bus::{Properties, take};
use crate::network::{MARK, Medium, Network};

/// The settings of a profile, by setting and property (`a{sa{sv}}`).
pub(super) type Settings = BTreeMap<&'static str, BTreeMap<&'static str, Variant<'static>>>;

const LOG_ON: &str = "802-1x";
const CA: &str = "ca-cert";
const SERVER: &str = "domain-suffix-match";

/// What our profiles carry in their user data, so that they are known again.
pub(super) const MARKED: &str = "homeward.mark";

/// The profile of a network, for one interface and nobody but who asks for it: NetworkManager
/// never activates it by itself. `ca` is the file with the authorities.
///
/// Its routes have the metric given, so that a default route by it comes after those that were
/// there. With `only`, it is used by that access point alone.
pub(super) fn profile(
    network: &Network,
    ca: &Path,
    interface: &str,
    metric: u32,
    only: Option<Mac>,
) -> Settings {
    let text = |value: &str| Variant::from(value.to_owned());
    let octets = |value: &[u8]| Variant::from(value.to_vec());
    let mut all = Settings::new();
    let (kind, name) = match network.medium {
        Medium::Wireless(ssid) => ("802-11-wireless", format!("{MARK} {ssid}")),
        Medium::Wired => ("802-3-ethernet", format!("{MARK} {interface}")),
    };
    all.insert(
        "connection",
        BTreeMap::from([
            ("id", text(&name)),
            ("type", text(kind)),
            ("interface-name", text(interface)),
            ("autoconnect", Variant::from(false)),
            // Who was refused is refused: whether to ask again is ours to say.
            ("auth-retries", Variant::from(1i32)),
        ]),
    );
    let marks = BTreeMap::from([(MARKED.to_owned(), MARK.to_owned())]);
    all.insert("user", BTreeMap::from([("data", Variant::from(marks))]));
    if let Medium::Wireless(ssid) = network.medium {
        let mut wireless = BTreeMap::from([
            ("ssid", octets(ssid.as_bytes())),
            ("mode", text("infrastructure")),
            // The credentials are good for this station's own address alone.
            ("assigned-mac-address", text("permanent")),
        ]);
        if let Some(bssid) = only {
            wireless.insert("bssid", octets(&bssid.octets()));
        }
        all.insert(kind, wireless);
        all.insert(
            "802-11-wireless-security",
            BTreeMap::from([
                ("key-mgmt", text("wpa-eap")),
                ("proto", Variant::from(vec!["rsn".to_owned()])),
                // Protected management frames where the access point has them.
                ("pmf", Variant::from(2i32)),
            ]),
        );
    } else {
        all.insert(kind, BTreeMap::new());
    }
    all.insert(LOG_ON, log_on(network, ca));
    for family in ["ipv4", "ipv6"] {
        let routes = BTreeMap::from([
            ("method", text("auto")),
            ("route-metric", Variant::from(i64::from(metric))),
        ]);
        all.insert(family, routes);
    }
    all
}

fn log_on(network: &Network, ca: &Path) -> BTreeMap<&'static str, Variant<'static>> {
    let text = |value: &str| Variant::from(value.to_owned());
    let (method, inner) = match network.eap {
        EapMethod::Peap => ("peap", "mschapv2"),
        EapMethod::TtlsPap => ("ttls", "pap"),
        EapMethod::TtlsMschapv2 => ("ttls", "mschapv2"),
    };
    let mut all = BTreeMap::from([
        ("eap", Variant::from(vec![method.to_owned()])),
        ("phase2-auth", text(inner)),
        ("identity", text(network.identity.as_str())),
        // As octets: a password need not be text.
        ("password-raw", Variant::from(network.password.expose().to_vec())),
        (CA, Variant::from(path(ca))),
        (SERVER, text(&network.server_name)),
    ]);
    if let Some(anonymous) = &network.anonymous {
        all.insert("anonymous-identity", text(anonymous.as_str()));
    }
    all
}

/// A file, as it stands where a certificate could be.
fn path(file: &Path) -> Vec<u8> {
    [b"file://", file.as_os_str().as_bytes(), b"\0"].concat()
}

/// Whether what NetworkManager has of a profile pins the server: of what it cannot keep it says so
/// in its log alone, and a profile without an authority would trust anybody.
pub(super) fn pins(kept: &mut BTreeMap<String, Properties>, network: &Network, ca: &Path) -> bool {
    let Some(kept) = kept.get_mut(LOG_ON) else { return false };
    take::<Vec<u8>>(kept, CA) == Some(path(ca))
        && take::<String>(kept, SERVER).as_ref() == Some(&network.server_name)
}

#[cfg(test)]
mod tests {
    use homeward_model::Secret;
    use zbus::OwnedVariant;

    use super::*;
    use crate::Authority;

    fn network() -> Network {
        Network {
            medium: Medium::Wireless("Town".parse().unwrap()),
            eap: EapMethod::TtlsPap,
            identity: "u7@example.net".parse().unwrap(),
            anonymous: Some("anonymous@example.net".parse().unwrap()),
            password: Secret::new(vec![b'x', 0xff, 0]),
            authority: Authority::File("/ca.pem".into()),
            server_name: "aaa.example.net".to_owned(),
            priority: 1,
        }
    }

    fn made(network: &Network, only: Option<Mac>) -> BTreeMap<String, Properties> {
        let owned = |(name, value): (&str, Variant<'static>)| {
            (name.to_owned(), OwnedVariant::try_from(value).unwrap())
        };
        let all = profile(network, Path::new("/run/ca.pem"), "wlan0", 32_000, only).into_iter();
        all.map(|(name, all)| (name.to_owned(), all.into_iter().map(owned).collect())).collect()
    }

    #[test]
    fn a_profile_waits_to_be_asked_for_and_is_of_the_stations_own_address() {
        let mut all = made(&network(), None);
        let of = |all: &mut BTreeMap<String, Properties>, setting: &str, name: &str| {
            all.get_mut(setting).unwrap().remove(name)
        };
        assert_eq!(of(&mut all, "connection", "autoconnect"), Some(false.into()));
        let text =
            |value| value == Some(OwnedVariant::try_from(Variant::from("permanent")).unwrap());
        assert!(text(of(&mut all, "802-11-wireless", "assigned-mac-address")));
        assert!(!all["802-11-wireless"].contains_key("bssid"));
        for family in ["ipv4", "ipv6"] {
            assert_eq!(of(&mut all, family, "route-metric"), Some(32_000i64.into()));
        }
        let log_on = all.get_mut(LOG_ON).unwrap();
        assert_eq!(take(log_on, "password-raw"), Some(vec![b'x', 0xff, 0]));
        assert_eq!(take(log_on, "eap"), Some(vec!["ttls".to_owned()]));
        assert_eq!(take(log_on, "phase2-auth"), Some("pap".to_owned()));
        assert_eq!(take(log_on, "anonymous-identity"), Some("anonymous@example.net".to_owned()));
        let mut all = made(&network(), Some(Mac::new([2, 0, 0, 0, 1, 0])));
        let wireless = all.get_mut("802-11-wireless").unwrap();
        assert_eq!(take(wireless, "bssid"), Some(vec![2u8, 0, 0, 0, 1, 0]));
        let wired = made(&Network { medium: Medium::Wired, ..network() }, None);
        assert!(!wired.contains_key("802-11-wireless-security"));
    }

    #[test]
    fn a_profile_of_which_the_authority_or_the_name_was_lost_does_not_pin_the_server() {
        let ca = Path::new("/run/ca.pem");
        assert!(pins(&mut made(&network(), None), &network(), ca));
        for lost in [CA, SERVER] {
            let mut all = made(&network(), None);
            all.get_mut(LOG_ON).unwrap().remove(lost);
            assert!(!pins(&mut all, &network(), ca), "{lost}");
        }
        let mut all = made(&network(), None);
        all.remove(LOG_ON);
        assert!(!pins(&mut all, &network(), ca));
        assert!(!pins(&mut made(&network(), None), &network(), Path::new("/other.pem")));
    }
}
