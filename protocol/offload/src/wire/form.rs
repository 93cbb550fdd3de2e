//! The messages as fields, which JSON and XML spell each in their way.

use homeward_model::{
    Mac, Nai, Rssi, Seconds, Secret, Ssid, UnixTime, Weekday, Window, WlanNetwork, WlanPolicy,
};
use zeroize::Zeroizing;

use super::tree::{Fields, Record, Spelling, Unknown, Value};
use super::{CredentialAnswer, CredentialRequest, HandoffKeys, Invalid, ROOT, time};

/// What the items of a list are called in XML.
pub(crate) fn item(list: &str) -> &'static str {
    match list {
        "networks" => "network",
        "schedule" => "window",
        "days" => "day",
        _ => "item",
    }
}

const DAYS: [(&str, Weekday); 7] = [
    ("mon", Weekday::Mon),
    ("tue", Weekday::Tue),
    ("wed", Weekday::Wed),
    ("thu", Weekday::Thu),
    ("fri", Weekday::Fri),
    ("sat", Weekday::Sat),
    ("sun", Weekday::Sun),
];

const MAC: &str = "a station's MAC address, such as 02:00:5e:10:00:01";

/// The MAC address of a station. Not the model's error, which repeats the text.
pub(crate) fn station(text: &str) -> Option<Mac> {
    text.parse::<Mac>().ok().filter(|mac| !mac.is_group())
}

pub(crate) fn request(value: Value, spelling: Spelling) -> Result<CredentialRequest, Invalid> {
    let mut fields = Fields::of(value, "", (spelling, Unknown::Refused))?;
    let imsi = fields.text("imsi")?.ok_or_else(|| fields.missing("imsi"))?;
    let imsi = imsi.parse().map_err(|error| said(&fields, "imsi", &error))?;
    let imei = fields.text("imei")?.map(|text| text.parse());
    let imei = imei.transpose().map_err(|error| said(&fields, "imei", &error))?;
    let mac = fields.read("mac", MAC, station)?.ok_or_else(|| fields.missing("mac"))?;
    let previous = fields.text("previous")?.map(|text| text.parse());
    let previous = previous.transpose().map_err(|error| said(&fields, "previous", &error))?;
    let handoff = fields.truth("handoff")?.unwrap_or_default();
    fields.finish("imsi, imei, mac, previous and handoff")?;
    Ok(CredentialRequest { imsi, imei, mac, previous, handoff })
}

/// What an error of the model says, which repeats nothing.
fn said(fields: &Fields, name: &str, error: &dyn std::error::Error) -> Invalid {
    Invalid::new(fields.path(name), error.to_string())
}

pub(crate) fn of_request(request: &CredentialRequest) -> Value {
    let CredentialRequest { imsi, imei, mac, previous, handoff } = request;
    let mut record = Record::default();
    record
        .text("imsi", imsi.as_str())
        .maybe("imei", imei.as_ref().map(|imei| imei.as_str()))
        .text("mac", &mac.full().to_string())
        .maybe("previous", previous.as_ref().map(Nai::as_str));
    // A portal that knows nothing of it takes no offence at who does not want it.
    if *handoff {
        record.put("handoff", Value::Bool(true));
    }
    record.done()
}

pub(crate) fn answer(value: Value, spelling: Spelling) -> Result<CredentialAnswer, Invalid> {
    let mut fields = Fields::of(value, "", (spelling, Unknown::Ignored))?;
    let username = fields.text("username")?.ok_or_else(|| fields.missing("username"))?;
    let username = username.parse().map_err(|error| said(&fields, "username", &error))?;
    let password = fields.text("password")?.ok_or_else(|| fields.missing("password"))?;
    if password.is_empty() {
        return fields.wrong("password", "is empty: give one");
    }
    let password = Secret::new(password.as_bytes());
    let mut moment = |name| fields.read(name, "a time such as 2026-01-31T12:00:00Z", time::read);
    let (expires, renew_from) = (moment("expires")?, moment("renew_from")?);
    let one_time = fields.truth("one_time")?.unwrap_or_default();
    let policy = fields.record("policy")?.ok_or_else(|| fields.missing("policy"))?;
    let policy = self::policy(policy)?;
    let handoff = fields.record("handoff")?.map(handoff).transpose()?;
    Ok(CredentialAnswer { username, password, expires, renew_from, one_time, policy, handoff })
}

