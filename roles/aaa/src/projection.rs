//! The hot records, in memory: what look-ups are answered from.
//!
//! Loaded once from the store, then kept fresh by its outbox. Records are kept as the store has
//! them, joined at look-up time, so that one change (an account suspended, say) is one write
//! here however many devices hang from it.

use std::collections::BTreeMap;
use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::sync::Arc;

use homeward_model::{
    Account, AccountId, ClassId, ClassOfService, Device, DeviceId, Gateway, GatewayId, Login,
    LoginId, Mac, Nai, Name, Network, NetworkId, Secret, Verifier,
};
use homeward_radius::SharedSecret;
use homeward_radius::auth::RADSEC_SECRET;
use homeward_transport::Asked;
use homeward_transport::radsec::Version;
use ipnet::IpNet;

use crate::decoys::{Decoys, Share};
use crate::hashing::{ByChoice, ById, Listed};

/// A RADIUS client: a gateway with its secret made ready for use.
#[derive(Debug)]
pub struct Client {
    /// The gateway's record.
    pub gateway: Gateway,
    /// Its secret, with the hash states that the hot path starts from.
    pub secret: SharedSecret,
}

/// A client by each way that it may come.
#[derive(Debug)]
struct Ways {
    udp: Arc<Client>,
    /// RADIUS over TLS, with the secret that is none (RFC 6614 2.3).
    tls: Arc<Client>,
    /// RADIUS/1.1.
    v1_1: Arc<Client>,
}

/// The hot records.
#[derive(Debug, Default)]
pub struct Projection {
    accounts: ById<AccountId, Account>,
    classes: ById<ClassId, ClassOfService>,
    networks: ById<NetworkId, Network>,
    gateways: ById<GatewayId, Ways>,
    devices: ById<DeviceId, Mac>,
    by_mac: ByChoice<Mac, Vec<Device>>,
    logins: ById<LoginId, Nai>,
    by_name: Listed<Nai, Arc<Login>>,
    /// Log-ins with a verifier that takes long.
    slow: usize,
    decoys: Decoys,
    stand_ins: RandomState,
    /// The gateways that an account's networks are at home behind.
    homes: ById<AccountId, BTreeMap<NetworkId, GatewayId>>,
    /// Clients by address, the most specific prefixes first.
    by_address: BTreeMap<(u8, IpNet), GatewayId>,
    exact: ByChoice<IpAddr, GatewayId>,
}

impl Projection {
    /// One without records.
    pub fn new(decoys: Decoys) -> Self {
        Self { decoys, ..Self::default() }
    }

    /// The devices with that MAC; several where it is at home in several networks.
    pub fn devices(&self, mac: Mac) -> &[Device] {
        self.by_mac.get(&mac).map_or(&[], Vec::as_slice)
    }

    /// The device with that id.
    pub fn device(&self, id: DeviceId) -> Option<&Device> {
        let mac = self.devices.get(&id)?;
        self.devices(*mac).iter().find(|d| d.id == id)
    }

    /// The log-in with that name.
    pub fn login(&self, name: &Nai) -> Option<&Arc<Login>> {
        self.by_name.get(name)
    }

    /// The log-in that one of a name that nobody has is held against: to read it takes as long as
    /// to read one that was found. Which one it is, nobody can choose.
    pub(crate) fn stand_in(&self, name: &Nai) -> Option<&Arc<Login>> {
        let at = self.stand_ins.hash_one(name) % u64::try_from(self.by_name.len()).ok()?.max(1);
        let (other, login) = self.by_name.get_index(usize::try_from(at).ok()?)?;
        // Two names were compared where one was found.
        (other != name).then_some(login)
    }

    /// The log-in with that id.
    pub fn login_by(&self, id: LoginId) -> Option<&Arc<Login>> {
        self.by_name.get(self.logins.get(&id)?)
    }

    /// Who pays for a log-in.
    pub fn account_of(&self, login: LoginId) -> Option<AccountId> {
        self.login_by(login).map(|login| login.account)
    }

    /// Whether the password of that name takes long to check; of a name that nobody has, whether it
    /// is to, so that it looks like one that somebody has. The same work for either.
    pub fn is_slow(&self, name: &Nai) -> bool {
        let share = Share::of(self.slow, self.by_name.len().saturating_sub(self.slow));
        let decoy = self.decoys.is_slow(name, share);
        self.login(name).map_or(decoy, |login| is_slow(login))
    }

    /// The gateways that the account's homes are behind.
    pub fn homes(&self, account: AccountId) -> impl Iterator<Item = &Gateway> {
        let homes = self.homes.get(&account).into_iter().flat_map(BTreeMap::values);
        homes.filter_map(|id| self.gateway(*id))
    }

