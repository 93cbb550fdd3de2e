//! RFC 3931: data messages, cookies, sequence numbers. And what a Linux kernel makes of them
//! (net/l2tp/l2tp_core.c: `l2tp_build_l2tpv3_header`, `l2tp_recv_common`).
#![cfg(test)]

use homeward_l2tp::{
    Cookie, Delivery, Discard, Encapsulation, Fragment, HeaderTemplate, Inbound, InboundSettings,
    Outbound, Sequence, SessionConfig, SessionId, Sublayer, peek_session_id,
};
use homeward_model::Instant;
use proptest::prelude::*;

const NOW: Instant = Instant::ORIGIN;
const FRAME: [u8; 20] = *b"\x02\0\0\0\0\x01\x02\0\0\0\0\x02\x08\0ABCDEF";

fn session(encapsulation: Encapsulation, cookie: &[u8], sublayer: Sublayer) -> SessionConfig {
    SessionConfig {
        local_session: SessionId::new(0x0a0b_0c0d).unwrap(),
        remote_session: SessionId::new(0x1a1b_1c1d).unwrap(),
        local_cookie: Cookie::try_from(cookie).unwrap(),
        remote_cookie: Cookie::try_from(cookie).unwrap(),
        sublayer,
        encapsulation,
    }
}

/// The same session as the other end sees it.
fn mirrored(session: &SessionConfig) -> SessionConfig {
    SessionConfig {
        local_session: session.remote_session,
        remote_session: session.local_session,
        local_cookie: session.remote_cookie,
        remote_cookie: session.local_cookie,
        ..*session
    }
}

fn numbered() -> SessionConfig {
    session(Encapsulation::Udp, &[7; 8], Sublayer::Numbered)
}

/// A packet as the other end sends it.
fn packet(session: &SessionConfig, number: u32) -> Vec<u8> {
    let template = HeaderTemplate::new(&mirrored(session));
    [&template.header(Sequence::new(number), Fragment::Whole)[..], &FRAME].concat()
}

fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.bytes().filter(|c| !c.is_ascii_whitespace()).collect();
    digits
        .chunks(2)
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
        .collect()
}

#[test]
fn headers_have_the_octets_of_sections_4_1_and_4_6() {
    use Encapsulation::{Ip, Udp};
    let four = hex("c0c1c2c3");
    let eight = hex("c0c1c2c3c4c5c6c7");
    for (encapsulation, cookie, sublayer, expected) in [
        (Udp, &[][..], Sublayer::None, "0003 0000 1a1b1c1d"),
        (Udp, &four, Sublayer::None, "0003 0000 1a1b1c1d c0c1c2c3"),
        (Udp, &eight, Sublayer::Unnumbered, "0003 0000 1a1b1c1d c0c1c2c3c4c5c6c7 00000000"),
        (Udp, &eight, Sublayer::Numbered, "0003 0000 1a1b1c1d c0c1c2c3c4c5c6c7 40123456"),
        (Ip, &[], Sublayer::None, "1a1b1c1d"),
        (Ip, &[], Sublayer::Numbered, "1a1b1c1d 40123456"),
        (Ip, &four, Sublayer::Unnumbered, "1a1b1c1d c0c1c2c3 00000000"),
        (Ip, &eight, Sublayer::Numbered, "1a1b1c1d c0c1c2c3c4c5c6c7 40123456"),
    ] {
        let session = session(encapsulation, cookie, sublayer);
        let template = HeaderTemplate::new(&session);
        let header = template.header(Sequence::new(0x0012_3456), Fragment::Whole);
        assert_eq!(&header[..], hex(expected), "{encapsulation:?} {sublayer:?}");
        assert_eq!(template.len(), header.len());
        assert_eq!(session.sent_header_len(), header.len());
        assert_eq!(format!("{header:?}"), format!("Header[{} octets]", header.len()));
    }
}

#[test]
fn a_frame_arrives_as_it_was_sent_whatever_the_two_ends_agreed_on() {
    for encapsulation in [Encapsulation::Udp, Encapsulation::Ip] {
        for cookie in [&[][..], &[1, 2, 3, 4], &[1, 2, 3, 4, 5, 6, 7, 8]] {
            for sublayer in [Sublayer::None, Sublayer::Unnumbered, Sublayer::Numbered] {
                let session = session(encapsulation, cookie, sublayer);
                let mut outbound = Outbound::new(&mirrored(&session));
                let mut inbound = Inbound::new(&session, InboundSettings::default());
                for _ in 0..3 {
                    let piece = outbound.plan(FRAME.len(), 1400).unwrap().next().unwrap();
                    let packet = [&outbound.header(&piece)[..], piece.of(&FRAME)].concat();
                    assert_eq!(session.received_header_len(), packet.len() - FRAME.len());
                    assert_eq!(peek_session_id(&packet, encapsulation), Ok(session.local_session));
                    assert_eq!(inbound.accept(&packet, NOW), Ok(Delivery::Frame(&FRAME)));
                }
                assert_eq!((inbound.counters().frames, inbound.counters().octets), (3, 60));
                assert_eq!((outbound.counters().frames, outbound.counters().packets), (3, 3));
            }
        }
    }
}

