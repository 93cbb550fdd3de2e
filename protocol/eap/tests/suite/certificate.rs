//! Certificates of clients: which names count, as of when, and what revokes them.

use homeward_eap::reason::CertificateFault;
use homeward_eap::{Method, Reason, Settings};
use homeward_model::UnixTime;
use rcgen::SanType;
use rustls::version::{TLS12, TLS13};

use crate::peer::{self, LogsIn, Outcome, Within, tls};
use crate::world::{ALICE, Certified, User, World, after};

/// A log-in with this certificate, at this time.
fn log_in(world: &World, client: &Certified, wall: UnixTime) -> Outcome {
    let tls = tls(&world.authority, Some(client), &[&TLS12, &TLS13]);
    let context = world.context(Settings::default());
    let mut origin = world.origin();
    origin.wall = wall;
    peer::peer(Method::Tls, Within::Nothing, tls).run(&context, origin, &world.people, after(1))
}

#[test]
fn alternative_names_count_in_turn_and_the_common_name_for_lack_of_them() {
    let mut world = World::new();
    for name in ["device-7.example.org", "urn:device:7", "device 7"] {
        world.people.users.insert(name.to_owned(), User::default());
    }
    let upn = SanType::OtherName((vec![1, 3, 6, 1, 4, 1, 311, 20, 2, 3], ALICE.into()));
    let dns = |name: &str| SanType::DnsName(name.try_into().unwrap());
    let uri = SanType::URI("urn:device:7".try_into().unwrap());
    for (names, common, identity) in [
        (vec![upn.clone()], "", Some(ALICE)),
        (vec![dns("device-7.example.org")], "", Some("device-7.example.org")),
        (vec![uri], "", Some("urn:device:7")),
        (vec![dns("elsewhere.example.org"), upn], "", Some(ALICE)),
        (vec![], "device 7", Some("device 7")),
        (vec![dns("elsewhere.example.org")], "device 7", None),
    ] {
        let client = world.authority.client_named(names, common, 2020, 2040);
        let outcome = log_in(&world, &client, crate::world::WALL);
        match identity {
            Some(identity) => assert_eq!(outcome.accepted().identity.as_str(), identity),
            None => assert_eq!(outcome.rejected().reason, Reason::UnknownIdentity),
        }
    }
    let nobody = world.authority.client_named(vec![], "", 2020, 2040);
    let outcome = log_in(&world, &nobody, crate::world::WALL);
    assert_eq!(outcome.rejected().reason, Reason::Certificate(CertificateFault::NoName));
}

#[test]
fn a_certificate_counts_as_of_the_conversations_time_not_the_machines() {
    let world = World::new();
    let client = world.authority.client(ALICE, 2001, 2005);
    // 2003-06-01.
    let outcome = log_in(&world, &client, UnixTime(1_054_425_600_000));
    outcome.accepted();
    world.sessions.forget(|_| true);
    let outcome = log_in(&world, &client, crate::world::WALL);
    assert_eq!(outcome.rejected().reason, Reason::Certificate(CertificateFault::Expired));
}

#[test]
fn a_revoked_certificate_is_refused_and_resumes_nothing() {
    let mut world = World::new();
    let client = world.authority.client(ALICE, 2020, 2040);
    let tls = tls(&world.authority, Some(&client), &[&TLS13]);
    let peer = peer::peer(Method::Tls, Within::Nothing, tls);
    let before = world.context(Settings::default());
    world.revoked = vec![world.authority.revoke(2020)];
    let since = world.context(Settings::default());
    for resumed in [true, false] {
        if resumed {
            peer.run(&before, world.origin(), &world.people, after(1)).accepted();
        }
        let outcome = peer.run(&since, world.origin(), &world.people, after(2));
        let rejected = outcome.rejected();
        assert_eq!(rejected.reason, Reason::Certificate(CertificateFault::Revoked));
        assert_eq!(rejected.resumed, resumed);
    }
    let other = world.authority.client(ALICE, 2021, 2040);
    log_in(&world, &other, crate::world::WALL).accepted();
}
