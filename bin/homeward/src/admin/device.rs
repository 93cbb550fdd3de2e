//! `homeward admin device`.

use std::borrow::Borrow;
use std::path::PathBuf;

use anyhow::Context as _;
use clap::{Args, Subcommand};
use homeward_dot11::{device_key, generate_passphrase};
use homeward_model::{Device, DeviceKey, Mac, Name, Network, Passphrase, Security, Status};
use homeward_store::{DeviceChange, DeviceFilter, Entity, NewDevice};
use serde::Serialize;

use super::find::{self, DeviceRef, NetworkRef};
use super::names::{DeviceView, Names};
use super::{Context, all, cannot_delete, secret, something, spelling};
use crate::output::{Table, fields};

#[derive(Debug, Subcommand)]
#[command(after_long_help = "Examples:
  homeward admin device create --network smith/smithnet --mac 02:00:5e:10:00:02 --label phone
  homeward admin device suspend smith/smithnet/02:00:5e:10:00:02")]
pub(super) enum Verb {
    /// Create a device, with a key of its own
    #[command(after_long_help = "Examples:
  homeward admin device create --network smith/smithnet --mac 02:00:5e:10:00:02 --label phone
  homeward admin device create --network 12 --mac 02:00:5e:10:00:03 --passphrase-file key.txt

Without a file a passphrase is made, and shown this once: the subscriber types it into the device.")]
    Create(Create),
    /// List devices
    #[command(after_long_help = "Examples:
  homeward admin device list --account smith
  homeward admin device list --mac 02:00:5e:10:00:02 --json")]
    List(List),
    /// Show a device, without its key
    #[command(after_long_help = "Example:
  homeward admin device show smith/smithnet/02:00:5e:10:00:02")]
    Show(Which),
    /// Change a device; what is not named stays
    #[command(after_long_help = "Examples:
  homeward admin device set 7 --label 'old phone'
  homeward admin device set smith/smithnet/02:00:5e:10:00:02 --mac 02:00:5e:10:00:04")]
    Set(Set),
    /// Give a device a new key; with the old one it no longer gets in
    #[command(after_long_help = "Examples:
  homeward admin device rekey smith/smithnet/02:00:5e:10:00:02
  homeward admin device rekey 7 --passphrase-file key.txt")]
    Rekey(Rekey),
    /// Suspend a device: it is not served, and put out where it is connected
    #[command(after_long_help = "Example:
  homeward admin device suspend smith/smithnet/02:00:5e:10:00:02")]
    Suspend(Which),
    /// End a device's suspension
    #[command(after_long_help = "Example:
  homeward admin device resume smith/smithnet/02:00:5e:10:00:02")]
    Resume(Which),
    /// Delete a device and its key
    #[command(after_long_help = "Example:
  homeward admin device delete smith/smithnet/02:00:5e:10:00:02")]
    Delete(Which),
}

#[derive(Debug, Args)]
pub(super) struct Create {
    /// The network it is at home in: its id, or ACCOUNT/SSID
    #[arg(long, value_name = "ID|ACCOUNT/SSID")]
    network: NetworkRef,
    /// The MAC address it uses there
    #[arg(long)]
    mac: Mac,
    /// What its owner calls it
    #[arg(long, value_name = "TEXT", default_value = "")]
    label: String,
    #[command(flatten)]
    key: KeyArgs,
}

#[derive(Debug, Args)]
struct KeyArgs {
    /// A file with its passphrase, for your eyes only [default: a new one is made]
    #[arg(long, value_name = "FILE", conflicts_with = "psk_hex_file")]
    passphrase_file: Option<PathBuf>,
    /// A file with its PSK, 64 hex digits, for your eyes only
    #[arg(long, value_name = "FILE")]
    psk_hex_file: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(super) struct List {
    /// Those of this account
    #[arg(long, value_name = "NAME")]
    account: Option<Name>,
    /// Those of this network: its id, or ACCOUNT/SSID
    #[arg(long, value_name = "ID|ACCOUNT/SSID")]
    network: Option<NetworkRef>,
    /// Those with this MAC address
    #[arg(long)]
    mac: Option<Mac>,
    /// Those active or suspended
    #[arg(long)]
    status: Option<Status>,
}

#[derive(Debug, Args)]
pub(super) struct Which {
    /// Its id, or ACCOUNT/SSID/MAC
    device: DeviceRef,
}

#[derive(Debug, Args)]
pub(super) struct Set {
    #[command(flatten)]
    which: Which,
    /// The MAC address it uses
    #[arg(long)]
    mac: Option<Mac>,
    /// What its owner calls it
    #[arg(long, value_name = "TEXT")]
    label: Option<String>,
}

#[derive(Debug, Args)]
pub(super) struct Rekey {
    #[command(flatten)]
    which: Which,
    #[command(flatten)]
    key: KeyArgs,
}

/// A device with the passphrase that was just made for it, shown this once.
#[derive(Serialize)]
struct WithKey<'a> {
    #[serde(flatten)]
    device: DeviceView,
    #[serde(skip_serializing_if = "Option::is_none")]
    passphrase: Option<&'a str>,
}

