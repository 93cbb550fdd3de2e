//! ModemManager's properties, decoded.
//!
//! What is missing or of another type than it should be is not known; nothing here fails.

use std::collections::BTreeMap;

use homeward_model::Apn;
use zbus::{OwnedObjectPath, OwnedVariant};

use crate::facts::{ModemFacts, Registration, Signal, Sim, Technology};

/// The properties of one interface of an object.
pub(crate) type Properties = BTreeMap<String, OwnedVariant>;

/// The interfaces of an object.
pub(crate) type Interfaces = BTreeMap<String, Properties>;

/// Takes a property out.
pub(crate) fn take<T: TryFrom<OwnedVariant>>(from: &mut Properties, name: &str) -> Option<T> {
    from.remove(name).and_then(|value| T::try_from(value).ok())
}

/// A modem, as ModemManager has it.
#[derive(Debug, Default)]
pub(crate) struct Managed {
    /// What is known without its SIM and its bearers.
    pub(crate) facts: ModemFacts,
    /// The SIM in use.
    pub(crate) sim: Option<OwnedObjectPath>,
    /// Its bearers, connected or not.
    pub(crate) bearers: Vec<OwnedObjectPath>,
    /// The messages on it; `None` where it knows of none at all.
    pub(crate) messages: Option<Vec<OwnedObjectPath>>,
    /// Whether it could measure its signal, and does not yet.
    pub(crate) idle_meter: bool,
}

/// Decodes a modem's interfaces.
pub(crate) fn modem(mut all: Interfaces) -> Managed {
    let mut of = |name: &str| all.remove(&format!("org.freedesktop.ModemManager1.{name}"));
    let mut modem = of("Modem").unwrap_or_default();
    let mut gpp = of("Modem.Modem3gpp").unwrap_or_default();
    let mut messaging = of("Modem.Messaging");
    let mut meter = of("Modem.Signal");
    let state: Option<i32> = take(&mut modem, "State");
    let lock: Option<u32> = take(&mut modem, "UnlockRequired");
    let failed: Option<u32> = take(&mut modem, "StateFailedReason");
    let sim = take::<OwnedObjectPath>(&mut modem, "Sim").filter(|path| path.as_str() != "/");
    let imei = take::<String>(&mut gpp, "Imei")
        .or_else(|| take(&mut modem, "EquipmentIdentifier"))
        .and_then(|text| text.parse().ok());
    let number = take::<Vec<String>>(&mut modem, "OwnNumbers").and_then(|numbers| {
        numbers.first().and_then(|text| text.trim_start_matches('+').parse().ok())
    });
    let quality: Option<(u32, bool)> = take(&mut modem, "SignalQuality");
    // MM_MODEM_STATE_ENABLED and beyond.
    let on = state.is_some_and(|state| state >= 6);
    let rate: Option<u32> = meter.as_mut().and_then(|meter| take(meter, "Rate"));
    let registered: Option<u32> = take(&mut gpp, "RegistrationState").filter(|_| on);
    Managed {
        facts: ModemFacts {
            sim: sim_state(sim.is_some(), state, lock, failed),
            imsi: None,
            imei,
            number,
            registration: if on { registration(registered) } else { Registration::Idle },
            technology: technology(take(&mut modem, "AccessTechnologies").unwrap_or_default()),
            operator: take::<String>(&mut gpp, "OperatorCode").filter(|code| {
                (5..=6).contains(&code.len()) && code.bytes().all(|c| c.is_ascii_digit())
            }),
            signal: Signal {
                percent: quality.filter(|_| on).and_then(|(percent, _)| {
                    u8::try_from(percent).ok().filter(|percent| *percent <= 100)
                }),
                dbm: meter.as_mut().and_then(power),
            },
            bearer: None,
            messages: messaging.is_some() && registered.is_some_and(takes_messages),
        },
        sim,
        bearers: take(&mut modem, "Bearers").unwrap_or_default(),
        messages: messaging.as_mut().map(|m| take(m, "Messages").unwrap_or_default()),
        idle_meter: on && rate == Some(0),
    }
}

