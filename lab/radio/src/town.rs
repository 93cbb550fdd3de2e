//! Three gateways of one operator and a phone that walks between them.
//!
//! ```text
//!   core 10.0.0.1 ──┬── home    10.1.0.1/24, channel 1  (Elm Street 17: the phone's home; agent)
//!   AAA, controller ├── foreign 10.2.0.1/24, channel 6  (Oak Avenue 4; agent)
//!                   └── third   10.3.0.1/24, channel 11 (Ash Lane 9; agent)
//!                         each with a LAN br0, and br-roam for those who break out there
//!   phone: in reach of the gateways that the scenario says
//! ```

use std::net::Ipv4Addr;
use std::time::Duration;

use anyhow::{Context, Result};
use homeward_model::{Instant, Mac};
use homeward_net::Namespace;
use homeward_net::dhcp::Lease;
use homeward_net::wait::{now, wait_for};
use serde_json::Value;

use crate::gateway::{AccessPoint, ApConfig, Gateway};
use crate::lab::Lab;
use crate::operator::{Agent, Home, Operator};
use crate::security::Security;
use crate::station::{Network, Station};

/// The phone's home.
pub const SSID: &str = "Elm Street 17";
/// The phone's own key there.
pub const KEY: &str = "phone key of elm street";
/// How many radios a town takes, with room for two more stations.
pub const RADIOS: u32 = 6;
/// A scan of three channels, a join and a lease take some 3 s, emulated; this is for the worst.
pub const SOON: Duration = Duration::from_secs(40);

/// A gateway with its owner's access point, and no agent yet.
#[derive(Debug)]
pub struct Plot {
    /// The machine.
    pub gateway: Gateway,
    /// The owner's access point.
    pub ap: AccessPoint,
    keys: String,
}

/// A gateway with its owner's access point and its agent.
#[derive(Debug)]
pub struct Site {
    /// The machine.
    pub gateway: Gateway,
    /// The owner's access point.
    pub ap: AccessPoint,
    /// The agent.
    pub agent: Agent,
    /// What it takes to start another agent in place of one that was killed.
    config: String,
}

/// The town.
#[derive(Debug)]
pub struct Town {
    /// Core and records.
    pub operator: Operator,
    /// The phone's home.
    pub home: Site,
    /// A stranger's gateway.
    pub foreign: Site,
    /// Another's.
    pub third: Site,
    /// The phone.
    pub phone: Station,
    /// The phone's network, as it knows it.
    pub network: Network,
    /// The account's home.
    pub smith: Home,
}

impl Town {
    /// Builds it, with the phone out of everybody's reach. `roam` is what the strangers' agents
    /// have in `[roam]`.
    ///
    /// # Errors
    /// If a part does not come up.
    pub async fn build(lab: &Lab, roam: &str) -> Result<Self> {
        let operator = Operator::start(lab).await?;
        let mut sites = Vec::new();
        for (name, ssid, channel, place) in [
            ("home", SSID, 1, "gb/london/se1"),
            ("foreign", "Oak Avenue 4", 6, "gb/london/n7"),
            ("third", "Ash Lane 9", 11, "gb/london/e2"),
        ] {
            let plot = Plot::lay(lab, name, ssid, channel).await?;
            sites.push(plot.settle(&operator, place, roam).await?);
        }
        let [home, foreign, third] = <[Site; 3]>::try_from(sites)
            .map_err(|_| anyhow::anyhow!("three gateways were built"))?;
        let smith = operator.home("smith", "home", SSID, "wpa2-psk").await?;
        let phone = lab.station("phone")?;
        let security = operator.device(&smith, phone.mac(), KEY).await?;
        let network = Network::new(SSID, security).frequencies(&[2412, 2437, 2462]);
        phone.out_of_reach()?;
        Ok(Self { operator, home, foreign, third, phone, network, smith })
    }

    /// The phone comes home: connected, with an address of the home LAN.
    ///
    /// # Errors
    /// If it does not.
    pub async fn phone_at_home(&mut self) -> Result<Lease> {
        self.phone.near(&[&self.home.gateway])?;
        self.phone.join(&self.network).await?;
        self.phone.connected_within(SOON).await?;
        self.phone.dhcp(SOON).await
    }
}

/// What those who live there know, at the gateway of that name.
pub fn household(name: &str) -> Security {
    Security::wpa2(format!("the household of {name}"))
}

impl Plot {
    /// Makes the gateway, and puts the owner's SSID on the air.
    ///
    /// # Errors
    /// If a part does not come up.
    pub async fn lay(lab: &Lab, name: &str, ssid: &str, channel: u8) -> Result<Self> {
        let gateway = lab.gateway(name).await?;
        let keys = format!("/run/lab/{name}.psk");
        std::fs::write(&keys, "")?;
        let config = ApConfig::new(ssid)
            .security(household(name))
            .channel(channel)
            .line(&format!("wpa_psk_file={keys}"));
        let ap = gateway.access_point(&config).await?;
        Ok(Self { gateway, ap, keys })
    }

