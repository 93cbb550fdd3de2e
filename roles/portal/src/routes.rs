//! What devices ask: credentials in JSON, XML and SOAP, and what describes them.
//!
//! | | |
//! |---|---|
//! | `POST /offload/v1/credentials` | `application/json` or `application/xml`, as the Content-Type says |
//! | `POST /offload/soap` | SOAP 1.1 or 1.2 |
//! | `GET /offload/soap?wsdl` | WSDL 1.1 of that |
//! | `GET /offload/v1/openapi.json`, `GET /offload/v1/offload.xsd` | what the first takes and gives |
//! | `GET /healthz` | whether the portal answers |

use std::sync::Arc;

use async_trait::async_trait;
use homeward_daemon::SystemClock;
use homeward_model::Clock;
use homeward_offload::wire::{
    self, CredentialAnswer, CredentialRequest, Encoded, Invalid, Refused, json, schema, soap, xml,
};
use homeward_store::Way;
use hyper::body::Bytes;
use hyper::header::{
    ALLOW, CACHE_CONTROL, CONTENT_TYPE, HOST, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER,
};
use hyper::http::request::Parts;
use hyper::{Method, StatusCode};

use crate::budget::{Asker, Budget};
use crate::desk::{Desk, Outcome, Source};
use crate::figures::Figures;
use homeward_http::{Answer, Client, Handler, Peer};

const CREDENTIALS: &str = "/offload/v1/credentials";
const SOAP: &str = "/offload/soap";

/// The portal, as devices see it.
pub struct Portal {
    desk: Arc<Desk>,
    budget: Budget,
    figures: Figures,
}

/// In which form somebody asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Json,
    Xml,
    Soap,
}

impl Form {
    /// The form that a request is in; otherwise, what it is answered.
    fn of(head: &Parts) -> Result<Self, StatusCode> {
        match head.uri.path() {
            SOAP => Ok(Self::Soap),
            _ => match media_type(&head.headers) {
                Some(json::MEDIA_TYPE) => Ok(Self::Json),
                Some(xml::MEDIA_TYPE | "text/xml") => Ok(Self::Xml),
                _ => Err(StatusCode::UNSUPPORTED_MEDIA_TYPE),
            },
        }
    }

    /// The word for the figures.
    const fn as_str(self) -> &'static str {
        match self {
            Self::Json => "json",
            Self::Xml => "xml",
            Self::Soap => "soap",
        }
    }
}

impl Portal {
    /// One at that desk.
    pub fn new(desk: Arc<Desk>, requests_per_minute: u32, figures: Figures) -> Self {
        Self { desk, budget: Budget::new(requests_per_minute), figures }
    }

    async fn credentials(&self, peer: &Peer, form: Form, head: &Parts, body: &[u8]) -> Answer {
        let source = Source::Address { address: peer.address, apn: peer.apn.clone() };
        let limits = wire::Limits::REQUEST;
        match form {
            Form::Json => {
                let codec = Plain {
                    media: json::MEDIA_TYPE,
                    answer: json::encode_answer,
                    refused: json::encode_refused,
                    invalid: json::encode_invalid,
                };
                self.plain(&source, form, &codec, json::decode_request(body, limits)).await
            }
            Form::Xml => {
                let codec = Plain {
                    media: xml::MEDIA_TYPE,
                    answer: xml::encode_answer,
                    refused: xml::encode_refused,
                    invalid: xml::encode_invalid,
                };
                self.plain(&source, form, &codec, xml::decode_request(body, limits)).await
            }
            Form::Soap => self.soap(&source, head, body).await,
        }
    }

    async fn plain(
        &self,
        source: &Source,
        form: Form,
        codec: &Plain,
        request: Result<CredentialRequest, Invalid>,
    ) -> Answer {
        let said = |status, body| answer(status, codec.media, body);
        let request = match request {
            Ok(request) => request,
            Err(invalid) => {
                self.figures.answered(form.as_str(), "invalid");
                return said(StatusCode::BAD_REQUEST, (codec.invalid)(&invalid));
            }
        };
        match self.desk.ask(source, &request, Way::Https, form.as_str()).await {
            Outcome::Given(given) => match (codec.answer)(&given) {
                Ok(body) => said(StatusCode::OK, body),
                Err(invalid) => unwritable(&invalid),
            },
            Outcome::Refused => said(StatusCode::FORBIDDEN, (codec.refused)(Refused)),
            Outcome::Failed => later(StatusCode::SERVICE_UNAVAILABLE, "10"),
        }
    }

    async fn soap(&self, source: &Source, head: &Parts, body: &[u8]) -> Answer {
        let http = soap::Head {
            content_type: text(&head.headers, &CONTENT_TYPE),
            soap_action: text(&head.headers, &HeaderName::from_static("soapaction")),
        };
        let fault = |fault: soap::Fault| {
            let status = StatusCode::from_u16(fault.status());
            let status = status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
            answer(status, fault.version().content_type(), fault.encode())
        };
        let call = match soap::decode_call(body, http, wire::Limits::REQUEST) {
            Ok(call) => call,
            Err(wrong) => {
                self.figures.answered(Form::Soap.as_str(), "invalid");
                return fault(wrong);
            }
        };
        let version = call.version;
        match self.desk.ask(source, &call.request, Way::Https, Form::Soap.as_str()).await {
            Outcome::Given(given) => match soap::encode_answer(version, &given) {
                Ok(body) => answer(StatusCode::OK, version.content_type(), body),
                Err(invalid) => unwritable(&invalid),
            },
            Outcome::Refused => fault(soap::Fault::refused(version)),
            Outcome::Failed => fault(soap::Fault::receiver(version, "try again later")),
        }
    }

