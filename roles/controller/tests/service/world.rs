//! A controller, its store, and gateways.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use homeward_channel::{Channel, Client, ClientSettings, End, Token};
use homeward_control::{DeviceUpdate, FromGateway, Hello, PublicKey, ToGateway, VERSIONS, Want};
use homeward_controller::{Config, HeldLogin, Reviewer, Revocations};
use homeward_daemon::process::{ControlConfig, MetricsConfig};
use homeward_daemon::{
    Process, Reload, Request, Shutdown, SystemClock, SystemEntropy, control, lifecycle,
};
use homeward_model::{
    AccountId, ClassId, Clock, Coverage, DeviceId, GatewayId, LookupForm, Mac, NetworkId, Psk,
    Secret, Security, ServiceTerms, Status, UnixTime,
};
use homeward_store::{
    Accounts, Classes, Devices, Enrolment, Gateways, MemoryStore, Networks, NewAccount, NewClass,
    NewDevice, NewGateway, NewNetwork,
};
use serde_json::Value;
use tempfile::TempDir;
use tokio::task::JoinHandle;

/// The roamer.
pub(crate) const PHONE: Mac = Mac::new([2, 0, 0x5e, 0, 0, 1]);
/// The gateway that `smithnet` is at home behind, and one that is not.
pub(crate) const HOME: GatewayId = GatewayId(1);
pub(crate) const FOREIGN: GatewayId = GatewayId(2);
/// The records.
pub(crate) const CLASS: ClassId = ClassId(1);
pub(crate) const SMITH: AccountId = AccountId(1);
pub(crate) const SMITHNET: NetworkId = NetworkId(1);
pub(crate) const DEVICE: DeviceId = DeviceId(1);

/// What AAA would say may not go on, and what it was asked.
#[derive(Default)]
pub(crate) struct Ended {
    pub(crate) devices: Vec<Mac>,
    pub(crate) logins: Vec<&'static str>,
    pub(crate) asked: Vec<GatewayId>,
}

/// Stands for AAA.
#[derive(Clone, Default)]
pub(crate) struct Aaa(pub(crate) Arc<Mutex<Ended>>);

impl Reviewer for Aaa {
    fn devices(&self, gateway: GatewayId, held: Vec<(NetworkId, Mac)>) -> Vec<(NetworkId, Mac)> {
        let mut ended = self.0.lock().unwrap();
        ended.asked.push(gateway);
        held.into_iter().filter(|(_, mac)| ended.devices.contains(mac)).collect()
    }

    fn logins(&self, gateway: GatewayId, observed: IpAddr, held: Vec<HeldLogin>) -> Vec<Mac> {
        assert!(observed.is_loopback());
        let mut ended = self.0.lock().unwrap();
        ended.asked.push(gateway);
        let held = held.into_iter().filter(|held| ended.logins.contains(&held.name.as_str()));
        held.map(|held| held.mac).collect()
    }
}

/// A running controller.
pub(crate) struct World {
    pub(crate) store: Arc<MemoryStore>,
    pub(crate) aaa: Aaa,
    /// As AAA asks of gateways.
    pub(crate) revocations: Revocations,
    pub(crate) shutdown: Shutdown,
    pub(crate) core: String,
    socket: PathBuf,
    directory: TempDir,
    serving: JoinHandle<anyhow::Result<()>>,
    _requester: lifecycle::ReloadRequester,
}

impl World {
    pub(crate) async fn start() -> Self {
        Self::with(|_| {}).await
    }

    pub(crate) async fn with(configure: impl FnOnce(&mut Config)) -> Self {
        let store = Arc::new(MemoryStore::new(Arc::new(SystemClock)));
        furnish(&store).await;
        Self::on(store, configure).await
    }

