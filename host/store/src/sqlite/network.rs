//! Networks.

use async_trait::async_trait;
use homeward_model::{AccountId, DeviceId, GatewayId, Network, NetworkId, Ssid};
use sqlx::sqlite::{SqliteConnection, SqliteRow};
use sqlx::{QueryBuilder, Row};

use super::row::{Columns, network_columns};
use super::{SqliteStore, Writer, device, gateway};
use crate::change::{NetworkChange, NetworkFilter, NewNetwork, Page};
use crate::check::{self, KeyCounts};
use crate::error::{Entity, Error, Result};
use crate::outbox::{KeyKind, OutboxRecord};
use crate::store::{Dependents, Networks};

#[async_trait]
impl Networks for SqliteStore {
    async fn create_network(&self, new: &NewNetwork) -> Result<Network> {
        let mut w = self.begin().await?;
        let network = new.record(NetworkId(w.next_id("network").await?));
        fits(&mut w, &network).await?;
        sqlx::query(
            "INSERT INTO network (id, account, gateway, ssid, security, status) \
             VALUES (?, ?, ?, ?, ?, ?)",
        )
        .bind(network.id.0)
        .bind(network.account.0)
        .bind(network.gateway.map(|id| id.0))
        .bind(network.ssid.as_bytes())
        .bind(network.security.to_string())
        .bind(network.status.to_string())
        .execute(w.connection())
        .await?;
        w.created(OutboxRecord::Network(network.clone())).await?;
        w.commit().await?;
        Ok(network)
    }

    async fn update_network(&self, id: NetworkId, change: &NetworkChange) -> Result<Network> {
        let mut w = self.begin().await?;
        let found = find(w.connection(), id).await?;
        let old = found.ok_or(Error::no_such(Entity::Network, id.0))?;
        let mut network = old.clone();
        change.apply(&mut network);
        fits(&mut w, &network).await?;
        check::network(old.ssid, &network, key_counts(&mut w, id).await?)?;
        if *change == NetworkChange::default() {
            return Ok(network);
        }
        sqlx::query(
            "UPDATE network SET gateway = ?, ssid = ?, security = ?, status = ? WHERE id = ?",
        )
        .bind(network.gateway.map(|id| id.0))
        .bind(network.ssid.as_bytes())
        .bind(network.security.to_string())
        .bind(network.status.to_string())
        .bind(id.0)
        .execute(w.connection())
        .await?;
        let (before, after) = (old, network.clone());
        w.updated(OutboxRecord::Network(before), OutboxRecord::Network(after), None).await?;
        w.commit().await?;
        Ok(network)
    }

    async fn network(&self, id: NetworkId) -> Result<Option<Network>> {
        find(&mut *self.readers.acquire().await?, id).await
    }

    async fn network_of(&self, account: AccountId, ssid: Ssid) -> Result<Option<Network>> {
        const OF: &str = concat!(
            "SELECT ",
            network_columns!(),
            " FROM network n WHERE n.account = ? AND n.ssid = ?"
        );
        let query = sqlx::query(OF).bind(account.0).bind(ssid.as_bytes());
        query.fetch_optional(&self.readers).await?.as_ref().map(network).transpose()
    }

    async fn networks(
        &self,
        filter: &NetworkFilter,
        page: Page<NetworkId>,
    ) -> Result<Vec<Network>> {
        const ALL: &str = concat!("SELECT ", network_columns!(), " FROM network n WHERE n.id > ");
        let mut query = QueryBuilder::new(ALL);
        query.push_bind(page.after.map_or(i64::MIN, |id| id.0));
        if let Some(account) = filter.account {
            query.push(" AND n.account = ").push_bind(account.0);
        }
        if let Some(gateway) = filter.gateway {
            query.push(" AND n.gateway = ").push_bind(gateway.0);
        }
        if let Some(ssid) = filter.ssid {
            query.push(" AND n.ssid = ").push_bind(ssid.as_bytes().to_vec());
        }
        if let Some(status) = filter.status {
            query.push(" AND n.status = ").push_bind(status.to_string());
        }
        query.push(" ORDER BY n.id LIMIT ").push_bind(page.limit);
        query.build().fetch_all(&self.readers).await?.iter().map(network).collect()
    }

