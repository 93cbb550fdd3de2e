//! Network namespaces, and what joins them.

use std::fmt;
use std::fs::File;
use std::net::Ipv4Addr;
use std::os::fd::AsRawFd;
use std::path::PathBuf;
use std::process::{Child, Command};
use std::sync::Arc;
use std::sync::mpsc::{self, Sender};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use homeward_linux::{Links, child};
use homeward_model::Mac;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, setns, unshare};
use socket2::{Domain, Protocol, SockAddr, Socket, Type};

use crate::tool::{ip, run_tool};
use crate::wait::now;

/// A network namespace. Clones are the same namespace.
///
/// It is held by a thread and by nothing else: no file names it, unless it was made by
/// [`named`](Self::named). So it goes, with its interfaces and the programs started in it, when
/// the last clone is dropped, and as well when this process ends in whatever way.
#[derive(Clone)]
pub struct Namespace(Option<Arc<Keeper>>);

/// The thread that lives in a namespace, and starts its programs.
struct Keeper {
    name: String,
    file: File,
    jobs: Option<Sender<Job>>,
    thread: Option<JoinHandle<()>>,
}

type Job = Box<dyn FnOnce() + Send>;

impl Namespace {
    /// The namespace that this process was started in: in a virtual machine the Internet, on a
    /// host the machine's own, which a lab leaves alone.
    pub const ROOT: Self = Self(None);

    /// Makes a namespace, with nothing in it but a loopback interface that is up. The name is for
    /// messages.
    ///
    /// # Errors
    /// If the kernel refuses: it allows root alone, or root of a user namespace.
    pub fn create(name: &str) -> Result<Self> {
        Self::keep(name, || {
            unshare(CloneFlags::CLONE_NEWNET)
                .context("cannot make a network namespace: run as root")?;
            ip("link set lo up")
        })
    }

    /// Makes a namespace that other programs find by its name, as `ip netns add` does; its
    /// loopback is down. It stays when dropped: for a virtual machine, which goes as a whole.
    ///
    /// # Errors
    /// If there is one of that name, or the kernel refuses.
    pub fn named(name: &str) -> Result<Self> {
        run_tool("ip", &["netns", "add", name])?;
        let path = PathBuf::from("/run/netns").join(name);
        Self::keep(name, || {
            let file =
                File::open(&path).with_context(|| format!("no namespace {}", path.display()))?;
            setns(file, CloneFlags::CLONE_NEWNET)
                .with_context(|| format!("cannot enter {}", path.display()))
        })
    }

    /// Starts the thread that holds the namespace which `go` takes it to.
    fn keep(name: &str, go: impl FnOnce() -> Result<()> + Send) -> Result<Self> {
        let (jobs, work) = mpsc::channel::<Job>();
        let (ready, arrival) = mpsc::sync_channel(1);
        // On a thread of its own, for the caller stays where it is.
        let file = std::thread::scope(|scope| {
            scope
                .spawn(|| -> Result<File> {
                    go()?;
                    File::open("/proc/thread-self/ns/net").context("cannot open the namespace")
                })
                .join()
                .map_err(|_| anyhow::anyhow!("the thread that made namespace {name} panicked"))?
        })?;
        let own = file.try_clone()?;
        let thread = std::thread::Builder::new().name(format!("ns-{name}")).spawn(move || {
            let entered = settle(&own);
            let failed = entered.is_err();
            ready.send(entered).ok();
            if !failed {
                work.into_iter().for_each(|job| job());
            }
        })?;
        arrival.recv().context("the namespace's thread ended")??;
        let keeper = Keeper { name: name.to_owned(), file, jobs: Some(jobs), thread: Some(thread) };
        Ok(Self(Some(Arc::new(keeper))))
    }

    /// The name it was made with; `None` for the root.
    pub fn name(&self) -> Option<&str> {
        self.0.as_deref().map(|keeper| keeper.name.as_str())
    }

    /// How `ip` is told this namespace, as in `link set eth0 netns PATH`.
    pub fn path(&self) -> PathBuf {
        let own = std::process::id();
        match &self.0 {
            Some(keeper) => format!("/proc/{own}/fd/{}", keeper.file.as_raw_fd()).into(),
            None => format!("/proc/{own}/ns/net").into(),
        }
    }

