//! Any sequence of operations has the same answers in memory and on SQLite.

use std::error::Error as _;
use std::fmt::Debug;

use homeward_model::{
    AccountId, ClassId, DeviceId, GatewayId, LoginId, NetworkId, PolicyScope, Secret, Security,
    Status, SubscriberId, UnixTime, Uses, Verifier,
};
use homeward_store::{
    AccountChange, AuditFilter, BearerChange, ClassChange, Dependents, DeviceChange, GatewayChange,
    LoginChange, NetworkChange, NewCredential, NewDevice, NewGateway, NewIssue, NewLogin,
    NewNetwork, NewSubscriber, Page, Redeemed, Result, Scope, Seq, Store, SubscriberChange,
};
use proptest::prelude::*;

use crate::world::{
    NOON, World, bearer, imsi, mac, msisdn, nai, name, new_account, new_class, new_device,
    new_gateway, new_hybrid, new_issue, new_login, new_network, new_subscriber, nt_hash,
    passphrase, policy, raw_psk, ssid,
};

/// An operation over few names, addresses and identifiers, so that they meet.
#[derive(Debug, Clone)]
enum Op {
    CreateClass(u8),
    RenameClass(i64, u8),
    DeleteClass(i64),
    CreateAccount(u8, i64),
    ChangeAccount(i64, Option<u8>, Option<i64>, Option<bool>),
    DeleteAccount(i64, bool),
    CreateGateway(u8, u8, Option<u8>),
    CreateHybrid(u8, u8, i64, Option<u8>),
    ChangeGateway(i64, Option<u8>, Option<Option<u8>>, Option<u8>),
    DeleteGateway(i64),
    CreateNetwork(i64, Option<i64>, u8, u8),
    ChangeNetwork(i64, Option<Option<i64>>, Option<u8>, Option<u8>),
    DeleteNetwork(i64, bool),
    CreateDevices(Vec<(i64, u8, u8)>),
    ChangeDevice(i64, Option<u8>, Option<u8>, Option<bool>),
    DeleteDevice(i64),
    CreateLogins(Vec<(i64, u8, u8)>),
    ChangeLogin(i64, Option<u8>, Option<u8>, Option<Option<u8>>, Option<bool>),
    DeleteLogin(i64),
    CreateSubscribers(Vec<(i64, u8, Option<u8>)>),
    ChangeSubscriber(i64, Option<u8>, Option<Option<u8>>, Option<i64>, Option<bool>),
    DeleteSubscriber(i64),
    SetPolicy(u8, u8),
    ClearPolicy(u8),
    Issue(Vec<(i64, u8, u8, u8, bool)>),
    Withdraw(i64),
    WithdrawExpired(i64, u32),
    Spend(i64),
    Bearers(Vec<(u8, u8, u8)>),
    Prune(i64),
    PutToken(i64, u8, i64),
    Redeem(u8),
    Renew(u8),
    Use(u8),
    Revoke(i64),
}

