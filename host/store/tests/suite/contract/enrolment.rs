//! Behaviours of enrolment: tokens, credentials, the authority.

use homeward_model::{GatewayId, Secret, Status, UnixTime};
use homeward_store::{
    Credential, CredentialEnd, GatewayChange, NewCredential, OutboxRecord, Redeemed, Renewed, Seq,
    Store, StoredAuthority,
};

use super::on_each_store;
use crate::world::{NOON, World, gateway};

on_each_store!(
    the_first_authority_stands,
    a_token_is_redeemed_once,
    a_token_runs_out_at_its_hour,
    a_newer_token_takes_the_place_of_an_older_one,
    a_suspended_gateway_enrols_and_renews_nothing_and_keeps_its_token,
    enrolling_anew_ends_what_came_before,
    a_newer_credential_ends_older_ones_when_it_is_used_and_not_before,
    an_answer_that_was_lost_leaves_no_credential_behind,
    what_has_ended_is_not_renewed,
    a_revocation_ends_all_and_forgets_the_token,
    each_of_these_is_told_to_whoever_follows_the_outbox,
    a_deleted_gateway_takes_its_credentials_with_it,
    a_credential_is_remembered_for_a_year_after_its_end,
    the_current_credential_is_the_newest_in_use,
    many_gateways_are_looked_at_in_one_go,
);

const DAY: i64 = 86_400_000;

fn new(last: u8, issued: i64) -> NewCredential {
    let (issued, not_after) = (UnixTime(issued), UnixTime(issued + 30 * DAY));
    NewCredential { serial: [last; 16], issued, not_after }
}

fn hash(last: u8) -> [u8; 32] {
    [last; 32]
}

/// A gateway that was enrolled with credential 1 at noon.
async fn enrolled(store: &dyn Store) -> GatewayId {
    let id = gateway(store, "gw-1", 1).await.id;
    store.put_token(id, hash(1), UnixTime(NOON + DAY)).await.unwrap();
    let done = store.redeem_token(hash(1), &new(1, NOON)).await.unwrap();
    assert!(matches!(done, Redeemed::Done(_)), "{done:?}");
    id
}

async fn suspend(store: &dyn Store, id: GatewayId) {
    store.update_gateway(id, &GatewayChange::status(Status::Suspended)).await.unwrap();
}

async fn found(store: &dyn Store, last: u8) -> Credential {
    store.credential([last; 16]).await.unwrap().unwrap().0
}

async fn end(store: &dyn Store, last: u8) -> Option<CredentialEnd> {
    found(store, last).await.ended.map(|(_, why)| why)
}

async fn the_first_authority_stands(world: World) {
    let store = &*world.store;
    assert_eq!(store.authority().await.unwrap(), None);
    let authority =
        |n: u8| StoredAuthority { certificate: vec![n; 300], key: Secret::new([n; 138]) };
    assert_eq!(store.found_authority(&authority(1)).await.unwrap(), authority(1));
    assert_eq!(store.found_authority(&authority(2)).await.unwrap(), authority(1));
    assert_eq!(store.authority().await.unwrap(), Some(authority(1)));
}

async fn a_token_is_redeemed_once(world: World) {
    let store = &*world.store;
    assert_eq!(store.redeem_token(hash(1), &new(1, NOON)).await.unwrap(), Redeemed::Unknown);
    let error = store.put_token(GatewayId(9), hash(1), UnixTime(NOON)).await.unwrap_err();
    assert_eq!(error.to_string(), "no gateway 9");

    let id = enrolled(store).await;
    let again = store.redeem_token(hash(1), &new(2, NOON)).await.unwrap();
    assert_eq!(again, Redeemed::Used);
    let access = store.gateway_access(id).await.unwrap();
    assert_eq!(access.token, Some((UnixTime(NOON + DAY), Some(UnixTime(NOON)))));
    let credential = found(store, 1).await;
    assert_eq!(access.credentials, [credential]);
    assert_eq!((credential.gateway, credential.not_after), (id, UnixTime(NOON + 30 * DAY)));
    assert_eq!((credential.used, credential.ended), (None, None));
    let (_, facts) = store.credential([1; 16]).await.unwrap().unwrap();
    assert_eq!((facts.id, facts.name.as_str()), (id, "gw-1"));
    assert_eq!(store.credential([2; 16]).await.unwrap(), None);
}

async fn a_token_runs_out_at_its_hour(world: World) {
    let store = &*world.store;
    let id = gateway(store, "gw-1", 1).await.id;
    store.put_token(id, hash(1), UnixTime(NOON + DAY)).await.unwrap();
    let late = store.redeem_token(hash(1), &new(1, NOON + DAY)).await.unwrap();
    assert_eq!(late, Redeemed::Expired);
    let done = store.redeem_token(hash(1), &new(1, NOON + DAY - 1)).await.unwrap();
    assert!(matches!(done, Redeemed::Done(facts) if facts.id == id));
}

