//! Requests in hand, from their first segment to their answer. Pure: `A` is what a delivery is
//! acknowledged by.
//!
//! ```text
//!  segment ─► reassembly ─► Asking ──settled──► Answering ──answered──► gone
//!                              │ ▲
//!                        failed▼ │the last segment comes again
//!                             Failed ──segments_timeout──► gone
//! ```
//!
//! A segment that does not make a message whole is acknowledged at once: an SMSC that sends one at
//! a time would never send the next. The one that makes it whole is acknowledged once what was
//! asked for is durable. Where it cannot be, the SMSC delivers that segment again, and it alone: so
//! the message is kept until then.

use std::collections::BTreeMap;

use homeward_model::{Instant, Msisdn};
use homeward_offload::wire::Invalid;
use homeward_offload::wire::sms::{Full, Part, Reassembly, Settings};

/// What becomes of a segment.
#[derive(Debug)]
pub(super) enum Taken<A> {
    /// The message is whole: it is to be asked for.
    Whole(Ticket, Full),
    /// One that failed has come again: likewise.
    Again(Ticket, Full),
    /// More is to come; this can be acknowledged.
    Part(A),
    /// It was here already. It can be acknowledged now, or will be with the first one.
    Repeated(Option<A>),
    /// It is none; this can be acknowledged.
    Invalid(A, Invalid),
}

/// A message in hand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Ticket {
    sender: Msisdn,
    number: u64,
}

#[derive(Debug)]
struct Held<A> {
    number: u64,
    /// The segment that made it whole.
    last: Part,
    full: Full,
    state: State<A>,
}

#[derive(Debug)]
enum State<A> {
    /// With all who delivered it.
    Asking(Vec<A>),
    Answering,
    /// Since then.
    Failed(Instant),
}

/// The machine.
#[derive(Debug)]
pub(super) struct Inbox<A> {
    settings: Settings,
    reassembly: Reassembly<Msisdn>,
    held: BTreeMap<Msisdn, Vec<Held<A>>>,
    next: u64,
    failed: usize,
}

impl<A> Inbox<A> {
    pub(super) fn new(settings: Settings) -> Self {
        let reassembly = Reassembly::new(settings.clone());
        Self { settings, reassembly, held: BTreeMap::new(), next: 0, failed: 0 }
    }

    /// Takes a segment.
    pub(super) fn take(&mut self, now: Instant, sender: Msisdn, part: Part, ack: A) -> Taken<A> {
        let held = self.held.get_mut(&sender).into_iter().flatten();
        if let Some(held) = held.into_iter().find(|held| held.last == part) {
            let ticket = Ticket { sender, number: held.number };
            return match &mut held.state {
                State::Asking(acks) => {
                    acks.push(ack);
                    Taken::Repeated(None)
                }
                State::Answering => Taken::Repeated(Some(ack)),
                State::Failed(_) => {
                    held.state = State::Asking(vec![ack]);
                    self.failed -= 1;
                    Taken::Again(ticket, held.full.clone())
                }
            };
        }
        let full = match self.reassembly.handle_part(now, &sender, part.clone()) {
            Ok(Some(full)) => full,
            Ok(None) => return Taken::Part(ack),
            Err(invalid) => return Taken::Invalid(ack, invalid),
        };
        let number = self.next;
        self.next += 1;
        let state = State::Asking(vec![ack]);
        let held = Held { number, last: part, full: full.clone(), state };
        self.held.entry(sender).or_default().push(held);
        Taken::Whole(Ticket { sender, number }, full)
    }

    /// What was asked for is durable, or there is nothing to be had: gives who is to be told.
    pub(super) fn settled(&mut self, ticket: Ticket) -> Vec<A> {
        self.turn(ticket, State::Answering)
    }

