//! A phone that offloads by itself: the whole walk, and its hard days.
//!
//! The topology is drawn in `homeward_radio::offload`.

use std::net::Ipv4Addr;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use homeward_cell::{Sim, Ue};
use homeward_daemon::control::Request;
use homeward_model::Rssi;
use homeward_net::Download;
use homeward_net::namespace::mac_of;
use homeward_radio::demo::offload::walk;
use homeward_radio::demo::story::Story;
use homeward_radio::handoff::{HARBOUR, LTE, TOWN};
use homeward_radio::lab::CORE;
use homeward_radio::offload::{Answer, Carrier, FAR, Hotspot, NEAR, POLICY, Phone};
use homeward_radio::report::offload::failures;
use homeward_radio::wait::{elapse, wait_for};
use homeward_radio::{Flow, Lab, Namespace, Scenario};
use serde_json::Value;

const SOON: Duration = Duration::from_secs(60);
/// Weaker than [`NEAR`], and strong enough.
const NEARLY: Rssi = Rssi(-56);

#[test]
fn a_phone_gets_credentials_over_cellular_and_moves_to_wi_fi_and_back_by_itself() {
    Scenario::new().run(|lab| async move {
        let offload = walk(&lab, &mut Story::new()).await?;
        println!("{offload:#?}");
        ensure!(offload.changes.len() == 4, "{:?}", offload.changes);
        let failures = failures(Some(&offload));
        ensure!(failures.is_empty(), "{failures:?}");
        let networks: Vec<&str> = offload.hops.iter().map(|hop| hop.network.as_str()).collect();
        ensure!(networks == [LTE, TOWN, LTE, HARBOUR, LTE], "{networks:?}");
        Ok(())
    });
}

/// A phone with a bearer, credentials and a stream, in reach of a hotspot that it joins.
struct Day {
    carrier: Carrier,
    hotspot: Hotspot,
    sim: Sim,
    phone: Phone,
    flow: Flow,
    cellular: Ipv4Addr,
    /// Attached until dropped.
    _ue: Ue,
}

/// What phones hold to here: what failed is tried again soon.
const LIMITS: &str = "penalty = \"2s\"\nscan_far = \"2s\"";

impl Day {
    /// Begins with a phone whose Wi-Fi wpa_supplicant runs.
    async fn begin(lab: &Lab, terms: &str) -> Result<Self> {
        let carrier = Carrier::start(lab, POLICY, terms).await?;
        let hotspot = carrier.hotspot("cafe").await?;
        hotspot.gateway.radio().set_signal(NEAR)?;
        let sim = Sim::numbered(1)?;
        carrier.subscribe(&sim).await?;
        let phone = carrier.phone("phone", &sim, LIMITS).await?;
        let day = Self::attach(carrier, hotspot, sim, phone).await?;
        day.phone.station.near(&[&day.hotspot.gateway])?;
        Ok(day)
    }

    /// Gives the phone its bearer, over which it gets credentials.
    async fn attach(
        mut carrier: Carrier,
        hotspot: Hotspot,
        sim: Sim,
        phone: Phone,
    ) -> Result<Self> {
        let ue = carrier.network.attach(&phone.modem()?, &sim).await?;
        phone.is("watching", SOON).await?;
        let flow = Flow::start(phone.station.namespace(), &Namespace::ROOT, CORE, 5002)?;
        Ok(Self { carrier, hotspot, sim, phone, flow, cellular: ue.address(), _ue: ue })
    }

    async fn moves_to_wi_fi(&self) -> Result<()> {
        self.phone.is("offloaded", SOON).await?;
        self.sends(|from| from != self.cellular).await
    }

    async fn is_on_cellular(&self) -> Result<()> {
        self.sends(|from| from == self.cellular).await
    }

    async fn sends(&self, wanted: impl Fn(Ipv4Addr) -> bool) -> Result<()> {
        let sent = wait_for("packets by the other line", SOON, async || {
            Ok(self.flow.now_from().filter(|from| wanted(*from)).map(drop))
        });
        match sent.await {
            Ok(()) => Ok(()),
            Err(error) => {
                let machine =
                    self.phone.machine_where("a machine", SOON, |m| m.is_object()).await?;
                let from = self.flow.now_from();
                Err(error).with_context(|| format!("they come from {from:?}; {machine:#}"))
            }
        }
    }

    async fn offloads(&self) -> Result<u64> {
        let machine = self.phone.machine_where("a machine", SOON, |m| m.is_object()).await?;
        machine["counters"]["offloads"].as_u64().context("no counter of offloads")
    }
}

