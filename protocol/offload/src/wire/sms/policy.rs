//! A policy in words:
//!
//! ```text
//! <eap>[,<join>,<leave>,<dwell>] <server name> <anonymous or -> <network>... [/<window>]...
//! network: <ssid>[,m][,<join>]      window: [<days>:]<from>-<to>, days of 1 (Monday) to 7
//! ```

use homeward_model::{
    EapMethod, Nai, Rssi, Seconds, Ssid, Weekday, Window, WlanNetwork, WlanPolicy,
};

use super::{Words, nai, text};
use crate::wire::Invalid;

const WEEK: [(char, Weekday); 7] = [
    ('1', Weekday::Mon),
    ('2', Weekday::Tue),
    ('3', Weekday::Wed),
    ('4', Weekday::Thu),
    ('5', Weekday::Fri),
    ('6', Weekday::Sat),
    ('7', Weekday::Sun),
];

/// The thresholds that need not be said.
const USUAL: (Rssi, Rssi, Seconds) = (Rssi(-67), Rssi(-77), Seconds(3));

pub(super) fn push(out: &mut String, policy: &WlanPolicy) {
    let WlanPolicy { networks, eap, anonymous, server_name, ca: _, join, leave, dwell, schedule } =
        policy;
    out.push_str(match eap {
        EapMethod::Peap => " p",
        EapMethod::TtlsPap => " t",
        EapMethod::TtlsMschapv2 => " m",
    });
    if (*join, *leave, *dwell) != USUAL {
        out.push_str(&format!(",{},{},{}", join.0, leave.0, dwell.0));
    }
    out.push(' ');
    text::push_escaped(out, server_name);
    out.push(' ');
    match anonymous {
        Some(anonymous) if anonymous.as_str() == "-" => out.push_str("=2D"),
        Some(anonymous) => text::push_escaped(out, anonymous.as_str()),
        None => out.push('-'),
    }
    for WlanNetwork { ssid, metered, join } in networks {
        out.push(' ');
        push_ssid(out, ssid);
        if *metered {
            out.push_str(",m");
        }
        if let Some(join) = join {
            out.push_str(&format!(",{}", join.0));
        }
    }
    for Window { days, from, to } in schedule {
        out.push_str(" /");
        let number = |day: &Weekday| WEEK.into_iter().find(|(_, one)| one == day);
        out.extend(days.iter().filter_map(number).map(|(number, _)| number));
        if !days.is_empty() {
            out.push(':');
        }
        out.push_str(&format!("{from}-{to}").replace(':', ""));
    }
}

/// An SSID that begins like a window is told from one by its first octet in hex.
fn push_ssid(out: &mut String, ssid: &Ssid) {
    match ssid.as_bytes() {
        [b'/', rest @ ..] => {
            out.push_str("=2F");
            text::push_octets(out, rest);
        }
        octets => text::push_octets(out, octets),
    }
}

pub(super) fn read(words: &mut Words<'_>) -> Result<WlanPolicy, Invalid> {
    let wrong = |at: &str, what: &str| Invalid::new(format!("policy.{at}"), what);
    let mut parts = words.next("policy.eap")?.split(',');
    let eap = match parts.next() {
        Some("p") => EapMethod::Peap,
        Some("t") => EapMethod::TtlsPap,
        Some("m") => EapMethod::TtlsMschapv2,
        _ => return Err(wrong("eap", "give p, t or m")),
    };
    let (join, leave, dwell) = match (parts.next(), parts.next(), parts.next(), parts.next()) {
        (None, ..) => USUAL,
        (Some(join), Some(leave), Some(dwell), None) => {
            let join = join.parse().map_err(|_| wrong("join", "give dBm"))?;
            let leave = leave.parse().map_err(|_| wrong("leave", "give dBm"))?;
            let dwell = dwell.parse().map_err(|_| wrong("dwell", "give seconds"))?;
            (Rssi(join), Rssi(leave), Seconds(dwell))
        }
        _ => return Err(wrong("eap", "give three numbers after it, or none")),
    };
    let server_name = text::unescape(words.next("policy.server_name")?);
    let server_name = server_name.ok_or_else(|| wrong("server_name", "is no text"))?.to_string();
    let anonymous = match words.next("policy.anonymous")? {
        "-" => None,
        word => Some(nai("policy.anonymous", word)?),
    };
    let (mut networks, mut schedule) = (Vec::new(), Vec::new());
    while let Some(word) = words.maybe() {
        match word.strip_prefix('/') {
            Some(word) => {
                schedule.push(window(word).ok_or_else(|| wrong("schedule", "give days:HHMM-HHMM"))?)
            }
            None if schedule.is_empty() => networks
                .push(network(word).ok_or_else(|| wrong("networks", "give ssid[,m][,join]"))?),
            None => return Err(wrong("networks", "give them before the schedule")),
        }
    }
    let anonymous: Option<Nai> = anonymous;
    Ok(WlanPolicy { networks, eap, anonymous, server_name, ca: None, join, leave, dwell, schedule })
}

fn network(word: &str) -> Option<WlanNetwork> {
    let mut parts = word.split(',').peekable();
    let ssid = text::octets(parts.next()?)?;
    let ssid = Ssid::try_from(ssid.as_slice()).ok()?;
    let metered = parts.next_if_eq(&"m").is_some();
    let join = parts.next().map(str::parse).transpose().ok()?.map(Rssi);
    parts.next().is_none().then_some(WlanNetwork { ssid, metered, join })
}

fn window(word: &str) -> Option<Window> {
    let (days, times) = word.split_once(':').unwrap_or(("", word));
    let day = |c| WEEK.into_iter().find_map(|(number, day)| (number == c).then_some(day));
    let days = days.chars().map(day).collect::<Option<_>>()?;
    let (from, to) = times.split_once('-')?;
    let time = |digits: &str| {
        let (hours, minutes) = digits.split_at_checked(2)?;
        format!("{hours}:{minutes}").parse().ok()
    };
    Some(Window { days, from: time(from)?, to: time(to)? })
}
