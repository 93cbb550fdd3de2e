//! Any octets as a signing request: read, its signature checked.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| homeward_channel::testing::fuzz_signing_request(data));
