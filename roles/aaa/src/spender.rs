//! Log-ins that are good for one log-on: spent in the datastore before anybody is let in, so that
//! one of all who try is, at whichever core.

use std::sync::Arc;

use homeward_daemon::Shutdown;
use homeward_model::LoginId;
use homeward_store::Store;
use tokio::sync::mpsc::{self, Receiver, Sender};

use crate::desk::{Desk, Done};

/// Log-ons that may wait for the datastore.
const QUEUE: usize = 4096;

/// A log-in to spend.
struct Job {
    login: LoginId,
    number: u64,
    desk: Arc<Desk>,
}

/// The way to the task that spends. Clones are one and the same.
#[derive(Debug, Clone)]
pub(crate) struct Spender(Sender<Job>);

/// The task that spends.
pub(crate) struct Spending(Receiver<Job>);

impl Spender {
    /// A way, and what is to be run at its end.
    pub(crate) fn new() -> (Self, Spending) {
        let (jobs, queued) = mpsc::channel(QUEUE);
        (Self(jobs), Spending(queued))
    }

    /// Has a log-in spent; the outcome comes to the desk, under that number. Whether there was room
    /// for it.
    pub(crate) fn spend(&self, login: LoginId, number: u64, desk: &Arc<Desk>) -> bool {
        self.0.try_send(Job { login, number, desk: Arc::clone(desk) }).is_ok()
    }
}

impl Spending {
    /// Spends until shutdown, in the order of asking.
    pub(crate) async fn run(mut self, store: Arc<dyn Store>, shutdown: Shutdown) {
        loop {
            let job = tokio::select! {
                () = shutdown.requested() => return,
                job = self.0.recv() => job,
            };
            let Some(Job { login, number, desk }) = job else { return };
            desk.put(number, Done::Spent(store.spend_login(login).await));
        }
    }
}
