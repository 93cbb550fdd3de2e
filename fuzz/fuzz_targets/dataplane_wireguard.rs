//! A WireGuard message.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| homeward_dataplane::testing::wireguard(data));
