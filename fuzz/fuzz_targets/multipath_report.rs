//! Any octets as a report: decoded, and written again as the same.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| homeward_multipath::testing::fuzz_report(data));
