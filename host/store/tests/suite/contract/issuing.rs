//! Behaviours of issued credentials.

use homeward_model::{Mac, Status, UnixTime, Uses};
use homeward_store::{
    Error, Issued, IssuedFilter, LoginChange, LoginFilter, NewIssue, NewLogin, Operation,
    OutboxRecord, Page, Store, SubscriberChange, Way,
};

use super::on_each_store;
use crate::world::{NOON, World, account, imsi, mac, nai, new_issue, new_login, subscriber};

on_each_store!(
    what_is_issued_is_a_log_in_and_says_for_whom,
    a_subscriber_has_one_and_a_station_has_one,
    each_of_a_batch_is_issued_whatever_becomes_of_the_others,
    a_batch_may_issue_to_the_same_twice,
    what_is_issued_is_listed_by_subscriber_station_and_account,
    only_what_was_issued_is_withdrawn,
    what_ran_out_is_withdrawn_the_oldest_first,
    a_log_in_for_one_log_on_is_spent_once,
    what_changes_of_the_log_in_shows,
    whoever_answers_log_ons_is_told,
);

async fn one(store: &dyn Store, new: NewIssue) -> Issued {
    store.issue(&[new]).await.unwrap().remove(0).unwrap()
}

async fn all(store: &dyn Store) -> Vec<Issued> {
    store.issued(&IssuedFilter::default(), Page::first(99)).await.unwrap()
}

async fn what_is_issued_is_a_log_in_and_says_for_whom(world: World) {
    let store = &*world.store;
    let smith = account(store, "smith").await;
    subscriber(store, smith.id, 1).await;
    let new = NewIssue {
        imei: Some("3569380356438001".parse().unwrap()),
        address: Some("2001:db8::7".parse().unwrap()),
        renew_from: Some(UnixTime(NOON + 5)),
        way: Way::Sms,
        login: NewLogin {
            mac: Some(mac(1)),
            expires: Some(UnixTime(NOON + 9)),
            uses: Uses::Once,
            ..new_login(smith.id, "a@example.net")
        },
        ..new_issue(smith.id, "a", 1, 1)
    };
    let made = one(store, new.clone()).await;
    let login = store.login(made.login.id).await.unwrap().unwrap();
    assert_eq!((&login.verifier, login.uses), (&new.login.verifier, Uses::Once));
    assert_eq!((login.mac, login.expires), (new.login.mac, new.login.expires));
    let wanted = Issued {
        login,
        imsi: imsi(1),
        imei: new.imei,
        mac: mac(1),
        address: new.address,
        issued: new.issued,
        renew_from: new.renew_from,
        way: Way::Sms,
    };
    assert_eq!(made, wanted);
    assert_eq!(store.issued_to(imsi(1)).await.unwrap(), Some(wanted));
    assert_eq!(store.issued_to(imsi(2)).await.unwrap(), None);
}

async fn a_subscriber_has_one_and_a_station_has_one(world: World) {
    let store = &*world.store;
    let smith = account(store, "smith").await;
    for n in 1..=3 {
        subscriber(store, smith.id, n).await;
    }
    let first = one(store, new_issue(smith.id, "a", 1, 1)).await;
    // The same subscriber by another station.
    let second = one(store, new_issue(smith.id, "b", 1, 2)).await;
    assert_eq!(store.login(first.login.id).await.unwrap(), None);
    assert_eq!(all(store).await, std::slice::from_ref(&second));
    // Another subscriber by the same station.
    let third = one(store, new_issue(smith.id, "c", 2, 2)).await;
    assert_eq!(store.login(second.login.id).await.unwrap(), None);
    let fourth = one(store, new_issue(smith.id, "d", 1, 1)).await;
    assert_eq!(all(store).await, [third, fourth]);
    // Both at once, and a name that was given up is free.
    let fifth = one(store, new_issue(smith.id, "a", 1, 2)).await;
    assert_eq!(all(store).await, [fifth]);
    assert_eq!(store.issued_to(imsi(2)).await.unwrap(), None);
}

