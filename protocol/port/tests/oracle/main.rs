//! The port against an oracle: the same rules once more, written down plainly and slowly, and any
//! traffic that a generator can think of.
#![cfg(test)]

mod limits;
mod oracle;
mod packets;
mod traffic;

use std::time::Duration;

use homeward_model::{Instant, Mac};
use homeward_port::testing::{DEVICE, OTHER_DEVICE, ROUTER, ROUTER_V4};
use homeward_port::{
    AddressPolicy, Device, FrameRate, GroupLimits, Neighbour, Port, Rate, Settings, Side, Verdict,
};
use oracle::Oracle;
use proptest::prelude::*;

/// Rates whose nanoseconds are whole numbers, so that both come to the same to the last frame.
fn settings(side: Side, addresses: AddressPolicy) -> Settings {
    let limits = GroupLimits {
        arp: FrameRate::new(2, 4),
        near: FrameRate::new(4, 6),
        wide: FrameRate::new(1, 1),
    };
    let rate = Rate { bits_per_second: 8_000, burst: 2_000 };
    let known =
        |address: &str, mac: Option<Mac>| Neighbour { address: address.parse().unwrap(), mac };
    Settings {
        side,
        devices: vec![
            Device { up: Some(rate), down: Some(rate), ..Device::new(DEVICE) },
            Device::new(OTHER_DEVICE),
        ],
        protected: vec![
            Neighbour { address: ROUTER_V4.into(), mac: Some(ROUTER) },
            known("fe80::1", Some(ROUTER)),
            known("192.168.1.9", None),
            known("192.168.1.50", Some(DEVICE)),
        ],
        addresses,
        from_stranger: limits,
        to_stranger: limits,
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    #[test]
    fn a_port_says_what_the_oracle_says(
        home in prop::bool::weighted(0.9),
        learn in prop::bool::weighted(0.8),
        traffic in prop::collection::vec(traffic::event(), 1..120),
    ) {
        let side = if home { Side::Home } else { Side::Foreign };
        let policy = if learn { AddressPolicy::Learn } else { AddressPolicy::Assigned };
        let settings = settings(side, policy);
        let mut now = Instant::from_nanos(5_000_000_000);
        let mut port = Port::new(settings.clone(), now);
        let mut oracle = Oracle::new(&settings);
        for (n, event) in traffic.iter().enumerate() {
            now = now + Duration::from_millis(event.wait_ms);
            let (frame, from) = (&event.frame, event.from_stranger);
            let verdict = match from {
                true => port.from_stranger(frame, now),
                false => port.to_stranger(frame, now),
            };
            let expected = match oracle.judge(frame, from, now.as_nanos()) {
                Ok(()) => Verdict::Pass,
                Err(reason) => Verdict::Drop(reason),
            };
            prop_assert_eq!(verdict, expected, "frame {}, from stranger: {}, {:02x?}", n, from, frame);
            let mut bound: Vec<_> = port
                .bindings(now)
                .map(|b| (b.mac, b.address, b.origin, b.expires.map(Instant::as_nanos)))
                .collect();
            bound.sort_by_key(|(mac, address, ..)| (*mac, *address));
            prop_assert_eq!(bound, oracle.bindings(now.as_nanos()), "after frame {}", n);
        }
    }
}

/// The test above means something: the generator's frames take every way through the rules.
#[test]
fn the_traffic_takes_every_way_through_the_rules() {
    use homeward_port::Reason;
    use proptest::strategy::ValueTree;
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let mut passed = [0u64; 2];
    let mut reasons = std::collections::BTreeMap::new();
    for _ in 0..200 {
        let events =
            prop::collection::vec(traffic::event(), 100).new_tree(&mut runner).unwrap().current();
        let settings = settings(Side::Home, AddressPolicy::Learn);
        let mut now = Instant::from_nanos(5_000_000_000);
        let mut port = Port::new(settings, now);
        for event in events {
            now = now + Duration::from_millis(event.wait_ms);
            let verdict = match event.from_stranger {
                true => port.from_stranger(&event.frame, now),
                false => port.to_stranger(&event.frame, now),
            };
            match verdict {
                Verdict::Pass => passed[usize::from(event.from_stranger)] += 1,
                Verdict::Drop(reason) => *reasons.entry(reason).or_insert(0u64) += 1,
            }
        }
    }
    assert!(passed.iter().all(|passed| *passed > 1000), "{passed:?}");
    for reason in Reason::ALL {
        assert!(reasons.get(reason).is_some_and(|seen| *seen >= 5), "{reason}: {reasons:?}");
    }
}
