//! Who may open a control channel.

use std::collections::BTreeMap;

use async_trait::async_trait;
use homeward_model::{GatewayId, Secret, Status, UnixTime};
use serde_json::{Value, json};
use sqlx::Row;
use sqlx::sqlite::SqliteRow;

use super::gateway;
use super::{SqliteStore, Writer};
use crate::audit::{Note, hex};
use crate::enrolment::{
    Credential, CredentialEnd, Enrolment, GatewayAccess, NewCredential, REMEMBERED, Redeemed,
    Renewed, StoredAuthority,
};
use crate::error::{Entity, Error, Result};
use crate::outbox::{GatewayFacts, Operation, OutboxRecord};
use crate::sealed::{self, into_secret};

/// The columns that [`credential`] takes.
const BY_SERIAL: &str =
    "SELECT serial, gateway, issued, not_after, used, ended, end FROM credential WHERE serial = ?";
/// The same columns.
const CREDENTIALS: &str = "SELECT serial, gateway, issued, not_after, used, ended, end \
     FROM credential WHERE gateway BETWEEN ? AND ? ORDER BY gateway, issued, serial";
const TOKENS: &str =
    "SELECT gateway, expires, used FROM enrolment_token WHERE gateway BETWEEN ? AND ?";

#[async_trait]
impl Enrolment for SqliteStore {
    async fn authority(&self) -> Result<Option<StoredAuthority>> {
        const NEWEST: &str = "SELECT id, certificate, key FROM authority ORDER BY id DESC LIMIT 1";
        let row = sqlx::query(NEWEST).fetch_optional(&self.readers).await?;
        row.map(|row| self.open_authority(&row)).transpose()
    }

    async fn found_authority(&self, new: &StoredAuthority) -> Result<StoredAuthority> {
        const NEWEST: &str = "SELECT id, certificate, key FROM authority ORDER BY id DESC LIMIT 1";
        let mut w = self.begin().await?;
        if let Some(row) = sqlx::query(NEWEST).fetch_optional(w.connection()).await? {
            return self.open_authority(&row);
        }
        let (id, key) = (w.next_id("authority").await?, w.sealing_key().await?);
        let sealed = w.seal(sealed::authority_key(id), key, new.key.expose())?;
        let created = self.clock.unix();
        sqlx::query("INSERT INTO authority (id, certificate, key, created) VALUES (?, ?, ?, ?)")
            .bind(id)
            .bind(new.certificate.as_slice())
            .bind(sealed)
            .bind(created.0)
            .execute(w.connection())
            .await?;
        w.note(Some(Note::authority(id, new))).await?;
        w.commit().await?;
        Ok(new.clone())
    }

    async fn put_token(&self, gateway: GatewayId, hash: [u8; 32], expires: UnixTime) -> Result<()> {
        const PUT: &str = "INSERT INTO enrolment_token (gateway, hash, expires, used) \
             VALUES (?, ?, ?, NULL) ON CONFLICT (gateway) DO UPDATE SET hash = excluded.hash, \
             expires = excluded.expires, used = NULL";
        let mut w = self.begin().await?;
        if gateway::find(w.connection(), gateway).await?.is_none() {
            return Err(Error::no_such(Entity::Gateway, gateway.0));
        }
        let put = sqlx::query(PUT).bind(gateway.0).bind(hash.to_vec()).bind(expires.0);
        put.execute(w.connection()).await?;
        w.note_access(gateway, Operation::Create, json!({ "token_expires": expires })).await?;
        w.commit().await
    }

    async fn redeem_token(&self, hash: [u8; 32], new: &NewCredential) -> Result<Redeemed> {
        const TOKEN: &str = "SELECT gateway, expires, used FROM enrolment_token WHERE hash = ?";
        let mut w = self.begin().await?;
        let row = sqlx::query(TOKEN).bind(hash.to_vec()).fetch_optional(w.connection()).await?;
        let Some(row) = row else { return Ok(Redeemed::Unknown) };
        let (id, expires, used) = (GatewayId(row.try_get(0)?), row.try_get(1)?, row.try_get(2)?);
        if Option::<i64>::is_some(&used) {
            return Ok(Redeemed::Used);
        }
        if new.issued.0 >= expires {
            return Ok(Redeemed::Expired);
        }
        let facts = w.gateway_facts(id).await?;
        if facts.status == Status::Suspended {
            return Ok(Redeemed::Suspended);
        }
        sqlx::query("UPDATE enrolment_token SET used = ? WHERE gateway = ?")
            .bind(new.issued.0)
            .bind(id.0)
            .execute(w.connection())
            .await?;
        w.end_credentials(id, new.issued, CredentialEnd::Replaced).await?;
        w.issue(id, new).await?;
        let what = json!({ "credential": hex(&new.serial), "by": "token" });
        w.note_access(id, Operation::Create, what).await?;
        w.touched(OutboxRecord::Gateway(facts.clone())).await?;
        w.commit().await?;
        Ok(Redeemed::Done(facts))
    }

