//! Any octets as an EAP packet: decoded, its Nak and identity read, written again.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| homeward_eap::testing::fuzz_packet(data));
