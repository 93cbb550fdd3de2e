//! Behaviours of subscribers.

use homeward_model::{AccountId, Status, SubscriberId};
use homeward_store::{
    Dependents, Error, IssuedFilter, NewSubscriber, Operation, OutboxRecord, Page,
    SubscriberChange, SubscriberFilter,
};

use super::on_each_store;
use crate::world::{World, account, imsi, msisdn, new_issue, new_subscriber, subscriber};

on_each_store!(
    a_subscriber_is_found_by_its_sim_and_by_its_number,
    a_sim_and_a_number_are_taken_once,
    a_subscriber_changes_where_the_change_says,
    what_was_issued_ends_with_what_it_was_issued_for,
    subscribers_are_listed_by_account_and_status,
    a_batch_of_subscribers_is_created_as_a_whole_or_not_at_all,
    an_account_with_subscribers_is_deleted_only_with_all_of_it,
    the_outbox_tells_of_subscribers,
);

async fn a_subscriber_is_found_by_its_sim_and_by_its_number(world: World) {
    let store = &*world.store;
    let smith = account(store, "smith").await;
    let new = NewSubscriber { msisdn: Some(msisdn(1)), ..new_subscriber(smith.id, 1) };
    let made = store.create_subscriber(&new).await.unwrap();
    assert_eq!((made.imsi, made.msisdn, made.account), (imsi(1), Some(msisdn(1)), smith.id));
    for found in [
        store.subscriber(made.id).await.unwrap(),
        store.subscriber_with_imsi(imsi(1)).await.unwrap(),
        store.subscriber_with_msisdn(msisdn(1)).await.unwrap(),
        store.require_subscriber(imsi(1)).await.ok(),
    ] {
        assert_eq!(found.as_ref(), Some(&made));
    }
    assert_eq!(store.subscriber(SubscriberId(99)).await.unwrap(), None);
    assert_eq!(store.subscriber_with_imsi(imsi(2)).await.unwrap(), None);
    assert_eq!(store.subscriber_with_msisdn(msisdn(2)).await.unwrap(), None);
    assert_eq!(
        store.require_subscriber(imsi(2)).await.unwrap_err().to_string(),
        "no subscriber 99970**********; create it first with `homeward admin subscriber add`"
    );
}

async fn a_sim_and_a_number_are_taken_once(world: World) {
    let store = &*world.store;
    let smith = account(store, "smith").await;
    let first = NewSubscriber { msisdn: Some(msisdn(1)), ..new_subscriber(smith.id, 1) };
    store.create_subscriber(&first).await.unwrap();
    let error = store.create_subscriber(&new_subscriber(smith.id, 1)).await.unwrap_err();
    assert_eq!(error.to_string(), "subscriber 99970********** exists already: subscriber 1");
    assert!(error.is_duplicate());
    let second = NewSubscriber { msisdn: Some(msisdn(1)), ..new_subscriber(smith.id, 2) };
    let error = store.create_subscriber(&second).await.unwrap_err();
    assert_eq!(error.to_string(), "telephone number 447********* is subscriber 1's already");
    assert!(error.is_duplicate());
    // Of those without a number there may be many.
    let second = subscriber(store, smith.id, 2).await;
    let third = subscriber(store, smith.id, 3).await;
    for change in [
        SubscriberChange { imsi: Some(imsi(1)), ..Default::default() },
        SubscriberChange { msisdn: Some(Some(msisdn(1))), ..Default::default() },
    ] {
        assert!(store.update_subscriber(second.id, &change).await.unwrap_err().is_duplicate());
    }
    // A SIM and a number that were given up are free.
    let change = SubscriberChange { imsi: Some(imsi(4)), msisdn: Some(None), ..Default::default() };
    store.update_subscriber(SubscriberId(1), &change).await.unwrap();
    let change = SubscriberChange {
        imsi: Some(imsi(1)),
        msisdn: Some(Some(msisdn(1))),
        ..Default::default()
    };
    store.update_subscriber(third.id, &change).await.unwrap();
    assert_eq!(store.require_subscriber(imsi(1)).await.unwrap().id, third.id);
    assert_eq!(store.subscriber_with_msisdn(msisdn(1)).await.unwrap().unwrap().id, third.id);
}

