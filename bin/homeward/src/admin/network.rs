//! `homeward admin network`.

use std::borrow::Borrow;

use anyhow::Context as _;
use clap::{Args, Subcommand};
use homeward_model::{GatewayId, Name, Network, Security, Ssid, Status};
use homeward_store::{Dependents, Entity, NetworkChange, NetworkFilter, NewNetwork};

use super::find::{self, NetworkRef};
use super::names::{Names, NetworkView};
use super::{Context, all, cannot_delete, something, spelling};
use crate::output::{Table, fields};

#[derive(Debug, Subcommand)]
#[command(after_long_help = "Examples:
  homeward admin network create --account smith --ssid smithnet --security wpa2-psk --gateway gw-1
  homeward admin network suspend smith/smithnet")]
pub(super) enum Verb {
    /// Create a home network
    #[command(after_long_help = "Examples:
  homeward admin network create --account smith --ssid smithnet --security wpa2-wpa3 --gateway gw-1
  homeward admin network create --account jones --ssid 'Jones at home' --security wpa3-sae")]
    Create(Create),
    /// List networks
    #[command(after_long_help = "Examples:
  homeward admin network list --account smith
  homeward admin network list --gateway gw-1 --json")]
    List(List),
    /// Show a network
    #[command(after_long_help = "Example:
  homeward admin network show smith/smithnet")]
    Show(Which),
    /// Change a network; what is not named stays
    #[command(after_long_help = "Examples:
  homeward admin network set smith/smithnet --gateway gw-2
  homeward admin network set 12 --gateway none --security wpa2-wpa3")]
    Set(Set),
    /// Suspend a network: none of its devices is served, those connected are put out
    #[command(after_long_help = "Example:
  homeward admin network suspend smith/smithnet")]
    Suspend(Which),
    /// End a network's suspension
    #[command(after_long_help = "Example:
  homeward admin network resume smith/smithnet")]
    Resume(Which),
    /// Delete a network
    #[command(after_long_help = "Examples:
  homeward admin network delete smith/smithnet
  homeward admin network delete 12 --with-dependents")]
    Delete {
        #[command(flatten)]
        which: Which,
        /// Delete its devices too, hybrid ones among them
        #[arg(long, alias = "cascade")]
        with_dependents: bool,
    },
}

#[derive(Debug, Args)]
pub(super) struct Create {
    /// Whose it is
    #[arg(long, value_name = "NAME")]
    account: Name,
    /// Its SSID, 1 to 32 octets; hex:… for one that is no text
    #[arg(long, value_parser = spelling::ssid)]
    ssid: Ssid,
    /// Its security: wpa2-psk, wpa3-sae, wpa2-wpa3 (transition) or 802.1x
    #[arg(long)]
    security: Security,
    /// The home gateway; without one only an everywhere class covers it
    #[arg(long, value_name = "NAME")]
    gateway: Option<Name>,
}

#[derive(Debug, Args)]
pub(super) struct List {
    /// Those of this account
    #[arg(long, value_name = "NAME")]
    account: Option<Name>,
    /// Those at home behind this gateway
    #[arg(long, value_name = "NAME")]
    gateway: Option<Name>,
    /// Those with this SSID
    #[arg(long, value_parser = spelling::ssid)]
    ssid: Option<Ssid>,
    /// Those active or suspended
    #[arg(long)]
    status: Option<Status>,
}

#[derive(Debug, Args)]
pub(super) struct Which {
    /// Its id, or ACCOUNT/SSID
    network: NetworkRef,
}

#[derive(Debug, Args)]
pub(super) struct Set {
    #[command(flatten)]
    which: Which,
    /// The home gateway; none takes it away
    #[arg(long, value_name = "NAME")]
    gateway: Option<Name>,
    /// Its SSID; stays while devices have keys made of it
    #[arg(long, value_parser = spelling::ssid)]
    ssid: Option<Ssid>,
    /// Its security: wpa2-psk, wpa3-sae, wpa2-wpa3 or 802.1x
    #[arg(long)]
    security: Option<Security>,
}

