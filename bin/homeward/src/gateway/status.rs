//! A gateway's status, for people.

use serde_json::Value;

use crate::answer::{ago, counters, list, printable, seen, since, text};
use crate::output::{Table, fields};
use crate::role::span;

/// The whole status: the gateway, its servers, VAPs, devices, memory and counters.
pub(super) fn show(status: &Value) -> String {
    let radio = &status["radio"];
    let mut text = summary(status, radio);
    text.push_str("\nCore\n");
    text.push_str(&servers(status));
    if !status["channel"].is_null() {
        text.push_str("\nController\n");
        text.push_str(&controller(&status["channel"], &status["reflexive"]));
        text.push_str("\nTunnels\n");
        text.push_str(&tunnels(status));
    }
    text.push_str("\nVAPs\n");
    text.push_str(&vaps(radio));
    text.push_str("\nDevices\n");
    text.push_str(&devices(radio));
    text.push_str("\nMemory\n");
    text.push_str(&memory(radio));
    text.push_str("\nCounters\n");
    text.push_str(&counters(&[("", &radio["counters"]), ("heard ", &status["heard"])]));
    text
}

fn summary(status: &Value, radio: &Value) -> String {
    let hostapd = if radio["hostapd_ready"] == true { "ready" } else { "away" };
    let entries = list(&radio["memory"]).len();
    let mut lines = vec![
        ("gateway", text(&status["name"])),
        ("version", text(&status["version"])),
        ("up", since(&status["uptime_ms"])),
        ("interface", text(&status["interface"])),
        ("bridge", text(&status["bridge"])),
        ("hostapd", hostapd.to_owned()),
        ("memory", format!("{entries} of {} entries", text(&radio["memory_limit"]))),
    ];
    if let Some(home) = radio["home"].as_object() {
        let confirmed = if home.get("confirmed") == Some(&Value::Bool(true)) {
            ""
        } else {
            ", not confirmed yet"
        };
        let ssid = home.get("ssid").map(text).unwrap_or_default();
        lines.push(("home", format!("{ssid}{confirmed}")));
        if let Some(error) = home.get("error").and_then(Value::as_str) {
            lines.push(("home error", error.to_owned()));
        }
    }
    fields(&lines)
}

fn servers(status: &Value) -> String {
    let mut table = Table::new(["server", "state"]);
    for server in list(&status["core"]) {
        let state = if server["up"] == true { "up" } else { "down" };
        table.row([text(&server["address"]), state.to_owned()]);
    }
    table.to_string()
}

/// The channel to the controller, and what is wanted of it in vain.
fn controller(channel: &Value, reflexive: &Value) -> String {
    let mut lines =
        vec![("channel", text(&channel["state"])), ("for", since(&channel["state_ms"]))];
    let known = [
        ("known as", "name"),
        ("seen at", "observed_address"),
        ("inside tunnels", "inner_address"),
        ("problem", "problem"),
    ];
    for (name, field) in known {
        if !channel[field].is_null() {
            lines.push((name, text(&channel[field])));
        }
    }
    lines.extend(seen(reflexive).map(|seen| ("from outside", seen)));
    if let Some(ms) = channel["retry_ms"].as_u64() {
        lines.push(("tries again in", span(ms)));
    }
    if channel["goodbye"] == "revoked" {
        lines.push(("to do", "have the operator enrol this gateway anew".to_owned()));
    }
    if channel["expired"] == true {
        lines.push(("note", "away for too long: only tunnels that are up go on".to_owned()));
    }
    for denied in list(&channel["denied"]) {
        let network = text(&denied["network"]);
        lines.push(("no tunnel", format!("for network {network}: {}", text(&denied["message"]))));
    }
    fields(&lines)
}

