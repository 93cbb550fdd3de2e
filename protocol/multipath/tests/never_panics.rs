//! No octets make the decoder panic, and no packets the order of frames; the fuzz targets' bodies,
//! here on random and on mangled input.
#![cfg(test)]

use homeward_multipath::testing::{fuzz_reorder, fuzz_report};
use homeward_multipath::{Report, ReportError};
use proptest::prelude::*;

const CORPUS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fuzz/corpus/");

fn seed(name: &str) -> Vec<u8> {
    std::fs::read(format!("{CORPUS}{name}")).unwrap()
}

/// What happens in a row, as the target has it: mostly numbers near the next, by two paths.
fn happenings() -> impl Strategy<Value = Vec<u8>> {
    let frame = (0u8..2, -8i8..12).prop_map(|(path, near)| vec![path << 3, near.cast_unsigned()]);
    let fragment =
        (0u8..4, -3i8..3).prop_map(|(path, near)| vec![path << 3 | 3, near.cast_unsigned()]);
    let time = (0u8..30).prop_map(|ms| vec![4, ms]);
    let other = (5u8..8, 0u8..8, any::<u8>()).prop_map(|(what, path, value)| {
        if what == 6 { vec![what | path << 3] } else { vec![what | path << 3, value] }
    });
    let one = prop_oneof![8 => frame, 2 => fragment, 2 => time, 1 => other];
    (0u8..3, proptest::collection::vec(one, 0..300)).prop_map(|(first, many)| {
        let mut octets = vec![first];
        octets.extend(many.into_iter().flatten());
        octets
    })
}

proptest! {
    #[test]
    fn random_octets(octets in proptest::collection::vec(any::<u8>(), 0..300)) {
        fuzz_report(&octets);
        fuzz_reorder(&octets);
    }

    #[test]
    fn frames_that_come_early_late_and_never(octets in happenings()) {
        fuzz_reorder(&octets);
    }

    #[test]
    fn a_report_with_some_octets_changed(
        changes in proptest::collection::vec((0usize..44, any::<u8>()), 0..4),
    ) {
        let mut octets = seed("multipath_report/report");
        for (at, value) in changes {
            octets[at] = value;
        }
        fuzz_report(&octets);
    }
}

/// The seeds of the fuzz targets, so that they stay good for something.
#[test]
fn the_seeds_are_what_their_names_say() {
    let targets =
        [("multipath_report", fuzz_report as fn(&[u8])), ("multipath_reorder", fuzz_reorder)];
    for (target, body) in targets {
        let mut seeds = 0;
        for seed in std::fs::read_dir(format!("{CORPUS}{target}")).unwrap() {
            body(&std::fs::read(seed.unwrap().path()).unwrap());
            seeds += 1;
        }
        assert!(seeds > 3, "{target} has {seeds} seeds");
    }
    let read = |name| Report::decode(&seed(&format!("multipath_report/{name}")));
    assert!(read("report").unwrap().received.is_some());
    let request = read("request").unwrap();
    assert!(request.request && request.received.is_none());
    assert!(read("answer").unwrap().answer.is_some());
    assert!(read("longer").is_ok());
    assert_eq!(read("echo"), Err(ReportError::Kind(1)));
    assert_eq!(read("later-version"), Err(ReportError::Version(2)));
}
