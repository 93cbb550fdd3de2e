//! The second chapter: a phone that is given credentials over its bearer goes to Wi-Fi and back by
//! itself, with a download running.

use std::net::Ipv4Addr;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use homeward_cell::Sim;
use homeward_model::{Instant, Rssi};
use homeward_net::wait::{elapse, now, wait_for};
use homeward_net::{Download, Flow, Namespace};

use super::story::Story;
use super::walk::{STEP_MS, octets};
use crate::handoff::{FLOW, Handoffs, LTE, SIP};
use crate::lab::{CORE, Lab};
use crate::offload::{Carrier, FAR, HARBOUR_SSID, Hotspot, JOIN, LEAVE, NEAR, POLICY, Phone, SSID};
use crate::report::offload::{Cause, Change, Offload, Way};
use crate::report::{Actor, Chapter, Outcome};

const SOON: Duration = Duration::from_secs(30);
/// What the download is held to, in bit/s.
const PACE: u64 = 2_000_000;
/// How long somebody who walks towards an access point takes for 1 dB, some 15 m from it.
const WALK: Duration = Duration::from_secs(1);
/// For how long traffic is watched after a change.
const WATCH: Duration = Duration::from_secs(2);

/// Plays the chapter in the guest, and leaves `offload.json`: a [`Chapter`].
///
/// # Errors
/// If what was seen cannot be saved. What the product fails at is in the chapter.
pub async fn run(lab: Lab) -> Result<()> {
    let mut story = Story::new();
    let walked = walk(&lab, &mut story).await;
    if let Err(error) = &walked {
        story.tell(Actor::Lab, "The demo stopped here", &format!("{error:#}"), Outcome::Failed);
    }
    let stopped = walked.as_ref().err().map(|error| format!("{error:#}"));
    let (duration_ms, story) = story.end();
    let chapter =
        Chapter { duration_ms, story, offload: walked.ok(), stopped, ..Chapter::default() };
    lab.save("offload.json", serde_json::to_string_pretty(&chapter)?).map(drop)
}

/// Attaches a phone, and has it go to Wi-Fi and back twice: once the operator's signal rises and
/// fades, once a third network's is there and gone from one moment to the next.
///
/// # Errors
/// If something does not come about that all else depends on.
pub async fn walk(lab: &Lab, story: &mut Story) -> Result<Offload> {
    let mut carrier = Carrier::start(lab, POLICY, "lifetime = \"7d\"").await?;
    let hotspot = carrier.hotspot("cafe").await?;
    hotspot.gateway.radio().set_signal(FAR)?;
    let quay = carrier.hotspot_of("quay", HARBOUR_SSID).await?;
    let sim = Sim::numbered(1)?;
    carrier.subscribe(&sim).await?;
    let handoffs = Handoffs::start(lab, &carrier.operator.socket()).await?;
    let phone = carrier.phone("phone", &sim, &handoffs.phone()).await?;
    phone
        .machine_where("a supplicant that is ready", SOON, |m| {
            m["supplicant"]["ready"] == true && m["supplicant"]["radio"] == true
        })
        .await?;
    ensure!(phone.causes().await? == ["no-bearer"], "{:?}", phone.causes().await?);
    story.tell(
        Actor::Lab,
        "The stage is set",
        "a mobile network with a packet gateway and a security module, a core with a portal and \
         another, a third network with its own, a service with a guard, gateways in a café and on \
         a quay, and a phone with a SIM and a key",
        Outcome::Note,
    );

    // Attached: credentials come by themselves.
    let ue = carrier.network.attach(&phone.modem()?, &sim).await?;
    let attached = now();
    phone.is("watching", SOON).await?;
    let had = now();
    let mut offload = Offload {
        credentials_ms: ms(had - attached),
        username: phone.username().await?,
        pace_mbit: PACE as f64 / 1e6,
        step_ms: STEP_MS,
        ..Offload::default()
    };
    ensure!(offload.username.ends_with("@wifi.example.net"), "{}", offload.username);
    offload.shows_imsi = offload.username.contains(sim.imsi.as_str());
    story.tell(
        Actor::Station,
        "Attached, and given credentials",
        &format!(
            "over a GTP bearer with the address {}; {} ms later it is {}",
            ue.address(),
            offload.credentials_ms.round(),
            offload.username
        ),
        if offload.shows_imsi { Outcome::Failed } else { Outcome::Done },
    );

    // The service knows of it by the mobile network's word, and its own.
    handoffs.admitted(1, SOON).await?;
    story.tell(
        Actor::Station,
        "Admitted by a service",
        &format!("“{FLOW}”: {LTE} and the phone have proven to {SIP} that it is there"),
        Outcome::Done,
    );

    let station = phone.station.namespace();
    let began = now();
    let traffic = Traffic {
        began,
        handoffs,
        cellular: ue.address(),
        download: Download::paced(&Namespace::ROOT, station, CORE, 5001, Some(PACE)).await?,
        flow: Flow::start(station, &Namespace::ROOT, CORE, 5002)?,
    };
    phone.station.near(&[&hotspot.gateway])?;
    phone
        .machine_where("an access point that is heard", SOON, |m| {
            m["heard"].as_array().is_some_and(|heard| !heard.is_empty())
        })
        .await?;
    ensure!(phone.causes().await? == ["weak"], "{:?}", phone.causes().await?);
    ensure!(traffic.flow.now_from() == Some(ue.address()), "{:?}", traffic.flow.now_from());
    story.tell(
        Actor::Station,
        "A download begins, over cellular",
        &format!("“{SSID}” is in earshot with {FAR}, which the policy calls too weak"),
        Outcome::Done,
    );

    let causes = [Cause::Approached, Cause::Faded, Cause::Appeared, Cause::Vanished];
    for (cause, hops) in causes.into_iter().zip(2..) {
        let at = if cause == Cause::Appeared { &quay } else { &hotspot };
        let change = traffic.change(cause, hops, &phone, at).await?;
        story.tell(
            Actor::Station,
            &format!("On {}", change.to.words()),
            &format!(
                "{}; first packet after {:.0} ms, silent for {:.0} ms, {} lost; the hand-off \
                 proven {:.0} ms after that packet",
                change.cause.words(),
                change.first_packet_ms,
                change.silent_ms,
                change.lost,
                change.proven_ms
            ),
            Outcome::Done,
        );
        offload.changes.push(change);
    }
    offload.hops = traffic.handoffs.hops(began).await?;
    let networks: Vec<&str> = offload.hops.iter().map(|hop| hop.network.as_str()).collect();
    story.tell(
        Actor::Core,
        "Every network is on record",
        &format!("{}: signed by the phone and by each", networks.join(", ")),
        Outcome::Done,
    );
    offload.broken = traffic.download.end();
    offload.octets = octets(&traffic.download);
    Ok(offload)
}

