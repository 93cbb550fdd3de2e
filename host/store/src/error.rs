//! What can go wrong, whose fault it is, and the repair.

use std::error::Error as StdError;
use std::fmt;
use std::path::PathBuf;

use homeward_model::{
    AccountId, DeviceId, Imsi, LoginId, Mac, Msisdn, Nai, Name, NetworkId, PolicyError, Security,
    Ssid, SubscriberId,
};
use homeward_seal::{KeyFileError, SealError};

use crate::outbox::Seq;

/// What the datastore returns.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// The kinds of records.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Entity {
    /// A class of service.
    Class,
    /// An account.
    Account,
    /// A gateway.
    Gateway,
    /// A network.
    Network,
    /// A device.
    Device,
    /// A log-in.
    Login,
    /// A subscriber.
    Subscriber,
    /// A policy.
    Policy,
}

impl Entity {
    /// All kinds.
    pub const ALL: [Self; 8] = [
        Self::Class,
        Self::Account,
        Self::Gateway,
        Self::Network,
        Self::Device,
        Self::Login,
        Self::Subscriber,
        Self::Policy,
    ];

    /// The word for commands, tables and the outbox.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Class => "class",
            Self::Account => "account",
            Self::Gateway => "gateway",
            Self::Network => "network",
            Self::Device => "device",
            Self::Login => "login",
            Self::Subscriber => "subscriber",
            Self::Policy => "policy",
        }
    }

    /// Many of them.
    const fn plural(self) -> &'static str {
        match self {
            Self::Class => "classes of service",
            Self::Account => "accounts",
            Self::Gateway => "gateways",
            Self::Network => "networks",
            Self::Device => "devices",
            Self::Login => "log-ins",
            Self::Subscriber => "subscribers",
            Self::Policy => "policies",
        }
    }
}

impl fmt::Display for Entity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Class => "class of service",
            Self::Login => "log-in",
            other => other.as_str(),
        })
    }
}

/// `3 devices`, `1 device`.
struct Count(u64, Entity);

impl fmt::Display for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self(1, entity) => write!(f, "1 {entity}"),
            Self(n, entity) => write!(f, "{n} {}", entity.plural()),
        }
    }
}

