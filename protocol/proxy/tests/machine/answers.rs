//! What a NAS hears of a home server's answer.

use homeward_proxy::{Clamp, Filter, Reason, Route, Settings, Which};
use homeward_radius::dictionary::microsoft as ms;
use homeward_radius::hide::{open_password, open_salted, open_tunnel_password};
use homeward_radius::{Builder, Code, Packet};
use proptest::prelude::*;

use crate::world::*;

fn hop(answers: Filter, settings: Settings) -> Hop {
    let (mut table, pool) = servers(1, |_| {});
    route(&mut table, "example.org", Route { answers, ..Route::to(pool) });
    Hop::with(settings, table)
}

/// The value of a vendor's attribute.
fn vendor(packet: &[u8], vendor: u32, kind: u8) -> Option<Vec<u8>> {
    Packet::decode(packet).unwrap().find_vendor(vendor, kind).map(<[u8]>::to_vec)
}

proptest! {
    #[test]
    fn keys_and_passwords_are_hidden_anew_at_each_hop(
        send in proptest::collection::vec(any::<u8>(), 0..=200),
        recv in proptest::collection::vec(any::<u8>(), 0..=64),
        tunnel in proptest::collection::vec(any::<u8>(), 0..=100),
        own in proptest::collection::vec(any::<u8>(), 1..=64),
        tag in 0u8..=31,
    ) {
        let salted = [(9999, 3)].into();
        let more = [Which::Standard(69), Which::Vendor(9999, 3)];
        let mut hop =
            hop(Filter::from_partner().allow(more), Settings { salted, ..Settings::default() });
        let asked = login(1, "fred@example.org");
        hop.receive(T0, source(1), &asked);
        let sent = hop.one_sent();
        let octets = answered(&sent, Code::AccessAccept, |b| {
            b.vendor_salted(ms::VENDOR, ms::MPPE_RECV_KEY, &recv)?;
            b.tunnel_password(tag, &tunnel)?;
            b.vendor_salted(ms::VENDOR, ms::MPPE_SEND_KEY, &send)?;
            b.vendor_salted(9999, 3, &own)
        });
        hop.answer(T0, &sent, &octets);
        let reply = hop.one_reply();
        let authenticator = *Packet::decode(&asked).unwrap().authenticator();
        let packet = Packet::decode(&reply).unwrap();
        nas().verify_answer(&packet, &authenticator).unwrap();
        let mut salts = std::collections::BTreeSet::new();
        for (v, kind, value) in [(311, 16, &send), (311, 17, &recv), (9999, 3, &own)] {
            let hidden = vendor(&reply, v, kind).unwrap();
            prop_assert!(vendor(&octets, v, kind).as_ref() != Some(&hidden));
            salts.insert(hidden[..2].to_vec());
            let opened = open_salted(&nas(), &authenticator, &hidden).unwrap();
            prop_assert_eq!(opened.expose(), &value[..]);
        }
        let hidden = packet.find(69).unwrap();
        salts.insert(hidden[1..3].to_vec());
        let opened = open_tunnel_password(&nas(), &authenticator, hidden).unwrap();
        prop_assert_eq!((opened.tag, opened.password.expose()), (tag, &tunnel[..]));
        prop_assert_eq!(salts.len(), 4, "salts of one packet differ (RFC 2868 3.5)");
    }

    #[test]
    fn keys_of_ms_chap_are_hidden_anew_as_passwords_are(keys in any::<[u8; 24]>()) {
        let mut hop = hop(Filter::from_partner(), Settings::default());
        let asked = login(1, "fred@example.org");
        hop.receive(T0, source(1), &asked);
        let sent = hop.one_sent();
        let upstream = *Packet::decode(&sent.payload).unwrap().authenticator();
        let mut padded = [0; 32];
        padded[..24].copy_from_slice(&keys);
        padded[31] = 1;
        let hidden = hide(&padded, &home(0), upstream);
        let octets = answered(&sent, Code::AccessAccept, |b| b.vendor(311, 12, &hidden));
        hop.answer(T0, &sent, &octets);
        let hidden = vendor(&hop.one_reply(), 311, 12).unwrap();
        let authenticator = *Packet::decode(&asked).unwrap().authenticator();
        let opened = open_password(&nas(), &authenticator, &hidden).unwrap();
        prop_assert_eq!(&*opened, &padded[..]);
    }

    #[test]
    fn the_nas_has_its_proxy_states_back_in_order_and_never_sees_ours(
        states in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 1..40), 0..7),
        echo in 0..4,
    ) {
        let mut hop = Hop::plain();
        let asked = request(Code::AccessRequest, 1, |b| {
            b.text(1, "fred@example.org")?;
            states.iter().try_for_each(|state| b.octets(33, state))
        });
        hop.receive(T0, source(1), &asked);
        let sent = hop.one_sent();
        let ours = all(&sent.payload, 33).pop().unwrap();
        let request = Packet::decode(&sent.payload).unwrap();
        let mut octets = Vec::new();
        let secret = home(0);
        let (id, authenticator) = (request.identifier(), request.authenticator());
        let mut b =
            Builder::answer(&mut octets, &secret, Code::AccessAccept, id, authenticator, 0);
        b.text(18, "hello").unwrap();
        // As a home server should, backwards, ours twice and nothing else, not at all.
        let back: Vec<_> = match echo {
            0 => all(&sent.payload, 33),
            1 => all(&sent.payload, 33).into_iter().rev().collect(),
            2 => vec![ours.clone(), ours.clone()],
            _ => Vec::new(),
        };
        back.iter().for_each(|state| b.octets(33, state).unwrap());
        b.finish();
        hop.answer(T0, &sent, &octets);
        let reply = hop.one_reply();
        prop_assert_eq!(all(&reply, 33), states);
        prop_assert!(!reply.windows(ours.len()).any(|part| part == ours));
        prop_assert_eq!(find(&reply, 18).unwrap(), b"hello");
    }
}

