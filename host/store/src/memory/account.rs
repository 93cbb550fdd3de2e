//! Accounts.

use async_trait::async_trait;
use homeward_model::{Account, AccountId, Name};

use super::{MemoryStore, State, login, network, subscriber};
use crate::change::{AccountChange, AccountFilter, NewAccount, Page};
use crate::check;
use crate::error::{Entity, Error, Result};
use crate::outbox::OutboxRecord;
use crate::store::{Accounts, Dependents};

#[async_trait]
impl Accounts for MemoryStore {
    async fn create_account(&self, new: &NewAccount) -> Result<Account> {
        self.write(|w| {
            free(w.state, &new.name, None)?;
            w.state.classes.need(Entity::Class, new.class.0)?;
            let id = AccountId(w.state.accounts.next());
            let NewAccount { name, class, status } = new.clone();
            let account = Account { id, name, class, status };
            w.state.account_names.insert(account.name.clone(), id);
            w.state.accounts.rows.insert(id.0, account.clone());
            w.created(OutboxRecord::Account(account.clone()));
            Ok(account)
        })
    }

    async fn update_account(&self, id: AccountId, change: &AccountChange) -> Result<Account> {
        self.write(|w| {
            let old = w.state.accounts.need(Entity::Account, id.0)?.clone();
            let mut account = old.clone();
            change.apply(&mut account);
            free(w.state, &account.name, Some(id))?;
            w.state.classes.need(Entity::Class, account.class.0)?;
            if *change != AccountChange::default() {
                w.state.account_names.remove(&old.name);
                w.state.account_names.insert(account.name.clone(), id);
                w.state.accounts.rows.insert(id.0, account.clone());
                let after = OutboxRecord::Account(account.clone());
                w.updated(OutboxRecord::Account(old), after, None);
            }
            Ok(account)
        })
    }

    async fn account(&self, id: AccountId) -> Result<Option<Account>> {
        Ok(self.read().accounts.get(id.0).cloned())
    }

    async fn account_named(&self, name: &Name) -> Result<Option<Account>> {
        let state = self.read();
        let id = state.account_names.get(name);
        Ok(id.and_then(|id| state.accounts.get(id.0)).cloned())
    }

    async fn accounts(
        &self,
        filter: &AccountFilter,
        page: Page<AccountId>,
    ) -> Result<Vec<Account>> {
        Ok(self.read().accounts.page(page.after.map(|id| id.0), page.limit, |a| {
            filter.class.is_none_or(|c| c == a.class) && filter.status.is_none_or(|s| s == a.status)
        }))
    }

    async fn delete_account(&self, id: AccountId, dependents: Dependents) -> Result<bool> {
        self.write(|w| {
            let (networks, logins) = (w.state.networks_of(id), w.state.logins_of(id));
            let subscribers = w.state.subscribers.of(id);
            if dependents == Dependents::Refuse {
                check::unreferenced(id, networks.len(), logins.len(), subscribers.len())?;
            }
            for network in networks {
                network::remove(w, network);
            }
            for login in logins {
                login::remove(w, login);
            }
            for subscriber in subscribers {
                subscriber::remove(w, subscriber);
            }
            let Some(account) = w.state.accounts.rows.remove(&id.0) else { return Ok(false) };
            w.state.account_names.remove(&account.name);
            w.deleted(OutboxRecord::Account(account));
            Ok(true)
        })
    }
}

fn free(state: &State, name: &Name, except: Option<AccountId>) -> Result<()> {
    match state.account_names.get(name) {
        Some(id) if Some(*id) != except => {
            Err(Error::NameTaken { entity: Entity::Account, name: name.clone() })
        }
        _ => Ok(()),
    }
}
