//! Which devices are here, and were, in which sessions.

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::Context;
use homeward_keychain::{Saved, SessionId, Visit};
use homeward_model::UnixTime;
use homeward_vault::{Change, Vault};
use tokio::sync::Mutex;

const VISIT: &str = "visit";
const UNTOLD: &str = "untold";

/// A hop of a session.
pub type At = (SessionId, u16);

/// A visit that is held. Whoever changes it keeps it, too, before it is let go of.
pub type Held = Arc<Mutex<Visit>>;

/// All visits.
#[derive(Debug)]
pub struct Visits {
    most: usize,
    held: BTreeMap<At, (UnixTime, Held)>,
    /// Those that the server has not heard of.
    untold: BTreeMap<At, Held>,
}

impl Visits {
    /// As they were kept.
    ///
    /// # Errors
    /// What was kept does not open.
    pub async fn load(vault: &Vault, most: usize) -> anyhow::Result<Self> {
        let mut visits = Self { most, held: BTreeMap::new(), untold: BTreeMap::new() };
        for (_, kept) in vault.all(VISIT).await? {
            let visit = Visit::restore(&kept).context("a visit that was kept")?;
            visits.hold(visit);
        }
        for (name, _) in vault.all(UNTOLD).await? {
            let untold = visits.held.iter().find(|(at, _)| self::name(**at) == name);
            if let Some((at, (_, held))) = untold {
                visits.untold.insert(*at, Arc::clone(held));
            }
        }
        Ok(visits)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.held.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.held.is_empty()
    }

    /// How many the server has not heard of.
    pub fn untold(&self) -> usize {
        self.untold.len()
    }

    /// Whether there is room for one more.
    pub fn has_room(&self) -> bool {
        self.held.len() < self.most
    }

    /// Holds one that is integrated.
    pub fn hold(&mut self, visit: Visit) -> Held {
        let until = visit.welcome().map_or(UnixTime(0), |welcome| welcome.record.until);
        let at = (visit.session(), visit.hop());
        let held = Arc::new(Mutex::new(visit));
        self.held.insert(at, (until, Arc::clone(&held)));
        held
    }

    /// The visit of that hop.
    pub fn at(&self, at: At) -> Option<Held> {
        self.held.get(&at).map(|(_, held)| Arc::clone(held))
    }

    /// The latest of that session.
    pub fn last(&self, session: SessionId) -> Option<Held> {
        let mut of = self.held.range((session, 0)..=(session, u16::MAX));
        of.next_back().map(|(_, (_, held))| Arc::clone(held))
    }

    /// Of all visits, or those of one session: in the order of sessions and hops.
    pub fn of(&self, session: Option<SessionId>) -> Vec<Held> {
        let of = |at: &At| session.is_none_or(|session| session == at.0);
        let held = self.held.iter().filter(|(at, _)| of(at));
        held.map(|(_, (_, held))| Arc::clone(held)).collect()
    }

    /// The server has not heard of that one.
    pub fn not_told(&mut self, at: At) {
        if let Some((_, held)) = self.held.get(&at) {
            self.untold.insert(at, Arc::clone(held));
        }
    }

    /// It has.
    pub fn told(&mut self, at: At) {
        self.untold.remove(&at);
    }

    /// Those that the server has not heard of.
    pub fn to_tell(&self) -> Vec<(At, Held)> {
        self.untold.iter().map(|(at, held)| (*at, Arc::clone(held))).collect()
    }

    /// Lets go of what has had its time; which hops those are.
    pub fn sweep(&mut self, now: UnixTime) -> Vec<At> {
        let over = self.held.iter().filter(|(_, (until, _))| *until <= now);
        let over: Vec<At> = over.map(|(at, _)| *at).collect();
        for at in &over {
            self.held.remove(at);
            self.untold.remove(at);
        }
        over
    }
}

/// Keeps nothing more of a visit.
pub fn forget_visit(at: At) -> [Change; 2] {
    [forget(VISIT, at), forget(UNTOLD, at)]
}

/// Keeps a visit.
pub fn keep(at: At, saved: Saved) -> Change {
    Change::Put { kind: VISIT, name: name(at), plain: saved }
}

/// Keeps that the server has not heard of it.
pub fn keep_untold(at: At) -> Change {
    Change::Put { kind: UNTOLD, name: name(at), plain: Saved::default() }
}

/// Keeps that it has.
pub fn forget_untold(at: At) -> Change {
    forget(UNTOLD, at)
}

fn forget(kind: &'static str, at: At) -> Change {
    Change::Remove { kind, name: name(at) }
}

fn name((session, hop): At) -> Vec<u8> {
    [&session.0[..], &hop.to_be_bytes()].concat()
}
