//! Names for identifiers, each asked for once.

use std::collections::BTreeMap;

use homeward_model::{
    Account, AccountId, ClassId, Device, Gateway, GatewayId, LookupForm, Mac, Name, Network,
    NetworkId, Place, Security, Site, Ssid, Status,
};
use homeward_store::{Entity, Error, KeyKind, Store};
use serde::Serialize;

use super::spelling;

/// An account, for people and programs.
#[derive(Debug, Clone, Serialize)]
pub(super) struct AccountView {
    pub(super) id: AccountId,
    pub(super) name: Name,
    pub(super) class: Name,
    pub(super) status: Status,
}

/// A gateway, without its secret.
#[derive(Debug, Clone, Serialize)]
pub(super) struct GatewayView {
    pub(super) id: GatewayId,
    pub(super) name: Name,
    pub(super) mac: Mac,
    pub(super) place: Place,
    pub(super) operator: Name,
    pub(super) address: Option<String>,
    pub(super) lookup: LookupForm,
    pub(super) status: Status,
    /// Of a hybrid device, the network that it is at home in: `ACCOUNT/SSID`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) device_of: Option<String>,
    /// Where it is heard.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) site: Option<Site>,
}

/// A network.
#[derive(Debug, Clone, Serialize)]
pub(super) struct NetworkView {
    pub(super) id: NetworkId,
    pub(super) account: Name,
    pub(super) ssid: Ssid,
    pub(super) security: Security,
    pub(super) gateway: Option<Name>,
    pub(super) status: Status,
}

/// A device, without its key.
#[derive(Debug, Clone, Serialize)]
pub(super) struct DeviceView {
    pub(super) id: homeward_model::DeviceId,
    pub(super) network: NetworkId,
    pub(super) account: Name,
    pub(super) ssid: Ssid,
    pub(super) mac: Mac,
    /// What kind of key it has.
    pub(super) key: KeyKind,
    pub(super) label: String,
    pub(super) status: Status,
}

impl NetworkView {
    /// `ACCOUNT/SSID`.
    pub(super) fn path(&self) -> String {
        format!("{}/{}", self.account, spelling::show_ssid(&self.ssid))
    }
}

impl DeviceView {
    /// `ACCOUNT/SSID/MAC`.
    pub(super) fn path(&self) -> String {
        format!("{}/{}/{}", self.account, spelling::show_ssid(&self.ssid), self.mac.full())
    }
}

impl GatewayView {
    /// `device_of` says whose hybrid device it is; a home gateway is none.
    pub(super) fn new(gateway: &Gateway, device_of: Option<String>) -> Self {
        Self {
            id: gateway.id,
            name: gateway.name.clone(),
            mac: gateway.mac,
            place: gateway.place.clone(),
            operator: gateway.operator.clone(),
            address: gateway.address.clone(),
            lookup: gateway.lookup,
            status: gateway.status,
            device_of,
            site: gateway.site,
        }
    }
}

/// Looks names up, and remembers them.
pub(super) struct Names<'a> {
    store: &'a dyn Store,
    classes: BTreeMap<ClassId, Name>,
    accounts: BTreeMap<AccountId, Name>,
    gateways: BTreeMap<GatewayId, Name>,
    networks: BTreeMap<NetworkId, (Name, Ssid)>,
}

impl<'a> Names<'a> {
    pub(super) fn new(store: &'a dyn Store) -> Self {
        Self {
            store,
            classes: BTreeMap::new(),
            accounts: BTreeMap::new(),
            gateways: BTreeMap::new(),
            networks: BTreeMap::new(),
        }
    }

    async fn class(&mut self, id: ClassId) -> anyhow::Result<Name> {
        if let Some(name) = self.classes.get(&id) {
            return Ok(name.clone());
        }
        let found = self.store.class(id).await?;
        let found = found.ok_or(Error::NoSuch { entity: Entity::Class, id: id.0 })?;
        self.classes.insert(id, found.name.clone());
        Ok(found.name)
    }

    pub(super) async fn owner(&mut self, id: AccountId) -> anyhow::Result<Name> {
        if let Some(name) = self.accounts.get(&id) {
            return Ok(name.clone());
        }
        let found = self.store.account(id).await?;
        let found = found.ok_or(Error::NoSuch { entity: Entity::Account, id: id.0 })?;
        self.accounts.insert(id, found.name.clone());
        Ok(found.name)
    }

    async fn home(&mut self, id: GatewayId) -> anyhow::Result<Name> {
        if let Some(name) = self.gateways.get(&id) {
            return Ok(name.clone());
        }
        let found = self.store.gateway(id).await?;
        let found = found.ok_or(Error::NoSuch { entity: Entity::Gateway, id: id.0 })?;
        self.gateways.insert(id, found.name.clone());
        Ok(found.name)
    }

    pub(super) async fn account(&mut self, account: &Account) -> anyhow::Result<AccountView> {
        Ok(AccountView {
            id: account.id,
            name: account.name.clone(),
            class: self.class(account.class).await?,
            status: account.status,
        })
    }

    /// Account and SSID of a network.
    pub(super) async fn network_of(&mut self, id: NetworkId) -> anyhow::Result<(Name, Ssid)> {
        if let Some(known) = self.networks.get(&id) {
            return Ok(known.clone());
        }
        let found = self.store.network(id).await?;
        let found = found.ok_or(Error::NoSuch { entity: Entity::Network, id: id.0 })?;
        let known = (self.owner(found.account).await?, found.ssid);
        self.networks.insert(id, known.clone());
        Ok(known)
    }

    pub(super) async fn gateway(&mut self, gateway: &Gateway) -> anyhow::Result<GatewayView> {
        let device_of = match gateway.device_of {
            Some(id) => {
                let (account, ssid) = self.network_of(id).await?;
                Some(format!("{account}/{}", spelling::show_ssid(&ssid)))
            }
            None => None,
        };
        Ok(GatewayView::new(gateway, device_of))
    }

    pub(super) async fn network(&mut self, network: &Network) -> anyhow::Result<NetworkView> {
        let gateway = match network.gateway {
            Some(id) => Some(self.home(id).await?),
            None => None,
        };
        Ok(NetworkView {
            id: network.id,
            account: self.owner(network.account).await?,
            ssid: network.ssid,
            security: network.security,
            gateway,
            status: network.status,
        })
    }

    pub(super) async fn device(&mut self, device: &Device) -> anyhow::Result<DeviceView> {
        let (account, ssid) = self.network_of(device.network).await?;
        Ok(DeviceView {
            id: device.id,
            network: device.network,
            account,
            ssid,
            mac: device.mac,
            key: KeyKind::of(device.key.as_ref()),
            label: device.label.clone(),
            status: device.status,
        })
    }
}
