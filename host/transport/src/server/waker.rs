//! Waking a worker that waits for datagrams.

use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use nix::sys::eventfd::{EfdFlags, EventFd};

/// Wakes a worker from any thread: it calls [`Service::woken`](super::Service::woken) soon. For
/// answers that are found elsewhere, such as on a disk.
#[derive(Debug, Clone)]
pub struct Waker(Arc<Bell>);

#[derive(Debug)]
struct Bell {
    event: EventFd,
    /// Whether it rings already: another ring would only cost a system call.
    rung: AtomicBool,
}

impl Waker {
    pub(crate) fn new() -> nix::Result<Self> {
        let flags = EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK;
        let event = EventFd::from_flags(flags)?;
        Ok(Self(Arc::new(Bell { event, rung: AtomicBool::new(false) })))
    }

    /// One that wakes nobody: for tests of a service without a worker.
    ///
    /// # Errors
    ///
    /// If the system has no descriptor left.
    #[doc(hidden)]
    pub fn unheard() -> std::io::Result<Self> {
        Ok(Self::new()?)
    }

    /// Has the worker look. Many calls before it does are one.
    pub fn wake(&self) {
        if !self.0.rung.swap(true, Ordering::AcqRel) {
            // It cannot fail: the number that it adds to is read long before it is full.
            let _ = self.0.event.write(1);
        }
    }

    /// Whether it was called since. What is done after this wakes again.
    pub(crate) fn take(&self) -> bool {
        self.0.rung.load(Ordering::Acquire) && self.0.rung.swap(false, Ordering::AcqRel)
    }

    /// Takes the ring itself back, which may come after what it rang for was seen.
    pub(crate) fn hush(&self) {
        let _ = self.0.event.read();
    }

    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.0.event.as_fd()
    }
}
