//! What roamers need to get anywhere: the firewall, the owner's line and LAN, the tunnels' port,
//! and the channel to the controller.

use std::net::{SocketAddr, UdpSocket};

use homeward_channel::doctor::Who;
use homeward_daemon::doctor::Findings;
use homeward_daemon::{Request, control};
use homeward_linux::{Firewall, Links};
use serde_json::Value;

use super::chain;
use crate::config::Config;
use crate::wall::Wall;

/// How this end of the control channel is called.
const WHO: Who = Who {
    role: "gateway",
    key: "channel.core",
    enrol: "have the operator run `homeward admin gateway enrol NAME`, and give the token to `homeward gateway enrol`",
};

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
    homeward_channel::doctor::examine(&config.channel, &WHO, found).await;
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

#[cfg(test)]
mod tests;
