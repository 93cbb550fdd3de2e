//! What the store says, and what changes in it, reaches the gateways.

use std::sync::Arc;
use std::time::Duration;

use homeward_control::{DeniedReason, OpenTunnel, Side, ToGateway, Want};
use homeward_daemon::Period;
use homeward_model::{
    Anchor, Bandwidth, Encryption, Mac, NetworkId, ServiceTerms, Status, UnixTime,
};
use homeward_store::{
    AccountChange, Accounts, ClassChange, Classes, DeviceChange, Devices, Moves, NetworkChange,
    Networks,
};

use crate::world::{
    Agent, CLASS, DEVICE, FOREIGN, HOME, PHONE, SMITH, SMITHNET, World, device, soon,
};

/// Both gateways, and the tunnel as each was told it.
async fn tunnel(world: &World) -> (Agent, Agent, OpenTunnel, OpenTunnel) {
    let mut home = world.connected(HOME).await;
    let mut foreign = world.connected(FOREIGN).await;
    foreign.serve_phone().await;
    let (here, there) = (opened(&mut home).await, opened(&mut foreign).await);
    (home, foreign, here, there)
}

async fn opened(agent: &mut Agent) -> OpenTunnel {
    match agent.until(|m| matches!(m, ToGateway::Open(_))).await {
        ToGateway::Open(open) => open,
        other => panic!("{other:?}"),
    }
}

async fn denied(agent: &mut Agent) -> DeniedReason {
    match agent.until(|m| matches!(m, ToGateway::Denied(_))).await {
        ToGateway::Denied(denied) => denied.reason,
        other => panic!("{other:?}"),
    }
}

async fn closed(agent: &mut Agent, tunnel: &OpenTunnel) {
    let number = tunnel.tunnel;
    agent.until(|m| matches!(m, ToGateway::Close(close) if close.tunnel == number)).await;
}

async fn terms(world: &World, terms: ServiceTerms) {
    let change = ClassChange { terms: Some(terms), ..ClassChange::default() };
    world.store.update_class(CLASS, &change).await.unwrap();
}

#[tokio::test]
async fn two_gateways_are_brought_together_by_what_the_store_says() {
    let world = World::start().await;
    let (_home, _foreign, here, there) = tunnel(&world).await;
    assert_eq!((here.side, there.side), (Side::Home, Side::Foreign));
    assert_eq!((&here.local, &here.remote), (&there.remote, &there.local));
    assert_eq!((here.network, here.macs.as_slice()), (SMITHNET, &[PHONE][..]));
    assert_eq!(here.encryption, Encryption::Required);
    assert_eq!((here.peer.gateway, there.peer.gateway), (FOREIGN, HOME));
    assert_eq!(here.peer.preshared_key, there.peer.preshared_key);
    let status = world.status().await;
    assert_eq!(status["totals"]["tunnels"], 1);
    assert_eq!(status["devices"][0]["gateway"], FOREIGN.0);
    world.stop().await;
}

#[tokio::test]
async fn a_network_that_is_not_there_is_denied() {
    let world = World::start().await;
    let mut foreign = world.connected(FOREIGN).await;
    let want = Want { network: NetworkId(99), macs: Vec::new() };
    foreign.say(homeward_control::FromGateway::Want(want)).await;
    assert_eq!(denied(&mut foreign).await, DeniedReason::UnknownNetwork);
}

#[tokio::test]
async fn a_class_of_service_that_changes_reaches_the_tunnels_of_those_who_have_it() {
    let world = World::start().await;
    let (mut home, mut foreign, here, _) = tunnel(&world).await;
    let bandwidth = Bandwidth { up: Some(1_000_000), down: None };
    terms(&world, ServiceTerms { bandwidth, ..ServiceTerms::default() }).await;
    let changed = opened(&mut home).await;
    assert_eq!((changed.tunnel, changed.terms.bandwidth), (here.tunnel, bandwidth));

    terms(&world, ServiceTerms { anchor: Anchor::Local, ..ServiceTerms::default() }).await;
    closed(&mut home, &here).await;
    assert_eq!(denied(&mut foreign).await, DeniedReason::LocalBreakout);
    terms(&world, ServiceTerms::default()).await;
    assert_ne!(opened(&mut foreign).await.tunnel, here.tunnel);
}

#[tokio::test]
async fn an_account_that_is_suspended_loses_its_tunnels_and_gets_them_back() {
    let world = World::start().await;
    let (mut home, mut foreign, here, _) = tunnel(&world).await;
    let suspend = AccountChange::status(Status::Suspended);
    world.store.update_account(SMITH, &suspend).await.unwrap();
    closed(&mut home, &here).await;
    foreign.until(|m| matches!(m, ToGateway::Revoke(r) if r.network == SMITHNET)).await;
    let resume = AccountChange::status(Status::Active);
    world.store.update_account(SMITH, &resume).await.unwrap();
    foreign.serve_phone().await;
    opened(&mut home).await;
}

