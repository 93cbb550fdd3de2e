//! The radiotap header, after <https://www.radiotap.org>: "fields", "defined-fields".

use homeward_dot11::radiotap::{MAX_PRESENT_WORDS, decode};
use homeward_dot11::{DecodeError, Observation, Radiotap, build, observe};
use homeward_model::{Mac, Rssi};
use proptest::prelude::*;

const FRAME: [u8; 5] = [1, 2, 3, 4, 5];

/// A header with these present words and field octets, then [`FRAME`].
fn captured(words: &[u32], fields: &[u8]) -> Vec<u8> {
    let len = u16::try_from(4 + 4 * words.len() + fields.len()).expect("a header fits 16 bits");
    let mut octets = vec![0, 0];
    octets.extend(len.to_le_bytes());
    octets.extend(words.iter().flat_map(|word| word.to_le_bytes()));
    octets.extend(fields);
    octets.extend(FRAME);
    octets
}

fn signal(words: &[u32], fields: &[u8]) -> Result<Option<i8>, DecodeError> {
    let octets = captured(words, fields);
    let (radio, frame) = decode(&octets)?;
    assert_eq!(frame, FRAME);
    Ok(radio.signal.map(|rssi| rssi.0))
}

#[test]
fn fields_are_found_in_bit_order_with_their_alignment() {
    // TSFT (8), flags, rate, channel (aligned to 2: 2437 MHz), signal -61, antenna.
    let fields = [1, 2, 3, 4, 5, 6, 7, 8, 0, 12, 0x85, 0x09, 0xa0, 0x00, 0xc3, 1];
    let octets = captured(&[0x082f], &fields);
    // The TSFT starts at octet 8, aligned as it is.
    let (radio, frame) = decode(&octets).unwrap();
    let expected =
        Radiotap { signal: Some(Rssi(-61)), frequency: Some(2437), ..Radiotap::default() };
    assert_eq!((radio, frame), (expected, &FRAME[..]));
}

#[test]
fn padding_counts_from_the_headers_first_octet() {
    // Rate, then channel: one octet of padding between. 2412 MHz.
    let octets = captured(&[0x000c], &[12, 0xee, 0x6c, 0x09, 0xa0, 0x00]);
    assert_eq!(decode(&octets).unwrap().0.frequency, Some(2412));
    // Two present words: fields start at octet 12, so a TSFT needs four octets of padding.
    let fields = [0xee, 0xee, 0xee, 0xee, 1, 2, 3, 4, 5, 6, 7, 8, 0xce];
    assert_eq!(signal(&[0x8000_0021, 0], &fields), Ok(Some(-50)));
}

#[test]
fn every_field_is_skipped_by_its_alignment_and_size() {
    // The standard's table: field, alignment, size.
    #[rustfmt::skip]
    let table: [(u32, usize, usize); 24] = [
        (0, 8, 8), (4, 2, 2), (6, 1, 1), (7, 2, 2), (8, 2, 2), (9, 2, 2), (10, 1, 1), (11, 1, 1),
        (12, 1, 1), (13, 1, 1), (14, 2, 2), (15, 2, 2), (16, 1, 1), (17, 1, 1), (18, 4, 8),
        (19, 1, 3), (20, 4, 8), (21, 2, 12), (22, 8, 12), (23, 2, 12), (24, 2, 12), (25, 2, 6),
        (26, 1, 1), (27, 2, 4),
    ];
    for (field, align, size) in table {
        // Fields start at octet 12, and with the rate in front at an odd one. The signal is in a
        // second namespace, so that it follows whatever the field.
        for rate in [0usize, 1] {
            let at = if field == 0 { 12 } else { 12 + rate };
            let end = at.next_multiple_of(align) + size + if field == 0 { rate } else { 0 };
            let mut fields = vec![0xee; end - 12];
            fields.push(0xb0);
            let words = [0xa000_0000 | 1 << field | (rate as u32) << 2, 0x20];
            assert_eq!(signal(&words, &fields), Ok(Some(-80)), "field {field}, rate {rate}");
        }
    }
}

#[test]
fn the_combined_signal_wins_over_those_of_single_antennas() {
    // Linux: signal; then per antenna a namespace with signal and antenna number.
    let words = [0xa000_0020, 0xa000_0820, 0x0000_0820];
    assert_eq!(signal(&words, &[0xd8, 0xd0, 0, 0xc8, 1]), Ok(Some(-40)));
}

#[test]
fn a_vendors_fields_are_skipped_as_a_block() {
    // Flags, vendor namespace (OUI, selector, 3 octets), then radiotap again: signal -70.
    let words = [0xc000_0002, 0xa000_ffff, 0x0000_0020];
    let fields = [0, 0xee, 0x00, 0x11, 0x22, 0, 3, 0, 9, 9, 9, 0xba];
    assert_eq!(signal(&words, &fields), Ok(Some(-70)));
    // The vendor's block may not reach past the header.
    let fields = [0, 0xee, 0x00, 0x11, 0x22, 0, 5, 0, 9, 9, 9, 0xba];
    assert_eq!(signal(&words, &fields), Err(DecodeError::Truncated("radiotap fields")));
}

