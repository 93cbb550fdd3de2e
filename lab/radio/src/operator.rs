//! An operator with the product itself: a core, its records, and agents beside gateways.
//!
//! Everything goes through the real binary: records by `homeward admin`, roles by `homeward core`
//! and `homeward gateway`.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use homeward_daemon::control::{Request, ask};
use homeward_model::Mac;
use homeward_net::wait::wait_for;
use homeward_net::{Namespace, Process};
use serde_json::Value;

use crate::RUN;
use crate::gateway::{AccessPoint, Gateway};
use crate::lab::{CORE, Lab};
use crate::security::{Login, Security};
use crate::station::Station;

/// How long a daemon may take to come up. Debug builds load over 9p, emulated.
const START: Duration = Duration::from_secs(30);
/// Roamers are put on this bridge of a gateway: its second, after the owner's LAN `br0`.
pub const ROAM_BRIDGE: &str = "br-roam";
/// The number of [`ROAM_BRIDGE`] among a gateway's bridges.
pub const ROAM_INDEX: u8 = 1;
/// The port of the control channel.
const CONTROLLER: u16 = 4719;
/// The port of RADIUS over TLS (RFC 6614).
const RADSEC: u16 = 2083;
/// The name that the core's certificate for 802.1X is for.
const EAP_NAME: &str = "eap.example.net";
/// The secret that all gateways of the lab share with the core, each in its own record.
pub(crate) const SECRET: &str = "a secret for the lab, and only for it";

/// An operator: one core on the wired Internet.
#[derive(Debug)]
pub struct Operator {
    lab: Lab,
    folder: PathBuf,
    core: Process,
}

/// A home network in the operator's records.
#[derive(Debug, Clone)]
pub struct Home {
    /// The account's name.
    pub account: String,
    /// The SSID.
    pub ssid: String,
    /// `wpa2-psk`, `wpa3-sae` or `wpa2-wpa3`.
    pub security: String,
}

impl Operator {
    /// Starts a core with one class of service, "standard", valid in the home's country.
    ///
    /// # Errors
    /// If the core does not come up.
    pub async fn start(lab: &Lab) -> Result<Self> {
        Self::start_with(lab, "").await
    }

