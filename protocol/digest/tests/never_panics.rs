//! No text makes the decoder panic; the fuzz target's body, here on random and on mangled texts.
#![cfg(test)]

use homeward_digest::Credentials;
use homeward_digest::testing::fuzz_credentials;
use proptest::prelude::*;

const CORPUS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fuzz/corpus/digest_credentials");

fn seeds() -> Vec<Vec<u8>> {
    let files = std::fs::read_dir(CORPUS).unwrap();
    files.map(|file| std::fs::read(file.unwrap().path()).unwrap()).collect()
}

proptest! {
    #[test]
    fn random_parameters(text in "Digest ([a-z]{1,8}=(\"[^\"]{0,9}\"|[a-z0-9]{0,9}), ?){0,12}") {
        fuzz_credentials(text.as_bytes());
    }

    #[test]
    fn a_sound_text_with_some_octets_changed(
        seed in any::<prop::sample::Index>(),
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
    ) {
        let seeds = seeds();
        let mut octets = seed.get(&seeds).clone();
        for (at, value) in changes {
            let at = at.index(octets.len());
            octets[at] = value;
        }
        fuzz_credentials(&octets);
    }
}

/// The seeds of the fuzz target, so that they stay good for something.
#[test]
fn the_seeds_are_credentials() {
    let seeds = seeds();
    assert!(seeds.len() >= 3);
    for seed in seeds {
        fuzz_credentials(&seed);
        Credentials::read(std::str::from_utf8(&seed).unwrap()).unwrap();
    }
}
