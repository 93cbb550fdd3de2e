//! `homeward admin gateway`.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::{Args, Subcommand};
use homeward_daemon::{Exit, ExitContext, SystemClock, private};
use homeward_model::{Clock, Entropy, Gateway, LookupForm, Mac, Name, Place, Secret, Site, Status};
use homeward_store::{Entity, GatewayAccess, GatewayChange, GatewayFilter, NewGateway};
use serde::Serialize;

use super::find::NetworkRef;
use super::names::{GatewayView, Names};
use super::spelling::OrNone;
use super::{Context, all, cannot_delete, find, secret, something};
use crate::output::{Table, fields};
use channel::{ChannelView, WithChannel};

mod channel;

#[derive(Debug, Subcommand)]
#[command(after_long_help = "Examples:
  homeward admin gateway create gw-1 --mac 02:00:5e:10:00:01 --place gb/london/n7 \\
      --operator example --address 10.8.0.17
  homeward admin gateway create phone-7 --device-of smith/smithnet --place gb/london/n7 \\
      --operator example
  homeward admin gateway enrol gw-1
  homeward admin gateway list")]
pub(super) enum Verb {
    /// Create a gateway (a RADIUS client, and the home of networks), or a hybrid device
    #[command(after_long_help = "Examples:
  homeward admin gateway create gw-1 --mac 02:00:5e:10:00:01 --place gb/london/n7 \\
      --operator example --address 10.8.0.17 --secret-out gw-1.secret
  homeward admin gateway create ap-9 --mac 02:00:5e:10:00:09 --place gb/leeds/ls1 \\
      --operator example --address 10.9.0.0/24 --lookup hostapd --secret-file ap-9.secret
  homeward admin gateway create phone-7 --device-of smith/smithnet --place gb/london/n7 \\
      --operator example

Without --secret-file a RADIUS secret is made, and shown this once. The core answers the gateway
within a second.

With --device-of it is no gateway for others but a hybrid device of that home network: one with
Wi-Fi and cellular that makes its own tunnel home. It asks nothing by RADIUS, so it has neither
address nor secret; without --mac an address for its virtual interface is made, and shown.")]
    Create(Create),
    /// List gateways
    #[command(after_long_help = "Examples:
  homeward admin gateway list --operator example --json
  homeward admin gateway list --device-of smith/smithnet")]
    List(List),
    /// Show a gateway, without its secret
    #[command(after_long_help = "Example:
  homeward admin gateway show gw-1")]
    Show(Named),
    /// Change a gateway; what is not named stays
    #[command(after_long_help = "Examples:
  homeward admin gateway set gw-1 --place gb/london/se1
  homeward admin gateway set gw-1 --address none
  homeward admin gateway set gw-1 --site 51.5007,-0.1246,60
  homeward admin gateway set gw-1 --new-secret --secret-out gw-1.secret")]
    Set(Set),
    /// Print a token with which a gateway enrols for the control channel, once
    #[command(after_long_help = "Examples:
  homeward admin gateway enrol gw-1
  homeward admin gateway enrol gw-1 --valid 1h --token-out gw-1.token

The token also names this core, so that the gateway cannot be deceived by another. A newer token
takes the place of an older one. Once it is used, the gateway's earlier certificates are refused.")]
    Enrol(channel::Enrol),
    /// Take a gateway's certificates back, and its token: it is cut off at once
    #[command(after_long_help = "Example:
  homeward admin gateway revoke gw-1

A running core drops its control channel within a second. Its look-ups are still answered:
`homeward admin gateway suspend` refuses those.")]
    Revoke(Named),
    /// Suspend a gateway: its look-ups are refused, its control channel is closed
    #[command(after_long_help = "Example:
  homeward admin gateway suspend gw-1")]
    Suspend(Named),
    /// End a gateway's suspension
    #[command(after_long_help = "Example:
  homeward admin gateway resume gw-1")]
    Resume(Named),
    /// Delete a gateway that is no network's home
    #[command(after_long_help = "Example:
  homeward admin gateway delete gw-1")]
    Delete(Named),
}

