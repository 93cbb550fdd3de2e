//! Nothing that names a subscriber, and no password, is in what prints.

use homeward_offload::wire::sms::{self, Part, Reference};
use homeward_offload::wire::{Limits, Reply, json, soap, xml};
use proptest::prelude::*;

use crate::any::{self, IMEI, IMSI, PASSWORD};

#[test]
fn messages_print_redacted() {
    let (request, mut answer) = (any::plain_request(), any::plain_answer());
    answer.handoff = Some(any::plain_handoff());
    let text = sms::encode_answer(&answer).unwrap();
    let segments = sms::split(&text, Reference::Short(1)).unwrap();
    let part = Part::decode(0, 0, text.as_bytes()).unwrap();
    let full = sms::Reassembly::new(sms::Settings::default())
        .handle_part(homeward_model::Instant::ORIGIN, &1, part.clone())
        .unwrap();
    let reply = Reply::Credentials(Box::new(answer.clone()));
    let printed = format!(
        "{request:?} {answer:?} {reply:?} {segments:?} {part:?} {full:?} {:?}",
        sms::decode_reply(&text)
    );
    for secret in
        [IMSI, IMEI, PASSWORD, "1, 35, 69", "0123456789abcdef", "k5gu2zlsnzqw2zjt", "10:00:01"]
    {
        assert!(!printed.contains(secret), "{secret} in {printed}");
    }
}

/// Whether an error repeats a run of what the message said; runs of eight are no accident.
fn repeats(error: &str, message: &str) -> bool {
    let runs: Vec<_> = message.as_bytes().windows(8).collect();
    let told = |run: &[u8]| {
        run.iter().all(u8::is_ascii_digit)
            || run == &PASSWORD.as_bytes()[..8]
            || run == &any::ROOT.as_bytes()[..8]
    };
    let mut secret = runs.iter().filter(|run| told(run));
    secret.any(|run| error.as_bytes().windows(8).any(|window| &window == run))
}

proptest! {
    /// A message with one octet changed, cut or doubled, so that it is wrong somewhere.
    #[test]
    fn an_error_repeats_neither_numbers_nor_passwords(at in 0..1usize << 16, to in any::<u8>(), how in 0..3u8) {
        let (request, mut answer) = (any::plain_request(), any::plain_answer());
        answer.handoff = Some(any::plain_handoff());
        let v11 = soap::Version::V11;
        let messages = [
            json::encode_request(&request).to_vec(),
            json::encode_answer(&answer).unwrap().to_vec(),
            xml::encode_request(&request).unwrap().to_vec(),
            xml::encode_answer(&answer).unwrap().to_vec(),
            soap::encode_call(v11, &request).unwrap().to_vec(),
            sms::encode_request(&request).as_bytes().to_vec(),
            sms::encode_answer(&answer).unwrap().as_bytes().to_vec(),
        ];
        for message in messages {
            let mut octets = message.clone();
            let at = at % octets.len();
            match how {
                0 => octets[at] = to,
                1 => octets.truncate(at),
                _ => octets.insert(at, to),
            }
            let text = String::from_utf8_lossy(&octets).into_owned();
            let errors = [
                json::decode_request(&octets, Limits::REQUEST).err().map(|e| e.to_string()),
                json::decode_reply(&octets, Limits::REPLY).err().map(|e| e.to_string()),
                xml::decode_request(&octets, Limits::REQUEST).err().map(|e| e.to_string()),
                xml::decode_reply(&octets, Limits::REPLY).err().map(|e| e.to_string()),
                soap::decode_call(&octets, soap::Head::default(), Limits::REQUEST).err()
                    .map(|fault| format!("{fault:?} {}", fault.reason())),
                sms::decode_request(&text).err().map(|e| e.to_string()),
                sms::decode_reply(&text).err().map(|e| e.to_string()),
            ];
            for error in errors.into_iter().flatten() {
                prop_assert!(!repeats(&error, &text), "{error}");
            }
        }
    }
}
