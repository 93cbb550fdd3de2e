//! XML 1.0 with namespaces, `application/xml`, in UTF-8.
//!
//! The elements are those of `schema/offload.xsd`: `credentialRequest` in, `credentials`,
//! `refused` or `invalid` out. Document type declarations, processing instructions and entities
//! beyond the five predefined ones are refused, and what is nested too deep; attributes say
//! nothing and are ignored.

mod reader;

use zeroize::Zeroizing;

use super::tree::{Spelling, Unknown, Value};
use super::{CredentialAnswer, CredentialRequest, Encoded, Invalid, Limits, Refused, Reply, form};
pub(crate) use reader::{Attribute, Element, Space, read};

/// The media type.
pub const MEDIA_TYPE: &str = "application/xml";

/// The namespace of our elements.
pub const NAMESPACE: &str = "urn:homeward:offload:1";

pub(crate) const DECLARATION: &str = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n";

/// Reads a request, strictly.
///
/// # Errors
///
/// Names what is wrong first.
pub fn decode_request(octets: &[u8], limits: Limits) -> Result<CredentialRequest, Invalid> {
    request(read(octets, limits)?)
}

/// Writes a request.
///
/// # Errors
///
/// If the previous user name has characters that XML does not carry.
pub fn encode_request(request: &CredentialRequest) -> Result<Encoded, Invalid> {
    document("credentialRequest", &form::of_request(request))
}

/// Reads a reply. Elements that are unknown are ignored.
///
/// # Errors
///
/// Names what is wrong first.
pub fn decode_reply(octets: &[u8], limits: Limits) -> Result<Reply, Invalid> {
    reply(read(octets, limits)?)
}

/// Writes credentials.
///
/// # Errors
///
/// If the password is no text, or something has characters that XML does not carry.
pub fn encode_answer(answer: &CredentialAnswer) -> Result<Encoded, Invalid> {
    document("credentials", &form::of_answer(answer)?)
}

/// Writes the refusal: always the same octets.
pub fn encode_refused(Refused: Refused) -> Encoded {
    let mut out = String::from(DECLARATION);
    push_refused(&mut out, Refused);
    out.push('\n');
    Zeroizing::new(out.into_bytes())
}

/// Writes what was wrong with a request.
pub fn encode_invalid(invalid: &Invalid) -> Encoded {
    let mut out = String::from(DECLARATION);
    push_invalid(&mut out, invalid);
    out.push('\n');
    Zeroizing::new(out.into_bytes())
}

pub(crate) fn push_refused(out: &mut String, Refused: Refused) {
    out.push_str("<refused xmlns=\"");
    out.push_str(NAMESPACE);
    out.push_str("\"/>");
}

pub(crate) fn push_invalid(out: &mut String, invalid: &Invalid) {
    out.push_str("<invalid xmlns=\"");
    out.push_str(NAMESPACE);
    out.push_str("\">");
    push_text(out, &invalid.to_string());
    out.push_str("</invalid>");
}

/// A `credentialRequest` element.
pub(crate) fn request(element: Element) -> Result<CredentialRequest, Invalid> {
    if !element.is(Space::Ours, "credentialRequest") {
        let what = format!("give credentialRequest of the namespace {NAMESPACE}");
        return Err(Invalid::new("the root element", what));
    }
    form::request(value(element, Unknown::Refused)?, Spelling::Text)
}

/// A `credentials`, `refused` or `invalid` element.
pub(crate) fn reply(element: Element) -> Result<Reply, Invalid> {
    match (element.space, element.name.as_str()) {
        (Space::Ours, "credentials") => {
            let answer = form::answer(value(element, Unknown::Ignored)?, Spelling::Text)?;
            Ok(Reply::Credentials(Box::new(answer)))
        }
        (Space::Ours, "refused") => Ok(Reply::Refused),
        (Space::Ours, "invalid") => Ok(Reply::Invalid(element.text.as_str().to_owned())),
        _ => {
            let what = format!("give credentials, refused or invalid of {NAMESPACE}");
            Err(Invalid::new("the root element", what))
        }
    }
}

