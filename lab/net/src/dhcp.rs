//! Real DHCP: dnsmasq as the server of DHCPv4, DHCPv6 and router advertisements; busybox's udhcpc
//! and ISC's dhclient as clients.

use std::fs;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use homeward_model::Mac;

use crate::namespace::Namespace;
use crate::process::{Process, last_lines};
use crate::tool::find_tool;
use crate::wait::wait_for;

/// How long a server may take to come up.
const START: Duration = Duration::from_secs(20);

/// What a server is to serve.
#[derive(Debug, Clone)]
pub struct DhcpConfig {
    interface: String,
    arguments: Vec<String>,
}

impl DhcpConfig {
    /// On that interface, which has its addresses already; nothing yet.
    pub fn on(interface: &str) -> Self {
        Self { interface: interface.to_owned(), arguments: Vec::new() }
    }

    /// DHCPv4: the addresses .50 to .250 of the /24 that this one lies in, for an hour.
    pub fn network(self, address: Ipv4Addr) -> Self {
        let [a, b, c, _] = address.octets();
        self.argument(&format!("--dhcp-range={a}.{b}.{c}.50,{a}.{b}.{c}.250,255.255.255.0,1h"))
    }

    /// Router advertisements for this /64, for stateless addresses, and DHCPv6 with the addresses
    /// ::100 to ::1ff of it.
    pub fn prefix(self, prefix: Ipv6Addr) -> Self {
        let [a, b, c, d, ..] = prefix.segments();
        let at = |host| Ipv6Addr::new(a, b, c, d, 0, 0, 0, host);
        self.argument("--enable-ra").argument(&format!(
            "--dhcp-range={},{},slaac,64,1h",
            at(0x100),
            at(0x1ff)
        ))
    }

    /// Always this address to that device.
    pub fn reserve(self, device: Mac, address: Ipv4Addr) -> Self {
        let octets = device.octets().map(|octet| format!("{octet:02x}")).join(":");
        self.argument(&format!("--dhcp-host={octets},{address}"))
    }

    /// A further argument of dnsmasq, such as `--dhcp-option=26,1400`.
    pub fn argument(mut self, argument: &str) -> Self {
        self.arguments.push(argument.to_owned());
        self
    }
}

/// A running dnsmasq; gone when dropped.
#[derive(Debug)]
pub struct DhcpServer {
    process: Process,
    leases: PathBuf,
}

impl DhcpServer {
    /// Starts a server and waits until it serves. Its log goes to `logs`, its leases to `folder`.
    ///
    /// # Errors
    /// If dnsmasq is not installed, or does not like what it is told.
    pub async fn start(
        logs: &Path,
        folder: &Path,
        name: &str,
        namespace: &Namespace,
        config: &DhcpConfig,
    ) -> Result<Self> {
        let leases = folder.join(format!("{name}.leases"));
        let words = [
            "dnsmasq".to_owned(),
            // In the foreground and as who it is: a user namespace has no other users or groups
            // to change to.
            "--no-daemon".to_owned(),
            "--conf-file=/dev/null".to_owned(),
            "--port=0".to_owned(),
            "--bind-interfaces".to_owned(),
            "--dhcp-authoritative".to_owned(),
            "--no-ping".to_owned(),
            "--log-dhcp".to_owned(),
            "--log-facility=-".to_owned(),
            format!("--interface={}", config.interface),
            format!("--dhcp-leasefile={}", leases.display()),
        ];
        let words: Vec<_> = words.iter().chain(&config.arguments).map(String::as_str).collect();
        let mut process = Process::start(logs, name, namespace, &words)?;
        // It says so when its sockets are bound.
        process.says("started, version", START).await?;
        Ok(Self { process, leases })
    }

    /// What it has leased, in dnsmasq's own words: a line each, with the time of expiry, the MAC
    /// (or the identity association), the address, the name and the client's identifier.
    pub fn leases(&self) -> String {
        fs::read_to_string(&self.leases).unwrap_or_default()
    }

    /// The program, for its log or to kill it.
    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }
}

/// What a client got.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lease {
    /// Its own address.
    pub address: Ipv4Addr,
    /// The router it is to use.
    pub router: Ipv4Addr,
    /// Who gave it.
    pub server: Ipv4Addr,
}

/// Gets an address by DHCPv4 and takes it on, with a route by the router, if one is named. The
/// client (busybox's udhcpc) ends then. Its log goes to `logs`, the lease to `folder`.
///
/// # Errors
/// If it gets none within `limit`.
pub async fn lease(
    logs: &Path,
    folder: &Path,
    name: &str,
    namespace: &Namespace,
    interface: &str,
    limit: Duration,
) -> Result<Lease> {
    lease_at(0, logs, folder, name, namespace, interface, limit).await
}