    /// The answer is sent, or will not be.
    pub(super) fn answered(&mut self, ticket: Ticket) {
        let Some(all) = self.held.get_mut(&ticket.sender) else { return };
        all.retain(|held| held.number != ticket.number);
        if all.is_empty() {
            self.held.remove(&ticket.sender);
        }
    }

    /// It could not be asked for: gives who is to be told to deliver it again.
    pub(super) fn failed(&mut self, now: Instant, ticket: Ticket) -> Vec<A> {
        let acks = self.turn(ticket, State::Failed(now));
        let all = self.held.get(&ticket.sender).map(Vec::as_slice).unwrap_or_default();
        let is_failed = |held: &&Held<A>| matches!(held.state, State::Failed(_));
        let own = all.iter().filter(is_failed).count();
        let held = all.iter().find(|held| held.number == ticket.number);
        // What is whole by itself comes again as a whole.
        let in_parts = held
            .and_then(|held| held.last.concatenation)
            .is_some_and(|concatenation| concatenation.total > 1);
        let has_room = own <= self.settings.per_sender && self.failed < self.settings.messages;
        if in_parts && has_room {
            self.failed += 1;
        } else {
            self.answered(ticket);
        }
        acks
    }

    fn turn(&mut self, ticket: Ticket, state: State<A>) -> Vec<A> {
        let held = self.held.get_mut(&ticket.sender).into_iter().flatten();
        let Some(held) = held.into_iter().find(|held| held.number == ticket.number) else {
            return Vec::new();
        };
        match std::mem::replace(&mut held.state, state) {
            State::Asking(acks) => acks,
            State::Answering | State::Failed(_) => Vec::new(),
        }
    }

