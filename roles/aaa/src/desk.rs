//! Where a worker finds what was done for it elsewhere.

use std::sync::{Mutex, PoisonError};

use homeward_transport::Waker;

/// What was done elsewhere, by number, until the worker that asked for it comes and takes it.
pub(crate) struct Desk<T> {
    done: Mutex<Vec<(u64, T)>>,
    waker: Waker,
}

impl<T> Desk<T> {
    pub(crate) fn new(waker: Waker) -> Self {
        Self { done: Mutex::default(), waker }
    }

    /// What was done since, in order.
    pub(crate) fn take(&self) -> Vec<(u64, T)> {
        std::mem::take(&mut self.done.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Puts the outcome of what the worker knows as `number`, and has it look.
    pub(crate) fn put(&self, number: u64, outcome: T) {
        self.done.lock().unwrap_or_else(PoisonError::into_inner).push((number, outcome));
        self.waker.wake();
    }
}
