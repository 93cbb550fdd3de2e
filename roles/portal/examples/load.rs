//! What the portal costs: CPU for a credential, from the TCP connection to the disk, and memory
//! for a connection that is open and says nothing.
//!
//! ```text
//! cargo run --release -p homeward-portal --example load [DEVICES [CONNECTIONS]]
//! ```
//!
//! The portal is this process; its clients are another, started by it, so that the figures are the
//! portal's alone. Every device has an address of 127.0.0.0/8 of its own, and makes a connection
//! of its own for its one request.
#![expect(clippy::print_stdout, reason = "its output is what it is for")]

use std::io::{BufRead, BufReader, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context, Result, ensure};
use homeward_daemon::{Metrics, Shutdown, SystemClock, SystemEntropy, clock};
use homeward_model::{
    Apn, Clock, Coverage, Imsi, Mac, Msisdn, OffloadPolicy, PolicyScope, ServiceTerms, Status,
};
use homeward_offload::issuing::Settings;
use homeward_offload::wire::{CredentialRequest, json};
use homeward_portal::committer::Committer;
use homeward_portal::desk::{Desk, Held, Terms, Whose};
use homeward_portal::http::{Certificates, Files, Limits, Listen, Server};
use homeward_portal::routes::Portal;
use homeward_portal::{figures, http};
use homeward_seal::KeyRing;
use homeward_store::{NewAccount, NewClass, NewSubscriber, SqliteStore, Store};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// Devices that ask at a time.
const AT_A_TIME: u32 = 64;

/// Every address is the device's that has its number.
struct Numbered;

impl Whose for Numbered {
    fn at(&self, address: IpAddr, _: Option<&Apn>) -> Option<Held> {
        let IpAddr::V4(v4) = address else { return None };
        Some(Held { imsi: imsi(v4.to_bits() & 0x00ff_ffff)?, imei: None })
    }

    fn of_number(&self, _: Msisdn) -> Option<Held> {
        None
    }
}

fn imsi(device: u32) -> Option<Imsi> {
    format!("99970{device:010}").parse().ok()
}

fn address(device: u32) -> IpAddr {
    Ipv4Addr::from_bits(0x7f00_0000 | device).into()
}

fn main() -> Result<()> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    let runtime = runtime.worker_threads(2).enable_all().build()?;
    match words.as_slice() {
        [mode, portal, trust, count] => {
            runtime.block_on(clients(mode, portal.parse()?, trust.as_ref(), count.parse()?))
        }
        [] => runtime.block_on(portal(20_000, 10_000)),
        [devices] => runtime.block_on(portal(devices.parse()?, 10_000)),
        [devices, connections] => runtime.block_on(portal(devices.parse()?, connections.parse()?)),
        _ => anyhow::bail!("usage: load [DEVICES [CONNECTIONS]]"),
    }
}

/// Asks as so many devices (`ask`), or connects as so many and stays (`hold`, `kept`: after a
/// request each).
async fn clients(mode: &str, portal: SocketAddr, trust: &Path, count: u32) -> Result<()> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(trust)?)?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    let connector = TlsConnector::from(Arc::new(config));
    let next = Arc::new(AtomicU32::new(1));
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..AT_A_TIME {
        let (connector, next) = (connector.clone(), Arc::clone(&next));
        let (ask, keep) = (mode != "hold", mode != "ask");
        tasks.spawn(async move {
            let mut held = Vec::new();
            loop {
                let device = next.fetch_add(1, Ordering::Relaxed);
                if device > count {
                    return Ok::<_, anyhow::Error>(held);
                }
                let mut stream = connect(&connector, portal, device).await?;
                if ask {
                    request(&mut stream, device).await?;
                }
                if keep {
                    held.push(stream);
                }
            }
        });
    }
    let mut held = Vec::new();
    while let Some(done) = tasks.join_next().await {
        held.push(done??);
    }
    println!("done");
    std::io::stdout().flush()?;
    tokio::task::spawn_blocking(|| std::io::stdin().lines().count()).await?;
    Ok(())
}

async fn connect(
    connector: &TlsConnector,
    portal: SocketAddr,
    device: u32,
) -> Result<TlsStream<TcpStream>> {
    let socket = TcpSocket::new_v4()?;
    socket.bind(SocketAddr::new(address(device), 0))?;
    let stream = socket.connect(portal).await?;
    stream.set_nodelay(true)?;
    Ok(connector.connect(ServerName::try_from("portal.example.net")?, stream).await?)
}

