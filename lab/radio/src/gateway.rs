//! A gateway's machine, and the access points on it.

use std::fmt::Write as _;
use std::fs;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use homeward_model::Mac;
use homeward_net::dhcp::{DhcpConfig, DhcpServer};
use homeward_net::tool::ip;
use homeward_net::{Namespace, Process};

use crate::control::Control;
use crate::radios::Radio;
use crate::security::Security;
use crate::{OUT, RUN};

/// How long a daemon may take to come up.
pub(crate) const START: Duration = Duration::from_secs(20);

/// A gateway: a namespace with a radio, an uplink and a LAN.
#[derive(Debug)]
pub struct Gateway {
    name: String,
    number: u8,
    namespace: Namespace,
    radio: Radio,
    dhcp: Vec<DhcpServer>,
    bridges: Vec<String>,
}

impl Gateway {
    pub(crate) async fn start(
        name: &str,
        number: u32,
        namespace: Namespace,
        radio: Radio,
        internet: &str,
    ) -> Result<Self> {
        let number = u8::try_from(number + 1).context("too many gateways")?;
        let mut gateway = Self {
            name: name.to_owned(),
            number,
            namespace,
            radio,
            dhcp: Vec::new(),
            bridges: Vec::new(),
        };
        ip(&format!(
            "link add up{number} type veth peer name eth0 netns {name}\n\
             link set up{number} master {internet} up\n\
             route add 10.{number}.0.0/16 via {}",
            gateway.address()
        ))?;
        gateway.namespace.ip(&format!(
            "link set lo up\n\
             link set eth0 up\n\
             addr add {}/24 dev eth0\n\
             route add default via {}",
            gateway.address(),
            crate::lab::CORE
        ))?;
        gateway.namespace.enter(|| {
            fs::write("/proc/sys/net/ipv4/ip_forward", "1").context("cannot forward packets")
        })?;
        gateway.bridge("br0", 0).await?;
        Ok(gateway)
    }

    /// Its name, which is its namespace's too.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its namespace.
    pub fn namespace(&self) -> &Namespace {
        &self.namespace
    }

    /// Its radio.
    pub fn radio(&self) -> &Radio {
        &self.radio
    }

    /// Its address on the wired Internet: 10.0.0.11 for the first, 10.0.0.12 for the second, …
    pub fn address(&self) -> Ipv4Addr {
        Ipv4Addr::new(10, 0, 0, 10 + self.number)
    }

    /// Its own address in its LAN `br0`, and the one its DHCP server names as router:
    /// 10.1.0.1 for the first gateway, 10.2.0.1 for the second, …
    pub fn lan_address(&self) -> Ipv4Addr {
        self.bridge_address(0)
    }

    /// Its own address in its `index`th bridge: 10.1.2.1 in the third of the first gateway.
    pub fn bridge_address(&self, index: u8) -> Ipv4Addr {
        Ipv4Addr::new(10, self.number, index, 1)
    }

    /// Adds a bridge with a /24 and a DHCP server of its own. `br0`, index 0, is there already.
    ///
    /// # Errors
    /// If a set-up command fails or the DHCP server does not come up.
    pub async fn bridge(&mut self, bridge: &str, index: u8) -> Result<()> {
        let address = self.bridge_address(index);
        self.namespace.ip(&format!(
            "link add {bridge} type bridge forward_delay 0\n\
             link set {bridge} up\n\
             addr add {address}/24 dev {bridge}"
        ))?;
        let name = format!("{}-dhcp-{bridge}", self.name);
        let config = DhcpConfig::on(bridge).network(address);
        let (logs, folder) = (Path::new(OUT), Path::new(RUN));
        let server = DhcpServer::start(logs, folder, &name, &self.namespace, &config).await?;
        self.dhcp.push(server);
        self.bridges.push(bridge.to_owned());
        Ok(())
    }

    /// Whether [`bridge`](Self::bridge) has made that one.
    pub fn has_bridge(&self, bridge: &str) -> bool {
        self.bridges.iter().any(|b| b == bridge)
    }

    /// Starts hostapd with one access point, and waits until it is on the air.
    ///
    /// # Errors
    /// If hostapd refuses the configuration or the BSS does not come up.
    pub async fn access_point(&self, config: &ApConfig) -> Result<AccessPoint> {
        AccessPoint::start(self, config).await
    }
}

/// What an access point announces, and how hostapd is told.
#[derive(Debug, Clone)]
pub struct ApConfig {
    ssid: String,
    security: Security,
    channel: u8,
    bridge: String,
    psk_file: Option<String>,
    extra: Vec<String>,
}

impl ApConfig {
    /// An open network on channel 1, bridged to `br0`.
    pub fn new(ssid: &str) -> Self {
        Self {
            ssid: ssid.to_owned(),
            security: Security::Open,
            channel: 1,
            bridge: "br0".to_owned(),
            psk_file: None,
            extra: Vec::new(),
        }
    }

    /// With this security.
    pub fn security(mut self, security: Security) -> Self {
        self.security = security;
        self
    }

    /// On this 2.4 GHz channel, 1 to 11.
    pub fn channel(mut self, channel: u8) -> Self {
        self.channel = channel;
        self
    }

    /// Bridged to that bridge of the gateway.
    pub fn bridge(mut self, bridge: &str) -> Self {
        self.bridge = bridge.to_owned();
        self
    }

    /// With a key for each device: lines of hostapd's `wpa_psk_file`, such as
    /// `keyid=phone 02:00:00:00:01:00 HEX`. Takes the place of the security's own key.
    pub fn psk_file(mut self, lines: &str) -> Self {
        self.psk_file = Some(lines.to_owned());
        self
    }

