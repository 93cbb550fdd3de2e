//! Packets out of a stream (RFC 6613 2.6.4, RFC 6614).
#![cfg(test)]

use homeward_radius::Packets;
use homeward_radius::stream::LostStream;
use homeward_radius::testing::fuzz_stream;
use proptest::prelude::*;

fn packet(length: u16) -> Vec<u8> {
    let [high, low] = length.to_be_bytes();
    let mut octets = vec![1, 9, high, low];
    octets.resize(usize::from(length), 5);
    octets
}

fn read(packets: &mut Packets, octets: &[u8]) {
    packets.room()[..octets.len()].copy_from_slice(octets);
    packets.filled(octets.len());
}

#[test]
fn packets_are_found_however_they_come() {
    let stream = [packet(20), packet(4096), packet(21)].concat();
    let mut packets = Packets::new();
    let mut found = Vec::new();
    for piece in stream.chunks(100) {
        read(&mut packets, piece);
        while let Some(packet) = packets.next_packet().unwrap() {
            found.push(packet.len());
        }
    }
    assert_eq!(found, [20, 4096, 21]);
    assert!(!packets.is_amid());
}

#[test]
fn a_packet_that_is_nonsense_inside_is_handed_on_and_the_next_is_found() {
    let mut bad = packet(30);
    bad[0] = 250;
    bad[20..].fill(0);
    let mut packets = Packets::new();
    read(&mut packets, &[bad.clone(), packet(20)].concat());
    assert_eq!(packets.next_packet(), Ok(Some(&bad[..])));
    assert_eq!(packets.next_packet(), Ok(Some(&packet(20)[..])));
    assert_eq!(packets.next_packet(), Ok(None));
}

#[test]
fn a_length_that_no_packet_has_ends_the_stream() {
    for length in [0, 19, 4097, 65_535] {
        let mut packets = Packets::new();
        read(
            &mut packets,
            &[packet(20), [&[1, 9][..], &u16::to_be_bytes(length)].concat()].concat(),
        );
        assert!(packets.next_packet().unwrap().is_some());
        for _ in 0..2 {
            assert_eq!(packets.next_packet(), Err(LostStream(usize::from(length))));
        }
    }
}

proptest! {
    #[test]
    fn the_pieces_of_a_stream_do_not_matter(
        piece in any::<u8>(),
        lengths in proptest::collection::vec(20u16..=4096, 0..6),
        tail in proptest::collection::vec(any::<u8>(), 0..40),
    ) {
        let stream: Vec<u8> = lengths.into_iter().flat_map(packet).collect();
        fuzz_stream(&[&[piece][..], &stream, &tail].concat());
    }
}
