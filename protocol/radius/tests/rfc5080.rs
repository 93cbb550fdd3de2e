//! RFC 5080 2.2: retransmission, failover, and duplicates.
#![cfg(test)]

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;

use homeward_model::{Instant, Secret};
use homeward_radius::auth::Signature;
use homeward_radius::client::{AnswerDrop, ClientError};
use homeward_radius::dictionary::standard;
use homeward_radius::retransmit::{Retransmission, Schedule};
use homeward_radius::server::ReplyKind;
use homeward_radius::testing::Counted;
use homeward_radius::{
    AttributeList, AuthError, Builder, Client, ClientEvent, ClientSettings, Code, EncodeError,
    Packet, Policy, Port, Received, RequestId, Server, ServerSettings, SharedSecret, Transmit,
};

const MS: Duration = Duration::from_millis(1);

fn secret(text: &str) -> SharedSecret {
    SharedSecret::new(&Secret::new(text)).unwrap()
}

fn client(settings: ClientSettings) -> Client {
    Client::new(settings, [secret("first"), secret("second")])
}

fn ask(client: &mut Client, now: Instant) -> Result<RequestId, ClientError> {
    let mut attributes = AttributeList::new();
    attributes.push(standard::USER_NAME, b"someone").unwrap();
    attributes.push(standard::USER_PASSWORD, b"password").unwrap();
    let mut entropy = Counted(now.as_nanos());
    client.request(now, &mut entropy, Code::AccessRequest, attributes)
}

/// An Access-Accept to a transmission, signed with `secret`.
fn accept(secret: &SharedSecret, transmit: &Transmit) -> Vec<u8> {
    let request = Packet::decode(&transmit.payload).unwrap();
    let (code, id) = (Code::AccessAccept, request.identifier());
    let mut out = Vec::new();
    Builder::answer(&mut out, secret, code, id, request.authenticator(), 0).finish();
    out
}

fn events(client: &mut Client) -> Vec<ClientEvent> {
    std::iter::from_fn(|| client.poll_event()).collect()
}

fn drop_reason(client: &mut Client) -> AnswerDrop {
    match events(client).as_slice() {
        [ClientEvent::Dropped { reason, .. }] => *reason,
        other => panic!("{other:?}"),
    }
}

/// Every transmission until the request times out.
fn transmissions(client: &mut Client) -> Vec<(Instant, Transmit)> {
    let (mut seen, mut now, mut entropy) = (Vec::new(), Instant::ORIGIN, Counted(3));
    loop {
        seen.extend(std::iter::from_fn(|| client.poll_transmit()).map(|t| (now, t)));
        if events(client).iter().any(|event| matches!(event, ClientEvent::TimedOut { .. })) {
            return seen;
        }
        now = client.poll_timeout().unwrap();
        client.handle_timeout(now, &mut entropy);
    }
}

#[test]
fn intervals_double_up_to_the_longest_give_or_take_a_tenth() {
    let settings = Retransmission::default();
    for seed in 0..200 {
        let mut entropy = Counted(seed);
        let mut schedule = Schedule::start(settings, Instant::ORIGIN, &mut entropy);
        let (mut last, mut before) = (Instant::ORIGIN, None);
        while schedule.due() < schedule.deadline() {
            let interval = schedule.due().since(last).as_secs_f64() * 1000.0;
            let within =
                |nominal: f64, tenth_of: f64| (interval - nominal).abs() <= 0.1001 * tenth_of;
            let right = match before {
                None => within(100.0, 100.0),
                Some(before) if before * 2.1 > 800.0 && within(800.0, 800.0) => true,
                Some(before) => within(2.0 * before, before) && interval <= 800.0,
            };
            assert!(right, "{interval} ms after {before:?}");
            (last, before) = (schedule.due(), Some(interval));
            schedule.advance(last, &mut entropy);
        }
        assert_eq!(schedule.deadline(), Instant::ORIGIN + Duration::from_secs(2));
    }
}

