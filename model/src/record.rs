//! The records of the roaming datastore (R16).

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::service::words;
use crate::{ClassOfService, DeviceKey, Mac, Name, Place, Secret, Site, Ssid};

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident),+) => { $(
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub i64);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    )+ };
}

ids!(
    /// Key of an [`Account`].
    AccountId,
    /// Key of a [`Gateway`].
    GatewayId,
    /// Key of a [`Network`].
    NetworkId,
    /// Key of a [`Device`].
    DeviceId,
    /// Key of a [`ClassOfService`].
    ClassId,
    /// Key of a [`Login`](crate::Login).
    LoginId,
    /// Key of a [`Subscriber`](crate::Subscriber).
    SubscriberId
);

/// Whether a record is in force.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// In force.
    #[default]
    Active,
    /// Kept, but nothing is granted on it.
    Suspended,
}

words!(Status, "a status", "active, suspended", Status::Active => "active", Status::Suspended => "suspended");

/// A subscriber's account: what billing knows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Account {
    /// Its key in the datastore.
    pub id: AccountId,
    /// The operator's own name for it (customer number, log-in), unique.
    pub name: Name,
    /// The class of service it pays for.
    pub class: ClassId,
    /// Whether it is in force.
    pub status: Status,
}

/// A gateway (or third-party access point): it asks, and homes stand behind it. Or a hybrid device,
/// which is a gateway to itself and to nobody else.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gateway {
    /// Its key in the datastore.
    pub id: GatewayId,
    /// Its name, unique; the NAS-Identifier of its requests.
    pub name: Name,
    /// Its MAC address, unique (R16).
    pub mac: Mac,
    /// Where it stands.
    pub place: Place,
    /// Whose it is.
    pub operator: Name,
    /// The source address of its RADIUS packets, an IP address or prefix in CIDR form; the most
    /// specific match wins. `None`: it asks nothing.
    pub address: Option<String>,
    /// The RADIUS secret it shares with the core.
    pub radius_secret: Secret,
    /// How it puts its question.
    pub lookup: LookupForm,
    /// Whether it is in force; a suspended gateway's requests are refused.
    pub status: Status,
    /// It is no gateway for others but a hybrid device of that home network (R10); `mac` is then the
    /// address of its virtual interface.
    pub device_of: Option<NetworkId>,
    /// Where it is heard, where hybrid devices may know (R11); `None`: it is on no map.
    pub site: Option<Site>,
}

/// How a RADIUS client puts a look-up into an Access-Request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LookupForm {
    /// User-Name = MAC, User-Password = SSID (R3): our gateways.
    #[default]
    Homeward,
    /// User-Name = User-Password = MAC, SSID behind the colon of Called-Station-Id: stock
    /// hostapd with `macaddr_acl=2` and `wpa_psk_radius=2`.
    Hostapd,
}

words!(LookupForm, "a look-up form", "homeward, hostapd",
    LookupForm::Homeward => "homeward", LookupForm::Hostapd => "hostapd");

/// A home network: an SSID, its security, and the gateway it lives behind.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Network {
    /// Its key in the datastore.
    pub id: NetworkId,
    /// Whose it is.
    pub account: AccountId,
    /// The home gateway; `None` for a subscriber without one.
    pub gateway: Option<GatewayId>,
    /// Its SSID. Different homes may have the same.
    pub ssid: Ssid,
    /// Its security.
    pub security: Security,
    /// Whether it is in force.
    pub status: Status,
}

/// How a network authenticates its devices.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Security {
    /// WPA2-Personal.
    #[serde(rename = "wpa2-psk")]
    Wpa2Psk,
    /// WPA3-Personal.
    #[serde(rename = "wpa3-sae")]
    Wpa3Sae,
    /// WPA3-Personal transition mode: either of the two.
    #[serde(rename = "wpa2-wpa3")]
    Wpa2Wpa3,
    /// WPA-Enterprise.
    #[serde(rename = "802.1x")]
    Enterprise,
}

words!(Security, "a security", "wpa2-psk, wpa3-sae, wpa2-wpa3, 802.1x",
    Security::Wpa2Psk => "wpa2-psk", Security::Wpa3Sae => "wpa3-sae",
    Security::Wpa2Wpa3 => "wpa2-wpa3", Security::Enterprise => "802.1x");

impl Security {
    /// Whether a device may authenticate with WPA2-PSK.
    pub const fn allows_psk(self) -> bool {
        matches!(self, Self::Wpa2Psk | Self::Wpa2Wpa3)
    }

    /// Whether a device may authenticate with WPA3-SAE.
    pub const fn allows_sae(self) -> bool {
        matches!(self, Self::Wpa3Sae | Self::Wpa2Wpa3)
    }
}

/// A device of a home network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Device {
    /// Its key in the datastore.
    pub id: DeviceId,
    /// The network it is at home in.
    pub network: NetworkId,
    /// The MAC address it uses there. A MAC may be at home in several networks.
    pub mac: Mac,
    /// Its own key; `None` where the network is 802.1X.
    pub key: Option<DeviceKey>,
    /// What its owner calls it.
    pub label: String,
    /// Whether it is in force; a lost device is suspended or deleted.
    pub status: Status,
}

/// What a look-up needs, joined: the roaming record (R16).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoamingRecord {
    /// The device.
    pub device: Device,
    /// Its network.
    pub network: Network,
    /// The account that pays.
    pub account: Account,
    /// What the account pays for.
    pub class: ClassOfService,
    /// The home gateway, where there is one.
    pub home: Option<Gateway>,
}
