//! What is sent to a home server, and what is not.

use homeward_model::Secret;
use homeward_proxy::{Accounting, NameError, OperatorName, Pool, Reason, Route, Settings, Target};
use homeward_radius::dictionary::homeward;
use homeward_radius::dictionary::standard as s;
use homeward_radius::hide::open_password;
use homeward_radius::{Code, Packet};
use proptest::prelude::*;

use crate::world::*;

const MARK_LEN: usize = 16;

#[test]
fn a_request_goes_to_its_realms_server_signed_first_and_marked_last() {
    let mut hop = Hop::plain();
    hop.receive(T0, source(1), &login(9, "fred@EXAMPLE.org"));
    let sent = hop.one_sent();
    let packet = Packet::decode(&sent.payload).unwrap();
    assert_eq!(packet.code(), Code::AccessRequest);
    home(0).verify_request(&packet).unwrap();
    let kinds: Vec<u8> = packet.attributes().map(|a| a.kind).collect();
    assert_eq!(kinds, [80, 1, 2, 33]);
    assert_eq!(packet.find(1), Some(&b"fred@EXAMPLE.org"[..]), "the name goes on as it is");
    assert_eq!(packet.find(33).map(<[u8]>::len), Some(MARK_LEN));
    assert_ne!(
        packet.authenticator(),
        &[9u8.wrapping_mul(31).wrapping_add(5); 16],
        "a new authenticator"
    );
    assert!(hop.replies.is_empty());
}

#[test]
fn two_requests_alike_share_nothing_that_we_make() {
    let mut hop = Hop::plain();
    hop.receive(T0, source(1), &login(9, "fred@example.org"));
    hop.receive(T0, source(2), &login(9, "fred@example.org"));
    let [a, b] = &hop.sent[..] else { panic!() };
    let (a, b) = (Packet::decode(&a.payload).unwrap(), Packet::decode(&b.payload).unwrap());
    assert_ne!(a.authenticator(), b.authenticator());
    assert_ne!(a.find(33), b.find(33));
    assert_ne!(a.find(2), b.find(2));
}

proptest! {
    #[test]
    fn attributes_go_on_in_order_with_others_proxy_states_untouched(
        list in proptest::collection::vec(
            (prop::sample::select(vec![4u8, 6, 24, 25, 31, 32, 33, 79, 26, 61, 200]),
             proptest::collection::vec(any::<u8>(), 1..60)),
            0..20,
        ),
    ) {
        // Few enough hops; vendors' attributes are another matter.
        let mut hops = 0;
        let list: Vec<_> = list
            .into_iter()
            .filter(|(kind, _)| {
                hops += usize::from(*kind == 33);
                *kind != 33 || hops < 8
            })
            .map(|(kind, value)| match kind {
                26 => (26, [&[0, 0, 0, 9, 1, 2 + value.len() as u8][..], &value].concat()),
                _ => (kind, value),
            })
            .collect();
        let mut hop = Hop::plain();
        let asked = request(Code::AccessRequest, 1, |b| {
            b.text(1, "fred@example.org")?;
            list.iter().try_for_each(|(kind, value)| b.octets(*kind, value))
        });
        hop.receive(T0, source(1), &asked);
        let sent = attributes(&hop.one_sent().payload);
        let (last, rest) = sent.split_last().unwrap();
        prop_assert_eq!(&rest[1..], &attributes(&asked)[1..]);
        prop_assert_eq!((last.0, last.1.len()), (33, MARK_LEN));
    }

    #[test]
    fn a_password_is_hidden_anew_with_the_servers_secret(
        password in proptest::collection::vec(any::<u8>(), 0..=128),
    ) {
        // What is padding cannot be told from what ends in NUL (RFC 2865 5.2).
        let end = password.iter().rposition(|o| *o != 0).map_or(0, |at| at + 1);
        let password = &password[..end];
        let mut hop = Hop::plain();
        let asked = request(Code::AccessRequest, 1, |b| {
            b.text(1, "fred@example.org")?;
            if password.is_empty() { b.octets(2, &hidden_nothing(1)) } else { b.user_password(password) }
        });
        hop.receive(T0, source(1), &asked);
        let sent = hop.one_sent();
        let packet = Packet::decode(&sent.payload).unwrap();
        let hidden = packet.find(2).unwrap();
        let opened = open_password(&home(0), packet.authenticator(), hidden).unwrap();
        prop_assert_eq!(&*opened, password);
        prop_assert!(Some(hidden) != Packet::decode(&asked).unwrap().find(2));
    }
}

/// Sixteen NULs, hidden by the NAS.
fn hidden_nothing(identifier: u8) -> Vec<u8> {
    let authenticator = [identifier.wrapping_mul(31).wrapping_add(5); 16];
    let mut pad = open_password(&nas(), &authenticator, &[0; 16]).unwrap().to_vec();
    pad.resize(16, 0);
    pad
}

