//! Subscribers.

use async_trait::async_trait;
use homeward_model::{Imsi, Msisdn, Subscriber, SubscriberId};
use sqlx::QueryBuilder;
use sqlx::sqlite::{SqliteConnection, SqliteRow};

use super::row::{Columns, subscriber_columns};
use super::{SqliteStore, Writer, issuing};
use crate::change::Page;
use crate::check;
use crate::error::{Entity, Error, Result};
use crate::outbox::OutboxRecord;
use crate::subscriber::{
    NewSubscriber, SubscriberChange, SubscriberFilter, Subscribers, ends_issued,
};

#[async_trait]
impl Subscribers for SqliteStore {
    async fn create_subscriber(&self, new: &NewSubscriber) -> Result<Subscriber> {
        let mut w = self.begin().await?;
        let subscriber = create(&mut w, new).await?;
        w.commit().await?;
        Ok(subscriber)
    }

    async fn create_subscribers(&self, new: &[NewSubscriber]) -> Result<Vec<Subscriber>> {
        let mut w = self.begin().await?;
        let mut made = Vec::with_capacity(new.len());
        for (index, new) in new.iter().enumerate() {
            let subscriber = create(&mut w, new).await;
            made.push(subscriber.map_err(|e| Error::Batch { index, source: Box::new(e) })?);
        }
        w.commit().await?;
        Ok(made)
    }

    async fn update_subscriber(
        &self,
        id: SubscriberId,
        change: &SubscriberChange,
    ) -> Result<Subscriber> {
        let mut w = self.begin().await?;
        let found = find(w.connection(), id).await?;
        let old = found.ok_or(Error::no_such(Entity::Subscriber, id.0))?;
        let mut subscriber = old.clone();
        change.apply(&mut subscriber);
        fits(&mut w, &subscriber).await?;
        if *change == SubscriberChange::default() {
            return Ok(subscriber);
        }
        if ends_issued(&old, &subscriber) {
            issuing::end(&mut w, old.imsi).await?;
        }
        sqlx::query(
            "UPDATE subscriber SET imsi = ?, msisdn = ?, account = ?, label = ?, status = ? \
             WHERE id = ?",
        )
        .bind(subscriber.imsi.as_str())
        .bind(subscriber.msisdn.as_ref().map(|msisdn| msisdn.as_str()))
        .bind(subscriber.account.0)
        .bind(subscriber.label.as_str())
        .bind(subscriber.status.to_string())
        .bind(id.0)
        .execute(w.connection())
        .await?;
        let after = OutboxRecord::Subscriber(subscriber.clone());
        w.updated(OutboxRecord::Subscriber(old), after, None).await?;
        w.commit().await?;
        Ok(subscriber)
    }

    async fn subscriber(&self, id: SubscriberId) -> Result<Option<Subscriber>> {
        find(&mut *self.readers.acquire().await?, id).await
    }

    async fn subscriber_with_imsi(&self, imsi: Imsi) -> Result<Option<Subscriber>> {
        const BY_IMSI: &str =
            concat!("SELECT ", subscriber_columns!(), " FROM subscriber s WHERE s.imsi = ?");
        let query = sqlx::query(BY_IMSI).bind(imsi.as_str());
        query.fetch_optional(&self.readers).await?.as_ref().map(subscriber).transpose()
    }

    async fn subscriber_with_msisdn(&self, msisdn: Msisdn) -> Result<Option<Subscriber>> {
        const BY_MSISDN: &str =
            concat!("SELECT ", subscriber_columns!(), " FROM subscriber s WHERE s.msisdn = ?");
        let query = sqlx::query(BY_MSISDN).bind(msisdn.as_str());
        query.fetch_optional(&self.readers).await?.as_ref().map(subscriber).transpose()
    }

