//! SOAP 1.1 and 1.2 over HTTP, document/literal, as `schema/offload.wsdl` has it.
//!
//! The body is the element of [`xml`]. An answer comes in the version of its request. What is
//! refused is a fault with [`xml`]'s `refused` in its detail, and a request that is none a fault
//! with `invalid`. No header is known here: one that must be understood is a fault.

mod fault;

use zeroize::Zeroizing;

use super::tree::Value;
use super::xml::{self, Element, Space};
use super::{CredentialAnswer, CredentialRequest, Encoded, Invalid, Limits, Refused, Reply, form};
pub use fault::{Code, Fault, Header};

/// The namespace of SOAP 1.1's envelope.
pub const ENVELOPE_11: &str = "http://schemas.xmlsoap.org/soap/envelope/";
/// The namespace of SOAP 1.2's envelope.
pub const ENVELOPE_12: &str = "http://www.w3.org/2003/05/soap-envelope";

/// What a call asks for: SOAPAction of SOAP 1.1, `action` in the Content-Type of SOAP 1.2.
pub const ACTION: &str = "urn:homeward:offload:1:getCredentials";

/// A version of SOAP.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Version {
    /// 1.1, W3C Note of 8 May 2000.
    V11,
    /// 1.2, W3C Recommendation of 27 April 2007.
    V12,
}

impl Version {
    /// The Content-Type of what is said in it.
    pub const fn content_type(self) -> &'static str {
        match self {
            Self::V11 => "text/xml; charset=utf-8",
            Self::V12 => "application/soap+xml; charset=utf-8",
        }
    }

    /// The version that a Content-Type announces, parameters and all.
    pub fn of_content_type(content_type: &str) -> Option<Self> {
        let kind = content_type.split(';').next().unwrap_or_default().trim();
        if kind.eq_ignore_ascii_case("text/xml") {
            Some(Self::V11)
        } else if kind.eq_ignore_ascii_case("application/soap+xml") {
            Some(Self::V12)
        } else {
            None
        }
    }

    /// The namespace of its envelope.
    pub const fn namespace(self) -> &'static str {
        match self {
            Self::V11 => ENVELOPE_11,
            Self::V12 => ENVELOPE_12,
        }
    }

    const fn space(self) -> Space {
        match self {
            Self::V11 => Space::Soap11,
            Self::V12 => Space::Soap12,
        }
    }
}

/// What HTTP says of a call.
#[derive(Debug, Clone, Copy, Default)]
pub struct Head<'a> {
    /// Content-Type.
    pub content_type: Option<&'a str>,
    /// SOAPAction.
    pub soap_action: Option<&'a str>,
}

impl Head<'_> {
    /// The version of a fault about what is no envelope.
    fn version(&self) -> Version {
        self.content_type.and_then(Version::of_content_type).unwrap_or(Version::V11)
    }

    /// What is wrong with it, for a call of that version.
    fn check(&self, version: Version) -> Result<(), Invalid> {
        let parameter = |name| self.content_type.and_then(|text| parameter(text, name));
        if parameter("charset").is_some_and(|charset| !charset.eq_ignore_ascii_case("utf-8")) {
            return Err(Invalid::new("Content-Type", "charset is not utf-8: encode it so"));
        }
        let action = match version {
            Version::V11 => self.soap_action.map(unquoted),
            Version::V12 => parameter("action"),
        };
        // Neither version says what without one means; the body says what is wanted.
        match action {
            None | Some("" | ACTION) => Ok(()),
            Some(_) => Err(Invalid::new("the action", format!("give {ACTION} or none"))),
        }
    }
}

fn parameter<'a>(content_type: &'a str, name: &str) -> Option<&'a str> {
    content_type.split(';').skip(1).find_map(|part| {
        let (key, value) = part.split_once('=')?;
        key.trim().eq_ignore_ascii_case(name).then(|| unquoted(value))
    })
}

fn unquoted(text: &str) -> &str {
    let text = text.trim();
    text.strip_prefix('"').and_then(|text| text.strip_suffix('"')).unwrap_or(text)
}

/// A call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    /// In which version to answer.
    pub version: Version,
    /// What is asked.
    pub request: CredentialRequest,
}

/// Reads a call, strictly.
///
/// # Errors
///
/// The fault to answer with.
pub fn decode_call(octets: &[u8], head: Head<'_>, limits: Limits) -> Result<Call, Fault> {
    let root = xml::read(octets, limits).map_err(|error| Fault::sender(head.version(), error))?;
    let version = match root.space {
        Space::Soap11 => Version::V11,
        Space::Soap12 => Version::V12,
        Space::Other if root.name == "Envelope" => return Err(Fault::version_mismatch()),
        _ => {
            let what = "give Envelope of SOAP 1.1 or 1.2";
            return Err(Fault::sender(head.version(), Invalid::new("the root element", what)));
        }
    };
    let sender = |error| Fault::sender(version, error);
    head.check(version).map_err(sender)?;
    let (header, body) = envelope(root, version).map_err(sender)?;
    let unknown: Vec<_> = header.iter().filter(|header| addressed(header, version)).collect();
    if !unknown.is_empty() {
        return Err(Fault::must_understand(version, &unknown));
    }
    let request = xml::request(body).map_err(sender)?;
    Ok(Call { version, request })
}

