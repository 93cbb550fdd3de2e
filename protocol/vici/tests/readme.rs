//! The examples of VICI's own specification, and what charon 5.9.8 was seen to say.
#![cfg(test)]

use homeward_vici::command::{Command, shared_ids};
use homeward_vici::packet::{HEADER, MAX_PACKET, length};
use homeward_vici::section::MAX_DEPTH;
use homeward_vici::{Entry, Failed, Packet, Section, TooLong};

/// "Encoding example" of `src/libcharon/plugins/vici/README.md`.
const EXAMPLE: &[u8] = b"\x03\x04key1\x00\x06value1\x01\x08section1\x01\x0bsub-section\
    \x03\x04key2\x00\x06value2\x02\x04\x05list1\x05\x00\x05item1\x05\x00\x05item2\x06\x02";

fn example() -> Section {
    let inner = Section::default().value("key2", "value2");
    let section =
        Section::default().section("sub-section", inner).list("list1", ["item1", "item2"]);
    Section::default().value("key1", "value1").section("section1", section)
}

fn written(packet: &Packet) -> Vec<u8> {
    packet.encode().unwrap()[HEADER..].to_vec()
}

fn answer(command: &str, octets: &[u8]) -> Option<Result<Section, Failed>> {
    Command::answered(command, Packet::decode(octets).unwrap())
}

#[test]
fn the_example_of_the_specification_is_written_and_read() {
    let response = Packet::Response(example());
    assert_eq!(written(&response), [b"\x01", EXAMPLE].concat());
    assert_eq!(Packet::decode(&[b"\x01", EXAMPLE].concat()), Ok(response));
    let read = example();
    let Some(Entry::Section(section)) = read.get("section1") else { panic!() };
    assert_eq!(section.texts("list1").collect::<Vec<_>>(), ["item1", "item2"]);
    assert_eq!((read.text("key1"), read.text("section1")), (Some("value1"), None));
    let names: Vec<&str> = section.entries().map(|(name, _)| name).collect();
    assert_eq!(names, ["sub-section", "list1"]);
}

#[test]
fn a_ppk_is_loaded_by_the_octets_that_charon_took() {
    let request = Command::load_ppk("hop-2@s", &[0, 255]).request().encode().unwrap();
    let expected = b"\x00\x0bload-shared\x03\x02id\x00\x07hop-2@s\x03\x04type\x00\x03ppk\
        \x03\x04data\x00\x02\x00\xff\x04\x06owners\x05\x00\x07hop-2@s\x06";
    let (header, body) = request.split_first_chunk::<HEADER>().unwrap();
    assert_eq!(body, expected);
    assert_eq!(length(*header), Ok(expected.len()));
}

#[test]
fn what_charon_answered_is_understood() {
    let done = answer("load-shared", b"\x01\x03\x07success\x00\x03yes").unwrap();
    assert_eq!(done.unwrap().text("success"), Some("yes"));
    let keys = answer("get-shared", b"\x01\x04\x04keys\x05\x00\x07hop-2@s\x06").unwrap();
    assert_eq!(shared_ids(&keys.unwrap()), ["hop-2@s"]);
    let none = answer("get-shared", b"\x01\x04\x04keys\x06").unwrap();
    assert!(shared_ids(&none.unwrap()).is_empty());
    let failed =
        b"\x01\x03\x07success\x00\x02no\x03\x06errmsg\x00\x23establishing CHILD_SA 'home' failed";
    let failed = answer("initiate", failed).unwrap().unwrap_err().to_string();
    assert_eq!(failed, "initiate: establishing CHILD_SA 'home' failed");
}

#[test]
fn what_is_no_answer_is_not_taken_for_one() {
    assert_eq!(answer("initiate", b"\x07\x0bcontrol-log"), None, "the answer is still to come");
    let unknown = answer("get-shared", b"\x02").unwrap().unwrap_err();
    assert!(unknown.to_string().contains("does not know the command get-shared"), "{unknown}");
    let astray = answer("version", b"\x05").unwrap().unwrap_err();
    assert_eq!(astray, Failed::Astray { command: "version".to_owned() });
    for neither in [&b"\x01\x03\x07success\x00\x05maybe"[..], b"\x01\x04\x07success\x06"] {
        let refused = answer("load-conn", neither).unwrap().unwrap_err().to_string();
        assert_eq!(refused, "load-conn: it does not say why");
    }
}

#[test]
fn what_is_no_packet_is_refused_and_why() {
    let nested = b"\x01\x01s".repeat(MAX_DEPTH + 1);
    let deep = [b"\x01", nested.as_slice(), &b"\x02".repeat(MAX_DEPTH + 1)].concat();
    for (octets, why) in [
        (&b""[..], "an empty packet"),
        (b"\x09", "the kind of a packet"),
        (b"\x05\x00", "what follows the last field"),
        (b"\x03\x01ab", "what follows the last field"),
        (b"\x00\x05ab", "a name"),
        (b"\x00\x00", "a name"),
        (b"\x00\x01\xff", "a name"),
        (b"\x01\x00", "the kind of an element"),
        (b"\x01\x02", "a section that is not open"),
        (b"\x01\x01\x01s", "a section that does not end"),
        (b"\x01\x03\x01k\x00\x02v", "a value"),
        (b"\x01\x04\x01l\x05\x00\x00", "a list"),
        (b"\x01\x04\x01l\x03\x01k\x00\x00\x06", "a list"),
        (b"\x01\x05\x00\x00", "the kind of an element"),
        (&deep, "nested too deep"),
    ] {
        let error = Packet::decode(octets).unwrap_err().to_string();
        assert!(error.contains(why), "{octets:?}: {error}");
    }
    let most = u32::try_from(MAX_PACKET).unwrap();
    assert_eq!(length(most.to_be_bytes()), Ok(MAX_PACKET));
    for none in [0, most + 1, u32::MAX] {
        assert!(length(none.to_be_bytes()).unwrap_err().to_string().contains("the length"));
    }
}

#[test]
fn what_does_not_fit_is_named() {
    let refused = |section: Section| Packet::Response(section).encode().unwrap_err();
    for name in [String::new(), "n".repeat(256)] {
        assert_eq!(refused(Section::default().value(&name, "")), TooLong::Name { name });
    }
    let long = vec![0; 65_536];
    let expected = TooLong::Value { name: "l".to_owned(), octets: 65_536 };
    assert_eq!(refused(Section::default().list("l", [long])), expected);
    let nested = |depth| {
        (0..depth).fold(Section::default(), |inner, _| Section::default().section("s", inner))
    };
    Packet::Response(nested(MAX_DEPTH)).encode().unwrap();
    assert_eq!(refused(nested(MAX_DEPTH + 1)), TooLong::Depth { most: MAX_DEPTH });
    let much = (0..9).fold(Section::default(), |all, _| all.value("v", vec![0; 65_535]));
    assert!(refused(much).to_string().ends_with(&format!("and {MAX_PACKET} are the most")));
}

#[test]
fn a_log_has_names_and_no_values() {
    let request = Command::load_ppk("hop-2@s", b"the key itself").request();
    let logged = format!("{request:?}");
    assert!(logged.contains("\"data\": [14 octets]") && !logged.contains("itself"), "{logged}");
}
