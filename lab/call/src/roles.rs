//! Homeward's own: security modules, a core with one in it, a guard.

use std::fs;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use homeward_daemon::control::{Request, ask};
use homeward_daemon::{SystemEntropy, private};
use homeward_handoff::{Identity, Line, key_file};
use homeward_keychain::{Device, RootKey};
use homeward_model::{Entropy, Nai, Name};
use homeward_net::{Namespace, Process};
use nix::sys::signal::Signal;
use serde_json::Value;

use crate::{Folders, PATIENCE, run, text, write};

/// What networks know the device as; its user's name at the core, too.
pub const WHO: &str = "d1@example.net";
/// Of the core's RADIUS clients.
pub(crate) const SECRET: &str = "sixteen characters, and more";
/// Whom the device logs on to by EAP.
pub(crate) const AAA: &str = "eap.example.net";

/// What a party is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A network's security module.
    Module,
    /// A core, which has its network's module within, and lets in by EAP.
    Core,
    /// A server's guard.
    Guard,
}

impl Kind {
    /// The role, as `homeward` calls it.
    pub fn role(self) -> &'static str {
        match self {
            Self::Module => "security-module",
            Self::Core => "core",
            Self::Guard => "guard",
        }
    }
}

/// Who takes part in hand-offs. All are in one namespace, and reach each other by its loopback.
#[derive(Debug, Clone)]
pub struct Party {
    /// The network's or the server's name.
    pub name: &'static str,
    /// What it is.
    pub kind: Kind,
    /// Where it answers the others, on 127.0.0.1.
    pub peers: u16,
    /// Where it answers devices.
    pub devices: (Ipv4Addr, u16),
    /// More of its configuration, whole tables.
    pub more: String,
}

/// The RADIUS side of a core.
#[derive(Debug, Clone)]
pub struct Aaa {
    /// Where it answers.
    pub listen: Vec<Ipv4Addr>,
    /// Its clients: names of lower-case letters.
    pub clients: Vec<(&'static str, Ipv4Addr)>,
}

/// All that take part.
#[derive(Debug)]
pub struct Roles {
    folder: PathBuf,
    homeward: PathBuf,
    parties: Vec<Party>,
    processes: Vec<Process>,
    root: RootKey,
    password: String,
}

impl Roles {
    /// Starts them in a namespace, by the binary `homeward`. The folder of their state is for its owner's eyes
    /// only then. The device is enrolled with all networks, and has a log-in at
    /// the core.
    ///
    /// # Errors
    /// If one does not come up.
    pub async fn start(
        folders: Folders<'_>,
        homeward: &Path,
        namespace: &Namespace,
        parties: &[Party],
        aaa: &Aaa,
    ) -> Result<Self> {
        let folder = folders.state;
        private::directory(folder)?;
        let mut roles = Self {
            folder: folder.to_owned(),
            homeward: std::path::absolute(homeward)?,
            parties: parties.to_vec(),
            processes: Vec::new(),
            root: RootKey::new(SystemEntropy::new().octets()),
            password: String::new(),
        };
        for party in parties {
            roles.configure(party, aaa)?;
        }
        for party in parties {
            if party.kind == Kind::Core {
                roles.password = roles.operate(party, aaa)?;
            }
            let config = roles.config(party.name);
            let words = [text(&roles.homeward)?, party.kind.role(), "--config", text(&config)?];
            roles.processes.push(Process::start(folders.logs, party.name, namespace, &words)?);
        }
        for (process, party) in roles.processes.iter_mut().zip(parties) {
            process.makes(&folder.join(format!("{}.sock", party.name)), PATIENCE).await?;
        }
        roles.enrol().await?;
        Ok(roles)
    }

    /// Those that take part.
    pub fn parties(&self) -> &[Party] {
        &self.parties
    }

    /// The device's log-in at the core, which nobody else is to know.
    pub fn password(&self) -> &str {
        &self.password
    }

    /// The root key that device and networks derive theirs from.
    pub fn root(&self) -> &RootKey {
        &self.root
    }

    /// A party's configuration.
    pub fn config(&self, name: &str) -> PathBuf {
        self.folder.join(format!("{name}.toml"))
    }

