//! strongSwan at both ends of a tunnel to an ePDG, by the files in `packaging/edge`.

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use homeward_charon::{Charon, Section};
use homeward_net::wait::wait_for;
use homeward_net::{Namespace, Process};
use serde_json::{Value, json};

use crate::roles::{AAA, SECRET, WHO};
use crate::{Folders, PATIENCE, run, text, with_values, write};

/// An ePDG.
#[derive(Debug, Clone)]
pub struct Epdg {
    /// What its certificate says.
    pub name: &'static str,
    /// Where devices reach it.
    pub address: Ipv4Addr,
    /// The core that it asks, by RADIUS.
    pub core: Ipv4Addr,
    /// The addresses that it gives.
    pub pool: &'static str,
    /// A program of charon's `updown` plugin, which hears of each tunnel.
    pub updown: Option<PathBuf>,
}

impl Epdg {
    /// The connection to it, as `[handoff.tunnels.connection]` has it: for that address, if the pool has
    /// it, and to reach `behind` by it.
    pub fn connection(&self, address: Ipv4Addr, behind: &str) -> Value {
        json!({
            "version": 2,
            "remote_addrs": [self.address.to_string()],
            "vips": [address.to_string()],
            "mobike": true,
            "local": { "auth": "eap-ttls", "id": WHO, "eap_id": WHO, "aaa_id": AAA },
            "remote": { "auth": "pubkey", "id": self.name },
            "children": { "home": { "remote_ts": [behind] } },
        })
    }
}

/// A charon that runs, and its files.
#[derive(Debug)]
pub struct Strongswan {
    /// The daemon.
    pub process: Process,
    folder: PathBuf,
}

/// Where a charon of that folder has its VICI socket.
pub fn vici(folder: &Path) -> PathBuf {
    folder.join("vici")
}

/// Where an ePDG of that folder has its certificate.
pub fn certificate(folder: &Path) -> PathBuf {
    folder.join("x509/epdg.pem")
}

const LOG: &str = "charon {\n filelog {\n stderr {\n default = 1\n }\n }\n}\n";

impl Strongswan {
    /// Starts an ePDG, its files in the folder of its state.
    ///
    /// # Errors
    /// If it does not come up.
    pub async fn epdg(folders: Folders<'_>, namespace: &Namespace, epdg: &Epdg) -> Result<Self> {
        let folder = folders.state;
        let core = format!("address = {}", epdg.core);
        let daemon = daemon(folder)?.replace("address = 127.0.0.1", &core);
        let address = epdg.address.to_string();
        let mut values = vec![
            ("192.0.2.1", address.as_str()),
            ("10.45.1.0/24", epdg.pool),
            ("epdg.example.net", epdg.name),
        ];
        let hears;
        if let Some(program) = &epdg.updown {
            hears = format!("local_ts = 0.0.0.0/0\n        updown = {}", text(program)?);
            values.push(("local_ts = 0.0.0.0/0", &hears));
        }
        write(&folder.join("strongswan.conf"), &(daemon + LOG))?;
        write(&folder.join("swanctl.conf"), &with_values("swanctl.conf", &values)?)?;
        let mut parameters = rcgen::CertificateParams::new(vec![epdg.name.to_owned()])?;
        parameters.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let key = rcgen::KeyPair::generate()?;
        write(&certificate(folder), &parameters.self_signed(&key)?.pem())?;
        write(&folder.join("private/epdg.key"), &key.serialize_pem())?;
        Self::start(folders, namespace).await
    }

