//! STUN (RFC 8489) as far as gateways need it: how the Internet sees a socket, asked and answered.
//!
//! | module | does |
//! |---|---|
//! | [`message`] | the messages: Binding requests, and what answers them |
//! | [`asker`] | who asks, again and again, from one socket |
//! | [`answerer`] | who answers, each source so often |
//! | [`nat`] | what the answers say of what is between |
//!
//! No library: those that are kept bring 25 to 75 crates for attributes, ciphers and credentials that
//! nobody here speaks, and draw transaction ids themselves. What is here is two messages and four
//! attributes; the checks of connectivity that STUN makes elsewhere (RFC 8445) are L2TP's echo messages
//! (`homeward_l2tp::Path`).
#![forbid(unsafe_code)]

pub mod answerer;
pub mod asker;
pub mod message;
pub mod nat;
#[doc(hidden)]
pub mod testing;

pub use answerer::{Answerer, AnswererSettings, Verdict};
pub use asker::{Asker, AskerSettings, Learned, Request, ServerStatus};
pub use message::{Class, DecodeError, Message, TransactionId, is_answer};
pub use nat::{Mapping, Nat};
