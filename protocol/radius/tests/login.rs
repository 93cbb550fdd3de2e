//! Log-ins as requests and answers.
#![expect(clippy::unwrap_used, reason = "helpers of a test may fail it")]

use homeward_model::service::Seconds;
use homeward_model::{Bandwidth, Mac, Secret, ServiceTerms, Vlan};
use homeward_radius::dictionary::{chillispot, microsoft, mikrotik, standard};
use homeward_radius::hide::open_salted;
use homeward_radius::login::{
    Admitted, Proof, is_login, write_accept, write_challenge, write_reject,
};
use homeward_radius::packet::Authenticator;
use homeward_radius::{
    Allowed, Builder, Code, EncodeError, LoginError, LoginRequest, Packet, SharedSecret,
};

const AUTHENTICATOR: Authenticator = [7; 16];
const STATION: Mac = Mac::new([2, 0, 0x5e, 0x10, 0, 2]);

fn secret() -> SharedSecret {
    SharedSecret::new(&Secret::new("sixteen characters, and more")).unwrap()
}

fn request(fill: impl FnOnce(&mut Builder<'_>) -> Result<(), EncodeError>) -> Vec<u8> {
    let (mut out, secret) = (Vec::new(), secret());
    let mut packet = Builder::request(&mut out, &secret, Code::AccessRequest, 1, AUTHENTICATOR);
    fill(&mut packet).unwrap();
    packet.finish();
    out
}

fn answer(
    code: Code,
    fill: impl FnOnce(&mut Builder<'_>) -> Result<(), LoginError>,
) -> Result<Vec<u8>, LoginError> {
    let (mut out, secret) = (Vec::new(), secret());
    let mut packet = Builder::answer(&mut out, &secret, code, 1, &AUTHENTICATOR, 9);
    fill(&mut packet)?;
    packet.finish();
    Ok(out)
}

fn error(fill: impl FnOnce(&mut Builder<'_>) -> Result<(), EncodeError>) -> LoginError {
    let octets = request(fill);
    LoginRequest::decode(&Packet::decode(&octets).unwrap(), &secret()).unwrap_err()
}

#[test]
fn an_eap_response_is_put_together_from_its_attributes() {
    let eap: Vec<u8> = (0..600u32).map(|n| n as u8).collect();
    let octets = request(|p| {
        p.text(standard::USER_NAME, "anonymous@example.net")?;
        p.integer(standard::FRAMED_MTU, 1400)?;
        p.text(standard::CALLING_STATION_ID, "02-00-5E-10-00-02")?;
        p.octets(standard::STATE, &[5; 16])?;
        eap.chunks(253).try_for_each(|part| p.octets(standard::EAP_MESSAGE, part))
    });
    let packet = Packet::decode(&octets).unwrap();
    assert!(is_login(&packet));
    let login = LoginRequest::decode(&packet, &secret()).unwrap();
    assert_eq!((login.user_name, login.station), ("anonymous@example.net", Some(STATION)));
    assert_eq!((login.state, login.framed_mtu), (Some(&[5; 16][..]), Some(1400)));
    let Proof::Eap(got) = login.proof else { panic!("{:?}", login.proof) };
    assert_eq!(got, eap);
}

#[test]
fn an_empty_eap_message_is_eap_start() {
    let mut octets = request(|p| {
        p.text(standard::USER_NAME, "fred")?;
        p.octets(standard::EAP_MESSAGE, &[1])
    });
    // The last attribute without its octet: no builder of ours writes such a one.
    octets.pop();
    let length = u16::try_from(octets.len()).unwrap().to_be_bytes();
    octets[2..4].copy_from_slice(&length);
    let at = octets.len() - 1;
    octets[at] = 2;
    let packet = Packet::decode(&octets).unwrap();
    assert!(is_login(&packet));
    let login = LoginRequest::decode(&packet, &secret()).unwrap();
    assert!(matches!(&login.proof, Proof::Eap(eap) if eap.is_empty()), "{login:?}");
}

#[test]
fn a_password_is_opened() {
    let octets = request(|p| {
        p.text(standard::USER_NAME, "fred@example.net")?;
        p.user_password(b"a password of more than sixteen octets")
    });
    let packet = Packet::decode(&octets).unwrap();
    assert!(is_login(&packet));
    let login = LoginRequest::decode(&packet, &secret()).unwrap();
    let Proof::Password(password) = &login.proof else { panic!("{:?}", login.proof) };
    assert_eq!(&**password, b"a password of more than sixteen octets");
    assert!(!format!("{login:?}").contains("password of"), "{login:?}");
}

#[test]
fn chap_is_checked_with_its_own_challenge_or_the_authenticator() {
    use md5::{Digest, Md5};
    for challenge in [Some(&[3; 24][..]), None] {
        let mut md5 = Md5::new_with_prefix([0x42]);
        md5.update(b"hello");
        md5.update(challenge.unwrap_or(&AUTHENTICATOR));
        let mut value = vec![0x42];
        value.extend_from_slice(&md5.finalize());
        let octets = request(|p| {
            p.text(standard::USER_NAME, "02005e100002")?;
            p.octets(standard::CHAP_PASSWORD, &value)?;
            challenge.map_or(Ok(()), |c| p.octets(standard::CHAP_CHALLENGE, c))
        });
        let packet = Packet::decode(&octets).unwrap();
        assert!(is_login(&packet), "though its name is a MAC: no look-up speaks CHAP");
        let login = LoginRequest::decode(&packet, &secret()).unwrap();
        let Proof::Chap(chap) = &login.proof else { panic!("{:?}", login.proof) };
        assert!(chap.is_of(b"hello"));
        assert!(!chap.is_of(b"hullo"));
    }
}

#[test]
fn a_look_up_is_no_log_in() {
    for name in ["02005e100002", "02-00-5E-10-00-02"] {
        let octets = request(|p| {
            p.text(standard::USER_NAME, name)?;
            p.user_password(b"Elm Street 17")
        });
        assert!(!is_login(&Packet::decode(&octets).unwrap()), "{name}");
    }
}

#[test]
fn what_proves_nothing_or_too_much_is_refused_with_the_reason() {
    let name = |p: &mut Builder<'_>| p.text(standard::USER_NAME, "fred");
    assert_eq!(error(name), LoginError::NoProof);
    let both = error(|p| {
        name(p)?;
        p.octets(standard::EAP_MESSAGE, &[2, 0, 0, 4])?;
        p.user_password(b"x")
    });
    assert_eq!(both, LoginError::Proofs);
    let short = error(|p| {
        name(p)?;
        p.octets(standard::CHAP_PASSWORD, &[1; 16])
    });
    assert_eq!(short, LoginError::Chap(16));
    assert_eq!(error(|p| p.user_password(b"x")), LoginError::UserName);
    let twice = error(|p| {
        name(p)?;
        name(p)?;
        p.user_password(b"x")
    });
    assert!(matches!(twice, LoginError::Decode(_)), "{twice}");
}

#[test]
fn a_cui_is_asked_for_by_nothing_or_nul() {
    for (value, wanted) in [(Some(&[0][..]), true), (Some(&[65][..]), false), (None, false)] {
        let octets = request(|p| {
            p.text(standard::USER_NAME, "fred")?;
            p.user_password(b"x")?;
            value.map_or(Ok(()), |v| p.octets(standard::CHARGEABLE_USER_IDENTITY, v))
        });
        let packet = Packet::decode(&octets).unwrap();
        assert_eq!(LoginRequest::decode(&packet, &secret()).unwrap().wants_cui, wanted);
    }
}

#[test]
fn an_accept_has_name_terms_class_and_the_halves_of_the_msk() {
    let msk: [u8; 64] = std::array::from_fn(|at| at as u8);
    let terms = ServiceTerms {
        bandwidth: Bandwidth { up: Some(1000), down: Some(2000) },
        session_timeout: Some(Seconds(3600)),
        idle_timeout: Some(Seconds(300)),
        vlan: Some(Vlan::try_from(30).unwrap()),
        ..ServiceTerms::default()
    };
    let octets = answer(Code::AccessAccept, |p| {
        write_accept(
            p,
            &Admitted {
                user_name: "fred@example.net",
                cui: Some(b"c-17"),
                allowed: Allowed {
                    terms,
                    at_most: Some(Seconds(60)),
                    quota_left: Some((5 << 32) + 7),
                },
                interim: Seconds(300),
                class: b"hl:1",
                eap: Some((&[3, 9, 0, 4], Some(&msk))),
            },
        )
    })
    .unwrap();
    let packet = Packet::decode(&octets).unwrap();
    assert!(secret().verify_answer(&packet, &AUTHENTICATOR).is_ok());
    let find = |kind| packet.find(kind).map(<[u8]>::to_vec);
    assert_eq!(find(standard::USER_NAME).unwrap(), b"fred@example.net");
    assert_eq!(find(standard::CHARGEABLE_USER_IDENTITY).unwrap(), b"c-17");
    assert_eq!(find(standard::CLASS).unwrap(), b"hl:1");
    assert_eq!(find(standard::EAP_MESSAGE).unwrap(), [3, 9, 0, 4]);
    assert_eq!(find(standard::SESSION_TIMEOUT).unwrap(), 60u32.to_be_bytes());
    assert_eq!(find(standard::IDLE_TIMEOUT).unwrap(), 300u32.to_be_bytes());
    assert_eq!(find(standard::ACCT_INTERIM_INTERVAL).unwrap(), 300u32.to_be_bytes());
    // RFC 3580 3.31, untagged.
    assert_eq!(find(standard::TUNNEL_TYPE).unwrap(), [0, 0, 0, 13]);
    assert_eq!(find(standard::TUNNEL_MEDIUM_TYPE).unwrap(), [0, 0, 0, 6]);
    assert_eq!(find(standard::TUNNEL_PRIVATE_GROUP_ID).unwrap(), b"30");
    for (vendor, low, high) in [
        (chillispot::VENDOR, chillispot::MAX_TOTAL_OCTETS, chillispot::MAX_TOTAL_GIGAWORDS),
        (mikrotik::VENDOR, mikrotik::TOTAL_LIMIT, mikrotik::TOTAL_LIMIT_GIGAWORDS),
    ] {
        assert_eq!(packet.find_vendor(vendor, low), Some(&7u32.to_be_bytes()[..]));
        assert_eq!(packet.find_vendor(vendor, high), Some(&5u32.to_be_bytes()[..]));
    }
    for (kind, half) in
        [(microsoft::MPPE_RECV_KEY, &msk[..32]), (microsoft::MPPE_SEND_KEY, &msk[32..])]
    {
        let hidden = packet.find_vendor(microsoft::VENDOR, kind).unwrap();
        let key = open_salted(&secret(), &AUTHENTICATOR, hidden).unwrap();
        assert_eq!(key.expose(), half);
    }
}

#[test]
fn a_challenge_has_eap_and_state_and_a_reject_says_nothing() {
    let eap = vec![1; 1020];
    let octets = answer(Code::AccessChallenge, |p| write_challenge(p, &eap, &[6; 16])).unwrap();
    let packet = Packet::decode(&octets).unwrap();
    let again: Vec<u8> = packet.find_all(standard::EAP_MESSAGE).flatten().copied().collect();
    assert_eq!((again, packet.find(standard::STATE)), (eap, Some(&[6; 16][..])));
    for (eap, attributes) in [(Some(&[4, 1, 0, 4][..]), 2), (None, 1)] {
        let octets = answer(Code::AccessReject, |p| write_reject(p, eap)).unwrap();
        let packet = Packet::decode(&octets).unwrap();
        assert_eq!(packet.find(standard::EAP_MESSAGE), eap);
        // The signature comes first, and nothing else.
        assert_eq!(packet.attributes().count(), attributes);
    }
}
