//! JSON (RFC 8259), `application/json`.
//!
//! Requests are objects as `schema/openapi.json` has them. What is refused is told by `error`:
//! `{"error":"refused"}`, `{"error":"invalid","what":"imsi: is missing: give it"}`.

use std::fmt;

use serde::de::{DeserializeSeed, MapAccess, SeqAccess, Visitor};
use serde::ser::{SerializeMap, SerializeSeq};
use serde::{Deserializer, Serialize, Serializer};
use zeroize::Zeroizing;

use super::tree::{Fields, Record, Spelling, Unknown, Value};
use super::{CredentialAnswer, CredentialRequest, Encoded, Invalid, Limits, Refused, Reply, form};

/// The media type.
pub const MEDIA_TYPE: &str = "application/json";

/// Reads a request, strictly.
///
/// # Errors
///
/// Names what is wrong first.
pub fn decode_request(octets: &[u8], limits: Limits) -> Result<CredentialRequest, Invalid> {
    form::request(parse(octets, limits)?, Spelling::Typed)
}

/// Writes a request.
pub fn encode_request(request: &CredentialRequest) -> Encoded {
    write(&form::of_request(request))
}

/// Reads a reply. Fields that are unknown are ignored.
///
/// # Errors
///
/// Names what is wrong first.
pub fn decode_reply(octets: &[u8], limits: Limits) -> Result<Reply, Invalid> {
    let value = parse(octets, limits)?;
    let Value::Record(fields) = &value else {
        return Err(Invalid::new("the reply", "give an object"));
    };
    if !fields.iter().any(|(name, _)| name == "error") {
        let answer = form::answer(value, Spelling::Typed)?;
        return Ok(Reply::Credentials(Box::new(answer)));
    }
    let mut fields = Fields::of(value, "", (Spelling::Typed, Unknown::Ignored))?;
    match fields.text("error")?.as_ref().map(|text| text.as_str()) {
        Some("refused") => Ok(Reply::Refused),
        Some("invalid") => {
            let what = fields.text("what")?.unwrap_or_default();
            Ok(Reply::Invalid(what.as_str().to_owned()))
        }
        _ => fields.wrong("error", "give refused or invalid"),
    }
}

/// Writes credentials.
///
/// # Errors
///
/// If the password is no text.
pub fn encode_answer(answer: &CredentialAnswer) -> Result<Encoded, Invalid> {
    Ok(write(&form::of_answer(answer)?))
}

/// Writes the refusal: always the same octets.
pub fn encode_refused(Refused: Refused) -> Encoded {
    write(&Record::default().text("error", "refused").done())
}

/// Writes what was wrong with a request.
pub fn encode_invalid(invalid: &Invalid) -> Encoded {
    let mut record = Record::default();
    write(&record.text("error", "invalid").text("what", &invalid.to_string()).done())
}

/// Writes a policy by itself, for its digest.
pub(crate) fn encode_policy(policy: &Value) -> Encoded {
    write(policy)
}

/// Octets for what is in a message, so that growing leaves none of it behind.
fn room(value: &Value) -> usize {
    match value {
        Value::Text(text) => text.len() * 6 + 2,
        Value::List(values) => values.iter().map(|value| room(value) + 1).sum::<usize>() + 2,
        Value::Record(fields) => {
            fields.iter().map(|(name, value)| name.len() + 4 + room(value)).sum::<usize>() + 2
        }
        Value::Number(_) | Value::Bool(_) | Value::Null | Value::Other => 24,
    }
}

fn write(value: &Value) -> Encoded {
    let mut octets = Zeroizing::new(Vec::with_capacity(room(value)));
    // A vector takes whatever is written to it, and no key of ours is anything but text.
    let written = serde_json::to_writer(&mut *octets, value);
    debug_assert!(written.is_ok(), "it can be written");
    octets
}

impl Serialize for Value {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Text(text) => s.serialize_str(text),
            Self::Number(number) => s.serialize_i64(*number),
            Self::Bool(truth) => s.serialize_bool(*truth),
            Self::Null | Self::Other => s.serialize_unit(),
            Self::List(values) => {
                let mut list = s.serialize_seq(Some(values.len()))?;
                values.iter().try_for_each(|value| list.serialize_element(value))?;
                list.end()
            }
            Self::Record(fields) => {
                let mut map = s.serialize_map(Some(fields.len()))?;
                fields.iter().try_for_each(|(name, value)| map.serialize_entry(name, value))?;
                map.end()
            }
        }
    }
}

fn parse(octets: &[u8], limits: Limits) -> Result<Value, Invalid> {
    let text = limits.text(octets, "the JSON")?;
    let mut json = serde_json::Deserializer::from_str(text);
    let read = Level(limits.depth).deserialize(&mut json);
    read.and_then(|value| json.end().map(|()| value)).map_err(|error| {
        // Its text says at which token it went wrong and never what the token was; ours is that
        // of a level too deep.
        let at = format!("line {} column {}", error.line(), error.column());
        let what = error.to_string();
        let what = what.split(" at line ").next().unwrap_or_default();
        Invalid::new(at, what)
    })
}

/// Reads a value that may have so many levels.
struct Level(usize);

impl<'de> DeserializeSeed<'de> for Level {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, d: D) -> Result<Value, D::Error> {
        d.deserialize_any(self)
    }
}

impl Level {
    fn below<E: serde::de::Error>(&self) -> Result<usize, E> {
        self.0.checked_sub(1).ok_or_else(|| E::custom("too many levels: give fewer"))
    }
}

impl<'de> Visitor<'de> for Level {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_str<E>(self, text: &str) -> Result<Value, E> {
        Ok(Value::Text(Zeroizing::new(text.to_owned())))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Value, E> {
        Ok(Value::Number(number))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Value, E> {
        Ok(i64::try_from(number).map_or(Value::Other, Value::Number))
    }

    fn visit_f64<E>(self, _: f64) -> Result<Value, E> {
        Ok(Value::Other)
    }

    fn visit_bool<E>(self, truth: bool) -> Result<Value, E> {
        Ok(Value::Bool(truth))
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Value, A::Error> {
        let below = self.below()?;
        let mut values = Vec::new();
        while let Some(value) = list.next_element_seed(Self(below))? {
            values.push(value);
        }
        Ok(Value::List(values))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let below = self.below()?;
        let mut fields = Vec::new();
        while let Some(name) = map.next_key::<String>()? {
            fields.push((name, map.next_value_seed(Self(below))?));
        }
        Ok(Value::Record(fields))
    }
}
