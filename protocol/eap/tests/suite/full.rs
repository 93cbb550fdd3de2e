//! Full authentications: every method, both versions of TLS, several fragment sizes; the keys
//! on either side are the same.

use homeward_eap::{CryptoBinding, InnerMethod, Method, Settings, TlsVersion};
use rustls::version::{TLS12, TLS13};

use crate::peer::{self, Binding, LogsIn, Peer, Within, tls};
use crate::world::{ALICE, World, after};

/// Every method, with what is within, as the server should tell it.
pub(crate) const METHODS: [(Method, Within, Option<InnerMethod>); 7] = [
    (Method::Tls, Within::Nothing, None),
    (Method::Ttls, Within::Pap, Some(InnerMethod::Pap)),
    (Method::Ttls, Within::MsChapV2, Some(InnerMethod::MsChapV2)),
    (Method::Ttls, Within::EapMsChapV2, Some(InnerMethod::EapMsChapV2)),
    (Method::Ttls, Within::EapGtc, Some(InnerMethod::EapGtc)),
    (Method::Peap, Within::EapMsChapV2, Some(InnerMethod::EapMsChapV2)),
    (Method::Peap, Within::EapGtc, Some(InnerMethod::EapGtc)),
];

pub(crate) const VERSIONS: [(&rustls::SupportedProtocolVersion, TlsVersion); 2] =
    [(&TLS12, TlsVersion::Tls12), (&TLS13, TlsVersion::Tls13)];

/// A peer of each method and version, with all that it needs.
pub(crate) fn matrix(world: &World) -> Vec<(Peer, Option<InnerMethod>, TlsVersion)> {
    let client = world.authority.client(ALICE, 2020, 2040);
    METHODS
        .iter()
        .flat_map(|&(method, within, inner)| {
            VERSIONS
                .iter()
                .map(move |&(offered, version)| (method, within, inner, offered, version))
        })
        .map(|(method, within, inner, offered, version)| {
            let certificate = (method == Method::Tls).then_some(&client);
            let tls = tls(&world.authority, certificate, &[offered]);
            (peer::peer(method, within, tls), inner, version)
        })
        .collect()
}

#[test]
fn every_method_lets_in_over_both_versions_of_tls_whatever_the_fragments() {
    let world = World::new();
    for ours in [128, 500, 1024, 3000] {
        let context = world.context(Settings { fragment: ours, ..Settings::default() });
        for theirs in [100, 600, 4000] {
            for (mut peer, inner, version) in matrix(&world) {
                peer.fragment = theirs;
                let outcome = peer.run(&context, world.origin(), &world.people, after(1));
                let accepted = outcome.accepted();
                let told = (accepted.method, accepted.inner, accepted.tls, accepted.resumed);
                assert_eq!(told, (peer.method, inner, version, false));
                assert_eq!(accepted.identity.as_str(), ALICE);
                assert_eq!(accepted.outer.as_str(), "anonymous@example.org");
                assert_eq!(accepted.subject, ALICE);
                assert_eq!(accepted.msk.expose(), &outcome.msk.unwrap(), "{told:?}");
                assert!(outcome.requests.iter().all(|length| *length <= ours.min(1396)));
                assert_eq!(accepted.bound, peer.method == Method::Peap);
            }
        }
    }
}

#[test]
fn the_framed_mtu_of_the_nas_lowers_what_is_sent() {
    let world = World::new();
    let context = world.context(Settings::default());
    let (peer, ..) = matrix(&world).remove(2);
    let mut origin = world.origin();
    origin.framed_mtu = Some(400);
    let outcome = peer.run(&context, origin, &world.people, after(1));
    outcome.accepted();
    assert_eq!(outcome.requests.iter().max(), Some(&396), "4 octets are EAPOL's");
}

#[test]
fn a_yes_over_tls_1_3_is_protected_where_nothing_else_is_said() {
    let world = World::new();
    let context = world.context(Settings::default());
    for (peer, inner, version) in matrix(&world) {
        let outcome = peer.run(&context, world.origin(), &world.people, after(1));
        let heard = match (peer.method, version) {
            (Method::Tls, TlsVersion::Tls13) | (Method::Peap, _) => Some(true),
            _ => None,
        };
        assert_eq!(outcome.heard, heard, "{:?} {inner:?} {version:?}", peer.method);
    }
}

#[test]
fn a_peer_that_says_its_password_along_with_its_finished_is_let_in() {
    let world = World::new();
    let context = world.context(Settings::default());
    for (mut peer, ..) in matrix(&world) {
        peer.eager = true;
        peer.run(&context, world.origin(), &world.people, after(1)).accepted();
    }
}

