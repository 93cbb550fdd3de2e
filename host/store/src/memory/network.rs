//! Networks.

use async_trait::async_trait;
use homeward_model::{AccountId, Network, NetworkId, Ssid};

use super::{MemoryStore, State, Writer, device, gateway};
use crate::change::{NetworkChange, NetworkFilter, NewNetwork, Page};
use crate::check::{self, KeyCounts};
use crate::error::{Entity, Error, Result};
use crate::outbox::{KeyKind, OutboxRecord};
use crate::store::{Dependents, Networks};

#[async_trait]
impl Networks for MemoryStore {
    async fn create_network(&self, new: &NewNetwork) -> Result<Network> {
        self.write(|w| {
            let network = new.record(NetworkId(w.state.networks.last + 1));
            referred(w.state, &network)?;
            free(w.state, &network)?;
            w.state.networks.next();
            w.state.account_ssids.insert((network.account, network.ssid), network.id);
            w.state.networks.rows.insert(network.id.0, network.clone());
            w.created(OutboxRecord::Network(network.clone()));
            Ok(network)
        })
    }

    async fn update_network(&self, id: NetworkId, change: &NetworkChange) -> Result<Network> {
        self.write(|w| {
            let old = w.state.networks.need(Entity::Network, id.0)?.clone();
            let mut network = old.clone();
            change.apply(&mut network);
            referred(w.state, &network)?;
            free(w.state, &network)?;
            let mut keys = KeyCounts::default();
            for device in w.state.devices_of(id) {
                keys.add(KeyKind::of(device.key.as_ref()), 1);
            }
            check::network(old.ssid, &network, keys)?;
            if *change != NetworkChange::default() {
                w.state.account_ssids.remove(&(old.account, old.ssid));
                w.state.account_ssids.insert((network.account, network.ssid), id);
                w.state.networks.rows.insert(id.0, network.clone());
                let (before, after) = (old, network.clone());
                w.updated(OutboxRecord::Network(before), OutboxRecord::Network(after), None);
            }
            Ok(network)
        })
    }

    async fn network(&self, id: NetworkId) -> Result<Option<Network>> {
        Ok(self.read().networks.get(id.0).cloned())
    }

    async fn network_of(&self, account: AccountId, ssid: Ssid) -> Result<Option<Network>> {
        let state = self.read();
        let id = state.account_ssids.get(&(account, ssid));
        Ok(id.and_then(|id| state.networks.get(id.0)).cloned())
    }

    async fn networks(
        &self,
        filter: &NetworkFilter,
        page: Page<NetworkId>,
    ) -> Result<Vec<Network>> {
        Ok(self.read().networks.page(page.after.map(|id| id.0), page.limit, |n| {
            filter.account.is_none_or(|a| a == n.account)
                && filter.gateway.is_none_or(|g| Some(g) == n.gateway)
                && filter.ssid.is_none_or(|s| s == n.ssid)
                && filter.status.is_none_or(|s| s == n.status)
        }))
    }

    async fn delete_network(&self, id: NetworkId, dependents: Dependents) -> Result<bool> {
        self.write(|w| {
            if dependents == Dependents::Refuse {
                let devices = w.state.devices_of(id).count() as u64;
                check::uninhabited(id, devices, w.state.hybrid_of(id).count() as u64)?;
            }
            Ok(remove(w, id))
        })
    }
}

/// Removes a network, its devices, and those that are gateways to themselves.
pub(super) fn remove(w: &mut Writer<'_>, id: NetworkId) -> bool {
    let devices: Vec<_> = w.state.devices_of(id).map(|d| d.id).collect();
    for id in devices {
        device::remove(w, id);
    }
    let hybrid: Vec<_> = w.state.hybrid_of(id).map(|g| g.id).collect();
    for id in hybrid {
        gateway::remove(w, id);
    }
    let Some(network) = w.state.networks.rows.remove(&id.0) else { return false };
    w.state.account_ssids.remove(&(network.account, network.ssid));
    w.deleted(OutboxRecord::Network(network));
    true
}

fn referred(state: &State, network: &Network) -> Result<()> {
    state.accounts.need(Entity::Account, network.account.0)?;
    if let Some(id) = network.gateway {
        let home = state.gateways.need(Entity::Gateway, id.0)?;
        check::home(&home.name, home.device_of)?;
    }
    Ok(())
}

fn free(state: &State, new: &Network) -> Result<()> {
    match state.account_ssids.get(&(new.account, new.ssid)) {
        Some(by) if *by != new.id => {
            Err(Error::SsidTaken { account: new.account, ssid: new.ssid, by: *by })
        }
        _ => Ok(()),
    }
}
