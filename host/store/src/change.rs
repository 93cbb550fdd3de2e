//! What the traits are asked with: `New*` creates (no identifier yet), `*Change` updates (`None`
//! leaves the field as it is), `*Filter` selects (`None` selects all), [`Page`] cuts lists.

use homeward_model::{
    Account, AccountId, ClassId, ClassOfService, Coverage, Days, DeviceId, DeviceKey, GatewayId,
    LoginId, LookupForm, Mac, Nai, Name, Network, NetworkId, Place, Secret, Security, ServiceTerms,
    Site, Ssid, Status, UnixTime, Uses, Verifier,
};

use crate::outbox::{DeviceFacts, GatewayFacts, KeyKind, LoginFacts, VerifierKind};

/// A part of a list: the `limit` records that follow `after` in the order of identifiers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Page<I> {
    /// The last identifier of the page before; `None` begins.
    pub after: Option<I>,
    /// How many records at most. A page with fewer is the last.
    pub limit: u32,
}

impl<I> Page<I> {
    /// The first page.
    pub const fn first(limit: u32) -> Self {
        Self { after: None, limit }
    }

    /// The page that follows the record `after`.
    pub const fn after(after: I, limit: u32) -> Self {
        Self { after: Some(after), limit }
    }
}

/// A class of service to create.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewClass {
    /// Its name, unique.
    pub name: Name,
    /// Where it is valid.
    pub coverage: Coverage,
    /// What a device under it is granted. A quota is at most 2⁶³ − 1 octets.
    pub terms: ServiceTerms,
    /// How long what is recorded of its sessions is kept; `None` leaves it to the ledger.
    pub retention: Option<Days>,
}

/// What to change in a class of service.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ClassChange {
    /// Its name.
    pub name: Option<Name>,
    /// Where it is valid.
    pub coverage: Option<Coverage>,
    /// What is granted, as a whole.
    pub terms: Option<ServiceTerms>,
    /// How long what is recorded of its sessions is kept.
    pub retention: Option<Option<Days>>,
}

/// An account to create.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewAccount {
    /// The operator's own name for it, unique.
    pub name: Name,
    /// The class of service it pays for.
    pub class: ClassId,
    /// Whether it is in force.
    pub status: Status,
}

/// What to change in an account.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AccountChange {
    /// Its name.
    pub name: Option<Name>,
    /// The class of service it pays for.
    pub class: Option<ClassId>,
    /// Whether it is in force.
    pub status: Option<Status>,
}

/// Which accounts to list.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AccountFilter {
    /// Those that pay for this class of service.
    pub class: Option<ClassId>,
    /// Those of this status.
    pub status: Option<Status>,
}

/// A gateway to create.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewGateway {
    /// Its name, unique.
    pub name: Name,
    /// Its MAC address, unique.
    pub mac: Mac,
    /// Where it stands.
    pub place: Place,
    /// Whose it is.
    pub operator: Name,
    /// The source of its RADIUS packets: an IP address or a prefix in CIDR form, unique; kept in
    /// canonical form (`10.0.0.1/32` as `10.0.0.1`).
    pub address: Option<String>,
    /// The RADIUS secret, 1 to 255 octets; may be empty while there is no address.
    pub radius_secret: Secret,
    /// How it puts its question.
    pub lookup: LookupForm,
    /// Whether it is in force.
    pub status: Status,
    /// The home network, if it is no gateway for others but a hybrid device: then it has neither
    /// address nor secret, and `mac` is its virtual interface's. It never changes.
    pub device_of: Option<NetworkId>,
    /// Where it is heard; a hybrid device is nowhere.
    pub site: Option<Site>,
}

/// What to change in a gateway.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct GatewayChange {
    /// Its name.
    pub name: Option<Name>,
    /// Its MAC address.
    pub mac: Option<Mac>,
    /// Where it stands.
    pub place: Option<Place>,
    /// Whose it is.
    pub operator: Option<Name>,
    /// The source of its RADIUS packets; `Some(None)` takes it away.
    pub address: Option<Option<String>>,
    /// The RADIUS secret.
    pub radius_secret: Option<Secret>,
    /// How it puts its question.
    pub lookup: Option<LookupForm>,
    /// Whether it is in force.
    pub status: Option<Status>,
    /// Where it is heard; `Some(None)` takes it off the map.
    pub site: Option<Option<Site>>,
}

/// Which gateways to list.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct GatewayFilter {
    /// Those of this operator.
    pub operator: Option<Name>,
    /// Those of this status.
    pub status: Option<Status>,
    /// Those that are hybrid devices of this network.
    pub device_of: Option<NetworkId>,
}

/// A network to create.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewNetwork {
    /// Whose it is.
    pub account: AccountId,
    /// The home gateway; `None` for a subscriber without one.
    pub gateway: Option<GatewayId>,
    /// Its SSID, unique within the account.
    pub ssid: Ssid,
    /// Its security.
    pub security: Security,
    /// Whether it is in force.
    pub status: Status,
}

/// What to change in a network.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct NetworkChange {
    /// The home gateway; `Some(None)` takes it away.
    pub gateway: Option<Option<GatewayId>>,
    /// Its SSID.
    pub ssid: Option<Ssid>,
    /// Its security.
    pub security: Option<Security>,
    /// Whether it is in force.
    pub status: Option<Status>,
}

/// Which networks to list.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct NetworkFilter {
    /// Those of this account.
    pub account: Option<AccountId>,
    /// Those behind this gateway.
    pub gateway: Option<GatewayId>,
    /// Those with this SSID.
    pub ssid: Option<Ssid>,
    /// Those of this status.
    pub status: Option<Status>,
}

