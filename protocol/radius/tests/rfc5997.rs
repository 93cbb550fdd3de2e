//! RFC 5997: Status-Server.
#![cfg(test)]

use std::time::Duration;

use homeward_model::{Instant, Secret, address::decode_hex};
use homeward_radius::auth::Signature;
use homeward_radius::server::ReplyKind;
use homeward_radius::testing::Counted;
use homeward_radius::{
    AttributeList, Builder, Client, ClientEvent, ClientSettings, Code, DropReason, Packet, Policy,
    Port, Received, Server, ServerSettings, SharedSecret,
};

fn hex(text: &str) -> Vec<u8> {
    decode_hex(&text.replace(char::is_whitespace, "")).unwrap()
}

fn secret() -> SharedSecret {
    SharedSecret::new(&Secret::new("xyzzy5461")).unwrap()
}

/// RFC 5997 6.1: "Minimal Query to Authentication Port", secret "xyzzy5461".
#[test]
fn the_example_of_section_6_1_verifies() {
    let request = hex("0c da 00 26 8a 54 f4 68 6f b3 94 c5 28 66 e3 02
         18 5d 06 23 50 12 5a 66 5e 2e 1e 84 11 f3 e2 43
         82 20 97 c8 4f a3");
    let answer = hex("02 da 00 14 ef 0d 55 2a 4b f2 d6 93 ec 2b 6f e8
         b5 41 1d 66");
    check_example(Code::AccessAccept, &request, &answer);
}

/// RFC 5997 6.2: "Minimal Query to Accounting Port", secret "xyzzy5461". The Length of the
/// answer is the 20 octets that it has; its Response Authenticator was computed over that.
#[test]
fn the_example_of_section_6_2_verifies() {
    let request = hex("0c b3 00 26 92 5f 6b 66 dd 5f ed 57 1f cb 1d b7
         ad 38 82 60 50 12 e8 d6 ea bd a9 10 87 5c d9 1f
         da de 26 36 78 58");
    let answer = hex("05 b3 00 14 0f 6f 92 14 5f 10 7e 2f 50 4e 86 0a
         48 60 66 9c");
    check_example(Code::AccountingResponse, &request, &answer);
}

fn check_example(code: Code, request: &[u8], answer: &[u8]) {
    let parsed = Packet::decode(request).unwrap();
    assert_eq!(parsed.code(), Code::StatusServer);
    assert_eq!(secret().verify_request(&parsed), Ok(Signature::Present));
    let (mut again, secret) = (Vec::new(), secret());
    let (identifier, authenticator) = (parsed.identifier(), *parsed.authenticator());
    Builder::request(&mut again, &secret, Code::StatusServer, identifier, authenticator).finish();
    assert_eq!(again, request, "written as the example has it");
    let answer = Packet::decode(answer).unwrap();
    assert_eq!(answer.code(), code);
    assert_eq!(secret.verify_answer(&answer, parsed.authenticator()), Ok(Signature::Absent));
}

#[test]
fn status_server_is_answered_as_the_port_has_it() {
    let (mut request, secret) = (Vec::new(), secret());
    Builder::request(&mut request, &secret, Code::StatusServer, 3, [5; 16]).finish();
    for (port, code) in
        [(Port::Authentication, Code::AccessAccept), (Port::Accounting, Code::AccountingResponse)]
    {
        let mut server = Server::new(port, ServerSettings::default());
        let source = "192.0.2.1:4711".parse().unwrap();
        for _ in 0..2 {
            let received =
                server.handle(source, &secret, Policy::Required, &request, Instant::ORIGIN);
            let Received::Reply { octets, kind } = received else { panic!("{received:?}") };
            assert_eq!(kind, ReplyKind::Status);
            let answer = Packet::decode(octets).unwrap();
            assert_eq!((answer.code(), answer.identifier()), (code, 3));
            assert!(secret.verify_answer(&answer, &[5; 16]).is_ok());
        }
    }
}

#[test]
fn an_unsigned_status_server_is_dropped_whatever_the_policy() {
    let octets = hex("0c da 00 14 8a 54 f4 68 6f b3 94 c5 28 66 e3 02 18 5d 06 23");
    let mut server = Server::new(Port::Authentication, ServerSettings::default());
    let source = "192.0.2.1:4711".parse().unwrap();
    for policy in [Policy::Required, Policy::Auto] {
        let received = server.handle(source, &secret(), policy, &octets, Instant::ORIGIN);
        assert!(
            matches!(received, Received::Dropped(DropReason::NoMessageAuthenticator)),
            "{received:?}"
        );
    }
}

/// Lets one request after another go unanswered until the only server is down.
fn client_with_a_dead_server(settings: ClientSettings) -> (Client, Instant) {
    let mut client = Client::new(settings, [secret()]);
    let (mut entropy, mut now) = (Counted(1), Instant::ORIGIN);
    let code = Code::AccessRequest;
    client.request(now, &mut entropy, code, AttributeList::new()).unwrap();
    while client.is_up(0) == Some(true) {
        now = client.poll_timeout().unwrap();
        client.handle_timeout(now, &mut entropy);
    }
    (client, now)
}

fn status_servers(client: &mut Client) -> Vec<Vec<u8>> {
    std::iter::from_fn(|| client.poll_transmit())
        .map(|transmit| transmit.payload)
        .filter(|payload| payload[0] == Code::StatusServer as u8)
        .collect()
}

#[test]
fn a_server_that_is_down_is_probed_ever_more_rarely() {
    let settings = ClientSettings::default();
    let (mut client, down) = client_with_a_dead_server(settings);
    let (mut entropy, mut probes) = (Counted(2), Vec::new());
    while probes.len() < 8 {
        let now = client.poll_timeout().unwrap();
        client.handle_timeout(now, &mut entropy);
        for payload in status_servers(&mut client) {
            let packet = Packet::decode(&payload).unwrap();
            assert_eq!(secret().verify_request(&packet), Ok(Signature::Present));
            probes.push((now, *packet.authenticator()));
        }
    }
    let gaps: Vec<f64> = std::iter::once(down)
        .chain(probes.iter().map(|(at, _)| *at))
        .collect::<Vec<_>>()
        .windows(2)
        .map(|pair| pair[1].since(pair[0]).as_secs_f64())
        .collect();
    for (gap, nominal) in gaps.iter().zip([1.0, 1.0, 2.0, 4.0, 8.0, 15.0, 15.0, 15.0]) {
        assert!((gap / nominal - 1.0).abs() <= 0.1001, "{gaps:?}");
    }
    let distinct: std::collections::BTreeSet<_> = probes.iter().map(|(_, a)| a).collect();
    assert_eq!(distinct.len(), probes.len(), "each probe is a request of its own");
}

#[test]
fn a_server_that_answers_status_server_is_up_again() {
    let (mut client, _) = client_with_a_dead_server(ClientSettings::default());
    let mut entropy = Counted(2);
    let probe = loop {
        let now = client.poll_timeout().unwrap();
        client.handle_timeout(now, &mut entropy);
        if let Some(probe) = status_servers(&mut client).pop() {
            break probe;
        }
    };
    let probe = Packet::decode(&probe).unwrap();
    let mut answer = Vec::new();
    let (code, id, secret) = (Code::AccessAccept, probe.identifier(), secret());
    // An answer to another probe is not one to this.
    Builder::answer(&mut answer, &secret, code, id, &[9; 16], 0).finish();
    client.handle_datagram(0, 0, &answer, Instant::ORIGIN);
    assert_eq!(client.is_up(0), Some(false));
    let socket = (0..4).find(|socket| {
        Builder::answer(&mut answer, &secret, code, id, probe.authenticator(), 0).finish();
        client.handle_datagram(0, *socket, &answer, Instant::ORIGIN);
        client.is_up(0) == Some(true)
    });
    assert!(socket.is_some());
    let up = std::iter::from_fn(|| client.poll_event())
        .filter(|event| matches!(event, ClientEvent::ServerUp { server: 0 }))
        .count();
    assert_eq!(up, 1);
    let probe_timer = client.poll_timeout();
    client.handle_timeout(Instant::ORIGIN + Duration::from_secs(60), &mut entropy);
    assert_eq!(status_servers(&mut client), Vec::<Vec<u8>>::new(), "{probe_timer:?}");
}

#[test]
fn without_status_server_a_server_counts_as_up_again_after_a_while() {
    let settings = ClientSettings { status_server: false, ..ClientSettings::default() };
    let (mut client, down) = client_with_a_dead_server(settings);
    let mut entropy = Counted(2);
    while client.is_up(0) == Some(false) {
        let now = client.poll_timeout().unwrap();
        assert!(now.since(down) < Duration::from_secs(17));
        client.handle_timeout(now, &mut entropy);
        assert_eq!(status_servers(&mut client), Vec::<Vec<u8>>::new());
    }
}
