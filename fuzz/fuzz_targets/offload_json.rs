//! Any octets as a JSON request and as a JSON reply.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| homeward_offload::testing::fuzz_json(data));
