//! Refusals: a precise reason for the operator, and nothing that helps a stranger.

use homeward_eap::reason::CertificateFault;
use homeward_eap::{Decoy, Denied, Method, Reason, Settings, TlsVersions};
use homeward_model::Mac;
use rustls::version::{TLS12, TLS13};

use crate::full::matrix;
use crate::peer::{self, LogsIn, Odd, Outcome, Peer, Within, tls};
use crate::world::{ALICE, Authority, World, after};

/// A log-in of every peer that has a password, in this world, after `change` was made to it.
fn outcomes(world: &World, change: impl Fn(&mut Peer)) -> Vec<(Peer, Outcome)> {
    let context = world.context(Settings::default());
    let peers = matrix(world).into_iter().filter(|peer| peer.1.is_some());
    peers
        .map(|(mut peer, ..)| {
            change(&mut peer);
            let outcome = peer.run(&context, world.origin(), &world.people, after(1));
            (peer, outcome)
        })
        .collect()
}

/// A name that nobody has, as long as Alice's.
fn nobody(peer: &mut Peer) {
    peer.identity = "nobod@example.org".to_owned();
}

/// What an onlooker sees, and what the peer hears.
fn shape(outcome: &Outcome) -> (Vec<usize>, Option<bool>) {
    (outcome.requests.clone(), outcome.heard)
}

#[test]
fn unknown_wrong_and_denied_look_the_same_to_the_peer() {
    let mut world = World::new();
    let wrong = outcomes(&world, |peer| peer.password = "wrong".to_owned());
    let unknown = outcomes(&world, nobody);
    world.people.alice().denied = Some(Denied::Suspended);
    let denied = outcomes(&world, |_| {});
    for (((peer, wrong), (_, unknown)), (_, denied)) in wrong.iter().zip(&unknown).zip(&denied) {
        assert_eq!(wrong.rejected().reason, Reason::WrongPassword);
        assert_eq!(unknown.rejected().reason, Reason::UnknownIdentity);
        assert_eq!(denied.rejected().reason, Reason::Denied(Denied::Suspended));
        assert_eq!(shape(wrong), shape(unknown), "{:?} {:?}", peer.method, peer.within);
        assert_eq!(shape(wrong), shape(denied), "{:?} {:?}", peer.method, peer.within);
        if peer.method == Method::Peap {
            assert_eq!(wrong.heard, Some(false), "told inside the tunnel");
        }
    }
}

#[test]
fn where_passwords_have_slow_hashes_unknown_names_look_the_same_too() {
    let mut world = World::new();
    world.people.decoy = Decoy::Caller;
    world.people.alice().slow = true;
    let wrong = outcomes(&world, |peer| peer.password = "wrong".to_owned());
    let unknown = outcomes(&world, nobody);
    for ((peer, wrong), (_, unknown)) in wrong.iter().zip(&unknown) {
        assert_eq!(shape(wrong), shape(unknown), "{:?} {:?}", peer.method, peer.within);
    }
}

#[test]
fn a_wrong_password_has_no_more_asked_than_a_name_that_nobody_has() {
    for slow in [false, true] {
        let mut world = World::new();
        world.people.decoy = if slow { Decoy::Caller } else { Decoy::NtHash };
        world.people.alice().slow = slow;
        let changes: [fn(&mut Peer); 2] = [nobody, |peer| peer.password = "wrong".to_owned()];
        for change in changes {
            let outcomes = outcomes(&world, change);
            let asked = std::mem::take(&mut *world.people.asked.borrow_mut());
            assert_eq!(asked, vec![["find", "decoy"]; outcomes.len()].concat(), "{slow}");
        }
    }
}

#[test]
fn a_credential_bound_to_a_device_is_good_for_that_one_only() {
    for (mac, station, result) in [
        (Some(crate::world::STATION), Some(crate::world::STATION), Ok(())),
        (
            Some(Mac::new([2, 0, 0, 0, 0, 9])),
            Some(crate::world::STATION),
            Err(Denied::WrongStation),
        ),
        (Some(crate::world::STATION), None, Err(Denied::NoStation)),
        (None, None, Ok(())),
    ] {
        let mut world = World::new();
        world.people.alice().mac = mac;
        let context = world.context(Settings::default());
        let mut origin = world.origin();
        origin.station = station;
        for (peer, ..) in matrix(&world) {
            world.sessions.forget(|_| true);
            let outcome = peer.run(&context, origin, &world.people, after(1));
            let told = outcome.result.map(drop).map_err(|rejected| rejected.reason);
            assert_eq!(told, result.map_err(Reason::Denied));
        }
    }
}

