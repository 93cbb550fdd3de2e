//! RFC 3579 3.2: Message-Authenticator, and what CVE-2024-3596 ("BlastRADIUS") makes of it.
//!
//! The vector was computed apart from this crate, with Python's hashlib and hmac: secret
//! "xyzzy5461", Request Authenticator 00 01 … 0f.
#![cfg(test)]

use homeward_model::{Instant, Secret, address::decode_hex};
use homeward_radius::auth::Signature;
use homeward_radius::dictionary::standard;
use homeward_radius::packet::Authenticator;
use homeward_radius::testing::Counted;
use homeward_radius::{
    AuthError, Builder, Code, DropReason, EncodeError, Packet, Policy, Port, Received, Server,
    ServerSettings, SharedSecret,
};

const REQUEST: &str = "0107004d000102030405060708090a0b0c0d0e0f5012a530185dfce349d8faff703db123\
     036d010e3032303035653130303030310212086e878dee4519b517c96a316a88996b200767772d3137";

fn secret() -> SharedSecret {
    SharedSecret::new(&Secret::new("xyzzy5461")).unwrap()
}

fn authenticator() -> Authenticator {
    std::array::from_fn(|i| u8::try_from(i).unwrap())
}

fn unsigned(attributes: &[u8]) -> Vec<u8> {
    let length = u16::try_from(20 + attributes.len()).unwrap().to_be_bytes();
    [&[1, 7, length[0], length[1]], &authenticator()[..], attributes].concat()
}

