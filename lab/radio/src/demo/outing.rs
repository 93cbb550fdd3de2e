//! The fourth chapter: a phone with a tunnel of its own leaves home, goes past two strangers' gateways,
//! out of coverage, and home again, in a call, with a download and a session by SSH.

use std::time::Duration;

use anyhow::{Context, Result};
use homeward_model::Instant;
use homeward_net::Flow;
use homeward_net::wait::{elapse, now};

use super::story::Story;
use super::walk::{STEP_MS, octets};
use crate::lab::Lab;
use crate::outing::{Loudness, Sample, Stage, Stop, Traffic};
use crate::report::call::Stream;
use crate::report::offload::Way;
use crate::report::outing::{Decision, Move, Outing, Path, Signal, Silence};
use crate::report::{Actor, Chapter, Outcome};

pub use crate::outing::RADIOS;

/// When the phone holds its tunnel by cellular: when it foresees that it will need it.
pub const HOLD: &str = "predicted";
/// What the download is held to, in bit/s: in the emulated machine each octet is enciphered four times.
const PACE: u64 = 500_000;
/// For how long traffic is watched after a move.
const WATCH: Duration = Duration::from_secs(2);
/// A silence that is told of: five datagrams of a call in a row.
const NOTICED: Duration = Duration::from_millis(100);

/// Plays the chapter in the guest, and leaves `outing.json`: a [`Chapter`].
///
/// # Errors
/// If what was seen cannot be saved. What the product fails at is in the chapter.
pub async fn run(lab: Lab) -> Result<()> {
    let mut story = Story::new();
    let walked = walk(&lab, &mut story, HOLD).await;
    if let Err(error) = &walked {
        story.tell(Actor::Lab, "The demo stopped here", &format!("{error:#}"), Outcome::Failed);
    }
    let stopped = walked.as_ref().err().map(|error| format!("{error:#}"));
    let (duration_ms, story) = story.end();
    let outing = walked.ok();
    let chapter = Chapter { duration_ms, story, outing, stopped, ..Chapter::default() };
    lab.save("outing.json", serde_json::to_string_pretty(&chapter)?).map(drop)
}

/// Goes the whole way, with a tunnel by cellular that is held as `hold` says.
///
/// # Errors
/// If something does not come about that all else depends on.
pub async fn walk(lab: &Lab, story: &mut Story, hold: &str) -> Result<Outing> {
    let mut stage = Stage::build(lab, &format!("hold = \"{hold}\"")).await?;
    let address = stage.lease.address;
    story.tell(
        Actor::Lab,
        "The stage is set",
        &format!(
            "a home and two strangers' gateways, a mobile network with a packet gateway, and a phone \
             with a tunnel of its own by Wi-Fi and cellular: {address} of the home LAN"
        ),
        Outcome::Note,
    );
    if hold == "always" {
        stage.holds_both().await?;
    }
    let traffic = stage.traffic(PACE).await?;
    traffic.goes(Way::Wifi, traffic.began).await?;
    story.tell(
        Actor::Station,
        "At home, in a call",
        "a datagram every 20 ms each way, a download and a session by SSH, all from that address",
        Outcome::Done,
    );
    let mut outing = Outing {
        hold: hold.to_owned(),
        address: address.to_string(),
        pace_mbit: PACE as f64 / 1e6,
        step_ms: STEP_MS,
        ..Outing::default()
    };
    let way = [Stop::Home, Stop::Foreign, Stop::Third, Stop::Nowhere, Stop::Home];
    for (from, to) in way.into_iter().zip(way.into_iter().skip(1)) {
        let step = go(&mut stage, &traffic, from, to).await?;
        story.tell(
            Actor::Station,
            &format!("On to {}", to.name()),
            &format!(
                "by {}; silent for {:.0} ms down and {:.0} ms up, {} and {} lost; {} {}",
                step.by.words(),
                step.down.silent_ms,
                step.up.silent_ms,
                step.down.lost,
                step.up.lost,
                if step.lease_kept { "still" } else { "now" },
                step.address
            ),
            if step.lease_kept { Outcome::Done } else { Outcome::Failed },
        );
        outing.moves.push(step);
    }
    (outing.broken, outing.session_broken) = (traffic.download.end(), traffic.trickle.end());
    let until = now();
    let began = traffic.began;
    outing.octets = octets(&traffic.download);
    outing.spoke_from = traffic.addresses().iter().map(ToString::to_string).collect();
    outing.signals = signals(&stage.loudness, began);
    outing.paths = traffic.watch.samples().iter().map(|sample| path(sample, began)).collect();
    let decisions = stage.decisions().into_iter().filter(|(at, _)| *at >= began);
    outing.decisions = decisions.filter_map(|(at, said)| decision(ms(at - began), &said)).collect();
    let silences = |flow: &Flow, up: bool| {
        let all = flow.silences(began, until, NOTICED).into_iter();
        let told = all.map(|s| Silence { at_ms: ms(s.at - began), for_ms: ms(s.span), up });
        told.collect::<Vec<_>>()
    };
    outing.silences = [silences(&traffic.down, false), silences(&traffic.up, true)].concat();
    Ok(outing)
}

