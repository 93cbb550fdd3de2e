//! Frames in both directions through a stranger's port, at home and abroad.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| homeward_port::testing::fuzz_port(data));
