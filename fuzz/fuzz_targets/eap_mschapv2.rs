//! MSCHAPv2 packets, and what PEAP makes of messages in its tunnel.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| homeward_eap::testing::fuzz_mschapv2(data));
