//! No passphrase, PSK or RADIUS secret is on disk in the clear: not in the database, not in its
//! log, not in the outbox.

use std::fs;
use std::path::Path;

use homeward_model::{DeviceKey, Passphrase, Psk, Secret, Verifier};
use homeward_store::{
    Audit, AuditFilter, DeviceChange, Devices, Enrolment, GatewayChange, Gateways, Issuing, Keys,
    LoginChange, Logins, NewDevice, NewGateway, NewIssue, NewLogin, Seq, SqliteStore,
    StoredAuthority,
};

use crate::world::{
    Place, account, network, new_device, new_gateway, new_issue, new_login, nt_hash, subscriber,
};

const PASSPHRASES: [&str; 2] = ["plain as day 1", "plain as day 2"];
const SECRETS: [&str; 2] = ["radius in the open 1", "radius in the open 2"];

const PHC: &str = "$argon2id$v=19$m=19456,t=2,p=1$c2FsdA$aGFzaA";

const PASSWORD: &str = "a password for CHAP";

const ISSUED: [&str; 2] = ["a password for a phone 1", "a password for a phone 2"];

const AUTHORITY_KEY: &[u8] = b"the key of the authority";

fn psk(n: u8) -> Psk {
    Psk::new(std::array::from_fn(|i| 0xa0 ^ n ^ (i as u8).wrapping_mul(37)))
}

fn key(n: u8) -> DeviceKey {
    let passphrase: Passphrase = PASSPHRASES[usize::from(n)].parse().unwrap();
    DeviceKey::Passphrase { passphrase, psk: psk(n) }
}

/// Every form in which a secret might lie about: octets, hex of either case, base64.
fn forms() -> Vec<Vec<u8>> {
    let mut plain: Vec<Vec<u8>> = Vec::new();
    plain.extend(PASSPHRASES.iter().chain(&SECRETS).map(|t| t.as_bytes().to_vec()));
    plain.extend([0, 1, 2].map(|n| psk(n).expose().to_vec()));
    plain.push(AUTHORITY_KEY.to_vec());
    plain.extend([PHC, PASSWORD, ISSUED[0], ISSUED[1]].map(|text| text.as_bytes().to_vec()));
    for octet in [0xb0, 0xb1] {
        let Verifier::NtHash(hash) = nt_hash(octet) else { unreachable!() };
        plain.push(hash.expose().to_vec());
    }
    let hex = |octets: &Vec<u8>| octets.iter().map(|o| format!("{o:02x}")).collect::<String>();
    let lower: Vec<String> = plain.iter().map(hex).collect();
    let upper: Vec<String> = lower.iter().map(|h| h.to_uppercase()).collect();
    plain.extend(lower.into_iter().chain(upper).map(String::into_bytes));
    plain
}

fn found(directory: &Path, forms: &[Vec<u8>]) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let octets = fs::read(&path).unwrap();
        for form in forms {
            if octets.windows(form.len()).any(|w| w == form) {
                found.push(format!("{} in {}", form.escape_ascii(), path.display()));
            }
        }
    }
    found
}

/// Everything with a secret, done by somebody who has a name, so that the audit trail tells of it.
async fn fill(store: &SqliteStore) {
    let store = &store.with_actor("admin:fred".parse().unwrap());
    let smith = account(store, "smith").await;
    let home = network(store, smith.id, None, "home").await;
    let new = NewDevice { key: Some(key(0)), ..new_device(home.id, 1) };
    let phone = store.create_device(&new).await.unwrap();
    let raw = NewDevice { key: Some(DeviceKey::Psk(psk(2))), ..new_device(home.id, 2) };
    store.create_device(&raw).await.unwrap();
    let change = DeviceChange { key: Some(Some(key(1))), ..Default::default() };
    store.update_device(phone.id, &change).await.unwrap();
    let new = NewGateway { radius_secret: Secret::new(SECRETS[0]), ..new_gateway("gw-1", 1) };
    let gateway = store.create_gateway(&new).await.unwrap();
    let secret = Some(Secret::new(SECRETS[1]));
    let change = GatewayChange { radius_secret: secret, ..Default::default() };
    store.update_gateway(gateway.id, &change).await.unwrap();
    let login = store.create_login(&new_login(smith.id, "a")).await.unwrap();
    let change = LoginChange { verifier: Some(nt_hash(0xb1)), ..Default::default() };
    store.update_login(login.id, &change).await.unwrap();
    let verifier = Verifier::Argon2id(Secret::new(PHC));
    let new = NewLogin { verifier, ..new_login(smith.id, "b") };
    store.create_login(&new).await.unwrap();
    let verifier = Verifier::Password(Secret::new(PASSWORD));
    let new = NewLogin { verifier, ..new_login(smith.id, "c") };
    store.create_login(&new).await.unwrap();
    subscriber(store, smith.id, 1).await;
    for (n, password) in (1..).zip(ISSUED) {
        let verifier = Verifier::Password(Secret::new(password));
        let login = NewLogin { verifier, ..new_login(smith.id, &format!("issued-{n}")) };
        let new = NewIssue { login, ..new_issue(smith.id, "", 1, n) };
        store.issue(&[new]).await.unwrap().remove(0).unwrap();
    }
    let key = Secret::new(AUTHORITY_KEY);
    let authority = StoredAuthority { certificate: vec![1], key };
    store.found_authority(&authority).await.unwrap();
}