    /// The network with that id.
    pub fn network(&self, id: NetworkId) -> Option<&Network> {
        self.networks.get(&id)
    }

    /// The account with that id.
    pub fn account(&self, id: AccountId) -> Option<&Account> {
        self.accounts.get(&id)
    }

    /// The class of service with that id.
    pub fn class(&self, id: ClassId) -> Option<&ClassOfService> {
        self.classes.get(&id)
    }

    /// All classes of service.
    pub fn classes(&self) -> impl Iterator<Item = &ClassOfService> {
        self.classes.values()
    }

    /// The gateway with that id.
    pub fn gateway(&self, id: GatewayId) -> Option<&Gateway> {
        self.gateways.get(&id).map(|c| &c.udp.gateway)
    }

    /// The gateway of that name.
    pub fn gateway_named(&self, name: &Name) -> Option<GatewayId> {
        self.gateways.values().map(|c| &c.udp.gateway).find(|g| g.name == *name).map(|g| g.id)
    }

    /// The client with that gateway id, as it is by UDP.
    pub fn client(&self, id: GatewayId) -> Option<&Arc<Client>> {
        self.client_by(id, None)
    }

    /// The client with that gateway id, as it is by that TLS connection, or by UDP.
    pub fn client_by(&self, id: GatewayId, tls: Option<&Asked>) -> Option<&Arc<Client>> {
        let ways = self.gateways.get(&id)?;
        Some(match tls.map(Asked::version) {
            None => &ways.udp,
            Some(Version::V1_0) => &ways.tls,
            Some(Version::V1_1) => &ways.v1_1,
        })
    }

    /// The client that sends from `address`: an exact match, else the longest prefix.
    pub fn client_at(&self, address: IpAddr) -> Option<&Arc<Client>> {
        // A v4 client of a v6 socket arrives as ::ffff:a.b.c.d.
        let address = address.to_canonical();
        let id = self.exact.get(&address).or_else(|| {
            self.by_address.iter().find(|((_, net), _)| net.contains(&address)).map(|(_, id)| id)
        })?;
        self.client(*id)
    }

    /// How many of each record there are.
    pub fn counts(&self) -> Counts {
        Counts {
            accounts: self.accounts.len(),
            classes: self.classes.len(),
            gateways: self.gateways.len(),
            networks: self.networks.len(),
            devices: self.devices.len(),
            logins: self.logins.len(),
        }
    }

    /// Adds or replaces an account.
    pub fn put_account(&mut self, account: Account) {
        self.accounts.insert(account.id, account);
    }

    /// Adds or replaces a class of service.
    pub fn put_class(&mut self, class: ClassOfService) {
        self.classes.insert(class.id, class);
    }

    /// Adds or replaces a network.
    pub fn put_network(&mut self, network: Network) {
        self.remove_network(network.id);
        if let Some(gateway) = network.gateway {
            self.homes.entry(network.account).or_default().insert(network.id, gateway);
        }
        self.networks.insert(network.id, network);
    }

    /// Adds or replaces a device.
    pub fn put_device(&mut self, device: Device) {
        self.remove_device(device.id);
        self.devices.insert(device.id, device.mac);
        self.by_mac.entry(device.mac).or_default().push(device);
    }

    /// Adds or replaces a log-in.
    pub fn put_login(&mut self, login: Login) {
        self.remove_login(login.id);
        self.slow += usize::from(is_slow(&login));
        self.logins.insert(login.id, login.name.clone());
        let before = self.by_name.insert(login.name.clone(), Arc::new(login));
        self.slow -= usize::from(before.is_some_and(|l| is_slow(&l)));
    }

    /// Adds or replaces a gateway. A hybrid device is left out: it is no RADIUS client, and nothing
    /// is at home behind it.
    pub fn put_gateway(&mut self, gateway: Gateway) {
        self.remove_gateway(gateway.id);
        if gateway.device_of.is_some() {
            return;
        }
        let secrets = SharedSecret::new(&gateway.radius_secret)
            .and_then(|udp| Ok((udp, SharedSecret::new(&Secret::new(RADSEC_SECRET))?)));
        let (udp, tls) = match secrets {
            Ok(secrets) => secrets,
            Err(error) => {
                tracing::error!(gateway = %gateway.name, %error, "a gateway that cannot be served");
                return;
            }
        };
        if let Some(net) = gateway.address.as_deref().and_then(network_of) {
            if net.prefix_len() == net.max_prefix_len() {
                self.exact.insert(net.addr(), gateway.id);
            } else {
                self.by_address.insert((u8::MAX - net.prefix_len(), net), gateway.id);
            }
        }
        let by = |secret| Arc::new(Client { gateway: gateway.clone(), secret });
        let ways = Ways { udp: by(udp), tls: by(tls), v1_1: by(SharedSecret::transport()) };
        self.gateways.insert(gateway.id, ways);
    }

