//! Resumed sessions: only after the method within succeeded (CVE-2017-9148), and never past what
//! the directory says now.

use std::sync::Arc;
use std::time::Duration;

use homeward_eap::{Denied, Method, Reason, SessionSettings, Sessions, Settings, TlsVersion};
use homeward_model::{Mac, UnixTime};

use crate::full::matrix;
use crate::peer::{self, LogsIn, tls};
use crate::world::{ALICE, User, World, after};

/// The figure of a certificate that has expired by the second log-in.
const A_YEAR_LATER: UnixTime = UnixTime(crate::world::WALL.0 + 366 * 86_400_000);

#[test]
fn every_method_resumes_over_both_versions_of_tls_again_and_again() {
    let world = World::new();
    let context = world.context(Settings::default());
    for (peer, inner, version) in matrix(&world) {
        let full = peer.run(&context, world.origin(), &world.people, after(1));
        assert!(!full.accepted().resumed);
        for round in 0..3 {
            world.people.attempts.borrow_mut().clear();
            let outcome = peer.run(&context, world.origin(), &world.people, after(2 + round));
            let accepted = outcome.accepted();
            assert!(accepted.resumed, "{:?} {inner:?} {version:?} {round}", peer.method);
            assert_eq!((accepted.inner, accepted.tls), (inner, version));
            assert_eq!(accepted.identity.as_str(), ALICE);
            assert_eq!(accepted.msk.expose(), &outcome.msk.unwrap());
            assert_ne!(accepted.msk, full.accepted().msk);
            let attempts = world.people.attempts.borrow();
            assert!(attempts.len() == 1 && attempts[0].resumed, "authorised anew");
            // RFC 9190 2.1.2 and RFC 9427: the yes is protected.
            let protected = peer.method == Method::Peap || version == TlsVersion::Tls13;
            assert_eq!(outcome.heard, protected.then_some(true));
            let octets = |requests: &[usize]| requests.iter().sum::<usize>();
            assert!(octets(&outcome.requests) < octets(&full.requests), "no certificate is sent");
        }
    }
}

#[test]
fn nothing_can_be_resumed_before_the_method_within_succeeded() {
    let world = World::new();
    let context = world.context(Settings::default());
    for (good, inner, version) in matrix(&world).into_iter().filter(|p| p.1.is_some()) {
        let mut bad = good.clone();
        bad.password = "wrong".to_owned();
        let outcome = bad.run(&context, world.origin(), &world.people, after(1));
        assert_eq!(outcome.rejected().reason, Reason::WrongPassword);
        assert!(world.sessions.is_empty(), "{inner:?} {version:?}");
        // The peer has TLS's session, offers it, and has to prove itself all the same.
        let outcome = bad.run(&context, world.origin(), &world.people, after(2));
        assert_eq!(outcome.rejected().reason, Reason::WrongPassword);
        assert!(!outcome.rejected().resumed);
        let outcome = good.run(&context, world.origin(), &world.people, after(3));
        assert!(!outcome.accepted().resumed);
        world.sessions.forget(|_| true);
    }
}

#[test]
fn nothing_is_left_by_a_conversation_that_was_broken_off() {
    let world = World::new();
    let context = world.context(Settings { max_rounds: 3, ..Settings::default() });
    for (mut peer, ..) in matrix(&world) {
        peer.fragment = 100;
        let outcome = peer.run(&context, world.origin(), &world.people, after(1));
        assert_eq!(outcome.rejected().reason, Reason::TooManyRounds(3));
    }
    assert!(world.sessions.is_empty());
}

/// A change between two log-ins, and what the second comes to.
type Change = (fn(&mut User), Reason);

