//! IEEE 802.11-2020: management frames (9.3.3), elements (9.4.2), pass-phrase mapping (J.4).

use homeward_dot11::frame::{Elements, Header, Subtype};
use homeward_dot11::{
    Beacon, DecodeError, Observation, ProbeRequest, build, device_key, generate_passphrase,
    observe, psk,
};
use homeward_model::{DeviceKey, Entropy, Mac, Passphrase, Rssi, Ssid, address::decode_hex};
use proptest::prelude::*;

const DEVICE: Mac = Mac::new([2, 0, 0, 0, 2, 0]);

fn ssid(text: &str) -> Ssid {
    text.parse().expect("an SSID")
}

fn hex(text: &str) -> Vec<u8> {
    decode_hex(&text.replace([' ', '\n'], "")).expect("hex digits")
}

/// `frame` as it was captured at -50 dBm on channel 1.
fn heard(frame: &[u8]) -> Result<Observation, DecodeError> {
    observe(&build::captured(frame, Rssi(-50), 2412))
}

/// A probe request with one octet of its frame changed.
fn changed(at: usize, to: u8) -> Result<Observation, DecodeError> {
    let mut frame = build::probe_request(DEVICE, Some(&ssid("Home")), 7);
    frame[at] = to;
    heard(&frame)
}

// --- 9.3.3.9 Probe Request -------------------------------------------------------------------

/// wpa_supplicant 2.10 scanning with `scan_ssid=1`, captured on Linux 6.1 (mac80211_hwsim) on a
/// monitor interface beside an access point.
const CAPTURED_PROBE: &str = "
        00001a002f4800008220dd79c060060000026c09a000c100000040000000ffffffffffff02000000
        0100ffffffffffff40010004486f6d65010802040b160c12182432043048606c0301012d1a7e101b
        ffff0000000000000000000001000000000000000000007f0b04004a0201404040000120ff162301
        78c81a400000bfce0000000000000000fafffaffff126c07007c0000feffff7f0100888888880000
        dd690050f204104a000110103a00010010080002314810470010572cf82fc95756539b16b5cfb298
        abf1105400080000000000000000103c000103100200020000100900020000101200020000102100
        01201023000120102400012010110001201049000600372a000120dd11506f9a0902020025000605
        00585804510b7200dd07506f9a16030103";

/// The same access point's own beacon on that monitor interface.
const CAPTURED_OWN_BEACON: &str = "
        00000d0004800200020000000180000000ffffffffffff0200000000000200000000000000000000
        0000000000640011040007466f726569676e010882848b960c1218240301010504000200002a0104
        32043048606c30140100000fac040100000fac040100000fac020c003b0251002d1a0c001bffff00
        00000000000000000001000000000000000000003d16010000000000000000000000000000000000
        000000007f080400400200000040dd180050f2020101010003a4000027a4000042435e0062322f00";

#[test]
fn a_captured_directed_probe_request_names_device_and_network() {
    let expected = ProbeRequest {
        source: Mac::new([2, 0, 0, 0, 1, 0]),
        ssid: Some(ssid("Home")),
        signal: Some(Rssi(-63)),
        frequency: Some(2412),
    };
    assert_eq!(observe(&hex(CAPTURED_PROBE)), Ok(Observation::ProbeRequest(expected)));
}

#[test]
fn a_captured_frame_that_the_radio_sent_itself_is_its_own() {
    assert_eq!(observe(&hex(CAPTURED_OWN_BEACON)), Ok(Observation::Own));
}

#[test]
fn all_elements_of_a_captured_frame_are_found() {
    let captured = hex(CAPTURED_PROBE);
    let (_, frame) = homeward_dot11::radiotap::decode(&captured).unwrap();
    let (_, body) = Header::decode(frame).unwrap().unwrap();
    let ids: Vec<u8> = Elements::new(body).map(|element| element.unwrap().id).collect();
    // SSID, rates, extended rates, channel, HT, extended capabilities, HE (two), vendors' (two),
    // mesh, vendor's.
    assert_eq!(ids, [0, 1, 50, 3, 45, 127, 255, 255, 221, 221, 114, 221]);
}

#[test]
fn a_wildcard_probe_request_names_no_network() {
    let Ok(Observation::ProbeRequest(probe)) = heard(&build::probe_request(DEVICE, None, 7)) else {
        panic!("no probe request");
    };
    assert_eq!((probe.source, probe.ssid), (DEVICE, None));
}

#[test]
fn an_ssid_of_32_octets_passes_and_one_of_33_does_not() {
    let mut frame = build::probe_request(DEVICE, Some(&ssid(&"x".repeat(32))), 0);
    assert!(heard(&frame).is_ok());
    frame[25] = 33;
    assert_eq!(heard(&frame), Err(DecodeError::SsidLength(33)));
}

