//! No octets make a decoder or the machine panic; the fuzz targets' bodies, here on random and on
//! mangled input.
#![cfg(test)]

use homeward_coverage::testing::{fuzz_map, fuzz_trace};
use homeward_coverage::{Limits, Map, Trace, trace::TraceLimits};
use proptest::prelude::*;

fn seeds(target: &str) -> Vec<Vec<u8>> {
    let corpus = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fuzz/corpus/");
    let files = std::fs::read_dir(format!("{corpus}{target}")).unwrap();
    let mut paths: Vec<_> = files.map(|file| file.unwrap().path()).collect();
    paths.sort();
    paths.into_iter().map(|path| std::fs::read(path).unwrap()).collect()
}

fn pick(target: &str, at: prop::sample::Index) -> Vec<u8> {
    let seeds = seeds(target);
    seeds[at.index(seeds.len())].clone()
}

/// The octets with some of them changed.
fn changed(octets: &[u8], changes: Vec<(prop::sample::Index, u8)>) -> Vec<u8> {
    let mut octets = octets.to_vec();
    for (at, value) in changes {
        let at = at.index(octets.len());
        octets[at] = value;
    }
    octets
}

fn changes() -> impl Strategy<Value = Vec<(prop::sample::Index, u8)>> {
    proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6)
}

proptest! {
    #[test]
    fn random_octets(octets in proptest::collection::vec(any::<u8>(), 0..300)) {
        fuzz_map(&octets);
        fuzz_trace(&octets);
        fuzz_map(&[b"HWCM\x01\x0f\0\0", &octets[..]].concat());
    }

    #[test]
    fn a_sound_map_or_trace_with_some_octets_changed(
        seed in any::<prop::sample::Index>(), changes in changes(),
    ) {
        let map = changed(&pick("coverage_map", seed), changes.clone());
        fuzz_map(&map);
        fuzz_trace(&changed(&pick("coverage_trace", seed), changes));
    }
}

/// The seeds of the fuzz targets, so that they stay good for something.
#[test]
fn the_seeds_are_maps_and_traces_and_one_of_each_is_refused() {
    let (maps, traces) = (seeds("coverage_map"), seeds("coverage_trace"));
    maps.iter().for_each(|seed| fuzz_map(seed));
    traces.iter().for_each(|seed| fuzz_trace(seed));
    let read = maps.iter().filter(|seed| Map::decode(seed, &Limits::default()).is_ok()).count();
    assert!(read >= 3 && read < maps.len(), "{read}");
    let text = |seed: &Vec<u8>| String::from_utf8(seed.clone()).unwrap();
    let limits = TraceLimits::default();
    let read = traces.iter().filter(|seed| Trace::decode(&text(seed), &limits).is_ok()).count();
    assert!(read >= 3 && read < traces.len(), "{read}");
}
