//! The guest's side of a scenario: nodes, joined as the crate's drawing shows.

use std::fs;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context, Result, ensure};
use homeward_net::place::profile_dir;
use homeward_net::tool::ip;
use homeward_net::{Namespace, Process, Timeline};
use serde::Serialize;

use crate::air::{Air, Flood};
use crate::gateway::{Gateway, START};
use crate::radios::Radio;
use crate::station::Station;
use crate::{OUT, RUN};

/// The core's address on the wired Internet.
pub const CORE: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);

/// A host on the Internet with a public address (RFC 5737): those who break out locally are not let
/// at private ones.
pub const ELSEWHERE: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 1);

/// The name of the bridge that is the wired Internet.
const INTERNET: &str = "inet";

/// A running lab. Clones are the same lab.
#[derive(Debug, Clone)]
pub struct Lab {
    shared: Arc<Shared>,
    timeline: Timeline,
}

#[derive(Debug)]
struct Shared {
    radios: u32,
    radios_taken: AtomicU32,
    gateways: AtomicU32,
}

impl Lab {
    /// Makes the wired Internet. The radios are there already.
    pub(crate) fn start(radios: u32) -> Result<Self> {
        fs::create_dir_all(RUN)?;
        ip(&format!(
            "link add {INTERNET} type bridge\n\
             link set {INTERNET} up\n\
             addr add {CORE}/24 dev {INTERNET}\n\
             addr add {ELSEWHERE}/32 dev {INTERNET}"
        ))?;
        let shared =
            Shared { radios, radios_taken: AtomicU32::new(0), gateways: AtomicU32::new(0) };
        Ok(Self { shared: Arc::new(shared), timeline: Timeline::start() })
    }

    /// Makes a gateway: a namespace with a radio, an uplink `eth0` to the Internet and a LAN
    /// bridge `br0` with a DHCP server. No access point is on the air yet.
    ///
    /// # Errors
    /// If all radios are taken or a set-up command fails.
    pub async fn gateway(&self, name: &str) -> Result<Gateway> {
        let number = self.shared.gateways.fetch_add(1, Ordering::Relaxed);
        let namespace = Namespace::named(name)?;
        let radio = self.radio(&namespace)?;
        // A cell of its own: gateways do not hear each other, stations hear whom they are near.
        radio.set_cells(1 << number)?;
        Gateway::start(name, number, namespace, radio, INTERNET).await
    }

    /// Makes a station: a namespace with a radio, nothing else. It hears every gateway until
    /// [`Station::near`] says otherwise.
    ///
    /// # Errors
    /// If all radios are taken or a set-up command fails.
    pub fn station(&self, name: &str) -> Result<Station> {
        let namespace = Namespace::named(name)?;
        let radio = self.radio(&namespace)?;
        radio.set_cells(u32::MAX)?;
        Station::new(name, radio)
    }

    /// A capture of all that any radio sends, from now on.
    ///
    /// # Errors
    /// If the kernel refuses the capture.
    pub fn air(&self) -> Result<Air> {
        Air::open()
    }

    /// Keeps all frames of all radios in a capture file beside the logs, until dropped.
    ///
    /// # Errors
    /// If tcpdump does not start.
    pub async fn record(&self, file: &str) -> Result<Process> {
        ip("link set hwsim0 up")?;
        let path = Path::new(OUT).join(file);
        let path = path.to_str().context("the file's name is not UTF-8")?;
        let command = ["tcpdump", "-Z", "root", "-i", "hwsim0", "-U", "-w", path];
        let mut tcpdump = Process::start(Path::new(OUT), "tcpdump", &Namespace::ROOT, &command)?;
        tcpdump.says("listening on", START).await?;
        Ok(tcpdump)
    }

    /// Makes a radio that sends `per_second` probe requests a second on `channel` (1 to 13), each
    /// from a random address for a random SSID, the same ones for the same `seed`; until dropped.
    ///
    /// # Errors
    /// If all radios are taken or the kernel refuses the injection.
    pub fn flood(&self, channel: u8, per_second: u32, seed: u64) -> Result<Flood> {
        let namespace = Namespace::named("flood")?;
        let radio = self.radio(&namespace)?;
        radio.set_cells(u32::MAX)?;
        Flood::start(radio, channel, per_second, seed)
    }

    /// Runs the product's own binary, out of the folder that cargo built this test in, with these
    /// arguments in `namespace`; its output goes to `/out/NAME.log`.
    ///
    /// # Errors
    /// If the binary is not built.
    pub fn homeward(
        &self,
        name: &str,
        arguments: &[&str],
        namespace: &Namespace,
    ) -> Result<Process> {
        let binary = homeward_binary()?;
        let mut command = vec![binary.to_str().context("the target folder's name is not UTF-8")?];
        command.extend(arguments);
        Process::start(Path::new(OUT), name, namespace, &command)
    }

    /// Runs the product's own binary in the root namespace to its end; returns what it printed.
    ///
    /// # Errors
    /// If the binary is not built or cannot be run.
    pub async fn homeward_output(&self, arguments: &[&str]) -> Result<std::process::Output> {
        let binary = homeward_binary()?;
        let mut command = tokio::process::Command::new(&binary);
        command.args(arguments).env_remove(crate::scenario::IN_GUEST);
        command.output().await.with_context(|| format!("cannot run {}", binary.display()))
    }

    /// The marks of this run; see [`Timeline`].
    pub fn timeline(&self) -> &Timeline {
        &self.timeline
    }

    /// Keeps a file, readable on the host beside the logs; returns its path in the guest.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn save(&self, file: &str, content: impl AsRef<[u8]>) -> Result<PathBuf> {
        let path = Path::new(OUT).join(file);
        fs::write(&path, content).with_context(|| format!("cannot write {}", path.display()))?;
        Ok(path)
    }

    /// [`save`](Self::save)s a value as JSON.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn save_json(&self, file: &str, value: &impl Serialize) -> Result<PathBuf> {
        self.save(file, serde_json::to_vec_pretty(value)?)
    }

    fn radio(&self, namespace: &Namespace) -> Result<Radio> {
        let index = self.shared.radios_taken.fetch_add(1, Ordering::Relaxed);
        ensure!(
            index < self.shared.radios,
            "all {} radios are taken: ask for more with Scenario::radios",
            self.shared.radios
        );
        Radio::assign(index, namespace)
    }
}

/// The path of the product's binary.
fn homeward_binary() -> Result<PathBuf> {
    let test = std::env::current_exe().context("cannot find the test's own binary")?;
    let binary = profile_dir(&test)
        .with_context(|| format!("{} is not in a cargo target folder", test.display()))?
        .join("homeward");
    ensure!(
        binary.exists(),
        "{} is not there: build it first, with `cargo build --package homeward`",
        binary.display()
    );
    Ok(binary)
}
