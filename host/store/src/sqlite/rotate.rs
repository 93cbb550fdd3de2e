//! Rotation of the sealing key.
//!
//! Three steps, each of which leaves on disk what opens:
//!
//! 1. the new key is added to the key file (atomically replaced, and on disk);
//! 2. one transaction seals every value anew and makes the new key the datastore's;
//! 3. all other keys are dropped from the key file.
//!
//! After a crash the file may hold more keys than are needed, never fewer. The next rotation
//! begins at step 1 again, and its step 3 drops the leftovers too. One rotation runs at a time: it
//! holds the key file's lock throughout.

use homeward_seal::{KeyId, KeyRing, Lock, Slot};
use serde_json::json;
use sqlx::{AssertSqlSafe, Row, SqlSafeStr};

use super::{SqliteStore, Writer};
use crate::audit::{AuditKind, Note};
use crate::error::{Error, Result};
use crate::outbox::Operation;
use crate::sealed;
use crate::store::Rotation;

/// Rows per statement: what is held in memory at a time.
const BATCH: u32 = 1000;

/// How far a rotation has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    /// The new key is in the key file.
    Added,
    /// Devices' keys are sealed anew, and nothing is committed.
    Sealing,
    /// Everything is sealed anew and committed.
    Sealed,
    /// The other keys are dropped from the key file.
    Dropped,
}

pub(super) async fn rotate(store: &SqliteStore) -> Result<Rotation> {
    run(store, |step| tracing::debug!(?step, "rotating the sealing key")).await
}

/// Rotates, and tells `after` of each step.
async fn run(store: &SqliteStore, mut after: impl FnMut(Step)) -> Result<Rotation> {
    let path = store.sealer.ring().path().to_owned();
    let locked = path.clone();
    let lock = tokio::task::spawn_blocking(move || Lock::of(&locked)).await;
    let lock = lock.map_err(|e| Error::Database(e.into()))??;

    let now = store.clock.unix();
    let key = store.with_entropy(|entropy| KeyRing::add(&lock, &path, entropy, now))?;
    after(Step::Added);

    store.sealer.reload()?;
    let mut w = store.begin().await?;
    let devices = reseal_column(&mut w, key, sealed::device_key).await?;
    after(Step::Sealing);
    let gateways = reseal_column(&mut w, key, sealed::radius_secret).await?;
    let authorities = reseal_column(&mut w, key, sealed::authority_key).await?;
    let logins = reseal_column(&mut w, key, sealed::login_verifier).await?;
    let old = w.sealing_key().await?;
    w.note(Some(Note {
        kind: AuditKind::SealingKey,
        record: 1,
        operation: Operation::Update,
        before: Some(json!({ "key": old.to_string() })),
        after: Some(json!({ "key": key.to_string() })),
    }))
    .await?;
    sqlx::query("UPDATE sealing SET key = ?")
        .bind(key.octets().to_vec())
        .execute(w.connection())
        .await?;
    w.commit().await?;
    after(Step::Sealed);

    KeyRing::retain(&lock, &path, key)?;
    after(Step::Dropped);
    let resealed = devices + gateways + authorities + logins;
    tracing::info!(key = %key, resealed, "sealing key rotated");
    Ok(Rotation { key: Some(key), resealed })
}

