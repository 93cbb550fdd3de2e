//! Why a packet is dropped, and what cannot be sent.

use crate::codec::MAX_FRAGMENTS;
use crate::echo::{ECHO_LEN, VERSION};

/// Octets that are no cookie.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a cookie has 0, 4 or 8 octets (RFC 3931 4.1), not {0}")]
pub struct CookieLengthError(pub usize);

/// Why a received packet is dropped. It has changed nothing but a counter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, thiserror::Error)]
pub enum Discard {
    /// Ends before its header does.
    #[error("the packet ends within its header")]
    Short,
    /// A control message: the T bit over UDP (RFC 3931 3.2.1), session id 0 over IP (4.1.1.2).
    /// Homeward sets tunnels up over its control channel and speaks none.
    #[error("an L2TP control message: sessions are set up over the control channel only")]
    ControlMessage,
    /// Not version 3 (RFC 3931 4.1.2.1): 2 is L2TP of RFC 2661.
    #[error("L2TP version is not 3")]
    Version,
    /// For another session than the one it was given to.
    #[error("the packet is for another session")]
    OtherSession,
    /// The cookie is wrong: a stale session at the other end, or a forgery.
    #[error("the cookie is wrong: the other end has a stale session, or the packet is forged")]
    Cookie,
    /// No sequence number where both ends agreed on them.
    #[error("the packet has no sequence number: have the other end send them")]
    Unnumbered,
    /// A sequence number seen before: a duplicate of the network's, or a replay.
    #[error("the sequence number was seen before")]
    Duplicate,
    /// A sequence number so far behind that it cannot be told from a replay.
    #[error("the sequence number lies behind the window")]
    Stale,
    /// A fragment in a session without numbers, which its parts cannot be ordered by.
    #[error("a fragment in a session that does not number its packets")]
    UnexpectedFragment,
    /// An empty fragment, or one that makes the frame longer than is allowed or begins or ends it
    /// twice.
    #[error("a fragment that fits into no frame")]
    Fragment,
    /// Fewer octets than an Ethernet header has.
    #[error("fewer than 14 octets are no Ethernet frame")]
    Runt,
}

impl Discard {
    /// Every reason, in the order of the counters.
    pub const ALL: [Self; 11] = [
        Self::Short,
        Self::ControlMessage,
        Self::Version,
        Self::OtherSession,
        Self::Cookie,
        Self::Unnumbered,
        Self::Duplicate,
        Self::Stale,
        Self::UnexpectedFragment,
        Self::Fragment,
        Self::Runt,
    ];

    /// The word for metrics.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Short => "short",
            Self::ControlMessage => "control-message",
            Self::Version => "version",
            Self::OtherSession => "other-session",
            Self::Cookie => "cookie",
            Self::Unnumbered => "unnumbered",
            Self::Duplicate => "duplicate",
            Self::Stale => "stale",
            Self::UnexpectedFragment => "unexpected-fragment",
            Self::Fragment => "fragment",
            Self::Runt => "runt",
        }
    }
}

/// A frame that cannot be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TooLong {
    /// It does not fit into one packet, and the session has no numbers to order fragments by.
    #[error(
        "a frame of {frame} octets does not fit into {payload}, and the session is not numbered: \
         lower the MTU of the device's network, or number the session"
    )]
    NeedsFragments {
        /// The frame's octets.
        frame: usize,
        /// What fits into a packet.
        payload: usize,
    },
    /// It would take more fragments than are allowed.
    #[error(
        "a frame of {frame} octets would take more than {MAX_FRAGMENTS} fragments of {payload}: \
         segment it first"
    )]
    TooManyFragments {
        /// The frame's octets.
        frame: usize,
        /// What fits into a packet.
        payload: usize,
    },
}

/// Octets that are no echo message of ours; another protocol's VCCV message, or a forgery.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum EchoError {
    /// Too short.
    #[error("{0} octets are no echo message: it has at least {ECHO_LEN}")]
    Short(usize),
    /// Another channel type (RFC 4385 5), or none.
    #[error("not an associated channel of Homeward's type")]
    Channel,
    /// Not our magic.
    #[error("an associated channel of another's making")]
    Magic,
    /// A version this crate does not speak.
    #[error("echo version {0}: this end speaks {VERSION}")]
    Version(u8),
    /// Neither request nor reply.
    #[error("echo type {0} is neither request nor reply")]
    Kind(u8),
}

/// Octets that are no IPv4 packet with L2TP between the two ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InnerError {
    /// Ends before its header, or before its Total Length.
    #[error("the inner packet is cut off")]
    Short,
    /// Not IPv4.
    #[error("the inner packet is not IPv4")]
    Version,
    /// An IP fragment: both ends send none.
    #[error("the inner packet is an IP fragment")]
    Fragment,
    /// Not protocol 115.
    #[error("the inner packet has protocol {0}, not 115 (L2TP)")]
    Protocol(u8),
    /// Between other addresses.
    #[error("the inner packet is not from the other end to this one")]
    Address,
}