async fn a_subscriber_changes_where_the_change_says(world: World) {
    let store = &*world.store;
    let (smith, jones) = (account(store, "smith").await, account(store, "jones").await);
    let made = subscriber(store, smith.id, 1).await;
    let change = SubscriberChange { label: Some("van".into()), ..Default::default() };
    let changed = store.update_subscriber(made.id, &change).await.unwrap();
    assert_eq!((&*changed.label, changed.imsi, changed.status), ("van", imsi(1), Status::Active));
    let change =
        SubscriberChange { account: Some(jones.id), ..SubscriberChange::status(Status::Suspended) };
    let changed = store.update_subscriber(made.id, &change).await.unwrap();
    assert_eq!((changed.account, changed.status), (jones.id, Status::Suspended));
    assert_eq!(store.subscriber(made.id).await.unwrap(), Some(changed));
    for (id, change, error) in [
        (SubscriberId(99), SubscriberChange::default(), "no subscriber 99"),
        (
            made.id,
            SubscriberChange { account: Some(AccountId(99)), ..Default::default() },
            "no account 99",
        ),
        (
            made.id,
            SubscriberChange { label: Some("a\nb".into()), ..Default::default() },
            "a label has no control characters; character 2 is one",
        ),
    ] {
        assert_eq!(store.update_subscriber(id, &change).await.unwrap_err().to_string(), error);
    }
    assert!(store.delete_subscriber(made.id).await.unwrap());
    assert!(!store.delete_subscriber(made.id).await.unwrap());
    assert_eq!(store.subscriber(made.id).await.unwrap(), None);
}

async fn what_was_issued_ends_with_what_it_was_issued_for(world: World) {
    let store = &*world.store;
    let (smith, jones) = (account(store, "smith").await, account(store, "jones").await);
    let made = subscriber(store, smith.id, 1).await;
    let other = subscriber(store, smith.id, 2).await;
    store.issue(&[new_issue(smith.id, "of-the-other", 2, 2)]).await.unwrap();
    let mut n = 0;
    let mut issue = async |account| {
        n += 1;
        let sim = store.subscriber(made.id).await.unwrap().unwrap().imsi;
        let new =
            homeward_store::NewIssue { imsi: sim, ..new_issue(account, &format!("a{n}"), 1, 1) };
        let made = store.issue(&[new]).await.unwrap().remove(0).unwrap();
        assert_eq!(store.login(made.login.id).await.unwrap(), Some(made.login.clone()));
        made.login.id
    };
    // A label is nobody's business.
    let kept = issue(smith.id).await;
    let change = SubscriberChange {
        label: Some("van".into()),
        msisdn: Some(Some(msisdn(1))),
        ..Default::default()
    };
    store.update_subscriber(made.id, &change).await.unwrap();
    assert!(store.login(kept).await.unwrap().is_some());
    for change in [
        SubscriberChange { imsi: Some(imsi(9)), ..Default::default() },
        SubscriberChange::status(Status::Suspended),
        SubscriberChange {
            account: Some(jones.id),
            status: Some(Status::Active),
            ..Default::default()
        },
    ] {
        let payer = store.subscriber(made.id).await.unwrap().unwrap().account;
        let before = issue(payer).await;
        store.update_subscriber(made.id, &change).await.unwrap();
        assert_eq!(store.login(before).await.unwrap(), None, "{change:?}");
        let active = SubscriberChange::status(Status::Active);
        store.update_subscriber(made.id, &active).await.unwrap();
    }
    let last = issue(jones.id).await;
    assert!(store.delete_subscriber(made.id).await.unwrap());
    assert_eq!(store.login(last).await.unwrap(), None);
    let left = store.issued(&IssuedFilter::default(), Page::first(9)).await.unwrap();
    assert_eq!(left.iter().map(|one| one.imsi).collect::<Vec<_>>(), [other.imsi]);
}

