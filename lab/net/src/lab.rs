//! A test that has network namespaces of its own.

use std::any::type_name;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, ensure};
use nix::unistd::geteuid;

use crate::namespace::Namespace;
use crate::place::{target_dir, test_name};
use crate::process::{Process, last_lines};

/// Set in the copy of a test that is root of a user namespace.
const AS_ROOT: &str = "HOMEWARD_LAB_USER";

/// How long a test may take before it counts as stuck.
const PATIENCE: Duration = Duration::from_secs(60);

/// Runs `body` as a test with namespaces of its own: as root here, or else as root of a user
/// namespace, in a process of its own.
///
/// # Panics
/// If the body fails, or takes longer than a minute; says where the logs are.
#[track_caller]
pub fn lab<F, Fut>(body: F)
where
    F: FnOnce(Lab) -> Fut,
    Fut: Future<Output = Result<()>>,
{
    let name = test_name(type_name::<F>());
    if !geteuid().is_root() {
        assert!(
            std::env::var_os(AS_ROOT).is_none(),
            "the network lab needs root, and the root of a user namespace is none here"
        );
        match as_root_of_a_user_namespace(&name) {
            Ok(()) => return,
            Err(error) => panic!("{error:#}"),
        }
    }
    let lab = match Lab::start(&name) {
        Ok(lab) => lab,
        Err(error) => panic!("the network lab does not run: {error:#}"),
    };
    let folder = lab.folder.clone();
    let verdict = catch_unwind(AssertUnwindSafe(|| -> Result<()> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(async {
            tokio::time::timeout(PATIENCE, body(lab))
                .await
                .unwrap_or_else(|_| Err(anyhow!("not done after {PATIENCE:?}")))
        })
    }));
    match verdict {
        Ok(Ok(())) => {}
        Ok(Err(error)) => panic!("{error:#}; the logs are in {}", folder.display()),
        Err(panic) => resume_unwind(panic),
    }
}

/// Where a test's programs leave their logs, and what makes its namespaces.
#[derive(Debug, Clone)]
pub struct Lab {
    folder: PathBuf,
}

impl Lab {
    /// A lab for a program; a test uses [`lab`]. What a lab of that name left is cleared.
    ///
    /// # Errors
    /// If its folder, `target/lab/NAME`, cannot be made.
    pub fn start(name: &str) -> Result<Self> {
        let binary = std::env::current_exe().context("cannot find the program's own binary")?;
        let folder = target_dir(&binary)?.join("lab").join(name.replace("::", "."));
        if folder.exists() {
            fs::remove_dir_all(&folder)
                .with_context(|| format!("cannot clear {}", folder.display()))?;
        }
        fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
        Ok(Self { folder })
    }

    /// The folder for logs, and for whatever else the test has to put somewhere.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Makes a namespace.
    ///
    /// # Errors
    /// As [`Namespace::create`].
    pub fn namespace(&self, name: &str) -> Result<Namespace> {
        Namespace::create(name)
    }

    /// Starts a program (the program, then its arguments) in a namespace, its output in `NAME.log`.
    ///
    /// # Errors
    /// If it is not installed.
    pub fn process(&self, name: &str, namespace: &Namespace, command: &[&str]) -> Result<Process> {
        Process::start(&self.folder, name, namespace, command)
    }
}

/// Runs the same test of the same binary as root of a new user namespace.
fn as_root_of_a_user_namespace(test: &str) -> Result<()> {
    let binary = std::env::current_exe().context("cannot find the test's own binary")?;
    let done = Command::new("unshare")
        .args(["--user", "--map-root-user", "--net", "--"])
        .arg(binary)
        .args(["--exact", test, "--nocapture"])
        .env(AS_ROOT, "1")
        .output()
        .context("cannot run unshare, of util-linux")?;
    let said = String::from_utf8_lossy(&done.stdout);
    let complaint = String::from_utf8_lossy(&done.stderr);
    ensure!(
        said.contains("running 1 test"),
        "the network lab needs root, or user namespaces, which this machine refuses: {}",
        last_lines(&complaint, 3)
    );
    ensure!(done.status.success(), "{said}{complaint}");
    Ok(())
}
