//! What the gateway needs of its machine: looked at before it runs, or while it does.
//!
//! Nothing is changed by looking, except that the run directory is made if it is missing.

use std::fs::{self, OpenOptions};
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Duration;

use homeward_daemon::doctor::{Finding, Findings};
use homeward_daemon::{Invalid, SecretSource, SystemClock, SystemEntropy};
use homeward_hostapd::Control;
use homeward_linux::nl80211::InterfaceType;
use homeward_linux::{Links, Nl80211, machine};
use homeward_model::Clock;
use homeward_radius::{AttributeList, Client, ClientEvent, ClientSettings, Code, SharedSecret};
use homeward_transport::{Event, UdpClient};

use crate::config::Config;

mod nat;
mod reach;
mod uplink;

/// How long hostapd may take to answer.
const PATIENCE: Duration = Duration::from_secs(2);

/// Looks at everything that the configuration names on this machine.
pub async fn examine(config: &Config) -> Vec<Finding> {
    let mut found = Findings::default();
    capabilities(&mut found);
    radio(config, &mut found);
    hostapd(config, &mut found).await;
    bridge(config, &mut found);
    run_directory(&config.radio.run_directory, &mut found);
    if let Some(path) = &config.home.psk_file {
        psk_file(path, &mut found);
    }
    reach::examine(config, &mut found).await;
    if !config.channel.core.is_empty() {
        nat::examine(config, &mut found).await;
    }
    for core in &config.core {
        if let Some(endpoint) = &core.radsec {
            uplink::examine(endpoint, &config.channel.directory, &mut found).await;
        }
        let Some((address, source)) = core.by_udp() else { continue };
        if let Some(secret) = secret(address, source, &mut found) {
            server(address, secret, &mut found).await;
        }
    }
    found.into_vec()
}

/// Refuses a bridge for roamers that is the owner's, where this machine tells. An interface that
/// is not there yet, or a kernel that does not tell, refuses nothing.
///
/// # Errors
///
/// [`Invalid`], naming `roam.bridge`.
pub fn check_bridge(config: &Config) -> Result<(), Invalid> {
    let Some(bridge) = &config.roam.bridge else { return Ok(()) };
    match owners_bridge(config) {
        Ok(Some(owners)) if owners == *bridge => Err(Invalid::new(
            "roam.bridge",
            format!(
                "{bridge} is the owner's: {} is a port of it; make another bridge for roamers",
                config.radio.interface
            ),
        )),
        _ => Ok(()),
    }
}

/// The name of the bridge that the owner's interface is a port of.
fn owners_bridge(config: &Config) -> homeward_linux::Result<Option<String>> {
    Ok(Links::open()?.bridge_of(&config.radio.interface)?.map(|bridge| bridge.name))
}

/// An error with its sources.
fn chain(error: impl Into<anyhow::Error>) -> String {
    format!("{:#}", error.into())
}

fn capabilities(found: &mut Findings) {
    match machine::capabilities().map(machine::Capabilities::missing) {
        Ok(missing) if missing.is_empty() => {
            found.ok("this process may configure and listen on interfaces");
        }
        Ok(missing) => found.fail(
            format!("this process lacks {}", missing.join(" and ")),
            "run as root, or give the service AmbientCapabilities=CAP_NET_ADMIN CAP_NET_RAW",
        ),
        Err(error) => found.warn(
            format!("this process's capabilities cannot be seen: {error}"),
            "mount /proc, and look again",
        ),
    }
}

fn radio(config: &Config, found: &mut Findings) {
    let owner = &config.radio.interface;
    let phy = match Nl80211::open().and_then(|mut nl80211| nl80211.phy_of(owner)) {
        Ok(phy) => phy,
        Err(error) => {
            found.fail(
                format!("the owner's interface {owner}: {}", chain(error)),
                "set radio.interface to the interface of the owner's access point (`iw dev` lists them), and load its driver",
            );
            return;
        }
    };
    found.ok(format!("the owner's interface {owner} is on the radio {}", phy.name));
    if phy.supports(InterfaceType::Monitor) {
        found.ok(format!("the radio {} can have a monitor interface", phy.name));
    } else {
        found.fail(
            format!(
                "the radio {} cannot have a monitor interface, so probes are not heard",
                phy.name
            ),
            "use a radio whose driver can (`iw phy` lists monitor under supported interface modes)",
        );
    }
    let wanted = config.vap_settings().max_vaps;
    // One is the owner's.
    let room = usize::try_from(phy.access_points).unwrap_or(usize::MAX).saturating_sub(1);
    if room >= wanted {
        found.ok(format!("the radio {} has room for {wanted} VAPs beside the owner's", phy.name));
    } else {
        found.warn(
            format!("the radio {} has room for {room} VAPs beside the owner's, and {wanted} are allowed", phy.name),
            format!("set roam.max_vaps = {}", room.max(1)),
        );
    }
}