#[test]
fn control_messages_are_recognised_and_refused() {
    let udp = session(Encapsulation::Udp, &[7; 8], Sublayer::Numbered);
    let ip = session(Encapsulation::Ip, &[7; 8], Sublayer::Numbered);
    // 3.2.1: T, L and S set, version 3, a length, a control connection id, Ns, Nr. An SCCRQ.
    let control = hex("c803 0014 00000000 0000 0000 8008 0000 0000 0001");
    // 4.1.1.2: over IP, session id zero comes before it.
    let over_ip = [&[0; 4][..], &control].concat();
    for (session, packet) in [(udp, control), (ip, over_ip)] {
        assert_eq!(peek_session_id(&packet, session.encapsulation), Err(Discard::ControlMessage));
        let mut inbound = Inbound::new(&session, InboundSettings::default());
        assert_eq!(inbound.accept(&packet, NOW), Err(Discard::ControlMessage));
        assert_eq!(inbound.counters().discarded(Discard::ControlMessage), 1);
    }
}

#[test]
fn over_udp_only_version_3_is_taken_and_reserved_bits_are_ignored() {
    let session = numbered();
    for (at, value, expected) in [
        (1, 0x02, Err(Discard::Version)),
        (1, 0x04, Err(Discard::Version)),
        (1, 0xf3, Ok(Delivery::Frame(&FRAME))),
        (0, 0x7f, Ok(Delivery::Frame(&FRAME))),
        (2, 0xff, Ok(Delivery::Frame(&FRAME))),
        (3, 0xff, Ok(Delivery::Frame(&FRAME))),
    ] {
        let mut packet = packet(&session, 0);
        packet[at] = value;
        let mut inbound = Inbound::new(&session, InboundSettings::default());
        assert_eq!(inbound.accept(&packet, NOW), expected, "octet {at} as {value:#x}");
    }
}

#[test]
fn a_packet_without_the_cookie_changes_nothing() {
    for cookie in [&[7; 4][..], &[7; 8]] {
        let session = session(Encapsulation::Udp, cookie, Sublayer::Numbered);
        for bit in 0..cookie.len() * 8 {
            let mut inbound = Inbound::new(&session, InboundSettings::default());
            let mut forged = packet(&session, 5000);
            forged[8 + bit / 8] ^= 1 << (bit % 8);
            assert_eq!(inbound.accept(&forged, NOW), Err(Discard::Cookie), "bit {bit}");
            assert_eq!(
                inbound.accept(&packet(&session, 0), NOW),
                Ok(Delivery::Frame(&FRAME)),
                "the forged number has moved nothing"
            );
        }
    }
}

#[test]
fn a_packet_for_another_session_or_cut_off_is_refused() {
    let session = numbered();
    let mut inbound = Inbound::new(&session, InboundSettings::default());
    let mut other = packet(&session, 0);
    other[7] ^= 1;
    assert_eq!(inbound.accept(&other, NOW), Err(Discard::OtherSession));
    let whole = packet(&session, 0);
    for len in 0..20 {
        assert_eq!(inbound.accept(&whole[..len], NOW), Err(Discard::Short), "{len}");
    }
    assert_eq!(inbound.counters().discarded(Discard::Short), 20);
    let labels: Vec<_> =
        inbound.counters().discards().map(|(reason, count)| (reason.label(), count)).collect();
    assert!(labels.contains(&("short", 20)) && labels.contains(&("other-session", 1)));
}

/// 4.6.1: S = 0 has the number ignored. A kernel without `seq send` sends four zeros.
#[test]
fn an_unnumbered_session_takes_what_a_kernel_sends_and_a_numbered_one_does_not() {
    let session = session(Encapsulation::Udp, &[7; 8], Sublayer::Unnumbered);
    let from_kernel = [&hex("0003 0000 0a0b0c0d 0707070707070707 00000000")[..], &FRAME].concat();
    let mut inbound = Inbound::new(&session, InboundSettings::default());
    for _ in 0..3 {
        assert_eq!(inbound.accept(&from_kernel, NOW), Ok(Delivery::Frame(&FRAME)));
    }
    // `seq send`: numbers that are there count.
    let from_kernel = [&hex("0003 0000 0a0b0c0d 0707070707070707 40000009")[..], &FRAME].concat();
    assert_eq!(inbound.accept(&from_kernel, NOW), Ok(Delivery::Frame(&FRAME)));
    assert_eq!(inbound.accept(&from_kernel, NOW), Err(Discard::Duplicate));

    let mut inbound = Inbound::new(&numbered(), InboundSettings::default());
    let without = [&hex("0003 0000 0a0b0c0d 0707070707070707 00000000")[..], &FRAME].concat();
    assert_eq!(inbound.accept(&without, NOW), Err(Discard::Unnumbered));
}

