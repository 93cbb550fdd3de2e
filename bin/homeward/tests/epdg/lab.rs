//! The namespaces, and what runs in them.

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use homeward_call::Folders;
use homeward_call::roles::{Aaa, Kind, Party, Roles, WHO};
use homeward_call::strongswan::{Epdg, Strongswan, certificate, section, vici};
use homeward_charon::Charon;
use homeward_keychain::Device;
use homeward_net::Namespace;
use tempfile::TempDir;

const DEVICES: Ipv4Addr = Ipv4Addr::new(10, 9, 0, 2);
/// What is reached through the tunnel alone.
pub(crate) const SERVICE: Ipv4Addr = Ipv4Addr::new(10, 45, 0, 1);
const SERVER: &str = "sip.example";
/// The networks.
const NETWORKS: [&str; 2] = ["n0.example", "n1.example"];

pub(crate) struct Lab {
    // Dropped in this order: programs before where they run.
    pub(crate) charons: [Strongswan; 2],
    roles: Roles,
    pub(crate) device: Namespace,
    pub(crate) epdg: Namespace,
    _router: Namespace,
    pub(crate) folder: TempDir,
}

/// One end of the tunnel.
#[derive(Debug, Clone, Copy)]
pub(crate) enum End {
    Device,
    Epdg,
}