/// `MMModemState` (failed is -1, locked 2), `MMModemLock` (none is 1, SIM-PIN2 3, SIM-PUK2 5) and
/// `MMModemStateFailedReason` (no SIM is 2, a broken one 3).
fn sim_state(there: bool, state: Option<i32>, lock: Option<u32>, failed: Option<u32>) -> Sim {
    match (there, state, lock) {
        (_, Some(-1), _) if matches!(failed, Some(2 | 3)) => Sim::Absent,
        (_, Some(2), _) => Sim::Locked,
        // The second PIN is for what nobody here wants.
        (true, _, Some(1 | 3 | 5)) => Sim::Ready,
        (true, _, Some(lock)) if lock > 1 => Sim::Locked,
        _ => Sim::Unknown,
    }
}

/// `MMModem3gppRegistrationState`; those for messages alone, and for emergencies, are no use here.
fn registration(state: Option<u32>) -> Registration {
    match state {
        Some(0 | 6 | 7 | 8 | 11) => Registration::Idle,
        Some(1 | 9) => Registration::Home,
        Some(2) => Registration::Searching,
        Some(3) => Registration::Denied,
        Some(5 | 10) => Registration::Roaming,
        _ => Registration::Unknown,
    }
}

/// The states in which messages come and go: at home and as a guest, and both for messages alone or
/// beside calls.
const fn takes_messages(state: u32) -> bool {
    matches!(state, 1 | 5 | 6 | 7 | 9 | 10)
}

/// `MMModemAccessTechnology`, a set.
fn technology(set: u32) -> Technology {
    // Above all, 0xffffffff: any.
    if set & (1 << 31) != 0 {
        return Technology::Unknown;
    }
    let any =
        |bits: std::ops::RangeInclusive<u32>| bits.into_iter().any(|bit| set & (1 << bit) != 0);
    if any(15..=15) {
        Technology::Nr
    } else if any(14..=14) || any(16..=17) {
        Technology::Lte
    } else if any(5..=9) {
        Technology::Umts
    } else if any(1..=4) {
        Technology::Gsm
    } else {
        Technology::Unknown
    }
}

/// What is measured of the newest technology that anything is.
fn power(meter: &mut Properties) -> Option<i16> {
    let measured = [
        ("Nr5g", &["rsrp"][..]),
        ("Lte", &["rsrp", "rssi"][..]),
        ("Umts", &["rscp", "rssi"][..]),
        ("Gsm", &["rssi"][..]),
    ];
    measured.into_iter().find_map(|(technology, names)| {
        let mut values: BTreeMap<String, zbus::Variant<'static>> = take(meter, technology)?;
        names.iter().find_map(|name| {
            let dbm = f64::try_from(values.remove(*name)?).ok()?;
            // What was not measured is given as some number below all that can be.
            #[expect(clippy::cast_possible_truncation, reason = "within the range of an i16")]
            (-200.0..0.0).contains(&dbm).then(|| dbm.round() as i16)
        })
    })
}

/// A connected bearer: its interface and access point name.
pub(crate) fn bearer(mut properties: Properties) -> Option<(String, Option<Apn>)> {
    if take(&mut properties, "Connected") != Some(true) {
        return None;
    }
    let interface = take(&mut properties, "Interface").unwrap_or_default();
    let asked: Option<BTreeMap<String, zbus::Variant<'static>>> =
        take(&mut properties, "Properties");
    let apn = asked
        .and_then(|mut asked| String::try_from(asked.remove("apn")?).ok())
        .and_then(|apn| apn.parse().ok());
    Some((interface, apn))
}

/// A message, as ModemManager has it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Held {
    /// One that came, whole: from whom, and what it says.
    Came(String, String),
    /// One that is still coming.
    Coming,
    /// One of ours, or something else.
    Other,
}

/// Decodes a message: `MMSmsState` (receiving is 2, received 3), `MMSmsPduType` (deliver is 1).
pub(crate) fn message(mut properties: Properties) -> Held {
    let state: Option<u32> = take(&mut properties, "State");
    let kind: Option<u32> = take(&mut properties, "PduType");
    match (state, kind) {
        (Some(3), Some(1)) => Held::Came(
            take(&mut properties, "Number").unwrap_or_default(),
            take(&mut properties, "Text").unwrap_or_default(),
        ),
        (Some(0 | 2), _) => Held::Coming,
        _ => Held::Other,
    }
}
