//! Issues what waits in one transaction: a disk syncs as often for a hundred credentials as for one.

use std::sync::Arc;

use homeward_store::{Issued, NewIssue, Result, Store};
use tokio::sync::{mpsc, oneshot};

/// The most of a transaction: other writers wait as long as it takes.
const MOST: usize = 256;

/// How many may wait; more wait to wait.
const QUEUE: usize = 4096;

/// One credential to issue, and whom to tell.
type Order = (NewIssue, oneshot::Sender<Result<Issued>>);

/// Where credentials to issue are handed in. Clones are one and the same.
#[derive(Debug, Clone)]
pub struct Committer(mpsc::Sender<Order>);

/// What carries them out.
#[derive(Debug)]
pub struct Committing(mpsc::Receiver<Order>);

/// The work is over: the process stops.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("nothing is issued any more")]
pub struct Over;

impl Committer {
    /// Both ends.
    pub fn new() -> (Self, Committing) {
        let (orders, carried_out) = mpsc::channel(QUEUE);
        (Self(orders), Committing(carried_out))
    }

    /// Issues one, with whatever else waits.
    ///
    /// # Errors
    ///
    /// [`Over`]; within, what the store says of this one.
    pub async fn issue(&self, new: NewIssue) -> std::result::Result<Result<Issued>, Over> {
        let (told, answer) = oneshot::channel();
        self.0.send((new, told)).await.map_err(|_| Over)?;
        answer.await.map_err(|_| Over)
    }
}

impl Committing {
    /// Carries out what is handed in until nobody is left who could.
    pub async fn run(mut self, store: Arc<dyn Store>) {
        let mut waiting = Vec::with_capacity(MOST);
        while self.0.recv_many(&mut waiting, MOST).await > 0 {
            let (new, told): (Vec<_>, Vec<_>) = waiting.drain(..).unzip();
            tracing::trace!(count = new.len(), "issuing");
            match store.issue(&new).await {
                Ok(issued) => {
                    for (told, issued) in told.into_iter().zip(issued) {
                        // Whoever asked may be gone; the credential is for when it comes again.
                        let _ = told.send(issued);
                    }
                }
                // Nobody is told of an error that is not theirs: what they hear is that there is
                // no answer.
                Err(error) => {
                    let chain = format!("{:#}", anyhow::Error::from(error));
                    tracing::error!(error = chain, "the datastore issued nothing");
                }
            }
        }
    }
}