    async fn renew_credential(&self, serial: [u8; 16], new: &NewCredential) -> Result<Renewed> {
        let mut w = self.begin().await?;
        let Some(old) = w.credential(serial).await? else { return Ok(Renewed::Unknown) };
        if let Some((_, why)) = old.ended {
            return Ok(Renewed::Ended(why));
        }
        let facts = w.gateway_facts(old.gateway).await?;
        if facts.status == Status::Suspended {
            return Ok(Renewed::Suspended);
        }
        // Those of earlier attempts, whose answer was lost.
        sqlx::query(
            "DELETE FROM credential WHERE gateway = ? AND used IS NULL AND serial <> ? \
             AND ended IS NULL",
        )
        .bind(old.gateway.0)
        .bind(serial.to_vec())
        .execute(w.connection())
        .await?;
        w.issue(old.gateway, new).await?;
        let what = json!({ "credential": hex(&new.serial), "by": hex(&serial) });
        w.note_access(old.gateway, Operation::Create, what).await?;
        w.touched(OutboxRecord::Gateway(facts.clone())).await?;
        w.commit().await?;
        Ok(Renewed::Done(facts))
    }

    async fn credential(&self, serial: [u8; 16]) -> Result<Option<(Credential, GatewayFacts)>> {
        let mut reader = self.readers.begin().await?;
        let row = sqlx::query(BY_SERIAL).bind(serial.to_vec()).fetch_optional(&mut *reader).await?;
        let Some(found) = row.map(|row| credential(&row)).transpose()? else { return Ok(None) };
        let gateway = gateway::find(&mut reader, found.gateway).await?;
        Ok(gateway.map(|gateway| (found, gateway.facts)))
    }

    async fn use_credential(&self, serial: [u8; 16], at: UnixTime) -> Result<()> {
        let mut w = self.begin().await?;
        let Some(found) = w.credential(serial).await? else { return Ok(()) };
        if found.used.is_some() || found.ended.is_some() {
            return Ok(());
        }
        sqlx::query("UPDATE credential SET used = ? WHERE serial = ?")
            .bind(at.0)
            .bind(serial.to_vec())
            .execute(w.connection())
            .await?;
        sqlx::query(
            "UPDATE credential SET ended = ?, end = ? \
             WHERE gateway = ? AND serial <> ? AND issued <= ? AND ended IS NULL",
        )
        .bind(at.0)
        .bind(CredentialEnd::Superseded.as_str())
        .bind(found.gateway.0)
        .bind(serial.to_vec())
        .bind(found.issued.0)
        .execute(w.connection())
        .await?;
        let facts = w.gateway_facts(found.gateway).await?;
        let what = json!({ "credential": hex(&serial), "used": at });
        w.note_access(found.gateway, Operation::Update, what).await?;
        w.touched(OutboxRecord::Gateway(facts)).await?;
        w.commit().await
    }

    async fn gateway_access(&self, gateway: GatewayId) -> Result<GatewayAccess> {
        let found = self.gateway_accesses(gateway, gateway).await?;
        Ok(found.into_values().next().unwrap_or_default())
    }

    async fn gateway_accesses(
        &self,
        first: GatewayId,
        last: GatewayId,
    ) -> Result<BTreeMap<GatewayId, GatewayAccess>> {
        // One transaction, so that token and credentials belong together.
        let mut reader = self.readers.begin().await?;
        let mut found: BTreeMap<GatewayId, GatewayAccess> = BTreeMap::new();
        let rows = sqlx::query(TOKENS).bind(first.0).bind(last.0).fetch_all(&mut *reader).await?;
        for row in rows {
            let used: Option<i64> = row.try_get(2)?;
            let token = (UnixTime(row.try_get(1)?), used.map(UnixTime));
            found.entry(GatewayId(row.try_get(0)?)).or_default().token = Some(token);
        }
        let rows = sqlx::query(CREDENTIALS).bind(first.0).bind(last.0);
        for row in rows.fetch_all(&mut *reader).await? {
            let credential = credential(&row)?;
            found.entry(credential.gateway).or_default().credentials.push(credential);
        }
        Ok(found)
    }

