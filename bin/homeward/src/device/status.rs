//! A device's status, for people.

use homeward_model::UnixTime;
use serde_json::Value;

use crate::answer::{counters, list, printable, seen, since, text, yes};
use crate::output::{Table, fields};

/// The whole status: state, modem, credentials, Wi-Fi, what is heard, counters.
pub(super) fn show(status: &Value) -> String {
    let machine = &status["machine"];
    let mut shown = fields(&[
        ("device", words(&machine["state"])),
        ("version", text(&status["version"])),
        ("up", since(&status["uptime_ms"])),
        ("on Wi-Fi", yes(&machine["on_wifi"])),
        ("offload", on(&machine["switches"]["offload"])),
        ("metered Wi-Fi", on(&machine["switches"]["metered"])),
        ("routes", if status["steers"] == true { "set here" } else { "left to others" }.to_owned()),
    ]);
    for (title, part) in [
        ("Cellular", modem(status)),
        ("Portal", portal(status)),
        ("Credentials", credentials(machine)),
        ("Wi-Fi", wifi(status)),
        ("Heard", heard(machine)),
        ("Hand-offs", handoffs(status)),
        ("Home", home(status)),
        ("Counters", counters(&[("", &machine["counters"])])),
    ] {
        shown.push_str(&format!("\n{title}\n{part}"));
    }
    shown
}

/// Why new connections do not use Wi-Fi.
pub(super) fn why(why: &Value) -> String {
    if why["on_wifi"] == true {
        return "new connections use Wi-Fi\n".to_owned();
    }
    if why["at_home"] == true {
        return "the station is on the home network, by which the tunnel home goes\n".to_owned();
    }
    let mut shown = format!("not on Wi-Fi; the device is {}\n", words(&why["state"]));
    for cause in list(&why["causes"]) {
        shown.push_str(&format!("- {}\n", text(&cause["what"])));
        let change = text(&cause["change"]);
        if !change.is_empty() {
            shown.push_str(&format!("  -> {change}\n"));
        }
    }
    shown
}

/// What is said to who asks for other hand-off keys.
pub(super) fn enrolling() -> String {
    "the portal is asked for other hand-off keys, once it can be\n".to_owned()
}

/// How both ways home are used now.
pub(super) fn bond(answer: &Value) -> String {
    fields(&[("wanted", words(&answer["wanted"])), ("used", words(&answer["used"]))])
}

/// The tunnel home, and its paths.
fn home(status: &Value) -> String {
    let (wanted, tunnel) = (&status["home"]["wanted"], &status["home"]["tunnel"]);
    if wanted.is_null() {
        return "not configured\n".to_owned();
    }
    let channel = &wanted["channel"];
    let mut lines = vec![
        ("interface", text(&wanted["interface"])),
        ("tunnel", wanted["state"].as_str().map_or("none yet".to_owned(), str::to_owned)),
        ("control channel", words(&channel["state"])),
        ("bond", format!("{}, used {}", words(&wanted["bond"]), words(&wanted["mode"]))),
        ("by", words(&wanted["preferred"])),
    ];
    for access in list(&status["home"]["reflexive"]) {
        let name = match access["access"].as_str() {
            Some("wifi") => "wifi from outside",
            _ => "cellular from outside",
        };
        lines.extend(seen(access).map(|seen| (name, seen)));
    }
    for tunnel in list(&channel["tunnels"]) {
        for (name, field) in [("why", "reason"), ("to do", "repair")] {
            if tunnel["state"] == "unreachable" && !tunnel[field].is_null() {
                lines.push((name, text(&tunnel[field])));
            }
        }
    }
    let mut shown = fields(&lines);
    let bond = &tunnel["bond"];
    let mut table =
        Table::new(["path", "answers", "endpoint", "rtt", "loss", "goodput", "sent", "quota left"]);
    for (at, leg) in list(&bond["legs"]).iter().enumerate() {
        let path = list(&bond["paths"]).iter().find(|path| path["path"] == at).cloned();
        let path = path.unwrap_or_default();
        let millis =
            |us: &Value| us.as_f64().map_or(String::new(), |us| format!("{:.1} ms", us / 1e3));
        table.row([
            if at == 0 { "wifi" } else { "cellular" }.to_owned(),
            yes(&path["alive"]),
            text(&leg["endpoint"]),
            millis(&path["rtt_us"]),
            path["loss_ppm"].as_f64().map_or(String::new(), |ppm| format!("{:.1} %", ppm / 1e4)),
            path["goodput"]
                .as_f64()
                .map_or(String::new(), |rate| format!("{:.1} Mbit/s", rate / 1e6)),
            text(&path["octets"]),
            text(&path["quota"]),
        ]);
    }
    if !list(&bond["legs"]).is_empty() {
        shown.push_str(&table.to_string());
    }
    shown.push_str(&coverage(&wanted["coverage"]));
    shown
}