fn op() -> impl Strategy<Value = Op> {
    use proptest::option::of;
    let (id, few, key) = (1..4i64, 0..3u8, 0..3u8);
    let device = (id.clone(), few.clone(), key.clone());
    prop_oneof![
        1 => few.clone().prop_map(Op::CreateClass),
        1 => (id.clone(), few.clone()).prop_map(|(i, n)| Op::RenameClass(i, n)),
        1 => id.clone().prop_map(Op::DeleteClass),
        3 => (few.clone(), id.clone()).prop_map(|(n, c)| Op::CreateAccount(n, c)),
        1 => (id.clone(), of(few.clone()), of(id.clone()), of(any::<bool>()))
            .prop_map(|(i, n, c, s)| Op::ChangeAccount(i, n, c, s)),
        1 => (id.clone(), any::<bool>()).prop_map(|(i, c)| Op::DeleteAccount(i, c)),
        1 => (few.clone(), few.clone(), of(few.clone()))
            .prop_map(|(n, m, a)| Op::CreateGateway(n, m, a)),
        1 => (few.clone(), few.clone(), id.clone(), of(few.clone()))
            .prop_map(|(n, m, w, a)| Op::CreateHybrid(n, m, w, a)),
        1 => (id.clone(), of(few.clone()), of(of(few.clone())), of(few.clone()))
            .prop_map(|(i, m, a, s)| Op::ChangeGateway(i, m, a, s)),
        1 => id.clone().prop_map(Op::DeleteGateway),
        4 => (id.clone(), of(id.clone()), few.clone(), 0..4u8)
            .prop_map(|(a, g, s, k)| Op::CreateNetwork(a, g, s, k)),
        1 => (id.clone(), of(of(id.clone())), of(few.clone()), of(0..4u8))
            .prop_map(|(i, g, s, k)| Op::ChangeNetwork(i, g, s, k)),
        1 => (id.clone(), any::<bool>()).prop_map(|(i, c)| Op::DeleteNetwork(i, c)),
        6 => proptest::collection::vec(device, 1..3).prop_map(Op::CreateDevices),
        2 => (id.clone(), of(few), of(key), of(any::<bool>()))
            .prop_map(|(i, m, k, s)| Op::ChangeDevice(i, m, k, s)),
        1 => id.clone().prop_map(Op::DeleteDevice),
        3 => proptest::collection::vec((id.clone(), 0..4u8, 0..2u8), 1..3)
            .prop_map(Op::CreateLogins),
        2 => (id.clone(), of(0..4u8), of(0..2u8), of(of(0..3u8)), of(any::<bool>()))
            .prop_map(|(i, n, v, m, s)| Op::ChangeLogin(i, n, v, m, s)),
        1 => id.clone().prop_map(Op::DeleteLogin),
        4 => proptest::collection::vec((id.clone(), 0..4u8, of(0..3u8)), 1..3)
            .prop_map(Op::CreateSubscribers),
        2 => (id.clone(), of(0..4u8), of(of(0..3u8)), of(id.clone()), of(any::<bool>()))
            .prop_map(|(i, n, m, a, s)| Op::ChangeSubscriber(i, n, m, a, s)),
        1 => id.clone().prop_map(Op::DeleteSubscriber),
        2 => (0..4u8, 0..3u8).prop_map(|(s, n)| Op::SetPolicy(s, n)),
        1 => (0..4u8).prop_map(Op::ClearPolicy),
        8 => proptest::collection::vec((id.clone(), 0..4u8, 0..4u8, 0..3u8, any::<bool>()), 0..4)
            .prop_map(Op::Issue),
        1 => (0..20i64).prop_map(Op::Withdraw),
        1 => (0..60i64, 0..3u32).prop_map(|(t, n)| Op::WithdrawExpired(t, n)),
        2 => (0..20i64).prop_map(Op::Spend),
        1 => proptest::collection::vec((0..3u8, 0..3u8, 0..3u8), 0..4).prop_map(Op::Bearers),
        3 => (id.clone(), 0..3u8, 0..60i64).prop_map(|(i, h, t)| Op::PutToken(i, h, t)),
        4 => (0..3u8).prop_map(Op::Redeem),
        3 => (0..40u8).prop_map(Op::Renew),
        3 => (0..40u8).prop_map(Op::Use),
        1 => id.prop_map(Op::Revoke),
        1 => (0..40i64).prop_map(Op::Prune),
    ]
}

/// What most operations need to come to anything.
fn furniture() -> Vec<Op> {
    let subscribers = [(1, 0, Some(0)), (1, 1, None), (2, 2, Some(1)), (1, 3, None)];
    vec![
        Op::CreateClass(0),
        Op::CreateAccount(0, 1),
        Op::CreateAccount(1, 1),
        Op::CreateNetwork(1, None, 0, 0),
        Op::CreateHybrid(2, 2, 1, None),
        Op::CreateSubscribers(subscribers.to_vec()),
        Op::Issue((0..3).map(|n| (1, n, n, n, n == 0)).collect()),
    ]
}

/// The answer, for comparison: an error with its sources, a record in full.
fn told<T: Debug>(result: Result<T>) -> String {
    match result {
        Ok(value) => format!("{value:?}"),
        Err(error) => {
            let source = error.source().map(ToString::to_string).unwrap_or_default();
            format!("{error} {source}")
        }
    }
}

fn status(suspended: bool) -> Status {
    if suspended { Status::Suspended } else { Status::Active }
}

