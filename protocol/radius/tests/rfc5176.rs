//! RFC 5176: Disconnect-Request, both sides, and CoA-Request as the core sends it.
//!
//! The vectors were computed apart from this crate, with Python's hashlib and hmac, secret
//! "xyzzy5461".
#![cfg(test)]

use std::net::SocketAddr;
use std::time::Duration;

use homeward_model::{
    Bandwidth, Instant, Mac, Seconds, Secret, ServiceTerms, UnixTime, Vlan, address::decode_hex,
};
use homeward_radius::client::AnswerDrop;
use homeward_radius::dictionary::{standard, wispr};
use homeward_radius::dynauth::{
    Disconnect, DisconnectDrop, DisconnectReceived, ErrorCause, Receiver, ReceiverSettings,
    SendError, Sender, SenderEvent, SenderSettings,
};
use homeward_radius::testing::Counted;
use homeward_radius::{Allowed, Builder, Code, EncodeError, Packet, SharedSecret};

const REQUEST: &str = "280b00548e1605d269a54b64b94de7bf0bbe6c8f50127f34a63976ea185aee862d7cb111bd\
     fd010e3032303035653130303030311f1330322d30302d35452d31302d30302d3031200767772d313737066b49d200";
const NAK: &str = "2a0b002c54100213e934f60919374e24b4e561ee5012e985ec0c699b427fb760d4408be887c565\
     06000001f7";

const MAC: Mac = Mac::new([2, 0, 0x5e, 0x10, 0, 1]);
const SAID: UnixTime = UnixTime(1_800_000_000_000);

fn secret() -> SharedSecret {
    SharedSecret::new(&Secret::new("xyzzy5461")).unwrap()
}

fn disconnect() -> Disconnect<'static> {
    Disconnect { mac: MAC, nas_identifier: "gw-17", at: SAID }
}

fn core() -> SocketAddr {
    "192.0.2.1:4711".parse().unwrap()
}

fn gateway() -> SocketAddr {
    "198.51.100.1:3799".parse().unwrap()
}

fn receiver() -> Receiver {
    Receiver::new("gw-17", ReceiverSettings::default())
}

fn receive(receiver: &mut Receiver, octets: &[u8], seconds_later: i64) -> DisconnectReceived {
    let (now, unix) = (Instant::ORIGIN, UnixTime(SAID.0 + seconds_later * 1000));
    receiver.handle(core(), &secret(), octets, now, unix, &mut Counted(1))
}

/// The Error-Cause of a refusal.
fn refusal(received: DisconnectReceived) -> ErrorCause {
    let DisconnectReceived::Reply(octets) = received else { panic!("{received:?}") };
    let packet = Packet::decode(&octets).unwrap();
    assert!(matches!(packet.code(), Code::DisconnectNak | Code::CoaNak));
    let cause = packet.attributes().find(|a| a.kind == standard::ERROR_CAUSE).unwrap();
    ErrorCause(cause.integer().unwrap())
}

