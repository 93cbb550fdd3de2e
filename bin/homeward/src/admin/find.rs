//! How records are addressed, and what is said of one that is not there.

use std::fmt;
use std::str::FromStr;

use anyhow::anyhow;
use homeward_daemon::{Exit, ExitContext};
use homeward_model::{
    Account, ClassOfService, Device, DeviceId, Gateway, Imsi, Login, Mac, Msisdn, Nai, Name,
    Network, NetworkId, Ssid, Subscriber,
};
use homeward_store::{Entity, Store};

use super::spelling;

/// A network: its identifier, or `ACCOUNT/SSID`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum NetworkRef {
    Id(NetworkId),
    Named { account: Name, ssid: Ssid },
}

/// A device: its identifier, or `ACCOUNT/SSID/MAC`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum DeviceRef {
    Id(DeviceId),
    Named { network: NetworkRef, mac: Mac },
}

/// A subscriber: its IMSI, or its telephone number with a `+`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SubscriberRef {
    Imsi(Imsi),
    Number(Msisdn),
}

impl FromStr for SubscriberRef {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.strip_prefix('+') {
            Some(number) => number.parse().map(Self::Number).map_err(|e| format!("{e}")),
            None => text
                .parse()
                .map(Self::Imsi)
                .map_err(|e| format!("{e}; a telephone number begins with +")),
        }
    }
}

impl fmt::Display for SubscriberRef {
    /// In full: for whoever has just written it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Imsi(imsi) => f.write_str(imsi.as_str()),
            Self::Number(number) => write!(f, "+{}", number.as_str()),
        }
    }
}

impl FromStr for NetworkRef {
    type Err = String;

    /// The first `/` ends the account's name; an SSID may have more of them.
    fn from_str(text: &str) -> Result<Self, String> {
        let Some((account, ssid)) = text.split_once('/') else {
            let id = text.parse().map(NetworkId).map(Self::Id);
            return id.map_err(|_| format!("{text:?} is no network: give its id, or ACCOUNT/SSID"));
        };
        let account = account.parse::<Name>().map_err(|e| e.to_string())?;
        Ok(Self::Named { account, ssid: spelling::ssid(ssid)? })
    }
}

impl FromStr for DeviceRef {
    type Err = String;

    /// The last `/` begins the MAC address.
    fn from_str(text: &str) -> Result<Self, String> {
        let Some((network, mac)) = text.rsplit_once('/') else {
            let id = text.parse().map(DeviceId).map(Self::Id);
            return id
                .map_err(|_| format!("{text:?} is no device: give its id, or ACCOUNT/SSID/MAC"));
        };
        let mac = mac.parse::<Mac>().map_err(|e| e.to_string())?;
        Ok(Self::Named { network: network.parse()?, mac })
    }
}

impl fmt::Display for NetworkRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Id(id) => id.fmt(f),
            Self::Named { account, ssid } => write!(f, "{account}/{}", spelling::show_ssid(ssid)),
        }
    }
}

impl fmt::Display for DeviceRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Id(id) => id.fmt(f),
            Self::Named { network, mac } => write!(f, "{network}/{}", mac.full()),
        }
    }
}

/// What was named is not there.
pub(super) fn missing<T>(entity: Entity, what: impl fmt::Display) -> anyhow::Result<T> {
    Err(anyhow!(
        "no {entity} {what}; `homeward admin {} list` shows those there are",
        entity.as_str()
    ))
    .exit(Exit::NoInput)
}

/// As [`missing`], of what is not known by a name.
pub(super) fn missing_what<T>(command: &str, what: &str) -> anyhow::Result<T> {
    Err(anyhow!("{what}; `homeward admin {command} list` shows all there is")).exit(Exit::NoInput)
}

pub(super) async fn class(store: &dyn Store, name: &Name) -> anyhow::Result<ClassOfService> {
    match store.class_named(name).await? {
        Some(class) => Ok(class),
        None => missing(Entity::Class, name),
    }
}

pub(super) async fn account(store: &dyn Store, name: &Name) -> anyhow::Result<Account> {
    match store.account_named(name).await? {
        Some(account) => Ok(account),
        None => missing(Entity::Account, name),
    }
}

pub(super) async fn login(store: &dyn Store, name: &Nai) -> anyhow::Result<Login> {
    match store.login_named(name).await? {
        Some(login) => Ok(login),
        None => missing(Entity::Login, name.as_str()),
    }
}

pub(super) async fn subscriber(
    store: &dyn Store,
    which: &SubscriberRef,
) -> anyhow::Result<Subscriber> {
    let found = match which {
        SubscriberRef::Imsi(imsi) => store.subscriber_with_imsi(*imsi).await?,
        SubscriberRef::Number(number) => store.subscriber_with_msisdn(*number).await?,
    };
    found.map_or_else(|| missing(Entity::Subscriber, which), Ok)
}

pub(super) async fn gateway(store: &dyn Store, name: &Name) -> anyhow::Result<Gateway> {
    match store.gateway_named(name).await? {
        Some(gateway) => Ok(gateway),
        None => missing(Entity::Gateway, name),
    }
}

pub(super) async fn network(store: &dyn Store, which: &NetworkRef) -> anyhow::Result<Network> {
    let found = match which {
        NetworkRef::Id(id) => store.network(*id).await?,
        NetworkRef::Named { account: name, ssid } => {
            store.network_of(account(store, name).await?.id, *ssid).await?
        }
    };
    found.map_or_else(|| missing(Entity::Network, which), Ok)
}

pub(super) async fn device(store: &dyn Store, which: &DeviceRef) -> anyhow::Result<Device> {
    let found = match which {
        DeviceRef::Id(id) => store.device(*id).await?,
        DeviceRef::Named { network: of, mac } => {
            store.device_in(network(store, of).await?.id, *mac).await?
        }
    };
    found.map_or_else(|| missing(Entity::Device, which), Ok)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ssid_with_slashes_stays_whole_between_account_and_mac() {
        let device: DeviceRef = "smith/up/stairs/02:00:5e:10:00:01".parse().unwrap();
        assert_eq!(device.to_string(), "smith/up/stairs/02:00:5e:10:00:01");
        let DeviceRef::Named { network: NetworkRef::Named { ssid, .. }, .. } = device else {
            panic!("not by name");
        };
        assert_eq!(ssid.as_str(), Some("up/stairs"));
    }

    #[test]
    fn a_subscriber_is_an_imsi_or_a_number_with_a_plus() {
        for text in ["999700123456789", "+447700900123"] {
            let which: SubscriberRef = text.parse().unwrap();
            assert_eq!(which.to_string(), text);
            assert_eq!(matches!(which, SubscriberRef::Number(_)), text.starts_with('+'));
        }
        let error = "0044 77".parse::<SubscriberRef>().unwrap_err();
        assert!(error.ends_with("; a telephone number begins with +"), "{error}");
        assert!("+".parse::<SubscriberRef>().is_err());
    }

    #[test]
    fn a_number_is_an_identifier() {
        assert_eq!("12".parse(), Ok(NetworkRef::Id(NetworkId(12))));
        assert_eq!("12".parse(), Ok(DeviceRef::Id(DeviceId(12))));
        for text in ["", "smith", "smith/"] {
            assert!(text.parse::<NetworkRef>().is_err(), "{text}");
        }
        for text in ["", "smith", "smith/net", "12/net"] {
            assert!(text.parse::<DeviceRef>().is_err(), "{text}");
        }
    }
}
