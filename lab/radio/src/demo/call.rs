//! The third chapter, in namespaces of this machine: a phone in a call goes from LTE to Wi-Fi behind an ePDG
//! and back, and to a third network, and is heard only while every network on its way is vouched for.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use homeward_call::call::{HARBOUR, LTE, Media, Moved, SIP, Stage, TOWN};
use homeward_call::media::{Gap, clock_ms};
use homeward_model::Instant;
use homeward_net::place::{profile_dir, target_dir};
use homeward_net::wait::now;
use serde_json::Value;

use super::story::Story;
use crate::report::call::{Call, Move, Stream};
use crate::report::handoff::Hop;
use crate::report::{Actor, Chapter, Outcome};

/// The chapter's name, in the command line and of its folder of logs.
const NAME: &str = "call";
/// Room for moves; who is called waits for more.
const MOVES: usize = 16;
const FILE: &str = "call.json";

/// Plays the chapter in a process of its own, as root of a user namespace unless this is root; what it left.
///
/// # Errors
/// If it left nothing.
pub fn chapter() -> Result<Chapter> {
    let own = std::env::current_exe().context("cannot find the program's own binary")?;
    let left = target_dir(&own)?.join("lab").join(NAME).join(FILE);
    let mut play = Command::new("unshare");
    if !nix::unistd::geteuid().is_root() {
        play.args(["--user", "--map-root-user"]);
    }
    let status = play.args(["--net", "--"]).arg(&own).arg(NAME).status()?;
    let about = || format!("the third chapter left nothing: {status}");
    Ok(serde_json::from_slice(&fs::read(left).with_context(about)?)?)
}

/// Plays the chapter, and leaves `call.json`: a [`Chapter`].
///
/// # Errors
/// If what was seen cannot be saved. What the product fails at is in the chapter.
pub async fn run() -> Result<bool> {
    let lab = homeward_net::Lab::start(NAME)?;
    let mut story = Story::new();
    let mut call = Call::default();
    let outcome = play(&lab, &mut story, &mut call).await;
    if let Err(error) = &outcome {
        story.tell(Actor::Lab, "The call stopped here", &format!("{error:#}"), Outcome::Failed);
    }
    let stopped = outcome.err().map(|error| format!("{error:#}"));
    let (duration_ms, story) = story.end();
    let call = (!call.moves.is_empty()).then_some(call);
    let held = stopped.is_none() && crate::report::call::failures(call.as_ref()).is_empty();
    let chapter = Chapter { duration_ms, story, call, stopped, ..Chapter::default() };
    fs::write(lab.folder().join(FILE), serde_json::to_string_pretty(&chapter)?)?;
    Ok(held)
}

fn homeward() -> Result<PathBuf> {
    let own = std::env::current_exe()?;
    let path = profile_dir(&own).map(|folder| folder.join("homeward"));
    path.filter(|path| path.exists()).context("homeward is not built: cargo build -p homeward")
}

/// Bearers and tunnels are TUN interfaces.
fn has_tun() -> Result<()> {
    const TUN: &str = "/dev/net/tun";
    let opened = fs::File::options().read(true).write(true).open(TUN);
    opened
        .map(drop)
        .with_context(|| format!("{TUN} is not to be opened; root may, or its owner lets others"))
}

async fn play(lab: &homeward_net::Lab, story: &mut Story, call: &mut Call) -> Result<()> {
    has_tun()?;
    let mut stage = Stage::build(lab, Path::new(&homeward()?), MOVES).await?;
    let detail = "a bearer, two ePDGs, three modules, a guard with its gate, Kamailio, sipp";
    story.tell(Actor::Lab, "The stage is set for a call", detail, Outcome::Note);
    stage.call().await?;
    let began = now();
    story.tell(
        Actor::Station,
        "In a call",
        "registered and called by LTE, RTP both ways",
        Outcome::Done,
    );
    let mut moves = Vec::new();
    for to in [TOWN, LTE, HARBOUR] {
        moves.push(stage.go(to).await?);
        tell(story, &moves, "");
    }
    moves.push(stage.vanishes(HARBOUR).await?);
    tell(story, &moves, "harbour’s Wi-Fi is gone at once; ");
    let media = stage.media(&moves).await?;
    call.moves = moves.iter().zip(media).map(|(moved, media)| step(moved, media, began)).collect();
    call.hops = hops(&stage.evidence()?, began)?;
    story.tell(
        Actor::Core,
        "The trace is whole",
        "checked again by its records alone",
        Outcome::Done,
    );
    call.revoked = Some(TOWN.to_owned());
    let silent = stage.revoke(TOWN).await?;
    call.cut_off_ms = Some(silent);
    let detail = format!("{SIP} is told so: nothing of the call is heard {silent:.0} ms later");
    story.tell(Actor::Core, &format!("{TOWN} was broken into"), &detail, Outcome::Refused);
    Ok(())
}

fn tell(story: &mut Story, moves: &[Moved], before: &str) {
    if let Some(moved) = moves.last() {
        let detail = format!(
            "{before}proven after {:.0} ms, the re-INVITE answered after {:.0}; the old key refused",
            moved.proven_ms, moved.answered_ms
        );
        story.tell(Actor::Station, &format!("To {}", moved.to), &detail, Outcome::Done);
    }
}

fn step(moved: &Moved, media: Media, began: Instant) -> Move {
    let stream = |gap: Gap| Stream { silent_ms: gap.silent_ms, lost: gap.lost };
    Move {
        to: moved.to.to_owned(),
        vanished: moved.vanished,
        at_ms: moved.began.since(began).as_secs_f64() * 1e3,
        tunnel_ms: moved.tunnel_ms,
        proven_ms: moved.proven_ms,
        answered_ms: moved.answered_ms,
        up: stream(media.up),
        down: stream(media.down),
    }
}

/// The hops of the trace's only session.
fn hops(trace: &Value, began: Instant) -> Result<Vec<Hop>> {
    let all = trace["sessions"][0]["hops"].as_array().context("no hops on record")?;
    ensure!(!all.is_empty(), "no hops on record");
    let hops = all.iter().map(|hop| Hop::read(hop, clock_ms(began)));
    hops.collect::<Option<_>>().context("a hop that is not told of as it should be")
}