    /// Runs a batch of `ip` commands inside, one a line.
    ///
    /// # Errors
    /// What `ip` says of the first that fails.
    pub fn ip(&self, batch: &str) -> Result<()> {
        self.enter(|| ip(batch)).with_context(|| format!("in {self:?}"))
    }

    /// Runs a program inside to its end; returns what it printed.
    ///
    /// # Errors
    /// If it is not installed; what it complains of, if it fails.
    pub fn run_tool(&self, name: &str, arguments: &[&str]) -> Result<String> {
        self.enter(|| run_tool(name, arguments)).with_context(|| format!("in {self:?}"))
    }

    /// Sets a knob of the namespace, such as `net.ipv4.ip_forward`.
    ///
    /// # Errors
    /// If there is no such knob, or it does not take the value.
    pub fn sysctl(&self, knob: &str, value: &str) -> Result<()> {
        let path = PathBuf::from("/proc/sys").join(knob.replace('.', "/"));
        self.enter(|| {
            std::fs::write(&path, value).with_context(|| format!("cannot set {knob} to {value}"))
        })
    }

    /// Joins two namespaces by a cable (veth) with an interface at either end, both up.
    ///
    /// # Errors
    /// If an interface of that name exists there.
    pub fn join(&self, interface: &str, other: &Self, its_interface: &str) -> Result<()> {
        let path = other.path();
        self.ip(&format!(
            "link add {interface} type veth peer name {its_interface} netns {}\n\
             link set {interface} up",
            path.display()
        ))?;
        other.ip(&format!("link set {its_interface} up"))
    }

    /// Starts a program inside; it is killed when the namespace goes. It sees the /sys of the
    /// namespace, where hostapd looks up bridges.
    ///
    /// # Errors
    /// If it cannot be run.
    pub fn spawn(&self, mut command: Command) -> Result<Child> {
        let program = command.get_program().to_string_lossy().into_owned();
        let child = match &self.0 {
            None => command.spawn(),
            Some(keeper) => {
                // The thread that starts it is the namespace's, which ends with it.
                child::ends_with_thread(&mut command);
                let (answer, child) = mpsc::sync_channel(1);
                let job: Job = Box::new(move || {
                    answer.send(command.spawn()).ok();
                });
                let jobs = keeper.jobs.as_ref().context("the namespace is gone")?;
                jobs.send(job).ok();
                child.recv().context("the namespace's thread ended")?
            }
        };
        child.with_context(|| format!("cannot run {program}"))
    }

    /// Runs `work` on a thread of its own inside the namespace, and waits for it. Sockets opened
    /// there stay in the namespace.
    ///
    /// # Errors
    /// If the namespace cannot be entered, or `work` fails.
    pub fn enter<T: Send>(&self, work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
        std::thread::scope(|scope| {
            let thread = scope.spawn(|| {
                self.switch()?;
                work()
            });
            thread.join().map_err(|_| anyhow::anyhow!("a thread in {self:?} panicked"))?
        })
    }

    /// [`enter`](Self::enter) for work that takes long: other tasks go on meanwhile.
    ///
    /// # Errors
    /// As [`enter`](Self::enter).
    pub async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let here = self.clone();
        tokio::task::spawn_blocking(move || here.enter(work)).await?
    }

    /// Pings `to` ten times a second until an answer comes; returns the round trip.
    ///
    /// # Errors
    /// If none comes within `limit`, or there is no route for as long.
    pub async fn ping(&self, to: Ipv4Addr, limit: Duration) -> Result<Duration> {
        self.run(move || ping(to, limit)).await
    }

    /// Moves the calling thread into the namespace, for good.
    ///
    /// # Errors
    /// If the kernel refuses.
    pub fn switch(&self) -> Result<()> {
        let Some(keeper) = &self.0 else {
            // The main thread is never moved.
            let own = format!("/proc/{}/ns/net", std::process::id());
            let file = File::open(&own).with_context(|| format!("cannot open {own}"))?;
            return setns(file, CloneFlags::CLONE_NEWNET).context("cannot return to the root");
        };
        setns(&keeper.file, CloneFlags::CLONE_NEWNET)
            .with_context(|| format!("cannot enter namespace {}", keeper.name))
    }
}

