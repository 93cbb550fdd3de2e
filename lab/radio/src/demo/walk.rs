//! The walk: from home to a stranger's, on to another's and back, with a download running.

use std::net::Ipv4Addr;
use std::time::Duration;

use anyhow::Result;
use homeward_model::Instant;
use homeward_net::printer::get;
use homeward_net::wait::{elapse, now, wait_for};
use homeward_net::{Download, Flow, Namespace, Printer, download};

use super::{Demo, OWNERS_SSID, SOON, SSID};
use crate::lab::CORE;
use crate::operator::Agent;
use crate::report::{Actor, Expected, Move, Outcome, Walk};
use crate::town::{Site, roam, tunnel_is_up};

/// What the download is held to: evenly sent, so that a gap is a silence of the path, and little
/// enough that an emulated CPU has time for others.
const PACE: u64 = 4_000_000;
/// The printer at home.
const PRINTER: Ipv4Addr = Ipv4Addr::new(10, 1, 0, 9);
const PRINTERS_PAGE: &str = "the printer of Elm Street 17";
/// For how long traffic is watched after it goes again: the slowest roams take a second.
const WATCH: Duration = Duration::from_secs(2);
/// How long the controller may take to have the next gateway prepared.
const PREPARATION: Duration = Duration::from_secs(10);
/// Steps of a download in one of the report's, and how long that is.
const COARSER: usize = 10;
pub(super) const STEP_MS: f64 = (download::STEP.as_millis() as u64 * COARSER as u64) as f64;

/// The octets that came in each of the report's steps.
pub(super) fn octets(download: &Download) -> Vec<u64> {
    let steps = download.progress();
    steps.chunks(COARSER).map(|steps| steps.iter().map(|step| step.octets).sum()).collect()
}

/// Where the walk goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stop {
    Home,
    Foreign,
    Third,
}

impl Stop {
    fn name(self) -> &'static str {
        match self {
            Self::Home => SSID,
            Self::Foreign => OWNERS_SSID,
            Self::Third => super::THIRD_SSID,
        }
    }
}

/// The traffic of the walk.
struct Traffic {
    began: Instant,
    download: Download,
    down: Flow,
    up: Flow,
}

impl Demo {
    /// Goes there, and adds what was seen to the report.
    pub(super) async fn walk_with_a_download(&mut self) -> Result<()> {
        let host = self.home.host("printer", PRINTER)?;
        let _printer = Printer::start(PRINTERS_PAGE, &host, PRINTER)?;
        self.phone.leave().await?;
        self.phone.near(&[&self.home.gateway])?;
        self.phone.join(&self.network).await?;
        self.phone.connected_within(SOON).await?;
        let lease = self.phone.dhcp(SOON).await?;
        self.phone.ping(CORE, SOON).await?;
        let phone = self.phone.namespace();
        let traffic = Traffic {
            began: now(),
            download: Download::paced(&Namespace::ROOT, phone, CORE, 8000, Some(PACE)).await?,
            down: Flow::start(&Namespace::ROOT, phone, lease.address, 5000)?,
            up: Flow::start(phone, &Namespace::ROOT, CORE, 5001)?,
        };
        self.tell(
            Actor::Station,
            "Home again, and a download begins",
            &format!("{}, {} Mbit/s over one TCP connection", lease.address, PACE / 1_000_000),
            Outcome::Done,
        );
        self.operator.locates(self.phone.mac(), SOON).await?;
        elapse(WATCH).await;
        let mut walk = Walk { pace_mbit: PACE as f64 / 1e6, step_ms: STEP_MS, ..Walk::default() };
        let route =
            [(Stop::Home, Stop::Foreign), (Stop::Foreign, Stop::Third), (Stop::Third, Stop::Home)];
        for (from, to) in route {
            let step = self.step(from, to, &traffic, lease.address).await?;
            let how = format!(
                "{}; silent for {:.0} ms down and {:.0} ms up; {} {}; the printer at home {}",
                step.expected.words(),
                step.silent_down_ms,
                step.silent_up_ms,
                if step.address_kept { "still" } else { "now" },
                step.address,
                if step.printer_reached { "answers" } else { "does not answer" }
            );
            let good = step.printer_reached && step.address_kept;
            let outcome = if good { Outcome::Done } else { Outcome::Failed };
            self.tell(Actor::Station, &format!("On to {}", to.name()), &how, outcome);
            walk.moves.push(step);
        }
        walk.broken = traffic.download.end();
        walk.octets = octets(&traffic.download);
        self.report.walk = Some(walk);
        Ok(())
    }

    fn site(&self, stop: Stop) -> &Site {
        match stop {
            Stop::Home => &self.home,
            Stop::Foreign => &self.foreign,
            Stop::Third => &self.third,
        }
    }

    /// One move.
    async fn step(
        &self,
        from: Stop,
        to: Stop,
        traffic: &Traffic,
        address: Ipv4Addr,
    ) -> Result<Move> {
        let site = self.site(to);
        let expected = match to {
            Stop::Home => Expected::Home,
            _ if self.was_prepared(to).await => Expected::Prepared,
            _ => Expected::Heard,
        };
        self.phone.near(&[&self.site(from).gateway, &site.gateway])?;
        let bssid = match expected {
            Expected::Home => site.ap.bssid(),
            Expected::Prepared => site.ready().await?,
            Expected::Heard => site.heard(&self.phone).await?,
        };
        let left = roam(&self.phone, bssid, SOON).await?;
        self.phone.near(&[&site.gateway])?;
        wait_for("datagrams in both directions", SOON, async || {
            let since = left + Duration::from_millis(100);
            let some = |flow: &Flow| flow.outage(since, now()).arrived > 20;
            Ok((some(&traffic.down) && some(&traffic.up)).then_some(()))
        })
        .await?;
        elapse(WATCH).await;
        let (seen, until) = (|flow: &Flow| flow.outage(left, now()).silence_ms, now());
        let (silent_down_ms, silent_up_ms) = (seen(&traffic.down), seen(&traffic.up));
        let stalled_ms = traffic.download.silence(left, until).as_secs_f64() * 1e3;
        let lease = self.phone.dhcp(SOON).await?;
        let page = get(self.phone.namespace(), PRINTER, Duration::from_secs(10)).await;
        Ok(Move {
            to: to.name().to_owned(),
            expected,
            at_ms: left.since(traffic.began).as_secs_f64() * 1e3,
            silent_down_ms,
            silent_up_ms,
            stalled_ms,
            address: lease.address.to_string(),
            address_kept: lease.address == address,
            printer_reached: page.is_ok_and(|page| page.contains(PRINTERS_PAGE)),
        })
    }

    /// Whether the gateway has VAP and tunnel ready for a phone that it cannot hear yet.
    async fn was_prepared(&self, stop: Stop) -> bool {
        // Only a gateway that others went to before can be expected to be next.
        let patience = if stop == Stop::Foreign { PREPARATION } else { Duration::ZERO };
        let site = self.site(stop);
        let ready =
            |status: &serde_json::Value| Agent::vaps_up(status) == 1 && tunnel_is_up(status);
        site.agent.status_where("preparation", patience, ready).await.is_ok()
    }
}
