//! Any line as one of gpsd's.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| homeward_gpsd::testing::fuzz_report(data));
