//! Any octets as a look-up's question, in both forms, and as its answer.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| homeward_radius::testing::fuzz_lookup(data));
