//! Sockets for datagram protocols.
//!
//! | module | gives |
//! |---|---|
//! | [`server`] | [`UdpServer`]: threads that take and answer datagrams in batches |
//! | [`client`] | [`UdpClient`]: connected sockets to named servers, on Tokio |
//! | [`counters`] | [`Counters`]: what a server saw |
//!
//! Neither knows the protocol: datagrams in, datagrams out.

pub mod client;
pub mod counters;
pub mod server;

mod error;
mod socket;

pub use client::{Endpoint, EndpointError, Event, UdpClient};
pub use counters::Counters;
pub use error::BindError;
pub use server::{
    Datagram, Replies, RunningServer, ServerConfig, Service, UdpServer, Waker, WorkerDied,
};

/// The longest datagram that is received: RADIUS' own limit (RFC 2865 3). Longer ones are
/// dropped.
pub const MAX_DATAGRAM: usize = 4096;
