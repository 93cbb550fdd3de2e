//! A datastore with many homes, a core process on it, and how much CPU a process has used.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use homeward_daemon::SystemClock;
use homeward_model::Clock;
use tempfile::TempDir;

use crate::population::Population;

pub(crate) const SECRET: &str = "a secret of the benchmarks";
pub(crate) const GATEWAY: &str = "bench";

/// Neither server logs requests: FreeRADIUS does not unless told to.
const LOG: &str = "warn,homeward_aaa::service=info,homeward_portal=info";

/// A folder in memory where there is such a place: many records are written one by one, and the
/// read path does not look at the disk.
pub(crate) fn scratch() -> Result<TempDir> {
    let memory = Path::new("/dev/shm");
    let folder = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() };
    Ok(folder?)
}

/// A core on a datastore of its own.
pub(crate) struct Core {
    pub(crate) address: SocketAddr,
    /// Where it takes accounting records, if it does.
    pub(crate) accounting: Option<SocketAddr>,
    /// Its portal, if it has one.
    pub(crate) portal: Option<PortalAt>,
    pub(crate) process: Process,
    /// From its start until it answered.
    pub(crate) loaded: Duration,
    /// Goes when the core goes.
    _folder: TempDir,
}

/// Where a core's portal is.
pub(crate) struct PortalAt {
    pub(crate) address: SocketAddr,
    /// Where packet gateways report.
    pub(crate) bearers: SocketAddr,
    /// The certificate of its authority.
    pub(crate) trust: PathBuf,
}

impl PortalAt {
    /// What its certificate calls it.
    pub(crate) const NAME: &str = "portal.example.net";
}

/// What a core does besides answering look-ups and log-ins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Also {
    Nothing,
    Accounting,
    Portal,
}

/// A process that ends with its handle.
pub(crate) struct Process(pub(crate) Child);

impl Drop for Process {
    fn drop(&mut self) {
        // Both fail only if it is gone already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Process {
    /// CPU time used so far, user and system.
    pub(crate) fn cpu(&self) -> Result<Duration> {
        cpu(self.0.id())
    }

    /// Resident memory, in MB.
    pub(crate) fn resident(&self) -> Result<f64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.0.id()))?;
        let line = status.lines().find(|l| l.starts_with("VmRSS:")).context("no VmRSS")?;
        let kb: f64 = line.split_whitespace().nth(1).context("no figure")?.parse()?;
        Ok(kb * 1024.0 / 1e6)
    }
}

/// CPU time that a process has used so far, user and system.
pub(crate) fn cpu(pid: u32) -> Result<Duration> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let fields: Vec<&str> =
        stat.rsplit_once(") ").context("/proc has another form")?.1.split(' ').collect();
    let ticks =
        |at: usize| -> Result<u64> { Ok(fields.get(at).context("too few fields")?.parse()?) };
    // utime and stime are the 14th and 15th of stat; the first two are cut off. 100 a second on
    // every Linux that user space can see (USER_HZ).
    Ok(Duration::from_millis((ticks(11)? + ticks(12)?) * 10))
}

/// The binary of that profile.
pub(crate) fn binary(profile: &str) -> Result<PathBuf> {
    let path = Path::new("target").join(profile).join("homeward");
    if !path.exists() {
        bail!("{} is not built; `make bench` does that", path.display());
    }
    Ok(path)
}

impl Core {
    /// Starts a core that knows these homes, and one gateway on loopback.
    pub(crate) fn start(population: Population) -> Result<Self> {
        Self::start_with(population, "")
    }

    /// The same with more of `[aaa]`.
    pub(crate) fn start_with(population: Population, more: &str) -> Result<Self> {
        Self::run(population, more, Also::Nothing)
    }

    /// One that takes accounting records, too; its ledger is on a disk.
    pub(crate) fn start_accounting(population: Population) -> Result<Self> {
        Self::run(population, "", Also::Accounting)
    }

