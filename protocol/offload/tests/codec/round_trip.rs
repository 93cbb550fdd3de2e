//! What one end writes, the other reads.

use homeward_model::UnixTime;
use homeward_offload::wire::sms::{self, Digest, SmsReply};
use homeward_offload::wire::soap::{self, Head, Version};
use homeward_offload::wire::{CredentialRequest, Limits, Reply, json, xml};
use proptest::prelude::*;

use crate::any;

/// For answers that are longer than any that is sent.
const WIDE: Limits = Limits { octets: 1 << 24, depth: 16 };

fn version() -> impl Strategy<Value = Version> {
    proptest::sample::select(vec![Version::V11, Version::V12])
}

proptest! {
    #[test]
    fn a_request_survives_every_form(request in any::request(), version in version()) {
        let octets = json::encode_request(&request);
        prop_assert_eq!(json::decode_request(&octets, Limits::REQUEST), Ok(request.clone()));

        let octets = xml::encode_request(&request).unwrap();
        prop_assert_eq!(xml::decode_request(&octets, Limits::REQUEST), Ok(request.clone()));

        let octets = soap::encode_call(version, &request).unwrap();
        let head = Head {
            content_type: Some(version.content_type()),
            soap_action: Some("\"urn:homeward:offload:1:getCredentials\""),
        };
        let call = soap::decode_call(&octets, head, Limits::REQUEST).unwrap();
        prop_assert_eq!((call.version, &call.request), (version, &request));

        let text = sms::encode_request(&request);
        prop_assert!(text.chars().all(sms::is_safe));
        // No key is asked for by message.
        prop_assert_eq!(sms::decode_request(&text), Ok(CredentialRequest { handoff: false, ..request }));
    }

    #[test]
    fn an_answer_survives_every_form(answer in any::answer(), version in version()) {
        let credentials = Ok(Reply::Credentials(Box::new(answer.clone())));
        let octets = json::encode_answer(&answer).unwrap();
        prop_assert_eq!(&json::decode_reply(&octets, WIDE), &credentials);
        let octets = xml::encode_answer(&answer).unwrap();
        prop_assert_eq!(&xml::decode_reply(&octets, WIDE), &credentials);
        let octets = soap::encode_answer(version, &answer).unwrap();
        prop_assert_eq!(&soap::decode_reply(&octets, WIDE), &credentials);
    }

    #[test]
    fn a_short_message_has_all_but_the_authority_and_the_milliseconds(answer in any::answer()) {
        let text = sms::encode_answer(&answer).unwrap();
        prop_assert!(text.chars().all(sms::is_safe));
        let Ok(SmsReply::Credentials(read)) = sms::decode_reply(&text) else {
            panic!("{:?}", sms::decode_reply(&text));
        };
        let mut expected = answer.clone();
        expected.policy.ca = None;
        expected.handoff = None;
        for time in [&mut expected.expires, &mut expected.renew_from].into_iter().flatten() {
            *time = UnixTime(time.0 / 1000 * 1000);
        }
        prop_assert_eq!(&read.answer, &expected);
        prop_assert_eq!(read.has_ca, answer.policy.ca.is_some());
        prop_assert_eq!(read.digest, Digest::of(&answer.policy));
    }
}

#[test]
fn a_refusal_and_a_fault_with_a_request_survive_every_form() {
    use homeward_offload::wire::{Invalid, Refused};
    let invalid = Invalid { at: "imsi".to_owned(), what: "<is> & \"missing\"\u{1}".to_owned() };
    let told = |text: &str| Ok(Reply::Invalid(text.to_owned()));
    let plain = "imsi: <is> & \"missing\"?";

    let octets = json::encode_refused(Refused);
    assert_eq!(octets.as_slice(), br#"{"error":"refused"}"#);
    assert_eq!(json::decode_reply(&octets, Limits::REPLY), Ok(Reply::Refused));
    let octets = json::encode_invalid(&invalid);
    assert_eq!(json::decode_reply(&octets, Limits::REPLY), told(&invalid.to_string()));

    let octets = xml::encode_refused(Refused);
    assert_eq!(xml::decode_reply(&octets, Limits::REPLY), Ok(Reply::Refused));
    let octets = xml::encode_invalid(&invalid);
    assert_eq!(xml::decode_reply(&octets, Limits::REPLY), told(plain));

    for version in [Version::V11, Version::V12] {
        let octets = soap::encode_refused(version, Refused);
        assert_eq!(soap::decode_reply(&octets, Limits::REPLY), Ok(Reply::Refused));
        let octets = soap::Fault::sender(version, invalid.clone()).encode();
        assert_eq!(soap::decode_reply(&octets, Limits::REPLY), told(plain));
        let octets = soap::Fault::receiver(version, "not now").encode();
        assert!(soap::decode_reply(&octets, Limits::REPLY).is_err());
    }
    assert_eq!(sms::decode_reply(&sms::encode_refused(Refused)), Ok(SmsReply::Refused));
}
