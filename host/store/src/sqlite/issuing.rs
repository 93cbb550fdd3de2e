//! Issued credentials.
//!
//! To issue is what many devices wait for at once, so it takes few statements: one that looks
//! whether it may be done at all, one that looks for what ends, and three inserts. A refusal is
//! told before anything is written, so that the others of a batch need no savepoints to stand.

use async_trait::async_trait;
use homeward_model::{AccountId, Imsi, LoginId, Status, SubscriberId, UnixTime, Uses};
use homeward_seal::KeyId;
use sqlx::sqlite::SqliteRow;
use sqlx::{QueryBuilder, Row};

use super::row::{Columns, SealedIssued, issued_columns, login_columns};
use super::{SqliteStore, Writer, login};
use crate::audit::{AuditKind, Note};
use crate::change::Page;
use crate::check;
use crate::error::{Entity, Error, Result};
use crate::issuing::{Issued, IssuedFacts, IssuedFilter, Issuing, NewIssue};
use crate::outbox::{Operation, OutboxRecord};

/// The columns that [`Columns::issued`] takes, up to the WHERE.
macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT ",
            issued_columns!(),
            ", ",
            login_columns!(),
            " FROM issued i JOIN login l ON l.id = i.login ",
            $rest
        )
    };
}

const OF_LOGIN: &str = select!("WHERE i.login = ?");
const OF_IMSI: &str = select!("WHERE i.imsi = ?");
/// What ends when another is issued, that of the subscriber first.
const ENDING: &str = select!("WHERE i.imsi = ?1 OR i.mac = ?2 ORDER BY i.imsi = ?1 DESC");
const EXPIRED: &str = select!("WHERE l.expires < ? ORDER BY l.expires, l.id LIMIT ?");
/// Who has the SIM, who has the name, and which identifier a log-in gets.
const STANDING: &str = "SELECT s.id, s.account, s.status, l.id, \
     (SELECT seq FROM sqlite_sequence WHERE name = 'login') \
     FROM (SELECT 1) LEFT JOIN subscriber s ON s.imsi = ?1 LEFT JOIN login l ON l.name = ?2";

#[async_trait]
impl Issuing for SqliteStore {
    async fn issue(&self, new: &[NewIssue]) -> Result<Vec<Result<Issued>>> {
        let mut w = self.begin().await?;
        let key = w.sealing_key().await?;
        let mut all = Vec::with_capacity(new.len());
        for new in new {
            all.push(match fits(&mut w, new).await? {
                Ok(id) => Ok(issue(&mut w, key, id, new).await?),
                Err(refused) => Err(refused),
            });
        }
        w.commit().await?;
        Ok(all)
    }

    async fn issued_to(&self, imsi: Imsi) -> Result<Option<Issued>> {
        let query = sqlx::query(OF_IMSI).bind(imsi.as_str());
        let row = query.fetch_optional(&self.readers).await?;
        row.map(|row| self.open_issued(&row)).transpose()
    }

    async fn issued(&self, filter: &IssuedFilter, page: Page<LoginId>) -> Result<Vec<Issued>> {
        let mut query = QueryBuilder::new(select!("WHERE i.login > "));
        query.push_bind(page.after.map_or(i64::MIN, |id| id.0));
        if let Some(imsi) = filter.imsi {
            query.push(" AND i.imsi = ").push_bind(imsi.as_str().to_owned());
        }
        if let Some(mac) = filter.mac {
            query.push(" AND i.mac = ").push_bind(mac.octets().to_vec());
        }
        if let Some(account) = filter.account {
            query.push(" AND l.account = ").push_bind(account.0);
        }
        query.push(" ORDER BY i.login LIMIT ").push_bind(page.limit);
        let rows = query.build().fetch_all(&self.readers).await?;
        rows.iter().map(|row| self.open_issued(row)).collect()
    }

    async fn withdraw(&self, login: LoginId) -> Result<bool> {
        let mut w = self.begin().await?;
        let query = sqlx::query(OF_LOGIN).bind(login.0);
        let Some(row) = query.fetch_optional(w.connection()).await? else { return Ok(false) };
        remove(&mut w, sealed(&row)?).await?;
        w.commit().await?;
        Ok(true)
    }

    async fn withdraw_expired(&self, before: UnixTime, limit: u32) -> Result<u64> {
        let mut w = self.begin().await?;
        let query = sqlx::query(EXPIRED).bind(before.0).bind(limit);
        let rows = query.fetch_all(w.connection()).await?;
        for row in &rows {
            remove(&mut w, sealed(row)?).await?;
        }
        w.commit().await?;
        Ok(rows.len() as u64)
    }

    async fn spend_login(&self, login: LoginId) -> Result<bool> {
        let mut w = self.begin().await?;
        let Some(found) = login::find(w.connection(), login).await? else { return Ok(false) };
        // The lock was taken at the beginning: nobody comes in between.
        if found.facts.uses != Uses::Once {
            return Ok(false);
        }
        sqlx::query("UPDATE login SET uses = 'spent' WHERE id = ?")
            .bind(login.0)
            .execute(w.connection())
            .await?;
        let mut after = found.facts.clone();
        after.uses = Uses::Spent;
        w.updated(OutboxRecord::Login(found.facts), OutboxRecord::Login(after), None).await?;
        w.commit().await?;
        Ok(true)
    }
}

