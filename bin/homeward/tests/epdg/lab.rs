//! The namespaces, and what runs in them.

use std::fs;
use std::net::Ipv4Addr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::Result;
use homeward_charon::{Charon, Section};
use homeward_daemon::SystemEntropy;
use homeward_handoff::{Identity, Line, WalkError, key_file};
use homeward_keychain::{Device, RootKey};
use homeward_model::{Entropy, Nai, Name};
use homeward_net::wait::wait_for;
use homeward_net::{Namespace, Process};
use tempfile::TempDir;

/// How long anything may take that is to happen.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

const SECRET: &str = "sixteen characters, and more";
const WHO: &str = "d1@example.net";
const DEVICES: Ipv4Addr = Ipv4Addr::new(10, 9, 0, 2);
/// What is reached through the tunnel alone.
pub(crate) const SERVICE: Ipv4Addr = Ipv4Addr::new(10, 45, 0, 1);
pub(crate) const SERVER: &str = "sip.example";

/// Modules and guard: what they are, and where: for peers, and for devices.
const ROLES: [(&str, u16, u16); 3] =
    [("n0.example", 7440, 7080), ("n1.example", 7441, 7081), (SERVER, 7442, 7082)];

pub(crate) struct Lab {
    // Dropped in this order: programs before where they run.
    pub(crate) charons: [Process; 2],
    roles: Vec<Process>,
    pub(crate) device: Namespace,
    pub(crate) epdg: Namespace,
    _router: Namespace,
    pub(crate) root: RootKey,
    password: String,
    pub(crate) folder: TempDir,
}

/// One end of the tunnel.
#[derive(Debug, Clone, Copy)]
pub(crate) enum End {
    Device,
    Epdg,
}

fn write(path: &Path, text: &str) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
}

/// A file of `packaging/edge`, with other values in it.
fn shipped(name: &str, values: &[(&str, &str)]) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../packaging/edge").join(name);
    let text = fs::read_to_string(path).unwrap();
    values.iter().fold(text, |text, (from, to)| {
        assert!(text.contains(from), "{name} has no {from:?}");
        text.replace(from, to)
    })
}

fn run(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|e| panic!("{command:?}: {e}: `make setup`"));
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert!(output.status.success(), "{command:?}: {said}");
    said
}

fn homeward() -> Command {
    Command::new(env!("CARGO_BIN_EXE_homeward"))
}

