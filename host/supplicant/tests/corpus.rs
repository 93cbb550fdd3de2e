//! The bodies of the fuzz targets, over their corpora.
// So that clippy knows the helper below for tests too.
#![cfg(test)]

fn run(target: &str, body: fn(&[u8])) {
    let folder = format!("{}/../../fuzz/corpus/{target}", env!("CARGO_MANIFEST_DIR"));
    let seeds: Vec<_> = std::fs::read_dir(folder).unwrap().collect();
    assert!(seeds.len() >= 4, "{target} has a corpus");
    for seed in seeds {
        let octets = std::fs::read(seed.unwrap().path()).unwrap();
        for end in 0..=octets.len() {
            body(&octets[..end]);
        }
    }
}

#[test]
fn no_seed_and_no_part_of_one_makes_a_decoder_panic() {
    run("supplicant_event", homeward_supplicant::testing::fuzz_event);
    run("supplicant_reply", homeward_supplicant::testing::fuzz_reply);
}
