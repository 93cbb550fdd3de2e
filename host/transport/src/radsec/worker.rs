//! A worker: packets of its peers in, answers out.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use homeward_model::{Clock, Instant};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use tokio::sync::OwnedSemaphorePermit;

use super::counters::{Tally, count};
use crate::server::{Asked, Datagram, Replies, Service, TICK, Waker};

/// Packets that are handled before their answers leave, at most.
const BATCH: usize = 64;

/// What waits for a worker.
#[derive(Debug)]
pub(super) struct Inbox {
    items: Mutex<VecDeque<Item>>,
    waker: Waker,
}

/// A packet that waits.
#[derive(Debug)]
pub(super) struct Item {
    pub(super) packet: Vec<u8>,
    pub(super) asked: Asked,
    pub(super) received: Instant,
    pub(super) _queued: OwnedSemaphorePermit,
}

impl Inbox {
    pub(super) fn new(waker: Waker) -> Self {
        Self { items: Mutex::default(), waker }
    }

    pub(super) fn put(&self, item: Item) {
        self.items.lock().unwrap_or_else(PoisonError::into_inner).push_back(item);
        self.waker.wake();
    }

    fn take(&self, batch: &mut Vec<Item>) -> bool {
        let mut items = self.items.lock().unwrap_or_else(PoisonError::into_inner);
        let some = items.len().min(BATCH);
        batch.extend(items.drain(..some));
        some > 0
    }

    /// Waits until somebody rings, up to a tick.
    fn wait(&self) {
        let mut bell = [PollFd::new(self.waker.fd(), PollFlags::POLLIN)];
        let tick = PollTimeout::try_from(TICK).unwrap_or(PollTimeout::ZERO);
        // Whatever comes out of it, the next thing is to look.
        let _ = poll(&mut bell, tick);
        let [bell] = bell;
        if bell.any().unwrap_or(false) {
            self.waker.hush();
        }
    }
}

/// Serves until `stop` is set.
pub(super) fn run(
    inbox: &Inbox,
    tally: &Tally,
    stop: &AtomicBool,
    clock: &impl Clock,
    mut service: impl Service,
) {
    service.begin(inbox.waker.clone());
    let (mut batch, mut replies) = (Vec::with_capacity(BATCH), Replies::default());
    let mut ticked = clock.now();
    while !stop.load(Ordering::Relaxed) {
        let rung = inbox.waker.take();
        let more = inbox.take(&mut batch);
        for item in batch.drain(..) {
            count(&tally.received);
            let connection = &item.asked.0.connection;
            let datagram = Datagram {
                bytes: &item.packet,
                source: connection.source,
                local: connection.local,
                received: item.received,
                tls: Some(&item.asked),
            };
            service.handle(&datagram, &mut replies);
        }
        // The bell is also the inbox's: there may be nothing that was found elsewhere.
        if rung {
            service.woken(&mut replies);
        }
        service.finish(&mut replies);
        replies.send_by_tls(|asked, answer| {
            count(&tally.sent);
            let answers = asked.0.connection.answers.clone();
            // A connection that is gone takes its answers with it.
            let _ = answers.send((answer, asked));
        });
        if !more {
            inbox.wait();
        }
        let now = clock.now();
        if now.since(ticked) >= TICK {
            ticked = now;
            service.idle(now);
        }
    }
}