/// A device to create.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewDevice {
    /// The network it is at home in.
    pub network: NetworkId,
    /// The MAC address it uses there, unique within the network; no group address.
    pub mac: Mac,
    /// Its own key, complete. `None` only where the network is 802.1X; with a passphrase where it
    /// is WPA3-SAE only.
    pub key: Option<DeviceKey>,
    /// What its owner calls it: at most 128 characters, none of them a control character.
    pub label: String,
    /// Whether it is in force.
    pub status: Status,
}

/// What to change in a device.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DeviceChange {
    /// The MAC address it uses.
    pub mac: Option<Mac>,
    /// Its own key; `Some(None)` takes it away.
    pub key: Option<Option<DeviceKey>>,
    /// What its owner calls it.
    pub label: Option<String>,
    /// Whether it is in force.
    pub status: Option<Status>,
}

/// Which devices to list.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DeviceFilter {
    /// Those of this account.
    pub account: Option<AccountId>,
    /// Those of this network.
    pub network: Option<NetworkId>,
    /// Those with this MAC address.
    pub mac: Option<Mac>,
    /// Those of this status.
    pub status: Option<Status>,
}

/// A log-in to create.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewLogin {
    /// Who pays.
    pub account: AccountId,
    /// The name, unique.
    pub name: Nai,
    /// What its password is held against.
    pub verifier: Verifier,
    /// The one station that may use it; no group address.
    pub mac: Option<Mac>,
    /// Until when it is good.
    pub expires: Option<UnixTime>,
    /// How often it may be used.
    pub uses: Uses,
    /// What it is called: at most 128 characters, none of them a control character.
    pub label: String,
    /// Whether it is in force.
    pub status: Status,
}

/// What to change in a log-in.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LoginChange {
    /// The name.
    pub name: Option<Nai>,
    /// What its password is held against.
    pub verifier: Option<Verifier>,
    /// The one station that may use it; `Some(None)`: any.
    pub mac: Option<Option<Mac>>,
    /// Until when it is good; `Some(None)`: for life.
    pub expires: Option<Option<UnixTime>>,
    /// What it is called.
    pub label: Option<String>,
    /// Whether it is in force.
    pub status: Option<Status>,
}

/// Which log-ins to list.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LoginFilter {
    /// Those of this account.
    pub account: Option<AccountId>,
    /// Those that only this station may use.
    pub mac: Option<Mac>,
    /// Those of this status.
    pub status: Option<Status>,
}

/// `status(…)`: the change that suspends or resumes.
macro_rules! changes {
    ($($change:ty),+) => { $(
        impl $change {
            /// Suspends or resumes, and leaves the rest.
            pub fn status(status: Status) -> Self {
                Self { status: Some(status), ..Self::default() }
            }
        }
    )+ };
}

pub(crate) use changes;

changes!(AccountChange, GatewayChange, NetworkChange, DeviceChange, LoginChange);

/// Sets each field of `$record` that `$change` has a value for.
macro_rules! set {
    ($record:ident, $change:ident: $($field:ident),+) => { $(
        if let Some(value) = &$change.$field {
            $record.$field = value.clone();
        }
    )+ };
}

pub(crate) use set;

impl NewGateway {
    pub(crate) fn facts(&self, id: GatewayId) -> GatewayFacts {
        let Self {
            name,
            mac,
            place,
            operator,
            address,
            radius_secret: _,
            lookup,
            status,
            device_of,
            site,
        } = self.clone();
        GatewayFacts { id, name, mac, place, operator, address, lookup, status, device_of, site }
    }
}

impl NewNetwork {
    pub(crate) fn record(&self, id: NetworkId) -> Network {
        let Self { account, gateway, ssid, security, status } = self.clone();
        Network { id, account, gateway, ssid, security, status }
    }
}

impl NewDevice {
    pub(crate) fn facts(&self, id: DeviceId) -> DeviceFacts {
        DeviceFacts {
            id,
            network: self.network,
            mac: self.mac,
            key: KeyKind::of(self.key.as_ref()),
            label: self.label.clone(),
            status: self.status,
        }
    }
}

impl NewLogin {
    pub(crate) fn facts(&self, id: LoginId) -> LoginFacts {
        let Self { account, name, verifier, mac, expires, uses, label, status } = self.clone();
        let verifier = VerifierKind::of(&verifier);
        LoginFacts { id, account, name, verifier, mac, expires, uses, label, status }
    }
}

impl ClassChange {
    pub(crate) fn apply(&self, class: &mut ClassOfService) {
        set!(class, self: name, coverage, terms, retention);
    }
}

impl AccountChange {
    pub(crate) fn apply(&self, account: &mut Account) {
        set!(account, self: name, class, status);
    }
}

impl GatewayChange {
    /// All but the secret.
    pub(crate) fn apply(&self, gateway: &mut GatewayFacts) {
        set!(gateway, self: name, mac, place, operator, address, lookup, status, site);
    }
}

impl NetworkChange {
    pub(crate) fn apply(&self, network: &mut Network) {
        set!(network, self: gateway, ssid, security, status);
    }
}

impl DeviceChange {
    /// All but the key itself.
    pub(crate) fn apply(&self, device: &mut DeviceFacts) {
        set!(device, self: mac, label, status);
        if let Some(key) = &self.key {
            device.key = KeyKind::of(key.as_ref());
        }
    }
}

impl LoginChange {
    /// All but the verifier itself.
    pub(crate) fn apply(&self, login: &mut LoginFacts) {
        set!(login, self: name, mac, expires, label, status);
        if let Some(verifier) = &self.verifier {
            login.verifier = VerifierKind::of(verifier);
        }
    }
}
