//! Devices.

use async_trait::async_trait;
use homeward_model::{Device, DeviceId, DeviceKey, Mac, NetworkId, Ssid};
use homeward_seal::KeyId;
use sqlx::QueryBuilder;
use sqlx::sqlite::{SqliteConnection, SqliteRow};

use super::row::{Columns, SealedDevice, device_columns};
use super::{SqliteStore, Writer, network};
use crate::change::{DeviceChange, DeviceFilter, NewDevice, Page};
use crate::check;
use crate::error::{Entity, Error, Result};
use crate::outbox::{DeviceFacts, OutboxRecord};
use crate::sealed::{self, encode_key};
use crate::store::Devices;

#[async_trait]
impl Devices for SqliteStore {
    async fn create_device(&self, new: &NewDevice) -> Result<Device> {
        let mut w = self.begin().await?;
        let key = w.sealing_key().await?;
        let device = create(&mut w, key, new).await?;
        w.commit().await?;
        Ok(device)
    }

    async fn create_devices(&self, new: &[NewDevice]) -> Result<Vec<Device>> {
        let mut w = self.begin().await?;
        let key = w.sealing_key().await?;
        let mut made = Vec::with_capacity(new.len());
        for (index, new) in new.iter().enumerate() {
            let device = create(&mut w, key, new).await;
            made.push(device.map_err(|e| Error::Batch { index, source: Box::new(e) })?);
        }
        w.commit().await?;
        Ok(made)
    }

    async fn update_device(&self, id: DeviceId, change: &DeviceChange) -> Result<Device> {
        let mut w = self.begin().await?;
        let found = find(w.connection(), id).await?;
        let old = found.ok_or(Error::no_such(Entity::Device, id.0))?;
        let (before, mut facts, mut sealed) =
            (old.facts.clone(), old.facts.clone(), old.key.clone());
        let key = match &change.key {
            Some(key) => key.clone(),
            None => old.open(&self.sealer)?.key,
        };
        change.apply(&mut facts);
        fits(&mut w, &facts).await?;
        if *change == DeviceChange::default() {
            return Ok(facts.with_key(key));
        }
        if change.key.is_some() {
            let sealing = w.sealing_key().await?;
            sealed = seal(&w, id, sealing, key.as_ref())?;
        }
        sqlx::query(
            "UPDATE device SET mac = ?, key_kind = ?, key = ?, label = ?, status = ? WHERE id = ?",
        )
        .bind(facts.mac.octets().to_vec())
        .bind(facts.key.as_str())
        .bind(sealed)
        .bind(facts.label.as_str())
        .bind(facts.status.to_string())
        .bind(id.0)
        .execute(w.connection())
        .await?;
        let secret = change.key.as_ref().map(|_| "key_itself");
        let (before, after) = (OutboxRecord::Device(before), OutboxRecord::Device(facts.clone()));
        w.updated(before, after, secret).await?;
        w.commit().await?;
        Ok(facts.with_key(key))
    }

    async fn device(&self, id: DeviceId) -> Result<Option<Device>> {
        let found = find(&mut *self.readers.acquire().await?, id).await?;
        Ok(found.map(|d| d.open(&self.sealer)).transpose()?)
    }

    async fn device_in(&self, network: NetworkId, mac: Mac) -> Result<Option<Device>> {
        const IN: &str = concat!(
            "SELECT ",
            device_columns!(),
            " FROM device d WHERE d.network = ? AND d.mac = ?"
        );
        let query = sqlx::query(IN).bind(network.0).bind(mac.octets().to_vec());
        let row = query.fetch_optional(&self.readers).await?;
        row.map(|row| self.open_device(&row)).transpose()
    }

    async fn devices_at(&self, mac: Mac, ssid: Ssid) -> Result<Vec<Device>> {
        const AT: &str = concat!(
            "SELECT ",
            device_columns!(),
            " FROM device d JOIN network n ON n.id = d.network \
             WHERE d.mac = ? AND n.ssid = ? ORDER BY d.id"
        );
        let query = sqlx::query(AT).bind(mac.octets().to_vec()).bind(ssid.as_bytes());
        let rows = query.fetch_all(&self.readers).await?;
        rows.iter().map(|row| self.open_device(row)).collect()
    }

