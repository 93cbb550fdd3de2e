//! Between which gateways devices move: what the controller has learned, kept for its next start.
//!
//! Nothing hangs on it: it is written now and then, without an outbox entry, and what is lost with
//! a crash is learned again.

use async_trait::async_trait;
use homeward_model::{GatewayId, UnixTime};

use crate::error::Result;

/// How much speaks for a device's going from one gateway to another.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct MoveWeight {
    /// From which gateway.
    pub from: GatewayId,
    /// To which.
    pub to: GatewayId,
    /// How many moves it counts for, as of `at`. More than nothing, and a number.
    pub weight: f64,
    /// When it was last counted.
    pub at: UnixTime,
}

impl MoveWeight {
    /// Whether it can be kept at all.
    pub(crate) fn is_sound(&self) -> bool {
        self.from != self.to && self.weight.is_finite() && self.weight > 0.0
    }
}

/// What was learned of moves.
#[async_trait]
pub trait Moves: Send + Sync {
    /// What is kept, the latest first, and of those of one moment by their gateways; at most
    /// `limit`.
    async fn moves(&self, limit: u32) -> Result<Vec<MoveWeight>>;
    /// Keeps these, each in place of what was kept of the same two gateways, and forgets all that
    /// is older than `forget`. What names a gateway that there is not, or counts for nothing, is
    /// left out.
    async fn keep_moves(&self, moves: &[MoveWeight], forget: UnixTime) -> Result<()>;
}
