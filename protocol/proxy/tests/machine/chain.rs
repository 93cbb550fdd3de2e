//! NASes, two proxies of ours in a row, and a home server, over a network that loses, repeats and
//! reorders.
//!
//! ```text
//!  NAS 1…n ⇄ A ⇄ B ⇄ home
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Duration;

use homeward_model::{Entropy, Instant, Secret};
use homeward_proxy::{Filter, HomeServer, Key, Pool, Reason, Route, Settings, Table, Transmit};
use homeward_radius::dictionary::standard::{NAS_PORT, PROXY_STATE};
use homeward_radius::hide::{open_password, open_salted};
use homeward_radius::testing::Counted;
use homeward_radius::{
    Code, EncodeError, Packet, Policy, Port, Received, Server, ServerSettings, SharedSecret,
};

use crate::world::*;

/// How bad the network is, in parts of 256.
#[derive(Debug, Clone, Copy)]
struct Weather {
    lost: u8,
    repeated: u8,
    /// Milliseconds from one end to the other, at most.
    delay: u8,
}

enum To {
    A(SocketAddr),
    B(SocketAddr),
    Home(SocketAddr),
    BackToB(Transmit),
    BackToA(Transmit),
    Nas(usize),
}

struct Nas {
    source: SocketAddr,
    request: Vec<u8>,
    answer: Option<Vec<u8>>,
}

struct World {
    now: Instant,
    weather: Weather,
    dice: Counted,
    wire: BTreeMap<(Instant, u64), (To, Vec<u8>)>,
    sent: u64,
    nases: Vec<Nas>,
    /// When which NAS asks again.
    tries: BTreeSet<(Instant, usize)>,
    a: Hop,
    b: Hop,
    home: Server,
    entropy: Counted,
    /// How often the home server decided on which NAS-Port.
    decided: BTreeMap<u32, u32>,
}

fn between() -> SharedSecret {
    secret("between A and B")
}

fn at_home() -> SharedSecret {
    secret("between B and the home server")
}

fn table(name: &str, secret: SharedSecret) -> Table {
    let mut table = Table::new();
    let server = table.server(HomeServer::datagram(name, secret));
    let pool = table.pool(Pool::new(name, [server])).unwrap();
    let pass = |_| Filter::all_but([]);
    let to = Route { answers: pass(()), requests: pass(()), ..Route::to(pool) };
    route(&mut table, "example.org", to);
    table
}

fn key_of(n: u8) -> Key {
    Key::new(&Secret::new([n; 32]))
}

/// What a NAS with that number asks, what it gets.
fn password(n: usize) -> Vec<u8> {
    format!("password {n}").into_bytes()
}

fn msk(n: u32) -> Vec<u8> {
    vec![n as u8; 32]
}

impl World {
    fn new(seed: u64, nases: usize, weather: Weather) -> Self {
        let settings = Settings::default;
        let a = Hop::of(settings(), key_of(1), nas(), table("b", between()), seed ^ 1);
        let b = Hop::of(settings(), key_of(2), between(), table("home", at_home()), seed ^ 2);
        let nas = |n: usize| {
            let request = request(Code::AccessRequest, n as u8, |b| {
                b.text(1, "fred@example.org")?;
                b.octets(PROXY_STATE, b"somebody before A")?;
                b.user_password(&password(n))?;
                b.integer(NAS_PORT, n as u32)?;
                b.octets(PROXY_STATE, &[n as u8; 3])
            });
            Nas { source: source(2000 + n as u16), request, answer: None }
        };
        Self {
            now: T0,
            weather,
            dice: Counted(seed),
            wire: BTreeMap::new(),
            sent: 0,
            nases: (0..nases).map(nas).collect(),
            tries: (0..nases).map(|n| (after(n as u64 * 7), n)).collect(),
            a: a.patient(),
            b: b.patient(),
            home: Server::new(
                Port::Authentication,
                ServerSettings { remember: Duration::from_secs(60), ..ServerSettings::default() },
            ),
            entropy: Counted(seed ^ 3),
            decided: BTreeMap::new(),
        }
    }

