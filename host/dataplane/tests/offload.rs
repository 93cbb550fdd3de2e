//! Super-frames cut and put together, checksums, and the MSS of SYNs.
// So that clippy knows the helpers for tests too.
#![cfg(test)]

use homeward_dataplane::offload::coalesce::Coalescer;
use homeward_dataplane::offload::mss;
use homeward_dataplane::offload::packet::TcpPacket;
use homeward_dataplane::offload::segment::{Malformed, Segments, complete_checksum};
use homeward_dataplane::offload::vnet::{Gso, Vnet};
use homeward_dataplane::testing::{Tcp, cut, join, joins, lower, sound, wireguard};
use homeward_l2tp::TcpMss;
use proptest::prelude::*;

/// Timestamps as Linux sends them: two NOPs, kind 8.
const TIMESTAMPS: [u8; 12] = [1, 1, 8, 10, 0, 0, 0, 9, 0, 0, 0, 8];

fn octets(len: usize) -> Vec<u8> {
    (0..len).map(|at| (at * 7 + at / 256) as u8).collect()
}

/// Lowers to the segments that fit an encrypted tunnel over 1,500 octets.
fn clamp(frame: &mut [u8]) -> bool {
    let limit = || Some(TcpMss { v4: 1350, v6: 1330 });
    TcpPacket::decode(frame).is_some_and(|packet| mss::clamp(frame, &packet, limit))
}

fn segments(vnet: &Vnet, frame: &[u8], largest: usize) -> Vec<Vec<u8>> {
    let mut segments = Segments::new(frame, vnet, largest).expect("a super-frame");
    let mut all = Vec::new();
    while segments.left() > 0 {
        let mut room = vec![0; segments.next_len()];
        segments.write_next(&mut room).expect("there is room");
        all.push(room);
    }
    all
}

/// Frames in, frames out: super-frames as their octets behind their header.
fn coalesced(frames: &[Vec<u8>]) -> Vec<(Vnet, Vec<u8>)> {
    let borrowed: Vec<&[u8]> = frames.iter().map(Vec::as_slice).collect();
    joins(&borrowed);
    let mut coalescer = Coalescer::new();
    for (at, frame) in frames.iter().enumerate() {
        coalescer.push(frame, TcpPacket::decode(frame), at);
    }
    let mut out = Vec::new();
    coalescer.drain(|output| {
        let mut whole = output.header.to_vec();
        for part in output.parts {
            whole.extend(&frames[part.frame][part.from..part.to]);
        }
        out.push((output.vnet, whole));
    });
    assert!(coalescer.is_empty());
    out
}

/// Consecutive segments of a stream.
fn stream(base: &Tcp, sizes: &[usize]) -> Vec<Vec<u8>> {
    let mut next = base.clone();
    sizes
        .iter()
        .map(|size| {
            next.payload = octets(*size);
            let frame = next.frame();
            next.sequence = next.sequence.wrapping_add(*size as u32);
            next.identification = next.identification.wrapping_add(1);
            frame
        })
        .collect()
}

#[test]
fn the_frames_to_test_with_are_sound() {
    for ipv6 in [false, true] {
        let tcp = Tcp { ipv6, payload: octets(101), options: TIMESTAMPS.into(), ..Tcp::default() };
        let mut frame = tcp.frame();
        assert!(sound(&frame));
        *frame.last_mut().unwrap() ^= 1;
        assert!(!sound(&frame));
    }
}

#[test]
fn a_super_frame_is_cut_into_the_segments_that_the_kernel_would_have_sent() {
    for ipv6 in [false, true] {
        let tcp = Tcp {
            ipv6,
            sequence: u32::MAX - 2000,
            flags: 0x80 | 0x10 | 0x08 | 0x01, // CWR, ACK, PSH, FIN
            options: TIMESTAMPS.into(),
            payload: octets(3001),
            ..Tcp::default()
        };
        let (vnet, frame) = tcp.super_frame(1000);
        let all = segments(&vnet, &frame, 1500);
        let by_hand: Vec<Vec<u8>> =
            [(0, 1000, 0x90), (1000, 1000, 0x10), (2000, 1000, 0x10), (3000, 1, 0x19)]
                .into_iter()
                .enumerate()
                .map(|(at, (from, len, flags))| {
                    Tcp {
                        sequence: tcp.sequence.wrapping_add(from),
                        identification: tcp.identification + at as u16,
                        flags,
                        payload: tcp.payload[from as usize..][..len].to_vec(),
                        ..tcp.clone()
                    }
                    .frame()
                })
                .collect();
        assert_eq!(all, by_hand);
    }
}

