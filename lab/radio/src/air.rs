//! What is on the air: a capture of all of it, and a flood of probes.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::time::Duration;

use anyhow::{Context, Result};
use homeward_dot11::build::build_probe_request;
use homeward_dot11::frame::{ELEMENT_SSID, Elements, Header, Subtype};
use homeward_dot11::radiotap;
use homeward_linux::{Filter, PacketSocket, Received};
use homeward_model::{Entropy, Instant, Mac, Ssid};
use homeward_net::Namespace;
use homeward_net::random::SplitMix;
use homeward_net::tool::ip;
use homeward_net::wait::{now, pause, wall_offset};

use crate::radios::Radio;

/// The simulation's own interface: it hears every frame of every radio, whatever their reach.
const ALL_RADIOS: &str = "hwsim0";

/// Room for what comes while the capturing thread does not run, in octets.
const BUFFER: usize = 16 << 20;

/// A management frame that a radio sent. Data frames are not captured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Frame {
    /// When the simulation handed it on.
    pub at: Instant,
    /// What kind it is.
    pub subtype: Subtype,
    /// Who sent it.
    pub source: Mac,
    /// To whom.
    pub destination: Mac,
    /// In which BSS.
    pub bssid: Mac,
    /// Its SSID element, if it has one that is not empty.
    pub ssid: Option<Ssid>,
    /// Its channel's frequency, in MHz.
    pub frequency: Option<u16>,
}

/// A capture of all management frames in the lab, until dropped.
#[derive(Debug)]
pub struct Air {
    frames: Arc<Mutex<Vec<Frame>>>,
    stop: Arc<AtomicBool>,
    since: Instant,
}

impl Air {
    pub(crate) fn open() -> Result<Self> {
        ip(&format!("link set {ALL_RADIOS} up"))?;
        let (frames, stop) = (Arc::<Mutex<Vec<Frame>>>::default(), Arc::<AtomicBool>::default());
        let (sink, until) = (Arc::clone(&frames), Arc::clone(&stop));
        in_radio_thread("air", move |runtime, ready| {
            Namespace::ROOT.switch()?;
            let _inside = runtime.enter();
            let socket = PacketSocket::open(ALL_RADIOS, Filter::Management, BUFFER)?;
            ready.send(Ok(())).ok();
            runtime.block_on(async {
                let mut room = vec![0; 4096];
                while !until.load(Ordering::Relaxed) {
                    let Ok(received) = socket.recv(&mut room).await else { continue };
                    let octets = room.get(..received.len).unwrap_or_default();
                    if let Some(frame) = decode(stamp(&received), octets) {
                        sink.lock().unwrap_or_else(PoisonError::into_inner).push(frame);
                    }
                }
            });
            Ok(())
        })?;
        Ok(Self { frames, stop, since: now() })
    }

    /// The frames so far that `wanted` picks, in the order of time.
    pub fn frames(&self, wanted: impl Fn(&Frame) -> bool) -> Vec<Frame> {
        let frames = self.frames.lock().unwrap_or_else(PoisonError::into_inner);
        frames.iter().copied().filter(wanted).collect()
    }

    /// The frames that `mac` sent or was sent.
    pub fn frames_of(&self, mac: Mac) -> Vec<Frame> {
        self.frames(|frame| frame.source == mac || frame.destination == mac)
    }

    /// The probe requests of `source` for `ssid`.
    pub fn probes(&self, source: Mac, ssid: Ssid) -> Vec<Frame> {
        self.frames(|frame| {
            frame.subtype == Subtype::ProbeRequest
                && frame.source == source
                && frame.ssid == Some(ssid)
        })
    }

    /// The longest time from `since` (or the capture's start, if later) to `until` without a
    /// beacon of `bssid`, both ends counted. About 102 ms if all is well.
    pub fn longest_beacon_gap(&self, bssid: Mac, since: Instant, until: Instant) -> Duration {
        let since = since.max(self.since);
        let beacons =
            self.frames(|f| f.subtype == Subtype::Beacon && f.bssid == bssid && f.at >= since);
        let mut last = since;
        let mut longest = Duration::ZERO;
        for at in beacons.iter().map(|f| f.at).filter(|at| *at <= until).chain([until]) {
            longest = longest.max(at - last);
            last = at;
        }
        longest
    }
}

impl Drop for Air {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

/// A radio that sends probe requests from random addresses, until dropped.
#[derive(Debug)]
pub struct Flood {
    sent: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
}

impl Flood {
    pub(crate) fn start(radio: Radio, channel: u8, per_second: u32, seed: u64) -> Result<Self> {
        let monitor = "flood0";
        radio.add_monitor(monitor)?;
        let namespace = radio.namespace().clone();
        namespace.run_tool("iw", &[monitor, "set", "channel", &channel.to_string()])?;
        let (sent, stop) = (Arc::<AtomicU64>::default(), Arc::<AtomicBool>::default());
        let (count, until) = (Arc::clone(&sent), Arc::clone(&stop));
        in_radio_thread("flood", move |runtime, ready| {
            namespace.switch()?;
            let _inside = runtime.enter();
            // It hears probes too, and leaves them in a buffer that is full soon.
            let socket = PacketSocket::open(monitor, Filter::ProbeRequests, 4096)?;
            ready.send(Ok(())).ok();
            let gap = Duration::from_secs(1) / per_second.max(1);
            let mut random = SplitMix::new(seed);
            let mut due = now();
            for sequence in (0u16..=0xfff).cycle() {
                if until.load(Ordering::Relaxed) {
                    break;
                }
                let (source, ssid) = (random_mac(&mut random), random_ssid(&mut random));
                let frame = build_probe_request(source, ssid.as_ref(), sequence);
                if runtime.block_on(socket.send(&frame)).is_ok() {
                    count.fetch_add(1, Ordering::Relaxed);
                }
                due = due + gap;
                let early = due - now();
                if !early.is_zero() {
                    pause(early);
                }
            }
            Ok(())
        })?;
        Ok(Self { sent, stop })
    }

