//! Which other access points this radio hears: their beacons, listened to now and then.
//!
//! Only the channel that the owner's access point is on is heard. What is on others the controller
//! learns from the moves of devices.

use std::collections::BTreeMap;
use std::time::Duration;

use homeward_control::Neighbour;
use homeward_daemon::SystemClock;
use homeward_dot11::Observation;
use homeward_linux::{Filter, PacketSocket};
use homeward_model::{Clock, Mac, Rssi};

/// For how long: three beacons of the usual 102.4 ms, so that one may be lost.
const SPAN: Duration = Duration::from_millis(350);
/// Kernel memory for beacons that wait: some 500.
const RECEIVE_BUFFER: usize = 512 << 10;
/// A longer beacon is not decoded.
const LONGEST_FRAME: usize = 2048;
/// The most access points that are told apart: what is beyond is an invention or a stadium.
const MOST: usize = 256;

/// Listens on the monitor interface, and says who was heard, each with its strongest signal.
///
/// # Errors
///
/// The interface cannot be listened on.
pub(crate) async fn listen(monitor: &str) -> anyhow::Result<Vec<Neighbour>> {
    let socket = PacketSocket::open(monitor, Filter::Beacons, RECEIVE_BUFFER)?;
    let until = SystemClock.now() + SPAN;
    let mut heard: BTreeMap<Mac, Rssi> = BTreeMap::new();
    let mut frame = [0; LONGEST_FRAME];
    loop {
        let received = tokio::select! {
            received = socket.recv(&mut frame) => received?,
            () = SystemClock.until(Some(until)) => break,
        };
        let captured = frame.get(..received.len).unwrap_or_default();
        // What cannot be decoded is no neighbour.
        let Ok(Observation::Beacon(beacon)) = homeward_dot11::observe(captured) else { continue };
        let Some(signal) = beacon.signal else { continue };
        if heard.len() < MOST || heard.contains_key(&beacon.bssid) {
            let strongest = heard.entry(beacon.bssid).or_insert(signal);
            *strongest = signal.max(*strongest);
        }
    }
    Ok(heard.into_iter().map(|(bssid, signal)| Neighbour { bssid, signal }).collect())
}