    /// Makes it one of the operator's, standing at `place`, and starts its agent with `roam` in
    /// `[roam]`.
    ///
    /// # Errors
    /// If it does not get in step with the controller.
    pub async fn settle(self, operator: &Operator, place: &str, roam: &str) -> Result<Site> {
        let Self { mut gateway, ap, keys } = self;
        operator.enrol(&gateway, place, "homeward").await?;
        let channel = operator.channel(&gateway).await?;
        let config =
            format!("{channel}[home]\npsk_file = \"{keys}\"\nbridge = \"br0\"\n[roam]\n{roam}\n");
        let mut agent = operator.agent(&mut gateway, &ap, &config).await?;
        agent.process().says("in step with the controller", SOON).await?;
        Ok(Site { gateway, ap, agent, config })
    }
}

impl Site {
    /// Puts a host on its LAN, with this address.
    ///
    /// # Errors
    /// If a set-up command fails.
    pub fn host(&self, name: &str, address: Ipv4Addr) -> Result<Namespace> {
        let host = Namespace::create(name)?;
        let port = format!("to-{name}");
        self.gateway.namespace().join(&port, &host, "eth0")?;
        self.gateway.namespace().ip(&format!("link set {port} master br0"))?;
        let router = self.gateway.lan_address();
        host.ip(&format!(
            "link set lo up\naddr add {address}/24 dev eth0\nroute add default via {router}"
        ))?;
        Ok(host)
    }

    /// Starts the agent again, after it was killed.
    ///
    /// # Errors
    /// If it does not come up.
    pub async fn restart(&mut self, operator: &Operator) -> Result<()> {
        let config = self.config.clone();
        self.agent = operator.agent(&mut self.gateway, &self.ap, &config).await?;
        Ok(())
    }

    /// The power goes: agent and hostapd end without a word, and what the kernel kept of theirs
    /// with them.
    pub fn power_off(&mut self) {
        self.agent.process().kill();
        self.ap.process().kill();
    }

    /// It comes back: hostapd, then the agent.
    ///
    /// # Errors
    /// If one of them does not come up.
    pub async fn power_on(&mut self, operator: &Operator) -> Result<()> {
        self.ap.restart().await?;
        self.restart(operator).await
    }

    /// Has the phone look around until the agent has a VAP for its home on the air, and the tunnel
    /// is up; the VAP's BSSID.
    ///
    /// # Errors
    /// If it does not come to that.
    pub async fn heard(&self, phone: &Station) -> Result<Mac> {
        let control = phone.control()?;
        wait_for("a VAP for the phone", SOON, async || {
            // It may be scanning already.
            control.try_request("SCAN", "freq=2412,2437,2462").await?;
            Ok((Agent::vaps_up(&self.agent.status().await?) == 1).then_some(()))
        })
        .await?;
        self.ready().await
    }

    /// Waits until the agent has a VAP for the phone's home on the air, and its tunnel is up; the
    /// VAP's BSSID.
    ///
    /// # Errors
    /// If it does not come to that.
    pub async fn ready(&self) -> Result<Mac> {
        let status = self
            .agent
            .status_where("a VAP and a tunnel that is up", SOON, |status| {
                Agent::vaps_up(status) == 1 && tunnel_is_up(status)
            })
            .await?;
        let vap = status["radio"]["vaps"][0]["vap"].as_str().context("no VAP in the status")?;
        self.bssid(vap).await
    }

    /// The BSSID of a VAP, as hostapd says.
    async fn bssid(&self, vap: &str) -> Result<Mac> {
        let status = self.ap.control().request("STATUS", "").await?;
        let value = |key: &str| {
            let line = status.lines().find(|line| line.starts_with(&format!("{key}=")));
            line.and_then(|line| line.split_once('=')).map(|(_, value)| value.to_owned())
        };
        let number = (0..).take_while(|n| value(&format!("bss[{n}]")).is_some());
        for n in number {
            if value(&format!("bss[{n}]")).as_deref() == Some(vap) {
                let bssid = value(&format!("bssid[{n}]")).context("no BSSID")?;
                return Ok(bssid.parse()?);
            }
        }
        anyhow::bail!("hostapd has no BSS on {vap}: {status}")
    }
}

/// Whether the first tunnel of a gateway's status is up.
pub fn tunnel_is_up(status: &Value) -> bool {
    status["channel"]["tunnels"][0]["state"] == "up"
}

/// Has the station scan until it has seen that BSS, and roam to it. When it was told to.
///
/// # Errors
/// If it does not see it within `limit`, or does not get there.
pub async fn roam(station: &Station, bssid: Mac, limit: Duration) -> Result<Instant> {
    let bssid = bssid.full().to_string();
    let control = station.control()?;
    wait_for(&format!("{bssid} in a scan"), limit, async || {
        // It may be scanning already.
        control.try_request("SCAN", "freq=2412,2437,2462").await?;
        let seen = control.request("BSS", &bssid).await?;
        Ok(seen.contains(&bssid).then_some(()))
    })
    .await?;
    let told = now();
    control.request("ROAM", &bssid).await?;
    station.connected_since(told, limit).await?;
    Ok(told)
}
