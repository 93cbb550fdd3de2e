//! What is answered where something is wrong: RFC 9457.

use homeward_store::Error;
use hyper::StatusCode;
use hyper::body::Bytes;
use hyper::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue, WWW_AUTHENTICATE};
use serde_json::json;

use homeward_http::Answer;

/// Something that is wrong with a request, or with us.
#[derive(Debug)]
pub(super) struct Problem {
    pub(super) status: StatusCode,
    pub(super) detail: String,
}

impl Problem {
    pub(super) fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        Self { status, detail: detail.into() }
    }

    pub(super) fn not_found(what: impl std::fmt::Display) -> Self {
        Self::new(StatusCode::NOT_FOUND, format!("no {what}"))
    }

    /// A body or a query that cannot be read.
    pub(super) fn unreadable(error: impl std::fmt::Display) -> Self {
        Self::new(StatusCode::BAD_REQUEST, error.to_string())
    }

    pub(super) fn answer(&self) -> Answer {
        let body = json!({
            "type": "about:blank",
            "title": self.status.canonical_reason(),
            "status": self.status.as_u16(),
            "detail": self.detail,
        });
        let mut answer = Answer::new(Bytes::from(body.to_string()).into());
        *answer.status_mut() = self.status;
        let headers = answer.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if self.status == StatusCode::UNAUTHORIZED {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        answer
    }
}

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        let status = match &error {
            Error::NoSuchName { .. } | Error::NoSuch { .. } | Error::NoSubscriber(_) => {
                StatusCode::UNPROCESSABLE_ENTITY
            }
            Error::Invalid(_) => StatusCode::UNPROCESSABLE_ENTITY,
            Error::Suspended { .. } | Error::Referenced { .. } => StatusCode::CONFLICT,
            error if error.is_duplicate() => StatusCode::CONFLICT,
            Error::Locked => StatusCode::SERVICE_UNAVAILABLE,
            error => {
                tracing::error!(%error, "the datastore failed a request of the API");
                return Self::new(StatusCode::INTERNAL_SERVER_ERROR, "the datastore failed");
            }
        };
        Self::new(status, error.to_string())
    }
}