/// One move.
async fn go(stage: &mut Stage, traffic: &Traffic, from: Stop, to: Stop) -> Result<Move> {
    let began = now();
    let left = stage.go(from, to).await?;
    traffic.goes(to.way(), left).await?;
    elapse(WATCH).await;
    let until = now();
    let stream = |flow: &Flow| {
        let outage = flow.outage(left, until);
        Stream { silent_ms: outage.silence_ms, lost: outage.lost }
    };
    let (down, up) = (stream(&traffic.down), stream(&traffic.up));
    let ways = traffic.watch.samples().into_iter().filter(|sample| sample.at >= began);
    let mut ways: Vec<Way> = ways.filter_map(|sample| sample.way()).collect();
    ways.dedup();
    let lease = stage.renew().await.with_context(|| {
        format!("{down:?}, {up:?}, by {}", traffic.watch.last()["tunnel"]["bond"]["paths"])
    })?;
    Ok(Move {
        to: to.name().to_owned(),
        by: to.way(),
        at_ms: ms(left - traffic.began),
        down,
        up,
        echo_ms: ms(traffic.trickle.longest(left, until)),
        stalled_ms: ms(traffic.download.silence(left, until)),
        switches: ways.len().saturating_sub(1),
        address: lease.address.to_string(),
        lease_kept: lease == stage.lease,
    })
}

fn signals(loudness: &[Loudness], began: Instant) -> Vec<Signal> {
    let of = |stop: Stop| {
        let own = loudness.iter().filter(|loud| loud.stop == stop);
        // What was before it began holds then.
        let points = own.map(|loud| (ms(loud.at - began), loud.signal.map(|signal| signal.0)));
        Signal { gateway: stop.name().to_owned(), points: points.collect() }
    };
    Stop::GATEWAYS.map(of).to_vec()
}

fn path(sample: &Sample, began: Instant) -> Path {
    Path { at_ms: ms(sample.at - began), wifi: sample.wifi, cellular: sample.cellular }
}

/// What the agent's log says, in the words that people read.
fn decision(at_ms: f64, said: &str) -> Option<Decision> {
    let decided = |what: &str, why: &str| Decision { at_ms, what: what.into(), why: why.into() };
    if let Some((_, rest)) = said.split_once("preferred=") {
        let why = rest.split_once("why=\"").and_then(|(_, why)| why.split_once('"'));
        let why = why.map_or("", |(why, _)| why);
        let what = if rest.starts_with("Wifi") { "Wi-Fi" } else { "cellular" };
        return Some(decided(&format!("{what} is preferred"), why));
    }
    if let Some(foreseen) = said.strip_prefix("Coverage {") {
        let (_, rest) = foreseen.split_once("advice: ")?;
        let what = match rest.split_once(',')?.0 {
            "Prepare" => "cellular is made ready",
            "Leave" => "traffic leaves Wi-Fi",
            "Return" => "traffic goes back to Wi-Fi",
            _ => "Wi-Fi lasts",
        };
        let (_, why) = rest.split_once("why: \"")?;
        return Some(decided(what, why.rsplit_once('"')?.0));
    }
    let access = if said.contains("access: Wifi") { "Wi-Fi" } else { "cellular" };
    let works = said.contains("works: true");
    match said.split_once([' ', '{'])?.0 {
        "Access" if works => Some(decided(&format!("{access} can be used"), "home answers by it")),
        "Access" => Some(decided(&format!("{access} is not used"), "home does not answer by it")),
        "Down" => Some(decided("no way home", "home answers by no access")),
        "Up" => Some(decided("there is a way home", "home answers")),
        _ => None,
    }
}

fn ms(span: Duration) -> f64 {
    span.as_secs_f64() * 1e3
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_agent_says_is_told_in_words() {
        let told = |said: &str| decision(1.0, said).map(|told| (told.what, told.why));
        let pair = |what: &str, why: &str| Some((what.to_owned(), why.to_owned()));
        let said = "preferred=Wifi wifi=true cellular=true why=\"the station is there\"";
        assert_eq!(told(said), pair("Wi-Fi is preferred", "the station is there"));
        let said = "Access { access: Cellular, works: false }";
        assert_eq!(told(said), pair("cellular is not used", "home does not answer by it"));
        assert_eq!(
            told("Up { interface: \"home0\" }"),
            pair("there is a way home", "home answers")
        );
        let said = "Coverage { advice: Leave, confidence: 0.95, lead_ms: Some(0), \
                    why: \"it is weak; it is the only one\" }";
        assert_eq!(told(said), pair("traffic leaves Wi-Fi", "it is weak; it is the only one"));
        assert_eq!(told("Quota { access: Cellular }"), None);
    }
}
