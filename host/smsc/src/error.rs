//! What may go wrong.

use std::io;
use std::path::PathBuf;

use rusmpp::CommandStatus;

/// Why there is no session.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A setting that SMPP has no room for.
    #[error("{setting}: {reason}")]
    Setting {
        /// Which.
        setting: &'static str,
        /// What is allowed.
        reason: &'static str,
    },
    /// A file of certificates that cannot be used.
    #[error("no certificate authority in {path}: {reason}")]
    Authority {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// It cannot be connected to.
    #[error("cannot connect to the SMSC {smsc}")]
    Connect {
        /// Its address.
        smsc: String,
        /// Why.
        source: io::Error,
    },
    /// TLS fails.
    #[error("no TLS with the SMSC {smsc}")]
    Tls {
        /// Its address.
        smsc: String,
        /// Why.
        source: io::Error,
    },
    /// It refuses the bind.
    #[error("the SMSC refuses the bind of {system_id}: {status}")]
    Refused {
        /// As whom we came.
        system_id: String,
        /// What it said, and what to do.
        status: String,
    },
    /// It does not answer.
    #[error("the SMSC does not {what} within {seconds} s")]
    Silent {
        /// What it should have done.
        what: &'static str,
        /// How long it had.
        seconds: u64,
    },
    /// It ended the session.
    #[error("the SMSC ended the session")]
    Closed,
    /// What it sends is no SMPP, or the connection broke.
    #[error("what the SMSC sends cannot be read: {reason}")]
    Unreadable {
        /// Why.
        reason: String,
    },
    /// It takes nothing.
    #[error("cannot send to the SMSC: {reason}")]
    Unsent {
        /// Why.
        reason: String,
    },
}

/// Why a message was not submitted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SubmitError {
    /// It cannot be put into a submit_sm.
    #[error("{field}: {reason}")]
    Invalid {
        /// What of it.
        field: &'static str,
        /// What is allowed.
        reason: &'static str,
    },
    /// The SMSC does not take it, and would not later.
    #[error("the SMSC does not take the message: {0}")]
    Refused(String),
    /// There was no session for it, or the SMSC was too busy, until its time was over.
    #[error("the SMSC took no message in time")]
    TooLate,
    /// The session ended before the SMSC answered: it may have taken the message.
    #[error("the SMSC did not answer: it may have taken the message")]
    Lost,
    /// More messages wait than may.
    #[error("too many messages wait for the SMSC")]
    Full,
    /// The session is no longer run.
    #[error("the session with the SMSC was stopped")]
    Stopped,
}

/// A status, and the repair where there is one.
pub(crate) fn explain(status: CommandStatus) -> String {
    let hint = match status {
        CommandStatus::EsmeRinvpaswd => "wrong password",
        CommandStatus::EsmeRinvsysid => "it does not know that system_id",
        CommandStatus::EsmeRbindfail => "bind failed: check system_id, password and system_type",
        CommandStatus::EsmeRalybnd => "bound already: it allows no further session",
        CommandStatus::EsmeRinvdstadr => "invalid destination address",
        CommandStatus::EsmeRinvsrcadr => "invalid source address",
        CommandStatus::EsmeRthrottled => "too many messages",
        CommandStatus::EsmeRmsgqful => "its queue is full",
        CommandStatus::EsmeRsyserr => "a failure of its own",
        _ => "see SMPP 3.4, 5.1.3",
    };
    format!("{hint} ({:#010x})", u32::from(status))
}

impl Error {
    /// A word for the figures.
    pub(crate) const fn word(&self) -> &'static str {
        match self {
            Self::Setting { .. } | Self::Authority { .. } => "setting",
            Self::Connect { .. } => "unreachable",
            Self::Tls { .. } => "tls",
            Self::Refused { .. } => "refused",
            Self::Silent { .. } => "silent",
            Self::Closed => "closed",
            Self::Unreadable { .. } => "unreadable",
            Self::Unsent { .. } => "unsent",
        }
    }
}
