//! RADIUS/1.1 (RFC 9765): the same attributes under another header, nothing hidden, nothing signed.
#![cfg(test)]

use homeward_model::{Instant, Secret};
use homeward_radius::auth::Signature;
use homeward_radius::dictionary::{microsoft, standard};
use homeward_radius::hide::{open_salted, open_tunnel_password};
use homeward_radius::login::Proof;
use homeward_radius::testing::Counted;
use homeward_radius::{
    AuthError, Builder, Code, EncodeError, LoginError, LoginRequest, Packet, Policy, Port,
    Received, Server, ServerSettings, SharedSecret,
};

const TOKEN: [u8; 16] = [0xca, 0xfe, 0, 7, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9];

fn request(fill: impl FnOnce(&mut Builder<'_>) -> Result<(), EncodeError>) -> Vec<u8> {
    let mut out = Vec::new();
    let transport = SharedSecret::transport();
    let mut packet = Builder::request(&mut out, &transport, Code::AccessRequest, 77, TOKEN);
    fill(&mut packet).unwrap();
    packet.finish();
    out
}

#[test]
fn a_request_is_code_length_token_and_attributes_in_the_clear() {
    let octets = request(|b| {
        b.text(standard::USER_NAME, "a@b")?;
        b.user_password(b"hello")
    });
    // RFC 9765 4.1: Code, Reserved-1, Length, Token, Reserved-2.
    let header = [1, 0, 0, 32, 0xca, 0xfe, 0, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    assert_eq!(octets, [&header[..], b"\x01\x05a@b", b"\x02\x07hello"].concat());
    let packet = Packet::decode(&octets).unwrap();
    assert_eq!(packet.token(), 0xcafe_0007);
    let login = LoginRequest::decode(&packet, &SharedSecret::transport()).unwrap();
    let Proof::Password(password) = login.proof else { panic!("a password") };
    assert_eq!(&*password, b"hello");
}

#[test]
fn a_request_with_a_digest_for_an_authenticator_has_a_token_too() {
    let mut out = Vec::new();
    let transport = SharedSecret::transport();
    Builder::request(&mut out, &transport, Code::AccountingRequest, 0, TOKEN).finish();
    assert_eq!(Packet::decode(&out).unwrap().token(), 0xcafe_0007);
}

#[test]
fn a_password_of_sixteen_octets_is_not_opened_and_keeps_its_nuls() {
    let octets = request(|b| b.octets(standard::USER_PASSWORD, b"fifteen octets.\0"));
    let octets = [&octets[..], b"\x01\x05a@b"].concat();
    let octets = [&octets[..2], &[0, 43], &octets[4..]].concat();
    let packet = Packet::decode(&octets).unwrap();
    let login = LoginRequest::decode(&packet, &SharedSecret::transport()).unwrap();
    let Proof::Password(password) = login.proof else { panic!("a password") };
    assert_eq!(&*password, b"fifteen octets.\0");
}

#[test]
fn chap_needs_its_challenge() {
    let transport = SharedSecret::transport();
    let chap = |with: bool| {
        request(|b| {
            b.text(standard::USER_NAME, "a@b")?;
            b.octets(standard::CHAP_PASSWORD, &[5; 17])?;
            if with { b.octets(standard::CHAP_CHALLENGE, &[6; 16]) } else { Ok(()) }
        })
    };
    let octets = chap(false);
    let refused = LoginRequest::decode(&Packet::decode(&octets).unwrap(), &transport);
    assert_eq!(refused.err(), Some(LoginError::NoChapChallenge));
    let octets = chap(true);
    assert!(LoginRequest::decode(&Packet::decode(&octets).unwrap(), &transport).is_ok());
}

#[test]
fn a_server_answers_under_the_token_and_hides_nothing() {
    let transport = SharedSecret::transport();
    let mut server = Server::new(Port::Authentication, ServerSettings::default());
    let source = "192.0.2.1:2083".parse().unwrap();
    let octets = request(|b| b.octets(standard::PROXY_STATE, b"hop"));
    // As often as it comes: whoever asks by a stream asks once, and a token may come again.
    for _ in 0..2 {
        let received = server.handle(source, &transport, Policy::Secured, &octets, Instant::ORIGIN);
        let Received::Request { ticket, signature, .. } = received else {
            panic!("{received:?} is no request")
        };
        assert_eq!(signature, Signature::Present);
        let mut entropy = Counted(1);
        let answer = server.respond(&ticket, &transport, Code::AccessAccept, &mut entropy, |b| {
            b.tunnel_password(3, b"the key")?;
            b.tunnel_password(0, b"no tag")?;
            b.vendor_salted(microsoft::VENDOR, microsoft::MPPE_RECV_KEY, &[8; 32])
        });
        let answer = answer.map_err(|e: EncodeError| e).unwrap();
        assert_eq!(answer[..2], [2, 0]);
        assert_eq!(answer[4..20], [0xca, 0xfe, 0, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        let answer = Packet::decode(answer).unwrap();
        assert_eq!(transport.verify_answer(&answer, &TOKEN), Ok(Signature::Present));
        assert_eq!(
            transport.verify_answer(&answer, &[1; 16]),
            Err(AuthError::ResponseAuthenticator)
        );
        assert_eq!(answer.find(standard::MESSAGE_AUTHENTICATOR), None);
        assert_eq!(answer.find(standard::PROXY_STATE), Some(&b"hop"[..]));
        let keys: Vec<_> = answer
            .find_all(standard::TUNNEL_PASSWORD)
            .map(|value| open_tunnel_password(&transport, &TOKEN, value).unwrap())
            .map(|key| (key.tag, key.password.expose().to_vec()))
            .collect();
        assert_eq!(keys, [(3, b"the key".to_vec()), (0, b"no tag".to_vec())]);
        let key = answer.find_vendor(microsoft::VENDOR, microsoft::MPPE_RECV_KEY).unwrap();
        assert_eq!(key, [8; 32]);
        assert_eq!(open_salted(&transport, &TOKEN, key).unwrap().expose(), [8; 32]);
    }
}

#[test]
fn keys_are_no_part_of_requests_here_either() {
    let octets = &mut Vec::new();
    let transport = SharedSecret::transport();
    let mut packet = Builder::request(octets, &transport, Code::AccessRequest, 0, TOKEN);
    assert!(packet.tunnel_password(0, b"key").is_err());
    assert!(packet.vendor_salted(311, 17, b"key").is_err());
}

#[test]
fn over_tls_a_request_without_message_authenticator_is_believed_but_for_eap() {
    let radsec = SharedSecret::new(&Secret::new(homeward_radius::auth::RADSEC_SECRET)).unwrap();
    let mut server = Server::new(Port::Authentication, ServerSettings::default());
    let source = "192.0.2.1:2083".parse().unwrap();
    // RFC 6614 and Proxy-State: forging an answer would take breaking into TLS.
    let plain = b"\x01\x05a@b\x21\x05hop".as_slice();
    let header = |code: u8, id: u8, attributes: &[u8]| {
        let length = u8::try_from(20 + attributes.len()).unwrap();
        [&[code, id, 0, length][..], &[7; 16], attributes].concat()
    };
    let mut label = |octets: &[u8], policy| match server.handle(
        source,
        &radsec,
        policy,
        octets,
        Instant::ORIGIN,
    ) {
        Received::Dropped(reason) => reason.label(),
        _ => "",
    };
    assert_eq!(label(&header(1, 1, plain), Policy::Auto), "unsigned-proxy-state");
    assert_eq!(label(&header(1, 2, plain), Policy::Secured), "");
    assert_eq!(label(&header(12, 3, &[]), Policy::Secured), "");
    assert_eq!(label(&header(1, 4, &[79, 3, 1]), Policy::Secured), "unsigned-eap");
    let wrong = [&[80, 18][..], &[1; 16]].concat();
    assert_eq!(label(&header(1, 5, &wrong), Policy::Secured), "bad-message-authenticator");
}
