//! The outbox: what every mutation leaves behind for those who keep a projection.
//!
//! A record in the outbox carries no key and no secret, not even sealed: it says that and of
//! which kind there is one, and who needs it reads the record itself. So a revoked key does not
//! live on in history, and a rotation of the sealing key leaves the outbox alone.

use std::fmt;

use homeward_model::{
    Account, AccountId, ClassOfService, Device, DeviceId, DeviceKey, Gateway, GatewayId, Login,
    LoginId, LookupForm, Mac, Nai, Name, Network, NetworkId, Place, Secret, Site, Status,
    Subscriber, UnixTime, Uses, Verifier,
};
use serde::{Deserialize, Serialize};

use crate::error::{Entity, Error, Result};
use crate::policy::StoredPolicy;

/// The number of an outbox entry: rises with every entry, in the order of commits.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Seq(pub i64);

impl Seq {
    /// Before the first entry.
    pub const ZERO: Self = Self(0);
}

impl fmt::Display for Seq {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What was done to a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Operation {
    /// It was made.
    Create,
    /// It was changed; a suspension is a change of status.
    Update,
    /// It was deleted.
    Delete,
}

impl Operation {
    /// All operations.
    pub const ALL: [Self; 3] = [Self::Create, Self::Update, Self::Delete];

    /// The word for logs and the database.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Update => "update",
            Self::Delete => "delete",
        }
    }
}

/// One mutation of one record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutboxEntry {
    /// Its number.
    pub seq: Seq,
    /// What was done.
    pub operation: Operation,
    /// The record as it is since, or, if it was deleted, as it was.
    pub record: OutboxRecord,
    /// When.
    pub time: UnixTime,
}

/// A record without its secrets.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum OutboxRecord {
    /// A class of service.
    Class(ClassOfService),
    /// An account.
    Account(Account),
    /// A gateway.
    Gateway(GatewayFacts),
    /// A network.
    Network(Network),
    /// A device.
    Device(DeviceFacts),
    /// A log-in.
    Login(LoginFacts),
    /// A subscriber.
    Subscriber(Subscriber),
    /// A policy.
    Policy(StoredPolicy),
}

impl OutboxRecord {
    /// What kind of record it is.
    pub const fn entity(&self) -> Entity {
        match self {
            Self::Class(_) => Entity::Class,
            Self::Account(_) => Entity::Account,
            Self::Gateway(_) => Entity::Gateway,
            Self::Network(_) => Entity::Network,
            Self::Device(_) => Entity::Device,
            Self::Login(_) => Entity::Login,
            Self::Subscriber(_) => Entity::Subscriber,
            Self::Policy(_) => Entity::Policy,
        }
    }

    /// Its identifier among the records of its kind.
    pub const fn id(&self) -> i64 {
        match self {
            Self::Class(class) => class.id.0,
            Self::Account(account) => account.id.0,
            Self::Gateway(gateway) => gateway.id.0,
            Self::Network(network) => network.id.0,
            Self::Device(device) => device.id.0,
            Self::Login(login) => login.id.0,
            Self::Subscriber(subscriber) => subscriber.id.0,
            Self::Policy(policy) => policy.id,
        }
    }

    /// The JSON that is stored.
    pub(crate) fn to_json(&self) -> Result<String> {
        serde_json::to_string(self).map_err(|e| Error::corrupt(self.entity(), self.id(), e))
    }

    /// Reads what [`to_json`](Self::to_json) wrote.
    pub(crate) fn from_json(entity: Entity, id: i64, json: &str) -> Result<Self> {
        let record = match entity {
            Entity::Class => serde_json::from_str(json).map(Self::Class),
            Entity::Account => serde_json::from_str(json).map(Self::Account),
            Entity::Gateway => serde_json::from_str(json).map(Self::Gateway),
            Entity::Network => serde_json::from_str(json).map(Self::Network),
            Entity::Device => serde_json::from_str(json).map(Self::Device),
            Entity::Login => serde_json::from_str(json).map(Self::Login),
            Entity::Subscriber => serde_json::from_str(json).map(Self::Subscriber),
            Entity::Policy => serde_json::from_str(json).map(Self::Policy),
        };
        record.map_err(|e| Error::corrupt(entity, id, e))
    }
}

/// A [`Gateway`] without its RADIUS secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GatewayFacts {
    /// Its key in the datastore.
    pub id: GatewayId,
    /// Its name.
    pub name: Name,
    /// Its MAC address.
    pub mac: Mac,
    /// Where it stands.
    pub place: Place,
    /// Whose it is.
    pub operator: Name,
    /// The source of its RADIUS packets, in canonical form.
    pub address: Option<String>,
    /// How it puts its question.
    pub lookup: LookupForm,
    /// Whether it is in force.
    pub status: Status,
    /// The home network of a hybrid device, which is no gateway for others.
    #[serde(default)]
    pub device_of: Option<NetworkId>,
    /// Where it is heard.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub site: Option<Site>,
}

impl GatewayFacts {
    /// Which device it is, of which network, if it is a hybrid device.
    pub fn device(&self) -> Option<(NetworkId, Mac)> {
        self.device_of.map(|network| (network, self.mac))
    }

    /// The gateway that has these facts and that secret.
    pub fn with_secret(self, radius_secret: Secret) -> Gateway {
        let Self { id, name, mac, place, operator, address, lookup, status, device_of, site } =
            self;
        Gateway {
            id,
            name,
            mac,
            place,
            operator,
            address,
            radius_secret,
            lookup,
            status,
            device_of,
            site,
        }
    }
}

