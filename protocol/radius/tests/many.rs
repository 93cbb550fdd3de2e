//! What is verified and signed several at a time is what is verified and signed one by one.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of a test may fail it"
)]

use hmac::{Hmac, KeyInit, Mac};
use homeward_model::{Instant, Secret};
use homeward_radius::dictionary::standard;
use homeward_radius::login::Proof;
use homeward_radius::server::ReplyKind;
use homeward_radius::testing::Counted;
use homeward_radius::{
    Builder, Code, EncodeError, LoginRequest, Opened, Policy, Port, Received, Server,
    ServerSettings, SharedSecret, prepare,
};
use md5::{Digest, Md5};
use proptest::prelude::*;

/// A question and its answer: whose secret it is, and how much is answered.
#[derive(Debug, Clone)]
struct Case {
    secret: Option<Vec<u8>>,
    accepted: bool,
    message: Vec<u8>,
    salted: bool,
}

fn cases() -> impl Strategy<Value = Vec<Case>> {
    let secret = prop::option::weighted(0.9, prop::collection::vec(any::<u8>(), 1..150));
    let message = prop::collection::vec(any::<u8>(), 1..=253);
    let case = (secret, any::<bool>(), message, any::<bool>())
        .prop_map(|(secret, accepted, message, salted)| Case { secret, accepted, message, salted });
    prop::collection::vec(case, 1..30)
}

fn secret_of(case: &Case) -> SharedSecret {
    match &case.secret {
        Some(octets) => SharedSecret::new(&Secret::new(&octets[..])).unwrap(),
        None => SharedSecret::transport(),
    }
}

fn fill(case: &Case, packet: &mut Builder<'_>) -> Result<(), EncodeError> {
    packet.octets(standard::REPLY_MESSAGE, &case.message)?;
    if case.salted { packet.tunnel_password(0, b"a key of somebody") } else { Ok(()) }
}

fn ask(port: Port, secret: &SharedSecret, n: u8) -> Vec<u8> {
    let code = match port {
        Port::Accounting => Code::AccountingRequest,
        _ => Code::AccessRequest,
    };
    let mut out = Vec::new();
    let mut packet = Builder::request(&mut out, secret, code, n, [n; 16]);
    packet.octets(standard::PROXY_STATE, &[n, 7]).unwrap();
    packet.finish();
    out
}

fn answers(port: Port, cases: &[Case]) -> [Vec<Vec<u8>>; 2] {
    let source = "192.0.2.1:1000".parse().unwrap();
    let [mut one_by_one, mut at_once] =
        [0; 2].map(|_| Server::new(port, ServerSettings::default()));
    let [mut alone, mut together] = [(); 2].map(|()| vec![Vec::new(); cases.len()]);
    for (n, case) in cases.iter().enumerate() {
        let secret = secret_of(case);
        let request = ask(port, &secret, n as u8);
        let policy = if secret.is_transport() { Policy::Secured } else { Policy::Required };
        let code = match port {
            Port::Accounting => Code::AccountingResponse,
            _ if case.accepted => Code::AccessAccept,
            _ => Code::AccessReject,
        };
        let ticket = |server: &mut Server| match server.handle(
            source,
            &secret,
            policy,
            &request,
            Instant::ORIGIN,
        ) {
            Received::Request { ticket, .. } => ticket,
            other => panic!("{other:?}"),
        };
        let (one, other) = (ticket(&mut one_by_one), ticket(&mut at_once));
        let entropy = &mut Counted(n as u64);
        let octets = one_by_one.respond(&one, &secret, code, entropy, |packet| fill(case, packet));
        alone[n] = octets.unwrap().to_vec();
        let entropy = &mut Counted(n as u64);
        at_once.draft(&other, &secret, (code, n), entropy, |packet| fill(case, packet)).unwrap();
    }
    at_once.sign(|place, octets| together[place] = octets.to_vec());
    at_once.sign(|place, _| panic!("{place} is signed already"));
    // And they are remembered.
    for (n, case) in cases.iter().enumerate().filter(|(_, case)| case.secret.is_some()) {
        let secret = secret_of(case);
        let request = ask(port, &secret, n as u8);
        match at_once.handle(source, &secret, Policy::Required, &request, Instant::ORIGIN) {
            Received::Reply { octets, kind: ReplyKind::Duplicate } => {
                assert_eq!(octets, together[n])
            }
            other => panic!("{other:?}"),
        }
    }
    [alone, together]
}

/// An Accounting-Request that is signed, too, which some NASes send.
fn signed_record(secret: &[u8], n: u8) -> Vec<u8> {
    let mut out = Vec::new();
    let shared = SharedSecret::new(&Secret::new(secret)).unwrap();
    let mut packet = Builder::request(&mut out, &shared, Code::AccountingRequest, n, [0; 16]);
    packet.octets(standard::CLASS, &[n]).unwrap();
    packet.octets(standard::MESSAGE_AUTHENTICATOR, &[0; 16]).unwrap();
    packet.octets(standard::PROXY_STATE, &[n, 7]).unwrap();
    packet.finish();
    // Both are over zeros in the place of the authenticator, and the digest is over the other.
    out[4..20].fill(0);
    let mut mac = Hmac::<Md5>::new_from_slice(secret).unwrap();
    mac.update(&out);
    out[25..41].copy_from_slice(&mac.finalize().into_bytes());
    let digest = Md5::new_with_prefix(&out).chain_update(secret).finalize();
    out[4..20].copy_from_slice(&digest);
    out
}