    /// How many probe requests were sent so far.
    pub fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }
}

impl Drop for Flood {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

pub(crate) type Ready = mpsc::SyncSender<Result<()>>;

/// Runs `life` in a thread with a runtime of its own; returns when it reports to be ready.
pub(crate) fn in_radio_thread(
    name: &str,
    life: impl FnOnce(&tokio::runtime::Runtime, &Ready) -> Result<()> + Send + 'static,
) -> Result<()> {
    let (ready_tx, ready) = mpsc::sync_channel(1);
    std::thread::Builder::new().name(name.to_owned()).spawn(move || {
        let done = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(Into::into)
            .and_then(|runtime| life(&runtime, &ready_tx));
        if let Err(error) = done {
            // Nobody waits any more if it fails later than at the start.
            ready_tx.try_send(Err(error)).ok();
        }
    })?;
    ready.recv().with_context(|| format!("the {name} thread is gone"))?
}

/// When the kernel had a frame, on the clock of [`now`].
pub(crate) fn stamp(received: &Received) -> Instant {
    let wall = received.at.and_then(|at| at.duration_since(std::time::UNIX_EPOCH).ok());
    match wall.and_then(|wall| u64::try_from(wall.as_nanos()).ok()) {
        Some(nanos) => Instant::from_nanos(nanos.saturating_sub(wall_offset())),
        None => now(),
    }
}

fn decode(at: Instant, octets: &[u8]) -> Option<Frame> {
    let (radio, frame) = radiotap::decode(octets).ok()?;
    let (header, body) = Header::decode(frame).ok()??;
    // Where the elements start, behind the fixed fields (IEEE 802.11-2020 9.3.3).
    let elements = match header.subtype {
        Subtype::ProbeRequest => 0,
        Subtype::AssociationRequest => 4,
        Subtype::ReassociationRequest => 10,
        Subtype::Beacon | Subtype::ProbeResponse => 12,
        _ => body.len(),
    };
    let ssid = Elements::new(body.get(elements..).unwrap_or_default())
        .map_while(Result::ok)
        .find(|element| element.id == ELEMENT_SSID)
        .and_then(|element| Ssid::try_from(element.content).ok());
    Some(Frame {
        at,
        subtype: header.subtype,
        source: header.source,
        destination: header.destination,
        bssid: header.bssid,
        ssid,
        frequency: radio.frequency,
    })
}

/// An individual, locally administered address, as throw-away ones are.
fn random_mac(random: &mut SplitMix) -> Mac {
    let [first, rest @ ..] = random.octets::<6>();
    let [a, b, c, d, e] = rest;
    Mac::new([first & 0xfc | 2, a, b, c, d, e])
}

/// A name of 6 to 21 lower-case letters.
fn random_ssid(random: &mut SplitMix) -> Option<Ssid> {
    let letters = random.octets::<22>().map(|octet| b'a' + octet % 26);
    let length = 6 + usize::from(letters[0] % 16);
    letters.get(..length).and_then(|name| Ssid::try_from(name).ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use homeward_model::Rssi;

    #[test]
    fn a_flood_is_the_same_for_the_same_seed() {
        let some = |seed| {
            let mut random = SplitMix::new(seed);
            [(); 3].map(|()| (random_mac(&mut random), random_ssid(&mut random)))
        };
        assert_eq!(some(7), some(7));
        assert_ne!(some(7), some(8));
        assert!(
            some(7).iter().all(|(mac, ssid)| mac.is_local() && !mac.is_group() && ssid.is_some())
        );
    }

    #[test]
    fn a_beacon_and_a_probe_are_told_apart_and_named() {
        let (mac, ssid): (Mac, Ssid) =
            ("02:00:00:00:01:00".parse().unwrap(), "Home".parse().unwrap());
        let beacon = homeward_dot11::build::beacon(mac, Some(&ssid), 0, 100, 1);
        let probe = homeward_dot11::build::probe_request(mac, Some(&ssid), 1);
        for (frame, subtype) in [(beacon, Subtype::Beacon), (probe, Subtype::ProbeRequest)] {
            let captured = homeward_dot11::build::captured(&frame, Rssi(-50), 2437);
            let seen = decode(Instant::ORIGIN, &captured).unwrap();
            assert_eq!(
                (seen.subtype, seen.source, seen.ssid, seen.frequency),
                (subtype, mac, Some(ssid), Some(2437))
            );
        }
    }
}
