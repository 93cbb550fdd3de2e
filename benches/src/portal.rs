//! The portal, as devices meet it: each has an address of its own that a packet gateway reported,
//! asks once over TLS, and the name and password that it gets are tried by PAP. What the core spends
//! on that, and what a connection that stays open costs it in memory.
//!
//! ```text
//!  packet gateway ── Accounting (Start) ──►┐
//!  10.64.x.y ─────── HTTPS, JSON ─────────►│ core, on a disk
//!  NAS ───────────── PAP ─────────────────►┘
//! ```
//!
//! On loopback no bearer has an address: devices come through a proxy that says by the PROXY protocol
//! (version 2) whose connection it is.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use homeward_daemon::SystemClock;
use homeward_model::{Clock, Imsi, Mac, Secret};
use homeward_offload::wire::{CredentialRequest, Limits, Reply, json};
use homeward_radius::Code;
use homeward_radius::dictionary::{standard, threegpp};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::asker::Asker;
use crate::figures::{Figure, median, percentile};
use crate::population::{Population, imsi};
use crate::world::{Core, GATEWAY, PortalAt};

/// Devices of a run; each asks once.
const DEVICES: u32 = 10_000;
const RUNS: u32 = 3;
/// How many ask at a time.
const AT_A_TIME: usize = 64;
/// Connections that stay open.
const CONNECTIONS: u32 = 10_000;
/// A packet gateway's session is up: Start (RFC 2866 5.1).
const START: u32 = 1;
/// By then AAA knows what was issued.
const TOLD: Duration = Duration::from_secs(1);

pub(crate) fn measure() -> Result<()> {
    let population = Population { subscribers: RUNS * DEVICES, ..Population::homes(1) };
    let core = Core::start_portal(population)?;
    let portal = core.portal.as_ref().context("the core has no portal")?;
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    let runtime = runtime.worker_threads(2).enable_all().build()?;
    let (mut each, mut rate, mut waits) = (Vec::new(), Vec::new(), Vec::new());
    let mut reporter = Asker::new(portal.bearers)?;
    let mut nas = Asker::new(core.address)?;
    let connector = connector(&portal.trust)?;
    for run in 0..RUNS {
        let devices = 1 + run * DEVICES..1 + (run + 1) * DEVICES;
        for device in devices.clone() {
            report(&mut reporter, device)?;
        }
        let (cpu, began) = (core.process.cpu()?, SystemClock.now());
        let asked = runtime.block_on(ask_all(&connector, portal.address, devices))?;
        runtime.block_on(SystemClock.until(Some(SystemClock.now() + TOLD)));
        for asked in &asked {
            log_in(&mut nas, asked)?;
        }
        let took = SystemClock.now().since(began).saturating_sub(TOLD).as_secs_f64();
        let spent = core.process.cpu()?.saturating_sub(cpu).as_secs_f64();
        each.push(spent / f64::from(DEVICES) * 1e6);
        rate.push(f64::from(DEVICES) / took);
        waits.extend(asked.iter().map(|asked| asked.wait.as_secs_f64() * 1e3));
    }
    let (runs, cpu) = (RUNS as usize, median(&mut each));
    Figure::alone("portal/credential-and-pap/server-cpu", "us", cpu, runs).record()?;
    Figure::alone("portal/credential-and-pap/per-core", "1/s", 1e6 / cpu, runs).record()?;
    let name = "portal/credential-and-pap/beside-its-clients";
    Figure::alone(name, "1/s", median(&mut rate), runs).record()?;
    for p in [50, 99] {
        let name = format!("portal/credential/p{p}");
        Figure::alone(&name, "ms", percentile(&mut waits, p), waits.len()).record()?;
    }

    let before = core.process.resident()?;
    let held = runtime.block_on(hold(&connector, portal.address))?;
    let now = core.process.resident()?;
    let open = f64::from(CONNECTIONS);
    Figure::alone("portal/open-connections", "MB", now, held.len()).record()?;
    Figure::alone("portal/open-connection", "kB", (now - before) * 1e3 / open, held.len())
        .record()?;
    drop(held);
    runtime.shutdown_background();
    Ok(())
}

/// The device's address.
fn address(device: u32) -> Ipv4Addr {
    Ipv4Addr::from_bits(0x0a40_0000 | device)
}

/// The device's Wi-Fi.
fn station(device: u32) -> Mac {
    let [_, a, b, c] = device.to_be_bytes();
    Mac::new([2, 0, 0x5e, a, b, c])
}

/// What a proxy says before a connection of the device's: PROXY protocol, version 2, TCP over IPv4.
fn header(device: u32, portal: SocketAddr) -> Vec<u8> {
    let mut header = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c".to_vec();
    header.extend(address(device).octets());
    header.extend([127, 0, 0, 1, 0xc0, 0]);
    header.extend(portal.port().to_be_bytes());
    header
}