/// The reason for which a server drops it; `None` if it takes it.
fn dropped(policy: Policy, datagram: &[u8]) -> Option<DropReason> {
    let mut server = Server::new(Port::Authentication, ServerSettings::default());
    let source = "192.0.2.1:4711".parse().unwrap();
    match server.handle(source, &secret(), policy, datagram, Instant::ORIGIN) {
        Received::Request { .. } => None,
        Received::Dropped(reason) => Some(reason),
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_access_request_is_signed_as_computed_elsewhere() {
    let (mut out, secret) = (Vec::new(), secret());
    let mut packet = Builder::request(&mut out, &secret, Code::AccessRequest, 7, authenticator());
    packet.text(standard::USER_NAME, "02005e100001").unwrap();
    packet.user_password(b"Home SSID").unwrap();
    packet.text(standard::NAS_IDENTIFIER, "gw-17").unwrap();
    packet.finish();
    assert_eq!(out, decode_hex(REQUEST).unwrap());
    assert_eq!(secret.verify_request(&Packet::decode(&out).unwrap()), Ok(Signature::Present));
}

#[test]
fn message_authenticator_comes_first_in_requests_and_answers() {
    for (code, _) in Code::ALL {
        let (mut out, secret) = (Vec::new(), secret());
        let mut packet = if code.is_request() {
            Builder::request(&mut out, &secret, code, 7, authenticator())
        } else {
            Builder::answer(&mut out, &secret, code, 7, &authenticator(), 0)
        };
        packet.octets(standard::PROXY_STATE, b"attacker's").unwrap();
        packet.finish();
        let first = Packet::decode(&out).unwrap().attributes().next().unwrap().kind;
        let accounting = matches!(code, Code::AccountingRequest | Code::AccountingResponse);
        assert_eq!(first == standard::MESSAGE_AUTHENTICATOR, !accounting, "{code}");
    }
}

#[test]
fn an_answer_is_signed_over_the_requests_authenticator() {
    let (mut out, secret) = (Vec::new(), secret());
    Builder::answer(&mut out, &secret, Code::AccessReject, 7, &authenticator(), 0).finish();
    let answer = Packet::decode(&out).unwrap();
    assert_eq!(secret.verify_answer(&answer, &authenticator()), Ok(Signature::Present));
    assert_eq!(secret.verify_answer(&answer, &[0; 16]), Err(AuthError::ResponseAuthenticator));
}

#[test]
fn a_forged_response_authenticator_does_not_save_a_wrong_message_authenticator() {
    // What a BlastRADIUS attacker ends up with: the MD5 is right, the HMAC cannot be.
    let (mut out, secret) = (Vec::new(), secret());
    let forged = [&[80, 18][..], &[0xaa; 16]].concat();
    let length = u16::try_from(20 + forged.len()).unwrap().to_be_bytes();
    out.extend([2, 7, length[0], length[1]]);
    out.extend(authenticator());
    out.extend(&forged);
    let digest = <md5::Md5 as md5::Digest>::new_with_prefix(&out);
    let digest = md5::Digest::chain_update(digest, b"xyzzy5461");
    out[4..20].copy_from_slice(&md5::Digest::finalize(digest));
    let answer = Packet::decode(&out).unwrap();
    assert_eq!(
        secret.verify_answer(&answer, &authenticator()),
        Err(AuthError::MessageAuthenticator)
    );
}

#[test]
fn a_request_with_any_octet_changed_is_dropped() {
    let octets = decode_hex(REQUEST).unwrap();
    assert_eq!(dropped(Policy::Required, &octets), None);
    for at in 0..octets.len() {
        for policy in [Policy::Required, Policy::Auto] {
            let mut forged = octets.clone();
            forged[at] ^= 0x40;
            // Without the Type of Message-Authenticator it is an unsigned request, which Auto
            // takes; nothing in it is trusted then but that the password opens.
            let unsigned = at == 20 && policy == Policy::Auto;
            assert_eq!(dropped(policy, &forged).is_none(), unsigned, "octet {at}, {policy:?}");
        }
    }
}

#[test]
fn an_unsigned_request_is_dropped_unless_the_policy_is_auto() {
    let octets = unsigned(&[1, 3, b'x']);
    assert_eq!(dropped(Policy::Required, &octets), Some(DropReason::NoMessageAuthenticator));
    assert_eq!(dropped(Policy::Auto, &octets), None);
}

#[test]
fn an_unsigned_request_with_proxy_state_is_dropped_even_under_auto() {
    let octets = unsigned(&[1, 3, b'x', 33, 3, b'p']);
    assert_eq!(dropped(Policy::Auto, &octets), Some(DropReason::UnsignedProxyState));
}

#[test]
fn an_unsigned_request_with_eap_is_dropped_even_under_auto() {
    let octets = unsigned(&[1, 3, b'x', 79, 3, b'e']);
    assert_eq!(dropped(Policy::Auto, &octets), Some(DropReason::UnsignedEap));
}

#[test]
fn two_message_authenticators_are_one_too_many() {
    let mut octets = decode_hex(REQUEST).unwrap();
    let again = octets[20..38].to_vec();
    octets.extend(again);
    let length = u16::try_from(octets.len()).unwrap();
    octets[2..4].copy_from_slice(&length.to_be_bytes());
    assert_eq!(
        dropped(Policy::Auto, &octets),
        Some(DropReason::NotAuthentic(AuthError::RepeatedMessageAuthenticator))
    );
}

#[test]
fn a_message_authenticator_of_another_length_is_wrong() {
    let octets = unsigned(&[80, 4, 0, 0]);
    assert_eq!(
        dropped(Policy::Auto, &octets),
        Some(DropReason::NotAuthentic(AuthError::MessageAuthenticator))
    );
}

#[test]
fn an_answer_that_answers_something_else_is_an_error() {
    let mut server = Server::new(Port::Authentication, ServerSettings::default());
    let octets = decode_hex(REQUEST).unwrap();
    let source = "192.0.2.1:4711".parse().unwrap();
    let received = server.handle(source, &secret(), Policy::Required, &octets, Instant::ORIGIN);
    let Received::Request { ticket, .. } = received else { panic!("{received:?}") };
    let code = Code::AccountingResponse;
    let answer =
        server.respond(&ticket, &secret(), code, &mut Counted(1), |_| Ok::<_, EncodeError>(()));
    assert_eq!(
        answer.unwrap_err(),
        EncodeError::WrongAnswer { answer: code, request: Code::AccessRequest }
    );
}