    /// A party's control socket.
    pub fn socket(&self, name: &str) -> PathBuf {
        self.folder.join(format!("{name}.sock"))
    }

    /// The certificate that the core's EAP answers under.
    pub fn eap_trust(&self) -> PathBuf {
        self.folder.join("eap/trust.pem")
    }

    fn process(&mut self, name: &str) -> Result<&mut Process> {
        let process = self.processes.iter_mut().find(|process| process.name() == name);
        process.with_context(|| format!("no {name}"))
    }

    fn party(&self, name: &str) -> Result<&Party> {
        self.parties.iter().find(|party| party.name == name).with_context(|| format!("no {name}"))
    }

    /// `homeward` with those words, run to its end; what it said.
    ///
    /// # Errors
    /// If it fails; what it complains of.
    pub fn homeward(&self, words: &[&str]) -> Result<String> {
        run(Command::new(&self.homeward).args(words))
    }

    /// `homeward ROLE WORDS --config FILE` of one of them.
    ///
    /// # Errors
    /// As [`homeward`](Self::homeward).
    pub fn of(&self, name: &str, words: &[&str]) -> Result<String> {
        let config = self.config(name);
        let role = self.party(name)?.kind.role();
        self.homeward(&[&[role], words, &["--config", text(&config)?]].concat())
    }

    /// What one of them says of itself.
    ///
    /// # Errors
    /// If it does not.
    pub fn status(&self, name: &str) -> Result<Value> {
        Ok(serde_json::from_str(&self.of(name, &["status", "--json"])?)?)
    }

    /// Ends one of them in good order, and starts it again.
    ///
    /// # Errors
    /// If it does not end, or not come up.
    pub async fn restart(&mut self, name: &str) -> Result<()> {
        let socket = self.socket(name);
        let process = self.process(name)?;
        process.stop(PATIENCE).await?;
        process.restart()?;
        process.makes(&socket, PATIENCE).await
    }

    /// One of them dies.
    ///
    /// # Errors
    /// If there is none of that name.
    pub fn kill(&mut self, name: &str) -> Result<()> {
        self.process(name)?.kill();
        Ok(())
    }

    /// One of them is told that another is not to be trusted any more.
    ///
    /// # Errors
    /// If it does not run, or does not know that one.
    pub fn revoke(&mut self, teller: &str, name: &str) -> Result<()> {
        let config = self.config(teller);
        let told = fs::read_to_string(&config)?;
        let peer = format!("name = {name:?}\nkey");
        let (before, after) = told.split_once(&peer).with_context(|| format!("no {name}"))?;
        let (own, others) = before.split_once("[[").context("no peers")?;
        let revoked = format!("{own}epoch = 1\n[[{others}revoked = true\n{peer}{after}");
        write(&config, &revoked)?;
        self.process(teller)?.signal(Signal::SIGHUP)
    }

    /// All that one of them has printed.
    ///
    /// # Errors
    /// If there is none of that name.
    pub fn log(&self, name: &str) -> Result<String> {
        let process = self.processes.iter().find(|process| process.name() == name);
        Ok(process.with_context(|| format!("no {name}"))?.log())
    }

    /// A session that has been nowhere.
    ///
    /// # Errors
    /// Never.
    pub fn session(&self, server: &str) -> Result<Device> {
        Ok(Device::new(SystemEntropy::new().octets(), server.parse()?, true)?)
    }

    /// A device hops to a network by itself, from a namespace.
    ///
    /// # Errors
    /// If the network does not let it in.
    pub fn hop(&self, from: &Namespace, device: &mut Device, network: &str) -> Result<()> {
        let at = self.party(network)?.devices;
        let (name, who): (Name, Nai) = (network.parse()?, WHO.parse()?);
        let key = self.root.device_key(&name, 1);
        from.enter(|| {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(async {
                let mut line = Line::call(at.into(), PATIENCE).await?;
                Ok(line.hop(device, &who, &key, false, &mut SystemEntropy::new()).await?)
            })
        })
    }

