//! RFC 2868 3.5: Tunnel-Password; and MS-MPPE keys, hidden alike (RFC 2548 2.4.2).
//!
//! The vectors were computed apart from this crate, with Python's hashlib and hmac: secret
//! "xyzzy5461", Request Authenticator 00 01 … 0f.
#![cfg(test)]

use homeward_model::{Secret, address::decode_hex};
use homeward_radius::dictionary::{microsoft, standard};
use homeward_radius::hide::{UnhideError, open_salted, open_tunnel_password};
use homeward_radius::packet::Authenticator;
use homeward_radius::{Builder, Code, EncodeError, Packet, SharedSecret};
use proptest::prelude::*;

const ACCEPT: &str = "020700908860f08355cdf90d135907286febed265012e1f85652cd0a9eb42196d45e1030\
     c0504515018001fc8579dc1d94d1aa650c4af776bf0f9a4555028002d15eeb8d82f0145f076713edb7a526edbb39\
     abc2659ac6bac9af68f27b29e98e85e6b65d2ca1ef3cdba420db7c5caba3ffc295193eabcb82b3933470a8df0dd0\
     8ac40757d960c1a89cd938919ea62db4";

const MPPE: &str = "02070060b9d71d095db9bdc281a1612e0bb4185c5012c01f40270afbb68b0abdbfd98fdd6a71\
     1a3a0000013711348001d1e617ac6cf5b7d8426c2c8f0ed60294dbccd30670184ac8c9a235e549d45bf18b203073\
     eeba4f3424080792952bb38e";

fn secret() -> SharedSecret {
    SharedSecret::new(&Secret::new("xyzzy5461")).unwrap()
}

fn request() -> Authenticator {
    std::array::from_fn(|i| u8::try_from(i).unwrap())
}

fn accept(salt: u16, fill: impl FnOnce(&mut Builder<'_>)) -> Vec<u8> {
    let (mut out, secret) = (Vec::new(), secret());
    let mut packet = Builder::answer(&mut out, &secret, Code::AccessAccept, 7, &request(), salt);
    fill(&mut packet);
    packet.finish();
    out
}

#[test]
fn tunnel_passwords_are_written_as_computed_elsewhere() {
    let octets = accept(1, |packet| {
        packet.tunnel_password(1, b"correct horse").unwrap();
        packet.tunnel_password(2, "5c".repeat(32).as_bytes()).unwrap();
    });
    assert_eq!(octets, decode_hex(ACCEPT).unwrap());
}

#[test]
fn mppe_keys_are_written_as_computed_elsewhere() {
    let key: [u8; 32] = std::array::from_fn(|i| u8::try_from(i).unwrap());
    let octets = accept(1, |packet| {
        packet.vendor_salted(microsoft::VENDOR, microsoft::MPPE_RECV_KEY, &key).unwrap();
    });
    assert_eq!(octets, decode_hex(MPPE).unwrap());
    let packet = Packet::decode(&octets).unwrap();
    let salted = packet.find_vendor(microsoft::VENDOR, microsoft::MPPE_RECV_KEY).unwrap();
    assert_eq!(open_salted(&secret(), &request(), salted).unwrap().expose(), key);
}

#[test]
fn salts_have_their_high_bit_set_and_differ_within_a_packet() {
    for first in [0, 0x7fff, 0xffff] {
        let octets = accept(first, |packet| {
            for _ in 0..50 {
                packet.tunnel_password(0, b"same").unwrap();
            }
        });
        let packet = Packet::decode(&octets).unwrap();
        let salts: std::collections::BTreeSet<_> =
            packet.find_all(standard::TUNNEL_PASSWORD).map(|value| [value[1], value[2]]).collect();
        assert_eq!(salts.len(), 50);
        assert!(salts.iter().all(|salt| salt[0] & 0x80 != 0));
    }
}

#[test]
fn a_tag_above_31_is_no_tag() {
    let octets = decode_hex(ACCEPT).unwrap();
    let packet = Packet::decode(&octets).unwrap();
    let mut value = packet.find(standard::TUNNEL_PASSWORD).unwrap().to_vec();
    let open = |value: &[u8]| open_tunnel_password(&secret(), &request(), value).unwrap().tag;
    assert_eq!(open(&value), 1);
    value[0] = 0x20;
    assert_eq!(open(&value), 0);
}

#[test]
fn a_salted_value_of_wrong_form_does_not_open() {
    let open = |value: &[u8]| open_tunnel_password(&secret(), &request(), value).unwrap_err();
    assert_eq!(open(&[]), UnhideError::SaltedLength(0));
    assert_eq!(open(&[1, 0x80]), UnhideError::SaltedLength(1));
    assert_eq!(open(&[1, 0x80, 1]), UnhideError::SaltedLength(2));
    assert_eq!(open(&[&[1, 0x80, 1][..], &[0; 15]].concat()), UnhideError::SaltedLength(17));
    assert_eq!(open(&[&[1, 0x7f, 1][..], &[0; 16]].concat()), UnhideError::Salt);
}

#[test]
fn with_another_secret_a_short_password_does_not_open_as_itself() {
    let octets = decode_hex(ACCEPT).unwrap();
    let packet = Packet::decode(&octets).unwrap();
    let value = packet.find(standard::TUNNEL_PASSWORD).unwrap();
    let other = SharedSecret::new(&Secret::new("other")).unwrap();
    let opened = open_tunnel_password(&other, &request(), value);
    assert!(opened.is_err() || opened.unwrap().password != Secret::new("correct horse"));
}

#[test]
fn a_tunnel_password_goes_into_answers_only_and_has_239_octets_at_most() {
    let (mut out, secret) = (Vec::new(), secret());
    let mut packet = Builder::request(&mut out, &secret, Code::AccessRequest, 7, request());
    let kind = standard::TUNNEL_PASSWORD;
    assert_eq!(packet.tunnel_password(0, b"x"), Err(EncodeError::NotInRequests { kind }));
    let mut packet = Builder::answer(&mut out, &secret, Code::AccessAccept, 7, &request(), 0);
    assert_eq!(
        packet.tunnel_password(0, &[1; 240]),
        Err(EncodeError::ValueTooLong { kind, octets: 240, limit: 239 })
    );
}

proptest! {
    #[test]
    fn a_tunnel_password_opens_again(
        password in proptest::collection::vec(any::<u8>(), 0..=239),
        tag in 0u8..=31,
        salt: u16,
    ) {
        let octets = accept(salt, |packet| packet.tunnel_password(tag, &password).unwrap());
        let packet = Packet::decode(&octets).unwrap();
        let value = packet.find(standard::TUNNEL_PASSWORD).unwrap();
        let opened = open_tunnel_password(&secret(), &request(), value).unwrap();
        prop_assert_eq!(opened.tag, tag);
        prop_assert_eq!(opened.password.expose(), password);
    }
}
