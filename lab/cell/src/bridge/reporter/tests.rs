//! The machine by itself, without a GGSN.

use std::net::Ipv4Addr;

use homeward_model::Imsi;
use proptest::prelude::*;

use super::*;
use crate::register::Entry;
use crate::vty::Tunnel;

const INTERIM: Duration = Duration::from_secs(60);

fn at(seconds: u64) -> (Instant, UnixTime) {
    let wall = 1_800_000_000_000 + i64::try_from(seconds * 1000).unwrap();
    (Instant::ORIGIN + Duration::from_secs(seconds), UnixTime(wall))
}

fn context(sim: u32, address: u8) -> PdpContext {
    let end = |last| Tunnel { address: Ipv4Addr::new(10, 90, 0, last).into(), teid: sim };
    PdpContext {
        imsi: imsi(sim),
        nsapi: 0,
        msisdn: None,
        ggsn: end(1),
        sgsn: end(2),
        ggsn_data: end(1),
        apn: "internet".parse().unwrap(),
        ipv4: Some(Ipv4Addr::new(10, 60, 0, address)),
        ipv6: None,
    }
}

fn imsi(sim: u32) -> Imsi {
    format!("99970{sim:010}").parse().unwrap()
}

/// A report in a word: `start 2` is of the address that ends in 2.
fn word(report: &Report) -> String {
    let of = |session: &Session| session.context.ipv4.unwrap().octets()[3];
    match &report.kind {
        ReportKind::On => "on".to_owned(),
        ReportKind::Off => "off".to_owned(),
        ReportKind::Start(session) => format!("start {}", of(session)),
        ReportKind::Interim(session) => format!("interim {}", of(session)),
        ReportKind::Stop(session) => format!("stop {}", of(session)),
    }
}

/// Takes all that may be sent.
fn sent(reporter: &mut Reporter) -> Vec<(ReportId, String)> {
    std::iter::from_fn(|| reporter.poll_report()).map(|(id, r)| (id, word(&r))).collect()
}

/// Sends and answers until nothing is left.
fn said(reporter: &mut Reporter) -> Vec<String> {
    let mut all = Vec::new();
    loop {
        let these = sent(reporter);
        if these.is_empty() {
            return all;
        }
        for (id, word) in these {
            reporter.handle_answered(id);
            all.push(word);
        }
    }
}

/// A reporter whose Accounting-On is answered.
fn running() -> Reporter {
    let mut reporter =
        Reporter::new(ReporterSettings { interim: INTERIM, ..ReporterSettings::default() });
    reporter.handle_up(at(0).1);
    assert_eq!(said(&mut reporter), ["on"]);
    reporter
}

fn look(reporter: &mut Reporter, contexts: &[PdpContext], seconds: u64) {
    let (now, wall) = at(seconds);
    reporter.handle_contexts(contexts, &Register::default(), now, wall);
}

#[test]
fn what_comes_starts_and_what_goes_stops_once() {
    let mut reporter = running();
    for seconds in 1..4 {
        look(&mut reporter, &[context(1, 2), context(2, 3)], seconds);
    }
    assert_eq!(said(&mut reporter), ["start 2", "start 3"]);
    for seconds in 4..6 {
        look(&mut reporter, &[context(2, 3)], seconds);
    }
    assert_eq!(said(&mut reporter), ["stop 2"]);
}

#[test]
fn an_address_that_changes_hands_ends_before_it_begins() {
    let mut reporter = running();
    look(&mut reporter, &[context(1, 2)], 1);
    assert_eq!(said(&mut reporter), ["start 2"]);
    look(&mut reporter, &[context(2, 2)], 2);
    let order: Vec<_> = std::iter::from_fn(|| reporter.poll_report()).collect();
    assert_eq!(order.iter().map(|(_, r)| word(r)).collect::<Vec<_>>(), ["stop 2", "start 2"]);
    let of = |n: usize| order[n].1.session().unwrap();
    assert_eq!((of(0).context.imsi, of(1).context.imsi), (imsi(1), imsi(2)));
    assert_ne!(of(0).charging_id, of(1).charging_id);
}

#[test]
fn nothing_is_said_before_the_accounting_on_is_answered() {
    let mut reporter = Reporter::new(ReporterSettings::default());
    reporter.handle_up(at(0).1);
    look(&mut reporter, &[context(1, 2)], 0);
    let on = sent(&mut reporter);
    assert_eq!(on.len(), 1);
    assert_eq!(on[0].1, "on");
    reporter.handle_unanswered(on[0].0);
    let again = sent(&mut reporter);
    assert_eq!(again, on);
    reporter.handle_answered(again[0].0);
    assert_eq!(said(&mut reporter), ["start 2"]);
}

