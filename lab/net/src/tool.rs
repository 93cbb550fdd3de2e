//! The machine's programs, as the labs run them.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};

/// Set in the copies of a test that a lab starts, and not wanted in the programs under test.
pub const INSIDE: [&str; 2] = ["HOMEWARD_LAB_GUEST", "HOMEWARD_LAB_USER"];

/// A command for one of the machine's programs, with the folders on the path that an ordinary
/// user's lacks, and the C locale.
pub fn tool(name: &str) -> Command {
    let mut command = Command::new(name);
    command.env("PATH", tool_path()).env("LC_ALL", "C").stdin(Stdio::null());
    for variable in INSIDE {
        command.env_remove(variable);
    }
    command
}

/// Where [`tool`] looks for programs.
pub fn tool_path() -> String {
    let own = std::env::var("PATH").unwrap_or_default();
    format!("{own}:/usr/local/sbin:/usr/sbin:/sbin:/usr/bin:/bin")
}

/// The path of a program of that name; `None` where it is not installed.
pub fn find_tool(name: &str) -> Option<PathBuf> {
    tool_path().split(':').map(|dir| Path::new(dir).join(name)).find(|path| path.exists())
}

/// Runs a program to its end in the calling thread's namespace; returns what it printed.
///
/// # Errors
/// If it is not installed; what it complains of, if it fails.
pub fn run_tool(name: &str, arguments: &[&str]) -> Result<String> {
    feed_tool(name, arguments, "")
}

/// [`run_tool`] with something to read.
///
/// # Errors
/// As [`run_tool`].
pub fn feed_tool(name: &str, arguments: &[&str], input: &str) -> Result<String> {
    let mut child = tool(name)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot run {name}"))?;
    if let Some(mut stdin) = child.stdin.take() {
        // One that ends without reading says why in what it prints.
        stdin.write_all(input.as_bytes()).ok();
    }
    let done = child.wait_with_output()?;
    let complaint = String::from_utf8_lossy(&done.stderr);
    ensure!(done.status.success(), "{name} {}: {}\n{input}", arguments.join(" "), complaint.trim());
    Ok(String::from_utf8_lossy(&done.stdout).into_owned())
}

/// Runs a batch of `ip` commands, one a line, in the calling thread's namespace: one process for
/// all, for in an emulated machine each costs 70 ms.
///
/// # Errors
/// What `ip` says of the first that fails.
pub fn ip(batch: &str) -> Result<()> {
    feed_tool("ip", &["-batch", "-"], &format!("{batch}\n")).map(drop)
}
