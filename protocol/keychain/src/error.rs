//! Why a device, a network or a chain is not believed.

use std::fmt;

/// Which hop is at fault, and what of it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("hop {hop}: {why}")]
pub struct Refusal {
    /// The hop, from 1 on; 0 where it is not about one.
    pub hop: u16,
    /// What is wrong.
    pub why: Why,
}

/// Who proves something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Side {
    /// The device.
    Device,
    /// The network of the last hop.
    Network,
}

impl fmt::Display for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Device => "the device",
            Self::Network => "the network",
        })
    }
}

/// What is wrong.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Why {
    /// The answer to a challenge was made without the device's key, or altered.
    #[error("the device did not prove that it has the key that it shares with this network")]
    NotAuthorised,
    /// What it answers is another challenge, or one that is over.
    #[error("it answers a challenge that is not open")]
    NoChallenge,
    /// It is another session's.
    #[error("it is of another session")]
    OtherSession,
    /// It is another server's.
    #[error("it is for another server")]
    OtherServer,
    /// Not the next hop: one was left out, repeated, or put elsewhere.
    #[error("it is hop {found} where {expected} is to come")]
    OutOfOrder {
        /// What it calls itself.
        found: u16,
        /// What is to come.
        expected: u16,
    },
    /// It does not follow the records that there are.
    #[error("it does not follow the record before it")]
    NotThatBefore,
    /// The device says that it came from elsewhere.
    #[error("the network before it is not where the device says it was")]
    NotFromThere,
    /// Nobody knows a network of that name with that key.
    #[error("no network of that name has that key")]
    UnknownNetwork,
    /// The network's module is trusted no more.
    #[error("the module of this network was revoked")]
    Revoked,
    /// Its module had not heard of revocations that everybody has to know.
    #[error("its module knew revocations up to {found} only; {needed} is needed")]
    OldEpoch {
        /// What it knew.
        found: u64,
        /// What it has to.
        needed: u64,
    },
    /// It is signed by somebody else, or altered.
    #[error("the signature of {0} is not its own")]
    Signature(Side),
    /// It is over.
    #[error("its time is over")]
    Expired,
    /// It is of a time that is still to come, or ends before it begins.
    #[error("its time is none that can be")]
    Untimely,
    /// The network before could not be reached, and the chain was begun anew.
    #[error("the key of the network before it is missing")]
    Broken,
    /// Where a chain may begin is for the server to say.
    #[error("the server lets no chain begin in this network")]
    NotFirst,
    /// A record that the device got is not by who knows the key that the two share.
    #[error("the network did not prove that it has the key that it shares with the device")]
    NotTheNetwork,
    /// A hop that no network told the server of.
    #[error("no network has told the server of this hop")]
    NotTold,
    /// Something else is to be admitted than what the device asked for.
    #[error("it is asked to prove for a flow that it did not ask for")]
    OtherFlow,
    /// It was not sent by the network that it is of.
    #[error("another network gave it than the one that it is of")]
    NotItsNetwork,
    /// There are more than a chain may have.
    #[error("there are more hops than a chain may have")]
    TooMany,
    /// The device names no network before this one, and has been in some.
    #[error("the device does not say where it was before")]
    NoTicket,
    /// A ticket for another network.
    #[error("the ticket is for another network")]
    NotItsTicket,
    /// A ticket that was not made with the key of the hop before and that of the session.
    #[error(
        "the ticket was not made by the device, with the keys of the hop before and the session"
    )]
    ForgedTicket,
    /// The device turned to more networks than may be given the key of one hop.
    #[error("the key was given to as many networks as may have it")]
    Exported,
    /// The network has no key for that session any more, or never had.
    #[error("the network has no key of this session")]
    NoKey,
    /// Somebody does not have the key of this hop.
    #[error("{0} did not prove that it has the key of this hop")]
    NotProven(Side),
}

impl Why {
    /// At that hop.
    pub(crate) const fn at(self, hop: u16) -> Refusal {
        Refusal { hop, why: self }
    }
}