fn connector(trust: &Path) -> Result<TlsConnector> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(trust)?)?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(TlsConnector::from(Arc::new(config)))
}

/// What a device got, and how long it waited from its first packet on.
struct Asked {
    device: u32,
    name: String,
    password: Secret,
    wait: Duration,
}

/// Has all devices ask, so many at a time.
async fn ask_all(
    connector: &TlsConnector,
    portal: SocketAddr,
    devices: std::ops::Range<u32>,
) -> Result<Vec<Asked>> {
    let next = Arc::new(AtomicU32::new(devices.start));
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..AT_A_TIME {
        let (connector, next, end) = (connector.clone(), Arc::clone(&next), devices.end);
        tasks.spawn(async move {
            let mut asked = Vec::new();
            loop {
                let device = next.fetch_add(1, Ordering::Relaxed);
                if device >= end {
                    return Ok::<_, anyhow::Error>(asked);
                }
                let began = SystemClock.now();
                let mut stream = connect(&connector, portal, device).await?;
                let (name, password) = request(&mut stream, device).await?;
                let wait = SystemClock.now().since(began);
                asked.push(Asked { device, name, password, wait });
            }
        });
    }
    let mut all = Vec::new();
    while let Some(asked) = tasks.join_next().await {
        all.extend(asked??);
    }
    Ok(all)
}

/// Connections that have asked nothing yet, each by an address of its own.
async fn hold(connector: &TlsConnector, portal: SocketAddr) -> Result<Vec<TlsStream<TcpStream>>> {
    let mut held = Vec::new();
    for device in 1..=CONNECTIONS {
        held.push(connect(connector, portal, device).await?);
    }
    Ok(held)
}

async fn connect(
    connector: &TlsConnector,
    portal: SocketAddr,
    device: u32,
) -> Result<TlsStream<TcpStream>> {
    let socket = TcpSocket::new_v4()?;
    // One address has too few ports for all of them.
    let from = Ipv4Addr::from_bits(0x7f01_0000 | device);
    socket.bind(SocketAddr::new(IpAddr::V4(from), 0))?;
    let mut stream = socket.connect(portal).await?;
    stream.write_all(&header(device, portal)).await?;
    stream.set_nodelay(true)?;
    Ok(connector.connect(ServerName::try_from(PortalAt::NAME)?, stream).await?)
}

async fn request(stream: &mut TlsStream<TcpStream>, device: u32) -> Result<(String, Secret)> {
    let (imsi, mac) = (imsi(device)?, station(device));
    let request = CredentialRequest { imsi, imei: None, mac, previous: None, handoff: false };
    let body = json::encode_request(&request);
    let head = format!(
        "POST /offload/v1/credentials HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n",
        PortalAt::NAME,
        body.len()
    );
    stream.write_all(&[head.as_bytes(), &body].concat()).await?;
    let mut said = Vec::new();
    stream.read_to_end(&mut said).await?;
    ensure!(said.starts_with(b"HTTP/1.1 200 "), "{}", String::from_utf8_lossy(&said));
    let end = said.windows(4).position(|w| w == b"\r\n\r\n").context("no end of the head")? + 4;
    let body = said.get(end..).unwrap_or_default();
    match json::decode_reply(body, Limits::REPLY) {
        Ok(Reply::Credentials(answer)) => {
            Ok((answer.username.as_str().to_owned(), answer.password))
        }
        other => anyhow::bail!("no credentials: {other:?}"),
    }
}

/// The packet gateway reports the device's session.
fn report(reporter: &mut Asker, device: u32) -> Result<()> {
    let (subscriber, address): (Imsi, _) = (imsi(device)?, address(device));
    let reported = reporter.ask(Code::AccountingRequest, Code::AccountingResponse, |packet| {
        packet.integer(standard::ACCT_STATUS_TYPE, START)?;
        packet.text(standard::NAS_IDENTIFIER, "ggsn")?;
        packet.text(standard::ACCT_SESSION_ID, &format!("{device:016X}"))?;
        packet.text(standard::CALLED_STATION_ID, "internet")?;
        packet.ipv4(standard::FRAMED_IP_ADDRESS, address)?;
        packet.vendor(threegpp::VENDOR, threegpp::IMSI, subscriber.as_str().as_bytes())?;
        Ok(())
    });
    reported.map(drop)
}

/// A NAS tries what a device was given.
fn log_in(nas: &mut Asker, asked: &Asked) -> Result<()> {
    let station = station(asked.device).full().to_string();
    let answered = nas.ask(Code::AccessRequest, Code::AccessAccept, |packet| {
        packet.text(standard::USER_NAME, &asked.name)?;
        packet.user_password(asked.password.expose())?;
        packet.text(standard::CALLING_STATION_ID, &station)?;
        packet.text(standard::NAS_IDENTIFIER, GATEWAY)?;
        Ok(())
    });
    answered.map(drop)
}