    fn send(&mut self, to: impl Fn() -> To, octets: &[u8]) {
        let [lost, again] = self.dice.octets();
        if lost < self.weather.lost {
            return;
        }
        for _ in 0..1 + usize::from(again < self.weather.repeated) {
            let [delay] = self.dice.octets();
            let delay = u64::from(delay) * u64::from(self.weather.delay) / 255;
            self.sent += 1;
            let at = self.now + Duration::from_millis(1 + delay);
            self.wire.insert((at, self.sent), (to(), octets.to_vec()));
        }
    }

    /// Sends on what the proxies have to say.
    fn pump(&mut self) {
        let (sent, replies) =
            (std::mem::take(&mut self.a.sent), std::mem::take(&mut self.a.replies));
        for t in sent {
            self.send(|| To::B(source(5000 + t.lane)), &t.payload);
        }
        for (to, octets) in replies {
            let n = usize::from(to.port()) - 2000;
            self.send(|| To::Nas(n), &octets);
        }
        let (sent, replies) =
            (std::mem::take(&mut self.b.sent), std::mem::take(&mut self.b.replies));
        for t in sent {
            self.send(|| To::Home(source(6000 + t.lane)), &t.payload);
        }
        for (to, octets) in replies {
            self.send(|| To::BackToA(lane(to.port() - 5000)), &octets);
        }
    }

    fn deliver(&mut self, to: To, octets: &[u8]) {
        match to {
            To::A(source) => self.a.receive(self.now, source, octets),
            To::B(source) => self.b.receive(self.now, source, octets),
            To::BackToA(from) => self.a.answer(self.now, &from, octets),
            To::BackToB(from) => self.b.answer(self.now, &from, octets),
            To::Nas(n) => {
                let nas = &mut self.nases[n];
                assert!(nas.answer.as_ref().is_none_or(|before| before == octets), "one answer");
                nas.answer = Some(octets.to_vec());
            }
            To::Home(from) => self.decide(from, octets),
        }
    }

    fn decide(&mut self, from: SocketAddr, octets: &[u8]) {
        let secret = at_home();
        let octets = match self.home.handle(from, &secret, Policy::Required, octets, self.now) {
            Received::Request { packet, ticket, .. } => {
                let n = u32::from_be_bytes(packet.find(NAS_PORT).unwrap().try_into().unwrap());
                *self.decided.entry(n).or_default() += 1;
                let states: Vec<_> = packet.find_all(PROXY_STATE).collect();
                assert_eq!(states.len(), 4, "two of the NAS's, one of each proxy");
                assert_eq!(states[..2], [&b"somebody before A"[..], &[n as u8; 3]]);
                let opened =
                    open_password(&secret, packet.authenticator(), packet.find(2).unwrap());
                assert_eq!(&*opened.unwrap(), &password(n as usize)[..]);
                self.home
                    .respond(&ticket, &secret, Code::AccessAccept, &mut self.entropy, |b| {
                        b.vendor_salted(311, 17, &msk(n))?;
                        b.octets(25, &[n as u8])?;
                        Ok::<_, EncodeError>(())
                    })
                    .unwrap()
                    .to_vec()
            }
            Received::Reply { octets, .. } => octets.to_vec(),
            other => panic!("{other:?}"),
        };
        self.send(|| To::BackToB(lane(from.port() - 6000)), &octets);
    }

    fn run(&mut self) {
        let end = T0 + Duration::from_secs(120);
        loop {
            let due = [
                self.wire.keys().next().map(|(at, _)| *at),
                self.tries.first().map(|(at, _)| *at),
                self.a.proxy.poll_timeout(),
                self.b.proxy.poll_timeout(),
            ];
            let Some(now) = due.into_iter().flatten().min().filter(|now| *now <= end) else {
                return;
            };
            assert!(now >= self.now);
            self.now = now;
            while let Some(entry) = self.wire.first_entry().filter(|e| e.key().0 <= now) {
                let (to, octets) = entry.remove();
                self.deliver(to, &octets);
            }
            while let Some((_, n)) = self.tries.pop_first_if(now) {
                let nas = &self.nases[n];
                if nas.answer.is_none() && now.since(T0) < Duration::from_secs(25) {
                    let (source, request) = (nas.source, nas.request.clone());
                    self.send(|| To::A(source), &request);
                    self.tries.insert((now + Duration::from_millis(1500), n));
                }
            }
            self.a.tick(now);
            self.b.tick(now);
            self.pump();
        }
    }

