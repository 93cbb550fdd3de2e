//! A device that is enrolled for hand-offs with its credentials: the core as portal and as security
//! module of one network, `homeward security-module` of another, a real wpa_supplicant, and
//! `homeward device`, whose bearer is a link.
//!
//! ```text
//!  [phone] homeward device ── wwan0 10.45.0.7 ═══ cell 10.45.0.1 ── 10.64.0.1 [all]
//!               │                                   :portal, :7080  homeward core (n1.example)
//!        wpa_supplicant (its MAC address alone)     :7081  homeward security-module (n2.example)
//! ```
//!
//! Which of the two networks is the bearer's is what the device's configuration says, so that it moves
//! with a restart.

use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result};
use homeward_net::process::Process;
use homeward_net::wait::wait_for;
use homeward_net::{Lab, Namespace, lab};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::cell::imsi;
use crate::core::{World, folder, write};

const LIMIT: Duration = Duration::from_secs(60);

const ADDRESS: &str = "10.45.0.7";

/// What a module is told of another, or of a server that is away.
fn peer(name: &str, key: &str, address: &str, more: &str) -> String {
    format!("name = {name:?}\nkey = {key:?}\naddress = {address:?}\n{more}")
}

/// Where a module listens, and what it keeps.
fn module(folder: &TempDir, name: &str, port: u16) -> String {
    let at = |what: &str| folder.path().join(format!("{name}.{what}"));
    format!(
        "name = {name:?}\nlisten = [\"127.0.0.1:{}\"]\ndevices = [\"10.64.0.1:{port}\"]\n\
         key_file = {:?}\nstate = {:?}\nstate_key_file = {:?}\ndeadline = \"2s\"\n",
        port + 1000,
        at("key"),
        at("db"),
        at("db-key"),
    )
}

/// The key of a module that is not there yet; it is made.
fn key_of(folder: &TempDir, name: &str) -> String {
    let file = folder.path().join("show-key.toml");
    write(&file, &format!("[handoff]\n{}", module(folder, name, 7080)));
    let mut command = Command::new(env!("CARGO_BIN_EXE_homeward"));
    command.args(["security-module", "show-key", "--config"]).arg(&file);
    let output = command.output().unwrap();
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// The operator's side.
struct Operator {
    world: World,
    n2: Process,
    keys: [String; 2],
}

impl Operator {
    async fn start(lab: &Lab, place: &Namespace) -> Result<Self> {
        place.ip("addr add 10.64.0.1/32 dev lo")?;
        let folder = folder();
        let keys = ["n1.example", "n2.example"].map(|name| key_of(&folder, name));
        let file = |name: &str| folder.path().join(name);
        let server = peer("sip.example", &"5a".repeat(32), "127.0.0.1:1", "");
        let settings = format!(
            "requests_per_minute = 0\nlisten = [\"10.64.0.1:0\"]\ncertificate = {:?}\nkey = {:?}\n\
             [portal.handoff]\nnetworks = [\"n2.example\"]\n\
             [security_module.handoff]\n{}[[security_module.handoff.peers]]\n{}\
             [[security_module.handoff.peers]]\n{server}",
            file("ca.pem"),
            file("tls.key"),
            module(&folder, "n1.example", 7080),
            peer("n2.example", &keys[1], "127.0.0.1:8081", ""),
        );
        let world = place.enter(|| Ok(World::start(folder, &settings, "")))?;
        let mut this = Self { n2: Self::run_n2(lab, place, &world, &keys[0], "")?, world, keys };
        this.n2.says("security module open", LIMIT).await?;
        Ok(this)
    }

    fn run_n2(
        lab: &Lab,
        place: &Namespace,
        world: &World,
        n1: &str,
        more: &str,
    ) -> Result<Process> {
        let config = Self::write_n2(world, n1, more);
        let homeward = env!("CARGO_BIN_EXE_homeward");
        lab.process("n2", place, &[homeward, "security-module", "--config", &config])
    }

    /// The configuration of the other network's module, with more of what it says of the core's.
    fn write_n2(world: &World, n1: &str, more: &str) -> String {
        let server = peer("sip.example", &"5a".repeat(32), "127.0.0.1:1", "");
        let text = format!(
            "[handoff]\n{}[[handoff.peers]]\n{}[[handoff.peers]]\n{server}[control]\nsocket = {:?}\n",
            module(world.folder(), "n2.example", 7081),
            peer("n1.example", n1, "127.0.0.1:8080", more),
            world.file("n2.sock"),
        );
        world.write("n2.toml", &text)
    }

    /// What the core's own module says.
    fn n1(&self) -> Value {
        self.world.status()["security_module"].clone()
    }

    fn n2(&self) -> Value {
        let mut command = Command::new(env!("CARGO_BIN_EXE_homeward"));
        command.args(["security-module", "status", "--json", "--config"]);
        command.arg(self.world.file("n2.toml"));
        serde_json::from_slice(&command.output().unwrap().stdout).unwrap_or_default()
    }
}

/// The device, in a namespace of its own.
struct Phone<'a> {
    lab: &'a Lab,
    place: Namespace,
    folder: TempDir,
    running: Option<Process>,
    _supplicant: Process,
}

