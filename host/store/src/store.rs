//! What a datastore does.
//!
//! [`Store`] is the sum of small traits, all of them object-safe: hold an
//! `Arc<dyn Store>`. Each mutation is one transaction together with its outbox entries. "Not
//! found" is `Ok(None)` on reads and `Ok(false)` on deletions; a change to a record that is not
//! there is [`Error::NoSuch`].

use async_trait::async_trait;
use homeward_model::{
    Account, AccountId, ClassId, ClassOfService, Device, DeviceId, Gateway, GatewayId, Login,
    LoginId, Mac, Nai, Name, Network, NetworkId, RoamingRecord, Ssid, UnixTime,
};
use homeward_seal::KeyId;

use crate::audit::Audit;
use crate::bearers::Bearers;
use crate::change::{
    AccountChange, AccountFilter, ClassChange, DeviceChange, DeviceFilter, GatewayChange,
    GatewayFilter, LoginChange, LoginFilter, NetworkChange, NetworkFilter, NewAccount, NewClass,
    NewDevice, NewGateway, NewLogin, NewNetwork, Page,
};
use crate::enrolment::Enrolment;
use crate::error::{Entity, Error, Result};
use crate::issuing::Issuing;
use crate::moves::Moves;
use crate::outbox::{OutboxEntry, Seq};
use crate::policy::Policies;
use crate::subscriber::Subscribers;

/// The whole roaming datastore.
pub trait Store:
    Classes
    + Accounts
    + Gateways
    + Networks
    + Devices
    + Logins
    + Roaming
    + Enrolment
    + Moves
    + Subscribers
    + Policies
    + Issuing
    + Bearers
    + Audit
    + Outbox
    + Keys
{
}

impl<S> Store for S where
    S: Classes
        + Accounts
        + Gateways
        + Networks
        + Devices
        + Logins
        + Roaming
        + Enrolment
        + Moves
        + Subscribers
        + Policies
        + Issuing
        + Bearers
        + Audit
        + Outbox
        + Keys
        + ?Sized
{
}

/// What becomes of the records that hang on a deleted one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Dependents {
    /// The deletion is refused with [`Error::Referenced`].
    #[default]
    Refuse,
    /// They are deleted too, in the same transaction, each with an outbox entry of its own,
    /// devices before their network and networks before their account.
    Delete,
}

/// Classes of service.
#[async_trait]
pub trait Classes: Send + Sync {
    /// Creates a class of service; its name must be free.
    async fn create_class(&self, new: &NewClass) -> Result<ClassOfService>;
    /// Changes a class of service.
    async fn update_class(&self, id: ClassId, change: &ClassChange) -> Result<ClassOfService>;
    /// The class of service with that identifier.
    async fn class(&self, id: ClassId) -> Result<Option<ClassOfService>>;
    /// The class of service with that name.
    async fn class_named(&self, name: &Name) -> Result<Option<ClassOfService>>;
    /// Classes of service in the order of their identifiers.
    async fn classes(&self, page: Page<ClassId>) -> Result<Vec<ClassOfService>>;
    /// Deletes a class of service, and its policy; refused while an account pays for it.
    async fn delete_class(&self, id: ClassId) -> Result<bool>;

    /// [`class_named`](Self::class_named) for a command that cannot go on without it: what is
    /// missing is [`Error::NoSuchName`], which tells how to create it.
    async fn require_class(&self, name: &Name) -> Result<ClassOfService> {
        let found = self.class_named(name).await?;
        found.ok_or_else(|| Error::NoSuchName { entity: Entity::Class, name: name.clone() })
    }
}

/// Accounts.
#[async_trait]
pub trait Accounts: Send + Sync {
    /// Creates an account; its name must be free and its class of service exist.
    async fn create_account(&self, new: &NewAccount) -> Result<Account>;
    /// Changes an account.
    async fn update_account(&self, id: AccountId, change: &AccountChange) -> Result<Account>;
    /// The account with that identifier.
    async fn account(&self, id: AccountId) -> Result<Option<Account>>;
    /// The account with that name.
    async fn account_named(&self, name: &Name) -> Result<Option<Account>>;
    /// Accounts that pass the filter, in the order of their identifiers.
    async fn accounts(&self, filter: &AccountFilter, page: Page<AccountId>)
    -> Result<Vec<Account>>;
    /// Deletes an account; what hangs on it are its networks and their devices, hybrid ones among
    /// them, its log-ins and its subscribers.
    async fn delete_account(&self, id: AccountId, dependents: Dependents) -> Result<bool>;

