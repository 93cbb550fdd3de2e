//! The audit trail.

use std::sync::Arc;

use async_trait::async_trait;

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

    fn acting_as(&self, actor: Actor) -> Arc<dyn Store> {
        Arc::new(self.with_actor(actor))
    }
}
