//! The administrators' API: JSON over HTTPS, on a listener of its own.
//!
//! Who asks is known by a bearer token ([`tokens`]); what is done is done through a store handle in
//! that token's name, so that the audit trail says who. The interface is described by
//! `openapi.json`, which is served too.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use arc_swap::ArcSwap;
use async_trait::async_trait;
use homeward_daemon::Metrics;
use homeward_store::Store;
use hyper::body::Bytes;
use hyper::header::{AUTHORIZATION, CACHE_CONTROL, CONTENT_TYPE, HeaderValue, LOCATION};
use hyper::http::request::Parts;
use hyper::{Method, StatusCode};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use serde::Serialize;
use serde::de::DeserializeOwned;

use homeward_http::{Answer, Handler, Peer};

use problem::Problem;
use tokens::{Role, Tokens, User};

mod issued;
mod policies;
mod problem;
mod subscribers;
pub mod tokens;

/// The document that describes the interface.
const OPENAPI: &str = include_str!("../schema/admin.openapi.json");

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Outcome {
    code: u16,
}

/// The API. Clones are one and the same.
#[derive(Clone)]
pub struct Api {
    store: Arc<dyn Store>,
    tokens: Arc<ArcSwap<Tokens>>,
    file: PathBuf,
    answered: Family<Outcome, Counter>,
}

impl Api {
    /// One for whom the file names.
    ///
    /// # Errors
    ///
    /// As [`Tokens::load`].
    pub fn load(file: &Path, store: Arc<dyn Store>, metrics: &mut Metrics) -> anyhow::Result<Self> {
        let tokens = Arc::new(ArcSwap::from_pointee(Tokens::load(file, &*store)?));
        let answered = Family::default();
        let registry = metrics.registry().sub_registry_with_prefix("portal_api");
        registry.register("answered", "Requests to the API, by HTTP status", answered.clone());
        Ok(Self { store, tokens, file: file.to_owned(), answered })
    }

    /// Reads the file of tokens again.
    ///
    /// # Errors
    ///
    /// As [`Tokens::load`]; what was loaded before stays.
    pub fn reload(&self) -> anyhow::Result<()> {
        self.tokens.store(Arc::new(Tokens::load(&self.file, &*self.store)?));
        Ok(())
    }

    /// Who asks, and whether that may be.
    fn user(&self, head: &Parts) -> Result<Arc<User>, Problem> {
        let unknown =
            || Problem::new(StatusCode::UNAUTHORIZED, "give a bearer token that is known");
        let given = head.headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok());
        let (scheme, token) = given.and_then(|given| given.split_once(' ')).ok_or_else(unknown)?;
        if !scheme.eq_ignore_ascii_case("Bearer") {
            return Err(unknown());
        }
        let user = self.tokens.load().user(token.trim()).ok_or_else(unknown)?;
        if user.role == Role::Read && !matches!(head.method, Method::GET | Method::HEAD) {
            let why = format!("{} may read only", user.name);
            return Err(Problem::new(StatusCode::FORBIDDEN, why));
        }
        Ok(user)
    }

    fn count(&self, answer: Answer) -> Answer {
        self.answered.get_or_create(&Outcome { code: answer.status().as_u16() }).inc();
        answer
    }
}

#[async_trait]
impl Handler for Api {
    fn admit(&self, _: &Peer, head: &Parts) -> Result<(), Box<Answer>> {
        if is_public(head) {
            return Ok(());
        }
        match self.user(head) {
            Ok(_) => Ok(()),
            Err(problem) => Err(Box::new(self.count(problem.answer()))),
        }
    }

    async fn answer(&self, peer: &Peer, head: Parts, body: Bytes) -> Answer {
        if is_public(&head) {
            return self.count(text("ok\n"));
        }
        let answered = match self.user(&head) {
            Ok(user) => {
                let answered = route(&user, &head, &body).await;
                if head.method != Method::GET {
                    let status = answered.as_ref().map_or_else(|p| p.status, |a| a.status());
                    tracing::info!(
                        token = user.name,
                        from = %peer.address,
                        method = %head.method,
                        status = status.as_u16(),
                        "a change was asked for"
                    );
                }
                answered
            }
            Err(problem) => Err(problem),
        };
        self.count(answered.unwrap_or_else(|problem| problem.answer()))
    }
}

/// What anybody may ask.
fn is_public(head: &Parts) -> bool {
    head.uri.path() == "/healthz" && matches!(head.method, Method::GET | Method::HEAD)
}

/// One request.
struct Call<'a> {
    user: &'a User,
    method: &'a Method,
    query: Vec<(String, String)>,
    body: &'a Bytes,
}

