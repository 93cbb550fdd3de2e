//! `homeward admin audit`: who changed what, when, from what to what.

use std::collections::VecDeque;

use clap::Args;
use homeward_accounting::Day;
use homeward_daemon::SystemClock;
use homeward_model::{Clock, Seconds, UnixTime};
use homeward_store::{Actor, AuditEntry, AuditFilter, AuditKind, Operation, Seq};
use serde::Serialize;
use serde_json::{Map, Value};

use super::spelling::Spelled;
use super::{Context, spelling};
use crate::output::Table;

/// Entries fetched at a time.
const PAGE: u32 = 1000;
/// Entries shown where nothing says which.
const LAST: usize = 100;

#[derive(Debug, Args)]
#[command(after_long_help = "Examples:
  homeward admin audit
  homeward admin audit --since 2h
  homeward admin audit --since 2026-11-01 --kind subscriber --json
  homeward admin audit --after 1200 --json

Every change that `homeward admin` or the administrators' API makes leaves an entry, in the
transaction of the change: admin:NAME is a user of this machine, api:NAME a token's. Keys and
passwords are never in it; where one was replaced, it says \"changed\". The numbers rise in the order
of the changes, and entries are never changed.")]
pub(super) struct AuditArgs {
    /// Those since a span ago (2h, 7d) or since a day (2026-11-28, UTC)
    #[arg(long, value_name = "SPAN|DAY", value_parser = since)]
    since: Option<Since>,
    /// Those of this kind of record: class, account, gateway, network, device, login, subscriber,
    /// policy, issued, access, authority, sealing-key
    #[arg(long, value_name = "KIND")]
    kind: Option<AuditKind>,
    /// Those of this actor, such as admin:fred
    #[arg(long, value_name = "WHO")]
    actor: Option<Actor>,
    /// Those after this number
    #[arg(long, value_name = "NUMBER")]
    after: Option<i64>,
    /// Only the last so many [default: 100; with --since or --after all]
    #[arg(long, value_name = "COUNT")]
    last: Option<usize>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Since {
    Ago(Seconds),
    Day(Day),
}

fn since(text: &str) -> Result<Since, String> {
    if let Ok(day) = text.parse() {
        return Ok(Since::Day(day));
    }
    let span = Seconds::read(text).map(Since::Ago);
    span.map_err(|_| format!("{text:?} is no span and no day: write 2h, 7d or 2026-11-28"))
}

impl Since {
    fn time(self, now: UnixTime) -> UnixTime {
        match self {
            Self::Ago(span) => UnixTime(now.0.saturating_sub(i64::from(span.0) * 1000)),
            Self::Day(day) => day.start(),
        }
    }
}

/// An entry, for programs: its time is written out.
#[derive(Debug, Serialize)]
struct View {
    seq: Seq,
    time: String,
    actor: Actor,
    kind: AuditKind,
    record: i64,
    operation: Operation,
    before: Option<Value>,
    after: Option<Value>,
}

impl From<AuditEntry> for View {
    fn from(entry: AuditEntry) -> Self {
        let AuditEntry { seq, time, actor, kind, record, operation, before, after } = entry;
        Self { seq, time: time.to_string(), actor, kind, record, operation, before, after }
    }
}

pub(super) async fn run(args: AuditArgs, cx: &mut Context<'_>) -> anyhow::Result<()> {
    let some = args.since.is_some() || args.after.is_some();
    let last = args.last.unwrap_or(if some { usize::MAX } else { LAST });
    let since = args.since.map(|since| since.time(SystemClock.unix()));
    let filter = AuditFilter { kind: args.kind, since, actor: args.actor };
    let mut after = Seq(args.after.unwrap_or_default());
    let mut kept: VecDeque<View> = VecDeque::new();
    loop {
        let page = cx.store.audit_after(after, &filter, PAGE).await?;
        let full = page.len() >= PAGE as usize;
        after = page.last().map_or(after, |entry| entry.seq);
        for entry in page {
            kept.push_back(entry.into());
            if kept.len() > last {
                kept.pop_front();
            }
        }
        if !full {
            break;
        }
    }
    let views: Vec<View> = kept.into();
    cx.show(&views, || table(&views))
}

fn table(views: &[View]) -> String {
    let mut table = Table::new(["number", "time", "who", "did", "what", "details"]);
    for view in views {
        table.row([
            view.seq.to_string(),
            view.time.clone(),
            spelling::plain(view.actor.as_str()),
            view.operation.as_str().to_owned(),
            format!("{} {}", view.kind, view.record),
            spelling::plain(&details(view.before.as_ref(), view.after.as_ref())),
        ]);
    }
    table.to_string()
}

/// What a line has room for: what a record is known by, or what changed in it.
fn details(before: Option<&Value>, after: Option<&Value>) -> String {
    match (before, after) {
        (Some(before), Some(after)) => {
            let mut changed = Vec::new();
            differences("", before, after, &mut changed);
            changed.join(", ")
        }
        (one, other) => one.or(other).map(known_by).unwrap_or_default(),
    }
}

/// `field: old -> new` for each that is not the same.
fn differences(path: &str, before: &Value, after: &Value, changed: &mut Vec<String>) {
    let (Value::Object(old), Value::Object(new)) = (before, after) else {
        if before != after {
            changed.push(format!("{path}: {} -> {}", short(before), short(after)));
        }
        return;
    };
    let all: std::collections::BTreeSet<&String> = old.keys().chain(new.keys()).collect();
    for name in all {
        let below = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
        let value = |fields: &Map<String, Value>| fields.get(name).cloned().unwrap_or(Value::Null);
        differences(&below, &value(old), &value(new), changed);
    }
}

/// The fields by which people know a record.
fn known_by(record: &Value) -> String {
    const FIELDS: [&str; 8] =
        ["name", "imsi", "ssid", "mac", "scope", "token_expires", "credential", "key"];
    let Value::Object(fields) = record else { return String::new() };
    let own = FIELDS.iter().filter_map(|name| Some((*name, fields.get(*name)?)));
    let login = fields.get("login").and_then(|login| login.get("name"));
    let all = login.map(|name| ("login", name)).into_iter().chain(own);
    all.map(|(name, value)| format!("{name} {}", short(value))).collect::<Vec<_>>().join(", ")
}

fn short(value: &Value) -> String {
    const LONG: usize = 60;
    let text = match value {
        Value::String(text) => text.clone(),
        Value::Null => "none".to_owned(),
        other => other.to_string(),
    };
    match text.char_indices().nth(LONG) {
        Some((at, _)) => format!("{}...", text.get(..at).unwrap_or_default()),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn since_is_a_span_or_a_day() {
        let now = UnixTime(1_769_860_800_000);
        let time = |text: &str| since(text).map(|since| since.time(now).0);
        assert_eq!(time("2h"), Ok(now.0 - 7_200_000));
        assert_eq!(time("2026-01-31"), Ok(now.0 - 43_200_000));
        assert_eq!(
            time("soon"),
            Err("\"soon\" is no span and no day: write 2h, 7d or 2026-11-28".to_owned())
        );
    }

    #[test]
    fn a_line_tells_what_changed_or_what_it_is_known_by() {
        let before = json!({"name": "a", "status": "active", "terms": {"quota": null, "vlan": 1}});
        let after = json!({"name": "a", "status": "suspended", "terms": {"quota": 5, "vlan": 1}});
        assert_eq!(
            details(Some(&before), Some(&after)),
            "status: active -> suspended, terms.quota: none -> 5"
        );
        assert_eq!(details(None, Some(&after)), "name a");
        let issued = json!({"login": {"name": "x@y"}, "imsi": "999700123456789", "mac": "m"});
        assert_eq!(details(Some(&issued), None), "login x@y, imsi 999700123456789, mac m");
        let long = json!({"password": "changed", "wlan": {"ca": "x".repeat(99)}});
        let told = details(Some(&json!({})), Some(&long));
        assert!(told.len() < 130 && told.contains("xxx..."), "{told}");
    }
}
