//! Accounting: what NASes report goes into the ledger, and is answered once it is on disk.
//!
//! | module | does |
//! |---|---|
//! | [`config`] | `[aaa.accounting]` |
//! | [`worker`] | records in, receipts out |
//! | `recover` | sessions from before the start |
//! | [`keeper`] | opens the ledger; closes what fell silent, forgets what was kept for long enough |
//!
//! A record that the ledger does not take (too many wait, the disk is full) is not answered: the
//! NAS keeps it and sends it again (RFC 2866 2). Log-ins and look-ups go on meanwhile.

pub mod config;
pub mod keeper;
pub(crate) mod recover;
pub mod worker;

pub use config::AccountingConfig;