#[test]
fn a_challenge_that_was_the_authenticator_becomes_an_attribute() {
    let chap = |challenge: Option<&[u8]>| {
        let mut hop = Hop::plain();
        let asked = request(Code::AccessRequest, 3, |b| {
            b.text(1, "fred@example.org")?;
            b.octets(3, &[1; 17])?;
            challenge.map_or(Ok(()), |challenge| b.octets(60, challenge))
        });
        hop.receive(T0, source(1), &asked);
        (all(&hop.one_sent().payload, 60), Packet::decode(&asked).unwrap().authenticator().to_vec())
    };
    let (challenges, authenticator) = chap(None);
    assert_eq!(challenges, [authenticator]);
    assert_eq!(chap(Some(&[5; 20])).0, [[5; 20]]);
    let mut hop = Hop::plain();
    hop.receive(T0, source(1), &login(1, "fred@example.org"));
    assert_eq!(find(&hop.one_sent().payload, 60), None, "nor is one made up");
}

#[test]
fn an_eap_start_arrives_as_one() {
    let mut hop = Hop::plain();
    let asked = request(Code::AccessRequest, 3, |b| {
        b.text(1, "fred@example.org")?;
        b.encoded(s::EAP_MESSAGE, &[s::EAP_MESSAGE, 2])
    });
    hop.receive(T0, source(1), &asked);
    assert_eq!(find(&hop.one_sent().payload, 79), Some(Vec::new()));
}

#[test]
fn our_name_is_put_into_requests_that_have_none() {
    let operator = Some(OperatorName::realm("Homeward.example").unwrap());
    let (mut table, pool) = servers(1, |_| {});
    route(&mut table, "example.org", Route::to(pool));
    let mut hop = Hop::with(Settings { operator, ..Settings::default() }, table);
    hop.receive(T0, source(1), &login(1, "fred@example.org"));
    assert_eq!(all(&hop.one_sent().payload, 126), [b"1homeward.example"]);
    let named = request(Code::AccessRequest, 2, |b| {
        b.text(1, "fred@example.org")?;
        b.text(126, "1other.example")
    });
    hop.receive(T0, source(1), &named);
    assert_eq!(all(&hop.one_sent().payload, 126), [b"1other.example"]);
}

#[test]
fn words_of_ours_stay_here_and_others_in_the_same_attribute_pass() {
    let mut hop = Hop::plain();
    let asked = request(Code::AccessRequest, 3, |b| {
        b.text(1, "fred@example.org")?;
        b.vendor(homeward::VENDOR, homeward::SSID, b"Home")?;
        b.vendor(homeward::VENDOR, homeward::SIGNAL, &[0, 0, 0, 1])?;
        b.vendor(9, 1, b"kept")?;
        // Of unusual form, so that only its vendor can be told.
        b.octets(26, &[0, 0, 0x7e, 0xd9, 1])?;
        b.octets(26, &[0, 0, 0, 10, 1])
    });
    hop.receive(T0, source(1), &asked);
    let vendors = all(&hop.one_sent().payload, 26);
    assert_eq!(vendors, [&b"\0\0\0\x09\x01\x06kept"[..], &[0, 0, 0, 10, 1]]);
}

#[test]
fn a_decorated_name_is_followed_only_where_that_is_set() {
    let hop = |decorated| {
        let (mut table, pool) = servers(1, |_| {});
        route(&mut table, "example.org", Route::to(pool));
        route(&mut table, "here.example", Target::Local);
        route(&mut table, "there.example", Target::Local);
        Hop::with(Settings { decorated, ..Settings::default() }, table)
    };
    let mut on = hop(true);
    on.receive(T0, source(1), &login(1, "example.org!fred@here.example"));
    assert_eq!(find(&on.one_sent().payload, 1).unwrap(), b"fred@example.org");
    let twice = login(2, "there.example!example.org!fred@here.example");
    on.receive(T0, source(1), &twice);
    assert_eq!(find(&on.one_sent().payload, 1).unwrap(), b"fred@example.org");
    // Not ours to undo.
    on.receive(T0, source(1), &login(3, "x.example!fred@example.org"));
    assert_eq!(find(&on.one_sent().payload, 1).unwrap(), b"x.example!fred@example.org");
    on.receive(T0, source(1), &login(4, "nowhere.example!fred@here.example"));
    assert_eq!(on.notes.pop(), Some(Note::Rejected(Reason::Unroutable)));

    assert!(!Settings::default().decorated);
    let mut off = hop(false);
    off.receive(T0, source(1), &login(1, "example.org!fred@here.example"));
    assert_eq!(off.notes, [Note::Local]);
    assert!(off.sent.is_empty());
}

