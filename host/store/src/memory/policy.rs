//! Policies.

use std::collections::BTreeMap;

use async_trait::async_trait;
use homeward_model::{OffloadPolicy, PolicyScope};

use super::{MemoryStore, Writer};
use crate::check;
use crate::error::{Entity, Invalid, Result};
use crate::outbox::OutboxRecord;
use crate::policy::{Policies, StoredPolicy};

/// The table.
#[derive(Default)]
pub(super) struct Tables {
    rows: BTreeMap<PolicyScope, StoredPolicy>,
    last: i64,
}

#[async_trait]
impl Policies for MemoryStore {
    async fn set_policy(&self, scope: PolicyScope, policy: &OffloadPolicy) -> Result<()> {
        policy.check().map_err(Invalid::Policy)?;
        if let PolicyScope::Mac(mac) = scope {
            check::individual(mac)?;
        }
        self.write(|w| {
            if let PolicyScope::Class(class) = scope {
                w.state.classes.need(Entity::Class, class.0)?;
            }
            let old = w.state.policies.rows.get(&scope).cloned();
            if old.as_ref().is_some_and(|old| old.policy == *policy) {
                return Ok(());
            }
            let id = old.as_ref().map_or(w.state.policies.last + 1, |old| old.id);
            w.state.policies.last = w.state.policies.last.max(id);
            let stored = StoredPolicy { id, scope, policy: policy.clone() };
            w.state.policies.rows.insert(scope, stored.clone());
            match old {
                Some(old) => {
                    w.updated(OutboxRecord::Policy(old), OutboxRecord::Policy(stored), None);
                }
                None => w.created(OutboxRecord::Policy(stored)),
            }
            Ok(())
        })
    }

    async fn policy(&self, scope: PolicyScope) -> Result<Option<OffloadPolicy>> {
        Ok(self.read().policies.rows.get(&scope).map(|stored| stored.policy.clone()))
    }

    async fn policies(&self) -> Result<Vec<(PolicyScope, OffloadPolicy)>> {
        let state = self.read();
        let all = state.policies.rows.iter();
        Ok(all.map(|(scope, stored)| (*scope, stored.policy.clone())).collect())
    }

    async fn clear_policy(&self, scope: PolicyScope) -> Result<bool> {
        self.write(|w| Ok(remove(w, scope)))
    }
}

/// Takes the policy of a scope away.
pub(super) fn remove(w: &mut Writer<'_>, scope: PolicyScope) -> bool {
    let Some(stored) = w.state.policies.rows.remove(&scope) else { return false };
    w.deleted(OutboxRecord::Policy(stored));
    true
}
