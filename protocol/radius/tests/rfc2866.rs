//! RFC 2866: Accounting-Request and -Response.
//!
//! The vectors were computed apart from this crate, with Python's hashlib, secret "xyzzy5461".
#![cfg(test)]

use homeward_model::{Instant, Secret, address::decode_hex};
use homeward_radius::dictionary::standard;
use homeward_radius::testing::Counted;
use homeward_radius::{
    Builder, Code, DropReason, EncodeError, Packet, Policy, Port, Received, Server, ServerSettings,
    SharedSecret,
};

const REQUEST: &str = "040900259bd6776358d6e991aa10f9434d3344582806000000012c0b73657373696f6e2d31";
const RESPONSE: &str = "05090014a0dd2577144d3407f973b558be28ea4a";

fn secret() -> SharedSecret {
    SharedSecret::new(&Secret::new("xyzzy5461")).unwrap()
}

#[test]
fn an_accounting_request_carries_a_digest_and_no_message_authenticator() {
    let (mut out, secret) = (Vec::new(), secret());
    let mut packet = Builder::request(&mut out, &secret, Code::AccountingRequest, 9, [0xff; 16]);
    packet.integer(standard::ACCT_STATUS_TYPE, 1).unwrap();
    packet.text(standard::ACCT_SESSION_ID, "session-1").unwrap();
    packet.finish();
    assert_eq!(out, decode_hex(REQUEST).unwrap());
}

#[test]
fn an_authentic_accounting_request_is_answered() {
    let mut server = Server::new(Port::Accounting, ServerSettings::default());
    let source = "192.0.2.1:4711".parse().unwrap();
    let octets = decode_hex(REQUEST).unwrap();
    let received = server.handle(source, &secret(), Policy::Required, &octets, Instant::ORIGIN);
    let Received::Request { packet, ticket, .. } = received else { panic!("{received:?}") };
    assert_eq!(packet.find(standard::ACCT_SESSION_ID), Some(b"session-1".as_slice()));
    let answer =
        server.respond(&ticket, &secret(), Code::AccountingResponse, &mut Counted(1), |_| {
            Ok::<_, EncodeError>(())
        });
    assert_eq!(answer.unwrap(), decode_hex(RESPONSE).unwrap());
}

#[test]
fn an_accounting_request_with_a_wrong_authenticator_is_dropped() {
    let mut server = Server::new(Port::Accounting, ServerSettings::default());
    let mut octets = decode_hex(REQUEST).unwrap();
    *octets.last_mut().unwrap() ^= 1;
    let source = "192.0.2.1:4711".parse().unwrap();
    let received = server.handle(source, &secret(), Policy::Required, &octets, Instant::ORIGIN);
    let Received::Dropped(reason) = received else { panic!("{received:?}") };
    assert_eq!(reason.label(), "bad-request-authenticator");
}

#[test]
fn accounting_is_not_served_on_the_authentication_port() {
    let mut server = Server::new(Port::Authentication, ServerSettings::default());
    let octets = decode_hex(REQUEST).unwrap();
    let source = "192.0.2.1:4711".parse().unwrap();
    let received = server.handle(source, &secret(), Policy::Required, &octets, Instant::ORIGIN);
    let Received::Dropped(reason) = received else { panic!("{received:?}") };
    let (code, port) = (Code::AccountingRequest, Port::Authentication);
    assert_eq!(reason, DropReason::WrongCode { code, port });
}

#[test]
fn the_response_of_the_vector_verifies() {
    let (request, response) = (decode_hex(REQUEST).unwrap(), decode_hex(RESPONSE).unwrap());
    let request = Packet::decode(&request).unwrap();
    let response = Packet::decode(&response).unwrap();
    assert!(secret().verify_answer(&response, request.authenticator()).is_ok());
}