#[test]
fn what_cannot_be_routed_is_rejected_and_never_met_with_silence() {
    let (mut table, pool) = servers(1, |_| {});
    route(&mut table, "example.org", Route::to(pool));
    route(&mut table, "*.refused.example", Target::Refuse);
    let mut hop = Hop::new(table);
    let mut id = 0;
    for (name, reason) in [
        ("fred@example.net", Reason::Unroutable),
        ("fred@sub.example.org", Reason::Unroutable),
        ("fred@a.refused.example", Reason::Refused),
        ("fred@", Reason::Malformed(NameError::NoRealm)),
        ("fred@example.org ", Reason::Malformed(NameError::Realm)),
        ("fr\x01ed@example.org", Reason::Malformed(NameError::Control)),
    ] {
        id += 1;
        hop.receive(T0, source(1), &login(id, name));
        assert_eq!(hop.notes.pop(), Some(Note::Rejected(reason)), "{name}");
        let reply = hop.one_reply();
        let packet = Packet::decode(&reply).unwrap();
        assert_eq!(packet.code(), Code::AccessReject);
        assert!(packet.find(18).is_some_and(|text| !text.is_empty()));
    }
    hop.receive(T0, source(1), &login(40, "fred"));
    assert_eq!(hop.notes.pop(), Some(Note::Local));
    assert!(hop.sent.is_empty());
}

#[test]
fn who_speaks_eap_is_rejected_by_eap_failure_and_nothing_else() {
    let mut hop = Hop::plain();
    let asked = request(Code::AccessRequest, 3, |b| {
        b.text(1, "fred@example.net")?;
        b.octets(79, &[2, 0xa7, 0, 9, 1, b'f', b'r', b'e', b'd'])
    });
    hop.receive(T0, source(1), &asked);
    let reply = hop.one_reply();
    assert_eq!(find(&reply, 79).unwrap(), [4, 0xa7, 0, 4]);
    assert_eq!(find(&reply, 18), None, "RFC 3579 2.6.5");
}

#[test]
fn a_request_that_was_here_before_is_rejected_as_a_loop() {
    let mut hop = Hop::plain();
    hop.receive(T0, source(1), &login(1, "fred@example.org"));
    let mark = find(&hop.one_sent().payload, 33).unwrap();
    let back = request(Code::AccessRequest, 2, |b| {
        b.text(1, "fred@example.org")?;
        b.octets(33, &mark)?;
        b.octets(33, b"and one of another")
    });
    hop.receive(T0, source(2), &back);
    assert_eq!(hop.notes.pop(), Some(Note::Rejected(Reason::Loop)));
    assert!(hop.sent.is_empty());
    // One that is only like ours is not ours.
    let other = request(Code::AccessRequest, 3, |b| {
        b.text(1, "fred@example.org")?;
        b.octets(33, &[0; MARK_LEN])
    });
    hop.receive(T0, source(2), &other);
    hop.one_sent();
    // Another worker, another process: the key is what counts.
    let mut elsewhere = Hop::plain();
    elsewhere.receive(T0, source(2), &back);
    assert_eq!(elsewhere.notes.pop(), Some(Note::Rejected(Reason::Loop)));
    let (mut table, pool) = servers(1, |_| {});
    route(&mut table, "example.org", Route::to(pool));
    let key = homeward_proxy::Key::new(&Secret::new([8; 32]));
    let mut foreign = Hop::of(Settings::default(), key, nas(), table, 3);
    foreign.receive(T0, source(2), &back);
    foreign.one_sent();
}

#[test]
fn a_request_that_went_through_too_many_hands_is_rejected() {
    let mut hop = Hop::plain();
    let through = |id, hops: usize| {
        request(Code::AccessRequest, id, |b| {
            b.text(1, "fred@example.org")?;
            (0..hops).try_for_each(|n| b.octets(33, &[n as u8 + 1]))
        })
    };
    hop.receive(T0, source(1), &through(1, 7));
    hop.one_sent();
    hop.receive(T0, source(1), &through(2, 8));
    assert_eq!(hop.notes.pop(), Some(Note::Rejected(Reason::TooManyHops(8))));
    assert_eq!(all(&hop.one_reply(), 33).len(), 8, "with all its Proxy-States back");
}

#[test]
fn a_request_that_no_longer_fits_is_rejected() {
    let mut hop = Hop::plain();
    let full = request(Code::AccessRequest, 1, |b| {
        b.text(1, "fred@example.org")?;
        (0..15).try_for_each(|_| b.octets(25, &[1; 253]))?;
        b.octets(25, &[1; 200])
    });
    assert!(full.len() > 4080 - 18, "{}", full.len());
    hop.receive(T0, source(1), &full);
    assert_eq!(hop.notes, [Note::Rejected(Reason::TooLong)]);
    assert_eq!(hop.proxy.outstanding(), 0);
}

