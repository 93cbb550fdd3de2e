//! Whom a core knows: homes, their devices, log-ins.

use std::path::Path;
use std::sync::Arc;

use anyhow::Result;
use homeward_daemon::{SystemClock, SystemEntropy};
use homeward_model::{
    Clock, Coverage, DeviceKey, Imsi, LookupForm, Mac, PolicyScope, Psk, Secret, Security,
    ServiceTerms, Ssid, Status,
};
use homeward_seal::KeyRing;
use homeward_store::{
    Accounts, Classes, Devices, Gateways, Logins, Networks, NewAccount, NewClass, NewDevice,
    NewGateway, NewLogin, NewNetwork, NewSubscriber, Policies, SqliteStore, Subscribers,
};

use crate::world::{GATEWAY, SECRET};

/// The `n`th device's MAC.
pub(crate) fn mac(n: u32) -> Mac {
    let [a, b, c, d] = n.to_be_bytes();
    Mac::new([2, 0, a, b, c, d])
}

/// The `n`th home's SSID.
pub(crate) fn ssid(n: u32) -> Ssid {
    Ssid::try_from(format!("Home {n:06}").as_bytes()).unwrap_or_else(|_| unreachable!("11 octets"))
}

/// The `n`th log-in's name.
pub(crate) fn login(n: u32) -> String {
    format!("phone-{n:06}@example.net")
}

/// The `n`th log-in's password: about as long as those that `homeward admin` makes.
pub(crate) fn password(n: u32) -> String {
    format!("{:016x}-{n:06}", u64::from(n).wrapping_mul(0x9e37_79b9_7f4a_7c15))
}

/// The `n`th subscriber's IMSI.
pub(crate) fn imsi(n: u32) -> Result<Imsi> {
    Ok(format!("99970{n:010}").parse()?)
}

/// Whom a core knows.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Population {
    /// Homes, each an account with a network.
    pub(crate) homes: u32,
    /// Devices of each home.
    pub(crate) devices: u32,
    /// Log-ins, all of the first home's.
    pub(crate) logins: u32,
    /// How many of them, the first, have passwords that people chose.
    pub(crate) people: u32,
    /// Subscribers of a mobile network, all of the first home's account.
    pub(crate) subscribers: u32,
}

/// Records a transaction.
const BATCH: usize = 10_000;

impl Population {
    /// So many homes, a device each.
    pub(crate) const fn homes(homes: u32) -> Self {
        Self { homes, devices: 1, logins: 0, people: 0, subscribers: 0 }
    }

    /// So many log-ins.
    pub(crate) const fn logins(logins: u32) -> Self {
        Self { homes: 1, devices: 1, logins, people: 0, subscribers: 0 }
    }

    /// The `n`th device and its home's SSID; after the last comes the first.
    pub(crate) fn device(self, n: u32) -> (Mac, Ssid) {
        let n = n % (self.homes * self.devices);
        (mac(n), ssid(n / self.devices))
    }

    /// Writes them into a new datastore.
    pub(crate) async fn fill(self, path: &Path, keys: &Path) -> Result<()> {
        let ring = KeyRing::generate(keys, &mut SystemEntropy::new(), SystemClock.unix())?;
        let (clock, entropy) = (Arc::new(SystemClock), Box::new(SystemEntropy::new()));
        let store = SqliteStore::open(path, ring, clock, entropy).await?;
        let class = store
            .create_class(&NewClass {
                name: "standard".parse()?,
                coverage: Coverage::Everywhere,
                terms: ServiceTerms::default(),
                retention: None,
            })
            .await?;
        let gateway = |name: &str, mac: Mac, address: Option<&str>| -> Result<NewGateway> {
            Ok(NewGateway {
                name: name.parse()?,
                mac,
                place: "gb/london".parse()?,
                operator: "example".parse()?,
                address: address.map(str::to_owned),
                radius_secret: Secret::new(SECRET),
                lookup: LookupForm::Homeward,
                status: Status::Active,
                device_of: None,
                site: None,
            })
        };
        let here = gateway(GATEWAY, Mac::new([2, 1, 0, 0, 0, 1]), Some("127.0.0.1"))?;
        store.create_gateway(&here).await?;
        let home = gateway("home", Mac::new([2, 1, 0, 0, 0, 2]), None)?;
        let home = store.create_gateway(&home).await?.id;
        let mut devices = Vec::new();
        for n in 0..self.homes {
            let account = store
                .create_account(&NewAccount {
                    name: format!("account-{n}").parse()?,
                    class: class.id,
                    status: Status::Active,
                })
                .await?;
            let network = store
                .create_network(&NewNetwork {
                    account: account.id,
                    gateway: Some(home),
                    ssid: ssid(n),
                    security: Security::Wpa2Psk,
                    status: Status::Active,
                })
                .await?;
            for device in n * self.devices..(n + 1) * self.devices {
                let [a, b, c, d] = device.to_be_bytes();
                let psk = std::array::from_fn(|i| [a, b, c, d, 0x5c, 7, 9, 1][i % 8]);
                devices.push(NewDevice {
                    network: network.id,
                    mac: mac(device),
                    key: Some(DeviceKey::Psk(Psk::new(psk))),
                    label: String::new(),
                    status: Status::Active,
                });
            }
            if devices.len() >= BATCH {
                store.create_devices(&devices).await?;
                devices.clear();
            }
        }
        store.create_devices(&devices).await?;
        let account = store.require_account(&"account-0".parse()?).await?.id;
        let mut logins = Vec::new();
        let mut entropy = SystemEntropy::new();
        for n in 0..self.logins {
            let verifier = if n < self.people {
                homeward_aaa::password::of_a_person(password(n).as_bytes(), &mut entropy)?
            } else {
                homeward_aaa::password::machine_made(&password(n))
            };
            logins.push(NewLogin {
                account,
                name: login(n).parse()?,
                verifier,
                mac: None,
                expires: None,
                uses: homeward_model::Uses::Any,
                label: String::new(),
                status: Status::Active,
            });
        }
        for logins in logins.chunks(BATCH) {
            store.create_logins(logins).await?;
        }
        let mut subscribers = Vec::new();
        for n in 1..=self.subscribers {
            let (imsi, label, status) = (imsi(n)?, String::new(), Status::Active);
            subscribers.push(NewSubscriber { imsi, msisdn: None, account, label, status });
        }
        for subscribers in subscribers.chunks(BATCH) {
            store.create_subscribers(subscribers).await?;
        }
        if self.subscribers > 0 {
            let policy =
                r#"{"wlan":{"networks":[{"ssid":"Town"}],"server_name":"aaa.example.net"}}"#;
            store.set_policy(PolicyScope::Default, &serde_json::from_str(policy)?).await?;
        }
        store.close().await;
        Ok(())
    }
}
