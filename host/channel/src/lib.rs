//! The control channel's transport: gRPC over mutual TLS, enrolment, certificates.
//!
//! | module | holds |
//! |---|---|
//! | [`token`] | [`Token`]: what `homeward admin gateway enrol` prints |
//! | [`authority`] | [`Authority`]: the core's certificate authority |
//! | [`certificate`] | [`Presented`]: what a gateway's certificate says |
//! | [`credential`] | [`Credential`]: a gateway's key and certificate on disk |
//! | [`client`] | [`Client`]: a gateway enrols, connects, renews |
//! | [`keeper`] | a gateway's channel, kept as its machine wants it |
//! | [`doctor`] | what such an end needs of its machine |
//! | [`server`] | [`Server`]: the core's end; [`Gatekeeper`]: whom it lets in |
//! | [`settings`] | what both ends may be told |
//! | [`error`] | [`Error`], [`Refusal`]: what can go wrong, and the repair |

pub mod authority;
pub mod certificate;
pub mod client;
pub mod credential;
mod dial;
pub mod doctor;
pub mod error;
mod io;
pub mod keeper;
pub mod server;
pub mod settings;
#[doc(hidden)]
pub mod testing;
mod tls;
pub mod token;

pub use authority::{
    Authority, AuthorityParts, SigningRequest, SigningRequestError, random_serial,
};
pub use certificate::{CORE_NAME, CertificateError, Presented, Serial};
pub use client::{Channel, Client, End, read_token};
pub use credential::Credential;
pub use error::{Error, Refusal};
pub use server::{
    Closed, ConnectionId, Counters, Denial, Event, Gatekeeper, Handle, Issue, Overrun, Server,
    Subject,
};
pub use settings::{ChannelConfig, ClientSettings, ServerSettings};
pub use token::{Pin, Token, TokenError, TokenHash};

/// The service's ends, generated from the schema.
#[expect(
    unreachable_pub,
    clippy::allow_attributes,
    clippy::doc_markdown,
    reason = "generated; the schema documents it"
)]
mod proto {
    include!(concat!(env!("OUT_DIR"), "/homeward.control.v1.rs"));
}