    async fn devices(&self, filter: &DeviceFilter, page: Page<DeviceId>) -> Result<Vec<Device>> {
        const ALL: &str = concat!("SELECT ", device_columns!(), " FROM device d WHERE d.id > ");
        let mut query = QueryBuilder::new(ALL);
        query.push_bind(page.after.map_or(i64::MIN, |id| id.0));
        if let Some(account) = filter.account {
            query.push(" AND d.network IN (SELECT id FROM network WHERE account = ");
            query.push_bind(account.0).push(")");
        }
        if let Some(network) = filter.network {
            query.push(" AND d.network = ").push_bind(network.0);
        }
        if let Some(mac) = filter.mac {
            query.push(" AND d.mac = ").push_bind(mac.octets().to_vec());
        }
        if let Some(status) = filter.status {
            query.push(" AND d.status = ").push_bind(status.to_string());
        }
        query.push(" ORDER BY d.id LIMIT ").push_bind(page.limit);
        let rows = query.build().fetch_all(&self.readers).await?;
        rows.iter().map(|row| self.open_device(row)).collect()
    }

    async fn delete_device(&self, id: DeviceId) -> Result<bool> {
        let mut w = self.begin().await?;
        let existed = remove(&mut w, id).await?;
        w.commit().await?;
        Ok(existed)
    }
}

impl SqliteStore {
    fn open_device(&self, row: &SqliteRow) -> Result<Device> {
        Ok(Columns::of(row).device()?.open(&self.sealer)?)
    }
}

/// Removes a device. Its key stays closed, so that one that does not open can be removed too.
pub(super) async fn remove(w: &mut Writer<'_>, id: DeviceId) -> Result<bool> {
    let Some(device) = find(w.connection(), id).await? else { return Ok(false) };
    w.delete("DELETE FROM device WHERE id = ?", id.0).await?;
    w.deleted(OutboxRecord::Device(device.facts)).await?;
    Ok(true)
}

async fn create(w: &mut Writer<'_>, sealing: KeyId, new: &NewDevice) -> Result<Device> {
    let facts = new.facts(DeviceId(w.next_id("device").await?));
    fits(w, &facts).await?;
    let sealed = seal(w, facts.id, sealing, new.key.as_ref())?;
    sqlx::query(
        "INSERT INTO device (id, network, mac, key_kind, key, label, status) \
         VALUES (?, ?, ?, ?, ?, ?, ?)",
    )
    .bind(facts.id.0)
    .bind(facts.network.0)
    .bind(facts.mac.octets().to_vec())
    .bind(facts.key.as_str())
    .bind(sealed)
    .bind(facts.label.as_str())
    .bind(facts.status.to_string())
    .execute(w.connection())
    .await?;
    w.created(OutboxRecord::Device(facts.clone())).await?;
    Ok(facts.with_key(new.key.clone()))
}

async fn find(connection: &mut SqliteConnection, id: DeviceId) -> Result<Option<SealedDevice>> {
    const BY_ID: &str = concat!("SELECT ", device_columns!(), " FROM device d WHERE d.id = ?");
    let row = sqlx::query(BY_ID).bind(id.0).fetch_optional(connection).await?;
    row.map(|row| Columns::of(&row).device()).transpose()
}

fn seal(
    w: &Writer<'_>,
    id: DeviceId,
    sealing: KeyId,
    key: Option<&DeviceKey>,
) -> Result<Option<Vec<u8>>> {
    let seal = |key| w.seal(sealed::device_key(id.0), sealing, &encode_key(key));
    Ok(key.map(seal).transpose()?)
}

async fn fits(w: &mut Writer<'_>, new: &DeviceFacts) -> Result<()> {
    check::device(new.mac, &new.label)?;
    let network = network::find(w.connection(), new.network).await?;
    let network = network.ok_or(Error::no_such(Entity::Network, new.network.0))?;
    check::key(network.id, network.security, new.key)?;
    let taken: Option<i64> =
        sqlx::query_scalar("SELECT id FROM device WHERE network = ? AND mac = ? AND id <> ?")
            .bind(new.network.0)
            .bind(new.mac.octets().to_vec())
            .bind(new.id.0)
            .fetch_optional(w.connection())
            .await?;
    match taken {
        Some(by) => {
            Err(Error::DeviceTaken { network: new.network, mac: new.mac, by: DeviceId(by) })
        }
        None => Ok(()),
    }
}
