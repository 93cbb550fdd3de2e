//! The outbox: reading, pruning, waiting.

use std::time::Duration;

use async_trait::async_trait;
use homeward_model::UnixTime;
use sqlx::Row;
use sqlx::sqlite::SqliteRow;
use tokio::time::MissedTickBehavior;

use super::SqliteStore;
use crate::error::{Entity, Error, Result};
use crate::outbox::{Operation, OutboxEntry, OutboxRecord, Seq};
use crate::store::Outbox;

/// How often to look whether anybody committed. Half of what the trait promises is left for a
/// busy machine.
const POLL: Duration = Duration::from_millis(50);

/// The mark of pruning, and the entries. One statement, so that no pruning comes in between.
const AFTER: &str = "SELECT p.seq, o.seq, o.entity, o.record, o.operation, o.payload, o.time \
     FROM outbox_pruned p LEFT JOIN outbox o ON o.seq > ?1 AND ?1 >= p.seq \
     WHERE p.one = 1 ORDER BY o.seq LIMIT ?2";

#[async_trait]
impl Outbox for SqliteStore {
    async fn outbox_after(&self, after: Seq, limit: u32) -> Result<Vec<OutboxEntry>> {
        // A limit of 0 would hide the mark; the first row is dropped below.
        let query = sqlx::query(AFTER).bind(after.0).bind(limit.max(1));
        let rows = query.fetch_all(&self.readers).await?;
        if let Some(row) = rows.first() {
            let pruned = Seq(row.try_get(0)?);
            if after < pruned {
                return Err(Error::OutboxPruned { after, pruned });
            }
        }
        let entries = rows.iter().take(limit as usize).filter_map(|row| entry(row).transpose());
        entries.collect()
    }

    async fn outbox_head(&self) -> Result<Seq> {
        // The counter, not the newest entry, which may be pruned.
        const HEAD: &str = "SELECT seq FROM sqlite_sequence WHERE name = 'outbox'";
        let head: Option<i64> = sqlx::query_scalar(HEAD).fetch_optional(&self.readers).await?;
        Ok(head.map_or(Seq::ZERO, Seq))
    }

    async fn prune_outbox(&self, before: UnixTime) -> Result<u64> {
        const KEPT: &str = "SELECT seq FROM outbox WHERE time >= ? ORDER BY seq LIMIT 1";
        let mut w = self.begin().await?;
        let kept: Option<i64> =
            sqlx::query_scalar(KEPT).bind(before.0).fetch_optional(w.connection()).await?;
        let kept = kept.unwrap_or(i64::MAX);
        sqlx::query(
            "UPDATE outbox_pruned SET seq = max(seq, coalesce((SELECT max(seq) FROM outbox \
             WHERE seq < ?), 0))",
        )
        .bind(kept)
        .execute(w.connection())
        .await?;
        let deleted = sqlx::query("DELETE FROM outbox WHERE seq < ?").bind(kept);
        let gone = deleted.execute(w.connection()).await?.rows_affected();
        w.commit().await?;
        Ok(gone)
    }

    async fn changed(&self, after: Seq) -> Result<Seq> {
        let mut ticks = tokio::time::interval(POLL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut seen = None;
        loop {
            ticks.tick().await;
            // Taken before the head is read: a commit in between is seen the next time.
            let version = self.data_version().await?;
            if seen != Some(version) {
                seen = Some(version);
                let head = self.outbox_head().await?;
                if head > after {
                    return Ok(head);
                }
            }
        }
    }
}

impl SqliteStore {
    /// A number that changes when another connection, of whichever process, has committed. Reads
    /// a counter in shared memory, no page.
    async fn data_version(&self) -> Result<i64> {
        let mut watcher = self.watcher.lock().await;
        Ok(sqlx::query_scalar("PRAGMA data_version").fetch_one(&mut *watcher).await?)
    }
}

fn entry(row: &SqliteRow) -> Result<Option<OutboxEntry>> {
    let Some(seq) = row.try_get::<Option<i64>, _>(1)? else { return Ok(None) };
    let (entity, id): (&str, i64) = (row.try_get(2)?, row.try_get(3)?);
    let (operation, payload): (&str, &str) = (row.try_get(4)?, row.try_get(5)?);
    let unknown = || Error::Database(format!("outbox entry {seq} is of an unknown kind").into());
    let entity = Entity::ALL.into_iter().find(|e| e.as_str() == entity).ok_or_else(unknown)?;
    let operation = Operation::ALL.into_iter().find(|o| o.as_str() == operation);
    Ok(Some(OutboxEntry {
        seq: Seq(seq),
        operation: operation.ok_or_else(unknown)?,
        record: OutboxRecord::from_json(entity, id, payload)?,
        time: UnixTime(row.try_get(6)?),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sqlite::testing;

    #[test]
    fn others_commits_are_seen_well_within_200_ms() {
        assert!(POLL <= Duration::from_millis(100));
    }

    #[tokio::test]
    async fn entries_are_read_in_order_without_sorting_the_outbox() {
        let (_directory, store) = testing::empty().await;
        let plan = testing::plan(&store, AFTER).await;
        assert!(plan.iter().any(|step| step.starts_with("SEARCH o USING INTEGER PRIMARY KEY")));
        assert!(!plan.iter().any(|step| step.contains("B-TREE")), "{plan:#?}");
    }
}