async fn request(stream: &mut TlsStream<TcpStream>, device: u32) -> Result<()> {
    let [_, a, b, c] = device.to_be_bytes();
    let request = CredentialRequest {
        imsi: imsi(device).context("an IMSI")?,
        imei: None,
        mac: Mac::new([2, 0, 0x5e, a, b, c]),
        previous: None,
    };
    let body = json::encode_request(&request);
    let head = format!(
        "POST /offload/v1/credentials HTTP/1.1\r\nHost: portal.example.net\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(&[head.as_bytes(), &body].concat()).await?;
    let mut said = vec![0; 4096];
    let length = stream.read(&mut said).await?;
    let said = said.get(..length).unwrap_or_default();
    ensure!(said.starts_with(b"HTTP/1.1 200 "), "{}", String::from_utf8_lossy(said));
    Ok(())
}

async fn portal(devices: u32, connections: u32) -> Result<()> {
    let place = tempfile::tempdir_in("target")?;
    let ring = KeyRing::generate(
        &place.path().join("keys"),
        &mut SystemEntropy::new(),
        SystemClock.unix(),
    )?;
    let (clock, entropy) = (Arc::new(SystemClock), Box::new(SystemEntropy::new()));
    let store = SqliteStore::open(&place.path().join("db"), ring, clock, entropy).await?;
    let store: Arc<dyn Store> = Arc::new(store);
    fill(&*store, devices.max(connections)).await?;

    let files = Files {
        section: "portal",
        certificate: place.path().join("portal.pem"),
        key: place.path().join("portal.key"),
    };
    let made = rcgen::generate_simple_self_signed(["portal.example.net".to_owned()])?;
    std::fs::write(&files.certificate, made.cert.pem())?;
    std::fs::write(&files.key, made.signing_key.serialize_pem())?;
    let (committer, committing) = Committer::new();
    tokio::spawn(committing.run(Arc::clone(&store)));
    let mut metrics = Metrics::new("core", "load");
    let figures = figures::Figures::new(&mut metrics);
    let terms = Terms {
        realm: "wlan.example.net".parse()?,
        settings: Settings::default(),
        unknown_subscribers: None,
    };
    let whose = Arc::new(Numbered);
    let desk = Desk::new(terms, store, whose, committer, figures.clone()).await?;
    let handler = Arc::new(Portal::new(Arc::new(desk), 30, figures));
    let hour = std::time::Duration::from_secs(3600);
    let limits = Limits { idle: hour, ..Limits::default() };
    let listen = Listen { addresses: vec![("127.0.0.1:0".parse()?, None)], proxies: Vec::new() };
    let certificates = Certificates::load(&files)?;
    let door = http::Figures::default();
    let server =
        Server::bind(listen, limits, Some(certificates), handler, door, Shutdown::new()).await?;
    let at = *server.local().first().context("no address")?;
    tokio::spawn(server.serve());

    for what in ["issued", "told again"] {
        let (cpu, began) = (clock::process_cpu_time(), SystemClock.now());
        let child = start("ask", at, &files.certificate, devices)?;
        let spent = clock::process_cpu_time().saturating_sub(cpu).as_secs_f64();
        let took = SystemClock.now().since(began).as_secs_f64();
        end(child)?;
        let devices = f64::from(devices);
        println!(
            "{what}: {:.0}/s of one core ({:.0} µs of CPU each, TLS and all); {:.0}/s here, beside \
             its clients",
            devices / spent,
            spent / devices * 1e6,
            devices / took
        );
    }
    for what in ["hold", "kept"] {
        let memory = resident()?;
        let child = start(what, at, &files.certificate, connections)?;
        let now = resident()?;
        println!(
            "{what}: {connections} connections open: {} octets each, {:.1} MB in all",
            now.saturating_sub(memory) / u64::from(connections),
            now as f64 / 1e6
        );
        end(child)?;
    }
    Ok(())
}

/// Starts clients, and waits until they have done what they are for.
fn start(mode: &str, portal: SocketAddr, trust: &Path, count: u32) -> Result<Child> {
    let mut child = Command::new(std::env::current_exe()?)
        .args([mode, &portal.to_string()])
        .arg(trust)
        .arg(count.to_string())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    let out = child.stdout.take().context("its output")?;
    let mut said = String::new();
    tokio::task::block_in_place(|| BufReader::new(out).read_line(&mut said))?;
    ensure!(said == "done\n", "the clients failed");
    Ok(child)
}

fn end(mut child: Child) -> Result<()> {
    drop(child.stdin.take());
    tokio::task::block_in_place(|| child.wait())?;
    Ok(())
}

async fn fill(store: &dyn Store, subscribers: u32) -> Result<()> {
    let (coverage, terms) = (Coverage::default(), ServiceTerms::default());
    let class = NewClass { name: "gold".parse()?, coverage, terms, retention: None };
    let class = store.create_class(&class).await?.id;
    let (name, status) = ("mobile".parse()?, Status::Active);
    let account = store.create_account(&NewAccount { name, class, status }).await?.id;
    let text = r#"{"wlan":{"networks":[{"ssid":"Town"}],"server_name":"aaa.example.net"}}"#;
    let policy: OffloadPolicy = serde_json::from_str(text)?;
    store.set_policy(PolicyScope::Default, &policy).await?;
    let new = (1..=subscribers).map(|n| {
        let (msisdn, label, status) = (None, String::new(), Status::Active);
        Ok(NewSubscriber { imsi: imsi(n).context("an IMSI")?, msisdn, account, label, status })
    });
    let new: Vec<NewSubscriber> = new.collect::<Result<_>>()?;
    for some in new.chunks(5000) {
        store.create_subscribers(some).await?;
    }
    Ok(())
}

/// Octets of resident memory.
fn resident() -> Result<u64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
    let kilobytes: u64 = line.trim().trim_end_matches("kB").trim().parse()?;
    Ok(kilobytes * 1024)
}
