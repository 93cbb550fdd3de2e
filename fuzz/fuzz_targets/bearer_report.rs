//! Any octets as an Accounting-Request of a packet gateway, and as all that a table knows.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| homeward_bearer::testing::fuzz_report(data));
