//! RFC 4623: frames longer than the path carries.
#![cfg(test)]

use std::collections::BTreeMap;
use std::time::Duration;

use homeward_l2tp::testing::session;
use homeward_l2tp::{
    Delivery, Discard, Encapsulation, Fragment, HeaderTemplate, Inbound, InboundSettings,
    MAX_FRAGMENTS, Outbound, Sequence, SessionConfig, Sublayer, TooLong,
};
use homeward_model::Instant;
use proptest::prelude::*;

const NOW: Instant = Instant::ORIGIN;

fn numbered() -> SessionConfig {
    session(Encapsulation::Udp, Sublayer::Numbered).unwrap()
}

fn inbound() -> Inbound {
    Inbound::new(&numbered(), InboundSettings::default())
}

fn at(milliseconds: u64) -> Instant {
    NOW + Duration::from_millis(milliseconds)
}

/// A frame that names itself in every octet, so that a mix of two is seen.
fn frame(number: usize, len: usize) -> Vec<u8> {
    (0..len).map(|at| (number * 31 + at * 7) as u8).collect()
}

fn send(outbound: &mut Outbound, frame: &[u8], payload: usize) -> Vec<Vec<u8>> {
    let pieces = outbound.plan(frame.len(), payload).unwrap();
    pieces.map(|piece| [&outbound.header(&piece)[..], piece.of(frame)].concat()).collect()
}

fn fragment(number: u32, fragment: Fragment, payload: &[u8]) -> Vec<u8> {
    let template = HeaderTemplate::new(&numbered());
    [&template.header(Sequence::new(number), fragment)[..], payload].concat()
}

/// Sections 4.1 and 5.5: bits 2 and 3 of the sublayer, 01 for the first, 11 for those between,
/// 10 for the last, 00 for the whole.
#[test]
fn the_bits_are_those_of_the_rfc() {
    let template = HeaderTemplate::new(&numbered());
    for (fragment, octet) in [
        (Fragment::Whole, 0b0100_0000),
        (Fragment::First, 0b0101_0000),
        (Fragment::Middle, 0b0111_0000),
        (Fragment::Last, 0b0110_0000),
    ] {
        assert_eq!(template.header(Sequence::new(9), fragment)[16..], [octet, 0, 0, 9]);
    }
}

#[test]
fn a_frame_is_cut_only_if_it_does_not_fit_and_then_into_as_few_equal_pieces_as_do() {
    let mut outbound = Outbound::new(&numbered());
    let mut plan = |frame, payload| {
        let pieces = outbound.plan(frame, payload).unwrap();
        pieces.map(|piece| (piece.offset, piece.len, piece.fragment)).collect::<Vec<_>>()
    };
    use Fragment::{First, Last, Middle, Whole};
    assert_eq!(plan(1452, 1452), [(0, 1452, Whole)]);
    assert_eq!(plan(1453, 1452), [(0, 727, First), (727, 726, Last)]);
    assert_eq!(plan(1514, 600), [(0, 505, First), (505, 505, Middle), (1010, 504, Last)]);
    assert_eq!(plan(0, 600), [(0, 0, Whole)]);
    assert_eq!(plan(9, 2).last(), Some(&(8, 1, Last)));
    assert_eq!(plan(5, 1).len(), 5);
    assert_eq!(outbound.counters().fragmented, 4);
}

#[test]
fn what_would_take_fragments_in_a_session_without_numbers_or_too_many_is_refused() {
    for sublayer in [Sublayer::None, Sublayer::Unnumbered] {
        let session = session(Encapsulation::Udp, sublayer).unwrap();
        let refused = Outbound::new(&session).plan(1514, 1456).err();
        assert_eq!(refused, Some(TooLong::NeedsFragments { frame: 1514, payload: 1456 }));
    }
    let mut outbound = Outbound::new(&numbered());
    assert_eq!(outbound.plan(MAX_FRAGMENTS * 100, 100).unwrap().len(), MAX_FRAGMENTS);
    for (frame, payload) in [(MAX_FRAGMENTS * 100 + 1, 100), (1, 0)] {
        let refused = outbound.plan(frame, payload).err();
        assert_eq!(refused, Some(TooLong::TooManyFragments { frame, payload }));
    }
    assert_eq!(outbound.counters().too_long, 2);
    let next = outbound.plan(1, 1).unwrap().next().unwrap();
    assert_eq!(next.sequence.get() as usize, MAX_FRAGMENTS, "nothing was numbered for them");
}

