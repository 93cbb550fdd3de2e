//! Any octets as the text of a short message, or as deliveries of its segments.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| homeward_offload::testing::fuzz_sms(data));
