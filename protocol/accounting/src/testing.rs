//! For tests and fuzzing: records by hand, and the bodies of the fuzz targets.

use homeward_model::{Name, UnixTime};
use homeward_radius::Packet;

use crate::{Figures, Kind, Nas, Record, Session, Settings};

/// A NAS whose client has that name.
///
/// # Panics
/// If it is no name.
pub fn nas(client: &str) -> Nas {
    let Ok(client) = client.parse::<Name>() else { panic!("{client:?} is not a name") };
    Nas { client, identifier: String::new() }
}

/// A record of a session with so many octets in and out after so many seconds; the session began
/// at `began`, and the NAS dates what it sends.
pub fn record(
    nas: Nas,
    session_id: &str,
    kind: Kind,
    began: UnixTime,
    seconds: u32,
    octets: (u64, u64),
) -> Record {
    Record {
        nas,
        kind,
        session_id: session_id.to_owned(),
        multi_session_id: None,
        event: Some(UnixTime(began.0 + i64::from(seconds) * 1000)),
        delay: 0,
        figures: Figures {
            input: octets.0,
            output: octets.1,
            input_packets: octets.0 / 1000,
            output_packets: octets.1 / 1000,
            seconds: u64::from(seconds),
        },
        timed: kind != Kind::Start,
        gigawords: kind != Kind::Start,
        terminate_cause: (kind == Kind::Stop).then_some(1),
        station: None,
        bssid: None,
        user_name: None,
        chargeable_user: None,
        class: Vec::new(),
        address: None,
        address6: None,
    }
}

/// Target `accounting_record`: any octets as an Accounting-Request, and as all of a session.
pub fn fuzz_record(data: &[u8]) {
    let Ok(packet) = Packet::decode(data) else { return };
    let Ok(client) = "nas".parse::<Name>() else { return };
    let record = match Record::decode(&packet, &client) {
        Ok(record) => record,
        Err(error) => {
            assert!(!error.to_string().is_empty() && !error.label().is_empty());
            return;
        }
    };
    assert!(record.session_id.len() <= 253 && record.class.len() <= 4);
    assert!(record.kind.is_boot() || !record.session_id.is_empty());
    if record.kind.is_boot() {
        return;
    }
    let settings = Settings::default();
    let received = UnixTime(1_800_000_000_000);
    let (mut session, began) = Session::begin(&record, received, &settings);
    assert_eq!(began.delta, session.figures, "what it adds is what the session has");
    let again = session.apply(&record, received, &settings);
    assert_eq!(again.delta, Figures::ZERO, "a repetition adds nothing");
    assert!(again.closing.is_none(), "and ends nothing");
}
