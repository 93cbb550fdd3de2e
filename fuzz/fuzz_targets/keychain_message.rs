//! Any octets as a message of the key chain.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| homeward_keychain::testing::fuzz_message(data));
