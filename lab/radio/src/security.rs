//! How a network is secured, told to both of its ends.

/// How a network is secured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Security {
    /// Not at all.
    Open,
    /// WPA2-PSK with a passphrase of 8 to 63 characters or a key of 64 hex digits. The latter
    /// spares both ends 50 ms of PBKDF2 in the guest.
    Wpa2(String),
    /// WPA3-SAE with a password.
    Sae(String),
    /// Either, as the other end likes; with a passphrase.
    Transition(String),
    /// 802.1X (WPA2-Enterprise); the access point's lines have to say who the server is.
    Enterprise(Login),
}

/// What a station logs in with by 802.1X.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Login {
    /// `PEAP` or `TTLS`.
    pub method: &'static str,
    /// The method within, as wpa_supplicant's `phase2` has it.
    pub phase2: &'static str,
    /// Its name.
    pub identity: String,
    /// Its password.
    pub password: String,
    /// The file with who vouches for the server.
    pub ca: String,
}

impl Security {
    /// WPA2-PSK with this passphrase, or key of 64 hex digits.
    pub fn wpa2(key: impl Into<String>) -> Self {
        Self::Wpa2(key.into())
    }

    /// WPA3-SAE with this password.
    pub fn sae(password: impl Into<String>) -> Self {
        Self::Sae(password.into())
    }

    /// The lines of a BSS in `hostapd.conf`; without the key, if it comes from elsewhere.
    pub(crate) fn hostapd_lines(&self, key_elsewhere: bool) -> String {
        let rsn = "wpa=2\nrsn_pairwise=CCMP\n";
        let wpa_key = |key: &str| match key {
            _ if key_elsewhere => String::new(),
            _ if is_hex_key(key) => format!("wpa_psk={key}\n"),
            _ => format!("wpa_passphrase={key}\n"),
        };
        match self {
            Self::Open => String::new(),
            Self::Wpa2(key) => format!("{rsn}wpa_key_mgmt=WPA-PSK\n{}", wpa_key(key)),
            Self::Sae(password) => format!(
                "{rsn}wpa_key_mgmt=SAE\nieee80211w=2\nsae_require_mfp=1\nsae_password={password}\n"
            ),
            Self::Transition(key) => format!(
                "{rsn}wpa_key_mgmt=WPA-PSK SAE\nieee80211w=1\nsae_require_mfp=1\n\
                 sae_password={key}\n{}",
                wpa_key(key)
            ),
            Self::Enterprise(_) => format!("{rsn}wpa_key_mgmt=WPA-EAP\nieee8021x=1\n"),
        }
    }

    /// The variables of a network block of wpa_supplicant.
    pub(crate) fn supplicant_variables(&self) -> Vec<(&'static str, String)> {
        let psk = |key: &str| if is_hex_key(key) { key.to_owned() } else { format!("\"{key}\"") };
        match self {
            Self::Open => vec![("key_mgmt", "NONE".into())],
            Self::Wpa2(key) => vec![("key_mgmt", "WPA-PSK".into()), ("psk", psk(key))],
            Self::Sae(password) => vec![
                ("key_mgmt", "SAE".into()),
                ("ieee80211w", "2".into()),
                ("sae_password", format!("\"{password}\"")),
            ],
            Self::Transition(key) => vec![
                ("key_mgmt", "WPA-PSK SAE".into()),
                ("ieee80211w", "1".into()),
                ("psk", psk(key)),
            ],
            Self::Enterprise(login) => {
                let quoted = |text: &str| format!("\"{text}\"");
                vec![
                    ("key_mgmt", "WPA-EAP".into()),
                    ("eap", login.method.into()),
                    ("phase2", quoted(login.phase2)),
                    ("identity", quoted(&login.identity)),
                    ("anonymous_identity", quoted("anonymous@example.net")),
                    ("password", quoted(&login.password)),
                    ("ca_cert", quoted(&login.ca)),
                ]
            }
        }
    }
}

fn is_hex_key(key: &str) -> bool {
    key.len() == 64 && key.bytes().all(|c| c.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_of_64_hex_digits_is_given_as_such_to_both_ends() {
        let (hex, words) = (Security::wpa2("5c".repeat(32)), Security::wpa2("correct horse"));
        assert!(hex.hostapd_lines(false).contains("wpa_psk=5c5c"));
        assert!(words.hostapd_lines(false).contains("wpa_passphrase=correct horse"));
        assert!(!words.hostapd_lines(true).contains("correct horse"));
        assert_eq!(hex.supplicant_variables()[1].1, "5c".repeat(32));
        assert_eq!(words.supplicant_variables()[1].1, "\"correct horse\"");
    }
}
