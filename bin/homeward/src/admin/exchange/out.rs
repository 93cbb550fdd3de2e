//! The export.

use std::io::{self, Write};

use anyhow::Context as _;
use homeward_daemon::{Exit, ExitContext};
use homeward_model::{ClassOfService, Device, DeviceKey, Gateway};
use homeward_store::{
    AccountFilter, DeviceFilter, GatewayFilter, NetworkFilter, Page, SubscriberFilter,
};
use serde_json::{Map, Value, json};

use super::{ExportArgs, What, private_file};
use crate::admin::names::Names;
use crate::admin::spelling::{self, Rate, cell};
use crate::admin::{Context, id_of};
use crate::output;

/// Records fetched at a time.
const PAGE: u32 = 1000;

/// All pages of a list, a record at a time.
macro_rules! each {
    ($cx:expr, $list:ident($($filter:expr)?), $record:ident => $work:block) => {{
        let mut after = None;
        loop {
            let page = $cx.store.$list($(&$filter,)? Page { after, limit: PAGE }).await?;
            let last = page.len() < PAGE as usize;
            after = page.last().map(id_of);
            for $record in page $work
            if last {
                break;
            }
        }
    }};
}

pub(super) async fn export(args: ExportArgs, cx: &mut Context<'_>) -> anyhow::Result<()> {
    let all = args.entity.columns();
    let hidden = if args.with_keys { 0 } else { args.entity.secret_columns() };
    let columns = all.get(..all.len() - hidden).unwrap_or(all);
    let mut sink = Sink::open(&args, columns, cx.json)?;
    let mut names = Names::new(cx.store);
    match args.entity {
        What::Class => each!(cx, classes(), class => { sink.write(&of_class(&class))?; }),
        What::Account => each!(cx, accounts(AccountFilter::default()), account => {
            let view = names.account(&account).await?;
            let (name, class) = (view.name.to_string(), view.class.to_string());
            sink.write(&[name, class, view.status.to_string()])?;
        }),
        What::Gateway => each!(cx, gateways(GatewayFilter::default()), gateway => {
            if gateway.device_of.is_none() {
                sink.write(&of_gateway(&gateway))?;
            }
        }),
        What::Hybrid => each!(cx, gateways(GatewayFilter::default()), gateway => {
            if let Some(home) = gateway.device_of {
                let (account, ssid) = names.network_of(home).await?;
                sink.write(&[
                    gateway.name.to_string(),
                    account.to_string(),
                    spelling::spell_ssid(&ssid),
                    gateway.mac.full().to_string(),
                    gateway.place.to_string(),
                    gateway.operator.to_string(),
                    gateway.status.to_string(),
                ])?;
            }
        }),
        What::Network => each!(cx, networks(NetworkFilter::default()), network => {
            let view = names.network(&network).await?;
            sink.write(&[
                view.account.to_string(),
                spelling::spell_ssid(&view.ssid),
                view.security.to_string(),
                view.gateway.map(|name| name.to_string()).unwrap_or_default(),
                view.status.to_string(),
            ])?;
        }),
        What::Device => each!(cx, devices(DeviceFilter::default()), device => {
            let view = names.device(&device).await?;
            sink.write(&of_device(&device, view.account.to_string(), spelling::spell_ssid(&view.ssid)))?;
        }),
        What::Subscriber => each!(cx, subscribers(SubscriberFilter::default()), subscriber => {
            let account = names.owner(subscriber.account).await?;
            sink.write(&[
                subscriber.imsi.as_str().to_owned(),
                cell(subscriber.msisdn.as_ref()),
                account.to_string(),
                subscriber.label,
                subscriber.status.to_string(),
            ])?;
        }),
    }
    sink.end(&args, cx)
}

fn of_class(class: &ClassOfService) -> [String; 14] {
    let terms = &class.terms;
    [
        class.name.to_string(),
        class.coverage.to_string(),
        u8::from(terms.priority).to_string(),
        cell(terms.bandwidth.up.map(Rate).as_ref()),
        cell(terms.bandwidth.down.map(Rate).as_ref()),
        cell(terms.quota.as_ref()),
        terms.encryption.to_string(),
        terms.anchor.to_string(),
        spelling::show_bonding(terms.bonding).to_owned(),
        cell(terms.handoff_threshold.as_ref()),
        cell(terms.session_timeout.as_ref()),
        cell(terms.idle_timeout.as_ref()),
        cell(terms.vlan.as_ref()),
        cell(class.retention.as_ref()),
    ]
}

