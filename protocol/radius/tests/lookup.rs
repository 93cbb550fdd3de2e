//! Look-ups in both forms, from the question to the model's words and back.
#![cfg(test)]

use homeward_model::service::Seconds;
use homeward_model::{
    Anchor, Bandwidth, BondingModes, DeviceKey, Encryption, Grant, Instant, LookupForm, Mac,
    NetworkId, Priority, Psk, Quota, QuotaPeriod, Refusal, RefusalReason, Rssi, Secret, Security,
    ServiceTerms, Ssid,
};
use homeward_radius::dictionary::{homeward, standard, wispr};
use homeward_radius::hide::open_tunnel_password;
use homeward_radius::lookup::{read_answer, write_grant, write_refusal};
use homeward_radius::testing::Counted;
use homeward_radius::{
    Builder, Client, ClientEvent, ClientSettings, Code, Decision, LookupError, LookupRequest,
    Packet, Policy, Port, Received, Server, ServerSettings, SharedSecret,
};
use proptest::prelude::*;

const MAC: Mac = Mac::new([2, 0, 0x5e, 0x10, 0, 1]);
const BSSID: Mac = Mac::new([2, 0, 0, 0, 1, 0]);

fn secret() -> SharedSecret {
    SharedSecret::new(&Secret::new("xyzzy5461")).unwrap()
}

fn ssid(text: &str) -> Ssid {
    text.parse().unwrap()
}

fn question() -> LookupRequest<'static> {
    LookupRequest {
        mac: MAC,
        ssid: ssid("Home SSID with: colons"),
        nas_identifier: Some("gw-17"),
        bssid: Some(BSSID),
        signal: Some(Rssi(-67)),
    }
}

fn key() -> DeviceKey {
    let passphrase = "correct horse".parse().unwrap();
    DeviceKey::Passphrase { passphrase, psk: Psk::new([0x5c; 32]) }
}

fn grant(security: Security, key: DeviceKey) -> Grant {
    Grant {
        network: NetworkId(-42),
        ssid: ssid("Home"),
        security,
        key,
        terms: ServiceTerms {
            priority: Priority::try_from(5).unwrap(),
            bandwidth: Bandwidth { up: Some(1_000_000), down: Some(4_000_000_000) },
            quota: Some(Quota { octets: 5_000_000_000, period: QuotaPeriod::Month }),
            encryption: Encryption::Off,
            anchor: Anchor::Local,
            bonding: BondingModes { mirrored: false, striped: true },
            handoff_threshold: Some(Rssi(-75)),
            session_timeout: Some(Seconds(3600)),
            idle_timeout: Some(Seconds(300)),
            vlan: None,
        },
        at_home: true,
        class: (0..=255).collect(),
    }
}

fn request(fill: impl FnOnce(&mut Builder<'_>)) -> Vec<u8> {
    let (mut out, secret) = (Vec::new(), secret());
    let mut packet = Builder::request(&mut out, &secret, Code::AccessRequest, 1, [7; 16]);
    fill(&mut packet);
    packet.finish();
    out
}

fn asked(question: &LookupRequest<'_>, form: LookupForm) -> Vec<u8> {
    let attributes = question.attributes(form).unwrap();
    request(|packet| attributes.write_to(packet).unwrap())
}

fn read(octets: &[u8], form: LookupForm) -> Result<LookupRequest<'_>, LookupError> {
    LookupRequest::decode(&Packet::decode(octets).unwrap(), &secret(), form)
}

