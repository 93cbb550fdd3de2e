//! Any octets as an echo message: decoded, and written again as the same.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| homeward_l2tp::testing::fuzz_echo(data));
