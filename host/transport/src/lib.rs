//! Sockets for RADIUS: datagrams, and RADIUS over TLS.
//!
//! | module | gives |
//! |---|---|
//! | [`server`] | [`UdpServer`]: threads that take and answer datagrams in batches |
//! | [`radsec`] | [`RadsecServer`]: the same by TLS, for peers that a certificate names |
//! | [`radsec::client`] | [`RadsecClient`]: connections by TLS that are kept up, on Tokio |
//! | [`client`] | [`UdpClient`]: connected sockets to named servers, on Tokio |
//! | [`counters`] | [`Counters`]: what a server saw |
//!
//! A service takes packets and answers them, and need not know how they came. Of the protocol
//! nothing is known here but where in a stream a packet ends.

pub mod client;
pub mod counters;
pub mod radsec;
pub mod server;

mod error;
mod socket;

pub use client::{Endpoint, EndpointError, Event, UdpClient};
pub use counters::Counters;
pub use error::BindError;
pub use radsec::client::RadsecClient;
pub use radsec::{RadsecCounters, RadsecServer, RunningRadsec};
pub use server::{
    Asked, Datagram, Path, Replies, RunningServer, ServerConfig, Service, UdpServer, Waker,
    WorkerDied,
};

/// The longest datagram that is received: RADIUS' own limit (RFC 2865 3). Longer ones are
/// dropped.
pub const MAX_DATAGRAM: usize = 4096;