fn answered(
    code: Code,
    fill: impl FnOnce(&mut Builder<'_>) -> Result<(), LookupError>,
) -> Result<Vec<u8>, LookupError> {
    let (mut out, secret) = (Vec::new(), secret());
    let mut packet = Builder::answer(&mut out, &secret, code, 1, &[7; 16], 99);
    fill(&mut packet)?;
    packet.finish();
    Ok(out)
}

fn granted(form: LookupForm, grant: &Grant) -> Result<Vec<u8>, LookupError> {
    answered(Code::AccessAccept, |packet| write_grant(packet, form, grant))
}

fn decision(octets: &[u8]) -> Result<Decision, LookupError> {
    read_answer(&Packet::decode(octets).unwrap(), &secret(), &[7; 16])
}

/// Tag and password of each Tunnel-Password.
fn passwords(octets: &[u8]) -> Vec<(u8, String)> {
    let packet = Packet::decode(octets).unwrap();
    let open = |value| open_tunnel_password(&secret(), &[7; 16], value).unwrap();
    packet
        .find_all(standard::TUNNEL_PASSWORD)
        .map(open)
        .map(|opened| (opened.tag, String::from_utf8(opened.password.expose().to_vec()).unwrap()))
        .collect()
}

#[test]
fn a_homeward_question_has_the_mac_as_name_and_the_ssid_as_password() {
    let octets = asked(&question(), LookupForm::Homeward);
    let packet = Packet::decode(&octets).unwrap();
    for (kind, value) in [
        (standard::USER_NAME, b"02005e100001".as_slice()),
        (standard::SERVICE_TYPE, &[0, 0, 0, 10]),
        (standard::NAS_IDENTIFIER, b"gw-17"),
        (standard::NAS_PORT_TYPE, &[0, 0, 0, 19]),
        (standard::CALLING_STATION_ID, b"02-00-5E-10-00-01"),
        (standard::CALLED_STATION_ID, b"02-00-00-00-01-00:Home SSID with: colons"),
    ] {
        assert_eq!(packet.find(kind), Some(value));
    }
    let signal = packet.find_vendor(homeward::VENDOR, homeward::SIGNAL);
    assert_eq!(signal, Some((-67i32).to_be_bytes().as_slice()));
    assert_eq!(read(&octets, LookupForm::Homeward), Ok(question()));
}

#[test]
fn a_hostapd_question_has_the_mac_as_password_and_the_ssid_behind_the_colon() {
    // As hostapd 2.10 sends it with macaddr_acl=2 and wpa_psk_radius=2.
    let octets = request(|packet| {
        packet.text(standard::USER_NAME, "02005e100001").unwrap();
        packet.user_password(b"02005e100001").unwrap();
        packet.text(standard::NAS_IDENTIFIER, "gw-17").unwrap();
        let called = "02-00-00-00-01-00:Home SSID with: colons";
        packet.text(standard::CALLED_STATION_ID, called).unwrap();
        packet.integer(standard::NAS_PORT_TYPE, 19).unwrap();
        packet.text(standard::CALLING_STATION_ID, "02-00-5E-10-00-01").unwrap();
        packet.text(standard::CONNECT_INFO, "CONNECT 11Mbps 802.11b").unwrap();
    });
    let without_signal = LookupRequest { signal: None, ..question() };
    assert_eq!(read(&octets, LookupForm::Hostapd), Ok(without_signal));
    let own = asked(&question(), LookupForm::Hostapd);
    assert_eq!(read(&own, LookupForm::Hostapd), Ok(without_signal));
}

#[test]
fn the_mac_is_read_in_any_usual_spelling() {
    for name in ["02:00:5e:10:00:01", "02-00-5E-10-00-01", "0200.5e10.0001", "02005E100001"] {
        let octets = request(|packet| {
            packet.text(standard::USER_NAME, name).unwrap();
            packet.user_password(b"Home").unwrap();
        });
        assert_eq!(read(&octets, LookupForm::Homeward).map(|q| q.mac), Ok(MAC), "{name}");
    }
}

#[test]
fn the_bssid_is_read_in_any_usual_spelling() {
    for (called, bssid, name) in [
        ("02-00-00-00-01-00:a", Some(BSSID), Ok("a")),
        ("02:00:00:00:01:00:a:b", Some(BSSID), Ok("a:b")),
        ("020000000100::", Some(BSSID), Ok(":")),
        ("0200.0000.0100:a", Some(BSSID), Ok("a")),
        ("02-00-00-00-01-00", None, Err(LookupError::NoCalledStation)),
        ("02-00-00-00-01-00 a", None, Err(LookupError::NoCalledStation)),
        ("Home", None, Err(LookupError::NoCalledStation)),
    ] {
        let octets = request(|packet| {
            packet.text(standard::USER_NAME, "02005e100001").unwrap();
            packet.user_password(b"02005e100001").unwrap();
            packet.text(standard::CALLED_STATION_ID, called).unwrap();
        });
        let question = read(&octets, LookupForm::Hostapd);
        assert_eq!(question.map(|q| q.ssid), name.map(ssid), "{called}");
        assert!(question.is_err() || question.unwrap().bssid == bssid, "{called}");
    }
}

#[test]
fn a_question_that_cannot_be_understood_says_why() {
    let name = "02005e100001";
    type Fill = fn(&mut Builder<'_>, &str);
    let cases: [(LookupForm, LookupError, Fill); 9] = [
        (LookupForm::Homeward, LookupError::NoUserName, |p, _| p.user_password(b"x").unwrap()),
        (LookupForm::Homeward, LookupError::UserName, |p, _| {
            p.text(standard::USER_NAME, "someone").and(p.user_password(b"x")).unwrap();
        }),
        (LookupForm::Homeward, LookupError::NoPassword, |p, name| {
            p.text(standard::USER_NAME, name).unwrap()
        }),
        (LookupForm::Homeward, LookupError::HostapdForm, |p, name| {
            p.text(standard::USER_NAME, name).and(p.user_password(name.as_bytes())).unwrap();
            p.text(standard::CALLED_STATION_ID, "02-00-00-00-01-00:Home").unwrap();
        }),
        (LookupForm::Homeward, LookupError::CallingStation, |p, name| {
            p.text(standard::USER_NAME, name).and(p.user_password(b"x")).unwrap();
            p.text(standard::CALLING_STATION_ID, "02-00-5E-10-00-02").unwrap();
        }),
        (LookupForm::Homeward, LookupError::Value("NAS-Identifier"), |p, name| {
            p.text(standard::USER_NAME, name).and(p.user_password(b"x")).unwrap();
            p.octets(standard::NAS_IDENTIFIER, &[0xff]).unwrap();
        }),
        (LookupForm::Homeward, LookupError::Value("Homeward-Signal"), |p, name| {
            p.text(standard::USER_NAME, name).and(p.user_password(b"x")).unwrap();
            p.vendor_integer(homeward::VENDOR, homeward::SIGNAL, 200).unwrap();
        }),
        (LookupForm::Hostapd, LookupError::PasswordIsNotTheMac, |p, name| {
            p.text(standard::USER_NAME, name).and(p.user_password(b"Home")).unwrap();
        }),
        (LookupForm::Hostapd, LookupError::NoCalledStation, |p, name| {
            p.text(standard::USER_NAME, name).and(p.user_password(name.as_bytes())).unwrap();
        }),
    ];
    for (form, error, fill) in cases {
        let octets = request(|packet| fill(packet, name));
        assert_eq!(read(&octets, form), Err(error));
    }
}

#[test]
fn with_another_secret_the_password_is_no_ssid_or_another() {
    let octets = asked(&question(), LookupForm::Homeward);
    let other = SharedSecret::new(&Secret::new("other")).unwrap();
    let packet = Packet::decode(&octets).unwrap();
    let read = LookupRequest::decode(&packet, &other, LookupForm::Homeward);
    assert!(read.is_err() || read.unwrap().ssid != question().ssid);
}

#[test]
fn a_question_that_cannot_be_put_is_refused() {
    let put =
        |question: LookupRequest<'_>, form| question.attributes(form).map(|_| ()).unwrap_err();
    let nul = Ssid::try_from(b"Home\0".as_slice()).unwrap();
    assert_eq!(
        put(LookupRequest { ssid: nul, ..question() }, LookupForm::Homeward).to_string(),
        "User-Password cannot end in a NUL octet"
    );
    assert_eq!(
        put(LookupRequest { nas_identifier: None, ..question() }, LookupForm::Homeward),
        LookupError::NoNasIdentifier
    );
    assert_eq!(
        put(LookupRequest { bssid: None, ..question() }, LookupForm::Hostapd),
        LookupError::NoCalledStation
    );
}

#[test]
fn a_grant_comes_through_whole() {
    for security in [Security::Wpa3Sae, Security::Wpa2Wpa3] {
        let grant = grant(security, key());
        let octets = granted(LookupForm::Homeward, &grant).unwrap();
        assert_eq!(decision(&octets), Ok(Decision::Granted(Box::new(grant))));
    }
}

#[test]
fn wpa2_gets_the_psk_and_not_the_passphrase() {
    let octets = granted(LookupForm::Homeward, &grant(Security::Wpa2Psk, key())).unwrap();
    assert_eq!(passwords(&octets), [(0, "5c".repeat(32))]);
    let Ok(Decision::Granted(read)) = decision(&octets) else { panic!() };
    assert_eq!(read.key, DeviceKey::Psk(Psk::new([0x5c; 32])));
}

#[test]
fn hostapd_gets_the_keys_that_the_security_needs() {
    let (hex, word) = ("5c".repeat(32), "correct horse".to_owned());
    for (security, expected) in [
        (Security::Wpa2Psk, vec![(0, hex.clone())]),
        (Security::Wpa3Sae, vec![(0, word.clone())]),
        (Security::Wpa2Wpa3, vec![(1, word), (2, hex)]),
    ] {
        let octets = granted(LookupForm::Hostapd, &grant(security, key())).unwrap();
        assert_eq!(passwords(&octets), expected, "{security}");
    }
}

#[test]
fn hostapd_gets_nothing_that_it_would_not_read() {
    let octets = granted(LookupForm::Hostapd, &grant(Security::Wpa2Psk, key())).unwrap();
    let packet = Packet::decode(&octets).unwrap();
    let kinds: Vec<_> = packet.attributes().map(|a| a.kind).collect();
    assert_eq!(kinds, [80, 69, 27, 28, 25, 25]);
    assert_eq!(packet.find(standard::SESSION_TIMEOUT), Some(3600u32.to_be_bytes().as_slice()));
}

#[test]
fn bandwidth_goes_by_wispr_and_a_session_is_authorised_anew_when_it_ends() {
    let octets = granted(LookupForm::Homeward, &grant(Security::Wpa2Psk, key())).unwrap();
    let packet = Packet::decode(&octets).unwrap();
    let wispr = |kind| packet.find_vendor(wispr::VENDOR, kind);
    assert_eq!(wispr(wispr::BANDWIDTH_MAX_UP), Some(1_000_000u32.to_be_bytes().as_slice()));
    assert_eq!(wispr(wispr::BANDWIDTH_MAX_DOWN), Some(4_000_000_000u32.to_be_bytes().as_slice()));
    assert_eq!(packet.find(standard::TERMINATION_ACTION), Some([0, 0, 0, 1].as_slice()));
}

#[test]
fn sae_without_a_passphrase_and_802_1x_cannot_be_granted() {
    let bare = DeviceKey::Psk(Psk::new([1; 32]));
    for form in [LookupForm::Homeward, LookupForm::Hostapd] {
        for security in [Security::Wpa3Sae, Security::Wpa2Wpa3] {
            let refused = granted(form, &grant(security, bare.clone()));
            assert_eq!(refused, Err(LookupError::NoPassphrase), "{security}");
        }
        let refused = granted(form, &grant(Security::Enterprise, key()));
        assert_eq!(refused, Err(LookupError::Enterprise));
    }
}

#[test]
fn an_answer_that_lacks_what_it_needs_is_an_error() {
    let own = |packet: &mut Builder<'_>, kind, value: u32| {
        packet.vendor_integer(homeward::VENDOR, kind, value)
    };
    let started = |packet: &mut Builder<'_>| {
        packet.vendor(homeward::VENDOR, homeward::NETWORK_ID, &[0; 8])?;
        packet.vendor(homeward::VENDOR, homeward::SSID, b"Home")
    };
    let accept = |fill: &dyn Fn(&mut Builder<'_>) -> Result<(), LookupError>| {
        decision(&answered(Code::AccessAccept, |packet| fill(packet)).unwrap()).unwrap_err()
    };
    let psk = "5c".repeat(32);
    assert_eq!(accept(&|_| Ok(())), LookupError::Missing("Homeward-Network-Id"));
    assert_eq!(accept(&|p| Ok(started(p)?)), LookupError::Missing("Homeward-Security"));
    assert_eq!(
        accept(&|p| {
            started(p)?;
            Ok(own(p, homeward::SECURITY, 1)?)
        }),
        LookupError::Missing("Tunnel-Password")
    );
    assert_eq!(
        accept(&|p| {
            started(p)?;
            Ok(own(p, homeward::SECURITY, 9)?)
        }),
        LookupError::Unknown { name: "Homeward-Security", value: 9 }
    );
    assert_eq!(
        accept(&|p| {
            p.tunnel_password(0, psk.as_bytes())?;
            started(p)?;
            Ok(own(p, homeward::SECURITY, 2)?)
        }),
        LookupError::NoPassphrase
    );
    assert_eq!(
        accept(&|p| {
            p.tunnel_password(0, psk.as_bytes())?;
            started(p)?;
            own(p, homeward::SECURITY, 1)?;
            Ok(own(p, homeward::ENCRYPTION, 7)?)
        }),
        LookupError::Unknown { name: "Homeward-Encryption", value: 7 }
    );
    assert_eq!(
        accept(&|p| {
            p.tunnel_password(0, psk.as_bytes())?;
            started(p)?;
            own(p, homeward::SECURITY, 1)?;
            Ok(own(p, homeward::PRIORITY, 8)?)
        }),
        LookupError::Value("Homeward-Priority")
    );
    let challenge = answered(Code::AccessChallenge, |_| Ok(())).unwrap();
    assert_eq!(decision(&challenge), Err(LookupError::NotALookup(Code::AccessChallenge)));
}

