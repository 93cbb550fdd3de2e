//! `homeward admin subscriber`.

use anyhow::Context as _;
use clap::{Args, Subcommand};
use homeward_model::{Imsi, Msisdn, Name, Status, Subscriber, SubscriberId};
use homeward_store::{Entity, NewSubscriber, SubscriberChange, SubscriberFilter};
use serde::Serialize;

use super::find::SubscriberRef;
use super::names::Names;
use super::spelling::OrNone;
use super::{Context, all, cannot_delete, find, issued, something, spelling};
use crate::homeless;
use crate::output::{Table, fields};

#[derive(Debug, Subcommand)]
#[command(after_long_help = "Examples:
  homeward admin subscriber add 999700123456789 --account smith --msisdn +447700900123
  homeward admin subscriber show +447700900123
  homeward admin subscriber suspend 999700123456789

A subscriber is named by its IMSI, or by its telephone number with a + before it.")]
pub(super) enum Verb {
    /// Add a subscriber: a SIM, and the account that pays for what its devices do on Wi-Fi
    #[command(
        alias = "create",
        after_long_help = "Examples:
  homeward admin subscriber add 999700123456789 --account smith
  homeward admin subscriber add 999700123456789 --account smith --msisdn +447700900123 --label van

Many at once: `homeward admin import subscriber FILE`. The telephone number is what ties a short
message to the SIM; without it nothing is issued by SMS."
    )]
    Add(Add),
    /// List subscribers
    #[command(after_long_help = "Examples:
  homeward admin subscriber list --account smith
  homeward admin subscriber list --status suspended --json")]
    List(List),
    /// Show a subscriber, and what was issued to it
    #[command(after_long_help = "Examples:
  homeward admin subscriber show 999700123456789
  homeward admin subscriber show +447700900123 --json")]
    Show(Which),
    /// Change a subscriber; what is not named stays
    #[command(after_long_help = "Examples:
  homeward admin subscriber set 999700123456789 --msisdn +447700900124
  homeward admin subscriber set 999700123456789 --imsi 999700987654321
  homeward admin subscriber set 999700123456789 --msisdn none --account jones

Another SIM or another account ends what was issued: the device asks anew.")]
    Set(Set),
    /// Suspend a subscriber: what was issued to it ends at once, and nothing more is issued
    #[command(after_long_help = "Example:
  homeward admin subscriber suspend 999700123456789")]
    Suspend(Which),
    /// End a subscriber's suspension; its device asks for credentials anew
    #[command(after_long_help = "Example:
  homeward admin subscriber resume 999700123456789")]
    Resume(Which),
    /// Remove a subscriber, and what was issued to it
    #[command(
        alias = "delete",
        after_long_help = "Example:
  homeward admin subscriber remove 999700123456789"
    )]
    Remove(Which),
}

#[derive(Debug, Args)]
pub(super) struct Add {
    /// Its IMSI: 6 to 15 digits
    imsi: Imsi,
    /// Who pays
    #[arg(long, value_name = "NAME")]
    account: Name,
    /// Its telephone number in international form
    #[arg(long, value_name = "NUMBER", value_parser = spelling::msisdn)]
    msisdn: Option<Msisdn>,
    /// What you call it
    #[arg(long, default_value = "", hide_default_value = true)]
    label: String,
}

#[derive(Debug, Args)]
pub(super) struct List {
    /// Those of this account
    #[arg(long, value_name = "NAME")]
    account: Option<Name>,
    /// Those active or suspended
    #[arg(long)]
    status: Option<Status>,
}

#[derive(Debug, Args)]
pub(super) struct Which {
    /// Its IMSI, or its telephone number with a + before it
    #[arg(value_name = "IMSI|+NUMBER")]
    which: SubscriberRef,
}

#[derive(Debug, Args)]
pub(super) struct Set {
    /// Its IMSI, or its telephone number with a + before it
    #[arg(value_name = "IMSI|+NUMBER")]
    which: SubscriberRef,
    /// Another SIM's IMSI
    #[arg(long, value_name = "IMSI")]
    imsi: Option<Imsi>,
    /// Its telephone number, or none
    #[arg(long, value_name = "NUMBER|none")]
    msisdn: Option<OrNone<Msisdn>>,
    /// Who pays
    #[arg(long, value_name = "NAME")]
    account: Option<Name>,
    /// What you call it
    #[arg(long)]
    label: Option<String>,
}

/// A subscriber, for people and programs.
#[derive(Debug, Serialize)]
struct View {
    id: SubscriberId,
    imsi: Imsi,
    msisdn: Option<Msisdn>,
    account: Name,
    label: String,
    status: Status,
}

/// A subscriber with what it has.
#[derive(Debug, Serialize)]
struct Whole {
    #[serde(flatten)]
    subscriber: View,
    issued: Option<issued::View>,
}