#[test]
fn a_response_that_is_repeated_gets_the_same_request_again() {
    let world = World::new();
    let context = world.context(Settings { fragment: 300, ..Settings::default() });
    for (mut peer, ..) in matrix(&world) {
        peer.repeats = true;
        peer.run(&context, world.origin(), &world.people, after(1)).accepted();
    }
}

#[test]
fn a_response_that_is_repeated_while_its_password_is_checked_is_ignored() {
    let mut world = World::new();
    world.people.alice().slow = true;
    let context = world.context(Settings::default());
    for (mut peer, inner, _) in matrix(&world) {
        if matches!(inner, Some(InnerMethod::Pap | InnerMethod::EapGtc)) {
            peer.repeats = true;
            peer.run(&context, world.origin(), &world.people, after(1)).accepted();
        }
    }
}

#[test]
fn neither_names_nor_keys_are_printed() {
    let world = World::new();
    let context = world.context(Settings::default());
    for (mut peer, ..) in matrix(&world) {
        let good = peer.run(&context, world.origin(), &world.people, after(1));
        world.sessions.forget(|_| true);
        peer.password = "wrong".to_owned();
        peer.outer = ALICE.to_owned();
        let bad = peer.run(&context, world.origin(), &world.people, after(1));
        let conversation = peer.run_until(&context, world.origin(), &world.people, 2);
        world.sessions.forget(|_| true);
        let shown = format!("{:?} {:?} {conversation:?} {context:?}", good.result, bad.result);
        let key = format!("{:?}", &good.msk.unwrap()[..4]);
        let key = key.trim_matches(['[', ']']);
        assert!(!shown.contains("alice") && !shown.contains(key), "{shown}");
    }
}

#[test]
fn a_password_with_a_slow_hash_is_checked_by_the_caller() {
    let mut world = World::new();
    world.people.alice().slow = true;
    let context = world.context(Settings::default());
    for (peer, inner, _) in matrix(&world) {
        let outcome = peer.run(&context, world.origin(), &world.people, after(1));
        match inner {
            None | Some(InnerMethod::Pap | InnerMethod::EapGtc) => {
                let accepted = outcome.accepted();
                assert_eq!(accepted.msk.expose(), &outcome.msk.unwrap());
            }
            Some(InnerMethod::MsChapV2) => {
                assert_eq!(outcome.rejected().reason.label(), "wrong_credential_kind");
            }
            Some(InnerMethod::EapMsChapV2) => {
                assert_eq!(outcome.rejected().reason.label(), "no_common_inner_method");
            }
        }
    }
}

#[test]
fn crypto_binding_is_confirmed_missing_or_forged() {
    let world = World::new();
    for (setting, behaviour, result) in [
        (CryptoBinding::Off, Binding::Answered, Ok(false)),
        (CryptoBinding::Optional, Binding::Answered, Ok(true)),
        (CryptoBinding::Optional, Binding::Ignored, Ok(false)),
        (CryptoBinding::Optional, Binding::Forged, Err("crypto_binding")),
        (CryptoBinding::Required, Binding::Answered, Ok(true)),
        (CryptoBinding::Required, Binding::Ignored, Err("crypto_binding")),
    ] {
        let context = world.context(Settings { crypto_binding: setting, ..Settings::default() });
        for (mut peer, ..) in matrix(&world).into_iter().filter(|p| p.0.method == Method::Peap) {
            peer.binding = behaviour;
            // A session must not be there to be resumed by the next.
            world.sessions.forget(|_| true);
            let outcome = peer.run(&context, world.origin(), &world.people, after(1));
            let told = outcome.result.as_ref().map(|a| a.bound).map_err(|r| r.reason.label());
            assert_eq!(told, result, "{setting:?} {behaviour:?}");
            if let Ok(accepted) = &outcome.result {
                assert_eq!(accepted.msk.expose(), &outcome.msk.unwrap());
            }
        }
    }
}

#[test]
fn the_cipher_is_one_with_a_quick_hash_whatever_the_peer_prefers() {
    let world = World::new();
    let context = world.context(Settings::default());
    for (peer, _, version) in matrix(&world) {
        let outcome = peer.run(&context, world.origin(), &world.people, after(1));
        let cipher = outcome.cipher.and_then(|cipher| cipher.as_str()).unwrap();
        assert!(cipher.ends_with("AES_128_GCM_SHA256"), "{version:?}: {cipher}");
    }
}
