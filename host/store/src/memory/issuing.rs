//! Issued credentials.

use std::collections::BTreeMap;

use async_trait::async_trait;
use homeward_model::{Imsi, LoginId, Mac, UnixTime, Uses};

use super::{MemoryStore, State, Writer, login};
use crate::audit::{AuditKind, Note};
use crate::change::Page;
use crate::check;
use crate::error::{Entity, Result};
use crate::issuing::{Issued, IssuedFacts, IssuedFilter, Issuing, NewIssue, standing};
use crate::outbox::{LoginFacts, Operation, OutboxRecord};

/// The table, whose log-ins are taken from theirs, and its unique indices.
#[derive(Default)]
pub(super) struct Tables {
    rows: BTreeMap<LoginId, Issued>,
    imsis: BTreeMap<Imsi, LoginId>,
    macs: BTreeMap<Mac, LoginId>,
}

impl Tables {
    /// What goes with a deleted log-in.
    pub(super) fn forget(&mut self, login: LoginId) {
        let Some(one) = self.rows.remove(&login) else { return };
        self.imsis.remove(&one.imsi);
        self.macs.remove(&one.mac);
    }
}

impl State {
    /// What was issued, with the log-in as it is now.
    fn issued_as(&self, id: LoginId) -> Option<Issued> {
        let login = self.logins.get(id.0)?.clone();
        Some(Issued { login, ..self.issued.rows.get(&id)?.clone() })
    }
}

#[async_trait]
impl Issuing for MemoryStore {
    async fn issue(&self, new: &[NewIssue]) -> Result<Vec<Result<Issued>>> {
        self.write(|w| Ok(new.iter().map(|new| issue(w, new)).collect()))
    }

    async fn issued_to(&self, imsi: Imsi) -> Result<Option<Issued>> {
        let state = self.read();
        Ok(state.issued.imsis.get(&imsi).and_then(|id| state.issued_as(*id)))
    }

    async fn issued(&self, filter: &IssuedFilter, page: Page<LoginId>) -> Result<Vec<Issued>> {
        let state = self.read();
        let all = state.issued.rows.keys().filter(|id| page.after.is_none_or(|after| after < **id));
        let found = all.filter_map(|id| state.issued_as(*id)).filter(|one| {
            filter.imsi.is_none_or(|imsi| imsi == one.imsi)
                && filter.mac.is_none_or(|mac| mac == one.mac)
                && filter.account.is_none_or(|account| account == one.login.account)
        });
        Ok(found.take(page.limit as usize).collect())
    }

    async fn withdraw(&self, login: LoginId) -> Result<bool> {
        self.write(|w| Ok(remove(w, login)))
    }

    async fn withdraw_expired(&self, before: UnixTime, limit: u32) -> Result<u64> {
        self.write(|w| {
            let ends = |id: &LoginId| w.state.logins.get(id.0).and_then(|login| login.expires);
            let all = w.state.issued.rows.keys().copied();
            let mut ended: Vec<(UnixTime, LoginId)> = all
                .filter_map(|id| ends(&id).filter(|at| *at < before).map(|at| (at, id)))
                .collect();
            ended.sort_unstable();
            ended.truncate(limit as usize);
            let count = ended.len() as u64;
            for (_, id) in ended {
                remove(w, id);
            }
            Ok(count)
        })
    }

    async fn spend_login(&self, login: LoginId) -> Result<bool> {
        self.write(|w| {
            let Some(found) = w.state.logins.rows.get_mut(&login.0) else { return Ok(false) };
            if found.uses != Uses::Once {
                return Ok(false);
            }
            let before = LoginFacts::from(&*found);
            found.uses = Uses::Spent;
            let after = LoginFacts::from(&*found);
            w.updated(OutboxRecord::Login(before), OutboxRecord::Login(after), None);
            Ok(true)
        })
    }
}

fn issue(w: &mut Writer<'_>, new: &NewIssue) -> Result<Issued> {
    check::individual(new.mac)?;
    let facts = new.login.facts(LoginId(w.state.logins.last + 1));
    check::login(&facts)?;
    new.suits(w.state.subscribers.with_imsi(new.imsi).map(standing))?;
    login::fits(w.state, &facts)?;
    end(w, new.imsi);
    if let Some(other) = w.state.issued.macs.get(&new.mac).copied() {
        remove(w, other);
    }
    w.state.logins.next();
    let login = facts.clone().with_verifier(new.login.verifier.clone());
    login::put(w, login.clone());
    let made = new.made(login);
    let id = made.login.id;
    w.state.issued.imsis.insert(made.imsi, id);
    w.state.issued.macs.insert(made.mac, id);
    w.state.issued.rows.insert(id, made.clone());
    note(w, Operation::Create, &made);
    w.log(Operation::Create, OutboxRecord::Login(facts));
    Ok(made)
}

/// Ends what that subscriber has.
pub(super) fn end(w: &mut Writer<'_>, imsi: Imsi) {
    if let Some(id) = w.state.issued.imsis.get(&imsi).copied() {
        remove(w, id);
    }
}

/// Ends one.
fn remove(w: &mut Writer<'_>, id: LoginId) -> bool {
    let Some(one) = w.state.issued_as(id) else { return false };
    login::take(w, id);
    note(w, Operation::Delete, &one);
    w.log(Operation::Delete, OutboxRecord::Login((&one.login).into()));
    true
}

fn note(w: &mut Writer<'_>, operation: Operation, one: &Issued) {
    let (kind, record) = (AuditKind::Issued, one.login.id.0);
    let note = Note::value(Entity::Login, record, &IssuedFacts::from(one)).map(|value| {
        let (before, after) = match operation {
            Operation::Delete => (Some(value), None),
            _ => (None, Some(value)),
        };
        Some(Note { kind, record, operation, before, after })
    });
    w.note(note);
}
