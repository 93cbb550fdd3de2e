//! What is between this gateway and the others, as the gateway that runs has found it.

use homeward_control::link::TunnelStatus;
use homeward_control::{TunnelState, link};
use homeward_daemon::doctor::Findings;
use homeward_daemon::{Request, control};
use homeward_stun::Nat;
use serde::Deserialize;
use serde_json::Value;

use crate::config::Config;

/// Of the status of a running gateway, what counts here.
#[derive(Deserialize)]
struct Seen {
    nat: Nat,
    servers: Vec<Server>,
}

#[derive(Deserialize)]
struct Server {
    server: String,
    mapped: Option<String>,
}

pub(super) async fn examine(config: &Config, found: &mut Findings) {
    // One that does not run has found nothing.
    if let Ok(status) = control::ask(&config.control.socket, &Request::new("status")).await {
        read(config, &status, found);
    }
}

pub(super) fn read(config: &Config, status: &Value, found: &mut Findings) {
    if let Ok(seen) = Seen::deserialize(&status["reflexive"]) {
        say(config, &seen, found);
    }
    let Ok(channel) = link::Status::deserialize(&status["channel"]) else { return };
    for tunnel in &channel.tunnels {
        if let TunnelStatus { state: Some(TunnelState::Unreachable), reason, repair, .. } = tunnel {
            let why = reason.as_deref().unwrap_or("the other gateway does not answer");
            found.warn(
                format!("the tunnel to {} does not come up: {why}", tunnel.peer),
                repair.as_deref().unwrap_or("see whether the other gateway runs"),
            );
        }
    }
}

fn say(config: &Config, seen: &Seen, found: &mut Findings) {
    let places = list(seen.servers.iter().filter_map(|server| server.mapped.clone()));
    let servers = list(seen.servers.iter().map(|server| server.server.clone()));
    let port = config.tunnel.listen.first().map_or(1701, std::net::SocketAddr::port);
    if seen.servers.is_empty() {
        return found
            .ok("the core does not say how the Internet sees this gateway (STUN is off there)");
    }
    match seen.nat {
        Nat::Unknown => found.warn(
            format!("the core does not answer at {servers}, so how the Internet sees this gateway is not known"),
            format!("let UDP out to there, from port {port}, and its answers in"),
        ),
        Nat::None => found.ok(format!("no NAT: the Internet sees this gateway at {places}")),
        Nat::SameForAll => found.ok(format!(
            "behind a NAT, which shows everybody the same: {places}; gateways behind others like it are reached as well"
        )),
        Nat::Behind => found.ok(format!(
            "behind a NAT: the Internet sees this gateway at {places}; whether all see it there is not known, for one server answers (two addresses in controller.stun of the core tell)"
        )),
        // With a port forwarded nobody has to be told what the NAT shows.
        Nat::PerDestination if !config.tunnel.advertise.is_empty() => found.ok(format!(
            "behind a NAT, which shows each another port ({places}); others are told tunnel.advertise"
        )),
        Nat::PerDestination => found.warn(
            format!("behind a NAT, which shows each whom this gateway sends to another port ({places}): it is reached from gateways that it reaches itself, and from none behind a NAT that lets in only what was asked for"),
            format!("forward UDP port {port} to this gateway, and set tunnel.advertise to the address it is forwarded from"),
        ),
    }
}

/// Each once, in order.
fn list(all: impl Iterator<Item = String>) -> String {
    let mut seen: Vec<String> = Vec::new();
    for one in all {
        if !seen.contains(&one) {
            seen.push(one);
        }
    }
    seen.join(", ")
}

#[cfg(test)]
mod tests {
    use homeward_daemon::doctor::{Finding, Severity};
    use serde_json::json;

    use super::*;
    use crate::testing::config;

    fn findings(text: &str, status: &Value) -> Vec<Finding> {
        let mut found = Findings::default();
        read(&config(text), status, &mut found);
        found.into_vec()
    }

    fn seen(nat: &str, mapped: &[Option<&str>]) -> Value {
        let servers = mapped.iter().zip(3478..).map(|(mapped, port)| {
            json!({"server": format!("192.0.2.1:{port}"), "local": null, "mapped": mapped,
                   "answered_ms": 7})
        });
        json!({"channel": null, "reflexive": {"nat": nat, "servers": servers.collect::<Vec<_>>()}})
    }

    #[test]
    fn what_stun_has_found_is_said_in_words_and_what_to_do_where_it_is_bad() {
        let (here, there) = (Some("198.51.100.7:1701"), Some("198.51.100.7:40001"));
        let forwarded = "[tunnel]\nadvertise = [\"198.51.100.7:1701\"]\n";
        let other_port = "[tunnel]\nlisten = [\"[::]:4500\"]\n";
        for (text, nat, mapped, severity, part) in [
            ("", "none", &[here][..], Severity::Ok, "no NAT"),
            ("", "same-for-all", &[here, here], Severity::Ok, "the same: 198.51.100.7:1701;"),
            ("", "behind", &[here], Severity::Ok, "two addresses in controller.stun"),
            ("", "unknown", &[None], Severity::Warn, "192.0.2.1:3478"),
            ("", "unknown", &[], Severity::Ok, "STUN is off"),
            ("", "per-destination", &[here, there], Severity::Warn, "forward UDP port 1701"),
            (other_port, "per-destination", &[here, there], Severity::Warn, "UDP port 4500"),
            (forwarded, "per-destination", &[here, there], Severity::Ok, "tunnel.advertise"),
        ] {
            let found = findings(text, &seen(nat, mapped));
            let [Finding { severity: is, what, repair }] = &found[..] else { panic!("{found:?}") };
            let said = format!("{what} -> {}", repair.as_deref().unwrap_or_default());
            assert!(*is == severity && said.contains(part), "{nat}: {is:?} {said}");
        }
        assert_eq!(findings("", &json!({"channel": null})), [], "a gateway of before");
    }

    #[test]
    fn a_tunnel_that_does_not_come_up_is_named_with_the_reason_and_the_repair() {
        let tunnel = |state: &str| {
            json!({"tunnel": 9, "network": 3, "side": "home", "peer": "elm-17",
                   "encryption": "required", "devices": 1, "state": state, "state_ms": 5,
                   "reason": "both are behind NATs", "repair": "forward UDP port 1701",
                   "path_mtu": null})
        };
        let status = json!({"channel": {
            "state": "open", "state_ms": 1, "retry_ms": null, "attempts": 0, "problem": null,
            "goodbye": null, "offline_ms": null, "expired": false, "gateway": 7, "name": "oak",
            "inner_address": null, "observed_address": null, "version": 1,
            "tunnels": [tunnel("unreachable"), tunnel("up")], "denied": [], "wants": 0,
            "devices": 0, "prepared": 0,
        }});
        let found = findings("", &status);
        let [Finding { severity: Severity::Warn, what, repair: Some(repair) }] = &found[..] else {
            panic!("{found:?}")
        };
        assert!(what.contains("elm-17") && what.contains("both are behind NATs"), "{what}");
        assert_eq!(repair, "forward UDP port 1701");
    }
}
