//! Envelopes, headers and faults.

use homeward_offload::wire::soap::{
    self, ACTION, Code, ENVELOPE_11, ENVELOPE_12, Fault, Head, Version, decode_call,
};
use homeward_offload::wire::xml::NAMESPACE;
use homeward_offload::wire::{Limits, Refused, schema};

use crate::any::{self, IMSI, MAC};

const VERSIONS: [Version; 2] = [Version::V11, Version::V12];

fn body() -> String {
    format!(
        "<e:Body><credentialRequest xmlns='{NAMESPACE}'><imsi>{IMSI}</imsi><mac>{MAC}</mac>\
         </credentialRequest></e:Body>"
    )
}

fn envelope(version: Version, inside: &str) -> String {
    format!("<e:Envelope xmlns:e='{}'>{inside}</e:Envelope>", version.namespace())
}

fn call(text: &str) -> Result<Version, Fault> {
    decode_call(text.as_bytes(), Head::default(), Limits::REQUEST).map(|call| call.version)
}

#[test]
fn a_call_is_answered_in_its_own_version() {
    for version in VERSIONS {
        assert_eq!(call(&envelope(version, &body())), Ok(version));
        let header = format!("<e:Header/>{}", body());
        assert_eq!(call(&envelope(version, &header)), Ok(version));
    }
}

#[test]
fn the_envelope_is_a_header_or_none_and_a_body_of_one_element() {
    for version in VERSIONS {
        for inside in [
            String::new(),
            "<e:Body/>".to_owned(),
            body().repeat(2),
            format!("{}<e:Header/>", body()),
            format!("<e:Header/><e:Header/>{}", body()),
            format!("<x/>{}", body()),
            body().replace("<e:Body>", "<e:Body><x/>"),
            body().replace("e:Body", "Body"),
        ] {
            let fault = call(&envelope(version, &inside)).unwrap_err();
            assert_eq!((fault.version(), fault.code()), (version, Code::Sender), "{inside}");
        }
        // A part of the other version's namespace.
        let other = if version == Version::V11 { Version::V12 } else { Version::V11 };
        let mixed =
            body().replace("<e:Body>", &format!("<e:Body xmlns:e='{}'>", other.namespace()));
        assert_eq!(call(&envelope(version, &mixed)).unwrap_err().code(), Code::Sender);
    }
}

#[test]
fn a_header_that_must_be_understood_is_a_fault_if_it_is_for_us() {
    let next = |version| match version {
        Version::V11 => "e:actor='http://schemas.xmlsoap.org/soap/actor/next'",
        Version::V12 => "e:role='http://www.w3.org/2003/05/soap-envelope/role/next'",
    };
    let last = "e:role='http://www.w3.org/2003/05/soap-envelope/role/ultimateReceiver'";
    for version in VERSIONS {
        let with = |attributes: &str| {
            let header = format!("<e:Header><h:a xmlns:h='urn:h\"&amp;' {attributes}/></e:Header>");
            call(&envelope(version, &format!("{header}{}", body())))
        };
        for attributes in
            ["", "mustUnderstand='1'", "e:mustUnderstand='0'", "e:mustUnderstand='false'"]
        {
            assert_eq!(with(attributes), Ok(version), "{attributes}");
        }
        let whose = if version == Version::V11 { "e:actor" } else { "e:role" };
        assert_eq!(with(&format!("e:mustUnderstand='1' {whose}='urn:another'")), Ok(version));
        for attributes in [
            "e:mustUnderstand='1'".to_owned(),
            "e:mustUnderstand=' true '".to_owned(),
            format!("e:mustUnderstand='1' {}", next(version)),
            format!("e:mustUnderstand='1' {whose}=''"),
        ] {
            let fault = with(&attributes).unwrap_err();
            assert_eq!((fault.version(), fault.code()), (version, Code::MustUnderstand));
            let text = String::from_utf8(fault.encode().to_vec()).unwrap();
            assert!(text.contains("env:MustUnderstand"), "{text}");
            let named = "<env:NotUnderstood qname=\"h:a\" xmlns:h=\"urn:h&quot;&amp;\"/>";
            assert_eq!(text.contains(named), version == Version::V12, "{text}");
        }
    }
    let header = format!("<e:Header><h:a xmlns:h='urn:h' e:mustUnderstand='1' {last}/></e:Header>");
    let fault = call(&envelope(Version::V12, &format!("{header}{}", body()))).unwrap_err();
    assert_eq!(fault.code(), Code::MustUnderstand);
}