#[test]
fn fragments_make_a_frame_in_any_order() {
    let whole = frame(1, 1514);
    let packets = send(&mut Outbound::new(&numbered()), &whole, 400);
    assert_eq!(packets.len(), 4);
    for order in
        [[0, 1, 2, 3], [3, 2, 1, 0], [1, 3, 0, 2], [2, 0, 3, 1], [0, 2, 1, 3], [3, 0, 2, 1]]
    {
        let mut inbound = inbound();
        for (place, at) in order.into_iter().enumerate() {
            let expected = match place {
                3 => Delivery::Frame(&whole),
                _ => Delivery::Pending,
            };
            assert_eq!(inbound.accept(&packets[at], NOW), Ok(expected), "{order:?}");
        }
        assert_eq!(inbound.held(), 0);
        let counters = inbound.counters();
        assert_eq!((counters.frames, counters.reassembled, counters.fragments), (1, 1, 4));
    }
}

#[test]
fn whole_frames_overtake_fragments_that_wait() {
    let mut outbound = Outbound::new(&numbered());
    let (long, short) = (frame(1, 1514), frame(2, 60));
    let cut = send(&mut outbound, &long, 800);
    let uncut = send(&mut outbound, &short, 800);
    let mut inbound = inbound();
    assert_eq!(inbound.accept(&cut[0], NOW), Ok(Delivery::Pending));
    assert_eq!(inbound.accept(&uncut[0], NOW), Ok(Delivery::Frame(&short)));
    assert_eq!(inbound.accept(&cut[1], NOW), Ok(Delivery::Frame(&long)));
}

#[test]
fn fragments_of_two_frames_are_never_mixed() {
    // First of one frame, then, its second half lost, the last of another: consecutive numbers
    // would be needed to join them, and are not there.
    let mut inbound = inbound();
    let mut take = |number, part, payload: &[u8]| {
        inbound.accept(&fragment(number, part, payload), NOW).map(|delivery| match delivery {
            Delivery::Frame(frame) => frame.to_vec(),
            _ => Vec::new(),
        })
    };
    assert_eq!(take(0, Fragment::First, &[1; 20]), Ok(vec![]));
    assert_eq!(take(3, Fragment::Last, &[2; 20]), Ok(vec![]));
    // Consecutive, but the middle of a frame cannot begin another.
    assert_eq!(take(4, Fragment::First, &[3; 20]), Ok(vec![]));
    assert_eq!(take(5, Fragment::First, &[4; 20]), Ok(vec![]));
    assert_eq!(take(6, Fragment::Last, &[5; 20]), Ok([[4; 20], [5; 20]].concat()));
    assert_eq!(take(2, Fragment::First, &[6; 20]), Ok([[6; 20], [2; 20]].concat()));
    assert_eq!(take(7, Fragment::Last, &[7; 20]), Ok(vec![]), "5 to 6 is a frame already");
}

/// No honest end sends these. What is sound of them is still delivered.
#[test]
fn a_frame_that_begins_or_ends_where_it_should_not_spoils_no_other() {
    use Fragment::{First, Last, Middle};
    for order in [
        [(1, Last), (2, Middle), (0, First)],
        [(2, Middle), (1, Last), (0, First)],
        [(1, First), (0, Middle), (2, Last)],
        [(0, Middle), (1, First), (2, Last)],
    ] {
        let mut inbound = inbound();
        let (last, before) = order.split_last().unwrap();
        for (number, part) in before {
            let packet = fragment(*number, *part, &[*number as u8; 10]);
            assert_eq!(inbound.accept(&packet, NOW), Ok(Delivery::Pending), "{order:?}");
        }
        match inbound.accept(&fragment(last.0, last.1, &[last.0 as u8; 10]), NOW) {
            Ok(Delivery::Frame(frame)) => assert_eq!(frame.len(), 20, "{order:?}"),
            other => panic!("{order:?}: {other:?}"),
        }
    }
}

#[test]
fn a_duplicate_of_a_fragment_is_dropped() {
    let whole = frame(1, 1514);
    let packets = send(&mut Outbound::new(&numbered()), &whole, 800);
    let mut inbound = inbound();
    assert_eq!(inbound.accept(&packets[0], NOW), Ok(Delivery::Pending));
    assert_eq!(inbound.accept(&packets[0], NOW), Err(Discard::Duplicate));
    assert_eq!(inbound.accept(&packets[1], NOW), Ok(Delivery::Frame(&whole)));
    assert_eq!(inbound.accept(&packets[1], NOW), Err(Discard::Duplicate));
    assert_eq!(inbound.counters().frames, 1);
}

