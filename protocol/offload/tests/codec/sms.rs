//! Short messages: texts, segments, and messages out of segments.

use std::time::Duration;

use homeward_model::{Instant, Rssi, Seconds};
use homeward_offload::wire::Refused;
use homeward_offload::wire::sms::{
    self, Concatenation, Digest, Nonce, Part, Reassembly, Reference, Segment, Settings, SmsReply,
};
use proptest::prelude::*;

use crate::any::{self, IMEI, IMSI, PASSWORD};

#[test]
fn a_request_is_a_line_that_fits_into_one_segment() {
    let text = sms::encode_request(&any::plain_request());
    assert_eq!(text.as_str(), format!("HW1 C {IMSI} {IMEI} 02005e100001"));
    assert_eq!(sms::split(&text, Reference::Short(1)).unwrap().len(), 1);
    let typed = format!("hw1  c {IMSI} - 02:00:5E:10:00:01\r\n");
    assert_eq!(sms::decode_request(&typed).unwrap().imei, None);
}

#[test]
fn a_nonce_goes_with_any_message_and_is_read_from_it() {
    let nonce = Nonce::new([0, 1, 2, 3, 255]);
    let with = |text: zeroize::Zeroizing<String>| sms::with_nonce(text, Some(nonce));
    let request = with(sms::encode_request(&any::plain_request()));
    assert_eq!(request.as_str(), format!("HW1 C #aaaqea77 {IMSI} {IMEI} 02005e100001"));
    assert_eq!(sms::decode_request(&request), Ok(any::plain_request()));
    let refused = with(sms::encode_refused(Refused).into());
    assert_eq!(sms::decode_reply(&refused), Ok(SmsReply::Refused));
    let answer = with(sms::encode_answer(&any::plain_answer()).unwrap());
    assert!(matches!(sms::decode_reply(&answer), Ok(SmsReply::Credentials(_))));
    for text in [&request, &refused, &answer] {
        assert_eq!(sms::nonce(text), Some(nonce));
        assert_eq!(sms::nonce(&text.to_ascii_uppercase()), Some(nonce), "as people type it");
        let without = text.replace("#aaaqea77 ", "").replace(" #aaaqea77", "");
        assert_eq!(sms::nonce(&without), None);
    }
    for bad in ["#", "#aaaqea7", "#aaaqea777", "#aaaqea71"] {
        let text = request.replace("#aaaqea77", bad);
        assert_eq!(sms::nonce(&text), None);
        assert_eq!(sms::decode_request(&text).unwrap_err().at, "nonce", "{bad}");
    }
    assert_eq!(sms::nonce(&request.replace("HW1", "HW2")), None);
    assert_eq!(format!("{nonce:?}"), "Nonce(..)");
}

#[test]
fn an_answer_of_the_usual_kind_fits_into_one_segment() {
    let mut answer = any::plain_answer();
    answer.policy.anonymous = None;
    let text = sms::encode_answer(&answer).unwrap();
    let digest = Digest::of(&answer.policy);
    assert_eq!(
        text.as_str(),
        format!(
            "HW1 A k5gu2zlsnzqw2zjt*wifi.example.net {PASSWORD} ta3fk0 ta18wc - {digest} p \
             aaa.example.net - Town"
        )
        .replace("ta3fk0 ta18wc", &times(&text))
    );
    let text = sms::with_nonce(text, Some(Nonce::new([7; 5])));
    assert_eq!(
        sms::split(&text, Reference::Short(1)).unwrap().len(),
        1,
        "{} characters",
        text.len()
    );
}

/// The two moments as they are in a text, which the round trips hold to their values.
fn times(text: &str) -> String {
    text.split(' ').skip(4).take(2).collect::<Vec<_>>().join(" ")
}