    /// Starts a device's charon, its files in the folder of its state: it trusts those certificates, and
    /// logs on with that password.
    ///
    /// # Errors
    /// If it does not come up.
    pub async fn device(
        folders: Folders<'_>,
        namespace: &Namespace,
        trusted: &[PathBuf],
        password: &str,
    ) -> Result<Self> {
        let folder = folders.state;
        let load = "eap-identity eap-ttls eap-mschapv2 md5";
        let daemon = daemon(folder)?.replace("eap-identity eap-radius attr", load);
        let mut authorities = String::new();
        for (n, file) in trusted.iter().enumerate() {
            authorities += &format!("trusted{n} {{\ncacert = {}\n}}\n", text(file)?);
        }
        write(&folder.join("strongswan.conf"), &(daemon + LOG))?;
        write(
            &folder.join("swanctl.conf"),
            &format!(
                "authorities {{\n{authorities}}}\n\
                 secrets {{\neap-1 {{\nid = {WHO}\nsecret = \"{password}\"\n}}\n}}\n"
            ),
        )?;
        Self::start(folders, namespace).await
    }

    async fn start(folders: Folders<'_>, namespace: &Namespace) -> Result<Self> {
        let Folders { state: folder, logs } = folders;
        let conf = format!("STRONGSWAN_CONF={}", text(&folder.join("strongswan.conf"))?);
        // Its pid file and the like are its own.
        let own = "mount -t tmpfs none /run && exec /usr/lib/ipsec/charon";
        let words = ["env", &conf, "unshare", "--mount", "sh", "-c", own];
        let name = format!("charon-{}", namespace.name().unwrap_or("root"));
        let process = Process::start(logs, &name, namespace, &words)?;
        let mut this = Self { process, folder: folder.to_owned() };
        this.is_up().await?;
        Ok(this)
    }

    /// Waits until it answers, and has it read what is in its file.
    ///
    /// # Errors
    /// If it does not answer, or its file is wrong.
    pub async fn is_up(&mut self) -> Result<()> {
        let charon = self.charon();
        wait_for("charon", PATIENCE, async || Ok(charon.version().await.ok())).await?;
        self.reads_its_file()
    }

    /// Has it read its file again, as an operator does who has changed it.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn reads_its_file(&self) -> Result<()> {
        let mut swanctl = Command::new("swanctl");
        swanctl.args(["--load-all", "--noprompt", "--file"]).arg(self.folder.join("swanctl.conf"));
        swanctl.arg("--uri").arg(format!("unix://{}", text(&vici(&self.folder))?));
        let said = run(&mut swanctl)?;
        // It looks for files that there need not be, and for plugins that need not be installed.
        let expected =
            |line: &str| ["opening directory", "plugin "].iter().any(|l| line.starts_with(l));
        let wrong = said.lines().find(|line| line.contains("failed") && !expected(line));
        ensure!(wrong.is_none(), "{said}");
        Ok(())
    }

    /// Its VICI socket.
    pub fn charon(&self) -> Charon {
        Charon::new(vici(&self.folder), PATIENCE)
    }

    /// All that it has said.
    pub fn said(&self) -> String {
        self.process.log()
    }

    /// The preshared keys that it knows by name.
    ///
    /// # Errors
    /// If it does not answer.
    pub async fn known(&self) -> Result<Vec<String>> {
        let shared = self.charon().shared().await?;
        Ok(shared.into_iter().filter(|id| id != "eap-1").collect())
    }
}

/// The daemon's file, with that folder's socket in it.
fn daemon(folder: &Path) -> Result<String> {
    let socket = format!("unix://{}", text(&vici(folder))?);
    let own =
        [("unix:///run/charon.vici", socket.as_str()), ("the secret that the core made", SECRET)];
    with_values("strongswan.conf", &own)
}

/// A section, as JSON has it.
///
/// # Errors
/// If it is no object.
pub fn section(of: &Value) -> Result<Section> {
    let text = |value: &Value| match value {
        Value::String(text) => text.clone(),
        Value::Bool(is) => if *is { "yes" } else { "no" }.to_owned(),
        other => other.to_string(),
    };
    let of = of.as_object().context("a section is an object")?;
    of.iter().try_fold(Section::default(), |all, (name, value)| {
        Ok(match value {
            Value::Object(_) => all.section(name, section(value)?),
            Value::Array(values) => all.list(name, values.iter().map(text)),
            value => all.value(name, text(value)),
        })
    })
}