impl PartialEq for Namespace {
    fn eq(&self, other: &Self) -> bool {
        match (&self.0, &other.0) {
            (Some(one), Some(two)) => Arc::ptr_eq(one, two),
            (None, None) => true,
            _ => false,
        }
    }
}

impl Eq for Namespace {}

impl fmt::Debug for Namespace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Namespace").field(&self.name().unwrap_or("(root)")).finish()
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        self.jobs = None;
        if let Some(thread) = self.thread.take() {
            // So that what it started is dead once the namespace is dropped.
            thread.join().ok();
        }
    }
}

/// Makes the calling thread one of the namespace's own, with the /sys that belongs to it.
fn settle(namespace: &File) -> Result<()> {
    setns(namespace, CloneFlags::CLONE_NEWNET).context("cannot enter a new namespace")?;
    unshare(CloneFlags::CLONE_NEWNS).context("cannot make a mount namespace")?;
    let nothing = None::<&str>;
    mount(nothing, "/", nothing, MsFlags::MS_REC | MsFlags::MS_SLAVE, nothing)
        .context("cannot set mounts apart")?;
    // A user namespace may neither take off what it found mounted nor, in a container, mount its
    // own above it. Then programs see the /sys of another namespace, which few look at.
    umount2("/sys", MntFlags::MNT_DETACH).ok();
    mount(Some("sysfs"), "/sys", Some("sysfs"), MsFlags::empty(), nothing).ok();
    Ok(())
}

/// The MAC address of an interface in a namespace.
///
/// # Errors
/// If it is not there, or has none.
pub fn mac_of(namespace: &Namespace, interface: &str) -> Result<Mac> {
    let link = namespace.enter(|| Ok(Links::open()?.by_name(interface)?))?;
    link.and_then(|link| link.mac)
        .with_context(|| format!("no MAC address on {interface} in {namespace:?}"))
}

/// ICMP echo (RFC 792) over a raw socket.
fn ping(to: Ipv4Addr, limit: Duration) -> Result<Duration> {
    let socket = Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::ICMPV4))?;
    socket.set_read_timeout(Some(Duration::from_millis(100)))?;
    let target = SockAddr::from(std::net::SocketAddrV4::new(to, 0));
    let end = now() + limit;
    let mut last = None;
    for sequence in 0u16.. {
        let sent = now();
        ensure!(sent < end, "no answer from {to} within {limit:?}{}", Said(&last));
        if let Err(error) = socket.send_to(&echo_request(sequence), &target) {
            last = Some(error);
            crate::wait::pause(Duration::from_millis(20));
            continue;
        }
        while now() < sent + Duration::from_millis(100) {
            let mut room = [0u8; 256];
            let Ok(length) = std::io::Read::read(&mut &socket, &mut room) else { break };
            if is_echo_reply(room.get(..length).unwrap_or_default(), sequence) {
                return Ok(now() - sent);
            }
        }
    }
    anyhow::bail!("no answer from {to} to 65,536 pings")
}

struct Said<'a>(&'a Option<std::io::Error>);

impl std::fmt::Display for Said<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.as_ref().map_or(Ok(()), |error| write!(f, " ({error})"))
    }
}

/// Whether an IPv4 packet without options is the answer to that [`echo_request`].
pub(crate) fn is_echo_reply(packet: &[u8], sequence: u16) -> bool {
    packet.get(20) == Some(&0) && packet.get(24..28) == echo_request(sequence).get(4..8)
}

/// An ICMP echo request (RFC 792) with an identifier of the lab's.
pub(crate) fn echo_request(sequence: u16) -> [u8; 8] {
    let [high, low] = sequence.to_be_bytes();
    let identifier = 0x4857u16;
    // The Internet checksum (RFC 1071) of a message of three non-zero words.
    let sum = 0x0800 + u32::from(identifier) + u32::from(sequence);
    let folded = (sum & 0xffff) + (sum >> 16);
    let [_, _, c0, c1] = (!folded).to_be_bytes();
    let [i0, i1] = identifier.to_be_bytes();
    [8, 0, c0, c1, i0, i1, high, low]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_echo_request_sums_up_to_nothing() {
        for sequence in [0, 1, 0xb7a8, 0xffff] {
            let sum: u32 = echo_request(sequence)
                .chunks(2)
                .map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]])))
                .sum();
            assert_eq!((sum & 0xffff) + (sum >> 16), 0xffff, "{sequence}");
        }
    }
}
