//! Log-ins.

use async_trait::async_trait;
use homeward_model::{Login, LoginId, Nai, Verifier};
use homeward_seal::KeyId;
use sqlx::QueryBuilder;
use sqlx::sqlite::{SqliteConnection, SqliteRow};

use super::row::{Columns, SealedLogin, login_columns};
use super::{SqliteStore, Writer};
use crate::change::{LoginChange, LoginFilter, NewLogin, Page};
use crate::check;
use crate::error::{Entity, Error, Result};
use crate::outbox::{LoginFacts, OutboxRecord};
use crate::sealed::{self, encode_verifier};
use crate::store::Logins;

#[async_trait]
impl Logins for SqliteStore {
    async fn create_login(&self, new: &NewLogin) -> Result<Login> {
        let mut w = self.begin().await?;
        let key = w.sealing_key().await?;
        let login = create(&mut w, key, new).await?;
        w.commit().await?;
        Ok(login)
    }

    async fn create_logins(&self, new: &[NewLogin]) -> Result<Vec<Login>> {
        let mut w = self.begin().await?;
        let key = w.sealing_key().await?;
        let mut made = Vec::with_capacity(new.len());
        for (index, new) in new.iter().enumerate() {
            let login = create(&mut w, key, new).await;
            made.push(login.map_err(|e| Error::Batch { index, source: Box::new(e) })?);
        }
        w.commit().await?;
        Ok(made)
    }

    async fn update_login(&self, id: LoginId, change: &LoginChange) -> Result<Login> {
        let mut w = self.begin().await?;
        let found = find(w.connection(), id).await?;
        let old = found.ok_or(Error::no_such(Entity::Login, id.0))?;
        let (before, mut facts, mut sealed) =
            (old.facts.clone(), old.facts.clone(), old.verifier.clone());
        let verifier = match &change.verifier {
            Some(verifier) => verifier.clone(),
            None => old.open(&self.sealer)?.verifier,
        };
        change.apply(&mut facts);
        fits(&mut w, &facts).await?;
        if *change == LoginChange::default() {
            return Ok(facts.with_verifier(verifier));
        }
        if change.verifier.is_some() {
            let sealing = w.sealing_key().await?;
            sealed = seal(&w, id, sealing, &verifier)?;
        }
        sqlx::query(
            "UPDATE login SET name = ?, verifier_kind = ?, verifier = ?, mac = ?, expires = ?, \
             label = ?, status = ? WHERE id = ?",
        )
        .bind(facts.name.as_str())
        .bind(facts.verifier.as_str())
        .bind(sealed)
        .bind(facts.mac.map(|mac| mac.octets().to_vec()))
        .bind(facts.expires.map(|expires| expires.0))
        .bind(facts.label.as_str())
        .bind(facts.status.to_string())
        .bind(id.0)
        .execute(w.connection())
        .await?;
        let secret = change.verifier.as_ref().map(|_| "password");
        let (before, after) = (OutboxRecord::Login(before), OutboxRecord::Login(facts.clone()));
        w.updated(before, after, secret).await?;
        w.commit().await?;
        Ok(facts.with_verifier(verifier))
    }

    async fn login(&self, id: LoginId) -> Result<Option<Login>> {
        let found = find(&mut *self.readers.acquire().await?, id).await?;
        Ok(found.map(|login| login.open(&self.sealer)).transpose()?)
    }

    async fn login_named(&self, name: &Nai) -> Result<Option<Login>> {
        const BY_NAME: &str =
            concat!("SELECT ", login_columns!(), " FROM login l WHERE l.name = ?");
        let row = sqlx::query(BY_NAME).bind(name.as_str()).fetch_optional(&self.readers).await?;
        row.map(|row| self.open_login(&row)).transpose()
    }