#[test]
fn a_refusal_comes_through_with_its_reason() {
    for (reason, _) in RefusalReason::ALL {
        let refusal = Refusal { reason, message: "not here".to_owned() };
        let octets = answered(Code::AccessReject, |packet| {
            write_refusal(packet, LookupForm::Homeward, &refusal)
        })
        .unwrap();
        assert_eq!(decision(&octets), Ok(Decision::Refused(refusal)));
    }
}

#[test]
fn a_long_message_is_cut_between_characters() {
    let message = format!("x{}", "\u{e9}".repeat(200));
    let refusal = Refusal { reason: RefusalReason::UnknownDevice, message: message.clone() };
    let octets =
        answered(Code::AccessReject, |packet| write_refusal(packet, LookupForm::Hostapd, &refusal))
            .unwrap();
    let packet = Packet::decode(&octets).unwrap();
    assert_eq!(packet.find(standard::REPLY_MESSAGE), Some(&message.as_bytes()[..253]));
    assert_eq!(packet.attributes().count(), 2, "hostapd gets no reason number");
}

/// The whole way: client, wire, server, wire, client.
#[test]
fn a_look_up_is_asked_answered_and_understood() {
    let mut client = Client::new(ClientSettings::default(), [secret()]);
    let mut server = Server::new(Port::Authentication, ServerSettings::default());
    let (now, mut entropy) = (Instant::ORIGIN, Counted(1));
    let attributes = question().attributes(LookupForm::Homeward).unwrap();
    client.request(now, &mut entropy, Code::AccessRequest, attributes).unwrap();
    let sent = client.poll_transmit().unwrap();

    let source = "192.0.2.1:4711".parse().unwrap();
    let received = server.handle(source, &secret(), Policy::Required, &sent.payload, now);
    let Received::Request { packet, ticket, .. } = received else { panic!("{received:?}") };
    let asked = LookupRequest::decode(&packet, &secret(), LookupForm::Homeward);
    assert_eq!(asked, Ok(question()));
    let grant = grant(Security::Wpa2Wpa3, key());
    let answer = server
        .respond(&ticket, &secret(), Code::AccessAccept, &mut entropy, |packet| {
            write_grant(packet, LookupForm::Homeward, &grant)
        })
        .unwrap();

    client.handle_datagram(0, sent.socket, answer, now);
    let Some(ClientEvent::Answered { answer, .. }) = client.poll_event() else { panic!() };
    assert_eq!(answer.decision(), Ok(Decision::Granted(Box::new(grant))));
}

