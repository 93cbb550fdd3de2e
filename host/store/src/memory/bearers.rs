//! Bearers.

use std::collections::BTreeMap;

use async_trait::async_trait;

use super::MemoryStore;
use crate::bearers::{BearerChange, Bearers, StoredBearer};
use crate::error::Result;

/// The table, by gateway, access point name and address as they are written.
#[derive(Default)]
pub(super) struct Tables(BTreeMap<(String, String, String), StoredBearer>);

#[async_trait]
impl Bearers for MemoryStore {
    async fn apply_bearers(&self, changes: &[BearerChange]) -> Result<()> {
        let apn = |apn: &Option<_>| apn.as_ref().map(ToString::to_string).unwrap_or_default();
        self.write(|w| {
            let rows = &mut w.state.bearers.0;
            for change in changes {
                match change {
                    BearerChange::Put(one) => {
                        let key = (one.gateway.clone(), apn(&one.apn), one.address.to_string());
                        rows.insert(key, one.clone());
                    }
                    BearerChange::Remove { gateway, apn: name, address } => {
                        rows.remove(&(gateway.clone(), apn(name), address.to_string()));
                    }
                    BearerChange::Clear { gateway } => rows.retain(|(of, ..), _| of != gateway),
                }
            }
            Ok(())
        })
    }

    async fn bearers(&self) -> Result<Vec<StoredBearer>> {
        Ok(self.read().bearers.0.values().cloned().collect())
    }
}
