//! For tests and fuzzing: predictable entropy, and the body of the fuzz target.

use std::net::SocketAddr;

use homeward_model::{Entropy, Instant};

use crate::message::{LONGEST_ANSWER, Message};
use crate::{Answerer, AnswererSettings, Asker, AskerSettings, Verdict, is_answer};

/// Entropy that is none: it counts.
#[derive(Debug, Clone)]
pub struct Counted(pub u64);

impl Entropy for Counted {
    fn fill(&mut self, room: &mut [u8]) {
        for chunk in room.chunks_mut(8) {
            self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let octets = (self.0 ^ self.0 >> 33).to_be_bytes();
            chunk.iter_mut().zip(octets).for_each(|(octet, value)| *octet = value);
        }
    }
}

/// Target `stun_message`: any octets, to who answers and to who asked.
pub fn fuzz_message(data: &[u8]) {
    let (from, now) = (SocketAddr::from(([192, 0, 2, 1], 3478)), Instant::ORIGIN);
    let mut entropy = Counted(1);
    let mut room = Vec::new();
    let settings = AnswererSettings::default();
    let verdict = Answerer::new(settings, &mut entropy).answer(from, data, now, &mut room);
    assert!(room.len() <= LONGEST_ANSWER, "{} octets", room.len());
    let answered = matches!(verdict, Verdict::Answered | Verdict::Refused);
    assert_eq!(answered, !room.is_empty(), "{verdict:?}");
    if answered {
        assert!(is_answer(&room), "an answer is known for one");
        let (asked, answer) = (Message::decode(data), Message::decode(&room));
        assert_eq!(asked.map(|m| m.id), answer.map(|m| m.id), "and for whose");
    }
    if let Ok(message) = Message::decode(data) {
        let octets: usize = message.attributes().map(|(_, value)| 4 + value.len()).sum();
        assert!(octets <= data.len(), "attributes are what is there");
        let _ = (message.mapped(), message.error());
    }
    let mut asker = Asker::new(AskerSettings::default());
    asker.set_servers([from], now);
    asker.handle_timeout(now, &mut entropy);
    if asker.handle_datagram(from, None, data, now) {
        assert!(is_answer(data), "what is believed is told from what else comes");
    }
}