/// What a server makes of a datagram, in a word.
fn verdict(received: &Received<'_, '_>) -> String {
    match received {
        Received::Request { signature, .. } => format!("{signature:?}"),
        other => format!("{other:?}"),
    }
}

proptest! {
    #[test]
    fn what_is_verified_with_others_is_what_is_verified_alone(
        cases in cases(),
        changes in prop::collection::vec((any::<bool>(), any::<prop::sample::Index>(), 1u8..), 30),
        unsigned in any::<[bool; 30]>(),
    ) {
        for port in [Port::Authentication, Port::Accounting] {
            let secrets: Vec<_> = cases.iter().map(secret_of).collect();
            let mut asked: Vec<Vec<u8>> = Vec::new();
            for (n, secret) in secrets.iter().enumerate() {
                let mut request = match (port, &cases[n]) {
                    (Port::Accounting, Case { secret: Some(secret), salted: true, .. }) => {
                        signed_record(secret, n as u8)
                    }
                    _ => ask(port, secret, n as u8),
                };
                if port == Port::Authentication && unsigned[n] && !secret.is_transport() {
                    // Its Message-Authenticator is another attribute.
                    request[20] = standard::CLASS;
                }
                let (change, at, by) = &changes[n];
                if *change {
                    let at = at.index(request.len());
                    request[at] ^= by;
                }
                asked.push(request);
            }
            let source = "192.0.2.1:1000".parse().unwrap();
            let mut opened: Vec<_> =
                secrets.iter().zip(&asked).map(|(s, asked)| Opened::new(s, asked)).collect();
            prepare(&mut opened);
            for ((secret, asked), opened) in secrets.iter().zip(&asked).zip(opened) {
                let policy = if secret.is_transport() { Policy::Secured } else { Policy::Auto };
                let [mut one, mut other] =
                    [0; 2].map(|_| Server::new(port, ServerSettings::default()));
                let alone = one.handle(source, secret, policy, asked, Instant::ORIGIN);
                let with_others = other.handle_opened(source, policy, opened, Instant::ORIGIN);
                prop_assert_eq!(verdict(&alone), verdict(&with_others));
            }
        }
    }

    #[test]
    fn a_password_that_is_opened_with_others_is_what_it_is_alone(
        asked in prop::collection::vec(
            (prop::collection::vec(any::<u8>(), 1..150), prop::collection::vec(1u8.., 1..=128), any::<[u8; 16]>()),
            1..20,
        ),
        transport in any::<prop::sample::Index>(),
    ) {
        let transport = transport.index(asked.len());
        let secrets = asked.iter().enumerate().map(|(n, (secret, ..))| match n == transport {
            true => SharedSecret::transport(),
            false => SharedSecret::new(&Secret::new(&secret[..])).unwrap(),
        });
        let secrets: Vec<_> = secrets.collect();
        let datagrams = secrets.iter().zip(&asked).map(|(secret, (_, password, over))| {
            let mut out = Vec::new();
            let mut packet = Builder::request(&mut out, secret, Code::AccessRequest, 1, *over);
            packet.text(standard::USER_NAME, "somebody").unwrap();
            packet.user_password(password).unwrap();
            packet.finish();
            out
        });
        let datagrams: Vec<_> = datagrams.collect();
        let mut opened: Vec<_> =
            secrets.iter().zip(&datagrams).map(|(s, datagram)| Opened::new(s, datagram)).collect();
        prepare(&mut opened);
        let source = "192.0.2.1:1000".parse().unwrap();
        for ((secret, (_, password, _)), opened) in secrets.iter().zip(&asked).zip(opened) {
            let mut server = Server::new(Port::Authentication, ServerSettings::default());
            let received = server.handle_opened(source, Policy::Secured, opened, Instant::ORIGIN);
            let Received::Request { packet, pads, .. } = received else { panic!("{received:?}") };
            match LoginRequest::decode(&packet, pads.with(secret)).unwrap().proof {
                Proof::Password(opened) => prop_assert_eq!(&*opened, &password[..]),
                other => panic!("{other:?}"),
            }
        }
    }

    #[test]
    fn what_is_drafted_and_signed_later_is_what_is_answered_at_once(cases in cases()) {
        for port in [Port::Authentication, Port::Accounting] {
            let [alone, together] = answers(port, &cases);
            prop_assert_eq!(alone, together);
        }
    }
}

#[test]
fn what_cannot_be_drafted_is_not_signed() {
    let (mut server, case) = (
        Server::new(Port::Authentication, ServerSettings::default()),
        Case { secret: Some(b"a secret".to_vec()), accepted: true, message: vec![], salted: false },
    );
    let secret = secret_of(&case);
    let request = ask(Port::Authentication, &secret, 1);
    let source = "192.0.2.1:1000".parse().unwrap();
    let received = server.handle(source, &secret, Policy::Required, &request, Instant::ORIGIN);
    let Received::Request { ticket, .. } = received else { panic!("{received:?}") };
    let code = (Code::AccessAccept, 0);
    server.draft(&ticket, &secret, code, &mut Counted(1), |b| fill(&case, b)).unwrap_err();
    server.sign(|_, _| panic!("there is nothing to sign"));
    server.draft(&ticket, &secret, code, &mut Counted(1), |_| Ok::<_, EncodeError>(())).unwrap();
    let mut signed = 0;
    server.sign(|_, _| signed += 1);
    assert_eq!(signed, 1);
}