    /// When [`handle_timeout`](Self::handle_timeout) has something to do.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        let failed = self.held.values().flatten().filter_map(|held| match held.state {
            State::Failed(since) => Some(since + self.settings.timeout),
            State::Asking(_) | State::Answering => None,
        });
        let failed = if self.failed == 0 { None } else { failed.min() };
        failed.into_iter().chain(self.reassembly.poll_timeout()).min()
    }

    /// Drops what has waited too long for its rest; gives how many messages that were.
    pub(super) fn handle_timeout(&mut self, now: Instant) -> usize {
        let mut dropped = self.reassembly.handle_timeout(now);
        if self.failed > 0 {
            let timeout = self.settings.timeout;
            let stays = |held: &Held<A>| match held.state {
                State::Failed(since) => since + timeout > now,
                State::Asking(_) | State::Answering => true,
            };
            self.held.retain(|_, all| {
                let before = all.len();
                all.retain(stays);
                dropped += before - all.len();
                self.failed -= before - all.len();
                !all.is_empty()
            });
        }
        dropped
    }

    /// How many messages are whole and not answered, and how many are not whole.
    pub(super) fn counts(&self) -> (usize, usize) {
        (self.held.values().map(Vec::len).sum(), self.reassembly.open())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use homeward_offload::wire::sms::{self, Reference};

    use super::*;

    const T0: Instant = Instant::ORIGIN;

    fn inbox() -> Inbox<u8> {
        Inbox::new(Settings { per_sender: 2, messages: 3, ..Settings::default() })
    }

    fn sender(last: u8) -> Msisdn {
        format!("4477009001{last:02}").parse().unwrap()
    }

    /// The segments of a message; one, if it is short.
    fn parts(text: &str, reference: u8) -> Vec<Part> {
        let segments = sms::split(text, Reference::Short(reference)).unwrap();
        let part = |s: &sms::Segment| Part::decode(s.esm_class(), 0, &s.octets).unwrap();
        segments.iter().map(part).collect()
    }

    fn long(reference: u8) -> [Part; 2] {
        parts(&"x".repeat(200), reference).try_into().unwrap()
    }

    fn whole(taken: Taken<u8>) -> Ticket {
        match taken {
            Taken::Whole(ticket, _) => ticket,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_segment_is_acknowledged_at_once_and_the_last_one_once_it_is_settled() {
        let mut inbox = inbox();
        let [first, second] = long(1);
        assert!(matches!(inbox.take(T0, sender(1), first, 1), Taken::Part(1)));
        let ticket = whole(inbox.take(T0, sender(1), second, 2));
        assert_eq!(inbox.settled(ticket), [2]);
        inbox.answered(ticket);
        assert_eq!(inbox.counts(), (0, 0));
    }

    #[test]
    fn what_comes_again_meanwhile_is_asked_for_once() {
        let mut inbox = inbox();
        let part = parts("short", 0).remove(0);
        let ticket = whole(inbox.take(T0, sender(1), part.clone(), 1));
        assert!(matches!(inbox.take(T0, sender(1), part.clone(), 2), Taken::Repeated(None)));
        // Another's is another.
        let other = whole(inbox.take(T0, sender(2), part.clone(), 3));
        assert_eq!(inbox.settled(ticket), [1, 2]);
        assert!(matches!(inbox.take(T0, sender(1), part.clone(), 4), Taken::Repeated(Some(4))));
        inbox.answered(ticket);
        // The answer may have been lost on the air: whoever asks anew is answered anew.
        whole(inbox.take(T0, sender(1), part, 5));
        assert_eq!(inbox.settled(other), [3]);
    }

    #[test]
    fn a_message_that_failed_is_whole_again_by_its_last_segment_alone() {
        let mut inbox = inbox();
        let [first, second] = long(1);
        inbox.take(T0, sender(1), first, 1);
        let ticket = whole(inbox.take(T0, sender(1), second.clone(), 2));
        assert_eq!(inbox.failed(T0, ticket), [2]);
        assert_eq!(inbox.poll_timeout(), Some(T0 + Settings::default().timeout));
        let Taken::Again(ticket, full) = inbox.take(T0, sender(1), second, 3) else { panic!() };
        assert_eq!(full.octets.len(), 200);
        assert_eq!(inbox.poll_timeout(), None);
        assert_eq!(inbox.settled(ticket), [3]);
    }

    #[test]
    fn of_what_failed_only_so_much_is_kept_and_only_for_so_long() {
        let mut inbox = inbox();
        let mut fail = |last, reference| {
            let [first, second] = long(reference);
            inbox.take(T0, sender(last), first, 1);
            let ticket = whole(inbox.take(T0, sender(last), second, 2));
            assert_eq!(inbox.failed(T0, ticket), [2]);
            inbox.counts().0
        };
        assert_eq!([fail(1, 1), fail(1, 2), fail(1, 3)], [1, 2, 2], "two of a number");
        assert_eq!([fail(2, 1), fail(3, 1)], [3, 3], "three altogether");
        let short = parts("short", 0).remove(0);
        let ticket = whole(inbox.take(T0, sender(4), short, 1));
        assert_eq!(inbox.failed(T0, ticket), [1]);
        assert_eq!(inbox.counts().0, 3, "what is whole by itself is not kept");
        let timeout = Settings::default().timeout;
        assert_eq!(inbox.handle_timeout(T0 + (timeout - Duration::from_nanos(1))), 0);
        assert_eq!(inbox.handle_timeout(T0 + timeout), 3);
        assert_eq!((inbox.counts(), inbox.poll_timeout()), ((0, 0), None));
    }

    #[test]
    fn what_is_none_or_never_whole_leaves_nothing() {
        let mut inbox = Inbox::new(Settings { parts: 2, ..Settings::default() });
        let many = parts(&"x".repeat(400), 1);
        assert!(matches!(inbox.take(T0, sender(1), many[0].clone(), 1), Taken::Invalid(1, _)));
        inbox.take(T0, sender(1), long(2)[0].clone(), 2);
        assert_eq!(inbox.counts(), (0, 1));
        assert_eq!(inbox.handle_timeout(T0 + Settings::default().timeout), 1);
        assert_eq!(inbox.counts(), (0, 0));
    }
}