/// Hides whole blocks as User-Password is (RFC 2865 5.2), by a packet that has one.
fn hide(blocks: &[u8], secret: &homeward_radius::SharedSecret, authenticator: [u8; 16]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut b = Builder::request(&mut out, secret, Code::AccessRequest, 0, authenticator);
    b.user_password(blocks).unwrap();
    b.finish();
    find(&out, 2).unwrap()
}

#[test]
fn what_a_partner_may_not_set_does_not_arrive() {
    let mut hop = Hop::plain();
    hop.receive(T0, source(1), &login(1, "fred@example.org"));
    let sent = hop.one_sent();
    let octets = answered(&sent, Code::AccessAccept, |b| {
        b.text(1, "fred@example.org")?;
        b.integer(64, 13)?;
        b.integer(65, 6)?;
        b.text(81, "42")?;
        b.tunnel_password(0, b"psk")?;
        b.integer(6, 6)?;
        b.text(11, "let-all-through")?;
        b.ipv4(8, [192, 0, 2, 9].into())?;
        b.vendor(32_473, 1, &[0; 8])?;
        b.vendor(14_122, 8, &[0, 1, 0, 0])?;
        b.vendor(14_122, 4, b"http://phish.example")?;
        b.vendor(9, 1, b"tunnel-private-group-id=42")?;
        b.octets(25, b"class of theirs")?;
        b.integer(27, 3600)
    });
    hop.answer(T0, &sent, &octets);
    let reply = attributes(&hop.one_reply());
    let kinds: Vec<u8> = reply.iter().map(|(kind, _)| *kind).collect();
    assert_eq!(kinds, [80, 1, 26, 25, 27]);
    assert_eq!(reply[2].1, b"\0\0\x37\x2a\x08\x06\x00\x01\x00\x00");
}

#[test]
fn what_is_allowed_to_one_partner_arrives() {
    let vlan = ["Tunnel-Type", "Tunnel-Medium-Type", "Tunnel-Private-Group-Id", "9:*"];
    let vlan = vlan.map(|name| name.parse::<Which>().unwrap());
    let mut hop = hop(Filter::from_partner().allow(vlan), Settings::default());
    hop.receive(T0, source(1), &login(1, "fred@example.org"));
    let sent = hop.one_sent();
    let octets = answered(&sent, Code::AccessAccept, |b| {
        b.integer(64, 13)?;
        b.integer(65, 6)?;
        b.text(81, "42")?;
        b.octets(26, &[0, 0, 0, 9, 7, 7, 7])?;
        b.octets(26, &[0, 0, 0, 10, 7, 7, 7])
    });
    hop.answer(T0, &sent, &octets);
    let kinds: Vec<u8> = attributes(&hop.one_reply()).iter().map(|(kind, _)| *kind).collect();
    assert_eq!(kinds, [80, 64, 65, 81, 26]);
}

