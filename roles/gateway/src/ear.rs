//! Hears probe requests: the monitor interface on the owner's radio.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use homeward_daemon::{Shutdown, SystemClock};
use homeward_dot11::Observation;
use homeward_linux::{Filter, Links, PacketSocket, ensure_monitor};
use homeward_model::{Clock, Instant, Mac, Rssi, Ssid};
use serde::Serialize;
use tokio::sync::mpsc;

/// Kernel memory for frames that wait: some 2,000 of them.
const RECEIVE_BUFFER: usize = 2 << 20;
/// A probe request is far shorter; what is cut off is not decoded.
const LONGEST_FRAME: usize = 2048;
/// The pause before the monitor interface is tried again.
const PAUSE: Duration = Duration::from_secs(1);

/// How often the monitor interface is looked at: a socket on one that was deleted stays silent.
const CHECK: Duration = Duration::from_secs(5);

/// A directed probe request that was heard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Probe {
    /// Who probes.
    pub mac: Mac,
    /// For which network.
    pub ssid: Ssid,
    /// How well it was heard.
    pub signal: Option<Rssi>,
    /// When it was read from the socket.
    pub at: Instant,
}

/// What the ear has counted.
#[derive(Debug, Default)]
pub struct Counts {
    probes: AtomicU64,
    wildcards: AtomicU64,
    malformed: AtomicU64,
    overrun: AtomicU64,
    restarts: AtomicU64,
}

/// [`Counts`] at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Heard {
    /// Directed probe requests.
    pub probes: u64,
    /// Wildcard probe requests: they name no network and are not looked up.
    pub wildcards: u64,
    /// Frames that are no proper probe request.
    pub malformed: u64,
    /// Probes dropped because the agent was busy.
    pub overrun: u64,
    /// Times the monitor interface had to be opened again.
    pub restarts: u64,
}

impl Counts {
    /// The counts now.
    pub fn get(&self) -> Heard {
        let read = |n: &AtomicU64| n.load(Ordering::Relaxed);
        Heard {
            probes: read(&self.probes),
            wildcards: read(&self.wildcards),
            malformed: read(&self.malformed),
            overrun: read(&self.overrun),
            restarts: read(&self.restarts),
        }
    }

    /// Decodes a captured frame and counts it; `Some` if it is a directed probe request of
    /// somebody else's.
    pub fn listen(&self, frame: &[u8], at: Instant) -> Option<Probe> {
        let probe = match homeward_dot11::observe(frame) {
            Ok(Observation::ProbeRequest(probe)) => probe,
            Ok(_) => return None,
            Err(error) => {
                tracing::trace!(%error, octets = frame.len(), "frame dropped");
                self.malformed.fetch_add(1, Ordering::Relaxed);
                return None;
            }
        };
        let Some(ssid) = probe.ssid else {
            self.wildcards.fetch_add(1, Ordering::Relaxed);
            return None;
        };
        self.probes.fetch_add(1, Ordering::Relaxed);
        Some(Probe { mac: probe.source, ssid, signal: probe.signal, at })
    }
}

/// Listens until shutdown; makes the monitor interface, and makes it again if it goes.
pub async fn run(
    interface: String,
    monitor: String,
    counts: Arc<Counts>,
    out: mpsc::Sender<Probe>,
    shutdown: Shutdown,
) {
    let mut complained = false;
    loop {
        let error = tokio::select! {
            () = shutdown.requested() => return,
            error = listen(&interface, &monitor, &counts, &out, &mut complained) => error,
        };
        counts.restarts.fetch_add(1, Ordering::Relaxed);
        if !std::mem::replace(&mut complained, true) {
            tracing::error!(
                error = format!("{error:#}"),
                "no probes are heard; trying again every second"
            );
        }
        let later = SystemClock.now() + PAUSE;
        tokio::select! {
            () = shutdown.requested() => return,
            () = SystemClock.until(Some(later)) => {}
        }
    }
}

/// Listens until something fails, and says what.
async fn listen(
    interface: &str,
    monitor: &str,
    counts: &Counts,
    out: &mpsc::Sender<Probe>,
    complained: &mut bool,
) -> anyhow::Error {
    let made = match ensure_monitor(interface, monitor) {
        Ok(made) => made,
        Err(error) => return error.into(),
    };
    let socket = match PacketSocket::open(monitor, Filter::ProbeRequests, RECEIVE_BUFFER) {
        Ok(socket) => socket,
        Err(error) => return error.into(),
    };
    tracing::info!(monitor, interface, made = made.created, "listening for probe requests");
    *complained = false;
    let mut frame = [0u8; LONGEST_FRAME];
    let mut check = SystemClock.now() + CHECK;
    loop {
        let received = tokio::select! {
            received = socket.recv(&mut frame) => received,
            () = SystemClock.until(Some(check)) => {
                check = SystemClock.now() + CHECK;
                match same_interface(monitor, made.interface.index) {
                    Ok(()) => continue,
                    Err(error) => return error,
                }
            }
        };
        let received = match received {
            Ok(received) => received,
            Err(error) => {
                return anyhow::Error::from(error).context(format!("reading from {monitor}"));
            }
        };
        let heard = frame.get(..received.len).unwrap_or_default();
        if let Some(probe) = counts.listen(heard, SystemClock.now())
            && out.try_send(probe).is_err()
        {
            // The station probes again; to wait here would only move the loss into the kernel.
            counts.overrun.fetch_add(1, Ordering::Relaxed);
        }
    }
}

fn same_interface(name: &str, index: u32) -> anyhow::Result<()> {
    let link = Links::open()?.by_name(name)?;
    anyhow::ensure!(link.is_some_and(|l| l.index == index), "the interface {name} was deleted");
    Ok(())
}
