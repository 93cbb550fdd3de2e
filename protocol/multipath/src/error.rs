//! What is no report.

use crate::report::{REPORT_LEN, VERSION};

/// Octets that are no report; another VCCV message, or a forgery.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ReportError {
    /// Too short.
    #[error("{0} octets are no report: it has at least {REPORT_LEN}")]
    Short(usize),
    /// Another channel type (RFC 4385 5), or none.
    #[error("not an associated channel of Homeward's type")]
    Channel,
    /// Not our magic.
    #[error("an associated channel of another's making")]
    Magic,
    /// A version this crate does not speak.
    #[error("report version {0}: this end speaks {VERSION}")]
    Version(u8),
    /// Another message of ours: perhaps an [`Echo`](homeward_l2tp::Echo).
    #[error("message type {0} is no report")]
    Kind(u8),
}
