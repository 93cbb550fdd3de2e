//! A UDP server: worker threads that take and answer datagrams in batches.
//!
//! Each worker has a socket of its own on the same address (`SO_REUSEPORT`). Linux chooses the
//! socket by a hash over both addresses and both ports, so all datagrams from one client port
//! reach the same worker: what a [`Service`] keeps per client, such as the answers kept for
//! duplicates (RFC 5080 2.2.2), needs no sharing between workers.
//!
//! Answers leave from the address that was asked, also where the server listens on a wildcard. An
//! IPv6 wildcard serves IPv6 only; listen on both for both.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::num::NonZeroUsize;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use homeward_model::{Clock, Instant};
use tokio::sync::watch;

use crate::counters::{Counters, Tally, kernel_drops};
use crate::{BindError, socket};

pub use replies::{Asked, Path, Replies};
pub use waker::Waker;

pub(crate) mod replies;
mod waker;
mod worker;

/// How often [`Service::idle`] is called, about.
pub const TICK: Duration = Duration::from_millis(100);

/// How a server listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerConfig {
    /// Where. The default is loopback, with a port that the kernel chooses.
    pub address: SocketAddr,
    /// How many workers; `None` is one per CPU that the process may use.
    pub workers: Option<NonZeroUsize>,
    /// The receive buffer of each socket, in octets; `None` leaves the system's default. Beyond
    /// the system's limit (`net.core.rmem_max`) the kernel gives the limit.
    pub receive_buffer: Option<usize>,
}

impl Default for ServerConfig {
    fn default() -> Self {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        Self { address, workers: None, receive_buffer: None }
    }
}

/// A datagram, or a packet out of a TLS connection, as it came.
#[derive(Debug, Clone, Copy)]
pub struct Datagram<'a> {
    /// Its octets; at most [`MAX_DATAGRAM`](crate::MAX_DATAGRAM).
    pub bytes: &'a [u8],
    /// Who sent it.
    pub source: SocketAddr,
    /// The address of ours that it was sent to.
    pub local: IpAddr,
    /// When its batch was taken from the kernel.
    pub received: Instant,
    /// The TLS connection that it came by; none if it came by UDP.
    pub tls: Option<&'a Asked>,
}

impl Datagram<'_> {
    /// The way back to who sent it, to be answered later.
    pub fn path(&self) -> Path {
        Path { to: self.source, from: self.local, tls: self.tls.cloned() }
    }
}

