//! The core's status, for people.

use serde_json::Value;

use crate::answer::{list, since, text, unenrolled};
use crate::output::{Table, fields};

/// The whole status: look-ups, and the control channel if there is one.
pub(super) fn show(status: &Value) -> String {
    let mut text = summary(status);
    let controller = &status["controller"];
    if controller.is_object() {
        text.push_str("\nControl channel\n");
        text.push_str(&channel(controller));
        text.push_str("\nGateways\n");
        text.push_str(&gateways(controller));
        text.push_str("\nTunnels\n");
        text.push_str(&tunnels(controller));
        text.push_str("\nDevices\n");
        text.push_str(&devices(controller));
    }
    if status["portal"].is_object() {
        text.push_str("\nPortal\n");
        text.push_str(&portal(&status["portal"]));
    }
    if status["security_module"].is_object() {
        text.push_str("\nSecurity module\n");
        text.push_str(&security_module(&status["security_module"]));
    }
    text
}

/// The network's security module: what peers are to know of it, and what it holds.
fn security_module(module: &Value) -> String {
    fields(&[
        ("network", text(&module["network"])),
        ("key", text(&module["key"])),
        ("peers on", addresses(&module["listen"])),
        ("devices on", addresses(&module["devices_listen"])),
        ("devices enrolled", count(&module["enrolled"])),
        ("hops held", count(&module["visits"])),
        ("not told yet", count(&module["untold"])),
        ("not enrolled yet at", unenrolled(&module["unenrolled"])),
    ])
}

/// Where devices get credentials, and what became of their requests.
fn portal(portal: &Value) -> String {
    let http = &portal["http"];
    let answered = portal["answered"].as_object().into_iter().flatten();
    let outcomes: Vec<String> = answered.map(|(what, n)| format!("{} {what}", count(n))).collect();
    fields(&[
        ("listening on", addresses(&portal["listen"])),
        ("API on", addresses(&portal["api"])),
        ("certificate", certificate(&portal["acme"])),
        ("SMSC", messages(&portal["sms"])),
        ("connections", format!("{} open of {}", count(&http["open"]), count(&http["accepted"]))),
        ("handshakes failed", count(&http["handshakes_failed"])),
        ("requests", count(&http["requests"])),
        ("answered", if outcomes.is_empty() { "0".to_owned() } else { outcomes.join(", ") }),
    ])
}

/// Where the portal's certificate comes from, and how long it is good.
fn certificate(acme: &Value) -> String {
    if acme.is_null() {
        return "from files".to_owned();
    }
    let from = text(&acme["directory"]);
    let next = text(&acme["next"]);
    let has = match acme["expires"].as_str() {
        Some(_) => format!("until {}", text(&acme["expires"])),
        None => "none yet, so TLS is not answered".to_owned(),
    };
    match acme["trouble"].as_str() {
        Some(_) => format!(
            "{has}; {from} asked {} times in vain, next at {next}: {}",
            count(&acme["failures"]),
            text(&acme["trouble"]),
        ),
        None => format!("{has}; {from} asked for the next at {next}"),
    }
}

/// The session with the SMSC, and what came and went by it.
fn messages(sms: &Value) -> String {
    if sms.is_null() {
        return "none".to_owned();
    }
    let smsc = text(&sms["smsc"]);
    let session = match (sms["bound"].as_bool(), sms["trouble"].as_str()) {
        (Some(true), _) => format!("{smsc} bound"),
        (_, Some(_)) => format!("{smsc} not bound: {}", text(&sms["trouble"])),
        _ => format!("{smsc} not bound"),
    };
    let all = |counts: &Value| -> u64 {
        counts.as_object().into_iter().flatten().filter_map(|(_, n)| n.as_u64()).sum()
    };
    format!(
        "{session}; {} messages received, {} of {} answers sent, {} in hand",
        all(&sms["received"]),
        count(&sms["answers"]["sent"]),
        all(&sms["answers"]),
        count(&sms["in_hand"]),
    )
}

