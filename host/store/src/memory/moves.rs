//! What was learned of moves.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use async_trait::async_trait;
use homeward_model::{GatewayId, UnixTime};

use super::MemoryStore;
use crate::error::Result;
use crate::moves::{MoveWeight, Moves};

/// The table.
#[derive(Default)]
pub(super) struct Table(BTreeMap<(GatewayId, GatewayId), MoveWeight>);

impl Table {
    /// What goes with a deleted gateway.
    pub(super) fn forget(&mut self, gateway: GatewayId) {
        self.0.retain(|(from, to), _| *from != gateway && *to != gateway);
    }
}

#[async_trait]
impl Moves for MemoryStore {
    async fn moves(&self, limit: u32) -> Result<Vec<MoveWeight>> {
        let mut all: Vec<MoveWeight> = self.read().moves.0.values().copied().collect();
        all.sort_by_key(|one| (Reverse(one.at), one.from, one.to));
        all.truncate(limit as usize);
        Ok(all)
    }

    async fn keep_moves(&self, moves: &[MoveWeight], forget: UnixTime) -> Result<()> {
        self.write(|w| {
            for one in moves.iter().filter(|one| one.is_sound()) {
                let there = |id: GatewayId| w.state.gateways.get(id.0).is_some();
                if there(one.from) && there(one.to) {
                    w.state.moves.0.insert((one.from, one.to), *one);
                }
            }
            w.state.moves.0.retain(|_, one| one.at >= forget);
            Ok(())
        })
    }
}
