//! A cable between two namespaces that can be made bad: delay, loss, a rate, ….
//!
//! ```text
//!   namespace a            a namespace of the cable's own             namespace b
//!   eth0 ════ veth ════ left ──► thread forth: Wire ──► right ════ veth ════ eth0
//!                       left ◄── thread back:  Wire ◄── right
//! ```
//!
//! Each end sends real packets: the ends' segmentation offload is off, as on a link whose card has
//! none. Frames of up to [`LARGEST`] octets pass.

use std::io;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, Result};
use homeward_linux::{Frame, FrameSocket, frames};
use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sys::time::TimeSpec;

use crate::namespace::Namespace;
use crate::wait::now;
use crate::wire::{Counters, Impairment, Wire};

/// Octets of the largest frame that passes, its Ethernet header included.
pub const LARGEST: usize = 2048;

/// Kernel memory for frames that have not been taken yet; 1,500 octets take about 2,300.
const RECEIVE_BUFFER: usize = 32 << 20;

/// How often a frame is tried that the far end does not take at once: its queue of a thousand frames
/// has been emptied many times by then.
const TRIES: u32 = 1000;

/// A cable. It is cut when dropped: both interfaces go.
#[derive(Debug)]
pub struct Cable {
    forth: Lane,
    back: Lane,
    /// Closing it wakes and ends both threads.
    alive: Option<UnixStream>,
    threads: Vec<JoinHandle<()>>,
    _middle: Namespace,
}

/// One direction of a cable. Clones are the same direction.
#[derive(Debug, Clone)]
pub struct Lane(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    wire: Mutex<Wire<Frame>>,
    from: Arc<FrameSocket>,
    to: Arc<FrameSocket>,
}

impl Cable {
    /// Lays a cable from `interface` in `a` to `its_interface` in `b`, which it makes and sets up.
    ///
    /// # Errors
    /// If an interface of that name exists there, or the kernel refuses.
    pub fn lay(
        a: &Namespace,
        interface: &str,
        b: &Namespace,
        its_interface: &str,
        seed: u64,
    ) -> Result<Self> {
        let middle = Namespace::create("cable")?;
        // The two in the middle have nothing to say of their own.
        middle.sysctl("net.ipv6.conf.default.disable_ipv6", "1")?;
        for (end, interface, inner) in [(a, interface, "left"), (b, its_interface, "right")] {
            end.join(interface, &middle, inner)?;
            end.ip(&format!("link set {interface} gso_max_segs 1"))?;
            middle.ip(&format!("link set {inner} mtu 9000"))?;
        }
        let [left, right] = middle.enter(|| {
            let open = |interface| FrameSocket::open(interface, RECEIVE_BUFFER).map(Arc::new);
            Ok([open("left")?, open("right")?])
        })?;
        let (alive, watched) = UnixStream::pair().context("cannot make a socket pair")?;
        let mut cable = Self {
            forth: Lane::new(seed, &left, &right),
            // Another sequence, not the same one the other way round.
            back: Lane::new(!seed, &right, &left),
            alive: Some(alive),
            threads: Vec::new(),
            _middle: middle,
        };
        for (name, lane) in [("cable-forth", &cable.forth), ("cable-back", &cable.back)] {
            let (lane, watched) = (lane.clone(), watched.try_clone()?);
            let thread = std::thread::Builder::new().name(name.into());
            cable.threads.push(thread.spawn(move || lane.0.carry(&watched))?);
        }
        Ok(cable)
    }

    /// From the first end to the second.
    pub fn forth(&self) -> &Lane {
        &self.forth
    }

    /// From the second end to the first.
    pub fn back(&self) -> &Lane {
        &self.back
    }

    /// Sets what happens to frames that come from now on, in both directions.
    pub fn set(&self, impairment: Impairment) {
        self.forth.set(impairment);
        self.back.set(impairment);
    }
}

impl Drop for Cable {
    fn drop(&mut self) {
        self.alive = None;
        for thread in self.threads.drain(..) {
            thread.join().ok();
        }
    }
}

impl Lane {
    fn new(seed: u64, from: &Arc<FrameSocket>, to: &Arc<FrameSocket>) -> Self {
        let [from, to] = [from, to].map(Arc::clone);
        Self(Arc::new(Shared { wire: Mutex::new(Wire::new(seed)), from, to }))
    }