fn tunnels(status: &Value) -> String {
    let mut table = Table::new([
        "tunnel",
        "network",
        "end",
        "peer",
        "state",
        "for",
        "interface",
        "endpoint",
        "mtu",
        "sent",
        "received",
        "dropped",
        "note",
    ]);
    for tunnel in list(&status["channel"]["tunnels"]) {
        let carried = list(&status["tunnels"]).iter().find(|t| t["tunnel"] == tunnel["tunnel"]);
        let carried = carried.unwrap_or(&Value::Null);
        let dropped = carried["drops"].as_object().into_iter().flatten();
        let dropped: u64 = dropped.filter_map(|(_, count)| count.as_u64()).sum();
        let encrypted = if tunnel["encryption"] == "off" { ", in the clear" } else { "" };
        table.row([
            text(&tunnel["tunnel"]),
            text(&tunnel["network"]),
            text(&tunnel["side"]),
            text(&tunnel["peer"]),
            format!("{}{encrypted}", text(&tunnel["state"])),
            since(&tunnel["state_ms"]),
            text(&carried["tap"]),
            text(&carried["endpoint"]),
            text(&carried["path_mtu"]),
            octets(&carried["sent"]["octets"]),
            octets(&carried["received"]["octets"]),
            dropped.to_string(),
            text(&tunnel["reason"]),
        ]);
    }
    let mut shown = table.to_string();
    // Whole sentences, which the table has no room for.
    for tunnel in list(&status["channel"]["tunnels"]) {
        if let Some(repair) = tunnel["repair"].as_str() {
            let (number, repair) = (text(&tunnel["tunnel"]), printable(repair));
            shown.push_str(&format!("to do for tunnel {number}: {repair}\n"));
        }
    }
    shown
}

/// An amount of data in its largest unit, to a decimal.
fn octets(value: &Value) -> String {
    const UNITS: [(&str, u64); 3] = [("GB", 1_000_000_000), ("MB", 1_000_000), ("kB", 1000)];
    let Some(count) = value.as_u64() else { return String::new() };
    match UNITS.iter().find(|(_, unit)| count >= *unit) {
        Some((name, unit)) => format!("{}.{} {name}", count / unit, count % unit * 10 / unit),
        None => format!("{count} B"),
    }
}

fn vaps(radio: &Value) -> String {
    let mut table = Table::new([
        "vap",
        "state",
        "for",
        "ssid",
        "security",
        "network",
        "devices",
        "connected",
        "note",
    ]);
    for vap in list(&radio["vaps"]) {
        let devices = list(&vap["devices"]);
        let connected = devices.iter().filter(|d| !d["connected_ms"].is_null()).count();
        let note = match (vap["error"].as_str(), vap["empty_ms"].as_u64()) {
            (Some(error), _) => match vap["retry_ms"].as_u64() {
                Some(ms) => format!("{error}; again in {}", span(ms)),
                None => error.to_owned(),
            },
            (None, Some(ms)) => format!("empty for {}", span(ms)),
            (None, None) => String::new(),
        };
        table.row([
            text(&vap["vap"]),
            text(&vap["state"]),
            since(&vap["state_ms"]),
            text(&vap["ssid"]),
            text(&vap["security"]),
            text(&vap["network"]),
            devices.len().to_string(),
            connected.to_string(),
            note,
        ]);
    }
    table.to_string()
}

fn devices(radio: &Value) -> String {
    let mut table = Table::new(["mac", "on", "connected", "signal", "heard", "wrong keys", "note"]);
    let homes =
        std::iter::once(("home".to_owned(), &radio["home"])).filter(|(_, home)| !home.is_null());
    let vaps = list(&radio["vaps"]).iter().map(|vap| (text(&vap["vap"]), vap));
    for (on, bss) in vaps.chain(homes) {
        for device in list(&bss["devices"]) {
            let signal = device["signal"].as_i64().map(|dbm| format!("{dbm} dBm"));
            let note = if device["allowed"] == false { "being put out" } else { "" };
            table.row([
                text(&device["mac"]),
                on.clone(),
                since(&device["connected_ms"]),
                signal.unwrap_or_default(),
                ago(&device["heard_ms"]),
                text(&device["wrong_keys"]),
                note.to_owned(),
            ]);
        }
    }
    table.to_string()
}