    /// Forgets an account.
    pub fn remove_account(&mut self, id: AccountId) {
        self.accounts.remove(&id);
    }

    /// Forgets a class of service.
    pub fn remove_class(&mut self, id: ClassId) {
        self.classes.remove(&id);
    }

    /// Forgets a network.
    pub fn remove_network(&mut self, id: NetworkId) {
        if let Some(network) = self.networks.remove(&id)
            && let Some(homes) = self.homes.get_mut(&network.account)
        {
            homes.remove(&id);
            if homes.is_empty() {
                self.homes.remove(&network.account);
            }
        }
    }

    /// Forgets a device.
    pub fn remove_device(&mut self, id: DeviceId) {
        if let Some(mac) = self.devices.remove(&id)
            && let Some(of_mac) = self.by_mac.get_mut(&mac)
        {
            of_mac.retain(|d| d.id != id);
            if of_mac.is_empty() {
                self.by_mac.remove(&mac);
            }
        }
    }

    /// Forgets a log-in.
    pub fn remove_login(&mut self, id: LoginId) {
        if let Some(name) = self.logins.remove(&id)
            && self.by_name.get(&name).is_some_and(|login| login.id == id)
        {
            self.slow -= usize::from(self.by_name.swap_remove(&name).is_some_and(|l| is_slow(&l)));
        }
    }

    /// Forgets a gateway; nothing it sends is answered from then on.
    pub fn remove_gateway(&mut self, id: GatewayId) {
        if self.gateways.remove(&id).is_some() {
            self.exact.retain(|_, at| *at != id);
            self.by_address.retain(|_, at| *at != id);
        }
    }
}

/// How many records a projection holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[expect(missing_docs, reason = "each field counts the records of its name")]
pub struct Counts {
    pub accounts: usize,
    pub classes: usize,
    pub gateways: usize,
    pub networks: usize,
    pub devices: usize,
    pub logins: usize,
}

fn is_slow(login: &Login) -> bool {
    matches!(login.verifier, Verifier::Argon2id(_))
}