/// What runs while the phone changes.
struct Traffic {
    began: Instant,
    handoffs: Handoffs,
    /// The bearer's address.
    cellular: Ipv4Addr,
    download: Download,
    /// From the phone.
    flow: Flow,
}

impl Traffic {
    /// Brings a change about, and tells what was seen of it.
    /// `hops` is how many the phone's chain has then.
    async fn change(
        &self,
        cause: Cause,
        hops: usize,
        phone: &Phone,
        hotspot: &Hotspot,
    ) -> Result<Change> {
        let mut since = now();
        let (to, state) = match cause {
            Cause::Approached | Cause::Appeared => (Way::Wifi, "offloaded"),
            Cause::Faded | Cause::Vanished => (Way::Cellular, "watching"),
        };
        match cause {
            Cause::Approached => {
                phone.station.near(&[&hotspot.gateway])?;
                for signal in LEAVE.0..JOIN.0 {
                    hotspot.gateway.radio().set_signal(Rssi(signal))?;
                    elapse(WALK).await;
                }
                since = now();
                for signal in JOIN.0..JOIN.0 + 4 {
                    hotspot.gateway.radio().set_signal(Rssi(signal))?;
                    elapse(WALK).await;
                }
            }
            Cause::Appeared => {
                hotspot.gateway.radio().set_signal(NEAR)?;
                phone.station.near(&[&hotspot.gateway])?;
            }
            Cause::Faded => hotspot.gateway.radio().set_signal(FAR)?,
            Cause::Vanished => phone.station.out_of_reach()?,
        }
        let wanted = |from: &Ipv4Addr| (*from == self.cellular) == (to == Way::Cellular);
        let from = wait_for("a packet by the new line", SOON, async || {
            Ok(self.flow.now_from().filter(wanted))
        });
        let (from, proven) = tokio::join!(from, self.handoffs.admitted(hops, SOON));
        let from = match from {
            Ok(from) => from,
            Err(error) => {
                let why = phone.causes().await.unwrap_or_default();
                return Err(error).with_context(|| format!("what keeps it from Wi-Fi: {why:?}"));
            }
        };
        phone.is(state, SOON).await?;
        elapse(WATCH).await;
        let until = now();
        let first = self.flow.first_from(from, since).context("no packet by the new line")?;
        let last = self.flow.now_from();
        ensure!(last.as_ref().is_some_and(wanted), "it went on to {last:?} by itself");
        let outage = self.flow.outage(since, until);
        let proven = proven.with_context(|| format!("on {} nothing was proven", to.words()))?;
        Ok(Change {
            to,
            cause,
            at_ms: ms(since - self.began),
            first_packet_ms: ms(first - since),
            silent_ms: outage.silence_ms,
            lost: outage.lost,
            stalled_ms: ms(self.download.silence(since, until)),
            // It may have hopped before its first packet was seen.
            proven_ms: if proven > first { ms(proven - first) } else { 0.0 },
        })
    }
}

fn ms(span: Duration) -> f64 {
    span.as_secs_f64() * 1e3
}