#[test]
fn a_certificate_is_refused_with_what_is_wrong_with_it() {
    let world = World::new();
    let context = world.context(Settings::default());
    let stranger = Authority::new("Another CA");
    for version in [&TLS12, &TLS13] {
        for (client, reason) in [
            (
                Some(world.authority.client(ALICE, 2020, 2025)),
                Reason::Certificate(CertificateFault::Expired),
            ),
            (
                Some(world.authority.client(ALICE, 2030, 2040)),
                Reason::Certificate(CertificateFault::NotYet),
            ),
            (
                Some(stranger.client(ALICE, 2020, 2040)),
                Reason::Certificate(CertificateFault::UnknownIssuer),
            ),
            (Some(world.authority.server()), Reason::Certificate(CertificateFault::Purpose)),
            (Some(world.authority.client("bob@example.org", 2020, 2040)), Reason::UnknownIdentity),
            (None, Reason::NoCertificate),
        ] {
            let tls = tls(&world.authority, client.as_ref(), &[version]);
            let peer = peer::peer(Method::Tls, Within::Nothing, tls);
            let outcome = peer.run(&context, world.origin(), &world.people, after(1));
            assert_eq!(outcome.rejected().reason, reason, "{version:?}");
            assert_eq!(outcome.heard, None);
        }
    }
    assert!(world.sessions.is_empty());
}

#[test]
fn a_device_that_does_not_trust_our_certificate_says_so() {
    let world = World::new();
    let context = world.context(Settings::default());
    let stranger = Authority::new("Another CA");
    for version in [&TLS12, &TLS13] {
        let peer = peer::peer(Method::Ttls, Within::Pap, tls(&stranger, None, &[version]));
        let outcome = peer.run(&context, world.origin(), &world.people, after(1));
        let reason = &outcome.rejected().reason;
        assert!(
            matches!(reason, Reason::Alert { code: 48, .. })
                && reason.to_string().contains("install the CA"),
            "{reason}"
        );
    }
}

#[test]
fn a_device_without_a_version_in_common_is_told_apart() {
    let world = World::new();
    for (ours, theirs) in [(TlsVersions::Tls13, &TLS12), (TlsVersions::Tls12, &TLS13)] {
        let context = world.context(Settings { tls: ours, ..Settings::default() });
        let peer = peer::peer(Method::Ttls, Within::Pap, tls(&world.authority, None, &[theirs]));
        let outcome = peer.run(&context, world.origin(), &world.people, after(1));
        assert_eq!(outcome.rejected().reason, Reason::OldTls);
    }
}

#[test]
fn a_peer_that_does_not_believe_our_proof_is_not_let_in() {
    for (peer, outcome) in outcomes(&World::new(), |peer| peer.believes = false) {
        match peer.within {
            Within::MsChapV2 | Within::EapMsChapV2 => {
                assert_eq!(outcome.rejected().reason, Reason::PeerRefused);
            }
            _ => drop(outcome.accepted()),
        }
    }
}

#[test]
fn an_mschapv2_response_to_a_challenge_that_is_not_the_tunnels_is_refused() {
    let world = World::new();
    for odd in [Odd::ForeignChallenge, Odd::ForeignIdentifier] {
        for (peer, outcome) in outcomes(&world, |peer| peer.odd = odd) {
            if peer.within == Within::MsChapV2 {
                assert_eq!(outcome.rejected().reason, Reason::ForeignChallenge);
            }
        }
    }
}

#[test]
fn a_peer_that_answers_our_yes_with_a_no_is_not_let_in() {
    let world = World::new();
    let peers = outcomes(&world, |peer| peer.odd = Odd::RefusesResult);
    for (peer, outcome) in peers.into_iter().filter(|peer| peer.0.method == Method::Peap) {
        assert_eq!(outcome.rejected().reason, Reason::PeerRefused);
        // A resumed session's result is confirmed, too.
        let context = world.context(Settings::default());
        let sound = Peer { odd: Odd::Nothing, ..peer.clone() };
        sound.run(&context, world.origin(), &world.people, after(2)).accepted();
        let outcome = peer.run(&context, world.origin(), &world.people, after(3));
        assert!(outcome.rejected().resumed);
        assert_eq!(outcome.rejected().reason, Reason::PeerRefused);
    }
}

#[test]
fn a_flood_inside_the_tunnel_is_refused() {
    for (_, outcome) in outcomes(&World::new(), |peer| peer.odd = Odd::Floods) {
        assert_eq!(outcome.rejected().reason.label(), "inner_protocol");
        assert_eq!(outcome.rejected().reason, Reason::Inner("it is too long"));
    }
}

#[test]
fn an_inner_method_that_is_not_served_is_refused() {
    for (peer, outcome) in outcomes(&World::new(), |peer| peer.within = Within::Chap) {
        let label = outcome.rejected().reason.label();
        assert_eq!(label, "no_common_inner_method", "{:?}", peer.method);
    }
}
