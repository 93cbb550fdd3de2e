//! What idle channels cost the core: memory, and time while nothing is said.
//!
//! ```text
//! cargo run --release -p homeward-channel --example idle [CHANNELS]
//! ```
//!
//! The core is this process; the gateways are another, started by it, so that the figures are the
//! core's alone. All gateways have one credential: the gatekeeper here lets everybody in.
#![expect(clippy::print_stdout, reason = "its output is what it is for")]

use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use homeward_channel::{
    Authority, Client, ClientSettings, Denial, Event, Gatekeeper, Issue, Presented, Server,
    ServerSettings, Subject, Token, TokenHash,
};
use homeward_daemon::{SystemClock, SystemEntropy, clock};
use homeward_model::{Clock, GatewayId};

type Result<T, E = Box<dyn std::error::Error>> = std::result::Result<T, E>;

/// For how long the channels are idle.
const IDLE: Duration = Duration::from_secs(30);

struct Anybody;

#[async_trait]
impl Gatekeeper for Anybody {
    async fn admit(&self, presented: &Presented) -> Result<Subject, Denial> {
        subject(presented.gateway)
    }

    async fn redeem(&self, _: TokenHash, _: &Issue) -> Result<Subject, Denial> {
        subject(GatewayId(1))
    }

    async fn renew(&self, presented: &Presented, _: &Issue) -> Result<Subject, Denial> {
        subject(presented.gateway)
    }
}

fn subject(gateway: GatewayId) -> Result<Subject, Denial> {
    let name = "gw".parse().map_err(|e| Denial::Failed(Box::new(e)))?;
    Ok(Subject { gateway, name, device_of: None })
}

fn main() -> Result<()> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    let runtime = runtime.worker_threads(2).enable_all().build()?;
    match words.as_slice() {
        [mode, core, directory, channels] if mode == "gateways" => {
            runtime.block_on(gateways(core, directory.into(), channels.parse()?))
        }
        [] => runtime.block_on(core(1000)),
        [channels] => runtime.block_on(core(channels.parse()?)),
        _ => Err("usage: idle [CHANNELS]".into()),
    }
}

/// Opens channels, and keeps them until standard input ends.
async fn gateways(core: &str, directory: PathBuf, channels: usize) -> Result<()> {
    let (settings, clock) = (ClientSettings::default(), Arc::new(SystemClock));
    let client = Client::new(vec![core.to_owned()], directory, settings, clock);
    let mut open = Vec::with_capacity(channels);
    for _ in 0..channels {
        open.push(client.connect().await?);
    }
    println!("open");
    std::io::stdout().flush()?;
    tokio::task::spawn_blocking(|| std::io::stdin().lines().count()).await?;
    Ok(())
}

async fn core(channels: usize) -> Result<()> {
    let parts = Authority::generate(SystemClock.unix(), &mut SystemEntropy::new())?;
    let authority = Arc::new(Authority::load(&parts)?);
    let listen = [SocketAddr::new(Ipv4Addr::LOCALHOST.into(), 0)];
    let (keeper, clock) = (Arc::new(Anybody), Arc::new(SystemClock));
    let settings = ServerSettings::default();
    let server = Server::bind(&listen, settings, Arc::clone(&authority), keeper, clock).await?;
    let address = server.local().first().ok_or("no address")?.to_string();

    let directory = std::env::temp_dir().join(format!("homeward-idle-{}", std::process::id()));
    let (client_settings, clock) = (ClientSettings::default(), Arc::new(SystemClock));
    let client = Client::new(vec![address.clone()], directory.clone(), client_settings, clock);
    client.enrol(&Token::generate(authority.pin(), &mut SystemEntropy::new())).await?;
    let outcome = measure(server, &address, &directory, channels).await;
    std::fs::remove_dir_all(&directory)?;
    outcome
}

async fn measure(
    mut server: Server,
    address: &str,
    directory: &Path,
    channels: usize,
) -> Result<()> {
    let (memory, cpu, began) = (resident()?, clock::process_cpu_time(), SystemClock.now());
    let mut child = Command::new(std::env::current_exe()?)
        .args(["gateways", address])
        .arg(directory)
        .arg(channels.to_string())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    let mut handles = Vec::with_capacity(channels);
    while handles.len() < channels {
        if let Event::Opened { handle, .. } = server.event().await {
            handles.push(handle);
        }
    }
    let took = SystemClock.now().since(began);
    let spent = clock::process_cpu_time().saturating_sub(cpu);
    if let Some(out) = child.stdout.take() {
        BufReader::new(out).read_line(&mut String::new())?;
    }
    let each = resident()?.saturating_sub(memory) / channels as u64;
    println!("{channels} channels opened in {took:.2?}, one after the other");
    println!("core: {:.2?} of CPU for each", spent / u32::try_from(channels)?);
    println!("core: {each} octets of memory for each");
    let (cpu, began) = (clock::process_cpu_time(), SystemClock.now());
    tokio::select! {
        () = SystemClock.until(Some(began + IDLE)) => {}
        event = server.event() => return Err(format!("not idle: {event:?}").into()),
    }
    let spent = clock::process_cpu_time().saturating_sub(cpu);
    println!(
        "core: {:.3} % of a core while idle",
        spent.as_secs_f64() / IDLE.as_secs_f64() * 100.0
    );
    drop(child.stdin.take());
    child.wait()?;
    Ok(())
}

/// Octets of resident memory.
fn resident() -> Result<u64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).ok_or("no VmRSS")?;
    let kilobytes: u64 = line.trim().trim_end_matches("kB").trim().parse()?;
    Ok(kilobytes * 1024)
}
