//! The portal behind real bearers: who attaches has Wi-Fi credentials a moment later, and nobody
//! has another's.
//!
//! ```text
//!  [phone1] wwan0 ═ GTP ═ sgsnemu ═ osmo-ggsn ── sgi0 10.91.0.1 ── sgi0 10.91.0.2 [services]
//!                                       │                               homeward core:
//!                                       └ homeward-cell-bridge ──1813──► bearers, portal 443, AAA
//! ```
// So that clippy knows the helpers below for tests too.
#![cfg(test)]

use std::fs;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use homeward_cell::network::{GATEWAY, SERVICES, SERVICES_V6};
use homeward_cell::{CellularNetwork, CellularPlan, Device, Sim, Ue};
use homeward_daemon::SystemClock;
use homeward_model::{Clock, Imei, Imsi};
use homeward_net::place::profile_dir;
use homeward_net::tool::run_tool;
use homeward_net::wait::{now, wait_for};
use homeward_net::{Lab, Namespace, Process, lab};
use ipnet::Ipv4Net;
use serde_json::{Value, json};
use tempfile::TempDir;

const SOON: Duration = Duration::from_secs(10);
const SECRET: &str = "between packet gateway and portal";
const BEARERS: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(SERVICES), 1813);
const AAA: &str = "127.0.0.1:1812";

/// A core in the services' namespace, with two subscribers.
struct Core {
    folder: TempDir,
    homeward: String,
    services: Namespace,
    process: Process,
}

/// What the portal answers.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Said {
    Given { name: String, password: String },
    Refused,
}

