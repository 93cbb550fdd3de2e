//! Checks a trace again, by itself: what `trace --json` printed, kept for as long as anybody may ask
//! where a device was, and who said so.
//!
//! Signatures and hashes are looked at, and whose keys they are by; not secrets, which the trace has
//! none of. That a chain was whole then is what this says; which of its networks are revoked now is
//! said beside it.

use std::time::Duration;

use homeward_keychain::record::{self, Directory as _, Terms};
use homeward_keychain::{Record, Refusal, SessionId, Standing};
use homeward_model::Name;
use serde::{Deserialize, Serialize};

use crate::directory::Directory;

/// As `trace --json` prints it; what else is in it is for people.
#[derive(Debug, Deserialize)]
struct Trace {
    sessions: Vec<Session>,
}

#[derive(Debug, Deserialize)]
struct Session {
    session: String,
    hops: Vec<Hop>,
    #[serde(default)]
    begun: Vec<Hop>,
}

#[derive(Debug, Deserialize)]
struct Hop {
    record: String,
}

/// What cannot be checked.
#[derive(Debug, thiserror::Error)]
pub enum EvidenceError {
    /// It is no trace.
    #[error("this is no trace, as `homeward guard trace --json` prints it")]
    NoTrace(#[from] serde_json::Error),
    /// One of its sessions is none.
    #[error("{0:?} names no session")]
    NoSession(String),
    /// One of its records is none.
    #[error("session {session}: record {number} cannot be read")]
    NoRecord {
        /// Of which session.
        session: SessionId,
        /// Which, from 1 on.
        number: usize,
    },
}

/// What became of one session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Checked {
    /// Which.
    pub session: String,
    /// The networks that it went through, in order; those of hops that were begun and not gone on
    /// from are behind them.
    pub networks: Vec<Name>,
    /// How many of these hops are integrated.
    pub hops: usize,
    /// The first thing that is wrong, and with which hop; none: device and networks signed all of it.
    pub fault: Option<String>,
    /// Networks whose modules are trusted no more.
    pub revoked: Vec<Name>,
    /// Hops that were made without the key of the one before.
    pub broken: Vec<u16>,
}

/// The peers, as they were before any was revoked.
struct Then<'a>(&'a Directory);

impl record::Directory for Then<'_> {
    fn standing(&self, network: &Name, key: &[u8; 32]) -> Standing {
        match self.0.standing(network, key) {
            Standing::Revoked => Standing::Good,
            standing => standing,
        }
    }

    fn epoch(&self) -> u64 {
        0
    }
}

/// Checks each session of a trace that the server `server` printed. `skew` is how far clocks may
/// have been apart.
///
/// # Errors
/// It cannot be read. What is wrong with what can be read is in the answer.
pub fn check(
    trace: &str,
    server: &Name,
    directory: &Directory,
    skew: Duration,
) -> Result<Vec<Checked>, EvidenceError> {
    let Trace { sessions } = serde_json::from_str(trace)?;
    sessions.into_iter().map(|session| one(session, server, directory, skew)).collect()
}

fn one(
    traced: Session,
    server: &Name,
    directory: &Directory,
    skew: Duration,
) -> Result<Checked, EvidenceError> {
    let Session { session, hops, begun } = traced;
    let session: SessionId = session.parse().map_err(|_| EvidenceError::NoSession(session))?;
    let made = hops.len();
    let records = hops.iter().chain(&begun).enumerate().map(|(at, hop)| {
        let none = EvidenceError::NoRecord { session, number: at + 1 };
        let octets = data_encoding::HEXLOWER_PERMISSIVE.decode(hop.record.as_bytes()).ok();
        octets.and_then(|octets| Record::decode(&octets).ok()).ok_or(none)
    });
    let records = records.collect::<Result<Vec<_>, _>>()?;
    let (chain, begun) = records.split_at_checked(made).unwrap_or_default();
    let whole = |records: &[Record]| -> Result<(), Refusal> {
        // It was whole when its last hop was made.
        let Some(now) = records.last().map(|last| last.at) else { return Ok(()) };
        let terms = Terms { session, server, directory: &Then(directory), now, skew, broken: true };
        record::check(records, &terms).map(drop)
    };
    let checked = whole(chain).and_then(|()| {
        // Each of these follows the last that was gone on from.
        begun.iter().try_for_each(|next| {
            let mut with: Vec<Record> = chain.to_vec();
            with.push(next.clone());
            whole(&with)
        })
    });
    let revoked = records
        .iter()
        .filter(|record| directory.standing(&record.network, &record.key) == Standing::Revoked);
    let mut revoked: Vec<Name> = revoked.map(|record| record.network.clone()).collect();
    revoked.sort_unstable();
    revoked.dedup();
    Ok(Checked {
        session: session.to_string(),
        networks: records.iter().map(|record| record.network.clone()).collect(),
        hops: made,
        fault: checked.err().map(|refusal| refusal.to_string()),
        revoked,
        broken: records.iter().filter(|record| record.broken).map(|record| record.hop).collect(),
    })
}