#[test]
fn session_times_are_bounded_even_where_the_partner_says_none() {
    let filter = || {
        let interim = Clamp { kind: 85, at_least: 60, at_most: 3600, absent: None };
        Filter::from_partner().clamp(Clamp::session_timeout(7200)).clamp(interim)
    };
    let ask = |code, fill: &dyn Fn(&mut Builder<'_>)| {
        let mut hop = hop(filter(), Settings::default());
        hop.receive(T0, source(1), &login(1, "fred@example.org"));
        let sent = hop.one_sent();
        let octets = answered(&sent, code, |b| {
            fill(b);
            Ok(())
        });
        hop.answer(T0, &sent, &octets);
        let reply = hop.one_reply();
        [27, 85].map(|kind| all(&reply, kind))
    };
    let four = |value: u32| vec![value.to_be_bytes().to_vec()];
    let set = |session: u32, interim: u32| {
        move |b: &mut Builder<'_>| {
            b.integer(27, session).unwrap();
            b.integer(85, interim).unwrap();
        }
    };
    assert_eq!(ask(Code::AccessAccept, &set(100_000, 1)), [four(7200), four(60)]);
    assert_eq!(ask(Code::AccessAccept, &set(600, 300)), [four(600), four(300)]);
    assert_eq!(ask(Code::AccessAccept, &|_| {}), [four(7200), vec![]]);
    let odd = |b: &mut Builder<'_>| b.octets(27, &[9]).unwrap();
    assert_eq!(ask(Code::AccessAccept, &odd), [four(7200), vec![]]);
    // In a challenge it is how long to wait for the user (RFC 3579 2.3), and in a reject nothing.
    assert_eq!(ask(Code::AccessChallenge, &set(30, 1)), [four(30), four(1)]);
    assert_eq!(ask(Code::AccessReject, &|_| {}), [Vec::<Vec<u8>>::new(), vec![]]);
}

#[test]
fn an_answer_that_cannot_be_believed_changes_nothing() {
    let mut hop = Hop::plain();
    let asked = login(1, "fred@example.org");
    hop.receive(T0, source(1), &asked);
    let sent = hop.one_sent();
    let good = answered(&sent, Code::AccessAccept, nothing);
    let forged = answer_with(&nas(), &sent.payload, Code::AccessAccept, nothing);
    let challenged = answered(&sent, Code::AccountingResponse, nothing);
    let mut other = sent.payload.to_vec();
    other[1] = other[1].wrapping_add(1);
    let unexpected = answer_with(&home(0), &other, Code::AccessAccept, nothing);
    let replayed = {
        let mut old = sent.payload.to_vec();
        old[4] ^= 1;
        answer_with(&home(0), &old, Code::AccessAccept, nothing)
    };
    let unsigned = unsigned(&sent.payload, Code::AccessAccept);
    for (octets, reason) in [
        (&forged, "bad-response-authenticator"),
        (&challenged, "wrong-code"),
        (&unexpected, "unexpected"),
        (&replayed, "bad-response-authenticator"),
        (&unsigned, "no-message-authenticator"),
        (&good[..10].to_vec(), "malformed"),
    ] {
        hop.answer(T0, &sent, octets);
        assert_eq!(hop.notes.pop(), Some(Note::Dropped(reason)));
        assert!(hop.replies.is_empty() && hop.notes.is_empty());
    }
    let mut elsewhere = sent.clone();
    elsewhere.lane = (sent.lane + 1) % 4;
    hop.answer(T0, &elsewhere, &good);
    assert_eq!(hop.notes.pop(), Some(Note::Dropped("unexpected")), "it left from another socket");
    elsewhere.lane = 9;
    hop.answer(T0, &elsewhere, &good);
    assert_eq!(hop.notes.pop(), Some(Note::Dropped("stranger")));

    hop.answer(T0, &sent, &good);
    assert_eq!(hop.notes, [Note::Answered(Code::AccessAccept)]);
    hop.one_reply();
    hop.answer(T0, &sent, &good);
    assert_eq!(hop.notes.pop(), Some(Note::Dropped("unexpected")), "once only");
}

/// An answer without Message-Authenticator, its Response Authenticator right: what a server
/// sends that was not updated.
fn unsigned(to: &[u8], code: Code) -> Vec<u8> {
    use homeward_radius::Packet;
    let request = Packet::decode(to).unwrap();
    // An Accounting-Response is built without; what differs is the code.
    let mut out = Vec::new();
    let (secret, id) = (home(0), request.identifier());
    let authenticator = request.authenticator();
    let b = Builder::answer(&mut out, &secret, Code::AccountingResponse, id, authenticator, 0);
    b.finish();
    out[0] = code as u8;
    let mut md5 = <md5::Md5 as md5::Digest>::new();
    for part in [&out[..4], &authenticator[..], b"between us and home server 0"] {
        md5::Digest::update(&mut md5, part);
    }
    out[4..20].copy_from_slice(&md5::Digest::finalize(md5));
    out
}

