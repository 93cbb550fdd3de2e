//! What the device needs of its machine: looked at before it runs, or while it does.
//!
//! Nothing is changed by looking, except that the run directory is made if it is missing.

use std::path::Path;
use std::time::Duration;

use homeward_charon::{Charon, Version};
use homeward_daemon::SystemClock;
use homeward_daemon::doctor::{Finding, Findings};
use homeward_linux::{Links, machine};
use homeward_model::Clock;
use homeward_modem::{Facts, Modem, Registration, Sim};
use homeward_offload::manager::Connectivity;
use homeward_seal::{KeyFileError, KeyRing};
use homeward_supplicant::{By, Choice, Managed, State, Station};

use crate::config::{self, Config};
use crate::dial::Line;
use crate::handoff::keys;
use crate::portal::{self, Portal};
use crate::{addresses, probe, service};

mod home;

/// How long the supplicant, and whoever knows of the modem, may take to answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// Looks at everything that the configuration names on this machine.
pub async fn examine(config: &Config) -> Vec<Finding> {
    let mut found = Findings::default();
    capabilities(config, &mut found);
    wlan(config, &mut found);
    let by = station(config, &mut found).await;
    key_file(&config.state.key_file, &mut found);
    authorities(config, &mut found);
    messages(config, &mut found);
    handoff(config, &mut found);
    tunnels(config, &mut found).await;
    let cellular = modem(config, &mut found).await;
    match &cellular {
        Some(line) => portal(&config.portal, line, &mut found).await,
        None => found.warn(
            "the portal was not looked for: there is no cellular bearer",
            "look again once the modem is connected",
        ),
    }
    wifi(config, &mut found).await;
    home::examine(config, by, &mut found).await;
    found.into_vec()
}

fn capabilities(config: &Config, found: &mut Findings) {
    match machine::capabilities().map(machine::Capabilities::missing) {
        Ok(missing) if missing.is_empty() => {
            found.ok("this process may bind to interfaces and change routes");
        }
        Ok(missing) if config.steer.enabled => found.fail(
            format!("this process lacks {}", missing.join(" and ")),
            "run as root, or give the service AmbientCapabilities=CAP_NET_ADMIN CAP_NET_RAW",
        ),
        Ok(missing) => found.warn(
            format!("this process lacks {}", missing.join(" and ")),
            "give the service AmbientCapabilities=CAP_NET_RAW where the kernel is older than 5.7",
        ),
        Err(error) => found.warn(
            format!("this process's capabilities cannot be seen: {error}"),
            "mount /proc, and look again",
        ),
    }
}

fn wlan(config: &Config, found: &mut Findings) {
    let name = &config.wlan.interface;
    match Links::open().and_then(|mut links| links.by_name(name)) {
        Ok(Some(_)) => found.ok(format!("the station's interface {name} is there")),
        Ok(None) => found.fail(
            format!("there is no interface {name}"),
            "name the station's as wlan.interface; `ip link` lists them",
        ),
        Err(error) => found.fail(
            format!("interfaces cannot be looked up: {:#}", anyhow::Error::from(error)),
            "do what the error says",
        ),
    }
}

/// Who runs the station, and whether it answers.
async fn station(config: &Config, found: &mut Findings) -> Option<By> {
    let (interface, socket) = (&config.wlan.interface, config.wlan.supplicant.display());
    let place = match config.wlan.place(None, PATIENCE) {
        Ok(place) => place,
        Err(error) => {
            found.fail(format!("wlan.interface: {error:#}"), "correct it");
            return None;
        }
    };
    let (by, status) = match Station::find(&place).await {
        Ok(station) => (Some(station.by()), station.status().await),
        Err(error) => (None, Err(error)),
    };
    let who = match by {
        Some(By::NetworkManager) => format!("NetworkManager runs {interface}"),
        _ => format!("the supplicant answers on {socket}/{interface}"),
    };
    match (by, status) {
        (_, Ok(status)) if status.state == State::Off => found.warn(
            format!("{who}, but the radio is switched off"),
            "switch it on: `rfkill unblock wifi`, `nmcli radio wifi on`, or `ip link set … up`",
        ),
        (_, Ok(_)) => found.ok(who),
        (Some(By::WpaSupplicant), Err(error)) => found.fail(
            format!("no supplicant on {socket}/{interface}: {:#}", anyhow::Error::from(error)),
            format!(
                "start wpa_supplicant for {interface} with ctrl_interface=DIR={socket}, or have \
                 NetworkManager manage it"
            ),
        ),
        (_, Err(error)) => found.fail(
            format!(
                "NetworkManager does not serve for {interface}: {:#}",
                anyhow::Error::from(error)
            ),
            "do what the error says, or choose another way by wlan.by",
        ),
    }
    if place.choice == Choice::WpaSupplicant && Managed::open(&place.manager).await.is_ok() {
        found.warn(
            format!("NetworkManager manages {interface}, but is not to be asked"),
            format!(
                "say wlan.by = \"auto\", or have it leave the interface: `nmcli device set \
                 {interface} managed no`"
            ),
        );
    }
    by
}

