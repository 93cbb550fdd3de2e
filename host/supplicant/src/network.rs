//! A network block: which network, who we are there, and who we expect.

use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use data_encoding::HEXLOWER;
use homeward_model::{EapMethod, Nai, Secret, Ssid};
use zeroize::Zeroizing;

/// What our blocks carry in `id_str`, so that they are known again by whoever comes after us.
pub const MARK: &str = "homeward";

/// A network that asks for 802.1X.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Network {
    /// Over what.
    pub medium: Medium,
    /// How we prove who we are.
    pub eap: EapMethod,
    /// Who we are.
    pub identity: Nai,
    /// What we call ourselves in the clear; `None`: as [`identity`](Self::identity).
    pub anonymous: Option<Nai>,
    /// The password: 1 to 256 octets.
    pub password: Secret,
    /// Whose certificate the server must have.
    pub authority: Authority,
    /// The name that the server's certificate must have, or end in: a host name, not several.
    pub server_name: String,
    /// The greater is taken first, where several networks are there.
    pub priority: u16,
}

/// Over what a network is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Medium {
    /// 802.11: the network of that name.
    Wireless(Ssid),
    /// A switch's port (802.1X-2004).
    Wired,
}

/// An authority that certifies servers. There is no block without one: a password is told to
/// nobody who has not shown a certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Authority {
    /// Certificates in PEM.
    Pem(String),
    /// A file with certificates in PEM, such as those that the system trusts. An absolute path.
    File(PathBuf),
}

/// Why a network cannot be described to a supplicant. No value of a secret is repeated.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NetworkError {
    /// A password that is empty or too long.
    #[error("a password has 1 to 256 octets, not {0}")]
    Password(usize),
    /// A name of a server that is none, or several.
    #[error("{0:?} is no host name: give one, such as aaa.example.net")]
    ServerName(String),
    /// A text without a certificate.
    #[error("the authority's text has no certificate in PEM")]
    Pem,
    /// A file by a path that depends on where the supplicant was started.
    #[error("{} is no absolute path", .0.display())]
    Path(PathBuf),
}

