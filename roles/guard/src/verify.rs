//! Whether a flow passes, for whoever stands in front of the service.
//!
//! ```text
//! GET /verify        X-Homeward-Flow: udp 10.45.0.2:5060      or  /verify?flow=udp%2010.45.0.2%3A5060
//! GET /verify/...    X-Homeward-Flow: udp 10.45.0.2:5060
//!
//! 200  it passes, and by which session: X-Homeward-Session, which is the body, too; X-Homeward-Hops,
//!      X-Homeward-Broken (the hops, where there are any)
//! 403  it does not; or who asks is not one of verify.from
//! 400  it names no flow, or several
//! ```
//!
//! And whether a request is by the device that has its flow admitted, by digest authentication:
//!
//! ```text
//! GET /digest        X-Homeward-Flow: udp 10.45.0.2:5060
//!                    X-Homeward-Method: INVITE
//!                    X-Homeward-URI: sip:b@sip.example
//!                    Authorization: Digest ... (as the request has it, if it has)
//!
//! 200  it is: as above
//! 401  it is to be asked for again: the body has a challenge a line, and so has WWW-Authenticate
//! 403  the flow is not admitted
//! 400  something is not named, or twice
//! ```
//!
//! Any method does. That is what nginx's `auth_request`, Envoy's `ext_authz` over HTTP and Kamailio's
//! `http_client_query` take for yes and no: to Envoy no other success is a yes. It puts the path that it was asked for, with its query,
//! behind `/verify`: there only the header counts, for the query is its client's.

use std::sync::Arc;

use async_trait::async_trait;
use homeward_http::{Answer, Handler, Peer};
use homeward_keychain::Flow;
use http_body_util::Full;
use hyper::body::Bytes;
use hyper::header::{AUTHORIZATION, HeaderValue, WWW_AUTHENTICATE};
use hyper::http::request::Parts;
use hyper::{Response, StatusCode};

use crate::admitted::Admission;
use crate::config::VerifyConfig;
use crate::digest::{Digest, Request, Verdict};
use crate::guard::Guard;

/// The header that names the flow.
const FLOW: &str = "x-homeward-flow";

/// What the request is that digest authentication is of.
const METHOD: &str = "x-homeward-method";
const URI: &str = "x-homeward-uri";

/// Answers.
#[derive(Debug)]
pub struct Verify {
    guard: Arc<Guard>,
    config: VerifyConfig,
    digest: Digest,
}

impl Verify {
    /// What that guard admits, for who may ask.
    pub fn new(guard: Arc<Guard>, config: VerifyConfig, digest: Digest) -> Self {
        Self { guard, config, digest }
    }

    async fn passes(&self, head: &Parts) -> Answer {
        let Some(flow) = flow(head) else {
            let text = "name one flow: the header X-Homeward-Flow, or /verify?flow=...\n";
            return plain(StatusCode::BAD_REQUEST, text);
        };
        match self.guard.passes(&flow).await {
            Some(admission) => admitted(&admission),
            None => plain(StatusCode::FORBIDDEN, ""),
        }
    }

    async fn judged(&self, head: &Parts) -> Answer {
        let credentials = match head.headers.contains_key(AUTHORIZATION) {
            false => Some(None),
            true => header(head, AUTHORIZATION.as_str()).map(Some),
        };
        let (Some(flow), Some(method), Some(uri), Some(credentials)) =
            (flow(head), header(head, METHOD), header(head, URI), credentials)
        else {
            let text = "give the headers X-Homeward-Flow, -Method and -URI, and Authorization if there \
                        is one: each once\n";
            return plain(StatusCode::BAD_REQUEST, text);
        };
        let request = Request { flow, method, uri, credentials };
        match self.digest.judge(&self.guard, &request).await {
            Verdict::Passes(admission) => admitted(&admission),
            Verdict::Refused => plain(StatusCode::FORBIDDEN, ""),
            Verdict::Challenge(challenges) => {
                let lines: String = challenges.iter().map(|line| format!("{line}\n")).collect();
                let mut answer = plain(StatusCode::UNAUTHORIZED, lines);
                for value in challenges.iter().filter_map(|line| HeaderValue::from_str(line).ok()) {
                    answer.headers_mut().append(WWW_AUTHENTICATE, value);
                }
                answer
            }
        }
    }
}

fn plain(status: StatusCode, text: impl Into<Bytes>) -> Answer {
    let mut answer = Response::new(Full::new(text.into()));
    *answer.status_mut() = status;
    answer
}

/// It passes, and by what chain.
fn admitted(admission: &Admission) -> Answer {
    // Kamailio is not told of headers.
    let mut answer = plain(StatusCode::OK, format!("{}\n", admission.session));
    let broken: Vec<String> = admission.broken.iter().map(ToString::to_string).collect();
    let said = [
        ("x-homeward-session", admission.session.to_string()),
        ("x-homeward-hops", admission.hops.to_string()),
        ("x-homeward-broken", broken.join(",")),
    ];
    for (name, value) in said {
        if let Ok(value) = HeaderValue::from_str(&value)
            && !value.is_empty()
        {
            answer.headers_mut().insert(name, value);
        }
    }
    answer
}

/// The one value of a header; `None` where there is none, or more than one.
fn header<'a>(head: &'a Parts, name: &str) -> Option<&'a str> {
    let mut values = head.headers.get_all(name).into_iter();
    let value = values.next().filter(|_| values.next().is_none())?;
    value.to_str().ok()
}

/// The flow that is asked after.
fn flow(head: &Parts) -> Option<Flow> {
    if head.headers.contains_key(FLOW) {
        return header(head, FLOW)?.parse().ok();
    }
    // Behind another path, the query is of whom the proxy serves.
    let query = head.uri.query().filter(|_| head.uri.path() == "/verify")?;
    let mut named = form_urlencoded::parse(query.as_bytes()).filter(|(key, _)| key == "flow");
    let (_, flow) = named.next().filter(|_| named.next().is_none())?;
    flow.parse().ok()
}

#[async_trait]
impl Handler for Verify {
    fn admit(&self, peer: &Peer, _: &Parts) -> Result<(), Box<Answer>> {
        if self.config.answers(peer.address) {
            return Ok(());
        }
        self.guard.figures().stranger();
        tracing::debug!(from = %peer.address, "who asks is not in verify.from");
        let text = "verify.from of the guard does not name who asks\n";
        Err(Box::new(plain(StatusCode::FORBIDDEN, text)))
    }

    async fn answer(&self, _: &Peer, head: Parts, _: Bytes) -> Answer {
        match head.uri.path() {
            path if path == "/verify" || path.starts_with("/verify/") => self.passes(&head).await,
            "/digest" => self.judged(&head).await,
            _ => plain(StatusCode::NOT_FOUND, "there are /verify and /digest\n"),
        }
    }
}
