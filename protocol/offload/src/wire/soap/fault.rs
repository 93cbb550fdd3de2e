//! Faults (SOAP 1.1 4.4, SOAP 1.2 part 1 5.4).

use zeroize::Zeroizing;

use super::{ENVELOPE_11, ENVELOPE_12, Version, close, open};
use crate::wire::xml::{self, Element, Space};
use crate::wire::{Encoded, Invalid, Refused, Reply};

/// Whose fault it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Code {
    /// An envelope of another version.
    VersionMismatch,
    /// A header that must be understood and is not.
    MustUnderstand,
    /// The request's: Client in 1.1, Sender in 1.2.
    Sender,
    /// Ours: Server in 1.1, Receiver in 1.2.
    Receiver,
}

impl Code {
    const fn word(self, version: Version) -> &'static str {
        match (self, version) {
            (Self::VersionMismatch, _) => "VersionMismatch",
            (Self::MustUnderstand, _) => "MustUnderstand",
            (Self::Sender, Version::V11) => "Client",
            (Self::Sender, Version::V12) => "Sender",
            (Self::Receiver, Version::V11) => "Server",
            (Self::Receiver, Version::V12) => "Receiver",
        }
    }
}

/// A header that was not understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Detail {
    None,
    Refused,
    Invalid(Invalid),
}

/// What comes in place of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    version: Version,
    code: Code,
    reason: String,
    detail: Detail,
    headers: Vec<Header>,
}

impl Fault {
    /// The request is none.
    pub fn sender(version: Version, error: Invalid) -> Self {
        let reason = error.to_string();
        let detail = Detail::Invalid(error);
        Self { version, code: Code::Sender, reason, detail, headers: Vec::new() }
    }

    /// The request is refused.
    pub fn refused(version: Version) -> Self {
        let (reason, detail) = ("refused".to_owned(), Detail::Refused);
        Self { version, code: Code::Sender, reason, detail, headers: Vec::new() }
    }

    /// We cannot answer now; `reason` is for a person.
    pub fn receiver(version: Version, reason: &str) -> Self {
        let (reason, detail) = (reason.to_owned(), Detail::None);
        Self { version, code: Code::Receiver, reason, detail, headers: Vec::new() }
    }

    pub(super) fn version_mismatch() -> Self {
        // SOAP 1.2 appendix A has the newest version say which ones there are.
        let reason = "an envelope of another version: give SOAP 1.1 or 1.2".to_owned();
        let (version, code) = (Version::V12, Code::VersionMismatch);
        Self { version, code, reason, detail: Detail::None, headers: Vec::new() }
    }

    pub(super) fn must_understand(version: Version, headers: &[&Element]) -> Self {
        let reason = "a header must be understood and is not: leave it out".to_owned();
        let headers = headers.iter().map(|header| {
            let namespace = match header.space {
                Space::Soap11 => ENVELOPE_11,
                Space::Soap12 => ENVELOPE_12,
                Space::Ours => xml::NAMESPACE,
                Space::Other | Space::None => &header.namespace,
            };
            Header { namespace: namespace.to_owned(), name: header.name.clone() }
        });
        let (code, detail) = (Code::MustUnderstand, Detail::None);
        Self { version, code, reason, detail, headers: headers.collect() }
    }

    /// In which version it is told.
    pub fn version(&self) -> Version {
        self.version
    }

    /// Whose fault it is.
    pub fn code(&self) -> Code {
        self.code
    }

    /// What is wrong, for a person.
    pub fn reason(&self) -> &str {
        &self.reason
    }

    /// The HTTP status that it goes with: 500 always in SOAP 1.1 (6.2), 400 for the sender's in
    /// SOAP 1.2 (part 2, 7.5.2.2).
    pub const fn status(&self) -> u16 {
        match (self.version, self.code) {
            (Version::V12, Code::Sender) => 400,
            _ => 500,
        }
    }

    /// Writes it.
    pub fn encode(&self) -> Encoded {
        let mut out = String::new();
        open(&mut out, self.version);
        self.push_headers(&mut out);
        out.push_str("<env:Body><env:Fault>");
        let code = self.code.word(self.version);
        let (detail, end) = match self.version {
            Version::V11 => {
                out.push_str("<faultcode>env:");
                out.push_str(code);
                out.push_str("</faultcode><faultstring>");
                xml::push_text(&mut out, &self.reason);
                out.push_str("</faultstring>");
                ("<detail>", "</detail>")
            }
            Version::V12 => {
                out.push_str("<env:Code><env:Value>env:");
                out.push_str(code);
                out.push_str("</env:Value></env:Code>");
                out.push_str("<env:Reason><env:Text xml:lang=\"en\">");
                xml::push_text(&mut out, &self.reason);
                out.push_str("</env:Text></env:Reason>");
                ("<env:Detail>", "</env:Detail>")
            }
        };
        if self.detail != Detail::None {
            out.push_str(detail);
            match &self.detail {
                Detail::Invalid(error) => xml::push_invalid(&mut out, error),
                Detail::Refused => xml::push_refused(&mut out, Refused),
                Detail::None => {}
            }
            out.push_str(end);
        }
        out.push_str("</env:Fault>");
        close(&mut out);
        Zeroizing::new(out.into_bytes())
    }

    /// What SOAP 1.2 has in the header of two faults: the versions that there are (5.4.7), and the
    /// headers that were not understood (5.4.8).
    fn push_headers(&self, out: &mut String) {
        match (self.version, self.code) {
            (Version::V12, Code::VersionMismatch) => {
                out.push_str("<env:Header><env:Upgrade>");
                out.push_str("<env:SupportedEnvelope qname=\"env:Envelope\"/>");
                out.push_str("<env:SupportedEnvelope qname=\"old:Envelope\" xmlns:old=\"");
                out.push_str(ENVELOPE_11);
                out.push_str("\"/></env:Upgrade></env:Header>");
            }
            (Version::V12, Code::MustUnderstand) => {
                out.push_str("<env:Header>");
                // A header without a namespace is none by SOAP 1.2 5.2.1, and has no such name.
                for Header { namespace, name } in &self.headers {
                    if namespace.is_empty() {
                        continue;
                    }
                    out.push_str("<env:NotUnderstood qname=\"h:");
                    push_attribute(out, name);
                    out.push_str("\" xmlns:h=\"");
                    push_attribute(out, namespace);
                    out.push_str("\"/>");
                }
                out.push_str("</env:Header>");
            }
            _ => {}
        }
    }
}

fn push_attribute(out: &mut String, text: &str) {
    for c in text.chars() {
        match c {
            '"' => out.push_str("&quot;"),
            '\t' => out.push_str("&#9;"),
            '\n' => out.push_str("&#10;"),
            c => xml::push_text(out, c.encode_utf8(&mut [0; 4])),
        }
    }
}

/// What a fault means to whoever asked.
pub(super) fn read(fault: Element, version: Version) -> Result<Reply, Invalid> {
    let (detail, space) = match version {
        Version::V11 => ("detail", Space::None),
        Version::V12 => ("Detail", Space::Soap12),
    };
    let mut details = fault.children.into_iter().filter(|child| child.is(space, detail));
    let ours = details.next().and_then(|detail| {
        let mut inside = detail.children.into_iter();
        inside.find(|child| child.is(Space::Ours, "refused") || child.is(Space::Ours, "invalid"))
    });
    match ours {
        Some(element) => xml::reply(element),
        None => Err(Invalid::new("the reply", "is a fault of the portal's: ask again later")),
    }
}