impl SqliteStore {
    fn open_issued(&self, row: &SqliteRow) -> Result<Issued> {
        let SealedIssued { facts, verifier } = sealed(row)?;
        let login = super::row::SealedLogin { facts: facts.login, verifier }.open(&self.sealer)?;
        let (imsi, imei, mac, address) = (facts.imsi, facts.imei, facts.mac, facts.address);
        let (issued, renew_from, way) = (facts.issued, facts.renew_from, facts.way);
        Ok(Issued { login, imsi, imei, mac, address, issued, renew_from, way })
    }
}

/// Ends what that subscriber has.
pub(super) async fn end(w: &mut Writer<'_>, imsi: Imsi) -> Result<()> {
    let query = sqlx::query(OF_IMSI).bind(imsi.as_str());
    match query.fetch_optional(w.connection()).await? {
        Some(row) => remove(w, sealed(&row)?).await,
        None => Ok(()),
    }
}

/// The identifier that the log-in gets, or why it may not be issued. Writes nothing.
async fn fits(w: &mut Writer<'_>, new: &NewIssue) -> Result<Result<LoginId>> {
    let query = sqlx::query(STANDING).bind(new.imsi.as_str()).bind(new.login.name.as_str());
    let row = query.fetch_one(w.connection()).await?;
    let (subscriber, taken): (Option<i64>, Option<i64>) = (row.try_get(0)?, row.try_get(3)?);
    let found = match subscriber {
        Some(id) => {
            let status: &str = row.try_get(2)?;
            let status: Status =
                status.parse().map_err(|e| Error::corrupt(Entity::Subscriber, id, e))?;
            Some((SubscriberId(id), AccountId(row.try_get(1)?), status))
        }
        None => None,
    };
    let last: Option<i64> = row.try_get(4)?;
    let id = LoginId(last.unwrap_or(0) + 1);
    let may = || {
        check::individual(new.mac)?;
        check::login(&new.login.facts(id))?;
        new.suits(found)?;
        match taken {
            Some(by) => Err(Error::LoginTaken { name: new.login.name.clone(), by: LoginId(by) }),
            None => Ok(id),
        }
    };
    Ok(may())
}

async fn issue(w: &mut Writer<'_>, key: KeyId, id: LoginId, new: &NewIssue) -> Result<Issued> {
    let ending = sqlx::query(ENDING).bind(new.imsi.as_str()).bind(new.mac.octets().to_vec());
    for row in ending.fetch_all(w.connection()).await? {
        remove(w, sealed(&row)?).await?;
    }
    let facts = new.login.facts(id);
    login::insert(w, key, &facts, &new.login.verifier).await?;
    let made = new.made(facts.clone().with_verifier(new.login.verifier.clone()));
    sqlx::query(
        "INSERT INTO issued (login, imsi, imei, mac, address, issued, renew_from, way) \
         VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
    )
    .bind(id.0)
    .bind(made.imsi.as_str())
    .bind(made.imei.as_ref().map(|imei| imei.as_str()))
    .bind(made.mac.octets().to_vec())
    .bind(made.address.map(|address| address.to_string()))
    .bind(made.issued.0)
    .bind(made.renew_from.map(|from| from.0))
    .bind(made.way.as_str())
    .execute(w.connection())
    .await?;
    note(w, Operation::Create, &(&made).into()).await?;
    w.log(Operation::Create, OutboxRecord::Login(facts)).await?;
    Ok(made)
}

/// Ends one. Its verifier stays closed, so that one that does not open ends too.
async fn remove(w: &mut Writer<'_>, one: SealedIssued) -> Result<()> {
    // The row beside it goes with it.
    w.delete("DELETE FROM login WHERE id = ?", one.facts.login.id.0).await?;
    note(w, Operation::Delete, &one.facts).await?;
    w.log(Operation::Delete, OutboxRecord::Login(one.facts.login)).await
}

async fn note(w: &mut Writer<'_>, operation: Operation, one: &IssuedFacts) -> Result<()> {
    if w.store.actor.is_none() {
        return Ok(());
    }
    let (kind, record) = (AuditKind::Issued, one.login.id.0);
    let value = Some(Note::value(Entity::Login, record, one)?);
    let (before, after) = match operation {
        Operation::Delete => (value, None),
        _ => (None, value),
    };
    w.note(Some(Note { kind, record, operation, before, after })).await
}

fn sealed(row: &SqliteRow) -> Result<SealedIssued> {
    Columns::of(row).issued()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sqlite::testing;

    #[tokio::test]
    async fn nothing_walks_all_that_was_issued_to_issue_one_more() {
        let (_directory, store) = testing::empty().await;
        for statement in [STANDING, OF_LOGIN, OF_IMSI, ENDING, EXPIRED] {
            let plan = testing::plan(&store, statement).await;
            let walks = |step: &String| {
                let table = step.strip_prefix("SCAN ");
                table.is_some_and(|t| ["i", "l", "s"].contains(&t.split(' ').next().unwrap()))
            };
            assert!(!plan.iter().any(walks), "{statement}\n{plan:#?}");
        }
    }
}
