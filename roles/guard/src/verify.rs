//! Whether a flow passes, for whoever stands in front of the service.
//!
//! ```text
//! GET /verify?flow=udp%2010.45.0.2%3A5060        or with the header  X-Homeward-Flow: …
//!
//! 204  X-Homeward-Session, X-Homeward-Hops, X-Homeward-Broken (the hops, where there are any)
//! 403  it does not pass
//! 400  it names no flow
//! ```
//!
//! That is what nginx's `auth_request`, Envoy's `ext_authz` over HTTP and Kamailio's
//! `http_client_query` take for yes and no. Any path that begins with `/verify` does: proxies put
//! what they were asked for behind it.

use std::sync::Arc;

use async_trait::async_trait;
use homeward_http::{Answer, Handler, Peer};
use homeward_keychain::Flow;
use http_body_util::Full;
use hyper::body::Bytes;
use hyper::header::HeaderValue;
use hyper::http::request::Parts;
use hyper::{Response, StatusCode};

use crate::guard::Guard;

/// The header that names the flow.
const FLOW: &str = "x-homeward-flow";

/// Answers.
#[derive(Debug, Clone)]
pub struct Verify(Arc<Guard>);

impl Verify {
    /// What that guard admits.
    pub fn new(guard: Arc<Guard>) -> Self {
        Self(guard)
    }
}

fn plain(status: StatusCode, text: &'static str) -> Answer {
    let mut answer = Response::new(Full::new(Bytes::from_static(text.as_bytes())));
    *answer.status_mut() = status;
    answer
}

/// The flow that is asked after.
fn flow(head: &Parts) -> Option<Flow> {
    if let Some(named) = head.headers.get(FLOW) {
        return named.to_str().ok()?.parse().ok();
    }
    let query = head.uri.query()?;
    let mut named = form_urlencoded::parse(query.as_bytes()).filter(|(key, _)| key == "flow");
    let (_, flow) = named.next()?;
    flow.parse().ok()
}

#[async_trait]
impl Handler for Verify {
    async fn answer(&self, _: &Peer, head: Parts, _: Bytes) -> Answer {
        if !head.uri.path().starts_with("/verify") {
            return plain(StatusCode::NOT_FOUND, "there is /verify\n");
        }
        let Some(flow) = flow(&head) else {
            let text = "name a flow: /verify?flow=... or the header X-Homeward-Flow\n";
            return plain(StatusCode::BAD_REQUEST, text);
        };
        let Some(admission) = self.0.passes(&flow).await else {
            return plain(StatusCode::FORBIDDEN, "");
        };
        let mut answer = plain(StatusCode::NO_CONTENT, "");
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
}
