//! One run of the guest: QEMU started, watched and ended.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result};
use homeward_net::tool::tool;
use homeward_net::wait::{now, pause};

use crate::kernel::Kernel;

/// How often the host looks at a running guest.
const LOOK: Duration = Duration::from_millis(50);

/// What the guest is and what it runs.
#[derive(Debug)]
pub(crate) struct Vm<'a> {
    pub(crate) kernel: &'a Kernel,
    pub(crate) cpus: u32,
    pub(crate) memory_mib: u32,
    pub(crate) radios: u32,
    pub(crate) time_limit: Duration,
    /// The folder that the guest sees as `/out`: job in; logs, files and status out.
    pub(crate) out: &'a Path,
    /// Whether the guest's log is repeated on standard output as it grows.
    pub(crate) live: bool,
}

/// How a guest ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ending {
    /// The job ended with this status.
    Status(i32),
    /// The job was still running when its time was up.
    TimeLimit,
    /// The guest went away without a status: a kernel panic, or QEMU failed.
    Died,
}

impl Vm<'_> {
    /// Runs `job`, a shell script, as root in a fresh guest.
    pub(crate) fn run(&self, job: &str) -> Result<Ending> {
        fs::write(self.out.join("job"), job).context("cannot write the guest's job")?;
        let _turn = wait_for_turn()?;
        let mut kvm = kvm_works();
        let mut qemu = self.start(kvm)?;
        let end = now() + self.time_limit;
        let mut log = Tail::new(self.out.join("log"), self.live);
        loop {
            let ended = qemu.0.try_wait().context("cannot wait for QEMU")?.is_some();
            log.repeat();
            if ended {
                break;
            }
            if kvm && self.kvm_failed() {
                kvm = false;
                drop(qemu);
                qemu = self.start(kvm)?;
            }
            if now() >= end {
                return Ok(Ending::TimeLimit);
            }
            pause(LOOK);
        }
        let status = fs::read_to_string(self.out.join("status")).unwrap_or_default();
        Ok(status.trim().parse().map_or(Ending::Died, Ending::Status))
    }

    fn start(&self, kvm: bool) -> Result<Guest> {
        self.command(kvm).spawn().map(Guest).context("cannot run QEMU")
    }

    /// Whether KVM has given up while the kernel boots: inside some virtual machines it starts a
    /// guest and then meets an instruction that it can neither run nor emulate. QEMU stands still
    /// then.
    fn kvm_failed(&self) -> bool {
        let complaint = fs::read_to_string(self.out.join("qemu")).unwrap_or_default();
        complaint.contains("KVM internal error") && !self.out.join("log").exists()
    }

    fn command(&self, kvm: bool) -> Command {
        let out = self.out.display();
        // QEMU dies with the thread that started it, however that thread dies.
        let mut command = tool("setpriv");
        command.args(["--pdeathsig", "KILL", "qemu-system-x86_64", "-machine", "pc"]);
        command.args(["-accel", if kvm { "kvm" } else { "tcg,thread=multi" }, "-cpu", "max"]);
        command.args(["-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"]);
        command.args(["-nic", "none", "-smp", &self.cpus.to_string()]);
        command.args(["-m", &self.memory_mib.to_string()]);
        command.arg("-kernel").arg(&self.kernel.image);
        command.arg("-initrd").arg(&self.kernel.initramfs);
        command.arg("-append").arg(format!(
            "console=ttyS0 quiet panic=-1 mitigations=off clocksource=tsc tsc=reliable nokaslr no_timer_check \
             net.ifnames=0 cryptomgr.notests apparmor=0 audit=0 random.trust_cpu=on \
             homeward.radios={} homeward.modules={}",
            self.radios,
            self.kernel.modules.display()
        ));
        command
            .arg("-virtfs")
            .arg("local,path=/,mount_tag=host,security_model=none,readonly=on,multidevs=remap");
        command
            .arg("-virtfs")
            .arg(format!("local,path={out},mount_tag=out,security_model=none"))
            .arg("-serial")
            .arg(format!("file:{out}/console"));
        let errors = File::create(self.out.join("qemu")).map_or_else(|_| Stdio::null(), Into::into);
        command.stdout(Stdio::null()).stderr(errors);
        command
    }
}

/// A running QEMU; gone when this is dropped.
struct Guest(Child);

impl Drop for Guest {
    fn drop(&mut self) {
        // Both fail only if it is gone already.
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

/// Whether this machine is a virtual one. KVM within KVM, where the processor does not help with
/// it, was seen to be slower than emulation by a factor of ten; where it does help,
/// `HOMEWARD_LAB_KVM` set to anything has it used.
fn inside_a_vm() -> bool {
    let cpus = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let flags = cpus.lines().find(|line| line.starts_with("flags")).unwrap_or_default();
    flags.split_whitespace().any(|flag| flag == "hypervisor")
}

/// Whether KVM runs a guest here. A `/dev/kvm` that opens is not enough: inside some virtual
/// machines QEMU aborts over registers that the outer one withholds.
fn kvm_works() -> bool {
    if inside_a_vm() && std::env::var_os("HOMEWARD_LAB_KVM").is_none() {
        return false;
    }
    if OpenOptions::new().read(true).write(true).open("/dev/kvm").is_err() {
        return false;
    }
    let mut probe = tool("qemu-system-x86_64");
    probe.args(["-machine", "pc", "-accel", "kvm", "-cpu", "max", "-S", "-monitor", "stdio"]);
    probe.args(["-nodefaults", "-no-user-config", "-display", "none"]);
    let child = probe.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
    child.is_ok_and(|mut child| {
        if let Some(mut stdin) = child.stdin.take() {
            // It may be dead already, which the status tells.
            stdin.write_all(b"quit\n").ok();
        }
        child.wait().is_ok_and(|status| status.success())
    })
}

/// Waits until no other guest runs on this machine: two would spoil each other's timing.
/// `HOMEWARD_LAB_PARALLEL` set to anything lets them run side by side.
fn wait_for_turn() -> Result<Option<File>> {
    if std::env::var_os("HOMEWARD_LAB_PARALLEL").is_some() {
        return Ok(None);
    }
    let path = std::env::temp_dir().join("homeward-lab.lock");
    // Opened before it is created: the kernel refuses to "create" another user's file in a
    // sticky folder (fs.protected_regular).
    let file = match OpenOptions::new().read(true).open(&path) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
            let file = OpenOptions::new().write(true).create(true).truncate(false).open(&path);
            fs::set_permissions(&path, fs::Permissions::from_mode(0o666)).ok();
            file
        }
        opened => opened,
    }
    .with_context(|| format!("cannot open {}", path.display()))?;
    file.lock().with_context(|| format!("cannot lock {}", path.display()))?;
    Ok(Some(file))
}

/// A growing file, repeated on standard output.
struct Tail {
    path: PathBuf,
    at: u64,
    on: bool,
}

impl Tail {
    fn new(path: PathBuf, on: bool) -> Self {
        Self { path, at: 0, on }
    }

    fn repeat(&mut self) {
        if !self.on {
            return;
        }
        let mut fresh = Vec::new();
        let read = File::open(&self.path).and_then(|mut file| {
            file.seek(SeekFrom::Start(self.at))?;
            file.read_to_end(&mut fresh)
        });
        if read.is_ok() && !fresh.is_empty() {
            self.at += fresh.len() as u64;
            // Whoever listens may have gone; the log is kept anyway.
            std::io::stdout().write_all(&fresh).ok();
        }
    }
}