/// Why the datastore did not do what it was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A record was asked for by name and is needed.
    #[error(
        "no {entity} named {name}; create it first with `homeward admin {} create {name}`",
        entity.as_str()
    )]
    NoSuchName {
        /// What kind of record.
        entity: Entity,
        /// The name nobody has.
        name: Name,
    },
    /// A record was to be changed or referred to, and is not there.
    #[error("no {entity} {id}")]
    NoSuch {
        /// What kind of record.
        entity: Entity,
        /// The identifier nobody has.
        id: i64,
    },
    /// A network that is to be deleted is home to hybrid devices.
    #[error(
        "network {network} still is home to {count} hybrid device{}; delete those first (`homeward \
         admin gateway list --device-of {network}` shows them), or all of it with --with-dependents",
        if *count == 1 { "" } else { "s" }
    )]
    HybridDevices {
        /// The network.
        network: NetworkId,
        /// How many.
        count: u64,
    },
    /// The name is taken.
    #[error("{entity} {name} exists already")]
    NameTaken {
        /// What kind of record.
        entity: Entity,
        /// The name.
        name: Name,
    },
    /// The MAC address is another gateway's.
    #[error("MAC address {mac} is gateway {by}'s already")]
    MacTaken {
        /// The address.
        mac: Mac,
        /// The gateway that has it.
        by: Name,
    },
    /// The source address is another gateway's.
    #[error("address {address} is gateway {by}'s already")]
    AddressTaken {
        /// The address, in canonical form.
        address: String,
        /// The gateway that has it.
        by: Name,
    },
    /// The account has a network with that SSID.
    #[error("account {account} has a network {ssid} already: network {by}")]
    SsidTaken {
        /// The account.
        account: AccountId,
        /// The SSID.
        ssid: Ssid,
        /// The network that has it.
        by: NetworkId,
    },
    /// The network has a device with that MAC address.
    #[error("network {network} has a device {mac} already: device {by}")]
    DeviceTaken {
        /// The network.
        network: NetworkId,
        /// The MAC address.
        mac: Mac,
        /// The device that has it.
        by: DeviceId,
    },
    /// The name is another log-in's.
    #[error("log-in {name} exists already: log-in {by}")]
    LoginTaken {
        /// The name.
        name: Nai,
        /// The log-in that has it.
        by: LoginId,
    },
    /// A subscriber was asked for by its SIM and is needed.
    #[error("no subscriber {0}; create it first with `homeward admin subscriber add`")]
    NoSubscriber(Imsi),
    /// The SIM is another subscriber's.
    #[error("subscriber {imsi} exists already: subscriber {by}")]
    ImsiTaken {
        /// The SIM.
        imsi: Imsi,
        /// The subscriber that has it.
        by: SubscriberId,
    },
    /// The telephone number is another subscriber's.
    #[error("telephone number {msisdn} is subscriber {by}'s already")]
    MsisdnTaken {
        /// The number.
        msisdn: Msisdn,
        /// The subscriber that has it.
        by: SubscriberId,
    },
    /// Something was to be given to whom nothing is given.
    #[error("{entity} {id} is suspended; nothing is issued to it")]
    Suspended {
        /// What kind of record.
        entity: Entity,
        /// Its identifier.
        id: i64,
    },
    /// A record cannot be deleted for others that refer to it.
    #[error("{entity} {id} still has {}; {}", Count(*count, *by), repair(*entity))]
    Referenced {
        /// What was to be deleted.
        entity: Entity,
        /// Its identifier.
        id: i64,
        /// How many records refer to it.
        count: u64,
        /// What kind they are.
        by: Entity,
    },
    /// A value that the datastore does not take.
    #[error(transparent)]
    Invalid(#[from] Invalid),
    /// One of many records could not be created, so none was.
    #[error("record {index} of the batch was refused, so none was created")]
    Batch {
        /// Which, counted from 0.
        index: usize,
        /// Why.
        source: Box<Error>,
    },
    /// The outbox no longer holds what was asked for.
    #[error(
        "outbox entries up to {pruned} are pruned, entries after {after} were asked for; load the projection anew"
    )]
    OutboxPruned {
        /// What was asked for.
        after: Seq,
        /// The newest entry that is gone.
        pruned: Seq,
    },
    /// Another writer, most likely in another process, holds the database.
    #[error(
        "another writer has held the datastore locked for too long; try again, or look for a process that hangs"
    )]
    Locked,
    /// A secret could not be sealed or opened.
    #[error(transparent)]
    Seal(#[from] SealError),
    /// The key file could not be read or written.
    #[error(transparent)]
    KeyFile(#[from] KeyFileError),
    /// The datastore could not be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// What is stored is none of what this version stores.
    #[error("{entity} {id} in the datastore cannot be read")]
    Corrupt {
        /// What kind of record.
        entity: Entity,
        /// Its identifier.
        id: i64,
        /// What is wrong with it.
        source: Box<dyn StdError + Send + Sync>,
    },
    /// The database itself failed.
    #[error("the datastore failed")]
    Database(#[source] Box<dyn StdError + Send + Sync>),
}

impl Error {
    /// Whether something with that name, address or MAC address is there already.
    pub const fn is_duplicate(&self) -> bool {
        matches!(
            self,
            Self::NameTaken { .. }
                | Self::MacTaken { .. }
                | Self::AddressTaken { .. }
                | Self::SsidTaken { .. }
                | Self::DeviceTaken { .. }
                | Self::LoginTaken { .. }
                | Self::ImsiTaken { .. }
                | Self::MsisdnTaken { .. }
        )
    }

    pub(crate) fn corrupt(
        entity: Entity,
        id: i64,
        source: impl Into<Box<dyn StdError + Send + Sync>>,
    ) -> Self {
        Self::Corrupt { entity, id, source: source.into() }
    }

    pub(crate) const fn no_such(entity: Entity, id: i64) -> Self {
        Self::NoSuch { entity, id }
    }
}

/// What to do about a reference that holds.
const fn repair(entity: Entity) -> &'static str {
    match entity {
        Entity::Class | Entity::Gateway => "move or delete those first",
        _ => "delete those first, or all of it with --with-dependents",
    }
}

/// A value that the datastore does not take.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Invalid {
    /// Neither an address nor a prefix.
    #[error("{0:?} is no IP address and no prefix: give one such as 192.0.2.7 or 192.0.2.0/24")]
    Address(String),
    /// A prefix with host bits.
    #[error("{given} has bits set beyond its prefix length: give {prefix} or the address alone")]
    HostBits {
        /// What was given.
        given: String,
        /// The prefix it lies in.
        prefix: String,
    },
    /// A multicast or broadcast address.
    #[error("{0} is a group address; a device or gateway has an individual one")]
    GroupMac(Mac),
    /// A gateway that asks without a secret.
    #[error("gateway {0} has an address and no RADIUS secret; give it one (RFC 2865 section 3)")]
    NoRadiusSecret(Name),
    /// A hybrid device that would ask by RADIUS.
    #[error("gateway {0} is a hybrid device and asks nothing: it has no RADIUS address")]
    DeviceAddress(Name),
    /// A hybrid device with a secret that nothing would be done with.
    #[error("gateway {0} is a hybrid device and asks nothing: it has no RADIUS secret")]
    DeviceSecret(Name),
    /// A hybrid device that would stand on the map of gateways.
    #[error("gateway {0} is a hybrid device and serves nobody else: it has no site")]
    DeviceSite(Name),
    /// A network that would be at home behind a hybrid device.
    #[error("gateway {0} is a hybrid device and no home for a network: name one that has a LAN")]
    HomeIsDevice(Name),
    /// A secret beyond what is stored.
    #[error("a RADIUS secret has at most 255 octets, not {0}")]
    RadiusSecretLength(usize),
    /// A log-in that would be taken for a look-up.
    #[error("a log-in's name cannot be a MAC address: access points look devices up by such names")]
    LoginIsMac,
    /// A label beyond what is stored.
    #[error("a label has at most 128 characters, not {0}")]
    LabelLength(usize),
    /// A label that would play tricks on a terminal.
    #[error("a label has no control characters; character {0} is one")]
    LabelControl(usize),
    /// A quota beyond what is stored.
    #[error("a quota is at most 9223372036854775807 octets (2^63 - 1), not {0}")]
    Quota(u64),
    /// A device without a key where it needs one.
    #[error("network {network} is {security}: a device in it needs a key")]
    KeyMissing {
        /// The device's network.
        network: NetworkId,
        /// The network's security.
        security: Security,
    },
    /// A raw PSK where SAE needs a password.
    #[error("network {network} is wpa3-sae: a device in it needs a passphrase, not a raw PSK")]
    PassphraseMissing {
        /// The device's network.
        network: NetworkId,
    },
    /// A security that devices of the network have no keys for.
    #[error(
        "network {network} cannot become {security}: {} without {what}; give those new keys first",
        Count(*count, Entity::Device)
    )]
    SecurityMismatch {
        /// The network.
        network: NetworkId,
        /// The security asked for.
        security: Security,
        /// How many devices stand against it.
        count: u64,
        /// What they lack.
        what: &'static str,
    },
    /// A policy with a setting that is wrong.
    #[error(transparent)]
    Policy(#[from] PolicyError),
    /// A credential that would be paid for by somebody else.
    #[error(
        "subscriber {subscriber} is of account {account}: nothing is issued to it for account {given}"
    )]
    OtherAccount {
        /// The subscriber.
        subscriber: SubscriberId,
        /// Who pays for it.
        account: AccountId,
        /// Who was to pay.
        given: AccountId,
    },
    /// An SSID that PSKs were made of.
    #[error(
        "network {network} cannot change its SSID: the PSK of {} was made of it; delete those first and create them again after",
        Count(*count, Entity::Device)
    )]
    SsidInUse {
        /// The network.
        network: NetworkId,
        /// How many devices have a PSK made of a passphrase and the SSID.
        count: u64,
    },
}

