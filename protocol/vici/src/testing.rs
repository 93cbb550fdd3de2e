//! For tests and fuzzing.

use crate::packet::{HEADER, MAX_PACKET, Packet, length};

/// The body of the fuzz target: any octets as a packet. What is read is written as it was.
///
/// # Panics
/// If it is not.
pub fn fuzz_packet(octets: &[u8]) {
    if octets.len() > MAX_PACKET {
        return;
    }
    let Ok(packet) = Packet::decode(octets) else { return };
    let written = packet.encode().unwrap_or_else(|error| unreachable!("it was read: {error}"));
    let Some((header, body)) = written.split_first_chunk::<HEADER>() else {
        unreachable!("there is a length")
    };
    assert_eq!(body, octets, "a packet has one encoding");
    assert_eq!(length(*header), Ok(octets.len()));
}