impl Core {
    async fn start(lab: &Lab, services: &Namespace) -> Result<Self> {
        let own = std::env::current_exe().context("cannot find the test's own binary")?;
        let homeward: PathBuf = profile_dir(&own)
            .map(|dir| dir.join("homeward"))
            .filter(|path| path.exists())
            .context("homeward is not built: cargo build --package homeward")?;
        let folder = tempfile::tempdir()?;
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o700))?;
        let at = |file: &str| folder.path().join(file);
        let made = rcgen::generate_simple_self_signed([
            SERVICES.to_string(),
            SERVICES_V6.to_string(),
            "aaa.example.net".to_owned(),
        ])?;
        let mut listen = vec![SocketAddr::from((SERVICES, 443))];
        if services.run_tool("ip", &["-6", "addr", "show", "dev", "sgi0"])?.contains("fd00") {
            listen.push(SocketAddr::from((SERVICES_V6, 443)));
        }
        let listen: Vec<String> = listen.iter().map(ToString::to_string).collect();
        let config = format!(
            "[store]\npath = {:?}\nkey_file = {:?}\n[aaa]\nlisten = [{AAA:?}]\nworkers = 1\n\
             [aaa.accounting]\nlisten = []\n\
             [portal]\nlisten = {listen:?}\n\
             certificate = {:?}\nkey = {:?}\nrealm = \"wlan.example.net\"\nrequests_per_minute = 0\n\
             [portal.bearers]\nlisten = \"{BEARERS}\"\n\
             [[portal.bearers.gateways]]\nname = \"ggsn0\"\naddress = \"{GATEWAY}\"\n\
             secret = {{ file = {:?} }}\napns = [\"internet\"]\n\
             [control]\nsocket = {:?}\n",
            at("core.db"),
            at("core.keys"),
            at("portal.pem"),
            at("portal.key"),
            at("secret"),
            at("core.sock"),
        );
        let policy =
            "[wlan]\nserver_name = \"aaa.example.net\"\n[[wlan.networks]]\nssid = \"Town\"\n";
        for (file, text) in [
            ("core.toml", config.as_str()),
            ("policy.toml", policy),
            ("secret", SECRET),
            ("portal.pem", &made.cert.pem()),
            ("portal.key", &made.signing_key.serialize_pem()),
        ] {
            fs::write(at(file), text)?;
            fs::set_permissions(at(file), fs::Permissions::from_mode(0o600))?;
        }
        let homeward = homeward.display().to_string();
        let [config, secret, policy] =
            ["core.toml", "secret", "policy.toml"].map(|file| at(file).display().to_string());
        let admin = |words: &str| {
            let words: Vec<&str> = words.split(' ').collect();
            run_tool(&homeward, &[&["admin", "--config", &config], words.as_slice()].concat())
        };
        admin("key create")?;
        admin("class create standard --coverage everywhere")?;
        admin("account create mobile --class standard")?;
        admin(&format!(
            "gateway create oak --mac 02:00:5e:10:00:02 --place gb/london --operator example \
             --address 127.0.0.1 --secret-file {secret}"
        ))?;
        admin(&format!("policy set --default {policy}"))?;
        for n in 1..=2 {
            admin(&format!("subscriber add {} --account mobile", Sim::numbered(n)?.imsi.as_str()))?;
        }
        let command = [homeward.as_str(), "core", "--config", &config];
        let mut process = Process::start(lab.folder(), "core", services, &command)?;
        process.says(&format!("portal open address={SERVICES}:443"), SOON).await?;
        Ok(Self { folder, homeward, services: services.clone(), process })
    }

    fn file(&self, name: &str) -> String {
        self.folder.path().join(name).display().to_string()
    }

    /// Asks from the device's own address as a subscriber with that IMSI.
    fn ask(&self, device: &Namespace, imsi: Imsi, imei: Imei, to: &str) -> Result<Said> {
        let (ca, url) = (self.file("portal.pem"), format!("https://{to}/offload/v1/credentials"));
        let body =
            json!({ "imsi": imsi.as_str(), "imei": imei.as_str(), "mac": "02:00:5e:20:00:01" });
        let said = device.run_tool(
            "curl",
            &[
                "--silent",
                "--show-error",
                "--max-time",
                "5",
                "--cacert",
                &ca,
                "--header",
                "Content-Type: application/json",
                "--data-raw",
                &body.to_string(),
                &url,
            ],
        )?;
        let said: Value = serde_json::from_str(&said).with_context(|| format!("{said:?}"))?;
        if said == json!({ "error": "refused" }) {
            return Ok(Said::Refused);
        }
        let text = |key: &str| Some(said[key].as_str()?.to_owned());
        let (name, password) = text("username").zip(text("password")).context("no credentials")?;
        Ok(Said::Given { name, password })
    }

    /// Asks for the device's own SIM.
    fn ask_as<A: Copy>(&self, ue: &Ue<A>, sim: Sim) -> Result<Said> {
        self.ask(ue.namespace(), sim.imsi, ue.device().imei, &SERVICES.to_string())
    }

    /// Asks as a device does: until the portal has heard of its bearer.
    async fn is_given(&self, ue: &Ue) -> Result<(String, String)> {
        wait_for("credentials", SOON, async || match self.ask_as(ue, ue.sim())? {
            Said::Given { name, password } => Ok(Some((name, password))),
            Said::Refused => Ok(None),
        })
        .await
    }

    /// Waits until it is refused: the end of its bearer has come to the portal.
    async fn is_refused(&self, what: &str, ue: &Ue, sim: Sim) -> Result<()> {
        wait_for(what, SOON, async || Ok((self.ask_as(ue, sim)? == Said::Refused).then_some(())))
            .await
    }

    /// What radclient makes of a log-on at an access point by PAP.
    fn logs_on(&self, name: &str, password: &str) -> Result<String> {
        let question = self.file("question");
        let text = format!(
            "User-Name = \"{name}\", User-Password = \"{password}\", NAS-Identifier = \"oak\", \
             Calling-Station-Id = \"02-00-5E-20-00-01\", Message-Authenticator = 0x00\n"
        );
        fs::write(&question, text)?;
        let words = ["-x", "-r", "1", "-t", "2", "-f", &question, AAA, "auth", SECRET];
        // A refusal is an error to radclient.
        match self.services.run_tool("radclient", &words) {
            Ok(said) => Ok(said),
            Err(error) => Ok(format!("{error:#}")),
        }
    }

    /// How many bearers it knows.
    fn live(&self) -> Result<Option<u64>> {
        let config = self.file("core.toml");
        let said = run_tool(&self.homeward, &["core", "status", "--json", "--config", &config])?;
        let said: Value = serde_json::from_str(&said)?;
        Ok(said["portal"]["bearers"]["live"].as_u64())
    }

    /// Waits until it knows so many.
    async fn knows(&self, count: u64) -> Result<()> {
        let what = format!("{count} bearers");
        wait_for(&what, SOON, async || Ok((self.live()? == Some(count)).then_some(()))).await
    }
}

