//! A captured frame: radiotap header, 802.11 management frame.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| homeward_dot11::testing::fuzz(data));
