//! `homeward admin record`: the roaming record, joined, without keys.

use clap::{Args, Subcommand};
use homeward_model::{ClassOfService, DeviceId, Mac, Name, RoamingRecord, Ssid};
use homeward_store::{Entity, Page, Scope};
use serde::Serialize;

use super::find::{self, NetworkRef};
use super::names::{AccountView, DeviceView, GatewayView, Names, NetworkView};
use super::{Context, class, gateway, spelling};
use crate::output::{Table, fields};

/// Records fetched at a time.
const PAGE: u32 = 1000;

#[derive(Debug, Subcommand)]
#[command(after_long_help = "Examples:
  homeward admin record show 02:00:5e:10:00:02 smithnet
  homeward admin record list --account smith")]
pub(super) enum Verb {
    /// Show what a look-up for a MAC address and SSID finds
    #[command(after_long_help = "Examples:
  homeward admin record show 02:00:5e:10:00:02 smithnet
  homeward admin record show 02:00:5e:10:00:02 smithnet --json

Several homes may have the same SSID, and a device may be in more than one of them: then there are
several records, in the order in which they were made.")]
    Show {
        /// The device's MAC address
        mac: Mac,
        /// The SSID it asks for
        #[arg(value_parser = spelling::ssid)]
        ssid: Ssid,
    },
    /// List roaming records
    #[command(after_long_help = "Examples:
  homeward admin record list
  homeward admin record list --gateway gw-1 --json")]
    List(List),
}

#[derive(Debug, Args)]
#[group(multiple = false)]
pub(super) struct List {
    /// Those of this class of service
    #[arg(long, value_name = "NAME")]
    class: Option<Name>,
    /// Those of this account
    #[arg(long, value_name = "NAME")]
    account: Option<Name>,
    /// Those at home behind this gateway
    #[arg(long, value_name = "NAME")]
    gateway: Option<Name>,
    /// Those of this network: its id, or ACCOUNT/SSID
    #[arg(long, value_name = "ID|ACCOUNT/SSID")]
    network: Option<NetworkRef>,
}

#[derive(Debug, Serialize)]
struct RecordView {
    device: DeviceView,
    network: NetworkView,
    account: AccountView,
    class: ClassOfService,
    home: Option<GatewayView>,
}

pub(super) async fn run(verb: Verb, cx: &mut Context<'_>) -> anyhow::Result<()> {
    let mut names = Names::new(cx.store);
    let mut views = Vec::new();
    match verb {
        Verb::Show { mac, ssid } => {
            for record in cx.store.roaming_record(mac, ssid).await? {
                views.push(view(&mut names, record).await?);
            }
            if views.is_empty() {
                let what = format!("{} in a network {}", mac.full(), spelling::show_ssid(&ssid));
                return find::missing(Entity::Device, what);
            }
            cx.show(&views, || views.iter().map(show).collect::<Vec<_>>().join("\n"))
        }
        Verb::List(list) => {
            let scope = scope(cx, list).await?;
            let mut after: Option<DeviceId> = None;
            loop {
                let records = cx.store.roaming_records(scope, Page { after, limit: PAGE }).await?;
                let last = records.len() < PAGE as usize;
                after = records.last().map(|r| r.device.id);
                for record in records {
                    views.push(view(&mut names, record).await?);
                }
                if last {
                    break;
                }
            }
            cx.show(&views, || table(&views))
        }
    }
}

async fn scope(cx: &Context<'_>, list: List) -> anyhow::Result<Scope> {
    Ok(match list {
        List { class: Some(name), .. } => Scope::Class(find::class(cx.store, &name).await?.id),
        List { account: Some(name), .. } => {
            Scope::Account(find::account(cx.store, &name).await?.id)
        }
        List { gateway: Some(name), .. } => {
            Scope::Gateway(find::gateway(cx.store, &name).await?.id)
        }
        List { network: Some(which), .. } => {
            Scope::Network(find::network(cx.store, &which).await?.id)
        }
        _ => Scope::All,
    })
}

async fn view(names: &mut Names<'_>, record: RoamingRecord) -> anyhow::Result<RecordView> {
    Ok(RecordView {
        device: names.device(&record.device).await?,
        network: names.network(&record.network).await?,
        account: names.account(&record.account).await?,
        class: record.class,
        home: record.home.as_ref().map(|home| GatewayView::new(home, None)),
    })
}

fn show(record: &RecordView) -> String {
    let device = &record.device;
    let network = &record.network;
    let section = |name: &str, text: String| {
        let lines: Vec<String> = text.lines().map(|line| format!("  {line}\n")).collect();
        format!("{name}\n{}", lines.concat())
    };
    let mut text = section(
        "device",
        fields(&[
            ("device", device.id.to_string()),
            ("mac", device.mac.full().to_string()),
            ("label", spelling::plain(&device.label)),
            ("key", device.key.as_str().to_owned()),
            ("status", device.status.to_string()),
        ]),
    );
    text.push_str(&section(
        "network",
        fields(&[
            ("network", network.id.to_string()),
            ("ssid", spelling::show_ssid(&network.ssid)),
            ("security", network.security.to_string()),
            ("status", network.status.to_string()),
        ]),
    ));
    text.push_str(&section(
        "account",
        fields(&[
            ("name", record.account.name.to_string()),
            ("status", record.account.status.to_string()),
        ]),
    ));
    text.push_str(&section("class of service", class::show(&record.class)));
    match &record.home {
        Some(home) => text.push_str(&section("home gateway", gateway::show(home))),
        None => text.push_str("no home gateway\n"),
    }
    text
}

fn table(records: &[RecordView]) -> String {
    let mut table = Table::new(["mac", "ssid", "security", "account", "class", "home", "status"]);
    for record in records {
        let suspended = [
            ("device", record.device.status),
            ("network", record.network.status),
            ("account", record.account.status),
        ];
        let suspended = suspended.iter().find(|(_, s)| *s == homeward_model::Status::Suspended);
        table.row([
            record.device.mac.full().to_string(),
            spelling::show_ssid(&record.network.ssid),
            record.network.security.to_string(),
            record.account.name.to_string(),
            record.class.name.to_string(),
            record.home.as_ref().map(|home| home.name.to_string()).unwrap_or_default(),
            suspended.map_or_else(|| "active".to_owned(), |(what, _)| format!("{what} suspended")),
        ]);
    }
    table.to_string()
}
