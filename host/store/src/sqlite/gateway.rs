//! Gateways.

use async_trait::async_trait;
use homeward_model::{Gateway, GatewayId, Mac, Name, NetworkId, Secret};
use sqlx::sqlite::{SqliteConnection, SqliteRow};
use sqlx::{QueryBuilder, Row};

use super::row::{Columns, SealedGateway, gateway_columns};
use super::{SqliteStore, Writer};
use crate::change::{GatewayChange, GatewayFilter, NewGateway, Page};
use crate::check;
use crate::error::{Entity, Error, Result};
use crate::outbox::{GatewayFacts, OutboxRecord};
use crate::sealed;
use crate::store::Gateways;

#[async_trait]
impl Gateways for SqliteStore {
    async fn create_gateway(&self, new: &NewGateway) -> Result<Gateway> {
        let mut w = self.begin().await?;
        let mut facts = new.facts(GatewayId(w.next_id("gateway").await?));
        check::gateway(&mut facts, new.radius_secret.expose().len())?;
        if let Some(NetworkId(id)) = facts.device_of
            && w.count("SELECT count(*) FROM network WHERE id = ?", id).await? == 0
        {
            return Err(Error::no_such(Entity::Network, id));
        }
        free(&mut w, &facts).await?;
        let secret = seal(&mut w, facts.id, &new.radius_secret).await?;
        sqlx::query(
            "INSERT INTO gateway (id, name, mac, place, operator, address, radius_secret, lookup, \
             status, device_of, site) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        )
        .bind(facts.id.0)
        .bind(facts.name.as_str())
        .bind(facts.mac.octets().to_vec())
        .bind(facts.place.as_str())
        .bind(facts.operator.as_str())
        .bind(facts.address.as_deref())
        .bind(secret)
        .bind(facts.lookup.to_string())
        .bind(facts.status.to_string())
        .bind(facts.device_of.map(|id| id.0))
        .bind(facts.site.map(|site| site.to_string()))
        .execute(w.connection())
        .await?;
        w.created(OutboxRecord::Gateway(facts.clone())).await?;
        w.commit().await?;
        Ok(facts.with_secret(new.radius_secret.clone()))
    }

    async fn update_gateway(&self, id: GatewayId, change: &GatewayChange) -> Result<Gateway> {
        let mut w = self.begin().await?;
        let found = find(w.connection(), id).await?;
        let old = found.ok_or(Error::no_such(Entity::Gateway, id.0))?;
        let (before, mut facts, mut sealed) =
            (old.facts.clone(), old.facts.clone(), old.secret.clone());
        let secret = match &change.radius_secret {
            Some(secret) => secret.clone(),
            None => old.open(&self.sealer)?.radius_secret,
        };
        change.apply(&mut facts);
        check::gateway(&mut facts, secret.expose().len())?;
        free(&mut w, &facts).await?;
        if *change == GatewayChange::default() {
            return Ok(facts.with_secret(secret));
        }
        if change.radius_secret.is_some() {
            sealed = seal(&mut w, id, &secret).await?;
        }
        sqlx::query(
            "UPDATE gateway SET name = ?, mac = ?, place = ?, operator = ?, address = ?, \
             radius_secret = ?, lookup = ?, status = ?, site = ? WHERE id = ?",
        )
        .bind(facts.name.as_str())
        .bind(facts.mac.octets().to_vec())
        .bind(facts.place.as_str())
        .bind(facts.operator.as_str())
        .bind(facts.address.as_deref())
        .bind(sealed)
        .bind(facts.lookup.to_string())
        .bind(facts.status.to_string())
        .bind(facts.site.map(|site| site.to_string()))
        .bind(id.0)
        .execute(w.connection())
        .await?;
        let secret_changed = change.radius_secret.as_ref().map(|_| "radius_secret");
        let (before, after) = (OutboxRecord::Gateway(before), OutboxRecord::Gateway(facts.clone()));
        w.updated(before, after, secret_changed).await?;
        w.commit().await?;
        Ok(facts.with_secret(secret))
    }

    async fn gateway(&self, id: GatewayId) -> Result<Option<Gateway>> {
        let found = find(&mut *self.readers.acquire().await?, id).await?;
        Ok(found.map(|g| g.open(&self.sealer)).transpose()?)
    }

    async fn gateway_named(&self, name: &Name) -> Result<Option<Gateway>> {
        const BY_NAME: &str =
            concat!("SELECT ", gateway_columns!(), " FROM gateway g WHERE g.name = ?");
        let row = sqlx::query(BY_NAME).bind(name.as_str()).fetch_optional(&self.readers).await?;
        row.map(|row| self.open_gateway(&row)).transpose()
    }

    async fn gateway_with_mac(&self, mac: Mac) -> Result<Option<Gateway>> {
        const BY_MAC: &str =
            concat!("SELECT ", gateway_columns!(), " FROM gateway g WHERE g.mac = ?");
        let mac = mac.octets().to_vec();
        let row = sqlx::query(BY_MAC).bind(mac).fetch_optional(&self.readers).await?;
        row.map(|row| self.open_gateway(&row)).transpose()
    }

    async fn gateways(
        &self,
        filter: &GatewayFilter,
        page: Page<GatewayId>,
    ) -> Result<Vec<Gateway>> {
        const ALL: &str = concat!("SELECT ", gateway_columns!(), " FROM gateway g WHERE g.id > ");
        let mut query = QueryBuilder::new(ALL);
        query.push_bind(page.after.map_or(i64::MIN, |id| id.0));
        if let Some(operator) = &filter.operator {
            query.push(" AND g.operator = ").push_bind(operator.as_str());
        }
        if let Some(status) = filter.status {
            query.push(" AND g.status = ").push_bind(status.to_string());
        }
        if let Some(network) = filter.device_of {
            query.push(" AND g.device_of = ").push_bind(network.0);
        }
        query.push(" ORDER BY g.id LIMIT ").push_bind(page.limit);
        let rows = query.build().fetch_all(&self.readers).await?;
        rows.iter().map(|row| self.open_gateway(row)).collect()
    }

    async fn delete_gateway(&self, id: GatewayId) -> Result<bool> {
        let mut w = self.begin().await?;
        let count = w.count("SELECT count(*) FROM network WHERE gateway = ?", id.0).await?;
        if count > 0 {
            let (entity, by) = (Entity::Gateway, Entity::Network);
            return Err(Error::Referenced { entity, id: id.0, count, by });
        }
        let existed = remove(&mut w, id).await?;
        w.commit().await?;
        Ok(existed)
    }
}

/// Removes a gateway, with its credentials.
pub(super) async fn remove(w: &mut Writer<'_>, id: GatewayId) -> Result<bool> {
    let Some(gateway) = find(w.connection(), id).await? else { return Ok(false) };
    w.delete("DELETE FROM gateway WHERE id = ?", id.0).await?;
    w.deleted(OutboxRecord::Gateway(gateway.facts)).await?;
    Ok(true)
}

impl SqliteStore {
    fn open_gateway(&self, row: &SqliteRow) -> Result<Gateway> {
        Ok(Columns::of(row).gateway()?.open(&self.sealer)?)
    }
}

pub(super) async fn find(
    connection: &mut SqliteConnection,
    id: GatewayId,
) -> Result<Option<SealedGateway>> {
    const BY_ID: &str = concat!("SELECT ", gateway_columns!(), " FROM gateway g WHERE g.id = ?");
    let row = sqlx::query(BY_ID).bind(id.0).fetch_optional(connection).await?;
    row.map(|row| Columns::of(&row).gateway()).transpose()
}

async fn seal(w: &mut Writer<'_>, id: GatewayId, secret: &Secret) -> Result<Vec<u8>> {
    let key = w.sealing_key().await?;
    Ok(w.seal(sealed::radius_secret(id.0), key, secret.expose())?)
}

/// Name, then MAC address, then source address.
async fn free(w: &mut Writer<'_>, new: &GatewayFacts) -> Result<()> {
    const TAKEN: &str = "SELECT name, name = ?1, mac = ?2 FROM gateway \
         WHERE id <> ?4 AND (name = ?1 OR mac = ?2 OR address = ?3) \
         ORDER BY name = ?1 DESC, mac = ?2 DESC LIMIT 1";
    let taken = sqlx::query(TAKEN)
        .bind(new.name.as_str())
        .bind(new.mac.octets().to_vec())
        .bind(new.address.as_deref())
        .bind(new.id.0)
        .fetch_optional(w.connection())
        .await?;
    let Some(row) = taken else { return Ok(()) };
    let by = row.try_get::<String, _>(0)?;
    let by: Name = by.parse().map_err(|e| Error::corrupt(Entity::Gateway, new.id.0, e))?;
    Err(match (row.try_get(1)?, row.try_get(2)?, &new.address) {
        (false, false, Some(address)) => Error::AddressTaken { address: address.clone(), by },
        (false, true, _) => Error::MacTaken { mac: new.mac, by },
        _ => Error::NameTaken { entity: Entity::Gateway, name: by },
    })
}
