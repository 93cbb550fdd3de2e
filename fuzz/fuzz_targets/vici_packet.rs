//! Any octets as a packet of VICI.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| homeward_vici::testing::fuzz_packet(data));
