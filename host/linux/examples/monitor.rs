//! Hears who is looking for which network.
//!
//! ```text
//! monitor wlan0 mon0 10
//! ```
//!
//! makes a monitor interface `mon0` on the radio that `wlan0` is on, prints the first ten probe
//! requests with their signal, and deletes the interface. Needs CAP_NET_ADMIN and CAP_NET_RAW.

use std::error::Error;
use std::io::Write;
use std::process::ExitCode;

use homeward_dot11::{Observation, observe};
use homeward_linux::{Filter, Nl80211, PacketSocket, ensure_monitor};

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let Err(error) = run().await else { return ExitCode::SUCCESS };
    let mut causes = format!("monitor: {error}");
    let mut cause = error.source();
    while let Some(next) = cause {
        causes.push_str(&format!(": {next}"));
        cause = next.source();
    }
    let _ = writeln!(std::io::stderr(), "{causes}");
    ExitCode::FAILURE
}

async fn run() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [interface, name, count] = arguments.as_slice() else {
        return Err("usage: monitor INTERFACE MONITOR COUNT".into());
    };
    let count: usize = count.parse()?;

    let mut out = std::io::stdout();
    let monitor = ensure_monitor(interface, name)?;
    let phy = Nl80211::open()?.phy_of(name)?;
    writeln!(
        out,
        "{name} on {}, {}; up to {} access points",
        phy.name,
        if monitor.created { "made" } else { "found" },
        phy.access_points
    )?;

    let heard = listen(name, count, &mut out).await;
    if monitor.created {
        Nl80211::open()?.delete(name)?;
    }
    heard
}

async fn listen(name: &str, count: usize, out: &mut impl Write) -> Result<(), Box<dyn Error>> {
    let socket = PacketSocket::open(name, Filter::ProbeRequests, 1 << 20)?;
    let mut room = [0; 2048];
    let mut heard = 0;
    while heard < count {
        let received = socket.recv(&mut room).await?;
        let captured = room.get(..received.len).unwrap_or_default();
        match observe(captured) {
            Ok(Observation::ProbeRequest(probe)) => {
                let mac = probe.source.full();
                let ssid = probe.ssid.map_or_else(|| "(any)".to_owned(), |ssid| ssid.to_string());
                let signal = probe.signal.map_or_else(|| "?".to_owned(), |rssi| rssi.to_string());
                let frequency = probe.frequency.unwrap_or_default();
                writeln!(out, "{mac} looks for {ssid}: {signal} at {frequency} MHz")?;
                heard += 1;
            }
            Ok(_) => {}
            Err(e) => writeln!(out, "refused: {e}")?,
        }
    }
    writeln!(out, "{} dropped", socket.drops()?)?;
    Ok(())
}