fn memory(radio: &Value) -> String {
    let mut table = Table::new(["mac", "ssid", "state", "age", "expires", "heard", "why"]);
    for entry in list(&radio["memory"]) {
        let mut state = text(&entry["state"]);
        for (field, word) in [("served", "served"), ("at_home", "at home"), ("asking", "asking")] {
            if entry[field] == true {
                state.push_str(&format!(", {word}"));
            }
        }
        let mut why = text(&entry["reason"]);
        if let Some(message) = entry["message"].as_str() {
            why = format!("{why}: {message}");
        }
        if entry["wrong_keys"].as_u64().is_some_and(|n| n > 0) {
            let separator = if why.is_empty() { "" } else { "; " };
            why.push_str(&format!("{separator}wrong key, {} times", entry["wrong_keys"]));
        }
        table.row([
            text(&entry["mac"]),
            text(&entry["ssid"]),
            state,
            since(&entry["age_ms"]),
            since(&entry["expires_ms"]),
            ago(&entry["heard_ms"]),
            why,
        ]);
    }
    table.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_status_shows_vaps_devices_and_why_others_were_refused() {
        let status = json!({
            "role": "gateway", "name": "gw-17", "version": "0.1.0", "uptime_ms": 3_723_000,
            "interface": "wlan0", "bridge": "br-roam",
            "core": [{"address": "127.0.0.1:1812", "up": true}, {"address": "127.0.0.1:1822", "up": false}],
            "heard": {"probes": 7, "wildcards": 0},
            "channel": {
                "state": "waiting", "state_ms": 2000, "retry_ms": 4000, "name": "gw-17",
                "problem": "the controller has fallen silent", "goodbye": null, "expired": false,
                "inner_address": "100.64.0.7",
                "tunnels": [{
                    "tunnel": 9, "network": 3, "side": "foreign", "peer": "elm-17", "state": "up",
                    "state_ms": 90_000, "encryption": "required", "devices": 1, "reason": null,
                    "repair": null, "path_mtu": 1500,
                }, {
                    "tunnel": 11, "network": 5, "side": "foreign", "peer": "oak-2",
                    "state": "unreachable", "state_ms": 312_000, "encryption": "required",
                    "devices": 1, "reason": "the other gateway answers on none of its addresses",
                    "repair": "forward UDP port 1701 to this gateway", "path_mtu": null,
                }],
                "denied": [{
                    "network": 4, "reason": "home-gateway-away", "retry_ms": null,
                    "message": "the home gateway rose-1 has no channel",
                }],
            },
            "reflexive": {"nat": "same-for-all", "servers": [
                {"server": "192.0.2.99:3478", "local": "10.0.0.2:1701",
                 "mapped": "198.51.100.7:1701", "answered_ms": 9000},
                {"server": "192.0.2.99:3479", "local": "10.0.0.2:1701",
                 "mapped": "198.51.100.7:1701", "answered_ms": 9000},
            ]},
            "tunnels": [{
                "tunnel": 9, "tap": "hwt0", "endpoint": "192.0.2.1:1701", "path_mtu": 1500,
                "sent": {"octets": 12_345_678}, "received": {"octets": 512},
                "drops": {"port": 2, "replayed": 1},
            }],
            "radio": {
                "hostapd_ready": true, "memory_limit": 4096, "home": null,
                "vaps": [{
                    "vap": "vap0", "state": "up", "state_ms": 61_000, "network": 3, "ssid": "smith",
                    "security": "wpa2-psk", "empty_ms": null, "retry_ms": null, "error": null,
                    "devices": [{
                        "mac": "02:00:00:00:00:01", "allowed": true, "connected_ms": 60_000,
                        "heard_ms": 61_000, "signal": -48, "since_ms": 61_000, "wrong_keys": 0,
                    }],
                }],
                "memory": [{
                    "mac": "02:00:00:00:00:02", "ssid": "jones\u{1b}[2J", "state": "refused", "network": null,
                    "at_home": false, "reason": "account-suspended", "message": "account jones is suspended",
                    "wrong_keys": 0, "served": false, "asking": false, "heard_ms": 400, "age_ms": 5000,
                    "expires_ms": 25_000,
                }],
                "counters": {"probes": 7, "lookups": 0},
            },
        });
        insta::assert_snapshot!(show(&status));
    }
}