/// What a server does. Each worker has its own; it runs on the worker's thread and should not
/// block: what takes long is done elsewhere, and [`woken`](Self::woken) answers it.
///
/// A closure `FnMut(&Datagram<'_>, &mut Replies)` is one, without the rest.
pub trait Service {
    /// Looks at a datagram, and may answer it.
    fn handle(&mut self, datagram: &Datagram<'_>, replies: &mut Replies);

    /// Looks at datagrams that came together, in their order; what is looked up for one may serve
    /// the others.
    fn handle_all(&mut self, batch: &[Datagram<'_>], replies: &mut Replies) {
        for datagram in batch {
            self.handle(datagram, replies);
        }
    }

    /// Called once, before the first datagram: what to wake the worker with.
    fn begin(&mut self, waker: Waker) {
        let _ = waker;
    }

    /// [`Waker::wake`] was called: answers that were found elsewhere can be sent.
    fn woken(&mut self, replies: &mut Replies) {
        let _ = replies;
    }

    /// The batch is over, and its answers are about to leave: what was put off to be done for all
    /// of them at once is to be done now. A service around another passes this on, or answers that
    /// the other has only reserved a place for are lost.
    fn finish(&mut self, replies: &mut Replies) {
        let _ = replies;
    }

    /// Housekeeping: called about every 100 ms, whether datagrams come or not.
    fn idle(&mut self, now: Instant) {
        let _ = now;
    }
}

impl<F: FnMut(&Datagram<'_>, &mut Replies)> Service for F {
    fn handle(&mut self, datagram: &Datagram<'_>, replies: &mut Replies) {
        self(datagram, replies);
    }
}

/// A server that has its sockets, and does not serve yet. What arrives meanwhile waits in the
/// kernel.
#[derive(Debug)]
pub struct UdpServer {
    sockets: Vec<socket2::Socket>,
    address: SocketAddr,
}

impl UdpServer {
    /// Opens the sockets.
    ///
    /// # Errors
    ///
    /// [`BindError`], naming the address and the repair. An address that any other process has is
    /// refused, even if it would share it.
    pub fn bind(config: &ServerConfig) -> Result<Self, BindError> {
        let workers = config
            .workers
            .or_else(|| std::thread::available_parallelism().ok())
            .unwrap_or(NonZeroUsize::MIN);
        let failed = |source| BindError { protocol: "UDP", address: config.address, source };
        let sockets = socket::server_sockets(config.address, workers, config.receive_buffer)
            .map_err(failed)?;
        let address = sockets.first().map_or(Ok(config.address), socket::local).map_err(failed)?;
        tracing::info!(%address, workers, "listening on UDP");
        Ok(Self { sockets, address })
    }

    /// The address, with the port that was given for port 0.
    pub fn local_address(&self) -> SocketAddr {
        self.address
    }

    /// How many workers it will have.
    pub fn workers(&self) -> usize {
        self.sockets.len()
    }

    /// Starts the workers. `service` is called once for each, with its number from 0, before any
    /// of them starts; `clock` gives the datagrams their time.
    ///
    /// # Errors
    ///
    /// If the system gives no thread. Workers that started are stopped.
    pub fn start<S: Service + Send + 'static>(
        self,
        clock: impl Clock + Clone + 'static,
        mut service: impl FnMut(usize) -> S,
    ) -> io::Result<RunningServer> {
        let mut inodes = Vec::new();
        for socket in &self.sockets {
            inodes.push(nix::sys::stat::fstat(socket.as_fd())?.st_ino);
        }
        let services: Vec<S> = (0..self.sockets.len()).map(&mut service).collect();
        let mut running = RunningServer {
            address: self.address,
            stop: Arc::new(AtomicBool::new(false)),
            died: watch::Sender::new(None),
            tallies: Vec::new(),
            inodes,
            threads: Vec::new(),
        };
        for (number, (socket, service)) in self.sockets.into_iter().zip(services).enumerate() {
            let tally = Arc::new(Tally::default());
            running.tallies.push(Arc::clone(&tally));
            let (stop, clock) = (Arc::clone(&running.stop), clock.clone());
            let alarm =
                Alarm { worker: number, stop: Arc::clone(&stop), died: running.died.clone() };
            let address = self.address;
            let waker = Waker::new()?;
            let thread =
                std::thread::Builder::new().name(format!("udp-{number}")).spawn(move || {
                    let _alarm = alarm;
                    worker::run(&socket, address, &tally, &stop, &clock, &waker, service);
                })?;
            running.threads.push(thread);
        }
        Ok(running)
    }
}

/// A server that serves. Dropping it stops it.
#[derive(Debug)]
pub struct RunningServer {
    address: SocketAddr,
    stop: Arc<AtomicBool>,
    died: watch::Sender<Option<WorkerDied>>,
    tallies: Vec<Arc<Tally>>,
    inodes: Vec<u64>,
    threads: Vec<JoinHandle<()>>,
}

/// A worker ended although nobody stopped it: its service panicked. Its share of the clients has
/// nobody now, so the server should be stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a server's worker {0} panicked: this is a defect of Homeward; the log has its message")]
pub struct WorkerDied(pub usize);

impl RunningServer {
    /// The address, with the port that was given for port 0.
    pub fn local_address(&self) -> SocketAddr {
        self.address
    }

    /// What all workers saw. Reads a file in `/proc`: for status and metrics.
    pub fn counters(&self) -> Counters {
        self.sum(self.dropped())
    }

    /// Waits until a worker dies. For the role's `select!`: cancelling it loses nothing.
    pub async fn died(&self) -> WorkerDied {
        death(&self.died).await
    }

    /// Stops the workers and waits for them: each finishes the batch it is at, which takes 100 ms
    /// where there is none. Returns what they saw, to the last.
    ///
    /// # Errors
    ///
    /// [`WorkerDied`] if one had died.
    pub fn stop(mut self) -> Result<Counters, WorkerDied> {
        // The kernel forgets it with the sockets.
        let dropped = self.dropped();
        self.join();
        match *self.died.borrow() {
            Some(died) => Err(died),
            None => Ok(self.sum(dropped)),
        }
    }

    fn sum(&self, dropped: u64) -> Counters {
        let mut sum = Counters { dropped, ..Counters::default() };
        for tally in &self.tallies {
            tally.add_to(&mut sum);
        }
        sum
    }

    fn dropped(&self) -> u64 {
        let table = if self.address.is_ipv4() { "/proc/net/udp" } else { "/proc/net/udp6" };
        std::fs::read_to_string(table).map_or(0, |table| kernel_drops(&table, &self.inodes))
    }

    fn join(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            // A panic has rung the alarm already.
            let _ = thread.join();
        }
    }
}

impl Drop for RunningServer {
    fn drop(&mut self) {
        self.join();
    }
}

/// Waits until a worker dies.
pub(crate) async fn death(died: &watch::Sender<Option<WorkerDied>>) -> WorkerDied {
    let mut died = died.subscribe();
    match died.wait_for(Option::is_some).await.map(|d| *d) {
        Ok(Some(died)) => died,
        // Cannot be: a sender is the caller's.
        _ => std::future::pending().await,
    }
}

/// Rings when a worker's thread ends and was not asked to.
pub(crate) struct Alarm {
    pub(crate) worker: usize,
    pub(crate) stop: Arc<AtomicBool>,
    pub(crate) died: watch::Sender<Option<WorkerDied>>,
}

impl Drop for Alarm {
    fn drop(&mut self) {
        if std::thread::panicking() || !self.stop.load(Ordering::Relaxed) {
            self.died.send_replace(Some(WorkerDied(self.worker)));
        }
    }
}