    /// [`account_named`](Self::account_named) for a command that cannot go on without it.
    async fn require_account(&self, name: &Name) -> Result<Account> {
        let found = self.account_named(name).await?;
        found.ok_or_else(|| Error::NoSuchName { entity: Entity::Account, name: name.clone() })
    }
}

/// Gateways.
#[async_trait]
pub trait Gateways: Send + Sync {
    /// Creates a gateway; its name, its MAC address and its source address must be free. The home
    /// network of a hybrid device must exist.
    async fn create_gateway(&self, new: &NewGateway) -> Result<Gateway>;
    /// Changes a gateway.
    async fn update_gateway(&self, id: GatewayId, change: &GatewayChange) -> Result<Gateway>;
    /// The gateway with that identifier.
    async fn gateway(&self, id: GatewayId) -> Result<Option<Gateway>>;
    /// The gateway with that name.
    async fn gateway_named(&self, name: &Name) -> Result<Option<Gateway>>;
    /// The gateway with that MAC address.
    async fn gateway_with_mac(&self, mac: Mac) -> Result<Option<Gateway>>;
    /// Gateways that pass the filter, in the order of their identifiers.
    async fn gateways(&self, filter: &GatewayFilter, page: Page<GatewayId>)
    -> Result<Vec<Gateway>>;
    /// Deletes a gateway; refused while a network is at home behind it.
    async fn delete_gateway(&self, id: GatewayId) -> Result<bool>;

    /// [`gateway_named`](Self::gateway_named) for a command that cannot go on without it.
    async fn require_gateway(&self, name: &Name) -> Result<Gateway> {
        let found = self.gateway_named(name).await?;
        found.ok_or_else(|| Error::NoSuchName { entity: Entity::Gateway, name: name.clone() })
    }
}

/// Networks.
#[async_trait]
pub trait Networks: Send + Sync {
    /// Creates a network; its account and gateway must exist, the gateway must be no hybrid device,
    /// and the account must have no other network with that SSID.
    async fn create_network(&self, new: &NewNetwork) -> Result<Network>;
    /// Changes a network. The SSID stays while a device's PSK was made of a passphrase and the
    /// SSID; a security stays within what the keys of its devices are good for.
    async fn update_network(&self, id: NetworkId, change: &NetworkChange) -> Result<Network>;
    /// The network with that identifier.
    async fn network(&self, id: NetworkId) -> Result<Option<Network>>;
    /// The account's network with that SSID.
    async fn network_of(&self, account: AccountId, ssid: Ssid) -> Result<Option<Network>>;
    /// Networks that pass the filter, in the order of their identifiers.
    async fn networks(&self, filter: &NetworkFilter, page: Page<NetworkId>)
    -> Result<Vec<Network>>;
    /// Deletes a network; what hangs on it are its devices, and the gateways that are hybrid devices
    /// of it, with their credentials.
    async fn delete_network(&self, id: NetworkId, dependents: Dependents) -> Result<bool>;
}

/// Devices.
#[async_trait]
pub trait Devices: Send + Sync {
    /// Creates a device; its network must exist and have no other device with that MAC address.
    async fn create_device(&self, new: &NewDevice) -> Result<Device>;
    /// Creates many devices in one transaction: all, or none and [`Error::Batch`], which counts
    /// from 0. What an import uses, some thousands at a time: each transaction waits for the disk,
    /// and other writers wait for the transaction.
    async fn create_devices(&self, new: &[NewDevice]) -> Result<Vec<Device>>;
    /// Changes a device.
    async fn update_device(&self, id: DeviceId, change: &DeviceChange) -> Result<Device>;
    /// The device with that identifier.
    async fn device(&self, id: DeviceId) -> Result<Option<Device>>;
    /// The network's device with that MAC address.
    async fn device_in(&self, network: NetworkId, mac: Mac) -> Result<Option<Device>>;
    /// Devices with that MAC address in the networks with that SSID, in the order of their
    /// identifiers: a MAC address may be at home in several networks, and several homes may have
    /// the same SSID.
    async fn devices_at(&self, mac: Mac, ssid: Ssid) -> Result<Vec<Device>>;
    /// Devices that pass the filter, in the order of their identifiers.
    async fn devices(&self, filter: &DeviceFilter, page: Page<DeviceId>) -> Result<Vec<Device>>;
    /// Deletes a device.
    async fn delete_device(&self, id: DeviceId) -> Result<bool>;
}

