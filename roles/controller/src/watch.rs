//! Follows the store for what changes. What it says may be said twice, and never too little.

use std::sync::Arc;
use std::time::Duration;

use homeward_daemon::{Shutdown, SystemClock};
use homeward_model::{AccountId, ClassId, Clock, GatewayId, NetworkId};
use homeward_store::{Error, Operation, OutboxEntry, OutboxRecord, Result, Seq, Store};
use tokio::sync::mpsc;

/// Outbox entries read at a time.
const BATCH: u32 = 1000;
/// The pause after the store failed.
const PAUSE: Duration = Duration::from_millis(500);

/// Something that changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Change {
    /// A network, or one of its devices.
    Network(NetworkId),
    /// A network is gone.
    NetworkGone(NetworkId),
    /// An account: its networks.
    Account(AccountId),
    /// A class of service: its accounts' networks.
    Class(ClassId),
    /// A gateway, or one of its credentials.
    Gateway(GatewayId),
    /// Anything: entries were pruned before they were read.
    All,
}

impl Change {
    /// What an entry changes, if that is anything of the controller's.
    fn of(entry: &OutboxEntry) -> Option<Self> {
        Some(match &entry.record {
            OutboxRecord::Class(class) => Self::Class(class.id),
            OutboxRecord::Account(account) => Self::Account(account.id),
            OutboxRecord::Gateway(gateway) => Self::Gateway(gateway.id),
            OutboxRecord::Network(network) if entry.operation == Operation::Delete => {
                Self::NetworkGone(network.id)
            }
            OutboxRecord::Network(network) => Self::Network(network.id),
            OutboxRecord::Device(device) => Self::Network(device.network),
            OutboxRecord::Login(_) | OutboxRecord::Subscriber(_) | OutboxRecord::Policy(_) => {
                return None;
            }
        })
    }
}

/// Tells `changes` of what is committed after `at`, until shutdown. A store that fails is asked
/// again.
pub async fn follow(
    store: Arc<dyn Store>,
    mut at: Seq,
    changes: mpsc::Sender<Change>,
    shutdown: Shutdown,
) {
    let mut failing = false;
    loop {
        let outcome = tokio::select! {
            () = shutdown.requested() => return,
            outcome = step(&*store, at) => outcome,
        };
        match outcome {
            Ok((head, found)) => {
                if std::mem::take(&mut failing) {
                    tracing::info!("the store answers again");
                }
                at = head;
                for change in found {
                    if changes.send(change).await.is_err() {
                        return;
                    }
                }
            }
            Err(error) => {
                if !std::mem::replace(&mut failing, true) {
                    tracing::error!(%error, "the store fails; going on with what is known");
                }
                let later = SystemClock.now() + PAUSE;
                tokio::select! {
                    () = shutdown.requested() => return,
                    () = SystemClock.until(Some(later)) => {}
                }
            }
        }
    }
}

/// Waits for changes, and says up to where they go.
async fn step(store: &dyn Store, at: Seq) -> Result<(Seq, Vec<Change>)> {
    let head = store.changed(at).await?;
    match store.outbox_after(at, BATCH).await {
        Err(Error::OutboxPruned { .. }) => {
            tracing::warn!("the outbox was pruned beyond what was read; asking for all anew");
            Ok((head, vec![Change::All]))
        }
        Err(error) => Err(error),
        Ok(entries) => {
            let last = entries.last().map_or(at, |entry| entry.seq);
            let mut found: Vec<Change> = entries.iter().filter_map(Change::of).collect();
            found.sort_unstable();
            found.dedup();
            Ok((last, found))
        }
    }
}