#[test]
fn an_envelope_of_another_version_is_told_which_there_are() {
    let other = envelope(Version::V12, &body()).replace("2003/05", "2001/12");
    let fault = call(&other).unwrap_err();
    assert_eq!((fault.code(), fault.status()), (Code::VersionMismatch, 500));
    let text = String::from_utf8(fault.encode().to_vec()).unwrap();
    assert!(text.contains("env:VersionMismatch") && text.contains("<env:Upgrade>"), "{text}");
    assert!(text.contains(ENVELOPE_11) && text.contains(ENVELOPE_12), "{text}");
}

#[test]
fn what_is_no_envelope_is_a_fault_in_the_version_that_http_announces() {
    for version in VERSIONS {
        let head = Head { content_type: Some(version.content_type()), soap_action: None };
        for text in ["", "x", "<a/>", "<!DOCTYPE a><a/>"] {
            let fault = decode_call(text.as_bytes(), head, Limits::REQUEST).unwrap_err();
            assert_eq!((fault.version(), fault.code()), (version, Code::Sender), "{text}");
            assert_eq!(fault.status(), if version == Version::V11 { 500 } else { 400 });
        }
    }
    assert_eq!(Version::of_content_type("Text/XML"), Some(Version::V11));
    let action = "application/soap+xml; charset=utf-8; action=\"urn:x\"";
    assert_eq!(Version::of_content_type(action), Some(Version::V12));
    assert_eq!(Version::of_content_type("application/xml"), None);
}

#[test]
fn the_action_is_ours_or_none() {
    let with = |version, content_type: &str, soap_action: Option<&str>| {
        let text = envelope(version, &body());
        let head = Head { content_type: Some(content_type), soap_action };
        decode_call(text.as_bytes(), head, Limits::REQUEST).map(|call| call.version)
    };
    let quoted = format!("\"{ACTION}\"");
    for action in [None, Some(""), Some("\"\""), Some(ACTION), Some(&*quoted)] {
        assert_eq!(with(Version::V11, "text/xml", action), Ok(Version::V11), "{action:?}");
    }
    assert_eq!(with(Version::V11, "text/xml", Some("urn:x")).unwrap_err().code(), Code::Sender);
    let action = |action: &str| format!("application/soap+xml; action={action}");
    assert_eq!(with(Version::V12, &action(&quoted), None), Ok(Version::V12));
    assert_eq!(with(Version::V12, &action("\"urn:x\""), None).unwrap_err().code(), Code::Sender);
    let latin = with(Version::V11, "text/xml; charset=ISO-8859-1", None).unwrap_err();
    assert_eq!(latin.reason(), "Content-Type: charset is not utf-8: encode it so");
    assert!(with(Version::V11, "text/xml; Charset=\"UTF-8\"", None).is_ok());
}

#[test]
fn a_refusal_has_the_same_octets_every_time_and_says_nothing() {
    for version in VERSIONS {
        let octets = soap::encode_refused(version, Refused);
        assert_eq!(octets, soap::encode_refused(version, Refused));
        let text = String::from_utf8(octets.to_vec()).unwrap();
        assert!(text.contains("<refused xmlns=\"urn:homeward:offload:1\"/>"), "{text}");
    }
}

#[test]
fn a_call_is_what_the_wsdl_says() {
    let octets = soap::encode_call(Version::V12, &any::plain_request()).unwrap();
    let text = std::str::from_utf8(&octets).unwrap();
    assert!(text.contains("<env:Body><credentialRequest xmlns=\"urn:homeward:offload:1\"><imsi>"));
    let wsdl = schema::wsdl("https://a.example/soap?\"<&>");
    assert!(wsdl.contains("location=\"https://a.example/soap?&quot;&lt;&amp;&gt;\""), "{wsdl}");
    assert!(wsdl.contains(&format!("soapAction=\"{ACTION}\"")));
    assert!(wsdl.contains("<xs:element name=\"credentialRequest\"") && !wsdl.contains("xs:import"));
    assert!(!wsdl.contains("portal.invalid"));
}
