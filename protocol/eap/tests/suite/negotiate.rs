//! Which method: proposed, refused, agreed upon.

use homeward_eap::packet::{self, Packet, kind};
use homeward_eap::{Conversation, Ignored, InnerMethod, Method, Reason, Settings, Step};

use crate::full::matrix;
use crate::peer::{self, LogsIn, Within, tls};
use crate::world::{Counted, World, after};

#[test]
fn what_the_credential_has_is_proposed_and_spares_a_nak() {
    let mut world = World::new();
    let context = world.context(Settings::default());
    for (peer, ..) in matrix(&world) {
        world.people.proposed = None;
        let asked = peer.run(&context, world.origin(), &world.people, after(1));
        world.sessions.forget(|_| true);
        world.people.proposed = Some(peer.method);
        let proposed = peer.run(&context, world.origin(), &world.people, after(1));
        let spared = usize::from(peer.method != Method::Ttls);
        assert_eq!(asked.requests.len(), proposed.requests.len() + spared);
        world.sessions.forget(|_| true);
    }
}

#[test]
fn an_inner_method_is_agreed_upon_too() {
    let world = World::new();
    let context = world.context(Settings {
        inner: vec![InnerMethod::EapGtc, InnerMethod::EapMsChapV2],
        ..Settings::default()
    });
    for method in [Method::Ttls, Method::Peap] {
        let tls = tls(&world.authority, None, &[&rustls::version::TLS13]);
        let peer = peer::peer(method, Within::EapMsChapV2, tls);
        let outcome = peer.run(&context, world.origin(), &world.people, after(1));
        assert_eq!(outcome.accepted().inner, Some(InnerMethod::EapMsChapV2));
    }
}

/// A conversation that has proposed EAP-TTLS, with the identifier of that request.
fn proposed(world: &World) -> (Conversation<String>, u8) {
    let context = world.context(Settings::default());
    let mut conversation = Conversation::new(&context, world.origin(), after(0));
    let identity = packet::response(9, kind::IDENTITY, b"@example.org");
    let step = conversation.handle(&identity, &world.people, after(0), &mut Counted(1));
    let Step::Challenge(request) = step else { panic!("{step:?}") };
    let packet = Packet::decode(&request).unwrap();
    assert_eq!((packet.identifier, packet.kind, packet.data), (10, kind::TTLS, &[0x20][..]));
    (conversation, 10)
}

#[test]
fn a_nak_gets_the_best_of_what_both_have_and_no_method_twice() {
    let world = World::new();
    let (mut conversation, id) = proposed(&world);
    // The server's order counts: PEAP before EAP-TLS; EAP-TTLS was refused already.
    let nak = packet::response(id, kind::NAK, &[4, kind::TLS, kind::TTLS, kind::PEAP]);
    let step = conversation.handle(&nak, &world.people, after(0), &mut Counted(1));
    assert!(matches!(step, Step::Challenge(request) if request[4] == kind::PEAP));
    let expanded = [&[0, 0, 0, 0, 0, 0, 3][..], &[254, 0, 0, 0, 0, 0, 0, kind::TLS]].concat();
    let nak = packet::response(id + 1, kind::EXPANDED, &expanded);
    let step = conversation.handle(&nak, &world.people, after(0), &mut Counted(1));
    assert!(matches!(step, Step::Challenge(request) if request[4] == kind::TLS));
    let nak = packet::response(id + 2, kind::NAK, &[4, kind::PEAP]);
    let step = conversation.handle(&nak, &world.people, after(0), &mut Counted(1));
    let Step::Reject(rejected) = step else { panic!("{step:?}") };
    assert_eq!(rejected.reason, Reason::NoCommonMethod { wanted: vec![4, kind::PEAP] });
    assert_eq!(rejected.packet, packet::failure(id + 2));
}

#[test]
fn a_nak_comes_too_late_once_the_method_has_begun() {
    let world = World::new();
    let (mut conversation, id) = proposed(&world);
    let begun = packet::response(id, kind::TTLS, &[0x40, 0x16]);
    let step = conversation.handle(&begun, &world.people, after(0), &mut Counted(1));
    assert!(matches!(step, Step::Challenge(_)), "{step:?}");
    let nak = packet::response(id + 1, kind::NAK, &[kind::PEAP]);
    let step = conversation.handle(&nak, &world.people, after(0), &mut Counted(1));
    assert!(matches!(step, Step::Ignore(Ignored::Type(kind::NAK))), "{step:?}");
}

#[test]
fn packets_that_answer_nothing_are_ignored() {
    let world = World::new();
    let (mut conversation, id) = proposed(&world);
    let mut ignored = |octets: &[u8]| {
        let step = conversation.handle(octets, &world.people, after(0), &mut Counted(1));
        let Step::Ignore(why) = step else { panic!("{step:?}") };
        why
    };
    assert!(matches!(ignored(&[2, id, 0]), Ignored::Malformed(_)));
    assert_eq!(ignored(&packet::request(id, kind::TTLS, &[0])), Ignored::NotAResponse);
    assert_eq!(
        ignored(&packet::response(id + 5, kind::TTLS, &[0])),
        Ignored::Identifier { has: id + 5, due: id }
    );
    assert_eq!(ignored(&packet::response(id, kind::PEAP, &[0])), Ignored::Type(kind::PEAP));
}

#[test]
fn a_nas_that_has_not_asked_for_the_identity_has_it_asked() {
    let world = World::new();
    let context = world.context(Settings::default());
    let mut conversation = Conversation::<String>::new(&context, world.origin(), after(0));
    let request = conversation.ask_identity(&mut Counted(1));
    let id = Packet::decode(&request).unwrap().identifier;
    let mut step = |id: u8| {
        let identity = packet::response(id, kind::IDENTITY, b"alice@EXAMPLE.org");
        conversation.handle(&identity, &world.people, after(0), &mut Counted(1))
    };
    assert!(matches!(step(id.wrapping_add(1)), Step::Ignore(Ignored::Identifier { .. })));
    assert!(matches!(step(id), Step::Challenge(_)));
    assert_eq!(conversation.outer().realm().as_deref(), Some("example.org"));
}

#[test]
fn a_malformed_identity_is_refused() {
    let world = World::new();
    let context = world.context(Settings::default());
    let mut conversation = Conversation::<String>::new(&context, world.origin(), after(0));
    let identity = packet::response(3, kind::IDENTITY, &[b'a'; 300]);
    let step = conversation.handle(&identity, &world.people, after(0), &mut Counted(1));
    let Step::Reject(rejected) = step else { panic!("{step:?}") };
    assert_eq!(rejected.reason.label(), "malformed_identity");
}