impl Lab {
    /// All of it, with the device's charon and the ePDG's; nobody has hopped yet. `epdg` is more of
    /// `[epdg]`.
    pub(crate) async fn start(epdg: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o700)).unwrap();
        let [device, router, gateway] =
            ["device", "router", "epdg"].map(|name| Namespace::create(name).unwrap());
        join(&device, &router, &gateway).unwrap();
        let root = RootKey::new(SystemEntropy::new().octets());
        let password = core(folder.path(), epdg);
        let mut roles = Vec::new();
        for (name, kind) in ROLES.map(|(name, ..)| name).into_iter().zip(KINDS) {
            if kind != "core" {
                role(folder.path(), kind, name);
            }
            let config = folder.path().join(format!("{name}.toml"));
            let words = [env!("CARGO_BIN_EXE_homeward"), kind, "--config"];
            let words = [&words[..], &[config.to_str().unwrap()]].concat();
            roles.push(Process::start(folder.path(), name, &gateway, &words).unwrap());
        }
        let charons = [End::Device, End::Epdg].map(|end| {
            let (name, namespace) = match end {
                End::Device => ("device", &device),
                End::Epdg => ("gateway", &gateway),
            };
            strongswan(folder.path(), end, &password);
            let conf = format!("STRONGSWAN_CONF={}", at(folder.path(), end, "strongswan.conf"));
            // Its pid file and the like are its own.
            let own = "mount -t tmpfs none /run && exec /usr/lib/ipsec/charon";
            let words = ["env", &conf, "unshare", "--mount", "sh", "-c", own];
            Process::start(folder.path(), &format!("charon-{name}"), namespace, &words).unwrap()
        });
        let mut lab =
            Self { charons, roles, device, epdg: gateway, _router: router, root, password, folder };
        for role in &mut lab.roles {
            let socket = lab.folder.path().join(format!("{}.sock", role.name()));
            role.makes(&socket, PATIENCE).await.unwrap();
        }
        lab.enrol();
        for end in [End::Device, End::Epdg] {
            lab.is_up(end).await;
        }
        lab
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn charon(&self, end: End) -> Charon {
        Charon::new(at(self.folder.path(), end, "vici").into(), PATIENCE)
    }

    /// Waits until an end's charon answers, and has it read what is in its file.
    pub(crate) async fn is_up(&self, end: End) {
        let charon = self.charon(end);
        let up = async || Ok(charon.version().await.ok());
        wait_for("charon", PATIENCE, up).await.unwrap();
        self.reads_its_file(end);
    }

    pub(crate) fn reads_its_file(&self, end: End) {
        let mut swanctl = Command::new("swanctl");
        swanctl.args(["--load-all", "--noprompt", "--file"]);
        swanctl.arg(at(self.folder.path(), end, "swanctl.conf")).arg("--uri");
        swanctl.arg(format!("unix://{}", at(self.folder.path(), end, "vici")));
        let said = run(&mut swanctl);
        // It looks for files that there need not be.
        let wrong = |line: &&str| line.contains("failed") && !line.starts_with("opening directory");
        assert_eq!(said.lines().find(wrong), None, "{said}");
    }

    /// What an end's charon has said.
    pub(crate) fn said(&self, end: End) -> String {
        self.charons[end as usize].log()
    }

    /// The shared keys that an end's charon knows by a name.
    pub(crate) async fn known(&self, end: End) -> Vec<String> {
        self.charon(end).shared().await.unwrap().into_iter().filter(|id| id != "eap-1").collect()
    }

    fn enrol(&self) {
        for (name, ..) in &ROLES[..2] {
            let key = self.root.device_key(&name.parse().unwrap(), 1);
            let file = self.path("key");
            write(&file, &key_file::text(key.expose()));
            let mut enrol = homeward();
            enrol.args(["security-module", "enrol", WHO, "--key-file"]).arg(file);
            run(enrol.arg("--socket").arg(self.path(&format!("{name}.sock"))));
        }
    }

    /// Ends the core, and with it module n1, and starts it again.
    pub(crate) async fn restart_core(&mut self) {
        let socket = self.path(&format!("{}.sock", ROLES[1].0));
        self.roles[1].stop(PATIENCE).await.unwrap();
        assert!(!socket.exists());
        self.roles[1].restart().unwrap();
        self.roles[1].makes(&socket, PATIENCE).await.unwrap();
    }

    /// A module says what its socket is asked.
    pub(crate) fn status(&self, network: usize) -> serde_json::Value {
        let (kind, name) = (KINDS[network], ROLES[network].0);
        let config = self.path(&format!("{name}.toml"));
        let said = run(homeward().args([kind, "status", "--json", "--config"]).arg(config));
        let mut status: serde_json::Value = serde_json::from_str(&said).unwrap();
        if kind == "core" { status["security_module"].take() } else { status }
    }

    /// A device that has been nowhere.
    pub(crate) fn session(&self) -> Device {
        Device::new(SystemEntropy::new().octets(), SERVER.parse().unwrap(), true).unwrap()
    }

    /// It hops, from the device's namespace.
    pub(crate) fn hop(&self, device: &mut Device, network: usize) -> Result<(), WalkError> {
        let (name, _, port) = ROLES[network];
        let (name, who): (Name, Nai) = (name.parse().unwrap(), WHO.parse().unwrap());
        let key = self.root.device_key(&name, 1);
        let walking = || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            Ok(runtime.block_on(async {
                let mut line = Line::call((DEVICES, port).into(), PATIENCE).await?;
                line.hop(device, &who, &key, false, &mut SystemEntropy::new()).await
            }))
        };
        self.device.enter(walking).unwrap()
    }

    /// The device's connection, as `[handoff.tunnels.connection]` has it.
    pub(crate) fn connection(&self) -> serde_json::Value {
        serde_json::json!({
            "version": 2,
            "remote_addrs": [DEVICES.to_string()],
            "vips": ["0.0.0.0"],
            "mobike": true,
            "local": { "auth": "eap-ttls", "id": WHO, "eap_id": WHO, "aaa_id": "eap.example.net" },
            "remote": { "auth": "pubkey", "id": "epdg.example.net" },
            "children": { "home": { "remote_ts": ["10.45.0.0/16"] } },
        })
    }

    /// Dials with that key under that name, ending what there was; what came of it.
    pub(crate) async fn dials(&self, id: &str, key: &[u8]) -> Result<(), String> {
        let charon = self.charon(End::Device);
        charon.load_ppk(id, key).await.unwrap();
        let connection = section(&self.connection());
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
        let root = self.path("device.root");
        write(&root, &key_file::text(self.root.expose()));
        let networks: Vec<_> = (0..2)
            .map(|n| {
                let (name, _, port) = ROLES[n];
                let ssids: Vec<&str> = if n == 0 { vec![] } else { vec![name] };
                let module = format!("{DEVICES}:{port}");
                serde_json::json!({ "name": name, "module": module, "ssids": ssids, "cellular": n == 0 })
            })
            .collect();
        serde_json::json!({
            "name": WHO,
            "root_file": root,
            "retry": "50ms",
            "networks": networks,
            "servers": [{ "name": SERVER, "guard": format!("{DEVICES}:{}", ROLES[2].2) }],
            "tunnels": [{
                "network": "n1.example",
                "server": SERVER,
                "vici": at(self.folder.path(), End::Device, "vici"),
                "check": "200ms",
                "child": "home",
                "connection": self.connection(),
            }],
        })
    }

    /// What nobody but the device and the core is to know.
    pub(crate) fn password(&self) -> &str {
        &self.password
    }
}