fn any_ssid() -> impl Strategy<Value = Ssid> {
    proptest::collection::vec(any::<u8>(), 1..=32)
        .prop_filter("ends in NUL", |octets| octets.last() != Some(&0))
        .prop_map(|octets| Ssid::try_from(octets.as_slice()).unwrap())
}

fn any_terms() -> impl Strategy<Value = ServiceTerms> {
    let period =
        prop_oneof![Just(QuotaPeriod::Day), Just(QuotaPeriod::Week), Just(QuotaPeriod::Month)];
    let quota = (any::<u64>(), period).prop_map(|(octets, period)| Quota { octets, period });
    let rates = (any::<Option<u32>>(), any::<Option<u32>>());
    let spans = (any::<Option<u32>>(), any::<Option<u32>>());
    let rest = (0u8..=7, any::<[bool; 2]>(), any::<(bool, bool)>(), any::<Option<i8>>());
    (rates, spans, proptest::option::of(quota), rest).prop_map(
        |(
            (up, down),
            (session, idle),
            quota,
            (rank, [clear, local], (mirrored, striped), threshold),
        )| {
            ServiceTerms {
                priority: Priority::try_from(rank).unwrap(),
                bandwidth: Bandwidth { up, down },
                quota,
                encryption: if clear { Encryption::Off } else { Encryption::Required },
                anchor: if local { Anchor::Local } else { Anchor::Home },
                bonding: BondingModes { mirrored, striped },
                handoff_threshold: threshold.map(Rssi),
                session_timeout: session.map(Seconds),
                idle_timeout: idle.map(Seconds),
                vlan: None,
            }
        },
    )
}