#[test]
fn numbers_begin_at_0_and_go_on_from_0_after_24_bits() {
    let mut outbound = Outbound::new(&numbered());
    let first = outbound.plan(100, 1400).unwrap().next().unwrap();
    assert_eq!(first.sequence.get(), 0);
    for _ in 1..1 << 24 {
        outbound.plan(100, 1400).unwrap();
    }
    let after = outbound.plan(100, 1400).unwrap().next().unwrap();
    assert_eq!(after.sequence.get(), 0);
}

#[test]
fn replays_are_dropped_and_reordered_packets_pass_at_once() {
    let session = numbered();
    let settings = InboundSettings { window: 1024, ..InboundSettings::default() };
    let mut inbound = Inbound::new(&session, settings);
    let frame = Ok(Delivery::Frame(&FRAME[..]));
    for (number, expected) in [
        (0, frame),
        (3, frame),
        (1, frame),
        (1, Err(Discard::Duplicate)),
        (2, frame),
        (0, Err(Discard::Duplicate)),
        (2000, frame),
        (1000, frame),
        (976, Err(Discard::Stale)),
        (977, frame),
        (4, Err(Discard::Stale)),
    ] {
        assert_eq!(inbound.accept(&packet(&session, number), NOW), expected, "{number}");
    }
    assert_eq!(inbound.counters().discarded(Discard::Duplicate), 2);
    assert_eq!(inbound.counters().discarded(Discard::Stale), 2);
}

/// Appendix C: 2^23 - 1 numbers lie behind a number, the rest ahead of it.
#[test]
fn numbers_are_compared_in_a_circle() {
    for (a, b, ahead) in [
        (0, 0, 0),
        (1, 0, 1),
        (0, 1, -1),
        (0, 0xff_ffff, 1),
        (0xff_ffff, 0, -1),
        (0x80_0000, 0, 0x80_0000),
        (0x80_0001, 0, -0x7f_ffff),
        (0, 0x80_0000, 0x80_0000),
    ] {
        let (a, b) = (Sequence::new(a), Sequence::new(b));
        assert_eq!(a.ahead_of(b), ahead, "{a:?} {b:?}");
    }
}

/// RFC 5085: V marks what is no frame. It has no number, so it passes beside the window.
#[test]
fn a_control_channel_message_is_handed_over_as_such() {
    let session = numbered();
    let template = HeaderTemplate::new(&mirrored(&session));
    let header = template.control_header().unwrap();
    assert_eq!(&header[..], hex("0003 0000 0a0b0c0d 0707070707070707 80000000"));
    let packet = [&header[..], b"hello"].concat();
    let mut inbound = Inbound::new(&session, InboundSettings::default());
    for _ in 0..2 {
        assert_eq!(inbound.accept(&packet, NOW), Ok(Delivery::Control(b"hello")));
    }
    assert_eq!((inbound.counters().control, inbound.counters().frames), (2, 0));
    let bare = HeaderTemplate::new(&SessionConfig { sublayer: Sublayer::None, ..session });
    assert!(bare.control_header().is_none(), "no sublayer, no V bit");
}

proptest! {
    /// A network that loses, reorders by less than the window, and duplicates.
    #[test]
    fn every_packet_that_arrives_is_delivered_once(
        start in 0u32..1 << 24,
        arrivals in proptest::collection::vec((0u32..900, 1usize..4), 1..300),
    ) {
        let session = numbered();
        let settings = InboundSettings { window: 1024, ..InboundSettings::default() };
        let mut inbound = Inbound::new(&session, settings);
        let mut seen = std::collections::BTreeSet::new();
        for (offset, copies) in arrivals {
            for _ in 0..copies {
                let packet = packet(&session, start.wrapping_add(offset));
                let delivered = inbound.accept(&packet, NOW);
                if seen.insert(offset) {
                    prop_assert_eq!(delivered, Ok(Delivery::Frame(&FRAME)));
                } else {
                    prop_assert_eq!(delivered, Err(Discard::Duplicate));
                }
            }
        }
    }
}