#[test]
fn segments_are_smaller_than_asked_where_the_path_is_narrow() {
    let (vnet, frame) = Tcp { payload: octets(4000), ..Tcp::default() }.super_frame(1448);
    let all = segments(&vnet, &frame, 54 + 1000);
    assert_eq!(all.iter().map(Vec::len).collect::<Vec<_>>(), [1054; 4]);
    assert!(all.iter().all(|segment| sound(segment)));
}

#[test]
fn a_super_frame_that_contradicts_its_header_is_refused() {
    let (vnet, frame) = Tcp { payload: octets(4000), ..Tcp::default() }.super_frame(1448);
    let refused = |vnet: Vnet, frame: &[u8], largest: usize| {
        assert_eq!(Segments::new(frame, &vnet, largest).map(|_| ()), Err(Malformed));
    };
    refused(Vnet { gso: Gso::Tcp6, ..vnet }, &frame, 1500);
    refused(Vnet { gso: Gso::Other(3), ..vnet }, &frame, 1500);
    refused(Vnet { gso_size: 0, ..vnet }, &frame, 1500);
    refused(Vnet { checksum: None, ..vnet }, &frame, 1500);
    refused(Vnet { checksum: Some((35, 16)), ..vnet }, &frame, 1500);
    refused(Vnet { checksum: Some((34, 6)), ..vnet }, &frame, 1500);
    refused(vnet, &frame, 54);
    refused(vnet, &frame[..54], 1500);
    refused(vnet, &frame[..53], 1500);
    let mut fragment = frame.clone();
    fragment[14 + 7] = 1;
    refused(vnet, &fragment, 1500);
    let mut tagged = frame.clone();
    tagged[12..14].copy_from_slice(&[0x81, 0]);
    refused(vnet, &tagged, 1500);
}

#[test]
fn a_partial_checksum_is_completed() {
    for ipv6 in [false, true] {
        let tcp = Tcp { ipv6, payload: octets(99), ..Tcp::default() };
        let (vnet, mut frame) = tcp.super_frame(0);
        let (start, offset) = vnet.checksum.unwrap();
        complete_checksum(&mut frame, start, offset).unwrap();
        assert_eq!(frame, tcp.frame());
    }
    let mut short = [0; 60];
    assert_eq!(complete_checksum(&mut short, 59, 0), Err(Malformed));
    assert_eq!(complete_checksum(&mut short, 40, 19), Err(Malformed));
    assert_eq!(complete_checksum(&mut short, 0, 16), Err(Malformed));
    assert_eq!(complete_checksum(&mut short, u16::MAX, u16::MAX), Err(Malformed));
}

#[test]
fn a_udp_checksum_that_comes_out_as_zero_is_written_as_ones() {
    let mut frame = vec![0; 14 + 28];
    let last = frame.len() - 8;
    frame[last..].copy_from_slice(&[0xff, 0xff, 0, 0, 0, 0, 0, 0]);
    complete_checksum(&mut frame, last as u16, 6).unwrap();
    assert_eq!(frame[last + 6..], [0xff, 0xff]);
}

#[test]
fn consecutive_segments_of_a_stream_become_one_super_frame() {
    for ipv6 in [false, true] {
        for atomic in [false, true] {
            let base = Tcp { ipv6, atomic, options: TIMESTAMPS.into(), ..Tcp::default() };
            let out = coalesced(&stream(&base, &[1000, 1000, 1000, 400]));
            let [(vnet, frame)] = &out[..] else { panic!("{out:?}") };
            let payload = [octets(1000), octets(1000), octets(1000), octets(400)].concat();
            assert_eq!((*vnet, frame.clone()), Tcp { payload, ..base }.super_frame(1000));
        }
    }
}

#[test]
fn streams_that_interleave_are_put_together_each() {
    let [a, b] = [4000, 4001]
        .map(|port| stream(&Tcp { port, ipv6: port == 4001, ..Tcp::default() }, &[500, 500, 500]));
    let mixed: Vec<Vec<u8>> = a.into_iter().zip(b).flat_map(|(a, b)| [a, b]).collect();
    assert_eq!(coalesced(&mixed).len(), 2);
}

#[test]
fn what_ends_a_super_frame_ends_it() {
    let base = Tcp::default();
    let count = |frames: &[Vec<u8>]| coalesced(frames).len();
    // A short segment is a last one; a longer one begins anew.
    assert_eq!(count(&stream(&base, &[500, 499, 500])), 2);
    assert_eq!(count(&stream(&base, &[500, 501])), 2);
    // No more than an IP packet holds.
    assert_eq!(count(&stream(&base, &[1448; 45])), 1);
    assert_eq!(count(&stream(&base, &[1448; 46])), 2);
    // PSH is kept, and nothing is put behind it.
    let mut frames = stream(&base, &[500, 500]);
    frames.extend(stream(&Tcp { sequence: 1001, flags: 0x18, ..base.clone() }, &[500]));
    frames.extend(stream(&Tcp { sequence: 1501, ..base.clone() }, &[500]));
    let out = coalesced(&frames);
    assert_eq!(out.len(), 2);
    assert_eq!((out[0].1[47], out[1].1[47]), (0x18, 0x10));
}

