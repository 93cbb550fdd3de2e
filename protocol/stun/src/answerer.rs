//! Who answers: nothing is kept of who asks but how often.

use std::hash::{DefaultHasher, Hasher};
use std::net::{IpAddr, SocketAddr};

use homeward_model::{Entropy, Instant};

use crate::message::{self, BINDING, Class, Message};

/// The limits of an [`Answerer`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AnswererSettings {
    /// Answers a second to one source: an IPv4 address, or a /64 of IPv6. 20 unless set, which is for
    /// 600 gateways behind one address that ask twice a minute. 0: any number.
    pub per_second: u32,
    /// How many at once after a quiet time. 100 unless set, at least 1.
    pub burst: u32,
}

impl Default for AnswererSettings {
    fn default() -> Self {
        Self { per_second: 20, burst: 100 }
    }
}

/// What became of a datagram.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Verdict {
    /// It is answered.
    Answered,
    /// It is answered by an error: it has attributes that nobody understands here.
    Refused,
    /// Its source asks too often.
    Limited,
    /// It is no request, and is not answered.
    Ignored,
}

/// How many counts there are. Sources share one by chance; which, nobody can choose who does not
/// know the key.
const SLOTS: usize = 1 << 14;

/// Answers Binding requests. An answer is at most [`LONGEST_ANSWER`](message::LONGEST_ANSWER) octets
/// long.
#[derive(Debug)]
pub struct Answerer {
    settings: AnswererSettings,
    key: [u8; 16],
    /// Up to when the answers so far are paid for, at the rate allowed, in nanoseconds.
    paid: Box<[u64]>,
}

impl Answerer {
    /// One that has answered nobody.
    pub fn new(settings: AnswererSettings, entropy: &mut impl Entropy) -> Self {
        Self { settings, key: entropy.octets(), paid: vec![0; SLOTS].into_boxed_slice() }
    }

    /// Looks at a datagram, and writes the answer, if there is one, behind what is in `room`.
    pub fn answer(
        &mut self,
        from: SocketAddr,
        datagram: &[u8],
        now: Instant,
        room: &mut Vec<u8>,
    ) -> Verdict {
        let request = match Message::decode(datagram) {
            Ok(message) if message.class == Class::Request && message.method == BINDING => message,
            _ => return Verdict::Ignored,
        };
        // Nobody sends from port 0, and nobody receives there.
        if from.port() == 0 {
            return Verdict::Ignored;
        }
        if !self.pay(from.ip(), now) {
            return Verdict::Limited;
        }
        let mut unknown = request.not_understood().peekable();
        if unknown.peek().is_some() {
            room.extend(message::refusal(request.id, unknown));
            return Verdict::Refused;
        }
        room.extend(message::success(request.id, from));
        Verdict::Answered
    }

    /// Counts an answer to a source; whether it may have it.
    fn pay(&mut self, source: IpAddr, now: Instant) -> bool {
        let Some(each) = 1_000_000_000u64.checked_div(self.settings.per_second.into()) else {
            return true;
        };
        let slot = self.slot(source);
        let Some(paid) = self.paid.get_mut(slot) else { return false };
        let now = now.as_nanos();
        let ahead = each.saturating_mul(self.settings.burst.saturating_sub(1).into());
        let begins = (*paid).max(now);
        let may = begins - now <= ahead;
        if may {
            *paid = begins.saturating_add(each);
        }
        may
    }

