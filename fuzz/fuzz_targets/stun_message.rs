//! Any octets as a STUN message, to who answers and to who asked.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| homeward_stun::testing::fuzz_message(data));
