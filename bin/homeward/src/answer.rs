//! What a running role answers, for people: JSON values as text.

use serde_json::Value;

#[cfg(any(feature = "core", feature = "gateway", feature = "device"))]
use crate::role::span;

/// The members of a list; none if it is no list.
pub(crate) fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

/// A text or number as it is, without what would play tricks on a terminal: an SSID is a
/// stranger's to choose, and some of it is what gateways say of themselves.
pub(crate) fn text(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => printable(text),
        other => other.to_string(),
    }
}

/// A text without control characters.
pub(crate) fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

/// Yes, no, or nothing where it is not said.
#[cfg(feature = "device")]
pub(crate) fn yes(value: &Value) -> String {
    value.as_bool().map(|yes| if yes { "yes" } else { "no" }.to_owned()).unwrap_or_default()
}

/// A span given in milliseconds.
#[cfg(any(feature = "core", feature = "gateway", feature = "device"))]
pub(crate) fn since(value: &Value) -> String {
    value.as_u64().map(span).unwrap_or_default()
}

/// How long ago something was, given in milliseconds.
#[cfg(feature = "gateway")]
pub(crate) fn ago(value: &Value) -> String {
    value.as_u64().map(|ms| format!("{} ago", span(ms))).unwrap_or_default()
}

/// How the Internet sees a data plane by an access, where the core answers that.
#[cfg(any(feature = "gateway", feature = "device"))]
pub(crate) fn seen(reflexive: &Value) -> Option<String> {
    let servers = list(&reflexive["servers"]);
    if servers.is_empty() {
        return None;
    }
    let mut places: Vec<String> = Vec::new();
    for server in servers.iter().filter(|server| !server["mapped"].is_null()) {
        let place = text(&server["mapped"]);
        if !places.contains(&place) {
            places.push(place);
        }
    }
    let how = match reflexive["nat"].as_str() {
        Some("none") => "no NAT",
        Some("behind") => "behind a NAT",
        Some("same-for-all") => "behind a NAT that shows everybody the same",
        Some("per-destination") => "behind a NAT that shows each another",
        _ => "not known: the core does not answer",
    };
    let places = places.join(", ");
    let separator = if places.is_empty() { "" } else { ", " };
    Some(format!("{places}{separator}{how}"))
}

/// Counters that are not zero, from several sets, each with what goes before its names.
#[cfg(any(feature = "gateway", feature = "device"))]
pub(crate) fn counters(sets: &[(&str, &Value)]) -> String {
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
    crate::output::fields(&pairs)
}

/// What became of a reload.
#[cfg(any(feature = "gateway", feature = "device"))]
pub(crate) fn reloaded(answer: &Value) -> String {
    let mut shown = "configuration reloaded\n".to_owned();
    let keys: Vec<String> = list(&answer["restart"]).iter().map(text).collect();
    if !keys.is_empty() {
        shown.push_str(&format!("takes effect with a restart only: {}\n", keys.join(", ")));
    }
    for problem in list(&answer["failed"]) {
        shown.push_str(&format!("could not take effect: {}\n", text(problem)));
    }
    shown
}

/// What a security module's peers have not heard of yet, each with how many devices.
#[cfg(feature = "security-module")]
pub(crate) fn unenrolled(networks: &Value) -> String {
    let Some(networks) = networks.as_object() else { return String::new() };
    let each = networks.iter().map(|(network, count)| format!("{network} ({count})"));
    each.collect::<Vec<_>>().join(", ")
}