#[test]
fn an_unknown_field_ends_the_fields_but_not_the_frame() {
    // A second word that continues the first: its bit 5 is field 37, not the signal.
    assert_eq!(signal(&[0x8000_0000, 0x20], &[0xba]), Ok(None));
    // Type-length-value fields (bit 28) after a signal.
    assert_eq!(signal(&[0x1000_0020], &[0xba, 0, 0, 0, 1, 0, 0, 0]), Ok(Some(-70)));
}

#[test]
fn an_fcs_is_cut_off_where_the_flags_say_that_there_is_one() {
    let with_fcs = captured(&[0x2], &[0x10]);
    let (radio, frame) = decode(&with_fcs).unwrap();
    assert!(radio.fcs_at_end);
    assert_eq!(frame, &FRAME[..1]);
    let short = &with_fcs[..with_fcs.len() - 2];
    assert_eq!(decode(short), Err(DecodeError::Truncated("FCS")));
}

#[test]
fn a_frame_with_a_bad_fcs_is_refused() {
    assert_eq!(decode(&captured(&[0x2], &[0x50])), Err(DecodeError::BadFcs));
    assert_eq!(decode(&captured(&[0x2], &[0x40])), Err(DecodeError::BadFcs));
}

#[test]
fn what_this_radio_sent_itself_is_told_by_its_tx_flags() {
    let probe = build::build_probe_request(Mac::new([2, 0, 0, 0, 2, 0]), None, 1);
    assert_eq!(observe(&probe), Ok(Observation::Own));
    // As Linux reports a frame that it sent: rate, TX flags, data retries.
    assert_eq!(observe(&captured(&[0x0002_8004], &[2, 0xee, 0, 0, 1])), Ok(Observation::Own));
    // TX flags beside a signal: it was received.
    let octets = captured(&[0x0000_8020], &[0xba, 0xee, 0, 0]);
    assert!(!decode(&octets).unwrap().0.is_own());
}

#[test]
fn a_header_that_lies_about_itself_is_refused() {
    for (octets, error) in [
        (&[][..], DecodeError::Truncated("radiotap header")),
        (&[0, 0, 8], DecodeError::Truncated("radiotap header")),
        (&[1, 0, 8, 0, 0, 0, 0, 0], DecodeError::RadiotapVersion(1)),
        (&[0, 0, 7, 0, 0, 0, 0, 0], DecodeError::RadiotapLength { claimed: 7, captured: 8 }),
        (&[0, 0, 9, 0, 0, 0, 0, 0], DecodeError::RadiotapLength { claimed: 9, captured: 8 }),
        (&[0, 0, 0, 1, 0, 0, 0, 0], DecodeError::RadiotapLength { claimed: 256, captured: 8 }),
        (&[0, 0, 8, 0, 0, 0, 0, 0x80], DecodeError::Truncated("radiotap present words")),
        (&[0, 0, 8, 0, 0x20, 0, 0, 0], DecodeError::Truncated("radiotap fields")),
        (&[0, 0, 9, 0, 0x01, 0, 0, 0, 0], DecodeError::Truncated("radiotap fields")),
    ] {
        assert_eq!(decode(octets), Err(error), "{octets:?}");
    }
}

#[test]
fn present_words_are_bounded() {
    let words = |count: usize| {
        let mut words = vec![0xa000_0000u32; count];
        words[count - 1] = 0x20;
        signal(&words, &[0xba])
    };
    assert_eq!(words(MAX_PRESENT_WORDS), Ok(Some(-70)));
    assert_eq!(words(MAX_PRESENT_WORDS + 1), Err(DecodeError::RadiotapPresent));
    assert_eq!(words(1000), Err(DecodeError::RadiotapPresent));
}

proptest! {
    #[test]
    fn what_was_built_is_decoded(dbm: i8, frequency: u16, frame: Vec<u8>) {
        let octets = build::captured(&frame, Rssi(dbm), frequency);
        let (radio, rest) = decode(&octets).unwrap();
        let expected = Radiotap {
            signal: Some(Rssi(dbm)), frequency: Some(frequency), ..Radiotap::default()
        };
        prop_assert_eq!((radio, rest), (expected, frame.as_slice()));
    }

    #[test]
    fn a_header_that_is_all_present_words_never_panics(
        words in proptest::collection::vec(any::<u32>(), 1..40), fields: Vec<u8>,
    ) {
        homeward_dot11::testing::fuzz(&captured(&words, &fields));
    }
}
