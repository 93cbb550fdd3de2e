//! A phone that offloads by itself: the whole walk, and its hard days.
//!
//! The topology is drawn in `homeward_radio::offload`.

use std::net::Ipv4Addr;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use homeward_cell::{Sim, Ue};
use homeward_radio::demo::offload::walk;
use homeward_radio::demo::story::Story;
use homeward_radio::lab::CORE;
use homeward_radio::offload::{Answer, Carrier, FAR, Hotspot, NEAR, POLICY, Phone};
use homeward_radio::report::offload::failures;
use homeward_radio::wait::{elapse, wait_for};
use homeward_radio::{Flow, Lab, Namespace, Scenario};

const SOON: Duration = Duration::from_secs(40);

#[test]
fn a_phone_gets_credentials_over_cellular_and_moves_to_wi_fi_and_back_by_itself() {
    Scenario::new().run(|lab| async move {
        let offload = walk(&lab, &mut Story::new()).await?;
        println!("{offload:#?}");
        ensure!(offload.changes.len() == 4, "{:?}", offload.changes);
        let failures = failures(Some(&offload));
        ensure!(failures.is_empty(), "{failures:?}");
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

impl Day {
    async fn begin(lab: &Lab, terms: &str, captive: bool) -> Result<Self> {
        let mut carrier = Carrier::start(lab, POLICY, terms).await?;
        if captive {
            carrier.check.answers(Answer::Redirect);
        }
        let hotspot = carrier.hotspot("cafe").await?;
        hotspot.gateway.radio().set_signal(NEAR)?;
        let sim = Sim::numbered(1)?;
        carrier.subscribe(&sim).await?;
        let phone = carrier.phone("phone", &sim, "penalty = \"2s\"\nscan_far = \"2s\"").await?;
        let ue = carrier.network.attach(&phone.modem()?, &sim).await?;
        phone.is("watching", SOON).await?;
        let flow = Flow::start(phone.station.namespace(), &Namespace::ROOT, CORE, 5002)?;
        phone.station.near(&[&hotspot.gateway])?;
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

#[test]
fn a_captive_network_carries_nothing_and_a_suspended_subscriber_is_cut_off_in_mid_session() {
    Scenario::new().run(|lab| async move {
        let day = Day::begin(&lab, "lifetime = \"7d\"", true).await?;
        day.phone
            .machine_where("a captive network that was tried", SOON, |m| {
                m["counters"]["verify_failures"].as_u64() > Some(0)
            })
            .await?;
        ensure!(day.flow.now_from() == Some(day.cellular), "{:?}", day.flow.now_from());
        ensure!(day.offloads().await? == 0);
        // Somebody has paid at the portal; the phone tries again by itself.
        day.carrier.check.answers(Answer::NoContent);
        day.moves_to_wi_fi().await?;

        let (imsi, before) = (day.sim.imsi.as_str(), day.phone.username().await?);
        day.carrier.operator.admin(&["subscriber", "suspend", imsi]).await?;
        day.is_on_cellular().await?;
        // Time to come back, if it could.
        elapse(Duration::from_secs(6)).await;
        ensure!(day.offloads().await? == 1, "{:?}", day.phone.causes().await?);
        ensure!(day.flow.now_from() == Some(day.cellular), "{:?}", day.flow.now_from());

        day.carrier.operator.admin(&["subscriber", "resume", imsi]).await?;
        day.moves_to_wi_fi().await?;
        let after = day.phone.username().await?;
        ensure!(after != before, "what was ended is in force again");
        Ok(())
    });
}

#[test]
fn a_subscriber_suspended_while_the_gateway_is_away_is_cut_off_once_it_is_back() {
    Scenario::new().run(|lab| async move {
        let mut day = Day::begin(&lab, "lifetime = \"7d\"", false).await?;
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
        let day = Day::begin(&lab, "lifetime = \"7d\"\none_time = true", false).await?;
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
