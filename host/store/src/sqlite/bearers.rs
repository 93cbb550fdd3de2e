//! Bearers.

use async_trait::async_trait;
use homeward_model::UnixTime;
use sqlx::Row;
use sqlx::sqlite::SqliteRow;

use super::SqliteStore;
use crate::bearers::{BearerChange, Bearers, StoredBearer};
use crate::error::{Error, Result};

#[async_trait]
impl Bearers for SqliteStore {
    async fn apply_bearers(&self, changes: &[BearerChange]) -> Result<()> {
        if changes.is_empty() {
            return Ok(());
        }
        let mut w = self.begin().await?;
        for change in changes {
            let query = match change {
                BearerChange::Put(one) => sqlx::query(
                    "INSERT OR REPLACE INTO bearer (gateway, apn, address, imsi, imei, msisdn, \
                     session, since, seen) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                )
                .bind(one.gateway.as_str())
                .bind(one.apn.as_ref().map_or("", |apn| apn.as_str()))
                .bind(one.address.to_string())
                .bind(one.imsi.as_str())
                .bind(one.imei.as_ref().map(|imei| imei.as_str()))
                .bind(one.msisdn.as_ref().map(|msisdn| msisdn.as_str()))
                .bind(one.session.as_str())
                .bind(one.since.0)
                .bind(one.seen.0),
                BearerChange::Remove { gateway, apn, address } => {
                    sqlx::query("DELETE FROM bearer WHERE gateway = ? AND apn = ? AND address = ?")
                        .bind(gateway.as_str())
                        .bind(apn.as_ref().map_or("", |apn| apn.as_str()))
                        .bind(address.to_string())
                }
                BearerChange::Clear { gateway } => {
                    sqlx::query("DELETE FROM bearer WHERE gateway = ?").bind(gateway.as_str())
                }
            };
            query.execute(w.connection()).await?;
        }
        w.commit().await
    }

    async fn bearers(&self) -> Result<Vec<StoredBearer>> {
        const ALL: &str = "SELECT gateway, apn, address, imsi, imei, msisdn, session, since, seen \
             FROM bearer ORDER BY gateway, apn, address";
        sqlx::query(ALL).fetch_all(&self.readers).await?.iter().map(bearer).collect()
    }
}

fn bearer(row: &SqliteRow) -> Result<StoredBearer> {
    let (gateway, apn, address): (String, &str, &str) =
        (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?);
    let wrong = |what: &str| {
        let text = format!("a bearer of packet gateway {:?} has no {what}", row.get::<&str, _>(0));
        Error::Database(text.into())
    };
    let (imsi, imei): (&str, Option<&str>) = (row.try_get(3)?, row.try_get(4)?);
    let msisdn: Option<&str> = row.try_get(5)?;
    let apn = if apn.is_empty() { None } else { Some(apn.parse()) };
    Ok(StoredBearer {
        apn: apn.transpose().map_err(|_| wrong("access point name that can be read"))?,
        address: address.parse().map_err(|_| wrong("address that can be read"))?,
        imsi: imsi.parse().map_err(|_| wrong("IMSI that can be read"))?,
        imei: imei.map(str::parse).transpose().map_err(|_| wrong("IMEI that can be read"))?,
        msisdn: msisdn.map(str::parse).transpose().map_err(|_| wrong("number that can be read"))?,
        session: row.try_get(6)?,
        since: UnixTime(row.try_get(7)?),
        seen: UnixTime(row.try_get(8)?),
        gateway,
    })
}
