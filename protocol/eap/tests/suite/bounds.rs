//! Bounds: fragments, rounds, time, repetitions.

use homeward_eap::fragment::FragmentError;
use homeward_eap::packet::{self, kind};
use homeward_eap::reason::Stage;
use homeward_eap::{Conversation, Ignored, InnerMethod, Method, Reason, Rejected, Settings, Step};

use crate::full::matrix;

use crate::peer::LogsIn;
use crate::world::{Counted, World, after};

/// A conversation within EAP-TTLS.
struct Begun {
    world: World,
    conversation: Conversation<String>,
    id: u8,
}

impl Begun {
    fn new(settings: Settings) -> Self {
        let world = World::new();
        let context = world.context(settings);
        let conversation = Conversation::new(&context, world.origin(), after(0));
        let mut begun = Self { world, conversation, id: 0 };
        assert!(matches!(begun.say(kind::IDENTITY, b"@example.org"), Step::Challenge(_)));
        begun
    }

    fn say(&mut self, kind: u8, data: &[u8]) -> Step<String> {
        self.say_at(kind, data, 0)
    }

    fn say_at(&mut self, kind: u8, data: &[u8], seconds: u64) -> Step<String> {
        let response = packet::response(self.id, kind, data);
        let people = &self.world.people;
        let step = self.conversation.handle(&response, people, after(seconds), &mut Counted(1));
        if matches!(step, Step::Challenge(_)) {
            self.id = self.id.wrapping_add(1);
        }
        step
    }

    fn refused(&mut self, data: &[u8]) -> Rejected {
        match self.say(kind::TTLS, data) {
            Step::Reject(rejected) => *rejected,
            step => panic!("{step:?}"),
        }
    }
}

#[test]
fn fragments_that_do_not_add_up_are_refused() {
    let limit = Settings::default().max_message;
    for (data, error) in [
        (&[0x80, 0, 0][..], FragmentError::Short),
        (&[0xc0, 0, 1, 0, 1, 9], FragmentError::TooLong { limit }),
        (&[0x80, 0, 0, 0, 9, 1], FragmentError::Length { announced: 9, sent: 1 }),
        (&[0xc0, 0, 0, 0, 9], FragmentError::Empty),
    ] {
        let rejected = Begun::new(Settings::default()).refused(data);
        assert_eq!(rejected.reason, Reason::Fragment(error), "{data:?}");
        assert_eq!(rejected.packet, packet::failure(1));
    }
}

#[test]
fn a_peer_that_never_ends_its_message_is_refused_at_the_limit() {
    let settings = Settings { max_message: 3000, ..Settings::default() };
    let mut begun = Begun::new(settings);
    let fragment = [&[0x40][..], &[0x16; 1000]].concat();
    for _ in 0..3 {
        assert!(
            matches!(begun.say(kind::TTLS, &fragment), Step::Challenge(ack) if ack[5..] == [0])
        );
    }
    let reason = begun.refused(&fragment).reason;
    assert_eq!(reason, Reason::Fragment(FragmentError::TooLong { limit: 3000 }));
}

#[test]
fn rounds_are_counted() {
    let mut begun = Begun::new(Settings { max_rounds: 10, ..Settings::default() });
    for _ in 1..10 {
        assert!(matches!(begun.say(kind::TTLS, &[0x40, 0x16]), Step::Challenge(_)));
    }
    let rejected = begun.refused(&[0x40, 0x16]);
    assert_eq!((rejected.reason, rejected.rounds), (Reason::TooManyRounds(10), 10));
}

#[test]
fn a_conversation_ends_at_its_time_with_or_without_the_peer() {
    let mut begun = Begun::new(Settings::default());
    assert_eq!(begun.conversation.poll_timeout(), Some(after(60)));
    assert!(begun.conversation.handle_timeout(after(59)).is_none());
    let Step::Reject(rejected) = begun.say_at(kind::TTLS, &[0], 60) else { panic!() };
    let reason = Reason::TimedOut { seconds: 60, stage: Stage::Method };
    assert_eq!((&rejected.reason, &rejected.packet), (&reason, &packet::failure(1)));
    assert_eq!(begun.conversation.poll_timeout(), None);
    assert!(matches!(begun.say(kind::TTLS, &[0]), Step::Ignore(Ignored::Over)));

    let mut begun = Begun::new(Settings::default());
    let hello = client_hello(&begun.world);
    begun.say(kind::TTLS, &[&[0][..], &hello].concat());
    let rejected = begun.conversation.handle_timeout(after(60)).unwrap();
    assert!(rejected.reason.to_string().contains("may not trust our certificate"));
    assert!(begun.conversation.handle_timeout(after(61)).is_none());
}