async fn subscribers_are_listed_by_account_and_status(world: World) {
    let store = &*world.store;
    let (smith, jones) = (account(store, "smith").await, account(store, "jones").await);
    let mut made = Vec::new();
    for (account, n, status) in [
        (smith.id, 1, Status::Active),
        (smith.id, 2, Status::Suspended),
        (jones.id, 3, Status::Active),
    ] {
        let new = NewSubscriber { status, ..new_subscriber(account, n) };
        made.push(store.create_subscriber(&new).await.unwrap());
    }
    let all = SubscriberFilter::default();
    for (filter, which) in [
        (all.clone(), vec![0, 1, 2]),
        (SubscriberFilter { account: Some(smith.id), ..all.clone() }, vec![0, 1]),
        (SubscriberFilter { status: Some(Status::Active), ..all.clone() }, vec![0, 2]),
    ] {
        let wanted: Vec<_> = which.into_iter().map(|n| made[n].clone()).collect();
        assert_eq!(store.subscribers(&filter, Page::first(9)).await.unwrap(), wanted);
    }
    let page = Page::after(made[0].id, 1);
    assert_eq!(store.subscribers(&all, page).await.unwrap(), [made[1].clone()]);
}

async fn a_batch_of_subscribers_is_created_as_a_whole_or_not_at_all(world: World) {
    let store = &*world.store;
    let smith = account(store, "smith").await;
    let new = [1, 2, 1].map(|n| new_subscriber(smith.id, n));
    let head = store.outbox_head().await.unwrap();
    let error = store.create_subscribers(&new).await.unwrap_err();
    assert!(matches!(error, Error::Batch { index: 2, .. }), "{error}");
    let all = SubscriberFilter::default();
    assert_eq!(store.subscribers(&all, Page::first(9)).await.unwrap(), []);
    assert_eq!(store.outbox_head().await.unwrap(), head);
    let made = store.create_subscribers(&new[..2]).await.unwrap();
    assert_eq!(store.subscribers(&all, Page::first(9)).await.unwrap(), made);
}

async fn an_account_with_subscribers_is_deleted_only_with_all_of_it(world: World) {
    let store = &*world.store;
    let smith = account(store, "smith").await;
    let made = subscriber(store, smith.id, 1).await;
    let refused = store.delete_account(smith.id, Dependents::Refuse).await.unwrap_err();
    assert_eq!(
        refused.to_string(),
        "account 1 still has 1 subscriber; delete those first, or all of it with --with-dependents"
    );
    let issued = store.issue(&[new_issue(smith.id, "a", 1, 1)]).await.unwrap().remove(0).unwrap();
    assert!(store.delete_account(smith.id, Dependents::Delete).await.unwrap());
    assert_eq!(store.subscriber(made.id).await.unwrap(), None);
    assert_eq!(store.login(issued.login.id).await.unwrap(), None);
    assert_eq!(store.issued_to(imsi(1)).await.unwrap(), None);
}

async fn the_outbox_tells_of_subscribers(world: World) {
    let store = &*world.store;
    let smith = account(store, "smith").await;
    let head = store.outbox_head().await.unwrap();
    let made = subscriber(store, smith.id, 1).await;
    let change = SubscriberChange::status(Status::Suspended);
    let changed = store.update_subscriber(made.id, &change).await.unwrap();
    // To change nothing is told to nobody.
    store.update_subscriber(made.id, &SubscriberChange::default()).await.unwrap();
    store.delete_subscriber(made.id).await.unwrap();
    let entries = store.outbox_after(head, 9).await.unwrap();
    let told: Vec<_> = entries.into_iter().map(|entry| (entry.operation, entry.record)).collect();
    assert_eq!(
        told,
        [
            (Operation::Create, OutboxRecord::Subscriber(made)),
            (Operation::Update, OutboxRecord::Subscriber(changed.clone())),
            (Operation::Delete, OutboxRecord::Subscriber(changed)),
        ]
    );
}
