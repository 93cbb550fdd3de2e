//! Which address of the cellular network is whose, pure: what packet gateways report, and what
//! becomes of it.
//!
//! | module | what it holds |
//! |---|---|
//! | [`report`] | [`Report`]: an Accounting-Request of a packet gateway, in the model's words |
//! | [`table`] | [`Table`]: the machine that reports are applied to; whose an address is |
//! | [`settings`] | the times and limits |
//!
//! ```text
//!  Packet ─► Report::decode ─► Table::handle ─► Change … to be kept by the caller
//!                              Table::whose(address, apn) ─► Bearer
//! ```
//!
//! A packet gateway (GGSN, PGW, SMF) is a RADIUS accounting client to whoever asks it to be one
//! (3GPP TS 29.061 16.4). A Start gives an address to a subscriber, a Stop takes it back, an
//! Interim says that it is still so. What the device itself says is asked nowhere: the gateway
//! drops what does not come from the address it gave.
//!
//! Reports come late, twice, in another order, or not at all. Four things hold nevertheless:
//!
//! - An address of one gateway and access point name is never two subscribers'.
//! - A session that a Stop was heard of does not come back by a report from before it.
//! - What a gateway does not speak of for too long is nobody's.
//! - Where it cannot be said whose an address is, it is nobody's.
//!
//! In which order reports were made is said by the gateway's own clock (Event-Timestamp, RFC 2869
//! 5.3), and compared with nothing but what the same gateway said before: it may be off, and it is
//! not ours.
#![forbid(unsafe_code)]
#![deny(clippy::indexing_slicing, clippy::cast_possible_truncation)]

pub mod report;
pub mod settings;
pub mod table;
#[doc(hidden)]
pub mod testing;

pub use homeward_accounting::Kind;
pub use report::{Report, ReportError, Source};
pub use settings::Settings;
pub use table::{Applied, Bearer, Change, News, Table, Whose};
