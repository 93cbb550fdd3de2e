//! Any octets as a coverage map.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| homeward_coverage::testing::fuzz_map(data));
