//! What arrives at an interface, kept: to show that something did, or that nothing did.

use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::Result;
use homeward_linux::{Frame, FrameSocket, frames};
use homeward_model::{Instant, Mac};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::namespace::Namespace;
use crate::wait::{now, wait_for};

/// Octets of the largest frame that is kept whole; what is larger is not kept.
const LARGEST: usize = 65_600;

/// Kernel memory for frames that have not been taken yet.
const RECEIVE_BUFFER: usize = 16 << 20;

/// A frame that arrived.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Arrival {
    /// When it was taken.
    pub at: Instant,
    /// All of it, Ethernet header first.
    pub octets: Vec<u8>,
}

impl Arrival {
    /// Whom it is for.
    pub fn destination(&self) -> Option<Mac> {
        Some(Mac::new(self.octets.get(..6)?.try_into().ok()?))
    }

    /// Whom it is from.
    pub fn source(&self) -> Option<Mac> {
        Some(Mac::new(self.octets.get(6..12)?.try_into().ok()?))
    }

    /// What it carries: 0x0800 for IPv4, 0x0806 for ARP, 0x86dd for IPv6, ….
    pub fn ether_type(&self) -> Option<u16> {
        Some(u16::from_be_bytes(self.octets.get(12..14)?.try_into().ok()?))
    }

    /// Whether these octets occur in it.
    pub fn contains(&self, octets: &[u8]) -> bool {
        self.octets.windows(octets.len().max(1)).any(|window| window == octets)
    }
}

/// Listens at an interface until dropped. What leaves by it is not heard.
#[derive(Debug)]
pub struct Capture {
    arrivals: Arc<Mutex<Vec<Arrival>>>,
    socket: Arc<FrameSocket>,
    alive: Option<UnixStream>,
    thread: Option<JoinHandle<()>>,
}

impl Capture {
    /// Listens from now on.
    ///
    /// # Errors
    /// If there is no such interface, or the kernel refuses.
    pub fn start(namespace: &Namespace, interface: &str) -> Result<Self> {
        let socket = namespace.enter(|| Ok(FrameSocket::open(interface, RECEIVE_BUFFER)?))?;
        let (socket, arrivals) = (Arc::new(socket), Arc::<Mutex<Vec<Arrival>>>::default());
        let (alive, watched) = UnixStream::pair()?;
        let (ear, kept) = (Arc::clone(&socket), Arc::clone(&arrivals));
        let thread = std::thread::Builder::new()
            .name("capture".into())
            .spawn(move || listen(&ear, &watched, &kept))?;
        Ok(Self { arrivals, socket, alive: Some(alive), thread: Some(thread) })
    }

    /// What has arrived so far.
    pub fn arrivals(&self) -> Vec<Arrival> {
        self.arrivals.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// How many have arrived so far that are as `wanted` says.
    pub fn count(&self, wanted: impl Fn(&Arrival) -> bool) -> usize {
        let all = self.arrivals.lock().unwrap_or_else(PoisonError::into_inner);
        all.iter().filter(|arrival| wanted(arrival)).count()
    }

    /// Waits for the first that is as `wanted` says.
    ///
    /// # Errors
    /// If none comes within `limit`.
    pub async fn first(
        &self,
        what: &str,
        limit: Duration,
        wanted: impl Fn(&Arrival) -> bool,
    ) -> Result<Arrival> {
        wait_for(what, limit, async || {
            let all = self.arrivals.lock().unwrap_or_else(PoisonError::into_inner);
            Ok(all.iter().find(|arrival| wanted(arrival)).cloned())
        })
        .await
    }

    /// Frames that were not kept: too many at once, or too large.
    ///
    /// # Errors
    /// If the kernel does not tell.
    pub fn overruns(&self) -> Result<u64> {
        Ok(self.socket.drops()?)
    }
}

impl Drop for Capture {
    fn drop(&mut self) {
        self.alive = None;
        if let Some(thread) = self.thread.take() {
            thread.join().ok();
        }
    }
}

fn listen(socket: &FrameSocket, alive: &UnixStream, kept: &Mutex<Vec<Arrival>>) {
    let mut rooms: Vec<_> = (0..frames::BATCH).map(|_| Frame::room(LARGEST)).collect();
    loop {
        let mut fds = [
            PollFd::new(socket.as_fd(), PollFlags::POLLIN),
            PollFd::new(alive.as_fd(), PollFlags::POLLIN),
        ];
        if poll(&mut fds, PollTimeout::NONE).is_err_and(|e| e != nix::Error::EINTR) {
            return;
        }
        if fds[1].any().unwrap_or(true) {
            return;
        }
        // A failure to receive is that the interface is down for the moment: nothing comes.
        let count = socket.receive(&mut rooms).unwrap_or(0);
        let at = now();
        let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.extend(
            rooms.iter().take(count).map(|frame| Arrival { at, octets: frame.octets().to_vec() }),
        );
    }
}
