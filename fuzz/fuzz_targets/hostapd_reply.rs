//! hostapd's answers to `STATUS` and `STA`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| homeward_hostapd::testing::fuzz_reply(data));
