//! Event lines of wpa_supplicant.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| homeward_supplicant::testing::fuzz_event(data));