/// One whose access points are both heard, and lead nowhere until somebody has paid.
#[test]
fn a_phone_of_network_managers_leaves_captive_access_points_and_is_cut_off_with_its_subscriber() {
    Scenario::new().within(Duration::from_secs(400)).run(|lab| async move {
        let carrier = Carrier::start(&lab, POLICY, "lifetime = \"7d\"").await?;
        carrier.check.answers(Answer::Redirect);
        let (cafe, mut square) = (carrier.hotspot("cafe").await?, carrier.hotspot("square").await?);
        cafe.gateway.radio().set_signal(NEAR)?;
        square.gateway.radio().set_signal(NEARLY)?;
        let sim = Sim::numbered(1)?;
        carrier.subscribe(&sim).await?;
        // One that failed is shunned for longer than it takes to join another; and NetworkManager may
        // be slow where the machine is emulated.
        let limits = "penalty = \"10s\"\nassociate = \"30s\"\nscan_far = \"2s\"";
        let phone = carrier.managed_phone("phone", &sim, limits).await?;
        let day = Day::attach(carrier, cafe, sim, phone).await?;
        let (phone, own) = (&day.phone, day.phone.station.mac());
        let place = phone.station.namespace();
        let status = phone.ask(&Request::new("status")).await?;
        ensure!(status["wifi"]["by"] == "network-manager", "{status:#}");
        // The credentials are for the station's own address, whatever it scans by.
        ensure!(status["machine"]["supplicant"]["mac"] == own.full().to_string(), "{status:#}");
        let download =
            Download::paced(&Namespace::ROOT, place, CORE, 5001, Some(2_000_000)).await?;

        phone.station.near(&[&day.hotspot.gateway, &square.gateway])?;
        let both = [(day.hotspot.ap.bssid(), NEAR), (square.ap.bssid(), NEARLY)];
        let heard = |m: &Value| {
            both.into_iter().all(|(bssid, signal)| {
                let bssid = bssid.full().to_string();
                let mut all = m["heard"].as_array().into_iter().flatten();
                all.any(|bss| bss["bssid"] == bssid && is_about(&bss["signal"], signal))
            })
        };
        phone.machine_where("both access points, in dBm", SOON, heard).await?;
        // The weaker one alone, while the stronger is shunned; and neither leads anywhere.
        for happened in ["CONNECTED", "DISCONNECTED"] {
            let said = format!("AP-STA-{happened} {}", own.full());
            square.ap.process().says(&said, SOON * 2).await?;
        }
        phone
            .machine_where("captive access points that were tried", SOON, |m| {
                m["counters"]["verify_failures"].as_u64() > Some(1)
            })
            .await?;
        ensure!(day.flow.now_from() == Some(day.cellular), "{:?}", day.flow.now_from());
        ensure!(day.offloads().await? == 0);

        // Somebody has paid at the portal; the phone tries again by itself, whichever comes first.
        day.carrier.check.answers(Answer::NoContent);
        day.moves_to_wi_fi().await?;
        phone
            .machine_where("a signal in dBm", SOON, |m| {
                let session = &m["session"];
                both.into_iter().any(|(bssid, signal)| {
                    session["bssid"] == bssid.full().to_string()
                        && is_about(&session["signal"], signal)
                })
            })
            .await?;
        ensure!(mac_of(place, &phone.station.radio().interface())? == own, "it uses another");
        let routes = place.run_tool("ip", &["-4", "route"])?;
        ensure!(routes.contains("metric 32000"), "{routes}");

        let (imsi, before) = (day.sim.imsi.as_str(), phone.username().await?);
        day.carrier.operator.admin(&["subscriber", "suspend", imsi]).await?;
        day.is_on_cellular().await?;
        // It comes back, and is refused.
        phone
            .machine_where("a log-on that was refused", SOON, |m| {
                m["counters"]["rejections"].as_u64() > Some(0)
            })
            .await?;
        ensure!(day.offloads().await? == 1, "{:?}", phone.causes().await?);
        ensure!(day.flow.now_from() == Some(day.cellular), "{:?}", day.flow.now_from());

        day.carrier.operator.admin(&["subscriber", "resume", imsi]).await?;
        day.moves_to_wi_fi().await?;
        let after = phone.username().await?;
        ensure!(after != before, "what was ended is in force again");

        // It is left before it is useless, and found again.
        for gateway in [&day.hotspot.gateway, &square.gateway] {
            gateway.radio().set_signal(FAR)?;
        }
        day.is_on_cellular().await?;
        day.hotspot.gateway.radio().set_signal(NEAR)?;
        day.moves_to_wi_fi().await?;
        let total = download.total();
        wait_for("more of the download", SOON, async || {
            Ok((download.total() > total).then_some(()))
        })
        .await?;
        ensure!(download.end().is_none(), "{:?}", download.end());
        Ok(())
    });
}

/// Whether that is a signal as it was set.
fn is_about(signal: &Value, set: Rssi) -> bool {
    signal.as_i64().is_some_and(|dbm| (dbm - i64::from(set.0)).abs() <= 2)
}

#[test]
fn a_subscriber_suspended_while_the_gateway_is_away_is_cut_off_once_it_is_back() {
    Scenario::new().run(|lab| async move {
        let mut day = Day::begin(&lab, "lifetime = \"7d\"").await?;
        day.moves_to_wi_fi().await?;

        day.hotspot.agent.process().kill();
        day.carrier.operator.admin(&["subscriber", "suspend", day.sim.imsi.as_str()]).await?;
        // There is nobody to put it out.
        elapse(Duration::from_secs(2)).await;
        ensure!(day.flow.now_from() != Some(day.cellular), "it is on cellular");

        day.hotspot.agent.process().restart()?;
        day.is_on_cellular().await
    });
}

#[test]
fn a_credential_for_one_log_on_is_replaced_over_cellular_and_one_that_ends_ends_its_session() {
    Scenario::new().run(|lab| async move {
        let day = Day::begin(&lab, "lifetime = \"7d\"\none_time = true").await?;
        let first = day.phone.username().await?;
        day.moves_to_wi_fi().await?;

        // Back on cellular it fetches the next, which lets it in again.
        day.hotspot.gateway.radio().set_signal(FAR)?;
        day.is_on_cellular().await?;
        let second = day.phone.other_credentials(&first, SOON).await?;
        day.hotspot.gateway.radio().set_signal(NEAR)?;
        day.moves_to_wi_fi().await?;

        // An end in mid-session.
        day.carrier.operator.admin(&["login", "set", &second, "--expires-in", "2s"]).await?;
        day.is_on_cellular().await?;
        day.phone.other_credentials(&second, SOON).await?;
        day.moves_to_wi_fi().await?;
        Ok(())
    });
}
