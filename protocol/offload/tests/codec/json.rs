//! What is no JSON of ours.

use homeward_model::Secret;
use homeward_offload::wire::{CredentialAnswer, HandoffKeys, Limits, Reply, json};

use crate::any::{self, IMSI, MAC};

fn wrong(text: &str) -> String {
    json::decode_request(text.as_bytes(), Limits::REQUEST).unwrap_err().to_string()
}

#[test]
fn a_request_is_an_object_of_four_fields() {
    let octets = json::encode_request(&any::plain_request());
    let text = r#"{"imsi":"999700123456789","imei":"356938035643809","mac":"02:00:5e:10:00:01"}"#;
    assert_eq!(std::str::from_utf8(&octets).unwrap(), text);
}

#[test]
fn hand_off_keys_are_a_field_more_of_each() {
    let mut request = any::plain_request();
    request.handoff = true;
    let octets = json::encode_request(&request);
    let text =
        format!(r#"{{"imsi":"{IMSI}","imei":"{}","mac":"{MAC}","handoff":true}}"#, any::IMEI);
    assert_eq!(std::str::from_utf8(&octets).unwrap(), text);
    assert_eq!(json::decode_request(&octets, Limits::REQUEST), Ok(request));
    let other = text.replace("true", "false");
    assert_eq!(
        json::decode_request(other.as_bytes(), Limits::REQUEST),
        Ok(any::plain_request()),
        "who says no says nothing"
    );
    assert_eq!(wrong(&text.replace("true", "1")), "handoff: give true or false");

    let answer = CredentialAnswer { handoff: Some(any::plain_handoff()), ..any::plain_answer() };
    let octets = json::encode_answer(&answer).unwrap();
    let text = String::from_utf8(octets.to_vec()).unwrap();
    let keys = format!(
        r#","handoff":{{"name":"hdjv3@wifi.example.net","root":"{}","version":1770000000}}}}"#,
        any::ROOT
    );
    assert!(text.ends_with(&keys), "{text}");
    let without = text.replace(&keys, "}");
    let read = |text: &str| json::decode_reply(text.as_bytes(), Limits::REPLY);
    assert_eq!(read(&text), Ok(Reply::Credentials(Box::new(answer))));
    assert_eq!(read(&without), Ok(Reply::Credentials(Box::new(any::plain_answer()))));
    for (from, to, says) in [
        (any::ROOT, "0123", "handoff.root: give 64 hexadecimal digits"),
        ("0123456789abcdef\",", "0123456789abcdeg\",", "handoff.root: give 64 hexadecimal digits"),
        ("1770000000", "0", "handoff.version: give a whole number, 1 to 4294967295"),
        ("1770000000", "4294967296", "handoff.version: give a whole number, 1 to 4294967295"),
        ("\"name\"", "\"nome\"", "handoff.name: is missing: give it"),
    ] {
        assert!(text.contains(from), "{from}: {text}");
        assert_eq!(read(&text.replace(from, to)).unwrap_err().to_string(), says);
    }
    let keys = |root: &[u8], version| {
        let keys = HandoffKeys { root: Secret::new(root), version, ..any::plain_handoff() };
        let answer = CredentialAnswer { handoff: Some(keys), ..any::plain_answer() };
        json::encode_answer(&answer).unwrap_err().at
    };
    assert_eq!(keys(&[1; 31], 1), "handoff.root");
    assert_eq!(keys(&[1; 32], 0), "handoff.version");
}

#[test]
fn what_is_wrong_with_a_request_is_named() {
    for (text, error) in [
        ("", "line 1 column 0: EOF while parsing a value"),
        ("[]", "the message: give fields with names"),
        ("{}", "imsi: is missing: give it"),
        (r#"{"imsi":"999700123456789"}"#, "mac: is missing: give it"),
        (r#"{"imsi":999700123456789,"mac":"x"}"#, "imsi: give text"),
        (r#"{"imsi":null}"#, "imsi: is missing: give it"),
        (r#"{"imsi":"9997","imsi":"9998"}"#, "imsi: is there twice: give it once"),
        (r#"{"imsi":"9997"}"#, "imsi: an IMSI is 6 to 15 digits; this has 4 characters"),
        (r#"{"imsi":"999700123456789"}x"#, "line 1 column 27: trailing characters"),
        (r#"{"imsi":"999700123456789",}"#, "line 1 column 27: trailing comma"),
    ] {
        assert_eq!(wrong(text), error, "{text}");
    }
    let with = |field: &str| format!(r#"{{"imsi":"{IMSI}","mac":"{MAC}",{field}}}"#);
    let known = "nobody knows it: give imsi, imei, mac, previous and handoff";
    assert_eq!(wrong(&with(r#""iemi":1"#)), format!("iemi: {known}"));
    assert_eq!(wrong(&with(r#""999700123456789":1"#)), format!("a field: {known}"));
    assert!(wrong(&with(r#""previous":"@""#)).starts_with("previous: "));
    assert!(wrong(&with(r#""imei":"1""#)).starts_with("imei: an IMEI is"));
    assert_eq!(
        wrong(&format!(r#"{{"imsi":"{IMSI}","mac":"03:00:5e:10:00:01"}}"#)),
        "mac: give a station's MAC address, such as 02:00:5e:10:00:01"
    );
}

#[test]
fn a_request_too_long_or_too_deep_is_not_read() {
    let long = format!("{}{{}}", " ".repeat(Limits::REQUEST.octets));
    assert_eq!(wrong(&long), "the JSON: 16386 octets; 16384 at most");
    let nested = |levels: usize| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
    assert_eq!(wrong(&nested(16)), "the message: give fields with names");
    assert_eq!(wrong(&nested(17)), "line 1 column 18: too many levels: give fewer");
    let deep = format!("{}1", "{\"a\":".repeat(3000));
    assert!(wrong(&deep).contains("too many levels"));
    assert_eq!(
        json::decode_request(b"{\xff}", Limits::REQUEST).unwrap_err().to_string(),
        "the JSON: octet 2 is not UTF-8: encode it so"
    );
}

#[test]
fn a_reply_may_say_more_than_is_known_and_not_less() {
    let octets = json::encode_answer(&any::plain_answer()).unwrap();
    let text = String::from_utf8(octets.to_vec()).unwrap();
    let more = text
        .replace(r#""eap""#, r#""later":[{"x":1.5}],"eap""#)
        .replace("{\"username", "{\"new\":1e99,\"username");
    let read = json::decode_reply(more.as_bytes(), Limits::REPLY);
    assert_eq!(read, Ok(Reply::Credentials(Box::new(any::plain_answer()))));
    let wrong = |from: &str, to: &str| {
        assert!(text.contains(from), "{text}");
        let text = text.replace(from, to);
        json::decode_reply(text.as_bytes(), Limits::REPLY).unwrap_err().to_string()
    };
    assert_eq!(wrong("\"username\"", "\"user\""), "username: is missing: give it");
    assert_eq!(wrong(any::PASSWORD, ""), "password: is empty: give one");
    assert_eq!(wrong("\"one_time\":false", "\"one_time\":0"), "one_time: give true or false");
    assert_eq!(
        wrong("2026-02-07T12:00", "2026-02-30T12:00"),
        "expires: give a time such as 2026-01-31T12:00:00Z"
    );
    assert_eq!(wrong("\"join\":-67", "\"join\":-670"), "policy.join: give dBm, -128 to 127");
    assert_eq!(wrong("\"dwell\":3", "\"dwell\":\"3\""), "policy.dwell: give a whole number");
    assert_eq!(wrong("\"dwell\":3", "\"dwell\":-3"), "policy.dwell: give seconds, 0 or more");
    assert_eq!(
        wrong("\"Town\"", "\"\""),
        "policy.networks[1].ssid: give 1 to 32 octets, as text or as hex: and hex digits"
    );
    assert_eq!(wrong("\"peap\"", "\"leap\""), "policy.eap: give peap, ttls-pap or ttls-mschapv2");
    assert_eq!(
        wrong(
            "\"schedule\":[]",
            "\"schedule\":[{\"days\":[\"Mon\"],\"from\":\"08:00\",\"to\":\"09:00\"}]"
        ),
        "policy.schedule[1].days[1]: give mon, tue, wed, thu, fri, sat or sun"
    );
    // A policy that could not be followed never comes to a device.
    assert!(
        wrong("\"leave\":-77", "\"leave\":-66").starts_with("policy.leave: -66 dBm is less than")
    );
    assert!(wrong("aaa.example.net", "aaa").starts_with("policy.server_name: "));
    assert_eq!(json::decode_reply(b"[]", Limits::REPLY).unwrap_err().at, "the reply");
    assert_eq!(json::decode_reply(br#"{"error":"no"}"#, Limits::REPLY).unwrap_err().at, "error");
}
