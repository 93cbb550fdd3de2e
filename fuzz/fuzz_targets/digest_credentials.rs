//! Any text as the credentials of a client.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| homeward_digest::testing::fuzz_credentials(data));
