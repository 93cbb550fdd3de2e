//! RFC 4719: Ethernet frames, without FCS, tags and all.
#![cfg(test)]

use homeward_l2tp::testing::session;
use homeward_l2tp::{
    Delivery, Discard, Encapsulation, Inbound, InboundSettings, Outbound, Overhead, Sublayer,
};
use homeward_model::Instant;

fn deliver(frame: &[u8]) -> Result<Vec<u8>, Discard> {
    let session = session(Encapsulation::Udp, Sublayer::Numbered).unwrap();
    let mut outbound = Outbound::new(&session);
    let mut inbound = Inbound::new(&session, InboundSettings::default());
    let mut arrived = Ok(Vec::new());
    for piece in outbound.plan(frame.len(), 1452).unwrap() {
        let packet = [&outbound.header(&piece)[..], piece.of(frame)].concat();
        arrived = match inbound.accept(&packet, Instant::ORIGIN) {
            Ok(Delivery::Frame(frame)) => Ok(frame.to_vec()),
            Ok(_) => continue,
            Err(reason) => Err(reason),
        };
    }
    arrived
}

/// Section 3: the frame from its destination address to the end of its payload; nothing is put
/// before, after or in the place of any of it.
#[test]
fn frames_pass_untouched_from_destination_address_to_payload() {
    let addresses = [0x33, 0x33, 0, 0, 0, 1, 2, 0, 0x5e, 0x10, 0, 0x17];
    for rest in [
        &[0x08, 0x00][..],
        // A tag of IEEE 802.1Q, two of 802.1ad, a length as in 802.3.
        &[0x81, 0x00, 0x00, 0x07, 0x86, 0xdd, 0x60],
        &[0x88, 0xa8, 0x00, 0x07, 0x81, 0x00, 0x00, 0x08, 0x08, 0x00],
        &[0x00, 0x03, 0x00, 0x01, 0xaf],
    ] {
        let frame = [&addresses[..], rest].concat();
        assert_eq!(deliver(&frame), Ok(frame));
    }
}

/// Frames need not be padded to 60 octets: the interface at the far end does that.
#[test]
fn a_frame_has_at_least_its_header() {
    for len in [14, 15, 42, 60, 1514, 1518, 2048] {
        assert_eq!(deliver(&vec![0x5a; len]), Ok(vec![0x5a; len]), "{len}");
    }
    for len in 0..14 {
        assert_eq!(deliver(&vec![0x5a; len]), Err(Discard::Runt), "{len}");
    }
}

/// Section 2.1: the largest frame of a path is its MTU less what is around the frame.
#[test]
fn the_largest_frame_of_a_path_makes_a_packet_of_its_mtu() {
    let session = session(Encapsulation::Udp, Sublayer::Numbered).unwrap();
    let largest = Overhead::of(&session).largest_frame([192, 0, 2, 1].into(), 1500);
    let mut outbound = Outbound::new(&session);
    let piece = outbound.plan(largest, largest).unwrap().next().unwrap();
    assert_eq!(20 + 8 + outbound.header(&piece).len() + piece.len, 1500);
}
