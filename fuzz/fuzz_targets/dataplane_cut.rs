//! A TAP's frame: virtio-net header, frame.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| homeward_dataplane::testing::cut(data));
