//! What an ePDG demands of a device that came from another network: a postquantum preshared key of
//! IKEv2 (PPK, RFC 8784), and what both ends call it.

use std::fmt;

use crate::key::PpkKey;
use crate::message::SessionId;

/// What both ends call it (PPK_ID, RFC 8784 3): `hop-2@0179605b9e28735568dd5c439468550a`. It is no
/// secret, and another for each hop of each session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PpkId {
    /// The session.
    pub session: SessionId,
    /// The hop that it is demanded at, from 2 on.
    pub hop: u16,
}

impl fmt::Display for PpkId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "hop-{}@{}", self.hop, self.session)
    }
}

/// The key, and its name. There is none at the first hop, nor at one that is marked broken: who
/// demands one there lets nobody in.
#[derive(Debug, Clone, Copy)]
pub struct Ppk<'a> {
    /// What it is called.
    pub id: PpkId,
    /// 32 octets.
    pub key: &'a PpkKey,
}