#[derive(Debug, Args)]
pub(super) struct Create {
    /// Its name: the NAS-Identifier of its requests
    name: Name,
    /// Its MAC address; of a hybrid device, its virtual interface's [default there: one is made]
    #[arg(long, required_unless_present = "device_of")]
    mac: Option<Mac>,
    /// It is a hybrid device of this network: its id, or ACCOUNT/SSID
    #[arg(
        long,
        value_name = "NETWORK",
        conflicts_with_all = ["address", "lookup", "secret_file", "secret_out"]
    )]
    device_of: Option<NetworkRef>,
    /// Where it stands: country/region and as much more as you like, in lower case
    #[arg(long)]
    place: Place,
    /// Whose it is
    #[arg(long, value_name = "NAME")]
    operator: Name,
    /// The source of its RADIUS packets, an address or prefix; without one it asks nothing
    #[arg(long, value_name = "IP|CIDR")]
    address: Option<String>,
    /// How it puts its question: homeward, or hostapd for stock hostapd
    #[arg(long, default_value = "homeward")]
    lookup: LookupForm,
    /// Where it is heard, for the map that hybrid devices go by: latitude, longitude, metres
    #[arg(
        long,
        value_name = "LAT,LON,METRES",
        conflicts_with = "device_of",
        allow_hyphen_values = true
    )]
    site: Option<Site>,
    /// A file with its RADIUS secret, for your eyes only [default: a new one is made]
    #[arg(long, value_name = "FILE", conflicts_with = "secret_out")]
    secret_file: Option<PathBuf>,
    /// Write the new secret to this file (mode 0600), instead of showing it
    #[arg(long, value_name = "FILE")]
    secret_out: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(super) struct List {
    /// Those of this operator
    #[arg(long, value_name = "NAME")]
    operator: Option<Name>,
    /// Those active or suspended
    #[arg(long)]
    status: Option<Status>,
    /// Those that are hybrid devices of this network: its id, or ACCOUNT/SSID
    #[arg(long, value_name = "NETWORK")]
    device_of: Option<NetworkRef>,
}

#[derive(Debug, Args)]
pub(super) struct Named {
    /// Its name
    name: Name,
}

#[derive(Debug, Args)]
pub(super) struct Set {
    /// Its name
    name: Name,
    /// A new name
    #[arg(long, value_name = "NAME")]
    rename: Option<Name>,
    /// Its MAC address
    #[arg(long)]
    mac: Option<Mac>,
    /// Where it stands
    #[arg(long)]
    place: Option<Place>,
    /// Whose it is
    #[arg(long, value_name = "NAME")]
    operator: Option<Name>,
    /// The source of its RADIUS packets; none takes it away
    #[arg(long, value_name = "IP|CIDR")]
    address: Option<String>,
    /// How it puts its question: homeward or hostapd
    #[arg(long)]
    lookup: Option<LookupForm>,
    /// Where it is heard: latitude, longitude, metres; none takes it off the map
    #[arg(long, value_name = "LAT,LON,METRES", allow_hyphen_values = true)]
    site: Option<OrNone<Site>>,
    /// Make a new RADIUS secret, and show it this once
    #[arg(long)]
    new_secret: bool,
    /// A file with a new RADIUS secret, for your eyes only
    #[arg(long, value_name = "FILE", conflicts_with_all = ["new_secret", "secret_out"])]
    secret_file: Option<PathBuf>,
    /// Write the new secret to this file (mode 0600), instead of showing it
    #[arg(long, value_name = "FILE", requires = "new_secret")]
    secret_out: Option<PathBuf>,
}

/// A gateway with the secret that was just made for it, shown this once.
#[derive(Serialize)]
struct WithSecret<'a> {
    #[serde(flatten)]
    gateway: GatewayView,
    #[serde(skip_serializing_if = "Option::is_none")]
    radius_secret: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    secret_file: Option<&'a Path>,
}

