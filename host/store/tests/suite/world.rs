//! A datastore to test, and short ways to fill it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use homeward_model::{
    Account, AccountId, ClassId, ClassOfService, Coverage, Device, DeviceKey, Gateway, GatewayId,
    Imsi, LookupForm, Mac, Msisdn, Nai, Name, Network, NetworkId, NtHash, OffloadPolicy, Psk,
    Secret, Security, ServiceTerms, Ssid, Status, Subscriber, UnixTime, Uses, Verifier,
};
use homeward_seal::KeyRing;
use homeward_seal::testing::XorshiftEntropy;
use homeward_store::testing::ManualClock;
use homeward_store::{
    MemoryStore, NewAccount, NewClass, NewDevice, NewGateway, NewIssue, NewLogin, NewNetwork,
    NewSubscriber, SqliteOptions, SqliteStore, Store, StoredBearer, Way,
};
use tempfile::TempDir;

/// When the tests' clock begins: 2026-01-31T12:00:00Z.
pub(crate) const NOON: i64 = 1_769_860_800_000;

/// A datastore of either kind with its clock, and its directory if it has one.
pub(crate) struct World {
    pub(crate) store: Box<dyn Store>,
    pub(crate) clock: Arc<ManualClock>,
    _place: Option<Place>,
}

impl World {
    pub(crate) fn memory() -> Self {
        let clock = Arc::new(ManualClock::at(NOON));
        Self { store: Box::new(MemoryStore::new(clock.clone())), clock, _place: None }
    }

    pub(crate) async fn sqlite() -> Self {
        let (place, clock) = (Place::new(), Arc::new(ManualClock::at(NOON)));
        let options = SqliteOptions::new(place.database());
        let store = options.open(place.ring(), clock.clone(), entropy(2)).await.unwrap();
        Self { store: Box::new(store), clock, _place: Some(place) }
    }
}

/// A directory with a key file, and a database to come.
pub(crate) struct Place {
    directory: TempDir,
}

impl Place {
    pub(crate) fn new() -> Self {
        let place = Self { directory: TempDir::new().unwrap() };
        KeyRing::generate(&place.key_file(), &mut XorshiftEntropy::new(1), UnixTime(NOON)).unwrap();
        place
    }

    pub(crate) fn path(&self) -> &Path {
        self.directory.path()
    }

    pub(crate) fn database(&self) -> PathBuf {
        self.path().join("homeward.db")
    }

    pub(crate) fn key_file(&self) -> PathBuf {
        self.path().join("homeward.keys")
    }

    pub(crate) fn ring(&self) -> KeyRing {
        KeyRing::load(&self.key_file()).unwrap()
    }

    /// The datastore, opened by one more process as far as SQLite can tell. Each has octets of its
    /// own, or two would seal with the same nonce.
    pub(crate) async fn open(&self, process: u64) -> homeward_store::Result<SqliteStore> {
        let clock = Arc::new(ManualClock::at(NOON));
        SqliteStore::open(&self.database(), self.ring(), clock, entropy(process)).await
    }
}

pub(crate) fn entropy(process: u64) -> Box<XorshiftEntropy> {
    Box::new(XorshiftEntropy::new(process << 8))
}

pub(crate) fn name(text: &str) -> Name {
    text.parse().unwrap()
}

pub(crate) fn ssid(text: &str) -> Ssid {
    text.parse().unwrap()
}

pub(crate) fn mac(last: u8) -> Mac {
    Mac::new([2, 0, 0, 0, 0, last])
}

/// A passphrase and, as far as the datastore can tell, its PSK.
pub(crate) fn passphrase(text: &str) -> DeviceKey {
    let psk = Psk::new(std::array::from_fn(|i| text.as_bytes()[i % text.len()] ^ 0x80));
    DeviceKey::Passphrase { passphrase: text.parse().unwrap(), psk }
}

pub(crate) fn raw_psk(octet: u8) -> DeviceKey {
    DeviceKey::Psk(Psk::new(std::array::from_fn(|i| octet.wrapping_add(i as u8))))
}

pub(crate) fn new_class(text: &str) -> NewClass {
    let terms = ServiceTerms::default();
    NewClass { name: name(text), coverage: Coverage::National, terms, retention: None }
}

pub(crate) fn new_account(text: &str, class: ClassId) -> NewAccount {
    NewAccount { name: name(text), class, status: Status::Active }
}

pub(crate) fn new_gateway(text: &str, last: u8) -> NewGateway {
    NewGateway {
        name: name(text),
        mac: mac(last),
        place: "gb/london/se1".parse().unwrap(),
        operator: name("north"),
        address: Some(format!("192.0.2.{last}")),
        radius_secret: Secret::new(format!("secret of {text}")),
        lookup: LookupForm::Homeward,
        status: Status::Active,
        device_of: None,
        site: None,
    }
}

