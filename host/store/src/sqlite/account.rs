//! Accounts.

use async_trait::async_trait;
use homeward_model::{Account, AccountId, LoginId, Name, NetworkId, SubscriberId};
use sqlx::QueryBuilder;
use sqlx::sqlite::{SqliteConnection, SqliteRow};

use super::row::{Columns, account_columns};
use super::{SqliteStore, Writer, login, network, subscriber};
use crate::change::{AccountChange, AccountFilter, NewAccount, Page};
use crate::check;
use crate::error::{Entity, Error, Result};
use crate::outbox::OutboxRecord;
use crate::store::{Accounts, Dependents};

#[async_trait]
impl Accounts for SqliteStore {
    async fn create_account(&self, new: &NewAccount) -> Result<Account> {
        let mut w = self.begin().await?;
        let id = AccountId(w.next_id("account").await?);
        let NewAccount { name, class, status } = new.clone();
        let account = Account { id, name, class, status };
        fits(&mut w, &account).await?;
        sqlx::query("INSERT INTO account (id, name, class, status) VALUES (?, ?, ?, ?)")
            .bind(account.id.0)
            .bind(account.name.as_str())
            .bind(account.class.0)
            .bind(account.status.to_string())
            .execute(w.connection())
            .await?;
        w.created(OutboxRecord::Account(account.clone())).await?;
        w.commit().await?;
        Ok(account)
    }

    async fn update_account(&self, id: AccountId, change: &AccountChange) -> Result<Account> {
        let mut w = self.begin().await?;
        let found = find(w.connection(), id).await?;
        let old = found.ok_or(Error::no_such(Entity::Account, id.0))?;
        let mut account = old.clone();
        change.apply(&mut account);
        fits(&mut w, &account).await?;
        if *change == AccountChange::default() {
            return Ok(account);
        }
        sqlx::query("UPDATE account SET name = ?, class = ?, status = ? WHERE id = ?")
            .bind(account.name.as_str())
            .bind(account.class.0)
            .bind(account.status.to_string())
            .bind(account.id.0)
            .execute(w.connection())
            .await?;
        let after = OutboxRecord::Account(account.clone());
        w.updated(OutboxRecord::Account(old), after, None).await?;
        w.commit().await?;
        Ok(account)
    }

    async fn account(&self, id: AccountId) -> Result<Option<Account>> {
        find(&mut *self.readers.acquire().await?, id).await
    }

    async fn account_named(&self, name: &Name) -> Result<Option<Account>> {
        const BY_NAME: &str =
            concat!("SELECT ", account_columns!(), " FROM account a WHERE a.name = ?");
        let row = sqlx::query(BY_NAME).bind(name.as_str()).fetch_optional(&self.readers).await?;
        row.as_ref().map(account).transpose()
    }

    async fn accounts(
        &self,
        filter: &AccountFilter,
        page: Page<AccountId>,
    ) -> Result<Vec<Account>> {
        const ALL: &str = concat!("SELECT ", account_columns!(), " FROM account a WHERE a.id > ");
        let mut query = QueryBuilder::new(ALL);
        query.push_bind(page.after.map_or(i64::MIN, |id| id.0));
        if let Some(class) = filter.class {
            query.push(" AND a.class = ").push_bind(class.0);
        }
        if let Some(status) = filter.status {
            query.push(" AND a.status = ").push_bind(status.to_string());
        }
        query.push(" ORDER BY a.id LIMIT ").push_bind(page.limit);
        query.build().fetch_all(&self.readers).await?.iter().map(account).collect()
    }

    async fn delete_account(&self, id: AccountId, dependents: Dependents) -> Result<bool> {
        let mut w = self.begin().await?;
        let Some(account) = find(w.connection(), id).await? else { return Ok(false) };
        let networks: Vec<i64> =
            sqlx::query_scalar("SELECT id FROM network WHERE account = ? ORDER BY id")
                .bind(id.0)
                .fetch_all(w.connection())
                .await?;
        let logins: Vec<i64> =
            sqlx::query_scalar("SELECT id FROM login WHERE account = ? ORDER BY id")
                .bind(id.0)
                .fetch_all(w.connection())
                .await?;
        let subscribers: Vec<i64> =
            sqlx::query_scalar("SELECT id FROM subscriber WHERE account = ? ORDER BY id")
                .bind(id.0)
                .fetch_all(w.connection())
                .await?;
        if dependents == Dependents::Refuse {
            check::unreferenced(id, networks.len(), logins.len(), subscribers.len())?;
        }
        for network in networks {
            network::remove(&mut w, NetworkId(network)).await?;
        }
        for login in logins {
            login::remove(&mut w, LoginId(login)).await?;
        }
        for subscriber in subscribers {
            subscriber::remove(&mut w, SubscriberId(subscriber)).await?;
        }
        w.delete("DELETE FROM account WHERE id = ?", id.0).await?;
        w.deleted(OutboxRecord::Account(account)).await?;
        w.commit().await?;
        Ok(true)
    }
}

async fn find(connection: &mut SqliteConnection, id: AccountId) -> Result<Option<Account>> {
    const BY_ID: &str = concat!("SELECT ", account_columns!(), " FROM account a WHERE a.id = ?");
    let row = sqlx::query(BY_ID).bind(id.0).fetch_optional(connection).await?;
    row.as_ref().map(account).transpose()
}

fn account(row: &SqliteRow) -> Result<Account> {
    Columns::of(row).account()
}

/// Whether the name is free and the class of service exists.
async fn fits(w: &mut Writer<'_>, new: &Account) -> Result<()> {
    let taken: Option<i64> =
        sqlx::query_scalar("SELECT id FROM account WHERE name = ? AND id <> ?")
            .bind(new.name.as_str())
            .bind(new.id.0)
            .fetch_optional(w.connection())
            .await?;
    if taken.is_some() {
        return Err(Error::NameTaken { entity: Entity::Account, name: new.name.clone() });
    }
    match w.count("SELECT count(*) FROM class WHERE id = ?", new.class.0).await? {
        0 => Err(Error::no_such(Entity::Class, new.class.0)),
        _ => Ok(()),
    }
}
