//! Subscribers.

use homeward_model::{AccountId, Imsi, Msisdn, Name, Status, Subscriber, SubscriberId};
use homeward_store::{NewSubscriber, Page, Store, SubscriberChange, SubscriberFilter};
use hyper::{Method, StatusCode};
use serde::{Deserialize, Deserializer, Serialize};

use super::problem::Problem;
use super::{Call, Listed, created, gone, json, not_allowed, number};
use homeward_http::Answer;

/// A subscriber to create.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct New {
    imsi: Imsi,
    #[serde(default)]
    msisdn: Option<Msisdn>,
    account: Name,
    #[serde(default)]
    label: String,
    #[serde(default)]
    status: Status,
}

/// What to change in one.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Change {
    imsi: Option<Imsi>,
    #[serde(default, deserialize_with = "given")]
    msisdn: Option<Option<Msisdn>>,
    account: Option<Name>,
    label: Option<String>,
    status: Option<Status>,
}

/// Tells a `null`, which takes away, from what is absent, which leaves as it is.
fn given<'de, D, T>(from: D) -> Result<Option<Option<T>>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    Option::deserialize(from).map(Some)
}

/// A subscriber as it is shown.
#[derive(Debug, Serialize)]
struct View {
    id: SubscriberId,
    imsi: Imsi,
    msisdn: Option<Msisdn>,
    account: Name,
    label: String,
    status: Status,
}

pub(super) async fn route(call: &Call<'_>, rest: &[&str]) -> Result<Answer, Problem> {
    match (rest, call.method) {
        ([], &Method::GET) => list(call).await,
        ([], &Method::POST) => create(call).await,
        ([], _) => Err(not_allowed("GET and POST")),
        ([id], method) => {
            let id = SubscriberId(number(id)?);
            match *method {
                Method::GET => show(call, id).await,
                Method::PATCH => change(call, id).await,
                Method::DELETE => match call.store().delete_subscriber(id).await? {
                    true => Ok(gone()),
                    false => Err(none(id)),
                },
                _ => Err(not_allowed("GET, PATCH and DELETE")),
            }
        }
        _ => Err(Problem::not_found("such path")),
    }
}

async fn list(call: &Call<'_>) -> Result<Answer, Problem> {
    call.only(&["imsi", "msisdn", "account", "status", "after", "limit"])?;
    let (store, limit) = (call.store(), call.limit()?);
    let imsi: Option<Imsi> = call.given("imsi")?;
    let msisdn: Option<Msisdn> = call.given("msisdn")?;
    let account = match call.given::<Name>("account")? {
        Some(name) => Some(store.require_account(&name).await?.id),
        None => None,
    };
    let status: Option<Status> = call.given("status")?;
    let found = match (imsi, msisdn) {
        (Some(imsi), _) => store.subscriber_with_imsi(imsi).await?.into_iter().collect(),
        (None, Some(number)) => store.subscriber_with_msisdn(number).await?.into_iter().collect(),
        (None, None) => {
            let after = call.given::<i64>("after")?.map(SubscriberId);
            let filter = SubscriberFilter { account, status };
            store.subscribers(&filter, Page { after, limit }).await?
        }
    };
    let mut items = Vec::new();
    for subscriber in found {
        let asked = account.is_none_or(|account| account == subscriber.account)
            && status.is_none_or(|status| status == subscriber.status)
            && msisdn.is_none_or(|number| Some(number) == subscriber.msisdn);
        if asked {
            items.push(view(store, subscriber).await?);
        }
    }
    json(StatusCode::OK, &Listed::new(items, limit, |view| view.id.0))
}

async fn create(call: &Call<'_>) -> Result<Answer, Problem> {
    let new: New = call.json()?;
    let store = call.store();
    let account = store.require_account(&new.account).await?.id;
    let New { imsi, msisdn, account: _, label, status } = new;
    let new = NewSubscriber { imsi, msisdn, account, label, status };
    let made = store.create_subscriber(&new).await?;
    let at = format!("/api/v1/subscribers/{}", made.id);
    created(&view(store, made).await?, &at)
}

async fn show(call: &Call<'_>, id: SubscriberId) -> Result<Answer, Problem> {
    let found = call.store().subscriber(id).await?.ok_or_else(|| none(id))?;
    json(StatusCode::OK, &view(call.store(), found).await?)
}

async fn change(call: &Call<'_>, id: SubscriberId) -> Result<Answer, Problem> {
    let change: Change = call.json()?;
    let store = call.store();
    if store.subscriber(id).await?.is_none() {
        return Err(none(id));
    }
    let account = match &change.account {
        Some(name) => Some(store.require_account(name).await?.id),
        None => None,
    };
    let Change { imsi, msisdn, account: _, label, status } = change;
    let change = SubscriberChange { imsi, msisdn, account, label, status };
    let changed = store.update_subscriber(id, &change).await?;
    json(StatusCode::OK, &view(store, changed).await?)
}

fn none(id: SubscriberId) -> Problem {
    Problem::not_found(format!("subscriber {id}"))
}

async fn view(store: &dyn Store, subscriber: Subscriber) -> Result<View, Problem> {
    let account = account_name(store, subscriber.account).await?;
    let Subscriber { id, imsi, msisdn, account: _, label, status } = subscriber;
    Ok(View { id, imsi, msisdn, account, label, status })
}

/// What an account is called.
pub(super) async fn account_name(store: &dyn Store, id: AccountId) -> Result<Name, Problem> {
    let found = store.account(id).await?;
    found.map(|account| account.name).ok_or_else(|| Problem::not_found(format!("account {id}")))
}
