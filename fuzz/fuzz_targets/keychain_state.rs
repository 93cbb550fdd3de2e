//! Any octets as what a side of the key chain keeps.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| homeward_keychain::testing::fuzz_state(data));
