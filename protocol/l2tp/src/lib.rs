//! Ethernet pseudowires over L2TPv3: frames, sequence, fragments, path probes.
//!
//! | module | what |
//! |---|---|
//! | [`session`] | what two ends agreed on: ids, cookies, sublayer, encapsulation |
//! | [`codec`] | data messages on the wire (RFC 3931, 4719, 4623, 5085) |
//! | [`inner`] | the IPv4 header around a session inside WireGuard |
//! | [`outbound`] | the sending direction: numbers packets, cuts frames into fragments |
//! | [`inbound`] | the receiving direction: believes packets, drops replays, puts fragments together |
//! | [`echo`] | probes in VCCV messages |
//! | [`path`] | where the other end is, whether it is there, how much fits (RFC 8899) |
//! | [`overhead`] | how much of a packet is left for the frame |
//!
//! A frame's way out: [`Outbound::plan`], and for each piece [`Outbound::header`], the piece, and
//! inside WireGuard [`InnerHeader::header`](inner::InnerHeader::header) before both. Its way in:
//! ([`InnerHeader::open`](inner::InnerHeader::open),) [`peek_session_id`] to find the session, and
//! [`Inbound::accept`]. No octet of a frame is copied but those of fragments, once; nothing is
//! allocated for a packet.
//!
//! Compatible with a Linux kernel's `l2tp_eth` at the other end: [`Sublayer::Unnumbered`] or
//! [`Sublayer::None`], no echo messages, and frames that fit.
#![forbid(unsafe_code)]
#![deny(clippy::indexing_slicing, clippy::cast_possible_truncation)]

pub mod codec;
pub mod echo;
pub mod error;
pub mod inbound;
pub mod inner;
pub mod outbound;
pub mod overhead;
pub mod path;
pub mod session;
#[doc(hidden)]
pub mod testing;

pub use codec::{
    ETHERNET_HEADER_LEN, Fragment, Header, HeaderTemplate, MAX_FRAGMENTS, MAX_HEADER_LEN, Sequence,
    peek_session_id,
};
pub use echo::{Echo, EchoKind, Nonce};
pub use error::{CookieLengthError, Discard, EchoError, InnerError, TooLong};
pub use inbound::{Delivery, Inbound, InboundCounters, InboundSettings};
pub use inner::InnerHeader;
pub use outbound::{Outbound, OutboundCounters, Piece, Pieces};
pub use overhead::{Overhead, TcpMss};
pub use path::{Path, PathEvent, PathSettings, PathState, Probe};
pub use session::{Cookie, Encapsulation, SessionConfig, SessionId, Sublayer};
