//! For tests and fuzzing: the bodies of the fuzz targets.

use homeward_model::Instant;

use crate::wire::sms::{self, Concatenation, Part, Reassembly, Reference, SmsReply};
use crate::wire::soap::{self, Head, Version};
use crate::wire::{Invalid, Limits, Reply, json, xml};

const HEAD: Head<'static> = Head { content_type: None, soap_action: None };

/// What came of octets: what they were read as, by each of the readers that may have to.
pub type Outcome = (&'static str, &'static str);

fn name<T>(read: &Result<T, Invalid>, good: &'static str) -> &'static str {
    match read {
        Ok(_) => good,
        Err(Invalid { at, what }) => {
            assert!(!at.is_empty() && !what.is_empty(), "an error says where and what");
            "invalid"
        }
    }
}

fn kind(read: &Result<Reply, Invalid>) -> &'static str {
    match read {
        Ok(Reply::Credentials(_)) => "credentials",
        Ok(Reply::Refused) => "refused",
        Ok(Reply::Invalid(_)) => "told invalid",
        Err(_) => name(read, ""),
    }
}

/// Target `offload_json`: as a request, and as a reply. What is read is written and read again.
pub fn fuzz_json(data: &[u8]) {
    let _ = run_json(data);
}

/// As [`fuzz_json`]; gives what came of it.
pub fn run_json(data: &[u8]) -> Outcome {
    let request = json::decode_request(data, Limits::REQUEST);
    if let Ok(request) = &request {
        let again = json::decode_request(&json::encode_request(request), Limits::REQUEST);
        assert_eq!(again.as_ref(), Ok(request), "what was read can be written");
    }
    let reply = json::decode_reply(data, Limits::REPLY);
    if let Ok(Reply::Credentials(answer)) = &reply {
        let octets = json::encode_answer(answer);
        assert!(octets.is_ok(), "a password that was read is text");
        // A short text may be a longer one with its escapes.
        let limits = Limits { octets: usize::MAX, ..Limits::REPLY };
        let again = octets.and_then(|octets| json::decode_reply(&octets, limits));
        assert_eq!(again, reply, "what was read can be written");
    }
    (name(&request, "request"), kind(&reply))
}

/// Target `offload_xml`: as [`fuzz_json`].
pub fn fuzz_xml(data: &[u8]) {
    let _ = run_xml(data);
}

/// As [`fuzz_xml`]; gives what came of it.
pub fn run_xml(data: &[u8]) -> Outcome {
    let limits = Limits { octets: usize::MAX, ..Limits::REPLY };
    let request = xml::decode_request(data, Limits::REQUEST);
    if let Ok(request) = &request {
        let again = xml::encode_request(request).and_then(|xml| xml::decode_request(&xml, limits));
        assert_eq!(again.as_ref(), Ok(request), "what was read can be written");
    }
    let reply = xml::decode_reply(data, Limits::REPLY);
    if let Ok(Reply::Credentials(answer)) = &reply {
        let again = xml::encode_answer(answer).and_then(|xml| xml::decode_reply(&xml, limits));
        assert_eq!(again, reply, "what was read can be written");
    }
    (name(&request, "request"), kind(&reply))
}

/// Target `offload_soap`: as a call, and as a reply. A fault that is due can be read.
pub fn fuzz_soap(data: &[u8]) {
    let _ = run_soap(data);
}

/// As [`fuzz_soap`]; gives what came of it.
pub fn run_soap(data: &[u8]) -> Outcome {
    let limits = Limits { octets: usize::MAX, ..Limits::REPLY };
    let called = match soap::decode_call(data, HEAD, Limits::REQUEST) {
        Ok(call) => {
            let again = soap::encode_call(call.version, &call.request);
            let again = again.map(|octets| soap::decode_call(&octets, HEAD, limits));
            assert_eq!(again, Ok(Ok(call)), "what was read can be written");
            "call"
        }
        Err(fault) => {
            let read = xml::decode_reply(&fault.encode(), limits);
            assert!(
                read.is_err_and(|error| error.at == "the root element"),
                "a fault is XML, and an envelope"
            );
            let read = soap::decode_reply(&fault.encode(), limits);
            match fault.code() {
                soap::Code::Sender => {
                    assert!(matches!(read, Ok(Reply::Invalid(_))), "a fault says what is wrong");
                    "sender"
                }
                soap::Code::VersionMismatch => "version",
                soap::Code::MustUnderstand => "must understand",
                soap::Code::Receiver => panic!("nothing is wrong here"),
            }
        }
    };
    let reply = soap::decode_reply(data, Limits::REPLY);
    if let Ok(Reply::Credentials(answer)) = &reply {
        for version in [Version::V11, Version::V12] {
            let again = soap::encode_answer(version, answer);
            let again = again.and_then(|octets| soap::decode_reply(&octets, limits));
            assert_eq!(again, reply, "what was read can be written");
        }
    }
    (called, kind(&reply))
}

