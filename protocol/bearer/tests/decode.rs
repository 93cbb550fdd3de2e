//! Accounting-Requests of packet gateways, read. Attributes as in 3GPP TS 29.061 16.4.3 to 16.4.7.
#![cfg(test)]

use homeward_bearer::{Kind, Report, ReportError, Source};
use homeward_model::{Secret, UnixTime};
use homeward_radius::dictionary::{standard as s, threegpp as t};
use homeward_radius::{Builder, Code, Packet, SharedSecret};

type Attributes<'a> = &'a [(u8, &'a [u8])];

/// Types from 1,000 on are 3GPP's.
const T: u16 = 1000;

fn source() -> Source {
    Source { gateway: "ggsn-1".parse().unwrap(), apns: vec![], imsi_in_user_name: false }
}

fn read_from(
    source: &Source,
    own: Attributes<'_>,
    theirs: Attributes<'_>,
) -> Result<Report, ReportError> {
    let secret = SharedSecret::new(&Secret::new("xyzzy5461")).unwrap();
    let mut out = Vec::new();
    let mut packet = Builder::request(&mut out, &secret, Code::AccountingRequest, 1, [0; 16]);
    for (kind, value) in own {
        packet.octets(*kind, value).unwrap();
    }
    for (kind, value) in theirs {
        packet.vendor(t::VENDOR, *kind, value).unwrap();
    }
    packet.finish();
    Report::decode(&Packet::decode(&out).unwrap(), source)
}

/// A Start with these, too.
fn start(more: &[(u16, &[u8])]) -> Result<Report, ReportError> {
    start_from(&source(), more)
}

fn start_from(source: &Source, more: &[(u16, &[u8])]) -> Result<Report, ReportError> {
    let start: [(u8, &[u8]); 2] =
        [(s::ACCT_STATUS_TYPE, &[0, 0, 0, 1]), (s::ACCT_SESSION_ID, b"C000020100000001")];
    let kind = |kind: u16| u8::try_from(kind % T).unwrap();
    let own = more.iter().filter(|(k, _)| *k < T).map(|(k, v)| (kind(*k), *v));
    let theirs = more.iter().filter(|(k, _)| *k >= T).map(|(k, v)| (kind(*k), *v));
    let own: Vec<(u8, &[u8])> = start.into_iter().chain(own).collect();
    read_from(source, &own, &theirs.collect::<Vec<_>>())
}

fn ours(kind: u8) -> u16 {
    u16::from(kind)
}

fn theirs(kind: u8) -> u16 {
    T + u16::from(kind)
}

#[test]
fn an_interim_is_read_whole() {
    let own: Attributes<'_> = &[
        (s::ACCT_STATUS_TYPE, &[0, 0, 0, 3]),
        (s::ACCT_SESSION_ID, b"C000020100000001"),
        (s::EVENT_TIMESTAMP, &1_800_000_000_u32.to_be_bytes()),
        (s::ACCT_DELAY_TIME, &[0, 0, 0, 4]),
        (s::ACCT_SESSION_TIME, &[0, 0, 0, 60]),
        (s::CALLING_STATION_ID, b"447700900123"),
        (s::CALLED_STATION_ID, b"internet"),
        (s::FRAMED_IP_ADDRESS, &[192, 0, 2, 1]),
        (s::FRAMED_IPV6_PREFIX, &[0, 64, 0x20, 1, 0xd, 0xb8, 0, 0, 0, 1]),
    ];
    let more: Attributes<'_> = &[
        (t::IMSI, b"999700123456789"),
        (t::IMEISV, b"3569380356438001"),
        (t::NSAPI, b"5"),
        (t::RAT_TYPE, &[6]),
    ];
    let report = read_from(&source(), own, more).unwrap();
    assert_eq!((report.kind, report.session.as_str()), (Kind::Interim, "C000020100000001"));
    assert_eq!(report.event, Some(UnixTime(1_800_000_000_000)));
    assert_eq!((report.delay, report.seconds), (4, Some(60)));
    assert_eq!(report.imsi.unwrap().as_str(), "999700123456789");
    assert_eq!(report.imei.unwrap().as_str(), "3569380356438001");
    assert_eq!(report.msisdn.unwrap().as_str(), "447700900123");
    assert_eq!(report.apn.as_ref().unwrap().as_str(), "internet");
    let addresses: Vec<String> = report.addresses.iter().map(ToString::to_string).collect();
    assert_eq!(addresses, ["192.0.2.1/32", "2001:db8:0:1::/64"]);
    assert_eq!((report.nsapi, report.last_context), (Some(5), false));
    let shown = format!("{report:?}");
    for secret in ["0123456789", "447700", "192.0.2", "2001:"] {
        assert!(!shown.contains(secret), "{shown}");
    }
}

#[test]
fn an_imsi_in_user_name_counts_only_where_the_gateway_puts_it_there() {
    let name = [(ours(s::USER_NAME), &b"999700123456789@apn"[..])];
    assert_eq!(start(&name).unwrap().imsi, None, "a device may send anybody's");
    let trusting = Source { imsi_in_user_name: true, ..source() };
    assert_eq!(start_from(&trusting, &name).unwrap().imsi.unwrap().as_str(), "999700123456789");
    let both = [name[0], (theirs(t::IMSI), b"999700999999999")];
    assert_eq!(start_from(&trusting, &both).unwrap().imsi.unwrap().as_str(), "999700999999999");
    let plain = [(ours(s::USER_NAME), &b"guest"[..])];
    assert_eq!(start_from(&trusting, &plain).unwrap().imsi, None);
}