/// Fails where the password is no text: it is one wherever a machine made it.
pub(crate) fn of_answer(answer: &CredentialAnswer) -> Result<Value, Invalid> {
    let CredentialAnswer { username, password, expires, renew_from, one_time, policy, handoff } =
        answer;
    let password = std::str::from_utf8(password.expose()).ok().filter(|text| !text.is_empty());
    let password = password.ok_or_else(|| Invalid::new("password", "is no text: make another"))?;
    let moment = |at: &Option<UnixTime>| at.map(time::write);
    let mut record = Record::default();
    record
        .text("username", username.as_str())
        .text("password", password)
        .maybe("expires", moment(expires).as_deref())
        .maybe("renew_from", moment(renew_from).as_deref())
        .put("one_time", Value::Bool(*one_time))
        .put("policy", of_policy(policy));
    if let Some(keys) = handoff {
        record.put("handoff", of_handoff(keys)?);
    }
    Ok(record.done())
}

fn handoff(mut fields: Fields) -> Result<HandoffKeys, Invalid> {
    let name = fields.text("name")?.ok_or_else(|| fields.missing("name"))?;
    let name = name.parse().map_err(|error| said(&fields, "name", &error))?;
    let root = fields.read("root", "64 hexadecimal digits", |text| {
        let octets = data_encoding::HEXLOWER_PERMISSIVE.decode(text.as_bytes()).ok();
        octets.map(Secret::new).filter(|root| root.expose().len() == ROOT)
    })?;
    let root = root.ok_or_else(|| fields.missing("root"))?;
    let version = fields.number("version")?.ok_or_else(|| fields.missing("version"))?;
    match u32::try_from(version) {
        Ok(version) if version > 0 => Ok(HandoffKeys { name, root, version }),
        _ => fields.wrong("version", "give a whole number, 1 to 4294967295"),
    }
}

/// Fails where the root is none, or the version: a reader would say so, and late.
fn of_handoff(keys: &HandoffKeys) -> Result<Value, Invalid> {
    let HandoffKeys { name, root, version } = keys;
    if root.expose().len() != ROOT {
        return Err(Invalid::new("handoff.root", format!("is not of {ROOT} octets")));
    }
    if *version == 0 {
        return Err(Invalid::new("handoff.version", "is 0: the first is 1"));
    }
    let digits = Zeroizing::new(data_encoding::HEXLOWER.encode(root.expose()));
    let mut record = Record::default();
    record
        .text("name", name.as_str())
        .text("root", &digits)
        .put("version", Value::Number((*version).into()));
    Ok(record.done())
}

fn policy(mut fields: Fields) -> Result<WlanPolicy, Invalid> {
    let items = fields.list("networks", item("networks"))?;
    let items = items.ok_or_else(|| fields.missing("networks"))?;
    let how = fields.how();
    let networks = items.into_iter().map(|(at, value)| network(Fields::of(value, &at, how)?));
    let networks = networks.collect::<Result<_, _>>()?;
    let eap = fields.read("eap", "peap, ttls-pap or ttls-mschapv2", |text| text.parse().ok())?;
    let anonymous = fields.text("anonymous")?.map(|text| text.parse());
    let anonymous = anonymous.transpose().map_err(|error| said(&fields, "anonymous", &error))?;
    let server_name =
        fields.text("server_name")?.ok_or_else(|| fields.missing("server_name"))?.to_string();
    let ca = fields.text("ca")?.map(|text| pem(&text));
    let (join, leave) = (signal(&mut fields, "join")?, signal(&mut fields, "leave")?);
    let dwell = fields.number("dwell")?.map(u32::try_from);
    let Ok(dwell) = dwell.transpose() else {
        return fields.wrong("dwell", "give seconds, 0 or more");
    };
    let windows = fields.list("schedule", item("schedule"))?.unwrap_or_default();
    let schedule = windows.into_iter().map(|(at, value)| window(Fields::of(value, &at, how)?));
    let schedule = schedule.collect::<Result<_, _>>()?;
    let policy = WlanPolicy {
        networks,
        eap: eap.unwrap_or_default(),
        anonymous,
        server_name,
        ca,
        // A portal says these three; who does not is taken at the model's word.
        join: join.unwrap_or(Rssi(-67)),
        leave: leave.unwrap_or(Rssi(-77)),
        dwell: Seconds(dwell.unwrap_or(3)),
        schedule,
    };
    check(policy)
}

