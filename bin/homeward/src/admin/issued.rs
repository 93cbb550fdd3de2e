//! `homeward admin issued`: which subscriber's device holds which credential. No password is
//! shown: whoever has lost one asks the portal for another.

use std::net::IpAddr;

use clap::{Args, Subcommand};
use homeward_model::{Imei, Imsi, LoginId, Mac, Nai, Name, Status, UnixTime, Uses};
use homeward_store::{Issued, IssuedFilter, Way};
use serde::Serialize;

use super::find::SubscriberRef;
use super::names::Names;
use super::{Context, all, find, spelling};
use crate::output::{Table, fields};

#[derive(Debug, Subcommand)]
#[command(after_long_help = "Examples:
  homeward admin issued list --account smith
  homeward admin issued show --mac 02:00:5e:10:00:02
  homeward admin issued withdraw --imsi 999700123456789

A subscriber has one credential at a time, and a station has one at a time.")]
pub(super) enum Verb {
    /// List what was issued and has not ended
    #[command(after_long_help = "Examples:
  homeward admin issued list
  homeward admin issued list --account smith --json")]
    List(Which),
    /// Show who holds a credential
    #[command(after_long_help = "Examples:
  homeward admin issued show --imsi 999700123456789
  homeward admin issued show --mac 02:00:5e:10:00:02 --json")]
    Show(Chosen),
    /// End credentials: nobody gets in with them, and who is in is disconnected
    #[command(after_long_help = "Examples:
  homeward admin issued withdraw --mac 02:00:5e:10:00:02
  homeward admin issued withdraw --account smith

The device may ask for another at once, where its subscriber is in force: suspend that to keep it
out.")]
    Withdraw(Chosen),
}

#[derive(Debug, Args)]
pub(super) struct Which {
    /// That of this subscriber: its IMSI, or its telephone number with a + before it
    #[arg(long, value_name = "IMSI|+NUMBER")]
    imsi: Option<SubscriberRef>,
    /// That of this station
    #[arg(long, value_name = "MAC")]
    mac: Option<Mac>,
    /// Those of this account
    #[arg(long, value_name = "NAME")]
    account: Option<Name>,
}

/// As [`Which`], of which something must be given.
#[derive(Debug, Args)]
#[group(required = true, multiple = true)]
pub(super) struct Chosen {
    /// That of this subscriber: its IMSI, or its telephone number with a + before it
    #[arg(long, value_name = "IMSI|+NUMBER")]
    imsi: Option<SubscriberRef>,
    /// That of this station
    #[arg(long, value_name = "MAC")]
    mac: Option<Mac>,
    /// Those of this account
    #[arg(long, value_name = "NAME")]
    account: Option<Name>,
}

impl From<Chosen> for Which {
    fn from(Chosen { imsi, mac, account }: Chosen) -> Self {
        Self { imsi, mac, account }
    }
}

/// What was issued, for people and programs.
#[derive(Debug, Serialize)]
pub(super) struct View {
    login: LoginId,
    name: Nai,
    account: Name,
    imsi: Imsi,
    imei: Option<Imei>,
    mac: Mac,
    /// Whether the station's MAC address is the only one that gets in.
    bound: bool,
    address: Option<IpAddr>,
    way: Way,
    issued: String,
    expires: Option<String>,
    renew_from: Option<String>,
    uses: Uses,
    status: Status,
}

/// What was withdrawn.
#[derive(Debug, Serialize)]
struct Withdrawn {
    withdrawn: Vec<View>,
}

pub(super) async fn run(verb: Verb, cx: &mut Context<'_>) -> anyhow::Result<()> {
    let mut names = Names::new(cx.store);
    match verb {
        Verb::List(which) => {
            let views = views(&mut names, &find(cx, which).await?).await?;
            cx.show(&views, || table(&views))
        }
        Verb::Show(which) => {
            let found = find(cx, which.into()).await?;
            if found.is_empty() {
                return find::missing_what("issued", "nothing is issued to it");
            }
            let views = views(&mut names, &found).await?;
            cx.show(&views, || views.iter().map(show).collect::<Vec<_>>().join("\n"))
        }
        Verb::Withdraw(which) => {
            let mut ended = Vec::new();
            for one in find(cx, which.into()).await? {
                // One that ended meanwhile is nobody's withdrawal.
                if cx.store.withdraw(one.login.id).await? {
                    ended.push(one);
                }
            }
            let done = Withdrawn { withdrawn: views(&mut names, &ended).await? };
            cx.show(&done, || {
                let line =
                    |one: &View| format!("withdrew {} of {}\n", plain(one), one.imsi.as_str());
                match done.withdrawn.is_empty() {
                    true => "nothing was issued\n".to_owned(),
                    false => done.withdrawn.iter().map(line).collect(),
                }
            })
        }
    }
}

async fn find(cx: &Context<'_>, which: Which) -> anyhow::Result<Vec<Issued>> {
    let imsi = match &which.imsi {
        // Of a SIM that was replaced there may still be something to find.
        Some(SubscriberRef::Imsi(imsi)) => Some(*imsi),
        Some(number) => Some(find::subscriber(cx.store, number).await?.imsi),
        None => None,
    };
    let account = match &which.account {
        Some(name) => Some(find::account(cx.store, name).await?.id),
        None => None,
    };
    let filter = IssuedFilter { imsi, mac: which.mac, account };
    Ok(all!(cx, issued(filter)))
}

async fn views(names: &mut Names<'_>, all: &[Issued]) -> anyhow::Result<Vec<View>> {
    let mut views = Vec::with_capacity(all.len());
    for one in all {
        views.push(view(names, one).await?);
    }
    Ok(views)
}

pub(super) async fn view(names: &mut Names<'_>, one: &Issued) -> anyhow::Result<View> {
    let time = |at: UnixTime| at.to_string();
    Ok(View {
        login: one.login.id,
        name: one.login.name.clone(),
        account: names.owner(one.login.account).await?,
        imsi: one.imsi,
        imei: one.imei,
        mac: one.mac,
        bound: one.login.mac == Some(one.mac),
        address: one.address,
        way: one.way,
        issued: time(one.issued),
        expires: one.login.expires.map(time),
        renew_from: one.renew_from.map(time),
        uses: one.login.uses,
        status: one.login.status,
    })
}

fn plain(one: &View) -> String {
    spelling::plain(one.name.as_str())
}

fn table(all: &[View]) -> String {
    let mut table = Table::new(["login", "account", "imsi", "mac", "issued", "expires", "uses"]);
    for one in all {
        table.row([
            plain(one),
            one.account.to_string(),
            one.imsi.as_str().to_owned(),
            one.mac.full().to_string(),
            one.issued.clone(),
            one.expires.clone().unwrap_or_default(),
            one.uses.to_string(),
        ]);
    }
    table.to_string()
}

pub(super) fn show(one: &View) -> String {
    let bound = if one.bound { "" } else { " (and any other)" };
    fields(&[
        ("login", plain(one)),
        ("account", one.account.to_string()),
        ("imsi", one.imsi.as_str().to_owned()),
        ("imei", one.imei.map(|imei| imei.as_str().to_owned()).unwrap_or_default()),
        ("mac", format!("{}{bound}", one.mac.full())),
        ("asked from", one.address.map(|address| address.to_string()).unwrap_or_default()),
        ("by", one.way.to_string()),
        ("issued", one.issued.clone()),
        ("expires", one.expires.clone().unwrap_or_else(|| "never".to_owned())),
        ("renewed from", one.renew_from.clone().unwrap_or_default()),
        ("uses", one.uses.to_string()),
        ("status", one.status.to_string()),
    ])
}
