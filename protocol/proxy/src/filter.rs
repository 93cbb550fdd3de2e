//! What a partner may learn of our network, and what it may set in it.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use homeward_radius::dictionary::{self, homeward, microsoft, standard as s, wispr};

/// Attributes, for a [`Filter`]. As text: a name of the dictionary (`Tunnel-Type`), a type
/// (`64`), a vendor's type (`311:16`), all of a vendor's (`311:*`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Which {
    /// The IETF's of that type.
    Standard(u8),
    /// A vendor's of that type.
    Vendor(u32, u8),
    /// All of a vendor's.
    AllOf(u32),
}

/// A text that names no attribute.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} names no attribute: use a name of the dictionary, a type, or vendor:type or vendor:*"
)]
pub struct WhichError(String);

impl FromStr for Which {
    type Err = WhichError;

    fn from_str(text: &str) -> Result<Self, WhichError> {
        let wrong = || WhichError(text.to_owned());
        if let Some(entry) = dictionary::by_name(text) {
            return Ok(match entry.vendor {
                0 => Self::Standard(entry.kind),
                vendor => Self::Vendor(vendor, entry.kind),
            });
        }
        match text.split_once(':') {
            None => text.parse().map(Self::Standard).map_err(|_| wrong()),
            Some((vendor, kind)) => {
                let vendor = vendor.parse().map_err(|_| wrong())?;
                match kind {
                    "*" => Ok(Self::AllOf(vendor)),
                    _ => kind.parse().map(|kind| Self::Vendor(vendor, kind)).map_err(|_| wrong()),
                }
            }
        }
    }
}

impl fmt::Display for Which {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (vendor, kind) = match *self {
            Self::AllOf(vendor) => return write!(f, "{vendor}:*"),
            Self::Standard(kind) => (0, kind),
            Self::Vendor(vendor, kind) => (vendor, kind),
        };
        match dictionary::vendor_entry(vendor, kind) {
            Some(entry) => f.write_str(entry.name),
            None if vendor == 0 => write!(f, "{kind}"),
            None => write!(f, "{vendor}:{kind}"),
        }
    }
}

/// Bounds of an "integer" attribute in an Access-Accept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Clamp {
    /// The attribute: the IETF's of that type.
    pub kind: u8,
    /// What a smaller value becomes.
    pub at_least: u32,
    /// What a larger value becomes.
    pub at_most: u32,
    /// The value to put in if there is none. For Session-Timeout, where none means no bound.
    pub absent: Option<u32>,
}

impl Clamp {
    /// A Session-Timeout of so many seconds at most, and one in every Access-Accept.
    pub const fn session_timeout(seconds: u32) -> Self {
        Self { kind: s::SESSION_TIMEOUT, at_least: 0, at_most: seconds, absent: Some(seconds) }
    }

    pub(crate) fn apply(&self, value: u32) -> u32 {
        value.max(self.at_least).min(self.at_most)
    }
}

/// Which attributes pass. What the protocol itself needs passes any filter: EAP-Message, State,
/// the Proxy-States of those before us, and the keys of the air.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Filter {
    /// Whether `listed` is what passes, or what does not.
    allow: bool,
    listed: BTreeSet<Which>,
    clamps: Vec<Clamp>,
}

/// What passes any filter: without it there would be no authentication, or no keys.
const NEEDED: [Which; 5] = [
    Which::Standard(s::EAP_MESSAGE),
    Which::Standard(s::STATE),
    Which::Standard(s::PROXY_STATE),
    Which::Vendor(microsoft::VENDOR, microsoft::MPPE_SEND_KEY),
    Which::Vendor(microsoft::VENDOR, microsoft::MPPE_RECV_KEY),
];

impl Filter {
    /// Lets these pass only.
    pub fn only(listed: impl IntoIterator<Item = Which>) -> Self {
        Self { allow: true, listed: listed.into_iter().collect(), clamps: Vec::new() }
    }

    /// Lets all but these pass.
    pub fn all_but(listed: impl IntoIterator<Item = Which>) -> Self {
        Self { allow: false, listed: listed.into_iter().collect(), clamps: Vec::new() }
    }

    /// What a partner may learn: all but Homeward's own attributes.
    pub fn to_partner() -> Self {
        Self::all_but([Which::AllOf(homeward::VENDOR)])
    }

    /// What a partner may set: who it was, how long and how fast, and what the methods of
    /// authentication say. Not where the session is put (VLANs, tunnels, pools, addresses,
    /// routes, filters), not what it may administer (Service-Type), and no vendor's words for
    /// these.
    pub fn from_partner() -> Self {
        let standard = [
            s::USER_NAME,
            s::FRAMED_MTU,
            s::REPLY_MESSAGE,
            s::CLASS,
            s::SESSION_TIMEOUT,
            s::IDLE_TIMEOUT,
            s::TERMINATION_ACTION,
            s::PORT_LIMIT,
            s::PASSWORD_RETRY,
            s::PROMPT,
            s::ACCT_INTERIM_INTERVAL,
            s::CHARGEABLE_USER_IDENTITY,
            s::ERROR_CAUSE,
            s::EAP_KEY_NAME,
            s::BASIC_LOCATION_POLICY_RULES,
            s::EXTENDED_LOCATION_POLICY_RULES,
            s::REQUESTED_LOCATION_INFO,
            s::EAP_PEER_ID,
            s::EAP_SERVER_ID,
        ];
        let microsoft = [
            microsoft::CHAP_ERROR,
            microsoft::MPPE_ENCRYPTION_POLICY,
            microsoft::MPPE_ENCRYPTION_TYPES,
            microsoft::CHAP_DOMAIN,
            microsoft::CHAP_MPPE_KEYS,
            microsoft::CHAP2_SUCCESS,
        ];
        // Bandwidths, minimal and maximal, and the end of the session.
        let wispr = 5..=10;
        Self::only(
            (standard.into_iter().map(Which::Standard))
                .chain(microsoft.map(|kind| Which::Vendor(microsoft::VENDOR, kind)))
                .chain(wispr.map(|kind| Which::Vendor(wispr::VENDOR, kind))),
        )
    }

