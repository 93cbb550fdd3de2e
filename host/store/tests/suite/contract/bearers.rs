//! Behaviours of bearers.

use homeward_model::UnixTime;
use homeward_store::{BearerChange, StoredBearer};

use super::on_each_store;
use crate::world::{NOON, World, bearer, imsi, msisdn};

on_each_store!(
    what_is_put_is_loaded_in_order,
    a_bearer_takes_the_place_of_what_had_its_address,
    the_same_address_of_another_gateway_or_access_point_is_another,
    a_bearer_and_all_of_a_gateway_are_removed,
    changes_are_carried_out_in_order,
    nobody_who_follows_the_outbox_is_told,
);

fn put(one: &StoredBearer) -> BearerChange {
    BearerChange::Put(one.clone())
}

fn remove(one: &StoredBearer) -> BearerChange {
    let StoredBearer { gateway, apn, address, .. } = one.clone();
    BearerChange::Remove { gateway, apn, address }
}

fn clear(gateway: &str) -> BearerChange {
    BearerChange::Clear { gateway: gateway.to_owned() }
}

async fn what_is_put_is_loaded_in_order(world: World) {
    let store = &*world.store;
    let whole = StoredBearer {
        imei: Some("3569380356438001".parse().unwrap()),
        msisdn: Some(msisdn(1)),
        seen: UnixTime(NOON + 5),
        ..bearer("b", Some("internet"), "2001:db8:1::/64")
    };
    let plain = bearer("b", None, "192.0.2.9/32");
    let first = bearer("a", Some("internet"), "192.0.2.9/32");
    let changes = [put(&whole), put(&plain), put(&first)];
    store.apply_bearers(&changes).await.unwrap();
    assert_eq!(store.bearers().await.unwrap(), [first, plain, whole]);
}

async fn a_bearer_takes_the_place_of_what_had_its_address(world: World) {
    let store = &*world.store;
    let old = bearer("a", Some("internet"), "192.0.2.9/32");
    let new = StoredBearer { imsi: imsi(9), session: "another".into(), ..old.clone() };
    store.apply_bearers(&[put(&old)]).await.unwrap();
    store.apply_bearers(&[put(&new)]).await.unwrap();
    assert_eq!(store.bearers().await.unwrap(), [new]);
}

async fn the_same_address_of_another_gateway_or_access_point_is_another(world: World) {
    let store = &*world.store;
    let all = [
        bearer("a", None, "192.0.2.9/32"),
        bearer("a", Some("corporate"), "192.0.2.9/32"),
        bearer("a", Some("internet"), "192.0.2.9/32"),
        bearer("b", None, "192.0.2.9/32"),
    ];
    store.apply_bearers(&all.each_ref().map(put)).await.unwrap();
    store.apply_bearers(&[remove(&all[1])]).await.unwrap();
    let left = [0, 2, 3].map(|n| all[n].clone());
    assert_eq!(store.bearers().await.unwrap(), left);
}

async fn a_bearer_and_all_of_a_gateway_are_removed(world: World) {
    let store = &*world.store;
    let (one, two) = (bearer("a", None, "192.0.2.1/32"), bearer("a", None, "192.0.2.2/32"));
    let other = bearer("b", None, "192.0.2.1/32");
    store.apply_bearers(&[put(&one), put(&two), put(&other)]).await.unwrap();
    store.apply_bearers(&[remove(&one)]).await.unwrap();
    // What is not there is gone already.
    store.apply_bearers(&[remove(&one), clear("c")]).await.unwrap();
    assert_eq!(store.bearers().await.unwrap(), [two, other.clone()]);
    store.apply_bearers(&[clear("a")]).await.unwrap();
    assert_eq!(store.bearers().await.unwrap(), [other]);
}

async fn changes_are_carried_out_in_order(world: World) {
    let store = &*world.store;
    let one = bearer("a", None, "192.0.2.1/32");
    let changes = [put(&one), clear("a"), put(&one), remove(&one), put(&one)];
    store.apply_bearers(&changes[..4]).await.unwrap();
    assert_eq!(store.bearers().await.unwrap(), []);
    store.apply_bearers(&changes).await.unwrap();
    assert_eq!(store.bearers().await.unwrap(), [one]);
}

async fn nobody_who_follows_the_outbox_is_told(world: World) {
    let store = &*world.store;
    store.apply_bearers(&[put(&bearer("a", None, "192.0.2.1/32"))]).await.unwrap();
    assert_eq!(store.outbox_head().await.unwrap().0, 0);
}
