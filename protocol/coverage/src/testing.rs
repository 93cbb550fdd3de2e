//! For tests, figures and fuzzing.

use crate::map::codec::sealed;
use crate::map::{Limits, Map};
use crate::settings::Settings;
use crate::status::State;
use crate::trace::{Trace, TraceLimits, tell};
use crate::{Advice, Decision, Predictor};

pub mod filters;
pub mod random;
pub mod score;
pub mod walk;

/// The body of the fuzz target: any octets as a map.
///
/// # Panics
/// If what is read is not what was written, or a limit does not hold.
pub fn fuzz_map(octets: &[u8]) {
    read_map(octets);
    // No mangled map has a checksum that is right: what is behind it is tried with one that is.
    read_map(&sealed(octets.split_last_chunk::<8>().map_or(octets, |(body, _)| body)));
}

fn read_map(octets: &[u8]) {
    let limits = Limits { octets: 1 << 16, tiles: 1000, gateways: 2000 };
    let Ok(map) = Map::decode(octets, &limits) else { return };
    assert_eq!(map.encode(), octets, "there is one way to write a map");
    assert!(map.tiles().len() <= 1000 && map.len() <= 2000);
    for tile in map.tiles() {
        for gateway in tile.gateways() {
            let place = gateway.position(tile.key());
            assert!(!map.near(place, 0.0).is_empty(), "a gateway is heard where it stands");
        }
    }
}

/// The body of the fuzz target: any text as a trace, replayed.
///
/// # Panics
/// If what is read is not what was written, or the machine does what it promises not to.
pub fn fuzz_trace(octets: &[u8]) {
    let Ok(text) = std::str::from_utf8(octets) else { return };
    let map = Limits { octets: 1 << 12, tiles: 50, gateways: 100 };
    let limits = TraceLimits { octets: 1 << 16, lines: 500, heard: 32, map };
    let Ok(trace) = Trace::decode(text, &limits) else { return };
    assert_eq!(Trace::decode(&trace.encode(), &limits).as_ref(), Ok(&trace));
    check(&trace, &Settings::default());
}

/// Replays a trace, and looks whether the machine keeps its promises: advice fits the state, nothing
/// comes back sooner than it may, and a timeout lies ahead.
///
/// # Panics
/// If it does not.
pub fn check(trace: &Trace, settings: &Settings) -> Vec<Decision> {
    let mut machine = Predictor::new(settings.clone());
    let mut decisions: Vec<Decision> = Vec::new();
    let mut left = None;
    for (at, input) in trace.entries() {
        let before = machine.status(*at).state;
        let mut new = Vec::new();
        tell(&mut machine, *at, input, &mut new);
        let told = matches!(input, crate::trace::Input::Path(_));
        for decision in &new {
            let probable = (0.0..=1.0).contains(&decision.confidence);
            assert!(probable && !decision.reasons.is_empty(), "{decision:?}");
            match decision.advice {
                Advice::Leave => left = Some(decision.at),
                Advice::Return => {
                    let away = left.map(|left| decision.at - left);
                    assert!(away.is_none_or(|away| away >= settings.least.away), "{decision:?}");
                }
                Advice::Prepare | Advice::Stay => {}
            }
        }
        let status = machine.status(*at);
        if new.is_empty() && !told {
            assert_eq!(before, status.state, "a change is a decision");
        }
        let last = new.last().map(|decision| decision.advice);
        let fits = match last {
            _ if told => true,
            Some(Advice::Leave) => status.state == State::Away,
            Some(Advice::Stay) => status.state == State::Covered,
            Some(Advice::Prepare | Advice::Return) => status.state == State::Prepared,
            None => true,
        };
        assert!(fits, "{last:?} and {:?}", status.state);
        assert!(machine.poll_timeout().is_none_or(|due| due > *at), "it would spin");
        assert!(serde_json::to_string(&status).is_ok());
        decisions.append(&mut new);
    }
    decisions
}
