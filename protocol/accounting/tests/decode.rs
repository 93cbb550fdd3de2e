//! Accounting-Requests, read.
#![cfg(test)]

use homeward_accounting::{Figures, Kind, Private, Record, RecordError, Settings};
use homeward_model::{Mac, Secret, UnixTime};
use homeward_radius::dictionary::standard as s;
use homeward_radius::{Builder, Code, Packet, SharedSecret};

const SESSION: &[u8] = b"5B7A0C-1";

fn read(attributes: &[(u8, &[u8])]) -> Result<Record, RecordError> {
    read_as(Code::AccountingRequest, attributes)
}

fn read_as(code: Code, attributes: &[(u8, &[u8])]) -> Result<Record, RecordError> {
    let secret = SharedSecret::new(&Secret::new("xyzzy5461")).unwrap();
    let mut out = Vec::new();
    let mut packet = Builder::request(&mut out, &secret, code, 1, [0; 16]);
    for (kind, value) in attributes {
        packet.octets(*kind, value).unwrap();
    }
    packet.finish();
    Record::decode(&Packet::decode(&out).unwrap(), &"gw-17".parse().unwrap())
}

const fn number(value: u32) -> [u8; 4] {
    value.to_be_bytes()
}

/// An Interim with one more attribute.
fn interim(kind: u8, value: &[u8]) -> Result<Record, RecordError> {
    read(&[(s::ACCT_STATUS_TYPE, &number(3)), (s::ACCT_SESSION_ID, SESSION), (kind, value)])
}

#[test]
fn a_stop_is_read_whole() {
    let record = read(&[
        (s::ACCT_STATUS_TYPE, &number(2)),
        (s::ACCT_SESSION_ID, SESSION),
        (s::ACCT_MULTI_SESSION_ID, b"m-1"),
        (s::NAS_IDENTIFIER, b"ap-3"),
        (s::EVENT_TIMESTAMP, &number(1_800_000_000)),
        (s::ACCT_DELAY_TIME, &number(4)),
        (s::ACCT_SESSION_TIME, &number(60)),
        (s::ACCT_INPUT_OCTETS, &number(7)),
        (s::ACCT_INPUT_GIGAWORDS, &number(1)),
        (s::ACCT_OUTPUT_OCTETS, &number(9)),
        (s::ACCT_INPUT_PACKETS, &number(2)),
        (s::ACCT_OUTPUT_PACKETS, &number(3)),
        (s::ACCT_TERMINATE_CAUSE, &number(4)),
        (s::CALLING_STATION_ID, b"02-00-5E-10-00-01"),
        (s::CALLED_STATION_ID, b"02-00-00-00-01-00:My: Home"),
        (s::USER_NAME, b"ann@example.net"),
        (s::CHARGEABLE_USER_IDENTITY, b"cui-1"),
        (s::CLASS, b"hw:1:2"),
        (s::CLASS, b"other"),
        (s::FRAMED_IP_ADDRESS, &[192, 0, 2, 1]),
        (s::FRAMED_IPV6_PREFIX, &[0, 32, 0x20, 1, 0xd, 0xb8]),
    ])
    .unwrap();
    assert_eq!((record.kind, record.nas.to_string().as_str()), (Kind::Stop, "gw-17/ap-3"));
    assert_eq!((record.session_id.as_str(), record.delay), ("5B7A0C-1", 4));
    assert_eq!(record.multi_session_id.as_deref(), Some("m-1"));
    assert_eq!(record.event, Some(UnixTime(1_800_000_000_000)));
    let figures = Figures {
        input: (1 << 32) + 7,
        output: 9,
        input_packets: 2,
        output_packets: 3,
        seconds: 60,
    };
    assert_eq!(record.figures, figures);
    assert!(record.timed && record.gigawords);
    assert_eq!(record.terminate_cause, Some(4));
    assert_eq!(record.station, Some(Mac::new([2, 0, 0x5e, 0x10, 0, 1])));
    assert_eq!(record.bssid, Some(Mac::new([2, 0, 0, 0, 1, 0])));
    assert_eq!(record.user_name, Some(Private(b"ann@example.net".to_vec())));
    assert_eq!(record.chargeable_user, Some(Private(b"cui-1".to_vec())));
    assert_eq!(record.class, [b"hw:1:2".to_vec(), b"other".to_vec()]);
    assert_eq!(record.address, Some(Private("192.0.2.1".parse().unwrap())));
    assert_eq!(record.address6, Some(Private(("2001:db8::".parse().unwrap(), 32))));
}