/// Log-ins.
#[async_trait]
pub trait Logins: Send + Sync {
    /// Creates a log-in; its account must exist and its name be free.
    async fn create_login(&self, new: &NewLogin) -> Result<Login>;
    /// Creates many log-ins in one transaction, as [`Devices::create_devices`] does devices.
    async fn create_logins(&self, new: &[NewLogin]) -> Result<Vec<Login>>;
    /// Changes a log-in.
    async fn update_login(&self, id: LoginId, change: &LoginChange) -> Result<Login>;
    /// The log-in with that identifier.
    async fn login(&self, id: LoginId) -> Result<Option<Login>>;
    /// The log-in with that name.
    async fn login_named(&self, name: &Nai) -> Result<Option<Login>>;
    /// Log-ins that pass the filter, in the order of their identifiers.
    async fn logins(&self, filter: &LoginFilter, page: Page<LoginId>) -> Result<Vec<Login>>;
    /// Deletes a log-in.
    async fn delete_login(&self, id: LoginId) -> Result<bool>;
}

/// Which roaming records to load.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// All of them.
    All,
    /// Those of one class of service.
    Class(ClassId),
    /// Those of one account.
    Account(AccountId),
    /// Those at home behind one gateway.
    Gateway(GatewayId),
    /// Those of one network.
    Network(NetworkId),
    /// The one of one device.
    Device(DeviceId),
}

/// Roaming records: device, network, account, class of service and home gateway, joined (R16).
/// Suspended ones are included; who grants decides on the statuses.
#[async_trait]
pub trait Roaming: Send + Sync {
    /// The records of that MAC address under that SSID, in the order of their devices'
    /// identifiers.
    async fn roaming_record(&self, mac: Mac, ssid: Ssid) -> Result<Vec<RoamingRecord>>;
    /// The records in the scope, in the order of their devices' identifiers. A page of 10,000 is
    /// a good size for loading a projection.
    async fn roaming_records(
        &self,
        scope: Scope,
        page: Page<DeviceId>,
    ) -> Result<Vec<RoamingRecord>>;
}

/// The outbox: every mutation in the order of its commit.
#[async_trait]
pub trait Outbox: Send + Sync {
    /// At most `limit` entries after `after`, oldest first. [`Error::OutboxPruned`] if entries
    /// after `after` are gone: then the projection is to be loaded anew.
    async fn outbox_after(&self, after: Seq, limit: u32) -> Result<Vec<OutboxEntry>>;
    /// The number of the newest entry ever written; [`Seq::ZERO`] before the first.
    async fn outbox_head(&self) -> Result<Seq>;
    /// Forgets the oldest entries, up to the first one written at `before` or later; returns how
    /// many.
    async fn prune_outbox(&self, before: UnixTime) -> Result<u64>;
    /// Waits until the head is beyond `after` and returns it, no later than 200 ms after the
    /// commit, whichever process committed. May be dropped at any time.
    async fn changed(&self, after: Seq) -> Result<Seq>;
}

/// What a rotation of the sealing key did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rotation {
    /// The key that seals from now on; `None` where nothing is sealed (in memory).
    pub key: Option<KeyId>,
    /// How many sealed values were sealed anew.
    pub resealed: u64,
}

/// The keys that seal the secrets at rest.
#[async_trait]
pub trait Keys: Send + Sync {
    /// Makes a new sealing key, seals every secret anew with it, and destroys the older keys.
    ///
    /// May be interrupted at any point: what is on disk then opens, and the next rotation cleans
    /// up. Other processes take the new key from the key file by themselves. A backup of the
    /// database from before needs a backup of the key file from before.
    async fn rotate_keys(&self) -> Result<Rotation>;
}