    /// A controller on a store that there is already.
    pub(crate) async fn on(store: Arc<MemoryStore>, configure: impl FnOnce(&mut Config)) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let socket = directory.path().join("core.sock");
        let mut config = Config {
            listen: vec![SocketAddr::new(Ipv4Addr::LOCALHOST.into(), 0)],
            ..Config::default()
        };
        configure(&mut config);
        let shutdown = Shutdown::new();
        let mut process = Process::new("core", "0");
        let shared = Arc::clone(&store) as Arc<dyn homeward_store::Store>;
        let (revocations, revoking) = Revocations::new();
        let aaa = Aaa::default();
        let part = homeward_controller::start(
            config,
            shared,
            process.metrics(),
            revoking,
            Arc::new(aaa.clone()),
            shutdown.clone(),
        )
        .await;
        process.add(part.unwrap());
        let (requester, reload) = Reload::channel();
        let (stop, control) = (shutdown.clone(), ControlConfig { socket: Some(socket.clone()) });
        let serving = tokio::spawn(async move {
            process.serve(&control, &MetricsConfig::default(), || {}, stop, reload).await
        });
        let mut world = Self {
            store,
            aaa,
            revocations,
            shutdown,
            core: String::new(),
            socket,
            directory,
            serving,
            _requester: requester,
        };
        while !world.socket.exists() {
            tokio::task::yield_now().await;
        }
        let status = world.status().await;
        status["listen"][0].as_str().unwrap().clone_into(&mut world.core);
        world
    }

    /// The controller's part of the status.
    pub(crate) async fn status(&self) -> Value {
        let status = control::ask(&self.socket, &Request::new("status")).await.unwrap();
        status["controller"].clone()
    }

    pub(crate) async fn metrics(&self) -> String {
        let text = control::ask(&self.socket, &Request::new("metrics")).await.unwrap();
        text.as_str().unwrap().to_owned()
    }

    /// Waits until the status is so.
    pub(crate) async fn until(&self, so: impl Fn(&Value) -> bool) {
        soon(async {
            while !so(&self.status().await) {
                tokio::task::yield_now().await;
            }
        })
        .await;
    }

    /// A gateway that is enrolled.
    pub(crate) async fn enrolled(&self, gateway: GatewayId) -> Client {
        self.enrolled_in(gateway, "first").await
    }

    /// A gateway that is enrolled, with a directory of that name.
    pub(crate) async fn enrolled_in(&self, gateway: GatewayId, directory: &str) -> Client {
        let authority = homeward_controller::authority::load_or_found(&*self.store).await.unwrap();
        let token = Token::generate(authority.pin(), &mut SystemEntropy::new());
        let expires = UnixTime(SystemClock.unix().0 + 60_000);
        self.store.put_token(gateway, token.hash().0, expires).await.unwrap();
        let directory = self.directory.path().join(format!("{directory}-{gateway}"));
        let (settings, clock) = (ClientSettings::default(), Arc::new(SystemClock));
        let client = Client::new(vec![self.core.clone()], directory, settings, clock);
        client.enrol(&token).await.unwrap();
        client
    }

    /// A gateway that has said Hello and was synchronised.
    pub(crate) async fn connected(&self, gateway: GatewayId) -> Agent {
        let client = self.enrolled(gateway).await;
        Agent::greeted(&client, gateway).await
    }

    pub(crate) async fn stop(self) {
        self.shutdown.trigger();
        soon(self.serving).await.unwrap().unwrap();
    }
}

/// A class, an account, two gateways, a network behind the first, a device.
async fn furnish(store: &MemoryStore) {
    let (name, terms) = ("gold".parse().unwrap(), ServiceTerms::default());
    store
        .create_class(&NewClass { name, coverage: Coverage::National, terms, retention: None })
        .await
        .unwrap();
    let (name, status) = ("smith".parse().unwrap(), Status::Active);
    store.create_account(&NewAccount { name, class: CLASS, status }).await.unwrap();
    for id in [HOME, FOREIGN] {
        let new = NewGateway {
            name: format!("gw-{id}").parse().unwrap(),
            mac: Mac::new([2, 0, 0, 0, 1, id.0 as u8]),
            place: "gb/london".parse().unwrap(),
            operator: "op".parse().unwrap(),
            address: None,
            radius_secret: Secret::default(),
            lookup: LookupForm::Homeward,
            status: Status::Active,
            device_of: None,
            site: None,
        };
        assert_eq!(store.create_gateway(&new).await.unwrap().id, id);
    }
    let new = NewNetwork {
        account: SMITH,
        gateway: Some(HOME),
        ssid: "smithnet".parse().unwrap(),
        security: Security::Wpa2Psk,
        status: Status::Active,
    };
    store.create_network(&new).await.unwrap();
    store.create_device(&device(PHONE)).await.unwrap();
}

