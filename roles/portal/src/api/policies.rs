//! Policies: of whom, and what they say.

use homeward_model::{Mac, Name, OffloadPolicy, PolicyScope};
use homeward_store::Store;
use hyper::{Method, StatusCode};
use serde::Serialize;

use super::problem::Problem;
use super::{Call, gone, json, not_allowed};
use homeward_http::Answer;

/// Whom a policy is for, by name.
#[derive(Debug, Serialize)]
#[serde(rename_all = "lowercase")]
enum For {
    Default,
    Class(Name),
    Mac(Mac),
}

/// A policy as it is shown.
#[derive(Debug, Serialize)]
struct View {
    scope: For,
    policy: OffloadPolicy,
}

/// All of them.
#[derive(Debug, Serialize)]
struct All {
    items: Vec<View>,
}

pub(super) async fn route(call: &Call<'_>, rest: &[&str]) -> Result<Answer, Problem> {
    let store = call.store();
    let (scope, named) = match rest {
        [] => return list(call).await,
        ["default"] => (PolicyScope::Default, For::Default),
        ["class", name] => {
            let name: Name = name.parse().map_err(Problem::unreadable)?;
            let class = store.class_named(&name).await?;
            let class = class.ok_or_else(|| Problem::not_found(format!("class {name}")))?;
            (PolicyScope::Class(class.id), For::Class(name))
        }
        ["mac", mac] => {
            let mac: Mac = mac.parse().map_err(Problem::unreadable)?;
            (PolicyScope::Mac(mac), For::Mac(mac))
        }
        _ => return Err(Problem::not_found("such policy: default, class/NAME, mac/ADDRESS")),
    };
    match *call.method {
        Method::GET => {
            let policy = store.policy(scope).await?.ok_or_else(none)?;
            json(StatusCode::OK, &View { scope: named, policy })
        }
        Method::PUT => {
            let policy: OffloadPolicy = call.json()?;
            store.set_policy(scope, &policy).await?;
            json(StatusCode::OK, &View { scope: named, policy })
        }
        Method::DELETE => match store.clear_policy(scope).await? {
            true => Ok(gone()),
            false => Err(none()),
        },
        _ => Err(not_allowed("GET, PUT and DELETE")),
    }
}

async fn list(call: &Call<'_>) -> Result<Answer, Problem> {
    if *call.method != Method::GET {
        return Err(not_allowed("GET"));
    }
    let mut items = Vec::new();
    for (scope, policy) in call.store().policies().await? {
        items.push(View { scope: named(call.store(), scope).await?, policy });
    }
    json(StatusCode::OK, &All { items })
}

async fn named(store: &dyn Store, scope: PolicyScope) -> Result<For, Problem> {
    Ok(match scope {
        PolicyScope::Default => For::Default,
        PolicyScope::Mac(mac) => For::Mac(mac),
        PolicyScope::Class(id) => {
            let class = store.class(id).await?;
            For::Class(class.ok_or_else(|| Problem::not_found(format!("class {id}")))?.name)
        }
    })
}

fn none() -> Problem {
    Problem::not_found("policy of its own")
}
