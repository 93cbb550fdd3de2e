//! AVPs of any shape, and what EAP-TTLS makes of messages in its tunnel.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| homeward_eap::testing::fuzz_ttls_avps(data));
