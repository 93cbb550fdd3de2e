//! Any octets as an XML request and as an XML reply.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| homeward_offload::testing::fuzz_xml(data));