proptest! {
    #[test]
    fn every_question_comes_through(
        mac: [u8; 6],
        ssid in any_ssid(),
        nas in "[a-z0-9-]{1,64}",
        bssid: Option<[u8; 6]>,
        signal: Option<i8>,
        hostapd: bool,
    ) {
        let form = if hostapd { LookupForm::Hostapd } else { LookupForm::Homeward };
        let question = LookupRequest {
            mac: Mac::new(mac),
            ssid,
            nas_identifier: Some(&nas),
            bssid: bssid.or(hostapd.then_some([0; 6])).map(Mac::new),
            signal: signal.filter(|_| !hostapd).map(Rssi),
        };
        let octets = asked(&question, form);
        prop_assert_eq!(read(&octets, form), Ok(question));
    }

    #[test]
    fn every_grant_comes_through(
        network: i64,
        ssid in any_ssid(),
        terms in any_terms(),
        psk: [u8; 32],
        word in "[ -~]{8,63}",
        at_home: bool,
        class in proptest::collection::vec(any::<u8>(), 0..600),
        security in 0..3,
    ) {
        let (psk, passphrase) = (Psk::new(psk), word.parse().unwrap());
        let (security, key) = match security {
            0 => (Security::Wpa2Psk, DeviceKey::Psk(psk)),
            1 => (Security::Wpa3Sae, DeviceKey::Passphrase { passphrase, psk }),
            _ => (Security::Wpa2Wpa3, DeviceKey::Passphrase { passphrase, psk }),
        };
        let network = NetworkId(network);
        let grant = Grant { network, ssid, security, key, terms, at_home, class };
        let octets = granted(LookupForm::Homeward, &grant).unwrap();
        prop_assert_eq!(decision(&octets), Ok(Decision::Granted(Box::new(grant))));
    }
}
