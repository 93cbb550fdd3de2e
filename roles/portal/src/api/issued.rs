//! What was issued, and who changed what.

use std::net::IpAddr;

use homeward_model::{Imei, Imsi, LoginId, Mac, Name, Status, UnixTime, Uses};
use homeward_store::{
    Actor, AuditEntry, AuditFilter, AuditKind, Issued, IssuedFilter, Page, Seq, Store, Way,
};
use hyper::{Method, StatusCode};
use serde::Serialize;
use serde_json::{Value, json as value};

use super::problem::Problem;
use super::subscribers::account_name;
use super::{Call, Listed, gone, json, not_allowed, number};
use homeward_http::Answer;

/// A credential as it is shown: without its password.
#[derive(Debug, Serialize)]
struct View {
    login: LoginId,
    username: String,
    account: Name,
    imsi: Imsi,
    imei: Option<Imei>,
    mac: Mac,
    address: Option<IpAddr>,
    issued: String,
    renew_from: Option<String>,
    expires: Option<String>,
    uses: Uses,
    status: Status,
    way: Way,
}

pub(super) async fn route(call: &Call<'_>, rest: &[&str]) -> Result<Answer, Problem> {
    let store = call.store();
    match (rest, call.method) {
        ([], &Method::GET) => {
            call.only(&["imsi", "mac", "account", "after", "limit"])?;
            let account = match call.given::<Name>("account")? {
                Some(name) => Some(store.require_account(&name).await?.id),
                None => None,
            };
            let (imsi, mac) = (call.given("imsi")?, call.given("mac")?);
            let filter = IssuedFilter { imsi, mac, account };
            let limit = call.limit()?;
            let after = call.given::<i64>("after")?.map(LoginId);
            let mut items = Vec::new();
            for issued in store.issued(&filter, Page { after, limit }).await? {
                items.push(view(store, issued).await?);
            }
            json(StatusCode::OK, &Listed::new(items, limit, |view| view.login.0))
        }
        ([], _) => Err(not_allowed("GET")),
        ([login], &Method::DELETE) => {
            let login = LoginId(number(login)?);
            match store.withdraw(login).await? {
                true => Ok(gone()),
                false => Err(Problem::not_found(format!("credential {login}"))),
            }
        }
        ([_], _) => Err(not_allowed("DELETE")),
        _ => Err(Problem::not_found("such path")),
    }
}

async fn view(store: &dyn Store, issued: Issued) -> Result<View, Problem> {
    let time = |time: UnixTime| time.to_string();
    let login = issued.login;
    Ok(View {
        login: login.id,
        username: login.name.as_str().to_owned(),
        account: account_name(store, login.account).await?,
        imsi: issued.imsi,
        imei: issued.imei,
        mac: issued.mac,
        address: issued.address,
        issued: time(issued.issued),
        renew_from: issued.renew_from.map(time),
        expires: login.expires.map(time),
        uses: login.uses,
        status: login.status,
        way: issued.way,
    })
}

/// The audit trail.
pub(super) async fn audit(call: &Call<'_>) -> Result<Answer, Problem> {
    if *call.method != Method::GET {
        return Err(not_allowed("GET"));
    }
    call.only(&["after", "kind", "actor", "since", "limit"])?;
    let filter = AuditFilter {
        kind: call.given::<AuditKind>("kind")?,
        since: call.given::<i64>("since")?.map(|seconds| UnixTime(seconds.saturating_mul(1000))),
        actor: call.given::<Actor>("actor")?,
    };
    let limit = call.limit()?;
    let after = call.given::<i64>("after")?.map_or(Seq::ZERO, Seq);
    let entries = call.store().audit_after(after, &filter, limit).await?;
    let listed = Listed::new(entries, limit, |entry| entry.seq.0);
    let Listed { items, next } = listed;
    json(StatusCode::OK, &Listed { items: items.iter().map(entry).collect::<Vec<_>>(), next })
}

fn entry(entry: &AuditEntry) -> Value {
    value!({
        "seq": entry.seq,
        "time": entry.time.to_string(),
        "actor": entry.actor,
        "kind": entry.kind,
        "record": entry.record,
        "operation": entry.operation,
        "before": entry.before,
        "after": entry.after,
    })
}
