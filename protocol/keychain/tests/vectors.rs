//! The vectors of `docs/keychain.md`, which were made by another program, in another language.
// So that clippy knows the helpers for tests too.
#![cfg(test)]

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use homeward_keychain::key::RootKey;
use homeward_keychain::module::{Making, Previous};
use homeward_keychain::server::{Policy, Server};
use homeward_keychain::testing::Trust;
use homeward_keychain::{Demand, Device, Question, Response, Signer, Visit};
use homeward_model::{Entropy, Name, UnixTime};

/// Randomness that was written down: of one octet each.
struct Given(VecDeque<u8>);

impl Entropy for Given {
    fn fill(&mut self, room: &mut [u8]) {
        room.fill(self.0.pop_front().unwrap());
    }
}

fn vectors() -> BTreeMap<&'static str, &'static str> {
    let page = include_str!("../../../docs/keychain.md");
    let (_, block) = page.split_once("```text\n").unwrap();
    let (block, _) = block.split_once("```").unwrap();
    block.lines().map(|line| line.rsplit_once(' ').unwrap()).map(|(n, v)| (n.trim(), v)).collect()
}

fn hex(octets: impl AsRef<[u8]>) -> String {
    octets.as_ref().iter().map(|octet| format!("{octet:02x}")).collect()
}

/// The last octets of a message: its tag.
fn tag(message: &[u8]) -> String {
    hex(&message[message.len() - 32..])
}

#[test]
fn the_vectors_of_the_page_are_what_is_derived() {
    let vectors = vectors();
    let mut seen = BTreeSet::new();
    let mut is = |name: &'static str, value: String| {
        assert_eq!(vectors.get(name), Some(&value.as_str()), "{name}");
        seen.insert(name);
    };
    let [n1, n2, s]: [Name; 3] = ["n1", "n2", "s"].map(|name| name.parse().unwrap());
    let signers = [Signer::new(n1.clone(), &[0xa1; 32]), Signer::new(n2.clone(), &[0xa2; 32])];
    let signers = signers.map(Result::unwrap);
    let mut trust = Trust::default();
    signers.iter().for_each(|signer| trust.trust(signer));
    // Of each hop: the network's share, its nonce, the device's share.
    let mut given = Given([0x71, 0xc1, 0xd1, 0x72, 0xc2, 0xd2].into());
    let root = RootKey::new([0x11; 32]);
    let mut device = Device::new([5; 32], s.clone(), true).unwrap();
    let session = device.session();
    is("session", session.to_string());
    let mut server = Server::new(s, session, Policy::default());
    let mut visits: Vec<Visit> = Vec::new();
    for (at, network) in [&n1, &n2].into_iter().enumerate() {
        let key = root.device_key(network, 1);
        is(["K1", "K2"][at], hex(key.expose()));
        let question = Question::new(network.clone(), false, &mut given);
        is(["share of n1", "share of n2"][at], hex(question.challenge().share));
        let who = "d@example.net".parse().unwrap();
        let response: Response =
            device.answer(question.challenge(), who, &key, &mut given).unwrap();
        is(["share of d1", "share of d2"][at], hex(response.share));
        is(["response tag1", "response tag2"][at], tag(&response.encode()));
        let mut visit = Visit::authorise(question, &response, &key).unwrap();
        let previous = match visit.fetch() {
            None => Previous::None,
            Some((_, fetch)) => {
                is("ticket tag", tag(&fetch.encode()));
                let fetched = visits[0].export(&n2, &fetch).unwrap();
                is("E1", hex(fetched.export.expose()));
                Previous::Fetched(fetched)
            }
        };
        let now = UnixTime(1_800_000_000_000 + 1000 * at as i64);
        let (lifetime, skew) = (Duration::from_secs(3600), Duration::ZERO);
        let making = Making { now, lifetime, skew, broken: false };
        visit.integrate(previous, &signers[at], &trust, &making).unwrap();
        let (welcome, share) = (visit.welcome().unwrap(), visit.share().unwrap());
        let record = &welcome.record;
        is(["welcome tag1", "welcome tag2"][at], tag(&welcome.encode()));
        is(["T1", "T2"][at], hex(record.transcript.0));
        is(["X1", "X2"][at], hex(share.expose()));
        is(["SHA-256(R)1", "SHA-256(R)2"][at], hex(record.digest().0));
        device.integrate(welcome, false).unwrap();
        server.extend(network, record.clone(), share, &trust, now).unwrap();
        let key = visit.key().unwrap();
        is(["I1", "I2"][at], hex(key.expose()));
        is(["Kc1", "Kc2"][at], hex(key.confirm().expose()));
        visits.push(visit);
    }
    let (ours, theirs) = (device.ppk().unwrap(), visits[1].ppk().unwrap());
    assert_eq!((ours.id, ours.key.expose()), (theirs.id, theirs.key.expose()));
    is("P2", hex(ours.key.expose()));
    is("what P2 is called", ours.id.to_string());
    let traffic = visits[1].key().unwrap().traffic("wireguard");
    is("traffic key of I2, wireguard", hex(traffic.expose()));
    let flow = "call 7".parse().unwrap();
    let application = device.application("digest").unwrap();
    is("application key of I2, digest", hex(application.expose()));
    assert_eq!(*application.password(), hex(application.expose()));
    let demand = server.demand(flow, &mut Given([0xe1].into()));
    assert_eq!(Demand::decode(&demand.encode()).as_ref(), Ok(&*demand));
    let device = device.prove(&demand, &demand.flow).unwrap();
    let (proof, own) = (device.encode(), visits[1].prove(&demand).unwrap());
    is("proof of hop 1", tag(&proof[..proof.len() - 32]));
    is("proof of hop 2", tag(&proof));
    is("proof of n2", tag(&own.encode()));
    let now = UnixTime(1_800_000_001_000);
    let before = server.application("digest").unwrap();
    assert_ne!(before.expose(), application.expose(), "the second hop is on its way");
    assert_eq!(server.check(demand, &device, &own, &trust, now).unwrap().hops, 2);
    let after = server.application("digest").unwrap();
    assert_eq!(after.expose(), application.expose());
    assert_eq!(seen.len(), vectors.len(), "each vector is checked");
}
