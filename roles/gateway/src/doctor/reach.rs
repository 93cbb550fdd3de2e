//! What roamers need to get anywhere: the firewall, the owner's line and LAN, the tunnels' port,
//! and the channel to the controller.

use std::net::{SocketAddr, UdpSocket};
use std::path::Path;
use std::time::Duration;

use homeward_channel::{ChannelConfig, Credential, read_token};
use homeward_daemon::doctor::Findings;
use homeward_daemon::{Request, SystemClock, control};
use homeward_linux::{Firewall, Links};
use homeward_model::{Clock, UnixTime};
use serde_json::Value;
use tokio::net::TcpStream;

use super::chain;
use crate::config::Config;
use crate::wall::Wall;

/// How long a controller may take to take a connection.
const PATIENCE: Duration = Duration::from_secs(5);

pub(super) async fn examine(config: &Config, found: &mut Findings) {
    firewall(config, &Firewall::default(), found);
    for uplink in &config.roam.uplinks {
        uplink_of("roam.uplinks", uplink, found);
    }
    if let Some(uplink) = &config.owner.uplink {
        uplink_of("owner.uplink", uplink, found);
    }
    home_bridge(config, found);
    if config.channel.core.is_empty() {
        found.ok("no controller is configured: all roamers' traffic leaves here");
        return;
    }
    port(config, found).await;
    credential(&config.channel, SystemClock.unix(), found);
    controllers(&config.channel.core, found).await;
}

fn firewall(config: &Config, firewall: &Firewall, found: &mut Findings) {
    let rules = Wall::rules(config);
    if rules == homeward_linux::Rules::default() {
        return;
    }
    let support = match firewall.check() {
        Ok(support) => support,
        Err(error) => {
            return found.fail(
                chain(error),
                "without it the gateway does not start: roamers would be let into it",
            );
        }
    };
    let lacks = support.findings(&rules);
    if lacks.is_empty() {
        found.ok(format!("the firewall can keep roamers off this machine ({})", support.version));
    }
    for lack in lacks {
        match lack.fatal {
            true => found.fail(lack.what, lack.repair),
            false => found.warn(lack.what, lack.repair),
        }
    }
}

fn uplink_of(key: &str, name: &str, found: &mut Findings) {
    match Links::open().and_then(|mut links| links.by_name(name)) {
        Ok(Some(link)) if !link.up => {
            found.warn(
                format!("the uplink {name} ({key}) is down"),
                format!("`ip link set {name} up`"),
            );
        }
        Ok(Some(_)) => found.ok(format!("the uplink {name} ({key}) is up")),
        Ok(None) => found.fail(
            format!("there is no uplink {name} ({key})"),
            format!("set {key} to what leads to the Internet (`ip route show default` names it)"),
        ),
        Err(error) => found.fail(chain(error), format!("correct {key}, and look at `ip -d link`")),
    }
}

fn home_bridge(config: &Config, found: &mut Findings) {
    let Some(name) = &config.home.bridge else { return };
    if config.channel.core.is_empty() {
        return found.warn(
            format!("home.bridge {name} is of no use: no controller brings tunnels to it"),
            "set channel.core, or leave home.bridge out",
        );
    }
    match Links::open().and_then(|mut links| links.by_name(name)) {
        Ok(Some(link)) if !link.is_bridge() => found.fail(
            format!("{name} (home.bridge) is no bridge"),
            format!("make one (`ip link add br-lan type bridge`), put {name} into it with the LAN's other interfaces, and set home.bridge to it"),
        ),
        Ok(Some(link)) if !link.up => found.fail(
            format!("the bridge {name} of the owner's LAN (home.bridge) is down"),
            format!("`ip link set {name} up`"),
        ),
        Ok(Some(_)) => found.ok(format!("the bridge {name} of the owner's LAN is up")),
        Ok(None) => found.fail(
            format!("there is no bridge {name} (home.bridge)"),
            "set home.bridge to the bridge of the owner's LAN (`ip link show type bridge` lists them), or leave it out: no tunnel ends here then",
        ),
        Err(error) => found.fail(chain(error), "correct home.bridge, and look at `ip -d link`"),
    }
}