    async fn logins(&self, filter: &LoginFilter, page: Page<LoginId>) -> Result<Vec<Login>> {
        const ALL: &str = concat!("SELECT ", login_columns!(), " FROM login l WHERE l.id > ");
        let mut query = QueryBuilder::new(ALL);
        query.push_bind(page.after.map_or(i64::MIN, |id| id.0));
        if let Some(account) = filter.account {
            query.push(" AND l.account = ").push_bind(account.0);
        }
        if let Some(mac) = filter.mac {
            query.push(" AND l.mac = ").push_bind(mac.octets().to_vec());
        }
        if let Some(status) = filter.status {
            query.push(" AND l.status = ").push_bind(status.to_string());
        }
        query.push(" ORDER BY l.id LIMIT ").push_bind(page.limit);
        let rows = query.build().fetch_all(&self.readers).await?;
        rows.iter().map(|row| self.open_login(row)).collect()
    }

    async fn delete_login(&self, id: LoginId) -> Result<bool> {
        let mut w = self.begin().await?;
        let existed = remove(&mut w, id).await?;
        w.commit().await?;
        Ok(existed)
    }
}

impl SqliteStore {
    fn open_login(&self, row: &SqliteRow) -> Result<Login> {
        Ok(Columns::of(row).login()?.open(&self.sealer)?)
    }
}

/// Removes a log-in. Its verifier stays closed, so that one that does not open can be removed
/// too.
pub(super) async fn remove(w: &mut Writer<'_>, id: LoginId) -> Result<bool> {
    let Some(login) = find(w.connection(), id).await? else { return Ok(false) };
    w.delete("DELETE FROM login WHERE id = ?", id.0).await?;
    w.deleted(OutboxRecord::Login(login.facts)).await?;
    Ok(true)
}

async fn create(w: &mut Writer<'_>, sealing: KeyId, new: &NewLogin) -> Result<Login> {
    let facts = new.facts(LoginId(w.next_id("login").await?));
    fits(w, &facts).await?;
    insert(w, sealing, &facts, &new.verifier).await?;
    w.created(OutboxRecord::Login(facts.clone())).await?;
    Ok(facts.with_verifier(new.verifier.clone()))
}

/// Puts in a log-in that fits, and leaves it to the caller to tell of it.
pub(super) async fn insert(
    w: &mut Writer<'_>,
    sealing: KeyId,
    facts: &LoginFacts,
    verifier: &Verifier,
) -> Result<()> {
    let sealed = seal(w, facts.id, sealing, verifier)?;
    sqlx::query(
        "INSERT INTO login (id, account, name, verifier_kind, verifier, mac, expires, uses, label, \
         status) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
    )
    .bind(facts.id.0)
    .bind(facts.account.0)
    .bind(facts.name.as_str())
    .bind(facts.verifier.as_str())
    .bind(sealed)
    .bind(facts.mac.map(|mac| mac.octets().to_vec()))
    .bind(facts.expires.map(|expires| expires.0))
    .bind(facts.uses.to_string())
    .bind(facts.label.as_str())
    .bind(facts.status.to_string())
    .execute(w.connection())
    .await?;
    Ok(())
}

pub(super) async fn find(
    connection: &mut SqliteConnection,
    id: LoginId,
) -> Result<Option<SealedLogin>> {
    const BY_ID: &str = concat!("SELECT ", login_columns!(), " FROM login l WHERE l.id = ?");
    let row = sqlx::query(BY_ID).bind(id.0).fetch_optional(connection).await?;
    row.map(|row| Columns::of(&row).login()).transpose()
}

fn seal(w: &Writer<'_>, id: LoginId, sealing: KeyId, verifier: &Verifier) -> Result<Vec<u8>> {
    Ok(w.seal(sealed::login_verifier(id.0), sealing, &encode_verifier(verifier))?)
}

async fn fits(w: &mut Writer<'_>, new: &LoginFacts) -> Result<()> {
    check::login(new)?;
    if w.count("SELECT count(*) FROM account WHERE id = ?", new.account.0).await? == 0 {
        return Err(Error::no_such(Entity::Account, new.account.0));
    }
    let taken: Option<i64> = sqlx::query_scalar("SELECT id FROM login WHERE name = ? AND id <> ?")
        .bind(new.name.as_str())
        .bind(new.id.0)
        .fetch_optional(w.connection())
        .await?;
    match taken {
        Some(by) => Err(Error::LoginTaken { name: new.name.clone(), by: LoginId(by) }),
        None => Ok(()),
    }
}
