//! Who asks, again and again, how servers see one socket.
//!
//! All servers are asked in the same round, so that their answers can be compared: see
//! [`Nat::of`]. A round is begun anew every [`interval`](field@AskerSettings::interval) while somebody
//! wants to know ([`Asker::set_active`]), once for each list of servers, and soon after the machine's
//! addresses have changed. An answer is believed if it is from whom was asked and repeats the transaction
//! id; each round has new ones.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Duration;

use homeward_model::{Entropy, Instant};

use crate::message::{self, Class, HEADER_LEN, Message, TransactionId};
use crate::nat::{Mapping, Nat};

/// The most servers that are asked; more are not looked at.
pub const MAX_SERVERS: usize = 4;

/// The times of an [`Asker`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AskerSettings {
    /// From one round to the next, less up to a fifth by chance. 30 s unless set, which keeps what a
    /// NAT has for the socket. At least 100 ms.
    pub interval: Duration,
    /// From a request to its first repetition; doubles from one to the next (RFC 8489 6.2.1, RTO).
    /// 500 ms unless set, at least 50 ms.
    pub retry: Duration,
    /// How often one request is sent in all. 5 unless set, at least 1.
    pub tries: u8,
    /// From a change of the machine's addresses to the next round: they come in twos and threes, and a
    /// route is there a little after. 200 ms unless set.
    pub settle: Duration,
}

impl Default for AskerSettings {
    fn default() -> Self {
        Self {
            interval: Duration::from_secs(30),
            retry: Duration::from_millis(500),
            tries: 5,
            settle: Duration::from_millis(200),
        }
    }
}

/// A request to send, as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Request {
    /// To which server.
    pub to: SocketAddr,
    /// The datagram.
    pub octets: [u8; HEADER_LEN],
}

/// What is news of a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Learned {
    /// Which server.
    pub server: SocketAddr,
    /// How it sees the socket; `None` if it answers no longer, while another does.
    pub mapping: Option<Mapping>,
}

/// A server, as it is now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ServerStatus {
    /// Where it is.
    pub server: SocketAddr,
    /// How it saw the socket last.
    pub mapping: Option<Mapping>,
    /// When it last answered.
    pub answered: Option<Instant>,
}

/// The machine.
#[derive(Debug)]
pub struct Asker {
    settings: AskerSettings,
    active: bool,
    servers: Vec<Server>,
    /// When the next round begins.
    next: Option<Instant>,
    transmits: VecDeque<Request>,
    events: VecDeque<Learned>,
}

#[derive(Debug)]
struct Server {
    address: SocketAddr,
    mapping: Option<Mapping>,
    answered: Option<Instant>,
    asked: Option<Asked>,
    /// Whether it has not answered in the last round that is over.
    silent: bool,
}

/// A request that has not been answered.
#[derive(Debug)]
struct Asked {
    id: TransactionId,
    tries: u8,
    /// When to repeat it, or to give it up.
    due: Instant,
}

impl Asker {
    /// One that knows no server.
    pub fn new(settings: AskerSettings) -> Self {
        Self {
            settings,
            active: false,
            servers: Vec::new(),
            next: None,
            transmits: VecDeque::new(),
            events: VecDeque::new(),
        }
    }

    /// Whom to ask, all of them. They are asked now, also those that were known. What others said is
    /// forgotten.
    pub fn set_servers(&mut self, servers: impl IntoIterator<Item = SocketAddr>, now: Instant) {
        let mut old = std::mem::take(&mut self.servers);
        for address in servers {
            if self.servers.len() >= MAX_SERVERS {
                break;
            }
            if self.servers.iter().any(|known| known.address == address) {
                continue;
            }
            let known = old.iter().position(|known| known.address == address);
            self.servers.push(match known {
                Some(at) => old.swap_remove(at),
                None => {
                    Server { address, mapping: None, answered: None, asked: None, silent: false }
                }
            });
        }
        for gone in old.iter().filter(|gone| gone.mapping.is_some()) {
            self.events.push_back(Learned { server: gone.address, mapping: None });
        }
        self.next = (!self.servers.is_empty()).then_some(now);
    }

    /// Whether anybody needs to know. From not to so, the servers are asked now.
    pub fn set_active(&mut self, active: bool, now: Instant) {
        if active && !self.active && !self.servers.is_empty() {
            self.next = Some(now);
        }
        self.active = active;
    }

    /// The machine's addresses have changed.
    pub fn handle_change(&mut self, now: Instant) {
        if self.active && !self.servers.is_empty() {
            let soon = now + self.settings.settle;
            self.next = Some(self.next.map_or(soon, |next| next.min(soon)));
        }
    }

