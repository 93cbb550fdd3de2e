//! XSD and OpenAPI say what the codecs do.

use homeward_offload::wire::soap::{self, Version};
use homeward_offload::wire::{Invalid, Limits, Refused, json, schema, xml};
use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::TestRunner;
use serde_json::{Value, json as js};

use crate::{Outside, any};

fn text(octets: &[u8]) -> String {
    String::from_utf8(octets.to_vec()).unwrap()
}

/// Samples, and whether each is one of ours.
#[derive(Default)]
struct Samples {
    xml: Vec<(String, bool)>,
    json: Vec<(&'static str, String, bool)>,
}

impl Samples {
    fn check(self) {
        let mut outside = Outside::start(
            "schema",
            &js!({
                "xsd": schema::XSD,
                "openapi": serde_json::from_str::<Value>(schema::OPENAPI).unwrap(),
                "xml": self.xml.iter().map(|(text, _)| text).collect::<Vec<_>>(),
                "json": self.json.iter().map(|(name, text, _)| (name, text)).collect::<Vec<_>>(),
            }),
        );
        let verdicts = outside.hear();
        outside.end();
        for ((text, ours), verdict) in self.xml.iter().zip(verdicts["xml"].as_array().unwrap()) {
            assert_eq!(verdict, ours, "{text}");
        }
        for ((name, text, ours), verdict) in
            self.json.iter().zip(verdicts["json"].as_array().unwrap())
        {
            assert_eq!(verdict, ours, "{name} {text}");
        }
    }
}

#[test]
fn what_is_written_is_what_the_documents_say() {
    let mut runner = TestRunner::deterministic();
    let mut samples = Samples::default();
    for _ in 0..60 {
        let request = any::request().new_tree(&mut runner).unwrap().current();
        let answer = any::answer().new_tree(&mut runner).unwrap().current();
        samples.xml.push((text(&xml::encode_request(&request).unwrap()), true));
        samples.xml.push((text(&xml::encode_answer(&answer).unwrap()), true));
        samples.json.push(("CredentialRequest", text(&json::encode_request(&request)), true));
        samples.json.push(("Credentials", text(&json::encode_answer(&answer).unwrap()), true));
        for version in [Version::V11, Version::V12] {
            samples.xml.push((text(&soap::encode_call(version, &request).unwrap()), true));
            samples.xml.push((text(&soap::encode_answer(version, &answer).unwrap()), true));
        }
    }
    let invalid = Invalid { at: "imsi".to_owned(), what: "is <missing>".to_owned() };
    samples.xml.push((text(&xml::encode_refused(Refused)), true));
    samples.xml.push((text(&xml::encode_invalid(&invalid)), true));
    samples.json.push(("Refused", text(&json::encode_refused(Refused)), true));
    samples.json.push(("Invalid", text(&json::encode_invalid(&invalid)), true));
    samples.check();
}

#[test]
fn a_request_is_refused_exactly_where_the_documents_refuse_it() {
    let mut samples = Samples::default();
    for fields in [
        &[("imsi", "999700123456789"), ("mac", "02:00:5e:10:00:01")][..],
        &[("mac", "0200.5E10.0001"), ("imsi", "999700"), ("imei", "35693803564380")],
        &[("mac", "02005e100001"), ("imsi", "999700123456789"), ("previous", "a@b.example")],
        &[("imsi", "999700123456789")],
        &[("mac", "02:00:5e:10:00:01")],
        &[("imsi", "99970"), ("mac", "02:00:5e:10:00:01")],
        &[("imsi", "9997001234567890"), ("mac", "02:00:5e:10:00:01")],
        &[("imsi", "99970012345678x"), ("mac", "02:00:5e:10:00:01")],
        &[("imsi", "999700123456789"), ("mac", "03:00:5e:10:00:01")],
        &[("imsi", "999700123456789"), ("mac", "02:00:5e:10:00")],
        &[("imsi", "999700123456789"), ("mac", "02:00-5e:10:00:01")],
        &[("imsi", "999700123456789"), ("mac", "02:00:5e:10:00:01"), ("imei", "3569380356438")],
        &[("imsi", "999700123456789"), ("mac", "02:00:5e:10:00:01"), ("previous", "")],
        &[("imsi", "999700123456789"), ("mac", "02:00:5e:10:00:01"), ("iemi", "35693803564380")],
    ] {
        let object: serde_json::Map<_, _> =
            fields.iter().map(|(name, text)| ((*name).to_owned(), js!(text))).collect();
        let object = Value::Object(object).to_string();
        let read = json::decode_request(object.as_bytes(), Limits::REQUEST).is_ok();
        samples.json.push(("CredentialRequest", object, read));

        let inside: String =
            fields.iter().map(|(name, text)| format!("<{name}>{text}</{name}>")).collect();
        let element = format!(
            "<o:credentialRequest xmlns:o=\"{}\">{}</o:credentialRequest>",
            xml::NAMESPACE,
            inside.replace("</", "\0").replace('<', "<o:").replace('\0', "</o:"),
        );
        let read_too = xml::decode_request(element.as_bytes(), Limits::REQUEST).is_ok();
        assert_eq!(read_too, read, "{element}");
        samples.xml.push((element, read));
    }
    let yes = samples.json.iter().filter(|(.., ours)| *ours).count();
    assert_eq!((yes, samples.json.len()), (3, 14));
    let null =
        r#"{"imsi":"999700123456789","mac":"02:00:5e:10:00:01","imei":null,"previous":null}"#;
    let number = r#"{"imsi":999700123456789,"mac":"02:00:5e:10:00:01"}"#;
    for text in [null, number] {
        let read = json::decode_request(text.as_bytes(), Limits::REQUEST).is_ok();
        samples.json.push(("CredentialRequest", text.to_owned(), read));
    }
    let twice = "<imsi>999700123456789</imsi>";
    let element = format!(
        "<credentialRequest xmlns=\"{}\">{twice}{twice}<mac>02:00:5e:10:00:01</mac></credentialRequest>",
        xml::NAMESPACE
    );
    let read = xml::decode_request(element.as_bytes(), Limits::REQUEST).is_ok();
    samples.xml.push((element, read));
    samples.check();
}

#[test]
fn the_example_in_the_openapi_document_is_a_request() {
    let document: Value = serde_json::from_str(schema::OPENAPI).unwrap();
    let example = &document["components"]["schemas"]["CredentialRequest"]["examples"][0];
    let read = json::decode_request(example.to_string().as_bytes(), Limits::REQUEST);
    assert_eq!(read, Ok(any::plain_request()));
}