fn security(n: u8) -> Security {
    [Security::Wpa2Psk, Security::Wpa3Sae, Security::Wpa2Wpa3, Security::Enterprise][usize::from(n)]
}

fn letter(n: u8) -> String {
    char::from(b'a' + n).to_string()
}

fn key(n: u8) -> Option<homeward_model::DeviceKey> {
    [None, Some(passphrase("correct horse")), Some(raw_psk(1))][usize::from(n)].clone()
}

fn verifier(n: u8) -> Verifier {
    [nt_hash(1), Verifier::Argon2id(Secret::new("$argon2id$of"))][usize::from(n)].clone()
}

fn address(n: Option<u8>) -> Option<String> {
    n.map(|n| format!("192.0.2.{n}"))
}

fn dependents(all: bool) -> Dependents {
    if all { Dependents::Delete } else { Dependents::Refuse }
}

fn scope(n: u8) -> PolicyScope {
    match n {
        0 => PolicyScope::Default,
        1 => PolicyScope::Mac(mac(1)),
        n => PolicyScope::Class(ClassId(i64::from(n) - 1)),
    }
}

/// A credential of its own for each step.
fn credential(at: u8) -> NewCredential {
    let (issued, not_after) = (UnixTime(NOON + i64::from(at)), UnixTime(NOON + 1000));
    NewCredential { serial: [at; 16], issued, not_after }
}

