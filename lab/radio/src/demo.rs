//! The demo's first chapter: a phone leaves its home, is served by strangers' gateways under its home SSID, and
//! keeps its address and its download from one to the next, while the owners notice nothing and
//! others are refused. Everything that is reported was seen happening. The second chapter is
//! [`offload`], the third [`call`], the fourth [`outing`].

pub mod call;
pub mod offload;
pub mod outing;
pub mod story;
mod topology;
mod walk;

use std::time::Duration;

use anyhow::{Context, Result};
use homeward_dot11::frame::Subtype;
use homeward_model::{Instant, Mac, Ssid, UnixTime};
use homeward_net::wait::{elapse, now, wall_offset};

use crate::air::Air;
use crate::floor;
use crate::gateway::ApConfig;
use crate::lab::Lab;
use crate::operator::{Agent, Home, Operator, ROAM_BRIDGE, ROAM_INDEX};
use crate::report::{
    Actor, BEACON_GAP_LIMIT_MS, Machine, Mark, Milestone, Outcome, Owner, Reached, Refused, Report,
    SeenIn,
};
use crate::security::Security;
use crate::station::{Connection, Network, Station};
use crate::town::{Plot, SOON, SSID, Site, household};

use story::Story;

const KEY: &str = "the phone's own key";
const OWNERS_SSID: &str = "Oak Avenue 4";
const THIRD_SSID: &str = "Ash Lane 9";
/// The stranger's channel, and its frequency in MHz.
const CHANNEL: u8 = 6;
const FREQUENCY: u16 = 2437;
/// How many radios the demo takes.
pub const RADIOS: u32 = 8;

/// Runs the demo in the guest, with `rounds` repeated measurements, and leaves `report.json`.
///
/// # Errors
/// If the lab itself fails. What the product fails at is in the report.
pub async fn run(lab: Lab, rounds: usize) -> Result<()> {
    let mut demo = Demo::start(lab, rounds).await?;
    demo.tell(
        Actor::Lab,
        "The stage is set",
        "a home, two strangers' gateways, an operator's core",
        Outcome::Note,
    );
    let outcome = demo.play(rounds).await;
    if let Err(error) = &outcome {
        demo.tell(Actor::Lab, "The demo stopped here", &format!("{error:#}"), Outcome::Failed);
    }
    demo.close(outcome.err())
}

struct Demo {
    lab: Lab,
    report: Report,
    story: Story,
    operator: Operator,
    home: Site,
    foreign: Site,
    third: Site,
    phone: Station,
    tv: Station,
    /// Of the phone, as the operator's records have it.
    network: Network,
    smith: Home,
    air: Air,
}

impl Demo {
    async fn start(lab: Lab, rounds: usize) -> Result<Self> {
        let story = Story::new();
        let started = UnixTime(i64::try_from((wall_offset() + now().as_nanos()) / 1_000_000)?);
        let mut report = Report::new(env!("CARGO_PKG_VERSION"), started);
        report.machine = machine();
        let operator = Operator::start(&lab).await?;
        let home = Plot::lay(&lab, "home", SSID, 1).await?;
        let mut foreign = Plot::lay(&lab, "foreign", OWNERS_SSID, CHANNEL).await?;
        foreign.gateway.bridge(ROAM_BRIDGE, ROAM_INDEX).await?;
        let third = Plot::lay(&lab, "third", THIRD_SSID, 11).await?;
        let home = home.settle(&operator, "gb/london/se1", "").await?;
        let smith = operator.home("smith", "home", SSID, "wpa2-psk").await?;
        let mut phone = lab.station("phone")?;
        let network = Network::new(SSID, operator.device(&smith, phone.mac(), KEY).await?);
        let mut tv = lab.station("tv")?;
        tv.near(&[&foreign.gateway])?;
        tv.join(&Network::new(OWNERS_SSID, household("foreign"))).await?;
        tv.connected_within(SOON).await?;

        // The floor first: with the agent there, two would answer the same probe.
        if rounds > 0 {
            phone.near(&[&foreign.gateway])?;
            let ssid: Ssid = SSID.parse()?;
            let psk = homeward_dot11::psk(&KEY.parse()?, &ssid).to_hex();
            let vap = ApConfig::new(SSID)
                .security(Security::wpa2(psk.as_str()))
                .channel(CHANNEL)
                .bridge(ROAM_BRIDGE);
            let measured =
                floor::measure(&foreign.gateway, &foreign.ap, &vap, &mut phone, &network, rounds)
                    .await?;
            report.rounds.floor = measured.rounds.iter().map(|round| round.connected).collect();
        }
        phone.out_of_reach()?;
        // What is not in use is forgotten soon, so that every round asks the core anew.
        let foreign =
            foreign.settle(&operator, "gb/london/n7", "idle = \"1s\"\nforget = \"1s\"").await?;
        let third = third.settle(&operator, "gb/london/e2", "").await?;
        let air = lab.air()?;
        Ok(Self {
            lab,
            report,
            story,
            operator,
            home,
            foreign,
            third,
            phone,
            tv,
            network,
            smith,
            air,
        })
    }