    /// [`start`](Self::start), with further sections in the core's configuration.
    ///
    /// # Errors
    /// If the core does not come up.
    pub async fn start_with(lab: &Lab, more: &str) -> Result<Self> {
        let folder = Path::new(RUN).join("core");
        fs::create_dir_all(&folder)?;
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o700))?;
        let at = |file: &str| folder.join(file).display().to_string();
        let config = format!(
            "[store]\npath = \"{}\"\nkey_file = \"{}\"\n\
             [aaa]\nlisten = [\"{CORE}:1812\"]\nworkers = 1\n\
             [aaa.radsec]\nlisten = [\"{CORE}:{RADSEC}\"]\n\
             [aaa.eap]\ncertificate = \"{}\"\nkey = \"{}\"\n\
             [controller]\nlisten = [\"{CORE}:{CONTROLLER}\"]\n\
             [control]\nsocket = \"{}\"\n{more}",
            at("core.db"),
            at("core.keys"),
            at("eap.pem"),
            at("eap.key"),
            at("core.sock")
        );
        let made = rcgen::generate_simple_self_signed([EAP_NAME.to_owned()])?;
        private(&folder.join("eap.pem"), &made.cert.pem())?;
        private(&folder.join("eap.key"), &made.signing_key.serialize_pem())?;
        fs::write(folder.join("core.toml"), &config)?;
        private(&folder.join("secret"), SECRET)?;
        run_admin(lab, &folder, &["key", "create"]).await?;
        run_admin(lab, &folder, &["class", "create", "standard", "--coverage", "national"]).await?;
        let core =
            lab.homeward("core", &["core", "--config", &at("core.toml")], &Namespace::ROOT)?;
        let mut this = Self { lab: lab.clone(), folder, core };
        this.core.says("answering look-ups", START).await?;
        Ok(this)
    }

    /// A log-in of an account's; what a station has to know.
    ///
    /// # Errors
    /// If `admin` fails.
    pub async fn login(&self, account: &str, name: &str) -> Result<Login> {
        let made = self.admin(&["login", "create", name, "--account", account]).await?;
        let password = made["made_password"].as_str().context("no password was printed")?;
        Ok(Login {
            method: "PEAP",
            phase2: "auth=MSCHAPV2",
            identity: name.to_owned(),
            password: password.to_owned(),
            ca: self.folder.join("eap.pem").display().to_string(),
        })
    }

    /// The file with the certificate by which the core lets in at 802.1X, in PEM, and the name that
    /// it is for.
    pub fn eap_server(&self) -> (PathBuf, &'static str) {
        (self.folder.join("eap.pem"), EAP_NAME)
    }

    /// The core's process, to be killed, restarted, or read.
    pub fn core(&mut self) -> &mut Process {
        &mut self.core
    }

    /// Waits until the core answers, after a restart.
    ///
    /// # Errors
    /// If it does not.
    pub async fn core_is_up(&mut self) -> Result<()> {
        let socket = self.socket();
        wait_for("the core to be up", START, async || {
            Ok(ask(&socket, &Request::new("status")).await.is_ok().then_some(()))
        })
        .await
    }

    /// The core's status socket.
    pub fn socket(&self) -> PathBuf {
        self.folder.join("core.sock")
    }

    /// The core's status.
    ///
    /// # Errors
    /// If it does not answer.
    pub async fn status(&self) -> Result<Value> {
        Ok(ask(&self.socket(), &Request::new("status")).await?)
    }

    /// The core's metrics, as Prometheus reads them.
    ///
    /// # Errors
    /// If it does not answer.
    pub async fn metrics(&self) -> Result<String> {
        let text = ask(&self.socket(), &Request::new("metrics")).await?;
        Ok(text.as_str().unwrap_or_default().to_owned())
    }

    /// Waits until the controller knows which gateway a device is at.
    ///
    /// # Errors
    /// If it does not learn it within `limit`.
    pub async fn locates(&self, mac: Mac, limit: Duration) -> Result<()> {
        let mac = mac.full().to_string();
        wait_for("the controller to know where a device is", limit, async || {
            let status = self.status().await?;
            let mut devices = status["controller"]["devices"].as_array().into_iter().flatten();
            Ok(devices.any(|d| d["mac"] == *mac && d["gateway"].is_number()).then_some(()))
        })
        .await
    }

    /// `homeward admin … --json`: the printed document.
    ///
    /// # Errors
    /// If the command fails, with what it printed.
    pub async fn admin(&self, arguments: &[&str]) -> Result<Value> {
        run_admin(&self.lab, &self.folder, arguments).await
    }

    /// Makes a gateway known: what it may ask, and where it stands.
    ///
    /// # Errors
    /// If `admin` fails.
    pub async fn enrol(&self, gateway: &Gateway, place: &str, form: &str) -> Result<()> {
        let mac = gateway.radio().mac().full().to_string();
        let address = gateway.address().to_string();
        self.enrol_as(gateway.name(), &mac, place, Some(&address), form).await
    }

    /// Makes a gateway known that has no machine in the lab.
    ///
    /// # Errors
    /// If `admin` fails.
    pub async fn enrol_as(
        &self,
        name: &str,
        mac: &str,
        place: &str,
        address: Option<&str>,
        form: &str,
    ) -> Result<()> {
        let secret = self.folder.join("secret").display().to_string();
        let mut arguments = vec![
            "gateway",
            "create",
            name,
            "--mac",
            mac,
            "--place",
            place,
            "--operator",
            "example",
            "--lookup",
            form,
            "--secret-file",
            &secret,
        ];
        if let Some(address) = address {
            arguments.extend(["--address", address]);
        }
        self.admin(&arguments).await.map(drop)
    }

    /// Makes an account and its network, at home behind the gateway of that name.
    ///
    /// # Errors
    /// If `admin` fails.
    pub async fn home(
        &self,
        account: &str,
        gateway: &str,
        ssid: &str,
        security: &str,
    ) -> Result<Home> {
        self.admin(&["account", "create", account, "--class", "standard"]).await?;
        self.admin(&[
            "network",
            "create",
            "--account",
            account,
            "--ssid",
            ssid,
            "--security",
            security,
            "--gateway",
            gateway,
        ])
        .await?;
        Ok(Home { account: account.into(), ssid: ssid.into(), security: security.into() })
    }

    /// Makes a device with a key of its own, and returns what the station must be told.
    ///
    /// # Errors
    /// If `admin` fails.
    pub async fn device(&self, home: &Home, mac: Mac, passphrase: &str) -> Result<Security> {
        let file = self.folder.join("passphrase");
        private(&file, passphrase)?;
        let network = format!("{}/{}", home.account, home.ssid);
        let (mac, file) = (mac.full().to_string(), file.display().to_string());
        self.admin(&[
            "device",
            "create",
            "--network",
            &network,
            "--mac",
            &mac,
            "--passphrase-file",
            &file,
        ])
        .await?;
        Ok(match home.security.as_str() {
            "wpa3-sae" => Security::sae(passphrase),
            "wpa2-wpa3" => Security::Transition(passphrase.into()),
            _ => Security::wpa2(passphrase),
        })
    }

    /// Enrols a gateway for the control channel: what its configuration needs for that.
    ///
    /// # Errors
    /// If `admin` fails.
    pub async fn channel(&self, gateway: &Gateway) -> Result<String> {
        Ok(format!("[channel]\n{}", self.by_token(gateway.name()).await?))
    }

    /// Makes a device known that has a tunnel of its own to that home, and enrols it: what its
    /// configuration needs for that.
    ///
    /// # Errors
    /// If `admin` fails.
    pub async fn hybrid(&self, home: &Home, name: &str) -> Result<String> {
        let network = format!("{}/{}", home.account, home.ssid);
        let create = ["gateway", "create", name, "--device-of", &network];
        let create = [&create[..], &["--place", "gb/london", "--operator", "example"]].concat();
        self.admin(&create).await?;
        Ok(format!("[home]\n{}", self.by_token(name).await?))
    }

    /// A control channel, by a token for it.
    async fn by_token(&self, name: &str) -> Result<String> {
        let enrolled = self.admin(&["gateway", "enrol", name]).await?;
        let token = enrolled["token"].as_str().context("admin printed no token")?;
        let folder = Path::new(RUN).join(format!("{name}-channel"));
        fs::create_dir_all(&folder)?;
        let file = folder.join("token");
        private(&file, token)?;
        Ok(format!(
            "core = [\"{CORE}:{CONTROLLER}\"]\ndirectory = \"{}\"\ntoken_file = \"{}\"\n",
            folder.join("credential").display(),
            file.display()
        ))
    }

    /// Starts an agent beside a gateway's hostapd, and waits until it hears probes.
    ///
    /// # Errors
    /// If it does not come up.
    pub async fn agent(
        &self,
        gateway: &mut Gateway,
        ap: &AccessPoint,
        extra: &str,
    ) -> Result<Agent> {
        if !gateway.has_bridge(ROAM_BRIDGE) {
            gateway.bridge(ROAM_BRIDGE, ROAM_INDEX).await?;
        }
        let folder = ap.folder().join("agent");
        fs::create_dir_all(&folder)?;
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o700))?;
        let config = folder.join("gateway.toml");
        let socket = folder.join("gateway.sock");
        // Who is enrolled asks by TLS, with what it was enrolled with.
        let core = if extra.contains("[channel]") {
            format!("radsec = \"{CORE}:{RADSEC}\"")
        } else {
            let secret = self.folder.join("secret").display().to_string();
            format!("address = \"{CORE}:1812\"\nsecret = {{ file = \"{secret}\" }}")
        };
        // A log of every probe is for the few; under a flood it would be the load.
        let log = if extra.contains("[log]") { "" } else { "[log]\nfilter = \"debug\"\n" };
        let text = format!(
            "name = \"{}\"\n\
             [radio]\nhostapd = \"{}\"\ninterface = \"{}\"\nrun_directory = \"{}\"\n\
             [[core]]\n{core}\n\
             [disconnect]\nlisten = \"{}:3799\"\n\
             [control]\nsocket = \"{}\"\n\
             {extra}\n{log}",
            gateway.name(),
            ap.global_socket().display(),
            ap.interface(),
            folder.join("run").display(),
            gateway.address(),
            socket.display(),
        );
        let text = if extra.contains("[roam]") {
            text.replace("[roam]", &format!("[roam]\nbridge = \"{ROAM_BRIDGE}\""))
        } else {
            format!("{text}[roam]\nbridge = \"{ROAM_BRIDGE}\"\n")
        };
        fs::write(&config, text)?;
        let name = format!("{}-agent", gateway.name());
        let config = config.display().to_string();
        let process =
            self.lab.homeward(&name, &["gateway", "--config", &config], gateway.namespace())?;
        let mut agent = Agent { process, socket };
        agent.process.says("listening for probe requests", START).await?;
        agent.process.says("hostapd is ready", START).await?;
        Ok(agent)
    }
}