async fn run(store: &dyn Store, at: u8, op: &Op) -> String {
    match op.clone() {
        Op::CreateClass(n) => told(store.create_class(&new_class(&letter(n))).await),
        Op::RenameClass(id, n) => {
            let change = ClassChange { name: Some(name(&letter(n))), ..Default::default() };
            told(store.update_class(ClassId(id), &change).await)
        }
        Op::DeleteClass(id) => told(store.delete_class(ClassId(id)).await),
        Op::CreateAccount(n, c) => {
            told(store.create_account(&new_account(&letter(n), ClassId(c))).await)
        }
        Op::ChangeAccount(id, n, c, s) => {
            let change = AccountChange {
                name: n.map(|n| name(&letter(n))),
                class: c.map(ClassId),
                status: s.map(status),
            };
            told(store.update_account(AccountId(id), &change).await)
        }
        Op::DeleteAccount(id, all) => {
            told(store.delete_account(AccountId(id), dependents(all)).await)
        }
        Op::CreateGateway(n, m, a) => {
            let new = NewGateway { address: address(a), ..new_gateway(&letter(n), m) };
            told(store.create_gateway(&new).await)
        }
        Op::CreateHybrid(n, m, w, a) => {
            let new = new_hybrid(&letter(n), m, NetworkId(w));
            told(store.create_gateway(&NewGateway { address: address(a), ..new }).await)
        }
        Op::ChangeGateway(id, m, a, s) => {
            let change = GatewayChange {
                mac: m.map(mac),
                address: a.map(address),
                radius_secret: s.map(|n| Secret::new(vec![n; usize::from(n)])),
                ..Default::default()
            };
            told(store.update_gateway(GatewayId(id), &change).await)
        }
        Op::DeleteGateway(id) => told(store.delete_gateway(GatewayId(id)).await),
        Op::CreateNetwork(a, g, s, k) => {
            let gateway = g.map(GatewayId);
            let new = new_network(AccountId(a), &letter(s), security(k));
            told(store.create_network(&NewNetwork { gateway, ..new }).await)
        }
        Op::ChangeNetwork(id, g, s, k) => {
            let change = NetworkChange {
                gateway: g.map(|g| g.map(GatewayId)),
                ssid: s.map(|s| ssid(&letter(s))),
                security: k.map(security),
                status: None,
            };
            told(store.update_network(NetworkId(id), &change).await)
        }
        Op::DeleteNetwork(id, all) => {
            told(store.delete_network(NetworkId(id), dependents(all)).await)
        }
        Op::CreateDevices(devices) => {
            let new: Vec<NewDevice> = devices
                .into_iter()
                .map(|(n, m, k)| NewDevice { key: key(k), ..new_device(NetworkId(n), m) })
                .collect();
            told(store.create_devices(&new).await)
        }
        Op::ChangeDevice(id, m, k, s) => {
            let change = DeviceChange {
                mac: m.map(mac),
                key: k.map(key),
                label: None,
                status: s.map(status),
            };
            told(store.update_device(DeviceId(id), &change).await)
        }
        Op::DeleteDevice(id) => told(store.delete_device(DeviceId(id)).await),
        Op::CreateLogins(logins) => {
            let new: Vec<NewLogin> = logins
                .into_iter()
                .map(|(a, n, v)| NewLogin {
                    verifier: verifier(v),
                    ..new_login(AccountId(a), &letter(n))
                })
                .collect();
            told(store.create_logins(&new).await)
        }
        Op::ChangeLogin(id, n, v, m, s) => {
            let change = LoginChange {
                name: n.map(|n| nai(&letter(n))),
                verifier: v.map(verifier),
                mac: m.map(|m| m.map(mac)),
                expires: None,
                label: None,
                status: s.map(status),
            };
            told(store.update_login(LoginId(id), &change).await)
        }
        Op::DeleteLogin(id) => told(store.delete_login(LoginId(id)).await),
        Op::CreateSubscribers(subscribers) => {
            let new: Vec<NewSubscriber> = subscribers
                .into_iter()
                .map(|(a, n, m)| NewSubscriber {
                    msisdn: m.map(msisdn),
                    ..new_subscriber(AccountId(a), n)
                })
                .collect();
            told(store.create_subscribers(&new).await)
        }
        Op::ChangeSubscriber(id, n, m, a, s) => {
            let change = SubscriberChange {
                imsi: n.map(imsi),
                msisdn: m.map(|m| m.map(msisdn)),
                account: a.map(AccountId),
                label: None,
                status: s.map(status),
            };
            told(store.update_subscriber(SubscriberId(id), &change).await)
        }
        Op::DeleteSubscriber(id) => told(store.delete_subscriber(SubscriberId(id)).await),
        Op::SetPolicy(s, n) => told(store.set_policy(scope(s), &policy(n)).await),
        Op::ClearPolicy(s) => told(store.clear_policy(scope(s)).await),
        Op::Issue(issues) => {
            let new: Vec<NewIssue> = issues
                .into_iter()
                .map(|(a, name, sim, station, once)| {
                    let mut new = new_issue(AccountId(a), &letter(name), sim, station);
                    new.login.uses = if once { Uses::Once } else { Uses::Any };
                    new.login.expires = Some(UnixTime(NOON + 10 + i64::from(at)));
                    new
                })
                .collect();
            match store.issue(&new).await {
                Ok(made) => made.into_iter().map(told).collect(),
                Err(error) => format!("failed: {error}"),
            }
        }
        Op::Withdraw(id) => told(store.withdraw(LoginId(id)).await),
        Op::WithdrawExpired(ms, limit) => {
            told(store.withdraw_expired(UnixTime(NOON + ms), limit).await)
        }
        Op::Spend(id) => told(store.spend_login(LoginId(id)).await),
        Op::Bearers(changes) => {
            let changes: Vec<BearerChange> = changes
                .into_iter()
                .map(|(what, gateway, n)| {
                    let apn = [None, Some("internet")][usize::from(n % 2)];
                    let one = bearer(&letter(gateway), apn, &format!("192.0.2.{n}/32"));
                    match what {
                        0 => BearerChange::Put(one),
                        1 => BearerChange::Remove {
                            gateway: one.gateway,
                            apn: one.apn,
                            address: one.address,
                        },
                        _ => BearerChange::Clear { gateway: one.gateway },
                    }
                })
                .collect();
            told(store.apply_bearers(&changes).await)
        }
        Op::PutToken(id, hash, ms) => {
            // Two gateways never have the same token: 256 random bits.
            let hash = [hash * 4 + u8::try_from(id).unwrap(); 32];
            told(store.put_token(GatewayId(id), hash, UnixTime(NOON + ms)).await)
        }
        Op::Redeem(hash) => {
            let mut answers = String::new();
            for id in 1..4 {
                let redeemed = store.redeem_token([hash * 4 + id; 32], &credential(at)).await;
                let done = matches!(redeemed, Ok(Redeemed::Done(_)));
                answers.push_str(&told(redeemed));
                if done {
                    break;
                }
            }
            answers
        }
        Op::Renew(serial) => told(store.renew_credential([serial; 16], &credential(at)).await),
        Op::Use(serial) => {
            let now = UnixTime(NOON + i64::from(at));
            told(store.use_credential([serial; 16], now).await)
        }
        Op::Revoke(id) => told(store.revoke_access(GatewayId(id)).await),
        Op::Prune(ms) => told(store.prune_outbox(UnixTime(NOON + ms)).await),
    }
}

