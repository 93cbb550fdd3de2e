//! The control channel between a gateway and its operator's controller: the messages, and the
//! machine at either end.
//!
//! ```text
//!  gateway                                                   controller
//!  Link ── Hello: all that it holds ─────────────────────────────► Controller
//!       ◄─ Welcome, OpenTunnel for each tunnel, Synced ───────────
//!       ── Want, DeviceUpdate, TunnelReport, Neighbours, … ──────►
//!       ◄─ OpenTunnel, CloseTunnel, Arrived, Prepare, Evict, … ──
//! ```
//!
//! Nothing is assumed across a reconnection: it begins with Hello again, and what Synced does not
//! name is closed. Both machines keep what is wanted and compare it with what is there, so a
//! message that a broken channel swallowed is made good by the next Hello. Whether a grant or a log-in
//! has ended is somebody else's to say: they are asked of all that a gateway then holds.
//!
//! | module | what it holds |
//! |---|---|
//! | [`message`] | the messages, typed |
//! | [`codec`] | octets and protobuf to messages and back, within [`codec::limits`] |
//! | [`controller`] | the operator's machine: gateways, tunnels, whereabouts, preparation |
//! | [`link`] | one gateway's machine: its channel, its wishes, what the controller wants of it |
//! | [`pb`] | the messages as they are on the wire, generated from `proto/` |
//! | [`testing`] | predictable entropy, and the bodies of the fuzz targets |
#![forbid(unsafe_code)]
#![deny(clippy::indexing_slicing, clippy::cast_possible_truncation)]

pub mod codec;
pub mod controller;
pub mod error;
pub mod link;
pub mod message;
pub mod testing;

mod endpoint;
mod redact;
mod seen;
mod word;

/// The messages as they are on the wire, generated from `proto/`.
#[expect(
    missing_docs,
    clippy::doc_markdown,
    clippy::large_enum_variant,
    reason = "generated; the schema documents them"
)]
pub mod pb {
    include!(concat!(env!("OUT_DIR"), "/homeward.control.v1.rs"));
}

pub use controller::{Controller, Settings as ControllerSettings};
pub use endpoint::{Endpoint, EndpointKind, Translation};
pub use error::DecodeError;
pub use link::{Link, Settings as LinkSettings};
pub use message::*;
pub use seen::Seen;
pub use word::{Cookie, PresharedKey, PublicKey, SessionId, Side, TunnelId};