    async fn delete_network(&self, id: NetworkId, dependents: Dependents) -> Result<bool> {
        let mut w = self.begin().await?;
        if dependents == Dependents::Refuse {
            const HYBRID: &str = "SELECT count(*) FROM gateway WHERE device_of = ?";
            let devices = w.count("SELECT count(*) FROM device WHERE network = ?", id.0).await?;
            check::uninhabited(id, devices, w.count(HYBRID, id.0).await?)?;
        }
        let existed = remove(&mut w, id).await?;
        w.commit().await?;
        Ok(existed)
    }
}

/// Removes a network, its devices, and those that are gateways to themselves.
pub(super) async fn remove(w: &mut Writer<'_>, id: NetworkId) -> Result<bool> {
    let Some(network) = find(w.connection(), id).await? else { return Ok(false) };
    let devices: Vec<i64> =
        sqlx::query_scalar("SELECT id FROM device WHERE network = ? ORDER BY id")
            .bind(id.0)
            .fetch_all(w.connection())
            .await?;
    for device in devices {
        device::remove(w, DeviceId(device)).await?;
    }
    let hybrid: Vec<i64> =
        sqlx::query_scalar("SELECT id FROM gateway WHERE device_of = ? ORDER BY id")
            .bind(id.0)
            .fetch_all(w.connection())
            .await?;
    for gateway in hybrid {
        gateway::remove(w, GatewayId(gateway)).await?;
    }
    w.delete("DELETE FROM network WHERE id = ?", id.0).await?;
    w.deleted(OutboxRecord::Network(network)).await?;
    Ok(true)
}

pub(super) async fn find(
    connection: &mut SqliteConnection,
    id: NetworkId,
) -> Result<Option<Network>> {
    const BY_ID: &str = concat!("SELECT ", network_columns!(), " FROM network n WHERE n.id = ?");
    let row = sqlx::query(BY_ID).bind(id.0).fetch_optional(connection).await?;
    row.as_ref().map(network).transpose()
}

fn network(row: &SqliteRow) -> Result<Network> {
    Columns::of(row).network()
}

/// Whether what it refers to exists and its SSID is free in the account.
async fn fits(w: &mut Writer<'_>, new: &Network) -> Result<()> {
    if w.count("SELECT count(*) FROM account WHERE id = ?", new.account.0).await? == 0 {
        return Err(Error::no_such(Entity::Account, new.account.0));
    }
    if let Some(id) = new.gateway {
        let home = gateway::find(w.connection(), id).await?;
        let home = home.ok_or(Error::no_such(Entity::Gateway, id.0))?.facts;
        check::home(&home.name, home.device_of)?;
    }
    let taken: Option<i64> =
        sqlx::query_scalar("SELECT id FROM network WHERE account = ? AND ssid = ? AND id <> ?")
            .bind(new.account.0)
            .bind(new.ssid.as_bytes())
            .bind(new.id.0)
            .fetch_optional(w.connection())
            .await?;
    match taken {
        Some(by) => {
            Err(Error::SsidTaken { account: new.account, ssid: new.ssid, by: NetworkId(by) })
        }
        None => Ok(()),
    }
}

async fn key_counts(w: &mut Writer<'_>, id: NetworkId) -> Result<KeyCounts> {
    const COUNTS: &str =
        "SELECT key_kind, count(*) FROM device WHERE network = ? GROUP BY key_kind";
    let mut counts = KeyCounts::default();
    for row in sqlx::query(COUNTS).bind(id.0).fetch_all(w.connection()).await? {
        let word: &str = row.try_get(0)?;
        if let Some(kind) = KeyKind::ALL.into_iter().find(|k| k.as_str() == word) {
            counts.add(kind, row.try_get(1)?);
        }
    }
    Ok(counts)
}