fn key_file(path: &Path, found: &mut Findings) {
    let shown = path.display();
    match KeyRing::load(path) {
        Ok(_) => found.ok(format!("the key file {shown} is private and whole")),
        Err(KeyFileError::Missing(_)) => {
            found.ok(format!("the key file {shown} is not there yet; the device makes it"));
        }
        Err(error) => found.fail(
            format!("{:#}", anyhow::Error::from(error)),
            "repair it, or remove it: the device then asks for new credentials",
        ),
    }
}

/// The keys, and whether each way of traffic is by a network that has a module.
fn handoff(config: &Config, found: &mut Findings) {
    let Some(handoff) = &config.handoff else { return };
    match handoff.by_hand() {
        Some((_, file)) => match keys::by_hand(file) {
            Ok(_) => {
                let path = file.display();
                found.ok(format!("handoff.root_file {path} has a key, for this user alone"));
            }
            Err(error) => found.fail(
                format!("handoff.root_file: {error:#}"),
                "have it made by `homeward security-module new-root`, and enrol it with each network",
            ),
        },
        None => match keys::look(&config.state) {
            Ok(Some(version)) => {
                found.ok(format!("the portal has given hand-off keys, version {version}"));
            }
            Ok(None) => found.warn(
                "there are no hand-off keys yet: the portal is asked for them with credentials",
                "look again after the next request; the core needs [portal.handoff] to give them",
            ),
            Err(error) => found.warn(
                format!("the hand-off keys that are kept cannot be read: {error:#}"),
                "start the device: it asks the portal for others",
            ),
        },
    }
    if handoff.servers.is_empty() {
        found.warn(
            "handoff has no servers: the device proves itself to nobody",
            "list them as [[handoff.servers]], or leave [handoff] out",
        );
    }
    if handoff.network(None).is_none() {
        found.warn(
            "no network of handoff.networks is cellular: there are no hops on cellular",
            "say cellular = true of the one whose module the bearer reaches, if there is one",
        );
    }
}

/// Whether the charons of tunnels are there.
async fn tunnels(config: &Config, found: &mut Findings) {
    let tunnels = config.handoff.iter().flat_map(|handoff| &handoff.tunnels);
    for tunnel in tunnels {
        let (network, vici) = (&tunnel.network, tunnel.vici.display());
        match Charon::new(tunnel.vici.clone(), PATIENCE).version().await {
            Ok(Version { daemon, version }) => {
                found.ok(format!("{daemon} {version} answers at {vici}, for {network}"));
            }
            Err(error) => found.fail(
                format!("no tunnel to {network}: {}", error.in_full()),
                "is strongSwan running, with the plugin vici, and may this user write to its socket?",
            ),
        }
    }
}

fn authorities(config: &Config, found: &mut Findings) {
    for (key, path) in [("portal.ca", &config.portal.ca), ("wlan.ca", &config.wlan.ca)] {
        match portal::authorities(path) {
            Ok(roots) => found.ok(format!(
                "{key} {} has {} authorities that servers may be of",
                path.display(),
                roots.len()
            )),
            Err(error) => found.fail(
                format!("{key}: {error:#}"),
                "give the operator's authority in PEM, or install ca-certificates",
            ),
        }
    }
}

/// Looks at the authority for what comes by message; that there is a number without one is none of
/// its faults: policies need not have one.
fn messages(config: &Config, found: &mut Findings) {
    let Some(path) = &config.portal.sms.ca else { return };
    match config.portal.sms.messages() {
        Ok(_) => found.ok(format!("portal.sms.ca {} has an authority in it", path.display())),
        Err(error) => found.fail(
            format!("{error:#}"),
            "give the authority that the operator's access points' servers are of, in PEM",
        ),
    }
}

