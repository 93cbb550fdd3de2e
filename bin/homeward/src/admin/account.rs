//! `homeward admin account`.

use anyhow::Context as _;
use clap::{Args, Subcommand};
use homeward_model::{Account, Name, Status};
use homeward_store::{
    AccountChange, AccountFilter, Dependents, DeviceFilter, Entity, NetworkFilter, NewAccount,
};
use serde::Serialize;

use super::names::{AccountView, DeviceView, Names, NetworkView};
use super::{Context, all, cannot_delete, device, find, network, something};
use crate::homeless;
use crate::output::{Table, fields};

#[derive(Debug, Subcommand)]
#[command(after_long_help = "Examples:
  homeward admin account create smith --class gold
  homeward admin account suspend smith")]
pub(super) enum Verb {
    /// Create an account
    #[command(after_long_help = "Example:
  homeward admin account create smith --class gold")]
    Create(Create),
    /// List accounts
    #[command(after_long_help = "Examples:
  homeward admin account list --class gold
  homeward admin account list --status suspended --json")]
    List(List),
    /// Show an account, its networks and devices
    #[command(after_long_help = "Example:
  homeward admin account show smith")]
    Show(Named),
    /// Change an account; what is not named stays
    #[command(after_long_help = "Example:
  homeward admin account set smith --class basic")]
    Set(Set),
    /// Suspend an account: none of its devices is served, those connected are put out
    #[command(after_long_help = "Example:
  homeward admin account suspend smith")]
    Suspend(Named),
    /// End an account's suspension
    #[command(after_long_help = "Example:
  homeward admin account resume smith")]
    Resume(Named),
    /// Delete an account
    #[command(after_long_help = "Examples:
  homeward admin account delete smith
  homeward admin account delete smith --with-dependents")]
    Delete {
        #[command(flatten)]
        named: Named,
        /// Delete its networks and their devices too
        #[arg(long, alias = "cascade")]
        with_dependents: bool,
    },
}

#[derive(Debug, Args)]
pub(super) struct Create {
    /// Its name: a customer number, a log-in
    name: Name,
    /// The class of service it pays for
    #[arg(long, value_name = "NAME")]
    class: Name,
}

#[derive(Debug, Args)]
pub(super) struct List {
    /// Those of this class of service
    #[arg(long, value_name = "NAME")]
    class: Option<Name>,
    /// Those active or suspended
    #[arg(long)]
    status: Option<Status>,
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
    /// The class of service it pays for
    #[arg(long, value_name = "NAME")]
    class: Option<Name>,
}

#[derive(Debug, Serialize)]
struct Whole {
    #[serde(flatten)]
    account: AccountView,
    networks: Vec<WholeNetwork>,
}

#[derive(Debug, Serialize)]
struct WholeNetwork {
    #[serde(flatten)]
    network: NetworkView,
    devices: Vec<DeviceView>,
}

pub(super) async fn run(verb: Verb, cx: &mut Context<'_>) -> anyhow::Result<()> {
    match verb {
        Verb::Create(new) => {
            let class = find::class(cx.store, &new.class).await?.id;
            let new = NewAccount { name: new.name, class, status: Status::Active };
            let account = cx.store.create_account(&new).await?;
            done(cx, &account, "created").await
        }
        Verb::List(list) => {
            let class = match &list.class {
                Some(name) => Some(find::class(cx.store, name).await?.id),
                None => None,
            };
            let filter = AccountFilter { class, status: list.status };
            let mut views = Vec::new();
            let mut names = Names::new(cx.store);
            for account in all!(cx, accounts(filter)) {
                views.push(names.account(&account).await?);
            }
            cx.show(&views, || table(&views))
        }
        Verb::Show(Named { name }) => {
            let account = find::account(cx.store, &name).await?;
            let whole = whole(cx, &account).await?;
            cx.show(&whole, || show(&whole))
        }
        Verb::Set(set) => {
            let account = find::account(cx.store, &set.name).await?;
            let class = match &set.class {
                Some(name) => Some(find::class(cx.store, name).await?.id),
                None => None,
            };
            let change = something(AccountChange { name: set.rename, class, status: None })?;
            let account = cx.store.update_account(account.id, &change).await?;
            done(cx, &account, "changed").await?;
            if class.is_some() && homeless::has_anything(cx.store, account.id).await? {
                cx.warn(homeless::of_account(cx.store, &account).await?);
            }
            Ok(())
        }
        Verb::Suspend(named) => status(cx, &named.name, Status::Suspended, "suspended").await,
        Verb::Resume(named) => status(cx, &named.name, Status::Active, "resumed").await,
        Verb::Delete { named, with_dependents } => {
            let account = find::account(cx.store, &named.name).await?;
            let dependents = if with_dependents { Dependents::Delete } else { Dependents::Refuse };
            cx.store
                .delete_account(account.id, dependents)
                .await
                .with_context(|| cannot_delete(Entity::Account, &account.name))?;
            cx.deleted(Entity::Account, account.id.0, account.name.as_str())
        }
    }
}

async fn status(cx: &Context<'_>, name: &Name, status: Status, word: &str) -> anyhow::Result<()> {
    let account = find::account(cx.store, name).await?;
    let account = cx.store.update_account(account.id, &AccountChange::status(status)).await?;
    done(cx, &account, word).await
}

async fn done(cx: &Context<'_>, account: &Account, word: &str) -> anyhow::Result<()> {
    let view = Names::new(cx.store).account(account).await?;
    cx.show(&view, || format!("{word} account {}\n", view.name))
}

async fn whole(cx: &Context<'_>, account: &Account) -> anyhow::Result<Whole> {
    let mut names = Names::new(cx.store);
    let filter = NetworkFilter { account: Some(account.id), ..NetworkFilter::default() };
    let mut networks = Vec::new();
    for network in all!(cx, networks(filter)) {
        let filter = DeviceFilter { network: Some(network.id), ..DeviceFilter::default() };
        let mut devices = Vec::new();
        for device in all!(cx, devices(filter)) {
            devices.push(names.device(&device).await?);
        }
        networks.push(WholeNetwork { network: names.network(&network).await?, devices });
    }
    Ok(Whole { account: names.account(account).await?, networks })
}

fn table(accounts: &[AccountView]) -> String {
    let mut table = Table::new(["name", "class", "status"]);
    for account in accounts {
        table.row([
            account.name.to_string(),
            account.class.to_string(),
            account.status.to_string(),
        ]);
    }
    table.to_string()
}

fn show(whole: &Whole) -> String {
    let account = &whole.account;
    let mut text = fields(&[
        ("name", account.name.to_string()),
        ("id", account.id.to_string()),
        ("class", account.class.to_string()),
        ("status", account.status.to_string()),
    ]);
    let networks: Vec<&NetworkView> = whole.networks.iter().map(|n| &n.network).collect();
    let devices: Vec<&DeviceView> = whole.networks.iter().flat_map(|n| &n.devices).collect();
    if !networks.is_empty() {
        text.push_str(&format!("\n{}", network::table(&networks)));
    }
    if !devices.is_empty() {
        text.push_str(&format!("\n{}", device::table(&devices)));
    }
    text
}