#[test]
fn a_frame_whose_rest_does_not_come_in_time_is_given_up() {
    let mut outbound = Outbound::new(&numbered());
    let late = send(&mut outbound, &frame(1, 1514), 800);
    let whole = frame(2, 1514);
    let soon = send(&mut outbound, &whole, 800);
    let mut inbound = inbound();
    assert_eq!(inbound.accept(&late[0], at(0)), Ok(Delivery::Pending));
    assert_eq!(inbound.accept(&soon[0], at(100)), Ok(Delivery::Pending));
    assert_eq!(inbound.poll_timeout(), Some(at(200)));
    assert_eq!(inbound.accept(&late[1], at(200)), Ok(Delivery::Pending), "of nothing");
    assert_eq!(inbound.accept(&soon[1], at(299)), Ok(Delivery::Frame(&whole)));
    assert_eq!(inbound.counters().timed_out, 1);
}

#[test]
fn buffers_are_there_only_while_fragments_are() {
    let packets = send(&mut Outbound::new(&numbered()), &frame(1, 1514), 800);
    let mut inbound = inbound();
    assert_eq!(inbound.poll_timeout(), None);
    inbound.accept(&packets[0], at(0)).unwrap();
    inbound.handle_timeout(at(199));
    assert_eq!((inbound.held(), inbound.poll_timeout()), (757, Some(at(200))));
    inbound.handle_timeout(at(200));
    assert_eq!((inbound.held(), inbound.poll_timeout()), (0, None));
    assert_eq!(inbound.counters().timed_out, 1);
}

/// Two buffers take turns: the one lent to the caller, and the one being filled.
#[test]
fn a_steady_stream_of_fragments_allocates_nothing() {
    let mut outbound = Outbound::new(&numbered());
    let mut inbound = inbound();
    let mut buffers = std::collections::BTreeSet::new();
    for number in 0..1000 {
        let packets = send(&mut outbound, &frame(number, 1514), 800);
        inbound.accept(&packets[0], at(number as u64)).unwrap();
        match inbound.accept(&packets[1], at(number as u64)) {
            Ok(Delivery::Frame(frame)) => drop(buffers.insert(frame.as_ptr())),
            other => panic!("{other:?}"),
        }
    }
    assert!(buffers.len() <= 4, "{} buffers, first ones grown and then two", buffers.len());
}

#[test]
fn no_more_is_held_than_is_allowed_and_the_oldest_goes_first() {
    let settings = InboundSettings { max_runs: 4, max_held: 4000, ..InboundSettings::default() };
    let mut inbound = Inbound::new(&numbered(), settings);
    for number in 0..100 {
        inbound.accept(&fragment(number * 2, Fragment::First, &[1; 900]), NOW).unwrap();
        assert!(inbound.held() <= 4 * 900);
    }
    assert_eq!(inbound.counters().evicted, 96);
    for number in 96..100 {
        let last = fragment(number * 2 + 1, Fragment::Last, &[1; 100]);
        assert_eq!(inbound.accept(&last, NOW), Ok(Delivery::Frame(&[1; 1000])), "{number}");
    }
    let many = InboundSettings { max_held: 1 << 20, ..settings };
    let mut inbound = Inbound::new(&numbered(), many);
    for number in 0..100 {
        inbound.accept(&fragment(number * 2, Fragment::First, &[1; 900]), NOW).unwrap();
    }
    assert_eq!((inbound.held(), inbound.counters().evicted), (4 * 900, 96));
    let mut inbound = Inbound::new(&numbered(), settings);
    for number in 0..4 {
        inbound.accept(&fragment(number * 2, Fragment::First, &[1; 1500]), NOW).unwrap();
        assert!(inbound.held() <= 4000);
    }
    assert_eq!(inbound.counters().evicted, 2);
}

#[test]
fn a_frame_longer_than_allowed_is_not_put_together() {
    let mut inbound = inbound();
    inbound.accept(&fragment(0, Fragment::First, &[1; 1500]), NOW).unwrap();
    inbound.accept(&fragment(1, Fragment::Middle, &[1; 548]), NOW).unwrap();
    let last = fragment(2, Fragment::Last, &[1]);
    assert_eq!(inbound.accept(&last, NOW), Err(Discard::Fragment));
    assert_eq!(inbound.held(), 0);
    let long = fragment(5, Fragment::First, &[1; 2049]);
    assert_eq!(inbound.accept(&long, NOW), Err(Discard::Fragment));
    let empty = fragment(6, Fragment::First, &[]);
    assert_eq!(inbound.accept(&empty, NOW), Err(Discard::Fragment));
}

