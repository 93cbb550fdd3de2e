//! A device whose modem has messages and no bearer: the real ModemManager on a modem that answers
//! AT commands as a script has it, the core as the portal behind an SMSC of the npm package smpp, a
//! real wpa_supplicant, and `homeward device`.
//!
//! ```text
//!  homeward device ── ModemManager ── [AT modem] ┄┄ Air ┄┄ [SMSC] ── SMPP ── homeward core
//!        └── wpa_supplicant (its networks are what is looked at)                 │
//!                                   eapol_test with that network ── RADIUS ──────┘
//! ```
//!
//! [`Air`] stands in for the radio network: it carries what the modem submits (SMS-SUBMIT) to the
//! SMSC, and what the SMSC is submitted to the modem (SMS-DELIVER), each as it is.

#[expect(dead_code, reason = "the tests of the modem itself use all of it")]
#[path = "../../../../host/modem/tests/real/at.rs"]
mod at;
#[expect(dead_code, reason = "the tests of the modem itself use all of it")]
#[path = "../../../../host/modem/tests/real/bus.rs"]
mod bus;
#[expect(dead_code, reason = "the tests of the modem itself use all of it")]
#[path = "../../../../host/modem/tests/real/machine.rs"]
mod machine;
#[expect(dead_code, reason = "the tests of the modem itself use all of it")]
#[path = "../../../../host/modem/tests/real/pdu.rs"]
mod pdu;

use std::collections::VecDeque;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::time::Duration;

use anyhow::{Context as _, Result};
use homeward_net::process::Process;
use homeward_net::wait::wait_for;
use homeward_net::{Lab, Namespace, lab};
use serde_json::{Value, json};

use crate::core::{SECRET, World, folder};
use at::{AtModem, IMEI, IMSI};
use machine::Machine;

const LIMIT: Duration = Duration::from_secs(30);

/// The SIM's number, and the portal's.
const NUMBER: &str = "447700900123";
const PORTAL: &str = "4444";
/// SMPP's are short.
const PASSWORD: &str = "hush-hus";

/// An SMSC: a process that ends with this.
struct Smsc {
    child: Child,
    to: ChildStdin,
    said: Receiver<Value>,
    port: u64,
}

