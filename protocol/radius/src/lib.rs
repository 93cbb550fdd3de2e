//! RADIUS, pure: octets and times in, octets and events out.
//!
//! | module | what it holds |
//! |---|---|
//! | [`packet`] | borrowed decoding: [`Packet`], [`Attribute`], vendor-specific attributes |
//! | [`builder`] | encoding and signing into a reused buffer: [`Builder`], [`AttributeList`] |
//! | [`auth`] | [`SharedSecret`]: authenticators, Message-Authenticator; RADIUS/1.1 (RFC 9765) |
//! | [`stream`] | packets out of a stream of octets, as over TLS (RFC 6614): [`Packets`] |
//! | [`hide`] | User-Password, Tunnel-Password and MS-MPPE keys, hidden and opened |
//! | [`dictionary`] | numbers, names, types; which attribute is hidden or names a subscriber |
//! | [`mod@describe`] | a packet as text, for logs at DEBUG |
//! | [`lookup`] | the one mapping between the model's words and attributes: [`LookupRequest`], grants, refusals |
//! | [`login`] | log-ins by EAP, PAP and CHAP: [`LoginRequest`], what is answered |
//! | [`client`] | the asking machine: [`Client`] |
//! | [`server`] | the answering machine: [`Server`] |
//! | [`dynauth`] | Disconnect-Request and CoA-Request, both sides |
//! | [`retransmit`] | the timers of RFC 5080 2.2.1 |
//!
//! A look-up through it all: [`LookupRequest::attributes`] → [`Client::request`] →
//! [`Client::poll_transmit`] ⇒ the wire ⇒ [`Server::handle`] → [`LookupRequest::decode`] → the
//! role decides → [`Server::respond`] with [`lookup::write_grant`] or [`lookup::write_refusal`]
//! ⇒ the wire ⇒ [`Client::handle_datagram`] → [`client::Answer::decision`].
//!
//! A server that takes requests by the batch has each [`Opened`], all of them [`prepare`]d,
//! [`Server::handle_opened`] in the place of `handle`, [`Server::draft`] in that of `respond`, and
//! at the end [`Server::sign`]: MD5 is most of the work, and eight at a time cost as much as two.
//!
//! Message-Authenticator (RFC 3579 3.2) is written first into every Access-Request,
//! Status-Server, dynamic-authorization request and answer to them, and demanded in both
//! directions unless a setting says otherwise; that is the defence against forged answers by MD5
//! collision (CVE-2024-3596, "BlastRADIUS").
//!
//! Not here: sockets, TLS and clocks (the caller's), EAP itself
//! (`homeward-eap`).
#![forbid(unsafe_code)]
#![deny(clippy::indexing_slicing, clippy::cast_possible_truncation)]

pub mod auth;
pub mod builder;
pub mod client;
pub mod describe;
pub mod dictionary;
pub mod dynauth;
pub mod error;
pub mod hide;
mod lanes;
pub mod login;
pub mod lookup;
mod many;
pub mod packet;
pub mod retransmit;
pub mod server;
pub mod stream;
pub mod terms;
#[doc(hidden)]
pub mod testing;

pub use auth::SharedSecret;
pub use builder::{AttributeList, Builder};
pub use client::{Answer, Client, ClientEvent, ClientSettings, RequestId, Transmit};
pub use describe::{Show, describe};
pub use error::{AuthError, DecodeError, EncodeError};
pub use login::{LoginError, LoginRequest};
pub use lookup::{Decision, LookupError, LookupRequest};
pub use many::{Opened, prepare};
pub use packet::{Attribute, Authenticator, Code, Packet};
pub use server::{DropReason, Policy, Port, Received, Server, ServerSettings, Ticket};
pub use stream::Packets;
pub use terms::Allowed;