#[tokio::test]
async fn no_secret_is_on_disk_in_the_clear() {
    let place = Place::new();
    let store = place.open(1).await.unwrap();
    fill(&store).await;
    assert!(place.path().join("homeward.db-wal").exists());
    assert_eq!(found(place.path(), &forms()), [""; 0]);
    store.rotate_keys().await.unwrap();
    let authority = store.authority().await.unwrap().unwrap();
    assert_eq!(authority.key.expose(), AUTHORITY_KEY);
    let login = store.login_named(&"a".parse().unwrap()).await.unwrap().unwrap();
    assert_eq!(login.verifier, nt_hash(0xb1));
    assert_eq!(found(place.path(), &forms()), [""; 0]);
    store.close().await;
    assert_eq!(found(place.path(), &forms()), [""; 0]);
    // The search itself finds what is there.
    let label = b"device 1".to_vec();
    assert_eq!(found(place.path(), &[label]).len(), 1);
}

#[tokio::test]
async fn the_lengths_of_passphrases_do_not_show() {
    let place = Place::new();
    let store = place.open(1).await.unwrap();
    let smith = account(&store, "smith").await;
    let home = network(&store, smith.id, None, "home").await;
    for (last, text) in [(1, "8 chars!".to_owned()), (2, "x".repeat(63))] {
        let key = DeviceKey::Passphrase { passphrase: text.parse().unwrap(), psk: psk(0) };
        let new = NewDevice { key: Some(key), ..new_device(home.id, last) };
        store.create_device(&new).await.unwrap();
    }
    let pool = sqlx::SqlitePool::connect(place.database().to_str().unwrap()).await.unwrap();
    let lengths: Vec<i64> =
        sqlx::query_scalar("SELECT length(key) FROM device").fetch_all(&pool).await.unwrap();
    assert_eq!(lengths, [134, 134]);
}

#[tokio::test]
async fn nothing_that_is_printed_shows_a_secret() {
    let place = Place::new();
    let store = place.open(1).await.unwrap();
    fill(&store).await;
    let gateway = store.gateway_named(&"gw-1".parse().unwrap()).await.unwrap();
    let devices = store.devices(&Default::default(), homeward_store::Page::first(9)).await.unwrap();
    let logins = store.logins(&Default::default(), homeward_store::Page::first(9)).await.unwrap();
    let issued = store.issued(&Default::default(), homeward_store::Page::first(9)).await.unwrap();
    let trail = store.audit_after(Seq::ZERO, &AuditFilter::default(), 99).await.unwrap();
    assert!(issued.len() == 1 && trail.len() > 12, "{issued:?} {trail:?}");
    let ring = place.ring();
    let shown =
        format!("{store:?} {ring:?} {gateway:?} {devices:?} {logins:?} {issued:?} {trail:?}");
    let file = fs::read_to_string(place.key_file()).unwrap();
    let key = file.lines().last().unwrap().split(' ').next_back().unwrap();
    assert_eq!(key.len(), 64);
    for secret in
        PASSPHRASES.iter().chain(&SECRETS).copied().chain([key, PHC, PASSWORD]).chain(ISSUED)
    {
        assert!(!shown.contains(secret), "{shown}");
    }
}
