//! For tests and fuzzing: predictable entropy, and the bodies of the fuzz targets.

use homeward_model::{Entropy, LookupForm, Secret};

use crate::lookup::read_answer;
use crate::{LookupRequest, Opened, Packet, Packets, SharedSecret, Show, describe};

/// Entropy that is none: a counter through a mixer (SplitMix64). Same seed, same octets.
#[derive(Debug, Clone)]
pub struct Counted(pub u64);

impl Entropy for Counted {
    fn fill(&mut self, room: &mut [u8]) {
        for chunk in room.chunks_mut(8) {
            self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut mixed = self.0;
            mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
            for (octet, value) in chunk.iter_mut().zip((mixed ^ mixed >> 31).to_le_bytes()) {
                *octet = value;
            }
        }
    }
}

/// Target `radius_packet`: decode, iterate, describe, verify.
pub fn fuzz_packet(data: &[u8]) {
    let Ok(packet) = Packet::decode(data) else { return };
    let octets = 20 + packet.attributes().map(|a| a.value.len() + 2).sum::<usize>();
    assert_eq!(octets, packet.as_bytes().len(), "the attributes fill the packet");
    let _ = describe(&packet, Show::Redacted);
    let _ = describe(&packet, Show::Identities);
    for attribute in packet.attributes() {
        assert!(packet.find(attribute.kind).is_some(), "what is there is found");
        let _ = (attribute.text(), attribute.integer(), attribute.ipv4(), attribute.ipv6());
    }
    if let Some(secret) = secret() {
        let alone = secret.verify_request(&packet);
        let mut opened = [(); 3].map(|()| Opened::new(&secret, data));
        crate::prepare(&mut opened);
        for opened in &opened {
            let right = opened.right.unwrap_or_default();
            let with_others = secret.verify_against(&packet, &right);
            assert_eq!(with_others, alone, "with others it is what it is alone");
            if let Some(hidden) = packet.find(crate::dictionary::standard::USER_PASSWORD) {
                let over = packet.authenticator();
                let alone = crate::hide::open_password(&secret, over, hidden);
                let with_others =
                    crate::hide::open_password(opened.pads.with(&secret), over, hidden);
                let octets = |opened: Result<crate::hide::Password, _>| opened.map(|p| p.to_vec());
                assert_eq!(octets(with_others), octets(alone), "and so is its password");
            }
        }
        let _ = secret.verify_answer(&packet, &[0; 16]);
        let _ = crate::dynauth::Disconnect::decode(&packet);
        let _ = crate::LoginRequest::decode(&packet, &secret);
    }
    let transport = SharedSecret::transport();
    assert!(transport.verify_request(&packet).is_ok(), "on RADIUS/1.1 the connection vouches");
    let _ = crate::LoginRequest::decode(&packet, &transport);
    let mut again = Vec::new();
    let header = (packet.identifier(), *packet.authenticator());
    crate::Builder::request(&mut again, &transport, packet.code(), header.0, header.1).finish();
    let token = Packet::decode(&again).map(|again| again.token());
    assert_eq!(token, Ok(packet.token()), "a token is written as it is read");
}

/// Target `radius_stream`: packets out of a stream. The first octet says in which pieces the rest
/// comes, which must not matter.
pub fn fuzz_stream(data: &[u8]) {
    let Some((piece, stream)) = data.split_first() else { return };
    let mut whole = Vec::new();
    let mut rest = stream;
    while let Some(&[_, _, high, low, ..]) = rest.first_chunk::<4>() {
        let length = usize::from(u16::from_be_bytes([high, low]));
        if !(20..=4096).contains(&length) {
            whole.push(None);
            break;
        }
        let Some((packet, after)) = rest.split_at_checked(length) else { break };
        whole.push(Some(packet.to_vec()));
        rest = after;
    }
    let mut packets = Packets::new();
    let mut found = Vec::new();
    let mut rest = stream;
    loop {
        loop {
            match packets.next_packet() {
                Ok(Some(packet)) => found.push(Some(packet.to_vec())),
                Ok(None) => break,
                Err(_) => {
                    found.push(None);
                    assert!(packets.next_packet().is_err(), "a stream that is lost stays lost");
                    assert_eq!(found, whole, "the pieces do not matter");
                    return;
                }
            }
        }
        let room = packets.room();
        assert!(!room.is_empty(), "there is room for more while no packet is whole");
        let octets = room.len().min(usize::from(*piece).max(1)).min(rest.len());
        let (now, later) = rest.split_at_checked(octets).unwrap_or_default();
        if now.is_empty() {
            break;
        }
        for (to, from) in room.iter_mut().zip(now) {
            *to = *from;
        }
        packets.filled(octets);
        rest = later;
    }
    assert_eq!(found, whole, "the pieces do not matter");
}

/// Target `radius_lookup`: questions in both forms, and answers.
pub fn fuzz_lookup(data: &[u8]) {
    let (Ok(packet), Some(secret)) = (Packet::decode(data), secret()) else { return };
    for form in [LookupForm::Homeward, LookupForm::Hostapd] {
        if let Ok(question) = LookupRequest::decode(&packet, &secret, form)
            && let Ok(attributes) = question.attributes(form)
        {
            let mut again = Vec::new();
            let authenticator = *packet.authenticator();
            let mut builder =
                crate::Builder::request(&mut again, &secret, packet.code(), 0, authenticator);
            assert!(
                attributes.write_to(&mut builder).is_ok(),
                "a question that was read is written"
            );
            builder.finish();
            let again = Packet::decode(&again).map(|p| LookupRequest::decode(&p, &secret, form));
            assert_eq!(again, Ok(Ok(question)), "and read again as the same");
        }
    }
    let _ = read_answer(&packet, &secret, &[0; 16]);
}

/// The secret of the RFCs' examples.
fn secret() -> Option<SharedSecret> {
    SharedSecret::new(&Secret::new("xyzzy5461")).ok()
}