/// [`lease`], with routes of this metric: the link's, too, for another interface may be in the same
/// network.
///
/// # Errors
/// As [`lease`].
pub async fn lease_at(
    metric: u32,
    logs: &Path,
    folder: &Path,
    name: &str,
    namespace: &Namespace,
    interface: &str,
    limit: Duration,
) -> Result<Lease> {
    let name = format!("{name}-udhcpc");
    let script = folder.join(format!("{name}.sh"));
    let file = folder.join(format!("{name}.lease"));
    fs::remove_file(&file).ok();
    fs::write(&script, udhcpc_script(&file, metric)?)?;
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755))?;
    let script = script.to_string_lossy().into_owned();
    // After three requests that nobody acknowledged it begins anew, a second later.
    let command = ["busybox", "udhcpc", "-f", "-q", "-t", "20", "-T", "1", "-A", "1", "-O", "mtu"];
    let command: Vec<_> = command.into_iter().chain(["-i", interface, "-s", &script]).collect();
    let mut client = Process::start(logs, &name, namespace, &command)?;
    let ended = client.ended(limit).await;
    let said = || format!("{name}: {}", last_lines(&client.log(), 5));
    let status = ended.with_context(said)?;
    ensure!(status.success(), said());
    let text = fs::read_to_string(&file).context("udhcpc left no lease")?;
    let words: Option<Vec<Ipv4Addr>> = text.split_whitespace().map(|w| w.parse().ok()).collect();
    match words.as_deref() {
        Some(&[address, router, server]) => Ok(Lease { address, router, server }),
        _ => anyhow::bail!("not a lease: {text:?}"),
    }
}

/// Gets an address by DHCPv6 (ISC's dhclient, which goes on renewing it) and takes it on.
///
/// # Errors
/// If it gets none within `limit`.
pub async fn lease6(
    logs: &Path,
    folder: &Path,
    name: &str,
    namespace: &Namespace,
    interface: &str,
    limit: Duration,
) -> Result<(Ipv6Addr, Process)> {
    // The client gives up at once on an interface whose own address is still being tried.
    wait_for("a link-local address", limit, async || {
        let words = ["-6", "addr", "show", "dev", interface, "scope", "link", "-tentative"];
        Ok(namespace.run_tool("ip", &words)?.contains("fe80").then_some(()))
    })
    .await?;
    let name = format!("{name}-dhclient6");
    let at = |ending: &str| folder.join(format!("{name}.{ending}"));
    let (script, file) = (at("sh"), at("lease"));
    fs::remove_file(&file).ok();
    fs::write(&script, dhclient_script(&file))?;
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755))?;
    let [script, leases, pid] =
        [script, at("leases"), at("pid")].map(|path| path.to_string_lossy().into_owned());
    let command = ["dhclient", "-6", "-d", "-cf", "/dev/null", "-lf", &leases, "-pf", &pid];
    let command: Vec<_> = command.into_iter().chain(["-sf", &script, interface]).collect();
    let mut client = Process::start(logs, &name, namespace, &command)?;
    client.makes(&file, limit).await?;
    let text = fs::read_to_string(&file)?;
    let address = text.trim().parse().with_context(|| format!("not an address: {text:?}"))?;
    Ok((address, client))
}

/// What udhcpc runs when it has something to tell. It reads its facts from the environment. An address
/// that is there already stays, as with any client that renews.
fn udhcpc_script(lease: &Path, metric: u32) -> Result<String> {
    let lease = lease.display();
    let ip = find_tool("ip").context("ip is not installed: run `make setup`")?;
    let ip = ip.display();
    Ok(format!(
        "#!/bin/busybox sh\n\
         [ \"$1\" = bound ] || [ \"$1\" = renew ] || exit 0\n\
         router=${{router%% *}}\n\
         if [ -z \"$({ip} -4 -o addr show dev $interface to $ip)\" ]; then\n\
         {ip} -4 addr flush dev $interface\n\
         {ip} addr add $ip/$mask dev $interface metric {metric}\n\
         fi\n\
         [ -z \"$router\" ] || {ip} route replace default via $router dev $interface metric {metric}\n\
         [ -z \"$mtu\" ] || {ip} link set $interface mtu $mtu\n\
         echo $ip ${{router:-0.0.0.0}} $serverid > {lease}.new && busybox mv {lease}.new {lease}\n"
    ))
}

/// The same for dhclient.
fn dhclient_script(lease: &Path) -> String {
    let lease = lease.display();
    format!(
        "#!/bin/busybox sh\n\
         [ -n \"$new_ip6_address\" ] || exit 0\n\
         busybox ip -6 addr add $new_ip6_address/$new_ip6_prefixlen dev $interface\n\
         echo $new_ip6_address > {lease}.new && busybox mv {lease}.new {lease}\n"
    )
}
