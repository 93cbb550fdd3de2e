//! wpa_supplicant's answers.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| homeward_supplicant::testing::fuzz_reply(data));
