//! When something is due, for the one thread that looks after it.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use homeward_model::Instant;

/// No time.
const NEVER: u64 = u64::MAX;

/// When one thing is due next; it is in the heap at most once that counts.
#[derive(Debug)]
pub(crate) struct Slot(AtomicU64);

impl Default for Slot {
    fn default() -> Self {
        Self(AtomicU64::new(NEVER))
    }
}

impl Slot {
    /// Whether an entry that has come up is the one that counts; it no longer does after this.
    pub(crate) fn claim(&self, due: Instant) -> bool {
        self.0.compare_exchange(due.as_nanos(), NEVER, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }
}

/// Deadlines of many things, `K` naming each. A thing that is due earlier than it said is armed
/// again; one that turns out to be due later is looked at once in vain.
#[derive(Debug)]
pub(crate) struct Timers<K>(Mutex<BinaryHeap<Reverse<(u64, K)>>>);

impl<K: Ord> Default for Timers<K> {
    fn default() -> Self {
        Self(Mutex::new(BinaryHeap::new()))
    }
}

impl<K: Ord> Timers<K> {
    /// Has `key` come up at `due`, unless it comes up earlier. Whether it is the first of all
    /// now, so that whoever waits has to wait less.
    #[inline]
    pub(crate) fn arm(&self, slot: &Slot, key: K, due: Instant) -> bool {
        let due = due.as_nanos();
        if due >= slot.0.load(Ordering::Relaxed) {
            return false;
        }
        let mut heap = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        slot.0.store(due, Ordering::Relaxed);
        let first = heap.peek().is_none_or(|Reverse((earliest, _))| due < *earliest);
        heap.push(Reverse((due, key)));
        first
    }

    /// The next that is due, with the time that it was armed for.
    pub(crate) fn pop(&self, now: Instant) -> Option<(Instant, K)> {
        let mut heap = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        heap.peek().filter(|Reverse((due, _))| *due <= now.as_nanos())?;
        heap.pop().map(|Reverse((due, key))| (Instant::from_nanos(due), key))
    }

    /// When the first is due.
    pub(crate) fn next(&self) -> Option<Instant> {
        let heap = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        heap.peek().map(|Reverse((due, _))| Instant::from_nanos(*due))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(nanos: u64) -> Instant {
        Instant::from_nanos(nanos)
    }

    #[test]
    fn what_is_due_comes_up_in_order_and_once() {
        let (timers, a, b) = (Timers::default(), Slot::default(), Slot::default());
        assert!(timers.arm(&a, 'a', at(20)));
        assert!(timers.arm(&b, 'b', at(10)));
        assert!(!timers.arm(&a, 'a', at(30)), "it is due earlier already");
        assert!(timers.arm(&a, 'a', at(5)));
        assert_eq!(timers.next(), Some(at(5)));
        assert_eq!(timers.pop(at(4)), None);
        assert_eq!(timers.pop(at(50)), Some((at(5), 'a')));
        assert!(a.claim(at(5)));
        assert_eq!(timers.pop(at(50)), Some((at(10), 'b')));
        assert!(b.claim(at(10)));
        assert_eq!(timers.pop(at(50)), Some((at(20), 'a')));
        assert!(!a.claim(at(20)), "what was armed earlier has come up");
        assert_eq!(timers.next(), None);
    }
}
