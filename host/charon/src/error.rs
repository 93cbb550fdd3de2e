//! Why charon did not do what it was told.

use std::path::PathBuf;
use std::time::Duration;

use homeward_vici::{Failed, Malformed, TooLong};

/// Why charon did not do what it was told.
#[derive(Debug, thiserror::Error)]
pub enum CharonError {
    /// Nobody answers there.
    #[error("no charon answers at {}", .socket.display())]
    Connect {
        /// Where.
        socket: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The connection was lost.
    #[error("charon at {} hung up", .socket.display())]
    Lost {
        /// Where.
        socket: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// It takes too long. What it was told it may still do.
    #[error("charon at {} did not answer {command} within {after:?}", .socket.display())]
    Deadline {
        /// Where.
        socket: PathBuf,
        /// What it was told.
        command: &'static str,
        /// How long it had.
        after: Duration,
    },
    /// What it says is no VICI: something else listens there.
    #[error("who answers at {} is no charon", .socket.display())]
    Malformed {
        /// Where.
        socket: PathBuf,
        /// Why.
        source: Malformed,
    },
    /// It cannot be told.
    #[error("charon cannot be told that")]
    TooLong(#[from] TooLong),
    /// It says no.
    #[error("charon says no to {0}")]
    Failed(Failed),
}

impl CharonError {
    /// In words, with what lies behind it.
    pub fn in_full(&self) -> String {
        use std::error::Error;
        let mut text = self.to_string();
        let mut source = self.source();
        while let Some(error) = source {
            text.push_str(": ");
            text.push_str(&error.to_string());
            source = error.source();
        }
        text
    }

    /// Whether it is not there, for now: it may do it later.
    pub const fn is_away(&self) -> bool {
        matches!(self, Self::Connect { .. } | Self::Lost { .. } | Self::Deadline { .. })
    }
}
