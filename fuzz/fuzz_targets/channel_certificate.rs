//! Any octets as a certificate: whose it is, its pin, its time.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| homeward_channel::testing::fuzz_certificate(data));
