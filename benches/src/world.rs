//! A datastore with many homes, a core process on it, and how much CPU a process has used.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use homeward_daemon::{SystemClock, SystemEntropy};
use homeward_model::{
    Clock, Coverage, DeviceKey, GatewayId, LookupForm, Mac, Psk, Secret, Security, ServiceTerms,
    Ssid, Status,
};
use homeward_store::{
    Accounts, Classes, Devices, Gateways, KeyRing, Logins, Networks, NewAccount, NewClass,
    NewDevice, NewGateway, NewLogin, NewNetwork, SqliteStore,
};
use tempfile::TempDir;

/// A log-in's name and password.
pub(crate) const LOGIN: (&str, &str) = ("phone@example.net", "a-password-that-a-machine-made-42");

pub(crate) const SECRET: &str = "a secret of the benchmarks";
pub(crate) const GATEWAY: &str = "bench";

/// The `n`th device's MAC.
pub(crate) fn mac(n: u32) -> Mac {
    let [a, b, c, d] = n.to_be_bytes();
    Mac::new([2, 0, a, b, c, d])
}

/// The `n`th home's SSID.
pub(crate) fn ssid(n: u32) -> Ssid {
    Ssid::try_from(format!("Home {n:06}").as_bytes()).unwrap_or_else(|_| unreachable!("11 octets"))
}

/// A core on a datastore of its own.
pub(crate) struct Core {
    pub(crate) address: SocketAddr,
    pub(crate) process: Process,
    /// Goes when the core goes.
    _folder: TempDir,
}

/// A process that ends with its handle.
pub(crate) struct Process(pub(crate) Child);

impl Drop for Process {
    fn drop(&mut self) {
        // Both fail only if it is gone already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Process {
    /// CPU time used so far, user and system.
    pub(crate) fn cpu(&self) -> Result<Duration> {
        cpu(self.0.id())
    }

    /// Resident memory, in MB.
    pub(crate) fn resident(&self) -> Result<f64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.0.id()))?;
        let line = status.lines().find(|l| l.starts_with("VmRSS:")).context("no VmRSS")?;
        let kb: f64 = line.split_whitespace().nth(1).context("no figure")?.parse()?;
        Ok(kb * 1024.0 / 1e6)
    }
}

/// CPU time that a process has used so far, user and system.
pub(crate) fn cpu(pid: u32) -> Result<Duration> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let fields: Vec<&str> =
        stat.rsplit_once(") ").context("/proc has another form")?.1.split(' ').collect();
    let ticks =
        |at: usize| -> Result<u64> { Ok(fields.get(at).context("too few fields")?.parse()?) };
    // utime and stime are the 14th and 15th of stat; the first two are cut off. 100 a second on
    // every Linux that user space can see (USER_HZ).
    Ok(Duration::from_millis((ticks(11)? + ticks(12)?) * 10))
}

/// The binary of that profile.
pub(crate) fn binary(profile: &str) -> Result<PathBuf> {
    let path = Path::new("target").join(profile).join("homeward");
    if !path.exists() {
        bail!("{} is not built; `make bench` does that", path.display());
    }
    Ok(path)
}

impl Core {
    /// Starts a core that knows `homes` homes with a device each, and one gateway on loopback.
    pub(crate) fn start(homes: u32) -> Result<Self> {
        Self::start_with(homes, "")
    }

    /// The same with more of `[aaa]`. The first account has the log-in of [`LOGIN`].
    pub(crate) fn start_with(homes: u32, more: &str) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let at = |file: &str| folder.path().join(file);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(fill(&at("core.db"), &at("core.keys"), homes))?;
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o700))?;
        fs::write(
            at("core.toml"),
            format!(
                "[store]\npath = {:?}\nkey_file = {:?}\n[aaa]\nlisten = [\"127.0.0.1:0\"]\n\
                 {more}\n[control]\nsocket = {:?}\n[log]\nfilter = \"info\"\n",
                at("core.db"),
                at("core.keys"),
                at("core.sock")
            ),
        )?;
        let mut child = Command::new(binary("release")?)
            .args(["core", "--config"])
            .arg(at("core.toml"))
            .stderr(Stdio::piped())
            .spawn()?;
        let stderr = child.stderr.take().context("no stderr")?;
        let process = Process(child);
        let mut lines = BufReader::new(stderr).lines();
        let address = loop {
            let line = lines.next().context("the core ended before it answered")??;
            if line.contains("answering look-ups") {
                let (_, address) = line.split_once("address=").context("no address in the log")?;
                break address.trim().parse()?;
            }
        };
        // Keep reading, or the core would stop at a full pipe.
        std::thread::spawn(move || lines.for_each(drop));
        Ok(Self { address, process, _folder: folder })
    }
}

async fn fill(path: &Path, keys: &Path, homes: u32) -> Result<()> {
    let ring = KeyRing::generate(keys, &mut SystemEntropy::new(), SystemClock.unix())?;
    let store =
        SqliteStore::open(path, ring, Arc::new(SystemClock), Box::new(SystemEntropy::new()))
            .await?;
    let class = store
        .create_class(&NewClass {
            name: "standard".parse()?,
            coverage: Coverage::Everywhere,
            terms: ServiceTerms::default(),
        })
        .await?;
    let gateway = |name: &str, mac: Mac, address: Option<&str>| -> Result<NewGateway> {
        Ok(NewGateway {
            name: name.parse()?,
            mac,
            place: "gb/london".parse()?,
            operator: "example".parse()?,
            address: address.map(str::to_owned),
            radius_secret: Secret::new(SECRET),
            lookup: LookupForm::Homeward,
            status: Status::Active,
        })
    };
    store
        .create_gateway(&gateway(GATEWAY, Mac::new([2, 1, 0, 0, 0, 1]), Some("127.0.0.1"))?)
        .await?;
    let home = store.create_gateway(&gateway("home", Mac::new([2, 1, 0, 0, 0, 2]), None)?).await?;
    let home: GatewayId = home.id;
    let mut devices = Vec::new();
    for n in 0..homes {
        let account = store
            .create_account(&NewAccount {
                name: format!("account-{n}").parse()?,
                class: class.id,
                status: Status::Active,
            })
            .await?;
        let network = store
            .create_network(&NewNetwork {
                account: account.id,
                gateway: Some(home),
                ssid: ssid(n),
                security: Security::Wpa2Psk,
                status: Status::Active,
            })
            .await?;
        let [a, b, c, d] = n.to_be_bytes();
        devices.push(NewDevice {
            network: network.id,
            mac: mac(n),
            key: Some(DeviceKey::Psk(Psk::new(std::array::from_fn(|i| {
                [a, b, c, d, 0x5c, 7, 9, 1][i % 8]
            })))),
            label: String::new(),
            status: Status::Active,
        });
    }
    let account = store.require_account(&"account-0".parse()?).await?.id;
    let (name, password) = LOGIN;
    store
        .create_login(&NewLogin {
            account,
            name: name.parse()?,
            verifier: homeward_aaa::password::machine_made(password),
            mac: None,
            expires: None,
            label: String::new(),
            status: Status::Active,
        })
        .await?;
    store.create_devices(&devices).await?;
    store.close().await;
    Ok(())
}