    /// Takes a datagram that came from `from` to `local`, our socket's address as far as it is known.
    /// Whether it was an answer to what was asked: others say nothing.
    pub fn handle_datagram(
        &mut self,
        from: SocketAddr,
        local: Option<SocketAddr>,
        datagram: &[u8],
        now: Instant,
    ) -> bool {
        let Ok(message) = Message::decode(datagram) else { return false };
        let server = self.servers.iter_mut().find(|server| server.address == from);
        let Some(server) = server else { return false };
        let answers = matches!(message.class, Class::Success | Class::Error)
            && message.method == message::BINDING
            && server.asked.as_ref().is_some_and(|asked| asked.id == message.id);
        if !answers {
            return false;
        }
        let mapped = message.mapped().filter(|_| message.class == Class::Success);
        let Some(mapped) = mapped.filter(|mapped| is_sound(*mapped)) else {
            // It does not want to say; the next round asks again.
            server.asked = None;
            server.silent = true;
            return true;
        };
        (server.asked, server.silent, server.answered) = (None, false, Some(now));
        let mapping = Some(Mapping { local, mapped });
        if server.mapping != mapping {
            server.mapping = mapping;
            self.events.push_back(Learned { server: from, mapping });
        }
        self.forget_silent();
        true
    }

    /// Does what is due.
    pub fn handle_timeout(&mut self, now: Instant, entropy: &mut impl Entropy) {
        if self.next.is_some_and(|next| next <= now) {
            self.begin(now, entropy);
        }
        let (retry, tries) = (self.retry(), self.settings.tries.max(1));
        let mut given_up = false;
        for server in &mut self.servers {
            let Some(asked) = server.asked.as_mut().filter(|asked| asked.due <= now) else {
                continue;
            };
            if asked.tries >= tries {
                server.asked = None;
                server.silent = true;
                given_up = true;
                continue;
            }
            asked.due = now + retry.saturating_mul(1 << asked.tries.min(16));
            asked.tries += 1;
            let octets = message::request(asked.id);
            self.transmits.push_back(Request { to: server.address, octets });
        }
        if given_up {
            self.forget_silent();
        }
    }

    /// When to call [`Self::handle_timeout`]; `None` if nobody is to be asked.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let asked = self.servers.iter().filter_map(|server| Some(server.asked.as_ref()?.due));
        asked.chain(self.next).min()
    }

    /// The next request to send.
    pub fn poll_transmit(&mut self) -> Option<Request> {
        self.transmits.pop_front()
    }

    /// What is news.
    pub fn poll_event(&mut self) -> Option<Learned> {
        self.events.pop_front()
    }

    /// The servers, in order.
    pub fn status(&self) -> impl Iterator<Item = ServerStatus> + '_ {
        self.servers.iter().map(|server| ServerStatus {
            server: server.address,
            mapping: server.mapping,
            answered: server.answered,
        })
    }

    /// What is between the socket and the servers.
    pub fn nat(&self) -> Nat {
        let mappings: Vec<Mapping> =
            self.servers.iter().filter_map(|server| server.mapping).collect();
        Nat::of(&mappings)
    }

    fn begin(&mut self, now: Instant, entropy: &mut impl Entropy) {
        for server in &mut self.servers {
            // The time of the first sending is the loop's below.
            let id = TransactionId::generate(entropy);
            server.asked = Some(Asked { id, tries: 0, due: now });
        }
        self.next = self.active.then(|| {
            let interval = self.settings.interval.max(Duration::from_millis(100));
            let random = u32::from(u16::from_be_bytes(entropy.octets()));
            now + (interval - (interval / 5).saturating_mul(random) / 65_535)
        });
    }

    /// Forgets what servers said that do not answer, where another does: then it is not our own line
    /// that is down, and what they said may be true no more.
    fn forget_silent(&mut self) {
        if !self.servers.iter().any(|server| server.mapping.is_some() && !server.silent) {
            return;
        }
        for server in self.servers.iter_mut().filter(|server| server.silent) {
            if server.mapping.take().is_some() {
                self.events.push_back(Learned { server: server.address, mapping: None });
            }
        }
    }

    fn retry(&self) -> Duration {
        self.settings.retry.max(Duration::from_millis(50))
    }
}