#[test]
fn a_frame_in_more_pieces_than_allowed_is_not_put_together() {
    let mut inbound = inbound();
    inbound.accept(&fragment(0, Fragment::First, &[1; 20]), NOW).unwrap();
    for number in 1..16 {
        inbound.accept(&fragment(number, Fragment::Middle, &[1; 20]), NOW).unwrap();
    }
    let last = fragment(16, Fragment::Last, &[1; 20]);
    assert_eq!(inbound.accept(&last, NOW), Err(Discard::Fragment));
    assert_eq!(inbound.held(), 0);
}

#[test]
fn pieces_that_make_less_than_a_header_are_no_frame() {
    let mut inbound = inbound();
    inbound.accept(&fragment(0, Fragment::First, &[1; 6]), NOW).unwrap();
    assert_eq!(inbound.accept(&fragment(1, Fragment::Last, &[1; 7]), NOW), Err(Discard::Runt));
}

/// A kernel ignores the bits and would deliver the pieces as frames: neither end may send them.
#[test]
fn a_session_without_numbers_takes_no_fragments() {
    let session = session(Encapsulation::Udp, Sublayer::Unnumbered).unwrap();
    let mut inbound = Inbound::new(&session, InboundSettings::default());
    let first = fragment(0, Fragment::First, &[1; 100]);
    assert_eq!(inbound.accept(&first, NOW), Err(Discard::UnexpectedFragment));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// Frames of any length through paths of any MTU, lost, duplicated and reordered by less
    /// than the machine's limits allow: each arrives once and whole, or not at all, and it
    /// arrives unless one of its packets was lost.
    #[test]
    fn every_frame_arrives_once_and_whole_or_not_at_all(
        frames in proptest::collection::vec((14usize..1600, 100usize..1600), 1..30),
        delays in proptest::collection::vec(0u64..8, 600),
        losses in proptest::collection::vec(0u8..10, 600),
        copies in proptest::collection::vec(0u8..10, 600),
    ) {
        let mut outbound = Outbound::new(&numbered());
        let mut sent = Vec::new();
        let mut flights = BTreeMap::new();
        let mut lost = vec![false; frames.len()];
        let mut count = 0;
        for (number, (len, payload)) in frames.into_iter().enumerate() {
            sent.push(frame(number, len));
            for packet in send(&mut outbound, &sent[number], payload) {
                if losses[count] == 0 {
                    lost[number] = true;
                } else {
                    flights.insert((count as u64 + delays[count], count, 0), packet.clone());
                }
                if copies[count] == 0 && losses[count] > 0 {
                    flights.insert((count as u64 + 5, count, 1), packet);
                }
                count += 1;
            }
        }
        let settings =
            InboundSettings { max_runs: 32, max_held: 65_536, ..InboundSettings::default() };
        let mut inbound = Inbound::new(&numbered(), settings);
        let mut arrived = vec![0; sent.len()];
        for packet in flights.values() {
            if let Ok(Delivery::Frame(frame)) = inbound.accept(packet, NOW) {
                let number = sent.iter().position(|sent| sent == frame);
                prop_assert!(number.is_some(), "a frame that nobody sent");
                arrived[number.unwrap()] += 1;
            }
        }
        for (number, (arrived, lost)) in arrived.into_iter().zip(lost).enumerate() {
            prop_assert_eq!(arrived, usize::from(!lost), "frame {}", number);
        }
    }

    /// Whoever knows the cookie cannot make the machine hold more than its limit, nor keep it.
    #[test]
    fn no_fragments_make_it_hold_more_than_its_limit(
        fragments in proptest::collection::vec((0u32..200, 0u8..3, 0usize..1600, 0u64..50), 1..200),
    ) {
        let settings =
            InboundSettings { max_runs: 6, max_held: 5000, ..InboundSettings::default() };
        let mut inbound = Inbound::new(&numbered(), settings);
        let mut now = 0;
        for (number, part, len, pause) in fragments {
            now += pause;
            let part = [Fragment::First, Fragment::Middle, Fragment::Last][usize::from(part)];
            let _ = inbound.accept(&fragment(number, part, &vec![0; len]), at(now));
            prop_assert!(inbound.held() <= 5000, "{} octets", inbound.held());
        }
        inbound.handle_timeout(at(now + 200));
        prop_assert_eq!(inbound.held(), 0);
        prop_assert_eq!(inbound.poll_timeout(), None);
    }
}