fn network_of(address: &str) -> Option<IpNet> {
    address
        .parse::<IpNet>()
        .ok()
        .or_else(|| address.parse::<IpAddr>().ok().map(IpNet::from))
        .map(|n| n.trunc())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{self, FAR, GATEWAY, HOME};
    use homeward_model::NtHash;

    #[test]
    fn a_client_is_found_by_its_address_and_else_by_the_longest_prefix() {
        let mut p = Projection::default();
        let at = |id, address: &str| Gateway {
            address: Some(address.into()),
            ..testing::gateway(id, "gb/london")
        };
        p.put_gateway(at(HOME, "10.0.0.0/8"));
        p.put_gateway(at(GATEWAY, "10.1.0.0/16"));
        p.put_gateway(at(FAR, "10.1.2.3"));
        let found =
            |p: &Projection, ip: &str| p.client_at(ip.parse().unwrap()).map(|c| c.gateway.id);
        assert_eq!(found(&p, "10.9.9.9"), Some(HOME));
        assert_eq!(found(&p, "10.1.9.9"), Some(GATEWAY));
        assert_eq!(found(&p, "10.1.2.3"), Some(FAR));
        assert_eq!(found(&p, "::ffff:10.1.2.3"), Some(FAR));
        assert_eq!(found(&p, "192.0.2.1"), None);
        p.remove_gateway(FAR);
        assert_eq!(found(&p, "10.1.2.3"), Some(GATEWAY));
        p.put_gateway(at(GATEWAY, "192.0.2.1"));
        assert_eq!(found(&p, "10.1.2.3"), Some(HOME));
    }

    #[test]
    fn a_hybrid_device_is_no_client_whatever_its_record_says() {
        let mut p = testing::projection();
        let phone = Gateway { device_of: Some(NetworkId(1)), ..testing::gateway(FAR, "gb/london") };
        let address = phone.address.clone().unwrap().parse().unwrap();
        assert!(p.client(FAR).is_some() && p.client_at(address).is_some());
        p.put_gateway(phone);
        assert!(p.client(FAR).is_none() && p.client_at(address).is_none());
        assert_eq!((p.gateway_named(&"gw-3".parse().unwrap()), p.counts().gateways), (None, 2));
    }

    #[test]
    fn a_device_that_changes_its_mac_is_found_under_the_new_one_only() {
        let mut p = testing::projection();
        let moved = Mac::new([2, 9, 9, 9, 9, 9]);
        p.put_device(Device { mac: moved, ..testing::device() });
        assert!(p.devices(testing::MAC).is_empty());
        assert_eq!(p.devices(moved).len(), 1);
        assert_eq!(p.counts().devices, 1);
    }

    #[test]
    fn a_log_in_is_found_by_its_name_now_whoever_had_it_before() {
        let mut p = Projection::default();
        let login = |id, name: &str| Login {
            id: LoginId(id),
            account: AccountId(1),
            name: name.parse().unwrap(),
            verifier: Verifier::NtHash(NtHash::new([0; 16])),
            mac: None,
            expires: None,
            uses: homeward_model::Uses::Any,
            label: String::new(),
            status: homeward_model::Status::Active,
        };
        let found = |p: &Projection, name: &str| p.login(&name.parse().unwrap()).map(|l| l.id);
        p.put_login(login(1, "a@example.net"));
        assert_eq!(found(&p, "a@EXAMPLE.NET"), Some(LoginId(1)));
        // Two changes in one batch may come in either order.
        p.put_login(login(2, "a@example.net"));
        p.put_login(login(1, "b@example.net"));
        assert_eq!(found(&p, "a@example.net"), Some(LoginId(2)));
        assert_eq!(found(&p, "b@example.net"), Some(LoginId(1)));
        p.remove_login(LoginId(2));
        assert_eq!((found(&p, "a@example.net"), p.counts().logins), (None, 1));
    }

    #[test]
    fn a_name_that_nobody_has_is_held_against_any_log_in_and_each_time_the_same() {
        let mut p = Projection::default();
        let name = |n: i64, who: &str| format!("{who}-{n}@example.net").parse::<Nai>().unwrap();
        assert_eq!(p.stand_in(&name(0, "nobody")), None, "there is none");
        for n in 0..50 {
            let (id, name) = (LoginId(n), name(n, "somebody"));
            p.put_login(Login { id, name, ..testing::login() });
        }
        let of = |p: &Projection, n| p.stand_in(&name(n, "nobody")).map(|login| login.id);
        let all: std::collections::BTreeSet<_> = (0..1000).map(|n| of(&p, n).unwrap()).collect();
        assert_eq!(all.len(), 50, "each of them now and then");
        assert!((0..50).all(|n| of(&p, n) == of(&p, n)));
        (1..50).for_each(|n| p.remove_login(LoginId(n)));
        assert_eq!(of(&p, 7), Some(LoginId(0)));
    }

    #[test]
    fn names_that_nobody_has_follow_the_log_ins_that_there_are() {
        let fast = Verifier::NtHash(NtHash::new([0; 16]));
        let slow = Verifier::Argon2id(Secret::new("a hash"));
        let login = |id, name: &str, verifier: &Verifier| Login {
            id: LoginId(id),
            name: name.parse().unwrap(),
            verifier: verifier.clone(),
            ..testing::login()
        };
        let slow_ones = |p: &Projection| {
            let names = (0..1000).map(|n| format!("nobody-{n}@example.net"));
            names.filter(|name| p.is_slow(&name.parse().unwrap())).collect::<Vec<_>>()
        };
        let mut p = Projection::new(Decoys::new(&[7; 32]));
        assert!(slow_ones(&p).is_empty());
        p.put_login(login(1, "a", &fast));
        assert!(slow_ones(&p).is_empty());
        p.put_login(login(2, "b", &slow));
        let half = slow_ones(&p);
        assert!((450..550).contains(&half.len()), "{}", half.len());
        p.put_login(login(2, "c", &slow));
        assert_eq!(slow_ones(&p), half, "renamed");
        p.put_login(login(3, "c", &slow));
        assert_eq!(slow_ones(&p), half, "another has the name");
        p.remove_login(LoginId(2));
        assert_eq!(slow_ones(&p), half, "it had no name any more");
        p.put_login(login(1, "a", &slow));
        assert_eq!(slow_ones(&p).len(), 1000);
        p.put_login(login(1, "a", &fast));
        assert_eq!(slow_ones(&p), half, "a password of the other kind");
        p.remove_login(LoginId(3));
        assert!(slow_ones(&p).is_empty());

        let mut other = Projection::new(Decoys::new(&[8; 32]));
        other.put_login(login(1, "a", &fast));
        other.put_login(login(2, "b", &slow));
        assert_ne!(slow_ones(&other), half, "another key");
    }
}
