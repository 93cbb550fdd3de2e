//! Any octets as the PROXY header of a proxy.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| homeward_http::testing::fuzz_proxy_header(data));