/// A gateway agent.
#[derive(Debug)]
pub struct Agent {
    process: Process,
    socket: PathBuf,
}

impl Agent {
    /// Its process, to be killed, restarted, or read.
    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }

    /// What `homeward gateway status --json` shows.
    ///
    /// # Errors
    /// If it does not answer.
    pub async fn status(&self) -> Result<Value> {
        Ok(ask(&self.socket, &Request::new("status")).await?)
    }

    /// Waits until the status is as `check` wants it.
    ///
    /// # Errors
    /// If `limit` is over first, with the last status.
    pub async fn status_where(
        &self,
        what: &str,
        limit: Duration,
        check: impl Fn(&Value) -> bool,
    ) -> Result<Value> {
        let mut last = Value::Null;
        wait_for(what, limit, async || {
            // It may be restarting.
            last = self.status().await.unwrap_or_default();
            Ok(check(&last).then(|| last.clone()))
        })
        .await
        .with_context(|| format!("the last status was {last:#}"))
    }

    /// The memory's entry of a device, in a status.
    pub fn entry(status: &Value, mac: Mac) -> Option<&Value> {
        let mac = mac.full().to_string();
        status["radio"]["memory"].as_array()?.iter().find(|entry| entry["mac"] == mac.as_str())
    }

    /// The VAPs that are up, in a status.
    pub fn vaps_up(status: &Value) -> usize {
        let vaps = status["radio"]["vaps"].as_array();
        vaps.map_or(0, |vaps| vaps.iter().filter(|vap| vap["state"] == "up").count())
    }
}

