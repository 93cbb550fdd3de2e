//! Event lines of hostapd.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| homeward_hostapd::testing::fuzz_event(data));
