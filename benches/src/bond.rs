//! A device with two ways home, over emulated links: how long it is silent when Wi-Fi vanishes, how
//! much of both it gets, and what that costs; beside wireguard-go, strongSwan's MOBIKE and the
//! kernel's MPTCP over the same links.
//!
//! The links are one like Wi-Fi (10 ms there and back, 2 ms of jitter) and one like a cellular one
//! (60 ms, 20 ms of jitter). Wi-Fi vanishes: nothing passes any more. Where nobody says so, ours and
//! MPTCP have to notice; wireguard-go and strongSwan would not for long, and are told: their interface
//! goes down at that moment. Ours is measured told, too, and told before, as by the predictor.

mod peers;

use std::fs;
use std::time::Duration;

use anyhow::{Context, Result};
use homeward_hybrid::links::{End, Turn};
use homeward_hybrid::{CELLULAR, Links, WIFI, cellular, wifi};
use homeward_model::Instant;
use homeward_multipath::Mode;
use homeward_net::wait::{elapse, now, pause, wait_for};
use homeward_net::{Download, Flow, Impairment, Lab};

use crate::figures::{Figure, percentile, say};

const RUNS: usize = 100;
const PEER_RUNS: usize = 30;
const DOWNLOADS: usize = 3;
/// How long a download is not looked at.
pub(super) const WARM: Duration = Duration::from_secs(4);
/// Of the stream that is watched.
const PERIOD: Duration = Duration::from_millis(1);
/// Enough for the stream, whatever it is beside.
pub(super) const FAST: u64 = 100_000_000;
const SLOW: u64 = 50_000_000;
/// How long before, if it is foreseen.
const AHEAD: Duration = Duration::from_millis(300);
/// In ms, from when on a silence is told with what each end found.
const LONG: f64 = 150.0;
/// How long a cut is looked at.
pub(super) const CUT: Duration = Duration::from_millis(700);
const SOON: Duration = Duration::from_secs(20);

/// What is done about a cut.
#[derive(Clone, Copy, PartialEq, Eq)]
enum About {
    /// Once Wi-Fi is found silent, cellular's tunnel is made.
    Unprepared,
    /// Cellular's tunnel is held.
    Prepared,
    /// The same, and the data plane is told when Wi-Fi vanishes.
    Told,
    /// The same, and it is told before.
    Foreseen,
}

pub(crate) fn measure() -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut wireguard = peers::wireguard(PEER_RUNS).await?;
        let mut mobike = peers::mobike(PEER_RUNS).await?;
        let mut mptcp = peers::mptcp(PEER_RUNS).await?;
        for (name, mode, about) in [
            ("unprepared", Mode::Single, About::Unprepared),
            ("prepared", Mode::Single, About::Prepared),
            ("prepared and told", Mode::Single, About::Told),
            ("foreseen", Mode::Single, About::Foreseen),
            ("mirrored", Mode::Mirrored, About::Prepared),
        ] {
            say(&format!("  {name}"));
            let (mut silent, lost) = cuts(mode, about).await?;
            for p in [50, 100] {
                let name = format!("Wi-Fi vanishes, {name}, silent, p{p}");
                let ours = percentile(&mut silent, p);
                for (peer, gaps) in [
                    ("wireguard-go, told at once", &mut wireguard),
                    ("strongSwan MOBIKE, told at once", &mut mobike),
                    ("kernel MPTCP (TCP)", &mut mptcp),
                ] {
                    let peers = percentile(gaps, p);
                    Figure::alone(&name, "ms", ours, RUNS).beside(peer, peers).record()?;
                }
            }
            let name = format!("Wi-Fi vanishes, {name}, datagrams lost of 700 each way");
            Figure::alone(&name, "", lost, RUNS).record()?;
        }
        for congestion in ["cubic", "bbr"] {
            stripes(congestion).await?;
        }
        costs().await
    })
}

/// The longer of both ways' silences at each cut, in ms, and the mean of datagrams lost both ways.
async fn cuts(mode: Mode, about: About) -> Result<(Vec<f64>, f64)> {
    let held = about != About::Unprepared;
    let lab = Lab::start("bench-bond")?;
    let links = Links::build(&lab, true, mode).await?;
    let lease = links.lease().await?;
    let home = links.town.home.lan_address();
    impair(&links);
    let gateway = &links.town.home.gateway;
    let down = Flow::every(PERIOD, gateway, &links.device, lease.address, 5000)?;
    let up = Flow::every(PERIOD, &links.device, gateway, home, 5001)?;
    let (mut silent, mut lost) = (Vec::new(), 0);
    for run in 0..RUNS {
        links.hold(WIFI, true)?;
        links.hold(CELLULAR, held)?;
        links.prefer(mode, WIFI)?;
        ready(&links, held).await?;
        let begun = now();
        if about == About::Foreseen {
            links.prefer(mode, CELLULAR)?;
            elapse(AHEAD).await;
        }
        links.wlan.set(Impairment { loss: 1.0, ..wifi(FAST) });
        match about {
            About::Unprepared => {
                // What an agent does that makes its second tunnel only when it needs it.
                while links.away.bond()?.sends.paths.first().is_some_and(|path| path.alive) {
                    pause(PERIOD);
                }
                links.hold(CELLULAR, true)?;
            }
            About::Told => {
                links.hold(WIFI, false)?;
                links.prefer(mode, CELLULAR)?;
            }
            About::Prepared | About::Foreseen => {}
        }
        elapse(CUT).await;
        let until = now();
        impair(&links);
        // What was on its way counts as arrived.
        elapse(Duration::from_millis(100)).await;
        let outages = [&down, &up].map(|flow| flow.outage(begun, until));
        let longest = outages[0].silence_ms.max(outages[1].silence_ms);
        let turns = [&links.home, &links.away].map(End::turns);
        if longest > LONG {
            let after = turns.map(|turns| told(turns, begun));
            say(&format!("  {run} of {RUNS}: {outages:?}: {after:?}"));
        }
        silent.push(longest);
        lost += outages[0].lost + outages[1].lost;
        if run % 25 == 24 {
            say(&format!("  {run} of {RUNS}: {outages:?}"));
        }
    }
    Ok((silent, lost as f64 / RUNS as f64))
}

