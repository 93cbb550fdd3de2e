//! XML into elements, by a pull reader, within limits.

use std::borrow::Cow;

use quick_xml::NsReader;
use quick_xml::escape::{resolve_xml_entity, unescape};
use quick_xml::events::{BytesRef, BytesStart, Event};
use quick_xml::name::{Namespace, NamespaceResolver, ResolveResult};
use zeroize::Zeroizing;

use super::{NAMESPACE, is_char, is_space};
use crate::wire::{Invalid, Limits, soap};

/// The most attributes of an element.
const MAX_ATTRIBUTES: usize = 32;

/// Of which namespace a name is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Space {
    Ours,
    Soap11,
    Soap12,
    Other,
    None,
}

/// An attribute of a SOAP namespace.
pub(crate) struct Attribute {
    pub(crate) space: Space,
    pub(crate) name: String,
    pub(crate) value: String,
}

/// An element, with its text trimmed.
pub(crate) struct Element {
    pub(crate) space: Space,
    /// Its name without a prefix.
    pub(crate) name: String,
    /// The namespace itself, where it is nobody's that we know.
    pub(crate) namespace: String,
    pub(crate) attributes: Vec<Attribute>,
    pub(crate) children: Vec<Element>,
    pub(crate) text: Zeroizing<String>,
}

impl Element {
    pub(crate) fn is(&self, space: Space, name: &str) -> bool {
        self.space == space && self.name == name
    }
}

/// Reads a document's root element.
pub(crate) fn read(octets: &[u8], limits: Limits) -> Result<Element, Invalid> {
    let text = limits.text(octets, "the XML")?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut document = Document { open: Vec::new(), root: None, depth: limits.depth };
    let mut reader = NsReader::from_str(text);
    let mut first = true;
    loop {
        let before = reader.buffer_position();
        let done = match reader.read_event() {
            Ok(event) => document.event(event, reader.resolver(), first),
            // Its text repeats names of elements, which may be anything.
            Err(_) => Err(Invalid::new("", "is not well-formed: close what is opened, in order")),
        };
        match done {
            Ok(true) => break,
            Ok(false) => first = false,
            Err(Invalid { at, what }) => {
                let at = if at.is_empty() { place(text, before) } else { at };
                return Err(Invalid { at, what });
            }
        }
    }
    document.root.ok_or_else(|| Invalid::new("the XML", "has no element"))
}

/// Line and column of an octet.
fn place(text: &str, at: u64) -> String {
    let before = usize::try_from(at).ok().and_then(|at| text.get(..at)).unwrap_or(text);
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
    format!("line {line} column {column}")
}

struct Document {
    open: Vec<Element>,
    root: Option<Element>,
    depth: usize,
}

impl Document {
    /// Takes an event; `true` after the last one. An error without a place is of this event.
    fn event(
        &mut self,
        event: Event<'_>,
        names: &NamespaceResolver,
        first: bool,
    ) -> Result<bool, Invalid> {
        let wrong = |what: &str| Err(Invalid::new("", what));
        match event {
            Event::Start(start) => self.start(&start, names)?,
            Event::Empty(start) => {
                self.start(&start, names)?;
                self.end();
            }
            Event::End(_) => self.end(),
            Event::Text(text) => self.text(&text.xml10_content())?,
            Event::CData(text) if !self.open.is_empty() => self.text(&text.xml10_content())?,
            Event::CData(_) => return wrong("has text outside its element: take it out"),
            Event::GeneralRef(reference) => self.reference(&reference)?,
            Event::Comment(_) => {}
            Event::Decl(declaration) => {
                let version = declaration.version();
                if !first || version.is_err() {
                    return wrong("has a declaration that is none: give one at the start, or none");
                }
                if version.is_ok_and(|version| version != "1.0") {
                    return wrong("is not XML 1.0: write it so");
                }
                let utf8 = |name: &str| name.eq_ignore_ascii_case("utf-8");
                match declaration.encoding() {
                    None => {}
                    Some(Ok(name)) if utf8(&name) => {}
                    _ => return wrong("is not in UTF-8: encode it so"),
                }
            }
            Event::PI(_) => return wrong("has a processing instruction: leave it out"),
            Event::DocType(_) => return wrong("has a document type declaration: leave it out"),
            Event::Eof if self.open.is_empty() => return Ok(true),
            Event::Eof => return wrong("ends too early: close what is open"),
        }
        Ok(false)
    }