#[test]
fn the_first_ssid_element_counts_wherever_it_stands() {
    let frame = build::probe_request(DEVICE, Some(&ssid("Home")), 0);
    let (header, elements) = frame.split_at(24);
    let moved = [header, &[221, 3, 1, 2, 3], elements, &[0, 1, b'x']].concat();
    let Ok(Observation::ProbeRequest(probe)) = heard(&moved) else { panic!("no probe request") };
    assert_eq!(probe.ssid, Some(ssid("Home")));
}

#[test]
fn rubbish_after_the_ssid_does_not_matter() {
    let mut frame = build::probe_request(DEVICE, Some(&ssid("Home")), 0);
    frame.extend([1, 200, 3]);
    assert!(heard(&frame).is_ok());
}

#[test]
fn a_probe_request_without_an_ssid_element_is_refused() {
    let frame = build::probe_request(DEVICE, Some(&ssid("Home")), 0);
    let without = [&frame[..24], &frame[30..]].concat();
    assert_eq!(heard(&without), Err(DecodeError::NoSsid));
    assert_eq!(heard(&frame[..24]), Err(DecodeError::NoSsid));
}

#[test]
fn a_probe_request_cut_off_before_its_ssid_ends_is_refused() {
    let frame = build::probe_request(DEVICE, Some(&ssid("Home")), 0);
    for len in 0..30 {
        let error = heard(&frame[..len]).unwrap_err();
        let expected = match len {
            0..24 => DecodeError::Truncated("802.11 header"),
            24 => DecodeError::NoSsid,
            _ => DecodeError::Truncated("elements"),
        };
        assert_eq!(error, expected, "{len}");
    }
}

// --- 9.2.4 Header fields ---------------------------------------------------------------------

#[test]
fn a_group_address_cannot_be_a_sender() {
    assert_eq!(changed(10, 0x03), Err(DecodeError::GroupSource));
    assert_eq!(changed(10, 0xff), Err(DecodeError::GroupSource));
}

#[test]
fn an_unknown_protocol_version_is_refused() {
    assert_eq!(changed(0, 0x41), Err(DecodeError::Version(1)));
}

#[test]
fn data_and_control_frames_are_something_else() {
    assert_eq!(changed(0, 0x48), Ok(Observation::Other));
    assert_eq!(heard(&hex("d4 00 00 00 02 00 00 00 02 00")), Ok(Observation::Other), "an ACK");
}

#[test]
fn fragments_and_encrypted_probes_are_refused() {
    assert_eq!(changed(1, 0x04), Err(DecodeError::Fragment));
    assert_eq!(changed(22, 0x71), Err(DecodeError::Fragment));
    assert_eq!(changed(1, 0x40), Err(DecodeError::Protected));
}

#[test]
fn an_ht_control_field_is_skipped() {
    let mut frame = build::probe_request(DEVICE, Some(&ssid("Home")), 7);
    frame[1] = 0x80;
    frame.splice(24..24, [9, 9, 9, 9]);
    let Ok(Observation::ProbeRequest(probe)) = heard(&frame) else { panic!("no probe request") };
    assert_eq!(probe.ssid, Some(ssid("Home")));
    assert_eq!(heard(&frame[..26]), Err(DecodeError::Truncated("HT Control field")));
}

#[test]
fn a_header_has_its_fields_at_their_places() {
    let frame = hex("b0 00 3a 01 0a 00 00 00 00 01 0c 00 00 00 00 02 0e 00 00 00 00 03 50 12");
    let (header, body) = Header::decode(&frame).unwrap().unwrap();
    let expected = Header {
        subtype: Subtype::Authentication,
        protected: false,
        destination: Mac::new([0x0a, 0, 0, 0, 0, 1]),
        source: Mac::new([0x0c, 0, 0, 0, 0, 2]),
        bssid: Mac::new([0x0e, 0, 0, 0, 0, 3]),
        sequence: 0x125,
    };
    assert_eq!((header, body), (expected, &[][..]));
    assert_eq!(heard(&frame), Ok(Observation::Other));
}

// --- 9.3.3.2 Beacon, 9.3.3.10 Probe Response -------------------------------------------------

#[test]
fn a_beacon_tells_bss_name_clock_and_interval() {
    let frame = build::beacon(DEVICE, Some(&ssid("Home")), 0x0123_4567_89ab_cdef, 100, 9);
    let expected = Beacon {
        bssid: DEVICE,
        ssid: Some(ssid("Home")),
        timestamp: 0x0123_4567_89ab_cdef,
        interval: 100,
        signal: Some(Rssi(-50)),
        frequency: Some(2412),
    };
    assert_eq!(heard(&frame), Ok(Observation::Beacon(expected)));
    let mut response = frame.clone();
    response[0] = 0x50;
    assert_eq!(heard(&response), Ok(Observation::ProbeResponse(expected)));
    assert_eq!(heard(&frame[..35]), Err(DecodeError::Truncated("fixed fields")));
}

