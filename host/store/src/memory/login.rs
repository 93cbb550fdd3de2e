//! Log-ins.

use async_trait::async_trait;
use homeward_model::{Login, LoginId, Nai};

use super::{MemoryStore, State, Writer};
use crate::change::{LoginChange, LoginFilter, NewLogin, Page};
use crate::check;
use crate::error::{Entity, Error, Result};
use crate::outbox::{LoginFacts, OutboxRecord};
use crate::store::Logins;

#[async_trait]
impl Logins for MemoryStore {
    async fn create_login(&self, new: &NewLogin) -> Result<Login> {
        self.write(|w| create(w, new))
    }

    async fn create_logins(&self, new: &[NewLogin]) -> Result<Vec<Login>> {
        self.write(|w| {
            let (last, mark) = (w.state.logins.last, w.mark());
            let mut made: Vec<Login> = Vec::with_capacity(new.len());
            for (index, new) in new.iter().enumerate() {
                match create(w, new) {
                    Ok(login) => made.push(login),
                    Err(source) => {
                        for login in &made {
                            w.state.logins.rows.remove(&login.id.0);
                            w.state.login_names.remove(&login.name);
                        }
                        w.state.logins.last = last;
                        w.unwrite(mark);
                        return Err(Error::Batch { index, source: Box::new(source) });
                    }
                }
            }
            Ok(made)
        })
    }

    async fn update_login(&self, id: LoginId, change: &LoginChange) -> Result<Login> {
        self.write(|w| {
            let old = w.state.logins.need(Entity::Login, id.0)?.clone();
            let verifier = change.verifier.as_ref().unwrap_or(&old.verifier).clone();
            let mut facts = LoginFacts::from(&old);
            change.apply(&mut facts);
            fits(w.state, &facts)?;
            let login = facts.clone().with_verifier(verifier);
            if *change != LoginChange::default() {
                w.state.login_names.remove(&old.name);
                w.state.login_names.insert(login.name.clone(), id);
                w.state.logins.rows.insert(id.0, login.clone());
                let secret = change.verifier.as_ref().map(|_| "password");
                let before = OutboxRecord::Login((&old).into());
                w.updated(before, OutboxRecord::Login(facts), secret);
            }
            Ok(login)
        })
    }

    async fn login(&self, id: LoginId) -> Result<Option<Login>> {
        Ok(self.read().logins.get(id.0).cloned())
    }

    async fn login_named(&self, name: &Nai) -> Result<Option<Login>> {
        let state = self.read();
        let id = state.login_names.get(name);
        Ok(id.and_then(|id| state.logins.get(id.0)).cloned())
    }

    async fn logins(&self, filter: &LoginFilter, page: Page<LoginId>) -> Result<Vec<Login>> {
        Ok(self.read().logins.page(page.after.map(|id| id.0), page.limit, |l| {
            filter.account.is_none_or(|a| a == l.account)
                && filter.mac.is_none_or(|m| Some(m) == l.mac)
                && filter.status.is_none_or(|s| s == l.status)
        }))
    }

    async fn delete_login(&self, id: LoginId) -> Result<bool> {
        self.write(|w| Ok(remove(w, id)))
    }
}

/// Removes a log-in.
pub(super) fn remove(w: &mut Writer<'_>, id: LoginId) -> bool {
    let Some(login) = w.state.logins.get(id.0) else { return false };
    let facts = LoginFacts::from(login);
    take(w, id);
    w.deleted(OutboxRecord::Login(facts));
    true
}

/// Takes a log-in out, and leaves it to the caller to tell of it.
pub(super) fn take(w: &mut Writer<'_>, id: LoginId) -> Option<Login> {
    let login = w.state.logins.rows.remove(&id.0)?;
    w.state.login_names.remove(&login.name);
    w.state.issued.forget(id);
    Some(login)
}

/// Puts a log-in in that fits, and leaves it to the caller to tell of it.
pub(super) fn put(w: &mut Writer<'_>, login: Login) {
    w.state.login_names.insert(login.name.clone(), login.id);
    w.state.logins.rows.insert(login.id.0, login);
}

fn create(w: &mut Writer<'_>, new: &NewLogin) -> Result<Login> {
    let facts = new.facts(LoginId(w.state.logins.last + 1));
    fits(w.state, &facts)?;
    let login = facts.clone().with_verifier(new.verifier.clone());
    w.state.logins.next();
    put(w, login.clone());
    w.created(OutboxRecord::Login(facts));
    Ok(login)
}

pub(super) fn fits(state: &State, new: &LoginFacts) -> Result<()> {
    check::login(new)?;
    state.accounts.need(Entity::Account, new.account.0)?;
    match state.login_names.get(&new.name) {
        Some(by) if *by != new.id => Err(Error::LoginTaken { name: new.name.clone(), by: *by }),
        _ => Ok(()),
    }
}
