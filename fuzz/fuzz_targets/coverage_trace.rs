//! Any text as a trace of what a device heard, replayed.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| homeward_coverage::testing::fuzz_trace(data));
