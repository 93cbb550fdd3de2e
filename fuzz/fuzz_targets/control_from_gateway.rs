//! Any octets as what a gateway says.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| homeward_control::testing::fuzz_from_gateway(data));
