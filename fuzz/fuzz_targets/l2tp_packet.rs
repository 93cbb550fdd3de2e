//! Any octets as packets in a row, to a session of every kind.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| homeward_l2tp::testing::fuzz_packet(data));
