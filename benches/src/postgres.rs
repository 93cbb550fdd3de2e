//! PostgreSQL as Debian has it, as it is after `initdb`, in a folder of its own and reached by a
//! socket there: FreeRADIUS's users.

use std::fmt::Write as _;
use std::fs;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use homeward_daemon::SystemClock;
use homeward_model::Clock;
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Gid, Pid, Uid, User};
use tempfile::TempDir;

use crate::freeradius::{QUERIES, REPLY};
use crate::population::{Population, login, password};
use crate::world::cpu;

/// The tables that FreeRADIUS comes with, those that it reads here.
const TABLES: &str = "
CREATE TABLE radcheck (id serial PRIMARY KEY, UserName text NOT NULL, Attribute text NOT NULL,
  op VARCHAR(2) NOT NULL, Value text NOT NULL);
CREATE INDEX radcheck_UserName ON radcheck (UserName, Attribute);
CREATE TABLE radreply (id serial PRIMARY KEY, UserName text NOT NULL, Attribute text NOT NULL,
  op VARCHAR(2) NOT NULL, Value text NOT NULL);
CREATE INDEX radreply_UserName ON radreply (UserName, Attribute);
";

/// A database server that ends with its handle.
pub(crate) struct Postgres {
    server: Child,
    folder: TempDir,
    user: String,
}

impl Drop for Postgres {
    fn drop(&mut self) {
        // SIGINT ends it and those that it started at once. Both fail only if it is gone already.
        if let Ok(pid) = self.server.id().try_into() {
            let _ = kill(Pid::from_raw(pid), Signal::SIGINT);
        }
        let _ = self.server.wait();
    }
}

impl Postgres {
    /// Starts one that has a population's log-ins.
    pub(crate) fn start(population: Population) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let programs = programs()?;
        // It does not run as root.
        let user = match Uid::effective().is_root() {
            true => User::from_name("postgres")?.context("Debian's user postgres is missing")?,
            false => User::from_uid(Uid::effective())?.context("who runs this?")?,
        };
        nix::unistd::chown(folder.path(), Some(user.uid), Some(user.gid))?;
        let run = |program: PathBuf| {
            let mut command = Command::new(program);
            if Uid::effective().is_root() {
                command.uid(user.uid.as_raw()).gid(user.gid.as_raw());
            }
            command.current_dir(folder.path()).stdout(Stdio::null()).stderr(Stdio::null());
            command
        };
        debug_assert_ne!(user.gid, Gid::from_raw(0));
        let data = folder.path().join("data");
        let made = run(programs.join("initdb"))
            .args(["-A", "trust", "-E", "UTF8", "--locale=C", "-D"])
            .arg(&data)
            .status()?;
        ensure!(made.success(), "initdb failed");
        let server = run(programs.join("postgres"))
            .args(["-c", "listen_addresses=", "-k"])
            .arg(folder.path())
            .arg("-D")
            .arg(&data)
            .spawn()?;
        let mut this = Self { server, folder, user: user.name };
        let patience = SystemClock.now() + Duration::from_secs(20);
        while this.query("SELECT 1").is_err() {
            if SystemClock.now() > patience || this.server.try_wait()?.is_some() {
                bail!("PostgreSQL does not answer");
            }
        }
        this.fill(population)?;
        Ok(this)
    }

    fn fill(&self, population: Population) -> Result<()> {
        let file = self.folder.path().join("fill.sql");
        let mut sql = String::from(TABLES);
        let mut copy = |table: &str, values: &dyn Fn(u32) -> Vec<[String; 3]>| -> Result<()> {
            writeln!(sql, "COPY {table} (UserName, Attribute, op, Value) FROM stdin;")?;
            for n in 0..population.logins {
                for [attribute, op, value] in values(n) {
                    writeln!(sql, "{}\t{attribute}\t{op}\t{value}", login(n))?;
                }
            }
            writeln!(sql, "\\.\nVACUUM ANALYZE {table};")?;
            Ok(())
        };
        let password = |n| vec![["Cleartext-Password".to_owned(), ":=".to_owned(), password(n)]];
        copy("radcheck", &password)?;
        let reply = REPLY.map(|(name, value)| [name, "=", value].map(str::to_owned));
        copy("radreply", &|_| reply.to_vec())?;
        fs::write(&file, sql)?;
        self.psql(&["-f", &file.display().to_string()])
    }

    /// Makes the tables that FreeRADIUS comes with, for accounting.
    pub(crate) fn keeps_records(&self) -> Result<()> {
        // Its tables for log-ins are here already, so those it makes where there are none only.
        let schema = fs::read_to_string(format!("{QUERIES}/schema.sql"))
            .context("cannot read FreeRADIUS's tables; `make bench` installs them, for root")?;
        let end = schema.find("Table structure for table 'radcheck'");
        let of_records = end.and_then(|end| schema.get(..schema.get(..end)?.rfind("/*")?));
        let file = self.folder.path().join("records.sql");
        fs::write(&file, of_records.context("FreeRADIUS's tables have another form")?)?;
        self.psql(&["-f", &file.display().to_string()])
    }

    /// How libpq finds it.
    pub(crate) fn connection(&self) -> String {
        format!("host={} dbname=postgres user={}", self.folder.path().display(), self.user)
    }

    fn query(&self, sql: &str) -> Result<()> {
        self.psql(&["-c", sql])
    }

    fn psql(&self, words: &[&str]) -> Result<()> {
        let output = Command::new("psql")
            .args(["-X", "-q", "-v", "ON_ERROR_STOP=1", "-d", &self.connection()])
            .args(words)
            .output()
            .context("cannot run psql; `make bench` installs it")?;
        let errors = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "PostgreSQL: {errors}");
        Ok(())
    }

    /// CPU time that it and those that it started have used.
    pub(crate) fn cpu(&self) -> Result<Duration> {
        let pid = self.server.id();
        let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"))?;
        let mut sum = cpu(pid)?;
        for child in children.split_whitespace() {
            // One that has just ended is counted with its parent.
            sum += cpu(child.parse()?).unwrap_or_default();
        }
        Ok(sum)
    }
}

/// Where Debian has the newest version's programs.
fn programs() -> Result<PathBuf> {
    let versions = Path::new("/usr/lib/postgresql");
    let missing = "PostgreSQL is missing; `make bench` installs it";
    let mut found: Vec<(u32, PathBuf)> = Vec::new();
    for entry in fs::read_dir(versions).context(missing)? {
        let path = entry?.path();
        let version = path.file_name().and_then(|name| name.to_str()?.parse().ok());
        if let Some(version) = version.filter(|_| path.join("bin/postgres").exists()) {
            found.push((version, path.join("bin")));
        }
    }
    found.into_iter().max().map(|(_, path)| path).context(missing)
}
