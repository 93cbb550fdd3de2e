//! TLS in fragments, and anything else, against a conversation that begins.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| homeward_eap::testing::fuzz_conversation(data));
