//! `homeward admin session`.

use clap::{Args, Subcommand};
use homeward_daemon::{Exit, ExitContext};
use homeward_ledger::{OpenFilter, SessionId, SessionView, User};
use homeward_model::{GatewayId, Nai, Name};
use homeward_store::Store;
use serde::Serialize;

use super::find::DeviceRef;
use super::usage::{size, time};
use super::{Context, Place, find};
use crate::output::{Table, fields};

#[derive(Debug, Subcommand)]
#[command(after_long_help = "Examples:
  homeward admin session list --account smith
  homeward admin session show 4711")]
pub(super) enum Verb {
    /// List sessions that go on
    #[command(after_long_help = "Examples:
  homeward admin session list
  homeward admin session list --login phone-7@example.net --json")]
    List(List),
    /// Show a session and its records
    #[command(after_long_help = "Example:
  homeward admin session show 4711")]
    Show {
        /// Its id
        id: i64,
    },
}

#[derive(Debug, Args)]
pub(super) struct List {
    /// Those of this account
    #[arg(long, value_name = "NAME")]
    account: Option<Name>,
    /// Those of this device: its id, or ACCOUNT/SSID/MAC
    #[arg(long, value_name = "DEVICE", conflicts_with = "login")]
    device: Option<DeviceRef>,
    /// Those of this log-in
    #[arg(long, value_name = "NAME")]
    login: Option<Nai>,
    /// At most so many, the oldest first
    #[arg(long, default_value_t = 1000)]
    limit: u32,
}

/// A session, for people and programs.
#[derive(Serialize)]
struct View {
    id: SessionId,
    account: Option<String>,
    user: Option<String>,
    /// The gateway that reports it.
    gateway: String,
    nas: String,
    session_id: String,
    station: Option<String>,
    bssid: Option<String>,
    user_name: Option<String>,
    address: Option<String>,
    phase: &'static str,
    began: String,
    heard: String,
    ended: Option<String>,
    cause: Option<&'static str>,
    input: u64,
    output: u64,
    seconds: u64,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    records: Vec<Record>,
}

/// A record of it.
#[derive(Serialize)]
struct Record {
    received: String,
    kind: &'static str,
    input: u64,
    output: u64,
    seconds: u64,
}

pub(super) async fn run(verb: Verb, place: &Place, cx: &mut Context<'_>) -> anyhow::Result<()> {
    let ledger = place.ledger().await?;
    match verb {
        Verb::List(list) => {
            let account = match &list.account {
                Some(name) => Some(find::account(cx.store, name).await?.id),
                None => None,
            };
            let user = match (&list.device, &list.login) {
                (Some(device), _) => Some(User::Device(find::device(cx.store, device).await?.id)),
                (None, Some(name)) => Some(User::Login(find::login(cx.store, name).await?.id)),
                (None, None) => None,
            };
            let filter = OpenFilter { account, user, after: None };
            let mut views = Vec::new();
            for session in ledger.open_sessions(filter, list.limit).await? {
                views.push(view(cx.store, &session).await?);
            }
            cx.show(&views, || table(&views))
        }
        Verb::Show { id } => {
            let session = ledger.session(SessionId(id)).await?;
            let missing = || {
                anyhow::anyhow!(
                    "no session {id}; `homeward admin session list` shows the open ones"
                )
            };
            let session = session.ok_or_else(missing).exit(Exit::NoInput)?;
            let mut view = view(cx.store, &session).await?;
            for record in ledger.records(session.id).await? {
                view.records.push(Record {
                    received: record.received.to_string(),
                    kind: record.kind.as_str(),
                    input: record.figures.input,
                    output: record.figures.output,
                    seconds: record.figures.seconds,
                });
            }
            cx.show(&view, || show(&view))
        }
    }
}

async fn view(store: &dyn Store, of: &SessionView) -> anyhow::Result<View> {
    let SessionView { session, .. } = of;
    let account = match of.owner {
        // One that was deleted is still known by its number.
        Some(owner) => Some(match store.account(owner.account).await? {
            Some(account) => account.name.to_string(),
            None => owner.account.to_string(),
        }),
        None => None,
    };
    let client = of.nas.client.as_str();
    let id = client.strip_prefix("gateway-").and_then(|id| id.parse().ok()).map(GatewayId);
    let gateway = match id {
        Some(id) => store.gateway(id).await?.map(|gateway| gateway.name.to_string()),
        None => None,
    };
    let facts = &session.facts;
    let user_name = facts.user_name.as_ref().map(|name| String::from_utf8_lossy(&name.0));
    Ok(View {
        id: of.id,
        account,
        user: of.owner.map(|owner| owner.user.to_string()),
        gateway: gateway.unwrap_or_else(|| client.to_owned()),
        nas: of.nas.identifier.clone(),
        session_id: of.session_id.clone(),
        station: facts.station.map(|mac| mac.full().to_string()),
        bssid: facts.bssid.map(|mac| mac.full().to_string()),
        user_name: user_name.map(|name| super::spelling::plain(&name)),
        address: facts.address.as_ref().map(|address| address.0.to_string()),
        phase: session.phase.as_str(),
        began: session.began.to_string(),
        heard: session.heard.to_string(),
        ended: session.end.map(|end| end.at.to_string()),
        cause: session.end.map(|end| end.cause.as_str()),
        input: session.figures.input,
        output: session.figures.output,
        seconds: session.figures.seconds,
        records: Vec::new(),
    })
}

fn table(sessions: &[View]) -> String {
    let header = ["session", "account", "user", "gateway", "station", "began", "from it", "to it"];
    let mut table = Table::new(header);
    for session in sessions {
        table.row([
            session.id.to_string(),
            session.account.clone().unwrap_or_default(),
            session.user.clone().unwrap_or_default(),
            session.gateway.clone(),
            session.station.clone().unwrap_or_default(),
            session.began.clone(),
            size(session.input),
            size(session.output),
        ]);
    }
    table.to_string()
}

fn show(session: &View) -> String {
    let text = |value: &Option<String>| value.clone().unwrap_or_default();
    let ended = session.ended.as_ref().zip(session.cause);
    let mut shown = fields(&[
        ("session", session.id.to_string()),
        ("account", text(&session.account)),
        ("user", text(&session.user)),
        ("gateway", session.gateway.clone()),
        ("nas", super::spelling::plain(&session.nas)),
        ("nas's id", super::spelling::plain(&session.session_id)),
        ("station", text(&session.station)),
        ("bssid", text(&session.bssid)),
        ("user name", text(&session.user_name)),
        ("address", text(&session.address)),
        ("phase", session.phase.to_owned()),
        ("began", session.began.clone()),
        ("heard", session.heard.clone()),
        ("ended", ended.map(|(at, cause)| format!("{at}, {cause}")).unwrap_or_default()),
        ("from it", size(session.input)),
        ("to it", size(session.output)),
        ("time", time(session.seconds)),
    ]);
    let mut table = Table::new(["received", "record", "from it", "to it", "time"]);
    for record in &session.records {
        table.row([
            record.received.clone(),
            record.kind.to_owned(),
            size(record.input),
            size(record.output),
            time(record.seconds),
        ]);
    }
    shown.push_str(&format!("\n{table}"));
    shown
}
