//! What the owner of a gateway has of the line while roamers send all they can, beside the same
//! line with no roamers, and beside one that nobody shares out.
//!
//! ```text
//!   gateway ── wan ══ modem: 20 Mbit/s, a queue of 200 ms ══ net
//!   owner: one TCP connection, pings      roamers: eight TCP connections, marked as tunnels are
//! ```
//!
//! The shares are set 5 % below what the modem carries, as an owner is told to.

use std::net::Ipv4Addr;
use std::time::Duration;

use anyhow::{Context, Result};
use homeward_linux::Shaper;
use homeward_linux::qdisc::{Marks, Plan, Shares};
use homeward_net::wait::wait_for;
use homeward_net::{Lab, Namespace, Process};
use serde_json::Value;

use crate::figures::{Figure, median, percentile, say};

/// What the line carries, in bit/s.
const LINE: u64 = 20_000_000;
/// What is shared out of it.
const SHARED: u64 = LINE / 100 * 95;
/// Lower effort (RFC 8622), as tunnels are marked; and the octet that holds it.
const DSCP: u8 = 1;
const ROAMERS: &str = "0x04";
const NET: Ipv4Addr = Ipv4Addr::new(10, 91, 0, 2);
/// How often each is measured, and how long.
const RUNS: usize = 3;
const SECONDS: &str = "8";
/// Pings a run: one every 20 ms.
const PINGS: &str = "300";

/// Who shares the line with the owner, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Case {
    /// Nobody, on a line that is shared out.
    Alone,
    /// Roamers, on a line that is shared out.
    Shared,
    /// Roamers, on a line that is not.
    Unshared,
}

#[derive(Debug, Default)]
struct Samples {
    /// Of the owner's TCP connection, in Mbit/s.
    throughput: Vec<f64>,
    /// Of all roamers meanwhile.
    roamers: Vec<f64>,
    /// The owner's pings, in ms, while the owner sends nothing else.
    trips: Vec<f64>,
}

pub(crate) fn measure() -> Result<()> {
    let lab = Lab::start("bench-owner")?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let line = runtime.block_on(Line::lay(&lab))?;
    let mut all = [Case::Alone, Case::Shared, Case::Unshared].map(|c| (c, Samples::default()));
    for _ in 0..RUNS {
        for (case, samples) in &mut all {
            runtime.block_on(line.take(*case, samples)).with_context(|| format!("{case:?}"))?;
        }
    }
    let [(_, mut alone), (_, mut shared), (_, mut unshared)] = all;
    for samples in [&mut alone, &mut shared, &mut unshared] {
        say(&format!(
            "owner {:.2} Mbit/s, roamers {:.2}; pings {:.1} ms, 99th {:.1}",
            median(&mut samples.throughput),
            median(&mut samples.roamers),
            median(&mut samples.trips),
            percentile(&mut samples.trips, 99)
        ));
    }
    let runs = RUNS;
    for (peer, name) in
        [(&mut alone, "no roamers"), (&mut unshared, "roamers, line not shared out")]
    {
        Figure::alone("owner/throughput", "Mbit/s", median(&mut shared.throughput), runs)
            .beside(name, median(&mut peer.throughput))
            .record()?;
        Figure::alone("owner/ping-p50", "ms", median(&mut shared.trips), shared.trips.len())
            .beside(name, median(&mut peer.trips))
            .record()?;
        Figure::alone(
            "owner/ping-p99",
            "ms",
            percentile(&mut shared.trips, 99),
            shared.trips.len(),
        )
        .beside(name, percentile(&mut peer.trips, 99))
        .record()?;
    }
    Ok(())
}

/// The line, and who is at its ends.
struct Line {
    gateway: Namespace,
    _modem: Namespace,
    _servers: [Process; 2],
}

