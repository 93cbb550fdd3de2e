//! How long a phone is silent when it roams: between two access points on one bridge, between two
//! gateways whose only bond is the tunnel, in turn, and by 802.11r, in one VM.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use homeward_model::Mac;
use homeward_net::wait::{elapse, now};
use homeward_net::{Flow, Namespace};
use serde::{Deserialize, Serialize};

use crate::gateway::ApConfig;
use crate::lab::{CORE, Lab};
use crate::security::Security;
use crate::station::{Network, Station};
use crate::town::{KEY, SOON, SSID, Town, roam};

/// How many radios it takes.
pub const RADIOS: u32 = 8;
/// Of 802.11r.
const FAST: &str = "Fast";
/// For how long after a roam traffic is watched: the slowest was seen to take a second.
const WATCH: Duration = Duration::from_secs(2);

/// Silences, in milliseconds, in the order in which they were measured.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Silences {
    /// To the phone.
    pub down: Vec<f64>,
    /// From the phone.
    pub up: Vec<f64>,
}

/// What was measured. Each round is there and back.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Roams {
    /// Between two access points on one bridge.
    pub plain: Silences,
    /// Between two access points on one bridge of one mobility domain: 802.11r, FT-PSK over the air.
    pub fast: Silences,
    /// From home to a stranger's gateway that was prepared, and back.
    pub prepared: Silences,
    /// The first time to a stranger's gateway, which heard of the phone by its probe.
    pub unprepared: Silences,
}

/// Measures `rounds` of each, and saves `roam.json`.
///
/// # Errors
/// If the phone does not get where it is sent.
pub async fn measure(lab: Lab, rounds: usize) -> Result<()> {
    let mut town = Town::build(&lab, "").await?;
    // A second access point of the home's own, on another channel.
    let annex = lab.gateway("annex").await?;
    annex.namespace().ip("link add brx type bridge forward_delay 0\nlink set brx up")?;
    annex.namespace().join("x0", town.home.gateway.namespace(), "x1")?;
    annex.namespace().ip("link set x0 master brx")?;
    town.home.gateway.namespace().ip("link set x1 master br0")?;
    let second = ApConfig::new(SSID).security(Security::wpa2(KEY)).channel(6).bridge("brx");
    let second = annex.access_point(&second).await?;

    let lease = town.phone_at_home().await?;
    town.phone.ping(CORE, SOON).await?;
    let flows = Flows {
        down: Flow::start(&Namespace::ROOT, town.phone.namespace(), lease.address, 5000)?,
        up: Flow::start(town.phone.namespace(), &Namespace::ROOT, CORE, 5001)?,
    };
    let mut roams = Roams::default();
    let home = town.home.ap.bssid();

    // Once abroad and back, for the controller to learn the way.
    town.phone.near(&[&town.home.gateway, &town.foreign.gateway])?;
    let abroad = town.foreign.heard(&town.phone).await?;
    flows.roam(&town.phone, abroad, &mut roams.unprepared).await?;
    flows.roam(&town.phone, home, &mut Silences::default()).await?;

    for _ in 0..rounds {
        town.phone.near(&[&town.home.gateway, &annex])?;
        flows.roam(&town.phone, second.bssid(), &mut roams.plain).await?;
        flows.roam(&town.phone, home, &mut roams.plain).await?;
        town.phone.near(&[&town.home.gateway, &town.foreign.gateway])?;
        let abroad = town.foreign.ready().await.context("nothing was prepared")?;
        flows.roam(&town.phone, abroad, &mut roams.prepared).await?;
        flows.roam(&town.phone, home, &mut roams.prepared).await?;
    }
    // Nobody else is in reach of these.
    roams.fast = fast(&lab, rounds).await?;
    lab.save_json("roam.json", &roams).map(drop)
}

/// Roams by 802.11r, without Homeward.
async fn fast(lab: &Lab, rounds: usize) -> Result<Silences> {
    let [near, far] = [lab.gateway("fast1").await?, lab.gateway("fast2").await?];
    far.namespace().ip("link add brx type bridge forward_delay 0\nlink set brx up")?;
    far.namespace().join("x0", near.namespace(), "x1")?;
    far.namespace().ip("link set x0 master brx")?;
    near.namespace().ip("link set x1 master br0")?;
    let of = |name: &str| {
        ApConfig::new(FAST)
            .security(Security::wpa2(KEY))
            .line("wpa_key_mgmt=FT-PSK")
            .line("mobility_domain=a1b2")
            .line("ft_over_ds=0")
            .line("ft_psk_generate_local=1")
            .line(&format!("nas_identifier={name}.example"))
    };
    let first = near.access_point(&of("fast1")).await?;
    let second = far.access_point(&of("fast2").channel(6).bridge("brx")).await?;
    let mut phone = lab.station("fast")?;
    // It would forget who is where with each roam, and ask again a second later.
    phone.namespace().sysctl("net.ipv4.conf.all.arp_evict_nocarrier", "0")?;
    phone.near(&[&near, &far])?;
    let network = Network::new(FAST, Security::wpa2(KEY)).variable("key_mgmt", "FT-PSK");
    phone.join(&network).await?;
    phone.connected_within(SOON).await?;
    let lease = phone.dhcp(SOON).await?;
    let here = near.lan_address();
    phone.ping(here, SOON).await?;
    let flows = Flows {
        down: Flow::start(near.namespace(), phone.namespace(), lease.address, 5000)?,
        up: Flow::start(phone.namespace(), near.namespace(), here, 5001)?,
    };
    let (mut first_of_all, mut silences) = (Silences::default(), Silences::default());
    flows.roam(&phone, second.bssid(), &mut first_of_all).await?;
    flows.roam(&phone, first.bssid(), &mut first_of_all).await?;
    for _ in 0..rounds {
        flows.roam(&phone, second.bssid(), &mut silences).await?;
        flows.roam(&phone, first.bssid(), &mut silences).await?;
    }
    let status = phone.control()?.request("STATUS", "").await?;
    ensure!(status.contains("key_mgmt=FT-PSK"), "these roams were none by 802.11r: {status}");
    Ok(silences)
}

struct Flows {
    down: Flow,
    up: Flow,
}

impl Flows {
    /// Sends the phone to a BSS, and notes how long each direction was silent meanwhile.
    async fn roam(&self, phone: &Station, bssid: Mac, into: &mut Silences) -> Result<()> {
        let left = roam(phone, bssid, SOON).await?;
        elapse(WATCH).await;
        into.down.push(self.down.outage(left, now()).silence_ms);
        into.up.push(self.up.outage(left, now()).silence_ms);
        Ok(())
    }
}