pub(super) async fn run(verb: Verb, cx: &mut Context<'_>) -> anyhow::Result<()> {
    match verb {
        Verb::Create(new) => {
            let network = find::network(cx.store, &new.network).await?;
            let (key, made) = key(cx, &new.key, &network)?;
            let Create { mac, label, .. } = new;
            let new = NewDevice { network: network.id, mac, key, label, status: Status::Active };
            let device = cx.store.create_device(&new).await?;
            done(cx, &device, "created", made.as_ref()).await
        }
        Verb::List(list) => {
            let account = match &list.account {
                Some(name) => Some(find::account(cx.store, name).await?.id),
                None => None,
            };
            let network = match &list.network {
                Some(which) => Some(find::network(cx.store, which).await?.id),
                None => None,
            };
            let filter = DeviceFilter { account, network, mac: list.mac, status: list.status };
            let mut names = Names::new(cx.store);
            let mut views = Vec::new();
            for device in all!(cx, devices(filter)) {
                views.push(names.device(&device).await?);
            }
            cx.show(&views, || table(&views))
        }
        Verb::Show(Which { device }) => {
            let device = find::device(cx.store, &device).await?;
            let view = Names::new(cx.store).device(&device).await?;
            cx.show(&view, || show(&view))
        }
        Verb::Set(set) => {
            let device = find::device(cx.store, &set.which.device).await?;
            let change = DeviceChange { mac: set.mac, label: set.label, ..DeviceChange::default() };
            let device = cx.store.update_device(device.id, &something(change)?).await?;
            done(cx, &device, "changed", None).await
        }
        Verb::Rekey(rekey) => {
            let device = find::device(cx.store, &rekey.which.device).await?;
            let network = find::network(cx.store, &NetworkRef::Id(device.network)).await?;
            let (key, made) = key(cx, &rekey.key, &network)?;
            let change = DeviceChange { key: Some(key), ..DeviceChange::default() };
            let device = cx.store.update_device(device.id, &change).await?;
            done(cx, &device, "gave a new key to", made.as_ref()).await
        }
        Verb::Suspend(which) => status(cx, &which, Status::Suspended, "suspended").await,
        Verb::Resume(which) => status(cx, &which, Status::Active, "resumed").await,
        Verb::Delete(Which { device }) => {
            let device = find::device(cx.store, &device).await?;
            let view = Names::new(cx.store).device(&device).await?;
            cx.store
                .delete_device(device.id)
                .await
                .with_context(|| cannot_delete(Entity::Device, view.path()))?;
            cx.deleted(Entity::Device, device.id.0, &view.path())
        }
    }
}

/// The key out of the files that were given, else a new one, which comes along; none where the
/// network is 802.1X and none was given.
fn key(
    cx: &mut Context<'_>,
    args: &KeyArgs,
    network: &Network,
) -> anyhow::Result<(Option<DeviceKey>, Option<Passphrase>)> {
    let given = secret::given_key(
        args.passphrase_file.as_deref(),
        args.psk_hex_file.as_deref(),
        &network.ssid,
    )?;
    if given.is_some() || network.security == Security::Enterprise {
        return Ok((given, None));
    }
    let made = generate_passphrase(&mut cx.entropy);
    Ok((Some(device_key(made.clone(), &network.ssid)), Some(made)))
}

async fn status(cx: &Context<'_>, which: &Which, status: Status, word: &str) -> anyhow::Result<()> {
    let device = find::device(cx.store, &which.device).await?;
    let device = cx.store.update_device(device.id, &DeviceChange::status(status)).await?;
    done(cx, &device, word, None).await
}

async fn done(
    cx: &Context<'_>,
    device: &Device,
    word: &str,
    made: Option<&Passphrase>,
) -> anyhow::Result<()> {
    let device = Names::new(cx.store).device(device).await?;
    let shown = WithKey { device, passphrase: made.map(Passphrase::expose) };
    cx.show(&shown, || {
        let mut text = format!("{word} device {} ({})\n", shown.device.id, shown.device.path());
        if let Some(passphrase) = shown.passphrase {
            text.push_str(&format!("passphrase, shown this once: {passphrase}\n"));
        }
        text
    })
}

/// Devices in a table.
pub(super) fn table<V: Borrow<DeviceView>>(devices: &[V]) -> String {
    let mut table = Table::new(["device", "account", "ssid", "mac", "label", "key", "status"]);
    for device in devices.iter().map(Borrow::borrow) {
        table.row([
            device.id.to_string(),
            device.account.to_string(),
            spelling::show_ssid(&device.ssid),
            device.mac.full().to_string(),
            spelling::plain(&device.label),
            device.key.as_str().to_owned(),
            device.status.to_string(),
        ]);
    }
    table.to_string()
}

fn show(device: &DeviceView) -> String {
    fields(&[
        ("device", device.id.to_string()),
        ("network", device.network.to_string()),
        ("account", device.account.to_string()),
        ("ssid", spelling::show_ssid(&device.ssid)),
        ("mac", device.mac.full().to_string()),
        ("label", spelling::plain(&device.label)),
        ("key", device.key.as_str().to_owned()),
        ("status", device.status.to_string()),
    ])
}