    /// With a further line of `hostapd.conf`, such as `macaddr_acl=2`.
    pub fn line(mut self, line: &str) -> Self {
        self.extra.push(line.to_owned());
        self
    }

    /// Its SSID.
    pub fn ssid(&self) -> &str {
        &self.ssid
    }

    /// The frequency of its channel, in MHz.
    pub fn frequency(&self) -> u16 {
        2407 + 5 * u16::from(self.channel)
    }

    /// The text of `hostapd.conf` for a first BSS, its files in `folder`.
    fn radio_text(&self, interface: &str, folder: &Path) -> String {
        let mut text = self.bss_text(interface, folder);
        // Writing into a String does not fail.
        write!(text, "hw_mode=g\nchannel={}\nieee80211n=1\n", self.channel).ok();
        text
    }

    /// The text of a file for `ADD bss_config=`: what [`radio_text`](Self::radio_text) has, less
    /// what belongs to the whole radio.
    pub(crate) fn bss_text(&self, interface: &str, folder: &Path) -> String {
        let mut text = format!(
            "interface={interface}\nbridge={}\nssid={}\nctrl_interface={}\n",
            self.bridge,
            self.ssid,
            folder.join("hostapd").display()
        );
        let key_elsewhere =
            self.psk_file.is_some() || self.extra.iter().any(|l| l.starts_with("wpa_psk_radius"));
        text.push_str(&self.security.hostapd_lines(key_elsewhere));
        if self.psk_file.is_some() {
            writeln!(text, "wpa_psk_file={}", folder.join("psk").display()).ok();
        }
        for line in &self.extra {
            text.push_str(line);
            text.push('\n');
        }
        text
    }
}

/// A running hostapd with its first access point.
#[derive(Debug)]
pub struct AccessPoint {
    process: Process,
    folder: PathBuf,
    interface: String,
    phy: String,
    bssid: Mac,
    global: Control,
    control: Control,
}

impl AccessPoint {
    async fn start(gateway: &Gateway, config: &ApConfig) -> Result<Self> {
        let radio = gateway.radio();
        let folder = Path::new(RUN).join(gateway.name());
        fs::create_dir_all(&folder)?;
        let text = config.radio_text(&radio.interface(), &folder);
        if let Some(lines) = &config.psk_file {
            fs::write(folder.join("psk"), lines)?;
        }
        fs::write(folder.join("hostapd.conf"), &text)?;
        // A copy for whoever reads the logs.
        fs::write(Path::new(OUT).join(format!("{}-hostapd.conf", gateway.name())), &text)?;
        let [socket, conf] =
            ["global", "hostapd.conf"].map(|f| folder.join(f).to_string_lossy().into_owned());
        let mut process = Process::start(
            Path::new(OUT),
            &format!("{}-hostapd", gateway.name()),
            gateway.namespace(),
            &["hostapd", "-t", "-g", &socket, &conf],
        )?;
        let control_path = folder.join("hostapd").join(radio.interface());
        let (global, control) = Self::up(&mut process, Path::new(&socket), &control_path).await?;
        Ok(Self {
            process,
            interface: radio.interface(),
            phy: radio.phy(),
            bssid: radio.mac(),
            folder,
            global,
            control,
        })
    }

    async fn up(
        process: &mut Process,
        global: &Path,
        interface: &Path,
    ) -> Result<(Control, Control)> {
        process.makes(global, START).await?;
        process.says("AP-ENABLED", START).await?;
        Ok((Control::connect(global).await?, Control::connect(interface).await?))
    }

    /// Its process, to be killed or looked at.
    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }

    /// hostapd's global control socket: where BSSs are added and removed.
    pub fn global_socket(&self) -> PathBuf {
        self.folder.join("global")
    }

    /// The folder with the control sockets of the BSSs, named after their interfaces.
    pub fn control_folder(&self) -> PathBuf {
        self.folder.join("hostapd")
    }

    /// A folder of its own on a tmpfs, with `hostapd.conf` and, where asked for, `psk`.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The interface of the first BSS, the owner's.
    pub fn interface(&self) -> &str {
        &self.interface
    }

    /// The radio's name.
    pub fn phy(&self) -> &str {
        &self.phy
    }

    /// The BSSID of the first BSS.
    pub fn bssid(&self) -> Mac {
        self.bssid
    }

    /// The global control socket, open.
    pub fn global(&self) -> &Control {
        &self.global
    }

    /// The first BSS's control socket, open; its events are `AP-STA-CONNECTED …` and so on.
    pub fn control(&self) -> &Control {
        &self.control
    }

    /// Starts hostapd again after it was killed, and waits until the first BSS is back.
    ///
    /// # Errors
    /// If it does not come up.
    pub async fn restart(&mut self) -> Result<()> {
        let (global, interface) =
            (self.global_socket(), self.control_folder().join(&self.interface));
        // What a killed process left behind would look as if it were up.
        for path in [&global, &interface] {
            fs::remove_file(path).ok();
        }
        let before = self.process.log().matches("AP-ENABLED").count();
        self.process.restart()?;
        self.process.makes(&interface, START).await?;
        homeward_net::wait::wait_for("hostapd to be up again", START, async || {
            Ok((self.process.log().matches("AP-ENABLED").count() > before).then_some(()))
        })
        .await?;
        self.global = Control::connect(&global).await?;
        self.control = Control::connect(&interface).await?;
        Ok(())
    }
}