/// How far coverage goes, and what was decided of late.
fn coverage(coverage: &Value) -> String {
    if coverage.is_null() {
        return String::new();
    }
    let edge = match coverage["edge"].as_f64() {
        None => "not known: nothing of the home network is heard".to_owned(),
        Some(edge) => {
            let lead = coverage["lead_ms"].as_u64();
            let lead = lead.map_or(String::new(), |ms| format!(", in {:.1} s", ms as f64 / 1e3));
            format!("near with {:.0} %{lead}", edge * 100.0)
        }
    };
    let map = &coverage["map"];
    let problem = text(&coverage["map_problem"]);
    let map = match map["gateways"].as_u64() {
        _ if !problem.is_empty() => format!("none, or an old one: {problem}"),
        None => "none".to_owned(),
        Some(gateways) => format!("{gateways} gateways, good for {}", since(&map["left_ms"])),
    };
    let fix = &coverage["fix"];
    let fix = match fix["accuracy_m"].as_u64() {
        None => "not known".to_owned(),
        Some(metres) => format!("± {metres} m, {} ago", since(&fix["age_ms"])),
    };
    let mut shown = fields(&[
        ("coverage", words(&coverage["state"])),
        ("its edge", edge),
        ("map", map),
        ("position", fix),
    ]);
    for decision in list(&coverage["decisions"]) {
        let (advice, ago) = (words(&decision["advice"]), since(&decision["ago_ms"]));
        shown.push_str(&format!("{ago} ago: {advice}\n"));
        for reason in list(&decision["reasons"]) {
            shown.push_str(&format!("  - {}\n", text(reason)));
        }
    }
    shown
}

/// What became of a flow.
pub(super) fn flow(answer: &Value) -> String {
    match (answer["open"] == true, answer["changed"] == true) {
        (true, _) => "it is being proven; `homeward device status` shows when it is admitted\n",
        (false, true) => "it is kept admitted no longer\n",
        (false, false) => "it was not kept admitted\n",
    }
    .to_owned()
}

/// What is switched now.
pub(super) fn switches(switches: &Value) -> String {
    fields(&[("offload", on(&switches["offload"])), ("metered Wi-Fi", on(&switches["metered"]))])
}

fn modem(status: &Value) -> String {
    let modem = &status["machine"]["modem"];
    if modem["present"] != true {
        return "no modem\n".to_owned();
    }
    let cellular = &status["cellular"];
    fields(&[
        ("subscriber", text(&modem["imsi"])),
        ("equipment", text(&modem["imei"])),
        ("registered", words(&modem["registration"])),
        ("bearer", if modem["bearer"] == true { "up" } else { "down" }.to_owned()),
        ("interface", text(&cellular["interface"])),
        ("addresses", all(&cellular["addresses"])),
    ])
}

fn portal(status: &Value) -> String {
    let portal = &status["machine"]["portal"];
    let mut lines = vec![("portal", text(&status["portal"]))];
    let known = [("asked, because", "asking"), ("trouble", "trouble"), ("in words", "error")];
    for (name, field) in known {
        if !portal[field].is_null() {
            lines.push((name, words(&portal[field])));
        }
    }
    if portal["failures"].as_u64().is_some_and(|failures| failures > 0) {
        lines.push(("failures in a row", text(&portal["failures"])));
    }
    if !portal["retry_ms"].is_null() {
        lines.push(("asked again in", since(&portal["retry_ms"])));
    }
    if !portal["messages"].is_null() {
        messages(status, &portal["messages"], &mut lines);
    }
    fields(&lines)
}