/// What [`ROLES`] are.
const KINDS: [&str; 3] = ["security-module", "core", "guard"];

fn at(folder: &Path, end: End, file: &str) -> String {
    let of = match end {
        End::Device => "device",
        End::Epdg => "gateway",
    };
    folder.join(of).join(file).to_str().unwrap().to_owned()
}

fn join(device: &Namespace, router: &Namespace, gateway: &Namespace) -> Result<()> {
    device.join("w1", router, "w1")?;
    device.join("w2", router, "w2")?;
    gateway.join("e", router, "e")?;
    device.ip("addr add 10.1.0.2/24 dev w1\naddr add 10.2.0.2/24 dev w2\n\
               route add default via 10.1.0.1 metric 10\nroute add default via 10.2.0.1 metric 20")?;
    router.ip(
        "addr add 10.1.0.1/24 dev w1\naddr add 10.2.0.1/24 dev w2\naddr add 10.9.0.1/24 dev e",
    )?;
    router.sysctl("net.ipv4.ip_forward", "1")?;
    gateway.ip(&format!(
        "addr add {DEVICES}/24 dev e\naddr add {SERVICE}/32 dev lo\nroute add default via 10.9.0.1"
    ))
}

/// A module's or guard's part of the configuration: who the others are is known by their keys.
fn handoff(folder: &Path, own: &str, within: &str) -> String {
    let mut text = String::new();
    for (name, peers, devices) in ROLES {
        let file = |what: &str| folder.join(format!("{name}.{what}"));
        if name == own {
            text = format!(
                "[{within}handoff]\nname = {name:?}\nlisten = [\"127.0.0.1:{peers}\"]\n\
                 devices = [\"{DEVICES}:{devices}\"]\nkey_file = {:?}\nstate = {:?}\n\
                 state_key_file = {:?}\n{text}",
                file("key"),
                file("db"),
                file("db-key"),
            );
            continue;
        }
        let identity =
            Identity::load(name.parse().unwrap(), &file("key"), &mut SystemEntropy::new());
        let key = identity.unwrap().key().to_string();
        text.push_str(&format!(
            "[[{within}handoff.peers]]\nname = {name:?}\nkey = {key:?}\naddress = \"127.0.0.1:{peers}\"\n"
        ));
    }
    text
}

fn role(folder: &Path, kind: &str, name: &str) {
    let verify = if kind == "guard" { "[verify]\nlisten = [\"127.0.0.1:7090\"]\n" } else { "" };
    let socket = folder.join(format!("{name}.sock"));
    let text = format!("{}{verify}[control]\nsocket = {socket:?}\n", handoff(folder, name, ""));
    write(&folder.join(format!("{name}.toml")), &text);
}

