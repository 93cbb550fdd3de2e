//! The hand-off of keys as a state space: devices, networks, a server and a rogue module, by all steps
//! that there are, up to bounds. `docs/keychain.md`, "The model", says what it shows. With
//! `--nocapture`, what was explored is printed, and each run that was found.
// So that clippy knows the helpers for tests too.
#![cfg(test)]

mod chain;
mod holds;
mod judge;
mod keys;
mod machines;
mod rogue;
mod state;
mod steps;
mod terms;
mod without;

use chain::{ARRIVES, Chain, GOES_ON, SKIPPED};
use state::{FAULTS, Fault, Guard, Setup};
use stateright::{Checker, HasDiscoveries, Model, Path};

/// What was found, by name, with the run to it.
type Found = Vec<(&'static str, Vec<String>)>;

/// Explores all states, or as many as it takes.
fn explore(setup: Setup, until: HasDiscoveries) -> Found {
    let checker = Chain::new(setup).checker().finish_when(until).spawn_bfs().join();
    println!(
        "{} states, {} steps, {} deep: {:?}",
        checker.unique_state_count(),
        checker.state_count(),
        checker.max_depth(),
        checker.model().setup
    );
    let run = |(name, path): (_, Path<_, _>)| {
        let steps = path.into_actions();
        (name, steps.iter().map(|step| checker.model().format_action(step)).collect())
    };
    checker.discoveries().into_iter().map(run).collect()
}

/// Nothing that must never be is found. What may be is.
fn holds(setup: Setup) -> Vec<&'static str> {
    let found = explore(setup, HasDiscoveries::AnyFailures);
    for (name, run) in &found {
        assert!([ARRIVES, GOES_ON, SKIPPED].contains(name), "not so: {name}\n{}", run.join("\n"));
    }
    found.into_iter().map(|(name, _)| name).collect()
}

/// Nothing is, and the first device gets to its last hop, after all twists, too.
fn holds_and_arrives(setup: Setup) {
    let found = holds(setup);
    assert!(found.contains(&ARRIVES) && found.contains(&GOES_ON), "only {found:?}");
}

/// With all guards nothing is found, without these this is.
fn needs(setup: Setup, removed: &'static [Guard], fault: Fault) {
    holds(setup.clone());
    let name = FAULTS[fault as usize].1;
    let found = explore(Setup { removed, ..setup }, HasDiscoveries::AnyOf([name].into()));
    let run = found.iter().find(|(found, _)| *found == name).map(|(_, run)| run);
    let run = run.unwrap_or_else(|| panic!("without {removed:?} it was not found that {name}"));
    println!("without {removed:?} not so: {name}");
    run.iter().for_each(|step| println!("    {step}"));
}