impl Drop for Smsc {
    fn drop(&mut self) {
        // Both fail only if it is gone already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Smsc {
    fn start(place: &Namespace) -> Result<Self> {
        let here = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let mut command = Command::new("node");
        let told = json!({ "port": 0, "system_id": "homeward", "password": PASSWORD });
        command
            .arg(here.join("roles/portal/tests/sms/smsc.js"))
            .arg(told.to_string())
            .env("NODE_PATH", here.join("target/tools/node/node_modules"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        let mut child = place.spawn(command).context("smpp is missing: `make node` installs it")?;
        let to = child.stdin.take().context("no way to it")?;
        let lines = BufReader::new(child.stdout.take().context("no way from it")?).lines();
        let (says, said) = mpsc::channel();
        std::thread::spawn(move || {
            let lines = lines.map_while(Result::ok);
            let values = lines.map(|line| serde_json::from_str::<Value>(&line).unwrap());
            values.for_each(|value| drop(says.send(value)));
        });
        let first: Value = said.recv_timeout(LIMIT).context("no SMSC")?;
        let port = first["port"].as_u64().context("no port")?;
        Ok(Self { child, to, said, port })
    }
}

/// The radio network, as far as messages go.
struct Air<'a> {
    modem: &'a AtModem,
    manager: &'a Process,
    smsc: Smsc,
    /// How many of the modem's were carried, and what they said.
    up: Vec<String>,
    /// What was carried to it, or will be, a part each.
    down: Vec<String>,
    /// What is on its way to it, and whether each is a whole message.
    coming: VecDeque<(String, bool)>,
    /// How many it has been brought, and whether the last was a whole message.
    brought: (u8, bool),
    /// Whether the SMSC has a session with the portal.
    bound: bool,
}

impl<'a> Air<'a> {
    fn new(modem: &'a AtModem, manager: &'a Process, smsc: Smsc) -> Self {
        let (up, down, coming) = (Vec::new(), Vec::new(), VecDeque::new());
        Self { modem, manager, smsc, up, down, coming, brought: (0, true), bound: false }
    }

    /// Carries what there is to carry.
    fn carry(&mut self) -> Result<()> {
        let sent = self.modem.with(|state| state.sent.clone());
        for submit in sent.iter().skip(self.up.len()) {
            let (to, text) = pdu::read(submit);
            let order = json!({ "do": "deliver", "from": NUMBER, "to": to, "text": text });
            writeln!(self.smsc.to, "{order}")?;
            self.up.push(text);
        }
        while let Ok(said) = self.smsc.said.try_recv() {
            match said["is"].as_str() {
                Some("bound") => self.bound = true,
                Some("submitted") => self.bring(&said)?,
                _ => {}
            }
        }
        if self.is_quiet()
            && let Some((deliver, whole)) = self.coming.pop_front()
        {
            self.brought = (self.brought.0 + 1, whole);
            self.modem.deliver(self.brought.0, &deliver);
        }
        Ok(())
    }

    /// Whether ModemManager has done with what was brought last: it overhears a message that comes
    /// while it is at another, and a network brings one at a time.
    fn is_quiet(&self) -> bool {
        let (number, whole) = self.brought;
        if number == 0 {
            return true;
        }
        let gone = !whole || self.modem.with(|state| state.stored.is_empty());
        let log = self.manager.log();
        let read = log.rfind(&format!("AT+CMGR={number}<CR>")).map(|at| &log[at..]);
        let uses = read.and_then(|log| log.rsplit_once("device open count is "));
        gone && uses.is_some_and(|(_, last)| last.starts_with("1 (close)"))
    }

    fn bring(&mut self, said: &Value) -> Result<()> {
        assert_eq!(said["to"], NUMBER);
        let (from, text) = (said["from"].as_str().unwrap(), said["text"].as_str().unwrap());
        let elements: Vec<Vec<u8>> = serde_json::from_value(said["udh"].clone())?;
        self.coming.push_back(match elements.concat().as_slice() {
            [] => (pdu::text(from, text), true),
            header => (pdu::segment(from, text, header), false),
        });
        self.down.push(text.to_owned());
        Ok(())
    }

    /// A message of somebody who says that he is somebody.
    fn forge(&mut self, from: &str, text: &str) -> Result<()> {
        self.bring(&json!({ "to": NUMBER, "from": from, "text": text, "udh": [] }))
    }
}

/// The device, and what it needs besides a modem.
struct Device {
    place: Namespace,
    folder: tempfile::TempDir,
    running: Process,
    _supplicant: Process,
}

impl Device {
    async fn start(lab: &Lab, machine: &Machine, world: &World) -> Result<Self> {
        let (place, folder) = (machine.place.clone(), folder());
        place.ip("link add sta type veth peer name ap\nlink set sta up\nlink set ap up")?;
        let at = |name: &str| folder.path().join(name);
        let wpa = format!("ctrl_interface={}\nupdate_config=1\nap_scan=0\n", at("wpa").display());
        std::fs::write(at("wpa.conf"), wpa)?;
        let conf = at("wpa.conf").display().to_string();
        let command = ["wpa_supplicant", "-D", "wired", "-i", "sta", "-c", &conf];
        let mut supplicant = lab.process("wpa_supplicant", &place, &command)?;
        supplicant.makes(&at("wpa/sta"), LIMIT).await?;
        let ca = world.file("ca.pem");
        let config = format!(
            "[portal]\nurl = \"https://{}/offload/v1/credentials\"\nca = {ca:?}\n\
             [portal.sms]\nnumber = \"{PORTAL}\"\nafter = \"1s\"\n\
             [check]\nurl = \"http://{}/\"\n\
             [wlan]\ninterface = \"sta\"\nsupplicant = {:?}\nrun_directory = {:?}\nca = {ca:?}\n\
             [modem]\nbus = \"{}\"\n[steer]\nenabled = false\n\
             [state]\ndirectory = {:?}\nkey_file = {:?}\n[control]\nsocket = {:?}\n",
            world.portal(),
            world.portal(),
            at("wpa"),
            at("run"),
            machine.bus.address(),
            at("state"),
            at("state/device.keys"),
            at("device.sock"),
        );
        std::fs::write(at("device.toml"), config)?;
        let config = at("device.toml").display().to_string();
        let homeward = env!("CARGO_BIN_EXE_homeward");
        let mut running =
            lab.process("device", &place, &[homeward, "device", "--config", &config])?;
        running.makes(&at("device.sock"), LIMIT).await?;
        Ok(Self { place, folder, running, _supplicant: supplicant })
    }

    fn file(&self, name: &str) -> String {
        self.folder.path().join(name).display().to_string()
    }

    /// What `homeward` prints for those words, whatever it finds.
    fn says(&self, words: &[&str]) -> Result<String> {
        let mut command = Command::new(env!("CARGO_BIN_EXE_homeward"));
        command.args(words).args(["--config", &self.file("device.toml")]);
        command.stdout(Stdio::piped()).stderr(Stdio::null());
        let output = self.place.spawn(command)?.wait_with_output()?;
        Ok(String::from_utf8(output.stdout)?)
    }

    fn machine(&self) -> Result<Value> {
        let words = ["device", "status", "--json"];
        let said = self.says(&words)?;
        let said: Value =
            serde_json::from_str(&said).with_context(|| format!("{words:?}: {said}"))?;
        Ok(said["machine"].clone())
    }

    /// Waits until the device says that it is so, while messages are carried.
    async fn until(
        &self,
        what: &str,
        air: &mut Air<'_>,
        is: impl Fn(&Value) -> bool,
    ) -> Result<Value> {
        let mut last = Value::Null;
        let found = wait_for(what, LIMIT, async || {
            air.carry()?;
            // After a restart nobody answers for a moment.
            let Ok(said) = self.machine() else { return Ok(None) };
            last = said;
            Ok(is(&last).then(|| last.clone()))
        });
        found.await.with_context(|| format!("{:#}", air.down.len()))
    }

    /// The networks that the supplicant was told, as it writes them down.
    fn networks(&self) -> Result<String> {
        self.place.run_tool("wpa_cli", &["-p", &self.file("wpa"), "-i", "sta", "save_config"])?;
        Ok(std::fs::read_to_string(self.file("wpa.conf"))?)
    }

    /// Logs on with the network that the supplicant was told, by the same code and without a radio.
    fn logs_on(&self, world: &World) -> Result<bool> {
        let (host, port) = world.aaa().split_once(':').context("no port")?;
        let mac = self.machine()?["supplicant"]["mac"].as_str().unwrap().to_owned();
        let mut command = Command::new("eapol_test");
        command
            .args(["-c", &self.file("wpa.conf"), "-a", host, "-p", port, "-s", SECRET])
            .args(["-t", "10", "-M", &mac]);
        command.stdout(Stdio::piped()).stderr(Stdio::null());
        let output = self.place.spawn(command)?.wait_with_output()?;
        let said = String::from_utf8_lossy(&output.stdout);
        let end: Vec<&str> = said.lines().rev().take(4).collect();
        let came_in = end.contains(&"SUCCESS");
        assert!(came_in || end.contains(&"FAILURE"), "{said}");
        Ok(came_in)
    }
}

/// A core with an SMSC, and a subscriber of the modem's SIM.
fn core(place: &Namespace, smsc: u64) -> Result<World> {
    place.ip("addr add 10.64.0.1/32 dev lo")?;
    place.enter(|| {
        let folder = folder();
        let file = |name: &str| folder.path().join(name);
        let settings = format!(
            "listen = [\"10.64.0.1:0\"]\ncertificate = {:?}\nkey = {:?}\n\
             [portal.sms]\nsmsc = \"127.0.0.1:{}\"\nsystem_id = \"homeward\"\n\
             password = {{ file = {:?} }}\naddress = \"{PORTAL}\"\npause = \"50ms\"\n",
            file("ca.pem"),
            file("tls.key"),
            smsc,
            file("smsc.password"),
        );
        let password = file("smsc.password");
        crate::core::write(&password, PASSWORD);
        let world = World::start(folder, &settings, "");
        world.admin(&["subscriber", "add", IMSI, "--account", "mobile", "--msisdn", NUMBER]);
        // So much that it does not fit into one segment.
        let policy = world.write(
            "long.toml",
            "[wlan]\nserver_name = \"aaa.example.net\"\nanonymous = \"anonymous@wlan.example.net\"\n\
             [[wlan.networks]]\nssid = \"Town\"\n[[wlan.networks]]\nssid = \"Harbour and station\"\n",
        );
        world.admin(&["policy", "set", "--default", &policy]);
        Ok(world)
    })
}

#[test]
fn a_device_with_messages_and_no_bearer_has_credentials_that_let_it_in_once() {
    lab(|lab| async move {
        let place = lab.namespace("all")?;
        let machine = Machine::build(&lab, place.clone()).await?;
        let manager = machine.manager(&lab).await?;
        let modem = AtModem::start(&place, "homeward-at-portal")?;
        machine.plug(&modem).await?;
        let smsc = Smsc::start(&place)?;
        let world = core(&place, smsc.port)?;
        let mut air = Air::new(&modem, &manager, smsc);
        wait_for("a portal that is bound", LIMIT, async || {
            air.carry()?;
            Ok(air.bound.then_some(()))
        })
        .await?;
        let mut device = Device::start(&lab, &machine, &world).await?;
        let modem_of = |machine: &Value| machine["modem"]["imsi"].is_string();
        device.until("a modem", &mut air, modem_of).await?;
        assert!(air.up.is_empty(), "no network has the modem yet");
        machine.enable().await?;

        // It asks, and waits. What somebody makes up meanwhile is none of its answers.
        let asks = wait_for("a message", LIMIT, async || {
            Ok(modem.with(|state| state.sent.first().cloned()))
        });
        let (to, asked) = pdu::read(&asks.await?);
        assert_eq!(to, PORTAL);
        assert!(asked.starts_with("HW1 C #") && asked.contains(&format!("{IMSI} {IMEI} ")));
        let why = device.says(&["device", "why"])?;
        assert!(why.contains("was asked by short message"), "{why}");
        let shown = device.says(&["device", "status"])?;
        assert!(shown.contains("Z, waiting\n") && shown.contains("1 of 10"), "{shown}");
        let doctor = device.says(&["doctor", "device"])?;
        assert!(doctor.contains("the portal can be asked at 4444"), "{doctor}");
        let made_up = "HW1 A evil*evil.example secret - - - 7fmkqmh4avkxe p evil.example - Evil";
        for (from, nonce) in [(PORTAL, ""), (PORTAL, "#aaaaaaaa ")] {
            air.forge(from, &made_up.replace("HW1 A ", &format!("HW1 A {nonce}")))?;
        }
        let ignored = |m: &Value| m["counters"]["messages_ignored"] == 2;
        let still = device.until("two that are ignored", &mut air, ignored).await?;
        assert_eq!(still["counters"]["message_failures"], 0);

        // The portal's own answer comes in two segments.
        let has = |m: &Value| m["supplicant"]["programmed"] == true && !m["credentials"].is_null();
        let with = device.until("credentials", &mut air, has).await?;
        assert_eq!(air.down.len() - 2, 2, "in two segments");
        assert_eq!((air.up.len(), &with["counters"]["messages"]), (1, &json!(1)));
        assert_eq!(with["counters"]["requests"], 0, "nothing was asked over a bearer");
        assert_eq!(with["credentials"]["one_time"], true);
        assert_eq!(with["credentials"]["networks"], json!(["Town", "Harbour and station"]));
        let nonce = asked.split(' ').nth(2).unwrap();
        assert!(air.down[2].starts_with(&format!("HW1 A {nonce} ")));
        wait_for("a modem without messages", LIMIT, async || {
            Ok(modem.with(|state| state.stored.is_empty()).then_some(()))
        })
        .await?;

        let networks = device.networks()?;
        let name = with["credentials"]["username"].as_str().unwrap();
        assert!(networks.contains(&format!("identity=\"{name}\"")), "{networks}");
        assert!(!networks.contains("Evil"));
        wait_for("a log-on", LIMIT, async || Ok(device.logs_on(&world)?.then_some(()))).await?;
        assert!(!device.logs_on(&world)?, "they are good once");

        // What it wrote into its log says of nobody who it is, nor what the message said.
        let metrics = device.says(&["device", "metrics"])?;
        for counted in ["messages_total 1", "message_answers_total 1", "messages_ignored_total 2"] {
            assert!(metrics.contains(&format!("homeward_device_portal_{counted}\n")), "{metrics}");
        }
        device.running.stop(LIMIT).await?;
        // Another life of it knows what was sent.
        device.running.restart()?;
        let sent = |m: &Value| m["portal"]["messages"]["sent"] == 1;
        device.until("what was sent before", &mut air, sent).await?;
        device.running.stop(LIMIT).await?;
        let log = device.running.log();
        assert!(log.contains("the portal is asked by short message"), "{log}");
        for private in [IMSI, &IMSI[..10], name, nonce, "HW1"] {
            assert!(!log.contains(private), "{private}: {log}");
        }
        Ok(())
    });
}
