//! A batch of frames out of a tunnel.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| homeward_dataplane::testing::join(data));