impl Lab {
    /// All of it, with the device's charon and the ePDG's; nobody has hopped yet. `epdg` is more of
    /// `[epdg]`.
    pub(crate) async fn start(epdg: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let at = |what: &str| folder.path().join(what);
        let folders = |state| Folders { state, logs: folder.path() };
        let [device, router, gateway] =
            ["device", "router", "epdg"].map(|name| Namespace::create(name).unwrap());
        join(&device, &router, &gateway);
        let aaa =
            Aaa { listen: vec![Ipv4Addr::LOCALHOST], clients: vec![("epdg", Ipv4Addr::LOCALHOST)] };
        let homeward = Path::new(env!("CARGO_BIN_EXE_homeward"));
        let (own, parties) = (at("roles"), parties(&at("epdg"), epdg));
        let roles = Roles::start(folders(&own), homeward, &gateway, &parties, &aaa).await.unwrap();
        let far = at("epdg");
        let far = Strongswan::epdg(folders(&far), &gateway, &plan()).await.unwrap();
        let trusted = [certificate(&at("epdg")), roles.eap_trust()];
        let near = at("device");
        let near = Strongswan::device(folders(&near), &device, &trusted, roles.password());
        let charons = [near.await.unwrap(), far];
        Self { charons, roles, device, epdg: gateway, _router: router, folder }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn end(&self, end: End) -> &Strongswan {
        &self.charons[end as usize]
    }

    pub(crate) fn charon(&self, end: End) -> Charon {
        self.end(end).charon()
    }

    /// Waits until an end's charon answers, and has it read what is in its file.
    pub(crate) async fn is_up(&mut self, end: End) {
        self.charons[end as usize].is_up().await.unwrap();
    }

    pub(crate) fn reads_its_file(&self, end: End) {
        self.end(end).reads_its_file().unwrap();
    }

    /// What an end's charon has said.
    pub(crate) fn said(&self, end: End) -> String {
        self.end(end).said()
    }

    /// The shared keys that an end's charon knows by a name.
    pub(crate) async fn known(&self, end: End) -> Vec<String> {
        self.end(end).known().await.unwrap()
    }

    /// Ends the core, and with it module n1, and starts it again.
    pub(crate) async fn restart_core(&mut self) {
        self.roles.restart(NETWORKS[1]).await.unwrap();
    }

    /// A module says what its socket is asked.
    pub(crate) fn status(&self, network: usize) -> serde_json::Value {
        let mut status = self.roles.status(NETWORKS[network]).unwrap();
        if network == 1 { status["security_module"].take() } else { status }
    }

    /// A device that has been nowhere.
    pub(crate) fn session(&self) -> Device {
        self.roles.session(SERVER).unwrap()
    }

    /// It hops, from the device's namespace.
    pub(crate) fn hop(&self, device: &mut Device, network: usize) -> anyhow::Result<()> {
        self.roles.hop(&self.device, device, NETWORKS[network])
    }

    /// The device's connection, as `[handoff.tunnels.connection]` has it.
    fn connection(&self) -> serde_json::Value {
        plan().connection(Ipv4Addr::UNSPECIFIED, "10.45.0.0/16")
    }

    /// Dials with that key under that name, ending what there was; what came of it.
    pub(crate) async fn dials(&self, id: &str, key: &[u8]) -> Result<(), String> {
        let charon = self.charon(End::Device);
        charon.load_ppk(id, key).await.unwrap();
        let connection = section(&self.connection()).unwrap();
        let connection = connection.value("ppk_id", id).value("ppk_required", "yes");
        charon.load_connection("by-hand", connection).await.unwrap();
        charon.terminate("by-hand").await.unwrap();
        charon.initiate("by-hand", "home").await.map_err(|error| error.in_full())
    }

    /// Whether the service is reached.
    pub(crate) async fn passes(&self) -> bool {
        self.device.ping(SERVICE, Duration::from_secs(1)).await.is_ok()
    }

    /// What the agent is told of networks and servers.
    pub(crate) fn handoff(&self) -> serde_json::Value {
        let networks: Vec<_> = (0..2)
            .map(|n| {
                let (name, (host, port)) = (NETWORKS[n], self.roles.parties()[n].devices);
                let ssids: Vec<&str> = if n == 0 { vec![] } else { vec![name] };
                let module = format!("{host}:{port}");
                serde_json::json!({ "name": name, "module": module, "ssids": ssids, "cellular": n == 0 })
            })
            .collect();
        let (host, port) = self.roles.parties()[2].devices;
        serde_json::json!({
            "name": WHO,
            "root_file": self.roles.root_file().unwrap(),
            "retry": "50ms",
            "networks": networks,
            "servers": [{ "name": SERVER, "guard": format!("{host}:{port}") }],
            "tunnels": [{
                "network": NETWORKS[1],
                "server": SERVER,
                "vici": vici(&self.path("device")),
                "check": "200ms",
                "child": "home",
                "connection": self.connection(),
            }],
        })
    }

    /// What nobody but the device and the core is to know.
    pub(crate) fn password(&self) -> &str {
        self.roles.password()
    }
}

fn plan() -> Epdg {
    Epdg {
        name: "epdg.example.net",
        address: DEVICES,
        core: Ipv4Addr::LOCALHOST,
        pool: "10.45.1.0/24",
        updown: None,
    }
}

/// Modules and guard.
fn parties(epdg: &Path, more: &str) -> [Party; 3] {
    let party = |name, kind, n: u16, more| {
        let devices = (DEVICES, 7080 + n);
        Party { name, kind, peers: 7440 + n, devices, more }
    };
    let epdg = format!("[security_module.epdg]\nvici = {:?}\n{more}", vici(epdg));
    [
        party(NETWORKS[0], Kind::Module, 0, String::new()),
        party(NETWORKS[1], Kind::Core, 1, epdg),
        party(SERVER, Kind::Guard, 2, "[verify]\nlisten = [\"127.0.0.1:7090\"]\n".to_owned()),
    ]
}

fn join(device: &Namespace, router: &Namespace, gateway: &Namespace) {
    device.join("w1", router, "w1").unwrap();
    device.join("w2", router, "w2").unwrap();
    gateway.join("e", router, "e").unwrap();
    let ip = |of: &Namespace, batch: &str| of.ip(batch).unwrap();
    ip(
        device,
        "addr add 10.1.0.2/24 dev w1\naddr add 10.2.0.2/24 dev w2\n\
         route add default via 10.1.0.1 metric 10\nroute add default via 10.2.0.1 metric 20",
    );
    ip(
        router,
        "addr add 10.1.0.1/24 dev w1\naddr add 10.2.0.1/24 dev w2\naddr add 10.9.0.1/24 dev e",
    );
    router.sysctl("net.ipv4.ip_forward", "1").unwrap();
    ip(
        gateway,
        &format!(
            "addr add {DEVICES}/24 dev e\naddr add {SERVICE}/32 dev lo\nroute add default via 10.9.0.1"
        ),
    );
}
