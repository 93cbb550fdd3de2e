//! Any octets as a User-Name, of which the realm is found.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| homeward_proxy::testing::fuzz_name(data));