#[test]
fn a_password_that_does_not_open_is_rejected_rather_than_sent_on() {
    let mut hop = Hop::plain();
    let asked = request(Code::AccessRequest, 1, |b| {
        b.text(1, "fred@example.org")?;
        b.octets(2, &[1; 17])
    });
    hop.receive(T0, source(1), &asked);
    assert_eq!(hop.notes, [Note::Rejected(Reason::Unopenable("User-Password"))]);
    assert_eq!(hop.proxy.outstanding_at(homeward_proxy::ServerId::at(0)), 0);
}

fn record(identifier: u8, delay: Option<u32>) -> Vec<u8> {
    request(Code::AccountingRequest, identifier, |b| {
        b.text(1, "fred@example.org")?;
        b.integer(s::ACCT_STATUS_TYPE, 1)?;
        b.text(s::ACCT_SESSION_ID, "5c")?;
        delay.map_or(Ok(()), |delay| b.integer(s::ACCT_DELAY_TIME, delay))
    })
}

#[test]
fn accounting_goes_to_the_pool_for_it_under_an_authenticator_of_its_own() {
    let (mut table, access) = servers(2, |_| {});
    let accounting = table.pool(Pool::new("records", [homeward_proxy::ServerId::at(1)])).unwrap();
    let mut to = Route::to(access);
    to.accounting = Accounting::Pool(accounting);
    route(&mut table, "example.org", to);
    let mut hop = Hop::new(table).accounting();
    hop.receive(T0, source(1), &record(1, Some(4)));
    let sent = hop.one_sent();
    assert_eq!(sent.server.index(), 1);
    let packet = Packet::decode(&sent.payload).unwrap();
    home(1).verify_request(&packet).expect("the digest of RFC 2866 3");
    assert_eq!(find(&sent.payload, 41).unwrap(), [0, 0, 0, 4]);
    let octets = answered(&sent, Code::AccountingResponse, nothing);
    hop.answer(T0, &sent, &octets);
    let reply = hop.one_reply();
    let asked = record(1, Some(4));
    let authenticator = *Packet::decode(&asked).unwrap().authenticator();
    nas().verify_answer(&Packet::decode(&reply).unwrap(), &authenticator).unwrap();
    assert!(all(&reply, 33).is_empty());
}

#[test]
fn accounting_that_is_kept_here_or_cannot_be_routed_is_not_sent_on() {
    let (mut table, pool) = servers(1, |_| {});
    let mut to = Route::to(pool);
    to.accounting = Accounting::Local;
    route(&mut table, "example.org", to);
    let mut hop = Hop::new(table).accounting();
    hop.receive(T0, source(1), &record(1, None));
    let boot = request(Code::AccountingRequest, 2, |b| b.integer(s::ACCT_STATUS_TYPE, 7));
    hop.receive(T0, source(1), &boot);
    let other = request(Code::AccountingRequest, 3, |b| b.text(1, "fred@example.net"));
    hop.receive(T0, source(1), &other);
    let unroutable = Note::Silent(Reason::Unroutable);
    assert_eq!(hop.notes, [Note::Local, Note::Local, unroutable]);
    assert!(hop.sent.is_empty());
}

#[test]
fn a_record_that_is_sent_again_says_how_long_it_has_waited_under_another_identifier() {
    for (delay, expected) in [(Some(4), 6), (None, 2), (Some(u32::MAX), u32::MAX)] {
        let (mut table, pool) = servers(1, |_| {});
        route(&mut table, "example.org", Route::to(pool));
        let mut hop = Hop::new(table).accounting();
        hop.receive(T0, source(1), &record(1, delay));
        let first = hop.one_sent();
        // Within the same second nothing has changed.
        hop.receive(after(900), source(1), &record(1, delay));
        assert_eq!(hop.one_sent(), first);
        hop.receive(after(2100), source(1), &record(1, delay));
        let second = hop.one_sent();
        assert_eq!(all(&second.payload, 41), [expected.to_be_bytes()]);
        let packets = [&first, &second].map(|sent| Packet::decode(&sent.payload).unwrap());
        assert!(
            (first.lane, packets[0].identifier()) != (second.lane, packets[1].identifier()),
            "RFC 2866 5.2"
        );
        home(0).verify_request(&packets[1]).unwrap();
        // Either may be answered, and only one answer counts.
        let late = answered(&first, Code::AccountingResponse, nothing);
        hop.answer(after(2200), &first, &late);
        hop.one_reply();
        let octets = answered(&second, Code::AccountingResponse, nothing);
        hop.answer(after(2300), &second, &octets);
        assert!(hop.replies.is_empty());
        assert_eq!(hop.notes.pop(), Some(Note::Dropped("unexpected")));
    }
}
