//! For tests and fuzzing: predictable entropy, and the bodies of the fuzz targets.

use homeward_model::{Entropy, LookupForm, Secret};

use crate::lookup::read_answer;
use crate::{LookupRequest, Packet, SharedSecret, Show, describe};

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
        let _ = (attribute.text(), attribute.integer(), attribute.ipv4(), attribute.ipv6());
    }
    if let Some(secret) = secret() {
        let _ = secret.verify_request(&packet);
        let _ = secret.verify_answer(&packet, &[0; 16]);
        let _ = crate::dynauth::Disconnect::decode(&packet);
        let _ = crate::LoginRequest::decode(&packet, &secret);
    }
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
