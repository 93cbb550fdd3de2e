//! The documents that say what the forms are, for whoever writes the other end.

use super::xml::push_text;

/// XML Schema of [`xml`](super::xml)'s elements.
pub const XSD: &str = include_str!("../../schema/offload.xsd");

/// OpenAPI 3.1 of what the portal offers by HTTP. Its one server is the one that it came from.
pub const OPENAPI: &str = include_str!("../../schema/openapi.json");

const WSDL: &str = include_str!("../../schema/offload.wsdl");

/// Where the WSDL as it lies in the folder says that the service is.
const NOWHERE: &str = "https://portal.invalid/offload/soap";

/// WSDL 1.1 of the SOAP service at `location`, such as
/// `https://portal.example.net/offload/soap`, with the schema in it.
pub fn wsdl(location: &str) -> String {
    let mut escaped = String::new();
    push_text(&mut escaped, location);
    let escaped = escaped.replace('"', "&quot;");
    let (before, after) = split(WSDL, "<xs:schema>", "</xs:schema>");
    let schema = XSD.split_once("?>").map_or(XSD, |(_, schema)| schema).trim();
    format!("{before}{schema}{after}").replace(NOWHERE, &escaped)
}

/// What precedes `from`, and what follows `to`.
fn split<'a>(text: &'a str, from: &str, to: &str) -> (&'a str, &'a str) {
    let (before, rest) = text.split_once(from).unwrap_or((text, ""));
    (before, rest.split_once(to).map_or("", |(_, after)| after))
}