#[test]
fn who_resumes_is_authorised_by_what_the_directory_says_now() {
    let changes: [Change; 4] = [
        (|user| user.denied = Some(Denied::Suspended), Reason::Denied(Denied::Suspended)),
        (|user| user.denied = Some(Denied::Expired), Reason::Denied(Denied::Expired)),
        (
            |user| user.mac = Some(Mac::new([2, 9, 9, 9, 9, 9])),
            Reason::Denied(Denied::WrongStation),
        ),
        (|user| user.stamp += 1, Reason::CredentialChanged),
    ];
    for (change, reason) in changes {
        let mut world = World::new();
        let context = world.context(Settings::default());
        for (peer, inner, version) in matrix(&world) {
            *world.people.alice() = User::default();
            peer.run(&context, world.origin(), &world.people, after(1)).accepted();
            change(world.people.alice());
            let outcome = peer.run(&context, world.origin(), &world.people, after(2));
            let rejected = outcome.rejected();
            assert_eq!(rejected.reason, reason, "{:?} {inner:?} {version:?}", peer.method);
            assert!(rejected.resumed);
            assert_eq!(rejected.identity.as_ref().unwrap().as_str(), ALICE);
            assert_ne!(outcome.heard, Some(true));
            assert!(world.sessions.is_empty(), "the session is gone");
        }
    }
}

#[test]
fn an_identity_that_is_gone_resumes_nothing() {
    let mut world = World::new();
    let context = world.context(Settings::default());
    for (peer, ..) in matrix(&world) {
        world.people.users.insert(ALICE.to_owned(), User::default());
        peer.run(&context, world.origin(), &world.people, after(1)).accepted();
        world.people.users.clear();
        let outcome = peer.run(&context, world.origin(), &world.people, after(2));
        assert_eq!(outcome.rejected().reason, Reason::UnknownIdentity);
    }
}

#[test]
fn a_certificate_that_expired_since_resumes_nothing() {
    let world = World::new();
    let context = world.context(Settings::default());
    let client = world.authority.client(ALICE, 2020, 2027);
    for (offered, _) in crate::full::VERSIONS {
        let tls = tls(&world.authority, Some(&client), &[offered]);
        let peer = peer::peer(Method::Tls, crate::peer::Within::Nothing, tls);
        peer.run(&context, world.origin(), &world.people, after(1)).accepted();
        let mut origin = world.origin();
        origin.wall = A_YEAR_LATER;
        let outcome = peer.run(&context, origin, &world.people, after(2));
        assert!(outcome.rejected().resumed);
        assert_eq!(
            outcome.rejected().reason.to_string(),
            "the peer's certificate does not pass: it has expired"
        );
    }
}

#[test]
fn a_session_lives_as_long_as_was_set_however_often_it_is_resumed() {
    let mut world = World::new();
    world.sessions = Arc::new(Sessions::new(SessionSettings {
        lifetime: Duration::from_secs(100),
        ..SessionSettings::default()
    }));
    let context = world.context(Settings::default());
    for (peer, ..) in matrix(&world) {
        let resumed = |at| {
            let outcome = peer.run(&context, world.origin(), &world.people, after(at));
            outcome.accepted().resumed
        };
        assert_eq!([1, 50, 100, 101].map(resumed), [false, true, true, false]);
    }
}

#[test]
fn a_session_of_one_method_is_none_of_another() {
    let world = World::new();
    let context = world.context(Settings::default());
    for (mut peer, _, version) in matrix(&world).into_iter().filter(|p| p.0.method == Method::Peap)
    {
        peer.run(&context, world.origin(), &world.people, after(1)).accepted();
        assert_eq!(world.sessions.len(), 1);
        peer.method = Method::Ttls;
        let outcome = peer.run(&context, world.origin(), &world.people, after(2));
        assert!(!outcome.accepted().resumed, "{version:?}");
        world.sessions.forget(|_| true);
    }
}

#[test]
fn a_new_context_resumes_the_sessions_of_the_old_one() {
    let world = World::new();
    let (first, second) = (world.context(Settings::default()), world.context(Settings::default()));
    for (peer, ..) in matrix(&world) {
        peer.run(&first, world.origin(), &world.people, after(1)).accepted();
        let outcome = peer.run(&second, world.origin(), &world.people, after(2));
        assert!(outcome.accepted().resumed);
    }
}

#[test]
fn without_room_for_sessions_every_log_in_is_a_full_one() {
    let mut world = World::new();
    world.sessions =
        Arc::new(Sessions::new(SessionSettings { capacity: 0, ..SessionSettings::default() }));
    let context = world.context(Settings::default());
    for (peer, ..) in matrix(&world) {
        for at in 1..3 {
            let outcome = peer.run(&context, world.origin(), &world.people, after(at));
            assert!(!outcome.accepted().resumed);
        }
    }
}