fn summary(status: &Value) -> String {
    let lookups = &status["lookups"];
    let records = ["accounts", "classes", "gateways", "networks", "devices"]
        .map(|kind| format!("{} {kind}", count(&status["records"][kind])));
    let refused: Vec<String> = lookups["refused"]
        .as_object()
        .into_iter()
        .flatten()
        .map(|(reason, n)| format!("{} {reason}", count(n)))
        .collect();
    fields(&[
        ("version", text(&status["version"])),
        ("up", since(&status["uptime_ms"])),
        ("listening on", addresses(&status["listen"])),
        ("records", records.join(", ")),
        ("datagrams", datagrams(&status["sockets"])),
        ("granted", count(&lookups["granted"])),
        ("refused", if refused.is_empty() { "0".to_owned() } else { refused.join(", ") }),
        ("repeated", count(&lookups["duplicates"])),
        ("status-server", count(&lookups["status_server"])),
        ("grants out", count(&status["grants_out"])),
        ("accounting", accounting(&status["accounting"])),
        ("partners", partners(&status["partners"])),
    ])
}

/// How many came, and how many did not for want of room.
fn datagrams(sockets: &Value) -> String {
    let received = count(&sockets["received"]);
    match sockets["dropped"].as_u64() {
        None | Some(0) => received,
        Some(dropped) => format!("{received}, {dropped} more dropped by the kernel"),
    }
}

/// What the ledger has done, in a line.
fn accounting(accounting: &Value) -> String {
    if accounting.is_null() {
        return "off".to_owned();
    }
    let counters = &accounting["counters"];
    let failed = ["failed_locked", "failed_full", "failed_io", "failed_gone", "failed_database"];
    let failed: u64 = failed.iter().filter_map(|kind| counters[kind].as_u64()).sum();
    let dropped = accounting["sockets"]["dropped"].as_u64().filter(|n| *n > 0);
    let dropped = dropped.map(|n| format!(", {n} dropped by the kernel")).unwrap_or_default();
    format!(
        "{}: {} records kept, {} repeated, {} waiting, {failed} transactions failed{dropped}",
        addresses(&accounting["listen"]),
        count(&counters["durable"]),
        count(&counters["repeated"]),
        count(&accounting["waiting"]),
    )
}

/// Partners' servers, and whether they answer.
fn partners(servers: &Value) -> String {
    let server = |s: &Value| match (s["connections"].as_u64(), s["last_error"].as_str()) {
        (Some(0), Some(why)) => format!("{} not connected: {why}", text(&s["server"])),
        _ => format!("{} {}", text(&s["server"]), text(&s["health"])),
    };
    let servers: Vec<String> = list(servers).iter().map(server).collect();
    if servers.is_empty() { "none".to_owned() } else { servers.join(", ") }
}

fn channel(controller: &Value) -> String {
    let (totals, counters) = (&controller["totals"], &controller["counters"]);
    fields(&[
        ("listening on", addresses(&controller["listen"])),
        ("STUN on", addresses(&controller["stun"])),
        (
            "gateways",
            format!("{} connected of {}", count(&totals["connected"]), count(&totals["gateways"])),
        ),
        ("tunnels", count(&totals["tunnels"])),
        ("devices", count(&totals["devices"])),
        ("prepared", count(&totals["prepared"])),
        (
            "moves",
            format!(
                "{}, {} of them prepared",
                count(&counters["moves"]),
                count(&counters["came_prepared"])
            ),
        ),
    ])
}

fn gateways(controller: &Value) -> String {
    let mut table = Table::new([
        "gateway", "state", "for", "from", "software", "tunnels", "devices", "prepared", "note",
    ]);
    for gateway in list(&controller["gateways"]) {
        let connected = !gateway["channel"].is_null();
        let denied: Vec<String> = list(&gateway["denied"])
            .iter()
            .map(|denied| format!("network {}: {}", text(&denied[0]), text(&denied[1])))
            .collect();
        table.row([
            text(&gateway["name"]),
            if connected { "connected" } else { "away" }.to_owned(),
            since(&gateway["since_ms"]),
            text(&gateway["observed_address"]),
            text(&gateway["software"]),
            count(&gateway["tunnels"]),
            count(&gateway["devices"]),
            count(&gateway["prepared"]),
            denied.join("; "),
        ]);
    }
    table.to_string()
}