/// What there is to say of short messages to the portal.
fn messages(status: &Value, messages: &Value, lines: &mut Vec<(&'static str, String)>) {
    let asked = match (when(&messages["asked"]), &messages["waits_ms"]) {
        (None, _) => "not since the start".to_owned(),
        (Some(at), Value::Null) => at,
        (Some(at), _) => format!("{at}, waiting"),
    };
    let possible = if messages["possible"] == true { "" } else { ", but none can be sent now" };
    lines.push(("by message to", format!("{}{possible}", text(&status["portal_number"]))));
    lines.push(("asked by message", asked));
    if !messages["waits_ms"].is_null() {
        lines.push(("waiting for", since(&messages["waits_ms"])));
    }
    for (name, field) in [("its trouble", "trouble"), ("its words", "error")] {
        if !messages[field].is_null() {
            lines.push((name, words(&messages[field])));
        }
    }
    if !messages["next_ms"].is_null() && messages["waits_ms"].is_null() {
        lines.push(("next message in", since(&messages["next_ms"])));
    }
    let sent = format!("{} of {}", text(&messages["sent"]), text(&messages["per_day"]));
    lines.push(("sent in a day", sent));
}

fn credentials(machine: &Value) -> String {
    let credentials = &machine["credentials"];
    if credentials.is_null() {
        return "none\n".to_owned();
    }
    let ends = when(&credentials["expires"]).unwrap_or_else(|| "never".to_owned());
    let once = match (&credentials["one_time"], &credentials["spent"]) {
        (Value::Bool(true), Value::Bool(true)) => ", good once, spent",
        (Value::Bool(true), _) => ", good once",
        _ => "",
    };
    let mut lines = vec![
        ("name", text(&credentials["username"])),
        ("end", format!("{ends}{once}")),
        ("renewed from", when(&credentials["renew_from"]).unwrap_or_default()),
        ("for station", text(&credentials["mac"])),
        ("networks", all(&credentials["networks"])),
        ("supplicant has them", yes(&machine["supplicant"]["programmed"])),
    ];
    if credentials["rejections"].as_u64().is_some_and(|count| count > 0) {
        lines.push(("refused in a row", text(&credentials["rejections"])));
    }
    fields(&lines)
}

fn wifi(status: &Value) -> String {
    let (machine, wifi) = (&status["machine"], &status["wifi"]);
    let (supplicant, session) = (&machine["supplicant"], &machine["session"]);
    let there = match (&supplicant["ready"], &supplicant["radio"]) {
        (Value::Bool(true), Value::Bool(true)) if supplicant["lent"] == true => {
            "ready, on somebody else's network"
        }
        (Value::Bool(true), Value::Bool(true)) => "ready",
        (Value::Bool(true), _) => "ready, radio off",
        _ => "away",
    };
    let mut lines = vec![
        ("interface", text(&wifi["interface"])),
        ("run by", text(&wifi["by"])),
        ("addresses", all(&wifi["addresses"])),
        ("supplicant", there.to_owned()),
    ];
    if !supplicant["error"].is_null() {
        lines.push(("it refused", text(&supplicant["error"])));
    }
    if !session.is_null() {
        let signal = session["signal"].as_i64().map(|dbm| format!("{dbm} dBm"));
        lines.push(("network", text(&session["ssid"])));
        lines.push(("access point", text(&session["bssid"])));
        lines.push(("signal", signal.unwrap_or_default()));
        lines.push(("for", since(&session["since_ms"])));
        if session["metered"] == true {
            lines.push(("metered", "yes".to_owned()));
        }
        if !session["left"].is_null() {
            lines.push(("being left", words(&session["left"])));
        }
    }
    fields(&lines)
}

fn heard(machine: &Value) -> String {
    let mut table = Table::new(["ssid", "access point", "signal", "strong for", "shunned for"]);
    for bss in list(&machine["heard"]) {
        let signal = bss["signal"].as_i64().map(|dbm| format!("{dbm} dBm"));
        table.row([
            text(&bss["ssid"]),
            text(&bss["bssid"]),
            signal.unwrap_or_default(),
            since(&bss["strong_ms"]),
            since(&bss["shunned_ms"]),
        ]);
    }
    table.to_string()
}

/// Each server's session, and its flows.
fn handoffs(status: &Value) -> String {
    let keys = handoff_keys(&status["handoff_keys"]);
    let sessions = list(&status["handoff"]);
    if sessions.is_empty() {
        return format!("{keys}none: there is no server in [handoff]\n");
    }
    let mut table = Table::new(["server", "hops", "at", "traffic by", "flow", "admitted for"]);
    let mut troubles = String::new();
    for session in sessions {
        let mut start = ["server", "hops", "at", "here"].map(|field| text(&session[field]));
        let none = [Value::Null];
        let flows = list(&session["flows"]);
        for flow in if flows.is_empty() { &none[..] } else { flows } {
            let [server, hops, at, here] = std::mem::take(&mut start);
            let admitted = since(&flow["admitted_ms"]);
            let admitted =
                if flow.is_object() && admitted.is_empty() { "no".into() } else { admitted };
            table.row([server, hops, at, here, text(&flow["flow"]), admitted]);
        }
        if !session["error"].is_null() {
            let (server, error) = (text(&session["server"]), text(&session["error"]));
            troubles.push_str(&format!("{server}: {error}\n"));
        }
    }
    format!("{keys}{table}{troubles}")
}

/// Where hand-off keys come from, and whether they have.
fn handoff_keys(keys: &Value) -> String {
    let name = text(&keys["name"]);
    match keys["by"].as_str() {
        Some("portal") if keys["name"].is_null() => {
            "no keys yet: the portal is asked for them with credentials\n".to_owned()
        }
        Some("portal") => {
            format!("known as {name}, by keys of the portal, version {}\n", text(&keys["version"]))
        }
        Some(_) => format!("known as {name}, by the key of handoff.root_file\n"),
        None => String::new(),
    }
}

/// A moment that is given in milliseconds since 1970.
fn when(value: &Value) -> Option<String> {
    value.as_i64().map(|ms| UnixTime(ms).to_string())
}

fn on(value: &Value) -> String {
    value.as_bool().map(|on| if on { "on" } else { "off" }.to_owned()).unwrap_or_default()
}

fn all(values: &Value) -> String {
    list(values).iter().map(text).collect::<Vec<_>>().join(", ")
}

/// A word of the machine's, with spaces; of one with a detail, both.
fn words(value: &Value) -> String {
    match value {
        Value::String(word) => printable(&word.replace('-', " ")),
        Value::Object(detailed) => {
            let both = detailed.iter().map(|(word, of)| format!("{word} ({})", words(of)));
            both.collect::<Vec<_>>().join(", ")
        }
        other => text(other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn status() -> Value {
        json!({
            "role": "device", "version": "0.1.0", "uptime_ms": 61_000,
            "portal": "https://portal.example.net/offload/v1/credentials",
            "wifi": {"interface": "wlan0", "by": "network-manager", "addresses": ["10.1.0.23"]},
            "cellular": {"interface": "wwan0", "addresses": ["10.64.0.2", "2001:db8::2"]},
            "steers": true,
            "handoff_keys": {"by": "portal", "name": "hdjv3@wlan.example.net", "version": 1_770_000_000},
            "handoff": [
                {
                    "server": "sip.example", "session": "0179605b9e28735568dd5c439468550a",
                    "hops": 2, "at": "town.example", "here": "town.example", "there": true,
                    "error": null, "failures": 0,
                    "flows": [
                        {"flow": "sip:alice@example.net", "admitted_ms": 3_540_000},
                        {"flow": "call 7", "admitted_ms": null},
                    ],
                },
                {
                    "server": "vpn.example", "session": "0179605b9e28735568dd5c439468550b",
                    "hops": 0, "at": null, "here": "town.example", "there": false,
                    "error": "it was refused", "failures": 3, "flows": [],
                },
            ],
            "machine": {
                "state": "offloaded", "on_wifi": true,
                "switches": {"offload": true, "metered": false},
                "modem": {
                    "present": true, "imsi": "99970…", "imei": "35693803…",
                    "registration": "home", "bearer": true,
                },
                "supplicant": {
                    "ready": true, "radio": true, "mac": "02:00:00:00:02:00", "programmed": true,
                    "error": null,
                },
                "credentials": {
                    "username": "p1@wifi.example.net", "expires": 1_796_083_200_000_i64,
                    "renew_from": 1_795_996_800_000_i64, "one_time": true, "spent": true,
                    "mac": "02:00:00:00:02:00", "networks": ["Town", "Tram"], "rejections": 0,
                },
                "portal": {
                    "asking": null, "trouble": "away", "error": "no answer within 15 s",
                    "failures": 2, "retry_ms": 4000,
                },
                "session": {
                    "ssid": "Town\u{1b}[2J", "bssid": "02:00:00:00:00:00", "signal": -52,
                    "metered": false, "since_ms": 3000, "left": {"broken": "dead"},
                },
                "heard": [{
                    "ssid": "Town", "bssid": "02:00:00:00:00:00", "signal": -52,
                    "strong_ms": 5000, "shunned_ms": null,
                }],
                "clock_skew_ms": null,
                "counters": {"requests": 3, "answers": 1, "joins": 0, "offloads": 1},
            },
        })
    }

    #[test]
    fn a_status_shows_cellular_credentials_and_where_wi_fi_stands() {
        insta::assert_snapshot!(show(&status()));
    }

    #[test]
    fn what_was_asked_by_message_is_shown_with_what_it_waits_for() {
        let mut status = status();
        status["portal_number"] = json!("4444");
        status["machine"]["portal"]["messages"] = json!({
            "possible": true, "asked": 1_796_083_200_000_i64, "waits_ms": 250_000,
            "trouble": null, "error": null, "in_a_row": 1, "next_ms": null,
            "sent": 3, "per_day": 10,
        });
        let shown = show(&status);
        for line in [
            "by message to      4444\n",
            "asked by message   2026-12-01T00:00:00.000Z, waiting\n",
            "waiting for        4m10s\n",
            "sent in a day      3 of 10\n",
        ] {
            assert!(shown.contains(line), "{line}: {shown}");
        }
        let messages = &mut status["machine"]["portal"]["messages"];
        (messages["waits_ms"], messages["trouble"]) = (Value::Null, json!("unsent"));
        (messages["next_ms"], messages["possible"]) = (json!(60_000), json!(false));
        let shown = show(&status);
        for line in ["4444, but none can be sent now\n", "unsent\n", "next message in    1m"] {
            assert!(shown.contains(line), "{line}: {shown}");
        }
        assert!(!shown.contains("waiting"), "{shown}");
    }

    #[test]
    fn what_is_foreseen_of_coverage_is_shown_with_its_reasons() {
        let mut status = status();
        let mut coverage = json!({
            "state": "prepared", "edge": 0.62, "lead_ms": 8_450,
            "map": {"gateways": 12, "left_ms": 86_400_000},
            "fix": {"age_ms": 2_000, "accuracy_m": 7},
            "decisions": [{
                "advice": "prepare", "ago_ms": 3_000, "confidence": 0.6, "lead_ms": 8_450,
                "reasons": ["02:00:5e:**:**:** is weak", "the map ends in 40 m"],
            }],
        });
        let down = json!({"state": "unreachable", "reason": "both", "repair": "forward"});
        let server = json!({"server": "192.0.2.1:3478", "mapped": "198.51.100.7:40000"});
        let behind = json!({"access": "cellular", "nat": "behind", "servers": [server]});
        status["home"] = json!({
            "wanted": {
                "interface": "home0", "state": "unreachable", "bond": "off", "mode": "single",
                "preferred": "wifi", "channel": {"state": "open", "tunnels": [down]},
                "coverage": coverage,
            },
            "tunnel": null,
            "reflexive": [behind, {"access": "wifi", "nat": "unknown", "servers": []}],
        });
        let shown = home(&status);
        for line in [
            "cellular from outside  198.51.100.7:40000, behind a NAT\n",
            "why    both\n",
            "to do    forward\n",
            "coverage         prepared\n",
            "its edge  near with 62 %, in 8.4 s\n",
            "map       12 gateways, good for 1d\n",
            "position  ± 7 m, 2s ago\n",
            "3s ago: prepare\n  - 02:00:5e:**:**:** is weak\n  - the map ends in 40 m\n",
        ] {
            let squeezed = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
            assert!(squeezed(&shown).contains(&squeezed(line)), "{line}: {shown}");
        }
        coverage =
            json!({"state": "covered", "edge": null, "map": null, "fix": null, "decisions": []});
        status["home"]["wanted"]["coverage"] = coverage;
        assert!(home(&status).contains("nothing of the home network is heard"));
        status["home"]["wanted"]["coverage"] = Value::Null;
        assert!(!home(&status).contains("its edge"), "it is switched off");
    }

    #[test]
    fn who_is_on_the_home_network_is_not_told_to_leave_it() {
        let lent = json!([{"what": "Wi-Fi is on a network", "change": "leave that network"}]);
        let mut answer =
            json!({"on_wifi": false, "at_home": true, "state": "watching", "causes": lent});
        assert!(why(&answer).contains("on the home network") && !why(&answer).contains("leave"));
        answer["at_home"] = json!(false);
        assert!(why(&answer).contains("leave that network"));
    }

    #[test]
    fn a_device_without_anything_says_so() {
        let mut status = status();
        status["cellular"] = Value::Null;
        status["machine"]["modem"] = json!({"present": false});
        status["machine"]["credentials"] = Value::Null;
        status["machine"]["session"] = Value::Null;
        status["machine"]["heard"] = json!([]);
        let text = show(&status);
        assert!(text.contains("\nCellular\nno modem\n"), "{text}");
        assert!(text.contains("\nCredentials\nnone\n"), "{text}");
        assert!(text.contains("\nHeard\nnone\n"), "{text}");
    }

    #[test]
    fn why_lists_each_cause_with_what_would_change_it() {
        let answer = json!({
            "on_wifi": false, "state": "watching",
            "causes": [{
                "cause": "weak", "what": "Town is too weak: -80 dBm", "change": "-65 dBm or more",
            }],
        });
        assert_eq!(
            why(&answer),
            "not on Wi-Fi; the device is watching\n- Town is too weak: -80 dBm\n  -> -65 dBm or more\n"
        );
        assert_eq!(why(&json!({"on_wifi": true})), "new connections use Wi-Fi\n");
    }
}