#[test]
fn a_peer_that_falls_silent_at_our_refusal_is_recorded_with_its_reason() {
    let mut begun = Begun::new(Settings::default());
    assert_eq!(begun.conversation.refusal(), None);
    begun.say(kind::TTLS, &[&[0][..], &old_hello()].concat());
    assert_eq!(begun.conversation.refusal(), Some(&Reason::OldTls));
    let rejected = begun.conversation.handle_timeout(after(60)).unwrap();
    assert_eq!(rejected.reason, Reason::OldTls);

    // A wrong password, told inside the tunnel: the last response of each is never sent.
    let world = World::new();
    let context = world.context(Settings::default());
    for (mut peer, inner, _) in matrix(&world) {
        if inner != Some(InnerMethod::EapMsChapV2) {
            continue;
        }
        peer.password = "wrong".to_owned();
        let rounds = peer.run(&context, world.origin(), &world.people, after(0)).requests.len();
        for silent_after in [rounds, rounds - 1] {
            let mut conversation =
                peer.run_until(&context, world.origin(), &world.people, silent_after);
            let told = silent_after == rounds || peer.method == Method::Peap;
            let reason = told.then_some(&Reason::WrongPassword);
            assert_eq!(conversation.refusal(), reason, "{:?} {silent_after}", peer.method);
            let rejected = conversation.handle_timeout(after(60)).unwrap();
            let expected =
                reason.cloned().unwrap_or(Reason::TimedOut { seconds: 60, stage: Stage::Inner });
            assert_eq!(rejected.reason, expected);
        }
    }
}

#[test]
fn a_response_is_answered_again_so_often_and_no_more() {
    let mut begun = Begun::new(Settings { max_rounds: 5, ..Settings::default() });
    for _ in 0..5 {
        begun.id = 0;
        let step = begun.say(kind::IDENTITY, b"@example.org");
        assert!(matches!(&step, Step::Challenge(request) if request[1] == 1), "{step:?}");
    }
    begun.id = 0;
    let step = begun.say(kind::IDENTITY, b"@example.org");
    assert!(matches!(step, Step::Ignore(Ignored::Repeated)), "{step:?}");
    begun.id = 1;
    let step = begun.say(kind::TTLS, &[0x40, 0x16]);
    assert!(matches!(step, Step::Challenge(_)), "the conversation goes on: {step:?}");
}

#[test]
fn octets_that_are_no_tls_get_an_alert_and_then_a_failure() {
    let mut begun = Begun::new(Settings::default());
    let step = begun.say(kind::TTLS, &[&[0][..], b"GET / HTTP/1.1\r\n\r\n"].concat());
    // A TLS alert record: type 21.
    assert!(matches!(&step, Step::Challenge(request) if request[6] == 21), "{step:?}");
    let rejected = begun.refused(&[0]);
    assert_eq!(rejected.reason.label(), "tls_handshake");
}

#[test]
fn a_client_of_tls_1_0_only_is_told_from_other_failures() {
    let mut begun = Begun::new(Settings::default());
    let step = begun.say(kind::TTLS, &[&[0][..], &old_hello()].concat());
    assert!(matches!(&step, Step::Challenge(r) if r[6] == 21), "{step:?}");
    assert_eq!(begun.refused(&[0]).reason, Reason::OldTls);
}

#[test]
fn a_peer_that_sends_data_before_it_has_all_of_ours_is_refused() {
    let mut begun = Begun::new(Settings { fragment: 200, ..Settings::default() });
    let hello = client_hello(&begun.world);
    let step = begun.say(kind::TTLS, &[&[0][..], &hello].concat());
    // L and M: the first of several.
    assert!(matches!(&step, Step::Challenge(r) if r.len() == 200 && r[5] == 0xc0), "{step:?}");
    let reason = begun.refused(&[0, 0x16]).reason;
    assert_eq!(reason, Reason::Fragment(FragmentError::OutOfTurn));
}

/// The first message of a client of TLS 1.0.
fn old_hello() -> Vec<u8> {
    // ClientHello: version 3.1, no session, TLS_RSA_WITH_AES_128_CBC_SHA and an ECDHE suite,
    // no compression, groups, point formats.
    let body = [
        &[3, 1][..],
        &[7; 32],
        &[0, 0, 4, 0xc0, 0x13, 0, 0x2f, 1, 0],
        &[0, 14, 0, 10, 0, 4, 0, 2, 0, 23, 0, 11, 0, 2, 1, 0],
    ]
    .concat();
    let length = u8::try_from(body.len()).unwrap();
    [&[22, 3, 1, 0, length + 4, 1, 0, 0, length][..], &body].concat()
}

/// The first message of a TLS client.
fn client_hello(world: &World) -> Vec<u8> {
    let tls = crate::peer::tls(&world.authority, None, &[&rustls::version::TLS13]);
    let name = "radius.example.org".try_into().unwrap();
    let mut client = rustls::ClientConnection::new(tls, name).unwrap();
    let mut hello = Vec::new();
    client.write_tls(&mut hello).unwrap();
    hello
}

#[test]
fn conversations_can_be_sent_between_threads() {
    fn sendable<T: Send>() {}
    sendable::<Conversation<String>>();
    sendable::<Step<String>>();
}