async fn route(user: &User, head: &Parts, body: &Bytes) -> Result<Answer, Problem> {
    let query = head.uri.query().unwrap_or_default();
    let query = form_urlencoded::parse(query.as_bytes()).into_owned().collect();
    let call = Call { user, method: &head.method, query, body };
    let path = head.uri.path();
    let unknown = || Problem::not_found(format!("{path}; GET /api/v1/openapi.json says what is"));
    let segments: Vec<String> = path
        .strip_prefix("/api/v1/")
        .ok_or_else(unknown)?
        .split('/')
        .map(|segment| {
            // A path's `+` is a plus.
            let segment = format!("={}", segment.replace('+', "%2B"));
            let mut decoded = form_urlencoded::parse(segment.as_bytes());
            decoded.next().map(|(_, value)| value.into_owned()).unwrap_or_default()
        })
        .collect();
    let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
    match segments.as_slice() {
        ["openapi.json"] => match *call.method {
            Method::GET => Ok(with_type("application/json", OPENAPI)),
            _ => Err(not_allowed("GET")),
        },
        ["subscribers", rest @ ..] => subscribers::route(&call, rest).await,
        ["policies", rest @ ..] => policies::route(&call, rest).await,
        ["issued", rest @ ..] => issued::route(&call, rest).await,
        ["audit"] => issued::audit(&call).await,
        _ => Err(unknown()),
    }
}

impl Call<'_> {
    fn store(&self) -> &dyn Store {
        &*self.user.store
    }

    /// The body as JSON.
    fn json<T: DeserializeOwned>(&self) -> Result<T, Problem> {
        serde_json::from_slice(self.body).map_err(Problem::unreadable)
    }

    /// A parameter of the query.
    fn given<T>(&self, name: &str) -> Result<Option<T>, Problem>
    where
        T: std::str::FromStr<Err: std::fmt::Display>,
    {
        let value = self.query.iter().find(|(key, _)| key == name);
        let parsed = value.map(|(_, value)| value.parse::<T>()).transpose();
        parsed.map_err(|error| Problem::unreadable(format!("{name}: {error}")))
    }

    /// Whether the query has parameters of these names only.
    fn only(&self, names: &[&str]) -> Result<(), Problem> {
        match self.query.iter().find(|(key, _)| !names.contains(&key.as_str())) {
            None => Ok(()),
            Some((key, _)) => {
                let names = names.join(", ");
                Err(Problem::unreadable(format!("no parameter {key}: there are {names}")))
            }
        }
    }

    /// How many records to list, at most.
    fn limit(&self) -> Result<u32, Problem> {
        match self.given("limit")? {
            None => Ok(100),
            Some(limit @ 1..=1000) => Ok(limit),
            Some(_) => Err(Problem::unreadable("limit: 1 to 1000")),
        }
    }
}

/// An identifier in a path.
fn number(text: &str) -> Result<i64, Problem> {
    text.parse().map_err(|_| Problem::not_found(format!("record {text}: give its number")))
}

/// A page of records, and from where the next one is to be asked for.
#[derive(Debug, Serialize)]
struct Listed<T> {
    items: Vec<T>,
    /// What to give as `after`; absent on the last page.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<i64>,
}

impl<T> Listed<T> {
    fn new(items: Vec<T>, limit: u32, id: impl Fn(&T) -> i64) -> Self {
        let full = u32::try_from(items.len()).is_ok_and(|n| n >= limit);
        let next = items.last().filter(|_| full).map(id);
        Self { items, next }
    }
}

fn json(status: StatusCode, what: &impl Serialize) -> Result<Answer, Problem> {
    let broken = |_| Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "it cannot be written");
    let body = serde_json::to_vec(what).map_err(broken)?;
    let mut answer = with_type("application/json", body);
    *answer.status_mut() = status;
    Ok(answer)
}

fn created(what: &impl Serialize, at: &str) -> Result<Answer, Problem> {
    let mut answer = json(StatusCode::CREATED, what)?;
    if let Ok(at) = HeaderValue::from_str(at) {
        answer.headers_mut().insert(LOCATION, at);
    }
    Ok(answer)
}

fn gone() -> Answer {
    let mut answer = Answer::default();
    *answer.status_mut() = StatusCode::NO_CONTENT;
    answer
}

fn text(body: &'static str) -> Answer {
    with_type("text/plain; charset=utf-8", body)
}

fn with_type(media: &'static str, body: impl Into<Bytes>) -> Answer {
    let mut answer = Answer::new(body.into().into());
    let headers = answer.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(media));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    answer
}

/// For a path that knows other methods.
fn not_allowed(allowed: &'static str) -> Problem {
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, format!("there is {allowed}"))
}
