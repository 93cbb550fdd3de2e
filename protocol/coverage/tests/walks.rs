//! How well coverage is foreseen on generated walks: relations that hold with a margin on walks that
//! nothing was tuned on. `cargo run --release -p homeward-coverage --example walks` prints the figures.
#![cfg(test)]

use homeward_coverage::testing::check;
use homeward_coverage::testing::filters::{Filter, errors};
use homeward_coverage::testing::score::{Figures, Score, Who, on_walks, run};
use homeward_coverage::testing::walk::{Aid, Plan, Walk, Way};
use homeward_coverage::trace::TraceLimits;
use homeward_coverage::{Settings, Trace, replay};
use homeward_model::Instant;

/// Settings were tuned on seeds from 1 on.
const SEEDS: std::ops::Range<u64> = 100_001..100_501;

/// The most and the mean number of switches on walks that are like that, of the machine and of the
/// naive threshold.
fn switches(plan: Plan) -> (Figures, Figures) {
    let (mut machine, mut naive) = (Score::default(), Score::default());
    for seed in 1..=40 {
        let walk = Walk::like(plan, seed);
        machine.add(&walk, &run(&walk, &Who::Machine(Box::default())));
        naive.add(&walk, &run(&walk, &Who::Naive));
    }
    (machine.figures(), naive.figures())
}

#[test]
fn on_five_hundred_walks_the_machine_is_earlier_surer_and_calmer_than_a_threshold() {
    let cautious = Settings { leave: 0.08, ..Settings::default() };
    let all = [Who::Machine(Box::default()), Who::Machine(Box::new(cautious)), Who::Naive];
    let [fused, cautious, naive] = on_walks(SEEDS, &all)[..] else { panic!("three figures") };
    assert!(fused.walks == 500 && fused.outages > 400, "{fused:?}");
    // Prepared for twice as many outages, and more often rightly.
    assert!(fused.prepare_recall >= 0.85, "{fused:?}");
    assert!(fused.prepare_recall >= 2.0 * naive.prepare_recall, "{fused:?} {naive:?}");
    assert!(fused.prepare_precision >= naive.prepare_precision + 0.03, "{fused:?} {naive:?}");
    assert!(fused.lead_p10 >= 2.0 && fused.lead_median >= 15.0, "{fused:?}");
    assert!(naive.lead_p10 == 0.0 && naive.lead_median < 3.0, "{naive:?}");
    // Leaves in time for nearly as many outages, for nothing half as often, with a third of the moves.
    assert!(fused.leave_recall >= naive.leave_recall - 0.03, "{fused:?} {naive:?}");
    assert!(fused.leave_precision >= 1.6 * naive.leave_precision, "{fused:?} {naive:?}");
    assert!(fused.switches <= naive.switches / 3.0, "{fused:?} {naive:?}");
    assert!(fused.most_switches <= naive.most_switches / 2, "{fused:?} {naive:?}");
    // Set to miss no more than the threshold does, it is still surer.
    assert!(cautious.leave_recall >= naive.leave_recall, "{cautious:?} {naive:?}");
    assert!(cautious.leave_precision >= naive.leave_precision + 0.03, "{cautious:?} {naive:?}");
    assert!(cautious.switches <= naive.switches / 2.0, "{cautious:?} {naive:?}");
}

#[test]
fn three_detectors_together_prepare_for_more_than_each_alone() {
    let (names, all): (Vec<_>, Vec<_>) = Who::all().into_iter().unzip();
    let figures = on_walks(SEEDS.take(200), &all);
    let of = |name: &str| figures[names.iter().position(|n| *n == name).unwrap()];
    let fused = of("fused");
    for alone in ["single gateway", "all signals", "position and map"] {
        let alone = of(alone);
        assert!(fused.prepare_recall >= alone.prepare_recall + 0.05, "{fused:?} {alone:?}");
        assert!(fused.lead_p10 >= alone.lead_p10 + 1.0, "{fused:?} {alone:?}");
    }
    // Beside signals the others make leaving surer, too.
    assert!(fused.leave_precision >= of("all signals").leave_precision + 0.05, "{fused:?}");
    assert!(fused.switches < of("all signals").switches, "{fused:?}");
    // The single gateway is seldom wrong, and seldom early enough.
    assert!(of("single gateway").prepare_precision >= 0.8);
}

#[test]
fn a_position_that_lies_a_map_that_is_stale_and_a_gateway_that_flaps_make_no_ping_pong() {
    for (way, aid, flaps) in [
        (Way::Out, Aid::FarLie, false),
        (Way::Out, Aid::Frozen, false),
        (Way::Out, Aid::StaleMap, false),
        (Way::Stands, Aid::FarLie, false),
        (Way::Stands, Aid::StaleMap, false),
        (Way::Stands, Aid::Good, true),
        (Way::Stands, Aid::None, true),
    ] {
        let plan = Plan { way, aid, flaps };
        let (machine, naive) = switches(plan);
        // The most is of eleven minutes in one place, where a fade of 12 dB lasts for ten seconds.
        assert!(machine.switches <= 4.0 && machine.most_switches <= 16, "{plan:?} {machine:?}");
        assert!(machine.switches <= naive.switches / 2.0, "{plan:?} {machine:?} {naive:?}");
    }
    // Who is inside all the time is not driven out by a lie.
    for aid in [Aid::FarLie, Aid::Frozen, Aid::StaleMap] {
        let plan = Plan { way: Way::Inside, aid, flaps: false };
        let (machine, _) = switches(plan);
        let (good, _) = switches(Plan { aid: Aid::None, ..plan });
        assert!(machine.switches <= good.switches + 0.5, "{plan:?} {machine:?} {good:?}");
    }
}

#[test]
fn the_filter_is_less_far_off_than_slopes_by_medians_and_knows_how_far_it_is_off() {
    let (names, filters): (Vec<_>, Vec<_>) = Filter::all().into_iter().unzip();
    let all = errors(SEEDS.take(60), &filters, Settings::default().tracking);
    let of = |name: &str| all[names.iter().position(|n| *n == name).unwrap()];
    let kalman = of("Kalman");
    assert!(kalman.now < 3.2 && kalman.then < 5.5, "{kalman:?}");
    for other in ["Theil-Sen 10 s", "Theil-Sen 20 s", "alpha-beta 0.4 0.05"] {
        assert!(kalman.now + 0.2 < of(other).now, "{other} {:?}", of(other));
        assert!(kalman.then + 0.8 < of(other).then, "{other} {:?}", of(other));
    }
    assert!((0.6..0.85).contains(&kalman.within.unwrap()), "{kalman:?}");
}

#[test]
fn a_walk_is_the_same_for_the_same_seed_and_replays_from_its_text() {
    for seed in SEEDS.take(10) {
        let mut trace = Trace::new();
        for (at, input) in Walk::of(seed).inputs {
            trace.push(at, input);
        }
        let mut again = Trace::new();
        for (at, input) in Walk::of(seed).inputs {
            again.push(at, input);
        }
        assert_eq!(trace, again);
        let read = Trace::decode(&trace.encode(), &TraceLimits::default()).unwrap();
        assert_eq!(read, trace);
        let decisions = replay(&read, Settings::default());
        assert_eq!(decisions, check(&trace, &Settings::default()), "it keeps its promises");
        assert!(decisions.iter().all(|decision| decision.at > Instant::ORIGIN));
    }
}