    async fn revoke_access(&self, gateway: GatewayId) -> Result<u64> {
        let mut w = self.begin().await?;
        let facts = w.gateway_facts(gateway).await?;
        let now = self.clock.unix();
        let good = w
            .count("SELECT count(*) FROM credential WHERE gateway = ? AND ended IS NULL", gateway.0)
            .await?;
        w.end_credentials(gateway, now, CredentialEnd::Revoked).await?;
        w.delete("DELETE FROM enrolment_token WHERE gateway = ?", gateway.0).await?;
        w.note_access(gateway, Operation::Delete, json!({ "credentials": good })).await?;
        w.touched(OutboxRecord::Gateway(facts)).await?;
        w.commit().await?;
        Ok(good)
    }
}

impl SqliteStore {
    fn open_authority(&self, row: &SqliteRow) -> Result<StoredAuthority> {
        let (id, sealed): (i64, &[u8]) = (row.try_get(0)?, row.try_get(2)?);
        let key: Secret = into_secret(self.sealer.open(sealed::authority_key(id), sealed)?);
        Ok(StoredAuthority { certificate: row.try_get(1)?, key })
    }
}

impl Writer<'_> {
    async fn note_access(
        &mut self,
        gateway: GatewayId,
        operation: Operation,
        what: Value,
    ) -> Result<()> {
        self.note(Some(Note::access(gateway, operation, what))).await
    }

    async fn gateway_facts(&mut self, id: GatewayId) -> Result<GatewayFacts> {
        let found = gateway::find(self.connection(), id).await?;
        Ok(found.ok_or(Error::no_such(Entity::Gateway, id.0))?.facts)
    }

    async fn credential(&mut self, serial: [u8; 16]) -> Result<Option<Credential>> {
        let query = sqlx::query(BY_SERIAL).bind(serial.to_vec());
        query.fetch_optional(self.connection()).await?.map(|row| credential(&row)).transpose()
    }

    async fn end_credentials(
        &mut self,
        gateway: GatewayId,
        at: UnixTime,
        why: CredentialEnd,
    ) -> Result<()> {
        sqlx::query("UPDATE credential SET ended = ?, end = ? WHERE gateway = ? AND ended IS NULL")
            .bind(at.0)
            .bind(why.as_str())
            .bind(gateway.0)
            .execute(self.connection())
            .await?;
        Ok(())
    }

    /// Notes a new credential, and forgets old ones of its gateway.
    async fn issue(&mut self, gateway: GatewayId, new: &NewCredential) -> Result<()> {
        sqlx::query("DELETE FROM credential WHERE gateway = ? AND not_after < ?")
            .bind(gateway.0)
            .bind(new.issued.0.saturating_sub(REMEMBERED))
            .execute(self.connection())
            .await?;
        sqlx::query(
            "INSERT INTO credential (serial, gateway, issued, not_after) VALUES (?, ?, ?, ?)",
        )
        .bind(new.serial.to_vec())
        .bind(gateway.0)
        .bind(new.issued.0)
        .bind(new.not_after.0)
        .execute(self.connection())
        .await?;
        Ok(())
    }
}

fn credential(row: &SqliteRow) -> Result<Credential> {
    let gateway = GatewayId(row.try_get(1)?);
    let wrong = |what: &str| Error::corrupt(Entity::Gateway, gateway.0, what.to_owned());
    let serial: &[u8] = row.try_get(0)?;
    let serial = serial.try_into().map_err(|_| wrong("a serial number has 16 octets"))?;
    let (used, ended): (Option<i64>, Option<i64>) = (row.try_get(4)?, row.try_get(5)?);
    let end: Option<&str> = row.try_get(6)?;
    let ended = match (ended, end) {
        (Some(at), Some(word)) => {
            let why = CredentialEnd::ALL.into_iter().find(|e| e.as_str() == word);
            Some((UnixTime(at), why.ok_or_else(|| wrong("a credential's end is unknown"))?))
        }
        _ => None,
    };
    let (issued, not_after) = (UnixTime(row.try_get(2)?), UnixTime(row.try_get(3)?));
    Ok(Credential { serial, gateway, issued, not_after, used: used.map(UnixTime), ended })
}