#[test]
fn the_whole_policy_but_the_authority_is_in_the_answer() {
    let mut answer = any::plain_answer();
    let policy = &mut answer.policy;
    (policy.join, policy.leave, policy.dwell) = (Rssi(-60), Rssi(-75), Seconds(5));
    policy.networks[0].metered = true;
    policy.networks[0].join = Some(Rssi(-70));
    policy.ca = Some("-----BEGIN CERTIFICATE-----\nx\n-----END CERTIFICATE-----\n".to_owned());
    policy.schedule = serde_json::from_str(
        r#"[{"days":["mon","sun"],"from":"08:00","to":"17:30"},{"from":"22:00","to":"24:00"}]"#,
    )
    .unwrap();
    answer.one_time = true;
    let text = sms::encode_answer(&answer).unwrap();
    let digest = Digest::of(&answer.policy);
    let rest = format!(
        " oc {digest} p,-60,-75,5 aaa.example.net anonymous*wifi.example.net Town,m,-70 \
         /17:0800-1730 /2200-2400"
    );
    assert!(text.ends_with(&rest), "{}", text.as_str());
    let Ok(SmsReply::Credentials(read)) = sms::decode_reply(&text) else { panic!() };
    assert!(read.has_ca && read.digest == digest && read.answer.policy.ca.is_none());
    // Without the mark, the digest would have to be that of what is there.
    assert_eq!(sms::decode_reply(&text.replace(" oc ", " o ")).unwrap_err().at, "digest");
}

#[test]
fn what_is_wrong_with_a_text_is_named() {
    let at = |text: &str| sms::decode_request(text).unwrap_err().at;
    assert_eq!(at(""), "the message");
    assert_eq!(at("HW2 C 1 - 1"), "the message");
    assert_eq!(at("HW1 C"), "imsi");
    assert_eq!(at("HW1 C 9997 - 02005e100001"), "imsi");
    assert_eq!(at(&format!("HW1 C {IMSI}")), "imei");
    assert_eq!(at(&format!("HW1 C {IMSI} 1 02005e100001")), "imei");
    assert_eq!(at(&format!("HW1 C {IMSI} -")), "mac");
    assert_eq!(at(&format!("HW1 C {IMSI} - 03005e100001")), "mac");
    assert_eq!(at(&format!("HW1 C {IMSI} - 02005e100001 a=4")), "previous");
    assert_eq!(at(&format!("HW1 C {IMSI} - 02005e100001 a b")), "the message");
    assert_eq!(at(&format!("HW1 C {} - 02005e100001", " ".repeat(9000))), "the message");
    let good = sms::encode_answer(&any::plain_answer()).unwrap();
    let at = |from: &str, to: &str| {
        assert!(good.contains(from), "{}", good.as_str());
        sms::decode_reply(&good.replacen(from, to, 1)).unwrap_err().at
    };
    assert_eq!(at("k5gu2zlsnzqw2zjt*", "*"), "username");
    assert_eq!(at(PASSWORD, "=ff"), "password");
    assert_eq!(at(" - ", " - x"), "digest");
    assert_eq!(at(" p ", " q "), "policy.eap");
    assert_eq!(at(" p ", " p,1 "), "policy.eap");
    assert_eq!(at(" p ", " p,-67,-66,3 "), "policy.leave");
    assert_eq!(at("Town", "Town,x"), "policy.networks");
    assert_eq!(at("Town", "/2500-2600"), "policy.schedule");
    assert_eq!(at("Town", "Towns"), "digest");
    let zeros = times(&good);
    assert_eq!(at(&zeros, "-1 -"), "expires");
    assert_eq!(at(&zeros, "zzzzzzzzzzz -"), "expires");
}

fn parts(segments: &[Segment]) -> Vec<Part> {
    let part = |s: &Segment| Part::decode(s.esm_class(), sms::DATA_CODING, &s.octets).unwrap();
    segments.iter().map(part).collect()
}

const T0: Instant = Instant::ORIGIN;

#[test]
fn a_text_is_cut_at_what_a_segment_holds_beside_its_header() {
    let cut = |len: usize, reference| {
        let segments = sms::split(&"x".repeat(len), reference).unwrap();
        segments.iter().map(|segment| segment.octets.len()).collect::<Vec<_>>()
    };
    assert_eq!(cut(160, Reference::Short(1)), [160]);
    assert_eq!(cut(161, Reference::Short(1)), [6 + 153, 6 + 8]);
    assert_eq!(cut(306, Reference::Short(1)), [6 + 153; 2]);
    assert_eq!(cut(307, Reference::Long(1)), [7 + 152, 7 + 152, 7 + 3]);
    let segments = sms::split(&"x".repeat(161), Reference::Short(0xab)).unwrap();
    assert_eq!(segments[1].octets[..6], [5, 0, 3, 0xab, 2, 2]);
    assert_eq!((segments[1].esm_class(), segments[1].has_header), (0x40, true));
    let segments = sms::split(&"x".repeat(161), Reference::Long(0xabcd)).unwrap();
    assert_eq!(segments[0].octets[..7], [6, 8, 4, 0xab, 0xcd, 2, 1]);
    assert!(sms::split(&"x".repeat(255 * 153), Reference::Short(1)).is_ok());
    assert!(sms::split(&"x".repeat(255 * 153 + 1), Reference::Short(1)).is_err());
    for unsafe_text in ["a@b", "a_b", "ü", "a\nb"] {
        assert!(sms::split(unsafe_text, Reference::Short(1)).is_err());
    }
}