impl Line {
    async fn lay(lab: &Lab) -> Result<Self> {
        let [gateway, modem, net] =
            [lab.namespace("gateway")?, lab.namespace("modem")?, lab.namespace("net")?];
        gateway.join("wan", &modem, "in")?;
        modem.join("out", &net, "eth0")?;
        gateway.ip(&format!("addr add 10.90.0.1/24 dev wan\nroute add {NET} via 10.90.0.2"))?;
        modem.ip("addr add 10.90.0.2/24 dev in\naddr add 10.91.0.1/24 dev out")?;
        modem.sysctl("net.ipv4.ip_forward", "1")?;
        net.ip(&format!("addr add {NET}/24 dev eth0\nroute add default via 10.91.0.1"))?;
        for (end, interface) in [(&gateway, "wan"), (&modem, "in"), (&modem, "out")] {
            // A modem has packets, not super-frames.
            let off = ["-K", interface, "tso", "off", "gso", "off", "gro", "off"];
            end.run_tool("ethtool", &off)?;
        }
        let rate = LINE.to_string();
        let queue =
            ["qdisc", "add", "dev", "out", "root", "tbf", "rate", &rate, "burst", "8k", "latency"];
        modem.run_tool("tc", &[&queue[..], &["200ms"]].concat())?;
        let mut servers = Vec::new();
        for port in ["5201", "5202"] {
            let name = format!("iperf3-{port}");
            let words = ["iperf3", "--server", "--port", port, "--forceflush"];
            let mut server = lab.process(&name, &net, &words)?;
            server.says("listening", Duration::from_secs(5)).await?;
            servers.push(server);
        }
        let servers = <[Process; 2]>::try_from(servers).ok().context("two servers")?;
        Ok(Self { gateway, _modem: modem, _servers: servers })
    }

    async fn take(&self, case: Case, samples: &mut Samples) -> Result<()> {
        let shares = Shares { link: SHARED, guaranteed: SHARED / 50, cap: SHARED };
        let plan = Plan {
            uplink: "wan".to_owned(),
            up: shares,
            down: None,
            marks: Marks { dscp: DSCP, ports: Vec::new() },
            inward: Vec::new(),
        };
        self.gateway.enter(|| {
            let mut shaper = Shaper::open()?;
            match case {
                Case::Unshared => shaper.remove(&plan)?,
                Case::Alone | Case::Shared => drop(shaper.apply(&plan)?),
            }
            Ok(())
        })?;
        let roamers = match case {
            Case::Alone => None,
            Case::Shared | Case::Unshared => Some(self.send("5202", &["-S", ROAMERS, "-P", "8"])),
        };
        if roamers.is_some() {
            // They have come to speed when the owner begins.
            homeward_net::wait::elapse(Duration::from_secs(1)).await;
        }
        let owner = self.send("5201", &[]);
        let owner = owner.await??;
        samples.throughput.push(owner);
        let theirs = match roamers {
            Some(roamers) => roamers.await??,
            None => 0.0,
        };
        samples.roamers.push(theirs);

        // The same again, with nothing of the owner's but pings.
        let roamers = (case != Case::Alone).then(|| self.send("5202", &["-S", ROAMERS, "-P", "8"]));
        if roamers.is_some() {
            homeward_net::wait::elapse(Duration::from_secs(1)).await;
        }
        let gateway = self.gateway.clone();
        let words = ["-c", PINGS, "-i", "0.02", "-n"].map(str::to_owned);
        let said = gateway
            .run(move || {
                let to = NET.to_string();
                let mut words: Vec<&str> = words.iter().map(String::as_str).collect();
                words.push(&to);
                homeward_net::tool::run_tool("ping", &words)
            })
            .await?;
        let trips = said.split("time=").skip(1).filter_map(|rest| rest.split(' ').next());
        samples.trips.extend(trips.filter_map(|trip| trip.parse::<f64>().ok()));
        if let Some(roamers) = roamers {
            roamers.await??;
        }
        // What the modem still holds is gone.
        let quiet = self.gateway.clone();
        wait_for("an empty line", Duration::from_secs(5), async || {
            let trip = quiet.ping(NET, Duration::from_secs(5)).await?;
            Ok((trip < Duration::from_millis(5)).then_some(()))
        })
        .await
    }

    /// One iperf3 run to the other end; what arrived, in Mbit/s.
    fn send(&self, port: &str, more: &[&str]) -> tokio::task::JoinHandle<Result<f64>> {
        let to = NET.to_string();
        let words = ["--client", &to, "--port", port, "--time", SECONDS, "--json"];
        let words: Vec<String> = words.iter().chain(more).map(|word| (*word).to_owned()).collect();
        let gateway = self.gateway.clone();
        tokio::task::spawn_blocking(move || {
            let words: Vec<&str> = words.iter().map(String::as_str).collect();
            let said = gateway.run_tool("iperf3", &words)?;
            let report: Value = serde_json::from_str(&said).context("iperf3 printed no JSON")?;
            let rate = report["end"]["sum_received"]["bits_per_second"].as_f64();
            Ok(rate.context("iperf3 printed no rate")? / 1e6)
        })
    }
}
