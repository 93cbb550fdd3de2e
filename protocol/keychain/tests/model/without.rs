//! What is found without a guard. Without the tag of a ticket, a network's signature of its record, or
//! the look at which network was before, nothing was, up to three hops and one twist: there are no
//! switches for them. What stands behind them is in `docs/keychain.md`.

use crate::holds::BASE;
use crate::needs;
use crate::state::{A, B, Fault, Guard, R, ROGUE_S, Second, Setup, Twist};

#[test]
fn without_the_signature_of_a_ticket_a_network_moves_the_chain_alone() {
    let twists = &[Twist::MakesUp];
    let setup = Setup { paths: [&[A, R], &[]], twists, most: 2, demands: 1, ..BASE };
    needs(setup, &[Guard::TicketSignature], Fault::NotWalked);
}

#[test]
fn without_a_look_at_who_asks_a_ticket_that_was_heard_opens_the_key() {
    let setup = Setup { paths: [&[A, B], &[]], demands: 0, ..BASE };
    needs(setup, &[Guard::TicketIsForWhoAsks], Fault::Leaked);
}

#[test]
fn without_labels_a_ticket_s_tag_is_the_export() {
    let setup = Setup { paths: [&[A, B], &[]], demands: 0, ..BASE };
    needs(setup, &[Guard::Labels], Fault::Leaked);
}

#[test]
fn without_the_server_s_name_another_server_has_its_devices_admitted() {
    // Where only the session, the root or the record has it, nothing is found; where only the share or
    // the proof has it, this is: the rogue's server has all keys of its sessions.
    let (paths, second) = ([&[][..], &[A]], Second::Honest(ROGUE_S));
    let twists = &[Twist::Relays];
    let setup = Setup { paths, second, twists, most: 1, demands: 1, ..BASE };
    needs(setup, &[Guard::ServerIsNamed], Fault::NotProven);
}

#[test]
fn without_shares_keys_that_are_stolen_open_the_past() {
    let setup = Setup { paths: [&[A], &[]], twists: &[Twist::Steals], most: 1, ..BASE };
    needs(setup, &[Guard::Shares], Fault::Leaked);
}

#[test]
fn without_a_look_at_its_head_a_device_integrates_what_does_not_follow() {
    let setup = Setup { paths: [&[A, R], &[]], twists: &[Twist::Alters], most: 1, ..BASE };
    needs(setup, &[Guard::OwnHead], Fault::DoesNotFollow);
}

#[test]
fn without_the_tag_of_a_welcome_a_device_integrates_what_its_network_did_not() {
    let setup = Setup { paths: [&[A, B], &[]], twists: &[Twist::Alters], most: 1, ..BASE };
    needs(setup, &[Guard::WelcomeTag], Fault::Disagreed);
}

#[test]
fn without_a_look_at_the_flow_a_device_proves_for_another_s() {
    let setup = Setup { paths: [&[A, B], &[]], twists: &[Twist::WantsOther], most: 1, ..BASE };
    needs(setup, &[Guard::Flow], Fault::NotProven);
}

#[test]
fn without_the_demand_in_it_a_proof_does_for_another_flow() {
    let twists = &[Twist::WantsOther, Twist::Relays];
    let setup = Setup { paths: [&[A], &[]], twists, most: 2, ..BASE };
    needs(setup, &[Guard::DemandInProof], Fault::NotProven);
}

#[test]
fn without_a_state_on_its_way_a_hop_counts_that_the_device_turned_away_from() {
    let setup = Setup { paths: [&[A, B], &[]], twists: &[Twist::Turns], most: 1, ..BASE };
    needs(setup, &[Guard::OnItsWay], Fault::NotWalked);
}

#[test]
fn without_a_tag_of_every_hop_a_network_proves_for_the_device() {
    let setup = Setup { paths: [&[A, R], &[]], demands: 1, ..BASE };
    needs(setup, &[Guard::EveryTag], Fault::NotProven);
}

#[test]
fn without_who_proves_in_it_the_device_s_proof_is_the_network_s() {
    let setup = Setup { paths: [&[A], &[]], demands: 1, ..BASE };
    needs(setup, &[Guard::Role], Fault::NetworkDidNotProve);
}

#[test]
fn without_the_export_in_a_key_a_network_that_fetched_nothing_is_admitted() {
    let setup = Setup { paths: [&[A, R], &[]], demands: 1, ..BASE };
    needs(setup, &[Guard::Export], Fault::Skipped);
}

#[test]
fn without_the_standing_at_each_check_a_revoked_module_goes_on() {
    let setup = Setup { paths: [&[A, R], &[]], twists: &[Twist::Revokes], most: 1, ..BASE };
    needs(setup, &[Guard::StandingAtCheck], Fault::RevokedIn);
}

#[test]
fn without_a_look_at_who_tells_it_s_takes_another_key() {
    let setup = Setup { paths: [&[A], &[]], twists: &[Twist::Alters], most: 1, ..BASE };
    needs(setup, &[Guard::FromItsNetwork], Fault::OtherKey);
}

#[test]
fn without_marks_that_stay_a_broken_hop_is_forgotten() {
    let twists = &[Twist::IsAway];
    let setup = Setup { paths: [&[A, B, A], &[]], twists, most: 1, broken: true, ..BASE };
    needs(setup, &[Guard::MarksStay], Fault::Unmarked);
}

#[test]
fn without_the_answer_in_a_ticket_another_device_takes_the_session() {
    let (paths, second) = ([&[A][..], &[]], Second::Accomplice);
    let setup = Setup { paths, second, twists: &[Twist::Poses], most: 1, demands: 1, ..BASE };
    needs(setup, &[Guard::TicketIsOfItsAnswer], Fault::NotProven);
}