/// An element as fields: its elements, or else its text.
fn value(mut element: Element, unknown: Unknown) -> Result<Value, Invalid> {
    if element.children.is_empty() {
        return Ok(Value::Text(std::mem::take(&mut element.text)));
    }
    if !element.text.is_empty() {
        return Err(Invalid::new(element.name, "has text beside its elements: take it out"));
    }
    let mut fields = Vec::with_capacity(element.children.len());
    for child in element.children {
        match (child.space, unknown) {
            (Space::Ours, _) => fields.push((child.name.clone(), value(child, unknown)?)),
            (_, Unknown::Ignored) => {}
            (_, Unknown::Refused) => {
                let what = format!("has an element that is not of {NAMESPACE}");
                return Err(Invalid::new(element.name, what));
            }
        }
    }
    Ok(Value::Record(fields))
}

/// An element of ours as a document of its own.
fn document(name: &str, value: &Value) -> Result<Encoded, Invalid> {
    let mut out = Zeroizing::new(String::with_capacity(room(value)));
    out.push_str(DECLARATION);
    push_root(&mut out, name, value)?;
    out.push('\n');
    Ok(Zeroizing::new(std::mem::take(&mut *out).into_bytes()))
}

/// Octets for what is in an element, so that growing leaves none of it behind.
pub(crate) fn room(value: &Value) -> usize {
    match value {
        Value::Text(text) => text.len() * 6,
        Value::List(values) => values.iter().map(|value| room(value) + 24).sum(),
        Value::Record(fields) => {
            fields.iter().map(|(name, value)| 2 * name.len() + 6 + room(value)).sum::<usize>()
                + 1024
        }
        Value::Number(_) | Value::Bool(_) | Value::Null | Value::Other => 24,
    }
}

/// An element of ours, with the namespace as the default one from here on.
pub(crate) fn push_root(out: &mut String, name: &str, value: &Value) -> Result<(), Invalid> {
    out.push('<');
    out.push_str(name);
    out.push_str(" xmlns=\"");
    out.push_str(NAMESPACE);
    out.push_str("\">");
    push_inside(out, name, value)?;
    out.push_str("</");
    out.push_str(name);
    out.push('>');
    Ok(())
}

fn push_element(out: &mut String, name: &str, value: &Value) -> Result<(), Invalid> {
    out.push('<');
    out.push_str(name);
    out.push('>');
    push_inside(out, name, value)?;
    out.push_str("</");
    out.push_str(name);
    out.push('>');
    Ok(())
}

fn push_inside(out: &mut String, name: &str, value: &Value) -> Result<(), Invalid> {
    match value {
        // A certificate ends its last line, which trimming takes away and reading puts back.
        Value::Text(text) if carries(text) || (name == "ca" && carries(text.trim_end())) => {
            push_text(out, text);
        }
        Value::Text(_) => {
            let what = "has characters that XML does not carry, or white space at an end";
            return Err(Invalid::new(name, what));
        }
        Value::Number(number) => out.push_str(&number.to_string()),
        Value::Bool(truth) => out.push_str(if *truth { "true" } else { "false" }),
        Value::Null | Value::Other => {}
        Value::List(values) => {
            values.iter().try_for_each(|value| push_element(out, form::item(name), value))?;
        }
        Value::Record(fields) => {
            fields.iter().try_for_each(|(name, value)| push_element(out, name, value))?;
        }
    }
    Ok(())
}

/// Escapes octet by octet: a copy of the whole would have to be wiped, too.
pub(crate) fn push_text(out: &mut String, text: &str) {
    for c in text.chars() {
        match c {
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '&' => out.push_str("&amp;"),
            '\r' => out.push_str("&#13;"),
            c if is_char(c) => out.push(c),
            // In an error's text alone: all else was asked first.
            _ => out.push('?'),
        }
    }
}

/// Whether XML has a character (XML 1.0 2.2).
pub(crate) fn is_char(c: char) -> bool {
    matches!(c, '\t' | '\n' | '\r' | ' '..='\u{d7ff}' | '\u{e000}'..='\u{fffd}' | '\u{10000}'..)
}

/// White space as XML has it (XML 1.0 2.3).
pub(crate) fn is_space(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\r' | '\n')
}

/// Whether a text comes out of XML as it went in.
pub(crate) fn carries(text: &str) -> bool {
    text.chars().all(is_char) && text.trim_matches(is_space).len() == text.len()
}
