//! Passwords checked beside the workers: an Argon2id hash takes a hundred times as long as all
//! else that a worker does with a request.

use std::num::NonZeroUsize;
use std::sync::mpsc::{self, Receiver, SyncSender};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Context;
use homeward_model::{Secret, Verifier};

use crate::desk::{Desk, Done};
use crate::password;

/// A password to check.
pub(crate) struct Job {
    /// What the worker knows it by.
    pub(crate) number: u64,
    /// The hash; `None` where nobody has the name, and only the time is to be spent.
    pub(crate) hash: Option<Secret>,
    /// What came.
    pub(crate) password: Secret,
    /// Where the answer goes.
    pub(crate) desk: Arc<Desk>,
}

/// The threads that check. Clones are one and the same; they end with the last one.
#[derive(Clone)]
pub(crate) struct Checker(SyncSender<Job>);

impl Checker {
    /// Starts `threads`; `queue` jobs may wait for them.
    pub(crate) fn start(threads: NonZeroUsize, queue: usize) -> anyhow::Result<Self> {
        let mut entropy = homeward_daemon::SystemEntropy::new();
        let decoy = match password::of_a_person(b"nobody's", &mut entropy)? {
            Verifier::Argon2id(hash) => hash,
            Verifier::NtHash(_) | Verifier::Password(_) => Secret::default(),
        };
        let (jobs, queued) = mpsc::sync_channel::<Job>(queue);
        let queued = Arc::new(Mutex::new(queued));
        for number in 0..threads.get() {
            let (queued, decoy) = (Arc::clone(&queued), decoy.clone());
            std::thread::Builder::new()
                .name(format!("password-{number}"))
                .spawn(move || work(&queued, &decoy))
                .context("no thread to check passwords")?;
        }
        Ok(Self(jobs))
    }

    /// Has a password checked. Whether there was room for it.
    pub(crate) fn check(&self, job: Job) -> bool {
        self.0.try_send(job).is_ok()
    }
}

fn work(queued: &Mutex<Receiver<Job>>, decoy: &Secret) {
    loop {
        let job = queued.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(Job { number, hash, password, desk }) = job else { return };
        // Whatever the library makes of a hash, the next password is checked.
        let right = std::panic::catch_unwind(|| {
            let against = hash.as_ref().unwrap_or(decoy);
            password::is_slowly_right(against, password.expose()) && hash.is_some()
        });
        desk.put(number, Done::Checked(right.unwrap_or(false)));
    }
}
