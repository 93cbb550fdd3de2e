//! The wired side: network namespaces and what joins them.

use std::fs::File;
use std::io::Write;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use nix::sched::{CloneFlags, setns};
use socket2::{Domain, Protocol, SockAddr, Socket, Type};

use crate::kernel::tool;
use crate::wait::now;

/// A network namespace of the guest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Namespace(Option<String>);

impl Namespace {
    /// The guest's first namespace: the Internet, where the core runs.
    pub const ROOT: Self = Self(None);

    /// Makes a namespace of that name, with its loopback up.
    pub(crate) fn create(name: &str) -> Result<Self> {
        ip(None, &format!("netns add {name}"))?;
        Ok(Self(Some(name.to_owned())))
    }

    /// Its name, as `ip netns` knows it; `None` for the root.
    pub fn name(&self) -> Option<&str> {
        self.0.as_deref()
    }

    /// Runs a batch of `ip` commands inside, one a line.
    ///
    /// # Errors
    /// What `ip` says of the first that fails.
    pub fn ip(&self, batch: &str) -> Result<()> {
        ip(self.name(), batch)
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
    pub(crate) fn switch(&self) -> Result<()> {
        let path = match self.name() {
            Some(name) => PathBuf::from("/run/netns").join(name),
            None => PathBuf::from("/proc/1/ns/net"),
        };
        let file = File::open(&path).with_context(|| format!("no namespace {}", path.display()))?;
        setns(file, CloneFlags::CLONE_NEWNET)
            .with_context(|| format!("cannot enter {}", path.display()))
    }
}

/// Runs a batch of `ip` commands, one a line: one process for all, for each costs 70 ms here.
pub(crate) fn ip(namespace: Option<&str>, batch: &str) -> Result<()> {
    let mut command = tool("ip");
    if let Some(name) = namespace {
        command.args(["-netns", name]);
    }
    let mut child = command
        .args(["-batch", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .context("cannot run ip")?;
    if let Some(mut stdin) = child.stdin.take() {
        stdin.write_all(batch.as_bytes())?;
        stdin.write_all(b"\n")?;
    }
    let done = child.wait_with_output()?;
    ensure!(
        done.status.success(),
        "ip {}: {}\n{batch}",
        namespace.unwrap_or("(root)"),
        String::from_utf8_lossy(&done.stderr).trim()
    );
    Ok(())
}

/// Runs a host tool to its end; returns what it printed.
pub(crate) fn run_tool(name: &str, arguments: &[&str]) -> Result<String> {
    let done = tool(name).args(arguments).output().with_context(|| format!("cannot run {name}"))?;
    ensure!(
        done.status.success(),
        "{name} {}: {}",
        arguments.join(" "),
        String::from_utf8_lossy(&done.stderr).trim()
    );
    Ok(String::from_utf8_lossy(&done.stdout).into_owned())
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
            // An IP header without options, then type 0 (echo reply).
            let answer = room.get(20..length).unwrap_or_default();
            if answer.first() == Some(&0) && answer.get(4..8) == echo_request(sequence).get(4..8) {
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

fn echo_request(sequence: u16) -> [u8; 8] {
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