pub(crate) fn device(mac: Mac) -> NewDevice {
    NewDevice {
        network: SMITHNET,
        mac,
        key: Some(homeward_model::DeviceKey::Psk(Psk::new([7; 32]))),
        label: String::new(),
        status: Status::Active,
    }
}

/// A gateway with an open channel.
pub(crate) struct Agent {
    pub(crate) channel: Channel,
}

impl Agent {
    /// Opens a channel and says nothing.
    pub(crate) async fn silent(client: &Client) -> Self {
        Self { channel: soon(client.connect()).await.unwrap() }
    }

    pub(crate) async fn greeted(client: &Client, gateway: GatewayId) -> Self {
        Self::saying(client, hello(gateway)).await
    }

    /// As [`Self::greeted`], with a Hello of the test's own.
    pub(crate) async fn saying(client: &Client, hello: Hello) -> Self {
        let mut agent = Self::silent(client).await;
        agent.say(FromGateway::Hello(hello)).await;
        agent.until(|m| matches!(m, ToGateway::Synced(_))).await;
        agent
    }

    pub(crate) async fn say(&self, message: FromGateway) {
        self.channel.to_core.send(message.to_pb()).await.unwrap();
    }

    /// Has the phone, on the household's own access point.
    pub(crate) async fn have_phone_at_home(&self) {
        self.say(FromGateway::Device(DeviceUpdate {
            mac: PHONE,
            network: SMITHNET,
            connected: true,
            signal: None,
            at_home: true,
            sequence: 1,
            age: Duration::ZERO,
        }))
        .await;
    }

    /// Serves the phone, and wants its network's tunnel.
    pub(crate) async fn serve_phone(&self) {
        self.say(FromGateway::Want(Want { network: SMITHNET, macs: vec![PHONE] })).await;
        self.say(FromGateway::Device(DeviceUpdate {
            mac: PHONE,
            network: SMITHNET,
            connected: true,
            signal: None,
            at_home: false,
            sequence: 1,
            age: Duration::ZERO,
        }))
        .await;
    }

    /// The next message that is so; others are passed over.
    pub(crate) async fn until(&mut self, so: impl Fn(&ToGateway) -> bool) -> ToGateway {
        soon(async {
            loop {
                let Some(message) = self.channel.from_core.recv().await else {
                    panic!("the channel ended: {:?}", self.channel.ended().await);
                };
                let message = ToGateway::from_pb(message).unwrap().unwrap();
                if so(&message) {
                    return message;
                }
            }
        })
        .await
    }

    /// Why the channel ends.
    pub(crate) async fn end(&mut self) -> End {
        soon(async {
            while self.channel.from_core.recv().await.is_some() {}
            self.channel.ended().await
        })
        .await
    }
}

pub(crate) fn hello(gateway: GatewayId) -> Hello {
    Hello {
        legs_max: 0,
        path_keys: Vec::new(),
        versions: VERSIONS,
        boot: u64::try_from(gateway.0).unwrap(),
        software: "a test".to_owned(),
        public_key: PublicKey([gateway.0 as u8; 32]),
        endpoints: vec![SocketAddr::from(([192, 0, 2, gateway.0 as u8], 1701)).into()],
        home: true,
        prepared_max: 8,
        bssids: Vec::new(),
        tunnels: Vec::new(),
        devices: Vec::new(),
        wants: Vec::new(),
        prepared: Vec::new(),
        inner_address: None,
        carries_logins: false,
    }
}

/// What hangs fails instead.
pub(crate) async fn soon<F: Future>(work: F) -> F::Output {
    tokio::time::timeout(Duration::from_secs(20), work).await.expect("it takes too long")
}