/// A signed request with these attributes.
fn request(code: Code, fill: impl FnOnce(&mut Builder<'_>) -> Result<(), EncodeError>) -> Vec<u8> {
    let (mut out, secret) = (Vec::new(), secret());
    let mut packet = Builder::request(&mut out, &secret, code, 11, [0; 16]);
    packet.integer(standard::EVENT_TIMESTAMP, 1_800_000_000).unwrap();
    fill(&mut packet).unwrap();
    packet.finish();
    out
}

#[test]
fn a_disconnect_request_is_written_as_computed_elsewhere() {
    let (mut out, secret) = (Vec::new(), secret());
    let code = Code::DisconnectRequest;
    let mut packet = Builder::request(&mut out, &secret, code, 11, [0; 16]);
    disconnect().attributes().unwrap().write_to(&mut packet).unwrap();
    packet.finish();
    assert_eq!(out, decode_hex(REQUEST).unwrap());
    assert_eq!(Disconnect::decode(&Packet::decode(&out).unwrap()), Ok(disconnect()));
}

#[test]
fn a_refusal_is_written_as_computed_elsewhere() {
    let mut receiver = receiver();
    let octets = decode_hex(REQUEST).unwrap();
    let received = receive(&mut receiver, &octets, 0);
    let DisconnectReceived::Disconnect { mac, ticket } = received else { panic!("{received:?}") };
    assert_eq!(mac, MAC);
    let refusal = Err(ErrorCause::SESSION_CONTEXT_NOT_FOUND);
    let answer = receiver.respond(&ticket, &secret(), refusal, &mut Counted(1)).unwrap();
    assert_eq!(answer, decode_hex(NAK).unwrap());
    assert_eq!(
        ErrorCause::SESSION_CONTEXT_NOT_FOUND.to_string(),
        "Session-Context-Not-Found (503)"
    );
}

#[test]
fn the_core_hears_that_the_session_ended_or_why_not() {
    for (outcome, expected) in
        [(Ok(()), None), (Err(ErrorCause::SESSION_CONTEXT_NOT_FOUND), Some(ErrorCause(503)))]
    {
        let (mut sender, mut receiver) = (Sender::new(SenderSettings::default()), receiver());
        let (secret, mut entropy) = (secret(), Counted(2));
        let id = sender
            .disconnect(
                Instant::ORIGIN,
                &mut entropy,
                gateway(),
                &secret,
                &disconnect().attributes().unwrap(),
            )
            .unwrap();
        let (to, octets) = sender.poll_transmit().unwrap();
        assert_eq!(to, gateway());
        let received = receive(&mut receiver, &octets, 1);
        let DisconnectReceived::Disconnect { ticket, .. } = received else {
            panic!("{received:?}")
        };
        let answer = receiver.respond(&ticket, &secret, outcome, &mut entropy).unwrap().to_vec();
        // Not from there, not on that identifier: dropped.
        sender.handle_datagram(core(), &answer);
        let stranger =
            Some(SenderEvent::Dropped { source: core(), reason: AnswerDrop::Unexpected });
        assert_eq!(sender.poll_event(), stranger);
        sender.handle_datagram(gateway(), &answer);
        let event = match expected {
            None => SenderEvent::Done { id },
            cause => SenderEvent::Refused { id, cause },
        };
        assert_eq!(sender.poll_event(), Some(event));
        assert_eq!(sender.poll_timeout(), None);
    }
}

/// What a NAS with that secret answers.
fn nas_answers(request: &[u8], code: Code, cause: Option<ErrorCause>) -> Vec<u8> {
    let (mut out, secret) = (Vec::new(), secret());
    let request = Packet::decode(request).unwrap();
    let (id, authenticator) = (request.identifier(), request.authenticator());
    let mut packet = Builder::answer(&mut out, &secret, code, id, authenticator, 1);
    if let Some(ErrorCause(number)) = cause {
        packet.integer(standard::ERROR_CAUSE, number).unwrap();
    }
    packet.finish();
    out
}

#[test]
fn a_coa_request_says_what_is_another_and_takes_answers_to_its_kind_only() {
    let (mut sender, mut entropy) = (Sender::new(SenderSettings::default()), Counted(2));
    let mut list = disconnect().attributes().unwrap();
    let terms = ServiceTerms {
        bandwidth: Bandwidth { up: None, down: Some(5) },
        vlan: Some(Vlan::try_from(30).unwrap()),
        ..ServiceTerms::default()
    };
    Allowed { terms, at_most: Some(Seconds(60)), quota_left: None }.push_to(&mut list).unwrap();
    for (code, cause) in
        [(Code::CoaAck, None), (Code::CoaNak, Some(ErrorCause::UNSUPPORTED_ATTRIBUTE))]
    {
        let sent = sender.change(Instant::ORIGIN, &mut entropy, gateway(), &secret(), &list);
        let id = sent.unwrap();
        let octets = sender.poll_transmit().unwrap().1;
        let packet = Packet::decode(&octets).unwrap();
        assert_eq!(packet.code(), Code::CoaRequest);
        assert_eq!(packet.find(standard::NAS_IDENTIFIER), Some(&b"gw-17"[..]));
        assert_eq!(packet.find(standard::SESSION_TIMEOUT), Some(&60u32.to_be_bytes()[..]));
        assert_eq!(packet.find(standard::TUNNEL_PRIVATE_GROUP_ID), Some(&b"30"[..]));
        let rate = |kind| packet.find_vendor(wispr::VENDOR, kind);
        assert_eq!(rate(wispr::BANDWIDTH_MAX_DOWN), Some(&5u32.to_be_bytes()[..]));
        assert_eq!(rate(wispr::BANDWIDTH_MAX_UP), None);
        let wrong = nas_answers(&octets, Code::DisconnectAck, None);
        sender.handle_datagram(gateway(), &wrong);
        let dropped = sender.poll_event().unwrap();
        assert!(matches!(dropped, SenderEvent::Dropped { .. }), "{dropped:?}");
        sender.handle_datagram(gateway(), &nas_answers(&octets, code, cause));
        let expected = match cause {
            None => SenderEvent::Done { id },
            cause => SenderEvent::Refused { id, cause },
        };
        assert_eq!(sender.poll_event(), Some(expected));
        assert!(sender.has_room_for(gateway()) && sender.poll_timeout().is_none());
    }
}

#[test]
fn an_unanswered_disconnect_request_is_sent_again_and_given_up() {
    let mut sender = Sender::new(SenderSettings::default());
    let mut entropy = Counted(2);
    let id = sender
        .disconnect(
            Instant::ORIGIN,
            &mut entropy,
            gateway(),
            &secret(),
            &disconnect().attributes().unwrap(),
        )
        .unwrap();
    let (mut sent, mut last) = (Vec::new(), Instant::ORIGIN);
    while let Some(now) = sender.poll_timeout() {
        sent.extend(std::iter::from_fn(|| sender.poll_transmit()));
        sender.handle_timeout(now, &mut entropy);
        last = now;
    }
    assert!(sent.len() >= 6 && sent.iter().all(|one| *one == sent[0]), "{}", sent.len());
    assert_eq!(last, Instant::ORIGIN + Duration::from_secs(5));
    assert_eq!(sender.poll_event(), Some(SenderEvent::TimedOut { id }));
}

#[test]
fn at_most_256_requests_are_outstanding_to_one_gateway() {
    let mut sender = Sender::new(SenderSettings::default());
    let (mut entropy, secret, now) = (Counted(2), secret(), Instant::ORIGIN);
    for _ in 0..256 {
        assert!(sender.has_room_for(gateway()));
        sender
            .disconnect(now, &mut entropy, gateway(), &secret, &disconnect().attributes().unwrap())
            .unwrap();
    }
    assert!(sender.has_room() && !sender.has_room_for(gateway()) && sender.has_room_for(core()));
    let one_more = sender.disconnect(
        now,
        &mut entropy,
        gateway(),
        &secret,
        &disconnect().attributes().unwrap(),
    );
    assert_eq!(one_more, Err(SendError::Full(256)));
    assert!(
        sender
            .disconnect(now, &mut entropy, core(), &secret, &disconnect().attributes().unwrap())
            .is_ok()
    );
}

#[test]
fn a_retransmission_gets_the_same_answer() {
    let mut receiver = receiver();
    let octets = decode_hex(REQUEST).unwrap();
    let received = receive(&mut receiver, &octets, 0);
    let DisconnectReceived::Disconnect { ticket, .. } = received else { panic!("{received:?}") };
    assert!(matches!(receive(&mut receiver, &octets, 0), DisconnectReceived::InProgress));
    receiver.respond(&ticket, &secret(), Ok(()), &mut Counted(1)).unwrap();
    let again = receive(&mut receiver, &octets, 1);
    let DisconnectReceived::Reply(answer) = again else { panic!("{again:?}") };
    assert_eq!(Packet::decode(&answer).unwrap().code(), Code::DisconnectAck);
}

#[test]
fn a_replay_from_elsewhere_or_later_is_dropped() {
    let mut receiver = receiver();
    let (octets, mut entropy) = (decode_hex(REQUEST).unwrap(), Counted(1));
    let received = receive(&mut receiver, &octets, 0);
    let DisconnectReceived::Disconnect { ticket, .. } = received else { panic!("{received:?}") };
    receiver.respond(&ticket, &secret(), Ok(()), &mut entropy).unwrap();
    let later = Instant::ORIGIN + Duration::from_secs(60);
    for (source, now) in [(gateway(), Instant::ORIGIN), (core(), later)] {
        for _ in 0..2 {
            let replayed = receiver.handle(source, &secret(), &octets, now, SAID, &mut entropy);
            assert!(
                matches!(replayed, DisconnectReceived::Dropped(DisconnectDrop::Replayed)),
                "{replayed:?}"
            );
        }
    }
}

#[test]
fn the_memory_against_replay_is_bounded_and_the_oldest_goes_first() {
    let settings = ReceiverSettings { remembered: 2, ..ReceiverSettings::default() };
    let mut receiver = Receiver::new("gw-17", settings);
    let mut entropy = Counted(1);
    let mut admitted = |minute: u64, mac: &str| {
        let octets = request(Code::DisconnectRequest, |packet| {
            packet.text(standard::USER_NAME, mac)?;
            packet.text(standard::NAS_IDENTIFIER, "gw-17")
        });
        // Minutes apart, the duplicates that get the same answer are forgotten.
        let now = Instant::ORIGIN + Duration::from_secs(60 * minute);
        let received = receiver.handle(core(), &secret(), &octets, now, SAID, &mut entropy);
        matches!(received, DisconnectReceived::Disconnect { .. })
    };
    assert!(admitted(1, "02005e100001") && admitted(2, "02005e100002"));
    assert!(!admitted(3, "02005e100002"));
    assert!(admitted(4, "02005e100003") && admitted(5, "02005e100001"));
}

#[test]
fn an_answer_without_message_authenticator_is_taken_if_its_authenticator_is_right() {
    for (key, is_taken) in [(&b"xyzzy5461"[..], true), (b"xyzzy5462", false)] {
        let mut sender = Sender::new(SenderSettings::default());
        let (now, list) = (Instant::ORIGIN, disconnect().attributes().unwrap());
        let sent = sender.disconnect(now, &mut Counted(2), gateway(), &secret(), &list);
        let (id, octets) = (sent.unwrap(), sender.poll_transmit().unwrap().1);
        let mut answer = [&[41, octets[1], 0, 20][..], &octets[4..20]].concat();
        let digest = <md5::Md5 as md5::Digest>::new_with_prefix(&answer);
        let digest = md5::Digest::chain_update(digest, key);
        answer[4..20].copy_from_slice(&md5::Digest::finalize(digest));
        sender.handle_datagram(gateway(), &answer);
        let event = sender.poll_event().unwrap();
        assert_eq!(event == SenderEvent::Done { id }, is_taken, "{event:?}");
        assert_eq!(sender.poll_timeout().is_none(), is_taken);
    }
}

#[test]
fn a_request_outside_the_window_of_300_seconds_is_dropped() {
    let octets = decode_hex(REQUEST).unwrap();
    for (seconds, stale) in [(301, true), (300, false), (-300, false), (-301, true)] {
        let received = receive(&mut receiver(), &octets, seconds);
        let dropped = matches!(received, DisconnectReceived::Dropped(DisconnectDrop::Stale(_)));
        assert_eq!(dropped, stale, "{seconds} s: {received:?}");
    }
}

#[test]
fn a_request_without_event_timestamp_is_dropped() {
    let (mut out, secret) = (Vec::new(), secret());
    let code = Code::DisconnectRequest;
    let mut packet = Builder::request(&mut out, &secret, code, 11, [0; 16]);
    packet.text(standard::USER_NAME, "02005e100001").unwrap();
    packet.finish();
    let received = receive(&mut receiver(), &out, 0);
    let DisconnectReceived::Dropped(reason) = received else { panic!("{received:?}") };
    assert_eq!(reason.label(), "no-timestamp");
}

#[test]
fn a_request_with_any_octet_changed_is_dropped() {
    let octets = decode_hex(REQUEST).unwrap();
    for at in 0..octets.len() {
        let mut forged = octets.clone();
        forged[at] ^= 1;
        let received = receive(&mut receiver(), &forged, 0);
        assert!(matches!(received, DisconnectReceived::Dropped(_)), "octet {at}: {received:?}");
    }
}

#[test]
fn an_unsigned_request_is_dropped() {
    // Its Request Authenticator is right.
    let mut octets = decode_hex(REQUEST).unwrap();
    octets.drain(20..38);
    octets[3] -= 18;
    octets[4..20].fill(0);
    let digest = <md5::Md5 as md5::Digest>::new_with_prefix(&octets);
    let digest = md5::Digest::chain_update(digest, b"xyzzy5461");
    octets[4..20].copy_from_slice(&md5::Digest::finalize(digest));
    let received = receive(&mut receiver(), &octets, 0);
    let DisconnectReceived::Dropped(reason) = received else { panic!("{received:?}") };
    assert_eq!(reason.label(), "no-message-authenticator");
}

#[test]
fn what_a_gateway_cannot_do_is_refused_with_its_cause() {
    let code = Code::DisconnectRequest;
    let (user, calling) = (standard::USER_NAME, standard::CALLING_STATION_ID);
    let nas = standard::NAS_IDENTIFIER;
    for (octets, cause) in [
        (request(code, |p| p.text(user, "02005e100001").and(p.text(nas, "gw-18"))), 403),
        (request(code, |p| p.text(user, "02005e100001")), 402),
        (request(code, |p| p.text(nas, "gw-17")), 402),
        (request(code, |p| p.text(user, "someone").and(p.text(nas, "gw-17"))), 407),
        (
            request(code, |p| {
                p.text(user, "02005e100001")?;
                p.text(calling, "02005e100002")?;
                p.text(nas, "gw-17")
            }),
            407,
        ),
        (request(code, |p| p.text(user, "02005e100001").and(p.text(user, "02005e100001"))), 404),
        (request(code, |p| p.integer(standard::SERVICE_TYPE, 17)), 401),
        (request(Code::CoaRequest, |p| p.text(user, "02005e100001")), 406),
    ] {
        assert_eq!(refusal(receive(&mut receiver(), &octets, 0)), ErrorCause(cause));
    }
}