    fn slot(&self, source: IpAddr) -> usize {
        let mut hasher = DefaultHasher::new();
        hasher.write(&self.key);
        match source.to_canonical() {
            IpAddr::V4(v4) => hasher.write(&v4.octets()),
            // A household has that many.
            IpAddr::V6(v6) => hasher.write_u64(u64::try_from(v6.to_bits() >> 64).unwrap_or(0)),
        }
        let slots = SLOTS as u64;
        usize::try_from(hasher.finish() % slots).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::{LONGEST_ANSWER, TransactionId, request, success};
    use crate::testing::Counted;

    fn at(ms: u64) -> Instant {
        Instant::from_nanos(ms * 1_000_000)
    }

    fn source(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    fn answerer(per_second: u32, burst: u32) -> Answerer {
        Answerer::new(AnswererSettings { per_second, burst }, &mut Counted(7))
    }

    fn ask(answerer: &mut Answerer, from: &str, now: Instant) -> Verdict {
        let mut room = Vec::new();
        let verdict =
            answerer.answer(source(from), &request(TransactionId([1; 12])), now, &mut room);
        assert_eq!(room.is_empty(), matches!(verdict, Verdict::Limited | Verdict::Ignored));
        assert!(room.len() <= LONGEST_ANSWER);
        verdict
    }

    #[test]
    fn who_asks_is_told_where_it_is_seen() {
        let mut room = Vec::new();
        let (id, from) = (TransactionId([9; 12]), source("192.0.2.9:1024"));
        let verdict = answerer(20, 100).answer(from, &request(id), at(0), &mut room);
        assert_eq!(verdict, Verdict::Answered);
        let answer = Message::decode(&room).unwrap();
        assert_eq!((answer.id, answer.mapped()), (id, Some(from)));
    }

    #[test]
    fn a_source_that_asks_too_often_goes_without_and_others_do_not() {
        let mut answerer = answerer(10, 3);
        let first = "192.0.2.9:1024";
        for _ in 0..3 {
            assert_eq!(ask(&mut answerer, first, at(1000)), Verdict::Answered);
        }
        assert_eq!(ask(&mut answerer, first, at(1000)), Verdict::Limited);
        assert_eq!(ask(&mut answerer, "192.0.2.9:1025", at(1000)), Verdict::Limited, "any port");
        assert_eq!(ask(&mut answerer, "192.0.2.10:1024", at(1000)), Verdict::Answered);
        assert_eq!(ask(&mut answerer, first, at(1099)), Verdict::Limited);
        assert_eq!(ask(&mut answerer, first, at(1100)), Verdict::Answered);
        assert_eq!(ask(&mut answerer, first, at(1100)), Verdict::Limited);
        // After a quiet time the burst is there again, and no more than that.
        let answered =
            (0..10).filter(|_| ask(&mut answerer, first, at(60_000)) == Verdict::Answered);
        assert_eq!(answered.count(), 3);
    }

    #[test]
    fn a_household_of_ipv6_addresses_is_one_source() {
        let mut answerer = answerer(1, 1);
        assert_eq!(ask(&mut answerer, "[2001:db8:1:2::1]:9", at(0)), Verdict::Answered);
        assert_eq!(ask(&mut answerer, "[2001:db8:1:2:ffff::7]:9", at(0)), Verdict::Limited);
        assert_eq!(ask(&mut answerer, "[2001:db8:1:3::1]:9", at(0)), Verdict::Answered);
    }

    #[test]
    fn without_a_rate_everybody_is_answered() {
        let mut answerer = answerer(0, 1);
        assert!((0..1000).all(|_| ask(&mut answerer, "192.0.2.9:1", at(0)) == Verdict::Answered));
    }

    #[test]
    fn what_is_no_request_is_not_answered_nor_counted() {
        let mut answerer = answerer(1, 1);
        let (from, mut room) = (source("192.0.2.9:1024"), Vec::new());
        let id = TransactionId([1; 12]);
        let mut indication = request(id);
        indication[1] = 0x11;
        let mut other = request(id);
        other[1] = 0x03;
        let answer = success(id, from);
        for octets in [&b""[..], b"hello", &indication, &other, &answer] {
            assert_eq!(answerer.answer(from, octets, at(0), &mut room), Verdict::Ignored);
        }
        let nowhere = source("192.0.2.9:0");
        let verdict = answerer.answer(nowhere, &request(id), at(0), &mut room);
        assert_eq!((verdict, &room[..]), (Verdict::Ignored, &[][..]));
        assert_eq!(ask(&mut answerer, "192.0.2.9:1024", at(0)), Verdict::Answered);
    }

    #[test]
    fn what_nobody_understands_is_refused_and_credentials_are_passed_over() {
        let from = source("192.0.2.9:1024");
        let with = |kind: u16| {
            let mut octets = request(TransactionId([1; 12])).to_vec();
            octets[3] = 8;
            octets.extend([kind.to_be_bytes(), [0, 4]].concat());
            octets.extend([0, 0, 0, 6]);
            let mut room = Vec::new();
            let verdict = answerer(20, 100).answer(from, &octets, at(0), &mut room);
            (verdict, Message::decode(&room).unwrap().error())
        };
        // CHANGE-REQUEST of RFC 5780: to be answered from another address, which is not done.
        assert_eq!(with(0x0003), (Verdict::Refused, Some(420)));
        // USERNAME, SOFTWARE.
        assert_eq!(with(0x0006), (Verdict::Answered, None));
        assert_eq!(with(0x8022), (Verdict::Answered, None));
    }
}
