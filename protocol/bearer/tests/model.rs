//! Whatever order reports come in, and however often: held against what the gateways did.
#![cfg(test)]

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use homeward_bearer::{Bearer, Change, Kind, News, Report, Settings, Table};
use homeward_model::{Instant, Name, UnixTime};
use ipnet::IpNet;
use proptest::prelude::*;

const GATEWAYS: [&str; 2] = ["ggsn-1", "ggsn-2"];
/// The second of them is within the last.
const ADDRESSES: [&str; 4] = ["192.0.2.1/32", "2001:db8:0:1::/64", "192.0.2.2/32", "2001:db8::/48"];
const APNS: [&str; 2] = ["internet", "ims"];

/// What a gateway does.
#[derive(Debug, Clone, Copy)]
enum Deed {
    /// Gives an address to a phone; who has it loses it first.
    Give(usize),
    /// Speaks of who has it.
    Speak,
    /// Takes it back.
    Take,
    /// Restarts.
    Restart,
}

type Step = (usize, usize, usize, Deed);

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let deed = prop_oneof![
        4 => (0..5_usize).prop_map(Deed::Give),
        3 => Just(Deed::Speak),
        3 => Just(Deed::Take),
        1 => Just(Deed::Restart),
    ];
    proptest::collection::vec((0..2_usize, 0..2_usize, 0..4_usize, deed), 1..40)
}

/// What is sent of it, in the order of the deeds, and what is true at the end.
struct Story {
    reports: Vec<Report>,
    truth: BTreeSet<(Name, String)>,
}

fn report(gateway: usize, kind: Kind, at: i64, session: &Live) -> Report {
    Report {
        gateway: GATEWAYS[gateway].parse().unwrap(),
        kind,
        session: session.id.clone(),
        event: Some(UnixTime(at * 1000)),
        delay: 0,
        seconds: None,
        imsi: format!("99970000000000{}", session.phone).parse().ok(),
        imei: None,
        msisdn: format!("44770090000{}", session.phone).parse().ok(),
        apn: APNS[session.apn].parse().ok(),
        addresses: session.nets.clone(),
        nsapi: None,
        last_context: false,
    }
}

#[derive(Debug, Clone)]
struct Live {
    id: String,
    phone: usize,
    apn: usize,
    nets: Vec<IpNet>,
}

fn overlap(one: &IpNet, other: &IpNet) -> bool {
    one.contains(other) || other.contains(one)
}

fn tell(steps: &[Step], clock: i64) -> Story {
    let mut reports = Vec::new();
    let mut live: BTreeMap<(usize, String), Live> = BTreeMap::new();
    let mut at = clock;
    for (n, (gateway, apn, address, deed)) in steps.iter().copied().enumerate() {
        at += 1;
        let net: IpNet = ADDRESSES[address].parse().unwrap();
        let holders: Vec<(usize, String)> = live
            .iter()
            .filter(|((g, _), s)| *g == gateway && s.apn == apn)
            .filter(|(_, s)| s.nets.iter().any(|held| overlap(held, &net)))
            .map(|(key, _)| key.clone())
            .collect();
        let mut stop = |reports: &mut Vec<Report>, at: i64| {
            for key in &holders {
                let gone = live.remove(key).unwrap();
                reports.push(report(gateway, Kind::Stop, at, &gone));
            }
        };
        match deed {
            Deed::Give(phone) => {
                stop(&mut reports, at);
                at += 1;
                let new = Live { id: format!("s{n}"), phone, apn, nets: vec![net] };
                reports.push(report(gateway, Kind::Start, at, &new));
                live.insert((gateway, new.id.clone()), new);
            }
            Deed::Take => stop(&mut reports, at),
            Deed::Speak => {
                for key in &holders {
                    reports.push(report(gateway, Kind::Interim, at, &live[key]));
                }
            }
            Deed::Restart => {
                live.retain(|(g, _), _| *g != gateway);
                let none = Live { id: String::new(), phone: 0, apn, nets: Vec::new() };
                reports.push(report(gateway, Kind::On, at, &none));
            }
        }
    }
    let name = |g: usize| GATEWAYS[g].parse().unwrap();
    let truth = live.into_keys().map(|(g, id)| (name(g), id)).collect();
    Story { reports, truth }
}

fn held(table: &Table) -> BTreeSet<(Name, String)> {
    let of = |g: &str| -> Vec<Bearer> { table.bearers_of(&g.parse().unwrap()).cloned().collect() };
    GATEWAYS.iter().flat_map(|g| of(g)).map(|b| (b.gateway, b.session)).collect()
}

/// What whoever keeps the changes has.
#[derive(Default)]
struct Kept(BTreeMap<(Name, Option<String>, IpNet), Bearer>);