/// Looks at the modem; its line, if it has a bearer.
async fn modem(config: &Config, found: &mut Findings) -> Option<Line> {
    // Messages are left to the device that runs.
    let modem = match service::modem(&config.modem, None) {
        Ok(modem) => modem,
        Err(error) => {
            found.fail(format!("the modem cannot be watched: {error:#}"), "do what the error says");
            return None;
        }
    };
    let facts = settled(&modem).await;
    let Some(modem) = &facts.modem else {
        match facts.manager {
            false => found.fail(
                "ModemManager does not answer",
                "start it, name its bus as modem.bus, or say what it would: modem.imsi, \
                 modem.interface",
            ),
            true => found.fail(
                "ModemManager has no such modem",
                "`mmcli -L` lists those that it has; modem.imei chooses one",
            ),
        }
        return None;
    };
    if modem.imsi.is_none() {
        let (what, repair) = match modem.sim {
            Sim::Absent => ("the modem has no SIM", "put one in"),
            Sim::Locked => ("the SIM wants a PIN", "`mmcli --sim=PATH --pin=…`"),
            Sim::Unknown | Sim::Ready => ("the SIM does not say who it is", "look at `mmcli -m`"),
        };
        found.fail(what, repair);
    }
    if let Some(number) = &config.portal.sms.number {
        let number = number.as_str();
        match modem.messages {
            true => found.ok(format!("messages come and go: the portal can be asked at {number}")),
            false => found.warn(
                format!("no message can be sent to the portal's {number} now"),
                "see whether a network has the modem, and whether it can: `mmcli -m any`, \
                 `mmcli -m any --messaging-status`",
            ),
        }
    }
    let registered = matches!(modem.registration, Registration::Home | Registration::Roaming);
    match facts.usable() {
        Some(bearer) => {
            found.ok(format!("there is a cellular bearer, on {}", bearer.interface));
            Some(Line { interface: bearer.interface.clone(), addresses: bearer.addresses.clone() })
        }
        None => {
            let what = match registered || modem.registration == Registration::Unknown {
                true => "the modem has no bearer with an address",
                false => "the modem is not registered with a network",
            };
            found
                .warn(what, "credentials are asked for once it has: `mmcli -m … --simple-connect`");
            None
        }
    }
}

/// What is known of the modem once somebody knows of one, or after a while.
async fn settled(modem: &Modem) -> Facts {
    let mut watch = modem.watch();
    let known = watch.wait_for(|facts| facts.modem.is_some());
    let deadline = SystemClock.until(Some(SystemClock.now() + PATIENCE));
    tokio::select! {
        // An error would mean that its task has ended; then nothing more comes.
        _ = known => {}
        () = deadline => {}
    }
    modem.facts()
}

async fn portal(config: &config::Portal, line: &Line, found: &mut Findings) {
    let looked = match Portal::new(config, None) {
        Ok(portal) => portal.look(line).await.map_err(anyhow::Error::from),
        Err(error) => Err(error),
    };
    match looked {
        Ok(()) => found.ok(format!("the portal {} is there, and is the operator's", config.url)),
        Err(error) => found.fail(
            format!(
                "the portal {} is not to be had over {}: {error:#}",
                config.url, line.interface
            ),
            "check portal.url, portal.addresses and portal.ca, and whether the APN leads to it",
        ),
    }
}

/// Whether Wi-Fi leads anywhere, if it is on a network.
async fn wifi(config: &Config, found: &mut Findings) {
    let interface = config.wlan.interface.clone();
    let addresses = addresses::look(&interface).addresses;
    if addresses.is_empty() {
        found.ok(format!("{interface} is on no network"));
        return;
    }
    let Ok(target) = config.check.target() else { return };
    let line = Line { interface: interface.clone(), addresses };
    match probe::look(&target, &line).await {
        Connectivity::Open => found.ok(format!("{interface} reaches {}", config.check.url)),
        Connectivity::Captive => found.warn(
            format!("{interface} is on a network that answers for {} itself", config.check.url),
            "it wants to be visited first, or check.url is not a page that answers 204",
        ),
        Connectivity::Dead => found.warn(
            format!("{interface} has an address, but does not reach {}", config.check.url),
            "check check.url and its addresses; connections stay on cellular",
        ),
    }
}