/// A setting: its name, and its value as `SET_NETWORK` takes it.
pub(crate) type Setting = (&'static str, Zeroizing<String>);

impl Network {
    /// Checks what its types do not say.
    ///
    /// # Errors
    /// Names the first part that is wrong.
    pub fn check(&self) -> Result<(), NetworkError> {
        let length = self.password.expose().len();
        if !(1..=256).contains(&length) {
            return Err(NetworkError::Password(length));
        }
        // A `;` would make it a list of names of which one is enough.
        let letter = |c: u8| c.is_ascii_alphanumeric() || c == b'-' || c == b'.';
        let name = &self.server_name;
        if !(1..=253).contains(&name.len()) || !name.bytes().all(letter) || name.starts_with('.') {
            return Err(NetworkError::ServerName(name.clone()));
        }
        match &self.authority {
            Authority::Pem(text) if !text.contains("-----BEGIN CERTIFICATE-----") => {
                Err(NetworkError::Pem)
            }
            Authority::File(path) if !path.is_absolute() => Err(NetworkError::Path(path.clone())),
            _ => Ok(()),
        }
    }

    /// The settings of the block, in the order in which they are to be made.
    ///
    /// Everything that anybody else may have chosen goes in hex: the supplicant reads a value in
    /// quotes up to its last quote, and a password `hash:…` as something else than its letters.
    pub(crate) fn settings(&self, ca: &Path) -> Vec<Setting> {
        let word = |value: &str| Zeroizing::new(value.to_owned());
        let mut all: Vec<Setting> = Vec::with_capacity(16);
        match self.medium {
            Medium::Wireless(ssid) => all.extend([
                ("ssid", hex(ssid.as_bytes())),
                // A hidden network is found, too.
                ("scan_ssid", word("1")),
                ("proto", word("RSN")),
                ("key_mgmt", word("WPA-EAP WPA-EAP-SHA256")),
                ("ieee80211w", word("1")),
                ("proactive_key_caching", word("1")),
                // The credentials are good for this station's own address alone.
                ("mac_addr", word("0")),
            ]),
            Medium::Wired => all.extend([
                ("key_mgmt", word("IEEE8021X")),
                // No keys come of it there.
                ("eapol_flags", word("0")),
            ]),
        }
        let (method, inner) = match self.eap {
            EapMethod::Peap => ("PEAP", "auth=MSCHAPV2"),
            EapMethod::TtlsPap => ("TTLS", "auth=PAP"),
            EapMethod::TtlsMschapv2 => ("TTLS", "auth=MSCHAPV2"),
        };
        all.extend([
            ("eap", word(method)),
            ("phase2", hex(inner.as_bytes())),
            ("identity", hex(self.identity.as_str().as_bytes())),
        ]);
        if let Some(anonymous) = &self.anonymous {
            all.push(("anonymous_identity", hex(anonymous.as_str().as_bytes())));
        }
        all.extend([
            ("password", hex(self.password.expose())),
            ("ca_cert", hex(ca.as_os_str().as_bytes())),
            ("domain_suffix_match", hex(self.server_name.as_bytes())),
            ("priority", word(&self.priority.to_string())),
            ("id_str", hex(MARK.as_bytes())),
        ]);
        all
    }
}

/// Octets as the supplicant reads them whatever they are.
fn hex(octets: &[u8]) -> Zeroizing<String> {
    Zeroizing::new(HEXLOWER.encode(octets))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn network() -> Network {
        Network {
            medium: Medium::Wireless("Town".parse().unwrap()),
            eap: EapMethod::Peap,
            identity: "u7@example.net".parse().unwrap(),
            anonymous: Some("anonymous@example.net".parse().unwrap()),
            password: Secret::new("correct horse"),
            authority: Authority::File("/etc/ssl/ca.pem".into()),
            server_name: "aaa.example.net".to_owned(),
            priority: 7,
        }
    }

    fn settings(network: &Network) -> Vec<(&'static str, String)> {
        let made = network.settings(Path::new("/run/ca.pem"));
        made.into_iter().map(|(name, value)| (name, value.as_str().to_owned())).collect()
    }

    #[test]
    fn a_block_pins_the_authority_and_the_servers_name_before_it_is_used() {
        for (eap, method, inner) in [
            (EapMethod::Peap, "PEAP", "auth=MSCHAPV2"),
            (EapMethod::TtlsPap, "TTLS", "auth=PAP"),
            (EapMethod::TtlsMschapv2, "TTLS", "auth=MSCHAPV2"),
        ] {
            let made = settings(&Network { eap, ..network() });
            let of = |name: &str| {
                made.iter().find(|(n, _)| *n == name).map(|(_, value)| value.as_str()).unwrap()
            };
            assert_eq!(of("eap"), method);
            assert_eq!(of("phase2"), hex(inner.as_bytes()).as_str());
            assert_eq!(of("ssid"), "546f776e");
            assert_eq!(of("ca_cert"), hex(b"/run/ca.pem").as_str());
            assert_eq!(of("domain_suffix_match"), hex(b"aaa.example.net").as_str());
            assert_eq!(of("anonymous_identity"), hex(b"anonymous@example.net").as_str());
            assert_eq!((of("priority"), of("mac_addr"), of("proto")), ("7", "0", "RSN"));
        }
        let wired = settings(&Network { medium: Medium::Wired, anonymous: None, ..network() });
        assert!(wired.contains(&("key_mgmt", "IEEE8021X".to_owned())));
        for absent in ["ssid", "anonymous_identity", "mac_addr"] {
            assert!(wired.iter().all(|(name, _)| *name != absent), "{absent}");
        }
    }

    #[test]
    fn what_would_let_anybody_pose_as_the_server_is_no_network() {
        assert_eq!(network().check(), Ok(()));
        for name in ["", ".", ".net", "a;b.example.net", "aaa example.net", "*.example.net"] {
            let wrong = Network { server_name: name.to_owned(), ..network() };
            assert_eq!(wrong.check(), Err(NetworkError::ServerName(name.to_owned())));
        }
        let with = |authority| Network { authority, ..network() }.check();
        assert_eq!(with(Authority::Pem(String::new())), Err(NetworkError::Pem));
        assert_eq!(
            with(Authority::File("ca.pem".into())),
            Err(NetworkError::Path("ca.pem".into()))
        );
        let with = |octets: usize| {
            Network { password: Secret::new(vec![b'x'; octets]), ..network() }.check()
        };
        assert_eq!(with(0), Err(NetworkError::Password(0)));
        assert_eq!((with(256), with(257)), (Ok(()), Err(NetworkError::Password(257))));
    }

    #[test]
    fn no_error_and_no_printout_repeats_a_password_or_a_name() {
        let shown = format!("{:?}", network());
        assert!(!shown.contains("horse") && !shown.contains("u7"), "{shown}");
    }

    proptest! {
        #[test]
        fn whatever_is_in_a_name_or_password_it_is_one_value(
            ssid in proptest::collection::vec(any::<u8>(), 1..=32),
            password in proptest::collection::vec(any::<u8>(), 1..=256),
            user in "[^\\p{Cc}@]{1,40}",
        ) {
            let identity: Result<Nai, _> = format!("{user}@example.net").parse();
            prop_assume!(identity.is_ok());
            let network = Network {
                medium: Medium::Wireless(Ssid::try_from(ssid.as_slice()).unwrap()),
                identity: identity.unwrap(),
                password: Secret::new(password.clone()),
                ..network()
            };
            for (name, value) in settings(&network) {
                let fixed = ["scan_ssid", "proto", "key_mgmt", "ieee80211w", "eap", "priority",
                    "proactive_key_caching", "mac_addr"];
                let octets = HEXLOWER.decode(value.as_bytes()).ok();
                prop_assert!(fixed.contains(&name) || octets.is_some(), "{}", name);
                match name {
                    "ssid" => prop_assert_eq!(octets.as_deref(), Some(ssid.as_slice())),
                    "password" => prop_assert_eq!(octets.as_deref(), Some(password.as_slice())),
                    "identity" => {
                        let nai = network.identity.as_str().as_bytes();
                        prop_assert_eq!(octets.as_deref(), Some(nai));
                    }
                    _ => {}
                }
            }
        }
    }
}
