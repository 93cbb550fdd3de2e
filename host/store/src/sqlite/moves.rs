//! What was learned of moves.

use async_trait::async_trait;
use homeward_model::{GatewayId, UnixTime};
use sqlx::Row;

use super::SqliteStore;
use crate::error::Result;
use crate::moves::{MoveWeight, Moves};

#[async_trait]
impl Moves for SqliteStore {
    async fn moves(&self, limit: u32) -> Result<Vec<MoveWeight>> {
        const LATEST: &str = "SELECT origin, destination, weight, at FROM move \
             ORDER BY at DESC, origin, destination LIMIT ?";
        let rows = sqlx::query(LATEST).bind(limit).fetch_all(&self.readers).await?;
        rows.iter()
            .map(|row| {
                Ok(MoveWeight {
                    from: GatewayId(row.try_get(0)?),
                    to: GatewayId(row.try_get(1)?),
                    weight: row.try_get(2)?,
                    at: UnixTime(row.try_get(3)?),
                })
            })
            .collect()
    }

    async fn keep_moves(&self, moves: &[MoveWeight], forget: UnixTime) -> Result<()> {
        // A gateway may have been deleted since somebody moved there.
        const KEEP: &str = "INSERT INTO move (origin, destination, weight, at) \
             SELECT ?1, ?2, ?3, ?4 WHERE 2 = (SELECT count(*) FROM gateway WHERE id IN (?1, ?2)) \
             ON CONFLICT DO UPDATE SET weight = excluded.weight, at = excluded.at";
        let mut w = self.begin().await?;
        for one in moves.iter().filter(|one| one.is_sound()) {
            sqlx::query(KEEP)
                .bind(one.from.0)
                .bind(one.to.0)
                .bind(one.weight)
                .bind(one.at.0)
                .execute(w.connection())
                .await?;
        }
        sqlx::query("DELETE FROM move WHERE at < ?").bind(forget.0).execute(w.connection()).await?;
        w.commit().await
    }
}
