//! A test function that runs inside the guest.

use std::any::type_name;
use std::fmt;
use std::fs;
use std::io::Write;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use homeward_net::place::{target_dir, test_name};

use crate::vm::{Ending, Vm};
use crate::{Lab, kernel};

/// Set in the guest, and only there.
pub(crate) const IN_GUEST: &str = "HOMEWARD_LAB_GUEST";

/// How many lines of the guest's log a failure repeats.
const TAIL: usize = 60;

/// Runs `body` as a scenario with the default [`Scenario`].
///
/// # Panics
/// If the scenario fails, with the end of the guest's log and the folder where all logs are.
#[track_caller]
pub fn scenario<F, Fut>(body: F)
where
    F: FnOnce(Lab) -> Fut,
    Fut: Future<Output = Result<()>>,
{
    Scenario::new().run(body);
}

/// A scenario's machine: how many radios, how much time.
///
/// Called in a test on the host, [`run`](Self::run) starts a guest that executes the same test of
/// the same binary; called in the guest, it runs the body there and ends the process. So a test
/// has one scenario, and what follows `run` happens on the host only.
#[derive(Debug, Clone)]
pub struct Scenario {
    radios: u32,
    cpus: u32,
    memory_mib: u32,
    time_limit: Duration,
}

impl Default for Scenario {
    fn default() -> Self {
        Self::new()
    }
}

impl Scenario {
    /// Six radios, two CPUs, 2 GiB and three minutes.
    pub fn new() -> Self {
        Self { radios: 6, cpus: 2, memory_mib: 2048, time_limit: Duration::from_secs(180) }
    }

    /// How many simulated radios there are; each gateway, station and flood takes one.
    pub fn radios(mut self, radios: u32) -> Self {
        self.radios = radios;
        self
    }

    /// How long the guest may take, boot included (5 to 8 s emulated).
    pub fn within(mut self, time_limit: Duration) -> Self {
        self.time_limit = time_limit;
        self
    }

    /// Runs `body` in a guest.
    ///
    /// # Panics
    /// If the scenario fails, with the end of the guest's log and the folder where all logs are.
    #[track_caller]
    pub fn run<F, Fut>(self, body: F)
    where
        F: FnOnce(Lab) -> Fut,
        Fut: Future<Output = Result<()>>,
    {
        match self.outcome(body) {
            Ok(run) if run.ending == Ok(()) => {}
            Ok(run) => panic!("{run}"),
            Err(error) => panic!("the radio lab does not run: {error:#}"),
        }
    }

    /// Like [`run`](Self::run), with a failed scenario as a value.
    ///
    /// # Errors
    /// If there is no way to run a guest here: a missing tool, no kernel.
    pub fn outcome<F, Fut>(self, body: F) -> Result<Run>
    where
        F: FnOnce(Lab) -> Fut,
        Fut: Future<Output = Result<()>>,
    {
        if std::env::var_os(IN_GUEST).is_some() {
            in_guest(body, self.radios)
        }
        let test = test_name(type_name::<F>());
        let words = ["--exact", &test, "--nocapture", "--test-threads", "1"].map(str::to_owned);
        let live = std::env::var_os("HOMEWARD_LAB_LIVE").is_some();
        self.on_host(&test, &words, live)
    }

    /// Runs `body` in a guest, where this is not a test but a program of its own: the guest calls
    /// it with `arguments`, which must lead here again. The guest's log is repeated while it
    /// grows, and kept in `target/lab/NAME`.
    ///
    /// # Errors
    /// If there is no way to run a guest here: a missing tool, no kernel.
    pub fn program<F, Fut>(self, name: &str, arguments: &[String], body: F) -> Result<Run>
    where
        F: FnOnce(Lab) -> Fut,
        Fut: Future<Output = Result<()>>,
    {
        if std::env::var_os(IN_GUEST).is_some() {
            in_guest(body, self.radios)
        }
        self.on_host(name, arguments, true)
    }

