//! Gateways.

use async_trait::async_trait;
use homeward_model::{Gateway, GatewayId, Mac, Name};

use super::{MemoryStore, State, Writer};
use crate::change::{GatewayChange, GatewayFilter, NewGateway, Page};
use crate::check;
use crate::error::{Entity, Error, Result};
use crate::outbox::{GatewayFacts, OutboxRecord};
use crate::store::Gateways;

#[async_trait]
impl Gateways for MemoryStore {
    async fn create_gateway(&self, new: &NewGateway) -> Result<Gateway> {
        self.write(|w| {
            let mut facts = new.facts(GatewayId(w.state.gateways.last + 1));
            check::gateway(&mut facts, new.radius_secret.expose().len())?;
            if let Some(network) = facts.device_of {
                w.state.networks.need(Entity::Network, network.0)?;
            }
            free(w.state, &facts)?;
            let gateway = facts.clone().with_secret(new.radius_secret.clone());
            let id = w.state.gateways.next();
            w.state.gateways.rows.insert(id, gateway.clone());
            w.created(OutboxRecord::Gateway(facts));
            Ok(gateway)
        })
    }

    async fn update_gateway(&self, id: GatewayId, change: &GatewayChange) -> Result<Gateway> {
        self.write(|w| {
            let old = w.state.gateways.need(Entity::Gateway, id.0)?;
            let secret = change.radius_secret.as_ref().unwrap_or(&old.radius_secret).clone();
            let before = GatewayFacts::from(old);
            let mut facts = before.clone();
            change.apply(&mut facts);
            check::gateway(&mut facts, secret.expose().len())?;
            free(w.state, &facts)?;
            let gateway = facts.clone().with_secret(secret);
            if *change != GatewayChange::default() {
                w.state.gateways.rows.insert(id.0, gateway.clone());
                let secret = change.radius_secret.as_ref().map(|_| "radius_secret");
                w.updated(OutboxRecord::Gateway(before), OutboxRecord::Gateway(facts), secret);
            }
            Ok(gateway)
        })
    }

    async fn gateway(&self, id: GatewayId) -> Result<Option<Gateway>> {
        Ok(self.read().gateways.get(id.0).cloned())
    }

    async fn gateway_named(&self, name: &Name) -> Result<Option<Gateway>> {
        Ok(self.read().gateways.values().find(|g| g.name == *name).cloned())
    }

    async fn gateway_with_mac(&self, mac: Mac) -> Result<Option<Gateway>> {
        Ok(self.read().gateways.values().find(|g| g.mac == mac).cloned())
    }

    async fn gateways(
        &self,
        filter: &GatewayFilter,
        page: Page<GatewayId>,
    ) -> Result<Vec<Gateway>> {
        Ok(self.read().gateways.page(page.after.map(|id| id.0), page.limit, |g| {
            filter.operator.as_ref().is_none_or(|o| *o == g.operator)
                && filter.status.is_none_or(|s| s == g.status)
                && filter.device_of.is_none_or(|n| Some(n) == g.device_of)
        }))
    }

    async fn delete_gateway(&self, id: GatewayId) -> Result<bool> {
        self.write(|w| {
            let networks = w.state.networks.values();
            let count = networks.filter(|n| n.gateway == Some(id)).count() as u64;
            if count > 0 {
                let (entity, by) = (Entity::Gateway, Entity::Network);
                return Err(Error::Referenced { entity, id: id.0, count, by });
            }
            Ok(remove(w, id))
        })
    }
}

/// Removes a gateway, with its credentials.
pub(super) fn remove(w: &mut Writer<'_>, id: GatewayId) -> bool {
    let Some(gateway) = w.state.gateways.rows.remove(&id.0) else { return false };
    w.state.enrolment.forget(id);
    w.state.moves.forget(id);
    w.deleted(OutboxRecord::Gateway((&gateway).into()));
    true
}

/// Name, then MAC address, then source address.
fn free(state: &State, new: &GatewayFacts) -> Result<()> {
    let others = || state.gateways.values().filter(|g| g.id != new.id);
    if others().any(|g| g.name == new.name) {
        return Err(Error::NameTaken { entity: Entity::Gateway, name: new.name.clone() });
    }
    if let Some(other) = others().find(|g| g.mac == new.mac) {
        return Err(Error::MacTaken { mac: new.mac, by: other.name.clone() });
    }
    if let Some(address) = &new.address
        && let Some(other) = others().find(|g| g.address.as_ref() == Some(address))
    {
        return Err(Error::AddressTaken { address: address.clone(), by: other.name.clone() });
    }
    Ok(())
}
