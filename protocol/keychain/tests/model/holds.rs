//! What holds with all guards.

use crate::chain::SKIPPED;
use crate::state::{A, B, Lost, R, ROGUE_S, S, Second, Setup, Twist};
use crate::{holds, holds_and_arrives};

pub(crate) const BASE: Setup = Setup {
    paths: [&[A, R, B, A], &[]],
    second: Second::Honest(S),
    removed: &[],
    twists: &[],
    most: 0,
    demands: 2,
    in_turn: false,
    broken: false,
    lost: None,
};

const ALL: &[Twist] = &[
    Twist::Turns,
    Twist::AsksAgain,
    Twist::Replays,
    Twist::Relays,
    Twist::GivesAnother,
    Twist::Alters,
    Twist::MakesUp,
    Twist::Poses,
    Twist::WantsOther,
    Twist::IsAway,
    Twist::Revokes,
    Twist::Restarts,
    Twist::Steals,
    Twist::AsksServer,
];

#[test]
fn over_four_hops_with_a_rogue_module_among_them_whatever_is_done_once() {
    holds_and_arrives(Setup { twists: ALL, most: 1, ..BASE });
}

#[test]
fn over_four_hops_of_which_two_are_the_rogue_s() {
    holds_and_arrives(Setup { paths: [&[R, A, R, B], &[]], twists: ALL, most: 1, ..BASE });
}

#[test]
fn over_four_hops_with_a_second_device_that_is_the_rogue_s() {
    let second = Second::Accomplice;
    holds_and_arrives(Setup { second, twists: ALL, most: 1, ..BASE });
}

#[test]
fn over_four_hops_with_a_second_device_of_the_same_server_that_comes_in_between() {
    let paths: [&[u8]; 2] = [&[A, R, B, A], &[R, A]];
    holds_and_arrives(Setup { paths, demands: 1, ..BASE });
}

#[test]
fn over_four_hops_of_either_of_two_devices_in_turn() {
    let paths: [&[u8]; 2] = [&[A, R, B, A], &[R, A, R, B]];
    holds_and_arrives(Setup { paths, demands: 1, in_turn: true, ..BASE });
}

#[test]
fn over_four_hops_with_a_second_device_of_a_server_that_is_the_rogue_s() {
    let (paths, second): ([&[u8]; 2], _) = ([&[A, R, B, A], &[A]], Second::Honest(ROGUE_S));
    let twists = &[Twist::Relays];
    holds_and_arrives(Setup { paths, second, demands: 1, twists, most: 1, ..BASE });
}

#[test]
fn over_two_hops_whatever_is_done_twice() {
    for path in [&[A, R], &[R, A], &[A, B]] {
        holds_and_arrives(Setup { paths: [path, &[]], twists: ALL, most: 2, ..BASE });
    }
}

#[test]
fn over_two_hops_with_a_second_device_that_is_the_rogue_s_whatever_is_done_twice() {
    let second = Second::Accomplice;
    for path in [&[A, R], &[R, A]] {
        holds_and_arrives(Setup {
            paths: [path, &[]],
            second,
            twists: ALL,
            most: 2,
            demands: 1,
            ..BASE
        });
    }
}

#[test]
fn a_hop_whose_network_before_is_away_is_marked_to_the_end() {
    let twists = &[Twist::IsAway, Twist::AsksAgain, Twist::Turns];
    holds_and_arrives(Setup { twists, most: 1, broken: true, ..BASE });
}

#[test]
fn a_device_goes_on_after_any_message_of_a_hop_was_lost() {
    // With how many questions and answers that have to be repeated.
    for (lost, most) in [
        (Lost::Challenge, 1),
        (Lost::Response, 2),
        (Lost::Fetched, 0),
        (Lost::Welcome, 0),
        (Lost::Told, 0),
        (Lost::Demand, 1),
        (Lost::Proof, 1),
    ] {
        let (paths, twists): ([&[u8]; 2], _) =
            ([&[A, B, R, A], &[]], &[Twist::AsksAgain, Twist::Turns]);
        holds_and_arrives(Setup { paths, twists, most, lost: Some(lost), ..BASE });
    }
}

#[test]
fn a_device_goes_on_from_a_rogue_that_fetched_nothing() {
    // The key that the next network wants is S's to give: the rogue has none.
    assert!(holds(BASE).contains(&SKIPPED));
}

#[test]
fn a_device_goes_on_after_each_lie_of_a_rogue_by_itself() {
    // Yesterday's export, a record that is altered, and a question that is another's. What is refused,
    // as a hop that was made up, changes nothing: there is nothing to go on from.
    let lies: [&[Twist]; 3] = [&[Twist::GivesAnother], &[Twist::Alters], &[Twist::Relays]];
    for twists in lies {
        holds_and_arrives(Setup { twists, most: 1, ..BASE });
    }
    let second = Second::Accomplice;
    holds_and_arrives(Setup { second, twists: &[Twist::Poses], most: 1, ..BASE });
}