impl From<&Gateway> for GatewayFacts {
    fn from(gateway: &Gateway) -> Self {
        Self {
            id: gateway.id,
            name: gateway.name.clone(),
            mac: gateway.mac,
            place: gateway.place.clone(),
            operator: gateway.operator.clone(),
            address: gateway.address.clone(),
            lookup: gateway.lookup,
            status: gateway.status,
            device_of: gateway.device_of,
            site: gateway.site,
        }
    }
}

/// A [`Device`] without its key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceFacts {
    /// Its key in the datastore.
    pub id: DeviceId,
    /// The network it is at home in.
    pub network: NetworkId,
    /// The MAC address it uses there.
    pub mac: Mac,
    /// What kind of key it has.
    pub key: KeyKind,
    /// What its owner calls it.
    pub label: String,
    /// Whether it is in force.
    pub status: Status,
}

impl DeviceFacts {
    /// The device that has these facts and that key.
    pub fn with_key(self, key: Option<DeviceKey>) -> Device {
        let Self { id, network, mac, key: _, label, status } = self;
        Device { id, network, mac, key, label, status }
    }
}

impl From<&Device> for DeviceFacts {
    fn from(device: &Device) -> Self {
        Self {
            id: device.id,
            network: device.network,
            mac: device.mac,
            key: KeyKind::of(device.key.as_ref()),
            label: device.label.clone(),
            status: device.status,
        }
    }
}

/// What kind of key a device has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum KeyKind {
    /// None: 802.1X.
    None,
    /// A passphrase and the PSK made of it.
    Passphrase,
    /// A raw PSK.
    Psk,
}

impl KeyKind {
    /// All kinds.
    pub const ALL: [Self; 3] = [Self::None, Self::Passphrase, Self::Psk];

    /// The kind of that key.
    pub const fn of(key: Option<&DeviceKey>) -> Self {
        match key {
            None => Self::None,
            Some(DeviceKey::Passphrase { .. }) => Self::Passphrase,
            Some(DeviceKey::Psk(_)) => Self::Psk,
        }
    }

    /// The word for the database.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Passphrase => "passphrase",
            Self::Psk => "psk",
        }
    }
}

/// A [`Login`] without its verifier.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LoginFacts {
    /// Its key in the datastore.
    pub id: LoginId,
    /// Who pays.
    pub account: AccountId,
    /// The name.
    pub name: Nai,
    /// What kind of verifier it has.
    pub verifier: VerifierKind,
    /// The one station that may use it.
    pub mac: Option<Mac>,
    /// Until when it is good, in milliseconds since 1970.
    pub expires: Option<UnixTime>,
    /// How often it may be used.
    #[serde(default)]
    pub uses: Uses,
    /// What it is called.
    pub label: String,
    /// Whether it is in force.
    pub status: Status,
}

impl LoginFacts {
    /// The log-in that has these facts and that verifier.
    pub fn with_verifier(self, verifier: Verifier) -> Login {
        let Self { id, account, name, verifier: _, mac, expires, uses, label, status } = self;
        Login { id, account, name, verifier, mac, expires, uses, label, status }
    }
}

impl From<&Login> for LoginFacts {
    fn from(login: &Login) -> Self {
        Self {
            id: login.id,
            account: login.account,
            name: login.name.clone(),
            verifier: VerifierKind::of(&login.verifier),
            mac: login.mac,
            expires: login.expires,
            uses: login.uses,
            label: login.label.clone(),
            status: login.status,
        }
    }
}

/// What kind of verifier a log-in has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum VerifierKind {
    /// An NT hash.
    NtHash,
    /// The password itself.
    Password,
    /// An Argon2id hash.
    Argon2id,
}

impl VerifierKind {
    /// All kinds.
    pub const ALL: [Self; 3] = [Self::NtHash, Self::Password, Self::Argon2id];

    /// The kind of that verifier.
    pub const fn of(verifier: &Verifier) -> Self {
        match verifier {
            Verifier::NtHash(_) => Self::NtHash,
            Verifier::Password(_) => Self::Password,
            Verifier::Argon2id(_) => Self::Argon2id,
        }
    }

    /// The word for the database.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NtHash => "nt-hash",
            Self::Password => "password",
            Self::Argon2id => "argon2id",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_survives_its_json_and_says_nothing_of_its_key() {
        let facts = DeviceFacts {
            id: DeviceId(7),
            network: NetworkId(3),
            mac: Mac::new([2, 0, 0, 0, 0, 1]),
            key: KeyKind::Psk,
            label: "phone".to_owned(),
            status: Status::Suspended,
        };
        let record = OutboxRecord::Device(facts);
        let json = record.to_json().unwrap();
        assert_eq!(
            json,
            r#"{"id":7,"network":3,"mac":"02:00:00:00:00:01","key":"psk","label":"phone","status":"suspended"}"#
        );
        assert_eq!(OutboxRecord::from_json(Entity::Device, 7, &json).unwrap(), record);
    }

    #[test]
    fn a_payload_of_another_kind_is_refused_by_name() {
        let error = OutboxRecord::from_json(Entity::Device, 7, "{}").unwrap_err();
        assert_eq!(error.to_string(), "device 7 in the datastore cannot be read");
    }
}