#[test]
fn what_is_not_the_next_segment_passes_alone() {
    let base = Tcp { payload: octets(500), ..Tcp::default() };
    let next = Tcp { sequence: 501, ..base.clone() };
    assert_eq!(coalesced(&[base.frame(), next.frame()]).len(), 1);
    let mut wrong = next.frame();
    *wrong.last_mut().unwrap() ^= 1;
    let mut ttl = next.frame();
    (ttl[22], ttl[25]) = (63, ttl[25] + 1);
    let mut congested = next.frame();
    (congested[15], congested[25]) = (3, congested[25] - 3);
    let mut header = next.frame();
    header[24] ^= 1;
    for other in [
        Tcp { sequence: 502, ..next.clone() }.frame(),
        Tcp { acknowledgement: 8, ..next.clone() }.frame(),
        Tcp { options: TIMESTAMPS.into(), ..next.clone() }.frame(),
        Tcp { flags: 0x11, ..next.clone() }.frame(),
        Tcp { flags: 0x50, ..next.clone() }.frame(),
        Tcp { atomic: false, ..next.clone() }.frame(),
        Tcp { payload: vec![], ..next.clone() }.frame(),
        wrong,
        ttl,
        congested,
        header,
    ] {
        assert_eq!(coalesced(&[base.frame(), other.clone()]).len(), 2, "{other:02x?}");
        assert_eq!(coalesced(&[other.clone(), next.frame()]).len(), 2, "{other:02x?}");
    }
    let unnumbered = Tcp { atomic: false, ..base };
    let next = Tcp { sequence: 501, identification: 102, ..unnumbered.clone() };
    assert_eq!(coalesced(&[unnumbered.frame(), next.frame()]).len(), 2);
}

#[test]
fn nothing_overtakes_a_frame_of_its_own_stream() {
    let frames = stream(&Tcp::default(), &[500, 500]);
    let fin = Tcp { sequence: 501, flags: 0x11, ..Tcp::default() }.frame();
    let out = coalesced(&[frames[0].clone(), fin.clone(), frames[1].clone()]);
    assert_eq!(
        out.iter().map(|(_, frame)| frame).collect::<Vec<_>>(),
        [&frames[0], &fin, &frames[1]]
    );
    // Of another stream, it may.
    let other = Tcp { port: 9, flags: 0x11, ..Tcp::default() }.frame();
    assert_eq!(coalesced(&[frames[0].clone(), other, frames[1].clone()]).len(), 2);
}

#[test]
fn what_is_no_tcp_passes_as_it_is() {
    let arp = [&[0xff; 6][..], &[2, 0, 0, 0, 0, 1, 8, 6], &[0; 46]].concat();
    let out = coalesced(&[arp.clone(), vec![], vec![1; 13]]);
    assert_eq!(out, [(Vnet::PLAIN, arp), (Vnet::PLAIN, vec![]), (Vnet::PLAIN, vec![1; 13])]);
}

#[test]
fn a_syns_mss_is_lowered_and_its_checksum_corrected() {
    for ipv6 in [false, true] {
        for flags in [0x02, 0x12] {
            // MSS first, or at an odd place behind a NOP.
            for options in [vec![2, 4, 5, 0xb4, 1, 1, 4, 2], vec![1, 2, 4, 5, 0xb4, 1, 4, 2]] {
                let mut frame = Tcp { ipv6, flags, options, ..Tcp::default() }.frame();
                let untouched = frame.clone();
                assert!(clamp(&mut frame));
                assert!(sound(&frame));
                let lowered = if ipv6 { 1330u16 } else { 1350 }.to_be_bytes();
                assert_eq!(
                    frame.windows(4).filter(|w| **w == [2, 4, lowered[0], lowered[1]]).count(),
                    1
                );
                assert_ne!(frame, untouched);
            }
        }
    }
}

