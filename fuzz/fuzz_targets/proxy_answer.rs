//! Any octets as what comes from a home server.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| homeward_proxy::testing::fuzz_answer(data));