async fn each_of_a_batch_is_issued_whatever_becomes_of_the_others(world: World) {
    let store = &*world.store;
    let (smith, jones) = (account(store, "smith").await, account(store, "jones").await);
    for n in 1..=6 {
        subscriber(store, smith.id, n).await;
    }
    store.create_login(&new_login(smith.id, "taken")).await.unwrap();
    let held = one(store, new_issue(smith.id, "held", 2, 2)).await;
    let suspended = store.require_subscriber(imsi(3)).await.unwrap().id;
    let change = SubscriberChange::status(Status::Suspended);
    store.update_subscriber(suspended, &change).await.unwrap();
    let head = store.outbox_head().await.unwrap();
    let mut new: Vec<NewIssue> =
        (1..=8).map(|n| new_issue(smith.id, &format!("n{n}"), n, n)).collect();
    new[1].login.name = nai("taken");
    new[3].login.account = jones.id;
    new[4].mac = Mac::new([0xff; 6]);
    new[5].login.label = "a\nb".to_owned();
    let made = store.issue(&new).await.unwrap();
    let told: Vec<String> = made
        .iter()
        .map(|one| one.as_ref().map_or_else(Error::to_string, |one| one.login.label.clone()))
        .collect();
    assert_eq!(
        told,
        [
            "log-in n1",
            "log-in *** exists already: log-in 1",
            "subscriber 3 is suspended; nothing is issued to it",
            "subscriber 4 is of account 1: nothing is issued to it for account 2",
            "ff:ff:ff:**:**:** is a group address; a device or gateway has an individual one",
            "a label has no control characters; character 2 is one",
            "no subscriber 99970**********; create it first with `homeward admin subscriber add`",
            "no subscriber 99970**********; create it first with `homeward admin subscriber add`",
        ]
    );
    // What was held by one that was refused is still held.
    let first = made.into_iter().next().unwrap().unwrap();
    assert_eq!(all(store).await, [held, first]);
    assert_eq!(store.outbox_head().await.unwrap().0, head.0 + 1);
    assert_eq!(store.issue(&[]).await.unwrap().len(), 0);
}

async fn a_batch_may_issue_to_the_same_twice(world: World) {
    let store = &*world.store;
    let smith = account(store, "smith").await;
    subscriber(store, smith.id, 1).await;
    let new = [new_issue(smith.id, "a", 1, 1), new_issue(smith.id, "b", 1, 1)];
    let made = store.issue(&new).await.unwrap();
    let second = made[1].as_ref().unwrap();
    assert!(made[0].as_ref().unwrap().login.id < second.login.id);
    assert_eq!(all(store).await, std::slice::from_ref(second));
    assert_eq!(store.logins(&LoginFilter::default(), Page::first(9)).await.unwrap().len(), 1);
}

async fn what_is_issued_is_listed_by_subscriber_station_and_account(world: World) {
    let store = &*world.store;
    let (smith, jones) = (account(store, "smith").await, account(store, "jones").await);
    let mut made = Vec::new();
    for (account, n) in [(smith.id, 1), (smith.id, 2), (jones.id, 3)] {
        subscriber(store, account, n).await;
        made.push(one(store, new_issue(account, &format!("n{n}"), n, n + 10)).await);
    }
    let any = IssuedFilter::default();
    for (filter, which) in [
        (any.clone(), vec![0, 1, 2]),
        (IssuedFilter { imsi: Some(imsi(2)), ..any.clone() }, vec![1]),
        (IssuedFilter { mac: Some(mac(13)), ..any.clone() }, vec![2]),
        (IssuedFilter { account: Some(smith.id), ..any.clone() }, vec![0, 1]),
        (IssuedFilter { account: Some(smith.id), imsi: Some(imsi(3)), ..any.clone() }, vec![]),
    ] {
        let wanted: Vec<_> = which.into_iter().map(|n: usize| made[n].clone()).collect();
        assert_eq!(store.issued(&filter, Page::first(9)).await.unwrap(), wanted);
    }
    let page = Page::after(made[0].login.id, 1);
    assert_eq!(store.issued(&any, page).await.unwrap(), [made[1].clone()]);
}

async fn only_what_was_issued_is_withdrawn(world: World) {
    let store = &*world.store;
    let smith = account(store, "smith").await;
    subscriber(store, smith.id, 1).await;
    let own = store.create_login(&new_login(smith.id, "own")).await.unwrap();
    let made = one(store, new_issue(smith.id, "a", 1, 1)).await;
    assert!(!store.withdraw(own.id).await.unwrap());
    assert!(store.login(own.id).await.unwrap().is_some());
    assert!(store.withdraw(made.login.id).await.unwrap());
    assert!(!store.withdraw(made.login.id).await.unwrap());
    assert_eq!(store.login(made.login.id).await.unwrap(), None);
    // One that is deleted as a log-in is no longer issued either.
    let made = one(store, new_issue(smith.id, "a", 1, 1)).await;
    assert!(store.delete_login(made.login.id).await.unwrap());
    assert_eq!(all(store).await, []);
    one(store, new_issue(smith.id, "a", 1, 1)).await;
}

