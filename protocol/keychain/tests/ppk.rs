//! What an ePDG demands of a device that came from another network: who has it, and who has not.
// So that clippy knows the helpers for tests too.
#![cfg(test)]

use std::collections::BTreeSet;

use homeward_keychain::key::{Export, PpkKey};
use homeward_keychain::module::Previous;
use homeward_keychain::server::Policy;
use homeward_keychain::testing::{World, network};
use homeward_keychain::{Device, Ppk, Visit};

fn world(seed: u64, broken: bool) -> World {
    World::new(seed, 3, Policy { broken, ..Policy::default() })
}

/// What it is called, and what it is.
fn said(ppk: Option<Ppk<'_>>) -> Option<(String, [u8; 32])> {
    ppk.map(|ppk| (ppk.id.to_string(), *ppk.key.expose()))
}

/// What both ends have at the last hop.
fn both(world: &World) -> [Option<(String, [u8; 32])>; 2] {
    [said(world.device.ppk()), said(world.visits.last().unwrap().ppk())]
}

#[test]
fn both_ends_have_the_same_by_the_same_name_and_another_at_each_hop_of_each_session() {
    let mut seen = BTreeSet::new();
    for seed in [1, 2] {
        let mut world = world(seed, false);
        assert_eq!(said(world.device.ppk()), None);
        for (at, n) in [0, 1, 0, 2, 0].into_iter().enumerate() {
            world.hop(&network(n)).unwrap();
            let [ours, theirs] = both(&world);
            assert_eq!(ours, theirs);
            assert_eq!(ours.is_none(), at == 0, "at the first hop nothing was fetched");
            if let Some((id, key)) = ours {
                assert_eq!(id, format!("hop-{}@{}", at + 1, world.device.session()));
                assert!(seen.insert(key.to_vec()) && seen.insert(id.into_bytes()));
            }
        }
    }
    assert_eq!(seen.len(), 2 * 2 * 4);
}

#[test]
fn it_is_not_the_export_nor_any_other_key_that_is_known_of_the_hop() {
    let mut world = world(1, false);
    world.hop(&network(0)).unwrap();
    let mut visit = world.authorise(&network(1)).unwrap();
    let Previous::Fetched(fetched) = world.fetch(&visit).unwrap() else { panic!() };
    let export = *fetched.export.expose();
    assert!(visit.ppk().is_none(), "nothing is integrated yet");
    world.settle(&mut visit, Previous::Fetched(fetched), false).unwrap();
    let key = *visit.ppk().unwrap().key.expose();
    let chain = visit.key().unwrap();
    for other in [
        export,
        *chain.expose(),
        *visit.share().unwrap().expose(),
        *chain.confirm().expose(),
        *chain.traffic("ppk").expose(),
        *world.device.application("ppk").unwrap().expose(),
    ] {
        assert_ne!(key, other);
    }
}

#[test]
fn a_network_that_fetched_nothing_lacks_what_the_device_has() {
    let mut world = world(1, false);
    world.hop(&network(0)).unwrap();
    let mut visit = world.authorise(&network(1)).unwrap();
    let Previous::Fetched(mut fetched) = world.fetch(&visit).unwrap() else { panic!() };
    fetched.export = Export::new([9; 32]);
    world.settle(&mut visit, Previous::Fetched(fetched), false).unwrap();
    world.visits.push(visit);
    let [ours, theirs] = both(&world);
    let ((called, ours), (id, theirs)) = (ours.unwrap(), theirs.unwrap());
    assert_eq!(called, id);
    assert_ne!(ours, theirs);
}

#[test]
fn at_a_hop_that_is_marked_broken_there_is_none_and_at_the_next_there_is() {
    let mut world = world(1, true);
    world.hop(&network(0)).unwrap();
    world.hop(&network(1)).unwrap();
    assert!(both(&world).iter().all(Option::is_some));
    let mut visit = world.authorise(&network(2)).unwrap();
    world.settle(&mut visit, Previous::Missing, true).unwrap();
    world.visits.push(visit);
    assert_eq!(both(&world), [None, None]);
    let mut visit = world.authorise(&network(1)).unwrap();
    let previous = world.fetch(&visit).unwrap();
    world.settle(&mut visit, previous, true).unwrap();
    world.visits.push(visit);
    let [ours, theirs] = both(&world);
    assert!(ours.is_some() && ours == theirs);
}

#[test]
fn it_is_kept_over_a_restart_and_what_was_kept_before_there_was_one_is_read() {
    let mut world = world(1, false);
    world.hop(&network(0)).unwrap();
    world.hop(&network(1)).unwrap();
    let (device, visit) = (world.device.save(), world.visits[1].save().unwrap());
    let before = both(&world);
    world.device = Device::restore(&device).unwrap();
    world.visits[1] = Visit::restore(&visit).unwrap();
    assert_eq!(both(&world), before);
    let older = |saved: &[u8]| saved[..saved.len() - 32].to_vec();
    let read = Device::restore(&older(&device)).unwrap();
    assert!(read.ppk().is_none() && read.hops() == 2);
    let read = Visit::restore(&older(&visit)).unwrap();
    assert!(read.ppk().is_none() && read.hop() == 2);
    for left in 1..32 {
        assert!(Device::restore(&device[..device.len() - left]).is_err());
        assert!(Visit::restore(&visit[..visit.len() - left]).is_err());
    }
}

#[test]
fn a_log_does_not_have_it() {
    let mut world = world(1, false);
    world.hop(&network(0)).unwrap();
    world.hop(&network(1)).unwrap();
    let logged = format!("{:?} {:?}", world.device.ppk(), PpkKey::new([7; 32]));
    assert!(logged.contains("PpkKey([redacted])") && !logged.contains("7, 7"), "{logged}");
}
