//! Messages of all kinds.

use homeward_model::{
    EapMethod, Imei, Imsi, Mac, Nai, Rssi, Seconds, Secret, Ssid, TimeOfDay, UnixTime, Weekday,
    Window, WlanNetwork, WlanPolicy,
};
use homeward_offload::wire::{CredentialAnswer, CredentialRequest, HandoffKeys};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

pub(crate) const IMSI: &str = "999700123456789";
pub(crate) const IMEI: &str = "356938035643809";
pub(crate) const MAC: &str = "02:00:5e:10:00:01";
pub(crate) const PASSWORD: &str = "mfrggzdfmztwq2lkmfrggzdfmy";

pub(crate) fn plain_request() -> CredentialRequest {
    CredentialRequest {
        imsi: IMSI.parse().unwrap(),
        imei: Some(IMEI.parse().unwrap()),
        mac: MAC.parse().unwrap(),
        previous: None,
        handoff: false,
    }
}

pub(crate) const ROOT: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

pub(crate) fn plain_handoff() -> HandoffKeys {
    let root = data_encoding::HEXLOWER.decode(ROOT.as_bytes()).unwrap();
    let (name, root) = ("hdjv3@wifi.example.net".parse().unwrap(), Secret::new(root));
    HandoffKeys { name, root, version: 1_770_000_000 }
}

pub(crate) fn plain_policy() -> WlanPolicy {
    let network =
        |ssid: &str| WlanNetwork { ssid: ssid.parse().unwrap(), metered: false, join: None };
    WlanPolicy {
        networks: vec![network("Town")],
        eap: EapMethod::Peap,
        anonymous: Some("anonymous@wifi.example.net".parse().unwrap()),
        server_name: "aaa.example.net".to_owned(),
        ca: None,
        join: Rssi(-67),
        leave: Rssi(-77),
        dwell: Seconds(3),
        schedule: vec![],
    }
}

pub(crate) fn plain_answer() -> CredentialAnswer {
    CredentialAnswer {
        username: "k5gu2zlsnzqw2zjt@wifi.example.net".parse().unwrap(),
        password: Secret::new(PASSWORD),
        expires: Some(UnixTime(1_770_465_600_000)),
        renew_from: Some(UnixTime(1_770_379_200_000)),
        one_time: false,
        policy: plain_policy(),
        handoff: None,
    }
}

pub(crate) fn imsi() -> impl Strategy<Value = Imsi> {
    "[0-9]{6,15}".prop_map(|text| text.parse().unwrap())
}

pub(crate) fn imei() -> impl Strategy<Value = Imei> {
    "[0-9]{14,16}".prop_map(|text| text.parse().unwrap())
}

pub(crate) fn mac() -> impl Strategy<Value = Mac> {
    any::<[u8; 6]>().prop_map(|[a, b, c, d, e, f]| Mac::new([a & !1, b, c, d, e, f]))
}

/// Names that XML carries: all but those with white space at an end, or U+FFFE and U+FFFF.
pub(crate) fn nai() -> impl Strategy<Value = Nai> {
    "[a-zA-Z0-9_.<>&\"'ü=*/,-][a-zA-Z0-9_.<>&\"' ü=*/,]{0,20}[a-z]?(@[a-z0-9.-]{1,30})?"
        .prop_filter_map("no name", |text| text.trim_end().parse().ok())
}

pub(crate) fn request() -> impl Strategy<Value = CredentialRequest> {
    (imsi(), option::of(imei()), mac(), option::of(nai()), any::<bool>()).prop_map(
        |(imsi, imei, mac, previous, handoff)| CredentialRequest {
            imsi,
            imei,
            mac,
            previous,
            handoff,
        },
    )
}

fn ssid() -> impl Strategy<Value = Ssid> {
    prop_oneof![
        vec(any::<u8>(), 1..=32).prop_map(|octets| Ssid::try_from(octets.as_slice()).unwrap()),
        "[ -~]{1,32}".prop_map(|text| text.parse().unwrap()),
        "hex:[0-9a-f]{0,8}".prop_map(|text| text.parse().unwrap()),
        "/[0-9:-]{0,8}".prop_map(|text| text.parse().unwrap()),
        Just("-".parse().unwrap()),
    ]
}

fn network() -> impl Strategy<Value = WlanNetwork> {
    (ssid(), any::<bool>(), option::of(-70..=127i8)).prop_map(|(ssid, metered, join)| WlanNetwork {
        ssid,
        metered,
        join: join.map(Rssi),
    })
}

fn time() -> impl Strategy<Value = TimeOfDay> {
    (0..=1440u16).prop_map(|all| format!("{:02}:{:02}", all / 60, all % 60).parse().unwrap())
}

fn window() -> impl Strategy<Value = Window> {
    use Weekday::*;
    let days = proptest::sample::subsequence(vec![Mon, Tue, Wed, Thu, Fri, Sat, Sun], 0..=7);
    (days, time(), time()).prop_map(|(days, from, to)| Window { days, from, to })
}

pub(crate) fn ca() -> impl Strategy<Value = String> {
    "[A-Za-z0-9+/\n]{1,200}[A-Za-z0-9]=".prop_map(|body| {
        format!("-----BEGIN CERTIFICATE-----\n{body}\n-----END CERTIFICATE-----\n")
    })
}

/// Policies that pass their own check.
pub(crate) fn policy() -> impl Strategy<Value = WlanPolicy> {
    let eap = proptest::sample::select(vec![
        EapMethod::Peap,
        EapMethod::TtlsPap,
        EapMethod::TtlsMschapv2,
    ]);
    let anonymous = prop_oneof![nai(), Just("-".parse().unwrap())];
    let who = (eap, option::of(anonymous), "[a-z]{1,9}\\.[a-z-]{1,20}", option::of(ca()));
    let signal =
        prop_oneof![(-70..=127i8, -128..=-73i8, any::<u32>()), Just((-67i8, -77i8, 3u32)),];
    (vec(network(), 1..=16), who, signal, vec(window(), 0..=6)).prop_filter_map(
        "the policy's own check",
        |(networks, (eap, anonymous, server_name, ca), (join, leave, dwell), schedule)| {
            let (join, leave, dwell) = (Rssi(join), Rssi(leave), Seconds(dwell));
            let policy = WlanPolicy {
                networks,
                eap,
                anonymous,
                server_name,
                ca,
                join,
                leave,
                dwell,
                schedule,
            };
            policy.check().is_ok().then_some(policy)
        },
    )
}

fn moment() -> impl Strategy<Value = Option<UnixTime>> {
    option::of((0..=253_402_300_799_999i64).prop_map(UnixTime))
}

pub(crate) fn handoff() -> impl Strategy<Value = HandoffKeys> {
    (nai(), any::<[u8; 32]>(), 1..=u32::MAX).prop_map(|(name, root, version)| HandoffKeys {
        name,
        root: Secret::new(root),
        version,
    })
}

pub(crate) fn answer() -> impl Strategy<Value = CredentialAnswer> {
    let password = prop_oneof![
        Just(PASSWORD.to_owned()),
        "[!-~ü]([ -~]{0,60}[!-~])?".prop_map(|text: String| text),
    ];
    let rest = (policy(), option::of(handoff()));
    (nai(), password, moment(), moment(), any::<bool>(), rest).prop_map(
        |(username, password, expires, renew_from, one_time, (policy, handoff))| CredentialAnswer {
            username,
            password: Secret::new(password),
            expires,
            renew_from,
            one_time,
            policy,
            handoff,
        },
    )
}