/// What an end found of its paths, in ms from then on.
fn told(turns: Vec<Turn>, begun: Instant) -> Vec<String> {
    let ms = |at: Instant| (at.as_nanos() as f64 - begun.as_nanos() as f64) / 1e6;
    let of = |(at, path, turn): Turn| format!("{} {turn:?} {:.1}", path.get(), ms(at));
    turns.into_iter().map(of).collect()
}

fn impair(links: &Links) {
    links.wlan.set(wifi(FAST));
    links.wwan.set(cellular(SLOW));
}

/// Waits until both ends use Wi-Fi, and cellular is as it should be.
async fn ready(links: &Links, held: bool) -> Result<()> {
    wait_for("both paths as they should be", SOON, async || {
        let lives = [&links.away, &links.home].map(|end| {
            let paths = end.bond()?.sends.paths;
            let lives = |id| paths.iter().any(|path| path.path == id && path.alive);
            anyhow::Ok(lives(WIFI) && (!held || lives(CELLULAR)))
        });
        let [away, home] = lives;
        Ok((away? && home?).then_some(()))
    })
    .await?;
    elapse(Duration::from_millis(300)).await;
    Ok(())
}

/// One download over 50 and 20 Mbit/s, its server's congestion control being that of this name: how
/// much of what both links carry its octets are. MPTCP has no tunnel, whose headers take 6 % of that.
async fn stripes(congestion: &str) -> Result<()> {
    const SPAN: Duration = Duration::from_secs(10);
    let of_both = |octets: u64| octets as f64 * 8.0 / SPAN.as_secs_f64() / 70e6 * 100.0;
    let (mut ours, mut peer) = (Vec::new(), Vec::new());
    for _ in 0..DOWNLOADS {
        let lab = Lab::start("bench-bond")?;
        let links = Links::build(&lab, true, Mode::Striped).await?;
        links.lease().await?;
        links.wlan.set(wifi(50_000_000));
        links.wwan.set(cellular(20_000_000));
        let gateway = &links.town.home.gateway;
        let home = links.town.home.lan_address();
        let congestion_of = Some(congestion);
        let download =
            Download::governed(gateway, &links.device, home, 8080, None, congestion_of).await?;
        elapse(WARM).await;
        let before = download.total();
        elapse(SPAN).await;
        ours.push(of_both(download.total() - before));
        say(&format!("  {:?}", links.away.bond()?.reorder));
        drop(links);
        peer.push(of_both(peers::mptcp_download(SPAN, congestion).await?));
    }
    say(&format!("  {ours:.1?} {peer:.1?}"));
    let name = format!("download striped over 50 + 20 Mbit/s, {congestion}, of both");
    Figure::alone(&name, "%", percentile(&mut ours, 50), DOWNLOADS)
        .beside("kernel MPTCP, default scheduler", percentile(&mut peer, 50))
        .record()
}

/// CPU time of both data planes for a gigabyte of a download.
async fn costs() -> Result<()> {
    const SPAN: Duration = Duration::from_secs(8);
    let lab = Lab::start("bench-bond")?;
    let links = Links::build(&lab, true, Mode::Single).await?;
    links.lease().await?;
    let gateway = &links.town.home.gateway;
    let home = links.town.home.lan_address();
    let rate = Some(80_000_000);
    let download = Download::paced(gateway, &links.device, home, 8080, rate).await?;
    let mut single = 0.0;
    for mode in [Mode::Single, Mode::Mirrored, Mode::Striped] {
        links.set(mode)?;
        elapse(Duration::from_secs(1)).await;
        let (cpu, octets, begun) = (threads()?, download.total(), now());
        elapse(SPAN).await;
        let gigabytes = (download.total() - octets) as f64 / 1e9;
        let cost = (threads()? - cpu).as_secs_f64() / gigabytes;
        say(&format!("  {gigabytes:.3} GB in {:?}", now() - begun));
        let name = format!("CPU of both ends, {mode:?}").to_lowercase();
        let figure = Figure::alone(&name, "s/GB", cost, 1);
        match mode {
            Mode::Single => {
                single = cost;
                figure.record()?;
            }
            _ => figure.beside("ours, a single path", single).record()?,
        }
    }
    Ok(())
}

/// CPU time so far of this process's data planes: their threads.
fn threads() -> Result<Duration> {
    let mut nanos = 0;
    for task in fs::read_dir("/proc/self/task")? {
        let task = task?.path();
        // One may end meanwhile.
        let Ok(name) = fs::read_to_string(task.join("comm")) else { continue };
        if name.starts_with("tunnel-") {
            let said = fs::read_to_string(task.join("schedstat"))?;
            let ran = said.split(' ').next().context("schedstat says nothing")?;
            nanos += ran.parse::<u64>()?;
        }
    }
    Ok(Duration::from_nanos(nanos))
}

/// The longest time from `since` to `until` in which nothing arrived, in ms.
pub(super) fn silence(arrivals: &[Instant], since: Instant, until: Instant) -> f64 {
    let within = arrivals.iter().copied().filter(|at| *at > since && *at < until);
    let mut last = since;
    let longest = within
        .chain([until])
        .fold(Duration::ZERO, |longest, at| longest.max(at - std::mem::replace(&mut last, at)));
    longest.as_secs_f64() * 1e3
}
