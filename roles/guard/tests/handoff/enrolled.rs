//! Devices that one network's module enrols with others.

use std::time::Duration;

use homeward_model::Nai;

use crate::world::{World, comes_to, flow, network, server, who};

/// Long enough for anybody who is there.
const WAIT: Duration = Duration::from_secs(20);

/// That device hops and proves with what it is given.
async fn goes(world: &mut World, given: &homeward_security_module::enrolling::Given, to: &[usize]) {
    world.root = given.root.clone();
    world.version = given.version;
    for n in to {
        world.hop(*n).await.unwrap();
        world.open(&flow(5060)).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_is_enrolled_by_one_module_with_the_others_and_its_session_outlasts_another_key() {
    let mut world = World::new(3).await;
    world.enrols = true;
    world.introduce();
    let module = world.shared(0);
    let others = [network(1), network(2)];
    let given = module.give(&who(), &others, WAIT).await.unwrap();
    assert!(given.version > 1_500_000_000, "newer than what was enrolled by hand");
    assert!(module.outbox().lock().await.is_empty());
    goes(&mut world, &given, &[0, 1, 2]).await;
    let again = module.give(&who(), &others, WAIT).await.unwrap();
    assert!(again.version > given.version);
    assert_ne!(again.root.expose(), given.root.expose());
    // What was proven stays, and the next hop follows it.
    world.open(&flow(5061)).await.unwrap();
    world.hop(1).await.unwrap_err();
    goes(&mut world, &again, &[1, 0]).await;
    assert_eq!(world.trace().await.len(), 5);
    let text = format!("{given:?}");
    assert!(text.contains("redacted"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_module_that_is_away_or_says_no_is_told_once_it_is_there_and_may_be() {
    let mut world = World::new(3).await;
    let device: Nai = "d9@example.net".parse().unwrap();
    let away = world.stop_module(2).await;
    let module = world.shared(0);
    let others = [network(1), network(2)];
    // Nobody who is away, or says no, holds it up.
    module.give(&device, &others, Duration::ZERO).await.unwrap();
    assert!(module.enrolled().lock().await.has(&device));
    assert_eq!(module.outbox().lock().await.len(), 2);
    assert!(!world.shared(1).enrolled().lock().await.has(&device));
    drop(module);
    // Nor does a restart lose it.
    let config = world.stop_module(0).await;
    world.start_module(0, config).await;
    assert_eq!(world.shared(0).outbox().lock().await.len(), 2);
    world.enrols = true;
    world.start_module(2, away).await;
    for n in [1, 2] {
        comes_to(async || world.shared(n).enrolled().lock().await.has(&device)).await;
    }
    comes_to(async || world.shared(0).outbox().lock().await.is_empty()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_somebody_enrolled_later_is_left_as_it_is() {
    let mut world = World::new(2).await;
    world.enrols = true;
    world.introduce();
    let key = world.root.device_key(&network(1), u32::MAX);
    let change = world.shared(1).enrolled().lock().await.enrol(who(), u32::MAX, key.clone());
    world.shared(1).vault().commit(vec![change.unwrap()]).await.unwrap();
    world.shared(0).give(&who(), &[network(1)], WAIT).await.unwrap();
    assert!(world.shared(0).outbox().lock().await.is_empty(), "it is of no use any more");
    let kept = world.shared(1).enrolled().lock().await.key(&who());
    assert_eq!(kept.expose(), key.expose());
    // A guard has no devices.
    world.shared(0).give(&who(), &[server()], WAIT).await.unwrap();
    assert_eq!(world.shared(0).outbox().lock().await.len(), 1);
}
