//! Programs under the scenario's control.

use std::fs::{self, File};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ExitStatus};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::namespace::Namespace;
use crate::tool::{find_tool, tool};
use crate::wait::wait_for;

/// A program that runs in a namespace, its output in a file `NAME.log`; killed when dropped.
#[derive(Debug)]
pub struct Process {
    name: String,
    namespace: Namespace,
    command: Vec<String>,
    log: PathBuf,
    child: Option<Child>,
}

impl Process {
    /// Starts `command` (program, then arguments) in `namespace`, with its log in `folder`.
    ///
    /// # Errors
    /// If the program does not exist. If it ends at once, that shows in what waits for it.
    pub fn start(
        folder: &Path,
        name: &str,
        namespace: &Namespace,
        command: &[&str],
    ) -> Result<Self> {
        let log = folder.join(format!("{name}.log"));
        let command = command.iter().map(|word| (*word).to_owned()).collect();
        let mut process =
            Self { name: name.to_owned(), namespace: namespace.clone(), command, log, child: None };
        process.spawn()?;
        Ok(process)
    }

    /// The name it was given.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether it runs.
    pub fn is_running(&mut self) -> bool {
        self.child.as_mut().is_some_and(|child| matches!(child.try_wait(), Ok(None)))
    }

    /// Its process id, while it runs.
    pub fn pid(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }

    /// All that it has printed so far, over all its starts.
    pub fn log(&self) -> String {
        fs::read(&self.log).map(|b| String::from_utf8_lossy(&b).into_owned()).unwrap_or_default()
    }

    /// Kills it as `kill -9` does: it has no chance to clean up.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            // Both fail only if it is gone already.
            child.kill().ok();
            child.wait().ok();
        }
    }

    /// Sends a signal.
    ///
    /// # Errors
    /// If it does not run.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        let pid = self.pid().with_context(|| format!("{} does not run", self.name))?;
        kill(Pid::from_raw(i32::try_from(pid)?), signal)
            .with_context(|| format!("cannot signal {}", self.name))
    }

    /// Asks it to end (SIGTERM) and waits for that.
    ///
    /// # Errors
    /// If it does not end within `limit`.
    pub async fn stop(&mut self, limit: Duration) -> Result<ExitStatus> {
        self.signal(Signal::SIGTERM)?;
        self.ended(limit).await
    }

    /// Waits until it ends.
    ///
    /// # Errors
    /// If it does not within `limit`.
    pub async fn ended(&mut self, limit: Duration) -> Result<ExitStatus> {
        let what = format!("the end of {}", self.name);
        let Some(child) = self.child.as_mut() else { return Ok(ExitStatus::from_raw(9)) };
        let status = wait_for(&what, limit, async || Ok(child.try_wait()?)).await?;
        self.child = None;
        Ok(status)
    }

    /// Starts it again, after [`kill`](Self::kill) or [`stop`](Self::stop).
    ///
    /// # Errors
    /// If it still runs, or cannot be started.
    pub fn restart(&mut self) -> Result<()> {
        if self.is_running() {
            bail!("{} runs: kill or stop it before it is started again", self.name);
        }
        self.spawn()
    }

    /// Waits until its output holds `text`.
    ///
    /// # Errors
    /// If it ends first, or `limit` is over first.
    pub async fn says(&mut self, text: &str, limit: Duration) -> Result<()> {
        let what = format!("{} to say {text:?}", self.name);
        wait_for(&what, limit, async || {
            let running = self.is_running();
            match self.log().contains(text) {
                true => Ok(Some(())),
                false if running => Ok(None),
                false => bail!("{} ended: {}", self.name, last_lines(&self.log(), 5)),
            }
        })
        .await
    }

    /// Waits until `path` exists, as a sign that the program is up.
    ///
    /// # Errors
    /// If it ends first, or `limit` is over first.
    pub async fn makes(&mut self, path: &Path, limit: Duration) -> Result<()> {
        let what = format!("{} to make {}", self.name, path.display());
        wait_for(&what, limit, async || {
            let running = self.is_running();
            match path.exists() {
                true => Ok(Some(())),
                false if running => Ok(None),
                false => bail!("{} ended: {}", self.name, last_lines(&self.log(), 5)),
            }
        })
        .await
    }

    fn spawn(&mut self) -> Result<()> {
        let output = File::options()
            .create(true)
            .append(true)
            .open(&self.log)
            .with_context(|| format!("cannot write {}", self.log.display()))?;
        let (program, arguments) = self.command.split_first().context("an empty command")?;
        let found = find_tool(program);
        ensure!(found.is_some(), "{program} is not installed: run `make setup`");
        let mut command = tool(program);
        command.args(arguments).stdout(output.try_clone()?).stderr(output);
        self.child = Some(self.namespace.spawn(command)?);
        Ok(())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

/// The last `count` lines of a text, on one line.
pub fn last_lines(text: &str, count: usize) -> String {
    let skip = text.lines().count().saturating_sub(count);
    text.lines().skip(skip).collect::<Vec<_>>().join(" | ")
}