/// Target `offload_sms`: the first octet says whether the rest is a text, or deliveries one after
/// the other: a sender's number, esm_class, data_coding, length, and so many octets.
pub fn fuzz_sms(data: &[u8]) {
    let _ = run_sms(data);
}

/// As [`fuzz_sms`]; gives what came of it.
pub fn run_sms(data: &[u8]) -> Outcome {
    match data.split_first() {
        Some((0, rest)) => match std::str::from_utf8(rest) {
            Ok(text) => run_text(text),
            Err(_) => ("no text", "no text"),
        },
        Some((_, rest)) => (run_deliveries(rest), "deliveries"),
        None => ("nothing", "nothing"),
    }
}

fn run_text(text: &str) -> Outcome {
    let request = sms::decode_request(text);
    if let Ok(request) = &request {
        let again = sms::with_nonce(sms::encode_request(request), sms::nonce(text));
        assert_eq!(sms::nonce(&again), sms::nonce(text), "its nonce with it");
        assert_eq!(sms::decode_request(&again).as_ref(), Ok(request), "it can be written");
        carried(&again);
    }
    let reply = sms::decode_reply(text);
    let said = match &reply {
        Ok(SmsReply::Credentials(answer)) => {
            let again = sms::encode_answer(&answer.answer);
            assert!(again.is_ok(), "a password that was read is text");
            if let Ok(again) = again {
                let again = sms::with_nonce(again, sms::nonce(text));
                assert_eq!(sms::nonce(&again), sms::nonce(text), "its nonce with it");
                carried(&again);
                let Ok(SmsReply::Credentials(read)) = sms::decode_reply(&again) else {
                    panic!("what was read can be written");
                };
                assert_eq!(read.answer, answer.answer, "what was read can be written");
            }
            "credentials"
        }
        Ok(SmsReply::Refused) => "refused",
        Err(_) => name(&reply, ""),
    };
    (name(&request, "request"), said)
}

/// Has a text go out in segments and come in again, the last one first.
fn carried(text: &str) {
    let mut machine = Reassembly::new(sms::Settings { parts: u8::MAX, ..Default::default() });
    let Ok(segments) = sms::split(text, Reference::Long(7)) else {
        panic!("what we write has safe characters alone");
    };
    let count = segments.len();
    let mut full = None;
    for (at, segment) in segments.iter().rev().enumerate() {
        let part = Part::decode(segment.esm_class(), sms::DATA_CODING, &segment.octets);
        let came = part.and_then(|part| machine.handle_part(Instant::ORIGIN, &(), part));
        full = came.unwrap_or_default();
        assert_eq!(full.is_some(), at + 1 == count, "it is whole with the last one");
    }
    let read = full.map(|full| full.text().map(|read| read.as_str() == text));
    assert_eq!(read, Some(Ok(true)), "it comes out as it went in");
}

fn run_deliveries(mut rest: &[u8]) -> &'static str {
    let settings = sms::Settings { per_sender: 2, messages: 3, ..Default::default() };
    let mut machine = Reassembly::new(settings.clone());
    let mut now = Instant::ORIGIN;
    let mut came_to = "nothing";
    while let [sender, esm_class, coding, len, after @ ..] = rest {
        let Some((octets, after)) = after.split_at_checked(usize::from(*len)) else { break };
        rest = after;
        now = now + settings.timeout / 4;
        let Ok(part) = Part::decode(*esm_class, *coding, octets) else { continue };
        if let Some(Concatenation { total, number, .. }) = part.concatenation {
            assert!((1..=total).contains(&number), "there is such a segment");
        }
        if let Ok(Some(full)) = machine.handle_part(now, sender, part) {
            came_to = if full.text().is_ok() { "text" } else { "other octets" };
        }
        assert!(machine.open() <= settings.messages, "there are never more than that");
        assert_eq!(machine.poll_timeout().is_some(), machine.open() > 0, "what is open times out");
    }
    machine.handle_timeout(now + settings.timeout);
    assert_eq!(machine.open(), 0, "nothing stays");
    came_to
}
