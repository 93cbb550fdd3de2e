//! Any octets as a packet: decoded, walked, described, verified.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| homeward_radius::testing::fuzz_packet(data));