#[test]
fn the_second_server_is_asked_from_the_third_transmission_on() {
    let mut client = client(ClientSettings::default());
    ask(&mut client, Instant::ORIGIN).unwrap();
    let sent = transmissions(&mut client);
    let servers: Vec<_> = sent.iter().map(|(_, transmit)| transmit.server).collect();
    assert_eq!(servers, [0, 0, 1, 1, 0]);
    let third = sent[2].0.since(Instant::ORIGIN);
    assert!((270 * MS..330 * MS).contains(&third), "{third:?}");
}

#[test]
fn a_retransmission_is_the_same_octets_and_another_server_gets_others() {
    let mut client = client(ClientSettings::default());
    ask(&mut client, Instant::ORIGIN).unwrap();
    let sent: Vec<_> = transmissions(&mut client).into_iter().map(|(_, t)| t).collect();
    assert_eq!(sent[0], sent[1]);
    assert_eq!(sent[0], sent[4]);
    assert_eq!(sent[2], sent[3]);
    let [first, second] = [&sent[0], &sent[2]].map(|t| Packet::decode(&t.payload).unwrap());
    assert_ne!(first.authenticator(), second.authenticator());
    assert_eq!(secret("first").verify_request(&first), Ok(Signature::Present));
    assert_eq!(secret("second").verify_request(&second), Ok(Signature::Present));
}

#[test]
fn a_request_is_given_up_after_two_seconds() {
    let mut client = client(ClientSettings::default());
    let id = ask(&mut client, Instant::ORIGIN).unwrap();
    let just_before = Instant::ORIGIN + 1999 * MS;
    client.handle_timeout(just_before, &mut Counted(1));
    assert_eq!(client.outstanding(), 1);
    client.handle_timeout(Instant::ORIGIN + 2000 * MS, &mut Counted(1));
    let timed_out = |e: &ClientEvent| matches!(e, ClientEvent::TimedOut { id: i } if *i == id);
    assert!(events(&mut client).iter().any(timed_out));
    assert_eq!((client.outstanding(), client.poll_timeout()), (0, None));
}

#[test]
fn an_answer_completes_the_request_and_ends_its_timers() {
    let mut client = client(ClientSettings::default());
    let id = ask(&mut client, Instant::ORIGIN).unwrap();
    let sent = client.poll_transmit().unwrap();
    let now = Instant::ORIGIN + 7 * MS;
    client.handle_datagram(0, sent.socket, &accept(&secret("first"), &sent), now);
    let [ClientEvent::Answered { id: answered, answer }] = &events(&mut client)[..] else {
        panic!("no answer");
    };
    assert_eq!((*answered, answer.code(), answer.elapsed()), (id, Code::AccessAccept, 7 * MS));
    assert_eq!((client.outstanding(), client.poll_timeout()), (0, None));
    client.handle_datagram(0, sent.socket, &accept(&secret("first"), &sent), now);
    assert_eq!(drop_reason(&mut client), AnswerDrop::Unexpected, "the second is one too many");
}

#[test]
fn a_forged_answer_is_dropped_and_the_true_one_still_counts() {
    let mut client = client(ClientSettings::default());
    ask(&mut client, Instant::ORIGIN).unwrap();
    let (sent, now) = (client.poll_transmit().unwrap(), Instant::ORIGIN);
    client.handle_datagram(0, sent.socket, &accept(&secret("guess"), &sent), now);
    let reason = drop_reason(&mut client);
    assert_eq!(reason, AnswerDrop::NotAuthentic(AuthError::ResponseAuthenticator));
    // From the other server, or on another socket, it is an answer to nothing.
    client.handle_datagram(1, sent.socket, &accept(&secret("first"), &sent), now);
    assert_eq!(drop_reason(&mut client), AnswerDrop::Unexpected);
    client.handle_datagram(0, sent.socket + 1, &accept(&secret("first"), &sent), now);
    assert_eq!(drop_reason(&mut client), AnswerDrop::Unexpected);
    client.handle_datagram(7, sent.socket, &accept(&secret("first"), &sent), now);
    assert_eq!(drop_reason(&mut client), AnswerDrop::Stranger);
    client.handle_datagram(0, 4, &accept(&secret("first"), &sent), now);
    assert_eq!(drop_reason(&mut client), AnswerDrop::Stranger);
    client.handle_datagram(0, sent.socket, b"noise", now);
    assert_eq!(drop_reason(&mut client).label(), "malformed");
    client.handle_datagram(0, sent.socket, &accept(&secret("first"), &sent), now);
    assert!(matches!(events(&mut client)[..], [ClientEvent::Answered { .. }]));
}

