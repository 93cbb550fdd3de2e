//! Policies.

use async_trait::async_trait;
use homeward_model::{ClassId, Mac, OffloadPolicy, PolicyScope};
use sqlx::sqlite::{SqliteConnection, SqliteRow};
use sqlx::{Row, Sqlite};

use super::{SqliteStore, Writer};
use crate::check;
use crate::error::{Entity, Error, Invalid, Result};
use crate::outbox::OutboxRecord;
use crate::policy::{Policies, StoredPolicy};

/// The columns that [`stored`] takes.
macro_rules! select {
    ($rest:literal) => {
        concat!("SELECT id, scope, class, mac, policy FROM policy ", $rest)
    };
}

#[async_trait]
impl Policies for SqliteStore {
    async fn set_policy(&self, scope: PolicyScope, policy: &OffloadPolicy) -> Result<()> {
        policy.check().map_err(Invalid::Policy)?;
        if let PolicyScope::Mac(mac) = scope {
            check::individual(mac)?;
        }
        let mut w = self.begin().await?;
        if let PolicyScope::Class(class) = scope
            && w.count("SELECT count(*) FROM class WHERE id = ?", class.0).await? == 0
        {
            return Err(Error::no_such(Entity::Class, class.0));
        }
        let old = find(w.connection(), scope).await?;
        if old.as_ref().is_some_and(|old| old.policy == *policy) {
            return Ok(());
        }
        let id = match &old {
            Some(old) => old.id,
            None => w.next_id("policy").await?,
        };
        let stored = StoredPolicy { id, scope, policy: policy.clone() };
        let json = serde_json::to_string(policy);
        let json = json.map_err(|e| Error::corrupt(Entity::Policy, id, e))?;
        match old {
            Some(old) => {
                sqlx::query("UPDATE policy SET policy = ? WHERE id = ?")
                    .bind(json)
                    .bind(id)
                    .execute(w.connection())
                    .await?;
                w.updated(OutboxRecord::Policy(old), OutboxRecord::Policy(stored), None).await?;
            }
            None => {
                let (word, class, mac) = columns(scope);
                sqlx::query(
                    "INSERT INTO policy (id, scope, class, mac, policy) VALUES (?, ?, ?, ?, ?)",
                )
                .bind(id)
                .bind(word)
                .bind(class)
                .bind(mac)
                .bind(json)
                .execute(w.connection())
                .await?;
                w.created(OutboxRecord::Policy(stored)).await?;
            }
        }
        w.commit().await
    }

    async fn policy(&self, scope: PolicyScope) -> Result<Option<OffloadPolicy>> {
        let found = find(&mut *self.readers.acquire().await?, scope).await?;
        Ok(found.map(|stored| stored.policy))
    }

    async fn policies(&self) -> Result<Vec<(PolicyScope, OffloadPolicy)>> {
        let rows = sqlx::query(select!("")).fetch_all(&self.readers).await?;
        let all = rows.iter().map(|row| stored(row).map(|one| (one.scope, one.policy)));
        let mut all = all.collect::<Result<Vec<_>>>()?;
        all.sort_unstable_by_key(|(scope, _)| *scope);
        Ok(all)
    }

    async fn clear_policy(&self, scope: PolicyScope) -> Result<bool> {
        let mut w = self.begin().await?;
        let existed = remove(&mut w, scope).await?;
        w.commit().await?;
        Ok(existed)
    }
}

/// Takes the policy of a scope away.
pub(super) async fn remove(w: &mut Writer<'_>, scope: PolicyScope) -> Result<bool> {
    let Some(stored) = find(w.connection(), scope).await? else { return Ok(false) };
    w.delete("DELETE FROM policy WHERE id = ?", stored.id).await?;
    w.deleted(OutboxRecord::Policy(stored)).await?;
    Ok(true)
}

async fn find(
    connection: &mut SqliteConnection,
    scope: PolicyScope,
) -> Result<Option<StoredPolicy>> {
    let query = match scope {
        PolicyScope::Default => sqlx::query::<Sqlite>(select!("WHERE scope = 'default'")),
        PolicyScope::Class(class) => sqlx::query(select!("WHERE class = ?")).bind(class.0),
        PolicyScope::Mac(mac) => sqlx::query(select!("WHERE mac = ?")).bind(mac.octets().to_vec()),
    };
    query.fetch_optional(connection).await?.as_ref().map(stored).transpose()
}

/// A scope as the table has it.
fn columns(scope: PolicyScope) -> (&'static str, Option<i64>, Option<Vec<u8>>) {
    match scope {
        PolicyScope::Default => ("default", None, None),
        PolicyScope::Class(class) => ("class", Some(class.0), None),
        PolicyScope::Mac(mac) => ("mac", None, Some(mac.octets().to_vec())),
    }
}

fn stored(row: &SqliteRow) -> Result<StoredPolicy> {
    let id: i64 = row.try_get(0)?;
    let (word, class): (&str, Option<i64>) = (row.try_get(1)?, row.try_get(2)?);
    let mac: Option<&[u8]> = row.try_get(3)?;
    let mac = mac.map(<[u8; 6]>::try_from).transpose();
    let mac = mac.map_err(|e| Error::corrupt(Entity::Policy, id, e))?;
    let scope = match (word, class, mac) {
        ("class", Some(class), _) => PolicyScope::Class(ClassId(class)),
        ("mac", _, Some(mac)) => PolicyScope::Mac(Mac::new(mac)),
        ("default", ..) => PolicyScope::Default,
        _ => return Err(Error::corrupt(Entity::Policy, id, "its scope is none of the known")),
    };
    let policy = serde_json::from_str(row.try_get(4)?);
    let policy = policy.map_err(|e| Error::corrupt(Entity::Policy, id, e))?;
    Ok(StoredPolicy { id, scope, policy })
}