#[tokio::test]
async fn a_device_that_is_suspended_is_revoked_and_a_new_one_let_through() {
    let world = World::start().await;
    let (mut home, mut foreign, here, _) = tunnel(&world).await;
    let tablet = Mac::new([2, 0, 0x5e, 0, 0, 2]);
    world.store.create_device(&device(tablet)).await.unwrap();
    let want = Want { network: SMITHNET, macs: vec![PHONE, tablet] };
    foreign.say(homeward_control::FromGateway::Want(want)).await;
    let changed = opened(&mut home).await;
    assert_eq!((changed.tunnel, changed.macs), (here.tunnel, vec![PHONE, tablet]));

    let suspend = DeviceChange::status(Status::Suspended);
    world.store.update_device(DEVICE, &suspend).await.unwrap();
    foreign.until(|m| matches!(m, ToGateway::Revoke(r) if r.mac == Some(PHONE))).await;
    assert_eq!(opened(&mut home).await.macs, [tablet]);
}

#[tokio::test]
async fn a_network_that_is_deleted_or_moved_takes_its_tunnel_along() {
    let world = World::start().await;
    let (mut home, mut foreign, here, _) = tunnel(&world).await;
    let away = NetworkChange { gateway: Some(None), ..NetworkChange::default() };
    world.store.update_network(SMITHNET, &away).await.unwrap();
    closed(&mut home, &here).await;
    assert_eq!(denied(&mut foreign).await, DeniedReason::NoHomeGateway);
    let back = NetworkChange { gateway: Some(Some(HOME)), ..NetworkChange::default() };
    world.store.update_network(SMITHNET, &back).await.unwrap();
    let again = opened(&mut home).await;
    let dependents = homeward_store::Dependents::Delete;
    world.store.delete_network(SMITHNET, dependents).await.unwrap();
    closed(&mut home, &again).await;
}

#[tokio::test]
async fn what_was_learned_of_moves_outlives_the_process() {
    let world = World::start().await;
    let home = world.connected(HOME).await;
    home.have_phone_at_home().await;
    world.until(|status| status["devices"][0]["gateway"] == HOME.0).await;
    let foreign = world.connected(FOREIGN).await;
    foreign.serve_phone().await;
    world.until(|status| status["totals"]["graph_edges"] == 1).await;
    let store = Arc::clone(&world.store);
    assert_eq!(store.moves(9).await.unwrap(), [], "not at every move");
    world.stop().await;
    let kept = store.moves(9).await.unwrap();
    assert_eq!(kept.iter().map(|one| (one.from, one.to)).collect::<Vec<_>>(), [(HOME, FOREIGN)]);

    let world = World::on(Arc::clone(&store), |_| {}).await;
    assert_eq!(world.status().await["totals"]["graph_edges"], 1);
    world.stop().await;
    assert_eq!(store.moves(9).await.unwrap(), kept, "it is no news");
}

#[tokio::test]
async fn what_was_learned_of_moves_is_written_down_now_and_then() {
    let often = |config: &mut homeward_controller::Config| {
        config.keep_moves = Period(Duration::from_secs(1));
    };
    let world = World::with(often).await;
    let mut agents = Vec::new();
    for gateway in [HOME, FOREIGN] {
        agents.push(world.connected(gateway).await);
    }
    agents[0].have_phone_at_home().await;
    world.until(|status| status["devices"][0]["gateway"] == HOME.0).await;
    agents[1].serve_phone().await;
    let written = async |from, to| {
        soon(async {
            loop {
                let kept = world.store.moves(9).await.unwrap();
                if kept.iter().any(|one| (one.from, one.to) == (from, to)) {
                    return kept.len();
                }
                tokio::task::yield_now().await;
            }
        })
        .await
    };
    assert_eq!(written(HOME, FOREIGN).await, 1);
    // What is no news is not written again.
    world.store.keep_moves(&[], UnixTime(i64::MAX)).await.unwrap();
    agents[0].have_phone_at_home().await;
    assert_eq!(written(FOREIGN, HOME).await, 1);
}

#[tokio::test]
async fn no_label_of_the_metrics_says_who() {
    let world = World::start().await;
    let (_home, _foreign, _, _) = tunnel(&world).await;
    let text = soon(async {
        loop {
            let text = world.metrics().await;
            if text.contains("homeward_controller_held{kind=\"tunnels\"} 1") {
                return text;
            }
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert!(text.contains("homeward_controller_held{kind=\"connected\"} 2"), "{text}");
    assert!(text.contains("homeward_controller_channel_total{kind=\"enrolled\"} 2"), "{text}");
    assert_eq!(homeward_daemon::metrics::subscriber_labels(&text), [""; 0]);
}