async fn a_newer_token_takes_the_place_of_an_older_one(world: World) {
    let store = &*world.store;
    let id = enrolled(store).await;
    store.put_token(id, hash(2), UnixTime(NOON + DAY)).await.unwrap();
    assert_eq!(store.redeem_token(hash(1), &new(2, NOON)).await.unwrap(), Redeemed::Unknown);
    let done = store.redeem_token(hash(2), &new(2, NOON)).await.unwrap();
    assert!(matches!(done, Redeemed::Done(_)));
}

async fn a_suspended_gateway_enrols_and_renews_nothing_and_keeps_its_token(world: World) {
    let store = &*world.store;
    let id = enrolled(store).await;
    store.put_token(id, hash(2), UnixTime(NOON + DAY)).await.unwrap();
    suspend(store, id).await;
    assert_eq!(store.redeem_token(hash(2), &new(2, NOON)).await.unwrap(), Redeemed::Suspended);
    assert_eq!(store.renew_credential([1; 16], &new(3, NOON)).await.unwrap(), Renewed::Suspended);
    let (_, facts) = store.credential([1; 16]).await.unwrap().unwrap();
    assert_eq!(facts.status, Status::Suspended);
    store.update_gateway(id, &GatewayChange::status(Status::Active)).await.unwrap();
    let done = store.redeem_token(hash(2), &new(2, NOON)).await.unwrap();
    assert!(matches!(done, Redeemed::Done(_)));
}

async fn enrolling_anew_ends_what_came_before(world: World) {
    let store = &*world.store;
    let id = enrolled(store).await;
    store.use_credential([1; 16], UnixTime(NOON)).await.unwrap();
    store.put_token(id, hash(2), UnixTime(NOON + DAY)).await.unwrap();
    assert_eq!(end(store, 1).await, None);
    store.redeem_token(hash(2), &new(2, NOON + 1)).await.unwrap();
    assert_eq!(end(store, 1).await, Some(CredentialEnd::Replaced));
    assert_eq!(end(store, 2).await, None);
}

async fn a_newer_credential_ends_older_ones_when_it_is_used_and_not_before(world: World) {
    let store = &*world.store;
    enrolled(store).await;
    let other = gateway(store, "gw-2", 2).await.id;
    store.put_token(other, hash(9), UnixTime(NOON + DAY)).await.unwrap();
    store.redeem_token(hash(9), &new(9, NOON)).await.unwrap();
    store.use_credential([1; 16], UnixTime(NOON + 1)).await.unwrap();
    let done = store.renew_credential([1; 16], &new(2, NOON + DAY)).await.unwrap();
    assert!(matches!(done, Renewed::Done(_)));
    assert_eq!((end(store, 1).await, end(store, 2).await), (None, None));
    store.use_credential([2; 16], UnixTime(NOON + DAY + 1)).await.unwrap();
    assert_eq!(end(store, 1).await, Some(CredentialEnd::Superseded));
    assert_eq!((end(store, 2).await, end(store, 9).await), (None, None));
    // The first use counts.
    store.use_credential([2; 16], UnixTime(NOON + 2 * DAY)).await.unwrap();
    assert_eq!(found(store, 2).await.used, Some(UnixTime(NOON + DAY + 1)));
    // One that nobody has is nobody's.
    store.use_credential([7; 16], UnixTime(NOON)).await.unwrap();
}

async fn an_answer_that_was_lost_leaves_no_credential_behind(world: World) {
    let store = &*world.store;
    enrolled(store).await;
    store.use_credential([1; 16], UnixTime(NOON)).await.unwrap();
    store.renew_credential([1; 16], &new(2, NOON + 1)).await.unwrap();
    store.renew_credential([1; 16], &new(3, NOON + 2)).await.unwrap();
    assert_eq!(store.credential([2; 16]).await.unwrap(), None);
    assert_eq!((end(store, 1).await, end(store, 3).await), (None, None));
}

async fn what_has_ended_is_not_renewed(world: World) {
    let store = &*world.store;
    let id = enrolled(store).await;
    assert_eq!(store.renew_credential([7; 16], &new(2, NOON)).await.unwrap(), Renewed::Unknown);
    store.revoke_access(id).await.unwrap();
    let refused = store.renew_credential([1; 16], &new(2, NOON)).await.unwrap();
    assert_eq!(refused, Renewed::Ended(CredentialEnd::Revoked));
    assert_eq!(store.credential([2; 16]).await.unwrap(), None);
}