/// A core, with a subscriber; the password that it made.
fn core(folder: &Path, epdg: &str) -> String {
    let file = |name: &str| folder.join(name);
    let text = format!(
        "[store]\npath = {:?}\nkey_file = {:?}\n[aaa]\nlisten = [\"127.0.0.1:1812\"]\nworkers = 1\n\
         [aaa.eap]\ncertificate = {:?}\nkey = {:?}\nmethods = [\"ttls\"]\n[controller]\nlisten = []\n\
         [control]\nsocket = {:?}\n[security_module.epdg]\nvici = {:?}\n{epdg}{}",
        file("core.db"),
        file("core.keys"),
        file("eap/server.pem"),
        file("eap/server.pem"),
        file("n1.example.sock"),
        at(folder, End::Epdg, "vici"),
        handoff(folder, "n1.example", "security_module."),
    );
    let config = file("n1.example.toml");
    write(&config, &text);
    write(&file("secret"), SECRET);
    let admin = |words: &str| {
        run(homeward().args(["admin", "--config"]).arg(&config).args(words.split(' ')))
    };
    admin("key create");
    let eap = file("eap");
    fs::create_dir(&eap).unwrap();
    admin(&format!("pki create --name Lab --server eap.example.net --directory {}", eap.display()));
    admin("class create standard --coverage everywhere");
    let secret = file("secret");
    admin(&format!(
        "gateway create epdg --mac 02:00:5e:10:00:02 --place gb/london --operator example \
         --address 127.0.0.1 --secret-file {}",
        secret.display()
    ));
    admin("account create smith --class standard");
    let said = admin(&format!("login create {WHO} --account smith"));
    said.lines()
        .find_map(|line| line.strip_prefix("password, shown this once: "))
        .unwrap()
        .to_owned()
}

/// The files of an end's strongSwan.
fn strongswan(folder: &Path, end: End, password: &str) {
    let here = |file: &str| PathBuf::from(at(folder, end, file));
    let vici = format!("unix://{}", at(folder, end, "vici"));
    let own =
        [("unix:///run/charon.vici", vici.as_str()), ("the secret that the core made", SECRET)];
    let log = "charon {\n filelog {\n stderr {\n default = 1\n }\n }\n}\n";
    let daemon = shipped("strongswan.conf", &own);
    match end {
        End::Epdg => {
            let connections = shipped("swanctl.conf", &[("192.0.2.1", &DEVICES.to_string())]);
            write(&here("strongswan.conf"), &(daemon + log));
            write(&here("swanctl.conf"), &connections);
            let mut parameters =
                rcgen::CertificateParams::new(vec!["epdg.example.net".to_owned()]).unwrap();
            parameters.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
            let key = rcgen::KeyPair::generate().unwrap();
            let certificate = parameters.self_signed(&key).unwrap().pem();
            write(&here("x509/epdg.pem"), &certificate);
            write(&here("private/epdg.key"), &key.serialize_pem());
            write(&folder.join("epdg.pem"), &certificate);
        }
        End::Device => {
            let load = "eap-identity eap-ttls eap-mschapv2 md5";
            let daemon = daemon.replace("eap-identity eap-radius attr", load);
            write(&here("strongswan.conf"), &(daemon + log));
            let trust =
                |file: &str| format!("{file} {{\ncacert = {}\n}}\n", folder.join(file).display());
            let trusted = ["epdg.pem", "eap/trust.pem"].map(|file| {
                trust(file).replacen(
                    file,
                    file.split('.').next().unwrap().split('/').next().unwrap(),
                    1,
                )
            });
            let text = format!(
                "authorities {{\n{}}}\nsecrets {{\neap-1 {{\nid = {WHO}\nsecret = \"{password}\"\n}}\n}}\n",
                trusted.concat()
            );
            write(&here("swanctl.conf"), &text);
        }
    }
}

/// A section, as JSON has it.
fn section(of: &serde_json::Value) -> Section {
    use serde_json::Value;
    let text = |value: &Value| match value {
        Value::String(text) => text.clone(),
        Value::Bool(is) => if *is { "yes" } else { "no" }.to_owned(),
        other => other.to_string(),
    };
    of.as_object().unwrap().iter().fold(Section::default(), |all, (name, value)| match value {
        Value::Object(_) => all.section(name, section(value)),
        Value::Array(values) => all.list(name, values.iter().map(text)),
        value => all.value(name, text(value)),
    })
}
