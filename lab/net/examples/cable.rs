//! `cargo run --release -p homeward-net --example cable`: what a cable carries unimpaired, so that
//! a test knows what it may ask of one. Needs root and iperf3.

use std::io::Write;
use std::time::Duration;

use anyhow::Result;
use homeward_net::{Cable, Lab};

fn main() -> Result<()> {
    let lab = Lab::start("cable")?;
    let [left, right] = [lab.namespace("left")?, lab.namespace("right")?];
    let cable = Cable::lay(&left, "eth0", &right, "eth0", 1)?;
    left.ip("addr add 10.0.0.1/24 dev eth0")?;
    right.ip("addr add 10.0.0.2/24 dev eth0")?;
    let mut server = lab.process("server", &right, &["iperf3", "--server", "--forceflush"])?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(server.says("listening", Duration::from_secs(5)))?;
    let mut out = std::io::stdout();
    for (what, words) in [
        ("TCP", "-c 10.0.0.2 -t 3 -f m"),
        ("UDP, 1,400 octets", "-c 10.0.0.2 -t 3 -f m -u -b 0 -l 1400"),
        ("UDP, 64 octets", "-c 10.0.0.2 -t 3 -f m -u -b 0 -l 64"),
    ] {
        let said = left.run_tool("iperf3", &words.split(' ').collect::<Vec<_>>())?;
        let sums = said.lines().filter(|l| l.contains("sender") || l.contains("receiver"));
        writeln!(out, "{what}:\n{}", sums.collect::<Vec<_>>().join("\n"))?;
        let overruns = cable.forth().overruns()?;
        writeln!(out, "{overruns} overruns, {:?}", cable.forth().counters())?;
    }
    Ok(())
}