/// The port is free, or the gateway that runs has it.
async fn port(config: &Config, found: &mut Findings) {
    for address in &config.tunnel.listen {
        match UdpSocket::bind(address) {
            Ok(_) => found.ok(format!("UDP {address} is free for tunnels")),
            Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => {
                match control::ask(&config.control.socket, &Request::new("status")).await {
                    Ok(status) if listens(&status, address.port()) => {
                        found.ok(format!("the gateway that runs listens on UDP {address}"));
                    }
                    _ => found.fail(
                        format!("UDP {address} (tunnel.listen) is in use, and not by the gateway"),
                        format!(
                            "stop who has it (`ss -lunp sport = :{}` names them), or set tunnel.listen to another port",
                            address.port()
                        ),
                    ),
                }
            }
            Err(error) => found.fail(
                format!("UDP {address} (tunnel.listen) cannot be had: {error}"),
                "set tunnel.listen to addresses of this machine, such as \"[::]:1701\"",
            ),
        }
    }
}

/// Whether a running gateway has that port.
fn listens(status: &Value, port: u16) -> bool {
    let addresses = status["listen"].as_array().into_iter().flatten().filter_map(Value::as_str);
    addresses.filter_map(|text| text.parse::<SocketAddr>().ok()).any(|own| own.port() == port)
}

fn credential(config: &ChannelConfig, now: UnixTime, found: &mut Findings) {
    const ENROL: &str = "have the operator run `homeward admin gateway enrol NAME`, and give the token to `homeward gateway enrol`";
    let directory = config.directory.display();
    let credential = match Credential::load(&config.directory) {
        Ok(Some(credential)) => credential,
        Ok(None) => return token(config.token_file.as_deref(), ENROL, found),
        Err(error) => return found.fail(chain(error), ENROL),
    };
    let (name, facts) = (credential.name(), credential.facts());
    if now >= facts.not_after {
        found.fail(
            format!("the credential of {name} in {directory} ended at {}", facts.not_after),
            format!("start the gateway: it renews the credential if the controller still takes it; else {ENROL}"),
        );
    } else if now < facts.not_before {
        found.fail(
            format!(
                "the credential of {name} in {directory} begins at {}, and now it is {now}",
                facts.not_before
            ),
            "set this machine's clock",
        );
    } else if now >= credential.renew_at() {
        found.warn(
            format!("the credential of {name} is good until {}, and its renewal is due", facts.not_after),
            "start the gateway, which renews it; if it runs, see why it does not reach the controller (`homeward gateway status`)",
        );
    } else {
        found.ok(format!("the credential of {name} is good until {}", facts.not_after));
    }
}

fn token(path: Option<&Path>, enrol: &str, found: &mut Findings) {
    match path.map(|path| (path, read_token(path))) {
        None => found.fail("this gateway has no credential for the controller", enrol),
        Some((path, Ok(_))) => found.ok(format!(
            "no credential for the controller yet: the token in {} gets one",
            path.display()
        )),
        Some((_, Err(error))) => found.fail(chain(error), enrol),
    }
}

/// Whether the controllers take connections. More is not tried: one that is let in would take the
/// place of the gateway that runs.
async fn controllers(core: &[String], found: &mut Findings) {
    let mut silent = Vec::new();
    for address in core {
        match tokio::time::timeout(PATIENCE, TcpStream::connect(address)).await {
            Ok(Ok(_)) => found.ok(format!("the controller {address} takes connections")),
            Ok(Err(error)) => silent.push((address, error.to_string())),
            Err(_) => silent.push((address, format!("no answer within {} s", PATIENCE.as_secs()))),
        }
    }
    let none = silent.len() == core.len();
    for (address, why) in silent {
        let what = format!("the controller {address} (channel.core): {why}");
        let repair = "look whether it runs there, whether its name resolves, and whether a firewall lets TCP to that port through";
        match none {
            true => found.fail(what, repair),
            // The others do.
            false => found.warn(what, repair),
        }
    }
}

#[cfg(test)]
mod tests;