    async fn play(&mut self, rounds: usize) -> Result<()> {
        self.phone.near(&[&self.home.gateway])?;
        self.phone.join(&self.network).await?;
        self.phone.connected_within(SOON).await?;
        self.tell(
            Actor::Station,
            "At home",
            "the phone is on its own access point, with its own key",
            Outcome::Done,
        );
        // A way that nobody saw begin is not learned.
        self.operator.locates(self.phone.mac(), SOON).await?;

        let curtain = now();
        self.walk().await?;
        self.rounds(rounds).await?;
        self.walk_with_a_download().await?;
        self.refusals().await?;
        self.owner(curtain);
        Ok(())
    }

    /// Out of the house, to the stranger's.
    async fn walk(&mut self) -> Result<()> {
        self.phone.leave().await?;
        self.phone.near(&[&self.foreign.gateway])?;
        self.tell(
            Actor::Station,
            "Away from home",
            "in reach of a stranger's gateway only; it knows its home SSID and key",
            Outcome::Note,
        );
        let since = now();
        self.phone.join(&self.network.clone().frequencies(&[FREQUENCY])).await?;
        let connection = self.phone.scan_until_connected(&[FREQUENCY], SOON).await?;
        let lease = self.phone.dhcp(SOON).await?;
        let address = now();
        self.phone.ping(lease.router, SOON).await?;
        let packet = now();
        self.marks(since, connection, address, packet)?;
        let ms =
            |name: &Milestone| self.report.at(name).map_or("?".into(), |ms| format!("{ms:.0}"));
        let served = format!(
            "look-up after {} ms, BSS on the air after {} ms, connected after {} ms",
            ms(&Milestone::LookUp),
            ms(&Milestone::BssUp),
            ms(&Milestone::Keys)
        );
        self.tell(Actor::Gateway, "The home network is there", &served, Outcome::Done);
        self.tell(
            Actor::Station,
            "An address and a packet",
            &format!("{}, and {} answers", lease.address, lease.router),
            Outcome::Done,
        );
        Ok(())
    }

    /// Fills the timeline from what was on the air and in the agent's log.
    fn marks(
        &mut self,
        since: Instant,
        connection: Connection,
        address: Instant,
        packet: Instant,
    ) -> Result<()> {
        let phone = self.phone.mac();
        let probe = self.first_probe(since)?;
        let first = |subtype: Subtype| {
            let frames = self.air.frames(|f| {
                f.subtype == subtype
                    && f.source == connection.bssid
                    && f.destination == phone
                    && f.at >= probe
            });
            frames.first().map(|f| f.at)
        };
        let on_air = self.air.frames(|f| {
            matches!(f.subtype, Subtype::Beacon | Subtype::ProbeResponse)
                && f.bssid == connection.bssid
                && f.at >= probe
        });
        let log = self.foreign.agent.process().log();
        let logged = |text: &str| {
            log.lines().filter(|l| l.contains(text)).filter_map(logged_at).find(|at| *at >= since)
        };
        let seen = [
            (Milestone::Probe, Some(probe), Actor::Station, "directed probe request"),
            (
                Milestone::LookUp,
                logged("asking the core"),
                Actor::Gateway,
                "Access-Request to the core",
            ),
            (
                Milestone::Other("Granted".into()),
                logged("granted"),
                Actor::Core,
                "Access-Accept with the phone's own key",
            ),
            (
                Milestone::BssUp,
                on_air.first().map(|f| f.at),
                Actor::Hostapd,
                "first frame of the home SSID",
            ),
            (
                Milestone::Authenticated,
                first(Subtype::Authentication),
                Actor::Hostapd,
                "authentication answered",
            ),
            (
                Milestone::Associated,
                first(Subtype::AssociationResponse),
                Actor::Hostapd,
                "association answered",
            ),
            (
                Milestone::Keys,
                Some(connection.at),
                Actor::Station,
                "four-way handshake done, connected",
            ),
            (Milestone::Address, Some(address), Actor::Station, "DHCP lease"),
            (Milestone::FirstPacket, Some(packet), Actor::Station, "echo there and back"),
        ];
        for (name, at, actor, detail) in seen {
            let Some(at) = at else { continue };
            let at_ms = at.since(probe).as_secs_f64() * 1e3;
            self.report.timeline.push(Mark { name, at_ms, actor, detail: detail.into() });
        }
        Ok(())
    }