pub(super) async fn run(verb: Verb, cx: &mut Context<'_>) -> anyhow::Result<()> {
    match verb {
        Verb::Create(new) => create(new, cx).await,
        Verb::List(list) => {
            let device_of = match &list.device_of {
                Some(network) => Some(find::network(cx.store, network).await?.id),
                None => None,
            };
            let filter = GatewayFilter { operator: list.operator, status: list.status, device_of };
            let gateways = all!(cx, gateways(filter));
            let views = with_channels(&gateways, cx).await?;
            cx.show(&views, || table(&views))
        }
        Verb::Show(Named { name }) => {
            let gateway = find::gateway(cx.store, &name).await?;
            let access = cx.store.gateway_access(gateway.id).await?;
            let channel = ChannelView::new(&access, SystemClock.unix());
            let gateway = Names::new(cx.store).gateway(&gateway).await?;
            let view = WithChannel { gateway, channel };
            cx.show(&view, || {
                let mut text = lines(&view.gateway);
                text.extend(view.channel.lines());
                fields(&text)
            })
        }
        Verb::Set(set) => change(set, cx).await,
        Verb::Enrol(enrol) => channel::enrol(enrol, cx).await,
        Verb::Revoke(Named { name }) => channel::revoke(&name, cx).await,
        Verb::Suspend(named) => status(cx, &named.name, Status::Suspended, "suspended").await,
        Verb::Resume(named) => status(cx, &named.name, Status::Active, "resumed").await,
        Verb::Delete(Named { name }) => {
            let gateway = find::gateway(cx.store, &name).await?;
            cx.store
                .delete_gateway(gateway.id)
                .await
                .with_context(|| cannot_delete(Entity::Gateway, &gateway.name))?;
            cx.deleted(Entity::Gateway, gateway.id.0, gateway.name.as_str())
        }
    }
}

async fn create(new: Create, cx: &mut Context<'_>) -> anyhow::Result<()> {
    let device_of = match &new.device_of {
        Some(network) => Some(find::network(cx.store, network).await?.id),
        None => None,
    };
    let (radius_secret, made) = match &new.secret_file {
        Some(path) => (secret::read_radius(path)?, None),
        None if device_of.is_some() => (Secret::default(), None),
        None => make(cx),
    };
    let gateway = NewGateway {
        name: new.name,
        mac: new.mac.unwrap_or_else(|| local_mac(&mut cx.entropy)),
        place: new.place,
        operator: new.operator,
        address: new.address,
        radius_secret,
        lookup: new.lookup,
        status: Status::Active,
        device_of,
        site: new.site,
    };
    let gateway = cx.store.create_gateway(&gateway).await?;
    hand_out(cx, &gateway, "created", made.as_deref(), new.secret_out.as_deref()).await
}

/// A random address out of those that nobody has assigned (IEEE 802-2014 8.4): an interface that is
/// made by software has no other.
fn local_mac(entropy: &mut impl Entropy) -> Mac {
    let [first, rest @ ..] = entropy.octets::<6>();
    let [a, b, c, d, e] = rest;
    Mac::new([first & 0b1111_1100 | 0b10, a, b, c, d, e])
}

async fn change(set: Set, cx: &mut Context<'_>) -> anyhow::Result<()> {
    let gateway = find::gateway(cx.store, &set.name).await?;
    let (radius_secret, made) = match &set.secret_file {
        Some(path) => (Some(secret::read_radius(path)?), None),
        None if set.new_secret => {
            let (secret, made) = make(cx);
            (Some(secret), made)
        }
        None => (None, None),
    };
    let change = something(GatewayChange {
        name: set.rename,
        mac: set.mac,
        place: set.place,
        operator: set.operator,
        address: set.address.map(|address| Some(address).filter(|a| a != "none")),
        radius_secret,
        lookup: set.lookup,
        status: None,
        site: set.site.map(|OrNone(site)| site),
    })?;
    let gateway = cx.store.update_gateway(gateway.id, &change).await?;
    hand_out(cx, &gateway, "changed", made.as_deref(), set.secret_out.as_deref()).await
}

fn make(cx: &mut Context<'_>) -> (Secret, Option<String>) {
    let made = secret::generate(&mut cx.entropy);
    (Secret::new(made.as_str()), Some(made))
}

