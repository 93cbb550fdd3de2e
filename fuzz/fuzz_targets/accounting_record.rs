//! Any octets as an Accounting-Request, and as all that is known of a session.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| homeward_accounting::testing::fuzz_record(data));