/// The headers and the one element of the body.
fn envelope(root: Element, version: Version) -> Result<(Vec<Element>, Element), Invalid> {
    let wrong = |what: &str| Err(Invalid::new("the envelope", what));
    if !root.is(version.space(), "Envelope") {
        return wrong("give Envelope as the root element");
    }
    let mut parts = root.children.into_iter();
    let mut part = parts.next();
    let header = match part {
        Some(header) if header.is(version.space(), "Header") => {
            part = parts.next();
            header.children
        }
        _ => Vec::new(),
    };
    let body = part.filter(|part| part.is(version.space(), "Body"));
    let Some(body) = body.filter(|_| parts.next().is_none()) else {
        return wrong("give a Header or none, then a Body, and nothing else");
    };
    let mut inside = body.children.into_iter();
    match (inside.next(), inside.next()) {
        (Some(element), None) => Ok((header, element)),
        _ => Err(Invalid::new("the body", "give one element in it")),
    }
}

/// Whether a header is for us, and has to be understood.
fn addressed(header: &Element, version: Version) -> bool {
    let attribute = |name: &str| {
        let found = |a: &&xml::Attribute| a.space == version.space() && a.name == name;
        header.attributes.iter().find(found).map(|attribute| attribute.value.as_str())
    };
    let must = attribute("mustUnderstand").is_some_and(|must| !matches!(must, "0" | "false"));
    let whose = match version {
        Version::V11 => attribute("actor"),
        Version::V12 => attribute("role"),
    };
    let ours = matches!(
        whose,
        None | Some(
            "" | "http://schemas.xmlsoap.org/soap/actor/next"
                | "http://www.w3.org/2003/05/soap-envelope/role/next"
                | "http://www.w3.org/2003/05/soap-envelope/role/ultimateReceiver"
        )
    );
    must && ours
}

/// Writes a call. Its Content-Type is [`Version::content_type`]; SOAP 1.1 wants [`ACTION`] as
/// SOAPAction, in quotes.
///
/// # Errors
///
/// If something has characters that XML does not carry.
pub fn encode_call(version: Version, request: &CredentialRequest) -> Result<Encoded, Invalid> {
    enveloped(version, "credentialRequest", &form::of_request(request))
}

/// Writes credentials.
///
/// # Errors
///
/// As [`xml::encode_answer`].
pub fn encode_answer(version: Version, answer: &CredentialAnswer) -> Result<Encoded, Invalid> {
    enveloped(version, "credentials", &form::of_answer(answer)?)
}

/// Writes the refusal: always the same octets in a version.
pub fn encode_refused(version: Version, Refused: Refused) -> Encoded {
    Fault::refused(version).encode()
}

fn enveloped(version: Version, name: &str, value: &Value) -> Result<Encoded, Invalid> {
    let mut out = Zeroizing::new(String::with_capacity(xml::room(value) + 512));
    open(&mut out, version);
    out.push_str("<env:Body>");
    xml::push_root(&mut out, name, value)?;
    close(&mut out);
    Ok(Zeroizing::new(std::mem::take(&mut *out).into_bytes()))
}

fn open(out: &mut String, version: Version) {
    out.push_str(xml::DECLARATION);
    out.push_str("<env:Envelope xmlns:env=\"");
    out.push_str(version.namespace());
    out.push_str("\">");
}

fn close(out: &mut String) {
    out.push_str("</env:Body></env:Envelope>\n");
}

/// Reads a reply, in either version.
///
/// # Errors
///
/// Names what is wrong first; a fault that is not about the request is one, too.
pub fn decode_reply(octets: &[u8], limits: Limits) -> Result<Reply, Invalid> {
    let root = xml::read(octets, limits)?;
    let version = match root.space {
        Space::Soap11 => Version::V11,
        Space::Soap12 => Version::V12,
        _ => {
            let what = "give Envelope of SOAP 1.1 or 1.2";
            return Err(Invalid::new("the root element", what));
        }
    };
    let (header, body) = envelope(root, version)?;
    if header.iter().any(|header| addressed(header, version)) {
        return Err(Invalid::new("the header", "has to be understood, and nobody does"));
    }
    if body.is(version.space(), "Fault") {
        return fault::read(body, version);
    }
    xml::reply(body)
}