async fn reseal_column(w: &mut Writer<'_>, key: KeyId, slot: fn(i64) -> Slot) -> Result<u64> {
    let Slot { table, column, .. } = slot(0);
    // Names out of this crate's own constants.
    let select = AssertSqlSafe(format!(
        "SELECT id, {column} FROM {table} WHERE id > ? AND {column} IS NOT NULL ORDER BY id LIMIT ?"
    ))
    .into_sql_str();
    let update =
        AssertSqlSafe(format!("UPDATE {table} SET {column} = ? WHERE id = ?")).into_sql_str();
    let (mut after, mut resealed) = (0i64, 0);
    loop {
        let rows =
            sqlx::query(select.clone()).bind(after).bind(BATCH).fetch_all(w.connection()).await?;
        if rows.is_empty() {
            return Ok(resealed);
        }
        for row in rows {
            let (id, old): (i64, &[u8]) = (row.try_get(0)?, row.try_get(1)?);
            let plain = w.store.sealer.open(slot(id), old)?;
            let new = w.seal(slot(id), key, &plain)?;
            let query = sqlx::query(update.clone()).bind(new).bind(id);
            query.execute(w.connection()).await?;
            (after, resealed) = (id, resealed + 1);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use homeward_model::{
        Coverage, DeviceId, DeviceKey, GatewayId, LookupForm, Mac, NetworkId, Psk, Secret,
        Security, ServiceTerms, Status,
    };
    use tempfile::TempDir;

    use super::*;
    use crate::sqlite::testing::{empty, open};
    use crate::{
        Accounts, Classes, Devices, Gateways, Keys, Networks, NewAccount, NewClass, NewDevice,
        NewGateway, NewNetwork,
    };

    const FILES: [&str; 3] = ["db", "db-wal", "keys"];

    fn key(octet: u8) -> DeviceKey {
        DeviceKey::Psk(Psk::new([octet; 32]))
    }

    /// A datastore with a gateway's secret and more keys than one batch takes.
    async fn filled() -> (TempDir, SqliteStore) {
        let (directory, store) = empty().await;
        let new = NewClass {
            name: "gold".parse().unwrap(),
            coverage: Coverage::National,
            terms: ServiceTerms::default(),
            retention: None,
        };
        let class = store.create_class(&new).await.unwrap().id;
        let name = "smith".parse().unwrap();
        let new = NewAccount { name, class, status: Status::Active };
        let account = store.create_account(&new).await.unwrap().id;
        let new = NewGateway {
            name: "gw".parse().unwrap(),
            mac: Mac::new([2, 0, 0, 0, 0, 1]),
            place: "gb/london".parse().unwrap(),
            operator: "north".parse().unwrap(),
            address: None,
            radius_secret: Secret::new("of the gateway"),
            lookup: LookupForm::Homeward,
            status: Status::Active,
            device_of: None,
            site: None,
        };
        let gateway = Some(store.create_gateway(&new).await.unwrap().id);
        let (ssid, security) = ("home".parse().unwrap(), Security::Wpa2Psk);
        let new = NewNetwork { account, gateway, ssid, security, status: Status::Active };
        let network = store.create_network(&new).await.unwrap().id;
        let devices: Vec<NewDevice> = (0..BATCH + 5).map(|n| new_device(network, n)).collect();
        store.create_devices(&devices).await.unwrap();
        (directory, store)
    }

    fn new_device(network: NetworkId, n: u32) -> NewDevice {
        let [_, a, b, c] = n.to_be_bytes();
        let (mac, label) = (Mac::new([2, 0, 0, a, b, c]), String::new());
        NewDevice { network, mac, key: Some(key(c)), label, status: Status::Active }
    }

    /// What a crash would leave: the files as they are now.
    fn copy(directory: &Path) -> TempDir {
        let copy = TempDir::new().unwrap();
        for file in FILES {
            fs::copy(directory.join(file), copy.path().join(file)).unwrap();
        }
        copy
    }

    async fn opens_all(store: &SqliteStore, step: &str) {
        for id in [1, 2, i64::from(BATCH), i64::from(BATCH) + 5] {
            let device = store.device(DeviceId(id)).await.unwrap().unwrap();
            assert_eq!(device.key, Some(key((id - 1) as u8)), "{step}");
        }
        let gateway = store.gateway(GatewayId(1)).await.unwrap().unwrap();
        assert_eq!(gateway.radius_secret, Secret::new("of the gateway"), "{step}");
    }

    #[tokio::test]
    async fn a_crash_at_any_step_leaves_what_opens_and_the_next_rotation_cleans_up() {
        let (directory, store) = filled().await;
        let mut copies = Vec::new();
        let rotation = run(&store, |step| copies.push((step, copy(directory.path())))).await;
        assert_eq!(rotation.unwrap().resealed, u64::from(BATCH) + 6);
        opens_all(&store, "after").await;

        let steps: Vec<Step> = copies.iter().map(|(step, _)| *step).collect();
        assert_eq!(steps, [Step::Added, Step::Sealing, Step::Sealed, Step::Dropped]);
        for (step, copy) in copies {
            let keys = || KeyRing::load(&copy.path().join("keys")).unwrap().ids().count();
            assert_eq!(keys(), if step == Step::Dropped { 1 } else { 2 }, "{step:?}");
            let store = open(copy.path(), 2).await;
            opens_all(&store, &format!("{step:?}")).await;
            store.rotate_keys().await.unwrap();
            assert_eq!(keys(), 1, "{step:?}");
            store.close().await;
            opens_all(&open(copy.path(), 3).await, &format!("{step:?}, rotated")).await;
        }
    }

    #[tokio::test]
    async fn a_value_that_does_not_open_stops_the_rotation_and_harms_nothing() {
        let (directory, store) = filled().await;
        let mut w = store.begin().await.unwrap();
        let spoil = sqlx::query("UPDATE device SET key = zeroblob(134) WHERE id = 3");
        spoil.execute(w.connection()).await.unwrap();
        w.commit().await.unwrap();
        let error = store.rotate_keys().await.unwrap_err();
        assert_eq!(error.to_string(), "device 3: its key is no sealed value of this version");
        opens_all(&store, "after a failure").await;
        opens_all(&open(directory.path(), 4).await, "after a failure").await;
    }
}
