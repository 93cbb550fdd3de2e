//! Chains that were cut, mixed, repeated and altered: none of them is accepted.
// So that clippy knows the helpers for tests too.
#![cfg(test)]

use homeward_keychain::message::SessionId;
use homeward_keychain::record::{Terms, check};
use homeward_keychain::server::Policy;
use homeward_keychain::testing::{NOW, Seed, Trust, World, device_key, flow, network};
use homeward_keychain::{Fetch, Proof, Record, Response, Visit, Welcome};
use homeward_model::{Entropy, Name, UnixTime};
use proptest::prelude::*;

/// A session of some hops, and its records.
struct Honest {
    records: Vec<Record>,
    session: SessionId,
    server: Name,
    trust: Trust,
}

fn honest(seed: u64, path: &[usize]) -> Honest {
    let mut world = World::new(seed, 4, Policy::default());
    for n in path {
        world.hop(&network(*n)).unwrap();
    }
    world.check().unwrap();
    let records: Vec<Record> = world.server.records().cloned().collect();
    let (session, server) = (records[0].session, records[0].server.clone());
    Honest { records, session, server, trust: world.trust }
}

fn accepts(honest: &Honest, records: &[Record]) -> bool {
    let terms = Terms {
        session: honest.session,
        server: &honest.server,
        directory: &honest.trust,
        now: NOW,
        skew: std::time::Duration::from_secs(5),
        broken: false,
    };
    check(records, &terms).is_ok()
}

/// Alters a chain in one way; `other` is that of another session.
fn mutate(records: &mut Vec<Record>, other: &[Record], seed: &mut Seed) {
    let mut below = |n: usize| {
        let octets: [u8; 8] = seed.octets();
        usize::try_from(u64::from_le_bytes(octets) % n as u64).unwrap()
    };
    let at = below(records.len());
    match below(15) {
        // Left out. Without its last hop it is a chain, of an earlier time: the server knows more.
        0 if at + 1 < records.len() => drop(records.remove(at)),
        1 => {
            let with = below(records.len());
            records.swap(at, with);
        }
        2 => {
            let again = records[below(records.len())].clone();
            records.insert(at, again);
        }
        3 => records[at] = other[below(other.len())].clone(),
        4 => records.extend(other.iter().skip(records.len().min(other.len() - 1)).cloned()),
        5 => {
            let hop = &mut records[at];
            hop.hop = hop.hop.wrapping_add(u16::try_from(1 + below(3)).unwrap());
        }
        6 => records[at].by_network[below(64)] ^= 1 << below(8),
        7 => records[at].before.0[below(32)] ^= 1 << below(8),
        8 => records[at].until = UnixTime(records[at].until.0 + 1 + below(1 << 30) as i64),
        9 => {
            // Signed by another network that is trusted.
            let (network, key) = (other[0].network.clone(), other[0].key);
            (records[at].network, records[at].key) = (network, key);
        }
        10 => records[at].transcript.0[below(32)] ^= 1 << below(8),
        11 => records[at].by_device[below(64)] ^= 1 << below(8),
        12 => records[at].device.0[below(32)] ^= 1 << below(8),
        13 => records[at].previous = Some(network(below(4))),
        _ => records[at].broken ^= true,
    }
}

fn tried(chains: u64, mutations: u64) -> (u64, u64) {
    let (mut changed, mut accepted) = (0, 0);
    for seed in 0..chains {
        let length = 2 + usize::try_from(seed % 4).unwrap();
        let path: Vec<usize> = (0..length).map(|n| (n + seed as usize) % 3).collect();
        let (honest, other) = (honest(seed, &path), honest(seed + 1_000_000, &[3, 0, 1, 2, 0, 1]));
        assert!(accepts(&honest, &honest.records));
        let mut chance = Seed(seed ^ 0x5eed);
        for _ in 0..mutations {
            let mut records = honest.records.clone();
            mutate(&mut records, &other.records, &mut chance);
            // It may have put back what was there.
            if records != honest.records {
                changed += 1;
                accepted += u64::from(accepts(&honest, &records));
            }
        }
    }
    (changed, accepted)
}

#[test]
fn no_mutated_chain_is_accepted() {
    // A million of them: `HOMEWARD_CHAINS=1100`.
    let chains = std::env::var("HOMEWARD_CHAINS").map_or(20, |chains| chains.parse().unwrap());
    let (changed, accepted) = tried(chains, 1_000);
    assert!(changed > chains * 750, "{changed}");
    println!("{changed} mutated chains, {accepted} accepted");
    assert_eq!(accepted, 0);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn any_walk_is_admitted_and_each_server_key_is_the_device_s(
        seed in any::<u64>(),
        path in prop::collection::vec(0usize..4, 1..12),
    ) {
        let mut world = World::new(seed, 4, Policy::default());
        for (at, n) in path.iter().enumerate() {
            world.hop(&network(*n)).unwrap();
            prop_assert_eq!(usize::from(world.check().unwrap().hops), at + 1);
            let server = *world.server.key().unwrap().expose();
            prop_assert_eq!(server, *world.device.key().unwrap().expose());
        }
    }

    #[test]
    fn one_octet_of_any_message_that_is_altered_is_noticed(
        seed in any::<u64>(), which in 0usize..4, at in any::<prop::sample::Index>(), bit in 0u8..8,
    ) {
        let mut world = World::new(seed, 3, Policy::default());
        world.hop(&network(0)).unwrap();
        world.hop(&network(1)).unwrap();
        let flip = |mut octets: Vec<u8>| {
            let at = at.index(octets.len());
            octets[at] ^= 1 << bit;
            octets
        };
        match which {
            0 => {
                let demand = world.server.demand(flow(), &mut world.seed);
                let device = flip(world.device.prove(&demand, &flow()).unwrap().encode());
                let network = world.visits[1].prove(&demand).unwrap();
                if let Ok(device) = Proof::decode(&device) {
                    let now = world.now;
                    prop_assert!(world.server.check(demand, &device, &network, &world.trust, now).is_err());
                }
            }
            1 => {
                let (question, key) = (world.question(&network(2)), device_key(1, &network(2)));
                let response = world.answer(question.challenge(), &key).unwrap();
                if let Ok(response) = Response::decode(&flip(response.encode())) {
                    prop_assert!(Visit::authorise(question, &response, &key).is_err());
                }
            }
            2 => {
                let mut visit = world.authorise(&network(2)).unwrap();
                let previous = world.fetch(&visit).unwrap();
                let welcome = world.integrate(&mut visit, previous, false).unwrap();
                if let Ok(welcome) = Welcome::decode(&flip(welcome.encode())) {
                    prop_assert!(world.device.integrate(&welcome, true).is_err());
                }
            }
            _ => {
                let visit = world.authorise(&network(2)).unwrap();
                let (_, fetch) = visit.fetch().unwrap();
                if let Ok(fetch) = Fetch::decode(&flip(fetch.encode())) {
                    prop_assert!(world.visits[1].export(&network(2), &fetch).is_err());
                }
            }
        }
    }
}