async fn what_ran_out_is_withdrawn_the_oldest_first(world: World) {
    let store = &*world.store;
    let smith = account(store, "smith").await;
    let expiring = |name: &str, at: i64| NewLogin {
        expires: Some(UnixTime(NOON + at)),
        ..new_login(smith.id, name)
    };
    // One that nobody issued stays, as long as whoever made it likes.
    store.create_login(&expiring("own", 1)).await.unwrap();
    for (n, at) in [(1, 30), (2, 10), (3, 20), (4, 40)] {
        subscriber(store, smith.id, n).await;
        let login = expiring(&format!("n{n}"), at);
        one(store, NewIssue { login, ..new_issue(smith.id, "", n, n) }).await;
    }
    subscriber(store, smith.id, 5).await;
    one(store, new_issue(smith.id, "for-life", 5, 5)).await;
    let left = async || all(store).await.into_iter().map(|i| i.imsi).collect::<Vec<_>>();
    let before = UnixTime(NOON + 40);
    assert_eq!(store.withdraw_expired(before, 2).await.unwrap(), 2);
    assert_eq!(left().await, [imsi(1), imsi(4), imsi(5)]);
    assert_eq!(store.withdraw_expired(before, 2).await.unwrap(), 1);
    assert_eq!(store.withdraw_expired(before, 2).await.unwrap(), 0);
    assert_eq!(left().await, [imsi(4), imsi(5)]);
    assert!(store.login_named(&nai("own")).await.unwrap().is_some());
}

async fn a_log_in_for_one_log_on_is_spent_once(world: World) {
    let store = &*world.store;
    let smith = account(store, "smith").await;
    let new = NewLogin { uses: Uses::Once, ..new_login(smith.id, "once") };
    let once = store.create_login(&new).await.unwrap();
    let any = store.create_login(&new_login(smith.id, "any")).await.unwrap();
    let head = store.outbox_head().await.unwrap();
    assert!(!store.spend_login(any.id).await.unwrap());
    let spent = [
        store.spend_login(once.id).await.unwrap(),
        store.spend_login(once.id).await.unwrap(),
        store.spend_login(homeward_model::LoginId(99)).await.unwrap(),
    ];
    assert_eq!(spent, [true, false, false]);
    assert_eq!(store.login(once.id).await.unwrap().unwrap().uses, Uses::Spent);
    assert_eq!(store.login(any.id).await.unwrap().unwrap().uses, Uses::Any);
    // A change of something else leaves it spent.
    store.update_login(once.id, &LoginChange::status(Status::Suspended)).await.unwrap();
    assert_eq!(store.login(once.id).await.unwrap().unwrap().uses, Uses::Spent);
    let told = store.outbox_after(head, 9).await.unwrap();
    assert_eq!(told.len(), 2);
    let OutboxRecord::Login(facts) = &told[0].record else { panic!("{told:?}") };
    assert_eq!((told[0].operation, facts.uses), (Operation::Update, Uses::Spent));
}

async fn what_changes_of_the_log_in_shows(world: World) {
    let store = &*world.store;
    let smith = account(store, "smith").await;
    subscriber(store, smith.id, 1).await;
    let made = one(store, new_issue(smith.id, "a", 1, 1)).await;
    let change = LoginChange::status(Status::Suspended);
    let login = store.update_login(made.login.id, &change).await.unwrap();
    let wanted = Some(Issued { login, ..made });
    assert_eq!(store.issued_to(imsi(1)).await.unwrap(), wanted);
}

async fn whoever_answers_log_ons_is_told(world: World) {
    let store = &*world.store;
    let smith = account(store, "smith").await;
    for n in 1..=2 {
        subscriber(store, smith.id, n).await;
    }
    let head = store.outbox_head().await.unwrap();
    let first = one(store, new_issue(smith.id, "a", 1, 1)).await.login.id;
    let second = one(store, new_issue(smith.id, "b", 2, 2)).await.login.id;
    // Ends that of the subscriber, then that of the station.
    let third = one(store, new_issue(smith.id, "c", 2, 1)).await.login.id;
    store.withdraw(third).await.unwrap();
    let told = store.outbox_after(head, 9).await.unwrap();
    let told: Vec<_> = told.iter().map(|e| (e.operation, e.record.id())).collect();
    use Operation::{Create, Delete};
    assert_eq!(
        told,
        [
            (Create, first.0),
            (Create, second.0),
            (Delete, second.0),
            (Delete, first.0),
            (Create, third.0),
            (Delete, third.0),
        ]
    );
}