fn of_gateway(gateway: &Gateway) -> [String; 9] {
    [
        gateway.name.to_string(),
        gateway.mac.full().to_string(),
        gateway.place.to_string(),
        gateway.operator.to_string(),
        gateway.address.clone().unwrap_or_default(),
        gateway.lookup.to_string(),
        gateway.status.to_string(),
        cell(gateway.site.as_ref()),
        spelling::spell_secret(&gateway.radius_secret),
    ]
}

fn of_device(device: &Device, account: String, ssid: String) -> [String; 7] {
    let (passphrase, psk) = match &device.key {
        Some(DeviceKey::Passphrase { passphrase, .. }) => {
            (passphrase.expose().to_owned(), String::new())
        }
        Some(DeviceKey::Psk(psk)) => (String::new(), psk.to_hex().to_string()),
        None => (String::new(), String::new()),
    };
    let mac = device.mac.full().to_string();
    [account, ssid, mac, device.label.clone(), device.status.to_string(), passphrase, psk]
}

/// Where the rows go. Of each only the columns of the export are taken.
struct Sink {
    columns: &'static [&'static str],
    count: usize,
    to: To,
}

enum To {
    Stdout(csv::Writer<io::Stdout>),
    File(csv::Writer<std::fs::File>),
    Json(Vec<Value>),
}

impl Sink {
    fn open(
        args: &ExportArgs,
        columns: &'static [&'static str],
        json: bool,
    ) -> anyhow::Result<Self> {
        let to = match &args.out {
            Some(path) if args.with_keys => To::File(csv::Writer::from_writer(private_file(path)?)),
            Some(path) => {
                let file = std::fs::File::create(path);
                let file = file.with_context(|| format!("cannot create {}", path.display()));
                To::File(csv::Writer::from_writer(file.exit(Exit::CannotCreate)?))
            }
            None if json => To::Json(Vec::new()),
            None => To::Stdout(csv::Writer::from_writer(io::stdout())),
        };
        let mut sink = Self { columns, count: 0, to };
        match &mut sink.to {
            To::Stdout(writer) => stdout(writer.write_record(columns))?,
            To::File(writer) => file(writer.write_record(columns))?,
            To::Json(_) => {}
        }
        Ok(sink)
    }

    fn write(&mut self, row: &[String]) -> anyhow::Result<()> {
        self.count += 1;
        let cells = row.get(..self.columns.len()).unwrap_or(row);
        match &mut self.to {
            To::Stdout(writer) => stdout(writer.write_record(cells)),
            To::File(writer) => file(writer.write_record(cells)),
            To::Json(rows) => {
                let object = self.columns.iter().zip(cells);
                let object: Map<String, Value> = object
                    .map(|(name, cell)| ((*name).to_owned(), Value::from(cell.as_str())))
                    .collect();
                rows.push(object.into());
                Ok(())
            }
        }
    }

    fn end(self, args: &ExportArgs, cx: &Context<'_>) -> anyhow::Result<()> {
        match self.to {
            To::Stdout(mut writer) => output::stdout(writer.flush()),
            To::Json(rows) => output::json(&rows),
            To::File(mut writer) => {
                let done = writer.flush().and_then(|()| writer.get_ref().flush());
                done.context("cannot write the file").exit(Exit::CannotCreate)?;
                let (entity, count) = (args.entity.as_str(), self.count);
                let told = json!({ "entity": entity, "exported": count, "out": args.out });
                cx.show(&told, || format!("exported {count}\n"))
            }
        }
    }
}

fn stdout(result: csv::Result<()>) -> anyhow::Result<()> {
    output::stdout(result.map_err(|error| match error.into_kind() {
        csv::ErrorKind::Io(error) => error,
        other => io::Error::other(format!("{other:?}")),
    }))
}

fn file(result: csv::Result<()>) -> anyhow::Result<()> {
    result.context("cannot write the file").exit(Exit::CannotCreate)
}