#[test]
fn a_stop_waits_for_its_start_and_for_nobody_elses() {
    let mut reporter = running();
    look(&mut reporter, &[context(1, 2)], 1);
    let start = sent(&mut reporter);
    look(&mut reporter, &[context(2, 3)], 2);
    assert_eq!(sent(&mut reporter)[0].1, "start 3");
    reporter.handle_unanswered(start[0].0);
    assert_eq!(sent(&mut reporter), start);
    reporter.handle_answered(start[0].0);
    assert_eq!(said(&mut reporter), ["stop 2"]);
}

#[test]
fn a_session_is_confirmed_at_intervals_but_not_twice_while_nobody_answers() {
    let mut reporter = running();
    look(&mut reporter, &[context(1, 2)], 1);
    assert_eq!(said(&mut reporter), ["start 2"]);
    assert_eq!(reporter.poll_timeout(), Some(at(61).0));
    for seconds in [60, 61, 121] {
        let (now, wall) = at(seconds);
        reporter.handle_timeout(now, wall);
    }
    assert_eq!(said(&mut reporter), ["interim 2"]);
    let (now, wall) = at(181);
    reporter.handle_timeout(now, wall);
    assert_eq!(said(&mut reporter), ["interim 2"]);
}

#[test]
fn a_gateway_that_comes_back_has_nothing_of_what_it_had() {
    let mut reporter = running();
    look(&mut reporter, &[context(1, 2)], 1);
    // Its Start is under way when the gateway dies.
    let start = sent(&mut reporter);
    reporter.handle_up(at(2).1);
    reporter.handle_unanswered(start[0].0);
    look(&mut reporter, &[context(1, 2)], 3);
    assert_eq!(said(&mut reporter), ["on", "start 2"]);
}

#[test]
fn at_the_end_an_off_says_it_all() {
    let mut reporter = running();
    look(&mut reporter, &[context(1, 2)], 1);
    assert!(!reporter.is_closed());
    reporter.handle_close(at(2).1);
    look(&mut reporter, &[context(1, 2)], 3);
    reporter.handle_up(at(3).1);
    assert!(!reporter.is_closed());
    assert_eq!(said(&mut reporter), ["off"]);
    assert!(reporter.is_closed());
}

#[test]
fn number_and_equipment_are_what_the_register_says_when_it_begins() {
    let mut reporter = running();
    let mut register = Register::default();
    let entry = Entry {
        msisdn: Some("447700900123".parse().unwrap()),
        imei: Some("3569380356438001".parse().unwrap()),
    };
    register.insert(imsi(1), entry);
    let (now, wall) = at(1);
    reporter.handle_contexts(&[context(1, 2), context(2, 3)], &register, now, wall);
    let entries: Vec<_> = std::iter::from_fn(|| reporter.poll_report())
        .map(|(_, report)| report.session().unwrap().entry)
        .collect();
    assert_eq!(entries, [Some(entry), None]);
}

proptest! {
    /// However reports are lost: who listens believes at the end what is true.
    #[test]
    fn whatever_is_lost_who_is_told_ends_up_with_what_is_there(
        steps in prop::collection::vec((prop::collection::btree_set((0u32..4, 2u8..5), 0..4), any::<u64>()), 1..20)
    ) {
        let mut reporter = running();
        let mut believed: BTreeMap<u32, PdpContext> = BTreeMap::new();
        let mut there = Vec::new();
        let deliver = |reporter: &mut Reporter, believed: &mut BTreeMap<u32, PdpContext>, mut luck: u64| {
            while let Some((id, report)) = reporter.poll_report() {
                // The report may be lost, or its answer.
                if luck & 1 == 0 {
                    let session = report.session().unwrap();
                    match report.kind {
                        ReportKind::Stop(_) => believed.remove(&session.charging_id),
                        _ => believed.insert(session.charging_id, session.context.clone()),
                    };
                }
                if luck & 3 == 0 { reporter.handle_answered(id) } else { reporter.handle_unanswered(id) }
                luck >>= 2;
                if luck == 0 { break }
            }
        };
        for (seconds, (contexts, luck)) in steps.into_iter().enumerate() {
            there = contexts.into_iter().map(|(sim, address)| context(sim, address)).collect();
            look(&mut reporter, &there, u64::try_from(seconds).unwrap());
            deliver(&mut reporter, &mut believed, luck);
        }
        for _ in 0..200 {
            deliver(&mut reporter, &mut believed, 1 << 62);
        }
        let mut now: Vec<_> = believed.into_values().collect();
        now.sort();
        prop_assert_eq!(now, there);
    }
}
