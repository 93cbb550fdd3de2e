//! Bounds, and what is shed at them.

use std::collections::BTreeSet;

use homeward_proxy::{Health, Reason, Route, ServerId, Settings, Transport};
use homeward_radius::{Code, Packet};

use crate::world::*;

fn hop(settings: Settings, servers_: usize, each: impl Fn(&mut homeward_proxy::HomeServer)) -> Hop {
    let (mut table, pool) = servers(servers_, each);
    route(&mut table, "example.org", Route::to(pool));
    Hop::with(settings, table)
}

#[test]
fn more_than_may_be_outstanding_is_shed_and_says_why() {
    let mut all = hop(Settings { outstanding: 3, ..Settings::default() }, 1, |_| {});
    let mut each = hop(Settings { per_client: 3, ..Settings::default() }, 1, |_| {});
    let mut server = hop(Settings::default(), 1, |s| s.outstanding = 3);
    for (hop, reason) in [
        (&mut all, Reason::Overload),
        (&mut each, Reason::ClientShare),
        (&mut server, Reason::ServerShare),
    ] {
        for id in 0..3 {
            hop.receive(T0, source(1), &login(id, "fred@example.org"));
        }
        assert!(hop.notes.is_empty());
        hop.receive(T0, source(1), &login(3, "fred@example.org"));
        assert_eq!(hop.notes, [Note::Silent(reason)]);
        assert!(reason.is_shed());
        let sent = hop.sent.pop().unwrap();
        let octets = answered(&sent, Code::AccessAccept, nothing);
        hop.answer(T0, &sent, &octets);
        // There is room again, and the NAS asks again.
        hop.receive(T0, source(1), &login(3, "fred@example.org"));
        assert_eq!(hop.notes.len(), 2);
        assert_eq!(hop.proxy.outstanding(), 3);
    }
    // Another client's share is its own.
    each.receive(T0, source(2), &login(9, "fred@example.org"));
    assert_eq!(each.proxy.outstanding(), 4);
}

#[test]
fn what_one_server_has_no_room_for_goes_to_the_next_but_not_in_a_conversation() {
    let mut hop = hop(Settings::default(), 2, |s| s.outstanding = 1);
    let round = |id, state: Option<&[u8]>| {
        request(Code::AccessRequest, id, |b| {
            b.text(1, "fred@example.org")?;
            state.map_or(Ok(()), |state| b.octets(24, state))
        })
    };
    hop.receive(T0, source(1), &round(1, None));
    let sent = hop.one_sent();
    let octets = answered(&sent, Code::AccessChallenge, |b| b.octets(24, b"s"));
    hop.answer(T0, &sent, &octets);
    hop.receive(T0, source(1), &round(2, None));
    assert_eq!(hop.one_sent().server.index(), 0);
    hop.receive(T0, source(1), &round(3, Some(b"s")));
    assert_eq!(hop.notes.pop(), Some(Note::Silent(Reason::ServerShare)), "shed, not misled");
    hop.receive(T0, source(1), &round(4, None));
    assert_eq!(hop.one_sent().server.index(), 1);
}

#[test]
fn identifiers_are_never_in_use_twice_and_one_is_kept_for_status_server() {
    let mut hop = hop(Settings::default(), 1, |s| {
        s.transport = Transport::Datagram { sockets: 2 };
        s.outstanding = 10_000;
    });
    let mut seen = BTreeSet::new();
    for n in 0..600u16 {
        hop.receive(T0, source(n), &login(1, "fred@example.org"));
    }
    for sent in &hop.sent {
        let identifier = Packet::decode(&sent.payload).unwrap().identifier();
        assert_ne!(identifier, 0);
        assert!(seen.insert((sent.lane, identifier)));
    }
    assert_eq!(seen.len(), 2 * 255);
    assert_eq!(hop.notes.len(), 600 - 510);
    hop.sent.clear();
    // Full as it is, it can be asked whether it lives.
    hop.run_until(after(3000));
    assert_eq!(hop.health(0), Health::Zombie);
    hop.answer_checks(after(3000), &[0]);
    assert_eq!(hop.health(0), Health::Alive);
}

#[test]
fn an_identifier_that_was_given_back_is_the_last_to_be_used_again() {
    let mut hop = hop(Settings::default(), 1, |s| {
        s.transport = Transport::Datagram { sockets: 1 };
    });
    let mut seen = BTreeSet::new();
    for n in 0..255u16 {
        hop.receive(T0, source(n), &login(1, "fred@example.org"));
        let sent = hop.one_sent();
        let octets = answered(&sent, Code::AccessReject, nothing);
        hop.answer(T0, &sent, &octets);
        assert!(seen.insert(sent.payload[1]), "request {n}");
    }
}

#[test]
fn a_nas_that_uses_an_identifier_anew_has_given_the_old_request_up() {
    let mut hop = Hop::plain();
    hop.receive(T0, source(1), &login(1, "fred@example.org"));
    let old = hop.one_sent();
    let other = {
        let mut out = Vec::new();
        let secret = nas();
        let mut b =
            homeward_radius::Builder::request(&mut out, &secret, Code::AccessRequest, 1, [99; 16]);
        b.text(1, "jane@example.org").unwrap();
        b.finish();
        out
    };
    hop.receive(after(10), source(1), &other);
    let new = hop.one_sent();
    assert_eq!(hop.notes, [Note::Silent(Reason::Superseded)]);
    assert_eq!((hop.proxy.outstanding(), hop.proxy.outstanding_at(ServerId::at(0))), (1, 1));
    let octets = answered(&old, Code::AccessAccept, nothing);
    hop.answer(after(20), &old, &octets);
    assert!(hop.replies.is_empty(), "its answer would be taken for the new one's");
    let octets = answered(&new, Code::AccessAccept, nothing);
    hop.answer(after(30), &new, &octets);
    hop.one_reply();
}

#[test]
fn what_is_printed_names_nobody_and_gives_no_secret_away() {
    let mut hop = Hop::plain();
    hop.receive(T0, source(1), &login(1, "fred@example.org"));
    let sent = hop.one_sent();
    let name = format!("{:?}", b"fred");
    let name = name.trim_matches(['[', ']']);
    for text in [format!("{:?}", hop.proxy), format!("{sent:?}")] {
        assert!(!text.contains("fred") && !text.contains(name), "{text}");
        assert!(!text.contains("between us and home") && !text.contains("NAS and us"), "{text}");
    }
    let octets = answered(&sent, Code::AccessAccept, |b| b.text(1, "fred@example.org"));
    hop.proxy.handle_answer(T0, sent.server, sent.lane, &octets);
    let event = format!("{:?}", hop.proxy.poll_event().unwrap());
    assert!(!event.contains("fred") && !event.contains(name), "{event}");
}
