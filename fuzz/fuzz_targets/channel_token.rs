//! Any text as an enrolment token: read, and spelled again.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| homeward_channel::testing::fuzz_token(data));