async fn hostapd(config: &Config, found: &mut Findings) {
    let socket = &config.radio.hostapd;
    let control = match Control::global(socket, &config.radio.run_directory) {
        Ok(control) => control,
        Err(error) => {
            found.fail(chain(error), "run as the user that runs the gateway, or as root");
            return;
        }
    };
    match control.ping(PATIENCE).await {
        Ok(()) => found.ok(format!("hostapd answers on {}", socket.display())),
        Err(error) => found.fail(
            chain(error),
            format!(
                "start the owner's hostapd with `-g {}`, or set radio.hostapd",
                socket.display()
            ),
        ),
    }
}

fn bridge(config: &Config, found: &mut Findings) {
    let Some(name) = &config.roam.bridge else {
        found.warn(
            "roamers are put on no bridge: a VAP's interface is on its own",
            "set roam.bridge to a bridge of their own, unless something else takes care of them",
        );
        return;
    };
    match Links::open().and_then(|mut links| links.by_name(name)) {
        Ok(Some(link)) if !link.is_bridge() => found.fail(
            format!("{name} is no bridge"),
            format!("set roam.bridge to a bridge, or make one: `ip link add {name} type bridge`"),
        ),
        Ok(Some(link)) if !link.up => {
            found.warn(format!("the bridge {name} is down"), format!("`ip link set {name} up`"));
        }
        Ok(Some(_)) => found.ok(format!("the bridge {name} is up")),
        Ok(None) => found.fail(
            format!("there is no bridge {name}"),
            format!("`ip link add {name} type bridge && ip link set {name} up`"),
        ),
        Err(error) => found.fail(chain(error), "look at `ip -d link`"),
    }
    match owners_bridge(config) {
        Ok(Some(owners)) if owners == *name => found.fail(
            format!("the bridge {name} is the owner's: roamers would be in the owner's LAN"),
            "make another bridge for roamers, and set roam.bridge to it",
        ),
        Ok(_) => found.ok(format!("the bridge {name} is not the owner's")),
        // That the owner's interface is missing is said already.
        Err(_) => {}
    }
}

fn run_directory(path: &Path, found: &mut Findings) {
    match machine::on_tmpfs(path) {
        Ok(true) => found.ok(format!("{} is in memory: keys do not reach a disk", path.display())),
        Ok(false) => found.warn(
            format!("{} is on a disk: keys of roamers would outlive the machine's power", path.display()),
            "mount a tmpfs there, or set radio.run_directory to a directory on one (`findmnt -t tmpfs`)",
        ),
        Err(error) => found.fail(
            format!("{} cannot be looked at: {error}", path.display()),
            "run as the user that runs the gateway, or set radio.run_directory",
        ),
    }
}

/// The owner's `wpa_psk_file` can be written, and is for hostapd and us only. It is opened, but
/// not changed.
fn psk_file(path: &Path, found: &mut Findings) {
    let writable = match OpenOptions::new().write(true).open(path) {
        // A new one is made beside it and renamed, so the directory counts.
        Err(error) if error.kind() == io::ErrorKind::NotFound => parent_is_writable(path),
        other => other.map(drop),
    };
    match writable {
        Ok(()) => found.ok(format!("{} can be written", path.display())),
        Err(error) => found.fail(
            format!("{} cannot be written: {error}", path.display()),
            "make its directory, for the user that runs the gateway, or set home.psk_file",
        ),
    }
    if let Ok(meta) = fs::metadata(path)
        && meta.mode() & 0o007 != 0
    {
        found.warn(
            format!("{} is open to others (mode {:04o})", path.display(), meta.mode() & 0o7777),
            format!("`chmod o= {}`", path.display()),
        );
    }
}

fn parent_is_writable(path: &Path) -> io::Result<()> {
    let parent = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let found = fs::metadata(parent)?;
    if !found.is_dir() {
        return Err(io::ErrorKind::NotADirectory.into());
    }
    if found.permissions().readonly() {
        return Err(io::ErrorKind::PermissionDenied.into());
    }
    Ok(())
}

fn secret(core: SocketAddr, source: &SecretSource, found: &mut Findings) -> Option<SharedSecret> {
    let read = source.read().map_err(anyhow::Error::from);
    let secret = match read.and_then(|secret| Ok(SharedSecret::new(&secret)?)) {
        Ok(secret) => secret,
        Err(error) => {
            found.fail(
                format!("the secret shared with {core}: {}", chain(error)),
                "write what `homeward admin gateway create` printed there, for the gateway's user only",
            );
            return None;
        }
    };
    if secret.is_short() {
        found.warn(
            format!("the secret shared with {core} is short"),
            "use 16 characters or more: `homeward admin gateway set NAME --new-secret` makes one",
        );
    } else {
        found.ok(format!("the secret shared with {core} can be read"));
    }
    Some(secret)
}

