//! RFC 2865: packets, attributes, User-Password, Response Authenticator.
#![cfg(test)]

use homeward_model::{Secret, address::decode_hex};
use homeward_radius::dictionary::standard;
use homeward_radius::hide::{UnhideError, open_password};
use homeward_radius::packet::{MAX_ATTRIBUTES, VendorAttribute};
use homeward_radius::{AuthError, Builder, Code, DecodeError, EncodeError, Packet, SharedSecret};

fn hex(text: &str) -> Vec<u8> {
    decode_hex(&text.replace(char::is_whitespace, "")).unwrap()
}

fn secret() -> SharedSecret {
    SharedSecret::new(&Secret::new("xyzzy5461")).unwrap()
}

fn request(fill: impl FnOnce(&mut Builder<'_>) -> Result<(), EncodeError>) -> Vec<u8> {
    let (mut out, secret) = (Vec::new(), secret());
    let mut packet = Builder::request(&mut out, &secret, Code::AccessRequest, 1, [7; 16]);
    fill(&mut packet).unwrap();
    packet.finish();
    out
}

/// A packet with these attributes, unsigned.
fn raw(attributes: &[u8]) -> Vec<u8> {
    let length = u16::try_from(20 + attributes.len()).unwrap().to_be_bytes();
    [&[1, 0, length[0], length[1]], &[0; 16][..], attributes].concat()
}

/// RFC 2865 7.1: "User Telnet to Specified Host", secret "xyzzy5461", password "arctangent".
#[test]
fn the_example_of_section_7_1_is_read_opened_and_verified() {
    let request = hex("01 00 00 38 0f 40 3f 94 73 97 80 57 bd 83 d5 cb
         98 f4 22 7a 01 06 6e 65 6d 6f 02 12 0d be 70 8d
         93 d4 13 ce 31 96 e4 3f 78 2a 0a ee 04 06 c0 a8
         01 10 05 06 00 00 00 03");
    let answer = hex("02 00 00 26 86 fe 22 0e 76 24 ba 2a 10 05 f6 bf
         9b 55 e0 b2 06 06 00 00 00 01 0f 06 00 00 00 00
         0e 06 c0 a8 01 03");
    let request = Packet::decode(&request).unwrap();
    assert_eq!((request.code(), request.identifier()), (Code::AccessRequest, 0));
    assert_eq!(request.find(standard::USER_NAME), Some(b"nemo".as_slice()));
    let port = request.attributes().find(|a| a.kind == standard::NAS_PORT).unwrap();
    assert_eq!(port.integer(), Some(3));
    let nas = request.attributes().find(|a| a.kind == standard::NAS_IP_ADDRESS).unwrap();
    assert_eq!(nas.ipv4(), Some([192, 168, 1, 16].into()));
    let hidden = request.find(standard::USER_PASSWORD).unwrap();
    let password = open_password(&secret(), request.authenticator(), hidden).unwrap();
    assert_eq!(&*password, b"arctangent");

    let answer = Packet::decode(&answer).unwrap();
    assert_eq!(answer.code(), Code::AccessAccept);
    assert!(secret().verify_answer(&answer, request.authenticator()).is_ok());
}

/// RFC 2865 7.2: "Framed User Authenticating with CHAP", secret "xyzzy5461".
#[test]
fn the_example_of_section_7_2_is_read_and_verified() {
    let request = hex("01 01 00 47 2a ee 86 f0 8d 0d 55 96 9c a5 97 8e
         0d 33 67 a2 01 08 66 6c 6f 70 73 79 03 13 16 e9
         75 57 c3 16 18 58 95 f2 93 ff 63 44 07 72 75 04
         06 c0 a8 01 10 05 06 00 00 00 14 06 06 00 00 00
         02 07 06 00 00 00 01");
    let answer = hex("02 01 00 38 15 ef bc 7d ab 26 cf a3 dc 34 d9 c0
         3c 86 01 a4 06 06 00 00 00 02 07 06 00 00 00 01
         08 06 ff ff ff fe 0a 06 00 00 00 02 0d 06 00 00
         00 01 0c 06 00 00 05 dc");
    let request = Packet::decode(&request).unwrap();
    assert_eq!(request.find(standard::USER_NAME), Some(b"flopsy".as_slice()));
    assert_eq!(request.find(standard::CHAP_PASSWORD).map(<[u8]>::len), Some(17));
    let answer = Packet::decode(&answer).unwrap();
    assert!(secret().verify_answer(&answer, request.authenticator()).is_ok());
}

#[test]
fn an_answer_with_any_octet_changed_is_not_authentic() {
    let answer = hex("02 00 00 26 86 fe 22 0e 76 24 ba 2a 10 05 f6 bf
         9b 55 e0 b2 06 06 00 00 00 01 0f 06 00 00 00 00
         0e 06 c0 a8 01 03");
    let request = hex("0f 40 3f 94 73 97 80 57 bd 83 d5 cb 98 f4 22 7a").try_into().unwrap();
    for at in 0..answer.len() {
        let mut forged = answer.clone();
        forged[at] ^= 1;
        // Where the change breaks the form, that is found first.
        if let Ok(forged) = Packet::decode(&forged) {
            assert_eq!(
                secret().verify_answer(&forged, &request),
                Err(AuthError::ResponseAuthenticator),
                "octet {at}"
            );
        }
    }
}

#[test]
fn octets_beyond_the_length_field_are_padding() {
    let mut padded = raw(&[1, 3, b'x']);
    padded.extend([0xff; 9]);
    let packet = Packet::decode(&padded).unwrap();
    assert_eq!(packet.as_bytes().len(), 23);
    assert_eq!(packet.attributes().count(), 1);
}

#[test]
fn packets_of_an_impossible_length_are_dropped() {
    let with_length = |length: u16, octets: usize| {
        let mut packet = vec![0; octets];
        packet[0] = 1;
        packet[2..4].copy_from_slice(&length.to_be_bytes());
        Packet::decode(&packet).map(|_| ()).unwrap_err()
    };
    assert_eq!(Packet::decode(&[1; 19]).unwrap_err(), DecodeError::Short(19));
    assert_eq!(with_length(19, 30), DecodeError::Length(19));
    assert_eq!(with_length(4097, 5000), DecodeError::Length(4097));
    assert_eq!(with_length(40, 39), DecodeError::Truncated { length: 40, octets: 39 });
}

#[test]
fn an_unknown_code_is_dropped() {
    let mut packet = raw(&[]);
    packet[0] = 99;
    assert_eq!(Packet::decode(&packet).unwrap_err(), DecodeError::Code(99));
}

#[test]
fn attributes_that_do_not_fit_the_packet_are_refused() {
    for (attributes, kind, length, room) in [
        (&[1, 3, b'x', 2, 0][..], 2, 0, 2),
        (&[1, 3, b'x', 2, 1], 2, 1, 2),
        (&[1, 3, b'x', 2, 4, b'y'], 2, 4, 3),
        (&[1, 3, b'x', 2], 2, 0, 1),
    ] {
        assert_eq!(
            Packet::decode(&raw(attributes)).unwrap_err(),
            DecodeError::AttributeLength { kind, length, room },
            "{attributes:?}"
        );
    }
}

#[test]
fn the_number_of_attributes_is_bounded() {
    assert!(Packet::decode(&raw(&[1, 2].repeat(MAX_ATTRIBUTES))).is_ok());
    let more = raw(&[1, 2].repeat(MAX_ATTRIBUTES + 1));
    assert_eq!(Packet::decode(&more).unwrap_err(), DecodeError::TooManyAttributes);
}

#[test]
fn an_attribute_asked_for_once_must_not_occur_twice() {
    let twice = raw(&[1, 3, b'x', 1, 3, b'y']);
    let packet = Packet::decode(&twice).unwrap();
    assert_eq!(packet.only(1), Err(DecodeError::Repeated(1)));
    assert_eq!(packet.only(2), Ok(None));
}

#[test]
fn one_vendor_specific_may_hold_several_attributes() {
    let vsa = raw(&[26, 14, 0, 0, 0, 9, 1, 3, b'x', 2, 5, b'a', b'b', b'c']);
    let packet = Packet::decode(&vsa).unwrap();
    let found: Vec<_> = packet.vendor_attributes().collect();
    let of = |kind, value| VendorAttribute { vendor: 9, kind, value };
    assert_eq!(found, [of(1, b"x".as_slice()), of(2, b"abc")]);
    assert_eq!(packet.find_vendor(9, 2), Some(b"abc".as_slice()));
}

#[test]
fn a_vendor_specific_of_unusual_form_is_kept_whole() {
    // Vendor length 9 with 3 octets there; nothing behind the vendor; under 4 octets.
    for vsa in [
        &[26, 9, 0, 0, 0, 9, 1, 9, b'x'][..],
        &[26, 6, 0, 0, 0, 9],
        &[26, 4, 0, 9],
        &[26, 9, 0, 0, 0, 9, 1, 0, 0],
    ] {
        let octets = raw(vsa);
        let packet = Packet::decode(&octets).unwrap();
        assert_eq!(packet.vendor_attributes().count(), 0, "{vsa:?}");
        assert_eq!(packet.attributes().count(), 1);
    }
}

#[test]
fn attributes_of_one_vendor_are_written_into_one_vendor_specific_while_they_fit() {
    let octets = request(|packet| {
        packet.vendor(9, 1, &[b'a'; 100])?;
        packet.vendor(9, 2, &[b'b'; 100])?;
        packet.vendor(9, 3, &[b'c'; 100])?;
        packet.vendor(10, 1, b"d")?;
        packet.octets(standard::CLASS, b"e")?;
        packet.vendor(10, 2, b"f")
    });
    let packet = Packet::decode(&octets).unwrap();
    let lengths: Vec<_> = packet.find_all(standard::VENDOR_SPECIFIC).map(<[u8]>::len).collect();
    assert_eq!(lengths, [208, 106, 7, 7]);
    let found: Vec<_> = packet.vendor_attributes().map(|a| (a.vendor, a.kind)).collect();
    assert_eq!(found, [(9, 1), (9, 2), (9, 3), (10, 1), (10, 2)]);
}

#[test]
fn a_user_password_of_any_length_up_to_128_opens_again() {
    for octets in [1, 15, 16, 17, 32, 127, 128] {
        let packet = request(|packet| packet.user_password(&vec![b'p'; octets]));
        let packet = Packet::decode(&packet).unwrap();
        let hidden = packet.find(standard::USER_PASSWORD).unwrap();
        assert_eq!(hidden.len(), octets.next_multiple_of(16));
        let open = open_password(&secret(), packet.authenticator(), hidden).unwrap();
        assert_eq!(&*open, vec![b'p'; octets]);
    }
}

#[test]
fn a_user_password_that_would_not_survive_is_refused() {
    let (mut out, secret) = (Vec::new(), secret());
    let mut packet = Builder::request(&mut out, &secret, Code::AccessRequest, 1, [7; 16]);
    let kind = standard::USER_PASSWORD;
    assert_eq!(packet.user_password(b""), Err(EncodeError::Empty { kind }));
    assert_eq!(packet.user_password(b"x\0"), Err(EncodeError::TrailingNul));
    assert_eq!(
        packet.user_password(&[b'x'; 129]),
        Err(EncodeError::ValueTooLong { kind, octets: 129, limit: 128 })
    );
}

#[test]
fn a_hidden_password_of_an_impossible_length_is_refused() {
    for octets in [0, 1, 15, 17, 144] {
        assert_eq!(
            open_password(&secret(), &[0; 16], &vec![0; octets]).unwrap_err(),
            UnhideError::PasswordLength(octets)
        );
    }
}

#[test]
fn what_does_not_fit_is_an_error_and_leaves_the_packet_as_it_was() {
    let (mut out, secret) = (Vec::new(), secret());
    let mut packet = Builder::request(&mut out, &secret, Code::AccessRequest, 1, [7; 16]);
    let kind = standard::CLASS;
    assert_eq!(packet.octets(kind, b""), Err(EncodeError::Empty { kind }));
    assert_eq!(
        packet.octets(kind, &[0; 254]),
        Err(EncodeError::ValueTooLong { kind, octets: 254, limit: 253 })
    );
    // 4,096 less header, Message-Authenticator and 15 attributes of 255 leave 233.
    for _ in 0..15 {
        packet.octets(kind, &[0; 253]).unwrap();
    }
    assert_eq!(packet.octets(kind, &[0; 232]), Err(EncodeError::PacketTooLong { kind }));
    packet.octets(kind, &[0; 231]).unwrap();
    let vendor = standard::VENDOR_SPECIFIC;
    assert_eq!(packet.vendor(9, 1, b"x"), Err(EncodeError::PacketTooLong { kind: vendor }));
    packet.finish();
    assert_eq!(out.len(), 4096);
    assert_eq!(Packet::decode(&out).unwrap().find_all(kind).count(), 16);
}

#[test]
fn an_empty_shared_secret_is_refused() {
    assert!(SharedSecret::new(&Secret::new("")).is_err());
    assert!(secret().is_short());
    assert!(!SharedSecret::new(&Secret::new("0123456789abcdef")).unwrap().is_short());
}
