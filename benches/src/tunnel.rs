//! The tunnel home, beside what others tunnel with: two namespaces, one cable, everything on the
//! same cores, runs in turn.
//!
//! ```text
//!   namespace a                                                   namespace b
//!   wire 10.77.0.1 ═══════════════════ veth ════════════════════ wire 10.77.0.2
//!   10.78.N.1 on an interface of the Nth system's                 10.78.N.2
//! ```
//!
//! Twice: on a cable that carries super-frames, as between the virtual machines of one host, and
//! on a plain one, where each packet is a packet, as behind a card without segmentation offload.

mod idle;
mod load;
mod systems;

use std::time::Duration;

use anyhow::{Context, Result};
use homeward_daemon::SystemClock;
use homeward_model::Clock;
use homeward_net::Lab;

use crate::figures::{Figure, median, say};
pub(crate) use systems::wireguard_go;
use systems::{Cable, System, Systems};

pub(crate) use idle::inside as idle_inside;

/// How often each system is measured.
const RUNS: usize = 3;

/// When no further round begins: `make bench` has other figures to make.
const BUDGET: Duration = Duration::from_secs(7 * 60);

pub(crate) fn measure() -> Result<()> {
    let begin = SystemClock.now();
    let lab = Lab::start("bench-tunnel")?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(idle::measure(&lab))?;
    for (cable, prefix) in [(Cable::Offloading, "tunnel"), (Cable::Plain, "tunnel-plain")] {
        say(&format!("-- {cable:?} cable"));
        let systems = runtime.block_on(Systems::start(&lab, cable))?;
        let mut samples: Vec<Samples> = systems.all.iter().map(|_| Samples::default()).collect();
        for round in 0..RUNS {
            if round > 0 && SystemClock.now() - begin > BUDGET {
                say("the time is up: fewer rounds than planned");
                break;
            }
            for (system, samples) in systems.all.iter().zip(&mut samples) {
                samples
                    .take(&systems, system)
                    .with_context(|| format!("{} on the {cable:?} cable", system.name))?;
            }
        }
        let mut medians: Vec<_> = systems.all.iter().map(|s| &s.name).zip(&mut samples).collect();
        for (name, samples) in &mut medians {
            let [tcp, cpu, rtt, frames] = samples.medians();
            say(&format!(
                "{name:36} {tcp:6.2} Gbit/s {cpu:6.2} CPU-s/GB {rtt:5.0} us {:6.1}k frames/s",
                frames / 1e3
            ));
        }
        let find = |wanted: &str| {
            let found = systems.all.iter().position(|system| system.role == wanted);
            found.with_context(|| format!("no {wanted}"))
        };
        for (ours, peers) in [
            ("encrypted", ["wireguard-go", "vxlan-wireguard", "fastd-cipher"]),
            ("clear", ["fastd-null", "vxlan", "bare"]),
        ] {
            let own = samples.get_mut(find(ours)?).map(Samples::medians).unwrap_or_default();
            for peer in peers {
                let at = find(peer)?;
                let name = systems.all.get(at).map_or("?", |system| system.name.as_str());
                let theirs = samples.get_mut(at).map(Samples::medians).unwrap_or_default();
                for ((what, unit), (own, theirs)) in FIGURES.iter().zip(own.iter().zip(theirs)) {
                    // What the kernel spends on its own has no process to be charged to.
                    if *what == "cpu" && theirs == 0.0 {
                        continue;
                    }
                    let figure = format!("{prefix}/{ours}/{what}");
                    Figure::alone(&figure, unit, *own, RUNS).beside(name, theirs).record()?;
                }
            }
        }
    }
    Ok(())
}

const FIGURES: [(&str, &str); 4] =
    [("tcp", "Gbit/s"), ("cpu", "s/GB"), ("rtt-p50", "us"), ("frames-64-lost-below-1/1000", "1/s")];

/// One system's figures, a run each.
#[derive(Debug, Default)]
struct Samples {
    /// Gbit/s of one TCP connection.
    tcp: Vec<f64>,
    /// CPU seconds of the tunnel's processes at both ends, per GB of the connection's data.
    cpu: Vec<f64>,
    /// Median round trip of small datagrams, in us.
    rtt: Vec<f64>,
    /// Frames of 64 octets per second of which fewer than one in 1,000 is lost.
    frames: Vec<f64>,
}

impl Samples {
    fn take(&mut self, systems: &Systems, system: &System) -> Result<()> {
        let before = system.cpu()?;
        let run = load::tcp(&systems.a, system.there)?;
        let used = system.cpu()?.saturating_sub(before);
        self.tcp.push(run.bits_per_second / 1e9);
        self.cpu.push(used.as_secs_f64() / (run.octets / 1e9));
        self.rtt.push(load::round_trip(&systems.a, &systems.b, system.there)?);
        self.frames.push(load::frames(&systems.a, &systems.b, system.there)?);
        Ok(())
    }

    fn medians(&mut self) -> [f64; 4] {
        [&mut self.tcp, &mut self.cpu, &mut self.rtt, &mut self.frames].map(|f| median(f))
    }
}
