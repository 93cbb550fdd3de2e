//! Classes of service.

use async_trait::async_trait;
use homeward_model::{ClassId, ClassOfService, Name, PolicyScope};
use sqlx::sqlite::{SqliteArguments, SqliteRow};
use sqlx::{Sqlite, SqliteConnection};

use super::row::{Columns, class_columns};
use super::{SqliteStore, Writer, policy};
use crate::change::{ClassChange, NewClass, Page};
use crate::check;
use crate::error::{Entity, Error, Result};
use crate::outbox::OutboxRecord;
use crate::store::Classes;

const BY_ID: &str = concat!("SELECT ", class_columns!(), " FROM class c WHERE c.id = ?");

#[async_trait]
impl Classes for SqliteStore {
    async fn create_class(&self, new: &NewClass) -> Result<ClassOfService> {
        check::terms(&new.terms)?;
        let mut w = self.begin().await?;
        free(&mut w, &new.name, None).await?;
        let NewClass { name, coverage, terms, retention } = new.clone();
        let mut class = ClassOfService { id: ClassId(0), name, coverage, terms, retention };
        let insert = sqlx::query(
            "INSERT INTO class (name, coverage, priority, bandwidth_up, bandwidth_down, \
             quota_octets, quota_period, encryption, bonding_mirrored, bonding_striped, \
             handoff_threshold, session_timeout, idle_timeout, anchor, vlan, \
             retention) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        );
        let done = bind(insert, &class)?.execute(w.connection()).await?;
        class.id = ClassId(done.last_insert_rowid());
        w.created(OutboxRecord::Class(class.clone())).await?;
        w.commit().await?;
        Ok(class)
    }

    async fn update_class(&self, id: ClassId, change: &ClassChange) -> Result<ClassOfService> {
        let mut w = self.begin().await?;
        let found = find(w.connection(), id).await?;
        let old = found.ok_or(Error::no_such(Entity::Class, id.0))?;
        let mut class = old.clone();
        change.apply(&mut class);
        check::terms(&class.terms)?;
        free(&mut w, &class.name, Some(id)).await?;
        if *change == ClassChange::default() {
            return Ok(class);
        }
        let update = sqlx::query(
            "UPDATE class SET name = ?, coverage = ?, priority = ?, bandwidth_up = ?, \
             bandwidth_down = ?, quota_octets = ?, quota_period = ?, encryption = ?, \
             bonding_mirrored = ?, bonding_striped = ?, handoff_threshold = ?, \
             session_timeout = ?, idle_timeout = ?, anchor = ?, vlan = ?, retention = ? WHERE id = ?",
        );
        bind(update, &class)?.bind(id.0).execute(w.connection()).await?;
        let after = OutboxRecord::Class(class.clone());
        w.updated(OutboxRecord::Class(old), after, None).await?;
        w.commit().await?;
        Ok(class)
    }

    async fn class(&self, id: ClassId) -> Result<Option<ClassOfService>> {
        let row = sqlx::query(BY_ID).bind(id.0).fetch_optional(&self.readers).await?;
        row.as_ref().map(class).transpose()
    }

    async fn class_named(&self, name: &Name) -> Result<Option<ClassOfService>> {
        const BY_NAME: &str = concat!("SELECT ", class_columns!(), " FROM class c WHERE name = ?");
        let row = sqlx::query(BY_NAME).bind(name.as_str()).fetch_optional(&self.readers).await?;
        row.as_ref().map(class).transpose()
    }

    async fn classes(&self, page: Page<ClassId>) -> Result<Vec<ClassOfService>> {
        const PAGE: &str = concat!(
            "SELECT ",
            class_columns!(),
            " FROM class c WHERE c.id > ? ORDER BY c.id LIMIT ?"
        );
        let after = page.after.map_or(i64::MIN, |id| id.0);
        let rows = sqlx::query(PAGE).bind(after).bind(page.limit).fetch_all(&self.readers).await?;
        rows.iter().map(class).collect()
    }

    async fn delete_class(&self, id: ClassId) -> Result<bool> {
        let mut w = self.begin().await?;
        let Some(class) = find(w.connection(), id).await? else { return Ok(false) };
        let count = w.count("SELECT count(*) FROM account WHERE class = ?", id.0).await?;
        if count > 0 {
            let (entity, by) = (Entity::Class, Entity::Account);
            return Err(Error::Referenced { entity, id: id.0, count, by });
        }
        policy::remove(&mut w, PolicyScope::Class(id)).await?;
        w.delete("DELETE FROM class WHERE id = ?", id.0).await?;
        w.deleted(OutboxRecord::Class(class)).await?;
        w.commit().await?;
        Ok(true)
    }
}

async fn find(connection: &mut SqliteConnection, id: ClassId) -> Result<Option<ClassOfService>> {
    let row = sqlx::query(BY_ID).bind(id.0).fetch_optional(connection).await?;
    row.as_ref().map(class).transpose()
}

fn class(row: &SqliteRow) -> Result<ClassOfService> {
    Columns::of(row).class()
}

type Query<'q> = sqlx::query::Query<'q, Sqlite, SqliteArguments>;

/// Binds all columns but the identifier, in the order of the table.
fn bind<'q>(query: Query<'q>, class: &ClassOfService) -> Result<Query<'q>> {
    let terms = &class.terms;
    let octets = terms.quota.map(|q| i64::try_from(q.octets)).transpose();
    let octets = octets.map_err(|e| Error::corrupt(Entity::Class, class.id.0, e))?;
    Ok(query
        .bind(class.name.as_str().to_owned())
        .bind(class.coverage.to_string())
        .bind(u8::from(terms.priority))
        .bind(terms.bandwidth.up)
        .bind(terms.bandwidth.down)
        .bind(octets)
        .bind(terms.quota.map(|q| q.period.to_string()))
        .bind(terms.encryption.to_string())
        .bind(terms.bonding.mirrored)
        .bind(terms.bonding.striped)
        .bind(terms.handoff_threshold.map(|t| t.0))
        .bind(terms.session_timeout.map(|t| t.0))
        .bind(terms.idle_timeout.map(|t| t.0))
        .bind(terms.anchor.to_string())
        .bind(terms.vlan.map(u16::from))
        .bind(class.retention.map(u32::from)))
}

async fn free(w: &mut Writer<'_>, name: &Name, except: Option<ClassId>) -> Result<()> {
    let taken = sqlx::query_scalar::<_, i64>("SELECT id FROM class WHERE name = ? AND id IS NOT ?")
        .bind(name.as_str())
        .bind(except.map(|id| id.0))
        .fetch_optional(w.connection())
        .await?;
    match taken {
        Some(_) => Err(Error::NameTaken { entity: Entity::Class, name: name.clone() }),
        None => Ok(()),
    }
}