/// Whether somebody can send there at all.
fn is_sound(mapped: SocketAddr) -> bool {
    let ip = mapped.ip();
    mapped.port() != 0 && !ip.is_unspecified() && !ip.is_multicast()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Counted;

    const OWN: &str = "10.0.0.2:1701";

    fn at(ms: u64) -> Instant {
        Instant::from_nanos(ms * 1_000_000)
    }

    fn address(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    fn server(number: u8) -> SocketAddr {
        SocketAddr::from(([192, 0, 2, number], message::PORT))
    }

    /// An asker with its time, and two servers that it has been told of.
    struct World {
        asker: Asker,
        entropy: Counted,
    }

    impl World {
        fn new(servers: &[SocketAddr], active: bool) -> Self {
            let mut world =
                Self { asker: Asker::new(AskerSettings::default()), entropy: Counted(1) };
            world.asker.set_active(active, at(0));
            world.asker.set_servers(servers.iter().copied(), at(0));
            world
        }

        /// What is sent when it is `ms`.
        fn sent(&mut self, ms: u64) -> Vec<Request> {
            self.asker.handle_timeout(at(ms), &mut self.entropy);
            std::iter::from_fn(|| self.asker.poll_transmit()).collect()
        }

        fn answer(&mut self, request: &Request, mapped: &str, ms: u64) -> bool {
            let id = Message::decode(&request.octets).unwrap().id;
            let answer = message::success(id, address(mapped));
            self.asker.handle_datagram(request.to, Some(address(OWN)), &answer, at(ms))
        }

        fn news(&mut self) -> Vec<(SocketAddr, Option<SocketAddr>)> {
            let news = std::iter::from_fn(|| self.asker.poll_event());
            news.map(|news| (news.server, news.mapping.map(|mapping| mapping.mapped))).collect()
        }

        /// The time of the next round.
        fn next(&self) -> u64 {
            self.asker.poll_timeout().unwrap().as_nanos() / 1_000_000
        }
    }

    #[test]
    fn what_a_server_sees_is_told_once_and_again_when_it_is_something_else() {
        let mut world = World::new(&[server(1)], true);
        let sent = world.sent(0);
        assert_eq!(sent.iter().map(|request| request.to).collect::<Vec<_>>(), [server(1)]);
        assert!(world.answer(&sent[0], "198.51.100.7:1701", 20));
        assert_eq!(world.news(), [(server(1), Some(address("198.51.100.7:1701")))]);
        assert_eq!(world.asker.nat(), Nat::Behind);
        for (mapped, news) in [("198.51.100.7:1701", 0), ("198.51.100.8:1701", 1)] {
            let next = world.next() + 1;
            let sent = world.sent(next);
            assert!(world.answer(&sent[0], mapped, next + 20));
            assert_eq!(world.news().len(), news);
        }
    }

    #[test]
    fn rounds_follow_each_other_within_the_interval_and_not_in_step() {
        let mut world = World::new(&[server(1)], true);
        let (mut last, mut gaps) = (0, Vec::new());
        for _ in 0..20 {
            let sent = world.sent(last);
            assert!(world.answer(&sent[0], "198.51.100.7:1701", last));
            gaps.push(world.next() + 1 - last);
            last = world.next() + 1;
        }
        assert!(gaps.iter().all(|gap| (24_000..=30_001).contains(gap)), "{gaps:?}");
        gaps.dedup();
        assert!(gaps.len() > 15, "{gaps:?}");
    }

    #[test]
    fn a_request_that_is_lost_is_repeated_and_given_up_in_the_end() {
        let mut world = World::new(&[server(1)], true);
        let mut seen = Vec::new();
        let first = world.sent(0);
        for ms in 1..16_000 {
            for request in world.sent(ms) {
                assert_eq!(request, first[0], "the same, so that any answer to it is good");
                seen.push(ms);
            }
        }
        assert_eq!(seen, [500, 1500, 3500, 7500]);
        assert!(!world.answer(&first[0], "198.51.100.7:1701", 16_000), "too late");
        assert!(world.next() >= 24_000);
    }

    #[test]
    fn an_answer_is_believed_from_whom_was_asked_with_the_id_that_was_sent_and_once() {
        let mut world = World::new(&[server(1), server(2)], true);
        let sent = world.sent(0);
        let id = Message::decode(&sent[0].octets).unwrap().id;
        let own = Some(address(OWN));
        let right = message::success(id, address("198.51.100.7:1701"));
        let wrong = message::success(TransactionId([0; 12]), address("198.51.100.66:1"));
        let asker = &mut world.asker;
        assert!(!asker.handle_datagram(server(1), own, &wrong, at(1)), "another id");
        assert!(!asker.handle_datagram(server(2), own, &right, at(1)), "another server's");
        assert!(!asker.handle_datagram(server(3), own, &right, at(1)), "a stranger");
        let other_port = SocketAddr::new(server(1).ip(), 3479);
        assert!(!asker.handle_datagram(other_port, own, &right, at(1)), "another port");
        assert!(!asker.handle_datagram(server(1), own, &sent[0].octets, at(1)), "a request");
        assert!(!asker.handle_datagram(server(1), own, &right[..31], at(1)), "cut off");
        assert_eq!(world.news(), []);
        assert!(world.answer(&sent[0], "198.51.100.7:1701", 2));
        assert!(!world.answer(&sent[0], "198.51.100.66:1701", 3), "once");
        assert_eq!(world.news(), [(server(1), Some(address("198.51.100.7:1701")))]);
    }

    #[test]
    fn an_error_and_an_address_that_nobody_can_send_to_are_no_answer_but_end_the_question() {
        let mut world = World::new(&[server(1)], true);
        let mut round = 0;
        for mapped in [
            None,
            Some("0.0.0.0:9"),
            Some("224.0.0.1:9"),
            Some("198.51.100.7:0"),
            Some("198.51.100.7:1701"),
        ] {
            let sent = world.sent(round);
            let id = Message::decode(&sent[0].octets).unwrap().id;
            let answer = match mapped {
                Some(mapped) => message::success(id, address(mapped)),
                None => message::refusal(id, [3]),
            };
            let answer = match mapped {
                // An error that has an address as well.
                Some("198.51.100.7:1701") => [&[1, 0x11], &answer[2..]].concat(),
                _ => answer,
            };
            assert!(world.asker.handle_datagram(server(1), None, &answer, at(round)));
            assert_eq!(world.news(), [], "{mapped:?}");
            assert!(world.next() >= round + 24_000, "it is not repeated");
            round = world.next() + 1;
        }
    }

    #[test]
    fn a_server_that_falls_silent_is_forgotten_while_another_answers_and_else_believed() {
        let mut world = World::new(&[server(1), server(2)], true);
        let sent = world.sent(0);
        for request in &sent {
            assert!(world.answer(request, "198.51.100.7:1701", 20));
        }
        assert_eq!((world.news().len(), world.asker.nat()), (2, Nat::SameForAll));
        // Neither answers: the line is down, and what was seen is the best that is known.
        let mut ms = world.next() + 1;
        let round = ms + 16_000;
        while ms < round {
            world.sent(ms);
            ms += 100;
        }
        assert_eq!(world.news(), []);
        let next = world.next() + 1;
        let sent = world.sent(next);
        assert!(world.answer(&sent[1], "198.51.100.7:1701", next));
        assert_eq!(world.news(), [(server(1), None)]);
        assert_eq!(world.asker.nat(), Nat::Behind);
    }

    #[test]
    fn without_need_each_list_of_servers_is_asked_once() {
        let mut world = World::new(&[server(1)], false);
        let sent = world.sent(0);
        assert!(world.answer(&sent[0], "198.51.100.7:1701", 20));
        assert_eq!(world.asker.poll_timeout(), None);
        world.asker.handle_change(at(30));
        assert_eq!(world.asker.poll_timeout(), None);
        world.asker.set_servers([server(1)], at(40));
        assert_eq!(world.sent(40).len(), 1, "said again, after a new greeting");
        world.asker.set_active(true, at(50_000));
        assert_eq!(world.sent(50_000).len(), 1);
        world.asker.set_active(true, at(50_100));
        assert_eq!(world.sent(50_100), []);
        world.asker.set_active(false, at(50_200));
        for ms in 50_200..150_000 {
            world.sent(ms);
        }
        assert_eq!(world.asker.poll_timeout(), None);
    }

    #[test]
    fn a_change_of_our_addresses_begins_a_round_soon_and_several_begin_one() {
        let mut world = World::new(&[server(1)], true);
        let sent = world.sent(0);
        assert!(world.answer(&sent[0], "198.51.100.7:1701", 20));
        world.asker.handle_change(at(5000));
        world.asker.handle_change(at(5100));
        assert_eq!(world.sent(5199), []);
        let sent = world.sent(5200);
        assert_eq!(sent.len(), 1);
        assert!(world.answer(&sent[0], "198.51.100.9:1701", 5220));
        assert!(world.next() > 5220 + 20_000);
    }

    #[test]
    fn a_server_that_is_named_no_more_is_forgotten_and_four_are_asked_at_most() {
        let mut world = World::new(&[server(1)], true);
        let sent = world.sent(0);
        assert!(world.answer(&sent[0], "198.51.100.7:1701", 20));
        world.news();
        world.asker.set_servers([2, 2, 3, 4, 5, 6].map(server), at(30));
        assert_eq!(world.news(), [(server(1), None)]);
        let asked: Vec<_> = world.sent(30).into_iter().map(|request| request.to).collect();
        assert_eq!(asked, [2, 3, 4, 5].map(server));
        world.asker.set_servers([], at(40));
        assert_eq!((world.sent(60_000), world.asker.poll_timeout()), (vec![], None));
    }
}