/// How many BSSs the access point's hostapd has, the owner's included.
///
/// # Errors
/// If hostapd does not answer.
pub async fn bss_count(ap: &AccessPoint) -> Result<usize> {
    let status = ap.control().request("STATUS", "").await?;
    Ok(status.lines().filter(|line| line.starts_with("bss[")).count())
}

/// Whether the station's supplicant says that it is connected to that BSSID's owner.
///
/// # Errors
/// If the supplicant does not answer.
pub async fn is_connected(station: &Station) -> Result<bool> {
    Ok(station.control()?.request("STATUS", "").await?.contains("wpa_state=COMPLETED"))
}

async fn run_admin(lab: &Lab, folder: &Path, arguments: &[&str]) -> Result<Value> {
    let config = folder.join("core.toml").display().to_string();
    let mut command = vec!["admin", "--config", &config];
    command.extend(arguments);
    command.push("--json");
    let output = lab.homeward_output(&command).await?;
    let shown = arguments.join(" ");
    ensure!(
        output.status.success(),
        "homeward admin {shown}: {}",
        String::from_utf8_lossy(&output.stderr).trim()
    );
    if output.stdout.is_empty() {
        return Ok(Value::Null);
    }
    serde_json::from_slice(&output.stdout)
        .with_context(|| format!("homeward admin {shown} printed no JSON"))
}

/// Writes a file that nobody else may read.
pub(crate) fn private(path: &Path, content: &str) -> Result<()> {
    fs::write(path, content)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o600))?;
    Ok(())
}
