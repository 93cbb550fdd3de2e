//! The audit trail.

use std::collections::BTreeSet;
use std::sync::Arc;

use async_trait::async_trait;
use homeward_model::UnixTime;

use super::MemoryStore;
use crate::audit::{Actor, Audit, AuditEntry, AuditFilter};
use crate::error::Result;
use crate::outbox::Seq;
use crate::store::Store;

#[async_trait]
impl Audit for MemoryStore {
    async fn audit_after(
        &self,
        after: Seq,
        filter: &AuditFilter,
        limit: u32,
    ) -> Result<Vec<AuditEntry>> {
        let state = self.read();
        let found = state.audit.iter().filter(|entry| {
            entry.seq > after
                && filter.kind.is_none_or(|kind| kind == entry.kind)
                && filter.since.is_none_or(|since| since <= entry.time)
                && filter.actor.as_ref().is_none_or(|actor| *actor == entry.actor)
        });
        Ok(found.take(limit as usize).cloned().collect())
    }

    async fn prune_audit(&self, before: UnixTime, limit: u32) -> Result<u64> {
        self.write(|w| {
            let old = w.state.audit.iter().filter(|entry| entry.time < before);
            let mut old: Vec<(UnixTime, Seq)> = old.map(|entry| (entry.time, entry.seq)).collect();
            old.sort_unstable();
            old.truncate(limit as usize);
            let old: BTreeSet<Seq> = old.into_iter().map(|(_, seq)| seq).collect();
            w.state.audit.retain(|entry| !old.contains(&entry.seq));
            Ok(old.len() as u64)
        })
    }

    fn acting_as(&self, actor: Actor) -> Arc<dyn Store> {
        Arc::new(self.with_actor(actor))
    }
}