    fn start(&mut self, start: &BytesStart<'_>, names: &NamespaceResolver) -> Result<(), Invalid> {
        if self.open.len() >= self.depth {
            let most = self.depth;
            return Err(Invalid::new("", format!("is more than {most} elements deep")));
        }
        if self.root.is_some() && self.open.is_empty() {
            return Err(Invalid::new("", "has more than one root element: give one"));
        }
        let (space, name) = names.resolve_element(start.name());
        let (space, namespace) = self::space(space)?;
        let mut attributes = Vec::new();
        for (count, attribute) in start.attributes().enumerate() {
            let Ok(attribute) = attribute else {
                return Err(Invalid::new("", "has attributes that are none, or one twice"));
            };
            if count >= MAX_ATTRIBUTES {
                let what = format!("has more than {MAX_ATTRIBUTES} attributes: give fewer");
                return Err(Invalid::new("", what));
            }
            if attribute.key.as_namespace_binding().is_some() {
                continue;
            }
            let (space, name) = names.resolve_attribute(attribute.key);
            let (space, _) = self::space(space)?;
            if matches!(space, Space::Soap11 | Space::Soap12) {
                attributes.push(Attribute {
                    space,
                    name: name.as_ref().to_owned(),
                    value: unescaped(&attribute.value)?.trim_matches(is_space).to_owned(),
                });
            }
        }
        self.open.push(Element {
            space,
            name: name.as_ref().to_owned(),
            namespace,
            attributes,
            children: Vec::new(),
            text: Zeroizing::default(),
        });
        Ok(())
    }

    /// Trims here, and not piece by piece: a reference may stand between two of them.
    fn end(&mut self) {
        let Some(mut element) = self.open.pop() else { return };
        let trimmed = element.text.trim_matches(is_space);
        if trimmed.len() != element.text.len() {
            element.text = Zeroizing::new(trimmed.to_owned());
        }
        match self.open.last_mut() {
            Some(parent) => parent.children.push(element),
            None => self.root = Some(element),
        }
    }

    fn text(&mut self, text: &str) -> Result<(), Invalid> {
        if !text.chars().all(is_char) {
            return Err(Invalid::new("", "has a character that XML does not have"));
        }
        match self.open.last_mut() {
            Some(element) => append(&mut element.text, text),
            None if text.chars().all(is_space) => {}
            None => return Err(Invalid::new("", "has text outside its element: take it out")),
        }
        Ok(())
    }

    fn reference(&mut self, reference: &BytesRef<'_>) -> Result<(), Invalid> {
        let wrong = |what: &str| Err(Invalid::new("", what));
        if self.open.is_empty() {
            return wrong("has text outside its element: take it out");
        }
        let mut room = [0; 4];
        match reference.resolve_char_ref() {
            Ok(Some(c)) => self.text(c.encode_utf8(&mut room)),
            Ok(None) => match resolve_xml_entity(&reference.xml10_content()) {
                Some(text) => self.text(text),
                None => wrong("has an entity: give lt, gt, amp, apos, quot or a number alone"),
            },
            Err(_) => wrong("has a reference to a character that there is not"),
        }
    }
}

/// As [`String::push_str`], but leaves nothing behind when it grows.
fn append(text: &mut Zeroizing<String>, more: &str) {
    if text.capacity() - text.len() < more.len() {
        let mut wider = Zeroizing::new(String::with_capacity((text.len() + more.len()) * 2));
        wider.push_str(text);
        *text = wider;
    }
    text.push_str(more);
}

/// Which namespace it is. A declaration may have references in it, as any attribute may.
fn space(found: ResolveResult<'_>) -> Result<(Space, String), Invalid> {
    let name = match found {
        ResolveResult::Bound(Namespace(name)) => unescaped(name)?,
        ResolveResult::Unbound => return Ok((Space::None, String::new())),
        ResolveResult::Unknown(_) => {
            return Err(Invalid::new("", "has a prefix without a namespace: declare it by xmlns"));
        }
    };
    Ok(match &*name {
        NAMESPACE => (Space::Ours, String::new()),
        soap::ENVELOPE_11 => (Space::Soap11, String::new()),
        soap::ENVELOPE_12 => (Space::Soap12, String::new()),
        other => (Space::Other, other.to_owned()),
    })
}

fn unescaped(value: &str) -> Result<Cow<'_, str>, Invalid> {
    let plain = unescape(value).ok().filter(|plain| plain.chars().all(is_char));
    plain.ok_or_else(|| Invalid::new("", "has an attribute whose value is none"))
}