#[test]
fn a_hidden_ssid_is_empty_or_all_zeros() {
    for octets in [&[0, 0][..], &[0, 4, 0, 0, 0, 0]] {
        let frame = build::beacon(DEVICE, None, 0, 100, 0);
        let hidden = [&frame[..36], octets, &frame[38..]].concat();
        let Ok(Observation::Beacon(beacon)) = heard(&hidden) else { panic!("no beacon") };
        assert_eq!(beacon.ssid, None);
    }
}

// --- J.4 Suggested pass-phrase-to-PSK mapping ------------------------------------------------

#[test]
fn the_psk_is_that_of_the_test_vectors_of_j_4_2() {
    let a = "a".repeat(32);
    let z = "Z".repeat(32);
    for (passphrase, name, key) in [
        ("password", "IEEE", "f42c6fc52df0ebef9ebb4b90b38a5f902e83fe1b135a70e23aed762e9710a12e"),
        (
            "ThisIsAPassword",
            "ThisIsASSID",
            "0dc0d6eb90555ed6419756b9a15ec3e3209b63df707dd508d14581f8982721af",
        ),
        (&a, &z, "becb93866bb8c3832cb777c2f559807c8c59afcb6eae734885001300a981cc62"),
    ] {
        let passphrase: Passphrase = passphrase.parse().unwrap();
        assert_eq!(*psk(&passphrase, &ssid(name)).to_hex(), key, "{name}");
        let device_key = device_key(passphrase.clone(), &ssid(name));
        assert_eq!(*device_key.psk().to_hex(), key);
        assert_eq!(device_key.passphrase(), Some(&passphrase), "SAE needs it");
        assert!(matches!(device_key, DeviceKey::Passphrase { .. }));
    }
}

/// Octets that count up from a start.
struct Counter(u8);

impl Entropy for Counter {
    fn fill(&mut self, room: &mut [u8]) {
        for octet in room {
            *octet = self.0;
            self.0 = self.0.wrapping_add(1);
        }
    }
}

#[test]
fn a_passphrase_is_made_up_in_four_groups_of_five() {
    let passphrase = generate_passphrase(&mut Counter(0));
    assert_eq!(passphrase.expose(), "abcde-fghij-kmnpq-rstuv");
    let passphrase = generate_passphrase(&mut Counter(20));
    assert_eq!(passphrase.expose(), "wxyz2-34567-89abc-defgh");
}

#[test]
fn every_character_of_a_passphrase_is_as_likely_as_any_other() {
    // All 256 values of an octet, in the first place: each character comes from eight of them.
    let mut counts = std::collections::BTreeMap::new();
    for first in 0..=255 {
        let passphrase = generate_passphrase(&mut Counter(first));
        *counts.entry(passphrase.expose().as_bytes()[0]).or_insert(0) += 1;
    }
    assert_eq!(counts.len(), 32);
    assert!(counts.values().all(|count| *count == 8), "{counts:?}");
}

// --- properties ------------------------------------------------------------------------------

proptest! {
    #[test]
    fn a_probe_request_survives_the_air(
        octets: [u8; 6],
        name in proptest::option::of(proptest::collection::vec(any::<u8>(), 1..=32)),
        sequence: u16,
    ) {
        let source = Mac::new([octets[0] & 0xfe, octets[1], octets[2], octets[3], octets[4], octets[5]]);
        let name = name.map(|name| Ssid::try_from(name.as_slice()).unwrap());
        let frame = build::probe_request(source, name.as_ref(), sequence);
        let (header, _) = Header::decode(&frame).unwrap().unwrap();
        prop_assert_eq!(header.sequence, sequence & 0xfff);
        let expected = ProbeRequest {
            source, ssid: name, signal: Some(Rssi(-50)), frequency: Some(2412),
        };
        prop_assert_eq!(heard(&frame), Ok(Observation::ProbeRequest(expected)));
    }

    #[test]
    fn a_damaged_probe_request_never_panics(at in 0usize..60, to: u8, cut in 0usize..70) {
        let frame = build::probe_request(DEVICE, Some(&ssid("Home")), 7);
        let mut captured = build::captured(&frame, Rssi(-50), 2412);
        let at = at % captured.len();
        captured[at] = to;
        captured.truncate(cut);
        homeward_dot11::testing::fuzz(&captured);
    }

    #[test]
    fn arbitrary_octets_never_panic(octets: Vec<u8>) {
        homeward_dot11::testing::fuzz(&octets);
    }

    #[test]
    fn elements_end_and_stay_inside(octets: Vec<u8>) {
        let elements: Vec<_> = Elements::new(&octets).collect();
        prop_assert!(elements.len() <= octets.len() / 2 + 1);
        let errors = elements.iter().filter(|element| element.is_err()).count();
        prop_assert!(errors == 0 || errors == 1 && elements.last().is_some_and(Result::is_err));
    }
}
