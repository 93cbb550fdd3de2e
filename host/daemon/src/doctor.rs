//! What a look at the machine finds: one thing at a time, how it is, and what to do about it.

use serde::Serialize;

/// What was found about one thing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// How it is.
    pub severity: Severity,
    /// What was looked at, and how it is, in a sentence.
    pub what: String,
    /// What to do about it.
    pub repair: Option<String>,
}

/// How a thing is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// As it should be.
    Ok,
    /// The role runs, but somebody should look at it.
    Warn,
    /// The role does not run, or serves nobody.
    Fail,
}

/// Findings as they come.
#[derive(Debug, Default)]
pub struct Findings(Vec<Finding>);

impl Findings {
    /// A thing is as it should be.
    pub fn ok(&mut self, what: impl Into<String>) {
        self.0.push(Finding { severity: Severity::Ok, what: what.into(), repair: None });
    }

    /// Somebody should look at a thing.
    pub fn warn(&mut self, what: impl Into<String>, repair: impl Into<String>) {
        self.add(Severity::Warn, what.into(), repair.into());
    }

    /// With this thing, the role does not run or serves nobody.
    pub fn fail(&mut self, what: impl Into<String>, repair: impl Into<String>) {
        self.add(Severity::Fail, what.into(), repair.into());
    }

    /// All of them so far, in the order in which they were found.
    pub fn as_slice(&self) -> &[Finding] {
        &self.0
    }

    /// All of them, in the order in which they were found.
    pub fn into_vec(self) -> Vec<Finding> {
        self.0
    }

    fn add(&mut self, severity: Severity, what: String, repair: String) {
        self.0.push(Finding { severity, what, repair: Some(repair) });
    }
}