    /// The device's root key, in a file.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn root_file(&self) -> Result<PathBuf> {
        let file = self.folder.join("device.root");
        write(&file, &key_file::text(self.root.expose()))?;
        Ok(file)
    }

    async fn enrol(&self) -> Result<()> {
        for party in self.parties.iter().filter(|party| party.kind != Kind::Guard) {
            let key = self.root.device_key(&party.name.parse()?, 1);
            let request = Request::new("enrol").with("device", WHO).with("version", 1);
            let request = request.with("key", key_file::text(key.expose()).as_str());
            let enrolled = ask(&self.socket(party.name), &request).await;
            enrolled.with_context(|| format!("{} does not enrol", party.name))?;
        }
        Ok(())
    }

    /// A party's configuration: who the others are is known by their keys.
    fn configure(&self, party: &Party, aaa: &Aaa) -> Result<()> {
        let within = if party.kind == Kind::Core { "security_module." } else { "" };
        let file = |name: &str, what: &str| self.folder.join(format!("{name}.{what}"));
        let (name, (host, port)) = (party.name, party.devices);
        let mut text = format!(
            "[{within}handoff]\nname = {name:?}\nlisten = [\"127.0.0.1:{}\"]\n\
             devices = [\"{host}:{port}\"]\nkey_file = {:?}\nstate = {:?}\nstate_key_file = {:?}\n",
            party.peers,
            file(name, "key"),
            file(name, "db"),
            file(name, "db-key"),
        );
        for other in self.parties.iter().filter(|other| other.name != name) {
            let key_file = file(other.name, "key");
            let key = Identity::load(other.name.parse()?, &key_file, &mut SystemEntropy::new())?;
            text += &format!(
                "[[{within}handoff.peers]]\nname = {:?}\nkey = \"{}\"\naddress = \"127.0.0.1:{}\"\n",
                other.name,
                key.key(),
                other.peers
            );
        }
        if party.kind == Kind::Core {
            let own = |name: &str| self.folder.join(name);
            let eap = own("eap/server.pem");
            let listen: Vec<String> = aaa.listen.iter().map(|at| format!("{at}:1812")).collect();
            text += &format!(
                "[store]\npath = {:?}\nkey_file = {:?}\n[aaa]\nlisten = {listen:?}\nworkers = 1\n\
                 [aaa.eap]\ncertificate = {eap:?}\nkey = {eap:?}\nmethods = [\"ttls\"]\n\
                 [controller]\nlisten = []\n",
                own("core.db"),
                own("core.keys"),
            );
        }
        text += &format!("{}\n[control]\nsocket = {:?}\n", party.more, self.socket(name));
        write(&self.config(name), &text)
    }

    /// What an operator does before a core is started; the device's password.
    fn operate(&self, core: &Party, aaa: &Aaa) -> Result<String> {
        let config = self.config(core.name);
        let config = text(&config)?;
        let admin =
            |words: &[&str]| self.homeward(&[&["admin", "--config", config], words].concat());
        let (secret, eap) = (self.folder.join("secret"), self.folder.join("eap"));
        write(&secret, SECRET)?;
        admin(&["key", "create"])?;
        fs::create_dir(&eap)?;
        admin(&["pki", "create", "--name", "Lab", "--server", AAA, "--directory", text(&eap)?])?;
        admin(&["class", "create", "standard", "--coverage", "everywhere"])?;
        for (n, (name, address)) in aaa.clients.iter().enumerate() {
            let mac = format!("02:00:5e:10:00:{:02x}", n + 2);
            let (address, secret) = (address.to_string(), text(&secret)?);
            let words = ["gateway", "create", name, "--mac", &mac, "--place", "gb/london"];
            let more = ["--operator", "example", "--address", &address, "--secret-file", secret];
            admin(&[&words[..], &more].concat())?;
        }
        admin(&["account", "create", "smith", "--class", "standard"])?;
        let said = admin(&["login", "create", WHO, "--account", "smith"])?;
        let password =
            said.lines().find_map(|line| line.strip_prefix("password, shown this once: "));
        Ok(password.with_context(|| format!("no password in {said:?}"))?.to_owned())
    }
}
