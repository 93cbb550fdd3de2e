//! What is no XML of ours.

use homeward_offload::wire::xml::{self, NAMESPACE};
use homeward_offload::wire::{CredentialAnswer, Limits, Reply};

use crate::any::{self, IMSI, MAC};

fn wrong(text: &str) -> String {
    xml::decode_request(text.as_bytes(), Limits::REQUEST).unwrap_err().to_string()
}

fn request(inside: &str) -> String {
    format!("<credentialRequest xmlns=\"{NAMESPACE}\">{inside}</credentialRequest>")
}

fn plain() -> String {
    format!("<imsi>{IMSI}</imsi><mac>{MAC}</mac>")
}

fn reads(text: &str) -> bool {
    xml::decode_request(text.as_bytes(), Limits::REQUEST).is_ok()
}

#[test]
fn a_request_is_an_element_of_our_namespace() {
    let octets = xml::encode_request(&any::plain_request()).unwrap();
    let text = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<credentialRequest xmlns=\"{NAMESPACE}\">\
         <imsi>{IMSI}</imsi><imei>{}</imei><mac>{MAC}</mac></credentialRequest>\n",
        any::IMEI
    );
    assert_eq!(std::str::from_utf8(&octets).unwrap(), text);
}

#[test]
fn hand_off_keys_are_an_element_more_of_each() {
    let mut asked = any::plain_request();
    asked.handoff = true;
    let octets = xml::encode_request(&asked).unwrap();
    let text = std::str::from_utf8(&octets).unwrap();
    assert!(text.contains("</mac><handoff>true</handoff></credentialRequest>"), "{text}");
    assert_eq!(xml::decode_request(&octets, Limits::REQUEST), Ok(asked.clone()));
    let one = text.replace(">true<", "> 1 <");
    assert_eq!(xml::decode_request(one.as_bytes(), Limits::REQUEST), Ok(asked));
    let answer = CredentialAnswer { handoff: Some(any::plain_handoff()), ..any::plain_answer() };
    let octets = xml::encode_answer(&answer).unwrap();
    let text = std::str::from_utf8(&octets).unwrap();
    let keys = format!(
        "</policy><handoff><name>hdjv3@wifi.example.net</name><root>{}</root>\
         <version>1770000000</version></handoff></credentials>",
        any::ROOT
    );
    assert!(text.contains(&keys), "{text}");
    let upper = text.replace(any::ROOT, &any::ROOT.to_uppercase());
    let read = xml::decode_reply(upper.as_bytes(), Limits::REPLY);
    assert_eq!(read, Ok(Reply::Credentials(Box::new(answer))));
}

#[test]
fn prefixes_white_space_comments_and_attributes_make_no_difference() {
    let text = format!(
        "\u{feff}<?xml version='1.0' encoding='utf-8'?>\r\n<!-- hello -->\n\
         <q:credentialRequest xmlns:q='{NAMESPACE}' xmlns:x='urn:x' x:a='1' b='&lt;'>\n\
         <q:mac>\t{MAC} <!-- here --></q:mac> <imsi xmlns='{NAMESPACE}'>99970<![CDATA[01234]]>\
         &#x35;6789\n</imsi></q:credentialRequest>\n<!-- bye -->\n"
    );
    let read = xml::decode_request(text.as_bytes(), Limits::REQUEST).unwrap();
    assert_eq!((read.imsi.as_str(), read.mac), (IMSI, MAC.parse().unwrap()));
    let previous = request(&format!("{}<previous> a&amp;&#98;&#x26;c&lt;@x </previous>", plain()));
    let read = xml::decode_request(previous.as_bytes(), Limits::REQUEST).unwrap();
    assert_eq!(read.previous.unwrap().as_str(), "a&b&c<@x");
}

#[test]
fn document_types_entities_and_instructions_are_refused() {
    let bomb = "<!DOCTYPE x [<!ENTITY a \"aaaa\"><!ENTITY b \"&a;&a;&a;\">]>";
    assert_eq!(
        wrong(&format!("{bomb}{}", request(&plain()))),
        "line 1 column 1: has a document type declaration: leave it out"
    );
    let entity = request(&format!("{}<previous>&xxe;</previous>", plain()));
    assert!(
        wrong(&entity).ends_with("has an entity: give lt, gt, amp, apos, quot or a number alone")
    );
    let html = request(&format!("{}<previous>&nbsp;</previous>", plain()));
    assert!(wrong(&html).contains("has an entity"));
    for reference in ["&#0;", "&#x110000;", "&#xd800;", "&#1;", "&#xfffe;"] {
        let text = request(&format!("{}<previous>a{reference}</previous>", plain()));
        assert!(wrong(&text).contains("character"), "{reference}: {}", wrong(&text));
    }
    let style = format!("<?xml-stylesheet href='x'?>{}", request(&plain()));
    assert!(wrong(&style).contains("has a processing instruction"));
    let inside = request(&format!("{}<?php x ?>", plain()));
    assert!(wrong(&inside).contains("has a processing instruction"));
}

#[test]
fn other_versions_and_encodings_are_refused() {
    let with = |declaration: &str| format!("{declaration}{}", request(&plain()));
    assert!(reads(&with("<?xml version=\"1.0\"?>")));
    assert!(wrong(&with("<?xml version=\"1.1\"?>")).contains("is not XML 1.0"));
    assert!(
        wrong(&with("<?xml version=\"1.0\" encoding=\"UTF-16\"?>")).contains("is not in UTF-8")
    );
    assert!(wrong(&with("<?xml encoding=\"UTF-8\"?>")).contains("is none"));
    assert!(wrong(&with(" <?xml version=\"1.0\"?>")).contains("is none"));
    assert!(wrong(&with("<?xml version=\"1.0\"?><?xml version=\"1.0\"?>")).contains("is none"));
    let utf16: Vec<u8> = request(&plain()).encode_utf16().flat_map(u16::to_be_bytes).collect();
    assert!(xml::decode_request(&utf16, Limits::REQUEST).is_err());
}

