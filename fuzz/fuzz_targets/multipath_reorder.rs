//! Any packets by any paths at any time: each frame comes out once, in order or counted as late, and
//! in time.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| homeward_multipath::testing::fuzz_reorder(data));