    async fn subscribers(
        &self,
        filter: &SubscriberFilter,
        page: Page<SubscriberId>,
    ) -> Result<Vec<Subscriber>> {
        const ALL: &str =
            concat!("SELECT ", subscriber_columns!(), " FROM subscriber s WHERE s.id > ");
        let mut query = QueryBuilder::new(ALL);
        query.push_bind(page.after.map_or(i64::MIN, |id| id.0));
        if let Some(account) = filter.account {
            query.push(" AND s.account = ").push_bind(account.0);
        }
        if let Some(status) = filter.status {
            query.push(" AND s.status = ").push_bind(status.to_string());
        }
        query.push(" ORDER BY s.id LIMIT ").push_bind(page.limit);
        query.build().fetch_all(&self.readers).await?.iter().map(subscriber).collect()
    }

    async fn delete_subscriber(&self, id: SubscriberId) -> Result<bool> {
        let mut w = self.begin().await?;
        let existed = remove(&mut w, id).await?;
        w.commit().await?;
        Ok(existed)
    }
}

/// Removes a subscriber, and what was issued to it.
pub(super) async fn remove(w: &mut Writer<'_>, id: SubscriberId) -> Result<bool> {
    let Some(subscriber) = find(w.connection(), id).await? else { return Ok(false) };
    issuing::end(w, subscriber.imsi).await?;
    w.delete("DELETE FROM subscriber WHERE id = ?", id.0).await?;
    w.deleted(OutboxRecord::Subscriber(subscriber)).await?;
    Ok(true)
}

async fn create(w: &mut Writer<'_>, new: &NewSubscriber) -> Result<Subscriber> {
    let subscriber = new.record(SubscriberId(w.next_id("subscriber").await?));
    fits(w, &subscriber).await?;
    sqlx::query(
        "INSERT INTO subscriber (id, imsi, msisdn, account, label, status) \
         VALUES (?, ?, ?, ?, ?, ?)",
    )
    .bind(subscriber.id.0)
    .bind(subscriber.imsi.as_str())
    .bind(subscriber.msisdn.as_ref().map(|msisdn| msisdn.as_str()))
    .bind(subscriber.account.0)
    .bind(subscriber.label.as_str())
    .bind(subscriber.status.to_string())
    .execute(w.connection())
    .await?;
    w.created(OutboxRecord::Subscriber(subscriber.clone())).await?;
    Ok(subscriber)
}

async fn find(connection: &mut SqliteConnection, id: SubscriberId) -> Result<Option<Subscriber>> {
    const BY_ID: &str =
        concat!("SELECT ", subscriber_columns!(), " FROM subscriber s WHERE s.id = ?");
    let row = sqlx::query(BY_ID).bind(id.0).fetch_optional(connection).await?;
    row.as_ref().map(subscriber).transpose()
}

fn subscriber(row: &SqliteRow) -> Result<Subscriber> {
    Columns::of(row).subscriber()
}

/// Whether the account exists, and the SIM and the number are free.
async fn fits(w: &mut Writer<'_>, new: &Subscriber) -> Result<()> {
    check::label(&new.label)?;
    if w.count("SELECT count(*) FROM account WHERE id = ?", new.account.0).await? == 0 {
        return Err(Error::no_such(Entity::Account, new.account.0));
    }
    let taken: Option<i64> =
        sqlx::query_scalar("SELECT id FROM subscriber WHERE imsi = ? AND id <> ?")
            .bind(new.imsi.as_str())
            .bind(new.id.0)
            .fetch_optional(w.connection())
            .await?;
    if let Some(by) = taken {
        return Err(Error::ImsiTaken { imsi: new.imsi, by: SubscriberId(by) });
    }
    let Some(msisdn) = new.msisdn else { return Ok(()) };
    let taken: Option<i64> =
        sqlx::query_scalar("SELECT id FROM subscriber WHERE msisdn = ? AND id <> ?")
            .bind(msisdn.as_str())
            .bind(new.id.0)
            .fetch_optional(w.connection())
            .await?;
    match taken {
        Some(by) => Err(Error::MsisdnTaken { msisdn, by: SubscriberId(by) }),
        None => Ok(()),
    }
}
