//! A call's silence from network to network, each hop proven, beside what MOBIKE makes of a cable that is cut,
//! in the same call, and beside 802.11r.

use anyhow::Result;
use homeward_call::call::{LTE, Media, Moved, Stage, TOWN};
use homeward_net::Lab;

use crate::figures::{Figure, percentile};
use crate::roam;
use crate::world::binary;

/// Each is there and back.
const ROUNDS: usize = 12;
const FAST_ROUNDS: usize = 8;
const FAST: &str = "802.11r in the VM, emulated CPU";
const PEER: &str = "strongSwan, MOBIKE after a cable was cut, same call";

pub(crate) fn measure() -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let lab = Lab::start("bench-call")?;
        let mut stage = Stage::build(&lab, &binary("release")?, 4 * ROUNDS + 1).await?;
        stage.call().await?;
        let (mut to_wifi, mut to_lte, mut gone) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            to_wifi.push(stage.go(TOWN).await?);
            to_lte.push(stage.go(LTE).await?);
        }
        for _ in 0..ROUNDS {
            stage.go(TOWN).await?;
            gone.push(stage.vanishes(TOWN).await?);
        }
        stage.go(TOWN).await?;
        stage.second_way()?;
        let mut cuts = Vec::new();
        for _ in 0..ROUNDS {
            cuts.push(stage.cut().await?);
        }
        let media = stage.media(&to_wifi).await?;
        told("to Wi-Fi", &to_wifi, &media, &cuts)?;
        told("to LTE", &to_lte, &stage.media(&to_lte).await?, &cuts)?;
        told("to LTE, Wi-Fi gone", &gone, &stage.media(&gone).await?, &cuts)?;
        drop(stage);
        beside_fast(&media)
    })
}

/// Beside 802.11r, which goes from access point to access point of one network, in the VM.
fn beside_fast(media: &[Media]) -> Result<()> {
    let roams = roam::run(FAST_ROUNDS)?;
    let fast = |way: &str| roam::silences(&roams, "fast", way);
    let mut peer: Vec<f64> =
        fast("up").into_iter().zip(fast("down")).map(|(up, down)| up.max(down)).collect();
    let (mut ours, runs) = (silences(media), media.len());
    Figure::alone("call to Wi-Fi, silent, p50", "ms", percentile(&mut ours, 50), runs)
        .beside(FAST, percentile(&mut peer, 50))
        .record()
}

/// The longer of both ways' silences, in ms.
fn silences(media: &[Media]) -> Vec<f64> {
    media.iter().map(|of| of.up.silent_ms.max(of.down.silent_ms)).collect()
}

fn told(what: &str, moves: &[Moved], media: &[Media], cuts: &[Media]) -> Result<()> {
    let (mut ours, mut peer) = (silences(media), silences(cuts));
    for p in [50, 100] {
        let (name, runs) = (format!("call {what}, silent, p{p}"), ours.len());
        let (ours, peer) = (percentile(&mut ours, p), percentile(&mut peer, p));
        Figure::alone(&name, "ms", ours, runs).beside(PEER, peer).record()?;
    }
    let lost = |media: &[Media]| {
        let lost: u64 = media.iter().map(|of| of.up.lost + of.down.lost).sum();
        lost as f64 / media.len() as f64
    };
    let name = format!("call {what}, packets lost");
    Figure::alone(&name, "", lost(media), media.len()).beside(PEER, lost(cuts)).record()?;
    let mut proven: Vec<f64> = moves.iter().map(|moved| moved.proven_ms).collect();
    let name = format!("call {what}, proven after, p50");
    Figure::alone(&name, "ms", percentile(&mut proven, 50), moves.len()).record()
}
