//! The vectors of `docs/keychain.md`, which were made by another program, in another language.
// So that clippy knows the helpers for tests too.
#![cfg(test)]

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use homeward_keychain::message::SessionId;
use homeward_keychain::module::{Making, Previous};
use homeward_keychain::server::{Policy, Server};
use homeward_keychain::testing::Trust;
use homeward_keychain::{Challenge, Demand, Device, DeviceKey, Response, Signer, Visit};
use homeward_model::{Entropy, Name, UnixTime};

/// Randomness that was written down.
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
    let session = SessionId([5; 16]);
    let signers = [Signer::new(n1.clone(), &[0xa1; 32]), Signer::new(n2.clone(), &[0xa2; 32])];
    let signers = signers.map(Result::unwrap);
    let mut trust = Trust::default();
    signers.iter().for_each(|signer| trust.trust(signer));
    let mut given = Given([0xd1, 0xd2].into());
    let mut device = Device::new(session, s.clone());
    let mut server = Server::new(s, session, Policy::default());
    let mut visits: Vec<Visit> = Vec::new();
    for (at, network) in [&n1, &n2].into_iter().enumerate() {
        let key = DeviceKey::new([[0x11; 32], [0x22; 32]][at]);
        let challenge = Challenge { network: network.clone(), nonce: [[0xc1; 32], [0xc2; 32]][at] };
        let who = "d@example.net".parse().unwrap();
        let response: Response = device.answer(&challenge, who, &key, &mut given).unwrap();
        is(["response tag1", "response tag2"][at], tag(&response.encode()));
        let mut visit = Visit::authorise(challenge, &response, &key).unwrap();
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
        let (record, share) = visit.integrate(previous, &signers[at], &trust, &making).unwrap();
        is(["T1", "T2"][at], hex(record.transcript.0));
        is(["X1", "X2"][at], hex(share.expose()));
        is(["SHA-256(R)1", "SHA-256(R)2"][at], hex(record.digest().0));
        device.integrate(&record, false).unwrap();
        server.extend(network, record, &share, &trust, now).unwrap();
        let key = visit.key().unwrap();
        is(["I1", "I2"][at], hex(key.expose()));
        is(["Kc1", "Kc2"][at], hex(key.confirm().expose()));
        visits.push(visit);
    }
    let traffic = server.key().unwrap().traffic("wireguard");
    is("traffic key of I2, wireguard", hex(traffic.expose()));
    let demand = Demand { session, counter: 1, nonce: [0xe1; 32] };
    let proof = device.prove(&demand).unwrap().encode();
    is("proof of hop 1", tag(&proof[..proof.len() - 32]));
    is("proof of hop 2", tag(&proof));
    is("proof of n2", tag(&visits[1].prove(&demand).unwrap().encode()));
    assert_eq!(seen.len(), vectors.len(), "each vector is checked");
}
