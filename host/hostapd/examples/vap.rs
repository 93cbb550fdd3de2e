//! Virtual access points by hand: reads commands from its standard input, prints what came of
//! them, how long it took, and every event of hostapd.
//!
//! ```text
//! hostapd -g /run/hostapd.global /etc/hostapd/hostapd.conf &
//! cargo run --example vap -- /run/hostapd.global /run/vap wlan0
//! add hw0 wpa2-psk Home 02:00:00:00:02:00=correct-horse
//! devices hw0 02:00:00:00:02:00=correct-horse 02:00:00:00:03:00=battery-staple
//! remove hw0
//! ```
//!
//! Commands: `status`, `stations IF`, `add IF SECURITY SSID [DEVICE...]`, `addat BSSID IF SECURITY
//! SSID [DEVICE...]`, `devices IF [DEVICE...]`, `remove IF`, `deauth IF MAC`, `home FILE
//! [DEVICE...]`, `orphans`, `vanished`, `ping`, `check`, `forget`. A DEVICE is `MAC=KEY`, the key 64 hex digits
//! or a passphrase without blanks.
#![expect(clippy::print_stdout, reason = "its output is its purpose")]

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use homeward_hostapd::{BssConfig, Event, Events, Radio, Settings, VapDevice};
use homeward_model::{DeviceKey, Mac, Psk, Ssid};
use tokio::sync::mpsc;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let (Some(socket), Some(run_dir), Some(owner)) =
        (arguments.next(), arguments.next(), arguments.next())
    else {
        bail!("usage: vap GLOBAL_SOCKET RUN_DIR OWNER_INTERFACE");
    };
    let settings = Settings {
        socket: socket.into(),
        run_dir: run_dir.into(),
        owner: owner.parse()?,
        ..Settings::default()
    };
    let radio = Radio::open(settings)?;
    let mut events = radio.events().await.ok();
    let (lines_tx, mut lines) = mpsc::channel(16);
    std::thread::spawn(move || {
        for line in std::io::stdin().lines().map_while(Result::ok) {
            if lines_tx.blocking_send(line).is_err() {
                break;
            }
        }
    });
    let mut ssids = BTreeMap::new();
    loop {
        tokio::select! {
            line = lines.recv() => {
                let Some(line) = line else { break };
                let started = now();
                let outcome = obey(&radio, &mut events, &mut ssids, &line).await;
                let ms = started.elapsed().as_secs_f64() * 1e3;
                match outcome {
                    Ok(text) => println!("ok {ms:.1} ms {text}"),
                    Err(error) => println!("error {ms:.1} ms {error:#}"),
                }
            }
            event = next(&mut events) => match event {
                Some((place, Event::StationConnected { mac, keyid })) => {
                    println!("event {place} connected {} {}", mac.full(), keyid.unwrap_or_default());
                }
                Some((place, Event::StationDisconnected { mac })) => {
                    println!("event {place} disconnected {}", mac.full());
                }
                Some((place, Event::PskMismatch { mac })) => {
                    println!("event {place} mismatch {}", mac.full());
                }
                Some((place, other)) => println!("event {place} {other:?}"),
                None => events = None,
            },
        }
    }
    Ok(())
}

/// The next event; never, where there is nobody to listen to.
async fn next(events: &mut Option<Events>) -> Option<(String, Event<'static>)> {
    let Some(events) = events else { return std::future::pending().await };
    let event = events.next().await.ok()?;
    Some((event.interface.map_or("-".to_owned(), |name| name.to_string()), event.event))
}

async fn obey(
    radio: &Radio,
    events: &mut Option<Events>,
    ssids: &mut BTreeMap<String, Ssid>,
    line: &str,
) -> Result<String> {
    let words: Vec<&str> = line.split_whitespace().collect();
    match words.as_slice() {
        ["status"] => Ok(format!("{:?}", radio.status().await?)),
        ["stations", name] => Ok(format!("{:?}", radio.stations(&name.parse()?).await?)),
        ["add", name, security, ssid, devices @ ..] => {
            ssids.insert((*name).to_owned(), ssid.parse()?);
            add(radio, None, name, security, ssid, devices).await
        }
        ["addat", bssid, name, security, ssid, devices @ ..] => {
            add(radio, Some(bssid.parse()?), name, security, ssid, devices).await
        }
        ["devices", name, devices @ ..] => {
            let devices = parse_devices(devices, ssids.get(*name).copied())?;
            radio.set_devices(&name.parse()?, &devices).await?;
            Ok(format!("{} devices", devices.len()))
        }
        ["remove", name] => {
            radio.remove_bss(&name.parse()?).await?;
            Ok("removed".to_owned())
        }
        ["deauth", name, mac] => {
            radio.deauthenticate(&name.parse()?, mac.parse()?).await?;
            Ok("deauthenticated".to_owned())
        }
        ["home", file, devices @ ..] => {
            let devices = parse_devices(devices, None)?;
            Ok(format!("{:?}", radio.home_devices(Path::new(file), &devices).await?))
        }
        ["orphans"] => Ok(format!("{:?}", radio.orphans().await?)),
        ["vanished"] => Ok(format!("{:?}", radio.vanished().await?)),
        ["ping"] => {
            radio.ping().await?;
            Ok("pong".to_owned())
        }
        ["check"] => {
            match events {
                Some(listener) => listener.check(std::time::Duration::from_secs(2)).await?,
                None => *events = Some(radio.events().await?),
            }
            Ok("listening".to_owned())
        }
        ["forget"] => {
            *events = None;
            Ok(format!("{:?}", radio.forget().await))
        }
        _ => bail!("no such command, or not with these arguments: {line}"),
    }
}

async fn add(
    radio: &Radio,
    bssid: Option<Mac>,
    name: &str,
    security: &str,
    ssid: &str,
    devices: &[&str],
) -> Result<String> {
    let ssid: Ssid = ssid.parse()?;
    let config = BssConfig { bssid, ..BssConfig::new(name.parse()?, ssid, security.parse()?) };
    let bssid = radio.add_bss(&config, &parse_devices(devices, Some(ssid))?).await?;
    Ok(format!("BSSID {}", bssid.full()))
}

/// Reads `MAC=KEY` words. The PSK of a passphrase depends on the SSID; where that is not known
/// here, it is left zero, which is good for SAE only.
fn parse_devices(words: &[&str], ssid: Option<Ssid>) -> Result<Vec<VapDevice>> {
    words
        .iter()
        .map(|word| {
            let (mac, key) = word.split_once('=').context("a device is MAC=KEY")?;
            let key = match Psk::from_hex(key) {
                Some(psk) => DeviceKey::Psk(psk),
                None => {
                    let mut psk = [0; 32];
                    if let Some(ssid) = ssid {
                        pbkdf2::pbkdf2_hmac::<sha1::Sha1>(
                            key.as_bytes(),
                            ssid.as_bytes(),
                            4096,
                            &mut psk,
                        );
                    }
                    DeviceKey::Passphrase { passphrase: key.parse()?, psk: Psk::new(psk) }
                }
            };
            Ok(VapDevice { mac: mac.parse()?, key })
        })
        .collect()
}

#[expect(clippy::disallowed_methods, reason = "a tool for people, that shows how long things take")]
fn now() -> Instant {
    Instant::now()
}