#[test]
fn an_mss_behind_extension_headers_is_found() {
    let plain =
        Tcp { ipv6: true, flags: 2, options: vec![2, 4, 5, 0xb4], ..Tcp::default() }.frame();
    // Hop-by-hop options (8 octets), then destination options (16), then TCP.
    let mut frame = plain[..54].to_vec();
    frame[20] = 0;
    frame[19] += 24;
    frame.extend([60, 0, 1, 4, 0, 0, 0, 0]);
    frame.extend([6, 1, 1, 12, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    frame.extend(&plain[54..]);
    assert!(sound(&frame));
    assert!(clamp(&mut frame));
    assert!(sound(&frame));
}

#[test]
fn what_is_no_syn_or_small_enough_or_malformed_is_left_alone() {
    let syn = |options: &[u8]| Tcp { flags: 2, options: options.into(), ..Tcp::default() };
    for tcp in [
        Tcp { flags: 0x10, ..syn(&[2, 4, 5, 0xb4]) },
        syn(&[2, 4, 5, 0x46]),
        syn(&[2, 4, 2, 0]),
        syn(&[]),
        syn(&[0, 2, 4, 5, 0xb4, 0, 0, 0]),
        syn(&[2, 3, 5, 0xb4]),
        syn(&[8, 0, 2, 4, 5, 0xb4, 0, 0]),
        syn(&[8, 1, 2, 4, 5, 0xb4, 0, 0]),
        syn(&[1, 1, 1, 2]),
        syn(&[1, 1, 2, 4]),
    ] {
        let mut frame = tcp.frame();
        assert!(!clamp(&mut frame), "{tcp:?}");
        assert_eq!(frame, tcp.frame());
    }
    let mut cut_off = syn(&[2, 4, 5, 0xb4]).frame();
    cut_off.truncate(56);
    assert!(!clamp(&mut cut_off));
}

const CORPUS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fuzz/corpus/");

#[test]
fn the_corpora_of_the_fuzz_targets_are_survived() {
    let run = |name: &str, body: fn(&[u8])| {
        let files = std::fs::read_dir(format!("{CORPUS}{name}")).unwrap();
        let all: Vec<_> = files.map(|file| std::fs::read(file.unwrap().path()).unwrap()).collect();
        assert!(all.len() >= 4, "{name}");
        all.iter().for_each(|data| body(data));
    };
    run("dataplane_cut", cut);
    run("dataplane_join", join);
    run("dataplane_wireguard", wireguard);
}

fn any_tcp() -> impl Strategy<Value = Tcp> {
    (
        (any::<bool>(), 1u16..4, any::<u32>(), 0u32..2, any::<bool>()),
        prop_oneof![4 => Just(0x10u8), 1 => Just(0x18), 1 => any::<u8>()],
        prop_oneof![Just(vec![]), Just(TIMESTAMPS.to_vec())],
        proptest::collection::vec(any::<u8>(), 0..2000),
    )
        .prop_map(
            |((ipv6, port, sequence, acknowledgement, atomic), flags, options, payload)| Tcp {
                ipv6,
                port,
                sequence,
                acknowledgement,
                flags,
                options,
                identification: sequence as u16,
                atomic,
                payload,
            },
        )
}

proptest! {
    #[test]
    fn cut_and_put_together_again_a_super_frame_is_the_same(
        tcp in any_tcp(), size in 64u16..1448, push: bool,
    ) {
        let tcp = Tcp { flags: if push { 0x18 } else { 0x10 }, ..tcp };
        prop_assume!(tcp.payload.len() > usize::from(size));
        let (vnet, frame) = tcp.super_frame(size);
        let all = segments(&vnet, &frame, 1600);
        prop_assert!(all.iter().all(|segment| sound(segment)));
        prop_assert_eq!(coalesced(&all), [(vnet, frame)]);
    }

    #[test]
    fn a_batch_comes_out_whole_whatever_it_is(
        streams in proptest::collection::vec(
            (any_tcp(), proptest::collection::vec(1usize..700, 1..6)), 1..5),
        order in proptest::collection::vec(0usize..5, 0..30),
        flip in proptest::option::of((0usize..30, 0usize..700)),
    ) {
        let mut streams: Vec<_> =
            streams.iter().map(|(tcp, sizes)| stream(tcp, sizes).into_iter()).collect();
        let mut frames = Vec::new();
        for at in order {
            let at = at % streams.len();
            frames.extend(streams[at].next());
        }
        frames.extend(streams.into_iter().flatten());
        if let Some((which, at)) = flip
            && let Some(frame) = frames.get_mut(which)
            && let Some(octet) = frame.get_mut(at)
        {
            *octet ^= 0x40;
        }
        let borrowed: Vec<&[u8]> = frames.iter().map(Vec::as_slice).collect();
        joins(&borrowed);
    }

    #[test]
    fn octets_of_any_kind_are_survived(data in proptest::collection::vec(any::<u8>(), 0..300)) {
        cut(&data);
        join(&data);
        lower(&mut data.clone());
        wireguard(&data);
    }

    #[test]
    fn a_damaged_super_frame_is_survived(
        tcp in any_tcp(), size: u16, largest in 0u16..2000, flip in 0usize..120, with: u8,
    ) {
        let (vnet, frame) = tcp.super_frame(size);
        let mut data = vnet.encode().to_vec();
        data.extend(largest.to_be_bytes());
        data.extend(&frame);
        let at = flip % data.len();
        data[at] ^= with;
        cut(&data);
    }
}
