//! Any octets as a stream of packets, in pieces.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| homeward_radius::testing::fuzz_stream(data));