fn tunnels(controller: &Value) -> String {
    let name = |end: &Value| {
        let all = list(&controller["gateways"]).iter();
        let found = all.clone().find(|g| g["gateway"] == end["gateway"]);
        found.map_or_else(|| text(&end["gateway"]), |g| text(&g["name"]))
    };
    let mut table = Table::new([
        "tunnel",
        "network",
        "home",
        "state",
        "foreign",
        "state",
        "encryption",
        "for",
        "note",
    ]);
    for tunnel in list(&controller["tunnels"]) {
        let (home, foreign) = (&tunnel["home"], &tunnel["foreign"]);
        let notes: Vec<String> = [home, foreign]
            .iter()
            .filter(|end| end["reason"].as_str().is_some_and(|reason| !reason.is_empty()))
            .map(|end| format!("{}: {}", name(end), text(&end["reason"])))
            .collect();
        table.row([
            text(&tunnel["tunnel"]),
            text(&tunnel["network"]),
            name(home),
            text(&home["state"]),
            name(foreign),
            text(&foreign["state"]),
            text(&tunnel["encryption"]),
            since(&tunnel["since_ms"]),
            notes.join("; "),
        ]);
    }
    table.to_string()
}

fn devices(controller: &Value) -> String {
    let name = |gateway: &Value| {
        let mut all = list(&controller["gateways"]).iter();
        all.find(|g| g["gateway"] == *gateway).map_or_else(|| text(gateway), |g| text(&g["name"]))
    };
    let mut table = Table::new(["mac", "network", "at", "for", "signal", "prepared at"]);
    for device in list(&controller["devices"]) {
        let mut at = name(&device["gateway"]);
        if device["at_home"] == true {
            at.push_str(" (home)");
        }
        let prepared: Vec<String> = list(&device["prepared"])
            .iter()
            .map(|p| format!("{}{}", name(&p[0]), if p[1] == true { "" } else { " (not yet)" }))
            .collect();
        let signal = device["signal"].as_i64().map(|dbm| format!("{dbm} dBm"));
        table.row([
            text(&device["mac"]),
            text(&device["network"]),
            at,
            since(&device["connected_ms"]),
            signal.unwrap_or_default(),
            prepared.join(", "),
        ]);
    }
    table.to_string()
}

fn count(value: &Value) -> String {
    value.as_u64().unwrap_or(0).to_string()
}

