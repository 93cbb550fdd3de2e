//! A gateway's status, for people.

use serde_json::Value;

use crate::output::{Table, fields};
use crate::role::span;

/// The whole status: the gateway, its servers, VAPs, devices, memory and counters.
pub(super) fn show(status: &Value) -> String {
    let radio = &status["radio"];
    let mut text = summary(status, radio);
    text.push_str("\nCore\n");
    text.push_str(&servers(status));
    text.push_str("\nVAPs\n");
    text.push_str(&vaps(radio));
    text.push_str("\nDevices\n");
    text.push_str(&devices(radio));
    text.push_str("\nMemory\n");
    text.push_str(&memory(radio));
    text.push_str("\nCounters\n");
    text.push_str(&counters(status));
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

/// Counters that are not zero; the radio's and the ear's.
fn counters(status: &Value) -> String {
    let sets = [("", &status["radio"]["counters"]), ("heard ", &status["heard"])];
    let mut lines = Vec::new();
    for (prefix, set) in sets {
        for (name, count) in set.as_object().into_iter().flatten() {
            if count.as_u64().is_some_and(|n| n > 0) {
                lines.push((format!("{prefix}{}", name.replace('_', " ")), count.to_string()));
            }
        }
    }
    if lines.is_empty() {
        return "none\n".to_owned();
    }
    let pairs: Vec<(&str, String)> = lines.iter().map(|(n, c)| (n.as_str(), c.clone())).collect();
    fields(&pairs)
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

/// A text or number as it is, without what would play tricks on a terminal: an SSID is a
/// stranger's to choose.
fn text(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => {
            text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
        }
        other => other.to_string(),
    }
}

fn since(value: &Value) -> String {
    value.as_u64().map(span).unwrap_or_default()
}

fn ago(value: &Value) -> String {
    value.as_u64().map(|ms| format!("{} ago", span(ms))).unwrap_or_default()
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