struct World {
    network: CellularNetwork,
    core: Core,
    _bridge: Process,
}

async fn world(lab: &Lab, plan: CellularPlan) -> Result<World> {
    let services = lab.namespace("services")?;
    let network = CellularNetwork::start(lab.folder(), &services, plan).await?;
    let core = Core::start(lab, &services).await?;
    let mut bridge = network.report_to(BEARERS, SECRET, &[])?;
    bridge.says("the GGSN is up", SOON).await?;
    Ok(World { network, core, _bridge: bridge })
}

fn phone(n: u8) -> Result<Device> {
    Device::create(&format!("phone{n}"), format!("35693803564380{n:02}").parse()?)
}

#[test]
fn who_attaches_has_credentials_in_hand_and_is_let_in_with_them() {
    lab(|lab| async move {
        let mut w = world(&lab, CellularPlan::simple()?).await?;
        let begin = now();
        let ue = w.network.attach(&phone(1)?, &Sim::numbered(1)?).await?;
        let attached = now();
        let (name, password) = w.core.is_given(&ue).await?;
        let in_hand = now();
        let accepted = wait_for("an Access-Accept", SOON, async || {
            let said = w.core.logs_on(&name, &password)?;
            Ok(said.contains("Received Access-Accept").then_some(()))
        });
        accepted.await?;
        println!(
            "attached after {:?}; credentials in hand after another {:?}; let in after another {:?}",
            attached - begin,
            in_hand - attached,
            now() - in_hand
        );
        assert_eq!(w.core.ask_as(&ue, ue.sim())?, Said::Given { name, password });
        ensure!(w.core.live()? == Some(1), "one bearer");
        Ok(())
    });
}

#[test]
fn nobody_is_given_what_is_anothers_from_whichever_address() {
    lab(|lab| async move {
        let mut w = world(&lab, CellularPlan::simple()?).await?;
        let one = w.network.attach(&phone(1)?, &Sim::numbered(1)?).await?;
        let two = w.network.attach(&phone(2)?, &Sim::numbered(2)?).await?;
        w.core.is_given(&one).await?;
        w.core.is_given(&two).await?;
        assert_eq!(w.core.ask_as(&one, two.sim())?, Said::Refused, "another's IMSI");
        assert_eq!(w.core.ask_as(&one, Sim::numbered(77)?)?, Said::Refused, "nobody's IMSI");
        let imei = "3569380356439901".parse()?;
        let to = SERVICES.to_string();
        let said = w.core.ask(one.namespace(), one.sim().imsi, imei, &to)?;
        assert_eq!(said, Said::Refused, "another's equipment");
        // The packet gateway carries nothing from an address that it did not give.
        one.namespace().ip(&format!("addr add {}/32 dev wwan0", two.address()))?;
        one.namespace().ip(&format!("addr del {}/32 dev wwan0", one.address()))?;
        one.namespace().ip("route add 0.0.0.0/0 dev wwan0 metric 1")?;
        let spoofed = w.core.ask_as(&one, two.sim());
        let why = format!("{:#}", spoofed.err().context("it was answered")?);
        ensure!(why.contains("curl"), "{why}");
        Ok(())
    });
}