    /// Lets these pass too.
    #[must_use]
    pub fn allow(mut self, more: impl IntoIterator<Item = Which>) -> Self {
        for which in more {
            if self.allow {
                self.listed.insert(which);
            } else {
                self.listed.remove(&which);
            }
        }
        self
    }

    /// Lets these no longer pass.
    #[must_use]
    pub fn deny(mut self, more: impl IntoIterator<Item = Which>) -> Self {
        for which in more {
            if self.allow {
                self.listed.remove(&which);
            } else {
                self.listed.insert(which);
            }
        }
        self
    }

    /// Bounds an attribute of Access-Accepts; it then passes.
    #[must_use]
    pub fn clamp(mut self, clamp: Clamp) -> Self {
        self.clamps.retain(|c| c.kind != clamp.kind);
        self.clamps.push(clamp);
        self.allow([Which::Standard(clamp.kind)])
    }

    /// Whether the attribute passes.
    pub fn passes(&self, which: Which) -> bool {
        if NEEDED.contains(&which) {
            return true;
        }
        let whole = match which {
            Which::Vendor(vendor, _) => self.listed.contains(&Which::AllOf(vendor)),
            _ => false,
        };
        (whole || self.listed.contains(&which)) == self.allow
    }

    pub(crate) fn clamps(&self) -> &[Clamp] {
        &self.clamps
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn which(text: &str) -> Which {
        text.parse().unwrap()
    }

    #[test]
    fn attributes_are_named_by_the_dictionary_or_by_number() {
        assert_eq!(which("tunnel-type"), Which::Standard(64));
        assert_eq!(which("92"), Which::Standard(92));
        assert_eq!(which("MS-MPPE-Send-Key"), Which::Vendor(311, 16));
        assert_eq!(which("9:1"), Which::Vendor(9, 1));
        assert_eq!(which("9:*"), Which::AllOf(9));
        for text in ["Tunnel-Type", "92", "MS-MPPE-Send-Key", "9:1", "9:*"] {
            assert_eq!(which(text).to_string(), text);
        }
        for text in ["", "Nonsense", "256", "9:", ":1", "9:256", "x:*"] {
            assert!(text.parse::<Which>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_partner_sets_no_vlan_no_address_no_service_and_nothing_of_ours() {
        let filter = Filter::from_partner();
        for text in [
            "Tunnel-Type",
            "Tunnel-Medium-Type",
            "Tunnel-Private-Group-Id",
            "Tunnel-Password",
            "Framed-IP-Address",
            "Framed-Pool",
            "Framed-Route",
            "Filter-Id",
            "Service-Type",
            "92",
            "56",
            "58",
            "Homeward-Network-Id",
            "32473:200",
            "9:1",
            "14988:8",
            "WISPr-Redirection-URL",
        ] {
            assert!(!filter.passes(which(text)), "{text}");
        }
        for text in [
            "EAP-Message",
            "State",
            "Class",
            "User-Name",
            "Session-Timeout",
            "MS-MPPE-Recv-Key",
            "MS-MPPE-Send-Key",
            "Chargeable-User-Identity",
            "WISPr-Bandwidth-Max-Down",
            "Acct-Interim-Interval",
            "MS-CHAP2-Success",
        ] {
            assert!(filter.passes(which(text)), "{text}");
        }
    }

    #[test]
    fn a_partner_learns_nothing_in_words_of_ours() {
        let filter = Filter::to_partner();
        assert!(!filter.passes(which("Homeward-SSID")) && !filter.passes(which("32473:99")));
        assert!(filter.passes(which("Calling-Station-Id")) && filter.passes(which("9:1")));
    }

    #[test]
    fn what_authentication_needs_passes_any_filter() {
        let nothing = Filter::only([]);
        let all_named = Filter::all_but(NEEDED.into_iter().chain([Which::AllOf(311)]));
        for filter in [nothing, all_named] {
            for which in NEEDED {
                assert!(filter.passes(which), "{which}");
            }
            assert!(!filter.passes(Which::Vendor(311, 26)));
        }
    }

    #[test]
    fn a_filter_is_widened_and_narrowed_attribute_by_attribute() {
        let vlan = [which("Tunnel-Type"), which("9:*")];
        let wide = Filter::from_partner().allow(vlan);
        assert!(wide.passes(which("Tunnel-Type")) && wide.passes(which("9:7")));
        let narrow = wide.deny([which("Tunnel-Type"), which("Class")]);
        assert!(!narrow.passes(which("Tunnel-Type")) && !narrow.passes(which("Class")));
        let but = Filter::to_partner().deny(vlan).allow([Which::AllOf(32_473)]);
        assert!(!but.passes(which("9:7")) && but.passes(which("Homeward-SSID")));
    }

    #[test]
    fn a_clamp_bounds_on_both_sides() {
        let clamp = Clamp { kind: 85, at_least: 60, at_most: 600, absent: None };
        assert_eq!([0, 60, 300, 601].map(|v| clamp.apply(v)), [60, 60, 300, 600]);
        assert!(Filter::only([]).clamp(clamp).passes(Which::Standard(85)));
    }
}