    /// When the phone first probed where the stranger's gateway could hear it: on its channel.
    fn first_probe(&self, since: Instant) -> Result<Instant> {
        let probes = self.air.probes(self.phone.mac(), SSID.parse()?);
        let heard = probes.iter().find(|f| f.at >= since && f.frequency == Some(FREQUENCY));
        Ok(heard.context("no probe was seen on the stranger's channel")?.at)
    }

    /// The same again, cold each time, to set beside the floor.
    async fn rounds(&mut self, rounds: usize) -> Result<()> {
        for _ in 0..rounds {
            self.phone.leave().await?;
            let mac = self.phone.mac();
            self.foreign
                .agent
                .status_where("the phone to be forgotten", SOON, |s| {
                    Agent::vaps_up(s) == 0 && Agent::entry(s, mac).is_none()
                })
                .await?;
            let since = now();
            self.phone.join(&self.network.clone().frequencies(&[FREQUENCY])).await?;
            let connection = self.phone.scan_until_connected(&[FREQUENCY], SOON).await?;
            let probe = self.first_probe(since)?;
            self.report.rounds.ours.push(connection.at.since(probe).as_secs_f64() * 1e3);
        }
        if let (Some(ours), Some(floor)) =
            (self.report.rounds.ours_median(), self.report.rounds.floor_median())
        {
            let text = format!(
                "median {ours:.0} ms from probe to connected; a script that asks nobody: {floor:.0} ms"
            );
            self.tell(Actor::Lab, "Measured again and again", &text, Outcome::Note);
        }
        Ok(())
    }

    async fn refusals(&mut self) -> Result<()> {
        let jones = self.operator.home("jones", "home", "Rose Lane 1", "wpa2-psk").await?;
        let mut stranger = self.lab.station("stranger")?;
        let mut forger = self.lab.station("forger")?;
        let mut debtor = self.lab.station("debtor")?;
        for station in [&stranger, &forger, &debtor] {
            station.near(&[&self.foreign.gateway])?;
        }
        self.operator.device(&self.smith, forger.mac(), "some other key").await?;
        let debtors =
            Network::new(&jones.ssid, self.operator.device(&jones, debtor.mac(), KEY).await?);
        self.operator.admin(&["account", "suspend", "jones"]).await?;
        stranger.join(&Network::new(SSID, Security::wpa2(KEY))).await?;
        forger.join(&Network::new(SSID, Security::wpa2(KEY))).await?;
        debtor.join(&debtors).await?;
        self.refused(
            &stranger,
            "A stranger",
            "knows the SSID and even the key, but its MAC is nobody's",
            "unknown-device",
        )
        .await?;
        self.refused(
            &debtor,
            "A suspended account",
            "right MAC, SSID and key; the bill is not paid",
            "account-suspended",
        )
        .await?;
        self.refused(
            &forger,
            "A wrong key",
            "a known MAC and SSID, with another device's key",
            "wrong-key",
        )
        .await
    }

    async fn refused(
        &mut self,
        station: &Station,
        who: &str,
        tried: &str,
        reason: &str,
    ) -> Result<()> {
        let mac = station.mac();
        let agent = &mut self.foreign.agent;
        let status = agent
            .status_where(reason, SOON, |s| {
                Agent::entry(s, mac).is_some_and(|e| {
                    e["reason"] == reason
                        || (reason == "wrong-key" && e["wrong_keys"].as_u64() > Some(0))
                })
            })
            .await?;
        let message =
            Agent::entry(&status, mac).and_then(|e| e["message"].as_str()).unwrap_or_default();
        let mut seen_in = vec![SeenIn::Status];
        if agent.process().log().contains(reason) {
            seen_in.push(SeenIn::Log);
        }
        let message = message.to_owned();
        // Time to get in, if it could.
        elapse(Duration::from_secs(2)).await;
        let reached = self.reached(station, mac).await?;
        let outcome =
            if reached == Reached::Connected { Outcome::Failed } else { Outcome::Refused };
        self.report.refused.push(Refused {
            who: who.into(),
            tried: tried.into(),
            reason: reason.into(),
            message,
            reached,
            seen_in,
        });
        self.tell(Actor::Stranger, who, &format!("{tried}: refused, {reason}"), outcome);
        Ok(())
    }