    async fn health(&self) -> Answer {
        match self.desk.is_well().await {
            true => document("text/plain; charset=utf-8", "ok\n"),
            false => {
                let mut sick = document("text/plain; charset=utf-8", "the datastore fails\n");
                *sick.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
                sick
            }
        }
    }
}

/// How a form that is no more than its messages writes them.
struct Plain {
    media: &'static str,
    answer: fn(&CredentialAnswer) -> Result<Encoded, Invalid>,
    refused: fn(Refused) -> Encoded,
    invalid: fn(&Invalid) -> Encoded,
}

/// What a path knows to do.
fn methods(path: &str) -> Option<&'static [Method]> {
    const GET: &[Method] = &[Method::GET, Method::HEAD];
    const POST: &[Method] = &[Method::POST];
    const BOTH: &[Method] = &[Method::GET, Method::HEAD, Method::POST];
    match path {
        CREDENTIALS => Some(POST),
        SOAP => Some(BOTH),
        "/offload/v1/openapi.json" | "/offload/v1/offload.xsd" | "/healthz" => Some(GET),
        _ => None,
    }
}

#[async_trait]
impl Handler for Portal {
    fn admit(&self, peer: &Peer, head: &Parts) -> Result<(), Box<Answer>> {
        let Some(methods) = methods(head.uri.path()) else {
            return Err(Box::new(status(StatusCode::NOT_FOUND)));
        };
        if !methods.contains(&head.method) {
            let mut refused = status(StatusCode::METHOD_NOT_ALLOWED);
            let allowed: Vec<&str> = methods.iter().map(Method::as_str).collect();
            if let Ok(allowed) = HeaderValue::from_str(&allowed.join(", ")) {
                refused.headers_mut().insert(ALLOW, allowed);
            }
            return Err(Box::new(refused));
        }
        if head.method != Method::POST {
            return Ok(());
        }
        let form = Form::of(head).map_err(|code| Box::new(status(code)))?;
        let source = Source::Address { address: peer.address, apn: peer.apn.clone() };
        let asker = match self.desk.who(&source) {
            Some(held) => Asker::Subscriber(held.imsi),
            None => Asker::Client(Client::at(peer.address)),
        };
        if !self.budget.may(asker, SystemClock.now()) {
            self.figures.answered(form.as_str(), "too-often");
            return Err(Box::new(later(StatusCode::TOO_MANY_REQUESTS, "60")));
        }
        Ok(())
    }

    async fn answer(&self, peer: &Peer, head: Parts, body: Bytes) -> Answer {
        match head.uri.path() {
            "/healthz" => self.health().await,
            "/offload/v1/openapi.json" => document(json::MEDIA_TYPE, schema::OPENAPI),
            "/offload/v1/offload.xsd" => document(xml::MEDIA_TYPE, schema::XSD),
            SOAP if head.method != Method::POST => match head.uri.query() {
                Some("wsdl" | "WSDL") => document("text/xml; charset=utf-8", wsdl(&head)),
                _ => status(StatusCode::NOT_FOUND),
            },
            _ => match Form::of(&head) {
                Ok(form) => self.credentials(peer, form, &head, &body).await,
                Err(code) => status(code),
            },
        }
    }
}

/// The WSDL, with the service where it was asked for.
fn wsdl(head: &Parts) -> String {
    let host = text(&head.headers, &HOST).unwrap_or("localhost");
    schema::wsdl(&format!("https://{host}{SOAP}"))
}

/// The media type of a request, in lower case and without its parameters.
fn media_type(headers: &HeaderMap) -> Option<&str> {
    let known = [json::MEDIA_TYPE, xml::MEDIA_TYPE, "text/xml"];
    let given = text(headers, &CONTENT_TYPE)?.split(';').next()?.trim();
    known.into_iter().find(|known| known.eq_ignore_ascii_case(given))
}

fn text<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

/// An answer that nobody keeps; its octets are wiped once they are sent.
fn answer(status: StatusCode, media: &'static str, body: Encoded) -> Answer {
    let mut answer = Answer::new(Bytes::from_owner(body).into());
    *answer.status_mut() = status;
    let headers = answer.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(media));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    answer
}

fn document(media: &'static str, body: impl Into<Bytes>) -> Answer {
    let mut answer = Answer::new(body.into().into());
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(media));
    answer
}

fn status(code: StatusCode) -> Answer {
    let mut answer = Answer::default();
    *answer.status_mut() = code;
    answer
}

/// Not now; after so many seconds again.
fn later(code: StatusCode, seconds: &'static str) -> Answer {
    let mut answer = status(code);
    answer.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static(seconds));
    answer
}

/// What the datastore holds and no message carries.
fn unwritable(invalid: &Invalid) -> Answer {
    tracing::error!(%invalid, "what was issued cannot be said");
    status(StatusCode::INTERNAL_SERVER_ERROR)
}
