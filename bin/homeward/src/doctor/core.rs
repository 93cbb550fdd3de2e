//! What the core needs of its machine.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr, TcpListener, UdpSocket};

use homeward_daemon::doctor::{Finding, Findings};
use homeward_daemon::{Request, SystemClock, control};
use homeward_model::{Clock as _, Gateway, PolicyScope};
use homeward_seal::KeyRing;
use homeward_store::{
    AccountFilter, Accounts as _, DeviceFilter, Devices, GatewayFilter, Gateways, LoginFilter,
    Logins, Page, Policies, SqliteStore, SubscriberFilter, Subscribers,
};
use serde_json::Value;

use crate::core::Config;
use crate::homeless::{self, Warning};
use crate::role::small_runtime;

mod exports;

/// Records fetched at a time.
const PAGE: u32 = 1000;

pub(super) fn examine(config: &Config) -> anyhow::Result<Vec<Finding>> {
    small_runtime()?.block_on(async {
        let mut found = Findings::default();
        if key_file(config, &mut found) {
            match config.open_store().await {
                Ok(store) => {
                    found.ok(format!("the datastore {} opens, its schema is current", config.store.path.display()));
                    records(config, &store, &mut found).await;
                    store.close().await;
                }
                Err(error) => found.fail(
                    format!("the datastore does not open: {error:#}"),
                    "do what the error says; a new datastore is made by the first `homeward admin class create`",
                ),
            }
        }
        exports::examine(config, &mut found).await;
        addresses(config, &mut found).await;
        let mut all = found.into_vec();
        if let Some(module) = &config.security_module {
            all.extend(homeward_security_module::doctor(&module.handoff, module.epdg.as_ref()).await);
        }
        Ok(all)
    })
}

fn key_file(config: &Config, found: &mut Findings) -> bool {
    let path = &config.store.key_file;
    match KeyRing::load(path) {
        Ok(ring) => {
            let keys = ring.ids().count();
            found.ok(format!("the key file {} is private and holds {keys} key(s)", path.display()));
            true
        }
        Err(error) => {
            found.fail(
                format!("{:#}", anyhow::Error::new(error)),
                "restore the key file from its backup; for a new datastore, `homeward admin key create` makes one",
            );
            false
        }
    }
}

/// Reads every record: what is sealed is opened by that.
async fn records(config: &Config, store: &SqliteStore, found: &mut Findings) {
    let result = async {
        let mut gateways: Vec<Gateway> = Vec::new();
        loop {
            let after = gateways.last().map(|g| g.id);
            let page =
                store.gateways(&GatewayFilter::default(), Page { after, limit: PAGE }).await?;
            let last = page.len() < PAGE as usize;
            gateways.extend(page);
            if last {
                break;
            }
        }
        let (mut devices, mut after) = (0u64, None);
        loop {
            let page = store.devices(&DeviceFilter::default(), Page { after, limit: PAGE }).await?;
            devices += page.len() as u64;
            after = page.last().map(|d| d.id).or(after);
            if page.len() < PAGE as usize {
                break;
            }
        }
        let (mut logins, mut after) = (0u64, None);
        loop {
            let page = store.logins(&LoginFilter::default(), Page { after, limit: PAGE }).await?;
            logins += page.len() as u64;
            after = page.last().map(|l| l.id).or(after);
            if page.len() < PAGE as usize {
                break;
            }
        }
        let any = store.accounts(&AccountFilter::default(), Page::first(1)).await?;
        let untold =
            !store.subscribers(&SubscriberFilter::default(), Page::first(1)).await?.is_empty()
                && store.policy(PolicyScope::Default).await?.is_none();
        let homeless = homeless::of_all(store, None).await?;
        Ok::<_, homeward_store::Error>((
            gateways,
            devices,
            logins,
            any.is_empty(),
            untold,
            homeless,
        ))
    };
    match result.await {
        Ok((gateways, devices, logins, no_accounts, untold, homeless)) => {
            let gateways_count = gateways.len();
            found.ok(format!(
                "the keys of {devices} device(s), {gateways_count} gateway(s) and {logins} log-in(s) open"
            ));
            clients(config, &gateways, found);
            if no_accounts {
                found.warn(
                    "there are no accounts: every look-up is refused",
                    "`homeward admin account create` makes one",
                );
            }
            for Warning { what, repair } in homeless {
                found.warn(what, repair);
            }
            if untold {
                found.warn(
                    "there are subscribers and no default policy: nothing is issued to those whose class of service has none",
                    "`homeward admin policy set --default FILE` sets one",
                );
            }
        }
        Err(error) => found.fail(
            format!("a record cannot be read: {:#}", anyhow::Error::new(error)),
            "restore the key file that belongs to this datastore, or delete the record and create it again",
        ),
    }
}