#[test]
fn headers_of_other_kinds_are_skipped_and_broken_ones_refused() {
    let decode = |octets: &[u8]| Part::decode(0x40, 0, octets);
    let ports = decode(&[11, 5, 4, 0, 1, 0, 2, 0, 3, 7, 2, 1, b'x']).unwrap();
    let place = Concatenation::new(Reference::Short(7), 2, 1).unwrap();
    assert_eq!((ports.concatenation, ports.octets.as_slice()), (Some(place), &b"x"[..]));
    let two = decode(&[11, 0, 3, 7, 2, 1, 8, 4, 1, 2, 3, 3, b'x']).unwrap();
    let place = Concatenation::new(Reference::Long(0x102), 3, 3).unwrap();
    assert_eq!(two.concatenation, Some(place));
    assert_eq!(decode(&[0, b'x']).unwrap().concatenation, None);
    for broken in [
        &[][..],
        &[5, 0, 3, 1],
        &[5, 0, 4, 1, 1, 1],
        &[4, 0, 2, 1, 1],
        &[5, 0, 3, 7, 2, 3],
        &[5, 0, 3, 7, 2, 0],
        &[5, 0, 3, 7, 0, 0],
        &[1, 0],
    ] {
        assert!(decode(broken).is_err(), "{broken:?}");
    }
    let long = [&[5, 0, 3, 7, 2, 1][..], &[b'x'; 256]].concat();
    assert!(decode(&long).is_err());
    assert!(Part::decode(0, 0, &vec![b'x'; 20_000]).is_err());
}

#[test]
fn every_coding_that_has_the_characters_will_do() {
    let mut machine = Reassembly::new(Settings::default());
    let mut read = |coding, octets: &[u8]| {
        let part = Part::decode(0, coding, octets).unwrap();
        machine.handle_part(T0, &(), part).unwrap().unwrap().text()
    };
    for coding in [0, 1, 2, 3, 4, 0xf0, 0xf5] {
        assert_eq!(read(coding, b"HW1 R").unwrap().as_str(), "HW1 R", "{coding}");
    }
    let utf16: Vec<u8> = "HW1 R".encode_utf16().flat_map(u16::to_be_bytes).collect();
    assert_eq!(read(8, &utf16).unwrap().as_str(), "HW1 R");
    assert!(read(8, &utf16[1..]).is_err());
    assert!(read(8, &[0xd8, 0]).is_err());
    assert!(read(6, b"HW1 R").is_err());
    // What an `@` may have become on its way.
    for octets in [&b"a\0b"[..], b"a@b", b"a\xa1b", b"a\x11b"] {
        assert!(read(0, octets).is_err());
    }
}

#[test]
fn a_message_whose_rest_does_not_come_in_time_is_dropped() {
    let mut machine = Reassembly::new(Settings::default());
    let timeout = Settings::default().timeout;
    let [first, second] = &parts(&sms::split(&"x".repeat(200), Reference::Short(1)).unwrap())[..]
    else {
        panic!()
    };
    let second_in = Duration::from_secs(1);
    assert_eq!(machine.handle_part(T0, &1, first.clone()), Ok(None));
    assert_eq!(machine.poll_timeout(), Some(T0 + timeout));
    // Hearing the same again does not prolong it.
    assert_eq!(machine.handle_part(T0 + second_in, &1, first.clone()), Ok(None));
    assert_eq!(machine.poll_timeout(), Some(T0 + timeout));
    assert_eq!(machine.handle_part(T0 + timeout, &1, second.clone()), Ok(None));
    assert_eq!(machine.open(), 1);
    assert_eq!(machine.handle_timeout(T0 + timeout + timeout), 1);
    assert_eq!((machine.open(), machine.poll_timeout()), (0, None));
}