impl Kept {
    fn keep(&mut self, changes: Vec<Change>) {
        let key = |b: &Bearer| {
            (b.gateway.clone(), b.apn.as_ref().map(|a| a.as_str().to_owned()), b.address)
        };
        for change in changes {
            match change {
                Change::Put(bearer) => {
                    self.0.insert(key(&bearer), bearer);
                }
                Change::Removed(bearer) => {
                    self.0.remove(&key(&bearer));
                }
                Change::Cleared { gateway } => self.0.retain(|(of, ..), _| *of != gateway),
            }
        }
    }
}

/// What holds whatever comes.
fn check(table: &Table, kept: &Kept, stopped: &BTreeSet<(Name, String)>) {
    let all: Vec<&Bearer> =
        GATEWAYS.iter().flat_map(|g| table.bearers_of(&g.parse().unwrap())).collect();
    assert_eq!(all.len(), table.len());
    for (n, one) in all.iter().enumerate() {
        let twice = all.iter().skip(n + 1).find(|other| {
            let place = one.gateway == other.gateway && one.apn == other.apn;
            place && overlap(&one.address, &other.address)
        });
        assert_eq!(twice, None, "two have one address");
        let name = (one.gateway.clone(), one.session.clone());
        assert!(!stopped.contains(&name), "{name:?} was stopped");
        let key =
            (one.gateway.clone(), one.apn.as_ref().map(|a| a.as_str().to_owned()), one.address);
        assert_eq!(kept.0.get(&key), Some(*one), "what is kept is what there is");
    }
    assert_eq!(kept.0.len(), all.len(), "and no more");
}

/// Hands reports over in the order of their keys.
fn deliver(story: &Story, order: &[u16], settings: Settings) -> Table {
    let mut table = Table::new(settings);
    let mut kept = Kept::default();
    let mut stopped = BTreeSet::new();
    let copies = story.reports.iter().chain(&story.reports);
    let mut all: Vec<(u16, &Report)> = copies
        .enumerate()
        .map(|(n, report)| (order.get(n % order.len().max(1)).copied().unwrap_or(0), report))
        .collect();
    all.sort_by_key(|(key, _)| *key);
    let mut now = Instant::ORIGIN;
    for (_, report) in all {
        now = now + Duration::from_millis(1);
        if report.kind == Kind::Stop {
            stopped.insert((report.gateway.clone(), report.session.clone()));
        }
        kept.keep(table.handle(report, UnixTime(1_000_000), now).changes);
        check(&table, &kept, &stopped);
        assert!(table.remembered() <= settings.remembered);
        assert!(table.len() <= settings.bearers);
    }
    kept.keep(table.handle_timeout(now + settings.silence, usize::MAX));
    check(&table, &kept, &stopped);
    assert!(table.is_empty(), "silence ends all");
    table
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    #[test]
    fn no_address_is_two_subscribers_and_nothing_comes_back(
        steps in steps(),
        order in proptest::collection::vec(any::<u16>(), 1..160),
        clock in prop_oneof![Just(1000_i64), Just(400), Just(1100)],
    ) {
        deliver(&tell(&steps, clock), &order, Settings::default());
    }

    #[test]
    fn not_even_where_little_can_be_remembered(
        steps in steps(),
        order in proptest::collection::vec(any::<u16>(), 1..160),
        remembered in 0..4_usize,
        bearers in 1..4_usize,
    ) {
        let settings = Settings { remembered, bearers, ..Settings::default() };
        deliver(&tell(&steps, 1000), &order, settings);
    }

    #[test]
    fn what_all_reports_say_is_what_is_true_in_whichever_order_they_come(
        steps in steps(),
        order in proptest::collection::vec(any::<u16>(), 160),
    ) {
        let story = tell(&steps, 1000);
        let mut table = Table::new(Settings::default());
        let mut all: Vec<(u16, &Report)> = story.reports.iter().chain(&story.reports)
            .enumerate()
            .map(|(n, report)| (order[n % order.len()], report))
            .collect();
        all.sort_by_key(|(key, _)| *key);
        for (_, report) in all {
            table.handle(report, UnixTime(1_100_000), Instant::ORIGIN);
        }
        prop_assert_eq!(held(&table), story.truth);
    }
}

#[test]
fn a_report_that_is_repeated_is_no_news() {
    let story = tell(&[(0, 0, 0, Deed::Give(1))], 1000);
    let mut table = Table::new(Settings::default());
    let news = |table: &mut Table| {
        table.handle(&story.reports[0], UnixTime(1_000_000), Instant::ORIGIN).news
    };
    assert_eq!(news(&mut table), News::Began);
    assert_eq!(news(&mut table), News::Goes);
}