#[test]
fn an_imsi_that_is_none_and_one_too_many_are_refused() {
    let wrong = start(&[(theirs(t::IMSI), b"99970012345678F")]).unwrap_err();
    assert_eq!(
        wrong.to_string(),
        "3GPP-IMSI is not an IMSI: 6 to 15 digits: see what the gateway puts there"
    );
    let imsi = (theirs(t::IMSI), &b"999700123456789"[..]);
    assert!(start(&[imsi, imsi]).is_ok(), "twice the same says the same");
    let two = start(&[imsi, (theirs(t::IMSI), b"999700123456780")]).unwrap_err();
    assert_eq!((two.label(), two), ("repeated-attribute", ReportError::Repeated(t::IMSI)));
}

#[test]
fn what_only_describes_is_left_out_where_it_cannot_be_read() {
    let odd = start(&[
        (theirs(t::IMEISV), b"unknown"),
        (theirs(t::NSAPI), b"five"),
        (ours(s::CALLING_STATION_ID), b"anonymous"),
        (ours(s::CALLED_STATION_ID), b"not a name"),
    ])
    .unwrap();
    assert_eq!((odd.imei, odd.msisdn, odd.apn, odd.nsapi), (None, None, None, None));
    let plus = start(&[(ours(s::CALLING_STATION_ID), b"+447700900123")]).unwrap();
    assert_eq!(plus.msisdn.unwrap().as_str(), "447700900123");
}

#[test]
fn an_access_point_name_loses_its_operator() {
    for (sent, read) in [
        ("internet.mnc070.mcc999.gprs", "internet"),
        ("IMS.Corp.mnc070.mcc999.gprs", "ims.corp"),
        ("internet.gprs", "internet.gprs"),
        ("mnc070.mcc999.gprs", "mnc070.mcc999.gprs"),
    ] {
        let report = start(&[(ours(s::CALLED_STATION_ID), sent.as_bytes())]).unwrap();
        assert_eq!(report.apn.unwrap().as_str(), read, "{sent}");
    }
}

#[test]
fn an_access_point_name_that_is_not_configured_is_no_matter_of_ours() {
    let apns = |names: &[&str]| Source {
        apns: names.iter().map(|n| n.parse().unwrap()).collect(),
        ..source()
    };
    let named = |name: &'static str| [(ours(s::CALLED_STATION_ID), name.as_bytes())];
    let (one, two) = (apns(&["internet"]), apns(&["internet", "ims"]));
    assert!(start_from(&two, &named("ims")).is_ok());
    assert_eq!(start_from(&one, &named("ims")), Err(ReportError::OtherApn));
    assert_eq!(start_from(&one, &[]).unwrap().apn.unwrap().as_str(), "internet");
    assert_eq!(start_from(&two, &[]), Err(ReportError::OtherApn), "it could be either");
    let on: Attributes<'_> =
        &[(s::ACCT_STATUS_TYPE, &[0, 0, 0, 7]), (s::CALLED_STATION_ID, b"ims")];
    assert_eq!(read_from(&one, on, &[]).unwrap().kind, Kind::On, "a restart is of all");
}

#[test]
fn what_is_no_address_of_a_device_is_left_out_and_what_would_be_everybodys_is_refused() {
    for none in [[255, 255, 255, 254], [255, 255, 255, 255], [0, 0, 0, 0], [127, 0, 0, 1]] {
        assert_eq!(start(&[(ours(s::FRAMED_IP_ADDRESS), &none)]).unwrap().addresses, []);
    }
    for wrong in
        [&[0, 0][..], &[0, 39, 0x20, 1, 0xd, 0xb8, 0], &[0, 129, 0x20, 1], &[0, 64, 0x20, 1], &[0]]
    {
        let error = start(&[(ours(s::FRAMED_IPV6_PREFIX), wrong)]).unwrap_err();
        assert_eq!(error, ReportError::Prefix { what: "Framed-IPv6-Prefix" }, "{wrong:?}");
    }
}

#[test]
fn of_prefixes_within_one_another_the_widest_is_told_and_bits_beyond_its_length_are_none() {
    let report = start(&[
        (ours(s::FRAMED_IPV6_PREFIX), &[0, 64, 0x20, 1, 0xd, 0xb8, 0, 0, 0, 1, 9, 9]),
        (123, &[0, 56, 0x20, 1, 0xd, 0xb8, 0, 0, 0]),
        (168, &[0x20, 1, 0xd, 0xb8, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1]),
        (168, &[0x20, 1, 0xd, 0xb8, 0, 1, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1]),
    ])
    .unwrap();
    let addresses: Vec<String> = report.addresses.iter().map(ToString::to_string).collect();
    assert_eq!(addresses, ["2001:db8::/56", "2001:db8:1:1::1/128"]);
    let octets: Vec<[u8; 4]> = (0..9).map(|n| [192, 0, 2, n + 1]).collect();
    let many: Vec<(u16, &[u8])> =
        octets.iter().map(|o| (ours(s::FRAMED_IP_ADDRESS), &o[..])).collect();
    assert_eq!(start(&many), Err(ReportError::TooMany));
}

#[test]
fn only_a_stop_is_the_last_of_its_contexts() {
    let indicator: Attributes<'_> = &[(t::SESSION_STOP_INDICATOR, &[0xff])];
    for (status, last) in [(1, false), (2, true), (3, false)] {
        let own: Attributes<'_> =
            &[(s::ACCT_STATUS_TYPE, &[0, 0, 0, status]), (s::ACCT_SESSION_ID, b"1")];
        assert_eq!(read_from(&source(), own, indicator).unwrap().last_context, last);
    }
}