fn clients(config: &Config, gateways: &[Gateway], found: &mut Findings) {
    let clients: Vec<&Gateway> = gateways.iter().filter(|g| g.address.is_some()).collect();
    if clients.is_empty() {
        found.warn(
            "no gateway may ask: none has an address",
            "`homeward admin gateway create … --address IP` makes one that may, `gateway set` gives one an address",
        );
    }
    let beyond: BTreeSet<&str> = clients
        .iter()
        .filter(|g| !g.address.as_deref().is_some_and(is_loopback))
        .map(|g| g.name.as_str())
        .collect();
    let mut first: Vec<&str> = beyond.iter().copied().take(3).collect();
    if beyond.len() > first.len() {
        first.push("…");
    }
    if !beyond.is_empty() {
        found.warn(
            format!(
                "{} gateway(s) speak plain RADIUS from beyond loopback: {}",
                beyond.len(),
                first.join(", ")
            ),
            "keep their packets inside a tunnel (WireGuard, IPsec): plain RADIUS hides little",
        );
        if config.aaa.listen.iter().all(|at| at.ip().is_loopback()) {
            found.warn(
                "the core listens on loopback only, and will not hear them",
                "add the tunnel's address to aaa.listen",
            );
        }
    }
}

/// Whether an address or prefix lies in loopback.
fn is_loopback(address: &str) -> bool {
    let host = address.split('/').next().unwrap_or(address);
    host.parse::<IpAddr>().is_ok_and(|ip| ip.to_canonical().is_loopback())
}

/// Each address is free, or held by the core that runs.
async fn addresses(config: &Config, found: &mut Findings) {
    let socket = config.socket();
    let running = control::ask(&socket, &Request::new("status")).await;
    let held = |list: fn(&Value) -> &Value| -> Vec<SocketAddr> {
        let lists = running.iter().flat_map(|status| list(status).as_array().into_iter().flatten());
        lists.filter_map(|address| address.as_str()?.parse().ok()).collect()
    };
    let (radius, channel) = (held(|s| &s["listen"]), held(|s| &s["controller"]["listen"]));
    match &running {
        Ok(_) => found.ok(format!("a core is running and answers on {}", socket.display())),
        Err(_) => found.ok(format!("no core is running on {}", socket.display())),
    }
    if let Some(acme) = &config.portal.acme {
        let trouble = running.iter().find_map(|s| s["portal"]["acme"]["trouble"].as_str());
        let ports: Vec<u16> = config.portal.listen.iter().map(SocketAddr::port).collect();
        homeward_portal::acme::doctor::examine(acme, trouble, &ports, SystemClock.unix(), found);
    }
    for address in &config.aaa.listen {
        if radius.contains(address) {
            found.ok(format!("{address} is held by the running core"));
            continue;
        }
        match UdpSocket::bind(address) {
            Ok(_) => found.ok(format!("{address} is free")),
            Err(error) => found.fail(
                format!("the core cannot listen on {address}: {error}"),
                "stop what listens there (`ss -ulpn`), or change aaa.listen",
            ),
        }
    }
    for address in &config.controller.listen {
        if channel.contains(address) {
            found.ok(format!("{address} (TCP) is held by the running core"));
            continue;
        }
        match TcpListener::bind(address) {
            Ok(_) => found.ok(format!("{address} (TCP) is free")),
            Err(error) => found.fail(
                format!("the core cannot listen on {address} (TCP): {error}"),
                "stop what listens there (`ss -tlpn`), or change controller.listen",
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_is_told_from_the_rest_in_every_form() {
        for address in ["127.0.0.1", "127.0.0.0/8", "::1", "::ffff:127.0.0.1"] {
            assert!(is_loopback(address), "{address}");
        }
        for address in ["10.0.0.1", "10.0.0.0/8", "2001:db8::/32", "gw"] {
            assert!(!is_loopback(address), "{address}");
        }
    }
}