#[test]
fn the_nas_is_named_by_what_there_is_and_the_client_always() {
    let v6 = "2001:db8::7".parse::<std::net::Ipv6Addr>().unwrap().octets();
    for (kind, value, name) in [
        (s::NAS_IDENTIFIER, &b"ap-3"[..], "gw-17/ap-3"),
        (s::NAS_IDENTIFIER, b"gw-17", "gw-17"),
        (s::NAS_IP_ADDRESS, &[192, 0, 2, 7], "gw-17/192.0.2.7"),
        (s::NAS_IPV6_ADDRESS, &v6, "gw-17/2001:db8::7"),
        (s::NAS_PORT_ID, b"wlan0", "gw-17"),
    ] {
        assert_eq!(interim(kind, value).unwrap().nas.to_string(), name);
    }
}

#[test]
fn a_restart_needs_no_session() {
    let record = read(&[(s::ACCT_STATUS_TYPE, &number(7))]).unwrap();
    assert_eq!((record.kind, record.session_id.as_str()), (Kind::On, ""));
}

#[test]
fn an_error_names_the_attribute_and_the_repair() {
    let text = |result: Result<Record, RecordError>| result.unwrap_err().to_string();
    for (found, expected) in [
        (read_as(Code::AccessRequest, &[]), "Access-Request is no Accounting-Request"),
        (
            read(&[(s::ACCT_SESSION_ID, SESSION)]),
            "Acct-Status-Type is missing: have the NAS send it (RFC 2866 5.13)",
        ),
        (
            read(&[(s::ACCT_STATUS_TYPE, &number(1))]),
            "Acct-Session-Id is missing: have the NAS send it (RFC 2866 5.13)",
        ),
        (
            read(&[(s::ACCT_STATUS_TYPE, &number(15)), (s::ACCT_SESSION_ID, SESSION)]),
            "Acct-Status-Type 15 is not accounted: only 1, 2, 3, 7 and 8 are",
        ),
        (interim(s::ACCT_SESSION_ID, SESSION), "Acct-Session-Id occurs more than once"),
        (
            interim(s::ACCT_INPUT_OCTETS, &[1]),
            "Acct-Input-Octets is not a number of 32 bits: see what the NAS puts there",
        ),
        (
            interim(s::NAS_IDENTIFIER, &[0xff]),
            "NAS-Identifier is not text in UTF-8: see what the NAS puts there",
        ),
        (
            interim(s::ACCT_OUTPUT_GIGAWORDS, &number(1 << 21)),
            "Acct-Output-Gigawords says that more than 4 PiB were moved: its counter is broken",
        ),
    ] {
        assert_eq!(text(found), expected);
    }
}

#[test]
fn what_only_describes_a_session_is_left_out_where_it_cannot_be_read() {
    for (kind, value) in [
        (s::CALLING_STATION_ID, &b"+44 20 7946 0000"[..]),
        (s::CALLED_STATION_ID, b"0800"),
        (s::FRAMED_IP_ADDRESS, &[1]),
        (s::FRAMED_IPV6_PREFIX, &[0, 129]),
        (s::FRAMED_IPV6_PREFIX, &[0; 19]),
        (s::CHARGEABLE_USER_IDENTITY, &[0]),
    ] {
        let plain = read(&[(s::ACCT_STATUS_TYPE, &number(3)), (s::ACCT_SESSION_ID, SESSION)]);
        assert_eq!(interim(kind, value), plain);
    }
}

#[test]
fn nothing_in_the_debug_text_tells_of_a_subscriber() {
    let record = read(&[
        (s::ACCT_STATUS_TYPE, &number(3)),
        (s::ACCT_SESSION_ID, SESSION),
        (s::CALLING_STATION_ID, b"02-00-5E-10-00-01"),
        (s::USER_NAME, b"ann"),
        (s::CHARGEABLE_USER_IDENTITY, b"cui"),
        (s::FRAMED_IP_ADDRESS, &[192, 0, 2, 1]),
    ]);
    let text = format!("{record:?}");
    for hidden in ["10:00:01", "ann", "cui", "192.0.2.1", "97, 110"] {
        assert!(!text.contains(hidden), "{hidden} in {text}");
    }
}

#[test]
fn a_clock_that_is_far_off_is_not_believed() {
    let settings = Settings::default();
    let received = UnixTime(1_800_000_000_000);
    let mut record = interim(s::ACCT_DELAY_TIME, &number(10)).unwrap();
    let sent = UnixTime(received.0 - 10_000);
    assert_eq!(record.at(received, &settings), sent);
    for (event, at) in [
        (received.0 - 3_600_000, received.0 - 3_600_000),
        (received.0 + 200_000, received.0),
        (received.0 + 400_000, sent.0),
        (17_000, sent.0),
    ] {
        record.event = Some(UnixTime(event));
        assert_eq!(record.at(received, &settings), UnixTime(at), "{event}");
    }
    record.delay = u32::MAX;
    assert_eq!(record.at(received, &settings), received);
}