pub(super) async fn run(verb: Verb, cx: &mut Context<'_>) -> anyhow::Result<()> {
    match verb {
        Verb::Create(new) => {
            let account = find::account(cx.store, &new.account).await?.id;
            let gateway = gateway(cx, new.gateway.as_ref()).await?;
            let Create { ssid, security, .. } = new;
            let new = NewNetwork { account, gateway, ssid, security, status: Status::Active };
            let network = cx.store.create_network(&new).await?;
            done(cx, &network, "created").await
        }
        Verb::List(list) => {
            let account = match &list.account {
                Some(name) => Some(find::account(cx.store, name).await?.id),
                None => None,
            };
            let gateway = gateway(cx, list.gateway.as_ref()).await?;
            let filter = NetworkFilter { account, gateway, ssid: list.ssid, status: list.status };
            let mut names = Names::new(cx.store);
            let mut views = Vec::new();
            for network in all!(cx, networks(filter)) {
                views.push(names.network(&network).await?);
            }
            cx.show(&views, || table(&views))
        }
        Verb::Show(Which { network }) => {
            let network = find::network(cx.store, &network).await?;
            let view = Names::new(cx.store).network(&network).await?;
            cx.show(&view, || show(&view))
        }
        Verb::Set(set) => {
            let network = find::network(cx.store, &set.which.network).await?;
            let gateway = match &set.gateway {
                Some(name) if name.as_str() == "none" => Some(None),
                Some(name) => Some(Some(find::gateway(cx.store, name).await?.id)),
                None => None,
            };
            let change = something(NetworkChange {
                gateway,
                ssid: set.ssid,
                security: set.security,
                status: None,
            })?;
            let network = cx.store.update_network(network.id, &change).await?;
            done(cx, &network, "changed").await
        }
        Verb::Suspend(which) => status(cx, &which, Status::Suspended, "suspended").await,
        Verb::Resume(which) => status(cx, &which, Status::Active, "resumed").await,
        Verb::Delete { which, with_dependents } => {
            let network = find::network(cx.store, &which.network).await?;
            let view = Names::new(cx.store).network(&network).await?;
            let dependents = if with_dependents { Dependents::Delete } else { Dependents::Refuse };
            cx.store
                .delete_network(network.id, dependents)
                .await
                .with_context(|| cannot_delete(Entity::Network, view.path()))?;
            cx.deleted(Entity::Network, network.id.0, &view.path())
        }
    }
}

async fn gateway(cx: &Context<'_>, name: Option<&Name>) -> anyhow::Result<Option<GatewayId>> {
    match name {
        Some(name) => Ok(Some(find::gateway(cx.store, name).await?.id)),
        None => Ok(None),
    }
}

async fn status(cx: &Context<'_>, which: &Which, status: Status, word: &str) -> anyhow::Result<()> {
    let network = find::network(cx.store, &which.network).await?;
    let network = cx.store.update_network(network.id, &NetworkChange::status(status)).await?;
    done(cx, &network, word).await
}

async fn done(cx: &Context<'_>, network: &Network, word: &str) -> anyhow::Result<()> {
    let view = Names::new(cx.store).network(network).await?;
    cx.show(&view, || format!("{word} network {} ({})\n", view.id, view.path()))
}

/// Networks in a table.
pub(super) fn table<V: Borrow<NetworkView>>(networks: &[V]) -> String {
    let mut table = Table::new(["network", "account", "ssid", "security", "gateway", "status"]);
    for network in networks.iter().map(Borrow::borrow) {
        table.row([
            network.id.to_string(),
            network.account.to_string(),
            spelling::show_ssid(&network.ssid),
            network.security.to_string(),
            network.gateway.as_ref().map(Name::to_string).unwrap_or_default(),
            network.status.to_string(),
        ]);
    }
    table.to_string()
}

fn show(network: &NetworkView) -> String {
    fields(&[
        ("network", network.id.to_string()),
        ("account", network.account.to_string()),
        ("ssid", spelling::show_ssid(&network.ssid)),
        ("security", network.security.to_string()),
        ("gateway", network.gateway.as_ref().map(Name::to_string).unwrap_or_default()),
        ("status", network.status.to_string()),
    ])
}
