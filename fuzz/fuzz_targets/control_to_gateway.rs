//! Any octets as what the controller says.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| homeward_control::testing::fuzz_to_gateway(data));