#[test]
fn a_server_that_cannot_be_made_to_sign_is_believed_where_that_is_set() {
    let (mut table, pool) = servers(1, |s| s.require_message_authenticator = false);
    route(&mut table, "example.org", Route::to(pool));
    let mut hop = Hop::new(table);
    hop.receive(T0, source(1), &login(1, "fred@example.org"));
    let sent = hop.one_sent();
    hop.answer(T0, &sent, &unsigned(&sent.payload, Code::AccessAccept));
    let reply = hop.one_reply();
    assert_eq!(attributes(&reply)[0].0, 80, "to the NAS it is signed all the same");
}

#[test]
fn an_answer_whose_keys_do_not_open_is_a_reject() {
    for (kind, name) in
        [(16, "MS-MPPE-Send-Key"), (17, "MS-MPPE-Recv-Key"), (12, "MS-CHAP-MPPE-Keys")]
    {
        let mut hop = Hop::plain();
        hop.receive(T0, source(1), &login(1, "fred@example.org"));
        let sent = hop.one_sent();
        let octets = answered(&sent, Code::AccessAccept, |b| b.vendor(311, kind, &[0; 19]));
        hop.answer(T0, &sent, &octets);
        assert_eq!(hop.notes, [Note::Rejected(Reason::Unopenable(name))]);
        assert_eq!(Packet::decode(&hop.one_reply()).unwrap().code(), Code::AccessReject);
        assert_eq!(hop.proxy.outstanding(), 0);
    }
}

#[test]
fn an_answer_that_does_not_fit_beside_the_nass_proxy_states_is_a_reject() {
    let mut hop = Hop::plain();
    let asked = request(Code::AccessRequest, 1, |b| {
        b.text(1, "fred@example.org")?;
        b.octets(33, &[1; 253])
    });
    hop.receive(T0, source(1), &asked);
    let sent = hop.one_sent();
    // A server that forgot the Proxy-States, and filled the room.
    let request = Packet::decode(&sent.payload).unwrap();
    let (mut octets, secret) = (Vec::new(), home(0));
    let (id, authenticator) = (request.identifier(), request.authenticator());
    let mut b = Builder::answer(&mut octets, &secret, Code::AccessAccept, id, authenticator, 0);
    (0..15).for_each(|_| b.octets(25, &[1; 253]).unwrap());
    b.finish();
    hop.answer(T0, &sent, &octets);
    assert_eq!(hop.notes, [Note::Rejected(Reason::TooLong)]);
}

#[test]
fn eap_messages_and_state_arrive_in_order() {
    let mut hop = Hop::plain();
    hop.receive(T0, source(1), &login(1, "fred@example.org"));
    let sent = hop.one_sent();
    let octets = answered(&sent, Code::AccessChallenge, |b| {
        b.octets(79, &[1; 253])?;
        b.octets(79, &[2; 253])?;
        b.octets(79, &[3; 9])?;
        b.octets(24, b"state")
    });
    hop.answer(T0, &sent, &octets);
    let reply = hop.one_reply();
    assert_eq!(all(&reply, 79), [&[1; 253][..], &[2; 253], &[3; 9]]);
    assert_eq!(find(&reply, 24).unwrap(), b"state");
}

#[test]
fn a_partner_names_the_user_in_the_realm_that_was_asked_about_and_in_no_other() {
    for (asked, named, passes) in [
        ("@example.org", "fred@EXAMPLE.org", true),
        ("fred@example.org", "fred@example.net", false),
        ("fred@example.org", "fred", false),
        ("fred@example.org", "fred@", false),
        ("example.org!fred@here.example", "fred@example.org", true),
        ("example.org!fred@here.example", "fred@here.example", false),
    ] {
        let (mut table, pool) = servers(1, |_| {});
        let answers = Filter::all_but([]);
        route(&mut table, "example.org", Route { answers, ..Route::to(pool) });
        route(&mut table, "here.example", homeward_proxy::Target::Local);
        let mut hop = Hop::with(Settings { decorated: true, ..Settings::default() }, table);
        hop.receive(T0, source(1), &login(1, asked));
        let sent = hop.one_sent();
        let octets = answered(&sent, Code::AccessAccept, |b| b.text(1, named));
        hop.answer(T0, &sent, &octets);
        assert_eq!(find(&hop.one_reply(), 1).is_some(), passes, "{asked}, {named}");
    }
}
