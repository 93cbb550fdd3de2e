//! The chains that are followed.

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::Context;
use homeward_keychain::server::Policy;
use homeward_keychain::{Record, Server, SessionId};
use homeward_model::{Name, UnixTime};
use homeward_vault::{Change, Vault};
use tokio::sync::Mutex;

const SESSION: &str = "session";

/// A session that is followed. Whoever changes it keeps it, too, before it is let go of.
pub type Held = Arc<Mutex<Server>>;

/// All sessions.
#[derive(Debug)]
pub struct Sessions {
    name: Name,
    policy: Policy,
    most: usize,
    held: BTreeMap<SessionId, Held>,
}

impl Sessions {
    /// As they were kept.
    ///
    /// # Errors
    /// What was kept does not open.
    pub async fn load(
        vault: &Vault,
        name: Name,
        policy: Policy,
        most: usize,
    ) -> anyhow::Result<Self> {
        let mut held = BTreeMap::new();
        for (_, kept) in vault.all(SESSION).await? {
            let server = Server::restore(&kept, policy.clone());
            let server = server.context("a session that was kept")?;
            held.insert(server.session(), Arc::new(Mutex::new(server)));
        }
        Ok(Self { name, policy, most, held })
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.held.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.held.is_empty()
    }

    /// That one.
    pub fn get(&self, session: SessionId) -> Option<Held> {
        self.held.get(&session).cloned()
    }

    /// Of all, or of one, in the order of their identifiers.
    pub fn of(&self, session: Option<SessionId>) -> Vec<(SessionId, Held)> {
        let of = |at: &SessionId| session.is_none_or(|session| session == *at);
        let held = self.held.iter().filter(|(at, _)| of(at));
        held.map(|(at, held)| (*at, Arc::clone(held))).collect()
    }

    /// One that is not followed yet, to be [held](Self::hold) once its first hop is believed; `None`
    /// where there is no room.
    pub fn begin(&self, session: SessionId) -> Option<Server> {
        let new = || Server::new(self.name.clone(), session, self.policy.clone());
        (self.held.len() < self.most).then(new)
    }

    /// Holds one that was begun; or gives the one that somebody else began meanwhile.
    pub fn hold(&mut self, server: Server) -> Held {
        let session = server.session();
        let new = || Arc::new(Mutex::new(server));
        Arc::clone(self.held.entry(session).or_insert_with(new))
    }

    /// Lets go of one.
    pub fn forget(&mut self, session: SessionId) -> Change {
        self.held.remove(&session);
        Change::Remove { kind: SESSION, name: session.0.to_vec() }
    }
}

/// Keeps a session.
pub fn keep(server: &Server) -> Change {
    Change::Put { kind: SESSION, name: server.session().0.to_vec(), plain: server.save() }
}

/// When the chain has had its time: its last hop's end, or that of the last one that was begun.
pub fn until(server: &Server) -> UnixTime {
    let ends = |record: &Record| record.until;
    let made = server.records().map(ends).last();
    made.into_iter().chain(server.begun().map(ends)).max().unwrap_or(UnixTime(0))
}