    fn on_host(&self, name: &str, arguments: &[String], live: bool) -> Result<Run> {
        kernel::check_tools()?;
        let binary = std::env::current_exe().context("cannot find the program's own binary")?;
        let lab = target_dir(&binary)?.join("lab");
        let cache =
            std::env::var_os("HOMEWARD_LAB_CACHE").map_or_else(|| lab.join("cache"), PathBuf::from);
        let kernel = kernel::prepare(&cache)?;
        let logs = lab.join(name.replace("::", "."));
        if logs.exists() {
            fs::remove_dir_all(&logs)
                .with_context(|| format!("cannot clear {}", logs.display()))?;
        }
        fs::create_dir_all(&logs).with_context(|| format!("cannot make {}", logs.display()))?;
        let vm = Vm {
            kernel: &kernel,
            cpus: self.cpus,
            memory_mib: self.memory_mib,
            radios: self.radios,
            time_limit: self.time_limit,
            out: &logs,
            live,
        };
        let ending = match vm.run(&job(&binary, arguments)?)? {
            Ending::Status(0) => Ok(()),
            Ending::Status(status) => Err(Failure::Status(status)),
            Ending::TimeLimit => Err(Failure::TimeLimit(self.time_limit)),
            Ending::Died => Err(Failure::Died),
        };
        Ok(Run { ending, logs })
    }
}

/// A scenario that has run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Run {
    /// How it ended.
    pub ending: Result<(), Failure>,
    /// The folder with all that came out of the guest; kept until the same test runs again.
    ///
    /// `log` is what the scenario printed, `console` the guest kernel's, `qemu` QEMU's own
    /// complaints, `NAME.log` that of each process; the rest is what the scenario saved.
    pub logs: PathBuf,
}

/// Why a scenario failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// The body failed or panicked.
    #[error("the scenario failed with status {0}")]
    Status(i32),
    /// It was still running when its time was up.
    #[error("the scenario was still running after {0:?} and was ended")]
    TimeLimit(Duration),
    /// The guest went away without a word: a kernel panic, or QEMU failed.
    #[error("the guest died without a status")]
    Died,
}

impl fmt::Display for Run {
    /// The verdict, then the end of the log and, where that may tell more, of the console.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Err(failure) = self.ending else {
            return write!(f, "the scenario passed; its logs are in {}", self.logs.display());
        };
        writeln!(f, "{failure}; its logs are in {}", self.logs.display())?;
        let files: &[&str] = match failure {
            Failure::Status(_) => &["log"],
            Failure::TimeLimit(_) => &["log", "console"],
            Failure::Died => &["log", "console", "qemu"],
        };
        for file in files {
            let bytes = fs::read(self.logs.join(file)).unwrap_or_default();
            let text = String::from_utf8_lossy(&bytes);
            let skip = text.lines().count().saturating_sub(TAIL);
            writeln!(f, "--- {file}")?;
            for line in text.lines().skip(skip) {
                writeln!(f, "{line}")?;
            }
        }
        Ok(())
    }
}

/// Runs the body and ends the process with its verdict: libtest's own would be the same for a
/// body that never ran.
fn in_guest<F, Fut>(body: F, radios: u32) -> !
where
    F: FnOnce(Lab) -> Fut,
    Fut: Future<Output = Result<()>>,
{
    let verdict = catch_unwind(AssertUnwindSafe(|| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(async {
            let lab = Lab::start(radios)?;
            body(lab).await
        })
    }));
    let status = match verdict {
        Ok(Ok(())) => 0,
        Ok(Err(error)) => {
            writeln!(std::io::stderr(), "\nFAILED: {error:#}").ok();
            1
        }
        // The panic's hook has printed it.
        Err(_) => 101,
    };
    std::process::exit(status);
}

/// The script that the guest runs: this program with these arguments and this environment.
fn job(binary: &Path, arguments: &[String]) -> Result<String> {
    let mut job = String::from("export HOME=/root LC_ALL=C.UTF-8\n");
    for (name, value) in std::env::vars() {
        // Not RUST_BACKTRACE: reading debug information through the share takes seconds, and what
        // failed would be pushed out of the report.
        if name.starts_with("HOMEWARD_") || ["RUST_LOG", "LD_LIBRARY_PATH"].contains(&&*name) {
            job.push_str(&format!("export {name}={}\n", quoted(&value)));
        }
    }
    let here = std::env::current_dir().context("cannot tell the working folder")?;
    let [binary, here] = [binary, &here].map(|path| quoted(&path.to_string_lossy()));
    job.push_str(&format!("export {IN_GUEST}=1\ncd {here}\nexec {binary}"));
    for argument in arguments {
        job.push(' ');
        job.push_str(&quoted(argument));
    }
    job.push('\n');
    Ok(job)
}

fn quoted(word: &str) -> String {
    format!("'{}'", word.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_survives_the_guest_s_shell() {
        assert_eq!(quoted("it's"), r"'it'\''s'");
    }
}