    /// Whether the answer that a NAS got is the one that is its own.
    fn check(&self, n: usize) -> Option<Code> {
        let nas_ = &self.nases[n];
        let octets = nas_.answer.as_ref()?;
        let (packet, asked) =
            (Packet::decode(octets).unwrap(), Packet::decode(&nas_.request).unwrap());
        nas().verify_answer(&packet, asked.authenticator()).unwrap();
        assert_eq!(all(octets, 33), [&b"somebody before A"[..], &[n as u8; 3]]);
        if packet.code() == Code::AccessAccept {
            let hidden = packet.find_vendor(311, 17).unwrap();
            let key = open_salted(&nas(), asked.authenticator(), hidden).unwrap();
            assert_eq!(key.expose(), msk(n as u32));
            assert_eq!(packet.find(25), Some(&[n as u8][..]));
        }
        Some(packet.code())
    }
}

fn lane(lane: u16) -> Transmit {
    let server = homeward_proxy::ServerId::at(0);
    Transmit { server, lane, payload: [][..].into() }
}

trait PopDue {
    fn pop_first_if(&mut self, now: Instant) -> Option<(Instant, usize)>;
}

impl PopDue for BTreeSet<(Instant, usize)> {
    fn pop_first_if(&mut self, now: Instant) -> Option<(Instant, usize)> {
        self.first().filter(|(at, _)| *at <= now)?;
        self.pop_first()
    }
}

#[test]
fn over_a_network_that_repeats_and_reorders_everybody_gets_their_own_answer_and_it_is_decided_once()
{
    for seed in 0..20 {
        let weather = Weather { lost: 0, repeated: 100, delay: 250 };
        let mut world = World::new(seed, 40, weather);
        world.run();
        for n in 0..40 {
            assert_eq!(world.check(n), Some(Code::AccessAccept), "seed {seed}, NAS {n}");
            assert_eq!(world.decided[&(n as u32)], 1, "seed {seed}, NAS {n}");
        }
        assert_eq!((world.a.proxy.outstanding(), world.b.proxy.outstanding()), (0, 0));
    }
}

#[test]
fn over_a_network_that_loses_too_each_request_ends_once_and_rightly() {
    let mut accepted = 0;
    for seed in 0..20 {
        let weather = Weather { lost: 40, repeated: 60, delay: 250 };
        let mut world = World::new(seed, 40, weather);
        world.run();
        for n in 0..40 {
            accepted += usize::from(world.check(n) == Some(Code::AccessAccept));
            assert!(world.decided.get(&(n as u32)).is_none_or(|times| *times == 1), "seed {seed}");
        }
        assert_eq!((world.a.proxy.outstanding(), world.b.proxy.outstanding()), (0, 0));
    }
    assert!(accepted > 700, "{accepted} of 800");
}

#[test]
fn two_proxies_that_send_a_realm_to_each_other_reject_it() {
    let mut a = Hop::of(Settings::default(), key_of(1), nas(), table("b", between()), 1);
    let mut b = Hop::of(Settings::default(), key_of(2), between(), table("a", nas()), 2);
    a.receive(T0, source(1), &login(1, "fred@example.org"));
    let to_b = a.one_sent();
    b.receive(T0, source(2), &to_b.payload);
    let to_a = b.one_sent();
    a.receive(T0, source(3), &to_a.payload);
    assert_eq!(a.notes, [Note::Rejected(Reason::Loop)]);
    let (back, octets) = a.replies.pop().unwrap();
    assert_eq!(back, source(3));
    b.answer(T0, &to_a, &octets);
    let octets = b.one_reply();
    a.answer(T0, &to_b, &octets);
    let reply = a.one_reply();
    assert_eq!(Packet::decode(&reply).unwrap().code(), Code::AccessReject);
    assert_eq!(all(&reply, 33).len(), 0);
}