/// Everything the store holds. Keys and secrets print redacted, so they are compared apart.
async fn everything(store: &dyn Store) -> (Vec<String>, Vec<homeward_model::RoamingRecord>) {
    let all = 1000;
    let mut lines = vec![
        told(store.classes(Page::first(all)).await),
        told(store.accounts(&Default::default(), Page::first(all)).await),
        told(store.gateways(&Default::default(), Page::first(all)).await),
        told(store.networks(&Default::default(), Page::first(all)).await),
        told(store.devices(&Default::default(), Page::first(all)).await),
        told(store.logins(&Default::default(), Page::first(all)).await),
        told(store.subscribers(&Default::default(), Page::first(all)).await),
        told(store.policies().await),
        told(store.issued(&Default::default(), Page::first(all)).await),
        told(store.bearers().await),
        told(store.audit_after(Seq::ZERO, &AuditFilter::default(), all).await),
        told(store.outbox_head().await),
    ];
    for seq in 0..=store.outbox_head().await.unwrap().0 {
        lines.push(told(store.outbox_after(Seq(seq), 1).await));
    }
    for (mac, ssid) in (0..3).flat_map(|m| (0..3).map(move |s| (mac(m), ssid(&letter(s))))) {
        lines.push(told(store.roaming_record(mac, ssid).await));
        lines.push(told(store.devices_at(mac, ssid).await));
    }
    for login in (0..4).map(letter) {
        lines.push(told(store.login_named(&nai(&login)).await));
    }
    for n in 0..4 {
        lines.push(told(store.subscriber_with_imsi(imsi(n)).await));
        lines.push(told(store.subscriber_with_msisdn(msisdn(n)).await));
        lines.push(told(store.issued_to(imsi(n)).await));
        lines.push(told(store.policy(scope(n)).await));
    }
    for serial in 0..40 {
        lines.push(told(store.credential([serial; 16]).await));
    }
    for id in 1..4 {
        lines.push(told(store.gateway_access(GatewayId(id)).await));
        for scope in [
            Scope::Class(ClassId(id)),
            Scope::Account(AccountId(id)),
            Scope::Gateway(GatewayId(id)),
            Scope::Network(NetworkId(id)),
        ] {
            lines.push(told(store.roaming_records(scope, Page::first(all)).await));
        }
    }
    (lines, store.roaming_records(Scope::All, Page::first(all)).await.unwrap())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn sqlite_and_memory_give_the_same_answers(
        furnished in any::<bool>(),
        ops in proptest::collection::vec(op(), 1..40),
    ) {
        let mut all = if furnished { furniture() } else { Vec::new() };
        all.extend(ops);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let (sqlite, memory) = (World::sqlite().await, World::memory());
            for (at, op) in (0..).zip(&all) {
                sqlite.clock.set(NOON + i64::from(at));
                memory.clock.set(NOON + i64::from(at));
                // Every third thing is done by somebody who has a name.
                let (one, other) = if at % 3 == 0 {
                    let fred = || "admin:fred".parse().unwrap();
                    let (sqlite, memory) =
                        (sqlite.store.acting_as(fred()), memory.store.acting_as(fred()));
                    (run(&*sqlite, at, op).await, run(&*memory, at, op).await)
                } else {
                    (run(&*sqlite.store, at, op).await, run(&*memory.store, at, op).await)
                };
                prop_assert_eq!(one, other, "{:?}", op);
            }
            let (one, other) =
                (everything(&*sqlite.store).await, everything(&*memory.store).await);
            prop_assert_eq!(one.0, other.0);
            prop_assert!(one.1 == other.1, "a key or secret differs");
            Ok(())
        })?;
    }
}
