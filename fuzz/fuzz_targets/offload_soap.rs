//! Any octets as a SOAP call and as its reply.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| homeward_offload::testing::fuzz_soap(data));
