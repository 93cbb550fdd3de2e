//! The audit trail.

use std::sync::Arc;

use async_trait::async_trait;
use homeward_model::UnixTime;
use serde_json::Value;
use sqlx::sqlite::SqliteRow;
use sqlx::{QueryBuilder, Row};

use super::{SqliteStore, Writer};
use crate::audit::{Actor, Audit, AuditEntry, AuditFilter, Note};
use crate::error::{Error, Result};
use crate::outbox::{Operation, Seq};
use crate::store::Store;

const PRUNE: &str = "DELETE FROM audit WHERE seq IN \
     (SELECT seq FROM audit WHERE time < ? ORDER BY time, seq LIMIT ?)";

#[async_trait]
impl Audit for SqliteStore {
    async fn audit_after(
        &self,
        after: Seq,
        filter: &AuditFilter,
        limit: u32,
    ) -> Result<Vec<AuditEntry>> {
        let mut query = QueryBuilder::new(
            "SELECT seq, time, actor, kind, record, operation, before, after FROM audit \
             WHERE seq > ",
        );
        query.push_bind(after.0);
        if let Some(kind) = filter.kind {
            query.push(" AND kind = ").push_bind(kind.as_str());
        }
        if let Some(since) = filter.since {
            query.push(" AND time >= ").push_bind(since.0);
        }
        if let Some(actor) = &filter.actor {
            query.push(" AND actor = ").push_bind(actor.as_str().to_owned());
        }
        query.push(" ORDER BY seq LIMIT ").push_bind(limit);
        query.build().fetch_all(&self.readers).await?.iter().map(entry).collect()
    }

    async fn prune_audit(&self, before: UnixTime, limit: u32) -> Result<u64> {
        let mut w = self.begin().await?;
        let query = sqlx::query(PRUNE).bind(before.0).bind(limit);
        let gone = query.execute(w.connection()).await?.rows_affected();
        w.commit().await?;
        Ok(gone)
    }

    fn acting_as(&self, actor: Actor) -> Arc<dyn Store> {
        Arc::new(self.with_actor(actor))
    }
}

impl Writer<'_> {
    /// Writes into the audit trail, if somebody does this.
    pub(super) async fn note(&mut self, note: Option<Note>) -> Result<()> {
        let (Some(actor), Some(note)) = (self.store.actor.clone(), note) else { return Ok(()) };
        let json = |value: Option<Value>| value.map(|value| value.to_string());
        sqlx::query(
            "INSERT INTO audit (time, actor, kind, record, operation, before, after) \
             VALUES (?, ?, ?, ?, ?, ?, ?)",
        )
        .bind(self.store.clock.unix().0)
        .bind(actor.as_str())
        .bind(note.kind.as_str())
        .bind(note.record)
        .bind(note.operation.as_str())
        .bind(json(note.before))
        .bind(json(note.after))
        .execute(self.connection())
        .await?;
        Ok(())
    }
}

fn entry(row: &SqliteRow) -> Result<AuditEntry> {
    let seq: i64 = row.try_get(0)?;
    let wrong = |what: &str| Error::Database(format!("audit entry {seq} is of {what}").into());
    let (actor, kind): (&str, &str) = (row.try_get(2)?, row.try_get(3)?);
    let operation: &str = row.try_get(5)?;
    let operation = Operation::ALL.into_iter().find(|o| o.as_str() == operation);
    let value = |at: usize| -> Result<Option<Value>> {
        let json: Option<&str> = row.try_get(at)?;
        let value = json.map(serde_json::from_str).transpose();
        value.map_err(|_| wrong("a record that cannot be read"))
    };
    Ok(AuditEntry {
        seq: Seq(seq),
        time: UnixTime(row.try_get(1)?),
        actor: actor.parse().map_err(|_| wrong("nobody"))?,
        kind: kind.parse().map_err(|_| wrong("an unknown kind"))?,
        record: row.try_get(4)?,
        operation: operation.ok_or_else(|| wrong("an unknown operation"))?,
        before: value(6)?,
        after: value(7)?,
    })
}

#[cfg(test)]
mod tests {
    use crate::sqlite::testing;
    use crate::{Audit, Classes, NewClass, Seq};
    use homeward_model::{Coverage, ServiceTerms};

    #[tokio::test]
    async fn what_the_trail_says_cannot_be_changed() {
        let (_directory, store) = testing::empty().await;
        let store = store.with_actor("admin:fred".parse().unwrap());
        let (name, terms) = ("gold".parse().unwrap(), ServiceTerms::default());
        let new = NewClass { name, coverage: Coverage::National, terms, retention: None };
        store.create_class(&new).await.unwrap();
        let before = store.audit_after(Seq::ZERO, &Default::default(), 9).await.unwrap();
        assert_eq!(before.len(), 1);
        let mut w = store.begin().await.unwrap();
        let change = sqlx::query("UPDATE audit SET actor = 'admin:other'");
        let error = change.execute(w.connection()).await.unwrap_err();
        assert!(error.to_string().contains("is not changed"), "{error}");
        drop(w);
        assert_eq!(store.audit_after(Seq::ZERO, &Default::default(), 9).await.unwrap(), before);
    }
}