    /// Sets what happens to frames that come from now on.
    pub fn set(&self, impairment: Impairment) {
        self.0.wire().set(impairment);
    }

    /// What it has done so far.
    pub fn counters(&self) -> Counters {
        self.0.wire().counters()
    }

    /// How many frames are under way.
    pub fn under_way(&self) -> usize {
        self.0.wire().under_way()
    }

    /// Frames that the emulator itself was too slow for, or that were larger than [`LARGEST`]; a
    /// test in which there are any has tried something else than it says.
    ///
    /// # Errors
    /// If the kernel does not tell.
    pub fn overruns(&self) -> io::Result<u64> {
        self.0.from.drops()
    }
}

impl Shared {
    fn wire(&self) -> std::sync::MutexGuard<'_, Wire<Frame>> {
        self.wire.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Carries frames until the other end of `alive` is closed.
    fn carry(&self, alive: &UnixStream) {
        let mut rooms: Vec<_> = (0..frames::BATCH).map(|_| Frame::room(LARGEST)).collect();
        // Rooms to take the place of those under way; a frame's room comes back when it is sent.
        let mut spare: Vec<Frame> = Vec::new();
        let mut leaving: Vec<Frame> = Vec::new();
        loop {
            let due = self.wire().poll_timeout();
            let patience = due.map(|due| due - now());
            match wait(&self.from, alive, patience) {
                Ok(Woken::Closed) => return,
                Ok(Woken::Readable | Woken::TimeOut) => {}
                Err(_) => return,
            }
            // A failure to receive is that the interface is down for the moment: nothing comes.
            let count = self.from.receive(&mut rooms).unwrap_or(0);
            {
                let (mut wire, now) = (self.wire(), now());
                for room in rooms.iter_mut().take(count) {
                    let fresh = spare.pop().unwrap_or_else(|| Frame::room(LARGEST));
                    let frame = std::mem::replace(room, fresh);
                    let len = frame.octets().len();
                    wire.handle_frame(frame, len, now);
                }
                while let Some(frame) = wire.poll_transmit(now) {
                    leaving.push(frame);
                }
            }
            self.send(&leaving);
            // As many as a burst takes; the rest of a long queue is given back.
            leaving.truncate(8 * frames::BATCH);
            spare.append(&mut leaving);
            spare.truncate(8 * frames::BATCH);
        }
    }

    /// Sends all, as quickly as the interface takes them. What it refuses is lost, as on any link
    /// whose far end is not there.
    fn send(&self, mut frames: &[Frame]) {
        let mut tries = 0;
        while !frames.is_empty() {
            let done = match self.to.send(frames) {
                Ok(0) => {
                    if wait_writable(&self.to).is_err() {
                        return;
                    }
                    // What is longer than the far end takes finds it full each time.
                    tries += 1;
                    usize::from(tries >= TRIES)
                }
                Ok(sent) => sent,
                Err(_) => 1,
            };
            if done > 0 {
                tries = 0;
            }
            frames = frames.get(done..).unwrap_or_default();
        }
    }
}

enum Woken {
    Readable,
    Closed,
    TimeOut,
}

fn wait(socket: &FrameSocket, alive: &UnixStream, limit: Option<Duration>) -> io::Result<Woken> {
    let mut fds = [
        PollFd::new(socket.as_fd(), PollFlags::POLLIN),
        PollFd::new(alive.as_fd(), PollFlags::POLLIN),
    ];
    match ppoll(&mut fds, limit.map(TimeSpec::from), None) {
        Ok(0) | Err(nix::Error::EINTR) => Ok(Woken::TimeOut),
        Ok(_) if fds[1].any().unwrap_or(true) => Ok(Woken::Closed),
        Ok(_) => Ok(Woken::Readable),
        Err(error) => Err(error.into()),
    }
}

fn wait_writable(socket: &FrameSocket) -> io::Result<()> {
    let limit = TimeSpec::from(Duration::from_millis(100));
    let mut fds = [PollFd::new(socket.as_fd(), PollFlags::POLLOUT)];
    match ppoll(&mut fds, Some(limit), None) {
        Ok(0) => Err(io::ErrorKind::TimedOut.into()),
        Ok(_) | Err(nix::Error::EINTR) => Ok(()),
        Err(error) => Err(error.into()),
    }
}
