//! The program `nft`: rules go in as text, a text's worth in one transaction.
//!
//! Why the program and not netlink: it is what Debian and OpenWrt have, it is where an owner looks
//! (`nft list ruleset`), and a rule set reads like one. Calls block for some milliseconds; they act
//! on the network namespace of the calling thread.

use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use crate::error::{Error, Result};

/// A family of tables, and what a kernel needs for the rules that go in.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Family {
    /// As nft calls it.
    pub(crate) name: &'static str,
    /// What to do where the kernel has not what the rules need.
    pub(crate) repair: &'static str,
}

/// The program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Nft(PathBuf);

impl Nft {
    pub(crate) fn new(program: impl Into<PathBuf>) -> Self {
        Self(program.into())
    }

    /// What it says of itself.
    pub(crate) fn version(&self) -> Result<String> {
        let output = Command::new(&self.0)
            .arg("--version")
            .stdin(Stdio::null())
            .output()
            .map_err(|source| self.not_run(source))?;
        Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    }

    /// Has a text carried out, all of it or nothing.
    pub(crate) fn run(&self, family: Family, script: &str) -> Result<()> {
        self.run_with(family, script, &[])
    }

    /// Whether a text would be carried out, as far as the kernel's abilities go.
    pub(crate) fn can(&self, family: Family, script: &str) -> Result<bool> {
        supported(self.run_with(family, script, &["--check"]))
    }

    fn run_with(&self, family: Family, script: &str, options: &[&str]) -> Result<()> {
        let mut child = Command::new(&self.0)
            .args(options)
            .args(["-f", "-"])
            .env("LC_ALL", "C")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|source| self.not_run(source))?;
        // It may give up before it has read all; what it says then counts.
        let written = child.stdin.take().map_or(Ok(()), |mut to| to.write_all(script.as_bytes()));
        let output = child.wait_with_output().map_err(|source| self.not_run(source))?;
        if output.status.success() {
            return written.map_err(|source| self.not_run(source));
        }
        let said = String::from_utf8_lossy(&output.stderr);
        Err(refusal(family, &said))
    }

    fn not_run(&self, source: io::Error) -> Error {
        Error::NoNft { program: self.0.display().to_string(), source }
    }
}

/// Whether it was done, or would be; not where the kernel has not what it needs.
pub(crate) fn supported(outcome: Result<()>) -> Result<bool> {
    match outcome {
        Ok(()) => Ok(true),
        Err(Error::Firewall { unsupported: true, .. }) => Ok(false),
        Err(error) => Err(error),
    }
}

fn refusal(family: Family, said: &str) -> Error {
    let first = said.lines().find(|line| line.contains("rror")).or_else(|| said.lines().next());
    let said = first.unwrap_or("nothing").trim().to_owned();
    let denied = said.contains("Operation not permitted");
    // What the kernel says of a family, a chain type and an expression that it does not have.
    let unsupported = ["Operation not supported", "No such file or directory", "not supported by"]
        .iter()
        .any(|text| said.contains(text));
    let advice = match (denied, unsupported) {
        (true, _) => "run as root or grant CAP_NET_ADMIN",
        (_, true) => family.repair,
        _ => "look at `nft list ruleset`, and say so to Homeward's makers",
    };
    Error::Firewall { family: family.name, said, advice, unsupported }
}

/// A transaction that leaves the table with this in it, or none of it.
pub(crate) fn replace(family: Family, table: &str, body: &str) -> String {
    let family = family.name;
    let mut script = format!("add table {family} {table}\ndelete table {family} {table}\n");
    if !body.is_empty() {
        let _ = write!(script, "table {family} {table} {{\n{body}}}\n");
    }
    script
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_says_what_nft_said_and_what_to_do() {
        let family = Family { name: "bridge", repair: "load nft_meta_bridge" };
        let said =
            "/dev/stdin:4:1-12: Error: Could not process rule: Operation not supported\nmeta";
        let error = refusal(family, said).to_string();
        assert!(error.contains("Operation not supported") && error.contains("nft_meta_bridge"));
        let error = refusal(family, "netlink: Error: Operation not permitted (you must be root)");
        assert!(error.to_string().ends_with("run as root or grant CAP_NET_ADMIN"), "{error}");
    }

    #[test]
    fn an_nft_that_is_not_installed_is_named() {
        let nft = Nft::new("/nowhere/nft");
        let error = nft.version().unwrap_err().to_string();
        assert!(error.contains("/nowhere/nft") && error.contains("install"), "{error}");
        assert!(nft.run(Family { name: "inet", repair: "" }, "").is_err());
    }
}