/// Shows what was done, and hands out the secret that was made: to a file, or to the terminal.
/// The record stands by now, so a file that cannot be written must not lose the reader.
async fn hand_out(
    cx: &Context<'_>,
    gateway: &Gateway,
    word: &str,
    made: Option<&str>,
    file: Option<&Path>,
) -> anyhow::Result<()> {
    let name = &gateway.name;
    if let (Some(secret), Some(path)) = (made, file) {
        private::write(path, format!("{secret}\n").as_bytes())
            .with_context(|| format!(
                "{word} gateway {name}, but its secret is lost: `homeward admin gateway set {name} --new-secret` makes another"
            ))
            .exit(Exit::CannotCreate)?;
    }
    let shown = WithSecret {
        gateway: Names::new(cx.store).gateway(gateway).await?,
        radius_secret: made.filter(|_| file.is_none()),
        secret_file: file.filter(|_| made.is_some()),
    };
    cx.show(&shown, || {
        let mut text = format!("{word} gateway {name}\n");
        if let Some(home) = &shown.gateway.device_of {
            let mac = shown.gateway.mac.full();
            text.push_str(&format!("a hybrid device of {home}, its interface's MAC is {mac}\n"));
        }
        match (shown.radius_secret, shown.secret_file) {
            (Some(secret), _) => {
                text.push_str(&format!("RADIUS secret, shown this once: {secret}\n"))
            }
            (None, Some(path)) => {
                text.push_str(&format!("RADIUS secret written to {}\n", path.display()))
            }
            (None, None) => {}
        }
        text
    })
}

async fn status(cx: &Context<'_>, name: &Name, status: Status, word: &str) -> anyhow::Result<()> {
    let gateway = find::gateway(cx.store, name).await?;
    let gateway = cx.store.update_gateway(gateway.id, &GatewayChange::status(status)).await?;
    hand_out(cx, &gateway, word, None, None).await
}

/// Gateways, each with how it stands with the control channel.
async fn with_channels(gateways: &[Gateway], cx: &Context<'_>) -> anyhow::Result<Vec<WithChannel>> {
    let (Some(first), Some(last)) = (gateways.first(), gateways.last()) else {
        return Ok(Vec::new());
    };
    let accesses = cx.store.gateway_accesses(first.id, last.id).await?;
    let (now, never) = (SystemClock.unix(), GatewayAccess::default());
    let mut names = Names::new(cx.store);
    let mut views = Vec::with_capacity(gateways.len());
    for gateway in gateways {
        let channel = ChannelView::new(accesses.get(&gateway.id).unwrap_or(&never), now);
        views.push(WithChannel { gateway: names.gateway(gateway).await?, channel });
    }
    Ok(views)
}

fn table(gateways: &[WithChannel]) -> String {
    let mut table = Table::new([
        "name",
        "mac",
        "place",
        "operator",
        "address",
        "lookup",
        "status",
        "device of",
        "control channel",
    ]);
    for WithChannel { gateway, channel } in gateways {
        table.row([
            gateway.name.to_string(),
            gateway.mac.full().to_string(),
            gateway.place.to_string(),
            gateway.operator.to_string(),
            gateway.address.clone().unwrap_or_default(),
            gateway.lookup.to_string(),
            gateway.status.to_string(),
            gateway.device_of.clone().unwrap_or_default(),
            channel.brief(),
        ]);
    }
    table.to_string()
}

/// A gateway in lines.
pub(super) fn show(gateway: &GatewayView) -> String {
    fields(&lines(gateway))
}

fn lines(gateway: &GatewayView) -> Vec<(&'static str, String)> {
    let mut lines = vec![
        ("name", gateway.name.to_string()),
        ("id", gateway.id.to_string()),
        ("mac", gateway.mac.full().to_string()),
        ("place", gateway.place.to_string()),
        ("operator", gateway.operator.to_string()),
        ("address", gateway.address.clone().unwrap_or_default()),
        ("lookup", gateway.lookup.to_string()),
        ("status", gateway.status.to_string()),
    ];
    lines.extend(gateway.device_of.clone().map(|home| ("device of", home)));
    lines.extend(gateway.site.map(|site| ("site", site.to_string())));
    lines
}
