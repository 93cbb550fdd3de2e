//! Behaviours of policies.

use homeward_model::{ClassId, Mac, PolicyScope, Rssi, Seconds};
use homeward_store::{Operation, OutboxRecord, StoredPolicy};

use super::on_each_store;
use crate::world::{World, class, mac, policy};

on_each_store!(
    a_policy_is_set_replaced_and_cleared,
    a_policy_that_is_wrong_is_refused_by_its_setting,
    a_policy_needs_a_class_of_service_or_an_individual_station,
    the_most_specific_policy_counts,
    a_class_of_service_takes_its_policy_with_it,
    the_outbox_tells_of_policies,
);

async fn a_policy_is_set_replaced_and_cleared(world: World) {
    let store = &*world.store;
    let gold = class(store, "gold").await;
    let scopes = [PolicyScope::Default, PolicyScope::Class(gold.id), PolicyScope::Mac(mac(1))];
    assert_eq!(store.policies().await.unwrap(), []);
    for (n, scope) in [(2, scopes[2]), (0, scopes[0]), (1, scopes[1])] {
        assert_eq!(store.policy(scope).await.unwrap(), None);
        store.set_policy(scope, &policy(n)).await.unwrap();
        assert_eq!(store.policy(scope).await.unwrap(), Some(policy(n)));
    }
    let all: Vec<_> = (0..).zip(scopes).map(|(n, scope)| (scope, policy(n))).collect();
    assert_eq!(store.policies().await.unwrap(), all);
    store.set_policy(scopes[1], &policy(7)).await.unwrap();
    assert_eq!(store.policy(scopes[1]).await.unwrap(), Some(policy(7)));
    assert_eq!(store.policies().await.unwrap().len(), 3);
    assert!(store.clear_policy(scopes[1]).await.unwrap());
    assert!(!store.clear_policy(scopes[1]).await.unwrap());
    assert_eq!(store.policy(scopes[1]).await.unwrap(), None);
    assert_eq!(store.policy(scopes[0]).await.unwrap(), Some(policy(0)));
}

async fn a_policy_that_is_wrong_is_refused_by_its_setting(world: World) {
    let store = &*world.store;
    let mut wrong = policy(0);
    wrong.terms.lifetime = Some(Seconds(5));
    let error = store.set_policy(PolicyScope::Default, &wrong).await.unwrap_err();
    assert_eq!(error.to_string(), "terms.lifetime: 5 s: give 60 or more, or none");
    wrong = policy(0);
    wrong.wlan.leave = Rssi(-10);
    assert!(store.set_policy(PolicyScope::Default, &wrong).await.is_err());
    assert_eq!(store.policies().await.unwrap(), []);
}

async fn a_policy_needs_a_class_of_service_or_an_individual_station(world: World) {
    let store = &*world.store;
    for (scope, error) in [
        (PolicyScope::Class(ClassId(9)), "no class of service 9"),
        (
            PolicyScope::Mac(Mac::new([0xff; 6])),
            "ff:ff:ff:**:**:** is a group address; a device or gateway has an individual one",
        ),
    ] {
        assert_eq!(store.set_policy(scope, &policy(0)).await.unwrap_err().to_string(), error);
    }
}

async fn the_most_specific_policy_counts(world: World) {
    let store = &*world.store;
    let (gold, silver) = (class(store, "gold").await, class(store, "silver").await);
    let counts = async |class, mac| store.policy_for(class, mac).await.unwrap();
    assert_eq!(counts(gold.id, mac(1)).await, None);
    let scopes = [PolicyScope::Default, PolicyScope::Class(gold.id), PolicyScope::Mac(mac(1))];
    for (n, scope) in (0..).zip(scopes) {
        store.set_policy(scope, &policy(n)).await.unwrap();
        assert_eq!(counts(gold.id, mac(1)).await, Some((scope, policy(n))));
    }
    assert_eq!(counts(gold.id, mac(2)).await, Some((scopes[1], policy(1))));
    assert_eq!(counts(silver.id, mac(2)).await, Some((scopes[0], policy(0))));
}

async fn a_class_of_service_takes_its_policy_with_it(world: World) {
    let store = &*world.store;
    let (gold, silver) = (class(store, "gold").await, class(store, "silver").await);
    for class in [gold.id, silver.id] {
        store.set_policy(PolicyScope::Class(class), &policy(1)).await.unwrap();
    }
    let head = store.outbox_head().await.unwrap();
    assert!(store.delete_class(gold.id).await.unwrap());
    let left = [(PolicyScope::Class(silver.id), policy(1))];
    assert_eq!(store.policies().await.unwrap(), left);
    let told = store.outbox_after(head, 9).await.unwrap();
    let told: Vec<_> = told.iter().map(|e| (e.operation, e.record.entity().as_str())).collect();
    assert_eq!(told, [(Operation::Delete, "policy"), (Operation::Delete, "class")]);
}

async fn the_outbox_tells_of_policies(world: World) {
    let store = &*world.store;
    let scope = PolicyScope::Default;
    let head = store.outbox_head().await.unwrap();
    store.set_policy(scope, &policy(1)).await.unwrap();
    // To say the same again changes nothing.
    store.set_policy(scope, &policy(1)).await.unwrap();
    store.set_policy(scope, &policy(2)).await.unwrap();
    store.clear_policy(scope).await.unwrap();
    // One that is set anew is another record.
    store.set_policy(scope, &policy(3)).await.unwrap();
    let record = |id, n| OutboxRecord::Policy(StoredPolicy { id, scope, policy: policy(n) });
    let told: Vec<_> = store.outbox_after(head, 9).await.unwrap();
    let told: Vec<_> = told.into_iter().map(|entry| (entry.operation, entry.record)).collect();
    assert_eq!(
        told,
        [
            (Operation::Create, record(1, 1)),
            (Operation::Update, record(1, 2)),
            (Operation::Delete, record(1, 2)),
            (Operation::Create, record(2, 3)),
        ]
    );
}