#[test]
fn an_answer_without_message_authenticator_is_dropped_unless_the_setting_allows_it() {
    for (required, taken) in [(true, false), (false, true)] {
        let require_message_authenticator = required;
        let settings =
            ClientSettings { require_message_authenticator, ..ClientSettings::default() };
        let mut client = client(settings);
        ask(&mut client, Instant::ORIGIN).unwrap();
        let sent = client.poll_transmit().unwrap();
        let request = Packet::decode(&sent.payload).unwrap();
        let mut answer = [&[2, request.identifier(), 0, 20][..], request.authenticator()].concat();
        let digest = md5::Digest::chain_update(
            <md5::Md5 as md5::Digest>::new_with_prefix(&answer),
            b"first",
        );
        answer[4..20].copy_from_slice(&md5::Digest::finalize(digest));
        client.handle_datagram(0, sent.socket, &answer, Instant::ORIGIN);
        match &events(&mut client)[..] {
            [ClientEvent::Answered { .. }] => assert!(taken),
            [ClientEvent::Dropped { reason, .. }] => {
                assert!(!taken);
                assert_eq!(*reason, AnswerDrop::NoMessageAuthenticator);
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_code_that_answers_something_else_is_dropped() {
    let mut client = client(ClientSettings::default());
    ask(&mut client, Instant::ORIGIN).unwrap();
    let sent = client.poll_transmit().unwrap();
    let request = Packet::decode(&sent.payload).unwrap();
    let (mut out, id, secret) = (Vec::new(), request.identifier(), secret("first"));
    let code = Code::AccountingResponse;
    Builder::answer(&mut out, &secret, code, id, request.authenticator(), 0).finish();
    client.handle_datagram(0, sent.socket, &out, Instant::ORIGIN);
    assert_eq!(drop_reason(&mut client).label(), "wrong-code");
}

#[test]
fn after_two_requests_that_it_left_unanswered_a_server_is_down_and_the_other_asked_at_once() {
    let mut client = client(ClientSettings::default());
    let (mut now, mut entropy) = (Instant::ORIGIN, Counted(5));
    for asked in 0..3 {
        ask(&mut client, now).unwrap();
        let mut first = true;
        loop {
            let Some(sent) = client.poll_transmit() else {
                now = client.poll_timeout().unwrap();
                client.handle_timeout(now, &mut entropy);
                continue;
            };
            if std::mem::take(&mut first) {
                assert_eq!(sent.server, usize::from(asked == 2), "request {asked}");
            }
            if sent.server == 1 && sent.payload[0] == 1 {
                let answer = accept(&secret("second"), &sent);
                client.handle_datagram(1, sent.socket, &answer, now);
                break;
            }
        }
    }
    let seen = events(&mut client);
    let downs = seen.iter().filter(|e| matches!(e, ClientEvent::ServerDown { server: 0 }));
    assert_eq!(downs.count(), 1);
    assert_eq!((client.is_up(0), client.is_up(1)), (Some(false), Some(true)));
}

#[test]
fn many_requests_that_miss_one_answer_each_do_not_make_a_server_dead() {
    let mut client = client(ClientSettings::default());
    for _ in 0..50 {
        ask(&mut client, Instant::ORIGIN).unwrap();
    }
    client.handle_timeout(Instant::ORIGIN + 115 * MS, &mut Counted(1));
    assert_eq!(client.is_up(0), Some(true), "115 ms of silence are none");
}

#[test]
fn a_slow_server_is_not_taken_for_a_dead_one() {
    // It answers everything, always after the second server did.
    let mut client = client(ClientSettings::default());
    let (mut now, mut entropy) = (Instant::ORIGIN, Counted(5));
    for _ in 0..10 {
        ask(&mut client, now).unwrap();
        let mut slow = None;
        loop {
            let Some(sent) = client.poll_transmit() else {
                now = client.poll_timeout().unwrap();
                client.handle_timeout(now, &mut entropy);
                continue;
            };
            if sent.server == 0 {
                slow = Some(sent);
                continue;
            }
            client.handle_datagram(1, sent.socket, &accept(&secret("second"), &sent), now);
            break;
        }
        now = now + 50 * MS;
        let slow = slow.unwrap();
        client.handle_datagram(0, slow.socket, &accept(&secret("first"), &slow), now);
        let answers: Vec<_> = events(&mut client);
        assert!(matches!(answers[..], [ClientEvent::Answered { .. }]), "{answers:?}");
    }
    assert_eq!((client.is_up(0), client.outstanding()), (Some(true), 0));
}

#[test]
fn more_than_256_requests_are_outstanding_over_several_sockets() {
    let mut client = client(ClientSettings::default());
    for _ in 0..1024 {
        ask(&mut client, Instant::ORIGIN).unwrap();
    }
    let used: BTreeSet<_> = std::iter::from_fn(|| client.poll_transmit())
        .map(|t| (t.server, t.socket, t.payload[1]))
        .collect();
    assert_eq!(used.len(), 1024, "no identifier is used twice");
    assert_eq!(ask(&mut client, Instant::ORIGIN), Err(ClientError::Full(1024)));
}

#[test]
fn when_a_server_has_no_identifier_left_the_next_is_asked_and_then_it_is_full() {
    let settings = ClientSettings { sockets: 1, ..ClientSettings::default() };
    let mut client = client(settings);
    for _ in 0..512 {
        ask(&mut client, Instant::ORIGIN).unwrap();
    }
    let servers: Vec<_> = std::iter::from_fn(|| client.poll_transmit()).map(|t| t.server).collect();
    assert_eq!(servers.iter().filter(|server| **server == 1).count(), 256);
    assert_eq!(ask(&mut client, Instant::ORIGIN), Err(ClientError::Full(512)));
}

#[test]
fn a_cancelled_request_gives_its_identifier_back() {
    let settings = ClientSettings { sockets: 1, ..ClientSettings::default() };
    let mut client = Client::new(settings, [secret("only")]);
    let ids: Vec<_> = (0..256).map(|_| ask(&mut client, Instant::ORIGIN).unwrap()).collect();
    assert!(ask(&mut client, Instant::ORIGIN).is_err());
    client.cancel(ids[17]);
    assert!(ask(&mut client, Instant::ORIGIN).is_ok());
}

#[test]
fn without_servers_nothing_is_asked() {
    let mut client = Client::new(ClientSettings::default(), []);
    assert_eq!(ask(&mut client, Instant::ORIGIN), Err(ClientError::NoServer));
}

// The server's side.

fn source(port: u16) -> SocketAddr {
    SocketAddr::from(([192, 0, 2, 1], port))
}

fn signed(identifier: u8, authenticator: u8, attributes: &[(u8, &[u8])]) -> Vec<u8> {
    let (mut out, secret) = (Vec::new(), secret("first"));
    let code = Code::AccessRequest;
    let mut packet = Builder::request(&mut out, &secret, code, identifier, [authenticator; 16]);
    for (kind, value) in attributes {
        packet.octets(*kind, value).unwrap();
    }
    packet.finish();
    out
}

/// What became of a datagram: a new request (answered at once if `answer`), or a word.
fn serve(
    server: &mut Server,
    port: u16,
    octets: &[u8],
    now: Instant,
    answer: bool,
) -> Result<Vec<u8>, &'static str> {
    let secret = secret("first");
    let ticket = match server.handle(source(port), &secret, Policy::Required, octets, now) {
        Received::Request { ticket, .. } => ticket,
        Received::Reply { octets, kind: ReplyKind::Duplicate } => return Ok(octets.to_vec()),
        Received::InProgress => return Err("in progress"),
        other => panic!("{other:?}"),
    };
    if answer {
        let mut entropy = Counted(now.as_nanos());
        server
            .respond(&ticket, &secret, Code::AccessAccept, &mut entropy, |packet| {
                packet.tunnel_password(0, b"a salted answer")
            })
            .unwrap();
    }
    Err("new")
}

#[test]
fn a_duplicate_gets_the_same_answer_for_five_seconds() {
    let mut server = Server::new(Port::Authentication, ServerSettings::default());
    let request = signed(1, 1, &[]);
    let at = |ms: u32| Instant::ORIGIN + ms * MS;
    assert_eq!(serve(&mut server, 1000, &request, at(0), true), Err("new"));
    let answer = serve(&mut server, 1000, &request, at(1), true).unwrap();
    assert_eq!(serve(&mut server, 1000, &request, at(4999), true), Ok(answer));
    assert_eq!(serve(&mut server, 1000, &request, at(5000), true), Err("new"));
}

#[test]
fn a_duplicate_of_a_request_in_progress_is_not_worked_on_twice() {
    let mut server = Server::new(Port::Authentication, ServerSettings::default());
    let request = signed(1, 1, &[]);
    assert_eq!(serve(&mut server, 1000, &request, Instant::ORIGIN, false), Err("new"));
    assert_eq!(serve(&mut server, 1000, &request, Instant::ORIGIN, false), Err("in progress"));
}

#[test]
fn an_abandoned_request_counts_as_new() {
    let mut server = Server::new(Port::Authentication, ServerSettings::default());
    let (request, secret) = (signed(1, 1, &[]), secret("first"));
    let received =
        server.handle(source(1000), &secret, Policy::Required, &request, Instant::ORIGIN);
    let Received::Request { ticket, .. } = received else { panic!("{received:?}") };
    server.abandon(&ticket);
    assert_eq!(serve(&mut server, 1000, &request, Instant::ORIGIN, true), Err("new"));
    assert!(serve(&mut server, 1000, &request, Instant::ORIGIN, true).is_ok());
}

#[test]
fn another_port_identifier_or_authenticator_is_another_request() {
    let mut server = Server::new(Port::Authentication, ServerSettings::default());
    let now = Instant::ORIGIN;
    assert_eq!(serve(&mut server, 1000, &signed(1, 1, &[]), now, true), Err("new"));
    assert_eq!(serve(&mut server, 1001, &signed(1, 1, &[]), now, true), Err("new"));
    assert_eq!(serve(&mut server, 1000, &signed(2, 1, &[]), now, true), Err("new"));
    assert_eq!(serve(&mut server, 1000, &signed(1, 2, &[]), now, true), Err("new"));
    // The client has moved on from the first under that identifier.
    assert!(serve(&mut server, 1000, &signed(1, 2, &[]), now, true).is_ok());
    assert_eq!(serve(&mut server, 1000, &signed(1, 1, &[]), now, true), Err("new"));
}

#[test]
fn when_memory_is_full_the_oldest_request_is_forgotten() {
    let settings = ServerSettings { remembered: 3, ..ServerSettings::default() };
    let mut server = Server::new(Port::Authentication, settings);
    let now = Instant::ORIGIN;
    for id in 1..=4 {
        assert_eq!(serve(&mut server, 1000, &signed(id, 1, &[]), now, true), Err("new"));
    }
    assert!(serve(&mut server, 1000, &signed(2, 1, &[]), now, true).is_ok());
    assert!(serve(&mut server, 1000, &signed(4, 1, &[]), now, true).is_ok());
    assert_eq!(serve(&mut server, 1000, &signed(1, 1, &[]), now, true), Err("new"));
}

#[test]
fn forgetting_a_request_does_not_forget_its_successor_under_the_same_identifier() {
    let settings = ServerSettings { remembered: 2, ..ServerSettings::default() };
    let mut server = Server::new(Port::Authentication, settings);
    let now = Instant::ORIGIN;
    for (id, authenticator) in [(1, 1), (1, 2), (2, 1)] {
        let request = signed(id, authenticator, &[]);
        assert_eq!(serve(&mut server, 1000, &request, now, true), Err("new"));
    }
    assert!(serve(&mut server, 1000, &signed(1, 2, &[]), now, true).is_ok());
}

#[test]
fn an_answer_to_a_forgotten_request_is_still_given() {
    let settings = ServerSettings { remembered: 1, ..ServerSettings::default() };
    let mut server = Server::new(Port::Authentication, settings);
    let (request, secret) = (signed(1, 1, &[]), secret("first"));
    let received =
        server.handle(source(1000), &secret, Policy::Required, &request, Instant::ORIGIN);
    let Received::Request { ticket, .. } = received else { panic!("{received:?}") };
    assert_eq!(serve(&mut server, 1000, &signed(2, 1, &[]), Instant::ORIGIN, false), Err("new"));
    let answer =
        server
            .respond(&ticket, &secret, Code::AccessReject, &mut Counted(1), |_| {
                Ok::<_, EncodeError>(())
            })
            .unwrap();
    let answer = Packet::decode(answer).unwrap();
    assert!(secret.verify_answer(&answer, &[1; 16]).is_ok());
}

/// RFC 2865 5.33.
#[test]
fn proxy_states_come_back_as_they_were_in_order() {
    let mut server = Server::new(Port::Authentication, ServerSettings::default());
    let kind = standard::PROXY_STATE;
    let request = signed(1, 1, &[(kind, b"b"), (standard::USER_NAME, b"x"), (kind, b"a")]);
    serve(&mut server, 1000, &request, Instant::ORIGIN, true).unwrap_err();
    let answer = serve(&mut server, 1000, &request, Instant::ORIGIN, true).unwrap();
    let answer = Packet::decode(&answer).unwrap();
    let states: Vec<_> = answer.find_all(kind).collect();
    assert_eq!(states, [b"b".as_slice(), b"a"]);
}

#[test]
fn an_answer_that_cannot_be_written_leaves_room_for_another() {
    let mut server = Server::new(Port::Authentication, ServerSettings::default());
    let (request, secret) = (signed(1, 1, &[]), secret("first"));
    let received =
        server.handle(source(1000), &secret, Policy::Required, &request, Instant::ORIGIN);
    let Received::Request { ticket, .. } = received else { panic!("{received:?}") };
    let mut entropy = Counted(1);
    let failed = server.respond(&ticket, &secret, Code::AccessAccept, &mut entropy, |packet| {
        packet.octets(standard::CLASS, &[0; 300])
    });
    assert!(failed.is_err());
    server
        .respond(&ticket, &secret, Code::AccessReject, &mut entropy, |_| Ok::<_, EncodeError>(()))
        .unwrap();
    let again = serve(&mut server, 1000, &request, Instant::ORIGIN, true).unwrap();
    assert_eq!(Packet::decode(&again).unwrap().code(), Code::AccessReject);
}

#[test]
fn an_answer_without_room_for_the_proxy_states_is_an_error() {
    let mut server = Server::new(Port::Authentication, ServerSettings::default());
    let (state, secret) = ([0; 253], secret("first"));
    let request = signed(1, 1, &[(standard::PROXY_STATE, &state[..]); 15]);
    let received =
        server.handle(source(1000), &secret, Policy::Required, &request, Instant::ORIGIN);
    let Received::Request { ticket, .. } = received else { panic!("{received:?}") };
    let mut entropy = Counted(1);
    let mut answer = |octets: usize| {
        let code = Code::AccessAccept;
        let fill = |packet: &mut Builder<'_>| packet.octets(standard::CLASS, &vec![0; octets]);
        server.respond(&ticket, &secret, code, &mut entropy, fill).map(<[u8]>::len)
    };
    let kind = standard::PROXY_STATE;
    assert_eq!(answer(232), Err(EncodeError::PacketTooLong { kind }));
    assert_eq!(answer(231), Ok(4096));
}
