//! The accounting ledger: a record is durable before it is acknowledged, and counted once.
//!
//! | module | holds |
//! |---|---|
//! | [`ledger`] | [`Ledger`]: what is submitted, closed, forgotten |
//! | [`reader`] | [`LedgerReader`]: usage, sessions, records; for other processes too |
//! | [`export`] | what billing is told: [`Cursor`], [`Totals`], JSON lines and CSV |
//! | [`entry`] | [`Entry`] and [`Receipt`]: what goes in and what comes back |
//! | [`settings`] | [`Settings`] |
//! | [`counters`] | [`Counters`]: what it has done |
//! | [`error`] | what can go wrong, whose fault it is, and the repair |
//! | `writer` | the thread that writes |
//! | `batch` | one transaction: sessions read, records applied, rows written |
//! | `log` | the write-ahead log, folded into the file beside the writer |
//! | `row`, `bulk`, `cache`, `open` | rows, statements over many of them, sessions in memory, the file |
//!
//! ```text
//!  submit ─► queue ─► [ all that waits ] ─► Session::apply ─► one transaction ─► fsync ─► receipts
//! ```
//!
//! The life of a session is `homeward_accounting`'s; this crate keeps it. Sessions, their
//! records, and the usage of devices, log-ins and accounts by day change in one transaction, so that a
//! record is in all of them or in none, wherever the process dies. A record that comes again,
//! for its answer was lost, changes nothing and has its receipt again.
//!
//! One process writes ([`Ledger`]); any number read ([`LedgerReader`]). The file is its own, so
//! that accounting and the datastore do not wait for each other. There is no in-memory twin: what
//! could differ is in the pure machine, which is its own twin, and the rest of this crate is
//! about disks.
#![forbid(unsafe_code)]

pub mod counters;
pub mod entry;
pub mod error;
pub mod export;
pub mod ledger;
pub mod reader;
pub mod settings;

mod batch;
mod bulk;
mod cache;
mod log;
mod open;
#[cfg(test)]
mod plans;
mod row;
mod writer;

pub use counters::Counters;
pub use entry::{Counted, Entry, Owner, Receipt, SessionId, User};
pub use error::{Error, OpenError, Result, SubmitError, WriteError};
pub use export::{ClosingRow, Cursor, Format, Totals};
pub use ledger::{Ledger, Options, Pending, Retention};
pub use reader::{
    DayUsage, LedgerReader, OpenFilter, RecordView, Running, RunningPlace, SessionView, Subject,
};
pub use settings::Settings;
