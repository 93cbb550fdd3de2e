//! `homeward-benches [NAME]`: measures, and appends one JSON object a figure to
//! `target/bench/results.jsonl`: `name`, `unit`, `ours`, `peer`, `peer_name`, `ratio`, `runs`.
//!
//! | name | measures | peer, in the same run |
//! |---|---|---|
//! | `lookup` | look-ups per second, and server CPU per look-up | FreeRADIUS, PAP from a flat file |
//! | `probe` | probe frame in → `ADD` command out, from memory and through the core | – |
//! | `pap` | log-ins by PAP per second, and server CPU for one | FreeRADIUS, same users: in a flat file, and in PostgreSQL |
//! | `timing` | a wrong password by PAP: time until it is refused for names that nobody has | names that somebody has |
//! | `eap` | a log-in by TTLS and PEAP: from start to end, and server CPU, in full and resumed | FreeRADIUS, same certificate and users |
//! | `accounting` | records per second that are durable before the answer, how long it takes, server CPU for one | FreeRADIUS with PostgreSQL |
//! | `million` | a million devices: time to load, resident memory, look-ups and log-ins per second | – |
//! | `issuing` | credentials per second that the datastore issues, by how many there are in a transaction | – |
//! | `portal` | credentials per second and core, with a log-in by PAP for each; memory of connections that stay open | – |
//! | `handoff` | a hand-off that proves itself: its hop, its proof, at 1, 2 and 8 hops, without delay and with 20 ms; CPU of a proof; the silence of a call that goes from LTE to Wi-Fi behind an ePDG and back | strongSwan's MOBIKE in the same call; 802.11r in the VM |
//! | `gateway` | size and idle memory of the gateway-only binary | – |
//! | `owner` | the owner's throughput and latency while roamers send all they can | no roamers; a line that is not shared out |
//! | `radio` | first probe → connected, over the air in the VM | the scripted floor |
//! | `roam` | how long a phone is silent when it roams to a prepared gateway, over the air in the VM | a roam between two access points on one bridge |
//! | `tunnel` | the data plane between two namespaces: TCP, CPU, round trip, small frames, idle cost | fastd, wireguard-go, VXLAN over it, kernel VXLAN |
//! | `bond` | a device with two ways home: how long it is silent when Wi-Fi vanishes, a download striped over both, CPU | wireguard-go and MOBIKE told at once, MPTCP |
//!
//! Run by `make bench`, which builds the release binaries first.

mod accounting;
mod asker;
mod bond;
mod call;
mod eap;
mod eap_load;
mod figures;
mod freeradius;
mod gateway;
mod handoff;
mod issuing;
mod load;
mod lookup;
mod million;
mod owner;
mod pap;
mod population;
mod portal;
mod postgres;
mod probe;
mod radio;
mod roam;
mod timing;
mod tunnel;
mod world;

use std::io::Write;
use std::process::ExitCode;

use anyhow::{Result, bail};

type Bench = fn() -> Result<()>;

const BENCHES: [(&str, Bench); 16] = [
    ("lookup", lookup::measure),
    ("probe", probe::measure),
    ("pap", pap::measure),
    ("timing", timing::measure),
    ("eap", eap::measure),
    ("accounting", accounting::measure),
    ("million", million::measure),
    ("issuing", issuing::measure),
    ("portal", portal::measure),
    ("handoff", handoff::measure),
    ("gateway", gateway::measure),
    ("owner", owner::measure),
    ("radio", radio::measure),
    ("roam", roam::measure),
    ("tunnel", tunnel::measure),
    ("bond", bond::measure),
];

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let result = match words.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        // A process of the benchmark `tunnel`'s own.
        ["--idle-tunnels", count] => {
            count.parse().map_err(Into::into).and_then(tunnel::idle_inside)
        }
        only => run(only.first().copied()),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "homeward-benches: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(only: Option<&str>) -> Result<()> {
    let chosen: Vec<_> =
        BENCHES.iter().filter(|(name, _)| only.is_none_or(|only| only == *name)).collect();
    if chosen.is_empty() {
        let names: Vec<_> = BENCHES.iter().map(|(name, _)| *name).collect();
        bail!("there is no such benchmark; there are {}", names.join(", "));
    }
    for (name, measure) in chosen {
        figures::say(&format!("== {name}"));
        measure()?;
    }
    Ok(())
}