    /// One that has a portal, too; its datastore is on a disk.
    pub(crate) fn start_portal(population: Population) -> Result<Self> {
        Self::run(population, "", Also::Portal)
    }

    fn run(population: Population, more: &str, also: Also) -> Result<Self> {
        let folder = if also == Also::Nothing { scratch()? } else { tempfile::tempdir()? };
        let records = if also == Also::Accounting { "\"127.0.0.1:0\"" } else { "" };
        let at = |file: &str| folder.path().join(file);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(population.fill(&at("core.db"), &at("core.keys")))?;
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o700))?;
        let portal = if also == Also::Portal { portal(folder.path())? } else { String::new() };
        fs::write(
            at("core.toml"),
            format!(
                "[store]\npath = {:?}\nkey_file = {:?}\n[aaa]\nlisten = [\"127.0.0.1:0\"]\n\
                 logins_per_second = 0\n{more}\n[aaa.accounting]\nlisten = [{records}]\n[control]\nsocket = {:?}\n{portal}[log]\nfilter = \"{LOG}\"\n",
                at("core.db"),
                at("core.keys"),
                at("core.sock")
            ),
        )?;
        let began = SystemClock.now();
        let mut child = Command::new(binary("release")?)
            .args(["core", "--config"])
            .arg(at("core.toml"))
            .stderr(Stdio::piped())
            .spawn()?;
        let stderr = child.stderr.take().context("no stderr")?;
        let process = Process(child);
        let mut lines = BufReader::new(stderr).lines();
        let wanted: &[&str] = match also {
            Also::Nothing => &["answering look-ups"],
            Also::Accounting => &["answering look-ups", "answering accounting"],
            Also::Portal => &["answering look-ups", "portal open", "hearing packet gateways"],
        };
        let mut said: Vec<Option<SocketAddr>> = vec![None; wanted.len()];
        while said.contains(&None) {
            let line = lines.next().context("the core ended before it answered")??;
            for (what, said) in wanted.iter().zip(&mut said) {
                if line.contains(what) {
                    let found = line.split_once("address=").context("no address in the log")?;
                    *said = Some(found.1.trim().parse()?);
                }
            }
        }
        let at_the = |n: usize| said.get(n).copied().flatten();
        let address = at_the(0).context("no address")?;
        let accounting = at_the(1).filter(|_| also == Also::Accounting);
        let portal = at_the(1).zip(at_the(2)).map(|(address, bearers)| PortalAt {
            address,
            bearers,
            trust: at("portal.pem"),
        });
        let loaded = SystemClock.now().since(began);
        // Keep reading, or the core would stop at a full pipe.
        std::thread::spawn(move || lines.for_each(drop));
        Ok(Self { address, accounting, portal, process, loaded, _folder: folder })
    }
}

/// Makes what a portal needs in that folder; the lines of its sections.
fn portal(folder: &Path) -> Result<String> {
    let made = rcgen::generate_simple_self_signed([PortalAt::NAME.to_owned()])?;
    let [certificate, key, secret] =
        ["portal.pem", "portal.key", "bearers.secret"].map(|file| folder.join(file));
    fs::write(&certificate, made.cert.pem())?;
    for (file, text) in [(&key, made.signing_key.serialize_pem().as_str()), (&secret, SECRET)] {
        fs::write(file, text)?;
        fs::set_permissions(file, fs::Permissions::from_mode(0o600))?;
    }
    Ok(format!(
        "[portal]\nlisten = [\"127.0.0.1:0\"]\nrealm = \"wifi.example.net\"\n\
         certificate = {certificate:?}\nkey = {key:?}\nproxies = [\"127.0.0.0/8\"]\nconnections = 20000\nidle_timeout = \"1h\"\n\
         header_timeout = \"1h\"\n\
         [portal.bearers]\nlisten = \"127.0.0.1:0\"\n\
         [[portal.bearers.gateways]]\nname = \"ggsn\"\naddress = \"127.0.0.1\"\n\
         secret = {{ file = {secret:?} }}\n"
    ))
}