/// A hybrid device of that network.
pub(crate) fn new_hybrid(text: &str, last: u8, network: NetworkId) -> NewGateway {
    NewGateway {
        address: None,
        radius_secret: Secret::default(),
        device_of: Some(network),
        ..new_gateway(text, last)
    }
}

pub(crate) fn new_network(account: AccountId, text: &str, security: Security) -> NewNetwork {
    NewNetwork { account, gateway: None, ssid: ssid(text), security, status: Status::Active }
}

pub(crate) fn new_device(network: NetworkId, last: u8) -> NewDevice {
    NewDevice {
        network,
        mac: mac(last),
        key: Some(passphrase("correct horse")),
        label: format!("device {last}"),
        status: Status::Active,
    }
}

pub(crate) fn nai(text: &str) -> Nai {
    text.parse().unwrap()
}

pub(crate) fn nt_hash(octet: u8) -> Verifier {
    Verifier::NtHash(NtHash::new(std::array::from_fn(|i| octet ^ (i as u8).wrapping_mul(29))))
}

pub(crate) fn new_login(account: AccountId, text: &str) -> NewLogin {
    NewLogin {
        account,
        name: nai(text),
        verifier: nt_hash(0xb0),
        mac: None,
        expires: None,
        uses: Uses::Any,
        label: format!("log-in {text}"),
        status: Status::Active,
    }
}

pub(crate) async fn class(store: &dyn Store, name: &str) -> ClassOfService {
    store.create_class(&new_class(name)).await.unwrap()
}

/// An account in a class of service of the same name.
pub(crate) async fn account(store: &dyn Store, name: &str) -> Account {
    let class = class(store, name).await;
    store.create_account(&new_account(name, class.id)).await.unwrap()
}

pub(crate) async fn gateway(store: &dyn Store, name: &str, last: u8) -> Gateway {
    store.create_gateway(&new_gateway(name, last)).await.unwrap()
}

/// A WPA2-Personal network.
pub(crate) async fn network(
    store: &dyn Store,
    account: AccountId,
    gateway: Option<GatewayId>,
    ssid: &str,
) -> Network {
    let new = NewNetwork { gateway, ..new_network(account, ssid, Security::Wpa2Psk) };
    store.create_network(&new).await.unwrap()
}

pub(crate) async fn device(store: &dyn Store, network: NetworkId, last: u8) -> Device {
    store.create_device(&new_device(network, last)).await.unwrap()
}

pub(crate) fn imsi(n: u8) -> Imsi {
    format!("999700000000{n:03}").parse().unwrap()
}

pub(crate) fn msisdn(n: u8) -> Msisdn {
    format!("447700900{n:03}").parse().unwrap()
}

pub(crate) fn new_subscriber(account: AccountId, n: u8) -> NewSubscriber {
    let (label, status) = (format!("SIM {n}"), Status::Active);
    NewSubscriber { imsi: imsi(n), msisdn: None, account, label, status }
}

pub(crate) async fn subscriber(store: &dyn Store, account: AccountId, n: u8) -> Subscriber {
    store.create_subscriber(&new_subscriber(account, n)).await.unwrap()
}

/// A credential for the subscriber with that IMSI and the station with that MAC address.
pub(crate) fn new_issue(account: AccountId, name: &str, sim: u8, station: u8) -> NewIssue {
    let name = if name.is_empty() { "nobody" } else { name };
    NewIssue {
        login: new_login(account, name),
        imsi: imsi(sim),
        imei: None,
        mac: mac(station),
        address: None,
        issued: UnixTime(NOON),
        renew_from: None,
        way: Way::Https,
    }
}

/// Policies that differ by their number.
pub(crate) fn policy(n: u8) -> OffloadPolicy {
    let json = format!(
        r#"{{"wlan":{{"networks":[{{"ssid":"Town {n}"}}],"server_name":"aaa.example.net"}}}}"#
    );
    serde_json::from_str(&json).unwrap()
}

pub(crate) fn bearer(gateway: &str, apn: Option<&str>, address: &str) -> StoredBearer {
    StoredBearer {
        gateway: gateway.to_owned(),
        apn: apn.map(|apn| apn.parse().unwrap()),
        address: address.parse().unwrap(),
        imsi: imsi(1),
        imei: None,
        msisdn: None,
        session: "a session".to_owned(),
        since: UnixTime(NOON),
        seen: UnixTime(NOON),
    }
}