    async fn reached(&self, station: &Station, mac: Mac) -> Result<Reached> {
        if crate::operator::is_connected(station).await? {
            return Ok(Reached::Connected);
        }
        let frames = self.air.frames_of(mac);
        let came = |subtype, to| frames.iter().any(|f| f.subtype == subtype && f.destination == to);
        Ok(if came(Subtype::AssociationResponse, mac) {
            Reached::Associated
        } else if came(Subtype::Authentication, mac) {
            Reached::Authenticated
        } else if frames.iter().any(|f| f.subtype == Subtype::ProbeRequest && f.source == mac) {
            Reached::Probed
        } else {
            Reached::None
        })
    }

    /// What the owner of the stranger's gateway noticed since `since`.
    fn owner(&mut self, since: Instant) {
        let bssid = self.foreign.ap.bssid();
        let beacons = self
            .air
            .frames(|f| f.subtype == Subtype::Beacon && f.bssid == bssid && f.at >= since)
            .len();
        let gap = self.air.longest_beacon_gap(bssid, since, now()).as_secs_f64() * 1e3;
        let disconnects = self.tv.disconnects_since(since).map_or(0, |events| events.len());
        let owner = Owner {
            disconnects: u32::try_from(disconnects).unwrap_or(u32::MAX),
            max_beacon_gap_ms: (beacons > 1).then_some(gap),
            beacon_gap_limit_ms: BEACON_GAP_LIMIT_MS,
            beacons: beacons as u64,
        };
        let outcome = if owner.undisturbed() { Outcome::Done } else { Outcome::Failed };
        let text = format!(
            "{disconnects} disconnects, longest pause between {beacons} beacons {gap:.0} ms"
        );
        self.report.owner = Some(owner);
        self.tell(Actor::Owner, "The owner noticed nothing", &text, outcome);
    }

    fn tell(&mut self, actor: Actor, title: &str, detail: &str, outcome: Outcome) {
        self.story.tell(actor, title, detail, outcome);
    }

    fn close(mut self, error: Option<anyhow::Error>) -> Result<()> {
        (self.report.duration_ms, self.report.story) = self.story.end();
        self.report.topology = topology::topology(!self.report.timeline.is_empty());
        self.report.stopped.extend(error.map(|error| format!("{error:#}")));
        self.report.verdict = self.report.judge();
        self.lab.save("report.json", self.report.to_json()?).map(drop)
    }
}

/// When a line of a log was written: the time of day in its timestamp, today.
pub(crate) fn logged_at(line: &str) -> Option<Instant> {
    let (_, rest) = line.split_once('T')?;
    let (time, _) = rest.split_once('Z')?;
    let mut parts = time.splitn(3, ':');
    let hours: f64 = parts.next()?.parse().ok()?;
    let minutes: f64 = parts.next()?.parse().ok()?;
    let seconds: f64 = parts.next()?.parse().ok()?;
    let of_day = ((hours * 60.0 + minutes) * 60.0 + seconds) * 1e9;
    const DAY: u64 = 86_400_000_000_000;
    let wall = wall_offset() + now().as_nanos();
    let midnight = wall - wall % DAY;
    Some(Instant::from_nanos((midnight + of_day as u64).saturating_sub(wall_offset())))
}

fn machine() -> Machine {
    let first_line = |command: &str, argument: &str| {
        let output = std::process::Command::new(command).arg(argument).output().ok()?;
        let text = [output.stdout, output.stderr].concat();
        String::from_utf8_lossy(&text).lines().next().map(str::to_owned)
    };
    let read = |path: &str| std::fs::read_to_string(path).ok();
    let cpu = read("/proc/cpuinfo").and_then(|text| {
        let model =
            text.lines().find(|l| l.starts_with("model name"))?.split_once(": ")?.1.to_owned();
        let cores = text.lines().filter(|l| l.starts_with("processor")).count();
        Some(format!("{model}, {cores} cores"))
    });
    Machine {
        kernel: read("/proc/sys/kernel/osrelease").map(|s| s.trim().to_owned()),
        hostapd: first_line("hostapd", "-v"),
        wpa_supplicant: first_line("wpa_supplicant", "-v"),
        radios: RADIOS,
        cpu,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_lines_time_is_found_on_the_labs_clock() {
        let unix = UnixTime(i64::try_from((wall_offset() + now().as_nanos()) / 1_000_000).unwrap());
        let at = logged_at(&format!("{unix} DEBUG homeward: asking the core")).unwrap();
        assert!(now().since(at) < Duration::from_secs(5));
        assert_eq!(logged_at("no time here"), None);
    }
}
