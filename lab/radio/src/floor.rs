//! The scripted floor: how fast a BSS can serve that a script adds when it hears a probe for it.
//!
//! The script needs no look-up and decides nothing: on the first probe request for the SSID it
//! sends `ADD` with a file that was written before. A gateway that looks the device up can come
//! close to this and not below. Measure both in the same VM run: the machine's load moves both.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, Result};
use homeward_dot11::{Observation, observe};
use homeward_hostapd::{Command, ControlError};
use homeward_linux::{Filter, PacketSocket};
use homeward_model::{Instant, Mac, Ssid};
use homeward_net::timeline::Spread;
use homeward_net::wait::now;
use serde::Serialize;
use tokio::sync::mpsc;

use crate::RUN;
use crate::air::{in_radio_thread, stamp};
use crate::gateway::{AccessPoint, ApConfig, Gateway};
use crate::station::{Network, Station};

/// The interface of the BSS that the script adds.
const VAP: &str = "floor0";

/// Its BSSID: locally administered, far from those that a gateway derives.
const BSSID: Mac = Mac::new([0x02, 0, 0, 0xf1, 0, 0]);

/// How long each step of a round may take.
const LIMIT: Duration = Duration::from_secs(20);

/// The monitor interface that the script listens on.
const MONITOR: &str = "floormon";

/// One round, in milliseconds since the probe.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Round {
    /// hostapd has answered `ADD`: the BSS beacons.
    pub bss_up: f64,
    /// The station has found the BSS and begins to authenticate.
    pub found: f64,
    /// It is authenticated and begins to associate.
    pub authenticated: f64,
    /// It is associated.
    pub associated: f64,
    /// The 4-way handshake is done.
    pub keys: f64,
    /// It may send data.
    pub connected: f64,
}

/// All rounds, and the spread of each moment.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Floor {
    /// From the probe to the BSS on the air, in ms.
    pub bss_up: Spread,
    /// From the probe to connected, in ms.
    pub connected: Spread,
    /// The rounds, in their order.
    pub rounds: Vec<Round>,
}

/// Measures the floor for `station` at `gateway`, whose owner's `access_point` runs.
///
/// In each round the station looks for `network` every 100 ms on `channel`, the script adds a BSS
/// as `vap` says when it hears that, and both are undone.
///
/// # Errors
/// If a round does not end within 20 s, or hostapd refuses the BSS.
pub async fn measure(
    gateway: &Gateway,
    access_point: &AccessPoint,
    vap: &ApConfig,
    station: &mut Station,
    network: &Network,
    rounds: usize,
) -> Result<Floor> {
    let frequency = vap.frequency();
    let mut script = Script::start(gateway, access_point, vap, station.mac())?;
    let network = network.clone().frequencies(&[frequency]);
    let mut done = Vec::new();
    for _ in 0..rounds {
        script.armed.store(true, Ordering::SeqCst);
        station.join(&network).await?;
        station.scan_until_connected(&[frequency], LIMIT).await?;
        let added = script.answers.recv().await.context("the script has ended")?;
        added.answer?;
        done.push(round(station, added.probe, added.up).await?);
        station.leave().await?;
        access_point.global().request("REMOVE", VAP).await?;
    }
    let spread = |figure: fn(&Round) -> f64| {
        Spread::of(done.iter().map(figure)).context("a floor of no rounds")
    };
    Ok(Floor {
        bss_up: spread(|round| round.bss_up)?,
        connected: spread(|round| round.connected)?,
        rounds: done,
    })
}

/// The script: probe in, `ADD` out, once each time it is armed.
struct Script {
    armed: Arc<AtomicBool>,
    answers: mpsc::UnboundedReceiver<Added>,
    _stop: StopOnDrop,
}

struct Added {
    probe: Instant,
    answer: Result<(), ControlError>,
    up: Instant,
}

impl Script {
    fn start(
        gateway: &Gateway,
        access_point: &AccessPoint,
        vap: &ApConfig,
        device: Mac,
    ) -> Result<Self> {
        let file = access_point.folder().join("floor.conf");
        let text = vap.clone().line(&format!("bssid={}", BSSID.full()));
        fs::write(&file, text.bss_text(VAP, access_point.folder()))?;
        let add = format!("bss_config={}:{}", access_point.phy(), file.display());
        gateway.radio().add_monitor(MONITOR)?;
        let wanted: Ssid = vap.ssid().parse()?;
        let armed = Arc::new(AtomicBool::new(false));
        let stop = Arc::new(AtomicBool::new(false));
        let (tell, answers) = mpsc::unbounded_channel();
        let (trigger, until) = (Arc::clone(&armed), Arc::clone(&stop));
        let namespace = gateway.namespace().clone();
        let hostapd = homeward_hostapd::Control::global(
            &access_point.global_socket(),
            &Path::new(RUN).join("control"),
        )?;
        in_radio_thread("floor", move |runtime, ready| {
            namespace.switch()?;
            let _inside = runtime.enter();
            let air = PacketSocket::open(MONITOR, Filter::ProbeRequests, 1 << 20)?;
            ready.send(Ok(())).ok();
            runtime.block_on(async {
                let mut room = vec![0; 4096];
                while !until.load(Ordering::Relaxed) {
                    let Ok(received) = air.recv(&mut room).await else { continue };
                    let frame = room.get(..received.len).unwrap_or_default();
                    let Ok(Observation::ProbeRequest(probe)) = observe(frame) else { continue };
                    let ours = probe.source == device && probe.ssid == Some(wanted);
                    if ours && trigger.swap(false, Ordering::SeqCst) {
                        let answer = hostapd.command(&Command::new("ADD", &add), LIMIT).await;
                        tell.send(Added { probe: stamp(&received), answer, up: now() }).ok();
                    }
                }
            });
            Ok(())
        })?;
        Ok(Self { armed, answers, _stop: StopOnDrop(stop) })
    }
}

struct StopOnDrop(Arc<AtomicBool>);

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Reads the moments off what the supplicant told.
async fn round(station: &Station, probe: Instant, up: Instant) -> Result<Round> {
    let ms = |at: Instant| (at - probe).as_secs_f64() * 1e3;
    let control = station.control()?;
    let told = async |prefix| anyhow::Ok(ms(control.event(probe, prefix, LIMIT).await?.at));
    Ok(Round {
        bss_up: ms(up),
        found: told("SME: Trying to authenticate").await?,
        authenticated: told("Trying to associate").await?,
        associated: told("Associated with").await?,
        keys: told("WPA: Key negotiation completed").await?,
        connected: told("CTRL-EVENT-CONNECTED").await?,
    })
}