#[test]
fn a_reference_used_again_begins_another_message() {
    let mut machine = Reassembly::new(Settings::default());
    let old = parts(&sms::split(&"o".repeat(200), Reference::Short(1)).unwrap());
    let new = parts(&sms::split(&"n".repeat(200), Reference::Short(1)).unwrap());
    let longer = parts(&sms::split(&"l".repeat(400), Reference::Short(1)).unwrap());
    assert_eq!(machine.handle_part(T0, &1, old[0].clone()), Ok(None));
    assert_eq!(machine.handle_part(T0, &1, new[0].clone()), Ok(None));
    let full = machine.handle_part(T0, &1, new[1].clone()).unwrap().unwrap();
    assert_eq!(full.text().unwrap().as_str(), "n".repeat(200));
    assert_eq!(machine.handle_part(T0, &1, old[0].clone()), Ok(None));
    for part in &longer[..2] {
        assert_eq!(machine.handle_part(T0, &1, part.clone()), Ok(None));
    }
    let full = machine.handle_part(T0, &1, longer[2].clone()).unwrap().unwrap();
    assert_eq!(full.octets.len(), 400);
    // What there was of the old one is no part of the new one.
    let old3 = parts(&sms::split(&"o".repeat(400), Reference::Short(2)).unwrap());
    let new3 = parts(&sms::split(&"n".repeat(400), Reference::Short(2)).unwrap());
    for part in [&old3[0], &old3[1], &new3[0], &new3[2]] {
        assert_eq!(machine.handle_part(T0, &1, part.clone()), Ok(None));
    }
    let full = machine.handle_part(T0, &1, new3[1].clone()).unwrap().unwrap();
    assert_eq!(full.text().unwrap().as_str(), "n".repeat(400));
    // Another sender's, another width's and another coding's are others.
    assert_eq!(machine.handle_part(T0, &1, old[0].clone()), Ok(None));
    assert_eq!(machine.handle_part(T0, &2, old[1].clone()), Ok(None));
    let wide = parts(&sms::split(&"o".repeat(200), Reference::Long(1)).unwrap());
    assert_eq!(machine.handle_part(T0, &1, wide[1].clone()), Ok(None));
    let other = Part { coding: 4, ..old[1].clone() };
    assert_eq!(machine.handle_part(T0, &1, other), Ok(None));
    assert_eq!(machine.open(), 3);
}

#[test]
fn what_is_not_whole_is_bounded_altogether_and_for_a_sender() {
    let settings = Settings { per_sender: 2, messages: 4, parts: 3, ..Settings::default() };
    let mut machine = Reassembly::new(settings);
    let two =
        |reference| parts(&sms::split(&"x".repeat(200), Reference::Short(reference)).unwrap());
    for reference in 1..=3 {
        assert_eq!(machine.handle_part(T0, &1, two(reference)[0].clone()), Ok(None));
    }
    assert_eq!(machine.open(), 2, "the sender's oldest gave way");
    assert_eq!(machine.handle_part(T0, &1, two(3)[1].clone()).map(|full| full.is_some()), Ok(true));
    for sender in 2..=9 {
        assert_eq!(machine.handle_part(T0, &sender, two(1)[0].clone()), Ok(None));
    }
    assert_eq!(machine.open(), 4, "the oldest gave way");
    assert_eq!(machine.handle_part(T0, &9, two(1)[1].clone()).map(|full| full.is_some()), Ok(true));
    let long = parts(&sms::split(&"x".repeat(500), Reference::Short(1)).unwrap());
    assert!(machine.handle_part(T0, &1, long[0].clone()).is_err(), "4 segments; 3 at most");
}

proptest! {
    #[test]
    fn segments_in_any_order_and_twice_make_the_text(
        text in "[A-Za-z0-9 .,:=*/-]{1,2000}",
        wide in any::<bool>(),
        reference in any::<u16>(),
        order in proptest::collection::vec(any::<u16>(), 32),
    ) {
        let reference =
            if wide { Reference::Long(reference) } else { Reference::Short(reference as u8) };
        let segments = sms::split(&text, reference).unwrap();
        let mut machine = Reassembly::new(Settings::default());
        let parts = parts(&segments);
        let mut queue: Vec<_> = (0..parts.len()).collect();
        queue.sort_by_key(|at| order[*at]);
        let last = queue.pop().unwrap();
        for at in queue.iter().chain(&queue) {
            prop_assert_eq!(machine.handle_part(T0, &7, parts[*at].clone()), Ok(None));
        }
        let full = machine.handle_part(T0, &7, parts[last].clone()).unwrap().unwrap();
        prop_assert!(full.text().unwrap().as_str() == text);
        prop_assert_eq!(machine.open(), 0);
    }
}