impl<'a> Phone<'a> {
    async fn build(lab: &'a Lab, all: &Namespace) -> Result<Self> {
        let (place, folder) = (lab.namespace("phone")?, folder());
        place.join("wwan0", all, "cell")?;
        all.ip("link set cell up\naddr add 10.45.0.1/16 dev cell")?;
        place.ip(&format!(
            "addr add {ADDRESS}/16 dev wwan0\nroute add default via 10.45.0.1 dev wwan0\n\
             link add sta type veth peer name ap\nlink set sta up\nlink set ap up"
        ))?;
        let at = |name: &str| folder.path().join(name);
        let wpa = format!("ctrl_interface={}\nap_scan=0\n", at("wpa").display());
        std::fs::write(at("wpa.conf"), wpa)?;
        let conf = at("wpa.conf").display().to_string();
        let command = ["wpa_supplicant", "-D", "wired", "-i", "sta", "-c", &conf];
        let mut supplicant = lab.process("wpa_supplicant", &place, &command)?;
        supplicant.makes(&at("wpa/sta"), LIMIT).await?;
        Ok(Self { lab, place, folder, running: None, _supplicant: supplicant })
    }

    /// Runs the device, whose bearer is that network's from now on.
    async fn runs(&mut self, world: &World, cellular: &str) -> Result<()> {
        self.running = None;
        let at = |name: &str| self.folder.path().join(name);
        // The last one's.
        let _ = std::fs::remove_file(at("device.sock"));
        let networks = [("n1.example", 7080), ("n2.example", 7081)].map(|(name, port)| {
            let when = match name == cellular {
                true => "cellular = true".to_owned(),
                false => format!("ssids = [\"wlan of {name}\"]"),
            };
            format!(
                "[[handoff.networks]]\nname = {name:?}\nmodule = \"10.64.0.1:{port}\"\n{when}\n"
            )
        });
        let ca = world.file("ca.pem");
        let config = format!(
            "[portal]\nurl = \"https://{}/offload/v1/credentials\"\nca = {ca:?}\n\
             [check]\nurl = \"http://10.64.0.1/\"\n\
             [wlan]\ninterface = \"sta\"\nsupplicant = {:?}\nrun_directory = {:?}\nca = {ca:?}\n\
             [modem]\nimsi = \"{}\"\ninterface = \"wwan0\"\n[steer]\nenabled = false\n\
             [state]\ndirectory = {:?}\nkey_file = {:?}\n[control]\nsocket = {:?}\n\
             [handoff]\nretry_most = \"1s\"\nrefused = \"1s\"\n{}\
             [[handoff.servers]]\nname = \"sip.example\"\nguard = \"10.64.0.1:9\"\n",
            world.portal(),
            at("wpa"),
            at("run"),
            imsi(1),
            at("state"),
            at("state/device.keys"),
            at("device.sock"),
            networks.concat(),
        );
        write(&at("device.toml"), &config);
        let config = at("device.toml").display().to_string();
        let homeward = env!("CARGO_BIN_EXE_homeward");
        let command = [homeward, "device", "--config", &config];
        let mut running = self.lab.process("device", &self.place, &command)?;
        running.makes(&at("device.sock"), LIMIT).await?;
        self.running = Some(running);
        Ok(())
    }

    /// What `homeward` prints for those words, whatever it finds.
    fn says(&self, words: &[&str]) -> Result<String> {
        let config = self.folder.path().join("device.toml");
        let mut command = Command::new(env!("CARGO_BIN_EXE_homeward"));
        command.args(words).arg("--config").arg(config);
        command.stdout(Stdio::piped()).stderr(Stdio::null());
        let output = self.place.spawn(command)?.wait_with_output()?;
        Ok(String::from_utf8(output.stdout)?)
    }

