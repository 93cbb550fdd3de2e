//! A request as it is forwarded, and the attributes of an answer as they come back.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| homeward_proxy::testing::fuzz_hop(data));
