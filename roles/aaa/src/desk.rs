//! Where a worker finds what was done for it elsewhere.

use std::sync::{Mutex, PoisonError};

use homeward_ledger::{Receipt, WriteError};
use homeward_transport::Waker;

use crate::realms::relay::Relayed;

/// What was done.
#[derive(Debug)]
pub(crate) enum Done {
    /// A password was checked: whether it is right.
    Checked(bool),
    /// A log-in for one log-on was spent: whether this is the one.
    Spent(homeward_store::Result<bool>),
    /// A record was written, or not.
    Kept(Box<Result<Receipt, WriteError>>),
    /// A request was relayed to a partner.
    Relayed(Relayed),
}

/// What was done elsewhere, by number, until the worker that asked for it comes and takes it. Each
/// kind has numbers of its own.
#[derive(Debug)]
pub(crate) struct Desk {
    done: Mutex<Vec<(u64, Done)>>,
    waker: Waker,
}

impl Desk {
    pub(crate) fn new(waker: Waker) -> Self {
        Self { done: Mutex::default(), waker }
    }

    /// What was done since, in order.
    pub(crate) fn take(&self) -> Vec<(u64, Done)> {
        std::mem::take(&mut self.done.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Puts the outcome of what the worker knows as `number`, and has it look.
    pub(crate) fn put(&self, number: u64, outcome: Done) {
        self.done.lock().unwrap_or_else(PoisonError::into_inner).push((number, outcome));
        self.waker.wake();
    }
}