#[test]
fn an_address_is_nobodys_once_its_device_has_detached_and_then_the_next_ones() {
    lab(|lab| async move {
        // One address to give.
        let plan = CellularPlan::with_pool(Ipv4Net::new(Ipv4Addr::new(10, 60, 0, 0), 30)?)?;
        let mut w = world(&lab, plan).await?;
        let one = w.network.attach(&phone(1)?, &Sim::numbered(1)?).await?;
        let (address, sim) = (one.address(), one.sim());
        let before = w.core.is_given(&one).await?;
        one.detach().await?;
        w.core.knows(0).await?;
        let two = w.network.attach(&phone(2)?, &Sim::numbered(2)?).await?;
        assert_eq!(two.address(), address);
        // Before and after the portal has heard of the new bearer.
        assert_eq!(w.core.ask_as(&two, sim)?, Said::Refused);
        let after = w.core.is_given(&two).await?;
        assert_eq!(w.core.ask_as(&two, sim)?, Said::Refused);
        assert_ne!(before, after);
        Ok(())
    });
}

#[test]
fn a_packet_gateway_that_restarts_takes_all_its_bearers_with_it() {
    lab(|lab| async move {
        let mut w = world(&lab, CellularPlan::simple()?).await?;
        let one = w.network.attach(&phone(1)?, &Sim::numbered(1)?).await?;
        w.core.is_given(&one).await?;
        // Gateways date by the second (Event-Timestamp): what began in that of an Accounting-On
        // began after it.
        let second = || SystemClock.unix().seconds();
        let began = second();
        wait_for("the next second", SOON, async || Ok((second() > began).then_some(()))).await?;
        w.network.kill_ggsn();
        w.network.restart_ggsn().await?;
        w.core.knows(0).await?;
        let two = w.network.attach(&phone(2)?, &Sim::numbered(2)?).await?;
        assert_eq!(one.address(), two.address());
        w.core.is_given(&two).await?;
        w.core.is_refused("the stale SIM to be refused", &two, one.sim()).await
    });
}

#[test]
fn a_core_that_was_killed_knows_the_bearers_when_it_is_back() {
    lab(|lab| async move {
        let mut w = world(&lab, CellularPlan::simple()?).await?;
        let ue = w.network.attach(&phone(1)?, &Sim::numbered(1)?).await?;
        let given = w.core.is_given(&ue).await?;
        w.core.process.kill();
        w.core.process.restart()?;
        let answered = wait_for("the portal", SOON, async || Ok(w.core.ask_as(&ue, ue.sim()).ok()));
        let (name, password) = given;
        assert_eq!(answered.await?, Said::Given { name, password });
        Ok(())
    });
}

#[test]
fn a_device_with_a_prefix_of_ipv6_is_known_by_it() {
    lab(|lab| async move {
        let mut w = world(&lab, CellularPlan::dual()?).await?;
        let internet = w.network.apns()[0].name.clone();
        let one = w.network.attach_v6(&phone(1)?, &Sim::numbered(1)?, &internet).await?;
        let two = w.network.attach_v6(&phone(2)?, &Sim::numbered(2)?, &internet).await?;
        let to = format!("[{SERVICES_V6}]");
        let ask = |ue: &Ue<Ipv6Addr>, sim: Sim| {
            w.core.ask(ue.namespace(), sim.imsi, ue.device().imei, &to)
        };
        for ue in [&one, &two] {
            // The other end has to be found on the link first.
            wait_for("credentials", SOON, async || match ask(ue, ue.sim()) {
                Ok(Said::Given { .. }) => Ok(Some(())),
                _ => Ok(None),
            })
            .await?;
        }
        assert_eq!(ask(&one, two.sim())?, Said::Refused);
        Ok(())
    });
}
