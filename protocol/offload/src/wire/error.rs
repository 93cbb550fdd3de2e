//! What is wrong with a message.

use std::fmt;

/// A message that is none of ours: where it is wrong, and what to do. Neither repeats what the
/// message said, so that no identifier and no secret gets into a log by way of an error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invalid {
    /// The field, such as `policy.networks[2].ssid`, or the place, such as `line 1 column 12`.
    pub at: String,
    /// What is wrong with it, and what to give instead.
    pub what: String,
}

impl Invalid {
    pub(crate) fn new(at: impl Into<String>, what: impl Into<String>) -> Self {
        Self { at: at.into(), what: what.into() }
    }
}

impl fmt::Display for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.at, self.what)
    }
}

impl std::error::Error for Invalid {}