fn addresses(value: &Value) -> String {
    let all: Vec<&str> = list(value).iter().filter_map(Value::as_str).collect();
    all.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn lookups() -> Value {
        json!({
            "role": "core", "version": "0.1.0", "uptime_ms": 61_000, "listen": ["127.0.0.1:1812"],
            "sockets": {"received": 12, "dropped": 0}, "grants_out": 1,
            "lookups": {"granted": 3, "refused": {"unknown-device": 4}, "duplicates": 0, "status_server": 1},
            "records": {"accounts": 1, "classes": 1, "gateways": 2, "networks": 1, "devices": 5},
        })
    }

    #[test]
    fn a_status_shows_what_was_granted_and_why_the_rest_was_not() {
        let text = show(&lookups());
        assert!(text.contains("up             1m1s\n"), "{text}");
        assert!(text.contains("datagrams      12\n"), "{text}");
        let mut flooded = lookups();
        flooded["sockets"]["dropped"] = json!(7);
        flooded["accounting"] = json!({
            "listen": [], "sockets": {"dropped": 9}, "waiting": 0,
            "counters": {"durable": 1, "repeated": 0},
        });
        let text = show(&flooded);
        assert!(text.contains("12, 7 more dropped by the kernel\n"), "{text}");
        assert!(text.contains("0 transactions failed, 9 dropped by the kernel\n"), "{text}");
        assert!(
            text.contains(
                "records        1 accounts, 1 classes, 2 gateways, 1 networks, 5 devices\n"
            ),
            "{text}"
        );
        assert!(text.contains("refused        4 unknown-device\n"), "{text}");
        assert!(!text.contains("Control channel"), "{text}");
    }

    #[test]
    fn a_status_shows_what_became_of_requests_for_credentials() {
        let mut status = lookups();
        status["portal"] = json!({
            "listen": ["10.1.0.1:443"], "api": [],
            "http": {"open": 3, "accepted": 9, "handshakes_failed": 1, "requests": 8},
            "answered": {"issued": 4, "no-bearer": 2},
        });
        let text = show(&status);
        assert!(text.contains("\nPortal\n"), "{text}");
        assert!(text.contains("3 open of 9\n"), "{text}");
        assert!(text.contains("4 issued, 2 no-bearer\n"), "{text}");
        assert!(text.contains("SMSC               none\n"), "{text}");
        assert!(!show(&lookups()).contains("Portal"));
        assert!(text.contains("certificate        from files\n"), "{text}");
        status["portal"]["acme"] = json!({
            "directory": "https://acme/", "names": ["portal"], "expires": "2026-04-01T00:00:00.000Z",
            "failures": 0, "trouble": null, "next": "2026-03-01T00:00:00.000Z",
        });
        let good = "until 2026-04-01T00:00:00.000Z; https://acme/ asked for the next at 2026-03-01T00:00:00.000Z\n";
        assert!(show(&status).contains(good), "{}", show(&status));
        let acme = &mut status["portal"]["acme"];
        (acme["expires"], acme["failures"]) = (Value::Null, json!(3));
        acme["trouble"] = json!("port 443 does not lead here");
        let bad = "none yet, so TLS is not answered; https://acme/ asked 3 times in vain, next at \
                   2026-03-01T00:00:00.000Z: port 443 does not lead here\n";
        assert!(show(&status).contains(bad), "{}", show(&status));
        status["portal"]["sms"] = json!({
            "smsc": "smsc:2775", "bound": true, "trouble": null, "in_hand": 1,
            "received": {"whole": 4, "receipt": 2}, "answers": {"sent": 2, "refused": 1},
        });
        let bound = "smsc:2775 bound; 6 messages received, 2 of 3 answers sent, 1 in hand\n";
        assert!(show(&status).contains(bound), "{}", show(&status));
        status["portal"]["sms"]["bound"] = json!(false);
        status["portal"]["sms"]["trouble"] = json!("wrong password");
        assert!(show(&status).contains("smsc:2775 not bound: wrong password; 6"));
    }

    #[test]
    fn a_status_shows_who_is_connected_which_tunnels_there_are_and_what_is_prepared() {
        let mut status = lookups();
        let gateway = |id: u32, name: &str, channel: Value| {
            json!({
                "gateway": id, "name": name, "channel": channel, "since_ms": 61_000,
                "observed_address": "192.0.2.7", "software": "homeward 0.1.0\u{1b}[2J",
                "tunnels": 1, "devices": 1, "prepared": 0, "denied": [],
            })
        };
        let mut third = gateway(3, "gw-3", Value::Null);
        third["denied"] = json!([[9, "no-home-gateway"]]);
        let end = |gateway: u32, state: &str, reason: Value| json!({ "gateway": gateway, "state": state, "reason": reason, "path_mtu": null });
        status["controller"] = json!({
            "listen": ["0.0.0.0:4719"], "stun": ["0.0.0.0:3478"],
            "gateways": [gateway(1, "gw-1", json!(4)), gateway(2, "gw-2", json!(5)), third],
            "tunnels": [{
                "tunnel": 7, "network": 3, "encryption": "required", "since_ms": 60_000,
                "home": end(1, "up", Value::Null),
                "foreign": end(2, "unreachable", json!("no answer")),
            }],
            "devices": [{
                "mac": "02:00:00:00:00:01", "network": 3, "gateway": 2, "connected_ms": 59_000,
                "signal": -48, "at_home": false, "settled": false, "prepared": [[3, false]],
            }],
            "totals": {"connected": 2, "gateways": 3, "tunnels": 1, "devices": 1, "prepared": 1},
            "counters": {"moves": 5, "came_prepared": 4},
        });
        insta::assert_snapshot!(show(&status));
    }
}