/// Why a database file could not be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// There is no such directory.
    #[error("no directory {}; create it first", .0.display())]
    NoDirectory(PathBuf),
    /// There is no such file, and none was to be created.
    #[error("no datastore at {}", .0.display())]
    NoFile(PathBuf),
    /// Something else than a file.
    #[error("{} is not a file", .0.display())]
    NotAFile(PathBuf),
    /// Others may read the file.
    #[error("{path} may be read or written by others (mode {mode:04o}); run `chmod 600 {path}`", path = path.display())]
    Mode {
        /// The file.
        path: PathBuf,
        /// Its mode, the permission bits.
        mode: u32,
    },
    /// The file system refused.
    #[error("cannot open {}", path.display())]
    Io {
        /// The file or its directory.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Not a database at all.
    #[error("{} is not a SQLite database", .0.display())]
    NotADatabase(PathBuf),
    /// Another program's database.
    #[error("{} is a SQLite database, but no datastore of Homeward", .0.display())]
    Foreign(PathBuf),
    /// A newer Homeward's database.
    #[error("{} has schema {found}, this version knows up to {known}; use a newer homeward", path.display())]
    NewerSchema {
        /// The file.
        path: PathBuf,
        /// The newest migration in it.
        found: i64,
        /// The newest migration of this version.
        known: i64,
    },
    /// The schema could not be brought up to date.
    #[error("the schema of {} could not be brought up to date", path.display())]
    Migrate {
        /// The file.
        path: PathBuf,
        /// Why.
        source: Box<dyn StdError + Send + Sync>,
    },
}