/// Asks the server whether it lives (Status-Server, RFC 5997): that also tells whether the secret
/// is right and the gateway is known, for the server is silent otherwise.
async fn server(core: SocketAddr, secret: SharedSecret, found: &mut Findings) {
    let mut entropy = SystemEntropy::new();
    let mut client = Client::new(ClientSettings::default(), [secret]);
    let asked =
        client.request(SystemClock.now(), &mut entropy, Code::StatusServer, AttributeList::new());
    if let Err(error) = asked {
        found.fail(format!("the core {core} cannot be asked: {error}"), "report this defect");
        return;
    }
    let mut wire = UdpClient::new([core.into()]);
    let mut refused = None;
    let answered = loop {
        while let Some(transmit) = client.poll_transmit() {
            wire.send(transmit.server, usize::from(transmit.socket), &transmit.payload);
        }
        match client.poll_event() {
            Some(ClientEvent::Answered { .. }) => break true,
            Some(ClientEvent::TimedOut { .. }) => break false,
            Some(ClientEvent::Dropped { reason, .. }) => refused = Some(reason.to_string()),
            Some(_) => {}
            None => tokio::select! {
                event = wire.event() => match event {
                    Event::Datagram { server, socket, bytes } => {
                        if let Ok(socket) = u16::try_from(socket) {
                            client.handle_datagram(server, socket, &bytes, SystemClock.now());
                        }
                    }
                    Event::Unreachable { error, .. } => refused = Some(error.to_string()),
                    Event::Moved { .. } | Event::NotFound { .. } => {}
                },
                () = SystemClock.until(client.poll_timeout()) => {
                    client.handle_timeout(SystemClock.now(), &mut entropy);
                }
            },
        }
    };
    if answered {
        found.ok(format!("the core {core} answers"));
    } else {
        let why =
            refused.map_or_else(|| "no answer".to_owned(), |why| format!("no answer ({why})"));
        found.fail(
            format!("the core {core}: {why}"),
            "look there: does it run and listen, has this gateway's record this machine's address, and is the secret the same?",
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use homeward_daemon::doctor::Severity;

    /// The names of a finding's parts, to be searched.
    fn text(findings: &[Finding], severity: Severity) -> String {
        let lines = findings.iter().filter(|f| f.severity == severity);
        lines.map(|f| format!("{} -> {}\n", f.what, f.repair.clone().unwrap_or_default())).collect()
    }

    fn config(directory: &Path) -> Config {
        let text = format!(
            r#"
            name = "gw-17"
            [radio]
            hostapd = "{0}/hostapd"
            interface = "nosuch0"
            run_directory = "{0}/run"
            [[core]]
            address = "127.0.0.1:9"
            secret = {{ file = "{0}/secret" }}
            [roam]
            bridge = "nosuch1"
            [home]
            psk_file = "{0}/missing/home.psk"
            "#,
            directory.display()
        );
        homeward_daemon::config::parse(Path::new("gateway.toml"), &text, Config::check).unwrap()
    }

    #[tokio::test]
    async fn whatever_is_missing_is_named_with_its_repair() {
        let directory = tempfile::tempdir().unwrap();
        let findings = examine(&config(directory.path())).await;
        let failures = text(&findings, Severity::Fail);
        for part in [
            "nosuch0",
            "hostapd with `-g",
            "no bridge nosuch1",
            "home.psk cannot be written",
            "the secret shared with",
        ] {
            assert!(failures.contains(part), "{part} is not in\n{failures}");
        }
    }

    #[tokio::test]
    async fn a_core_that_does_not_answer_is_named() {
        let directory = tempfile::tempdir().unwrap();
        let silent = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let path = directory.path().join("secret");
        fs::write(&path, "a secret of a good length").unwrap();
        fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
        let core = silent.local_addr().unwrap();
        let mut found = Findings::default();
        let secret = secret(core, &SecretSource::File(path), &mut found).unwrap();
        server(core, secret, &mut found).await;
        assert!(text(found.as_slice(), Severity::Fail).contains(&core.to_string()), "{found:?}");
    }

    #[test]
    fn a_bridge_that_nobody_can_see_is_not_refused() {
        let directory = tempfile::tempdir().unwrap();
        assert_eq!(check_bridge(&config(directory.path())), Ok(()));
    }

    #[test]
    fn a_world_readable_psk_file_is_reported() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("home.psk");
        fs::write(&path, "").unwrap();
        fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o644)).unwrap();
        let mut found = Findings::default();
        psk_file(&path, &mut found);
        assert!(text(found.as_slice(), Severity::Warn).contains("chmod o="), "{found:?}");
    }
}