#[test]
fn what_is_nested_too_deep_or_too_long_is_not_read() {
    let nested = |levels: usize| {
        let levels = levels - 1;
        request(&format!("{}{}", "<a>".repeat(levels), "</a>".repeat(levels)))
    };
    assert!(wrong(&nested(16)).contains("is missing"));
    assert!(wrong(&nested(17)).contains("is more than 16 elements deep"));
    assert!(wrong(&"<a>".repeat(5000)).contains("is more than 16 elements deep"));
    let long = request(&format!("{}<!--{}-->", plain(), "x".repeat(16 * 1024)));
    assert!(wrong(&long).contains("octets; 16384 at most"));
    let attributes = |count: usize| {
        let all: String = (0..count).map(|at| format!(" a{at}='1'")).collect();
        request(&plain()).replace(" xmlns", &format!("{all} xmlns"))
    };
    assert!(reads(&attributes(31)));
    assert!(wrong(&attributes(33)).contains("has more than 32 attributes"));
}

#[test]
fn what_is_not_well_formed_is_refused() {
    let good = request(&plain());
    assert!(reads(&good));
    for text in [
        good.replace("</mac>", "</imsi>"),
        good.replace("</credentialRequest>", ""),
        format!("{good}</credentialRequest>"),
        format!("{good}{good}"),
        format!("{good}x"),
        format!("x{good}"),
        format!("{good}&lt;"),
        format!("<![CDATA[]]>{good}"),
        good.replace("<imsi>", "<imsi a='1' a='2'>"),
        good.replace("<imsi>", "<imsi a>"),
        good.replace("<imsi>", "<p:imsi>").replace("</imsi>", "</p:imsi>"),
        good.replace("<imsi>", "<imsi p:a='1'>"),
        good.replace("<imsi>", "<imsi>\u{1}"),
        good.replace("<imsi>", "<imsi>\u{fffe}"),
        good.replace("<imsi>", "<imsi>&"),
        good.replace("<imsi>", "<imsi><![CDATA["),
        good.replace("<imsi>", "<imsi><!-- "),
        String::new(),
        "<!-- nothing -->".to_owned(),
    ] {
        assert!(!reads(&text), "{text}");
    }
    let cut = good.replace("</credentialRequest>", "");
    assert!(wrong(&cut).ends_with("ends too early: close what is open"), "{}", wrong(&cut));
}

#[test]
fn what_is_wrong_with_a_request_is_named() {
    assert_eq!(wrong(&request("")), "imsi: is missing: give it");
    assert_eq!(
        wrong(&request(&format!("{}x", plain()))),
        "credentialRequest: has text beside its elements: take it out"
    );
    assert_eq!(wrong(&request(&plain().repeat(2))), "imsi: is there twice: give it once");
    assert_eq!(
        wrong(&request(&format!("{}<iemi/>", plain()))),
        "iemi: nobody knows it: give imsi, imei, mac, previous and handoff"
    );
    let foreign = request(&format!("{}<x:imei xmlns:x='urn:x'/>", plain()));
    assert_eq!(
        wrong(&foreign),
        format!("credentialRequest: has an element that is not of {NAMESPACE}")
    );
    assert_eq!(
        wrong(&request(&plain()).replace("offload:1", "offload:2")),
        format!("the root element: give credentialRequest of the namespace {NAMESPACE}")
    );
    assert_eq!(
        wrong(&request(&plain().replace("<imsi>", "<imsi><b/>"))),
        "imsi: has text beside its elements: take it out"
    );
    assert_eq!(wrong(&request(&plain().replace(IMSI, "<b/>"))), "imsi: give text");
}

#[test]
fn a_reply_may_say_more_than_is_known_and_not_less() {
    let octets = xml::encode_answer(&any::plain_answer()).unwrap();
    let text = String::from_utf8(octets.to_vec()).unwrap();
    let read = |text: &str| xml::decode_reply(text.as_bytes(), Limits::REPLY);
    let more = text
        .replace("<eap>", "<later><x/></later><y:z xmlns:y='urn:y'>1</y:z><eap>")
        .replace("<network>", "<other/><network>");
    assert_eq!(read(&more), Ok(Reply::Credentials(Box::new(any::plain_answer()))));
    let wrong = |from: &str, to: &str| {
        assert!(text.contains(from), "{text}");
        read(&text.replace(from, to)).unwrap_err().to_string()
    };
    assert_eq!(wrong("<one_time>false", "<one_time>no"), "one_time: give true or false");
    assert_eq!(wrong("<dwell>3", "<dwell>3.5"), "policy.dwell: give a whole number");
    assert_eq!(
        wrong("<networks>", "<networks>x"),
        "networks: has text beside its elements: take it out"
    );
    assert!(wrong("<leave>-77", "<leave>-66").starts_with("policy.leave"));
    let one = text.replace("<one_time>false", "<one_time>1");
    assert!(matches!(read(&one), Ok(Reply::Credentials(answer)) if answer.one_time));
}

#[test]
fn what_xml_cannot_carry_is_refused_when_it_is_written() {
    let mut answer = any::plain_answer();
    for name in [" a@x", "a@x\u{fffe}"] {
        answer.username = name.parse().unwrap();
        assert_eq!(xml::encode_answer(&answer).unwrap_err().at, "username");
    }
    let mut answer = any::plain_answer();
    answer.password = homeward_model::Secret::new([0xff]);
    assert_eq!(xml::encode_answer(&answer).unwrap_err().at, "password");
}