pub(super) async fn run(verb: Verb, cx: &mut Context<'_>) -> anyhow::Result<()> {
    match verb {
        Verb::Add(add) => {
            let payer = find::account(cx.store, &add.account).await?;
            let (Add { imsi, msisdn, label, .. }, account) = (add, payer.id);
            let new = NewSubscriber { imsi, msisdn, account, label, status: Status::Active };
            let subscriber = cx.store.create_subscriber(&new).await?;
            done(cx, &subscriber, "added").await?;
            cx.warn(homeless::of_account(cx.store, &payer).await?);
            Ok(())
        }
        Verb::List(list) => {
            let account = match &list.account {
                Some(name) => Some(find::account(cx.store, name).await?.id),
                None => None,
            };
            let filter = SubscriberFilter { account, status: list.status };
            let mut names = Names::new(cx.store);
            let mut views = Vec::new();
            for subscriber in all!(cx, subscribers(filter)) {
                views.push(view(&mut names, &subscriber).await?);
            }
            cx.show(&views, || table(&views))
        }
        Verb::Show(Which { which }) => {
            let subscriber = find::subscriber(cx.store, &which).await?;
            let mut names = Names::new(cx.store);
            let issued = match cx.store.issued_to(subscriber.imsi).await? {
                Some(issued) => Some(issued::view(&mut names, &issued).await?),
                None => None,
            };
            let whole = Whole { subscriber: view(&mut names, &subscriber).await?, issued };
            cx.show(&whole, || show(&whole))
        }
        Verb::Set(set) => {
            let subscriber = find::subscriber(cx.store, &set.which).await?;
            let payer = match &set.account {
                Some(name) => Some(find::account(cx.store, name).await?),
                None => None,
            };
            let account = payer.as_ref().map(|payer| payer.id);
            let change = something(SubscriberChange {
                imsi: set.imsi,
                msisdn: set.msisdn.map(|OrNone(msisdn)| msisdn),
                account,
                label: set.label,
                status: None,
            })?;
            let subscriber = cx.store.update_subscriber(subscriber.id, &change).await?;
            done(cx, &subscriber, "changed").await?;
            if let Some(payer) = payer {
                cx.warn(homeless::of_account(cx.store, &payer).await?);
            }
            Ok(())
        }
        Verb::Suspend(which) => status(cx, &which, Status::Suspended, "suspended").await,
        Verb::Resume(which) => status(cx, &which, Status::Active, "resumed").await,
        Verb::Remove(Which { which }) => {
            let subscriber = find::subscriber(cx.store, &which).await?;
            cx.store
                .delete_subscriber(subscriber.id)
                .await
                .with_context(|| cannot_delete(Entity::Subscriber, which))?;
            cx.deleted(Entity::Subscriber, subscriber.id.0, subscriber.imsi.as_str())
        }
    }
}

async fn status(cx: &Context<'_>, which: &Which, status: Status, word: &str) -> anyhow::Result<()> {
    let subscriber = find::subscriber(cx.store, &which.which).await?;
    let change = SubscriberChange::status(status);
    let subscriber = cx.store.update_subscriber(subscriber.id, &change).await?;
    done(cx, &subscriber, word).await
}

async fn done(cx: &Context<'_>, subscriber: &Subscriber, word: &str) -> anyhow::Result<()> {
    let view = view(&mut Names::new(cx.store), subscriber).await?;
    cx.show(&view, || format!("{word} subscriber {}\n", view.imsi.as_str()))
}

async fn view(names: &mut Names<'_>, subscriber: &Subscriber) -> anyhow::Result<View> {
    Ok(View {
        id: subscriber.id,
        imsi: subscriber.imsi,
        msisdn: subscriber.msisdn,
        account: names.owner(subscriber.account).await?,
        label: subscriber.label.clone(),
        status: subscriber.status,
    })
}

fn table(subscribers: &[View]) -> String {
    let mut table = Table::new(["imsi", "number", "account", "label", "status"]);
    for subscriber in subscribers {
        table.row([
            subscriber.imsi.as_str().to_owned(),
            spelling::cell(subscriber.msisdn.as_ref()),
            subscriber.account.to_string(),
            spelling::plain(&subscriber.label),
            subscriber.status.to_string(),
        ]);
    }
    table.to_string()
}

fn show(whole: &Whole) -> String {
    let subscriber = &whole.subscriber;
    let mut text = fields(&[
        ("imsi", subscriber.imsi.as_str().to_owned()),
        ("number", spelling::cell(subscriber.msisdn.as_ref())),
        ("account", subscriber.account.to_string()),
        ("label", spelling::plain(&subscriber.label)),
        ("status", subscriber.status.to_string()),
    ]);
    match &whole.issued {
        Some(issued) => text.push_str(&format!("\n{}", issued::show(issued))),
        None => text.push_str("nothing is issued to it\n"),
    }
    text
}