/// Has a device never hear of a policy that it could not follow.
pub(crate) fn check(policy: WlanPolicy) -> Result<WlanPolicy, Invalid> {
    match policy.check() {
        Ok(()) => Ok(policy),
        Err(error) => {
            let setting = error.setting.strip_prefix("wlan.").unwrap_or(error.setting);
            Err(Invalid::new(format!("policy.{setting}"), error.what))
        }
    }
}

fn network(mut fields: Fields) -> Result<WlanNetwork, Invalid> {
    let ssid = fields.read("ssid", "1 to 32 octets, as text or as hex: and hex digits", ssid)?;
    let ssid = ssid.ok_or_else(|| fields.missing("ssid"))?;
    let metered = fields.truth("metered")?.unwrap_or_default();
    let join = signal(&mut fields, "join")?;
    Ok(WlanNetwork { ssid, metered, join })
}

fn window(mut fields: Fields) -> Result<Window, Invalid> {
    let days = fields.list("days", item("days"))?.unwrap_or_default();
    let days = days.into_iter().map(|(at, value)| match value {
        Value::Text(text) => DAYS
            .into_iter()
            .find_map(|(word, day)| (word == text.as_str()).then_some(day))
            .ok_or_else(|| Invalid::new(at, "give mon, tue, wed, thu, fri, sat or sun")),
        _ => Err(Invalid::new(at, "give a day")),
    });
    let days = days.collect::<Result<_, _>>()?;
    let mut time = |name| {
        let time = fields.read(name, "HH:MM, 00:00 to 24:00", |text| text.parse().ok())?;
        time.ok_or_else(|| fields.missing(name))
    };
    Ok(Window { days, from: time("from")?, to: time("to")? })
}

fn signal(fields: &mut Fields, name: &str) -> Result<Option<Rssi>, Invalid> {
    match fields.number(name)?.map(i8::try_from).transpose() {
        Ok(signal) => Ok(signal.map(Rssi)),
        Err(_) => fields.wrong(name, "give dBm, -128 to 127"),
    }
}

pub(crate) fn of_policy(policy: &WlanPolicy) -> Value {
    let WlanPolicy { networks, eap, anonymous, server_name, ca, join, leave, dwell, schedule } =
        policy;
    let networks = networks.iter().map(|network| {
        let WlanNetwork { ssid, metered, join } = network;
        let mut record = Record::default();
        record.text("ssid", &of_ssid(ssid)).put("metered", Value::Bool(*metered));
        if let Some(join) = join {
            record.put("join", Value::Number(join.0.into()));
        }
        record.done()
    });
    let windows = schedule.iter().map(|Window { days, from, to }| {
        let word = |day: &Weekday| DAYS.into_iter().find(|(_, one)| one == day);
        let days = days.iter().filter_map(word);
        let days = days.map(|(word, _)| Value::Text(Zeroizing::new(word.to_owned())));
        let mut record = Record::default();
        record
            .put("days", Value::List(days.collect()))
            .text("from", &from.to_string())
            .text("to", &to.to_string());
        record.done()
    });
    let mut record = Record::default();
    record
        .put("networks", Value::List(networks.collect()))
        .text("eap", &eap.to_string())
        .maybe("anonymous", anonymous.as_ref().map(Nai::as_str))
        .text("server_name", server_name)
        .maybe("ca", ca.as_deref().map(pem).as_deref())
        .put("join", Value::Number(join.0.into()))
        .put("leave", Value::Number(leave.0.into()))
        .put("dwell", Value::Number(dwell.0.into()))
        .put("schedule", Value::List(windows.collect()));
    record.done()
}

/// A certificate as every form has it: XML trims, and some editors end lines in two characters.
pub(crate) fn pem(text: &str) -> String {
    let mut pem = text.trim().replace("\r\n", "\n");
    pem.push('\n');
    pem
}

/// An SSID as text, or as `hex:` and its octets where XML could not carry the text, or where the
/// text would be taken for that.
pub(crate) fn of_ssid(ssid: &Ssid) -> String {
    match ssid.as_str() {
        Some(text) if super::xml::carries(text) && !text.starts_with("hex:") => text.to_owned(),
        _ => format!("hex:{}", data_encoding::HEXLOWER.encode(ssid.as_bytes())),
    }
}

/// Reads what [`of_ssid`] writes.
pub(crate) fn ssid(text: &str) -> Option<Ssid> {
    let octets = text
        .strip_prefix("hex:")
        .and_then(|hex| data_encoding::HEXLOWER_PERMISSIVE.decode(hex.as_bytes()).ok());
    Ssid::try_from(octets.as_deref().unwrap_or(text.as_bytes())).ok()
}
