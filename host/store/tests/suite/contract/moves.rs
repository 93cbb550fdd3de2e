//! Behaviours of what is learned of moves.

use homeward_model::{GatewayId, UnixTime};
use homeward_store::{MoveWeight, Store};

use super::on_each_store;
use crate::world::{NOON, World, gateway};

on_each_store!(
    what_is_kept_is_read_latest_first,
    what_is_kept_again_takes_the_place_of_what_was,
    what_is_old_is_forgotten,
    a_deleted_gateway_takes_its_moves_with_it,
    what_cannot_be_is_left_out_and_the_rest_kept,
    nobody_who_follows_the_outbox_is_told,
);

const NEVER: UnixTime = UnixTime(0);

async fn gateways(store: &dyn Store) -> [GatewayId; 3] {
    [
        gateway(store, "gw-1", 1).await.id,
        gateway(store, "gw-2", 2).await.id,
        gateway(store, "gw-3", 3).await.id,
    ]
}

fn moved(from: GatewayId, to: GatewayId, weight: f64, second: i64) -> MoveWeight {
    MoveWeight { from, to, weight, at: UnixTime(NOON + second * 1000) }
}

async fn what_is_kept_is_read_latest_first(world: World) {
    let store = &*world.store;
    assert_eq!(store.moves(10).await.unwrap(), []);
    let [a, b, c] = gateways(store).await;
    let [one, two, three] = [moved(a, b, 1.5, 1), moved(b, a, 0.1, 3), moved(a, c, 2.0, 3)];
    store.keep_moves(&[one, two, three], NEVER).await.unwrap();
    assert_eq!(store.moves(10).await.unwrap(), [three, two, one]);
    assert_eq!(store.moves(2).await.unwrap(), [three, two]);
}

async fn what_is_kept_again_takes_the_place_of_what_was(world: World) {
    let store = &*world.store;
    let [a, b, c] = gateways(store).await;
    let other = moved(a, c, 1.0, 1);
    store.keep_moves(&[moved(a, b, 1.0, 1), other], NEVER).await.unwrap();
    let again = moved(a, b, 1.9, 2);
    store.keep_moves(&[again], NEVER).await.unwrap();
    assert_eq!(store.moves(10).await.unwrap(), [again, other]);
}

async fn what_is_old_is_forgotten(world: World) {
    let store = &*world.store;
    let [a, b, c] = gateways(store).await;
    let (old, young) = (moved(a, b, 9.0, 1), moved(a, c, 1.0, 2));
    store.keep_moves(&[old, young], NEVER).await.unwrap();
    store.keep_moves(&[], young.at).await.unwrap();
    assert_eq!(store.moves(10).await.unwrap(), [young]);
}

async fn a_deleted_gateway_takes_its_moves_with_it(world: World) {
    let store = &*world.store;
    let [a, b, c] = gateways(store).await;
    let left = moved(a, c, 1.0, 1);
    store.keep_moves(&[moved(a, b, 1.0, 1), moved(b, c, 1.0, 1), left], NEVER).await.unwrap();
    store.delete_gateway(b).await.unwrap();
    assert_eq!(store.moves(10).await.unwrap(), [left]);
}

async fn what_cannot_be_is_left_out_and_the_rest_kept(world: World) {
    let store = &*world.store;
    let [a, b, c] = gateways(store).await;
    store.delete_gateway(c).await.unwrap();
    let sound = moved(a, b, 1.0, 1);
    let moves = [
        moved(a, c, 1.0, 1),
        moved(c, b, 1.0, 1),
        moved(a, a, 1.0, 1),
        moved(b, a, 0.0, 1),
        moved(b, a, f64::NAN, 1),
        moved(b, a, f64::INFINITY, 1),
        sound,
    ];
    store.keep_moves(&moves, NEVER).await.unwrap();
    assert_eq!(store.moves(10).await.unwrap(), [sound]);
}

async fn nobody_who_follows_the_outbox_is_told(world: World) {
    let store = &*world.store;
    let [a, b, _] = gateways(store).await;
    let head = store.outbox_head().await.unwrap();
    store.keep_moves(&[moved(a, b, 1.0, 1)], NEVER).await.unwrap();
    assert_eq!(store.outbox_head().await.unwrap(), head);
}