    /// Waits until the device says that it is so.
    async fn until(&self, what: &str, is: impl Fn(&Value) -> bool) -> Result<Value> {
        let mut last = Value::Null;
        let found = wait_for(what, LIMIT, async || {
            let said = self.says(&["device", "status", "--json"])?;
            last = serde_json::from_str(&said).unwrap_or_default();
            Ok(is(&last).then(|| last.clone()))
        });
        let found = found.await;
        found.with_context(|| format!("{}", last["handoff"]))
    }
}

fn hops(status: &Value) -> (u64, &str) {
    let session = &status["handoff"][0];
    (session["hops"].as_u64().unwrap_or(99), session["at"].as_str().unwrap_or("nowhere"))
}

#[test]
fn a_device_is_enrolled_by_the_portal_and_hops_from_network_to_network() {
    lab(|lab| async move {
        let all = lab.namespace("all")?;
        let mut operator = Operator::start(&lab, &all).await?;
        let mut phone = Phone::build(&lab, &all).await?;
        all.enter(|| {
            operator.world.attaches(1, ADDRESS);
            Ok(())
        })?;
        phone.runs(&operator.world, "n2.example").await?;

        // Credentials and keys are there although the other network says no; that is known by name.
        let status = phone.until("keys", |s| s["handoff_keys"]["name"].is_string()).await?;
        let keys = status["handoff_keys"].clone();
        assert_eq!(keys["by"], "portal");
        assert!(keys["name"].as_str().unwrap().ends_with("@wlan.example.net"), "{keys}");
        let version = keys["version"].as_u64().unwrap();
        assert!(version > 1_500_000_000, "{version}");
        phone.until("credentials", |s| s["machine"]["credentials"].is_object()).await?;
        let n1 = operator.n1();
        assert_eq!((&n1["enrolled"], &n1["unenrolled"]), (&json!(1), &json!({ "n2.example": 1 })));
        assert_eq!(operator.n2()["enrolled"], 0);
        let refusal = "n1.example may not enrol devices here";
        operator.n2.says(refusal, LIMIT).await?;
        let shown = operator.world.says(&["core", "status"]);
        assert!(shown.contains("n2.example (1)"), "{shown}");
        phone.until("a refusal", |s| s["handoff"][0]["failures"].as_u64() > Some(0)).await?;

        // It may from now on. Nobody has to ask again.
        Operator::write_n2(&operator.world, &operator.keys[0], "enrols = true\n");
        let pid = operator.n2.pid().context("it has ended")?.to_string();
        assert!(Command::new("kill").args(["-HUP", &pid]).status()?.success());
        let status = phone.until("a hop there", |s| hops(s) == (1, "n2.example")).await?;
        assert_eq!(status["handoff_keys"], keys, "the keys are those that it had");
        assert_eq!(
            (&operator.n1()["unenrolled"], &operator.n2()["enrolled"]),
            (&json!({}), &json!(1))
        );

        // With another life, and in another network, it has them still, and asks for none.
        phone.runs(&operator.world, "n1.example").await?;
        let status = phone.until("a hop home", |s| hops(s) == (2, "n1.example")).await?;
        assert_eq!(status["handoff_keys"], keys);
        let shown = phone.says(&["device", "status"])?;
        assert!(shown.contains("by keys of the portal, version"), "{shown}");
        let doctor = phone.says(&["doctor", "device"])?;
        assert!(doctor.contains("the portal has given hand-off keys"), "{doctor}");

        // It asks anew: its session goes on, and the next hop is by the other keys.
        phone.says(&["device", "enrol"])?;
        let newer = |s: &Value| s["handoff_keys"]["version"].as_u64() > Some(version);
        let status = phone.until("other keys", newer).await?;
        assert_eq!(hops(&status), (2, "n1.example"));
        assert_eq!(status["handoff_keys"]["name"], keys["name"]);
        phone.runs(&operator.world, "n2.example").await?;
        phone.until("a third hop", |s| hops(s) == (3, "n2.example")).await?;
        assert_eq!(
            (&operator.n1()["enrolled"], &operator.n2()["enrolled"]),
            (&json!(1), &json!(1))
        );
        Ok(())
    });
}