async fn a_revocation_ends_all_and_forgets_the_token(world: World) {
    let store = &*world.store;
    let id = enrolled(store).await;
    store.renew_credential([1; 16], &new(2, NOON)).await.unwrap();
    store.put_token(id, hash(2), UnixTime(NOON + DAY)).await.unwrap();
    assert_eq!(store.revoke_access(id).await.unwrap(), 2);
    for last in [1, 2] {
        assert_eq!(end(store, last).await, Some(CredentialEnd::Revoked));
    }
    assert_eq!(found(store, 1).await.ended.map(|(at, _)| at), Some(UnixTime(NOON)));
    assert_eq!(store.redeem_token(hash(2), &new(3, NOON)).await.unwrap(), Redeemed::Unknown);
    assert_eq!(store.gateway_access(id).await.unwrap().token, None);
    assert_eq!(store.revoke_access(id).await.unwrap(), 0);
    let error = store.revoke_access(GatewayId(9)).await.unwrap_err();
    assert_eq!(error.to_string(), "no gateway 9");
}

async fn each_of_these_is_told_to_whoever_follows_the_outbox(world: World) {
    let store = &*world.store;
    let id = gateway(store, "gw-1", 1).await.id;
    let mut at = store.outbox_head().await.unwrap();
    store.put_token(id, hash(1), UnixTime(NOON + DAY)).await.unwrap();
    assert_eq!(store.outbox_head().await.unwrap(), at, "a token is nobody's business yet");
    for step in 0..4 {
        match step {
            0 => drop(store.redeem_token(hash(1), &new(1, NOON)).await.unwrap()),
            1 => store.use_credential([1; 16], UnixTime(NOON)).await.unwrap(),
            2 => drop(store.renew_credential([1; 16], &new(2, NOON)).await.unwrap()),
            _ => drop(store.revoke_access(id).await.unwrap()),
        }
        let entries = store.outbox_after(at, 10).await.unwrap();
        assert_eq!(entries.len(), 1, "step {step}");
        assert!(matches!(&entries[0].record, OutboxRecord::Gateway(g) if g.id == id));
        at = Seq(at.0 + 1);
    }
    store.use_credential([1; 16], UnixTime(NOON)).await.unwrap();
    assert_eq!(store.outbox_head().await.unwrap(), at, "nothing happened");
}

async fn a_deleted_gateway_takes_its_credentials_with_it(world: World) {
    let store = &*world.store;
    let id = enrolled(store).await;
    assert!(store.delete_gateway(id).await.unwrap());
    assert_eq!(store.credential([1; 16]).await.unwrap(), None);
    assert_eq!(store.redeem_token(hash(1), &new(2, NOON)).await.unwrap(), Redeemed::Unknown);
    let access = store.gateway_access(id).await.unwrap();
    assert_eq!((access.token, access.credentials), (None, vec![]));
}

async fn a_credential_is_remembered_for_a_year_after_its_end(world: World) {
    let store = &*world.store;
    let id = enrolled(store).await;
    for (last, day, kept) in [(2, 420, true), (3, 440, false)] {
        store.put_token(id, hash(last), UnixTime(NOON + 1000 * DAY)).await.unwrap();
        store.redeem_token(hash(last), &new(last, NOON + day * DAY)).await.unwrap();
        assert_eq!(store.credential([1; 16]).await.unwrap().is_some(), kept, "day {day}");
    }
}

async fn the_current_credential_is_the_newest_in_use(world: World) {
    let store = &*world.store;
    let id = gateway(store, "gw-1", 1).await.id;
    let current = async || {
        let access = store.gateway_access(id).await.unwrap();
        access.current().map(|c| c.serial[0])
    };
    assert_eq!(current().await, None);
    store.put_token(id, hash(1), UnixTime(NOON + DAY)).await.unwrap();
    store.redeem_token(hash(1), &new(1, NOON)).await.unwrap();
    assert_eq!(current().await, Some(1));
    store.use_credential([1; 16], UnixTime(NOON)).await.unwrap();
    store.renew_credential([1; 16], &new(2, NOON + 1)).await.unwrap();
    assert_eq!(current().await, Some(1));
    store.use_credential([2; 16], UnixTime(NOON + 2)).await.unwrap();
    assert_eq!(current().await, Some(2));
    store.revoke_access(id).await.unwrap();
    assert_eq!(current().await, Some(2));
}

async fn many_gateways_are_looked_at_in_one_go(world: World) {
    let store = &*world.store;
    let first = enrolled(store).await;
    let second = gateway(store, "gw-2", 2).await.id;
    let third = gateway(store, "gw-3", 3).await.id;
    store.put_token(third, hash(3), UnixTime(NOON)).await.unwrap();
    let all = store.gateway_accesses(first, third).await.unwrap();
    assert_eq!(all.keys().copied().collect::<Vec<_>>(), [first, third]);
    for id in [first, third] {
        assert_eq!(store.gateway_access(id).await.unwrap(), all[&id]);
    }
    let rest = store.gateway_accesses(second, third).await.unwrap();
    assert_eq!(rest.keys().copied().collect::<Vec<_>>(), [third]);
}
